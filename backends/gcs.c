/*
 * gcs: Google Cloud Storage, by its JSON API and bearer tokens.
 *
 * A bare backend: it asks once and says what was answered (large puts and
 * copies excepted, which go on from where they broke); the retry layer above
 * does the rest.
 *
 * Bytes are those stored: "Accept-Encoding: gzip" keeps the service from
 * unpacking what was stored packed.  A get names the generation as
 * ifGenerationMatch and checks the one that the answer names, for emulators
 * ignore the condition; a whole one is checked against the object's CRC-32C.
 * What the answer to a media get says of its failure is no JSON, so the
 * object is asked for what is the matter with it.
 *
 * Not here: buckets made, requester pays, customer-supplied keys, HMAC keys.
 */
#include "backends/gcs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/sigv4.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/url.h"

/* --- head --- */

enum store_rc
gcs_head(struct store *st, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct gcs *s = (struct gcs *)st;
	struct gcs_req r = { .method = "GET", .op = "HEAD", .key = key };
	struct gcs_object o;
	enum store_rc rc;

	rc = gcs_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	gcs_param(&r, "fields", GCS_FIELDS);
	rc = gcs_do(s, c, &r);
	if (rc == STORE_OK)
		rc = gcs_answer_object(s, c, &r, &o);
	if (rc == STORE_OK && ret != NULL)
		*ret = o.info;
	gcs_req_done(&r);
	return rc;
}

/* --- get --- */

struct get {
	struct gcs		*s;
	const char		*key;
	const struct store_version *version;
	uint64_t		 off, len;
	store_sink		*sink;
	void			*arg;
	struct why		*why;
	enum store_rc		 rc;	/* of what accept or sink said */
	struct store_info	 info;
	struct store_info	*ret;	/* filled before the first byte */
	uint64_t		 expected;	/* bytes the answer will have */
	char			 crc[9];	/* of them; "" unknown */
	uint32_t		 sum;
};

static enum http_verdict
get_refuse(struct get *g, enum store_rc rc, const char *what)
{
	why_set(g->why, 0, "bucket '%s', GET of '%.200s': %s", g->s->bucket,
	    g->key, what);
	g->rc = rc;
	return HTTP_REFUSE;
}

static bool
get_info(struct get *g, const struct http_resp *resp, uint64_t total)
{
	const char *when = http_resp_header(resp, "last-modified");
	int64_t secs = when != NULL ? http_date_parse(when) : -1;
	uint64_t generation;

	if (!http_resp_u64(resp, "x-goog-generation", &generation))
		return false;
	memset(&g->info, 0, sizeof g->info);
	g->info.size = total;
	g->info.mtime = secs >= 0 ? secs * NSEC_PER_SEC : 0;
	snprintf(g->info.version.text, sizeof g->info.version.text,
	    "e:%llu", (unsigned long long)generation);
	return true;
}

static bool
is_version(const struct store_info *info, const struct store_version *v)
{
	return !version_given(v) || strcmp(v->text, info->version.text) == 0;
}

/* The head of the answer: is it what was asked for? */
static enum http_verdict
get_accept(void *arg, struct http_resp *resp)
{
	struct get *g = arg;
	const char *range = http_resp_header(resp, "content-range");
	unsigned long long first = 0, last, total;
	uint64_t want;

	if (resp->status != 200 && resp->status != 206)
		return HTTP_TO_BODY;
	if (resp->status == 206) {
		if (range == NULL || sscanf(range, "bytes %llu-%llu/%llu",
		    &first, &last, &total) != 3 || last < first ||
		    last >= total)
			return get_refuse(g, STORE_BROKEN,
			    "a partial answer without a range");
		g->expected = last - first + 1;
	} else {
		if (!http_resp_u64(resp, "content-length", &g->expected) &&
		    !http_resp_u64(resp, "x-goog-stored-content-length",
		    &g->expected))
			return get_refuse(g, STORE_BROKEN,
			    "an answer without a length");
		total = g->expected;
	}
	if (!get_info(g, resp, total))
		return get_refuse(g, STORE_BROKEN,
		    "an answer that names no generation");
	if (!is_version(&g->info, g->version))
		return get_refuse(g, STORE_CHANGED, "it is another version");
	if (g->off > 0 && g->off >= total)
		return get_refuse(g, STORE_INVALID, "it ends before the range");
	want = total - g->off;
	if (g->len != 0 && g->len < want)
		want = g->len;
	if (first != g->off || g->expected != want)
		return get_refuse(g, STORE_BROKEN,
		    "not the range that was asked for");
	if (want == total && !gcs_hash_crc(resp, g->crc))
		g->crc[0] = '\0';
	if (g->ret != NULL)
		*g->ret = g->info;
	return HTTP_TO_SINK;
}

static int
get_sink(void *arg, const void *p, size_t n)
{
	struct get *g = arg;

	if (g->crc[0] != '\0')
		g->sum = crc32c(g->sum, p, n);
	if (g->sink(g->arg, p, n) == 0)
		return 0;
	g->rc = STORE_CANCELLED;
	return 1;
}

/* A 4xx to a media get has a sentence for a body, or none: what is it?  416
 * to a range from 0 on: the object is empty. */
static enum store_rc
get_look(struct get *g, struct store_call *c, int status)
{
	enum store_rc rc;

	rc = gcs_head(&g->s->store, c, g->key, &g->info);
	if (rc != STORE_OK)
		return rc;
	if (!is_version(&g->info, g->version)) {
		why_set(g->why, 0, "bucket '%s', GET of '%.200s': it is "
		    "another version", g->s->bucket, g->key);
		return STORE_CHANGED;
	}
	if (status == 416 && g->info.size == 0 && g->off == 0) {
		if (g->ret != NULL)
			*g->ret = g->info;
		return STORE_OK;
	}
	why_set(g->why, 0, "bucket '%s' answers %d to GET of '%.200s'%s",
	    g->s->bucket, status, g->key, status == 416 ?
	    ": it ends before the range" : ", which it has");
	return status == 416 ? STORE_INVALID : status == 403 ||
	    status == 401 ? STORE_DENIED : STORE_BROKEN;
}

static enum store_rc
get_end(struct get *g, struct store_call *c, const struct gcs_req *r)
{
	char have[9];

	if (r->resp.status != 200 && r->resp.status != 206) {
		why_set(g->why, 0, "bucket '%s', GET of '%.200s': answered "
		    "%d, which has no object", g->s->bucket, g->key,
		    r->resp.status);
		return STORE_BROKEN;
	}
	if (r->resp.received != g->expected) {
		why_set(g->why, 0, "bucket '%s', GET of '%.200s': %llu bytes "
		    "came, %llu were promised", g->s->bucket, g->key,
		    (unsigned long long)r->resp.received,
		    (unsigned long long)g->expected);
		return STORE_BROKEN;
	}
	sigv4_crc_base64(g->sum, have);
	if (g->crc[0] != '\0' && strcmp(have, g->crc) != 0) {
		why_set(g->why, 0, "bucket '%s', GET of '%.200s': the bytes "
		    "that came have not the checksum of those stored",
		    g->s->bucket, g->key);
		return STORE_BROKEN;
	}
	return STORE_OK;
}

static enum store_rc
gcs_get(struct store *st, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct gcs *s = (struct gcs *)st;
	struct get g = { .s = s, .key = key, .version = version, .off = off,
	    .len = len, .sink = sink, .arg = arg, .ret = ret,
	    .why = call_why(c) };
	struct gcs_req r = { .method = "GET", .op = "GET", .key = key,
	    .accept = get_accept, .sink = get_sink, .arg = &g };
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	char generation[GCS_GENERATION];
	struct why said = { "" };
	enum store_rc rc;
	int status;

	rc = gcs_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (len != 0 && len - 1 > UINT64_MAX - off)
		return STORE_INVALID;
	gcs_param(&r, "alt", "media");
	if (gcs_generation(version, generation))
		gcs_param(&r, "ifGenerationMatch", generation);
	http_headers_add(&r.headers, "accept-encoding", "gzip");
	if (len != 0)
		http_headers_add(&r.headers, "range", "bytes=%llu-%llu",
		    (unsigned long long)off,
		    (unsigned long long)(off + len - 1));
	else if (off != 0)
		http_headers_add(&r.headers, "range", "bytes=%llu-",
		    (unsigned long long)off);
	call.why = &said;
	rc = gcs_do(s, &call, &r);
	status = r.end == HTTP_ANSWERED ? r.resp.status : 0;
	if (rc == STORE_CANCELLED && g.rc != STORE_OK)
		rc = g.rc;
	else if (rc != STORE_OK && (status == 416 ||
	    (status >= 400 && status < 500 && !r.error.json &&
	    status != 412 && status != 429 && status != 408)))
		rc = get_look(&g, c, status);
	else if (rc != STORE_OK)
		why_set(g.why, 0, "%s", said.text);
	else
		rc = get_end(&g, c, &r);
	gcs_req_done(&r);
	return rc;
}

/* --- del --- */

enum store_rc
gcs_del(struct store *st, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct gcs *s = (struct gcs *)st;
	struct gcs_req r = { .method = "DELETE", .op = "DELETE", .key = key,
	    .write = true };
	char generation[GCS_GENERATION];
	struct store_info info;
	enum store_rc rc;

	rc = gcs_key_check(s, key, call_why(c));
	/* What a delete by version finds before it: an emulator ignores the
	 * condition, and this narrows the window to a moment. */
	if (rc == STORE_OK && version_given(match) && (!s->google ||
	    !gcs_generation(match, generation))) {
		rc = gcs_head(st, c, key, &info);
		if (rc == STORE_OK && !is_version(&info, match)) {
			why_set(call_why(c), 0, "bucket '%s': '%.200s' is "
			    "another version", s->bucket, key);
			rc = STORE_CHANGED;
		}
	}
	if (rc == STORE_OK) {
		if (gcs_generation(match, generation))
			gcs_param(&r, "ifGenerationMatch", generation);
		rc = gcs_do(s, c, &r);
		gcs_req_done(&r);
	}
	return rc == STORE_ABSENT && !gcs_is_no_bucket(&r.error) ? STORE_OK :
	    rc;
}

/* --- put --- */

enum store_rc
gcs_condition(struct gcs_req *r, enum store_cond cond,
    const struct store_version *match, char generation[GCS_GENERATION],
    struct why *why)
{
	switch (cond) {
	case STORE_ALWAYS:
		return STORE_OK;
	case STORE_IF_ABSENT:
		gcs_param(r, "ifGenerationMatch", "0");
		r->on_412 = STORE_EXISTS;
		return STORE_OK;
	case STORE_IF_MATCH:
		if (!version_given(match)) {
			why_set(why, 0, "a put by version names none");
			return STORE_INVALID;
		}
		r->on_412 = STORE_CHANGED;
		if (!gcs_generation(match, generation))
			return STORE_CHANGED;	/* there can be no such */
		gcs_param(r, "ifGenerationMatch", generation);
		return STORE_OK;
	}
	return STORE_INVALID;
}

enum store_rc
gcs_changed(struct gcs *s, struct store_call *c, const char *key,
    enum store_cond cond, enum store_rc rc)
{
	struct store_call look = c != NULL ? *c : (struct store_call){ 0 };
	struct store_info info;
	struct why said = { "" };
	enum store_rc found;

	if (rc != STORE_CHANGED || cond != STORE_IF_MATCH)
		return rc;
	look.why = &said;
	found = gcs_head(&s->store, &look, key, &info);
	if (found == STORE_ABSENT)
		return found;
	if (!cloud_passes(found))
		return rc;
	/* Nothing was changed, so it may be asked anew. */
	if (call_why(c) != NULL)
		*call_why(c) = said;
	return found;
}

enum store_rc
gcs_put(struct store *st, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct gcs *s = (struct gcs *)st;
	struct why said = { "" };
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	enum store_rc rc, was;

	rc = gcs_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	call.why = &said;
	if (gcs_compose_wanted(s, &call, src->size))
		rc = gcs_put_parts(s, &call, key, cond, match, src, ret);
	else
		rc = gcs_upload(s, &call, key, cond, match, src, 0,
		    src->size, ret);
	was = rc;
	rc = gcs_changed(s, &call, key, cond, rc);
	if (rc != STORE_OK && (rc == was || rc != STORE_ABSENT) &&
	    said.text[0] != '\0')
		why_set(call_why(c), 0, "%s", said.text);
	return rc;
}

static unsigned
gcs_caps(struct store *st)
{
	return STORE_CAN_ABSENT | STORE_CAN_MATCH | STORE_CAN_COPY |
	    STORE_LIST_SORTED | STORE_LIST_START_AFTER | STORE_DELETE_MATCH |
	    (((struct gcs *)st)->google ? STORE_PULL_KEEPS : 0);
}

static struct store *
gcs_bare(struct store *st)
{
	return st;
}

static void
gcs_free(struct store *st)
{
	struct gcs *s = (struct gcs *)st;

	workers_free(s->pool);
	creds_gcs_close(s->creds);
	http_free(s->http);
	free(s->url);
	free(s->bucket);
	free(s->prefix);
	free(s->profile);
	free(s->base);
	free(s);
}

static const struct store_ops gcs_ops = {
	.get = gcs_get,
	.put = gcs_put,
	.head = gcs_head,
	.del = gcs_del,
	.list = gcs_list,
	.copy = gcs_copy,
	.pull = gcs_pull,
	.caps = gcs_caps,
	.bare = gcs_bare,
	.offer = gcs_offer,
	.left = gcs_left,
	.free = gcs_free,
};

/* --- opening --- */

static int
check_settings(const struct url *u, int *retcompose, struct why *why)
{
	static const char *const known[] = { "ca", "compose", "endpoint",
	    "profile", NULL };
	static const char *const ways[] = { "auto", "on", "off" };
	const char *compose = url_setting(u, "compose");
	int err = cloud_settings(u, "a gs://", known, why);
	size_t k;

	if (err != 0)
		return err;
	*retcompose = GCS_COMPOSE_AUTO;
	for (k = 0; compose != NULL; k++) {
		if (k == sizeof ways / sizeof ways[0])
			return why_set(why, -EINVAL, "compose=%s: it is auto, "
			    "on or off", compose);
		*retcompose = (int)k;
		if (strcmp(compose, ways[k]) == 0)
			break;
	}
	return 0;
}

static int
check_bucket(const char *b, struct why *why)
{
	size_t n = strlen(b);

	if (n < 3 || n > 222 || b[0] == '.' || strspn(b,
	    "abcdefghijklmnopqrstuvwxyz0123456789-_.") != n)
		return why_set(why, -EINVAL, "'%.80s' is no name of a bucket: "
		    "3 to 222 lower-case letters, digits, '-', '_', '.'", b);
	return 0;
}

static bool
host_is_google(const char *host)
{
	size_t n = strcspn(host, ":");

	return n > 15 && strncmp(host + n - 15, ".googleapis.com", 15) == 0;
}

/* Fills base, https, loopback and google. */
static int
find_server(struct gcs *s, const struct url *u, bool *retemulator,
    struct why *why)
{
	const char *e = url_setting(u, "endpoint"), *host = NULL;
	const char *from = "endpoint=";
	size_t n;

	*retemulator = false;
	if (e == NULL) {
		e = getenv("STORAGE_EMULATOR_HOST");
		*retemulator = e != NULL && e[0] != '\0';
		from = "STORAGE_EMULATOR_HOST=";
	}
	if (e == NULL || e[0] == '\0')
		e = "https://storage.googleapis.com";
	if (strncmp(e, "https://", 8) == 0)
		host = e + 8;
	else if (strncmp(e, "http://", 7) == 0)
		host = e + 7;
	else if (*retemulator && strstr(e, "://") == NULL)
		host = e;
	n = host != NULL ? strcspn(host, "/?#") : 0;
	if (n == 0 || strchr(host, '@') != NULL ||
	    (host[n] != '\0' && strcmp(host + n, "/") != 0))
		return why_set(why, -EINVAL, "%s%.200s: it is "
		    "http://HOST[:PORT] or https://HOST[:PORT]", from, e);
	s->https = host == e + 8 && strncmp(e, "https://", 8) == 0;
	s->loopback = url_is_loopback(host);
	s->google = host_is_google(host);
	if (asprintf(&s->base, "http%s://%.*s", s->https ? "s" : "", (int)n,
	    host) < 0) {
		s->base = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int
find_creds(struct gcs *s, const struct url *u, struct why *why)
{
	const struct creds_gcs_opts o = { .profile = url_setting(u, "profile"),
	    .ca = url_setting(u, "ca"),
	    .no_metadata = s->loopback || !s->https };
	struct why said = { "" };
	int err;

	err = creds_gcs_open(&o, &s->creds, &said);
	if (err == -EACCES && o.no_metadata && o.profile == NULL)
		return 0;	/* unsigned requests */
	if (err != 0)
		return why_set(why, err, "bucket '%s': %s", s->bucket,
		    why_text(&said, err));
	if (!s->https && !s->loopback)
		return why_set(why, -EINVAL, "bucket '%s': a token must not "
		    "go to %.100s in the clear: write https:// in endpoint=",
		    s->bucket, s->base);
	return 0;
}

static void
set_sizes(struct gcs_sizes *to, const struct gcs_sizes *from)
{
	static const struct gcs_sizes none;

	if (from == NULL)
		from = &none;
	to->single = from->single != 0 ? from->single : 16 * GCS_MIB;
	to->compose = from->compose != 0 ? from->compose : 64 * GCS_MIB;
	to->part = from->part != 0 ? from->part : 16 * GCS_MIB;
	to->rewrite = from->rewrite;
}

int
gcs_open(const struct url *u, const struct gcs_sizes *sizes,
    struct store **ret, struct why *why)
{
	struct http_opts o = { .ca = url_setting(u, "ca") };
	const char *profile = url_setting(u, "profile");
	bool emulator;
	struct gcs *s;
	int compose, err;

	err = check_settings(u, &compose, why);
	if (err == 0)
		err = check_bucket(u->bucket, why);
	if (err != 0)
		return err;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->store.ops = &gcs_ops;
	atomic_init(&s->compose, compose);
	set_sizes(&s->sizes, sizes);
	s->url = strdup(u->text);
	s->bucket = strdup(u->bucket);
	s->prefix = cloud_prefix(u);
	s->profile = strdup(profile != NULL ? profile : "");
	if (s->url == NULL || s->bucket == NULL || s->prefix == NULL ||
	    s->profile == NULL)
		err = -ENOMEM;
	s->store.url = s->url;
	if (err == 0)
		err = find_server(s, u, &emulator, why);
	if (err == 0 && !emulator)
		err = find_creds(s, u, why);
	o.no_proxy = s->loopback;
	if (err == 0)
		err = cloud_lines(&o, "gnsfs-gcs", &s->http, &s->pool, why);
	if (err != 0) {
		gcs_free(&s->store);
		return err;
	}
	*ret = &s->store;
	return 0;
}

int
gcs_store_open(const struct url *u, struct store **ret, struct why *why)
{
	return gcs_open(u, NULL, ret, why);
}

/*
 * s3: Amazon S3 and what speaks its protocol, by curl and Signature V4.
 *
 * A bare backend: it asks once and says what was answered (parts of a large
 * put excepted, s3_multipart.c); the retry layer above does the rest.  The
 * bytes of a get go from curl's buffer to the sink; none goes there before
 * the answer's head has been checked against what was asked for, also where
 * the store ignores conditions or ranges.
 *
 * A put's info has the time the store answered (S3 does not say the object's
 * own); where S3 gave no ETag the object is asked for its time.
 *
 * Not here: buckets made, versions of S3's own versioning, S3 Express.
 */
#include "backends/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/fetch.h"
#include "base/buf.h"

enum { POOL = 16 };		/* threads, for all large puts of a store */

/* --- get --- */

/* HEAD as it is answered; *retstatus is the answer's, 0 if there was none. */
static enum store_rc
head_once(struct s3 *s, struct store_call *c, const char *key,
    struct store_info *ret, int *retstatus)
{
	struct s3_req r = { .method = "HEAD", .op = "HEAD", .key = key };
	uint64_t size;
	enum store_rc rc;

	rc = s3_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	rc = s3_do(s, c, &r);
	if (rc == STORE_OK &&
	    !http_resp_u64(&r.resp, "content-length", &size)) {
		why_set(call_why(c), 0, "bucket '%s' answers HEAD of '%.200s' "
		    "without a length", s->bucket, key);
		rc = STORE_BROKEN;
	}
	if (rc == STORE_OK)
		etag_info(&r.resp, size, ret);
	*retstatus = r.resp.status;
	s3_req_done(&r);
	return rc;
}

static enum store_rc
s3_get(struct store *st, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;
	char where[80], range[FETCH_RANGE_LEN];
	struct fetch f = { .where = where, .key = key, .version = version,
	    .off = off, .len = len, .sink = sink, .arg = arg, .ret = ret,
	    .why = call_why(c) };
	struct s3_req r = { .method = "GET", .op = "GET", .key = key,
	    .accept = fetch_accept, .sink = fetch_sink, .arg = &f };
	struct store_call call = { 0 };
	struct why said = { "" };
	enum store_rc rc;
	int status;

	rc = s3_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (len != 0 && len - 1 > UINT64_MAX - off)
		return STORE_INVALID;
	snprintf(where, sizeof where, "bucket '%s'", s->bucket);
	fetch_range(&f, range);
	if (range[0] != '\0')
		http_headers_add(&r.headers, "range", "%s", range);
	etag_pin(&r.headers, "", version);
	call = c != NULL ? *c : call;
	call.why = &said;
	rc = s3_do(s, &call, &r);
	if (rc == STORE_INVALID && r.resp.status == 416 && off == 0) {
		/* S3 refuses any range of an empty object. */
		rc = head_once(s, c, key, &f.info, &status);
		if (rc == STORE_OK)
			rc = fetch_empty(&f);
	} else {
		rc = fetch_end(&f, rc, &r.resp);
		if (rc != STORE_OK && said.text[0] != '\0')
			why_set(f.why, 0, "%s", said.text);
	}
	s3_req_done(&r);
	return rc;
}

/* --- head, del --- */

static int
drop_sink(void *arg, const void *p, size_t n)
{
	return 0;
}

enum store_rc
s3_head(struct store *st, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	struct why said = { "" };
	struct store_info info;
	int status = 0;
	enum store_rc rc;

	call.why = &said;
	rc = head_once(s, &call, key, &info, &status);
	if (status >= 400 && status < 500 && status != 429 &&
	    (status != 404 || !s->aws || !atomic_load(&s->proven))) {
		said.text[0] = '\0';
		rc = s3_get(st, &call, key, NULL, 0, 1, drop_sink, NULL,
		    &info);
	}
	if (rc == STORE_OK && ret != NULL)
		*ret = info;
	else if (rc != STORE_OK)
		why_set(call_why(c), 0, "%s", said.text);
	return rc;
}

/* What a delete by version finds before it: on a store other than AWS the
 * condition may be ignored, and this narrows the window to a moment. */
static enum store_rc
del_look(struct s3 *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct store_info info;
	enum store_rc rc;

	if (strncmp(match->text, "e:", 2) == 0 && s->aws)
		return STORE_OK;
	rc = s3_head(&s->store, c, key, &info);
	if (rc == STORE_OK && !etag_is_version(&info, match)) {
		why_set(call_why(c), 0, "bucket '%s': '%.200s' is another "
		    "version", s->bucket, key);
		rc = STORE_CHANGED;
	}
	return rc;
}

static enum store_rc
s3_del(struct store *st, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct s3 *s = (struct s3 *)st;
	struct s3_req r = { .method = "DELETE", .op = "DELETE", .key = key,
	    .write = true };
	enum store_rc rc;

	rc = s3_key_check(s, key, call_why(c));
	if (rc == STORE_OK && version_given(match) && (c == NULL || !c->probe))
		rc = del_look(s, c, key, match);
	if (rc == STORE_OK) {
		if (version_given(match) &&
		    strncmp(match->text, "e:", 2) == 0)
			etag_pin(&r.headers, "", match);
		rc = s3_do(s, c, &r);
		if (rc == STORE_ABSENT &&
		    strcmp(r.error.code, "NoSuchBucket") != 0)
			rc = STORE_OK;
		s3_req_done(&r);
	} else if (rc == STORE_ABSENT) {
		rc = STORE_OK;
	}
	return rc;
}

/* --- put --- */

static enum store_rc
s3_put(struct store *st, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;
	struct s3_req r = { .method = "PUT", .op = "PUT", .key = key,
	    .src = src, .len = src->size, .sum = true, .write = true };
	enum store_rc rc;

	rc = s3_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (src->size > s->sizes.single)
		return s3_put_parts(s, c, key, cond, match, src, ret);
	rc = s3_condition(&r, cond, match, call_why(c));
	if (rc == STORE_OK) {
		/* An empty body is what curl would repeat (http.h). */
		r.fresh = cond != STORE_ALWAYS && src->size == 0;
		r.expect = src->size >= S3_MIB;
		rc = s3_do(s, c, &r);
	}
	if (rc == STORE_OK && ret != NULL) {
		if (http_resp_header(&r.resp, "etag") != NULL)
			etag_info(&r.resp, src->size, ret);
		else
			rc = s3_head(st, c, key, ret);
	}
	s3_req_done(&r);
	return rc;
}

static unsigned
s3_caps(struct store *st)
{
	struct s3 *s = (struct s3 *)st;
	unsigned caps = STORE_CAN_ABSENT | STORE_CAN_MATCH | STORE_CAN_COPY |
	    STORE_LIST_SORTED | STORE_LIST_START_AFTER;

	if (!atomic_load(&s->no_del_match))
		caps |= STORE_DELETE_MATCH;
	return caps;
}

static void
s3_free(struct store *st)
{
	struct s3 *s = (struct s3 *)st;

	workers_free(s->pool);
	http_free(s->http);
	creds_aws_close(s->creds);
	free(s->url);
	free(s->bucket);
	free(s->prefix);
	free(s->region);
	free(s->base);
	free(s->host);
	free(s->path);
	free(s);
}

static const struct store_ops s3_ops = {
	.get = s3_get,
	.put = s3_put,
	.head = s3_head,
	.del = s3_del,
	.list = s3_list,
	.copy = s3_copy,
	.caps = s3_caps,
	.free = s3_free,
};

/* --- opening --- */

static int
check_settings(const struct url *u, struct why *why)
{
	static const char *const known[] = { "ca", "checksum", "endpoint",
	    "profile", "region", "style" };
	const char *style = url_setting(u, "style");
	const char *sum = url_setting(u, "checksum");
	unsigned i;
	size_t k;

	for (i = 0; i < u->nsettings; i++) {
		for (k = 0; k < sizeof known / sizeof known[0]; k++) {
			if (strcmp(u->settings[i].key, known[k]) == 0)
				break;
		}
		if (k == sizeof known / sizeof known[0])
			return why_set(why, -EINVAL, "an s3:// URL has no "
			    "setting '%s': they are ca, checksum, endpoint, "
			    "profile, region, style", u->settings[i].key);
	}
	if (style != NULL && strcmp(style, "path") != 0 &&
	    strcmp(style, "virtual") != 0)
		return why_set(why, -EINVAL, "style=%s: it is path or virtual",
		    style);
	if (sum != NULL && strcmp(sum, "crc32c") != 0 &&
	    strcmp(sum, "none") != 0)
		return why_set(why, -EINVAL, "checksum=%s: it is crc32c or "
		    "none", sum);
	return 0;
}

static int
check_bucket(const char *b, struct why *why)
{
	size_t n = strlen(b);

	if (n < 3 || n > 63 || b[0] == '.' || strspn(b, "abcdefghijklmnopqrstuv"
	    "wxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != n)
		return why_set(why, -EINVAL, "'%.80s' is no name of a bucket: "
		    "3 to 63 letters, digits, '-', '.'", b);
	if (n > 6 && strcmp(b + n - 6, "--x-s3") == 0)
		return why_set(why, -EINVAL, "'%s' is a directory bucket (S3 "
		    "Express), which is not supported yet: use a general "
		    "purpose one", b);
	return 0;
}

/* host without its port is this one? */
static bool
host_is_loopback(const char *host)
{
	size_t n = host[0] == '[' ? strcspn(host, "]") + 1 :
	    strcspn(host, ":");

	return strncmp(host, "127.", 4) == 0 ||
	    (n == 9 && strncmp(host, "localhost", 9) == 0) ||
	    (n > 10 && strncmp(host + n - 10, ".localhost", 10) == 0) ||
	    (n == 5 && strncmp(host, "[::1]", 5) == 0);
}

/* Splits an endpoint into https and host[:port], default ports left out. */
static int
parse_endpoint(const char *e, bool *rethttps, char **rethost, struct why *why)
{
	const char *host = NULL;
	const char *port;
	size_t n;

	if (strncmp(e, "https://", 8) == 0)
		host = e + 8;
	else if (strncmp(e, "http://", 7) == 0)
		host = e + 7;
	n = host != NULL ? strcspn(host, "/?#") : 0;
	if (n == 0 || strchr(host, '@') != NULL ||
	    (host[n] != '\0' && strcmp(host + n, "/") != 0))
		return why_set(why, -EINVAL, "endpoint=%.200s: it is "
		    "http://HOST[:PORT] or https://HOST[:PORT]", e);
	*rethttps = host == e + 8;
	port = *rethttps ? ":443" : ":80";
	if (n > strlen(port) && strncmp(host + n - strlen(port), port,
	    strlen(port)) == 0)
		n -= strlen(port);
	*rethost = strndup(host, n);
	return *rethost != NULL ? 0 : -ENOMEM;
}

/* Fills https, host, base and path from endpoint, style, region, bucket. */
static int
find_server(struct s3 *s, const struct url *u, struct why *why)
{
	const char *endpoint = url_setting(u, "endpoint");
	const char *style = url_setting(u, "style");
	const char *china = strncmp(s->region, "cn-", 3) == 0 ? ".cn" : "";
	char *host = NULL;
	bool virtual;
	int err = 0, n;

	/* A dot in the name does not fit AWS's certificates. */
	virtual = endpoint == NULL && strchr(s->bucket, '.') == NULL;
	if (style != NULL)
		virtual = strcmp(style, "virtual") == 0;
	s->https = true;
	s->aws = endpoint == NULL;
	if (endpoint != NULL)
		err = parse_endpoint(endpoint, &s->https, &host, why);
	else if (asprintf(&host, "s3.%s.amazonaws.com%s", s->region,
	    china) < 0)
		err = -ENOMEM;
	if (err != 0)
		return err;
	s->loopback = host_is_loopback(host);
	n = asprintf(&s->host, "%s%s%s", virtual ? s->bucket : "",
	    virtual ? "." : "", host);
	free(host);
	if (n < 0) {
		s->host = NULL;
		return -ENOMEM;
	}
	if (asprintf(&s->base, "http%s://%s", s->https ? "s" : "",
	    s->host) < 0) {
		s->base = NULL;
		return -ENOMEM;
	}
	if (asprintf(&s->path, "%s%s", virtual ? "" : "/",
	    virtual ? "" : s->bucket) < 0) {
		s->path = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int
find_creds(struct s3 *s, const char *profile, struct why *why)
{
	struct creds_aws_opts o = { .profile = profile, .loopback =
	    s->loopback, .region = s->aws ? s->region : NULL,
	    .ca = getenv("AWS_CA_BUNDLE") };
	struct why said = { "" };
	int err;

	if (o.ca != NULL && o.ca[0] == '\0')
		o.ca = NULL;
	err = creds_aws_open(&o, &s->creds, &said);
	if (err == -EACCES && s->loopback && profile == NULL)
		return 0;	/* unsigned requests */
	if (err != 0)
		return why_set(why, err, "bucket '%s': %s", s->bucket,
		    why_text(&said, err));
	return 0;
}

static void
set_sizes(struct s3_sizes *to, const struct s3_sizes *from)
{
	static const struct s3_sizes none;

	if (from == NULL)
		from = &none;
	to->single = from->single != 0 ? from->single : 16 * S3_MIB;
	to->part = from->part != 0 ? from->part : 8 * S3_MIB;
	to->copy_single = from->copy_single != 0 ? from->copy_single :
	    5 * 1024 * S3_MIB;
	to->copy_part = from->copy_part != 0 ? from->copy_part :
	    256 * S3_MIB;
}

static int
find_strings(struct s3 *s, const struct url *u)
{
	const char *region = url_setting(u, "region");

	s->url = strdup(u->text);
	s->bucket = strdup(u->bucket);
	if (asprintf(&s->prefix, "%s%s", u->prefix,
	    u->prefix[0] != '\0' ? "/" : "") < 0)
		s->prefix = NULL;
	s->region = region != NULL ? strdup(region) :
	    creds_aws_region(url_setting(u, "profile"));
	if (s->region == NULL)
		s->region = strdup("us-east-1");
	if (s->url == NULL || s->bucket == NULL || s->prefix == NULL ||
	    s->region == NULL)
		return -ENOMEM;
	return 0;
}

int
s3_open(const struct url *u, const struct s3_sizes *sizes, struct store **ret,
    struct why *why)
{
	struct http_opts o = { 0 };
	const char *sum = url_setting(u, "checksum");
	struct s3 *s;
	int err;

	err = check_settings(u, why);
	if (err == 0)
		err = check_bucket(u->bucket, why);
	if (err != 0)
		return err;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->store.ops = &s3_ops;
	s->checksums = sum == NULL || strcmp(sum, "none") != 0;
	set_sizes(&s->sizes, sizes);
	err = find_strings(s, u);
	if (err == 0 && s->region[strspn(s->region, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] != '\0')
		err = why_set(why, -EINVAL, "'%.80s' is no region", s->region);
	s->store.url = s->url;
	if (err == 0)
		err = find_server(s, u, why);
	if (err == 0)
		err = find_creds(s, url_setting(u, "profile"), why);
	if (err == 0) {
		o.ca = url_setting(u, "ca");
		if (o.ca == NULL && s->https)
			o.ca = getenv("AWS_CA_BUNDLE");
		if (o.ca != NULL && o.ca[0] == '\0')
			o.ca = NULL;
		o.no_proxy = s->loopback;
		err = http_new(&o, &s->http, why);
	}
	if (err == 0)
		err = workers_new("gnsfs-s3", POOL, &s->pool);
	if (err != 0) {
		s3_free(&s->store);
		return err;
	}
	*ret = &s->store;
	return 0;
}

int
s3_store_open(const struct url *u, struct store **ret, struct why *why)
{
	return s3_open(u, NULL, ret, why);
}

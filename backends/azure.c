/*
 * azure: Azure Blob Storage by its REST protocol.
 *
 * A bare backend: it asks once and says what was answered (blocks of a large
 * put excepted, azure_blocks.c, and a token that is refused); the retry layer
 * above does the rest.  Blobs are block blobs; those of other kinds are read.
 *
 * A put's info has the time that the service says.
 *
 * Not here: containers made, versions and snapshots of the service's own,
 * customer-provided keys.
 */
#include "backends/azure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/fetch.h"
#include "base/buf.h"
#include "base/url.h"

/* --- get, head --- */

/* A folder of a hierarchical namespace is no object. */
static bool
is_folder(const struct http_resp *resp)
{
	const char *type = http_resp_header(resp, "x-ms-resource-type");
	const char *mark = http_resp_header(resp, "x-ms-meta-hdi_isfolder");

	return (type != NULL && strcmp(type, "directory") == 0) ||
	    (mark != NULL && strcmp(mark, "true") == 0);
}

static enum http_verdict
get_accept(void *arg, struct http_resp *resp)
{
	struct fetch *f = arg;

	if (resp->status >= 200 && resp->status < 300 && is_folder(resp)) {
		f->rc = STORE_ABSENT;
		return HTTP_REFUSE;
	}
	return fetch_accept(f, resp);
}

/* The service says CHANGED also of what is not there: ask.  Nothing was
 * changed, so what is found is as good as what was answered; what passes
 * (cloud_passes) if that cannot be known now, so that it is asked anew. */
static enum store_rc
changed_or_absent(struct azure *s, struct store_call *c, const char *key)
{
	struct store_call look = c != NULL ? *c : (struct store_call){ 0 };
	struct why said = { "" };
	struct store_info info;
	enum store_rc rc;

	look.why = &said;
	rc = azure_head(&s->store, &look, key, &info);
	if (rc != STORE_ABSENT && !cloud_passes(rc))
		return STORE_CHANGED;
	if (call_why(c) != NULL)
		*call_why(c) = said;
	return rc;
}

static enum store_rc
azure_get(struct store *st, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct azure *s = (struct azure *)st;
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	struct why said = { "" };
	struct fetch f = { .where = s->where, .key = key, .version = version,
	    .off = off, .len = len, .sink = sink, .arg = arg, .ret = ret,
	    .why = call_why(c) };
	struct azure_req r = { .method = "GET", .op = "GET", .key = key,
	    .accept = get_accept, .sink = fetch_sink, .arg = &f };
	char range[FETCH_RANGE_LEN];
	enum store_rc rc;

	rc = azure_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (len != 0 && len - 1 > UINT64_MAX - off)
		return STORE_INVALID;
	fetch_range(&f, range);
	if (range[0] != '\0')
		http_headers_add(&r.headers, "x-ms-range", "%s", range);
	etag_pin(&r.headers, "", version);
	call.why = &said;
	rc = azure_do(s, &call, &r);
	if (rc == STORE_INVALID && r.resp.status == 416 && off == 0) {
		/* The service refuses any range of an empty blob. */
		rc = azure_head(st, c, key, &f.info);
		if (rc == STORE_OK)
			rc = fetch_empty(&f);
	} else {
		if (rc == STORE_CHANGED)
			rc = changed_or_absent(s, &call, key);
		rc = fetch_end(&f, rc, &r.resp);
		if (rc != STORE_OK && said.text[0] != '\0')
			why_set(f.why, 0, "%s", said.text);
	}
	azure_req_done(&r);
	return rc;
}

enum store_rc
azure_head(struct store *st, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct azure *s = (struct azure *)st;
	struct azure_req r = { .method = "HEAD", .op = "HEAD", .key = key };
	uint64_t size = 0;
	enum store_rc rc;

	rc = azure_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	rc = azure_do(s, c, &r);
	if (rc == STORE_OK &&
	    !http_resp_u64(&r.resp, "content-length", &size)) {
		why_set(call_why(c), 0, "%s answers HEAD of '%.200s' without "
		    "a length", s->where, key);
		rc = STORE_BROKEN;
	}
	if (rc == STORE_OK && is_folder(&r.resp))
		rc = STORE_ABSENT;
	if (rc == STORE_OK && ret != NULL)
		etag_info(&r.resp, size, ret);
	azure_req_done(&r);
	return rc;
}

/* --- del, put --- */

static enum store_rc
azure_del(struct store *st, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct azure *s = (struct azure *)st;
	struct azure_req r = { .method = "DELETE", .op = "DELETE",
	    .key = key, .write = true };
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	struct why said = { "" };
	enum store_rc rc;

	rc = azure_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	call.why = &said;
	http_headers_add(&r.headers, "x-ms-delete-snapshots", "include");
	etag_pin(&r.headers, "", match);
	rc = azure_do(s, &call, &r);
	if (rc == STORE_CHANGED)
		rc = changed_or_absent(s, c, key);
	if (rc == STORE_ABSENT &&
	    strcmp(r.error.code, "ContainerNotFound") != 0)
		rc = STORE_OK;
	if (rc != STORE_OK && said.text[0] != '\0')
		why_set(call_why(c), 0, "%s", said.text);
	azure_req_done(&r);
	return rc;
}

static enum store_rc
put_single(struct azure *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct azure_req r = { .method = "PUT", .op = "PUT", .key = key,
	    .src = src, .len = src->size, .sum = true, .write = true };
	enum store_rc rc;

	http_headers_add(&r.headers, "x-ms-blob-type", "BlockBlob");
	rc = azure_condition(&r, cond, match, call_why(c));
	if (rc == STORE_OK) {
		/* An empty body is what curl would repeat (http.h). */
		r.fresh = cond != STORE_ALWAYS && src->size == 0;
		r.expect = src->size >= AZURE_MIB;
		rc = azure_do(s, c, &r);
	}
	if (rc == STORE_OK && ret != NULL) {
		etag_info(&r.resp, src->size, ret);
		ret->summed = r.summed;
	}
	azure_req_done(&r);
	return rc;
}

static enum store_rc
azure_put(struct store *st, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct azure *s = (struct azure *)st;
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	struct why said = { "" };
	enum store_rc rc;

	rc = azure_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	call.why = &said;
	rc = src->size > s->sizes.single ?
	    azure_put_blocks(s, &call, key, cond, match, src, NULL, ret) :
	    put_single(s, &call, key, cond, match, src, ret);
	if (rc == STORE_CHANGED && cond == STORE_IF_MATCH)
		rc = changed_or_absent(s, &call, key);
	if (rc != STORE_OK && said.text[0] != '\0')
		why_set(call_why(c), 0, "%s", said.text);
	return rc;
}

static unsigned
azure_caps(struct store *st)
{
	/* Not STORE_LIST_START_AFTER: it is honoured, but costs a request for
	 * every page before it (azure_list.c). */
	return STORE_CAN_ABSENT | STORE_CAN_MATCH | STORE_CAN_COPY |
	    STORE_LIST_SORTED | STORE_DELETE_MATCH | STORE_HAS_TAGS |
	    STORE_PULL_KEEPS;
}

static struct store *
azure_bare(struct store *st)
{
	return st;
}

static void
azure_free(struct store *st)
{
	struct azure *s = (struct azure *)st;

	workers_free(s->pool);
	http_free(s->http);
	creds_azure_close(s->creds);
	free(s->url);
	free(s->account);
	free(s->container);
	free(s->prefix);
	free(s->base);
	free(s->path);
	free(s->where);
	free(s);
}

static const struct store_ops azure_ops = {
	.get = azure_get,
	.put = azure_put,
	.head = azure_head,
	.del = azure_del,
	.list = azure_list,
	.copy = azure_copy,
	.pull = azure_pull,
	.tags = azure_tags,
	.caps = azure_caps,
	.bare = azure_bare,
	.offer = azure_offer,
	.free = azure_free,
};

/* --- opening --- */

static int
check_settings(const struct url *u, struct why *why)
{
	static const char *const known[] = { "ca", "checksum", "endpoint",
	    NULL };
	const char *sum = url_setting(u, "checksum");
	int err = cloud_settings(u, "an az://", known, why);

	if (err != 0)
		return err;
	if (sum != NULL && strcmp(sum, "crc64") != 0 &&
	    strcmp(sum, "none") != 0)
		return why_set(why, -EINVAL, "checksum=%s: it is crc64 or "
		    "none", sum);
	return 0;
}

static int
check_names(const struct url *u, struct why *why)
{
	static const char small[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t n = strlen(u->account), m = strlen(u->bucket);
	const char *name = u->bucket + (u->bucket[0] == '$');

	if (n < 3 || n > 63 || strspn(u->account, small) != n)
		return why_set(why, -EINVAL, "'%.80s' is no name of a storage "
		    "account: 3 to 24 small letters and digits", u->account);
	if (m < 3 || m > 63 || name[strspn(name, small)] != '\0')
		return why_set(why, -EINVAL, "'%.80s' is no name of a "
		    "container: 3 to 63 small letters, digits, '-'",
		    u->bucket);
	return 0;
}

/* Fills https, base and path from http[s]://host[:port][/path]. */
static int
find_server(struct azure *s, const char *e, struct why *why)
{
	const char *host = NULL, *path;
	size_t n, m;
	int len;

	if (strncmp(e, "https://", 8) == 0)
		host = e + 8;
	else if (strncmp(e, "http://", 7) == 0)
		host = e + 7;
	n = host != NULL ? strcspn(host, "/?#") : 0;
	if (n == 0 || memchr(host, '@', n) != NULL ||
	    strpbrk(host, "?#% \\") != NULL)
		return why_set(why, -EINVAL, "endpoint=%.200s: it is "
		    "http://HOST[:PORT][/ACCOUNT] or https://HOST[:PORT]"
		    "[/ACCOUNT]", e);
	s->https = host == e + 8;
	s->loopback = url_is_loopback(host);
	s->base = strndup(e, (size_t)(host - e) + n);
	path = host + n;
	for (m = strlen(path); m > 0 && path[m - 1] == '/'; m--)
		;
	len = asprintf(&s->path, "%.*s/%s", (int)m, path, s->container);
	if (len < 0)
		s->path = NULL;
	return s->base != NULL && len >= 0 ? 0 : -ENOMEM;
}

/* Server and credentials: each may say what the other is. */
static int
find_both(struct azure *s, const struct url *u, struct why *why)
{
	const char *endpoint = url_setting(u, "endpoint");
	char *own = NULL;
	bool loopback;
	int err;

	loopback = endpoint != NULL && url_is_loopback(endpoint);
	err = creds_azure_open(s->account, loopback, &s->creds, why);
	if (err != 0)
		return why_prefix(why, err, "%s", s->where);
	if (endpoint == NULL)
		endpoint = creds_azure_endpoint(s->creds);
	if (endpoint == NULL && asprintf(&own,
	    "https://%s.blob.core.windows.net", s->account) < 0)
		return -ENOMEM;
	err = find_server(s, endpoint != NULL ? endpoint : own, why);
	free(own);
	if (err == 0 && !s->https && !s->loopback &&
	    (creds_azure_auth(s->creds) == AZURE_BEARER ||
	    creds_azure_auth(s->creds) == AZURE_SAS))
		err = why_set(why, -EINVAL, "%s: a token or signature (%s) "
		    "goes over plain http to this machine only: use https",
		    s->where, creds_azure_source(s->creds));
	return err;
}

static void
set_sizes(struct azure_sizes *to, const struct azure_sizes *from)
{
	static const struct azure_sizes none;

	if (from == NULL)
		from = &none;
	to->single = from->single != 0 ? from->single : 16 * AZURE_MIB;
	to->part = from->part != 0 ? from->part : 8 * AZURE_MIB;
	to->copy_single = from->copy_single != 0 ? from->copy_single :
	    5000 * AZURE_MIB;
	to->copy_part = from->copy_part != 0 ? from->copy_part :
	    256 * AZURE_MIB;
}

static int
find_strings(struct azure *s, const struct url *u)
{
	s->url = strdup(u->text);
	s->account = strdup(u->account);
	s->container = strdup(u->bucket);
	s->prefix = cloud_prefix(u);
	if (asprintf(&s->where, "container '%s' of account '%s'", u->bucket,
	    u->account) < 0)
		s->where = NULL;
	if (s->url == NULL || s->account == NULL || s->container == NULL ||
	    s->prefix == NULL || s->where == NULL)
		return -ENOMEM;
	return 0;
}

int
azure_open(const struct url *u, const struct azure_sizes *sizes,
    struct store **ret, struct why *why)
{
	const char *sum = url_setting(u, "checksum");
	struct http_opts o = { .ca = url_setting(u, "ca") };
	struct azure *s;
	int err;

	err = check_settings(u, why);
	if (err == 0)
		err = check_names(u, why);
	if (err != 0)
		return err;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->store.ops = &azure_ops;
	s->checksums = sum == NULL || strcmp(sum, "none") != 0;
	set_sizes(&s->sizes, sizes);
	err = find_strings(s, u);
	s->store.url = s->url;
	if (err == 0)
		err = find_both(s, u, why);
	o.no_proxy = s->loopback;
	if (err == 0)
		err = cloud_lines(&o, "gnsfs-az", &s->http, &s->pool, why);
	if (err != 0) {
		azure_free(&s->store);
		return err;
	}
	*ret = &s->store;
	return 0;
}

int
azure_store_open(const struct url *u, struct store **ret, struct why *why)
{
	return azure_open(u, NULL, ret, why);
}

/*
 * s3_request: one request to S3: its URL, sums and signature, and what became
 * of it.
 *
 * Integrity.  A body's CRC-32C goes along in a header, so that the store
 * refuses what was damaged on the way; it is computed in a pass of its own
 * over the source, which costs a second read (of the page cache, at tens of
 * Gbit/s) and no memory.  A store that refuses the header gets none from then
 * on.  Over https and to loopback the signature leaves the
 * payload out; over plain http elsewhere it holds its SHA-256.
 */
#include "backends/s3.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/sigv4.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#define EMPTY_SHA256 \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum { SUM_CHUNK = 256 * 1024 };

void
s3_param(struct s3_req *r, const char *name, const char *value)
{
	assert(r->nparams < sizeof r->params / sizeof r->params[0]);
	r->params[r->nparams].name = name;
	r->params[r->nparams].value = value;
	r->nparams++;
}

void
s3_req_done(struct s3_req *r)
{
	http_headers_done(&r->headers);
	http_resp_done(&r->resp);
}

/* --- the URL --- */

static int
by_name(const void *a, const void *b)
{
	const struct s3_param *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Path and query of r, encoded, the query sorted. */
static int
build_target(const struct s3 *s, const struct s3_req *r, struct buf *path,
    struct buf *query)
{
	struct s3_param sorted[sizeof r->params / sizeof r->params[0]];
	unsigned i;

	buf_puts(path, s->path);
	if (r->key != NULL) {
		buf_puts(path, "/");
		sigv4_encode(path, s->prefix, 1);
		sigv4_encode(path, r->key, 1);
	} else if (s->path[0] == '\0') {
		buf_puts(path, "/");
	}
	memcpy(sorted, r->params, sizeof sorted);
	qsort(sorted, r->nparams, sizeof sorted[0], by_name);
	for (i = 0; i < r->nparams; i++) {
		buf_puts(query, i > 0 ? "&" : "");
		sigv4_encode(query, sorted[i].name, 0);
		buf_puts(query, "=");
		sigv4_encode(query, sorted[i].value, 0);
	}
	buf_cstr(path);
	buf_cstr(query);
	return buf_err(path) != 0 ? buf_err(path) : buf_err(query);
}

/* --- sums --- */

/* One pass over the body: its CRC-32C, and into hex its SHA-256 where wanted.
 * 0, -ENOMEM, -ECANCELED, or what the source answers. */
static int
sum_body(const struct s3_req *r, struct store_call *c, uint32_t *retcrc,
    char *hex)
{
	struct sha256_ctx *sha = NULL;
	uint8_t sum[SHA256_LEN];
	uint8_t *chunk;
	uint64_t off = 0;
	uint32_t crc = 0;
	size_t want = r->len < SUM_CHUNK ? (size_t)r->len : SUM_CHUNK;
	int n = 0;

	chunk = malloc(want != 0 ? want : 1);
	if (chunk == NULL)
		return -ENOMEM;
	if (hex != NULL && (sha = sha256_new()) == NULL) {
		free(chunk);
		return -ENOMEM;
	}
	while (off < r->len) {
		want = r->len - off < SUM_CHUNK ? (size_t)(r->len - off) :
		    SUM_CHUNK;
		n = r->src->read(r->src->arg, chunk, want, r->off + off);
		if (n == 0)
			n = -ENODATA;
		if (n > 0 && call_check(c) != STORE_OK)
			n = -ECANCELED;
		if (n < 0)
			break;
		if (r->sum)
			crc = crc32c(crc, chunk, (size_t)n);
		if (sha != NULL)
			sha256_add(sha, chunk, (size_t)n);
		off += (uint64_t)n;
	}
	if (sha != NULL) {
		sha256_final(sha, sum);
		hex_encode(sum, sizeof sum, hex);
	}
	free(chunk);
	*retcrc = crc;
	return n < 0 ? n : 0;
}

/* Adds the checksum header; payload is what the signature says of the body. */
static int
add_sums(struct s3 *s, struct store_call *c, struct s3_req *r,
    char payload[SHA256_HEX])
{
	bool crc_wanted = r->sum && atomic_load(&s->checksums);
	bool sha_wanted = !s->https && !s->loopback && r->len > 0;
	uint32_t crc = 0;
	int err = 0;

	r->crc[0] = '\0';
	snprintf(payload, SHA256_HEX, "%s", r->len == 0 ? EMPTY_SHA256 :
	    SIGV4_UNSIGNED);
	if (crc_wanted || sha_wanted)
		err = sum_body(r, c, &crc, sha_wanted ? payload : NULL);
	if (err == 0 && crc_wanted) {
		sigv4_crc_base64(crc, r->crc);
		http_headers_add(&r->headers, "x-amz-checksum-crc32c", "%s",
		    r->crc);
	}
	return err;
}

/* --- sending it --- */

static enum store_rc
source_failed(struct store_call *c, int err)
{
	enum store_rc rc;

	if (err == -ENOMEM)
		return STORE_NOMEM;
	rc = call_check(c);
	if (rc != STORE_OK)
		return rc;
	why_set(call_why(c), 0, "the bytes to be sent cannot be read: %s",
	    strerror(-err));
	return STORE_INVALID;
}

static enum store_rc
no_answer(struct s3 *s, struct store_call *c, const struct s3_req *r)
{
	const char *q = r->key != NULL ? " of '" : "";
	const char *key = r->key != NULL ? r->key : "";
	struct why *why = call_why(c);

	switch (r->end) {
	case HTTP_NOMEM:
		return STORE_NOMEM;
	case HTTP_CANCELLED:
		return STORE_CANCELLED;
	case HTTP_STOPPED:
		if (r->resp.err != 0)
			return source_failed(c, r->resp.err);
		return STORE_CANCELLED;
	case HTTP_UNSENT:
		why_set(why, 0, "bucket '%s' at %s cannot be reached for %s"
		    "%s%.200s%s: %s", s->bucket, s->base, r->op, q, key, r->key
		    != NULL ? "'" : "", r->resp.error);
		return STORE_UNREACHABLE;
	default:
		why_set(why, 0, "bucket '%s' at %s gave no whole answer to %s"
		    "%s%.200s%s: %s", s->bucket, s->base, r->op, q, key, r->key
		    != NULL ? "'" : "", r->resp.error);
		return r->write ? STORE_AMBIGUOUS : STORE_UNREACHABLE;
	}
}

/* Whose keys r is signed with; NULL: it is not. */
static struct creds_aws *
signer(const struct s3 *s, const struct s3_req *r)
{
	return s->sessions != NULL && !r->own_keys ? s->sessions : s->creds;
}

static int
sign(struct s3 *s, struct s3_req *r, const struct aws_creds *creds,
    const char *path, const char *query, const char *payload)
{
	struct sigv4 k = { .id = creds->id, .secret = creds->secret,
	    .token = creds->token, .region = s->region, .now = clock_real() };

	k.service = s3_dialect(s)->sessions ? "s3express" : "s3";
	if (s->sessions != NULL && signer(s, r) == s->sessions) {
		http_headers_add(&r->headers, "x-amz-s3session-token", "%s",
		    creds->token != NULL ? creds->token : "");
		k.token = NULL;
	}
	return sigv4_sign(&k, r->method, s->host, path, query, payload,
	    &r->headers);
}

/* What the answer says of who made the server, where nothing else does. */
static void
note_server(struct s3 *s, const struct http_resp *resp)
{
	const char *server = http_resp_header(resp, "server");
	const struct s3_dialect *d;

	if (s->dialect_is_sure || server == NULL)
		return;
	d = s3_dialect_seen(server);
	if (d != NULL)
		atomic_store(&s->dialect, d);
}

/* Signs and performs; the answer, if any, is in r->resp and r->error. */
static enum store_rc
send_once(struct s3 *s, struct store_call *c, struct s3_req *r,
    const struct aws_creds *creds, const char *payload)
{
	struct buf path = BUF_INIT, query = BUF_INIT, url = BUF_INIT;
	struct http_req h = { .method = r->method };
	int err;

	err = build_target(s, r, &path, &query);
	if (err == 0 && creds->id != NULL)
		err = sign(s, r, creds, buf_cstr(&path), buf_cstr(&query),
		    payload);
	buf_printf(&url, "%s%s%s%s", s->base, buf_cstr(&path),
	    query.len > 0 ? "?" : "", buf_cstr(&query));
	h.url = buf_cstr(&url);
	if (err == 0)
		err = buf_err(&url);
	if (err != 0)
		goto out;
	h.headers = &r->headers;
	h.body_len = r->len;
	h.body_off = r->off;
	if (r->src != NULL) {
		h.read = r->src->read;
		h.read_arg = r->src->arg;
	}
	h.expect = r->expect;
	h.fresh = r->fresh;
	h.accept = r->accept;
	h.sink = r->sink;
	h.arg = r->arg;
	h.max_body = r->max_body;
	h.stall = r->stall;
	h.deadline = c != NULL ? c->deadline : 0;
	h.cancel = c != NULL ? c->cancel : NULL;
	http_resp_done(&r->resp);
	r->end = http_perform(s->http, &h, &r->resp);
	note_server(s, &r->resp);
out:
	buf_done(&path);
	buf_done(&query);
	buf_done(&url);
	if (err == -ENOMEM)
		return STORE_NOMEM;
	if (err != 0) {
		why_set(call_why(c), 0, "the request cannot be made: %s",
		    strerror(-err));
		return STORE_INVALID;
	}
	return r->end == HTTP_ANSWERED ? STORE_OK : no_answer(s, c, r);
}

/* Do these say that other credentials might do? */
static bool
is_stale(const struct s3_error *e)
{
	return strcmp(e->code, "ExpiredToken") == 0 ||
	    strcmp(e->code, "ExpiredTokenException") == 0 ||
	    strcmp(e->code, "InvalidAccessKeyId") == 0 ||
	    strcmp(e->code, "InvalidToken") == 0 ||
	    strcmp(e->code, "InvalidTokenId") == 0 ||
	    strcmp(e->code, "TokenRefreshRequired") == 0;
}

static bool
is_success(const struct s3_req *r)
{
	return r->resp.status >= 200 && r->resp.status < 300 &&
	    !(r->late_error && s3_error_is(&r->resp.body));
}

/* Nothing was sent: there is nobody to send it as. */
static enum store_rc
no_creds(struct s3 *s, struct store_call *c, const struct s3_req *r, int err)
{
	if (err == -ECANCELED)
		return STORE_CANCELLED;
	if (err == -ENOMEM)
		return STORE_NOMEM;
	why_prefix(call_why(c), err, "bucket '%s': no credentials by %s",
	    s->bucket, creds_aws_source(signer(s, r)));
	return err == -EHOSTUNREACH ? STORE_UNREACHABLE : STORE_DENIED;
}

/* A body was taken with its sum.  Was it compared?  Who does names the sum in
 * the answer; a server that knows nothing of the header takes no notice. */
static bool
was_summed(const struct s3_req *r)
{
	const char *sum = http_resp_header(&r->resp, "x-amz-checksum-crc32c");

	return r->crc[0] != '\0' && sum != NULL && strcmp(sum, r->crc) == 0;
}

void
s3_sums_off(struct s3 *s)
{
	if (atomic_exchange(&s->checksums, false))
		log_info("the store refuses the headers of checksums: they are "
		    "left away", "bucket=%s", s->bucket);
}

/* Does the answer say that such a header is not known there?  Not that the
 * sum is wrong, for which there is a 400 that names it, too. */
static bool
is_no_header(const struct s3_req *r)
{
	const char *said = r->error.message;

	if (strcasestr(said, "x-amz-checksum") == NULL &&
	    strcasestr(said, "x-amz-sdk-checksum") == NULL)
		return false;
	return r->resp.status == 501 || (r->resp.status == 400 &&
	    (strcasestr(said, "unsupported") != NULL ||
	    strcasestr(said, "not supported") != NULL ||
	    strcasestr(said, "not implemented") != NULL));
}

/* Was r refused for its checksum's header?  Then it goes without. */
static bool
sums_refused(struct s3 *s, struct s3_req *r)
{
	static const char *const names[] = { "x-amz-checksum-crc32c",
	    "x-amz-checksum-algorithm", "x-amz-checksum-mode" };
	bool had = false;
	size_t i;

	if (!is_no_header(r))
		return false;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		had |= http_headers_drop(&r->headers, names[i]);
	r->crc[0] = '\0';
	if (had)
		s3_sums_off(s);
	return had;
}

/* The answer is an error: OK where the request may be made again, with other
 * credentials or without a sum: what is refused did nothing. */
static enum store_rc
refused(struct s3 *s, struct store_call *c, struct s3_req *r,
    const struct aws_creds *creds, bool first)
{
	struct token_call t = { .deadline = c != NULL ? c->deadline : 0,
	    .cancel = c != NULL ? c->cancel : NULL };
	int err = -EACCES;

	s3_error_parse(&r->resp.body, &r->error);
	if (sums_refused(s, r))
		return STORE_OK;
	if (first && signer(s, r) != NULL && is_stale(&r->error))
		err = creds_aws_refused(signer(s, r), creds, &t, call_why(c));
	if (err == 0)
		return STORE_OK;
	if (err == -EACCES || err == -EINVAL)
		return s3_error_rc(s, r, creds->id != NULL ? creds->id : "",
		    call_why(c));
	return no_creds(s, c, r, err);
}

enum store_rc
s3_do(struct s3 *s, struct store_call *c, struct s3_req *r)
{
	struct token_call t = { .deadline = c != NULL ? c->deadline : 0,
	    .cancel = c != NULL ? c->cancel : NULL };
	struct aws_creds creds = { 0 };
	char payload[SHA256_HEX];
	bool first = true, again;
	unsigned nheaders;
	enum store_rc rc;
	int err;

	rc = call_check(c);
	if (rc != STORE_OK)
		return rc;
	err = add_sums(s, c, r, payload);
	if (err != 0)
		return source_failed(c, err);
	nheaders = r->headers.n;
	do {
		err = signer(s, r) == NULL ? 0 : creds_aws_get(signer(s, r),
		    &t, &creds, call_why(c));
		if (err != 0)
			return no_creds(s, c, r, err);
		rc = send_once(s, c, r, &creds, payload);
		http_headers_cut(&r->headers, nheaders);
		again = false;
		if (rc == STORE_OK && is_success(r)) {
			atomic_store(&s->proven, true);
			r->summed = was_summed(r);
		} else if (rc == STORE_OK) {
			rc = refused(s, c, r, &creds, first);
			nheaders = r->headers.n;
			again = rc == STORE_OK;
		}
		first = false;
		aws_creds_done(&creds);
	} while (again);
	return rc;
}

/* --- times, keys, conditions --- */

int64_t
s3_time_parse(const char *s)
{
	struct tm tm = { 0 };
	int n = 0;

	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon,
	    &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &n) != 6 ||
	    n != 19 || tm.tm_year < 1970 || tm.tm_year > 2200)
		return -1;	/* a year that ns of 64 bits do not hold, too */
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm);
}

enum store_rc
s3_key_check(struct s3 *s, const char *key, struct why *why)
{
	size_t n = strlen(key);

	if (n == 0 || n + strlen(s->prefix) > STORE_KEY_MAX) {
		why_set(why, 0, n == 0 ? "a key cannot be empty" :
		    "key '%.60s...' is longer than S3 takes (1024 bytes)",
		    key);
		return STORE_INVALID;
	}
	return STORE_OK;
}

enum store_rc
s3_condition(struct s3_req *r, enum store_cond cond,
    const struct store_version *match, struct why *why)
{
	switch (cond) {
	case STORE_ALWAYS:
		return STORE_OK;
	case STORE_IF_ABSENT:
		http_headers_add(&r->headers, "if-none-match", "*");
		r->on_412 = STORE_EXISTS;
		return STORE_OK;
	case STORE_IF_MATCH:
		if (!version_given(match)) {
			why_set(why, 0, "a put by version names none");
			return STORE_INVALID;
		}
		if (strncmp(match->text, "e:", 2) != 0) {
			why_set(why, 0, "this store gives '%s' no ETag, so it "
			    "cannot be replaced by version", r->key);
			return STORE_UNSUPPORTED;
		}
		etag_pin(&r->headers, "", match);
		r->on_412 = STORE_CHANGED;
		return STORE_OK;
	}
	return STORE_INVALID;
}

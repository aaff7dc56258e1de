/*
 * azure_request: one request to the Blob service: its URL, sum and
 * authorization, and what became of it.
 *
 * Integrity.  A body's CRC-64 goes along in a header, so that the service
 * refuses what was damaged on the way; it is computed in a pass of its own
 * over the source, which costs a second read (of the page cache) and no
 * memory.
 *
 * A token that is refused is fetched anew and the request made once more: a
 * refused request did nothing.
 */
#include "backends/azure.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/crc64.h"
#include "backends/sigv4.h"
#include "base/buf.h"
#include "base/clock.h"

enum { SUM_CHUNK = 256 * 1024 };

void
azure_param(struct azure_req *r, const char *name, const char *value)
{
	assert(r->nparams < sizeof r->params / sizeof r->params[0]);
	r->params[r->nparams].name = name;
	r->params[r->nparams].value = value;
	r->nparams++;
}

void
azure_req_done(struct azure_req *r)
{
	http_headers_done(&r->headers);
	http_resp_done(&r->resp);
}

/* --- the URL --- */

static void
put_path(const struct azure *s, const char *key, struct buf *b)
{
	buf_puts(b, s->path);
	if (key != NULL) {
		buf_puts(b, "/");
		sigv4_encode(b, s->prefix, 1);
		sigv4_encode(b, key, 1);
	}
}

void
azure_url(const struct azure *s, const char *key, struct buf *b)
{
	buf_puts(b, s->base);
	put_path(s, key, b);
}

/* With the signature that goes along in it, if one does. */
static void
put_query(const struct azure_req *r, const struct azure_cred *cred,
    struct buf *b)
{
	const char *sep = "?";
	unsigned i;

	for (i = 0; i < r->nparams; i++) {
		buf_printf(b, "%s%s=", sep, r->params[i].name);
		sigv4_encode(b, r->params[i].value, 0);
		sep = "&";
	}
	if (cred->auth == AZURE_SAS)
		buf_printf(b, "%s%s", sep, cred->text);
}

/* --- the sum --- */

/* 0, -ENOMEM, -ECANCELED, or what the source answers. */
static int
add_sum(struct azure *s, struct store_call *c, struct azure_req *r)
{
	struct buf b = BUF_INIT;
	size_t want = r->len < SUM_CHUNK ? (size_t)r->len : SUM_CHUNK, i;
	uint64_t crc = 0, off;
	uint8_t *chunk, sum[8];
	int n = 0;

	if (!r->sum || !atomic_load(&s->checksums) || r->len == 0)
		return 0;
	chunk = malloc(want);
	if (chunk == NULL)
		return -ENOMEM;
	for (off = 0; off < r->len; off += (uint64_t)n) {
		want = r->len - off < SUM_CHUNK ? (size_t)(r->len - off) :
		    SUM_CHUNK;
		n = r->src->read(r->src->arg, chunk, want, r->off + off);
		if (n == 0)
			n = -ENODATA;
		if (n > 0 && call_check(c) != STORE_OK)
			n = -ECANCELED;
		if (n < 0)
			break;
		crc = crc64(crc, chunk, (size_t)n);
	}
	free(chunk);
	if (n < 0)
		return n;
	for (i = 0; i < sizeof sum; i++)
		sum[i] = (uint8_t)(crc >> 8 * i);
	sigkey_base64(&b, sum, sizeof sum);
	snprintf(r->crc, sizeof r->crc, "%s", buf_cstr(&b));
	http_headers_add(&r->headers, "x-ms-content-crc64", "%s",
	    buf_cstr(&b));
	n = buf_err(&b);
	buf_done(&b);
	return n;
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
no_answer(struct azure *s, struct store_call *c, const struct azure_req *r)
{
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
		why_set(why, 0, "%s at %s cannot be reached for %s: %s",
		    s->where, s->base, r->op, r->resp.error);
		return STORE_UNREACHABLE;
	default:
		why_set(why, 0, "%s at %s gave no whole answer to %s: %s",
		    s->where, s->base, r->op, r->resp.error);
		return r->write ? STORE_AMBIGUOUS : STORE_UNREACHABLE;
	}
}

/* Adds what each request has, and what says who asks. */
static int
authorize(struct azure *s, struct azure_req *r, const struct azure_cred *cred)
{
	struct sigkey_req k = { .method = r->method, .params = r->params,
	    .nparams = r->nparams, .body_len = r->len,
	    .headers = &r->headers };
	struct buf path = BUF_INIT;
	char date[HTTP_DATE_LEN];
	int err = 0;

	http_date_format(clock_real() / NSEC_PER_SEC, date);
	http_headers_add(&r->headers, "x-ms-date", "%s", date);
	http_headers_add(&r->headers, "x-ms-version", "%s", AZURE_VERSION);
	if (cred->auth == AZURE_BEARER)
		http_headers_add(&r->headers, "authorization", "Bearer %s",
		    cred->text);
	if (cred->auth == AZURE_KEY) {
		put_path(s, r->key, &path);
		k.path = buf_cstr(&path);
		err = buf_err(&path);
		if (err == 0)
			err = sigkey_sign(s->account, cred->text, cred->len,
			    &k, &r->headers);
		buf_done(&path);
	}
	return err != 0 ? err : r->headers.err;
}

/* Authorizes and performs; the answer, if any, is in r->resp. */
static enum store_rc
send_once(struct azure *s, struct store_call *c, struct azure_req *r,
    const struct azure_cred *cred)
{
	struct buf url = BUF_INIT;
	struct http_req h = { .method = r->method, .headers = &r->headers,
	    .body_len = r->len, .body_off = r->off, .expect = r->expect,
	    .fresh = r->fresh, .accept = r->accept, .sink = r->sink,
	    .arg = r->arg, .max_body = r->max_body, .stall = r->stall };
	const char *server;
	int err;

	azure_url(s, r->key, &url);
	put_query(r, cred, &url);
	h.url = buf_cstr(&url);
	err = buf_err(&url);
	if (err == 0)
		err = authorize(s, r, cred);
	if (r->src != NULL) {
		h.read = r->src->read;
		h.read_arg = r->src->arg;
	}
	if (c != NULL) {
		h.deadline = c->deadline;
		h.cancel = c->cancel;
	}
	if (err == 0) {
		http_resp_done(&r->resp);
		r->end = http_perform(s->http, &h, &r->resp);
		/* It lacks them, and does not always say so. */
		server = http_resp_header(&r->resp, "server");
		if (server != NULL && strncmp(server, "Azurite", 7) == 0)
			atomic_store(&s->no_from_url, true);
	}
	if (url.p != NULL)
		explicit_bzero(url.p, url.cap);
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

enum store_rc
azure_token_rc(int err)
{
	switch (err) {
	case -ECANCELED:
		return STORE_CANCELLED;
	case -ENOMEM:
		return STORE_NOMEM;
	case -EHOSTUNREACH:
		return STORE_UNREACHABLE;
	default:
		return STORE_DENIED;
	}
}

static enum store_rc
no_token(struct azure *s, struct store_call *c, int err)
{
	why_prefix(call_why(c), err, "%s: no token by %s", s->where,
	    creds_azure_source(s->creds));
	return azure_token_rc(err);
}

static bool
is_success(const struct azure_req *r)
{
	return r->resp.status >= 200 && r->resp.status < 300;
}

/* A body was taken with its sum.  Was it compared?  The service names it in
 * the answer then; a server that knows nothing of the header does not. */
static bool
was_summed(const struct azure_req *r)
{
	const char *sum = http_resp_header(&r->resp, "x-ms-content-crc64");

	return r->crc[0] != '\0' && sum != NULL && strcmp(sum, r->crc) == 0;
}

/* The answer is an error: OK where the request may be made again. */
static enum store_rc
refused(struct azure *s, struct store_call *c, struct azure_req *r,
    const struct azure_cred *cred, bool first)
{
	struct token_call t = { .deadline = c != NULL ? c->deadline : 0,
	    .cancel = c != NULL ? c->cancel : NULL };
	int err = -EACCES;

	azure_error_parse(&r->resp, &r->error);
	if (r->resp.status == 401 && first)
		err = creds_azure_refused(s->creds, cred, &t, call_why(c));
	/* The emulator knows no CRC-64, and says so before all else. */
	if (strcmp(r->error.code, "FeatureNotSupported") == 0 &&
	    r->crc[0] != '\0') {
		atomic_store(&s->checksums, false);
		http_headers_drop(&r->headers, "x-ms-content-crc64");
		r->crc[0] = '\0';
		err = 0;
	}
	if (err == 0)
		return STORE_OK;
	return err == -EACCES ? azure_error_rc(s, r, call_why(c)) :
	    no_token(s, c, err);
}

enum store_rc
azure_do(struct azure *s, struct store_call *c, struct azure_req *r)
{
	struct token_call t = { .deadline = c != NULL ? c->deadline : 0,
	    .cancel = c != NULL ? c->cancel : NULL };
	struct azure_cred cred = { AZURE_UNSIGNED };
	bool first = true, again = false;
	unsigned nheaders;		/* those of the caller, and the sum */
	enum store_rc rc;
	int err;

	rc = call_check(c);
	if (rc != STORE_OK)
		return rc;
	err = add_sum(s, c, r);
	if (err != 0)
		return source_failed(c, err);
	nheaders = r->headers.n;
	do {
		err = creds_azure_get(s->creds, &t, &cred, call_why(c));
		if (err != 0)
			return no_token(s, c, err);
		rc = send_once(s, c, r, &cred);
		again = false;
		http_headers_cut(&r->headers, nheaders);
		if (rc == STORE_OK && !is_success(r)) {
			rc = refused(s, c, r, &cred, first);
			nheaders = r->headers.n;
			again = rc == STORE_OK;
		} else if (rc == STORE_OK && r->crc[0] != '\0') {
			r->summed = was_summed(r);
		}
		first = false;
		azure_cred_done(&cred);
	} while (again);
	return rc;
}

/* --- keys and conditions --- */

enum store_rc
azure_key_check(struct azure *s, const char *key, struct why *why)
{
	size_t n = strlen(key);

	if (n == 0 || n + strlen(s->prefix) > STORE_KEY_MAX) {
		why_set(why, 0, n == 0 ? "a key cannot be empty" :
		    "key '%.60s...' is longer than Blob takes (1024 "
		    "characters)", key);
		return STORE_INVALID;
	}
	/* It would be another key: the service makes it a slash. */
	if (strchr(key, '\\') != NULL) {
		why_set(why, 0, "key '%.200s' has a backslash in it, which "
		    "Blob takes for a slash", key);
		return STORE_INVALID;
	}
	return STORE_OK;
}

enum store_rc
azure_condition(struct azure_req *r, enum store_cond cond,
    const struct store_version *match, struct why *why)
{
	r->cond = cond;
	if (cond == STORE_IF_ABSENT)
		http_headers_add(&r->headers, "if-none-match", "*");
	if (cond != STORE_IF_MATCH)
		return STORE_OK;
	if (!version_given(match)) {
		why_set(why, 0, "a put by version names none");
		return STORE_INVALID;
	}
	if (strncmp(match->text, "e:", 2) != 0) {
		why_set(why, 0, "the version of '%s' is no ETag, so it cannot "
		    "be replaced by version", r->key);
		return STORE_UNSUPPORTED;
	}
	etag_pin(&r->headers, "", match);
	return STORE_OK;
}

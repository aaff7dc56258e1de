/*
 * gcs_request: one request to GCS: its URL and token, and what became of it.
 *
 * Names of buckets and objects are one component of the path each, so that a
 * '/' in a key is encoded.  A session of a resumable upload is addressed at
 * our own endpoint by the path and query that its Location gave: the host in
 * it may be one that only the server knows itself by, and a token goes to no
 * host that the URL did not name.
 */
#include "backends/gcs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/sigv4.h"
#include "base/clock.h"
#include "base/hash.h"

#define PAUSE_FIRST	(100 * NSEC_PER_MSEC)
#define PAUSE_MAX	(2 * NSEC_PER_SEC)

void
gcs_param(struct gcs_req *r, const char *name, const char *value)
{
	assert(r->nparams < sizeof r->params / sizeof r->params[0]);
	r->params[r->nparams].name = name;
	r->params[r->nparams].value = value;
	r->nparams++;
}

void
gcs_req_done(struct gcs_req *r)
{
	http_headers_done(&r->headers);
	http_resp_done(&r->resp);
}

void
gcs_encode(struct buf *b, const char *s)
{
	sigv4_encode(b, s, 0);
}

void
gcs_path(const struct gcs *s, struct buf *b, const char *key)
{
	buf_puts(b, "/b/");
	gcs_encode(b, s->bucket);
	buf_puts(b, "/o/");
	gcs_encode(b, s->prefix);
	gcs_encode(b, key);
}

/* Strict UTF-8 (RFC 3629) without line ends. */
static bool
is_name(const char *key)
{
	const unsigned char *p = (const unsigned char *)key;
	unsigned more, first;

	while (*p != '\0') {
		first = *p++;
		if (first == '\n' || first == '\r')
			return false;
		if (first < 0x80)
			continue;
		if (first < 0xc2 || first > 0xf4)
			return false;
		more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
		if ((first == 0xe0 && *p < 0xa0) ||
		    (first == 0xed && *p > 0x9f) ||
		    (first == 0xf0 && *p < 0x90) ||
		    (first == 0xf4 && *p > 0x8f))
			return false;
		for (; more > 0; more--, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
		}
	}
	return true;
}

enum store_rc
gcs_key_check(struct gcs *s, const char *key, struct why *why)
{
	size_t n = strlen(key);
	const char *what = NULL;

	if (n == 0)
		what = "a key cannot be empty";
	else if (n + strlen(s->prefix) > STORE_KEY_MAX)
		what = "it is longer than GCS takes (1024 bytes)";
	else if (!is_name(key))
		what = "GCS takes UTF-8 without line ends only";
	else if (s->prefix[0] == '\0' && (strcmp(key, ".") == 0 ||
	    strcmp(key, "..") == 0))
		what = "GCS takes no such name";
	if (what == NULL)
		return STORE_OK;
	why_set(why, 0, "key '%.60s': %s", key, what);
	return STORE_INVALID;
}

enum store_rc
gcs_pause(struct store_call *c, unsigned n)
{
	struct store_call quiet = c != NULL ? *c : (struct store_call){ 0 };
	int64_t pause = PAUSE_FIRST;

	quiet.why = NULL;
	for (; n > 1 && pause < PAUSE_MAX; n--)
		pause *= 2;
	if (pause > PAUSE_MAX)
		pause = PAUSE_MAX;
	/* Between half and all of it, so that many do not come at once. */
	return call_sleep(&quiet, pause / 2 +
	    (int64_t)(random_u64() % (uint64_t)(pause / 2)));
}

/* --- one attempt --- */

static int
build_url(const struct gcs *s, const struct gcs_req *r, struct buf *url)
{
	unsigned i;

	buf_puts(url, s->base);
	if (r->target != NULL) {
		buf_puts(url, r->target);
	} else {
		buf_puts(url, r->lead != NULL ? r->lead : "/storage/v1");
		if (r->of == GCS_OBJECT) {
			gcs_path(s, url, r->key);
		} else {
			buf_puts(url, "/b/");
			gcs_encode(url, s->bucket);
			buf_puts(url, r->of == GCS_BUCKET ? "" : "/o");
		}
		if (r->tail != NULL)
			buf_puts(url, r->tail);
	}
	for (i = 0; i < r->nparams; i++) {
		buf_puts(url, i > 0 ? "&" : "?");
		gcs_encode(url, r->params[i].name);
		buf_puts(url, "=");
		gcs_encode(url, r->params[i].value);
	}
	buf_cstr(url);
	return buf_err(url);
}

static enum store_rc
no_answer(struct gcs *s, struct store_call *c, const struct gcs_req *r)
{
	switch (r->end) {
	case HTTP_UNSENT:
		why_set(call_why(c), 0, "bucket '%s' cannot be reached at "
		    "%.100s: %s", s->bucket, s->base, r->resp.error);
		return STORE_UNREACHABLE;
	case HTTP_LOST:
		why_set(call_why(c), 0, "bucket '%s': the answer to %s%s%.200s"
		    "%s from %.100s was lost: %s", s->bucket, r->op,
		    r->key != NULL ? " of '" : "", r->key != NULL ? r->key :
		    "", r->key != NULL ? "'" : "", s->base, r->resp.error);
		return r->write ? STORE_AMBIGUOUS : STORE_UNREACHABLE;
	case HTTP_CANCELLED:
		return STORE_CANCELLED;
	case HTTP_STOPPED:
		if (r->resp.err == 0)
			return STORE_CANCELLED;
		why_set(call_why(c), 0, "the bytes to store cannot be read: "
		    "%s", strerror(-r->resp.err));
		return STORE_INVALID;
	default:
		return STORE_NOMEM;
	}
}

static enum store_rc
send_once(struct gcs *s, struct store_call *c, struct gcs_req *r,
    const char *token)
{
	struct buf url = BUF_INIT;
	struct http_req h = { .method = r->method };
	int err;

	err = build_url(s, r, &url);
	if (token != NULL)
		http_headers_add(&r->headers, "authorization", "Bearer %s",
		    token);
	h.url = buf_cstr(&url);
	h.headers = &r->headers;
	h.body_len = r->len;
	h.body_off = r->off;
	if (r->src != NULL) {
		h.read = r->src->read;
		h.read_arg = r->src->arg;
	}
	h.fresh = r->fresh;
	h.accept = r->accept;
	h.sink = r->sink;
	h.arg = r->arg;
	h.max_body = r->max_body;
	h.stall = r->stall;
	h.deadline = c != NULL ? c->deadline : 0;
	h.cancel = c != NULL ? c->cancel : NULL;
	http_resp_done(&r->resp);
	if (err == 0)
		r->end = http_perform(s->http, &h, &r->resp);
	buf_done(&url);
	if (err != 0)
		return STORE_NOMEM;
	return r->end == HTTP_ANSWERED ? STORE_OK : no_answer(s, c, r);
}

/* --- tokens --- */

static enum store_rc
token_rc(struct gcs *s, struct store_call *c, const struct why *said, int err)
{
	if (err == -ENOMEM)
		return STORE_NOMEM;
	if (err == -ECANCELED)
		return STORE_CANCELLED;
	why_set(call_why(c), 0, "bucket '%s': %s", s->bucket,
	    why_text(said, err));
	return err == -EHOSTUNREACH ? STORE_UNREACHABLE : STORE_DENIED;
}

static bool
is_success(const struct gcs_req *r)
{
	return (r->resp.status >= 200 && r->resp.status < 300) ||
	    (r->resp.status == 308 && r->resumable);
}

enum store_rc
gcs_do(struct gcs *s, struct store_call *c, struct gcs_req *r)
{
	struct token_call tc = { 0 };
	struct why said = { "" };
	unsigned nheaders = r->headers.n;
	char *token = NULL;
	enum store_rc rc;
	unsigned i;
	int err;

	rc = call_check(c);
	if (rc != STORE_OK)
		return rc;
	if (c != NULL) {
		tc.deadline = c->deadline;
		tc.cancel = c->cancel;
	}
	/* A refused token did nothing, so with another it may go again. */
	for (i = 0; i < 2; i++) {
		token_text_free(token);
		token = NULL;
		err = s->creds == NULL ? 0 :
		    creds_gcs_get(s->creds, &tc, &token, &said);
		if (err != 0) {
			rc = token_rc(s, c, &said, err);
			break;
		}
		http_headers_cut(&r->headers, nheaders);
		rc = send_once(s, c, r, token);
		if (rc != STORE_OK || is_success(r))
			break;
		gcs_error_parse(&r->resp.body, &r->error);
		if (i == 0 && token != NULL && r->resp.status == 401) {
			err = creds_gcs_refused(s->creds, token, &tc, &said);
			if (err == 0)
				continue;
			if (err != -EACCES) {
				rc = token_rc(s, c, &said, err);
				break;
			}
		}
		rc = gcs_error_rc(s, r, call_why(c));
		break;
	}
	http_headers_cut(&r->headers, nheaders);
	token_text_free(token);
	return rc;
}

/*
 * azure_copy: the service fetches bytes from a URL itself: from a blob of
 * this account or another, or from a presigned URL of another cloud.
 *
 * Put Blob From URL up to 5,000 MiB, Put Block From URL beyond.  Where the
 * server answers that it has no such call, Copy Blob, which works on after
 * its answer: the blob is then looked at until it is whole; what is given up
 * is aborted.  The source is authorized by a signature in its URL (made for
 * a day where we have the account's key) or by a token of its own header.
 */
#include "backends/azure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/secret.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/url.h"

enum { LONG_STALL = 300, SAS_SECS = 24 * 3600, URL_LIMIT = 2048 };

#define POLL_FIRST	(20 * NSEC_PER_MSEC)
#define POLL_LAST	(2 * NSEC_PER_SEC)
#define ABORT_WITHIN	(10 * NSEC_PER_SEC)
#define NO_SOURCE_FOR	(600 * NSEC_PER_SEC)

/* --- Put Blob From URL --- */

static enum store_rc
put_from_url(struct azure *s, struct store_call *c,
    struct azure_source *from, const char *to, enum store_cond cond,
    struct store_info *ret)
{
	struct azure_req r = { .method = "PUT", .op = "COPY", .key = to,
	    .write = true, .stall = LONG_STALL };
	enum store_rc rc;

	http_headers_add(&r.headers, "x-ms-blob-type", "BlockBlob");
	azure_from_url(&r, from);
	rc = azure_condition(&r, cond, NULL, call_why(c));
	if (rc == STORE_OK)
		rc = azure_do(s, c, &r);
	if (rc == STORE_OK)
		etag_info(&r.resp, from->size, ret);
	azure_has_from_url(s, &r, rc, from);
	azure_req_done(&r);
	return rc;
}

/* --- Copy Blob --- */

static void
copy_abort(struct azure *s, const char *to, const char *id)
{
	struct why why = { "" };
	struct store_call c = { .why = &why,
	    .deadline = clock_mono() + ABORT_WITHIN };
	struct azure_req r = { .method = "PUT", .op = "COPY", .key = to };
	enum store_rc rc;

	azure_param(&r, "comp", "copy");
	azure_param(&r, "copyid", id);
	http_headers_add(&r.headers, "x-ms-copy-action", "abort");
	rc = azure_do(s, &c, &r);
	if (rc != STORE_OK && r.resp.status != 409)
		log_warn("a copy that was given up goes on",
		    "container=%s key=%s why=%s", s->container, LOG_Q(to),
		    LOG_Q(why_text(&why, store_rc_errno(rc))));
	azure_req_done(&r);
}

/* What a blob's headers say of the copy with this id: OK when it is whole,
 * THROTTLED while it goes on. */
static enum store_rc
copy_state(struct azure *s, struct store_call *c,
    const struct http_resp *resp, const char *id)
{
	const char *state = http_resp_header(resp, "x-ms-copy-status");
	const char *which = http_resp_header(resp, "x-ms-copy-id");
	const char *said = http_resp_header(resp,
	    "x-ms-copy-status-description");

	/* Without an id, or with another's: replaced by another since. */
	if (state == NULL || id[0] == '\0' || which == NULL ||
	    strcmp(which, id) != 0) {
		why_set(call_why(c), 0, "%s does not say what became of a "
		    "copy", s->where);
		return STORE_AMBIGUOUS;
	}
	if (strcmp(state, "success") == 0)
		return STORE_OK;
	if (strcmp(state, "pending") == 0)
		return STORE_THROTTLED;
	why_set(call_why(c), 0, "%s: a copy ended as '%.20s': %.200s",
	    s->where, state, said != NULL ? said : "no reason is given");
	return STORE_AMBIGUOUS;
}

/* Looks at the blob until the copy has ended. */
static enum store_rc
copy_wait(struct azure *s, struct store_call *c, const char *to,
    const char *id, uint64_t size, struct store_info *ret)
{
	int64_t pause = POLL_FIRST;
	struct azure_req r;
	enum store_rc rc;

	for (;;) {
		rc = call_sleep(c, pause);
		if (rc != STORE_OK)
			break;
		pause = pause * 2 < POLL_LAST ? pause * 2 : POLL_LAST;
		r = (struct azure_req){ .method = "HEAD", .op = "COPY",
		    .key = to };
		rc = azure_do(s, c, &r);
		if (rc == STORE_OK) {
			rc = copy_state(s, c, &r.resp, id);
			etag_info(&r.resp, size, ret);
		} else if (rc == STORE_UNREACHABLE || rc == STORE_BROKEN) {
			rc = STORE_THROTTLED;	/* of no account */
		}
		azure_req_done(&r);
		if (rc != STORE_THROTTLED)
			break;
	}
	return rc;
}

static enum store_rc
copy_blob(struct azure *s, struct store_call *c,
    const struct azure_source *from, const char *to, enum store_cond cond,
    struct store_info *ret)
{
	struct azure_req r = { .method = "PUT", .op = "COPY", .key = to,
	    .write = true, .stall = LONG_STALL };
	const char *got;
	char id[80] = "";
	bool pending = false;
	enum store_rc rc;

	http_headers_add(&r.headers, "x-ms-copy-source", "%s", from->url);
	if (from->etag != NULL)
		http_headers_add(&r.headers, "x-ms-source-if-match", "%s",
		    from->etag);
	rc = azure_condition(&r, cond, NULL, call_why(c));
	if (rc == STORE_OK)
		rc = azure_do(s, c, &r);
	if (rc == STORE_OK) {
		got = http_resp_header(&r.resp, "x-ms-copy-id");
		snprintf(id, sizeof id, "%s", got != NULL ? got : "");
		rc = copy_state(s, c, &r.resp, id);
		pending = rc == STORE_THROTTLED;
		etag_info(&r.resp, from->size, ret);
	}
	azure_req_done(&r);
	if (pending) {
		rc = copy_wait(s, c, to, id, from->size, ret);
		if (rc != STORE_OK)
			copy_abort(s, to, id);
		if (rc == STORE_UNREACHABLE)
			rc = STORE_AMBIGUOUS;
	}
	return rc;
}

/* --- one or the other --- */

enum store_rc
azure_fetch(struct azure *s, struct store_call *c,
    struct azure_source *from, const char *to, enum store_cond cond,
    struct store_info *ret)
{
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	struct store_info info = { 0 };
	struct why said = { "" };
	enum store_rc rc = STORE_UNSUPPORTED;

	if (azure_key_check(s, to, call_why(c)) != STORE_OK)
		return STORE_INVALID;
	if (strlen(from->url) > URL_LIMIT) {
		why_set(call_why(c), 0, "%s: the source's URL is longer than "
		    "the %d bytes that the service takes", s->where,
		    URL_LIMIT);
		return STORE_UNSUPPORTED;
	}
	call.why = &said;
	if (!atomic_load(&s->no_from_url)) {
		rc = from->size <= s->sizes.copy_single ?
		    put_from_url(s, &call, from, to, cond, &info) :
		    azure_put_blocks(s, &call, to, cond, NULL, NULL, from,
		    &info);
	}
	if (rc == STORE_UNSUPPORTED && !atomic_load(&from->unfetchable)) {
		said.text[0] = '\0';
		rc = copy_blob(s, &call, from, to, cond, &info);
	}
	if (rc != STORE_OK)
		why_set(call_why(c), 0, "%s", said.text);
	else if (ret != NULL)
		*ret = info;
	return rc;
}

/* --- what the service cannot get at --- */

static uint64_t
origin(const char *url)
{
	const char *host = strstr(url, "://");

	host = host != NULL ? host + 3 : url;
	return name_hash(url, (size_t)(host - url) + strcspn(host, "/?"));
}

/* As azure_fetch, of a store's object: where the service could not get at
 * another of the same host it is not asked, for it may think for long. */
static enum store_rc
fetch_theirs(struct azure *s, struct store_call *c,
    struct azure_source *from, const char *to, struct store_info *ret)
{
	uint64_t at = origin(from->url);
	enum store_rc rc;

	if (atomic_load(&s->no_source) == at &&
	    clock_mono() < atomic_load(&s->no_source_until))
		return STORE_UNSUPPORTED;
	rc = azure_fetch(s, c, from, to, STORE_IF_ABSENT, ret);
	if (rc != STORE_UNSUPPORTED || !atomic_load(&from->unfetchable))
		return rc;
	atomic_store(&s->no_source_until, clock_mono() + NO_SOURCE_FOR);
	if (atomic_exchange(&s->no_source, at) != at)
		log_info("the service cannot fetch from there: what is copied "
		    "from it goes through here", "container=%s why=%s",
		    s->container, LOG_Q(c != NULL && c->why != NULL ?
		    c->why->text : ""));
	return rc;
}

/* The URL of a blob of ours, as the service may fetch it. */
static enum store_rc
source_url(struct azure *s, const char *key, const struct azure_cred *cred,
    int64_t until, struct buf *url)
{
	struct buf blob = BUF_INIT;
	int err = 0;

	azure_url(s, key, url);
	if (cred->auth == AZURE_SAS) {
		buf_printf(url, "?%s", cred->text);
	} else if (cred->auth == AZURE_KEY) {
		buf_printf(&blob, "%s/%s/%s%s", s->account, s->container,
		    s->prefix, key);
		buf_puts(url, "?");
		buf_cstr(&blob);
		err = buf_err(&blob) != 0 ? buf_err(&blob) :
		    sigkey_read_sas(buf_cstr(&blob), cred->text, cred->len,
		    until, s->https, url);
	}
	buf_done(&blob);
	buf_cstr(url);
	return err != 0 || buf_err(url) != 0 ? STORE_NOMEM : STORE_OK;
}

static enum store_rc
get_cred(struct azure *s, struct store_call *c, struct azure_cred *ret)
{
	struct token_call t = { .deadline = c != NULL ? c->deadline : 0,
	    .cancel = c != NULL ? c->cancel : NULL };
	int err;

	err = creds_azure_get(s->creds, &t, ret, call_why(c));
	return err != 0 ? azure_token_rc(err) : STORE_OK;
}

/* May the service be told this URL, which holds a signature or comes with a
 * token?  Not in the clear, and not where only this machine is meant. */
static bool
may_fetch(const struct azure *s, const char *url)
{
	return s->loopback || (s->https && strncmp(url, "https://", 8) == 0 &&
	    !url_is_loopback(url));
}

/* From f, which may be s, to s. */
static enum store_rc
copy_between(struct azure *f, struct azure *s, struct store_call *c,
    const char *from, const struct store_version *version, const char *to,
    enum store_cond cond, struct store_info *ret)
{
	struct azure_cred cred = { AZURE_UNSIGNED };
	struct azure_source source = { 0 };
	struct buf url = BUF_INIT;
	struct store_info info;
	enum store_rc rc;

	rc = azure_head(&f->store, c, from, &info);
	if (rc == STORE_OK && !etag_is_version(&info, version)) {
		why_set(call_why(c), 0, "%s: '%.200s' is another version",
		    f->where, from);
		rc = STORE_CHANGED;
	}
	if (rc == STORE_OK)
		rc = get_cred(f, c, &cred);
	if (rc == STORE_OK)
		rc = source_url(f, from, &cred, clock_real() / NSEC_PER_SEC +
		    SAS_SECS, &url);
	if (rc == STORE_OK && f != s && !may_fetch(s, buf_cstr(&url)))
		rc = STORE_UNSUPPORTED;
	if (rc == STORE_OK) {
		source.url = buf_cstr(&url);
		source.size = info.size;
		if (strncmp(info.version.text, "e:", 2) == 0)
			source.etag = info.version.text + 2;
		if (cred.auth == AZURE_BEARER)
			source.bearer = cred.text;
		rc = cond == STORE_IF_ABSENT ?
		    fetch_theirs(s, c, &source, to, ret) :
		    azure_fetch(s, c, &source, to, cond, ret);
	}
	secret_done(&url);
	azure_cred_done(&cred);
	return rc;
}

enum store_rc
azure_copy(struct store *st, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct azure *s = (struct azure *)st;

	return copy_between(s, s, c, from, version, to, STORE_ALWAYS, ret);
}

/* --- from another cloud --- */

enum store_rc
azure_offer(struct store *st, struct store_call *c, const char *key,
    const struct store_version *version, int64_t until, struct buf *ret)
{
	struct azure *s = (struct azure *)st;
	struct azure_cred cred = { AZURE_UNSIGNED };
	enum store_rc rc;

	rc = azure_key_check(s, key, call_why(c));
	if (rc == STORE_OK)
		rc = get_cred(s, c, &cred);
	if (rc == STORE_OK)
		rc = cred.auth == AZURE_BEARER ? STORE_UNSUPPORTED :
		    source_url(s, key, &cred, until, ret);
	azure_cred_done(&cred);
	return rc;
}

/* The object that was copied from is still that version: what was made of it
 * is of one version then (B5), and else goes again. */
static enum store_rc
still_the_same(struct azure *s, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    const struct store_info *made)
{
	struct store_info info;
	enum store_rc rc;

	rc = store_head(from, c, key, &info);
	if (rc == STORE_OK && etag_is_version(&info, version))
		return STORE_OK;
	(void)store_del(&s->store, c, to, &made->version);
	return rc == STORE_OK || rc == STORE_ABSENT ? STORE_CHANGED :
	    STORE_AMBIGUOUS;
}

enum store_rc
azure_pull(struct store *st, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct azure *s = (struct azure *)st;
	struct store *below = store_bare(from);
	struct azure_source source = { 0 };
	struct store_info info, made;
	struct buf url = BUF_INIT;
	enum store_rc rc;

	if (below->ops == st->ops)
		return copy_between((struct azure *)below, s, c, key, version,
		    to, STORE_IF_ABSENT, ret);
	rc = below->ops->offer(below, c, key, version, clock_real() /
	    NSEC_PER_SEC + SAS_SECS, &url);
	if (rc == STORE_OK && !may_fetch(s, buf_cstr(&url)))
		rc = STORE_UNSUPPORTED;
	if (rc == STORE_OK)
		rc = store_head(from, c, key, &info);
	if (rc == STORE_OK && !etag_is_version(&info, version))
		rc = STORE_CHANGED;
	if (rc == STORE_OK) {
		source.url = buf_cstr(&url);
		source.size = info.size;
		rc = fetch_theirs(s, c, &source, to, &made);
	}
	if (rc == STORE_OK)
		rc = still_the_same(s, c, from, key, version, to, &made);
	if (rc == STORE_OK && ret != NULL)
		*ret = made;
	secret_done(&url);
	return rc;
}

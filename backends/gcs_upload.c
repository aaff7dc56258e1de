/*
 * gcs_upload: an object's bytes, in one request or by a resumable upload.
 *
 * Up to sizes.single bytes go as one multipart/related body: the object's
 * name and CRC-32C (so that the service refuses what was damaged on the way),
 * then the bytes.  More go by a resumable upload: a session is begun, and all
 * bytes go in one PUT.  When that breaks off, the session is asked how far it
 * came (308 and a Range) and the rest is sent, as often as it takes while
 * there is progress.  The sum is made as the bytes go out, and compared with
 * what the service made of them; an object that differs is deleted again.
 *
 * Certainty (L2).  From the first byte on that was sent the object may be
 * there: every request has the last byte in it.  The session tells: 2xx means
 * that it is there, and a 412 that it is not, unless an answer was lost
 * before it, when it may be our own that is met: then, and where the session
 * does not answer, the result is AMBIGUOUS and the retry layer looks.
 */
#include "backends/gcs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/sigv4.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum {
	SUM_CHUNK = 256 * 1024,
	TRIES = 6,			/* without progress */
	LONG_STALL = 120,	/* s: finishing a large one takes time */
};

#define CANCEL_WITHIN	(5 * NSEC_PER_SEC)

/* --- sums --- */

/* The CRC-32C of [off, off+len) of src.  0, -ENOMEM, -ECANCELED, or what the
 * source answers. */
static int
sum_range(const struct store_src *src, struct store_call *c, uint64_t off,
    uint64_t len, char ret[9])
{
	size_t want = len < SUM_CHUNK ? (size_t)len : SUM_CHUNK;
	uint8_t *chunk = malloc(want != 0 ? want : 1);
	uint32_t crc = 0;
	int n = 0;

	if (chunk == NULL)
		return -ENOMEM;
	for (; len > 0; off += (uint64_t)n, len -= (uint64_t)n) {
		if (want > len)
			want = (size_t)len;
		n = src->read(src->arg, chunk, want, off);
		if (n == 0)
			n = -ENODATA;
		if (n > 0 && call_check(c) != STORE_OK)
			n = -ECANCELED;
		if (n < 0)
			break;
		crc = crc32c(crc, chunk, (size_t)n);
	}
	free(chunk);
	sigv4_crc_base64(crc, ret);
	return n < 0 ? n : 0;
}

static enum store_rc
source_failed(struct store_call *c, int err)
{
	enum store_rc rc;

	if (err == -ENOMEM)
		return STORE_NOMEM;
	if (err == -ECANCELED && (rc = call_check(c)) != STORE_OK)
		return rc;
	why_set(call_why(c), 0, "the bytes to store cannot be read: %s",
	    strerror(-err));
	return STORE_INVALID;
}

/* {"name":...,"contentType":...[,"crc32c":...]} */
static int
object_json(const struct gcs *s, const char *key, const char *crc,
    struct buf *b)
{
	struct buf name = BUF_INIT;
	int err;

	buf_printf(&name, "%s%s", s->prefix, key);
	buf_puts(b, "{\"name\":");
	err = gcs_json_string(b, buf_cstr(&name));
	buf_puts(b, ",\"contentType\":\"application/octet-stream\"");
	if (crc != NULL)
		buf_printf(b, ",\"crc32c\":\"%s\"", crc);
	buf_puts(b, "}");
	if (err == 0)
		err = buf_err(&name) != 0 ? buf_err(&name) : buf_err(b);
	buf_done(&name);
	return err;
}

/* --- in one request --- */

/* head, then src's [off, off+len), then tail. */
struct framed {
	struct buf		 head;
	char			 tail[48];
	const struct store_src	*src;
	uint64_t		 off, len;
};

static int
framed_read(void *arg, void *buf, size_t n, uint64_t off)
{
	struct framed *f = arg;
	const char *p;
	size_t have;

	if (off < f->head.len) {
		p = (const char *)f->head.p + off;
		have = f->head.len - (size_t)off;
	} else if (off - f->head.len < f->len) {
		off -= f->head.len;
		if (n > f->len - off)
			n = (size_t)(f->len - off);
		return f->src->read(f->src->arg, buf, n, f->off + off);
	} else {
		off -= f->head.len + f->len;
		have = strlen(f->tail);
		if (off >= have)
			return 0;
		p = f->tail + off;
		have -= (size_t)off;
	}
	if (n > have)
		n = have;
	memcpy(buf, p, n);
	return (int)n;
}

static enum store_rc
put_single(struct gcs *s, struct store_call *c, const char *key,
    struct gcs_req *r, const struct store_src *src, uint64_t off,
    uint64_t len, struct store_info *ret)
{
	struct framed f = { .src = src, .off = off, .len = len };
	struct store_src body = { .read = framed_read, .arg = &f };
	struct gcs_object o;
	char crc[9], mark[33];
	uint8_t random[16];
	enum store_rc rc;
	int err;

	err = sum_range(src, c, off, len, crc);
	if (err != 0)
		return source_failed(c, err);
	random_bytes(random, sizeof random);
	hex_encode(random, sizeof random, mark);
	buf_printf(&f.head, "--%s\r\nContent-Type: application/json; "
	    "charset=UTF-8\r\n\r\n", mark);
	err = object_json(s, key, crc, &f.head);
	buf_printf(&f.head, "\r\n--%s\r\nContent-Type: "
	    "application/octet-stream\r\n\r\n", mark);
	snprintf(f.tail, sizeof f.tail, "\r\n--%s--\r\n", mark);
	if (err == 0)
		err = buf_err(&f.head);
	rc = err == 0 ? STORE_OK : err == -EINVAL ? STORE_INVALID :
	    STORE_NOMEM;
	if (rc == STORE_OK) {
		body.size = f.head.len + len + strlen(f.tail);
		r->src = &body;
		r->len = body.size;
		r->write = true;
		gcs_param(r, "uploadType", "multipart");
		http_headers_add(&r->headers, "content-type",
		    "multipart/related; boundary=%s", mark);
		rc = gcs_do(s, c, r);
	}
	if (rc == STORE_OK)
		rc = gcs_answer_object(s, c, r, &o);
	if (rc == STORE_OK) {
		*ret = o.info;
		ret->summed = strcmp(o.crc, crc) == 0;
	}
	buf_done(&f.head);
	return rc;
}

/* --- resumable --- */

/*
 * One upload.  next: where the session is, relative to off.  summed: how much
 * is in sum; what goes out again is not added again.
 */
struct session {
	struct gcs		*s;
	const char		*key;
	char			*target;	/* path and query */
	const struct store_src	*src;
	uint64_t		 off, len, next;
	uint64_t		 summed;
	uint32_t		 sum;
	enum store_rc		 on_412;
	bool			 maybe;		/* it may be there */
	bool			 gone;		/* the session is */
	struct gcs_object	 object;	/* when it is */
};

static int
session_read(void *arg, void *buf, size_t n, uint64_t off)
{
	struct session *u = arg;
	int got = u->src->read(u->src->arg, buf, n, u->off + off);
	uint64_t skip;

	if (got > 0 && off <= u->summed && off + (uint64_t)got > u->summed) {
		skip = u->summed - off;
		u->sum = crc32c(u->sum, (char *)buf + skip,
		    (size_t)got - (size_t)skip);
		u->summed = off + (uint64_t)got;
	}
	return got;
}

/* Path and query of a URL, new; NULL: it is none. */
static char *
location_target(const char *url)
{
	const char *p = url != NULL ? strstr(url, "://") : NULL;

	p = p != NULL ? strchr(p + 3, '/') : url;
	return p != NULL && *p == '/' ? strdup(p) : NULL;
}

static enum store_rc
session_begin(struct session *u, struct store_call *c, struct gcs_req *r)
{
	struct buf json = BUF_INIT;
	struct store_mem mem;
	struct store_src body;
	enum store_rc rc;
	int err;

	err = object_json(u->s, u->key, NULL, &json);
	if (err != 0) {
		buf_done(&json);
		return err == -EINVAL ? STORE_INVALID : STORE_NOMEM;
	}
	mem = (struct store_mem){ json.p, json.len };
	body = store_src_mem(&mem);
	r->src = &body;
	r->len = json.len;
	gcs_param(r, "uploadType", "resumable");
	http_headers_add(&r->headers, "content-type",
	    "application/json; charset=UTF-8");
	http_headers_add(&r->headers, "x-upload-content-type",
	    "application/octet-stream");
	http_headers_add(&r->headers, "x-upload-content-length", "%llu",
	    (unsigned long long)u->len);
	rc = gcs_do(u->s, c, r);
	if (rc == STORE_OK) {
		u->target = location_target(http_resp_header(&r->resp,
		    "location"));
		if (u->target == NULL) {
			why_set(call_why(c), 0, "bucket '%s' answers the begin "
			    "of a PUT without a session", u->s->bucket);
			rc = STORE_BROKEN;
		}
	}
	buf_done(&json);
	return rc;
}

/* 308: next from its Range, which says what it has.  False: nonsense. */
static bool
session_range(struct session *u, const struct http_resp *resp)
{
	const char *range = http_resp_header(resp, "range");
	unsigned long long last;
	int n = 0;

	if (range == NULL) {
		u->next = 0;
		return true;
	}
	if ((sscanf(range, "bytes=0-%llu%n", &last, &n) != 1 &&
	    sscanf(range, "0-%llu%n", &last, &n) != 1) ||
	    range[n] != '\0' || last >= u->len)
		return false;
	u->next = last + 1;
	return true;
}

/* What the session answered: OK and *retdone, or OK and next moved. */
static enum store_rc
session_answer(struct session *u, struct store_call *c,
    const struct gcs_req *r, bool *retdone)
{
	*retdone = r->resp.status != 308;
	if (*retdone)
		return gcs_answer_object(u->s, c, r, &u->object);
	if (session_range(u, &r->resp))
		return STORE_OK;
	why_set(call_why(c), 0, "bucket '%s' answers PUT of '%.200s' with a "
	    "range that is none of it", u->s->bucket, u->key);
	return STORE_AMBIGUOUS;
}

/* The rest of the bytes; or, to ask (no bytes), where it is. */
static enum store_rc
session_send(struct session *u, struct store_call *c, bool ask,
    bool *retdone)
{
	struct store_src body = { .size = u->len, .read = session_read,
	    .arg = u };
	struct gcs_req r = { .method = "PUT", .op = "PUT", .key = u->key,
	    .target = u->target, .resumable = true, .write = true,
	    .on_412 = u->on_412, .stall = LONG_STALL };
	enum store_rc rc;

	if (ask || u->next == u->len) {
		http_headers_add(&r.headers, "content-range", "bytes */%llu",
		    (unsigned long long)u->len);
	} else {
		r.src = &body;
		r.off = u->next;
		r.len = u->len - u->next;
		http_headers_add(&r.headers, "content-range",
		    "bytes %llu-%llu/%llu", (unsigned long long)u->next,
		    (unsigned long long)(u->len - 1),
		    (unsigned long long)u->len);
	}
	rc = gcs_do(u->s, c, &r);
	if (rc == STORE_OK)
		rc = session_answer(u, c, &r, retdone);
	if (rc == STORE_AMBIGUOUS)
		u->maybe = true;
	u->gone = rc == STORE_BROKEN;	/* 404, 410: gcs_error.c */
	gcs_req_done(&r);
	return rc;
}

/* Sends, and after a break asks and sends, until it is there. */
static enum store_rc
session_run(struct session *u, struct store_call *c)
{
	uint64_t best = 0;
	bool done = false, ask = false;
	unsigned tries = 0;
	struct why said = { "" };
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	enum store_rc rc;

	call.why = &said;
	for (;;) {
		said.text[0] = '\0';
		rc = session_send(u, &call, ask, &done);
		if (rc == STORE_OK && done)
			return rc;
		if (rc != STORE_OK && (!cloud_passes(rc) || u->gone))
			break;
		/* Where it stands is known after a 308 alone. */
		ask = rc != STORE_OK;
		if (u->next > best) {
			best = u->next;
			tries = 0;
		}
		if (call.once && rc != STORE_OK)
			break;
		if (++tries > TRIES)
			break;
		if (tries > 1 && gcs_pause(&call, tries - 1) != STORE_OK)
			break;
	}
	if (rc == STORE_OK) {
		why_set(call_why(c), 0, "bucket '%s', PUT of '%.200s' stays at "
		    "byte %llu of %llu", u->s->bucket, u->key,
		    (unsigned long long)u->next, (unsigned long long)u->len);
		rc = STORE_BROKEN;
	}
	why_set(call_why(c), 0, "%s", said.text);
	return u->maybe ? STORE_AMBIGUOUS : rc;
}

/* What failed is ended, so that it cannot land late.  499 is yes. */
static void
session_cancel(struct session *u)
{
	struct store_call c = { .deadline = clock_mono() + CANCEL_WITHIN };
	struct gcs_req r = { .method = "DELETE", .op = "DELETE",
	    .target = u->target };

	gcs_do(u->s, &c, &r);
	gcs_req_done(&r);
}

/* Are the bytes there those that were sent? */
static enum store_rc
session_check(struct session *u, struct store_call *c)
{
	struct store_version v = u->object.info.version;
	struct store_call own = { .deadline = clock_mono() + CANCEL_WITHIN };
	char crc[9];

	sigv4_crc_base64(u->sum, crc);
	u->object.info.summed = u->summed == u->len &&
	    strcmp(u->object.crc, crc) == 0;
	if (u->object.info.size == u->len && (u->object.crc[0] == '\0' ||
	    u->summed != u->len || strcmp(u->object.crc, crc) == 0))
		return STORE_OK;
	why_set(call_why(c), 0, "bucket '%s': '%.200s' was damaged on the way "
	    "to it", u->s->bucket, u->key);
	if (gcs_del(&u->s->store, &own, u->key, &v) == STORE_OK)
		return STORE_BROKEN;
	log_error("a damaged object remains", "bucket=%s key=%s",
	    u->s->bucket, LOG_Q(u->key));
	return STORE_INVALID;
}

static enum store_rc
put_resumable(struct gcs *s, struct store_call *c, const char *key,
    struct gcs_req *r, const struct store_src *src, uint64_t off,
    uint64_t len, struct store_info *ret)
{
	struct session u = { .s = s, .key = key, .src = src, .off = off,
	    .len = len, .on_412 = r->on_412 };
	enum store_rc rc;

	rc = session_begin(&u, c, r);
	if (rc == STORE_OK) {
		rc = session_run(&u, c);
		if (rc == STORE_OK)
			rc = session_check(&u, c);
		else if (rc != STORE_UNREACHABLE && !u.gone)
			session_cancel(&u);
	}
	if (rc == STORE_OK)
		*ret = u.object.info;
	free(u.target);
	return rc;
}

enum store_rc
gcs_upload(struct gcs *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, uint64_t off, uint64_t len,
    struct store_info *ret)
{
	struct gcs_req r = { .method = "POST", .op = "PUT", .key = key,
	    .of = GCS_OBJECTS, .lead = "/upload/storage/v1" };
	char generation[GCS_GENERATION];
	struct store_info info = { 0 };
	enum store_rc rc;

	rc = gcs_condition(&r, cond, match, generation, call_why(c));
	if (rc == STORE_OK && len <= s->sizes.single)
		rc = put_single(s, c, key, &r, src, off, len, &info);
	else if (rc == STORE_OK)
		rc = put_resumable(s, c, key, &r, src, off, len, &info);
	gcs_req_done(&r);
	if (rc == STORE_OK && ret != NULL)
		*ret = info;
	return rc;
}

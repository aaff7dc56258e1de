/*
 * s3_multipart: large puts and copies as parallel parts.
 *
 * The caller's thread and up to LANES - 1 of the store's pool each take the
 * next part until none is left.  A helper that the pool starts too late finds
 * the job closed and goes.  A part is sent again a few times here, by itself:
 * parts are idempotent and no part makes an object, and the retry layer could
 * only begin the whole anew.
 *
 * The condition is checked by CompleteMultipartUpload.  When its answer is
 * lost the object is asked for: S3's ETag of an object made of parts follows
 * from the parts' (where they are MD5s), so this very object can be told from
 * another; anything else stays AMBIGUOUS.
 *
 * What fails is aborted, so that no part is left to be paid for; an abort
 * that fails is logged (a rule of the bucket's lifecycle finds the rest).
 */
#include "backends/s3.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/sigv4.h"
#include "backends/xml.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum {
	LANES = 4,
	TRIES = 5,			/* of one part */
	LONG_STALL = 300,		/* s: S3 may think for long */
};

#define FIRST_PAUSE	(50 * NSEC_PER_MSEC)
#define ABORT_WITHIN	(10 * NSEC_PER_SEC)

struct part {
	char	etag[S3_ETAG_MAX + 2];
	char	crc[9];
};

/*
 * One large put or copy.  refs: the caller and each submitted helper.  lock
 * guards next, active, closed, refs, rc, why; parts[i] belongs to the lane
 * that took i until all lanes have ended.
 */
struct job {
	struct s3		*s;
	struct store_call	*c;		/* the caller's; may be NULL */
	const char		*key;
	char			*upload;	/* S3's id of it */
	const struct store_src	*src;		/* a put; or */
	const char		*from;		/* a copy: "/bucket/key" */
	const struct store_version *version;	/* of it */
	uint64_t		 size, part_size;
	unsigned		 nparts;
	struct part		*parts;

	_Atomic bool		 stop;		/* what http looks at */
	struct lock		 lock;
	struct cond		 cond;		/* active fell */
	unsigned		 next, active, refs;
	bool			 closed;
	enum store_rc		 rc;
	struct why		 why;
};

static void
job_unref(struct job *j)
{
	bool last;

	if (j == NULL)
		return;
	lock_take(&j->lock);
	last = --j->refs == 0;
	lock_drop(&j->lock);
	if (!last)
		return;
	cond_done(&j->cond);
	lock_done(&j->lock);
	free(j->parts);
	free(j->upload);
	free(j);
}

/* least: bytes of a part; more where 10,000 of them would not do, in whole
 * MiB then. */
static struct job *
job_new(struct s3 *s, struct store_call *c, const char *key, uint64_t size,
    uint64_t least)
{
	struct job *j = calloc(1, sizeof *j);
	uint64_t part = least;

	assert(size > 0);
	if (j == NULL)
		return NULL;
	/* Bigger parts for bigger objects: fewer requests to pay for. */
	while (part < 64 * S3_MIB && size / part > 64 && least >= 8 * S3_MIB)
		part *= 2;
	if ((size - 1) / part + 1 > S3_PARTS_MAX)
		part = ((size - 1) / S3_PARTS_MAX / S3_MIB + 1) * S3_MIB;
	j->s = s;
	j->c = c;
	j->key = key;
	j->size = size;
	j->part_size = part;
	j->nparts = (unsigned)((size - 1) / part + 1);
	j->refs = 1;
	lock_init(&j->lock, RANK_STORE, "s3 job");
	cond_init(&j->cond);
	j->parts = calloc(j->nparts, sizeof j->parts[0]);
	if (j->parts == NULL) {
		job_unref(j);
		return NULL;
	}
	return j;
}

/* --- answers with an XML body --- */

struct answer {
	char	upload[1024];		/* UploadId */
	char	etag[S3_ETAG_MAX + 2];
	int64_t	secs;			/* LastModified; -1: not said */
};

static int
answer_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct answer *a = arg;
	const char *name = path[depth - 1];

	if (depth != 2 || text == NULL)
		return 0;
	if (strcmp(name, "UploadId") == 0 && strlen(text) < sizeof a->upload)
		snprintf(a->upload, sizeof a->upload, "%s", text);
	else if (strcmp(name, "ETag") == 0 && strlen(text) < sizeof a->etag)
		snprintf(a->etag, sizeof a->etag, "%s", text);
	else if (strcmp(name, "LastModified") == 0)
		a->secs = s3_time_parse(text);
	return 0;
}

/* S3 keeps a slow answer alive with spaces, before the XML too. */
static void
answer_parse(const struct http_resp *resp, struct answer *ret)
{
	const uint8_t *p = resp->body.p;
	size_t n = resp->body.len;

	memset(ret, 0, sizeof *ret);
	ret->secs = -1;
	for (; n > 0 && (*p == ' ' || *p == '\n' || *p == '\r'); n--)
		p++;
	if (xml_parse(p, n, answer_each, ret) != 0) {
		memset(ret, 0, sizeof *ret);
		ret->secs = -1;
	}
}

static enum store_rc
not_understood(struct s3 *s, struct store_call *c, const char *op)
{
	why_set(call_why(c), 0, "bucket '%s' answers %s with something that "
	    "is not understood", s->bucket, op);
	return STORE_BROKEN;
}

/* --- begin, abort --- */

static enum store_rc
job_begin(struct job *j)
{
	struct s3_req r = { .method = "POST", .op = "PUT", .key = j->key };
	struct answer a;
	enum store_rc rc;

	s3_param(&r, "uploads", "");
	if (j->src != NULL && j->s->checksums)
		http_headers_add(&r.headers, "x-amz-checksum-algorithm",
		    "CRC32C");
	rc = s3_do(j->s, j->c, &r);
	if (rc == STORE_OK) {
		answer_parse(&r.resp, &a);
		if (a.upload[0] == '\0')
			rc = not_understood(j->s, j->c, "the begin of a PUT");
		else if ((j->upload = strdup(a.upload)) == NULL)
			rc = STORE_NOMEM;
	}
	s3_req_done(&r);
	return rc;
}

/* With a deadline of its own: also what was cancelled is aborted. */
static void
job_abort(struct job *j)
{
	struct why why = { "" };
	struct store_call c = { .why = &why,
	    .deadline = clock_mono() + ABORT_WITHIN };
	struct s3_req r = { .method = "DELETE", .op = "DELETE",
	    .key = j->key };
	enum store_rc rc;

	s3_param(&r, "uploadId", j->upload);
	rc = s3_do(j->s, &c, &r);
	if (rc != STORE_OK && r.resp.status != 404)
		log_warn("parts of a failed upload remain",
		    "bucket=%s key=%s why=%s", j->s->bucket, LOG_Q(j->key),
		    LOG_Q(why_text(&why, store_rc_errno(rc))));
	s3_req_done(&r);
}

/* --- parts --- */

static enum store_rc
part_send(struct job *j, struct store_call *c, unsigned i)
{
	struct s3_req r = { .method = "PUT", .op = "PUT", .key = j->key,
	    .src = j->src };
	struct answer a;
	const char *etag;
	char number[16];
	uint64_t off = i * j->part_size, len = j->part_size;
	enum store_rc rc;

	if (len > j->size - off)
		len = j->size - off;
	snprintf(number, sizeof number, "%u", i + 1);
	s3_param(&r, "partNumber", number);
	s3_param(&r, "uploadId", j->upload);
	if (j->src != NULL) {
		r.off = off;
		r.len = len;
		r.sum = true;
	} else {
		r.op = "COPY";
		r.late_error = true;
		r.stall = LONG_STALL;
		http_headers_add(&r.headers, "x-amz-copy-source", "%s",
		    j->from);
		http_headers_add(&r.headers, "x-amz-copy-source-range",
		    "bytes=%llu-%llu", (unsigned long long)off,
		    (unsigned long long)(off + len - 1));
		s3_pin(&r.headers, "x-amz-copy-source-", j->version);
	}
	rc = s3_do(j->s, c, &r);
	if (rc == STORE_OK) {
		answer_parse(&r.resp, &a);
		etag = j->src != NULL ? http_resp_header(&r.resp, "etag") :
		    a.etag;
		if (etag == NULL || *etag == '\0' ||
		    strlen(etag) >= sizeof j->parts[i].etag) {
			rc = not_understood(j->s, c, "PUT of a part");
		} else {
			snprintf(j->parts[i].etag, sizeof j->parts[i].etag,
			    "%s", etag);
			snprintf(j->parts[i].crc, sizeof j->parts[i].crc,
			    "%s", r.crc);
		}
	}
	s3_req_done(&r);
	return rc;
}

/* A part until it is there or there is no hope.  c's why is the lane's. */
static enum store_rc
part_try(struct job *j, struct store_call *c, unsigned i)
{
	int64_t pause = FIRST_PAUSE;
	enum store_rc rc = STORE_OK;
	unsigned n;

	for (n = 0; n < TRIES; n++) {
		if (n > 0) {
			/* Between half and all of it: lanes spread out. */
			struct store_call quiet = *c;

			quiet.why = NULL;
			if (call_sleep(&quiet, pause / 2 + (int64_t)
			    (random_u64() % (uint64_t)(pause / 2))) != STORE_OK)
				return rc;
			pause *= 2;
		}
		c->why->text[0] = '\0';
		rc = part_send(j, c, i);
		if (rc != STORE_UNREACHABLE && rc != STORE_THROTTLED &&
		    rc != STORE_BROKEN)
			return rc;
		if (c->once)
			return rc;
	}
	return rc;
}

static void
job_fail(struct job *j, enum store_rc rc, const struct why *why)
{
	lock_take(&j->lock);
	/* The first failure counts, but not over its own echo. */
	if (j->rc == STORE_OK ||
	    (j->rc == STORE_CANCELLED && rc != STORE_CANCELLED)) {
		j->rc = rc;
		j->why = *why;
	}
	lock_drop(&j->lock);
	atomic_store(&j->stop, true);
}

/* Takes parts until there are none.  cancel: what ends it early. */
static void
lane(struct job *j, _Atomic bool *cancel)
{
	struct why why = { "" };
	struct store_call c = { .cancel = cancel, .why = &why };
	enum store_rc rc;
	unsigned i;

	if (j->c != NULL) {
		c.deadline = j->c->deadline;
		c.once = j->c->once;
	}
	for (;;) {
		lock_take(&j->lock);
		i = j->rc == STORE_OK ? j->next : j->nparts;
		if (i < j->nparts)
			j->next++;
		lock_drop(&j->lock);
		if (i == j->nparts)
			return;
		rc = part_try(j, &c, i);
		if (rc != STORE_OK) {
			job_fail(j, rc, &why);
			return;
		}
	}
}

static void
helper(void *arg)
{
	struct job *j = arg;
	bool closed;

	lock_take(&j->lock);
	closed = j->closed;
	if (!closed)
		j->active++;
	lock_drop(&j->lock);
	if (!closed) {
		lane(j, &j->stop);
		lock_take(&j->lock);
		j->active--;
		cond_signal(&j->cond);
		lock_drop(&j->lock);
	}
	job_unref(j);
}

/* All parts, by this thread and helpers. */
static enum store_rc
job_run(struct job *j)
{
	unsigned i, n = j->nparts < LANES ? j->nparts : LANES;
	struct why none = { "" };

	for (i = 1; i < n; i++) {
		lock_take(&j->lock);
		j->refs++;
		lock_drop(&j->lock);
		if (workers_submit(j->s->pool, WORK_NORMAL, helper, j) != 0)
			job_unref(j);
	}
	lane(j, j->c != NULL && j->c->cancel != NULL ? j->c->cancel :
	    &j->stop);
	lock_take(&j->lock);
	j->closed = true;
	while (j->active > 0) {
		cond_wait_until(&j->cond, &j->lock,
		    clock_mono() + 100 * NSEC_PER_MSEC);
		if (call_check(&(struct store_call){ .cancel = j->c != NULL ?
		    j->c->cancel : NULL }) != STORE_OK) {
			lock_drop(&j->lock);
			job_fail(j, STORE_CANCELLED, &none);
			lock_take(&j->lock);
		}
	}
	lock_drop(&j->lock);
	if (j->rc != STORE_OK && j->why.text[0] != '\0')
		why_set(call_why(j->c), 0, "%s", j->why.text);
	return j->rc;
}

/* --- complete --- */

static void
complete_body(const struct job *j, struct buf *b)
{
	const char *p;
	unsigned i;

	buf_puts(b, "<CompleteMultipartUpload "
	    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (i = 0; i < j->nparts; i++) {
		buf_puts(b, "<Part>");
		if (j->parts[i].crc[0] != '\0')
			buf_printf(b, "<ChecksumCRC32C>%s</ChecksumCRC32C>",
			    j->parts[i].crc);
		buf_puts(b, "<ETag>");
		for (p = j->parts[i].etag; *p != '\0'; p++) {
			if (*p == '"')
				buf_puts(b, "&quot;");
			else if (*p == '&')
				buf_puts(b, "&amp;");
			else if (*p == '<')
				buf_puts(b, "&lt;");
			else
				buf_put_u8(b, (uint8_t)*p);
		}
		buf_printf(b, "</ETag><PartNumber>%u</PartNumber></Part>",
		    i + 1);
	}
	buf_puts(b, "</CompleteMultipartUpload>");
}

/* Complete's answer was lost: is the object there, and this one? */
static enum store_rc
complete_look(struct job *j, struct store_info *ret)
{
	struct store_call c = { .deadline = clock_mono() + ABORT_WITHIN };
	const char **etags = calloc(j->nparts, sizeof *etags);
	char want[SIGV4_ETAG_LEN];
	struct store_info info;
	unsigned i;
	int err;

	if (etags == NULL)
		return STORE_AMBIGUOUS;
	for (i = 0; i < j->nparts; i++)
		etags[i] = j->parts[i].etag;
	err = sigv4_parts_etag(etags, j->nparts, want);
	free(etags);
	if (j->c != NULL)
		c.cancel = j->c->cancel;
	if (err != 0 || s3_head(&j->s->store, &c, j->key, &info) != STORE_OK ||
	    info.size != j->size || strncmp(info.version.text, "e:", 2) != 0 ||
	    strcmp(info.version.text + 2, want) != 0)
		return STORE_AMBIGUOUS;
	*ret = info;
	return STORE_OK;
}

static enum store_rc
job_complete(struct job *j, enum store_cond cond,
    const struct store_version *match, struct store_info *ret)
{
	struct s3_req r = { .method = "POST", .op = "PUT", .key = j->key,
	    .write = true, .late_error = true, .stall = LONG_STALL };
	struct buf body = BUF_INIT;
	struct store_mem mem;
	struct store_src src;
	struct answer a;
	enum store_rc rc;

	rc = s3_condition(&r, cond, match, call_why(j->c));
	complete_body(j, &body);
	if (rc == STORE_OK && buf_err(&body) != 0)
		rc = STORE_NOMEM;
	if (rc == STORE_OK) {
		mem = (struct store_mem){ body.p, body.len };
		src = store_src_mem(&mem);
		r.src = &src;
		r.len = body.len;
		s3_param(&r, "uploadId", j->upload);
		rc = s3_do(j->s, j->c, &r);
	}
	if (rc == STORE_OK) {
		answer_parse(&r.resp, &a);
		s3_info(&r.resp, j->size, ret);
		s3_version(a.etag, j->size, ret->mtime / NSEC_PER_SEC,
		    &ret->version);
		/* A 200 that broke off: it may have failed after all. */
		if (a.etag[0] == '\0')
			rc = not_understood(j->s, j->c, "the end of a PUT") ==
			    STORE_BROKEN ? STORE_AMBIGUOUS : rc;
	}
	if (rc == STORE_AMBIGUOUS)
		rc = complete_look(j, ret);
	buf_done(&body);
	s3_req_done(&r);
	return rc;
}

/* Begin, parts, complete or abort; takes j. */
static enum store_rc
job_whole(struct job *j, enum store_cond cond,
    const struct store_version *match, struct store_info *ret)
{
	struct store_info info = { 0 };
	enum store_rc rc;

	rc = job_begin(j);
	if (rc == STORE_OK) {
		rc = job_run(j);
		if (rc == STORE_OK)
			rc = job_complete(j, cond, match, &info);
		if (rc != STORE_OK)
			job_abort(j);
	}
	if (rc == STORE_OK && ret != NULL)
		*ret = info;
	job_unref(j);
	return rc;
}

enum store_rc
s3_put_parts(struct s3 *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct s3_req check = { .key = key };
	struct job *j;
	enum store_rc rc;

	/* Not after a million bytes have gone out. */
	rc = s3_condition(&check, cond, match, call_why(c));
	s3_req_done(&check);
	if (rc != STORE_OK)
		return rc;
	j = job_new(s, c, key, src->size, s->sizes.part);
	if (j == NULL)
		return STORE_NOMEM;
	j->src = src;
	return job_whole(j, cond, match, ret);
}

/* --- copy --- */

static enum store_rc
copy_single(struct s3 *s, struct store_call *c, const char *source,
    const struct store_version *version, const char *to, uint64_t size,
    struct store_info *ret)
{
	struct s3_req r = { .method = "PUT", .op = "COPY", .key = to,
	    .write = true, .late_error = true, .stall = LONG_STALL };
	struct answer a;
	enum store_rc rc;
	int64_t secs;

	http_headers_add(&r.headers, "x-amz-copy-source", "%s", source);
	s3_pin(&r.headers, "x-amz-copy-source-", version);
	rc = s3_do(s, c, &r);
	if (rc == STORE_OK) {
		answer_parse(&r.resp, &a);
		if (a.etag[0] == '\0' && a.secs < 0) {
			not_understood(s, c, "COPY");
			rc = STORE_AMBIGUOUS;
		} else if (ret != NULL) {
			s3_info(&r.resp, size, ret);
			secs = a.secs >= 0 ? a.secs :
			    ret->mtime / NSEC_PER_SEC;
			ret->mtime = secs * NSEC_PER_SEC;
			s3_version(a.etag, size, secs, &ret->version);
		}
	}
	s3_req_done(&r);
	return rc;
}

enum store_rc
s3_copy(struct store *st, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;
	struct buf source = BUF_INIT;
	struct store_info info;
	struct job *j = NULL;
	struct store_version seen;
	enum store_rc rc;
	bool dated;

	rc = s3_key_check(s, to, call_why(c));
	if (rc == STORE_OK)
		rc = s3_head(st, c, from, &info);
	if (rc == STORE_OK && !s3_is_version(&info, version)) {
		why_set(call_why(c), 0, "bucket '%s': '%.200s' is another "
		    "version", s->bucket, from);
		rc = STORE_CHANGED;
	}
	if (rc != STORE_OK)
		return rc;
	buf_printf(&source, "/%s/", s->bucket);
	sigv4_encode(&source, s->prefix, 1);
	sigv4_encode(&source, from, 1);
	buf_cstr(&source);
	/* What was just seen, where the caller named none: parts must be of
	 * one object. */
	if (!version_given(version)) {
		seen = info.version;
		version = &seen;
	}
	dated = strncmp(version->text, "d:", 2) == 0;
	if (buf_err(&source) != 0) {
		rc = STORE_NOMEM;
	} else if (info.size <= s->sizes.copy_single) {
		rc = copy_single(s, c, buf_cstr(&source), version, to,
		    info.size, ret);
	} else {
		j = job_new(s, c, to, info.size, s->sizes.copy_part);
		if (j == NULL) {
			rc = STORE_NOMEM;
		} else {
			j->from = buf_cstr(&source);
			j->version = version;
			rc = job_whole(j, STORE_ALWAYS, NULL, ret);
		}
	}
	/* A date pins no better than to a second (s3_pin): look again. */
	if (rc == STORE_OK && dated) {
		rc = s3_head(st, c, from, &info);
		if (rc == STORE_ABSENT ||
		    (rc == STORE_OK && !s3_is_version(&info, version)))
			rc = STORE_CHANGED;
	}
	buf_done(&source);
	return rc;
}

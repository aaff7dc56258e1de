/*
 * s3_multipart: large puts and copies as parallel parts (parts.h).
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

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/parts.h"
#include "backends/sigv4.h"
#include "backends/xml.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

enum { LONG_STALL = 300 };	/* s: S3 may think for long */

#define ABORT_WITHIN	(10 * NSEC_PER_SEC)

struct part {
	char	etag[ETAG_MAX + 2];
	char	crc[9];
	bool	summed;
};

/* One large put or copy.  parts[i] belongs to the lane that sends i. */
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
};

static void
job_free(struct job *j)
{
	if (j == NULL)
		return;
	free(j->parts);
	free(j->upload);
	free(j);
}

/* least, wanted: bytes of a part (parts.h). */
static struct job *
job_new(struct s3 *s, struct store_call *c, const char *key, uint64_t size,
    uint64_t least, uint64_t wanted)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL)
		return NULL;
	j->s = s;
	j->c = c;
	j->key = key;
	j->size = size;
	j->nparts = parts_size(size, least, wanted, S3_PARTS_MAX,
	    &j->part_size);
	j->parts = calloc(j->nparts, sizeof j->parts[0]);
	if (j->parts == NULL) {
		job_free(j);
		return NULL;
	}
	return j;
}

/* --- answers with an XML body --- */

struct answer {
	char	upload[1024];		/* UploadId */
	char	etag[ETAG_MAX + 2];
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
	if (j->src != NULL && atomic_load(&j->s->checksums))
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
part_send(void *arg, struct store_call *c, unsigned i)
{
	struct job *j = arg;
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
		r.own_keys = true;
		http_headers_add(&r.headers, "x-amz-copy-source", "%s",
		    j->from);
		http_headers_add(&r.headers, "x-amz-copy-source-range",
		    "bytes=%llu-%llu", (unsigned long long)off,
		    (unsigned long long)(off + len - 1));
		etag_pin(&r.headers, "x-amz-copy-source-", j->version);
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
			j->parts[i].summed = r.summed;
		}
	}
	s3_req_done(&r);
	return rc;
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
		etag_info(&r.resp, j->size, ret);
		etag_version(a.etag, j->size, ret->mtime / NSEC_PER_SEC,
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

/* It is made of its parts, whose ETags were named to make it. */
static bool
all_summed(const struct job *j)
{
	unsigned i;

	for (i = 0; i < j->nparts && j->parts[i].summed; i++)
		;
	return i == j->nparts;
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
		rc = parts_run(j->s->pool, j->c, j->nparts, part_send, j);
		if (rc == STORE_OK)
			rc = job_complete(j, cond, match, &info);
		if (rc != STORE_OK)
			job_abort(j);
	}
	info.summed = all_summed(j);
	if (rc == STORE_OK && ret != NULL)
		*ret = info;
	job_free(j);
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
	j = job_new(s, c, key, src->size, s->sizes.part, src->part);
	if (j == NULL)
		return STORE_NOMEM;
	j->src = src;
	return job_whole(j, cond, match, ret);
}

/* --- copy --- */

static enum store_rc
copy_single(struct s3 *s, struct store_call *c, const char *source,
    const struct store_version *version, const char *to, enum store_cond cond,
    uint64_t size, struct store_info *ret)
{
	struct s3_req r = { .method = "PUT", .op = "COPY", .key = to,
	    .write = true, .late_error = true, .stall = LONG_STALL,
	    .own_keys = true };
	struct answer a;
	enum store_rc rc;
	int64_t secs;

	http_headers_add(&r.headers, "x-amz-copy-source", "%s", source);
	etag_pin(&r.headers, "x-amz-copy-source-", version);
	if (cond == STORE_IF_ABSENT && s3_dialect(s)->copy_absent != NULL)
		http_headers_add(&r.headers, s3_dialect(s)->copy_absent, "*");
	rc = s3_do(s, c, &r);
	if (rc == STORE_OK) {
		answer_parse(&r.resp, &a);
		if (a.etag[0] == '\0' && a.secs < 0) {
			not_understood(s, c, "COPY");
			rc = STORE_AMBIGUOUS;
		} else if (ret != NULL) {
			etag_info(&r.resp, size, ret);
			secs = a.secs >= 0 ? a.secs :
			    ret->mtime / NSEC_PER_SEC;
			ret->mtime = secs * NSEC_PER_SEC;
			etag_version(a.etag, size, secs, &ret->version);
		}
	}
	s3_req_done(&r);
	return rc;
}

/* A copy that was refused by a condition: whose, the source's or ours? */
static enum store_rc
copy_refused(struct s3 *s, struct store_call *c, const char *to)
{
	struct store_call quiet = c != NULL ? *c : (struct store_call){ 0 };
	struct store_info info;

	quiet.why = NULL;
	return s3_head(&s->store, &quiet, to, &info) == STORE_OK ?
	    STORE_EXISTS : STORE_CHANGED;
}

/* Is there what a copy would replace?  It is asked wherever no document says
 * that copies keep the condition: versitygw and MinIO ignore it. */
static enum store_rc
copy_look(struct s3 *s, struct store_call *c, const char *to, bool parts)
{
	const struct s3_dialect *d = s3_dialect(s);
	struct store_info info;
	enum store_rc rc;

	if ((parts ? d->parts : d->copy) == S3_KEPT)
		return STORE_OK;
	rc = s3_head(&s->store, c, to, &info);
	return rc == STORE_OK ? STORE_EXISTS : rc == STORE_ABSENT ?
	    STORE_OK : rc;
}

static enum store_rc
copy_object(struct s3 *s, struct store_call *c, const char *source,
    const struct store_version *version, const char *to, enum store_cond cond,
    uint64_t size, struct store_info *ret)
{
	bool parts = size > s->sizes.copy_single;
	enum store_rc rc = STORE_OK;
	struct job *j;

	if (cond == STORE_IF_ABSENT)
		rc = copy_look(s, c, to, parts);
	if (rc == STORE_OK && !parts)
		return copy_single(s, c, source, version, to, cond, size, ret);
	if (rc == STORE_OK)
		rc = s3_keep(s, c, to, s3_dialect(s)->parts, &cond, NULL);
	if (rc != STORE_OK)
		return rc;
	j = job_new(s, c, to, size, s->sizes.copy_part, 0);
	if (j == NULL)
		return STORE_NOMEM;
	j->from = source;
	j->version = version;
	return job_whole(j, cond, NULL, ret);
}

/* From f, which may be s, to s. */
static enum store_rc
copy_between(struct s3 *f, struct s3 *s, struct store_call *c,
    const char *from, const struct store_version *version, const char *to,
    enum store_cond cond, struct store_info *ret)
{
	struct buf source = BUF_INIT;
	struct store_info info;
	struct store_version seen;
	enum store_rc rc;
	bool dated;

	rc = s3_key_check(s, to, call_why(c));
	if (rc == STORE_OK)
		rc = s3_head(&f->store, c, from, &info);
	if (rc == STORE_OK && !etag_is_version(&info, version)) {
		why_set(call_why(c), 0, "bucket '%s': '%.200s' is another "
		    "version", f->bucket, from);
		rc = STORE_CHANGED;
	}
	if (rc != STORE_OK)
		return rc;
	buf_printf(&source, "/%s/", f->bucket);
	sigv4_encode(&source, f->prefix, 1);
	sigv4_encode(&source, from, 1);
	buf_cstr(&source);
	/* What was just seen, where the caller named none: parts must be of
	 * one object. */
	if (!version_given(version)) {
		seen = info.version;
		version = &seen;
	}
	dated = strncmp(version->text, "d:", 2) == 0;
	rc = buf_err(&source) != 0 ? STORE_NOMEM : copy_object(s, c,
	    buf_cstr(&source), version, to, cond, info.size, ret);
	if (rc == STORE_CHANGED && cond == STORE_IF_ABSENT)
		rc = copy_refused(s, c, to);
	/* A date pins no better than to a second (etag_pin): look again. */
	if (rc == STORE_OK && dated) {
		rc = s3_head(&f->store, c, from, &info);
		if (rc == STORE_ABSENT ||
		    (rc == STORE_OK && !etag_is_version(&info, version)))
			rc = STORE_CHANGED;
	}
	buf_done(&source);
	return rc;
}

enum store_rc
s3_copy(struct store *st, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;

	return copy_between(s, s, c, from, version, to, STORE_ALWAYS, ret);
}

/* One server, and whoever we are there may read the one and write the other:
 * it need not be so, and then it says DENIED. */
static bool
can_pull(const struct s3 *f, const struct s3 *s)
{
	if ((f->creds == NULL) != (s->creds == NULL) ||
	    strcmp(f->profile, s->profile) != 0)
		return false;
	return (f->aws && s->aws) || strcmp(f->server, s->server) == 0;
}

enum store_rc
s3_pull(struct store *st, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;
	struct store *below = store_bare(from);

	if (below->ops != st->ops || !can_pull((struct s3 *)below, s))
		return STORE_UNSUPPORTED;
	return copy_between((struct s3 *)below, s, c, key, version, to,
	    STORE_IF_ABSENT, ret);
}

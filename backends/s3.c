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
 * Conditions of writes that a store is known not to honour (s3_dialect.h) are
 * never left out unseen: such a call is refused, or, where the caller says
 * that nobody else writes that key (`sole`), the object is looked for before.
 * So it is where nothing is known, until the store has shown once what it does
 * (prove): one that takes no notice would put over what is there.
 *
 * Not here: buckets made, versions of S3's own versioning.
 */
#include "backends/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/fetch.h"
#include "base/buf.h"
#include "base/log.h"

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
	if (atomic_load(&s->checksums))
		http_headers_add(&r.headers, "x-amz-checksum-mode",
		    "ENABLED");
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

/* A HEAD that asked for the sum was refused, without a word, and a GET was
 * not.  It may have been keys that had ended, which the GET has renewed. */
static void
learn_sums(struct s3 *s, struct store_call *c, const char *key)
{
	struct store_call quiet = *c;
	struct store_info info;
	int status = 0;

	quiet.why = NULL;
	(void)head_once(s, &quiet, key, &info, &status);
	if (status == 400 || status == 501)
		s3_sums_off(s);
}

enum store_rc
s3_head(struct store *st, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	struct why said = { "" };
	struct store_info info;
	bool summed = atomic_load(&s->checksums);
	int status = 0;
	enum store_rc rc;

	call.why = &said;
	rc = head_once(s, &call, key, &info, &status);
	if ((status >= 400 && status < 500 && status != 429 &&
	    (status != 404 || !s->aws || !atomic_load(&s->proven))) ||
	    (status == 501 && summed)) {
		said.text[0] = '\0';
		rc = s3_get(st, &call, key, NULL, 0, 1, drop_sink, NULL,
		    &info);
		if (summed && (status == 400 || status == 501) &&
		    (rc == STORE_OK || rc == STORE_ABSENT))
			learn_sums(s, &call, key);
	}
	if (rc == STORE_OK && ret != NULL)
		*ret = info;
	else if (rc != STORE_OK)
		why_set(call_why(c), 0, "%s", said.text);
	return rc;
}

/* What a delete by version finds before it: where it is not documented, the
 * condition may be ignored, and this narrows the window to a moment. */
static enum store_rc
del_look(struct s3 *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct store_info info;
	enum store_rc rc;

	if (strncmp(match->text, "e:", 2) == 0 &&
	    s3_dialect(s)->del == S3_KEPT)
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
		    strncmp(match->text, "e:", 2) == 0 &&
		    (s3_dialect(s)->del != S3_REFUSED ||
		    (c != NULL && c->probe)))
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

/* A put by condition, where the store keeps none: is it one that would be
 * refused? */
static enum store_rc
put_look(struct s3 *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match)
{
	struct store_info info;
	enum store_rc rc;

	rc = s3_head(&s->store, c, key, &info);
	if (cond == STORE_IF_ABSENT)
		return rc == STORE_OK ? STORE_EXISTS : rc == STORE_ABSENT ?
		    STORE_OK : rc;
	if (rc == STORE_OK && !etag_is_version(&info, match))
		rc = STORE_CHANGED;
	return rc;
}

enum store_rc
s3_keep(struct s3 *s, struct store_call *c, const char *key,
    enum s3_kept kept, enum store_cond *cond,
    const struct store_version *match)
{
	enum store_rc rc;

	if (*cond == STORE_ALWAYS || kept == S3_TRIED || kept == S3_KEPT ||
	    (c != NULL && c->probe))
		return STORE_OK;
	if (c == NULL || !c->sole) {
		why_set(call_why(c), 0, "bucket '%s' (%s) does not honour %s "
		    "on a put, so of two writers of '%.200s' both would be "
		    "told yes", s->bucket, s3_dialect(s)->name, *cond ==
		    STORE_IF_ABSENT ? "If-None-Match" : "If-Match", key);
		return STORE_UNSUPPORTED;
	}
	rc = put_look(s, c, key, *cond, match);
	if (kept == S3_REFUSED)
		*cond = STORE_ALWAYS;
	return rc;
}

static enum store_rc
put_single(struct s3 *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct s3_req r = { .method = "PUT", .op = "PUT", .key = key,
	    .src = src, .len = src->size, .sum = true, .write = true };
	enum store_rc rc;

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
			rc = s3_head(&s->store, c, key, ret);
		ret->summed = r.summed;
	}
	s3_req_done(&r);
	return rc;
}

/* As the store is taken to keep conditions. */
static enum store_rc
put_kept(struct s3 *s, struct store_call *c, const char *key,
    enum s3_kept kept, enum store_cond cond,
    const struct store_version *match, const struct store_src *src,
    struct store_info *ret)
{
	enum store_rc rc;

	rc = s3_keep(s, c, key, kept, &cond, match);
	if (rc != STORE_OK)
		return rc;
	if (src->size > s->sizes.single)
		return s3_put_parts(s, c, key, cond, match, src, ret);
	return put_single(s, c, key, cond, match, src, ret);
}

/* What was just put is put once more, if it is not there: does the store keep
 * the condition?  Whatever it does, these bytes are there. */
static enum store_rc
prove(struct s3 *s, struct store_call *c, const char *key,
    const struct store_src *src, struct store_info *ret)
{
	struct store_call quiet = *c;
	struct store_info info;
	enum store_rc rc;

	quiet.why = NULL;
	rc = put_single(s, &quiet, key, STORE_IF_ABSENT, NULL, src, &info);
	switch (rc) {
	case STORE_EXISTS:
		atomic_store(&s->absent[0], S3_KEPT);
		return STORE_OK;
	case STORE_OK:
		if (ret != NULL)
			*ret = info;
		if (atomic_exchange(&s->absent[0], S3_IGNORED) == S3_TRIED)
			log_warn("the store takes no notice of If-None-Match: "
			    "objects are looked for before they are put",
			    "bucket=%s", s->bucket);
		return STORE_OK;
	case STORE_THROTTLED:
	case STORE_UNREACHABLE:
		return STORE_OK;	/* the next one tells */
	default:
		/* of which version are they? */
		rc = ret != NULL ? s3_head(&s->store, &quiet, key, ret) :
		    STORE_OK;
		return rc == STORE_OK ? rc : STORE_AMBIGUOUS;
	}
}

/* Of a store of which nothing is documented, what it has shown. */
static enum s3_kept
shown(struct s3 *s, enum store_cond cond, bool parts)
{
	if (atomic_load(&s->refuses[0]) || atomic_load(&s->refuses[parts]))
		return S3_REFUSED;
	return cond == STORE_IF_ABSENT ?
	    (enum s3_kept)atomic_load(&s->absent[parts]) : S3_TRIED;
}

static enum store_rc
s3_put(struct store *st, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct s3 *s = (struct s3 *)st;
	const struct s3_dialect *d = s3_dialect(s);
	bool parts = src->size > s->sizes.single, look;
	enum s3_kept kept = parts ? d->parts : d->put;
	enum store_rc rc;

	rc = s3_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (kept == S3_TRIED)
		kept = shown(s, cond, parts);
	look = kept == S3_TRIED && cond == STORE_IF_ABSENT && c != NULL &&
	    c->sole && !c->probe;
	rc = put_kept(s, c, key, look ? S3_IGNORED : kept, cond, match, src,
	    ret);
	if (rc == STORE_EXISTS && kept == S3_TRIED && !look)
		atomic_store(&s->absent[parts], S3_KEPT);
	/* of one in parts a look costs little, and all of it again much */
	if (rc == STORE_OK && look && !parts)
		return prove(s, c, key, src, ret);
	if (rc != STORE_UNSUPPORTED || cond == STORE_ALWAYS ||
	    kept != S3_TRIED || c == NULL || !c->sole || c->probe ||
	    (cond == STORE_IF_MATCH && strncmp(match->text, "e:", 2) != 0))
		return rc;
	/* The condition may be what it cannot do: does it without? */
	rc = put_kept(s, c, key, S3_REFUSED, cond, match, src, ret);
	if (rc == STORE_OK && !atomic_exchange(&s->refuses[parts], true))
		log_info("the store refuses conditions: objects are looked "
		    "for before they are put", "bucket=%s parts=%d",
		    s->bucket, parts);
	return rc;
}

static unsigned
s3_caps(struct store *st)
{
	struct s3 *s = (struct s3 *)st;
	const struct s3_dialect *d = s3_dialect(s);
	unsigned caps = STORE_CAN_COPY;

	if (d->put == S3_KEPT || (d->put == S3_TRIED &&
	    !atomic_load(&s->refuses[0]) &&
	    atomic_load(&s->absent[0]) != S3_IGNORED))
		caps |= STORE_CAN_ABSENT | STORE_CAN_MATCH;
	if (!d->dirs)
		caps |= STORE_LIST_SORTED | STORE_LIST_START_AFTER;
	if (d->tags)
		caps |= STORE_HAS_TAGS;
	if (d->copy == S3_KEPT && d->parts == S3_KEPT)
		caps |= STORE_PULL_KEEPS;
	if (d->del == S3_KEPT || d->del == S3_TRIED)
		caps |= STORE_DELETE_MATCH;
	return caps;
}

void
s3_free(struct store *st)
{
	struct s3 *s = (struct s3 *)st;

	workers_free(s->pool);
	creds_aws_close(s->sessions);	/* they use what follows */
	http_free(s->http);
	creds_aws_close(s->creds);
	free(s->url);
	free(s->bucket);
	free(s->prefix);
	free(s->region);
	free(s->profile);
	free(s->server);
	free(s->base);
	free(s->host);
	free(s->path);
	free(s);
}

static struct store *
s3_bare(struct store *st)
{
	return st;
}

const struct store_ops s3_ops = {
	.get = s3_get,
	.put = s3_put,
	.head = s3_head,
	.del = s3_del,
	.list = s3_list,
	.copy = s3_copy,
	.pull = s3_pull,
	.tags = s3_tags,
	.caps = s3_caps,
	.bare = s3_bare,
	.offer = s3_offer,
	.left = s3_left,
	.free = s3_free,
};

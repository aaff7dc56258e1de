/*
 * gcs_copy: copies within the bucket or from another, by rewrite.
 *
 * The service copies for as long as it cares to and gives a token with which
 * to go on; with the same token a step may be asked again, so a step that
 * fails in passing is.  The source's generation is pinned in every step, also
 * where the caller named none: then it is the one there at the begin.
 */
#include "backends/gcs.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cloud.h"

enum { TRIES = 5, LONG_STALL = 300 };

struct rewrite {
	struct gcs		*s;		/* from's: asked there */
	const char		*from;
	bool			 absent;	/* only if `to` is not there */
	const char		*generation;
	const char		*tail;		/* /rewriteTo/b/.../o/... */
	char			*token;		/* NULL at first */
	bool			 done;
	struct gcs_object	 object;	/* then */
};

/* {"done":...,"rewriteToken":...,"resource":{...}} */
static enum store_rc
read_answer(struct rewrite *w, struct store_call *c, const struct buf *body)
{
	json_t *o = json_loadb((const char *)body->p, body->len, 0, NULL);
	const char *token = json_string_value(json_object_get(o,
	    "rewriteToken"));
	enum store_rc rc = STORE_OK;

	w->done = json_is_true(json_object_get(o, "done"));
	if (w->done && gcs_object_json(json_object_get(o, "resource"),
	    &w->object) != 0)
		rc = STORE_AMBIGUOUS;
	else if (!w->done && token == NULL)
		rc = STORE_BROKEN;
	else if (!w->done) {
		free(w->token);
		w->token = strdup(token);
		if (w->token == NULL)
			rc = STORE_NOMEM;
	}
	if (rc == STORE_AMBIGUOUS || rc == STORE_BROKEN)
		why_set(call_why(c), 0, "bucket '%s' answers COPY with "
		    "something that is not understood", w->s->bucket);
	json_decref(o);
	return rc;
}

static enum store_rc
step(struct rewrite *w, struct store_call *c)
{
	struct gcs_req r = { .method = "POST", .op = "COPY", .key = w->from,
	    .tail = w->tail, .write = true, .stall = LONG_STALL };
	char most[24];
	enum store_rc rc;

	gcs_param(&r, "ifSourceGenerationMatch", w->generation);
	if (w->absent)
		gcs_param(&r, "ifGenerationMatch", "0");
	if (w->token != NULL)
		gcs_param(&r, "rewriteToken", w->token);
	if (w->s->sizes.rewrite != 0) {
		snprintf(most, sizeof most, "%llu",
		    (unsigned long long)w->s->sizes.rewrite);
		gcs_param(&r, "maxBytesRewrittenPerCall", most);
	}
	/* Without a body it is one that curl would repeat (http.h). */
	r.fresh = w->token == NULL;
	rc = gcs_do(w->s, c, &r);
	if (rc == STORE_OK)
		rc = read_answer(w, c, &r.resp.body);
	gcs_req_done(&r);
	return rc;
}

static enum store_rc
steps(struct rewrite *w, struct store_call *c)
{
	struct why said = { "" };
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	bool maybe = false;
	unsigned tries = 0;
	enum store_rc rc;

	call.why = &said;
	for (;;) {
		said.text[0] = '\0';
		rc = step(w, &call);
		if (rc == STORE_OK && w->done)
			return rc;
		if (rc == STORE_OK) {
			tries = 0;
			continue;
		}
		maybe = maybe || rc == STORE_AMBIGUOUS;
		/* The first step is the retry layer's to make again. */
		if (!cloud_passes(rc) || w->token == NULL || call.once ||
		    ++tries == TRIES || gcs_pause(&call, tries) != STORE_OK)
			break;
	}
	why_set(call_why(c), 0, "%s", said.text);
	return maybe ? STORE_AMBIGUOUS : rc;
}

/* A copy that was refused by a condition: whose, the source's or ours? */
static enum store_rc
refused(struct gcs *s, struct store_call *c, const char *to)
{
	struct store_call quiet = c != NULL ? *c : (struct store_call){ 0 };
	struct store_info info;

	quiet.why = NULL;
	return gcs_head(&s->store, &quiet, to, &info) == STORE_OK ?
	    STORE_EXISTS : STORE_CHANGED;
}

/* From f, which may be s, to s. */
static enum store_rc
copy_between(struct gcs *f, struct gcs *s, struct store_call *c,
    const char *from, const struct store_version *version, const char *to,
    bool absent, struct store_info *ret)
{
	struct rewrite w = { .s = f, .from = from, .absent = absent };
	struct buf tail = BUF_INIT;
	char generation[GCS_GENERATION];
	struct store_info info;
	enum store_rc rc;

	rc = gcs_key_check(f, from, call_why(c));
	if (rc == STORE_OK)
		rc = gcs_key_check(s, to, call_why(c));
	/* An emulator ignores the condition: look first. */
	if (rc == STORE_OK && absent && !s->google &&
	    gcs_head(&s->store, c, to, &info) == STORE_OK)
		rc = STORE_EXISTS;
	if (rc != STORE_OK)
		return rc;
	if (!s->google || !gcs_generation(version, generation)) {
		rc = gcs_head(&f->store, c, from, &info);
		if (rc == STORE_OK && version_given(version) &&
		    strcmp(version->text, info.version.text) != 0) {
			why_set(call_why(c), 0, "bucket '%s': '%.200s' is "
			    "another version", f->bucket, from);
			rc = STORE_CHANGED;
		}
		if (rc != STORE_OK || !gcs_generation(&info.version,
		    generation))
			return rc;
	}
	w.generation = generation;
	buf_puts(&tail, "/rewriteTo");
	gcs_path(s, &tail, to);
	w.tail = buf_cstr(&tail);
	rc = buf_err(&tail) == 0 ? steps(&w, c) : STORE_NOMEM;
	if (rc == STORE_CHANGED && absent)
		rc = refused(s, c, to);
	if (rc == STORE_OK && ret != NULL)
		*ret = w.object.info;
	free(w.token);
	buf_done(&tail);
	return rc;
}

enum store_rc
gcs_copy(struct store *st, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct gcs *s = (struct gcs *)st;

	return copy_between(s, s, c, from, version, to, false, ret);
}

/* One service, and whoever we are there may read the one and write the other:
 * it need not be so, and then it says DENIED. */
enum store_rc
gcs_pull(struct store *st, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct gcs *s = (struct gcs *)st, *f;
	struct store *below = store_bare(from);

	if (below->ops != st->ops)
		return STORE_UNSUPPORTED;
	f = (struct gcs *)below;
	if (strcmp(f->base, s->base) != 0 || (f->creds == NULL) !=
	    (s->creds == NULL) || strcmp(f->profile, s->profile) != 0)
		return STORE_UNSUPPORTED;
	return copy_between(f, s, c, key, version, to, true, ret);
}

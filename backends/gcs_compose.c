/*
 * gcs_compose: a large put as parallel parts, composed into one object.
 *
 * GCS has no multipart upload with conditions; what it has is compose, which
 * makes one object of up to 32.  The parts are objects below GCS_PARTS, named
 * by a random id, each put as any object is (resumable, checked by its sum),
 * and deleted in the end.  The condition is compose's.
 *
 * Where it helps and where not.  Parts cost where deleting them does: in a
 * bucket with soft delete they are kept and paid for, under a retention
 * policy they cannot be deleted, in a colder class than STANDARD they are
 * paid for as if they had been kept.  So, with compose=auto, the bucket is
 * asked once, and parts are made only where they are free; one whose answer
 * is withheld gets none.  compose=on and =off say it outright.  Also a part
 * that cannot be deleted ends it for this store.
 *
 * The object's metadata carries the id (gnsfs-put), by which it is known
 * again when the answer to compose is lost.
 */
#include "backends/gcs.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/parts.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum { COMPOSE_MAX = 32, TRIES = 4, LONG_STALL = 300 };

#define CLEAN_WITHIN	(30 * NSEC_PER_SEC)

/* --- the bucket --- */

/* Are parts free in a bucket that says this of itself? */
static bool
parts_are_free(const struct buf *body)
{
	json_t *o = json_loadb((const char *)body->p, body->len, 0, NULL);
	const char *class = json_string_value(json_object_get(o,
	    "storageClass"));
	json_t *soft = json_object_get(json_object_get(o, "softDeletePolicy"),
	    "retentionDurationSeconds");
	const char *secs = json_string_value(soft);
	bool is_free;

	is_free = class != NULL && strcmp(class, "STANDARD") == 0 &&
	    json_object_get(o, "retentionPolicy") == NULL &&
	    !json_is_true(json_object_get(o, "defaultEventBasedHold")) &&
	    (soft == NULL || (secs != NULL && strcmp(secs, "0") == 0) ||
	    (json_is_integer(soft) && json_integer_value(soft) == 0));
	json_decref(o);
	return is_free;
}

static enum gcs_compose
ask_bucket(struct gcs *s, struct store_call *c)
{
	struct gcs_req r = { .method = "GET", .op = "HEAD",
	    .of = GCS_BUCKET };
	struct store_call quiet = c != NULL ? *c : (struct store_call){ 0 };
	enum gcs_compose how = GCS_COMPOSE_OFF;
	enum store_rc rc;

	quiet.why = NULL;
	gcs_param(&r, "fields", "storageClass,retentionPolicy,"
	    "softDeletePolicy,defaultEventBasedHold");
	rc = gcs_do(s, &quiet, &r);
	if (rc == STORE_OK && parts_are_free(&r.resp.body))
		how = GCS_COMPOSE_ON;
	else if (cloud_passes(rc) || rc == STORE_CANCELLED)
		how = GCS_COMPOSE_AUTO;		/* ask again */
	gcs_req_done(&r);
	if (how != GCS_COMPOSE_AUTO)
		log_debug("large puts", "bucket=%s composed=%d", s->bucket,
		    how == GCS_COMPOSE_ON);
	return how;
}

bool
gcs_compose_wanted(struct gcs *s, struct store_call *c, uint64_t size)
{
	int how = atomic_load(&s->compose), was = GCS_COMPOSE_AUTO;

	if (size < s->sizes.compose || size <= s->sizes.part)
		return false;
	if (how == GCS_COMPOSE_AUTO) {
		how = (int)ask_bucket(s, c);
		if (how != GCS_COMPOSE_AUTO)
			atomic_compare_exchange_strong(&s->compose, &was,
			    how);
	}
	return how == GCS_COMPOSE_ON;
}

/* --- parts --- */

struct parts {
	struct gcs		*s;
	const char		*key;
	const struct store_src	*src;
	uint64_t		 part;		/* bytes of one */
	unsigned		 n;
	char			 id[33];
	struct store_version	 versions[COMPOSE_MAX];
	_Atomic bool		 unsummed;	/* a part is */
};

static void
part_key(const struct parts *p, unsigned i, char *ret, size_t size)
{
	snprintf(ret, size, GCS_PARTS "%s/%02u", p->id, i);
}

static enum store_rc
part_send(void *arg, struct store_call *c, unsigned i)
{
	struct parts *p = arg;
	struct store_info info;
	uint64_t off = i * p->part, len = p->part;
	char key[64];
	enum store_rc rc;

	part_key(p, i, key, sizeof key);
	if (len > p->src->size - off)
		len = p->src->size - off;
	rc = gcs_upload(p->s, c, key, STORE_ALWAYS, NULL, p->src, off, len,
	    &info);
	if (rc == STORE_OK)
		p->versions[i] = info.version;
	if (rc == STORE_OK && !info.summed)
		atomic_store(&p->unsummed, true);
	/* The name is ours alone: again is safe. */
	return rc == STORE_AMBIGUOUS ? STORE_BROKEN : rc;
}

static enum store_rc
part_delete(void *arg, struct store_call *c, unsigned i)
{
	struct parts *p = arg;
	char key[64];
	enum store_rc rc;

	part_key(p, i, key, sizeof key);
	rc = gcs_del(&p->s->store, c, key, NULL);
	return rc == STORE_AMBIGUOUS ? STORE_BROKEN : rc;
}

/* With a deadline of its own: also what was cancelled is cleaned up. */
static void
parts_clean(struct parts *p)
{
	struct why why = { "" };
	struct store_call c = { .why = &why,
	    .deadline = clock_mono() + CLEAN_WITHIN };
	enum store_rc rc;

	rc = parts_run(p->s->pool, &c, p->n, part_delete, p);
	if (rc == STORE_OK)
		return;
	log_warn("parts of a large put remain",
	    "bucket=%s prefix=%s%s%s why=%s",
	    p->s->bucket, p->s->prefix, GCS_PARTS, p->id,
	    LOG_Q(why_text(&why, store_rc_errno(rc))));
	if (!cloud_passes(rc))
		atomic_store(&p->s->compose, GCS_COMPOSE_OFF);
}

/* --- compose --- */

static int
compose_body(const struct parts *p, struct buf *b)
{
	struct buf name = BUF_INIT;
	char key[64];
	unsigned i;
	int err = 0;

	buf_puts(b, "{\"sourceObjects\":[");
	for (i = 0; err == 0 && i < p->n; i++) {
		part_key(p, i, key, sizeof key);
		buf_reset(&name);
		buf_printf(&name, "%s%s", p->s->prefix, key);
		buf_printf(b, "%s{\"name\":", i > 0 ? "," : "");
		err = gcs_json_string(b, buf_cstr(&name));
		buf_printf(b, ",\"generation\":\"%s\"}",
		    p->versions[i].text + 2);
	}
	buf_printf(b, "],\"destination\":{\"contentType\":"
	    "\"application/octet-stream\",\"metadata\":{\"gnsfs-put\":"
	    "\"%s\"}}}", p->id);
	if (err == 0)
		err = buf_err(&name) != 0 ? buf_err(&name) : buf_err(b);
	buf_done(&name);
	return err;
}

/* Compose's answer was lost: is the object there, and this one? */
static bool
compose_look(struct parts *p, struct store_call *c, struct gcs_object *ret)
{
	struct store_call quiet = c != NULL ? *c : (struct store_call){ 0 };
	struct gcs_req r = { .method = "GET", .op = "HEAD", .key = p->key };
	const char *id;
	json_t *o = NULL;
	bool ours = false;

	quiet.why = NULL;
	gcs_param(&r, "fields", GCS_FIELDS ",metadata");
	if (gcs_do(p->s, &quiet, &r) == STORE_OK) {
		o = json_loadb((const char *)r.resp.body.p, r.resp.body.len,
		    0, NULL);
		id = json_string_value(json_object_get(json_object_get(o,
		    "metadata"), "gnsfs-put"));
		ours = id != NULL && strcmp(id, p->id) == 0 &&
		    gcs_object_json(o, ret) == 0;
	}
	json_decref(o);
	gcs_req_done(&r);
	return ours;
}

static enum store_rc
compose_once(struct parts *p, struct store_call *c, enum store_cond cond,
    const struct store_version *match, const struct buf *body,
    struct gcs_object *ret)
{
	struct gcs_req r = { .method = "POST", .op = "COMPOSE",
	    .key = p->key, .tail = "/compose", .write = true,
	    .stall = LONG_STALL };
	struct store_mem mem = { body->p, body->len };
	struct store_src src = store_src_mem(&mem);
	char generation[GCS_GENERATION];
	enum store_rc rc;

	rc = gcs_condition(&r, cond, match, generation, call_why(c));
	if (rc == STORE_OK) {
		http_headers_add(&r.headers, "content-type",
		    "application/json; charset=UTF-8");
		r.src = &src;
		r.len = body->len;
		rc = gcs_do(p->s, c, &r);
	}
	if (rc == STORE_OK)
		rc = gcs_answer_object(p->s, c, &r, ret);
	if (rc == STORE_ABSENT) {
		why_set(call_why(c), 0, "bucket '%s', PUT of '%.200s': a part "
		    "of it is gone", p->s->bucket, p->key);
		rc = STORE_BROKEN;
	}
	gcs_req_done(&r);
	return rc;
}

static enum store_rc
compose(struct parts *p, struct store_call *c, enum store_cond cond,
    const struct store_version *match, struct gcs_object *ret)
{
	struct why said = { "" };
	struct store_call call = c != NULL ? *c : (struct store_call){ 0 };
	struct buf body = BUF_INIT;
	bool maybe = false;
	unsigned n;
	enum store_rc rc = STORE_NOMEM;

	call.why = &said;
	if (compose_body(p, &body) != 0)
		goto out;
	for (n = 1; ; n++) {
		said.text[0] = '\0';
		rc = compose_once(p, &call, cond, match, &body, ret);
		if (rc == STORE_OK)
			break;
		maybe = maybe || rc == STORE_AMBIGUOUS;
		if (maybe && compose_look(p, c, ret)) {
			rc = STORE_OK;
			break;
		}
		if (!cloud_passes(rc) || call.once || n == TRIES ||
		    gcs_pause(&call, n) != STORE_OK) {
			rc = maybe ? STORE_AMBIGUOUS : rc;
			break;
		}
	}
	if (rc == STORE_OK && ret->info.size != p->src->size) {
		why_set(&said, 0, "bucket '%s': '%.200s' was composed to %llu "
		    "bytes of %llu", p->s->bucket, p->key,
		    (unsigned long long)ret->info.size,
		    (unsigned long long)p->src->size);
		rc = STORE_AMBIGUOUS;
	}
	if (rc != STORE_OK)
		why_set(call_why(c), 0, "%s", said.text);
out:
	buf_done(&body);
	return rc;
}

/* Is the condition met now?  Before all those bytes go out. */
static enum store_rc
look_first(struct gcs *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match)
{
	struct store_info info;
	enum store_rc rc;

	if (cond == STORE_ALWAYS)
		return STORE_OK;
	rc = gcs_head(&s->store, c, key, &info);
	if (cond == STORE_IF_ABSENT)
		return rc == STORE_OK ? STORE_EXISTS :
		    rc == STORE_ABSENT ? STORE_OK : rc;
	return rc == STORE_OK && (!version_given(match) ||
	    strcmp(info.version.text, match->text) != 0) ? STORE_CHANGED : rc;
}

enum store_rc
gcs_put_parts(struct gcs *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct parts *p;
	struct gcs_object o;
	uint8_t id[16];
	enum store_rc rc;

	rc = look_first(s, c, key, cond, match);
	if (rc != STORE_OK)
		return rc;
	p = calloc(1, sizeof *p);
	if (p == NULL)
		return STORE_NOMEM;
	p->s = s;
	p->key = key;
	p->src = src;
	p->n = parts_size(src->size, s->sizes.part, src->part, COMPOSE_MAX,
	    &p->part);
	random_bytes(id, sizeof id);
	hex_encode(id, sizeof id, p->id);
	rc = parts_run(s->pool, c, p->n, part_send, p);
	if (rc == STORE_OK)
		rc = compose(p, c, cond, match, &o);
	parts_clean(p);
	if (rc == STORE_OK && ret != NULL) {
		*ret = o.info;
		ret->summed = !atomic_load(&p->unsummed);
	}
	free(p);
	return rc;
}

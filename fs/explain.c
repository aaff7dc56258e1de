/*
 * explain: where each byte of one file is: stores, extents, cache, mode, the
 * pins that hold it, and where new bytes would go.
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/backing.h"
#include "fs/control_impl.h"
#include "fs/pass.h"
#include "fs/pin_text.h"
#include "meta/journal.h"

#define EXTENTS_MAX	10000		/* shown */

struct explain {
	struct ctl	*c;
	struct sqc	*q;
	const char	*path;
	struct attr	 a;
	json_t		*extents, *pins, *stores;	/* stores: id -> name */
	uint64_t	 nextents;
	int		 err;
};

static int
add_store(void *arg, const struct store_row *s)
{
	struct explain *e = arg;
	char id[16];

	snprintf(id, sizeof id, "%u", s->id);
	json_object_set_new(e->stores, id, json_pack("{s:o, s:o}", "name",
	    ctl_text(s->name), "url", ctl_text(s->url)));
	return 0;
}

static const char *
kind_name(uint32_t kind)
{
	static const char *const names[] = { "imported", "whole", "pack",
	    "patch" };

	return kind < 4 ? names[kind] : "unknown";
}

struct copies { struct explain *e; json_t *list; uint32_t first; };

static int
add_copy(void *arg, const struct meta_location *l)
{
	struct copies *k = arg;
	char id[16];
	json_t *s;

	if (l->store == k->first)
		return 0;
	snprintf(id, sizeof id, "%u", l->store);
	s = json_object_get(k->e->stores, id);
	return json_array_append_new(k->list, s != NULL ? json_incref(
	    json_object_get(s, "name")) : json_string(id)) != 0;
}

/* The names of the other stores that have it. */
static int
add_copies(struct explain *e, const struct meta_extent *x, json_t *o)
{
	struct copies k = { e, json_array(), x->store };

	if (k.list == NULL)
		return -ENOMEM;
	(void)meta_locations(e->q, x->object, add_copy, &k);
	return json_object_set_new(o, "copies", k.list);
}

static int
is_summed(void *arg, const struct meta_sum *s)
{
	*(bool *)arg = true;
	return 1;
}

static int
add_extent(void *arg, const struct meta_extent *x)
{
	struct explain *e = arg;
	bool summed = x->crc >= 0;
	char id[16];
	json_t *o, *s;

	if (++e->nextents > EXTENTS_MAX)
		return 0;
	if (!summed)
		(void)meta_sums(e->q, x->object, x->ooff, x->len, is_summed,
		    &summed);
	snprintf(id, sizeof id, "%u", x->store);
	s = json_object_get(e->stores, id);
	o = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:b}",
	    "off", (json_int_t)x->off, "len", (json_int_t)x->len,
	    "store", s != NULL ? json_string_value(json_object_get(s,
	    "name")) : id,
	    "url", s != NULL ? json_string_value(json_object_get(s,
	    "url")) : "",
	    "kind", kind_name(x->kind), "version", x->version != NULL ?
	    x->version : "", "object", (json_int_t)x->object,
	    "object_off", (json_int_t)x->ooff, "summed", summed);
	if (o != NULL && x->copies > 1 && add_copies(e, x, o) != 0)
		e->err = -ENOMEM;
	if (o == NULL || ctl_set_bytes(o, "key", x->key) != 0 ||
	    json_array_append_new(e->extents, o) != 0) {
		e->err = -ENOMEM;
		return 1;
	}
	return 0;
}

/* Does this pin hold the path?  Its selectors are live, so they say. */
static int
add_pin(void *arg, const struct pin_row *p)
{
	struct explain *e = arg;
	struct pin_text t;

	if (pin_text_parse(p->selectors, &t, NULL) != 0)
		return 0;
	if (pin_text_matches(&t, e->q, e->path, &e->a) == 1)
		json_array_append_new(e->pins, json_string(p->name));
	pin_text_done(&t);
	return 0;
}

static int
set_cache(struct explain *e)
{
	struct fs *f = e->c->f;
	json_t *r = e->c->result;
	struct bfile *b = NULL;
	const char *mode = "small";
	char *rel, *path = NULL;
	uint64_t bytes = 0;
	bool dirty;
	int rc, percent;

	percent = cache_present(f->cache, e->a.ino, e->a.size, &bytes);
	dirty = unstored_has(e->q, e->a.ino);
	if (dirty && percent < 100) {
		percent = 100;
		bytes = e->a.size;
	}
	rc = bfile_get(f->cache, e->a.ino, &b);
	if (rc == 0) {
		mode = e->a.size <= CACHE_SMALL_MAX ? "small, in a backing "
		    "file" : "large";
		dirty = dirty || bfile_is_dirty(b);
		rel = bfile_path(b);
		if (rel != NULL && asprintf(&path, "%s/%s", f->cache_dir,
		    rel) < 0)
			path = NULL;
		free(rel);
	} else if (e->a.size > CACHE_SMALL_MAX) {
		mode = "large, nothing here";
	}
	json_object_set_new(r, "mode", json_string(mode));
	json_object_set_new(r, "io", json_string(pass_path(f, e->a.ino, b)));
	json_object_set_new(r, "dirty", json_boolean(dirty));
	json_object_set_new(r, "cached_percent", json_integer(percent));
	json_object_set_new(r, "cached_bytes", json_integer(
	    (json_int_t)bytes));
	json_object_set_new(r, "pinned", json_boolean(cache_is_pinned(
	    f->cache, e->a.ino)));
	if (path != NULL) {
		json_object_set_new(r, "local_path", json_string(path));
		json_object_set_new(r, "local_complete", json_boolean(
		    bfile_is_complete(b)));
	}
	free(path);
	bfile_put(b);
	return rc == -ENOENT ? 0 : rc;
}

static int
explain(struct explain *e)
{
	json_t *r = e->c->result;
	int rc;

	rc = arg_path(e->c, e->q, "path", &e->a);
	if (rc != 0)
		return rc;
	json_object_set_new(r, "path", json_string(e->path));
	json_object_set_new(r, "ino", json_integer((json_int_t)e->a.ino));
	json_object_set_new(r, "size", json_integer((json_int_t)e->a.size));
	json_object_set_new(r, "imported", json_boolean((e->a.flags &
	    INODE_IMPORTED) != 0));
	json_object_set_new(r, "type", json_string(S_ISREG(e->a.mode) ?
	    "file" : S_ISDIR(e->a.mode) ? "dir" : "other"));
	rc = (e->a.flags & INODE_IMPORTED) != 0 ? 0 :
	    ctl_set_place(e->q, e->a.ino, r);
	if (rc == 0)
		rc = ctl_set_fill(e->q, e->a.ino, r);
	if (rc == 0)
		rc = meta_stores(e->q, add_store, e);
	if (rc >= 0)
		rc = meta_pins(e->q, add_pin, e);
	if (rc < 0 || !S_ISREG(e->a.mode))
		return rc < 0 ? rc : 0;
	rc = meta_extents(e->q, e->a.ino, 0, e->a.size > 0 ? e->a.size :
	    UINT64_MAX, add_extent, e);
	if (rc >= 0)
		rc = e->err;
	if (rc == 0)
		rc = set_cache(e);
	return rc;
}

int
ctl_explain(struct ctl *c)
{
	struct explain e = { .c = c, .path = arg_str(c, "path") };
	int rc;

	e.extents = json_array();
	e.pins = json_array();
	e.stores = json_object();
	rc = sq_read(meta_sq(c->f->meta), &e.q);
	if (rc == 0)
		rc = explain(&e);
	sq_read_end(e.q);
	json_object_set_new(c->result, "extents", e.extents);
	json_object_set_new(c->result, "nextents", json_integer(
	    (json_int_t)e.nextents));
	json_object_set_new(c->result, "pins", e.pins);
	json_decref(e.stores);
	return rc;
}

/*
 * control_policy: what directories say about the files below them: placement
 * (meta/place.h), and what is fetched of them (meta/whole.h).
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/control_impl.h"
#include "fs/stores.h"
#include "fs/upload.h"
#include "meta/place.h"
#include "meta/segment.h"
#include "meta/whole.h"

#define PROBE_TIME	(10 * NSEC_PER_SEC)

/* --- who decides --- */

static int
store_name(void *arg, const struct store_row *s)
{
	json_t *o = arg;

	if (json_integer_value(json_object_get(o, "store_id")) != s->id)
		return 0;
	json_object_set_new(o, "place_store", ctl_text(s->name));
	return 1;
}

/* Under key: the directory's path; of 0 none. */
static int
set_dir(struct sqc *q, json_t *o, const char *key, uint64_t dir)
{
	char *path = NULL;
	int rc = dir != 0 ? meta_path(q, dir, &path) : 0;

	if (rc == 0)
		rc = ctl_set_bytes(o, key, path != NULL ? path : "");
	free(path);
	return rc;
}

int
ctl_set_place(struct sqc *q, uint64_t ino, json_t *o)
{
	struct place_row r;
	int rc;

	rc = place_of(q, ino, &r);
	if (rc == 0)
		rc = set_dir(q, o, "place_dir", r.dir);
	json_object_set_new(o, "store_id", json_integer(r.store));
	if (rc == 0)
		rc = meta_stores(q, store_name, o);
	json_object_del(o, "store_id");
	return rc < 0 ? rc : 0;
}

int
ctl_set_fill(struct sqc *q, uint64_t ino, json_t *o)
{
	struct whole_row r;
	int rc = whole_of(q, ino, &r);

	return rc != 0 ? rc : set_dir(q, o, "fill_dir",
	    r.whole ? r.dir : 0);
}

/* --- ls --- */

struct list {
	struct ctl	*c;
	struct sqc	*q;
	uint64_t	 top, above;	/* above: decides about top; 0 none */
	uint64_t	 fills;		/* the same of what is fetched */
	int		 err;
};

/* Of a directory, as o says, which is taken.  above: it decides about top. */
static int
list_one(struct list *l, uint64_t dir, bool above, json_t *o)
{
	char *path = NULL;
	int rc = 0;

	if (above || meta_is_below(l->q, dir, l->top) == 1) {
		rc = o == NULL ? -ENOMEM : meta_path(l->q, dir, &path);
		if (rc == 0)
			rc = ctl_set_bytes(o, "dir", path);
		if (rc == 0)
			rc = ctl_item(l->c, json_incref(o));
		if (rc == -ENOENT)
			rc = 0;		/* removed, and still open */
	}
	free(path);
	json_decref(o);
	l->err = rc;
	return rc != 0;
}

static int
list_row(void *arg, const struct place_row *r)
{
	struct list *l = arg;
	char name[65];

	stores_name(l->c->f, r->store, name);
	return list_one(l, r->dir, r->dir == l->above, json_pack("{s:o, s:b}",
	    "store", ctl_text(name), "up",
	    !stores_is_down(l->c->f, r->store)));
}

static int
list_fill(void *arg, const struct whole_row *r)
{
	struct list *l = arg;

	return list_one(l, r->dir, r->dir == l->fills, json_pack("{s:s}",
	    "fill", r->whole ? "whole" : "wanted"));
}

static int
list(struct ctl *c)
{
	struct list l = { .c = c, .top = META_ROOT };
	struct place_row above = { 0 };
	struct whole_row fills = { 0 };
	struct attr a;
	int rc;

	rc = stores_reload(c->f);
	if (rc == 0)
		rc = sq_read(meta_sq(c->f->meta), &l.q);
	if (rc == 0 && arg_str(c, "path") != NULL) {
		rc = arg_path(c, l.q, "path", &a);
		if (rc == 0)
			rc = place_of(l.q, a.ino, &above);
		if (rc == 0)
			rc = whole_of(l.q, a.ino, &fills);
		l.top = a.ino;
		l.above = above.dir;
		l.fills = fills.dir;
	}
	if (rc == 0)
		rc = place_rows(l.q, list_row, &l);
	if (rc == 0 && l.err == 0)
		rc = whole_rows(l.q, list_fill, &l);
	sq_read_end(l.q);
	return rc != 0 ? rc : l.err;
}

/* --- set, rm --- */

/* Nothing imported, and no file: what the op itself would refuse, in words. */
static int
check_dir(struct ctl *c, const struct attr *a)
{
	const char *path = arg_str(c, "path");

	if (!S_ISDIR(a->mode))
		return why_set(&c->why, -ENOTDIR, "%s is a file; a placement "
		    "is that of a directory, for all below it", path);
	if ((a->flags & (INODE_IMPORTED | INODE_IMPORT_ROOT)) != 0)
		return why_set(&c->why, -EROFS, "%s is imported: nothing new "
		    "is written there", path);
	return 0;
}

/* It is ours to write to (B2), and takes an object. */
static int
check_store(struct ctl *c, const char *name, uint32_t id)
{
	struct sqc *q = NULL;
	struct why own = { "" };
	struct store_call call = { .deadline = clock_mono() + PROBE_TIME,
	    .why = &own, .tag = "check", .sole = true };
	struct store *s = NULL;
	char key[KEY_MAX];
	enum store_rc rc;
	uint64_t object;
	int err;

	err = sq_read(meta_sq(c->f->meta), &q);
	if (err != 0)
		return err;
	err = meta_store_is_imported(q, id);
	sq_read_end(q);		/* before the network is asked */
	if (err > 0)
		return why_set(&c->why, -EROFS, "store '%s' is an import's, "
		    "where only others write; `gnsfs store add` makes one of "
		    "a prefix beside it", name);
	if (err < 0 || id == STORE_HOME_ID || arg_bool(c, "force"))
		return err;
	object = meta_new_id(c->f->meta);
	if (object == 0)
		return why_set(&c->why, -EROFS, "%s is mounted read-only",
		    c->f->opt.dir);
	err = stores_get(c->f, id, &s, &c->why);
	if (err != 0)
		return err;
	object_key(object, key);
	rc = store_put_mem(s, &call, key, STORE_IF_ABSENT, NULL, "", 0, NULL);
	stores_result(c->f, id, rc, &own);
	if (rc != STORE_OK)
		return why_set(&c->why, store_rc_errno(rc), "store '%s' takes "
		    "no object: %s%s%s; `gnsfs store check %s --write` says "
		    "more, --force does not ask it", name, store_rc_name(rc),
		    own.text[0] != '\0' ? ": " : "", own.text, name);
	(void)store_del(s, &call, key, NULL);
	return 0;
}

static int
land(struct ctl *c, struct op *op)
{
	int rc = ctl_land(c, op, NULL, NULL);

	if (rc == -ETIMEDOUT) {
		/* It holds here; the log has it when the home is back. */
		c->why.text[0] = '\0';
		rc = 0;
	}
	return rc;
}

static int
fill(struct ctl *c, bool remove)
{
	struct whole_row r = { 0 }, has = { 0 };
	const char *path = arg_str(c, "path"), *what = NULL;
	struct buf body = BUF_INIT;
	struct sqc *q = NULL;
	struct attr a;
	struct op op;
	int rc;

	rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc == 0)
		rc = arg_path(c, q, "path", &a);
	if (rc == 0 && !S_ISDIR(a.mode))
		rc = why_set(&c->why, -ENOTDIR, "%s is a file; what is "
		    "fetched is said of a directory, for all below it", path);
	if (rc == 0)
		rc = whole_of(q, a.ino, &has);
	sq_read_end(q);
	if (rc == 0 && remove && has.dir != a.ino)
		rc = why_set(&c->why, -ENOENT, "%s says nothing of its own "
		    "about what is fetched; `gnsfs explain` says whose policy "
		    "holds there", path);
	if (rc == 0 && !remove)
		rc = arg_need(c, "fill", &what);
	if (rc == 0 && !remove && strcmp(what, "whole") != 0 &&
	    strcmp(what, "wanted") != 0)
		rc = why_set(&c->why, -EINVAL, "fill is `whole` or `wanted`, "
		    "not '%s'", what);
	if (rc == 0) {
		r.dir = a.ino;
		r.whole = !remove && strcmp(what, "whole") == 0;
		rc = whole_row_op(&r, remove, &body, &op);
	}
	if (rc == 0)
		rc = land(c, &op);
	buf_done(&body);
	return rc;
}

static int
place(struct ctl *c, bool remove)
{
	struct place_row r = { 0 };
	struct buf body = BUF_INIT;
	const char *store = NULL;
	struct sqc *q = NULL;
	struct place_row has;
	struct attr a;
	struct op op;
	int rc;

	rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc == 0)
		rc = arg_path(c, q, "path", &a);
	if (rc == 0)
		rc = check_dir(c, &a);
	if (rc == 0 && remove && (rc = place_of(q, a.ino, &has)) == 0 &&
	    has.dir != a.ino)
		rc = why_set(&c->why, -ENOENT, "%s has no placement of its "
		    "own; `gnsfs explain` says whose holds there",
		    arg_str(c, "path"));
	sq_read_end(q);
	if (rc == 0 && !remove) {
		rc = arg_need(c, "store", &store);
		if (rc == 0)
			rc = ctl_need_store(c, store, &r.store);
		if (rc == 0)
			rc = check_store(c, store, r.store);
	}
	if (rc == 0) {
		r.dir = a.ino;
		rc = place_row_op(&r, &body, &op);
	}
	if (rc == 0)
		rc = land(c, &op);
	buf_done(&body);
	if (rc == 0)
		upload_retry(c->f);	/* what waited may go elsewhere */
	return rc;
}

int
ctl_policy(struct ctl *c)
{
	const char *what;
	int rc;

	rc = arg_need(c, "op", &what);
	if (rc != 0)
		return rc;
	if (strcmp(what, "ls") == 0)
		return list(c);
	if (strcmp(what, "set") == 0 || strcmp(what, "rm") == 0)
		return arg_str(c, "fill") != NULL ? fill(c, *what == 'r') :
		    place(c, *what == 'r');
	return why_set(&c->why, -EINVAL, "a policy is set, removed (rm) or "
	    "listed (ls), not '%s'", what);
}

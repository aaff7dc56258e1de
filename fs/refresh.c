/* refresh: one import (refresh.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/content.h"
#include "fs/import_list.h"
#include "fs/import_tags.h"
#include "fs/io.h"
#include "fs/refresh_impl.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "meta/journal.h"
#include "meta/query.h"

#define STEP		256u		/* operations of a transaction */

/* --- what is not in the tree: open files, the kernel --- */

/* Of an operation, until its transaction is committed. */
struct told {
	enum refresh_what what;
	uint64_t	 ino, ino2, parent;
	char		 name[META_NAME_MAX + 1], name2[META_NAME_MAX + 1];
};

static int
note_told(void *arg, const struct op *op)
{
	struct buf *b = arg;
	struct told *t = buf_grow(b, sizeof *t);

	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof *t);
	t->what = op->mask;
	t->ino = op->ino;
	t->ino2 = op->ino2;
	t->parent = op->parent;
	if (op->name != NULL)
		memcpy(t->name, op->name, strlen(op->name) + 1);
	if (op->name2 != NULL)
		memcpy(t->name2, op->name2, strlen(op->name2) + 1);
	b->len += sizeof *t;
	return 0;
}

/* Who has it open is to go on reading what it was (B5). */
static void
hold(void *arg, uint64_t ino)
{
	struct fs *f = arg;
	struct vnode *v = vnode_peek(f, ino);

	if (v == NULL)
		return;
	vnode_enter(v);
	if (v->loaded && v->opens > 0)
		content_hold(f, v);
	vnode_leave(v);
	vnode_put(f, v);
}

/* After the commit; F4. */
static void
tell(struct fs *f, const struct told *t, uint64_t *dir)
{
	if (t->what == REFRESH_TIME) {
		fs_inval_attr(f, t->ino);
		return;
	}
	if (t->what == REFRESH_FILE && t->ino2 != 0)
		io_unlinked(f, t->ino2, true);
	else if (t->what == REFRESH_GONE)
		io_unlinked(f, t->ino, true);
	fs_inval_entry(f, t->parent, t->name);
	if (t->what == REFRESH_NAME)
		fs_inval_entry(f, t->parent, t->name2);
	if (*dir != t->parent)
		fs_inval_inode(f, t->parent);
	*dir = t->parent;
}

/* --- carrying out a plan --- */

struct stepping {
	struct refresh	*r;
	struct buf	 told;		/* of struct told */
	uint64_t	 seq;
	struct why	*why;
};

static int
step_fn(struct sqc *c, void *arg)
{
	struct stepping *s = arg;

	buf_reset(&s->told);
	return refresh_step(s->r, c, STEP, note_told, &s->told, &s->seq,
	    s->why);
}

static int
carry_out(struct fs *f, struct refresh *r, const struct refresh_request *rq,
    uint64_t *retseq, struct why *why)
{
	struct stepping s = { .r = r, .why = why };
	uint64_t dir = 0;
	int err = 0;

	while (err == 0 && refresh_left(r) > 0) {
		if (atomic_load(&f->refresher->stopping) ||
		    (rq->progress != NULL && rq->progress(rq->arg, 0, 0) != 0))
			err = why_set(why, -ECANCELED, "it was cancelled, and"
			    " is done in part");
		else if ((err = fs_may_write(f)) != 0)	/* L13 */
			why_set(why, err, "this mount became read-only, and it"
			    " is done in part; `gnsfs status` says why");
		if (err != 0)
			break;
		refresh_old(r, STEP, hold, f);
		err = sq_write(meta_sq(f->meta), step_fn, &s);
		if (err != 0)
			break;
		refresh_stepped(r, STEP);
		for (size_t i = 0; i < s.told.len; i += sizeof(struct told))
			tell(f, (const struct told *)(const void *)
			    (s.told.p + i), &dir);
		ship_kick(f);
	}
	buf_done(&s.told);
	*retseq = s.seq;
	return err;
}

/* --- one import --- */

struct named { uint32_t id; char name[65]; };

static int
find_name(void *arg, const struct store_row *s)
{
	struct named *n = arg;

	if (s->id == n->id)
		snprintf(n->name, sizeof n->name, "%.64s", s->name);
	return 0;
}

/* Whatever failed, its sentence begins with the store's name. */
static void
name_store(struct fs *f, uint32_t id, int err, struct why *why)
{
	struct named n = { id, "" };
	struct sqc *c = NULL;

	if (sq_read(meta_sq(f->meta), &c) == 0)
		(void)meta_stores(c, find_name, &n);
	sq_read_end(c);
	if (why->text[0] == '\0')
		why_set(why, err, "%s", strerror(-err));
	why_prefix(why, err, "the store '%s'", n.name);
}

static int
list_all(struct fs *f, const struct import_row *row, struct import *imp,
    const struct refresh_request *rq, struct refresh_result *ret,
    struct why *why)
{
	struct import_list l = { .f = f, .store_id = row->store,
	    .prefix = row->prefix, .tag = "refresh", .imp = imp,
	    .cancel = &f->refresher->stopping, .progress = rq->progress,
	    .arg = rq->arg };
	int err;

	err = stores_get(f, row->store, &l.store, why);
	if (err == 0 && stores_is_down(f, row->store))
		err = why_set(why, -EHOSTUNREACH, "%s cannot be reached",
		    l.store->url);
	if (err == 0)
		err = import_list(&l, why);
	if (err != 0 && err != -ECANCELED)
		name_store(f, row->store, err, why);
	ret->keys = l.keys;
	return err;
}

static int
make_plan(struct fs *f, const struct import_row *row, struct import *imp,
    struct refresh **ret, struct why *why)
{
	struct sqc *c = NULL;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = sq_snapshot_begin(c);
	if (err == 0) {
		err = refresh_plan(f->meta, c, imp, row, clock_real(), ret);
		sq_snapshot_end(c);
	}
	sq_read_end(c);
	if (err != 0)
		why_set(why, err, "%s", err == -EAGAIN ? "the import is not"
		    " in the log yet; try again when it is" : err == -ENOENT ?
		    "the import is there no more" : strerror(-err));
	return err;
}

/* A disk that is not mounted, here or under a gateway, lists nothing: that
 * must not be how an import loses its files. */
static int
check_empty(struct fs *f, const struct import_row *row,
    const struct refresh_request *rq, const struct refresh_result *ret,
    struct why *why)
{
	if (ret->keys > 0 || ret->st.gone == 0 || rq->empty)
		return 0;
	why_set(why, -ENODATA, "lists nothing, and the import has %" PRIu64
	    " files, which are kept; if the bucket is empty indeed, `gnsfs"
	    " refresh PATH --empty` takes them away", ret->st.gone);
	name_store(f, row->store, -ENODATA, why);
	return -ENODATA;
}

/* The tags, too, where the import has them. */
static int
ask_tags(struct fs *f, const struct import_row *row,
    struct refresh_result *ret, uint64_t *seq, struct why *why)
{
	struct import_tags t = { .f = f, .root = row->root,
	    .cancel = &f->refresher->stopping };
	int err = import_tags(&t, why);

	if (t.seq != 0) {
		*seq = t.seq;
		ship_kick(f);
	}
	ret->tags_set = t.set;
	ret->tags_removed = t.removed;
	if (err != 0 && err != -ECANCELED)
		name_store(f, row->store, err, why);
	return err;
}

int
refresh_one(struct fs *f, const struct import_row *row, bool wait,
    const struct refresh_request *rq, struct refresh_result *ret,
    struct why *why)
{
	struct import_opts opts = { .store = row->store,
	    .prefix = row->prefix, .root_mtime = REFRESH_NO_TIME };
	struct import *imp = NULL;
	struct refresh *r = NULL;
	int64_t t0 = clock_mono();
	uint64_t seq = 0;
	int err;

	*ret = (struct refresh_result){ 0 };
	err = import_new(f->meta, &opts, &imp);
	if (err == 0)
		err = list_all(f, row, imp, rq, ret, why);
	if (err == 0)
		err = make_plan(f, row, imp, &r, why);
	if (err == 0) {
		ret->st = *refresh_stats(r);
		err = check_empty(f, row, rq, ret, why);
	}
	if (err == 0)
		err = carry_out(f, r, rq, &seq, why);
	if (err == 0 && row->tags != NULL)
		err = ask_tags(f, row, ret, &seq, why);
	refresh_free(r);
	import_free(imp);
	if (err == 0) {
		refresh_note_last(f, row->root);
		if (seq != 0 && wait)
			err = ship_land(f, seq, why);
		if (err != 0)
			why_prefix(why, err, "it is up to date here, but the"
			    " changes are not in the log yet");
	}
	ret->took = clock_mono() - t0;
	if (err == 0)
		log_info("refreshed", "root=%" PRIu64 " keys=%" PRIu64
		    " added=%" PRIu64 " changed=%" PRIu64 " gone=%" PRIu64
		    " retimed=%" PRIu64 " ms=%" PRId64, row->root, ret->keys,
		    ret->st.added, ret->st.changed, ret->st.gone,
		    ret->st.retimed, ret->took / NSEC_PER_MSEC);
	return err;
}

/* --- as it is asked for --- */

/* The import that ino is in: its path, new; NULL. */
static char *
import_of(struct sqc *c, uint64_t ino)
{
	char name[META_NAME_MAX + 1], *path = NULL;
	struct attr a;

	while (meta_getattr(c, ino, &a) == 0 &&
	    (a.flags & INODE_IMPORTED) != 0) {
		if ((a.flags & INODE_IMPORT_ROOT) != 0) {
			(void)meta_path(c, ino, &path);
			break;
		}
		if (meta_parent(c, ino, &ino, name) != 0)
			break;
	}
	return path;
}

static int
find_import(struct fs *f, const char *path, struct import_row *ret,
    char **retprefix, struct why *why)
{
	struct sqc *c = NULL;
	char *in = NULL;
	struct attr a;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_resolve(c, path, &a);
	if (err != 0) {
		why_set(why, err, "%s:%s: %s", f->name, path, strerror(-err));
		goto out;
	}
	err = import_row_get(c, a.ino, ret, retprefix);
	if (err != -ENOENT)
		goto out;
	in = import_of(c, a.ino);
	if ((a.flags & INODE_IMPORT_ROOT) != 0)
		why_set(why, err, "%s:%s is an import of nothing, made by an"
		    " older version: remove it and import it again", f->name,
		    path);
	else if (in != NULL)
		err = why_set(why, -EINVAL, "%s:%s is a part of the import"
		    " %s:%s, which is refreshed as a whole", f->name, path,
		    f->name, in);
	else
		err = why_set(why, -EINVAL, "%s:%s is not an import; `gnsfs"
		    " imports` lists them", f->name, path);
out:
	sq_read_end(c);
	free(in);
	return err;
}

/* Whose turn came may have waited long: the row as it is now. */
static int
read_again(struct fs *f, struct import_row *row, char **prefix,
    struct why *why)
{
	struct import_row now;
	struct sqc *c = NULL;
	char *p = NULL;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = import_row_get(c, row->root, &now, &p);
	sq_read_end(c);
	if (err != 0)
		return why_set(why, err, "%s", err == -ENOENT ?
		    "the import is there no more" : strerror(-err));
	free(*prefix);
	*prefix = p;
	*row = now;
	return 0;
}

struct noting {
	struct fs	*f;
	uint64_t	 root;
	int64_t		 every;		/* -1: as it is */
	bool		 tags;		/* from now on */
	uint64_t	 seq;
};

/* Nothing else of the row, which others write, too. */
static int
note_fn(struct sqc *c, void *arg)
{
	struct noting *n = arg;
	struct buf body = BUF_INIT;
	struct import_row row;
	char *prefix = NULL;
	struct op op;
	int err;

	err = import_row_get(c, n->root, &row, &prefix);
	if (err == 0) {
		if (n->every >= 0)
			row.every = n->every;
		if (n->tags && row.tags == NULL)
			row.tags = "";
		err = import_row_op(&row, &body, &op);
	}
	if (err == 0)
		err = journal(n->f->meta, c, &op, NEEDS_NOTHING, NULL, 0,
		    &n->seq);
	buf_done(&body);
	free(prefix);
	return err;
}

static int
set_every(struct fs *f, struct import_row *row, int64_t every,
    struct why *why)
{
	struct noting n = { f, row->root, every, false, 0 };
	int err;

	if (every < 0 || every == row->every)
		return 0;
	err = sq_write(meta_sq(f->meta), note_fn, &n);
	if (err != 0)
		return why_set(why, err, "how often it is to be refreshed"
		    " could not be noted: %s", strerror(-err));
	row->every = every;
	refresh_kick(f->refresher);
	err = ship_land(f, n.seq, why);
	if (err != 0)
		why_prefix(why, err, "how often it is to be refreshed is"
		    " noted here, but not yet in the log");
	return err;
}

/* Its objects' tags are its files' from now on; -EOPNOTSUPP where objects
 * have none, and nothing is changed. */
static int
set_tags(struct fs *f, const struct refresh_request *r,
    struct import_row *row, char **prefix, struct why *why)
{
	struct noting n = { f, row->root, -1, true, 0 };
	struct store *s = NULL;
	int err;

	if (!r->tags || row->tags != NULL)
		return 0;
	err = stores_get(f, row->store, &s, why);
	if (err == 0)
		err = import_tags_check(s, row->prefix, why);
	if (err != 0) {
		name_store(f, row->store, err, why);
		return err;
	}
	err = sq_write(meta_sq(f->meta), note_fn, &n);
	if (err != 0)
		return why_set(why, err, "that its objects' tags are wanted"
		    " could not be noted: %s", strerror(-err));
	err = ship_land(f, n.seq, why);
	if (err != 0)
		return why_prefix(why, err, "that its objects' tags are"
		    " wanted is noted here, but not yet in the log");
	return read_again(f, row, prefix, why);
}

int
fs_refresh(struct fs *f, const struct refresh_request *r,
    struct refresh_result *ret, struct why *why)
{
	struct import_row row;
	char *prefix = NULL;
	int err;

	*ret = (struct refresh_result){ 0 };
	err = fs_may_write(f);
	if (err != 0)
		return why_set(why, err, "this mount is read-only; `gnsfs"
		    " status` says why");
	err = find_import(f, r->path, &row, &prefix, why);
	if (err != 0)
		return err;
	err = refresh_enter(f->refresher, row.root);
	if (err == 0) {
		err = read_again(f, &row, &prefix, why);
		if (err == 0)
			err = set_tags(f, r, &row, &prefix, why);
		if (err == 0)
			err = set_every(f, &row, r->every, why);
		if (err == 0 && r->every != 0)
			err = refresh_one(f, &row, true, r, ret, why);
		refresh_leave(f->refresher, row.root, row.every, err, why);
	} else
		why_set(why, err, "%s is being unmounted", f->opt.dir);
	free(prefix);
	return err;
}

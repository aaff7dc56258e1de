/* See tree.h. */
#include "fs/tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/counters.h"
#include "cache/backing.h"
#include "fs/dirattr.h"
#include "fs/io.h"
#include "fs/settle.h"
#include "fs/ship.h"
#include "meta/journal.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE	(1 << 0)
#define RENAME_EXCHANGE		(1 << 1)
#endif

/* --- asking --- */

void
tree_present(struct fs *f, struct attr *a)
{
	if (f->opt.uid >= 0)
		a->uid = (uint32_t)f->opt.uid;
	if (f->opt.gid >= 0)
		a->gid = (uint32_t)f->opt.gid;
	if (f->opt.umask >= 0)
		a->mode &= ~((uint32_t)f->opt.umask & 0777);
}

int
tree_getattr(struct fs *f, uint64_t ino, struct attr *ret)
{
	struct sqc *c;
	struct vnode *v;
	uint64_t now, version;
	int err;

	if (dirattr_get(f->dirs, ino, ret, &version)) {
		tree_present(f, ret);
		return 0;
	}
	do {
		now = vnodes_now(f);
		c = NULL;
		err = sq_read(meta_sq(f->meta), &c);
		if (err == 0)
			err = meta_getattr(c, ino, ret);
		sq_read_end(c);
	} while (err == 0 && !vnode_overlay(f, ret, now));
	if (err == 0 && S_ISDIR(ret->mode))
		dirattr_put(f->dirs, ret, version);
	if (err == -ENOENT && (v = vnode_peek(f, ino)) != NULL) {
		lock_take(&v->lock);		/* open, its names are gone */
		if (v->loaded && v->opens > 0) {
			*ret = v->attr;
			ret->nlink = 0;
			if (v->b != NULL && bfile_is_dirty(v->b))
				ret->size = bfile_size(v->b);
			err = 0;
		}
		lock_drop(&v->lock);
		vnode_put(f, v);
	}
	if (err == -ENOENT)
		err = vnodes_gone(f, ino, ret);
	if (err == 0)
		tree_present(f, ret);
	return err;
}

int
tree_lookup(struct fs *f, uint64_t parent, const char *name, struct attr *ret)
{
	struct sqc *c;
	uint64_t now;
	int err;

	do {
		now = vnodes_now(f);
		c = NULL;
		err = sq_read(meta_sq(f->meta), &c);
		if (err == 0)
			err = meta_lookup(c, parent, name, ret);
		sq_read_end(c);
	} while (err == 0 && !vnode_overlay(f, ret, now));
	if (err == 0)
		tree_present(f, ret);
	return err;
}

/* --- changing --- */

struct change_tx {
	struct fs	*f;
	struct op	*op;
	/* filled in from the tree, in the transaction: */
	bool		 find_ino;	/* op->ino is what (parent, name) is */
	bool		 find_ino2; /* op->ino2 is what (parent2, name2) is */
	bool		 inherits;	/* op->gid and mode, from the parent */
	bool		 clear_ids;	/* op->mode is without set-id bits */
	bool		 adds;		/* takes room (fs_may_add) */
	bool		 last_link, last_link2;	/* out */
	bool		 local;	/* out: what goes has a backing file */
	struct attr	 was, was2;	/* before */
	uint64_t	 seq;
};

static int
find(struct sqc *c, uint64_t parent, const char *name, uint64_t *retino,
    bool *retlast, struct attr *ret)
{
	int err = meta_lookup(c, parent, name, ret);

	if (err == 0) {
		*retino = ret->ino;
		*retlast = ret->nlink <= 1 && !S_ISDIR(ret->mode);
	}
	return err;
}

/* A mode without the bits that a write clears: set-group-id on a file that no
 * group may execute asks for mandatory locks, and stays. */
static uint32_t
without_ids(uint32_t mode)
{
	if (S_ISDIR(mode))
		return mode;
	return mode & ~(S_ISUID | (mode & S_IXGRP ? S_ISGID : 0));
}

static int
clear_ids(struct sqc *c, struct op *op)
{
	struct attr a;
	int err = meta_getattr(c, op->ino, &a);

	if (err == 0 && without_ids(a.mode) != a.mode) {
		op->mode = without_ids(op->mask & ATTR_MODE ?
		    (a.mode & S_IFMT) | (op->mode & 07777) : a.mode);
		op->mask |= ATTR_MODE;
	}
	return err;
}

int
tree_inherit(struct sqc *c, struct op *op)
{
	struct attr a;
	int err = meta_getattr_stored(c, op->parent, &a);

	if (err == 0 && (a.mode & S_ISGID)) {
		op->gid = a.gid;
		if (S_ISDIR(op->mode))
			op->mode |= S_ISGID;
	}
	return err;
}

static int
change_tx(struct sqc *c, void *arg)
{
	struct change_tx *t = arg;
	struct op *op = t->op;
	int err = 0;

	if (t->find_ino)
		err = find(c, op->parent, op->name, &op->ino, &t->last_link,
		    &t->was);
	if (err == 0 && t->find_ino2) {
		err = find(c, op->parent2, op->name2, &op->ino2,
		    &t->last_link2, &t->was2);
		if (err == -ENOENT && !(op->flags & RENAME_EXCHANGE)) {
			op->ino2 = 0;
			err = 0;
		}
	}
	if (err == 0 && t->inherits)
		err = tree_inherit(c, op);
	if (err == 0 && t->clear_ids)
		err = clear_ids(c, op);
	if (err == 0 && (t->last_link || t->last_link2))
		t->local = bfile_is_known(c, t->find_ino2 ? op->ino2 :
		    op->ino);
	if (err == 0)
		err = journal(t->f->meta, c, op, NEEDS_NOTHING, NULL, 0,
		    &t->seq);
	return err;
}

/* What op changed of directories is known, or to be read again. */
static void
dirs_changed(struct fs *f, const struct op *op)
{
	switch (op->kind) {
	case OP_CREATE:
	case OP_SYMLINK:
		dirattr_touch(f->dirs, op->parent, op->mtime);
		break;
	case OP_LINK:
	case OP_UNLINK:
		dirattr_touch(f->dirs, op->parent, op->ctime);
		break;
	case OP_MKDIR:
	case OP_RMDIR:
	case OP_RENAME:		/* directories may move: link counts */
		dirattr_forget(f->dirs, op->parent);
		dirattr_forget(f->dirs, op->parent2);
		dirattr_forget(f->dirs, op->ino2);
		dirattr_forget(f->dirs, op->ino);
		break;
	default:
		dirattr_forget(f->dirs, op->ino);
	}
}

static int
change(struct fs *f, struct change_tx *t)
{
	int err = t->adds ? fs_may_add(f) : fs_may_write(f);

	t->f = f;
	if (err == 0)
		err = sq_write(meta_sq(f->meta), change_tx, t);
	if (err == 0) {
		dirs_changed(f, t->op);
		ship_kick(f);
	}
	return err;
}

static int
make(struct fs *f, struct op *op, struct attr *ret)
{
	struct change_tx t = { .op = op, .adds = true, .inherits = true };
	int err;

	op->mtime = clock_real();
	op->ino = meta_new_id(f->meta);
	if (op->ino == 0)
		return -EROFS;
	err = change(f, &t);
	if (err == 0) {
		*ret = (struct attr){ .ino = op->ino, .mode = op->mode,
		    .uid = op->uid, .gid = op->gid, .rdev = op->rdev,
		    .nlink = op->kind == OP_MKDIR ? 2 : 1,
		    .atime = op->mtime, .mtime = op->mtime,
		    .ctime = op->mtime, .size = op->nvalue };
		tree_present(f, ret);
	}
	return err;
}

int
tree_mknod(struct fs *f, uint64_t parent, const char *name, uint32_t mode,
    uint32_t rdev, struct owner o, struct attr *ret)
{
	struct op op = { .kind = OP_CREATE, .parent = parent, .name = name,
	    .mode = mode, .uid = o.uid, .gid = o.gid, .rdev = rdev };

	return make(f, &op, ret);
}

int
tree_mkdir(struct fs *f, uint64_t parent, const char *name, uint32_t mode,
    struct owner o, struct attr *ret)
{
	struct op op = { .kind = OP_MKDIR, .parent = parent, .name = name,
	    .mode = S_IFDIR | (mode & 07777), .uid = o.uid, .gid = o.gid };

	return make(f, &op, ret);
}

int
tree_symlink(struct fs *f, uint64_t parent, const char *name,
    const char *target, struct owner o, struct attr *ret)
{
	struct op op = { .kind = OP_SYMLINK, .parent = parent, .name = name,
	    .mode = S_IFLNK | 0777, .uid = o.uid, .gid = o.gid,
	    .value = target, .nvalue = strlen(target) };

	settle_flush(f);			/* L3 */
	return make(f, &op, ret);
}

int
tree_link(struct fs *f, uint64_t ino, uint64_t parent, const char *name,
    struct attr *ret)
{
	struct op op = { .kind = OP_LINK, .ino = ino, .parent = parent,
	    .name = name, .ctime = clock_real() };
	struct change_tx t = { .op = &op, .adds = true };
	int err;

	settle_flush(f);			/* L3 */
	err = io_journal_file(f, ino);		/* L3 */
	if (err == 0)
		err = io_sync_before_rename(f, ino);	/* L11 */
	if (err == 0)
		err = change(f, &t);
	return err != 0 ? err : tree_getattr(f, ino, ret);
}

/* The last name went.  While it is open its vnode alone knows it. */
static void
unlinked(struct fs *f, const struct attr *was, int64_t ctime, bool local)
{
	struct vnode *v;

	if (!S_ISREG(was->mode)) {
		vnodes_note_gone(f, was, ctime);
		return;
	}
	v = vnode_peek(f, was->ino);
	if (v != NULL) {
		lock_take(&v->lock);
		v->attr.mode = was->mode;
		v->attr.uid = was->uid;
		v->attr.gid = was->gid;
		v->attr.atime = was->atime;
		v->attr.ctime = ctime;
		lock_drop(&v->lock);
		vnode_put(f, v);
	}
	io_unlinked(f, was->ino, local);
}

int
tree_unlink(struct fs *f, uint64_t parent, const char *name)
{
	struct op op = { .kind = OP_UNLINK, .parent = parent, .name = name,
	    .ctime = clock_real() };
	struct change_tx t = { .op = &op, .find_ino = true };
	int err;

	err = change(f, &t);
	if (err == 0 && t.last_link)
		unlinked(f, &t.was, op.ctime, t.local);
	return err;
}

int
tree_rmdir(struct fs *f, uint64_t parent, const char *name)
{
	struct op op = { .kind = OP_RMDIR, .parent = parent, .name = name,
	    .ctime = clock_real() };
	struct change_tx t = { .op = &op, .find_ino = true };
	int err = change(f, &t);

	if (err == 0)
		vnodes_note_gone(f, &t.was, op.ctime);
	return err;
}

/* The bytes of what a rename moves are journalled before it (L3), and on disk
 * before they replace others (L11). */
static int
bytes_first(struct fs *f, const struct op *op)
{
	bool swap = (op->flags & RENAME_EXCHANGE) != 0;
	struct attr a, over;
	int err;

	err = tree_lookup(f, op->parent, op->name, &a);
	if (err == 0 && S_ISREG(a.mode))
		err = io_journal_file(f, a.ino);
	if (err != 0 || (!swap && !S_ISREG(a.mode)) ||
	    tree_lookup(f, op->parent2, op->name2, &over) != 0)
		return err;
	if (!swap)
		return io_sync_before_rename(f, a.ino);
	return S_ISREG(over.mode) ? io_journal_file(f, over.ino) : 0;
}

int
tree_rename(struct fs *f, uint64_t parent, const char *name, uint64_t parent2,
    const char *name2, unsigned flags)
{
	struct op op = { .kind = OP_RENAME, .parent = parent, .name = name,
	    .parent2 = parent2, .name2 = name2, .flags = flags };
	struct change_tx t = { .op = &op, .find_ino = true,
	    .find_ino2 = true };
	int err;

	settle_flush(f);			/* L3 */
	err = bytes_first(f, &op);
	op.ctime = clock_real();
	if (err == 0)
		err = change(f, &t);
	if (err == 0 && op.ino2 != 0 && op.ino2 != op.ino &&
	    (t.last_link2 || S_ISDIR(t.was2.mode)) &&
	    !(flags & RENAME_EXCHANGE))
		unlinked(f, &t.was2, op.ctime, t.local);
	return err;
}

/* Of a file that is open and whose names are gone.  -ENOENT: it is neither. */
static int
setattr_unlinked(struct fs *f, uint64_t ino, const struct attr *a,
    uint32_t mask)
{
	struct vnode *v = vnode_peek(f, ino);
	int err = -ENOENT;

	if (v == NULL)
		return err;
	lock_take(&v->lock);
	if (v->opens > 0) {
		if (mask & ATTR_MODE)
			v->attr.mode = (v->attr.mode & S_IFMT) |
			    (a->mode & 07777);
		if (mask & TREE_CLEAR_IDS)
			v->attr.mode = without_ids(v->attr.mode);
		if (mask & ATTR_UID)
			v->attr.uid = a->uid;
		if (mask & ATTR_GID)
			v->attr.gid = a->gid;
		if (mask & ATTR_ATIME)
			v->attr.atime = a->atime;
		if (mask & ATTR_MTIME) {
			v->attr.mtime = a->mtime;
			v->mtime_set = true;
		}
		err = 0;
	}
	lock_drop(&v->lock);
	vnode_put(f, v);
	return err;
}

int
tree_setattr(struct fs *f, uint64_t ino, const struct attr *a, uint32_t mask)
{
	struct op op = { .kind = OP_SETATTR, .ino = ino,
	    .mask = mask & ~TREE_CLEAR_IDS,
	    .mode = a->mode, .uid = a->uid, .gid = a->gid,
	    .atime = a->atime, .mtime = a->mtime, .ctime = clock_real() };
	struct change_tx t = { .op = &op,
	    .clear_ids = (mask & TREE_CLEAR_IDS) != 0 };
	struct vnode *v = mask & ATTR_MTIME ? vnode_peek(f, ino) : NULL;
	int err;

	/* A settling that is under way has the time of the last write, and
	 * is journalled before this or sees what is set here. */
	if (v != NULL)
		vnode_enter(v);
	err = change(f, &t);
	if (err == 0 && (mask & ATTR_MTIME))
		io_times_set(f, ino, a->mtime);
	if (v != NULL)
		vnode_leave(v);
	vnode_put(f, v);
	return err == -ENOENT ? setattr_unlinked(f, ino, a, mask) : err;
}

int
tree_clear_ids(struct fs *f, uint64_t ino)
{
	struct attr a;
	struct sqc *c = NULL;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_getattr(c, ino, &a);
	sq_read_end(c);
	if (err == -ENOENT || (err == 0 && without_ids(a.mode) != a.mode))
		err = tree_setattr(f, ino, &(struct attr){ 0 },
		    TREE_CLEAR_IDS);
	return err;
}

int
tree_setxattr(struct fs *f, uint64_t ino, const char *name, const void *value,
    size_t n, int flags)
{
	struct op op = { .kind = OP_SETXATTR, .ino = ino, .name = name,
	    .value = value, .nvalue = n, .flags = (uint32_t)flags,
	    .ctime = clock_real() };
	struct change_tx t = { .op = &op, .adds = true };

	if (n > META_XATTR_MAX)
		return -E2BIG;
	vnode_may_have_xattrs(f, ino);
	return change(f, &t);
}

int
tree_removexattr(struct fs *f, uint64_t ino, const char *name)
{
	struct op op = { .kind = OP_REMOVEXATTR, .ino = ino, .name = name,
	    .ctime = clock_real() };
	struct change_tx t = { .op = &op };

	return change(f, &t);
}

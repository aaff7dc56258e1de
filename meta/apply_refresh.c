/*
 * apply_refresh: the operations of a refresh (op.h): the one way in which
 * what is below an import changes.  Preconditions first, as in apply_tree.
 */
#include <errno.h>

#include "meta/apply_impl.h"

/* The directory of the op, which is an import's. */
static int
dir_of(struct sqc *c, const struct op *op, struct row *ret)
{
	int err = inode_get(c, op->parent, ret);

	if (err != 0)
		return (err);
	if (!inode_is_dir(ret))
		return (-ENOTDIR);
	return (ret->v[I_FLAGS].i & INODE_IMPORTED ? 0 : -EPERM);
}

/* What the name stands for: ino, which is the import's and not its root. */
static int
named(struct sqc *c, const struct op *op, uint64_t ino, struct row *retentry,
    struct row *retinode)
{
	int err = entry_inode(c, op, ino, retentry, retinode);

	if (err != 0)
		return (err);
	return ((retinode->v[I_FLAGS].i & (INODE_IMPORTED |
	    INODE_IMPORT_ROOT)) == INODE_IMPORTED ? 0 : -EPERM);
}

static int
is_new(struct sqc *c, uint64_t ino)
{
	struct row r;
	int err = inode_get(c, ino, &r);

	return (err == -ENOENT ? 0 : err != 0 ? err : -EEXIST);
}

static int
inode_new(struct sqc *c, const struct change *ch, const struct op *op,
    uint32_t mode)
{
	struct row r = { T_INODE, { col_int(op->ino), col_int(mode),
	    col_int(op->uid), col_int(op->gid), col_int(0), col_int(1),
	    col_int(op->size), col_int(op->mtime), col_int(op->mtime),
	    col_int(op->mtime), col_int(INODE_IMPORTED) } };

	return (row_change(c, ch, NULL, &r));
}

/* Where its bytes are. */
static int
object_new(struct sqc *c, const struct change *ch, const struct op *op)
{
	const struct op_object *o = &op->objects[0];
	struct row object = { T_OBJECT, { col_int(o->id), col_int(o->size),
	    col_int(o->kind) } };
	struct row at = { T_LOCATION, { col_int(o->id), col_int(o->store),
	    col_bytes(op->value, op->nvalue), col_str(o->version) } };
	struct row e = { T_EXTENT, { col_int(op->ino), col_int(0),
	    col_int(op->size), col_int(o->id), col_int(0), col_int(-1) } };
	int err;

	if ((err = row_put(c, ch, &object)) != 0 ||
	    (err = row_put(c, ch, &at)) != 0)
		return (err);
	return (op->size > 0 ? row_put(c, ch, &e) : 0);
}

/* The tags of one inode become another's. */
static int
tags_move(struct sqc *c, const struct change *ch, uint64_t from, uint64_t to)
{
	struct buf b = BUF_INIT;
	int rc;

	for (;;) {
		struct sqs *s = sq_prep(c,
		    "SELECT key, value FROM tag WHERE ino = ? LIMIT 1");
		struct row r = { T_TAG, { col_int(from) } };
		const void *p;
		size_t nk, nv;

		sqs_int(s, 1, from);
		if ((rc = sqs_step(s)) != 1)
			break;
		buf_reset(&b);
		p = sqs_col_blob(s, 0, &nk);
		buf_put(&b, p, nk);
		p = sqs_col_blob(s, 1, &nv);
		buf_put(&b, p, nv);
		sqs_reset(s);
		if ((rc = buf_err(&b)) != 0)
			break;
		r.v[1] = col_bytes(b.p, nk);
		r.v[2] = col_bytes(b.p + nk, nv);
		if ((rc = row_del(c, ch, &r)) != 0)
			break;
		r.v[0] = col_int(to);
		if ((rc = row_put(c, ch, &r)) != 0)
			break;
	}
	buf_done(&b);
	return (rc);
}

static int
refresh_new(struct sqc *c, const struct change *ch, const struct op *op,
    bool file)
{
	struct row dir, slot = { T_COUNT };
	int64_t mode = file ? op->mode : S_IFDIR | (op->mode & 07777);
	int err;

	if ((err = dir_of(c, op, &dir)) != 0 ||
	    (err = is_new(c, op->ino)) != 0)
		return (err);
	err = dentry_find(c, op->parent, op->name, &slot);
	if (err != -ENOENT || slot.tbl != T_DENTRY)
		return (err ? err : -EEXIST);
	if ((err = inode_new(c, ch, op, mode)) != 0 ||
	    (file && (err = object_new(c, ch, op)) != 0))
		return (err);
	return (entry_put(c, ch, &dir, &slot, op->ino, mode, op->ctime));
}

/* The name stands for another file from now on, as rename(2) would do it. */
static int
refresh_replace(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t *retlast)
{
	struct row dir, entry, new, old;
	int err;

	if ((err = dir_of(c, op, &dir)) != 0 ||
	    (err = is_new(c, op->ino)) != 0 ||
	    (err = named(c, op, op->ino2, &entry, &old)) != 0)
		return (err);
	if (!S_ISREG(old.v[I_MODE].i))
		return (-EISDIR);
	new = entry;
	new.v[D_INO] = col_int(op->ino);
	if ((err = inode_new(c, ch, op, op->mode)) != 0 ||
	    (err = object_new(c, ch, op)) != 0 ||
	    (err = tags_move(c, ch, op->ino2, op->ino)) != 0 ||
	    (err = row_change(c, ch, &entry, &new)) != 0 ||
	    (err = link_drop(c, ch, &old, op->ctime, retlast)) != 0)
		return (err);
	return (dir_touch(c, ch, &dir, op->ctime));
}

static int
refresh_gone(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t *retlast)
{
	struct row dir, entry, inode;
	int err;

	if ((err = dir_of(c, op, &dir)) != 0 ||
	    (err = named(c, op, op->ino, &entry, &inode)) != 0)
		return (err);
	if (inode_is_dir(&inode) &&
	    (err = dir_is_empty(c, op->ino)) != 1)
		return (err ? err : -ENOTEMPTY);
	if ((err = row_change(c, ch, &entry, NULL)) != 0 ||
	    (err = link_drop(c, ch, &inode, op->ctime, retlast)) != 0)
		return (err);
	return (dir_touch(c, ch, &dir, op->ctime));
}

static int
refresh_name(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row dir, entry, inode, slot = { T_COUNT };
	int err;

	if ((err = dir_of(c, op, &dir)) != 0 ||
	    (err = named(c, op, op->ino, &entry, &inode)) != 0)
		return (err);
	err = dentry_find(c, op->parent, op->name2, &slot);
	if (err != -ENOENT || slot.tbl != T_DENTRY)
		return (err ? err : -EEXIST);
	if ((err = row_change(c, ch, &entry, NULL)) != 0 ||
	    (err = inode_touch(c, ch, &inode, op->ctime)) != 0)
		return (err);
	return (entry_put(c, ch, &dir, &slot, op->ino, inode.v[I_MODE].i,
	    op->ctime));
}

static int
refresh_time(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row old, new;
	int err = inode_get(c, op->ino, &old);

	if (err != 0)
		return (err);
	if (!(old.v[I_FLAGS].i & INODE_IMPORTED))
		return (-EPERM);
	new = old;
	new.v[I_MTIME] = col_int(op->mtime);
	if (op->mtime > old.v[I_CTIME].i)
		new.v[I_CTIME] = col_int(op->mtime);
	return (row_change(c, ch, &old, &new));
}

int
apply_refresh(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t *retlast)
{
	switch (op->mask) {
	case REFRESH_DIR:
		return (refresh_new(c, ch, op, false));
	case REFRESH_FILE:
		return (op->ino2 == 0 ? refresh_new(c, ch, op, true) :
		    refresh_replace(c, ch, op, retlast));
	case REFRESH_GONE:
		return (refresh_gone(c, ch, op, retlast));
	case REFRESH_NAME:
		return (refresh_name(c, ch, op));
	case REFRESH_TIME:
		return (refresh_time(c, ch, op));
	default:
		return (-EINVAL);
	}
}

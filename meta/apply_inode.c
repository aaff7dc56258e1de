/*
 * apply_inode: operations on one inode: its attributes, size, extended
 * attributes and tags (apply_tree.c).
 */
#include <errno.h>

#include "meta/apply_impl.h"

/* XATTR_CREATE, XATTR_REPLACE: part of the format, so not the C library's. */
enum { XA_CREATE = 1, XA_REPLACE = 2 };

int
apply_setattr(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row old, new;
	int err = inode_for_change(c, op->ino, &old);

	if (err != 0)
		return (err);
	new = old;
	if (op->mask & ATTR_MODE)
		new.v[I_MODE] = col_int((old.v[I_MODE].i & S_IFMT) |
		    (op->mode & 07777));
	if (op->mask & ATTR_UID)
		new.v[I_UID] = col_int(op->uid);
	if (op->mask & ATTR_GID)
		new.v[I_GID] = col_int(op->gid);
	if (op->mask & ATTR_ATIME)
		new.v[I_ATIME] = col_int(op->atime);
	if (op->mask & ATTR_MTIME)
		new.v[I_MTIME] = col_int(op->mtime);
	new.v[I_CTIME] = col_max(old.v[I_CTIME], op->ctime);
	return (row_change(c, ch, &old, &new));
}

int
apply_size(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row old, new;
	int err = inode_for_change(c, op->ino, &old);

	if (err != 0)
		return (err);
	if (!S_ISREG(old.v[I_MODE].i))
		return (inode_is_dir(&old) ? -EISDIR : -EINVAL);
	new = old;
	new.v[I_SIZE] = col_int(op->size);
	new.v[I_MTIME] = col_int(op->mtime);
	new.v[I_CTIME] = col_max(old.v[I_CTIME], op->ctime);
	return (row_change(c, ch, &old, &new));
}

int
apply_xattr(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row inode, r = { T_XATTR, { col_int(op->ino),
	    col_str(op->name), col_bytes(op->value, op->nvalue) } };
	int has, err = inode_for_change(c, op->ino, &inode);

	if (err != 0)
		return (err);
	if ((has = row_exists(c, &r)) < 0)
		return (has);
	if (op->kind == OP_REMOVEXATTR) {
		if (!has)
			return (-ENODATA);
		err = row_del(c, ch, &r);
	} else {
		if (has && op->flags & XA_CREATE)
			return (-EEXIST);
		if (!has && op->flags & XA_REPLACE)
			return (-ENODATA);
		err = row_put(c, ch, &r);
	}
	return (err ? err : inode_touch(c, ch, &inode, op->ctime));
}

/* Tags are no part of the file: imported ones may have them (B2). */
int
apply_tag(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row inode, r = { T_TAG, { col_int(op->ino), col_str(op->name),
	    col_bytes(op->value, op->nvalue) } };
	int has, err = inode_get(c, op->ino, &inode);

	if (err != 0)
		return (err);
	if (!(op->flags & 1))
		return (row_put(c, ch, &r));
	if ((has = row_exists(c, &r)) != 1)
		return (has ? has : -ENODATA);
	return (row_del(c, ch, &r));
}

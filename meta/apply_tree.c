/*
 * apply_tree: the attribute part of operations on the tree (M1): names that
 * come and go, and what all operations read and change rows with.
 * apply_rename.c, apply_inode.c and apply_row.c have the other operations.
 *
 * Each function checks all its preconditions (L9), then changes rows.  What
 * ops of different names share merges: a directory's times take the maximum
 * of its own and the op's, its link count is stored as 1 (L5).
 */
#include <errno.h>

#include "base/hash.h"
#include "meta/apply_impl.h"

/* --- reading --- */

int
inode_get(struct sqc *c, uint64_t ino, struct row *ret)
{
	struct buf none = BUF_INIT;	/* an inode has no bytes */

	ret->tbl = T_INODE;
	ret->v[I_INO] = col_int(ino);
	return (row_get(c, ret, &none));
}

int
row_exists(struct sqc *c, const struct row *key)
{
	struct buf scratch = BUF_INIT;
	struct row r = *key;
	int err = row_get(c, &r, &scratch);

	buf_done(&scratch);
	return (err == 0 ? 1 : err == -ENOENT ? 0 : err);
}

int
inode_for_change(struct sqc *c, uint64_t ino, struct row *ret)
{
	int err = inode_get(c, ino, ret);

	if (err == 0 && ret->v[I_FLAGS].i & INODE_IMPORTED)
		err = -EROFS;
	return (err);
}

int
dir_for_change(struct sqc *c, uint64_t ino, struct row *ret)
{
	int err = inode_get(c, ino, ret);

	if (err == 0 && !inode_is_dir(ret))
		err = -ENOTDIR;
	if (err == 0 && ret->v[I_FLAGS].i & INODE_IMPORTED)
		err = -EROFS;
	return (err);
}

int
dentry_find(struct sqc *c, uint64_t parent, const char *name, struct row *ret)
{
	size_t len = strlen(name), n;
	int64_t hash = name_hash(name, len), slot = hash, at;
	struct sqs *s = sq_prep(c, "SELECT hash, name, ino, type FROM dentry "
	    "WHERE parent = ? AND hash >= ? AND hash < ? ORDER BY hash");
	const void *p;
	int rc;

	sqs_int(s, 1, parent);
	sqs_int(s, 2, hash);
	sqs_int(s, 3, hash + DENTRY_PROBES);
	ret->tbl = T_DENTRY;
	ret->v[D_PARENT] = col_int(parent);
	ret->v[D_NAME] = col_bytes(name, len);
	while ((rc = sqs_step(s)) == 1) {
		at = sqs_col_int(s, 0);
		p = sqs_col_blob(s, 1, &n);
		if (n == len && memcmp(p, name, n) == 0) {
			ret->v[D_HASH] = col_int(at);
			ret->v[D_INO] = col_int(sqs_col_int(s, 2));
			ret->v[D_TYPE] = col_int(sqs_col_int(s, 3));
			sqs_reset(s);
			return (0);
		}
		if (at == slot)
			slot++;
	}
	if (rc < 0)
		return (rc);
	if (slot >= hash + DENTRY_PROBES)
		return (-ENOSPC);
	ret->v[D_HASH] = col_int(slot);
	return (-ENOENT);
}

int
dir_is_empty(struct sqc *c, int64_t ino)
{
	struct sqs *s = sq_prep(c,
	    "SELECT 1 FROM dentry WHERE parent = ? LIMIT 1");
	int rc;

	sqs_int(s, 1, ino);
	rc = sqs_has_row(s);
	return (rc < 0 ? rc : rc == 0);
}

int
dir_is_below(struct sqc *c, int64_t dir, int64_t top)
{
	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		struct sqs *s;
		int rc;

		if (dir == top)
			return (1);
		if (dir == (int64_t)META_ROOT)
			return (0);
		s = sq_prep(c, "SELECT parent FROM dentry WHERE ino = ?");
		sqs_int(s, 1, dir);
		if ((rc = sqs_step(s)) != 1)
			return (rc);	/* removed, and still open: not below */
		dir = sqs_col_int(s, 0);
		sqs_reset(s);
	}
	return (-ELOOP);
}

/* --- changing --- */

int
inode_touch(struct sqc *c, const struct change *ch, const struct row *old,
    int64_t ctime)
{
	struct row new = *old;

	new.v[I_CTIME] = col_max(old->v[I_CTIME], ctime);
	return (row_change(c, ch, old, &new));
}

int
dir_touch(struct sqc *c, const struct change *ch, const struct row *old,
    int64_t time)
{
	struct row new = *old;

	new.v[I_MTIME] = col_max(old->v[I_MTIME], time);
	new.v[I_CTIME] = col_max(old->v[I_CTIME], time);
	return (row_change(c, ch, old, &new));
}

/* All rows of a (ino, bytes) table of this inode. */
static int
labels_drop(struct sqc *c, const struct change *ch, enum tbl t, int64_t ino,
    const char *select)
{
	struct buf name = BUF_INIT;
	int rc;

	for (;;) {
		struct row key = { t, { col_int(ino) } };
		struct sqs *s = sq_prep(c, select);
		const void *p;
		size_t n;

		sqs_int(s, 1, ino);
		if ((rc = sqs_step(s)) != 1)
			break;
		p = sqs_col_blob(s, 0, &n);
		buf_reset(&name);
		buf_put(&name, p, n);
		sqs_reset(s);
		key.v[1] = col_bytes(name.p, name.len);
		if ((rc = buf_err(&name)) != 0 ||
		    (rc = row_del(c, ch, &key)) != 0)
			break;
	}
	buf_done(&name);
	return (rc);
}

static int
inode_delete(struct sqc *c, const struct change *ch, const struct row *old)
{
	int64_t ino = old->v[I_INO].i;
	struct row link = { T_SYMLINK, { col_int(ino) } };
	int err;

	if ((err = row_change(c, ch, old, NULL)) != 0)
		return (err);
	if (S_ISLNK(old->v[I_MODE].i) && (err = row_del(c, ch, &link)) != 0)
		return (err);
	if ((err = labels_drop(c, ch, T_XATTR, ino,
	    "SELECT name FROM xattr WHERE ino = ? LIMIT 1")) != 0)
		return (err);
	return (labels_drop(c, ch, T_TAG, ino,
	    "SELECT key FROM tag WHERE ino = ? LIMIT 1"));
}

int
link_drop(struct sqc *c, const struct change *ch, const struct row *old,
    int64_t ctime, uint64_t *retlast)
{
	struct row new = *old;

	if (inode_is_dir(old) || old->v[I_NLINK].i <= 1) {
		*retlast = old->v[I_INO].i;
		return (inode_delete(c, ch, old));
	}
	new.v[I_NLINK] = col_int(old->v[I_NLINK].i - 1);
	new.v[I_CTIME] = col_max(old->v[I_CTIME], ctime);
	return (row_change(c, ch, old, &new));
}

/* --- new entries --- */

/* The directory and the free slot for a new name. */
static int
entry_room(struct sqc *c, const struct op *op, struct row *retdir,
    struct row *retslot)
{
	int err = dir_for_change(c, op->parent, retdir);

	if (err == 0)
		err = dentry_find(c, op->parent, op->name, retslot);
	return (err == 0 ? -EEXIST : err == -ENOENT &&
	    retslot->tbl == T_DENTRY ? 0 : err);
}

int
entry_put(struct sqc *c, const struct change *ch, const struct row *dir,
    struct row *slot, int64_t ino, int64_t mode, int64_t time)
{
	int err;

	slot->v[D_INO] = col_int(ino);
	slot->v[D_TYPE] = col_int((mode & S_IFMT) >> 12);
	if ((err = row_change(c, ch, NULL, slot)) != 0)
		return (err);
	return (dir_touch(c, ch, dir, time));
}

static int
create_inode(struct sqc *c, const struct change *ch, const struct op *op,
    uint32_t mode, int64_t size)
{
	struct row dir, slot = { T_COUNT }, r;
	int err;

	if ((err = entry_room(c, op, &dir, &slot)) != 0)
		return (err);
	err = inode_get(c, op->ino, &r);
	if (err != -ENOENT)
		return (err ? err : -EEXIST);
	r = (struct row){ T_INODE, { col_int(op->ino), col_int(mode),
	    col_int(op->uid), col_int(op->gid), col_int(op->rdev), col_int(1),
	    col_int(size), col_int(op->mtime), col_int(op->mtime),
	    col_int(op->mtime), col_int(0) } };
	if ((err = row_change(c, ch, NULL, &r)) != 0)
		return (err);
	return (entry_put(c, ch, &dir, &slot, op->ino, mode, op->mtime));
}

static int
apply_create(struct sqc *c, const struct change *ch, const struct op *op)
{
	return (create_inode(c, ch, op, op->mode, 0));
}

static int
apply_mkdir(struct sqc *c, const struct change *ch, const struct op *op)
{
	return (create_inode(c, ch, op, S_IFDIR | (op->mode & 07777), 0));
}

static int
apply_symlink(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row r = { T_SYMLINK, { col_int(op->ino),
	    col_bytes(op->value, op->nvalue) } };
	int err = create_inode(c, ch, op, S_IFLNK | 0777, op->nvalue);

	return (err ? err : row_put(c, ch, &r));
}

static int
apply_link(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row dir, slot = { T_COUNT }, old, new;
	int err;

	if ((err = inode_for_change(c, op->ino, &old)) != 0)
		return (err);
	if (inode_is_dir(&old))
		return (-EPERM);
	if (old.v[I_NLINK].i >= META_LINK_MAX)
		return (-EMLINK);
	if ((err = entry_room(c, op, &dir, &slot)) != 0)
		return (err);
	new = old;
	new.v[I_NLINK] = col_int(old.v[I_NLINK].i + 1);
	new.v[I_CTIME] = col_max(old.v[I_CTIME], op->ctime);
	if ((err = row_change(c, ch, &old, &new)) != 0)
		return (err);
	return (entry_put(c, ch, &dir, &slot, op->ino, old.v[I_MODE].i,
	    op->ctime));
}

/* The import's rows are here already; this makes its root's entry, and its
 * ids part of the log prefix once the attach is (M4). */
static int
apply_attach(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row dir, slot = { T_COUNT }, root;
	struct sqs *s;
	int err;

	if ((err = inode_get(c, op->ino, &root)) != 0)
		return (err);
	if (!inode_is_dir(&root))
		return (-ENOTDIR);
	if (!(root.v[I_FLAGS].i & INODE_IMPORT_ROOT))
		return (-EINVAL);
	err = dir_is_below(c, op->ino, META_ROOT);
	if (err != 0)
		return (err < 0 ? err : -EEXIST);	/* attached before */
	if ((err = entry_room(c, op, &dir, &slot)) != 0)
		return (err);
	if ((err = entry_put(c, ch, &dir, &slot, op->ino, root.v[I_MODE].i,
	    op->mtime)) != 0)
		return (err);
	if (ch->undo_seq != 0) {
		s = sq_prep(c, "UPDATE hidden SET seq = ?2 "
		    "WHERE lo <= ?1 AND hi >= ?1");
		sqs_int(s, 2, ch->undo_seq);
	} else
		s = sq_prep(c, "DELETE FROM hidden "
		    "WHERE lo <= ?1 AND hi >= ?1");
	sqs_int(s, 1, op->ino);
	return (sqs_run(s));
}

/* --- entries that go --- */

int
entry_inode(struct sqc *c, const struct op *op, uint64_t ino,
    struct row *retentry, struct row *retinode)
{
	int err = dentry_find(c, op->parent, op->name, retentry);

	if (err != 0)
		return (err == -ENOSPC ? -ENOENT : err);
	if (retentry->v[D_INO].i != (int64_t)ino)
		return (-ENOENT);
	err = inode_get(c, ino, retinode);
	return (err == -ENOENT ? -EUCLEAN : err);
}

int
entry_named(struct sqc *c, const struct op *op, struct row *retdir,
    struct row *retentry, struct row *retinode)
{
	int err = dir_for_change(c, op->parent, retdir);

	if (err != 0)
		return (err);
	return (entry_inode(c, op, op->ino, retentry, retinode));
}

static int
apply_remove(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t *retlast)
{
	struct row dir, entry, inode;
	int err = entry_named(c, op, &dir, &entry, &inode);

	if (err != 0)
		return (err);
	if (op->kind == OP_UNLINK && inode_is_dir(&inode))
		return (-EISDIR);
	if (op->kind == OP_RMDIR) {
		if (!inode_is_dir(&inode))
			return (-ENOTDIR);
		if ((err = dir_is_empty(c, op->ino)) != 1)
			return (err ? err : -ENOTEMPTY);
	}
	if ((err = row_change(c, ch, &entry, NULL)) != 0 ||
	    (err = link_drop(c, ch, &inode, op->ctime, retlast)) != 0)
		return (err);
	return (dir_touch(c, ch, &dir, op->ctime));
}

/* --- all of them --- */

int
apply_attr(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t *retlast)
{
	switch (op->kind) {
	case OP_CREATE:		return (apply_create(c, ch, op));
	case OP_MKDIR:		return (apply_mkdir(c, ch, op));
	case OP_SYMLINK:	return (apply_symlink(c, ch, op));
	case OP_LINK:		return (apply_link(c, ch, op));
	case OP_UNLINK:
	case OP_RMDIR:		return (apply_remove(c, ch, op, retlast));
	case OP_RENAME:		return (apply_rename(c, ch, op, retlast));
	case OP_SETATTR:	return (apply_setattr(c, ch, op));
	case OP_SETXATTR:
	case OP_REMOVEXATTR:	return (apply_xattr(c, ch, op));
	case OP_EXTENTS:
	case OP_TRUNCATE:	return (apply_size(c, ch, op));
	case OP_ATTACH:		return (apply_attach(c, ch, op));
	case OP_TAG:		return (apply_tag(c, ch, op));
	case OP_STORE:
	case OP_PIN:
	case OP_POLICY:
	case OP_QUOTA:		return (apply_named_row(c, ch, op));
	case OP_SESSION_OPEN:
	case OP_SESSION_CLOSE:
	case OP_SESSION_FENCE:	return (apply_session(c, ch, op));
	case OP_SNAPSHOT_MARK:
	case OP_LOCATE:		return (0);
	case OP_REFRESH:	return (apply_refresh(c, ch, op, retlast));
	case OP_KIND_END:	break;
	}
	return (-EINVAL);
}

/*
 * apply_tree: the attribute part of operations on the tree (M1).
 *
 * Each function checks all its preconditions (L9), then changes rows.  What
 * ops of different names share merges: a directory's times take the maximum
 * of its own and the op's, its link count is stored as 1 (L5).
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "meta/internal.h"
#include "meta/place.h"
#include "meta/refresh.h"

/* RENAME_NOREPLACE, RENAME_EXCHANGE; XATTR_CREATE, XATTR_REPLACE: part of the
 * format, so not the C library's. */
enum { REN_NOREPLACE = 1, REN_EXCHANGE = 2 };
enum { XA_CREATE = 1, XA_REPLACE = 2 };

/* --- reading --- */

int
inode_get(struct sqc *c, uint64_t ino, struct row *ret)
{
	struct buf none = BUF_INIT;	/* an inode has no bytes */

	ret->tbl = T_INODE;
	ret->v[I_INO] = col_int(ino);
	return (row_get(c, ret, &none));
}

static bool
is_dir(const struct row *inode)
{
	return (S_ISDIR(inode->v[I_MODE].i));
}

/* An inode whose own attributes an op may change (B2). */
static int
inode_for_change(struct sqc *c, uint64_t ino, struct row *ret)
{
	int err = inode_get(c, ino, ret);

	if (err == 0 && ret->v[I_FLAGS].i & INODE_IMPORTED)
		err = -EROFS;
	return (err);
}

/* A directory whose entries an op may change (B2). */
static int
dir_for_change(struct sqc *c, uint64_t ino, struct row *ret)
{
	int err = inode_get(c, ino, ret);

	if (err == 0 && !is_dir(ret))
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

static struct col
col_max(struct col a, int64_t b)
{
	return (col_int(a.i > b ? a.i : b));
}

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

	if (is_dir(old) || old->v[I_NLINK].i <= 1) {
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
	if (is_dir(&old))
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
	if (!is_dir(&root))
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

static int
entry_named(struct sqc *c, const struct op *op, struct row *retdir,
    struct row *retentry, struct row *retinode)
{
	int err = dir_for_change(c, op->parent, retdir);

	if (err != 0)
		return (err);
	err = dentry_find(c, op->parent, op->name, retentry);
	if (err != 0)
		return (err == -ENOSPC ? -ENOENT : err);
	if (retentry->v[D_INO].i != (int64_t)op->ino)
		return (-ENOENT);
	err = inode_get(c, op->ino, retinode);
	return (err == -ENOENT ? -EUCLEAN : err);
}

static int
apply_remove(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t *retlast)
{
	struct row dir, entry, inode;
	int err = entry_named(c, op, &dir, &entry, &inode);

	if (err != 0)
		return (err);
	if (op->kind == OP_UNLINK && is_dir(&inode))
		return (-EISDIR);
	if (op->kind == OP_RMDIR) {
		if (!is_dir(&inode))
			return (-ENOTDIR);
		if ((err = dir_is_empty(c, op->ino)) != 1)
			return (err ? err : -ENOTEMPTY);
	}
	if ((err = row_change(c, ch, &entry, NULL)) != 0 ||
	    (err = link_drop(c, ch, &inode, op->ctime, retlast)) != 0)
		return (err);
	return (dir_touch(c, ch, &dir, op->ctime));
}

/* --- rename --- */

struct rename {
	const struct op	*op;
	unsigned	 flags;
	struct row	 dir, dir2;	/* of source and target */
	struct row	 entry, entry2;	/* entry2: or the free slot */
	struct row	 inode, inode2;
	bool		 has2;		/* the target exists */
};

/* A directory must not come to be below itself (L9). */
static int
rename_check_ring(struct sqc *c, const struct rename *r)
{
	int rc = 0;

	if (r->op->parent == r->op->parent2)
		return (0);
	if (is_dir(&r->inode))
		rc = dir_is_below(c, r->op->parent2, r->op->ino);
	if (rc == 0 && r->flags & REN_EXCHANGE && is_dir(&r->inode2))
		rc = dir_is_below(c, r->op->parent, r->op->ino2);
	return (rc > 0 ? -EINVAL : rc);
}

static int
rename_check_target(struct sqc *c, const struct rename *r)
{
	int rc;

	if (!r->has2)
		return (r->op->ino2 != 0 || r->flags & REN_EXCHANGE ?
		    -ENOENT : 0);
	if (r->flags & REN_NOREPLACE || r->op->ino2 == 0)
		return (-EEXIST);
	if (r->entry2.v[D_INO].i != (int64_t)r->op->ino2)
		return (-ENOENT);
	if (r->flags & REN_EXCHANGE || r->op->ino == r->op->ino2)
		return (0);
	if (is_dir(&r->inode2)) {
		if (!is_dir(&r->inode))
			return (-EISDIR);
		rc = dir_is_empty(c, r->op->ino2);
		return (rc == 1 ? 0 : rc ? rc : -ENOTEMPTY);
	}
	return (is_dir(&r->inode) ? -ENOTDIR : 0);
}

static int
rename_load(struct sqc *c, struct rename *r)
{
	const struct op *op = r->op;
	int err;

	r->flags = op->flags & ~OP_LAST_LINK;
	if (r->flags & ~(REN_NOREPLACE | REN_EXCHANGE) ||
	    r->flags == (REN_NOREPLACE | REN_EXCHANGE))
		return (-EINVAL);
	if ((err = entry_named(c, op, &r->dir, &r->entry, &r->inode)) != 0 ||
	    (err = dir_for_change(c, op->parent2, &r->dir2)) != 0)
		return (err);
	err = dentry_find(c, op->parent2, op->name2, &r->entry2);
	if (err != 0 && err != -ENOENT)
		return (err);
	r->has2 = err == 0;
	if (r->has2 && (err = inode_get(c, r->entry2.v[D_INO].i,
	    &r->inode2)) != 0)
		return (err == -ENOENT ? -EUCLEAN : err);
	if ((err = rename_check_ring(c, r)) != 0)
		return (err);
	return (rename_check_target(c, r));
}

static int
rename_dirs_touch(struct sqc *c, const struct change *ch,
    const struct rename *r)
{
	int err = dir_touch(c, ch, &r->dir, r->op->ctime);

	if (err == 0 && r->op->parent2 != r->op->parent)
		err = dir_touch(c, ch, &r->dir2, r->op->ctime);
	return (err);
}

static int
rename_exchange(struct sqc *c, const struct change *ch,
    const struct rename *r)
{
	struct row a = r->entry, b = r->entry2;
	int err;

	a.v[D_INO] = r->entry2.v[D_INO];
	a.v[D_TYPE] = r->entry2.v[D_TYPE];
	b.v[D_INO] = r->entry.v[D_INO];
	b.v[D_TYPE] = r->entry.v[D_TYPE];
	if ((err = row_change(c, ch, &r->entry, &a)) != 0 ||
	    (err = row_change(c, ch, &r->entry2, &b)) != 0 ||
	    (err = inode_touch(c, ch, &r->inode, r->op->ctime)) != 0 ||
	    (err = inode_touch(c, ch, &r->inode2, r->op->ctime)) != 0)
		return (err);
	return (rename_dirs_touch(c, ch, r));
}

static int
apply_rename(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t *retlast)
{
	struct rename r = { .op = op };
	struct row new;
	int err = rename_load(c, &r);

	if (err != 0)
		return (err);
	if (r.has2 && op->ino == op->ino2)
		return (0);	/* two names of one file: POSIX does nothing */
	if (r.flags & REN_EXCHANGE)
		return (rename_exchange(c, ch, &r));
	if ((err = row_change(c, ch, &r.entry, NULL)) != 0)
		return (err);
	new = r.entry2;
	new.v[D_INO] = r.entry.v[D_INO];
	new.v[D_TYPE] = r.entry.v[D_TYPE];
	if ((err = row_change(c, ch, r.has2 ? &r.entry2 : NULL, &new)) != 0)
		return (err);
	if (r.has2 && (err = link_drop(c, ch, &r.inode2, op->ctime,
	    retlast)) != 0)
		return (err);
	if ((err = inode_touch(c, ch, &r.inode, op->ctime)) != 0)
		return (err);
	return (rename_dirs_touch(c, ch, &r));
}

/* --- attributes --- */

static int
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

/* Size and times of what changed a file's bytes (M3). */
static int
apply_size(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row old, new;
	int err = inode_for_change(c, op->ino, &old);

	if (err != 0)
		return (err);
	if (!S_ISREG(old.v[I_MODE].i))
		return (is_dir(&old) ? -EISDIR : -EINVAL);
	new = old;
	new.v[I_SIZE] = col_int(op->size);
	new.v[I_MTIME] = col_int(op->mtime);
	new.v[I_CTIME] = col_max(old.v[I_CTIME], op->ctime);
	return (row_change(c, ch, &old, &new));
}

static int
row_exists(struct sqc *c, const struct row *key)
{
	struct buf scratch = BUF_INIT;
	struct row r = *key;
	int err = row_get(c, &r, &scratch);

	buf_done(&scratch);
	return (err == 0 ? 1 : err == -ENOENT ? 0 : err);
}

static int
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
static int
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

/* --- rows of the namespace --- */

static int
put_or_remove(struct sqc *c, const struct change *ch, const struct row *r,
    bool remove)
{
	int has;

	if (!remove)
		return (row_put(c, ch, r));
	if ((has = row_exists(c, r)) != 1)
		return (has ? has : -ENOENT);
	return (row_del(c, ch, r));
}

struct user { struct sqc *c; uint64_t store; bool found; };

static int
find_place(void *arg, const struct place_row *r)
{
	struct user *u = arg;

	u->found = r->store == u->store;
	return (u->found);
}

static int
find_user(void *arg, const struct import_row *r)
{
	struct user *u = arg;
	struct row root;

	u->found = r->store == u->store && inode_get(u->c, r->root, &root) == 0;
	return (u->found);
}

/* No file has bytes there, no import is from there, no placement says that
 * bytes go there (L9), and it is not the home. */
static int
store_is_free(struct sqc *c, uint64_t id)
{
	struct user u = { c, id, false };
	struct sqs *s;
	int rc = import_rows(c, find_user, &u);

	if (rc == 0 && !u.found)
		rc = place_rows(c, find_place, &u);
	if (rc != 0 || u.found)
		return (rc ? rc : -EBUSY);
	s = sq_prep(c, "SELECT 1 FROM extent e JOIN location l "
	    "ON l.object = e.object AND l.store = ? LIMIT 1");
	sqs_int(s, 1, (int64_t)id);
	rc = sqs_step(s);
	sqs_reset(s);
	return (rc < 0 ? rc : rc == 1 || id == 1 ? -EBUSY : 0);
}

static int
apply_named_row(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct col id = col_int(op->ino), name = col_str(op->name);
	struct col value = col_bytes(op->value, op->nvalue);
	struct row r;
	int err;

	switch (op->kind) {
	case OP_STORE:
		if (op->size == 1 && (err = store_is_free(c, op->ino)) != 0)
			return (err);
		r = (struct row){ T_STORE, { id, name, value,
		    col_int(op->flags) } };
		return (put_or_remove(c, ch, &r, op->size == 1));
	case OP_PIN:
		r = (struct row){ T_PIN, { id, name, col_str(op->name2), value,
		    col_int(op->size), col_int(op->mtime), col_int(0) } };
		break;
	case OP_POLICY:
		if (op->mask == POLICY_PLACE &&
		    (err = place_check(c, op)) != 0)
			return (err);
		r = (struct row){ T_POLICY, { id, name, col_int(op->mask),
		    value } };
		break;
	default:
		r = (struct row){ T_QUOTA, { col_int(op->mask), id,
		    col_int(op->size), col_int(op->ino2) } };
		break;
	}
	return (put_or_remove(c, ch, &r, op->flags & 1));
}

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

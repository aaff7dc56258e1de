/*
 * apply_rename: an entry gets another name, or changes places with another
 * (apply_tree.c).
 */
#include <errno.h>

#include "meta/apply_impl.h"

/* RENAME_NOREPLACE, RENAME_EXCHANGE: part of the format, so not the C
 * library's. */
enum { REN_NOREPLACE = 1, REN_EXCHANGE = 2 };

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
	if (inode_is_dir(&r->inode))
		rc = dir_is_below(c, r->op->parent2, r->op->ino);
	if (rc == 0 && r->flags & REN_EXCHANGE && inode_is_dir(&r->inode2))
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
	if (inode_is_dir(&r->inode2)) {
		if (!inode_is_dir(&r->inode))
			return (-EISDIR);
		rc = dir_is_empty(c, r->op->ino2);
		return (rc == 1 ? 0 : rc ? rc : -ENOTEMPTY);
	}
	return (inode_is_dir(&r->inode) ? -ENOTDIR : 0);
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

int
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

/*
 * apply_impl: what the files of apply share: apply_tree.c has the reading and
 * changing of rows and the table of the operations; apply_rename.c,
 * apply_inode.c, apply_row.c, apply_session.c and apply_refresh.c have
 * operations.
 */
#ifndef META_APPLY_IMPL_H
#define META_APPLY_IMPL_H

#include <sys/stat.h>

#include "meta/internal.h"

static inline bool
inode_is_dir(const struct row *inode)
{
	return (S_ISDIR(inode->v[I_MODE].i));
}

/* Times of what several ops touch: the later one. */
static inline struct col
col_max(struct col a, int64_t b)
{
	return (col_int(a.i > b ? a.i : b));
}

/* Is there a row of this key?  1, 0, -errno. */
int	row_exists(struct sqc *c, const struct row *key);
/* An inode whose own attributes an op may change (B2). */
int	inode_for_change(struct sqc *c, uint64_t ino, struct row *ret);
/* A directory whose entries an op may change (B2). */
int	dir_for_change(struct sqc *c, uint64_t ino, struct row *ret);
/* Finds a name in its directory.  Sets hash, ino and type; the key's row is in
 * *ret with the name borrowed.  -ENOENT: ret->v[1] is the slot a new entry
 * takes; -ENOSPC: there is none. */
int	dentry_find(struct sqc *c, uint64_t parent, const char *name,
	    struct row *ret);
/* The entry that the op names, which stands for ino, and that inode: -ENOENT,
 * -EUCLEAN; and with the directory, for change, of the op's own inode. */
int	entry_inode(struct sqc *c, const struct op *op, uint64_t ino,
	    struct row *retentry, struct row *retinode);
int	entry_named(struct sqc *c, const struct op *op, struct row *retdir,
	    struct row *retentry, struct row *retinode);
/* A name for ino in slot (as dentry_find left it) of the directory dir; a name
 * less of a file (*retlast: none is left), or a directory gone; times.  old,
 * dir: rows as they are. */
int	entry_put(struct sqc *c, const struct change *ch,
	    const struct row *dir, struct row *slot, int64_t ino,
	    int64_t mode, int64_t time);
int	link_drop(struct sqc *c, const struct change *ch,
	    const struct row *old, int64_t ctime, uint64_t *retlast);
int	dir_touch(struct sqc *c, const struct change *ch,
	    const struct row *old, int64_t time);
int	inode_touch(struct sqc *c, const struct change *ch,
	    const struct row *old, int64_t ctime);

/* The operations of the other files; retlast as apply_attr. */
int	apply_rename(struct sqc *c, const struct change *ch,
	    const struct op *op, uint64_t *retlast);
int	apply_setattr(struct sqc *c, const struct change *ch,
	    const struct op *op);
/* Size and times of what changed a file's bytes (M3). */
int	apply_size(struct sqc *c, const struct change *ch,
	    const struct op *op);
int	apply_xattr(struct sqc *c, const struct change *ch,
	    const struct op *op);
int	apply_tag(struct sqc *c, const struct change *ch,
	    const struct op *op);
int	apply_named_row(struct sqc *c, const struct change *ch,
	    const struct op *op);
int	apply_session(struct sqc *c, const struct change *ch,
	    const struct op *op);
int	apply_refresh(struct sqc *c, const struct change *ch,
	    const struct op *op, uint64_t *retlast);

#endif

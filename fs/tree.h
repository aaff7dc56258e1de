/*
 * tree: changes of names and attributes, above meta and below FUSE.  Each is
 * one operation, journalled before it returns (L10).  -errno of apply
 * (meta/op.h), -EROFS when this mount may not write.
 *
 * Who may do what is the kernel's affair (default_permissions); a new inode's
 * group follows a set-group-id parent here.
 */
#ifndef FS_TREE_H
#define FS_TREE_H

#include "fs/fs.h"
#include "meta/op.h"
#include "meta/query.h"

struct owner { uint32_t uid, gid; };

/* Attributes with what is in core laid over them (F3) and the mount's uid=,
 * gid=, umask= applied. */
int	tree_getattr(struct fs *f, uint64_t ino, struct attr *ret);
int	tree_lookup(struct fs *f, uint64_t parent, const char *name,
	    struct attr *ret);
/* uid=, gid=, umask= of the mount, laid over a. */
void	tree_present(struct fs *f, struct attr *a);

/* Group and mode bits of the new inode that op makes in its parent; in op's
 * transaction. */
int	tree_inherit(struct sqc *c, struct op *op);
int	tree_mknod(struct fs *f, uint64_t parent, const char *name,
	    uint32_t mode, uint32_t rdev, struct owner o, struct attr *ret);
int	tree_mkdir(struct fs *f, uint64_t parent, const char *name,
	    uint32_t mode, struct owner o, struct attr *ret);
int	tree_symlink(struct fs *f, uint64_t parent, const char *name,
	    const char *target, struct owner o, struct attr *ret);
int	tree_link(struct fs *f, uint64_t ino, uint64_t parent,
	    const char *name, struct attr *ret);
int	tree_unlink(struct fs *f, uint64_t parent, const char *name);
int	tree_rmdir(struct fs *f, uint64_t parent, const char *name);
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE. */
int	tree_rename(struct fs *f, uint64_t parent, const char *name,
	    uint64_t parent2, const char *name2, unsigned flags);
/* mask: ATTR_* of meta/op.h, times in a; TREE_CLEAR_IDS: and what a write or
 * chown(2) clears of set-id bits, where it is no directory. */
#define TREE_CLEAR_IDS	0x10000u
int	tree_setattr(struct fs *f, uint64_t ino, const struct attr *a,
	    uint32_t mask);
/* Only that, where there are any: cheap where there are none. */
int	tree_clear_ids(struct fs *f, uint64_t ino);
/* flags: XATTR_CREATE, XATTR_REPLACE. */
int	tree_setxattr(struct fs *f, uint64_t ino, const char *name,
	    const void *value, size_t n, int flags);
int	tree_removexattr(struct fs *f, uint64_t ino, const char *name);

#endif

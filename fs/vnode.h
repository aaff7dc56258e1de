/*
 * vnode: what is known in core of an inode that is open, dirty, or being
 * filled.  The table is sized to those, never to the tree.
 *
 * A kernel node is (inode, incarnation) (F1).  Its number is the inode
 * number, unless the incarnation that the kernel knows was replaced: then a
 * number with the top bit set stands for (inode, incarnation); node_ino()
 * translates.  (Session numbers are < 2^27, so inode numbers never have it.)
 *
 * Sizes and times of a file being written come from the backing file (F3):
 * vnode_overlay() lays them over what the database says.
 */
#ifndef FS_VNODE_H
#define FS_VNODE_H

#include "base/lock.h"
#include "cache/backing.h"
#include "fs/fs.h"
#include "meta/query.h"

struct vnode {
	uint64_t	 ino;
	unsigned	 refs;		/* under the table's lock */
	struct lock	 lock;		/* RANK_FILE: what follows */
	unsigned	 opens, writers;
	bool		 unlinked;	/* no name left: gone at last close */
	bool		 dirty;		/* written since the last extents op */
	bool		 small;		/* content is a small row (no bfile) */
	bool		 truncated;	/* by O_TRUNC or ftruncate: L11 */
	bool		 loaded;	/* attr read */
	struct attr	 attr;		/* as of the last op; size live */
	struct bfile	*b;		/* NULL: none yet */
	struct buf	*bytes;		/* small content being read; NULL */
	struct meta_extent_list *extents;	/* cached; NULL: not read */
	int64_t		 set_mtime;	/* explicit utimens while open; 0 */
	struct vnode	*next;		/* hash chain */
};

struct vnodes;

int	vnodes_new(struct vnodes **ret);
void	vnodes_free(struct vnodes *t);
/* Existing or new; one reference. */
int	vnode_get(struct fs *f, uint64_t ino, struct vnode **ret);
/* Only if it is there: NULL. One reference. */
struct vnode *vnode_peek(struct fs *f, uint64_t ino);
void	vnode_put(struct fs *f, struct vnode *v);	/* NULL accepted */
void	vnode_overlay(struct fs *f, struct attr *a);

uint64_t node_ino(struct fs *f, uint64_t node);

#endif

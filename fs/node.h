/*
 * node: the numbers by which the kernel knows inodes.
 *
 * F1  A kernel node is (inode, incarnation).  Its number is the inode's until
 *     others replace the content of a file that is open here; then the old
 *     number stays with those who have it open, and the inode gets a new one:
 *     with the top bit set, which no inode number has (session numbers are
 *     < 2^27).
 * N1  A number stands for one inode for as long as the mount lasts, and never
 *     for another incarnation.
 * N2  An old number is not opened any more (ESTALE: the kernel looks the name
 *     up again); who has it open goes on with the vnode of then (vnode_old).
 *
 * Only regular files get new numbers.  A renewal costs 16 bytes until the
 * mount ends.  Thread-safe.
 */
#ifndef FS_NODE_H
#define FS_NODE_H

#include "fs/fs.h"

struct nodes;

int	nodes_new(struct nodes **ret);			/* -ENOMEM */
void	nodes_free(struct nodes *t);			/* NULL accepted */

/* The inode of a number that the kernel was told; 0: it never was. */
uint64_t node_ino(struct fs *f, uint64_t node);
/* The number by which the kernel is to know an inode now. */
uint64_t node_of(struct fs *f, uint64_t ino);
/* Another number stands for its inode now. */
bool	node_is_old(struct fs *f, uint64_t node);
/* From now on ino has a new number.  -ENOMEM: it has not. */
int	node_renew(struct fs *f, uint64_t ino);

#endif

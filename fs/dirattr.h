/*
 * dirattr: attributes of the directories that are worked in, in memory.
 *
 * The kernel asks for a directory's attributes again after each name that it
 * made or removed there; the answer is known: what a name changes of its
 * directory is the times, which merge by max (L5).  All else that changes a
 * directory is forgotten here: by who changes it for the kernel (tree.c), and
 * for all others by the invalidation that they owe the kernel anyway.
 */
#ifndef FS_DIRATTR_H
#define FS_DIRATTR_H

#include "meta/query.h"

struct dirattrs;

int	dirattrs_new(struct dirattrs **ret);
void	dirattrs_free(struct dirattrs *d);	/* NULL accepted */

/* False: not known.  *retversion is then for dirattr_put. */
bool	dirattr_get(struct dirattrs *d, uint64_t ino, struct attr *ret,
	    uint64_t *retversion);
/* What the database said after dirattr_get; nothing where the directory was
 * changed since. */
void	dirattr_put(struct dirattrs *d, const struct attr *a,
	    uint64_t version);
/* After the commit, before the reply: a name in it came or went at time;
 * anything else. */
void	dirattr_touch(struct dirattrs *d, uint64_t ino, int64_t time);
void	dirattr_forget(struct dirattrs *d, uint64_t ino);
void	dirattrs_clear(struct dirattrs *d);	/* the tree is another */

#endif

/*
 * sums: are the bytes that a store gave those that were stored there?
 *
 * Large objects of ours carry the CRC-32C of what they have of each chunk of
 * their file (op.h); imported ones, and ours of earlier versions, carry none.
 * A chunk is compared when all of it has come, and before anybody sees it.
 * Where it is not what it should be, it is fetched again, from another place
 * if there is one; where a later write replaced a part of what a sum is of,
 * all of that is fetched, compared, and the rest used.
 */
#ifndef FS_SUMS_H
#define FS_SUMS_H

#include "fs/content.h"

struct sums;

/* Those of file bytes [off, off+len), which x has: new, freed with free();
 * NULL: there are none. */
int	sums_get(struct fs *f, const struct extents *x, uint64_t off,
	    uint64_t len, struct sums **ret);
/* All sums that these n bytes at off have something of prove them right.
 * NULL accepted.  *retcrc: their CRC-32C, where one sum is of all of them, else
 * -1. */
bool	sums_hold(const struct sums *s, const struct extents *x, uint64_t off,
	    const void *p, size_t n, int64_t *retcrc);
/* Otherwise: what they do not prove is fetched again.  0; -EIO: no place has
 * what was stored; as content_fetch. */
int	sums_mend(struct fs *f, const struct sums *s, const struct extents *x,
	    uint64_t off, void *p, size_t n);
/* All three.  -errno. */
int	sums_check(struct fs *f, const struct extents *x, uint64_t off, void *p,
	    size_t n);

#endif

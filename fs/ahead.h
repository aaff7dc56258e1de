/*
 * ahead: small files, before anybody asks for them.
 *
 * A small file that is not here costs a round trip to its store, whatever its
 * size.  Files whose inodes are numbered alike were made together: siblings in
 * an import, neighbours in a pack.  So when several of a block of inodes were
 * missed, the rest of the block is fetched: what lies close in one object by
 * one request, a few requests at once, the rows of each in one commit.  Where
 * several of a street, sixteen blocks and about a pack, are missed within two
 * seconds, all of it is: who reads so fast there reads a folder, or an epoch.
 *
 * It is a guess, so it is cheap to be wrong: how many misses it takes bounds
 * what is fetched in vain (of a block of a pack, where it costs bytes but no
 * request, two of 64; else eight; of a street eight of 1,024, else 32), in a
 * cache that is full only what nobody used for ten minutes is evicted for it,
 * and no row is replaced by it.  A file is fetched
 * once (flight.h): a reader that misses one that a request of ours is fetching
 * waits for its bytes, what a reader is fetching when our request is made is
 * left out of it, and one that waits in our queue is the first reader's.  What
 * did not come, for an outage or want of room, or went again, is fetched again
 * after as many misses.
 */
#ifndef FS_AHEAD_H
#define FS_AHEAD_H

#include "fs/fs.h"

struct ahead;

int	ahead_new(struct ahead **ret);
void	ahead_free(struct ahead *a);		/* fs->io is gone before */

/* A reader is about to fetch this small file; packed: from among others.
 * Returns at once. */
void	ahead_missed(struct fs *f, uint64_t ino, bool packed);

#endif

/*
 * flight: contents of small files that are on their way from a store.
 *
 * A content (an inode's bytes of one object) is fetched by one at a time:
 * whoever else misses it meanwhile, another reader or a run of ahead.h, waits
 * for it.  What has come can be had before it is a row of small.db, and it is
 * on its way until then: so between the two nobody misses it either, who looks
 * into small.db once more when nobody is found to fetch it.
 *
 * States of a flight     begun → landed → ended, or begun → ended
 *   begun                in the table; who joins waits
 *   landed               in the table; the bytes are whoever's who joined
 *   ended                out of the table; those who joined get the bytes, or
 *                        the error
 *
 * Memory: an entry each for those that fetch, who are few (threads).
 */
#ifndef FS_FLIGHT_H
#define FS_FLIGHT_H

#include "base/buf.h"
#include "cache/small.h"
#include "fs/fs.h"

struct flight;
struct flights;

int	flights_new(struct flights **ret);		/* -ENOMEM */
void	flights_free(struct flights *t);		/* NULL accepted */

/* 1: nobody fetched it: the caller does now, and is to end *ret; 0: somebody
 * does, who is to be waited for; -ENOMEM. */
int	flight_join(struct fs *f, const struct small_id *id,
	    struct flight **ret);
/* The former alone; NULL: somebody does, or there is no memory. */
struct flight *flight_begin(struct fs *f, const struct small_id *id);

/* By who began it: its id->len bytes are here, borrowed until it ends. */
void	flight_land(struct fs *f, struct flight *x, const void *p);
/* The same: it is in small.db, or never will be.  err: for those who wait
 * where it has not landed; -EAGAIN: they are to ask for themselves. */
void	flight_end(struct fs *f, struct flight *x, int err);

/* By who joined it, once: 0, and its bytes appended to out; what it ended
 * with; -EHOSTUNREACH at the deadline (clock_mono), -EINTR (io.h). */
int	flight_wait(struct fs *f, struct flight *x, int64_t deadline,
	    struct buf *out);

#endif

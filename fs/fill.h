/*
 * fill: bytes of large files from stores into the cache, for readers that
 * wait for them, ahead of readers that will want them, and for pins.
 *
 * The unit is a chunk (1 MiB).  A *fetch* is one chunk on its way; whoever
 * wants the chunk meanwhile waits for that fetch and never starts another.  A
 * *run* is one job for a thread of fs->io: up to RUN_CHUNKS chunks in a row,
 * fetched by one ranged GET an extent; the chunk's bytes can be had from its
 * buffer as they arrive (where there are sums of them, when all of the chunk
 * has: sums.h), then from the backing file.
 *
 * States of a fetch      queued → arriving → done | failed
 *   done, kept           out of the table: the backing file has it; of what a
 *                        reader comes for next, the buffer stays a moment
 *   done, not kept       (no room, disk full) stays in the table with its
 *                        buffer until UNKEPT_MAX newer ones push it out: a
 *                        full cache slows readers, it never fails them
 *   failed               out of the table; waiters get the error
 */
#ifndef FS_FILL_H
#define FS_FILL_H

#include <sys/uio.h>

#include "fs/fs.h"
#include "fs/io.h"

struct fill;

int	fill_new(uint64_t memory, struct fill **ret);	/* memory.h */
void	fill_free(struct fill *fl);		/* fs->io is gone before */

/* Reads what bfile_has said is not (all) here, within io_until.  Bytes or
 * -errno; -EHOSTUNREACH as io_read. */
ssize_t	fill_read(struct fs *f, struct handle *h, struct bfile *b, void *buf,
	    size_t n, uint64_t off);
/* A read of [off, off+n) was answered from the cache: keeps the read-ahead of
 * a sequential reader ahead of it. */
void	fill_note_read(struct fs *f, struct handle *h, uint64_t off,
	    size_t n);

/*
 * The same without a copy, where it can be had: true, and the bytes, clipped
 * to the size, which stay until fill_unref.  false: nothing was done that
 * fill_read would not do; ask io_read.
 */
#define FILL_REF_MAX	2	/* chunks */
struct fetch;
struct fill_ref {
	int		 n;		/* parts, in order */
	struct iovec	 v[FILL_REF_MAX];
	struct fetch	*x[FILL_REF_MAX];
};
bool	fill_ref(struct fs *f, struct handle *h, uint64_t off, size_t n,
	    struct fill_ref *ret);
/* Bytes that bfile_has said are here, from the buffers in which they came a
 * moment ago: true, and as fill_ref.  false: they are in the file. */
bool	fill_recent(struct fs *f, struct bfile *b, uint64_t off, size_t n,
	    struct fill_ref *ret);
void	fill_unref(struct fs *f, struct fill_ref *r);
/* Now and then: gives back such buffers that nobody came for, and those that
 * were not needed since the last time. */
void	fill_trim(struct fs *f);

/* In the gate of a file that h has just opened to be read: all of it is
 * fetched, where a policy says so (meta/whole.h). */
void	fill_opened(struct fs *f, struct handle *h);

/* A buffer of CACHE_CHUNK bytes, NULL: no memory. */
void	*fill_buf_take(struct fs *f);
void	fill_buf_give(struct fs *f, void *p);	/* NULL accepted */

#endif

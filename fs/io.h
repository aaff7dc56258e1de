/*
 * io: reading and writing files, above the cache and below FUSE (read.c,
 * write.c, fill.c).  Nothing here knows FUSE; all returns are 0/bytes or
 * -errno.  A handle is one open file description.
 */
#ifndef FS_IO_H
#define FS_IO_H

#include <sys/types.h>

#include "fs/fs.h"
#include "fs/settle.h"
#include "fs/vnode.h"
#include "fs/window.h"

struct handle {
	struct vnode	*v;
	int		 flags;		/* O_* */
	bool		 writes;
	bool		 passed;	/* fs/pass.h */
	bool		 seen;		/* but its writes come to us */
	unsigned	 kind;		/* of a new file (pass_kind); else 0 */
	struct settle_close flush;	/* the FLUSH of a writer */
	struct window_streams streams;	/* read-ahead, under v->lock */
};

/* --- files --- */
/* Opens an inode (O_TRUNC done here).  Imports: EROFS for writing (B2). */
int	io_open(struct fs *f, uint64_t ino, int flags, struct handle **ret);
/* A new regular file: backing file from the pool and the op in one
 * transaction (F2).  attr is the new inode's. */
int	io_create(struct fs *f, uint64_t parent, const char *name,
	    uint32_t mode, uint32_t uid, uint32_t gid, int flags,
	    struct attr *retattr, struct handle **ret);
/* What close(2) promises (FLUSH): 0 or the first write error. */
int	io_flush(struct fs *f, struct handle *h);
/* Last close: small becomes a row, large is queued for upload.  Frees h. */
void	io_release(struct fs *f, struct handle *h);
/* *retspent: new, or NULL: what is to be put (bfile_put) after the answer. */
int	io_fsync(struct fs *f, struct handle *h, struct bfile **retspent);
ssize_t	io_write(struct fs *f, struct handle *h, const void *p, size_t n,
	    uint64_t off);
/* Where the next n bytes can be had without copying: 0 and a reference to the
 * backing file when all of them (clipped to the size: *retn) are here, until
 * bfile_read_end; else -EAGAIN: use io_read. */
int	io_read_local(struct fs *f, struct handle *h, uint64_t off, size_t n,
	    struct bfile **ret, size_t *retn, unsigned *retturn);
/* Of a handle that nobody has yet, the only one of its file: hands take the
 * whole content if that is a row of small.db.  Nobody changes the file
 * meanwhile, or reads it. */
void	io_offer(struct fs *f, struct handle *h,
	    void (*take)(void *arg, const void *p, size_t n), void *arg);
/* Reads into buf, within io_until.  -EHOSTUNREACH: a store that it needs is
 * away, known at once or found out in that time (EIO to the caller, or, with
 * offline=wait, to be tried again when stores_returns has changed). */
ssize_t	io_read(struct fs *f, struct handle *h, void *buf, size_t n,
	    uint64_t off);
int	io_truncate(struct fs *f, uint64_t ino, uint64_t size);
int	io_fallocate(struct fs *f, struct handle *h, int mode, uint64_t off,
	    uint64_t len);
off_t	io_lseek(struct fs *f, struct handle *h, uint64_t off, int whence);
/* Bytes, fewer than n perhaps; 0 at the end of in. */
ssize_t	io_copy_range(struct fs *f, struct handle *in, uint64_t off_in,
	    struct handle *out, uint64_t off_out, size_t n);

/* The last name of ino went (in the caller's order: after the commit): its
 * local bytes go now, or at the last close.  local: bfile_is_known, in that
 * transaction. */
void	io_unlinked(struct fs *f, uint64_t ino, bool local);
/* What is written of it is journalled now, open or not: before the op that
 * gives it a name (L3).  0, also where nothing is; -errno. */
int	io_journal_file(struct fs *f, uint64_t ino);
/* Its bytes must be on disk before the name that replaces another is (L11). */
int	io_sync_before_rename(struct fs *f, uint64_t ino);
/* Explicit times from setattr on a file that may be open. */
void	io_times_set(struct fs *f, uint64_t ino, int64_t mtime);
/* Asked while a read waits for the network, or a write for room; true ends it
 * with EINTR.  Set per thread by whoever knows how the caller is interrupted
 * (fuse_io.c). */
extern _Thread_local bool (*io_interrupted)(void *arg);
extern _Thread_local void *io_interrupted_arg;
/* When this thread's request is to be answered (clock_mono); 0: io_timeout
 * from now.  It counts from the request's arrival. */
extern _Thread_local int64_t io_deadline;
int64_t	io_until(const struct fs *f);

/* --- whole files, for pins, warm, explain, sync --- */
/* Everything of ino on this host: 0, or -errno (-ENOSPC, -EHOSTUNREACH...).
 * verify: checksums read back from disk (pin --wait). done is called with
 * bytes as they arrive, and ends it where it is not 0 (-ECANCELED); may be
 * NULL. */
int	io_fill_whole(struct fs *f, uint64_t ino, bool verify,
	    int (*done)(void *arg, uint64_t bytes), void *arg,
	    struct why *why);
/* Journals an `extents` op for every open file (below top, 0: all) that is
 * dirty, so that a sync covers it; *retseq the last journalled op. */
int	io_journal_dirty(struct fs *f, uint64_t top, uint64_t *retseq);
/* After an unclean end: files that cache_recover names. */
int	io_recover(struct fs *f);
/* Now and then, from upload's thread: files that stay open and dirty are
 * journalled every 30 s. */
void	io_tick(struct fs *f);
/* gnsfs sync: journal what is dirty, upload, land. */
int	io_sync(struct fs *f, uint64_t top, int64_t deadline, struct why *why);

#endif

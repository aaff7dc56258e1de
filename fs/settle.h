/*
 * settle: what was written becomes an operation (F2; write.c says when).
 *
 *   small (≤ 64 KiB)  the bytes become a row in the transaction that journals
 *                     the `extents` op; the backing file goes back to the pool
 *   large             the op is journalled and waits for its upload
 *
 * After the last close it is done by one thread, off the critical path and
 * grouped: what was closed within a few milliseconds shares a commit.  Until
 * then the backing file is the truth, and the cache's index names it as dirty,
 * so that kill −9 loses nothing (K2; io_recover).  What cannot be settled (a
 * full disk) stays queued and is tried again.
 */
#ifndef FS_SETTLE_H
#define FS_SETTLE_H

#include "fs/fs.h"
#include "fs/vnode.h"

struct settler;

int	settle_start(struct fs *f);
void	settle_stop(struct fs *f);	/* settles what is queued, then ends */

/* In the gate of v.  0, also when there is nothing to do; -errno: still
 * dirty. */
int	settle_now(struct fs *f, struct vnode *v);
/* The same, durable if *retsync is 0 then: a small file's fsync.  *retspent:
 * new, or NULL: to be put when nobody waits, for a pool file is emptied then.
 */
int	settle_synced(struct fs *f, struct vnode *v, int *retsync,
	    struct bfile **retspent);
/* In the gate, of a file that stays open and whose writes are all seen: a part
 * of what is dirty, bfile_part's, becomes an op.  Where all behind the part is
 * dirty and no op's, the file is as long as that for its op: a file that grows
 * is stored as far as it is written.  It is still dirty.  *retseq: the op that
 * has what is to be uploaded, also one before it that waits yet; 0: none.
 * -ENODATA: there is no such part. */
int	settle_part(struct fs *f, struct vnode *v, uint64_t least,
	    uint64_t most, uint64_t *retseq);
/* Soon, by the thread; takes the caller's reference to v. */
void	settle_later(struct fs *f, struct vnode *v);
/* A writer's close that is being handled, by this thread: from when it is
 * asked for until its file is settled, or given to settle_later.  One that is
 * not begun is not ended either. */
struct settle_close {
	struct settle_close *next;
	uint64_t	 number;	/* 0: none */
	struct vnode	*flushed;	/* begun by FLUSH; else NULL */
	int64_t		 since;		/* clock_mono; of that */
	unsigned	 times;		/* FLUSH came; ever */
	bool		 shared;	/* and once no RELEASE soon after it */
};
void	settle_close_begin(struct fs *f, struct settle_close *c);
void	settle_close_end(struct fs *f, struct settle_close *c);
/* FLUSH, a close(2) that waits for us: of v's writer whose handle has c.  If it
 * was the last of that handle, its RELEASE is on its way, and c becomes that
 * close (settle_close_take, which is a begin where c is none); if another
 * descriptor has the handle, none follows.  Both before v is put. */
void	settle_close_flushed(struct fs *f, struct settle_close *c,
	    struct vnode *v);
void	settle_close_take(struct fs *f, struct settle_close *ret,
	    struct settle_close *c);
/* Waits until the closes that began before are over, io_timeout at most, and
 * what was given to settle_later was settled, or tried: before an op that
 * publishes (rename, link, symlink), so that nobody sees it without the bytes
 * (L3).  Where FLUSH came and no RELEASE soon after, what is written so far is
 * journalled, or that was tried.  A mapping that outlives its close(2) is asked
 * for by neither. */
void	settle_flush(struct fs *f);
/* In the gate: no name is left, the backing file goes. */
void	settle_drop(struct fs *f, struct vnode *v);

#endif

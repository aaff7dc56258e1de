/*
 * fuse_ring: requests and replies by io_uring, in place of read and write of
 * /dev/fuse, where the kernel does so (Linux 6.14; its fuse module's parameter
 * enable_uring, off unless set).
 *
 * What it is for: who asks sleeps until it is answered, so a request costs two
 * wake-ups.  Over /dev/fuse the thread that waited longest gets it, on whatever
 * core, and a core that slept takes 20-50 us to be woken; a queue for each
 * core, served by threads bound to it, answers on the core that asked, which is
 * awake (a stat of 7.5 us in place of 20-50 on two virtual cores).
 *
 *   entry    a buffer that the kernel puts a request into and takes its reply
 *            from.  Each has a thread, and an io_uring, of its own:
 *                 ┌────────── with the kernel ──────────┐
 *            commit the reply, fetch the next      a request came
 *                 └── answered ←── being handled ←──────┘
 *            A thread waits for the answer of its request, whoever gives it
 *            (fuse_read.c's readers, say), and only then fetches the next.
 *   queue    a core's entries.  While fewer than RESERVE of them are with the
 *            kernel each request adds one, up to the ring's limit, which each
 *            queue may pass by RESERVE: who waits for a store does not keep
 *            others of its core waiting.  What came
 *            while there was none the kernel gives to the next that commits,
 *            not to one that is added; so each that is added is followed by a
 *            request of our own to that queue (`nudge`), which commits, and
 *            takes, and adds, until there are enough.
 *
 *   - A reply is for an entry when its request came by it: found by `unique`,
 *     which is the request's name whichever way it came.
 *   - Requests of one program may be seen in another order than it made them:
 *     those of two cores come by two queues.  So a close(2) is asked for by
 *     FLUSH, which it waits for (settle.h, L3); over /dev/fuse its RELEASE is
 *     read before what is asked for after it.
 *   - FORGET, INTERRUPT and all notifications stay with /dev/fuse.  A signal in
 *     the instant between a request's being made and its being copied here is
 *     not told of by the kernel: that caller is not interrupted.
 *   - The kernel lets nobody ask until each queue has an entry, or was refused
 *     one; so where one cannot be made, or nothing comes, it is refused, and
 *     requests come by /dev/fuse (replies are copied, and FLUSH is asked for,
 *     all the same).
 *   - memory=: what a payload was used for stays in core, up to a share for
 *     all; beyond it an entry drops it before it waits.  The kernel copies a
 *     request in the entry's own thread alone: while that sends a reply, and
 *     then the request is there when it returns, or while it waits.
 */
#ifndef FS_FUSE_RING_H
#define FS_FUSE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct fuse_front;
struct fuse_ring;

/* Of the kernel's INIT flags, and of our answer. */
#define FUSE_RING_FLAG	(1ULL << 41)

/* In the library's init, before it is agreed on: can it be done here?  payload:
 * bytes of the largest request or reply.  0 and *ret; -errno. */
int	fuse_ring_new(struct fuse_front *fr, int fd, size_t payload,
	    struct fuse_ring **ret);
/* How many of the kernel's own (read-ahead, RELEASE) at once: the other entries
 * are for those that somebody waits for. */
unsigned fuse_ring_background(const struct fuse_ring *r);
/* After the kernel has our reply to INIT, in which it was agreed on. */
void	fuse_ring_start(struct fuse_ring *r);
/* The session is over: its threads end, but what they handle is handled. */
void	fuse_ring_stop(struct fuse_ring *r);
/* Nobody answers any more.  NULL accepted. */
void	fuse_ring_free(struct fuse_ring *r);

/* A reply as the library sends it: iov[0] is its header.  True: it was for an
 * entry, whose thread sends it when its handler has returned.  One of another
 * thread's may wait for that, a second at most, so that payloads stay few. */
bool	fuse_ring_answer(struct fuse_ring *r, const struct iovec *iov,
	    int count);
/* The answer, given before, is sent now: the handler goes on. */
void	fuse_ring_send(void);
/* n bytes for the reply to the request that this thread handles, which need
 * not be copied then; NULL: it came otherwise, or has no such room. */
void	*fuse_ring_room(size_t n);

#endif

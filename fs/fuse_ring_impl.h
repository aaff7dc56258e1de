/* fuse_ring_impl: what fuse_ring.c (the ring) and fuse_ring_entry.c (its
 * entries, and their threads) share. */
#ifndef FS_FUSE_RING_IMPL_H
#define FS_FUSE_RING_IMPL_H

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "fs/fuse_front.h"
#include "fs/fuse_ring.h"

#define RESERVE		4	/* of a queue, with the kernel */
#define RING_DEPTH	4		/* a command, and the end */
#define RING_FLAGS	(IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | \
			    IORING_SETUP_DEFER_TASKRUN)

/* What the kernel's protocol has (7.42), and older headers have not. */
enum ring_command { RING_REGISTER = 1, RING_COMMIT_AND_FETCH = 2 };

struct ring_queue {
	struct fuse_ring	*ring;
	unsigned		 cpu;
	_Atomic int		 idle;	/* entries that are with the kernel */
	unsigned		 n;	/* entries; under the ring's lock */
};

/* In memory: a page with the header at its begin and, at its end, room for what
 * the library wants before a payload; then the payload. */
struct ring_entry {
	struct ring_queue	*queue;
	struct ring_header	*header;
	char			*payload;
	struct iovec		 iov[2];
	pthread_t		 thread;
	struct io_uring		 uring;
	_Atomic uint64_t	 unique;	/* to be answered; or 0 */
	sem_t			 answered, sent_on;
	_Atomic bool		 awaited;	/* by who answered */
	bool			 sent;		/* already */
	bool			 added;		/* later than the first */
	size_t			 touched;	/* of the payload; 0: few */
};

struct fuse_ring {
	struct fuse_front	*fr;
	int			 fd;		/* /dev/fuse */
	size_t			 page, payload;
	int			 stop_fd;	/* readable at the end */
	_Atomic bool		 stop;
	struct lock		 lock;
	struct io_uring		 refuser;	/* under it */
	bool			 refused;	/* under it */
	cpu_set_t		*cores;		/* that are for us */
	pthread_t		 watcher;
	bool			 watched;
	_Atomic bool		 ready;		/* a request has come */
	size_t			 may_keep;	/* bytes of payloads */
	_Atomic size_t		 kept;
	sem_t			 slots;		/* of those that handle */
	unsigned		 nqueues, max;
	unsigned		 foreign;	/* entries of others' cores */
	struct ring_queue	*queues;
	_Atomic unsigned	 n;		/* entries */
	struct ring_entry	*_Atomic *entries;
};

/* One more, with its thread; false: there are as many as there may be, or it
 * could not be made.  later: when requests come already. */
bool	ring_entry_add(struct ring_queue *q, bool later);
/* Its thread has ended. */
void	ring_entry_free(struct fuse_ring *r, struct ring_entry *e);
/* The next command of a ring, yet to be submitted; NULL: it is full.  qid: the
 * core.  commit_id: of the request that is answered; else 0. */
struct io_uring_sqe *ring_command(struct io_uring *u, int fd,
	    enum ring_command what, uint64_t commit_id, unsigned qid);
/* An entry that there cannot be: then the kernel goes on without. */
void	ring_refuse(struct fuse_ring *r);
/* A request has come. */
void	ring_is_ready(struct fuse_ring *r);
/* May threads of ours run on that core? */
bool	ring_is_ours(const struct fuse_ring *r, unsigned cpu);

#endif

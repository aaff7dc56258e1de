/*
 * lock: mutexes and condition variables with ranks.
 *
 * A thread takes locks in ascending rank only (STYLE 11); taking one of the
 * same or a lower rank than one it holds is a bug and aborts.  No lock is
 * held across a reply, a system call that may block for long, or the network
 * (STYLE 10).  Condition waits take deadlines on CLOCK_MONOTONIC.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* From the outside in.  Gaps are for whoever comes. */
enum lock_rank {
	RANK_MOUNT = 10,	/* fs: start, stop, session state */
	RANK_SHIP = 20,		/* fs: log shipping */
	RANK_IMPORT = 25,
	RANK_PINS = 30,
	RANK_UPLOAD = 35,
	RANK_FILE = 40,		/* fs: one open file's state (vnode) */
	RANK_VNODES = 45,	/* fs: the table of vnodes */
	RANK_FILL = 50,		/* fs: fetches in flight */
	RANK_MAP = 60,		/* cache: one file's map */
	RANK_BACKING = 65,	/* cache: table of backing files */
	RANK_SPACE = 70,	/* cache: accounts */
	RANK_SLOTS = 75,	/* cache: pool of backing files */
	RANK_SQ = 80,		/* base: the database's write queue */
	RANK_STORE = 85,	/* backends: layers, credentials, curl pools */
	RANK_WORKERS = 90,	/* base: worker pool */
	RANK_LOG = 99,
};

struct lock {
	pthread_mutex_t	 m;
	int		 rank;
	const char	*name;		/* static string */
};

struct cond {
	pthread_cond_t	 c;		/* CLOCK_MONOTONIC */
};

void	lock_init(struct lock *l, enum lock_rank rank, const char *name);
void	lock_done(struct lock *l);
void	lock_take(struct lock *l);
bool	lock_try(struct lock *l);
void	lock_drop(struct lock *l);
void	lock_assert_held(const struct lock *l);	/* by this thread */
/* For a static one. */
#define LOCK_INIT(rank_, name_) \
	{ .m = PTHREAD_MUTEX_INITIALIZER, .rank = (rank_), .name = (name_) }

void	cond_init(struct cond *c);
void	cond_done(struct cond *c);
void	cond_wait(struct cond *c, struct lock *l);
/* 0 or -ETIMEDOUT; deadline in ns as clock_mono() gives, INT64_MAX: never. */
int	cond_wait_until(struct cond *c, struct lock *l, int64_t deadline);
void	cond_signal(struct cond *c);
void	cond_broadcast(struct cond *c);

#endif

/*
 * stores_impl: the table of the stores, for stores.c (who is in it) and
 * stores_health.c (which are up, which is near).
 */
#ifndef FS_STORES_IMPL_H
#define FS_STORES_IMPL_H

#include <pthread.h>

#include "fs/stores.h"

enum nearness { HERE, AT_HOME, FAR, RANK_DOWN };

/* A stack that is not the one any more, and may still be in use. */
struct old {
	struct store	*store;
	struct old	*next;
};

struct entry {
	uint32_t	 id;
	enum nearness	 near;
	char		 name[65];
	char		*url;
	struct store	*store;		/* NULL: not opened yet */
	struct old	*old;		/* of earlier URLs */
	bool		 listed;	/* in the namespace now */
	uint64_t	 reading;	/* of the rows: the last that had it */
	bool		 down;
	bool		 asked;		/* to be probed, though it is up */
	unsigned	 users;		/* stores_use_begin */
	bool		 moving;	/* one of them, alone */
	int64_t		 since;		/* clock_real */
	int64_t		 pause, next;	/* of probes; clock_mono */
	char		 why[256];
	struct entry	*link;
};

struct stores {
	struct fs	*fs;
	struct lock	 lock;		/* what follows */
	struct cond	 changed;
	struct entry	*list;		/* by id, ascending */
	uint64_t	 returns;	/* of any of them */
	uint64_t	 readings;	/* of the rows, begun */
	uint64_t	 taken;		/* the one that counts now */
	_Atomic bool	 stopping;	/* and cancels a probe */
	pthread_t	 thread;
	bool		 stopped;	/* the thread has ended */
};

/* s->lock held.  NULL: no such id. */
struct entry *stores_entry(struct stores *s, uint32_t id);
/* How far the store of this URL is, home being the home's. */
enum nearness stores_nearness(const char *url, const char *home);
/* The thread that asks those that are down, of s, until s->stopping. */
void	*stores_prober(void *s);

#endif

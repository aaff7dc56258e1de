/* refresh_impl: what refresh.c (one refresh) and refresh_thread.c (those that
 * are made by themselves, and what is known of all) share. */
#ifndef FS_REFRESH_IMPL_H
#define FS_REFRESH_IMPL_H

#include <pthread.h>

#include "fs/refresh.h"

/* An import as this process knows it, beside its row. */
struct refreshed {
	struct refreshed *next;
	uint64_t	 root;
	bool		 running;
	int64_t		 due;		/* clock_mono; 0: to be found out */
	struct why	 why;
};

struct refresher {
	struct fs	*f;
	pthread_t	 thread;
	bool		 started;
	_Atomic bool	 stopping;	/* also ends listings */
	struct lock	 lock;		/* what follows */
	struct cond	 cond;
	bool		 kicked;
	struct refreshed *list;
};

/* One at a time of an import: waits for its turn.  -ECANCELED. */
int	refresh_enter(struct refresher *r, uint64_t root);
/* err, why: how it ended; every: as the row says now. */
void	refresh_leave(struct refresher *r, uint64_t root, int64_t every,
	    int err, const struct why *why);
/* There may be another interval. */
void	refresh_kick(struct refresher *r);
/* When it was done last on this host; clock_real, 0: never.  And now. */
int64_t	refresh_last(struct fs *f, struct sqc *c, uint64_t root);
void	refresh_note_last(struct fs *f, uint64_t root);

/* refresh.c: of one import whose turn it is; row is as it was read.  wait: for
 * the log. */
int	refresh_one(struct fs *f, const struct import_row *row, bool wait,
	    const struct refresh_request *rq, struct refresh_result *ret,
	    struct why *why);

#endif

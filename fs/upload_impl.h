/*
 * upload_impl: what upload.c (large files) and upload_pack.c (small ones that
 * another store than the home gets) share.  Each store has a pause and slots
 * of its own, so that one that does not answer keeps no other waiting.
 */
#ifndef FS_UPLOAD_IMPL_H
#define FS_UPLOAD_IMPL_H

#include <pthread.h>

#include "backends/store.h"
#include "base/clock.h"
#include "fs/upload.h"
#include "meta/journal.h"
#include "meta/place.h"

#define ACTIVE_MAX	12	/* of all stores */
#define ACTIVE_OF_ONE	4
#define BUSY_MAX	256
#define UPLOAD_PAUSE	(1 * NSEC_PER_SEC)	/* after a failure */

/* A store that bytes go to. */
struct target {
	struct target	*next;
	uint32_t	 store;
	unsigned	 active, picked; /* picked: in this look */
	bool		 packing;	/* one of them is a pack */
	int64_t		 not_before;	/* clock_mono: after a failure */
	int64_t		 pause;		/* the next one, of a full store */
	char		 why[256];
};

struct upload {
	struct lock	 lock;
	struct cond	 cond;
	pthread_t	 thread;
	bool		 stop, kicked;
	uint64_t	 hurry;	/* copies of open files up to this seq */
	unsigned	 active;
	struct job	*jobs[ACTIVE_MAX];
	uint64_t	 waiting, small;	/* at the last look */
	int64_t		 pack_at;	/* clock_mono: a pack is due */
	uint64_t	 epoch;		/* uploads done */
	struct { uint64_t ino; int64_t until; } busy[BUSY_MAX];
	unsigned	 nbusy;		/* open for writing: a ring */
	struct target	*targets;
};

/* A large file, or a pack. */
struct job {
	struct fs	*f;
	struct target	*to;
	uint64_t	 seq, ino;	/* 0: a pack */
	uint64_t	 size;
	bool		 copy;
	struct buf	 items;		/* of struct packable: the pack's */
	_Atomic bool	 cancel;
};

/* u->lock held.  NULL: no memory. */
struct target *upload_target(struct upload *u, uint32_t store);
/* u->lock held.  Something may be begun there now. */
bool	upload_may(struct fs *f, const struct target *t);
/* Those with something under way are asked now and then whether they are
 * there: an upload that is tried again and again says so only in the end. */
void	upload_watch(struct fs *f);
/* u->lock held.  What failed may be tried again now; shorten: and a next pause
 * is the first one again. */
void	upload_forget_pauses(struct upload *u, bool shorten);
/* u->lock held.  Why nothing goes there; false where nothing is wrong. */
bool	upload_target_why(struct fs *f, const struct target *t, char *ret,
	    size_t n);
/* u->lock held.  Takes j's items; j is begun, or there was no room for it. */
void	upload_submit(struct fs *f, const struct job *j);
/* s's bytes into a new object of store o->store; its version into o.  Says so
 * to stores, and on failure in the target. */
int	upload_put(struct job *j, const struct store_src *s,
	    struct op_object *o);
/* An object that no record will name: it goes. */
void	upload_remove(struct job *j, const struct op_object *o);

/* upload_pack.c: begins the packs that are due; u->pack_at: when the next one
 * is.  q: a reader. */
void	upload_pack_look(struct fs *f, struct sqc *q);
int	upload_pack(struct job *j);

#endif

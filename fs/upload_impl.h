/*
 * upload_impl: what upload.c (the manager), upload_file.c (large files),
 * upload_pack.c (small ones that another store than the home gets) and
 * upload_target.c share.  Each store has a pause and slots of its own, and
 * leaves these while it is down, so that it keeps no other waiting.
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
#define TORN_MAX	16
#define UPLOAD_PAUSE	(1 * NSEC_PER_SEC)	/* after a failure */

/* A store that bytes go to. */
struct target {
	struct target	*next;
	uint32_t	 store;
	unsigned	 active;
	bool		 packing;	/* one of them is a pack */
	bool		 paused;	/* upload_pause */
	int64_t		 not_before;	/* clock_mono: after a failure */
	int64_t		 pause;		/* the next one, of a full store */
	char		 why[256];
};

/* A store that new bytes may be for: the home, or a placement's. */
struct choice {
	struct target	*to;
	uint32_t	 store;
	unsigned	 room;		/* what may be begun there */
};

struct open_ino { uint64_t ino; int64_t until; };

enum { WALK_LARGE, WALK_SMALL, WALKS };	/* through the queue of what waits */

struct upload {
	struct lock	 lock;
	struct cond	 cond;
	pthread_t	 thread;
	bool		 stop, kicked;
	bool		 halted;	/* none begins (upload_pause.c) */
	uint64_t	 hurry;	/* copies of open files up to this seq */
	uint64_t	 spill;	/* open files, but no copies */
	uint64_t	 torn[TORN_MAX];	/* thrown away last: a ring */
	unsigned	 ntorn;
	unsigned	 active;
	struct job	*jobs[ACTIVE_MAX];
	uint64_t	 waiting, small;	/* at the last look */
	int64_t		 pack_at;	/* clock_mono: a pack is due */
	uint64_t	 epoch;		/* uploads done */
	struct open_ino	 busy[BUSY_MAX];
	unsigned	 nbusy;		/* open for writing: a ring */
	struct target	*targets;
	/* A walk that found nothing and took long is not made again at once,
	 * but for a reason: an upload ended well, a pause was forgotten. */
	uint64_t	 reasons;
	struct { int64_t until; uint64_t reasons; } walks[WALKS];
};

/* A large file, or a pack. */
struct job {
	struct fs	*f;
	struct target	*to;
	uint64_t	 seq, ino;	/* 0: a pack */
	uint64_t	 size;
	bool		 live, copy;	/* may be of an open file, and how */
	bool		 torn;		/* a copy is next: it was overlapped */
	bool		 nothing;	/* was done, nor is wrong */
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
/* All stores that what waits can be for now, of struct choice; q: a reader. */
int	upload_choices(struct fs *f, struct sqc *q, struct buf *ret);
/* u->lock held.  A walk is due; it ends with what it found, without u->lock
 * between. */
bool	upload_walk_begin(struct fs *f, unsigned kind);
void	upload_walk_end(struct upload *u, unsigned kind, int64_t began,
	    bool found);
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

/* upload_file.c.  *retthrown: it was, as a writer overlapped it. */
int	upload_file(struct job *j, bool *retthrown);
/* upload_pack.c: begins the packs that are due; u->pack_at: when the next one
 * is.  q: a reader; choices: upload_choices. */
void	upload_pack_look(struct fs *f, struct sqc *q,
	    const struct buf *choices);
int	upload_pack(struct job *j);

#endif

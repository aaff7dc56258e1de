/*
 * fill_impl: what fs/fill*.c share.  Nobody else includes it.
 *
 * fill.c       the table of fetches, buffers, read-ahead, who waits
 * fill_run.c   the threads that fetch
 * fill_whole.c whole files
 * fill_rest.c  the rest of a file, where all of it will be wanted
 */
#ifndef FS_FILL_IMPL_H
#define FS_FILL_IMPL_H

#include "fs/fill.h"
#include "fs/memory.h"
#include "fs/window.h"

#define TABLE_SIZE	1024	/* a power of two */
#define RUN_CHUNKS	8	/* chunks of one GET */
#define LANES		16	/* stores, by id; two may share one */
#define LANE_RUNS	16	/* of a store at once; fs->io does more */
#define UNKEPT_MAX	16	/* chunks held for want of room */
#define SPARE_MAX	96
#define RECENT_MAX	64	/* chunks that were kept a moment ago */

struct fetch {
	struct fetch	*next;		/* hash chain */
	uint64_t	 ino, chunk;
	uint64_t	 gen;		/* bfile_clean_gen when it began */
	uint32_t	 incarnation;
	unsigned	 refs;		/* table or run, and waiters */
	uint32_t	 len;		/* of the chunk's content */
	uint8_t		*buf;		/* NULL until bytes arrive */
	uint32_t	 lo;		/* [lo, hi) of it is valid */
	_Atomic uint32_t hi;		/* 0: nothing yet; see advance */
	_Atomic uint32_t need;		/* the lowest hi a waiter waits for */
	struct cond	 cond;		/* it moved on */
	bool		 done;
	bool		 seen;		/* a reader had its last byte */
	int		 err;
};

/* A store that says nothing keeps those who ask it; the others' bytes must not
 * wait behind them. */
struct lane {
	unsigned	 active;	/* runs */
	struct run	*head;		/* those that wait, by prio */
	struct window_link link;
};

struct fill {
	struct lock	 lock;
	struct fetch	*heads[TABLE_SIZE];
	unsigned	 queued;
	struct fetch	*unkept[UNKEPT_MAX];
	unsigned	 unkept_next;
	struct recent {
		struct fetch	*x;	/* a reference; NULL: a free place */
		int64_t		 came;	/* clock_mono */
	} recent[RECENT_MAX];
	unsigned	 most_recent;
	_Atomic unsigned nrecent;
	void		*spare[SPARE_MAX]; /* buffers: new ones cost faults */
	unsigned	 nspare, most_spare;
	unsigned	 unused;	/* of them, since the last fill_trim */
	unsigned	 runs;		/* of a lane at once */
	struct lane	 lanes[LANES];
};

/* --- fill.c --- */
/* The fetch of a chunk that is under way, or unkept.  Locked. */
struct fetch *fill_find(struct fill *fl, struct bfile *b, uint64_t chunk);
/* A new one, in the table.  Locked.  NULL: no memory. */
struct fetch *fill_fetch_add(struct fill *fl, struct bfile *b, uint64_t chunk,
	    uint64_t size);
/* The run is through with x; prio: what it was fetched for. */
void	fill_fetch_end(struct fill *fl, struct fetch *x, int err, bool kept,
	    enum work_prio prio);
void	fill_fetch_unref(struct fill *fl, struct fetch *x);	/* locked */
uint64_t fill_size(struct vnode *v);		/* of the content in stores */
/* Bytes [off, off+n), within one chunk, as soon as they are here. */
ssize_t	fill_read_piece(struct fs *f, struct handle *h, struct bfile *b,
	    uint64_t size, void *buf, size_t n, uint64_t off,
	    int64_t deadline);

/* --- fill_run.c --- */
/* Sees to it that chunks [first, last] are here or on their way; begin: where
 * in the first one a reader waits (fetched first, if that is the only one). */
void	fill_start(struct fs *f, struct vnode *v, struct bfile *b,
	    uint64_t size, uint64_t first, uint64_t last, uint32_t begin,
	    enum work_prio prio);
/* The same, each run a part of v->rest: fill_rest_ended is told. */
void	fill_start_rest(struct fs *f, struct vnode *v, struct bfile *b,
	    uint64_t size, uint64_t first, uint64_t last);

/* --- fill_rest.c --- */
/*
 * All of a file will be wanted: readers jump about in it (window_jump), or a
 * policy says so.  So it is fetched, behind what is waited for, by as many runs
 * as half a lane has places for, from the beginning on; and what a reader
 * waits for meanwhile brings the chunks after it along, to the end of its
 * eight: a request for eight chunks, whoever asks.  It is done once of an open
 * file, and where its size is at most half of what the cache may have besides
 * dirty, pinned and reserved bytes; it ends early where a chunk fails or is not
 * kept, and when the file is closed (not that of a policy).
 */
/* Nothing is done where it is on or was. */
void	fill_rest_start(struct fs *f, struct vnode *v, struct bfile *b,
	    bool unasked);
/* A run of it is over; well: all it was for is kept. */
void	fill_rest_ended(struct fs *f, struct vnode *v, struct bfile *b,
	    bool well);

#endif

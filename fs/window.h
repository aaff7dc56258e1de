/*
 * window: how far ahead of a reader its bytes are fetched.
 *
 * Two things say so.  Who reads: of a handle, up to WINDOW_STREAMS readers are
 * told apart by where each has got to, and one that goes on from there gets a
 * window that grows by what it reads.  And the link: a window larger than what
 * comes in while a request travels fetches no faster, it is only what a reader
 * that stops has fetched in vain.  So the bodies of GETs are measured, and the
 * time to the first byte of each, and the window covers twice that time and
 * a hiccup more at the rate at which bytes came.
 *
 * A reader that jumps has no window: what it wants comes a chunk at a time, a
 * request each, and each is waited for.  All of the file would come in size /
 * 8 MiB requests that nobody waits for (fill_impl.h), and a model whose
 * tensors are mapped and touched in any order will want it; a database whose
 * pages are will not.  Of the two it is taken for the former (window_jump)
 *   - when WINDOW_JUMPS_LARGE of its jumps were by READs of 64 KiB or more, as
 *     faults of a mapping and copies of tensors are, and pages of a database
 *     are not, and a 64th of the file was asked for: what is fetched in vain,
 *     if it was a database that is mapped after all, is bounded by what it
 *     took to look like that;
 *   - or when there were as many jumps, of any size, as requests are needed for
 *     all of it (WINDOW_JUMPS at least): it has cost the same again by then, so
 *     whatever comes, at most twice what was best is spent.
 * Not of files below WINDOW_WHOLE_MIN, which a window covers, nor where a
 * stream goes on: a reader that stops has not asked for the rest.
 *
 * No clock, no lock, no memory of its own: times are clock_mono's, and the
 * caller sees to it that one thread at a time is here.
 */
#ifndef FS_WINDOW_H
#define FS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WINDOW_STREAMS	4
#define WINDOW_MIN	((uint64_t)2 << 20)
#define WINDOW_UNKNOWN	((uint64_t)64 << 20)	/* of a link not measured */
#define WINDOW_MAX	((uint64_t)128 << 20)

/* Who reads a file through one handle.  Zeroed: nobody yet, and a read near the
 * beginning is the start of a stream. */
struct window_streams {
	struct window_stream {
		uint64_t next;		/* where its last read ended */
		uint64_t window;	/* bytes; 0: it may be none */
		uint64_t used;		/* turns, for the oldest to go */
	} v[WINDOW_STREAMS];
	uint64_t turns;
};

/* A read of [off, off+n): how many bytes after it are wanted, most at most; 0:
 * it goes on where no other ended. */
uint64_t window_read(struct window_streams *s, uint64_t off, size_t n,
	    uint64_t most);

/* The jumps of all readers of a file; one to where one of the last few went
 * is none: its bytes may be on their way.  Zeroed: none yet. */
#define WINDOW_WHOLE_MIN	((uint64_t)16 << 20)
#define WINDOW_JUMPS_LARGE	4u
#define WINDOW_JUMPS		16u
#define WINDOW_LAST		8u
struct window_jumps {
	uint64_t asked;			/* bytes, by all that missed */
	unsigned n, large;
	uint64_t last[WINDOW_LAST];	/* MiB, counted from 1 */
};

/* Before window_read of the same, where not all of it was here, of a file of so
 * many bytes: all of them are wanted. */
bool	window_jump(struct window_jumps *j, const struct window_streams *s,
	    uint64_t off, size_t n, uint64_t size);

/* A store, as its GETs show it.  Zeroed: not known. */
struct window_link {
	unsigned	 gets, bodies;	/* under way; with a first byte */
	int64_t		 since;		/* the last change of what follows */
	int64_t		 busy;		/* ns with a body under way, and */
	uint64_t	 bytes;		/* what came in them, of this sample */
	uint64_t	 rate;		/* bytes a second; 0: not known */
	int64_t		 latency;	/* ns to a first byte; 0: not known */
};

/* A GET; its store's link is one of many's. */
struct window_get {
	int64_t		 asked;
	bool		 alone;		/* no other was under way then */
	bool		 came;		/* its first byte did */
};

void	window_ask(struct window_link *l, struct window_get *ret, int64_t now);
/* n bytes came since the last time. */
void	window_came(struct window_link *l, struct window_get *g, uint64_t n,
	    int64_t now);
/* It is over, well or not. */
void	window_end(struct window_link *l, struct window_get *g, int64_t now);
/* Its requests travel for so long that a small window would leave it idle. */
bool	window_is_far(const struct window_link *l);
/* What the link has a use for, WINDOW_MIN to WINDOW_MAX. */
uint64_t window_most(const struct window_link *l);
/* A window is fetched in requests of so many bytes, a power of two, 1 to 8 MiB:
 * few, as each costs, but some four to eight at once, and twice as many of a
 * store that is far: such a one gives each connection no more than a part. */
uint64_t window_step(const struct window_link *l, uint64_t window);

#endif

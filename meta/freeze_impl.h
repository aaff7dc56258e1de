/*
 * freeze_impl: what freeze.c (a batch is made) and hold.c (what has to wait)
 * share.
 */
#ifndef META_FREEZE_IMPL_H
#define META_FREEZE_IMPL_H

#include "meta/imap.h"
#include "meta/internal.h"

/* What else an op depends on than the inodes it names (hold.h). */
enum { KEY_SHAPE = 1, KEY_SPACE = 2, KEY_ALL = 4 };

/* An op that may be frozen, and where its bytes go. */
struct cand {
	uint64_t	 seq, ino;
	uint32_t	 kind, needs;
	size_t		 nbody;
	bool		 whole;		/* ready, and replaces every extent */
	bool		 gone;		/* its inode is (B7) */
	bool		 void_;		/* completed empty (M3) */
	uint32_t	 crc;		/* of the small bytes */
	uint64_t	 len;		/* how many they are */
	uint64_t	 object, off;	/* their place; object 0: none */
	uint64_t	 osize;		/* of the pack, with its first op */
	/* for hold.c, while a store is down */
	uint64_t	 inos[4];	/* that it names, 0 none */
	uint64_t	 parents[2];	/* those of them that are directories */
	uint64_t	 hi;		/* of an attach: its last inode */
	uint64_t	 last;		/* loses its last name by it */
	uint64_t	 stores[2];	/* that its objects are in (hold.c) */
	uint8_t		 keys;		/* KEY_* */
	bool		 down;		/* its bytes' store is */
	bool		 seed, held;
	bool		 late;		/* gone, by an op beyond the window */
};

struct freeze {
	struct meta	*m;
	struct sqc	*c;
	uint32_t	 store;
	const struct freeze_down *down;	/* NULL: all stores are up */
	uint64_t	 until;		/* the last seq that may be frozen;
					   what is held asks those after it */
	bool		 looked;	/* what was found out holds */
	bool		 again;		/* there is more to look at */
	struct meta_session session;
	struct buf	 cands;		/* of struct cand */
	size_t		 n;		/* candidates; then: ops frozen */
	uint64_t	 first;		/* number of the batch's first (M5) */
	struct buf	 body;
};

static inline struct cand *
cand_at(const struct freeze *f, size_t i)
{
	return ((struct cand *)(void *)f->cands.p + i);
}

/* Of a candidate: its bytes are not stored; and it waits for them; it is an
 * extents op with all it needs; that replaces the whole file. */
static inline bool
is_waiting(const struct cand *d)
{
	return (d->needs == NEEDS_UPLOAD || d->needs == NEEDS_STORE);
}

static inline bool
cand_waits(const struct cand *d)
{
	return (d->kind == OP_EXTENTS && is_waiting(d) && !d->gone);
}

static inline bool
cand_complete(const struct cand *d)
{
	return (d->kind == OP_EXTENTS && !is_waiting(d));
}

/* Longer than a batch: first in its window, where none is behind it, and alone
 * in its batch. */
static inline bool
cand_is_cut(const struct cand *d)
{
	return (d->kind == OP_EXTENTS && d->needs == NEEDS_DONE &&
	    d->nbody > BATCH_MAX_BYTES);
}

static inline bool
cand_whole(const struct cand *d)
{
	return (d->whole || d->needs == NEEDS_PACK);
}

/* freeze_cut.c.  In freeze's transaction: op becomes its first part, the rest
 * is kept in its row. */
int	cut_first(struct freeze *f, const struct cand *d, struct op *op);

#endif

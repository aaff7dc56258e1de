/*
 * hold: which ops are held back while a store is down (L3, M6); the part of
 * freeze.c that decides it.
 *
 * Ops are looked at in the order of the journal, a window of them at a time.
 * One is HELD when
 *   H1  its bytes wait for a store that is down, and no later op of the window
 *	 that goes stands for them (M3): a seed; or they are not to be had any
 *	 more, because the file was written again or removed, by an op of the
 *	 window that is held; or
 *   H2  it has a key of an op that was held before it.
 * What is not held goes, first in, first out: an upload that is under way to a
 * store that answers keeps all after it waiting, as ever.
 *
 * An op whose bytes are not to be had, and whose remover or replacer goes or is
 * beyond the window, goes empty, as it does while all stores are up: it waits
 * for nothing that is known to be held, its bytes never leave the host (B7),
 * and other hosts see the file without them until the other op comes.  A
 * removal is in the window of what it removes unless half a window is between
 * them: ops that it would be too near the end for begin the next (ends_prefix).
 *
 * The keys of an op are whatever its result depends on, or that depends on it:
 *   - the inodes that it names, and those of an attach: their rows, and the
 *     entries, labels and extents that are found by them;
 *   - SHAPE, where a directory comes to be in another one: whether it would
 *     be below itself depends on any other such op (L9);
 *   - SPACE, for rows of the namespace that are found by other ids (stores,
 *     policies, pins, quotas, attaches), and where a directory goes that has a
 *     policy, which may be what a store is kept for;
 *   - an op with objects needs the rows of the stores that they are in, but for
 *     the home's: it goes after the op that made them, and if it is an extents
 *     op, is held like a seed;
 *   - a session's op depends on everything;
 *   - a seed has the directories of its file, too: what is done there after it
 *     is seen after it (L3).  Those above are not among them; nor is one that
 *     it was moved from by an op beyond the window: what is done there may be
 *     seen before it.
 * So two ops without a common key commute, and M6 follows from H2 alone; H1
 * may hold more than it must, never less.
 *
 * What was held in the windows before is kept in core, so that it is not
 * looked at again for each batch; it is found out anew when a store goes or
 * comes, and, as long as that takes a small part of the time, when bytes of an
 * op that waited were stored, and now and then.
 */
#ifndef META_HOLD_H
#define META_HOLD_H

#include "meta/freeze_impl.h"
#include "meta/place.h"

struct hold;

int	hold_new(struct hold **ret);
void	hold_free(struct hold *h);	/* NULL accepted */

/* In freeze's transaction: what of the journal is known to be held; ops after
 * the one that it returns are to be looked at. */
uint64_t hold_begin(struct hold *h, const struct freeze *f);
/* A candidate's keys, and whether its bytes' store is down. */
int	hold_examine(const struct freeze *f, struct place_memo *memo,
	    struct cand *d, const struct op *op);
/* Marks what of f's candidates is held. */
int	hold_mark(struct hold *h, struct freeze *f);
/* The first n candidates are dealt with: held ones are remembered.  *retheld:
 * how many they are. */
int	hold_keep(struct hold *h, struct freeze *f, size_t n, size_t *retheld);
/* After the transaction: it was committed. */
void	hold_committed(struct hold *h);
/* Does a pending op up to seq act at or below the directory top, or make or
 * move one that top is in?  1, 0, -errno. */
int	hold_acts_below(struct sqc *c, uint64_t seq, uint64_t top);
/* How many ops are held, of those up to seq *retupto. */
uint64_t hold_count(struct hold *h, uint64_t *retupto);

#endif

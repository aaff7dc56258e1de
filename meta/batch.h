/*
 * batch: freezing a prefix of the journal, and what happens when it lands
 * (L2, M1, M3, B6, B7).
 *
 * States of an op:   journalled → frozen → landed (row gone)
 * At most one batch is frozen.  Freezing is one transaction, then sq_sync:
 *  - the longest prefix such that every `extents` op in it is ready, small,
 *    or void (M3), of at most BATCH_MAX_OPS ops and about BATCH_MAX_BYTES
 *    encoded.  An op that waits for an upload is void when a later one of its
 *    inode in the prefix is complete (the file's bytes of back then are gone:
 *    what was uploaded later stands for both), a small one when a later one
 *    replaces the whole file.  Only if nothing could be frozen otherwise, the
 *    later one may be beyond the batch;
 *  - small bytes get places in packs, sorted by (parent, name), each pack at
 *    most 16 MiB, named by fresh object ids in store `store`, the home; but
 *    for those that another store gets (place.h), which wait for their pack
 *    as large files do for their upload;
 *  - an op of an uploaded file that is longer than a batch goes alone, and in
 *    parts, each of them an op in the log (freeze_cut.c);
 *  - content parts are applied with undo rows;
 *  - the encoded batch is kept in frozen(body, first, last, ...), the seqs of
 *    its ops in frozen_run(lo, hi), the packs' layout in
 *    frozen_pack(object, off, ino, seq, len).
 * What is sent is exactly what was frozen, however often it is sent.
 */
#ifndef META_BATCH_H
#define META_BATCH_H

#include "meta/journal.h"

#define BATCH_MAX_OPS	4096
#define BATCH_MAX_BYTES	(3u << 20)	/* encoded; a segment is ≤ 4 MiB */
#define PACK_MAX_BYTES	(16u << 20)

struct batch {
	uint32_t	 session;
	uint64_t	 nonce;
	uint64_t	 first, last;	/* numbers of the session (M5) */
	uint64_t	 nops;
	struct buf	 body;		/* encoded ops, as in the segment */
};
void	batch_done(struct batch *b);

/*
 * The rule of replay, on the state just before the batch.  1: its ops are
 * applied, one by one, and then batch_applied(); 0: the whole batch is
 * ignored; -errno.  Admissible: its session's row is open, with the batch's
 * nonce, and first is the row's hwm + 1; or it is exactly one op, the
 * session_open of that session and nonce (which makes the row and its hwm;
 * first and last then mean nothing).
 */
int	batch_admissible(struct sqc *c, const struct batch *b);
/* Writer.  After an admissible batch: the session's hwm is b->last. */
int	batch_applied(struct sqc *c, const struct batch *b);

/* Freezes if nothing is frozen yet and there is something to.  1: a batch is
 * frozen (now or before) and on disk; 0: nothing ready, or our session's open
 * has not landed yet; -ESTALE: our session is fenced (L13); -errno.  Calls
 * sq_write. */
int	batch_freeze(struct meta *m, uint32_t store);
/* The same, of ops up to seq until, while stores that bytes wait for are down:
 * it is not the longest prefix then, but what of it need not be held (M6,
 * hold.h).  epoch is another one whenever waiting bytes were stored. */
#define FREEZE_DOWN	32
struct freeze_down {
	uint32_t	 stores[FREEZE_DOWN];
	unsigned	 n;
	uint64_t	 epoch;
};
int	batch_freeze_held(struct meta *m, uint32_t store, uint64_t until,
	    const struct freeze_down *down);
/* How many ops are held, of those up to seq *retupto, all of which were looked
 * at: what of them is pending is held, or frozen. */
uint64_t batch_held(struct meta *m, uint64_t *retupto);
/* Is any op up to seq pending that is not held, or (top not 0) that is and
 * acts at or below the directory top, or makes or moves one that top is in?
 * 1, 0, -errno.  c: a reader. */
int	batch_waits(struct meta *m, struct sqc *c, uint64_t seq,
	    uint64_t top);
/* The frozen one.  -ENOENT: none. */
int	batch_get(struct sqc *c, struct batch *ret);

/* Packs of the frozen batch that are to be put, in order; and one pack's
 * bytes, whole (appended, ≤ 16 MiB). */
int	batch_packs(struct sqc *c,
	    int (*each)(void *arg, uint64_t object, uint64_t size), void *arg);
int	batch_pack_bytes(struct sqc *c, uint64_t object, struct buf *out);
/* Each small file of the frozen batch: where in which pack, and its bytes
 * (borrowed).  each's nonzero stops and is returned. */
int	batch_small(struct sqc *c,
	    int (*each)(void *arg, uint64_t ino, uint64_t seq,
		uint64_t object, uint64_t ooff, const void *bytes, size_t n),
	    void *arg);

/* Writer.  The batch is in segment h->lsn: session's hwm, head, ops, undo,
 * frozen rows; unstored rows of the batch are removed after each was handed
 * to `clean` (the newest of its inode only, when no newer one is pending),
 * which puts it into the cache's clean rows (fs composes; B6, C6; NULL: that
 * was done before, with batch_small); large-file ops are handed to `stored` so
 * that their dirty intervals become clean. */
struct landed_fns {
	int	(*clean)(void *arg, struct sqc *c, uint64_t ino,
		    const void *bytes, size_t n);
	int	(*stored)(void *arg, struct sqc *c, uint64_t ino, uint64_t seq);
	void	*arg;
};
int	batch_landed(struct meta *m, struct sqc *c, const struct meta_head *h,
	    const struct landed_fns *fns);

#endif

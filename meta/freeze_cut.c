/*
 * freeze_cut: an `extents` op that is longer than a batch (batch.h): one of a
 * file that was written at very many places.
 *
 * Each batch gets the first of the extents that are left as an op of its own,
 * the journal's row keeps the rest, and is pending until the last have landed:
 * so what waits for it waits for all, and its dirty bytes are clean no sooner
 * (B6).  What was applied of it is the log's when a part has landed.  Each part
 * names the object, so that it depends on what the whole did (hold.h).
 */
#include <errno.h>

#include "meta/freeze_impl.h"

#define EXTENT_BYTES	48u	/* encoded, at most */
#define CUT_EXTENTS	(BATCH_MAX_BYTES / EXTENT_BYTES)
#define CUT_MAX_BYTES	(128u << 20)
#define CUT_MAX_EXTENTS	(4u << 20)	/* 160 MiB, decoded */

bool
cut_can(const struct op *op, size_t nbody)
{
	/* sums are of all of an op's extents */
	return (op->nextents > CUT_EXTENTS &&
	    op->nextents <= CUT_MAX_EXTENTS && nbody <= CUT_MAX_BYTES &&
	    (op->nobjects == 0 || op->objects->nsums == 0));
}

int
cut_first(struct freeze *f, const struct cand *d, struct op *op)
{
	struct op rest = *op;
	struct buf body = BUF_INIT;
	struct sqs *s;
	int err;

	rest.extents += CUT_EXTENTS;
	rest.nextents -= CUT_EXTENTS;
	rest.flags &= ~(uint32_t)EXT_WHOLE;	/* laid over the first */
	op->nextents = CUT_EXTENTS;
	op_encode(&rest, &body);
	if ((err = buf_err(&body)) == 0) {
		s = sq_prep(f->c, "UPDATE op SET needs = ?, body = ? "
		    "WHERE seq = ?");
		sqs_int(s, 1, NEEDS_REST);
		sqs_blob(s, 2, body.p, body.len);
		sqs_int(s, 3, d->seq);
		err = sqs_run(s);
	}
	buf_done(&body);
	return (err);
}

int
cut_landed(struct sqc *c, uint64_t seq)
{
	struct sqs *s = sq_prep(c, "UPDATE op SET needs = ? "
	    "WHERE seq = ? AND needs = ?");
	int err;

	sqs_int(s, 1, NEEDS_DONE);
	sqs_int(s, 2, seq);
	sqs_int(s, 3, NEEDS_REST);
	if ((err = sqs_run(s)) != 0 || sq_changes(c) == 0)
		return (err);
	err = undo_drop(c, seq, seq);
	return (err ? err : 1);
}

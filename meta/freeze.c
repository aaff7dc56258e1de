/*
 * freeze: a prefix of the journal becomes a batch (batch.h; L2, M1, M3).
 *
 * In three steps, in one transaction: choose the prefix, place the small
 * bytes that are for the home in packs, then go through the ops in order,
 * completing each extents op, applying its content part and appending it to
 * the body.
 */
#include <errno.h>
#include <stdlib.h>

#include "meta/hold.h"
#include "meta/query.h"

/* A small file's bytes on their way into a pack. */
struct place {
	uint64_t	 parent;
	struct cand	*cand;
	char		 name[META_NAME_MAX + 1];
};

/* --- which ops --- */

/* What a window is loaded with. */
struct load {
	struct buf	 store;		/* of op_decode */
	struct place_memo memo;
	size_t		 bytes;
};

/* What of an op decides about it and those before it. */
static int
cand_examine(struct freeze *f, struct load *l, struct cand *d,
    const void *body)
{
	bool extents = d->kind == OP_EXTENTS;
	bool ready = extents && (d->needs == NEEDS_NOTHING ||
	    d->needs == NEEDS_DONE);
	struct cur cur;
	struct op op;
	int rc;

	if (extents && !ready) {
		if ((rc = inode_gone(f->c, d->ino)) < 0)
			return (rc);
		d->gone = rc;
	}
	if (!ready && f->down == NULL)
		return (0);
	cur_init(&cur, body, d->nbody);
	op_decode(&cur, &op, &l->store);
	if (cur_err(&cur))
		return (-EUCLEAN);
	d->whole = ready && op.flags & EXT_WHOLE;
	return (f->down != NULL ? hold_examine(f, &l->memo, d, &op) : 0);
}

static int
cands_load(struct freeze *f, uint64_t after)
{
	struct sqs *s = sq_prep(f->c, "SELECT seq, kind, ino, needs, body "
	    "FROM op WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?");
	struct load l = { BUF_INIT };
	int rc, err = 0;

	sqs_int(s, 1, after);
	sqs_int(s, 2, f->down != NULL ? INT64_MAX : f->until);
	sqs_int(s, 3, BATCH_MAX_OPS);
	while ((rc = sqs_step(s)) == 1) {
		struct cand d = { .seq = sqs_col_int(s, 0),
		    .kind = sqs_col_int(s, 1), .ino = sqs_col_int(s, 2),
		    .needs = sqs_col_int(s, 3) };
		const void *body = sqs_col_blob(s, 4, &d.nbody);

		/* what a pack's place and a new pack add */
		l.bytes += d.nbody + (d.needs == NEEDS_PACK ? 64 : 0);
		if (f->n > 0 && l.bytes > BATCH_MAX_BYTES)
			break;
		/* a session's own open travels alone */
		if (f->n > 0 && (d.kind == OP_SESSION_OPEN ||
		    cand_at(f, 0)->kind == OP_SESSION_OPEN))
			break;
		err = cand_examine(f, &l, &d, body);
		buf_put(&f->cands, &d, sizeof(d));
		if (err == 0)
			err = buf_err(&f->cands);
		if (err != 0)
			break;
		f->n++;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&l.store);
	return (rc < 0 ? rc : err);
}

/* Whether the removal of this one is held is not known; it is where a window
 * begins half a window later, or such an op goes without it (hold.h). */
static bool
ends_prefix(const struct freeze *f, size_t i)
{
	return (cand_at(f, i)->late && !cand_at(f, i)->held && i > f->n / 2);
}

/* The longest prefix in which nothing waits that no later op replaces; what is
 * held is as if it were not there. */
static int
prefix_find(struct freeze *f, size_t *retn)
{
	enum { LARGE = 1, SMALL = 2 };
	struct imap waits = IMAP_INIT;
	size_t blocked = 0;
	int err = 0;

	*retn = 0;
	for (size_t i = 0; err == 0 && i < f->n; i++) {
		const struct cand *d = cand_at(f, i);
		uint32_t was, now;

		if (d->seq > f->until || (*retn > 0 && ends_prefix(f, i)))
			break;
		if (d->kind == OP_EXTENTS && !d->held) {
			now = was = imap_get(&waits, d->ino);
			if (cand_waits(d))
				now |= d->needs == NEEDS_STORE ? SMALL : LARGE;
			else if (cand_complete(d))
				now &= cand_whole(d) ? 0 : SMALL;
			if (now == was)
				goto next;
			blocked += (now != 0) - (was != 0);
			err = imap_set(&waits, d->ino, now);
		}
next:
		if (blocked == 0)
			*retn = i + 1;
	}
	imap_done(&waits);
	return (err);
}

/* Marks what later ops of the prefix replace (M3).  A waiting op's bytes are
 * in the file no more once it was written again, so whatever completes after
 * it stands for both; a small file's bytes are its own until something
 * replaces the whole file. */
static int
voids_mark(struct freeze *f)
{
	enum { COMPLETE = 1, WHOLE = 2 };
	struct imap later = IMAP_INIT;
	int err = 0;

	for (size_t i = f->n; err == 0 && i-- > 0;) {
		struct cand *d = cand_at(f, i);
		uint32_t v;

		if (d->kind != OP_EXTENTS)
			continue;
		v = imap_get(&later, d->ino);
		if (d->needs == NEEDS_UPLOAD)
			d->void_ = d->gone || v & COMPLETE;
		else if (d->needs == NEEDS_PACK || d->needs == NEEDS_STORE)
			d->void_ = d->gone || v & WHOLE;
		if (cand_complete(d) && !d->gone)
			err = imap_set(&later, d->ino, v | COMPLETE |
			    (cand_whole(d) ? WHOLE : 0));
	}
	imap_done(&later);
	return (err);
}

/* The journal is longer than a batch and its first ops wait for bytes that
 * ops beyond the batch replaced: they can never be had, and are void too. */
static int
stuck_free(struct freeze *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct cand *d = cand_at(f, i);
		struct sqs *s;
		int rc;

		if (!cand_waits(d) || d->held)
			continue;
		/* what replaces small bytes is small */
		s = sq_prep(f->c, d->needs == NEEDS_UPLOAD ?
		    "SELECT 1 FROM op WHERE ino = ? AND kind IN (11, 12) "
		    "AND kind = 11 AND seq > ? AND needs NOT IN (2, 4) "
		    "LIMIT 1" :
		    "SELECT 1 FROM op o JOIN unstored u ON u.seq = o.seq "
		    "WHERE o.ino = ? AND o.kind IN (11, 12) AND o.kind = 11 "
		    "AND o.seq > ? AND o.needs <> 4 LIMIT 1");
		sqs_int(s, 1, d->ino);
		sqs_int(s, 2, cand_at(f, f->n - 1)->seq);
		if ((rc = sqs_has_row(s)) < 0)
			return (rc);
		d->gone = rc;
	}
	return (0);
}

static int
ops_choose(struct freeze *f)
{
	struct hold *h = f->m->hold;
	size_t n, held, kept = 0;
	int err;

	if ((err = cands_load(f, hold_begin(h, f))) != 0 ||
	    (err = hold_mark(h, f)) != 0 || (err = prefix_find(f, &n)) != 0)
		return (err);
	if (n == 0 && f->n > 0 && cand_at(f, 0)->seq <= f->until) {
		if ((err = stuck_free(f)) != 0 ||
		    (err = hold_mark(h, f)) != 0 ||
		    (err = prefix_find(f, &n)) != 0)
			return (err);
	}
	if ((err = hold_keep(h, f, n, &held)) != 0)
		return (err);
	f->again = n > 0 && held == n;
	for (size_t i = 0; i < n; i++)
		if (!cand_at(f, i)->held)
			*cand_at(f, kept++) = *cand_at(f, i);
	f->n = kept;
	return (voids_mark(f));
}

/* --- packs --- */

static int
place_cmp(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int cmp;

	if (x->parent != y->parent)
		return (x->parent < y->parent ? -1 : 1);
	if ((cmp = strcmp(x->name, y->name)) != 0)
		return (cmp);
	return (x->cand->seq < y->cand->seq ? -1 : 1);
}

static int
place_load(struct freeze *f, struct cand *d, struct buf *out)
{
	struct place *p = buf_grow(out, sizeof(*p));
	struct sqs *s;
	int rc;

	if (p == NULL)
		return (buf_err(out));
	memset(p, 0, sizeof(*p));
	p->cand = d;
	rc = meta_parent(f->c, d->ino, &p->parent, p->name);
	if (rc != 0 && rc != -ENOENT)
		return (rc);
	out->len += sizeof(*p);
	s = sq_prep(f->c, "SELECT crc, length(bytes) FROM unstored "
	    "WHERE seq = ?");
	sqs_int(s, 1, d->seq);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -EUCLEAN);
	d->crc = sqs_col_int(s, 0);
	d->len = sqs_col_int(s, 1);
	sqs_reset(s);
	return (0);
}

static int
pack_row(struct freeze *f, const struct cand *d, bool stored)
{
	struct sqs *s = sq_prep(f->c, "INSERT INTO frozen_pack"
	    "(object, off, ino, seq, len, stored) VALUES (?, ?, ?, ?, ?, ?)");

	sqs_int(s, 1, d->object);
	sqs_int(s, 2, d->off);
	sqs_int(s, 3, d->ino);
	sqs_int(s, 4, d->seq);
	sqs_int(s, 5, d->len);
	sqs_int(s, 6, stored);
	return (sqs_run(s));
}

/* Small bytes that are in a pack already: noted where, for landing. */
static int
pack_stored(struct freeze *f, const struct cand *d, const struct op *op)
{
	struct sqs *s = sq_prep(f->c, "SELECT 1 FROM unstored WHERE seq = ?");
	struct cand at = *d;
	int rc;

	sqs_int(s, 1, d->seq);
	if ((rc = sqs_has_row(s)) <= 0 || op->nextents != 1)
		return (rc < 0 ? rc : 0);
	at.object = op->extents[0].object;
	at.off = op->extents[0].ooff;
	at.len = op->extents[0].len;
	return (pack_row(f, &at, true));
}

/* places[0..n) make one pack.  The op that comes first in the journal brings
 * its object. */
static int
pack_make(struct freeze *f, struct place *places, size_t n)
{
	struct cand *first = places[0].cand;
	uint64_t id = meta_new_id(f->m), off = 0;
	int err;

	if (id == 0)
		return (-EROFS);
	for (size_t i = 0; i < n; i++) {
		struct cand *d = places[i].cand;

		d->object = id;
		d->off = off;
		off += d->len;
		if (d->seq < first->seq)
			first = d;
		if ((err = pack_row(f, d, false)) != 0)
			return (err);
	}
	first->osize = off;
	return (0);
}

static int
packs_make(struct freeze *f)
{
	struct buf places = BUF_INIT;
	struct place *p;
	size_t n, from = 0;
	uint64_t bytes = 0;
	int err = 0;

	for (size_t i = 0; err == 0 && i < f->n; i++) {
		struct cand *d = cand_at(f, i);

		if (d->kind == OP_EXTENTS && d->needs == NEEDS_PACK &&
		    !d->void_)
			err = place_load(f, d, &places);
	}
	p = (void *)places.p;
	n = places.len / sizeof(*p);
	if (n > 0)
		qsort(p, n, sizeof(*p), place_cmp);
	for (size_t i = 0; err == 0 && i < n; i++) {
		if (bytes + p[i].cand->len > PACK_MAX_BYTES) {
			err = pack_make(f, p + from, i - from);
			from = i;
			bytes = 0;
		}
		bytes += p[i].cand->len;
	}
	if (err == 0 && from < n)
		err = pack_make(f, p + from, n - from);
	buf_done(&places);
	return (err);
}

/* --- completing --- */

static int
op_ready(struct sqc *c, uint64_t seq)
{
	struct sqs *s = sq_prep(c, "UPDATE op SET needs = 0 WHERE seq = ?");

	sqs_int(s, 1, seq);
	return (sqs_run(s));
}

/* Appends one op, completed, and applies its content part. */
static int
op_freeze(struct freeze *f, const struct cand *d, struct op *op)
{
	struct change ch = { .undo_seq = d->seq };
	struct op_extent e;
	struct op_object o;
	int err;

	if (d->void_) {
		op->flags = EXT_VOID;
		if (is_waiting(d) &&
		    (err = op_ready(f->c, d->seq)) != 0)
			return (err);
	} else if (d->object != 0) {
		e = (struct op_extent){ 0, d->len, d->object, d->off, d->crc };
		op->flags = EXT_WHOLE;
		op->extents = &e;
		op->nextents = 1;
		if (d->osize != 0) {
			o = (struct op_object){ .id = d->object,
			    .size = d->osize, .kind = OBJ_PACK,
			    .store = f->store };
			op->objects = &o;
			op->nobjects = 1;
		}
	} else if (d->needs == NEEDS_DONE &&
	    (err = pack_stored(f, d, op)) != 0)
		return (err);
	if (cand_is_cut(d) && (err = cut_first(f, d, op)) != 0)
		return (err);
	op_encode(op, &f->body);
	if ((err = buf_err(&f->body)) != 0)
		return (err);
	return (apply(f->c, &ch, op, APPLY_CONTENT));
}

static int
ops_freeze(struct freeze *f)
{
	struct buf body = BUF_INIT, store = BUF_INIT;
	int err = 0;

	for (size_t i = 0; err == 0 && i < f->n; i++) {
		struct sqs *s = sq_prep(f->c,
		    "SELECT body FROM op WHERE seq = ?");
		const void *p;
		struct cur cur;
		struct op op;
		size_t n;

		sqs_int(s, 1, cand_at(f, i)->seq);
		if ((err = sqs_step(s)) != 1) {
			err = err ? err : -EUCLEAN;
			break;
		}
		p = sqs_col_blob(s, 0, &n);
		buf_reset(&body);
		buf_put(&body, p, n);
		sqs_reset(s);
		if ((err = buf_err(&body)) != 0)
			break;
		cur_init(&cur, body.p, body.len);
		op_decode(&cur, &op, &store);
		err = cur_err(&cur) ? -EUCLEAN :
		    op_freeze(f, cand_at(f, i), &op);
	}
	buf_done(&body);
	buf_done(&store);
	return (err);
}

static int
frozen_insert(struct freeze *f)
{
	struct sqs *s = sq_prep(f->c, "INSERT INTO frozen(id, session, nonce, "
	    "first, last, nops, body) VALUES (1, ?, ?, ?, ?, ?, ?)");

	sqs_int(s, 1, f->session.number);
	sqs_int(s, 2, (int64_t)f->session.nonce);
	sqs_int(s, 3, f->first);
	sqs_int(s, 4, f->first + f->n - 1);
	sqs_int(s, 5, f->n);
	sqs_blob(s, 6, f->body.p, f->body.len);
	return (sqs_run(s));
}

/* Which ops they are. */
static int
runs_insert(struct freeze *f)
{
	size_t to;
	int err = 0;

	for (size_t i = 0; err == 0 && i < f->n; i = to) {
		struct sqs *s = sq_prep(f->c, "INSERT INTO frozen_run(lo, hi) "
		    "VALUES (?, ?)");

		for (to = i + 1; to < f->n && cand_at(f, to)->seq ==
		    cand_at(f, to - 1)->seq + 1; to++)
			;
		sqs_int(s, 1, cand_at(f, i)->seq);
		sqs_int(s, 2, cand_at(f, to - 1)->seq);
		err = sqs_run(s);
	}
	return (err);
}

/* --- freezing --- */

static int
is_frozen(struct sqc *c, uint64_t *retlast)
{
	struct sqs *s = sq_prep(c, "SELECT last FROM frozen WHERE id = 1");
	int rc = sqs_step(s);

	if (rc == 1) {
		*retlast = sqs_col_int(s, 0);
		sqs_reset(s);
	}
	return (rc);
}

/* May our session send what begins with this op? */
static int
freeze_allowed(struct freeze *f)
{
	bool fenced;
	int rc;

	f->first = cand_at(f, 0)->seq;
	if (cand_at(f, 0)->kind == OP_SESSION_OPEN)
		return (1);
	rc = batch_session_next(f->c, f->session.number, f->session.nonce,
	    &f->first, &fenced);
	return (rc == 0 && fenced ? -ESTALE : rc);
}

static int
freeze_fn(struct sqc *c, void *arg)
{
	struct freeze *f = arg;
	uint64_t last;
	int rc;

	f->c = c;
	f->n = 0;
	f->looked = f->again = false;
	buf_reset(&f->cands);
	buf_reset(&f->body);
	if ((rc = is_frozen(c, &last)) != 0)
		return (rc);
	if ((rc = ops_choose(f)) != 0)
		return (rc);
	f->looked = f->n == 0;
	if (f->n == 0 || (rc = freeze_allowed(f)) <= 0)
		return (rc);
	if ((rc = packs_make(f)) != 0 || (rc = ops_freeze(f)) != 0 ||
	    (rc = frozen_insert(f)) != 0 || (rc = runs_insert(f)) != 0)
		return (rc);
	f->looked = true;
	return (1);
}

/* Is there anything to do?  Spares the writer an empty transaction. */
static int
freeze_wanted(struct sq *q)
{
	struct sqc *c;
	int rc = sq_read(q, &c);

	if (rc != 0)
		return (rc);
	rc = sqs_has_row(sq_prep(c, "SELECT 1 FROM op LIMIT 1"));
	sq_read_end(c);
	return (rc);
}

int
batch_freeze(struct meta *m, uint32_t store)
{
	return (batch_freeze_held(m, store, INT64_MAX, NULL));
}

int
batch_freeze_held(struct meta *m, uint32_t store, uint64_t until,
    const struct freeze_down *down)
{
	struct freeze f = { .m = m, .store = store, .until = until,
	    .down = down != NULL && down->n > 0 ? down : NULL };
	struct sqc *c;
	uint64_t last;
	int rc, err;

	if ((rc = freeze_wanted(m->sq)) != 1)
		return (rc);
	meta_session_get(m, &f.session);
	do {
		rc = sq_write(m->sq, freeze_fn, &f);
		if (rc >= 0 && f.looked)
			hold_committed(m->hold);
	} while (rc == 0 && f.looked && f.again);
	buf_done(&f.cands);
	buf_done(&f.body);
	if (rc != 1)
		return (rc);
	/* sent only when it is on disk (L1, L2), also if it was frozen before
	 * and that sync failed or the daemon died */
	if ((err = sq_read(m->sq, &c)) != 0)
		return (err);
	rc = is_frozen(c, &last);
	sq_read_end(c);
	if (rc != 1 || atomic_load(&m->frozen_synced) == last)
		return (rc);
	if ((err = sq_sync(m->sq)) != 0)
		return (err);
	atomic_store(&m->frozen_synced, last);
	return (1);
}

uint64_t
batch_held(struct meta *m, uint64_t *retupto)
{
	return (hold_count(m->hold, retupto));
}

int
batch_waits(struct meta *m, struct sqc *c, uint64_t seq, uint64_t top)
{
	struct sqs *s = sq_prep(c, "SELECT ifnull(max(seq), 0), "
	    "EXISTS (SELECT 1 FROM frozen_run WHERE lo <= ?1) FROM op "
	    "WHERE seq <= ?1");
	uint64_t last, upto;
	bool frozen;
	int rc;

	/* before it is looked what is pending, not after */
	(void)batch_held(m, &upto);
	sqs_int(s, 1, seq);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -EUCLEAN);
	last = sqs_col_int(s, 0);
	frozen = sqs_col_int(s, 1);
	sqs_reset(s);
	if (last == 0)
		return (0);
	if (last > upto || frozen)
		return (1);
	return (top != 0 ? hold_acts_below(c, last, top) : 0);
}

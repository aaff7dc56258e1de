/*
 * journal: see journal.h.  The next seq is one more than the newest op and
 * than the newest that landed: read inside the same transaction, so what is
 * rolled back leaves no gap (M5).
 */
#include <errno.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "meta/internal.h"
#include "meta/place.h"

static int
op_insert(struct sqc *c, uint64_t seq, const struct op *op, int needs,
    const struct buf *body)
{
	struct sqs *s = sq_prep(c, "INSERT INTO op(seq, kind, ino, needs, "
	    "time, body) VALUES (?, ?, ?, ?, ?, ?)");

	sqs_int(s, 1, seq);
	sqs_int(s, 2, op->kind);
	sqs_int(s, 3, op->ino);
	sqs_int(s, 4, needs);
	sqs_int(s, 5, clock_real());
	sqs_blob(s, 6, body->p, body->len);
	return (sqs_run(s));
}

static int
unstored_insert(struct sqc *c, uint64_t seq, uint64_t ino, const void *bytes,
    size_t n)
{
	struct sqs *s = sq_prep(c, "INSERT INTO unstored(seq, ino, crc, "
	    "bytes) VALUES (?, ?, ?, ?)");
	int err;

	sqs_int(s, 1, seq);
	sqs_int(s, 2, ino);
	sqs_int(s, 3, crc32c(0, bytes, n));
	sqs_blob(s, 4, bytes, n);
	err = sqs_run(s);
	return (err ? err : counts_add_unstored(c, n));
}

/* Brings needs and flags of an extents op to what its bytes say. */
static int
needs_settle(struct op *op, enum needs *needs, size_t n)
{
	if (op->kind != OP_EXTENTS) {
		*needs = NEEDS_NOTHING;
		return (0);
	}
	if (*needs == NEEDS_NOTHING)
		return (0);
	if (op->nextents > 0 || op->nobjects > 0)
		return (-EINVAL);
	if (*needs == NEEDS_PACK && (n > META_SMALL_MAX || n != op->size))
		return (-EINVAL);
	op->flags = EXT_WHOLE;
	if (*needs == NEEDS_PACK && n == 0)
		*needs = NEEDS_NOTHING;
	return (0);
}

/* May a store's row not be changed yet, for what a pending op says?  One that
 * goes: that there are copies or bytes in it; those that are not frozen yet
 * have no rows of it (M1), and replay would have (M2).  One that comes: that
 * one of its number goes, with all its locations.  1, 0, -errno. */
static int
store_is_named(struct sqc *c, uint64_t store, bool goes)
{
	struct sqs *s = sq_prep(c, "SELECT body FROM op "
	    "WHERE kind = ? OR needs IN (3, 5)");
	struct buf bytes = BUF_INIT;
	struct cur cur;
	struct op op;
	const void *p;
	size_t n;
	int rc, named = 0;

	sqs_int(s, 1, goes ? OP_LOCATE : OP_STORE);
	while ((rc = sqs_step(s)) == 1 && !named) {
		p = sqs_col_blob(s, 0, &n);
		cur_init(&cur, p, n);
		op_decode(&cur, &op, &bytes);
		if (cur_err(&cur)) {
			rc = -EUCLEAN;
			break;
		}
		named |= !goes && op.ino == store && op.size == 1;
		for (unsigned i = 0; i < op.nobjects; i++)
			named |= goes && op.objects[i].store == store;
	}
	sqs_reset(s);
	buf_done(&bytes);
	return (rc < 0 ? rc : named);
}

/* What the bytes of a small file wait for: for a pack of the home's, which is
 * cut when they are frozen, or for one that upload puts before. */
static int
small_needs(struct sqc *c, uint64_t ino, int *retneeds)
{
	struct place_row place;
	int err = place_of(c, ino, &place);

	if (err == 0)
		*retneeds = place.store == PLACE_HOME ? NEEDS_PACK :
		    NEEDS_STORE;
	return (err);
}

int
journal(struct meta *m, struct sqc *c, const struct op *op, enum needs needs,
    const void *bytes, size_t n, uint64_t *retseq)
{
	struct buf body = BUF_INIT;
	struct change ch;
	struct op copy = *op;
	uint64_t last = 0;
	int err, how;

	copy.flags &= op->kind == OP_UNLINK || op->kind == OP_RENAME ?
	    ~OP_LAST_LINK : ~0u;
	if ((err = op_check(&copy)) != 0 ||
	    (err = needs_settle(&copy, &needs, n)) != 0 ||
	    (err = counts_next_seq(c, &ch.undo_seq)) != 0)
		return (err);
	if (op->kind == OP_STORE &&
	    (err = store_is_named(c, op->ino, op->size == 1)) != 0)
		return (err < 0 ? err : -EBUSY);
	if ((err = apply_attr(c, &ch, &copy, &last)) != 0)
		return (err);
	if (last != 0 && op->kind != OP_RMDIR)
		copy.flags |= OP_LAST_LINK;
	op_encode(&copy, &body);
	if ((err = buf_err(&body)) != 0)
		goto out;
	if (body.len > BATCH_MAX_BYTES) {
		err = -EFBIG;
		goto out;
	}
	how = needs;
	if (needs == NEEDS_PACK &&
	    (err = small_needs(c, op->ino, &how)) != 0)
		goto out;
	if (how == NEEDS_STORE)
		atomic_store(&m->packable, true);
	if ((err = op_insert(c, ch.undo_seq, &copy, how, &body)) != 0)
		goto out;
	if (needs == NEEDS_PACK && (err = unstored_insert(c, ch.undo_seq,
	    op->ino, bytes, n)) != 0)
		goto out;
	counter_add(ops_journalled, 1);
	if (retseq != NULL)
		*retseq = ch.undo_seq;
out:
	buf_done(&body);
	return (err);
}

/* The body of an op that waits for its upload: -ENOENT if none does. */
static int
waiting_body(struct sqc *c, uint64_t seq, struct buf *out)
{
	struct sqs *s = sq_prep(c,
	    "SELECT body FROM op WHERE seq = ? AND needs IN (2, 4)");
	const void *p;
	size_t n;
	int rc;

	sqs_int(s, 1, seq);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -ENOENT);
	p = sqs_col_blob(s, 0, &n);
	buf_put(out, p, n);
	sqs_reset(s);
	return (buf_err(out));
}

int
journal_uploaded(struct sqc *c, uint64_t seq, uint32_t ext_flags,
    const struct op_extent *e, unsigned ne, const struct op_object *o,
    unsigned no)
{
	struct buf body = BUF_INIT, done = BUF_INIT, store = BUF_INIT;
	struct cur cur;
	struct op op;
	struct sqs *s;
	int err;

	if ((err = waiting_body(c, seq, &body)) != 0)
		goto out;
	cur_init(&cur, body.p, body.len);
	op_decode(&cur, &op, &store);
	if (cur_err(&cur)) {
		err = -EUCLEAN;
		goto out;
	}
	op.flags = ext_flags & (EXT_WHOLE | EXT_VOID);
	op.extents = (struct op_extent *)e;
	op.nextents = ne;
	op.objects = (struct op_object *)o;
	op.nobjects = no;
	if ((err = op_check(&op)) != 0)
		goto out;
	op_encode(&op, &done);
	if ((err = buf_err(&done)) != 0)
		goto out;
	if (done.len > BATCH_MAX_BYTES && !cut_can(&op, done.len)) {
		err = -EFBIG;
		goto out;
	}
	s = sq_prep(c, "UPDATE op SET needs = ?, body = ? WHERE seq = ?");
	sqs_int(s, 1, NEEDS_DONE);
	sqs_blob(s, 2, done.p, done.len);
	sqs_int(s, 3, seq);
	err = sqs_run(s);
out:
	buf_done(&body);
	buf_done(&done);
	buf_done(&store);
	return (err);
}

static int
unstored_read(struct sqc *c, const char *sql, uint64_t which, struct buf *out)
{
	struct sqs *s = sq_prep(c, sql);
	const void *p;
	size_t n;
	int rc;

	sqs_int(s, 1, which);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -ENOENT);
	p = sqs_col_blob(s, 0, &n);
	buf_put(out, p, n);
	sqs_reset(s);
	return (buf_err(out));
}

int
unstored_get(struct sqc *c, uint64_t ino, struct buf *out)
{
	return (unstored_read(c, "SELECT bytes FROM unstored "
	    "WHERE ino = ? ORDER BY seq DESC LIMIT 1", ino, out));
}

int
unstored_at(struct sqc *c, uint64_t seq, struct buf *out)
{
	return (unstored_read(c, "SELECT bytes FROM unstored WHERE seq = ?",
	    seq, out));
}

bool
unstored_has(struct sqc *c, uint64_t ino)
{
	struct sqs *s = sq_prep(c,
	    "SELECT 1 FROM unstored WHERE ino = ? LIMIT 1");
	bool has;

	sqs_int(s, 1, ino);
	has = sqs_step(s) == 1;
	sqs_reset(s);
	return (has);
}

int
journal_stat(struct sqc *c, struct journal_stat *ret)
{
	struct sqs *s = sq_prep(c, "SELECT "
	    "ifnull((SELECT min(seq) FROM op), 0), "
	    "ifnull((SELECT max(seq) FROM op), 0), "
	    "ifnull((SELECT time FROM op ORDER BY seq LIMIT 1), 0), "
	    "(SELECT count(*) FROM op WHERE needs = 2), "
	    "(SELECT count(*) FROM op WHERE needs = 4), "
	    "unstored, max(last, ifnull((SELECT max(seq) FROM op), 0)) - "
	    "landed FROM counts WHERE id = 1");
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	ret->first_seq = sqs_col_int(s, 0);
	ret->last_seq = sqs_col_int(s, 1);
	ret->oldest = sqs_col_int(s, 2);
	ret->waiting_uploads = sqs_col_int(s, 3);
	ret->waiting_small = sqs_col_int(s, 4);
	ret->unstored_bytes = sqs_col_int(s, 5);
	/* given without a gap (M5), less those that landed */
	ret->ops = sqs_col_int(s, 6);
	sqs_reset(s);
	return (0);
}

int
journal_is_pending(struct sqc *c, uint64_t seq)
{
	struct sqs *s = sq_prep(c, "SELECT 1 FROM op WHERE seq = ?");

	sqs_int(s, 1, seq);
	return (sqs_has_row(s));
}

int
journal_files(struct sqc *c, uint64_t *ret)
{
	struct sqs *s = sq_prep(c, "SELECT count(*) FROM "
	    "(SELECT ino FROM unstored UNION SELECT ino FROM op "
	    "WHERE needs = 2)");
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	*ret = sqs_col_int(s, 0);
	sqs_reset(s);
	return (0);
}

int
journal_waiting(struct sqc *c, uint64_t after,
    int (*each)(void *arg, uint64_t seq, uint64_t ino, int64_t time),
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT seq, ino, time FROM op "
	    "WHERE needs = 2 AND seq > ? ORDER BY seq");
	int rc;

	sqs_int(s, 1, after);
	while ((rc = sqs_step(s)) == 1) {
		if (each(arg, sqs_col_int(s, 0), sqs_col_int(s, 1),
		    sqs_col_int(s, 2)) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

int
journal_to_upload(struct sqc *c,
    int (*each)(void *arg, uint64_t seq, uint64_t ino, uint64_t first,
	int64_t time),
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT o.seq, o.ino, f.seq, f.time "
	    "FROM op o JOIN op f ON f.seq = (SELECT min(p.seq) FROM op p "
	    "WHERE p.ino = o.ino AND p.kind IN (11, 12) AND p.kind = 11 "
	    "AND p.needs = 2) WHERE o.needs = 2 AND NOT EXISTS (SELECT 1 "
	    "FROM op p WHERE p.ino = o.ino AND p.kind IN (11, 12) "
	    "AND p.kind = 11 AND p.seq > o.seq) AND EXISTS (SELECT 1 "
	    "FROM inode i WHERE i.ino = o.ino) ORDER BY o.seq");
	int rc;

	if (s == NULL)
		return (sq_err(c));
	while ((rc = sqs_step(s)) == 1) {
		if (each(arg, sqs_col_int(s, 0), sqs_col_int(s, 1),
		    sqs_col_int(s, 2), sqs_col_int(s, 3)) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

int
journal_packable(struct sqc *c,
    int (*each)(void *arg, const struct packable *p), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT o.seq, o.ino, o.time, u.crc, "
	    "length(u.bytes) FROM op o JOIN unstored u ON u.seq = o.seq "
	    "WHERE o.needs = 4 AND NOT EXISTS (SELECT 1 FROM unstored v "
	    "WHERE v.ino = o.ino AND v.seq > o.seq) AND EXISTS (SELECT 1 "
	    "FROM inode i WHERE i.ino = o.ino) ORDER BY o.seq");
	int rc;

	if (s == NULL)
		return (sq_err(c));
	while ((rc = sqs_step(s)) == 1) {
		struct packable p = { .seq = sqs_col_int(s, 0),
		    .ino = sqs_col_int(s, 1), .time = sqs_col_int(s, 2),
		    .crc = sqs_col_int(s, 3), .len = sqs_col_int(s, 4) };

		if (each(arg, &p) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

struct waiting {
	struct sqc	*c;
	struct place_memo memo;
	struct waiting_store *v;
	unsigned	 max, n;
	int		 err;
};

static int
waiting_add(struct waiting *w, uint64_t ino, uint64_t bytes, int64_t time)
{
	struct waiting_store *s = w->v;
	uint32_t store;

	if ((w->err = place_store(w->c, &w->memo, ino, &store)) != 0)
		return (1);
	while (s < w->v + w->n && s->store != store)
		s++;
	if (s == w->v + w->n) {
		if (w->n == w->max)
			return (0);
		*s = (struct waiting_store){ .store = store, .oldest = time };
		w->n++;
	}
	s->files++;
	s->bytes += bytes;
	if (time < s->oldest)
		s->oldest = time;
	return (0);
}

static int
waiting_large(void *arg, uint64_t seq, uint64_t ino, uint64_t first,
    int64_t time)
{
	struct waiting *w = arg;
	struct row r;

	w->err = inode_get(w->c, ino, &r);
	return (w->err != 0 ||
	    waiting_add(w, ino, (uint64_t)r.v[I_SIZE].i, time));
}

static int
waiting_small(void *arg, const struct packable *p)
{
	return (waiting_add(arg, p->ino, p->len, p->time));
}

int
journal_waiting_stores(struct sqc *c, struct waiting_store *v, unsigned max,
    unsigned *retn)
{
	struct waiting w = { .c = c, .v = v, .max = max };
	int err = journal_to_upload(c, waiting_large, &w);

	if (err == 0 && w.err == 0)
		err = journal_packable(c, waiting_small, &w);
	*retn = w.n;
	return (err ? err : w.err);
}

bool
journal_has_packable(struct meta *m)
{
	return (atomic_load(&m->packable) &&
	    atomic_exchange(&m->packable, false));
}

/* Where ino's content ends when what waits is gone: by the last complete op,
 * else by the extents. */
static int
size_without(struct sqc *c, uint64_t ino, uint64_t *retsize)
{
	struct sqs *s = sq_prep(c, "SELECT body FROM op WHERE ino = ? AND "
	    "kind IN (11, 12) AND needs <> 2 ORDER BY seq DESC LIMIT 1");
	struct buf store = BUF_INIT;
	const void *p;
	struct cur cur;
	struct op op;
	size_t n;
	int rc;

	sqs_int(s, 1, ino);
	if ((rc = sqs_step(s)) == 1) {
		p = sqs_col_blob(s, 0, &n);
		cur_init(&cur, p, n);
		op_decode(&cur, &op, &store);
		*retsize = op.size;
		rc = cur_err(&cur) ? -EUCLEAN : 0;
		sqs_reset(s);
		buf_done(&store);
		return (rc);
	}
	if (rc < 0)
		return (rc);
	s = sq_prep(c, "SELECT ifnull(max(off + len), 0) FROM extent "
	    "WHERE ino = ?");
	sqs_int(s, 1, ino);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -EUCLEAN);
	*retsize = sqs_col_int(s, 0);
	sqs_reset(s);
	return (0);
}

int
journal_drop(struct meta *m, struct sqc *c, uint64_t ino, int64_t now)
{
	struct op op = { .kind = OP_TRUNCATE, .ino = ino, .mtime = now,
	    .ctime = now };
	uint64_t seq;
	bool some = false;
	int rc, err = 0;

	for (;;) {
		struct sqs *s = sq_prep(c, "SELECT seq FROM op WHERE ino = ? "
		    "AND kind IN (11, 12) AND needs = 2 LIMIT 1");

		sqs_int(s, 1, ino);
		if ((rc = sqs_step(s)) != 1)
			break;
		seq = sqs_col_int(s, 0);
		sqs_reset(s);
		/* before it is one of those that are complete */
		if (!some)
			err = size_without(c, ino, &op.size);
		some = true;
		if (err == 0)
			err = journal_uploaded(c, seq, EXT_VOID, NULL, 0,
			    NULL, 0);
		if (err != 0)
			return (err);
	}
	if (rc < 0 || !some || (rc = inode_gone(c, ino)) != 0)
		return (rc < 0 ? rc : 0);
	return (journal(m, c, &op, NEEDS_NOTHING, NULL, 0, &seq));
}

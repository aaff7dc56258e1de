/*
 * batch: the frozen batch as it is sent, which batches count, and what
 * happens when ours has landed.  See batch.h; freezing is in freeze.c.
 */
#include <errno.h>

#include "meta/internal.h"

void
batch_done(struct batch *b)
{
	if (b != NULL)
		buf_done(&b->body);
}

/* Is there a row?  1, 0, -errno. */
int
sqs_has_row(struct sqs *s)
{
	int rc = sqs_step(s);

	if (rc == 1)
		sqs_reset(s);
	return (rc);
}

int
inode_gone(struct sqc *c, uint64_t ino)
{
	struct sqs *s = sq_prep(c, "SELECT 1 FROM inode WHERE ino = ?");
	int rc;

	sqs_int(s, 1, ino);
	rc = sqs_has_row(s);
	return (rc < 0 ? rc : !rc);
}

/* --- sessions --- */

/* The row of session b->session in the log prefix allows b.  1, 0, -errno;
 * *retfenced: it is fenced. */
int
batch_session_next(struct sqc *c, uint32_t session, uint64_t nonce,
    uint64_t *retfirst, bool *retfenced)
{
	struct row r = { T_SESSION, { col_int(session) } };
	struct buf scratch = BUF_INIT;
	int err = session_get_prefix(c, &r, &scratch), ok;

	ok = err == 0 && r.v[S_STATE].i == SESS_OPEN &&
	    (uint64_t)r.v[S_NONCE].i == nonce;
	*retfirst = ok ? (uint64_t)r.v[S_HWM].i + 1 : 0;
	*retfenced = err == 0 && r.v[S_STATE].i == SESS_FENCED;
	buf_done(&scratch);
	return (err && err != -ENOENT ? err : ok);
}

int
batch_session_allows(struct sqc *c, const struct batch *b, bool *retfenced)
{
	uint64_t first;
	int rc = batch_session_next(c, b->session, b->nonce, &first,
	    retfenced);

	return (rc < 0 ? rc : rc == 1 && first == b->first);
}

/* A batch that is its session's own open. */
static bool
batch_is_open(const struct batch *b)
{
	struct buf store = BUF_INIT;
	struct cur cur;
	struct op op;
	bool is;

	if (b->nops != 1)
		return (false);
	cur_init(&cur, b->body.p, b->body.len);
	op_decode(&cur, &op, &store);
	is = !cur_err(&cur) && op.kind == OP_SESSION_OPEN &&
	    op.session == b->session && op.nonce == b->nonce;
	buf_done(&store);
	return (is);
}

int
batch_admissible(struct sqc *c, const struct batch *b)
{
	bool fenced;

	if (batch_is_open(b))
		return (1);
	if (b->last < b->first || b->last - b->first + 1 != b->nops)
		return (0);
	return (batch_session_allows(c, b, &fenced));
}

static void
edit_hwm(struct row *r, void *arg)
{
	const uint64_t *hwm = arg;

	r->v[S_HWM] = col_int(*hwm);
}

int
batch_applied(struct sqc *c, const struct batch *b)
{
	uint64_t hwm = b->last;

	if (batch_is_open(b))
		return (0);
	return (session_edit_all(c, b->session, edit_hwm, &hwm));
}

/* --- the frozen one --- */

int
batch_get(struct sqc *c, struct batch *ret)
{
	struct sqs *s = sq_prep(c, "SELECT session, nonce, first, last, nops, "
	    "body FROM frozen WHERE id = 1");
	struct batch b = { 0 };
	const void *p;
	size_t n;
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -ENOENT);
	b.session = sqs_col_int(s, 0);
	b.nonce = (uint64_t)sqs_col_int(s, 1);
	b.first = sqs_col_int(s, 2);
	b.last = sqs_col_int(s, 3);
	b.nops = sqs_col_int(s, 4);
	p = sqs_col_blob(s, 5, &n);
	buf_put(&b.body, p, n);
	sqs_reset(s);
	if ((rc = buf_err(&b.body)) != 0)
		batch_done(&b);
	else
		*ret = b;
	return (rc);
}

int
batch_packs(struct sqc *c, int (*each)(void *arg, uint64_t object,
    uint64_t size), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT object, sum(len) FROM frozen_pack "
	    "WHERE stored = 0 GROUP BY object ORDER BY object");
	int rc;

	while ((rc = sqs_step(s)) == 1) {
		if (each(arg, sqs_col_int(s, 0), sqs_col_int(s, 1)) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

int
batch_pack_bytes(struct sqc *c, uint64_t object, struct buf *out)
{
	struct sqs *s = sq_prep(c, "SELECT u.bytes, p.len, p.off "
	    "FROM frozen_pack p CROSS JOIN unstored u ON u.seq = p.seq "
	    "WHERE p.object = ? ORDER BY p.off");
	size_t start = out->len;
	int rc;

	sqs_int(s, 1, object);
	while ((rc = sqs_step(s)) == 1) {
		size_t n;
		const void *p = sqs_col_blob(s, 0, &n);

		if ((int64_t)n != sqs_col_int(s, 1) ||
		    (int64_t)(out->len - start) != sqs_col_int(s, 2)) {
			sqs_reset(s);
			return (-EUCLEAN);
		}
		buf_put(out, p, n);
	}
	if (rc == 0 && out->len == start)
		rc = -ENOENT;
	return (rc ? rc : buf_err(out));
}

/* --- landing --- */

/* Nothing newer of this inode is pending, and it exists: its stored bytes
 * are the file. */
static int
is_newest(struct sqc *c, uint64_t ino, uint64_t seq)
{
	struct sqs *s = sq_prep(c, "SELECT 1 FROM op WHERE ino = ? AND "
	    "kind IN (11, 12) AND seq > ? LIMIT 1");
	int rc;

	sqs_int(s, 1, ino);
	sqs_int(s, 2, seq);
	if ((rc = sqs_has_row(s)) != 0)
		return (rc < 0 ? rc : 0);
	rc = inode_gone(c, ino);
	return (rc < 0 ? rc : !rc);
}

/* Small files' bytes of the batch become clean (B6). */
static int
landed_clean(struct sqc *c, const struct landed_fns *fns)
{
	struct sqs *s = sq_prep(c, "SELECT u.seq, u.ino, u.bytes "
	    "FROM frozen_pack p CROSS JOIN unstored u ON u.seq = p.seq "
	    "ORDER BY p.object, p.off");
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		uint64_t ino = sqs_col_int(s, 1);
		const void *p;
		size_t n;

		err = is_newest(c, ino, sqs_col_int(s, 0));
		if (err == 1) {
			p = sqs_col_blob(s, 2, &n);
			err = fns->clean(fns->arg, c, ino, p, n);
		}
		if (err < 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	return (rc < 0 ? rc : err < 0 ? err : 0);
}

static int
landed_stored(struct sqc *c, const struct landed_fns *fns)
{
	struct sqs *s = sq_prep(c, "SELECT o.seq, o.ino FROM frozen_run r "
	    "CROSS JOIN op o ON o.seq BETWEEN r.lo AND r.hi "
	    "WHERE o.needs = 3 AND NOT EXISTS "
	    "(SELECT 1 FROM unstored u WHERE u.seq = o.seq) ORDER BY r.lo");
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		err = fns->stored(fns->arg, c, sqs_col_int(s, 1),
		    sqs_col_int(s, 0));
		if (err < 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	return (rc < 0 ? rc : err < 0 ? err : 0);
}

struct run { uint64_t lo, hi; };

static int
unstored_drop(struct sqc *c, const struct run *r)
{
	struct sqs *s = sq_prep(c, "SELECT ifnull(sum(length(bytes)), 0) "
	    "FROM unstored WHERE seq BETWEEN ? AND ?");
	int64_t bytes;
	int rc;

	sqs_int(s, 1, r->lo);
	sqs_int(s, 2, r->hi);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -EUCLEAN);
	bytes = sqs_col_int(s, 0);
	sqs_reset(s);
	if (bytes == 0)
		return (0);
	if ((rc = counts_add_unstored(c, -bytes)) != 0)
		return (rc);
	s = sq_prep(c, "DELETE FROM unstored WHERE seq BETWEEN ? AND ?");
	sqs_int(s, 1, r->lo);
	sqs_int(s, 2, r->hi);
	return (sqs_run(s));
}

static int
run_drop(struct sqc *c, const struct run *r)
{
	static const char *const sqls[] = {
		"DELETE FROM op WHERE seq BETWEEN ? AND ?",
		"DELETE FROM hidden WHERE seq > 0 AND seq BETWEEN ? AND ?",
	};
	int err;

	if (r->lo == r->hi && (err = cut_landed(c, r->lo)) != 0)
		return (err < 0 ? err : 0);
	if ((err = unstored_drop(c, r)) != 0 ||
	    (err = undo_drop(c, r->lo, r->hi)) != 0 ||
	    (err = counts_add_landed(c, r->hi - r->lo + 1, r->hi)) != 0)
		return (err);
	for (size_t i = 0; i < sizeof(sqls) / sizeof(*sqls); i++) {
		struct sqs *s = sq_prep(c, sqls[i]);

		sqs_int(s, 1, r->lo);
		sqs_int(s, 2, r->hi);
		if ((err = sqs_run(s)) != 0)
			return (err);
	}
	return (0);
}

static int
landed_drop(struct sqc *c)
{
	struct sqs *s = sq_prep(c, "SELECT lo, hi FROM frozen_run ORDER BY lo");
	struct buf runs = BUF_INIT;
	const struct run *r;
	int rc;

	while ((rc = sqs_step(s)) == 1) {
		struct run one = { sqs_col_int(s, 0), sqs_col_int(s, 1) };

		buf_put(&runs, &one, sizeof(one));
	}
	if (rc == 0)
		rc = buf_err(&runs);
	r = (const void *)runs.p;
	for (size_t n = runs.len / sizeof(*r); rc == 0 && n > 0; n--, r++)
		rc = run_drop(c, r);
	buf_done(&runs);
	if (rc == 0)
		rc = sqs_run(sq_prep(c, "DELETE FROM frozen_run"));
	if (rc == 0)
		rc = sqs_run(sq_prep(c, "DELETE FROM frozen"));
	return (rc ? rc : sqs_run(sq_prep(c, "DELETE FROM frozen_pack")));
}

int
batch_landed(struct meta *m, struct sqc *c, const struct meta_head *h,
    const struct landed_fns *fns)
{
	struct batch b;
	int err = batch_get(c, &b);

	if (err != 0)
		return (err);
	err = fns->clean != NULL ? landed_clean(c, fns) : 0;
	if (err == 0 &&
	    (err = landed_stored(c, fns)) == 0 &&
	    (err = batch_applied(c, &b)) == 0 &&
	    (err = landed_drop(c)) == 0)
		err = meta_set_head(c, h);
	/* its last number may be another batch's, of another session */
	atomic_store(&m->frozen_synced, 0);
	batch_done(&b);
	return (err);
}

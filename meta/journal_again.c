/* journal_again: bytes that were put and are put again (journal.h). */
#include <errno.h>

#include "meta/imap.h"
#include "meta/internal.h"

static bool
names_store(const struct op *op, uint32_t store)
{
	for (unsigned i = 0; i < op->nobjects; i++)
		if (op->objects[i].store == store)
			return (true);
	return (false);
}

/* One row: 0, -errno, or what each said. */
static int
put_one(struct sqc *c, struct sqs *s, uint32_t store, struct imap *inos,
    struct buf *bytes, int (*each)(void *arg, const struct journal_put *p),
    void *arg)
{
	struct journal_put p = { .seq = sqs_col_int(s, 0),
	    .ino = sqs_col_int(s, 2) };
	struct sqs *u;
	const void *body;
	struct cur cur;
	struct op op;
	size_t n;
	int rc;

	body = sqs_col_blob(s, 3, &n);
	cur_init(&cur, body, n);
	op_decode(&cur, &op, bytes);
	if (cur_err(&cur))
		return (-EUCLEAN);
	if (op.kind != OP_EXTENTS)
		return (names_store(&op, store) ? -EBUSY : 0);
	if (names_store(&op, store) &&
	    (rc = imap_set(inos, p.ino, 1)) != 0)
		return (rc);
	if (imap_get(inos, p.ino) == 0)
		return (0);
	u = sq_prep(c, "SELECT 1 FROM unstored WHERE seq = ?");
	sqs_int(u, 1, p.seq);
	if ((rc = sqs_has_row(u)) < 0)
		return (rc);
	p.small = rc;
	p.stored = op.nobjects > 0;
	return (each(arg, &p));
}

int
journal_put_in(struct sqc *c, uint32_t store,
    int (*each)(void *arg, const struct journal_put *p), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT seq, kind, ino, body FROM op o "
	    "WHERE (needs = 3 OR kind = ?) AND NOT EXISTS (SELECT 1 "
	    "FROM frozen_run WHERE o.seq BETWEEN lo AND hi) ORDER BY seq");
	struct imap inos = IMAP_INIT;
	struct buf bytes = BUF_INIT;
	int rc, err = 0;

	sqs_int(s, 1, OP_LOCATE);
	while ((rc = sqs_step(s)) == 1 && err == 0)
		err = put_one(c, s, store, &inos, &bytes, each, arg);
	if (rc == 1)
		sqs_reset(s);
	imap_done(&inos);
	buf_done(&bytes);
	return (rc < 0 ? rc : err);
}

int
journal_put_again(struct meta *m, struct sqc *c, const struct journal_put *p)
{
	struct buf body = BUF_INIT, bytes = BUF_INIT, old = BUF_INIT;
	struct sqs *s = sq_prep(c, "SELECT body FROM op WHERE seq = ?");
	const void *q;
	struct cur cur;
	struct op op;
	size_t n;
	int rc;

	sqs_int(s, 1, p->seq);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -ENOENT);
	q = sqs_col_blob(s, 0, &n);
	buf_put(&old, q, n);
	sqs_reset(s);
	cur_init(&cur, old.p, old.len);
	op_decode(&cur, &op, &bytes);
	if (cur_err(&cur) || buf_err(&old) != 0) {
		rc = -EUCLEAN;
		goto out;
	}
	op.flags = EXT_WHOLE;		/* as it was journalled */
	op.nextents = op.nobjects = 0;
	op_encode(&op, &body);
	if ((rc = buf_err(&body)) != 0)
		goto out;
	s = sq_prep(c, "UPDATE op SET needs = ?, body = ? WHERE seq = ?");
	sqs_int(s, 1, p->small ? NEEDS_STORE : (int)NEEDS_UPLOAD);
	sqs_blob(s, 2, body.p, body.len);
	sqs_int(s, 3, p->seq);
	rc = sqs_run(s);
	if (p->small)
		atomic_store(&m->packable, true);
out:
	buf_done(&body);
	buf_done(&bytes);
	buf_done(&old);
	return (rc);
}

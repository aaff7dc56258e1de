/*
 * rows_session: a session's row in all its forms.  It is the one row that
 * landed batches (hwm), landed ops of others (a fence) and our own pending
 * close all change, so a landed change goes to each pre-image too.
 */
#include <errno.h>

#include "meta/internal.h"

_Static_assert(T_SESSION == 12, "undo_session and these statements say 12");

int
session_get_prefix(struct sqc *c, struct row *io, struct buf *scratch)
{
	struct buf k = BUF_INIT;
	struct sqs *s;
	struct cur cur;
	const void *p;
	size_t n;
	int rc;

	row_order_key(io, &k);
	if ((rc = buf_err(&k)) != 0)
		goto out;
	s = sq_prep(c, "SELECT old FROM undo WHERE tbl = 12 AND key = ? "
	    "ORDER BY seq LIMIT 1");
	sqs_blob(s, 1, k.p, k.len);
	rc = sqs_step(s);
	if (rc < 0)
		goto out;
	if (rc == 0) {
		rc = row_get(c, io, scratch);
		goto out;
	}
	p = sqs_col_blob(s, 0, &n);
	rc = -ENOENT;
	if (p != NULL && n > 0) {
		size_t at = scratch->len;

		buf_put(scratch, p, n);
		if ((rc = buf_err(scratch)) == 0) {
			cur_init(&cur, scratch->p + at, n);
			row_decode(&cur, io->tbl, io);
			rc = cur_err(&cur) ? -EUCLEAN : 0;
		}
	}
	sqs_reset(s);
out:
	buf_done(&k);
	return (rc);
}

/* Rewrites the pre-image `old` of key k that seq left. */
static int
undo_edit(struct sqc *c, const struct buf *k, int64_t seq,
    const struct buf *old, session_edit *edit, void *arg)
{
	struct buf image = BUF_INIT;
	struct row r;
	struct cur cur;
	struct sqs *s;
	int err;

	cur_init(&cur, old->p, old->len);
	row_decode(&cur, T_SESSION, &r);
	if (cur_err(&cur))
		return (-EUCLEAN);
	edit(&r, arg);
	row_encode(&r, &image);
	if ((err = buf_err(&image)) == 0) {
		s = sq_prep(c, "UPDATE undo SET old = ? "
		    "WHERE seq = ? AND tbl = 12 AND key = ?");
		sqs_blob(s, 1, image.p, image.len);
		sqs_int(s, 2, seq);
		sqs_blob(s, 3, k->p, k->len);
		err = sqs_run(s);
	}
	buf_done(&image);
	return (err);
}

/* 1: the next pre-image after *seq is in old; 0: no more. */
static int
undo_next(struct sqc *c, const struct buf *k, int64_t *seq, struct buf *old)
{
	struct sqs *s = sq_prep(c, "SELECT seq, old FROM undo "
	    "WHERE tbl = 12 AND key = ? AND seq > ? AND old IS NOT NULL "
	    "ORDER BY seq LIMIT 1");
	const void *p;
	size_t n;
	int rc;

	sqs_blob(s, 1, k->p, k->len);
	sqs_int(s, 2, *seq);
	if ((rc = sqs_step(s)) != 1)
		return (rc);
	*seq = sqs_col_int(s, 0);
	p = sqs_col_blob(s, 1, &n);
	buf_reset(old);
	buf_put(old, p, n);
	sqs_reset(s);
	return (buf_err(old) ? buf_err(old) : 1);
}

int
session_edit_all(struct sqc *c, int64_t number, session_edit *edit, void *arg)
{
	static const struct change landed = { 0 };
	struct buf k = BUF_INIT, old = BUF_INIT, scratch = BUF_INIT;
	struct row live = { T_SESSION, { col_int(number) } }, new;
	int64_t seq = 0;
	int rc;

	row_order_key(&live, &k);
	if ((rc = buf_err(&k)) != 0)
		goto out;
	while ((rc = undo_next(c, &k, &seq, &old)) == 1)
		if ((rc = undo_edit(c, &k, seq, &old, edit, arg)) != 0)
			goto out;
	if (rc != 0)
		goto out;
	rc = row_get(c, &live, &scratch);
	if (rc == 0) {
		new = live;
		edit(&new, arg);
		rc = row_change(c, &landed, &live, &new);
	} else if (rc == -ENOENT)
		rc = 0;
out:
	buf_done(&k);
	buf_done(&old);
	buf_done(&scratch);
	return (rc);
}

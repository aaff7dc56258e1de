/*
 * apply_session: who may write (L1, L13).
 *
 * A landed op decides by the log prefix and changes every form of a session's
 * row, because our own close of it may be pending at that moment; a pending
 * op decides by what it sees and leaves a pre-image like any other.
 */
#include <errno.h>

#include "meta/apply_impl.h"

static int
session_get(struct sqc *c, const struct change *ch, struct row *io,
    struct buf *scratch)
{
	return (ch->undo_seq ? row_get(c, io, scratch) :
	    session_get_prefix(c, io, scratch));
}

static void
edit_state(struct row *r, void *arg)
{
	const enum session_state *state = arg;

	r->v[S_STATE] = col_int(*state);
}

static int
session_set_state(struct sqc *c, const struct change *ch,
    const struct row *old, enum session_state state)
{
	struct row new = *old;

	if (ch->undo_seq == 0)
		return (session_edit_all(c, old->v[S_NUMBER].i, edit_state,
		    &state));
	new.v[S_STATE] = col_int(state);
	return (row_change(c, ch, old, &new));
}

/* The numbers of sessions that may be open: those live, and those with a
 * pre-image (whose key is the number in order). */
static int
sessions_maybe_open(struct sqc *c, struct buf *out)
{
	struct sqs *s = sq_prep(c, "SELECT number FROM session "
	    "WHERE state = 0");
	int rc;

	while ((rc = sqs_step(s)) == 1) {
		int64_t number = sqs_col_int(s, 0);

		buf_put(out, &number, sizeof(number));
	}
	if (rc != 0)
		return (rc);
	s = sq_prep(c, "SELECT DISTINCT key FROM undo WHERE tbl = 12");
	while ((rc = sqs_step(s)) == 1) {
		size_t n;
		const uint8_t *p = sqs_col_blob(s, 0, &n);
		uint64_t number = 0;

		for (size_t i = 0; i < n; i++)
			number = number << 8 | p[i];
		number ^= UINT64_C(1) << 63;
		buf_put(out, &number, sizeof(number));
	}
	return (rc ? rc : buf_err(out));
}

/* May op open while this session is?  0 and *retfence, or -EBUSY. */
static int
open_beside(struct sqc *c, const struct change *ch, const struct op *op,
    int64_t number, bool *retfence)
{
	struct row r = { T_SESSION, { col_int(number) } };
	struct buf scratch = BUF_INIT;
	bool ours;
	int err = session_get(c, ch, &r, &scratch);

	*retfence = false;
	if (err == -ENOENT)
		err = 0;
	else if (err == 0 && r.v[S_STATE].i == SESS_OPEN) {
		ours = r.v[S_STATE_ID].n == sizeof(op->state_id) &&
		    memcmp(r.v[S_STATE_ID].p, op->state_id,
		    sizeof(op->state_id)) == 0 &&
		    (uint64_t)r.v[S_NONCE].i == op->prev_nonce;
		if (ours || op->takeover)
			*retfence = true;
		else
			err = -EBUSY;
	}
	buf_done(&scratch);
	return (err);
}

static int
session_fence(struct sqc *c, const struct change *ch, int64_t number)
{
	struct row r = { T_SESSION, { col_int(number) } };
	struct buf scratch = BUF_INIT;
	int err = session_get(c, ch, &r, &scratch);

	if (err == 0)
		err = session_set_state(c, ch, &r, SESS_FENCED);
	buf_done(&scratch);
	return (err);
}

static int
apply_open(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row r = { T_SESSION, { col_int(op->session) } };
	struct buf numbers = BUF_INIT, scratch = BUF_INIT;
	int64_t *number;
	size_t n;
	bool fence;
	int err;

	/* never reused (L1); also what an open that lands twice meets */
	err = session_get(c, ch, &r, &scratch);
	if (err != -ENOENT) {
		err = err ? err : -EEXIST;
		goto out;
	}
	if ((err = sessions_maybe_open(c, &numbers)) != 0)
		goto out;
	number = (void *)numbers.p;
	n = numbers.len / sizeof(*number);
	for (size_t i = 0; i < n; i++) {
		if ((err = open_beside(c, ch, op, number[i], &fence)) != 0)
			goto out;
		if (!fence)
			number[i] = 0;
	}
	for (size_t i = 0; i < n; i++)
		if (number[i] != 0 &&
		    (err = session_fence(c, ch, number[i])) != 0)
			goto out;
	r = (struct row){ T_SESSION, { col_int(op->session),
	    col_bytes(op->state_id, sizeof(op->state_id)),
	    col_int((int64_t)op->nonce), col_str(op->name),
	    col_int(op->mtime), col_int(SESS_OPEN),
	    col_int((int64_t)op->first_seq - 1), col_int(op->block_first),
	    col_int(op->block_count) } };
	err = row_put(c, ch, &r);
out:
	buf_done(&numbers);
	buf_done(&scratch);
	return (err);
}

int
apply_session(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct row r = { T_SESSION, { col_int(op->session) } };
	struct buf scratch = BUF_INIT;
	int err;

	if (op->kind == OP_SESSION_OPEN)
		return (apply_open(c, ch, op));
	err = session_get(c, ch, &r, &scratch);
	if (err == 0 && r.v[S_STATE].i != SESS_OPEN)
		err = -ESTALE;
	if (err == 0)
		err = session_set_state(c, ch, &r,
		    op->kind == OP_SESSION_CLOSE ? SESS_CLOSED : SESS_FENCED);
	buf_done(&scratch);
	return (err);
}

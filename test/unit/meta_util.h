/* meta_util: what the unit tests of meta/ share. */
#ifndef TEST_META_UTIL_H
#define TEST_META_UTIL_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "meta/batch.h"
#include "meta/internal.h"
#include "meta/place.h"
#include "meta/query.h"

#define MU	__attribute__((unused)) static

static char mu_dir[200];

MU void
mu_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(mu_dir, sizeof(mu_dir), "%s/gnsfs-meta-XXXXXX",
	    tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(mu_dir));
}

MU void
mu_remove(const char *name)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char path[300];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s%s", mu_dir, name, ends[i]);
		unlink(path);
	}
}

MU void
mu_teardown(void)
{
	mu_remove("a");
	mu_remove("b");
	ck_assert_int_eq(rmdir(mu_dir), 0);
}

MU struct meta *
mu_open(const char *name)
{
	struct meta *m;
	struct why why = { "" };
	char path[300];
	int err;

	snprintf(path, sizeof(path), "%s/%s", mu_dir, name);
	err = meta_open(path, &m, &why);
	ck_assert_msg(err == 0, "%s: %d %s", path, err, why.text);
	return (m);
}

/* --- one op a transaction --- */

struct mu_op {
	struct meta	*m;
	const struct op	*op;
	enum needs	 needs;
	const void	*bytes;
	size_t		 n;
	uint64_t	 seq;
};

MU int
mu_journal_fn(struct sqc *c, void *arg)
{
	struct mu_op *o = arg;

	return (journal(o->m, c, o->op, o->needs, o->bytes, o->n, &o->seq));
}

MU int
mu_journal_bytes(struct meta *m, const struct op *op, enum needs needs,
    const void *bytes, size_t n, uint64_t *retseq)
{
	struct mu_op o = { m, op, needs, bytes, n, 0 };
	int err = sq_write(meta_sq(m), mu_journal_fn, &o);

	if (err == 0 && retseq != NULL)
		*retseq = o.seq;
	return (err);
}

MU int
mu_journal(struct meta *m, const struct op *op)
{
	return (mu_journal_bytes(m, op, NEEDS_NOTHING, NULL, 0, NULL));
}

/* New bytes below dir go to store (0: to what those above say). */
MU int
mu_place(struct meta *m, uint64_t dir, uint32_t store)
{
	struct place_row r = { dir, store };
	struct buf body = BUF_INIT;
	struct op op;
	int err;

	ck_assert_int_eq(place_row_op(&r, &body, &op), 0);
	err = mu_journal(m, &op);
	buf_done(&body);
	return (err);
}

MU int
mu_apply_fn(struct sqc *c, void *arg)
{
	static const struct change landed = { 0 };

	return (apply(c, &landed, arg, APPLY_BOTH));
}

MU int
mu_apply(struct meta *m, const struct op *op)
{
	return (sq_write(meta_sq(m), mu_apply_fn, (void *)op));
}

/* --- sessions --- */

MU int
mu_grant_fn(struct sqc *c, void *arg)
{
	(void)arg;
	return (meta_session_granted(c, 1, 64));
}

MU struct op
mu_open_op(const struct meta_session *s, uint64_t prev, uint64_t first_seq)
{
	struct op op = { .kind = OP_SESSION_OPEN, .session = s->number,
	    .nonce = s->nonce, .prev_nonce = prev, .first_seq = first_seq,
	    .name = "host", .mtime = 1, .block_first = 1, .block_count = 64 };

	memcpy(op.state_id, s->state_id, sizeof(op.state_id));
	return (op);
}

/* A database whose session is open, in the log of others (may be NULL) too. */
MU struct meta *
mu_open_writer(const char *name, struct meta *other)
{
	struct meta *m = mu_open(name);
	struct meta_session s;
	struct op op;

	ck_assert_int_eq(sq_write(meta_sq(m), mu_grant_fn, NULL), 0);
	ck_assert_int_eq(meta_session_take(m, &s), 0);
	op = mu_open_op(&s, 0, 1);
	ck_assert_int_eq(mu_apply(m, &op), 0);
	if (other != NULL)
		ck_assert_int_eq(mu_apply(other, &op), 0);
	return (m);
}

/* --- what a database holds --- */

struct mu_dump { struct buf *out; };

MU int
mu_dump_row(void *arg, const struct row *r, const void *image, size_t n)
{
	const struct tbl_desc *d = &tbl_descs[r->tbl];
	struct buf *out = arg;

	(void)image;
	(void)n;
	buf_printf(out, "%s", d->name);
	for (unsigned i = 0; i < d->ncols; i++) {
		buf_printf(out, " %s=", d->cols[i]);
		if (d->blob_mask >> i & 1) {
			for (size_t j = 0; j < r->v[i].n; j++) {
				uint8_t ch = ((const uint8_t *)r->v[i].p)[j];

				buf_printf(out, ch > ' ' && ch < 127 ?
				    "%c" : "\\%02x", ch);
			}
		} else
			buf_printf(out, "%lld", (long long)r->v[i].i);
	}
	buf_puts(out, "\n");
	return (0);
}

/* All rows as text, new. */
MU char *
mu_dump(struct meta *m, bool prefix)
{
	struct buf out = BUF_INIT;
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(m), &c), 0);
	ck_assert_int_eq(sq_snapshot_begin(c), 0);
	for (int t = 0; t < T_COUNT; t++)
		ck_assert_int_eq(prefix ?
		    rows_scan_prefix(c, t, mu_dump_row, &out) :
		    rows_scan_live(c, t, mu_dump_row, &out), 0);
	sq_snapshot_end(c);
	sq_read_end(c);
	ck_assert_int_eq(buf_err(&out), 0);
	return (buf_take(&out, NULL));
}

/* The first line that differs. */
MU void
mu_same(const char *what, unsigned seed, char *a, char *b)
{
	size_t i = 0, line = 0;

	if (strcmp(a, b) != 0) {
		for (; a[i] != '\0' && a[i] == b[i]; i++)
			if (a[i] == '\n')
				line = i + 1;
		ck_abort_msg("%s, seed %u:\n< %.*s\n> %.*s\n", what, seed,
		    (int)strcspn(a + line, "\n"), a + line,
		    (int)strcspn(b + line, "\n"), b + line);
	}
	free(a);
	free(b);
}

MU int64_t
mu_int(struct meta *m, const char *sql)
{
	struct sqc *c;
	struct sqs *s;
	int64_t v;

	ck_assert_int_eq(sq_read(meta_sq(m), &c), 0);
	s = sq_prep(c, sql);
	ck_assert_int_eq(sqs_step(s), 1);
	v = sqs_col_int(s, 0);
	sqs_reset(s);
	sq_read_end(c);
	return (v);
}

MU struct attr
mu_lookup(struct meta *m, uint64_t parent, const char *name)
{
	struct attr a = { 0 };
	struct sqc *c;
	int err;

	ck_assert_int_eq(sq_read(meta_sq(m), &c), 0);
	err = meta_lookup(c, parent, name, &a);
	ck_assert(err == 0 || err == -ENOENT);
	sq_read_end(c);
	return (a);
}

/* --- small ops --- */

MU struct op
mu_create(uint64_t parent, const char *name, uint64_t ino)
{
	return ((struct op){ .kind = OP_CREATE, .parent = parent,
	    .name = name, .ino = ino, .mode = S_IFREG | 0644,
	    .mtime = 1000 + (int64_t)(ino & 0xfffff) });
}

MU struct op
mu_mkdir(uint64_t parent, const char *name, uint64_t ino)
{
	return ((struct op){ .kind = OP_MKDIR, .parent = parent,
	    .name = name, .ino = ino, .mode = 0755,
	    .mtime = 1000 + (int64_t)(ino & 0xfffff) });
}

MU struct op
mu_unlink(uint64_t parent, const char *name, uint64_t ino, int64_t ctime)
{
	return ((struct op){ .kind = OP_UNLINK, .parent = parent,
	    .name = name, .ino = ino, .ctime = ctime });
}

MU int
mu_run(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return (failed ? 1 : 0);
}

/* --- landing --- */

MU int
mu_no_clean(void *arg, struct sqc *c, uint64_t ino, const void *p, size_t n)
{
	(void)arg; (void)c; (void)ino; (void)p; (void)n;
	return (0);
}

MU int
mu_no_stored(void *arg, struct sqc *c, uint64_t ino, uint64_t seq)
{
	(void)arg; (void)c; (void)ino; (void)seq;
	return (0);
}

struct mu_land {
	struct meta		*m;
	struct meta_head	 h;
	struct landed_fns	 fns;
};

MU int
mu_land_fn(struct sqc *c, void *arg)
{
	struct mu_land *l = arg;

	return (batch_landed(l->m, c, &l->h, &l->fns));
}

/* Replays one batch as segment.c does. */
MU int
mu_replay_fn(struct sqc *c, void *arg)
{
	static const struct change landed = { 0 };
	const struct batch *b = arg;
	struct buf store = BUF_INIT;
	struct cur cur;
	int rc = batch_admissible(c, b);

	if (rc != 1)
		return (rc ? rc : -ESTALE);
	cur_init(&cur, b->body.p, b->body.len);
	for (uint64_t i = 0; i < b->nops; i++) {
		struct op op;

		op_decode(&cur, &op, &store);
		if (cur_err(&cur))
			return (-EBADMSG);
		rc = apply(c, &landed, &op, APPLY_BOTH);
		/* in these tests nobody else writes: nothing may fail */
		ck_assert_msg(rc == 0, "replay of %s: %d",
		    op_kind_name(op.kind), rc);
	}
	ck_assert(cur_at_end(&cur));
	buf_done(&store);
	return (batch_applied(c, b));
}

MU int
mu_batch_get(struct meta *m, struct batch *ret)
{
	struct sqc *c;
	int err;

	ck_assert_int_eq(sq_read(meta_sq(m), &c), 0);
	err = batch_get(c, ret);
	sq_read_end(c);
	return (err);
}

/* The frozen batch of a lands there and on b. */
MU void
mu_land(struct meta *a, struct meta *b, uint64_t lsn)
{
	struct mu_land l = { a, { .lsn = lsn }, { mu_no_clean, mu_no_stored,
	    NULL } };
	struct batch batch;

	ck_assert_int_eq(mu_batch_get(a, &batch), 0);
	if (b != NULL) {
		ck_assert_int_eq(sq_write(meta_sq(b), mu_replay_fn, &batch), 0);
		/* twice counts once */
		ck_assert_int_eq(sq_write(meta_sq(b), mu_replay_fn, &batch),
		    -ESTALE);
	}
	ck_assert_int_eq(sq_write(meta_sq(a), mu_land_fn, &l), 0);
	batch_done(&batch);
}

#endif

/* snapshot: the log prefix as pieces and back (L12, M4). */
#include "meta/digest.h"
#include "meta/reload.h"
#include "meta_trees.h"

static void
make(struct db *d, struct pieces *ps, struct snapshot *s)
{
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(d->m), &c), 0);
	ck_assert_int_eq(snapshot_make(c, pieces_emit, ps, s), 0);
	sq_read_end(c);
	ck_assert_uint_eq(s->npieces, ps->n);
}

struct loading {
	const struct pieces *ps;
	const struct snapshot *s;
	struct why	 why;
};

static int
load_fn(struct sqc *c, void *arg)
{
	struct loading *l = arg;
	struct digest *sum;
	uint8_t digest[32];
	int err = digest_new(&sum);
	struct piece p;

	for (unsigned i = 0; err == 0 && i < l->s->npieces; i++) {
		int k = pieces_find(l->ps, l->s->pieces[i].hash);

		ck_assert_int_ge(k, 0);
		err = piece_open(l->ps->v[k].p, l->ps->v[k].len,
		    l->s->pieces[i].hash, &p, &l->why);
		if (err == 0)
			err = piece_load(c, &p, 0, 0, sum, &l->why);
		piece_done(&p);
	}
	digest_final(sum, digest);
	return err != 0 ? err : snapshot_loaded(c, l->s, digest, &l->why);
}

static int
load(struct db *d, const struct pieces *ps, const struct snapshot *s)
{
	struct loading l = { ps, s, { "" } };

	return sq_write(meta_sq(d->m), load_fn, &l);
}

/* Snapshot plus tail = replay of the log. */
START_TEST(and_tail)
{
	struct pieces ps = { 0 };
	struct snapshot s;
	struct tlog l = { 0 };
	struct db a, b;
	uint64_t next = 1, cut;
	uint8_t digest[32];

	db_open(&a);
	tlog_open(&l);
	tlog_random(&l, 7, 2000, &next);
	db_replay(&a, &l, 1);
	make(&a, &ps, &s);
	db_digest(&a, digest);
	ck_assert_mem_eq(digest, s.digest, 32);
	ck_assert_uint_eq(s.lsn, l.lsn);
	cut = l.lsn;
	tlog_random(&l, 8, 700, &next);
	db_replay(&a, &l, cut + 1);

	db_open(&b);
	ck_assert_int_eq(load(&b, &ps, &s), 0);
	db_replay(&b, &l, cut + 1);
	assert_same_digest(&a, &b);
	db_close(&a);
	db_close(&b);
	snapshot_done(&s);
	pieces_free(&ps);
	tlog_free(&l);
}
END_TEST

START_TEST(wrong_digest)
{
	struct pieces ps = { 0 };
	struct snapshot s;
	struct tlog l = { 0 };
	struct db a, b;
	uint64_t next = 1;
	uint8_t before[32], after[32];

	db_open(&a);
	db_open(&b);
	db_digest(&b, before);
	tlog_open(&l);
	tlog_random(&l, 7, 200, &next);
	db_replay(&a, &l, 1);
	make(&a, &ps, &s);
	s.digest[31] ^= 1;
	ck_assert_int_eq(load(&b, &ps, &s), -EBADMSG);
	db_digest(&b, after);
	ck_assert_mem_eq(before, after, 32);	/* nothing stayed */
	db_close(&a);
	db_close(&b);
	snapshot_done(&s);
	pieces_free(&ps);
	tlog_free(&l);
}
END_TEST

/* --- a tree in the place of another (reload.h) --- */

struct told { uint64_t v[20000]; unsigned n; };

static int
tell(void *arg, uint64_t ino)
{
	struct told *t = arg;

	ck_assert_uint_lt(t->n, 20000);
	t->v[t->n++] = ino;
	return 0;
}

static int
begin_fn(struct sqc *c, void *arg)
{
	return reload_begin(c);
}

static int
changed_fn(struct sqc *c, void *arg)
{
	return reload_changed(c, tell, arg);
}

static int
end_fn(struct sqc *c, void *arg)
{
	return reload_end(c);
}

static int
old_fn(struct sqc *c, void *arg)
{
	return sq_exec(c, "CREATE TABLE old AS SELECT * FROM extent");
}

static bool
is_told(const struct told *t, uint64_t ino)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->v[i] == ino)
			return true;
	return false;
}

/* Those that differ, and no others. */
static void
check_told(struct db *d, const struct told *t)
{
	struct sqc *c;
	struct sqs *s;
	unsigned n = 0;

	ck_assert_int_eq(sq_read(meta_sq(d->m), &c), 0);
	s = sq_prep(c, "SELECT ino FROM (SELECT * FROM old EXCEPT "
	    "SELECT * FROM extent) UNION SELECT ino FROM "
	    "(SELECT * FROM extent EXCEPT SELECT * FROM old)");
	for (; sqs_step(s) == 1; n++)
		ck_assert(is_told(t, (uint64_t)sqs_col_int(s, 0)));
	ck_assert_uint_ge(n, 5);
	sqs_reset(s);
	s = sq_prep(c, "SELECT count(*) FROM old o JOIN extent e "
	    "USING (ino, off, len, object, ooff, crc) WHERE ino = ?1 AND "
	    "(SELECT count(*) FROM old WHERE ino = ?1) = "
	    "(SELECT count(*) FROM extent WHERE ino = ?1) HAVING count(*) = "
	    "(SELECT count(*) FROM old WHERE ino = ?1) AND count(*) > 0");
	for (unsigned i = 0; i < t->n; i++) {
		sqs_int(s, 1, (int64_t)t->v[i]);
		ck_assert_int_eq(sqs_step(s), 0);
		sqs_reset(s);
	}
	sq_read_end(c);
}

static int
is_begun(struct db *d)
{
	struct sqc *c;
	int r;

	ck_assert_int_eq(sq_read(meta_sq(d->m), &c), 0);
	r = reload_is_begun(c);
	sq_read_end(c);
	return r;
}

/* Whose bytes are others is told, until it is said that they are gone. */
START_TEST(another_tree)
{
	struct pieces ps = { 0 }, ps2 = { 0 };
	struct snapshot s, s2;
	struct told *t = calloc(1, sizeof(*t));
	struct tlog l = { 0 };
	struct db a, b;
	uint64_t next = 1, cut;

	db_open(&a);
	db_open(&b);
	tlog_open(&l);
	tlog_random(&l, 7, 2000, &next);
	db_replay(&a, &l, 1);
	make(&a, &ps, &s);
	ck_assert_int_eq(sq_write(meta_sq(b.m), begin_fn, NULL), 0);
	ck_assert_int_eq(load(&b, &ps, &s), 0);
	ck_assert_int_eq(sq_write(meta_sq(b.m), changed_fn, t), 0);
	ck_assert_uint_eq(t->n, 0);	/* nothing was here */
	ck_assert_int_eq(sq_write(meta_sq(b.m), end_fn, NULL), 0);
	ck_assert_int_eq(is_begun(&b), 0);
	cut = l.lsn;
	tlog_random(&l, 8, 700, &next);
	db_replay(&a, &l, cut + 1);
	make(&a, &ps2, &s2);
	ck_assert_int_eq(sq_write(meta_sq(b.m), old_fn, NULL), 0);
	for (int died = 0; died < 2; died++) {	/* the second finds the first */
		ck_assert_int_eq(sq_write(meta_sq(b.m), begin_fn, NULL), 0);
		ck_assert_int_eq(load(&b, &ps2, &s2), 0);
		t->n = 0;
		ck_assert_int_eq(sq_write(meta_sq(b.m), changed_fn, t), 0);
		check_told(&b, t);
		ck_assert_int_eq(is_begun(&b), 1);
	}
	ck_assert_int_eq(sq_write(meta_sq(b.m), end_fn, NULL), 0);
	ck_assert_int_eq(is_begun(&b), 0);
	assert_same_digest(&a, &b);
	db_close(&a);
	db_close(&b);
	snapshot_done(&s);
	snapshot_done(&s2);
	pieces_free(&ps);
	pieces_free(&ps2);
	tlog_free(&l);
	free(t);
}
END_TEST

START_TEST(encoding)
{
	struct snapshot s = { .lsn = 12345, .npieces = 20 }, got;
	struct buf out = BUF_INIT;

	s.pieces = calloc(20, sizeof(*s.pieces));
	for (unsigned i = 0; i < 20; i++) {
		s.pieces[i].tbl = (enum tbl)(i / 2);
		s.pieces[i].rows = i * 100000 + 1;
		memset(s.pieces[i].hash, (int)i, 32);
	}
	memset(s.head, 1, 32);
	memset(s.digest, 2, 32);
	ck_assert_int_eq(snapshot_encode(&s, &out), 0);
	ck_assert_int_eq(snapshot_decode(out.p, out.len, &got, NULL), 0);
	ck_assert_uint_eq(got.lsn, 12345);
	ck_assert_mem_eq(got.head, s.head, 32);
	ck_assert_mem_eq(got.digest, s.digest, 32);
	ck_assert_uint_eq(got.npieces, 20);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(got.pieces[i].tbl, s.pieces[i].tbl);
		ck_assert_uint_eq(got.pieces[i].rows, s.pieces[i].rows);
		ck_assert_mem_eq(got.pieces[i].hash, s.pieces[i].hash, 32);
	}
	snapshot_done(&got);
	for (size_t i = 0; i < out.len * 8; i++) {
		out.p[i / 8] ^= 1 << i % 8;
		ck_assert_int_eq(snapshot_decode(out.p, out.len, &got, NULL),
		    -EBADMSG);
		out.p[i / 8] ^= 1 << i % 8;
	}
	for (size_t n = 0; n < out.len; n++)
		ck_assert_int_eq(snapshot_decode(out.p, n, &got, NULL),
		    -EBADMSG);
	buf_done(&out);
	snapshot_done(&s);
}
END_TEST

/* The next snapshot stores only what changed. */
START_TEST(reuse)
{
	struct pieces a = { 0 }, b = { 0 };
	struct snapshot sa, sb;
	struct tlog l = { 0 };
	struct db d;
	uint64_t next = 1;

	db_open(&d);
	tlog_open(&l);
	for (int k = 0; k < 40; k++) {
		struct batch x = tlog_batch(&l);
		char name[40];

		for (int i = 0; i < 2500; i++) {
			struct op op = { .kind = OP_CREATE, .name = name,
			    .parent = META_ROOT, .ino = ID(next++),
			    .mode = S_IFREG | 0644, .mtime = 5 };

			snprintf(name, sizeof(name), "file %d %d", k, i);
			batch_put(&x, &op);
		}
		tlog_end(&l, &x);
	}
	db_replay(&d, &l, 1);
	make(&d, &a, &sa);
	ck_assert_uint_ge(a.n, 8);
	tlog_random(&l, 3, 3, &next);
	db_replay(&d, &l, l.lsn);
	make(&d, &b, &sb);
	ck_assert_mem_ne(sa.digest, sb.digest, 32);
	/* at most: inode, dentry, and small tables; most are the same */
	ck_assert_uint_ge(pieces_shared(&b, &a), b.n / 2);
	db_close(&d);
	snapshot_done(&sa);
	snapshot_done(&sb);
	pieces_free(&a);
	pieces_free(&b);
	tlog_free(&l);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("snapshot");
	TCase *t = tcase_create("snapshot");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, and_tail);
	tcase_add_test(t, wrong_digest);
	tcase_add_test(t, another_tree);
	tcase_add_test(t, encoding);
	tcase_add_test(t, reuse);
	suite_add_tcase(s, t);
	return run_suite(s);
}

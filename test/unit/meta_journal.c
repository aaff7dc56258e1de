/* The journal: what is pending, small bytes, uploads; and its speed. */
#include "meta_util.h"

static struct meta *M;

enum { F = 500 };

static void
setup(void)
{
	struct op op = mu_create(META_ROOT, "f", F);

	mu_setup();
	M = mu_open_writer("a", NULL);
	ck_assert_int_eq(mu_journal(M, &op), 0);
}

static void
teardown(void)
{
	meta_close(M);
	mu_teardown();
}

static struct op
extents(uint64_t size)
{
	return ((struct op){ .kind = OP_EXTENTS, .ino = F, .size = size,
	    .mtime = 7, .ctime = 7 });
}

static struct journal_stat
stat_get(void)
{
	struct journal_stat st;
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert_int_eq(journal_stat(c, &st), 0);
	sq_read_end(c);
	return (st);
}

START_TEST(test_small)
{
	struct op op = extents(3);
	struct buf b = BUF_INIT;
	struct sqc *c;

	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_PACK, "abc", 3, NULL),
	    0);
	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_PACK, "xyz", 3, NULL),
	    0);
	ck_assert_uint_eq(stat_get().unstored_bytes, 6);
	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert(unstored_has(c, F));
	ck_assert(!unstored_has(c, F + 1));
	ck_assert_int_eq(unstored_get(c, F, &b), 0);
	ck_assert_uint_eq(b.len, 3);
	ck_assert_mem_eq(b.p, "xyz", 3);
	ck_assert_int_eq(unstored_get(c, F + 1, &b), -ENOENT);
	sq_read_end(c);
	buf_done(&b);
	/* size and bytes disagree; too large */
	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_PACK, "ab", 2, NULL),
	    -EINVAL);
	op = extents(META_SMALL_MAX + 1);
	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_PACK, "", op.size,
	    NULL), -EINVAL);
	/* nothing is needed for no bytes */
	op = extents(0);
	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_PACK, "", 0, NULL), 0);
	ck_assert_int_eq(mu_int(M, "SELECT needs FROM op WHERE seq = 4"), 0);
}
END_TEST

static int
waiting_each(void *arg, uint64_t seq, uint64_t ino, int64_t time)
{
	uint64_t *sum = arg;

	ck_assert_uint_eq(ino, F);
	ck_assert_int_gt(time, 0);
	*sum = *sum * 10 + seq;
	return (0);
}

struct up { uint64_t seq; struct op_extent *e; unsigned n; };

static int
up_fn(struct sqc *c, void *arg)
{
	struct up *u = arg;

	return (journal_uploaded(c, u->seq, EXT_WHOLE, u->e, u->n, NULL, 0));
}

struct found { uint64_t seq, first; unsigned n; };

static int
found_each(void *arg, uint64_t seq, uint64_t ino, uint64_t first, int64_t time)
{
	struct found *f = arg;

	f->seq = seq;
	f->first = first;
	f->n++;
	return (0);
}

static struct found
found_get(void)
{
	struct found f = { 0 };
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert_int_eq(journal_to_upload(c, found_each, &f), 0);
	sq_read_end(c);
	return (f);
}

START_TEST(test_uploads)
{
	struct op op = extents(100);
	struct op_extent bad[] = { { 5, 5, 1, 0, -1 }, { 6, 5, 1, 0, -1 } };
	struct op_extent good = { 0, 100, 1, 0, -1 };
	struct up u = { 2, bad, 2 };
	uint64_t sum = 0;
	struct sqc *c;

	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_UPLOAD, NULL, 0, NULL),
	    0);
	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_UPLOAD, NULL, 0, NULL),
	    0);
	ck_assert_uint_eq(stat_get().waiting_uploads, 2);
	ck_assert_uint_eq(found_get().n, 1);
	ck_assert_uint_eq(found_get().seq, 3);
	ck_assert_uint_eq(found_get().first, 2);
	ck_assert_int_eq(sq_write(meta_sq(M), up_fn, &u), -EINVAL);
	u = (struct up){ 2, &good, 1 };
	ck_assert_int_eq(sq_write(meta_sq(M), up_fn, &u), 0);
	ck_assert_int_eq(sq_write(meta_sq(M), up_fn, &u), -ENOENT);
	u.seq = 1;	/* not an upload */
	ck_assert_int_eq(sq_write(meta_sq(M), up_fn, &u), -ENOENT);
	u.seq = 99;
	ck_assert_int_eq(sq_write(meta_sq(M), up_fn, &u), -ENOENT);
	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert_int_eq(journal_waiting(c, 0, waiting_each, &sum), 0);
	ck_assert_int_eq(journal_waiting(c, 3, waiting_each, &sum), 0);
	sq_read_end(c);
	ck_assert_uint_eq(sum, 3);
	/* what a later op stands for is not to be uploaded any more */
	ck_assert_uint_eq(found_get().seq, 3);
	op = extents(3);
	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_PACK, "abc", 3, NULL),
	    0);
	ck_assert_uint_eq(stat_get().waiting_uploads, 1);
	ck_assert_uint_eq(found_get().n, 0);
	op = extents(100);
	ck_assert_int_eq(mu_journal_bytes(M, &op, NEEDS_UPLOAD, NULL, 0, NULL),
	    0);
	ck_assert_uint_eq(found_get().seq, 5);
	u.seq = 5;
	ck_assert_int_eq(sq_write(meta_sq(M), up_fn, &u), 0);
	ck_assert_uint_eq(found_get().n, 0);
}
END_TEST

START_TEST(test_stat)
{
	struct journal_stat st = stat_get();
	struct op op = mu_create(META_ROOT, "g", F + 1);

	ck_assert_uint_eq(st.ops, 1);
	ck_assert_uint_eq(st.first_seq, 1);
	ck_assert_int_gt(st.oldest, 0);
	ck_assert_int_eq(mu_journal(M, &op), 0);
	ck_assert_int_eq(mu_journal(M, &op), -EEXIST);
	ck_assert_int_eq(batch_freeze(M, 1), 1);
	st = stat_get();
	ck_assert_uint_eq(st.ops, 2);
	ck_assert_uint_eq(st.last_seq, 2);
	mu_land(M, NULL, 1);
	st = stat_get();
	ck_assert_uint_eq(st.ops, 0);
	ck_assert_uint_eq(st.last_seq, 0);
	ck_assert_int_eq(st.oldest, 0);
}
END_TEST

/* An op that fails in one transaction with one that does not. */
static int
half_fn(struct sqc *c, void *arg)
{
	struct op op = mu_create(META_ROOT, "g", F + 1), twice;
	uint64_t seq = 0;

	ck_assert_int_eq(journal(M, c, &op, 0, NULL, 0, &seq), 0);
	ck_assert_uint_eq(seq, 2);
	twice = mu_create(META_ROOT, "g", F + 2);
	ck_assert_int_eq(journal(M, c, &twice, 0, NULL, 0, &seq), -EEXIST);
	ck_assert_uint_eq(seq, 2);
	twice = mu_create(META_ROOT, "h", F + 2);
	ck_assert_int_eq(journal(M, c, &twice, 0, NULL, 0, &seq), 0);
	ck_assert_uint_eq(seq, 3);
	return (0);
}

START_TEST(test_together)
{
	ck_assert_int_eq(sq_write(meta_sq(M), half_fn, NULL), 0);
	ck_assert_uint_eq(stat_get().last_seq, 3);
}
END_TEST

struct many { int left, group; uint64_t dir; };

static int
many_fn(struct sqc *c, void *arg)
{
	struct many *m = arg;
	char name[24];
	uint64_t seq;
	int err = 0;

	for (int i = 0; err == 0 && i < m->group; i++) {
		struct op op;

		snprintf(name, sizeof(name), "file%d", --m->left);
		op = mu_create(m->dir, name, meta_new_id(M));
		err = journal(M, c, &op, NEEDS_NOTHING, NULL, 0, &seq);
	}
	return (err);
}

/* Not a verdict: creates a second, so that one can see what a change costs. */
START_TEST(test_speed)
{
	static const int groups[] = { 1, 8, 64 };

	for (int i = 0; i < 3; i++) {
		struct many m = { 6400, groups[i], meta_new_id(M) };
		struct op op;
		int64_t t;
		char name[16];

		snprintf(name, sizeof(name), "dir%d", i);
		op = mu_mkdir(META_ROOT, name, m.dir);
		ck_assert_int_eq(mu_journal(M, &op), 0);
		t = clock_mono();
		while (m.left > 0)
			ck_assert_int_eq(sq_write(meta_sq(M), many_fn, &m), 0);
		t = clock_mono() - t;
		printf("%d creates in a commit: %lld/s\n", groups[i],
		    6400 * NSEC_PER_SEC / (long long)t);
	}
	fflush(stdout);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_journal");
	TCase *t = tcase_create("journal");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_small);
	tcase_add_test(t, test_uploads);
	tcase_add_test(t, test_stat);
	tcase_add_test(t, test_together);
	tcase_add_test(t, test_speed);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

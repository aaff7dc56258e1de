/*
 * Batches: what is journalled, frozen and landed on one database gives, op by
 * op replayed, the same rows on another (M2), and the log prefix of the first
 * is always the second (M4).
 */
#include "meta_random.h"

static void
run_seed(unsigned seed, unsigned steps)
{
	bool frozen = false;
	int rc;

	rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	now = 1000;
	lsn = 0;
	for (unsigned i = 0; i < steps; i++) {
		unsigned what = rnd(40);

		if (what < 30)
			do_one();
		else if (what < 33)
			upload_one();
		else if (what < 36) {
			rc = batch_freeze(A, 1);
			ck_assert_int_ge(rc, 0);
			frozen = rc == 1;
			mu_same("prefix after freeze", seed, mu_dump(A, true),
			    mu_dump(B, false));
			packs_check();
		} else if (what < 39 && frozen) {
			mu_land(A, B, ++lsn);
			frozen = false;
			mu_same("prefix after landing", seed,
			    mu_dump(A, true), mu_dump(B, false));
		} else if (what == 39 && rnd(3) == 0) {
			restart();
			frozen = false;
		}
	}
	mu_same("prefix at the end", seed, mu_dump(A, true),
	    mu_dump(B, false));
	totals_check(seed);
	/* to the end: everything uploaded and landed */
	for (;;) {
		while (mu_int(A, "SELECT count(*) FROM op WHERE needs = 2") &&
		    rnd(3))
			upload_one();
		if (batch_freeze(A, 1) == 1)
			mu_land(A, B, ++lsn);
		else if (!mu_int(A, "SELECT count(*) FROM op"))
			break;
	}
	mu_same("live at the end", seed, mu_dump(A, false), mu_dump(B, false));
	mu_same("prefix and live", seed, mu_dump(A, true), mu_dump(A, false));
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM undo"), 0);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM unstored"), 0);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM frozen_pack"), 0);
	totals_check(seed);
}

START_TEST(test_random)
{
	const char *env = getenv("META_SEED");
	unsigned seed = env ? (unsigned)atoi(env) : (unsigned)_i + 1;

	run_seed(seed, 150);
}
END_TEST

/* --- one thing at a time --- */

enum { F = 500 };

static uint64_t
small(uint64_t ino, const void *bytes, size_t n)
{
	struct op op = { .kind = OP_EXTENTS, .ino = ino, .size = n,
	    .mtime = 5, .ctime = 5 };
	uint64_t seq;

	ck_assert_int_eq(mu_journal_bytes(A, &op, NEEDS_PACK, bytes, n,
	    &seq), 0);
	return (seq);
}

static uint64_t
large(uint64_t ino)
{
	struct op op = { .kind = OP_EXTENTS, .ino = ino, .size = 100000,
	    .mtime = 5, .ctime = 5 };
	uint64_t seq;

	ck_assert_int_eq(mu_journal_bytes(A, &op, NEEDS_UPLOAD, NULL, 0,
	    &seq), 0);
	return (seq);
}

static void
create(const char *name, uint64_t ino)
{
	struct op op = mu_create(META_ROOT, name, ino);

	ck_assert_int_eq(mu_journal(A, &op), 0);
}

static uint64_t
frozen_ops(void)
{
	struct batch b;
	uint64_t n;

	ck_assert_int_eq(mu_batch_get(A, &b), 0);
	n = b.nops;
	batch_done(&b);
	return (n);
}

static int
done_fn(struct sqc *c, void *arg)
{
	struct op_extent e = { 0, 100000, 9, 0, -1 };
	struct op_object o = { .id = 9, .size = 100000, .kind = OBJ_WHOLE,
	    .store = 1 };

	return (journal_uploaded(c, *(uint64_t *)arg, EXT_WHOLE, &e, 1,
	    &o, 1));
}

/* L2, L3: the prefix ends before what waits, and order is kept. */
START_TEST(test_prefix)
{
	uint64_t seq;

	ck_assert_int_eq(batch_freeze(A, 1), 0);
	create("a", F);
	seq = large(F);
	create("b", F + 1);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_uint_eq(frozen_ops(), 1);
	ck_assert_int_eq(batch_freeze(A, 1), 1);	/* the same one */
	mu_land(A, B, 1);
	ck_assert_int_eq(batch_freeze(A, 1), 0);
	ck_assert_uint_eq(mu_lookup(B, META_ROOT, "b").ino, 0);
	ck_assert_int_eq(sq_write(meta_sq(A), done_fn, &seq), 0);
	ck_assert_int_eq(sq_write(meta_sq(A), done_fn, &seq), -ENOENT);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_uint_eq(frozen_ops(), 2);
	mu_land(A, B, 2);
	ck_assert_uint_eq(mu_lookup(B, META_ROOT, "a").size, 100000);
	ck_assert_int_eq(mu_int(B, "SELECT hwm FROM session"), 3);
}
END_TEST

/* B7: bytes of a file that is gone are in no pack, and wait for nothing. */
START_TEST(test_gone)
{
	struct op op;

	create("a", F);
	small(F, "secret", 6);
	create("b", F + 1);
	large(F + 1);
	op = mu_unlink(META_ROOT, "a", F, 9);
	ck_assert_int_eq(mu_journal(A, &op), 0);
	op = mu_unlink(META_ROOT, "b", F + 1, 9);
	ck_assert_int_eq(mu_journal(A, &op), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_uint_eq(frozen_ops(), 6);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM frozen_pack"), 0);
	mu_land(A, B, 1);
	mu_same("gone", 0, mu_dump(A, false), mu_dump(B, false));
	ck_assert_int_eq(mu_int(B, "SELECT (SELECT count(*) FROM extent) + "
	    "(SELECT count(*) FROM object)"), 0);
}
END_TEST

/* A copy is known when the op is frozen, is undone for the prefix until it has
 * landed, and is of an object that is there, of that size (B3). */
START_TEST(test_locate)
{
	struct op_object o[] = { { .id = 700, .size = 100000,
	    .kind = OBJ_WHOLE, .store = 2, .version = "v2" },
	    { .id = 700, .size = 99999, .kind = OBJ_WHOLE, .store = 3 },
	    { .id = 12345, .size = 1, .store = 2 } };
	struct op op = { .kind = OP_LOCATE, .objects = o, .nobjects = 3 };
	uint64_t seq;

	create("a", F);
	seq = large(F);
	ck_assert_int_eq(sq_write(meta_sq(A), done_fn, &seq), 0);
	o[0].id = o[1].id = 9;
	ck_assert_int_eq(mu_journal(A, &op), 0);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM location"), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM location"), 2);
	mu_same("unlanded", 0, mu_dump(A, true), mu_dump(B, false));
	mu_land(A, B, 1);
	mu_same("landed", 0, mu_dump(A, false), mu_dump(B, false));
	ck_assert_int_eq(mu_int(B, "SELECT count(*) FROM location "
	    "WHERE store = 2 AND CAST(version AS TEXT) = 'v2'"), 1);
	op.nobjects = 0;
	ck_assert_int_eq(mu_journal(A, &op), -EINVAL);
}
END_TEST

/* M3: what a later op replaces is not sent. */
START_TEST(test_replaced)
{
	struct buf b = BUF_INIT;
	struct sqc *c;

	create("a", F);
	large(F);
	small(F, "old", 3);
	small(F, "newer", 5);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_uint_eq(frozen_ops(), 4);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) * 100 + sum(len) "
	    "FROM frozen_pack"), 105);
	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(batch_pack_bytes(c, mu_int(A,
	    "SELECT object FROM frozen_pack"), &b), 0);
	ck_assert_int_eq(batch_pack_bytes(c, 12345, &b), -ENOENT);
	sq_read_end(c);
	ck_assert_uint_eq(b.len, 5);
	ck_assert_mem_eq(b.p, "newer", 5);
	buf_done(&b);
	mu_land(A, B, 1);
	ck_assert_uint_eq(mu_lookup(B, META_ROOT, "a").size, 5);
	ck_assert_int_eq(mu_int(B, "SELECT crc FROM extent"),
	    crc32c(0, "newer", 5));
}
END_TEST

struct told { uint64_t ino[4]; char bytes[4][8]; int n; uint64_t stored; };

static int
told_clean(void *arg, struct sqc *c, uint64_t ino, const void *p, size_t n)
{
	struct told *t = arg;

	ck_assert_int_lt(t->n, 4);
	ck_assert_uint_lt(n, 8);
	t->ino[t->n] = ino;
	memcpy(t->bytes[t->n++], p, n);
	return (0);
}

static int
told_stored(void *arg, struct sqc *c, uint64_t ino, uint64_t seq)
{
	((struct told *)arg)->stored += ino * 1000 + seq;
	return (0);
}

/* B6: bytes become clean when their record landed, if they are the newest. */
START_TEST(test_clean)
{
	struct told t = { .n = 0 };
	struct mu_land l = { A, { .lsn = 1 }, { told_clean, told_stored,
	    &t } };
	struct op op;
	uint64_t seq;

	create("a", F);
	small(F, "aa", 2);
	create("b", F + 1);
	small(F + 1, "bb", 2);
	create("c", F + 2);
	small(F + 2, "cc", 2);
	create("d", F + 3);
	seq = large(F + 3);
	ck_assert_int_eq(sq_write(meta_sq(A), done_fn, &seq), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	/* meanwhile b is written again and c removed */
	small(F + 1, "bbb", 3);
	op = mu_unlink(META_ROOT, "c", F + 2, 9);
	ck_assert_int_eq(mu_journal(A, &op), 0);
	ck_assert_int_eq(sq_write(meta_sq(A), mu_land_fn, &l), 0);
	ck_assert_int_eq(t.n, 1);
	ck_assert_uint_eq(t.ino[0], F);
	ck_assert_str_eq(t.bytes[0], "aa");
	ck_assert_uint_eq(t.stored, (F + 3) * 1000 + seq);
	ck_assert_int_eq(mu_int(A, "SELECT unstored FROM counts"), 3);
	ck_assert_int_eq(sq_write(meta_sq(A), mu_land_fn, &l), -ENOENT);
}
END_TEST

/* Packs of at most 16 MiB, by parent and name. */
START_TEST(test_packs)
{
	static uint8_t bytes[META_SMALL_MAX];
	char name[16];

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%03d", 299 - i);
		create(name, F + i);
		memset(bytes, i, sizeof(bytes));
		small(F + i, bytes, sizeof(bytes));
	}
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_int_eq(mu_int(A, "SELECT count(DISTINCT object) "
	    "FROM frozen_pack"), 2);
	ck_assert_int_eq(mu_int(A, "SELECT ino FROM frozen_pack "
	    "ORDER BY object, off LIMIT 1"), F + 299);
	packs_check();
	mu_land(A, B, 1);
	mu_same("packs", 0, mu_dump(A, false), mu_dump(B, false));
	ck_assert_int_eq(mu_int(B, "SELECT sum(size) FROM object"),
	    300 * META_SMALL_MAX);
}
END_TEST

static int
many_fn(struct sqc *c, void *arg)
{
	struct op op = { .kind = OP_SETATTR, .ino = META_ROOT, .mask = 0 };
	uint64_t seq;

	for (int i = 0; i < BATCH_MAX_OPS + 10; i++) {
		int err;

		op.ctime = i;
		if ((err = journal(A, c, &op, NEEDS_NOTHING, NULL, 0,
		    &seq)) != 0)
			return (err);
	}
	return (0);
}

/* The op that frees the first one may be beyond a batch: no standstill. */
START_TEST(test_stuck)
{
	create("a", F);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	mu_land(A, B, 1);
	large(F);
	ck_assert_int_eq(sq_write(meta_sq(A), many_fn, NULL), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 0);
	small(F, "later", 5);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_uint_eq(frozen_ops(), BATCH_MAX_OPS);
	mu_land(A, B, 2);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_uint_eq(frozen_ops(), 12);
	mu_land(A, B, 3);
	mu_same("stuck", 0, mu_dump(A, false), mu_dump(B, false));
	ck_assert_uint_eq(mu_lookup(B, META_ROOT, "a").size, 5);
}
END_TEST

/* --- longer than a batch --- */

/* Numbers as long as they get: this many are longer than a batch. */
enum { PLACES = 90000 };
#define STEP	(UINT64_C(1) << 40)

/* Each other STEP of a file, in one object. */
static int
places_fn(struct sqc *c, void *arg)
{
	struct op_extent *e = calloc(PLACES, sizeof(*e));
	struct op_object o = { .id = ((uint64_t)META_SESSION_MAX <<
	    META_ID_SHIFT) + 9, .size = PLACES * STEP, .kind = OBJ_PATCH,
	    .store = 1 };
	int err;

	for (unsigned i = 0; i < PLACES; i++)
		e[i] = (struct op_extent){ STEP * i * 2, STEP, o.id,
		    STEP * i, UINT32_MAX };
	err = journal_uploaded(c, *(uint64_t *)arg, 0, e, PLACES, &o, 1);
	free(e);
	return (err);
}

static uint64_t
journal_places(void)
{
	struct op op = { .kind = OP_EXTENTS, .ino = F, .mtime = 5,
	    .ctime = 5, .size = STEP * PLACES * 2 };
	uint64_t seq;

	ck_assert_int_eq(mu_journal_bytes(A, &op, NEEDS_UPLOAD, NULL, 0,
	    &seq), 0);
	ck_assert_int_eq(sq_write(meta_sq(A), places_fn, &seq), 0);
	return (seq);
}

/* Freezes and lands what there is: how often; *rettold: told_stored's. */
static unsigned
land_all(const struct freeze_down *down, uint64_t *rettold)
{
	struct told t = { .n = 0 };
	struct batch b;
	unsigned n;

	for (n = 0; batch_freeze_held(A, 1, INT64_MAX, down) == 1; n++) {
		struct mu_land l = { A, { .lsn = ++lsn }, { told_clean,
		    told_stored, &t } };

		/* its bytes are clean when all of them are there (B6) */
		ck_assert_uint_eq(t.stored, 0);
		ck_assert_int_eq(mu_batch_get(A, &b), 0);
		ck_assert_uint_le(b.body.len, BATCH_MAX_BYTES);
		if (n == 0) {	/* a part is frozen, then it has landed */
			batch_done(&b);
			restart();
			mu_same("prefix after a part", 0, mu_dump(A, true),
			    mu_dump(B, false));
			continue;
		}
		ck_assert_int_eq(sq_write(meta_sq(B), mu_replay_fn, &b), 0);
		batch_done(&b);
		ck_assert_int_eq(sq_write(meta_sq(A), mu_land_fn, &l), 0);
	}
	*rettold = t.stored;
	return (n);
}

/* A file that was written at very many places lands, in parts, each no longer
 * than a batch; what comes after it comes after all of them, also while a
 * store is down. */
START_TEST(test_cut)
{
	struct freeze_down down = { .n = 1, .stores = { 77 } };
	struct op op = mu_unlink(META_ROOT, "a", F, 9);
	struct journal_stat st;
	uint64_t seq, told;
	struct sqc *c;
	unsigned n;

	lsn = 0;
	create("a", F);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	mu_land(A, B, ++lsn);
	seq = journal_places();
	n = land_all(_i ? &down : NULL, &told);
	ck_assert_uint_gt(n, 1);
	ck_assert_uint_eq(told, F * 1000 + seq);
	ck_assert_int_eq(mu_int(B, "SELECT count(*) FROM extent"), PLACES);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM undo"), 0);
	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(journal_stat(c, &st), 0);
	sq_read_end(c);
	ck_assert_uint_eq(st.ops, 0);
	/* gone before the rest was frozen */
	seq = journal_places();
	ck_assert_int_eq(mu_journal(A, &op), 0);
	create("b", F + 1);
	(void)land_all(_i ? &down : NULL, &told);
	ck_assert_uint_eq(told, F * 1000 + seq);
	ck_assert_int_eq(mu_int(B, "SELECT count(*) FROM extent"), 0);
	mu_same("live at the end", 0, mu_dump(A, false), mu_dump(B, false));
}
END_TEST

static int
fail_fn(struct sqc *c, void *arg)
{
	int err = mu_journal_fn(c, arg);

	return (err ? err : -ECANCELED);
}

/* M5: no gap after a rollback, a restart, an empty journal. */
START_TEST(test_seq)
{
	struct op op = mu_create(META_ROOT, "a", F);
	struct mu_op o = { A, &op, NEEDS_NOTHING, NULL, 0, 0 };
	uint64_t seq;

	ck_assert_int_eq(sq_write(meta_sq(A), fail_fn, &o), -ECANCELED);
	ck_assert_uint_eq(o.seq, 1);
	ck_assert_int_eq(mu_journal_bytes(A, &op, 0, NULL, 0, &seq), 0);
	ck_assert_uint_eq(seq, 1);
	ck_assert_int_eq(mu_journal(A, &op), -EEXIST);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	mu_land(A, B, 1);
	restart();
	op = mu_create(META_ROOT, "b", F + 1);
	ck_assert_int_eq(mu_journal_bytes(A, &op, 0, NULL, 0, &seq), 0);
	ck_assert_uint_eq(seq, 2);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	mu_land(A, B, 2);
}
END_TEST

/* A fenced session freezes nothing (L13); one that is not open yet waits. */
START_TEST(test_fenced)
{
	struct op fence = { .kind = OP_SESSION_FENCE, .session = 1 };
	struct meta_session s;

	create("a", F);
	ck_assert_int_eq(mu_apply(A, &fence), 0);
	ck_assert_int_eq(batch_freeze(A, 1), -ESTALE);
	ck_assert_int_eq(meta_session_take(A, &s), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 0);
}
END_TEST

/* Which batches replay takes (L1). */
START_TEST(test_admissible)
{
	struct batch b;
	uint64_t nonce;

	create("a", F);
	create("b", F + 1);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_int_eq(mu_batch_get(A, &b), 0);
	nonce = b.nonce;
	b.nonce ^= 1;
	ck_assert_int_eq(sq_write(meta_sq(B), mu_replay_fn, &b), -ESTALE);
	b.nonce = nonce;
	b.first++;
	b.last++;
	ck_assert_int_eq(sq_write(meta_sq(B), mu_replay_fn, &b), -ESTALE);
	b.first--;
	ck_assert_int_eq(sq_write(meta_sq(B), mu_replay_fn, &b), -ESTALE);
	b.last--;
	b.session++;
	ck_assert_int_eq(sq_write(meta_sq(B), mu_replay_fn, &b), -ESTALE);
	b.session--;
	ck_assert_int_eq(sq_write(meta_sq(B), mu_replay_fn, &b), 0);
	batch_done(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_batch");
	TCase *t = tcase_create("batch");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_prefix);
	tcase_add_test(t, test_gone);
	tcase_add_test(t, test_locate);
	tcase_add_test(t, test_replaced);
	tcase_add_test(t, test_clean);
	tcase_add_test(t, test_packs);
	tcase_add_test(t, test_stuck);
	tcase_add_loop_test(t, test_cut, 0, 2);
	tcase_add_test(t, test_seq);
	tcase_add_test(t, test_fenced);
	tcase_add_test(t, test_admissible);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	t = tcase_create("random");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_random, 0, 200);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

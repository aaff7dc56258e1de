/*
 * Batches: what is journalled, frozen and landed on one database gives, op by
 * op replayed, the same rows on another (M2), and the log prefix of the first
 * is always the second (M4).
 */
#include "meta_util.h"

static struct meta *A, *B;

static void
setup(void)
{
	mu_setup();
	B = mu_open("b");
	A = mu_open_writer("a", B);
}

static void
teardown(void)
{
	meta_close(A);
	meta_close(B);
	mu_teardown();
}

/* --- random differential runs --- */

static uint64_t rng;

static uint32_t
rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return ((uint32_t)(rng >> 20) % n);
}

static int64_t now;
static uint64_t lsn;

static const char *
rnd_name(void)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };

	return (names[rnd(5)]);
}

struct pick { unsigned left; struct attr a; uint64_t parent; char name[256]; };

static int
pick_each(void *arg, uint64_t parent, const char *name, const struct attr *a)
{
	struct pick *p = arg;

	p->a = *a;
	p->parent = parent;
	snprintf(p->name, sizeof(p->name), "%s", name);
	return (p->left-- == 0);
}

/* Some inode of the live tree with a name of it. */
static struct pick
pick_any(void)
{
	struct meta_totals t;
	struct pick p = { 0 };
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(meta_totals(c, &t), 0);
	p.left = rnd(t.files + t.dirs + 2);
	ck_assert_int_eq(meta_walk(c, META_ROOT, pick_each, &p), 0);
	sq_read_end(c);
	return (p);
}

static uint64_t
pick_dir(void)
{
	struct pick p = pick_any();

	return (S_ISDIR(p.a.mode) ? p.a.ino : rnd(2) ? p.parent : META_ROOT);
}

static int
do_extents(uint64_t ino)
{
	static uint8_t bytes[META_SMALL_MAX];
	struct op op = { .kind = OP_EXTENTS, .ino = ino, .mtime = now,
	    .ctime = now };

	switch (rnd(3)) {
	case 0:
		op.size = rnd(8) ? rnd(300) : rnd(2) * META_SMALL_MAX;
		memset(bytes, (int)ino + rnd(9), sizeof(bytes));
		return (mu_journal_bytes(A, &op, NEEDS_PACK, bytes, op.size,
		    NULL));
	case 1:
		op.size = 1000 + rnd(1000);
		return (mu_journal_bytes(A, &op, NEEDS_UPLOAD, NULL, 0, NULL));
	default:
		op.kind = OP_TRUNCATE;
		op.size = rnd(3) ? rnd(1500) : 0;
		return (mu_journal(A, &op));
	}
}

static int
do_rename(struct pick *p)
{
	uint64_t parent2 = pick_dir();
	const char *name2 = rnd_name();
	struct attr to = mu_lookup(A, parent2, name2);
	struct op op = { .kind = OP_RENAME, .parent = p->parent,
	    .name = p->name, .ino = p->a.ino, .parent2 = parent2,
	    .name2 = name2, .ino2 = to.ino, .ctime = now,
	    .flags = rnd(4) ? 0 : rnd(3) };

	return (mu_journal(A, &op));
}

static int
do_label(struct pick *p)
{
	struct op op = { .kind = rnd(2) ? OP_SETXATTR : OP_TAG,
	    .ino = p->a.ino, .name = rnd_name(), .value = "value",
	    .nvalue = rnd(6), .ctime = now };

	if (rnd(4) == 0) {
		if (op.kind == OP_TAG)
			op.flags = 1;
		else
			op.kind = OP_REMOVEXATTR;
	}
	return (mu_journal(A, &op));
}

static int
do_one(void)
{
	struct pick p = pick_any();
	struct op op = { .parent = pick_dir(), .name = rnd_name(),
	    .mtime = now, .ctime = now, .mode = 0644, .value = "target",
	    .nvalue = 6 };

	now += (int64_t)rnd(5) - 1;
	switch (rnd(14)) {
	case 0: case 1: case 2:
		op.kind = OP_CREATE;
		op.mode |= S_IFREG;
		op.ino = meta_new_id(A);
		return (mu_journal(A, &op));
	case 3:
		op.kind = rnd(3) ? OP_MKDIR : OP_SYMLINK;
		op.ino = meta_new_id(A);
		return (mu_journal(A, &op));
	case 4:
		op.kind = OP_LINK;
		op.ino = p.a.ino;
		return (mu_journal(A, &op));
	case 5: case 6:
		op.kind = S_ISDIR(p.a.mode) ? OP_RMDIR : OP_UNLINK;
		op.parent = p.parent;
		op.name = p.name;
		op.ino = p.a.ino;
		return (mu_journal(A, &op));
	case 7: case 8:
		return (do_rename(&p));
	case 9:
		op.kind = OP_SETATTR;
		op.ino = p.a.ino;
		op.mask = rnd(32);
		op.mode = rnd(07777);
		op.uid = rnd(3);
		op.atime = rnd(5000);
		op.mtime = rnd(5000);
		return (mu_journal(A, &op));
	case 10:
		return (do_label(&p));
	case 11:
		op.kind = rnd(2) ? OP_STORE : OP_PIN;
		op.ino = 1 + rnd(3);
		op.flags = op.kind == OP_PIN ? rnd(2) : 0;
		op.size = op.kind == OP_STORE ? rnd(2) : 7;
		return (mu_journal(A, &op));
	default:
		return (do_extents(p.a.ino));
	}
}

struct upload { uint64_t seq; unsigned left; };

static int
upload_pick(void *arg, uint64_t seq, uint64_t ino, int64_t time)
{
	struct upload *u = arg;

	u->seq = seq;
	return (u->left-- == 0);
}

static int
upload_fn(struct sqc *c, void *arg)
{
	struct upload *u = arg;
	struct op_extent e[3];
	struct op_object o = { .id = meta_new_id(A), .size = 9000,
	    .kind = OBJ_WHOLE, .store = 1, .version = "v" };
	unsigned n = rnd(4);
	uint64_t off = rnd(500);

	for (unsigned i = 0; i < n; i++) {
		e[i] = (struct op_extent){ off, 1 + rnd(700), o.id, off,
		    rnd(2) ? -1 : 7 };
		off += e[i].len + rnd(2) * rnd(200);
	}
	return (journal_uploaded(c, u->seq, rnd(2) * EXT_WHOLE, e, n, &o, 1));
}

static void
upload_one(void)
{
	struct upload u = { 0, rnd(4) };
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(journal_waiting(c, 0, upload_pick, &u), 0);
	sq_read_end(c);
	if (u.seq != 0)
		ck_assert_int_eq(sq_write(meta_sq(A), upload_fn, &u), 0);
}

/* The bytes of every pack are what its extents' checksums say. */
static int
pack_check(void *arg, uint64_t object, uint64_t size)
{
	struct buf b = BUF_INIT;

	ck_assert_int_eq(batch_pack_bytes(arg, object, &b), 0);
	ck_assert_uint_eq(b.len, size);
	ck_assert_uint_le(size, PACK_MAX_BYTES);
	buf_done(&b);
	return (0);
}

static void
packs_check(void)
{
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(batch_packs(c, pack_check, c), 0);
	sq_read_end(c);
}

/* The daemon dies and comes back: a new session, which fences the last one.
 * What was frozen is resolved first (L2). */
static void
restart(void)
{
	struct meta_session old, s;
	struct journal_stat st;
	struct batch b;
	struct sqc *c;
	struct op op;

	meta_session_get(A, &old);
	meta_close(A);
	A = mu_open("a");
	if (mu_batch_get(A, &b) == 0) {
		batch_done(&b);
		mu_land(A, B, ++lsn);
	}
	ck_assert_int_eq(meta_session_take(A, &s), 0);
	ck_assert_uint_gt(s.number, old.number);
	ck_assert_int_eq(memcmp(s.state_id, old.state_id, 16), 0);
	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(journal_stat(c, &st), 0);
	sq_read_end(c);
	if (st.first_seq == 0)
		st.first_seq = mu_int(A, "SELECT landed + 1 FROM counts");
	op = mu_open_op(&s, old.nonce, st.first_seq);
	ck_assert_int_eq(mu_apply(A, &op), 0);
	ck_assert_int_eq(mu_apply(B, &op), 0);
	/* another open is refused while this one is (L1) */
	op.session = 60;
	op.prev_nonce = 0;
	ck_assert_int_eq(mu_apply(B, &op), -EBUSY);
}

static void
totals_check(unsigned seed)
{
	ck_assert_msg(mu_int(A, "SELECT files - (SELECT count(*) FROM inode "
	    "WHERE mode & 61440 <> 16384) + dirs * 1000000 - 1000000 * "
	    "(SELECT count(*) FROM inode WHERE mode & 61440 = 16384) + "
	    "bytes * 7 - 7 * (SELECT ifnull(sum(size), 0) FROM inode WHERE "
	    "mode & 61440 = 32768) FROM counts") == 0, "totals, seed %u",
	    seed);
	ck_assert_msg(mu_int(A, "SELECT unstored - (SELECT "
	    "ifnull(sum(length(bytes)), 0) FROM unstored) FROM counts") == 0,
	    "unstored, seed %u", seed);
}

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

int
main(void)
{
	Suite *s = suite_create("meta_batch");
	TCase *t = tcase_create("random");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_random, 0, 200);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

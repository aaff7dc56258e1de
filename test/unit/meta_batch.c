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

/* A copy of some object, or of one that is not known. */
static int
do_locate(void)
{
	struct op_object o = { .size = 9000, .kind = OBJ_WHOLE,
	    .store = 1 + rnd(3), .version = "copy" };
	struct op op = { .kind = OP_LOCATE, .objects = &o, .nobjects = 1 };

	o.id = (uint64_t)mu_int(A, rnd(2) ?
	    "SELECT ifnull(max(id), 77) FROM object WHERE size = 9000" :
	    "SELECT ifnull(min(id), 77) FROM object WHERE size = 9000");
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
	switch (rnd(15)) {
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
	case 12:
		return (do_locate());
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
	    .kind = OBJ_WHOLE, .store = 1, .version = "v",
	    .sums = "aaaabbbbcccc" };
	unsigned n = rnd(4);
	uint64_t off = rnd(500);

	for (unsigned i = 0; i < n; i++) {
		e[i] = (struct op_extent){ off, 1 + rnd(700), o.id, off,
		    rnd(2) ? -1 : 7 };
		off += e[i].len + rnd(2) * rnd(200);
	}
	o.nsums = rnd(2) * n;
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

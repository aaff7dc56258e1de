/*
 * Placements: which store decides, what an op refuses, and that small bytes
 * for another store than the home are packed before they are frozen (M1, M3,
 * M4), the same on another database (M2).
 */
#include "meta/whole.h"
#include "meta_util.h"

enum { DIR = 100, SUB, OTHER, F, G, H };

static struct meta *A, *B;

static int
named(struct meta *m, enum op_kind kind, uint64_t id, const char *name,
    bool remove)
{
	struct op op = { .kind = kind, .ino = id, .name = name,
	    .value = "file:///x", .nvalue = 9, .size = remove };

	return (mu_journal(m, &op));
}

static void
setup(void)
{
	struct op ops[] = { mu_mkdir(META_ROOT, "dir", DIR),
	    mu_mkdir(DIR, "sub", SUB), mu_mkdir(META_ROOT, "other", OTHER),
	    mu_create(SUB, "f", F), mu_create(OTHER, "g", G),
	    mu_create(DIR, "h", H) };

	mu_setup();
	B = mu_open("b");
	A = mu_open_writer("a", B);
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		ck_assert_int_eq(mu_journal(A, &ops[i]), 0);
	ck_assert_int_eq(named(A, OP_STORE, 1, "home", false), 0);
	ck_assert_int_eq(named(A, OP_STORE, 2, "lake", false), 0);
	ck_assert_int_eq(named(A, OP_STORE, 3, "pond", false), 0);
}

static void
teardown(void)
{
	meta_close(A);
	meta_close(B);
	mu_teardown();
}

/* The store of ino, and in hundreds who decided. */
static uint64_t
decides(uint64_t ino)
{
	struct place_memo memo = { 0 };
	struct place_row r;
	struct sqc *c;
	uint32_t store;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(place_of(c, ino, &r), 0);
	ck_assert_int_eq(place_store(c, &memo, ino, &store), 0);
	if (ino > OTHER)
		ck_assert_uint_eq(store, r.store);
	sq_read_end(c);
	return (r.dir * 10 + r.store);
}

static int
count_row(void *arg, const struct place_row *r)
{
	return (++*(int *)arg == 100);
}

static int
rows(void)
{
	struct sqc *c;
	int n = 0;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(place_rows(c, count_row, &n), 0);
	sq_read_end(c);
	return (n);
}

START_TEST(test_decides)
{
	struct op mv = { .kind = OP_RENAME, .parent = DIR, .name = "sub",
	    .ino = SUB, .parent2 = OTHER, .name2 = "sub", .ctime = 9 };
	struct op rmdir = { .kind = OP_RMDIR, .parent = META_ROOT,
	    .name = "dir", .ino = DIR, .ctime = 9 };
	struct op rm = mu_unlink(DIR, "h", H, 9);

	ck_assert_uint_eq(decides(F), 1);
	ck_assert_int_eq(mu_place(A, DIR, 2), 0);
	ck_assert_uint_eq(decides(F), DIR * 10 + 2);
	ck_assert_uint_eq(decides(SUB), DIR * 10 + 2);
	ck_assert_uint_eq(decides(G), 1);
	ck_assert_int_eq(mu_place(A, SUB, 1), 0);
	ck_assert_uint_eq(decides(F), SUB * 10 + 1);
	ck_assert_uint_eq(decides(H), DIR * 10 + 2);
	ck_assert_int_eq(mu_place(A, SUB, 0), 0);
	ck_assert_int_eq(mu_place(A, META_ROOT, 3), 0);
	ck_assert_uint_eq(decides(G), META_ROOT * 10 + 3);
	ck_assert_int_eq(rows(), 2);
	/* where it is now, not where it was made */
	ck_assert_int_eq(mu_journal(A, &mv), 0);
	ck_assert_uint_eq(decides(F), META_ROOT * 10 + 3);
	ck_assert_int_eq(mu_journal(A, &rm), 0);
	ck_assert_uint_eq(decides(H), 1);
	ck_assert_int_eq(mu_journal(A, &rmdir), 0);
	ck_assert_int_eq(rows(), 1);
}
END_TEST

START_TEST(test_refused)
{
	struct op bad = { .kind = OP_POLICY, .ino = DIR, .mask = POLICY_PLACE,
	    .value = "stare=2", .nvalue = 7 };

	ck_assert_int_eq(mu_place(A, F, 2), -ENOTDIR);
	ck_assert_int_eq(mu_place(A, DIR, 7), -ENOENT);
	ck_assert_int_eq(mu_place(A, 77, 2), -ENOENT);
	ck_assert_int_eq(mu_place(A, DIR, 0), -ENOENT);
	ck_assert_int_eq(mu_journal(A, &bad), -EINVAL);
	ck_assert_int_eq(mu_place(A, DIR, 2), 0);
	/* a store that a directory names */
	ck_assert_int_eq(named(A, OP_STORE, 2, "lake", true), -EBUSY);
	ck_assert_int_eq(named(A, OP_STORE, 3, "pond", true), 0);
	ck_assert_int_eq(mu_place(A, DIR, 0), 0);
	ck_assert_int_eq(named(A, OP_STORE, 2, "lake", true), 0);
}
END_TEST

/* --- what is fetched (meta/whole.h) --- */

static int
fetch(uint64_t dir, bool whole, bool remove)
{
	struct whole_row r = { dir, whole };
	struct buf body = BUF_INIT;
	struct op op;
	int err;

	ck_assert_int_eq(whole_row_op(&r, remove, &body, &op), 0);
	err = mu_journal(A, &op);
	buf_done(&body);
	return (err);
}

/* Who decides about ino, negative where only what is wanted is fetched. */
static int64_t
fetched(uint64_t ino)
{
	struct whole_row r;
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(whole_of(c, ino, &r), 0);
	sq_read_end(c);
	return (r.whole ? (int64_t)r.dir : -(int64_t)r.dir);
}

START_TEST(test_whole)
{
	struct op bad = { .kind = OP_POLICY, .ino = DIR | WHOLE_ID,
	    .mask = POLICY_WHOLE, .value = "fill=half", .nvalue = 9 };
	struct op row = bad;

	ck_assert_int_eq(fetched(F), 0);
	ck_assert_int_eq(fetch(DIR, true, false), 0);
	ck_assert_int_eq(fetched(F), DIR);
	ck_assert_int_eq(fetched(DIR), DIR);
	ck_assert_int_eq(fetched(G), 0);
	ck_assert_int_eq(fetch(SUB, false, false), 0);
	ck_assert_int_eq(fetched(F), -SUB);
	ck_assert_int_eq(fetched(H), DIR);
	/* one of each kind */
	ck_assert_int_eq(mu_place(A, SUB, 2), 0);
	ck_assert_uint_eq(decides(F), SUB * 10 + 2);
	ck_assert_int_eq(fetch(SUB, false, true), 0);
	ck_assert_int_eq(fetched(F), DIR);
	ck_assert_uint_eq(decides(F), SUB * 10 + 2);
	ck_assert_int_eq(fetch(SUB, false, true), -ENOENT);
	ck_assert_int_eq(fetch(F, true, false), -ENOTDIR);
	ck_assert_int_eq(fetch(77, true, false), -ENOENT);
	ck_assert_int_eq(mu_journal(A, &bad), -EINVAL);
	row.value = "fill=whole";
	row.nvalue = 10;
	row.ino = DIR;			/* would take the place of another */
	ck_assert_int_eq(mu_journal(A, &row), -EINVAL);
}
END_TEST

/* --- small bytes --- */

static uint64_t
small(uint64_t ino, const char *bytes)
{
	struct op op = { .kind = OP_EXTENTS, .ino = ino,
	    .size = strlen(bytes), .mtime = 5, .ctime = 5 };
	uint64_t seq;

	ck_assert_int_eq(mu_journal_bytes(A, &op, NEEDS_PACK, bytes, op.size,
	    &seq), 0);
	return (seq);
}

struct found { struct packable v[8]; unsigned n; };

static int
found_one(void *arg, const struct packable *p)
{
	struct found *f = arg;

	f->v[f->n++] = *p;
	return (f->n == 8);
}

static struct found
packable(void)
{
	struct found f = { .n = 0 };
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(journal_packable(c, found_one, &f), 0);
	sq_read_end(c);
	return (f);
}

/* As upload_pack does, all that waits into one pack of store 2. */
static int
pack_fn(struct sqc *c, void *arg)
{
	struct found *f = arg;
	struct op_object o = { .id = meta_new_id(A), .kind = OBJ_PACK,
	    .store = 2 };
	uint64_t at = 0;

	for (unsigned i = 0; i < f->n; i++)
		o.size += f->v[i].len;
	for (unsigned i = 0; i < f->n; i++) {
		struct op_extent e = { 0, f->v[i].len, o.id, at, f->v[i].crc };

		at += f->v[i].len;
		ck_assert_int_eq(journal_uploaded(c, f->v[i].seq, EXT_WHOLE,
		    &e, 1, &o, 1), 0);
	}
	return (0);
}

static int
count_pack(void *arg, uint64_t object, uint64_t size)
{
	++*(int *)arg;
	return (0);
}

static int
count_small(void *arg, uint64_t ino, uint64_t seq, uint64_t object,
    uint64_t ooff, const void *bytes, size_t n)
{
	++*(int *)arg;
	return (0);
}

/* Packs to be put in tens, small files in ones. */
static int
frozen_holds(void)
{
	struct sqc *c;
	int packs = 0, files = 0;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(batch_packs(c, count_pack, &packs), 0);
	ck_assert_int_eq(batch_small(c, count_small, &files), 0);
	sq_read_end(c);
	return (packs * 10 + files);
}

static int
no_stored(void *arg, struct sqc *c, uint64_t ino, uint64_t seq)
{
	ck_abort_msg("a small file is no large one");
	return (0);
}

static int
count_clean(void *arg, struct sqc *c, uint64_t ino, const void *p, size_t n)
{
	++*(int *)arg;
	return (0);
}

/* Freezes all that is ready and lands it; how many small files got clean. */
static int
land(int want_holds)
{
	static uint64_t lsn;
	struct mu_land l = { A, { .lsn = ++lsn } };
	struct batch b;
	int clean = 0;

	l.fns = (struct landed_fns){ count_clean, no_stored, &clean };
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	ck_assert_int_eq(frozen_holds(), want_holds);
	ck_assert_int_eq(mu_batch_get(A, &b), 0);
	ck_assert_int_eq(sq_write(meta_sq(B), mu_replay_fn, &b), 0);
	ck_assert_int_eq(sq_write(meta_sq(A), mu_land_fn, &l), 0);
	batch_done(&b);
	mu_same("prefix", 0, mu_dump(A, true), mu_dump(B, false));
	return (clean);
}

static void
ends_clean(void)
{
	mu_same("live", 0, mu_dump(A, false), mu_dump(B, false));
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM op"), 0);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM undo"), 0);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM unstored"), 0);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM frozen_pack"), 0);
	ck_assert_int_eq(mu_int(A, "SELECT unstored FROM counts"), 0);
}

struct puts { struct journal_put v[8]; unsigned n; uint32_t store; };

static int
note_put(void *arg, const struct journal_put *p)
{
	struct puts *l = arg;

	l->v[l->n++] = *p;
	return (0);
}

static int
again_fn(struct sqc *c, void *arg)
{
	struct puts *l = arg;
	int err = 0;

	l->n = 0;
	err = journal_put_in(c, l->store, note_put, l);
	for (unsigned i = 0; err == 0 && i < l->n; i++)
		err = journal_put_again(A, c, &l->v[i]);
	return (err);
}

struct large { uint64_t seq; uint32_t store; };

static int
large_fn(struct sqc *c, void *arg)
{
	const struct large *l = arg;
	struct op_object o = { .id = meta_new_id(A), .size = 100000,
	    .kind = OBJ_WHOLE, .store = l->store };
	struct op_extent e = { 0, 100000, o.id, 0, -1 };

	return (journal_uploaded(c, l->seq, EXT_WHOLE, &e, 1, &o, 1));
}

static uint64_t
large(uint64_t ino, uint32_t store)
{
	struct op op = { .kind = OP_EXTENTS, .ino = ino, .size = 100000,
	    .mtime = 5, .ctime = 5 };
	struct large l = { .store = store };

	ck_assert_int_eq(mu_journal_bytes(A, &op, NEEDS_UPLOAD, NULL, 0,
	    &l.seq), 0);
	if (store != 0)
		ck_assert_int_eq(sq_write(meta_sq(A), large_fn, &l), 0);
	return (l.seq);
}

/* What was put and is not frozen waits again: of the store that moves, and
 * what of the same file came after it. */
START_TEST(test_put_again)
{
	struct op_object o = { .id = 5, .size = 1, .store = 2 };
	struct op op = { .kind = OP_LOCATE, .objects = &o, .nobjects = 1 };
	struct puts l = { .store = 2 };
	struct large again;
	struct found f;
	uint64_t seq[3];

	ck_assert_int_eq(mu_place(A, DIR, 2), 0);
	seq[0] = small(F, "small");
	f = packable();
	ck_assert_int_eq(sq_write(meta_sq(A), pack_fn, &f), 0);
	seq[1] = large(H, 2);
	seq[2] = large(H, 3);
	large(G, 3);
	(void)journal_has_packable(A);
	ck_assert_int_eq(sq_write(meta_sq(A), again_fn, &l), 0);
	ck_assert_uint_eq(l.n, 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(l.v[i].seq, seq[i]);
		ck_assert_int_eq(l.v[i].small, i == 0);
	}
	ck_assert(journal_has_packable(A));
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM op WHERE needs = 2"),
	    2);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM op WHERE needs = 4"),
	    1);
	/* it is, and lands */
	f = packable();
	ck_assert_uint_eq(f.n, 1);
	ck_assert_int_eq(sq_write(meta_sq(A), pack_fn, &f), 0);
	again = (struct large){ seq[2], 2 };
	ck_assert_int_eq(sq_write(meta_sq(A), large_fn, &again), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 1);
	/* what is frozen is in rows, which are compared */
	ck_assert_int_eq(sq_write(meta_sq(A), again_fn, &l), 0);
	ck_assert_uint_eq(l.n, 0);
	mu_land(A, B, 100);
	mu_same("live", 0, mu_dump(A, false), mu_dump(B, false));
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM op"), 0);
	/* a copy that is recorded, and nobody can look at yet */
	ck_assert_int_eq(mu_journal(A, &op), 0);
	ck_assert_int_eq(sq_write(meta_sq(A), again_fn, &l), -EBUSY);
	l.store = 3;
	ck_assert_int_eq(sq_write(meta_sq(A), again_fn, &l), 0);
}
END_TEST

START_TEST(test_packed_before)
{
	struct waiting_store w[4];
	struct found f;
	struct sqc *c;
	unsigned n;

	ck_assert_int_eq(mu_place(A, DIR, 2), 0);
	ck_assert(!journal_has_packable(A));
	small(G, "for the home");
	ck_assert(!journal_has_packable(A));
	small(F, "first");
	small(F, "second");
	small(H, "third");
	ck_assert(journal_has_packable(A));
	ck_assert(!journal_has_packable(A));
	/* the newest of each, and nothing that goes to the home */
	f = packable();
	ck_assert_uint_eq(f.n, 2);
	ck_assert_uint_eq(f.v[0].ino, F);
	ck_assert_uint_eq(f.v[0].len, 6);
	ck_assert_uint_eq(f.v[1].ino, H);
	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(journal_waiting_stores(c, w, 4, &n), 0);
	sq_read_end(c);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(w[0].store, 2);
	ck_assert_uint_eq(w[0].files, 2);
	ck_assert_uint_eq(w[0].bytes, 11);
	/* what comes before them goes, and no more */
	ck_assert_int_eq(land(11), 1);
	ck_assert_int_eq(batch_freeze(A, 1), 0);
	ck_assert_int_eq(sq_write(meta_sq(A), pack_fn, &f), 0);
	ck_assert_uint_eq(packable().n, 0);
	/* a store with pending bytes in it is needed, whatever is placed */
	ck_assert_int_eq(mu_place(A, DIR, 0), 0);
	ck_assert_int_eq(named(A, OP_STORE, 2, "lake", true), -EBUSY);
	/* two small files become clean, of a pack that is there already */
	ck_assert_int_eq(land(2), 2);
	ck_assert_int_eq(named(A, OP_STORE, 2, "lake", true), -EBUSY);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM location "
	    "WHERE store = 2"), 1);
	ends_clean();
}
END_TEST

/* Removed, or replaced by nothing, before it was packed: void (B7, M3). */
START_TEST(test_void)
{
	struct op rm = mu_unlink(SUB, "f", F, 9);
	struct op empty = { .kind = OP_EXTENTS, .ino = H, .mtime = 6,
	    .ctime = 6 };

	ck_assert_int_eq(mu_place(A, DIR, 2), 0);
	small(F, "first");
	small(H, "third");
	ck_assert_int_eq(mu_journal(A, &rm), 0);
	ck_assert_uint_eq(packable().n, 1);
	ck_assert_int_eq(mu_journal_bytes(A, &empty, NEEDS_PACK, "", 0, NULL),
	    0);
	ck_assert_int_eq(land(0), 0);
	ends_clean();
}
END_TEST

/* A large file over the small one: a patch, which needs what is below it. */
START_TEST(test_grown)
{
	struct op op = { .kind = OP_EXTENTS, .ino = H, .size = 100000,
	    .mtime = 6, .ctime = 6 };
	struct found f;

	ck_assert_int_eq(mu_place(A, DIR, 2), 0);
	small(H, "third");
	ck_assert_int_eq(mu_journal_bytes(A, &op, NEEDS_UPLOAD, NULL, 0,
	    NULL), 0);
	f = packable();
	ck_assert_uint_eq(f.n, 1);
	ck_assert_int_eq(land(0), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 0);
	ck_assert_int_eq(sq_write(meta_sq(A), pack_fn, &f), 0);
	ck_assert_int_eq(land(1), 0);
	ck_assert_int_eq(batch_freeze(A, 1), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_place");
	TCase *t = tcase_create("place");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_decides);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_whole);
	tcase_add_test(t, test_packed_before);
	tcase_add_test(t, test_put_again);
	tcase_add_test(t, test_void);
	tcase_add_test(t, test_grown);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

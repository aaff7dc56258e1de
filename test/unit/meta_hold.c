/*
 * What is held while a store is down (L3, M6): random trees of operations with
 * stores that go and come at random: in between, after each batch and at the
 * end the log prefix is what a replay of the batches gives, where no op may
 * fail, and in the end that is the live tree.  And single things.
 */
#include "base/clock.h"
#include "meta_random.h"

#define STORES	3

/* Which stores are down; the home never is. */
static struct freeze_down down;

static bool
is_down(uint32_t store)
{
	for (unsigned i = 0; i < down.n; i++)
		if (down.stores[i] == store)
			return (true);
	return (false);
}

static void
set_down(unsigned mask)
{
	down.n = 0;
	for (uint32_t id = 2; id <= STORES; id++)
		if (mask >> id & 1)
			down.stores[down.n++] = id;
}

/* --- uploads --- */

struct waiting { uint64_t seq, ino, len; uint32_t crc; bool small; };
struct all { struct waiting v[64]; unsigned n; };

static int
add_large(void *arg, uint64_t seq, uint64_t ino, uint64_t first, int64_t time)
{
	struct all *a = arg;

	a->v[a->n++] = (struct waiting){ .seq = seq, .ino = ino };
	return (a->n == 64);
}

static int
add_small(void *arg, const struct packable *p)
{
	struct all *a = arg;

	if (a->n == 64)
		return (1);
	a->v[a->n++] = (struct waiting){ p->seq, p->ino, p->len, p->crc,
	    true };
	return (0);
}

struct done { const struct waiting *w; uint32_t store; };

static int
done_fn(struct sqc *c, void *arg)
{
	const struct done *d = arg;
	struct op_object o = { .id = meta_new_id(A), .store = d->store,
	    .kind = d->w->small ? OBJ_PACK : OBJ_WHOLE,
	    .size = d->w->small ? d->w->len : 9000 };
	struct op_extent e = { 0, d->w->small ? d->w->len : 1 + rnd(2000),
	    o.id, 0, d->w->small ? (int64_t)d->w->crc : -1 };

	return (journal_uploaded(c, d->w->seq, d->w->small || rnd(2) ?
	    EXT_WHOLE : 0, &e, 1, &o, 1));
}

/* Uploads what may be, of stores that are up, one in `of`.  True: some. */
static bool
upload_some(unsigned of)
{
	struct place_memo memo = { 0 };
	uint32_t stores[64];
	struct all a = { .n = 0 };
	bool some = false;
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(journal_to_upload(c, add_large, &a), 0);
	ck_assert_int_eq(journal_packable(c, add_small, &a), 0);
	for (unsigned i = 0; i < a.n; i++)
		ck_assert_int_eq(place_store(c, &memo, a.v[i].ino,
		    &stores[i]), 0);
	sq_read_end(c);
	for (unsigned i = 0; i < a.n; i++) {
		struct done d = { &a.v[i], stores[i] };

		if (is_down(stores[i]) || rnd(of) != 0)
			continue;
		ck_assert_int_eq(sq_write(meta_sq(A), done_fn, &d), 0);
		down.epoch++;
		some = true;
	}
	return (some);
}

/* --- freezing and landing --- */

static bool
freeze_until(uint64_t until)
{
	int rc = batch_freeze_held(A, 1, until, &down);

	ck_assert_int_ge(rc, 0);
	return (rc == 1);
}

static bool
freeze(void)
{
	return (freeze_until(INT64_MAX));
}

static void
same(const char *what, unsigned seed)
{
	mu_same(what, seed, mu_dump(A, true), mu_dump(B, false));
}

/* Freezes and lands until nothing goes. */
static unsigned
land_all(unsigned seed)
{
	unsigned n = 0;

	while (freeze()) {
		same("prefix after freeze", seed);
		mu_land(A, B, ++lsn);
		same("prefix after landing", seed);
		n++;
	}
	return (n);
}

/* What is held is found out anew, which may be put off for a share of the time
 * that it took: the same, when something went or a second has passed. */
static unsigned
land_anew(void)
{
	unsigned n = 0;

	down.epoch++;
	for (unsigned i = 0; n == 0 && i < 100; i++) {
		clock_sleep(10 * NSEC_PER_MSEC);
		n = land_all(0);
	}
	return (n);
}

static int64_t
pending(void)
{
	return (mu_int(A, "SELECT count(*) FROM op"));
}

/* What is left is what was held, and the count says so (M5). */
static void
held_check(unsigned seed)
{
	struct journal_stat st;
	uint64_t upto, n = batch_held(A, &upto);
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(journal_stat(c, &st), 0);
	sq_read_end(c);
	ck_assert_msg(st.ops == (uint64_t)pending(), "ops, seed %u", seed);
	ck_assert_msg(n == st.ops, "%ju held of %ju, seed %u", (uintmax_t)n,
	    (uintmax_t)st.ops, seed);
	if (st.ops > 0)
		ck_assert_uint_ge(upto, st.last_seq);
}

/* --- random runs --- */

static void
place_some(void)
{
	struct op store = { .kind = OP_STORE, .name = "s", .value = "file:///x",
	    .nvalue = 9 };

	store.ino = 1 + rnd(STORES);
	if (rnd(3) == 0)
		(void)mu_journal(A, &store);
	(void)mu_place(A, pick_dir(), rnd(STORES + 1));
}

static void
run_seed(unsigned seed, unsigned steps)
{
	bool frozen = false;

	rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 5;
	now = 1000;
	lsn = 0;
	set_down(0);
	for (unsigned i = 0; i < steps; i++) {
		unsigned what = rnd(48);

		if (i % 16 == 0)
			place_some();
		if (what < 32)
			(void)do_one();
		else if (what < 35)
			(void)upload_some(3);
		else if (what < 37)
			set_down(rnd(16));
		else if (what < 41) {
			frozen = freeze_until(rnd(3) ? INT64_MAX :
			    (uint64_t)mu_int(A, "SELECT ifnull(max(seq), 0) "
			    "FROM op") - rnd(2) * rnd(9));
			same("prefix after freeze", seed);
			packs_check();
		} else if (what < 46 && frozen) {
			mu_land(A, B, ++lsn);
			frozen = false;
			same("prefix after landing", seed);
		} else if (what == 46 && !frozen) {
			/* all that can go goes, and the rest is held */
			while (upload_some(1) || land_all(seed) > 0)
				;
			held_check(seed);
		} else if (what == 47 && rnd(3) == 0) {
			restart();
			frozen = false;
		}
	}
	if (frozen)
		mu_land(A, B, ++lsn);
	while (upload_some(1) || land_all(seed) > 0)
		;
	held_check(seed);
	totals_check(seed);
	/* they come back */
	set_down(0);
	while (upload_some(1) || land_all(seed) > 0)
		;
	ck_assert_msg(pending() == 0, "%jd are stuck, seed %u",
	    (intmax_t)pending(), seed);
	mu_same("live at the end", seed, mu_dump(A, false), mu_dump(B, false));
	mu_same("prefix and live", seed, mu_dump(A, true), mu_dump(A, false));
	ck_assert_int_eq(mu_int(A, "SELECT (SELECT count(*) FROM undo) + "
	    "(SELECT count(*) FROM unstored) + (SELECT count(*) FROM frozen) "
	    "+ (SELECT count(*) FROM frozen_run) + "
	    "(SELECT count(*) FROM frozen_pack)"), 0);
	totals_check(seed);
}

START_TEST(test_random)
{
	const char *env = getenv("META_SEED");		/* the first */

	run_seed((env ? (unsigned)atoi(env) : 1) + (unsigned)_i, 250);
}
END_TEST

/* --- one thing at a time --- */

enum { D = 500, E, SUB, F, G, H, K };

static void
tree(void)
{
	struct op ops[] = { mu_mkdir(META_ROOT, "d", D),
	    mu_mkdir(META_ROOT, "e", E), mu_mkdir(D, "sub", SUB),
	    mu_create(D, "f", F), mu_create(E, "g", G),
	    mu_create(SUB, "h", H) };
	struct op store = { .kind = OP_STORE, .ino = 2, .name = "lake",
	    .value = "file:///x", .nvalue = 9 };

	lsn = 0;
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		ck_assert_int_eq(mu_journal(A, &ops[i]), 0);
	ck_assert_int_eq(mu_journal(A, &store), 0);
	ck_assert_int_eq(mu_place(A, D, 2), 0);
	set_down(1 << 2);
	ck_assert_uint_eq(land_all(0), 1);
}

static void
bytes(uint64_t ino, enum needs needs, unsigned n)
{
	static const uint8_t zero[META_SMALL_MAX];
	struct op op = { .kind = OP_EXTENTS, .ino = ino, .size = n,
	    .mtime = 5, .ctime = 5 };

	ck_assert_int_eq(mu_journal_bytes(A, &op, needs,
	    needs == NEEDS_PACK ? zero : NULL, needs == NEEDS_PACK ? n : 0,
	    NULL), 0);
}

static void
create(uint64_t parent, const char *name, uint64_t ino)
{
	struct op op = mu_create(parent, name, ino);

	ck_assert_int_eq(mu_journal(A, &op), 0);
}

static void
rename_to(uint64_t parent, const char *name, uint64_t ino, uint64_t parent2,
    const char *name2)
{
	struct op op = { .kind = OP_RENAME, .parent = parent, .name = name,
	    .ino = ino, .parent2 = parent2, .name2 = name2, .ctime = 9 };

	ck_assert_int_eq(mu_journal(A, &op), 0);
}

static bool
other_has(uint64_t parent, const char *name)
{
	return (mu_lookup(B, parent, name).ino != 0);
}

static void
released(void)
{
	set_down(0);
	ck_assert(upload_some(1));
	ck_assert_uint_ge(land_all(0), 1);
	ck_assert_int_eq(pending(), 0);
	mu_same("live", 0, mu_dump(A, false), mu_dump(B, false));
}

/* Its own file and directory wait, and nothing else (L3). */
START_TEST(test_own)
{
	tree();
	bytes(F, NEEDS_UPLOAD, 100000);
	create(D, "after", K);			/* its directory */
	create(META_ROOT, "latest", K + 1);	/* one above: not */
	create(SUB, "below", K + 2);		/* one below: not */
	bytes(G, NEEDS_PACK, 10);
	bytes(H, NEEDS_PACK, 10);		/* of the same store */
	create(SUB, "held", K + 3);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(META_ROOT, "latest") && other_has(SUB, "below"));
	ck_assert_uint_eq(mu_lookup(B, E, "g").size, 10);
	ck_assert(!other_has(D, "after") && !other_has(SUB, "held"));
	ck_assert_uint_eq(mu_lookup(B, D, "f").size, 0);
	ck_assert_int_eq(pending(), 4);
	held_check(0);
	released();
	ck_assert(other_has(D, "after") && other_has(SUB, "held"));
}
END_TEST

/* Transitively: what shares an inode or a directory with what is held. */
START_TEST(test_transitive)
{
	struct op rm = mu_unlink(E, "g", G, 9);

	tree();
	ck_assert_int_eq(mu_place(A, E, 2), 0);
	ck_assert_uint_eq(land_all(0), 1);
	bytes(F, NEEDS_PACK, 10);
	rename_to(D, "f", F, E, "f");	/* E has a key of it from here on */
	ck_assert_int_eq(mu_journal(A, &rm), 0);
	create(META_ROOT, "free", K);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(META_ROOT, "free") && other_has(E, "g") &&
	    other_has(D, "f"));
	/* found out anew, it is the same */
	create(E, "late", K + 1);
	ck_assert_uint_eq(land_anew(), 0);
	ck_assert_int_eq(pending(), 4);
	held_check(0);
	released();
	ck_assert(other_has(E, "f") && other_has(E, "late"));
}
END_TEST

/* A directory that must not come to be below itself (L9): `d/sub` moves out of
 * d, held, and then d's sibling into it; on the other host, the second alone
 * would be a ring. */
START_TEST(test_shape)
{
	struct op mk = mu_mkdir(SUB, "x", K);
	struct op mk2 = mu_mkdir(K, "y", K + 1);
	struct op mk3 = mu_mkdir(E, "z", K + 2);

	tree();
	ck_assert_int_eq(mu_journal(A, &mk), 0);
	ck_assert_int_eq(mu_journal(A, &mk2), 0);
	ck_assert_int_eq(mu_journal(A, &mk3), 0);
	ck_assert_uint_eq(land_all(0), 1);
	bytes(H, NEEDS_UPLOAD, 100000);
	/* x, which is in SUB, goes to e/z: held with SUB */
	rename_to(SUB, "x", K, K + 2, "x");
	/* d goes below x/y: no inode of it was named */
	rename_to(META_ROOT, "d", D, K + 1, "d");
	create(META_ROOT, "free", K + 3);
	ck_assert_uint_eq(land_all(0), 0);
	ck_assert_int_eq(pending(), 4);
	released();
}
END_TEST

/* A store that a directory's policy names goes after the directory. */
START_TEST(test_policy_goes)
{
	struct op pond = { .kind = OP_STORE, .ino = 3, .name = "pond",
	    .value = "file:///y", .nvalue = 9 };
	struct op rm = mu_unlink(SUB, "h", H, 9);
	struct op rmdir = { .kind = OP_RMDIR, .parent = D, .name = "sub",
	    .ino = SUB, .ctime = 9 };

	tree();
	ck_assert_int_eq(mu_journal(A, &pond), 0);
	ck_assert_int_eq(mu_place(A, SUB, 3), 0);
	ck_assert_int_eq(mu_journal(A, &rm), 0);
	ck_assert_uint_eq(land_all(0), 1);
	bytes(F, NEEDS_UPLOAD, 100000);
	ck_assert_int_eq(mu_journal(A, &rmdir), 0);	/* held with D */
	pond.size = 1;
	ck_assert_int_eq(mu_journal(A, &pond), 0);
	create(META_ROOT, "free", K);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(META_ROOT, "free"));
	ck_assert_int_eq(pending(), 3);
	released();
}
END_TEST

/* Bytes that were replaced or removed before hold nothing (M3, B7). */
START_TEST(test_void)
{
	struct op rm = mu_unlink(D, "f", F, 9);

	tree();
	bytes(F, NEEDS_PACK, 10);
	create(D, "after", K);
	ck_assert_uint_eq(land_all(0), 0);
	ck_assert_int_eq(mu_journal(A, &rm), 0);
	/* the removal is held with what it frees; found out anew, both go */
	ck_assert_uint_eq(land_anew(), 1);
	ck_assert_int_eq(pending(), 0);
	bytes(H, NEEDS_UPLOAD, 100000);
	bytes(H, NEEDS_PACK, 0);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert_int_eq(pending(), 0);
	mu_same("live", 0, mu_dump(A, false), mu_dump(B, false));
}
END_TEST

/* A removal that is itself held keeps the bytes of its file waiting: the other
 * host never sees a file of nothing. */
START_TEST(test_gone_is_held)
{
	struct op rm = mu_unlink(D, "f", F, 9);

	tree();
	create(D, "k", K);
	ck_assert_uint_eq(land_all(0), 1);
	bytes(F, NEEDS_UPLOAD, 100000);
	bytes(K, NEEDS_UPLOAD, 100000);
	ck_assert_int_eq(mu_journal(A, &rm), 0);
	ck_assert_uint_eq(land_all(0), 0);
	ck_assert_uint_eq(mu_lookup(B, D, "f").size, 0);
	released();
	ck_assert(!other_has(D, "f"));
}
END_TEST

/* More than one window of held ops, again after a restart. */
START_TEST(test_many)
{
	char name[16];

	tree();
	bytes(F, NEEDS_UPLOAD, 100000);
	for (unsigned i = 0; i < BATCH_MAX_OPS + 100; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		create(D, name, 10000 + i);
	}
	create(E, "free", K);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(E, "free"));
	held_check(0);
	restart();
	create(E, "more", K + 1);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(E, "more"));
	held_check(0);
	create(E, "last", K + 2);
	ck_assert_uint_eq(land_all(0), 1);
	released();
}
END_TEST

/* What waits for a store that answers keeps all after it waiting, as ever. */
START_TEST(test_first_out)
{
	tree();
	bytes(F, NEEDS_UPLOAD, 100000);
	bytes(G, NEEDS_UPLOAD, 100000);
	create(META_ROOT, "later", K);
	ck_assert_uint_eq(land_all(0), 0);
	ck_assert(upload_some(1));
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(META_ROOT, "later"));
	ck_assert_int_eq(pending(), 1);
	released();
}
END_TEST

/* A frozen batch with gaps is what it was, whatever comes and goes (L2). */
START_TEST(test_frozen)
{
	struct batch b;

	tree();
	bytes(F, NEEDS_UPLOAD, 100000);
	create(E, "one", K);
	create(D, "held", K + 1);
	create(E, "two", K + 2);
	ck_assert(freeze());
	ck_assert_int_eq(mu_batch_get(A, &b), 0);
	ck_assert_uint_eq(b.nops, 2);
	ck_assert_uint_eq(b.last - b.first, 1);
	batch_done(&b);
	ck_assert_int_eq(mu_int(A, "SELECT count(*) FROM frozen_run"), 2);
	set_down(0);
	ck_assert(upload_some(1));
	ck_assert(freeze());
	same("prefix", 0);
	restart();		/* lands it */
	same("prefix", 0);
	ck_assert(other_has(E, "two") && !other_has(D, "held"));
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert_int_eq(pending(), 0);
}
END_TEST

static void
upload_to(uint64_t ino, uint32_t store)
{
	struct waiting w = { .ino = ino };
	struct done d = { &w, store };

	bytes(ino, NEEDS_UPLOAD, 9000);
	w.seq = (uint64_t)mu_int(A, "SELECT max(seq) FROM op");
	ck_assert_int_eq(sq_write(meta_sq(A), done_fn, &d), 0);
}

static void
locate(uint32_t store)
{
	struct op_object o = { .size = 9000, .kind = OBJ_WHOLE,
	    .store = store, .version = "copy" };
	struct op op = { .kind = OP_LOCATE, .objects = &o, .nobjects = 1 };

	o.id = (uint64_t)mu_int(A, "SELECT max(id) FROM object "
	    "WHERE size = 9000");
	ck_assert_int_eq(mu_journal(A, &op), 0);
}

/* A store that is made by an op that is held: what is stored there goes after
 * it, or its number may be another host's store by then. */
START_TEST(test_store_first)
{
	struct op mk = mu_mkdir(D, "x", K);
	struct op pond = { .kind = OP_STORE, .ino = 3, .name = "pond",
	    .value = "file:///y", .nvalue = 9 };

	tree();
	upload_to(G, 1);
	ck_assert_uint_eq(land_all(0), 1);
	bytes(F, NEEDS_UPLOAD, 100000);
	ck_assert_int_eq(mu_journal(A, &mk), 0);
	ck_assert_int_eq(mu_place(A, K, 2), 0);	/* SPACE is held */
	ck_assert_int_eq(mu_journal(A, &pond), 0);
	locate(3);
	locate(2);				/* that one is there */
	create(META_ROOT, "free", K + 1);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(META_ROOT, "free"));
	ck_assert_int_eq(mu_int(B, "SELECT count(*) FROM location "
	    "WHERE store = 2"), 1);
	ck_assert_int_eq(mu_int(B, "SELECT count(*) FROM location "
	    "WHERE store = 3"), 0);
	ck_assert_int_eq(pending(), 5);
	upload_to(G, 3);
	create(E, "after", K + 2);		/* L3 */
	create(META_ROOT, "free2", K + 3);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(META_ROOT, "free2") && !other_has(E, "after"));
	ck_assert_int_eq(mu_int(B, "SELECT count(*) FROM location "
	    "WHERE store = 3"), 0);
	ck_assert_int_eq(pending(), 7);
	held_check(0);
	released();
	ck_assert(other_has(E, "after"));
}
END_TEST

/* What is removed or written again further on than a window holds nothing
 * (M3), and none of it is in a pack (B7). */
START_TEST(test_far)
{
	enum { N = BATCH_MAX_OPS / 2 + 100 };
	struct op rm;
	char name[16];

	tree();
	bytes(F, NEEDS_UPLOAD, 100000);
	bytes(G, NEEDS_UPLOAD, 100000);
	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		create(E, name, 10000 + i);
		bytes(10000 + i, NEEDS_PACK, 10);
	}
	bytes(G, NEEDS_PACK, 0);
	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		rm = mu_unlink(E, name, 10000 + i, 9);
		ck_assert_int_eq(mu_journal(A, &rm), 0);
	}
	create(E, "after", K);
	while (freeze()) {
		ck_assert_int_eq(mu_int(A,
		    "SELECT count(*) FROM frozen_pack"), 0);
		mu_land(A, B, ++lsn);
		same("prefix", 0);
	}
	ck_assert(other_has(E, "after") && !other_has(E, "n0"));
	ck_assert_int_eq(pending(), 1);
	held_check(0);
	released();
}
END_TEST

/* A removal that is held, beyond what may be frozen, or beyond the window, but
 * near: the file is not seen empty. */
START_TEST(test_gone_near)
{
	struct op rm = mu_unlink(D, "k", K, 9);
	uint64_t until;
	char name[16];

	tree();
	create(D, "k", K);
	ck_assert_uint_eq(land_all(0), 1);
	bytes(F, NEEDS_UPLOAD, 100000);
	for (unsigned i = 0; i < BATCH_MAX_OPS - 20; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		create(E, name, 10000 + i);
	}
	bytes(K, NEEDS_PACK, 10);
	until = (uint64_t)mu_int(A, "SELECT max(seq) FROM op");
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "m%u", i);
		create(E, name, 20000 + i);
	}
	ck_assert_int_eq(mu_journal(A, &rm), 0);
	create(E, "after", K + 1);
	while (freeze_until(until))
		mu_land(A, B, ++lsn);
	ck_assert_int_eq(mu_int(A, "SELECT max(seq) FROM op") -
	    (int64_t)until, 42);
	ck_assert_int_eq(pending(), 44);
	ck_assert_uint_eq(mu_lookup(B, D, "k").size, 0);
	ck_assert_uint_eq(land_all(0), 1);
	ck_assert(other_has(E, "after"));
	ck_assert_int_eq(pending(), 3);
	ck_assert_uint_eq(mu_lookup(B, D, "k").size, 0);
	held_check(0);
	released();
	ck_assert(!other_has(D, "k"));
}
END_TEST

/* What `sync` of a directory waits for: also for those that it is in. */
START_TEST(test_waits)
{
	struct op mk = mu_mkdir(D, "x", K), mk2 = mu_mkdir(K, "y", K + 1);
	uint64_t seq;
	struct sqc *c;

	tree();
	bytes(F, NEEDS_UPLOAD, 100000);
	ck_assert_int_eq(mu_journal(A, &mk), 0);
	ck_assert_uint_eq(land_all(0), 0);
	seq = (uint64_t)mu_int(A, "SELECT max(seq) FROM op");
	ck_assert_int_eq(mu_journal(A, &mk2), 0);
	rename_to(D, "sub", SUB, E, "sub");	/* H is below it */
	ck_assert_uint_eq(land_all(0), 0);
	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(batch_waits(A, c, seq, D), 1);
	ck_assert_int_eq(batch_waits(A, c, seq, K + 1), 1);
	ck_assert_int_eq(batch_waits(A, c, seq, SUB), 0);
	ck_assert_int_eq(batch_waits(A, c, seq + 2, SUB), 1);
	ck_assert_int_eq(batch_waits(A, c, seq + 2, H), 1);
	ck_assert_int_eq(batch_waits(A, c, seq, H), 0);
	sq_read_end(c);
	released();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_hold");
	TCase *t = tcase_create("single");
	TCase *r = tcase_create("random");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_own);
	tcase_add_test(t, test_transitive);
	tcase_add_test(t, test_shape);
	tcase_add_test(t, test_policy_goes);
	tcase_add_test(t, test_void);
	tcase_add_test(t, test_gone_is_held);
	tcase_add_test(t, test_many);
	tcase_add_test(t, test_first_out);
	tcase_add_test(t, test_frozen);
	tcase_add_test(t, test_store_first);
	tcase_add_test(t, test_far);
	tcase_add_test(t, test_gone_near);
	tcase_add_test(t, test_waits);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(r, setup, teardown);
	tcase_set_timeout(r, 60);
	tcase_add_loop_test(r, test_random, 0, 80);
	suite_add_tcase(s, r);
	return (mu_run(s));
}

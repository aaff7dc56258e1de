/*
 * meta_random: a host that does whatever comes, A, and another that replays
 * its batches, B.  What the tests of batches and of what is held share.
 */
#ifndef TEST_META_RANDOM_H
#define TEST_META_RANDOM_H

#include "meta_util.h"

static struct meta *A, *B;

MU void
setup(void)
{
	mu_setup();
	B = mu_open("b");
	A = mu_open_writer("a", B);
}

MU void
teardown(void)
{
	meta_close(A);
	meta_close(B);
	mu_teardown();
}

/* --- random differential runs --- */

static uint64_t rng;

MU uint32_t
rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return ((uint32_t)(rng >> 20) % n);
}

static int64_t now;
static uint64_t lsn;

MU const char *
rnd_name(void)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };

	return (names[rnd(5)]);
}

struct pick { unsigned left; struct attr a; uint64_t parent; char name[256]; };

MU int
pick_each(void *arg, uint64_t parent, const char *name, const struct attr *a)
{
	struct pick *p = arg;

	p->a = *a;
	p->parent = parent;
	snprintf(p->name, sizeof(p->name), "%s", name);
	return (p->left-- == 0);
}

/* Some inode of the live tree with a name of it. */
MU struct pick
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

MU uint64_t
pick_dir(void)
{
	struct pick p = pick_any();

	return (S_ISDIR(p.a.mode) ? p.a.ino : rnd(2) ? p.parent : META_ROOT);
}

MU int
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

MU int
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

MU int
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
MU int
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

MU int
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

MU int
upload_pick(void *arg, uint64_t seq, uint64_t ino, int64_t time)
{
	struct upload *u = arg;

	u->seq = seq;
	return (u->left-- == 0);
}

MU int
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

MU void
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
MU int
pack_check(void *arg, uint64_t object, uint64_t size)
{
	struct buf b = BUF_INIT;

	ck_assert_int_eq(batch_pack_bytes(arg, object, &b), 0);
	ck_assert_uint_eq(b.len, size);
	ck_assert_uint_le(size, PACK_MAX_BYTES);
	buf_done(&b);
	return (0);
}

MU void
packs_check(void)
{
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(A), &c), 0);
	ck_assert_int_eq(batch_packs(c, pack_check, c), 0);
	sq_read_end(c);
}

/* The daemon dies and comes back: a new session, which fences the last one.
 * What was frozen is resolved first (L2). */
MU void
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
		st.first_seq = mu_int(A, "SELECT last + 1 FROM counts");
	op = mu_open_op(&s, old.nonce, st.first_seq);
	ck_assert_int_eq(mu_apply(A, &op), 0);
	ck_assert_int_eq(mu_apply(B, &op), 0);
	/* another open is refused while this one is (L1) */
	op.session = 60;
	op.prev_nonce = 0;
	ck_assert_int_eq(mu_apply(B, &op), -EBUSY);
}

MU void
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

#endif

/*
 * meta_trees: databases in a temporary folder and logs made of random
 * operations, for the tests of segments, pieces, snapshots, imports and
 * selectors.
 */
#ifndef TEST_META_TREES_H
#define TEST_META_TREES_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/sys.h"
#include "meta/import.h"
#include "meta/piece.h"
#include "meta/segment.h"
#include "meta/select.h"

struct db {
	char		 path[300];
	struct meta	*m;
};

static inline void
db_open(struct db *d)
{
	struct why why = { "" };
	static unsigned n;
	const char *tmp = getenv("TMPDIR");

	sys_init();
	snprintf(d->path, sizeof(d->path), "%s/gnsfs-test-%d-%u.db",
	    tmp != NULL ? tmp : "/tmp", (int)getpid(), n++);
	ck_assert_msg(meta_open(d->path, &d->m, &why) == 0, "%s", why.text);
}

static inline void
db_close(struct db *d)
{
	char p[320];

	meta_close(d->m);
	for (int i = 0; i < 3; i++) {
		snprintf(p, sizeof(p), "%s%s", d->path,
		    i == 0 ? "" : i == 1 ? "-wal" : "-shm");
		unlink(p);
	}
}

static inline void
db_digest(struct db *d, uint8_t ret[32])
{
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(d->m), &c), 0);
	ck_assert_int_eq(sq_snapshot_begin(c), 0);
	ck_assert_int_eq(meta_digest(c, ret), 0);
	sq_snapshot_end(c);
	sq_read_end(c);
}

static inline void
assert_same_digest(struct db *a, struct db *b)
{
	uint8_t x[32], y[32];

	db_digest(a, x);
	db_digest(b, y);
	ck_assert_mem_eq(x, y, 32);
}

/* --- a log --- */

#define SESSION		5
#define NONCE		UINT64_C(0x1122334455667788)
#define ID(n)		((uint64_t)SESSION << META_ID_SHIFT | (n))
#define LOG_MAX		64

struct tlog {
	struct { uint8_t *p; size_t n; } seg[LOG_MAX];
	uint64_t	 lsn, seq;
	uint8_t		 hash[32];
};

static inline void
tlog_free(struct tlog *l)
{
	for (uint64_t i = 0; i < l->lsn; i++)
		free(l->seg[i].p);
	memset(l, 0, sizeof(*l));
}

static inline void
tlog_add(struct tlog *l, const struct batch *b, unsigned n)
{
	struct buf out = BUF_INIT;

	ck_assert_uint_lt(l->lsn, LOG_MAX);
	ck_assert_int_eq(segment_encode(l->lsn + 1, l->hash, b, n, &out,
	    l->hash), 0);
	l->seg[l->lsn].n = out.len;
	l->seg[l->lsn].p = buf_take(&out, NULL);
	l->lsn++;
}

static inline void
batch_put(struct batch *b, const struct op *op)
{
	op_encode(op, &b->body);
	ck_assert_int_eq(buf_err(&b->body), 0);
	b->nops++;
	b->last = b->first + b->nops - 1;
}

/* The session_open that everything here writes under. */
static inline void
tlog_open(struct tlog *l)
{
	struct batch b = { .session = SESSION, .nonce = NONCE, .first = 1 };
	struct op op = { .kind = OP_SESSION_OPEN, .session = SESSION,
	    .nonce = NONCE, .block_first = SESSION, .block_count = 64,
	    .first_seq = 1, .name = "testhost", .mtime = 7 };

	batch_put(&b, &op);
	tlog_add(l, &b, 1);
	batch_done(&b);
	l->seq = 1;
}

static inline struct batch
tlog_batch(struct tlog *l)
{
	return (struct batch){ .session = SESSION, .nonce = NONCE,
	    .first = l->seq };
}

static inline void
tlog_end(struct tlog *l, struct batch *b)
{
	l->seq = b->last + 1;
	tlog_add(l, b, 1);
	batch_done(b);
}

/* --- random operations; what cannot be applied is skipped alike by all --- */

struct rng { uint64_t x; };

static inline uint32_t
rnd(struct rng *r, uint32_t n)
{
	r->x = r->x * UINT64_C(6364136223846793005) +
	    UINT64_C(1442695040888963407);
	return (uint32_t)(r->x >> 33) % n;
}

static inline void
random_extents(struct rng *r, uint64_t ino, uint64_t next, struct op *op)
{
	static struct op_extent e;
	static struct op_object o;

	o = (struct op_object){ .id = next, .size = 100000, .kind = OBJ_WHOLE,
	    .store = 1, .sums = "sums", .nsums = rnd(r, 2) };
	e = (struct op_extent){ .off = 0, .len = 1 + rnd(r, 100000),
	    .object = next, .crc = -1 };
	*op = (struct op){ .kind = OP_EXTENTS, .ino = ino, .size = e.len,
	    .flags = EXT_WHOLE, .extents = &e, .nextents = 1, .objects = &o,
	    .nobjects = 1 };
}

/* One operation on the inodes ID(1) .. ID(*next - 1). */
static inline void
random_op(struct rng *r, uint64_t *next, struct op *op, char name[2][40])
{
	uint64_t some = *next > 1 ? ID(1 + rnd(r, (uint32_t)*next - 1)) :
	    META_ROOT;
	uint64_t dir = rnd(r, 4) == 0 ? META_ROOT : some;
	int64_t now = 1000 + (int64_t)*next;

	snprintf(name[0], 40, "name %u", rnd(r, 400));
	snprintf(name[1], 40, "name %u", rnd(r, 400));
	switch (rnd(r, 10)) {
	case 0: case 1:
		*op = (struct op){ .kind = OP_MKDIR, .parent = dir,
		    .ino = ID((*next)++), .mode = S_IFDIR | 0755 };
		break;
	case 2: case 3: case 4:
		*op = (struct op){ .kind = OP_CREATE, .parent = dir,
		    .ino = ID((*next)++), .mode = S_IFREG | 0644 };
		break;
	case 5:
		*op = (struct op){ .kind = OP_SYMLINK, .parent = dir,
		    .ino = ID((*next)++), .value = "to", .nvalue = 2 };
		break;
	case 6:
		random_extents(r, some, ID((*next)++), op);
		break;
	case 7:
		*op = (struct op){ .kind = OP_SETXATTR, .ino = some,
		    .value = "v\0w", .nvalue = 3 };
		break;
	case 8:
		*op = (struct op){ .kind = OP_TAG, .ino = some,
		    .value = "train", .nvalue = 5 };
		break;
	default:
		*op = (struct op){ .kind = OP_RENAME, .parent = dir,
		    .parent2 = META_ROOT, .ino = some, .name2 = name[1] };
		break;
	}
	op->name = name[0];
	op->mtime = op->ctime = op->atime = now;
}

/* n random operations in segments of 100. */
static inline void
tlog_random(struct tlog *l, unsigned seed, unsigned n, uint64_t *next)
{
	struct rng r = { seed };
	char name[2][40];
	struct op op;

	while (n > 0) {
		struct batch b = tlog_batch(l);

		for (unsigned i = 0; i < 100 && n > 0; i++, n--) {
			random_op(&r, next, &op, name);
			batch_put(&b, &op);
		}
		tlog_end(l, &b);
	}
}

/* --- replay --- */

struct replaying {
	const struct segment *seg;
	const struct changed_fns *fns;
	struct why	 why;
};

static inline int
segment_replay_fn(struct sqc *c, void *arg)
{
	struct replaying *r = arg;

	return segment_replay(c, r->seg, r->fns, &r->why);
}

static inline int
db_replay_segment(struct db *d, const uint8_t *p, size_t n, uint64_t lsn,
    const struct changed_fns *fns)
{
	struct replaying r = { .fns = fns };
	struct segment seg;
	int err;

	err = segment_decode(p, n, lsn, &seg, &r.why);
	if (err != 0)
		return err;
	r.seg = &seg;
	err = sq_write(meta_sq(d->m), segment_replay_fn, &r);
	segment_done(&seg);
	return err;
}

/* The log from segment `from` (counted from 1) on. */
static inline void
db_replay(struct db *d, const struct tlog *l, uint64_t from)
{
	for (uint64_t i = from; i <= l->lsn; i++)
		ck_assert_int_eq(db_replay_segment(d, l->seg[i - 1].p,
		    l->seg[i - 1].n, i, NULL), 0);
}

/* --- pieces --- */

struct pieces {
	unsigned	 n;
	struct {
		uint8_t		 hash[32];
		enum tbl	 tbl;
		uint64_t	 rows;
		void		*p;
		size_t		 len;
	}		 *v;
};

static inline int
pieces_emit(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	struct pieces *ps = arg;
	void *v = realloc(ps->v, (ps->n + 1) * sizeof(*ps->v));

	ck_assert_ptr_nonnull(v);
	ps->v = v;
	memcpy(ps->v[ps->n].hash, hash, 32);
	ps->v[ps->n].tbl = tbl;
	ps->v[ps->n].rows = rows;
	ps->v[ps->n].p = malloc(n);
	memcpy(ps->v[ps->n].p, p, n);
	ps->v[ps->n].len = n;
	ps->n++;
	return 0;
}

static inline void
pieces_free(struct pieces *ps)
{
	for (unsigned i = 0; i < ps->n; i++)
		free(ps->v[i].p);
	free(ps->v);
	*ps = (struct pieces){ 0 };
}

static inline int
pieces_find(const struct pieces *ps, const uint8_t hash[32])
{
	for (unsigned i = 0; i < ps->n; i++)
		if (memcmp(ps->v[i].hash, hash, 32) == 0)
			return (int)i;
	return -1;
}

static inline unsigned
pieces_shared(const struct pieces *a, const struct pieces *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->n; i++)
		n += pieces_find(b, a->v[i].hash) >= 0;
	return n;
}

/* For import_load. */
static inline int
pieces_get(void *arg, const uint8_t hash[32], struct buf *out)
{
	const struct pieces *ps = arg;
	int i = pieces_find(ps, hash);

	if (i < 0)
		return -ENOENT;
	buf_put(out, ps->v[i].p, ps->v[i].len);
	return buf_err(out);
}

/* --- a session of the database itself, for ids --- */

static inline int
grant_fn(struct sqc *c, void *arg)
{
	return meta_session_granted(c, SESSION, 64);
}

static inline void
db_take_session(struct db *d)
{
	struct meta_session s;

	ck_assert_int_eq(sq_write(meta_sq(d->m), grant_fn, NULL), 0);
	ck_assert_int_eq(meta_session_take(d->m, &s), 0);
}

/* main() of a test with one suite. */
static inline int
run_suite(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

#endif

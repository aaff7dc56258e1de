/*
 * One backing file against a model: an array of bytes for what the file is,
 * one for what the store holds, and which op each dirty byte belongs to is
 * left to the cache.  Writes, fills, truncates, closes, uploads, landings,
 * evictions; the cache closed and opened, and killed and opened.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/counters.h"
#include "base/sys.h"
#include "cache/map.h"
#include "test/unit/cache_util.h"

#define MB	((uint64_t)CACHE_CHUNK)
#define INO	((UINT64_C(5) << 36) | 77)

struct env { struct sq *q; struct cache *c; bool unclean; };

static void
setup(void)
{
	scratch();
	setenv("GNSFS_SYS_BOOT_ID", "11111111-1111-1111-1111-111111111111", 1);
	sys_init();
}

static void
env_open(struct env *e, uint64_t limit)
{
	struct cache_opts o = { .dir = dir, .size_limit = limit, .pool = 8 };
	struct why why = { "" };

	ck_assert_int_eq(sq_open(db, NULL, &e->q, &why), 0);
	o.index = e->q;
	ck_assert_msg(cache_open(&o, &e->c, &e->unclean, &why) == 0, "%s",
	    why.text);
}

static void
env_close(struct env *e)
{
	cache_close(e->c);
	sq_close(e->q);
}

struct assign { struct bfile *b; uint64_t ino, seq; struct cache *c; };

static int
assign_fn(struct sqc *q, void *arg)
{
	struct assign *a = arg;

	return bfile_assign(q, a->b, a->ino);
}

static int
closed_fn(struct sqc *q, void *arg)
{
	struct assign *a = arg;

	return bfile_closed(q, a->b, a->seq);
}

static int
landed_fn(struct sqc *q, void *arg)
{
	struct assign *a = arg;

	return bfile_landed(a->c, q, a->ino, a->seq);
}

static int
forget_fn(struct sqc *q, void *arg)
{
	struct assign *a = arg;

	return bfile_forget_tx(q, a->b);
}

static void
assign(struct env *e, struct bfile *b, uint64_t ino)
{
	struct assign a = { .b = b, .ino = ino };

	ck_assert_int_eq(sq_write(e->q, assign_fn, &a), 0);
}

static void
do_closed(struct env *e, struct bfile *b, uint64_t seq)
{
	struct assign a = { .b = b, .seq = seq };

	ck_assert_int_eq(sq_write(e->q, closed_fn, &a), 0);
}

static void
do_landed(struct env *e, uint64_t ino, uint64_t seq)
{
	struct assign a = { .c = e->c, .ino = ino, .seq = seq };

	ck_assert_int_eq(sq_write(e->q, landed_fn, &a), 0);
	cache_landed_commit(e->c);
}

static void
do_forget(struct env *e, struct bfile *b)
{
	struct assign a = { .b = b };

	ck_assert_int_eq(sq_write(e->q, forget_fn, &a), 0);
	bfile_forget(b);
}

/* --- the model --- */

#define SPAN	(6 * MB)

struct model {
	uint8_t		*now, *store;	/* SPAN each; zeros past the size */
	uint64_t	 size, store_size;
	uint8_t		*op;		/* what the op in flight publishes */
	uint64_t	 seq, next_seq;
	uint64_t	 op_size;
	bool		 frozen;
};

static void
model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->now = calloc(1, SPAN);
	m->store = calloc(1, SPAN);
	m->op = calloc(1, SPAN);
	m->next_seq = 1;
}

static void
model_done(struct model *m)
{
	free(m->now);
	free(m->store);
	free(m->op);
}

static void
fill_random(uint8_t *p, size_t n)
{
	uint32_t x = rand() | 1;
	size_t i;

	for (i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = x >> 24;
	}
}

struct fill { struct bfile *b; struct model *m; };

static int
fill_gap(void *arg, uint64_t off, uint64_t len)
{
	struct fill *f = arg;
	uint64_t at;

	ck_assert_uint_eq(off % MB, 0);
	for (at = off; at < off + len; at += MB)
		ck_assert_int_eq(bfile_fill(f->b, at / MB,
		    bfile_clean_gen(f->b), f->m->store + at,
		    off + len - at < MB ? off + len - at : MB, -1), 0);
	return 0;
}

static void
check_read(struct bfile *b, struct model *m, uint64_t off, uint64_t len)
{
	struct fill f = { b, m };
	uint8_t *buf = malloc(len + 1);
	uint64_t want;

	ck_assert_uint_eq(bfile_size(b), m->size);
	if (!bfile_has(b, off, len))
		ck_assert_int_eq(bfile_gaps(b, off, len, fill_gap, &f), 0);
	ck_assert_int_eq(bfile_has(b, off, len), 1);
	want = off >= m->size ? 0 : m->size - off < len ? m->size - off : len;
	ck_assert_int_eq(bfile_read(b, buf, len, off), want);
	ck_assert_int_eq(memcmp(buf, m->now + off, want), 0);
	free(buf);
}

static void
do_write(struct bfile *b, struct model *m)
{
	uint64_t off, len;
	uint8_t *p;

	off = rand() % 3 ? rand() % (SPAN - MB) : m->size;
	if (off > SPAN - MB)
		off = SPAN - MB;
	len = 1 + rand() % (rand() % 2 ? MB : 3000);
	p = malloc(len);
	fill_random(p, len);
	ck_assert_int_eq(bfile_write(b, p, len, off), len);
	memcpy(m->now + off, p, len);
	free(p);
	if (m->size < off + len)
		m->size = off + len;
}

static void
do_truncate(struct bfile *b, struct model *m)
{
	uint64_t size = rand() % 4 ? rand() % SPAN : 0;

	ck_assert_int_eq(bfile_truncate(b, size), 0);
	if (size < m->size)
		memset(m->now + size, 0, SPAN - size);
	m->size = size;
}

/* What readers of the object compare with, of what it was made from. */
static void
check_sums(struct upload_view *v, const struct model *m)
{
	uint64_t off, to;
	uint32_t *sums;
	unsigned i, n, k = 0;

	ck_assert_int_eq(upload_sums(v, &sums, &n), 0);
	for (i = 0; i < v->n; i++)
		for (off = v->v[i].off; off < v->v[i].end; off = to) {
			to = (off / MB + 1) * MB;
			if (to > v->v[i].end)
				to = v->v[i].end;
			ck_assert_uint_lt(k, n);
			ck_assert_uint_eq(sums[k++], crc32c(0, m->op + off,
			    to - off));
		}
	ck_assert_uint_eq(k, n);
	free(sums);
}

/* The content as of now becomes op seq's; then its upload. */
static void
do_upload(struct env *e, struct bfile *b, struct model *m, bool copy)
{
	struct upload_view v;
	uint64_t off, end, n;
	uint8_t *buf = malloc(MB);
	unsigned i;
	int err;

	if (!bfile_is_dirty(b))
		goto out;
	m->seq = m->next_seq++;
	do_closed(e, b, m->seq);
	err = upload_begin(b, m->seq, copy, &v);
	if (err == -ENOENT)	/* all that is dirty is a frozen op's */
		goto out;
	ck_assert_int_eq(err, 0);
	/* what the object plus its base give */
	memcpy(m->op, m->store, SPAN);
	if (m->size < SPAN)
		memset(m->op + m->size, 0, SPAN - m->size);
	for (i = 0; i < v.n; i++)
		for (off = v.v[i].off; off < v.v[i].end; off += n) {
			end = v.v[i].end;
			n = 1 + rand() % MB;
			if (n > end - off)
				n = end - off;
			ck_assert_int_eq(upload_read(&v, buf, n, off), 0);
			memcpy(m->op + off, buf, n);
		}
	m->op_size = v.size;
	ck_assert_int_eq(memcmp(m->op, m->now, SPAN), 0);
	check_sums(&v, m);
	if (rand() % 4 == 0 && !copy) {
		do_write(b, m);
		ck_assert_int_eq(upload_end(&v), -ESTALE);	/* B8 */
		goto out;
	}
	ck_assert_int_eq(upload_end(&v), 0);
	if (rand() % 2)
		do_write(b, m);		/* B6: stays dirty */
	if (rand() % 2)
		ck_assert_int_eq(bfile_sync(b), 0);
	do_landed(e, INO, m->seq);
	memcpy(m->store, m->op, SPAN);
	m->store_size = m->op_size;
out:
	free(buf);
}

static void
step(struct env *e, struct bfile **b, struct model *m)
{
	uint64_t off;

	switch (rand() % 14) {
	case 0: case 1: case 2: case 3: case 4:
		do_write(*b, m);
		break;
	case 5:
		do_truncate(*b, m);
		break;
	case 6: case 7:
		do_upload(e, *b, m, rand() % 2);
		break;
	case 8:
		ck_assert_int_eq(bfile_verify(*b), 0);
		break;
	case 9:
		ck_assert_int_eq(bfile_sync(*b), 0);
		break;
	case 10:
		off = rand() % SPAN;
		if (bfile_fallocate(*b, FALLOC_FL_PUNCH_HOLE |
		    FALLOC_FL_KEEP_SIZE, off, 5000) == 0)
			memset(m->now + off, 0,
			    SPAN - off < 5000 ? SPAN - off : 5000);
		break;
	default:
		off = rand() % SPAN;
		check_read(*b, m, off, 1 + rand() % (SPAN - off));
	}
}

/* Eviction of a clean file: the store's content is all there is. */
static void
do_evict(struct env *e, struct bfile **b, struct model *m)
{
	bool dirty = bfile_is_dirty(*b);
	int64_t r;

	bfile_put(*b);
	r = cache_evict(e->c, INO);
	if (dirty) {
		ck_assert_int_eq(r, -EBUSY);
		ck_assert_int_eq(bfile_get(e->c, INO, b), 0);
		return;
	}
	ck_assert_int_ge(r, 0);
	ck_assert_int_eq(bfile_make(e->c, INO, m->store_size, b), 0);
}

START_TEST(test_model)
{
	struct env e;
	struct model m;
	struct bfile *b;
	struct cache_stat st;
	int64_t bad = counter_get(checksum_errors);
	int i;

	srand(_i + 100);
	model_init(&m);
	env_open(&e, 1u << 30);
	if (_i % 2) {
		ck_assert_int_eq(bfile_new(e.c, &b), 0);
		assign(&e, b, INO);
	} else {
		fill_random(m.store, 5 * MB + 12345);
		m.size = m.store_size = 5 * MB + 12345;
		memcpy(m.now, m.store, SPAN);
		ck_assert_int_eq(bfile_make(e.c, INO, m.size, &b), 0);
	}
	for (i = 0; i < 250; i++) {
		step(&e, &b, &m);
		if (rand() % 30 == 0)
			do_evict(&e, &b, &m);
		if (rand() % 30 == 0)
			ck_assert_int_eq(bfile_keep(b), 0);
		if (rand() % 25 == 0) {
			bfile_put(b);
			env_close(&e);
			env_open(&e, 0);
			ck_assert(!e.unclean);
			ck_assert_int_eq(bfile_get(e.c, INO, &b), 0);
		}
	}
	check_read(b, &m, 0, SPAN);
	cache_stat(e.c, &st);
	ck_assert_uint_le(st.used, 2 * SPAN);
	ck_assert_uint_le(st.dirty, m.size);
	bfile_put(b);
	env_close(&e);
	ck_assert_int_eq(counter_get(checksum_errors), bad);
	model_done(&m);
}
END_TEST

struct thaw { uint64_t ino, first, last; };

static int
thaw_fn(struct sqc *q, void *arg)
{
	const struct thaw *t = arg;
	uint64_t seq;
	int err = 0;

	for (seq = t->first; !err && seq <= t->last; seq++)
		err = bfile_unfreeze(q, t->ino, seq);
	return err;
}

/* An upload that ended and is not noted: the newest op has all bytes, however
 * closes, the abandoning and a restart fall (bit 0: a close before it, 1: after
 * it, 2: a restart instead). */
START_TEST(test_thaw)
{
	struct thaw t = { INO, 1, 1 };
	struct upload_view v;
	bool before = _i & 1, after = _i & 2, restart = _i & 4;
	bool all = _i < 8;	/* what the object has was all of the file */
	struct env e;
	struct bfile *b;
	char page[4096];

	memset(page, 'x', sizeof(page));
	env_open(&e, 0);
	if (all) {
		ck_assert_int_eq(bfile_new(e.c, &b), 0);
		assign(&e, b, INO);
	} else {
		ck_assert_int_eq(bfile_make(e.c, INO, 3 * MB, &b), 0);
	}
	ck_assert_int_eq(bfile_write(b, page, sizeof(page), MB), sizeof(page));
	do_closed(&e, b, 1);
	ck_assert_int_eq(upload_begin(b, 1, false, &v), 0);
	ck_assert_int_eq(upload_end(&v), 0);
	ck_assert_int_eq(bfile_write(b, page, sizeof(page), 2 * MB),
	    sizeof(page));
	if (before)
		do_closed(&e, b, t.last = 2);
	if (restart) {
		bfile_put(b);
		env_close(&e);
		env_open(&e, 0);
		ck_assert_int_eq(sq_write(e.q, thaw_fn, &t), 0);
		ck_assert_int_eq(bfile_get(e.c, INO, &b), 0);
	} else {
		bfile_thaw(b, 1, 1);
		ck_assert_int_eq(sq_write(e.q, thaw_fn, &t), 0);
	}
	if (after)
		do_closed(&e, b, ++t.last);
	if (!restart)
		bfile_thaw(b, 1, before ? 2 : 1);
	if (!before && !after)
		do_closed(&e, b, ++t.last);
	ck_assert_int_eq(upload_begin(b, t.last, false, &v), 0);
	ck_assert_uint_eq(v.n, all ? 1 : 2);
	ck_assert_uint_eq(v.v[0].off, all ? 0 : MB);
	ck_assert_uint_eq(v.v[v.n - 1].end, 2 * MB + sizeof(page));
	upload_drop(&v);
	bfile_put(b);
	env_close(&e);
}
END_TEST

/* A child does it and dies; the model is shared memory. */
struct shared { struct model m; uint8_t bytes[3][SPAN]; _Atomic int steps; };

static void
child(struct shared *s, int seed)
{
	struct env e;
	struct bfile *b;

	srand(seed);
	env_open(&e, 0);
	if (bfile_get(e.c, INO, &b) == -ENOENT)
		ck_assert_int_eq(bfile_make(e.c, INO, s->m.store_size, &b), 0);
	for (;;) {
		step(&e, &b, &s->m);
		if (++s->steps > 40 && rand() % 8 == 0)
			_exit(0);	/* no close, nothing saved */
	}
}

START_TEST(test_crash)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct env e;
	struct bfile *b;
	int round, status;
	pid_t pid;

	s->m.now = s->bytes[0];
	s->m.store = s->bytes[1];
	s->m.op = s->bytes[2];
	s->m.next_seq = 1;
	srand(_i);
	fill_random(s->m.store, 4 * MB + 999);
	s->m.size = s->m.store_size = 4 * MB + 999;
	memcpy(s->m.now, s->m.store, SPAN);
	for (round = 0; round < 6; round++) {
		s->steps = 0;
		pid = fork();
		if (pid == 0)
			child(s, _i * 100 + round);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	env_open(&e, 0);
	ck_assert(!e.unclean);
	if (bfile_get(e.c, INO, &b) == -ENOENT)
		ck_assert_int_eq(bfile_make(e.c, INO, s->m.store_size, &b), 0);
	check_read(b, &s->m, 0, SPAN);
	ck_assert_int_eq(bfile_verify(b), 0);
	bfile_put(b);
	env_close(&e);
	ck_assert_int_eq(counter_get(checksum_errors), 0);
	munmap(s, sizeof(*s));
}
END_TEST

/* kill -9 at any moment of appending: what was answered is there. */
START_TEST(test_kill)
{
	static _Atomic uint64_t *done;
	static uint8_t buf[70000], got[70000];
	struct env e;
	struct bfile *b;
	uint64_t at;
	pid_t pid;
	int round;

	done = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	env_open(&e, 1u << 30);
	ck_assert_int_eq(bfile_make(e.c, INO, 3 * MB, &b), 0);
	bfile_put(b);
	env_close(&e);
	for (round = 0; round < 8; round++) {
		*done = 3 * MB;
		pid = fork();
		if (pid == 0) {
			env_open(&e, 0);
			bfile_get(e.c, INO, &b);
			bfile_truncate(b, 3 * MB);
			for (at = 3 * MB;; at += sizeof(buf)) {
				memset(buf, at / sizeof(buf), sizeof(buf));
				if (bfile_write(b, buf, sizeof(buf), at) !=
				    sizeof(buf))
					_exit(1);
				*done = at + sizeof(buf);
				if (at > 200 * MB)
					at = 3 * MB - sizeof(buf);
			}
		}
		usleep(30000 + 17000 * round);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		env_open(&e, 0);
		ck_assert_int_eq(bfile_get(e.c, INO, &b), 0);
		if (*done > 3 * MB) {
			ck_assert_uint_ge(bfile_size(b), *done);
			ck_assert_int_eq(bfile_has(b, 3 * MB,
			    *done - 3 * MB), 1);
			at = *done - sizeof(buf);
			ck_assert_int_eq(bfile_read(b, got, sizeof(got), at),
			    sizeof(got));
			memset(buf, at / sizeof(buf), sizeof(buf));
			ck_assert_int_eq(memcmp(got, buf, sizeof(buf)), 0);
		}
		/* the base was never fetched and never passes for content */
		ck_assert_int_eq(bfile_has(b, 0, MB), 0);
		bfile_put(b);
		env_close(&e);
	}
	munmap((void *)done, 4096);
}
END_TEST

static void
flip(const char *rel, uint64_t off)
{
	char path[256];
	uint8_t x;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, rel);
	fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &x, 1, off), 1);
	x ^= 0x40;
	ck_assert_int_eq(pwrite(fd, &x, 1, off), 1);
	close(fd);
}

START_TEST(test_damage)
{
	struct env e;
	struct bfile *b;
	struct model m;
	struct fill f;
	int64_t bad = counter_get(checksum_errors);
	char *path;

	model_init(&m);
	fill_random(m.store, SPAN);
	memcpy(m.now, m.store, SPAN);
	m.size = m.store_size = SPAN;
	env_open(&e, 1u << 30);
	ck_assert_int_eq(bfile_make(e.c, INO, SPAN, &b), 0);
	f = (struct fill){ b, &m };
	ck_assert_int_eq(bfile_gaps(b, 0, SPAN, fill_gap, &f), 0);
	ck_assert(bfile_is_complete(b));
	ck_assert_int_eq(bfile_verify(b), 0);
	path = bfile_path(b);
	flip(path, 2 * MB + 17);
	ck_assert_int_eq(bfile_verify(b), -EUCLEAN);
	ck_assert_int_eq(counter_get(checksum_errors), bad + 1);
	ck_assert_int_eq(bfile_has(b, 2 * MB, 1), 0);
	ck_assert_int_eq(bfile_has(b, 3 * MB, MB), 1);
	check_read(b, &m, 0, SPAN);
	bfile_put(b);
	/* another boot without a close: C4 */
	env_close(&e);
	env_open(&e, 0);
	ck_assert(!e.unclean);
	env_close(&e);
	fflush(NULL);
	if (fork() == 0) {
		env_open(&e, 0);
		_exit(0);	/* never closed */
	}
	wait(NULL);
	flip(path, 4 * MB + 1);
	setenv("GNSFS_SYS_BOOT_ID", "22222222-2222-2222-2222-222222222222", 1);
	sys_init();
	env_open(&e, 0);
	ck_assert(e.unclean);
	ck_assert_int_eq(bfile_get(e.c, INO, &b), 0);
	ck_assert_int_eq(bfile_has(b, 0, MB), 1);
	ck_assert_int_eq(bfile_has(b, 4 * MB, 10), 0);
	ck_assert_int_eq(counter_get(checksum_errors), bad + 2);
	f.b = b;
	check_read(b, &m, 0, SPAN);
	bfile_put(b);
	env_close(&e);
	free(path);
	model_done(&m);
}
END_TEST

static int
each_orphan(void *arg, const struct cache_orphan *o)
{
	struct cache_orphan *v = arg;

	while (v->ino != 0)
		v++;
	*v = *o;
	return 0;
}

/* L11: after a power cut a new file is as long as its sync, and unsynced
 * bytes over a base say so. */
START_TEST(test_unclean)
{
	struct cache_orphan o[8] = { { 0 } };
	struct env e;
	struct bfile *b;
	static uint8_t buf[100000];
	int status, i;
	pid_t pid;

	memset(buf, 7, sizeof(buf));
	pid = fork();
	if (pid == 0) {
		env_open(&e, 1u << 30);
		bfile_new(e.c, &b);
		assign(&e, b, 10);
		bfile_write(b, buf, 50000, 0);
		bfile_sync(b);
		bfile_write(b, buf, 50000, 50000);
		bfile_new(e.c, &b);
		assign(&e, b, 11);
		bfile_write(b, buf, 50000, 0);
		bfile_make(e.c, 12, 4 * MB, &b);
		bfile_write(b, buf, 1000, 5000);
		bfile_sync(b);
		bfile_make(e.c, 13, 4 * MB, &b);
		bfile_write(b, buf, 1000, 5000);
		bfile_sync(b);
		bfile_write(b, buf, 1000, 5500);
		do_closed(&e, b, 9);
		bfile_from_bytes(e.c, 14, buf, 3000, &b);
		bfile_write(b, buf, 10, 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	setenv("GNSFS_SYS_BOOT_ID", "33333333-3333-3333-3333-333333333333", 1);
	sys_init();
	env_open(&e, 0);
	ck_assert(e.unclean);
	ck_assert_int_eq(cache_recover(e.c, each_orphan, o), 0);
	for (i = 0; i < 5; i++)
		ck_assert_uint_eq(o[i].ino, 10 + i);
	ck_assert_uint_eq(o[0].size, 50000);
	ck_assert(!o[0].had_base && !o[0].closed);
	ck_assert_uint_eq(o[1].size, 0);
	ck_assert(o[2].had_base && !o[2].unsynced && !o[2].closed);
	/* what was synced stays, with what was written since */
	ck_assert(o[3].had_base && !o[3].unsynced && o[3].closed);
	ck_assert(o[4].had_base && o[4].unsynced);
	env_close(&e);
}
END_TEST

/* kill -9 between a change of size and its record, of files whose bytes are
 * nowhere else: it is completed, and so a later op is asked for (K2). */
START_TEST(test_cut_off)
{
	struct cache_orphan o[8] = { { 0 } };
	struct env e;
	struct bfile *b;
	static uint8_t buf[3 * MB];
	int status;
	pid_t pid;

	memset(buf, 7, sizeof(buf));
	pid = fork();
	if (pid == 0) {
		env_open(&e, 1u << 30);
		/* closed, whole and new: cut, and longer */
		bfile_new(e.c, &b);
		assign(&e, b, 10);
		bfile_write(b, buf, 3 * MB, 0);
		do_closed(&e, b, 1);
		if (ftruncate(bfile_fd(b), MB + 5) != 0)
			_exit(1);
		bfile_new(e.c, &b);
		assign(&e, b, 11);
		bfile_write(b, buf, MB, 0);
		do_closed(&e, b, 2);
		if (pwrite(bfile_fd(b), buf, 100, MB) != 100)
			_exit(1);
		/* dirty in part: the cut takes dirty bytes, or none */
		bfile_make(e.c, 12, 4 * MB, &b);
		bfile_write(b, buf, 1000, 3 * MB + 5);
		do_closed(&e, b, 3);
		if (ftruncate(bfile_fd(b), 2 * MB) != 0)
			_exit(1);
		bfile_make(e.c, 13, 4 * MB, &b);
		bfile_write(b, buf, 1000, MB + 5);
		do_closed(&e, b, 4);
		if (ftruncate(bfile_fd(b), 2 * MB) != 0)
			_exit(1);
		/* not closed, and cut where all is dirty already */
		bfile_make(e.c, 14, 0, &b);
		bfile_write(b, buf, 3 * MB, 0);
		bfile_truncate(b, 2 * MB);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	env_open(&e, 0);
	ck_assert(!e.unclean);
	ck_assert_int_eq(cache_recover(e.c, each_orphan, o), 0);
	ck_assert_uint_eq(o[0].ino, 10);
	ck_assert_uint_eq(o[0].size, MB + 5);
	ck_assert(!o[0].closed);
	ck_assert_uint_eq(o[1].size, MB + 100);
	ck_assert(!o[1].closed);
	ck_assert_uint_eq(o[2].size, 2 * MB);
	ck_assert(!o[2].closed);
	/* nothing was lost with it: as before */
	ck_assert_uint_eq(o[3].size, 4 * MB);
	ck_assert(o[3].closed);
	ck_assert_uint_eq(o[4].size, 2 * MB);
	ck_assert(!o[4].closed);
	env_close(&e);
	/* and it stays so */
	env_open(&e, 0);
	ck_assert_int_eq(bfile_get(e.c, 12, &b), 0);
	ck_assert_uint_eq(bfile_size(b), 2 * MB);
	do_closed(&e, b, 5);
	do_landed(&e, 12, 5);
	bfile_put(b);
	env_close(&e);
	env_open(&e, 0);
	ck_assert_int_eq(bfile_get(e.c, 12, &b), 0);
	ck_assert_uint_eq(bfile_size(b), 2 * MB);
	bfile_put(b);
	env_close(&e);
}
END_TEST

static ssize_t
write_and_die(int fd, const void *buf, size_t n, off_t off)
{
	_exit(pwrite(fd, buf, n, off) == (ssize_t)n ? 0 : 1);
}

/* kill -9 after the bytes of a write into a clean chunk: they are dirty, not
 * gone with the next eviction (K2). */
START_TEST(test_first)
{
	struct cache_orphan o[8] = { { 0 } };
	struct env e;
	struct bfile *b;
	static uint8_t buf[MB];
	int status;
	pid_t pid;

	memset(buf, 7, sizeof(buf));
	pid = fork();
	if (pid == 0) {
		env_open(&e, 1u << 30);
		bfile_make(e.c, 10, 2 * MB, &b);
		if (bfile_fill(b, 0, bfile_clean_gen(b), buf, MB, -1) != 0)
			_exit(1);
		bfile_account(b);
		sys.pwrite = write_and_die;
		bfile_write(b, "new", 3, 100);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	env_open(&e, 0);
	ck_assert_int_eq(cache_recover(e.c, each_orphan, o), 0);
	ck_assert_uint_eq(o[0].ino, 10);
	ck_assert(!o[0].closed);
	ck_assert_int_eq(cache_evict(e.c, 10), -EBUSY);
	env_close(&e);
}
END_TEST

#define REBOOTED	"33333333-3333-3333-3333-333333333333"

static void
reboot(void)
{
	setenv("GNSFS_SYS_BOOT_ID", REBOOTED, 1);
	sys_init();
}

/* What fn does, and dies. */
static void
dies(void (*fn)(struct env *e))
{
	struct env e;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		env_open(&e, 1u << 30);
		fn(&e);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static void
cut_of_part(struct env *e)
{
	static uint8_t buf[MB];
	struct bfile *b;

	bfile_make(e->c, 10, 4 * MB, &b);
	bfile_fill(b, 2, bfile_clean_gen(b), buf, MB, -1);
	bfile_fill(b, 3, bfile_clean_gen(b), buf, MB, -1);
	bfile_write(b, "xyz", 3, 3 * MB + 5);
	map_save(e->c, &b, 1, true);
	if (ftruncate(bfile_fd(b), 2 * MB) != 0)
		_exit(1);
}

/* What was not here is not here for being cut before. */
START_TEST(test_cut_part)
{
	struct cache_orphan o[8] = { { 0 } };
	struct env e;
	struct bfile *b;

	dies(cut_of_part);
	env_open(&e, 0);
	ck_assert_int_eq(cache_recover(e.c, each_orphan, o), 0);
	ck_assert_uint_eq(o[0].size, 2 * MB);
	ck_assert(!o[0].closed);
	ck_assert_int_eq(bfile_get(e.c, 10, &b), 0);
	ck_assert_int_eq(bfile_has(b, 0, 2 * MB), 0);
	ck_assert(!bfile_is_sound(b));
	bfile_put(b);
	env_close(&e);
}
END_TEST

/* A file of two clean chunks, which the index knows. */
static struct bfile *
make_clean(struct env *e)
{
	static uint8_t buf[MB];
	struct bfile *b;

	memset(buf, 7, sizeof(buf));
	bfile_make(e->c, 10, 2 * MB, &b);
	bfile_fill(b, 0, bfile_clean_gen(b), buf, MB, -1);
	bfile_fill(b, 1, bfile_clean_gen(b), buf, MB, -1);
	map_save(e->c, &b, 1, true);
	return b;
}

static void
cut_of_clean(struct env *e)
{
	struct bfile *b = make_clean(e);

	if (ftruncate(bfile_fd(b), 5) != 0)
		_exit(1);
}

static void
look_and_die(struct env *e)
{
	struct bfile *b;

	if (bfile_get(e->c, 10, &b) != 0 || bfile_has(b, MB, MB) != 0)
		_exit(1);
}

/* Killed once more after the file was made as long as it was. */
START_TEST(test_cut_twice)
{
	struct env e;
	struct bfile *b;

	dies(cut_of_clean);
	dies(look_and_die);
	env_open(&e, 0);
	ck_assert_int_eq(bfile_get(e.c, 10, &b), 0);
	ck_assert_uint_eq(bfile_size(b), 2 * MB);
	ck_assert_int_eq(bfile_has(b, 5, MB), 0);
	ck_assert_int_eq(bfile_has(b, MB, MB), 0);
	bfile_put(b);
	env_close(&e);
}
END_TEST

static void
upload_and_lose(struct env *e)
{
	static uint8_t buf[3 * MB], out[MB];
	struct upload_view v;
	struct bfile *b;
	int i, err;

	memset(buf, 7, sizeof(buf));
	bfile_new(e->c, &b);
	assign(e, b, 10);
	bfile_write(b, buf, sizeof(buf), 0);
	do_closed(e, b, 1);
	bfile_keep(b);
	err = upload_begin(b, 1, false, &v);
	for (i = 0; !err && i < 3; i++)
		err = upload_read(&v, out, MB, i * MB);
	if (err || upload_end(&v) != 0 || ftruncate(bfile_fd(b), MB) != 0)
		_exit(1);
}

/* A power cut took the end of what a store has: it is fetched again once the
 * op has landed, and nothing is cut. */
START_TEST(test_uploaded_lost)
{
	struct cache_orphan o[8] = { { 0 } };
	struct env e;
	struct bfile *b;

	dies(upload_and_lose);
	reboot();
	env_open(&e, 0);
	ck_assert(e.unclean);
	ck_assert_int_eq(cache_recover(e.c, each_orphan, o), 0);
	ck_assert_uint_eq(o[0].size, 3 * MB);
	ck_assert(o[0].closed);
	do_landed(&e, 10, 1);
	ck_assert_int_eq(bfile_get(e.c, 10, &b), 0);
	ck_assert_uint_eq(bfile_size(b), 3 * MB);
	ck_assert(!bfile_is_dirty(b));
	ck_assert_int_eq(bfile_has(b, 0, MB), 1);
	ck_assert_int_eq(bfile_has(b, MB, MB), 0);
	bfile_put(b);
	env_close(&e);
}
END_TEST

static void
tear_clean(struct env *e)
{
	static const uint8_t zeros[MB];
	struct bfile *b = make_clean(e);

	if (pwrite(bfile_fd(b), zeros, MB, 0) != (ssize_t)MB)
		_exit(1);
}

/* A write into a chunk that is not known to be right is of its bytes alone
 * (C4). */
START_TEST(test_write_unverified)
{
	struct env e;
	struct bfile *b;

	dies(tear_clean);
	reboot();
	env_open(&e, 0);
	ck_assert_int_eq(bfile_get(e.c, 10, &b), 0);
	ck_assert_int_eq(bfile_write(b, "xyz", 3, 100), 3);
	ck_assert_int_eq(bfile_has(b, 100, 3), 1);
	ck_assert_int_eq(bfile_has(b, 0, MB), 0);
	/* one that is right stays whole */
	ck_assert_int_eq(bfile_write(b, "xyz", 3, MB + 100), 3);
	ck_assert_int_eq(bfile_has(b, MB, MB), 1);
	bfile_put(b);
	env_close(&e);
}
END_TEST

/* What lands was uploaded from a file that is here no more: what was fetched
 * since is older. */
START_TEST(test_landed_dropped)
{
	static uint8_t buf[MB];
	struct env e;
	struct bfile *b;

	env_open(&e, 1u << 30);
	ck_assert_int_eq(bfile_make(e.c, 10, 2 * MB, &b), 0);
	ck_assert_int_eq(bfile_fill(b, 0, bfile_clean_gen(b), buf, MB, -1), 0);
	ck_assert_int_eq(bfile_has(b, 0, MB), 1);
	do_landed(&e, 10, 4);
	ck_assert_int_eq(bfile_has(b, 0, MB), 0);
	bfile_put(b);
	env_close(&e);
}
END_TEST

static void
write_unsynced(struct env *e)
{
	struct bfile *b;

	bfile_make(e->c, 10, 2 * MB, &b);
	bfile_write(b, "xyz", 3, 5000);
	do_closed(e, b, 3);
	bfile_new(e->c, &b);
	assign(e, b, 11);
	bfile_write(b, "xyz", 3, 0);
	unlink(file_path(b));
}

static void
start_and_die(struct env *e)
{
	if (!e->unclean)
		_exit(1);
}

/* A power cut is over when what it left was dealt with, not at the first start
 * (L11); a file of unstored bytes that is gone does not stop it. */
START_TEST(test_unclean_twice)
{
	struct cache_orphan o[8] = { { 0 } };
	struct env e;

	dies(write_unsynced);
	reboot();
	dies(start_and_die);
	env_open(&e, 0);
	ck_assert(e.unclean);
	env_close(&e);
	env_open(&e, 0);
	ck_assert(e.unclean);
	ck_assert_int_eq(cache_recover(e.c, each_orphan, o), 0);
	ck_assert_uint_eq(o[0].ino, 10);
	ck_assert(o[0].unsynced && o[0].had_base);
	ck_assert_uint_eq(o[1].ino, 0);
	ck_assert_int_eq(cache_recovered(e.c, 5), 0);
	env_close(&e);
	env_open(&e, 0);
	ck_assert(!e.unclean);
	env_close(&e);
}
END_TEST

/* 10,000 creates of small files leave the folder as it was. */
START_TEST(test_many_small)
{
	struct env e;
	struct bfile *b;
	char buf[4096], cmd[160];
	int64_t t;
	FILE *f;
	int i, n = 0;

	memset(buf, 1, sizeof(buf));
	env_open(&e, 1u << 30);
	t = clock_mono();
	for (i = 0; i < 10000; i++) {
		ck_assert_int_eq(bfile_new(e.c, &b), 0);
		assign(&e, b, 1000 + i);
		ck_assert_int_eq(bfile_write(b, buf, sizeof(buf), 0), 4096);
		do_forget(&e, b);
		bfile_put(b);
	}
	t = clock_mono() - t;
	printf("create, write, forget: %.0f files/s\n", 1e13 / t);
	snprintf(cmd, sizeof(cmd), "find '%s' -type f | wc -l", dir);
	f = popen(cmd, "r");
	ck_assert_int_eq(fscanf(f, "%d", &n), 1);
	pclose(f);
	ck_assert_int_lt(n, 200);
	env_close(&e);
}
END_TEST

/* C2: who has it mapped keeps his bytes; the slot is not used again. */
START_TEST(test_lease)
{
	struct env e;
	struct bfile *b, *b2;
	char path[256], *rel, *map;
	struct upload_view v;
	int fd, i;

	env_open(&e, 1u << 30);
	ck_assert_int_eq(bfile_new(e.c, &b), 0);
	assign(&e, b, 20);
	ck_assert_int_eq(bfile_write(b, "hello", 5, 0), 5);
	ck_assert_int_eq(bfile_reg_fd(b) >= 0, 1);
	do_closed(&e, b, 3);
	ck_assert_int_eq(upload_begin(b, 3, false, &v), 0);
	ck_assert_int_eq(upload_end(&v), 0);
	/* written after a lease was tried: the descriptor is replaced */
	ck_assert_int_eq(bfile_write(b, "hellO", 5, 0), 5);
	do_closed(&e, b, 4);
	rel = bfile_path(b);
	snprintf(path, sizeof(path), "%s/%s", dir, rel);
	free(rel);
	fd = open(path, O_RDWR);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ck_assert_int_eq(upload_begin(b, 4, false, &v), -EBUSY);
	ck_assert_int_eq(upload_begin(b, 4, true, &v), 0);
	upload_drop(&v);
	do_forget(&e, b);
	bfile_put(b);
	ck_assert_int_eq(memcmp(map, "hellO", 5), 0);
	for (i = 0; i < 20; i++) {
		ck_assert_int_eq(bfile_new(e.c, &b2), 0);
		ck_assert_uint_eq(bfile_size(b2), 0);
		ck_assert_int_eq(bfile_write(b2, "xxxxx", 5, 0), 5);
		bfile_put(b2);
	}
	ck_assert_int_eq(memcmp(map, "hellO", 5), 0);
	munmap(map, 4096);
	/* eviction of a mapped one is refused */
	ck_assert_int_eq(bfile_make(e.c, 21, MB, &b), 0);
	rel = bfile_path(b);
	snprintf(path, sizeof(path), "%s/%s", dir, rel);
	free(rel);
	bfile_put(b);
	fd = open(path, O_RDONLY);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	ck_assert_int_eq(cache_evict(e.c, 21), -EBUSY);
	munmap(map, 4096);
	ck_assert_int_ge(cache_evict(e.c, 21), 0);
	env_close(&e);
}
END_TEST

/* A failed create leaves nothing; a failed commit is found at the put. */
START_TEST(test_failed_assign)
{
	struct env e;
	struct bfile *b, *b2;

	env_open(&e, 1u << 30);
	ck_assert_int_eq(bfile_new(e.c, &b), 0);
	assign(&e, b, 30);
	ck_assert_int_eq(bfile_new(e.c, &b2), 0);
	{
		struct assign a = { .b = b2, .ino = 30 };

		ck_assert_int_eq(sq_write(e.q, assign_fn, &a), -EEXIST);
	}
	bfile_put(b2);
	bfile_put(b);
	ck_assert_int_eq(bfile_get(e.c, 30, &b), 0);
	bfile_put(b);
	ck_assert_int_eq(bfile_get(e.c, 31, &b), -ENOENT);
	env_close(&e);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cache_file");
	TCase *t = tcase_create("file");
	SRunner *r = srunner_create(s);
	int bad;

	tcase_set_timeout(t, 240);
	tcase_add_checked_fixture(t, setup, cleanup);
	tcase_add_test(t, test_failed_assign);
	tcase_add_test(t, test_many_small);
	tcase_add_test(t, test_lease);
	tcase_add_loop_test(t, test_thaw, 0, 16);
	tcase_add_test(t, test_damage);
	tcase_add_test(t, test_unclean);
	tcase_add_test(t, test_cut_off);
	tcase_add_test(t, test_first);
	tcase_add_test(t, test_cut_part);
	tcase_add_test(t, test_cut_twice);
	tcase_add_test(t, test_uploaded_lost);
	tcase_add_test(t, test_write_unverified);
	tcase_add_test(t, test_unclean_twice);
	tcase_add_test(t, test_landed_dropped);
	tcase_add_test(t, test_kill);
	tcase_add_loop_test(t, test_model, 0, 6);
	tcase_add_loop_test(t, test_crash, 0, 4);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}

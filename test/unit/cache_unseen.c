/*
 * Files that others write to without telling (C3, F2): a second descriptor or
 * a mapping plays the kernel's part.  Landings and closes meanwhile, a crash
 * after each step, a power cut, damage, leases.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "cache/map.h"
#include "test/unit/cache_util.h"

#define MB	((uint64_t)CACHE_CHUNK)
#define INO	((UINT64_C(5) << 36) | 78)
#define SIZE	(3 * MB + 77)
#define OLD	(40 * NSEC_PER_MSEC)	/* a ctime that must move */

struct env { struct sq *q; struct cache *c; bool unclean; };
struct call { struct cache *c; struct bfile *b; uint64_t ino, seq; };

static void
boot(int n)
{
	char id[40];

	snprintf(id, sizeof(id), "%08d-1111-1111-1111-111111111111", n);
	setenv("GNSFS_SYS_BOOT_ID", id, 1);
	sys_init();
}

static void
setup(void)
{
	scratch();
	boot(1);
}

static void
env_open(struct env *e)
{
	struct cache_opts o = { .dir = dir, .size_limit = 1u << 30,
	    .pool = 8 };
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

static int
assign_tx(struct sqc *q, void *arg)
{
	struct call *a = arg;

	return bfile_assign(q, a->b, a->ino);
}

static int
closed_tx(struct sqc *q, void *arg)
{
	struct call *a = arg;

	return bfile_closed(q, a->b, a->seq);
}

static int
landed_tx(struct sqc *q, void *arg)
{
	struct call *a = arg;

	return bfile_landed(a->c, q, a->ino, a->seq);
}

static struct bfile *
new_file(struct env *e, uint64_t ino)
{
	struct call a = { .ino = ino };

	ck_assert_int_eq(bfile_new(e->c, &a.b), 0);
	ck_assert_int_eq(sq_write(e->q, assign_tx, &a), 0);
	return a.b;
}

static void
closed(struct env *e, struct bfile *b, uint64_t seq)
{
	struct call a = { .b = b, .seq = seq };

	ck_assert_int_eq(sq_write(e->q, closed_tx, &a), 0);
}

static bool
has_seq(struct env *e, uint64_t seq)
{
	struct bfile *b;
	bool r = false;
	unsigned i;

	ck_assert_int_eq(bfile_get(e->c, INO, &b), 0);
	lock_take(&b->lock);
	for (i = 0; i < b->dirty.n; i++)
		r = r || b->dirty.v[i].seq == seq;
	lock_drop(&b->lock);
	bfile_put(b);
	return r;
}

/* The cache's thread may have looked before the commit, and looks again. */
static void
landed(struct env *e, uint64_t seq)
{
	struct call a = { .c = e->c, .ino = INO, .seq = seq };
	int i;

	ck_assert_int_eq(sq_write(e->q, landed_tx, &a), 0);
	cache_landed_commit(e->c);
	for (i = 0; i < 5000 && has_seq(e, seq); i++) {
		(void)clock_sleep(NSEC_PER_MSEC);
		cache_landed_commit(e->c);
	}
}

static char *
path_of(struct bfile *b, char ret[256])
{
	char *rel = bfile_path(b);

	snprintf(ret, 256, "%s/%s", dir, rel);
	free(rel);
	return ret;
}

/* As the kernel does for who has it passed. */
static int
pass(struct bfile *b)
{
	char path[256];
	int fd = open(path_of(b, path), O_RDWR);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(bfile_reg_fd(b), 0);
	return fd;
}

static void
put(int fd, char with, uint64_t off, size_t n)
{
	char *p = malloc(n);

	memset(p, with, n);
	ck_assert_int_eq(pwrite(fd, p, n, off), (ssize_t)n);
	free(p);
}

/* All of b, as one reads it, is the byte `is`. */
static void
check_all(struct bfile *b, char is, uint64_t size)
{
	char *p = malloc(size + 1);
	uint64_t i;

	ck_assert_uint_eq(bfile_size(b), size);
	ck_assert_int_eq(bfile_has(b, 0, size), 1);
	ck_assert_int_eq(bfile_read(b, p, size + 1, 0), (ssize_t)size);
	for (i = 0; i < size && p[i] == is; i++)
		;
	ck_assert_uint_eq(i, size);
	free(p);
}

/* The view's bytes are all `is`. */
static void
check_view(struct upload_view *v, char is, uint64_t size)
{
	char *p = malloc(size);
	uint64_t i;

	ck_assert(v->whole && v->size == size);
	ck_assert_int_eq(upload_read(v, p, size, 0), 0);
	for (i = 0; i < size && p[i] == is; i++)
		;
	ck_assert_uint_eq(i, size);
	free(p);
}

static void
store(struct env *e, struct bfile *b, uint64_t seq, bool copy, char is)
{
	struct upload_view v;

	ck_assert_int_eq(upload_begin(b, seq, copy, &v), 0);
	check_view(&v, is, SIZE);
	ck_assert_int_eq(upload_end(&v), 0);
	landed(e, seq);
}

static void
age(void)
{
	(void)clock_sleep(OLD);
}

/* A copy of it lands meanwhile: it stays dirty, all of it, to the end. */
START_TEST(test_landing)
{
	struct env e;
	struct upload_view v;
	struct bfile *b;
	int fd;

	env_open(&e);
	b = new_file(&e, INO);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	fd = pass(b);
	put(fd, 'a', 0, SIZE);
	age();
	bfile_account(b);
	closed(&e, b, 1);
	ck_assert_int_eq(upload_begin(b, 1, false, &v), -EBUSY);
	store(&e, b, 1, true, 'a');
	ck_assert(bfile_is_dirty(b) && !bfile_is_synced(b));
	put(fd, 'b', 0, SIZE);
	check_all(b, 'b', SIZE);
	ck_assert_int_eq(bfile_is_final(b), -EAGAIN);
	close(fd);
	ck_assert_int_eq(bfile_is_final(b), 0);
	bfile_unseen_end(b);
	ck_assert_int_eq(cache_evict(e.c, INO), -EBUSY);
	closed(&e, b, 2);
	store(&e, b, 2, false, 'b');
	ck_assert(!bfile_is_dirty(b));
	ck_assert_int_eq(bfile_verify(b), 0);
	check_all(b, 'b', SIZE);
	ck_assert_int_eq(bfile_keep(b), 0);
	bfile_put(b);
	ck_assert_int_gt(cache_evict(e.c, INO), 0);
	env_close(&e);
}
END_TEST

/* It ends, and is closed, while the copy is on its way. */
START_TEST(test_late_landing)
{
	struct env e;
	struct upload_view v;
	struct bfile *b;
	int fd;

	env_open(&e);
	b = new_file(&e, INO);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	fd = pass(b);
	put(fd, 'a', 0, SIZE);
	age();
	closed(&e, b, 1);
	ck_assert_int_eq(upload_begin(b, 1, true, &v), 0);
	put(fd, 'b', 0, SIZE);
	close(fd);
	if (_i == 1)
		ck_assert_int_eq(upload_end(&v), 0);
	bfile_unseen_end(b);
	if (_i == 2)
		ck_assert_int_eq(upload_end(&v), 0);
	closed(&e, b, 2);
	if (_i == 0) {
		check_view(&v, 'a', SIZE);
		ck_assert_int_eq(upload_end(&v), 0);
	}
	landed(&e, 1);
	ck_assert(bfile_is_dirty(b));
	store(&e, b, 2, false, 'b');
	ck_assert(!bfile_is_dirty(b));
	ck_assert_int_eq(bfile_verify(b), 0);
	check_all(b, 'b', SIZE);
	bfile_put(b);
	env_close(&e);
}
END_TEST

#define STEPS	9

/* Dies after the step'th of all that may happen. */
static void
steps(int last)
{
	struct env e;
	struct upload_view v;
	struct bfile *b;
	int fd = -1, step;

	env_open(&e);
	b = new_file(&e, INO);
	for (step = 0; step <= last; step++)
		switch (step) {
		case 0:
			ck_assert_int_eq(bfile_unseen_begin(b), 0);
			break;
		case 1:
			fd = pass(b);
			put(fd, 'a', 0, SIZE);
			age();
			break;
		case 2:
			closed(&e, b, 1);
			break;
		case 3:
			ck_assert_int_eq(upload_begin(b, 1, true, &v), 0);
			break;
		case 4:
			ck_assert_int_eq(upload_end(&v), 0);
			break;
		case 5:
			landed(&e, 1);
			break;
		case 6:
			ck_assert_int_eq(bfile_keep(b), 0);
			put(fd, 'b', 0, SIZE);
			break;
		case 7:
			close(fd);
			bfile_unseen_end(b);
			break;
		case 8:
			closed(&e, b, 2);
			break;
		}
	_exit(0);
}

static int
note_orphan(void *arg, const struct cache_orphan *o)
{
	struct cache_orphan *v = arg;

	while (v->ino != 0)
		v++;
	*v = *o;
	return 0;
}

static int
died(void (*what)(int), int arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		what(arg);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* F2: what was written is there, dirty as a whole, and unclosed until it was
 * closed. */
START_TEST(test_crash)
{
	struct cache_orphan o[4] = { { 0 } };
	struct env e;
	struct bfile *b;

	ck_assert_int_eq(died(steps, _i), 0);
	env_open(&e);
	ck_assert_int_eq(cache_recover(e.c, note_orphan, o), 0);
	ck_assert_uint_eq(o[0].ino, INO);
	ck_assert_uint_eq(o[1].ino, 0);
	ck_assert_int_eq(o[0].closed, _i == STEPS - 1);
	ck_assert_uint_eq(o[0].size, _i == 0 ? 0 : SIZE);
	ck_assert_int_eq(bfile_get(e.c, INO, &b), 0);
	check_all(b, _i < 6 ? 'a' : 'b', o[0].size);
	if (_i > 0) {
		closed(&e, b, 3);
		store(&e, b, 3, false, _i < 6 ? 'a' : 'b');
		ck_assert(!bfile_is_dirty(b));
	}
	bfile_put(b);
	env_close(&e);
}
END_TEST

static void
power(int unused)
{
	struct env e;
	struct bfile *b;

	env_open(&e);
	b = new_file(&e, 10);		/* synced half way */
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	put(pass(b), 'a', 0, 50000);
	ck_assert_int_eq(bfile_sync(b), 0);
	put(pass(b), 'a', 50000, 50000);
	b = new_file(&e, 11);		/* never */
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	put(pass(b), 'a', 0, 50000);
	b = new_file(&e, 12);		/* by each write itself */
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	ck_assert_int_eq(bfile_unseen_synced(b), 0);
	put(pass(b), 'a', 0, 50000);
	ck_assert_int_eq(bfile_sync(b), 0);
	put(pass(b), 'a', 50000, 50000);
	/* with a base, synced and not */
	ck_assert_int_eq(bfile_from_bytes(e.c, 13, "xy", 2, &b), 0);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	put(pass(b), 'a', 0, 50000);
	ck_assert_int_eq(bfile_sync(b), 0);
	ck_assert_int_eq(bfile_from_bytes(e.c, 14, "xy", 2, &b), 0);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	put(pass(b), 'a', 0, 50000);
	ck_assert_int_eq(bfile_from_bytes(e.c, 15, "xy", 2, &b), 0);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	ck_assert_int_eq(bfile_unseen_synced(b), 0);
	put(pass(b), 'a', 0, 50000);
	_exit(0);
}

/* L11, of what is written unseen. */
START_TEST(test_power_cut)
{
	static const struct { uint64_t size; bool lost; } want[] = {
		{ 50000, false }, { 0, true }, { 100000, false },
		{ 50000, false }, { 50000, true }, { 50000, false },
	};
	struct cache_orphan o[8] = { { 0 } };
	struct env e;
	unsigned i;

	ck_assert_int_eq(died(power, 0), 0);
	boot(2);
	env_open(&e);
	ck_assert(e.unclean);
	ck_assert_int_eq(cache_recover(e.c, note_orphan, o), 0);
	for (i = 0; i < sizeof(want) / sizeof(*want); i++) {
		ck_assert_uint_eq(o[i].ino, 10 + i);
		ck_assert_uint_eq(o[i].size, want[i].size);
		ck_assert_int_eq(o[i].unsynced, want[i].lost);
	}
	env_close(&e);
}
END_TEST

/* What is not whole, or damaged, never counts as written. */
START_TEST(test_not_whole)
{
	struct env e;
	struct bfile *b;
	char *p = malloc(MB);
	uint64_t k, gen;
	int fd;

	memset(p, 'a', MB);
	env_open(&e);
	ck_assert_int_eq(bfile_make(e.c, INO, 3 * MB, &b), 0);
	gen = bfile_clean_gen(b);
	ck_assert_int_eq(bfile_fill(b, 0, gen, p, MB, -1), 0);
	ck_assert_int_eq(bfile_unseen_begin(b), -EIO);
	for (k = 1; k < 3; k++)
		ck_assert_int_eq(bfile_fill(b, k, gen, p, MB, -1), 0);
	ck_assert(bfile_is_sound(b));
	fd = pass(b);
	put(fd, 'x', MB + 5, 1);
	ck_assert_int_eq(bfile_verify(b), -EUCLEAN);
	ck_assert_int_eq(bfile_unseen_begin(b), -EIO);
	ck_assert(!bfile_is_dirty(b) && !bfile_is_sound(b));
	ck_assert_int_eq(bfile_fill(b, 1, gen, p, MB, -1), 0);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	ck_assert(bfile_is_dirty(b));
	close(fd);
	bfile_unseen_end(b);
	check_all(b, 'a', 3 * MB);
	bfile_put(b);
	env_close(&e);
	free(p);
}
END_TEST

/* Clean, of 3 MB and 77 bytes 'a', checksums known, and sound. */
static struct bfile *
clean_file(struct env *e)
{
	struct bfile *b;
	char *p = malloc(MB);
	uint64_t k, gen;

	memset(p, 'a', MB);
	ck_assert_int_eq(bfile_make(e->c, INO, SIZE, &b), 0);
	gen = bfile_clean_gen(b);
	for (k = 0; k < 4; k++)
		ck_assert_int_eq(bfile_fill(b, k, gen, p, k < 3 ? MB : 77,
		    -1), 0);
	ck_assert(bfile_is_sound(b) && !bfile_is_dirty(b));
	free(p);
	return b;
}

/* As clean_file has it. */
static void
check_clean(struct bfile *b)
{
	uint32_t crc;
	uint64_t k;

	ck_assert(bfile_is_sound(b) && !bfile_is_dirty(b));
	lock_take(&b->lock);
	for (k = 0; k < 4; k++)
		ck_assert(chunk_crc(b, k, &crc));
	lock_drop(&b->lock);
	ck_assert_int_eq(bfile_verify(b), 0);
	check_all(b, 'a', SIZE);
}

/* Nobody changed anything: it is as it was, here and for the next start. */
START_TEST(test_undo)
{
	struct cache_orphan o[4] = { { 0 } };
	struct cache_stat st;
	struct env e;
	struct bfile *b;
	uint64_t gen;
	int i;

	env_open(&e);
	b = clean_file(&e);
	for (i = 0; i < 3; i++) {
		gen = bfile_clean_gen(b);
		ck_assert_int_eq(bfile_unseen_begin(b), 0);
		ck_assert(bfile_is_dirty(b) && bfile_is_all_dirty(b));
		if (i == 1)
			ck_assert_int_eq(bfile_unseen_synced(b), 0);
		if (i == 2)
			ck_assert_int_eq(bfile_sync(b), 0);
		ck_assert_int_eq(bfile_unseen_undo(b), 0);
		ck_assert_uint_ne(bfile_clean_gen(b), gen);
		check_clean(b);
	}
	cache_stat(e.c, &st);
	ck_assert_uint_eq(st.dirty, 0);
	bfile_put(b);
	env_close(&e);
	boot(2);			/* what is not synced is L11's */
	env_open(&e);
	ck_assert_int_eq(cache_recover(e.c, note_orphan, o), 0);
	ck_assert_uint_eq(o[0].ino, 0);
	ck_assert_int_eq(bfile_get(e.c, INO, &b), 0);
	check_clean(b);
	ck_assert_int_eq(bfile_write(b, "b", 1, MB), 1);
	ck_assert(bfile_is_dirty(b) && !bfile_is_all_dirty(b));
	bfile_put(b);
	env_close(&e);
}
END_TEST

/* It was not clean, or something was written or closed: all stays dirty. */
START_TEST(test_no_undo)
{
	struct env e;
	struct bfile *b;

	env_open(&e);
	b = clean_file(&e);
	if (_i == 0)
		ck_assert_int_eq(bfile_write(b, "b", 1, MB), 1);
	if (_i == 1) {
		ck_assert_int_eq(bfile_write(b, "b", 1, MB), 1);
		closed(&e, b, 1);
	}
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	if (_i == 2)
		closed(&e, b, 1);
	if (_i == 3) {
		ck_assert_int_eq(bfile_sync(b), 0);
		ck_assert_int_eq(bfile_write(b, "b", 1, MB), 1);
	}
	ck_assert_int_eq(bfile_unseen_undo(b), -ENODATA);
	ck_assert(bfile_is_all_dirty(b));
	ck_assert_int_eq(bfile_unseen_begin(b), 0);	/* still */
	bfile_unseen_end(b);
	ck_assert(bfile_is_all_dirty(b));
	ck_assert_int_eq(bfile_unseen_undo(b), -ENODATA);
	bfile_put(b);
	env_close(&e);
}
END_TEST

static void
undo_steps(int last)
{
	struct env e;
	struct bfile *b;
	int fd;

	env_open(&e);
	b = clean_file(&e);
	if (map_save(e.c, &b, 1, true) != 0 || bfile_unseen_begin(b) != 0)
		_exit(1);
	if (last == 1) {
		fd = pass(b);
		put(fd, 'b', 0, SIZE);
	}
	if (last == 2 && bfile_unseen_undo(b) != 0)
		_exit(1);
	_exit(0);
}

/* A crash before it is taken back: all is dirty; after: clean, and here. */
START_TEST(test_undo_crash)
{
	struct cache_orphan o[4] = { { 0 } };
	struct env e;
	struct bfile *b;

	ck_assert_int_eq(died(undo_steps, _i), 0);
	env_open(&e);
	ck_assert_int_eq(cache_recover(e.c, note_orphan, o), 0);
	ck_assert_uint_eq(o[0].ino, _i == 2 ? 0 : INO);
	ck_assert_int_eq(bfile_get(e.c, INO, &b), 0);
	if (_i == 2) {
		check_clean(b);
	} else {
		ck_assert(bfile_is_all_dirty(b));
		check_all(b, _i == 0 ? 'a' : 'b', SIZE);
		closed(&e, b, 1);
		store(&e, b, 1, false, _i == 0 ? 'a' : 'b');
		ck_assert(!bfile_is_dirty(b));
		ck_assert_int_eq(bfile_verify(b), 0);
	}
	bfile_put(b);
	env_close(&e);
}
END_TEST

/* What the daemon wrote to a whole file is as much here as what it has not:
 * who joins then finds it whole. */
START_TEST(test_joined)
{
	struct env e;
	struct bfile *b;
	char *p = malloc(3 * MB);
	int fd;

	memset(p, 'a', 3 * MB);
	env_open(&e);
	b = clean_file(&e);
	ck_assert_int_eq(bfile_write(b, p, 3 * MB, SIZE), 3 * (ssize_t)MB);
	ck_assert(bfile_is_sound(b) && !bfile_is_all_dirty(b));
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	fd = pass(b);
	put(fd, 'a', 10, 10);
	ck_assert_int_eq(bfile_write(b, p, MB, SIZE + 3 * MB), (ssize_t)MB);
	close(fd);
	bfile_unseen_end(b);
	check_all(b, 'a', SIZE + 4 * MB);
	ck_assert(bfile_is_all_dirty(b));
	bfile_put(b);
	env_close(&e);
	free(p);
}
END_TEST

/* K7: what the kernel has, or is about to, is not punched. */
START_TEST(test_lent)
{
	struct env e;
	struct bfile *b;

	env_open(&e);
	b = clean_file(&e);
	ck_assert_int_ge(bfile_reg_fd(b), 0);
	bfile_lend(b, true);
	bfile_writers(b, 1);
	ck_assert_uint_eq(punch_open_files(e.c, UINT64_MAX), 0);
	check_clean(b);
	bfile_lend(b, false);
	ck_assert_uint_eq(punch_open_files(e.c, UINT64_MAX), 3 * MB);
	ck_assert(!bfile_is_sound(b));
	bfile_writers(b, -1);
	bfile_put(b);
	env_close(&e);
}
END_TEST

/* C2: where the disk is said to tell, a mapping's first store to a page moves
 * ctime: to a page that is clean, dirty, or was stored to by a mapping that is
 * gone. */
START_TEST(test_tells)
{
	struct bfile_stat was, is;
	struct env e;
	struct bfile *b;
	char *p;
	int i, fd;
	bool tells;

	env_open(&e);
	ck_assert_int_eq(bfile_new(e.c, &b), 0);
	ck_assert_int_ge(bfile_reg_fd(b), 0);
	ck_assert_int_eq(bfile_has_leases(b), 0);
	tells = bfile_tells_stores(b);
	ck_assert_uint_eq(bfile_size(b), 0);
	bfile_put(b);
	b = clean_file(&e);		/* all its pages are dirty */
	fd = pass(b);
	for (i = 0; i < 3; i++) {
		if (i == 2)
			ck_assert_int_eq(fdatasync(fd), 0);
		age();
		ck_assert_int_eq(bfile_stat(b, &was), 0);
		p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    0);
		ck_assert_ptr_ne(p, MAP_FAILED);
		ck_assert_int_eq(p[MB], 'a');	/* read before */
		ck_assert_int_eq(bfile_stat(b, &is), 0);
		ck_assert_int_eq(is.ctime, was.ctime);
		p[MB] = 'a';
		ck_assert_int_eq(bfile_stat(b, &is), 0);
		ck_assert(!tells || is.ctime > was.ctime);
		munmap(p, SIZE);
	}
	close(fd);
	bfile_put(b);
	env_close(&e);
}
END_TEST

struct scribe { int fd; _Atomic bool stop; };

static void *
scribble(void *arg)
{
	struct scribe *s = arg;
	char c;

	for (c = 'a'; !atomic_load(&s->stop); c = c == 'z' ? 'a' : c + 1)
		put(s->fd, c, 0, SIZE);
	return NULL;
}

/* A copy that is used is of one moment, or was not made. */
START_TEST(test_torn)
{
	struct scribe s = { 0 };
	struct env e;
	struct upload_view v;
	struct bfile *b;
	pthread_t t;
	char first;
	int i, err;

	env_open(&e);
	b = new_file(&e, INO);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	s.fd = pass(b);
	put(s.fd, 'a', 0, SIZE);
	closed(&e, b, 1);
	ck_assert_int_eq(pthread_create(&t, NULL, scribble, &s), 0);
	for (i = 0; i < 100; i++) {
		err = upload_begin(b, 1, true, &v);
		ck_assert(err == 0 || err == -EBUSY);
		if (err != 0)
			continue;
		/* all of one write, of which there was no other */
		ck_assert_int_eq(upload_read(&v, &first, 1, 0), 0);
		check_view(&v, first, SIZE);
		upload_drop(&v);
	}
	atomic_store(&s.stop, true);
	pthread_join(t, NULL);
	age();
	ck_assert_int_eq(pread(s.fd, &first, 1, 0), 1);
	store(&e, b, 1, true, first);
	close(s.fd);
	bfile_unseen_end(b);
	bfile_put(b);
	env_close(&e);
}
END_TEST

struct leaser { struct bfile *b; _Atomic bool stop; };

static void *
lease(void *arg)
{
	struct leaser *l = arg;

	while (!atomic_load(&l->stop))
		(void)bfile_is_final(l->b);
	return NULL;
}

/* C2: whoever tries a lease keeps nobody from changing the file. */
START_TEST(test_leases)
{
	struct leaser l = { 0 };
	struct env e;
	pthread_t t;
	int i;

	env_open(&e);
	l.b = new_file(&e, INO);
	ck_assert_int_ge(bfile_reg_fd(l.b), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, lease, &l), 0);
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(bfile_truncate(l.b, 5000 + i), 0);
		ck_assert_int_eq(bfile_write(l.b, "x", 1, i), 1);
		ck_assert_int_eq(bfile_fallocate(l.b, 0, i, 10), 0);
	}
	atomic_store(&l.stop, true);
	pthread_join(t, NULL);
	bfile_put(l.b);
	env_close(&e);
}
END_TEST

/* C2: a mapping outlives its descriptor; one that is only read does not
 * matter. */
START_TEST(test_mapping)
{
	struct env e;
	struct bfile *b;
	char *p, path[256];
	int fd;

	env_open(&e);
	b = new_file(&e, INO);
	ck_assert_int_eq(bfile_unseen_begin(b), 0);
	fd = pass(b);
	put(fd, 'a', 0, SIZE);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	close(fd);
	ck_assert_int_eq(bfile_is_final(b), -EAGAIN);
	memset(p, 'b', SIZE);
	munmap(p, SIZE);
	ck_assert_int_eq(bfile_is_final(b), 0);
	fd = open(path_of(b, path), O_RDONLY);
	ck_assert_int_eq(bfile_is_final(b), 0);
	bfile_unseen_end(b);
	closed(&e, b, 1);
	store(&e, b, 1, false, 'b');
	ck_assert_int_eq(bfile_keep(b), 0);
	bfile_put(b);
	ck_assert_int_eq(cache_evict(e.c, INO), -EBUSY);
	close(fd);
	ck_assert_int_gt(cache_evict(e.c, INO), 0);
	env_close(&e);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cache_unseen");
	TCase *t = tcase_create("unseen");
	SRunner *r = srunner_create(s);
	int bad;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, cleanup);
	tcase_add_test(t, test_landing);
	tcase_add_loop_test(t, test_late_landing, 0, 3);
	tcase_add_loop_test(t, test_crash, 0, STEPS);
	tcase_add_test(t, test_power_cut);
	tcase_add_test(t, test_not_whole);
	tcase_add_test(t, test_torn);
	tcase_add_test(t, test_leases);
	tcase_add_test(t, test_mapping);
	tcase_add_test(t, test_undo);
	tcase_add_loop_test(t, test_no_undo, 0, 4);
	tcase_add_loop_test(t, test_undo_crash, 0, 3);
	tcase_add_test(t, test_joined);
	tcase_add_test(t, test_lent);
	tcase_add_test(t, test_tells);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}

/* Small rows, room, eviction, pins and their reservation, a full disk, and
 * many threads on few files (for the thread sanitizer too). */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "cache/map.h"
#include "test/unit/cache_util.h"

#define MB	((uint64_t)CACHE_CHUNK)

static struct sq *q;
static struct cache *c;
static uint8_t chunk[1 << 20];

static void
setup(void)
{
	scratch();
	sys_init();
}

static void
open_in(const char *where, uint64_t limit)
{
	struct cache_opts o = { .dir = where, .size_limit = limit, .pool = 8 };
	struct why why = { "" };

	ck_assert_int_eq(sq_open(db, NULL, &q, &why), 0);
	o.index = q;
	ck_assert_msg(cache_open(&o, &c, NULL, &why) == 0, "%s", why.text);
}

static void
close_all(void)
{
	cache_close(c);
	sq_close(q);
}

/* A clean, complete file of n chunks. */
static int
make(uint64_t ino, unsigned n)
{
	struct bfile *b;
	unsigned i;
	int err = 0;

	ck_assert_int_eq(bfile_make(c, ino, n * MB, &b), 0);
	for (i = 0; !err && i < n; i++) {
		err = cache_room(c, MB, false);
		memset(chunk, ino + i, MB);
		err = err ? err :
		    bfile_fill(b, i, bfile_clean_gen(b), chunk, MB, -1);
	}
	bfile_put(b);
	return err;
}

static bool
there(uint64_t ino)
{
	struct bfile *b;

	if (bfile_get(c, ino, &b))
		return false;
	bfile_put(b);
	return true;
}

START_TEST(test_small)
{
	struct small_id id = { 7, 100, 4096, 300 };
	struct small_put p = { id, chunk };
	struct buf out = BUF_INIT;
	struct cache_stat st;

	memset(chunk, 5, MB);
	open_in(dir, 1 << 30);
	ck_assert_int_eq(small_get(c, &id, &out), -ENOENT);
	ck_assert_int_eq(small_put(c, &p, 1), 0);
	ck_assert(small_has(c, &id));
	ck_assert_int_eq(small_get(c, &id, &out), 0);
	ck_assert_uint_eq(out.len, 300);
	ck_assert_int_eq(memcmp(out.p, chunk, 300), 0);
	ck_assert_int_eq(small_verify(c, &id), 0);
	id.object = 101;	/* another content of the same inode */
	ck_assert(!small_has(c, &id));
	ck_assert_int_eq(small_get(c, &id, &out), -ENOENT);
	ck_assert_int_eq(cache_present(c, 7, 300, NULL), 100);
	ck_assert_int_eq(cache_present(c, 8, 0, NULL), 100);
	cache_stat(c, &st);
	ck_assert_uint_gt(st.small, 300);
	close_all();
	open_in(dir, 0);
	cache_stat(c, &st);
	ck_assert_uint_eq(st.limit, 1 << 30);
	ck_assert_uint_gt(st.small, 300);
	ck_assert_int_eq(cache_evict(c, 7), 300);
	cache_stat(c, &st);
	ck_assert_uint_eq(st.small, 0);
	buf_done(&out);
	close_all();
}
END_TEST

/* Added, not put: no row is replaced, nothing evicted, no reservation lost. */
START_TEST(test_small_add)
{
	struct pin_want w[2] = { { 7, 500 }, { 8, 300 } };
	struct small_id newer = { 7, 101, 0, 300 };
	struct small_put p = { newer, chunk };
	struct small_put v[2] = { { { 7, 100, 4096, 500 }, chunk },
	    { { 8, 100, 0, 300 }, chunk } };
	struct cache_stat st;
	uint64_t small;

	memset(chunk, 5, MB);
	open_in(dir, 100 * MB);
	ck_assert(!small_has_any(c, 7));
	ck_assert_int_eq(small_put(c, &p, 1), 0);
	ck_assert(small_has_any(c, 7) && !small_has(c, &v[0].id));
	ck_assert_int_eq(cache_pin(c, 5, w, 2, NULL), 0);
	cache_stat(c, &st);
	ck_assert_uint_eq(st.reserved, 800);
	small = st.small;
	ck_assert_int_eq(small_add(c, v, 2), 0);
	ck_assert(small_has(c, &newer) && small_has(c, &v[1].id));
	cache_stat(c, &st);
	ck_assert_uint_eq(st.reserved, 500);		/* C5: of 7 */
	ck_assert_uint_eq(st.small, small + small_row_cost(300));
	/* full of what could go */
	for (unsigned n = 0; n < 25; n++)
		ck_assert_int_eq(make(20 + n, 4), 0);
	cache_stat(c, &st);
	cache_set_limit(c, st.used + st.reserved);
	v[1].id.ino = 9;
	cache_stat(c, &st);
	small = st.used;
	ck_assert_int_eq(small_add(c, v + 1, 1), -ENOSPC);
	cache_stat(c, &st);
	ck_assert_uint_eq(st.used, small);
	ck_assert(!small_has_any(c, 9));
	ck_assert_int_eq(small_put(c, v + 1, 1), 0);	/* that evicts */
	cache_stat(c, &st);
	ck_assert_uint_lt(st.used, small);
	close_all();
}
END_TEST

/* What was read last goes last. */
START_TEST(test_small_order)
{
	struct small_put v[3];
	struct cache_stat st;
	struct buf out = BUF_INIT;

	memset(chunk, 5, MB);
	open_in(dir, 100 * MB);
	for (unsigned i = 0; i < 3; i++) {
		v[i] = (struct small_put){ { 7 + i, 100 + i, 0, 40000 },
		    chunk };
		ck_assert_int_eq(small_put(c, v + i, 1), 0);
	}
	ck_assert_int_eq(small_get(c, &v[0].id, &out), 0);
	cache_stat(c, &st);
	cache_set_limit(c, st.used - 1);
	ck_assert(small_has(c, &v[0].id));
	ck_assert(!small_has(c, &v[1].id));
	ck_assert(small_has(c, &v[2].id));
	buf_done(&out);
	close_all();
}
END_TEST

/* What is pinned is never the oldest, however long nobody reads it. */
START_TEST(test_small_pinned)
{
	struct small_put v[2] = { { { 7, 100, 0, 40000 }, chunk },
	    { { 8, 101, 0, 40000 }, chunk } };
	struct pin_want w = { 7, 40000 };
	int64_t between;

	memset(chunk, 5, MB);
	open_in(dir, 100 * MB);
	ck_assert_int_eq(small_put(c, &v[0], 1), 0);
	between = clock_real();
	ck_assert(cache_has_older(c, between));
	ck_assert_int_eq(cache_pin(c, 1, &w, 1, NULL), 0);
	ck_assert(!cache_has_older(c, between));	/* there is none */
	ck_assert_int_eq(small_put(c, &v[1], 1), 0);
	ck_assert(!cache_has_older(c, between));
	ck_assert(cache_has_older(c, clock_real() + 1));
	close_all();
}
END_TEST

static int
flip_tx(struct sqc *s, void *arg)
{
	return sq_exec(s, "UPDATE s_bytes SET data=zeroblob(len)");
}

START_TEST(test_small_damaged)
{
	struct small_id id = { 7, 100, 0, 300 };
	struct small_put p = { id, chunk };
	struct buf out = BUF_INIT;

	memset(chunk, 5, MB);
	open_in(dir, 1 << 30);
	ck_assert_int_eq(small_put(c, &p, 1), 0);
	ck_assert_int_eq(sq_write(c->small, flip_tx, NULL), 0);
	ck_assert_int_eq(small_verify(c, &id), -EUCLEAN);
	ck_assert_int_eq(small_get(c, &id, &out), -ENOENT);
	ck_assert_int_eq(small_put(c, &p, 1), 0);
	ck_assert_int_eq(sq_write(c->small, flip_tx, NULL), 0);
	ck_assert_int_eq(small_get(c, &id, &out), -ENOENT);
	ck_assert_uint_eq(out.len, 0);
	close_all();
}
END_TEST

static int
assign_fn(struct sqc *s, void *arg)
{
	return bfile_assign(s, arg, 900);
}

/* Least recently used first; never what is dirty or pinned. */
START_TEST(test_evict)
{
	struct pin_want w = { 1, 4 * MB };
	struct cache_stat st;
	struct bfile *b;
	uint64_t ino;

	open_in(dir, 40 * MB);
	for (ino = 1; ino <= 5; ino++)
		ck_assert_int_eq(make(ino, 4), 0);
	ck_assert_int_eq(cache_pin(c, 1, &w, 1, NULL), 0);
	ck_assert_int_eq(bfile_get(c, 2, &b), 0);
	ck_assert_int_eq(bfile_write(b, "x", 1, 0), 1);
	bfile_put(b);
	ck_assert_int_eq(cache_evict(c, 1), -EPERM);
	ck_assert_int_eq(cache_evict(c, 2), -EBUSY);
	ck_assert(there(3));	/* used: the youngest now */
	ck_assert_int_eq(cache_room(c, 24 * MB, false), 0);
	ck_assert(!there(4));
	ck_assert(there(1) && there(2));
	for (ino = 10; ino < 40; ino++)
		ck_assert_int_eq(make(ino, 4), 0);
	ck_assert(there(1) && there(2) && there(39));
	cache_stat(c, &st);
	ck_assert_uint_le(st.used + st.reserved, st.limit);
	/* full of dirty bytes: readers and, at last, writers are told */
	ck_assert_int_eq(bfile_new(c, &b), 0);
	ck_assert_int_eq(sq_write(q, assign_fn, b), 0);
	for (ino = 0; cache_room(c, MB, true) == 0; ino++)
		ck_assert_int_eq(bfile_write(b, chunk, MB, ino * MB), MB);
	ck_assert_int_eq(cache_room(c, MB, false), -ENOSPC);
	ck_assert_int_eq(cache_room_wait(c, MB, clock_mono() + 20000000),
	    -ENOSPC);
	ck_assert(there(1) && there(2));
	cache_stat(c, &st);
	ck_assert_uint_ge(st.dirty, ino * MB);
	bfile_put(b);
	close_all();
	open_in(dir, 0);
	cache_stat(c, &st);
	ck_assert_uint_ge(st.dirty, ino * MB);
	ck_assert(there(1) && there(2));
	close_all();
}
END_TEST

static int
count(void *arg, uint64_t ino, uint64_t size)
{
	++*(int *)arg;
	return 0;
}

static int
add_pin(void *arg, uint64_t pin)
{
	*(int *)arg = *(int *)arg * 10 + (int)pin;
	return 0;
}

static uint64_t
reserve_blocks(void)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "%s/reserve", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_blocks * 512;
}

START_TEST(test_pin)
{
	struct pin_want w[3] = { { 1, 40 * MB }, { 2, 1000 }, { 3, 2 * MB } };
	struct small_put p = { { 2, 9, 0, 1000 }, chunk };
	struct cache_pin_stat ps;
	struct cache_stat st;
	struct why why = { "" };
	int n = 0;

	open_in(dir, 100 * MB);
	ck_assert_int_eq(make(3, 2), 0);
	ck_assert_int_eq(cache_pin(c, 5, w, 3, &why), 0);
	cache_stat(c, &st);
	ck_assert_uint_eq(st.reserved, 40 * MB + 1000);
	ck_assert_uint_ge(reserve_blocks(), 40 * MB);	/* C5: real */
	ck_assert_int_eq(cache_pin(c, 6, w, 1, &why), 0);
	cache_stat(c, &st);
	ck_assert_uint_eq(st.reserved, 40 * MB + 1000);	/* once */
	ck_assert_int_eq(cache_pin_missing(c, 5, 0, count, &n), 0);
	ck_assert_int_eq(n, 2);
	n = 0;
	ck_assert_int_eq(cache_pins_each(c, add_pin, &n), 0);
	ck_assert_int_eq(n, 56);
	/* too much: nothing is kept, and it says so */
	w[1].ino = 50;
	w[1].size = 80 * MB;
	ck_assert_int_eq(cache_pin(c, 7, w, 3, &why), -ENOSPC);
	ck_assert(strstr(why.text, "cache_size") != NULL);
	ck_assert(!cache_is_pinned(c, 50) && cache_is_pinned(c, 1));
	cache_stat(c, &st);
	ck_assert_uint_eq(st.reserved, 40 * MB + 1000);
	/* the reservation holds against readers */
	ck_assert_int_eq(cache_room(c, 70 * MB, false), -ENOSPC);
	ck_assert_int_eq(make(1, 40), 0);
	ck_assert_int_eq(small_put(c, &p, 1), 0);
	cache_stat(c, &st);
	ck_assert_uint_eq(st.reserved, 0);
	ck_assert_uint_le(reserve_blocks(), 17 * MB);
	ck_assert_int_eq(cache_pin_stat(c, 5, &ps), 0);
	ck_assert_uint_eq(ps.files, 3);
	ck_assert_uint_eq(ps.have_files, 3);
	ck_assert_uint_eq(ps.have_bytes, 42 * MB + 1000);
	close_all();
	open_in(dir, 0);
	ck_assert(cache_is_pinned(c, 1));
	ck_assert_int_eq(cache_unpin(c, 5, NULL, 0), 0);
	ck_assert(cache_is_pinned(c, 1));	/* by 6 */
	ck_assert(!cache_is_pinned(c, 3));
	ck_assert_int_eq(cache_unpin(c, 6, (uint64_t[]){ 1 }, 1), 0);
	ck_assert(!cache_is_pinned(c, 1));
	ck_assert_int_gt(cache_evict(c, 1), 0);
	close_all();
}
END_TEST

START_TEST(test_pin_many)
{
	static struct pin_want w[100000];
	struct cache_pin_stat ps;
	int64_t t;
	unsigned i;

	for (i = 0; i < 100000; i++)
		w[i] = (struct pin_want){ 5000 + i, 100 };
	open_in(dir, 1 << 30);
	t = clock_mono();
	ck_assert_int_eq(cache_pin(c, 1, w, 100000, NULL), 0);
	t = clock_mono() - t;
	printf("pin of 100,000 files: %.2f s\n", t / 1e9);
	ck_assert_int_eq(cache_pin_stat(c, 1, &ps), 0);
	ck_assert_uint_eq(ps.want_bytes, 10000000);
	ck_assert_int_eq(cache_unpin(c, 1, NULL, 0), 0);
	close_all();
}
END_TEST

/* A full disk: what was answered is whole, what was not says ENOSPC. */
START_TEST(test_enospc)
{
	char cmd[600], mnt[96];
	struct bfile *b;
	uint64_t off = 0;
	ssize_t r;
	unsigned i;
	int err = 0;

	if (geteuid() != 0)
		return;
	snprintf(mnt, sizeof(mnt), "%s/mnt", dir);
	snprintf(cmd, sizeof(cmd), "mkdir %s && truncate -s 48M %s/img &&"
	    " mkfs.ext4 -q %s/img && mount -o loop %s/img %s 2>/dev/null",
	    mnt, dir, dir, dir, mnt);
	if (system(cmd) != 0)
		return;		/* no loop devices here */
	snprintf(db, sizeof(db), "%s/state.db", dir);
	open_in(mnt, 1 << 30);
	ck_assert_int_eq(cache_room(c, 200 * MB, true), -ENOSPC);
	ck_assert_int_eq(bfile_make(c, 1, 100 * MB, &b), 0);
	for (i = 0; i < 100 && err == 0; i++) {
		memset(chunk, i, MB);
		err = bfile_fill(b, i, bfile_clean_gen(b), chunk, MB, -1);
	}
	ck_assert_int_eq(err, -ENOSPC);
	ck_assert_int_eq(bfile_has(b, 0, (i - 1) * MB), 1);
	ck_assert_int_eq(bfile_has(b, (i - 1) * MB, MB), 0);
	r = bfile_write(b, chunk, MB, (i + 1) * MB);
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_int_eq(bfile_has(b, (i + 1) * MB, 1), 0);
	bfile_put(b);
	ck_assert_int_gt(cache_evict(c, 1), 0);
	ck_assert_int_eq(bfile_new(c, &b), 0);
	while ((r = bfile_write(b, chunk, MB, off)) == (ssize_t)MB)
		off += MB;
	ck_assert_int_eq(r, -ENOSPC);
	bfile_put(b);
	close_all();
	snprintf(cmd, sizeof(cmd), "umount %s", mnt);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

/* --- threads --- */

#define FILES	6
#define CHUNKS	4

static _Atomic bool stop;
static _Atomic uint64_t checked;

/* A byte of file f's chunk k is f*16+k, in the store and after any write. */
static int
fill_gap(void *arg, uint64_t off, uint64_t len)
{
	struct bfile *b = arg;
	uint8_t *p = malloc(MB);
	uint64_t k;

	for (k = off / MB; k * MB < off + len; k++) {
		int err;

		memset(p, bfile_ino(b) * 16 + k, MB);
		/* another thread may land or truncate between the two */
		do
			err = bfile_fill(b, k, bfile_clean_gen(b), p, MB, -1);
		while (err == -ESTALE);
		ck_assert_int_eq(err, 0);
	}
	free(p);
	return 0;
}

static void *
reader(void *arg)
{
	unsigned seed = (uintptr_t)arg;
	uint8_t buf[4096];
	struct bfile *b;
	uint64_t off, i;

	while (!stop) {
		if (bfile_make(c, 1 + rand_r(&seed) % FILES, CHUNKS * MB, &b))
			continue;
		off = rand_r(&seed) % (CHUNKS * 256) * 4096;
		while (!bfile_has(b, off, sizeof(buf)))
			bfile_gaps(b, off, sizeof(buf), fill_gap, b);
		ck_assert_int_eq(bfile_read(b, buf, sizeof(buf), off), 4096);
		for (i = 0; i < sizeof(buf); i += 97)
			ck_assert_uint_eq(buf[i],
			    (uint8_t)(bfile_ino(b) * 16 + off / MB));
		bfile_put(b);
		checked++;
	}
	return NULL;
}

static void *
writer(void *arg)
{
	unsigned seed = (uintptr_t)arg;
	uint8_t buf[5000];
	struct bfile *b;
	uint64_t off;

	while (!stop) {
		if (bfile_make(c, 1 + rand_r(&seed) % (FILES / 2),
		    CHUNKS * MB, &b))
			continue;
		off = rand_r(&seed) % CHUNKS * MB +
		    rand_r(&seed) % (MB - sizeof(buf));
		memset(buf, bfile_ino(b) * 16 + off / MB, sizeof(buf));
		ck_assert_int_eq(bfile_write(b, buf, sizeof(buf), off), 5000);
		if (rand_r(&seed) % 16 == 0)
			ck_assert_int_eq(bfile_sync(b), 0);
		bfile_put(b);
	}
	return NULL;
}

struct op { uint64_t ino, seq; struct bfile *b; };

static int
closed_fn(struct sqc *s, void *arg)
{
	struct op *o = arg;

	return bfile_closed(s, o->b, o->seq);
}

static int
landed_fn(struct sqc *s, void *arg)
{
	struct op *o = arg;

	return bfile_landed(c, s, o->ino, o->seq);
}

static void *
uploader(void *arg)
{
	struct op o = { .seq = 1 };
	struct upload_view v;
	uint8_t buf[65536];
	uint64_t off, n;
	unsigned i;

	while (!stop) {
		o.ino = 1 + o.seq % FILES;
		o.seq++;
		if (bfile_get(c, o.ino, &o.b))
			continue;
		if (bfile_is_dirty(o.b) && sq_write(q, closed_fn, &o) == 0 &&
		    upload_begin(o.b, o.seq, o.seq % 2, &v) == 0) {
			for (i = 0; i < v.n; i++)
				for (off = v.v[i].off; off < v.v[i].end;
				    off += n) {
					n = v.v[i].end - off;
					n = n < sizeof(buf) ? n : sizeof(buf);
					ck_assert_int_eq(upload_read(&v, buf,
					    n, off), 0);
				}
			if (upload_end(&v) == 0) {
				ck_assert_int_eq(sq_write(q, landed_fn, &o),
				    0);
				cache_landed_commit(c);
			}
		}
		bfile_put(o.b);
	}
	return NULL;
}

static void *
evicter(void *arg)
{
	unsigned seed = 99;
	struct cache_stat st;

	while (!stop) {
		cache_evict(c, 1 + rand_r(&seed) % FILES);
		cache_room(c, MB, false);
		cache_stat(c, &st);
		usleep(1000);
	}
	return NULL;
}

static void *
creator(void *arg)
{
	struct bfile *b;
	unsigned i;

	for (i = 0; !stop; i++) {
		ck_assert_int_eq(bfile_new(c, &b), 0);
		ck_assert_int_eq(bfile_write(b, "abc", 3, 0), 3);
		ck_assert_uint_eq(bfile_size(b), 3);
		bfile_put(b);
	}
	return NULL;
}

START_TEST(test_threads)
{
	pthread_t t[9];
	struct bfile *b;
	uintptr_t i;

	open_in(dir, 64 * MB);
	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, reader, (void *)(i + 1));
	for (; i < 6; i++)
		pthread_create(&t[i], NULL, writer, (void *)(i + 1));
	pthread_create(&t[i++], NULL, uploader, NULL);
	pthread_create(&t[i++], NULL, evicter, NULL);
	pthread_create(&t[i++], NULL, creator, NULL);
	sleep(3);
	stop = true;
	while (i > 0)
		pthread_join(t[--i], NULL);
	ck_assert_uint_gt(checked, 100);
	for (i = 1; i <= FILES; i++)
		if (bfile_get(c, i, &b) == 0) {
			ck_assert_int_eq(bfile_verify(b), 0);
			bfile_put(b);
		}
	close_all();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cache_space");
	TCase *t = tcase_create("space");
	SRunner *r = srunner_create(s);
	int bad;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, cleanup);
	tcase_add_test(t, test_small);
	tcase_add_test(t, test_small_add);
	tcase_add_test(t, test_small_order);
	tcase_add_test(t, test_small_pinned);
	tcase_add_test(t, test_small_damaged);
	tcase_add_test(t, test_evict);
	tcase_add_test(t, test_pin);
	tcase_add_test(t, test_pin_many);
	tcase_add_test(t, test_enospc);
	tcase_add_test(t, test_threads);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}

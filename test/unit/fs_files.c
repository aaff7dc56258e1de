/*
 * fs_files: files of a whole host, but for FUSE: what is written, named and
 * copied, and what another host sees of it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs_util.h"

#include "fs/io.h"
#include "fs/settle.h"
#include "fs/stage.h"
#include "fs/stores_impl.h"
#include "fs/tree.h"
#include "fs/upload_impl.h"

#define OLD_SIZE	200000u
#define NEW_SIZE	(1u << 20)

static const int64_t patience = 20 * NSEC_PER_SEC;
static struct fs *f;
static char bytes[NEW_SIZE];

/* A whole host but for FUSE, with a state directory of this name. */
static struct fs *
host(const char *name, bool read_only)
{
	struct fs_options o;
	struct why why = { "" };
	char state[300];
	struct fs *one;
	int err;

	snprintf(state, sizeof(state), "%s/%s", fu_dir, name);
	options_init(&o);
	o.url = fu_url;
	o.dir = state;
	o.state = state;
	o.cache_size = 64 << 20;
	o.lag = 0;
	o.poll = 30 * NSEC_PER_MSEC;
	o.io_timeout = NSEC_PER_SEC;
	o.allow_other = false;
	o.read_only = read_only;
	err = fs_start(&o, &one, &why);
	ck_assert_msg(err == 0, "%s: %d %s", name, err, why.text);
	return one;
}

static void
setup(void)
{
	fu_setup_home();
	setenv("XDG_RUNTIME_DIR", fu_dir, 1);
	memset(bytes, 'x', sizeof(bytes));
	f = host("a", false);
}

static void
teardown(void)
{
	fs_stop(f, clock_mono() + patience);
	fu_teardown();
}

static void
synced_within(int64_t time)
{
	struct why why = { "" };
	int err = io_sync(f, 0, clock_mono() + time, &why);

	ck_assert_msg(err == 0, "sync: %d %s", err, why.text);
}

static void
synced(void)
{
	synced_within(patience);
}

/* A new file of n bytes, open. */
static struct handle *
written(const char *name, size_t n)
{
	struct handle *h;
	struct attr a;

	ck_assert_int_eq(io_create(f, META_ROOT, name, 0644, 0, 0, O_RDWR, &a,
	    &h), 0);
	ck_assert_int_eq(io_write(f, h, bytes, n, 0), n);
	return h;
}

static void
fsynced(struct handle *h)
{
	struct bfile *spent;

	ck_assert_int_eq(io_fsync(f, h, &spent), 0);
	bfile_put(spent);
}

static uint64_t
size_at(struct fs *at, const char *name)
{
	struct attr a;
	int err = tree_lookup(at, META_ROOT, name, &a);

	ck_assert_msg(err == 0, "%s: %d", name, err);
	return a.size;
}

/* --- names come after bytes (L3) --- */

/* From now on these faults (store.h) are what stores do. */
static void
restart(const char *faults)
{
	fs_stop(f, clock_mono() + patience);
	setenv("GNSFS_FAULT", faults, 1);
	f = host("a", false);
}

/* From now on what is uploaded takes its time. */
static void
hold_uploads(void)
{
	restart("op=put,key=data/,delay=1000");
	unsetenv("GNSFS_FAULT");
}

/* Another host sees one size of a name, then another, and never a third. */
static void
follow(const char *name, uint64_t old, uint64_t new)
{
	int64_t end = clock_mono() + patience;
	struct fs *other = host("b", true);
	unsigned olds = 0;
	uint64_t size;

	while ((size = size_at(other, name)) != new &&
	    clock_mono() < end) {
		ck_assert_uint_eq(size, old);
		olds++;
		clock_sleep(20 * NSEC_PER_MSEC);
	}
	ck_assert_uint_eq(size, new);
	ck_assert_uint_gt(olds, 0);
	fs_stop(other, 0);
}

/* The usual way to replace a file, but that it is renamed before the close. */
START_TEST(test_rename_of_an_open_file)
{
	struct handle *h;

	io_release(f, written("final", OLD_SIZE));
	synced();
	hold_uploads();
	h = written("tmp", NEW_SIZE);
	fsynced(h);
	ck_assert_int_eq(tree_rename(f, META_ROOT, "tmp", META_ROOT, "final",
	    0), 0);
	clock_sleep(300 * NSEC_PER_MSEC);	/* for what would go at once */
	io_release(f, h);
	follow("final", OLD_SIZE, NEW_SIZE);
}
END_TEST

START_TEST(test_exchange_of_an_open_file)
{
	struct handle *h;

	io_release(f, written("final", OLD_SIZE));
	h = written("tmp", 1);
	io_release(f, h);
	synced();
	hold_uploads();
	ck_assert_int_eq(tree_unlink(f, META_ROOT, "tmp"), 0);
	h = written("tmp", NEW_SIZE);
	/* RENAME_EXCHANGE, the second name being the one that is written */
	ck_assert_int_eq(tree_rename(f, META_ROOT, "final", META_ROOT, "tmp",
	    2), 0);
	clock_sleep(300 * NSEC_PER_MSEC);
	io_release(f, h);
	follow("final", OLD_SIZE, NEW_SIZE);
}
END_TEST

START_TEST(test_link_of_an_open_file)
{
	struct handle *h;
	struct attr a;

	hold_uploads();
	h = written("tmp", NEW_SIZE);
	ck_assert_int_eq(tree_link(f, h->v->ino, META_ROOT, "final", &a), 0);
	ck_assert_uint_eq(a.size, NEW_SIZE);
	/* journalled before the link: the newest op but one is the link's */
	ck_assert(!h->v->dirty);
	io_release(f, h);
}
END_TEST

struct publisher {
	pthread_t	 thread;
	const char	*name;
	_Atomic bool	 over;
};

static void *
publish(void *arg)
{
	struct publisher *p = arg;
	struct attr a;

	ck_assert_int_eq(tree_symlink(f, META_ROOT, p->name, "there",
	    (struct owner){ 0, 0 }, &a), 0);
	atomic_store(&p->over, true);
	return NULL;
}

/* close(2) has returned, what it closed is not settled yet: a name that is
 * given after it waits, and not for a close after that. */
START_TEST(test_a_name_waits_for_closes_before_it)
{
	struct settle_close first = { NULL }, second = { NULL };
	struct publisher p = { .name = "latest" };

	f->opt.io_timeout = patience;
	settle_close_begin(f, &first);
	settle_close_begin(f, &first);		/* once is enough */
	ck_assert_int_eq(pthread_create(&p.thread, NULL, publish, &p), 0);
	clock_sleep(200 * NSEC_PER_MSEC);
	ck_assert(!atomic_load(&p.over));
	settle_close_begin(f, &second);
	settle_close_end(f, &first);
	settle_close_end(f, &first);
	ck_assert_int_eq(pthread_join(p.thread, NULL), 0);
	settle_close_end(f, &second);
}
END_TEST

START_TEST(test_a_name_waits_no_longer_than_io_timeout)
{
	struct settle_close stuck = { NULL };
	struct publisher p = { .name = "latest" };

	settle_close_begin(f, &stuck);
	publish(&p);
	settle_close_end(f, &stuck);
}
END_TEST

/* --- uploads --- */

static int64_t given;		/* to the last put, ns */

static enum store_rc
timed_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	given = c->deadline - clock_mono();
	return STORE_CANCELLED;
}

/* How long the upload of an object of that size may take, s. */
static int64_t
time_of(uint64_t size)
{
	static const struct store_ops ops = { .put = timed_put };
	struct store timed = { &ops, "timed:" }, *was;
	struct target to = { .store = STORE_HOME_ID };
	struct job j = { .f = f, .to = &to };
	struct store_src from = { .size = size };
	struct op_object o = { .id = 77, .store = STORE_HOME_ID };
	struct entry *e;

	lock_take(&f->stores->lock);
	e = stores_entry(f->stores, STORE_HOME_ID);
	was = e->store;
	e->store = &timed;
	lock_drop(&f->stores->lock);
	ck_assert_int_eq(upload_put(&j, &from, &o), -ECANCELED);
	lock_take(&f->stores->lock);
	e->store = was;
	lock_drop(&f->stores->lock);
	return given / NSEC_PER_SEC;
}

/* 40 GB, one of four over 250 Mbit/s, are 5120 s; each further try would begin
 * at the first byte again. */
START_TEST(test_a_large_upload_has_the_time_it_takes)
{
	ck_assert_int_ge(time_of(1), 3500);
	ck_assert_int_ge(time_of(UINT64_C(40000000000)), 3 * 5120);
	ck_assert_int_ge(time_of(UINT64_C(40000000000)),
	    time_of(UINT64_C(4000000000)) + 5120);
}
END_TEST

/* --- what a request takes --- */

/* However much is asked for: who asked can be interrupted between two. */
START_TEST(test_a_copy_is_made_in_steps)
{
	struct handle *in = written("in", 1), *out = written("out", 1);
	size_t most = 16 << 20;

	ck_assert_int_eq(io_truncate(f, in->v->ino, most + 5), 0);
	ck_assert_int_eq(io_copy_range(f, in, 0, out, 0, SIZE_MAX / 2), most);
	ck_assert_int_eq(io_copy_range(f, in, most, out, most, SIZE_MAX / 2),
	    5);
	ck_assert_int_eq(io_copy_range(f, in, most + 5, out, most + 5, 1), 0);
	io_release(f, in);
	io_release(f, out);
	ck_assert_uint_eq(size_at(f, "out"), most + 5);
}
END_TEST

static bool
is_zero(struct handle *h, uint64_t off)
{
	char c = 1;

	ck_assert_int_eq(io_read(f, h, &c, 1, off), 1);
	return c == 0;
}

/* What is not there needs no room (C5). */
START_TEST(test_what_takes_away_needs_no_room)
{
	uint64_t tib = UINT64_C(1) << 40;
	struct handle *h = written("x", NEW_SIZE);

	ck_assert_int_eq(io_fallocate(f, h, FALLOC_FL_ZERO_RANGE |
	    FALLOC_FL_KEEP_SIZE, NEW_SIZE - 7, tib), 0);
	ck_assert(is_zero(h, NEW_SIZE - 7) && !is_zero(h, NEW_SIZE - 8));
	ck_assert_int_eq(io_fallocate(f, h, FALLOC_FL_ZERO_RANGE |
	    FALLOC_FL_KEEP_SIZE, NEW_SIZE, tib), 0);
	f->state_room = INT64_MAX / 8;		/* its disk is full */
	atomic_store(&f->room_seen, 0);
	ck_assert_int_eq(io_write(f, h, "y", 1, 0), -ENOSPC);
	ck_assert_int_eq(io_fallocate(f, h, 0, 0, 1), -ENOSPC);
	ck_assert_int_eq(io_fallocate(f, h, FALLOC_FL_PUNCH_HOLE |
	    FALLOC_FL_KEEP_SIZE, 5, tib), 0);
	ck_assert(is_zero(h, 5) && !is_zero(h, 4));
	f->state_room = 0;
	io_release(f, h);
	ck_assert_uint_eq(size_at(f, "x"), NEW_SIZE);
}
END_TEST

/* What is asked for waits for uploads, as a write does; what can never be had
 * does not wait.  The cache has 64 MiB. */
START_TEST(test_allocation_waits_for_uploads)
{
	struct handle *h;
	int64_t began;

	hold_uploads();
	f->opt.io_timeout = patience;
	h = written("first", NEW_SIZE);
	ck_assert_int_eq(io_fallocate(f, h, 0, 0, 50 << 20), 0);
	io_release(f, h);
	h = written("second", 1);
	ck_assert_int_eq(io_fallocate(f, h, 0, 0, 40 << 20), 0);
	began = clock_mono();
	ck_assert_int_eq(io_fallocate(f, h, 0, 0, UINT64_C(1) << 40),
	    -ENOSPC);
	ck_assert_int_lt(clock_mono() - began, patience / 2);
	io_release(f, h);
}
END_TEST

/* --- opens that fail --- */

static uint64_t
recorded_size(const char *name)
{
	struct attr a;
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	ck_assert_int_eq(meta_lookup(c, META_ROOT, name, &a), 0);
	sq_read_end(c);
	return a.size;
}

static int
run_sql(struct sqc *c, void *arg)
{
	return sqs_run(sq_prep(c, arg));
}

/* O_TRUNC has cut the file by then: that is recorded once it can be. */
START_TEST(test_a_failed_open_does_not_forget_what_it_cut)
{
	struct handle *h = written("x", NEW_SIZE);
	struct sq *q = meta_sq(f->meta);
	uint64_t ino = h->v->ino;
	int64_t end;

	io_release(f, h);
	ck_assert_uint_eq(recorded_size("x"), NEW_SIZE);
	ck_assert_int_eq(sq_write(q, run_sql, "CREATE TRIGGER refuse BEFORE "
	    "INSERT ON op BEGIN SELECT RAISE(FAIL, 'by a test'); END"), 0);
	ck_assert_int_ne(io_open(f, ino, O_RDONLY | O_TRUNC, &h), 0);
	ck_assert_int_eq(sq_write(q, run_sql, "DROP TRIGGER refuse"), 0);
	end = clock_mono() + patience;
	while (recorded_size("x") != 0 && clock_mono() < end)
		clock_sleep(20 * NSEC_PER_MSEC);
	ck_assert_uint_eq(recorded_size("x"), 0);
	synced();
}
END_TEST

/* --- what is written at very many places --- */

#define PLACES	"240000"

/* C1: into chunks that are not here, by whom a crash cut off; the list of them
 * is longer than a batch of the log, and lands all the same. */
START_TEST(test_very_many_places)
{
	struct handle *h = written("x", 500000);
	uint64_t ino = h->v->ino;
	int64_t end = clock_mono() + patience;
	char state[300];
	struct why why = { "" };
	struct meta *m;
	struct sqc *c;
	struct sqs *q;

	io_release(f, h);
	synced();
	while (cache_evict(f->cache, ino) <= 0 && clock_mono() < end)
		clock_sleep(20 * NSEC_PER_MSEC);
	/* into the backing file, which has nothing else */
	ck_assert_int_eq(io_open(f, ino, O_WRONLY, &h), 0);
	ck_assert_int_eq(io_write(f, h, "y", 1, 0), 1);
	io_release(f, h);
	fs_stop(f, clock_mono() + patience);
	snprintf(state, sizeof(state), "%s/a/state.db", fu_dir);
	ck_assert_int_eq(meta_open(state, &m, &why), 0);
	ck_assert_int_eq(sq_write(meta_sq(m), run_sql, "WITH RECURSIVE n(i) "
	    "AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < " PLACES
	    ") INSERT INTO c_dirty(ino, off, end, seq) SELECT (SELECT ino "
	    "FROM c_file), i * 2, i * 2 + 1, 0 FROM n"), 0);
	meta_close(m);
	f = host("a", false);
	synced_within(9 * patience);	/* much work for a slow machine */
	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	/* one each, and what is between them of what was there */
	q = sq_prep(c, "SELECT count(*) = 2 * " PLACES " + 2 FROM extent");
	ck_assert_int_eq(sqs_step(q), 1);
	ck_assert_int_eq(sqs_col_int(q, 0), 1);
	sq_read_end(c);
}
END_TEST

/* --- closes that cannot be recorded --- */

#define MANY	600u		/* more than wait to be settled at once */

static void
holds(const char *name, size_t n)
{
	struct handle *h;
	struct attr a;
	char have[200];

	ck_assert_int_eq(tree_lookup(f, META_ROOT, name, &a), 0);
	ck_assert_msg(a.size == n, "%s is %llu bytes long, not %zu", name,
	    (unsigned long long)a.size, n);
	ck_assert_int_eq(io_open(f, a.ino, O_RDONLY, &h), 0);
	ck_assert_int_eq(io_read(f, h, have, sizeof(have), 0), n);
	ck_assert_mem_eq(have, bytes, n);
	io_release(f, h);
}

/* A full disk, or no memory: what was closed is as it was, however much of it
 * there is, and is recorded once it can be, without another mount. */
START_TEST(test_closed_files_wait_until_they_can_be_recorded)
{
	struct sq *q = meta_sq(f->meta);
	struct handle *h[MANY];
	char name[20];
	int64_t end;
	unsigned i;

	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		h[i] = written(name, 1 + i % 150);
	}
	ck_assert_int_eq(sq_write(q, run_sql, "CREATE TRIGGER refuse BEFORE "
	    "INSERT ON op BEGIN SELECT RAISE(FAIL, 'by a test'); END"), 0);
	for (i = 0; i < MANY; i++)
		io_release(f, h[i]);
	clock_sleep(300 * NSEC_PER_MSEC);
	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ck_assert_uint_eq(recorded_size(name), 0);
		holds(name, 1 + i % 150);
	}
	ck_assert_int_eq(sq_write(q, run_sql, "DROP TRIGGER refuse"), 0);
	end = clock_mono() + patience;
	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		while (recorded_size(name) == 0 && clock_mono() < end)
			clock_sleep(20 * NSEC_PER_MSEC);
		ck_assert_uint_eq(recorded_size(name), 1 + i % 150);
		holds(name, 1 + i % 150);
	}
	synced();
}
END_TEST

/* --- copies in other stores --- */

static int
add_store(struct sqc *c, void *arg)
{
	struct op op = { .kind = OP_STORE, .ino = 2, .name = "there",
	    .value = arg, .nvalue = strlen(arg), .mtime = 1, .ctime = 1 };
	uint64_t seq;

	return journal(f->meta, c, &op, NEEDS_NOTHING, NULL, 0, &seq);
}

static int
fence(void *arg, const struct stage_status *s)
{
	fs_set_write_state(f, FS_FENCED, "by a test");
	return 0;
}

/* A store of that name, a folder. */
static void
add_there(void)
{
	char url[400], dir[300];

	snprintf(dir, sizeof(dir), "%s/there", fu_dir);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	snprintf(url, sizeof(url), "file://%s", dir);
	ck_assert_int_eq(sq_write(meta_sq(f->meta), add_store, url), 0);
}

/* Where what is done cannot be recorded, what is not done yet ends too: who
 * unmounts waits for it. */
START_TEST(test_copies_end_where_they_cannot_be_recorded)
{
	const char *const all[] = { "/" };
	struct pin_request req = { .selectors = all, .nselectors = 1 };
	struct stage_status st;
	struct why why = { "" };
	int64_t began;
	uint64_t seq;

	add_there();
	io_release(f, written("one", NEW_SIZE));
	io_release(f, written("two", NEW_SIZE));
	synced();
	restart("op=pull,nth=2,delay=40000");
	began = clock_mono();
	ck_assert_int_eq(stage_run(f, &req, "there", fence, NULL, &st, &seq,
	    &why), -EROFS);
	ck_assert_int_lt(clock_mono() - began, patience);
}
END_TEST

static struct store_ops lost;		/* of a store that answers no pull */
static const struct store_ops *below;
static bool lands;

static unsigned
lost_caps(struct store *s)
{
	return below->caps(s) & ~(unsigned)STORE_PULL_KEEPS;
}

static enum store_rc
lost_pull(struct store *s, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	if (lands)
		ck_assert_int_eq(below->pull(s, c, from, key, version, to,
		    NULL), STORE_OK);
	return STORE_AMBIGUOUS;
}

static int64_t
copies_there(void)
{
	struct sqc *c;
	struct sqs *q;
	int64_t n;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	q = sq_prep(c, "SELECT count(*) FROM location WHERE store = 2");
	ck_assert_int_eq(sqs_step(q), 1);
	n = sqs_col_int(q, 0);
	sq_read_end(c);
	return n;
}

/* Where a copy that ends late would be put over what is there, nothing is
 * recorded until it is there, or cannot come any more. */
START_TEST(test_copies_that_may_end_late)
{
	const char *const all[] = { "/" };
	struct pin_request req = { .selectors = all, .nselectors = 1 };
	struct stage_status st;
	struct why why = { "" };
	struct store *s;
	uint64_t seq;

	add_there();
	io_release(f, written("one", NEW_SIZE));
	synced();
	ck_assert_int_eq(stores_get(f, 2, &s, NULL), 0);
	below = s->ops;
	lost = *below;
	lost.caps = lost_caps;
	lost.pull = lost_pull;
	s->ops = &lost;
	lands = true;
	ck_assert_int_eq(stage_run(f, &req, "there", NULL, NULL, &st, &seq,
	    &why), 0);
	synced();
	ck_assert_int_eq(copies_there(), 1);
	io_release(f, written("two", NEW_SIZE));
	synced();
	lands = false;
	ck_assert_int_eq(stage_run(f, &req, "there", NULL, NULL, &st, &seq,
	    &why), -EAGAIN);
	/* nor by whoever else comes now */
	s->ops = below;
	why.text[0] = '\0';
	ck_assert_int_eq(stage_run(f, &req, "there", NULL, NULL, &st, &seq,
	    &why), -EAGAIN);
	ck_assert_msg(strstr(why.text, "may still be at copying") != NULL,
	    "%s", why.text);
	synced();
	ck_assert_int_eq(copies_there(), 1);
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(setup, teardown, 60);

	tcase_add_test(t, test_rename_of_an_open_file);
	tcase_add_test(t, test_exchange_of_an_open_file);
	tcase_add_test(t, test_link_of_an_open_file);
	tcase_add_test(t, test_a_name_waits_for_closes_before_it);
	tcase_add_test(t, test_a_name_waits_no_longer_than_io_timeout);
	tcase_add_test(t, test_a_copy_is_made_in_steps);
	tcase_add_test(t, test_what_takes_away_needs_no_room);
	tcase_add_test(t, test_allocation_waits_for_uploads);
	tcase_add_test(t, test_a_failed_open_does_not_forget_what_it_cut);
	tcase_add_test(t, test_very_many_places);
	tcase_add_test(t,
	    test_closed_files_wait_until_they_can_be_recorded);
	tcase_add_test(t, test_copies_end_where_they_cannot_be_recorded);
	tcase_add_test(t, test_copies_that_may_end_late);
	tcase_add_test(t, test_a_large_upload_has_the_time_it_takes);
	return fu_run("fs_files", t);
}

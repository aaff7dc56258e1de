/*
 * fs_files: what is written and named, without FUSE: a host that writes, and
 * another one that follows it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs_util.h"

#include "fs/io.h"
#include "fs/settle.h"
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
synced(void)
{
	struct why why = { "" };
	int err = io_sync(f, 0, clock_mono() + patience, &why);

	ck_assert_msg(err == 0, "sync: %d %s", err, why.text);
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

static uint64_t
size_at(struct fs *at, const char *name)
{
	struct attr a;
	int err = tree_lookup(at, META_ROOT, name, &a);

	ck_assert_msg(err == 0, "%s: %d", name, err);
	return a.size;
}

/* --- names come after bytes (L3) --- */

/* From now on what is uploaded takes its time. */
static void
hold_uploads(void)
{
	fs_stop(f, clock_mono() + patience);
	setenv("GNSFS_FAULT", "op=put,key=data/,delay=1500", 1);
	f = host("a", false);
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
	ck_assert_int_eq(io_fsync(f, h, false), 0);
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

int
main(void)
{
	TCase *t = fu_case(setup, teardown, 60);

	tcase_add_test(t, test_rename_of_an_open_file);
	tcase_add_test(t, test_exchange_of_an_open_file);
	tcase_add_test(t, test_link_of_an_open_file);
	tcase_add_test(t, test_a_name_waits_for_closes_before_it);
	tcase_add_test(t, test_a_name_waits_no_longer_than_io_timeout);
	tcase_add_test(t, test_a_large_upload_has_the_time_it_takes);
	return fu_run("fs_files", t);
}

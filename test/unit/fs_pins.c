/* fs_pins: who changes a pin does not wait for what the pins' thread does
 * meanwhile: its pass goes by turns, and leaves alone what was changed; its
 * filling gives way, and ends with the pin.  And that passes, for all that,
 * miss nothing: neither what is pinned nor what is not any more, and what
 * failed is tried again. */
#include "fs_util.h"

#include "fs/fill.h"
#include "fs/io.h"
#include "fs/pins_impl.h"
#include "fs/vnode.h"

#define FILES	8000		/* several turns of a pass */
#define PIN	77

static struct fs *f;

static int
create_many(struct sqc *c, void *arg)
{
	struct op op = { .kind = OP_CREATE, .parent = META_ROOT,
	    .mode = S_IFREG | 0644, .mtime = 1000 };
	uint64_t seq;
	char name[20];
	int err = 0;

	op.name = name;
	for (unsigned i = 0; err == 0 && i < FILES; i++) {
		snprintf(name, sizeof(name), "f%05u", i);
		op.ino = meta_new_id(f->meta);
		err = journal(f->meta, c, &op, NEEDS_NOTHING, NULL, 0, &seq);
	}
	return err;
}

static void
put_row(uint64_t id, const char *name, const char *text)
{
	struct pin_copy row;

	ck_assert_int_eq(pin_copy_set(&row, id, name, "", text), 0);
	ck_assert_int_eq(pin_row_put(f, &row, NULL), 0);
	pin_copy_done(&row);
}

/* A pin of all there is, whose files the thread has yet to find. */
static void
setup(void)
{
	fu_setup_home();
	f = fu_up("a", NULL);
	f->opt.io_timeout = 30 * NSEC_PER_SEC;
	ck_assert_int_eq(fill_new(UINT64_MAX, &f->fill), 0);
	ck_assert_int_eq(sq_write(meta_sq(f->meta), create_many, NULL), 0);
	put_row(PIN, "all", "/\n");
	ck_assert_int_eq(pins_start(f), 0);
}

static void
teardown(void)
{
	pins_stop(f);
	pins_free(f);
	workers_free(f->io);		/* runs have vnodes and buffers */
	ck_assert_int_eq(workers_new("t-io", 1, &f->io), 0);
	fill_free(f->fill);
	fu_stop(f, true);
	fu_teardown();
}

static uint64_t
files_of(uint64_t pin)
{
	struct cache_pin_stat s;

	ck_assert_int_eq(cache_pin_stat(f->cache, pin, &s), 0);
	return s.files;
}

static uint64_t
pinned(void)
{
	return files_of(PIN);
}

/* Takes the pin away, in an edit. */
static int
drop(void)
{
	struct pin_copy row;
	int rc;

	ck_assert_int_eq(pin_copy_set(&row, PIN, "all", "", "/\n"), 0);
	rc = pins_drop(f->pins, &row);
	pin_copy_done(&row);
	return rc;
}

/* In a turn: the pass has changed something of the pin and not yet all. */
static bool
is_half_done(void)
{
	uint64_t n = pinned();

	return n > 0 && n < FILES;
}

/* A pass comes to its end beside one change after the other, and they beside
 * it. */
START_TEST(test_pass_goes_by_turns)
{
	int64_t deadline = clock_mono() + 60 * NSEC_PER_SEC;
	unsigned between = 0;
	bool all = false;

	while (!all && clock_mono() < deadline) {
		pins_edit_begin(f->pins);
		between += is_half_done();
		all = pinned() == FILES;
		pins_edit_end(f->pins);
	}
	ck_assert(all);
	ck_assert_uint_ge(between, 2);
}
END_TEST

/* In the middle of a pass; the edit is not ended. */
static void
drop_half_done(void)
{
	int64_t deadline = clock_mono() + 60 * NSEC_PER_SEC;

	for (;;) {
		pins_edit_begin(f->pins);
		if (is_half_done())
			break;
		pins_edit_end(f->pins);
		ck_assert_int_lt(clock_mono(), deadline);
	}
	ck_assert_int_eq(drop(), 0);
	ck_assert_uint_eq(pinned(), 0);
}

static void
stays_dropped(void)
{
	pins_edit_end(f->pins);
	pins_stop(f);			/* no pass is under way */
	ck_assert_uint_eq(pinned(), 0);
	pins_free(f);
	ck_assert_int_eq(pins_start(f), 0);
}

/* What a pass found before a pin was dropped, it does not pin after. */
START_TEST(test_edit_between_turns)
{
	drop_half_done();
	stays_dropped();
}
END_TEST

static int
drop_the_next(void *arg, const struct pin_status *s)
{
	if (s->id == PIN - 1)
		drop_half_done();
	return 0;
}

/* Nor where somebody asks meanwhile how the pin is doing. */
START_TEST(test_status_between_turns)
{
	put_row(PIN - 1, "none", "/none\n");
	ck_assert_int_eq(pins_each(f, drop_the_next, NULL), 0);
	stays_dropped();
}
END_TEST

static int
count_pin(void *arg, const struct pin_status *s)
{
	++*(unsigned *)arg;
	return 0;
}

/* Until so many files are in the pin and there are so many pins. */
static void
wait_for(uint64_t files, unsigned pins)
{
	int64_t deadline = clock_mono() + 60 * NSEC_PER_SEC;
	unsigned n = 0;

	while (clock_mono() < deadline && (pinned() != files || n != pins)) {
		usleep(20000);
		n = 0;
		ck_assert_int_eq(pins_each(f, count_pin, &n), 0);
	}
	ck_assert_uint_eq(pinned(), files);
	ck_assert_uint_eq(n, pins);
}

/* Passes find what came, keep out what was unpinned of a pin, and drop what
 * has expired. */
START_TEST(test_passes_follow)
{
	const char *one = "/f00001", *two = "/f00002";
	struct pin_request part = { .selectors = &one, .nselectors = 1 },
	    brief = { .selectors = &two, .nselectors = 1, .ttl = 1 };
	uint64_t files, bytes;
	struct why why = { "" };

	wait_for(FILES, 1);
	ck_assert_int_eq(pins_unpin(f, &part, &why), 0);
	ck_assert_uint_eq(pinned(), FILES - 1);
	ck_assert_int_eq(pins_pin(f, &brief, NULL, NULL, &files, &bytes,
	    &why), 0);
	ck_assert_uint_eq(files, 1);
	fu_create(f, "new", NULL);
	fu_create(f, "new too", NULL);
	wait_for(FILES + 1, 1);
}
END_TEST

/* What has no row is not kept: another host dropped it, or it never had. */
START_TEST(test_strays_are_given_back)
{
	struct pin_want w[2] = { { 1000000, 5 }, { 1000001, 5 } };
	int64_t deadline = clock_mono() + 60 * NSEC_PER_SEC;
	struct pin_copy row;

	wait_for(FILES, 1);
	ck_assert_int_eq(cache_pin(f->cache, PIN + 1, w, 2, NULL), 0);
	ck_assert_int_eq(pin_copy_set(&row, PIN, "all", "", "/\n"), 0);
	ck_assert_int_eq(pin_row_del(f, &row), 0);
	pin_copy_done(&row);
	while (pinned() + files_of(PIN + 1) > 0 && clock_mono() < deadline)
		usleep(20000);
	ck_assert_uint_eq(pinned(), 0);
	ck_assert_uint_eq(files_of(PIN + 1), 0);
}
END_TEST

static int
exec_tx(struct sqc *c, void *arg)
{
	return sq_exec(c, arg);
}

/* The namespace's database changes behind all that watches it. */
static void
exec(const char *sql)
{
	ck_assert_int_eq(sq_write(meta_sq(f->meta), exec_tx, (void *)sql), 0);
}

#define NO_DELETE \
	"CREATE TRIGGER no_delete BEFORE DELETE ON pin" \
	" BEGIN SELECT RAISE(ABORT, 'no'); END"

/* The row goes last, so that what is kept has one; and where it stays the pin
 * is whole again. */
START_TEST(test_row_goes_last)
{
	wait_for(FILES, 1);
	exec(NO_DELETE);
	pins_edit_begin(f->pins);
	ck_assert_int_lt(drop(), 0);
	ck_assert_uint_eq(pinned(), 0);
	pins_edit_end(f->pins);
	exec("DROP TRIGGER no_delete");
	wait_for(FILES, 1);
}
END_TEST

/* Passes that have ended: each of a pass that fails takes one turn. */
static uint64_t
turns(void)
{
	uint64_t n;

	lock_take(&f->pins->lock);
	n = f->pins->serving;
	lock_drop(&f->pins->lock);
	return n;
}

/* What a pass could not read, the next does. */
START_TEST(test_read_again)
{
	int64_t deadline = clock_mono() + 60 * NSEC_PER_SEC;
	uint64_t before;

	fu_synced(f, fu_create(f, "new", NULL));
	wait_for(FILES + 1, 1);
	pins_edit_begin(f->pins);
	ck_assert_int_eq(cache_unpin(f->cache, PIN, NULL, 0), 0);
	exec("ALTER TABLE pin RENAME TO lost");
	pins_edit_end(f->pins);
	before = turns();
	while (turns() == before && clock_mono() < deadline)
		usleep(20000);
	ck_assert_uint_eq(pinned(), 0);
	exec("ALTER TABLE lost RENAME TO pin");
	wait_for(FILES + 1, 1);
}
END_TEST

/* A pin that could not be dropped when it expired is dropped later. */
START_TEST(test_expires_again)
{
	const char *one = "/f00001";
	struct pin_request r = { .selectors = &one, .nselectors = 1,
	    .ttl = 2 * NSEC_PER_SEC };
	struct why why = { "" };
	uint64_t files, bytes;

	wait_for(FILES, 1);
	exec(NO_DELETE);
	ck_assert_int_eq(pins_pin(f, &r, NULL, NULL, &files, &bytes, &why),
	    0);
	fu_synced(f, fu_create(f, "new", NULL));
	wait_for(FILES + 1, 2);
	usleep(8000000);		/* it is tried, and fails */
	exec("DROP TRIGGER no_delete");
	wait_for(FILES + 1, 1);
}
END_TEST

struct large { const char *name; uint64_t size, ino; };

static int
large_tx(struct sqc *c, void *arg)
{
	struct large *l = arg;
	struct op op = { .kind = OP_CREATE, .parent = META_ROOT,
	    .name = l->name, .mode = S_IFREG | 0644, .mtime = 1000 };
	uint64_t seq;
	int err;

	op.ino = l->ino = meta_new_id(f->meta);
	err = journal(f->meta, c, &op, NEEDS_NOTHING, NULL, 0, &seq);
	op = (struct op){ .kind = OP_TRUNCATE, .ino = l->ino,
	    .size = l->size, .mtime = 2000, .ctime = 2000 };
	return err != 0 ? err : journal(f->meta, c, &op, NEEDS_NOTHING, NULL,
	    0, &seq);
}

/* A file that is one hole: fetched without a store. */
static uint64_t
make_large(const char *name, uint64_t size)
{
	struct large l = { name, size, 0 };

	cache_set_limit(f->cache, 4 * size);
	ck_assert_int_eq(sq_write(meta_sq(f->meta), large_tx, &l), 0);
	return l.ino;
}

static uint64_t
present(uint64_t ino, uint64_t size)
{
	uint64_t bytes = 0;

	ck_assert_int_ge(cache_present(f->cache, ino, size, &bytes), 0);
	return bytes;
}

static int
till_two(void *arg, uint64_t bytes)
{
	return ++*(unsigned *)arg == 2;
}

static _Atomic bool gate;

static void
hold(void *arg)
{
	while (!atomic_load(&gate))
		usleep(1000);
}

/* No fetch begins till the gate is open. */
static void
hold_io(void)
{
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(workers_submit(f->io, WORK_URGENT, hold,
		    NULL), 0);
}

static int
interrupt(void *arg, uint64_t have, uint64_t want, uint64_t files)
{
	atomic_store(&gate, true);
	return 1;
}

/* Who waits is interrupted: what is under way for him ends, too. */
START_TEST(test_interrupt_ends_fills)
{
	struct pin_list list = { NULL };
	_Atomic bool stop = false;
	struct fill_many m = { .f = f, .prio = WORK_NORMAL, .list = &list,
	    .stop = &stop, .progress = interrupt };
	uint64_t ino, size = 96 << 20;
	struct why why = { "" };

	pins_stop(f);
	pins_free(f);
	ck_assert_int_eq(workers_new("t-pin", 2, &m.pool), 0);
	ino = make_large("large", size);
	ck_assert_int_eq(pin_list_add(&list, ino, size), 0);
	hold_io();
	ck_assert_int_eq(fill_many(&m, &why), -ECANCELED);
	ck_assert_uint_lt(present(ino, size), size);
	workers_free(m.pool);
	pin_list_done(&list);
	ck_assert_int_eq(pins_start(f), 0);
}
END_TEST

/* One file's fill ends where it is told, and not with the file. */
START_TEST(test_whole_file_ends)
{
	uint64_t ino, size = 96 << 20;
	struct why why = { "" };
	unsigned told = 0;

	pins_stop(f);
	pins_free(f);
	ino = make_large("large", size);
	ck_assert_int_eq(io_fill_whole(f, ino, false, till_two, &told, &why),
	    -ECANCELED);
	ck_assert_uint_eq(told, 2);
	ck_assert_uint_lt(present(ino, size), size);
	ck_assert_int_eq(pins_start(f), 0);
}
END_TEST


/* Since when the thread has been at it, 0: it is not. */
static int64_t
began(struct pin **ret)
{
	int64_t t;

	lock_take(&f->pins->lock);
	*ret = pins_find(f->pins, PIN);
	t = *ret != NULL ? (*ret)->began : 0;
	lock_drop(&f->pins->lock);
	return t;
}

/* A pin that the thread fills, dropped after somebody who waited for it has
 * gone: it is there until the thread has let go of it, which is soon. */
START_TEST(test_drop_while_filling)
{
	int64_t deadline = clock_mono() + 60 * NSEC_PER_SEC, t;
	uint64_t ino, size = 96 << 20;
	struct pin *n, *now;

	hold_io();
	ino = make_large("large", size);
	do {
		ck_assert_int_lt(clock_mono(), deadline);
		t = began(&n);
		usleep(300000);
	} while (t == 0 || began(&now) != t || pinned() != FILES + 1);
	lock_take(&f->pins->lock);
	n->began = 0;
	lock_drop(&f->pins->lock);
	pins_edit_begin(f->pins);
	ck_assert_int_eq(drop(), 0);
	(void)began(&now);
	ck_assert_ptr_eq(now, n);
	pins_edit_end(f->pins);
	atomic_store(&gate, true);
	while (now != NULL && clock_mono() < deadline) {
		usleep(20000);
		(void)began(&now);
	}
	ck_assert_ptr_null(now);
	ck_assert_uint_eq(pinned(), 0);
	ck_assert_uint_lt(present(ino, size), size);
}
END_TEST

struct filling {
	struct pin_list		list;
	_Atomic bool		stop, ended;
	int			rc;
};

static void *
fill(void *arg)
{
	struct filling *g = arg;
	struct fill_many m = { .f = f, .pool = f->pins->pool,
	    .prio = WORK_BACKGROUND, .list = &g->list, .stop = &g->stop,
	    .gives_way = true };
	struct why why = { "" };

	g->rc = fill_many(&m, &why);
	atomic_store(&g->ended, true);
	return NULL;
}

/* Files that are no more: filled at once. */
START_TEST(test_filling_gives_way)
{
	struct filling g = { { NULL } };
	pthread_t thread;

	for (uint64_t i = 0; i < 100; i++)
		ck_assert_int_eq(pin_list_add(&g.list, 1000000 + i, 1), 0);
	pins_edit_begin(f->pins);
	ck_assert(!pins_wait_edits(f->pins, clock_mono()));
	ck_assert_int_eq(pthread_create(&thread, NULL, fill, &g), 0);
	usleep(200000);
	ck_assert(!atomic_load(&g.ended));
	pins_edit_end(f->pins);
	pthread_join(thread, NULL);
	ck_assert_int_eq(g.rc, 0);
	atomic_store(&g.stop, true);
	fill(&g);
	ck_assert_int_eq(g.rc, -ECANCELED);
	pin_list_done(&g.list);
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(setup, teardown, 120);

	tcase_add_test(t, test_pass_goes_by_turns);
	tcase_add_test(t, test_edit_between_turns);
	tcase_add_test(t, test_status_between_turns);
	tcase_add_test(t, test_passes_follow);
	tcase_add_test(t, test_strays_are_given_back);
	tcase_add_test(t, test_row_goes_last);
	tcase_add_test(t, test_read_again);
	tcase_add_test(t, test_expires_again);
	tcase_add_test(t, test_interrupt_ends_fills);
	tcase_add_test(t, test_whole_file_ends);
	tcase_add_test(t, test_drop_while_filling);
	tcase_add_test(t, test_filling_gives_way);
	return fu_run("fs_pins", t);
}

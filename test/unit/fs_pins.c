/* fs_pins: who changes a pin does not wait for what the pins' thread does
 * meanwhile: its pass goes by turns, and leaves alone what was changed; its
 * filling gives way, and ends with the pin.  And that passes, for all that,
 * miss nothing. */
#include "fs_util.h"

#include "fs/pins_impl.h"
#include "fs/vnode.h"

#define FILES	12000		/* several turns of a pass */
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

/* A pin of all there is, whose files the thread has yet to find. */
static void
setup(void)
{
	struct pin_copy row;

	fu_setup();
	fu_format();
	f = fu_up("a", NULL);
	ck_assert_int_eq(vnodes_new(&f->vnodes), 0);
	ck_assert_int_eq(sq_write(meta_sq(f->meta), create_many, NULL), 0);
	ck_assert_int_eq(pin_copy_set(&row, PIN, "all", "", "/\n"), 0);
	ck_assert_int_eq(pin_row_put(f, &row, NULL), 0);
	pin_copy_done(&row);
	ck_assert_int_eq(pins_start(f), 0);
}

static void
teardown(void)
{
	pins_stop(f);
	pins_free(f);
	vnodes_free(f->vnodes);
	fu_stop(f, true);
	fu_teardown();
}

static uint64_t
pinned(void)
{
	struct cache_pin_stat s;

	ck_assert_int_eq(cache_pin_stat(f->cache, PIN, &s), 0);
	return s.files;
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

/* What a pass found before a pin was dropped, it does not pin after. */
START_TEST(test_edit_between_turns)
{
	int64_t deadline = clock_mono() + 60 * NSEC_PER_SEC;
	struct pin_copy row;
	bool dropped = false;

	ck_assert_int_eq(pin_copy_set(&row, PIN, "all", "", "/\n"), 0);
	while (!dropped && clock_mono() < deadline) {
		pins_edit_begin(f->pins);
		dropped = is_half_done();
		if (dropped)
			ck_assert_int_eq(pins_drop(f->pins, &row), 0);
		pins_edit_end(f->pins);
	}
	pin_copy_done(&row);
	ck_assert(dropped);
	ck_assert_uint_eq(pinned(), 0);
	pins_stop(f);			/* no pass is under way */
	ck_assert_uint_eq(pinned(), 0);
	pins_free(f);
	ck_assert_int_eq(pins_start(f), 0);
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
	Suite *s = suite_create("fs_pins");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_pass_goes_by_turns);
	tcase_add_test(t, test_edit_between_turns);
	tcase_add_test(t, test_passes_follow);
	tcase_add_test(t, test_filling_gives_way);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* fs/window.h: who reads on, and how far ahead a link has a use for. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/window.h"

#define MIB	((uint64_t)1 << 20)
#define GETS	256

/* --- streams --- */

START_TEST(test_one_stream)
{
	struct window_streams s = { 0 };
	uint64_t off, w = 0;

	for (off = 0; off < 100 * MIB; off += MIB) {
		w = window_read(&s, off, MIB, WINDOW_UNKNOWN);
		ck_assert_uint_ge(w, WINDOW_MIN);
	}
	ck_assert_uint_eq(w, WINDOW_UNKNOWN);
	/* out of order, as parallel requests come */
	ck_assert_uint_eq(window_read(&s, 103 * MIB, MIB, WINDOW_UNKNOWN), w);
	ck_assert_uint_eq(window_read(&s, 101 * MIB, MIB, WINDOW_UNKNOWN), w);
	ck_assert_uint_eq(window_read(&s, 120 * MIB, MIB, WINDOW_UNKNOWN), w);
	ck_assert_uint_eq(window_read(&s, 102 * MIB, MIB, WINDOW_UNKNOWN), w);
	/* and no further than the link has a use for */
	ck_assert_uint_eq(window_read(&s, 121 * MIB, MIB, WINDOW_MIN),
	    WINDOW_MIN);
}
END_TEST

START_TEST(test_streams_take_turns)
{
	struct window_streams s = { 0 };
	uint64_t at[WINDOW_STREAMS], w;
	unsigned i, turn;

	for (i = 0; i < WINDOW_STREAMS; i++)
		at[i] = (1 + 200 * i) * 50 * MIB;
	for (turn = 0; turn < 20; turn++)
		for (i = 0; i < WINDOW_STREAMS; i++) {
			w = window_read(&s, at[i], MIB, WINDOW_UNKNOWN);
			at[i] += MIB;
			if (turn > 0)
				ck_assert_uint_eq(w, WINDOW_MIN +
				    (turn - 1) * MIB);
		}
}
END_TEST

/* How many jumps of n bytes in a file of that size until all is wanted; 0:
 * some hundreds are none. */
static unsigned
jumps_until(uint64_t size, size_t n)
{
	struct window_streams s = { 0 };
	struct window_jumps j = { 0 };
	uint64_t places = size / (4 * MIB), at;
	unsigned i;

	for (i = 1; i < 300; i++) {
		at = i * 7919 % places * 4 * MIB;
		if (window_jump(&j, &s, at, n, size))
			return i;
		(void)window_read(&s, at, n, WINDOW_UNKNOWN);
	}
	return 0;
}

START_TEST(test_jumps_that_want_all)
{
	struct window_streams s = { 0 };
	struct window_jumps j = { 0 };
	unsigned n;
	uint64_t at;

	/* tensors: a few, and a 64th of the file */
	n = jumps_until(256 * MIB, MIB);
	ck_assert_uint_ge(n, WINDOW_JUMPS_LARGE);
	ck_assert_uint_le(n, 8);
	n = jumps_until(4096 * MIB, MIB);
	ck_assert_uint_ge(n, 64);
	ck_assert_uint_le(n, 72);
	/* pages: as many as all of it takes requests */
	n = jumps_until(256 * MIB, 4096);
	ck_assert_uint_ge(n, 32);
	ck_assert_uint_le(n, 40);
	ck_assert_uint_eq(jumps_until(65536 * MIB, 4096), 0);
	/* small files, and who reads on */
	ck_assert_uint_eq(jumps_until(12 * MIB, MIB), 0);
	for (at = 0; at < 200 * MIB; at += MIB) {
		ck_assert(!window_jump(&j, &s, at, MIB, 200 * MIB));
		(void)window_read(&s, at, MIB, WINDOW_UNKNOWN);
	}
}
END_TEST

START_TEST(test_jumps_are_no_stream)
{
	struct window_streams s = { 0 };
	uint64_t i;

	for (i = 1; i < 200; i++)
		ck_assert_uint_eq(window_read(&s, i * 7919 % 200 * 64 * MIB,
		    4096, WINDOW_UNKNOWN), 0);
}
END_TEST

/* One that reads on is not forgotten for some that do not. */
START_TEST(test_stream_outlives_jumps)
{
	struct window_streams s = { 0 };
	uint64_t i, w = 0;

	for (i = 0; i < 40; i++) {
		w = window_read(&s, i * MIB, MIB, WINDOW_UNKNOWN);
		(void)window_read(&s, (1000 + i * 64) * MIB, 4096,
		    WINDOW_UNKNOWN);
	}
	ck_assert_uint_eq(w, WINDOW_MIN + 39 * MIB);
}
END_TEST

/* --- the link --- */

/* A wire that carries one body after the other, `latency` away. */
struct wire {
	double		 second;	/* bytes */
	int64_t		 latency, free;
};

struct get { uint64_t off; int64_t first, last; struct window_get g; };

struct reader {
	struct wire	 wire;
	struct window_link link;
	struct window_streams streams;
	struct get	 q[GETS];	/* oldest first, [head, tail) */
	unsigned	 head, tail;
	uint64_t	 asked, most;	/* asked for so far; at once */
};

static void
ask(struct reader *r, int64_t now, uint64_t n)
{
	struct get *q = &r->q[r->tail++ % GETS];
	struct wire *w = &r->wire;

	ck_assert_uint_lt(r->tail - r->head, GETS);
	q->off = r->asked;
	q->first = now + w->latency > w->free ? now + w->latency : w->free;
	q->last = q->first + (int64_t)((double)n / w->second * NSEC_PER_SEC);
	w->free = q->last;
	window_ask(&r->link, &q->g, now);
	r->asked += n;
}

/* Reads size bytes as fast as they come, MiB by MiB; how much of the wire's
 * time that used. */
static double
read_through(struct reader *r, uint64_t size)
{
	uint64_t off, w;
	int64_t now = NSEC_PER_SEC, begun = now;
	struct get *q;

	for (off = 0; off < size; off += MIB) {
		w = window_read(&r->streams, off, MIB,
		    window_most(&r->link));
		while (r->asked < off + MIB + w)
			ask(r, now, MIB);
		ck_assert_uint_le(window_step(&r->link, w), w / 2);
		if (r->asked - off > r->most)
			r->most = r->asked - off;
		q = &r->q[r->head++ % GETS];
		window_came(&r->link, &q->g, MIB / 16, q->first);
		window_came(&r->link, &q->g, MIB - MIB / 16, q->last);
		window_end(&r->link, &q->g, q->last);
		now = q->last;
	}
	return (double)size / r->wire.second /
	    ((double)(now - begun) / NSEC_PER_SEC);
}

#define LINK(bits, ms)	{ .wire = { (bits) / 8., (ms) * NSEC_PER_MSEC, 0 } }

START_TEST(test_slow_link)
{
	struct reader r = LINK(40e6, 30);

	ck_assert(read_through(&r, 64 * MIB) > 0.95);
	ck_assert_uint_eq(window_most(&r.link), WINDOW_MIN);
	/* the first sample comes before the window has grown */
	ck_assert_uint_le(r.most, 8 * MIB);
}
END_TEST

START_TEST(test_link_of_a_gigabit)
{
	struct reader r = LINK(1e9, 30);

	ck_assert(read_through(&r, 512 * MIB) > 0.95);
	ck_assert_uint_le(window_most(&r.link), 32 * MIB);
	ck_assert_uint_eq(window_step(&r.link, 32 * MIB), 4 * MIB);
}
END_TEST

START_TEST(test_fast_and_far_link)
{
	struct reader r = LINK(10e9, 60);

	ck_assert(read_through(&r, 4096 * MIB) > 0.9);
	ck_assert_uint_eq(window_most(&r.link), WINDOW_MAX);
	ck_assert_uint_eq(window_step(&r.link, WINDOW_MAX), 8 * MIB);
}
END_TEST

/* Few requests, as each costs, and no more than a hiccup ahead. */
START_TEST(test_fast_and_near_link)
{
	struct reader r = LINK(10e9, 1);

	ck_assert(read_through(&r, 1024 * MIB) > 0.95);
	ck_assert_uint_le(window_most(&r.link), 52 * MIB);
	ck_assert_uint_eq(window_step(&r.link, 48 * MIB), 8 * MIB);
}
END_TEST

START_TEST(test_far_and_slow_link)
{
	struct reader r = LINK(20e6, 300);

	ck_assert(read_through(&r, 64 * MIB) > 0.9);
	ck_assert_uint_le(window_most(&r.link), 4 * MIB);
}
END_TEST

/* A link that is faster than it was seen to be is found out. */
START_TEST(test_link_becomes_faster)
{
	struct reader r = LINK(40e6, 30);

	(void)read_through(&r, 32 * MIB);
	r.wire = (struct wire){ 1e9 / 8, 30 * NSEC_PER_MSEC, 0 };
	memset(&r.streams, 0, sizeof r.streams);
	r.head = r.tail = 0;
	r.asked = 0;
	r.link.gets = r.link.bodies = 0;
	r.link.since = 0;
	(void)read_through(&r, 256 * MIB);
	ck_assert_uint_ge(window_most(&r.link), 8 * MIB);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fs_window");
	TCase *streams = tcase_create("streams"), *link = tcase_create("link");
	SRunner *r;
	int failed;

	tcase_add_test(streams, test_one_stream);
	tcase_add_test(streams, test_streams_take_turns);
	tcase_add_test(streams, test_jumps_are_no_stream);
	tcase_add_test(streams, test_jumps_that_want_all);
	tcase_add_test(streams, test_stream_outlives_jumps);
	tcase_add_test(link, test_slow_link);
	tcase_add_test(link, test_link_of_a_gigabit);
	tcase_add_test(link, test_fast_and_far_link);
	tcase_add_test(link, test_fast_and_near_link);
	tcase_add_test(link, test_far_and_slow_link);
	tcase_add_test(link, test_link_becomes_faster);
	suite_add_tcase(s, streams);
	suite_add_tcase(s, link);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

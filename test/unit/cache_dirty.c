/* The list of dirty intervals against an array of owners, a slot a byte. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cache/map.h"

#define SPAN	200

static void
compare(const struct dset *d, const uint64_t *model)
{
	uint64_t at = 0, e, i;
	unsigned k;

	for (k = 0; k < d->n; k++) {
		ck_assert(d->v[k].off < d->v[k].end);
		ck_assert(k == 0 || d->v[k - 1].end <= d->v[k].off);
		if (k > 0 && d->v[k - 1].end == d->v[k].off)
			ck_assert(d->v[k - 1].seq != d->v[k].seq);
		for (; at < d->v[k].off; at++)
			ck_assert_uint_eq(model[at], 0);
		for (; at < d->v[k].end; at++)
			ck_assert_uint_eq(model[at], d->v[k].seq + 1);
	}
	for (; at < SPAN; at++)
		ck_assert_uint_eq(model[at], 0);
	for (at = 0; at < SPAN; at = e) {
		bool dirty = dset_at(d, at, SPAN, &e);

		for (i = at; i < e; i++)
			ck_assert_int_eq(model[i] != 0, dirty);
		ck_assert(e == SPAN || (model[e] != 0) != dirty ||
		    model[e] != model[e - 1]);
	}
}

static void
check_covers(const struct dset *d, const uint64_t *model)
{
	uint64_t a = rand() % SPAN, b = a + 1 + rand() % (SPAN - a), i;
	bool all = true, any = false, own = true;

	for (i = a; i < b; i++) {
		all = all && model[i];
		any = any || model[i];
		own = own && model[i] == 1;
	}
	ck_assert_int_eq(dset_covers(d, a, b), all);
	ck_assert_int_eq(dset_touches(d, a, b), any);
	ck_assert_int_eq(dset_covers_seq(d, a, b, 0), own);
}

START_TEST(test_random)
{
	struct dset d = { 0 };
	uint64_t model[SPAN] = { 0 }, frozen[1], a, b, seq, i, n;
	int step;

	srand(_i + 1);
	for (step = 0; step < 4000; step++) {
		seq = rand() % 4;
		switch (rand() % 12) {
		case 0:
			frozen[0] = rand() % 4;
			dset_relabel(&d, seq, frozen, 1);
			for (i = 0; i < SPAN; i++)
				if (model[i] && model[i] != frozen[0] + 1)
					model[i] = seq + 1;
			break;
		case 1:
			dset_drop_seq(&d, seq);
			for (i = 0; i < SPAN; i++)
				if (model[i] == seq + 1)
					model[i] = 0;
			break;
		default:
			a = rand() % SPAN;
			b = a + rand() % (SPAN - a);
			if (rand() % 2 && b > a + 8)
				b = a + 8;
			ck_assert_int_eq(dset_reserve(&d, 2), 0);
			dset_add(&d, a, b, seq);
			for (i = a; i < b; i++)
				model[i] = seq + 1;
		}
		compare(&d, model);
		check_covers(&d, model);
		for (i = n = 0; i < SPAN / 2; i++)
			n += model[i] != 0;
		ck_assert_uint_eq(dset_bytes(&d, SPAN / 2), n);
	}
	dset_done(&d);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cache_dirty");
	TCase *t = tcase_create("dirty");
	SRunner *r = srunner_create(s);
	int bad;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_random, 0, 8);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}

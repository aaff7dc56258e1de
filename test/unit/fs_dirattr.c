/* Directories known in memory: what makes them so, and what no more. */
#include "fs_util.h"

#include "fs/dirattr.h"

static struct dirattrs *d;

static void
setup(void)
{
	ck_assert_int_eq(dirattrs_new(&d), 0);
}

static void
teardown(void)
{
	dirattrs_free(d);
	dirattrs_free(NULL);
}

/* As who asks does: what the database says, said at that time. */
static void
learn(uint64_t ino, int64_t time)
{
	struct attr a;
	uint64_t version;

	ck_assert(!dirattr_get(d, ino, &a, &version));
	a = (struct attr){ .ino = ino, .mtime = time, .ctime = time };
	dirattr_put(d, &a, version);
}

START_TEST(times_merge)
{
	struct attr a;
	uint64_t version;

	learn(7, 100);
	ck_assert(dirattr_get(d, 7, &a, &version));
	ck_assert_int_eq(a.mtime, 100);
	dirattr_touch(d, 7, 200);
	dirattr_touch(d, 7, 150);	/* replied in another order (L5) */
	ck_assert(dirattr_get(d, 7, &a, &version));
	ck_assert_int_eq(a.mtime, 200);
	ck_assert_int_eq(a.ctime, 200);
	dirattr_forget(d, 7);
	ck_assert(!dirattr_get(d, 7, &a, &version));
	learn(7, 100);
	dirattrs_clear(d);
	ck_assert(!dirattr_get(d, 7, &a, &version));
}
END_TEST

/* What was read before a change is not kept after it. */
START_TEST(late_answers)
{
	struct attr a = { .ino = 7, .mtime = 100 }, b;
	uint64_t version;

	ck_assert(!dirattr_get(d, 7, &b, &version));
	dirattr_touch(d, 7, 200);
	dirattr_put(d, &a, version);
	ck_assert(!dirattr_get(d, 7, &b, &version));
	dirattr_forget(d, 7);
	dirattr_put(d, &a, version);
	ck_assert(!dirattr_get(d, 7, &b, &version));
	dirattr_put(d, &a, version);
	ck_assert(dirattr_get(d, 7, &b, &version));
}
END_TEST

/* Two that share a slot. */
START_TEST(neighbours)
{
	struct attr a;
	uint64_t version;

	learn(7, 100);
	dirattr_touch(d, 7 + 256, 300);
	dirattr_forget(d, 7 + 256);
	ck_assert(dirattr_get(d, 7, &a, &version));
	ck_assert_int_eq(a.mtime, 100);
	learn(7 + 256, 50);
	ck_assert(!dirattr_get(d, 7, &a, &version));
	ck_assert(dirattr_get(d, 7 + 256, &a, &version));
	ck_assert_int_eq(a.mtime, 50);
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(setup, teardown, 10);

	tcase_add_test(t, times_merge);
	tcase_add_test(t, late_answers);
	tcase_add_test(t, neighbours);
	return fu_run("fs_dirattr", t);
}

/* sq_wal: a commit is one write of the WAL, and is in the file when it is
 * told; what cannot be written is an error of that commit. */
#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sq.h"

static char dir[256], path[300];
static struct sq *q;

static _Atomic long nwrites;		/* of a WAL */
static _Atomic long fail_at;		/* that of nwrites; 0: none */
static _Atomic int fail_err;		/* 0: only half of it is written */
static _Atomic bool failed;

static bool
is_wal(int fd)
{
	char link[64], name[300];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	name[n < 0 ? 0 : n] = '\0';
	return n > 4 && strcmp(name + n - 4, "-wal") == 0;
}

/* In the place of the C library's, so that it is SQLite's too. */
ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (is_wal(fd) && atomic_fetch_add(&nwrites, 1) + 1 ==
	    atomic_load(&fail_at)) {
		atomic_store(&failed, true);
		errno = atomic_load(&fail_err);
		if (errno != 0)
			return -1;
		n = (n + 1) / 2;
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}

static int
schema(struct sqc *c, void *arg)
{
	return sq_exec(c, "CREATE TABLE t(id INTEGER PRIMARY KEY, r INT, "
	    "b BLOB); CREATE INDEX ti ON t(r);");
}

/* Few pages, so that a large transaction is spilled. */
static void
open_db(void)
{
	struct sq_opts o = { .cache_kib = 64 };

	ck_assert_int_eq(sq_open(path, &o, &q, NULL), 0);
}

static void
setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/gnsfs-wal-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
	atomic_store(&fail_at, 0);
	open_db();
	ck_assert_int_eq(sq_write(q, schema, NULL), 0);
}

static void
teardown(void)
{
	char cmd[400];

	sq_close(q);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* So many rows, of so many bytes, under ids of their own. */
struct rows { int n, bytes; bool fails, twice; };

static int
put(struct sqc *c, const struct rows *r)
{
	struct sqs *s;
	int err = 0;

	for (int i = 0; i < r->n && !err; i++) {
		s = sq_prep(c, "INSERT INTO t(r, b) "
		    "VALUES(random(), randomblob(?))");
		sqs_int(s, 1, r->bytes);
		err = sqs_run(s);
	}
	return err;
}

static int
rows_fn(struct sqc *c, void *arg)
{
	const struct rows *r = arg;
	int err = put(c, r);

	/* pages that were spilled are written again where they are */
	if (!err && r->twice)
		err = sqs_run(sq_prep(c, "UPDATE t SET r = random() "
		    "WHERE id % 5 = 0"));
	if (!err && r->twice)
		err = put(c, r);
	return !err && r->fails ? -ESTALE : err;
}

static int64_t
ask(struct sq *of, const char *sql)
{
	struct sqc *c;
	struct sqs *s;
	int64_t v = -1;

	ck_assert_int_eq(sq_read(of, &c), 0);
	s = sq_prep(c, sql);
	if (sqs_step(s) == 1)
		v = sqs_col_int(s, 0);
	sq_read_end(c);
	return v;
}

static void
check_db(struct sq *of, int64_t rows)
{
	ck_assert_int_eq(ask(of, "SELECT count(*) FROM t"), rows);
	ck_assert_int_eq(ask(of, "SELECT count(*) FROM "
	    "pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}

/* The files as they are: what a start after kill -9 finds. */
static void
check_killed(int64_t rows)
{
	char cmd[1400], name[320];
	struct sq *o;

	snprintf(name, sizeof(name), "%s/cut", dir);
	/* by another process: to close a database here drops its locks */
	snprintf(cmd, sizeof(cmd), "cp '%s' '%s' && cp '%s-wal' '%s-wal'",
	    path, name, path, name);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(sq_open(name, NULL, &o, NULL), 0);
	check_db(o, rows);
	sq_close(o);
}

START_TEST(one_write)
{
	struct rows r = { .n = 5, .bytes = 3000 };
	long before;

	ck_assert_int_eq(sq_write(q, rows_fn, &r), 0);
	for (int i = 0; i < 20; i++) {
		before = atomic_load(&nwrites);
		ck_assert_int_eq(sq_write(q, rows_fn, &r), 0);
		ck_assert_int_eq(atomic_load(&nwrites), before + 1);
		/* nothing to gather for what is undone */
		r.fails = true;
		ck_assert_int_eq(sq_write(q, rows_fn, &r), -ESTALE);
		ck_assert_int_eq(atomic_load(&nwrites), before + 1);
		r.fails = false;
	}
	check_db(q, 21 * 5);
}
END_TEST

static const struct rows many[] = {
	{ 1, 10 }, { 8, 3000 }, { 60, 4000 }, { 120, 2000 },
	{ 80, 3000, .fails = true }, { 2, 50 }, { 30, 100 },
	{ 40, 3000, .twice = true }, { 3, 9000 }, { 1, 300000 }, { 1, 1 },
	{ 90, 3000, .fails = true, .twice = true }, { 5, 700 },
};
enum { MANY = sizeof(many) / sizeof(many[0]) };

/* Also where pages were spilled, written twice, or undone after that. */
START_TEST(told_is_there)
{
	int64_t rows = 0;

	for (int i = 0; i < 3 * MANY; i++) {
		struct rows r = many[i % MANY];
		int rv = sq_write(q, rows_fn, &r);

		ck_assert_int_eq(rv, r.fails ? -ESTALE : 0);
		if (rv == 0)
			rows += r.n * (r.twice ? 2 : 1);
		check_killed(rows);
	}
	check_db(q, rows);
}
END_TEST

/* Returns whether the nth write failed. */
static bool
run_with(long nth, int err)
{
	int64_t rows = ask(q, "SELECT count(*) FROM t");

	atomic_store(&failed, false);
	atomic_store(&fail_err, err);
	atomic_store(&fail_at, atomic_load(&nwrites) + nth);
	for (int i = 0; i < MANY; i++) {
		struct rows r = many[i];
		bool was = atomic_load(&failed);
		int rv = sq_write(q, rows_fn, &r);

		if (rv == 0)
			rows += r.n * (r.twice ? 2 : 1);
		else if (rv != -ESTALE || !r.fails) {
			/* once, at that write, and said as what it is */
			ck_assert(!was && atomic_load(&failed));
			ck_assert_int_eq(rv, -err);
			check_killed(rows);
		}
		ck_assert_int_eq(ask(q, "SELECT count(*) FROM t"), rows);
	}
	atomic_store(&fail_at, 0);
	check_db(q, rows);
	check_killed(rows);
	return atomic_load(&failed);
}

static int
delete_all(struct sqc *c, void *arg)
{
	return sq_exec(c, "DELETE FROM t");
}

/* Each write fails once: no room, a bad disk, half of it. */
START_TEST(each_fails)
{
	static const int errs[] = { ENOSPC, EIO, 0 };
	long nth;

	for (nth = 1; run_with(nth, errs[_i]); nth += nth < 6 ? 1 : 19)
		ck_assert_int_eq(sq_write(q, delete_all, NULL), 0);
	ck_assert_int_gt(nth, MANY);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_sq_wal");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failures;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, one_write);
	tcase_add_test(t, told_is_there);
	tcase_add_loop_test(t, each_fails, 0, 3);
	srunner_run_all(r, CK_NORMAL);
	failures = srunner_ntests_failed(r);
	srunner_free(r);
	return failures != 0;
}

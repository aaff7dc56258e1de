/* sq: groups, errors, statements, readers, checkpoints. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/room.h"
#include "base/sq.h"

static char dir[256], path[300];
static struct sq *q;

static _Atomic int nsyncs;
static _Atomic int bad_syncs;	/* so many fail */
static _Atomic bool slow_disk, copies_wal;
static _Atomic bool held_disk;	/* a sync waits until it is let go */

/* What a power cut would leave: of the WAL what was there at its last sync. */
static void
copy_wal(int fd)
{
	char cmd[1400], link[64], name[300];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	name[n < 0 ? 0 : n] = '\0';
	if (n < 4 || strcmp(name + n - 4, "-wal") != 0)
		return;
	/* by another process: to close a database here drops its locks */
	snprintf(cmd, sizeof(cmd), "cp '%s' '%s/cut' && cp '%s-wal' "
	    "'%s/cut-wal'", path, dir, path, dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* In the place of the C library's, so that what SQLite does is counted. */
int
fdatasync(int fd)
{
	atomic_fetch_add(&nsyncs, 1);
	if (atomic_load(&slow_disk))
		clock_sleep(30 * NSEC_PER_MSEC);
	while (atomic_load(&held_disk))
		clock_sleep(NSEC_PER_MSEC);
	if (atomic_load(&bad_syncs) > 0) {
		atomic_fetch_sub(&bad_syncs, 1);
		errno = EIO;
		return -1;
	}
	if (atomic_load(&copies_wal))
		copy_wal(fd);
	return syscall(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
	atomic_fetch_add(&nsyncs, 1);
	return syscall(SYS_fsync, fd);
}

static void
open_db(void)
{
	struct why why = { "" };

	ck_assert_msg(sq_open(path, NULL, &q, &why) == 0, "%s", why.text);
}

static int
schema(struct sqc *c, void *arg)
{
	return sq_exec(c, "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB);"
	    "CREATE TABLE n(k INTEGER PRIMARY KEY, v);");
}

static void
setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/gnsfs-sq-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
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

static int
insert(struct sqc *c, void *arg)
{
	struct sqs *s = sq_prep(c, "INSERT INTO t(id, b) VALUES(?, ?)");

	sqs_int(s, 1, *(int64_t *)arg);
	sqs_blob(s, 2, "0123456789", 10);
	return sqs_run(s);
}

static int
insert_and_fail(struct sqc *c, void *arg)
{
	int err = insert(c, arg);

	return err ? err : -ESTALE;
}

static int64_t
ask(const char *sql)
{
	struct sqc *c;
	struct sqs *s;
	int64_t v = -1;

	ck_assert_int_eq(sq_read(q, &c), 0);
	s = sq_prep(c, sql);
	if (sqs_step(s) == 1)
		v = sqs_col_int(s, 0);
	sq_read_end(c);
	return v;
}

START_TEST(write_keeps_or_undoes)
{
	int64_t id = 1;

	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 1);
	ck_assert_int_eq(sq_write(q, insert, &id), -EEXIST);
	id = 2;
	ck_assert_int_eq(sq_write(q, insert_and_fail, &id), -ESTALE);
	ck_assert_int_eq(ask("SELECT count(*) FROM t "), 1);
	ck_assert_int_eq(sq_write_sync(q, insert_and_fail, &id), -ESTALE);
	ck_assert_int_eq(sq_write_sync(q, insert, &id), 0);
	ck_assert_int_eq(sq_sync(q), 0);
	ck_assert_int_eq(ask("SELECT n FROM sq_sync"), 1);
	/* and it is there after a close, with the WAL folded in */
	sq_close(q);
	ck_assert_int_ne(access(strcat(path, "-wal"), F_OK), 0);
	path[strlen(path) - 4] = '\0';
	open_db();
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 2);
}
END_TEST

struct job {
	pthread_t	t;
	int64_t		from;
	int		n, bad;
	bool		sync;
};

/* Every third fails, and must leave nothing. */
static void *
writer(void *arg)
{
	struct job *j = arg;

	for (int i = 0; i < j->n; i++) {
		int64_t id = j->from + i;
		bool fail = id % 3 == 0;
		int rv, sync_err = 0;

		if (!j->sync)
			rv = sq_write(q, fail ? insert_and_fail : insert, &id);
		else if (id % 2)
			rv = sq_write_sync(q, insert, &id);
		else
			rv = sq_write_shared(q, insert, &id, &sync_err);
		if (sync_err != 0)
			j->bad++;

		if (rv != (fail && !j->sync ? -ESTALE : 0))
			j->bad++;
	}
	return NULL;
}

static _Atomic bool stop;

static void *
reader(void *arg)
{
	int64_t last = 0, n;

	while (!atomic_load(&stop)) {
		n = ask("SELECT count(*) FROM t");
		if (n < last)
			*(int *)arg = 1;
		last = n;
	}
	return NULL;
}

START_TEST(many_writers)
{
	struct job j[12] = { 0 };
	pthread_t r[3];
	int bad = 0;

	atomic_store(&stop, false);
	for (int i = 0; i < 3; i++)
		pthread_create(&r[i], NULL, reader, &bad);
	for (int i = 0; i < 12; i++) {
		j[i].from = 3000 * i;
		j[i].sync = i >= 10;
		j[i].n = j[i].sync ? 60 : 600;
		pthread_create(&j[i].t, NULL, writer, &j[i]);
	}
	for (int i = 0; i < 12; i++) {
		pthread_join(j[i].t, NULL);
		ck_assert_int_eq(j[i].bad, 0);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(r[i], NULL);
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 10 * 400 + 2 * 60);
}
END_TEST

static void *
run_sync(void *arg)
{
	return (void *)(intptr_t)sq_sync(q);
}

/* L10: a plain commit syncs nothing, a sync does, and waiters share one. */
START_TEST(syncs)
{
	pthread_t t[8];
	int64_t id = 1;
	void *rv;

	atomic_store(&nsyncs, 0);
	for (; id < 100; id++)
		ck_assert_int_eq(sq_write(q, insert, &id), 0);
	ck_assert_int_eq(atomic_load(&nsyncs), 0);
	ck_assert_int_eq(sq_sync(q), 0);
	ck_assert_int_eq(atomic_load(&nsyncs), 1);
	ck_assert_int_eq(sq_sync(q), 0);
	ck_assert_int_eq(atomic_load(&nsyncs), 2);
	ck_assert_int_eq(sq_write_sync(q, insert, &id), 0);
	ck_assert_int_eq(atomic_load(&nsyncs), 3);
	id++;
	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	ck_assert_int_eq(atomic_load(&nsyncs), 3);
	atomic_store(&slow_disk, true);
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, run_sync, NULL);
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], &rv);
		ck_assert_int_eq((intptr_t)rv, 0);
	}
	ck_assert_int_le(atomic_load(&nsyncs), 3 + 4);
}
END_TEST

struct shared {
	pthread_t	t;
	int64_t		id;
	int		rv, sync_err;
	_Atomic bool	done;
};

static void *
run_shared(void *arg)
{
	struct shared *s = arg;

	s->rv = sq_write_shared(q, insert, &s->id, &s->sync_err);
	atomic_store(&s->done, true);
	return NULL;
}

/* While a sync is under way the writer goes on, and what wants to be synced
 * too gathers, for one sync; it is committed along with what need not be. */
START_TEST(shares)
{
	struct shared s[9] = { 0 };
	int64_t id = 100;
	int before;

	atomic_store(&nsyncs, 0);
	atomic_store(&held_disk, true);
	for (int i = 0; i < 9; i++) {
		s[i].id = i + 1;
		pthread_create(&s[i].t, NULL, run_shared, &s[i]);
		while (atomic_load(&nsyncs) == 0)	/* the first's */
			clock_sleep(NSEC_PER_MSEC);
	}
	clock_sleep(50 * NSEC_PER_MSEC);
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 1);
	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	ck_assert_int_ge(ask("SELECT count(*) FROM t "), 3);
	for (int i = 0; i < 9; i++)	/* none before it is durable */
		ck_assert(!atomic_load(&s[i].done));
	atomic_store(&held_disk, false);
	for (int i = 0; i < 9; i++) {
		pthread_join(s[i].t, NULL);
		ck_assert_int_eq(s[i].rv, 0);
		ck_assert_int_eq(s[i].sync_err, 0);
	}
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 10);
	before = atomic_load(&nsyncs);
	ck_assert_int_ge(before, 2);
	ck_assert_int_le(before, 3);	/* one may have come late */
	/* what fails is not there, and nothing is synced for it */
	ck_assert_int_eq(sq_write_shared(q, insert_and_fail, &(int64_t){ 50 },
	    &s[0].sync_err), -ESTALE);
	ck_assert_int_eq(atomic_load(&nsyncs), before);
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 10);
}
END_TEST

static int
insert_large(struct sqc *c, void *arg)
{
	struct sqs *s = sq_prep(c, "INSERT INTO t(id, b) "
	    "VALUES(?, zeroblob(3 << 20))");

	sqs_int(s, 1, *(int64_t *)arg);
	return sqs_run(s);
}

static bool
survives(int64_t id)
{
	char cut[300];
	struct sqc *c;
	struct sq *o;
	struct sqs *s;
	bool is;

	snprintf(cut, sizeof(cut), "%s/cut", dir);
	ck_assert_int_eq(sq_open(cut, NULL, &o, NULL), 0);
	ck_assert_int_eq(sq_read(o, &c), 0);
	s = sq_prep(c, "SELECT 1 FROM t WHERE id = ?");
	sqs_int(s, 1, id);
	is = sqs_step(s) == 1;
	sq_read_end(c);
	sq_close(o);
	return is;
}

/* What a sync acknowledged is in what the disk was given (L10), also where a
 * checkpoint comes between and the WAL begins anew. */
START_TEST(durable)
{
	int64_t id = 1;
	int err;

	atomic_store(&copies_wal, true);
	for (; id <= 24; id++) {
		if (id % 2) {
			ck_assert_int_eq(sq_write(q, insert_large, &id), 0);
			ck_assert_int_eq(sq_sync(q), 0);
		} else {
			ck_assert_int_eq(sq_write_shared(q, insert, &id, &err),
			    0);
			ck_assert_int_eq(err, 0);
		}
		ck_assert(survives(id));
	}
	/* and not what was not synced: the copy is none of now */
	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	ck_assert(!survives(id));
	atomic_store(&copies_wal, false);
}
END_TEST

/* A disk that does not sync: said; nothing is taken back that was kept. */
START_TEST(bad_disk)
{
	int64_t id = 1;
	int err;

	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	atomic_store(&bad_syncs, 1);		/* SQLite is luckier */
	ck_assert_int_eq(sq_sync(q), -EIO);
	ck_assert_int_eq(sq_sync(q), 0);
	atomic_store(&bad_syncs, 2);
	ck_assert_int_eq(sq_sync(q), -EIO);
	atomic_store(&bad_syncs, 0);
	id++;
	/* the WAL begins anew, which syncs its head */
	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	atomic_store(&bad_syncs, 1);
	id++;
	ck_assert_int_eq(sq_write_shared(q, insert, &id, &err), 0);
	ck_assert_int_eq(err, -EIO);
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 3);
	atomic_store(&bad_syncs, 0);
	ck_assert_int_eq(sq_sync(q), 0);
}
END_TEST

/* A transaction that SQLite gives up takes only its own members along. */
static int
give_up(struct sqc *c, void *arg)
{
	sq_exec(c, "ROLLBACK");
	return -ENOSPC;
}

static _Atomic int asked;	/* of the threads below, by now */

/* Until three more have asked, and a little longer: they are one group. */
static int
slow(struct sqc *c, void *arg)
{
	for (int i = 0; i < 1000 && atomic_load(&asked) < 4; i++)
		clock_sleep(10 * NSEC_PER_MSEC);
	clock_sleep(100 * NSEC_PER_MSEC);
	return 7;
}

static void *
run_fn(void *arg)
{
	atomic_fetch_add(&asked, 1);
	return (void *)(intptr_t)sq_write(q, *(sq_fn **)arg, NULL);
}

static void *
run_insert(void *arg)
{
	atomic_fetch_add(&asked, 1);
	return (void *)(intptr_t)sq_write(q, insert, arg);
}

#define IN_ORDER	(200 * NSEC_PER_MSEC)	/* also on a busy machine */

START_TEST(lost_transaction)
{
	sq_fn *f[2] = { slow, give_up };
	int64_t id[2] = { 10, 11 };
	pthread_t t[4];
	void *rv[4];

	pthread_create(&t[0], NULL, run_fn, &f[0]);
	clock_sleep(IN_ORDER);
	pthread_create(&t[1], NULL, run_insert, &id[0]);
	clock_sleep(IN_ORDER);
	pthread_create(&t[2], NULL, run_fn, &f[1]);
	clock_sleep(IN_ORDER);
	pthread_create(&t[3], NULL, run_insert, &id[1]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], &rv[i]);
	ck_assert_int_eq((intptr_t)rv[0], 7);
	ck_assert_int_eq((intptr_t)rv[1], -ENOSPC);
	ck_assert_int_eq((intptr_t)rv[2], -ENOSPC);
	ck_assert_int_eq((intptr_t)rv[3], 0);
	ck_assert_int_eq(ask("SELECT group_concat(id) FROM t"), 11);
}
END_TEST

static const char *
all_ids(void)
{
	return "SELECT id FROM t ORDER BY id";
}

static int
nested(struct sqc *c, void *arg)
{
	struct sqs *a, *b;
	int n = 0;

	a = sq_prep(c, all_ids());
	while (sqs_step(a) == 1) {
		b = sq_prep(c, all_ids());
		ck_assert_ptr_ne(a, b);
		while (sqs_step(b) == 1)
			n++;
	}
	/* all done: one of them serves again */
	b = sq_prep(c, all_ids());
	ck_assert_ptr_eq(a, b);
	ck_assert_int_eq(sqs_step(b), 1);
	return n;	/* b is left unreset, and reset for us */
}

static int
bindings(struct sqc *c, void *arg)
{
	const char *sql = "INSERT INTO n(k, v) VALUES(?, ?)";
	struct sqs *a = sq_prep(c, sql), *b;
	size_t n;

	sqs_int(a, 1, 1);
	b = sq_prep(c, sql);	/* a is bound: not the same */
	ck_assert_ptr_ne(a, b);
	sqs_int(b, 1, 2);
	sqs_text(b, 2, "two");
	ck_assert_int_eq(sqs_run(b), 0);
	sqs_blob(a, 2, NULL, 0);
	ck_assert_int_eq(sqs_run(a), 0);
	ck_assert_int_eq(sq_changes(c), 1);
	ck_assert_int_eq(sq_last_rowid(c), 1);
	sqs_int(a, 1, 3);
	sqs_null(a, 2);
	ck_assert_int_eq(sqs_run(a), 0);
	a = sq_prep(c, "SELECT v FROM n ORDER BY k");
	ck_assert_int_eq(sqs_step(a), 1);
	ck_assert(!sqs_col_is_null(a, 0));
	ck_assert_ptr_nonnull(sqs_col_blob(a, 0, &n));
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(sqs_step(a), 1);
	ck_assert_str_eq(sqs_col_text(a, 0), "two");
	ck_assert_int_eq(sqs_step(a), 1);
	ck_assert(sqs_col_is_null(a, 0));
	ck_assert_ptr_null(sqs_col_blob(a, 0, &n));
	ck_assert_int_eq(sqs_step(a), 0);
	/* errors */
	a = sq_prep(c, "SELECT v FROM n WHERE k = ?");
	sqs_int(a, 5, 1);
	ck_assert_int_eq(sqs_step(a), -EIO);
	a = sq_prep(c, "SELECT nonsense FROM n");
	ck_assert_ptr_null(a);
	ck_assert_int_eq(sq_err(c), -EIO);
	sqs_int(a, 1, 1);
	ck_assert_int_eq(sqs_step(a), -EIO);
	ck_assert_int_eq(sqs_col_int(a, 0), 0);
	sqs_reset(a);
	return 0;
}

START_TEST(statements)
{
	for (int64_t id = 1; id <= 5; id++)
		ck_assert_int_eq(sq_write(q, insert, &id), 0);
	ck_assert_int_eq(sq_write(q, nested, NULL), 25);
	ck_assert_int_eq(sq_write(q, nested, NULL), 25);
	ck_assert_int_eq(sq_write(q, bindings, NULL), 0);
}
END_TEST

static int
many_texts(struct sqc *c, void *arg)
{
	static char sql[1000][40];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000; i++) {
			struct sqs *s;

			snprintf(sql[i], sizeof(sql[i]), "SELECT %d", i);
			s = sq_prep(c, sql[i]);
			ck_assert_int_eq(sqs_step(s), 1);
			ck_assert_int_eq(sqs_col_int(s, 0), i);
			sqs_reset(s);
		}
	}
	return 0;
}

START_TEST(statement_table_grows)
{
	ck_assert_int_eq(sq_write(q, many_texts, NULL), 0);
}
END_TEST

static void *
lend(void *arg)
{
	struct sqc *c;

	if (sq_read(q, &c) == 0)
		sq_read_end(c);
	atomic_store((_Atomic int *)arg, 1);
	return NULL;
}

START_TEST(readers)
{
	struct sq_opts o = { .readers = 2 };
	struct sqc *a, *b;
	struct sqs *s;
	int64_t id = 1;
	_Atomic int got = 0;
	pthread_t t;

	sq_close(q);
	ck_assert_int_eq(sq_open(path, &o, &q, NULL), 0);
	ck_assert_int_eq(sq_read(q, &a), 0);
	ck_assert_int_eq(sq_read(q, &b), 0);
	pthread_create(&t, NULL, lend, &got);
	clock_sleep(30 * NSEC_PER_MSEC);
	ck_assert_int_eq(atomic_load(&got), 0);	/* waits */
	sq_read_end(b);
	pthread_join(t, NULL);
	ck_assert_int_eq(atomic_load(&got), 1);
	sq_read_end(NULL);
	/* a snapshot stays, what it is not sees the last commit */
	ck_assert_int_eq(sq_snapshot_begin(a), 0);
	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	s = sq_prep(a, "SELECT count(*) FROM t");
	ck_assert_int_eq(sqs_step(s), 1);
	ck_assert_int_eq(sqs_col_int(s, 0), 0);
	ck_assert_int_eq(sq_snapshot_begin(a), 0);	/* renewed */
	ck_assert_int_eq(sqs_step(s), 1);
	ck_assert_int_eq(sqs_col_int(s, 0), 1);
	/* and it cannot write */
	ck_assert_int_eq(sq_exec(a, "DELETE FROM t"), -EROFS);
	ck_assert_int_eq(sq_err(a), -EROFS);
	sq_read_end(a);
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 1);
}
END_TEST

static int
insert_big(struct sqc *c, void *arg)
{
	struct sqs *s = sq_prep(c, "INSERT INTO t(b) VALUES(zeroblob(?))");

	sqs_int(s, 1, *(int64_t *)arg);
	return sqs_run(s);
}

static int64_t
wal_size(void)
{
	struct stat st;
	char wal[320];

	snprintf(wal, sizeof(wal), "%s-wal", path);
	return stat(wal, &st) < 0 ? 0 : st.st_size;
}

START_TEST(wal_is_bounded)
{
	int64_t n = 1 << 20;

	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(sq_write(q, insert_big, &n), 0);
	ck_assert_int_lt(wal_size(), 24 << 20);
	ck_assert_int_gt(wal_size(), 1 << 20);
}
END_TEST

static int
delete_all(struct sqc *c, void *arg)
{
	return sq_exec(c, "DELETE FROM t");
}

/* Fills the disk; more() makes room; then nothing may be stuck. */
static void
fill_and_recover(void (*more)(void))
{
	int64_t n = 1 << 20, id = 1 << 20;
	int err = 0, i;

	for (i = 0; i < 40 && !err; i++)
		err = sq_write(q, insert_big, &n);
	ck_assert_int_eq(err, -ENOSPC);
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), i - 1);
	ck_assert_int_eq(sq_write(q, insert_big, &n), -ENOSPC);
	more();
	ck_assert_int_eq(sq_write(q, delete_all, NULL), 0);
	ck_assert_int_eq(sq_write(q, insert, &id), 0);
	ck_assert_int_eq(sq_sync(q), 0);
	sq_close(q);
	open_db();
	ck_assert_int_eq(ask("SELECT count(*) FROM t"), 1);
}

static struct rlimit old_limit;

static void
lift_limit(void)
{
	setrlimit(RLIMIT_FSIZE, &old_limit);
}

START_TEST(file_limit)
{
	struct rlimit lim;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old_limit);
	lim = old_limit;
	lim.rlim_cur = 4 << 20;
	setrlimit(RLIMIT_FSIZE, &lim);
	fill_and_recover(lift_limit);
}
END_TEST

static void
remove_ballast(void)
{
	char ballast[320];

	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	ck_assert_int_eq(unlink(ballast), 0);
}

/* A disk of its own, where the kernel lets us mount one. */
START_TEST(full_disk)
{
	char ballast[320];
	int fd;

	sq_close(q);
	q = NULL;
	if (unshare(CLONE_NEWNS) < 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return;
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount("none", dir, "tmpfs", 0, "size=24m") < 0)
		return;
	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	fd = open(ballast, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_eq(posix_fallocate(fd, 0, 12 << 20), 0);
	close(fd);
	open_db();
	ck_assert_int_eq(sq_write(q, schema, NULL), 0);
	fill_and_recover(remove_ballast);
	sq_close(q);
	q = NULL;
	umount2(dir, MNT_DETACH);
}
END_TEST

static int
put_row(struct sqc *c, void *arg)
{
	struct sqs *st = sq_prep(c,
	    "INSERT INTO t VALUES(NULL, zeroblob(4000))");

	return sqs_run(st);
}

static int
del_row(struct sqc *c, void *arg)
{
	struct sqs *st = sq_prep(c, "DELETE FROM t WHERE id=?1");

	sqs_int(st, 1, *(int *)arg);
	return sqs_run(st);
}

/* C5: on a disk that somebody else filled, what takes away works, again and
 * again, and after a new start; with room it is as before. */
START_TEST(ballast)
{
	char other[320], byte[4096] = { 1 };
	int fd, i;

	sq_close(q);
	q = NULL;
	if (unshare(CLONE_NEWNS) < 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return;
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount("none", dir, "tmpfs", 0, "size=64m") < 0)
		return;
	open_db();
	ck_assert_int_eq(sq_write(q, schema, NULL), 0);
	ck_assert_int_eq(sq_ballast(q), 0);
	for (i = 0; i < 1500; i++)
		ck_assert_int_eq(sq_write(q, put_row, NULL), 0);
	sq_close(q);
	snprintf(other, sizeof(other), "%s/other", dir);
	fd = open(other, O_CREAT | O_WRONLY, 0600);
	while (write(fd, byte, sizeof(byte)) == sizeof(byte))
		;
	ck_assert_int_eq(errno, ENOSPC);
	room_enter(path);
	open_db();
	ck_assert_int_eq(sq_ballast(q), 0);
	for (i = 1; i < 1500; i++)
		ck_assert_int_eq(sq_write(q, del_row, &i), 0);
	ck_assert_int_eq(sq_sync(q), 0);
	ck_assert(sq_is_low(q));
	close(fd);
	unlink(other);
	clock_sleep(200 * NSEC_PER_MSEC);
	ck_assert_int_eq(sq_write(q, put_row, NULL), 0);
	ck_assert(!sq_is_low(q));
	sq_close(q);
	q = NULL;
	umount2(dir, MNT_DETACH);
}
END_TEST

START_TEST(open_refuses)
{
	struct sq *other = NULL;
	struct why why = { "" };
	char bad[320];
	int fd;

	snprintf(bad, sizeof(bad), "%s/none/db", dir);
	ck_assert_int_lt(sq_open(bad, NULL, &other, &why), 0);
	ck_assert_ptr_nonnull(strstr(why.text, "none/db"));
	snprintf(bad, sizeof(bad), "%s/bad", dir);
	fd = open(bad, O_CREAT | O_WRONLY, 0600);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(write(fd, "this is no database ", 20), 20);
	close(fd);
	why.text[0] = '\0';
	ck_assert_int_eq(sq_open(bad, NULL, &other, &why), -EUCLEAN);
	ck_assert_ptr_nonnull(strstr(why.text, "not a database"));
	ck_assert_ptr_null(other);
	sq_close(NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_sq");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, write_keeps_or_undoes);
	tcase_add_test(t, many_writers);
	tcase_add_test(t, syncs);
	tcase_add_test(t, shares);
	tcase_add_test(t, durable);
	tcase_add_test(t, bad_disk);
	tcase_add_test(t, lost_transaction);
	tcase_add_test(t, statements);
	tcase_add_test(t, statement_table_grows);
	tcase_add_test(t, readers);
	tcase_add_test(t, wal_is_bounded);
	tcase_add_test(t, file_limit);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, ballast);
	tcase_add_test(t, open_refuses);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

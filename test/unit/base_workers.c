/* lock, workers, latch. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/workers.h"

static struct lock outer = LOCK_INIT(RANK_MOUNT, "outer");
static struct lock inner = LOCK_INIT(RANK_MAP, "inner");
static struct lock equal = LOCK_INIT(RANK_MAP, "equal");

/* What is about to abort on purpose need not say so in the test's output. */
static void
hush(void)
{
	int fd = open("/dev/null", O_WRONLY);

	dup2(fd, STDERR_FILENO);
	close(fd);
}

START_TEST(locks_ascend)
{
	lock_take(&outer);
	lock_take(&inner);
	lock_assert_held(&outer);
	lock_assert_held(&inner);
	lock_drop(&outer);		/* in any order */
	lock_drop(&inner);
	lock_take(&inner);
	ck_assert(lock_try(&outer));	/* what does not wait may */
	lock_drop(&inner);
	lock_drop(&outer);
}
END_TEST

START_TEST(lock_descending_aborts)
{
	hush();
	lock_take(&inner);
	lock_take(&outer);
}
END_TEST

START_TEST(lock_same_rank_aborts)
{
	hush();
	lock_take(&inner);
	lock_take(&equal);
}
END_TEST

START_TEST(lock_drop_of_another_aborts)
{
	hush();
	lock_take(&outer);
	lock_drop(&inner);
}
END_TEST

START_TEST(lock_assert_aborts)
{
	hush();
	lock_assert_held(&inner);
}
END_TEST

static void *
try_it(void *arg)
{
	return lock_try(arg) ? arg : NULL;
}

START_TEST(lock_try_fails)
{
	pthread_t t;
	void *rv;

	lock_take(&inner);
	pthread_create(&t, NULL, try_it, &inner);
	pthread_join(t, &rv);
	ck_assert_ptr_null(rv);
	lock_drop(&inner);
}
END_TEST

START_TEST(cond_deadline)
{
	struct lock l;
	struct cond c;
	int64_t t = clock_mono();

	lock_init(&l, RANK_FILL, "l");
	cond_init(&c);
	lock_take(&l);
	ck_assert_int_eq(cond_wait_until(&c, &l, t - 1), -ETIMEDOUT);
	ck_assert_int_eq(cond_wait_until(&c, &l, t + 20 * NSEC_PER_MSEC),
	    -ETIMEDOUT);
	ck_assert_int_ge(clock_mono() - t, 20 * NSEC_PER_MSEC);
	lock_drop(&l);
	cond_done(&c);
	lock_done(&l);
}
END_TEST

static struct latch latch;
static _Atomic int ran;

static void
count(void *arg)
{
	atomic_fetch_add(&ran, 1);
	latch_down(&latch);
}

START_TEST(all_jobs_run)
{
	struct workers *w;

	atomic_store(&ran, 0);
	latch_init(&latch, 1000);
	ck_assert_int_eq(workers_new("t", 0, &w), -EINVAL);
	ck_assert_int_eq(workers_new("test", 4, &w), 0);
	ck_assert_uint_eq(workers_threads(w), 4);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(workers_submit(w, i % WORK_NPRIO, count,
		    NULL), 0);
	latch_wait(&latch);
	ck_assert_int_eq(atomic_load(&ran), 1000);
	workers_free(w);
	workers_free(NULL);
	latch_done(&latch);
}
END_TEST

START_TEST(free_runs_what_is_queued)
{
	struct workers *w;

	atomic_store(&ran, 0);
	latch_init(&latch, 1000);
	ck_assert_int_eq(workers_new("test", 2, &w), 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(workers_submit(w, WORK_NORMAL, count, NULL),
		    0);
	workers_free(w);
	ck_assert_int_eq(atomic_load(&ran), 1000);
	latch_done(&latch);
}
END_TEST

static int order[6], norder;
static struct latch gate;

static void
wait_gate(void *arg)
{
	latch_wait(&gate);
}

static void
note_order(void *arg)
{
	order[norder++] = *(int *)arg;
}

START_TEST(priorities)
{
	static int ids[] = { 0, 1, 2, 3, 4, 5 };
	static const int want[] = { 2, 5, 1, 4, 0, 3 };
	struct workers *w;

	latch_init(&gate, 1);
	ck_assert_int_eq(workers_new("test", 1, &w), 0);
	workers_submit(w, WORK_URGENT, wait_gate, NULL);
	clock_sleep(20 * NSEC_PER_MSEC);
	for (int i = 0; i < 6; i++)
		workers_submit(w, WORK_BACKGROUND - i % 3, note_order,
		    &ids[i]);
	latch_down(&gate);
	workers_free(w);
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(order[i], want[i]);
	latch_done(&gate);
}
END_TEST

/* A job that waits for a later one: there must be a thread for each. */
START_TEST(threads_start_as_needed)
{
	struct workers *w;

	latch_init(&gate, 1);
	latch_init(&latch, 1);
	latch_add(&latch, 1);
	ck_assert_int_eq(workers_new("test", 3, &w), 0);
	workers_submit(w, WORK_NORMAL, wait_gate, NULL);
	workers_submit(w, WORK_NORMAL, wait_gate, NULL);
	workers_submit(w, WORK_NORMAL, count, NULL);
	ck_assert_int_eq(latch_wait_until(&latch,
	    clock_mono() + 20 * NSEC_PER_MSEC), -ETIMEDOUT);
	latch_down(&latch);
	ck_assert_int_eq(latch_wait_until(&latch,
	    clock_mono() + 10 * NSEC_PER_SEC), 0);
	latch_down(&gate);
	workers_free(w);
	latch_done(&latch);
	latch_done(&gate);
}
END_TEST

static struct workers *ending;
static int late;

static void
submit_late(void *arg)
{
	while ((late = workers_submit(ending, WORK_NORMAL, wait_gate, NULL))
	    == 0)
		clock_sleep(NSEC_PER_MSEC);
}

START_TEST(no_job_after_the_end)
{
	latch_init(&gate, 0);
	ck_assert_int_eq(workers_new("test", 1, &ending), 0);
	workers_submit(ending, WORK_NORMAL, submit_late, NULL);
	workers_free(ending);
	ck_assert_int_eq(late, -ESHUTDOWN);
	latch_done(&gate);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_workers");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, locks_ascend);
	tcase_add_test_raise_signal(t, lock_descending_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, lock_same_rank_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, lock_drop_of_another_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, lock_assert_aborts, SIGABRT);
	tcase_add_test(t, lock_try_fails);
	tcase_add_test(t, cond_deadline);
	tcase_add_test(t, all_jobs_run);
	tcase_add_test(t, free_runs_what_is_queued);
	tcase_add_test(t, priorities);
	tcase_add_test(t, threads_start_as_needed);
	tcase_add_test(t, no_job_after_the_end);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

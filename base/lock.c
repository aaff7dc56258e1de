/*
 * lock: see base/lock.h.
 *
 * Each thread keeps the list of the locks it holds; the checks cost a few
 * nanoseconds and stay on in production.  A waiter on a condition still counts
 * as a holder of its lock: it takes nothing while it sleeps.  lock_try() may
 * be used in any order: what does not wait cannot deadlock.
 */
#include "base/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define HELD_MAX	16	/* ranks nest far less deep */

static _Thread_local const struct lock *held[HELD_MAX];
static _Thread_local unsigned nheld;

static _Noreturn void
broken(const char *what, const struct lock *l, const struct lock *other)
{
	fprintf(stderr, "gnsfs: lock '%s' (rank %d) %s '%s' (rank %d)\n",
	    l->name, l->rank, what, other ? other->name : "-",
	    other ? other->rank : 0);
	abort();
}

/* For what only a bug can make fail. */
static void
must(int err, const struct lock *l, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "gnsfs: lock '%s': %s: error %d\n",
	    l ? l->name : "-", what, err);
	abort();
}

static void
push(const struct lock *l)
{
	if (nheld == HELD_MAX)
		broken("is one lock too many after", l, held[nheld - 1]);
	held[nheld++] = l;
}

void
lock_init(struct lock *l, enum lock_rank rank, const char *name)
{
	l->rank = rank;
	l->name = name;
	must(pthread_mutex_init(&l->m, NULL), l, "init");
}

void
lock_done(struct lock *l)
{
	must(pthread_mutex_destroy(&l->m), l, "destroy");
}

void
lock_take(struct lock *l)
{
	for (unsigned i = 0; i < nheld; i++) {
		if (held[i]->rank >= l->rank)
			broken("taken while holding", l, held[i]);
	}
	must(pthread_mutex_lock(&l->m), l, "take");
	push(l);
}

bool
lock_try(struct lock *l)
{
	int err = pthread_mutex_trylock(&l->m);

	if (err == EBUSY)
		return false;
	must(err, l, "try");
	push(l);
	return true;
}

void
lock_drop(struct lock *l)
{
	unsigned i = nheld;

	while (i > 0 && held[i - 1] != l)
		i--;
	if (i == 0)
		broken("dropped by a thread that does not hold it; holds",
		    l, nheld ? held[nheld - 1] : NULL);
	for (; i < nheld; i++)
		held[i - 1] = held[i];
	nheld--;
	must(pthread_mutex_unlock(&l->m), l, "drop");
}

void
lock_assert_held(const struct lock *l)
{
	for (unsigned i = 0; i < nheld; i++) {
		if (held[i] == l)
			return;
	}
	broken("is not held; held is", l, nheld ? held[nheld - 1] : NULL);
}

void
cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr), NULL, "condattr");
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), NULL, "clock");
	must(pthread_cond_init(&c->c, &attr), NULL, "cond");
	pthread_condattr_destroy(&attr);
}

void
cond_done(struct cond *c)
{
	must(pthread_cond_destroy(&c->c), NULL, "cond destroy");
}

void
cond_wait(struct cond *c, struct lock *l)
{
	lock_assert_held(l);
	must(pthread_cond_wait(&c->c, &l->m), l, "wait");
}

int
cond_wait_until(struct cond *c, struct lock *l, int64_t deadline)
{
	struct timespec ts;
	int64_t left, at;
	int err;

	if (deadline == INT64_MAX) {
		cond_wait(c, l);
		return 0;
	}
	lock_assert_held(l);
	left = deadline - clock_mono();
	if (left <= 0)
		return -ETIMEDOUT;
	/* The kernel's clock, whatever a test made of clock_mono(). */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	at = ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
	at = left > INT64_MAX - at ? INT64_MAX : at + left;
	ts.tv_sec = at / NSEC_PER_SEC;
	ts.tv_nsec = at % NSEC_PER_SEC;
	err = pthread_cond_timedwait(&c->c, &l->m, &ts);
	if (err == ETIMEDOUT)
		return -ETIMEDOUT;
	must(err, l, "timed wait");
	return 0;
}

void
cond_signal(struct cond *c)
{
	must(pthread_cond_signal(&c->c), NULL, "signal");
}

void
cond_broadcast(struct cond *c)
{
	must(pthread_cond_broadcast(&c->c), NULL, "broadcast");
}

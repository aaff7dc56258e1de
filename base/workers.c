/* workers: see base/workers.h. */
#include "base/workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct job {
	void		(*fn)(void *arg);
	void		*arg;
	struct job	*next;
};

struct queue {
	struct job	*head, **tail;
};

struct workers {
	struct lock	 lock;
	struct cond	 cond;			/* work, or the end */
	struct queue	 q[WORK_NPRIO];
	unsigned	 queued;
	unsigned	 idle;			/* waiting on cond */
	unsigned	 started, max;
	bool		 ending;
	char		 name[16];
	cpu_set_t	 cores;			/* of who made it */
	bool		 has_cores;
	pthread_t	 threads[];		/* max */
};

int
workers_new(const char *name, unsigned threads, struct workers **ret)
{
	struct workers *w;

	if (threads == 0)
		return -EINVAL;
	w = calloc(1, sizeof(*w) + threads * sizeof(w->threads[0]));
	if (!w)
		return -ENOMEM;
	lock_init(&w->lock, RANK_WORKERS, "workers");
	cond_init(&w->cond);
	for (int i = 0; i < WORK_NPRIO; i++)
		w->q[i].tail = &w->q[i].head;
	w->max = threads;
	w->has_cores = sched_getaffinity(0, sizeof w->cores, &w->cores) == 0;
	snprintf(w->name, sizeof(w->name), "%s", name);
	*ret = w;
	return 0;
}

/* The next job; NULL: none.  Locked. */
static struct job *
take_job(struct workers *w)
{
	struct queue *q;
	struct job *j;

	for (int i = 0; i < WORK_NPRIO; i++) {
		q = &w->q[i];
		j = q->head;
		if (!j)
			continue;
		q->head = j->next;
		if (!q->head)
			q->tail = &q->head;
		w->queued--;
		return j;
	}
	return NULL;
}

/* Ends when nothing is queued and nothing is to come. */
static void *
work(void *arg)
{
	struct workers *w = arg;
	struct job *j;

	pthread_setname_np(pthread_self(), w->name);
	/* who submits may be bound to one core, and would bind us */
	if (w->has_cores)
		(void)sched_setaffinity(0, sizeof w->cores, &w->cores);
	lock_take(&w->lock);
	for (;;) {
		j = take_job(w);
		if (j) {
			lock_drop(&w->lock);
			j->fn(j->arg);
			free(j);
			lock_take(&w->lock);
		} else if (w->ending) {
			break;
		} else {
			w->idle++;
			cond_wait(&w->cond, &w->lock);
			w->idle--;
		}
	}
	lock_drop(&w->lock);
	return NULL;
}

/*
 * Locked.  Fails only where there is no thread at all.  Signals are for the
 * threads that ask for them: none of these.
 */
static int
start_one(struct workers *w)
{
	sigset_t all, was;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = pthread_create(&w->threads[w->started], NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (!err)
		w->started++;
	return w->started ? 0 : -ENOMEM;
}

int
workers_submit(struct workers *w, enum work_prio prio,
    void (*fn)(void *arg), void *arg)
{
	struct job *j = malloc(sizeof(*j));
	struct queue *q = &w->q[prio];
	int err = 0;

	if (!j)
		return -ENOMEM;
	j->fn = fn;
	j->arg = arg;
	j->next = NULL;
	lock_take(&w->lock);
	if (w->ending)
		err = -ESHUTDOWN;
	else if (w->idle <= w->queued && w->started < w->max)
		err = start_one(w);
	if (!err) {
		*q->tail = j;
		q->tail = &j->next;
		w->queued++;
		if (w->idle > 0)
			cond_signal(&w->cond);
		j = NULL;
	}
	lock_drop(&w->lock);
	free(j);
	return err;
}

void
workers_free(struct workers *w)
{
	unsigned n;

	if (!w)
		return;
	lock_take(&w->lock);
	w->ending = true;
	n = w->started;
	cond_broadcast(&w->cond);
	lock_drop(&w->lock);
	for (unsigned i = 0; i < n; i++)
		pthread_join(w->threads[i], NULL);
	cond_done(&w->cond);
	lock_done(&w->lock);
	free(w);
}

unsigned
workers_threads(const struct workers *w)
{
	return w->max;
}

void
latch_init(struct latch *l, unsigned count)
{
	lock_init(&l->lock, RANK_WORKERS, "latch");
	cond_init(&l->cond);
	l->left = count;
}

void
latch_done(struct latch *l)
{
	cond_done(&l->cond);
	lock_done(&l->lock);
}

void
latch_add(struct latch *l, unsigned n)
{
	lock_take(&l->lock);
	l->left += n;
	lock_drop(&l->lock);
}

/* Signals under the lock: the waiter may free the latch right after. */
void
latch_down(struct latch *l)
{
	lock_take(&l->lock);
	if (l->left == 0)
		abort();	/* one more down than was counted */
	if (--l->left == 0)
		cond_broadcast(&l->cond);
	lock_drop(&l->lock);
}

void
latch_wait(struct latch *l)
{
	latch_wait_until(l, INT64_MAX);
}

int
latch_wait_until(struct latch *l, int64_t deadline)
{
	int err = 0;

	lock_take(&l->lock);
	while (l->left > 0 && err != -ETIMEDOUT)
		err = cond_wait_until(&l->cond, &l->lock, deadline);
	err = l->left > 0 ? -ETIMEDOUT : 0;
	lock_drop(&l->lock);
	return err;
}

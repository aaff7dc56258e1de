/*
 * workers: a pool of threads that run jobs, highest priority first, first in
 * first out within one; and latch, to wait for a number of them.
 *
 * A job may block (network, disk).  A job may submit others, but must not
 * wait for a job of its own pool unless the pool was sized for that.
 */
#ifndef BASE_WORKERS_H
#define BASE_WORKERS_H

#include <stdint.h>

#include "base/lock.h"

struct workers;

enum work_prio { WORK_URGENT, WORK_NORMAL, WORK_BACKGROUND, WORK_NPRIO };

/* name: ≤ 15 characters, the threads' name.  Threads start as needed. */
int	workers_new(const char *name, unsigned threads, struct workers **ret);
/* Runs all that was submitted, then joins.  NULL is accepted. */
void	workers_free(struct workers *w);
/* 0, -ENOMEM; -ESHUTDOWN once workers_free has begun. */
int	workers_submit(struct workers *w, enum work_prio prio,
	    void (*fn)(void *arg), void *arg);
unsigned workers_threads(const struct workers *w);

struct latch {
	struct lock	lock;
	struct cond	cond;
	unsigned	left;
};

void	latch_init(struct latch *l, unsigned count);
void	latch_done(struct latch *l);
void	latch_add(struct latch *l, unsigned n);
void	latch_down(struct latch *l);
void	latch_wait(struct latch *l);
int	latch_wait_until(struct latch *l, int64_t deadline); /* -ETIMEDOUT */

#endif

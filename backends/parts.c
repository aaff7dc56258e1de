/*
 * parts: see parts.h.  A helper that the pool starts too late finds the job
 * closed and goes.
 */
#include "backends/parts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"

enum { TRIES = 5 };			/* of one part */

#define FIRST_PAUSE	(50 * NSEC_PER_MSEC)
#define MIB		((uint64_t)1 << 20)

/*
 * One run.  refs: the caller and each submitted helper.  lock guards next,
 * active, closed, refs, rc, why.  send and arg are the caller's, and used only
 * while it has not closed the job.
 */
struct job {
	parts_send		*send;
	void			*arg;
	unsigned		 n;
	int64_t			 deadline;
	bool			 once;

	_Atomic bool		 stop;		/* what http looks at */
	struct lock		 lock;
	struct cond		 cond;		/* active fell */
	unsigned		 next, active, refs;
	bool			 closed;
	enum store_rc		 rc;
	struct why		 why;
};

static struct job *
job_new(struct store_call *c, unsigned n, parts_send *send, void *arg)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL)
		return NULL;
	j->send = send;
	j->arg = arg;
	j->n = n;
	j->refs = 1;
	if (c != NULL) {
		j->deadline = c->deadline;
		j->once = c->once;
	}
	lock_init(&j->lock, RANK_STORE, "parts");
	cond_init(&j->cond);
	return j;
}

static void
job_unref(struct job *j)
{
	bool last;

	lock_take(&j->lock);
	last = --j->refs == 0;
	lock_drop(&j->lock);
	if (!last)
		return;
	cond_done(&j->cond);
	lock_done(&j->lock);
	free(j);
}

/* A part until it is there or there is no hope.  c's why is the lane's. */
static enum store_rc
part_try(struct job *j, struct store_call *c, unsigned i)
{
	int64_t pause = FIRST_PAUSE;
	enum store_rc rc = STORE_OK;
	unsigned n;

	for (n = 0; n < TRIES; n++) {
		if (n > 0) {
			/* Between half and all of it: lanes spread out. */
			struct store_call quiet = *c;

			quiet.why = NULL;
			if (call_sleep(&quiet, pause / 2 + (int64_t)
			    (random_u64() % (uint64_t)(pause / 2))) != STORE_OK)
				return rc;
			pause *= 2;
		}
		c->why->text[0] = '\0';
		rc = j->send(j->arg, c, i);
		if (rc != STORE_UNREACHABLE && rc != STORE_THROTTLED &&
		    rc != STORE_BROKEN)
			return rc;
		if (c->once)
			return rc;
	}
	return rc;
}

static void
job_fail(struct job *j, enum store_rc rc, const struct why *why)
{
	lock_take(&j->lock);
	/* The first failure counts, but not over its own echo. */
	if (j->rc == STORE_OK ||
	    (j->rc == STORE_CANCELLED && rc != STORE_CANCELLED)) {
		j->rc = rc;
		j->why = *why;
	}
	lock_drop(&j->lock);
	atomic_store(&j->stop, true);
}

/* Takes parts until there are none.  cancel: what ends it early. */
static void
lane(struct job *j, _Atomic bool *cancel)
{
	struct why why = { "" };
	struct store_call c = { .cancel = cancel, .why = &why,
	    .deadline = j->deadline, .once = j->once };
	enum store_rc rc;
	unsigned i;

	for (;;) {
		lock_take(&j->lock);
		i = j->rc == STORE_OK ? j->next : j->n;
		if (i < j->n)
			j->next++;
		lock_drop(&j->lock);
		if (i == j->n)
			return;
		rc = part_try(j, &c, i);
		if (rc != STORE_OK) {
			job_fail(j, rc, &why);
			return;
		}
	}
}

static void
helper(void *arg)
{
	struct job *j = arg;
	bool closed;

	lock_take(&j->lock);
	closed = j->closed;
	if (!closed)
		j->active++;
	lock_drop(&j->lock);
	if (!closed) {
		lane(j, &j->stop);
		lock_take(&j->lock);
		j->active--;
		cond_signal(&j->cond);
		lock_drop(&j->lock);
	}
	job_unref(j);
}

/* Closes the job and waits for the helpers at work; a cancel reaches them. */
static void
job_close(struct job *j, _Atomic bool *cancel)
{
	struct why none = { "" };

	lock_take(&j->lock);
	j->closed = true;
	while (j->active > 0) {
		cond_wait_until(&j->cond, &j->lock,
		    clock_mono() + 100 * NSEC_PER_MSEC);
		if (cancel != NULL && atomic_load(cancel)) {
			lock_drop(&j->lock);
			job_fail(j, STORE_CANCELLED, &none);
			lock_take(&j->lock);
		}
	}
	lock_drop(&j->lock);
}

enum store_rc
parts_run(struct workers *pool, struct store_call *c, unsigned n,
    parts_send *send, void *arg)
{
	_Atomic bool *cancel = c != NULL ? c->cancel : NULL;
	struct job *j = job_new(c, n, send, arg);
	enum store_rc rc;
	unsigned i;

	if (j == NULL)
		return STORE_NOMEM;
	for (i = 1; i < n && i < PARTS_LANES; i++) {
		lock_take(&j->lock);
		j->refs++;
		lock_drop(&j->lock);
		if (workers_submit(pool, WORK_NORMAL, helper, j) != 0)
			job_unref(j);
	}
	lane(j, cancel != NULL ? cancel : &j->stop);
	job_close(j, cancel);
	rc = j->rc;
	if (rc != STORE_OK && j->why.text[0] != '\0')
		why_set(call_why(c), 0, "%s", j->why.text);
	job_unref(j);
	return rc;
}

unsigned
parts_size(uint64_t size, uint64_t least, uint64_t wanted, unsigned most,
    uint64_t *retpart)
{
	uint64_t part = wanted > least ? wanted : least;

	assert(size > 0);
	while (wanted == 0 && part < 64 * MIB && size / part > 64 &&
	    least >= 8 * MIB)
		part *= 2;
	if ((size - 1) / part + 1 > most)
		part = ((size - 1) / most / MIB + 1) * MIB;
	*retpart = part;
	return (unsigned)((size - 1) / part + 1);
}

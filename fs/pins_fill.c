/*
 * pins_fill: many files filled at once, the number and the bytes in flight
 * bounded.  Who calls feeds the pool and tells progress; what runs in the
 * pool counts only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/io.h"
#include "fs/pins_impl.h"

#define TICK		(NSEC_PER_SEC / 5)
#define WAY		(5 * NSEC_PER_SEC)	/* longest given at a time */

struct run {
	struct fill_many	*m;
	_Atomic int64_t		 arrived;
	_Atomic bool		 over;		/* what is under way ends too */
	struct lock		 lock;		/* what follows */
	struct cond		 cond;
	unsigned		 active;
	uint64_t		 bytes;		/* of files in flight */
	uint64_t		 files;		/* done */
	int			 err;		/* the first */
	struct why		 why;
	unsigned		 failed;
};

struct job { struct run *r; struct pin_want w; };

static bool
is_over(const struct run *r)
{
	return atomic_load(&r->over) || atomic_load(r->m->stop);
}

static int
arrived(void *arg, uint64_t bytes)
{
	struct run *r = arg;

	atomic_fetch_add(&r->arrived, (int64_t)bytes);
	if (r->m->arrived != NULL)
		atomic_fetch_add(r->m->arrived, (int64_t)bytes);
	return is_over(r);
}

/* A damaged chunk is absent after it was found: the second try fetches it. */
static int
fill_one(struct run *r, uint64_t ino, struct why *why)
{
	int rc;

	rc = io_fill_whole(r->m->f, ino, r->m->verify, arrived, r, why);
	if (rc == -EUCLEAN) {
		why->text[0] = '\0';
		rc = io_fill_whole(r->m->f, ino, r->m->verify, arrived, r,
		    why);
	}
	return rc == -ENOENT ? 0 : rc;	/* deleted meanwhile */
}

static void
name_file(struct run *r, uint64_t ino, int err, struct why *why)
{
	struct sqc *q = NULL;
	char *path = NULL;

	if (sq_read(meta_sq(r->m->f->meta), &q) == 0 &&
	    meta_path(q, ino, &path) == 0)
		why_prefix(why, err, "%s", path);
	sq_read_end(q);
	free(path);
}

static void
job_run(void *arg)
{
	struct job *j = arg;
	struct run *r = j->r;
	struct why why = { "" };
	int rc = -ECANCELED;

	if (!is_over(r))
		rc = fill_one(r, j->w.ino, &why);
	if (rc != 0 && rc != -ECANCELED)
		name_file(r, j->w.ino, rc, &why);
	lock_take(&r->lock);
	r->active--;
	r->bytes -= j->w.size;
	if (rc == 0) {
		r->files++;
	} else {
		r->failed++;
		if (r->err == 0) {
			r->err = rc;
			r->why = why;
		}
	}
	cond_signal(&r->cond);
	lock_drop(&r->lock);
	free(j);
}

static bool
has_room(const struct run *r, uint64_t size)
{
	return r->active == 0 || (r->active < PIN_THREADS &&
	    r->bytes + size <= PIN_BYTES);
}

/* Progress, without the lock; 1: it was said to stop. */
static int
tell(struct run *r)
{
	struct fill_many *m = r->m;
	uint64_t have, files;

	if (atomic_load(m->stop))
		return 1;
	if (m->progress == NULL)
		return 0;
	lock_take(&r->lock);
	files = r->files;
	lock_drop(&r->lock);
	have = (uint64_t)atomic_load(&r->arrived);
	return m->progress(m->arg, have < m->want ? have : m->want, m->want,
	    files);
}

/* Waits until there is room for size bytes (or, size 0 and last, until all
 * is done).  1: it was said to stop. */
static int
wait_for(struct run *r, uint64_t size, bool last)
{
	int stop = 0;

	lock_take(&r->lock);
	while (!stop && (last ? r->active > 0 : !has_room(r, size))) {
		if (cond_wait_until(&r->cond, &r->lock, clock_mono() +
		    TICK) == 0)
			continue;
		lock_drop(&r->lock);
		stop = tell(r);
		lock_take(&r->lock);
	}
	lock_drop(&r->lock);
	return stop;
}

/* Filling takes the processor and the index from a change of pins; it is soon
 * over.  Where one comes upon the other, waiting ends. */
static void
give_way(struct run *r)
{
	struct pins *p = r->m->f->pins;

	if (r->m->gives_way && p != NULL &&
	    !pins_wait_edits(p, clock_mono() + WAY))
		r->m->gives_way = false;
}

static int
feed(struct run *r, const struct pin_want *w)
{
	struct job *j;
	int rc;

	j = malloc(sizeof *j);
	if (j == NULL)
		return -ENOMEM;
	j->r = r;
	j->w = *w;
	lock_take(&r->lock);
	r->active++;
	r->bytes += w->size;
	lock_drop(&r->lock);
	rc = workers_submit(r->m->pool, r->m->prio, job_run, j);
	if (rc != 0) {
		lock_take(&r->lock);
		r->active--;
		r->bytes -= w->size;
		lock_drop(&r->lock);
		free(j);
	}
	return rc;
}

int
fill_many(struct fill_many *m, struct why *why)
{
	struct run r = { .m = m };
	uint64_t i;
	int rc = 0;

	lock_init(&r.lock, RANK_PINS, "fill_many");
	cond_init(&r.cond);
	for (i = 0; rc == 0 && i < m->list->n; i++) {
		give_way(&r);
		if (wait_for(&r, m->list->v[i].size, false))
			rc = -ECANCELED;
		else
			rc = feed(&r, &m->list->v[i]);
	}
	if (rc == 0 && wait_for(&r, 0, true))
		rc = -ECANCELED;
	if (rc != 0)
		atomic_store(&r.over, true);
	/* What runs borrows r. */
	lock_take(&r.lock);
	while (r.active > 0)
		cond_wait(&r.cond, &r.lock);
	lock_drop(&r.lock);
	if (rc == 0)
		(void)tell(&r);
	if (rc == 0 && r.err != 0) {
		rc = r.err;
		if (rc == -ECANCELED)
			;		/* who asked knows */
		else if (r.failed > 1)
			why_set(why, rc, "%s (and %u more files)",
			    why_text(&r.why, rc), r.failed - 1);
		else
			why_set(why, rc, "%s", why_text(&r.why, rc));
	}
	cond_done(&r.cond);
	lock_done(&r.lock);
	return rc;
}

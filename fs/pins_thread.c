/*
 * pins_thread: bringing what is pinned and what is here together: membership
 * when the tree has changed, pins that expire, and filling what is missing,
 * a pin after the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "fs/pins_impl.h"
#include "meta/reload.h"
#include "fs/ship.h"

#define SWEEP_EVERY	(3 * NSEC_PER_SEC)	/* when the tree changed */
#define SWEEP_COST	20	/* a sweep's time is at most a 20th of all */
#define FIRST_PAUSE	(1 * NSEC_PER_SEC)
#define LAST_PAUSE	(30 * NSEC_PER_SEC)
#define STEP		2048			/* files changed in a turn */

/* --- the list in memory --- */

struct pin *
pins_find(struct pins *p, uint64_t id)
{
	struct pin *n;

	lock_assert_held(&p->lock);
	for (n = p->list; n != NULL && n->id != id; n = n->next)
		;
	return n;
}

struct pin *
pins_of(struct pins *p, uint64_t id)
{
	struct pin *n = pins_find(p, id);

	if (n != NULL)
		return n;
	n = calloc(1, sizeof *n);
	if (n != NULL) {
		n->id = id;
		n->next = p->list;
		p->list = n;
	}
	return n;
}

/* --- turns --- */

static void
turn_take(struct pins *p)
{
	uint64_t mine = p->turns++;

	lock_assert_held(&p->lock);
	while (p->serving != mine)
		cond_wait(&p->cond, &p->lock);
}

static void
turn_end(struct pins *p)
{
	lock_assert_held(&p->lock);
	p->serving++;
	cond_broadcast(&p->cond);
}

void
pins_edit_begin(struct pins *p)
{
	lock_take(&p->lock);
	turn_take(p);
	lock_drop(&p->lock);
}

void
pins_edit_end(struct pins *p)
{
	lock_take(&p->lock);
	p->stale = p->kicked = true;
	turn_end(p);
	lock_drop(&p->lock);
}

bool
pins_wait_edits(struct pins *p, int64_t deadline)
{
	int rc = 0;

	lock_take(&p->lock);
	while (rc == 0 && p->serving != p->turns &&
	    !atomic_load(&p->stopping))
		rc = cond_wait_until(&p->cond, &p->lock, deadline);
	lock_drop(&p->lock);
	return rc == 0;
}

/* A turn of the pass, for this pin (0: for none); pass_ends ends it.  False,
 * and no turn: the pin was changed or dropped since the pass began. */
static bool
pass_begins(struct pins *p, uint64_t id)
{
	int64_t began = clock_mono();
	struct pin *n;
	bool ok;

	lock_take(&p->lock);
	turn_take(p);
	n = id != 0 ? pins_find(p, id) : NULL;
	ok = id == 0 || (n != NULL && !n->edited);
	if (!ok)
		turn_end(p);
	lock_drop(&p->lock);
	p->waited += clock_mono() - began;
	return ok;
}

static void
pass_ends(struct pins *p)
{
	lock_take(&p->lock);
	turn_end(p);
	lock_drop(&p->lock);
}

bool
pins_are_stopping(struct fs *f)
{
	return f->pins != NULL && atomic_load(&f->pins->stopping);
}

/* Which pin holds it is found out by the thread. */
void
pins_changed(struct fs *f, uint64_t ino)
{
	struct pins *p = f->pins;

	if (p == NULL)
		return;
	lock_take(&p->lock);
	p->stale = true;
	lock_drop(&p->lock);
}

/* --- membership --- */

int
pins_collect(void *arg, uint64_t ino, uint64_t size)
{
	return pin_list_add(arg, ino, size);
}

/* What is pinned and should not be, what should be and is not. */
static int
difference(const struct pin_list *want, const struct pin_list *is,
    struct pin_list *add, uint64_t **retgone, uint64_t *retn)
{
	uint64_t i = 0, j = 0, *gone, n = 0;
	int rc = 0;

	gone = malloc((is->n + 1) * sizeof *gone);
	if (gone == NULL)
		return -ENOMEM;
	while (rc == 0 && (i < want->n || j < is->n)) {
		if (j == is->n || (i < want->n &&
		    want->v[i].ino < is->v[j].ino)) {
			rc = pin_list_add(add, want->v[i].ino,
			    want->v[i].size);
			i++;
		} else if (i == want->n || want->v[i].ino > is->v[j].ino) {
			gone[n++] = is->v[j++].ino;
		} else {
			if (want->v[i].size != is->v[j].size)
				rc = pin_list_add(add, want->v[i].ino,
				    want->v[i].size);
			i++;
			j++;
		}
	}
	*retgone = gone;
	*retn = n;
	return rc;
}

/* What a pin wants, and what makes the cache hold that. */
struct delta {
	struct pin_list	 want, add;
	uint64_t	*gone, ngone;
};

static void
delta_done(struct delta *ch)
{
	free(ch->gone);
	pin_list_done(&ch->add);
	pin_list_done(&ch->want);
}

/* What there is of the pin, against ch->want. */
static int
delta_against(struct pins *p, uint64_t id, struct delta *ch)
{
	struct pin_list is = { NULL };
	int rc;

	rc = cache_pin_each(p->f->cache, id, pins_collect, &is);
	if (rc == 0) {
		pin_list_sort(&is);
		rc = difference(&ch->want, &is, &ch->add, &ch->gone,
		    &ch->ngone);
	}
	pin_list_done(&is);
	return rc;
}

/* ch is zero before, and to be done with also after a failure. */
static int
delta_find(struct pins *p, const struct pin_copy *row, bool must_exist,
    struct delta *ch, struct why *why)
{
	struct pin_text t;
	int rc;

	rc = pin_text_parse(row->selectors, &t, why);
	if (rc != 0)
		return rc;
	rc = pin_text_run(&t, p->f, must_exist, &ch->want, why);
	pin_text_done(&t);
	if (rc == 0)
		rc = delta_against(p, row->id, ch);
	return rc;
}

int
pins_renew(struct pins *p, const struct pin_copy *row, bool must_exist,
    struct pin_list *retlist, struct why *why)
{
	struct delta ch = { .ngone = 0 };
	struct cache *c = p->f->cache;
	struct pin *n;
	int rc;

	lock_take(&p->lock);
	n = pins_of(p, row->id);
	if (n != NULL)
		n->edited = true;
	lock_drop(&p->lock);
	rc = delta_find(p, row, must_exist, &ch, why);
	if (rc == 0 && ch.ngone > 0)
		rc = cache_unpin(c, row->id, ch.gone, ch.ngone);
	if (rc == 0 && ch.add.n > 0)
		rc = cache_pin(c, row->id, ch.add.v, ch.add.n, why);
	if (rc == 0 && retlist != NULL) {
		*retlist = ch.want;
		ch.want = (struct pin_list){ NULL };
	}
	delta_done(&ch);
	return rc;
}

static uint64_t
step(uint64_t left)
{
	return left < STEP ? left : STEP;
}

/* Takes out what is gone, a step in each turn of that pin (0: of none).  1: an
 * edit of it came between. */
static int
unpin_in_steps(struct pins *p, uint64_t turn, uint64_t pin,
    const struct delta *ch)
{
	uint64_t i, n;
	int rc = 0;

	for (i = 0; rc == 0 && i < ch->ngone; i += n) {
		n = step(ch->ngone - i);
		if (!pass_begins(p, turn))
			return 1;
		rc = cache_unpin(p->f->cache, pin, ch->gone + i, n);
		pass_ends(p);
	}
	return rc;
}

/* What was read before this is not of a half loaded snapshot: 0, -EAGAIN. */
static int
tree_is_whole(struct fs *f)
{
	struct sqc *c = NULL;
	int rc = sq_read(meta_sq(f->meta), &c);

	if (rc == 0)
		rc = reload_is_begun(c) == 1 ? -EAGAIN : 0;
	sq_read_end(c);
	return rc;
}

/* The same by the pass: looked for without a turn, changed in one a step.
 * Ends where an edit of this pin came between: that has renewed it. */
static int
renew_in_steps(struct pins *p, const struct pin_copy *row, struct why *why)
{
	struct delta ch = { .ngone = 0 };
	uint64_t i, n;
	int rc;

	rc = delta_find(p, row, false, &ch, why);
	if (rc == 0)
		rc = tree_is_whole(p->f);
	if (rc == 0)
		rc = unpin_in_steps(p, row->id, row->id, &ch);
	for (i = 0; rc == 0 && i < ch.add.n; i += n) {
		n = step(ch.add.n - i);
		if (!pass_begins(p, row->id)) {
			rc = 1;
			break;
		}
		rc = cache_pin(p->f->cache, row->id, ch.add.v + i, n, why);
		pass_ends(p);
	}
	delta_done(&ch);
	return rc < 0 ? rc : 0;
}

void
pins_note_why(struct pins *p, uint64_t id, int err, const struct why *why)
{
	struct pin *n;

	lock_take(&p->lock);
	n = pins_find(p, id);
	if (n != NULL) {
		n->why.text[0] = '\0';
		if (err != 0) {
			why_set(&n->why, err, "%s", why_text(why, err));
			n->pause = n->pause == 0 ? FIRST_PAUSE :
			    n->pause * 2 > LAST_PAUSE ? LAST_PAUSE :
			    n->pause * 2;
			n->retry_at = clock_mono() + n->pause;
		} else {
			n->pause = n->retry_at = 0;
		}
	}
	lock_drop(&p->lock);
}

/* --- the thread --- */

/* A pass begins with these rows: each has its pin in memory, of those that are
 * no more nothing is kept. */
static void
begin_with(struct pins *p, const struct pin_rows *rows)
{
	struct pin *n, **at = &p->list;
	unsigned i;

	lock_take(&p->lock);
	for (i = 0; i < rows->n; i++)
		if (pins_is_mine(p, &rows->v[i]))
			(void)pins_of(p, rows->v[i].id);
	while ((n = *at) != NULL) {
		for (i = 0; i < rows->n && rows->v[i].id != n->id; i++)
			;
		if (i == rows->n && n->waiters == 0) {
			*at = n->next;
			free(n);
			continue;
		}
		n->edited = false;
		if (i < rows->n)
			atomic_store(&n->stop, atomic_load(&p->stopping));
		at = &n->next;
	}
	lock_drop(&p->lock);
}

struct strays {
	struct pins		*p;
	const struct pin_rows	*rows;
	struct pin_list		 ids;
};

static int
add_stray(void *arg, uint64_t pin)
{
	struct strays *s = arg;
	unsigned i;

	for (i = 0; i < s->rows->n; i++)
		if (s->rows->v[i].id == pin &&
		    pins_is_mine(s->p, &s->rows->v[i]))
			return 0;
	return pin_list_add(&s->ids, pin, 0);
}

/* Gives back what the cache keeps for pins that are no more: another host
 * dropped them, or has taken them over. */
static int
drop_strays(struct pins *p, const struct pin_list *ids)
{
	uint64_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < ids->n && !atomic_load(&p->stopping);
	    i++) {
		struct delta ch = { .ngone = 0 };

		rc = delta_against(p, ids->v[i].ino, &ch);
		if (rc == 0)
			rc = unpin_in_steps(p, 0, ids->v[i].ino, &ch);
		delta_done(&ch);
	}
	return rc;
}

static int
expire(struct pins *p, const struct pin_copy *row)
{
	int rc;

	if (!pass_begins(p, row->id))
		return 0;
	rc = pins_drop(p, row);
	pass_ends(p);
	if (rc == 0)
		log_info("pin expired", "name=%s", LOG_Q(row->name));
	else
		pins_note_why(p, row->id, rc, NULL);
	return rc;
}

/* The pass begins: what there is of pins, and of what was one. */
static int
sweep_begin(struct pins *p, struct pin_rows *rows, struct pin_list *strays)
{
	struct strays s = { .p = p, .rows = rows };
	int rc;

	p->expiry = p->waited = 0;
	(void)pass_begins(p, 0);
	lock_take(&p->lock);
	p->stale = false;
	lock_drop(&p->lock);
	rc = pin_rows_read(p->f, rows);
	if (rc == 0)
		rc = tree_is_whole(p->f);
	if (rc == 0) {
		begin_with(p, rows);
		rc = cache_pins_each(p->f->cache, add_stray, &s);
	}
	pass_ends(p);
	*strays = s.ids;
	return rc;
}

void
pins_sweep(struct pins *p)
{
	struct pin_rows rows = { NULL, 0 };
	struct pin_list strays = { NULL };
	struct why why;
	int64_t now = clock_real();
	bool failed;
	unsigned i;
	int rc;

	failed = sweep_begin(p, &rows, &strays) != 0 ||
	    drop_strays(p, &strays) != 0;
	for (i = 0; i < rows.n && !atomic_load(&p->stopping); i++) {
		if (!pins_is_mine(p, &rows.v[i]))
			continue;
		if (rows.v[i].expires != 0 && rows.v[i].expires <= now &&
		    fs_may_write(p->f) == 0) {
			failed = expire(p, &rows.v[i]) != 0 || failed;
			continue;
		}
		if (rows.v[i].expires != 0 && (p->expiry == 0 ||
		    rows.v[i].expires < p->expiry))
			p->expiry = rows.v[i].expires;
		why.text[0] = '\0';
		rc = renew_in_steps(p, &rows.v[i], &why);
		if (rc != 0)
			pins_note_why(p, rows.v[i].id, rc, &why);
	}
	if (failed)
		pins_changed(p->f, 0);	/* and so once more */
	pin_list_done(&strays);
	pin_rows_done(&rows);
}

struct missing { struct pin_list list; uint64_t most; };

static int
add_missing(void *arg, uint64_t ino, uint64_t size)
{
	struct missing *m = arg;
	int rc = pin_list_add(&m->list, ino, size);

	return rc != 0 ? rc : m->list.n >= m->most;
}

/* Fetches these. */
static int
fill_batch(struct pins *p, struct pin *n, const struct pin_list *list,
    struct why *why)
{
	struct fill_many m = { .f = p->f, .pool = p->pool,
	    .prio = WORK_BACKGROUND, .list = list, .stop = &n->stop,
	    .gives_way = true, .arrived = &n->arrived };
	struct cache_pin_stat before = { 0 }, after = { 0 };
	int rc;

	(void)cache_pin_stat(p->f->cache, n->id, &before);
	rc = fill_many(&m, why);
	(void)cache_pin_stat(p->f->cache, n->id, &after);
	/* Fetched, but not kept: the disk below is full. */
	if (rc == 0 && after.have_bytes <= before.have_bytes &&
	    after.have_files <= before.have_files)
		rc = why_set(why, -ENOSPC, "what was fetched could not be "
		    "kept; is the disk of the cache full?");
	return rc;
}

/* One pin's missing files, a batch of them.  What cannot be fetched keeps
 * nothing from what comes after it: the pin is left alone for a while at the
 * end of the round, or where there is no room.  True: go on. */
static bool
fill_pin(struct pins *p, struct pin *n)
{
	struct missing miss = { .most = atomic_load(&p->batch) };
	struct why why = { "" };
	bool over;
	int rc;

	rc = cache_pin_missing(p->f->cache, n->id, n->after, add_missing,
	    &miss);
	over = rc != 1;		/* that is all of them */
	if (rc >= 0 && miss.list.n > 0) {
		n->after = miss.list.v[miss.list.n - 1].ino;
		rc = fill_batch(p, n, &miss.list, &why);
	}
	if (rc < 0 && n->err == 0) {
		n->err = rc;
		n->err_why = why;
	}
	over = over || rc == -ENOSPC || rc == -ECANCELED;
	if (over) {
		rc = n->err != -ECANCELED ? n->err : 0;
		pins_note_why(p, n->id, rc, &n->err_why);
		n->err = 0;
		n->err_why.text[0] = '\0';
		n->after = 0;
	}
	pin_list_done(&miss.list);
	return !over;
}

/* The next pin that may want filling, marked as being filled; NULL: none. */
static struct pin *
next_pin(struct pins *p, uint64_t after)
{
	int64_t now = clock_mono();
	struct pin *n, *best = NULL;

	lock_take(&p->lock);
	for (n = p->list; n != NULL; n = n->next)
		if (n->id > after && n->waiters == 0 && n->retry_at <= now &&
		    !atomic_load(&n->stop) &&
		    (best == NULL || n->id < best->id))
			best = n;
	if (best != NULL) {
		best->began = now;
		atomic_store(&best->arrived, 0);
	}
	lock_drop(&p->lock);
	return best;
}

static bool
fill_all(struct pins *p)
{
	bool any = false;
	uint64_t after = 0;
	struct pin *n;

	while (!atomic_load(&p->stopping) &&
	    (n = next_pin(p, after)) != NULL) {
		after = n->id;
		any = fill_pin(p, n) || any;
		lock_take(&p->lock);
		n->began = 0;
		lock_drop(&p->lock);
	}
	return any;
}

/* Where the tree is: what changes when anything in it may have. */
static uint64_t
tree_mark(struct fs *f)
{
	struct ship_status s;

	ship_status(f, &s);
	return s.lsn * 31 + (uint64_t)counter_get(ops_journalled);
}

void *
pins_main(void *arg)
{
	struct pins *p = arg;
	int64_t began, cost, next = 0;
	uint64_t mark = 0, seen;
	bool more = false, due;

	pthread_setname_np(pthread_self(), "gnsfs-pins");
	while (!atomic_load(&p->stopping)) {
		lock_take(&p->lock);
		if (!more && !p->kicked && !atomic_load(&p->stopping))
			(void)cond_wait_until(&p->cond, &p->lock,
			    clock_mono() + NSEC_PER_SEC);
		p->kicked = false;
		due = p->stale;
		lock_drop(&p->lock);
		seen = tree_mark(p->f);
		began = clock_mono();
		due = due || seen != mark || (p->expiry != 0 &&
		    clock_real() >= p->expiry);
		if (due && began >= next) {
			mark = seen;
			pins_sweep(p);
			next = clock_mono();
			cost = (next - began - p->waited) * SWEEP_COST;
			next += cost > SWEEP_EVERY ? cost : SWEEP_EVERY;
		}
		more = fill_all(p);
	}
	return NULL;
}

/*
 * See upload.h.
 *
 * A manager thread looks at the journal's waiting ops (woken by a kick, a
 * store coming back, or every TICK) and gives each to fs->io, a few at once
 * of each store.  Which store that is says the file's placement when its
 * upload begins.  An upload whose store fails is tried again after a pause;
 * while the store is down only its return wakes them.
 */
#include "fs/upload_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache/backing.h"
#include "fs/content.h"
#include "fs/io.h"
#include "fs/pass.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "meta/batch.h"

#define PICK_MAX	64
#define SEEN_MAX	4096	/* looked at, with something picked */
#define TICK		(5 * NSEC_PER_SEC)
#define PAUSE_MOST	(15 * NSEC_PER_SEC)	/* of a store without room */
#define PASS_TICK	(NSEC_PER_SEC / 4)

/* u->lock held.  Its file waits a little, where room is wanted less so: it is
 * written, now and likely soon. */
static void
note_busy(struct upload *u, const struct job *j)
{
	unsigned i = u->nbusy++ % BUSY_MAX;

	u->busy[i].ino = j->ino;
	u->busy[i].until = clock_mono() + (j->live ? UPLOAD_PAUSE / 8 :
	    UPLOAD_PAUSE);
}

/* u->lock held.  A file whose upload was overlapped is copied next time, if it
 * may be. */
static void
note_torn(struct upload *u, const struct job *j, bool thrown)
{
	unsigned i;

	for (i = 0; j->torn && i < TORN_MAX; i++)
		if (u->torn[i] == j->ino)
			u->torn[i] = 0;
	if (thrown && !j->torn) {
		u->torn[u->ntorn++ % TORN_MAX] = j->ino;
		note_busy(u, j);
	}
}

static bool
was_torn(const uint64_t torn[TORN_MAX], uint64_t ino)
{
	unsigned i;

	for (i = 0; i < TORN_MAX; i++)
		if (torn[i] == ino)
			return true;
	return false;
}

static void
job_run(void *arg)
{
	struct job *j = arg;
	struct upload *u = j->f->upload;
	struct target *t = j->to;
	char why[sizeof t->why];
	unsigned i;
	bool thrown = false;
	int err = j->ino != 0 ? upload_file(j, &thrown) : upload_pack(j);

	lock_take(&u->lock);
	for (i = 0; i < ACTIVE_MAX; i++)
		if (u->jobs[i] == j)
			u->jobs[i] = NULL;
	u->active--;
	t->active--;
	if (j->ino == 0)
		t->packing = false;
	note_torn(u, j, thrown);
	if (err == 0 && j->nothing) {
		/* says nothing of the store */
	} else if (err == 0) {
		u->epoch++;
		u->reasons++;
		t->why[0] = '\0';
		t->pause = UPLOAD_PAUSE / 2;
	} else if (err == -EBUSY) {
		note_busy(u, j);
	} else if (clock_mono() >= t->not_before && err != -ECANCELED) {
		/* all of it would be sent again, for nothing */
		t->pause = err != -ENOSPC ? UPLOAD_PAUSE :
		    t->pause * 2 < PAUSE_MOST ? t->pause * 2 : PAUSE_MOST;
		t->not_before = clock_mono() + t->pause;
	}
	memcpy(why, t->why, sizeof why);
	u->kicked = true;
	cond_broadcast(&u->cond);
	lock_drop(&u->lock);
	if (err != 0 && err != -EBUSY && err != -ECANCELED)
		log_warn("upload failed; tried again", "ino=%llu seq=%llu "
		    "err=%d why=%s", (unsigned long long)j->ino,
		    (unsigned long long)j->seq, err, LOG_Q(why));
	buf_done(&j->items);
	if (err != 0)
		ship_kick(j->f);	/* others need not wait for it (L3) */
	free(j);
}

/* --- the manager --- */

struct look {
	struct fs	*f;
	struct sqc	*q;
	struct place_memo memo;
	struct buf	 choices;
	unsigned	 open;		/* choices with room */
	uint64_t	 hurry, spill;	/* as they were, and busy, torn */
	struct open_ino	 busy[BUSY_MAX];
	uint64_t	 torn[TORN_MAX];
	struct job	 pick[PICK_MAX];
	unsigned	 n, seen;
};

static bool
wants_copy(const struct look *l, uint64_t first, int64_t time)
{
	return first <= l->hurry || clock_real() - time > 30 * NSEC_PER_SEC;
}

static int
look_each(void *arg, uint64_t seq, uint64_t ino, uint64_t first, int64_t time)
{
	struct look *l = arg;
	struct choice *c = (void *)l->choices.p;
	const struct choice *end = c + l->choices.len / sizeof *c;
	bool copy = wants_copy(l, first, time);
	uint32_t store;
	unsigned i;

	/* Open files do not hold up those behind them. */
	if (!copy)
		for (i = 0; i < BUSY_MAX; i++)
			if (l->busy[i].ino == ino &&
			    l->busy[i].until > clock_mono())
				return 0;
	/* Nor do those of another store. */
	if (place_store(l->q, &l->memo, ino, &store) != 0)
		return 1;
	while (c < end && c->store != store)
		c++;
	if (c < end && c->room > 0) {
		l->open -= --c->room == 0;
		l->pick[l->n++] = (struct job){ .f = l->f, .to = c->to,
		    .seq = seq, .ino = ino, .copy = copy,
		    .live = copy || seq <= l->spill,
		    .torn = copy && was_torn(l->torn, ino) };
	}
	return l->open == 0 || l->n == PICK_MAX ||
	    (l->n > 0 && ++l->seen > SEEN_MAX);
}

/* u->lock held.  Stores that do not answer leave their slots to those that do;
 * what was under way begins again when they are back. */
static void
make_room(struct fs *f)
{
	struct upload *u = f->upload;
	unsigned i;

	for (i = 0; i < ACTIVE_MAX; i++)
		if (u->jobs[i] != NULL &&
		    stores_is_down(f, u->jobs[i]->to->store))
			atomic_store(&u->jobs[i]->cancel, true);
}

void
upload_submit(struct fs *f, const struct job *what)
{
	struct upload *u = f->upload;
	struct job *j = NULL;
	struct buf items = what->items;
	unsigned i, slot = ACTIVE_MAX;

	lock_assert_held(&u->lock);
	for (i = 0; i < ACTIVE_MAX; i++) {
		if (u->jobs[i] == NULL) {
			slot = i;
			continue;
		}
		if (what->ino == 0 || u->jobs[i]->ino != what->ino)
			continue;
		/* its placement is another now */
		if (u->jobs[i]->to != what->to)
			atomic_store(&u->jobs[i]->cancel, true);
		goto out;
	}
	if (slot == ACTIVE_MAX)
		make_room(f);
	else if (what->to->active < ACTIVE_OF_ONE && !what->to->paused &&
	    !u->stop && !u->halted)
		j = malloc(sizeof *j);
	if (j == NULL)
		goto out;
	*j = *what;
	u->jobs[slot] = j;
	if (workers_submit(f->io, WORK_NORMAL, job_run, j) != 0) {
		u->jobs[slot] = NULL;
		free(j);
		goto out;
	}
	items = (struct buf)BUF_INIT;
	u->active++;
	what->to->active++;
	what->to->packing |= what->ino == 0;
out:
	buf_done(&items);
}

static void
look_large(struct look *l)
{
	const struct choice *c = (const void *)l->choices.p;
	struct upload *u = l->f->upload;
	int64_t began = clock_mono();
	unsigned i;
	bool may;

	for (i = 0; i < l->choices.len / sizeof *c; i++)
		l->open += c[i].room > 0;
	if (l->open == 0)
		return;
	lock_take(&u->lock);
	may = upload_walk_begin(l->f, WALK_LARGE);
	l->hurry = u->hurry;
	l->spill = u->spill;
	memcpy(l->busy, u->busy, sizeof l->busy);
	memcpy(l->torn, u->torn, sizeof l->torn);
	lock_drop(&u->lock);
	if (!may)
		return;
	(void)journal_to_upload(l->q, look_each, l);
	lock_take(&u->lock);
	for (i = 0; i < l->n; i++)
		upload_submit(l->f, &l->pick[i]);
	upload_walk_end(u, WALK_LARGE, began, l->n > 0);
	lock_drop(&u->lock);
}

static void
look(struct fs *f)
{
	struct upload *u = f->upload;
	struct journal_stat st = { 0 };
	struct target *t;
	struct look *l;

	if (fs_may_write(f) != 0)
		return;
	l = calloc(1, sizeof *l);
	if (l == NULL || sq_read(meta_sq(f->meta), &l->q) != 0) {
		free(l);
		return;
	}
	l->f = f;
	(void)journal_stat(l->q, &st);
	lock_take(&u->lock);
	u->waiting = st.waiting_uploads;
	u->small = st.waiting_small;
	for (t = u->targets; t != NULL && u->waiting + u->small == 0;
	    t = t->next)
		t->why[0] = '\0';	/* nobody is concerned any more */
	u->pack_at = INT64_MAX;
	lock_drop(&u->lock);
	if (st.waiting_uploads + st.waiting_small > 0 &&
	    upload_choices(f, l->q, &l->choices) == 0) {
		if (st.waiting_uploads > 0)
			look_large(l);
		if (st.waiting_small > 0)
			upload_pack_look(f, l->q, &l->choices);
	}
	sq_read_end(l->q);
	buf_done(&l->choices);
	free(l);
}

static void *
manager(void *arg)
{
	struct fs *f = arg;
	struct upload *u = f->upload;
	int64_t tick = clock_mono() + TICK;

	lock_take(&u->lock);
	while (!u->stop) {
		int64_t until = clock_mono() + (u->waiting + u->small > 0 ?
		    UPLOAD_PAUSE : TICK);

		if (u->pack_at < until)
			until = u->pack_at;
		if (atomic_load(&f->unseen) > 0)
			until = clock_mono() + PASS_TICK;

		if (!u->kicked)
			(void)cond_wait_until(&u->cond, &u->lock, until);
		u->kicked = false;
		if (u->stop)
			break;
		lock_drop(&u->lock);
		pass_tick(f);
		if (clock_mono() >= tick) {
			io_tick(f);
			cache_mind_fds(f->cache);
			upload_watch(f);
			/* what was held may have been removed (M6) */
			if (batch_held(f->meta, &(uint64_t){ 0 }) > 0)
				ship_kick(f);
			tick = clock_mono() + TICK;
		}
		look(f);
		lock_take(&u->lock);
	}
	lock_drop(&u->lock);
	return NULL;
}

int
upload_start(struct fs *f)
{
	struct upload *u = calloc(1, sizeof *u);
	int err;

	if (u == NULL)
		return -ENOMEM;
	lock_init(&u->lock, RANK_UPLOAD, "upload");
	cond_init(&u->cond);
	f->upload = u;
	u->pack_at = INT64_MAX;
	u->kicked = true;
	err = -pthread_create(&u->thread, NULL, manager, f);
	if (err != 0) {
		free(u);
		f->upload = NULL;
	}
	return err;
}

void
upload_stop(struct fs *f)
{
	struct upload *u = f->upload;
	unsigned i;

	if (u == NULL)
		return;
	lock_take(&u->lock);
	u->stop = true;
	for (i = 0; i < ACTIVE_MAX; i++)
		if (u->jobs[i] != NULL)
			atomic_store(&u->jobs[i]->cancel, true);
	cond_broadcast(&u->cond);
	while (u->active > 0)
		cond_wait(&u->cond, &u->lock);
	lock_drop(&u->lock);
	(void)pthread_join(u->thread, NULL);
}

void
upload_free(struct fs *f)
{
	struct upload *u = f->upload;
	struct target *t;

	if (u == NULL)
		return;
	f->upload = NULL;
	while ((t = u->targets) != NULL) {
		u->targets = t->next;
		free(t);
	}
	cond_done(&u->cond);
	lock_done(&u->lock);
	free(u);
}

void
upload_kick(struct fs *f)
{
	struct upload *u = f->upload;

	if (u == NULL)
		return;
	lock_take(&u->lock);
	u->kicked = true;
	cond_broadcast(&u->cond);
	lock_drop(&u->lock);
}

void
upload_hurry(struct fs *f, uint64_t seq)
{
	struct upload *u = f->upload;

	lock_take(&u->lock);
	if (seq > u->hurry) {
		u->hurry = seq;
		upload_forget_pauses(u, false);
	}
	u->kicked = true;
	cond_broadcast(&u->cond);
	lock_drop(&u->lock);
}

void
upload_spill(struct fs *f, uint64_t seq)
{
	struct upload *u = f->upload;

	if (u == NULL)
		return;
	lock_take(&u->lock);
	if (seq > u->spill) {
		u->spill = seq;
		u->reasons++;
	}
	u->kicked = true;
	cond_broadcast(&u->cond);
	lock_drop(&u->lock);
}

void
upload_retry(struct fs *f)
{
	struct upload *u = f->upload;

	if (u == NULL)
		return;
	lock_take(&u->lock);
	upload_forget_pauses(u, true);
	u->kicked = true;
	cond_broadcast(&u->cond);
	lock_drop(&u->lock);
}

void
upload_status(struct fs *f, struct upload_status *ret)
{
	struct upload *u = f->upload;
	struct target *t;
	unsigned i;

	memset(ret, 0, sizeof *ret);
	if (u == NULL)
		return;
	lock_take(&u->lock);
	ret->waiting = u->waiting + u->small;
	ret->active = u->active;
	for (i = 0; i < ACTIVE_MAX; i++)
		if (u->jobs[i] != NULL)
			ret->bytes_left += u->jobs[i]->size;
	for (t = u->targets; t != NULL && ret->waiting > 0; t = t->next)
		if (upload_target_why(f, t, ret->why, sizeof ret->why))
			break;
	lock_drop(&u->lock);
}

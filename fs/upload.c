/*
 * See upload.h.
 *
 * A manager thread looks at the journal's waiting ops (woken by a kick, a
 * store coming back, or every TICK) and gives each to fs->io, at most
 * ACTIVE_MAX at once.  An upload whose store fails is tried again after a
 * pause; while the store is down only its return wakes them.
 */
#include "fs/upload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "cache/backing.h"
#include "fs/content.h"
#include "fs/io.h"
#include "fs/pass.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "meta/journal.h"
#include "meta/segment.h"

#define ACTIVE_MAX	4
#define PICK_MAX	64
#define BUSY_MAX	256
#define TICK		(5 * NSEC_PER_SEC)
#define PAUSE		(1 * NSEC_PER_SEC)
#define PAUSE_MOST	(15 * NSEC_PER_SEC)	/* of a store without room */
#define PASS_TICK	(NSEC_PER_SEC / 4)
#define UPLOAD_TIME	(3600 * NSEC_PER_SEC)	/* of one object, retries in */

struct upload {
	struct lock	 lock;
	struct cond	 cond;
	pthread_t	 thread;
	bool		 stop, kicked;
	uint64_t	 hurry;	/* copies of open files up to this seq */
	unsigned	 active;
	struct job	*jobs[ACTIVE_MAX];
	uint64_t	 waiting;	/* at the last look */
	struct { uint64_t ino; int64_t until; } busy[BUSY_MAX];
	unsigned	 nbusy;		/* open for writing: a ring */
	int64_t		 not_before;	/* clock_mono: after a failure */
	int64_t		 pause;		/* the next one, of a full store */
	char		 why[256];
};

struct job {
	struct fs	*f;
	uint64_t	 seq, ino;
	uint64_t	 size, sent;
	bool		 copy;
	_Atomic bool	 cancel;
};

/* --- one upload --- */

/* The view's intervals, one after the other. */
static int
view_read(void *arg, void *buf, size_t n, uint64_t off)
{
	struct upload_view *v = arg;
	char *to = buf;
	size_t done = 0;
	unsigned i;
	int err;

	for (i = 0; i < v->n && done < n; i++) {
		uint64_t len = v->v[i].end - v->v[i].off;
		size_t take;

		if (off >= len) {
			off -= len;
			continue;
		}
		take = n - done < len - off ? n - done : (size_t)(len - off);
		err = upload_read(v, to + done, take, v->v[i].off + off);
		if (err < 0)
			return err;
		done += take;
		off = 0;
	}
	return (int)done;
}

static uint64_t
view_bytes(const struct upload_view *v)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < v->n; i++)
		n += v->v[i].end - v->v[i].off;
	return n;
}

struct done {
	struct job		*j;
	struct upload_view	*v;
	struct op_object	 object;
	struct op_extent	*extents;
	unsigned		 n; /* the view ends before they are noted */
	bool			 whole;
};

static int
done_tx(struct sqc *c, void *arg)
{
	struct done *d = arg;
	bool some = d->object.size > 0;

	return journal_uploaded(c, d->j->seq, d->whole ? EXT_WHOLE : 0,
	    d->extents, some ? d->n : 0, &d->object, some ? 1 : 0);
}

/* After upload_end the intervals are this op's alone, whatever is closed
 * later: so it must become known, and a full disk is waited out. */
static int
note_done(struct job *j, struct done *d)
{
	int err;

	for (;;) {
		err = sq_write(meta_sq(j->f->meta), done_tx, d);
		if (err == 0 || err == -ENOENT || atomic_load(&j->cancel))
			return err;
		log_error("a finished upload could not be noted; tried again",
		    "ino=%llu err=%d", (unsigned long long)j->ino, err);
		(void)clock_sleep(PAUSE);
	}
}

static int
make_extents(struct done *d)
{
	uint64_t at = 0;
	unsigned i;

	d->n = d->v->n;
	d->whole = d->v->whole;
	d->extents = calloc(d->n + 1, sizeof *d->extents);
	if (d->extents == NULL)
		return -ENOMEM;
	for (i = 0; i < d->v->n; i++) {
		d->extents[i] = (struct op_extent){ .off = d->v->v[i].off,
		    .len = d->v->v[i].end - d->v->v[i].off,
		    .object = d->object.id, .ooff = at, .crc = -1 };
		at += d->extents[i].len;
	}
	d->n = d->v->n;
	d->whole = d->v->whole;
	return 0;
}

/* The bytes into the store; no record yet (DESIGN section 5: data first). */
static int
put_object(struct job *j, struct upload_view *v, struct op_object *o)
{
	struct store_src from = { .size = o->size, .read = view_read,
	    .arg = v };
	struct why why = { "" };
	struct store_call call = { .why = &why, .tag = "upload",
	    .cancel = &j->cancel, .deadline = clock_mono() + UPLOAD_TIME,
	    .sole = true };	/* L1: nobody else has that name */
	struct store_info info;
	struct store *s = NULL;
	struct upload *u = j->f->upload;
	char key[KEY_MAX];
	enum store_rc rc;
	int err;

	err = stores_get(j->f, o->store, &s, &why);
	if (err != 0)
		goto out;
	object_key(o->id, key);
	log_debug("upload begins", "ino=%llu key=%s",
	    (unsigned long long)j->ino, key);
	rc = store_put(s, &call, key, STORE_IF_ABSENT, NULL, &from, &info);
	log_debug("upload ends", "ino=%llu rc=%s",
	    (unsigned long long)j->ino, store_rc_name(rc));
	stores_result(j->f, o->store, rc, &why);
	err = store_rc_errno(rc);
	if (err == 0)
		snprintf(o->version, sizeof o->version, "%s",
		    info.version.text);
out:
	if (err != 0) {
		lock_take(&u->lock);
		/* new bytes go to the home alone */
		snprintf(u->why, sizeof u->why, "store home: %.230s",
		    why_text(&why, err));
		lock_drop(&u->lock);
	}
	return err;
}

static void
throw_away(struct job *j, const struct op_object *o)
{
	struct store_call call = { .tag = "upload", .once = true };
	struct store *s = NULL;
	char key[KEY_MAX];

	counter_add(uploads_thrown, 1);
	log_info("upload thrown away: the file changed meanwhile",
	    "ino=%llu seq=%llu", (unsigned long long)j->ino,
	    (unsigned long long)j->seq);
	object_key(o->id, key);
	if (o->size > 0 && stores_get(j->f, o->store, &s, NULL) == 0)
		(void)store_del(s, &call, key, NULL);
}

static int
nothing_tx(struct sqc *c, void *arg)
{
	struct job *j = arg;

	/* it is back, or was lost */
	if (bfile_is_known(c, j->ino))
		return -ENOENT;
	return journal_uploaded(c, j->seq, 0, NULL, 0, NULL, 0);
}

/* An op of a file that has no backing file (any more) changes no bytes: they
 * were clean, and evicted; or its inode is gone (B7). */
static int
note_nothing(struct job *j)
{
	int err = sq_write(meta_sq(j->f->meta), nothing_tx, j);

	if (err == 0)
		ship_kick(j->f);
	return err == -ENOENT ? 0 : err;
}

static int
upload_one(struct job *j)
{
	struct upload_view v = { 0 };
	struct done d = { .j = j, .v = &v };
	struct bfile *b = NULL;
	int err;

	err = bfile_get(j->f->cache, j->ino, &b);
	if (err == -ENOENT)
		return note_nothing(j);
	if (err != 0)
		return err;
	err = upload_begin(b, j->seq, j->copy, &v);
	if (err == -ENOENT)
		err = 0;		/* a later op has its bytes (M3) */
	if (err != 0 || v.b == NULL)
		goto out;
	d.object = (struct op_object){ .id = meta_new_id(j->f->meta),
	    .size = view_bytes(&v), .store = STORE_HOME_ID,
	    .kind = v.whole ? OBJ_WHOLE : OBJ_PATCH };
	err = d.object.id == 0 ? -EROFS : make_extents(&d);
	j->size = d.object.size;
	if (err == 0 && d.object.size > 0)
		err = put_object(j, &v, &d.object);
	if (err != 0) {
		upload_drop(&v);
		goto out;
	}
	err = upload_end(&v);						/* B8 */
	if (err == 0)
		err = note_done(j, &d);
	if (err == 0) {
		counter_add(uploads_done, 1);
		ship_kick(j->f);
	} else if (err == -ESTALE || err == -ENOENT) {
		throw_away(j, &d.object);
		err = 0;
	}
out:
	free(d.extents);
	bfile_put(b);
	return err;
}

static void
job_run(void *arg)
{
	struct job *j = arg;
	struct upload *u = j->f->upload;
	char why[sizeof u->why];
	unsigned i;
	int err = upload_one(j);

	lock_take(&u->lock);
	for (i = 0; i < ACTIVE_MAX; i++)
		if (u->jobs[i] == j)
			u->jobs[i] = NULL;
	u->active--;
	if (err == 0) {
		u->why[0] = '\0';
		u->pause = PAUSE / 2;
	} else if (err == -EBUSY) {
		i = u->nbusy++ % BUSY_MAX;
		u->busy[i].ino = j->ino;
		u->busy[i].until = clock_mono() + PAUSE;
	} else if (clock_mono() >= u->not_before) {
		/* all of it would be sent again, for nothing */
		u->pause = err != -ENOSPC ? PAUSE : u->pause * 2 < PAUSE_MOST ?
		    u->pause * 2 : PAUSE_MOST;
		u->not_before = clock_mono() + u->pause;
	}
	memcpy(why, u->why, sizeof why);
	u->kicked = true;
	cond_broadcast(&u->cond);
	lock_drop(&u->lock);
	if (err != 0 && err != -EBUSY)
		log_warn("upload failed; tried again", "ino=%llu seq=%llu "
		    "err=%d why=%s", (unsigned long long)j->ino,
		    (unsigned long long)j->seq, err, LOG_Q(why));
	free(j);
}

/* --- the manager --- */

struct look {
	struct fs	*f;
	struct { uint64_t seq, ino, first; int64_t time; } pick[PICK_MAX];
	unsigned	 n;
};

/* u->lock held. */
static bool
wants_copy(const struct upload *u, uint64_t first, int64_t time)
{
	return first <= u->hurry || clock_real() - time > 30 * NSEC_PER_SEC;
}

/* u->lock held. */
static int
look_each(void *arg, uint64_t seq, uint64_t ino, uint64_t first, int64_t time)
{
	struct look *l = arg;
	struct upload *u = l->f->upload;
	unsigned i;

	/* Open files do not hold up those behind them. */
	if (!wants_copy(u, first, time))
		for (i = 0; i < BUSY_MAX; i++)
			if (u->busy[i].ino == ino &&
			    u->busy[i].until > clock_mono())
				return 0;
	l->pick[l->n].seq = seq;
	l->pick[l->n].ino = ino;
	l->pick[l->n].first = first;
	l->pick[l->n++].time = time;
	return l->n == PICK_MAX;
}

/* u->lock held. */
static void
submit(struct fs *f, uint64_t seq, uint64_t ino, uint64_t first, int64_t time)
{
	struct upload *u = f->upload;
	struct job *j;
	unsigned i, slot = ACTIVE_MAX;

	for (i = 0; i < ACTIVE_MAX; i++) {
		if (u->jobs[i] != NULL && u->jobs[i]->ino == ino)
			return;
		if (u->jobs[i] == NULL)
			slot = i;
	}
	j = slot < ACTIVE_MAX ? calloc(1, sizeof *j) : NULL;
	if (j == NULL)
		return;
	j->f = f;
	j->seq = seq;
	j->ino = ino;
	j->copy = wants_copy(u, first, time);
	u->jobs[slot] = j;
	u->active++;
	if (workers_submit(f->io, WORK_NORMAL, job_run, j) != 0) {
		u->jobs[slot] = NULL;
		u->active--;
		free(j);
	}
}

static void
look(struct fs *f)
{
	struct upload *u = f->upload;
	struct look l = { .f = f };
	struct journal_stat st = { 0 };
	struct sqc *c = NULL;
	unsigned i;

	if (fs_may_write(f) != 0 || stores_is_down(f, STORE_HOME_ID))
		return;
	if (sq_read(meta_sq(f->meta), &c) != 0)
		return;
	(void)journal_stat(c, &st);
	lock_take(&u->lock);
	if (st.waiting_uploads > 0)
		(void)journal_to_upload(c, look_each, &l);
	lock_drop(&u->lock);
	sq_read_end(c);
	lock_take(&u->lock);
	u->waiting = st.waiting_uploads;
	if (clock_mono() >= u->not_before && !u->stop)
		for (i = 0; i < l.n; i++)
			submit(f, l.pick[i].seq, l.pick[i].ino,
			    l.pick[i].first, l.pick[i].time);
	lock_drop(&u->lock);
}

static void *
manager(void *arg)
{
	struct fs *f = arg;
	struct upload *u = f->upload;
	int64_t tick = clock_mono() + TICK;

	lock_take(&u->lock);
	while (!u->stop) {
		int64_t until = clock_mono() + (u->waiting > 0 ? PAUSE : TICK);

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
	u->pause = PAUSE / 2;
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

	if (u == NULL)
		return;
	f->upload = NULL;
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
		u->not_before = 0;
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
	u->not_before = 0;
	u->pause = PAUSE / 2;
	u->kicked = true;
	cond_broadcast(&u->cond);
	lock_drop(&u->lock);
}

void
upload_status(struct fs *f, struct upload_status *ret)
{
	struct upload *u = f->upload;
	unsigned i;

	memset(ret, 0, sizeof *ret);
	if (u == NULL)
		return;
	lock_take(&u->lock);
	ret->waiting = u->waiting;
	ret->active = u->active;
	for (i = 0; i < ACTIVE_MAX; i++)
		if (u->jobs[i] != NULL)
			ret->bytes_left += u->jobs[i]->size;
	snprintf(ret->why, sizeof ret->why, "%s", u->why);
	lock_drop(&u->lock);
}

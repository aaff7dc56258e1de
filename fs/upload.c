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
#include "meta/batch.h"
#include "meta/segment.h"

#define PICK_MAX	64
#define SEEN_MAX	4096	/* looked at, with something picked */
#define TICK		(5 * NSEC_PER_SEC)
#define PAUSE_MOST	(15 * NSEC_PER_SEC)	/* of a store without room */
#define PASS_TICK	(NSEC_PER_SEC / 4)
#define UPLOAD_TIME	(3600 * NSEC_PER_SEC)	/* of one object, retries in */
#define EXTENT_ROOM	48	/* bytes of an extent in an op, at most */
#define OP_ROOM		4096	/* of all but extents and sums */
_Static_assert(META_SUM == CACHE_CHUNK, "sums are of chunks");

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
	struct buf		 sums;
	bool			 doubt; /* noted, after a crash? */
};

static int
done_tx(struct sqc *c, void *arg)
{
	struct done *d = arg;
	bool some = d->object.size > 0;
	int rc = some ? place_has_store(c, d->object.store) : 1;

	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	return journal_uploaded(c, d->j->seq, d->whole ? EXT_WHOLE : 0,
	    d->extents, some ? d->n : 0, &d->object, some ? 1 : 0);
}

/* A full disk is waited out; only our own end ends that. */
static int
must_write(struct job *j, sq_fn *fn, void *arg, bool *retfailed)
{
	struct upload *u = j->f->upload;
	bool stop;
	int err;

	for (;;) {
		err = sq_write(meta_sq(j->f->meta), fn, arg);
		if (err == 0 || err == -ENOENT)
			return err;
		*retfailed = true;
		lock_take(&u->lock);
		stop = u->stop;
		lock_drop(&u->lock);
		if (stop)
			return err;
		log_error("a finished upload could not be noted; tried again",
		    "ino=%llu err=%d", (unsigned long long)j->ino, err);
		(void)clock_sleep(UPLOAD_PAUSE);
	}
}

struct thaw { struct job *j; struct sqc *c; uint64_t newest; int err; };

static int
thaw_later(void *arg, uint64_t seq, uint64_t ino, int64_t time)
{
	struct thaw *t = arg;

	if (ino != t->j->ino)
		return 0;
	t->newest = seq;
	t->err = bfile_unfreeze(t->c, ino, seq);
	return t->err != 0;
}

/* The newest op of the file has all its bytes (journal_to_upload), as if the
 * upload had never been. */
static int
thaw_tx(struct sqc *c, void *arg)
{
	struct thaw *t = arg;
	int err;

	t->c = c;
	t->newest = t->j->seq;
	t->err = bfile_unfreeze(c, t->j->ino, t->j->seq);
	if (t->err != 0)
		return t->err;
	err = journal_waiting(c, t->j->seq, thaw_later, t);
	return err != 0 ? err : t->err;
}

/* After upload_end the intervals are this op's alone, whatever is closed
 * later: so it must become known, or they are given back.  Where even that
 * cannot be written before our end, the next start does it (io_recover). */
static int
note_done(struct job *j, struct bfile *b, struct done *d)
{
	struct thaw t = { .j = j };
	bool failed = false;
	int err = must_write(j, done_tx, d, &d->doubt);

	if (err != -ENOENT)
		return err;
	bfile_thaw(b, j->seq, j->seq);
	if (must_write(j, thaw_tx, &t, &failed) == 0)
		bfile_thaw(b, j->seq, t.newest);
	return err;
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

/* Of what was sent; without them where the op would be too long. */
static int
make_sums(struct done *d)
{
	uint32_t *sums = NULL;
	uint64_t most = 0;
	unsigned i, n = 0;
	int err;

	for (i = 0; i < d->n; i++)
		most += op_sums(d->extents[i].off, d->extents[i].len);
	if (most > META_SUMS_MAX ||
	    most * 4 + (uint64_t)d->n * EXTENT_ROOM > BATCH_MAX_BYTES -
	    OP_ROOM)
		return 0;
	err = upload_sums(d->v, &sums, &n);
	for (i = 0; i < n; i++)
		buf_put_u32(&d->sums, sums[i]);
	free(sums);
	if (err != 0)
		return err;
	d->object.sums = d->sums.p;
	d->object.nsums = n;
	return buf_err(&d->sums);
}

/* The bytes into the store; no record yet (DESIGN section 5: data first). */
int
upload_put(struct job *j, const struct store_src *from, struct op_object *o)
{
	struct why why = { "" };
	struct store_call call = { .why = &why, .tag = "upload",
	    .cancel = &j->cancel, .deadline = clock_mono() + UPLOAD_TIME,
	    .sole = true };	/* L1: nobody else has that name */
	struct store_info info;
	struct store *s = NULL;
	struct upload *u = j->f->upload;
	char key[KEY_MAX], name[65];
	enum store_rc rc;
	int err;

	err = stores_get(j->f, o->store, &s, &why);
	if (err != 0)
		goto out;
	object_key(o->id, key);
	log_debug("upload begins", "ino=%llu key=%s",
	    (unsigned long long)j->ino, key);
	rc = store_put(s, &call, key, STORE_IF_ABSENT, NULL, from, &info);
	log_debug("upload ends", "ino=%llu rc=%s",
	    (unsigned long long)j->ino, store_rc_name(rc));
	stores_result(j->f, o->store, rc, &why);
	err = store_rc_errno(rc);
	if (err == 0)
		snprintf(o->version, sizeof o->version, "%s",
		    info.version.text);
out:
	if (err != 0 && err != -ECANCELED) {
		stores_name(j->f, o->store, name);
		lock_take(&u->lock);
		snprintf(j->to->why, sizeof j->to->why, "store %s: %.180s",
		    name, why_text(&why, err));
		lock_drop(&u->lock);
	}
	return err;
}

void
upload_remove(struct job *j, const struct op_object *o)
{
	struct store_call call = { .tag = "upload", .once = true };
	struct store *s = NULL;
	char key[KEY_MAX];

	object_key(o->id, key);
	if (o->size > 0 && stores_get(j->f, o->store, &s, NULL) == 0)
		(void)store_del(s, &call, key, NULL);
}

static void
throw_away(struct job *j, const struct done *d)
{
	counter_add(uploads_thrown, 1);
	log_info("upload thrown away: the file changed meanwhile",
	    "ino=%llu seq=%llu", (unsigned long long)j->ino,
	    (unsigned long long)j->seq);
	/* a failed commit may come back with the WAL, and names it (B9) */
	if (!d->doubt)
		upload_remove(j, &d->object);
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
	struct store_src from = { .read = view_read, .arg = &v };
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
	    .size = view_bytes(&v), .store = j->to->store,
	    .kind = v.whole ? OBJ_WHOLE : OBJ_PATCH };
	err = d.object.id == 0 ? -EROFS : make_extents(&d);
	j->size = from.size = d.object.size;
	if (err == 0 && d.object.size > 0)
		err = upload_put(j, &from, &d.object);
	if (err == 0 && d.object.size > 0)
		err = make_sums(&d);
	if (err != 0) {
		upload_drop(&v);
		goto out;
	}
	err = upload_end(&v);						/* B8 */
	if (err == 0)
		err = note_done(j, b, &d);
	if (err == 0) {
		counter_add(uploads_done, 1);
		ship_kick(j->f);
	} else if (err == -ESTALE || err == -ENOENT) {
		throw_away(j, &d);
		err = 0;
	}
out:
	free(d.extents);
	buf_done(&d.sums);
	bfile_put(b);
	return err;
}

static void
job_run(void *arg)
{
	struct job *j = arg;
	struct upload *u = j->f->upload;
	struct target *t = j->to;
	char why[sizeof t->why];
	unsigned i;
	int err = j->ino != 0 ? upload_one(j) : upload_pack(j);

	lock_take(&u->lock);
	for (i = 0; i < ACTIVE_MAX; i++)
		if (u->jobs[i] == j)
			u->jobs[i] = NULL;
	u->active--;
	t->active--;
	if (j->ino == 0)
		t->packing = false;
	if (err == 0 && j->nothing) {
		/* says nothing of the store */
	} else if (err == 0) {
		u->epoch++;
		u->reasons++;
		t->why[0] = '\0';
		t->pause = UPLOAD_PAUSE / 2;
	} else if (err == -EBUSY) {
		i = u->nbusy++ % BUSY_MAX;
		u->busy[i].ino = j->ino;
		u->busy[i].until = clock_mono() + UPLOAD_PAUSE;
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
	uint64_t	 hurry;		/* as it was, and busy */
	struct open_ino	 busy[BUSY_MAX];
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
		    .seq = seq, .ino = ino, .copy = copy };
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
	else if (what->to->active < ACTIVE_OF_ONE && !u->stop)
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
	memcpy(l->busy, u->busy, sizeof l->busy);
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

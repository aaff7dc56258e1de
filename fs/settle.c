/* See settle.h. */
#include "fs/settle.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/content.h"
#include "fs/pass.h"
#include "fs/ship.h"
#include "fs/upload.h"
#include "meta/journal.h"

#define GROUP		64		/* files of one commit */
#define GATHER		(4 * NSEC_PER_MSEC)	/* how long others may join */
#define ENOUGH		24		/* not waited for more */
#define QUEUE_MAX	256		/* beyond, the closer tries itself */
#define PAUSE		(1 * NSEC_PER_SEC)	/* after a failure */
#define RELEASED	(20 * NSEC_PER_MSEC)	/* what RELEASE may take */

struct settler {
	struct lock	 lock;
	struct cond	 cond;
	pthread_t	 thread;
	struct vnode	*head, **tail;	/* by queue_next */
	unsigned	 n;
	uint64_t	 put, done;	/* ever queued, ever gone through */
	uint64_t	 closes;	/* ever begun */
	struct settle_close *oldest, **newest;	/* of those under way */
	struct cond	 went;		/* done moved, or a close is over */
	bool		 flush;		/* somebody waits for that */
	bool		 stop;
};

/* One file's way into the journal. */
struct settle {
	struct fs	*f;
	struct vnode	*v;
	struct bfile	*b;
	struct op	 op;
	struct buf	 bytes;
	bool		 small;
	struct bfile_stat stat;		/* of the backing file, as seen */
	uint64_t	 part;		/* bfile_part's end; 0: all of it */
	uint64_t	 seq;
};

/* --- one file, in its gate --- */

static int
settle_tx(struct sqc *c, void *arg)
{
	struct settle *s = arg;
	int err;

	if (s->small) {
		err = journal(s->f->meta, c, &s->op,
		    s->bytes.len > 0 ? NEEDS_PACK : NEEDS_NOTHING,
		    s->bytes.p, s->bytes.len, &s->seq);
		return err != 0 ? err : bfile_forget_tx(c, s->b);
	}
	err = journal(s->f->meta, c, &s->op, NEEDS_UPLOAD, NULL, 0, &s->seq);
	if (err == 0)
		err = s->part > 0 ?
		    bfile_part_closed(c, s->b, s->seq, s->part) :
		    bfile_closed(c, s->b, s->seq);
	return err;
}

static void
fill_op(struct settle *s, uint64_t size)
{
	struct vnode *v = s->v;
	int64_t wrote;

	s->op.kind = OP_EXTENTS;
	s->op.ino = v->ino;
	s->op.size = size;
	lock_take(&v->lock);
	wrote = v->wrote != 0 ? v->wrote : bfile_mtime(s->b);
	s->op.mtime = v->mtime_set ? v->attr.mtime : wrote;
	s->op.ctime = v->attr.ctime > wrote ? v->attr.ctime : wrote;
	lock_drop(&v->lock);
	if (s->small)
		s->op.flags = EXT_WHOLE;
}

/* What was written unseen up to s->stat is settled.  Our rename moves the
 * ctime, a write both times. */
static void
keep(struct settle *s)
{
	struct vnode *v = s->v;
	struct bfile_stat st;
	bool same;

	(void)bfile_keep(s->b);
	same = bfile_stat(s->b, &st) == 0 && st.mtime == s->stat.mtime &&
	    st.size == s->stat.size && pass_is_old(s->stat.ctime);
	lock_take(&v->lock);
	v->seen_ctime = same ? st.ctime : 0;
	lock_drop(&v->lock);
}

/* L11; and a store through a mapping moves no time where the page is dirty
 * already: from now on it is not. */
static int
sync_first(struct settle *s)
{
	if ((s->v->truncated || s->v->unseen) && !bfile_is_synced(s->b))
		return bfile_sync(s->b);
	return 0;
}

/* 1: s is ready for its transaction; 0: there is nothing to settle. */
static int
prepare(struct fs *f, struct vnode *v, struct settle *s)
{
	uint64_t size;
	void *p;
	int err;

	*s = (struct settle){ .f = f, .v = v };
	pass_settle(f, v);
	pass_look(v);
	if (!v->dirty || v->unlinked)
		return 0;
	s->b = vnode_backing(v);
	if (s->b == NULL)
		return 0;
	(void)bfile_stat(s->b, &s->stat);
	size = bfile_size(s->b);
	s->small = size <= META_SMALL_MAX && v->pass_id == 0 && !v->unseen &&
	    bfile_has(s->b, 0, size) == 1;
	fill_op(s, size);
	if (s->small && size > 0) {
		p = buf_grow(&s->bytes, size);
		err = p == NULL ? -ENOMEM :
		    sys_pread_all(bfile_fd(s->b), p, size, 0);
		if (err != 0)
			return err;
		s->bytes.len = size;
	}
	err = s->small ? 0 : sync_first(s);
	return err != 0 ? err : 1;
}

/* After the transaction gave err. */
static int
finish(struct settle *s, int err)
{
	struct vnode *v = s->v;

	if (err == -ENOENT) {		/* unlinked meanwhile: B7 */
		v->unlinked = true;
		return 0;
	}
	if (err != 0)
		return err;
	vnode_note_settled(s->f, v->ino);
	if (s->part > 0)
		bfile_part_settle(s->b, s->seq, s->part);
	else if (!s->small)
		bfile_settle(s->b);
	lock_take(&v->lock);
	v->dirty = s->part > 0;
	v->truncated = false;
	v->attr.size = s->op.size;
	v->attr.mtime = s->op.mtime;
	v->attr.ctime = s->op.ctime;
	lock_drop(&v->lock);
	if (s->small) {
		bfile_forget(s->b);
		vnode_set_backing(v, NULL);
		ship_kick(s->f);
		if (journal_has_packable(s->f->meta))
			upload_kick(s->f);
	} else {
		keep(s);
		upload_kick(s->f);
	}
	return 0;
}

static void
settle_done(struct settle *s)
{
	bfile_put(s->b);
	buf_done(&s->bytes);
}

int
settle_now(struct fs *f, struct vnode *v)
{
	struct settle s;
	int err = prepare(f, v, &s);

	if (err == 1)
		err = finish(&s, sq_write(meta_sq(f->meta), settle_tx, &s));
	settle_done(&s);
	return err;
}

int
settle_synced(struct fs *f, struct vnode *v, int *retsync,
    struct bfile **retspent)
{
	struct settle s;
	int err = prepare(f, v, &s);

	*retsync = 0;
	*retspent = NULL;
	if (err == 1) {
		err = sq_write_shared(meta_sq(f->meta), settle_tx, &s,
		    retsync);
		err = finish(&s, err);
		*retspent = s.b;
		s.b = NULL;
	}
	settle_done(&s);
	return err;
}

int
settle_part(struct fs *f, struct vnode *v, uint64_t least, uint64_t most,
    uint64_t *retseq)
{
	struct settle s = { .f = f, .v = v };
	struct bfile_part p;
	int err;

	*retseq = 0;
	if (v->writers == 0 || !v->dirty || v->unlinked || v->unseen ||
	    v->pass_id != 0 || (s.b = vnode_backing(v)) == NULL)
		return -ENODATA;
	err = bfile_part(s.b, least, most, &p);
	if (err == -EAGAIN) {
		*retseq = p.waits;
		err = 0;
		goto out;
	}
	if (err != 0)
		goto out;
	s.part = p.end;
	fill_op(&s, p.rest ? p.end : bfile_size(s.b));
	err = sync_first(&s);
	if (err == 0)
		err = finish(&s, sq_write(meta_sq(f->meta), settle_tx, &s));
	if (err == 0 && !v->unlinked)
		*retseq = s.seq;
out:
	bfile_put(s.b);
	return err;
}

void
settle_drop(struct fs *f, struct vnode *v)
{
	struct bfile *b = vnode_backing(v);

	if (b == NULL)
		return;
	pass_drop(f, v);
	content_forget(f, b);
	vnode_set_backing(v, NULL);
	bfile_put(b);
	lock_take(&v->lock);
	v->dirty = false;
	lock_drop(&v->lock);
}

/* --- many, by the thread --- */

struct group { struct settle *v; unsigned n; };

static int
group_tx(struct sqc *c, void *arg)
{
	struct group *g = arg;
	unsigned i;
	int err = 0;

	for (i = 0; i < g->n && err == 0; i++)
		err = settle_tx(c, &g->v[i]);
	return err;
}

/* With the caller's reference to v.  It cannot fail: bytes that wait for room
 * have nobody else. */
static void
enqueue(struct fs *f, struct vnode *v)
{
	struct settler *st = f->settler;
	bool twice;

	lock_take(&st->lock);
	twice = v->queued;	/* a group enters each gate once */
	if (!twice) {
		v->queued = true;
		v->queue_next = NULL;
		*st->tail = v;
		st->tail = &v->queue_next;
		st->n++;
		st->put++;
		if (st->n == 1 || st->n >= ENOUGH)
			cond_signal(&st->cond);
	}
	lock_drop(&st->lock);
	if (twice)
		vnode_put(f, v);
}

/* v's reference goes, or back into the queue when it is still dirty. */
static bool
let_go(struct fs *f, struct vnode *v, int err)
{
	if (err == 0 && v->unlinked && v->opens == 0)
		settle_drop(f, v);
	vnode_leave(v);
	if (err == 0) {
		vnode_put(f, v);
		return true;
	}
	log_error("a closed file could not be journalled; its bytes are kept "
	    "and it is tried again", "ino=%llu err=%d",
	    (unsigned long long)v->ino, err);
	enqueue(f, v);
	return false;
}

/* Its last close, of writers or of what was passed, settles it. */
static bool
is_open(const struct vnode *v)
{
	return v->writers > 0 || (v->opens > 0 && v->pass_id != 0);
}

/* Settles the n vnodes of v; false: some are to be tried again. */
static bool
settle_group(struct fs *f, struct vnode *const *v, unsigned n)
{
	static struct settle s[GROUP];	/* the thread's alone */
	struct group g = { .v = s };
	struct vnode *idle[GROUP];
	unsigned i, nidle = 0;
	bool all = true;
	int err;

	for (i = 0; i < n; i++) {
		vnode_enter(v[i]);
		err = is_open(v[i]) ? 0 : prepare(f, v[i], &s[g.n]);
		if (err == 1) {
			g.n++;
			continue;
		}
		if (!is_open(v[i]))
			settle_done(&s[g.n]);
		if (err == 0)
			idle[nidle++] = v[i];
		else
			all = let_go(f, v[i], err) && all;
	}
	for (i = 0; i < nidle; i++)
		all = let_go(f, idle[i], 0) && all;
	err = g.n == 0 ? 0 : sq_write(meta_sq(f->meta), group_tx, &g);
	for (i = 0; i < g.n; i++) {
		/* one that fails must not hold up the others */
		int one = err == 0 ? 0 :
		    sq_write(meta_sq(f->meta), settle_tx, &s[i]);

		one = finish(&s[i], one);
		settle_done(&s[i]);
		all = let_go(f, s[i].v, one) && all;
	}
	return all;
}

/* Up to GROUP of the queue, into ret; the lock is held. */
static unsigned
take_group(struct settler *st, struct vnode **ret)
{
	unsigned n;

	for (n = 0; n < GROUP && st->head != NULL; n++) {
		ret[n] = st->head;
		st->head = ret[n]->queue_next;
		ret[n]->queued = false;
	}
	st->n -= n;
	if (st->head == NULL)
		st->tail = &st->head;
	return n;
}

static void *
settler(void *arg)
{
	struct fs *f = arg;
	struct settler *st = f->settler;
	struct vnode *group[GROUP];
	uint64_t round = 0;		/* done then, all were tried once */
	bool ok = true, pause;		/* in this round */
	int64_t until;
	unsigned n;

	lock_take(&st->lock);
	while (!st->stop || st->n > 0) {
		if (st->n == 0) {
			cond_wait(&st->cond, &st->lock);
			continue;
		}
		pause = !ok && st->done >= round;
		until = clock_mono() + (pause ? PAUSE : GATHER);
		while (!st->stop &&
		    (pause || (st->n < ENOUGH && !st->flush)) &&
		    cond_wait_until(&st->cond, &st->lock, until) == 0)
			;
		if (ok || pause) {
			round = st->put;
			ok = true;
		}
		n = take_group(st, group);
		lock_drop(&st->lock);
		ok = settle_group(f, group, n) && ok;
		lock_take(&st->lock);
		st->done += n;
		st->flush = st->flush && st->done < st->put;
		cond_broadcast(&st->went);
		if (st->stop && !ok && st->done >= round)
			break;		/* io_recover finds it */
	}
	lock_drop(&st->lock);
	return NULL;
}

void
settle_later(struct fs *f, struct vnode *v)
{
	struct settler *st = f->settler;
	bool full;
	int err;

	lock_take(&st->lock);
	full = !v->queued && st->n >= QUEUE_MAX;
	lock_drop(&st->lock);
	if (full) {
		vnode_enter(v);
		err = is_open(v) ? 0 : settle_now(f, v);
		vnode_leave(v);
		if (err == 0) {
			vnode_put(f, v);
			return;
		}
	}
	/* whatever there is in it: without its vnode nobody knows how long it
	 * is */
	enqueue(f, v);
}

static void
close_add(struct settler *st, struct settle_close *c, struct vnode *flushed)
{
	c->next = NULL;
	c->number = ++st->closes;
	c->flushed = flushed;
	*st->newest = c;
	st->newest = &c->next;
}

/* To c, which is one of them, NULL to put nothing in its place. */
static void
close_replace(struct settler *st, struct settle_close *c,
    struct settle_close *by)
{
	struct settle_close **p;

	for (p = &st->oldest; *p != c; p = &(*p)->next)
		;
	if (by != NULL) {
		by->next = c->next;
		by->number = c->number;
		by->flushed = NULL;
		*p = by;
		p = &by->next;
	} else {
		*p = c->next;
	}
	if (*p == NULL)
		st->newest = p;
	c->number = 0;
}

void
settle_close_begin(struct fs *f, struct settle_close *c)
{
	struct settler *st = f->settler;

	if (st == NULL || c->number != 0)
		return;
	lock_take(&st->lock);
	close_add(st, c, NULL);
	lock_drop(&st->lock);
}

void
settle_close_end(struct fs *f, struct settle_close *c)
{
	struct settler *st = f->settler;

	if (c->number == 0)
		return;
	lock_take(&st->lock);
	close_replace(st, c, NULL);
	cond_broadcast(&st->went);
	lock_drop(&st->lock);
}

void
settle_close_flushed(struct fs *f, struct settle_close *c, struct vnode *v)
{
	struct settler *st = f->settler;

	if (st == NULL)
		return;
	lock_take(&st->lock);
	c->times++;
	if (c->number == 0) {
		close_add(st, c, v);
		c->since = clock_mono();
	}
	lock_drop(&st->lock);
}

void
settle_close_take(struct fs *f, struct settle_close *ret,
    struct settle_close *c)
{
	struct settler *st = f->settler;

	if (st == NULL)
		return;
	lock_take(&st->lock);
	if (c->number != 0) {
		if (ret->number != 0)
			close_replace(st, ret, NULL);
		close_replace(st, c, ret);
	} else if (ret->number == 0) {
		close_add(st, ret, NULL);
	}
	lock_drop(&st->lock);
}

/* The oldest above one number and up to another, of those that FLUSH began or
 * of the others. */
static struct settle_close *
oldest(struct settler *st, uint64_t above, uint64_t upto, bool flushed)
{
	struct settle_close *c;

	for (c = st->oldest; c != NULL && c->number <= upto; c = c->next)
		if (c->number > above && (c->flushed != NULL) == flushed)
			return c;
	return NULL;
}

static struct settle_close *
flushed_of(struct settler *st, uint64_t number)
{
	struct settle_close *c;

	for (c = st->oldest; c != NULL && c->number < number; c = c->next)
		;
	return c != NULL && c->number == number && c->flushed != NULL ? c :
	    NULL;
}

/* What c's writer wrote so far is journalled: c's number.  It stays for those
 * who began to wait later, where FLUSH came again.  The lock is held. */
static uint64_t
journal_flushed(struct fs *f, struct settle_close *c)
{
	struct settler *st = f->settler;
	struct vnode *v = c->flushed;
	uint64_t number = c->number;
	unsigned times = c->times;

	c->shared = true;
	vnode_ref(f, v);
	lock_drop(&st->lock);
	(void)io_journal_file(f, v->ino);
	vnode_put(f, v);
	lock_take(&st->lock);
	c = flushed_of(st, number);		/* if it is not released now */
	if (c != NULL && c->times == times) {
		close_replace(st, c, NULL);
		cond_broadcast(&st->went);
	}
	return number;
}

/* Until no close is left that began before.  The lock is held. */
static void
wait_closed(struct fs *f, struct settler *st)
{
	int64_t now = clock_mono(), until = now + f->opt.io_timeout;
	uint64_t done = 0, upto = st->closes;
	struct settle_close *c;

	for (; !st->stop && now < until; now = clock_mono()) {
		c = oldest(st, done, upto, true);
		if (c != NULL && (c->shared || now >= c->since + RELEASED))
			done = journal_flushed(f, c);
		else if (c != NULL)
			(void)cond_wait_until(&st->went, &st->lock,
			    c->since + RELEASED);
		else if (oldest(st, 0, upto, false) != NULL)
			(void)cond_wait_until(&st->went, &st->lock, until);
		else
			return;
	}
}

void
settle_flush(struct fs *f)
{
	struct settler *st = f->settler;
	uint64_t want;

	if (st == NULL)
		return;
	lock_take(&st->lock);
	wait_closed(f, st);
	want = st->put;
	while (st->done < want && !st->stop) {
		st->flush = true;
		cond_signal(&st->cond);
		cond_wait(&st->went, &st->lock);
	}
	lock_drop(&st->lock);
}

int
settle_start(struct fs *f)
{
	struct settler *st = calloc(1, sizeof *st);
	int err;

	if (st == NULL)
		return -ENOMEM;
	st->tail = &st->head;
	st->newest = &st->oldest;
	lock_init(&st->lock, RANK_UPLOAD + 1, "settler");
	cond_init(&st->cond);
	cond_init(&st->went);
	f->settler = st;
	err = -pthread_create(&st->thread, NULL, settler, f);
	if (err != 0) {
		f->settler = NULL;
		free(st);
	}
	return err;
}

void
settle_stop(struct fs *f)
{
	struct settler *st = f->settler;
	struct vnode *v;

	if (st == NULL)
		return;
	lock_take(&st->lock);
	st->stop = true;
	cond_signal(&st->cond);
	cond_broadcast(&st->went);
	lock_drop(&st->lock);
	(void)pthread_join(st->thread, NULL);
	while ((v = st->head) != NULL) {
		st->head = v->queue_next;
		vnode_put(f, v);
	}
	f->settler = NULL;
	cond_done(&st->cond);
	cond_done(&st->went);
	lock_done(&st->lock);
	free(st);
}

/*
 * fill_run: see fill.h.  A run: a thread that fetches chunks in a row, its
 * store's lane, and what its GETs show of the link (window.h).
 */
#include "fs/fill_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "fs/content.h"
#include "fs/sums.h"

#define QUEUED_MAX	512	/* chunks on their way, all files */
#define TELL		(256u << 10)	/* bytes, and */
#define TELL_AFTER	(20 * NSEC_PER_MSEC)	/* how often a lane is told */

struct run {
	struct run	*next;		/* in its lane */
	struct lane	*lane;		/* where it has a place already */
	enum work_prio	 prio;
	struct fs	*f;
	struct vnode	*v;		/* a reference */
	struct bfile	*b;		/* a reference */
	uint64_t	 chunk;		/* the first */
	uint64_t	 pos;		/* file offset of the next byte */
	uint32_t	 begin;		/* start inside the (only) chunk */
	unsigned	 n;
	struct fetch	*x[RUN_CHUNKS];	/* NULL: finished */
	uint32_t	 got[RUN_CHUNKS];
	const struct extents *extents;	/* borrowed, and so */
	const struct sums *sums;	/* of them; NULL: none */
	unsigned	 wrong;		/* bits: chunks that sums disprove */
	bool		 rest;		/* of v->rest */
	bool		 unkept;	/* some chunk is */
	struct window_get get;		/* the one under way */
	uint64_t	 untold;	/* bytes of it that its lane does not */
	int64_t		 told;		/* know of, and when it was told */
};

/* --- a run --- */

/* crc: of its bytes, -1 unknown. */
static bool
keep(struct run *r, struct fetch *x, int64_t crc)
{
	if (cache_room(r->f->cache, x->len, false) != 0)
		return false;
	return bfile_fill(r->b, x->chunk, x->gen, x->buf, x->len,
	    crc) == 0;
}

/* All of chunk i is in its buffer, and right. */
static void
have_chunk(struct run *r, unsigned i, int64_t crc)
{
	struct fill *fl = r->f->fill;
	struct fetch *x = r->x[i];
	bool kept;

	counter_add(fill_bytes, x->len);
	r->x[i] = NULL;
	lock_take(&fl->lock);
	x->lo = 0;
	atomic_store(&x->hi, x->len);
	cond_broadcast(&x->cond);
	lock_drop(&fl->lock);
	kept = keep(r, x, crc);
	r->unkept |= !kept;
	fill_fetch_end(fl, x, 0, kept, r->prio);
}

/* Without the lock, for there are thousands of pieces a second: who waits says
 * for what and then looks at hi, and here it is the other way round. */
static void
advance(struct run *r, unsigned i, uint32_t at, uint32_t n)
{
	struct fill *fl = r->f->fill;
	struct fetch *x = r->x[i];
	uint32_t hi = atomic_load(&x->hi);
	int64_t crc;

	r->got[i] += n;
	if (r->got[i] == x->len) {
		if (sums_hold(r->sums, r->extents, x->chunk * CACHE_CHUNK,
		    x->buf, x->len, &crc))
			have_chunk(r, i, crc);
		else
			r->wrong |= 1u << i;
		return;
	}
	if (r->sums != NULL)
		return;		/* nobody sees it before it is compared */
	if (hi == 0)
		x->lo = hi = at;
	if (hi != at)
		return;		/* what is before the begin */
	atomic_store(&x->hi, at + n);
	if (at + n < atomic_load(&x->need))
		return;
	lock_take(&fl->lock);
	atomic_store(&x->need, UINT32_MAX);	/* who waits on says so */
	cond_broadcast(&x->cond);
	lock_drop(&fl->lock);
}

/* n bytes of the file at r->pos; p NULL: zeros. */
static int
run_put(struct run *r, const uint8_t *p, size_t n)
{
	while (n > 0) {
		unsigned i = (unsigned)(r->pos / CACHE_CHUNK - r->chunk);
		uint32_t at = (uint32_t)(r->pos % CACHE_CHUNK);
		struct fetch *x = i < r->n ? r->x[i] : NULL;
		uint32_t take;

		if (x == NULL || at >= x->len)
			return -EIO;	/* more than was asked for */
		take = n < x->len - at ? (uint32_t)n : x->len - at;
		if (x->buf == NULL)	/* aligned: it may go to disk as is */
			x->buf = fill_buf_take(r->f);
		if (x->buf == NULL)
			return -ENOMEM;
		if (p != NULL) {
			memcpy(x->buf + at, p, take);
			p += take;
		} else
			memset(x->buf + at, 0, take);
		r->pos += take;
		n -= take;
		advance(r, i, at, take);
	}
	return 0;
}

/* --- what its GETs show of the link --- */

static int
run_sink(void *arg, const void *p, size_t n)
{
	struct run *r = arg;
	struct fill *fl = r->f->fill;
	int64_t now = clock_mono();

	r->untold += n;
	if (!r->get.came || r->untold >= TELL || now - r->told >= TELL_AFTER) {
		lock_take(&fl->lock);
		window_came(&r->lane->link, &r->get, r->untold, now);
		lock_drop(&fl->lock);
		r->untold = 0;
		r->told = now;
	}
	return run_put(r, p, n);
}

static int
run_get(struct run *r, const struct extent *e, uint64_t from, uint64_t to)
{
	struct fill *fl = r->f->fill;
	struct window_link *l = &r->lane->link;
	int err;

	lock_take(&fl->lock);
	window_ask(l, &r->get, clock_mono());
	lock_drop(&fl->lock);
	r->untold = 0;
	err = content_fetch(r->f, e, e->ooff + (from - e->off), to - from,
	    "fill", run_sink, r);
	lock_take(&fl->lock);
	if (r->get.came)
		window_came(l, &r->get, r->untold, clock_mono());
	window_end(l, &r->get, clock_mono());
	lock_drop(&fl->lock);
	return err == 0 && r->pos != to ? -EIO : err;
}

/* File bytes [from, to), hole or extent by extent. */
static int
run_range(struct run *r, const struct extents *x, uint64_t from, uint64_t to)
{
	uint64_t start, end;
	unsigned i;
	int err = 0;

	r->pos = from;
	for (i = 0; err == 0 && i < x->n; i++) {
		const struct extent *e = &x->v[i];

		start = e->off > r->pos ? e->off : r->pos;
		end = e->off + e->len < to ? e->off + e->len : to;
		if (start >= end)
			continue;
		err = run_put(r, NULL, start - r->pos);
		if (err == 0)
			err = run_get(r, e, start, end);
	}
	if (err == 0 && r->pos < to)
		err = run_put(r, NULL, to - r->pos);
	return err;
}

/* The chunks that did not come as they were stored. */
static void
run_mend(struct run *r)
{
	unsigned i;
	int err;

	for (i = 0; i < r->n; i++) {
		struct fetch *x = r->x[i];

		if ((r->wrong >> i & 1) == 0)
			continue;
		err = sums_mend(r->f, r->sums, r->extents,
		    x->chunk * CACHE_CHUNK, x->buf, x->len);
		if (err == 0) {
			have_chunk(r, i, -1);
			continue;
		}
		r->x[i] = NULL;
		r->unkept = true;
		fill_fetch_end(r->f->fill, x, err, false, r->prio);
	}
}

static void
run_free(struct run *r)
{
	bfile_put(r->b);
	vnode_put(r->f, r->v);
	free(r);
}

/* What is not finished yet ends with err. */
static void
run_end(struct run *r, int err)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->x[i] != NULL) {
			r->unkept = true;
			fill_fetch_end(r->f->fill, r->x[i], err, false,
			    r->prio);
		}
	if (r->rest)
		fill_rest_ended(r->f, r->v, r->b, !r->unkept);
	run_free(r);
}

static void	run_job(void *arg);

static struct lane *
lane_of(struct fill *fl, uint32_t store)
{
	return &fl->lanes[store % LANES];
}

/* False: it waits in the lane, and whoever leaves that hands it his place. */
static bool
lane_enter(struct fill *fl, struct lane *l, struct run *r)
{
	struct run **at = &l->head;
	bool in;

	lock_take(&fl->lock);
	in = l->active < fl->runs;
	if (in) {
		l->active++;
	} else {
		while (*at != NULL && (*at)->prio <= r->prio)
			at = &(*at)->next;
		r->next = *at;
		*at = r;
	}
	lock_drop(&fl->lock);
	return in;
}

/* The place goes to the next who waits: it stays taken until he leaves, too,
 * wherever he finds his bytes to be by then. */
static void
lane_leave(struct fs *f, struct lane *l)
{
	struct fill *fl = f->fill;
	struct run *r;

	if (l == NULL)
		return;
	lock_take(&fl->lock);
	while ((r = l->head) != NULL) {
		l->head = r->next;
		r->lane = l;
		lock_drop(&fl->lock);
		if (workers_submit(f->io, r->prio, run_job, r) == 0)
			return;
		run_end(r, -ENOMEM);
		lock_take(&fl->lock);
	}
	l->active--;
	lock_drop(&fl->lock);
}

static void
run_job(void *arg)
{
	struct run *r = arg;
	struct fs *f = r->f;
	struct extents *x = NULL;
	struct sums *sums = NULL;
	struct lane *held = r->lane, *l;
	uint64_t from = r->chunk * CACHE_CHUNK, to = from;
	unsigned i;
	int err;

	for (i = 0; i < r->n; i++)
		to += r->x[i]->len;
	err = atomic_load(&f->stopping) ? -ESHUTDOWN :
	    content_extents(f, r->v, from, to - from, &x);
	if (err == 0 && x->n > 0 &&
	    (l = lane_of(f->fill, x->v[0].store)) != held) {
		lane_leave(f, held);
		r->lane = NULL;
		if (!lane_enter(f->fill, l, r)) {
			free(x);
			return;
		}
		held = r->lane = l;
	}
	if (held != NULL)
		atomic_store(&r->v->lane,
		    (uint32_t)(held - f->fill->lanes) + 1);
	if (err == 0)
		err = sums_get(f, x, from, to - from, &sums);
	r->extents = x;
	r->sums = sums;
	if (sums != NULL)
		r->begin = 0;	/* all of it is waited for */
	if (err == 0)
		err = run_range(r, x, from + r->begin, to);
	if (err == 0 && r->begin > 0)
		err = run_range(r, x, from, from + r->begin);
	if (err == 0 && r->wrong != 0)
		run_mend(r);
	run_end(r, err != 0 ? err : -EIO);
	lane_leave(f, held);
	free(sums);
	free(x);
}

/* --- starting runs --- */

static struct run *
run_new(struct fs *f, struct vnode *v, struct bfile *b)
{
	struct run *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	vnode_ref(f, v);
	r->v = v;
	bfile_ref(b);
	r->f = f;
	r->b = b;
	return r;
}

/* Chunks of [first, last] that are neither here nor under way, as one run
 * from the first such; *next is where to go on.  NULL: none. */
static struct run *
run_collect(struct fs *f, struct vnode *v, struct bfile *b, uint64_t size,
    uint64_t first, uint64_t last, unsigned max, uint64_t *next)
{
	struct fill *fl = f->fill;
	struct run *r = NULL;
	uint64_t c;

	lock_take(&fl->lock);
	for (c = first; c <= last && fl->queued < max; c++) {
		uint64_t off = c * CACHE_CHUNK, left = size - off;
		bool wanted = fill_find(fl, b, c) == NULL && bfile_has(b, off,
		    left < CACHE_CHUNK ? left : CACHE_CHUNK) != 1;

		if (r == NULL && wanted) {
			lock_drop(&fl->lock);
			r = run_new(f, v, b);
			if (r == NULL)
				goto out;
			r->chunk = c--;
			lock_take(&fl->lock);
			continue;	/* looked at again, with the lock */
		}
		if (r != NULL && (!wanted || r->n == RUN_CHUNKS))
			break;
		if (r != NULL &&
		    (r->x[r->n] = fill_fetch_add(fl, b, c, size)) != NULL)
			r->n++;
	}
	lock_drop(&fl->lock);
out:
	*next = c;
	if (r != NULL && r->n == 0) {
		run_free(r);
		r = NULL;
	}
	return r;
}

/* Hands it over.  False: it could not be, and is over. */
static bool
run_submit(struct run *r, enum work_prio prio)
{
	r->prio = prio;
	if (workers_submit(r->f->io, prio, run_job, r) == 0)
		return true;
	run_end(r, -ENOMEM);
	return false;
}

void
fill_start_rest(struct fs *f, struct vnode *v, struct bfile *b, uint64_t size,
    uint64_t first, uint64_t last)
{
	struct run *r;

	while (first <= last) {		/* few at once: fill_rest.c */
		r = run_collect(f, v, b, size, first, last, UINT_MAX, &first);
		if (r == NULL)
			return;
		r->rest = true;
		lock_take(&v->lock);
		v->rest.runs++;
		lock_drop(&v->lock);
		if (!run_submit(r, WORK_BACKGROUND))
			return;
	}
}

void
fill_start(struct fs *f, struct vnode *v, struct bfile *b, uint64_t size,
    uint64_t first, uint64_t last, uint32_t begin, enum work_prio prio)
{
	/* what a reader waits for is always begun */
	unsigned max = prio == WORK_URGENT ? UINT_MAX : QUEUED_MAX;
	struct run *r;

	while (first <= last) {
		r = run_collect(f, v, b, size, first, last, max, &first);
		if (r == NULL && first <= last)
			return;		/* enough is queued */
		if (r == NULL)
			continue;
		if (r->n == 1)
			r->begin = begin;
		if (!run_submit(r, prio))
			return;
	}
}

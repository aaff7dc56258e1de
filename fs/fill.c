/* See fill.h. */
#include "fs/fill.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "cache/small.h"
#include "fs/content.h"
#include "fs/memory.h"
#include "fs/sums.h"

#define TABLE_SIZE	1024	/* a power of two */
#define RUN_CHUNKS	8	/* chunks of one GET */
#define LANES		16	/* stores, by id; two may share one */
#define LANE_RUNS	16	/* of a store at once; fs->io does more */
#define QUEUED_MAX	512	/* chunks on their way, all files */
#define UNKEPT_MAX	16	/* chunks held for want of room */
#define WINDOW_MIN	(2u << 20)
#define WINDOW_MAX	(64u << 20)
#define NEAR		(8u << 20) /* parallel requests come out of order */
#define SPARE_MAX	24
#define BEGIN_ALIGN	(128u << 10)	/* where in a chunk a miss begins */
#define SLICE		(250 * NSEC_PER_MSEC)

struct fetch {
	struct fetch	*next;		/* hash chain */
	uint64_t	 ino, chunk;
	uint64_t	 gen;		/* bfile_clean_gen when it began */
	uint32_t	 incarnation;
	unsigned	 refs;		/* table or run, and waiters */
	uint32_t	 len;		/* of the chunk's content */
	uint32_t	 lo, hi;	/* [lo, hi) of buf is valid */
	uint32_t	 need;		/* the lowest hi a waiter waits for */
	uint8_t		*buf;		/* NULL until bytes arrive */
	bool		 done;
	int		 err;
};

/* A store that says nothing keeps those who ask it; the others' bytes must not
 * wait behind them. */
struct lane {
	unsigned	 active;	/* runs */
	struct run	*head;		/* those that wait, by prio */
};

struct fill {
	struct lock	 lock;
	struct cond	 cond;		/* some fetch moved on */
	struct fetch	*heads[TABLE_SIZE];
	unsigned	 queued;
	struct fetch	*unkept[UNKEPT_MAX];
	unsigned	 unkept_next;
	void		*spare[SPARE_MAX]; /* buffers: new ones cost faults */
	unsigned	 nspare, most_spare;
	unsigned	 runs;		/* of a lane at once */
	struct lane	 lanes[LANES];
};

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
};

int
fill_new(uint64_t memory, struct fill **ret)
{
	struct fill *fl = calloc(1, sizeof *fl);

	if (fl == NULL)
		return -ENOMEM;
	lock_init(&fl->lock, RANK_FILL, "fill");
	cond_init(&fl->cond);
	fl->runs = memory_share(memory, LANE_RUNS, 2);
	fl->most_spare = memory_share(memory, SPARE_MAX, 2);
	*ret = fl;
	return 0;
}

void *
fill_buf_take(struct fs *f)
{
	struct fill *fl = f->fill;
	void *p = NULL;

	lock_take(&fl->lock);
	if (fl->nspare > 0)
		p = fl->spare[--fl->nspare];
	lock_drop(&fl->lock);
	if (p != NULL)
		return p;
	/* Mapped, so that it is page-aligned, and that what a burst took is
	 * the system's again after it. */
	p = mmap(NULL, CACHE_CHUNK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED ? p : NULL;
}

static void
buf_give_locked(struct fill *fl, void *p)
{
	if (p == NULL)
		return;
	if (fl->nspare < fl->most_spare)
		fl->spare[fl->nspare++] = p;
	else
		(void)munmap(p, CACHE_CHUNK);
}

void
fill_buf_give(struct fs *f, void *p)
{
	lock_take(&f->fill->lock);
	buf_give_locked(f->fill, p);
	lock_drop(&f->fill->lock);
}

static void
fetch_unref(struct fill *fl, struct fetch *x)
{
	if (x != NULL && --x->refs == 0) {
		buf_give_locked(fl, x->buf);
		free(x);
	}
}

void
fill_free(struct fill *fl)
{
	unsigned i;

	if (fl == NULL)
		return;
	for (i = 0; i < UNKEPT_MAX; i++)
		fetch_unref(fl, fl->unkept[i]);
	while (fl->nspare > 0)
		(void)munmap(fl->spare[--fl->nspare], CACHE_CHUNK);
	cond_done(&fl->cond);
	lock_done(&fl->lock);
	free(fl);
}

/* --- the table; fl->lock held --- */

static struct fetch **
chain_of(struct fill *fl, uint64_t ino, uint64_t chunk)
{
	uint64_t h = ino * UINT64_C(0x9e3779b97f4a7c15) + chunk;

	return &fl->heads[(h ^ h >> 32) & (TABLE_SIZE - 1)];
}

static struct fetch *
find(struct fill *fl, struct bfile *b, uint64_t chunk)
{
	uint64_t ino = bfile_ino(b);
	struct fetch *x;

	for (x = *chain_of(fl, ino, chunk); x != NULL; x = x->next)
		if (x->ino == ino && x->chunk == chunk &&
		    x->incarnation == bfile_incarnation(b) &&
		    x->gen == bfile_clean_gen(b))
			break;
	return x;
}

static void
table_remove(struct fill *fl, struct fetch *x)
{
	struct fetch **p = chain_of(fl, x->ino, x->chunk);

	while (*p != NULL && *p != x)
		p = &(*p)->next;
	if (*p != NULL)
		*p = x->next;
}

static struct fetch *
table_add(struct fill *fl, struct bfile *b, uint64_t chunk, uint64_t size)
{
	struct fetch *x = calloc(1, sizeof *x);
	uint64_t left = size - chunk * CACHE_CHUNK;

	if (x == NULL)
		return NULL;
	x->ino = bfile_ino(b);
	x->chunk = chunk;
	x->incarnation = bfile_incarnation(b);
	x->gen = bfile_clean_gen(b);
	x->len = left < CACHE_CHUNK ? (uint32_t)left : CACHE_CHUNK;
	x->refs = 1;
	x->need = UINT32_MAX;
	x->next = *chain_of(fl, x->ino, chunk);
	*chain_of(fl, x->ino, chunk) = x;
	fl->queued++;
	return x;
}

/* The run is through with x. */
static void
finish(struct fill *fl, struct fetch *x, int err, bool kept)
{
	struct fetch **slot;

	lock_take(&fl->lock);
	x->done = true;
	x->err = err;
	fl->queued--;
	if (err != 0 || kept) {
		table_remove(fl, x);
		fetch_unref(fl, x);
	} else {
		slot = &fl->unkept[fl->unkept_next++ % UNKEPT_MAX];
		if (*slot != NULL) {
			table_remove(fl, *slot);
			fetch_unref(fl, *slot);
		}
		*slot = x;
	}
	cond_broadcast(&fl->cond);
	lock_drop(&fl->lock);
}

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
	struct fetch *x = r->x[i];

	counter_add(fill_bytes, x->len);
	r->x[i] = NULL;
	finish(r->f->fill, x, 0, keep(r, x, crc));
}

static void
advance(struct run *r, unsigned i, uint32_t at, uint32_t n)
{
	struct fill *fl = r->f->fill;
	struct fetch *x = r->x[i];
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
	lock_take(&fl->lock);
	if (x->hi == 0)
		x->lo = x->hi = at;
	if (x->hi == at) {
		x->hi += n;
		if (x->hi >= x->need) {
			x->need = UINT32_MAX;
			cond_broadcast(&fl->cond);
		}
	}
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

static int
run_sink(void *arg, const void *p, size_t n)
{
	return run_put(arg, p, n);
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
			err = content_fetch(r->f, e, e->ooff + (start - e->off),
			    end - start, "fill", run_sink, r);
		if (err == 0 && r->pos != end)
			err = -EIO;
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
		finish(r->f->fill, x, err, false);
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
		if (r->x[i] != NULL)
			finish(r->f->fill, r->x[i], err, false);
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
		held = l;
	}
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
		bool wanted = find(fl, b, c) == NULL && bfile_has(b, off,
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
		if (r != NULL && (r->x[r->n] = table_add(fl, b, c, size)) !=
		    NULL)
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

/* Sees to it that chunks [first, last] are here or on their way; begin: where
 * in the first one a reader waits (fetched first, if that is the only one). */
static void
start(struct fs *f, struct vnode *v, struct bfile *b, uint64_t size,
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
		r->prio = prio;
		if (workers_submit(f->io, prio, run_job, r) == 0)
			continue;
		run_end(r, -ENOMEM);
		return;
	}
}

/* --- read-ahead --- */

/* The window of a handle, after a read of [off, off+n): 0 = not sequential. */
static uint64_t
window(struct handle *h, uint64_t off, size_t n)
{
	struct vnode *v = h->v;
	uint64_t w;

	lock_take(&v->lock);
	if (off <= h->next_off + NEAR && off + NEAR >= h->next_off) {
		if (off + n > h->next_off) {
			h->window = h->window == 0 ? WINDOW_MIN :
			    h->window + n;
			if (h->window > WINDOW_MAX)
				h->window = WINDOW_MAX;
			h->next_off = off + n;
		}
	} else {
		h->window = 0;
		h->next_off = off + n;
	}
	w = h->window;
	lock_drop(&v->lock);
	return w;
}

static uint64_t
content_size(struct vnode *v)
{
	uint64_t size;

	lock_take(&v->lock);
	size = v->attr.size;
	lock_drop(&v->lock);
	return size;
}

static void
read_ahead(struct fs *f, struct handle *h, struct bfile *b, uint64_t size,
    uint64_t off, size_t n)
{
	uint64_t w = window(h, off, n), end = off + n + w;

	if (w == 0 || off + n >= size)
		return;
	if (end > size)
		end = size;
	/* In steps of half a run, so that runs are long. */
	if (end < size && (off + n) / (RUN_CHUNKS * CACHE_CHUNK / 2) ==
	    off / (RUN_CHUNKS * CACHE_CHUNK / 2) && off != 0)
		return;
	start(f, h->v, b, size, (off + n) / CACHE_CHUNK,
	    (end - 1) / CACHE_CHUNK, 0, WORK_NORMAL);
}

void
fill_note_read(struct fs *f, struct handle *h, uint64_t off, size_t n)
{
	struct bfile *b = vnode_backing(h->v);
	uint64_t size = content_size(h->v);

	if (b != NULL && n > 0 && size > 0 && !bfile_is_complete(b))
		read_ahead(f, h, b, size, off, n);
	bfile_put(b);
}

/* --- waiting --- */

/* Bytes [at, at+n) of a fetch's buffer can be used as they are. */
static bool
is_ready(const struct fetch *x, uint32_t at, size_t n)
{
	/* buf is set before these are, which are ours to read */
	return (x->done || (at >= x->lo && at + n <= x->hi)) &&
	    x->buf != NULL;
}

/* Bytes of a fetch, and over them what is dirty in the backing file: also
 * what lies beyond the content, as far as it is not a hole. */
static ssize_t
from_buffer(struct bfile *b, const struct fetch *x, void *buf, size_t n,
    uint64_t off)
{
	uint32_t at = (uint32_t)(off % CACHE_CHUNK);
	size_t have = at < x->len ? x->len - at : 0;
	int err = 0;

	if (have > n)
		have = n;
	memcpy(buf, x->buf + at, have);
	memset((char *)buf + have, 0, n - have);
	if (bfile_is_dirty(b))
		err = bfile_overlay(b, buf, n, off);
	return err != 0 ? err : (ssize_t)n;
}

/*
 * Waits for chunk's fetch until [off, off+n) can be had from it or it ended.
 * 1: *ret is it, a reference; 0: not under way (any more); -errno.
 */
static int
wait_fetch(struct fs *f, struct bfile *b, uint64_t off, size_t n,
    int64_t deadline, struct fetch **ret)
{
	struct fill *fl = f->fill;
	struct fetch *x;
	uint32_t at = (uint32_t)(off % CACHE_CHUNK);
	int r = 0;

	lock_take(&fl->lock);
	x = find(fl, b, off / CACHE_CHUNK);
	if (x == NULL)
		goto out;
	x->refs++;
	while (r == 0 && !is_ready(x, at, n) && !x->done) {
		int64_t now = clock_mono();

		if (now >= deadline)
			r = -EHOSTUNREACH;
		else if (io_interrupted != NULL &&
		    io_interrupted(io_interrupted_arg))
			r = -EINTR;
		else {
			if (at + n < x->need)
				x->need = (uint32_t)(at + n);
			(void)cond_wait_until(&fl->cond, &fl->lock,
			    now + SLICE < deadline ? now + SLICE : deadline);
		}
	}
	if (r == 0 && x->err != 0)
		r = x->err;
	if (r == 0 && is_ready(x, at, n)) {
		*ret = x;
		r = 1;
	} else
		fetch_unref(fl, x);
out:
	lock_drop(&fl->lock);
	return r;
}

/* [off, off+n) within one chunk. */
static ssize_t
read_piece(struct fs *f, struct handle *h, struct bfile *b, uint64_t size,
    void *buf, size_t n, uint64_t off, int64_t deadline)
{
	uint64_t chunk = off / CACHE_CHUNK;
	uint32_t begin = (uint32_t)(off % CACHE_CHUNK) & ~(BEGIN_ALIGN - 1);
	struct fetch *x = NULL;
	ssize_t r = 0;
	bool stale;

again:
	for (;;) {
		if (bfile_has(b, off, n) == 1)
			return bfile_read(b, buf, n, off);
		r = wait_fetch(f, b, off, n, deadline, &x);
		if (r < 0)
			return r;
		if (r == 1)
			break;
		if (bfile_has(b, off, n) == 1)
			continue;
		if (clock_mono() >= deadline)
			return -EHOSTUNREACH;
		start(f, h->v, b, size, chunk, chunk, begin, WORK_URGENT);
		counter_add(fill_waits, 1);
	}
	r = from_buffer(b, x, buf, n, off);
	stale = x->gen != bfile_clean_gen(b);
	lock_take(&f->fill->lock);
	fetch_unref(f->fill, x);
	lock_drop(&f->fill->lock);
	if (stale && r >= 0)
		goto again;
	return r;
}

bool
fill_ref(struct fs *f, struct handle *h, uint64_t off, size_t n,
    struct fill_ref *ret)
{
	struct bfile *b = vnode_backing(h->v);
	uint64_t size = content_size(h->v);
	struct fetch *x = NULL;
	bool ok = false;

	if (b == NULL || off >= size || bfile_is_dirty(b))
		goto out;
	if (n > size - off)
		n = (size_t)(size - off);
	if (off % CACHE_CHUNK + n > CACHE_CHUNK || bfile_has(b, off, n) == 1)
		goto out;
	if (window(h, off, n) > 0)
		start(f, h->v, b, size, off / CACHE_CHUNK, off / CACHE_CHUNK,
		    0, WORK_URGENT);
	read_ahead(f, h, b, size, off, n);
	if (wait_fetch(f, b, off, n, io_until(f), &x) != 1)
		goto out;
	*ret = (struct fill_ref){ .x = x, .n = n,
	    .p = x->buf + off % CACHE_CHUNK };
	ok = x->gen == bfile_clean_gen(b) && !bfile_is_dirty(b);
	if (!ok)
		fill_unref(f, ret);
out:
	bfile_put(b);
	return ok;
}

void
fill_unref(struct fs *f, struct fill_ref *r)
{
	lock_take(&f->fill->lock);
	fetch_unref(f->fill, r->x);
	lock_drop(&f->fill->lock);
}

ssize_t
fill_read(struct fs *f, struct handle *h, struct bfile *b, void *buf, size_t n,
    uint64_t off)
{
	uint64_t size = content_size(h->v);
	int64_t deadline = io_until(f);
	size_t done = 0;
	ssize_t r = 0;

	if (off + n <= size && window(h, off, n) > 0)
		start(f, h->v, b, size, off / CACHE_CHUNK,
		    (off + n - 1) / CACHE_CHUNK, 0, WORK_URGENT);
	read_ahead(f, h, b, size, off, n);
	while (done < n) {
		uint64_t at = off + done;
		size_t take = CACHE_CHUNK - at % CACHE_CHUNK;

		if (take > n - done)
			take = n - done;
		r = read_piece(f, h, b, size, (char *)buf + done, take, at,
		    deadline);
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	/* a short read would be the end of the file to the kernel */
	return r < 0 ? r : (ssize_t)done;
}

/* --- whole files --- */

struct whole {
	struct fs	*f;
	struct vnode	*v;
	struct bfile	*b;
	int		(*done)(void *arg, uint64_t bytes);
	void		*arg;
};

static int
fill_large(struct whole *w, uint64_t size)
{
	uint64_t chunk, last = (size - 1) / CACHE_CHUNK, ahead;
	struct handle h = { .v = w->v };
	char byte;
	ssize_t r;

	for (chunk = 0; chunk <= last; chunk++) {
		uint64_t off = chunk * CACHE_CHUNK;
		uint64_t len = size - off < CACHE_CHUNK ? size - off :
		    CACHE_CHUNK;

		ahead = chunk + 4 * RUN_CHUNKS;
		if (chunk % RUN_CHUNKS == 0)
			start(w->f, w->v, w->b, size, chunk,
			    ahead < last ? ahead : last, 0, WORK_BACKGROUND);
		while (bfile_has(w->b, off, len) != 1) {
			r = read_piece(w->f, &h, w->b, size, &byte, 1,
			    off + len - 1,
			    clock_mono() + 2 * w->f->opt.io_timeout);
			if (r < 0)
				return (int)r;
			if (bfile_has(w->b, off, len) != 1 &&
			    cache_room(w->f->cache, len, false) != 0)
				return -ENOSPC;
		}
		if (w->done != NULL && w->done(w->arg, len) != 0)
			return -ECANCELED;
	}
	return 0;
}

static int
fill_whole(struct whole *w, bool verify)
{
	struct fs *f = w->f;
	int err, tries;

	err = content_small_enter(f, w->v, false);
	if (err == -EFBIG) {
		err = 0;
		if (w->v->b == NULL) {
			err = bfile_make(f->cache, w->v->ino, w->v->attr.size,
			    &w->b);
			if (err == 0)
				vnode_set_backing(w->v, w->b);
		}
		w->b = vnode_backing(w->v);
	}
	vnode_leave(w->v);
	if (err != 0 || w->b == NULL) {
		if (err == 0 && w->done != NULL)
			(void)w->done(w->arg, w->v->attr.size);
		return err;
	}
	for (tries = 0; tries < 3; tries++) {
		if (content_size(w->v) > 0 && !bfile_is_complete(w->b))
			err = fill_large(w, content_size(w->v));
		if (err != 0 || !verify)
			return err;
		err = bfile_verify(w->b);
		if (err != -EUCLEAN)
			return err;
		err = 0;	/* damaged chunks are absent now: again */
	}
	return -EUCLEAN;
}

/* A small file's row, read back from disk. */
static int
verify_small(struct fs *f, struct vnode *v)
{
	struct extents *x = NULL;
	int err;

	err = content_extents(f, v, 0, META_SMALL_MAX, &x);
	if (err == 0 && x->n == 1 && x->v[0].off == 0) {
		struct small_id id = { v->ino, x->v[0].object, x->v[0].ooff,
		    x->v[0].len };

		err = small_verify(f->cache, &id);
	}
	free(x);
	return err;
}

int
io_fill_whole(struct fs *f, uint64_t ino, bool verify,
    int (*done)(void *arg, uint64_t bytes), void *arg, struct why *why)
{
	struct whole w = { .f = f, .done = done, .arg = arg };
	int err, tries;

	err = vnode_get(f, ino, &w.v);
	if (err == 0)
		err = vnode_load(f, w.v);
	for (tries = 0; err == 0 && tries < 3; tries++) {
		err = fill_whole(&w, verify);
		if (err != 0 || w.b != NULL || !verify)
			break;
		err = verify_small(f, w.v);
		if (err != -EUCLEAN && err != -ENOENT)
			break;
		vnode_enter(w.v);	/* fetched afresh */
		w.v->have_bytes = false;
		vnode_leave(w.v);
		err = 0;
	}
	bfile_put(w.b);
	vnode_put(f, w.v);
	if (err != 0)
		why_set(why, err, "inode %llu could not be fetched: %s",
		    (unsigned long long)ino, strerror(-err));
	return err;
}

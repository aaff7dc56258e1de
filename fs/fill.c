/* See fill.h. */
#include "fs/fill_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/counters.h"

#define BEGIN_ALIGN	(128u << 10)	/* where in a chunk a miss begins */
#define SLICE		(250 * NSEC_PER_MSEC)
#define RECENT_AGE	(2 * NSEC_PER_SEC)	/* nobody comes for it */
/* While what came is not read as fast: it would go to the disk and back. */
#define UNREAD_WINDOW	((uint64_t)8 << 20)

int
fill_new(uint64_t memory, struct fill **ret)
{
	struct fill *fl = calloc(1, sizeof *fl);

	if (fl == NULL)
		return -ENOMEM;
	lock_init(&fl->lock, RANK_FILL, "fill");
	fl->runs = memory_share(memory, LANE_RUNS, 2);
	memory = memory_beyond(memory);
	fl->most_spare = memory_share(memory, SPARE_MAX, 2);
	fl->most_recent = memory_share(memory, RECENT_MAX, 0);
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
	if (fl->nspare < fl->unused)
		fl->unused = fl->nspare;
	lock_drop(&fl->lock);
	if (p != NULL)
		return p;
	/* Mapped, so that it is page-aligned, and that what a burst took is
	 * the system's again after it (fill_trim). */
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

void
fill_fetch_unref(struct fill *fl, struct fetch *x)
{
	if (x != NULL && --x->refs == 0) {
		buf_give_locked(fl, x->buf);
		cond_done(&x->cond);
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
		fill_fetch_unref(fl, fl->unkept[i]);
	for (i = 0; i < RECENT_MAX; i++)
		fill_fetch_unref(fl, fl->recent[i].x);
	while (fl->nspare > 0)
		(void)munmap(fl->spare[--fl->nspare], CACHE_CHUNK);
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

static bool
is_of(const struct fetch *x, struct bfile *b, uint64_t chunk)
{
	return x->chunk == chunk && x->ino == bfile_ino(b) &&
	    x->incarnation == bfile_incarnation(b) &&
	    x->gen == bfile_clean_gen(b);
}

struct fetch *
fill_find(struct fill *fl, struct bfile *b, uint64_t chunk)
{
	struct fetch *x;

	for (x = *chain_of(fl, bfile_ino(b), chunk); x != NULL; x = x->next)
		if (is_of(x, b, chunk))
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

struct fetch *
fill_fetch_add(struct fill *fl, struct bfile *b, uint64_t chunk, uint64_t size)
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
	atomic_init(&x->need, UINT32_MAX);
	cond_init(&x->cond);
	x->next = *chain_of(fl, x->ino, chunk);
	*chain_of(fl, x->ino, chunk) = x;
	fl->queued++;
	return x;
}

/* --- what was kept a moment ago; fl->lock held --- */

/* A read-ahead is a moment ahead, and from here its bytes need not come back
 * from the disk.  Those that wait longest are read next: they stay, and what
 * finds no place goes, until they are old. */
static void
recent_drop(struct fill *fl, struct recent *e)
{
	fill_fetch_unref(fl, e->x);
	e->x = NULL;
	atomic_fetch_sub(&fl->nrecent, 1);
}

static void
recent_add(struct fill *fl, struct fetch *x)
{
	int64_t now = clock_mono();
	struct recent *e, *place = NULL;
	unsigned i;

	for (i = 0; i < fl->most_recent && place == NULL; i++) {
		e = &fl->recent[i];
		if (e->x != NULL && e->came < now - RECENT_AGE)
			recent_drop(fl, e);
		if (e->x == NULL)
			place = e;
	}
	if (place == NULL || x->buf == NULL || x->seen) {
		fill_fetch_unref(fl, x);
		return;
	}
	place->x = x;
	place->came = now;
	atomic_fetch_add(&fl->nrecent, 1);
}

/* A reader has its last byte: it will not come again. */
static void
seen(struct fill *fl, struct fetch *x)
{
	unsigned i;

	x->seen = true;
	if (atomic_load(&fl->nrecent) == 0)
		return;
	for (i = 0; i < fl->most_recent; i++)
		if (fl->recent[i].x == x)
			recent_drop(fl, &fl->recent[i]);
}

static struct recent *
recent_find(struct fill *fl, struct bfile *b, uint64_t chunk)
{
	unsigned i;

	for (i = 0; i < fl->most_recent; i++)
		if (fl->recent[i].x != NULL && is_of(fl->recent[i].x, b, chunk))
			return &fl->recent[i];
	return NULL;
}

void
fill_fetch_end(struct fill *fl, struct fetch *x, int err, bool kept,
    enum work_prio prio)
{
	struct fetch **slot;

	lock_take(&fl->lock);
	x->done = true;
	x->err = err;
	fl->queued--;
	cond_broadcast(&x->cond);
	if (err != 0 || kept) {
		table_remove(fl, x);
		/* what nobody waits for is not read at once either */
		if (err == 0 && prio != WORK_BACKGROUND)
			recent_add(fl, x);
		else
			fill_fetch_unref(fl, x);
	} else {
		slot = &fl->unkept[fl->unkept_next++ % UNKEPT_MAX];
		if (*slot != NULL) {
			table_remove(fl, *slot);
			fill_fetch_unref(fl, *slot);
		}
		*slot = x;
	}
	lock_drop(&fl->lock);
}

/* --- read-ahead --- */

/* How far ahead is fetched, and in what steps. */
struct reach { uint64_t window, step; bool jumps, whole; };

/* Of a handle, after a read of [off, off+n); window 0: not sequential. */
static struct reach
reach(struct fs *f, struct handle *h, uint64_t off, size_t n, bool missed)
{
	struct fill *fl = f->fill;
	struct vnode *v = h->v;
	uint32_t lane = atomic_load(&v->lane);
	struct window_link link = { 0 };
	struct reach r;
	uint64_t most;

	if (lane != 0) {
		lock_take(&fl->lock);
		link = fl->lanes[lane - 1].link;
		lock_drop(&fl->lock);
	}
	most = window_most(&link);
	if (most > (uint64_t)fl->runs * RUN_CHUNKS * CACHE_CHUNK)
		most = (uint64_t)fl->runs * RUN_CHUNKS * CACHE_CHUNK;
	if (most > UNREAD_WINDOW && fl->most_recent > 0 &&
	    atomic_load(&fl->nrecent) * 4 >= fl->most_recent * 3 &&
	    !window_is_far(&link))
		most = UNREAD_WINDOW;
	lock_take(&v->lock);
	r.jumps = missed && window_jump(&v->jumps, &h->streams, off, n,
	    v->attr.size);
	r.window = window_read(&h->streams, off, n, most);
	r.whole = v->rest.on;
	lock_drop(&v->lock);
	r.step = window_step(&link, r.window);
	return r;
}

uint64_t
fill_size(struct vnode *v)
{
	uint64_t size;

	lock_take(&v->lock);
	size = v->attr.size;
	lock_drop(&v->lock);
	return size;
}

/* A reader waits for [off, end), and perhaps for more than a chunk. */
static void
start_wanted(struct fs *f, struct handle *h, struct bfile *b, uint64_t size,
    uint64_t off, uint64_t end, const struct reach *r)
{
	uint64_t c = off / CACHE_CHUNK, last = (end - 1) / CACHE_CHUNK;
	uint64_t most = (size - 1) / CACHE_CHUNK, to;

	if (r->whole)		/* what comes after it, too (fill_rest.c) */
		for (; c <= last; c = to + 1) {
			to = c | (RUN_CHUNKS - 1);
			fill_start(f, h->v, b, size, c, to < most ? to : most,
			    0, WORK_URGENT);
		}
	else if (r->window > 0)
		fill_start(f, h->v, b, size, c, last, 0, WORK_URGENT);
}

/* After that read, in whole steps. */
static void
read_ahead(struct fs *f, struct handle *h, struct bfile *b, uint64_t size,
    uint64_t off, size_t n, const struct reach *r)
{
	uint64_t at = off + n, end = at + r->window;

	if (r->jumps)
		fill_rest_start(f, h->v, b, false);
	if (r->window == 0 || at >= size)
		return;
	end = end > size ? size : end - end % r->step;
	if (end < size && at / r->step == off / r->step && off != 0)
		return;
	fill_start(f, h->v, b, size, at / CACHE_CHUNK, (end - 1) / CACHE_CHUNK,
	    0, WORK_NORMAL);
}

void
fill_note_read(struct fs *f, struct handle *h, uint64_t off, size_t n)
{
	struct bfile *b = vnode_backing(h->v);
	uint64_t size = fill_size(h->v);
	struct reach r;

	if (b != NULL && n > 0 && size > 0 && !bfile_is_complete(b)) {
		r = reach(f, h, off, n, false);
		read_ahead(f, h, b, size, off, n, &r);
	}
	bfile_put(b);
}

/* --- waiting --- */

/* Bytes [at, at+n) of a fetch's buffer can be used as they are. */
static bool
is_ready(const struct fetch *x, uint32_t at, size_t n)
{
	uint32_t hi = atomic_load(&x->hi);	/* buf and lo are set before */

	return (x->done || (hi > 0 && at >= x->lo && at + n <= hi)) &&
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
	x = fill_find(fl, b, off / CACHE_CHUNK);
	if (x == NULL)
		goto out;
	x->refs++;
	while (r == 0 && !is_ready(x, at, n) && !x->done) {
		int64_t now = clock_mono();

		if (at + n < atomic_load(&x->need)) {
			atomic_store(&x->need, (uint32_t)(at + n));
			continue;	/* looked at again: advance */
		}
		if (now >= deadline)
			r = -EHOSTUNREACH;
		else if (io_interrupted != NULL &&
		    io_interrupted(io_interrupted_arg))
			r = -EINTR;
		else
			(void)cond_wait_until(&x->cond, &fl->lock,
			    now + SLICE < deadline ? now + SLICE : deadline);
	}
	if (r == 0 && x->err != 0)
		r = x->err;
	if (r == 0 && is_ready(x, at, n)) {
		*ret = x;
		r = 1;
		if (at + n >= x->len)
			seen(fl, x);
	} else
		fill_fetch_unref(fl, x);
out:
	lock_drop(&fl->lock);
	return r;
}

/* From the backing file, if it is here. */
static bool
read_here(struct bfile *b, void *buf, size_t n, uint64_t off, ssize_t *ret)
{
	unsigned turn = bfile_read_begin(b);
	bool here = bfile_has(b, off, n) == 1;

	if (here)
		*ret = bfile_read(b, buf, n, off);
	bfile_read_end(b, turn);
	return here;
}

ssize_t
fill_read_piece(struct fs *f, struct handle *h, struct bfile *b, uint64_t size,
    void *buf, size_t n, uint64_t off, int64_t deadline)
{
	uint64_t chunk = off / CACHE_CHUNK;
	uint32_t begin = (uint32_t)(off % CACHE_CHUNK) & ~(BEGIN_ALIGN - 1);
	struct fetch *x = NULL;
	ssize_t r = 0;
	bool stale;

again:
	for (;;) {
		if (read_here(b, buf, n, off, &r))
			return r;
		r = wait_fetch(f, b, off, n, deadline, &x);
		if (r < 0)
			return r;
		if (r == 1)
			break;
		if (bfile_has(b, off, n) == 1)
			continue;
		if (clock_mono() >= deadline)
			return -EHOSTUNREACH;
		fill_start(f, h->v, b, size, chunk, chunk, begin, WORK_URGENT);
		counter_add(fill_waits, 1);
	}
	r = from_buffer(b, x, buf, n, off);
	stale = x->gen != bfile_clean_gen(b);
	lock_take(&f->fill->lock);
	fill_fetch_unref(f->fill, x);
	lock_drop(&f->fill->lock);
	if (stale && r >= 0)
		goto again;
	return r;
}

/* Adds n bytes at off, which x has. */
static void
ref_add(struct fill_ref *r, struct fetch *x, uint64_t off, size_t n)
{
	r->x[r->n] = x;
	r->v[r->n].iov_base = x->buf + off % CACHE_CHUNK;
	r->v[r->n].iov_len = n;
	r->n++;
}

/* The part of [off, end) that lies in off's chunk. */
static size_t
within(uint64_t off, uint64_t end)
{
	size_t n = CACHE_CHUNK - off % CACHE_CHUNK;

	return n < end - off ? n : (size_t)(end - off);
}

/* Waits for what is not kept yet, and so in a buffer. */
static bool
ref_wait(struct fs *f, struct bfile *b, uint64_t off, uint64_t end,
    struct fill_ref *r)
{
	int64_t until = io_until(f);
	struct fetch *x;
	size_t n;

	for (; off < end; off += n) {
		n = within(off, end);
		if (wait_fetch(f, b, off, n, until, &x) != 1)
			return false;
		ref_add(r, x, off, n);
		if (x->gen != bfile_clean_gen(b))
			return false;
	}
	return !bfile_is_dirty(b);
}

bool
fill_ref(struct fs *f, struct handle *h, uint64_t off, size_t n,
    struct fill_ref *ret)
{
	struct bfile *b = vnode_backing(h->v);
	uint64_t size = fill_size(h->v), end = off + n;
	struct reach r;
	bool ok = false;

	ret->n = 0;
	if (end > size)
		end = size;
	if (b == NULL || off >= end || bfile_is_dirty(b) ||
	    (end - 1) / CACHE_CHUNK - off / CACHE_CHUNK >= FILL_REF_MAX ||
	    bfile_has(b, off, within(off, end)) == 1)
		goto out;
	n = (size_t)(end - off);
	r = reach(f, h, off, n, true);
	start_wanted(f, h, b, size, off, end, &r);
	read_ahead(f, h, b, size, off, n, &r);
	ok = ref_wait(f, b, off, end, ret);
	if (!ok)
		fill_unref(f, ret);
out:
	bfile_put(b);
	return ok;
}

/* --- what was kept a moment ago --- */

bool
fill_recent(struct fs *f, struct bfile *b, uint64_t off, size_t n,
    struct fill_ref *ret)
{
	struct fill *fl = f->fill;
	uint64_t end = off + n, at;
	struct recent *e = NULL;
	bool ok;

	ret->n = 0;
	if (atomic_load(&fl->nrecent) == 0 || n == 0 || bfile_is_dirty(b) ||
	    (end - 1) / CACHE_CHUNK - off / CACHE_CHUNK >= FILL_REF_MAX)
		return false;
	lock_take(&fl->lock);
	for (at = off; at < end; at += within(at, end)) {
		e = recent_find(fl, b, at / CACHE_CHUNK);
		if (e == NULL || at % CACHE_CHUNK + within(at, end) >
		    e->x->len)
			break;
		e->x->refs++;
		ref_add(ret, e->x, at, within(at, end));
		if (at % CACHE_CHUNK + within(at, end) == e->x->len)
			seen(fl, e->x);
	}
	lock_drop(&fl->lock);
	ok = at >= end && !bfile_is_dirty(b);
	if (!ok)
		fill_unref(f, ret);
	return ok;
}

void
fill_trim(struct fs *f)
{
	struct fill *fl = f->fill;
	int64_t old = clock_mono() - RECENT_AGE;
	void *given[SPARE_MAX];
	unsigned i, n = 0;

	lock_take(&fl->lock);
	for (i = 0; i < fl->most_recent; i++)
		if (fl->recent[i].x != NULL && fl->recent[i].came < old)
			recent_drop(fl, &fl->recent[i]);
	for (; fl->unused > 0; fl->unused--)
		given[n++] = fl->spare[--fl->nspare];
	fl->unused = fl->nspare;
	lock_drop(&fl->lock);
	while (n > 0)			/* takes long: not with the lock */
		(void)munmap(given[--n], CACHE_CHUNK);
}

void
fill_unref(struct fs *f, struct fill_ref *r)
{
	lock_take(&f->fill->lock);
	while (r->n > 0)
		fill_fetch_unref(f->fill, r->x[--r->n]);
	lock_drop(&f->fill->lock);
}

/* --- reading --- */

ssize_t
fill_read(struct fs *f, struct handle *h, struct bfile *b, void *buf, size_t n,
    uint64_t off)
{
	uint64_t size = fill_size(h->v);
	int64_t deadline = io_until(f);
	struct reach far = reach(f, h, off, n, true);
	size_t done = 0;
	ssize_t r = 0;

	if (off + n <= size && n > 0)
		start_wanted(f, h, b, size, off, off + n, &far);
	read_ahead(f, h, b, size, off, n, &far);
	while (done < n) {
		uint64_t at = off + done;
		size_t take = CACHE_CHUNK - at % CACHE_CHUNK;

		if (take > n - done)
			take = n - done;
		r = fill_read_piece(f, h, b, size, (char *)buf + done, take, at,
		    deadline);
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	/* a short read would be the end of the file to the kernel */
	return r < 0 ? r : (ssize_t)done;
}

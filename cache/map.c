/*
 * map: present bits and checksums of one file in memory, and what is here.
 *
 * While a file is in the table its whole map is in memory (1.1 KiB for 256
 * MiB of content), so that a read asks without SQL.  Pages go to the index
 * lazily and many in one commit (K1: it may lag the file).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sys.h"
#include "cache/map.h"

#define SAVE_GROUP	64	/* pages a transaction */

static bool
bit_get(const uint8_t *p, unsigned i)
{
	return p[i / 8] >> (i % 8) & 1;
}

static void
bit_set(uint8_t *p, unsigned i, bool on)
{
	if (on)
		p[i / 8] |= 1u << i % 8;
	else
		p[i / 8] &= ~(1u << i % 8);
}

/* --- exclusion of byte ranges --- */

static bool
excludes(enum busy_kind a, enum busy_kind b)
{
	return a == b ? a != BUSY_WRITE : a == BUSY_WRITE || b == BUSY_WRITE;
}

bool
busy_try(struct bfile *b, struct busy *e)
{
	struct busy *o;

	for (o = b->busy; o != NULL; o = o->next)
		if (o->off < e->end && e->off < o->end &&
		    excludes(o->kind, e->kind))
			return false;
	e->next = b->busy;
	b->busy = e;
	return true;
}

void
busy_enter(struct bfile *b, struct busy *e)
{
	while (!busy_try(b, e))
		cond_wait(&b->cond, &b->lock);
}

void
busy_leave(struct bfile *b, struct busy *e)
{
	struct busy **p = &b->busy;

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	cond_broadcast(&b->cond);
}

/* --- chunks; the lock is held --- */

static struct page *
page_of(const struct bfile *b, uint64_t k)
{
	return k / PAGE_CHUNKS < b->npages ? b->pages[k / PAGE_CHUNKS] : NULL;
}

int
chunk_reserve(struct bfile *b, uint64_t k)
{
	uint64_t i = k / PAGE_CHUNKS;
	struct page **v;
	unsigned n;

	if (i >= b->npages) {
		n = b->npages ? b->npages : 1;
		while (n <= i)
			n *= 2;
		v = realloc(b->pages, n * sizeof(struct page *));
		if (v == NULL)
			return -ENOMEM;
		memset(v + b->npages, 0,
		    (n - b->npages) * sizeof(struct page *));
		b->pages = v;
		b->npages = n;
	}
	if (b->pages[i] == NULL)
		b->pages[i] = calloc(1, sizeof(struct page));
	return b->pages[i] ? 0 : -ENOMEM;
}

bool
chunk_present(const struct bfile *b, uint64_t k)
{
	struct page *p = page_of(b, k);

	return p != NULL && bit_get(p->present, k % PAGE_CHUNKS);
}

static void
page_dirty(struct bfile *b, struct page *p)
{
	p->save = true;
	atomic_store(&b->need_save, true);
	if (!atomic_exchange(&b->c->saving, true))
		cache_kick(b->c);
}

static bool
is_unverified(const struct page *p, unsigned i)
{
	return bit_get(p->present, i) && !bit_get(p->verified, i);
}

void
chunk_set(struct bfile *b, uint64_t k, bool crcok, uint32_t crc)
{
	struct page *p = page_of(b, k);
	unsigned i = k % PAGE_CHUNKS;

	if (!bit_get(p->present, i))
		b->npresent++;
	else if (!bit_get(p->verified, i))
		b->nunver--;
	bit_set(p->present, i, true);
	bit_set(p->verified, i, true);
	bit_set(p->crcok, i, crcok);
	p->crc[i] = crcok ? crc : 0;
	page_dirty(b, p);
}

void
chunk_clear(struct bfile *b, uint64_t k)
{
	struct page *p = page_of(b, k);
	unsigned i = k % PAGE_CHUNKS;

	if (p == NULL || !bit_get(p->present, i))
		return;
	b->npresent--;
	if (!bit_get(p->verified, i))
		b->nunver--;
	bit_set(p->present, i, false);
	bit_set(p->crcok, i, false);
	bit_set(p->verified, i, false);
	page_dirty(b, p);
}

void
chunk_stale(struct bfile *b, uint64_t k)
{
	struct page *p = page_of(b, k);

	if (p != NULL)
		bit_set(p->crcok, k % PAGE_CHUNKS, false);
}

bool
chunk_crc(const struct bfile *b, uint64_t k, uint32_t *ret)
{
	struct page *p = page_of(b, k);

	if (p == NULL || !bit_get(p->crcok, k % PAGE_CHUNKS))
		return false;
	*ret = p->crc[k % PAGE_CHUNKS];
	return true;
}

bool
chunk_is_sound(const struct bfile *b, uint64_t k)
{
	struct page *p = page_of(b, k);

	return p != NULL && bit_get(p->present, k % PAGE_CHUNKS) &&
	    bit_get(p->verified, k % PAGE_CHUNKS);
}

bool
chunk_is_here(const struct bfile *b, uint64_t k)
{
	uint64_t off = k * CACHE_CHUNK, end = off + CACHE_CHUNK;
	uint64_t size = atomic_load(&b->size);

	if (end > size)
		end = size;
	return chunk_is_sound(b, k) || off >= end ||
	    dset_covers(&b->dirty, off, end);
}

void
map_pages_drop(struct bfile *b)
{
	unsigned i;

	for (i = 0; i < b->npages; i++)
		free(b->pages[i]);
	free(b->pages);
	b->pages = NULL;
	b->npages = 0;
	b->npresent = b->nunver = 0;
}

/* --- the state of the whole --- */

void
map_update(struct bfile *b)
{
	uint64_t size = atomic_load(&b->size);
	const struct ival *v = b->dirty.v;

	atomic_store(&b->open_all, b->dirty.n == 1 && v[0].off == 0 &&
	    v[0].end == INF && v[0].seq == 0);
	atomic_store(&b->all_here, dset_covers(&b->dirty, 0, size) ||
	    (b->npresent >= chunks_of(size) && b->nunver == 0));
}

/* A bfile_closed that ran in some transaction meanwhile takes effect. */
void
map_settle(struct bfile *b)
{
	uint64_t seq;

	if (atomic_load(&b->close_seq) == 0)
		return;
	seq = atomic_exchange(&b->close_seq, 0);
	if (seq == 0)
		return;
	/* what an upload has of a file written unseen is of a copy: none of
	 * it is settled with that */
	dset_relabel(&b->dirty, seq, b->frozen,
	    atomic_load(&b->unseen) ? 0 : b->nfrozen);
	map_update(b);
}

void
map_account(struct bfile *b)
{
	uint64_t used, dirty;
	struct stat st;

	if (sys.fstat(b->fd, &st))
		return;
	lock_take(&b->lock);
	dirty = atomic_load(&b->gone) ? 0 :
	    dset_bytes(&b->dirty, atomic_load(&b->size));
	used = st.st_blocks * UINT64_C(512);
	used = atomic_exchange(&b->used, used) - used;
	dirty = atomic_exchange(&b->dirty_bytes, dirty) - dirty;
	lock_drop(&b->lock);
	space_add(b->c, -(int64_t)used, -(int64_t)dirty);
}

void
bfile_account(struct bfile *b)
{
	(void)bfile_size(b);
	map_account(b);
}

static int
load_page(void *arg, uint64_t page, const struct page *p)
{
	struct bfile *b = arg;
	uint64_t nchunks = chunks_of(atomic_load(&b->size)), k;
	struct page *d;
	unsigned i;
	int err;

	if (page * PAGE_CHUNKS >= nchunks)
		return 0;
	err = chunk_reserve(b, page * PAGE_CHUNKS);
	if (err)
		return err;
	d = b->pages[page];
	*d = *p;
	for (i = 0; i < PAGE_CHUNKS; i++) {
		k = page * PAGE_CHUNKS + i;
		if (k >= nchunks)
			bit_set(d->present, i, false);
		if (!bit_get(d->present, i))
			continue;
		b->npresent++;
		b->nunver += is_unverified(d, i);
	}
	return 0;
}

/* Did somebody else change the backing file between the last close and now?
 * Its checksums are then looked at before it is used.  Not known of bytes that
 * are not stored yet: they have none. */
static bool
is_altered(const struct bfile *b)
{
	const struct cache *c = b->c;
	struct stat st;
	int64_t t;

	if (c->closed_at == 0 || sys.fstat(b->fd, &st) != 0)
		return false;
	t = st.st_ctim.tv_sec * NSEC_PER_SEC + st.st_ctim.tv_nsec;
	return t > c->closed_at && t < c->opened_at;
}

int
map_load(struct sqc *q, const struct index_file *f, struct bfile *b)
{
	struct sqs *s;
	int err, r;

	err = index_dirty_load(q, f, &b->dirty);
	if (!err)
		err = index_pages_load(q, is_altered(b) ? UINT64_MAX :
		    b->c->epoch, f->ino, load_page, b);
	if (err)
		return err;
	s = sq_prep(q, "SELECT seq FROM c_frozen WHERE ino=?1"
	    " ORDER BY seq DESC LIMIT 8");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, f->ino);
	while ((r = sqs_step(s)) == 1 && b->nfrozen < FROZEN_MAX)
		b->frozen[b->nfrozen++] = sqs_col_int(s, 0);
	sqs_reset(s);
	if (r >= 0)
		map_update(b);
	return r < 0 ? r : 0;
}

/* --- saving --- */

struct save {
	struct bfile	*b;
	uint64_t	 page, used, atime, res;
	bool		 has_page, verified;
	struct page	 p;
	struct busy	 busy;
};
struct saves { struct cache *c; struct save *v; unsigned n; };

static int
save_tx(struct sqc *q, void *arg)
{
	struct saves *a = arg;
	struct save *s;
	struct sqs *st;
	unsigned i;
	int err = 0;

	for (i = 0; !err && i < a->n; i++) {
		s = &a->v[i];
		if (!index_is(q, s->b->ino, s->b->inc))
			continue;
		if (s->has_page) {
			err = index_page_put(q, s->b->ino, s->page,
			    s->verified ? a->c->epoch : 0, &s->p);
			continue;
		}
		st = sq_prep(q, "UPDATE c_file SET used=?2, atime=?3"
		    " WHERE ino=?1");
		if (st == NULL)
			return sq_err(q);
		sqs_int(st, 1, s->b->ino);
		sqs_int(st, 2, s->used);
		sqs_int(st, 3, s->atime);
		err = sqs_run(st);
		if (!err && s->b->pinned)
			err = pinned_save(q, s->b->ino, s->res);
	}
	return err;
}

static int
save_flush(struct saves *a)
{
	struct save *s;
	unsigned i;
	int err = a->n > 0 ? sq_write(a->c->index, save_tx, a) : 0;

	for (i = 0; i < a->n; i++) {
		s = &a->v[i];
		lock_take(&s->b->lock);
		if (s->has_page)
			busy_leave(s->b, &s->busy);
		if (err) {
			if (s->has_page && s->page < s->b->npages &&
			    s->b->pages[s->page] != NULL)
				s->b->pages[s->page]->save = true;
			atomic_store(&s->b->need_save, true);
			atomic_store(&a->c->saving, true);
		}
		lock_drop(&s->b->lock);
	}
	a->n = 0;
	return err;
}

/* With the lock: this page, unless it is being written. */
static bool
save_page(struct saves *a, struct bfile *b, unsigned i, bool wait)
{
	struct save *s = &a->v[a->n];
	unsigned k;

	memset(s, 0, sizeof(*s));
	s->b = b;
	s->page = i;
	s->busy = (struct busy){ .off = i * PAGE_SPAN,
	    .end = (i + 1) * PAGE_SPAN, .kind = BUSY_SAVE };
	if (wait)
		busy_enter(b, &s->busy);
	else if (!busy_try(b, &s->busy))
		return false;
	s->has_page = true;
	a->n++;
	if (i < b->npages && b->pages[i] != NULL) {
		b->pages[i]->save = false;
		s->p = *b->pages[i];
	}
	s->verified = true;
	for (k = 0; k < PAGE_CHUNKS; k++)
		s->verified = s->verified && !is_unverified(&s->p, k);
	return true;
}

static int
save_file(struct saves *a, struct bfile *b, bool wait)
{
	struct save *s;
	unsigned i;
	int err = 0;

	atomic_store(&b->need_save, false);
	lock_take(&b->lock);
	map_settle(b);
	for (i = 0; !err && i < b->npages; i++) {
		if (b->pages[i] == NULL || !b->pages[i]->save)
			continue;
		if (!save_page(a, b, i, wait)) {
			atomic_store(&b->need_save, true);
			atomic_store(&b->c->saving, true);
		}
		if (a->n == SAVE_GROUP) {
			lock_drop(&b->lock);
			err = save_flush(a);
			lock_take(&b->lock);
		}
	}
	s = &a->v[a->n++];
	memset(s, 0, sizeof(*s));
	s->b = b;
	s->used = atomic_load(&b->used);
	s->atime = atomic_load(&b->atime);
	s->res = b->res;
	lock_drop(&b->lock);
	if (!err && a->n == SAVE_GROUP)
		err = save_flush(a);
	return err;
}

int
map_save(struct cache *c, struct bfile **v, unsigned n, bool wait)
{
	struct saves a = { .c = c };
	unsigned i;
	int err = 0, e;

	a.v = malloc((SAVE_GROUP + 1) * sizeof(*a.v));
	if (a.v == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		if (!err && v[i]->ino != 0 && !atomic_load(&v[i]->gone))
			err = save_file(&a, v[i], wait);
	e = save_flush(&a);
	free(a.v);
	return err ? err : e;
}

static bool
needs_save(const struct bfile *b)
{
	return atomic_load(&b->need_save);
}

void
map_save_all(struct cache *c)
{
	struct bfile *v[SAVE_GROUP];
	unsigned n, h = 0;
	int err = 0;

	atomic_store(&c->saving, false);
	while (!err && h < TABLE_SIZE) {
		n = files_take(c, needs_save, &h, v, SAVE_GROUP);
		if (n > 0)
			err = map_save(c, v, n, false);
		files_give(c, v, n);
	}
	if (err)
		log_warn("cannot save the cache's index", "err=%d", err);
}

/* --- what is here --- */

/* Compares an unverified chunk with its checksum (C4). */
static void
chunk_check(struct bfile *b, uint64_t k)
{
	struct busy e = { .off = k * CACHE_CHUNK,
	    .end = (k + 1) * CACHE_CHUNK, .kind = BUSY_HOLD };
	struct page *p;
	uint64_t size;
	uint32_t crc = 0;
	bool bad = false, read = false;
	size_t n;
	void *buf;

	buf = malloc(CACHE_CHUNK);
	lock_take(&b->lock);
	busy_enter(b, &e);
	p = page_of(b, k);
	if (p == NULL || !is_unverified(p, k % PAGE_CHUNKS))
		goto out;
	size = atomic_load(&b->size);
	n = size > e.off ? size - e.off : 0;
	if (n > CACHE_CHUNK)
		n = CACHE_CHUNK;
	bad = true;
	if (chunk_crc(b, k, &crc) && buf != NULL) {
		lock_drop(&b->lock);
		read = true;
		bad = sys_pread_all(b->fd, buf, n, e.off) != 0 ||
		    crc32c(0, buf, n) != crc;
		lock_take(&b->lock);
	}
	if (bad)
		chunk_clear(b, k);
	else
		chunk_set(b, k, true, crc);
	map_update(b);
out:
	busy_leave(b, &e);
	lock_drop(&b->lock);
	free(buf);
	if (bad && read) {
		counter_add(checksum_errors, 1);
		log_warn("damaged chunk in the cache; it will be fetched again",
		    "ino=%llu chunk=%llu", (unsigned long long)b->ino,
		    (unsigned long long)k);
	}
}

/* The chunk in which a change begins or ends: what is not changed of it is
 * compared while that can be. */
static void
check_edge(struct bfile *b, uint64_t at)
{
	struct page *p;
	uint64_t k = at / CACHE_CHUNK;
	bool doubt;

	if (at % CACHE_CHUNK == 0)
		return;
	lock_take(&b->lock);
	p = b->nunver > 0 ? page_of(b, k) : NULL;
	doubt = p != NULL && is_unverified(p, k % PAGE_CHUNKS);
	lock_drop(&b->lock);
	if (doubt)
		chunk_check(b, k);
}

void
map_check_edges(struct bfile *b, uint64_t off, uint64_t end)
{
	check_edge(b, off);
	check_edge(b, end);
}

/* Bytes [off, end) of one chunk: 1 here, 0 not, -1 to be checked first. */
static int
part_here(const struct bfile *b, uint64_t k, uint64_t off, uint64_t end)
{
	struct page *p = page_of(b, k);

	if (chunk_is_sound(b, k) || dset_covers(&b->dirty, off, end))
		return 1;
	return p != NULL && bit_get(p->present, k % PAGE_CHUNKS) ? -1 : 0;
}

/* Calls fn for each chunk's part of [off, off+len), with the lock; stops
 * when it is not 0. */
static int
each_part(struct bfile *b, uint64_t off, uint64_t len,
    int (*fn)(void *arg, uint64_t k, bool here), void *arg)
{
	uint64_t size = atomic_load(&b->size), end, k, e;
	int r, ret = 0;

	end = len > size || off > size - len ? size : off + len;
	lock_take(&b->lock);
	map_settle(b);
	while (off < end && ret == 0) {
		k = off / CACHE_CHUNK;
		e = (k + 1) * CACHE_CHUNK < end ? (k + 1) * CACHE_CHUNK : end;
		r = part_here(b, k, off, e);
		if (r < 0) {
			lock_drop(&b->lock);
			chunk_check(b, k);
			lock_take(&b->lock);
			continue;
		}
		ret = fn(arg, k, r);
		off = e;
	}
	lock_drop(&b->lock);
	return ret;
}

static int
stop_at_gap(void *arg, uint64_t k, bool here)
{
	return here ? 0 : 1;
}

int
bfile_has(struct bfile *b, uint64_t off, uint64_t len)
{
	if (atomic_load(&b->all_here))
		return 1;
	return each_part(b, off, len, stop_at_gap, NULL) == 0;
}

bool
bfile_is_complete(struct bfile *b)
{
	return bfile_has(b, 0, bfile_size(b));
}

bool
bfile_is_sound(struct bfile *b)
{
	bool r;

	(void)bfile_size(b);
	lock_take(&b->lock);
	map_settle(b);
	r = b->nunver == 0 && map_is_whole(b) && !atomic_load(&b->gone);
	lock_drop(&b->lock);
	return r;
}

bool
map_is_whole(const struct bfile *b)
{
	uint64_t size = atomic_load(&b->size), n = chunks_of(size), k = 0;

	if (atomic_load(&b->all_here))
		return true;
	/* chunks that are not present are dirty, or it is not */
	if (b->npresent < n && n - b->npresent >
	    dset_bytes(&b->dirty, size) / CACHE_CHUNK + 1)
		return false;
	while (k < n && chunk_is_here(b, k))
		k++;
	return k == n;
}

struct run { uint64_t from, to; };

static int
add_run(void *arg, uint64_t k, bool here)
{
	struct buf *v = arg;
	struct run r = { k, k + 1 }, *last;

	if (here)
		return 0;
	last = v->len ? (struct run *)(v->p + v->len) - 1 : NULL;
	if (last != NULL && last->to == k)
		last->to++;
	else
		buf_put(v, &r, sizeof(r));
	return buf_err(v);
}

int
bfile_gaps(struct bfile *b, uint64_t off, uint64_t len,
    int (*each)(void *arg, uint64_t off, uint64_t len), void *arg)
{
	struct buf v = BUF_INIT;
	struct run *r;
	uint64_t size, from, to;
	size_t i;
	int err;

	if (atomic_load(&b->all_here))
		return 0;
	err = each_part(b, off, len, add_run, &v);
	size = atomic_load(&b->size);
	r = (struct run *)v.p;
	for (i = 0; !err && i < v.len / sizeof(*r); i++) {
		from = r[i].from * CACHE_CHUNK;
		to = r[i].to * CACHE_CHUNK;
		if (to > size)
			to = size;
		if (from < to)
			err = each(arg, from, to - from);
	}
	buf_done(&v);
	return err;
}

/* Re-reads chunk k: 0, 1 damaged, -errno.  buf has room for a chunk. */
static int
reread(struct bfile *b, uint64_t k, void *buf)
{
	struct busy e = { .off = k * CACHE_CHUNK,
	    .end = (k + 1) * CACHE_CHUNK, .kind = BUSY_HOLD };
	uint64_t size;
	uint32_t crc = 0, got;
	bool known, bad = false;
	size_t n;
	int err;

	lock_take(&b->lock);
	busy_enter(b, &e);
	size = atomic_load(&b->size);
	n = size > e.off ? size - e.off : 0;
	if (n > CACHE_CHUNK)
		n = CACHE_CHUNK;
	if (n == 0 || !chunk_present(b, k) ||
	    dset_touches(&b->dirty, e.off, e.end)) {
		err = 0;
		goto out;
	}
	known = chunk_crc(b, k, &crc);
	lock_drop(&b->lock);
	posix_fadvise(b->fd, e.off, n, POSIX_FADV_DONTNEED);
	err = sys_pread_all(b->fd, buf, n, e.off);
	got = err ? 0 : crc32c(0, buf, n);
	bad = err || (known && got != crc);
	lock_take(&b->lock);
	if (bad)
		chunk_clear(b, k);
	else if (!known || b->nunver > 0)
		chunk_set(b, k, true, got);
	map_update(b);
	err = bad;
out:
	busy_leave(b, &e);
	lock_drop(&b->lock);
	return err;
}

int
bfile_verify(struct bfile *b)
{
	uint64_t k, n = chunks_of(bfile_size(b)), bad = 0;
	void *buf;
	int err;

	buf = malloc(CACHE_CHUNK);
	if (buf == NULL)
		return -ENOMEM;
	err = sys.fdatasync(b->fd);	/* else there is nothing to drop */
	for (k = 0; !err && k < n; k++)
		if (reread(b, k, buf) == 1)
			bad++;
	free(buf);
	if (err)
		return err;
	if (bad > 0) {
		counter_add(checksum_errors, bad);
		log_warn("damaged chunks in the cache; they will be fetched"
		    " again", "ino=%llu chunks=%llu",
		    (unsigned long long)b->ino, (unsigned long long)bad);
	}
	return bad ? -EUCLEAN : 0;
}

/*
 * rw: reading, filling and writing one backing file.
 *
 * A file whose dirty set is exactly [0, ∞) of no op (a new one, or one
 * truncated to nothing) takes the short way: pwrite and a few atomics.  Any
 * other write is: BUSY_WRITE, pwrite, interval into the index, interval into
 * memory, done (K2).  The interval is as large as it may be, so that the next
 * write finds itself covered: whole chunks where the chunk is present,
 * growing steps past the end of the file, exact bytes in an absent chunk
 * (what is not dirty there can still be filled).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sys.h"
#include "cache/map.h"

#define GROW_MIN	((uint64_t)CACHE_CHUNK)
#define GROW_MAX	((uint64_t)64 * CACHE_CHUNK)
#define LEASE_TRIES	200
#define WB_STEP		((uint64_t)8 << 20)	/* writeback is started early */

ssize_t
bfile_read(struct bfile *b, void *buf, size_t n, uint64_t off)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = sys.pread(b->fd, (char *)buf + done, n - done, off + done);
		if (r == -EINTR)
			continue;
		if (r < 0)
			return done ? (ssize_t)done : r;
		if (r == 0)
			break;
		done += r;
	}
	return done;
}

uint64_t
bfile_size(struct bfile *b)
{
	struct stat st;
	uint64_t old;

	if (sys.fstat(b->fd, &st))
		return atomic_load(&b->size);
	old = atomic_exchange(&b->size, st.st_size);
	if (old != (uint64_t)st.st_size && !atomic_load(&b->open_all)) {
		lock_take(&b->lock);
		map_update(b);
		lock_drop(&b->lock);
	}
	return st.st_size;
}

static int64_t
ns_of(const struct timespec *t)
{
	return t->tv_sec * NSEC_PER_SEC + t->tv_nsec;
}

int
bfile_stat(struct bfile *b, struct bfile_stat *ret)
{
	struct stat st;
	int err = sys.fstat(b->fd, &st);

	if (err)
		return err;
	ret->size = st.st_size;
	ret->mtime = ns_of(&st.st_mtim);
	ret->ctime = ns_of(&st.st_ctim);
	return 0;
}

int64_t
bfile_mtime(struct bfile *b)
{
	struct stat st;
	int64_t t;

	if ((atomic_load(&b->open_all) || atomic_load(&b->unseen)) &&
	    sys.fstat(b->fd, &st) == 0)
		return ns_of(&st.st_mtim);
	lock_take(&b->lock);
	t = b->mtime;
	lock_drop(&b->lock);
	if (t == 0 && sys.fstat(b->fd, &st) == 0)
		t = ns_of(&st.st_mtim);
	return t;
}

off_t
bfile_seek(struct bfile *b, uint64_t off, int whence)
{
	uint64_t size = bfile_size(b);
	off_t r;

	if (off >= size)
		return -ENXIO;
	/* the holes of a file that is not all here are not the content's */
	if (!bfile_is_complete(b))
		return whence == SEEK_DATA ? (off_t)off : (off_t)size;
	r = lseek(b->fd, off, whence);
	return r < 0 ? -errno : r;
}

bool
bfile_is_dirty(struct bfile *b)
{
	bool r;

	lock_take(&b->lock);
	r = b->dirty.n > 0;
	lock_drop(&b->lock);
	return r;
}

void
bfile_writers(struct bfile *b, int delta)
{
	atomic_fetch_add(&b->writers, delta);
	if (delta > 0)
		atomic_fetch_add(&b->gen, 1);
}

/* --- filling --- */

/* pwrite of what is not dirty in [off, off+n).  *retdirty: something was. */
static int
fill_clean(struct bfile *b, const struct dset *d, uint64_t off, const void *p,
    size_t n, bool *retdirty)
{
	uint64_t at, e, end = off + n;
	int err = 0;

	*retdirty = false;
	for (at = off; !err && at < end; at = e) {
		if (dset_at(d, at, end, &e)) {
			*retdirty = true;
			continue;
		}
		err = sys_pwrite_past_all(b->fd, (const char *)p + (at - off),
		    e - at, at);
	}
	return err;
}

/* The intervals that touch the chunk, for use without the lock. */
static int
dirty_part(const struct bfile *b, uint64_t off, uint64_t end, struct dset *ret)
{
	unsigned i;
	int err;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < b->dirty.n; i++) {
		if (b->dirty.v[i].end <= off || b->dirty.v[i].off >= end)
			continue;
		err = dset_reserve(ret, 2);
		if (err)
			return err;
		dset_add(ret, b->dirty.v[i].off, b->dirty.v[i].end, 0);
	}
	return 0;
}

int
bfile_fill(struct bfile *b, uint64_t chunk, uint64_t gen, const void *p,
    size_t n, int64_t crc)
{
	struct busy e = { .off = chunk * CACHE_CHUNK,
	    .end = (chunk + 1) * CACHE_CHUNK, .kind = BUSY_HOLD };
	struct dset d = { 0 };
	uint64_t size;
	bool dirty = false;
	size_t want, given = n;
	int err;

	lock_take(&b->lock);
	map_settle(b);
	busy_enter(b, &e);
	size = atomic_load(&b->size);
	want = size <= e.off ? 0 :
	    size - e.off < CACHE_CHUNK ? size - e.off : CACHE_CHUNK;
	err = 0;
	if (want == 0 || chunk_present(b, chunk))
		goto out;
	if (bfile_clean_gen(b) != gen) {	/* moves under the lock */
		err = -ESTALE;
		goto out;
	}
	if (n > want)
		n = want;
	if (n < want && !dset_covers(&b->dirty, e.off + n, e.off + want)) {
		err = -EINVAL;
		goto out;
	}
	err = chunk_reserve(b, chunk);
	if (!err)
		err = dirty_part(b, e.off, e.end, &d);
	if (err)
		goto out;
	lock_drop(&b->lock);
	err = bfile_writable(b);
	if (!err) {
		pinned_use(b, n, false);
		err = fill_clean(b, &d, e.off, p, n, &dirty);
		if (err == -ENOSPC) {
			/* the reservation is in pieces: give all of it */
			pinned_use(b, 0, true);
			err = fill_clean(b, &d, e.off, p, n, &dirty);
		}
	}
	if (!err && !dirty && n == want && (crc < 0 || n != given))
		crc = crc32c(0, p, n);
	atomic_fetch_add(&b->own, 1);
	lock_take(&b->lock);
	if (!err) {
		chunk_set(b, chunk, !dirty && n == want, (uint32_t)crc);
		map_update(b);
	}
out:
	busy_leave(b, &e);
	lock_drop(&b->lock);
	dset_done(&d);
	if (!err && want > 0)
		map_account(b);
	if (!err && b->pinned && atomic_load(&b->all_here))
		pinned_use(b, UINT64_MAX, false);
	return err;
}

uint64_t
bfile_clean_gen(const struct bfile *b)
{
	return atomic_load(&b->clean_gen);
}

int
bfile_overlay(struct bfile *b, void *buf, size_t n, uint64_t off)
{
	struct dset d = { 0 };
	uint64_t at, e, end = off + n;
	ssize_t r;
	int err;

	lock_take(&b->lock);
	err = dirty_part(b, off, end, &d);
	lock_drop(&b->lock);
	for (at = off; !err && at < end; at = e) {
		if (!dset_at(&d, at, end, &e))
			continue;
		r = bfile_read(b, (char *)buf + (at - off), e - at, at);
		if (r < 0)
			err = (int)r;
		else
			memset((char *)buf + (at - off) + r, 0, e - at - r);
	}
	dset_done(&d);
	return err;
}

/* --- writing --- */

struct record {
	struct bfile	*b;
	uint64_t	 off, end, size;
	int64_t		 mtime;
	bool		 all;		/* [0, ∞): nothing else is left */
};

/* The interval, and that its chunks' checksums are old.  A file that was
 * forgotten meanwhile records nothing. */
static int
record_tx(struct sqc *q, void *arg)
{
	struct record *r = arg;
	struct sqs *s;
	int err;

	s = sq_prep(q, "UPDATE c_file SET synced=0, mtime=?3, size=?4,"
	    " alldirty=CASE ?5 WHEN 1 THEN 1 ELSE alldirty END,"
	    " allseq=CASE ?5 WHEN 1 THEN 0 ELSE allseq END"
	    " WHERE ino=?1 AND inc=?2");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, r->b->ino);
	sqs_int(s, 2, r->b->inc);
	sqs_int(s, 3, r->mtime);
	sqs_int(s, 4, r->size);
	sqs_int(s, 5, r->all);
	err = sqs_run(s);
	if (err || sq_changes(q) == 0)
		return err;
	if (!r->all) {
		err = index_dirty_add(q, r->b->ino, r->off, r->end, 0);
		if (!err)
			err = index_page_stale(q, r->b->ino,
			    r->off / CACHE_CHUNK,
			    chunks_of(r->end < r->size ? r->end : r->size));
		return err;
	}
	s = sq_prep(q, "DELETE FROM c_dirty WHERE ino=?1");
	if (s != NULL)
		sqs_int(s, 1, r->b->ino);
	err = sqs_run(s);
	s = sq_prep(q, "DELETE FROM c_page WHERE ino=?1");
	if (s != NULL)
		sqs_int(s, 1, r->b->ino);
	return err ? err : sqs_run(s);
}

/* C1: above the bound, intervals of chunks that are present become whole
 * chunks.  The lock is held; memory only: the index says no less. */
static void
coalesce(struct bfile *b)
{
	struct dset d = { 0 };
	struct ival *v;
	uint64_t from, to;
	unsigned i;

	for (i = 0; i < b->dirty.n; i++) {
		v = &b->dirty.v[i];
		from = v->off;
		to = v->end;
		/* an op under way must not come to what it has not seen */
		if (v->seq == 0 && chunk_is_sound(b, from / CACHE_CHUNK))
			from -= from % CACHE_CHUNK;
		if (v->seq == 0 && to < INF &&
		    chunk_is_sound(b, (to - 1) / CACHE_CHUNK))
			to = chunks_of(to) * CACHE_CHUNK;
		if (dset_reserve(&d, 2)) {
			dset_done(&d);
			return;
		}
		dset_add(&d, from, to, v->seq);
	}
	dset_done(&b->dirty);
	b->dirty = d;
}

/* What to mark for a write of [off, end) into a file of `size` before it. */
static void
widen(struct bfile *b, uint64_t size, uint64_t *off, uint64_t *end)
{
	uint64_t k0 = *off / CACHE_CHUNK, k1 = (*end - 1) / CACHE_CHUNK;

	if (*end == INF)
		return;
	if (*off > size)
		*off = size;	/* the hole between is zeros */
	if (chunk_is_sound(b, k0) && *off >= k0 * CACHE_CHUNK)
		*off = k0 * CACHE_CHUNK;
	if (*end >= size) {
		b->grow = b->grow < GROW_MIN ? GROW_MIN :
		    b->grow >= GROW_MAX ? GROW_MAX : b->grow * 2;
		*end = chunks_of(*end + b->grow) * CACHE_CHUNK;
	} else if (chunk_is_sound(b, k1)) {
		*end = (k1 + 1) * CACHE_CHUNK;
	}
}

int
write_record(struct bfile *b, uint64_t size, uint64_t off, uint64_t end)
{
	struct record r = { .b = b, .mtime = clock_real() };
	uint64_t k;
	int err;

	b->mtime = r.mtime;
	if (b->ino == 0 || atomic_load(&b->gone))
		return 0;
	if (!b->synced && dset_covers_seq(&b->dirty, off, end, 0))
		return 0;
	err = dset_reserve(&b->dirty, 2);
	if (err)
		return err;
	widen(b, size, &off, &end);
	r.off = off;
	r.end = end;
	r.all = off == 0 && end == INF;
	r.size = atomic_load(&b->size);
	lock_drop(&b->lock);
	err = sq_write(b->c->index, record_tx, &r);
	lock_take(&b->lock);
	if (!err)
		err = dset_reserve(&b->dirty, 2);
	if (err)
		return err;
	map_settle(b);
	b->synced = false;
	if (r.all) {
		b->dirty.n = 0;
		map_pages_drop(b);
	}
	dset_add(&b->dirty, off, end, 0);
	if (!r.all)
		for (k = off / CACHE_CHUNK; k < chunks_of(r.size) &&
		    k * CACHE_CHUNK < end; k++)
			chunk_stale(b, k);
	if (b->dirty.n > DIRTY_BOUND && b->dirty.n % 256 == 0)
		coalesce(b);
	map_update(b);
	return 0;
}

/* No fill can come over it any more (K2).  The lock is held. */
static bool
is_here(const struct bfile *b, uint64_t off, uint64_t end)
{
	uint64_t k;

	for (k = off / CACHE_CHUNK; k < chunks_of(end); k++)
		if (!chunk_is_here(b, k))
			return false;
	return true;
}

static void
grow_size(struct bfile *b, uint64_t end)
{
	uint64_t old = atomic_load(&b->size);

	while (old < end &&
	    !atomic_compare_exchange_weak(&b->size, &old, end))
		;
}

/* The short way's accounts: what the file grew by. */
static void
grow_account(struct bfile *b, uint64_t end)
{
	uint64_t old = atomic_load(&b->dirty_bytes);

	while (old < end &&
	    !atomic_compare_exchange_weak(&b->dirty_bytes, &old, end))
		;
	if (old >= end)
		return;
	atomic_fetch_add(&b->used, end - old);
	space_add(b->c, end - old, end - old);
}

/* Starts writing back what lies a step behind the end, so that a later fsync
 * finds most of it on disk. */
static void
writeback(struct bfile *b, uint64_t end)
{
	uint64_t from = atomic_load(&b->wb);

	if (end < from + WB_STEP ||
	    !atomic_compare_exchange_strong(&b->wb, &from, end))
		return;
	sync_file_range(b->fd, from, end - from, SYNC_FILE_RANGE_WRITE);
}

void
busy_init_write(struct busy *e, uint64_t off, uint64_t end)
{
	e->kind = BUSY_WRITE;
	e->from = off;
	e->to = end;
	e->off = off - off % CACHE_CHUNK;
	e->end = end >= INF ? INF : chunks_of(end) * CACHE_CHUNK;
}

/* fd was read-only just now, because a lease was being tried (C2)?  (What
 * ftruncate and the others say of such a one.)  Leases are short; who tries
 * them over and over is given way to. */
static bool
was_leased(int err, int *tries)
{
	if ((err != -EBADF && err != -EINVAL) || *tries == LEASE_TRIES)
		return false;
	if (++*tries > 8)
		(void)clock_sleep(NSEC_PER_MSEC);
	return true;
}

static int
write_bytes(struct bfile *b, const void *p, size_t n, uint64_t off)
{
	int err, tries = 0;

again:
	err = bfile_writable(b);
	if (err)
		return err;
	/* an upload that begins in between is as overlapped as one that ends
	 * in between (B8) */
	atomic_fetch_add(&b->gen, 1);
	err = sys_pwrite_all(b->fd, p, n, off);
	atomic_fetch_add(&b->gen, 1);
	if (was_leased(err, &tries))
		goto again;
	return err;
}

/* A pwrite failed half way: what it left behind must not pass for content. */
static void
write_failed(struct bfile *b, uint64_t size, uint64_t off, uint64_t end)
{
	struct stat st;
	struct busy *o;
	unsigned writes = 0;

	for (o = b->busy; o != NULL; o = o->next)
		writes += o->kind == BUSY_WRITE;
	if (writes == 1 && sys.fstat(b->fd, &st) == 0 &&
	    (uint64_t)st.st_size > size && atomic_load(&b->size) == size)
		sys.ftruncate(b->fd, size);
	if (end > size)
		end = size;
	if (off < end && (chunk_present(b, off / CACHE_CHUNK) ||
	    chunk_present(b, (end - 1) / CACHE_CHUNK)))
		write_record(b, size, off, end);
}

ssize_t
bfile_write(struct bfile *b, const void *p, size_t n, uint64_t off)
{
	struct busy e;
	uint64_t size, end = off + n;
	bool first;
	int err;

	if (n == 0)
		return 0;
	if (off > INF - n)
		return -EFBIG;
	/* a base's dirty bytes are not synced any more: it is recorded (L11) */
	if (atomic_load(&b->open_all) &&
	    !(b->base && atomic_load(&b->synced))) {
		err = write_bytes(b, p, n, off);
		if (err)
			return err;
		grow_size(b, end);
		if (atomic_load(&b->open_all) &&
		    atomic_load(&b->close_seq) == 0) {
			grow_account(b, end);
			writeback(b, end);
			return n;
		}
		/* closed or landed meanwhile: it counts as the next op's */
		return bfile_wrote(b, off, n) ? -EIO : (ssize_t)n;
	}
	map_check_edges(b, off, end);
	busy_init_write(&e, off, end);
	lock_take(&b->lock);
	map_settle(b);
	busy_enter(b, &e);
	size = atomic_load(&b->size);
	first = is_here(b, off, end);
	err = first ? write_record(b, size, off, end) : 0;
	if (err)
		goto out;
	lock_drop(&b->lock);
	err = write_bytes(b, p, n, off);
	lock_take(&b->lock);
	if (!err) {
		grow_size(b, end);
		if (first)
			map_update(b);
		else
			err = write_record(b, size, off, end);
	} else {
		write_failed(b, size, off, end);
	}
out:
	busy_leave(b, &e);
	lock_drop(&b->lock);
	map_account(b);
	return err ? err : (ssize_t)n;
}

int
bfile_wrote(struct bfile *b, uint64_t off, uint64_t len)
{
	struct busy e;
	uint64_t size, end = len > INF - off ? INF : off + len;
	struct stat st;
	int err;

	if (off >= end)
		return 0;
	atomic_fetch_add(&b->gen, 1);
	busy_init_write(&e, off, end);
	lock_take(&b->lock);
	map_settle(b);
	busy_enter(b, &e);
	size = atomic_load(&b->size);
	err = sys.fstat(b->fd, &st);
	if (!err) {
		grow_size(b, st.st_size);
		err = write_record(b, size, off, end);
	}
	busy_leave(b, &e);
	lock_drop(&b->lock);
	map_account(b);
	return err;
}

/* --- changes of size --- */

/* [from, ∞) is dirty now, after a change of size that was made already. */
static int
resized(struct bfile *b, uint64_t from)
{
	uint64_t k, had = b->npages * (uint64_t)PAGE_CHUNKS;
	uint64_t size = atomic_load(&b->size);
	int err;

	err = write_record(b, INF, from, INF);
	for (k = chunks_of(size); !err && b->npresent > 0 && k < had; k++)
		chunk_clear(b, k);
	map_update(b);
	return err;
}

int
bfile_was_resized(struct bfile *b, uint64_t was)
{
	struct busy e;
	uint64_t size = atomic_load(&b->size);
	int err;

	busy_init_write(&e, 0, INF);
	lock_take(&b->lock);
	map_settle(b);
	busy_enter(b, &e);
	err = resized(b, size < was ? size : was);
	busy_leave(b, &e);
	lock_drop(&b->lock);
	map_account(b);
	return err;
}

int
bfile_truncate(struct bfile *b, uint64_t size)
{
	struct busy e;
	uint64_t old;
	int err, tries = 0;

	if (size >= INF)
		return -EFBIG;
	map_check_edges(b, size, size);
	busy_init_write(&e, 0, INF);
	lock_take(&b->lock);
	map_settle(b);
	busy_enter(b, &e);
	lock_drop(&b->lock);
	old = bfile_size(b);
	atomic_fetch_add(&b->gen, 1);
	do {
		err = bfile_writable(b);
		if (!err)
			err = sys.ftruncate(b->fd, size);
	} while (was_leased(err, &tries));
	atomic_fetch_add(&b->gen, 1);
	lock_take(&b->lock);
	if (!err) {
		atomic_store(&b->size, size);
		if (atomic_load(&b->wb) > size)
			atomic_store(&b->wb, size);
		if (!atomic_load(&b->open_all) && size != old)
			err = resized(b, size < old ? size : old);
	}
	busy_leave(b, &e);
	lock_drop(&b->lock);
	map_account(b);
	return err;
}

static int
fallocate_bytes(struct bfile *b, int mode, uint64_t off, uint64_t len)
{
	int err, tries = 0;

	atomic_fetch_add(&b->gen, 1);
	do {
		err = bfile_writable(b);
		if (!err)
			err = sys.fallocate(b->fd, mode, off, len);
	} while (was_leased(err, &tries));
	atomic_fetch_add(&b->gen, 1);
	return err;
}

int
punch_bytes(struct bfile *b, uint64_t off, uint64_t len)
{
	int err, tries = 0;

	atomic_fetch_add(&b->own, 1);
	do {
		err = bfile_writable(b);
		if (!err)
			err = sys.fallocate(b->fd, FALLOC_FL_PUNCH_HOLE |
			    FALLOC_FL_KEEP_SIZE, off, len);
	} while (was_leased(err, &tries));
	atomic_fetch_add(&b->own, 1);
	return err;
}

int
bfile_fallocate(struct bfile *b, int mode, uint64_t off, uint64_t len)
{
	struct busy e;
	uint64_t old, size, end;
	bool clears, first;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
	    FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (len == 0 || off > INF - len)
		return len == 0 ? -EINVAL : -EFBIG;
	map_check_edges(b, off, off + len);
	busy_init_write(&e, 0, INF);
	lock_take(&b->lock);
	map_settle(b);
	busy_enter(b, &e);
	lock_drop(&b->lock);
	old = bfile_size(b);
	end = off + len < old ? off + len : old;
	lock_take(&b->lock);
	clears = mode & ~FALLOC_FL_KEEP_SIZE && off < end &&
	    !atomic_load(&b->open_all);
	first = clears && is_here(b, off, end);
	err = first ? write_record(b, INF, off, end) : 0;
	lock_drop(&b->lock);
	if (!err)
		err = fallocate_bytes(b, mode, off, len);
	size = err ? old : bfile_size(b);
	lock_take(&b->lock);
	if (!err && size > old && !atomic_load(&b->open_all))
		err = resized(b, old);
	if (!err && clears && !first)
		err = write_record(b, INF, off, end);
	busy_leave(b, &e);
	lock_drop(&b->lock);
	map_account(b);
	return err;
}

/* --- syncing --- */

static int
sync_tx(struct sqc *q, void *arg)
{
	struct record *r = arg;
	struct sqs *s = sq_prep(q, "UPDATE c_file SET synced=1, syncsize=?3,"
	    " mtime=?4 WHERE ino=?1 AND inc=?2");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, r->b->ino);
	sqs_int(s, 2, r->b->inc);
	sqs_int(s, 3, r->size);
	sqs_int(s, 4, r->mtime);
	return sqs_run(s);
}

int
bfile_sync(struct bfile *b)
{
	struct record r = { .b = b };
	struct busy e;
	uint64_t gen = atomic_load(&b->gen);
	bool was;
	int err;

	r.size = atomic_load(&b->syncs_itself) ? INF : bfile_size(b);
	r.mtime = bfile_mtime(b);
	err = sys.fdatasync(b->fd);
	if (err || b->ino == 0 || atomic_load(&b->gone))
		return err;
	/* writes wait, so that none that came since is called synced */
	busy_init_write(&e, 0, INF);
	e.kind = BUSY_SAVE;
	lock_take(&b->lock);
	busy_enter(b, &e);
	lock_drop(&b->lock);
	was = atomic_exchange(&b->synced,
	    b->base || !atomic_load(&b->open_all));
	if (gen != atomic_load(&b->gen) && b->base)
		err = 1;	/* written meanwhile: not synced */
	else if (b->sync_gen != gen || !was || atomic_load(&b->unseen))
		err = sq_write(b->c->index, sync_tx, &r);
	lock_take(&b->lock);
	if (err)
		atomic_store(&b->synced, was);
	else
		b->sync_gen = gen;
	busy_leave(b, &e);
	lock_drop(&b->lock);
	return err < 0 ? err : 0;
}

int
bfile_unseen_synced(struct bfile *b)
{
	struct record r = { .b = b, .size = INF, .mtime = bfile_mtime(b) };

	atomic_store(&b->syncs_itself, true);
	return sq_write_sync(b->c->index, sync_tx, &r);
}

bool
bfile_is_synced(struct bfile *b)
{
	bool r;

	lock_take(&b->lock);
	r = b->dirty.n == 0 || (b->sync_gen == atomic_load(&b->gen) &&
	    !atomic_load(&b->unseen));
	lock_drop(&b->lock);
	return r;
}

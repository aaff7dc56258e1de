/*
 * space: what is used, what may be, and eviction (C2).
 *
 * used + small + reserved stays within the limit (K5); dirty bytes may pass
 * it by a sixteenth, and the disk below always keeps some room of its own, so
 * that the database and unlink go on working.
 *
 * Eviction is by least recent use over both kinds, files by unlink and small
 * rows in thousands, until a low watermark is reached, so that it is rare.
 * One thread evicts; others that need room wait for its turn to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/sys.h"
#include "cache/map.h"

#define SMALL_STEP	(UINT64_C(8) << 20)
#define CANDIDATES	64
#define FILES_LOW	16	/* inodes of the disk */

void
space_add(struct cache *c, int64_t used, int64_t dirty)
{
	if (used != 0)
		atomic_fetch_add(&c->used, used);
	if (dirty != 0) {
		atomic_fetch_add(&c->dirty, dirty);
		counter_add(bytes_dirty, dirty);
	}
	if (used < 0 || dirty < 0)
		space_came(c);
}

void
space_came(struct cache *c)
{
	lock_take(&c->space_lock);
	c->freed++;
	cond_broadcast(&c->space_cond);
	lock_drop(&c->space_lock);
}

/* An atomic that accounts may have drifted below 0. */
static uint64_t
amount(_Atomic uint64_t *p)
{
	int64_t v = atomic_load(p);

	return v < 0 ? 0 : v;
}

uint64_t
space_disk_free(struct cache *c)
{
	struct statvfs st;
	uint64_t spare, avail, total;

	if (statvfs(c->dir, &st))
		return 0;
	avail = (uint64_t)st.f_bavail * st.f_frsize;
	total = (uint64_t)st.f_blocks * st.f_frsize;
	spare = total / 50 < (64u << 20) ? total / 50 : 64u << 20;
	return avail > spare ? avail - spare : 0;
}

static uint64_t
in_use(struct cache *c)
{
	return amount(&c->used) + amount(&c->small_bytes) +
	    amount(&c->reserved);
}

static uint64_t
lacking(struct cache *c, uint64_t n, uint64_t limit)
{
	uint64_t used = in_use(c), lack = 0, avail;

	if (used + n > limit)
		lack = used + n - limit;
	avail = space_disk_free(c);
	if (n > avail && n - avail > lack)
		lack = n - avail;
	return lack;
}

static int
remove_tx(struct sqc *q, void *arg)
{
	return index_remove(q, *(uint64_t *)arg);
}

/* A backing file, whole: bytes, -EBUSY, -ENOENT, -EPERM. */
static int64_t
evict_file(struct cache *c, uint64_t ino)
{
	struct bfile *b;
	uint64_t bytes;
	bool dirty;
	int err;

	err = bfile_seize(c, ino, &b);
	if (err)
		return err;
	lock_take(&b->lock);
	map_settle(b);
	dirty = b->dirty.n > 0 || b->busy != NULL;
	lock_drop(&b->lock);
	if (dirty)
		err = -EBUSY;
	else if (cache_is_pinned(c, ino))
		err = -EPERM;
	else if (bfile_lease(b, F_WRLCK) != 0)
		err = -EBUSY;		/* open or mapped by somebody (C2) */
	else
		err = sq_write(c->index, remove_tx, &ino);
	if (err) {
		bfile_release(b);
		return err;
	}
	map_account(b);
	bytes = atomic_load(&b->used);
	bfile_discard(b);
	counter_add(evicted_bytes, bytes);
	return bytes;
}

int64_t
cache_evict(struct cache *c, uint64_t ino)
{
	struct sqc *q;
	uint64_t len = UINT64_MAX;
	int64_t n;
	int err;

	cache_landed_commit(c);
	if (cache_is_pinned(c, ino))
		return -EPERM;
	n = evict_file(c, ino);
	if (n != -ENOENT)
		return n;
	if (sq_read(c->small, &q) == 0) {
		len = small_bytes_of(q, ino);
		sq_read_end(q);
	}
	if (len == UINT64_MAX)
		return 0;
	err = small_drop(c, ino);
	if (err)
		return err;
	counter_add(evicted_bytes, len);
	return len;
}

struct cands { uint64_t ino[CANDIDATES]; int64_t atime[CANDIDATES]; int n; };

static int
candidates(struct cache *c, int64_t after, uint64_t after_ino,
    struct cands *ret)
{
	struct sqc *q;
	struct sqs *s;
	int r;

	ret->n = 0;
	r = sq_read(c->index, &q);
	if (r)
		return r;
	s = sq_prep(q, "SELECT ino,atime FROM c_file f WHERE slot IS NULL AND"
	    " atime>=?1 AND (atime>?1 OR ino>?2) AND alldirty=0"
	    " AND NOT EXISTS (SELECT 1 FROM c_dirty d WHERE d.ino=f.ino)"
	    " AND NOT EXISTS (SELECT 1 FROM c_pinned p WHERE p.ino=f.ino)"
	    " ORDER BY atime, ino LIMIT 64");
	if (s == NULL) {
		r = sq_err(q);
	} else {
		sqs_int(s, 1, after);
		sqs_int(s, 2, after_ino);
		while (ret->n < CANDIDATES && (r = sqs_step(s)) == 1) {
			ret->ino[ret->n] = sqs_col_int(s, 0);
			ret->atime[ret->n++] = sqs_col_int(s, 1);
		}
		sqs_reset(s);
	}
	sq_read_end(q);
	return r < 0 ? r : 0;
}

/* Until n bytes came, or nothing is left that may go. */
static void
evict(struct cache *c, uint64_t n)
{
	struct cands v;
	int64_t after = INT64_MIN, r, old;
	uint64_t after_ino = 0, got = 0, left;
	int i;

	log_debug("eviction begins", "want=%" PRIu64, n);
	cache_landed_commit(c);
	map_save_all(c);	/* uses, so that the order is right */
	small_flush_touched(c);
	old = small_oldest(c);
	while (got < n && candidates(c, after, after_ino, &v) == 0 &&
	    v.n > 0) {
		for (i = 0; i < v.n && got < n; i++) {
			while (old < v.atime[i] && got < n) {
				left = n - got;
				r = small_evict(c, left < SMALL_STEP ? left :
				    SMALL_STEP);
				got += r;
				old = r > 0 ? small_oldest(c) : INT64_MAX;
			}
			if (got >= n)
				break;
			r = evict_file(c, v.ino[i]);
			got += r > 0 ? r : 0;
			after = v.atime[i];
			after_ino = v.ino[i];
		}
	}
	if (got < n && old != INT64_MAX)
		got += small_evict(c, n - got);
	if (got < n)
		got += punch_open_files(c, n - got);
	slots_retire_now(c);	/* the disk has it when the files are closed */
	log_debug("eviction ends", "got=%" PRIu64, got);
}

/* True: this thread evicts; false: another did, and it is over. */
static bool
evict_begin(struct cache *c)
{
	bool mine;

	lock_take(&c->space_lock);
	mine = !c->evicting;
	if (mine)
		c->evicting = true;
	else
		while (c->evicting)
			cond_wait(&c->space_cond, &c->space_lock);
	lock_drop(&c->space_lock);
	return mine;
}

static void
evict_end(struct cache *c)
{
	lock_take(&c->space_lock);
	c->evicting = false;
	cond_broadcast(&c->space_cond);
	lock_drop(&c->space_lock);
}

int
space_make(struct cache *c, uint64_t n, uint64_t limit)
{
	uint64_t lack = lacking(c, n, limit);

	if (lack == 0)
		return 0;
	if (n > limit)
		return -ENOSPC;
	if (evict_begin(c)) {
		evict(c, lack + limit / 32);
		evict_end(c);
	}
	return lacking(c, n, limit) == 0 ? 0 : -ENOSPC;
}

int
space_make_files(struct cache *c)
{
	struct statvfs st;
	struct cands v;
	int i, gone = 0;

	if (statvfs(c->dir, &st) || st.f_files == 0 ||
	    st.f_ffree > FILES_LOW)
		return -ENOSPC;
	if (!evict_begin(c))
		return 0;
	cache_landed_commit(c);
	map_save_all(c);
	if (candidates(c, INT64_MIN, 0, &v) == 0)
		for (i = 0; i < v.n; i++)
			gone += evict_file(c, v.ino[i]) >= 0;
	evict_end(c);
	return gone > 0 ? 0 : -ENOSPC;
}

int
cache_room(struct cache *c, uint64_t n, bool dirty)
{
	uint64_t limit = atomic_load(&c->limit);

	return space_make(c, n, dirty ? limit + limit / 16 : limit);
}

bool
cache_has_older(struct cache *c, int64_t before)
{
	struct cands v;

	if (small_oldest(c) < before)
		return true;
	/* uses of the last seconds may not be saved yet */
	return candidates(c, INT64_MIN, 0, &v) == 0 && v.n > 0 &&
	    v.atime[0] < before - SAVE_AFTER;
}

int
cache_room_wait(struct cache *c, uint64_t n, int64_t deadline)
{
	uint64_t seen;
	int err, late = 0;

	for (;;) {
		lock_take(&c->space_lock);
		seen = c->freed;
		lock_drop(&c->space_lock);
		err = cache_room(c, n, true);
		if (err != -ENOSPC || late || clock_mono() >= deadline)
			return err;
		lock_take(&c->space_lock);
		while (!late && c->freed == seen)
			late = cond_wait_until(&c->space_cond, &c->space_lock,
			    deadline) != 0;
		lock_drop(&c->space_lock);
	}
}

bool
cache_is_pressed(struct cache *c, uint64_t *retall)
{
	uint64_t all = atomic_load(&c->limit), there, taken;

	there = in_use(c) + space_disk_free(c);
	taken = amount(&c->dirty) + amount(&c->pinned_bytes) +
	    amount(&c->reserved);
	if (all > there)
		all = there;
	*retall = all;
	return taken >= all / 2;
}

static int
limit_tx(struct sqc *q, void *arg)
{
	return index_meta_set(q, "limit", *(uint64_t *)arg);
}

void
cache_set_limit(struct cache *c, uint64_t bytes)
{
	atomic_store(&c->limit, bytes);
	if (sq_write(c->index, limit_tx, &bytes))
		log_warn("the cache's size is not kept for the next start",
		    "bytes=%llu", (unsigned long long)bytes);
	space_make(c, 0, bytes);
	space_came(c);
}

void
cache_stat(struct cache *c, struct cache_stat *ret)
{
	cache_landed_commit(c);
	ret->limit = atomic_load(&c->limit);
	ret->small = amount(&c->small_bytes);
	ret->used = amount(&c->used) + ret->small;
	ret->dirty = amount(&c->dirty);
	ret->pinned = amount(&c->pinned_bytes);
	ret->reserved = amount(&c->reserved);
	ret->files = amount(&c->files);
	ret->disk_free = space_disk_free(c);
}

int
cache_present(struct cache *c, uint64_t ino, uint64_t size, uint64_t *retbytes)
{
	struct bfile *b;
	struct sqc *q;
	uint64_t n = 0, off, end, e;
	int err;

	err = bfile_get(c, ino, &b);
	if (err == 0) {
		if (bfile_is_complete(b)) {
			n = size;
		} else {
			lock_take(&b->lock);
			for (off = 0; off < size; off = end) {
				end = off + CACHE_CHUNK < size ?
				    off + CACHE_CHUNK : size;
				if (chunk_present(b, off / CACHE_CHUNK)) {
					n += end - off;
					continue;
				}
				for (; off < end; off = e)
					if (dset_at(&b->dirty, off, end, &e))
						n += e - off;
			}
			lock_drop(&b->lock);
		}
		bfile_put(b);
	} else if (err == -ENOENT && sq_read(c->small, &q) == 0) {
		n = small_bytes_of(q, ino);
		n = n == size ? size : 0;
		sq_read_end(q);
	} else if (err != -ENOENT) {
		return err;
	}
	if (retbytes != NULL)
		*retbytes = n;
	return size == 0 ? 100 : (int)((double)n * 100 / size);
}

/*
 * punch: room in files that are open (K7).
 *
 * A file that somebody has open cannot go as a whole.  Of one that is open for
 * writing, and whose writes are all seen, clean chunks go instead, the first
 * ones first: so a writer may write a file that is larger than the cache.
 * (One that is open for reading alone need not keep what it reads.)
 *
 * A run of chunks goes so:
 *   taken     in `busy`, so that nobody fills or writes them; not here any more
 *   lease     nobody else has the file, mapped or open (C2): nor will he, as
 *             what is not whole is not handed to the kernel (what was handed to
 *             it is left alone: between its answer and its open below a lease
 *             knows nothing of who joins)
 *   drained   reads that found them here are over
 *   saved     the index says that they are not here (K1)
 *   punched
 * What fails before the last makes them be here again.
 *
 * Reads are counted in two counters in turn, so that those that begin
 * meanwhile are not waited for: first those of the other turn, which began
 * long ago, then, the turns changed, all that began until now.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "cache/map.h"

#define RUN		64u		/* chunks of one commit */
#define FILES		32u
#define DRAIN		(1 * NSEC_PER_SEC)

struct run {
	struct busy	 busy;
	uint64_t	 k;
	unsigned	 n;
	bool		 crcok[RUN];
	uint32_t	 crc[RUN];
};

unsigned
bfile_read_begin(struct bfile *b)
{
	unsigned turn = atomic_load(&b->turn) & 1;

	atomic_fetch_add(&b->reading[turn], 1);
	return turn;
}

void
bfile_read_end(struct bfile *b, unsigned turn)
{
	atomic_fetch_sub(&b->reading[turn], 1);
}

static bool
wait_none(_Atomic unsigned *n, int64_t until)
{
	while (atomic_load(n) > 0) {
		if (clock_mono() >= until)
			return false;
		(void)clock_sleep(NSEC_PER_MSEC / 4);
	}
	return true;
}

/* False: somebody reads for long. */
static bool
drain(struct bfile *b)
{
	int64_t until = clock_mono() + DRAIN;
	unsigned turn = atomic_load(&b->turn) & 1;

	if (!wait_none(&b->reading[!turn], until))
		return false;
	atomic_store(&b->turn, !turn);
	return wait_none(&b->reading[turn], until);
}

/* tab_lock or the file's is held. */
static bool
may_punch(const struct bfile *b)
{
	return atomic_load(&b->writers) > 0 && b->ino != 0 &&
	    !atomic_load(&b->unseen) && !atomic_load(&b->lent) &&
	    !atomic_load(&b->gone);
}

static bool
page_is_empty(const struct bfile *b, uint64_t k)
{
	static const uint8_t none[PAGE_CHUNKS / 8];
	const struct page *p = b->pages[k / PAGE_CHUNKS];

	return p == NULL || memcmp(p->present, none, sizeof(none)) == 0;
}

static bool
may_go(const struct bfile *b, uint64_t k, uint64_t size)
{
	return (k + 1) * CACHE_CHUNK <= size && chunk_is_sound(b, k) &&
	    !dset_touches(&b->dirty, k * CACHE_CHUNK, (k + 1) * CACHE_CHUNK);
}

/* The next run from chunk *k on, at most `most` of them: they are not here any
 * more. */
static bool
take(struct bfile *b, uint64_t *k, uint64_t most, struct run *r)
{
	uint64_t end, size;
	unsigned i;

	lock_take(&b->lock);
	map_settle(b);
	size = atomic_load(&b->size);
	end = may_punch(b) && !b->pinned ?
	    (uint64_t)b->npages * PAGE_CHUNKS : 0;
	r->n = 0;
	for (; r->n == 0 && *k < end; ++*k) {
		if (*k % PAGE_CHUNKS == 0 && page_is_empty(b, *k)) {
			*k += PAGE_CHUNKS - 1;
			continue;
		}
		for (; r->n < RUN && r->n < most && *k + r->n < end &&
		    may_go(b, *k + r->n, size); r->n++)
			;
		r->k = *k;
		r->busy = (struct busy){ .off = *k * CACHE_CHUNK,
		    .end = (*k + r->n) * CACHE_CHUNK, .kind = BUSY_HOLD };
		if (r->n > 0 && !busy_try(b, &r->busy))
			r->n = 0;
	}
	for (i = 0; i < r->n; i++) {
		r->crcok[i] = chunk_crc(b, r->k + i, &r->crc[i]);
		chunk_clear(b, r->k + i);
	}
	*k = r->n > 0 ? r->k + r->n : *k;
	map_update(b);
	lock_drop(&b->lock);
	return r->n > 0;
}

static void
leave(struct bfile *b, struct run *r, bool here)
{
	unsigned i;

	lock_take(&b->lock);
	for (i = 0; here && i < r->n; i++)
		chunk_set(b, r->k + i, r->crcok[i], r->crc[i]);
	map_update(b);
	busy_leave(b, &r->busy);
	lock_drop(&b->lock);
}

static uint64_t
punch_file(struct bfile *b, uint64_t n)
{
	uint64_t k = 0, got = 0, len;
	struct run r;
	int err = 0;

	while (!err && got < n &&
	    take(b, &k, (n - got - 1) / CACHE_CHUNK + 1, &r)) {
		len = r.busy.end - r.busy.off;
		if (bfile_lease(b, F_WRLCK) != 0 || !drain(b))
			err = -EBUSY;
		if (!err)
			err = map_save(b->c, &b, 1, true);
		if (!err)
			err = punch_bytes(b, r.busy.off, len);
		leave(b, &r, err != 0);
		got += err ? 0 : len;
	}
	if (err && err != -EBUSY)
		log_warn("clean bytes of an open file could not be dropped",
		    "ino=%llu err=%d", (unsigned long long)b->ino, err);
	map_account(b);
	counter_add(evicted_bytes, got);
	return got;
}

uint64_t
punch_open_files(struct cache *c, uint64_t n)
{
	struct bfile *v[FILES];
	uint64_t got = 0;
	unsigned h = 0, i, nv;

	while (got < n && h < TABLE_SIZE) {
		nv = files_take(c, may_punch, &h, v, FILES);
		for (i = 0; i < nv; i++)
			if (got < n)
				got += punch_file(v[i], n - got);
		files_give(c, v, nv);
	}
	return got;
}

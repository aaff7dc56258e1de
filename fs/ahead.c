/* See ahead.h. */
#include "fs/ahead.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "cache/small.h"
#include "fs/content.h"
#include "fs/flight.h"
#include "meta/query.h"

#define BLOCK		64	/* inodes, fewer than a run's files */
#define ENOUGH		8	/* misses of a block */
#define ENOUGH_PACKED	2
#define SEEN		1024	/* blocks that are remembered */
#define STREET		16	/* blocks */
#define STREETS		256	/* that are remembered */
#define STREET_TIME	(2 * NSEC_PER_SEC)
#define STREET_ENOUGH	32	/* misses of a street in that time */
#define STREET_PACKED	8
#define RUNS		12	/* requests at once; fs->io has as many */
#define QUEUED_MAX	1024	/* requests that wait */
#define RUN_BYTES	(1u << 20)	/* of one request, about */
#define GAP		(32u << 10)	/* fetched rather than asked around */
#define UNUSED		(600 * NSEC_PER_SEC)	/* evicted for a guess */
#define UNUSED_LOOK	NSEC_PER_SEC	/* between looks whether there is any */
#define UNUSED_AGAIN	(60 * NSEC_PER_SEC)	/* after one that was wrong */

struct seen {
	uint64_t	 block;
	int		 misses;
	unsigned	 left;		/* jobs of it that are under way */
	bool		 fetched, failed;
};

struct street {
	uint64_t	 street;
	int64_t		 since;
	unsigned	 misses;	/* since then */
};

struct piece {
	struct small_id	 id;
	int64_t		 crc;
	struct flight	*x;		/* while it is fetched */
	bool		 landed;	/* its bytes are here, and right */
};

/* One request: pieces of one object, by offset. */
struct run {
	struct run	*next;
	struct fs	*f;
	uint64_t	 block, object;
	uint32_t	 store, copies;
	char		*key, *version;
	unsigned	 n;
	struct piece	 v[BLOCK];
	unsigned	 from, to;	/* those of the GET under way */
	unsigned	 seen;		/* of them, those whose bytes came */
	struct buf	 bytes;		/* of it, and nothing of others */
};

struct ahead {
	struct lock	 lock;
	struct seen	 seen[SEEN];
	struct street	 streets[STREETS];
	struct run	*head, **tail;
	unsigned	 queued, active;
	int64_t		 look;		/* clock_mono: may_evict then */
	bool		 unused;	/* there was then */
};

struct block { struct fs *f; uint64_t first; struct run *head, *last; };

int
ahead_new(struct ahead **ret)
{
	struct ahead *a = calloc(1, sizeof *a);

	if (a == NULL)
		return -ENOMEM;
	lock_init(&a->lock, RANK_FILL, "ahead");
	a->tail = &a->head;
	*ret = a;
	return 0;
}

static void
run_free(struct run *r)
{
	if (r == NULL)
		return;
	free(r->key);
	free(r->version);
	buf_done(&r->bytes);
	free(r);
}

void
ahead_free(struct ahead *a)
{
	struct run *r;

	if (a == NULL)
		return;
	while ((r = a->head) != NULL) {
		a->head = r->next;
		run_free(r);
	}
	lock_done(&a->lock);
	free(a);
}

/* --- a run --- */

static uint64_t
piece_end(const struct piece *x)
{
	return x->id.ooff + x->id.len;
}

static uint64_t
get_from(const struct run *r)
{
	return r->v[r->from].id.ooff;
}

static uint64_t
get_to(const struct run *r)
{
	return piece_end(&r->v[r->to - 1]);
}

static const uint8_t *
bytes_of(const struct run *r, const struct piece *x)
{
	return r->bytes.p + (x->id.ooff - get_from(r));
}

/* Who waits for a file has it as soon as its bytes are here.  A wrong one is
 * left for its reader, who asks elsewhere, or says so. */
static int
run_sink(void *arg, const void *p, size_t n)
{
	struct run *r = arg;
	struct piece *x;

	if (r->bytes.len + n > get_to(r) - get_from(r))
		return 1;
	buf_put(&r->bytes, p, n);	/* moves nothing: run_get */
	for (; r->seen < r->to && piece_end(&r->v[r->seen]) - get_from(r) <=
	    r->bytes.len; r->seen++) {
		x = &r->v[r->seen];
		x->landed = x->crc < 0 || crc32c(0, bytes_of(r, x),
		    x->id.len) == (uint32_t)x->crc;
		if (x->landed)
			flight_land(r->f, x->x, bytes_of(r, x));
	}
	return buf_err(&r->bytes);
}

struct whole { const struct run *r; bool is[BLOCK]; };

static int
whole_each(void *arg, uint64_t ino, const struct meta_extent *e)
{
	struct small_id id = { ino, e->object, e->ooff, e->len };
	struct whole *w = arg;
	unsigned i;

	for (i = 0; i < w->r->n; i++)
		if (memcmp(&id, &w->r->v[i].id, sizeof id) == 0)
			w->is[i] = true;
	return 0;
}

/* Which files are still what they were when they were asked for? */
static void
run_whole(const struct run *r, struct whole *ret)
{
	uint64_t lo = UINT64_MAX, hi = 0;
	struct sqc *c = NULL;
	unsigned i;

	*ret = (struct whole){ .r = r };
	for (i = r->from; i < r->to; i++) {
		lo = r->v[i].id.ino < lo ? r->v[i].id.ino : lo;
		hi = r->v[i].id.ino > hi ? r->v[i].id.ino : hi;
	}
	if (sq_read(meta_sq(r->f->meta), &c) == 0)
		(void)meta_small_extents(c, lo, hi - lo + 1, whole_each, ret);
	sq_read_end(c);
}

static bool
has_room(struct fs *f)
{
	struct cache_stat st;

	cache_stat(f->cache, &st);
	return st.used + st.reserved < st.limit / 5 * 4;
}

/* Is there what nobody used for long?  In a full cache there is most often:
 * else it would never be of use again to those who read small files.  While one
 * looks, others look, too: what was so before may be no answer at all. */
static bool
may_evict(struct fs *f)
{
	struct ahead *a = f->ahead;
	int64_t now = clock_mono();
	bool look, unused;

	lock_take(&a->lock);
	look = now >= a->look;
	unused = a->unused;
	lock_drop(&a->lock);
	if (!look)
		return unused;
	unused = cache_has_older(f->cache, clock_real() - UNUSED);
	lock_take(&a->lock);
	a->unused = unused;
	a->look = now + UNUSED_LOOK;
	lock_drop(&a->lock);
	return unused;
}

/* There was none after all. */
static void
may_not_evict(struct fs *f)
{
	struct ahead *a = f->ahead;

	lock_take(&a->lock);
	a->unused = false;
	a->look = clock_mono() + UNUSED_AGAIN;
	lock_drop(&a->lock);
}

static bool
may_keep(struct fs *f)
{
	return has_room(f) || may_evict(f);
}

static bool
run_keep(struct run *r)
{
	struct small_put puts[BLOCK];
	struct whole whole;
	uint64_t total = 0;
	unsigned i, n = 0;

	run_whole(r, &whole);
	for (i = r->from; i < r->to; i++) {
		const struct piece *x = &r->v[i];

		if (!whole.is[i] || !x->landed)
			continue;
		counter_add(fill_bytes, (int64_t)x->id.len);
		puts[n++] = (struct small_put){ x->id, bytes_of(r, x) };
		total += x->id.len;
	}
	if (n == 0 || has_room(r->f) ||
	    cache_room(r->f->cache, total, false) == 0)
		return n == 0 || small_add(r->f->cache, puts, n) == 0;
	may_not_evict(r->f);
	return false;
}

/* What is here by now, or being fetched by another, is left out. */
static void
run_claim(struct run *r)
{
	unsigned i, n = 0;

	for (i = 0; i < r->n; i++) {
		struct piece x = r->v[i];

		x.x = flight_begin(r->f, &x.id);
		if (x.x != NULL && small_has_any(r->f->cache, x.id.ino))
			flight_end(r->f, x.x, -EAGAIN);
		else if (x.x != NULL)
			r->v[n++] = x;
	}
	r->n = n;
}

/* One GET, of [from, to). */
static bool
run_get(struct run *r, const struct extent *e)
{
	uint64_t len = get_to(r) - get_from(r);
	bool came;

	buf_reset(&r->bytes);
	r->seen = r->from;
	came = buf_grow(&r->bytes, len) != NULL &&
	    content_fetch(r->f, e, get_from(r), len, "ahead", run_sink,
	    r) == 0 && r->bytes.len == len && may_keep(r->f);
	if (came)
		came = run_keep(r);
	for (; r->from < r->to; r->from++)
		flight_end(r->f, r->v[r->from].x,
		    r->v[r->from].landed ? 0 : -EAGAIN);
	return came;
}

/* False: it did not come, or there is no room. */
static bool
run_fetch(struct run *r)
{
	struct locations *l = NULL;
	struct extent e = { .object = r->object, .store = r->store,
	    .copies = r->copies, .key = r->key, .version = r->version };
	bool came = true;

	if (!may_keep(r->f))
		return false;
	if (r->copies > 1 && content_locations(r->f, r->object, &l) == 0 &&
	    l->n > 0) {
		e.store = l->v[0].store;
		e.key = l->v[0].key;
		e.version = l->v[0].version;
	}
	run_claim(r);
	for (r->from = 0; r->from < r->n; r->from = r->to) {
		r->to = r->from + 1;
		while (r->to < r->n && r->v[r->to].id.ooff <= get_to(r) + GAP)
			r->to++;
		if (!run_get(r, &e))
			came = false;
	}
	free(l);
	return came;
}

/* A job of the block ended; after the last, what did not come may be asked for
 * again. */
static void
block_ended(struct ahead *a, uint64_t block, bool came)
{
	struct seen *s = &a->seen[block % SEEN];

	lock_take(&a->lock);
	if (s->block == block && s->left > 0) {
		s->failed |= !came;
		if (--s->left == 0 && s->failed)
			*s = (struct seen){ .block = block };
		s->misses = 0;		/* of what is gone again */
	}
	lock_drop(&a->lock);
}

static void	run_job(void *arg);

/* Starts what may be started. */
static void
pump(struct fs *f)
{
	struct ahead *a = f->ahead;
	struct run *r;

	lock_take(&a->lock);
	while (a->active < RUNS && (r = a->head) != NULL) {
		a->head = r->next;
		if (a->head == NULL)
			a->tail = &a->head;
		a->queued--;
		a->active++;
		lock_drop(&a->lock);
		if (workers_submit(f->io, WORK_NORMAL, run_job, r) != 0) {
			block_ended(a, r->block, false);
			run_free(r);
			lock_take(&a->lock);
			a->active--;
			continue;
		}
		lock_take(&a->lock);
	}
	lock_drop(&a->lock);
}

static void
run_job(void *arg)
{
	struct run *r = arg;
	struct fs *f = r->f;

	block_ended(f->ahead, r->block, !atomic_load(&f->stopping) &&
	    run_fetch(r));
	run_free(r);
	lock_take(&f->ahead->lock);
	f->ahead->active--;
	lock_drop(&f->ahead->lock);
	pump(f);
}

/* --- a block --- */

static struct run *
run_new(struct block *b, const struct meta_extent *e)
{
	struct run *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->f = b->f;
	r->block = b->first / BLOCK;
	r->object = e->object;
	r->store = e->store;
	r->copies = e->copies;
	r->key = strdup(e->key);
	r->version = strdup(e->version);
	if (r->key == NULL || r->version == NULL) {
		run_free(r);
		return NULL;
	}
	if (b->last != NULL)
		b->last->next = r;
	else
		b->head = r;
	return b->last = r;
}

/* By object, then offset: what is close to the one before joins it. */
static int
block_add(void *arg, uint64_t ino, const struct meta_extent *e)
{
	struct block *b = arg;
	struct run *r = b->last;

	/* what has sums of its own (sums.h) is left for its reader */
	if (e->crc < 0 && e->kind != OBJ_IMPORTED)
		return 0;
	if (r == NULL || r->object != e->object || r->n == BLOCK ||
	    e->ooff < piece_end(&r->v[r->n - 1]) ||
	    e->ooff > piece_end(&r->v[r->n - 1]) + GAP ||
	    e->ooff + e->len > r->v[0].id.ooff + RUN_BYTES)
		r = run_new(b, e);
	if (r == NULL)
		return 1;
	r->v[r->n++] = (struct piece){ .id = { ino, e->object, e->ooff,
	    e->len }, .crc = e->crc };
	return 0;
}

/* What is here already is not fetched, nor what has another row: it would not
 * be replaced.  False: nothing is. */
static bool
run_wants(struct run *r)
{
	unsigned i, n = 0;

	for (i = 0; i < r->n; i++)
		if (!small_has_any(r->f->cache, r->v[i].id.ino))
			r->v[n++] = r->v[i];
	r->n = n;
	return n > 0;
}

static void
block_job(void *arg)
{
	struct block *b = arg;
	struct fs *f = b->f;
	struct ahead *a = f->ahead;
	struct sqc *c = NULL;
	struct run *r;
	bool told;

	told = !atomic_load(&f->stopping) && may_keep(f) &&
	    sq_read(meta_sq(f->meta), &c) == 0 &&
	    meta_small_extents(c, b->first, BLOCK, block_add, b) == 0;
	sq_read_end(c);
	while ((r = b->head) != NULL) {
		b->head = r->next;
		r->next = NULL;
		if (!run_wants(r)) {
			run_free(r);
			continue;
		}
		lock_take(&a->lock);
		*a->tail = r;
		a->tail = &r->next;
		a->queued++;
		if (a->seen[r->block % SEEN].block == r->block)
			a->seen[r->block % SEEN].left++;
		lock_drop(&a->lock);
	}
	block_ended(a, b->first / BLOCK, told);
	free(b);
	pump(f);
}

/* --- what is enough; the lock is held --- */

static struct seen *
seen_of(struct ahead *a, uint64_t block)
{
	struct seen *s = &a->seen[block % SEEN];

	if (s->block != block)
		*s = (struct seen){ .block = block };
	return s;
}

/* Is it to be fetched, and not yet?  Then it is. */
static bool
take_block(struct ahead *a, uint64_t block)
{
	struct seen *s = seen_of(a, block);

	if (s->left > 0 || a->queued >= QUEUED_MAX)
		return false;
	s->misses = 0;
	s->fetched = true;
	s->left++;
	return true;
}

static bool
is_enough(struct ahead *a, uint64_t block, bool packed)
{
	const struct seen *before = &a->seen[(block - 1) % SEEN];
	struct seen *s = seen_of(a, block);

	/* what is read one after the other goes on */
	if (++s->misses >= (packed || (before->fetched &&
	    before->block == block - 1) ? ENOUGH_PACKED : ENOUGH))
		return take_block(a, block);
	return false;
}

/* So many misses in so short a time: all of it is being read. */
static bool
is_whole_street(struct ahead *a, uint64_t street, bool packed)
{
	struct street *s = &a->streets[street % STREETS];
	int64_t now = clock_mono();

	if (s->street != street || now - s->since > STREET_TIME)
		*s = (struct street){ .street = street, .since = now };
	if (++s->misses < (packed ? STREET_PACKED : STREET_ENOUGH))
		return false;
	s->misses = 0;
	return true;
}

static void
start_block(struct fs *f, uint64_t block)
{
	struct block *b = calloc(1, sizeof *b);

	if (b != NULL)
		*b = (struct block){ .f = f, .first = block * BLOCK };
	if (b != NULL && workers_submit(f->io, WORK_NORMAL, block_job, b) == 0)
		return;
	free(b);
	block_ended(f->ahead, block, false);
}

void
ahead_missed(struct fs *f, uint64_t ino, bool packed)
{
	uint64_t block = ino / BLOCK, street = block / STREET, want[STREET];
	struct ahead *a = f->ahead;
	unsigned i, n = 0;

	lock_take(&a->lock);
	if (is_enough(a, block, packed))
		want[n++] = block;
	if (is_whole_street(a, street, packed))
		/* from where it is read, and round */
		for (i = n; i < STREET; i++) {
			uint64_t b = street * STREET + (block + i) % STREET;

			if (take_block(a, b))
				want[n++] = b;
		}
	lock_drop(&a->lock);
	for (i = 0; i < n; i++)
		start_block(f, want[i]);
}

/*
 * pinned: which inodes are pinned, and the room that is kept for them (C5).
 *
 *   c_pin     (pin, ino): its size as wanted
 *   c_pinned  one row an inode: in how many pins, size, and res: the bytes
 *             that are still to come.  What is here is size - res.
 *
 * The sum of res is cache.reserved, and the file `reserve` has that many
 * bytes preallocated, so that no one else can take them; as bytes come, it is
 * cut by as much, in pieces.  While a file is in memory its res is there and
 * goes to the row with its map.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "cache/map.h"

#define PIECE		(UINT64_C(16) << 20)
#define GROUP		2048	/* files a transaction */

/* --- the reserve file --- */

/* Makes it as large as what is reserved; slack: cut only when more than a
 * piece is too much. */
static int
reserve_fit(struct cache *c, uint64_t slack)
{
	uint64_t want, have;
	int err = 0;

	lock_take(&c->space_lock);
	while (c->reserve_busy)
		cond_wait(&c->space_cond, &c->space_lock);
	want = atomic_load(&c->reserved);
	have = c->reserve_size;
	c->reserve_busy = true;
	lock_drop(&c->space_lock);
	if ((int64_t)want < 0)
		want = 0;
	if (want > have)
		err = sys.fallocate(c->reserve_fd, 0, have, want - have);
	else if (have - want > slack || (want == 0 && have > 0))
		err = sys.ftruncate(c->reserve_fd, want);
	else
		want = have;
	if (err && want > have)
		sys.ftruncate(c->reserve_fd, have);
	lock_take(&c->space_lock);
	if (!err)
		c->reserve_size = want;
	c->reserve_busy = false;
	cond_broadcast(&c->space_cond);
	lock_drop(&c->space_lock);
	return err;
}

static int
recount(struct cache *c)
{
	struct sqc *q;
	struct sqs *s;
	int r;

	r = sq_read(c->index, &q);
	if (r)
		return r;
	s = sq_prep(q, "SELECT count(*), total(size), total(res)"
	    " FROM c_pinned");
	r = s ? sqs_step(s) : sq_err(q);
	if (r == 1) {
		atomic_store(&c->pins, sqs_col_int(s, 0));
		atomic_store(&c->pinned_bytes, sqs_col_int(s, 1));
		atomic_store(&c->reserved, sqs_col_int(s, 2));
		sqs_reset(s);
	}
	sq_read_end(q);
	return r < 0 ? r : 0;
}

int
pinned_open(struct cache *c)
{
	struct stat st;
	char *path;
	int err;

	if (asprintf(&path, "%s/reserve", c->dir) < 0)
		return -ENOMEM;
	c->reserve_fd = sys.open(path, O_RDWR | O_CREAT | O_CLOEXEC |
	    O_NOFOLLOW, 0600);
	free(path);
	if (c->reserve_fd < 0)
		return c->reserve_fd;
	err = sys.fstat(c->reserve_fd, &st);
	if (err)
		return err;
	c->reserve_size = st.st_size;
	err = recount(c);
	if (!err && reserve_fit(c, 0))
		log_warn("the room reserved for pins is not there any more",
		    "bytes=%llu", (unsigned long long)c->reserved);
	return err;
}

void
pinned_close(struct cache *c)
{
	if (c->reserve_fd >= 0)
		sys.close(c->reserve_fd);
	c->reserve_fd = -1;
}

void
pinned_use(struct bfile *b, uint64_t n, bool now)
{
	struct cache *c = b->c;

	lock_take(&b->lock);
	if (!b->pinned) {
		lock_drop(&b->lock);
		return;
	}
	if (n > b->res)
		n = b->res;
	b->res -= n;
	lock_drop(&b->lock);
	atomic_fetch_sub(&c->reserved, n);
	if (now || c->reserve_size - atomic_load(&c->reserved) > PIECE)
		reserve_fit(c, now ? 0 : PIECE);
}

int
pinned_load(struct sqc *q, struct bfile *b)
{
	struct sqs *s;
	int r;

	if (atomic_load(&b->c->pins) == 0)
		return 0;
	s = sq_prep(q, "SELECT res FROM c_pinned WHERE ino=?1");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, b->ino);
	r = sqs_step(s);
	b->pinned = r == 1;
	b->res = r == 1 ? sqs_col_int(s, 0) : 0;
	sqs_reset(s);
	return r < 0 ? r : 0;
}

int
pinned_save(struct sqc *q, uint64_t ino, uint64_t res)
{
	struct sqs *s = sq_prep(q, "UPDATE c_pinned SET res=?2 WHERE ino=?1");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	sqs_int(s, 2, res);
	return sqs_run(s);
}

/* --- small files --- */

struct inos { const uint64_t *v; uint64_t n; int64_t sum; bool lost; };

static int
small_tx(struct sqc *q, void *arg)
{
	struct inos *a = arg;
	struct sqs *g, *s;
	uint64_t i;
	int r, err = 0;

	a->sum = 0;
	for (i = 0; !err && i < a->n; i++) {
		g = sq_prep(q, "SELECT size,res FROM c_pinned WHERE ino=?1");
		if (g == NULL)
			return sq_err(q);
		sqs_int(g, 1, a->v[i]);
		r = sqs_step(g);
		if (r == 1)
			a->sum += a->lost ? sqs_col_int(g, 0) -
			    sqs_col_int(g, 1) : -sqs_col_int(g, 1);
		sqs_reset(g);
		if (r != 1)
			continue;
		s = sq_prep(q, "UPDATE c_pinned SET res=CASE ?2 WHEN 1 THEN"
		    " size ELSE 0 END WHERE ino=?1");
		if (s == NULL)
			return sq_err(q);
		sqs_int(s, 1, a->v[i]);
		sqs_int(s, 2, a->lost);
		err = sqs_run(s);
	}
	return err;
}

void
pinned_small(struct cache *c, const uint64_t *inos, unsigned n)
{
	struct inos a = { .v = inos, .n = n };

	if (sq_write(c->index, small_tx, &a) == 0 && a.sum != 0) {
		atomic_fetch_add(&c->reserved, a.sum);
		if (c->reserve_size - atomic_load(&c->reserved) > PIECE)
			reserve_fit(c, PIECE);
	}
}

void
pinned_lost(struct cache *c, uint64_t ino)
{
	struct inos a = { .v = &ino, .n = 1, .lost = true };

	if (sq_write(c->index, small_tx, &a) == 0)
		atomic_fetch_add(&c->reserved, a.sum);
}

/* --- pinning --- */

struct batch {
	uint64_t		 pin;
	const struct pin_want	*w;
	uint64_t		 n;
	uint64_t		*have;
	uint8_t			*added;	/* new in this pin */
	int64_t			 res, bytes;	/* what changed */
	int64_t			 inodes;
};

/* Bytes of each that are here, as the index and small.db say. */
static int
count_have(struct cache *c, struct batch *a)
{
	struct sqc *q = NULL, *s = NULL;
	uint64_t i, n;
	int err;

	err = sq_read(c->index, &q);
	if (!err)
		err = sq_read(c->small, &s);
	/* one state for a group of files: a transaction each costs more */
	if (!err)
		err = sq_snapshot_begin(q);
	if (!err)
		err = sq_snapshot_begin(s);
	for (i = 0; !err && i < a->n; i++) {
		n = 0;
		err = index_present(q, a->w[i].ino, a->w[i].size, &n);
		if (err == -ENOENT) {
			n = small_bytes_of(s, a->w[i].ino);
			if (n != a->w[i].size)
				n = 0;
			err = 0;
		}
		a->have[i] = n;
	}
	sq_read_end(q);
	sq_read_end(s);
	return err;
}

/* c_pinned's row: 1 and its columns, 0, -errno. */
static int
row_get(struct sqc *q, uint64_t ino, int64_t *n, int64_t *size, int64_t *res)
{
	struct sqs *s = sq_prep(q,
	    "SELECT n,size,res FROM c_pinned WHERE ino=?1");
	int r;

	*n = *size = *res = 0;
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	r = sqs_step(s);
	if (r == 1) {
		*n = sqs_col_int(s, 0);
		*size = sqs_col_int(s, 1);
		*res = sqs_col_int(s, 2);
	}
	sqs_reset(s);
	return r;
}

static int
row_put(struct sqc *q, uint64_t ino, int64_t n, int64_t size, int64_t res)
{
	struct sqs *s = sq_prep(q, n > 0 ?
	    "INSERT OR REPLACE INTO c_pinned VALUES(?1,?2,?3,?4)" :
	    "DELETE FROM c_pinned WHERE ino=?1");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	if (n > 0) {
		sqs_int(s, 2, n);
		sqs_int(s, 3, size);
		sqs_int(s, 4, res);
	}
	return sqs_run(s);
}

static int
pin_tx(struct sqc *q, void *arg)
{
	struct batch *a = arg;
	int64_t n, size, res, left;
	struct sqs *s;
	uint64_t i;
	int err = 0;

	a->res = a->bytes = a->inodes = 0;
	for (i = 0; !err && i < a->n; i++) {
		s = sq_prep(q, "INSERT OR IGNORE INTO c_pin VALUES(?1,?2,?3)");
		if (s == NULL)
			return sq_err(q);
		sqs_int(s, 1, a->pin);
		sqs_int(s, 2, a->w[i].ino);
		sqs_int(s, 3, a->w[i].size);
		err = sqs_run(s);
		if (err)
			return err;
		a->added[i] = sq_changes(q) > 0;
		if (!a->added[i]) {
			s = sq_prep(q, "UPDATE c_pin SET size=?3"
			    " WHERE pin=?1 AND ino=?2");
			if (s == NULL)
				return sq_err(q);
			sqs_int(s, 1, a->pin);
			sqs_int(s, 2, a->w[i].ino);
			sqs_int(s, 3, a->w[i].size);
			err = sqs_run(s);
		}
		err = err ? err : row_get(q, a->w[i].ino, &n, &size, &res);
		if (err < 0)
			return err;
		left = a->w[i].size > a->have[i] ?
		    a->w[i].size - a->have[i] : 0;
		a->inodes += n == 0;
		a->bytes += (int64_t)a->w[i].size - size;
		a->res += left - res;
		err = row_put(q, a->w[i].ino, n + a->added[i],
		    a->w[i].size, left);
	}
	return err;
}

static int
unpin_tx(struct sqc *q, void *arg)
{
	struct batch *a = arg;
	int64_t n, size, res;
	struct sqs *s;
	uint64_t i;
	int err = 0;

	a->res = a->bytes = a->inodes = 0;
	for (i = 0; !err && i < a->n; i++) {
		s = sq_prep(q, "DELETE FROM c_pin WHERE pin=?1 AND ino=?2");
		if (s == NULL)
			return sq_err(q);
		sqs_int(s, 1, a->pin);
		sqs_int(s, 2, a->w[i].ino);
		err = sqs_run(s);
		if (err || sq_changes(q) == 0)
			continue;
		err = row_get(q, a->w[i].ino, &n, &size, &res);
		if (err <= 0)
			continue;
		if (n == 1) {
			a->inodes--;
			a->bytes -= size;
			a->res -= res;
		}
		err = row_put(q, a->w[i].ino, n - 1, size, res);
	}
	return err;
}

/* The files in memory follow their rows. */
static void
refresh(struct cache *c, const struct batch *a)
{
	struct sqc *q;
	struct bfile *b;
	uint64_t i;
	bool here;

	for (i = 0; i < a->n; i++) {
		lock_take(&c->tab_lock);
		here = table_find(c, a->w[i].ino) != NULL;
		lock_drop(&c->tab_lock);
		if (!here || bfile_get(c, a->w[i].ino, &b))
			continue;
		if (sq_read(c->index, &q) == 0) {
			lock_take(&b->lock);
			b->pinned = false;
			b->res = 0;
			pinned_load(q, b);
			lock_drop(&b->lock);
			sq_read_end(q);
		}
		bfile_put(b);
	}
}

static int
run_batch(struct cache *c, sq_fn *fn, struct batch *a)
{
	int err = sq_write(c->index, fn, a);

	if (err)
		return err;
	atomic_fetch_add(&c->pins, a->inodes);
	atomic_fetch_add(&c->pinned_bytes, a->bytes);
	atomic_fetch_add(&c->reserved, a->res);
	refresh(c, a);
	return 0;
}

/* What this call added goes again. */
static void
undo_pin(struct cache *c, uint64_t pin, const struct pin_want *w,
    const uint8_t *added, uint64_t n)
{
	struct batch a = { .pin = pin };
	uint64_t i;

	for (i = 0; i < n; i++) {
		if (!added[i])
			continue;
		a.w = &w[i];
		a.n = 1;
		run_batch(c, unpin_tx, &a);
	}
	reserve_fit(c, 0);
}

int
cache_pin(struct cache *c, uint64_t pin, const struct pin_want *w, uint64_t n,
    struct why *why)
{
	struct batch a = { .pin = pin };
	uint64_t i = 0, need = 0, limit = atomic_load(&c->limit);
	uint8_t *added = NULL;
	int err = 0;

	cache_landed_commit(c);
	map_save_all(c);
	a.have = calloc(GROUP, sizeof(*a.have));
	added = calloc(n + 1, 1);
	if (a.have == NULL || added == NULL)
		err = -ENOMEM;
	/* pinned first, so that making room does not take any of them */
	for (; !err && i < n; i += a.n) {
		a.w = w + i;
		a.n = n - i < GROUP ? n - i : GROUP;
		a.added = added + i;
		err = count_have(c, &a);
		if (!err)
			err = run_batch(c, pin_tx, &a);
		if (err)
			break;
		need += a.res > 0 ? a.res : 0;
	}
	if (!err)
		err = space_make(c, 0, limit);
	if (!err) {
		lock_take(&c->space_lock);
		need = atomic_load(&c->reserved) - c->reserve_size;
		lock_drop(&c->space_lock);
		if ((int64_t)need > 0 && need > space_disk_free(c))
			err = -ENOSPC;
		else
			err = reserve_fit(c, PIECE);
	}
	if (err)
		undo_pin(c, pin, w, added, i < n ? i : n);
	free(a.have);
	free(added);
	if (err == -ENOSPC)
		return why_set(why, err, "cannot reserve %llu bytes for the"
		    " pin: the cache may hold %llu; raise cache_size, unpin"
		    " or free space in %s", (unsigned long long)need,
		    (unsigned long long)limit, c->dir);
	return err;
}

/* The next inodes of a pin. */
static int
pin_list(struct cache *c, uint64_t pin, uint64_t after, bool missing,
    struct pin_want *ret, uint64_t *retn)
{
	struct sqc *q;
	struct sqs *s;
	int r;

	*retn = 0;
	r = sq_read(c->index, &q);
	if (r)
		return r;
	s = missing ? sq_prep(q, "SELECT p.ino,p.size FROM c_pin p"
	    " JOIN c_pinned d ON d.ino=p.ino WHERE p.pin=?1 AND p.ino>?2"
	    " AND d.res>0 ORDER BY p.ino LIMIT 2048") :
	    sq_prep(q, "SELECT ino,size FROM c_pin WHERE pin=?1 AND ino>?2"
	    " ORDER BY ino LIMIT 2048");
	if (s == NULL) {
		r = sq_err(q);
	} else {
		sqs_int(s, 1, pin);
		sqs_int(s, 2, after);
		while (*retn < GROUP && (r = sqs_step(s)) == 1) {
			ret[*retn].ino = sqs_col_int(s, 0);
			ret[(*retn)++].size = sqs_col_int(s, 1);
		}
		sqs_reset(s);
	}
	sq_read_end(q);
	return r < 0 ? r : 0;
}

int
cache_unpin(struct cache *c, uint64_t pin, const uint64_t *inos, uint64_t n)
{
	struct pin_want *w = calloc(GROUP, sizeof(*w));
	struct batch a = { .pin = pin, .w = w };
	uint64_t i = 0, k;
	int err = 0;

	if (w == NULL)
		return -ENOMEM;
	map_save_all(c);
	for (;;) {
		if (inos == NULL) {
			err = pin_list(c, pin, 0, false, w, &a.n);
		} else {
			a.n = n - i < GROUP ? n - i : GROUP;
			for (k = 0; k < a.n; k++)
				w[k].ino = inos[i + k];
			i += a.n;
		}
		if (err || a.n == 0)
			break;
		err = run_batch(c, unpin_tx, &a);
		if (err)
			break;
	}
	free(w);
	if (reserve_fit(c, 0))
		log_warn("cannot give back what was reserved", "pin=%llu",
		    (unsigned long long)pin);
	space_came(c);
	return err;
}

bool
cache_is_pinned(struct cache *c, uint64_t ino)
{
	int64_t n, size, res;
	struct sqc *q;
	int r;

	if (atomic_load(&c->pins) == 0)
		return false;
	if (sq_read(c->index, &q))
		return true;	/* not known: keep it */
	r = row_get(q, ino, &n, &size, &res);
	sq_read_end(q);
	return r != 0;
}

int
cache_pin_stat(struct cache *c, uint64_t pin, struct cache_pin_stat *ret)
{
	struct sqc *q;
	struct sqs *s;
	int r;

	map_save_all(c);
	memset(ret, 0, sizeof(*ret));
	r = sq_read(c->index, &q);
	if (r)
		return r;
	s = sq_prep(q, "SELECT count(*), total(d.size),"
	    " total(d.size - min(d.res, d.size)), total(d.res=0)"
	    " FROM c_pin p JOIN c_pinned d ON d.ino=p.ino WHERE p.pin=?1");
	r = -ENOMEM;
	if (s != NULL) {
		sqs_int(s, 1, pin);
		r = sqs_step(s);
	}
	if (r == 1) {
		ret->files = sqs_col_int(s, 0);
		ret->want_bytes = sqs_col_int(s, 1);
		ret->have_bytes = sqs_col_int(s, 2);
		ret->have_files = sqs_col_int(s, 3);
		sqs_reset(s);
	}
	sq_read_end(q);
	return r < 0 ? r : 0;
}

static int
pin_walk(struct cache *c, uint64_t pin, bool missing, uint64_t after,
    int (*each)(void *arg, uint64_t ino, uint64_t size), void *arg)
{
	struct pin_want *w = calloc(GROUP, sizeof(*w));
	uint64_t n, i;
	int err = 0;

	if (w == NULL)
		return -ENOMEM;
	while (!err) {
		err = pin_list(c, pin, after, missing, w, &n);
		if (err || n == 0)
			break;
		after = w[n - 1].ino;
		for (i = 0; !err && i < n; i++)
			err = each(arg, w[i].ino, w[i].size);
	}
	free(w);
	return err;
}

int
cache_pin_missing(struct cache *c, uint64_t pin, uint64_t after,
    int (*each)(void *arg, uint64_t ino, uint64_t size), void *arg)
{
	map_save_all(c);
	return pin_walk(c, pin, true, after, each, arg);
}

int
cache_pin_each(struct cache *c, uint64_t pin,
    int (*each)(void *arg, uint64_t ino, uint64_t size), void *arg)
{
	return pin_walk(c, pin, false, 0, each, arg);
}

/* The pin after that one: 1, 0: none. */
static int
pin_after(struct cache *c, uint64_t after, uint64_t *ret)
{
	struct sqc *q;
	struct sqs *s;
	int r;

	r = sq_read(c->index, &q);
	if (r)
		return r;
	s = sq_prep(q, "SELECT pin FROM c_pin WHERE pin>?1"
	    " ORDER BY pin LIMIT 1");
	if (s == NULL) {
		r = sq_err(q);
	} else {
		sqs_int(s, 1, after);
		r = sqs_step(s);
		if (r == 1)
			*ret = sqs_col_int(s, 0);
		sqs_reset(s);
	}
	sq_read_end(q);
	return r;
}

int
cache_pins_each(struct cache *c, int (*each)(void *arg, uint64_t pin),
    void *arg)
{
	uint64_t pin = 0;
	int r;

	while ((r = pin_after(c, pin, &pin)) == 1) {
		r = each(arg, pin);
		if (r != 0)
			break;
	}
	return r;
}

/*
 * small: see small.h.  Two tables, with a row an inode of the newest content
 * that was put: s_bytes, and s_used (when it was used, how long it is), which
 * is small, so that lengths, the least recently used and uses themselves are
 * read and written without touching the pages of bytes.
 *
 * Uses are noted in memory and written some thousands at a time; a crash
 * forgets some, which costs nothing but a worse choice of what to evict.  A
 * row that is among the newest quarter anyway, and of the last five minutes,
 * is left as it is.  What is pinned is in use as long as it is: found at the
 * old end it goes to the new one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/room.h"
#include "base/sys.h"
#include "cache/map.h"

#define TOUCHED_MAX	4096
#define RECENT		(300 * NSEC_PER_SEC)	/* a use not noted anew */
#define OLDEST_TRIES	64	/* batches of pinned ones */

static int
schema_tx(struct sqc *q, void *arg)
{
	return sq_exec(q,
	    "DROP TABLE IF EXISTS s_small;"		/* of older versions */
	    "CREATE TABLE IF NOT EXISTS s_bytes(ino INTEGER PRIMARY KEY,"
	    " object INTEGER, ooff INTEGER, len INTEGER, crc INTEGER,"
	    " data BLOB);"
	    "CREATE TABLE IF NOT EXISTS s_used(ino INTEGER PRIMARY KEY,"
	    " atime INTEGER, len INTEGER);"
	    "CREATE INDEX IF NOT EXISTS s_lru ON s_used(atime, len);");
}

uint64_t
small_row_cost(uint64_t len)
{
	return len + 128;	/* row, index, slack */
}

/* Opens what is there; -EUCLEAN: it is damaged. */
static int
open_db(struct cache *c, const char *path, struct why *why)
{
	struct sq_opts o = { .page_size = 16384, .cache_kib = 4096 };
	int err;

	err = sq_open(path, &o, &c->small, why);
	if (!err)
		err = sq_write(c->small, schema_tx, NULL);
	if (err < 0) {
		sq_close(c->small);
		c->small = NULL;
	}
	return err < 0 ? err : 0;
}

/* It holds clean bytes alone: damaged, it is made anew, and they are fetched
 * again. */
static int
remake_db(struct cache *c, char *path, struct why *why)
{
	static const char *const ends[] = { "-wal", "-shm", "" };
	char name[4096];

	log_warn("damaged database of small files; it is made anew", "file=%s",
	    LOG_Q(path));
	for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		(void)sys.unlink(name);
	}
	return open_db(c, path, why);
}

int
small_open(struct cache *c, struct why *why)
{
	struct why own = { "" };
	struct sqc *q;
	struct sqs *s;
	char *path;
	int err;

	c->touched = calloc(TOUCHED_MAX, sizeof(*c->touched));
	if (c->touched == NULL || asprintf(&path, "%s/small.db", c->dir) < 0)
		return -ENOMEM;
	room_enter(path);
	err = open_db(c, path, &own);
	if (err == -EUCLEAN)
		err = remake_db(c, path, why);
	else if (err)
		why_set(why, err, "%s", why_text(&own, err));
	free(path);
	/* without it only eviction is refused while the disk is full */
	if (!err && sq_ballast(c->small))
		log_warn("no room is kept for small.db", "dir=%s",
		    LOG_Q(c->dir));
	if (!err)
		err = sq_read(c->small, &q);
	if (err)
		return err;
	s = sq_prep(q, "SELECT total(len) + 128 * count(*) FROM s_used");
	if (s == NULL || sqs_step(s) != 1) {
		err = sq_err(q);
	} else {
		atomic_store(&c->small_bytes, sqs_col_int(s, 0));
		sqs_reset(s);
	}
	sq_read_end(q);
	return err;
}

void
small_close(struct cache *c)
{
	if (c->small != NULL)
		small_flush_touched(c);
	sq_close(c->small);
	c->small = NULL;
	free(c->touched);
	c->touched = NULL;
}

struct touched { const uint64_t *v; unsigned n; int64_t before; };

static int
touched_tx(struct sqc *q, void *arg)
{
	struct touched *t = arg;
	int64_t now = clock_real();
	struct sqs *s = sq_prep(q,
	    "UPDATE s_used SET atime=?2 WHERE ino=?1 AND atime<?3");
	unsigned i;
	int err = 0;

	if (s == NULL)
		return sq_err(q);
	for (i = 0; !err && i < t->n; i++) {
		sqs_int(s, 1, t->v[i]);
		sqs_int(s, 2, now);
		sqs_int(s, 3, t->before);
		err = sqs_run(s);
	}
	return err;
}

static int
by_ino(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void
small_flush_touched(struct cache *c)
{
	int64_t now = clock_real(), first, recent;
	uint64_t *v = malloc(TOUCHED_MAX * sizeof(*v));
	struct touched t = { .v = v };

	if (v == NULL)
		return;
	lock_take(&c->tab_lock);
	t.n = c->ntouched;
	memcpy(v, c->touched, t.n * sizeof(*v));
	c->ntouched = 0;
	lock_drop(&c->tab_lock);
	if (t.n == 0)
		goto out;
	first = small_oldest(c);
	recent = first < now ? (now - first) / 4 : 0;
	t.before = now - (recent < RECENT ? recent : RECENT);
	qsort(v, t.n, sizeof(*v), by_ino);	/* page by page */
	if (sq_write(c->small, touched_tx, &t))
		log_warn("cannot note uses of small files", "dir=%s",
		    LOG_Q(c->dir));
out:
	free(v);
}

static void
touch(struct cache *c, uint64_t ino)
{
	bool full = false;

	lock_take(&c->tab_lock);
	if (c->ntouched < TOUCHED_MAX) {
		c->touched[c->ntouched++] = ino;
		full = c->ntouched == TOUCHED_MAX / 2;
	}
	lock_drop(&c->tab_lock);
	if (full) {
		atomic_store(&c->saving, true);
		cache_kick(c);
	}
}

/* The row of id: 0 and its bytes appended when out is there, -ENOENT,
 * -EUCLEAN damaged. */
static int
row_get(struct cache *c, const struct small_id *id, struct buf *out)
{
	struct sqc *q;
	struct sqs *s;
	const void *p;
	size_t n;
	int r;

	r = sq_read(c->small, &q);
	if (r)
		return r;
	s = sq_prep(q, "SELECT crc,data FROM s_bytes WHERE ino=?1 AND"
	    " object=?2 AND ooff=?3 AND len=?4");
	if (s == NULL) {
		r = sq_err(q);
		goto out;
	}
	sqs_int(s, 1, id->ino);
	sqs_int(s, 2, id->object);
	sqs_int(s, 3, id->ooff);
	sqs_int(s, 4, id->len);
	r = sqs_step(s);
	if (r == 1) {
		p = sqs_col_blob(s, 1, &n);
		r = 0;
		if (n != id->len || crc32c(0, p, n) != sqs_col_int(s, 0))
			r = -EUCLEAN;
		else if (out != NULL)
			buf_put(out, p, n);
		if (!r && out != NULL)
			r = buf_err(out);
	} else if (r == 0) {
		r = -ENOENT;
	}
	sqs_reset(s);
out:
	sq_read_end(q);
	return r;
}

static void
damaged(struct cache *c, uint64_t ino)
{
	counter_add(checksum_errors, 1);
	log_warn("damaged small file in the cache; it will be fetched again",
	    "ino=%llu", (unsigned long long)ino);
	small_drop(c, ino);
}

int
small_get(struct cache *c, const struct small_id *id, struct buf *out)
{
	int err = row_get(c, id, out);

	if (err == -EUCLEAN) {
		damaged(c, id->ino);
		return -ENOENT;
	}
	if (!err)
		touch(c, id->ino);
	return err;
}

bool
small_has(struct cache *c, const struct small_id *id)
{
	struct sqc *q;
	struct sqs *s;
	int r = 0;

	if (sq_read(c->small, &q))
		return false;
	s = sq_prep(q, "SELECT 1 FROM s_bytes WHERE ino=?1 AND object=?2"
	    " AND ooff=?3 AND len=?4");
	if (s != NULL) {
		sqs_int(s, 1, id->ino);
		sqs_int(s, 2, id->object);
		sqs_int(s, 3, id->ooff);
		sqs_int(s, 4, id->len);
		r = sqs_step(s);
		sqs_reset(s);
	}
	sq_read_end(q);
	return r == 1;
}

bool
small_has_any(struct cache *c, uint64_t ino)
{
	struct sqc *q;
	bool any;

	if (sq_read(c->small, &q))
		return false;
	any = small_bytes_of(q, ino) != UINT64_MAX;
	sq_read_end(q);
	return any;
}

int
small_verify(struct cache *c, const struct small_id *id)
{
	int err = row_get(c, id, NULL);

	if (err == -EUCLEAN)
		damaged(c, id->ino);
	return err;
}

struct puts {
	const struct small_put	*v;
	unsigned		 n;
	int64_t			 grew;
	uint64_t		*added;	/* small_add: these inodes */
	unsigned		 nadded;
};

static int64_t
old_cost(struct sqc *q, uint64_t ino)
{
	uint64_t len = small_bytes_of(q, ino);

	return len == UINT64_MAX ? 0 : (int64_t)small_row_cost(len);
}

static int
put_bytes(struct sqc *q, const struct small_put *p)
{
	struct sqs *s = sq_prep(q, "INSERT OR REPLACE INTO s_bytes VALUES"
	    "(?1,?2,?3,?4,?5,?6)");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, p->id.ino);
	sqs_int(s, 2, p->id.object);
	sqs_int(s, 3, p->id.ooff);
	sqs_int(s, 4, p->id.len);
	sqs_int(s, 5, crc32c(0, p->p, p->id.len));
	sqs_blob(s, 6, p->p, p->id.len);
	return sqs_run(s);
}

static int
put_used(struct sqc *q, const struct small_id *id, int64_t now)
{
	struct sqs *s = sq_prep(q,
	    "INSERT OR REPLACE INTO s_used VALUES(?1,?2,?3)");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, id->ino);
	sqs_int(s, 2, now);
	sqs_int(s, 3, id->len);
	return sqs_run(s);
}

static int
put_tx(struct sqc *q, void *arg)
{
	struct puts *a = arg;
	int64_t now = clock_real(), old;
	unsigned i;
	int err = 0;

	a->grew = 0;
	a->nadded = 0;
	for (i = 0; !err && i < a->n; i++) {
		const struct small_id *id = &a->v[i].id;

		old = old_cost(q, id->ino);
		if (a->added != NULL && old != 0)
			continue;
		err = put_bytes(q, &a->v[i]);
		if (!err)
			err = put_used(q, id, now);
		a->grew += (int64_t)small_row_cost(id->len) - old;
		if (a->added != NULL)
			a->added[a->nadded++] = id->ino;
	}
	return err;
}

static int
puts_cost(const struct small_put *puts, unsigned n, uint64_t *ret)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		if (puts[i].id.len > CACHE_SMALL_MAX)
			return -EFBIG;
		total += small_row_cost(puts[i].id.len);
	}
	*ret = total;
	return 0;
}

int
small_put(struct cache *c, const struct small_put *puts, unsigned n)
{
	struct puts a = { .v = puts, .n = n };
	uint64_t total, *inos;
	unsigned i;
	int err;

	err = puts_cost(puts, n, &total);
	if (err)
		return err;
	/* pinned ones have their room already */
	if (atomic_load(&c->pins) > 0) {
		inos = malloc(n * sizeof(*inos));
		if (inos == NULL)
			return -ENOMEM;
		for (i = 0; i < n; i++)
			inos[i] = puts[i].id.ino;
		pinned_small(c, inos, n);
		free(inos);
	}
	err = cache_room(c, total, false);
	if (!err)
		err = sq_write(c->small, put_tx, &a);
	if (!err)
		atomic_fetch_add(&c->small_bytes, a.grew);
	return err;
}

int
small_add(struct cache *c, const struct small_put *puts, unsigned n)
{
	struct puts a = { .v = puts, .n = n };
	struct cache_stat st;
	uint64_t total;
	int err;

	err = puts_cost(puts, n, &total);
	if (err)
		return err;
	cache_stat(c, &st);
	if (st.used + st.reserved + total > st.limit || total > st.disk_free)
		return -ENOSPC;
	a.added = malloc(n * sizeof(*a.added));
	if (a.added == NULL)
		return -ENOMEM;
	err = sq_write(c->small, put_tx, &a);
	if (!err) {
		atomic_fetch_add(&c->small_bytes, a.grew);
		/* only what came gives its reservation back (C5) */
		if (atomic_load(&c->pins) > 0 && a.nadded > 0)
			pinned_small(c, a.added, a.nadded);
	}
	free(a.added);
	return err;
}

static int
row_drop(struct sqc *q, uint64_t ino)
{
	static const char *const tables[] = {
		"DELETE FROM s_bytes WHERE ino=?1",
		"DELETE FROM s_used WHERE ino=?1",
	};
	int err = 0;

	for (unsigned i = 0; !err && i < 2; i++) {
		struct sqs *s = sq_prep(q, tables[i]);

		if (s == NULL)
			return sq_err(q);
		sqs_int(s, 1, ino);
		err = sqs_run(s);
	}
	return err;
}

static int
drop_tx(struct sqc *q, void *arg)
{
	struct puts *a = arg;

	a->grew = old_cost(q, a->v->id.ino);
	return row_drop(q, a->v->id.ino);
}

int
small_drop(struct cache *c, uint64_t ino)
{
	struct small_put p = { .id = { .ino = ino } };
	struct puts a = { .v = &p, .n = 1 };
	int err;

	err = sq_write(c->small, drop_tx, &a);
	if (!err && a.grew > 0) {
		atomic_fetch_sub(&c->small_bytes, a.grew);
		if (atomic_load(&c->pins) > 0)
			pinned_lost(c, ino);
		space_came(c);
	}
	return err;
}

uint64_t
small_bytes_of(struct sqc *q, uint64_t ino)
{
	struct sqs *s = sq_prep(q, "SELECT len FROM s_used WHERE ino=?1");
	uint64_t n = UINT64_MAX;

	if (s == NULL)
		return n;
	sqs_int(s, 1, ino);
	if (sqs_step(s) == 1)
		n = sqs_col_int(s, 0);
	sqs_reset(s);
	return n;
}

/* --- eviction --- */

#define EVICT_ROWS	256

struct victims {
	uint64_t	ino[EVICT_ROWS], len[EVICT_ROWS];
	int64_t		atime[EVICT_ROWS];
	unsigned	n;
};

static int
victims_find(struct cache *c, int64_t after, uint64_t after_ino,
    struct victims *v)
{
	struct sqc *q;
	struct sqs *s;
	int r;

	v->n = 0;
	r = sq_read(c->small, &q);
	if (r)
		return r;
	s = sq_prep(q, "SELECT ino,len,atime FROM s_used WHERE atime>=?1"
	    " AND (atime>?1 OR ino>?2) ORDER BY atime, ino LIMIT 256");
	if (s == NULL) {
		r = sq_err(q);
	} else {
		sqs_int(s, 1, after);
		sqs_int(s, 2, after_ino);
		while (v->n < EVICT_ROWS && (r = sqs_step(s)) == 1) {
			v->ino[v->n] = sqs_col_int(s, 0);
			v->len[v->n] = sqs_col_int(s, 1);
			v->atime[v->n++] = sqs_col_int(s, 2);
		}
		sqs_reset(s);
	}
	sq_read_end(q);
	return r < 0 ? r : 0;
}

/* The oldest that may go: 1 and *ret; 0: there is none; -EAGAIN: those that
 * were oldest are pinned, and are the newest now. */
static int
oldest_free(struct cache *c, struct victims *v, int64_t *ret)
{
	struct touched t = { .v = v->ino, .before = INT64_MAX };
	int err = victims_find(c, INT64_MIN, 0, v);

	if (err != 0 || v->n == 0)
		return err;
	while (t.n < v->n && cache_is_pinned(c, v->ino[t.n]))
		t.n++;
	if (t.n < v->n)
		*ret = v->atime[t.n];
	err = t.n > 0 ? sq_write(c->small, touched_tx, &t) : 0;
	return err < 0 ? err : t.n < v->n ? 1 : -EAGAIN;
}

int64_t
small_oldest(struct cache *c)
{
	struct victims *v = malloc(sizeof(*v));
	int64_t r = INT64_MAX;
	int i, rc = -EAGAIN;

	for (i = 0; v != NULL && rc == -EAGAIN && i < OLDEST_TRIES; i++)
		rc = oldest_free(c, v, &r);
	free(v);
	return r;
}

static int
evict_tx(struct sqc *q, void *arg)
{
	struct victims *v = arg;
	unsigned i;
	int err = 0;

	for (i = 0; !err && i < v->n; i++)
		err = row_drop(q, v->ino[i]);
	return err;
}

int64_t
small_evict(struct cache *c, uint64_t n)
{
	struct victims *v = malloc(sizeof(*v));
	int64_t after = INT64_MIN, got, total = 0;
	uint64_t after_ino = 0;
	unsigned i, k;

	while (v != NULL && (uint64_t)total < n &&
	    victims_find(c, after, after_ino, v) == 0 && v->n > 0) {
		after = v->atime[v->n - 1];
		after_ino = v->ino[v->n - 1];
		got = 0;
		for (i = k = 0; i < v->n &&
		    (uint64_t)(total + got) < n; i++) {
			if (cache_is_pinned(c, v->ino[i]))
				continue;
			v->ino[k++] = v->ino[i];
			got += small_row_cost(v->len[i]);
		}
		v->n = k;
		if (k > 0 && sq_write(c->small, evict_tx, v))
			break;
		atomic_fetch_sub(&c->small_bytes, got);
		total += got;
	}
	free(v);
	if (total > 0) {
		counter_add(evicted_bytes, total);
		space_came(c);
	}
	return total;
}

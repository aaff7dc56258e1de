/*
 * upload_view: a stable view of what one op publishes, and landing.
 *
 * The view is by (seq, generation).  Each write moves the generation before
 * and after its pwrite, so a view that began or ended beside one is found out
 * (B8); writes through a mapping show in the lease (C2) and, after it, in
 * ctime, which is compared unless we moved it ourselves.  A live view is by
 * seq alone: the bytes are that op's for as long as nobody writes to them
 * (K6), whatever is written beside them.
 *
 * Checksums are fed while the parts are read, in order within a chunk; a
 * chunk that was not read so is read once more at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sys.h"
#include "cache/map.h"

#define FEED_BUSY	0x40000000u
#define FEED_LOST	0x80000000u
#define LANDED_KEEP	(60 * NSEC_PER_SEC)
#define CTIME_STEP	(20 * NSEC_PER_MSEC)	/* the coarsest clock's */

static int64_t
ctime_of(const struct bfile *b)
{
	struct stat st;

	if (sys.fstat(b->fd, &st))
		return -1;
	return st.st_ctim.tv_sec * NSEC_PER_SEC + st.st_ctim.tv_nsec;
}

/* A write to what the view is of is under way (LIVE), or any.  The lock is
 * held. */
static bool
being_written(const struct bfile *b, const struct upload_view *v)
{
	const struct busy *o;
	unsigned i;

	for (o = b->busy; o != NULL; o = o->next) {
		if (o->kind != BUSY_WRITE)
			continue;
		if (v->how != VIEW_LIVE)
			return true;
		for (i = 0; i < v->n; i++)
			if (v->v[i].off < o->to && o->from < v->v[i].end)
				return true;
	}
	return false;
}

/* seq's intervals, clipped to the size.  The lock is held. */
static int
gather(struct bfile *b, struct upload_view *v)
{
	const struct dset *d = &b->dirty;
	unsigned i, mine = 0;
	bool others = false;
	uint64_t end;

	v->v = calloc(d->n + 1, sizeof(*v->v));
	if (v->v == NULL)
		return -ENOMEM;
	for (i = 0; i < d->n; i++) {
		if (d->v[i].seq != v->seq) {
			others = others || d->v[i].seq == 0 ||
			    d->v[i].seq > v->seq;
			continue;
		}
		mine++;
		if (d->v[i].off >= v->size)
			continue;
		end = d->v[i].end < v->size ? d->v[i].end : v->size;
		v->v[v->n].off = d->v[i].off;
		v->v[v->n++].end = end;
	}
	v->whole = mine > 0 && (v->size == 0 || (v->n == 1 &&
	    v->v[0].off == 0 && v->v[0].end == v->size));
	/* nothing, and nobody has it: all was uploaded for ops before it */
	return mine > 0 || !others ? 0 : -ENOENT;
}

static int
copy_range(int from, int to, uint64_t off, uint64_t end)
{
	off_t in, out;
	ssize_t r;

	while (off < end) {
		in = out = off;
		r = copy_file_range(from, &in, to, &out, end - off, 0);
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ENODATA;	/* truncated meanwhile */
		off += r;
	}
	return 0;
}

/* Was it written while it was copied?  A clone is of one moment, and nobody
 * asks.  Writes that we do not see show in ctime, once that is so old that it
 * must have moved: each sets it when it begins (wait_for_writes). */
static bool
copy_is_torn(const struct bfile *b, const struct upload_view *v, int64_t began)
{
	if (atomic_load(&b->gen) != v->gen)
		return true;
	return atomic_load(&b->unseen) && (ctime_of(b) != v->ctime ||
	    began - v->ctime < CTIME_STEP);
}

/* A private file with the intervals' bytes; reflink where the disk can. */
static int
make_copy(struct bfile *b, struct upload_view *v)
{
	char *dir = slot_path(b->c, 0);
	int64_t began = clock_real();
	unsigned i;
	int fd, err = 0;

	if (dir == NULL)
		return -ENOMEM;
	*strrchr(dir, '/') = '\0';
	fd = sys.open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	free(dir);
	if (fd < 0)
		return fd;
	if (ioctl(fd, FICLONE, b->fd) != 0) {
		for (i = 0; !err && i < v->n; i++)
			err = copy_range(b->fd, fd, v->v[i].off, v->v[i].end);
		if (!err && copy_is_torn(b, v, began))
			err = -EBUSY;
	}
	if (err == -ENODATA)
		err = -EBUSY;
	if (err) {
		sys.close(fd);
		return err;
	}
	v->fd = fd;
	return 0;
}

/* Of a write that is under way the ctime is that of its begin, however long it
 * takes.  Holes are looked for under the lock that it has. */
static void
wait_for_writes(const struct bfile *b)
{
	(void)lseek(b->fd, 0, SEEK_HOLE);
}

int
upload_begin(struct bfile *b, uint64_t seq, enum view_how how,
    struct upload_view *ret)
{
	struct upload_view v = { .b = b, .seq = seq, .how = how,
	    .fd = b->fd };
	uint64_t n;
	int err;

	if (how == VIEW_FINAL && atomic_load(&b->writers) > 0)
		return -EBUSY;
	if (atomic_load(&b->unseen))
		wait_for_writes(b);
	v.own = atomic_load(&b->own);
	v.gen = atomic_load(&b->gen);
	v.ctime = ctime_of(b);
	v.size = bfile_size(b);
	lock_take(&b->lock);
	map_settle(b);
	err = how == VIEW_LIVE && atomic_load(&b->unseen) ? -EBUSY :
	    gather(b, &v);
	if (!err && being_written(b, &v))
		err = -EBUSY;
	lock_drop(&b->lock);
	n = chunks_of(v.size) + 1;
	if (!err) {
		v.crcs = calloc(n, sizeof(*v.crcs));
		v.fed = calloc(n, sizeof(_Atomic uint32_t));
		if (v.crcs == NULL || v.fed == NULL)
			err = -ENOMEM;
	}
	if (!err && how == VIEW_COPY)
		err = make_copy(b, &v);
	else if (!err && how == VIEW_FINAL)
		err = bfile_lease(b, F_RDLCK) == 0 ? 0 : -EBUSY;
	if (err) {
		free(v.v);
		free(v.crcs);
		free(v.fed);
		return err;
	}
	bfile_ref(b);
	*ret = v;
	return 0;
}

/* [off, off+n) of chunk k, whose first byte is at `start`. */
static void
feed(struct upload_view *v, uint64_t k, uint32_t at, const void *p, uint32_t n)
{
	_Atomic uint32_t *fed = (_Atomic uint32_t *)v->fed + k;
	uint32_t want = at;

	if (!atomic_compare_exchange_strong(fed, &want, FEED_BUSY)) {
		/* read before: fine.  Not in order: to be read again. */
		if (want == FEED_BUSY || (want != FEED_LOST && at > want))
			atomic_store(fed, FEED_LOST);
		return;
	}
	v->crcs[k] = crc32c(at == 0 ? 0 : v->crcs[k], p, n);
	want = FEED_BUSY;
	atomic_compare_exchange_strong(fed, &want, at + n);
}

int
upload_read(struct upload_view *v, void *buf, size_t n, uint64_t off)
{
	uint64_t end = off + n, at, e;
	int err;

	err = sys_pread_all(v->fd, buf, n, off);
	if (err)
		return err;
	for (at = off; at < end; at = e) {
		e = (at / CACHE_CHUNK + 1) * CACHE_CHUNK;
		if (e > end)
			e = end;
		if (at / CACHE_CHUNK >= chunks_of(v->size))
			break;
		feed(v, at / CACHE_CHUNK, at % CACHE_CHUNK,
		    (char *)buf + (at - off), e - at);
	}
	return 0;
}

/* [off, end) of one chunk; buf: room for it. */
static int
sum_part(struct upload_view *v, uint64_t off, uint64_t end, void *buf,
    uint32_t *ret)
{
	uint64_t k = off / CACHE_CHUNK;
	size_t n = end - off;
	int err;

	if (off % CACHE_CHUNK == 0 &&
	    atomic_load((_Atomic uint32_t *)v->fed + k) == n) {
		*ret = v->crcs[k];
		return 0;
	}
	err = sys_pread_all(v->fd, buf, n, off);
	if (!err)
		*ret = crc32c(0, buf, n);
	return err;
}

int
upload_sums(struct upload_view *v, uint32_t **ret, unsigned *retn)
{
	uint64_t n = 0, at, to;
	uint32_t *sums;
	unsigned i, k = 0;
	void *buf;
	int err = 0;

	for (i = 0; i < v->n; i++)
		n += chunks_of(v->v[i].end) - v->v[i].off / CACHE_CHUNK;
	if (n > UINT32_MAX)
		return -EFBIG;
	sums = calloc(n + 1, sizeof(*sums));
	buf = malloc(CACHE_CHUNK);
	if (sums == NULL || buf == NULL)
		err = -ENOMEM;
	for (i = 0; !err && i < v->n; i++) {
		for (at = v->v[i].off; !err && at < v->v[i].end; at = to) {
			to = (at / CACHE_CHUNK + 1) * CACHE_CHUNK;
			if (to > v->v[i].end)
				to = v->v[i].end;
			err = sum_part(v, at, to, buf, &sums[k++]);
		}
	}
	free(buf);
	if (err) {
		free(sums);
		return err;
	}
	*ret = sums;
	*retn = k;
	return 0;
}

void
upload_drop(struct upload_view *v)
{
	if (v->how == VIEW_COPY)
		sys.close(v->fd);
	free(v->v);
	free(v->crcs);
	free(v->fed);
	bfile_put(v->b);
	memset(v, 0, sizeof(*v));
	v->fd = -1;
}

/* K6.  A truncate, or a writer unseen, has taken its bytes too. */
static bool
was_written_live(struct upload_view *v)
{
	struct bfile *b = v->b;
	bool r;
	unsigned i;

	lock_take(&b->lock);
	map_settle(b);
	r = atomic_load(&b->unseen) || being_written(b, v);
	for (i = 0; !r && i < v->n; i++)
		r = !dset_covers_seq(&b->dirty, v->v[i].off, v->v[i].end,
		    v->seq);
	lock_drop(&b->lock);
	return r;
}

static bool
was_written(struct upload_view *v)
{
	struct bfile *b = v->b;

	if (v->how == VIEW_COPY)
		return false;
	if (v->how == VIEW_LIVE)
		return was_written_live(v);
	if (atomic_load(&b->writers) > 0 || bfile_lease(b, F_RDLCK) != 0 ||
	    atomic_load(&b->gen) != v->gen)
		return true;
	return atomic_load(&b->own) == v->own && ctime_of(b) != v->ctime;
}

/* What is known of chunk k, n bytes of which are the file's: 1 its bytes are
 * those that were read, 0 it is here, -1 neither.  The lock is held. */
static int
settle_what(const struct upload_view *v, uint64_t k, uint32_t n)
{
	const struct bfile *b = v->b;
	uint64_t off = k * CACHE_CHUNK;
	uint32_t old;

	if (!chunk_is_here(b, k) ||
	    (chunk_present(b, k) && chunk_crc(b, k, &old)))
		return -1;
	if (v->how != VIEW_LIVE)
		return 1;
	if (off + n > atomic_load(&b->size))
		return -1;
	return dset_covers_seq(&b->dirty, off, off + n, v->seq);
}

/* Chunk k, all of it here, gets its checksum and its bit: 1, 0 when written
 * since, -errno. */
static int
settle_chunk(struct upload_view *v, uint64_t k, void *buf)
{
	struct bfile *b = v->b;
	struct busy e = { .off = k * CACHE_CHUNK,
	    .end = (k + 1) * CACHE_CHUNK, .kind = BUSY_HOLD };
	uint32_t n, crc = v->crcs[k];
	int err = 0, same = 0, what;

	n = e.end < v->size ? CACHE_CHUNK : v->size - e.off;
	lock_take(&b->lock);
	busy_enter(b, &e);
	what = settle_what(v, k, n);
	if (what >= 0)
		err = chunk_reserve(b, k);
	lock_drop(&b->lock);
	if (what == 1 && !err &&
	    atomic_load((_Atomic uint32_t *)v->fed + k) != n) {
		err = sys_pread_all(b->fd, buf, n, e.off);
		crc = err ? 0 : crc32c(0, buf, n);
	}
	lock_take(&b->lock);
	same = v->how == VIEW_LIVE || atomic_load(&b->gen) == v->gen;
	if (what >= 0 && !err && same) {
		chunk_set(b, k, what == 1, crc);
		map_update(b);
	}
	busy_leave(b, &e);
	lock_drop(&b->lock);
	return err ? err : same;
}

/* What was uploaded is also a clean copy, once it has landed. */
static void
settle_chunks(struct upload_view *v)
{
	uint64_t k, next = 0, nchunks = chunks_of(v->size);
	void *buf = malloc(CACHE_CHUNK);
	unsigned i;
	int r = buf ? 1 : 0;

	for (i = 0; r == 1 && i < v->n; i++) {
		k = v->v[i].off / CACHE_CHUNK;
		if (k < next)
			k = next;
		for (; r == 1 && k * CACHE_CHUNK < v->v[i].end; k++)
			r = settle_chunk(v, k, buf);
		next = k;
	}
	/* a truncate leaves the last chunk without one */
	if (r == 1 && nchunks > next && v->how != VIEW_LIVE)
		settle_chunk(v, nchunks - 1, buf);
	free(buf);
}

int
upload_end(struct upload_view *v)
{
	struct bfile *b = v->b;
	int err = 0;

	if (was_written(v))
		err = -ESTALE;
	if (!err && !atomic_load(&b->gone)) {
		if (!atomic_load(&b->unseen))
			settle_chunks(v);
		if (v->how != VIEW_LIVE)
			err = frozen_add(b, v->seq);
		if (!err && map_save(b->c, &b, 1, false))
			atomic_store(&b->need_save, true);
	}
	upload_drop(v);
	return err;
}

/* --- close and landing --- */

bool
bfile_is_known(struct sqc *q, uint64_t ino)
{
	struct index_file f;

	return index_get(q, ino, &f) != -ENOENT;
}

int
bfile_closed(struct sqc *q, struct bfile *b, uint64_t seq)
{
	struct sqs *s;
	int err;

	/* while it is written unseen it stays unclosed for a crash to find */
	if (atomic_load(&b->unseen)) {
		atomic_store(&b->close_seq, seq);
		return 0;
	}
	s = sq_prep(q, "UPDATE c_file SET size=?3, allseq=CASE WHEN allseq IN"
	    " (SELECT seq FROM c_frozen WHERE ino=?1) THEN allseq ELSE ?2 END"
	    " WHERE ino=?1");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, b->ino);
	sqs_int(s, 2, seq);
	sqs_int(s, 3, atomic_load(&b->size));
	err = sqs_run(s);
	if (err)
		return err;
	s = sq_prep(q, "UPDATE c_dirty SET seq=?2 WHERE ino=?1 AND seq NOT IN"
	    " (SELECT seq FROM c_frozen WHERE ino=?1)");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, b->ino);
	sqs_int(s, 2, seq);
	err = sqs_run(s);
	if (!err)
		atomic_store(&b->close_seq, seq);
	return err;
}

static int
landed_push(struct cache *c, const struct landed *l)
{
	struct landed *v;
	unsigned cap;
	int err = 0;

	lock_take(&c->tab_lock);	/* RANK_TABLE: above RANK_SQ */
	if (c->nlanded == c->cap_landed) {
		cap = c->cap_landed ? c->cap_landed * 2 : 64;
		v = realloc(c->landed, cap * sizeof(*v));
		if (v == NULL)
			err = -ENOMEM;
		else {
			c->landed = v;
			c->cap_landed = cap;
		}
	}
	if (!err)
		c->landed[c->nlanded++] = *l;
	lock_drop(&c->tab_lock);
	return err;
}

/* Bytes that landing seq makes clean, as far as the index knows. */
static int
landed_bytes(struct sqc *q, uint64_t ino, uint64_t seq, uint64_t *ret)
{
	struct sqs *s = sq_prep(q, "SELECT (SELECT total(min(d.end,f.size)"
	    " - min(d.off,f.size)) FROM c_dirty d WHERE d.ino=?1 AND"
	    " d.seq=?2), f.alldirty=1 AND f.allseq=?2, f.size - (SELECT"
	    " total(min(d.end,f.size) - min(d.off,f.size)) FROM c_dirty d"
	    " WHERE d.ino=?1) FROM c_file f WHERE f.ino=?1");
	int r;

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	sqs_int(s, 2, seq);
	*ret = 0;
	r = sqs_step(s);
	if (r == 1) {
		*ret = sqs_col_int(s, 0);
		if (sqs_col_int(s, 1))
			*ret += sqs_col_int(s, 2);
	}
	sqs_reset(s);
	return r < 0 ? r : 0;
}

/* Has ino a row of seq?  sql: ?1, ?2.  1, 0, -errno. */
static int
has_row(struct sqc *q, const char *sql, uint64_t ino, uint64_t seq)
{
	struct sqs *s = sq_prep(q, sql);
	int r;

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	sqs_int(s, 2, seq);
	r = sqs_step(s);
	sqs_reset(s);
	return r;
}

/* Is something of ino dirty as of seq?  1, 0, -errno. */
static int
has_dirty_of(struct sqc *q, uint64_t ino, uint64_t seq)
{
	return has_row(q, "SELECT 1 FROM c_dirty WHERE ino=?1 AND"
	    " seq=?2 UNION ALL SELECT 1 FROM c_file WHERE ino=?1 AND"
	    " alldirty=1 AND allseq=?2 LIMIT 1", ino, seq);
}

int
bfile_has_op(struct sqc *q, uint64_t ino, uint64_t seq)
{
	int r = has_row(q, "SELECT 1 FROM c_frozen WHERE ino=?1 AND seq=?2",
	    ino, seq);

	return r != 0 ? r : has_dirty_of(q, ino, seq);
}

/* An op may land whose bytes were dropped here, after an unclean boot (L11):
 * of the file that it was uploaded from nothing is left.  What was fetched in
 * its place meanwhile is of the extents before it. */
static int
drop_others(struct sqc *q, struct landed *l)
{
	int r = bfile_has_op(q, l->ino, l->seq);

	l->dropped = r == 0;
	return r == 0 ? index_pages_cut(q, l->ino, 0) : r < 0 ? r : 0;
}

int
bfile_landed(struct cache *c, struct sqc *q, uint64_t ino, uint64_t seq)
{
	static const char *const sql[] = {
		"DELETE FROM c_dirty WHERE ino=?1 AND seq=?2",
		"UPDATE c_file SET base=1, alldirty=CASE allseq WHEN ?2"
		" THEN 0 ELSE alldirty END WHERE ino=?1",
		"DELETE FROM c_frozen WHERE ino=?1 AND seq=?2",
		/* a sync of what is clean now says nothing of what comes */
		"UPDATE c_file SET synced=0, syncsize=-1 WHERE ino=?1 AND"
		" alldirty=0 AND ?2>0 AND NOT EXISTS"
		" (SELECT 1 FROM c_dirty WHERE ino=?1)",
	};
	struct landed l = { .ino = ino, .seq = seq, .when = clock_mono() };
	struct sqs *s;
	unsigned i;
	int err;

	err = landed_bytes(q, ino, seq, &l.bytes);
	if (!err)
		err = drop_others(q, &l);
	for (i = 0; !err && i < sizeof(sql) / sizeof(*sql); i++) {
		s = sq_prep(q, sql[i]);
		if (s == NULL)
			return sq_err(q);
		sqs_int(s, 1, ino);
		sqs_int(s, 2, seq);
		err = sqs_run(s);
	}
	return err ? err : landed_push(c, &l);
}

static int
is_landed(struct cache *c, const struct landed *l)
{
	struct sqc *q;
	int r;

	r = sq_read(c->index, &q);
	if (r)
		return r;
	r = has_dirty_of(q, l->ino, l->seq);
	sq_read_end(q);
	return r < 0 ? r : r == 0;
}

/* K4 in memory. */
static void
apply_landed(struct cache *c, const struct landed *l)
{
	struct bfile *b;
	uint64_t k;

	lock_take(&c->tab_lock);
	while ((b = table_find(c, l->ino)) != NULL && b->closed_off)
		cond_wait(&c->tab_cond, &c->tab_lock);
	lock_drop(&c->tab_lock);
	if (b == NULL || bfile_get(c, l->ino, &b)) {
		/* the index says it all, but for the accounts */
		space_add(c, 0, -(int64_t)l->bytes);
		return;
	}
	lock_take(&b->lock);
	map_settle(b);
	/* what is fetched by now may be older than what is clean then */
	atomic_store(&b->clean_gen, atomic_fetch_add(&c->next_clean, 1));
	if (atomic_load(&b->unseen))
		dset_rename(&b->dirty, l->seq, 0);
	else
		dset_drop_seq(&b->dirty, l->seq);
	for (k = 0; l->dropped && k < chunks_of(atomic_load(&b->size)); k++)
		chunk_clear(b, k);
	b->base = true;
	frozen_drop(b, l->seq);
	map_update(b);
	lock_drop(&b->lock);
	map_account(b);
	bfile_put(b);
}

void
cache_landed_commit(struct cache *c)
{
	struct landed *v;
	unsigned i, n;
	int r;

	lock_take(&c->tab_lock);
	v = c->landed;
	n = c->nlanded;
	c->landed = NULL;
	c->nlanded = c->cap_landed = 0;
	lock_drop(&c->tab_lock);
	for (i = 0; i < n; i++) {
		r = is_landed(c, &v[i]);
		if (r == 1)
			apply_landed(c, &v[i]);
		else if (clock_mono() - v[i].when < LANDED_KEEP &&
		    landed_push(c, &v[i]))
			log_warn("a landed upload stays marked dirty until"
			    " the next start", "ino=%llu",
			    (unsigned long long)v[i].ino);
	}
	free(v);
}

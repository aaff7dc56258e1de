/*
 * schema: the index, tables c_* of the state database, and all SQL on them
 * but pins' (pinned.c).
 *
 *   c_file    one row a backing file.  slot: its number while it is in the
 *             pool's folder, NULL in data/.  alldirty, allseq: [0, ∞) is
 *             dirty, rows of c_dirty lie over it.  synced: no dirty byte is
 *             newer than the last recorded data sync; syncsize: the size
 *             then, -1 never (L11).
 *   c_page    256 chunks: count, present bits, crcok bits, checksums, cut
 *             after the last present one
 *   c_dirty   disjoint intervals
 *   c_frozen  seqs whose upload is done: later closes leave them alone
 */
#include <errno.h>
#include <string.h>

#include "cache/map.h"

static const char SCHEMA[] =
"CREATE TABLE IF NOT EXISTS c_meta(k TEXT PRIMARY KEY, v INTEGER)"
" WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS c_file(ino INTEGER PRIMARY KEY, inc INTEGER,"
" slot INTEGER, size INTEGER, base INTEGER, alldirty INTEGER,"
" allseq INTEGER, synced INTEGER, syncsize INTEGER, mtime INTEGER,"
" atime INTEGER, used INTEGER);"
"CREATE INDEX IF NOT EXISTS c_file_lru ON c_file(atime)"
" WHERE slot IS NULL;"
"CREATE TABLE IF NOT EXISTS c_page(ino INTEGER, page INTEGER,"
" epoch INTEGER, map BLOB, PRIMARY KEY(ino, page)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS c_dirty(ino INTEGER, off INTEGER, end INTEGER,"
" seq INTEGER, PRIMARY KEY(ino, off)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS c_frozen(ino INTEGER, seq INTEGER,"
" PRIMARY KEY(ino, seq)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS c_pin(pin INTEGER, ino INTEGER, size INTEGER,"
" PRIMARY KEY(pin, ino)) WITHOUT ROWID;"
"CREATE TABLE IF NOT EXISTS c_pinned(ino INTEGER PRIMARY KEY, n INTEGER,"
" size INTEGER, res INTEGER);";

int
index_schema(struct sqc *q)
{
	return sq_exec(q, SCHEMA);
}

int
index_meta_get(struct sqc *q, const char *key, int64_t *ret)
{
	struct sqs *s = sq_prep(q, "SELECT v FROM c_meta WHERE k=?1");
	int r;

	if (s == NULL)
		return sq_err(q);
	sqs_text(s, 1, key);
	r = sqs_step(s);
	if (r == 1)
		*ret = sqs_col_int(s, 0);
	sqs_reset(s);
	return r == 1 ? 0 : r == 0 ? -ENOENT : r;
}

int
index_meta_set(struct sqc *q, const char *key, int64_t v)
{
	struct sqs *s = sq_prep(q, "INSERT OR REPLACE INTO c_meta "
	    "VALUES(?1,?2)");

	if (s == NULL)
		return sq_err(q);
	sqs_text(s, 1, key);
	sqs_int(s, 2, v);
	return sqs_run(s);
}

int
index_insert(struct sqc *q, const struct index_file *f)
{
	struct sqs *s = sq_prep(q, "INSERT INTO c_file VALUES"
	    "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, f->ino);
	sqs_int(s, 2, f->inc);
	if (f->slot >= 0)
		sqs_int(s, 3, f->slot);
	else
		sqs_null(s, 3);
	sqs_int(s, 4, f->size);
	sqs_int(s, 5, f->base);
	sqs_int(s, 6, f->alldirty);
	sqs_int(s, 7, f->allseq);
	sqs_int(s, 8, f->synced);
	sqs_int(s, 9, f->syncsize);
	sqs_int(s, 10, f->mtime);
	sqs_int(s, 11, f->atime);
	sqs_int(s, 12, f->used);
	return sqs_run(s);
}

int
index_get(struct sqc *q, uint64_t ino, struct index_file *ret)
{
	struct sqs *s = sq_prep(q, "SELECT inc,slot,size,base,alldirty,allseq,"
	    "synced,syncsize,mtime,atime,used FROM c_file WHERE ino=?1");
	int r;

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	r = sqs_step(s);
	if (r == 1) {
		ret->ino = ino;
		ret->inc = sqs_col_int(s, 0);
		ret->slot = sqs_col_is_null(s, 1) ? -1 : sqs_col_int(s, 1);
		ret->size = sqs_col_int(s, 2);
		ret->base = sqs_col_int(s, 3);
		ret->alldirty = sqs_col_int(s, 4);
		ret->allseq = sqs_col_int(s, 5);
		ret->synced = sqs_col_int(s, 6);
		ret->syncsize = sqs_col_int(s, 7);
		ret->mtime = sqs_col_int(s, 8);
		ret->atime = sqs_col_int(s, 9);
		ret->used = sqs_col_int(s, 10);
	}
	sqs_reset(s);
	return r == 1 ? 0 : r == 0 ? -ENOENT : r;
}

static int
run_ino(struct sqc *q, struct sqs *s, uint64_t ino)
{
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	return sqs_run(s);
}

int
index_remove(struct sqc *q, uint64_t ino)
{
	int err;

	err = run_ino(q, sq_prep(q, "DELETE FROM c_file WHERE ino=?1"), ino);
	if (!err)
		err = run_ino(q, sq_prep(q,
		    "DELETE FROM c_page WHERE ino=?1"), ino);
	if (!err)
		err = run_ino(q, sq_prep(q,
		    "DELETE FROM c_dirty WHERE ino=?1"), ino);
	if (!err)
		err = run_ino(q, sq_prep(q,
		    "DELETE FROM c_frozen WHERE ino=?1"), ino);
	return err;
}

bool
index_is(struct sqc *q, uint64_t ino, uint32_t inc)
{
	struct sqs *s = sq_prep(q,
	    "SELECT 1 FROM c_file WHERE ino=?1 AND inc=?2");
	int r;

	sqs_int(s, 1, ino);
	sqs_int(s, 2, inc);
	r = sqs_step(s);
	sqs_reset(s);
	return r == 1;
}

static int
dirty_put(struct sqc *q, uint64_t ino, uint64_t off, uint64_t end,
    uint64_t seq)
{
	struct sqs *s = sq_prep(q,
	    "INSERT OR REPLACE INTO c_dirty VALUES(?1,?2,?3,?4)");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	sqs_int(s, 2, off);
	sqs_int(s, 3, end);
	sqs_int(s, 4, seq);
	return sqs_run(s);
}

/* The row that s finds with its parameters 1..3: 1, 0 none, -errno. */
static int
dirty_row(struct sqc *q, struct sqs *s, uint64_t ino, uint64_t a, uint64_t b,
    struct ival *ret)
{
	int r;

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	sqs_int(s, 2, a);
	sqs_int(s, 3, b);
	r = sqs_step(s);
	if (r == 1) {
		ret->off = sqs_col_int(s, 0);
		ret->end = sqs_col_int(s, 1);
		ret->seq = sqs_col_int(s, 2);
	}
	sqs_reset(s);
	return r;
}

/* dset_add on rows: at most the neighbour before, and the last that is
 * touched, survive in part. */
int
index_dirty_add(struct sqc *q, uint64_t ino, uint64_t off, uint64_t end,
    uint64_t seq)
{
	struct ival l, r, tail = { 0 };
	struct sqs *s;
	int err, have;

	if (off >= end)
		return 0;
	err = have = dirty_row(q, sq_prep(q, "SELECT off,end,seq FROM c_dirty"
	    " WHERE ino=?1 AND off<?2 AND ?3=0 ORDER BY off DESC LIMIT 1"),
	    ino, off, 0, &l);
	if (err < 0)
		return err;
	if (have && l.end >= off) {
		if (l.seq == seq) {
			off = l.off;
			if (l.end > end)
				end = l.end;
		} else {
			if (l.end > end)
				tail = (struct ival){ end, l.end, l.seq };
			if (l.end > off)
				err = dirty_put(q, ino, l.off, off, l.seq);
			if (err < 0)
				return err;
		}
	}
	err = have = dirty_row(q, sq_prep(q, "SELECT off,end,seq FROM c_dirty"
	    " WHERE ino=?1 AND off>=?2 AND off<=?3 ORDER BY off DESC LIMIT 1"),
	    ino, off, end, &r);
	if (err < 0)
		return err;
	if (have) {
		if (r.seq == seq && r.end > end)
			end = r.end;
		else if (r.end > end)
			tail = (struct ival){ r.off > end ? r.off : end,
			    r.end, r.seq };
		s = sq_prep(q, "DELETE FROM c_dirty"
		    " WHERE ino=?1 AND off>=?2 AND off<=?3");
		if (s == NULL)
			return sq_err(q);
		sqs_int(s, 1, ino);
		sqs_int(s, 2, off);
		sqs_int(s, 3, r.off);	/* not one that begins at its end */
		err = sqs_run(s);
		if (err)
			return err;
	}
	err = dirty_put(q, ino, off, end, seq);
	if (!err && tail.off < tail.end)
		err = dirty_put(q, ino, tail.off, tail.end, tail.seq);
	return err;
}

int
index_dirty_load(struct sqc *q, const struct index_file *f, struct dset *ret)
{
	struct sqs *s;
	int r, err = 0;

	if (f->alldirty) {
		err = dset_reserve(ret, 2);
		if (err)
			return err;
		dset_add(ret, 0, INF, f->allseq);
	}
	s = sq_prep(q, "SELECT off,end,seq FROM c_dirty WHERE ino=?1"
	    " ORDER BY off");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, f->ino);
	while ((r = sqs_step(s)) == 1) {
		err = dset_reserve(ret, 2);
		if (err)
			break;
		dset_add(ret, sqs_col_int(s, 0), sqs_col_int(s, 1),
		    sqs_col_int(s, 2));
	}
	sqs_reset(s);
	return err ? err : r;
}

int
index_dirty_save(struct sqc *q, uint64_t ino, const struct dset *d)
{
	unsigned i;
	int err;

	err = run_ino(q, sq_prep(q, "UPDATE c_file SET alldirty=0, allseq=0"
	    " WHERE ino=?1"), ino);
	if (!err)
		err = run_ino(q, sq_prep(q,
		    "DELETE FROM c_dirty WHERE ino=?1"), ino);
	for (i = 0; !err && i < d->n; i++)
		err = dirty_put(q, ino, d->v[i].off, d->v[i].end,
		    d->v[i].seq);
	return err;
}

#define bit(p, k)	((p)[(k) / 8] >> ((k) % 8) & 1)

static void
page_encode(const struct page *p, struct buf *out)
{
	unsigned n = PAGE_CHUNKS, i;

	while (n > 0 && !bit(p->present, n - 1))
		n--;
	buf_put_varint(out, n);
	buf_put(out, p->present, (n + 7) / 8);
	buf_put(out, p->crcok, (n + 7) / 8);
	for (i = 0; i < n; i++)
		buf_put_u32(out, p->crc[i]);
}

static int
page_decode(const void *blob, size_t len, struct page *ret)
{
	struct cur c;
	uint64_t n;
	const void *p;
	unsigned i;

	memset(ret, 0, sizeof(*ret));
	cur_init(&c, blob, len);
	n = cur_varint(&c);
	if (n > PAGE_CHUNKS)
		return -EUCLEAN;
	if ((p = cur_raw(&c, (n + 7) / 8)) != NULL)
		memcpy(ret->present, p, (n + 7) / 8);
	if ((p = cur_raw(&c, (n + 7) / 8)) != NULL)
		memcpy(ret->crcok, p, (n + 7) / 8);
	for (i = 0; i < n; i++)
		ret->crc[i] = cur_u32(&c);
	return cur_err(&c) ? -EUCLEAN : 0;
}

int
index_page_put(struct sqc *q, uint64_t ino, uint64_t page, uint64_t epoch,
    const struct page *p)
{
	struct sqs *s = sq_prep(q,
	    "INSERT OR REPLACE INTO c_page VALUES(?1,?2,?3,?4)");
	struct buf b = BUF_INIT;
	int err;

	if (s == NULL)
		return sq_err(q);
	page_encode(p, &b);
	err = buf_err(&b);
	if (!err) {
		sqs_int(s, 1, ino);
		sqs_int(s, 2, page);
		sqs_int(s, 3, epoch);
		sqs_blob(s, 4, b.p, b.len);
		err = sqs_run(s);
	}
	buf_done(&b);
	return err;
}

/* One page: 1, 0 none, -errno. */
static int
page_get(struct sqc *q, uint64_t ino, uint64_t page, int64_t *retepoch,
    struct page *ret)
{
	struct sqs *s = sq_prep(q,
	    "SELECT epoch,map FROM c_page WHERE ino=?1 AND page=?2");
	const void *p;
	size_t n;
	int r;

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	sqs_int(s, 2, page);
	r = sqs_step(s);
	if (r == 1) {
		*retepoch = sqs_col_int(s, 0);
		p = sqs_col_blob(s, 1, &n);
		if (page_decode(p, n, ret))
			memset(ret, 0, sizeof(*ret));
	}
	sqs_reset(s);
	return r;
}

int
index_pages_cut(struct sqc *q, uint64_t ino, uint64_t k)
{
	uint64_t page = k / PAGE_CHUNKS;
	struct page p;
	int64_t epoch = 0;
	struct sqs *s;
	int r = page_get(q, ino, page, &epoch, &p);

	if (r < 0)
		return r;
	s = sq_prep(q, "DELETE FROM c_page WHERE ino=?1 AND page>=?2");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	sqs_int(s, 2, page);
	if (sqs_run(s) != 0)
		return sq_err(q);
	if (r == 0 || k % PAGE_CHUNKS == 0)
		return 0;
	for (k %= PAGE_CHUNKS; k < PAGE_CHUNKS; k++) {
		p.present[k / 8] &= ~(1u << k % 8);
		p.crcok[k / 8] &= ~(1u << k % 8);
	}
	return index_page_put(q, ino, page, epoch, &p);
}

int
index_page_stale(struct sqc *q, uint64_t ino, uint64_t from, uint64_t to)
{
	struct page p;
	int64_t epoch = 0;
	uint64_t k = from, end;
	int r;

	while (k < to) {
		end = (k / PAGE_CHUNKS + 1) * PAGE_CHUNKS;
		if (end > to)
			end = to;
		r = page_get(q, ino, k / PAGE_CHUNKS, &epoch, &p);
		if (r < 0)
			return r;
		for (; k < end; k++)
			p.crcok[k % PAGE_CHUNKS / 8] &= ~(1u << k % 8);
		if (r == 1)
			r = index_page_put(q, ino, (k - 1) / PAGE_CHUNKS,
			    epoch, &p);
		if (r < 0)
			return r;
	}
	return 0;
}

int
index_pages_load(struct sqc *q, uint64_t epoch, uint64_t ino,
    int (*each)(void *arg, uint64_t page, const struct page *p), void *arg)
{
	struct sqs *s = sq_prep(q,
	    "SELECT page,epoch,map FROM c_page WHERE ino=?1");
	struct page p;
	const void *blob;
	size_t n;
	int r, err = 0;

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, ino);
	while (!err && (r = sqs_step(s)) == 1) {
		blob = sqs_col_blob(s, 2, &n);
		if (page_decode(blob, n, &p))
			continue;	/* absent: fetched again */
		if ((uint64_t)sqs_col_int(s, 1) == epoch)
			memcpy(p.verified, p.present, sizeof(p.present));
		err = each(arg, sqs_col_int(s, 0), &p);
	}
	sqs_reset(s);
	return err ? err : r;
}

struct sum { uint64_t size, n; const struct dset *d; };

static int
sum_page(void *arg, uint64_t page, const struct page *p)
{
	struct sum *m = arg;
	uint64_t off, end, e;
	unsigned i;

	for (i = 0; i < PAGE_CHUNKS; i++) {
		if (!bit(p->present, i))
			continue;
		off = page * PAGE_SPAN + (uint64_t)i * CACHE_CHUNK;
		end = off + CACHE_CHUNK < m->size ? off + CACHE_CHUNK : m->size;
		/* dirty bytes are counted by the caller */
		for (; off < end; off = e)
			if (!dset_at(m->d, off, end, &e))
				m->n += e - off;
	}
	return 0;
}

int
index_present(struct sqc *q, uint64_t ino, uint64_t size, uint64_t *ret)
{
	struct index_file f;
	struct dset d = { 0 };
	struct sum m = { size, 0, &d };
	int err;

	err = index_get(q, ino, &f);
	if (!err)
		err = index_dirty_load(q, &f, &d);
	if (!err)
		err = index_pages_load(q, 0, ino, sum_page, &m);
	if (!err)
		*ret = m.n + dset_bytes(&d, size);
	dset_done(&d);
	return err;
}

/*
 * rows: see rows.h.  The statements of each table are made once from its
 * description; a change is one write to the table and, while its op is
 * pending, one to undo (L5).  Totals are kept here, where every inode row
 * passes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "meta/internal.h"
#include "meta/rows.h"

const struct tbl_desc tbl_descs[T_COUNT] = {
	[T_INODE] = { "inode", 11, 1, { "ino", "mode", "uid", "gid", "rdev",
	    "nlink", "size", "atime", "mtime", "ctime", "flags" }, 0 },
	[T_DENTRY] = { "dentry", 5, 2, { "parent", "hash", "name", "ino",
	    "type" }, 1 << 2 },
	[T_EXTENT] = { "extent", 6, 2, { "ino", "off", "len", "object", "ooff",
	    "crc" }, 0 },
	[T_OBJECT] = { "object", 3, 1, { "id", "size", "kind" }, 0 },
	[T_LOCATION] = { "location", 4, 2, { "object", "store", "key",
	    "version" }, 1 << 2 | 1 << 3 },
	[T_XATTR] = { "xattr", 3, 2, { "ino", "name", "value" },
	    1 << 1 | 1 << 2 },
	[T_SYMLINK] = { "symlink", 2, 1, { "ino", "target" }, 1 << 1 },
	[T_STORE] = { "store", 4, 1, { "id", "name", "url", "flags" },
	    1 << 1 | 1 << 2 },
	[T_PIN] = { "pin", 7, 1, { "id", "name", "host", "selectors",
	    "expires", "created", "flags" }, 1 << 1 | 1 << 2 | 1 << 3 },
	[T_POLICY] = { "policy", 4, 1, { "id", "name", "kind", "body" },
	    1 << 1 | 1 << 3 },
	[T_TAG] = { "tag", 3, 2, { "ino", "key", "value" }, 1 << 1 | 1 << 2 },
	[T_QUOTA] = { "quota", 4, 2, { "kind", "id", "bytes", "files" }, 0 },
	[T_SESSION] = { "session", 9, 1, { "number", "state_id", "nonce",
	    "host", "opened", "state", "hwm", "block_first", "block_count" },
	    1 << 1 | 1 << 3 },
	[T_CONFLICT] = { "conflict", 3, 1, { "id", "ino", "what" }, 1 << 2 },
};

/* Tables whose first column is an id that a hidden range may cover. */
#define HIDDEN_TABLES	(1u << T_INODE | 1u << T_DENTRY | 1u << T_EXTENT | \
	1u << T_OBJECT | 1u << T_LOCATION | 1u << T_XATTR | \
	1u << T_SYMLINK | 1u << T_TAG)

#define ROW_BYTES_MAX	(4u << 20)	/* one bytes column */

enum stmt { Q_CREATE, Q_GET, Q_INSERT, Q_REPLACE, Q_DELETE, Q_SCAN, Q_PURGE,
	Q_COUNT };

static char stmts[T_COUNT][Q_COUNT][400];
static char load_stmts[T_COUNT][700];	/* ROWS_LOAD rows at once */
static pthread_once_t stmts_once = PTHREAD_ONCE_INIT;

/* --- statements --- */

static void
stmt_add(char *s, const char *text)
{
	size_t n = strlen(s);

	snprintf(s + n, sizeof(stmts[0][0]) - n, "%s", text);
}

/* "a, b, c" of columns from..to, each followed by `after`. */
static void
stmt_cols(char *s, const struct tbl_desc *d, unsigned to, const char *after,
    const char *sep)
{
	for (unsigned i = 0; i < to; i++) {
		stmt_add(s, i ? sep : "");
		stmt_add(s, "\"");
		stmt_add(s, d->cols[i]);
		stmt_add(s, "\"");
		stmt_add(s, after);
	}
}

static void
stmt_create(char *s, const struct tbl_desc *d)
{
	stmt_add(s, "CREATE TABLE \"");
	stmt_add(s, d->name);
	stmt_add(s, "\" (");
	for (unsigned i = 0; i < d->ncols; i++) {
		stmt_add(s, i ? ", \"" : "\"");
		stmt_add(s, d->cols[i]);
		stmt_add(s, d->blob_mask >> i & 1 ? "\" BLOB NOT NULL" :
		    d->nkey == 1 && i == 0 ? "\" INTEGER PRIMARY KEY" :
		    "\" INTEGER NOT NULL");
	}
	if (d->nkey > 1) {
		stmt_add(s, ", PRIMARY KEY (");
		stmt_cols(s, d, d->nkey, "", ", ");
		stmt_add(s, ")) WITHOUT ROWID");
	} else
		stmt_add(s, ")");
}

/* OR FAIL: whoever loads gives up at the first error, so that SQLite need not
 * be able to undo the statement alone. */
static void
load_stmts_init(void)
{
	for (unsigned t = 0; t < T_COUNT; t++) {
		const struct tbl_desc *d = &tbl_descs[t];
		char *s = load_stmts[t];
		size_t n = (size_t)snprintf(s, sizeof(load_stmts[t]),
		    "INSERT OR FAIL INTO \"%s\" VALUES ", d->name);

		for (unsigned r = 0; r < ROWS_LOAD; r++) {
			n += (size_t)snprintf(s + n, sizeof(load_stmts[t]) - n,
			    r ? ",(" : "(");
			for (unsigned i = 0; i < d->ncols; i++)
				n += (size_t)snprintf(s + n,
				    sizeof(load_stmts[t]) - n,
				    i ? ",?" : "?");
			n += (size_t)snprintf(s + n, sizeof(load_stmts[t]) - n,
			    ")");
		}
	}
}

static void
stmts_init(void)
{
	static const char *const heads[Q_COUNT] = { [Q_GET] = "SELECT ",
	    [Q_INSERT] = "INSERT INTO ", [Q_REPLACE] = "INSERT OR REPLACE INTO ",
	    [Q_DELETE] = "DELETE FROM ", [Q_SCAN] = "SELECT ",
	    [Q_PURGE] = "DELETE FROM " };

	load_stmts_init();
	for (unsigned t = 0; t < T_COUNT; t++) {
		const struct tbl_desc *d = &tbl_descs[t];

		stmt_create(stmts[t][Q_CREATE], d);
		for (unsigned q = Q_GET; q < Q_COUNT; q++) {
			char *s = stmts[t][q];

			stmt_add(s, heads[q]);
			if (q == Q_GET || q == Q_SCAN) {
				stmt_cols(s, d, d->ncols, "", ", ");
				stmt_add(s, " FROM ");
			}
			stmt_add(s, "\"");
			stmt_add(s, d->name);
			stmt_add(s, "\"");
			if (q == Q_GET || q == Q_DELETE) {
				stmt_add(s, " WHERE ");
				stmt_cols(s, d, d->nkey, " = ?", " AND ");
			} else if (q == Q_SCAN) {
				stmt_add(s, " ORDER BY ");
				stmt_cols(s, d, d->nkey, "", ", ");
			} else if (q == Q_PURGE) {
				stmt_add(s, " WHERE \"");
				stmt_add(s, d->cols[0]);
				stmt_add(s, "\" BETWEEN ? AND ?");
			} else {
				stmt_add(s, " VALUES (");
				for (unsigned i = 0; i < d->ncols; i++)
					stmt_add(s, i ? ", ?" : "?");
				stmt_add(s, ")");
			}
		}
	}
}

static struct sqs *
stmt_prep(struct sqc *c, enum tbl t, enum stmt q)
{
	pthread_once(&stmts_once, stmts_init);
	return (sq_prep(c, stmts[t][q]));
}

int
rows_schema(struct sqc *c)
{
	pthread_once(&stmts_once, stmts_init);
	for (unsigned t = 0; t < T_COUNT; t++) {
		int err = sq_exec(c, stmts[t][Q_CREATE]);

		if (err)
			return (err);
	}
	return (0);
}

/* From parameter `at` (counted from 1) on. */
static void
bind_cols_at(struct sqs *s, int at, const struct row *r, unsigned n)
{
	uint16_t mask = tbl_descs[r->tbl].blob_mask;

	for (unsigned i = 0; i < n; i++) {
		if (mask >> i & 1)
			sqs_blob(s, at + i, r->v[i].n ? r->v[i].p : "",
			    r->v[i].n);
		else
			sqs_int(s, at + i, r->v[i].i);
	}
}

static void
bind_cols(struct sqs *s, const struct row *r, unsigned n)
{
	bind_cols_at(s, 1, r, n);
}

/* Borrowed from the statement. */
static void
read_cols(struct sqs *s, struct row *r)
{
	const struct tbl_desc *d = &tbl_descs[r->tbl];

	for (unsigned i = 0; i < d->ncols; i++) {
		if (d->blob_mask >> i & 1) {
			size_t n;
			const void *p = sqs_col_blob(s, i, &n);

			r->v[i] = col_bytes(p, n);
		} else
			r->v[i] = col_int(sqs_col_int(s, i));
	}
}

/* --- images and keys --- */

static void
encode_cols(const struct row *r, unsigned n, struct buf *out)
{
	uint16_t mask = tbl_descs[r->tbl].blob_mask;

	for (unsigned i = 0; i < n; i++) {
		if (mask >> i & 1)
			buf_put_bytes(out, r->v[i].p, r->v[i].n);
		else
			buf_put_svarint(out, r->v[i].i);
	}
}

void
row_encode(const struct row *r, struct buf *out)
{
	encode_cols(r, tbl_descs[r->tbl].ncols, out);
}

void
row_encode_key(const struct row *r, struct buf *out)
{
	encode_cols(r, tbl_descs[r->tbl].nkey, out);
}

void
row_decode(struct cur *c, enum tbl tbl, struct row *ret)
{
	const struct tbl_desc *d = &tbl_descs[tbl];

	ret->tbl = tbl;
	for (unsigned i = 0; i < d->ncols; i++) {
		if (d->blob_mask >> i & 1) {
			size_t n;
			const void *p = cur_bytes(c, ROW_BYTES_MAX, &n);

			ret->v[i] = col_bytes(p, n);
		} else
			ret->v[i] = col_int(cur_svarint(c));
	}
}

static int
bytes_cmp(const void *a, size_t na, const void *b, size_t nb)
{
	size_t n = na < nb ? na : nb;
	int cmp = n ? memcmp(a, b, n) : 0;

	return (cmp ? cmp : na < nb ? -1 : na > nb);
}

static int
col_cmp(const struct col *a, const struct col *b, bool bytes)
{
	if (bytes)
		return (bytes_cmp(a->p, a->n, b->p, b->n));
	return (a->i < b->i ? -1 : a->i > b->i);
}

int
row_key_cmp(const struct row *a, const struct row *b)
{
	const struct tbl_desc *d = &tbl_descs[a->tbl];

	for (unsigned i = 0; i < d->nkey; i++) {
		int cmp = col_cmp(&a->v[i], &b->v[i], d->blob_mask >> i & 1);

		if (cmp)
			return (cmp);
	}
	return (0);
}

static bool
row_equal(const struct row *a, const struct row *b)
{
	const struct tbl_desc *d = &tbl_descs[a->tbl];

	for (unsigned i = 0; i < d->ncols; i++)
		if (col_cmp(&a->v[i], &b->v[i], d->blob_mask >> i & 1) != 0)
			return (false);
	return (true);
}

/* The key so that memcmp orders it as row_key_cmp does: integers big-endian
 * with the sign turned; bytes, which are the last column of any key, raw. */
static void
order_key(const struct row *r, struct buf *out)
{
	const struct tbl_desc *d = &tbl_descs[r->tbl];

	for (unsigned i = 0; i < d->nkey; i++) {
		if (d->blob_mask >> i & 1) {
			buf_put(out, r->v[i].p, r->v[i].n);
			continue;
		}
		uint64_t v = (uint64_t)r->v[i].i ^ UINT64_C(1) << 63;

		for (int shift = 56; shift >= 0; shift -= 8)
			buf_put_u8(out, v >> shift);
	}
}

/* --- one row --- */

int
row_get(struct sqc *c, struct row *io, struct buf *scratch)
{
	const struct tbl_desc *d = &tbl_descs[io->tbl];
	struct sqs *s = stmt_prep(c, io->tbl, Q_GET);
	size_t need = 0;
	uint8_t *p = NULL;
	int rc;

	bind_cols(s, io, d->nkey);
	rc = sqs_step(s);
	if (rc <= 0)
		return (rc ? rc : -ENOENT);
	read_cols(s, io);
	for (unsigned i = 0; i < d->ncols; i++)
		need += d->blob_mask >> i & 1 ? io->v[i].n : 0;
	if (need > 0 && (p = buf_grow(scratch, need)) == NULL) {
		sqs_reset(s);
		return (buf_err(scratch));
	}
	for (unsigned i = 0; need > 0 && i < d->ncols; i++) {
		if (!(d->blob_mask >> i & 1) || io->v[i].n == 0)
			continue;
		memcpy(p, io->v[i].p, io->v[i].n);
		io->v[i].p = p;
		p += io->v[i].n;
		scratch->len += io->v[i].n;
	}
	for (unsigned i = 0; i < d->ncols; i++)
		if (d->blob_mask >> i & 1 && io->v[i].n == 0)
			io->v[i].p = "";
	sqs_reset(s);
	return (0);
}

static int
undo_put(struct sqc *c, const struct change *ch, const struct row *key,
    const struct row *old)
{
	struct buf k = BUF_INIT, image = BUF_INIT;
	struct sqs *s;
	int err;

	order_key(key, &k);
	if (old != NULL)
		row_encode(old, &image);
	err = buf_err(&k) ? buf_err(&k) : buf_err(&image);
	if (err)
		goto out;
	s = sq_prep(c, "INSERT OR IGNORE INTO undo(seq, tbl, key, old) "
	    "VALUES (?, ?, ?, ?)");
	sqs_int(s, 1, ch->undo_seq);
	sqs_int(s, 2, key->tbl);
	sqs_blob(s, 3, k.p, k.len);
	if (old != NULL)
		sqs_blob(s, 4, image.p, image.len);
	else
		sqs_null(s, 4);
	err = sqs_run(s);
out:
	buf_done(&k);
	buf_done(&image);
	return (err);
}

struct counted { int64_t files, dirs, bytes; };

static void
count_row(struct counted *n, const struct row *r, int sign)
{
	if (r == NULL)
		return;
	if (S_ISDIR(r->v[I_MODE].i))
		n->dirs += sign;
	else
		n->files += sign;
	if (S_ISREG(r->v[I_MODE].i))
		n->bytes += sign * r->v[I_SIZE].i;
}

static int
count_write(struct sqc *c, const struct counted *n)
{
	if (n->files == 0 && n->dirs == 0 && n->bytes == 0)
		return (0);
	return (counts_add(c, n->files, n->dirs, n->bytes));
}

static int
count_inode(struct sqc *c, const struct row *old, const struct row *new)
{
	struct counted n = { 0 };

	count_row(&n, old, -1);
	count_row(&n, new, 1);
	return (count_write(c, &n));
}

int
row_change(struct sqc *c, const struct change *ch, const struct row *old,
    const struct row *new)
{
	const struct row *key = new ? new : old;
	const struct tbl_desc *d;
	struct sqs *s;
	int err;

	if (key == NULL || (old && new && row_equal(old, new)))
		return (0);
	d = &tbl_descs[key->tbl];
	if (ch->undo_seq != 0 && (err = undo_put(c, ch, key, old)) != 0)
		return (err);
	if (new == NULL) {
		s = stmt_prep(c, key->tbl, Q_DELETE);
		bind_cols(s, key, d->nkey);
	} else {
		s = stmt_prep(c, key->tbl, old ? Q_REPLACE : Q_INSERT);
		bind_cols(s, new, d->ncols);
	}
	err = sqs_run(s);
	if (err == 0 && key->tbl == T_INODE)
		err = count_inode(c, old, new);
	return (err);
}

/* The old row is looked up only where undo or the totals need it. */
static int
row_write(struct sqc *c, const struct change *ch, const struct row *key,
    const struct row *new)
{
	struct row old = *key;
	struct buf scratch = BUF_INIT;
	int err;

	err = row_get(c, &old, &scratch);
	if (err == 0)
		err = row_change(c, ch, &old, new);
	else if (err == -ENOENT)
		err = row_change(c, ch, NULL, new);
	buf_done(&scratch);
	return (err);
}

int
row_put(struct sqc *c, const struct change *ch, const struct row *r)
{
	struct sqs *s;

	if (ch->undo_seq != 0 || r->tbl == T_INODE)
		return (row_write(c, ch, r, r));
	s = stmt_prep(c, r->tbl, Q_REPLACE);
	bind_cols(s, r, tbl_descs[r->tbl].ncols);
	return (sqs_run(s));
}

int
row_del(struct sqc *c, const struct change *ch, const struct row *key)
{
	struct sqs *s;

	if (ch->undo_seq != 0 || key->tbl == T_INODE)
		return (row_write(c, ch, key, NULL));
	s = stmt_prep(c, key->tbl, Q_DELETE);
	bind_cols(s, key, tbl_descs[key->tbl].nkey);
	return (sqs_run(s));
}

int
row_load(struct sqc *c, const struct row *r)
{
	static const struct change landed = { 0 };

	if (r->tbl == T_INODE && r->v[I_INO].i == (int64_t)META_ROOT)
		return (row_put(c, &landed, r));
	return (row_change(c, &landed, NULL, r));
}

int
rows_load(struct sqc *c, const struct row *rows, unsigned n)
{
	unsigned ncols = n ? tbl_descs[rows->tbl].ncols : 0;
	struct counted counted = { 0 };
	struct sqs *s;
	int err = 0;

	if (n < ROWS_LOAD || (rows->tbl == T_INODE &&
	    rows->v[I_INO].i <= (int64_t)META_ROOT)) {
		for (unsigned i = 0; err == 0 && i < n; i++)
			err = row_load(c, &rows[i]);
		return (err);
	}
	pthread_once(&stmts_once, stmts_init);
	s = sq_prep(c, load_stmts[rows->tbl]);
	for (unsigned i = 0; i < ROWS_LOAD; i++) {
		bind_cols_at(s, 1 + i * ncols, &rows[i], ncols);
		if (rows->tbl == T_INODE)
			count_row(&counted, &rows[i], 1);
	}
	err = sqs_run(s);
	return (err ? err : count_write(c, &counted));
}

/* --- session rows: the one that landed batches and pending ops share --- */

_Static_assert(T_SESSION == 12, "undo_session and these statements say 12");

int
session_get_prefix(struct sqc *c, struct row *io, struct buf *scratch)
{
	struct buf k = BUF_INIT;
	struct sqs *s;
	struct cur cur;
	const void *p;
	size_t n;
	int rc;

	order_key(io, &k);
	if ((rc = buf_err(&k)) != 0)
		goto out;
	s = sq_prep(c, "SELECT old FROM undo WHERE tbl = 12 AND key = ? "
	    "ORDER BY seq LIMIT 1");
	sqs_blob(s, 1, k.p, k.len);
	rc = sqs_step(s);
	if (rc < 0)
		goto out;
	if (rc == 0) {
		rc = row_get(c, io, scratch);
		goto out;
	}
	p = sqs_col_blob(s, 0, &n);
	rc = -ENOENT;
	if (p != NULL && n > 0) {
		size_t at = scratch->len;

		buf_put(scratch, p, n);
		if ((rc = buf_err(scratch)) == 0) {
			cur_init(&cur, scratch->p + at, n);
			row_decode(&cur, io->tbl, io);
			rc = cur_err(&cur) ? -EUCLEAN : 0;
		}
	}
	sqs_reset(s);
out:
	buf_done(&k);
	return (rc);
}

/* Rewrites the pre-image `old` of key k that seq left. */
static int
undo_edit(struct sqc *c, const struct buf *k, int64_t seq,
    const struct buf *old, session_edit *edit, void *arg)
{
	struct buf image = BUF_INIT;
	struct row r;
	struct cur cur;
	struct sqs *s;
	int err;

	cur_init(&cur, old->p, old->len);
	row_decode(&cur, T_SESSION, &r);
	if (cur_err(&cur))
		return (-EUCLEAN);
	edit(&r, arg);
	row_encode(&r, &image);
	if ((err = buf_err(&image)) == 0) {
		s = sq_prep(c, "UPDATE undo SET old = ? "
		    "WHERE seq = ? AND tbl = 12 AND key = ?");
		sqs_blob(s, 1, image.p, image.len);
		sqs_int(s, 2, seq);
		sqs_blob(s, 3, k->p, k->len);
		err = sqs_run(s);
	}
	buf_done(&image);
	return (err);
}

/* 1: the next pre-image after *seq is in old; 0: no more. */
static int
undo_next(struct sqc *c, const struct buf *k, int64_t *seq, struct buf *old)
{
	struct sqs *s = sq_prep(c, "SELECT seq, old FROM undo "
	    "WHERE tbl = 12 AND key = ? AND seq > ? AND old IS NOT NULL "
	    "ORDER BY seq LIMIT 1");
	const void *p;
	size_t n;
	int rc;

	sqs_blob(s, 1, k->p, k->len);
	sqs_int(s, 2, *seq);
	if ((rc = sqs_step(s)) != 1)
		return (rc);
	*seq = sqs_col_int(s, 0);
	p = sqs_col_blob(s, 1, &n);
	buf_reset(old);
	buf_put(old, p, n);
	sqs_reset(s);
	return (buf_err(old) ? buf_err(old) : 1);
}

int
session_edit_all(struct sqc *c, int64_t number, session_edit *edit, void *arg)
{
	static const struct change landed = { 0 };
	struct buf k = BUF_INIT, old = BUF_INIT, scratch = BUF_INIT;
	struct row live = { T_SESSION, { col_int(number) } }, new;
	int64_t seq = 0;
	int rc;

	order_key(&live, &k);
	if ((rc = buf_err(&k)) != 0)
		goto out;
	while ((rc = undo_next(c, &k, &seq, &old)) == 1)
		if ((rc = undo_edit(c, &k, seq, &old, edit, arg)) != 0)
			goto out;
	if (rc != 0)
		goto out;
	rc = row_get(c, &live, &scratch);
	if (rc == 0) {
		new = live;
		edit(&new, arg);
		rc = row_change(c, &landed, &live, &new);
	} else if (rc == -ENOENT)
		rc = 0;
out:
	buf_done(&k);
	buf_done(&old);
	buf_done(&scratch);
	return (rc);
}

/* --- as of the log prefix (M4) --- */

int
undo_drop(struct sqc *c, uint64_t last)
{
	struct sqs *s = sq_prep(c, "DELETE FROM undo WHERE seq <= ?");

	sqs_int(s, 1, last);
	return (sqs_run(s));
}

struct range { int64_t lo, hi; };

/* Two streams in key order: the live table, and of each changed key the
 * lowest seq's pre-image. */
struct scan {
	enum tbl	 tbl;
	struct sqs	*live, *undo;
	struct row	 row;
	int		 has_live, has_undo;	/* 1, 0 at the end, -errno */
	struct buf	 key, undo_key;		/* order_key of each */
	struct buf	 image, ranges;
	bool		 keyed;			/* key is of row */
};

static void
scan_live_next(struct scan *sc)
{
	sc->has_live = sqs_step(sc->live);
	sc->keyed = false;
	if (sc->has_live == 1) {
		sc->row.tbl = sc->tbl;
		read_cols(sc->live, &sc->row);
	}
}

static void
scan_undo_next(struct scan *sc)
{
	const void *p;
	size_t n;

	/* later pre-images of the same key say nothing about the prefix */
	while ((sc->has_undo = sqs_step(sc->undo)) == 1) {
		p = sqs_col_blob(sc->undo, 0, &n);
		if (sc->undo_key.len == 0 || bytes_cmp(p, n, sc->undo_key.p,
		    sc->undo_key.len) != 0)
			break;
	}
	if (sc->has_undo != 1)
		return;
	buf_reset(&sc->undo_key);
	buf_put(&sc->undo_key, p, n);
	if (buf_err(&sc->undo_key))
		sc->has_undo = buf_err(&sc->undo_key);
}

/* <0: the live row is next, >0: a pre-image without one, 0: it has both. */
static int
scan_cmp(struct scan *sc)
{
	if (sc->has_undo == 0)
		return (-1);
	if (sc->has_live == 0)
		return (1);
	if (!sc->keyed) {
		buf_reset(&sc->key);
		order_key(&sc->row, &sc->key);
		sc->keyed = true;
	}
	return (bytes_cmp(sc->key.p, sc->key.len, sc->undo_key.p,
	    sc->undo_key.len));
}

static int
scan_emit(struct scan *sc, const struct row *r, const void *image, size_t n,
    rows_each *each, void *arg)
{
	const struct range *g = (const void *)sc->ranges.p;
	size_t ng = sc->ranges.len / sizeof(*g);

	for (size_t i = 0; i < ng; i++)
		if (r->v[0].i >= g[i].lo && r->v[0].i <= g[i].hi)
			return (0);
	if (image == NULL) {
		buf_reset(&sc->image);
		row_encode(r, &sc->image);
		if (buf_err(&sc->image))
			return (buf_err(&sc->image));
		image = sc->image.p;
		n = sc->image.len;
	}
	return (each(arg, r, image, n));
}

static int
scan_emit_undo(struct scan *sc, rows_each *each, void *arg)
{
	struct row r;
	struct cur cur;
	size_t n;
	const void *p = sqs_col_blob(sc->undo, 1, &n);

	if (p == NULL || n == 0)
		return (0);	/* it was not there */
	cur_init(&cur, p, n);
	row_decode(&cur, sc->tbl, &r);
	if (cur_err(&cur))
		return (-EUCLEAN);
	return (scan_emit(sc, &r, p, n, each, arg));
}

static int
scan_run(struct scan *sc, rows_each *each, void *arg)
{
	int rc = 0;

	scan_live_next(sc);
	if (sc->undo != NULL)
		scan_undo_next(sc);
	while (rc == 0 && (sc->has_live || sc->has_undo)) {
		int cmp;

		if (sc->has_live < 0 || sc->has_undo < 0)
			return (sc->has_live < 0 ? sc->has_live :
			    sc->has_undo);
		cmp = scan_cmp(sc);
		if (buf_err(&sc->key))
			return (buf_err(&sc->key));
		rc = cmp < 0 ? scan_emit(sc, &sc->row, NULL, 0, each, arg) :
		    scan_emit_undo(sc, each, arg);
		if (rc == 0 && cmp <= 0)
			scan_live_next(sc);
		if (rc == 0 && cmp >= 0)
			scan_undo_next(sc);
	}
	return (rc);
}

static int
ranges_get(struct sqc *c, struct buf *out)
{
	struct sqs *s = sq_prep(c, "SELECT lo, hi FROM hidden ORDER BY lo");
	int rc;

	while ((rc = sqs_step(s)) == 1) {
		struct range g = { sqs_col_int(s, 0), sqs_col_int(s, 1) };

		buf_put(out, &g, sizeof(g));
	}
	return (rc ? rc : buf_err(out));
}

int
rows_scan_prefix(struct sqc *c, enum tbl t, rows_each *each, void *arg)
{
	struct scan sc = { .tbl = t };
	int rc = 0;

	if (HIDDEN_TABLES >> t & 1 && (rc = ranges_get(c, &sc.ranges)) != 0)
		goto out;
	sc.live = stmt_prep(c, t, Q_SCAN);
	sc.undo = sq_prep(c, "SELECT key, old FROM undo WHERE tbl = ? "
	    "ORDER BY key, seq");
	if (sc.live == NULL || sc.undo == NULL) {
		rc = sq_err(c);
		goto out;
	}
	sqs_int(sc.undo, 1, t);
	rc = scan_run(&sc, each, arg);
	sqs_reset(sc.live);
	sqs_reset(sc.undo);
out:
	buf_done(&sc.key);
	buf_done(&sc.undo_key);
	buf_done(&sc.image);
	buf_done(&sc.ranges);
	return (rc);
}

int
rows_scan_live(struct sqc *c, enum tbl t, rows_each *each, void *arg)
{
	struct scan sc = { .tbl = t, .live = stmt_prep(c, t, Q_SCAN) };
	int rc;

	if (sc.live == NULL)
		return (sq_err(c));
	rc = scan_run(&sc, each, arg);
	sqs_reset(sc.live);
	buf_done(&sc.key);
	buf_done(&sc.image);
	return (rc);
}

/* --- hidden ranges --- */

int
hidden_add(struct sqc *c, uint64_t lo, uint64_t hi, uint64_t seq)
{
	struct sqs *s = sq_prep(c, "INSERT INTO hidden(lo, hi, seq) "
	    "VALUES (?, ?, ?)");

	sqs_int(s, 1, lo);
	sqs_int(s, 2, hi);
	sqs_int(s, 3, seq);
	return (sqs_run(s));
}

int
hidden_set_seq(struct sqc *c, uint64_t lo, uint64_t seq)
{
	struct sqs *s = sq_prep(c, "UPDATE hidden SET seq = ? WHERE lo = ?");

	sqs_int(s, 1, seq);
	sqs_int(s, 2, lo);
	return (sqs_run(s));
}

int
hidden_del(struct sqc *c, uint64_t lo)
{
	struct sqs *s = sq_prep(c, "DELETE FROM hidden WHERE lo = ?");

	sqs_int(s, 1, lo);
	return (sqs_run(s));
}

static int
hidden_purge_range(struct sqc *c, int64_t lo, int64_t hi)
{
	struct sqs *s = sq_prep(c, "SELECT "
	    "ifnull(sum((mode & 61440) <> 16384), 0), "
	    "ifnull(sum((mode & 61440) = 16384), 0), "
	    "ifnull(sum(CASE WHEN (mode & 61440) = 32768 THEN size ELSE 0 "
	    "END), 0) FROM inode WHERE ino BETWEEN ? AND ?");
	int64_t n[3] = { 0 };
	int rc;

	sqs_int(s, 1, lo);
	sqs_int(s, 2, hi);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -EUCLEAN);
	for (int i = 0; i < 3; i++)
		n[i] = sqs_col_int(s, i);
	sqs_reset(s);
	if ((rc = counts_add(c, -n[0], -n[1], -n[2])) != 0)
		return (rc);
	for (unsigned t = 0; t < T_COUNT; t++) {
		if (!(HIDDEN_TABLES >> t & 1))
			continue;
		s = stmt_prep(c, t, Q_PURGE);
		sqs_int(s, 1, lo);
		sqs_int(s, 2, hi);
		if ((rc = sqs_run(s)) != 0)
			return (rc);
	}
	return (hidden_del(c, lo));
}

int
hidden_drop(struct sqc *c, uint64_t lo)
{
	struct sqs *s = sq_prep(c, "SELECT hi FROM hidden "
	    "WHERE lo = ? AND seq = 0");
	int64_t hi;
	int rc;

	sqs_int(s, 1, lo);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -ENOENT);
	hi = sqs_col_int(s, 0);
	sqs_reset(s);
	return (hidden_purge_range(c, (int64_t)lo, hi));
}

int
hidden_purge(struct sqc *c)
{
	for (;;) {
		struct sqs *s = sq_prep(c, "SELECT lo, hi FROM hidden "
		    "WHERE seq = 0 LIMIT 1");
		int64_t lo, hi;
		int rc = sqs_step(s);

		if (rc != 1)
			return (rc);
		lo = sqs_col_int(s, 0);
		hi = sqs_col_int(s, 1);
		sqs_reset(s);
		if ((rc = hidden_purge_range(c, lo, hi)) != 0)
			return (rc);
	}
}

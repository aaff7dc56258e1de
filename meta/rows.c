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
	[T_SUMS] = { "sums", 5, 2, { "object", "ooff", "len", "phase",
	    "sums" }, 1 << 4 },
};

#define ROW_BYTES_MAX	(4u << 20)	/* one bytes column */

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
	    [Q_INSERT] = "INSERT INTO ",
	    [Q_REPLACE] = "INSERT OR REPLACE INTO ",
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

struct sqs *
row_stmt(struct sqc *c, enum tbl t, enum row_stmt_kind q)
{
	pthread_once(&stmts_once, stmts_init);
	return (sq_prep(c, stmts[t][q]));
}

int
rows_schema(struct sqc *c, enum tbl from, enum tbl to)
{
	pthread_once(&stmts_once, stmts_init);
	for (unsigned t = from; t < to; t++) {
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
void
row_read(struct sqs *s, struct row *r)
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

int
row_bytes_cmp(const void *a, size_t na, const void *b, size_t nb)
{
	size_t n = na < nb ? na : nb;
	int cmp = n ? memcmp(a, b, n) : 0;

	return (cmp ? cmp : na < nb ? -1 : na > nb);
}

static int
col_cmp(const struct col *a, const struct col *b, bool bytes)
{
	if (bytes)
		return (row_bytes_cmp(a->p, a->n, b->p, b->n));
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
void
row_order_key(const struct row *r, struct buf *out)
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
	struct sqs *s = row_stmt(c, io->tbl, Q_GET);
	size_t need = 0;
	uint8_t *p = NULL;
	int rc;

	bind_cols(s, io, d->nkey);
	rc = sqs_step(s);
	if (rc <= 0)
		return (rc ? rc : -ENOENT);
	row_read(s, io);
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

	row_order_key(key, &k);
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
		s = row_stmt(c, key->tbl, Q_DELETE);
		bind_cols(s, key, d->nkey);
	} else {
		s = row_stmt(c, key->tbl, old ? Q_REPLACE : Q_INSERT);
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
	s = row_stmt(c, r->tbl, Q_REPLACE);
	bind_cols(s, r, tbl_descs[r->tbl].ncols);
	return (sqs_run(s));
}

int
row_del(struct sqc *c, const struct change *ch, const struct row *key)
{
	struct sqs *s;

	if (ch->undo_seq != 0 || key->tbl == T_INODE)
		return (row_write(c, ch, key, NULL));
	s = row_stmt(c, key->tbl, Q_DELETE);
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

int
undo_drop(struct sqc *c, uint64_t lo, uint64_t hi)
{
	struct sqs *s = sq_prep(c, "DELETE FROM undo "
	    "WHERE seq BETWEEN ? AND ?");

	sqs_int(s, 1, lo);
	sqs_int(s, 2, hi);
	return (sqs_run(s));
}

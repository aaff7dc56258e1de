/*
 * rows_scan: tables in key order, as they are and as of the log prefix (M4),
 * and the ranges of ids that are not in the prefix.
 */
#include <errno.h>

#include "meta/internal.h"

/* Tables whose first column is an id that a hidden range may cover. */
#define HIDDEN_TABLES	(1u << T_INODE | 1u << T_DENTRY | 1u << T_EXTENT | \
	1u << T_OBJECT | 1u << T_LOCATION | 1u << T_XATTR | \
	1u << T_SYMLINK | 1u << T_TAG)

/* --- scans --- */

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
		row_read(sc->live, &sc->row);
	}
}

static void
scan_undo_next(struct scan *sc)
{
	const void *p = NULL;
	size_t n = 0;

	/* later pre-images of the same key say nothing about the prefix */
	while ((sc->has_undo = sqs_step(sc->undo)) == 1) {
		p = sqs_col_blob(sc->undo, 0, &n);
		if (sc->undo_key.len == 0 || row_bytes_cmp(p, n, sc->undo_key.p,
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
		row_order_key(&sc->row, &sc->key);
		sc->keyed = true;
	}
	return (row_bytes_cmp(sc->key.p, sc->key.len, sc->undo_key.p,
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
	sc.live = row_stmt(c, t, Q_SCAN);
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
	struct scan sc = { .tbl = t, .live = row_stmt(c, t, Q_SCAN) };
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
		s = row_stmt(c, t, Q_PURGE);
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

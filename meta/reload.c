/* reload: see reload.h. */
#include <errno.h>
#include <stdio.h>

#include "meta/internal.h"
#include "meta/reload.h"

/* What meta's `loading` says. */
enum { WHOLE, LOADING, LOADING_FIRST };	/* the last: there was no tree before */

static int
state(struct sqc *c)
{
	int64_t v;
	int err = meta_get_int(c, "loading", &v);

	return err == -ENOENT ? WHOLE : err != 0 ? err : (int)v;
}

int
reload_is_begun(struct sqc *c)
{
	int st = state(c);

	return st < 0 ? st : st != WHOLE;
}

/* What there is before: *retstate. */
static int
keep(struct sqc *c, int *retstate)
{
	struct sqs *s = sq_prep(c, "SELECT 1 FROM inode WHERE ino <> 1 "
	    "LIMIT 1");
	int rc = sqs_has_row(s);

	if (rc < 0)
		return rc;
	*retstate = rc == 0 ? LOADING_FIRST : LOADING;
	return rc == 0 ? 0 : sq_exec(c, "DROP TABLE IF EXISTS reload_extent;"
	    "CREATE TABLE reload_extent(ino INTEGER NOT NULL, "
	    "off INTEGER NOT NULL, len INTEGER NOT NULL, "
	    "object INTEGER NOT NULL, ooff INTEGER NOT NULL, "
	    "crc INTEGER NOT NULL, PRIMARY KEY(ino, off)) WITHOUT ROWID;"
	    "INSERT INTO reload_extent SELECT * FROM extent");
}

/* An earlier loading that died had kept the extents of the whole tree. */
int
reload_begin(struct sqc *c)
{
	char sql[128];
	int err, st = state(c);

	if (st < 0)
		return st;
	err = st == WHOLE ? keep(c, &st) : 0;
	for (unsigned t = 0; err == 0 && t < T_COUNT; t++) {
		snprintf(sql, sizeof(sql), "DELETE FROM %s%s",
		    tbl_descs[t].name, t == T_INODE ? " WHERE ino <> 1" : "");
		err = sq_exec(c, sql);
	}
	/* the root is a directory, and counted (rows.c) */
	if (err == 0)
		err = sq_exec(c, "UPDATE counts SET files = 0, dirs = 1, "
		    "bytes = 0 WHERE id = 1; DELETE FROM hidden");
	if (err == 0)
		err = meta_set_int(c, "head_lsn", 0);
	if (err == 0)
		err = meta_set_int(c, "loading", st);
	return err;
}

/* Row by row: what sorts or gathers would have all of a tree in memory. */
static int
each_of(struct sqc *c, const char *sql, int (*each)(void *arg, uint64_t ino),
    void *arg)
{
	struct sqs *s = sq_prep(c, sql);
	uint64_t ino, last = 0;
	int rc;

	while ((rc = sqs_step(s)) == 1) {
		ino = (uint64_t)sqs_col_int(s, 0);
		if (ino != last && (rc = each(arg, ino)) != 0)
			break;
		last = ino;
	}
	sqs_reset(s);
	return rc;
}

int
reload_changed(struct sqc *c, int (*each)(void *arg, uint64_t ino), void *arg)
{
	int rc = state(c);

	if (rc == LOADING) {
		rc = each_of(c, "SELECT r.ino FROM reload_extent r "
		    "LEFT JOIN extent e ON e.ino = r.ino AND e.off = r.off "
		    "WHERE e.ino IS NULL OR e.len <> r.len OR "
		    "e.object <> r.object OR e.ooff <> r.ooff OR "
		    "e.crc <> r.crc", each, arg);
		if (rc == 0)
			rc = each_of(c, "SELECT e.ino FROM extent e "
			    "LEFT JOIN reload_extent r "
			    "ON r.ino = e.ino AND r.off = e.off "
			    "WHERE r.ino IS NULL", each, arg);
	}
	return rc < 0 ? rc : 0;
}

int
reload_end(struct sqc *c)
{
	int err = sq_exec(c, "DROP TABLE IF EXISTS reload_extent");

	return err != 0 ? err : meta_set_int(c, "loading", WHOLE);
}

int
journal_next_seq(struct sqc *c, uint64_t *ret)
{
	return counts_next_seq(c, ret);
}

int
journal_changes(struct sqc *c, uint64_t *ret)
{
	struct sqs *s = sq_prep(c, "SELECT count(*) FROM (SELECT 1 FROM op "
	    "WHERE kind <> ? LIMIT 1000)");
	int rc;

	sqs_int(s, 1, OP_SESSION_CLOSE);
	rc = sqs_step(s);
	if (rc != 1)
		return rc != 0 ? rc : -EUCLEAN;
	*ret = (uint64_t)sqs_col_int(s, 0);
	sqs_reset(s);
	return 0;
}

/* The rows they changed are, in every form, what the fence made of them
 * (session_edit_all), so nothing is to be undone. */
int
journal_drop_closes(struct sqc *c)
{
	struct journal_stat j;
	uint64_t n, next;
	int err;

	if ((err = journal_changes(c, &n)) != 0)
		return err;
	if (n != 0)
		return -EBUSY;
	if ((err = counts_next_seq(c, &next)) != 0 ||
	    (err = journal_stat(c, &j)) != 0 ||
	    (err = undo_drop(c, 0, next - 1)) != 0 ||
	    (err = counts_add_landed(c, j.ops, next - 1)) != 0)
		return err;
	return sq_exec(c, "DELETE FROM op; DELETE FROM frozen; "
	    "DELETE FROM frozen_run");
}

/* Keys: meta.c. */
static const char *const block_keys[] = { "session_next", "session_end",
	"block_first", "block_end" };

int
meta_session_left(struct sqc *c, uint64_t *ret)
{
	int64_t v[4] = { 0 };
	int err;

	for (int i = 0; i < 4; i++) {
		err = meta_get_int(c, block_keys[i], &v[i]);
		if (err != 0 && err != -ENOENT)
			return err;
	}
	*ret = (uint64_t)((v[1] > v[0] ? v[1] - v[0] : 0) +
	    (v[3] > v[2] ? v[3] - v[2] : 0));
	return 0;
}

int
meta_session_forget(struct sqc *c)
{
	int err = 0;

	for (int i = 0; err == 0 && i < 4; i++)
		err = meta_set_int(c, block_keys[i], 0);
	return err;
}

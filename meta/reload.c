/* reload: see reload.h. */
#include <errno.h>
#include <stdio.h>

#include "meta/internal.h"
#include "meta/reload.h"

int
reload_is_begun(struct sqc *c)
{
	int64_t v;
	int err = meta_get_int(c, "loading", &v);

	if (err == -ENOENT)
		return 0;
	return err != 0 ? err : v != 0;
}

/* An earlier loading that died had kept the extents of the whole tree. */
int
reload_begin(struct sqc *c)
{
	char sql[128];
	int err;

	err = reload_is_begun(c);
	if (err < 0)
		return err;
	if (err == 0)
		err = sq_exec(c, "DROP TABLE IF EXISTS reload_extent;"
		    "CREATE TABLE reload_extent AS SELECT * FROM extent");
	else
		err = 0;
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
		err = meta_set_int(c, "loading", 1);
	return err;
}

int
reload_end(struct sqc *c, int (*each)(void *arg, uint64_t ino), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT ino FROM "
	    "(SELECT * FROM reload_extent EXCEPT SELECT * FROM extent) "
	    "UNION SELECT ino FROM "
	    "(SELECT * FROM extent EXCEPT SELECT * FROM reload_extent) "
	    "ORDER BY ino");
	int rc;

	while ((rc = sqs_step(s)) == 1)
		if ((rc = each(arg, (uint64_t)sqs_col_int(s, 0))) != 0)
			break;
	sqs_reset(s);
	if (rc == 0)
		rc = meta_set_int(c, "loading", 0);
	return rc != 0 ? rc : sq_exec(c, "DELETE FROM reload_extent");
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

/*
 * schema: the host-local tables, and migrations.  user_version says which
 * version a database has; migrating runs in the caller's one transaction.
 */
#include <errno.h>
#include <stdio.h>

#include "meta/internal.h"

#define APPLICATION_ID	0x676e7366	/* "gnsf" */

/* op_content is by inode: which bytes-changing ops (OP_EXTENTS 11,
 * OP_TRUNCATE 12) it has pending.  undo_session: see rows.c.  dentry_dirs:
 * the directories among the entries, for link counts. */
static const char schema_1[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) "
	    "WITHOUT ROWID;"
	"CREATE TABLE op (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, "
	    "ino INTEGER NOT NULL, needs INTEGER NOT NULL, "
	    "time INTEGER NOT NULL, body BLOB NOT NULL);"
	"CREATE INDEX op_waiting ON op(seq) WHERE needs = 2;"
	"CREATE INDEX op_content ON op(ino) WHERE kind IN (11, 12);"
	"CREATE TABLE undo (seq INTEGER NOT NULL, tbl INTEGER NOT NULL, "
	    "key BLOB NOT NULL, old BLOB, PRIMARY KEY (seq, tbl, key)) "
	    "WITHOUT ROWID;"
	"CREATE INDEX undo_session ON undo(key, seq) WHERE tbl = 12;"
	"CREATE TABLE unstored (seq INTEGER PRIMARY KEY, "
	    "ino INTEGER NOT NULL, crc INTEGER NOT NULL, "
	    "bytes BLOB NOT NULL);"
	"CREATE INDEX unstored_ino ON unstored(ino);"
	"CREATE TABLE frozen (id INTEGER PRIMARY KEY CHECK (id = 1), "
	    "session INTEGER NOT NULL, nonce INTEGER NOT NULL, "
	    "first INTEGER NOT NULL, last INTEGER NOT NULL, "
	    "nops INTEGER NOT NULL, body BLOB NOT NULL);"
	"CREATE TABLE frozen_pack (object INTEGER NOT NULL, "
	    "off INTEGER NOT NULL, ino INTEGER NOT NULL, "
	    "seq INTEGER NOT NULL, len INTEGER NOT NULL, "
	    "PRIMARY KEY (object, off)) WITHOUT ROWID;"
	"CREATE TABLE hidden (lo INTEGER PRIMARY KEY, hi INTEGER NOT NULL, "
	    "seq INTEGER NOT NULL);"
	"CREATE TABLE counts (id INTEGER PRIMARY KEY CHECK (id = 1), "
	    "files INTEGER NOT NULL, dirs INTEGER NOT NULL, "
	    "bytes INTEGER NOT NULL, unstored INTEGER NOT NULL, "
	    "landed INTEGER NOT NULL);"
	"INSERT INTO counts VALUES (1, 0, 0, 0, 0, 0);"
	"CREATE INDEX dentry_ino ON dentry(ino);"
	"CREATE INDEX dentry_dirs ON dentry(parent, type) WHERE type = 4;";

_Static_assert(OP_EXTENTS == 11 && OP_TRUNCATE == 12, "op_content says so");

/* Every database starts with the same root, so that the state before the
 * first segment is the same everywhere. */
static int
root_make(struct sqc *c)
{
	static const struct change landed = { 0 };
	struct row r = { T_INODE, { col_int(META_ROOT), col_int(040755) } };

	for (int i = I_UID; i <= I_FLAGS; i++)
		r.v[i] = col_int(0);
	r.v[I_NLINK] = col_int(1);
	return (row_put(c, &landed, &r));
}

static int
migrate_1(struct sqc *c)
{
	int err;

	if ((err = rows_schema(c, 0, T_SUMS)) != 0 ||
	    (err = sq_exec(c, schema_1)) != 0)
		return (err);
	return (root_make(c));
}

/* Feature level 3. */
static int
migrate_2(struct sqc *c)
{
	return (rows_schema(c, T_SUMS, T_COUNT));
}

/* op_small: small files' bytes that are for another store than the home. */
static int
migrate_3(struct sqc *c)
{
	return (sq_exec(c, "CREATE INDEX op_small ON op(seq) WHERE needs = 4;"
	    "ALTER TABLE frozen_pack ADD COLUMN stored INTEGER NOT NULL "
	    "DEFAULT 0;"));
}

_Static_assert(NEEDS_STORE == 4, "op_small says so");

static int
pragma_get(struct sqc *c, const char *sql, int64_t *ret)
{
	struct sqs *s = sq_prep(c, sql);
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	*ret = sqs_col_int(s, 0);
	sqs_reset(s);
	return (0);
}

int
schema_migrate(struct sqc *c)
{
	static int (*const steps[])(struct sqc *) = {
		migrate_1, migrate_2, migrate_3,
	};
	_Static_assert(sizeof(steps) / sizeof(steps[0]) == SCHEMA_VERSION,
	    "a step for each version");
	char sql[80];
	int64_t version, id;
	int err;

	if ((err = pragma_get(c, "PRAGMA user_version", &version)) != 0 ||
	    (err = pragma_get(c, "PRAGMA application_id", &id)) != 0)
		return (err);
	if (version < 0 || (id != 0 && id != APPLICATION_ID))
		return (-EUCLEAN);
	if (version > SCHEMA_VERSION)
		return (-EPROTONOSUPPORT);
	if (version == SCHEMA_VERSION)
		return (0);
	for (; version < SCHEMA_VERSION; version++)
		if ((err = steps[version](c)) != 0)
			return (err);
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d; "
	    "PRAGMA application_id = %d", SCHEMA_VERSION, APPLICATION_ID);
	return (sq_exec(c, sql));
}

int
counts_add(struct sqc *c, int64_t files, int64_t dirs, int64_t bytes)
{
	struct sqs *s = sq_prep(c, "UPDATE counts SET files = files + ?, "
	    "dirs = dirs + ?, bytes = bytes + ? WHERE id = 1");

	sqs_int(s, 1, files);
	sqs_int(s, 2, dirs);
	sqs_int(s, 3, bytes);
	return (sqs_run(s));
}

int
counts_add_unstored(struct sqc *c, int64_t bytes)
{
	struct sqs *s = sq_prep(c, "UPDATE counts SET "
	    "unstored = unstored + ? WHERE id = 1");

	sqs_int(s, 1, bytes);
	return (sqs_run(s));
}

int
counts_set_landed(struct sqc *c, uint64_t seq)
{
	struct sqs *s = sq_prep(c, "UPDATE counts SET landed = ? WHERE id = 1");

	sqs_int(s, 1, seq);
	return (sqs_run(s));
}

int
counts_next_seq(struct sqc *c, uint64_t *ret)
{
	struct sqs *s = sq_prep(c, "SELECT ifnull((SELECT max(seq) FROM op), "
	    "(SELECT landed FROM counts WHERE id = 1)) + 1");
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	*ret = sqs_col_int(s, 0);
	sqs_reset(s);
	return (0);
}

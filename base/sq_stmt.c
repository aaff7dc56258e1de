/*
 * sq_stmt: statements and errors of sq (base/sq.h).
 *
 * A connection keeps each statement it compiled, keyed by the address of its
 * text; beside the first there may be more of the same text, made when all are
 * in use: from the first bind or the prep to the reset.  What a borrower leaves
 * unreset is reset when it gives the connection back.
 */
#include "base/sq_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define SAME_MAX	32	/* statements of one text in use at once */

static _Thread_local int prep_err;	/* of the last sq_prep; -errno */

/* ---- errors ---- */

/* Most of what is said here says that a disk is failing. */
void
sq_complain(sqlite3 *db, int rc)
{
	static _Atomic int64_t last = INT64_MIN;
	int64_t now = clock_mono(), was = atomic_load(&last);

	if (was != INT64_MIN && now - was < NSEC_PER_SEC)
		return;
	if (!atomic_compare_exchange_strong(&last, &was, now))
		return;
	log_error("database", "rc=%d errno=%d err=%s", rc,
	    sqlite3_system_errno(db), LOG_Q(sqlite3_errmsg(db)));
}

static int
io_errno(sqlite3 *db, int rc)
{
	int sys_err = sqlite3_system_errno(db);

	if (!sys_err)	/* a commit that fails does not set it */
		sys_err = errno;
	if (rc == SQLITE_IOERR_NOMEM)
		return -ENOMEM;
	if (rc == SQLITE_IOERR_SHMSIZE)
		return -ENOSPC;
	if (sys_err == ENOSPC || sys_err == EDQUOT || sys_err == EFBIG)
		return -ENOSPC;
	if (sys_err == EROFS)
		return -EROFS;
	if (sys_err == EMFILE || sys_err == ENFILE)
		return -ENFILE;
	sq_complain(db, rc);
	return -EIO;
}

/* The one translation of SQLite's errors. */
static int
to_errno(sqlite3 *db, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return -EBUSY;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		sq_complain(db, rc);
		return -EUCLEAN;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return io_errno(db, rc);
	default:
		sq_complain(db, rc);
		return -EIO;
	}
}

int
sq_note(struct sqc *c, int rc)
{
	int err = to_errno(c->db, rc);

	if (err)
		c->err = err;
	return err;
}

/* ---- statements ---- */

static void
use(struct sqs *s)
{
	if (!s->used) {
		s->used = true;
		s->c->nused++;
	}
}

void
sqs_reset(struct sqs *s)
{
	if (!s)
		return;
	sqlite3_reset(s->st);
	sqlite3_clear_bindings(s->st);
	s->err = 0;
	if (s->used) {
		s->used = false;
		s->c->nused--;
	}
}

static struct slot *
find_slot(struct slot *slots, unsigned nslots, const char *sql)
{
	uint64_t h = (uint64_t)(uintptr_t)sql * UINT64_C(0x9e3779b97f4a7c15);
	unsigned i = h >> 40 & (nslots - 1);

	while (slots[i].sql && slots[i].sql != sql)
		i = (i + 1) & (nslots - 1);
	return &slots[i];
}

/* Keeps a quarter of the table free. */
static int
grow_slots(struct sqc *c)
{
	unsigned n = c->nslots ? c->nslots * 2 : 64;
	struct slot *slots;

	if (c->ntexts < c->nslots / 4 * 3)
		return 0;
	slots = calloc(n, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (unsigned i = 0; i < c->nslots; i++) {
		if (c->slots[i].sql)
			*find_slot(slots, n, c->slots[i].sql) = c->slots[i];
	}
	free(c->slots);
	c->slots = slots;
	c->nslots = n;
	return 0;
}

static struct sqs *
compile(struct sqc *c, const char *sql)
{
	struct sqs *s = calloc(1, sizeof(*s));
	int rc;

	if (!s) {
		c->err = -ENOMEM;
		return NULL;
	}
	s->c = c;
	rc = sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
	    &s->st, NULL);
	if (rc != SQLITE_OK || !s->st) {
		sq_note(c, rc == SQLITE_OK ? SQLITE_MISUSE : rc);
		free(s);
		return NULL;
	}
	s->len = strlen(sqlite3_sql(s->st));
	return s;
}

struct sqs *
sq_prep(struct sqc *c, const char *sql)
{
	struct slot *slot;
	struct sqs **at, *s = NULL;
	unsigned n = 0;
	int err;

	err = grow_slots(c);
	if (err) {
		c->err = err;
		goto out;
	}
	slot = find_slot(c->slots, c->nslots, sql);
	for (at = &slot->first; *at && (*at)->used; at = &(*at)->next)
		n++;
	if (n == SAME_MAX) {
		log_error("statement never reset", "sql=%s", LOG_Q(sql));
		c->err = -EIO;
		goto out;
	}
	s = *at;
	if (!s) {
		s = compile(c, sql);
		if (!s)
			goto out;
		*at = s;
		if (!slot->sql)
			c->ntexts++;
		slot->sql = sql;
	}
	/* The key is an address: a text that changed under it is a bug. */
	assert(strncmp(sql, sqlite3_sql(s->st), s->len) == 0);
	use(s);
out:
	prep_err = s ? 0 : c->err;
	return s;
}

static void
bound(struct sqs *s, int rc)
{
	use(s);
	if (rc != SQLITE_OK && !s->err)
		s->err = sq_note(s->c, rc);
}

void
sqs_int(struct sqs *s, int i, int64_t v)
{
	if (s)
		bound(s, sqlite3_bind_int64(s->st, i, v));
}

void
sqs_blob(struct sqs *s, int i, const void *p, size_t n)
{
	if (s)	/* a NULL pointer would be SQL's NULL */
		bound(s, sqlite3_bind_blob64(s->st, i, p ? p : "", n,
		    SQLITE_STATIC));
}

void
sqs_text(struct sqs *s, int i, const char *p)
{
	if (s)
		bound(s, sqlite3_bind_text(s->st, i, p, -1, SQLITE_STATIC));
}

void
sqs_null(struct sqs *s, int i)
{
	if (s)
		bound(s, sqlite3_bind_null(s->st, i));
}

int
sqs_step(struct sqs *s)
{
	int rc, err;

	if (!s)
		return prep_err ? prep_err : -EIO;
	err = s->err;
	if (!err) {
		errno = 0;
		rc = sqlite3_step(s->st);
		if (rc == SQLITE_ROW) {
			use(s);
			return 1;
		}
		err = sq_note(s->c, rc);
	}
	sqs_reset(s);
	return err;
}

int
sqs_run(struct sqs *s)
{
	int rv;

	do
		rv = sqs_step(s);
	while (rv > 0);
	return rv;
}

int64_t
sqs_col_int(struct sqs *s, int i)
{
	return s ? sqlite3_column_int64(s->st, i) : 0;
}

const void *
sqs_col_blob(struct sqs *s, int i, size_t *retn)
{
	const void *p = s ? sqlite3_column_blob(s->st, i) : NULL;

	*retn = p ? sqlite3_column_bytes(s->st, i) : 0;
	if (!p && s && sqlite3_column_type(s->st, i) != SQLITE_NULL)
		p = "";
	return p;
}

const char *
sqs_col_text(struct sqs *s, int i)
{
	return s ? (const char *)sqlite3_column_text(s->st, i) : NULL;
}

bool
sqs_col_is_null(struct sqs *s, int i)
{
	return !s || sqlite3_column_type(s->st, i) == SQLITE_NULL;
}

int
sq_err(struct sqc *c)
{
	return c->err;
}

int
sq_exec(struct sqc *c, const char *sql)
{
	errno = 0;
	return sq_note(c, sqlite3_exec(c->db, sql, NULL, NULL, NULL));
}

int64_t
sq_changes(struct sqc *c)
{
	return sqlite3_changes64(c->db);
}

int64_t
sq_last_rowid(struct sqc *c)
{
	return sqlite3_last_insert_rowid(c->db);
}

int
sq_run(struct sqc *c, const char *sql)
{
	return sqs_run(sq_prep(c, sql));
}

void
sq_reset_used(struct sqc *c)
{
	struct sqs *s;

	for (unsigned i = 0; i < c->nslots && c->nused > 0; i++) {
		for (s = c->slots[i].first; s; s = s->next) {
			if (s->used)
				sqs_reset(s);
		}
	}
}

void
sq_drop_stmts(struct sqc *c)
{
	struct sqs *s;

	for (unsigned i = 0; i < c->nslots; i++) {
		while ((s = c->slots[i].first)) {
			c->slots[i].first = s->next;
			sqlite3_finalize(s->st);
			free(s);
		}
	}
	free(c->slots);
}

int
sq_pragma(struct sqc *c, const char *name, int64_t v)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "PRAGMA %s=%lld", name, (long long)v);
	return sq_exec(c, sql);
}

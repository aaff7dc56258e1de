/*
 * sq: connections of a database, and reading; see base/sq.h, and sq_impl.h for
 * its other files.
 */
#include "base/sq_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/room.h"
#include "base/sq_wal.h"
#include "base/sys.h"

#define READERS		16	/* connections, where nobody says */

/* Of pages, each connection, at most. */
static uint64_t reader_kib = UINT64_MAX, writer_kib = UINT64_MAX;
static const char *writer_vfs;

void
sq_limit_pages(uint64_t bytes)
{
	reader_kib = bytes / 1024 / 2 / (2 * READERS);
	writer_kib = bytes / 1024 / 2 / 2;
}

/* ---- connections ---- */

static void
conn_close(struct sqc *c)
{
	if (!c)
		return;
	sq_drop_stmts(c);
	sqlite3_close(c->db);
	free(c);
}

/* What readers and the writer have in common; busy_timeout comes first. */
static int
conn_setup(struct sqc *c)
{
	const struct sq_opts *o = &c->q->opts;
	uint64_t kib = c->q->w != NULL ? reader_kib : writer_kib;
	int err;

	sqlite3_extended_result_codes(c->db, 1);
	err = sq_note(c, sqlite3_busy_timeout(c->db, SQ_BUSY_MS));
	if (!err)
		err = sq_pragma(c, "wal_autocheckpoint", 0);
	if (!err)
		err = sq_pragma(c, "cache_size", -(int64_t)(kib < o->cache_kib ?
		    kib : o->cache_kib));
	if (!err)
		err = sq_pragma(c, "mmap_size", (int64_t)o->mmap_mib << 20);
	if (!err)
		err = sq_pragma(c, "temp_store", 2);
	return err;
}

static int
conn_open(struct sq *q, int flags, struct sqc **ret, struct why *why)
{
	struct sqc *c = calloc(1, sizeof(*c));
	int err, rc;

	if (!c)
		return -ENOMEM;
	c->q = q;
	rc = sqlite3_open_v2(q->path, &c->db, flags | SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	    q->w != NULL ? SQ_VFS : writer_vfs);
	err = c->db ? sq_note(c, rc) : -ENOMEM;
	if (!err)
		err = conn_setup(c);
	if (err) {
		why_set(why, err, "database %s: %s", q->path, c->db ?
		    sqlite3_errmsg(c->db) : strerror(ENOMEM));
		conn_close(c);
		return err;
	}
	*ret = c;
	return 0;
}

static void
configure(void)
{
	/* Both take a process-wide mutex at every allocation or call. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
	writer_vfs = sq_wal_vfs();
}

static void
set_opts(struct sq *q, const struct sq_opts *opts)
{
	if (opts)
		q->opts = *opts;
	if (!q->opts.page_size)
		q->opts.page_size = 4096;
	if (!q->opts.cache_kib)
		q->opts.cache_kib = 8192;
	if (!q->opts.readers)
		q->opts.readers = READERS;
}

int
sq_open(const char *path, const struct sq_opts *opts, struct sq **ret,
    struct why *why)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct sq *q = calloc(1, sizeof(*q));
	int err = -ENOMEM;

	pthread_once(&once, configure);
	if (!q)
		return why_set(why, -ENOMEM, "database %s: no memory", path);
	lock_init(&q->lock, RANK_SQ, "sq queue");
	lock_init(&q->pool_lock, RANK_SQ, "sq readers");
	cond_init(&q->pool_cond);
	q->writes.tail = &q->writes.head;
	q->syncs.tail = &q->syncs.head;
	q->wal_fd = -1;
	set_opts(q, opts);
	q->path = strdup(path);
	if (q->path)
		err = conn_open(q, SQLITE_OPEN_CREATE, &q->w, why);
	if (!err) {
		err = sq_writer_setup(q->w);
		if (!err)
			err = sys_sync_parent(path);
		if (err)
			why_set(why, err, "database %s: %s", path,
			    q->w->err ? sqlite3_errmsg(q->w->db) :
			    strerror(-err));
	}
	if (err) {
		why_set(why, err, "database %s: %s", path, strerror(-err));
		sq_close(q);
		return err;
	}
	*ret = q;
	return 0;
}

void
sq_close(struct sq *q)
{
	struct sqc *c;

	if (!q)
		return;
	assert(!q->writes.head && !q->writes.leading && !q->syncs.leading);
	while ((c = q->pool)) {
		q->pool = c->next;
		q->nreaders--;
		conn_close(c);
	}
	assert(q->nreaders == 0);
	if (q->w)	/* what fails here stays in the WAL, and is not lost */
		sqlite3_wal_checkpoint_v2(q->w->db, NULL,
		    SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	conn_close(q->w);
	if (q->wal_fd >= 0)
		sys.close(q->wal_fd);
	room_close(q->room);
	cond_done(&q->pool_cond);
	lock_done(&q->pool_lock);
	lock_done(&q->lock);
	free(q->path);
	free(q);
}

/* ---- reading ---- */

static int
reader_open(struct sq *q, struct sqc **ret)
{
	struct sqc *c;
	int err = conn_open(q, 0, &c, NULL);

	if (err)
		return err;
	err = sq_pragma(c, "query_only", 1);
	if (!err)
		err = sq_note(c, sqlite3_db_config(c->db,
		    SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL));
	if (err) {
		conn_close(c);
		return err;
	}
	*ret = c;
	return 0;
}

/* Could not be opened: one that is lent comes back before long. */
static int
reader_wait(struct sq *q, int err, struct sqc **ret)
{
	int64_t end = clock_mono() + SQ_BUSY_MS * NSEC_PER_MSEC;
	struct sqc *c;
	int late = 0;

	lock_take(&q->pool_lock);
	q->nreaders--;
	cond_signal(&q->pool_cond);
	while (!q->pool && q->nreaders > 0 && !late)
		late = cond_wait_until(&q->pool_cond, &q->pool_lock, end);
	c = q->pool;
	if (c)
		q->pool = c->next;
	lock_drop(&q->pool_lock);
	*ret = c;
	return c ? 0 : err;
}

int
sq_read(struct sq *q, struct sqc **ret)
{
	struct sqc *c;
	int err = 0;

	lock_take(&q->pool_lock);
	while (!q->pool && q->nreaders >= q->opts.readers)
		cond_wait(&q->pool_cond, &q->pool_lock);
	c = q->pool;
	if (c)
		q->pool = c->next;
	else
		q->nreaders++;
	lock_drop(&q->pool_lock);
	if (!c) {
		err = reader_open(q, &c);
		if (err)
			err = reader_wait(q, err, &c);
		if (err)
			return err;
	}
	c->err = 0;
	*ret = c;
	return 0;
}

void
sq_read_end(struct sqc *c)
{
	struct sq *q;

	if (!c)
		return;
	q = c->q;
	sq_reset_used(c);
	sq_snapshot_end(c);
	lock_take(&q->pool_lock);
	c->next = q->pool;
	q->pool = c;
	cond_signal(&q->pool_cond);
	lock_drop(&q->pool_lock);
}

int
sq_snapshot_begin(struct sqc *c)
{
	int err;

	sq_snapshot_end(c);
	err = sq_run(c, "BEGIN");
	if (err)
		return err;
	c->snapshot = true;
	/* The state is chosen by the first read. */
	err = sq_run(c, "SELECT count(*) FROM sq_sync");
	if (err)
		sq_snapshot_end(c);
	return err;
}

void
sq_snapshot_end(struct sqc *c)
{
	if (!c->snapshot)
		return;
	c->snapshot = false;
	sq_reset_used(c);
	if (!sqlite3_get_autocommit(c->db))
		sq_run(c, "ROLLBACK");
}

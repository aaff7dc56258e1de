/*
 * sq_write: changes of a database, and what keeps them (base/sq.h).
 *
 * Two queues.  Each waiting thread has a request on its stack, and is woken
 * when it is done or has to lead.  Who leads the writes takes what is queued,
 * runs it on the writing connection without holding the lock, wakes those it
 * ran, looks after the WAL and passes the lead on.  Only that leader touches
 * the writing connection.  Requests that want a commit at synchronous=FULL go
 * into a second transaction of their own, so that the others do not wait for
 * the disk.
 *
 * Who leads the syncs syncs the WAL by a descriptor of its own for all that
 * queued before, while the writer goes on.  What was committed is in the WAL's
 * file by then, or a checkpoint has made it durable in the database before the
 * WAL began anew (at synchronous=NORMAL SQLite syncs the WAL before a
 * checkpoint, the database after it, and the header of a WAL that begins
 * anew).  A shared request is written while no sync is under way, or along
 * with what is not shared, and queues for the next: who comes during a sync
 * shares a commit.
 *
 * SQLite itself may undo a whole transaction (a full disk, no memory).  Then
 * those that ran in it get the error, and those that did not yet run go into
 * a new one.
 *
 * Of a commit all frames go into the WAL by one write (sq_wal.h).
 */
#include "base/sq_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/room.h"
#include "base/sys.h"

#define RESTART_MS	200	/* readers in the way of a restart */
#define WAL_LIMIT	((int64_t)16 << 20)	/* bytes till a checkpoint */
#define WAL_HUGE	((int64_t)256 << 20)	/* bytes till one that waits */
#define WAL_STEP	((int64_t)1 << 20)	/* bytes sent at a time */
#define FRAME_HEAD	24	/* bytes of WAL beside each page */

#define ROW_AGAIN	(10 * NSEC_PER_SEC)	/* a row that did not fit */

static const char SQL_BEGIN[] = "BEGIN IMMEDIATE";
static const char SQL_COMMIT[] = "COMMIT";
static const char SQL_ROLLBACK[] = "ROLLBACK";

static _Thread_local bool in_fn;	/* this thread runs an sq_fn */

/* ---- the writing connection ---- */

static int
on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct sq *q = arg;
	int64_t was = q->wal_bytes;

	q->wal_bytes = (int64_t)frames * (q->opts.page_size + FRAME_HEAD);
	if (q->room != NULL && q->wal_bytes < was)
		room_moved(q->room);
	return SQLITE_OK;
}

static int
go_wal(struct sqc *c)
{
	struct sqs *s = sq_prep(c, "PRAGMA journal_mode=WAL");
	int rv = sqs_step(s);

	if (rv == 1 && strcmp(sqs_col_text(s, 0), "wal") != 0)
		rv = -EIO;
	sqs_reset(s);
	return rv < 0 ? rv : 0;
}

/* Compiled now: when memory is short they must be there. */
static int
prep_frame(struct sqc *c)
{
	const char *const sql[] = { SQL_BEGIN, SQL_COMMIT, SQL_ROLLBACK };
	struct sqs *s;

	for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
		s = sq_prep(c, sql[i]);
		if (!s)
			return sq_err(c);
		sqs_reset(s);
	}
	return 0;
}

/* SQLite has made it, and keeps it until the last connection goes. */
static int
open_wal(struct sq *q)
{
	char *path = NULL;

	if (asprintf(&path, "%s-wal", q->path) < 0)
		return -ENOMEM;
	q->wal_fd = sys.open(path, O_RDWR | O_CLOEXEC, 0);
	free(path);
	return q->wal_fd < 0 ? q->wal_fd : 0;
}

int
sq_writer_setup(struct sqc *c)
{
	struct sqs *s;
	int err;

	err = sq_pragma(c, "page_size", c->q->opts.page_size);
	if (!err)
		err = sq_pragma(c, "secure_delete", 0);
	if (!err)
		err = go_wal(c);
	if (!err)
		err = sq_pragma(c, "synchronous", 1);
	if (!err)
		err = sq_pragma(c, "journal_size_limit", WAL_LIMIT * 4);
	if (!err)
		err = sq_exec(c, "CREATE TABLE IF NOT EXISTS "
		    "sq_sync(id INTEGER PRIMARY KEY, n)");
	if (err)
		return err;
	/* An old database has the page size it was made with. */
	s = sq_prep(c, "PRAGMA page_size");
	err = sqs_step(s);
	if (err == 1)
		c->q->opts.page_size = sqs_col_int(s, 0);
	sqs_reset(s);
	if (err >= 0)
		err = prep_frame(c);
	if (!err)
		err = open_wal(c->q);
	c->q->wal_next = WAL_LIMIT;
	sqlite3_wal_hook(c->db, on_commit, c->q);
	return err;
}

/* ---- transactions ---- */

static void
rollback(struct sqc *w)
{
	int err = w->err;

	if (!sqlite3_get_autocommit(w->db))
		sq_run(w, SQL_ROLLBACK);
	w->err = err;
}

/* Those from first up to end whose change was kept so far get err. */
static void
fail_all(struct req *first, struct req *end, int err)
{
	for (; first != end; first = first->next) {
		if (first->rv >= 0)
			first->rv = err;
	}
}

/* 0, or -errno where the transaction as a whole is lost. */
static int
run_one(struct sqc *w, struct req *r, bool alone)
{
	int err = 0;

	if (!r->fn)
		return 0;
	if (!alone)
		err = sq_run(w, "SAVEPOINT one");
	if (err) {
		rollback(w);
		return err;
	}
	w->err = 0;
	in_fn = true;
	r->rv = r->fn(w, r->arg);
	in_fn = false;
	sq_reset_used(w);
	if (sqlite3_get_autocommit(w->db))
		return r->rv < 0 ? r->rv : w->err ? w->err : -EIO;
	if (alone) {
		if (r->rv < 0)
			rollback(w);
		return r->rv < 0 ? r->rv : 0;
	}
	if (r->rv < 0)
		err = sq_run(w, "ROLLBACK TO one");
	if (!err)
		err = sq_run(w, "RELEASE one");
	if (err)
		rollback(w);
	return err;
}

/* One transaction.  The first that it did not run; NULL: none. */
static struct req *
run_some(struct sqc *w, struct req *first, bool sync)
{
	struct req *r;
	int err;

	rollback(w);	/* where one failed before */
	err = sq_run(w, SQL_BEGIN);
	if (err) {
		fail_all(first, NULL, err);
		return NULL;
	}
	for (r = first; r; r = r->next) {
		err = run_one(w, r, !first->next);
		if (err) {
			fail_all(first, r->next, err);
			return r->next;
		}
	}
	if (sync)	/* L10: an empty commit syncs nothing */
		err = sq_run(w, "INSERT INTO sq_sync(id, n) VALUES(1, 1) "
		    "ON CONFLICT(id) DO UPDATE SET n = n + 1");
	if (!err)
		err = sq_run(w, SQL_COMMIT);
	if (err) {
		rollback(w);
		fail_all(first, NULL, err);
	}
	return NULL;
}

/* L10: the level is set outside of the transaction. */
static void
run_list(struct sqc *w, struct req *list, bool sync)
{
	int err;

	if (!list)
		return;
	if (sync) {
		err = sq_exec(w, "PRAGMA synchronous=FULL");
		if (err) {
			fail_all(list, NULL, err);
			return;
		}
	}
	while (list)
		list = run_some(w, list, sync);
	if (sync)	/* else only slower */
		sq_exec(w, "PRAGMA synchronous=NORMAL");
}

/* A checkpoint syncs the WAL, and all writers wait for it: what came long
 * before is on disk by then. */
static void
send_wal(struct sq *q)
{
	if (q->wal_bytes < q->wal_sent)
		q->wal_sent = 0;	/* it started over */
	if (q->wal_bytes - q->wal_sent < WAL_STEP)
		return;
	(void)sync_file_range(q->wal_fd, q->wal_sent,
	    q->wal_bytes - q->wal_sent, SYNC_FILE_RANGE_WRITE);
	q->wal_sent = q->wal_bytes;
}

/*
 * PASSIVE does what it can without waiting.  If readers keep the WAL from
 * starting over until it is huge, RESTART waits for them, but not long.
 */
static void
look_after_wal(struct sq *q)
{
	sqlite3 *db = q->w->db;
	bool huge = q->wal_bytes > WAL_HUGE;
	int64_t step = WAL_LIMIT;
	int rc, frames = 0, moved = 0;

	/* on a small disk it stays small; on a full one it must begin anew
	 * while there is room in hand */
	if (q->room != NULL && 4 * q->ballast < step)
		step = 4 * q->ballast;
	if (atomic_load(&q->low))
		step = q->ballast / 4;

	if (q->wal_bytes + step < q->wal_next)
		q->wal_next = step;	/* it started over */
	if (q->wal_bytes < q->wal_next && !atomic_load(&q->wal_bad))
		return;
	if (huge)
		sqlite3_busy_timeout(db, RESTART_MS);
	rc = sqlite3_wal_checkpoint_v2(db, NULL, huge ?
	    SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &frames,
	    &moved);
	if (huge)
		sqlite3_busy_timeout(db, SQ_BUSY_MS);
	if (rc == SQLITE_OK && moved == frames)
		atomic_store(&q->wal_bad, false);
	else if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
		sq_complain(db, rc);
	if (q->room != NULL)
		room_moved(q->room);
	q->wal_next = q->wal_bytes + step;
}

/* The leader's own transaction. */
static int
run_alone(struct sqc *w, sq_fn *fn, void *arg)
{
	struct req r = { .fn = fn, .arg = arg };

	(void)run_some(w, &r, false);
	return r.rv;
}

static int
row_put_fn(struct sqc *w, void *arg)
{
	struct sqs *s = sq_prep(w, "INSERT OR REPLACE INTO sq_ballast"
	    " VALUES(1, zeroblob(?1))");

	sqs_int(s, 1, *(int64_t *)arg);
	return sqs_run(s);
}

static int
row_drop_fn(struct sqc *w, void *arg)
{
	return sqs_run(sq_prep(w, "DELETE FROM sq_ballast"));
}

/*
 * C5.  Room in hand is kept as the files grow.  When the disk gives no more,
 * the row of sq_ballast goes, so that its pages are free ones of the
 * database, which then need not grow, and the WAL begins anew more often.
 */
static void
look_after_room(struct sq *q)
{
	bool low = atomic_load(&q->low);
	int err;

	if (q->room == NULL)
		return;
	err = room_keep(q->room, q->wal_bytes);
	if (err == 0 && !low && q->has_row)
		return;
	if (err != 0 && !low) {
		log_warn("the disk of a database is full: nothing that takes "
		    "room is done any more", "path=%s", LOG_Q(q->path));
		atomic_store(&q->low, true);
		q->wal_next = q->wal_bytes;
	} else if (err == 0 && low) {
		log_info("the disk of a database has room again", "path=%s",
		    LOG_Q(q->path));
		atomic_store(&q->low, false);
	}
	if (err != 0 && q->has_row) {
		q->has_row = run_alone(q->w, row_drop_fn, NULL) != 0;
	} else if (err == 0 && !q->has_row &&
	    clock_mono() >= q->row_again) {
		q->has_row = run_alone(q->w, row_put_fn, &q->ballast) == 0;
		q->row_again = clock_mono() + ROW_AGAIN;
	}
}

/* ---- the queues ---- */

static void
append(struct queue *w, struct req *r)
{
	*w->tail = r;
	w->tail = &r->next;
}

/* r's thread wakes; where it is done, r is gone then. */
static void
turn(struct req *r, enum turn t)
{
	r->turn = t;
	sem_post(&r->woken);
}

static bool
may_run(const struct sq *q, const struct req *r)
{
	return r->how != SHARED || !q->syncs.leading;
}

static void
start_sync(struct sq *q)
{
	if (q->syncs.head && !q->syncs.leading) {
		q->syncs.leading = true;
		turn(q->syncs.head, LEAD_SYNCS);
	}
}

/* After a commit a sync comes first; after a sync, a commit that the next one
 * is to make durable with what waits.  Locked. */
static void
pass_on(struct sq *q, bool wrote)
{
	struct req *r = NULL;

	if (wrote)
		start_sync(q);
	if (!q->writes.leading)
		for (r = q->writes.head; r && !may_run(q, r); )
			r = r->next;
	if (r) {
		q->writes.leading = true;
		turn(r, LEAD_WRITES);
	} else {
		start_sync(q);
	}
}

/* Takes at most SQ_GROUP apart.  What waits for a sync that is under way comes
 * along: the commit is made anyway, and the next sync need not wait for one
 * more.  Locked. */
static void
take_group(struct sq *q, struct req **retplain, struct req **retfull)
{
	struct req *r, **p = &q->writes.head;
	struct req **plain = retplain, **full = retfull;

	for (int n = 0; n < SQ_GROUP && (r = *p); n++) {
		*p = r->next;
		if (r->how == FULL) {
			*full = r;
			full = &r->next;
		} else {
			*plain = r;
			plain = &r->next;
		}
	}
	if (!*p)
		q->writes.tail = p;
	*plain = *full = NULL;
}

/* What was run: it is done, or waits for a sync. */
static void
ran(struct sq *q, struct req *list)
{
	struct req *r;

	lock_take(&q->lock);
	while ((r = list)) {
		list = r->next;
		r->next = NULL;
		if (r->how == SHARED && r->rv >= 0)
			append(&q->syncs, r);
		else
			turn(r, DONE);
	}
	start_sync(q);
	lock_drop(&q->lock);
}

static void
lead_writes(struct sq *q)
{
	struct req *plain, *full;

	lock_take(&q->lock);
	take_group(q, &plain, &full);
	lock_drop(&q->lock);
	run_list(q->w, plain, false);
	ran(q, plain);
	run_list(q->w, full, true);
	ran(q, full);
	send_wal(q);
	look_after_wal(q);
	look_after_room(q);
	lock_take(&q->lock);
	q->writes.leading = false;
	pass_on(q, true);
	lock_drop(&q->lock);
}

static void
lead_syncs(struct sq *q)
{
	struct queue *w = &q->syncs;
	struct req *r, *list;
	int err;

	lock_take(&q->lock);
	list = w->head;
	w->head = NULL;
	w->tail = &w->head;
	lock_drop(&q->lock);
	err = sys.fdatasync(q->wal_fd);
	if (err)
		atomic_store(&q->wal_bad, true);
	else if (atomic_load(&q->wal_bad))
		err = -EIO;	/* what failed before may be of these */
	while ((r = list)) {
		list = r->next;
		r->sync_err = err;
		turn(r, DONE);
	}
	lock_take(&q->lock);
	w->leading = false;
	pass_on(q, false);
	lock_drop(&q->lock);
}

/* Does what r's thread is woken for, until r is done. */
static void
attend(struct sq *q, struct req *r)
{
	for (;;) {
		while (sem_wait(&r->woken) != 0)
			;			/* EINTR */
		if (r->turn == DONE)
			break;
		if (r->turn == LEAD_WRITES)
			lead_writes(q);
		else
			lead_syncs(q);
	}
	sem_destroy(&r->woken);
}

static int
submit(struct sq *q, struct req *r)
{
	assert(!in_fn);		/* would wait for itself */
	sem_init(&r->woken, 0, 0);
	lock_take(&q->lock);
	append(&q->writes, r);
	if (!q->writes.leading && may_run(q, r)) {
		q->writes.leading = true;
		turn(r, LEAD_WRITES);
	}
	lock_drop(&q->lock);
	attend(q, r);
	return r->rv;
}

/* The WAL was not synced, and will not be: the kernel has given up its pages.
 * What it holds goes into the database, at once; no sync succeeds before. */
static void
sync_failed(struct sq *q)
{
	(void)submit(q, &(struct req){ .how = FULL });
}

int
sq_write(struct sq *q, sq_fn *fn, void *arg)
{
	return submit(q, &(struct req){ .fn = fn, .arg = arg });
}

int
sq_write_sync(struct sq *q, sq_fn *fn, void *arg)
{
	return submit(q, &(struct req){ .fn = fn, .arg = arg, .how = FULL });
}

int
sq_write_shared(struct sq *q, sq_fn *fn, void *arg, int *retsync)
{
	struct req r = { .fn = fn, .arg = arg, .how = SHARED };
	int rv = submit(q, &r);

	if (r.sync_err)
		sync_failed(q);
	*retsync = rv < 0 ? 0 : r.sync_err;
	return rv;
}

int
sq_sync(struct sq *q)
{
	struct req r = { .how = SHARED };

	assert(!in_fn);
	sem_init(&r.woken, 0, 0);
	lock_take(&q->lock);
	append(&q->syncs, &r);
	start_sync(q);
	lock_drop(&q->lock);
	attend(q, &r);
	if (r.sync_err)
		sync_failed(q);
	return r.sync_err;
}

static int
ballast_fn(struct sqc *c, void *arg)
{
	struct sq *q = arg;
	struct sqs *s;
	int rv;

	rv = sq_exec(c, "CREATE TABLE IF NOT EXISTS "
	    "sq_ballast(id INTEGER PRIMARY KEY, b BLOB)");
	if (rv)
		return rv;
	s = sq_prep(c, "SELECT 1 FROM sq_ballast");
	rv = sqs_step(s);
	q->has_row = rv == 1;
	sqs_reset(s);
	return rv < 0 ? rv : 0;
}

int
sq_ballast(struct sq *q)
{
	int rv;

	q->ballast = (int64_t)room_bytes(q->path);
	/* it writes, so that the files are there */
	rv = sq_write_sync(q, ballast_fn, q);
	if (!rv)
		rv = room_open(q->path, (uint64_t)q->ballast, &q->room);
	return rv ? rv : sq_sync(q);
}

bool
sq_is_low(struct sq *q)
{
	return atomic_load(&q->low);
}

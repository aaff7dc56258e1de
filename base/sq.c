/*
 * sq: see base/sq.h.
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
 * Statements.  A connection keeps each statement it compiled, keyed by the
 * address of its text; beside the first there may be more of the same text,
 * made when all are in use: from the first bind or the prep to the reset.
 * What a borrower leaves unreset is reset when it gives the connection back.
 *
 * SQLite itself may undo a whole transaction (a full disk, no memory).  Then
 * those that ran in it get the error, and those that did not yet run go into
 * a new one.
 *
 * Of a commit all frames go into the WAL by one write (sq_wal.h).
 *
 * One file, longer than is usual here, because it alone, with sq_wal.c, may
 * include sqlite3.h.
 */
#include "base/sq.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/room.h"
#include "base/sq_wal.h"
#include "base/sys.h"

#define BUSY_MS		5000	/* another process at work on the file */
#define RESTART_MS	200	/* readers in the way of a restart */
#define WAL_LIMIT	((int64_t)16 << 20)	/* bytes till a checkpoint */
#define WAL_HUGE	((int64_t)256 << 20)	/* bytes till one that waits */
#define WAL_STEP	((int64_t)1 << 20)	/* bytes sent at a time */
#define FRAME_HEAD	24	/* bytes of WAL beside each page */
#define SAME_MAX	32	/* statements of one text in use at once */
#define READERS		16	/* connections, where nobody says */

#define ROW_AGAIN	(10 * NSEC_PER_SEC)	/* a row that did not fit */

/* Of pages, each connection, at most. */
static uint64_t reader_kib = UINT64_MAX, writer_kib = UINT64_MAX;
static const char *writer_vfs;

static const char SQL_BEGIN[] = "BEGIN IMMEDIATE";
static const char SQL_COMMIT[] = "COMMIT";
static const char SQL_ROLLBACK[] = "ROLLBACK";

struct sqs {
	struct sqc	*c;
	sqlite3_stmt	*st;
	size_t		 len;		/* of the text, as far as it is one */
	struct sqs	*next;		/* of the same text */
	bool		 used;
	int		 err;		/* a bind that failed; -errno */
};

struct slot {
	const char	*sql;		/* the key; NULL: free */
	struct sqs	*first;
};

struct sqc {
	struct sq	*q;
	sqlite3		*db;
	struct slot	*slots;		/* open addressing */
	unsigned	 nslots;	/* a power of two */
	unsigned	 ntexts;
	unsigned	 nused;
	int		 err;
	bool		 snapshot;
	struct sqc	*next;		/* in the pool */
};

enum how { PLAIN, SHARED, FULL };
enum turn { LEAD_WRITES, LEAD_SYNCS, DONE };

struct req {
	sq_fn		*fn;		/* NULL: sync only */
	void		*arg;
	int		 rv, sync_err;
	enum how	 how;
	enum turn	 turn;		/* why its thread was woken */
	sem_t		 woken;
	struct req	*next;
};

/* Who waits, and whether somebody is at work.  Under sq.lock. */
struct queue {
	struct req	*head, **tail;
	bool		 leading;
};

struct sq {
	char		*path;
	struct sq_opts	 opts;
	struct sqc	*w;		/* the leader's */

	struct lock	 lock;		/* the queues */
	struct queue	 writes, syncs;
	int		 wal_fd;	/* for syncs */
	_Atomic bool	 wal_bad;	/* one has failed */

	int64_t		 wal_bytes;	/* after the last commit */
	int64_t		 wal_sent;	/* of them, on their way to the disk */
	int64_t		 wal_next;	/* checkpoint at that size */

	struct room	*room;		/* the leader's, as these are: C5 */
	int64_t		 ballast;	/* bytes */
	bool		 has_row;	/* pages of it stand by */
	int64_t		 row_again;	/* clock_mono */
	_Atomic bool	 low;		/* the disk gives no more */

	struct lock	 pool_lock;
	struct cond	 pool_cond;
	struct sqc	*pool;		/* idle readers */
	unsigned	 nreaders;	/* idle or lent */
};

static _Thread_local int prep_err;	/* of the last sq_prep; -errno */
static _Thread_local bool in_fn;	/* this thread runs an sq_fn */

/* Most of what is said here says that a disk is failing: once a second. */
static void
complain(sqlite3 *db, int rc)
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
	complain(db, rc);
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
		complain(db, rc);
		return -EUCLEAN;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return io_errno(db, rc);
	default:
		complain(db, rc);
		return -EIO;
	}
}

static int
note(struct sqc *c, int rc)
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
		note(c, rc == SQLITE_OK ? SQLITE_MISUSE : rc);
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
		s->err = note(s->c, rc);
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
		err = note(s->c, rc);
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
	return note(c, sqlite3_exec(c->db, sql, NULL, NULL, NULL));
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

static int
run(struct sqc *c, const char *sql)
{
	return sqs_run(sq_prep(c, sql));
}

static void
reset_used(struct sqc *c)
{
	struct sqs *s;

	for (unsigned i = 0; i < c->nslots && c->nused > 0; i++) {
		for (s = c->slots[i].first; s; s = s->next) {
			if (s->used)
				sqs_reset(s);
		}
	}
}

/* ---- connections ---- */

static void
conn_close(struct sqc *c)
{
	struct sqs *s;

	if (!c)
		return;
	for (unsigned i = 0; i < c->nslots; i++) {
		while ((s = c->slots[i].first)) {
			c->slots[i].first = s->next;
			sqlite3_finalize(s->st);
			free(s);
		}
	}
	free(c->slots);
	sqlite3_close(c->db);
	free(c);
}

static int
pragma(struct sqc *c, const char *name, int64_t v)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "PRAGMA %s=%lld", name, (long long)v);
	return sq_exec(c, sql);
}

/* What readers and the writer have in common; busy_timeout comes first. */
static int
conn_setup(struct sqc *c)
{
	const struct sq_opts *o = &c->q->opts;
	uint64_t kib = c->q->w != NULL ? reader_kib : writer_kib;
	int err;

	sqlite3_extended_result_codes(c->db, 1);
	err = note(c, sqlite3_busy_timeout(c->db, BUSY_MS));
	if (!err)
		err = pragma(c, "wal_autocheckpoint", 0);
	if (!err)
		err = pragma(c, "cache_size", -(int64_t)(kib < o->cache_kib ?
		    kib : o->cache_kib));
	if (!err)
		err = pragma(c, "mmap_size", (int64_t)o->mmap_mib << 20);
	if (!err)
		err = pragma(c, "temp_store", 2);
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
	err = c->db ? note(c, rc) : -ENOMEM;
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

static int
writer_setup(struct sqc *c)
{
	struct sqs *s;
	int err;

	err = pragma(c, "page_size", c->q->opts.page_size);
	if (!err)
		err = pragma(c, "secure_delete", 0);
	if (!err)
		err = go_wal(c);
	if (!err)
		err = pragma(c, "synchronous", 1);
	if (!err)
		err = pragma(c, "journal_size_limit", WAL_LIMIT * 4);
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
	return err < 0 ? err : prep_frame(c);
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
	q->wal_next = WAL_LIMIT;
	set_opts(q, opts);
	q->path = strdup(path);
	if (q->path)
		err = conn_open(q, SQLITE_OPEN_CREATE, &q->w, why);
	if (!err) {
		err = writer_setup(q->w);
		if (!err)
			err = open_wal(q);
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
	sqlite3_wal_hook(q->w->db, on_commit, q);
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
	err = pragma(c, "query_only", 1);
	if (!err)
		err = note(c, sqlite3_db_config(c->db,
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
	int64_t end = clock_mono() + BUSY_MS * NSEC_PER_MSEC;
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
	reset_used(c);
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
	err = run(c, "BEGIN");
	if (err)
		return err;
	c->snapshot = true;
	/* The state is chosen by the first read. */
	err = run(c, "SELECT count(*) FROM sq_sync");
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
	reset_used(c);
	if (!sqlite3_get_autocommit(c->db))
		run(c, SQL_ROLLBACK);
}

/* ---- writing ---- */

static void
rollback(struct sqc *w)
{
	int err = w->err;

	if (!sqlite3_get_autocommit(w->db))
		run(w, SQL_ROLLBACK);
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
		err = run(w, "SAVEPOINT one");
	if (err) {
		rollback(w);
		return err;
	}
	w->err = 0;
	in_fn = true;
	r->rv = r->fn(w, r->arg);
	in_fn = false;
	reset_used(w);
	if (sqlite3_get_autocommit(w->db))
		return r->rv < 0 ? r->rv : w->err ? w->err : -EIO;
	if (alone) {
		if (r->rv < 0)
			rollback(w);
		return r->rv < 0 ? r->rv : 0;
	}
	if (r->rv < 0)
		err = run(w, "ROLLBACK TO one");
	if (!err)
		err = run(w, "RELEASE one");
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
	err = run(w, SQL_BEGIN);
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
		err = run(w, "INSERT INTO sq_sync(id, n) VALUES(1, 1) "
		    "ON CONFLICT(id) DO UPDATE SET n = n + 1");
	if (!err)
		err = run(w, SQL_COMMIT);
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
		sqlite3_busy_timeout(db, BUSY_MS);
	if (rc == SQLITE_OK && moved == frames)
		atomic_store(&q->wal_bad, false);
	else if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
		complain(db, rc);
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

void
sq_limit_pages(uint64_t bytes)
{
	reader_kib = bytes / 1024 / 2 / (2 * READERS);
	writer_kib = bytes / 1024 / 2 / 2;
}

bool
sq_is_low(struct sq *q)
{
	return atomic_load(&q->low);
}

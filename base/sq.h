/*
 * sq: a SQLite database: its one writer, its readers, its statements.  The
 * one owner of sqlite3.h (sq_impl.h names its files).
 *
 * Writing.  sq_write() queues a function; one of the waiting threads leads:
 * it begins a transaction, runs all that is queued (at most SQ_GROUP), each
 * in a savepoint, commits (synchronous=NORMAL), and wakes the others.  So a
 * change is committed when sq_write returns (L10), grouping is what queued
 * meanwhile, and with nobody else there is no thread to wait for.  A function
 * that returns an error leaves nothing behind.  If the commit itself fails
 * nobody's change is there and all get the error.
 *
 * sq_sync() makes durable all that was committed before it was called: it
 * syncs the WAL itself, so that the writer goes on meanwhile and no row need
 * be written (L10: an empty commit syncs nothing).  Waiters are grouped.
 *
 * Reading.  sq_read() lends a read-only connection; statements see the last
 * commit, or one state if sq_snapshot_begin() opened a transaction (renew
 * within 50 ms: FACTS, checkpoints).
 *
 * The database is this process's alone while it is open (SQLite's unix-excl):
 * the WAL's index is memory of its own, so that no transaction takes a lock of
 * the kernel's, and no page of a file must be had for it on a full disk (C5).
 *
 * Only the writer checkpoints (L10): automatic checkpoints are off on
 * readers; the writer does PASSIVE ones by WAL size and sq_close() truncates.
 * Pragmas: WAL, busy_timeout first, secure_delete off, temp_store memory.
 *
 * Errors: -EIO, -ENOSPC (SQLITE_FULL), -ENOMEM, -EUCLEAN (damaged or not a
 * database), -EBUSY (held by another process), -EEXIST (constraint),
 * -EROFS, -ENFILE (no descriptor for another reader).
 */
#ifndef BASE_SQ_H
#define BASE_SQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/why.h"

struct sq;		/* a database */
struct sqc;		/* a connection of it, lent to one thread */
struct sqs;		/* a statement of a connection */

struct sq_opts {
	unsigned	page_size; /* bytes; 0 = 4096; new databases only */
	unsigned	cache_kib; /* page cache of each connection; 0 = 8192 */
	unsigned	mmap_mib;	/* 0 = none */
	unsigned	readers; /* most at once; 0 = 16; more callers wait */
};

enum { SQ_GROUP = 512 };

int	sq_open(const char *path, const struct sq_opts *opts, struct sq **ret,
	    struct why *why);
/* Everybody else has returned what they borrowed.  NULL is accepted. */
void	sq_close(struct sq *q);

/*
 * C5: from now on keeps room in hand (room.h), so that while the disk is full
 * changes go on that make room, or take little.  To be called before others
 * use it; room_enter before sq_open.  What cannot be kept is asked for again
 * and again, and no error.  Who wants to add asks sq_is_low first: the room
 * is not for that.
 */
int	sq_ballast(struct sq *q);
bool	sq_is_low(struct sq *q);

/* Before databases are opened: what the page caches of two of them may take,
 * half of it those of their readers.  (A limit for the process, which SQLite
 * has too, would take a mutex at every allocation.) */
void	sq_limit_pages(uint64_t bytes);

typedef int sq_fn(struct sqc *c, void *arg);
/* Runs fn once in the writer's transaction and returns its result (0 or
 * positive: kept; negative: undone) after the commit.  fn may run on another
 * thread (thread-local state is not the caller's), takes no lock of rank ≤
 * RANK_SQ, does no I/O but SQL, and must not call sq_write. */
int	sq_write(struct sq *q, sq_fn *fn, void *arg);
int	sq_sync(struct sq *q);
/* One commit at synchronous=FULL, which the writer waits for; what could not
 * be synced is undone. */
int	sq_write_sync(struct sq *q, sq_fn *fn, void *arg);
/* sq_write, then sq_sync, where many do so at once: it waits for a sync that
 * is under way, so that all that came meanwhile are one commit and one sync.
 * *retsync: 0, or -errno: kept, but not durable. */
int	sq_write_shared(struct sq *q, sq_fn *fn, void *arg, int *retsync);

int	sq_read(struct sq *q, struct sqc **ret);	/* 0 or -errno */
void	sq_read_end(struct sqc *c);			/* NULL accepted */
/* Begun again, it sees the newest state. */
int	sq_snapshot_begin(struct sqc *c);
void	sq_snapshot_end(struct sqc *c);

/* For use inside sq_fn and on readers.  sql must be a string constant (the
 * pointer is the key of the connection's statement cache).  NULL on error;
 * what follows accepts NULL and sqs_step then gives the error of the last
 * sq_prep of this thread.  While one such statement is in use (from sq_prep or
 * a bind to its reset) another of the same text is made, so use may nest; what
 * is still in use at the end of sq_fn or at sq_read_end is reset there. */
struct sqs *sq_prep(struct sqc *c, const char *sql);
int	sq_err(struct sqc *c);			/* last error, -errno */
/* Several statements, no rows; for schema. */
int	sq_exec(struct sqc *c, const char *sql);
int64_t	sq_changes(struct sqc *c);		/* rows of the last statement */
int64_t	sq_last_rowid(struct sqc *c);

void	sqs_int(struct sqs *s, int i, int64_t v);	/* i from 1 */
/* borrowed till reset */
void	sqs_blob(struct sqs *s, int i, const void *p, size_t n);
void	sqs_text(struct sqs *s, int i, const char *p); /* borrowed till reset */
void	sqs_null(struct sqs *s, int i);
/* 1 a row, 0 done (the statement is then reset), -errno. */
int	sqs_step(struct sqs *s);
void	sqs_reset(struct sqs *s);	/* also forgets what was bound */
int	sqs_run(struct sqs *s);	/* step to the end, reset: 0 or -errno */
int64_t	sqs_col_int(struct sqs *s, int i);	/* i from 0 */
/* till next step */
const void *sqs_col_blob(struct sqs *s, int i, size_t *retn);
const char *sqs_col_text(struct sqs *s, int i);
bool	sqs_col_is_null(struct sqs *s, int i);

#endif

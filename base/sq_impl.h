/*
 * sq_impl: what the files of sq share: sq.c (connections, reading), sq_stmt.c
 * (statements, errors), sq_write.c (transactions, the queues, the WAL).  They
 * alone, with sq_wal.c, include sqlite3.h.
 */
#ifndef BASE_SQ_IMPL_H
#define BASE_SQ_IMPL_H

#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "base/sq.h"

#define SQ_BUSY_MS	5000	/* another process at work on the file */

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

/* --- sq_stmt.c --- */

/* What rc is in our terms, noted as the connection's error. */
int	sq_note(struct sqc *c, int rc);
/* Logs it, once a second. */
void	sq_complain(sqlite3 *db, int rc);
/* One that is kept, as by sq_prep. */
int	sq_run(struct sqc *c, const char *sql);
int	sq_pragma(struct sqc *c, const char *name, int64_t v);
void	sq_reset_used(struct sqc *c);	/* statements not reset yet */
void	sq_drop_stmts(struct sqc *c);

/* --- sq_write.c --- */

/* The new writing connection: its pragmas, the WAL. */
int	sq_writer_setup(struct sqc *c);

#endif

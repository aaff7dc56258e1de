/*
 * ship_impl: what the files of ship share: ship.c (thread, states, waiting),
 * ship_catchup.c, ship_changes.c, ship_session.c, ship_send.c,
 * ship_snapshot.c.
 *
 * Who runs what: catching up, opening, sending and closing are done by one
 * thread at a time: the caller of ship_start, then the ship thread, then the
 * caller of ship_stop.  What is theirs alone needs no lock; what others look
 * at is under `lock`.  A kick must be possible while a file's lock is held,
 * so it has a lock of its own, of a high rank.
 */
#ifndef FS_SHIP_IMPL_H
#define FS_SHIP_IMPL_H

#include <pthread.h>

#include "backends/store.h"
#include "base/buf.h"
#include "fs/home.h"
#include "fs/ship.h"
#include "meta/batch.h"
#include "meta/piece.h"
#include "meta/segment.h"

enum ship_state {
	SHIP_CATCHING_UP,
	SHIP_OPENING,
	SHIP_RUNNING,
	SHIP_OFFLINE,
	SHIP_WAITING,
	SHIP_FENCED,
	SHIP_STOPPED,
};

struct ship {
	struct fs	*fs;
	struct store	*home;		/* borrowed from stores */
	_Atomic bool	 cancel;	/* ends calls in flight */
	_Atomic bool	 sole;	/* the home keeps no two writers apart */

	struct lock	 lock;		/* RANK_SHIP: what follows */
	struct cond	 moved;	/* a segment landed, or the state changed */
	enum ship_state	 state;
	char		 why[256];	/* of the state; "" when running */
	int64_t		 why_since;	/* clock_mono */
	char		 sole_why[256];
	uint64_t	 lsn;		/* applied */
	uint64_t	 looked; /* how often all that could go had gone */
	int64_t		 last_landed;	/* clock_real */
	/* the snapshot worker */
	struct cond	 snap_cond;
	bool		 snap_want, snap_busy, snap_stop;
	uint64_t	 snap_lsn;	/* of the newest snapshot known */
	uint64_t	 log_bytes;	/* applied since it */

	struct lock	 kick_lock;	/* RANK_WORKERS: what follows */
	struct cond	 kick_cond;
	bool		 hurry, stop;
	_Atomic bool	 kicked;
	_Atomic unsigned waiters; /* in ship_wait: no lag for them */
	_Atomic int64_t	 kick_time;	/* clock_mono of the first kick */

	/* whoever runs the log; no lock */
	bool		 met;	/* asked who it is, since it was away */
	bool		 asked;	/* whether it keeps writers apart */
	bool		 opened;	/* our session is open in the log */
	uint32_t	 session;	/* its number; 0 none */
	/* first seq of the batch whose packs are */
	uint64_t	 packs_stored;
	int64_t		 progress; /* clock_boot of the last segment (L7) */

	pthread_t	 thread, snap_thread;
	bool		 have_thread, have_snap_thread;
};

/* ship.c */
const char *ship_state_name(enum ship_state st);	/* static */
/* A call of the home; bytes: what it moves, for its deadline (clock_mono; the
 * earlier of both). */
void	ship_call(struct ship *sh, struct store_call *c, struct why *why,
	    int64_t deadline, uint64_t bytes);
/* Reports rc to stores; 0 for OK, else -errno with why. */
int	ship_rc(struct ship *sh, enum store_rc rc, struct why *why);
void	ship_set_state(struct ship *sh, enum ship_state st, const char *why);
/* L13: notes it durably and answers EROFS from now on. */
void	ship_fenced(struct ship *sh, const char *why);
/* A segment of nbytes is applied: counts towards the next snapshot. */
void	ship_progress(struct ship *sh, uint64_t lsn, uint64_t nbytes,
	    bool landed);
/* This database can serve without the home: it holds a tree, whole. */
bool	ship_has_local_state(struct ship *sh);
int	ship_head(struct ship *sh, struct meta_head *ret);
int	ship_pending(struct ship *sh, struct journal_stat *ret);

/* ship_fetch.c */
/* One whole object of at most max bytes; absent is -ENOENT. */
int	ship_get_object(struct ship *sh, const char *key, size_t max,
	    int64_t deadline, struct buf *out, struct why *why);
/* What is in slot lsn: 1 and its bytes in out, 0 absent, -errno with why. */
int	ship_get_slot(struct ship *sh, uint64_t lsn, int64_t deadline,
	    struct buf *out, struct why *why);

/* Objects fetched together: begin, then wait; each is then checked.  One that
 * has a hash is a piece; where `early` it is opened by who fetched it. */
struct ship_fetch {
	struct ship	*sh;
	struct latch	*latch;
	int64_t		 deadline;
	char		 key[KEY_MAX];
	size_t		 max;
	const uint8_t	*hash;		/* or NULL */
	bool		 early, tried;
	struct buf	 bytes;		/* but of an opened piece */
	struct piece	 piece;
	struct why	 why, damage;
	enum store_rc	 rc;
	int		 opened;	/* piece_open's */
};
#define SHIP_FETCHES	8
struct ship_fetches {
	struct ship	*sh;
	struct latch	 latch;
	unsigned	 n;
	struct ship_fetch v[SHIP_FETCHES];
};
void	ship_fetches_init(struct ship_fetches *fs, struct ship *sh);
struct ship_fetch *ship_fetches_add(struct ship_fetches *fs, size_t max,
	    int64_t deadline);		/* NULL: full.  Caller sets key */
void	ship_fetches_begin(struct ship_fetches *fs);
void	ship_fetches_wait(struct ship_fetches *fs);
void	ship_fetches_done(struct ship_fetches *fs);
/* Of a piece that came: piece_open's. */
int	ship_fetch_open(struct ship_fetch *t);
/* 1 there, 0 absent, -errno. */
int	ship_fetch_result(struct ship_fetch *t, struct why *why);

/* ship_catchup.c */
/* ship_changes.c */
struct ship_changes {
	struct buf	 told;		/* 'i' ino | 'e' parent name */
	struct buf	 replaced; /* u64: inodes whose bytes are others' */
	bool		 stores;	/* a store came, went or moved */
};
void	ship_told_inode(void *arg, uint64_t ino);	/* struct changed_fns */
void	ship_told_entry(void *arg, uint64_t parent, const char *name);
/* The inodes whose content the segment's ops replace, and whether stores
 * change. */
int	ship_find_replaced(const struct segment *seg, struct ship_changes *ch);
/* After the commit. */
void	ship_tell(struct fs *f, struct ship_changes *ch);
void	ship_changes_done(struct ship_changes *ch);

/* Applies what slot lsn = head + 1 holds: ours lands, others' is replayed.
 * 1: it was the frozen batch; 0: another's, applied; -ESTALE: we are fenced,
 * or changes of ours that are queued stand against it. */
int	ship_apply(struct ship *sh, uint64_t lsn, const struct buf *bytes,
	    struct why *why);
/* To the head of the log (L7). */
int	ship_catch_up(struct ship *sh, int64_t deadline, struct why *why);
/* The next slot, once; what is there is applied, and all after it. */
int	ship_poll(struct ship *sh, struct why *why);
/* The bytes of these inodes (u64 each) are not what the cache has.  -ESTALE:
 * one is being written here. */
int	ship_drop_replaced(struct fs *f, const struct buf *inos,
	    struct why *why);

/* ship_load.c */
#define PIECE_STORED_MAX (16u << 20) /* bytes; PIECE_MAX before compression */
int	ship_load_snapshot(struct ship *sh, uint64_t lsn, struct why *why);

/* ship_session.c */
/* Finds out whether the home keeps two writers apart (B1).  One that does not
 * is written by one host alone: whose session was opened last. */
int	ship_ask_home(struct ship *sh, int64_t deadline, struct why *why);
/* -EBUSY: another host's is open; -ESTALE: fenced. */
int	ship_open_session(struct ship *sh, int64_t deadline, struct why *why);
/* A number for this start, from the block granted before: for a mount that
 * starts offline.  -ENOENT: none left. */
int	ship_take_session(struct ship *sh, struct why *why);
/* The session that this mount has in the log is not open any more. */
bool	ship_session_lost(struct ship *sh, char *ret, size_t n);
int	ship_close_session(struct ship *sh, struct why *why);

/* ship_send.c */
/* Puts bytes into slot lsn = head + 1.  1: ours is there; 0: another's was
 * there and is now applied; -errno. */
int	ship_put_slot(struct ship *sh, uint64_t lsn, const struct buf *bytes,
	    const uint8_t hash[32], int64_t deadline, struct why *why);
/* Resolves the frozen batch, if there is one (S1). */
int	ship_send_frozen(struct ship *sh, struct why *why);
/* Freezes and sends until nothing is ready. */
int	ship_send_ready(struct ship *sh, struct why *why);
/* The frozen batch is in the log as lsn. */
int	ship_landed(struct ship *sh, uint64_t lsn, const uint8_t hash[32],
	    uint64_t nbytes, struct why *why);

/* ship_snapshot.c */
/* deadline: -ETIMEDOUT after it; 0 none.  What was put stays, for the next. */
int	ship_snapshot_make(struct ship *sh, int64_t deadline, struct why *why);
void	*ship_snapshot_main(void *arg);

#endif

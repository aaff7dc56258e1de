/*
 * ship: the log between this host and the home.
 *
 * One thread.  States (and what moves it on):
 *   CATCHING_UP  reads snapshot and segments until the head (L7)
 *   OPENING      puts session_open into the next slot (exclusive mount)
 *   RUNNING      freeze → packs → segment → landed, when `lag` has passed
 *                since the oldest change, or someone syncs
 *   OFFLINE      the home is away: nothing is lost, all is queued; goes on
 *                where it was when stores says the home is up (a mount that
 *                began offline goes to CATCHING_UP and OPENING then; if
 *                another host holds the namespace by then: WAITING)
 *   WAITING      another host's session is open: queue kept, status says so,
 *                looked at again every 10 s
 *   FENCED       another host took over (L13): EROFS, queue kept
 *   STOPPED
 *
 * INVARIANTS
 *  S1  A frozen batch's bytes are what is put, to the same slot, until the
 *      slot's content says mine or theirs (L2).  After a restart it is
 *      resolved before anything else is sent.
 *  S2  Packs are stored before the segment is put; uploads before freezing.
 *  S3  Landed is decided by the slot's content equalling ours (hash), never
 *      by the answer alone.
 *  S4  Only after landing do bytes become clean (B6).
 *  S5  A frozen batch waits for the home alone: bytes for other stores are
 *      there before it is frozen, and while one of those is down, what need
 *      not be held goes (L3, meta/hold.h).
 */
#ifndef FS_SHIP_H
#define FS_SHIP_H

#include "fs/fs.h"

struct ship;

/* Catches up and opens the session within the deadline, or, with valid local
 * state and the home away, starts OFFLINE.  -EBUSY: another host's session is
 * open (why names host and time, and -o takeover); -EHOSTUNREACH: no local
 * state and no home.  A state directory that was fenced and has queued
 * changes: 0, in the state FENCED: read-only (FS_FENCED, whose reason says
 * so), the queue is kept (L13).  Then starts the thread.  Also where it fails
 * ship_stop and ship_free follow. */
int	ship_start(struct fs *f, int64_t deadline, struct why *why);
/* Thread ended; session closed if nothing was queued, and a snapshot made as
 * far as the deadline lets it; 0: neither. */
void	ship_stop(struct fs *f, int64_t deadline);
/* After ship_stop, when no thread is left that kicks; nothing where there is
 * none. */
void	ship_free(struct fs *f);

/* Something was journalled or an upload finished: never blocks. */
void	ship_kick(struct fs *f);
/* What is waited for, of what was journalled up to a seq. */
enum ship_until {
	SHIP_ALL,	/* everything */
	SHIP_ONE,	/* that op (import's attach, store add) */
	SHIP_FREE,	/* what no store that is down holds (L3, M6) */
	SHIP_BELOW,	/* the same, and what is held at or below a directory */
};
/* Returns when that is in the log and therefore durable in the stores: 0;
 * -ETIMEDOUT, -EROFS (fenced), with why saying what waits.  top: of BELOW.
 * (io_sync in io.h first journals open dirty files.) */
int	ship_wait(struct fs *f, uint64_t seq, enum ship_until what,
	    uint64_t top, int64_t deadline, struct why *why);
/* Kicks it and waits for that op, a minute at most. */
int	ship_land(struct fs *f, uint64_t seq, struct why *why);

/* A snapshot now (also done by itself when the log since the last one is
 * over 64 segments or 64 MiB, and at unmount when over 16 segments). */
int	ship_snapshot(struct fs *f, struct why *why);

struct ship_status {
	const char	*state;		/* "running", "offline", ... static */
	uint64_t	 lsn;		/* applied */
	uint64_t	 pending_ops;
	uint64_t	 held_ops;	/* of them, by stores that are down */
	uint64_t	 pending_bytes;	/* not yet stored: small and large */
	uint64_t	 pending_files;	/* that they are of */
	int64_t		 oldest;	/* clock_real of the oldest; 0 none */
	int64_t		 last_landed;	/* clock_real; 0 never */
	char		 why[256];	/* what it waits for; "" nothing */
};
void	ship_status(struct fs *f, struct ship_status *ret);

#endif

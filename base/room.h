/*
 * room: blocks of the disk that a SQLite database has in hand, so that it
 * can go on when somebody else has filled that disk (C5).
 *
 * The blocks are preallocated beyond the ends of its files
 * (FALLOC_FL_KEEP_SIZE): SQLite does not see them, and nobody else can take
 * them.  The WAL has `bytes` beyond what it holds; the database what a
 * checkpoint of that WAL may add to it, and `bytes`; the shared-memory file
 * enough for the WAL's index.  While the database is closed a file of its
 * own, PATH-room, keeps as much for the next start.
 *
 * Files that SQLite locks stay open here until room_close: to close one
 * earlier would drop the locks of the whole process.
 *
 * One thread at a time.
 */
#ifndef BASE_ROOM_H
#define BASE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

struct room;

/* How much a database at path should keep: a 128th of its disk, 256 KiB to
 * 4 MiB. */
uint64_t room_bytes(const char *path);
/* Before the database is opened: what the last room_close kept is free. */
void	room_enter(const char *path);
/* The database is open and was written to.  0, -ENOMEM, -errno. */
int	room_open(const char *path, uint64_t bytes, struct room **ret);
/* After SQLite closed all of it.  NULL accepted. */
void	room_close(struct room *r);
/* Keeps it, for a WAL that holds wal_bytes now: 0, or -ENOSPC: less than half
 * is in hand.  Cheap where nothing is to be done. */
int	room_keep(struct room *r, int64_t wal_bytes);
/* The WAL was copied into the database, or begins anew. */
void	room_moved(struct room *r);

#endif

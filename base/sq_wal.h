/*
 * sq_wal: a VFS of SQLite's for the connection that writes, by which the
 * frames of a transaction go into the WAL by one write.  Part of sq.
 *
 * SQLite writes each frame by two calls, a header and a page; a small change
 * touches eight pages or more, and at a commit that is not synced these calls
 * are most of what it costs.  Here they are gathered, and written when the
 * page of the commit's frame has come: before SQLite tells readers of the
 * commit, and by a call that may fail, so that the commit fails with it.
 *
 *  1. After each call but a gathered write the file is as SQLite's own VFS
 *     would have left it: whatever else is asked of the file comes after what
 *     was gathered, in order.
 *  2. No commit is in what is gathered when its write returns.  So what
 *     readers, a sync by another descriptor, and whoever starts after a
 *     kill -9 look for is in the file.
 *  3. What cannot be written is an error of the call that found out, and is
 *     not tried again.  It was of a transaction that then fails.
 */
#ifndef BASE_SQ_WAL_H
#define BASE_SQ_WAL_H

#define SQ_VFS	"unix-excl"	/* the one that it lies over */

/* The name to open with; NULL: there is none.  After sqlite3_config(). */
const char *sq_wal_vfs(void);

#endif

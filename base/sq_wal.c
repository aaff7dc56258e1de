/*
 * sq_wal: see base/sq_wal.h.
 *
 * Frames are told by what SQLite writes: 24 bytes, then a page right behind
 * them.  What follows the last such frame is gathered.  All else that SQLite
 * does to a WAL (its header, a page again that was spilled before, checksums
 * made anew) lies at other places, and is written through.
 */
#include "base/sq_wal.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GATHER	(120 << 10) /* bytes; SQLite takes below 128 KiB at once */
#define HEADER	24		/* of a frame; the WAL's own has 32 */

struct wal {
	sqlite3_file	 base;
	uint8_t		*buf;		/* NULL: nothing is gathered */
	int		 len;
	sqlite3_int64	 at;		/* where it goes */
	sqlite3_int64	 next;		/* the next frame's place, or -1 */
	sqlite3_int64	 page;	/* that of the last header's page, or -1 */
	bool		 commit;	/* that header says so */
};

/* The file itself: it lies behind ours. */
static sqlite3_file *
real(sqlite3_file *f)
{
	return (sqlite3_file *)((struct wal *)f + 1);
}

static int
flush(struct wal *w)
{
	sqlite3_file *r = real(&w->base);
	int n = w->len;

	w->len = 0;
	return n == 0 ? SQLITE_OK : r->pMethods->xWrite(r, w->buf, n, w->at);
}

/* Is it what comes next?  Notes what comes after it. */
static bool
is_frame(struct wal *w, const uint8_t *p, int n, sqlite3_int64 off)
{
	bool header = n == HEADER, page = !header && off == w->page;
	bool behind = w->len == 0 || off == w->at + w->len;
	bool is = header ? behind && off == w->next :
	    page && behind && w->len > 0;

	if (header)		/* the database's size after a commit, or 0 */
		w->commit = p[4] | p[5] | p[6] | p[7];
	w->page = header ? off + n : -1;
	if (page || off == 0)
		w->next = off + n;
	return is && w->buf != NULL && n <= GATHER;
}

static int
wal_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 off)
{
	struct wal *w = (struct wal *)f;
	bool gather = is_frame(w, p, n, off);
	int rc = SQLITE_OK;

	if (!gather || w->len > GATHER - n)
		rc = flush(w);
	if (rc != SQLITE_OK)
		return rc;
	if (!gather)
		return real(f)->pMethods->xWrite(real(f), p, n, off);
	if (w->len == 0)
		w->at = off;
	memcpy(w->buf + w->len, p, (size_t)n);
	w->len += n;
	return n != HEADER && w->commit ? flush(w) : SQLITE_OK;
}

static int
wal_close(sqlite3_file *f)
{
	struct wal *w = (struct wal *)f;

	(void)flush(w);		/* of no commit */
	free(w->buf);
	w->buf = NULL;
	return real(f)->pMethods->xClose(real(f));
}

/* What is asked of the file itself, with all of it there. */
#define THROUGH(call, ...) do {						\
	int rc_ = flush((struct wal *)f);				\
	return rc_ != SQLITE_OK ? rc_ :					\
	    real(f)->pMethods->call(real(f), ##__VA_ARGS__);		\
} while (0)

static int
wal_read(sqlite3_file *f, void *p, int n, sqlite3_int64 off)
{
	THROUGH(xRead, p, n, off);
}

static int
wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	THROUGH(xTruncate, size);
}

static int
wal_sync(sqlite3_file *f, int flags)
{
	THROUGH(xSync, flags);
}

static int
wal_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	THROUGH(xFileSize, ret);
}

static int
wal_lock(sqlite3_file *f, int level)
{
	THROUGH(xLock, level);
}

static int
wal_unlock(sqlite3_file *f, int level)
{
	THROUGH(xUnlock, level);
}

static int
wal_check_lock(sqlite3_file *f, int *ret)
{
	THROUGH(xCheckReservedLock, ret);
}

static int
wal_control(sqlite3_file *f, int op, void *arg)
{
	THROUGH(xFileControl, op, arg);
}

static int
wal_sector(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int
wal_device(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static const sqlite3_io_methods wal_methods = {
	.iVersion = 1,
	.xClose = wal_close,
	.xRead = wal_read,
	.xWrite = wal_write,
	.xTruncate = wal_truncate,
	.xSync = wal_sync,
	.xFileSize = wal_size,
	.xLock = wal_lock,
	.xUnlock = wal_unlock,
	.xCheckReservedLock = wal_check_lock,
	.xFileControl = wal_control,
	.xSectorSize = wal_sector,
	.xDeviceCharacteristics = wal_device,
};

static int
vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags,
    int *retflags)
{
	sqlite3_vfs *under = v->pAppData;
	struct wal *w = (struct wal *)f;
	int rc;

	if (!(flags & SQLITE_OPEN_WAL))
		return under->xOpen(under, name, f, flags, retflags);
	*w = (struct wal){ .next = -1, .page = -1 };
	rc = under->xOpen(under, name, real(f), flags, retflags);
	if (real(f)->pMethods == NULL)
		return rc;
	w->buf = malloc(GATHER);
	w->base.pMethods = &wal_methods;
	return rc;
}

/* Its other functions look at what they are asked alone. */
const char *
sq_wal_vfs(void)
{
	static sqlite3_vfs vfs;
	sqlite3_vfs *under;

	if (vfs.zName != NULL)
		return vfs.zName;
	under = sqlite3_vfs_find(SQ_VFS);
	if (under == NULL)
		return NULL;
	vfs = *under;
	vfs.pNext = NULL;
	vfs.pAppData = under;
	vfs.szOsFile += (int)sizeof(struct wal);
	vfs.xOpen = vfs_open;
	vfs.zName = "gnsfs-wal";
	return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? vfs.zName : NULL;
}

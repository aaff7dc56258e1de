/* See room.h. */
#include "base/room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/sys.h"

#define ROOM_MIN	(UINT64_C(256) << 10)
#define ROOM_MAX	(UINT64_C(4) << 20)
#define RETRY		(100 * NSEC_PER_MSEC)

struct room {
	char		*path;
	int		 db, wal;
	int64_t		 bytes;
	int64_t		 db_size;	/* at the last look */
	int64_t		 db_kept, wal_kept;	/* blocks are there up to */
	int64_t		 again;		/* clock_mono: not before */
};

static char *
beside(const char *path, const char *suffix)
{
	char *s;

	return asprintf(&s, "%s%s", path, suffix) < 0 ? NULL : s;
}

uint64_t
room_bytes(const char *path)
{
	struct statvfs st;
	uint64_t n;

	if (statvfs(path, &st) != 0)
		return ROOM_MIN;
	n = (uint64_t)st.f_blocks * st.f_frsize / 128;
	return n < ROOM_MIN ? ROOM_MIN : n < ROOM_MAX ? n : ROOM_MAX;
}

void
room_enter(const char *path)
{
	char *kept = beside(path, "-room");

	if (kept != NULL)
		sys.unlink(kept);
	free(kept);
}

static int
open_beside(const char *path, const char *suffix, int *ret)
{
	char *s = beside(path, suffix);
	int fd = s == NULL ? -ENOMEM : sys.open(s, O_RDWR | O_CLOEXEC, 0);

	free(s);
	if (fd < 0)
		return fd;
	*ret = fd;
	return 0;
}

/* Blocks of [from, to), whatever its size; what can be had stays. */
static int
keep(int fd, int64_t from, int64_t to)
{
	int err = sys.fallocate(fd, FALLOC_FL_KEEP_SIZE, from, to - from);

	return err == -EOPNOTSUPP || err == -ENOSYS ? 0 : err;
}

void
room_moved(struct room *r)
{
	struct stat st;

	/* SQLite cuts the files: what lay beyond their ends is gone */
	r->wal_kept = 0;
	if (sys.fstat(r->db, &st) == 0)
		r->db_kept = r->db_size = st.st_size;
}

int
room_keep(struct room *r, int64_t wal_bytes)
{
	int64_t half = r->bytes / 2, wal = wal_bytes, db;
	int err = 0, e;

	/* each byte of the WAL may be one more of the database */
	db = r->db_size + wal_bytes;
	if (wal + half <= r->wal_kept && db + half <= r->db_kept)
		return 0;
	if (clock_mono() < r->again)
		return -ENOSPC;
	if (wal + half > r->wal_kept) {
		err = keep(r->wal, wal, wal + r->bytes);
		if (err == 0)
			r->wal_kept = wal + r->bytes;
	}
	if (db + half > r->db_kept) {
		e = keep(r->db, r->db_size, db + r->bytes);
		if (e == 0)
			r->db_kept = db + r->bytes;
		err = err != 0 ? err : e;
	}
	r->again = err != 0 ? clock_mono() + RETRY : 0;
	return err != 0 ? -ENOSPC : 0;
}

int
room_open(const char *path, uint64_t bytes, struct room **ret)
{
	struct room *r = calloc(1, sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->db = r->wal = -1;
	r->bytes = (int64_t)bytes;
	r->path = beside(path, "");
	err = r->path == NULL ? -ENOMEM : open_beside(path, "", &r->db);
	if (err == 0)
		err = open_beside(path, "-wal", &r->wal);
	if (err == 0)
		room_moved(r);
	/* from here on its files stay open: see the header */
	*ret = r;
	return err;
}

static void
leave(const struct room *r)
{
	char *kept = beside(r->path, "-room");
	int fd = kept == NULL ? -ENOMEM : sys.open(kept, O_RDWR | O_CREAT |
	    O_CLOEXEC, 0600);

	if (fd >= 0) {
		(void)keep(fd, 0, r->bytes);
		sys.close(fd);
	}
	free(kept);
}

void
room_close(struct room *r)
{
	if (r == NULL)
		return;
	if (r->wal >= 0)
		sys.close(r->wal);
	if (r->db >= 0)
		sys.close(r->db);
	if (r->path != NULL)
		leave(r);
	free(r->path);
	free(r);
}

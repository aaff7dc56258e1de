/*
 * sys: see base/sys.h.
 *
 * The functions of the table as it is built are wrappers that turn
 * -1/errno into -errno and look whether they are the call that
 * GNSFS_SYS_FAIL chose.  A close that is made to fail still closes.
 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum call {
	CALL_NONE, CALL_OPEN, CALL_OPENAT, CALL_CLOSE, CALL_PREAD, CALL_PWRITE,
	CALL_FSYNC, CALL_FDATASYNC, CALL_FTRUNCATE, CALL_FALLOCATE,
	CALL_FSTAT, CALL_STAT, CALL_RENAME, CALL_LINK, CALL_UNLINK,
	CALL_MKDIR, CALL_LEASE, CALL_BOOT_ID, CALLS
};

static const char *const call_names[CALLS] = {
	"", "open", "openat", "close", "pread", "pwrite", "fsync",
	"fdatasync", "ftruncate", "fallocate", "fstat", "stat", "rename",
	"link", "unlink", "mkdir", "lease", "boot_id",
};

static struct {
	enum call	call;		/* which fails; CALL_NONE: none */
	long		nth;		/* from 1 */
	bool		onwards;	/* that and all after it */
	int		err;		/* positive */
	_Atomic long	seen;
} fail;

static char boot_id_override[SYS_BOOT_ID_LEN];

/* 0, or the error to fail with. */
static int
fault(enum call c)
{
	long n;

	if (fail.call != c)
		return 0;
	n = atomic_fetch_add(&fail.seen, 1) + 1;
	return n == fail.nth || (fail.onwards && n > fail.nth) ?
	    -fail.err : 0;
}

/* The result of a call that is not to fail, as the table gives it. */
#define CALL(c, expr) do {						\
	int err_ = fault(c);						\
	if (err_)							\
		return err_;						\
	__typeof__(expr) r_ = (expr);					\
	return r_ < 0 ? -errno : r_;					\
} while (0)

static int
do_open(const char *path, int flags, mode_t mode)
{
	CALL(CALL_OPEN, open(path, flags | O_CLOEXEC, mode));
}

static int
do_openat(int dir, const char *path, int flags, mode_t mode)
{
	CALL(CALL_OPENAT, openat(dir, path, flags | O_CLOEXEC, mode));
}

static int
do_close(int fd)
{
	int err = fault(CALL_CLOSE);

	if (close(fd) < 0 && !err)
		err = -errno;
	return err;
}

static ssize_t
do_pread(int fd, void *buf, size_t n, off_t off)
{
	CALL(CALL_PREAD, pread(fd, buf, n, off));
}

static ssize_t
do_pwrite(int fd, const void *buf, size_t n, off_t off)
{
	CALL(CALL_PWRITE, pwrite(fd, buf, n, off));
}

#ifndef RWF_DONTCACHE		/* headers before Linux 6.14 */
#define RWF_DONTCACHE	0x80
#endif

static ssize_t
do_pwrite_past(int fd, const void *buf, size_t n, off_t off)
{
	struct iovec v = { (void *)buf, n };
	int err = fault(CALL_PWRITE);
	ssize_t r;

	if (err)
		return err;
	r = pwritev2(fd, &v, 1, off, RWF_DONTCACHE);
	if (r < 0 && (errno == EOPNOTSUPP || errno == EINVAL))
		r = pwrite(fd, buf, n, off);
	return r < 0 ? -errno : r;
}

static int
do_fsync(int fd)
{
	CALL(CALL_FSYNC, fsync(fd));
}

static int
do_fdatasync(int fd)
{
	CALL(CALL_FDATASYNC, fdatasync(fd));
}

static int
do_ftruncate(int fd, off_t size)
{
	CALL(CALL_FTRUNCATE, ftruncate(fd, size));
}

static int
do_fallocate(int fd, int mode, off_t off, off_t len)
{
	CALL(CALL_FALLOCATE, fallocate(fd, mode, off, len));
}

static int
do_fstat(int fd, struct stat *ret)
{
	CALL(CALL_FSTAT, fstat(fd, ret));
}

static int
do_stat(const char *path, struct stat *ret)
{
	CALL(CALL_STAT, stat(path, ret));
}

static int
do_rename(const char *from, const char *to)
{
	CALL(CALL_RENAME, rename(from, to));
}

static int
do_link(const char *from, const char *to)
{
	CALL(CALL_LINK, link(from, to));
}

static int
do_unlink(const char *path)
{
	CALL(CALL_UNLINK, unlink(path));
}

static int
do_mkdir(const char *path, mode_t mode)
{
	CALL(CALL_MKDIR, mkdir(path, mode));
}

static int
do_lease(int fd, int type)
{
	CALL(CALL_LEASE, fcntl(fd, F_SETLEASE, type));
}

static int
do_boot_id(char ret[SYS_BOOT_ID_LEN])
{
	char text[SYS_BOOT_ID_LEN - 1];
	int err = fault(CALL_BOOT_ID), fd;
	ssize_t n;

	if (err)
		return err;
	if (boot_id_override[0]) {
		memcpy(ret, boot_id_override, SYS_BOOT_ID_LEN);
		return 0;
	}
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text));
	err = n < 0 ? -errno : n != sizeof(text) ? -EIO : 0;
	close(fd);
	if (err)
		return err;
	memcpy(ret, text, sizeof(text));
	ret[sizeof(text)] = '\0';
	return 0;
}

static int64_t
do_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		abort();	/* of three constant ids, on Linux: never */
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

struct sys sys = {
	.open = do_open,
	.openat = do_openat,
	.close = do_close,
	.pread = do_pread,
	.pwrite = do_pwrite,
	.pwrite_past = do_pwrite_past,
	.fsync = do_fsync,
	.fdatasync = do_fdatasync,
	.ftruncate = do_ftruncate,
	.fallocate = do_fallocate,
	.fstat = do_fstat,
	.stat = do_stat,
	.rename = do_rename,
	.link = do_link,
	.unlink = do_unlink,
	.mkdir = do_mkdir,
	.lease = do_lease,
	.boot_id = do_boot_id,
	.clock = do_clock,
};

static int
parse_errno(const char *s)
{
	static const struct { const char *name; int err; } known[] = {
		{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "ENOMEM", ENOMEM },
		{ "EINTR", EINTR }, { "EACCES", EACCES }, { "EROFS", EROFS },
		{ "EDQUOT", EDQUOT }, { "EMFILE", EMFILE },
		{ "EAGAIN", EAGAIN }, { "ENOENT", ENOENT },
		{ "EEXIST", EEXIST }, { "EOPNOTSUPP", EOPNOTSUPP },
	};
	char *end;
	long n;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, s) == 0)
			return known[i].err;
	}
	n = strtol(s, &end, 10);
	return *s && !*end && n > 0 && n < 4096 ? n : 0;
}

/* call:nth[+][:errno] */
static bool
parse_fail(const char *s)
{
	const char *colon = strchr(s, ':');
	char *end;

	if (!colon)
		return false;
	fail.call = CALL_NONE;
	for (int i = 1; i < CALLS; i++) {
		if (strlen(call_names[i]) == (size_t)(colon - s) &&
		    memcmp(call_names[i], s, colon - s) == 0)
			fail.call = i;
	}
	fail.nth = strtol(colon + 1, &end, 10);
	fail.onwards = *end == '+';
	end += fail.onwards;
	fail.err = *end == ':' ? parse_errno(end + 1) : *end ? 0 : EIO;
	return fail.call != CALL_NONE && fail.nth > 0 && fail.err != 0;
}

void
sys_init(void)
{
	const char *s = getenv("GNSFS_SYS_BOOT_ID");

	if (s)
		snprintf(boot_id_override, sizeof(boot_id_override), "%s", s);
	s = getenv("GNSFS_SYS_FAIL");
	if (s && !parse_fail(s)) {
		fprintf(stderr, "gnsfs: GNSFS_SYS_FAIL=%s: not understood, "
		    "wanted is call:nth[+][:errno]\n", s);
		exit(2);
	}
}

int
sys_pread_all(int fd, void *buf, size_t n, off_t off)
{
	uint8_t *p = buf;
	ssize_t got;

	while (n > 0) {
		got = sys.pread(fd, p, n, off);
		if (got == -EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? got : -ENODATA;
		p += got;
		n -= got;
		off += got;
	}
	return 0;
}

static int
pwrite_all(ssize_t (*call)(int fd, const void *buf, size_t n, off_t off),
    int fd, const void *buf, size_t n, off_t off)
{
	const uint8_t *p = buf;
	ssize_t put;

	while (n > 0) {
		put = call(fd, p, n, off);
		if (put == -EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? put : -EIO;
		p += put;
		n -= put;
		off += put;
	}
	return 0;
}

int
sys_pwrite_all(int fd, const void *buf, size_t n, off_t off)
{
	return pwrite_all(sys.pwrite, fd, buf, n, off);
}

int
sys_pwrite_past_all(int fd, const void *buf, size_t n, off_t off)
{
	return pwrite_all(sys.pwrite_past, fd, buf, n, off);
}

/* The directory that holds path, trailing slashes of path aside.  New. */
static char *
parent_of(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n ? strndup(path, n) : strdup(".");
}

int
sys_sync_parent(const char *path)
{
	char *dir = parent_of(path);
	int fd, err;

	if (!dir)
		return -ENOMEM;
	fd = sys.open(dir, O_RDONLY | O_DIRECTORY, 0);
	free(dir);
	if (fd < 0)
		return fd;
	err = sys.fsync(fd);
	sys.close(fd);
	return err;
}

int
sys_mkdirs(const char *path, mode_t mode)
{
	char *copy = strdup(path), *p = copy, was;
	struct stat st;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	if (!*copy)
		err = -ENOENT;
	while (*p && !err) {
		p += strspn(p, "/");
		p += strcspn(p, "/");
		was = *p;
		*p = '\0';
		err = sys.mkdir(copy, mode);
		if (err) {
			/* Also where a read-only parent says -EROFS. */
			int found = sys.stat(copy, &st);

			if (!found)
				err = S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
		}
		*p = was;
	}
	free(copy);
	return err;
}

/*
 * sys: the system calls that gnsfs makes on its own files, in a table that a
 * test may replace (STYLE: faults come in by layers and by this table, never
 * by #ifdef).  All of them return as the call itself does, but with -errno in
 * place of -1/errno.  Code outside base/ calls sys.x(...), never x(...), for
 * whatever stands here.
 *
 * GNSFS_SYS_BOOT_ID in the environment replaces the boot id (what a test of a
 * reboot needs: C4); GNSFS_SYS_FAIL=call:nth[+][:errno] makes the nth such
 * call of the process fail, with + all after it too (call is a name of the
 * table; errno a name or a number, EIO if absent); both are read once by
 * sys_init().
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define SYS_BOOT_ID_LEN	37	/* uuid text and NUL */

struct sys {
	int	(*open)(const char *path, int flags, mode_t mode);
	int	(*openat)(int dir, const char *path, int flags, mode_t mode);
	int	(*close)(int fd);
	ssize_t	(*pread)(int fd, void *buf, size_t n, off_t off);
	ssize_t	(*pwrite)(int fd, const void *buf, size_t n, off_t off);
	/* The same, and the page cache keeps none of it once it is on disk,
	 * where kernel and filesystem can (Linux 6.14); a "pwrite" too */
	ssize_t	(*pwrite_past)(int fd, const void *buf, size_t n, off_t off);
	int	(*fsync)(int fd);
	int	(*fdatasync)(int fd);
	int	(*ftruncate)(int fd, off_t size);
	int	(*fallocate)(int fd, int mode, off_t off, off_t len);
	int	(*fstat)(int fd, struct stat *ret);
	int	(*stat)(const char *path, struct stat *ret);
	int	(*rename)(const char *from, const char *to);
	int	(*link)(const char *from, const char *to);
	int	(*unlink)(const char *path);
	int	(*mkdir)(const char *path, mode_t mode);
	/* F_SETLEASE with F_RDLCK, F_WRLCK or F_UNLCK: 0, -EAGAIN "in use" */
	int	(*lease)(int fd, int type);
	int	(*boot_id)(char ret[SYS_BOOT_ID_LEN]);
	int64_t	(*clock)(clockid_t id);		/* ns */
};

extern struct sys sys;

void	sys_init(void);

/* Whole transfers over the table: 0, or -errno; short read = -ENODATA. */
int	sys_pread_all(int fd, void *buf, size_t n, off_t off);
int	sys_pwrite_all(int fd, const void *buf, size_t n, off_t off);
int	sys_pwrite_past_all(int fd, const void *buf, size_t n, off_t off);
/* fsync of the directory that holds path. */
int	sys_sync_parent(const char *path);
/* mkdir -p, mode for all that are made. */
int	sys_mkdirs(const char *path, mode_t mode);

#endif

/*
 * files: the few files of a fuzz target, in memory, by the table of system
 * calls (base/sys.h).  Every other file is missing.
 */
#ifndef TEST_FUZZ_FILES_H
#define TEST_FUZZ_FILES_H

#include <errno.h>
#include <string.h>

#include "base/sys.h"

enum { FILES = 4, FILES_FD = 100000 };

static struct files { const char *path, *p; size_t n; } files[FILES];

static inline int
files_open(const char *path, int flags, mode_t mode)
{
	for (int i = 0; i < FILES; i++)
		if (files[i].path != NULL && strcmp(files[i].path, path) == 0)
			return FILES_FD + i;
	return -ENOENT;
}

static inline int
files_close(int fd)
{
	return 0;
}

static inline ssize_t
files_pread(int fd, void *buf, size_t n, off_t off)
{
	const struct files *f = &files[fd - FILES_FD];

	if (off >= (off_t)f->n)
		return 0;
	if (n > f->n - (size_t)off)
		n = f->n - (size_t)off;
	memcpy(buf, f->p + off, n);
	return (ssize_t)n;
}

/* The file i; path NULL: there is none. */
static inline void
files_set(int i, const char *path, const void *p, size_t n)
{
	files[i] = (struct files){ path, p, n };
}

static inline void
files_begin(void)
{
	sys_init();
	sys.open = files_open;
	sys.close = files_close;
	sys.pread = files_pread;
}

#endif

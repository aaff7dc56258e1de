/* See secret.h. */
#include "backends/secret.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"

int
secret_read(const char *path, size_t max, struct buf *b)
{
	char part[4096];
	struct stat st;
	off_t off = 0;
	ssize_t n;
	int fd;

	b->max = max;
	fd = sys.open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	/* room in one piece: growing would leave the old one behind */
	if (sys.fstat(fd, &st) == 0 && st.st_size > 0 &&
	    (size_t)st.st_size < max)
		(void)buf_grow(b, (size_t)st.st_size);
	while ((n = sys.pread(fd, part, sizeof part, off)) > 0) {
		buf_put(b, part, (size_t)n);
		off += n;
		if (buf_err(b) != 0)
			break;
	}
	explicit_bzero(part, sizeof part);
	sys.close(fd);
	return n < 0 ? (int)n : buf_err(b);
}

void
secret_done(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	buf_done(b);
}

void
secret_free(char **p)
{
	if (*p != NULL) {
		explicit_bzero(*p, strlen(*p));
		free(*p);
	}
	*p = NULL;
}

/*
 * secret: text that must not stay behind in memory: read, wiped, freed.
 */
#ifndef BACKENDS_SECRET_H
#define BACKENDS_SECRET_H

#include "base/buf.h"

#define SECRET_FILE_MAX	((size_t)1 << 20)	/* of a credentials file */

/* The whole of a file of at most max bytes, appended to b.  0, -EFBIG,
 * -ENOMEM, -errno; b holds what was read, too, where it failed. */
int	secret_read(const char *path, size_t max, struct buf *b);
/* Wipes and frees; b is BUF_INIT again. */
void	secret_done(struct buf *b);
/* The same of a string; *p is NULL then, and may be before. */
void	secret_free(char **p);

#endif

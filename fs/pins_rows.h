/* pins_rows: the pins of the namespace, read and changed. */
#ifndef FS_PINS_ROWS_H
#define FS_PINS_ROWS_H

#include "fs/fs.h"

/* A row, owned. */
struct pin_copy {
	uint64_t	 id;
	char		*name, *host, *selectors;
	int64_t		 expires, created;
};
struct pin_rows { struct pin_copy *v; unsigned n; };

/* Copies the strings; -ENOMEM leaves ret empty. */
int	pin_copy_set(struct pin_copy *ret, uint64_t id, const char *name,
	    const char *host, const char *selectors);
int	pin_copy_text(struct pin_copy *p, const char *selectors);
void	pin_copy_done(struct pin_copy *p);

int	pin_rows_read(struct fs *f, struct pin_rows *ret);
void	pin_rows_done(struct pin_rows *r);
/* Journalled when they return. */
int	pin_row_put(struct fs *f, const struct pin_copy *p, struct why *why);
int	pin_row_del(struct fs *f, const struct pin_copy *p);

#endif

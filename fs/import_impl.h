/*
 * import_impl: an import on its way, for import.c (all of it in order),
 * import_store.c (which store it is from), import_pieces.c (its tree is made
 * and goes to the home) and import_attach.c (it becomes part of the
 * namespace).
 */
#ifndef FS_IMPORT_IMPL_H
#define FS_IMPORT_IMPL_H

#include "backends/store.h"
#include "fs/import.h"
#include "meta/import.h"

struct spooled {
	uint8_t		 hash[32];
	uint64_t	 off;
	size_t		 len;
	bool		 ours;		/* this import put it */
};

struct importing {
	struct fs	*f;
	const struct import_request *r;
	struct url	 url;
	uint32_t	 store_id;
	bool		 store_is_new;
	struct url	 store_url;	/* of a new one */
	char		*store_text;	/* canonical */
	struct store	*store;
	struct store	*opened;	/* to be freed: a new one */
	char		*prefix;	/* below the store, "" or "a/b/" */
	struct import	*imp;
	struct import_stats st;
	struct buf	 hashes;
	_Atomic bool	 cancel;
	bool		 loaded;
	/* the first directory above it that was made, which the kernel may
	 * know to be missing */
	uint64_t	 made_in;
	char		 made[META_NAME_MAX + 1];

	int		 fd;		/* the spool */
	struct store	*home;
	struct lock	 lock;		/* what follows: the puts */
	struct cond	 more;
	struct spooled	*v;
	size_t		 n, cap, next;
	uint64_t	 end;
	bool		 all;		/* no more will come */
	int		 err;
	struct why	 why;
	struct latch	 latch;

	uint64_t	 tags;		/* set */
	int64_t		 t_list, t_build, t_load, t_land; /* ns */
};

/* import_store.c.  The store that has what is imported, or is to be a new one,
 * opened; and the prefix below it. */
int	import_find_store(struct importing *im, struct why *why);
/* Writer.  The operation that makes it a store of the namespace.  -EAGAIN:
 * another was added meanwhile. */
int	import_add_store(struct importing *im, struct sqc *c);

/* import_pieces.c.  The file that pieces wait in. */
int	import_spool_open(struct importing *im, struct why *why);
/* Builds the tree; its pieces are put in the home and loaded, hidden. */
int	import_build(struct importing *im, struct why *why);

/* import_attach.c.  Splits "/a/b/c" at its last component, which is
 * returned. */
const char *import_last_part(const char *path, size_t *retparent);
/* The one transaction, and in the log. */
int	import_attach(struct importing *im, struct why *why);

#endif

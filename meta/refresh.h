/*
 * refresh: what is to be done to an import so that it shows what its bucket
 * has now; and the row in which an import says where it is from.
 *
 * The bucket's keys are gathered as for an import (import_add), all of them.
 * A file is known again by (store, key), never by its path (B4); it is the
 * same while size and version are.  What is not:
 *
 *   a new key          a file, in the place that an import would give it
 *   another content    another file, with the name and the tags of the old
 *                      one: who has that open keeps it (F1, B5)
 *   the same content,  the new time; the bytes that are here stay
 *     a new time
 *   a key that is not  the file goes, and directories that no key has any more
 *   a directory comes  the file of that name gets the name beside it (the rule
 *     or goes            is import.h's), or its own again
 *
 * A name that is not the one an import would give is left as it is.  A
 * directory with a marker has at least the marker's time.
 *
 * What a plan does is operations of the log (OP_REFRESH), as many as there are
 * changes, which may be journalled a few at a time: each leaves a tree that is
 * whole, and a plan made after a part of another was carried out is the rest.
 */
#ifndef META_REFRESH_H
#define META_REFRESH_H

#include "base/buf.h"
#include "meta/import.h"
#include "meta/op.h"

/* --- where an import is from: a row of `policy`, its id that of the import's
 * root directory --- */
#define POLICY_IMPORT	1u		/* its kind */

struct import_row {
	uint64_t	 root;
	uint32_t	 store;
	uint32_t	 file_mode;	/* of files; directories: the root's */
	int64_t		 every;		/* ns; 0: only when asked */
	const char	*prefix;	/* of the keys, in the store */
	/* The keys of all tags that its objects have had, each with its NUL;
	 * NULL: objects' tags are not its files'. */
	const char	*tags;
	size_t		 ntags;		/* bytes */
};
/* op borrows from r and body, which is reset first. */
int	import_row_op(const struct import_row *r, struct buf *body,
	    struct op *ret);
/* Prefix and tags, one behind the other as a row has them, new; NULL: no
 * memory. */
char	*import_row_dup(const struct import_row *r);
/* Each, borrowed until each returns; nonzero stops it (not told). */
int	import_rows(struct sqc *c,
	    int (*each)(void *arg, const struct import_row *r), void *arg);
/* The row of this root; of an import that has none yet, found out from one of
 * its files.  prefix is new, to be freed, tags are a part of it.  -ENOENT:
 * it is none, or, without a row, has no file. */
int	import_row_get(struct sqc *c, uint64_t root, struct import_row *ret,
	    char **retprefix);

/* --- a plan --- */
struct refresh_stats {
	uint64_t	same, added, changed, gone, retimed;	/* files */
	uint64_t	renamed, dirs_added, dirs_gone;
	uint64_t	bytes;		/* of what was added and changed */
};

struct refresh;
/* imp: the keys below r->prefix, made with root_mtime REFRESH_NO_TIME; it and
 * r are borrowed as long as the plan is.  c: a reader.  -EAGAIN: the import is
 * not in the log yet; -ENOENT, -ENOTDIR: it is there no more; -EROFS: no
 * session to take ids of. */
#define REFRESH_NO_TIME	INT64_MIN
int	refresh_plan(struct meta *m, struct sqc *c, const struct import *imp,
	    const struct import_row *r, int64_t now, struct refresh **ret);
const struct refresh_stats *refresh_stats(const struct refresh *r);
/* How many operations are left. */
uint64_t refresh_left(const struct refresh *r);
/* Which inodes the next n operations let go of. */
void	refresh_old(const struct refresh *r, unsigned n,
	    void (*each)(void *arg, uint64_t ino), void *arg);
/* Writer.  Journals the next n; told of each, which it may not keep.  A
 * transaction that failed needs no undoing: refresh_stepped says that it was
 * committed, and goes on to the next. */
int	refresh_step(struct refresh *r, struct sqc *c, unsigned n,
	    int (*told)(void *arg, const struct op *op), void *arg,
	    uint64_t *retseq, struct why *why);
void	refresh_stepped(struct refresh *r, unsigned n);
void	refresh_free(struct refresh *r);	/* NULL accepted */

#endif

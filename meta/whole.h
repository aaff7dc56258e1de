/*
 * whole: which files are fetched whole as soon as they are opened to be read
 * (DESIGN.md section 8).
 *
 * As a placement (place.h) it is a row of `policy`, and of two directories the
 * one further down decides, which may say that there only what is wanted is
 * fetched.  Imports may have it.  A directory's row of another kind has its id:
 * that of this one is the directory's with a bit that inodes have from session
 * 2^26 on, whose directories can have none (-EINVAL).
 */
#ifndef META_WHOLE_H
#define META_WHOLE_H

#include "base/buf.h"
#include "meta/op.h"

#define POLICY_WHOLE	3u	/* policy.kind; 2: meta/place.h */
#define WHOLE_ID	((uint64_t)1 << 62)

struct whole_row {
	uint64_t	dir;
	bool		whole;		/* else what is wanted */
};
/* op borrows from body, which is reset first.  remove: the row goes. */
int	whole_row_op(const struct whole_row *r, bool remove, struct buf *body,
	    struct op *ret);
/* Each of a directory that is there; nonzero stops it (not told). */
int	whole_rows(struct sqc *c,
	    int (*each)(void *arg, const struct whole_row *r), void *arg);

/* What decides for an inode: itself, where it is a directory, or the nearest
 * above it.  dir 0: none, what is wanted. */
int	whole_of(struct sqc *c, uint64_t ino, struct whole_row *ret);

#endif

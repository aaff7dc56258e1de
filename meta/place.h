/*
 * place: which store new bytes go to (DESIGN.md section 8: placement).
 *
 * A placement is a row of `policy` whose id is that of a directory: bytes of
 * files below it go to the store that it names, unless a directory further
 * down has one of its own.  Without any they go to the home.  It says where
 * bytes go when they are stored; what is stored already stays where it is, and
 * a rename moves nothing.  Of a file with several names, one counts.
 *
 * Which store took them is recorded with the bytes, so replay asks none of
 * this.  The row of a directory that is gone means nothing.
 */
#ifndef META_PLACE_H
#define META_PLACE_H

#include "base/buf.h"
#include "meta/op.h"

#define POLICY_PLACE	2u	/* policy.kind; 1: meta/refresh.h */
#define PLACE_HOME	1u	/* the store where there is none */

struct place_row {
	uint64_t	dir;
	uint32_t	store;
};
/* op borrows from body, which is reset first.  store 0: the row goes. */
int	place_row_op(const struct place_row *r, struct buf *body,
	    struct op *ret);
/* Each of a directory that is there; nonzero stops it (not told). */
int	place_rows(struct sqc *c,
	    int (*each)(void *arg, const struct place_row *r), void *arg);

/* What decides for an inode: itself, where it is a directory, or the nearest
 * above it.  dir 0: none, the home. */
int	place_of(struct sqc *c, uint64_t ino, struct place_row *ret);

/* Is there such a store (still)?  1, 0, -errno. */
int	place_has_store(struct sqc *c, uint32_t store);

/* place_of of one file after another: those of a directory are asked about
 * together.  For one transaction; { 0 } to begin with. */
struct place_memo { bool asked, none; uint64_t parent; struct place_row row; };
int	place_store(struct sqc *c, struct place_memo *m, uint64_t ino,
	    uint32_t *ret);

#endif

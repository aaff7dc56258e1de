/*
 * pin_text: what a pin's row says it holds.
 *
 * One line a selector; besides, `--and` (a file must match all of them),
 * `--in DIR` (and be below DIR), both of all selectors of the text, and
 * `--not SELECTOR` (what was unpinned).  Lines `--not-in DIR` and
 * `--not-and SELECTOR` belong to the `--not` after them, which then takes out
 * what is below DIR and matches them too: together they are one entry.
 *
 * A `--not` takes out of what stands before it: of the lines that match a
 * file the last one decides, so that what is pinned again is.  Each selector
 * is run by itself, so that one whose path is gone takes nothing from the
 * others.
 */
#ifndef FS_PIN_TEXT_H
#define FS_PIN_TEXT_H

#include "base/buf.h"
#include "cache/cache.h"
#include "fs/pins.h"
#include "meta/select.h"

struct pin_not {
	struct selector	*sel;
	unsigned	 of;		/* how many of sel stand before it */
};

struct pin_text {
	struct selector	**sel;		/* any of them */
	unsigned	 nsel;
	struct pin_not	*nots;		/* but none of these */
	unsigned	 nnots;
};

/* -EINVAL with why. */
int	pin_text_parse(const char *text, struct pin_text *ret,
	    struct why *why);
void	pin_text_done(struct pin_text *t);
int	pin_text_matches(const struct pin_text *t, struct sqc *q,
	    const char *path, const struct attr *a);	/* 1, 0, -errno */

/* The text of a request, appended; -EINVAL with why. */
int	pin_text_write(const struct pin_request *r, struct buf *out,
	    struct why *why);
/* a, and b, the text of a request, after it: what b names is no longer taken
 * out.  -EEXIST: one text cannot say both, since their --and or --in differ
 * (or, with --and, their selectors do). */
int	pin_text_merge(const char *a, const char *b, struct buf *out);
/* a without the selectors of its own that the request names, which leave as
 * they came: 1 if there were some and others are left, 2 if none is left, 0 if
 * there were none.  is_own, one for each selector of r: was it one? */
int	pin_text_without(const char *a, const struct pin_request *r,
	    struct buf *out, bool *is_own);
/* a with `--not` for what the request names, but for the selectors that skip
 * (NULL: none) says. */
int	pin_text_except(const char *a, const struct pin_request *r,
	    const bool *skip, struct buf *out);

/* A growing list of files, sorted by inode when it is done. */
struct pin_list { struct pin_want *v; uint64_t n, cap, bytes; };
void	pin_list_done(struct pin_list *l);
int	pin_list_add(struct pin_list *l, uint64_t ino, uint64_t size);
/* Sorts, and drops what is there twice. */
void	pin_list_sort(struct pin_list *l);
/* What it names by path is there: 0, -ENOENT with why. */
int	pin_text_check(const struct pin_text *t, struct fs *f,
	    struct why *why);
/* All files that match now, sorted.  must_exist: a path that does not is
 * -ENOENT with why; else it holds nothing. */
int	pin_text_run(const struct pin_text *t, struct fs *f, bool must_exist,
	    struct pin_list *ret, struct why *why);

#endif

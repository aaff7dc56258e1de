/*
 * select: SELECTORs (DESIGN.md section 3): a path (a directory: all below),
 * a glob with `**`, a filter tag:k=v, size>1G, mtime<7d, store:NAME,
 * name:*.jpg.  Several are OR; SELECT_AND makes all AND; in restricts to a
 * subtree.  Sizes are powers of 1024; `mtime<7d` means changed less than
 * seven days ago (s m h d w).  Paths here are namespace paths ("/a/b"): the
 * command translates mounted ones.
 *
 * Globs: `*` and `?` never match a slash but do match a leading dot, `[a-z]`
 * and `[!a-z]` are sets, a component `**` is any number of directories, none
 * included (at the end: all below), `\` takes the meaning from the next
 * character.  Where a glob names a directory, all below it is meant, as if
 * the shell had expanded it.  A name that has such characters is found as it
 * stands, too: "/a/b[1].txt".
 * Filters: name: is a glob of the last component.  size and store: are of
 * regular files.  tag:k is any value; a tag on a directory holds for all
 * below.  A file of several names counts at each of its paths.
 */
#ifndef META_SELECT_H
#define META_SELECT_H

#include "meta/query.h"

struct selector;

enum { SELECT_AND = 1 };

/* -EINVAL with why: which selector, what is wrong, what is right. */
int	selector_new(const char *const *texts, unsigned n, unsigned flags,
	    const char *in, struct selector **ret, struct why *why);
void	selector_free(struct selector *s);

/* Does this file match, by path and attributes?  c for tags and stores.  The
 * time is now. */
int	selector_matches(const struct selector *s, struct sqc *c,
	    const char *path, const struct attr *a);	/* 1, 0, -errno */

/* The paths and stores that it names are there: 0, -ENOENT with why. */
int	selector_check(const struct selector *s, struct sqc *c,
	    struct why *why);
/* All that match, each once: regular files (and, with want_all, everything),
 * with paths.  now: ns, for mtime.  A path that does not exist, or a store:
 * -ENOENT with why; a glob or filter without a match is fine.  Uses the tree:
 * of a glob only what is below its fixed part is walked.  each may query c;
 * what it returns but 0 ends the run and is returned.  c: one state if inside
 * sq_snapshot_begin. */
typedef int selector_each(void *arg, const char *path, const struct attr *a);
int	selector_run(const struct selector *s, struct sqc *c, int64_t now,
	    bool want_all, selector_each *each, void *arg, struct why *why);

#endif

/*
 * select: SELECTORs (DESIGN.md section 3): a path (a directory: all below),
 * a glob with `**`, a filter tag:k=v, size>1G, mtime<7d, store:NAME,
 * name:*.jpg.  Several are OR; SELECT_AND makes all AND; in restricts to a
 * subtree.  Sizes are powers of 1024; `mtime<7d` means changed less than
 * seven days ago (s m h d w).  Paths here are namespace paths ("/a/b"): the
 * command translates mounted ones.
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

/* Does this file match, by path and attributes?  c for tags and stores. */
int	selector_matches(const struct selector *s, struct sqc *c,
	    const char *path, const struct attr *a);	/* 1, 0, -errno */

/* All that match, each once: regular files (and, with want_all, everything),
 * with paths.  now: ns, for mtime.  A path that does not exist: -ENOENT with
 * why; a glob or filter without a match is fine.  Uses the tree: `/a/b/**`
 * walks only /a/b. */
typedef int selector_each(void *arg, const char *path, const struct attr *a);
int	selector_run(const struct selector *s, struct sqc *c, int64_t now,
	    bool want_all, selector_each *each, void *arg, struct why *why);

#endif

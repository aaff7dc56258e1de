/*
 * select_impl: what the parts of select share: select.c parses,
 * select_terms.c tells whether a node matches, select_walk.c walks the tree,
 * select_glob.c matches names.
 */
#ifndef META_SELECT_IMPL_H
#define META_SELECT_IMPL_H

#include "meta/select.h"

/* --- globs, component by component --- */
#define GLOB_PARTS	60		/* most components of a glob */

struct glob {
	unsigned	 n;
	struct glob_part {
		char	*text;
		bool	 any;		/* `**` */
		bool	 literal;	/* text is the name itself */
	}		 parts[];
};

/* Whether text has a `*`, a `?` or a `[...]`. */
bool	glob_has_magic(const char *text);
/* Of a path "/a/b*"; -EINVAL with why, -ENOMEM. */
int	glob_new(const char *text, struct glob **ret, struct why *why);
void	glob_free(struct glob *g);
/* One component against one pattern without slashes: `*`, `?` (a character
 * of UTF-8), `[a-z]`, `[!a-z]`, `\x`. */
bool	glob_name(const char *pat, const char *name);

/* Where in g a walk stands: a set of positions; bit n: all of g is used up. */
typedef uint64_t glob_state;
glob_state glob_start(const struct glob *g);
glob_state glob_step(const struct glob *g, glob_state s, const char *name);
#define glob_matched(g, s)	(((s) >> (g)->n & 1) != 0)

/* --- terms --- */
enum term_kind { TERM_GLOB, TERM_TAG, TERM_SIZE, TERM_MTIME, TERM_NAME,
	TERM_STORE };
enum term_cmp { CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_EQ };

struct term {
	enum term_kind	 kind;
	enum term_cmp	 cmp;
	uint64_t	 num;		/* bytes; age in ns */
	char		*key, *value; /* tag; value: name pattern, store name */
	struct glob	*glob;
	char		*base;	/* of a glob: the path above its magic */
	char		*literal; /* of a glob: itself as a path, or NULL */
};

#define SELECT_TERMS	1024		/* most that are no mere path */

struct selector {
	unsigned	 flags;
	char		*in;		/* NULL: everywhere */
	char		**paths;	/* sorted, each once */
	unsigned	 npaths;
	struct term	*terms;
	unsigned	 nterms;
};

/* a == b, or a is below b; both normal. */
bool	path_is_below(const char *a, const char *b);
/* Some path of s->paths has it at or below. */
bool	selector_covers(const struct selector *s, const char *path);

/* Where a term stands in a walk: a glob_state, or TERM_HOLDS, which holds for
 * all below too. */
#define TERM_HOLDS	(UINT64_C(1) << 63)

/* What a run looks up once: for each term, sorted inodes (tag), store id. */
struct lookup {
	uint64_t	*inos;
	size_t		 n;
	uint32_t	 store;
};
int	lookups_new(const struct selector *s, struct sqc *c,
	    struct lookup **ret, struct why *why);
void	lookups_free(const struct selector *s, struct lookup *l);

/* A node of the tree against the terms (not paths, not `in`): 1, 0, -errno.
 * up: terms' states of its parent; ret: its own (both s->nterms long).
 * name NULL: the root. */
int	terms_eval(const struct selector *s, struct sqc *c,
	    const struct lookup *l, int64_t now, const uint64_t *up,
	    const char *name, const char *path, const struct attr *a,
	    uint64_t *ret);
/* States before the root. */
void	terms_start(const struct selector *s, uint64_t *ret);
/* No node below the one at path, with these states, can match. */
bool	terms_are_dead(const struct selector *s, const uint64_t *st,
	    const char *path);

#endif

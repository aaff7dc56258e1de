/*
 * import_tags: the tags of an import's objects as the tags of its files, where
 * that was asked for (import --tags), and again at each refresh.
 *
 * A listing does not tell tags, so each object is asked for its own, some at
 * a time.  A key that objects of the import have is the bucket's: files have
 * it as their objects do, and lose it with them.  Other tags are of who set
 * them, and stay.  The keys are kept in the import's row (meta/refresh.h),
 * where they come with the first tags that have them; at most 1,024.  Of the
 * row nothing else is written: how often it is refreshed may change meanwhile.
 */
#ifndef FS_IMPORT_TAGS_H
#define FS_IMPORT_TAGS_H

#include "backends/store.h"
#include "fs/fs.h"
#include "meta/refresh.h"

struct import_tags {
	struct fs	*f;
	uint64_t	 root;		/* its row's tags are not NULL */
	_Atomic bool	*cancel;	/* also what is being asked for */
	/* told several times a second, by the caller's thread: how many files
	 * were looked at; may be NULL; nonzero cancels */
	int		(*progress)(void *arg, uint64_t files);
	void		*arg;
	/* the result, also of one that failed */
	uint64_t	 files, set, removed;
	uint64_t	 seq;		/* of the last op; 0: none */
};

/* 0; -EOPNOTSUPP: objects there have no tags; -E2BIG: too many keys; -EACCES,
 * -EHOSTUNREACH, ... with why; -ECANCELED.  What was done of it stays. */
int	import_tags(struct import_tags *t, struct why *why);
/* Could it be done for the objects below prefix?  As import_tags. */
int	import_tags_check(struct store *s, const char *prefix,
	    struct why *why);

#endif

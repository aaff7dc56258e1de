/* import_list: all keys of a bucket below a prefix, for who makes or refreshes
 * an import of them. */
#ifndef FS_IMPORT_LIST_H
#define FS_IMPORT_LIST_H

#include "backends/store.h"
#include "fs/fs.h"
#include "meta/import.h"

struct import_list {
	struct fs	*f;
	struct store	*store;
	uint32_t	 store_id;	/* 0: none of the namespace (yet) */
	const char	*prefix;	/* "" or with its slash */
	const char	*tag;		/* of the calls; static */
	struct import	*imp;		/* gets the keys, less the prefix */
	_Atomic bool	*cancel;	/* ends it; may be set by others */
	/* told now and then; may be NULL; nonzero cancels */
	int		(*progress)(void *arg, uint64_t keys, uint64_t bytes);
	void		*arg;
	/* the result, also of one that failed */
	uint64_t	 keys, bytes;
	int64_t		 took;		/* ns */
	int		 err;		/* private */
};

/* All of them, or it fails: 0; -ENOENT: there is no such bucket (why);
 * -ECANCELED; -EHOSTUNREACH and others with why, which names the store.  That
 * a store is away is found out within seconds. */
int	import_list(struct import_list *l, struct why *why);

#endif

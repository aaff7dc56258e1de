/*
 * rescue: what a fenced or dead host holds that no store has, copied out by
 * path (L13).  Offline: the state directory must not be mounted, and nothing
 * in it is given up.
 */
#ifndef FS_RESCUE_H
#define FS_RESCUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/why.h"

struct rescue_request {
	const char	*state;		/* state directory */
	const char	*cache;		/* NULL: the same */
	const char	*dest;		/* new or empty */
	/* told of each file; part: bytes of it that are in a store are not
	 * here, and are holes in the copy.  May be NULL */
	void		(*each)(void *arg, const char *path, bool part);
	void		*arg;
};
struct rescue_result { uint64_t files, bytes, parts; };

/* -EBUSY: mounted; -EEXIST, -ENOTEMPTY: dest has something in it; all with
 * why.  What was copied before a failure stays. */
int	fs_rescue(const struct rescue_request *q, struct rescue_result *ret,
	    struct why *why);

#endif

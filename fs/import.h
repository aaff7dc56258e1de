/* import: adopting an existing bucket or prefix (DESIGN.md sections 3, 4). */
#ifndef FS_IMPORT_H
#define FS_IMPORT_H

#include "fs/fs.h"

struct import_request {
	const char	*url;
	const char	*path;		/* namespace path; its parent exists (or
					   is made), itself absent or empty */
	uint32_t	 uid, gid;
	int32_t		 file_mode;	/* -1: 0644 and 0755 */
	bool		 tags;		/* objects' tags are files' tags */
	/* told as it goes; may be NULL; nonzero cancels */
	int		(*progress)(void *arg, uint64_t keys, uint64_t bytes);
	int		(*report)(void *arg, const char *key, const char *path);
	void		*arg;
};
struct import_result {
	uint64_t	files, dirs, bytes, escaped;
	uint32_t	store;
	uint64_t	tags;		/* that were set */
};

/* Lists in parallel, writes pieces to the home, loads them, attaches, and
 * returns when the attach is in the log.  Nothing half-made is left behind on
 * failure.  -EEXIST, -ENOENT (bucket), -EACCES, -EINVAL with why. */
int	fs_import(struct fs *f, const struct import_request *r,
	    struct import_result *ret, struct why *why);

#endif

/* unmount: taking a mount off the tree, with or without its daemon. */
#ifndef TOOLS_UNMOUNT_H
#define TOOLS_UNMOUNT_H

#include <sys/types.h>

#include <stdbool.h>

#include "base/why.h"

/* umount2 for root, fusermount3 for others.  lazy: detached at once, gone
 * when the last user is.  -EBUSY, -EPERM, -EINVAL (no mount). */
int	unmount_dir(const char *dir, bool lazy, struct why *why);
/* A process of another mount namespace than ours in which the filesystem of
 * this number ("major:minor") is still mounted: its daemon goes on for that.
 * 0: none that we may see. */
pid_t	mount_held_by(const char *dev);
/* True where a directory is a FUSE mount whose daemon died. */
bool	mount_is_dead(const char *dir);

#endif

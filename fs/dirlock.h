/*
 * The lock of a state directory: one daemon, or one rescue, at a time.
 *
 * A plain umount(8) returns while the daemon still stores what was queued and
 * closes its database.  Who mounts again at once must not be told that the
 * directory is in use, so the file says whether its holder is about to go, and
 * taking it waits then.
 */
#ifndef FS_DIRLOCK_H
#define FS_DIRLOCK_H

#include <stdbool.h>

/*
 * Takes the lock in dir; make: the file is made where there is none.  A holder
 * that stays is waited for a second (it may not have noticed yet that it was
 * unmounted), one that ends for 40 s.
 * 0 with the descriptor, which whoever holds it closes; -EBUSY where another
 * stays; -EINPROGRESS where it still ends; else what open or flock gave.
 */
int	dirlock_take(const char *dir, bool make, int *retfd);

/* Says that the holder of fd ends. */
void	dirlock_ending(int fd);

#endif

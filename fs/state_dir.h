/*
 * state_dir: the directory of a host's state of one namespace (cache=, or by
 * default NAME-UUID8 below /var/lib/gnsfs or $XDG_STATE_HOME/gnsfs):
 *   lock        flock for as long as the daemon lives
 *   home.json   which namespace it is of: name, uuid, url
 *   state.db    tree, journal, index (state= moves these three elsewhere)
 *   data/ pool/ small.db   bytes (cache/)
 * home.json lets a mount find its state with no store in reach.
 */
#ifndef FS_STATE_DIR_H
#define FS_STATE_DIR_H

#include "fs/fs.h"
#include "fs/home.h"

/* Finds, makes and locks f's directories, for the home of that canonical URL.
 * away 0: id is what the home says; else (why it did not answer, -errno) it is
 * found out here, or -EHOSTUNREACH. */
int	state_dir_open(struct fs *f, const char *canonical, int away,
	    struct home_id *id, struct why *why);

#endif

/*
 * control: the socket between the gnsfs command and the daemon of a mount.
 *
 * A unix stream socket at <state_dir>/control.sock, mode 0600 for the mount's
 * owner; when allow_other, RUNDIR/<pid>.sock, mode 0666, since others cannot
 * reach into the state directory (SO_PEERCRED decides per command).  Found by
 *   - the virtual xattr user.gnsfs.control of any path in the mount: the
 *     socket's path;
 *   - the registry: one JSON file a mount, RUNDIR/<pid>.json with name, uuid,
 *     url, dir, socket, pid; RUNDIR is /run/gnsfs for root, else
 *     $XDG_RUNTIME_DIR/gnsfs or /tmp/gnsfs-<uid>.
 *
 * One request a connection: a JSON object in one line (≤ 1 MiB):
 *   {"v":1,"cmd":"pin","args":{...}}
 * Answers are JSON objects, one a line: any number of
 *   {"progress":{"have":n,"want":n,"files":n,"rate":n}}   and
 *   {"item":{...}}
 * then one
 *   {"ok":true,"result":{...}}   or
 *   {"ok":false,"errno":n,"error":"sentence","result":{...}}
 * Closing the connection cancels what waits.  Hostile input.
 *
 * Commands and args: a table in control_commands.c, each with a function and
 * whether others than the owner and root may call it.
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include "fs/fs.h"

struct control;

#define CONTROL_RUNDIR_ROOT	"/run/gnsfs"
#define CONTROL_REQUEST_MAX	(1u << 20)
/* RUNDIR of this user, without making it.  0 or -ENAMETOOLONG. */
int	control_rundir(char *ret, size_t n);
/* A connection to a daemon's socket: its descriptor, or -errno
 * (-ECONNREFUSED, -ENOENT: nobody is there any more; -EAGAIN: somebody is, who
 * takes none: one that is stopped, say).  Neither this nor sending on it takes
 * longer than wait (ns; 0, just to see who is there: not at all). */
int	control_connect(const char *path, int64_t wait);

int	control_start(struct fs *f, struct why *why);
void	control_stop(struct fs *f);
/* The socket's path; borrowed. */
const char *control_path(struct fs *f);

/* By when (clock_mono) an unmount that was asked for here must be done
 * flushing; 0: none was asked for. */
int64_t	control_unmount_deadline(struct fs *f);

#endif

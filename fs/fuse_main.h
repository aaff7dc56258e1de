/*
 * fuse_main: the mounted filesystem: session, loop, end.  Together with the
 * other fs/fuse_* files the only place that knows FUSE.
 */
#ifndef FS_FUSE_MAIN_H
#define FS_FUSE_MAIN_H

#include "fs/fs.h"

/*
 * Mounts f at o->dir and serves it until it is unmounted or asked to end
 * (fs_request_unmount, SIGTERM, SIGINT, SIGHUP).  When the tree is usable one
 * byte 0 is written to ready_fd (≥ 0) and it is closed.  The caller still
 * owns f and calls fs_stop after.  -errno with why when it could not mount:
 * -EBUSY the mountpoint is in use, -ENOTDIR, -EACCES, -ENODEV (no /dev/fuse).
 */
int	fuse_main_run(struct fs *f, const struct fs_options *o, int ready_fd,
	    struct why *why);

#endif

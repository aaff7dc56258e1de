/* mount: the helper that mount(8) calls for `mount -t gnsfs`. */
#ifndef TOOLS_MOUNT_H
#define TOOLS_MOUNT_H

/* mount.gnsfs URL DIR [-sfnv] [-N NS] [-o OPTS]: becomes `gnsfs mount`. */
int	mount_helper(int argc, char **argv);

#endif

/* unmount: see unmount.h. */
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <unistd.h>

#include "tools/unmount.h"

extern char **environ;

bool
mount_is_dead(const char *dir)
{
	struct stat st;

	return stat(dir, &st) != 0 && errno == ENOTCONN;
}

/* The setuid helper of libfuse; its own words are not shown. */
static int
by_fusermount(const char *dir, bool lazy, struct why *why)
{
	char *argv[] = { "fusermount3", "-u", lazy ? "-z" : "-q", "--",
	    (char *)dir, NULL };
	posix_spawn_file_actions_t fa;
	int rc, status;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null",
	    O_WRONLY, 0);
	rc = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (rc != 0)
		return why_set(why, -rc, "fusermount3 cannot be run: %s; it "
		    "is in the package fuse3", strerror(rc));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return why_set(why, -EBUSY, "%s is in use, or another user mounted "
	    "it; --force detaches it", dir);
}

int
unmount_dir(const char *dir, bool lazy, struct why *why)
{
	int err;

	if (umount2(dir, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	err = errno;
	if (err == EPERM)
		return by_fusermount(dir, lazy, why);
	if (err == EBUSY)
		return why_set(why, -EBUSY, "%s is in use (`fuser -m %s` says "
		    "by whom); --force detaches it", dir, dir);
	return why_set(why, -err, "%s: %s", dir, strerror(err));
}

/* unmount: see unmount.h. */
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Is the filesystem in the mounts of this folder of /proc? */
static bool
is_in(int dfd, const char *dev)
{
	char *line = NULL;
	bool found = false;
	size_t cap = 0;
	FILE *f = NULL;
	char has[24];
	int fd;

	fd = openat(dfd, "mountinfo", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && (f = fdopen(fd, "r")) == NULL)
		close(fd);
	while (f != NULL && !found && getline(&line, &cap, f) > 0)
		found = sscanf(line, "%*d %*d %23s", has) == 1 &&
		    strcmp(has, dev) == 0;
	free(line);
	if (f != NULL)
		fclose(f);
	return found;
}

/* The number of the mount namespace of a folder of /proc; 0 where it is not
 * ours to see. */
static ino_t
namespace_of(int dfd, const char *name)
{
	struct stat st;

	return fstatat(dfd, name, &st, 0) == 0 ? st.st_ino : 0;
}

pid_t
mount_held_by(const char *dev)
{
	struct dirent *e;
	pid_t pid, found = 0;
	ino_t ours, its, last = 0;
	int dfd;
	DIR *d;

	d = *dev != '\0' ? opendir("/proc") : NULL;
	if (d == NULL)
		return 0;
	ours = namespace_of(dirfd(d), "self/ns/mnt");
	while (found == 0 && (e = readdir(d)) != NULL) {
		pid = (pid_t)strtol(e->d_name, NULL, 10);
		dfd = pid <= 0 ? -1 : openat(dirfd(d), e->d_name,
		    O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dfd < 0)
			continue;
		its = namespace_of(dfd, "ns/mnt");
		/* Most are of one that was just looked at. */
		if (its != ours && its != last && is_in(dfd, dev))
			found = pid;
		last = its;
		close(dfd);
	}
	closedir(d);
	return found;
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

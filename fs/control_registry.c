/*
 * control_registry: RUNDIR, where the mounts of this user are listed, and
 * reaching a daemon's socket.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/control_impl.h"

int
control_rundir(char *ret, size_t n)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int len;

	if (geteuid() == 0)
		len = snprintf(ret, n, "%s", CONTROL_RUNDIR_ROOT);
	else if (xdg != NULL && *xdg == '/')
		len = snprintf(ret, n, "%s/gnsfs", xdg);
	else
		len = snprintf(ret, n, "/tmp/gnsfs-%u", (unsigned)geteuid());
	return len < 0 || (size_t)len >= n ? -ENAMETOOLONG : 0;
}

/* Made, and nobody else's. */
int
registry_dir(char *ret, size_t n)
{
	mode_t mode = geteuid() == 0 ? 0755 : 0700, old;
	struct stat st;
	int rc;

	rc = control_rundir(ret, n);
	if (rc != 0)
		return rc;
	old = umask(0);
	rc = mkdir(ret, mode) != 0 && errno != EEXIST ? -errno : 0;
	umask(old);
	if (rc == 0 && lstat(ret, &st) != 0)
		rc = -errno;
	if (rc == 0 && (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022) != 0))
		rc = -EPERM;
	return rc;
}

/* Through the folder's descriptor, as bind_socket. */
int
control_connect(const char *path, int64_t wait)
{
	struct timeval tv = { .tv_sec = wait / NSEC_PER_SEC,
	    .tv_usec = wait % NSEC_PER_SEC / 1000 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *slash = strrchr(path, '/');
	int dfd, fd = -1, rc = 0;
	char *dir;

	dir = slash == NULL ? NULL : strndup(path, (size_t)(slash - path) +
	    (slash == path));
	if (dir == NULL)
		return slash == NULL ? -EINVAL : -ENOMEM;
	dfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dfd >= 0)
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
		    (wait == 0 ? SOCK_NONBLOCK : 0), 0);
	if (fd < 0 || (wait != 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO,
	    &tv, sizeof tv) != 0))
		rc = -errno;
	else if (snprintf(sa.sun_path, sizeof sa.sun_path,
	    "/proc/self/fd/%d/%s", dfd, slash + 1) >=
	    (int)sizeof sa.sun_path)
		rc = -ENAMETOOLONG;
	else if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0)
		rc = -errno;
	free(dir);
	if (dfd >= 0)
		close(dfd);
	if (rc != 0 && fd >= 0)
		close(fd);
	return rc != 0 ? rc : fd;
}

/* RUNDIR/<pid>.json, whole or not at all. */
int
registry_write(struct fs *f, const char *dir, const char *socket,
    char **retpath)
{
	char *path = NULL;
	char *text = NULL, *tmp = NULL;
	json_t *o;
	int fd = -1, rc = -ENOMEM;

	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "name", f->name,
	    "uuid", f->uuid, "url", f->opt.url, "dir", f->opt.dir, "socket",
	    socket, "pid", (int)getpid());
	text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (text == NULL || asprintf(&path, "%s/%d.json", dir,
	    (int)getpid()) < 0)
		goto out;
	if (asprintf(&tmp, "%s.new", path) < 0)
		goto out;
	(void)unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	rc = fd < 0 ? -errno : sys_pwrite_all(fd, text,
	    strlen(text), 0);
	if (rc == 0 && fchmod(fd, 0644) != 0)
		rc = -errno;
	if (rc == 0)
		rc = sys.rename(tmp, path);
out:
	if (fd >= 0)
		close(fd);
	free(tmp);
	free(text);
	if (rc != 0) {
		free(path);
		return rc;
	}
	*retpath = path;
	return 0;
}

/* Is whoever wrote this file of the registry gone? */
static bool
is_left_over(int dfd, const char *file)
{
	const char *socket;
	json_t *o;
	int fd, rc = 0;

	fd = openat(dfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	o = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
	close(fd);
	socket = json_string_value(json_object_get(o, "socket"));
	if (socket != NULL)
		rc = control_connect(socket, 0);
	if (rc >= 0 && socket != NULL)
		close(rc);
	json_decref(o);
	return rc == -ECONNREFUSED || rc == -ENOENT;
}

/* What daemons left that were killed. */
void
registry_sweep(const char *dir)
{
	char name[NAME_MAX + 1];
	struct dirent *e;
	char *end;
	DIR *d;

	d = opendir(dir);
	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		if (strtol(e->d_name, &end, 10) <= 0 ||
		    strcmp(end, ".json") != 0 ||
		    !is_left_over(dirfd(d), e->d_name))
			continue;
		(void)unlinkat(dirfd(d), e->d_name, 0);
		snprintf(name, sizeof name, "%.*s.sock",
		    (int)(end - e->d_name), e->d_name);
		(void)unlinkat(dirfd(d), name, 0);
	}
	closedir(d);
}

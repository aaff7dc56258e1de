/*
 * mounts: which namespaces are mounted here, and which of them a path is in.
 */
#include <sys/stat.h>
#include <sys/xattr.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/control.h"
#include "tools/client.h"

static void
mount_ref_done(struct mount_ref *m)
{
	free(m->name);
	free(m->uuid);
	free(m->url);
	free(m->dir);
	free(m->root);
	free(m->socket);
	memset(m, 0, sizeof *m);
}

void
mounts_done(struct mount_list *l)
{
	unsigned i;

	for (i = 0; i < l->n; i++)
		mount_ref_done(&l->v[i]);
	free(l->v);
	l->v = NULL;
	l->n = 0;
}

static struct mount_ref *
find_dir(struct mount_list *l, const char *dir)
{
	unsigned i;

	for (i = 0; i < l->n; i++)
		if (strcmp(l->v[i].dir, dir) == 0)
			return &l->v[i];
	return NULL;
}

static int
add(struct mount_list *l, const char *dir, const char *root, const char *url,
    struct mount_ref **ret)
{
	struct mount_ref *v, *m;

	v = realloc(l->v, (l->n + 1) * sizeof *v);
	if (v == NULL)
		return -ENOMEM;
	l->v = v;
	m = &v[l->n];
	memset(m, 0, sizeof *m);
	m->name = strdup("");
	m->uuid = strdup("");
	m->url = strdup(url);
	m->dir = strdup(dir);
	m->root = strdup(root);
	if (m->name == NULL || m->uuid == NULL || m->url == NULL ||
	    m->dir == NULL || m->root == NULL) {
		mount_ref_done(m);
		return -ENOMEM;
	}
	l->n++;
	*ret = m;
	return 0;
}

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static void
unescape(char *s)
{
	char *w = s;

	for (; *s != '\0'; s++, w++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' &&
		    s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*w = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
			    (s[3] - '0'));
			s += 3;
		} else {
			*w = *s;
		}
	}
	*w = '\0';
}

/* One line: ID PARENT DEV ROOT DIR OPTS [TAGS...] - TYPE SOURCE SUPER. */
static int
mountinfo_line(struct mount_list *l, char *line)
{
	char *f[5], *tail, *type, *source, *save = NULL;
	struct mount_ref *m;
	unsigned i;
	int rc;

	tail = strstr(line, " - ");
	if (tail == NULL)
		return 0;
	*tail = '\0';
	tail += 3;
	for (i = 0; i < 5; i++) {
		f[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (f[i] == NULL)
			return 0;
	}
	type = strtok_r(tail, " ", &save);
	source = strtok_r(NULL, " ", &save);
	if (type == NULL || source == NULL ||
	    (strcmp(type, "fuse.gnsfs") != 0 && strcmp(type, "gnsfs") != 0))
		return 0;
	unescape(f[3]);
	unescape(f[4]);
	unescape(source);
	/* Two on one directory: the later one is on top. */
	m = find_dir(l, f[4]);
	if (m != NULL) {
		mount_ref_done(m);
		*m = l->v[--l->n];
	}
	rc = add(l, f[4], f[3], source, &m);
	if (rc == 0) {
		m->mounted = true;
		snprintf(m->dev, sizeof m->dev, "%s", f[2]);
	}
	return rc;
}

static int
read_mountinfo(struct mount_list *l)
{
	char *line = NULL;
	size_t cap = 0;
	int rc = 0;
	FILE *f;

	f = fopen("/proc/self/mountinfo", "re");
	if (f == NULL)
		return -errno;
	while (rc == 0 && getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		rc = mountinfo_line(l, line);
	}
	free(line);
	fclose(f);
	return rc;
}

static int
replace(char **slot, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	char *copy;

	if (s == NULL)
		return 0;
	copy = strdup(s);
	if (copy == NULL)
		return -ENOMEM;
	free(*slot);
	*slot = copy;
	return 0;
}

/* One file of the registry; what is not well-formed is passed over. */
static int
registry_file(struct mount_list *l, int dirfd, const char *file)
{
	const char *dir, *socket;
	struct mount_ref *m;
	json_t *o = NULL;
	pid_t pid;
	int fd, rc = 0;

	fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	o = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
	close(fd);
	dir = json_string_value(json_object_get(o, "dir"));
	socket = json_string_value(json_object_get(o, "socket"));
	pid = (pid_t)json_integer_value(json_object_get(o, "pid"));
	if (dir == NULL || socket == NULL || pid <= 0)
		goto out;
	/* A file may outlive its daemon; one that is busy is there. */
	fd = control_connect(socket, 0);
	if (fd >= 0)
		close(fd);
	else if (fd != -EACCES && fd != -EAGAIN)
		goto out;
	m = find_dir(l, dir);
	if (m == NULL)
		rc = add(l, dir, "/", "", &m);
	if (rc != 0 || strcmp(m->root, "/") != 0)
		goto out;
	m->pid = pid;
	if ((rc = replace(&m->name, o, "name")) != 0 ||
	    (rc = replace(&m->uuid, o, "uuid")) != 0 ||
	    (rc = replace(&m->url, o, "url")) != 0)
		goto out;
	rc = replace(&m->socket, o, "socket");
out:
	json_decref(o);
	return rc;
}

/* Only what root or this user wrote is believed. */
static int
read_registry(struct mount_list *l, const char *path)
{
	struct dirent *e;
	struct stat st;
	DIR *d;
	int rc = 0;

	d = opendir(path);
	if (d == NULL)
		return 0;
	if (fstat(dirfd(d), &st) == 0 && (st.st_mode & 022) == 0 &&
	    (st.st_uid == 0 || st.st_uid == geteuid()))
		while (rc == 0 && (e = readdir(d)) != NULL)
			if (strstr(e->d_name, ".json") != NULL)
				rc = registry_file(l, dirfd(d), e->d_name);
	closedir(d);
	return rc;
}

static void
ask_xattr(struct mount_ref *m)
{
	char socket[PATH_MAX];
	ssize_t n;

	n = getxattr(m->dir, "user.gnsfs.control", socket, sizeof socket - 1);
	if (n <= 0)
		return;
	socket[n] = '\0';
	m->socket = strdup(socket);
}

int
mounts_read(struct mount_list *ret)
{
	struct mount_list l = { NULL, 0 };
	char own[PATH_MAX];
	unsigned i;
	int rc;

	rc = read_mountinfo(&l);
	if (rc == 0)
		rc = read_registry(&l, CONTROL_RUNDIR_ROOT);
	if (rc == 0 && geteuid() != 0 &&
	    control_rundir(own, sizeof own) == 0)
		rc = read_registry(&l, own);
	if (rc != 0) {
		mounts_done(&l);
		return rc;
	}
	for (i = 0; i < l.n; i++)
		if (l.v[i].mounted && l.v[i].socket == NULL)
			ask_xattr(&l.v[i]);
	*ret = l;
	return 0;
}

/* --- paths --- */

/* The absolute path, symlinks of its directories followed, its own last
 * component and what a glob begins with not.  New. */
static char *
absolute(const char *path)
{
	char *copy = NULL, *cut, *real = NULL, *ret = NULL;
	const char *rest;
	size_t glob;

	if (asprintf(&copy, "%s%s", *path == '/' ? "" : "./", path) < 0)
		return NULL;
	for (glob = strlen(copy); glob > 1 && copy[glob - 1] == '/'; glob--)
		copy[glob - 1] = '\0';
	glob = strcspn(copy, "*?[");
	/* Shorter and shorter, until there is such a directory. */
	for (;;) {
		cut = memrchr(copy, '/', glob);
		if (cut == NULL)
			break;
		glob = (size_t)(cut - copy);
		*cut = '\0';
		real = realpath(glob == 0 ? "/" : copy, NULL);
		*cut = '/';
		if (real != NULL)
			break;
	}
	rest = real != NULL ? copy + glob + 1 : NULL;
	if (rest == NULL)
		goto out;
	if (strcmp(rest, ".") == 0 || strcmp(rest, "..") == 0 ||
	    *rest == '\0') {
		ret = realpath(copy, NULL);
		goto out;
	}
	if (strncmp(rest, "./", 2) == 0)
		rest += 2;
	if (asprintf(&ret, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
	    rest) < 0)
		ret = NULL;
out:
	free(real);
	free(copy);
	return ret;
}

/* What of path is below dir ("" for dir itself), NULL if it is not. */
static const char *
below(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	if (strcmp(dir, "/") == 0)
		return path + 1;
	if (strncmp(dir, path, n) != 0)
		return NULL;
	if (path[n] == '\0')
		return path + n;
	return path[n] == '/' ? path + n + 1 : NULL;
}

static const struct mount_ref *
longest(const struct mount_list *l, const char *path)
{
	const struct mount_ref *best = NULL;
	unsigned i;

	for (i = 0; i < l->n; i++)
		if (below(l->v[i].dir, path) != NULL && (best == NULL ||
		    strlen(l->v[i].dir) > strlen(best->dir)))
			best = &l->v[i];
	return best;
}

static int
by_name(const struct mount_list *l, const char *name, size_t n,
    const struct mount_ref **ret, struct why *why)
{
	const struct mount_ref *m = NULL;
	unsigned i;

	for (i = 0; i < l->n; i++) {
		if ((strlen(l->v[i].name) != n ||
		    memcmp(l->v[i].name, name, n) != 0) &&
		    (strlen(l->v[i].uuid) != n ||
		    memcmp(l->v[i].uuid, name, n) != 0))
			continue;
		if (m != NULL)
			return why_set(why, -ENOENT, "namespace '%.*s' is "
			    "mounted twice, at %s and %s: name the directory",
			    (int)n, name, m->dir, l->v[i].dir);
		m = &l->v[i];
	}
	if (m == NULL)
		return why_set(why, -ENOENT, "no namespace '%.*s' is mounted "
		    "here; `gnsfs status` lists what is", (int)n, name);
	*ret = m;
	return 0;
}

static int
ns_path(const struct mount_ref *m, const char *rest, char **ret)
{
	const char *root = strcmp(m->root, "/") == 0 ? "" : m->root;

	if (ret == NULL)
		return 0;
	if (asprintf(ret, *rest == '\0' && *root != '\0' ? "%s" : "%s/%s",
	    root, rest) < 0)
		return -ENOMEM;
	return 0;
}

int
mounts_of_path(const struct mount_list *l, const char *path,
    const struct mount_ref **ret, char **retpath, struct why *why)
{
	const struct mount_ref *m;
	const char *colon;
	char *abs;
	int rc;

	colon = strchr(path, ':');
	if (colon != NULL && colon[1] == '/' &&
	    memchr(path, '/', (size_t)(colon - path)) == NULL) {
		rc = by_name(l, path, (size_t)(colon - path), ret, why);
		if (rc == 0 && retpath != NULL &&
		    (*retpath = strdup(colon + 1)) == NULL)
			rc = -ENOMEM;
		return rc;
	}
	abs = absolute(path);
	if (abs == NULL)
		return why_set(why, -ENOENT, "%s: %s", path, strerror(errno));
	m = longest(l, abs);
	if (m == NULL && strpbrk(abs, "*?[") == NULL) {
		/* Perhaps a symlink to a mountpoint. */
		char *real = realpath(abs, NULL);

		if (real != NULL) {
			free(abs);
			abs = real;
			m = longest(l, abs);
		}
	}
	if (m == NULL) {
		rc = why_set(why, -ENOENT, "%s is in no mounted namespace; "
		    "`gnsfs status` lists what is mounted", path);
	} else {
		rc = ns_path(m, below(m->dir, abs), retpath);
		*ret = m;
	}
	free(abs);
	return rc;
}

int
mounts_default(const struct mount_list *l, const char *n,
    const struct mount_ref **ret, struct why *why)
{
	const struct mount_ref *m = NULL;
	char *cwd;

	if (n != NULL && strchr(n, '/') == NULL && strcmp(n, ".") != 0)
		return by_name(l, n, strlen(n), ret, why);
	if (n != NULL)
		return mounts_of_path(l, n, ret, NULL, why);
	cwd = getcwd(NULL, 0);
	if (cwd != NULL)
		m = longest(l, cwd);
	free(cwd);
	if (m == NULL && l->n == 0)
		return why_set(why, -ENOENT, "no namespace is mounted here");
	if (m == NULL && l->n > 1)
		return why_set(why, -ENOENT, "%u namespaces are mounted: say "
		    "which with -n NAME or -n DIR", l->n);
	*ret = m != NULL ? m : &l->v[0];
	return 0;
}

char *
mount_path(const struct mount_ref *m, const char *nspath)
{
	const char *rest;
	char *p;

	rest = below(m->root, nspath);
	if (rest == NULL) {
		/* Outside what a bind mount shows. */
		if (asprintf(&p, "%s:%s", m->name, nspath) < 0)
			return NULL;
	} else if (asprintf(&p, *rest == '\0' ? "%s%s" : "%s/%s",
	    strcmp(m->dir, "/") == 0 && *rest != '\0' ? "" : m->dir,
	    rest) < 0) {
		return NULL;
	}
	return p;
}

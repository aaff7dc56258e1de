/*
 * state_dir: see state_dir.h.
 */
#include "fs/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "fs/dirlock.h"

static char *
join(const char *a, const char *b)
{
	char *s;

	return asprintf(&s, "%s/%s", a, b) < 0 ? NULL : s;
}

/* Where state directories are by default; new. */
static char *
default_base(void)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *s;

	if (geteuid() == 0)
		return strdup("/var/lib/gnsfs");
	if (xdg != NULL && xdg[0] == '/')
		return join(xdg, "gnsfs");
	if (home == NULL || asprintf(&s, "%s/.local/state/gnsfs", home) < 0)
		return NULL;
	return s;
}

/* What home.json of a state directory says: -ENOENT, -EUCLEAN. */
static int
local_id(const char *dir, struct home_id *ret, char *url, size_t nurl)
{
	char *path = join(dir, "home.json");
	const char *name, *uuid, *u;
	json_t *j = NULL;
	int err = path == NULL ? -ENOMEM : 0;

	if (err == 0 && access(path, F_OK) != 0)
		err = -ENOENT;
	if (err == 0) {
		j = json_load_file(path, 0, NULL);
		if (json_unpack(j, "{s:s, s:s, s:s}", "name", &name, "uuid",
		    &uuid, "url", &u) != 0 || strlen(uuid) != 36 ||
		    strlen(name) > 64)
			err = -EUCLEAN;
	}
	if (err == 0) {
		snprintf(ret->name, sizeof ret->name, "%s", name);
		snprintf(ret->uuid, sizeof ret->uuid, "%s", uuid);
		snprintf(url, nurl, "%s", u);
	}
	json_decref(j);
	free(path);
	return err;
}

/* On disk when it returns. */
static int
write_synced(const char *path, const char *text)
{
	int fd = sys.open(path, O_WRONLY | O_CREAT | O_TRUNC |
	    O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return fd;
	err = sys_pwrite_all(fd, text, strlen(text), 0);
	if (err == 0)
		err = sys.fsync(fd);
	sys.close(fd);
	if (err != 0)
		sys.unlink(path);
	return err == -EDQUOT ? -ENOSPC : err;
}

/* Without it what is beside it, synced or not, could not be mounted. */
static int
write_local_id(const char *dir, const struct home_id *id, const char *url)
{
	char *path = join(dir, "home.json"), *tmp = join(dir, "home.json.new");
	json_t *j = json_pack("{s:s, s:s, s:s}", "name", id->name, "uuid",
	    id->uuid, "url", url);
	char *text = j == NULL ? NULL : json_dumps(j, JSON_INDENT(2));
	int err = -ENOMEM;

	if (path != NULL && tmp != NULL && text != NULL)
		err = write_synced(tmp, text);
	if (err == 0)
		err = sys.rename(tmp, path);
	if (err == 0)
		err = sys_sync_parent(path);
	free(text);
	json_decref(j);
	free(tmp);
	free(path);
	return err;
}

/* The state directory of this URL among the default ones; new or NULL. */
static char *
find_local(const char *canonical)
{
	char *base = default_base(), *dir, *found = NULL;
	char url[URL_MAX];
	struct home_id id;
	struct dirent *e;
	DIR *d = base == NULL ? NULL : opendir(base);

	while (d != NULL && found == NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		dir = join(base, e->d_name);
		if (dir != NULL && local_id(dir, &id, url, sizeof url) == 0 &&
		    strcmp(url, canonical) == 0)
			found = dir;
		else
			free(dir);
	}
	if (d != NULL)
		closedir(d);
	free(base);
	return found;
}

static char *
default_dir(const struct home_id *id)
{
	char *base = default_base(), *s = NULL;

	if (base != NULL && asprintf(&s, "%s/%s-%.8s", base, id->name,
	    id->uuid) < 0)
		s = NULL;
	free(base);
	return s;
}

static int
make_dir(const char *dir, struct why *why)
{
	int err = sys_mkdirs(dir, 0700);

	if (err != 0)
		return why_set(why, err, "cannot make the directory '%s': %s; "
		    "name another with cache=DIR", dir, strerror(-err));
	if (access(dir, W_OK) != 0)
		return why_set(why, -EACCES, "no permission to write to '%s'; "
		    "name another with cache=DIR", dir);
	return 0;
}

static int
take_lock(struct fs *f, struct why *why)
{
	int rc = dirlock_take(f->state_dir, true, &f->lock_fd);

	if (rc == -EBUSY)
		return why_set(why, rc, "'%s' is in use by another gnsfs "
		    "mount of this host; unmount that one, or name another "
		    "with cache=DIR", f->state_dir);
	if (rc == -EINPROGRESS)
		return why_set(why, -EBUSY, "'%s' is in use by a mount that "
		    "was taken off and still stores what was queued; try "
		    "again", f->state_dir);
	if (rc != 0)
		return why_set(why, rc, "cannot take the lock in '%s': %s",
		    f->state_dir, strerror(-rc));
	return 0;
}

int
state_dir_open(struct fs *f, const char *canonical, int away,
    struct home_id *id, struct why *why)
{
	const struct fs_options *o = &f->opt;
	bool reached = away == 0;
	struct home_id local;
	char url[URL_MAX];
	bool known;
	int err;

	if (o->state != NULL || o->cache != NULL)
		f->state_dir = strdup(o->state != NULL ? o->state : o->cache);
	else
		f->state_dir = reached ? default_dir(id) :
		    find_local(canonical);
	if (f->state_dir == NULL)
		return reached ? -ENOMEM : -EHOSTUNREACH;
	f->cache_dir = strdup(o->cache != NULL ? o->cache : f->state_dir);
	if (f->cache_dir == NULL)
		return -ENOMEM;
	err = local_id(f->state_dir, &local, url, sizeof url);
	if (err == -EUCLEAN)
		return why_set(why, err, "'%s/home.json' is damaged; restore "
		    "it or name an empty directory with cache=DIR",
		    f->state_dir);
	if (err == -ENOENT && !reached)
		return -EHOSTUNREACH;
	/* a path where there is nothing may as well be a wrong one */
	if (err == 0 && away == -ENOENT && strcmp(url, canonical) != 0)
		return -EHOSTUNREACH;
	if (err == 0 && reached && strcmp(local.uuid, id->uuid) != 0)
		return why_set(why, -EEXIST, "'%s' belongs to the namespace "
		    "'%s' (%s), not to '%s' (%s); name another directory with "
		    "cache=DIR", f->state_dir, local.name, local.uuid,
		    id->name, id->uuid);
	known = err == 0;
	if (known && !reached)
		*id = local;
	err = make_dir(f->state_dir, why);
	if (err == 0)
		err = make_dir(f->cache_dir, why);
	if (err == 0)
		err = take_lock(f, why);
	if (err == 0 && reached && (!known || strcmp(local.name, id->name) != 0
	    || strcmp(url, canonical) != 0)) {
		err = write_local_id(f->state_dir, id, canonical);
		if (err != 0)
			why_set(why, err, "cannot write home.json in '%s': %s",
			    f->state_dir, strerror(-err));
	}
	return err;
}

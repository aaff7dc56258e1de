/*
 * file_draft: an object of the file:// backend in the making, until it has its
 * name.
 *
 * The bytes go to a temporary file beside the object, which is synced, then
 * gets its name in one step, then the directory is synced, then the put is
 * acknowledged:
 *   if absent   link(2), which fails where there is a name already
 *   if match    under flock on the directory: look, then rename(2)
 *   always      rename(2), under the same flock, so that what a match saw
 *               stays until its own rename; del takes it too
 *
 * Temporary files are held under flock while they are written.  One that
 * nobody holds and that is ten minutes old was left by a crash; the first put
 * of a process into a directory sweeps these away.
 */
#include "backends/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/sys.h"

enum { TEMP_MAX = sizeof(FILE_TEMP) + 16 };

static const int64_t temp_age = 600 * NSEC_PER_SEC;
static const int64_t sweep_every = 10 * NSEC_PER_SEC;

/* --- temporary files --- */

/* Removes what crashes left in dir. */
static void
sweep_now(const char *dir)
{
	int64_t now = clock_real();
	struct stat st;
	struct dirent *d;
	char *path;
	DIR *dp;
	int fd;

	if ((dp = opendir(dir)) == NULL)
		return;
	while ((d = readdir(dp)) != NULL) {
		if (!file_is_temp(d->d_name) ||
		    asprintf(&path, "%s/%s", dir, d->d_name) < 0)
			continue;
		fd = sys.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		    O_NONBLOCK, 0);
		if (fd >= 0) {
			if (sys.fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
			    now - st.st_mtim.tv_sec * NSEC_PER_SEC > temp_age &&
			    flock(fd, LOCK_EX | LOCK_NB) == 0)
				sys.unlink(path);
			sys.close(fd);
		}
		free(path);
	}
	closedir(dp);
}

/* Sweeps dir if this process has not yet, and not too often. */
static void
sweep(struct file_store *f, const char *dir)
{
	uint64_t hash = name_hash(dir, strlen(dir)), *slot;
	int64_t now = clock_mono();
	bool due = false;

	slot = &f->swept[hash % FILE_SWEPT];
	lock_take(&f->lock);
	if (*slot != hash && (f->last_sweep == 0 ||
	    now - f->last_sweep >= sweep_every)) {
		due = true;
		f->last_sweep = now;
		*slot = hash;
	}
	lock_drop(&f->lock);
	if (due)
		sweep_now(dir);
}

/* The directories between the root and the object at path, each new one
 * durable.  Never the root itself: a store is not made by using it. */
static int
make_parents(struct file_store *f, char *path)
{
	char *p = path + strlen(f->root) + 1;
	int err = 0;

	while (err == 0 && (p = strchr(p, '/')) != NULL) {
		*p = '\0';
		err = sys.mkdir(path, 0777);
		if (err == 0)
			err = sys_sync_parent(path);
		else if (err == -EEXIST)
			err = 0;
		*p++ = '/';
	}
	return err;
}

/* --- a draft --- */

static int
temp_open(struct file_draft *d)
{
	uint64_t id = random_u64();
	int fd;

	snprintf(d->temp, strlen(d->dir) + 1 + TEMP_MAX, "%s/" FILE_TEMP
	    "%016" PRIx64, d->dir, id);
	fd = sys.open(d->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0)
		flock(fd, LOCK_EX | LOCK_NB);	/* for the sweep to see */
	return fd;
}

enum store_rc
file_draft_begin(struct file_draft *d, struct file_store *f,
    struct store_call *c, const char *verb, const char *key)
{
	int tries, err = 0;

	*d = (struct file_draft){ .f = f, .c = c, .verb = verb, .key = key,
	    .fd = -1, .dirfd = -1 };
	if ((d->path = file_store_path(f, key)) == NULL ||
	    (d->dir = strdup(d->path)) == NULL)
		return STORE_NOMEM;
	*strrchr(d->dir, '/') = '\0';
	if ((d->temp = calloc(1, strlen(d->dir) + 1 + TEMP_MAX)) == NULL)
		return STORE_NOMEM;
	/* An empty folder may be removed by who wants its name: make it
	 * again. */
	for (tries = 0; tries < 4; tries++) {
		if ((d->fd = temp_open(d)) != -ENOENT)
			break;
		if ((err = make_parents(f, d->path)) != 0)
			return file_write_fail(f, c, err, verb, key);
	}
	if (d->fd < 0)
		return file_write_fail(f, c, d->fd, verb, key);
	d->dirfd = sys.open(d->dir[0] != '\0' ? d->dir : "/",
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (d->dirfd < 0)
		return file_write_fail(f, c, d->dirfd, verb, key);
	sweep(f, d->dir);
	/* again: what is open now cannot be unmounted any more */
	return file_root_check(f, c);
}

void
file_draft_end(struct file_draft *d)
{
	if (d->fd >= 0) {
		sys.unlink(d->temp);	/* gone already where it was renamed */
		sys.close(d->fd);
	}
	if (d->dirfd >= 0)
		sys.close(d->dirfd);
	free(d->path);
	free(d->dir);
	free(d->temp);
}

enum store_rc
file_draft_fail(struct file_draft *d, int err)
{
	return file_write_fail(d->f, d->c, err, d->verb, d->key);
}

/* --- the step that gives a draft its name --- */

enum store_rc
file_dir_lock(struct file_store *f, struct store_call *c, int fd,
    const char *key)
{
	int64_t pause = 100000, until = clock_mono() + 30 * NSEC_PER_SEC;
	enum store_rc rc;
	struct stat st;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return file_fail(f, c, -errno, "lock the folder of",
			    key);
		if ((rc = call_sleep(c, pause)) != STORE_OK)
			return rc;
		if (clock_mono() > until) {
			why_set(call_why(c), 0, "%s: another process holds the"
			    " lock on the folder of '%s'", f->url, key);
			return STORE_THROTTLED;
		}
		if (pause < 4 * NSEC_PER_MSEC)
			pause *= 2;
	}
	if (sys.fstat(fd, &st) == 0 && st.st_nlink == 0)
		return file_write_fail(f, c, -ENOENT, "write", key);
	return STORE_OK;
}

enum store_rc
file_match_check(struct file_store *f, struct store_call *c, const char *key,
    const char *path, const struct store_version *match)
{
	struct stat st;
	int err = sys.stat(path, &st);

	if (err != 0)
		return file_fail(f, c, err, "look at", key);
	if (!S_ISREG(st.st_mode))
		return STORE_ABSENT;
	return file_is_version(&st, match) ? STORE_OK : STORE_CHANGED;
}

/* link(2) is the arbiter (B1).  Over NFS its answer may be that of a second
 * sending: two names on the draft then mean that the first one did it. */
static int
name_absent(struct file_draft *d)
{
	int err = sys.link(d->temp, d->path);
	struct stat st;

	if (err == -EEXIST && sys.fstat(d->fd, &st) == 0 && st.st_nlink == 2)
		err = 0;
	if (err == 0)
		sys.unlink(d->temp);
	return err;
}

static enum store_rc
name_once(struct file_draft *d, enum store_cond cond,
    const struct store_version *match, int *reterr)
{
	enum store_rc rc;

	*reterr = 0;
	if (cond == STORE_IF_ABSENT) {
		*reterr = name_absent(d);
		return STORE_OK;
	}
	rc = file_dir_lock(d->f, d->c, d->dirfd, d->key);
	if (rc != STORE_OK)
		return rc;
	if (cond == STORE_IF_MATCH)
		rc = file_match_check(d->f, d->c, d->key, d->path, match);
	if (rc == STORE_OK)
		*reterr = sys.rename(d->temp, d->path);
	flock(d->dirfd, LOCK_UN);
	return rc;
}

/* Gives the synced draft its name, and makes that durable. */
static enum store_rc
draft_name(struct file_draft *d, enum store_cond cond,
    const struct store_version *match)
{
	enum store_rc rc;
	struct stat st;
	int err;

	rc = name_once(d, cond, match, &err);
	if (rc != STORE_OK)
		return rc;
	/* An empty folder is no key, and gives way. */
	if ((err == -EEXIST || err == -EISDIR) &&
	    sys.stat(d->path, &st) == 0 && S_ISDIR(st.st_mode) &&
	    rmdir(d->path) == 0)
		rc = name_once(d, cond, match, &err);
	if (rc != STORE_OK)
		return rc;
	if (err == -EEXIST && sys.stat(d->path, &st) == 0 &&
	    S_ISREG(st.st_mode))
		return STORE_EXISTS;
	if (cond == STORE_IF_ABSENT && err == -EPERM) {
		why_set(call_why(d->c), err, "%s: its filesystem has no hard"
		    " links, which put-if-absent needs", d->f->url);
		return STORE_UNSUPPORTED;
	}
	if (err != 0)
		return file_draft_fail(d, err);
	err = sys.fsync(d->dirfd);
	if (err != 0 && err != -EINVAL) {
		why_set(call_why(d->c), err, "%s: '%s' is written, but its"
		    " folder could not be synced: %s", d->f->url, d->key,
		    strerror(-err));
		return STORE_AMBIGUOUS;
	}
	return STORE_OK;
}

enum store_rc
file_draft_finish(struct file_draft *d, enum store_cond cond,
    const struct store_version *match, struct store_info *ret)
{
	int64_t now = clock_real();
	struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ now / NSEC_PER_SEC, now % NSEC_PER_SEC },
	};
	enum store_rc rc;
	struct stat st;
	int err;

	if (futimens(d->fd, times) != 0)
		return file_draft_fail(d, -errno);
	if ((err = sys.fsync(d->fd)) != 0 ||
	    (err = sys.fstat(d->fd, &st)) != 0)
		return file_draft_fail(d, err);
	if ((rc = call_check(d->c)) != STORE_OK)
		return rc;
	if ((rc = draft_name(d, cond, match)) != STORE_OK)
		return rc;
	if (ret != NULL)
		file_info(&st, ret);
	return STORE_OK;
}

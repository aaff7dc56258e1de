/*
 * file: the file:// backend, a directory as a store (B1).
 *
 * A key is a path below the directory.  What cannot be one (an empty
 * component, "." or "..", a component over 255 bytes, a slash at an end) is
 * STORE_INVALID, and so is a key below an object ("a" beside "a/b").  Only
 * regular files are objects; a link to one is read as one.
 *
 * Writing.  The bytes go to a temporary file beside the object, which is
 * synced, then gets its name in one step, then the directory is synced, then
 * the put is acknowledged:
 *   if absent   link(2), which fails where there is a name already
 *   if match    under flock on the directory: look, then rename(2)
 *   always      rename(2), under the same flock, so that what a match saw
 *               stays until its own rename; del takes it too
 * There are no sidecar files.  Two processes on one directory are safe: all
 * decisions are the kernel's.
 *
 * Temporary files are held under flock while they are written.  One that
 * nobody holds and that is ten minutes old was left by a crash; the first put
 * of a process into a directory sweeps these away.
 *
 * A version is "e:" inode, mtime in ns and size.  The mtime of what is put
 * here is set from the clock's full resolution, so that it tells two objects
 * apart even where an inode number is used again and the kernel's own stamps
 * are coarse.  The change time is not part of it: link(2) moves it.
 *
 * A directory on a disk that goes away leaves its mountpoint behind, empty:
 * it would answer that nothing is there, and take what is written.  So each
 * call looks whether the root is still the same directory, or another with the
 * same gnsfs.json (file_root_check); where the store is no home, anything is
 * the same.
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

enum {
	COPY_STEP = 64 << 20,		/* bytes between looks at cancel */
	IO_STEP = 512 << 10,
	TEMP_MAX = sizeof(FILE_TEMP) + 16,
};

static const int64_t temp_age = 600 * NSEC_PER_SEC;
static const int64_t sweep_every = 10 * NSEC_PER_SEC;

bool
file_is_temp(const char *name)
{
	return strncmp(name, FILE_TEMP, sizeof(FILE_TEMP) - 1) == 0;
}

bool
file_key_ok(const char *key, size_t n)
{
	const char *p = key, *end = key + n, *slash;
	size_t len;

	if (n == 0 || n > STORE_KEY_MAX)
		return false;
	for (;; p = slash + 1) {
		slash = memchr(p, '/', end - p);
		len = (slash != NULL ? slash : end) - p;
		if (len == 0 || len > 255 || file_is_temp(p) ||
		    (p[0] == '.' && (len == 1 || (len == 2 && p[1] == '.'))))
			return false;
		if (slash == NULL)
			return true;
	}
}

/* A hash of the root's gnsfs.json; 0: there is none to be read. */
static uint64_t
root_mark(struct file_store *f)
{
	char *path = file_store_path(f, "gnsfs.json");
	char text[4096];
	ssize_t n = -1;
	int fd = -1;

	if (path != NULL)
		fd = sys.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	if (fd >= 0) {
		n = sys.pread(fd, text, sizeof(text), 0);
		sys.close(fd);
	}
	free(path);
	return n > 0 ? name_hash(text, n) | 1 : 0;
}

enum store_rc
file_root_check(struct file_store *f, struct store_call *c)
{
	struct stat st;
	uint64_t mark;
	bool same;

	if (sys.stat(f->root[0] != '\0' ? f->root : "/", &st) != 0)
		return STORE_OK;	/* the call itself will say so */
	lock_take(&f->lock);
	same = f->rooted && st.st_dev == f->root_dev &&
	    st.st_ino == f->root_ino;
	lock_drop(&f->lock);
	if (same)
		return STORE_OK;
	mark = root_mark(f);
	lock_take(&f->lock);
	same = f->mark == 0 || f->mark == mark;
	if (same) {
		f->rooted = true;
		f->root_dev = st.st_dev;
		f->root_ino = st.st_ino;
		f->mark = mark;
	}
	lock_drop(&f->lock);
	if (same)
		return STORE_OK;
	why_set(call_why(c), 0, "%s: %s is another directory than before, and"
	    " %s; is what holds it mounted?", f->url, f->root, mark == 0 ?
	    "no namespace's" : "another namespace's");
	return STORE_UNREACHABLE;
}

static enum store_rc
key_check(struct file_store *f, struct store_call *c, const char *key)
{
	enum store_rc rc;

	if (file_key_ok(key, strlen(key))) {
		rc = call_check(c);
		return rc == STORE_OK ? file_root_check(f, c) : rc;
	}
	why_set(call_why(c), 0, "%s: the key '%s' is no path that a directory"
	    " can hold", f->url, key);
	return STORE_INVALID;
}

char *
file_store_path(const struct file_store *f, const char *key)
{
	char *path;

	return asprintf(&path, "%s/%s", f->root, key) < 0 ? NULL : path;
}

void
file_info(const struct stat *st, struct store_info *ret)
{
	ret->size = st->st_size;
	ret->mtime = st->st_mtim.tv_sec * NSEC_PER_SEC + st->st_mtim.tv_nsec;
	snprintf(ret->version.text, sizeof(ret->version.text),
	    "e:%" PRIx64 "-%" PRIx64 "-%" PRIx64, (uint64_t)st->st_ino,
	    (uint64_t)ret->mtime, (uint64_t)st->st_size);
}

/* Is st what version names?  Nothing named: yes. */
static bool
is_version(const struct stat *st, const struct store_version *version)
{
	struct store_info info;

	if (!version_given(version))
		return true;
	file_info(st, &info);
	return strcmp(info.version.text, version->text) == 0;
}

bool
file_root_is_there(struct file_store *f)
{
	struct stat st;

	return sys.stat(f->root[0] != '\0' ? f->root : "/", &st) == 0 &&
	    S_ISDIR(st.st_mode);
}

enum store_rc
file_fail(struct file_store *f, struct store_call *c, int err,
    const char *verb, const char *key)
{
	struct why *why = call_why(c);

	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
		if (file_root_is_there(f))
			return STORE_ABSENT;
		why_set(why, err, "%s: there is no directory %s; create it, or"
		    " mount what holds it", f->url, f->root);
		return STORE_ABSENT;
	case -ENOMEM:
		return STORE_NOMEM;
	}
	why_set(why, err, "%s: cannot %s '%s': %s", f->url, verb, key,
	    strerror(-err));
	switch (err) {
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return STORE_DENIED;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return STORE_NOSPACE;
	case -EMFILE:
	case -ENFILE:
		return STORE_THROTTLED;
	case -ENAMETOOLONG:
	case -ELOOP:
	case -EILSEQ:
	case -EINVAL:
	case -EISDIR:
		return STORE_INVALID;
	case -ESTALE:
	case -ETIMEDOUT:
	case -EHOSTDOWN:
	case -EHOSTUNREACH:
		return STORE_UNREACHABLE;
	}
	return STORE_BROKEN;
}

/* As file_fail, for a write: a path that leads through an object cannot be. */
static enum store_rc
write_fail(struct file_store *f, struct store_call *c, int err,
    const char *verb, const char *key)
{
	if ((err == -ENOTDIR || err == -EISDIR || err == -ENOTEMPTY ||
	    err == -EEXIST) && file_root_is_there(f)) {
		why_set(call_why(c), err, "%s: cannot %s '%s': there are keys"
		    " above or below it, and a directory cannot hold both",
		    f->url, verb, key);
		return STORE_INVALID;
	}
	if (err == -ENOENT && file_root_is_there(f)) {
		why_set(call_why(c), err, "%s: cannot %s '%s': somebody"
		    " removed its folder meanwhile", f->url, verb, key);
		return STORE_BROKEN;
	}
	return file_fail(f, c, err, verb, key);
}

/* --- reading --- */

/* Opens an object.  Anything but a regular file is none. */
static enum store_rc
object_open(struct file_store *f, struct store_call *c, const char *key,
    const struct store_version *version, int *retfd, struct stat *retst)
{
	char *path = file_store_path(f, key);
	int fd, err;

	if (path == NULL)
		return STORE_NOMEM;
	fd = sys.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	free(path);
	if (fd < 0)
		return file_fail(f, c, fd == -ENXIO ? -ENOENT : fd, "read",
		    key);
	if ((err = sys.fstat(fd, retst)) != 0) {
		sys.close(fd);
		return file_fail(f, c, err, "read", key);
	}
	if (!S_ISREG(retst->st_mode) || !is_version(retst, version)) {
		sys.close(fd);
		return S_ISREG(retst->st_mode) ? STORE_CHANGED : STORE_ABSENT;
	}
	*retfd = fd;
	return STORE_OK;
}

/* Is fd still as st says?  What somebody writes in place is not one version
 * (B5). */
static bool
unchanged(int fd, const struct stat *st)
{
	struct store_info info;
	struct stat now;

	file_info(st, &info);
	return sys.fstat(fd, &now) == 0 && is_version(&now, &info.version);
}

static enum store_rc
deliver(struct file_store *f, struct store_call *c, const char *key, int fd,
    uint64_t off, uint64_t len, store_sink *sink, void *arg)
{
	size_t step = len < IO_STEP ? len : IO_STEP;
	enum store_rc rc = STORE_OK;
	char *buf = malloc(step + 1);
	ssize_t n;

	if (buf == NULL)
		return STORE_NOMEM;
	for (; len > 0 && rc == STORE_OK; off += n, len -= n) {
		if ((rc = call_check(c)) != STORE_OK)
			break;
		n = sys.pread(fd, buf, len < step ? len : step, off);
		if (n == -EINTR) {
			n = 0;
		} else if (n < 0) {
			rc = file_fail(f, c, n, "read", key);
			break;
		} else if (n == 0) {
			rc = STORE_CHANGED;	/* it became shorter */
		} else if (sink(arg, buf, n) != 0) {
			rc = STORE_CANCELLED;
		}
	}
	free(buf);
	return rc;
}

static enum store_rc
file_get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	struct stat st;
	uint64_t size;
	int fd = -1;

	if ((rc = key_check(f, c, key)) != STORE_OK)
		return rc;
	if ((rc = object_open(f, c, key, version, &fd, &st)) != STORE_OK)
		return rc;
	size = st.st_size;
	if (off > 0 && off >= size) {
		why_set(call_why(c), 0, "%s: '%s' has %" PRIu64 " bytes, none"
		    " at %" PRIu64, f->url, key, size, off);
		rc = STORE_INVALID;
		goto out;
	}
	if (len == 0 || len > size - off)
		len = size - off;
	if (ret != NULL)
		file_info(&st, ret);
	rc = deliver(f, c, key, fd, off, len, sink, arg);
	if (rc == STORE_OK && !unchanged(fd, &st))
		rc = STORE_CHANGED;
out:
	sys.close(fd);
	return rc;
}

static enum store_rc
file_head(struct store *s, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	struct stat st;
	char *path;
	int err;

	if ((rc = key_check(f, c, key)) != STORE_OK)
		return rc;
	if ((path = file_store_path(f, key)) == NULL)
		return STORE_NOMEM;
	err = sys.stat(path, &st);
	free(path);
	if (err != 0)
		return file_fail(f, c, err, "look at", key);
	if (!S_ISREG(st.st_mode))
		return STORE_ABSENT;
	if (ret != NULL)
		file_info(&st, ret);
	return STORE_OK;
}

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

/* An object in the making. */
struct draft {
	struct file_store *f;
	struct store_call *c;
	const char	*key, *verb;
	char		*path;		/* where it will be; owned */
	char		*dir;		/* that one's directory; owned */
	char		*temp;		/* owned */
	int		 fd, dirfd;
};

static int
temp_open(struct draft *d)
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

static enum store_rc
draft_begin(struct draft *d, struct file_store *f, struct store_call *c,
    const char *verb, const char *key)
{
	int tries, err = 0;

	*d = (struct draft){ .f = f, .c = c, .verb = verb, .key = key,
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
			return write_fail(f, c, err, verb, key);
	}
	if (d->fd < 0)
		return write_fail(f, c, d->fd, verb, key);
	d->dirfd = sys.open(d->dir[0] != '\0' ? d->dir : "/",
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (d->dirfd < 0)
		return write_fail(f, c, d->dirfd, verb, key);
	sweep(f, d->dir);
	/* again: what is open now cannot be unmounted any more */
	return file_root_check(f, c);
}

static void
draft_end(struct draft *d)
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

static enum store_rc
draft_fail(struct draft *d, int err)
{
	return write_fail(d->f, d->c, err, d->verb, d->key);
}

/* --- the step that gives a draft its name --- */

/* flock on a directory that is still there; the kernel lets it go with the
 * descriptor.  No wait without end: the call's deadline, or 30 s. */
static enum store_rc
dir_lock(struct file_store *f, struct store_call *c, int fd, const char *key)
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
		return write_fail(f, c, -ENOENT, "write", key);
	return STORE_OK;
}

/* What stands at path, against a condition: OK, ABSENT, CHANGED. */
static enum store_rc
match_check(struct file_store *f, struct store_call *c, const char *key,
    const char *path, const struct store_version *match)
{
	struct stat st;
	int err = sys.stat(path, &st);

	if (err != 0)
		return file_fail(f, c, err, "look at", key);
	if (!S_ISREG(st.st_mode))
		return STORE_ABSENT;
	return is_version(&st, match) ? STORE_OK : STORE_CHANGED;
}

/* link(2) is the arbiter (B1).  Over NFS its answer may be that of a second
 * sending: two names on the draft then mean that the first one did it. */
static int
name_absent(struct draft *d)
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
name_once(struct draft *d, enum store_cond cond,
    const struct store_version *match, int *reterr)
{
	enum store_rc rc;

	*reterr = 0;
	if (cond == STORE_IF_ABSENT) {
		*reterr = name_absent(d);
		return STORE_OK;
	}
	rc = dir_lock(d->f, d->c, d->dirfd, d->key);
	if (rc != STORE_OK)
		return rc;
	if (cond == STORE_IF_MATCH)
		rc = match_check(d->f, d->c, d->key, d->path, match);
	if (rc == STORE_OK)
		*reterr = sys.rename(d->temp, d->path);
	flock(d->dirfd, LOCK_UN);
	return rc;
}

/* Gives the synced draft its name, and makes that durable. */
static enum store_rc
draft_name(struct draft *d, enum store_cond cond,
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
		return draft_fail(d, err);
	err = sys.fsync(d->dirfd);
	if (err != 0 && err != -EINVAL) {
		why_set(call_why(d->c), err, "%s: '%s' is written, but its"
		    " folder could not be synced: %s", d->f->url, d->key,
		    strerror(-err));
		return STORE_AMBIGUOUS;
	}
	return STORE_OK;
}

/* Stamps and syncs the draft, then names it. */
static enum store_rc
draft_finish(struct draft *d, enum store_cond cond,
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
		return draft_fail(d, -errno);
	if ((err = sys.fsync(d->fd)) != 0 ||
	    (err = sys.fstat(d->fd, &st)) != 0)
		return draft_fail(d, err);
	if ((rc = call_check(d->c)) != STORE_OK)
		return rc;
	if ((rc = draft_name(d, cond, match)) != STORE_OK)
		return rc;
	if (ret != NULL)
		file_info(&st, ret);
	return STORE_OK;
}

/* --- writing --- */

static enum store_rc
draft_write(struct draft *d, const struct store_src *src)
{
	size_t step = src->size < IO_STEP ? src->size : IO_STEP;
	char *buf = malloc(step + 1);
	enum store_rc rc = STORE_OK;
	uint64_t off;
	int n, err;

	if (buf == NULL)
		return STORE_NOMEM;
	for (off = 0; off < src->size && rc == STORE_OK; off += n) {
		if ((rc = call_check(d->c)) != STORE_OK)
			break;
		n = src->read(src->arg, buf, src->size - off < step ?
		    src->size - off : step, off);
		if (n <= 0) {
			why_set(call_why(d->c), n, "%s: the bytes for '%s'"
			    " cannot be read: %s", d->f->url, d->key,
			    n < 0 ? strerror(-n) : "they end early");
			rc = n == -ENOMEM ? STORE_NOMEM : STORE_INVALID;
			n = 0;
		} else if ((err = sys_pwrite_all(d->fd, buf, n, off)) != 0) {
			rc = draft_fail(d, err);
		}
	}
	free(buf);
	return rc;
}

/* Answers a condition that cannot be met before a byte is written. */
static enum store_rc
put_precheck(struct file_store *f, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match)
{
	struct store_info info;
	enum store_rc rc;

	if (cond == STORE_ALWAYS)
		return STORE_OK;
	if (cond == STORE_IF_MATCH && !version_given(match)) {
		why_set(call_why(c), 0, "%s: '%s': no version to match",
		    f->url, key);
		return STORE_INVALID;
	}
	rc = file_head(&f->store, c, key, &info);
	if (cond == STORE_IF_ABSENT)
		return rc == STORE_OK ? STORE_EXISTS :
		    rc == STORE_ABSENT ? STORE_OK : rc;
	if (rc == STORE_OK && strcmp(info.version.text, match->text) != 0)
		return STORE_CHANGED;
	return rc;
}

static enum store_rc
file_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	struct draft d;

	if ((rc = key_check(f, c, key)) != STORE_OK)
		return rc;
	if ((rc = put_precheck(f, c, key, cond, match)) != STORE_OK)
		return rc;
	rc = draft_begin(&d, f, c, "write", key);
	if (rc == STORE_OK)
		rc = draft_write(&d, src);
	if (rc == STORE_OK)
		rc = draft_finish(&d, cond, match, ret);
	draft_end(&d);
	return rc;
}

static enum store_rc
del_locked(struct file_store *f, struct store_call *c, const char *key,
    const char *path, int dirfd, const struct store_version *match)
{
	enum store_rc rc;
	int err;

	/* Also without a version: a folder is no object. */
	rc = match_check(f, c, key, path, match);
	if (rc == STORE_ABSENT)
		return STORE_OK;
	if (rc != STORE_OK)
		return rc;
	if ((err = sys.unlink(path)) != 0)
		return err == -ENOENT ? STORE_OK :
		    file_fail(f, c, err, "delete", key);
	err = sys.fsync(dirfd);
	if (err != 0 && err != -EINVAL) {
		why_set(call_why(c), err, "%s: '%s' is deleted, but its folder"
		    " could not be synced: %s", f->url, key, strerror(-err));
		return STORE_AMBIGUOUS;
	}
	return STORE_OK;
}

static enum store_rc
file_del(struct store *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	char *path, *slash;
	int dirfd;

	if ((rc = key_check(f, c, key)) != STORE_OK)
		return rc;
	if ((path = file_store_path(f, key)) == NULL)
		return STORE_NOMEM;
	slash = strrchr(path, '/');
	*slash = '\0';
	dirfd = sys.open(path[0] != '\0' ? path : "/",
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	*slash = '/';
	if (dirfd < 0) {
		rc = file_fail(f, c, dirfd, "delete", key);
		if (rc == STORE_ABSENT && file_root_is_there(f))
			rc = STORE_OK;
		goto out;
	}
	rc = dir_lock(f, c, dirfd, key);
	if (rc == STORE_OK)
		rc = del_locked(f, c, key, path, dirfd, match);
	sys.close(dirfd);
out:
	free(path);
	return rc;
}

/* n bytes of from into the draft: by reflink or within the kernel where that
 * can be, else through here. */
static enum store_rc
draft_copy(struct draft *d, int from, uint64_t n)
{
	off_t in = 0, out = 0;
	bool by_hand = false;
	enum store_rc rc = STORE_OK;
	char *buf = NULL;
	ssize_t got;
	int err;

	while ((uint64_t)in < n && (rc = call_check(d->c)) == STORE_OK) {
		size_t want = n - in < COPY_STEP ? n - in : COPY_STEP;

		if (!by_hand) {
			got = copy_file_range(from, &in, d->fd, &out, want, 0);
			if (got > 0)
				continue;
			if (got < 0 && (errno == ENOSPC || errno == EDQUOT)) {
				rc = draft_fail(d, -errno);
				break;
			}
			by_hand = true;	/* says EXDEV, ENOSYS, EINVAL, 0 .. */
		}
		if (buf == NULL && (buf = malloc(IO_STEP)) == NULL) {
			rc = STORE_NOMEM;
			break;
		}
		got = sys.pread(from, buf, want < IO_STEP ? want : IO_STEP,
		    in);
		if (got <= 0) {
			rc = got == 0 ? STORE_CHANGED : draft_fail(d, got);
			break;
		}
		if ((err = sys_pwrite_all(d->fd, buf, got, out)) != 0) {
			rc = draft_fail(d, err);
			break;
		}
		in += got;
		out += got;
	}
	free(buf);
	return rc;
}

static enum store_rc
file_copy(struct store *s, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	struct stat st;
	struct draft d;
	int fd = -1;

	if ((rc = key_check(f, c, from)) != STORE_OK ||
	    (rc = key_check(f, c, to)) != STORE_OK)
		return rc;
	if ((rc = object_open(f, c, from, version, &fd, &st)) != STORE_OK)
		return rc;
	rc = draft_begin(&d, f, c, "copy to", to);
	if (rc == STORE_OK)
		rc = draft_copy(&d, fd, st.st_size);
	if (rc == STORE_OK && !unchanged(fd, &st))
		rc = STORE_CHANGED;
	if (rc == STORE_OK)
		rc = draft_finish(&d, STORE_ALWAYS, NULL, ret);
	draft_end(&d);
	sys.close(fd);
	return rc;
}

/* --- the store --- */

static unsigned
file_caps(struct store *s)
{
	return STORE_CAN_ABSENT | STORE_CAN_MATCH | STORE_CAN_COPY |
	    STORE_LIST_SORTED | STORE_LIST_START_AFTER | STORE_DELETE_MATCH;
}

static void
file_free(struct store *s)
{
	struct file_store *f = (struct file_store *)s;

	file_scans_free(f);
	cond_done(&f->scanned);
	lock_done(&f->lock);
	free(f->root);
	free(f->url);
	free(f);
}

static const struct store_ops file_ops = {
	.get = file_get, .put = file_put, .head = file_head, .del = file_del,
	.list = file_list, .copy = file_copy, .caps = file_caps,
	.free = file_free,
};

int
file_store_open(const struct url *u, struct store **ret, struct why *why)
{
	struct file_store *f;
	size_t n = strlen(u->prefix);

	if (u->prefix[0] != '/')
		return why_set(why, -EINVAL, "%s: a file:// URL names an"
		    " absolute path, as in file:///srv/store", u->text);
	if ((f = calloc(1, sizeof(*f))) == NULL)
		return -ENOMEM;
	while (n > 0 && u->prefix[n - 1] == '/')
		n--;
	f->root = strndup(u->prefix, n);
	f->url = strdup(u->text);
	if (f->root == NULL || f->url == NULL) {
		free(f->root);
		free(f->url);
		free(f);
		return -ENOMEM;
	}
	f->store.ops = &file_ops;
	f->store.url = f->url;
	lock_init(&f->lock, RANK_STORE, "file store");
	cond_init(&f->scanned);
	*ret = &f->store;
	return 0;
}

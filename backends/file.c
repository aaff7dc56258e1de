/*
 * file: the file:// backend, a directory as a store (B1): its keys, its root,
 * what a failed call means, and the store that is opened.  file_read.c,
 * file_write.c (over file_draft.c), file_copy.c and file_list.c are its
 * requests.
 *
 * A key is a path below the directory.  What cannot be one (an empty
 * component, "." or "..", a component over 255 bytes, a slash at an end) is
 * STORE_INVALID, and so is a key below an object ("a" beside "a/b").  Only
 * regular files are objects; a link to one is read as one.  There are no
 * sidecar files.  Two processes on one directory are safe: all decisions are
 * the kernel's.
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

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/sys.h"

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

enum store_rc
file_key_check(struct file_store *f, struct store_call *c, const char *key)
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
	*ret = (struct store_info){ .size = st->st_size };
	ret->mtime = clock_ns(st->st_mtim);
	snprintf(ret->version.text, sizeof(ret->version.text),
	    "e:%" PRIx64 "-%" PRIx64 "-%" PRIx64, (uint64_t)st->st_ino,
	    (uint64_t)ret->mtime, (uint64_t)st->st_size);
}

/* Is st what version names?  Nothing named: yes. */
bool
file_is_version(const struct stat *st, const struct store_version *version)
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

enum store_rc
file_write_fail(struct file_store *f, struct store_call *c, int err,
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

/* --- the store --- */

static unsigned
file_caps(struct store *s)
{
	return STORE_CAN_ABSENT | STORE_CAN_MATCH | STORE_CAN_COPY |
	    STORE_LIST_SORTED | STORE_LIST_START_AFTER | STORE_DELETE_MATCH |
	    STORE_PULL_KEEPS;
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

static struct store *
file_bare(struct store *s)
{
	return s;
}

static enum store_rc
file_offer(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, int64_t until, struct buf *ret)
{
	return STORE_UNSUPPORTED;
}

static const struct store_ops file_ops = {
	.get = file_get, .put = file_put, .head = file_head, .del = file_del,
	.list = file_list, .copy = file_copy, .pull = file_pull,
	.caps = file_caps, .bare = file_bare, .offer = file_offer,
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

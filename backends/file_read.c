/*
 * file_read: get and head of the file:// backend.
 */
#include "backends/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/sys.h"

enum store_rc
file_object_open(struct file_store *f, struct store_call *c, const char *key,
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
	if (!S_ISREG(retst->st_mode) || !file_is_version(retst, version)) {
		sys.close(fd);
		return S_ISREG(retst->st_mode) ? STORE_CHANGED : STORE_ABSENT;
	}
	*retfd = fd;
	return STORE_OK;
}

bool
file_is_unchanged(int fd, const struct stat *st)
{
	struct store_info info;
	struct stat now;

	file_info(st, &info);
	return sys.fstat(fd, &now) == 0 && file_is_version(&now, &info.version);
}

static enum store_rc
deliver(struct file_store *f, struct store_call *c, const char *key, int fd,
    uint64_t off, uint64_t len, store_sink *sink, void *arg)
{
	size_t step = len < FILE_STEP ? len : FILE_STEP;
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

enum store_rc
file_get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	struct stat st;
	uint64_t size;
	int fd = -1;

	if ((rc = file_key_check(f, c, key)) != STORE_OK)
		return rc;
	if ((rc = file_object_open(f, c, key, version, &fd, &st)) != STORE_OK)
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
	if (rc == STORE_OK && !file_is_unchanged(fd, &st))
		rc = STORE_CHANGED;
out:
	sys.close(fd);
	return rc;
}

enum store_rc
file_head(struct store *s, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	struct stat st;
	char *path;
	int err;

	if ((rc = file_key_check(f, c, key)) != STORE_OK)
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

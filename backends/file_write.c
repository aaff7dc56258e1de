/*
 * file_write: put and del of the file:// backend.
 */
#include "backends/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

static enum store_rc
draft_write(struct file_draft *d, const struct store_src *src)
{
	size_t step = src->size < FILE_STEP ? src->size : FILE_STEP;
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
			rc = file_draft_fail(d, err);
		}
	}
	free(buf);
	return rc;
}

enum store_rc
file_precheck(struct file_store *f, struct store_call *c, const char *key,
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

enum store_rc
file_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	struct file_draft d;

	if ((rc = file_key_check(f, c, key)) != STORE_OK)
		return rc;
	if ((rc = file_precheck(f, c, key, cond, match)) != STORE_OK)
		return rc;
	rc = file_draft_begin(&d, f, c, "write", key);
	if (rc == STORE_OK)
		rc = draft_write(&d, src);
	if (rc == STORE_OK)
		rc = file_draft_finish(&d, cond, match, ret);
	file_draft_end(&d);
	return rc;
}

static enum store_rc
del_locked(struct file_store *f, struct store_call *c, const char *key,
    const char *path, int dirfd, const struct store_version *match)
{
	enum store_rc rc;
	int err;

	/* Also without a version: a folder is no object. */
	rc = file_match_check(f, c, key, path, match);
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

enum store_rc
file_del(struct store *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct file_store *f = (struct file_store *)s;
	enum store_rc rc;
	char *path, *slash;
	int dirfd;

	if ((rc = file_key_check(f, c, key)) != STORE_OK)
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
	rc = file_dir_lock(f, c, dirfd, key);
	if (rc == STORE_OK)
		rc = del_locked(f, c, key, path, dirfd, match);
	sys.close(dirfd);
out:
	free(path);
	return rc;
}

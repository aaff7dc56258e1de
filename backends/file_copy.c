/*
 * file_copy: copies within a file:// store and from one into another.
 */
#include "backends/file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/sys.h"

enum { COPY_STEP = 64 << 20 };		/* bytes between looks at cancel */

/* n bytes of from into the draft: by reflink or within the kernel where that
 * can be, else through here. */
static enum store_rc
draft_copy(struct file_draft *d, int from, uint64_t n)
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
				rc = file_draft_fail(d, -errno);
				break;
			}
			by_hand = true;	/* says EXDEV, ENOSYS, EINVAL, 0 .. */
		}
		if (buf == NULL && (buf = malloc(FILE_STEP)) == NULL) {
			rc = STORE_NOMEM;
			break;
		}
		got = sys.pread(from, buf, want < FILE_STEP ? want : FILE_STEP,
		    in);
		if (got <= 0) {
			rc = got == 0 ? STORE_CHANGED : file_draft_fail(d, got);
			break;
		}
		if ((err = sys_pwrite_all(d->fd, buf, got, out)) != 0) {
			rc = file_draft_fail(d, err);
			break;
		}
		in += got;
		out += got;
	}
	free(buf);
	return rc;
}

/* Of one store, into another or the same. */
static enum store_rc
copy_between(struct file_store *in, struct file_store *f,
    struct store_call *c, const char *from,
    const struct store_version *version, const char *to, enum store_cond cond,
    struct store_info *ret)
{
	enum store_rc rc;
	struct stat st;
	struct file_draft d;
	int fd = -1;

	if ((rc = file_key_check(in, c, from)) != STORE_OK ||
	    (rc = file_key_check(f, c, to)) != STORE_OK ||
	    (rc = file_precheck(f, c, to, cond, NULL)) != STORE_OK)
		return rc;
	if ((rc = file_object_open(in, c, from, version, &fd, &st)) != STORE_OK)
		return rc;
	rc = file_draft_begin(&d, f, c, "copy to", to);
	if (rc == STORE_OK)
		rc = draft_copy(&d, fd, st.st_size);
	if (rc == STORE_OK && !file_is_unchanged(fd, &st))
		rc = STORE_CHANGED;
	if (rc == STORE_OK)
		rc = file_draft_finish(&d, cond, NULL, ret);
	file_draft_end(&d);
	sys.close(fd);
	return rc;
}

enum store_rc
file_copy(struct store *s, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct file_store *f = (struct file_store *)s;

	return copy_between(f, f, c, from, version, to, STORE_ALWAYS, ret);
}

enum store_rc
file_pull(struct store *s, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct store *below = store_bare(from);

	if (below->ops != s->ops)
		return STORE_UNSUPPORTED;
	return copy_between((struct file_store *)below,
	    (struct file_store *)s, c, key, version, to, STORE_IF_ABSENT,
	    ret);
}

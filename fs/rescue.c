/* rescue: see rescue.h. */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "cache/backing.h"
#include "fs/dirlock.h"
#include "fs/rescue.h"
#include "meta/journal.h"
#include "meta/query.h"

#define COPY	(1u << 20)

struct rescue {
	const struct rescue_request *q;
	const char	*state, *cache_dir;
	char		*dest;
	int		 lock;
	struct meta	*meta;
	struct cache	*cache;
	uint64_t	*inos;
	unsigned	 ninos, cap;
	char		*buf;			/* COPY bytes */
	struct rescue_result res;
	struct why	 why;
};

static int
add_ino(struct rescue *r, uint64_t ino)
{
	uint64_t *v;

	if (r->ninos == r->cap) {
		r->cap = r->cap == 0 ? 256 : r->cap * 2;
		v = realloc(r->inos, r->cap * sizeof *v);
		if (v == NULL)
			return -ENOMEM;
		r->inos = v;
	}
	r->inos[r->ninos++] = ino;
	return 0;
}

/* --- opening what is there --- */

static int
take_lock(struct rescue *r)
{
	int rc = dirlock_take(r->state, false, &r->lock);

	if (rc == -EBUSY || rc == -EINPROGRESS)
		return why_set(&r->why, -EBUSY, "%s is in use by a mount; "
		    "unmount it first", r->state);
	if (rc != 0)
		return why_set(&r->why, rc, "%s is no state directory of "
		    "gnsfs: its lock: %s; name the folder that was the "
		    "mount's cache= or state=", r->state, strerror(-rc));
	return 0;
}

static int
open_state(struct rescue *r)
{
	struct cache_opts o = { .dir = r->cache_dir, .pool = 1 };
	bool unclean;
	char *path;
	int rc;

	rc = take_lock(r);
	if (rc != 0)
		return rc;
	if (asprintf(&path, "%s/state.db", r->state) < 0)
		return -ENOMEM;
	rc = access(path, F_OK) != 0 ? why_set(&r->why, -errno, "%s: %s",
	    path, strerror(errno)) : meta_open(path, &r->meta, &r->why);
	free(path);
	if (rc != 0)
		return rc;
	o.index = meta_sq(r->meta);
	return cache_open(&o, &r->cache, &unclean, &r->why);
}

static int
add_orphan(void *arg, const struct cache_orphan *o)
{
	struct rescue *r = arg;

	return o->unsynced && o->had_base ? 0 : add_ino(r, o->ino);
}

/* Inodes of which something is queued, and files that were open. */
static int
find_inos(struct rescue *r, struct sqc *q)
{
	struct sqs *s;
	int rc;

	s = sq_prep(q, "SELECT DISTINCT ino FROM op WHERE ino > 0 "
	    "ORDER BY ino");
	while ((rc = sqs_step(s)) == 1)
		if (add_ino(r, (uint64_t)sqs_col_int(s, 0)) != 0)
			return -ENOMEM;
	sqs_reset(s);
	return rc;
}

/* --- copying --- */

/* The descriptor of a new file at the path, its folders made. */
static int
create(struct rescue *r, const char *path, int *ret)
{
	char *slash = strrchr(path, '/');
	int rc;

	*slash = '\0';
	rc = sys_mkdirs(path, 0700);
	*slash = '/';
	if (rc != 0)
		return why_set(&r->why, rc, "%s: %s", path, strerror(-rc));
	*ret = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
	    O_CLOEXEC, 0600);
	if (*ret < 0)
		return why_set(&r->why, -errno, "%s: %s", path,
		    strerror(errno));
	return 0;
}

/* All data of the sparse file; what is not here stays a hole. */
static int
copy_backing(struct rescue *r, struct bfile *b, int fd)
{
	uint64_t size = bfile_size(b);
	int from = bfile_fd(b), rc = 0;
	off_t off = 0, end;
	ssize_t n;

	while (rc == 0 && (off = lseek(from, off, SEEK_DATA)) >= 0 &&
	    (uint64_t)off < size) {
		end = lseek(from, off, SEEK_HOLE);
		if (end < 0 || (uint64_t)end > size)
			end = (off_t)size;
		while (rc == 0 && off < end) {
			n = sys.pread(from, r->buf, (size_t)(end - off <
			    (off_t)COPY ? end - off : (off_t)COPY), off);
			if (n <= 0) {
				rc = n < 0 ? (int)n : -EIO;
				break;
			}
			rc = sys_pwrite_all(fd, r->buf, (size_t)n, off);
			off += n;
			r->res.bytes += (uint64_t)n;
		}
	}
	if (rc == 0)
		rc = sys.ftruncate(fd, (off_t)size);
	return rc;
}

static void
note(struct rescue *r, const char *path, bool part)
{
	r->res.files++;
	r->res.parts += part;
	if (r->q->each != NULL)
		r->q->each(r->q->arg, path, part);
}

static int
finish(int fd, const struct attr *a)
{
	struct timespec ts[2] = {
		{ .tv_sec = a->atime / NSEC_PER_SEC,
		    .tv_nsec = a->atime % NSEC_PER_SEC },
		{ .tv_sec = a->mtime / NSEC_PER_SEC,
		    .tv_nsec = a->mtime % NSEC_PER_SEC },
	};
	int rc = 0;

	if (geteuid() == 0 && fchown(fd, a->uid, a->gid) != 0)
		rc = -errno;
	if (rc == 0 && fchmod(fd, a->mode & 07777) != 0)
		rc = -errno;
	(void)futimens(fd, ts);
	if (rc == 0 && fsync(fd) != 0)
		rc = -errno;
	return rc;
}

static int
rescue_file(struct rescue *r, struct sqc *q, const struct attr *a,
    const char *path)
{
	struct buf bytes = BUF_INIT;
	struct bfile *b = NULL;
	bool part = false;
	int fd = -1, rc;

	rc = unstored_get(q, a->ino, &bytes);
	if (rc == -ENOENT) {
		rc = bfile_get(r->cache, a->ino, &b);
		if (rc == -ENOENT && a->size == 0)
			rc = 0;
		else if (rc == -ENOENT || (rc == 0 && !bfile_is_dirty(b))) {
			rc = 0;		/* its bytes are in a store */
			goto out;
		}
	}
	if (rc == 0)
		rc = create(r, path, &fd);
	if (rc == 0 && b != NULL) {
		part = !bfile_is_complete(b);
		rc = copy_backing(r, b, fd);
	} else if (rc == 0 && bytes.len > 0) {
		rc = sys_pwrite_all(fd, bytes.p, bytes.len, 0);
		r->res.bytes += bytes.len;
	}
	if (rc == 0)
		rc = finish(fd, a);
	if (rc == 0)
		note(r, path, part);
out:
	if (fd >= 0)
		close(fd);
	bfile_put(b);
	buf_done(&bytes);
	return rc;
}

static int
rescue_symlink(struct rescue *r, struct sqc *q, const struct attr *a,
    const char *path)
{
	struct buf target = BUF_INIT;
	int fd = -1, rc;

	rc = meta_readlink(q, a->ino, &target);
	if (rc == 0)
		rc = create(r, path, &fd);
	if (rc == 0) {
		close(fd);
		rc = sys.unlink(path);
	}
	if (rc == 0 && symlink(buf_cstr(&target), path) != 0)
		rc = -errno;
	if (rc == 0)
		note(r, path, false);
	buf_done(&target);
	return rc;
}

static int
rescue_one(struct rescue *r, struct sqc *q, uint64_t ino)
{
	char *nspath = NULL, *path = NULL;
	struct attr a;
	int rc;

	rc = meta_getattr(q, ino, &a);
	if (rc == 0)
		rc = meta_path(q, ino, &nspath);
	if (rc == -ENOENT)
		return 0;		/* deleted meanwhile */
	if (rc == 0 && asprintf(&path, "%s%s", r->dest, nspath) < 0) {
		path = NULL;
		rc = -ENOMEM;
	}
	if (rc == 0 && S_ISREG(a.mode))
		rc = rescue_file(r, q, &a, path);
	else if (rc == 0 && S_ISLNK(a.mode))
		rc = rescue_symlink(r, q, &a, path);
	else if (rc == 0 && S_ISDIR(a.mode) && ino != META_ROOT)
		rc = sys_mkdirs(path, 0700);
	if (rc != 0)
		why_set(&r->why, rc, "%s: %s", path != NULL ? path : r->dest,
		    strerror(-rc));
	free(nspath);
	free(path);
	return rc;
}

static int
by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int
rescue(struct rescue *r)
{
	struct sqc *q = NULL;
	unsigned i;
	int rc;

	rc = open_state(r);
	if (rc != 0)
		return rc;
	rc = cache_recover(r->cache, add_orphan, r);
	if (rc >= 0)
		rc = sq_read(meta_sq(r->meta), &q);
	if (rc == 0)
		rc = find_inos(r, q);
	if (rc == 0 && r->ninos > 1)
		qsort(r->inos, r->ninos, sizeof *r->inos, by_number);
	for (i = 0; rc == 0 && i < r->ninos; i++)
		if (i == 0 || r->inos[i] != r->inos[i - 1])
			rc = rescue_one(r, q, r->inos[i]);
	sq_read_end(q);
	return rc;
}

static int
make_dest(struct rescue *r, const char *dest)
{
	if (mkdir(dest, 0700) != 0 && (errno != EEXIST || rmdir(dest) != 0 ||
	    mkdir(dest, 0700) != 0))
		return why_set(&r->why, -errno, "%s must be a new or an empty "
		    "directory: %s", dest, strerror(errno));
	r->dest = realpath(dest, NULL);
	return r->dest != NULL ? 0 : -errno;
}

int
fs_rescue(const struct rescue_request *q, struct rescue_result *ret,
    struct why *why)
{
	struct rescue r = { .q = q, .state = q->state, .lock = -1 };
	int rc;

	r.cache_dir = q->cache != NULL ? q->cache : q->state;
	r.buf = malloc(COPY);
	rc = r.buf == NULL ? -ENOMEM : make_dest(&r, q->dest);
	if (rc == 0)
		rc = rescue(&r);
	if (r.cache != NULL)
		cache_close(r.cache);
	if (r.meta != NULL)
		meta_close(r.meta);
	if (r.lock >= 0)
		close(r.lock);
	free(r.inos);
	free(r.buf);
	free(r.dest);
	if (rc != 0)
		return why_set(why, rc, "%s", why_text(&r.why, rc));
	*ret = r.res;
	return 0;
}

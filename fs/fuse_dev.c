/*
 * See fuse_dev.h.
 *
 * A worker of the library reads a request and handles it on the same thread,
 * so what a request says beyond what the library hands on is kept for that
 * thread until it reads the next.
 */
#include "fs/fuse_dev.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <linux/magic.h>

#include "base/log.h"
#include "fs/fuse_front.h"
#include "fs/fuse_ring.h"
#include "fs/settle.h"

#define LIBRARY_PASSES	(FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17))

#ifndef FUSE_PASSTHROUGH	/* headers before Linux 6.9 */
#define FUSE_PASSTHROUGH	(1ULL << 37)
#define FOPEN_PASSTHROUGH	(1u << 7)
struct fuse_backing_map { int32_t fd; uint32_t flags; uint64_t padding; };
#define FUSE_DEV_IOC_BACKING_OPEN	_IOW(229, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE	_IOW(229, 2, uint32_t)
#endif

static _Thread_local bool asks_clear;
#if !LIBRARY_PASSES
static _Thread_local int answer_id;
#endif
static _Thread_local struct settle_close closing;

/* --- requests --- */

/* The op's own part of a request, if it is all there. */
static const void *
body(const void *buf, size_t n, size_t want)
{
	if (n < sizeof(struct fuse_in_header) + want)
		return NULL;
	return (const char *)buf + sizeof(struct fuse_in_header);
}

static void
see_init(struct fuse_dev *d, const struct fuse_in_header *h, size_t n)
{
	/* flags2 came with protocol 7.36; older ones send less. */
	const struct fuse_init_in *in = body(h, n,
	    offsetof(struct fuse_init_in, flags2));
	uint64_t flags;

	if (in == NULL || in->major != FUSE_KERNEL_VERSION)
		return;
	flags = in->flags;
	if ((flags & FUSE_INIT_EXT) && body(h, n, sizeof *in) != NULL)
		flags |= (uint64_t)in->flags2 << 32;
	atomic_store(&d->offered, flags);
	atomic_store(&d->init_unique, h->unique);
}

static bool
sees_clear(const struct fuse_in_header *h, size_t n)
{
	const struct fuse_write_in *w;
	const struct fuse_setattr_in *s;
	const struct fuse_open_in *o;
	const struct fuse_create_in *c;

	switch (h->opcode) {
	case FUSE_WRITE:
		w = body(h, n, sizeof *w);
		return w != NULL && (w->write_flags & FUSE_WRITE_KILL_SUIDGID);
	case FUSE_SETATTR:
		s = body(h, n, sizeof *s);
		return s != NULL && (s->valid & FATTR_KILL_SUIDGID);
	case FUSE_OPEN:
		o = body(h, n, sizeof *o);
		return o != NULL && (o->open_flags & FUSE_OPEN_KILL_SUIDGID);
	case FUSE_CREATE:
		c = body(h, n, sizeof *c);
		return c != NULL && (c->open_flags & FUSE_OPEN_KILL_SUIDGID);
	}
	return false;
}

/* close(2) has returned by now: what its caller publishes next is read next,
 * and may be handled sooner (L3). */
static void
see_close(struct fs *f, const struct fuse_in_header *h, size_t n)
{
	const struct fuse_release_in *in = body(h, n, sizeof *in);

	if (in != NULL && (in->flags & O_ACCMODE) != O_RDONLY)
		settle_close_begin(f, &closing);
}

void
fuse_dev_seen(struct fuse_front *fr, const struct fuse_in_header *h, size_t n)
{
	if (h->opcode == FUSE_INIT)
		see_init(&fr->dev, h, n);
	else if (h->opcode == FUSE_RELEASE)
		see_close(fr->fs, h, n);
	else
		asks_clear = sees_clear(h, n);
}

void
fuse_dev_handled(struct fuse_front *fr)
{
	settle_close_end(fr->fs, &closing);	/* it was not handed on */
	asks_clear = false;
}

static ssize_t
dev_read(int fd, void *buf, size_t len, void *arg)
{
	ssize_t n;

	fuse_dev_handled(arg);
	n = read(fd, buf, len);
	if (n >= (ssize_t)sizeof(struct fuse_in_header))
		fuse_dev_seen(arg, buf, (size_t)n);
	return n;
}

/* --- replies --- */

/* The library's reply to INIT, before it is sent. */
static void
amend_init(struct fuse_dev *d, struct iovec *iov)
{
	struct fuse_init_out *out = iov->iov_base;
	uint64_t offered = atomic_load(&d->offered);
	uint64_t want = offered & FUSE_HANDLE_KILLPRIV_V2;
	uint32_t depth = d->depth;

	if (iov->iov_len < offsetof(struct fuse_init_out, max_background) ||
	    out->major != FUSE_KERNEL_VERSION)
		return;
	if (iov->iov_len >= sizeof *out && (offered & FUSE_INIT_EXT) &&
	    (offered & FUSE_PASSTHROUGH)) {
		want |= FUSE_INIT_EXT | FUSE_PASSTHROUGH;
		out->flags2 |= (uint32_t)(FUSE_PASSTHROUGH >> 32);
		/* max_stack_depth, which older headers have no name for; a
		 * library that knows it said the same (fuse_dev_init) */
		memcpy((char *)&out->flags2 + sizeof out->flags2, &depth,
		    sizeof depth);
	}
	if (iov->iov_len >= sizeof *out && atomic_load(&d->ring) != NULL) {
		want |= FUSE_INIT_EXT | FUSE_RING_FLAG;
		out->flags2 |= (uint32_t)(FUSE_RING_FLAG >> 32);
	}
	out->flags |= (uint32_t)want;
	atomic_store(&d->agreed, want);
}

#if !LIBRARY_PASSES
/* The reply to OPEN or CREATE, whose last part is struct fuse_open_out: its
 * last word, the older padding, is the backing id. */
static void
amend_open(struct iovec *iov)
{
	struct fuse_open_out out;
	int32_t id = answer_id;
	char *end = (char *)iov->iov_base + iov->iov_len;

	if (iov->iov_len < sizeof out)
		return;
	memcpy(&out, end - sizeof out, sizeof out);
	out.open_flags |= FOPEN_PASSTHROUGH;
	out.open_flags &= ~(uint32_t)FOPEN_KEEP_CACHE;
	memcpy((char *)&out + sizeof out - sizeof id, &id, sizeof id);
	memcpy(end - sizeof out, &out, sizeof out);
}
#endif

static ssize_t
reply_init(struct fuse_dev *d, struct iovec *iov, int count)
{
	ssize_t n;

	amend_init(d, &iov[1]);
	atomic_store(&d->init_unique, 0);
	n = writev(d->fd, iov, count);
	if (n > 0 && (atomic_load(&d->agreed) & FUSE_RING_FLAG))
		fuse_ring_start(atomic_load(&d->ring));
	return n;
}

static ssize_t
dev_writev(int fd, struct iovec *iov, int count, void *arg)
{
	struct fuse_front *fr = arg;
	const struct fuse_out_header *h = iov[0].iov_base;
	uint64_t unique = atomic_load(&fr->dev.init_unique);
	struct fuse_ring *ring = atomic_load(&fr->dev.ring);

	if (unique != 0 && h->unique == unique && h->error == 0 && count > 1 &&
	    iov[0].iov_len == sizeof *h)
		return reply_init(&fr->dev, iov, count);
#if !LIBRARY_PASSES
	if (answer_id > 0 && h->error == 0 && count > 1)
		amend_open(&iov[1]);
	answer_id = 0;
#endif
	if (ring != NULL && fuse_ring_answer(ring, iov, count))
		return h->len;
	return writev(fd, iov, count);
}

/* Data goes from the cache's files to the kernel uncopied. */
static ssize_t
dev_splice_send(int in, off_t *off_in, int out, off_t *off_out, size_t n,
    unsigned flags, void *arg)
{
	return splice(in, off_in, out, off_out, n, flags);
}

/* --- backing files --- */

static int
backing_open(void *arg, int fd)
{
	struct fuse_dev *d = arg;
	struct fuse_backing_map map = { .fd = fd };
	int id = ioctl(d->fd, FUSE_DEV_IOC_BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

static void
backing_close(void *arg, int id)
{
	struct fuse_dev *d = arg;
	uint32_t n = (uint32_t)id;

	(void)ioctl(d->fd, FUSE_DEV_IOC_BACKING_CLOSE, &n);
}

int
fuse_dev_hook(struct fuse_dev *d, struct fuse_session *se,
    const char *cache_dir)
{
	static const struct fuse_custom_io io = { .read = dev_read,
	    .writev = dev_writev, .splice_send = dev_splice_send };
	struct statfs st;
	int err;

	d->fd = fuse_session_fd(se);
	if (d->fd < 0)
		return -EBADF;
	/* each level that a backing file needs is one less for an overlay
	 * over the mount */
	d->depth = statfs(cache_dir, &st) == 0 &&
	    st.f_type == OVERLAYFS_SUPER_MAGIC ? 2 : 1;
	d->pass.arg = d;
	d->pass.open = backing_open;
	d->pass.close = backing_close;
	err = fuse_session_custom_io(se, &io, d->fd);
	return err > 0 ? -err : err;
}

bool
fuse_dev_by_ring(struct fuse_front *fr, size_t payload)
{
	struct fuse_ring *r = NULL;
	struct fs *f = fr->fs;
	int err;

	if (f->opt.uring == URING_OFF) {
		f->uring = "off: by option";
	} else if (!(atomic_load(&fr->dev.offered) & FUSE_RING_FLAG)) {
		f->uring = "off: the kernel does not offer it";
	} else if ((err = fuse_ring_new(fr, fr->dev.fd, payload, &r)) != 0) {
		f->uring = "off: io_uring does not work here";
		log_info("io_uring does not work here", "err=%d", err);
	} else {
		f->uring = "off: the kernel has not begun";
	}
	atomic_store(&fr->dev.ring, r);
	return r != NULL;
}

bool
fuse_dev_has_ring(const struct fuse_dev *d)
{
	return atomic_load(&d->ring) != NULL;
}

bool
fuse_dev_passes(const struct fuse_dev *d)
{
	return (atomic_load(&d->agreed) & FUSE_PASSTHROUGH) != 0;
}

#if LIBRARY_PASSES
void
fuse_dev_init(const struct fuse_dev *d, struct fuse_conn_info *conn)
{
	if (!(conn->capable & FUSE_CAP_PASSTHROUGH))
		return;
	conn->want |= FUSE_CAP_PASSTHROUGH;
	/* the library counts what lies below, the kernel us too */
	conn->max_backing_stack_depth = d->depth - 1;
}

void
fuse_dev_answer_passed(struct fuse_file_info *fi, int id)
{
	fi->backing_id = id;
}
#else
void
fuse_dev_init(const struct fuse_dev *d, struct fuse_conn_info *conn)
{
}

void
fuse_dev_answer_passed(struct fuse_file_info *fi, int id)
{
	answer_id = id;
}
#endif

const char *
fuse_dev_api(void)
{
	return LIBRARY_PASSES ? "library" : "device";
}

struct settle_close *
fuse_dev_close(void)
{
	return &closing;
}

bool
fuse_dev_clears_ids(const struct fuse_dev *d)
{
	return (atomic_load(&d->agreed) & FUSE_HANDLE_KILLPRIV_V2) != 0;
}

bool
fuse_dev_asks_clear(void)
{
	return asks_clear;
}

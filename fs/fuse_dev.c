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
#include <unistd.h>
#include <linux/fuse.h>

#include "fs/fuse_front.h"

static _Thread_local bool asks_clear;

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

static ssize_t
dev_read(int fd, void *buf, size_t len, void *arg)
{
	struct fuse_front *fr = arg;
	const struct fuse_in_header *h = buf;
	ssize_t n = read(fd, buf, len);

	asks_clear = false;
	if (n < (ssize_t)sizeof *h)
		return n;
	if (h->opcode == FUSE_INIT)
		see_init(&fr->dev, h, (size_t)n);
	else
		asks_clear = sees_clear(h, (size_t)n);
	return n;
}

/* --- replies --- */

/* The library's reply to INIT, before it is sent. */
static void
amend_init(struct fuse_dev *d, struct iovec *iov)
{
	struct fuse_init_out *out = iov->iov_base;
	uint64_t want = atomic_load(&d->offered) & FUSE_HANDLE_KILLPRIV_V2;

	if (iov->iov_len < offsetof(struct fuse_init_out, max_background) ||
	    out->major != FUSE_KERNEL_VERSION)
		return;
	out->flags |= (uint32_t)want;
	atomic_store(&d->agreed, want);
}

static ssize_t
dev_writev(int fd, struct iovec *iov, int count, void *arg)
{
	struct fuse_front *fr = arg;
	const struct fuse_out_header *h = iov[0].iov_base;
	uint64_t unique = atomic_load(&fr->dev.init_unique);

	if (unique != 0 && h->unique == unique && h->error == 0 && count > 1 &&
	    iov[0].iov_len == sizeof *h) {
		amend_init(&fr->dev, &iov[1]);
		atomic_store(&fr->dev.init_unique, 0);
	}
	return writev(fd, iov, count);
}

/* Data goes from the cache's files to the kernel uncopied. */
static ssize_t
dev_splice_send(int in, off_t *off_in, int out, off_t *off_out, size_t n,
    unsigned flags, void *arg)
{
	return splice(in, off_in, out, off_out, n, flags);
}

int
fuse_dev_hook(struct fuse_session *se)
{
	static const struct fuse_custom_io io = { .read = dev_read,
	    .writev = dev_writev, .splice_send = dev_splice_send };
	int fd = fuse_session_fd(se), err;

	if (fd < 0)
		return -EBADF;
	err = fuse_session_custom_io(se, &io, fd);
	return err > 0 ? -err : err;
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

/* FUSE: open files. */
#include "fs/fuse_front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/counters.h"
#include "fs/fill.h"
#include "fs/fuse_ring.h"
#include "fs/settle.h"
#include "fs/tree.h"
#include "fs/vnode.h"

#define COPY_MIN	(256u << 10)	/* any pipe holds less */

static struct handle *
handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

static void
opened(struct fuse_front *fr, struct fuse_file_info *fi, struct handle *h)
{
	fi->fh = (uintptr_t)h;
	fuse_dev_answer_passed(fi, h->passed ? h->v->pass_id : 0);
	fi->direct_io = h->seen;
	fi->keep_cache = !h->passed;	/* only this kernel changes what it
				   caches; what others change is invalidated
				   (F4) */
	/* it has nothing to say to us, but that a writer closes (settle.h),
	 * where RELEASE may come too late for that */
	fi->noflush = !(h->writes && fuse_dev_has_ring(&fr->dev));
}

void
op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct fs *f = req_fs(req);
	struct handle *h;
	int err = 0;

	counter_add(fuse_requests, 1);
	if (fuse_dev_asks_clear())
		err = tree_clear_ids(f, node_ino(f, node));
	if (err == 0)
		err = io_open(f, node_ino(f, node), fi->flags, &h);
	/* asked after: what it opened may be what came in its place (N2) */
	if (err == 0 && node_is_old(f, node)) {
		io_release(f, h);
		err = -ESTALE;
	}
	if (err == -ENOENT)
		err = -ESTALE;	/* F1: the kernel looks its name up again */
	if (err != 0) {
		fuse_reply_err(req, -err);
		return;
	}
	front_feed(fuse_req_userdata(req), h);
	opened(fuse_req_userdata(req), fi, h);
	if (fuse_reply_open(req, fi) == -ENOENT)
		io_release(f, h);	/* the opener was interrupted */
}

void
op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    struct fuse_file_info *fi)
{
	struct fs *f = req_fs(req);
	const struct fuse_ctx *x = fuse_req_ctx(req);
	uint64_t dir = node_ino(f, parent);
	struct fuse_entry_param e;
	struct handle *h;
	struct attr a;
	int err;

	counter_add(fuse_requests, 1);
	err = io_create(f, dir, name, mode, x->uid, x->gid, fi->flags, &a,
	    &h);
	if (err != 0) {
		fuse_reply_err(req, -err);
		return;
	}
	tree_present(f, &a);
	front_entry(f, &a, &e);
	opened(fuse_req_userdata(req), fi, h);
	if (fuse_reply_create(req, &e, fi) == -ENOENT)
		io_release(f, h);
}

/* --- reading --- */

/* Copied, through a buffer that is used again: the library would make one for
 * every reply, and the heap keeps what its threads freed. */
static void
reply_copy(fuse_req_t req, struct bfile *b, void *p, size_t n, off_t off)
{
	ssize_t r = bfile_read(b, p, n, (uint64_t)off);

	if (r < 0)
		fuse_reply_err(req, (int)-r);
	else
		fuse_reply_buf(req, p, (size_t)r);
}

static void
reply_local(fuse_req_t req, struct bfile *b, size_t n, off_t off)
{
	struct fuse_front *fr = fuse_req_userdata(req);
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(n);
	void *p = fuse_ring_room(n);

	if (p != NULL) {
		reply_copy(req, b, p, n, off);
		return;
	}
	if (!fr->splices && n > COPY_MIN && n <= CACHE_CHUNK)
		p = fill_buf_take(fr->fs);
	if (p != NULL) {
		reply_copy(req, b, p, n, off);
		fill_buf_give(fr->fs, p);
		return;
	}
	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = bfile_fd(b);
	v.buf[0].pos = off;
	fuse_reply_data(req, &v, FUSE_BUF_SPLICE_MOVE);
}

void
op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	struct fs *f = req_fs(req);
	struct handle *h = handle_of(fi);
	struct fill_ref ref;
	struct bfile *b;
	unsigned turn;
	size_t n;

	counter_add(fuse_requests, 1);
	if (io_read_local(f, h, (uint64_t)off, size, &b, &n, &turn) == 0) {
		if (fill_recent(f, b, (uint64_t)off, n, &ref)) {
			fuse_reply_iov(req, ref.v, ref.n);
			fill_unref(f, &ref);
		} else
			reply_local(req, b, n, off);
		bfile_read_end(b, turn);
		bfile_put(b);
		return;
	}
	front_read(req, h, size, off);
}

/* --- writing --- */

void
op_write_buf(fuse_req_t req, fuse_ino_t node, struct fuse_bufvec *in,
    off_t off, struct fuse_file_info *fi)
{
	struct fs *f = req_fs(req);
	struct handle *h = handle_of(fi);
	size_t n = fuse_buf_size(in);
	struct fuse_bufvec mem = FUSE_BUFVEC_INIT(n);
	void *copy = NULL;
	ssize_t r = 0;

	counter_add(fuse_requests, 1);
	if (in->count == 1 && !(in->buf[0].flags & FUSE_BUF_IS_FD))
		mem.buf[0].mem = (char *)in->buf[0].mem + in->off;
	else {
		mem.buf[0].mem = copy = malloc(n);
		r = copy == NULL ? -ENOMEM : fuse_buf_copy(&mem, in, 0);
	}
	if (r >= 0 && fuse_dev_asks_clear())
		r = tree_clear_ids(f, h->v->ino);
	if (r >= 0) {
		/* of others the kernel asks for it itself, by FSYNC */
		front_write(req, h, mem.buf[0].mem, n, off, h->seen &&
		    (fi->flags & O_DSYNC), copy);
		return;
	}
	fuse_reply_err(req, (int)-r);
	free(copy);
}

void
op_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct fuse_front *fr = fuse_req_userdata(req);
	struct fs *f = req_fs(req);
	struct handle *h = handle_of(fi);

	counter_add(fuse_requests, 1);
	if (h->writes && fuse_dev_has_ring(&fr->dev))
		settle_close_flushed(f, &h->flush, h->v);
	fuse_reply_err(req, -io_flush(f, h));
}

void
op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct fs *f = req_fs(req);
	struct handle *h = handle_of(fi);
	struct settle_close *c = fuse_dev_close();

	counter_add(fuse_requests, 1);
	if (h->writes)
		settle_close_take(f, c, &h->flush);
	fuse_reply_err(req, 0);		/* nobody waits for it in the kernel */
	io_release(f, h);
	settle_close_end(f, c);
}

void
op_fsync(fuse_req_t req, fuse_ino_t node, int datasync,
    struct fuse_file_info *fi)
{
	struct bfile *spent;

	counter_add(fuse_requests, 1);
	fuse_reply_err(req, -io_fsync(req_fs(req), handle_of(fi), &spent));
	if (spent != NULL)
		fuse_ring_send();
	bfile_put(spent);
}

void
op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len,
    struct fuse_file_info *fi)
{
	int err;

	counter_add(fuse_requests, 1);
	io_interrupted = front_interrupted;
	io_interrupted_arg = req;
	err = io_fallocate(req_fs(req), handle_of(fi), mode, (uint64_t)off,
	    (uint64_t)len);
	io_interrupted = NULL;
	fuse_reply_err(req, -err);
}

void
op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence,
    struct fuse_file_info *fi)
{
	off_t r = io_lseek(req_fs(req), handle_of(fi), (uint64_t)off, whence);

	counter_add(fuse_requests, 1);
	if (r < 0)
		fuse_reply_err(req, (int)-r);
	else
		fuse_reply_lseek(req, r);
}

void
op_copy_file_range(fuse_req_t req, fuse_ino_t node_in, off_t off_in,
    struct fuse_file_info *fi_in, fuse_ino_t node_out, off_t off_out,
    struct fuse_file_info *fi_out, size_t len, int flags)
{
	ssize_t r;

	counter_add(fuse_requests, 1);
	io_interrupted = front_interrupted;
	io_interrupted_arg = req;
	r = io_copy_range(req_fs(req), handle_of(fi_in), (uint64_t)off_in,
	    handle_of(fi_out), (uint64_t)off_out, len);
	io_interrupted = NULL;
	if (r < 0)
		fuse_reply_err(req, (int)-r);
	else
		fuse_reply_write(req, (size_t)r);
}

/* FUSE: names and directories. */
#include "fs/fuse_front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/counters.h"
#include "fs/tree.h"
#include "fs/vnode.h"

#define COOKIE_DOT	1
#define COOKIE_DOTDOT	2

static struct owner
req_owner(fuse_req_t req)
{
	const struct fuse_ctx *x = fuse_req_ctx(req);

	return (struct owner){ x->uid, x->gid };
}

/* Like front_reply_entry, but -ENOENT is an error here. */
static void
reply_made(fuse_req_t req, int err, const struct attr *a)
{
	counter_add(fuse_requests, 1);
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		front_reply_entry(req, 0, a);
}

void
op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    dev_t rdev)
{
	struct fs *f = req_fs(req);
	struct attr a;

	reply_made(req, tree_mknod(f, node_ino(f, parent), name, mode,
	    (uint32_t)rdev, req_owner(req), &a), &a);
}

void
op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs *f = req_fs(req);
	struct attr a;

	reply_made(req, tree_mkdir(f, node_ino(f, parent), name, mode,
	    req_owner(req), &a), &a);
}

void
op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
    const char *name)
{
	struct fs *f = req_fs(req);
	struct attr a;

	reply_made(req, tree_symlink(f, node_ino(f, parent), name, target,
	    req_owner(req), &a), &a);
}

void
op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
	struct fs *f = req_fs(req);
	struct attr a;

	reply_made(req, tree_link(f, node_ino(f, node), node_ino(f, parent),
	    name, &a), &a);
}

void
op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *f = req_fs(req);

	counter_add(fuse_requests, 1);
	fuse_reply_err(req, -tree_unlink(f, node_ino(f, parent), name));
}

void
op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *f = req_fs(req);

	counter_add(fuse_requests, 1);
	fuse_reply_err(req, -tree_rmdir(f, node_ino(f, parent), name));
}

void
op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t parent2, const char *name2, unsigned flags)
{
	struct fs *f = req_fs(req);

	counter_add(fuse_requests, 1);
	fuse_reply_err(req, -tree_rename(f, node_ino(f, parent), name,
	    node_ino(f, parent2), name2, flags));
}

void
op_readlink(fuse_req_t req, fuse_ino_t node)
{
	struct fs *f = req_fs(req);
	struct buf target = BUF_INIT;
	struct sqc *c = NULL;
	int err;

	counter_add(fuse_requests, 1);
	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_readlink(c, node_ino(f, node), &target);
	sq_read_end(c);
	if (err == 0)
		err = buf_err(&target);
	if (err == 0)
		fuse_reply_readlink(req, buf_cstr(&target));
	else
		fuse_reply_err(req, -err);
	buf_done(&target);
}

/* --- reading directories --- */

struct listing {
	fuse_req_t	 req;
	struct fs	*f;
	bool		 plus;
	uint64_t	 since;		/* vnodes_now() before it was read */
	char		*p;
	size_t		 len, max;
};

/* Adds one entry; nonzero: it did not fit. */
static int
add(struct listing *l, const char *name, const struct attr *a, uint64_t cookie,
    bool whole)
{
	struct fuse_entry_param e;
	size_t n, left = l->max - l->len;

	if (l->plus) {
		front_entry(l->f, a, &e);
		if (!whole)
			e.ino = 0;	/* no attributes; `.` and `..` */
		n = fuse_add_direntry_plus(l->req, l->p + l->len, left, name,
		    &e, (off_t)cookie);
	} else {
		memset(&e.attr, 0, sizeof e.attr);
		e.attr.st_ino = a->ino;
		e.attr.st_mode = a->mode;
		n = fuse_add_direntry(l->req, l->p + l->len, left, name,
		    &e.attr, (off_t)cookie);
	}
	if (n > left)
		return 1;
	l->len += n;
	return 0;
}

static int
add_row(void *arg, uint64_t cookie, const char *name, const struct attr *a)
{
	struct listing *l = arg;
	struct attr shown = *a;
	bool whole = true;

	if (l->plus) {
		/* settled meanwhile: the kernel looks it up when it wants it */
		whole = vnode_overlay(l->f, &shown, l->since);
		tree_present(l->f, &shown);
		front_met(fuse_req_userdata(l->req), &shown);
	}
	return add(l, name, &shown, cookie, whole);
}

static int
add_dots(struct listing *l, struct sqc *c, uint64_t dir, off_t off)
{
	struct attr a = { .ino = dir, .mode = S_IFDIR };
	char name[META_NAME_MAX + 1];

	if (off < COOKIE_DOT && add(l, ".", &a, COOKIE_DOT, false) != 0)
		return 1;
	if (off >= COOKIE_DOTDOT)
		return 0;
	if (meta_parent(c, dir, &a.ino, name) != 0)
		a.ino = dir;
	return add(l, "..", &a, COOKIE_DOTDOT, false);
}

static void
list(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, bool plus)
{
	struct listing l = { .req = req, .f = req_fs(req), .plus = plus,
	    .max = size };
	uint64_t dir = node_ino(l.f, node);
	struct sqc *c = NULL;
	struct attr a;
	int err;

	counter_add(fuse_requests, 1);
	l.since = vnodes_now(l.f);
	l.p = malloc(size);
	err = l.p == NULL ? -ENOMEM : sq_read(meta_sq(l.f->meta), &c);
	if (err == 0)
		err = meta_getattr(c, dir, &a);
	if (err == -ENOENT)
		err = 0;		/* removed while open: empty */
	else if (err == 0 && add_dots(&l, c, dir, off) == 0)
		err = meta_readdir(c, dir, off <= COOKIE_DOTDOT ? 0 :
		    (uint64_t)off, plus, add_row, &l);
	sq_read_end(c);
	if (err == 0)
		fuse_reply_buf(req, l.p, l.len);
	else
		fuse_reply_err(req, -err);
	free(l.p);
}

void
op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	list(req, node, size, off, false);
}

void
op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	list(req, node, size, off, true);
}

void
op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	fuse_reply_err(req, ENOSYS);	/* none needed; the kernel asks once,
				   and caches directories from then on */
}

void
op_fsyncdir(fuse_req_t req, fuse_ino_t node, int datasync,
    struct fuse_file_info *fi)
{
	counter_add(fuse_requests, 1);
	fuse_reply_err(req, -sq_sync(meta_sq(req_fs(req)->meta)));
}

/* FUSE: lookups, attributes, statfs. */
#include "fs/fuse_front.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/counters.h"
#include "fs/tree.h"
#include "fs/vnode.h"
#include "meta/op.h"

static struct timespec
to_timespec(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / NSEC_PER_SEC,
	    .tv_nsec = ns % NSEC_PER_SEC };

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += NSEC_PER_SEC;
	}
	return t;
}

void
front_stat(const struct attr *a, struct stat *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->st_ino = a->ino;
	ret->st_mode = a->mode;
	ret->st_nlink = a->nlink;
	ret->st_uid = a->uid;
	ret->st_gid = a->gid;
	ret->st_rdev = a->rdev;
	ret->st_size = (off_t)a->size;
	ret->st_blksize = 1 << 20;
	ret->st_blocks = (blkcnt_t)((a->size + 511) / 512);
	ret->st_atim = to_timespec(a->atime);
	ret->st_mtim = to_timespec(a->mtime);
	ret->st_ctim = to_timespec(a->ctime);
}

void
front_entry(struct fs *f, const struct attr *a, struct fuse_entry_param *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->ino = node_of(f, a->ino);
	ret->attr_timeout = ret->entry_timeout = KERNEL_TIMEOUT;
	front_stat(a, &ret->attr);
}

void
front_reply_entry(fuse_req_t req, int err, const struct attr *a)
{
	struct fuse_entry_param e;

	if (err == -ENOENT) {
		memset(&e, 0, sizeof e);
		e.entry_timeout = KERNEL_TIMEOUT;
		fuse_reply_entry(req, &e);
	} else if (err != 0)
		fuse_reply_err(req, -err);
	else {
		front_entry(req_fs(req), a, &e);
		fuse_reply_entry(req, &e);
	}
}

void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct attr a;
	int err;

	counter_add(fuse_requests, 1);
	err = tree_lookup(req_fs(req), node_ino(req_fs(req), parent), name,
	    &a);
	if (err == 0)
		front_met(fuse_req_userdata(req), &a);
	front_reply_entry(req, err, &a);
}

/* Of what is open still, as it was (N2). */
static int
getattr_old(struct fs *f, uint64_t node, struct attr *ret)
{
	struct vnode *v = vnode_old(f, node);

	if (v == NULL)
		return -ESTALE;
	lock_take(&v->lock);
	*ret = v->attr;
	lock_drop(&v->lock);
	vnode_put(f, v);
	tree_present(f, ret);
	return 0;
}

void
op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct fs *f = req_fs(req);
	struct attr a;
	struct stat st;
	int err;

	counter_add(fuse_requests, 1);
	err = node_is_old(f, node) ? getattr_old(f, node, &a) :
	    tree_getattr(f, node_ino(f, node), &a);
	if (err != 0) {
		fuse_reply_err(req, -err);
		return;
	}
	front_stat(&a, &st);
	fuse_reply_attr(req, &st, KERNEL_TIMEOUT);
}

/* What chmod, chown and utimens ask for; 0 = nothing of that. */
static uint32_t
wanted(const struct stat *st, int to_set, struct attr *a)
{
	int64_t now = clock_real();
	uint32_t mask = 0;

	if (to_set & FUSE_SET_ATTR_MODE) {
		mask |= ATTR_MODE;
		a->mode = st->st_mode;
	}
	if (to_set & FUSE_SET_ATTR_UID) {
		mask |= ATTR_UID;
		a->uid = st->st_uid;
	}
	if (to_set & FUSE_SET_ATTR_GID) {
		mask |= ATTR_GID;
		a->gid = st->st_gid;
	}
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		mask |= ATTR_ATIME;
		a->atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now :
		    clock_ns(st->st_atim);
	}
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		mask |= ATTR_MTIME;
		a->mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now :
		    clock_ns(st->st_mtim);
	}
	return mask;
}

void
op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int to_set,
    struct fuse_file_info *fi)
{
	struct fs *f = req_fs(req);
	uint64_t ino = node_ino(f, node);
	struct attr a = { 0 };
	struct stat out;
	uint32_t mask;
	bool clear;
	int err = 0;

	counter_add(fuse_requests, 1);
	if (to_set & FUSE_SET_ATTR_SIZE)
		err = io_truncate(f, ino, (uint64_t)st->st_size);
	mask = wanted(st, to_set, &a);
	/* What asks for nothing is how the kernel says, before a write or an
	 * fallocate by who may not keep them, that set-id bits are to go. */
	clear = fuse_dev_asks_clear() || (req_clears_ids(req) && mask == 0 &&
	    !(to_set & FUSE_SET_ATTR_SIZE));
	if (err == 0 && (mask != 0 || !(to_set & FUSE_SET_ATTR_SIZE)))
		err = tree_setattr(f, ino, &a, mask |
		    (clear ? TREE_CLEAR_IDS : 0));
	else if (err == 0 && clear)
		err = tree_clear_ids(f, ino);
	if (err == 0)
		err = tree_getattr(f, ino, &a);
	if (err != 0) {
		fuse_reply_err(req, -err);
		return;
	}
	front_stat(&a, &out);
	fuse_reply_attr(req, &out, KERNEL_TIMEOUT);
}

void
op_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct fs *f = req_fs(req);
	struct meta_totals t = { 0 };
	struct statvfs s = { .f_bsize = 4096, .f_frsize = 4096,
	    .f_namemax = META_NAME_MAX };
	struct sqc *c = NULL;

	if (sq_read(meta_sq(f->meta), &c) == 0)
		(void)meta_totals(c, &t);
	sq_read_end(c);
	/* Object stores say no size: what is used, and 1 PiB more. */
	s.f_bfree = s.f_bavail = (fsblkcnt_t)1 << 38;
	s.f_blocks = s.f_bfree + (t.bytes + 4095) / 4096;
	s.f_ffree = s.f_favail = (fsfilcnt_t)1 << 36;
	s.f_files = s.f_ffree + t.files + t.dirs;
	fuse_reply_statfs(req, &s);
}

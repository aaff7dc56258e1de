/*
 * FUSE: extended attributes; and the virtual ones (DESIGN.md section 3),
 * never listed, so that `cp -a` does not copy them.
 */
#include "fs/fuse_front.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/counters.h"
#include "fs/content.h"
#include "fs/control.h"
#include "fs/stores.h"
#include "fs/tree.h"
#include "fs/vnode.h"
#include "meta/journal.h"

#define PREFIX		"user.gnsfs."

/* --- the virtual ones --- */

static int
present_bytes(struct fs *f, const struct attr *a, uint64_t *ret)
{
	struct sqc *c = NULL;
	bool unstored = false;
	int err;

	if (sq_read(meta_sq(f->meta), &c) == 0)
		unstored = unstored_has(c, a->ino);
	sq_read_end(c);
	if (unstored) {
		*ret = a->size;
		return 0;
	}
	err = cache_present(f->cache, a->ino, a->size, ret);
	return err < 0 ? err : 0;	/* it gives percent */
}

static int
virt_cached(struct fs *f, const struct attr *a, struct buf *out)
{
	uint64_t have = 0;
	int err = present_bytes(f, a, &have);

	if (err == 0)
		buf_printf(out, "%" PRIu64, a->size == 0 ? 100 :
		    (uint64_t)((double)have * 100.0 / (double)a->size));
	return err;
}

static int
virt_pinned(struct fs *f, const struct attr *a, struct buf *out)
{
	buf_puts(out, cache_is_pinned(f->cache, a->ino) ? "1" : "0");
	return 0;
}

static int
virt_dirty(struct fs *f, const struct attr *a, struct buf *out)
{
	struct sqc *c = NULL;
	struct bfile *b = NULL;
	bool dirty = false;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		dirty = unstored_has(c, a->ino);
	sq_read_end(c);
	if (!dirty && S_ISREG(a->mode) &&
	    bfile_get(f->cache, a->ino, &b) == 0) {
		dirty = bfile_is_dirty(b);
		bfile_put(b);
	}
	if (err == 0)
		buf_puts(out, dirty ? "1" : "0");
	return err;
}

/* What of a file's first extent? */
static int
first_extent(struct fs *f, const struct attr *a, struct extents **ret)
{
	struct vnode *v = NULL;
	int err;

	err = vnode_get(f, a->ino, &v);
	if (err == 0)
		err = vnode_load(f, v);
	if (err == 0)
		err = content_extents(f, v, 0, 1, ret);
	vnode_put(f, v);
	if (err == 0 && (*ret)->n == 0) {
		free(*ret);
		*ret = NULL;
		err = -ENODATA;
	}
	return err;
}

static int
store_name(void *arg, const struct store_health *h)
{
	struct store_health *want = arg;

	if (h->id != want->id)
		return 0;
	snprintf(want->name, sizeof want->name, "%s", h->name);
	return 1;
}

static int
virt_store(struct fs *f, const struct attr *a, struct buf *out)
{
	struct store_health h = { .name = "?" };
	struct extents *x = NULL;
	int err = first_extent(f, a, &x);

	if (err == 0) {
		h.id = x->v[0].store;
		(void)stores_each(f, store_name, &h);
		buf_puts(out, h.name);
	}
	free(x);
	return err;
}

static int
virt_key(struct fs *f, const struct attr *a, struct buf *out)
{
	struct extents *x = NULL;
	int err = first_extent(f, a, &x);

	if (err == 0)
		buf_puts(out, x->v[0].key);
	free(x);
	return err;
}

static int
virt_etag(struct fs *f, const struct attr *a, struct buf *out)
{
	struct extents *x = NULL;
	int err = first_extent(f, a, &x);

	if (err == 0 && strncmp(x->v[0].version, "e:", 2) == 0)
		buf_puts(out, x->v[0].version + 2);
	else if (err == 0)
		err = -ENODATA;
	free(x);
	return err;
}

static int
virt_control(struct fs *f, const struct attr *a, struct buf *out)
{
	buf_puts(out, control_path(f));
	return 0;
}

static const struct virt {
	const char	*name;
	bool		 files_only;
	int		(*get)(struct fs *, const struct attr *, struct buf *);
} virts[] = {
	{ PREFIX "cached", true, virt_cached },
	{ PREFIX "pinned", true, virt_pinned },
	{ PREFIX "dirty", true, virt_dirty },
	{ PREFIX "store", true, virt_store },
	{ PREFIX "key", true, virt_key },
	{ PREFIX "etag", true, virt_etag },
	{ PREFIX "control", false, virt_control },
};

static int
get_virtual(struct fs *f, uint64_t ino, const char *name, struct buf *out)
{
	struct attr a;
	unsigned i;
	int err = tree_getattr(f, ino, &a);

	for (i = 0; err == 0 && i < sizeof virts / sizeof *virts; i++) {
		if (strcmp(virts[i].name, name) != 0)
			continue;
		if (virts[i].files_only && !S_ISREG(a.mode))
			return -ENODATA;
		return virts[i].get(f, &a, out);
	}
	return err != 0 ? err : -ENODATA;
}

/* --- requests --- */

static bool
is_virtual(const char *name)
{
	return strncmp(name, PREFIX, sizeof PREFIX - 1) == 0;
}

static void
reply_sized(fuse_req_t req, int err, struct buf *b, size_t size)
{
	if (err == 0)
		err = buf_err(b);
	if (err != 0)
		fuse_reply_err(req, -err);
	else if (size == 0)
		fuse_reply_xattr(req, b->len);
	else if (b->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (char *)b->p, b->len);
	buf_done(b);
}

/* An attribute that means something to the system, and nothing here: to take
 * system.posix_acl_access and let it be would undo `cp -p`, which sets the
 * mode through it and believes that it was. */
static bool
is_system(const char *name)
{
	return strncmp(name, "system.", 7) == 0;
}

void
op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	struct fs *f = req_fs(req);
	uint64_t ino = node_ino(f, node);
	struct buf b = BUF_INIT;
	struct sqc *c = NULL;
	int err;

	counter_add(fuse_requests, 1);
	if (is_virtual(name))
		err = get_virtual(f, ino, name, &b);
	else if (is_system(name))
		err = -EOPNOTSUPP;
	else if (vnode_has_no_xattrs(f, ino))
		err = -ENODATA;
	else {
		err = sq_read(meta_sq(f->meta), &c);
		if (err == 0)
			err = meta_getxattr(c, ino, name, &b);
		sq_read_end(c);
	}
	reply_sized(req, err, &b, size);
}

void
op_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
	struct fs *f = req_fs(req);
	struct buf b = BUF_INIT;
	struct sqc *c = NULL;
	int err;

	counter_add(fuse_requests, 1);
	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_listxattr(c, node_ino(f, node), &b);
	sq_read_end(c);
	reply_sized(req, err, &b, size);
}

void
op_setxattr(fuse_req_t req, fuse_ino_t node, const char *name,
    const char *value, size_t n, int flags)
{
	struct fs *f = req_fs(req);

	counter_add(fuse_requests, 1);
	fuse_reply_err(req, is_virtual(name) ? EPERM :
	    is_system(name) ? EOPNOTSUPP : -tree_setxattr(f,
	    node_ino(f, node), name, value, n, flags));
}

void
op_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct fs *f = req_fs(req);

	counter_add(fuse_requests, 1);
	fuse_reply_err(req, is_virtual(name) ? EPERM :
	    is_system(name) ? EOPNOTSUPP :
	    -tree_removexattr(f, node_ino(f, node), name));
}

/*
 * import_attach: what is loaded becomes part of the namespace in one
 * transaction: parents, the store if it is new, the attach; then in the log.
 */
#include "fs/import_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "meta/journal.h"
#include "meta/query.h"
#include "meta/refresh.h"

const char *
import_last_part(const char *path, size_t *retparent)
{
	const char *slash = strrchr(path, '/');

	*retparent = slash != NULL ? (size_t)(slash - path) : 0;
	return slash != NULL ? slash + 1 : path;
}

/* The directory `name` of parent, made if it is not there. */
static int
parent_step(struct importing *im, struct sqc *c, uint64_t *parent,
    const char *name)
{
	struct attr a;
	struct op op = {
		.kind = OP_MKDIR,
		.parent = *parent,
		.name = name,
		.mode = S_IFDIR | 0755,
		.uid = im->r->uid,
		.gid = im->r->gid,
		.mtime = clock_real(),
	};
	int err;

	err = meta_lookup(c, *parent, name, &a);
	if (err == 0) {
		*parent = a.ino;
		return S_ISDIR(a.mode) ? 0 : -ENOTDIR;
	}
	if (err != -ENOENT)
		return err;
	op.atime = op.ctime = op.mtime;
	op.ino = meta_new_id(im->f->meta);
	if (op.ino == 0)
		return -EROFS;
	if (im->made_in == 0) {
		im->made_in = *parent;
		memcpy(im->made, name, strlen(name) + 1);
	}
	*parent = op.ino;
	return journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0, NULL);
}

static int
make_parents(struct importing *im, struct sqc *c, uint64_t *retparent)
{
	const char *p = im->r->path;
	uint64_t parent = META_ROOT;
	char name[META_NAME_MAX + 1];
	size_t np, n;
	int err = 0;

	(void)import_last_part(im->r->path, &np);
	while (err == 0 && p < im->r->path + np) {
		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (p >= im->r->path + np)
			break;
		if (n > META_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, p, n);
		name[n] = '\0';
		err = parent_step(im, c, &parent, name);
		p += n;
	}
	*retparent = parent;
	return err;
}

struct attaching { struct importing *im; uint64_t parent, seq; };

/* An empty directory that stands there is replaced. */
static int
clear_place(struct importing *im, struct sqc *c, uint64_t parent,
    const char *name)
{
	struct op op = { .kind = OP_RMDIR, .parent = parent, .name = name,
	    .ctime = clock_real() };
	struct attr a;
	int err;

	err = meta_lookup(c, parent, name, &a);
	if (err == -ENOENT)
		return 0;
	if (err != 0)
		return err;
	if (!S_ISDIR(a.mode))
		return -EEXIST;
	op.ino = a.ino;
	err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0, NULL);
	return err == -ENOTEMPTY ? -EEXIST : err;
}

/* Where it is from, for a refresh. */
static int
note_origin(struct importing *im, struct sqc *c)
{
	const struct import_request *r = im->r;
	struct import_row row = { .root = im->st.lo, .store = im->store_id,
	    .file_mode = r->file_mode >= 0 ? (uint32_t)r->file_mode & 0777 :
	    0644, .prefix = im->prefix, .tags = r->tags ? "" : NULL };
	struct buf body = BUF_INIT;
	struct op op;
	int err;

	err = import_row_op(&row, &body, &op);
	if (err == 0)
		err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0,
		    NULL);
	buf_done(&body);
	return err;
}

static int
attach_fn(struct sqc *c, void *arg)
{
	struct attaching *a = arg;
	struct importing *im = a->im;
	struct op op = {
		.kind = OP_ATTACH,
		.ino = im->st.lo,
		.ino2 = im->st.hi,
		.mtime = clock_real(),
		.value = im->hashes.p,
		.nvalue = im->hashes.len,
	};
	size_t np;
	int err = 0;

	if (im->store_is_new)
		err = import_add_store(im, c);
	if (err == 0)
		err = make_parents(im, c, &a->parent);
	op.parent = a->parent;
	op.name = import_last_part(im->r->path, &np);
	op.ctime = op.mtime;
	if (err == 0)
		err = clear_place(im, c, a->parent, op.name);
	if (err == 0)
		err = note_origin(im, c);
	if (err == 0)
		err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0,
		    &a->seq);
	return err;
}

int
import_attach(struct importing *im, struct why *why)
{
	struct attaching a = { im, 0, 0 };
	struct fs *f = im->f;
	int64_t t0 = clock_mono();
	size_t np;
	int err;

	err = fs_may_write(f);	/* L13: what came before took its time */
	if (err != 0)
		return why_set(why, err, "this mount became read-only; `gnsfs"
		    " status` says why");
	err = sq_write(meta_sq(f->meta), attach_fn, &a);
	if (err < 0)
		return why_set(why, err, "'%s': %s", im->r->path,
		    err == -EAGAIN ? "another store was added meanwhile; try"
		    " again" : err == -EROFS ? "what is above it is an import"
		    ", which is read-only; choose another path" :
		    strerror(-err));
	/* it is in the namespace now: nothing is taken back any more */
	im->loaded = false;
	im->n = 0;
	if (im->made_in != 0) {
		fs_inval_entry(f, im->made_in, im->made);
		fs_inval_inode(f, im->made_in);
	}
	if (f->front != NULL) {
		fs_inval_entry(f, a.parent, import_last_part(im->r->path, &np));
		fs_inval_inode(f, a.parent);
	}
	if (im->store_is_new)
		(void)stores_reload(f);
	err = ship_land(f, a.seq, why);
	im->t_land = clock_mono() - t0;
	if (err != 0)
		why_prefix(why, err, "'%s' is imported here, but not yet in"
		    " the log", im->r->path);
	return err;
}

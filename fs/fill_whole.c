/* fill_whole: see fill.h.  Whole files, for pins, warm and sync. */
#include "fs/fill_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cache/small.h"
#include "fs/content.h"

struct whole {
	struct fs	*f;
	struct vnode	*v;
	struct bfile	*b;
	int		(*done)(void *arg, uint64_t bytes);
	void		*arg;
};

static int
fill_large(struct whole *w, uint64_t size)
{
	uint64_t chunk, last = (size - 1) / CACHE_CHUNK, ahead;
	struct handle h = { .v = w->v };
	char byte;
	ssize_t r;

	for (chunk = 0; chunk <= last; chunk++) {
		uint64_t off = chunk * CACHE_CHUNK;
		uint64_t len = size - off < CACHE_CHUNK ? size - off :
		    CACHE_CHUNK;

		ahead = chunk + 4 * RUN_CHUNKS;
		if (chunk % RUN_CHUNKS == 0)
			fill_start(w->f, w->v, w->b, size, chunk,
			    ahead < last ? ahead : last, 0, WORK_BACKGROUND);
		while (bfile_has(w->b, off, len) != 1) {
			r = fill_read_piece(w->f, &h, w->b, size, &byte, 1,
			    off + len - 1,
			    clock_mono() + 2 * w->f->opt.io_timeout);
			if (r < 0)
				return (int)r;
			if (bfile_has(w->b, off, len) != 1 &&
			    cache_room(w->f->cache, len, false) != 0)
				return -ENOSPC;
		}
		if (w->done != NULL && w->done(w->arg, len) != 0)
			return -ECANCELED;
	}
	return 0;
}

static int
fill_whole(struct whole *w, bool verify)
{
	struct fs *f = w->f;
	int err, tries;

	err = content_small_enter(f, w->v, false);
	if (err == -EFBIG) {
		err = 0;
		if (w->v->b == NULL) {
			err = bfile_make(f->cache, w->v->ino, w->v->attr.size,
			    &w->b);
			if (err == 0)
				vnode_set_backing(w->v, w->b);
		}
		w->b = vnode_backing(w->v);
	}
	vnode_leave(w->v);
	if (err != 0 || w->b == NULL) {
		if (err == 0 && w->done != NULL)
			(void)w->done(w->arg, w->v->attr.size);
		return err;
	}
	for (tries = 0; tries < 3; tries++) {
		if (fill_size(w->v) > 0 && !bfile_is_complete(w->b))
			err = fill_large(w, fill_size(w->v));
		if (err != 0 || !verify)
			return err;
		err = bfile_verify(w->b);
		if (err != -EUCLEAN)
			return err;
		err = 0;	/* damaged chunks are absent now: again */
	}
	return -EUCLEAN;
}

/* A small file's row, read back from disk. */
static int
verify_small(struct fs *f, struct vnode *v)
{
	struct extents *x = NULL;
	int err;

	err = content_extents(f, v, 0, META_SMALL_MAX, &x);
	if (err == 0 && x->n == 1 && x->v[0].off == 0) {
		struct small_id id = { v->ino, x->v[0].object, x->v[0].ooff,
		    x->v[0].len };

		err = small_verify(f->cache, &id);
	}
	free(x);
	return err;
}

int
io_fill_whole(struct fs *f, uint64_t ino, bool verify,
    int (*done)(void *arg, uint64_t bytes), void *arg, struct why *why)
{
	struct whole w = { .f = f, .done = done, .arg = arg };
	int err, tries;

	err = vnode_get(f, ino, &w.v);
	if (err == 0)
		err = vnode_load(f, w.v);
	for (tries = 0; err == 0 && tries < 3; tries++) {
		err = fill_whole(&w, verify);
		if (err != 0 || w.b != NULL || !verify)
			break;
		err = verify_small(f, w.v);
		if (err != -EUCLEAN && err != -ENOENT)
			break;
		vnode_enter(w.v);	/* fetched afresh */
		w.v->have_bytes = false;
		vnode_leave(w.v);
		err = 0;
	}
	bfile_put(w.b);
	vnode_put(f, w.v);
	if (err != 0)
		why_set(why, err, "inode %llu could not be fetched: %s",
		    (unsigned long long)ino, strerror(-err));
	return err;
}

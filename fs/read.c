/*
 * Reading: from the vnode's content to the caller's buffer.
 *
 * A small file is loaded whole and answered from memory while it is open; a
 * large one is read from its backing file where its bytes are, and through
 * fill.c where they are not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counters.h"
#include "fs/content.h"
#include "fs/fill.h"
#include "fs/io.h"
#include "fs/sums.h"

_Thread_local bool (*io_interrupted)(void *arg);
_Thread_local void *io_interrupted_arg;
_Thread_local int64_t io_deadline;

int64_t
io_until(const struct fs *f)
{
	return io_deadline != 0 ? io_deadline :
	    clock_mono() + f->opt.io_timeout;
}

/* The live size: the backing file's while it is dirty (F3). */
static uint64_t
size_of(struct vnode *v, struct bfile *b)
{
	uint64_t size;

	lock_take(&v->lock);
	size = v->attr.size;
	lock_drop(&v->lock);
	return b != NULL && bfile_is_dirty(b) ? bfile_size(b) : size;
}

static int
clip(uint64_t size, uint64_t off, size_t *n)
{
	if (off >= size)
		return 0;
	if (*n > size - off)
		*n = size - off;
	return 1;
}

int
io_read_local(struct fs *f, struct handle *h, uint64_t off, size_t n,
    struct bfile **ret, size_t *retn, unsigned *retturn)
{
	struct bfile *b = vnode_backing(h->v);

	if (b == NULL)
		return -EAGAIN;
	if (!clip(size_of(h->v, b), off, &n))
		n = 0;
	*retturn = bfile_read_begin(b);
	if (n > 0 && bfile_has(b, off, n) != 1) {
		bfile_read_end(b, *retturn);
		bfile_put(b);
		return -EAGAIN;
	}
	counter_add(cache_hits, 1);
	fill_note_read(f, h, off, n);
	*ret = b;
	*retn = n;
	return 0;
}

void
io_offer(struct fs *f, struct handle *h,
    void (*take)(void *arg, const void *p, size_t n), void *arg)
{
	struct vnode *v = h->v;

	vnode_enter(v);
	if (v->opens == 1 && v->writers == 0 && v->b == NULL &&
	    !v->unlinked && content_small_here(f, v) == 0 && v->bytes.len > 0)
		take(arg, v->bytes.p, v->bytes.len);
	vnode_leave(v);
}

/* Makes v->b or v->bytes be there. */
static int
prepare(struct fs *f, struct vnode *v)
{
	struct bfile *b = NULL;
	int err;

	err = content_small_enter(f, v, true);
	if (err == -EFBIG) {
		err = 0;
		if (v->b == NULL)
			err = bfile_make(f->cache, v->ino, v->attr.size, &b);
		if (b != NULL)
			vnode_set_backing(v, b);
	}
	vnode_leave(v);
	return err;
}

/* --- without keeping --- */

/* Straight from the stores: no backing file could be made.  A full cache
 * makes reads slow, it never fails them (DESIGN section 6). */
static ssize_t
read_through(struct fs *f, struct vnode *v, char *buf, size_t n, uint64_t off)
{
	struct extents *x = NULL;
	unsigned i;
	int err;

	if (!clip(size_of(v, NULL), off, &n))
		return 0;
	err = content_extents(f, v, off, n, &x);
	if (err == 0)
		memset(buf, 0, n);	/* holes */
	for (i = 0; err == 0 && i < x->n; i++) {
		const struct extent *e = &x->v[i];
		uint64_t from = e->off > off ? e->off : off;
		uint64_t to = e->off + e->len < off + n ? e->off + e->len :
		    off + n;
		struct content_into t = { buf + (from - off), to - from };

		if (from >= to)
			continue;
		err = content_fetch(f, e, e->ooff + (from - e->off), to - from,
		    "read", content_into, &t);
		if (err == 0 && t.left > 0)
			err = -EIO;
	}
	if (err == 0)
		err = sums_check(f, x, off, buf, n);
	free(x);
	return err != 0 ? err : (ssize_t)n;
}

static bool
is_full(int err)
{
	return err == -ENOSPC || err == -EDQUOT || err == -ENFILE ||
	    err == -EMFILE;
}

static ssize_t
read_small(struct vnode *v, void *buf, size_t n, uint64_t off)
{
	ssize_t r = -EAGAIN;

	lock_take(&v->lock);
	if (v->b == NULL && v->have_bytes) {
		r = 0;
		if (clip(v->bytes.len, off, &n)) {
			memcpy(buf, v->bytes.p + off, n);
			r = (ssize_t)n;
		}
	}
	lock_drop(&v->lock);
	return r;
}

/* From the backing file, where all of it is here; else by fetching. */
static ssize_t
read_backing(struct fs *f, struct handle *h, struct bfile *b, void *buf,
    size_t n, uint64_t off)
{
	unsigned turn = bfile_read_begin(b);
	bool here = bfile_has(b, off, n) == 1;
	ssize_t r = 0;

	if (here) {
		counter_add(cache_hits, 1);
		fill_note_read(f, h, off, n);
		r = bfile_read(b, buf, n, off);
	}
	bfile_read_end(b, turn);
	return here ? r : fill_read(f, h, b, buf, n, off);
}

ssize_t
io_read(struct fs *f, struct handle *h, void *buf, size_t n, uint64_t off)
{
	struct vnode *v = h->v;
	struct bfile *b;
	ssize_t r = -EAGAIN;
	int tries;

	/* The representation may change between two steps; each change is a
	 * settling or a first write, so a few rounds are always enough. */
	for (tries = 0; r == -EAGAIN && tries < 16; tries++) {
		b = vnode_backing(v);
		if (b == NULL) {
			r = read_small(v, buf, n, off);
			if (r == -EAGAIN) {
				int err = prepare(f, v);

				if (is_full(err))
					return read_through(f, v, buf, n, off);
				if (err != 0)
					return err;
			}
			continue;
		}
		if (!clip(size_of(v, b), off, &n))
			r = 0;
		else
			r = read_backing(f, h, b, buf, n, off);
		bfile_put(b);
	}
	return r == -EAGAIN ? -EIO : r;
}

off_t
io_lseek(struct fs *f, struct handle *h, uint64_t off, int whence)
{
	struct bfile *b = vnode_backing(h->v);
	uint64_t size = size_of(h->v, b);
	off_t r;

	if (off >= size)
		r = -ENXIO;
	else if (b != NULL && bfile_is_complete(b))
		r = bfile_seek(b, off, whence);
	else
		r = whence == SEEK_HOLE ? (off_t)size : (off_t)off;
	bfile_put(b);
	return r;
}

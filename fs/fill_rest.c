/* fill_rest: see fill_impl.h. */
#include "fs/fill_impl.h"

#include "base/counters.h"
#include "meta/query.h"
#include "meta/whole.h"

static bool
has_room(struct fs *f, uint64_t size)
{
	struct cache_stat s;
	uint64_t all, taken;

	cache_stat(f->cache, &s);
	all = s.used + s.disk_free < s.limit ? s.used + s.disk_free : s.limit;
	taken = s.dirty + s.pinned + s.reserved;
	return taken < all && size <= (all - taken) / 2;
}

/* The next eight chunks, if they are to be fetched now: counted as a run until
 * they are. */
static bool
take_next(struct fs *f, struct vnode *v, uint64_t *retfirst, uint64_t *retlast)
{
	struct fill_rest *r = &v->rest;
	uint64_t last;
	bool go;

	lock_take(&v->lock);
	if ((v->opens == 0 && !r->unasked) || v->attr.size == 0)
		r->on = false;
	last = v->attr.size > 0 ? (v->attr.size - 1) / CACHE_CHUNK : 0;
	if (last > r->last)
		last = r->last;
	go = r->on && r->next <= last && r->runs < (f->fill->runs + 1) / 2;
	if (go) {
		*retfirst = r->next;
		r->next += RUN_CHUNKS;
		*retlast = r->next - 1 < last ? r->next - 1 : last;
		r->runs++;
	} else if (r->runs == 0)
		r->on = false;
	lock_drop(&v->lock);
	return go;
}

static void
go_on(struct fs *f, struct vnode *v, struct bfile *b)
{
	uint64_t first, last;

	while (take_next(f, v, &first, &last)) {
		fill_start_rest(f, v, b, fill_size(v), first, last);
		lock_take(&v->lock);
		v->rest.runs--;
		lock_drop(&v->lock);
	}
}

void
fill_rest_start(struct fs *f, struct vnode *v, struct bfile *b, bool unasked)
{
	uint64_t size = fill_size(v);
	bool begun;

	lock_take(&v->lock);
	begun = size > 0 && !v->rest.on && (!v->rest.over || unasked);
	v->rest.over = true;
	lock_drop(&v->lock);
	if (!begun || !has_room(f, size))
		return;
	lock_take(&v->lock);
	begun = !v->rest.on;
	if (begun) {
		v->rest.on = true;
		v->rest.unasked = unasked;
		v->rest.next = 0;
		v->rest.last = (size - 1) / CACHE_CHUNK;
	}
	lock_drop(&v->lock);
	if (begun) {
		counter_add(fills_whole, 1);
		go_on(f, v, b);
	}
}

void
fill_rest_ended(struct fs *f, struct vnode *v, struct bfile *b, bool well)
{
	lock_take(&v->lock);
	v->rest.runs--;
	if (!well)
		v->rest.on = false;
	lock_drop(&v->lock);
	go_on(f, v, b);
}

static bool
is_wanted_whole(struct fs *f, uint64_t ino)
{
	struct whole_row r = { 0 };
	struct sqc *c = NULL;
	int err = sq_read(meta_sq(f->meta), &c);

	if (err == 0)
		err = whole_of(c, ino, &r);
	sq_read_end(c);
	return err == 0 && r.whole;
}

void
fill_opened(struct fs *f, struct handle *h)
{
	struct vnode *v = h->v;
	struct bfile *b = NULL;

	/* what is small comes at once */
	if (h->passed || v->unlinked || v->attr.size <= META_SMALL_MAX ||
	    (v->b != NULL && bfile_is_complete(v->b)) ||
	    !is_wanted_whole(f, v->ino))
		return;
	if (v->b == NULL &&
	    bfile_make(f->cache, v->ino, v->attr.size, &b) == 0)
		vnode_set_backing(v, b);
	if (v->b != NULL)
		fill_rest_start(f, v, v->b, true);
}

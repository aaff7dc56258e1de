/* See content.h. */
#include "fs/content.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "base/log.h"
#include "cache/small.h"
#include "fs/io.h"
#include "fs/stores.h"
#include "meta/journal.h"

/* Fewer bytes than that in io_timeout are as good as none. */
#define SLOWEST		(256u << 10)

/* --- extents --- */

struct gather {
	struct buf	 fixed;		/* struct extent, keys as offsets */
	struct buf	 text;
	unsigned	 n;
};

static int
gather_extent(void *arg, const struct meta_extent *m)
{
	struct gather *g = arg;
	struct extent e = { .off = m->off, .len = m->len,
	    .object = m->object, .ooff = m->ooff, .crc = m->crc,
	    .store = m->store };

	e.key = (char *)g->text.len;
	buf_put(&g->text, m->key, strlen(m->key) + 1);
	e.version = (char *)g->text.len;
	buf_put(&g->text, m->version, strlen(m->version) + 1);
	buf_put(&g->fixed, &e, sizeof e);
	g->n++;
	return 0;
}

static int
gathered(struct gather *g, uint64_t size, struct extents **ret)
{
	struct extents *x;
	char *text;
	unsigned i;

	if (buf_err(&g->fixed) != 0 || buf_err(&g->text) != 0)
		return -ENOMEM;
	x = malloc(sizeof *x + g->fixed.len + g->text.len);
	if (x == NULL)
		return -ENOMEM;
	x->size = size;
	x->n = g->n;
	if (g->n > 0) {
		memcpy(x->v, g->fixed.p, g->fixed.len);
		text = (char *)(x->v + g->n);
		memcpy(text, g->text.p, g->text.len);
		for (i = 0; i < x->n; i++) {
			x->v[i].key = text + (size_t)x->v[i].key;
			x->v[i].version = text + (size_t)x->v[i].version;
		}
	}
	*ret = x;
	return 0;
}

static int
extents_of(struct sqc *c, uint64_t ino, uint64_t size, uint64_t off,
    uint64_t len, struct extents **ret)
{
	struct gather g = { .fixed = BUF_INIT };
	int err;

	err = meta_extents(c, ino, off, len, gather_extent, &g);
	if (err == 0)
		err = gathered(&g, size, ret);
	buf_done(&g.fixed);
	buf_done(&g.text);
	return err;
}

static struct extents *
extents_copy(const struct extents *h)
{
	struct gather g = { .fixed = BUF_INIT };
	struct extents *x = NULL;
	unsigned i;

	for (i = 0; i < h->n; i++) {
		struct meta_extent m = { .off = h->v[i].off,
		    .len = h->v[i].len, .object = h->v[i].object,
		    .ooff = h->v[i].ooff, .crc = h->v[i].crc,
		    .store = h->v[i].store, .key = h->v[i].key,
		    .version = h->v[i].version };

		(void)gather_extent(&g, &m);
	}
	(void)gathered(&g, h->size, &x);
	buf_done(&g.fixed);
	buf_done(&g.text);
	return x;
}

int
content_extents(struct fs *f, struct vnode *v, uint64_t off, uint64_t len,
    struct extents **ret)
{
	struct sqc *c = NULL;
	struct extents *x = NULL;
	int err;

	lock_take(&v->lock);
	if (v->held != NULL)
		x = extents_copy(v->held);
	lock_drop(&v->lock);
	if (x != NULL) {
		*ret = x;
		return 0;
	}
	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = extents_of(c, v->ino, v->attr.size, off, len, ret);
	sq_read_end(c);
	return err;
}

/* A hole's zeros up to the size; the size is what the tree says now. */
static int
fit(struct buf *b, uint64_t size)
{
	if (b->len > size)
		b->len = size;
	if (b->len < size) {
		size_t n = size - b->len;
		void *p = buf_grow(b, n);

		if (p == NULL)
			return -ENOMEM;
		memset(p, 0, n);
		b->len = size;
	}
	return 0;
}

void
content_hold(struct fs *f, struct vnode *v)
{
	struct extents *x = NULL;
	struct sqc *c = NULL;

	struct buf row = BUF_INIT;

	if (v->held != NULL || v->attr.size == 0)
		return;
	if (sq_read(meta_sq(f->meta), &c) == 0) {
		(void)extents_of(c, v->ino, v->attr.size, 0, v->attr.size, &x);
		/* a row that no store has goes when the unlinking lands */
		if (v->b == NULL && !v->have_bytes)
			(void)unstored_get(c, v->ino, &row);
	}
	sq_read_end(c);
	lock_take(&v->lock);
	v->held = x;
	if (row.len > 0 && fit(&row, v->attr.size) == 0) {
		buf_done(&v->bytes);
		v->bytes = row;
		v->have_bytes = true;
		row = (struct buf)BUF_INIT;
	}
	lock_drop(&v->lock);
	buf_done(&row);
}

/* --- fetching --- */

struct counted { store_sink *sink; void *arg; uint64_t n; };

static int
counted_sink(void *arg, const void *p, size_t n)
{
	struct counted *c = arg;
	int stop = c->sink(c->arg, p, n);

	if (stop == 0)
		c->n += n;
	return stop;
}

/* Gets all of it, however long that takes, as long as bytes come: a slow link
 * is no outage. */
static enum store_rc
fetch_all(struct fs *f, struct store *store, const struct extent *e,
    uint64_t ooff, uint64_t len, struct store_call *call, struct counted *c)
{
	struct store_version version;
	enum store_rc rc;
	uint64_t had;

	snprintf(version.text, sizeof version.text, "%s", e->version);
	do {
		had = c->n;
		call->why->text[0] = '\0';
		call->deadline = io_until(f);
		rc = store_get(store, call, e->key, &version, ooff + had,
		    len - had, counted_sink, c, NULL);
	} while (rc == STORE_UNREACHABLE && io_deadline == 0 && c->n < len &&
	    c->n - had >= SLOWEST);
	return rc;
}

static int
fetch_errno(struct fs *f, const struct extent *e, enum store_rc rc)
{
	switch (rc) {
	case STORE_OK:
		return 0;
	case STORE_CHANGED:
		return -ESTALE;						/* B5 */
	case STORE_DENIED:
		return -EACCES;
	case STORE_NOMEM:
		return -ENOMEM;
	case STORE_UNREACHABLE:
	case STORE_THROTTLED:
		return -EHOSTUNREACH;
	default:
		return stores_is_down(f, e->store) ? -EHOSTUNREACH : -EIO;
	}
}

int
content_fetch(struct fs *f, const struct extent *e, uint64_t ooff,
    uint64_t len, const char *tag, store_sink *sink, void *arg)
{
	struct counted c = { .sink = sink, .arg = arg };
	struct store *store = NULL;
	struct why why = { "" };
	struct store_call call = { .why = &why, .tag = tag,
	    .cancel = &f->stopping };
	enum store_rc rc;
	int err;

	if (stores_is_down(f, e->store))
		return -EHOSTUNREACH;
	err = stores_get(f, e->store, &store, &why);
	if (err != 0) {
		log_warn("store cannot be used", "store=%u why=%s", e->store,
		    LOG_Q(why.text));
		return -EIO;
	}
	rc = fetch_all(f, store, e, ooff, len, &call, &c);
	stores_result(f, e->store, rc, &why);
	if (rc != STORE_OK)
		log_warn("fetch failed", "store=%u key=%s rc=%s why=%s",
		    e->store, LOG_Q(e->key), store_rc_name(rc),
		    LOG_Q(why.text));
	return fetch_errno(f, e, rc);
}

struct small_sink { struct buf *out; size_t max; };

static int
small_sink(void *arg, const void *p, size_t n)
{
	struct small_sink *s = arg;

	if (s->out->len + n > s->max)
		return 1;
	buf_put(s->out, p, n);
	return buf_err(s->out);
}

/* A small file's bytes on their way; all zero to begin with. */
struct small_fetch {
	struct extents	*x;		/* the one extent; NULL: none yet */
	struct small_id	 id;
	struct buf	 bytes;
	bool		 have;
};

static void
small_fetch_done(struct small_fetch *s)
{
	free(s->x);
	buf_done(&s->bytes);
	*s = (struct small_fetch){ .x = NULL };
}

static int
fetch_small(struct fs *f, struct small_fetch *s)
{
	const struct extent *e = &s->x->v[0];
	struct small_sink sink = { .out = &s->bytes, .max = e->len };
	struct small_put put = { .id = s->id };
	int err;

	err = content_fetch(f, e, e->ooff, e->len, "small", small_sink, &sink);
	if (err != 0)
		return err;
	if (s->bytes.len != e->len || (e->crc >= 0 && crc32c(0, s->bytes.p,
	    s->bytes.len) != (uint32_t)e->crc)) {
		log_error("a store's bytes are not what was stored there",
		    "ino=%llu store=%u key=%s off=%llu len=%llu",
		    (unsigned long long)s->id.ino, e->store, LOG_Q(e->key),
		    (unsigned long long)e->ooff, (unsigned long long)e->len);
		return -EIO;
	}
	counter_add(fill_bytes, (int64_t)e->len);
	put.p = s->bytes.p;
	if (cache_room(f->cache, e->len, false) == 0)
		(void)small_put(f->cache, &put, 1);
	s->have = true;
	return 0;
}

/* From small.db or what was fetched; -ENODATA: *s says what is to be. */
static int
small_from_extents(struct fs *f, struct vnode *v, const struct extents *x,
    struct small_fetch *s)
{
	const struct extent *e = &x->v[0];
	struct small_id id;
	int err;

	if (x->n != 1 || e->off != 0 || e->len > META_SMALL_MAX)
		return -EFBIG;
	id = (struct small_id){ v->ino, e->object, e->ooff, e->len };
	err = small_get(f->cache, &id, &v->bytes);
	if (err != -ENOENT) {
		counter_add(cache_hits, 1);
		return err;
	}
	if (s->have && memcmp(&id, &s->id, sizeof id) == 0) {
		buf_done(&v->bytes);
		v->bytes = s->bytes;
		s->bytes = (struct buf)BUF_INIT;
		return 0;
	}
	small_fetch_done(s);
	s->id = id;
	s->x = extents_copy(x);
	return s->x != NULL ? -ENODATA : -ENOMEM;
}

/* content_small with what is here; -ENODATA as small_from_extents. */
static int
small_local(struct fs *f, struct vnode *v, struct small_fetch *s)
{
	struct extents *x = NULL;
	struct sqc *c = NULL;
	struct attr a = { .size = v->attr.size };
	int err;

	if (v->have_bytes)
		return 0;
	buf_reset(&v->bytes);
	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0 && v->held == NULL) {
		err = meta_getattr(c, v->ino, &a);
		if (err == -ENOENT && v->unlinked)
			err = 0;
	}
	if (err == 0 && a.size > META_SMALL_MAX)
		err = -EFBIG;
	if (err == 0 && a.size > 0) {
		err = unstored_get(c, v->ino, &v->bytes);
		if (err == 0)
			counter_add(cache_hits, 1);
		if (err == -ENOENT)
			err = v->held != NULL ? 0 :
			    extents_of(c, v->ino, a.size, 0, a.size, &x);
	}
	sq_read_end(c);
	if (err == 0 && (x != NULL || v->held != NULL) && v->bytes.len == 0 &&
	    (x != NULL ? x : v->held)->n > 0)
		err = small_from_extents(f, v, x != NULL ? x : v->held, s);
	if (err == 0)
		err = fit(&v->bytes, a.size);
	if (err == 0) {
		lock_take(&v->lock);
		v->attr.size = a.size;
		v->have_bytes = true;
		lock_drop(&v->lock);
	}
	free(x);
	return err;
}

int
content_small(struct fs *f, struct vnode *v)
{
	struct small_fetch s = { .x = NULL };
	int err;

	err = small_local(f, v, &s);
	if (err == -ENODATA)
		err = fetch_small(f, &s);
	if (err == 0 && s.have)
		err = small_local(f, v, &s);
	small_fetch_done(&s);
	return err == -ENODATA ? -EIO : err;
}

int
content_small_enter(struct fs *f, struct vnode *v)
{
	struct small_fetch s = { .x = NULL };
	int err;

	for (;;) {
		vnode_enter(v);
		err = v->b != NULL ? -EFBIG : small_local(f, v, &s);
		if (err != -ENODATA)
			break;
		vnode_leave(v);
		err = fetch_small(f, &s);
		if (err == 0)
			continue;
		vnode_enter(v);
		break;
	}
	small_fetch_done(&s);
	return err;
}

/* --- dropping --- */

static int
forget_tx(struct sqc *c, void *arg)
{
	return bfile_forget_tx(c, arg);
}

void
content_forget(struct fs *f, struct bfile *b)
{
	int err = sq_write(meta_sq(f->meta), forget_tx, b);

	if (err == 0)
		bfile_forget(b);
	else
		log_error("a file's local bytes could not be dropped",
		    "ino=%llu err=%d", (unsigned long long)bfile_ino(b), err);
}

void
content_drop(struct fs *f, uint64_t ino)
{
	struct bfile *b = NULL;

	if (bfile_get(f->cache, ino, &b) == 0) {
		content_forget(f, b);
		bfile_put(b);
	}
}

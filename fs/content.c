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
#include "fs/ahead.h"
#include "fs/flight.h"
#include "fs/io.h"
#include "fs/stores.h"
#include "fs/sums.h"
#include "meta/journal.h"

#define SOON		(3 * NSEC_PER_SEC)	/* where there is another */
#define SOON_RATE	(1u << 20)		/* and bytes a second */

/* Fewer bytes than that in io_timeout are as good as none. */
#define SLOWEST		(256u << 10)

/* --- places --- */

struct place { uint32_t store; unsigned rank; size_t key, version; };
struct places { struct fs *f; struct buf v, text; };

static int
place_add(void *arg, const struct meta_location *l)
{
	struct places *p = arg;
	struct place one = { l->store, stores_rank(p->f, l->store) };

	one.key = p->text.len;
	buf_put(&p->text, l->key, strlen(l->key) + 1);
	one.version = p->text.len;
	buf_put(&p->text, l->version, strlen(l->version) + 1);
	buf_put(&p->v, &one, sizeof one);
	return 0;
}

static int
by_rank(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->store < y->store ? -1 : x->store > y->store;
}

static int
locations_of(struct fs *f, struct sqc *c, uint64_t object,
    struct locations **ret)
{
	struct places p = { .f = f };
	struct locations *l = NULL;
	const struct place *v;
	size_t i, n;
	char *text;
	int err;

	err = meta_locations(c, object, place_add, &p);
	if (err == 0 && (buf_err(&p.v) != 0 || buf_err(&p.text) != 0))
		err = -ENOMEM;
	n = p.v.len / sizeof *v;
	if (err == 0 && (l = malloc(sizeof *l + n * sizeof l->v[0] +
	    p.text.len)) == NULL)
		err = -ENOMEM;
	if (err == 0) {
		v = (void *)p.v.p;
		if (n > 1)
			qsort(p.v.p, n, sizeof *v, by_rank);
		text = (char *)(l->v + n);
		if (p.text.len > 0)
			memcpy(text, p.text.p, p.text.len);
		l->n = (unsigned)n;
		for (i = 0; i < n; i++)
			l->v[i] = (struct location){ v[i].store,
			    text + v[i].key, text + v[i].version };
		*ret = l;
	}
	buf_done(&p.v);
	buf_done(&p.text);
	return err;
}

int
content_locations(struct fs *f, uint64_t object, struct locations **ret)
{
	struct sqc *c = NULL;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = locations_of(f, c, object, ret);
	sq_read_end(c);
	return err;
}

/* --- extents --- */

struct gather {
	struct buf	 fixed;		/* struct extent, keys as offsets */
	struct buf	 text;
	unsigned	 n;
	struct sqc	*c;
	struct fs	*f;		/* NULL: places are as they were */
};

static int
gather_extent(void *arg, const struct meta_extent *m)
{
	struct gather *g = arg;
	struct extent e = { .off = m->off, .len = m->len,
	    .object = m->object, .ooff = m->ooff, .crc = m->crc,
	    .store = m->store, .kind = m->kind, .copies = m->copies };
	struct locations *l = NULL;
	const char *key = m->key, *version = m->version;

	if (g->f != NULL && m->copies > 1 && locations_of(g->f, g->c,
	    m->object, &l) == 0 && l->n > 0) {
		e.store = l->v[0].store;
		key = l->v[0].key;
		version = l->v[0].version;
	}
	e.key = (char *)g->text.len;
	buf_put(&g->text, key, strlen(key) + 1);
	e.version = (char *)g->text.len;
	buf_put(&g->text, version, strlen(version) + 1);
	free(l);
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
extents_of(struct fs *f, struct sqc *c, uint64_t ino, uint64_t size,
    uint64_t off, uint64_t len, struct extents **ret)
{
	struct gather g = { .fixed = BUF_INIT, .c = c, .f = f };
	int err;

	err = meta_extents(c, ino, off, len, gather_extent, &g);
	if (err == 0)
		err = gathered(&g, size, ret);
	buf_done(&g.fixed);
	buf_done(&g.text);
	return err;
}

int
content_extents_in(struct fs *f, struct sqc *c, uint64_t ino, uint64_t size,
    struct extents **ret)
{
	return extents_of(f, c, ino, size, 0, size, ret);
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
		    .store = h->v[i].store, .kind = h->v[i].kind,
		    .copies = h->v[i].copies, .key = h->v[i].key,
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
		err = extents_of(f, c, v->ino, v->attr.size, off, len, ret);
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
		(void)extents_of(f, c, v->ino, v->attr.size, 0, v->attr.size,
		    &x);
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

/* A read on its way: what one place gave, another goes on from. */
struct pour {
	store_sink	*sink;
	void		*arg;
	uint64_t	 done;
	bool		 stopped;	/* by the sink */
};

static int
pour_sink(void *arg, const void *p, size_t n)
{
	struct pour *o = arg;

	if (o->sink(o->arg, p, n) != 0) {
		o->stopped = true;
		return 1;
	}
	o->done += n;
	return 0;
}

/* How long one place is asked while there is another. */
static int64_t
soon(struct fs *f, uint64_t len)
{
	int64_t until = clock_mono() + SOON + (int64_t)(len / SOON_RATE) *
	    NSEC_PER_SEC, most = io_until(f);

	return until < most ? until : most;
}

/* Gets all of it, however long that takes, as long as bytes come: a slow link
 * is no outage. */
static enum store_rc
fetch_all(struct fs *f, struct store *store, const struct location *l,
    uint64_t ooff, uint64_t len, struct store_call *call, struct pour *o)
{
	struct store_version version;
	enum store_rc rc;
	uint64_t had;

	snprintf(version.text, sizeof version.text, "%s", l->version);
	do {
		had = o->done;
		call->why->text[0] = '\0';
		call->deadline = call->once ? soon(f, len - had) :
		    io_until(f);
		rc = store_get(store, call, l->key, &version, ooff + had,
		    len - had, pour_sink, o, NULL);
	} while (rc == STORE_UNREACHABLE && io_deadline == 0 &&
	    o->done < len && o->done - had >= SLOWEST);
	return rc;
}

static int
fetch_errno(struct fs *f, uint32_t store, enum store_rc rc)
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
		return stores_is_down(f, store) ? -EHOSTUNREACH : -EIO;
	}
}

/* What is left of [ooff, ooff+len) from one place.  others: there are more, so
 * it is asked once, and not for long. */
static int
fetch_at(struct fs *f, const struct location *l, uint64_t ooff, uint64_t len,
    const char *tag, bool others, struct pour *o)
{
	struct store *store = NULL;
	struct why why = { "" };
	struct store_call call = { .why = &why, .tag = tag, .once = others,
	    .cancel = &f->stopping };
	enum store_rc rc;
	int err;

	if (stores_is_down(f, l->store))
		return -EHOSTUNREACH;
	err = stores_get(f, l->store, &store, &why);
	if (err != 0) {
		log_warn("store cannot be used", "store=%u why=%s", l->store,
		    LOG_Q(why.text));
		return -EIO;
	}
	rc = fetch_all(f, store, l, ooff, len, &call, o);
	/* a hiccup of one request does not make a store one that is down */
	if (!others || rc == STORE_OK || rc == STORE_UNREACHABLE)
		stores_result(f, l->store, rc, &why);
	if (rc != STORE_OK)
		log_warn("fetch failed", "store=%u key=%s rc=%s why=%s",
		    l->store, LOG_Q(l->key), store_rc_name(rc),
		    LOG_Q(why.text));
	return fetch_errno(f, l->store, rc);
}

/* The places of an object whose first one failed with err, one by one, each
 * going on where the one before broke off; then once more the first, which
 * was not waited for. */
static int
fetch_elsewhere(struct fs *f, const struct extent *e, uint64_t ooff,
    uint64_t len, const char *tag, int err, struct pour *o)
{
	const struct location first = { e->store, e->key, e->version };
	struct locations *l = NULL;
	unsigned i;
	int rc;

	if (content_locations(f, e->object, &l) != 0)
		return err;
	for (i = 0; i < l->n && !o->stopped; i++) {
		if (l->v[i].store == e->store)
			continue;
		rc = fetch_at(f, &l->v[i], ooff, len, tag, true, o);
		if (rc == 0) {
			counter_add(reads_elsewhere, 1);
			err = 0;
			goto out;
		}
		if (rc == -EHOSTUNREACH)
			err = rc;	/* it may be there again */
	}
	if (!o->stopped && !stores_is_down(f, e->store))
		err = fetch_at(f, &first, ooff, len, tag, false, o);
out:
	free(l);
	return err;
}

int
content_fetch(struct fs *f, const struct extent *e, uint64_t ooff,
    uint64_t len, const char *tag, store_sink *sink, void *arg)
{
	const struct location first = { e->store, e->key, e->version };
	struct pour o = { .sink = sink, .arg = arg };
	int err;

	err = fetch_at(f, &first, ooff, len, tag, e->copies > 1, &o);
	if (err != 0 && err != -ENOMEM && e->copies > 1 && !o.stopped &&
	    !atomic_load(&f->stopping))
		err = fetch_elsewhere(f, e, ooff, len, tag, err, &o);
	return err;
}

int
content_into(void *arg, const void *p, size_t n)
{
	struct content_into *t = arg;

	if (n > t->left)
		return 1;
	memcpy(t->p, p, n);
	t->p += n;
	t->left -= n;
	return 0;
}

/* Wrong bytes came of e's object. */
static void
note_wrong(const struct extent *e, uint32_t store, const char *key,
    uint64_t ooff, uint64_t len)
{
	counter_add(bytes_wrong, 1);
	log_error("a store's bytes are not what was stored there",
	    "object=%llx store=%u key=%s off=%llu len=%llu",
	    (unsigned long long)e->object, store, LOG_Q(key),
	    (unsigned long long)ooff, (unsigned long long)len);
}

int
content_fetch_sum(struct fs *f, const struct extent *e, uint64_t ooff,
    uint64_t len, uint32_t crc, bool suspect, const char *tag, void *p)
{
	struct locations *l = NULL;
	int err, rc;
	unsigned i;

	if (suspect)
		note_wrong(e, e->store, e->key, ooff, len);
	err = content_locations(f, e->object, &l);
	if (l != NULL)
		err = -EIO;
	/* the first place, which was suspect, once more at the end */
	for (i = suspect; l != NULL && l->n > 0 && i <= l->n; i++) {
		const struct location *at = &l->v[i % l->n];
		struct content_into into = { p, len };
		struct pour o = { .sink = content_into, .arg = &into };

		rc = fetch_at(f, at, ooff, len, tag, i < l->n, &o);
		if (rc == 0 && into.left == 0 && crc32c(0, p, len) == crc) {
			if (i % l->n != 0)
				counter_add(reads_elsewhere, 1);
			err = 0;
			break;
		}
		if (rc == 0) {
			note_wrong(e, at->store, at->key, ooff, len);
			rc = -EIO;
		}
		if (err != -EHOSTUNREACH) /* it may be there again, right */
			err = rc;
		if (rc == -ENOMEM || atomic_load(&f->stopping))
			break;
	}
	free(l);
	return err;
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

/* From the store; x, if any, is told as soon as it is here. */
static int
fetch_small(struct fs *f, struct small_fetch *s, struct flight *x)
{
	const struct extent *e = &s->x->v[0];
	struct small_put put = { .id = s->id };
	struct content_into into = { buf_grow(&s->bytes, e->len), e->len };
	int err;

	if (into.p == NULL)
		return -ENOMEM;
	put.p = into.p;
	err = content_fetch(f, e, e->ooff, e->len, "small", content_into,
	    &into);
	if (err == 0 && e->crc < 0)
		err = into.left > 0 ? -EIO : sums_check(f, s->x, 0,
		    s->bytes.p, e->len);
	else if (err == 0 && (into.left > 0 ||
	    crc32c(0, put.p, e->len) != (uint32_t)e->crc))
		err = content_fetch_sum(f, e, e->ooff, e->len,
		    (uint32_t)e->crc, true, "small", s->bytes.p);
	if (err != 0)
		return err;
	s->bytes.len = e->len;
	if (x != NULL)
		flight_land(f, x, s->bytes.p);
	counter_add(fill_bytes, (int64_t)e->len);
	if (cache_room(f->cache, e->len, false) == 0)
		(void)small_put(f->cache, &put, 1);
	return 0;
}

/* By who is the one to fetch it: it may have come a moment ago. */
static int
small_first(struct fs *f, uint64_t ino, struct small_fetch *s,
    struct flight *x, bool read)
{
	int err = small_get(f->cache, &s->id, &s->bytes);

	if (err == 0)
		flight_land(f, x, s->bytes.p);
	else if (read)
		ahead_missed(f, ino, s->x->v[0].kind == OBJ_PACK);
	if (err != 0)
		err = fetch_small(f, s, x);
	/* others have until then what the first has no more */
	flight_end(f, x, err == -EHOSTUNREACH ? -EAGAIN : err);
	return err;
}

/* Fetches what *s says, or waits for who does; but not for long, as that may be
 * behind much else on a slow link, where this alone would come in time. */
static int
small_arrive(struct fs *f, uint64_t ino, struct small_fetch *s, bool read)
{
	int64_t deadline = io_until(f), soon = clock_mono() + SOON;
	struct flight *x = NULL;
	int err;

	do {
		buf_reset(&s->bytes);
		err = flight_join(f, &s->id, &x);
		if (err == 1)
			err = small_first(f, ino, s, x, read);
		else if (err == 0)
			err = flight_wait(f, x, soon < deadline ? soon :
			    deadline, &s->bytes);
	} while (err == -EAGAIN);
	if (err == -EHOSTUNREACH && clock_mono() >= soon &&
	    clock_mono() < deadline) {
		buf_reset(&s->bytes);
		err = fetch_small(f, s, NULL);
	}
	s->have = err == 0;
	return err;
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

/* What most are: a row of small.db.  -ENOENT: look closer. */
static int
small_row(struct fs *f, struct vnode *v, uint64_t *retsize)
{
	struct meta_small m;
	struct small_id id;
	struct sqc *c = NULL;
	int err;

	if (v->held != NULL) {
		const struct extent *e = &v->held->v[0];

		if (v->held->n != 1 || e->off != 0 ||
		    e->len != v->held->size || e->len > META_SMALL_MAX)
			return -ENOENT;
		id = (struct small_id){ v->ino, e->object, e->ooff, e->len };
	} else if (v->unlinked) {
		return -ENOENT;
	} else {
		err = sq_read(meta_sq(f->meta), &c);
		if (err == 0)
			err = meta_small(c, v->ino, &m);
		sq_read_end(c);
		if (err != 0)
			return err;
		id = (struct small_id){ v->ino, m.object, m.ooff, m.size };
	}
	err = small_get(f->cache, &id, &v->bytes);
	if (err == 0) {
		counter_add(cache_hits, 1);
		*retsize = id.len;
	}
	return err;
}

static int
small_look(struct fs *f, struct vnode *v, uint64_t *retsize,
    struct small_fetch *s)
{
	struct extents *x = NULL;
	struct sqc *c = NULL;
	struct attr a = { .size = v->attr.size };
	int err;

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
			    extents_of(f, c, v->ino, a.size, 0, a.size, &x);
	}
	sq_read_end(c);
	if (err == 0 && (x != NULL || v->held != NULL) && v->bytes.len == 0 &&
	    (x != NULL ? x : v->held)->n > 0)
		err = small_from_extents(f, v, x != NULL ? x : v->held, s);
	free(x);
	if (err == 0)
		*retsize = a.size;
	return err;
}

static int
small_done(struct vnode *v, uint64_t size)
{
	int err = fit(&v->bytes, size);

	if (err == 0) {
		lock_take(&v->lock);
		v->attr.size = size;
		v->have_bytes = true;
		lock_drop(&v->lock);
	}
	return err;
}

/* content_small with what is here; -ENODATA as small_from_extents. */
static int
small_local(struct fs *f, struct vnode *v, struct small_fetch *s)
{
	uint64_t size = 0;
	int err = -ENOENT;

	if (v->have_bytes)
		return 0;
	buf_reset(&v->bytes);
	if (!v->no_row)
		err = small_row(f, v, &size);
	if (err == -ENOENT)
		err = small_look(f, v, &size, s);
	v->no_row = false;
	return err == 0 ? small_done(v, size) : err;
}

int
content_small(struct fs *f, struct vnode *v)
{
	struct small_fetch s = { .x = NULL };
	int err;

	err = small_local(f, v, &s);
	if (err == -ENODATA)
		err = small_arrive(f, v->ino, &s, false);
	if (err == 0 && s.have)
		err = small_local(f, v, &s);
	small_fetch_done(&s);
	return err == -ENODATA ? -EIO : err;
}

int
content_small_here(struct fs *f, struct vnode *v)
{
	uint64_t size = 0;
	int err;

	if (v->have_bytes)
		return 0;
	buf_reset(&v->bytes);
	err = small_row(f, v, &size);
	v->no_row = err == -ENOENT;
	return err == 0 ? small_done(v, size) : err;
}

int
content_small_enter(struct fs *f, struct vnode *v, bool read)
{
	struct small_fetch s = { .x = NULL };
	int err;

	for (;;) {
		vnode_enter(v);
		err = v->b != NULL ? -EFBIG : small_local(f, v, &s);
		if (err != -ENODATA)
			break;
		vnode_leave(v);
		err = small_arrive(f, v->ino, &s, read);
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

/*
 * upload_pack: small files' bytes that a placement sends to another store than
 * the home, as packs.
 *
 * Those for the home are packed when a batch is frozen (L2).  These are put
 * before, as large files are, so that a frozen batch waits for no store but
 * the home: a pack is put under a name never used before, and then each op
 * whose bytes are in it is completed with its place, all in one transaction.
 * What dies in between leaves an object that no record names (B9).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/store.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "fs/ship.h"
#include "fs/upload_impl.h"
#include "meta/batch.h"
#include "meta/query.h"

#define SEEN_MAX	4096	/* looked at, with a pack full */

/* --- which --- */

/* What one store, that may get a pack, is to get next. */
struct plan {
	struct target	*to;
	struct buf	 items;
	uint64_t	 bytes, first;	/* first: seq */
	int64_t		 oldest;	/* clock_real */
	bool		 full;
};

struct pack_look {
	struct fs	*f;
	struct sqc	*q;
	struct place_memo memo;
	struct plan	*v;
	unsigned	 n, nfull, seen;
};

/* u->lock held. */
static int
plans_make(struct pack_look *l, const struct buf *choices)
{
	const struct choice *c = (const void *)choices->p;
	size_t n = choices->len / sizeof(*c), i;

	l->v = calloc(n + 1, sizeof(*l->v));
	if (l->v == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		if (c[i].room > 0 && !c[i].to->packing &&
		    upload_may(l->f, c[i].to))
			l->v[l->n++].to = c[i].to;
	return 0;
}

static int
look_small(void *arg, const struct packable *k)
{
	struct pack_look *l = arg;
	struct plan *p = l->v;
	uint32_t store;

	if (place_store(l->q, &l->memo, k->ino, &store) != 0)
		return 1;
	while (p < l->v + l->n && p->to->store != store)
		p++;
	if (p == l->v + l->n || p->full)
		return l->nfull > 0 && ++l->seen > SEEN_MAX;
	if (p->items.len == 0) {
		p->oldest = k->time;
		p->first = k->seq;
	} else if (p->bytes + k->len > PACK_MAX_BYTES ||
	    p->items.len >= BATCH_MAX_OPS * sizeof(*k)) {
		p->full = true;
		return ++l->nfull == l->n;
	}
	p->bytes += k->len;
	buf_put(&p->items, k, sizeof(*k));
	return 0;
}

/* Does it wait for others to join it?  When until, clock_mono. */
static bool
is_due(struct fs *f, const struct plan *p, int64_t *retat)
{
	int64_t left = p->oldest + f->opt.lag - clock_real();

	if (p->full || p->first <= f->upload->hurry || left <= 0 ||
	    left > f->opt.lag)
		return true;
	*retat = clock_mono() + left;
	return false;
}

/* u->lock held.  One was due. */
static bool
plans_submit(struct pack_look *l)
{
	struct upload *u = l->f->upload;
	struct job j = { .f = l->f };
	bool found = false;
	unsigned i;
	int64_t at;

	for (i = 0; i < l->n; i++) {
		struct plan *p = &l->v[i];

		if (p->items.len > 0 && buf_err(&p->items) == 0) {
			if (is_due(l->f, p, &at)) {
				j.to = p->to;
				j.size = p->bytes;
				j.items = p->items;
				p->items = (struct buf)BUF_INIT;
				upload_submit(l->f, &j);
				found = true;
			} else if (at < u->pack_at) {
				u->pack_at = at;
			}
		}
		buf_done(&p->items);
	}
	return found;
}

void
upload_pack_look(struct fs *f, struct sqc *q, const struct buf *choices)
{
	struct pack_look l = { .f = f, .q = q };
	struct upload *u = f->upload;
	int64_t began = clock_mono();

	lock_take(&u->lock);
	if (plans_make(&l, choices) == 0 && l.n > 0 &&
	    upload_walk_begin(f, WALK_SMALL)) {
		lock_drop(&u->lock);
		(void)journal_packable(q, look_small, &l);
		lock_take(&u->lock);
		upload_walk_end(u, WALK_SMALL, began, plans_submit(&l));
	}
	lock_drop(&u->lock);
	free(l.v);
}

/* --- one pack --- */

struct item {
	struct packable	 k;
	uint64_t	 parent, off;
	char		 name[META_NAME_MAX + 1];
};

struct pack {
	struct job	*j;
	struct item	*v;
	size_t		 n, taken;
	struct buf	 bytes;
	struct op_object object;
};

/* As the packs of the home are sorted (batch.h). */
static int
item_cmp(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int cmp;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	cmp = strcmp(x->name, y->name);
	return cmp != 0 ? cmp : x->k.seq < y->k.seq ? -1 : 1;
}

/* The bytes, in order; an item that is there no more is left out. */
static int
pack_read(struct pack *p, struct sqc *q)
{
	const struct packable *k = (const void *)p->j->items.p;
	size_t n = p->j->items.len / sizeof(*k), i, kept = 0;
	int rc;

	for (i = 0; i < n; i++) {
		struct item *it = &p->v[kept];

		it->k = k[i];
		rc = meta_parent(q, k[i].ino, &it->parent, it->name);
		if (rc == 0)
			kept++;
		else if (rc != -ENOENT)		/* B7 */
			return rc;
	}
	p->n = kept;
	qsort(p->v, p->n, sizeof(*p->v), item_cmp);
	for (i = 0; i < p->n; i++) {
		size_t was = p->bytes.len;

		p->v[i].off = was;
		rc = unstored_at(q, p->v[i].k.seq, &p->bytes);
		if (rc != 0)
			return rc;
		if (p->bytes.len - was != p->v[i].k.len)
			return -EUCLEAN;
	}
	return 0;
}

static int
pack_load(struct pack *p)
{
	struct sqc *q = NULL;
	int rc;

	p->v = calloc(p->j->items.len / sizeof(struct packable) + 1,
	    sizeof(*p->v));
	if (p->v == NULL)
		return -ENOMEM;
	rc = sq_read(meta_sq(p->j->f->meta), &q);
	if (rc == 0)
		rc = pack_read(p, q);
	sq_read_end(q);
	if (rc == -ENOENT) {
		/* landed meanwhile, void: the next look knows */
		p->n = 0;
		rc = 0;
	}
	return rc;
}

/* Each brings the object: which of them is frozen first is not known yet. */
static int
pack_tx(struct sqc *c, void *arg)
{
	struct pack *p = arg;
	size_t i;
	int rc;

	p->taken = 0;
	rc = place_has_store(c, p->object.store);
	if (rc <= 0)
		return rc;
	for (i = 0; i < p->n; i++) {
		const struct item *it = &p->v[i];
		struct op_extent e = { 0, it->k.len, p->object.id, it->off,
		    it->k.crc };

		rc = journal_uploaded(c, it->k.seq, EXT_WHOLE, &e, 1,
		    &p->object, 1);
		if (rc == 0)
			p->taken++;
		else if (rc != -ENOENT)
			return rc;
	}
	return 0;
}

int
upload_pack(struct job *j)
{
	struct pack p = { .j = j };
	struct store_mem mem;
	struct store_src src;
	int rc;

	rc = pack_load(&p);
	if (rc != 0 || p.n == 0) {
		j->nothing = rc == 0;
		goto out;
	}
	p.object = (struct op_object){ .id = meta_new_id(j->f->meta),
	    .size = p.bytes.len, .kind = OBJ_PACK, .store = j->to->store };
	if (p.object.id == 0) {
		rc = -EROFS;
		goto out;
	}
	mem = (struct store_mem){ p.bytes.p, p.bytes.len };
	src = store_src_mem(&mem);
	rc = upload_put(j, &src, &p.object);
	if (rc != 0)
		goto out;
	rc = sq_write(meta_sq(j->f->meta), pack_tx, &p);
	if (rc >= 0 && p.taken == 0) {
		upload_remove(j, &p.object);
		j->nothing = true;
	}
	/* a failed commit may come back with the WAL, and names it (B9) */
	if (rc < 0)
		goto out;
	rc = 0;
	counter_add(packs_written, 1);
	ship_kick(j->f);
out:
	buf_done(&p.bytes);
	free(p.v);
	return rc;
}

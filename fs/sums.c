/* See sums.h. */
#include "fs/sums.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "meta/query.h"

struct sums {
	unsigned	 n;
	struct sum {
		unsigned	 extent;	/* whose it is, of x */
		uint64_t	 ooff;
		uint32_t	 len, crc;
	} v[];
};

struct gather { struct buf v; unsigned extent; };

static int
gather_sum(void *arg, const struct meta_sum *m)
{
	struct gather *g = arg;
	struct sum s = { g->extent, m->ooff, m->len, m->crc };

	buf_put(&g->v, &s, sizeof s);
	return buf_err(&g->v);
}

int
sums_get(struct fs *f, const struct extents *x, uint64_t off, uint64_t len,
    struct sums **ret)
{
	struct gather g = { .v = BUF_INIT };
	struct sums *s = NULL;
	struct sqc *c = NULL;
	int err = 0;

	for (g.extent = 0; err == 0 && g.extent < x->n; g.extent++) {
		const struct extent *e = &x->v[g.extent];
		uint64_t from = e->off > off ? e->off : off;
		uint64_t to = e->off + e->len < off + len ? e->off + e->len :
		    off + len;

		if (from >= to || (e->kind != OBJ_WHOLE &&
		    e->kind != OBJ_PATCH))
			continue;
		if (c == NULL)
			err = sq_read(meta_sq(f->meta), &c);
		if (err == 0)
			err = meta_sums(c, e->object, e->ooff + (from -
			    e->off), to - from, gather_sum, &g);
	}
	sq_read_end(c);
	if (err == 0)
		err = buf_err(&g.v);
	if (err == 0 && g.v.len > 0) {
		s = malloc(sizeof *s + g.v.len);
		if (s == NULL)
			err = -ENOMEM;
	}
	if (s != NULL) {
		s->n = (unsigned)(g.v.len / sizeof s->v[0]);
		memcpy(s->v, g.v.p, g.v.len);
	}
	if (err == 0)
		*ret = s;
	buf_done(&g.v);
	return err;
}

/* What a sum and the file bytes [off, end) have in common. */
struct part {
	const struct sum *s;
	const struct extent *e;
	uint64_t	 from, to;	/* in the file */
	uint64_t	 skip;		/* of the sum's bytes before them */
	bool		 whole;
};

static bool
part_of(const struct sum *s, const struct extents *x, uint64_t off,
    uint64_t end, struct part *ret)
{
	const struct extent *e = &x->v[s->extent];
	uint64_t lo = s->ooff > e->ooff ? s->ooff : e->ooff;
	uint64_t hi = s->ooff + s->len, most = e->ooff + e->len;
	uint64_t from, to;

	if (hi > most)
		hi = most;
	if (lo >= hi)
		return false;
	from = e->off + (lo - e->ooff);
	to = from + (hi - lo);
	if (from < off) {
		lo += off - from;
		from = off;
	}
	if (to > end)
		to = end;
	*ret = (struct part){ s, e, from, to, lo - s->ooff,
	    to - from == s->len };
	return from < to;
}

/* The part's bytes are at p. */
static bool
is_right(const struct part *t, const void *p)
{
	return t->whole && crc32c(0, p, t->s->len) == t->s->crc;
}

bool
sums_hold(const struct sums *s, const struct extents *x, uint64_t off,
    const void *p, size_t n, int64_t *retcrc)
{
	struct part t;
	unsigned i;

	*retcrc = -1;
	for (i = 0; s != NULL && i < s->n; i++) {
		if (!part_of(&s->v[i], x, off, off + n, &t))
			continue;
		if (!is_right(&t, (const char *)p + (t.from - off)))
			return false;
		if (t.s->len == n)
			*retcrc = t.s->crc;
	}
	return true;
}

/* What a sum is of that the file has only a part of, kept: the next part is
 * often of the same. */
struct spare { void *p; uint64_t object, ooff; };

static int
mend_part(struct fs *f, const struct part *t, struct spare *k, void *p)
{
	int err = 0;

	if (k->p == NULL && (k->p = malloc(META_SUM)) == NULL)
		return -ENOMEM;
	if (k->object != t->e->object || k->ooff != t->s->ooff) {
		k->object = 0;
		err = content_fetch_sum(f, t->e, t->s->ooff, t->s->len,
		    t->s->crc, false, "fill", k->p);
	}
	if (err != 0)
		return err;
	k->object = t->e->object;
	k->ooff = t->s->ooff;
	memcpy(p, (char *)k->p + t->skip, t->to - t->from);
	return 0;
}

int
sums_mend(struct fs *f, const struct sums *s, const struct extents *x,
    uint64_t off, void *p, size_t n)
{
	struct spare k = { NULL };
	struct part t;
	unsigned i;
	int err = 0;

	for (i = 0; err == 0 && i < s->n; i++) {
		char *at;

		if (!part_of(&s->v[i], x, off, off + n, &t))
			continue;
		at = (char *)p + (t.from - off);
		if (is_right(&t, at))
			continue;
		err = !t.whole ? mend_part(f, &t, &k, at) :
		    content_fetch_sum(f, t.e, t.s->ooff, t.s->len, t.s->crc,
		    true, "fill", at);
	}
	free(k.p);
	return err;
}

int
sums_check(struct fs *f, const struct extents *x, uint64_t off, void *p,
    size_t n)
{
	struct sums *s = NULL;
	int64_t crc;
	int err;

	err = sums_get(f, x, off, n, &s);
	if (err == 0 && !sums_hold(s, x, off, p, n, &crc))
		err = sums_mend(f, s, x, off, p, n);
	free(s);
	return err;
}

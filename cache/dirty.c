/*
 * dirty: the set of dirty intervals of one file (C1), sorted, disjoint, each
 * with the seq of the op that publishes it.  Neighbours of one owner are one
 * interval.  Pure; the caller holds the file's lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/map.h"

void
dset_done(struct dset *d)
{
	free(d->v);
	memset(d, 0, sizeof(*d));
}

int
dset_reserve(struct dset *d, unsigned n)
{
	struct ival *v;
	unsigned cap;

	if (d->n + n <= d->cap)
		return 0;
	cap = d->cap ? d->cap * 2 : 4;
	while (cap < d->n + n)
		cap *= 2;
	v = realloc(d->v, cap * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	d->v = v;
	d->cap = cap;
	return 0;
}

/* The first interval that ends after off. */
static unsigned
find(const struct dset *d, uint64_t off)
{
	unsigned lo = 0, hi = d->n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (d->v[mid].end > off)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Replaces v[i..j) by n intervals. */
static void
splice(struct dset *d, unsigned i, unsigned j, const struct ival *v,
    unsigned n)
{
	memmove(d->v + i + n, d->v + j, (d->n - j) * sizeof(*v));
	if (n > 0)
		memcpy(d->v + i, v, n * sizeof(*v));
	d->n = d->n - (j - i) + n;
}

void
dset_add(struct dset *d, uint64_t off, uint64_t end, uint64_t seq)
{
	struct ival r[3], *v;
	unsigned i, j, n = 0;

	if (off >= end)
		return;
	/* neighbours that only touch are looked at too: they may merge */
	i = find(d, off > 0 ? off - 1 : 0);
	for (j = i; j < d->n && d->v[j].off <= end; j++)
		;
	if (i < j) {
		v = &d->v[i];
		if (v->off < off) {
			if (v->seq == seq)
				off = v->off;
			else
				r[n++] = (struct ival){ v->off,
				    v->end < off ? v->end : off, v->seq };
		}
		v = &d->v[j - 1];
		if (v->end > end && v->seq == seq)
			end = v->end;
		r[n++] = (struct ival){ off, end, seq };
		if (v->end > end)
			r[n++] = (struct ival){ v->off > end ? v->off : end,
			    v->end, v->seq };
	} else {
		r[n++] = (struct ival){ off, end, seq };
	}
	splice(d, i, j, r, n);
}

static void
merge(struct dset *d)
{
	unsigned i, n = 0;

	for (i = 0; i < d->n; i++) {
		if (n > 0 && d->v[n - 1].end == d->v[i].off &&
		    d->v[n - 1].seq == d->v[i].seq)
			d->v[n - 1].end = d->v[i].end;
		else
			d->v[n++] = d->v[i];
	}
	d->n = n;
}

void
dset_relabel(struct dset *d, uint64_t seq, const uint64_t *frozen,
    unsigned nfrozen)
{
	unsigned i, f;

	for (i = 0; i < d->n; i++) {
		for (f = 0; f < nfrozen && frozen[f] != d->v[i].seq; f++)
			;
		if (f == nfrozen)
			d->v[i].seq = seq;
	}
	merge(d);
}

void
dset_take(struct dset *d, uint64_t end, uint64_t seq)
{
	unsigned i;

	for (i = 0; i < d->n && d->v[i].off < end; i++) {
		if (d->v[i].seq != 0)
			continue;
		if (d->v[i].end > end) {
			memmove(d->v + i + 1, d->v + i,
			    (d->n++ - i) * sizeof(*d->v));
			d->v[i].end = d->v[i + 1].off = end;
		}
		d->v[i].seq = seq;
	}
	merge(d);
}

void
dset_rename(struct dset *d, uint64_t seq, uint64_t to)
{
	unsigned i;

	for (i = 0; i < d->n; i++)
		if (d->v[i].seq == seq)
			d->v[i].seq = to;
	merge(d);
}

void
dset_drop_seq(struct dset *d, uint64_t seq)
{
	unsigned i, n = 0;

	for (i = 0; i < d->n; i++)
		if (d->v[i].seq != seq)
			d->v[n++] = d->v[i];
	d->n = n;
}

bool
dset_covers(const struct dset *d, uint64_t off, uint64_t end)
{
	unsigned i = find(d, off);

	for (; off < end && i < d->n && d->v[i].off <= off; i++)
		off = d->v[i].end;
	return off >= end;
}

bool
dset_covers_seq(const struct dset *d, uint64_t off, uint64_t end, uint64_t seq)
{
	unsigned i = find(d, off);

	for (; off < end && i < d->n && d->v[i].off <= off &&
	    d->v[i].seq == seq; i++)
		off = d->v[i].end;
	return off >= end;
}

bool
dset_touches(const struct dset *d, uint64_t off, uint64_t end)
{
	unsigned i = find(d, off);

	return i < d->n && d->v[i].off < end;
}

uint64_t
dset_bytes(const struct dset *d, uint64_t size)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < d->n && d->v[i].off < size; i++)
		n += (d->v[i].end < size ? d->v[i].end : size) - d->v[i].off;
	return n;
}

bool
dset_at(const struct dset *d, uint64_t off, uint64_t end, uint64_t *retend)
{
	unsigned i = find(d, off);
	bool dirty = i < d->n && d->v[i].off <= off;

	*retend = end;
	if (dirty && d->v[i].end < end)
		*retend = d->v[i].end;
	if (!dirty && i < d->n && d->v[i].off < end)
		*retend = d->v[i].off;
	return dirty;
}

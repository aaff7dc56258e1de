/* import_load: an import's pieces into the database, hidden (import.h). */
#include <errno.h>

#include "meta/import.h"

struct loading {
	uint64_t	 lo, hi;
	const uint8_t	*hash;
	const void	*p;
	size_t		 n;
	struct why	*why;
};

static int
load_begin(struct sqc *c, void *arg)
{
	const struct loading *l = arg;

	return hidden_add(c, l->lo, l->hi, 0);
}

static int
load_piece(struct sqc *c, void *arg)
{
	const struct loading *l = arg;

	return piece_load(c, l->p, l->n, l->hash, l->lo, l->hi, l->why);
}

static int
load_abort(struct sqc *c, void *arg)
{
	const struct loading *l = arg;

	return hidden_drop(c, l->lo);
}

int
import_load_begin(struct meta *m, uint64_t lo, uint64_t hi)
{
	struct loading l = { .lo = lo, .hi = hi };

	if (lo <= META_ROOT || hi < lo)
		return -EBADMSG;
	return sq_write(meta_sq(m), load_begin, &l);
}

int
import_load_piece(struct meta *m, uint64_t lo, uint64_t hi,
    const uint8_t hash[32], const void *p, size_t n, struct why *why)
{
	struct loading l = { .lo = lo, .hi = hi, .hash = hash, .p = p, .n = n,
	    .why = why };

	return sq_write(meta_sq(m), load_piece, &l);
}

int
import_load_abort(struct meta *m, uint64_t lo)
{
	struct loading l = { .lo = lo };

	return sq_write(meta_sq(m), load_abort, &l);
}

int
import_load(struct meta *m, uint64_t lo, uint64_t hi, const uint8_t *hashes,
    size_t n, int (*get)(void *arg, const uint8_t hash[32], struct buf *out),
    void *arg, struct why *why)
{
	struct buf b = BUF_INIT;
	int err;

	err = import_load_begin(m, lo, hi);
	if (err != 0)
		return err;
	for (size_t i = 0; err == 0 && i < n; i++) {
		buf_reset(&b);
		err = get(arg, hashes + 32 * i, &b);
		if (err == 0)
			err = import_load_piece(m, lo, hi, hashes + 32 * i,
			    b.p, b.len, why);
	}
	buf_done(&b);
	if (err != 0)
		import_load_abort(m, lo);
	return err;
}

/* import_load: an import's pieces into the database, hidden (import.h). */
#include <errno.h>

#include "meta/import.h"

struct loading {
	uint64_t	 lo, hi;
	struct piece	*piece;
	struct why	*why;
};

/* What an abort takes away must be the import's alone. */
static int
load_begin(struct sqc *c, void *arg)
{
	const struct loading *l = arg;
	struct sqs *q;
	int got;

	q = sq_prep(c, "SELECT 1 FROM inode WHERE ino BETWEEN ?1 AND ?2"
	    " UNION ALL SELECT 1 FROM object WHERE id BETWEEN ?1 AND ?2"
	    " UNION ALL SELECT 1 FROM hidden WHERE lo <= ?2 AND hi >= ?1"
	    " LIMIT 1");
	sqs_int(q, 1, (int64_t)l->lo);
	sqs_int(q, 2, (int64_t)l->hi);
	got = sqs_step(q);
	sqs_reset(q);
	if (got != 0)
		return got < 0 ? got : -EEXIST;
	return hidden_add(c, l->lo, l->hi, 0);
}

static int
load_piece(struct sqc *c, void *arg)
{
	const struct loading *l = arg;

	return piece_load(c, l->piece, l->lo, l->hi, NULL, l->why);
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

	if (lo <= META_ROOT || hi < lo || hi > INT64_MAX)
		return -EBADMSG;
	return sq_write(meta_sq(m), load_begin, &l);
}

int
import_load_piece(struct meta *m, uint64_t lo, uint64_t hi,
    const uint8_t hash[32], const void *p, size_t n, struct why *why)
{
	struct piece piece;
	struct loading l = { .lo = lo, .hi = hi, .piece = &piece,
	    .why = why };
	int err;

	err = piece_open(p, n, hash, &piece, why);
	if (err == 0)
		err = sq_write(meta_sq(m), load_piece, &l);
	piece_done(&piece);
	return err;
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

/* hold: see hold.h. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "meta/hold.h"
#include "meta/whole.h"
#include "meta/place.h"
#include "meta/query.h"

#define HOLD_AGE	(10 * NSEC_PER_SEC)
#define HOLD_SHARE	50	/* of the time goes to finding out anew */
#define TRIES		8		/* until what goes agrees with H1 */

/* A store's id among inodes. */
#define STORE_BIT	(UINT64_C(1) << 63)

/* The keys of ops that are held. */
struct keys {
	struct imap	 inos;		/* and stores */
	struct buf	 ranges;	/* lo, hi: of attaches */
	uint8_t		 keys;		/* KEY_* */
};

struct hold {
	struct lock	 lock;		/* the last two */
	struct keys	 old;		/* of windows before */
	uint64_t	 after;		/* the last seq of those */
	uint64_t	 before;	/* the highest it was */
	uint32_t	 down[FREEZE_DOWN];
	unsigned	 ndown;
	uint64_t	 epoch;		/* of freeze_down */
	int64_t		 since;		/* clock_mono: found out anew */
	int64_t		 begun, spent;	/* clock_mono; time that it took */
	bool		 busy;		/* a transaction is under way */
	bool		 anew;		/* up to before, in it */
	uint64_t	 nheld;		/* ops, in those windows */
	uint64_t	 count, upto;	/* the same, committed */
};

/* --- keys --- */

static void
keys_clear(struct keys *k)
{
	imap_done(&k->inos);
	buf_done(&k->ranges);
	*k = (struct keys){ .keys = 0 };
}

static bool
keys_any(const struct keys *k)
{
	return (k->inos.n > 0 || k->keys != 0);
}

static bool
keys_has_ino(const struct keys *k, uint64_t ino)
{
	const uint64_t *r = (const void *)k->ranges.p;
	size_t n = k->ranges.len / sizeof(*r);

	if (imap_get(&k->inos, ino) != 0)
		return (true);
	for (size_t i = 0; i + 1 < n; i += 2)
		if (ino >= r[i] && ino <= r[i + 1])
			return (true);
	return (false);
}

static bool
keys_has(const struct keys *k, const struct cand *d)
{
	if (!keys_any(k))
		return (false);
	if (k->keys & d->keys || (k->keys | d->keys) & KEY_ALL)
		return (true);
	for (unsigned i = 0; i < 4; i++)
		if (d->inos[i] != 0 && keys_has_ino(k, d->inos[i]))
			return (true);
	for (unsigned i = 0; i < 2; i++)
		if (d->stores[i] != 0 && imap_get(&k->inos, d->stores[i]) != 0)
			return (true);
	return (false);
}

static int
keys_add(struct keys *k, const struct cand *d)
{
	int err = 0;

	k->keys |= d->keys;
	for (unsigned i = 0; err == 0 && i < 4; i++)
		if (d->inos[i] != 0)
			err = imap_set(&k->inos, d->inos[i], 1);
	if (err == 0 && d->hi != 0) {
		buf_put(&k->ranges, &d->ino, sizeof(d->ino));
		buf_put(&k->ranges, &d->hi, sizeof(d->hi));
		err = buf_err(&k->ranges);
	}
	return (err);
}

/* --- a seed's directories --- */

static int
add_parents(struct keys *k, const struct freeze *f, uint64_t ino)
{
	struct sqs *s = sq_prep(f->c,
	    "SELECT parent FROM dentry WHERE ino = ?");
	int rc, err = 0;

	sqs_int(s, 1, ino);
	while ((rc = sqs_step(s)) == 1 && err == 0)
		err = imap_set(&k->inos, (uint64_t)sqs_col_int(s, 0), 1);
	sqs_reset(s);
	return (rc < 0 ? rc : err);
}

/* Where the file is, and was: ops of the window that moved it say that. */
static int
add_seed(struct keys *k, const struct freeze *f, const struct cand *d)
{
	int err = add_parents(k, f, d->ino);

	for (size_t i = 0; err == 0 && i < f->n; i++) {
		const struct cand *o = cand_at(f, i);

		if (o->seq <= d->seq ||
		    (o->inos[0] != d->ino && o->inos[1] != d->ino))
			continue;
		for (unsigned p = 0; err == 0 && p < 2; p++)
			if (o->parents[p] != 0)
				err = imap_set(&k->inos, o->parents[p], 1);
	}
	return (err);
}

static int
keys_hold(struct keys *k, const struct freeze *f, const struct cand *d)
{
	int err = keys_add(k, d);

	if (err == 0 && (d->seed ||
	    (d->kind == OP_EXTENTS && d->stores[0] != 0)))
		err = add_seed(k, f, d);
	return (err);
}

/* --- H1 --- */

enum { COMPLETE = 1, WHOLE = 2, LAST = 4, HELD = 8, LASTHELD = 16 };

/* Does it wait, by what later ops of its inode are?  all: those that go may be
 * held yet. */
static bool
waits(const struct cand *d, uint32_t later, bool all)
{
	uint32_t held = d->gone ? LASTHELD : HELD;
	uint32_t stands = !is_waiting(d) ? 0 :
	    d->needs == NEEDS_UPLOAD ? COMPLETE : WHOLE;

	if (!d->gone && !is_waiting(d))
		return (false);
	if (all)
		return (d->down || later != 0);
	return ((d->down || later & held) && !(later & stands));
}

/* Those whose bytes nobody stands for become seeds.  *retnew: some did. */
static int
seeds_find(struct freeze *f, bool all, bool *retnew)
{
	struct imap later = IMAP_INIT;
	int err = 0;

	*retnew = false;
	for (size_t i = f->n; err == 0 && i-- > 0;) {
		struct cand *d = cand_at(f, i);
		uint32_t v = imap_get(&later, d->ino);

		if (d->last != 0)
			err = imap_set(&later, d->last,
			    imap_get(&later, d->last) |
			    (d->held ? LASTHELD : LAST));
		if (d->kind != OP_EXTENTS || err != 0)
			continue;
		d->late = d->gone && !(v & (LAST | LASTHELD));
		if (d->held)
			err = imap_set(&later, d->ino, v | HELD);
		else if (waits(d, v, all))
			d->seed = *retnew = true;
		else if (cand_complete(d) && !d->gone)
			err = imap_set(&later, d->ino, v | COMPLETE |
			    (cand_whole(d) ? WHOLE : 0));
	}
	imap_done(&later);
	return (err);
}

/* H2, and what is a seed already. */
static int
walk(struct hold *h, struct freeze *f)
{
	struct keys new = { .keys = 0 };
	int err = 0;

	for (size_t i = 0; err == 0 && i < f->n; i++) {
		struct cand *d = cand_at(f, i);

		d->held = d->seed || keys_has(&h->old, d) ||
		    keys_has(&new, d);
		if (d->held)
			err = keys_hold(&new, f, d);
	}
	keys_clear(&new);
	return (err);
}

int
hold_mark(struct hold *h, struct freeze *f)
{
	bool new = true;
	int err = 0;

	if (f->down == NULL)
		return (0);
	for (unsigned i = 0; err == 0 && new && i <= TRIES; i++)
		if ((err = walk(h, f)) == 0)
			err = seeds_find(f, i == TRIES, &new);
	return (err != 0 || !new ? err : walk(h, f));
}

/* --- what it depends on, of one candidate --- */

static int
is_dir(struct sqc *c, uint64_t ino)
{
	struct row r;
	int err = ino != 0 ? inode_get(c, ino, &r) : 0;

	if (err == -ENOENT)
		return (1);		/* it may have been one */
	return (err ? err : ino != 0 && S_ISDIR(r.v[I_MODE].i));
}

/* A policy of a directory that is gone means nothing: a store that only such
 * a one names may be removed. */
static int
has_policy(struct sqc *c, uint64_t ino)
{
	struct sqs *s;

	if (ino == 0)
		return (0);
	s = sq_prep(c, "SELECT 1 FROM policy WHERE id = ?");
	sqs_int(s, 1, ino);
	return (sqs_has_row(s));
}

/* The directory that the op may remove; 0 none. */
static uint64_t
dir_removed(const struct op *op)
{
	return (op->kind == OP_RMDIR ? op->ino :
	    op->kind == OP_RENAME ? op->ino2 : 0);
}

static uint8_t
keys_of_kind(const struct op *op)
{
	switch (op->kind) {
	case OP_STORE:
	case OP_POLICY:
	case OP_PIN:
	case OP_QUOTA:
	case OP_ATTACH:
		return (KEY_SPACE);
	case OP_SESSION_OPEN:
	case OP_SESSION_CLOSE:
	case OP_SESSION_FENCE:
		return (KEY_ALL);
	default:
		return (0);
	}
}

/* The inodes that op names; a store's or a pin's id is none. */
static void
inos_of(const struct op *op, struct cand *d)
{
	bool ids = op->kind == OP_STORE || op->kind == OP_PIN ||
	    op->kind == OP_QUOTA;

	if (!ids) {
		d->inos[0] = op->kind == OP_POLICY &&
		    op->mask == POLICY_WHOLE ? op->ino & ~WHOLE_ID : op->ino;
		d->inos[1] = op->kind == OP_ATTACH ? 0 : op->ino2;
	}
	d->inos[2] = d->parents[0] = op->parent;
	d->inos[3] = d->parents[1] = op->parent2;
}

/* The stores whose rows it needs: the one that an op is about; of an op with
 * objects, where they are.  The home stays (store_is_free), and so does a store
 * that a pending op names (journal()): held, those keep none waiting. */
static void
stores_of(const struct op *op, struct cand *d)
{
	if (op->kind == OP_STORE)
		d->inos[0] = STORE_BIT | op->ino;
	for (unsigned i = 0; i < op->nobjects; i++) {
		uint64_t store = STORE_BIT | op->objects[i].store;
		unsigned at = 0;

		if (op->objects[i].store == PLACE_HOME)
			continue;
		while (at < 2 && d->stores[at] != 0 && d->stores[at] != store)
			at++;
		if (at < 2)
			d->stores[at] = store;
		else
			d->keys |= KEY_SPACE;
	}
}

int
hold_examine(const struct freeze *f, struct place_memo *memo, struct cand *d,
    const struct op *op)
{
	uint32_t store;
	int rc = 0;

	inos_of(op, d);
	d->keys = keys_of_kind(op);
	stores_of(op, d);
	if (op->kind == OP_ATTACH)
		d->hi = op->ino2;
	if (op->kind == OP_RENAME && op->parent != op->parent2) {
		if ((rc = is_dir(f->c, op->ino)) == 0)
			rc = is_dir(f->c, op->ino2);
		if (rc == 1)
			d->keys |= KEY_SHAPE;
	}
	if (rc >= 0 && (rc = has_policy(f->c, dir_removed(op))) == 1)
		d->keys |= KEY_SPACE;
	if (op->flags & OP_LAST_LINK)
		d->last = op->kind == OP_UNLINK ? op->ino :
		    op->kind == OP_RENAME ? op->ino2 : 0;
	if (rc < 0 || !cand_waits(d))
		return (rc < 0 ? rc : 0);
	if ((rc = place_store(f->c, memo, d->ino, &store)) != 0)
		return (rc);
	for (unsigned i = 0; i < f->down->n; i++)
		d->down |= f->down->stores[i] == store;
	return (0);
}

/* --- what is waited for --- */

/* Does it say where a directory is that top is in? */
static int
acts_above(struct sqc *c, const struct op *op, const struct cand *d,
    uint64_t top)
{
	int rc = 0;

	if (op->kind != OP_MKDIR && op->kind != OP_RENAME &&
	    op->kind != OP_ATTACH && op->kind != OP_REFRESH)
		return (0);
	for (unsigned i = 0; i < 2 && rc == 0; i++)
		if (d->inos[i] != 0)
			rc = meta_is_below(c, top, d->inos[i]);
	return (rc);
}

/* Does it act there, or is its result to be seen there? */
static int
acts_below(struct sqc *c, const struct op *op, uint64_t top)
{
	struct cand d = { 0 };
	int rc = 0;

	inos_of(op, &d);
	for (unsigned i = 0; i < 4 && rc == 0; i++)
		if (d.inos[i] != 0)
			rc = meta_is_below(c, d.inos[i], top);
	if (rc == 0)
		rc = acts_above(c, op, &d, top);
	return (rc == -ENOENT ? 0 : rc);
}

int
hold_acts_below(struct sqc *c, uint64_t seq, uint64_t top)
{
	struct sqs *s = sq_prep(c, "SELECT body FROM op WHERE seq <= ? "
	    "ORDER BY seq");
	struct buf store = BUF_INIT;
	struct cur cur;
	struct op op;
	const void *p;
	size_t n;
	int rc, below = 0;

	sqs_int(s, 1, seq);
	while ((rc = sqs_step(s)) == 1 && below == 0) {
		p = sqs_col_blob(s, 0, &n);
		cur_init(&cur, p, n);
		op_decode(&cur, &op, &store);
		below = cur_err(&cur) ? -EUCLEAN : acts_below(c, &op, top);
	}
	sqs_reset(s);
	buf_done(&store);
	return (rc < 0 ? rc : below);
}

/* --- from one freeze to the next --- */

int
hold_new(struct hold **ret)
{
	struct hold *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return (-ENOMEM);
	lock_init(&h->lock, RANK_META, "hold");
	*ret = h;
	return (0);
}

void
hold_free(struct hold *h)
{
	if (h == NULL)
		return;
	keys_clear(&h->old);
	lock_done(&h->lock);
	free(h);
}

static bool
is_stale(const struct hold *h, const struct freeze_down *down)
{
	unsigned n = down != NULL ? down->n : 0;
	int64_t age = clock_mono() - h->since;

	if (h->busy || h->ndown != n || (n > 0 && memcmp(h->down,
	    down->stores, n * sizeof(*h->down)) != 0))
		return (true);
	return (age >= HOLD_SHARE * h->spent && (age > HOLD_AGE ||
	    (n > 0 && h->epoch != down->epoch)));
}

uint64_t
hold_begin(struct hold *h, const struct freeze *f)
{
	if (is_stale(h, f->down)) {
		keys_clear(&h->old);
		if (h->before < h->after)
			h->before = h->after;
		h->after = h->nheld = 0;
		h->ndown = 0;
		if (f->down != NULL) {
			h->ndown = f->down->n;
			h->epoch = f->down->epoch;
			memcpy(h->down, f->down->stores,
			    h->ndown * sizeof(*h->down));
		}
		h->since = clock_mono();
		h->spent = 0;
	}
	h->busy = true;
	h->anew = false;
	h->begun = clock_mono();
	return (h->after);
}

int
hold_keep(struct hold *h, struct freeze *f, size_t n, size_t *retheld)
{
	int err = 0;

	*retheld = 0;
	if (f->down == NULL)
		return (0);
	for (size_t i = 0; err == 0 && i < n; i++) {
		const struct cand *d = cand_at(f, i);

		if (!d->held)
			continue;
		++*retheld;
		err = keys_hold(&h->old, f, d);
	}
	h->nheld += *retheld;
	if (n > 0) {
		h->anew = cand_at(f, 0)->seq <= h->before;
		/* of what is cut the rest is to be looked at */
		h->after = cand_at(f, n - 1)->seq -
		    (cand_is_cut(cand_at(f, n - 1)) &&
		    !cand_at(f, n - 1)->held);
	}
	return (err);
}

void
hold_committed(struct hold *h)
{
	h->busy = false;
	if (h->anew)
		h->spent += clock_mono() - h->begun;
	lock_take(&h->lock);
	h->count = h->nheld;
	h->upto = h->after;
	lock_drop(&h->lock);
}

uint64_t
hold_count(struct hold *h, uint64_t *retupto)
{
	uint64_t n;

	lock_take(&h->lock);
	n = h->count;
	*retupto = h->upto;
	lock_drop(&h->lock);
	return (n);
}

/*
 * frozen: whose op a dirty byte is, beyond what each close says.
 *
 * A close gives all that is dirty to the newest op, but for what a frozen one
 * has: that is uploaded, or (K6) is being uploaded from the file while it is
 * written.  A part is what a file that stays open gives away at a time when
 * the cache fills up.
 */
#include <errno.h>
#include <string.h>

#include "cache/map.h"

#define PARTS_MAX	4	/* of a file, uploaded and not landed */

struct freeze { struct bfile *b; uint64_t seq; };

static int
freeze_tx(struct sqc *q, void *arg)
{
	struct freeze *f = arg;
	struct sqs *s;

	if (!index_is(q, f->b->ino, f->b->inc))
		return 0;
	s = sq_prep(q, "INSERT OR IGNORE INTO c_frozen VALUES(?1,?2)");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, f->b->ino);
	sqs_int(s, 2, f->seq);
	return sqs_run(s);
}

static bool
is_frozen(const struct bfile *b, uint64_t seq)
{
	unsigned i;

	for (i = 0; i < b->nfrozen; i++)
		if (b->frozen[i] == seq)
			return true;
	return false;
}

int
frozen_add(struct bfile *b, uint64_t seq)
{
	struct freeze f = { b, seq };
	int err;

	err = sq_write(b->c->index, freeze_tx, &f);
	if (err)
		return err;
	lock_take(&b->lock);
	map_settle(b);
	if (!is_frozen(b, seq)) {
		/* the oldest is merged: harmless */
		if (b->nfrozen == FROZEN_MAX)
			memmove(b->frozen, b->frozen + 1,
			    --b->nfrozen * sizeof(*b->frozen));
		b->frozen[b->nfrozen++] = seq;
	}
	lock_drop(&b->lock);
	return 0;
}

int
bfile_freeze(struct bfile *b, uint64_t seq)
{
	return atomic_load(&b->unseen) ? -EBUSY : frozen_add(b, seq);
}

int
bfile_unfreeze(struct sqc *q, uint64_t ino, uint64_t seq)
{
	static const char *const sql[] = {
		"DELETE FROM c_frozen WHERE ino=?1 AND seq=?2",
		"UPDATE c_dirty SET seq=?2 WHERE ino=?1 AND seq>0 AND seq<?2"
		" AND seq NOT IN (SELECT seq FROM c_frozen WHERE ino=?1)",
		"UPDATE c_file SET allseq=?2 WHERE ino=?1 AND allseq>0 AND"
		" allseq<?2 AND allseq NOT IN"
		" (SELECT seq FROM c_frozen WHERE ino=?1)",
	};
	struct sqs *s;
	unsigned i;
	int err = 0;

	for (i = 0; !err && i < sizeof(sql) / sizeof(*sql); i++) {
		s = sq_prep(q, sql[i]);
		if (s == NULL)
			return sq_err(q);
		sqs_int(s, 1, ino);
		sqs_int(s, 2, seq);
		err = sqs_run(s);
	}
	return err;
}

void
frozen_drop(struct bfile *b, uint64_t seq)
{
	unsigned i;

	for (i = 0; i < b->nfrozen && b->frozen[i] != seq; i++)
		;
	if (i < b->nfrozen)
		b->frozen[i] = b->frozen[--b->nfrozen];
}

/* Twice, so that a close on either side of the transaction, settled here or
 * not yet, has the intervals in memory as in the index: unfrozen before it, no
 * later close leaves them; after it, what an earlier one left is to's. */
void
bfile_thaw(struct bfile *b, uint64_t seq, uint64_t to)
{
	lock_take(&b->lock);
	map_settle(b);
	frozen_drop(b, seq);
	if (to != seq)
		dset_rename(&b->dirty, seq, to);
	map_update(b);
	lock_drop(&b->lock);
}

void
bfile_settle(struct bfile *b)
{
	lock_take(&b->lock);
	map_settle(b);
	lock_drop(&b->lock);
}

/* --- parts --- */

/* The lock is held. */
static int
part_of(struct bfile *b, uint64_t size, uint64_t least, uint64_t most,
    struct bfile_part *ret)
{
	const uint64_t whole = size - size % CACHE_CHUNK;
	uint64_t n = 0, end = 0, len;
	unsigned i;

	if (b->ino == 0 || atomic_load(&b->gone) || atomic_load(&b->unseen))
		return -EBUSY;
	ret->waits = 0;
	for (i = 0; i < b->dirty.n; i++) {
		const struct ival *v = &b->dirty.v[i];

		if (v->seq != 0 && !is_frozen(b, v->seq)) {
			ret->waits = v->seq;
			return -EAGAIN;
		}
		if (v->seq != 0 || v->off >= whole || n >= most)
			continue;
		len = (v->end < whole ? v->end : whole) - v->off;
		end = v->off + (len < most - n ? len : most - n);
		n += end - v->off;
	}
	if (n == 0 || n < least)
		return -ENODATA;
	if (b->nfrozen >= PARTS_MAX)
		return -EAGAIN;
	ret->end = chunks_of(end) * CACHE_CHUNK;
	/* what an op before it has must not be cut off by this one */
	ret->rest = dset_covers_seq(&b->dirty, ret->end, size, 0);
	return dset_reserve(&b->dirty, 2);
}

int
bfile_part(struct bfile *b, uint64_t least, uint64_t most,
    struct bfile_part *ret)
{
	uint64_t size = bfile_size(b);
	int err;

	lock_take(&b->lock);
	map_settle(b);
	err = part_of(b, size, least, most, ret);
	lock_drop(&b->lock);
	return err;
}

int
bfile_part_closed(struct sqc *q, struct bfile *b, uint64_t seq, uint64_t end)
{
	struct index_file f;
	struct dset d = { 0 };
	struct sqs *s;
	int err;

	err = index_get(q, b->ino, &f);
	if (!err)
		err = index_dirty_load(q, &f, &d);
	if (!err)
		err = dset_reserve(&d, 1);
	if (!err) {
		dset_take(&d, end, seq);
		err = index_dirty_save(q, b->ino, &d);
	}
	dset_done(&d);
	if (err)		/* the inode is not gone */
		return err == -ENOENT ? -ESTALE : err;
	s = sq_prep(q, "UPDATE c_file SET size=?2 WHERE ino=?1");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, b->ino);
	sqs_int(s, 2, atomic_load(&b->size));
	return sqs_run(s);
}

void
bfile_part_settle(struct bfile *b, uint64_t seq, uint64_t end)
{
	lock_take(&b->lock);
	map_settle(b);
	dset_take(&b->dirty, end, seq);
	map_update(b);
	lock_drop(&b->lock);
}

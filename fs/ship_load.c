/*
 * ship_load: a snapshot into this database (L12).  Pieces are loaded in order
 * of their keys, a transaction each, while the next ones are fetched; the
 * digest is checked before the head says that the tree is whole (reload.h).
 */
#include "fs/ship_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/dirattr.h"
#include "meta/digest.h"
#include "meta/reload.h"

#define SNAPSHOT_STORED_MAX (64u << 20)
#define EARLY_MEMORY	((uint64_t)256 << 20)	/* some MiB of it */

static int
begin_fn(struct sqc *c, void *arg)
{
	return reload_begin(c);
}

struct load_piece {
	struct ship_fetch	*t;
	struct digest		*sum;
};

static int
load_piece_fn(struct sqc *c, void *arg)
{
	struct load_piece *p = arg;

	return piece_load(c, &p->t->piece, 0, 0, p->sum, &p->t->damage);
}

/* One that was fetched.  0; -errno. */
static int
load_piece(struct ship *sh, struct ship_fetch *t, struct digest *sum,
    struct why *why)
{
	struct load_piece p = { t, sum };
	int err = ship_fetch_result(t, why);

	if (err == 0)
		return home_damaged(sh->home, t->key, NULL, why);
	if (err == 1)
		err = ship_fetch_open(t);
	if (err == 0)
		err = sq_write(meta_sq(sh->fs->meta), load_piece_fn, &p);
	piece_done(&t->piece);
	if (err == -EBADMSG && t->damage.text[0] != '\0')
		(void)home_damaged(sh->home, t->key, t->damage.text, why);
	return err;
}

struct load_end {
	struct ship	*sh;
	const struct snapshot *s;
	uint8_t		 digest[32];	/* of what was loaded */
	struct buf	 changed;	/* u64 inodes */
	struct why	*why;
};

static int
note_changed(void *arg, uint64_t ino)
{
	struct buf *b = arg;

	buf_put_u64(b, ino);
	return buf_err(b);
}

static int
loaded_fn(struct sqc *c, void *arg)
{
	struct load_end *e = arg;
	int err;

	err = snapshot_loaded(c, e->s, e->digest, e->why);
	if (err == 0)
		err = reload_changed(c, note_changed, &e->changed);
	return err;
}

static int
end_fn(struct sqc *c, void *arg)
{
	return reload_end(c);
}

static void
add_pieces(struct ship_fetches *fs, const struct snapshot *s, unsigned from)
{
	fs->n = 0;
	for (unsigned i = from; i < s->npieces && fs->n < SHIP_FETCHES; i++) {
		struct ship_fetch *t = ship_fetches_add(fs, PIECE_STORED_MAX,
		    0);

		t->hash = s->pieces[i].hash;
		t->early = fs->sh->fs->opt.memory >= EARLY_MEMORY;
		piece_key(t->hash, t->key);
	}
	ship_fetches_begin(fs);
}

/* Loads all pieces: while some are loaded the next are on their way. */
static int
load_pieces(struct ship *sh, const struct snapshot *s, uint8_t retdigest[32],
    struct why *why)
{
	struct ship_fetches *fs = calloc(2, sizeof(*fs));
	struct digest *sum = NULL;
	int err = fs == NULL ? -ENOMEM : digest_new(&sum);

	if (err != 0)
		goto out;
	ship_fetches_init(&fs[0], sh);
	ship_fetches_init(&fs[1], sh);
	add_pieces(&fs[0], s, 0);
	for (unsigned i = 0, turn = 0; i < s->npieces; turn ^= 1) {
		struct ship_fetches *now = &fs[turn];

		ship_fetches_wait(now);
		add_pieces(&fs[turn ^ 1], s, i + now->n);
		for (unsigned k = 0; err == 0 && k < now->n; k++, i++)
			err = load_piece(sh, &now->v[k], sum, why);
		if (err != 0)
			break;
	}
	ship_fetches_wait(&fs[0]);
	ship_fetches_wait(&fs[1]);
	ship_fetches_done(&fs[0]);
	ship_fetches_done(&fs[1]);
out:
	digest_final(sum, retdigest);
	free(fs);
	return err < 0 ? err : 0;
}

int
ship_load_snapshot(struct ship *sh, uint64_t lsn, struct why *why)
{
	struct sq *q = meta_sq(sh->fs->meta);
	struct why own = { "" };
	struct load_end end = { .sh = sh, .why = &own };
	struct buf b = BUF_INIT;
	struct snapshot s = { 0 };
	int64_t t0 = clock_mono();
	char key[KEY_MAX];
	int err;

	snapshot_key(lsn, key);
	err = ship_get_object(sh, key, SNAPSHOT_STORED_MAX, 0, &b, why);
	if (err == -ENOENT)
		err = home_damaged(sh->home, key, NULL, why);
	if (err == 0)
		err = snapshot_decode(b.p, b.len, &s, &own);
	if (err == 0 && s.lsn != lsn)
		err = why_set(&own, -EBADMSG, "it says it is snapshot %"
		    PRIu64, s.lsn);
	if (err != 0)
		goto out;
	end.s = &s;
	err = sq_write(q, begin_fn, NULL);
	if (err >= 0)
		err = load_pieces(sh, &s, end.digest, why);
	if (err == 0)
		err = sq_write(q, loaded_fn, &end);
	dirattrs_clear(sh->fs->dirs);
	if (err >= 0)
		err = ship_drop_replaced(sh->fs, &end.changed, why);
	/* what is written here (ESTALE) stays as it is: it is our own */
	if (err == 0 || err == -ESTALE) {
		int e = sq_write(q, end_fn, NULL);

		err = err != 0 ? err : e;
	}
	if (err != 0)
		goto out;
	log_info("snapshot loaded", "lsn=%" PRIu64 " pieces=%u ms=%" PRId64,
	    lsn, s.npieces, (clock_mono() - t0) / NSEC_PER_MSEC);
	ship_progress(sh, lsn, 0, false);
out:
	if (err == -EBADMSG && own.text[0] != '\0')
		(void)home_damaged(sh->home, key, own.text, why);
	else if (own.text[0] != '\0')
		why_set(why, err, "%s", own.text);
	buf_done(&end.changed);
	snapshot_done(&s);
	buf_done(&b);
	return err;
}

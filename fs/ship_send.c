/*
 * ship_send: freeze → packs → segment → landed (L2, S1..S4).
 *
 * A put's answer is believed when it is a plain yes; on anything else the
 * slot is read and its bytes say whose it is (S3).  The batch's bytes never
 * change once frozen; the segment around them does when another's segment
 * took the slot, for it names the hash of the one before.
 */
#include "fs/ship_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "cache/backing.h"
#include "cache/small.h"
#include "fs/pins.h"
#include "fs/stores.h"
#include "fs/upload.h"
#include "meta/reload.h"

#define PACKS_AT_ONCE	3u	/* each is up to PACK_MAX_BYTES in memory */
#define SMALL_PUTS	256
#define SMALL_BYTES	(4u << 20)

/* --- packs (S2) --- */

struct packs {
	struct ship	*sh;
	struct latch	 latch;
	struct lock	 lock;		/* what follows */
	struct buf	 list;		/* u64 objects */
	uint64_t	 next, n;
	int		 err;
	struct why	 why;
};

static int
note_pack(void *arg, uint64_t object, uint64_t size)
{
	struct packs *p = arg;

	buf_put_u64(&p->list, object);
	p->n++;
	return buf_err(&p->list);
}

struct compare { const uint8_t *p; size_t n, at; };

static int
compare_sink(void *arg, const void *p, size_t n)
{
	struct compare *cmp = arg;

	if (n > cmp->n - cmp->at || memcmp(cmp->p + cmp->at, p, n) != 0)
		return 1;
	cmp->at += n;
	return 0;
}

/* There is an object of that name: it must be ours, from before a crash or a
 * lost answer.  Names are never used twice (L1), so another's is damage. */
static int
pack_compare(struct ship *sh, const char *key, const struct buf *bytes,
    struct why *why)
{
	struct compare cmp = { bytes->p, bytes->len, 0 };
	struct store_call c;
	enum store_rc rc;

	ship_call(sh, &c, why, 0, bytes->len);
	rc = store_get(sh->home, &c, key, NULL, 0, 0, compare_sink, &cmp,
	    NULL);
	if (rc == STORE_OK && cmp.at == bytes->len)
		return 0;
	if (rc == STORE_OK || (rc == STORE_CANCELLED &&
	    !atomic_load(&sh->cancel)))
		return why_set(why, -EBADMSG, "%s: the object %s is not what"
		    " this host put there", sh->home->url, key);
	return ship_rc(sh, rc, why);
}

static int
pack_put(struct ship *sh, uint64_t object, struct why *why)
{
	struct buf bytes = { .max = PACK_MAX_BYTES + META_SMALL_MAX };
	struct store_call c;
	struct sqc *q;
	enum store_rc rc;
	char key[KEY_MAX];
	int err;

	err = sq_read(meta_sq(sh->fs->meta), &q);
	if (err != 0)
		return err;
	err = batch_pack_bytes(q, object, &bytes);
	sq_read_end(q);
	if (err == 0)
		err = buf_err(&bytes);
	if (err != 0)
		goto out;
	object_key(object, key);
	ship_call(sh, &c, why, 0, bytes.len);
	c.sole = true;	/* L1 */
	rc = store_put_mem(sh->home, &c, key, STORE_IF_ABSENT, NULL, bytes.p,
	    bytes.len, NULL);
	if (rc == STORE_EXISTS)
		err = pack_compare(sh, key, &bytes, why);
	else
		err = ship_rc(sh, rc, why);
	if (err == 0)
		counter_add(packs_written, 1);
out:
	buf_done(&bytes);
	return err;
}

/* One thread's share: packs, until there are no more or one failed. */
static void
packs_run(void *arg)
{
	struct packs *p = arg;

	for (;;) {
		struct why why = { "" };
		uint64_t object = 0;
		int err;

		lock_take(&p->lock);
		if (p->err == 0 && p->next < p->n) {
			struct cur c;

			cur_init(&c, p->list.p + 8 * p->next++, 8);
			object = cur_u64(&c);
		}
		lock_drop(&p->lock);
		if (object == 0)
			break;
		err = pack_put(p->sh, object, &why);
		if (err == 0)
			continue;
		lock_take(&p->lock);
		if (p->err == 0) {
			p->err = err;
			p->why = why;
		}
		lock_drop(&p->lock);
	}
	latch_down(&p->latch);
}

static int
packs_put(struct ship *sh, struct why *why)
{
	struct packs p = { .sh = sh };
	struct workers *io = sh->fs->io;
	unsigned threads;
	struct sqc *c;
	int err;

	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = batch_packs(c, note_pack, &p);
	sq_read_end(c);
	if (err != 0 || p.n == 0)
		goto out;
	threads = p.n < PACKS_AT_ONCE ? (unsigned)p.n : PACKS_AT_ONCE;
	lock_init(&p.lock, RANK_UPLOAD, "packs");
	latch_init(&p.latch, threads);
	for (unsigned i = 0; i < threads; i++)
		if (i == threads - 1 || io == NULL ||
		    workers_submit(io, WORK_NORMAL, packs_run, &p) != 0)
			packs_run(&p);
	latch_wait(&p.latch);
	latch_done(&p.latch);
	lock_done(&p.lock);
	err = p.err;
	if (err != 0)
		why_set(why, err, "%s", why_text(&p.why, err));
out:
	buf_done(&p.list);
	return err;
}

/* --- the slot --- */

int
ship_put_slot(struct ship *sh, uint64_t lsn, const struct buf *bytes,
    const uint8_t hash[32], int64_t deadline, struct why *why)
{
	struct buf there = BUF_INIT;
	struct why own = { "" };
	struct store_call c;
	enum store_rc rc;
	char key[KEY_MAX];
	int err;

	segment_key(lsn, key);
	ship_call(sh, &c, &own, deadline, bytes->len);
	rc = store_put_mem(sh->home, &c, key, STORE_IF_ABSENT, NULL, bytes->p,
	    bytes->len, NULL);
	if (rc == STORE_OK)
		goto ours;
	/* S3: what is in the slot decides; it is asked unless it cannot be */
	if (rc == STORE_UNREACHABLE || rc == STORE_CANCELLED ||
	    rc == STORE_NOMEM)
		goto failed;
	err = ship_get_slot(sh, lsn, deadline, &there, why);
	if (err < 0)
		goto out;
	if (err == 0 || there.len == 0)
		goto failed;
	if (there.len == bytes->len &&
	    memcmp(there.p, bytes->p, there.len) == 0)
		goto ours;
	counter_add(segments_lost, 1);
	err = ship_apply(sh, lsn, &there, why);
	goto out;
failed:
	if (why != NULL && why->text[0] == '\0')
		*why = own;
	err = ship_rc(sh, rc == STORE_EXISTS ? STORE_AMBIGUOUS : rc, why);
	goto out;
ours:
	/* applied like any other; of the frozen batch that is landing */
	err = ship_apply(sh, lsn, bytes, why);
	if (err == 0)
		err = 1;
	(void)ship_rc(sh, STORE_OK, NULL);
out:
	buf_done(&there);
	return err;
}

/* --- landing (S4, B6) --- */

struct keep {
	struct ship	*sh;
	struct small_put puts[SMALL_PUTS];
	unsigned	 n;
	struct buf	 bytes;	/* what the puts point into, by offset */
	size_t		 off[SMALL_PUTS];
	struct buf	 inos;		/* u64: whose bytes are clean now */
};

static int
keep_flush(struct keep *k)
{
	int err;

	if (k->n == 0)
		return 0;
	for (unsigned i = 0; i < k->n; i++)
		k->puts[i].p = k->bytes.p + k->off[i];
	err = small_put(k->sh->fs->cache, k->puts, k->n);
	k->n = 0;
	buf_reset(&k->bytes);
	/* not kept is no harm: they are in the store */
	return err == -ENOSPC ? 0 : err;
}

static int
keep_small(void *arg, uint64_t ino, uint64_t seq, uint64_t object,
    uint64_t ooff, const void *bytes, size_t n)
{
	struct keep *k = arg;
	int err = 0;

	if (k->n == SMALL_PUTS || k->bytes.len + n > SMALL_BYTES)
		err = keep_flush(k);
	if (err != 0)
		return err;
	k->off[k->n] = k->bytes.len;
	k->puts[k->n++].id = (struct small_id){ ino, object, ooff, n };
	buf_put(&k->bytes, bytes, n);
	buf_put_u64(&k->inos, ino);
	return buf_err(&k->bytes) != 0 ? buf_err(&k->bytes) :
	    buf_err(&k->inos);
}

/* The batch's small files become clean rows of small.db: before the record
 * of it (C6), for a row left over is never served. */
static int
keep_batch(struct keep *k)
{
	struct sqc *c;
	int err;

	err = sq_read(meta_sq(k->sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = batch_small(c, keep_small, k);
	sq_read_end(c);
	return err != 0 ? err : keep_flush(k);
}

struct landing {
	struct ship	*sh;
	struct meta_head h;
	struct buf	*inos;
	struct buf	 doubt;		/* of them; cache_is_doubtful */
};

static int
landed_stored(void *arg, struct sqc *c, uint64_t ino, uint64_t seq)
{
	struct landing *l = arg;
	int err = 0;

	if (l->sh->fs->cache != NULL) {
		err = bfile_landed(l->sh->fs->cache, c, ino, seq);
		if (cache_is_doubtful(l->sh->fs->cache, seq))
			buf_put_u64(&l->doubt, ino);
	}
	buf_put_u64(l->inos, ino);
	return err == -ENOENT ? 0 : err;
}

static int
landed_fn(struct sqc *c, void *arg)
{
	struct landing *l = arg;
	struct landed_fns fns = { .stored = landed_stored, .arg = l };

	return batch_landed(l->sh->fs->meta, c, &l->h, &fns);
}

static void
tell(struct fs *f, const struct landing *l)
{
	struct cur c;

	cur_init(&c, l->doubt.p, l->doubt.len);
	while (cur_left(&c) > 0)
		fs_inval_inode(f, cur_u64(&c));
	cur_init(&c, l->inos->p, l->inos->len);
	while (f->pins != NULL && cur_left(&c) > 0)
		pins_changed(f, cur_u64(&c));
}

int
ship_landed(struct ship *sh, uint64_t lsn, const uint8_t hash[32],
    uint64_t nbytes, struct why *why)
{
	struct fs *f = sh->fs;
	struct keep *k = calloc(1, sizeof(*k));
	struct landing l = { .sh = sh };
	struct journal_stat j;
	int err = 0;

	if (k == NULL)
		return -ENOMEM;
	k->sh = sh;
	if (f->cache != NULL)
		err = keep_batch(k);
	if (err != 0) {
		/* clean copies are lost, not the files */
		log_warn("small files of a batch are not kept", "err=%s",
		    strerror(-err));
		buf_reset(&k->inos);
	}
	l.h.lsn = lsn;
	memcpy(l.h.hash, hash, sizeof(l.h.hash));
	l.inos = &k->inos;
	err = sq_write(meta_sq(f->meta), landed_fn, &l);
	if (f->cache != NULL)
		cache_landed_commit(f->cache);
	if (err < 0) {
		why_set(why, err, "the state database cannot note that log %"
		    PRIu64 " landed: %s", lsn, strerror(-err));
		goto out;
	}
	err = 0;
	sh->packs_stored = 0;
	counter_add(segments_landed, 1);
	(void)ship_pending(sh, &j);
	ship_progress(sh, lsn, nbytes, true);
	tell(f, &l);
out:
	buf_done(&k->bytes);
	buf_done(&k->inos);
	buf_done(&l.doubt);
	free(k);
	return err;
}

/* --- sending --- */

/* The frozen batch; *retok: every replay will apply it (batch_admissible). */
static int
get_frozen(struct ship *sh, struct batch *ret, bool *retok)
{
	struct sqc *c;
	int err, ok = 0;

	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = batch_get(c, ret);
	if (err == 0)
		ok = batch_admissible(c, ret);
	sq_read_end(c);
	*retok = ok == 1;
	return err != 0 ? err : ok < 0 ? ok : 0;
}

static int
drop_closes_fn(struct sqc *c, void *arg)
{
	return journal_drop_closes(c);
}

/* The frozen batch's session is not open any more.  Changes stay queued
 * (L13); the mere close of that session is done with. */
static int
frozen_refused(struct ship *sh, const struct batch *b, struct why *why)
{
	int err = sq_write(meta_sq(sh->fs->meta), drop_closes_fn, NULL);

	if (err != -EBUSY)
		return err < 0 ? err : 0;
	return why_set(why, -ESTALE, "the log has shut out the session %u,"
	    " whose changes are queued; they are kept in this host's state"
	    " directory", b->session);
}

/* The batch into the next slot: 1 landed, 0 another's was there. */
static int
send_batch(struct ship *sh, const struct batch *b, struct why *why)
{
	struct buf bytes = BUF_INIT;
	struct meta_head h;
	uint8_t hash[32];
	int err;

	err = ship_head(sh, &h);
	if (err == 0)
		err = segment_encode(h.lsn + 1, h.hash, b, 1, &bytes, hash);
	if (err == 0)
		err = ship_put_slot(sh, h.lsn + 1, &bytes, hash, 0, why);
	buf_done(&bytes);
	return err;
}

int
ship_send_frozen(struct ship *sh, struct why *why)
{
	struct batch b = { 0 };
	bool ok = false;
	int err;

	err = get_frozen(sh, &b, &ok);
	if (err != 0) {
		batch_done(&b);
		return err == -ENOENT ? 0 : err;
	}
	if (!ok) {
		err = frozen_refused(sh, &b, why);
		batch_done(&b);
		return err;
	}
	log_debug("commit begins", "first=%llu",
	    (unsigned long long)b.first);
	if (sh->packs_stored != b.first) {
		err = packs_put(sh, why);
		if (err == 0)
			sh->packs_stored = b.first;
	}
	while (err == 0)
		err = send_batch(sh, &b, why);
	log_debug("commit ends", "err=%d", err < 0 ? err : 0);
	batch_done(&b);
	return err < 0 ? err : 0;
}

/* All that can go has gone: what is left is held, or not ready. */
static void
note_looked(struct ship *sh)
{
	lock_take(&sh->lock);
	sh->looked++;
	cond_broadcast(&sh->moved);
	lock_drop(&sh->lock);
}

int
ship_send_ready(struct ship *sh, struct why *why)
{
	struct freeze_down down;
	struct journal_stat j;
	uint64_t until;
	int rc;

	/* What is journalled meanwhile waits for its own lag, so that a busy
	 * host makes a segment a second, not one for every few changes. */
	rc = ship_pending(sh, &j);
	until = j.last_seq;
	while (rc == 0 && j.ops > 0 && j.first_seq <= until) {
		upload_down(sh->fs, &down);
		rc = batch_freeze_held(sh->fs->meta, STORE_HOME_ID, until,
		    &down);
		if (rc < 0)
			return why_set(why, rc, "cannot freeze a batch: %s",
			    strerror(-rc));
		if (rc == 0)
			break;
		rc = ship_send_frozen(sh, why);
		if (rc == 0)
			rc = ship_pending(sh, &j);
	}
	if (rc == 0)
		note_looked(sh);
	return rc < 0 ? rc : ship_pending(sh, &j);
}

/*
 * ship_catchup: from where this database is to the head of the log.
 *
 *   MANIFEST → a snapshot, when the database is empty or the log before it is
 *   gone → segments after it, several fetched at once → the first slot that
 *   is absent → MANIFEST again (L7)
 *
 * One's own frozen batch, met on the way, lands (S1, S3).  Anything else that
 * changes something while changes of ours are queued means that another host
 * took over (L13): they are not applied, and the queue is kept.  Bytes that
 * were written and have no op yet are such changes, too; so they get one first
 * (decide), what is queued is counted again in the transaction that applies
 * (replay_fn), and bytes that nobody stored are never dropped (bfile_replaced).
 */
#include "fs/ship_impl.h"
#include "fs/vnode.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache/backing.h"
#include "fs/io.h"
#include "fs/stores.h"
#include "meta/import.h"
#include "meta/reload.h"

#define L7_INTERVAL	(3600 * NSEC_PER_SEC)
#define POLL_TIMEOUT	(5 * NSEC_PER_SEC)	/* then it is OFFLINE */

/* --- what a segment means to this host --- */

static bool
batch_is(const struct batch *a, const struct batch *b)
{
	return a->session == b->session && a->nonce == b->nonce &&
	    a->first == b->first && a->last == b->last &&
	    a->body.len == b->body.len &&
	    memcmp(a->body.p, b->body.p, a->body.len) == 0;
}

/* An open of a session of this state directory. */
static bool
open_is_ours(const struct ship *sh, const struct op *op)
{
	struct meta_session me;

	meta_session_get(sh->fs->meta, &me);
	return op->kind == OP_SESSION_OPEN &&
	    memcmp(op->state_id, me.state_id, sizeof(me.state_id)) == 0;
}

/* Applying it changes nothing but sessions of ours: batches that replay
 * ignores, or our own opening. */
static int
is_harmless(struct ship *sh, struct sqc *c, const struct segment *seg)
{
	const struct op *ops;
	unsigned n;
	int rc;

	rc = segment_opens(seg, &ops, &n);
	if (rc != 0)
		return rc;
	for (unsigned i = 0; i < n; i++)
		if (!open_is_ours(sh, &ops[i]))
			return 0;
	for (unsigned i = 0; i < seg->nbatches; i++) {
		if (n > 0 && seg->batches[i].nops == 1)
			continue;	/* the opening itself */
		rc = batch_admissible(c, &seg->batches[i]);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	return 1;
}

enum verdict { MINE, HARMLESS, APPLY, AGAINST };

static int
judge(struct ship *sh, const struct segment *seg, enum verdict *ret)
{
	struct batch frozen = { 0 };
	uint64_t changes = 0;
	struct sqc *c;
	int err;

	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = batch_get(c, &frozen);
	if (err == 0 && seg->nbatches == 1 &&
	    batch_is(&frozen, &seg->batches[0])) {
		*ret = MINE;
		goto out;
	}
	if (err == 0 || err == -ENOENT)
		err = journal_changes(c, &changes);
	if (err != 0)
		goto out;
	err = is_harmless(sh, c, seg);
	if (err >= 0)
		*ret = err == 1 ? HARMLESS : changes > 0 ? AGAINST : APPLY;
	if (err > 0)
		err = 0;
out:
	batch_done(&frozen);
	sq_read_end(c);
	return err;
}

/* What was written to files that are open gets its op. */
static int
journal_open(struct ship *sh)
{
	struct fs *f = sh->fs;
	uint64_t seq;

	if (f->opt.read_only || f->vnodes == NULL)
		return 0;
	return io_journal_dirty(f, 0, &seq);
}

static int
decide(struct ship *sh, const struct segment *seg, enum verdict *ret)
{
	int err = judge(sh, seg, ret);

	if (err == 0 && *ret == APPLY) {
		err = journal_open(sh);
		if (err == 0)
			err = judge(sh, seg, ret);
	}
	return err;
}

/* --- what another host changed --- */

int
ship_drop_replaced(struct fs *f, const struct buf *inos, struct why *why)
{
	struct cur c;
	int err = 0, rc = 0;

	cur_init(&c, inos->p, inos->len);
	while (f->cache != NULL && (rc == 0 || rc == -EBUSY) &&
	    cur_left(&c) > 0) {
		rc = bfile_replaced(f->cache, cur_u64(&c));
		if (rc == -ENOENT)
			rc = 0;
		if (err == 0 || (rc != 0 && rc != -EBUSY))
			err = rc;
	}
	if (err == -EBUSY)
		err = why_set(why, -ESTALE, "another host changed a file that"
		    " is being written here; what was not stored is kept in"
		    " this host's state directory");
	return err;
}

/* --- replay --- */

struct replay {
	const struct segment *seg;
	bool		 alone;		/* only if nothing of ours is queued */
	bool		 overtaken;	/* something was */
	const struct changed_fns *fns;
	struct why	*why;
};

static int
replay_fn(struct sqc *c, void *arg)
{
	struct replay *r = arg;
	uint64_t changes = 0;
	int err = r->alone ? journal_changes(c, &changes) : 0;

	r->overtaken = err == 0 && changes > 0;
	if (r->overtaken)
		err = -EAGAIN;
	return err != 0 ? err : segment_replay(c, r->seg, r->fns, r->why);
}

struct attaching {
	struct ship	*sh;
	struct why	*why;
	char		 key[KEY_MAX];	/* of the piece that was got last */
};

static int
get_piece(void *arg, const uint8_t hash[32], struct buf *out)
{
	struct attaching *a = arg;
	int err;

	piece_key(hash, a->key);
	err = ship_get_object(a->sh, a->key, PIECE_STORED_MAX, 0, out, a->why);
	return err != -ENOENT ? err : home_damaged(a->sh->home, a->key, NULL,
	    a->why);
}

/* Pieces of another's import, before the attach that shows them. */
static int
load_attach(void *arg, uint64_t lo, uint64_t hi, const uint8_t *hashes,
    size_t n)
{
	struct attaching *a = arg;
	struct meta *m = a->sh->fs->meta;
	struct why own = { "" };
	int err;

	err = import_load(m, lo, hi, hashes, n, get_piece, a, &own);
	if (err == -EEXIST) {
		/* loaded before a replay that failed */
		err = import_load_abort(m, lo);
		if (err == 0)
			err = import_load(m, lo, hi, hashes, n, get_piece, a,
			    &own);
	}
	if (err == -EBADMSG && own.text[0] != '\0')
		return home_damaged(a->sh->home, a->key, own.text, a->why);
	return err == 0 ? 0 : why_set(a->why, err, "%s", why_text(&own, err));
}

/* 1: changes of ours were queued meanwhile, and nothing is applied. */
static int
replay(struct ship *sh, const struct segment *seg, enum verdict v,
    struct why *why)
{
	struct fs *f = sh->fs;
	struct ship_changes ch = { 0 };
	struct changed_fns fns = { ship_told_inode, ship_told_entry, &ch };
	struct replay r = { seg, v == APPLY, false, f->front != NULL ? &fns :
	    NULL, why };
	struct attaching a = { .sh = sh, .why = why };
	int err;

	err = segment_attaches(seg, load_attach, &a);
	if (err == 0 && v == APPLY)
		err = ship_find_replaced(seg, &ch);
	/* before, lest a crash leave old bytes under a new tree; and after,
	 * for what was filled in between */
	if (err == 0)
		err = ship_drop_replaced(f, &ch.replaced, why);
	if (err == 0)
		err = sq_write(meta_sq(f->meta), replay_fn, &r);
	if (err >= 0)
		err = ship_drop_replaced(f, &ch.replaced, why);
	if (err == 0) {
		ship_tell(f, &ch);
	}
	ship_changes_done(&ch);
	return r.overtaken ? 1 : err;
}

/* Says why ours cannot go on against this segment. */
static int
say_against(const struct segment *seg, struct why *why)
{
	const struct op *ops;
	unsigned n;

	if (segment_opens(seg, &ops, &n) == 0)
		for (unsigned i = 0; i < n; i++)
			if (ops[i].kind == OP_SESSION_OPEN)
				return why_set(why, -ESTALE, "the host '%s'"
				    " took the namespace over (log %" PRIu64
				    "); what was not stored is kept in this"
				    " host's state directory", ops[i].name,
				    seg->lsn);
	return why_set(why, -ESTALE, "another host changed the namespace"
	    " (log %" PRIu64 ") while changes of this one were queued; they"
	    " are kept in this host's state directory", seg->lsn);
}

int
ship_apply(struct ship *sh, uint64_t lsn, const struct buf *bytes,
    struct why *why)
{
	struct segment seg = { 0 };
	struct why own = { "" };
	enum verdict v;
	char lost[200], key[KEY_MAX];
	int err;

	segment_key(lsn, key);
	err = segment_decode(bytes->p, bytes->len, lsn, &seg, &own);
	if (err == -EBADMSG)
		(void)home_damaged(sh->home, key, own.text, why);
	else if (err != 0)
		why_set(why, err, "%s: %s", sh->home->url, why_text(&own,
		    err));
again:
	if (err == 0)
		err = decide(sh, &seg, &v);
	if (err != 0)
		goto out;
	if (v == AGAINST) {
		err = say_against(&seg, why);
		goto out;
	}
	if (v == MINE) {
		err = ship_landed(sh, lsn, seg.hash, bytes->len, why);
		if (err == 0)
			err = 1;
		goto out;
	}
	err = replay(sh, &seg, v, &own);
	if (err > 0) {
		err = 0;
		goto again;
	}
	if (err == -EBADMSG && strncmp(own.text, "segment", 7) == 0)
		(void)home_damaged(sh->home, key, own.text, why);
	else if (err != 0)
		why_set(why, err, "%s", why_text(&own, err));
	if (err != 0)
		goto out;
	ship_progress(sh, lsn, bytes->len, false);
	if (ship_session_lost(sh, lost, sizeof(lost)))
		err = why_set(why, -ESTALE, "%s", lost);
out:
	segment_done(&seg);
	return err;
}

/* --- the log --- */

/* Slot 1 is a function of gnsfs.json: who formats and dies leaves it to the
 * first mount. */
static int
put_first(struct ship *sh, struct why *why)
{
	struct buf b = BUF_INIT;
	struct store_call c;
	struct home_id id;
	uint8_t hash[32];
	int err;

	if (sh->fs->opt.read_only)
		return why_set(why, -EROFS, "%s: the namespace was never"
		    " mounted; mount it once for writing", sh->home->url);
	ship_call(sh, &c, NULL, 0, 0);
	err = home_read(sh->home, &c, &id, why);
	if (err == 0)
		err = home_first_segment(&id, &b, hash);
	if (err == 0)
		err = ship_put_slot(sh, 1, &b, hash, 0, why);
	buf_done(&b);
	return err < 0 ? err : 0;
}

/* Slot lsn was absent while something says that the log goes on: 1 and its
 * bytes, it has come meanwhile; -EBADMSG: it is missing. */
static int
look_again(struct ship *sh, uint64_t lsn, struct buf *out, struct why *why)
{
	char key[KEY_MAX];
	int rc;

	buf_reset(out);
	rc = ship_get_slot(sh, lsn, 0, out, why);
	if (rc != 0)
		return rc;
	segment_key(lsn, key);
	return home_damaged(sh->home, key, NULL, why);
}

/* Of fetch i, which is of slot lsn: 1 and its bytes, 0 the log ends before. */
static int
slot_result(struct ship_fetches *fs, unsigned i, uint64_t lsn,
    struct why *why)
{
	int rc = ship_fetch_result(&fs->v[i], why);

	for (unsigned k = i + 1; rc == 0 && k < fs->n; k++)
		if (fs->v[k].rc == STORE_OK)
			return look_again(fs->sh, lsn, &fs->v[i].bytes, why);
	return rc;
}

/* Applies slots from head + 1 until one is absent; `window` of them are
 * fetched at once, more as long as all are there.  timeout: ns, of what is
 * fetched at once, for between lies work; 0: that of any call. */
static int
replay_log(struct ship *sh, int64_t timeout, struct why *why)
{
	struct ship_fetches *fs = calloc(1, sizeof(*fs));
	struct meta_head h;
	unsigned window = 1;
	int err;

	if (fs == NULL)
		return -ENOMEM;
	ship_fetches_init(fs, sh);
	err = ship_head(sh, &h);
	while (err == 0) {
		int64_t deadline = timeout != 0 ? clock_mono() + timeout : 0;

		fs->n = 0;
		for (unsigned i = 0; i < window; i++)
			segment_key(h.lsn + 1 + i, ship_fetches_add(fs,
			    SEGMENT_MAX, deadline)->key);
		ship_fetches_begin(fs);
		ship_fetches_wait(fs);
		for (unsigned i = 0; i < fs->n; i++) {
			err = slot_result(fs, i, h.lsn + 1, why);
			if (err <= 0)
				goto out;
			err = ship_apply(sh, h.lsn + 1, &fs->v[i].bytes, why);
			if (err < 0)
				goto out;
			h.lsn++;
		}
		err = 0;
		window = SHIP_FETCHES;
	}
out:
	ship_fetches_done(fs);
	free(fs);
	return err;
}

/* once: one attempt; where there is a way to go on without the home. */
static int
read_manifest(struct ship *sh, int64_t deadline, bool once,
    struct manifest *ret, struct why *why)
{
	struct store_call c;
	int err;

	ship_call(sh, &c, NULL, deadline, 0);
	c.once = once;
	err = manifest_read(sh->home, &c, ret, why);
	if (err == -EHOSTUNREACH)
		return ship_rc(sh, STORE_UNREACHABLE, why);
	if (err == 0)
		(void)ship_rc(sh, STORE_OK, NULL);
	return err;
}

/* The snapshot to begin with: 0 when the log alone will do. */
static int
choose_snapshot(struct ship *sh, const struct manifest *m, uint64_t *ret,
    struct why *why)
{
	struct meta_head h = { 0 };
	uint64_t newest = m->nsnaps > 0 ? m->snaps[m->nsnaps - 1] : 0;
	struct journal_stat j = { 0 };
	struct sqc *c;
	int err, begun;

	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	begun = reload_is_begun(c);
	err = begun < 0 ? begun : meta_head(c, &h);
	sq_read_end(c);
	if (err != 0)
		return err;
	*ret = 0;
	if (begun == 0 && h.lsn > 0 && h.lsn + 1 >= m->watermark)
		return 0;
	err = journal_open(sh);
	if (err == 0)
		err = ship_pending(sh, &j);
	if (err != 0)
		return err;
	if (j.ops > 0)
		return why_set(why, -ESTALE, "the log went on without this"
		    " host and what it would have to replay is gone; what was"
		    " not stored is kept in its state directory");
	if (newest == 0 && begun == 1)
		return why_set(why, -EBADMSG, "%s: MANIFEST names no snapshot"
		    " to begin with", sh->home->url);
	*ret = newest;
	return 0;
}

int
ship_catch_up(struct ship *sh, int64_t deadline, struct why *why)
{
	struct manifest m;
	struct meta_head h;
	struct buf b = BUF_INIT;
	uint64_t snap;
	int err;

	/* The deadline is for the first answer; what follows is work that
	 * goes on, and each call of it has its own. */
	err = read_manifest(sh, deadline, ship_has_local_state(sh), &m, why);
	for (;;) {
		if (err == 0)
			err = choose_snapshot(sh, &m, &snap, why);
		if (err == 0 && snap != 0)
			err = ship_load_snapshot(sh, snap, why);
		if (err == 0)
			err = replay_log(sh, 0, why);
		if (err == 0)
			err = ship_head(sh, &h);
		if (err == 0 && h.lsn == 0) {
			err = put_first(sh, why);
			if (err == 0)
				continue;
		}
		/* L7: the absent slot means the end only if it was not
		 * truncated away */
		if (err == 0)
			err = read_manifest(sh, 0, false, &m, why);
		if (err != 0)
			break;
		if (m.watermark > h.lsn + 1)
			continue;
		if (m.head <= h.lsn)
			break;
		err = look_again(sh, h.lsn + 1, &b, why);
		if (err > 0)
			err = 0;
	}
	buf_done(&b);
	if (err != 0)
		return err;
	lock_take(&sh->lock);
	sh->lsn = h.lsn;
	sh->snap_lsn = m.nsnaps > 0 ? m.snaps[m.nsnaps - 1] : 0;
	lock_drop(&sh->lock);
	sh->progress = clock_boot();
	return 0;
}

int
ship_poll(struct ship *sh, struct why *why)
{
	/* L7: an hour without progress */
	if (clock_boot() - sh->progress > L7_INTERVAL)
		return ship_catch_up(sh, 0, why);
	return replay_log(sh, POLL_TIMEOUT, why);
}

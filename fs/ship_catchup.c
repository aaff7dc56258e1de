/*
 * ship_catchup: from where this database is to the head of the log.
 *
 *   MANIFEST → a snapshot, when the database is empty or the log before it is
 *   gone → segments after it, several fetched at once → the first slot that
 *   is absent → MANIFEST again (L7)
 *
 * One's own frozen batch, met on the way, lands (S1, S3).  Anything else that
 * changes something while changes of ours are queued means that another host
 * took over (L13): they are not applied, and the queue is kept.
 */
#include "fs/ship_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache/backing.h"
#include "fs/stores.h"
#include "meta/import.h"
#include "meta/reload.h"

#define L7_INTERVAL	(3600 * NSEC_PER_SEC)
#define PIECE_STORED_MAX (16u << 20)	/* bytes; PIECE_MAX before compression */
#define SNAPSHOT_STORED_MAX (64u << 20)

/* --- fetching several at once --- */

void
ship_fetches_init(struct ship_fetches *fs, struct ship *sh)
{
	*fs = (struct ship_fetches){ .sh = sh };
	latch_init(&fs->latch, 0);
}

struct ship_fetch *
ship_fetches_add(struct ship_fetches *fs, size_t max, int64_t deadline)
{
	struct ship_fetch *t;

	if (fs->n == SHIP_FETCHES)
		return NULL;
	t = &fs->v[fs->n++];
	buf_reset(&t->bytes);
	t->bytes.max = max;
	t->sh = fs->sh;
	t->latch = &fs->latch;
	t->deadline = deadline;
	t->max = max;
	t->why.text[0] = '\0';
	t->rc = STORE_OK;
	return t;
}

static void
fetch_run(void *arg)
{
	struct ship_fetch *t = arg;
	struct store_call c;

	ship_call(t->sh, &c, &t->why, t->deadline, t->max);
	t->rc = store_get_all(t->sh->home, &c, t->key, t->max, &t->bytes,
	    NULL);
	latch_down(t->latch);
}

void
ship_fetches_begin(struct ship_fetches *fs)
{
	struct workers *io = fs->sh->fs->io;

	latch_add(&fs->latch, fs->n);
	for (unsigned i = 0; i < fs->n; i++)
		if (io == NULL || fs->n == 1 || workers_submit(io, WORK_NORMAL,
		    fetch_run, &fs->v[i]) != 0)
			fetch_run(&fs->v[i]);
}

void
ship_fetches_wait(struct ship_fetches *fs)
{
	latch_wait(&fs->latch);
}

void
ship_fetches_done(struct ship_fetches *fs)
{
	for (unsigned i = 0; i < SHIP_FETCHES; i++)
		buf_done(&fs->v[i].bytes);
	latch_done(&fs->latch);
}

/* 1 there, 0 absent, -errno. */
static int
fetch_result(struct ship_fetch *t, struct why *why)
{
	if (t->rc == STORE_ABSENT && t->why.text[0] == '\0') {
		(void)ship_rc(t->sh, STORE_OK, NULL);
		return 0;
	}
	if (t->rc == STORE_OK) {
		(void)ship_rc(t->sh, STORE_OK, NULL);
		return 1;
	}
	if (why != NULL && why->text[0] == '\0')
		*why = t->why;
	return ship_rc(t->sh, t->rc, why);
}

/* One object; absent is -ENOENT. */
static int
get_object(struct ship *sh, const char *key, size_t max, int64_t deadline,
    struct buf *out, struct why *why)
{
	struct store_call c;
	struct why own = { "" };
	enum store_rc rc;

	ship_call(sh, &c, &own, deadline, max);
	rc = store_get_all(sh->home, &c, key, max, out, NULL);
	if (rc == STORE_ABSENT && own.text[0] == '\0') {
		(void)ship_rc(sh, STORE_OK, NULL);
		return -ENOENT;
	}
	if (rc != STORE_OK && why != NULL && why->text[0] == '\0')
		*why = own;
	return ship_rc(sh, rc, why);
}

int
ship_get_slot(struct ship *sh, uint64_t lsn, int64_t deadline,
    struct buf *out, struct why *why)
{
	char key[KEY_MAX];
	int err;

	segment_key(lsn, key);
	err = get_object(sh, key, SEGMENT_MAX, deadline, out, why);
	return err == 0 ? 1 : err == -ENOENT ? 0 : err;
}

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
	struct journal_stat j;
	struct batch frozen = { 0 };
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
		err = journal_stat(c, &j);
	if (err != 0)
		goto out;
	*ret = APPLY;
	if (j.ops > 0) {
		err = is_harmless(sh, c, seg);
		if (err >= 0)
			*ret = err == 1 ? HARMLESS : AGAINST;
		if (err > 0)
			err = 0;
	}
out:
	batch_done(&frozen);
	sq_read_end(c);
	return err;
}

/* --- invalidation: told while replaying, done after the commit (F4) --- */

struct changes {
	struct buf	 told;		/* 'i' ino | 'e' parent name */
	struct buf	 replaced;	/* u64: inodes whose bytes are others' */
};

static void
told_inode(void *arg, uint64_t ino)
{
	struct changes *ch = arg;

	buf_put_u8(&ch->told, 'i');
	buf_put_u64(&ch->told, ino);
}

static void
told_entry(void *arg, uint64_t parent, const char *name)
{
	struct changes *ch = arg;

	buf_put_u8(&ch->told, 'e');
	buf_put_u64(&ch->told, parent);
	buf_put(&ch->told, name, strlen(name) + 1);
}

static void
changes_tell(struct fs *f, struct changes *ch)
{
	struct cur c;

	cur_init(&c, ch->told.p, ch->told.len);
	while (f->front != NULL && !cur_at_end(&c)) {
		bool inode = cur_u8(&c) == 'i';
		uint64_t ino = cur_u64(&c);

		if (inode) {
			fs_inval_inode(f, ino);
		} else {
			fs_inval_entry(f, ino, (const char *)c.p);
			(void)cur_raw(&c, strlen((const char *)c.p) + 1);
		}
	}
}

static void
changes_done(struct changes *ch)
{
	buf_done(&ch->told);
	buf_done(&ch->replaced);
}

/* The inodes whose content the segment's ops replace. */
static int
find_replaced(const struct segment *seg, struct buf *out)
{
	struct buf store = BUF_INIT;

	for (unsigned i = 0; i < seg->nbatches; i++) {
		const struct batch *b = &seg->batches[i];
		struct cur c;
		struct op op;

		cur_init(&c, b->body.p, b->body.len);
		while (!cur_at_end(&c)) {
			buf_reset(&store);
			op_decode(&c, &op, &store);
			if (cur_err(&c) == 0 && (op.kind == OP_TRUNCATE ||
			    (op.kind == OP_EXTENTS &&
			    (op.flags & EXT_VOID) == 0)))
				buf_put_u64(out, op.ino);
		}
	}
	buf_done(&store);
	return buf_err(out);
}

static int
drop_replaced(struct fs *f, const struct buf *inos)
{
	struct cur c;
	int err = 0;

	cur_init(&c, inos->p, inos->len);
	while (f->cache != NULL && err == 0 && cur_left(&c) > 0) {
		err = bfile_replaced(f->cache, cur_u64(&c));
		if (err == -ENOENT)
			err = 0;
	}
	return err;
}

/* --- replay --- */

struct replay {
	const struct segment *seg;
	const struct changed_fns *fns;
	struct why	*why;
};

static int
replay_fn(struct sqc *c, void *arg)
{
	struct replay *r = arg;

	return segment_replay(c, r->seg, r->fns, r->why);
}

static int
get_piece(void *arg, const uint8_t hash[32], struct buf *out)
{
	struct ship *sh = arg;
	char key[KEY_MAX];

	piece_key(hash, key);
	return get_object(sh, key, PIECE_STORED_MAX, 0, out, NULL);
}

struct attaching { struct ship *sh; struct why *why; };

/* Pieces of another's import, before the attach that shows them. */
static int
load_attach(void *arg, uint64_t lo, uint64_t hi, const uint8_t *hashes,
    size_t n)
{
	struct attaching *a = arg;
	struct meta *m = a->sh->fs->meta;
	int err;

	err = import_load(m, lo, hi, hashes, n, get_piece, a->sh, a->why);
	if (err != -EEXIST)
		return err;
	/* loaded before a replay that failed */
	err = import_load_abort(m, lo);
	if (err == 0)
		err = import_load(m, lo, hi, hashes, n, get_piece, a->sh,
		    a->why);
	return err;
}

static int
replay(struct ship *sh, const struct segment *seg, struct why *why)
{
	struct fs *f = sh->fs;
	struct changes ch = { 0 };
	struct changed_fns fns = { told_inode, told_entry, &ch };
	struct replay r = { seg, f->front != NULL ? &fns : NULL, why };
	struct attaching a = { sh, why };
	int err;

	err = segment_attaches(seg, load_attach, &a);
	if (err == 0)
		err = find_replaced(seg, &ch.replaced);
	/* before, lest a crash leave old bytes under a new tree; and after,
	 * for what was filled in between */
	if (err == 0)
		err = drop_replaced(f, &ch.replaced);
	if (err == 0)
		err = sq_write(meta_sq(f->meta), replay_fn, &r);
	if (err >= 0)
		err = drop_replaced(f, &ch.replaced);
	if (err == 0)
		changes_tell(f, &ch);
	changes_done(&ch);
	return err;
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
	enum verdict v;
	char lost[200];
	int err;

	err = segment_decode(bytes->p, bytes->len, lsn, &seg, why);
	if (err == 0)
		err = judge(sh, &seg, &v);
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
	err = replay(sh, &seg, why);
	if (err != 0)
		goto out;
	ship_progress(sh, lsn, bytes->len, false);
	if (ship_session_lost(sh, lost, sizeof(lost)))
		err = why_set(why, -ESTALE, "%s", lost);
out:
	segment_done(&seg);
	return err;
}

/* --- a snapshot --- */

static int
begin_fn(struct sqc *c, void *arg)
{
	return reload_begin(c);
}

struct load_piece { struct ship_fetch *t; const uint8_t *hash; struct why *why; };

static int
load_piece_fn(struct sqc *c, void *arg)
{
	struct load_piece *p = arg;

	return piece_load(c, p->t->bytes.p, p->t->bytes.len, p->hash, 0, 0,
	    p->why);
}

struct load_end {
	struct ship	*sh;
	const struct snapshot *s;
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
load_end_fn(struct sqc *c, void *arg)
{
	struct load_end *e = arg;
	int err;

	err = snapshot_loaded(c, e->s, e->why);
	if (err == 0)
		err = reload_end(c, note_changed, &e->changed);
	return err;
}

static void
add_pieces(struct ship_fetches *fs, const struct snapshot *s, unsigned from,
    int64_t deadline)
{
	fs->n = 0;
	for (unsigned i = from; i < s->npieces && fs->n < SHIP_FETCHES; i++) {
		struct ship_fetch *t = ship_fetches_add(fs, PIECE_STORED_MAX,
		    deadline);

		piece_key(s->pieces[i].hash, t->key);
	}
	ship_fetches_begin(fs);
}

/* Loads all pieces: while some are loaded the next are on their way. */
static int
load_pieces(struct ship *sh, const struct snapshot *s, int64_t deadline,
    struct why *why)
{
	struct ship_fetches *fs = calloc(2, sizeof(*fs));
	int err = 0;

	if (fs == NULL)
		return -ENOMEM;
	ship_fetches_init(&fs[0], sh);
	ship_fetches_init(&fs[1], sh);
	add_pieces(&fs[0], s, 0, deadline);
	for (unsigned i = 0, turn = 0; i < s->npieces; turn ^= 1) {
		struct ship_fetches *now = &fs[turn];

		ship_fetches_wait(now);
		add_pieces(&fs[turn ^ 1], s, i + now->n, deadline);
		for (unsigned k = 0; err == 0 && k < now->n; k++, i++) {
			struct load_piece p = { &now->v[k],
			    s->pieces[i].hash, why };

			err = fetch_result(&now->v[k], why);
			if (err == 0)
				err = why_set(why, -EBADMSG, "%s: the piece %s"
				    " of snapshot %" PRIu64 " is missing",
				    sh->home->url, now->v[k].key, s->lsn);
			if (err == 1)
				err = sq_write(meta_sq(sh->fs->meta),
				    load_piece_fn, &p);
		}
		if (err != 0)
			break;
	}
	ship_fetches_wait(&fs[0]);
	ship_fetches_wait(&fs[1]);
	ship_fetches_done(&fs[0]);
	ship_fetches_done(&fs[1]);
	free(fs);
	return err < 0 ? err : 0;
}

static int
load_snapshot(struct ship *sh, uint64_t lsn, int64_t deadline, struct why *why)
{
	struct sq *q = meta_sq(sh->fs->meta);
	struct load_end end = { .sh = sh, .why = why };
	struct buf b = BUF_INIT;
	struct snapshot s = { 0 };
	int64_t t0 = clock_mono();
	char key[KEY_MAX];
	int err;

	snapshot_key(lsn, key);
	err = get_object(sh, key, SNAPSHOT_STORED_MAX, deadline, &b, why);
	if (err == -ENOENT)
		err = why_set(why, -EBADMSG, "%s: the snapshot %" PRIu64
		    " is missing", sh->home->url, lsn);
	if (err == 0)
		err = snapshot_decode(b.p, b.len, &s, why);
	if (err == 0 && s.lsn != lsn)
		err = why_set(why, -EBADMSG, "%s: snapshot %" PRIu64
		    " says it is %" PRIu64, sh->home->url, lsn, s.lsn);
	if (err != 0)
		goto out;
	end.s = &s;
	err = sq_write(q, begin_fn, NULL);
	if (err >= 0)
		err = load_pieces(sh, &s, 0, why);
	if (err == 0)
		err = sq_write(q, load_end_fn, &end);
	if (err >= 0)
		err = drop_replaced(sh->fs, &end.changed);
	if (err != 0)
		goto out;
	log_info("snapshot loaded", "lsn=%" PRIu64 " pieces=%u ms=%" PRId64,
	    lsn, s.npieces, (clock_mono() - t0) / NSEC_PER_MSEC);
	ship_progress(sh, lsn, 0, false);
out:
	buf_done(&end.changed);
	snapshot_done(&s);
	buf_done(&b);
	return err;
}

/* --- the log --- */

/* Slot 1 is a function of gnsfs.json: who formats and dies leaves it to the
 * first mount. */
static int
put_first(struct ship *sh, int64_t deadline, struct why *why)
{
	struct buf b = BUF_INIT;
	struct store_call c;
	struct home_id id;
	uint8_t hash[32];
	int err;

	if (sh->fs->opt.read_only)
		return why_set(why, -EROFS, "%s: the namespace was never"
		    " mounted; mount it once for writing", sh->home->url);
	ship_call(sh, &c, NULL, deadline, 0);
	err = home_read(sh->home, &c, &id, why);
	if (err == 0)
		err = home_first_segment(&id, &b, hash);
	if (err == 0)
		err = ship_put_slot(sh, 1, &b, hash, deadline, why);
	buf_done(&b);
	return err < 0 ? err : 0;
}

/* Applies slots from head + 1 until one is absent; `window` of them are
 * fetched at once, more as long as all are there. */
static int
replay_log(struct ship *sh, int64_t deadline, struct why *why)
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
		fs->n = 0;
		for (unsigned i = 0; i < window; i++)
			segment_key(h.lsn + 1 + i, ship_fetches_add(fs,
			    SEGMENT_MAX, deadline)->key);
		ship_fetches_begin(fs);
		ship_fetches_wait(fs);
		for (unsigned i = 0; i < fs->n; i++) {
			err = fetch_result(&fs->v[i], why);
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

static int
read_manifest(struct ship *sh, int64_t deadline, struct manifest *ret,
    struct why *why)
{
	struct store_call c;
	int err;

	ship_call(sh, &c, NULL, deadline, 0);
	err = manifest_read(sh->home, &c, ret, why);
	if (err == -EHOSTUNREACH)
		return ship_rc(sh, STORE_UNREACHABLE, why);
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
	if (err == 0)
		err = journal_stat(c, &j);
	sq_read_end(c);
	if (err != 0)
		return err;
	*ret = 0;
	if (begun == 0 && h.lsn > 0 && h.lsn + 1 >= m->watermark)
		return 0;
	if (j.ops > 0)
		return why_set(why, -ESTALE, "the log went on without this"
		    " host and what it would have to replay is gone; what was"
		    " not stored is kept in its state directory");
	if (newest == 0 && (begun == 1 || m->watermark > 1))
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
	uint64_t snap;
	int err;

	for (;;) {
		err = read_manifest(sh, deadline, &m, why);
		if (err == 0)
			err = choose_snapshot(sh, &m, &snap, why);
		if (err == 0 && snap != 0)
			err = load_snapshot(sh, snap, deadline, why);
		if (err == 0)
			err = replay_log(sh, deadline, why);
		if (err == 0)
			err = ship_head(sh, &h);
		if (err == 0 && h.lsn == 0) {
			err = put_first(sh, deadline, why);
			if (err == 0)
				continue;
		}
		/* L7: the absent slot means the end only if it was not
		 * truncated away */
		if (err == 0)
			err = read_manifest(sh, deadline, &m, why);
		if (err != 0)
			return err;
		if (m.watermark <= h.lsn + 1)
			break;
	}
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
	return replay_log(sh, 0, why);
}

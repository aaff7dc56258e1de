/*
 * fs_ship: the log between hosts and a home, without FUSE (L1, L2, L7, L12,
 * L13, S1..S4).
 */
#include "fs_util.h"

#include "cache/backing.h"
#include "cache/small.h"
#include "fs/upload.h"

static const int64_t patience = 10 * NSEC_PER_SEC;

static void
wait_state(struct fs *f, const char *state)
{
	int64_t end = clock_mono() + patience;
	struct ship_status st;

	do {
		ship_status(f, &st);
		if (strcmp(st.state, state) == 0)
			return;
		clock_sleep(5 * NSEC_PER_MSEC);
	} while (clock_mono() < end);
	ck_abort_msg("state is '%s' (%s), not '%s'", st.state, st.why, state);
}

START_TEST(test_one_host)
{
	struct fs *f;
	uint8_t a[32], b[32];

	fu_format();
	f = fu_up("a", NULL);
	fu_synced(f, fu_create(f, "one", "bytes of one"));
	fu_synced(f, fu_create(f, "empty", NULL));
	ck_assert_uint_eq(fu_pending(f), 0);
	ck_assert_uint_eq(fu_objects("data/"), 1);
	fu_digest(f, a);
	fu_stop(f, true);

	/* the same state directory goes on */
	f = fu_up("a", NULL);
	ck_assert(fu_has(f, "one"));
	fu_synced(f, fu_create(f, "two", "2"));
	fu_stop(f, true);

	/* a fresh one replays */
	f = fu_up("b", NULL);
	ck_assert(fu_has(f, "one") && fu_has(f, "two") && fu_has(f, "empty"));
	fu_digest(f, b);
	ck_assert_mem_ne(a, b, 32);
	fu_stop(f, true);
}
END_TEST

struct kept { struct fs *f; uint64_t ino; unsigned n; };

static int
is_kept(void *arg, const struct meta_extent *e)
{
	struct kept *k = arg;
	struct small_id id = { k->ino, e->object, e->ooff, e->len };
	struct buf b = BUF_INIT;

	ck_assert_uint_eq(e->kind, OBJ_PACK);
	ck_assert_int_eq(small_get(k->f->cache, &id, &b), 0);
	ck_assert_uint_eq(b.len, e->len);
	buf_done(&b);
	k->n++;
	return 0;
}

/* What landed is a clean row of small.db, and no unstored one (B6, C6). */
START_TEST(test_small_kept)
{
	struct kept k = { 0 };
	struct journal_stat j;
	struct sqc *c;
	struct attr at;
	char name[20];

	fu_format();
	k.f = fu_up("a", NULL);
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		(void)fu_create(k.f, name, name);
	}
	fu_synced(k.f, fu_create(k.f, "last", "last"));
	ck_assert_int_eq(sq_read(meta_sq(k.f->meta), &c), 0);
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ck_assert_int_eq(meta_lookup(c, META_ROOT, name, &at), 0);
		k.ino = at.ino;
		ck_assert_int_eq(meta_extents(c, at.ino, 0, at.size, is_kept,
		    &k), 0);
	}
	ck_assert_int_eq(journal_stat(c, &j), 0);
	sq_read_end(c);
	ck_assert_uint_eq(k.n, 600);
	ck_assert_uint_eq(j.unstored_bytes, 0);
	/* a few packs and segments, not an object a file */
	ck_assert_uint_lt(fu_objects("data/"), 60);
	fu_stop(k.f, true);
}
END_TEST

struct large { struct fs *f; struct bfile *b; uint64_t ino, seq; };

static int
large_create(struct sqc *c, void *arg)
{
	struct large *l = arg;
	struct op op = { .kind = OP_CREATE, .parent = META_ROOT,
	    .name = "large", .mode = S_IFREG | 0644, .mtime = 1000 };

	op.ino = l->ino = meta_new_id(l->f->meta);
	ck_assert_int_eq(bfile_assign(c, l->b, l->ino), 0);
	return journal(l->f->meta, c, &op, NEEDS_NOTHING, NULL, 0, &l->seq);
}

static int
large_close(struct sqc *c, void *arg)
{
	struct large *l = arg;
	struct op op = { .kind = OP_EXTENTS, .ino = l->ino,
	    .size = bfile_size(l->b), .mtime = 2000, .ctime = 2000 };
	int err;

	err = journal(l->f->meta, c, &op, NEEDS_UPLOAD, NULL, 0, &l->seq);
	return err != 0 ? err : bfile_closed(c, l->b, l->seq);
}

/* A large file's bytes are clean when its record has landed (S4, B6), and not
 * before. */
START_TEST(test_large_landed)
{
	struct large l = { 0 };
	struct cache_stat cs;
	struct why why = { "" };
	static char bytes[300000];

	fu_format();
	l.f = fu_host("a", NULL);
	ck_assert_int_eq(fu_start(l.f, &why), 0);
	ck_assert_int_eq(bfile_new(l.f->cache, &l.b), 0);
	ck_assert_int_eq(sq_write(meta_sq(l.f->meta), large_create, &l), 0);
	memset(bytes, 'x', sizeof(bytes));
	ck_assert_int_eq(bfile_write(l.b, bytes, sizeof(bytes), 0),
	    sizeof(bytes));
	ck_assert_int_eq(sq_write(meta_sq(l.f->meta), large_close, &l), 0);
	ck_assert_int_eq(bfile_keep(l.b), 0);
	ck_assert_int_eq(fu_sync(l.f, l.seq, 0, &why), -ETIMEDOUT);
	ck_assert(bfile_is_dirty(l.b));
	ck_assert_int_eq(upload_start(l.f), 0);
	upload_kick(l.f);
	fu_synced(l.f, l.seq);
	ck_assert(!bfile_is_dirty(l.b));
	cache_stat(l.f->cache, &cs);
	ck_assert_uint_eq(cs.dirty, 0);
	ck_assert_uint_eq(fu_objects("data/"), 1);
	bfile_put(l.b);
	upload_stop(l.f);
	fu_stop(l.f, true);
}
END_TEST

/* DESIGN 4: an exclusive mount. */
START_TEST(test_second_is_refused)
{
	struct fs *a, *b;
	struct why why = { "" };

	fu_format();
	a = fu_up("a", NULL);
	fu_synced(a, fu_create(a, "x", "x"));
	b = fu_host("b", NULL);
	ck_assert_int_eq(fu_start(b, &why), -EBUSY);
	ck_assert_ptr_nonnull(strstr(why.text, "takeover"));
	ck_assert_ptr_nonnull(strstr(why.text, "UTC"));
	fu_stop(b, false);
	/* nothing was written by it */
	fu_synced(a, fu_create(a, "y", "y"));
	fu_stop(a, true);
	/* closed: now it may */
	b = fu_up("b", NULL);
	ck_assert(fu_has(b, "y"));
	fu_stop(b, true);
}
END_TEST

/* L13: fenced while it runs, by a takeover; and what it does afterwards. */
START_TEST(test_takeover)
{
	struct fs *a, *b;
	struct why why = { "" };
	uint64_t seq;
	uint8_t da[32], db[32];

	fu_format();
	a = fu_up("a", NULL);
	fu_synced(a, fu_create(a, "x", "x"));
	b = fu_host("b", NULL);
	b->opt.takeover = true;
	ck_assert_msg(fu_start(b, &why) == 0, "%s", why.text);
	wait_state(a, "fenced");
	ck_assert_int_eq(atomic_load(&a->write_state), FS_FENCED);
	ck_assert_ptr_nonnull(strstr(a->why_read_only.text, "took"));
	fu_synced(b, fu_create(b, "y", "y"));
	fu_stop(a, true);
	fu_stop(b, true);

	/* with nothing queued it just goes on */
	a = fu_up("a", NULL);
	ck_assert(fu_has(a, "y"));
	ck_assert_int_eq(atomic_load(&a->write_state), FS_WRITABLE);
	fu_synced(a, fu_create(a, "z", "z"));
	fu_digest(a, da);
	fu_stop(a, false);		/* as if killed */

	/* queued work, then fenced while away: kept, read-only */
	a = fu_host("a", "op=put,key=log/,rc=unreachable");
	ck_assert_int_eq(fu_start(a, &why), 0);
	wait_state(a, "offline");
	seq = fu_create(a, "kept", "bytes that are nowhere else");
	ck_assert_int_eq(fu_sync(a, seq, 0, &why), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(why.text, "wait"));
	fu_stop(a, false);
	b = fu_host("b", NULL);
	b->opt.takeover = true;
	why.text[0] = '\0';
	ck_assert_msg(fu_start(b, &why) == 0, "%s", why.text);
	fu_synced(b, fu_create(b, "w", "w"));
	ck_assert(!fu_has(b, "kept"));
	fu_digest(b, db);
	for (int i = 0; i < 2; i++) {
		a = fu_up("a", NULL);
		ck_assert_int_eq(atomic_load(&a->write_state), FS_FENCED);
		ck_assert(fu_has(a, "kept"));
		ck_assert_uint_eq(fu_pending(a), 2);
		why.text[0] = '\0';
		ck_assert_int_eq(fu_sync(a, seq, 1, &why), -EROFS);
		fu_stop(a, true);
	}
	fu_stop(b, true);
}
END_TEST

/* Fenced with work queued at that moment (L13): the poll or the send finds
 * out, whichever is first; nothing of it reaches the log. */
START_TEST(test_takeover_with_queue)
{
	struct fs *a, *b, *c;
	struct why why = { "" };

	fu_format();
	a = fu_host("a", NULL);
	a->opt.lag = 3600 * NSEC_PER_SEC;
	a->opt.poll = 3600 * NSEC_PER_SEC;
	ck_assert_msg(fu_start(a, &why) == 0, "%s", why.text);
	fu_synced(a, fu_create(a, "x", "x"));
	(void)fu_create(a, "lost?", "no, kept");
	b = fu_host("b", NULL);
	b->opt.takeover = true;
	ck_assert_msg(fu_start(b, &why) == 0, "%s", why.text);
	ck_assert_int_eq(fu_sync(a, 1u << 20, 5, &why), -EROFS);
	ck_assert_uint_eq(fu_pending(a), 2);
	fu_synced(b, fu_create(b, "y", "y"));
	fu_stop(a, true);
	fu_stop(b, true);
	c = fu_up("c", NULL);
	ck_assert(!fu_has(c, "lost?") && fu_has(c, "y"));
	fu_stop(c, true);
}
END_TEST

/* The answer of a write is lost after the store did it; every kind of write,
 * first with nothing above that would resolve it.  Nothing twice, nothing
 * lost: the log of a fresh host says so (L2, S1, S3). */
static const char *const lost[] = {
	"op=put,key=log/,nth=1,rc=ambiguous,after=1",	/* session_open */
	"op=put,key=log/,nth=2,rc=ambiguous,after=1",
	"op=put,key=log/,nth=2,rc=ambiguous",
	"op=put,key=log/,nth=3,rc=unreachable,after=1",
	"op=put,key=log/,every=2,rc=ambiguous,after=1",
	"op=put,key=log/,every=2,rc=broken",
	"op=put,key=data/,nth=1,rc=ambiguous,after=1",
	"op=put,key=data/,every=2,rc=unreachable,after=1",
	"op=put,key=snap/,nth=1,rc=ambiguous,after=1",
	"op=put,key=piece/,every=2,rc=ambiguous,after=1",
	"op=put,key=MANIFEST,nth=1,rc=ambiguous,after=1",
	"op=get,key=log/,every=3,rc=unreachable",
	"op=get,every=4,rc=broken,after=1",
};

START_TEST(test_answer_lost)
{
	struct fs *f;
	struct why why = { "" };
	uint8_t a[32], b[32];
	char name[20];
	uint64_t seq = 0;
	int err;

	fu_format();
	f = fu_host("a", lost[_i]);
	/* a start may fail where it cannot begin offline; then again */
	err = fu_start(f, &why);
	if (err != 0) {
		ck_assert_int_eq(err, -EHOSTUNREACH);
		fu_stop(f, false);
		f = fu_up("a", NULL);
	}
	wait_state(f, "running");
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		seq = fu_create(f, name, name);
		fu_synced(f, seq);
	}
	wait_state(f, "running");
	err = ship_snapshot(f, &why);
	for (int i = 0; err != 0 && i < 8; i++)
		err = ship_snapshot(f, &why);
	ck_assert_msg(err == 0, "%s", why.text);
	fu_synced(f, fu_create(f, "last", "last"));
	fu_digest(f, a);
	ck_assert_uint_eq(fu_pending(f), 0);
	ck_assert_uint_eq(fu_objects("snap/"), 1);
	ck_assert_uint_eq(fu_objects("data/"), 7);
	fu_stop(f, false);

	f = fu_host("b", NULL);		/* snapshot and tail */
	f->opt.read_only = true;
	ck_assert_int_eq(fu_start(f, &why), 0);
	fu_digest(f, b);
	ck_assert_mem_eq(a, b, 32);
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ck_assert(fu_has(f, name));
	}
	ck_assert(fu_has(f, "last"));
	fu_stop(f, false);
}
END_TEST

/* L12: live, replayed, and snapshot plus tail are the same. */
START_TEST(test_three_ways)
{
	struct fs *f;
	struct why why = { "" };
	uint8_t live[32], replay[32], snap[32];
	char name[20], path[400], away[400];

	fu_format();
	f = fu_host("a", NULL);
	f->opt.lag = 3600 * NSEC_PER_SEC;
	ck_assert_msg(fu_start(f, &why) == 0, "%s", why.text);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		(void)fu_create(f, name, i % 3 != 0 ? name : NULL);
		if (i == 25) {
			fu_synced(f, fu_create(f, "mid", "mid"));
			/* with work queued: of the log prefix (L4) */
			(void)fu_create(f, "queued", "queued");
			ck_assert_msg(ship_snapshot(f, &why) == 0, "%s",
			    why.text);
		}
	}
	fu_synced(f, fu_create(f, "end", "end"));
	fu_digest(f, live);
	fu_stop(f, false);

	f = fu_host("b", NULL);
	f->opt.read_only = true;
	ck_assert_int_eq(fu_start(f, &why), 0);
	fu_digest(f, snap);
	fu_stop(f, false);

	snprintf(path, sizeof(path), "%s/home/MANIFEST", fu_dir);
	snprintf(away, sizeof(away), "%s/MANIFEST", fu_dir);
	ck_assert_int_eq(rename(path, away), 0);
	f = fu_host("c", NULL);
	f->opt.read_only = true;
	ck_assert_int_eq(fu_start(f, &why), 0);
	fu_digest(f, replay);
	fu_stop(f, false);
	ck_assert_mem_eq(live, snap, 32);
	ck_assert_mem_eq(live, replay, 32);
}
END_TEST

/* A snapshot loaded over an older tree, because the log between is gone
 * (L7): the watermark says so, and what is in the cache may be stale. */
START_TEST(test_truncated_log)
{
	struct fs *f;
	struct why why = { "" };
	uint8_t live[32], got[32];
	struct store_call c = { 0 };
	struct manifest m;
	struct store *s;
	char path[400];

	fu_format();
	f = fu_up("a", NULL);
	fu_synced(f, fu_create(f, "one", "1"));
	fu_stop(f, true);
	f = fu_up("b", NULL);
	fu_synced(f, fu_create(f, "two", "2"));
	fu_synced(f, fu_create(f, "three", "3"));
	ck_assert_int_eq(ship_snapshot(f, &why), 0);
	fu_synced(f, fu_create(f, "four", "4"));
	fu_digest(f, live);
	fu_stop(f, false);
	s = fu_store(NULL);
	ck_assert_int_eq(manifest_read(s, &c, &m, &why), 0);
	ck_assert_uint_eq(m.nsnaps, 1);
	m.watermark = m.snaps[0] + 1;
	ck_assert_int_eq(manifest_write(s, &c, &m, &why), 0);
	store_free(s);
	for (uint64_t lsn = 1; lsn <= m.snaps[0]; lsn++) {
		snprintf(path, sizeof(path), "%s/home/log/0/%016lx", fu_dir,
		    (unsigned long)lsn);
		ck_assert_int_eq(unlink(path), 0);
	}
	f = fu_host("a", NULL);
	f->opt.read_only = true;
	ck_assert_msg(fu_start(f, &why) == 0, "%s", why.text);
	fu_digest(f, got);
	ck_assert_mem_eq(live, got, 32);
	fu_stop(f, false);
}
END_TEST

/* With valid local state a mount starts, and works, without the home; what it
 * did is sent when the home is back (DESIGN 3, 4). */
START_TEST(test_offline)
{
	struct fs *f;
	struct why why = { "" };
	char home[400], away[400];
	struct ship_status st;
	uint64_t seq;

	fu_format();
	snprintf(home, sizeof(home), "%s/home", fu_dir);
	snprintf(away, sizeof(away), "%s/away", fu_dir);
	f = fu_up("a", NULL);
	fu_synced(f, fu_create(f, "x", "x"));
	fu_stop(f, true);

	ck_assert_int_eq(rename(home, away), 0);
	f = fu_host("fresh", NULL);
	ck_assert_int_eq(fu_start(f, &why), -EHOSTUNREACH);
	fu_stop(f, false);

	f = fu_up("a", NULL);
	wait_state(f, "offline");
	ck_assert_int_eq(atomic_load(&f->write_state), FS_WRITABLE);
	seq = fu_create(f, "offline", "made without the home");
	why.text[0] = '\0';
	ck_assert_int_eq(fu_sync(f, seq, 0, &why), -ETIMEDOUT);
	ship_status(f, &st);
	ck_assert_uint_eq(st.pending_ops, 2);
	ck_assert_uint_gt(st.pending_bytes, 0);
	ck_assert_str_ne(st.why, "");
	ck_assert_int_eq(rename(away, home), 0);
	fu_synced(f, seq);
	fu_stop(f, true);

	f = fu_up("b", NULL);
	ck_assert(fu_has(f, "offline"));
	fu_stop(f, true);
}
END_TEST

/* The store goes away while running, and comes back. */
START_TEST(test_outage)
{
	struct fs *f;
	char home[400], away[400];
	uint64_t seq;

	fu_format();
	snprintf(home, sizeof(home), "%s/home", fu_dir);
	snprintf(away, sizeof(away), "%s/away", fu_dir);
	f = fu_up("a", NULL);
	ck_assert_int_eq(rename(home, away), 0);
	wait_state(f, "offline");
	seq = fu_create(f, "x", "x");
	ck_assert_int_eq(rename(away, home), 0);
	fu_synced(f, seq);
	wait_state(f, "running");
	fu_stop(f, true);
	f = fu_up("b", NULL);
	ck_assert(fu_has(f, "x"));
	fu_stop(f, true);
}
END_TEST

/* --- what comes between --- */

/* The writer of a host's database, held; what is written meanwhile queues. */
struct held {
	struct fs	*f;
	pthread_t	 thread;
	_Atomic bool	 in, go;
};

static int
hold_fn(struct sqc *c, void *arg)
{
	struct held *h = arg;

	atomic_store(&h->in, true);
	while (!atomic_load(&h->go))
		clock_sleep(NSEC_PER_MSEC);
	return 0;
}

static void *
hold_main(void *arg)
{
	struct held *h = arg;

	ck_assert_int_eq(sq_write(meta_sq(h->f->meta), hold_fn, h), 0);
	return NULL;
}

static void
hold(struct held *h, struct fs *f)
{
	h->f = f;
	ck_assert_int_eq(pthread_create(&h->thread, NULL, hold_main, h), 0);
	while (!atomic_load(&h->in))
		clock_sleep(NSEC_PER_MSEC);
}

static void
let_go(struct held *h)
{
	atomic_store(&h->go, true);
	ck_assert_int_eq(pthread_join(h->thread, NULL), 0);
}

struct creating { struct fs *f; pthread_t thread; uint64_t seq; };

static void *
create_main(void *arg)
{
	struct creating *k = arg;

	k->seq = fu_create(k->f, "mine", "of this host alone");
	return NULL;
}

/* A change of ours is queued after a segment of another host was judged, and
 * before it is applied: then it stands against that one, as if it had come
 * before (L13). */
START_TEST(test_change_between)
{
	struct held h = { 0 };
	struct creating k;
	struct ship_status was, is;
	struct fs *a, *b;
	char home[400], away[400];

	fu_format();
	snprintf(home, sizeof(home), "%s/home", fu_dir);
	snprintf(away, sizeof(away), "%s/away", fu_dir);
	fu_stop(fu_up("a", NULL), true);
	b = fu_up("b", NULL);
	fu_synced(b, fu_create(b, "theirs", "of b"));
	fu_stop(b, true);
	ck_assert_int_eq(rename(home, away), 0);
	k.f = a = fu_up("a", NULL);
	wait_state(a, "offline");
	ship_status(a, &was);
	hold(&h, a);
	ck_assert_int_eq(pthread_create(&k.thread, NULL, create_main, &k), 0);
	clock_sleep(50 * NSEC_PER_MSEC);	/* it is the next to run */
	ck_assert_int_eq(rename(away, home), 0);
	wait_state(a, "catching up");
	clock_sleep(500 * NSEC_PER_MSEC);
	let_go(&h);
	ck_assert_int_eq(pthread_join(k.thread, NULL), 0);
	wait_state(a, "fenced");
	ship_status(a, &is);
	ck_assert_uint_eq(is.lsn, was.lsn);	/* nor the opening of b */
	ck_assert_uint_eq(fu_pending(a), 2);
	ck_assert(fu_has(a, "mine") && !fu_has(a, "theirs"));
	fu_stop(a, false);
}
END_TEST

/* What is fetched after a segment that took longer to apply than a poll may
 * take has a time of its own: the home is not down. */
START_TEST(test_slow_to_apply)
{
	struct held h = { 0 };
	struct fs *a, *b;
	struct why why = { "" };
	struct ship_status st;

	fu_format();
	a = fu_up("a", NULL);
	b = fu_host("b", NULL);
	b->opt.read_only = true;
	ck_assert_int_eq(fu_start(b, &why), 0);
	hold(&h, b);
	fu_synced(a, fu_create(a, "x", "x"));
	clock_sleep(5500 * NSEC_PER_MSEC);
	let_go(&h);
	for (int i = 0; i < 100; i++) {
		ship_status(b, &st);
		ck_assert_str_eq(st.state, "running");
		clock_sleep(5 * NSEC_PER_MSEC);
	}
	ck_assert(fu_has(b, "x"));
	ck_assert(!stores_is_down(b, STORE_HOME_ID));
	fu_stop(b, true);
	fu_stop(a, true);
}
END_TEST

/* A mount that began without the home, while another host took it: WAITING,
 * and on when that one has gone. */
START_TEST(test_waiting)
{
	struct fs *a, *b;
	char home[400], away[400];

	fu_format();
	snprintf(home, sizeof(home), "%s/home", fu_dir);
	snprintf(away, sizeof(away), "%s/away", fu_dir);
	fu_stop(fu_up("a", NULL), true);
	b = fu_up("b", NULL);
	ck_assert_int_eq(rename(home, away), 0);
	a = fu_up("a", NULL);
	ck_assert_int_eq(rename(away, home), 0);
	wait_state(a, "waiting");
	fu_stop(a, true);
	fu_stop(b, true);
}
END_TEST

/* L1: session numbers are never given twice. */
static int
count_session(void *arg, const struct session_row *s)
{
	unsigned *seen = arg;

	ck_assert_uint_lt(s->number, 1000);
	ck_assert_uint_eq(seen[s->number], 0);
	seen[s->number]++;
	seen[0]++;
	return 0;
}

START_TEST(test_sessions)
{
	static unsigned seen[1000];
	struct fs *f = NULL;
	struct sqc *c;

	fu_format();
	for (int i = 0; i < 70; i++) {
		f = fu_up(i % 7 == 0 ? "b" : "a", NULL);
		if (i < 69)
			fu_stop(f, true);
	}
	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	ck_assert_int_eq(meta_sessions(c, count_session, seen), 0);
	sq_read_end(c);
	ck_assert_uint_eq(seen[0], 71);
	fu_stop(f, true);
}
END_TEST

/* Who formats and dies before slot 1 leaves it to the first mount. */
START_TEST(test_no_first_segment)
{
	struct fs *f;
	char path[400];

	fu_format();
	snprintf(path, sizeof(path), "%s/home/log/0/%016x", fu_dir, 1);
	ck_assert_int_eq(unlink(path), 0);
	f = fu_up("a", NULL);
	fu_synced(f, fu_create(f, "x", "x"));
	fu_stop(f, true);
}
END_TEST

/* Killed between any two steps of sending: what is frozen is resolved first
 * (S1); many rounds, each ending without a close. */
START_TEST(test_killed_while_sending)
{
	static const char *const at[] = {
		"op=put,key=data/,rc=unreachable",
		"op=put,key=data/,rc=unreachable,after=1",
		"op=put,key=log/,nth=2,rc=unreachable;"
		    "op=put,key=log/,nth=3,rc=unreachable;"
		    "op=put,key=log/,nth=4,rc=unreachable",
		"op=put,key=log/,nth=2,rc=unreachable,after=1;"
		    "op=get,key=log/,rc=unreachable",
	};
	struct fs *f;
	struct why why = { "" };
	uint8_t a[32], b[32];
	char name[20];

	fu_format();
	fu_stop(fu_up("a", NULL), true);
	for (int i = 0; i < 12; i++) {
		f = fu_host("a", at[i % 4]);
		(void)fu_start(f, &why);
		snprintf(name, sizeof(name), "f%d", i);
		(void)fu_sync(f, fu_create(f, name, name), 0, &why);
		clock_sleep(50 * NSEC_PER_MSEC);
		fu_stop(f, false);
	}
	f = fu_up("a", NULL);
	fu_synced(f, fu_create(f, "end", "end"));
	fu_digest(f, a);
	ck_assert_uint_eq(fu_pending(f), 0);
	fu_stop(f, false);
	f = fu_host("b", NULL);
	f->opt.read_only = true;
	ck_assert_int_eq(fu_start(f, &why), 0);
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ck_assert_msg(fu_has(f, name), "%s", name);
	}
	fu_digest(f, b);
	ck_assert_mem_eq(a, b, 32);
	fu_stop(f, false);
}
END_TEST

/* The log takes a new host longer to replay than the home's first answer may:
 * it writes all the same, from the start. */
START_TEST(test_long_log)
{
	struct fs *f;
	struct why why = { "" };
	char name[20];

	fu_format();
	f = fu_up("a", NULL);
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fu_synced(f, fu_create(f, name, NULL));
	}
	fu_stop(f, true);
	f = fu_host("b", "op=get,key=log/,delay=300");
	ck_assert_int_eq(ship_start(f, clock_mono() + NSEC_PER_SEC / 2, &why),
	    0);
	ck_assert_int_eq(atomic_load(&f->write_state), FS_WRITABLE);
	wait_state(f, "running");
	fu_synced(f, fu_create(f, "x", "x"));
	fu_stop(f, true);
}
END_TEST

/* A host that was fenced with nothing queued, and whose next opening's answer
 * was lost, is fenced no more: not at the start after it either, which finds
 * changes. */
START_TEST(test_fence_ends)
{
	struct fs *a, *b;
	struct why why = { "" };
	char home[400], away[400];

	fu_format();
	snprintf(home, sizeof(home), "%s/home", fu_dir);
	snprintf(away, sizeof(away), "%s/away", fu_dir);
	a = fu_up("a", NULL);
	b = fu_host("b", NULL);
	b->opt.takeover = true;
	ck_assert_msg(fu_start(b, &why) == 0, "%s", why.text);
	wait_state(a, "fenced");
	fu_stop(a, false);
	fu_stop(b, true);
	ck_assert_int_eq(rename(home, away), 0);
	a = fu_host("a", "op=put,key=log/,nth=1,rc=unreachable,after=1");
	a->opt.lag = 3600 * NSEC_PER_SEC;
	why.text[0] = '\0';
	ck_assert_msg(fu_start(a, &why) == 0, "%s", why.text);
	ck_assert_int_eq(rename(away, home), 0);
	wait_state(a, "running");
	ck_assert_int_eq(atomic_load(&a->write_state), FS_WRITABLE);
	(void)fu_create(a, "queued", "not sent");
	ck_assert_uint_eq(fu_pending(a), 2);
	fu_stop(a, false);
	a = fu_up("a", NULL);
	ck_assert_int_eq(atomic_load(&a->write_state), FS_WRITABLE);
	fu_synced(a, fu_create(a, "x", "x"));
	fu_stop(a, true);
}
END_TEST

/* A read-only mount follows what another writes, and writes nothing. */
START_TEST(test_follower)
{
	struct fs *a, *b;
	struct why why = { "" };
	int64_t end = clock_mono() + patience;
	unsigned n;

	fu_format();
	a = fu_up("a", NULL);
	b = fu_host("b", NULL);
	b->opt.read_only = true;
	ck_assert_int_eq(fu_start(b, &why), 0);
	fu_synced(a, fu_create(a, "x", "x"));
	n = fu_objects("");
	while (!fu_has(b, "x") && clock_mono() < end)
		clock_sleep(5 * NSEC_PER_MSEC);
	ck_assert(fu_has(b, "x"));
	ck_assert_int_eq(ship_snapshot(b, &why), -EROFS);
	ck_assert_uint_eq(fu_objects(""), n);
	fu_stop(b, true);
	fu_stop(a, true);
}
END_TEST

/* The log since the last snapshot grew long: one is made by itself. */
START_TEST(test_snapshot_by_itself)
{
	struct fs *f;
	int64_t end;
	char name[20];

	fu_format();
	f = fu_up("a", NULL);
	for (int i = 0; i < 70; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fu_synced(f, fu_create(f, name, NULL));
	}
	end = clock_mono() + patience;
	while (fu_objects("snap/") == 0 && clock_mono() < end)
		clock_sleep(20 * NSEC_PER_MSEC);
	ck_assert_uint_eq(fu_objects("snap/"), 1);
	/* and at the end, after more than 16 segments */
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		fu_synced(f, fu_create(f, name, NULL));
	}
	fu_stop(f, true);
	ck_assert_uint_eq(fu_objects("snap/"), 2);
	f = fu_up("b", NULL);
	ck_assert(fu_has(f, "f0") && fu_has(f, "g19"));
	fu_stop(f, true);
}
END_TEST

/* One that fails is made again after a minute, not at each segment. */
START_TEST(test_snapshot_fails)
{
	struct fs *f;
	char name[20];

	fu_format();
	f = fu_up("a", "op=put,key=snap/,nth=1,rc=denied");
	for (int i = 0; i < 76; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fu_synced(f, fu_create(f, name, NULL));
	}
	clock_sleep(500 * NSEC_PER_MSEC);
	ck_assert_uint_eq(fu_objects("snap/"), 0);
	fu_stop(f, false);
}
END_TEST

struct stopping { struct fs *f; _Atomic bool ended; };

static void *
stop_main(void *arg)
{
	struct stopping *s = arg;

	fu_stop(s->f, true);
	atomic_store(&s->ended, true);
	return NULL;
}

/* An unmount closes the session first, and then makes a snapshot, for which
 * it does not take for ever. */
START_TEST(test_close_before_snapshot)
{
	struct stopping s = { 0 };
	struct fs *b;
	struct why why = { "" };
	pthread_t thread;
	char name[20];

	fu_format();
	s.f = fu_up("a", "op=put,key=piece/,delay=12000");
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fu_synced(s.f, fu_create(s.f, name, NULL));
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, stop_main, &s), 0);
	clock_sleep(3 * NSEC_PER_SEC);
	b = fu_host("b", NULL);
	ck_assert_msg(fu_start(b, &why) == 0, "%s", why.text);
	ck_assert(!atomic_load(&s.ended));
	ck_assert(fu_has(b, "f19"));
	fu_stop(b, false);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(fu_objects("snap/"), 0);
}
END_TEST

static void
copy_state(const char *from, const char *to)
{
	static const char *const names[] = { "state.db", "state.db-wal" };
	char cmd[1300];

	snprintf(cmd, sizeof(cmd), "%s/%s", fu_dir, to);
	ck_assert_int_eq(mkdir(cmd, 0700), 0);
	for (int i = 0; i < 2; i++) {
		snprintf(cmd, sizeof(cmd), "test ! -e '%s/%s/%s' || "
		    "cp '%s/%s/%s' '%s/%s/'", fu_dir, from, names[i], fu_dir,
		    from, names[i], fu_dir, to);
		ck_assert_int_eq(system(cmd), 0);
	}
}

/* A copy of a state directory, both in use: whoever opened last writes; the
 * other is fenced; numbers do not mix (L1). */
START_TEST(test_clone)
{
	struct fs *a, *b;
	struct why why = { "" };

	fu_format();
	a = fu_up("a", NULL);
	fu_synced(a, fu_create(a, "x", "x"));
	fu_stop(a, false);
	copy_state("a", "b");
	a = fu_up("a", NULL);
	fu_synced(a, fu_create(a, "by a", "a"));
	/* the copy knows not the nonce of what is open now */
	b = fu_host("b", NULL);
	ck_assert_int_eq(fu_start(b, &why), -EBUSY);
	fu_stop(b, false);
	b = fu_host("b", NULL);
	b->opt.takeover = true;
	why.text[0] = '\0';
	/* the number that it took is the one of a: the next will do */
	for (int i = 0; i < 3 && fu_start(b, &why) != 0; i++) {
		fu_stop(b, false);
		b = fu_host("b", NULL);
		b->opt.takeover = true;
	}
	ck_assert_ptr_nonnull(b->ship);
	wait_state(a, "fenced");
	fu_synced(b, fu_create(b, "by b", "b"));
	ck_assert(fu_has(b, "by a"));
	fu_stop(a, true);
	fu_stop(b, true);
}
END_TEST

/* An unmount whose session_close did not get through: what is queued is no
 * change, so a takeover meanwhile does not make it a fenced host. */
START_TEST(test_close_queued)
{
	struct fs *a, *b;
	struct why why = { "" };

	fu_format();
	fu_stop(fu_up("a", NULL), true);
	/* the third put to the log: open, a file, the close */
	a = fu_up("a", "op=put,key=log/,nth=3,rc=denied");
	fu_synced(a, fu_create(a, "x", "x"));
	fu_stop(a, true);
	b = fu_host("b", NULL);
	b->opt.takeover = true;
	ck_assert_msg(fu_start(b, &why) == 0, "%s", why.text);
	fu_synced(b, fu_create(b, "y", "y"));
	fu_stop(b, true);
	a = fu_up("a", NULL);
	ck_assert_int_eq(atomic_load(&a->write_state), FS_WRITABLE);
	fu_synced(a, fu_create(a, "z", "z"));
	ck_assert(fu_has(a, "y"));
	ck_assert_uint_eq(fu_pending(a), 0);
	{
		uint8_t da[32], db[32];

		fu_digest(a, da);
		fu_stop(a, false);
		b = fu_host("c", NULL);
		b->opt.read_only = true;
		ck_assert_int_eq(fu_start(b, &why), 0);
		fu_digest(b, db);
		ck_assert_mem_eq(da, db, 32);
		fu_stop(b, false);
	}
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(fu_setup, fu_teardown, 60);

	tcase_add_test(t, test_one_host);
	tcase_add_test(t, test_small_kept);
	tcase_add_test(t, test_large_landed);
	tcase_add_test(t, test_second_is_refused);
	tcase_add_test(t, test_takeover);
	tcase_add_test(t, test_takeover_with_queue);
	tcase_add_loop_test(t, test_answer_lost, 0,
	    sizeof(lost) / sizeof(lost[0]));
	tcase_add_test(t, test_three_ways);
	tcase_add_test(t, test_truncated_log);
	tcase_add_test(t, test_offline);
	tcase_add_test(t, test_outage);
	tcase_add_test(t, test_waiting);
	tcase_add_test(t, test_change_between);
	tcase_add_test(t, test_slow_to_apply);
	tcase_add_test(t, test_sessions);
	tcase_add_test(t, test_no_first_segment);
	tcase_add_test(t, test_killed_while_sending);
	tcase_add_test(t, test_clone);
	tcase_add_test(t, test_close_queued);
	tcase_add_test(t, test_follower);
	tcase_add_test(t, test_snapshot_by_itself);
	tcase_add_test(t, test_snapshot_fails);
	tcase_add_test(t, test_close_before_snapshot);
	tcase_add_test(t, test_long_log);
	tcase_add_test(t, test_fence_ends);
	return fu_run("fs_ship", t);
}

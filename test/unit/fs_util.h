/* fs_util: hosts without FUSE: a struct fs assembled over file:// stores. */
#ifndef TEST_FS_UTIL_H
#define TEST_FS_UTIL_H

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/store.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/dirattr.h"
#include "fs/flight.h"
#include "fs/home.h"
#include "fs/node.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "fs/upload.h"
#include "fs/vnode.h"
#include "meta/batch.h"
#include "meta/piece.h"
#include "meta/query.h"
#include "meta/segment.h"

#define FU	__attribute__((unused)) static

static char fu_dir[200];	/* of the test */
static char fu_url[400];	/* of its home */
static char fu_uuid[37];	/* of what fu_format made */

FU int
fu_rm_entry(const char *path, const struct stat *st, int type, struct FTW *w)
{
	return remove(path);
}

FU void
fu_setup(void)
{
	const char *tmp = getenv("TMPDIR");
	char home[300];

	sys_init();
	snprintf(fu_dir, sizeof(fu_dir), "%s/gnsfs-fs-XXXXXX",
	    tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(fu_dir));
	snprintf(home, sizeof(home), "%s/home", fu_dir);
	ck_assert_int_eq(mkdir(home, 0700), 0);
	snprintf(fu_url, sizeof(fu_url), "file://%s", home);
}

FU void
fu_teardown(void)
{
	nftw(fu_dir, fu_rm_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* The one test case of a program: each test between these, in seconds. */
FU TCase *
fu_case(void (*setup)(void), void (*teardown)(void), double seconds)
{
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, seconds);
	return t;
}

/* Runs it: what main returns. */
FU int
fu_run(const char *name, TCase *t)
{
	Suite *s = suite_create(name);
	SRunner *r;
	int failed;

	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

FU void
fu_format(void)
{
	struct home_id id;
	struct why why = { "" };
	int err = home_format(fu_url, "t", &id, &why);

	ck_assert_msg(err == 0, "format: %d %s", err, why.text);
	strcpy(fu_uuid, id.uuid);
}

/* fu_setup with a home in it. */
FU void
fu_setup_home(void)
{
	fu_setup();
	fu_format();
}

/* The home, bare, under a fault layer where a text is given. */
FU struct store *
fu_store(const char *fault)
{
	struct why why = { "" };
	struct store *s;
	struct url u;

	ck_assert_int_eq(url_parse(fu_url, &u, &why), 0);
	ck_assert_msg(file_store_open(&u, &s, &why) == 0, "%s", why.text);
	url_done(&u);
	if (fault != NULL)
		ck_assert_msg(fault_layer(s, fault, &s, &why) == 0, "%s",
		    why.text);
	return s;
}

/* Everything of a host below ship_start.  name: its state directory. */
FU struct fs *
fu_host(const char *name, const char *fault)
{
	struct fs *f = calloc(1, sizeof(*f));
	struct why why = { "" };
	bool unclean;
	char path[400];

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(asprintf(&f->state_dir, "%s/%s", fu_dir, name), 0);
	(void)mkdir(f->state_dir, 0700);
	strcpy(f->name, "t");
	strcpy(f->uuid, fu_uuid);
	f->lock_fd = -1;
	f->opt.lag = 10 * NSEC_PER_MSEC;
	f->opt.poll = 30 * NSEC_PER_MSEC;
	lock_init(&f->why_lock, RANK_LOG - 2, "why");
	snprintf(path, sizeof(path), "%s/state.db", f->state_dir);
	ck_assert_msg(meta_open(path, &f->meta, &why) == 0, "%s", why.text);
	ck_assert_msg(cache_open(&(struct cache_opts){ .dir = f->state_dir,
	    .index = meta_sq(f->meta), .size_limit = 64 << 20, .pool = 2 },
	    &f->cache, &unclean, &why) == 0, "%s", why.text);
	ck_assert_int_eq(workers_new("t-io", 4, &f->io), 0);
	ck_assert_int_eq(dirattrs_new(&f->dirs), 0);
	ck_assert_int_eq(nodes_new(&f->nodes), 0);
	ck_assert_int_eq(vnodes_new(&f->vnodes), 0);
	ck_assert_int_eq(flights_new(&f->flights), 0);
	ck_assert_int_eq(stores_new(f, fu_store(fault), &f->stores), 0);
	return f;
}

FU int
fu_start(struct fs *f, struct why *why)
{
	int err = ship_start(f, clock_mono() + 5 * NSEC_PER_SEC, why);

	if (err != 0) {		/* tests try again */
		ship_stop(f, 0);
		ship_free(f);
	}
	return err;
}

/* Stops as an unmount (close) or as a crash would leave it. */
FU void
fu_stop(struct fs *f, bool close)
{
	ship_stop(f, close ? clock_mono() + 10 * NSEC_PER_SEC : 0);
	atomic_store(&f->stopping, true);
	stores_stop(f->stores);
	workers_free(f->io);
	ship_free(f);
	upload_free(f);
	stores_free(f->stores);
	dirattrs_free(f->dirs);
	vnodes_free(f->vnodes);
	flights_free(f->flights);
	nodes_free(f->nodes);
	cache_close(f->cache);
	meta_close(f->meta);
	lock_done(&f->why_lock);
	free(f->state_dir);
	free(f);
}

FU struct fs *
fu_up(const char *name, const char *fault)
{
	struct fs *f = fu_host(name, fault);
	struct why why = { "" };
	int err = fu_start(f, &why);

	ck_assert_msg(err == 0, "start of %s: %d %s", name, err, why.text);
	return f;
}

struct fu_create { struct fs *f; const char *name, *bytes; uint64_t seq; };

FU int
fu_create_fn(struct sqc *c, void *arg)
{
	struct fu_create *k = arg;
	struct op op = { .kind = OP_CREATE, .parent = META_ROOT,
	    .name = k->name, .mode = S_IFREG | 0644, .mtime = 1000 };
	int err;

	op.ino = meta_new_id(k->f->meta);
	ck_assert_uint_ne(op.ino, 0);
	err = journal(k->f->meta, c, &op, NEEDS_NOTHING, NULL, 0, &k->seq);
	if (err != 0 || k->bytes == NULL)
		return err;
	op = (struct op){ .kind = OP_EXTENTS, .ino = op.ino,
	    .size = strlen(k->bytes), .mtime = 2000, .ctime = 2000 };
	return journal(k->f->meta, c, &op, NEEDS_PACK, k->bytes,
	    strlen(k->bytes), &k->seq);
}

/* A small file in the root; its last op's seq. */
FU uint64_t
fu_create(struct fs *f, const char *name, const char *bytes)
{
	struct fu_create k = { f, name, bytes, 0 };
	int err = sq_write(meta_sq(f->meta), fu_create_fn, &k);

	ck_assert_msg(err == 0, "create %s: %d", name, err);
	ship_kick(f);
	return k.seq;
}

FU int
fu_sync(struct fs *f, uint64_t seq, int seconds, struct why *why)
{
	return ship_wait(f, seq, SHIP_ALL, 0, clock_mono() +
	    seconds * NSEC_PER_SEC, why);
}

FU void
fu_synced(struct fs *f, uint64_t seq)
{
	struct why why = { "" };
	int err = fu_sync(f, seq, 10, &why);

	ck_assert_msg(err == 0, "sync: %d %s", err, why.text);
}

FU bool
fu_has(struct fs *f, const char *name)
{
	struct attr a;
	struct sqc *c;
	int err;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	err = meta_lookup(c, META_ROOT, name, &a);
	sq_read_end(c);
	ck_assert(err == 0 || err == -ENOENT);
	return err == 0;
}

FU uint64_t
fu_pending(struct fs *f)
{
	struct journal_stat j;
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	ck_assert_int_eq(journal_stat(c, &j), 0);
	sq_read_end(c);
	return j.ops;
}

FU void
fu_digest(struct fs *f, uint8_t ret[32])
{
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	ck_assert_int_eq(sq_snapshot_begin(c), 0);
	ck_assert_int_eq(meta_digest(c, ret), 0);
	sq_snapshot_end(c);
	sq_read_end(c);
}

/* How many entries that is a store of the home has below a prefix. */
FU int
fu_count_one(void *arg, const struct store_entry *e)
{
	(*(unsigned *)arg)++;
	return 0;
}

FU unsigned
fu_objects(const char *prefix)
{
	struct store *s = fu_store(NULL);
	struct store_call c = { 0 };
	struct walk_opts o = { 1 };
	unsigned n = 0;

	ck_assert_int_eq(store_walk(s, &c, prefix, &o, fu_count_one, &n),
	    STORE_OK);
	store_free(s);
	return n;
}

#endif

/* import: keys to a tree, names, pieces, loading (DESIGN.md 3, 4; L14). */
#include "meta_trees.h"

#include <malloc.h>

#include "meta/query.h"
#include "meta/rows.h"

static const struct import_opts opts = { .uid = 1000, .gid = 100,
	.file_mode = 0640, .dir_mode = 0750, .store = 3, .prefix = "pre/",
	.root_mtime = 111 };

struct world {
	struct db	 d;
	struct import	*imp;
	struct pieces	 ps;
	struct buf	 hashes;
	struct import_stats st;
	char		 told[20][2][600];
	unsigned	 ntold;
};

static int
report(void *arg, const char *key, const char *path)
{
	struct world *w = arg;

	if (w->ntold < 20) {
		snprintf(w->told[w->ntold][0], 600, "%.599s", key);
		snprintf(w->told[w->ntold][1], 600, "%.599s", path);
	}
	w->ntold++;
	return 0;
}

static struct world *
world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	db_open(&w->d);
	db_take_session(&w->d);
	ck_assert_int_eq(import_new(w->d.m, &opts, &w->imp), 0);
	return w;
}

static void
add(struct world *w, const char *key, uint64_t size)
{
	ck_assert_int_eq(import_add(w->imp, key, size,
	    INT64_C(1500000000123456789), "e:\"d41d8cd98f00b204e9800998ecf8427e"
	    "-3\""), 0);
}

static void
finish(struct world *w)
{
	ck_assert_int_eq(import_finish(w->imp, pieces_emit, &w->ps, report, w,
	    &w->hashes, &w->st), 0);
	ck_assert_uint_eq(w->hashes.len, 32 * w->st.pieces);
	ck_assert_uint_eq(w->ps.n, w->st.pieces);
}

static int
attach_fn(struct sqc *c, void *arg)
{
	const struct world *w = arg;
	struct op op = { .kind = OP_ATTACH, .parent = META_ROOT, .name = "imp",
	    .ino = w->st.lo, .ino2 = w->st.hi, .mtime = 5, .ctime = 5,
	    .value = w->hashes.p, .nvalue = w->hashes.len };

	return apply(c, &(struct change){ 0 }, &op, APPLY_BOTH);
}

static void
load_and_attach(struct world *w)
{
	struct why why = { "" };
	uint8_t before[32], after[32];

	db_digest(&w->d, before);
	ck_assert_msg(import_load(w->d.m, w->st.lo, w->st.hi, w->hashes.p,
	    w->st.pieces, pieces_get, &w->ps, &why) == 0, "%s", why.text);
	db_digest(&w->d, after);
	ck_assert_mem_eq(before, after, 32);	/* hidden yet (M4) */
	ck_assert_int_eq(sq_write(meta_sq(w->d.m), attach_fn, w), 0);
	db_digest(&w->d, after);
	ck_assert_mem_ne(before, after, 32);
}

static void
world_free(struct world *w)
{
	import_free(w->imp);
	db_close(&w->d);
	pieces_free(&w->ps);
	buf_done(&w->hashes);
	free(w);
}

static struct sqc *
reader(struct world *w)
{
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(w->d.m), &c), 0);
	return c;
}

static struct attr
resolve(struct sqc *c, const char *path)
{
	struct attr a;

	ck_assert_msg(meta_resolve(c, path, &a) == 0, "%s", path);
	return a;
}

static void
assert_name(const char *raw, bool beside, const char *want)
{
	char got[META_NAME_MAX + 1];
	bool changed = import_name(raw, strlen(raw), beside, got);

	ck_assert_str_eq(got, want);
	ck_assert_int_eq(changed, strcmp(raw, want) != 0);
}

START_TEST(names)
{
	char raw[600], a[256], b[256];

	assert_name("plain", false, "plain");
	assert_name("...", false, "...");
	assert_name("tab\there\x7f\xff", false, "tab\there\x7f\xff");
	assert_name("%2E", false, "%2E");
	assert_name("", false, "~gns-empty");
	assert_name(".", false, "~gns-dot");
	assert_name("..", false, "~gns-dotdot");
	assert_name("~gns-", false, "~gns-raw-~gns-");
	assert_name("~gns-empty", false, "~gns-raw-~gns-empty");
	assert_name("a", true, "~gns-file-a");
	assert_name("", true, "~gns-file-");
	assert_name(".", true, "~gns-file-.");

	memset(raw, 'x', sizeof(raw));
	raw[255] = '\0';
	assert_name(raw, false, raw);
	raw[255] = 'x';
	raw[256] = '\0';
	ck_assert(import_name(raw, 256, false, a));
	ck_assert_int_eq(strncmp(a, "~gns-long-", 10), 0);
	ck_assert_uint_le(strlen(a), META_NAME_MAX);
	raw[255] = 'y';
	ck_assert(import_name(raw, 256, false, b));
	ck_assert_str_ne(a, b);
	ck_assert(import_name(raw, 256, true, a));
	ck_assert_str_ne(a, b);
	ck_assert_uint_le(strlen(a), META_NAME_MAX);
	/* 245 bytes fit, but not beside a directory */
	ck_assert(!import_name(raw, 245, false, a));
	ck_assert(import_name(raw, 246, true, a));
	ck_assert_int_eq(strncmp(a, "~gns-longfile-", 14), 0);
	/* never within a character */
	memset(raw, 'x', 199);
	for (int i = 199; i < 599; i += 2)
		memcpy(raw + i, "\xc3\xa9", 2);
	ck_assert(import_name(raw, 599, false, a));
	ck_assert_int_eq(a[strlen(a) - 1], 'x');
}
END_TEST

static int
see_extent(void *arg, const struct meta_extent *e)
{
	struct meta_extent *ret = arg;

	*ret = *e;
	ret->key = strdup(e->key);
	ret->version = strdup(e->version);
	return 0;
}

START_TEST(tree)
{
	struct world *w = world_new();
	struct meta_extent e = { 0 };
	struct meta_totals tot;
	struct sqc *c;
	struct attr a;

	add(w, "b/c/file two", 100);
	add(w, "b/c/other", 7);
	add(w, "a", 5);
	add(w, "b/empty", 0);
	finish(w);
	ck_assert_uint_eq(w->st.files, 4);
	ck_assert_uint_eq(w->st.dirs, 2);
	ck_assert_uint_eq(w->st.bytes, 112);
	ck_assert_uint_eq(w->st.escaped, 0);
	ck_assert_uint_eq(w->st.hi - w->st.lo + 1, 7);
	load_and_attach(w);
	c = reader(w);
	a = resolve(c, "/imp");
	ck_assert_uint_eq(a.ino, w->st.lo);
	ck_assert_uint_eq(a.flags, INODE_IMPORTED | INODE_IMPORT_ROOT);
	ck_assert_uint_eq(a.mode, S_IFDIR | 0750);
	ck_assert_int_eq(a.mtime, 111);
	a = resolve(c, "/imp/b/c/file two");
	ck_assert_uint_eq(a.size, 100);
	ck_assert_uint_eq(a.mode, S_IFREG | 0640);
	ck_assert_uint_eq(a.uid, 1000);
	ck_assert_uint_eq(a.gid, 100);
	ck_assert_uint_eq(a.nlink, 1);
	ck_assert_uint_eq(a.flags, INODE_IMPORTED);
	ck_assert_int_eq(a.mtime, INT64_C(1500000000123456789));
	ck_assert_int_eq(meta_extents(c, a.ino, 0, 100, see_extent, &e), 0);
	ck_assert_str_eq(e.key, "pre/b/c/file two");
	ck_assert_str_eq(e.version,
	    "e:\"d41d8cd98f00b204e9800998ecf8427e-3\"");
	ck_assert_uint_eq(e.store, 3);
	ck_assert_uint_eq(e.len, 100);
	ck_assert_uint_eq(e.object, a.ino);
	free((void *)e.key);
	free((void *)e.version);
	resolve(c, "/imp/b/empty");
	ck_assert_int_eq(meta_totals(c, &tot), 0);
	ck_assert_uint_eq(tot.files, 4);
	ck_assert_uint_eq(tot.bytes, 112);
	sq_read_end(c);
	world_free(w);
}
END_TEST

START_TEST(escapes)
{
	struct world *w = world_new();
	struct sqc *c;
	char longkey[800];

	add(w, "/lead", 1);
	add(w, "x//y", 2);
	add(w, "x/./../z", 3);
	add(w, "a", 4);
	add(w, "a/b", 5);
	add(w, "a/b/", 6);		/* with bytes: a file */
	memset(longkey, 'k', 700);
	memcpy(longkey + 300, "/", 1);
	longkey[700] = '\0';
	add(w, longkey, 7);
	finish(w);
	ck_assert_uint_eq(w->st.files, 7);
	ck_assert_uint_eq(w->st.escaped, w->ntold);
	load_and_attach(w);
	c = reader(w);
	ck_assert_uint_eq(resolve(c, "/imp/~gns-empty/lead").size, 1);
	ck_assert_uint_eq(resolve(c, "/imp/x/~gns-empty/y").size, 2);
	ck_assert_uint_eq(resolve(c, "/imp/x/~gns-dot/~gns-dotdot/z").size, 3);
	ck_assert_uint_eq(resolve(c, "/imp/~gns-file-a").size, 4);
	ck_assert_uint_eq(resolve(c, "/imp/a/~gns-file-b").size, 5);
	ck_assert_uint_eq(resolve(c, "/imp/a/b/~gns-empty").size, 6);
	/* each is told with its key and a path that is there */
	ck_assert_uint_eq(w->ntold, 9);
	for (unsigned i = 0; i < w->ntold; i++) {
		char path[700];

		snprintf(path, sizeof(path), "/imp/%s", w->told[i][1]);
		resolve(c, path);
		if (strcmp(w->told[i][0], "a") == 0)
			ck_assert_str_eq(w->told[i][1], "~gns-file-a");
	}
	sq_read_end(c);
	world_free(w);
}
END_TEST

START_TEST(markers_and_twice)
{
	struct world *w = world_new();
	struct sqc *c;

	ck_assert_int_eq(import_add(w->imp, "", 0, 77, "v"), 0);
	ck_assert_int_eq(import_add(w->imp, "d/e/", 0, 88, "v"), 0);
	add(w, "d", 9);
	add(w, "same", 1);
	add(w, "other", 1);
	add(w, "same", 2);
	ck_assert_uint_eq(import_keys(w->imp), 6);
	finish(w);
	ck_assert_uint_eq(w->st.markers, 2);
	ck_assert_uint_eq(w->st.twice, 1);
	ck_assert_uint_eq(w->st.files, 3);
	ck_assert_uint_eq(w->st.dirs, 2);
	load_and_attach(w);
	c = reader(w);
	ck_assert_int_eq(resolve(c, "/imp").mtime, 77);
	ck_assert_int_eq(resolve(c, "/imp/d/e").mtime, 88);
	ck_assert_int_eq(resolve(c, "/imp/d").mtime, 111);
	ck_assert_uint_eq(resolve(c, "/imp/~gns-file-d").size, 9);
	ck_assert_uint_eq(resolve(c, "/imp/same").size, 2);
	sq_read_end(c);
	world_free(w);
}
END_TEST

START_TEST(nothing)
{
	struct world *w = world_new();
	struct import_stats st;

	finish(w);
	ck_assert_uint_eq(w->st.lo, w->st.hi);
	ck_assert_int_eq(import_finish(w->imp, pieces_emit, &w->ps, NULL, NULL,
	    &w->hashes, &st), -EINVAL);
	load_and_attach(w);
	world_free(w);
}
END_TEST

/* READDIR's order is that of inode numbers, so stats read in a row. */
static int
see_entry(void *arg, uint64_t cookie, const char *name, const struct attr *a)
{
	uint64_t *last = arg;

	ck_assert_uint_gt(a->ino, last[0]);
	ck_assert_uint_gt(cookie, last[1]);
	last[0] = a->ino;
	last[1] = cookie;
	last[2]++;
	return 0;
}

START_TEST(many)
{
	struct world *w = world_new();
	struct pieces snap = { 0 };
	struct snapshot s;
	uint64_t last[3] = { 0 };
	struct sqc *c;
	char key[100];

	for (int i = 0; i < 100000; i++) {
		snprintf(key, sizeof(key), "train/n%05d/img_%d.jpg", i / 500,
		    i);
		add(w, key, 1000);
	}
	finish(w);
	load_and_attach(w);
	c = reader(w);
	ck_assert_int_eq(meta_readdir(c, resolve(c, "/imp/train/n00007").ino,
	    0, true, see_entry, last), 0);
	ck_assert_uint_eq(last[2], 500);
	/* the next snapshot has the import's pieces but those at its ends */
	ck_assert_int_eq(snapshot_make(c, pieces_emit, &snap, &s), 0);
	ck_assert_uint_gt(w->ps.n, 20);
	ck_assert_uint_ge(pieces_shared(&w->ps, &snap) + 2 * 5, w->ps.n);
	sq_read_end(c);
	snapshot_done(&s);
	pieces_free(&snap);
	world_free(w);
}
END_TEST

static uint64_t
count(struct world *w, const char *sql)
{
	struct sqc *c = reader(w);
	struct sqs *q = sq_prep(c, sql);
	int64_t n;

	ck_assert_int_eq(sqs_step(q), 1);
	n = sqs_col_int(q, 0);
	sqs_reset(q);
	sq_read_end(c);
	return (uint64_t)n;
}

START_TEST(load_fails)
{
	struct world *w = world_new();
	struct meta_totals tot;
	struct why why = { "" };
	struct sqc *c;
	void *keep;

	add(w, "a/b", 5);
	finish(w);
	keep = w->ps.v[2].p;
	w->ps.v[2].p = calloc(1, w->ps.v[2].len);
	ck_assert_int_eq(import_load(w->d.m, w->st.lo, w->st.hi, w->hashes.p,
	    w->st.pieces, pieces_get, &w->ps, &why), -EBADMSG);
	ck_assert_str_ne(why.text, "");
	free(w->ps.v[2].p);
	w->ps.v[2].p = keep;
	ck_assert_uint_eq(count(w, "SELECT count(*) FROM inode"), 1);
	ck_assert_uint_eq(count(w, "SELECT count(*) FROM dentry"), 0);
	ck_assert_uint_eq(count(w, "SELECT count(*) FROM hidden"), 0);
	c = reader(w);
	ck_assert_int_eq(meta_totals(c, &tot), 0);
	ck_assert_uint_eq(tot.files, 0);
	sq_read_end(c);
	/* outside its range; then it works, once */
	ck_assert_int_eq(import_load(w->d.m, w->st.lo + 1, w->st.hi,
	    w->hashes.p, w->st.pieces, pieces_get, &w->ps, &why), -EBADMSG);
	load_and_attach(w);
	ck_assert_int_eq(import_load(w->d.m, w->st.lo, w->st.hi, w->hashes.p,
	    w->st.pieces, pieces_get, &w->ps, &why), -EEXIST);
	c = reader(w);
	ck_assert_uint_eq(resolve(c, "/imp/a/b").size, 5);
	sq_read_end(c);
	world_free(w);
}
END_TEST

START_TEST(bad_keys)
{
	struct world *w = world_new();
	char *key = malloc(70001);

	memset(key, 'a', 70000);
	key[70000] = '\0';
	ck_assert_int_eq(import_add(w->imp, key, 1, 1, "v"), -EINVAL);
	key[60000] = '\0';
	ck_assert_int_eq(import_add(w->imp, key, 1, 1, "v"), 0);
	ck_assert_int_eq(import_add(w->imp, "a", UINT64_MAX, 1, "v"), -EINVAL);
	key[200] = '\0';
	ck_assert_int_eq(import_add(w->imp, "a", 1, 1, key), -EINVAL);
	key[159] = '\0';
	ck_assert_int_eq(import_add(w->imp, "a", 1, -1, key), 0);
	finish(w);
	free(key);
	world_free(w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("import");
	TCase *t = tcase_create("import");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, names);
	tcase_add_test(t, tree);
	tcase_add_test(t, escapes);
	tcase_add_test(t, markers_and_twice);
	tcase_add_test(t, nothing);
	tcase_add_test(t, many);
	tcase_add_test(t, load_fails);
	tcase_add_test(t, bad_keys);
	suite_add_tcase(s, t);
	return run_suite(s);
}

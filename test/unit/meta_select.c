/* select: parsing, globs, filters, walks (DESIGN.md 3). */
#include "meta_trees.h"

#include "meta/select_impl.h"

/* --- one name --- */

static bool
name_is(const char *pat, const char *name)
{
	return glob_name(pat, name);
}

START_TEST(glob_names)
{
	ck_assert(name_is("*.jpg", "a.jpg"));
	ck_assert(name_is("*.jpg", ".jpg"));
	ck_assert(!name_is("*.jpg", "a.jpg.txt"));
	ck_assert(name_is("*a*b*", "xxaxxabxx"));
	ck_assert(!name_is("*a*b*", "xxbxxa"));
	ck_assert(name_is("?", "\xc3\xa9"));
	ck_assert(!name_is("?", "ab"));
	ck_assert(name_is("[a-c]x", "bx"));
	ck_assert(!name_is("[!a-c]x", "bx"));
	ck_assert(name_is("[^a-c]x", "dx"));
	ck_assert(name_is("[]]", "]"));
	ck_assert(name_is("[a-]", "-"));
	ck_assert(name_is("[\xc3\xa0-\xc3\xb0]", "\xc3\xa9"));
	ck_assert(name_is("a[", "a["));
	ck_assert(name_is("\\*", "*"));
	ck_assert(!name_is("\\*", "a"));
	ck_assert(name_is("", ""));
	ck_assert(name_is("**", "anything"));
	ck_assert(!name_is("a", ""));
	/* no exponential time */
	ck_assert(!name_is("*a*a*a*a*a*a*a*a*a*a*b",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}
END_TEST

/* --- parsing --- */

static int
parses(const char *text, struct why *why)
{
	struct selector *s = NULL;
	int err = selector_new(&text, 1, 0, NULL, &s, why);

	selector_free(s);
	return err;
}

START_TEST(parsing)
{
	static const char *const good[] = { "/", "/a", "//a//b/", "/a/**",
	    "/a/[", "size>1G", "size>=1.5k", "size=0", "size<10", "size<1MiB",
	    "size>2TB", "mtime<7d", "mtime>1.5h", "mtime<=30s", "mtime>2w",
	    "tag:k", "tag:k=", "tag:k=v=w", "store:home", "name:*.jpg",
	    "name:[x", "/a\\*" };
	static const char *const bad[] = { "", "a", "a/b", "*.jpg", "size",
	    "size>", "size>x", "size>1X", "size>-1", "size>1Gx", "size>0x10",
	    "size>99999999P", "size!1", "mtime<7", "mtime=7d", "mtime<7y",
	    "mtime<d", "mtime<99999999999w", "tag:", "tag:=v", "store:",
	    "name:", "name:a/b", "/a/../b", "/./a", "/a/../*", "size>nan" };

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct why why = { "" };

		ck_assert_msg(parses(good[i], &why) == 0, "%s: %s", good[i],
		    why.text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct why why = { "" };

		ck_assert_msg(parses(bad[i], &why) == -EINVAL, "%s", bad[i]);
		ck_assert_msg(strstr(why.text, bad[i]) != NULL, "%s: %s",
		    bad[i], why.text);
	}
}
END_TEST

/* --- a tree --- */

static struct db d;
static uint64_t now = 100 * UINT64_C(86400) * 1000000000;

static void
put(struct batch *b, struct op op)
{
	batch_put(b, &op);
}

static void
put_file(struct batch *b, uint64_t dir, const char *name, uint64_t ino,
    uint64_t size, unsigned days, uint32_t store)
{
	int64_t t = (int64_t)(now - days * UINT64_C(86400) * 1000000000);
	struct op_extent e = { .off = 0, .len = size, .object = ID(ino + 500),
	    .crc = -1 };
	struct op_object o = { .id = ID(ino + 500), .size = size,
	    .kind = OBJ_WHOLE, .store = store };

	put(b, (struct op){ .kind = OP_CREATE, .parent = dir, .name = name,
	    .ino = ID(ino), .mode = S_IFREG | 0644, .mtime = t, .ctime = t });
	if (size != 0)
		put(b, (struct op){ .kind = OP_EXTENTS, .ino = ID(ino),
		    .size = size, .mtime = t, .ctime = t, .flags = EXT_WHOLE,
		    .extents = &e, .nextents = 1, .objects = &o,
		    .nobjects = 1 });
}

static void
put_dir(struct batch *b, uint64_t dir, const char *name, uint64_t ino)
{
	put(b, (struct op){ .kind = OP_MKDIR, .parent = dir, .name = name,
	    .ino = ID(ino), .mode = S_IFDIR | 0755, .mtime = (int64_t)now });
}

/*
 * /a/1.jpg 100 1d home    /a/b/2.jpg 2048 10d home    /a/b/c/3.png 5M 30d cold
 * /a!/x 0                 /data/run[1]/w 10 2d cold   /data/run1/w 11 2d home
 * /data/l -> symlink
 */
static void
setup(void)
{
	struct tlog l = { 0 };
	struct batch b;

	db_open(&d);
	tlog_open(&l);
	b = tlog_batch(&l);
	put(&b, (struct op){ .kind = OP_STORE, .ino = 1, .name = "home",
	    .value = "file:///h", .nvalue = 9 });
	put(&b, (struct op){ .kind = OP_STORE, .ino = 2, .name = "cold",
	    .value = "file:///c", .nvalue = 9 });
	put_dir(&b, META_ROOT, "a", 1);
	put_dir(&b, ID(1), "b", 2);
	put_dir(&b, ID(2), "c", 3);
	put_dir(&b, META_ROOT, "a!", 4);
	put_dir(&b, META_ROOT, "data", 5);
	put_dir(&b, ID(5), "run[1]", 6);
	put_dir(&b, ID(5), "run1", 7);
	put_file(&b, ID(1), "1.jpg", 11, 100, 1, 1);
	put_file(&b, ID(2), "2.jpg", 12, 2048, 10, 1);
	put_file(&b, ID(3), "3.png", 13, 5 << 20, 30, 2);
	put_file(&b, ID(4), "x", 14, 0, 0, 1);
	put_file(&b, ID(6), "w", 15, 10, 2, 2);
	put_file(&b, ID(7), "w", 16, 11, 2, 1);
	put(&b, (struct op){ .kind = OP_SYMLINK, .parent = ID(5), .name = "l",
	    .ino = ID(17), .value = "w", .nvalue = 1, .mtime = (int64_t)now });
	put(&b, (struct op){ .kind = OP_TAG, .ino = ID(2), .name = "set",
	    .value = "train", .nvalue = 5 });
	put(&b, (struct op){ .kind = OP_TAG, .ino = ID(11), .name = "set",
	    .value = "test", .nvalue = 4 });
	tlog_end(&l, &b);
	db_replay(&d, &l, 1);
	tlog_free(&l);
}

static void
teardown(void)
{
	db_close(&d);
}

struct got { char *paths[64]; unsigned n; const struct selector *s;
	struct sqc *c; };

static int
got_path(void *arg, const char *path, const struct attr *a)
{
	struct got *g = arg;

	ck_assert_uint_lt(g->n, 64);
	g->paths[g->n++] = strdup(path);
	return 0;
}

static int
str_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every regular file is asked alone, too. */
static int
got_all(void *arg, const char *path, const struct attr *a)
{
	struct got *g = arg;
	int want = 0, is;

	for (unsigned i = 0; i < g->n; i++)
		want = want || strcmp(g->paths[i], path) == 0;
	is = selector_matches(g->s, g->c, path, a);
	ck_assert_msg(is == want, "%s: matches %d, run %d", path, is, want);
	return 0;
}

static int
select_run(const char *const *texts, unsigned n, unsigned flags,
    const char *in, bool all, char *ret, size_t size, bool cross)
{
	struct selector *s = NULL, *every = NULL;
	struct got g = { .n = 0 };
	struct why why = { "" };
	struct sqc *c;
	const char *root = "/";
	int err;

	ck_assert_msg(selector_new(texts, n, flags, in, &s, &why) == 0, "%s",
	    why.text);
	ck_assert_int_eq(sq_read(meta_sq(d.m), &c), 0);
	err = selector_run(s, c, (int64_t)now, all, got_path, &g, &why);
	if (err == 0 && cross) {
		g.s = s;
		g.c = c;
		ck_assert_int_eq(selector_new(&root, 1, 0, NULL, &every, NULL),
		    0);
		ck_assert_int_eq(selector_run(every, c, 0, false, got_all, &g,
		    NULL), 0);
		selector_free(every);
	}
	sq_read_end(c);
	selector_free(s);
	qsort(g.paths, g.n, sizeof(*g.paths), str_cmp);
	ret[0] = '\0';
	for (unsigned i = 0; i < g.n; i++) {
		if (i != 0)
			strncat(ret, " ", size - strlen(ret) - 1);
		strncat(ret, g.paths[i], size - strlen(ret) - 1);
		free(g.paths[i]);
	}
	return err;
}

static void
check(unsigned flags, const char *in, bool all, const char *want,
    const char *t1, const char *t2, const char *t3)
{
	const char *texts[3] = { t1, t2, t3 };
	unsigned n = t3 != NULL ? 3 : t2 != NULL ? 2 : 1;
	bool timed = strstr(t1, "mtime") || (t2 && strstr(t2, "mtime"));
	char got[2000];

	ck_assert_int_eq(select_run(texts, n, flags, in, all, got,
	    sizeof(got), !all && !timed), 0);
	ck_assert_msg(strcmp(got, want) == 0, "%s: got %s, not %s", t1, got,
	    want);
}

#define A1 "/a/1.jpg"
#define A2 "/a/b/2.jpg"
#define A3 "/a/b/c/3.png"
#define X  "/a!/x"
#define W1 "/data/run1/w"
#define WM "/data/run[1]/w"

START_TEST(paths)
{
	check(0, NULL, false, A1 " " A2 " " A3, "/a", NULL, NULL);
	check(0, NULL, false, X " " A1 " " A2 " " A3 " " W1 " " WM, "/", NULL,
	    NULL);
	check(0, NULL, false, A2, "/a/b//2.jpg", NULL, NULL);
	check(0, NULL, false, A2 " " A3, A2, "/a/b/", "/a/b/c");
	check(0, NULL, false, X " " A2, X, A2, A2);
	check(0, NULL, true, "/a/b /a/b/2.jpg /a/b/c /a/b/c/3.png", "/a/b",
	    NULL, NULL);
	check(0, NULL, true, "/data/l", "/data/l", NULL, NULL);
	check(0, NULL, false, "", "/data/l", NULL, NULL);
}
END_TEST

START_TEST(globs)
{
	check(0, NULL, false, A1 " " A2, "/**/*.jpg", NULL, NULL);
	check(0, NULL, false, A1 " " A2, "/a/**/*.jpg", NULL, NULL);
	check(0, NULL, false, A1, "/a/*.jpg", NULL, NULL);
	check(0, NULL, false, A1 " " A2 " " A3, "/a/**", NULL, NULL);
	check(0, NULL, true, "/a/1.jpg /a/b /a/b/2.jpg /a/b/c /a/b/c/3.png",
	    "/a/**", NULL, NULL);
	/* a directory means all below */
	check(0, NULL, false, A1 " " A2 " " A3, "/a/*", NULL, NULL);
	check(0, NULL, false, X " " A1 " " A2 " " A3, "/a*", NULL, NULL);
	check(0, NULL, false, A3, "/a/**/c", NULL, NULL);
	check(0, NULL, false, A3, "/**/c/**/3.*", NULL, NULL);
	check(0, NULL, false, W1, "/data/run?/w", NULL, NULL);
	check(0, NULL, false, "", "/nowhere/**", "/a/*.gif", NULL);
	/* as a pattern and as it stands */
	check(0, NULL, false, W1 " " WM, "/data/run[1]/w", NULL, NULL);
	check(0, NULL, false, W1 " " WM, "/data/run[1]", NULL, NULL);
	check(0, NULL, false, WM, "/data/run\\[1]/w", NULL, NULL);
	check(0, NULL, false, W1 " " WM, "/data/**/w", "/data/run1", NULL);
}
END_TEST

START_TEST(filters)
{
	check(0, NULL, false, A3, "size>1M", NULL, NULL);
	check(0, NULL, false, A2 " " A3, "size>=2K", NULL, NULL);
	check(0, NULL, false, X, "size=0", NULL, NULL);
	check(0, NULL, false, X " " A1 " " W1 " " WM, "mtime<7d", NULL, NULL);
	check(0, NULL, false, A2 " " A3, "mtime>7d", NULL, NULL);
	check(0, NULL, false, A1 " " A2, "name:*.jpg", NULL, NULL);
	check(0, NULL, false, A3 " " WM, "store:cold", NULL, NULL);
	check(0, NULL, false, A2 " " A3, "tag:set=train", NULL, NULL);
	check(0, NULL, false, A1 " " A2 " " A3, "tag:set", NULL, NULL);
	check(0, NULL, false, "", "tag:set=none", NULL, NULL);
	check(0, NULL, true, "/a/b /a/b/2.jpg /a/b/c /a/b/c/3.png",
	    "tag:set=train", NULL, NULL);
	check(0, NULL, false, A1 " " A2 " " W1, "name:*.jpg", W1, NULL);
}
END_TEST

START_TEST(and_in)
{
	check(SELECT_AND, NULL, false, A2, "name:*.jpg", "size>1K", NULL);
	check(SELECT_AND, NULL, false, A2, "/a/b", "name:*.jpg", NULL);
	check(SELECT_AND, NULL, false, A2, "/a/**", "/**/*.jpg", "/a/b");
	check(SELECT_AND, NULL, false, "", "/a", "/data", NULL);
	check(SELECT_AND, NULL, false, A2 " " A3, "/a", "/a/b", NULL);
	check(SELECT_AND, NULL, false, A3, "tag:set=train", "store:cold",
	    NULL);
	check(SELECT_AND, "/data", false, WM, "store:cold", NULL, NULL);
	check(SELECT_AND, "/data", false, "", "/a", "store:cold", NULL);
	check(0, "/data", false, WM, "store:cold", NULL, NULL);
	check(0, "/a/b", false, A2, "/**/*.jpg", NULL, NULL);
	check(0, "/a/b", false, A2 " " A3, "/a", NULL, NULL);
	check(0, "/a/b/c", false, A3, "tag:set=train", NULL, NULL);
	check(0, "/a", false, A2, A2, W1, NULL);
	check(0, "/", false, A2, A2, NULL, NULL);
}
END_TEST

START_TEST(absent)
{
	static const char *const none[] = { "/a", "/nowhere" };
	static const char *const below[] = { A1 "/below" };
	static const char *const store[] = { "store:none" };
	static const char *const ok[] = { "/a" };
	char got[1000];

	ck_assert_int_eq(select_run(none, 2, 0, NULL, false, got, sizeof(got),
	    false), -ENOENT);
	ck_assert_int_eq(select_run(below, 1, 0, NULL, false, got,
	    sizeof(got), false), -ENOENT);
	ck_assert_int_eq(select_run(store, 1, 0, NULL, false, got,
	    sizeof(got), false), -ENOENT);
	ck_assert_int_eq(select_run(ok, 1, 0, "/nowhere", false, got,
	    sizeof(got), false), -ENOENT);
}
END_TEST

static int
stop_at_two(void *arg, const char *path, const struct attr *a)
{
	unsigned *n = arg;

	return ++*n == 2 ? -ECANCELED : 0;
}

START_TEST(stops)
{
	const char *text = "/**";
	struct selector *s;
	struct sqc *c;
	unsigned n = 0;

	ck_assert_int_eq(selector_new(&text, 1, 0, NULL, &s, NULL), 0);
	ck_assert_int_eq(sq_read(meta_sq(d.m), &c), 0);
	ck_assert_int_eq(selector_run(s, c, 0, true, stop_at_two, &n, NULL),
	    -ECANCELED);
	ck_assert_uint_eq(n, 2);
	sq_read_end(c);
	selector_free(s);
}
END_TEST

/* A long list of paths is not a long time a file. */
START_TEST(many_paths)
{
	enum { N = 20000 };
	const char **texts = calloc(N + 1, sizeof(*texts));
	struct selector *s;
	struct attr a = { .mode = S_IFREG };
	struct sqc *c;

	for (int i = 0; i < N; i++) {
		char p[40];

		snprintf(p, sizeof(p), "/d/%d", i);
		texts[i] = strdup(p);
	}
	texts[N] = strdup("/a!");
	ck_assert_int_eq(selector_new(texts, N + 1, 0, NULL, &s, NULL), 0);
	ck_assert_int_eq(sq_read(meta_sq(d.m), &c), 0);
	for (int i = 0; i < 20000; i++) {
		ck_assert_int_eq(selector_matches(s, c, "/d/777/x/y", &a), 1);
		ck_assert_int_eq(selector_matches(s, c, "/d/77777/x", &a), 0);
	}
	ck_assert_int_eq(selector_matches(s, c, X, &a), 1);
	ck_assert_int_eq(selector_matches(s, c, "/", &a), 0);
	sq_read_end(c);
	selector_free(s);
	for (int i = 0; i <= N; i++)
		free((void *)texts[i]);
	free(texts);
}
END_TEST

/* Directories of more entries than are read at once. */
START_TEST(wide_and_deep)
{
	struct tlog l = { 0 };
	const char *text = "/**/leaf*";
	struct selector *s;
	struct batch b;
	struct sqc *c;
	unsigned n = 0;
	char name[40];
	uint64_t dir = META_ROOT;

	db_close(&d);
	db_open(&d);
	tlog_open(&l);
	b = tlog_batch(&l);
	for (unsigned i = 0; i < 200; i++) {
		put_dir(&b, dir, "deep", 1000 + i);
		dir = ID(1000 + i);
	}
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "leaf %u", i);
		put_file(&b, i % 2 ? dir : META_ROOT, name, 2000 + i, 0, 0, 1);
	}
	tlog_end(&l, &b);
	db_replay(&d, &l, 1);
	tlog_free(&l);
	ck_assert_int_eq(selector_new(&text, 1, 0, NULL, &s, NULL), 0);
	ck_assert_int_eq(sq_read(meta_sq(d.m), &c), 0);
	ck_assert_int_eq(selector_run(s, c, 0, false, stop_at_two, &n, NULL),
	    -ECANCELED);
	n = 2;		/* past where it stops: counts on */
	ck_assert_int_eq(selector_run(s, c, 0, false, stop_at_two, &n, NULL),
	    0);
	ck_assert_uint_eq(n, 1002);
	sq_read_end(c);
	selector_free(s);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("select");
	TCase *t = tcase_create("parse"), *u = tcase_create("run");

	tcase_add_test(t, glob_names);
	tcase_add_test(t, parsing);
	tcase_set_timeout(u, 60);
	tcase_add_checked_fixture(u, setup, teardown);
	tcase_add_test(u, paths);
	tcase_add_test(u, globs);
	tcase_add_test(u, filters);
	tcase_add_test(u, and_in);
	tcase_add_test(u, absent);
	tcase_add_test(u, stops);
	tcase_add_test(u, many_paths);
	tcase_add_test(u, wide_and_deep);
	suite_add_tcase(s, t);
	suite_add_tcase(s, u);
	return run_suite(s);
}

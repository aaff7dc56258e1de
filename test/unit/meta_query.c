/* Queries: names, directories, paths, labels, extents, walks. */
#include "meta_util.h"

static struct meta *M;
static struct sqc *C;

enum { D1 = 10, D2 = 11, F1 = 20, F2 = 21, L1 = 30 };

static void
setup(void)
{
	struct op link = { .kind = OP_LINK, .ino = F1, .parent = D2,
	    .name = "hard" };
	struct op sym = { .kind = OP_SYMLINK, .ino = L1, .parent = D1,
	    .name = "sym", .value = "../f1", .nvalue = 5 };
	struct op ops[] = { mu_mkdir(1, "d1", D1), mu_mkdir(D1, "d2", D2),
	    mu_create(1, "f1", F1), mu_create(D2, "f2", F2), link, sym };

	mu_setup();
	M = mu_open("a");
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		ck_assert_int_eq(mu_apply(M, &ops[i]), 0);
	ck_assert_int_eq(sq_read(meta_sq(M), &C), 0);
}

static void
teardown(void)
{
	sq_read_end(C);
	meta_close(M);
	mu_teardown();
}

START_TEST(test_paths)
{
	char name[META_NAME_MAX + 1], longname[300], *p;
	struct attr a;
	uint64_t parent;

	memset(longname, 'x', sizeof(longname));
	longname[299] = '\0';
	ck_assert_int_eq(meta_lookup(C, 1, longname, &a), -ENAMETOOLONG);
	ck_assert_int_eq(meta_lookup(C, 1, "no", &a), -ENOENT);
	ck_assert_int_eq(meta_getattr(C, 99, &a), -ENOENT);
	ck_assert_int_eq(meta_path(C, META_ROOT, &p), 0);
	ck_assert_str_eq(p, "/");
	free(p);
	ck_assert_int_eq(meta_path(C, F2, &p), 0);
	ck_assert_str_eq(p, "/d1/d2/f2");
	free(p);
	ck_assert_int_eq(meta_path(C, 99, &p), -ENOENT);
	ck_assert_int_eq(meta_parent(C, D2, &parent, name), 0);
	ck_assert_uint_eq(parent, D1);
	ck_assert_str_eq(name, "d2");
	ck_assert_int_eq(meta_parent(C, META_ROOT, &parent, name), -ENOENT);
	ck_assert_int_eq(meta_resolve(C, "/", &a), 0);
	ck_assert_uint_eq(a.ino, META_ROOT);
	ck_assert_int_eq(meta_resolve(C, "/d1//d2/f2", &a), 0);
	ck_assert_uint_eq(a.ino, F2);
	ck_assert_int_eq(meta_resolve(C, "/f1/x", &a), -ENOTDIR);
	ck_assert_int_eq(meta_resolve(C, "/d1/x", &a), -ENOENT);
	ck_assert_int_eq(meta_is_below(C, F2, D1), 1);
	ck_assert_int_eq(meta_is_below(C, D1, D1), 1);
	ck_assert_int_eq(meta_is_below(C, D1, D2), 0);
	ck_assert_int_eq(meta_is_below(C, F1, D2), 1);	/* by its other name */
	ck_assert_int_eq(meta_is_below(C, META_ROOT, D1), 0);
	ck_assert_int_eq(meta_is_below(C, F2, META_ROOT), 1);
}
END_TEST

struct list { int n, stop; uint64_t last, inos; mode_t types; bool attr; };

static int
list_each(void *arg, uint64_t cookie, const char *name, const struct attr *a)
{
	struct list *l = arg;

	ck_assert_uint_ge(cookie, 16);
	ck_assert_uint_gt(cookie, l->last);
	ck_assert_uint_gt(strlen(name), 0);
	if (l->attr)
		ck_assert_int_gt(a->nlink, 0);
	l->last = cookie;
	l->inos += a->ino;
	l->types |= a->mode & S_IFMT;
	return (++l->n == l->stop);
}

START_TEST(test_readdir)
{
	struct list l = { .stop = -1, .attr = _i };

	ck_assert_int_eq(meta_readdir(C, META_ROOT, 0, _i, list_each, &l), 0);
	ck_assert_int_eq(l.n, 2);
	ck_assert_uint_eq(l.inos, D1 + F1);
	ck_assert_int_eq(l.types, S_IFDIR | S_IFREG);
	/* goes on where it stopped */
	l = (struct list){ .stop = 1, .attr = _i };
	ck_assert_int_eq(meta_readdir(C, META_ROOT, 0, _i, list_each, &l), 0);
	ck_assert_int_eq(l.n, 1);
	ck_assert_int_eq(meta_readdir(C, META_ROOT, l.last, _i, list_each, &l),
	    0);
	ck_assert_int_eq(l.n, 2);
	ck_assert_uint_eq(l.inos, D1 + F1);
	ck_assert(!meta_dir_is_empty(C, D1));
	ck_assert(meta_dir_is_empty(C, F1));
}
END_TEST

START_TEST(test_labels)
{
	struct op op = { .kind = OP_SETXATTR, .ino = F1, .name = "user.b",
	    .value = "v\0w", .nvalue = 3 };
	struct buf b = BUF_INIT;

	ck_assert_int_eq(mu_apply(M, &op), 0);
	op.name = "user.a";
	op.nvalue = 0;
	ck_assert_int_eq(mu_apply(M, &op), 0);
	ck_assert_int_eq(meta_getxattr(C, F1, "user.b", &b), 0);
	ck_assert_uint_eq(b.len, 3);
	ck_assert_mem_eq(b.p, "v\0w", 3);
	buf_reset(&b);
	ck_assert_int_eq(meta_getxattr(C, F1, "user.a", &b), 0);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(meta_getxattr(C, F1, "user.c", &b), -ENODATA);
	ck_assert_int_eq(meta_listxattr(C, F1, &b), 0);
	ck_assert_uint_eq(b.len, 14);
	ck_assert_mem_eq(b.p, "user.a\0user.b\0", 14);
	buf_reset(&b);
	ck_assert_int_eq(meta_readlink(C, L1, &b), 0);
	ck_assert_mem_eq(b.p, "../f1", 5);
	ck_assert_int_eq(meta_readlink(C, F1, &b), -ENOENT);
	buf_done(&b);
}
END_TEST

struct ext { int n; uint64_t off[8]; char key[8][100]; char version[32]; };

static int
ext_each(void *arg, const struct meta_extent *e)
{
	struct ext *x = arg;

	ck_assert_int_lt(x->n, 8);
	x->off[x->n] = e->off;
	snprintf(x->key[x->n], sizeof(x->key[0]), "%s", e->key);
	snprintf(x->version, sizeof(x->version), "%s", e->version);
	ck_assert_uint_eq(e->osize, 1000);
	ck_assert_uint_eq(e->store, 2);
	x->n++;
	return (0);
}

static int
sql_fn(struct sqc *c, void *arg)
{
	return (sq_exec(c, arg));
}

static int
loc_each(void *arg, const struct meta_location *l)
{
	int *n = arg;

	/* by store id; the key follows from the object's */
	ck_assert_uint_eq(l->store, (uint32_t)++*n + 1);
	ck_assert_int_eq(strncmp(l->key, "data/", 5), 0);
	ck_assert_str_eq(l->version, "\"etag\"");
	return (0);
}

static int
unloc_each(void *arg, const struct meta_unlocated *u)
{
	ck_assert_uint_eq(u->size, 1000);
	++*(int *)arg;
	return (0);
}

struct got { unsigned n; uint64_t first, end; uint32_t len, crc; };

static int
sum_each(void *arg, const struct meta_sum *m)
{
	struct got *g = arg;

	if (g->n++ == 0)
		g->first = m->ooff;
	else
		ck_assert_uint_eq(m->ooff, g->end);	/* no gap */
	g->end = m->ooff + m->len;
	g->len = m->len;
	g->crc = m->crc;
	return (0);
}

static struct got
sums_in(uint64_t object, uint64_t ooff, uint64_t len)
{
	struct got g = { 0 };

	ck_assert_int_eq(meta_sums(C, object, ooff, len, sum_each, &g), 0);
	return (g);
}

/* Sums are cut where the file's chunks are; there are rows of a bounded
 * length, of which only those in question are read. */
START_TEST(test_sums)
{
	const uint64_t many = 2 * META_SUMS_ROW + 3;
	struct op_extent whole = { 0, many * META_SUM - 5, 700, 0, -1 };
	struct op_extent parts[] = { { META_SUM - 10, 30, 701, 0, -1 },
	    { 5 * META_SUM, META_SUM + 1, 701, 30, -1 } };
	struct op_object o = { .id = 700, .size = whole.len,
	    .kind = OBJ_WHOLE, .store = 2, .nsums = many };
	struct op op = { .kind = OP_EXTENTS, .ino = F1, .size = whole.len,
	    .flags = EXT_WHOLE, .extents = &whole, .nextents = 1,
	    .objects = &o, .nobjects = 1 };
	struct buf b = BUF_INIT;
	struct got g;

	for (uint32_t i = 0; i < many; i++)
		buf_put_u32(&b, 1000 + i);
	o.sums = b.p;
	ck_assert_int_eq(mu_apply(M, &op), 0);
	ck_assert_int_eq(mu_int(M, "SELECT count(*) FROM sums"), 3);
	g = sums_in(700, 0, o.size);
	ck_assert_uint_eq(g.n, many);
	ck_assert_uint_eq(g.end, o.size);
	ck_assert_uint_eq(g.len, META_SUM - 5);
	ck_assert_uint_eq(g.crc, 1000 + many - 1);
	/* across two rows */
	g = sums_in(700, META_SUMS_ROW * META_SUM - 1, 2);
	ck_assert_uint_eq(g.n, 2);
	ck_assert_uint_eq(g.first, (META_SUMS_ROW - 1) * META_SUM);
	ck_assert_uint_eq(g.crc, 1000 + META_SUMS_ROW);
	ck_assert_uint_eq(sums_in(700, 7 * META_SUM, META_SUM).n, 1);
	ck_assert_uint_eq(sums_in(700, 7 * META_SUM, META_SUM).crc, 1007);
	ck_assert_uint_eq(sums_in(700, o.size, 10).n, 0);
	ck_assert_uint_eq(sums_in(699, 0, 10).n, 0);
	/* of a patch */
	o = (struct op_object){ .id = 701, .size = 31 + META_SUM,
	    .kind = OBJ_PATCH, .store = 2, .sums = b.p, .nsums = 4 };
	op.flags = 0;
	op.extents = parts;
	op.nextents = 2;
	ck_assert_int_eq(mu_apply(M, &op), 0);
	g = sums_in(701, 0, 5);
	ck_assert_uint_eq(g.n, 1);
	ck_assert_uint_eq(g.len, 10);
	g = sums_in(701, 10, 20);
	ck_assert_uint_eq(g.n, 1);
	ck_assert_uint_eq(g.first, 10);
	ck_assert_uint_eq(g.len, 20);
	ck_assert_uint_eq(g.crc, 1001);
	g = sums_in(701, 0, o.size);
	ck_assert_uint_eq(g.n, 4);
	ck_assert_uint_eq(g.end, o.size);
	ck_assert_uint_eq(g.len, 1);
	/* what is cut off or written over does not change them */
	op = (struct op){ .kind = OP_TRUNCATE, .ino = F1, .size = 3 };
	ck_assert_int_eq(mu_apply(M, &op), 0);
	ck_assert_uint_eq(sums_in(700, 0, META_SUM).len, META_SUM);
	/* a row that is none */
	ck_assert_int_eq(sq_write(meta_sq(M), sql_fn,
	    "UPDATE sums SET sums = x'00' WHERE object = 701"), 0);
	ck_assert_int_eq(meta_sums(C, 701, 0, 1, sum_each, &g), -EUCLEAN);
	ck_assert_int_eq(meta_sums(C, 700, UINT64_MAX, 1, sum_each, &g),
	    -EINVAL);
	buf_done(&b);
}
END_TEST

START_TEST(test_extents)
{
	struct op_extent e[] = { { 0, 100, 700, 0, -1 }, { 100, 50, 700, 100,
	    3 }, { 300, 100, 701, 0, -1 } };
	struct op_object o[] = { { .id = 700, .size = 1000, .kind = OBJ_WHOLE,
	    .store = 2, .version = "\"etag\"" }, { .id = 701, .size = 1000,
	    .kind = OBJ_PATCH, .store = 2 } };
	struct op op = { .kind = OP_EXTENTS, .ino = F1, .size = 500,
	    .flags = EXT_WHOLE, .extents = e, .nextents = 3, .objects = o,
	    .nobjects = 2 };
	struct op locate = { .kind = OP_LOCATE };
	struct ext x = { 0 };
	int n = 0, un = 0;

	ck_assert_int_eq(mu_apply(M, &op), 0);
	ck_assert_int_eq(meta_extents(C, F1, 0, UINT64_MAX, ext_each, &x), 0);
	ck_assert_int_eq(x.n, 3);
	ck_assert_int_eq(strncmp(x.key[0], "data/", 5), 0);
	ck_assert_str_ne(x.key[0], x.key[2]);
	x.n = 0;
	ck_assert_int_eq(meta_extents(C, F1, 50, 51, ext_each, &x), 0);
	ck_assert_int_eq(x.n, 2);
	ck_assert_uint_eq(x.off[0], 0);
	ck_assert_str_eq(x.version, "\"etag\"");
	x.n = 0;
	ck_assert_int_eq(meta_extents(C, F1, 150, 150, ext_each, &x), 0);
	ck_assert_int_eq(x.n, 0);
	ck_assert_int_eq(meta_extents(C, F1, 399, 1, ext_each, &x), 0);
	ck_assert_int_eq(x.n, 1);
	/* copies */
	locate.objects = o;
	locate.nobjects = 1;
	o[0].store = 3;
	ck_assert_int_eq(mu_apply(M, &locate), 0);
	ck_assert_int_eq(meta_locations(C, 700, loc_each, &n), 0);
	ck_assert_int_eq(n, 2);
	ck_assert_int_eq(meta_unlocated(C, F1, 3, unloc_each, &un), 0);
	ck_assert_int_eq(un, 1);		/* of 701 */
	ck_assert_int_eq(meta_unlocated(C, F1, 9, unloc_each, &un), 0);
	ck_assert_int_eq(un, 4);
	ck_assert_int_eq(meta_store_is_imported(C, 3), 0);
	ck_assert_int_eq(meta_store_is_imported(C, 2), 0);
	ck_assert_int_eq(sq_write(meta_sq(M), sql_fn,
	    "UPDATE location SET key = x'61' WHERE object = 701"), 0);
	ck_assert_int_eq(meta_store_is_imported(C, 2), 1);
	/* bytes that are nowhere are damage, not a hole */
	ck_assert_int_eq(sq_write(meta_sq(M), sql_fn,
	    "DELETE FROM location WHERE object = 701"), 0);
	ck_assert_int_eq(meta_extents(C, F1, 0, 500, ext_each, &x), -EUCLEAN);
}
END_TEST

struct near { int n; uint64_t ino[4], ooff[4]; };

static int
near_each(void *arg, uint64_t ino, const struct meta_extent *e)
{
	struct near *l = arg;

	ck_assert_int_lt(l->n, 4);
	ck_assert_uint_eq(e->kind, OBJ_PACK);
	l->ino[l->n] = ino;
	l->ooff[l->n++] = e->ooff;
	return (0);
}

START_TEST(test_small_extents)
{
	struct op_extent e = { 0, 100, 710, 200, -1 };
	struct op_object o = { .id = 710, .size = 1 << 20, .kind = OBJ_PACK,
	    .store = 2 };
	struct op op = { .kind = OP_EXTENTS, .ino = F1, .size = 100,
	    .flags = EXT_WHOLE, .extents = &e, .nextents = 1, .objects = &o,
	    .nobjects = 1 };
	uint64_t lo = F1 < F2 ? F1 : F2, hi = F1 < F2 ? F2 : F1;
	struct near l = { 0 };
	struct meta_small one;

	ck_assert_int_eq(mu_apply(M, &op), 0);
	op.ino = F2;
	op.nobjects = 0;
	e.ooff = 0;
	ck_assert_int_eq(mu_apply(M, &op), 0);
	/* by offset in the pack, not by inode */
	ck_assert_int_eq(meta_small_extents(C, lo, hi - lo + 1, near_each,
	    &l), 0);
	ck_assert_int_eq(l.n, 2);
	ck_assert_uint_eq(l.ino[0], F2);
	ck_assert_uint_eq(l.ino[1], F1);
	ck_assert_uint_eq(l.ooff[1], 200);
	l.n = 0;
	ck_assert_int_eq(meta_small_extents(C, F1, 1, near_each, &l), 0);
	ck_assert_int_eq(l.n, 1);
	ck_assert_uint_eq(l.ino[0], F1);
	ck_assert_int_eq(meta_small(C, F1, &one), 0);
	ck_assert_uint_eq(one.size, 100);
	ck_assert_uint_eq(one.object, 710);
	ck_assert_uint_eq(one.ooff, 200);
	/* one that is not small, though its first extent is (C5) */
	for (int i = 0; i < 3; i++) {
		op.size = (uint64_t[]){ META_SMALL_MAX + 1, UINT64_C(1) << 37,
		    101 }[i];
		e.len = i == 0 ? op.size : 100;
		ck_assert_int_eq(mu_apply(M, &op), 0);
		l.n = 0;
		ck_assert_int_eq(meta_small_extents(C, lo, hi - lo + 1,
		    near_each, &l), 0);
		ck_assert_int_eq(l.n, 1);
		ck_assert_uint_eq(l.ino[0], F1);
		ck_assert_int_eq(meta_small(C, F2, &one), -ENOENT);
	}
	ck_assert_int_eq(meta_small(C, 99999, &one), -ENOENT);
}
END_TEST

static int
walk_each(void *arg, uint64_t parent, const char *name, const struct attr *a)
{
	struct list *l = arg;
	char *path;

	/* other queries may run meanwhile */
	ck_assert_int_eq(meta_path(C, a->ino, &path), 0);
	free(path);
	l->inos += a->ino;
	return (++l->n == l->stop);
}

START_TEST(test_walk)
{
	struct list l = { .stop = -1 };
	char name[16];

	ck_assert_int_eq(meta_walk(C, META_ROOT, walk_each, &l), 0);
	ck_assert_int_eq(l.n, 7);
	ck_assert_uint_eq(l.inos, 1 + D1 + D2 + F1 * 2 + F2 + L1);
	l = (struct list){ .stop = -1 };
	ck_assert_int_eq(meta_walk(C, D2, walk_each, &l), 0);
	ck_assert_int_eq(l.n, 3);
	l = (struct list){ .stop = -1 };
	ck_assert_int_eq(meta_walk(C, F2, walk_each, &l), 0);
	ck_assert_int_eq(l.n, 1);
	ck_assert_int_eq(meta_walk(C, 99, walk_each, &l), -ENOENT);
	/* directories larger than what is read at a time */
	for (int i = 0; i < 1100; i++) {
		struct op op;

		snprintf(name, sizeof(name), "n%d", i);
		op = i % 100 ? mu_create(D2, name, 1000 + i) :
		    mu_mkdir(D2, name, 1000 + i);
		ck_assert_int_eq(mu_apply(M, &op), 0);
	}
	l = (struct list){ .stop = -1 };
	ck_assert_int_eq(meta_walk(C, META_ROOT, walk_each, &l), 0);
	ck_assert_int_eq(l.n, 1107);
	l = (struct list){ .stop = 600 };
	ck_assert_int_eq(meta_walk(C, META_ROOT, walk_each, &l), 0);
	ck_assert_int_eq(l.n, 600);
}
END_TEST

static int
store_each(void *arg, const struct store_row *s)
{
	ck_assert_str_eq(s->name, "home");
	ck_assert_str_eq(s->url, "file:///x");
	*(int *)arg += s->id;
	return (0);
}

static int
pin_each(void *arg, const struct pin_row *p)
{
	ck_assert_str_eq(p->name, "mine");
	ck_assert_str_eq(p->host, "h");
	ck_assert_str_eq(p->selectors, "/a\n/b");
	ck_assert_int_eq(p->expires, 77);
	ck_assert_int_eq(p->created, 55);
	*(int *)arg += p->id;
	return (0);
}

START_TEST(test_rows)
{
	struct op store = { .kind = OP_STORE, .ino = 1, .name = "home",
	    .value = "file:///x", .nvalue = 9 };
	struct op pin = { .kind = OP_PIN, .ino = 40, .name = "mine",
	    .name2 = "h", .value = "/a\n/b", .nvalue = 5, .size = 77,
	    .mtime = 55 };
	struct meta_totals t;
	int n = 0;

	ck_assert_int_eq(mu_apply(M, &store), 0);
	ck_assert_int_eq(mu_apply(M, &pin), 0);
	ck_assert_int_eq(meta_stores(C, store_each, &n), 0);
	ck_assert_int_eq(meta_pins(C, pin_each, &n), 0);
	ck_assert_int_eq(n, 41);
	pin.flags = 1;
	ck_assert_int_eq(mu_apply(M, &pin), 0);
	ck_assert_int_eq(mu_apply(M, &pin), -ENOENT);
	ck_assert_int_eq(meta_totals(C, &t), 0);
	ck_assert_uint_eq(t.files, 3);
	ck_assert_uint_eq(t.dirs, 3);
	ck_assert_uint_eq(t.bytes, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_query");
	TCase *t = tcase_create("query");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_paths);
	tcase_add_loop_test(t, test_readdir, 0, 2);
	tcase_add_test(t, test_labels);
	tcase_add_test(t, test_extents);
	tcase_add_test(t, test_sums);
	tcase_add_test(t, test_small_extents);
	tcase_add_test(t, test_walk);
	tcase_add_test(t, test_rows);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

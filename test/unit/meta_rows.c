/* Rows: images, keys, undo (L5), the log prefix (M4), hidden ranges. */
#include "meta_util.h"

static struct meta *M;

static void
setup(void)
{
	mu_setup();
	M = mu_open("a");
}

static void
teardown(void)
{
	meta_close(M);
	mu_teardown();
}

static struct row
xattr(int64_t ino, const char *name, const char *value)
{
	return ((struct row){ T_XATTR, { col_int(ino), col_str(name),
	    col_str(value) } });
}

START_TEST(test_image)
{
	struct row r = { T_CONFLICT, { col_int(INT64_MIN),
	    col_int(INT64_MAX), col_bytes("\0x", 2) } }, back;
	struct buf b = BUF_INIT;
	struct cur c;

	row_encode(&r, &b);
	cur_init(&c, b.p, b.len);
	row_decode(&c, T_CONFLICT, &back);
	ck_assert_int_eq(cur_err(&c), 0);
	ck_assert(cur_at_end(&c));
	ck_assert_int_eq(back.v[0].i, INT64_MIN);
	ck_assert_int_eq(back.v[1].i, INT64_MAX);
	ck_assert_uint_eq(back.v[2].n, 2);
	ck_assert_mem_eq(back.v[2].p, "\0x", 2);
	/* every shorter one is refused, within its bytes */
	for (size_t n = 0; n < b.len; n++) {
		cur_init(&c, b.p, n);
		row_decode(&c, T_CONFLICT, &back);
		ck_assert_int_ne(cur_err(&c), 0);
	}
	buf_done(&b);
}
END_TEST

static int
order_fn(struct sqc *c, void *arg)
{
	static const struct change pending = { .undo_seq = 9 };
	static const int64_t inos[] = { 5, -3, 0, INT64_MAX, INT64_MIN };
	static const char *const names[] = { "b", "a", "", "ab", "\xff" };

	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 5; j++) {
			struct row r = xattr(inos[i], names[j], "v");

			ck_assert_int_eq(row_put(c, arg ? &pending :
			    &(struct change){ 0 }, &r), 0);
		}
	return (0);
}

struct order { struct row last; char name[8]; int n; };

static int
order_each(void *arg, const struct row *r, const void *image, size_t n)
{
	struct order *o = arg;

	if (o->n++ > 0)
		ck_assert_int_lt(row_key_cmp(&o->last, r), 0);
	o->last = *r;
	memcpy(o->name, r->v[1].p, r->v[1].n);
	o->last.v[1].p = o->name;
	return (0);
}

/* Scans are in key order, and pending rows are not in the prefix. */
START_TEST(test_order)
{
	struct order o = { 0 };
	struct sqc *c;

	ck_assert_int_eq(sq_write(meta_sq(M), order_fn, _i ? M : NULL), 0);
	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert_int_eq(rows_scan_live(c, T_XATTR, order_each, &o), 0);
	ck_assert_int_eq(o.n, 25);
	o.n = 0;
	ck_assert_int_eq(rows_scan_prefix(c, T_XATTR, order_each, &o), 0);
	ck_assert_int_eq(o.n, _i ? 0 : 25);
	sq_read_end(c);
}
END_TEST

static int
undo_fn(struct sqc *c, void *arg)
{
	struct change landed = { 0 }, c1 = { 1 }, c2 = { 2 };
	struct row a1 = xattr(1, "a", "1"), a2 = xattr(1, "a", "2"),
	    a3 = xattr(1, "a", "3"), b = xattr(1, "b", "x");

	ck_assert_int_eq(row_put(c, &landed, &a1), 0);
	ck_assert_int_eq(row_put(c, &c1, &a2), 0);
	ck_assert_int_eq(row_put(c, &c1, &a1), 0);	/* one pre-image */
	ck_assert_int_eq(row_put(c, &c1, &a2), 0);
	ck_assert_int_eq(row_put(c, &c2, &a3), 0);
	ck_assert_int_eq(row_put(c, &c2, &b), 0);
	ck_assert_int_eq(row_put(c, &c2, &b), 0);	/* no change */
	return (row_del(c, &c2, &(struct row){ T_XATTR, { col_int(7),
	    col_str("absent") } }));
}

static int
drop_fn(struct sqc *c, void *arg)
{
	return (undo_drop(c, *(uint64_t *)arg));
}

static char *
dump_xattr(bool prefix)
{
	struct buf b = BUF_INIT;
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert_int_eq(prefix ?
	    rows_scan_prefix(c, T_XATTR, mu_dump_row, &b) :
	    rows_scan_live(c, T_XATTR, mu_dump_row, &b), 0);
	sq_read_end(c);
	return (buf_take(&b, NULL));
}

START_TEST(test_undo)
{
	uint64_t last;
	char *s;

	ck_assert_int_eq(sq_write(meta_sq(M), undo_fn, NULL), 0);
	ck_assert_int_eq(mu_int(M, "SELECT count(*) FROM undo"), 3);
	s = dump_xattr(true);
	ck_assert_str_eq(s, "xattr ino=1 name=a value=1\n");
	free(s);
	last = 1;
	ck_assert_int_eq(sq_write(meta_sq(M), drop_fn, &last), 0);
	s = dump_xattr(true);
	ck_assert_str_eq(s, "xattr ino=1 name=a value=2\n");
	free(s);
	last = 2;
	ck_assert_int_eq(sq_write(meta_sq(M), drop_fn, &last), 0);
	s = dump_xattr(true);
	ck_assert_str_eq(s, "xattr ino=1 name=a value=3\n"
	    "xattr ino=1 name=b value=x\n");
	free(s);
}
END_TEST

static int
load_fn(struct sqc *c, void *arg)
{
	struct row f = { T_INODE, { col_int(100), col_int(S_IFREG),
	    col_int(0), col_int(0), col_int(0), col_int(1), col_int(50) } };
	struct row d = { T_INODE, { col_int(101), col_int(S_IFDIR) } };
	struct row root = { T_INODE, { col_int(1), col_int(S_IFDIR | 0700) } };
	struct row x = xattr(100, "n", "v"), y = xattr(99, "n", "v");

	ck_assert_int_eq(hidden_add(c, 100, 199, 0), 0);
	ck_assert_int_eq(row_load(c, &f), 0);
	ck_assert_int_eq(row_load(c, &d), 0);
	ck_assert_int_eq(row_load(c, &root), 0);
	ck_assert_int_eq(row_load(c, &x), 0);
	ck_assert_int_eq(row_load(c, &y), 0);
	return (row_load(c, &f));
}

static int
load_ok_fn(struct sqc *c, void *arg)
{
	ck_assert_int_eq(load_fn(c, arg), -EEXIST);
	return (0);
}

static int
purge_fn(struct sqc *c, void *arg)
{
	return (hidden_purge(c));
}

static int
unseq_fn(struct sqc *c, void *arg)
{
	return (hidden_set_seq(c, 100, *(uint64_t *)arg));
}

/* A hidden range is not in the prefix, and goes when its import died. */
START_TEST(test_hidden)
{
	uint64_t seq = 4;
	char *s;

	ck_assert_int_eq(sq_write(meta_sq(M), load_ok_fn, NULL), 0);
	ck_assert_int_eq(mu_int(M, "SELECT files * 10000 + dirs * 100 + bytes "
	    "FROM counts"), 10250);
	s = dump_xattr(true);
	ck_assert_str_eq(s, "xattr ino=99 name=n value=v\n");
	free(s);
	/* its attach is pending: still hidden, and not purged */
	ck_assert_int_eq(sq_write(meta_sq(M), unseq_fn, &seq), 0);
	ck_assert_int_eq(sq_write(meta_sq(M), purge_fn, NULL), 0);
	s = dump_xattr(false);
	ck_assert_str_eq(s, "xattr ino=99 name=n value=v\n"
	    "xattr ino=100 name=n value=v\n");
	free(s);
	seq = 0;
	ck_assert_int_eq(sq_write(meta_sq(M), unseq_fn, &seq), 0);
	ck_assert_int_eq(sq_write(meta_sq(M), purge_fn, NULL), 0);
	s = dump_xattr(false);
	ck_assert_str_eq(s, "xattr ino=99 name=n value=v\n");
	free(s);
	ck_assert_int_eq(mu_int(M, "SELECT files * 10000 + dirs * 100 + bytes "
	    "FROM counts"), 100);
	ck_assert_int_eq(mu_int(M, "SELECT count(*) FROM hidden"), 0);
}
END_TEST

static int
newer_fn(struct sqc *c, void *arg)
{
	return (sq_exec(c, arg));
}

/* What a newer gnsfs made, or another program, is refused and kept. */
START_TEST(test_versions)
{
	struct why why = { "" };
	struct meta *m;
	char path[300];

	snprintf(path, sizeof(path), "%s/a", mu_dir);
	ck_assert_int_eq(sq_write(meta_sq(M), newer_fn,
	    _i ? "PRAGMA application_id = 77" : "PRAGMA user_version = 99"), 0);
	meta_close(M);
	M = NULL;
	ck_assert_int_eq(meta_open(path, &m, &why),
	    _i ? -EUCLEAN : -EPROTONOSUPPORT);
	ck_assert_ptr_nonnull(strstr(why.text, "gnsfs"));
}
END_TEST

/* A database of feature level 2 becomes one of today; nothing in it changes,
 * and what is pending is sent. */
START_TEST(test_migrate)
{
	struct op_extent e = { 0, 100000, 700, 0, -1 };
	struct op_object o = { .id = 700, .size = 100000, .kind = OBJ_WHOLE,
	    .store = 1 };
	struct op op = mu_create(META_ROOT, "f", 20);
	struct op whole = { .kind = OP_EXTENTS, .ino = 20, .size = 100000,
	    .flags = EXT_WHOLE, .extents = &e, .nextents = 1, .objects = &o,
	    .nobjects = 1 };
	char *before;

	ck_assert_int_eq(mu_apply(M, &op), 0);
	ck_assert_int_eq(mu_apply(M, &whole), 0);
	op = mu_create(META_ROOT, "pending", 21);
	ck_assert_int_eq(mu_journal(M, &op), 0);
	before = mu_dump(M, true);
	ck_assert_int_eq(sq_write(meta_sq(M), newer_fn,
	    "DROP TABLE sums; DROP INDEX op_small; "
	    "ALTER TABLE frozen_pack DROP COLUMN stored; "
	    "PRAGMA user_version = 1"), 0);
	meta_close(M);
	M = mu_open("a");
	ck_assert_int_eq(mu_int(M, "PRAGMA user_version"), SCHEMA_VERSION);
	mu_same("migrated", 0, before, mu_dump(M, true));
	ck_assert_uint_eq(mu_lookup(M, META_ROOT, "pending").ino, 21);
	o.id = e.object = 701;
	o.sums = "sums";
	o.nsums = 1;
	ck_assert_int_eq(mu_apply(M, &whole), 0);
	ck_assert_int_eq(mu_int(M, "SELECT count(*) FROM sums "
	    "WHERE object = 701 AND CAST(sums AS TEXT) = 'sums'"), 1);
}
END_TEST

static int
grant_fn(struct sqc *c, void *arg)
{
	const uint32_t *g = arg;

	return (meta_session_granted(c, g[0], g[1]));
}

/* L1: numbers are never given twice, ids come from them. */
START_TEST(test_sessions)
{
	uint32_t g1[] = { 10, 2 }, g2[] = { 20, 1 };
	struct meta_session s;
	uint64_t nonce, id;
	struct sqc *c;

	ck_assert_int_eq(meta_session_take(M, &s), -ENOENT);
	ck_assert_uint_eq(meta_new_id(M), 0);
	ck_assert_int_eq(sq_write(meta_sq(M), grant_fn, g1), 0);
	ck_assert_int_eq(meta_session_take(M, &s), 0);
	ck_assert_uint_eq(s.number, 10);
	id = meta_new_id(M);
	ck_assert_uint_eq(id >> META_ID_SHIFT, 10);
	ck_assert_uint_eq(meta_new_ids(M, 5), id + 1);
	ck_assert_uint_eq(meta_new_id(M), id + 6);
	ck_assert_uint_eq(meta_new_ids(M, UINT64_C(1) << META_ID_SHIFT), 0);
	nonce = s.nonce;
	meta_close(M);
	M = mu_open("a");
	ck_assert_uint_eq(meta_new_id(M), 0);
	ck_assert_int_eq(sq_write(meta_sq(M), grant_fn, g1), 0); /* again */
	ck_assert_int_eq(sq_write(meta_sq(M), grant_fn, g2), 0);
	ck_assert_int_eq(meta_session_take(M, &s), 0);
	ck_assert_uint_eq(s.number, 11);
	ck_assert_uint_ne(s.nonce, nonce);
	ck_assert_int_eq(meta_session_take(M, &s), 0);
	ck_assert_uint_eq(s.number, 20);
	ck_assert_int_eq(sq_write(meta_sq(M), grant_fn, g1), 0);
	ck_assert_int_eq(sq_write(meta_sq(M), grant_fn, g2), 0);
	ck_assert_int_eq(meta_session_take(M, &s), -ENOENT);
	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert_int_eq(meta_session_nonce(c, 10, &id), 0);
	ck_assert_uint_eq(id, nonce);
	ck_assert_int_eq(meta_session_nonce(c, 12, &id), -ENOENT);
	sq_read_end(c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_rows");
	TCase *t = tcase_create("rows");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_image);
	tcase_add_loop_test(t, test_order, 0, 2);
	tcase_add_test(t, test_undo);
	tcase_add_test(t, test_hidden);
	tcase_add_loop_test(t, test_versions, 0, 2);
	tcase_add_test(t, test_migrate);
	tcase_add_test(t, test_sessions);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

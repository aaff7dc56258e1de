/*
 * refresh: an import brought up to date is what a fresh import would be, for
 * random buckets of difficult keys, whatever a plan was cut into; what a
 * replica of the log makes of it is the same; what did not change costs no
 * operation (B4, B5, M2).
 */
#include "meta_trees.h"
#include "meta_util.h"

#include "meta/refresh.h"

#define PREFIX	"pre fix/"
#define STORE	3u

/* --- a bucket --- */

static const char *const pool[] = {
	"a", "a/", "a/b", "a/b/", "a/b/c", "a//b", "/lead", "x/./../z", "x/.",
	"~gns-file-a", "~gns-empty", "~gns-file-", "", "d/e/f/g/h", "d/e", "d",
	"d/e/", "d/e/f/", "m/", "m", "m/n/", "m/n/o", "plain", "other file",
	"deep/1/2/3/4/5", "deep/1/2/3/4/6", "deep/1/2/7", "z\xff\xfe", "n\nl",
	"LONG", "LONG/x", "LONG/", "BESIDE", "BESIDE/y",
};
#define NPOOL	(sizeof(pool) / sizeof(*pool))

struct object { bool is; uint64_t size; int64_t mtime; unsigned version; };
struct bucket { struct object v[NPOOL]; };

/* LONG: a component of 300 bytes; BESIDE: one that is too long with a mark. */
static void
key_of(unsigned i, char ret[400])
{
	const char *slash = strchr(pool[i], '/');

	if (pool[i][0] == 'L' || pool[i][0] == 'B') {
		memset(ret, 'k', 300);
		snprintf(ret + (pool[i][0] == 'L' ? 300 : 250), 80, "%s",
		    slash != NULL ? slash : "");
	} else
		snprintf(ret, 400, "%s", pool[i]);
}

static void
version_of(const struct object *o, char ret[40])
{
	snprintf(ret, 40, "e:\"%032x\"", o->version);
}

static struct import *
gather(struct meta *m, const struct bucket *b, int64_t root_mtime, bool twice)
{
	struct import_opts opts = { .uid = 7, .gid = 8, .file_mode = 0640,
	    .dir_mode = 0750, .store = STORE, .prefix = PREFIX,
	    .root_mtime = root_mtime };
	char key[400], version[40];
	struct import *imp;

	ck_assert_int_eq(import_new(m, &opts, &imp), 0);
	for (unsigned i = 0; i < NPOOL; i++) {
		const struct object *o = &b->v[i];

		if (!o->is)
			continue;
		key_of(i, key);
		version_of(o, version);
		/* of two the last counts; a marker has no bytes */
		if (twice && *key != '\0' && key[strlen(key) - 1] != '/')
			ck_assert_int_eq(import_add(imp, key, o->size + 1,
			    o->mtime, "old"), 0);
		ck_assert_int_eq(import_add(imp, key, o->size, o->mtime,
		    version), 0);
	}
	return imp;
}

static void
mutate(struct rng *r, struct bucket *b, unsigned n)
{
	static unsigned versions = 1;

	while (n-- > 0) {
		struct object *o = &b->v[rnd(r, NPOOL)];

		switch (rnd(r, 5)) {
		case 0: case 1:
			o->is = !o->is;
			/* FALLTHROUGH */
		case 2:
			o->size = rnd(r, 3) == 0 ? 0 : rnd(r, 100000);
			o->version = ++versions;
			/* FALLTHROUGH */
		default:
			o->mtime = INT64_C(1700000000000000000) +
			    rnd(r, 1000000);
			break;
		}
	}
}

/* --- an import of it, in a writer and in what follows its log --- */

struct attaching { struct meta *m; struct import_stats st; struct buf *hashes;
	bool landed; };

static int
attach_fn(struct sqc *c, void *arg)
{
	struct attaching *a = arg;
	struct op op = { .kind = OP_ATTACH, .parent = META_ROOT, .name = "imp",
	    .ino = a->st.lo, .ino2 = a->st.hi, .mtime = 5, .ctime = 5,
	    .value = a->hashes->p, .nvalue = a->hashes->len };
	struct change ch = { 0 };

	return a->landed ? apply(c, &ch, &op, APPLY_BOTH) :
	    journal(a->m, c, &op, NEEDS_NOTHING, NULL, 0, NULL);
}

static int
get_piece(void *arg, const uint8_t hash[32], struct buf *out)
{
	struct pieces *ps = arg;
	int i = pieces_find(ps, hash);

	ck_assert_int_ge(i, 0);
	buf_put(out, ps->v[i].p, ps->v[i].len);
	return buf_err(out);
}

/* Into m, and where it is given, hidden, into other.  The root's inode. */
static uint64_t
import_into(struct meta *m, struct meta *other, const struct bucket *b,
    bool landed)
{
	struct import *imp = gather(m, b, 111, false);
	struct buf hashes = BUF_INIT;
	struct attaching a = { .m = m, .hashes = &hashes, .landed = landed };
	struct pieces ps = { 0 };
	struct why why = { "" };

	ck_assert_int_eq(import_finish(imp, pieces_emit, &ps, NULL, NULL,
	    &hashes, &a.st), 0);
	ck_assert_int_eq(import_load(m, a.st.lo, a.st.hi, hashes.p,
	    a.st.pieces, get_piece, &ps, &why), 0);
	if (other != NULL)
		ck_assert_int_eq(import_load(other, a.st.lo, a.st.hi, hashes.p,
		    a.st.pieces, get_piece, &ps, &why), 0);
	ck_assert_int_eq(sq_write(meta_sq(m), attach_fn, &a), 0);
	import_free(imp);
	pieces_free(&ps);
	buf_done(&hashes);
	return a.st.lo;
}

/* --- what it shows: a line an entry, sorted --- */

struct shown { struct sqc *c; char *v[400]; unsigned n; };

static int
show_one(void *arg, uint64_t parent, const char *name, const struct attr *a)
{
	struct shown *s = arg;
	struct buf line = BUF_INIT;
	struct sqs *q;
	const char *p;
	char *path;
	size_t n;

	ck_assert_int_eq(meta_path(s->c, a->ino, &path), 0);
	buf_printf(&line, "%s %o %u %u", path, a->mode, a->uid, a->gid);
	free(path);
	ck_assert_uint_ne(a->flags & INODE_IMPORTED, 0);
	if (S_ISREG(a->mode)) {
		buf_printf(&line, " %llu %lld", (unsigned long long)a->size,
		    (long long)a->mtime);
		q = sq_prep(s->c, "SELECT l.store, l.key, l.version, o.size, "
		    "o.kind, (SELECT count(*) || ' ' || sum(len) FROM extent "
		    "WHERE ino = l.object) FROM location l JOIN object o "
		    "ON o.id = l.object WHERE l.object = ?");
		sqs_int(q, 1, (int64_t)a->ino);
		ck_assert_int_eq(sqs_step(q), 1);
		for (int i = 0; i < 6; i++) {
			p = sqs_col_blob(q, i, &n);
			buf_puts(&line, " ");
			if (i == 1 || i == 2 || i == 5)
				buf_put(&line, p, n);
			else
				buf_printf(&line, "%lld",
				    (long long)sqs_col_int(q, i));
		}
		ck_assert_int_eq(sqs_step(q), 0);
	}
	ck_assert_uint_lt(s->n, 400);
	s->v[s->n++] = buf_take(&line, NULL);
	(void)buf_err(&line);
	return 0;
}

static int
line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *
show(struct meta *m, uint64_t root)
{
	struct shown *s = calloc(1, sizeof(*s));
	struct buf all = BUF_INIT;

	ck_assert_int_eq(sq_read(meta_sq(m), &s->c), 0);
	ck_assert_int_eq(meta_walk(s->c, root, show_one, s), 0);
	sq_read_end(s->c);
	qsort(s->v, s->n, sizeof(*s->v), line_cmp);
	for (unsigned i = 0; i < s->n; i++) {
		buf_printf(&all, "%s\n", s->v[i]);
		free(s->v[i]);
	}
	free(s);
	return buf_take(&all, NULL);
}

/* --- refreshing --- */

struct step { struct refresh *r; unsigned n; unsigned told; };

static int
told(void *arg, const struct op *op)
{
	struct step *s = arg;

	ck_assert_int_eq(op->kind, OP_REFRESH);
	s->told++;
	return 0;
}

static int
step_fn(struct sqc *c, void *arg)
{
	struct step *s = arg;
	struct why why = { "" };
	uint64_t seq;
	int err = refresh_step(s->r, c, s->n, told, s, &seq, &why);

	ck_assert_msg(err == 0, "%d %s", err, why.text);
	return err;
}

static struct refresh *
plan(struct meta *m, struct import *imp, const struct import_row *row)
{
	struct refresh *r;
	struct sqc *c;
	int err;

	ck_assert_int_eq(sq_read(meta_sq(m), &c), 0);
	err = refresh_plan(m, c, imp, row, 5000, &r);
	sq_read_end(c);
	ck_assert_int_eq(err, 0);
	return r;
}

/* Operations it took.  most: only so many of them; else all. */
static uint64_t
bring(struct meta *m, const struct bucket *b, uint64_t root, struct rng *r,
    uint64_t most, struct refresh_stats *ret)
{
	struct import *imp = gather(m, b, REFRESH_NO_TIME, rnd(r, 4) == 0);
	struct import_row row = { .root = root, .store = STORE,
	    .file_mode = 0640, .prefix = PREFIX };
	struct refresh *p = plan(m, imp, &row);
	uint64_t all = refresh_left(p), done = 0;

	while (refresh_left(p) > 0 && done < most) {
		struct step s = { .r = p, .n = 1 + rnd(r, 9) };

		ck_assert_int_eq(sq_write(meta_sq(m), step_fn, &s), 0);
		refresh_stepped(p, s.n);
		done += s.told;
	}
	if (ret != NULL)
		*ret = *refresh_stats(p);
	refresh_free(p);
	import_free(imp);
	return all;
}

static void
land_all(struct meta *a, struct meta *b, uint64_t *lsn)
{
	while (batch_freeze(a, 1) == 1)
		mu_land(a, b, ++*lsn);
}

static void
same_as_fresh(struct meta *a, const struct bucket *b, uint64_t root,
    unsigned seed)
{
	struct meta *fresh;
	uint64_t at;

	fresh = mu_open_writer("c", NULL);
	at = import_into(fresh, NULL, b, true);
	mu_same("refreshed, fresh", seed, show(a, root), show(fresh, at));
	meta_close(fresh);
	mu_remove("c");
}

static void
random_one(unsigned seed)
{
	struct meta *b = mu_open("b"), *a = mu_open_writer("a", b);
	struct rng r = { seed };
	struct bucket bucket = { 0 };
	uint64_t root, lsn = 0;

	for (int i = 0; i < 3; i++)
		(void)rnd(&r, 2);
	mutate(&r, &bucket, 60);
	root = import_into(a, b, &bucket, false);
	land_all(a, b, &lsn);
	for (int round = 0; round < 12; round++) {
		mutate(&r, &bucket, rnd(&r, 30));
		if (rnd(&r, 3) == 0)		/* one that was cut short */
			(void)bring(a, &bucket, root, &r, rnd(&r, 10), NULL);
		if (rnd(&r, 3) == 0)
			land_all(a, b, &lsn);
		(void)bring(a, &bucket, root, &r, UINT64_MAX, NULL);
		ck_assert_uint_eq(bring(a, &bucket, root, &r, UINT64_MAX,
		    NULL), 0);
		same_as_fresh(a, &bucket, root, seed);
		mu_same("prefix, replica", seed, mu_dump(a, true),
		    mu_dump(b, false));			/* M4 */
		if (rnd(&r, 2) == 0) {
			land_all(a, b, &lsn);
			mu_same("live, replica", seed, mu_dump(a, false),
			    mu_dump(b, false));		/* M2 */
		}
	}
	meta_close(a);
	meta_close(b);
	mu_remove("a");
	mu_remove("b");
}

START_TEST(random_buckets)
{
	for (unsigned seed = 1; seed <= 12; seed++)
		random_one(seed);
}
END_TEST

static struct attr
at_path(struct meta *m, const char *path)
{
	struct attr a = { 0 };
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(m), &c), 0);
	(void)meta_resolve(c, path, &a);
	sq_read_end(c);
	return a;
}

/* What keeps its inode, what does not, and what becomes of its tags (B4). */
START_TEST(identity)
{
	struct meta *a = mu_open_writer("a", NULL);
	struct bucket bucket = { 0 };
	struct refresh_stats st;
	struct op tag = { .kind = OP_TAG, .name = "k", .value = "v",
	    .nvalue = 1 };
	struct attr was[3], now;
	struct rng r = { 9 };
	uint64_t root;

	/* plain, other file, a/b/c */
	bucket.v[22] = (struct object){ true, 10, 1000, 1 };
	bucket.v[23] = (struct object){ true, 10, 1000, 1 };
	bucket.v[4] = (struct object){ true, 10, 1000, 1 };
	root = import_into(a, NULL, &bucket, true);
	was[0] = at_path(a, "/imp/plain");
	was[1] = at_path(a, "/imp/other file");
	was[2] = at_path(a, "/imp/a/b/c");
	tag.ino = was[0].ino;
	ck_assert_int_eq(mu_journal(a, &tag), 0);
	ck_assert_uint_eq(bring(a, &bucket, root, &r, UINT64_MAX, &st), 0);
	ck_assert_uint_eq(st.same, 3);

	bucket.v[22].version = 2;	/* as large: other bytes */
	bucket.v[23].mtime = 2000;	/* the same bytes again */
	ck_assert_uint_eq(bring(a, &bucket, root, &r, UINT64_MAX, &st), 2);
	ck_assert_uint_eq(st.changed, 1);
	ck_assert_uint_eq(st.retimed, 1);
	ck_assert_uint_eq(st.same, 1);
	now = at_path(a, "/imp/plain");
	ck_assert_uint_ne(now.ino, was[0].ino);
	ck_assert_int_eq(mu_int(a, "SELECT count(*) FROM tag"), 1);
	ck_assert_int_eq(mu_int(a, "SELECT ino FROM tag"), (int64_t)now.ino);
	now = at_path(a, "/imp/other file");
	ck_assert_uint_eq(now.ino, was[1].ino);
	ck_assert_int_eq(now.mtime, 2000);
	ck_assert_uint_eq(at_path(a, "/imp/a/b/c").ino, was[2].ino);

	bucket = (struct bucket){ 0 };
	ck_assert_uint_eq(bring(a, &bucket, root, &r, UINT64_MAX, &st), 5);
	ck_assert_uint_eq(st.gone, 3);
	ck_assert_uint_eq(st.dirs_gone, 2);
	ck_assert_uint_eq(at_path(a, "/imp").ino, root);
	ck_assert_int_eq(mu_int(a, "SELECT count(*) FROM dentry"), 1);
	meta_close(a);
	mu_remove("a");
}
END_TEST

/* No other op, and nobody's tree but an import's. */
START_TEST(refused)
{
	struct meta *a = mu_open_writer("a", NULL);
	struct bucket bucket = { 0 };
	struct op_object o = { .id = 999, .size = 1, .kind = OBJ_IMPORTED,
	    .store = STORE };
	struct op op = mu_mkdir(META_ROOT, "dir", meta_new_id(a));
	struct op r = { .kind = OP_REFRESH, .mask = REFRESH_FILE,
	    .parent = op.ino, .name = "f", .ino = 999, .size = 1,
	    .mode = S_IFREG | 0600, .value = "k", .nvalue = 1, .objects = &o,
	    .nobjects = 1, .mtime = 1, .ctime = 1 };
	uint64_t root;

	ck_assert_int_eq(mu_journal(a, &op), 0);
	ck_assert_int_eq(mu_journal(a, &r), -EPERM);
	bucket.v[22] = (struct object){ true, 10, 1000, 1 };
	root = import_into(a, NULL, &bucket, true);
	r.parent = root;
	r.ino2 = root;
	ck_assert_int_eq(mu_journal(a, &r), -ENOENT);
	r.ino2 = 0;
	o.id = 998;
	ck_assert_int_eq(mu_journal(a, &r), -EINVAL);
	o.id = 999;
	ck_assert_int_eq(mu_journal(a, &r), 0);
	r.ino = o.id = 1000;
	ck_assert_int_eq(mu_journal(a, &r), -EEXIST);
	r = (struct op){ .kind = OP_REFRESH, .mask = REFRESH_GONE,
	    .parent = META_ROOT, .name = "imp", .ino = root, .ctime = 1 };
	ck_assert_int_eq(mu_journal(a, &r), -EPERM);
	r.mask = 9;
	ck_assert_int_eq(mu_journal(a, &r), -EINVAL);
	meta_close(a);
	mu_remove("a");
}
END_TEST

/* --- the row that says where an import is from --- */

static int
count_row(void *arg, const struct import_row *r)
{
	(*(unsigned *)arg)++;
	return 0;
}

START_TEST(where_from)
{
	struct meta *a = mu_open_writer("a", NULL);
	struct bucket bucket = { 0 };
	struct import_row row, want;
	struct buf body = BUF_INIT;
	char *prefix = NULL;
	unsigned n = 0;
	uint64_t root;
	struct sqc *c;
	struct op op;

	bucket.v[5] = (struct object){ true, 10, 1000, 1 };	/* a//b */
	root = import_into(a, NULL, &bucket, true);
	ck_assert_int_eq(sq_read(meta_sq(a), &c), 0);
	ck_assert_int_eq(import_row_get(c, META_ROOT, &row, &prefix),
	    -ENOENT);
	/* found out */
	ck_assert_int_eq(import_row_get(c, root, &row, &prefix), 0);
	ck_assert_str_eq(row.prefix, PREFIX);
	ck_assert_uint_eq(row.store, STORE);
	ck_assert_uint_eq(row.file_mode, 0640);
	ck_assert_int_eq(row.every, 0);
	free(prefix);
	sq_read_end(c);

	want = (struct import_row){ .root = root, .store = 77, .every = 600,
	    .file_mode = 0604, .prefix = " odd\n%d prefix/" };
	ck_assert_int_eq(import_row_op(&want, &body, &op), 0);
	ck_assert_int_eq(mu_journal(a, &op), 0);
	ck_assert_int_eq(sq_read(meta_sq(a), &c), 0);
	ck_assert_int_eq(import_row_get(c, root, &row, &prefix), 0);
	ck_assert_str_eq(row.prefix, want.prefix);
	ck_assert_uint_eq(row.store, 77);
	ck_assert_uint_eq(row.file_mode, 0604);
	ck_assert_int_eq(row.every, 600);
	ck_assert_ptr_null(row.tags);
	ck_assert_int_eq(import_rows(c, count_row, &n), 0);
	ck_assert_uint_eq(n, 1);
	free(prefix);
	sq_read_end(c);

	/* with the keys of tags behind it; of none as yet, too */
	for (unsigned i = 0; i < 2; i++) {
		want.tags = i == 0 ? "" : "class\0split";
		want.ntags = i == 0 ? 0 : 12;
		ck_assert_int_eq(import_row_op(&want, &body, &op), 0);
		ck_assert_int_eq(mu_journal(a, &op), 0);
		ck_assert_int_eq(sq_read(meta_sq(a), &c), 0);
		ck_assert_int_eq(import_row_get(c, root, &row, &prefix), 0);
		ck_assert_str_eq(row.prefix, want.prefix);
		ck_assert_ptr_nonnull(row.tags);
		ck_assert_uint_eq(row.ntags, want.ntags);
		ck_assert(memcmp(row.tags, want.tags, want.ntags) == 0);
		free(prefix);
		sq_read_end(c);
	}
	buf_done(&body);
	meta_close(a);
	mu_remove("a");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("refresh");
	TCase *t = tcase_create("refresh");

	tcase_set_timeout(t, 240);
	tcase_add_checked_fixture(t, mu_setup, mu_teardown);
	tcase_add_test(t, random_buckets);
	tcase_add_test(t, identity);
	tcase_add_test(t, refused);
	tcase_add_test(t, where_from);
	suite_add_tcase(s, t);
	return mu_run(s);
}

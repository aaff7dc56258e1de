/* Operations applied: preconditions (L9, B2), names (L14), extents (M1),
 * sessions (L1, L13). */
#include "meta_util.h"

static struct meta *M;

enum { D1 = 10, D2 = 11, F1 = 20, F2 = 21 };

static void
setup(void)
{
	struct op ops[] = { mu_mkdir(1, "d1", D1), mu_mkdir(D1, "d2", D2),
	    mu_create(1, "f1", F1), mu_create(D2, "f2", F2) };

	mu_setup();
	M = mu_open("a");
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(mu_apply(M, &ops[i]), 0);
}

static void
teardown(void)
{
	meta_close(M);
	mu_teardown();
}

/* The op fails so and changes nothing. */
static void
refused(struct op op, int err)
{
	char *before = mu_dump(M, false);

	ck_assert_int_eq(mu_apply(M, &op), err);
	mu_same("refused op", 0, before, mu_dump(M, false));
}

static void
done(struct op op)
{
	ck_assert_int_eq(mu_apply(M, &op), 0);
}

static struct op
mu_rename(uint64_t p, const char *n, uint64_t ino, uint64_t p2,
    const char *n2, uint64_t ino2, uint32_t flags)
{
	return ((struct op){ .kind = OP_RENAME, .parent = p, .name = n,
	    .ino = ino, .parent2 = p2, .name2 = n2, .ino2 = ino2,
	    .flags = flags, .ctime = 5000 });
}

START_TEST(test_create)
{
	struct attr a;

	refused(mu_create(99, "x", 30), -ENOENT);
	refused(mu_create(F1, "x", 30), -ENOTDIR);
	refused(mu_create(1, "f1", 30), -EEXIST);
	refused(mu_create(1, "x", F1), -EEXIST);
	a = mu_lookup(M, 1, "f1");
	ck_assert_uint_eq(a.ino, F1);
	ck_assert_uint_eq(a.nlink, 1);
	ck_assert_int_eq(a.ctime, 1000 + F1);
	ck_assert_uint_eq(mu_lookup(M, 1, "d1").nlink, 3);	/* L5 */
}
END_TEST

START_TEST(test_links)
{
	struct op link = { .kind = OP_LINK, .ino = F1, .parent = D1,
	    .name = "l", .ctime = 6000 };
	struct op dir = { .kind = OP_LINK, .ino = D1, .parent = 1,
	    .name = "l" };
	struct op x = { .kind = OP_SETXATTR, .ino = F1, .name = "user.a",
	    .value = "v", .nvalue = 1 };
	struct op t = { .kind = OP_TAG, .ino = F1, .name = "k" };
	struct attr a;

	refused(dir, -EPERM);
	done(link);
	refused(link, -EEXIST);
	a = mu_lookup(M, D1, "l");
	ck_assert_uint_eq(a.nlink, 2);
	ck_assert_int_eq(a.ctime, 6000);
	done(x);
	done(t);
	refused(mu_unlink(1, "f1", F2, 1), -ENOENT);
	refused(mu_unlink(1, "d1", D1, 1), -EISDIR);
	done(mu_unlink(1, "f1", F1, 1));
	ck_assert_uint_eq(mu_lookup(M, D1, "l").nlink, 1);
	ck_assert_int_eq(mu_int(M, "SELECT count(*) FROM xattr"), 1);
	done(mu_unlink(D1, "l", F1, 1));
	ck_assert_int_eq(mu_int(M, "SELECT count(*) FROM inode "
	    "WHERE ino = 20"), 0);
	ck_assert_int_eq(mu_int(M, "SELECT (SELECT count(*) FROM xattr) + "
	    "(SELECT count(*) FROM tag)"), 0);
}
END_TEST

START_TEST(test_rmdir)
{
	struct op op = { .kind = OP_RMDIR, .parent = 1, .name = "d1",
	    .ino = D1 };

	refused(op, -ENOTEMPTY);
	op.name = "f1";
	op.ino = F1;
	refused(op, -ENOTDIR);
	done(mu_unlink(D2, "f2", F2, 1));
	op = (struct op){ .kind = OP_RMDIR, .parent = D1, .name = "d2",
	    .ino = D2 };
	done(op);
	refused(op, -ENOENT);
}
END_TEST

START_TEST(test_rename)
{
	/* L9: not into itself, however deep */
	refused(mu_rename(1, "d1", D1, D1, "x", 0, 0), -EINVAL);
	refused(mu_rename(1, "d1", D1, D2, "x", 0, 0), -EINVAL);
	refused(mu_rename(D1, "d2", D2, 1, "d1", D1, 2), -EINVAL);
	refused(mu_rename(D1, "d2", D2, 1, "d1", D1, 0), -ENOTEMPTY);
	refused(mu_rename(1, "f1", F1, 1, "d1", D1, 0), -EISDIR);
	refused(mu_rename(1, "d1", D1, 1, "f1", F1, 0), -ENOTDIR);
	refused(mu_rename(1, "f1", F1, D2, "f2", F2, 1), -EEXIST);
	refused(mu_rename(1, "f1", F1, D2, "f2", 0, 0), -EEXIST);
	refused(mu_rename(1, "f1", F1, D2, "f2", 99, 0), -ENOENT);
	refused(mu_rename(1, "f1", F1, 1, "x", 0, 2), -ENOENT);
	refused(mu_rename(1, "f1", F2, 1, "x", 0, 0), -ENOENT);
	refused(mu_rename(1, "f1", F1, 1, "x", 0, 4), -EINVAL);
	refused(mu_rename(1, "f1", F1, F2, "x", 0, 0), -ENOTDIR);
	done(mu_rename(1, "f1", F1, D2, "f2", F2, 2));
	ck_assert_uint_eq(mu_lookup(M, D2, "f2").ino, F1);
	ck_assert_uint_eq(mu_lookup(M, 1, "f1").ino, F2);
	done(mu_rename(1, "f1", F2, D2, "f2", F1, 0));
	ck_assert_uint_eq(mu_lookup(M, D2, "f2").ino, F2);
	ck_assert_uint_eq(mu_lookup(M, 1, "f1").ino, 0);
	ck_assert_int_eq(mu_int(M, "SELECT files FROM counts"), 1);
	ck_assert_int_eq(mu_lookup(M, D2, "f2").ctime, 5000);
	ck_assert_int_eq(mu_lookup(M, D1, "d2").mtime, 5000);
}
END_TEST

START_TEST(test_rename_same)
{
	struct op link = { .kind = OP_LINK, .ino = F1, .parent = D1,
	    .name = "l" };
	char *before;

	done(link);
	before = mu_dump(M, false);
	done(mu_rename(1, "f1", F1, D1, "l", F1, 0));
	mu_same("two names of one file", 0, before, mu_dump(M, false));
}
END_TEST

START_TEST(test_xattr)
{
	struct op op = { .kind = OP_SETXATTR, .ino = F1, .name = "user.a",
	    .value = "v", .nvalue = 1, .flags = 2 };

	refused(op, -ENODATA);
	op.flags = 1;
	done(op);
	refused(op, -EEXIST);
	op.kind = OP_REMOVEXATTR;
	done(op);
	refused(op, -ENODATA);
	op.ino = 99;
	refused(op, -ENOENT);
}
END_TEST

static int
import_fn(struct sqc *c, void *arg)
{
	struct row root = { T_INODE, { col_int(1000), col_int(040755),
	    col_int(0), col_int(0), col_int(0), col_int(1), col_int(0),
	    col_int(7), col_int(7), col_int(7),
	    col_int(INODE_IMPORTED | INODE_IMPORT_ROOT) } };
	struct row file = { T_INODE, { col_int(1001), col_int(0100644),
	    col_int(0), col_int(0), col_int(0), col_int(1), col_int(5),
	    col_int(7), col_int(7), col_int(7), col_int(INODE_IMPORTED) } };
	struct row d = { T_DENTRY, { col_int(1000),
	    col_int(name_hash("obj", 3)), col_str("obj"), col_int(1001),
	    col_int(8) } };

	ck_assert_int_eq(hidden_add(c, 1000, 1001, 0), 0);
	ck_assert_int_eq(row_load(c, &root), 0);
	ck_assert_int_eq(row_load(c, &file), 0);
	return (row_load(c, &d));
}

/* B2: an import can be moved and tagged, and nothing else. */
START_TEST(test_import)
{
	struct op attach = { .kind = OP_ATTACH, .parent = 1, .name = "imp",
	    .ino = 1000, .ino2 = 1001, .mtime = 9 };
	struct op op;
	char *s;

	refused(attach, -ENOENT);
	ck_assert_int_eq(sq_write(meta_sq(M), import_fn, NULL), 0);
	s = mu_dump(M, true);
	ck_assert_ptr_null(strstr(s, "ino=1000"));
	free(s);
	done(attach);
	refused(attach, -EEXIST);
	s = mu_dump(M, true);
	ck_assert_ptr_nonnull(strstr(s, "inode ino=1001"));
	free(s);
	attach.name = "again";
	refused(attach, -EEXIST);
	attach.ino = D1;
	refused(attach, -EINVAL);
	refused(mu_create(1000, "x", 30), -EROFS);
	refused(mu_unlink(1000, "obj", 1001, 1), -EROFS);
	refused(mu_rename(1000, "obj", 1001, 1, "obj", 0, 0), -EROFS);
	refused(mu_rename(1, "f1", F1, 1000, "f1", 0, 0), -EROFS);
	op = (struct op){ .kind = OP_LINK, .ino = 1001, .parent = 1,
	    .name = "l" };
	refused(op, -EROFS);
	op = (struct op){ .kind = OP_SETATTR, .ino = 1001, .mask = 1 };
	refused(op, -EROFS);
	op.ino = 1000;
	refused(op, -EROFS);
	op = (struct op){ .kind = OP_TRUNCATE, .ino = 1001 };
	refused(op, -EROFS);
	op = (struct op){ .kind = OP_SETXATTR, .ino = 1001, .name = "n" };
	refused(op, -EROFS);
	op = (struct op){ .kind = OP_RMDIR, .parent = 1, .name = "imp",
	    .ino = 1000 };
	refused(op, -ENOTEMPTY);
	op = (struct op){ .kind = OP_TAG, .ino = 1001, .name = "k" };
	done(op);
	done(mu_rename(1, "imp", 1000, D1, "moved", 0, 0));
	ck_assert_uint_eq(mu_lookup(M, 1000, "obj").ino, 1001);
}
END_TEST

static int
collide_fn(struct sqc *c, void *arg)
{
	static const struct change landed = { 0 };
	int64_t h = name_hash("x", 1);

	for (int i = 0; i < *(int *)arg; i++) {
		char name[16];

		snprintf(name, sizeof(name), "other%d", i);
		struct row r = { T_DENTRY, { col_int(D1), col_int(h + i),
		    col_str(name), col_int(F1), col_int(8) } };
		int err = row_put(c, &landed, &r);

		if (err != 0)
			return (err);
	}
	return (0);
}

static int
uncollide_fn(struct sqc *c, void *arg)
{
	static const struct change landed = { 0 };
	struct row r = { T_DENTRY, { col_int(D1),
	    col_int(name_hash("x", 1)) } };

	return (row_del(c, &landed, &r));
}

/* L14: names of one hash, and one of them removed. */
START_TEST(test_collision)
{
	int n = 2;

	ck_assert_int_eq(sq_write(meta_sq(M), collide_fn, &n), 0);
	ck_assert_uint_eq(mu_lookup(M, D1, "x").ino, 0);
	done(mu_create(D1, "x", 30));
	refused(mu_create(D1, "x", 31), -EEXIST);
	ck_assert_uint_eq(mu_lookup(M, D1, "x").ino, 30);
	ck_assert_int_eq(sq_write(meta_sq(M), uncollide_fn, NULL), 0);
	ck_assert_uint_eq(mu_lookup(M, D1, "x").ino, 30);
	refused(mu_create(D1, "x", 31), -EEXIST);
	done(mu_rename(D1, "x", 30, D1, "y", 0, 0));
	ck_assert_uint_eq(mu_lookup(M, D1, "x").ino, 0);
	n = DENTRY_PROBES;
	ck_assert_int_eq(sq_write(meta_sq(M), collide_fn, &n), 0);
	refused(mu_create(D1, "x", 31), -ENOSPC);
	refused(mu_unlink(D1, "x", 31, 1), -ENOENT);
}
END_TEST

/* --- extents --- */

static struct op
mu_extents(uint32_t flags, uint64_t size, struct op_extent *e, unsigned n)
{
	return ((struct op){ .kind = OP_EXTENTS, .ino = F1, .size = size,
	    .flags = flags, .extents = e, .nextents = n });
}

static void
extents_are(const char *want)
{
	struct buf b = BUF_INIT;
	struct sqc *c;
	char *s, *p;

	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	struct sqs *q = sq_prep(c, "SELECT off, len, object, ooff, crc "
	    "FROM extent WHERE ino = 20 ORDER BY off");
	while (sqs_step(q) == 1)
		buf_printf(&b, "%d+%d=%d@%d:%d ", (int)sqs_col_int(q, 0),
		    (int)sqs_col_int(q, 1), (int)sqs_col_int(q, 2),
		    (int)sqs_col_int(q, 3), (int)sqs_col_int(q, 4));
	sq_read_end(c);
	s = buf_take(&b, NULL);
	if ((p = strrchr(s, ' ')) != NULL)
		*p = '\0';
	ck_assert_str_eq(s, want);
	free(s);
}

START_TEST(test_extents)
{
	struct op_extent all = { 0, 100, 7, 0, 5 }, mid = { 40, 20, 8, 3, 6 },
	    big = { 30, 60, 9, 0, 4 }, far = { 150, 100, 7, 0, 5 };
	struct op_object o = { .id = 7, .size = 100, .kind = OBJ_WHOLE,
	    .store = 2, .version = "v7" };
	struct op op = mu_extents(EXT_WHOLE, 100, &all, 1);

	op.objects = &o;
	op.nobjects = 1;
	done(op);
	extents_are("0+100=7@0:5");
	ck_assert_int_eq(mu_int(M, "SELECT size * 10 + kind FROM object"),
	    1001);
	ck_assert_int_eq(mu_int(M, "SELECT store FROM location "
	    "WHERE key = x'' AND version = CAST('v7' AS BLOB)"), 2);
	/* in the middle, with the rest on both sides */
	done(mu_extents(0, 100, &mid, 1));
	extents_are("0+40=7@0:-1 40+20=8@3:6 60+40=7@60:-1");
	done(mu_extents(0, 100, &big, 1));
	extents_are("0+30=7@0:-1 30+60=9@0:4 90+10=7@90:-1");
	/* nothing stays beyond the size, and a hole is a hole */
	done(mu_extents(0, 200, &far, 1));
	extents_are("0+30=7@0:-1 30+60=9@0:4 90+10=7@90:-1 150+50=7@0:-1");
	done(mu_extents(0, 95, NULL, 0));
	extents_are("0+30=7@0:-1 30+60=9@0:4 90+5=7@90:-1");
	done((struct op){ .kind = OP_TRUNCATE, .ino = F1, .size = 50 });
	extents_are("0+30=7@0:-1 30+20=9@0:-1");
	done((struct op){ .kind = OP_TRUNCATE, .ino = F1, .size = 500 });
	extents_are("0+30=7@0:-1 30+20=9@0:-1");
	/* void: attributes alone (M3) */
	op = mu_extents(EXT_VOID, 77, &all, 1);
	done(op);
	extents_are("0+30=7@0:-1 30+20=9@0:-1");
	ck_assert_uint_eq(mu_lookup(M, 1, "f1").size, 77);
	done(mu_extents(EXT_WHOLE, 60, &all, 1));
	extents_are("0+60=7@0:-1");
	/* the last link, and not one before */
	done((struct op){ .kind = OP_LINK, .ino = F1, .parent = D1,
	    .name = "l" });
	done(mu_unlink(D1, "l", F1, 1));
	extents_are("0+60=7@0:-1");
	done(mu_rename(D2, "f2", F2, 1, "f1", F1, 0));
	extents_are("");
}
END_TEST

/* --- sessions --- */

static struct op
sess(enum op_kind kind, uint32_t number, uint64_t nonce, const char *state)
{
	struct op op = { .kind = kind, .session = number, .nonce = nonce,
	    .first_seq = 1, .name = "host", .block_first = 1,
	    .block_count = 64 };

	memcpy(op.state_id, state, 16);
	return (op);
}

static int
state_each(void *arg, const struct session_row *r)
{
	int *number = arg;

	if ((int)r->number != *number)
		return (0);
	*number = -1 - (int)r->state;
	return (1);
}

static int
state_of(int number)
{
	struct sqc *c;

	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	ck_assert_int_eq(meta_sessions(c, state_each, &number), 0);
	sq_read_end(c);
	return (-1 - number);
}

START_TEST(test_sessions)
{
	static const char a[17] = "aaaaaaaaaaaaaaaa";
	static const char b[17] = "bbbbbbbbbbbbbbbb";
	struct op op;

	refused(sess(OP_SESSION_CLOSE, 1, 0, a), -ENOENT);
	done(sess(OP_SESSION_OPEN, 1, 100, a));
	refused(sess(OP_SESSION_OPEN, 1, 100, a), -EEXIST);
	refused(sess(OP_SESSION_OPEN, 70, 1, b), -EBUSY);
	/* a clone of our disk does not know the nonce (L1) */
	op = sess(OP_SESSION_OPEN, 2, 101, a);
	op.prev_nonce = 99;
	refused(op, -EBUSY);
	op.prev_nonce = 100;
	done(op);
	ck_assert_int_eq(state_of(1), SESS_FENCED);
	ck_assert_int_eq(state_of(2), SESS_OPEN);
	op = sess(OP_SESSION_OPEN, 70, 1, b);
	op.takeover = true;
	done(op);
	ck_assert_int_eq(state_of(2), SESS_FENCED);
	refused(sess(OP_SESSION_CLOSE, 2, 0, a), -ESTALE);
	done(sess(OP_SESSION_CLOSE, 70, 0, b));
	ck_assert_int_eq(state_of(70), SESS_CLOSED);
	refused(sess(OP_SESSION_FENCE, 70, 0, b), -ESTALE);
	done(sess(OP_SESSION_OPEN, 3, 102, a));
	done(sess(OP_SESSION_FENCE, 3, 0, a));
	ck_assert_int_eq(state_of(3), SESS_FENCED);
}
END_TEST

/* Our close is pending when what landed changes the row: the prefix has the
 * landed change, and so has the row once the close is undone or lands. */
START_TEST(test_session_pending)
{
	static const char a[17] = "aaaaaaaaaaaaaaaa";
	struct op close = sess(OP_SESSION_CLOSE, 1, 0, a),
	    open = sess(OP_SESSION_OPEN, 2, 101, a);
	char *s;

	done(sess(OP_SESSION_OPEN, 1, 100, a));
	ck_assert_int_eq(mu_journal(M, &close), 0);
	ck_assert_int_eq(state_of(1), SESS_CLOSED);
	open.prev_nonce = 100;
	done(open);	/* in the log, session 1 is still open: fenced */
	s = mu_dump(M, true);
	ck_assert_ptr_nonnull(strstr(s, "opened=0 state=2"));
	ck_assert_ptr_null(strstr(s, "opened=0 state=1"));
	free(s);
	ck_assert_int_eq(state_of(1), SESS_FENCED);
}
END_TEST

static struct op
mu_store(uint64_t id, const char *name, const char *url, bool remove)
{
	return ((struct op){ .kind = OP_STORE, .ino = id, .name = name,
	    .value = url, .nvalue = strlen(url), .size = remove });
}

/* A store is renamed and moved by its id, and goes when nothing is there. */
START_TEST(test_stores)
{
	struct op_extent e = { 0, 100, 500, 0, -1 };
	struct op_object o = { .id = 500, .size = 100, .kind = OBJ_WHOLE,
	    .store = 2, .version = "v" };
	struct op x = mu_extents(EXT_WHOLE, 100, &e, 1);
	char *s;

	x.objects = &o;
	x.nobjects = 1;
	done(mu_store(1, "home", "file:///h", false));
	done(mu_store(2, "lake", "s3://lake", false));
	done(x);
	refused(mu_store(2, "lake", "s3://lake", true), -EBUSY);
	refused(mu_store(1, "home", "file:///h", true), -EBUSY);
	done(mu_store(2, "ocean", "s3://ocean", false));
	s = mu_dump(M, true);
	ck_assert_ptr_nonnull(strstr(s, "ocean"));
	ck_assert_ptr_null(strstr(s, "lake"));
	free(s);
	done(mu_store(3, "spare", "s3://spare", false));
	done(mu_store(3, "spare", "s3://spare", true));
	s = mu_dump(M, true);
	ck_assert_ptr_null(strstr(s, "spare"));
	free(s);
}
END_TEST

static int
put_row_fn(struct sqc *c, void *arg)
{
	struct change landed = { 0 };

	return (row_put(c, &landed, arg));
}

static void
put_row(struct row *r)
{
	ck_assert_int_eq(sq_write(meta_sq(M), put_row_fn, r), 0);
}

static int64_t
count(const char *sql)
{
	struct sqc *c;
	struct sqs *s;
	int64_t n;

	ck_assert_int_eq(sq_read(meta_sq(M), &c), 0);
	s = sq_prep(c, sql);
	ck_assert_int_eq(sqs_step(s), 1);
	n = sqs_col_int(s, 0);
	sqs_reset(s);
	sq_read_end(c);
	return (n);
}

/* What no extent names keeps no store (B9): it goes with it, but for what has
 * a copy elsewhere. */
START_TEST(test_store_garbage)
{
	struct op_extent e[] = { { 0, 100, 500, 0, -1 },
	    { 100, 100, 501, 0, -1 } };
	struct op_object o[] = { { .id = 500, .size = 100, .kind = OBJ_WHOLE,
	    .store = 2, .version = "v" }, { .id = 501, .size = 100,
	    .kind = OBJ_WHOLE, .store = 2, .version = "w" } };
	struct op_object copy = o[1];
	struct op x = mu_extents(EXT_WHOLE, 200, e, 2);
	struct op locate = { .kind = OP_LOCATE, .objects = &copy,
	    .nobjects = 1 };

	x.objects = o;
	x.nobjects = 2;
	copy.store = 3;
	done(mu_store(1, "home", "file:///h", false));
	done(mu_store(2, "lake", "s3://lake", false));
	done(mu_store(3, "cold", "s3://cold", false));
	done(x);
	done(locate);
	refused(mu_store(2, "lake", "s3://lake", true), -EBUSY);
	done(mu_unlink(1, "f1", F1, 7000));
	ck_assert_int_eq(count("SELECT count(*) FROM location"), 3);
	done(mu_store(2, "lake", "s3://lake", true));
	ck_assert_int_eq(count("SELECT count(*) FROM location"), 1);
	ck_assert_int_eq(count("SELECT store FROM location"), 3);
	ck_assert_int_eq(count("SELECT count(*) FROM object"), 1);
	done(mu_store(3, "cold", "s3://cold", true));
	ck_assert_int_eq(count("SELECT count(*) FROM object"), 0);
}
END_TEST

/* A place that is there stays where it is: what others named keeps its key,
 * and has the version that is recorded anew (B3). */
START_TEST(test_locate_again)
{
	struct op_object o = { .id = F1, .size = 9, .kind = OBJ_IMPORTED,
	    .store = 2, .version = "new" };
	struct op locate = { .kind = OP_LOCATE, .objects = &o,
	    .nobjects = 1 };
	struct row object = { T_OBJECT, { col_int(F1), col_int(9),
	    col_int(OBJ_IMPORTED) } };
	struct row at = { T_LOCATION, { col_int(F1), col_int(2),
	    col_str("dir/theirs"), col_str("old") } };

	put_row(&object);
	put_row(&at);
	done(locate);
	ck_assert_int_eq(count("SELECT count(*) FROM location "
	    "WHERE CAST(key AS TEXT) = 'dir/theirs' "
	    "AND CAST(version AS TEXT) = 'new'"), 1);
	o.size = 10;
	strcpy(o.version, "of another size");
	done(locate);
	o.size = 9;
	o.store = 3;
	strcpy(o.version, "there");
	done(locate);
	ck_assert_int_eq(count("SELECT count(*) FROM location "
	    "WHERE CAST(version AS TEXT) = 'new'"), 1);
	ck_assert_int_eq(count("SELECT count(*) FROM location "
	    "WHERE store = 3 AND length(key) = 0"), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_apply");
	TCase *t = tcase_create("apply");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_create);
	tcase_add_test(t, test_links);
	tcase_add_test(t, test_rmdir);
	tcase_add_test(t, test_rename);
	tcase_add_test(t, test_rename_same);
	tcase_add_test(t, test_xattr);
	tcase_add_test(t, test_import);
	tcase_add_test(t, test_collision);
	tcase_add_test(t, test_extents);
	tcase_add_test(t, test_sessions);
	tcase_add_test(t, test_session_pending);
	tcase_add_test(t, test_stores);
	tcase_add_test(t, test_store_garbage);
	tcase_add_test(t, test_locate_again);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

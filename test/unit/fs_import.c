/* fs_import: adopting a directory of existing objects, without FUSE. */
#include "fs_util.h"

#include "meta/import.h"
#include "fs/import.h"
#include "fs/refresh.h"

static char lake[400], lake_url[450];

static void
setup(void)
{
	fu_setup_home();
	snprintf(lake, sizeof(lake), "%s/lake", fu_dir);
	snprintf(lake_url, sizeof(lake_url), "file://%s", lake);
	ck_assert_int_eq(mkdir(lake, 0700), 0);
}

static void
object(const char *key, const char *bytes)
{
	char path[600];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", lake, key);
	ck_assert_int_eq(sys_mkdirs(lake, 0700), 0);
	for (char *p = path + strlen(lake) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(path, 0700);
		*p = '/';
	}
	fp = fopen(path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs(bytes, fp);
	fclose(fp);
}

static int
get_attr(struct fs *f, const char *path, struct attr *ret)
{
	struct sqc *c;
	int err;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	err = meta_resolve(c, path, ret);
	sq_read_end(c);
	return err;
}

static int
take_extent(void *arg, const struct meta_extent *e)
{
	snprintf(arg, 600, "%u %s", e->store, e->key);
	return 0;
}

static void
key_of(struct fs *f, uint64_t ino, char ret[600])
{
	struct sqc *c;

	ret[0] = '\0';
	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	ck_assert_int_ge(meta_extents(c, ino, 0, 1000, take_extent, ret), 0);
	sq_read_end(c);
}

static struct import_request
request(const char *url, const char *path)
{
	return (struct import_request){ .url = url, .path = path, .uid = 11,
	    .gid = 12, .file_mode = -1 };
}

static int
count_hidden(struct fs *f)
{
	struct sqc *c;
	struct sqs *s;
	int n;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	s = sq_prep(c, "SELECT (SELECT count(*) FROM hidden) * 1000000 + "
	    "(SELECT count(*) FROM inode)");
	ck_assert_int_eq(sqs_step(s), 1);
	n = (int)sqs_col_int(s, 0);
	sqs_reset(s);
	sq_read_end(c);
	return n;
}

START_TEST(test_import)
{
	struct import_request r = request(lake_url, "/data/set");
	struct import_result res = { 0 };
	struct why why = { "" };
	uint8_t a[32], b[32];
	struct fs *f;
	struct attr at;
	char key[600], want[40];
	uint64_t seq;
	int err;

	object("a.txt", "aaa");
	object("dir/b.txt", "bb");
	object("dir/sub/c.txt", "c");
	f = fu_up("a", NULL);
	err = fs_import(f, &r, &res, &why);
	ck_assert_msg(err == 0, "%d %s", err, why.text);
	ck_assert_uint_eq(res.files, 3);
	ck_assert_uint_eq(res.dirs, 2);
	ck_assert_uint_eq(res.bytes, 6);
	ck_assert_uint_eq(fu_pending(f), 0);	/* it is in the log */
	ck_assert_int_eq(get_attr(f, "/data", &at), 0);
	ck_assert_uint_eq(at.mode, S_IFDIR | 0755);
	ck_assert_uint_eq(at.flags & INODE_IMPORTED, 0);
	ck_assert_int_eq(get_attr(f, "/data/set/dir/b.txt", &at), 0);
	ck_assert_uint_eq(at.mode, S_IFREG | 0644);
	ck_assert_uint_eq(at.uid, 11);
	ck_assert_uint_eq(at.gid, 12);
	ck_assert_uint_eq(at.size, 2);
	ck_assert_uint_ne(at.flags & INODE_IMPORTED, 0);
	key_of(f, at.ino, key);
	snprintf(want, sizeof(want), "%u dir/b.txt", res.store);
	ck_assert_str_eq(key, want);

	/* below the same bucket: the same store, another prefix; over an
	 * empty directory */
	r = request(NULL, "/data/again");
	snprintf(key, sizeof(key), "%s/dir", lake_url);
	r.url = key;
	r.file_mode = 0640;
	ck_assert_msg(fs_import(f, &r, &res, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(res.files, 2);
	ck_assert_int_eq(get_attr(f, "/data/again/sub/c.txt", &at), 0);
	ck_assert_uint_eq(at.mode, S_IFREG | 0640);
	key_of(f, at.ino, key);
	snprintf(want, sizeof(want), "%u dir/sub/c.txt", res.store);
	ck_assert_str_eq(key, want);
	ck_assert_int_eq(get_attr(f, "/data/again/sub", &at), 0);
	ck_assert_uint_eq(at.mode, S_IFDIR | 0750);

	seq = fu_create(f, "after", "after");
	fu_synced(f, seq);
	fu_digest(f, a);
	fu_stop(f, true);

	/* replayed from the log and its pieces, elsewhere */
	f = fu_up("b", NULL);
	ck_assert_int_eq(get_attr(f, "/data/set/dir/sub/c.txt", &at), 0);
	fu_stop(f, true);
	f = fu_host("c", NULL);
	f->opt.read_only = true;
	ck_assert_int_eq(fu_start(f, &why), 0);
	fu_digest(f, b);
	ck_assert_mem_ne(a, b, 32);	/* sessions came and went */
	ck_assert_int_lt(count_hidden(f), 1000000);
	fu_stop(f, false);
}
END_TEST

START_TEST(test_digest_after_import)
{
	struct import_request r = request(lake_url, "/set");
	struct import_result res;
	struct why why = { "" };
	uint8_t live[32], replay[32], snap[32];
	char name[40];
	struct fs *f;

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "d%d/f%d", i % 7, i);
		object(name, name);
	}
	f = fu_up("a", NULL);
	ck_assert_msg(fs_import(f, &r, &res, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(res.files, 300);
	fu_synced(f, fu_create(f, "x", "x"));
	fu_digest(f, live);
	{
		struct fs *g = fu_host("b", NULL);

		g->opt.read_only = true;
		ck_assert_int_eq(fu_start(g, &why), 0);
		fu_digest(g, replay);
		fu_stop(g, false);
	}
	ck_assert_msg(ship_snapshot(f, &why) == 0, "%s", why.text);
	{
		struct fs *g = fu_host("c", NULL);

		g->opt.read_only = true;
		ck_assert_int_eq(fu_start(g, &why), 0);
		fu_digest(g, snap);
		fu_stop(g, false);
	}
	ck_assert_mem_eq(live, replay, 32);
	ck_assert_mem_eq(live, snap, 32);
	fu_stop(f, true);
}
END_TEST

/* Each wrong thing is named, and nothing of it stays. */
START_TEST(test_refused)
{
	struct import_request r;
	struct import_result res;
	struct why why = { "" };
	unsigned objects;
	char url[600];
	struct fs *f;
	int rows;

	object("a", "a");
	f = fu_up("a", NULL);
	fu_synced(f, fu_create(f, "file", "x"));
	objects = fu_objects("");
	rows = count_hidden(f);

	r = request(lake_url, "/file");
	ck_assert_int_eq(fs_import(f, &r, &res, &why), -EEXIST);
	ck_assert_ptr_nonnull(strstr(why.text, "/file"));
	why.text[0] = '\0';
	r = request(lake_url, "/file/below");
	ck_assert_int_eq(fs_import(f, &r, &res, &why), -ENOTDIR);
	r = request(lake_url, "/");
	ck_assert_int_eq(fs_import(f, &r, &res, &why), -EINVAL);
	why.text[0] = '\0';
	snprintf(url, sizeof(url), "%s/nowhere", lake_url);
	r = request(url, "/set");
	ck_assert_int_eq(fs_import(f, &r, &res, &why), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why.text, "nowhere"));
	why.text[0] = '\0';
	r = request(fu_url, "/set");
	ck_assert_int_eq(fs_import(f, &r, &res, &why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "home"));
	ck_assert_uint_eq(fu_objects(""), objects);
	ck_assert_int_eq(count_hidden(f), rows);
	ck_assert_uint_eq(fu_pending(f), 0);
	fu_stop(f, true);
}
END_TEST

static int
cancel_now(void *arg, uint64_t keys, uint64_t bytes)
{
	return 1;
}

START_TEST(test_cancelled)
{
	struct import_request r = request(lake_url, "/set");
	struct import_result res;
	struct why why = { "" };
	char name[20];
	struct fs *f;
	struct attr at;

	for (int i = 0; i < 1001; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		object(name, "");
	}
	f = fu_up("a", NULL);
	r.progress = cancel_now;
	ck_assert_int_eq(fs_import(f, &r, &res, &why), -ECANCELED);
	ck_assert_int_eq(get_attr(f, "/set", &at), -ENOENT);
	ck_assert_uint_eq(fu_objects("piece/"), 0);
	fu_stop(f, true);
}
END_TEST

/* The host is fenced while the bucket is listed: nothing is journalled any more
 * (L13). */
static int
fence(void *arg, uint64_t keys, uint64_t bytes)
{
	fs_set_write_state(arg, FS_FENCED, "by a test");
	return 0;
}

START_TEST(test_fenced)
{
	struct import_request r = request(lake_url, "/set");
	struct refresh_request rr = { .path = "/set", .every = -1 };
	struct refresh_result rres;
	struct import_result res;
	struct why why = { "" };
	struct attr at;
	struct fs *f;

	object("a", "1");
	f = fu_up("a", NULL);
	ck_assert_int_eq(refresh_start(f), 0);
	r.progress = fence;
	r.arg = f;
	ck_assert_int_eq(fs_import(f, &r, &res, &why), -EROFS);
	ck_assert_str_ne(why.text, "");
	ck_assert_int_eq(get_attr(f, "/set", &at), -ENOENT);
	ck_assert_uint_eq(fu_pending(f), 0);

	fs_set_write_state(f, FS_WRITABLE, "by a test");
	r.progress = NULL;
	why.text[0] = '\0';
	ck_assert_msg(fs_import(f, &r, &res, &why) == 0, "%s", why.text);
	object("b", "2");
	rr.progress = fence;
	rr.arg = f;
	ck_assert_int_eq(fs_refresh(f, &rr, &rres, &why), -EROFS);
	ck_assert_int_eq(get_attr(f, "/set/b", &at), -ENOENT);
	ck_assert_uint_eq(fu_pending(f), 0);
	refresh_stop(f);
	refresh_done(f);
	fu_stop(f, true);
}
END_TEST

/* The home fails while pieces are put: nothing half-made is left. */
static const char *const faults[] = {
	"op=put,key=piece/,nth=2,rc=unreachable",
	"op=put,key=piece/,nth=1,rc=nospace",
	"op=put,key=piece/,rc=denied",
};

START_TEST(test_home_fails)
{
	struct import_request r = request(lake_url, "/set");
	struct import_result res;
	struct why why = { "" };
	struct fs *f;
	struct attr at;
	int rows, err;

	object("a", "a");
	object("b/c", "a");
	f = fu_up("a", faults[_i]);
	rows = count_hidden(f);
	err = fs_import(f, &r, &res, &why);
	ck_assert_int_lt(err, 0);
	ck_assert_str_ne(why.text, "");
	ck_assert_int_eq(get_attr(f, "/set", &at), -ENOENT);
	ck_assert_int_eq(count_hidden(f), rows);
	ck_assert_uint_eq(fu_objects("piece/"), 0);
	ck_assert_uint_eq(fu_pending(f), 0);
	fu_stop(f, true);
}
END_TEST

/* Answers lost after the write was done, pieces and log (L2). */
START_TEST(test_answers_lost)
{
	struct import_request r = request(lake_url, "/set");
	struct import_result res;
	struct why why = { "" };
	struct fs *f;
	struct attr at;

	object("a", "a");
	f = fu_up("a", "op=put,key=log/,nth=2,rc=ambiguous,after=1");
	ck_assert_msg(fs_import(f, &r, &res, &why) == 0, "%s", why.text);
	fu_stop(f, true);
	f = fu_up("b", NULL);
	ck_assert_int_eq(get_attr(f, "/set/a", &at), 0);
	fu_stop(f, true);
}
END_TEST

/* Dead between loading and attaching: purged at the next start. */
START_TEST(test_killed)
{
	struct import_request r = request(lake_url, "/set");
	struct import_result res;
	struct why why = { "" };
	struct fs *f;
	int rows;

	object("a", "a");
	f = fu_up("a", NULL);
	rows = count_hidden(f);
	ck_assert_int_eq(import_load_begin(f->meta, UINT64_C(7) << 36,
	    (UINT64_C(7) << 36) + 10), 0);
	ck_assert_int_ne(count_hidden(f), rows);
	fu_stop(f, false);
	f = fu_up("a", NULL);
	ck_assert_int_eq(count_hidden(f), rows);
	ck_assert_msg(fs_import(f, &r, &res, &why) == 0, "%s", why.text);
	fu_stop(f, true);
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(setup, fu_teardown, 60);

	tcase_add_test(t, test_import);
	tcase_add_test(t, test_digest_after_import);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_cancelled);
	tcase_add_test(t, test_fenced);
	tcase_add_loop_test(t, test_home_fails, 0,
	    sizeof(faults) / sizeof(faults[0]));
	tcase_add_test(t, test_answers_lost);
	tcase_add_test(t, test_killed);
	return fu_run("fs_import", t);
}

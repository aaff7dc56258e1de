/*
 * s3_live: what conformance does not reach, against the server that
 * GNSFS_TEST_S3 names (test/s3.sh starts one): puts and copies in parts,
 * signed payloads, checksums that the server refuses, versions by date.
 * GNSFS_TEST_S3_DIR: the folder behind the bucket, where the server keeps
 * objects as files (versitygw).
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "backends/s3.h"
#include "test/unit/store_help.h"

static struct store_call call;
static struct why why;
static struct store *s;
static char prefix[32];
static uint8_t *bytes;

/* The least parts that servers take. */
static const struct s3_sizes small = { .single = S3_MIB, .part = 5 * S3_MIB,
    .copy_single = S3_MIB, .copy_part = 5 * S3_MIB };
#define LARGE	(12 * S3_MIB + 345)

static void
begin(void)
{
	const char *base = getenv("GNSFS_TEST_S3");
	const char *query = strchrnul(base, '?');
	char text[URL_MAX];
	struct url u;
	size_t i;

	sys_init();
	snprintf(prefix, sizeof(prefix), "%016llx",
	    (unsigned long long)random_u64());
	snprintf(text, sizeof(text), "%.*s/%s%s", (int)(query - base), base,
	    prefix, query);
	memset(&call, 0, sizeof(call));
	call.why = &why;
	ck_assert_msg(url_parse(text, &u, &why) == 0, "%s", why.text);
	ck_assert_msg(s3_open(&u, &small, &s, &why) == 0, "%s", why.text);
	url_done(&u);
	bytes = malloc(LARGE);
	ck_assert_ptr_nonnull(bytes);
	for (i = 0; i < LARGE; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
}

static void
end(void)
{
	store_free(s);
	free(bytes);
}

#define OK(call_) do {							\
	enum store_rc rc_ = (call_);					\
	ck_assert_msg(rc_ == STORE_OK, "%s: %s (%s)", #call_,		\
	    store_rc_name(rc_), why.text);				\
	why.text[0] = '\0';						\
} while (0)

static void
is_large(const char *key)
{
	struct buf b = BUF_INIT;

	OK(store_get_all(s, &call, key, LARGE, &b, NULL));
	ck_assert_uint_eq(b.len, LARGE);
	ck_assert(memcmp(b.p, bytes, LARGE) == 0);
	buf_done(&b);
}

START_TEST(parts)
{
	struct store_info first, second, head;

	OK(store_put_mem(s, &call, "k", STORE_IF_ABSENT, NULL, bytes, LARGE,
	    &first));
	is_large("k");
	ck_assert(first.summed);
	OK(store_head(s, &call, "k", &head));
	ck_assert_str_eq(head.version.text, first.version.text);
	ck_rc(store_put_mem(s, &call, "k", STORE_IF_ABSENT, NULL, bytes,
	    LARGE, NULL), STORE_EXISTS);
	bytes[7] ^= 1;
	OK(store_put_mem(s, &call, "k", STORE_IF_MATCH, &first.version, bytes,
	    LARGE, &second));
	ck_rc(store_put_mem(s, &call, "k", STORE_IF_MATCH, &first.version,
	    bytes, LARGE, NULL), STORE_CHANGED);
	is_large("k");
	OK(store_copy(s, &call, "k", &second.version, "to", &head));
	ck_assert_uint_eq(head.size, LARGE);
	is_large("to");
	ck_rc(store_copy(s, &call, "k", &first.version, "to", &head),
	    STORE_CHANGED);
}
END_TEST

/* As over plain http to another machine: with the payload's SHA-256. */
START_TEST(signed_payload)
{
	struct store_info info;

	((struct s3 *)s)->loopback = false;
	OK(store_put_mem(s, &call, "k", STORE_ALWAYS, NULL, bytes, LARGE,
	    NULL));
	is_large("k");
	OK(store_put_mem(s, &call, "e", STORE_IF_ABSENT, NULL, "", 0, NULL));
	OK(store_put_mem(s, &call, "s", STORE_IF_ABSENT, NULL, "abc", 3,
	    &info));
	help_is(s, "s", "abc");
	ck_assert(info.summed);
}
END_TEST

static _Atomic int reads;

/* Another byte each time it is read, as a bit that flips on the way. */
static int
shaky_read(void *arg, void *buf, size_t n, uint64_t off)
{
	memset(buf, atomic_fetch_add(&reads, 1), n);
	return (int)n;
}

START_TEST(damage_is_refused)
{
	struct store_src src = { .size = 1000, .read = shaky_read };

	call.once = true;
	ck_rc(store_put(s, &call, "k", STORE_ALWAYS, NULL, &src, NULL),
	    STORE_THROTTLED);
	help_is_absent(s, "k");
	src.size = LARGE;
	ck_rc(store_put(s, &call, "k", STORE_ALWAYS, NULL, &src, NULL),
	    STORE_THROTTLED);
	help_is_absent(s, "k");
}
END_TEST

static void *
racer(void *arg)
{
	struct store_call c = { 0 };
	enum store_rc rc;

	rc = store_put_mem(s, &c, "race", STORE_IF_ABSENT, NULL, bytes,
	    (size_t)(2 * S3_MIB), NULL);
	/* 409: nobody need have won, in this round. */
	ck_assert_msg(rc == STORE_OK || rc == STORE_EXISTS ||
	    rc == STORE_THROTTLED, "%s", store_rc_name(rc));
	return (void *)(intptr_t)(rc == STORE_OK);
}

/* B1: of many that put in parts if absent, one does. */
START_TEST(one_wins)
{
	pthread_t t[6];
	void *won;
	int i, n = 0;

	for (i = 0; i < 6; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, racer, NULL), 0);
	for (i = 0; i < 6; i++) {
		pthread_join(t[i], &won);
		n += (int)(intptr_t)won;
	}
	ck_assert_int_eq(n, 1);
}
END_TEST

static void
drop_file(const char *name, const char *text, time_t when)
{
	struct timespec ts[2] = { { when, 123456789 }, { when, 123456789 } };
	const char *base = getenv("GNSFS_TEST_S3");
	const char *slash = strchr(base + 5, '/');
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%.*s/%s", getenv("GNSFS_TEST_S3_DIR"),
	    slash != NULL ? (int)(strchrnul(slash, '?') - slash) : 0,
	    slash != NULL ? slash : "", prefix);
	mkdir(path, 0755);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s",
	    name);
	f = fopen(path, "w");
	ck_assert_msg(f != NULL, "%s", path);
	fputs(text, f);
	fclose(f);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, ts, 0), 0);
}

static int
note_version(void *arg, const struct store_entry *e)
{
	if (!e->is_prefix && strcmp(e->key, "hand") == 0)
		*(struct store_info *)arg = e->info;
	return 0;
}

static int
add_sink(void *arg, const void *p, size_t n)
{
	buf_put(arg, p, n);
	return 0;
}

/* B5: a store that gives no ETag (a file dropped there by hand). */
START_TEST(versions_by_date)
{
	struct store_list l = { .prefix = "" };
	struct store_info info = { 0 }, head, got;
	struct buf b = BUF_INIT;

	OK(store_put_mem(s, &call, "first", STORE_ALWAYS, NULL, "x", 1, NULL));
	drop_file("hand", "by hand", 1700000000);
	OK(store_list(s, &call, &l, note_version, &info));
	ck_assert_str_eq(info.version.text, "d:7:1700000000");
	OK(store_head(s, &call, "hand", &head));
	ck_assert_str_eq(head.version.text, "d:7:1700000000");
	OK(store_get(s, &call, "hand", &info.version, 3, 0, add_sink, &b,
	    &got));
	ck_assert_str_eq(buf_cstr(&b), "hand");
	ck_assert_str_eq(got.version.text, "d:7:1700000000");
	OK(store_copy(s, &call, "hand", &info.version, "copy", NULL));
	help_is(s, "copy", "by hand");
	ck_rc(store_put_mem(s, &call, "hand", STORE_IF_MATCH, &info.version,
	    "y", 1, NULL), STORE_UNSUPPORTED);

	drop_file("hand", "by HAND", 1700000050);
	buf_reset(&b);
	ck_rc(store_get(s, &call, "hand", &info.version, 0, 0, add_sink, &b,
	    NULL), STORE_CHANGED);
	ck_rc(store_get(s, &call, "hand", &info.version, 2, 3, add_sink, &b,
	    NULL), STORE_CHANGED);
	ck_rc(store_copy(s, &call, "hand", &info.version, "copy", NULL),
	    STORE_CHANGED);
	/* Older, and larger: the server's condition does not see it. */
	drop_file("hand", "by hands", 1600000000);
	ck_rc(store_get(s, &call, "hand", &info.version, 0, 0, add_sink, &b,
	    NULL), STORE_CHANGED);
	ck_rc(store_del(s, &call, "hand", &info.version), STORE_CHANGED);
	ck_assert_uint_eq(b.len, 0);
	OK(store_head(s, &call, "hand", &head));
	OK(store_del(s, &call, "hand", &head.version));
	help_is_absent(s, "hand");
	buf_done(&b);
}
END_TEST

static int
note_upload(void *arg, const struct store_entry *e)
{
	ck_assert_str_eq(e->key, "data/01/2-1");
	ck_assert(llabs((long long)(e->info.mtime - clock_real())) <
	    3600 * NSEC_PER_SEC);
	++*(int *)arg;
	return 0;
}

/* What a host that died in a large put has left. */
START_TEST(upload_left)
{
	struct s3_req r = { .method = "POST", .op = "PUT",
	    .key = "data/01/2-1" };
	int n = 0;

	OK(s->ops->left(s, &call, note_upload, &n));
	ck_assert_int_eq(n, 0);
	s3_param(&r, "uploads", "");
	OK(s3_do((struct s3 *)s, &call, &r));
	s3_req_done(&r);
	OK(s->ops->left(s, &call, note_upload, &n));
	ck_assert_int_eq(n, 1);
}
END_TEST

START_TEST(no_such_bucket)
{
	const char *base = getenv("GNSFS_TEST_S3");
	char text[URL_MAX];
	struct store *other;
	enum store_rc rc;

	snprintf(text, sizeof(text), "s3://no-such-bucket-here%s",
	    strchrnul(base, '?'));
	other = help_open(text, true, NULL);
	ck_rc(store_put_mem(other, &call, "k", STORE_ALWAYS, NULL, "x", 1,
	    NULL), STORE_ABSENT);
	ck_assert_msg(strstr(why.text, "no such bucket") != NULL, "%s",
	    why.text);
	/* Its answer may be lost where the server closes on our sending. */
	rc = store_put_mem(other, &call, "k", STORE_ALWAYS, NULL, bytes, LARGE,
	    NULL);
	ck_assert(rc == STORE_ABSENT || rc == STORE_AMBIGUOUS);
	ck_rc(store_del(other, &call, "k", NULL), STORE_ABSENT);
	store_free(other);
}
END_TEST

START_TEST(refused)
{
	const char *base = getenv("GNSFS_TEST_S3");
	struct store *other;

	setenv("AWS_SECRET_ACCESS_KEY", "wrong", 1);
	other = help_open(base, true, NULL);
	ck_rc(store_put_mem(other, &call, "k", STORE_ALWAYS, NULL, "x", 1,
	    NULL), STORE_DENIED);
	ck_assert_msg(strstr(why.text, "secret of the key") != NULL, "%s",
	    why.text);
	why.text[0] = '\0';
	setenv("AWS_ACCESS_KEY_ID", "nobody", 1);
	store_free(other);
	other = help_open(base, true, NULL);
	ck_rc(store_get_all(other, &call, "k", 10, &(struct buf){ 0 }, NULL),
	    STORE_DENIED);
	ck_assert_msg(strstr(why.text, "not known") != NULL, "%s", why.text);
	store_free(other);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("s3_live");
	TCase *t = tcase_create("a real server");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, begin, end);
	if (getenv("GNSFS_TEST_S3") != NULL) {
		tcase_add_test(t, parts);
		tcase_add_test(t, signed_payload);
		tcase_add_test(t, damage_is_refused);
		tcase_add_test(t, one_wins);
		tcase_add_test(t, no_such_bucket);
		tcase_add_test(t, refused);
		if (getenv("GNSFS_TEST_S3_DIR") != NULL) {
			tcase_add_test(t, versions_by_date);
			tcase_add_test(t, upload_left);
		}
	}
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

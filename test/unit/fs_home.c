/* fs_home: what makes a prefix a namespace; the stores' health. */
#include "fs_util.h"

#include <dirent.h>
#include <pthread.h>

START_TEST(test_format)
{
	struct home_id id, there;
	struct why why = { "" };
	struct store_call c = { 0 };
	struct store *s;

	s = fu_store(NULL);
	ck_assert_int_eq(home_read(s, &c, &there, &why), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why.text, "gnsfs format"));
	why.text[0] = '\0';
	ck_assert_msg(home_format(fu_url, NULL, &id, &why) == 0, "%s",
	    why.text);
	ck_assert_str_eq(id.name, "home");
	ck_assert_int_eq(home_read(s, &c, &there, &why), 0);
	ck_assert_str_eq(there.uuid, id.uuid);
	ck_assert_uint_eq(there.uid, getuid());
	/* gnsfs.json and slot 1, nothing else */
	ck_assert_uint_eq(fu_objects(""), 2);
	ck_assert_int_eq(home_format(fu_url, "other", &id, &why), -EEXIST);
	ck_assert_ptr_nonnull(strstr(why.text, there.uuid));
	ck_assert_uint_eq(fu_objects(""), 2);
	store_free(s);
}
END_TEST

START_TEST(test_format_refused)
{
	static const char *const bad[] = { "a/b", ".x", "a b", "-a",
	    "0123456789012345678901234567890123456789012345678901234567890123"
	    "4" };
	struct home_id id;
	struct why why = { "" };
	char url[500];

	for (unsigned i = 0; i < 5; i++) {
		why.text[0] = '\0';
		ck_assert_int_eq(home_format(fu_url, bad[i], &id, &why),
		    -EINVAL);
		ck_assert_str_ne(why.text, "");
	}
	snprintf(url, sizeof(url), "%s/nowhere", fu_url);
	why.text[0] = '\0';
	ck_assert_int_eq(home_format(url, NULL, &id, &why), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why.text, "nowhere"));
	ck_assert_uint_eq(fu_objects(""), 0);
}
END_TEST

/* A store that overwrites where it should refuse. */
START_TEST(test_format_probe)
{
	struct home_id id;
	struct why why = { "" };

	setenv("GNSFS_FAULT", "op=put,key=host/probe-,nth=2,rc=unsupported",
	    1);
	ck_assert_int_eq(home_format(fu_url, NULL, &id, &why), -EOPNOTSUPP);
	unsetenv("GNSFS_FAULT");
	ck_assert_uint_eq(fu_objects(""), 0);
}
END_TEST

struct racer { int err; struct home_id id; };

static void *
race_main(void *arg)
{
	struct racer *r = arg;

	r->err = home_format(fu_url, NULL, &r->id, NULL);
	return NULL;
}

/* Two at once: one wins, and it is its namespace that is there. */
START_TEST(test_format_race)
{
	struct racer r[4];
	pthread_t t[4];
	struct home_id there;
	struct store_call c = { 0 };
	struct store *s;
	int won = 0;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, race_main,
		    &r[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	s = fu_store(NULL);
	ck_assert_int_eq(home_read(s, &c, &there, NULL), 0);
	for (int i = 0; i < 4; i++) {
		ck_assert(r[i].err == 0 || r[i].err == -EEXIST);
		if (r[i].err != 0)
			continue;
		won++;
		ck_assert_str_eq(r[i].id.uuid, there.uuid);
	}
	ck_assert_int_eq(won, 1);
	ck_assert_uint_eq(fu_objects(""), 2);
	store_free(s);
}
END_TEST

/* The answer to gnsfs.json's put is lost: the retry layer reads it back. */
START_TEST(test_format_answer_lost)
{
	struct home_id id, there;
	struct why why = { "" };
	struct store_call c = { 0 };
	struct store *s;

	setenv("GNSFS_FAULT",
	    "op=put,key=gnsfs.json,nth=1,rc=ambiguous,after=1", 1);
	ck_assert_msg(home_format(fu_url, NULL, &id, &why) == 0, "%s",
	    why.text);
	unsetenv("GNSFS_FAULT");
	s = fu_store(NULL);
	ck_assert_int_eq(home_read(s, &c, &there, NULL), 0);
	ck_assert_str_eq(id.uuid, there.uuid);
	store_free(s);
}
END_TEST

static void
put_text(struct store *s, const char *key, const char *text)
{
	struct store_call c = { 0 };

	ck_assert_int_eq(store_put_mem(s, &c, key, STORE_ALWAYS, NULL, text,
	    strlen(text), NULL), STORE_OK);
}

/* gnsfs.json and MANIFEST are hostile input. */
START_TEST(test_hostile)
{
	static const char *const ids[] = { "", "{", "[]", "{\"name\":\"x\"}",
	    "{\"name\":\"a/b\",\"url\":\"u\","
	    "\"uuid\":\"00000000-0000-4000-8000-000000000000\","
	    "\"format\":1,\"feature\":1,\"created\":1,\"uid\":0,\"gid\":0}",
	    "{\"name\":\"x\",\"url\":\"u\",\"uuid\":\"../../etc\","
	    "\"format\":1,\"feature\":1,\"created\":1,\"uid\":0,\"gid\":0}" };
	static const char *const ms[] = { "", "{}",
	    "{\"watermark\":0,\"head\":1,\"snapshots\":[]}",
	    "{\"watermark\":1,\"head\":1,\"snapshots\":[5,3]}",
	    "{\"watermark\":1,\"head\":1,\"snapshots\":[\"x\"]}",
	    "{\"watermark\":1,\"head\":1,\"snapshots\":[1,2,3,4,5,6,7,8,9]}",
	    "{\"watermark\":999999,\"head\":0,\"snapshots\":[7]}",
	    "{\"watermark\":9,\"head\":9,\"snapshots\":[3,7]}",
	    "{\"watermark\":2,\"head\":9,\"snapshots\":[]}",
	};
	struct home_id id;
	struct manifest m;
	struct why why;
	struct store_call c = { 0 };
	struct store *s = fu_store(NULL);

	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		put_text(s, "gnsfs.json", ids[i]);
		why.text[0] = '\0';
		ck_assert_int_eq(home_read(s, &c, &id, &why), -EBADMSG);
		ck_assert_str_ne(why.text, "");
	}
	put_text(s, "gnsfs.json", "{\"name\":\"x\",\"url\":\"u\",\"uuid\":"
	    "\"00000000-0000-4000-8000-000000000000\",\"format\":2,"
	    "\"feature\":1,\"created\":1,\"uid\":0,\"gid\":0}");
	why.text[0] = '\0';
	ck_assert_int_eq(home_read(s, &c, &id, &why), -EPROTONOSUPPORT);
	for (unsigned i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
		put_text(s, "MANIFEST", ms[i]);
		ck_assert_int_eq(manifest_read(s, &c, &m, &why), -EBADMSG);
	}
	store_free(s);
}
END_TEST

/* B1: compare and swap. */
START_TEST(test_manifest)
{
	struct store_call c = { 0 };
	struct store *s = fu_store(NULL);
	struct manifest a, b;
	struct why why = { "" };

	ck_assert_int_eq(manifest_read(s, &c, &a, &why), 0);
	ck_assert_uint_eq(a.watermark, 1);
	ck_assert_uint_eq(a.nsnaps, 0);
	b = a;
	a.snaps[a.nsnaps++] = 7;
	a.head = 9;
	ck_assert_int_eq(manifest_write(s, &c, &a, &why), 0);
	ck_assert_int_eq(manifest_write(s, &c, &b, &why), -EAGAIN);
	ck_assert_int_eq(manifest_read(s, &c, &b, &why), 0);
	ck_assert_uint_eq(b.snaps[0], 7);
	ck_assert_uint_eq(b.head, 9);
	b.watermark = 3;
	ck_assert_int_eq(manifest_write(s, &c, &b, &why), 0);
	ck_assert_int_eq(manifest_write(s, &c, &a, &why), -EAGAIN);
	b.watermark = 4;
	ck_assert_int_eq(manifest_write(s, &c, &b, &why), 0);
	store_free(s);
}
END_TEST

/* Until the home is up (or down), or five seconds are over. */
static bool
wait_health(struct fs *f, bool down)
{
	int64_t end = clock_mono() + 5 * NSEC_PER_SEC;

	while (stores_is_down(f, STORE_HOME_ID) != down &&
	    clock_mono() < end)
		(void)clock_sleep(10 * NSEC_PER_MSEC);
	return stores_is_down(f, STORE_HOME_ID) == down;
}

START_TEST(test_health)
{
	struct why why = { "connection refused" };
	int64_t t0 = clock_mono();
	uint64_t returns;
	struct fs *f;
	char text[64];

	fu_format();
	f = fu_host("a", NULL);
	returns = stores_returns(f);
	ck_assert(!stores_is_down(f, STORE_HOME_ID));
	stores_result(f, STORE_HOME_ID, STORE_DENIED, &why);
	ck_assert(!stores_is_down(f, STORE_HOME_ID));
	stores_result(f, STORE_HOME_ID, STORE_UNREACHABLE, &why);
	ck_assert(stores_down_why(f, STORE_HOME_ID, text, sizeof(text)));
	ck_assert_str_eq(text, why.text);
	ck_assert_uint_eq(stores_returns(f), returns);
	/* the prober finds it */
	ck_assert(wait_health(f, false));
	ck_assert_uint_eq(stores_returns(f), returns + 1);
	ck_assert_int_lt(clock_mono() - t0, 3 * NSEC_PER_SEC);
	/* an object that is missing, and a bucket or folder that is */
	stores_result(f, STORE_HOME_ID, STORE_ABSENT, NULL);
	ck_assert(!stores_is_down(f, STORE_HOME_ID));
	stores_result(f, STORE_HOME_ID, STORE_ABSENT, &why);
	ck_assert(stores_is_down(f, STORE_HOME_ID));
	fu_stop(f, false);
}
END_TEST

/* A folder that is not the home any more is down, and is not written to. */
START_TEST(test_other_folder)
{
	const char *home = fu_url + strlen("file://");
	struct why why = { "" };
	char aside[420], other[420];
	struct home_id id;
	uint64_t seq;
	struct fs *f;
	struct dirent *e;
	DIR *d;

	fu_format();
	f = fu_host("a", NULL);
	ck_assert_int_eq(fu_start(f, &why), 0);
	snprintf(aside, sizeof(aside), "%s.aside", home);
	ck_assert_int_eq(rename(home, aside), 0);
	ck_assert_int_eq(mkdir(home, 0700), 0);
	ck_assert(wait_health(f, true));
	seq = fu_create(f, "made in the outage", "bytes");
	(void)clock_sleep(2500 * NSEC_PER_MSEC);
	ck_assert(stores_down_why(f, STORE_HOME_ID, other, sizeof(other)));
	d = opendir(home);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		ck_assert_msg(e->d_name[0] == '.', "%s", e->d_name);
	closedir(d);
	/* another namespace is none of ours either */
	ck_assert_int_eq(home_format(fu_url, "other", &id, &why), 0);
	(void)clock_sleep(2500 * NSEC_PER_MSEC);
	ck_assert(stores_is_down(f, STORE_HOME_ID));
	snprintf(other, sizeof(other), "%s.other", home);
	ck_assert_int_eq(rename(home, other), 0);
	ck_assert_int_eq(rename(aside, home), 0);
	ck_assert_int_eq(fu_sync(f, seq, 20, &why), 0);
	fu_stop(f, false);
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(fu_setup, fu_teardown, 30);

	tcase_add_test(t, test_format);
	tcase_add_test(t, test_format_refused);
	tcase_add_test(t, test_format_probe);
	tcase_add_test(t, test_format_race);
	tcase_add_test(t, test_format_answer_lost);
	tcase_add_test(t, test_hostile);
	tcase_add_test(t, test_manifest);
	tcase_add_test(t, test_health);
	tcase_add_test(t, test_other_folder);
	return fu_run("fs_home", t);
}

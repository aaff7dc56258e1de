/*
 * gcs_live: the GCS backend against a server of its protocol, where
 * conformance does not reach: sessions, parts, copies by steps, many pages.
 * GNSFS_TEST_GS is a URL as conformance takes it; without it nothing is run.
 */
#include "backends/gcs.h"
#include "test/unit/store_help.h"

static struct store *s;
static struct why why;
static struct store_call call = { .why = &why };

static void
begin(const char *compose, const struct gcs_sizes *sizes)
{
	const char *env = getenv("GNSFS_TEST_GS"), *query;
	char text[URL_MAX];
	struct url u;
	size_t n;

	sys_init();
	query = strchrnul(env, '?');
	snprintf(text, sizeof(text), "%.*s/%016llx%s", (int)(query - env),
	    env, (unsigned long long)random_u64(), query);
	/* The last setting of a name would be refused as a second one. */
	n = strcspn(text, "?");
	if (strstr(text + n, "compose=") != NULL)
		*strstr(text + n, "&compose=") = '\0';
	n = strlen(text);
	snprintf(text + n, sizeof(text) - n, "&compose=%s", compose);
	why.text[0] = '\0';
	ck_assert_msg(url_parse(text, &u, &why) == 0, "%s", why.text);
	ck_assert_msg(gcs_open(&u, sizes, &s, &why) == 0, "%s", why.text);
	url_done(&u);
}

/* Bytes from end to end, the same after a copy, gone after that. */
static void
round_trip(uint64_t size)
{
	struct store_src src = { .size = size, .read = help_src_read };
	struct help_check k = { 0 };
	struct store_info put, copied, listed;
	struct store_version stale;
	char *have;

	ck_assert_msg(store_put(s, &call, "dir/big", STORE_IF_ABSENT, NULL,
	    &src, &put) == STORE_OK, "%s", why.text);
	ck_assert_uint_eq(put.size, size);
	ck_rc(store_put(s, &call, "dir/big", STORE_IF_ABSENT, NULL, &src,
	    NULL), STORE_EXISTS);
	ck_rc(store_get(s, &call, "dir/big", &put.version, 0, 0,
	    help_src_check, &k, NULL), STORE_OK);
	ck_assert(!k.wrong && k.off == size);
	k = (struct help_check){ .off = size / 2 };
	ck_rc(store_get(s, &call, "dir/big", &put.version, size / 2, 12345,
	    help_src_check, &k, NULL), STORE_OK);
	ck_assert(!k.wrong && k.off == size / 2 + 12345);
	ck_assert_msg(store_copy(s, &call, "dir/big", &put.version, "dir/copy",
	    &copied) == STORE_OK, "%s", why.text);
	k = (struct help_check){ 0 };
	ck_rc(store_get(s, &call, "dir/copy", &copied.version, 0, 0,
	    help_src_check, &k, NULL), STORE_OK);
	ck_assert(!k.wrong && k.off == size);
	/* Nothing of the parts is left or seen. */
	have = help_list(s, "", 0, NULL, 0, NULL);
	ck_assert_str_eq(have, "dir/big\ndir/copy\n");
	free(have);
	/* By version: put, copy, delete. */
	stale = put.version;
	ck_rc(store_put(s, &call, "dir/big", STORE_IF_MATCH, &stale, &src,
	    &put), STORE_OK);
	ck_rc(store_put(s, &call, "dir/big", STORE_IF_MATCH, &stale, &src,
	    NULL), STORE_CHANGED);
	ck_rc(store_copy(s, &call, "dir/big", &stale, "dir/copy", NULL),
	    STORE_CHANGED);
	ck_rc(store_get(s, &call, "dir/big", &stale, 0, 0, help_src_check, &k,
	    NULL), STORE_CHANGED);
	ck_rc(store_del(s, &call, "dir/big", &stale), STORE_CHANGED);
	ck_rc(store_head(s, &call, "dir/big", &listed), STORE_OK);
	ck_assert_str_eq(listed.version.text, put.version.text);
	ck_rc(store_del(s, &call, "dir/big", &put.version), STORE_OK);
	ck_rc(store_del(s, &call, "dir/copy", NULL), STORE_OK);
	store_free(s);
}

START_TEST(by_session)
{
	const struct gcs_sizes sizes = { .single = 1 << 20,
	    .rewrite = 4 << 20 };

	begin("off", &sizes);
	round_trip((20u << 20) + 12345);
}
END_TEST

START_TEST(by_parts)
{
	const struct gcs_sizes sizes = { .single = 1 << 20,
	    .compose = 4 << 20, .part = 2 << 20 };

	begin("on", &sizes);
	round_trip((20u << 20) + 12345);
}
END_TEST

/* More than 32 parts of the least size: they are made larger. */
START_TEST(by_most_parts)
{
	const struct gcs_sizes sizes = { .compose = 1 << 20,
	    .part = 128 << 10 };

	begin("auto", &sizes);
	round_trip((8u << 20) + 1);
}
END_TEST

START_TEST(many_pages)
{
	char key[32], *have, *flat;
	unsigned pages;
	int i;

	begin("off", NULL);
	for (i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "d%d/f%03d", i % 3, i);
		ck_rc(help_put(s, key, STORE_ALWAYS, NULL, "x", NULL),
		    STORE_OK);
	}
	flat = help_list(s, "", 0, NULL, 0, NULL);
	have = help_list(s, "", 0, NULL, 7, &pages);
	ck_assert_str_eq(have, flat);
	ck_assert_uint_ge(pages, 43);
	free(have);
	have = help_list(s, "", '/', NULL, 1, NULL);
	ck_assert_str_eq(have, "*d0/\n*d1/\n*d2/\n");
	free(have);
	free(flat);
	store_free(s);
}
END_TEST

START_TEST(no_bucket)
{
	struct store_list l = { .prefix = "" };
	struct url u;

	sys_init();
	ck_assert_int_eq(url_parse(getenv("GNSFS_TEST_GS"), &u, NULL), 0);
	memcpy(u.bucket, "none", 4);
	ck_assert_int_eq(gcs_open(&u, NULL, &s, &why), 0);
	why.text[0] = '\0';
	ck_rc(store_list(s, &call, &l, help_each, NULL), STORE_ABSENT);
	ck_assert_msg(strstr(why.text, "there is no such bucket") != NULL,
	    "%s", why.text);
	why.text[0] = '\0';
	ck_rc(store_put_mem(s, &call, "k", STORE_IF_ABSENT, NULL, "x", 1,
	    NULL), STORE_ABSENT);
	ck_assert_msg(strstr(why.text, "there is no such bucket") != NULL,
	    "%s", why.text);
	store_free(s);
	url_done(&u);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("gcs_live");
	TCase *t = tcase_create("live");

	tcase_set_timeout(t, 300);
	if (getenv("GNSFS_TEST_GS") != NULL) {
		tcase_add_test(t, by_session);
		tcase_add_test(t, by_parts);
		tcase_add_test(t, by_most_parts);
		tcase_add_test(t, many_pages);
		tcase_add_test(t, no_bucket);
	}
	suite_add_tcase(suite, t);
	return help_run(suite);
}

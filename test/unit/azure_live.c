/*
 * azure_live: the Azure backend against a server of its protocol, where
 * conformance does not reach: what other programs leave in a container.
 * GNSFS_TEST_AZ is a URL as conformance takes it; without it nothing is run.
 */
#include "backends/azure.h"
#include "test/unit/store_help.h"

static struct store *s;
static struct why why;
static struct store_call call = { .why = &why };

static void
begin(void)
{
	const char *env = getenv("GNSFS_TEST_AZ"), *query;
	char text[URL_MAX];

	sys_init();
	query = strchrnul(env, '?');
	snprintf(text, sizeof(text), "%.*s/%016llx%s", (int)(query - env),
	    env, (unsigned long long)random_u64(), query);
	s = help_open(text, true, NULL);
}

static void
end(void)
{
	store_free(s);
}

/* An empty blob that blobfuse and Hadoop make for a folder. */
static void
make_folder(const char *key)
{
	struct azure_req r = { .method = "PUT", .op = "PUT", .key = key };

	http_headers_add(&r.headers, "x-ms-blob-type", "BlockBlob");
	http_headers_add(&r.headers, "x-ms-meta-hdi_isfolder", "true");
	ck_assert_msg(azure_do((struct azure *)s, &call, &r) == STORE_OK, "%s",
	    why.text);
	azure_req_done(&r);
}

/* A folder is no object, however it is asked for. */
START_TEST(folders_of_others)
{
	struct store_info info;
	char *have;

	make_folder("dir");
	make_folder("dir/sub");
	make_folder("empty");
	ck_rc(help_put(s, "dir/a", STORE_ALWAYS, NULL, "x", NULL), STORE_OK);
	ck_rc(help_put(s, "dir/sub/b", STORE_ALWAYS, NULL, "y", NULL),
	    STORE_OK);
	have = help_list(s, "", 0, NULL, 2, NULL);
	ck_assert_str_eq(have, "dir/a\ndir/sub/b\n");
	free(have);
	have = help_list(s, "", '/', NULL, 0, NULL);
	ck_assert_str_eq(have, "*dir/\n");
	free(have);
	have = help_list(s, "dir/", '/', NULL, 0, NULL);
	ck_assert_str_eq(have, "dir/a\n*dir/sub/\n");
	free(have);
	ck_rc(store_head(s, &call, "dir", &info), STORE_ABSENT);
	help_is(s, "dir/a", "x");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("azure_live");
	TCase *t = tcase_create("a real server");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, begin, end);
	if (getenv("GNSFS_TEST_AZ") != NULL)
		tcase_add_test(t, folders_of_others);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

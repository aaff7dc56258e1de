/* url: what a person may type, and what is refused with which words. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/url.h"

/* text, scheme, account, bucket, prefix, canonical */
static const struct {
	const char	*text;
	enum url_scheme	 scheme;
	const char	*account, *bucket, *prefix, *canonical;
} good[] = {
	{ "s3://lake", URL_S3, NULL, "lake", "", "s3://lake" },
	{ "s3://lake/", URL_S3, NULL, "lake", "", "s3://lake" },
	{ "s3://lake?", URL_S3, NULL, "lake", "", "s3://lake" },
	{ "S3://lake//a/b c/%20#x//", URL_S3, NULL, "lake", "a/b c/%20#x",
	    "s3://lake/a/b c/%20#x" },
	{ "s3://b/p?region=us-east-1&endpoint=HTTP%3a//LocalHost:9000/",
	    URL_S3, NULL, "b", "p",
	    "s3://b/p?endpoint=http://localhost:9000&region=us-east-1" },
	{ "s3://b/p?&profile=a%26b%25&", URL_S3, NULL, "b", "p",
	    "s3://b/p?profile=a%26b%25" },
	{ "gs://bu_c.ket/x", URL_GS, NULL, "bu_c.ket", "x",
	    "gs://bu_c.ket/x" },
	{ "az://acc/con", URL_AZ, "acc", "con", "", "az://acc/con" },
	{ "az://acc/$root/x/y/", URL_AZ, "acc", "$root", "x/y",
	    "az://acc/$root/x/y" },
	{ "file:///", URL_FILE, NULL, NULL, "/", "file:///" },
	{ "file:////srv//data/", URL_FILE, NULL, NULL, "/srv/data",
	    "file:///srv/data" },
	{ "file:///srv/.hidden/..x", URL_FILE, NULL, NULL,
	    "/srv/.hidden/..x", "file:///srv/.hidden/..x" },
};

/* text, what the sentence must contain */
static const struct { const char *text, *says; } bad[] = {
	{ "", "no URL" },
	{ "lake/prefix", "no URL" },
	{ "/srv/data", "no URL" },
	{ "http://host/x", "not with 'http://'" },
	{ "s3://", "names no bucket" },
	{ "s3:///x", "names no bucket" },
	{ "s3://../x", "no name of a bucket" },
	{ "s3://host:9000/x", "endpoint=" },
	{ "s3://b ucket/x", "' '" },
	{ "s3://AKIA:hunter2@b/x", "no credentials" },
	{ "s3://b/a//b", "'//'" },
	{ "s3://b/a/../b", "'..'" },
	{ "s3://b/./b", "'.'" },
	{ "s3://b/a\nb", "control" },
	{ "s3://b?region", "region=VALUE" },
	{ "s3://b?region=a&region=b", "twice" },
	{ "s3://b?=x", "names no setting" },
	{ "s3://b?region=%4", "%25" },
	{ "s3://b?region=%zz", "%25" },
	{ "s3://b?region=%00", "control" },
	{ "s3://b?region=%0a", "control" },
	{ "s3://b?key=hunter2", "no credentials" },
	{ "s3://b?Secret=hunter2", "no credentials" },
	{ "s3://b?aws_secret_access_key=hunter2", "no credentials" },
	{ "s3://b?X-Amz-Security-Token=hunter2", "no credentials" },
	{ "s3://b?token=hunter2", "no credentials" },
	{ "az://a/c?sig=hunter2", "no credentials" },
	{ "az://a/c?sas=hunter2", "no credentials" },
	{ "az://a/c?password=hunter2", "no credentials" },
	{ "s3://b?endpoint=http://u:hunter2@h", "no credentials" },
	{ "s3://b?endpoint=http://h/%3fsig=hunter2", "'?'" },
	{ "s3://b?endpoint=127.0.0.1:9000", "no http://" },
	{ "s3://b?endpoint=https:///x", "no host" },
	{ "az://account", "names no container" },
	{ "az://account/", "names no container" },
	{ "file://srv/data", "file:///DIR" },
	{ "file://", "file:///DIR" },
	{ "file:///srv/../etc", "'..'" },
	{ "s3://b?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1&l=1&m=1&n=1&o=1"
	    "&p=1&q=1", "more than 16" },
};

START_TEST(takes)
{
	struct why why = { "" };
	struct url u, v;
	char *text, *again;

	ck_assert_msg(url_parse(good[_i].text, &u, &why) == 0, "%s",
	    why.text);
	ck_assert_int_eq(u.scheme, good[_i].scheme);
	ck_assert_pstr_eq(u.account, good[_i].account);
	ck_assert_pstr_eq(u.bucket, good[_i].bucket);
	ck_assert_str_eq(u.prefix, good[_i].prefix);
	ck_assert_str_eq(u.text, good[_i].text);
	text = url_canonical(&u);
	ck_assert_str_eq(text, good[_i].canonical);
	ck_assert_int_eq(url_parse(text, &v, NULL), 0);
	again = url_canonical(&v);
	ck_assert_str_eq(again, text);
	free(again);
	free(text);
	url_done(&v);
	url_done(&u);
	url_done(NULL);
}
END_TEST

START_TEST(refuses)
{
	struct why why = { "" };
	struct url u = { .nsettings = 77 };

	ck_assert_int_eq(url_parse(bad[_i].text, &u, &why), -EINVAL);
	ck_assert_msg(strstr(why.text, bad[_i].says) != NULL, "%s: %s",
	    bad[_i].text, why.text);
	ck_assert_ptr_null(strstr(why.text, "hunter2"));
	ck_assert_uint_eq(u.nsettings, 77);
	ck_assert_int_eq(url_parse(bad[_i].text, &u, NULL), -EINVAL);
}
END_TEST

START_TEST(settings)
{
	struct url u;
	char big[URL_MAX + 20];

	ck_assert_int_eq(url_parse("s3://b?z=1&a=%41+b&m=", &u, NULL), 0);
	ck_assert_uint_eq(u.nsettings, 3);
	ck_assert_str_eq(u.settings[0].key, "a");
	ck_assert_str_eq(u.settings[2].key, "z");
	ck_assert_str_eq(url_setting(&u, "a"), "A+b");
	ck_assert_str_eq(url_setting(&u, "m"), "");
	ck_assert_ptr_null(url_setting(&u, "absent"));
	url_done(&u);
	memset(big, 'x', sizeof(big));
	memcpy(big, "s3://b/", 7);
	big[sizeof(big) - 1] = '\0';
	ck_assert_int_eq(url_parse(big, &u, NULL), -EINVAL);
	big[URL_MAX] = '\0';
	ck_assert_int_eq(url_parse(big, &u, NULL), 0);
	url_done(&u);
}
END_TEST

START_TEST(covers)
{
	static const struct { const char *outer, *inner, *rest; } t[] = {
		{ "s3://b", "s3://b/x/y", "x/y" },
		{ "s3://b/x", "s3://b/x/y", "y" },
		{ "s3://b/x", "s3://b/x/", "" },
		{ "s3://b/x", "s3://b/xy", NULL },
		{ "s3://b/x/y", "s3://b/x", NULL },
		{ "s3://b", "gs://b", NULL },
		{ "s3://b", "s3://c", NULL },
		{ "az://a/c", "az://b/c/x", NULL },
		{ "s3://b?endpoint=http://h:1", "s3://b/x", NULL },
		{ "s3://b?endpoint=http://h:1&region=a",
		    "s3://b/x?endpoint=HTTP://H:1/", "x" },
		{ "s3://b?endpoint=http://h/A", "s3://b/x?endpoint=http://h/a",
		    NULL },
		{ "file:///", "file:///srv", "srv" },
		{ "file:///srv", "file:///srv/a/b", "a/b" },
		{ "file:///srv", "file:///srv2", NULL },
	};
	const char *rest;
	struct url a, b;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		rest = NULL;
		ck_assert_int_eq(url_parse(t[i].outer, &a, NULL), 0);
		ck_assert_int_eq(url_parse(t[i].inner, &b, NULL), 0);
		ck_assert_int_eq(url_covers(&a, &b, &rest), t[i].rest != NULL);
		ck_assert_pstr_eq(rest, t[i].rest);
		url_done(&a);
		url_done(&b);
	}
}
END_TEST

START_TEST(encode)
{
	char *s = url_encode("a/b c+\xc3\xa4~", 1);

	ck_assert_str_eq(s, "a/b%20c%2B%C3%A4~");
	free(s);
	s = url_encode("a/b", 0);
	ck_assert_str_eq(s, "a%2Fb");
	free(s);
}
END_TEST

static const struct { const char *url; bool is; } hosts[] = {
	{ "http://127.0.0.1:9000", true },
	{ "127.0.0.1", true },
	{ "127.8.9.10:80/x", true },
	{ "https://localhost/", true },
	{ "LocalHost:7", true },
	{ "a.localhost:90", true },
	{ "http://[::1]:9000/a", true },
	{ "[::1]", true },
	{ "http://127.evil.example", false },
	{ "127.0.0.1.evil.example", false },
	{ "http://localhost.evil.example", false },
	{ "notlocalhost:90", false },
	{ "http://localhost@evil.example", false },
	{ "http://127.0.0.1:80@evil.example/", false },
	{ "http://evil.example/http://localhost", false },
	{ "http://evil.example?x=localhost", false },
	{ "http://[::1].evil.example", false },
	{ "http://[::2]", false },
	{ "http://[::1", false },
	{ "http://", false },
	{ "", false },
	{ "169.254.169.254", false },
};

START_TEST(loopback)
{
	ck_assert_msg(url_is_loopback(hosts[_i].url) == hosts[_i].is, "%s",
	    hosts[_i].url);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_url");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_loop_test(t, takes, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(t, refuses, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, settings);
	tcase_add_test(t, covers);
	tcase_add_test(t, encode);
	tcase_add_loop_test(t, loopback, 0, sizeof(hosts) / sizeof(hosts[0]));
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

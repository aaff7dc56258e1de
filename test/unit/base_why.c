/* Sentences: the first stays, they are cut where they are too long, and are
 * one line of UTF-8 whatever went into them. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "base/why.h"

START_TEST(first_stays)
{
	struct why w = { "" };

	ck_assert_int_eq(why_set(&w, -EIO, "%s", "one"), -EIO);
	ck_assert_int_eq(why_set(&w, -ENOENT, "two"), -ENOENT);
	ck_assert_str_eq(w.text, "one");
	ck_assert_int_eq(why_prefix(&w, -EIO, "at %d", 7), -EIO);
	ck_assert_str_eq(w.text, "at 7: one");
	ck_assert_int_eq(why_set(NULL, -EIO, "x"), -EIO);
	ck_assert_str_eq(why_text(&(struct why){ "" }, -ENOENT),
	    strerror(ENOENT));
}
END_TEST

static const struct { const char *in, *out; } texts[] = {
	{ "a\nb\tc\x7f", "a b c " },
	{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac"
	    "\xf0\x9f\x98\x80" },
	{ "\xe9t\xe9", "?t?" },			/* Latin-1 */
	{ "\xc0\xaf", "??" },			/* two bytes for a slash */
	{ "\xe0\x80\xaf", "???" },
	{ "\xed\xa0\x80", "???" },		/* half of a pair */
	{ "\xf4\x90\x80\x80", "????" },		/* beyond the last one */
	{ "\xf5\x80\x80\x80", "????" },
	{ "a\xe2\x82", "a??" },			/* cut off */
	{ "\xe2\xc3\xa9", "?\xc3\xa9" },
};

START_TEST(is_utf8)
{
	struct why w = { "" };

	why_set(&w, 0, "%s", texts[_i].in);
	ck_assert_str_eq(w.text, texts[_i].out);
}
END_TEST

START_TEST(is_cut)
{
	char name[2000];
	struct why w = { "" }, v = { "" };

	memset(name, 'x', sizeof(name));
	for (size_t i = 1; i + 1 < sizeof(name) - 1; i += 2)
		memcpy(name + i, "\xc3\xa9", 2);
	name[sizeof(name) - 1] = '\0';
	why_set(&w, 0, "%s", name);
	ck_assert_uint_eq(strlen(w.text), sizeof(w.text) - 1);
	ck_assert_int_eq(w.text[sizeof(w.text) - 2], '\xa9');
	why_set(&v, 0, "y%s", name);
	ck_assert_int_eq(v.text[sizeof(v.text) - 2], '?');
	/* a place put before it cuts more off */
	why_prefix(&w, 0, "z");
	ck_assert_uint_eq(strlen(w.text), sizeof(w.text) - 1);
	ck_assert_int_eq(strncmp(w.text, "z: x\xc3\xa9", 6), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("why");
	TCase *t = tcase_create("why");
	SRunner *r;
	int failed;

	tcase_add_test(t, first_stays);
	tcase_add_loop_test(t, is_utf8, 0, sizeof(texts) / sizeof(texts[0]));
	tcase_add_test(t, is_cut);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* why and buf: sentences, bytes, and readers of hostile bytes. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/why.h"

START_TEST(why_first_stays)
{
	struct why w = { "" };

	ck_assert_str_eq(why_text(NULL, -ENOENT), strerror(ENOENT));
	ck_assert_str_eq(why_text(&w, -ENOENT), strerror(ENOENT));
	ck_assert_int_eq(why_set(NULL, -EIO, "x"), -EIO);
	ck_assert_int_eq(why_prefix(NULL, -EIO, "x"), -EIO);
	ck_assert_int_eq(why_set(&w, -EINVAL, "a\nb %d", 7), -EINVAL);
	ck_assert_int_eq(why_set(&w, -EIO, "later"), -EIO);
	ck_assert_str_eq(why_text(&w, -EINVAL), "a b 7");
	ck_assert_int_eq(why_prefix(&w, -EIO, "store '%s'", "s"), -EIO);
	ck_assert_str_eq(w.text, "store 's': a b 7");
	w.text[0] = '\0';
	why_prefix(&w, -EIO, "alone");
	ck_assert_str_eq(w.text, "alone");
}
END_TEST

START_TEST(why_truncates)
{
	struct why w = { "" };
	char big[2000];

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	why_set(&w, -EIO, "%s", big);
	ck_assert_uint_eq(strlen(w.text), sizeof(w.text) - 1);
	why_prefix(&w, -EIO, "p");
	ck_assert_uint_eq(strlen(w.text), sizeof(w.text) - 1);
	ck_assert_int_eq(memcmp(w.text, "p: xxx", 6), 0);
	why_prefix(&w, -EIO, "%s", big);
	ck_assert_uint_eq(strlen(w.text), sizeof(w.text) - 1);
}
END_TEST

START_TEST(buf_round_trip)
{
	static const uint64_t u[] = { 0, 1, 127, 128, 16383, 16384,
	    UINT32_MAX, INT64_MAX, UINT64_MAX };
	static const int64_t s[] = { 0, -1, 1, -64, 64, INT64_MIN, INT64_MAX };
	struct buf b = BUF_INIT;
	struct cur c;
	size_t n;
	const void *p;

	for (size_t i = 0; i < 9; i++)
		buf_put_varint(&b, u[i]);
	for (size_t i = 0; i < 7; i++)
		buf_put_svarint(&b, s[i]);
	buf_put_u8(&b, 0xab);
	buf_put_u32(&b, 0x01020304);
	buf_put_u64(&b, 0x0102030405060708);
	buf_put_str(&b, "name");
	buf_put_bytes(&b, NULL, 0);
	ck_assert_int_eq(buf_err(&b), 0);
	cur_init(&c, b.p, b.len);
	for (size_t i = 0; i < 9; i++)
		ck_assert_uint_eq(cur_varint(&c), u[i]);
	for (size_t i = 0; i < 7; i++)
		ck_assert_int_eq(cur_svarint(&c), s[i]);
	ck_assert_uint_eq(cur_u8(&c), 0xab);
	ck_assert_uint_eq(*c.p, 4);	/* little-endian */
	ck_assert_uint_eq(cur_u32(&c), 0x01020304);
	ck_assert_uint_eq(cur_u64(&c), 0x0102030405060708);
	p = cur_bytes(&c, 4, &n);
	ck_assert_uint_eq(n, 4);
	ck_assert_int_eq(memcmp(p, "name", 4), 0);
	p = cur_bytes(&c, 4, &n);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(n, 0);
	ck_assert(cur_at_end(&c));
	ck_assert_int_eq(cur_err(&c), 0);
	buf_done(&b);
}
END_TEST

START_TEST(buf_text)
{
	struct buf b = BUF_INIT;
	size_t n;
	char *p;

	ck_assert_str_eq(buf_cstr(&b), "");
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	buf_puts(&b, "end");
	ck_assert_uint_eq(strlen(buf_cstr(&b)), b.len);
	ck_assert_str_eq(buf_cstr(&b) + b.len - 7, "999,end");
	p = buf_take(&b, &n);
	ck_assert_uint_eq(n, strlen(p));
	ck_assert_ptr_null(b.p);
	free(p);
	p = buf_take(&b, NULL);		/* empty, and not NULL */
	ck_assert_str_eq(p, "");
	free(p);
	buf_done(&b);
	buf_done(NULL);
}
END_TEST

START_TEST(buf_maximum_is_sticky)
{
	struct buf b = { .max = 10 };

	buf_put(&b, "0123456789", 10);
	ck_assert_int_eq(buf_err(&b), 0);
	ck_assert_str_eq(buf_cstr(&b), "0123456789");
	buf_put_u8(&b, 1);
	ck_assert_int_eq(buf_err(&b), -EFBIG);
	ck_assert_ptr_null(buf_grow(&b, 0));
	ck_assert_str_eq(buf_cstr(&b), "");
	buf_puts(&b, "more");
	buf_printf(&b, "more");
	ck_assert_uint_eq(b.len, 10);
	buf_reset(&b);
	buf_puts(&b, "again");
	ck_assert_str_eq(buf_cstr(&b), "again");
	ck_assert_ptr_null(buf_grow(&b, SIZE_MAX));
	ck_assert_ptr_null(buf_take(&b, NULL));
	ck_assert_ptr_null(b.p);
}
END_TEST

START_TEST(cur_refuses)
{
	static const struct { const char *p; size_t n; } bad[] = {
		{ "", 0 },
		{ "\x80", 1 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 },
		{ "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11 },
		{ "\x80\x00", 2 },		/* not the shortest */
	};
	struct cur c;
	size_t n = 9;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cur_init(&c, bad[i].p, bad[i].n);
		ck_assert_uint_eq(cur_varint(&c), 0);
		ck_assert_int_eq(cur_err(&c), -EBADMSG);
		ck_assert(cur_at_end(&c));
		ck_assert_uint_eq(cur_left(&c), 0);
	}
	cur_init(&c, "\x05" "abcd", 5);		/* one byte short */
	ck_assert_ptr_null(cur_bytes(&c, 100, &n));
	ck_assert_uint_eq(n, 0);
	cur_init(&c, "\x05" "abcde", 6);	/* over what is wanted */
	ck_assert_ptr_null(cur_bytes(&c, 4, &n));
	ck_assert_int_eq(cur_err(&c), -EBADMSG);
	cur_init(&c, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
	ck_assert_ptr_null(cur_bytes(&c, SIZE_MAX, &n));
	cur_init(&c, "abc", 3);
	ck_assert_uint_eq(cur_u32(&c), 0);
	ck_assert_uint_eq(cur_u8(&c), 0);
	ck_assert_int_eq(cur_err(&c), -EBADMSG);
	cur_init(&c, NULL, 0);
	ck_assert(cur_at_end(&c));
	ck_assert_int_eq(cur_err(&c), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_buf");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_test(t, why_first_stays);
	tcase_add_test(t, why_truncates);
	tcase_add_test(t, buf_round_trip);
	tcase_add_test(t, buf_text);
	tcase_add_test(t, buf_maximum_is_sticky);
	tcase_add_test(t, cur_refuses);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* hash, compress, counters: known vectors and hostile frames. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compress.h"
#include "base/counters.h"
#include "base/hash.h"

static void
is_hex(const uint8_t *sum, const char *hex)
{
	char text[SHA256_HEX];

	hex_encode(sum, SHA256_LEN, text);
	ck_assert_str_eq(text, hex);
}

START_TEST(sha256_vectors)
{
	uint8_t sum[SHA256_LEN];
	struct sha256_ctx *c = sha256_new();

	sha256("", 0, sum);
	is_hex(sum, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b"
	    "7852b855");
	sha256_add(c, "a", 1);
	sha256_add(c, "bc", 2);
	sha256_final(c, sum);
	is_hex(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
	    "f20015ad");
	sha256_final(NULL, sum);
}
END_TEST

/* RFC 4231, cases 1, 2 and 6. */
START_TEST(hmac_vectors)
{
	uint8_t key[131], sum[SHA256_LEN];
	const char *long_key =
	    "Test Using Larger Than Block-Size Key - Hash Key First";

	memset(key, 0x0b, 20);
	hmac_sha256(key, 20, "Hi There", 8, sum);
	is_hex(sum, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c"
	    "2e32cff7");
	hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, sum);
	is_hex(sum, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b9"
	    "64ec3843");
	memset(key, 0xaa, 131);
	hmac_sha256(key, 131, long_key, strlen(long_key), sum);
	is_hex(sum, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f"
	    "0ee37f54");
}
END_TEST

START_TEST(crc32c_agrees)
{
	size_t max = 70000;
	uint8_t *p = malloc(max);

	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
	ck_assert_uint_eq(crc32c_portable(0, "123456789", 9), 0xe3069283);
	ck_assert_uint_eq(crc32c(0, "", 0), 0);
	random_bytes(p, max);
	for (size_t n = 0; n < max; n += 1 + n / 3) {
		size_t off = n % 9, cut = n / 7;
		uint32_t want = crc32c_portable(0, p + off, n - off % (n + 1));
		size_t len = n - off % (n + 1);

		ck_assert_uint_eq(crc32c(0, p + off, len), want);
		if (cut > len)
			continue;
		ck_assert_uint_eq(crc32c_join(crc32c(0, p + off, cut),
		    crc32c(0, p + off + cut, len - cut), len - cut), want);
		ck_assert_uint_eq(crc32c(crc32c(0, p + off, cut),
		    p + off + cut, len - cut), want);
	}
	free(p);
}
END_TEST

START_TEST(hex_both_ways)
{
	uint8_t out[4];
	char text[9];

	ck_assert_int_eq(hex_decode("00fFaB10", 8, out), 0);
	hex_encode(out, 4, text);
	ck_assert_str_eq(text, "00ffab10");
	ck_assert_int_eq(hex_decode("0", 1, out), -EINVAL);
	ck_assert_int_eq(hex_decode("0g", 2, out), -EINVAL);
	ck_assert_int_eq(hex_decode("", 0, out), 0);
	ck_assert_uint_ne(random_u64(), random_u64());
}
END_TEST

/* L14: the values are part of the format. */
START_TEST(name_hash_is_fixed)
{
	uint8_t sum[SHA256_LEN];
	uint64_t want = 0;

	sha256("gnsfs dentry\0file.txt", 21, sum);
	for (int i = 0; i < 8; i++)
		want |= (uint64_t)sum[i] << (8 * i);
	want &= UINT64_MAX >> 2;
	ck_assert_uint_eq(name_hash("file.txt", 8), want);
	ck_assert_uint_eq(name_hash("file.txt", 8),
	    UINT64_C(207183448490967759));
	for (int i = 0; i < 1000; i++) {
		uint64_t h = name_hash(&i, sizeof(i));

		ck_assert(h >= 16 && h >> 62 == 0);
	}
}
END_TEST

START_TEST(frames)
{
	struct buf z = BUF_INIT, out = BUF_INIT;
	size_t n = 100000;
	char *p = calloc(1, n);

	buf_puts(&z, "head");
	ck_assert_int_eq(compress_frame(p, n, 3, &z), 0);
	ck_assert_uint_lt(z.len, 1000);
	buf_puts(&out, "kept");
	ck_assert_int_eq(decompress_frame(z.p + 4, z.len - 4, n, &out), 0);
	ck_assert_uint_eq(out.len, n + 4);
	ck_assert_int_eq(memcmp(out.p, "kept", 4), 0);
	ck_assert_int_eq(memcmp(out.p + 4, p, n), 0);
	ck_assert_int_eq(decompress_frame(z.p + 4, z.len - 4, n - 1, &out),
	    -EFBIG);
	ck_assert_int_eq(decompress_frame(z.p + 4, z.len - 5, n, &out),
	    -EBADMSG);
	buf_put_u8(&z, 0);
	ck_assert_int_eq(decompress_frame(z.p + 4, z.len - 4, n, &out),
	    -EBADMSG);
	ck_assert_int_eq(decompress_frame(z.p, z.len, n, &out), -EBADMSG);
	ck_assert_int_eq(decompress_frame("", 0, n, &out), -EBADMSG);
	/* a skippable frame is no frame of ours */
	ck_assert_int_eq(decompress_frame("\x50\x2a\x4d\x18\0\0\0\0", 8, n,
	    &out), -EBADMSG);
	ck_assert_int_eq(buf_err(&out), 0);
	ck_assert_uint_eq(out.len, n + 4);
	buf_done(&z);
	ck_assert_int_eq(compress_frame("", 0, 3, &z), 0);
	buf_reset(&out);
	ck_assert_int_eq(decompress_frame(z.p, z.len, 0, &out), 0);
	ck_assert_uint_eq(out.len, 0);
	buf_done(&z);
	z.max = 100;
	random_bytes(p, n);
	ck_assert_int_eq(compress_frame(p, n, 3, &z), -EFBIG);
	ck_assert_int_eq(buf_err(&z), -EFBIG);
	buf_done(&z);
	buf_done(&out);
	free(p);
}
END_TEST

START_TEST(counters_table)
{
	ck_assert_str_eq(counter_descs[C_store_requests].name,
	    "store_requests");
	ck_assert_int_eq(counter_descs[C_bytes_dirty].kind, GAUGE);
	counter_add(bytes_dirty, 5);
	counter_add(bytes_dirty, -2);
	ck_assert_int_eq(counter_get(bytes_dirty), 3);
	counter_set(bytes_dirty, 9);
	ck_assert_int_eq(counter_get(bytes_dirty), 9);
	for (int i = 0; i < C_COUNT; i++)
		ck_assert(counter_descs[i].name && counter_descs[i].unit &&
		    counter_descs[i].meaning);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_hash");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_test(t, sha256_vectors);
	tcase_add_test(t, hmac_vectors);
	tcase_add_test(t, crc32c_agrees);
	tcase_add_test(t, hex_both_ways);
	tcase_add_test(t, name_hash_is_fixed);
	tcase_add_test(t, frames);
	tcase_add_test(t, counters_table);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

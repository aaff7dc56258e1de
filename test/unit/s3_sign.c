/* s3_sign: Signature V4 against the examples that AWS publishes ("Examples:
 * Signature Calculations in AWS Signature Version 4", Amazon S3), S3's other
 * sums, and dates. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/s3.h"
#include "backends/sigv4.h"
#include "base/clock.h"
#include "base/hash.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct {
	const char *method, *path, *query, *payload;
	const char *headers[2][2];
	const char *signature;
} examples[] = {
	{ "GET", "/test.txt", "", "", { { "range", "bytes=0-9" } },
	    "f0e8bdb87c964420e857bd35b5d6ed31"
	    "0bd44f0170aba48dd91039c6036bdb41" },
	{ "PUT", "/test%24file.text", "", "Welcome to Amazon S3.",
	    { { "date", "Fri, 24 May 2013 00:00:00 GMT" },
	    { "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
	    "98ad721746da40c64f1a55b78f14c238"
	    "d841ea1380cd77a1b5971af0ece108bd" },
	{ "GET", "/", "lifecycle=", "", { { NULL } },
	    "fea454ca298b7da1c68078a5d1bdbfbb"
	    "e0d65c699e0f91ac7a200a0136783543" },
	{ "GET", "/", "max-keys=2&prefix=J", "", { { NULL } },
	    "34b48302e7b5fa45bde8084f4b7868a8"
	    "6f0a534bc59db6670ed5711ef69dc6f7" },
};

static const char *
find(const struct http_headers *h, const char *name)
{
	unsigned i;

	for (i = 0; i < h->n; i++) {
		if (strcmp(h->h[i].name, name) == 0)
			return h->h[i].value;
	}
	return NULL;
}

START_TEST(published_examples)
{
	struct sigv4 k = { .id = "AKIAIOSFODNN7EXAMPLE",
	    .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	    .region = "us-east-1", .service = "s3",
	    .now = INT64_C(1369353600) * NSEC_PER_SEC };
	struct http_headers h = { 0 };
	uint8_t sum[SHA256_LEN];
	char hex[SHA256_HEX];
	const char *auth;
	int i;

	for (i = 0; i < 2 && examples[_i].headers[i][0] != NULL; i++)
		http_headers_add(&h, examples[_i].headers[i][0], "%s",
		    examples[_i].headers[i][1]);
	sha256(examples[_i].payload, strlen(examples[_i].payload), sum);
	hex_encode(sum, sizeof(sum), hex);
	ck_assert_int_eq(sigv4_sign(&k, examples[_i].method,
	    "examplebucket.s3.amazonaws.com", examples[_i].path,
	    examples[_i].query, hex, &h), 0);
	ck_assert_str_eq(find(&h, "x-amz-date"), "20130524T000000Z");
	auth = find(&h, "authorization");
	ck_assert_ptr_nonnull(auth);
	ck_assert_msg(strstr(auth, examples[_i].signature) != NULL, "%s", auth);
	http_headers_done(&h);
}
END_TEST

START_TEST(token_is_signed)
{
	struct sigv4 k = { .id = "A", .secret = "S", .token = "T0KEN",
	    .region = "r", .service = "s3", .now = NSEC_PER_SEC };
	struct http_headers h = { 0 };

	ck_assert_int_eq(sigv4_sign(&k, "GET", "h", "/", "", EMPTY, &h), 0);
	ck_assert_str_eq(find(&h, "x-amz-security-token"), "T0KEN");
	ck_assert_ptr_nonnull(strstr(find(&h, "authorization"),
	    "SignedHeaders=host;x-amz-content-sha256;x-amz-date;"
	    "x-amz-security-token,"));
	http_headers_done(&h);
	/* A token with a line break would be a header of its own. */
	k.token = "a\r\nx-evil: 1";
	ck_assert_int_eq(sigv4_sign(&k, "GET", "h", "/", "", EMPTY, &h),
	    -EINVAL);
	http_headers_done(&h);
}
END_TEST

/* "Authenticating Requests: Using Query Parameters", its example. */
START_TEST(presigned)
{
	struct sigv4 k = { .id = "AKIAIOSFODNN7EXAMPLE",
	    .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	    .region = "us-east-1", .service = "s3",
	    .now = INT64_C(1369353600) * NSEC_PER_SEC };
	struct buf b = BUF_INIT;

	ck_assert_int_eq(sigv4_presign(&k, "examplebucket.s3.amazonaws.com",
	    "/test.txt", 86400, &b), 0);
	ck_assert_str_eq(buf_cstr(&b), "X-Amz-Algorithm=AWS4-HMAC-SHA256"
	    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2F"
	    "s3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
	    "&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109"
	    "b86d86835f995330da4c265957d157751f604d404");
	buf_done(&b);
}
END_TEST

START_TEST(encoding)
{
	struct buf b = BUF_INIT;

	sigv4_encode(&b, "a/b c+d~\xff%*'\x01", 1);
	ck_assert_str_eq(buf_cstr(&b), "a/b%20c%2Bd~%FF%25%2A%27%01");
	buf_reset(&b);
	sigv4_encode(&b, "a/b", 0);
	ck_assert_str_eq(buf_cstr(&b), "a%2Fb");
	buf_done(&b);
}
END_TEST

START_TEST(sums)
{
	const char *parts[] = { "\"d41d8cd98f00b204e9800998ecf8427e\"",
	    "d41d8cd98f00b204e9800998ecf8427e" };
	const char *odd[] = { "\"d41d8cd98f00b204e9800998ecf8427e-1\"" };
	char crc[9], etag[SIGV4_ETAG_LEN];

	sigv4_crc_base64(crc32c(0, "123456789", 9), crc); /* e3069283 */
	ck_assert_str_eq(crc, "4waSgw==");
	ck_assert_int_eq(sigv4_parts_etag(parts, 2, etag), 0);
	ck_assert_str_eq(etag, "\"5873dd45edd01f09c1ef2e7819369e8e-2\"");
	ck_assert_int_eq(sigv4_parts_etag(odd, 1, etag), -EINVAL);
}
END_TEST

START_TEST(dates)
{
	char s[HTTP_DATE_LEN];

	http_date_format(1369353600, s);
	ck_assert_str_eq(s, "Fri, 24 May 2013 00:00:00 GMT");
	ck_assert_int_eq(http_date_parse(s), 1369353600);
	ck_assert_int_eq(http_date_parse("no date"), -1);
	ck_assert_int_eq(s3_time_parse("2013-05-24T00:00:00.000Z"), 1369353600);
	ck_assert_int_eq(s3_time_parse("2013-05-24"), -1);
	ck_assert_int_eq(s3_time_parse(""), -1);
}
END_TEST

START_TEST(versions)
{
	struct store_info info = { .size = 7, .mtime = 1369353600 *
	    NSEC_PER_SEC };
	struct store_version v;
	struct http_headers h = { 0 };
	char big[400];

	etag_version("\"abc\"", 7, 1, &v);
	ck_assert_str_eq(v.text, "e:\"abc\"");
	etag_version("abc", 7, 1, &v);
	ck_assert_str_eq(v.text, "e:\"abc\"");
	etag_version("W/\"abc\"", 7, 1, &v);	/* cannot be matched on */
	ck_assert_str_eq(v.text, "d:7:1");
	etag_version("\"\"", 7, 1, &v);
	ck_assert_str_eq(v.text, "d:7:1");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	etag_version(big, 7, 1, &v);
	ck_assert_str_eq(v.text, "d:7:1");
	etag_version("", 7, 1369353600, &v);
	etag_version("\"new\"", 7, 1369353600, &info.version);
	ck_assert(etag_is_version(&info, &v));
	info.size = 8;
	ck_assert(!etag_is_version(&info, &v));
	etag_pin(&h, "x-amz-copy-source-", &v);
	ck_assert_str_eq(find(&h, "x-amz-copy-source-if-unmodified-since"),
	    "Fri, 24 May 2013 00:00:01 GMT");
	http_headers_done(&h);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("s3_sign");
	TCase *t = tcase_create("sums and signatures");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, published_examples, 0,
	    sizeof(examples) / sizeof(examples[0]));
	tcase_add_test(t, token_is_signed);
	tcase_add_test(t, presigned);
	tcase_add_test(t, encoding);
	tcase_add_test(t, sums);
	tcase_add_test(t, dates);
	tcase_add_test(t, versions);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

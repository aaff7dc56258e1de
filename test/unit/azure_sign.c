/* azure_sign: strings to sign, signatures, base64, CRC-64. */
#include "backends/crc64.h"
#include "backends/sigkey.h"
#include "test/unit/store_help.h"

/* The text of "Authorize with Shared Key": get container metadata. */
START_TEST(documented_text)
{
	const struct sigkey_param params[] = { { "timeout", "20" },
	    { "Restype", "container" }, { "comp", "metadata" } };
	struct http_headers h = { 0 };
	struct sigkey_req r = { .method = "GET", .path = "/mycontainer",
	    .params = params, .nparams = 3, .headers = &h };
	struct buf b = BUF_INIT;

	http_headers_add(&h, "x-ms-version", "2015-02-21");
	http_headers_add(&h, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT");
	ck_assert_int_eq(sigkey_text("myaccount", &r, &b), 0);
	ck_assert_str_eq(buf_cstr(&b), "GET\n\n\n\n\n\n\n\n\n\n\n\n"
	    "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
	    "x-ms-version:2015-02-21\n/myaccount/mycontainer\n"
	    "comp:metadata\nrestype:container\ntimeout:20");
	buf_done(&b);
	http_headers_done(&h);
}
END_TEST

START_TEST(every_header)
{
	struct http_headers h = { 0 };
	struct sigkey_req r = { .method = "PUT", .path = "/acct/c/a%20b",
	    .body_len = 11, .headers = &h };
	struct buf b = BUF_INIT;

	http_headers_add(&h, "range", "bytes=0-1");
	http_headers_add(&h, "if-unmodified-since", "U");
	http_headers_add(&h, "if-none-match", "*");
	http_headers_add(&h, "if-match", "\"e\"");
	http_headers_add(&h, "if-modified-since", "M");
	http_headers_add(&h, "content-type", "text/plain");
	http_headers_add(&h, "content-md5", "md5");
	http_headers_add(&h, "content-language", "de");
	http_headers_add(&h, "content-encoding", "gzip");
	http_headers_add(&h, "accept", "not signed");
	http_headers_add(&h, "x-ms-b", "2");
	http_headers_add(&h, "x-ms-a", "1");
	ck_assert_int_eq(sigkey_text("acct", &r, &b), 0);
	ck_assert_str_eq(buf_cstr(&b), "PUT\ngzip\nde\n11\nmd5\ntext/plain\n"
	    "\nM\n\"e\"\n*\nU\nbytes=0-1\nx-ms-a:1\nx-ms-b:2\n"
	    "/acct/acct/c/a%20b");
	buf_reset(&b);
	r.body_len = 0;			/* empty, not "0" */
	ck_assert_int_eq(sigkey_text("acct", &r, &b), 0);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&b), "PUT\ngzip\nde\n\nmd5\n"));
	buf_done(&b);
	http_headers_done(&h);
}
END_TEST

START_TEST(signature)
{
	struct http_headers h = { 0 };
	struct sigkey_req r = { .method = "GET", .path = "/c",
	    .headers = &h };
	struct buf text = BUF_INIT, want = BUF_INIT;
	uint8_t mac[SHA256_LEN];

	ck_assert_int_eq(sigkey_text("acct", &r, &text), 0);
	hmac_sha256("key", 3, text.p, text.len, mac);
	buf_puts(&want, "SharedKey acct:");
	sigkey_base64(&want, mac, sizeof(mac));
	ck_assert_int_eq(sigkey_sign("acct", "key", 3, &r, &h), 0);
	ck_assert_str_eq(h.h[0].name, "authorization");
	ck_assert_str_eq(h.h[0].value, buf_cstr(&want));
	buf_done(&text);
	buf_done(&want);
	http_headers_done(&h);
}
END_TEST

START_TEST(read_sas)
{
	struct buf b = BUF_INIT;

	ck_assert_int_eq(sigkey_read_sas("a/c/k", "key", 3, 1782864000, 1,
	    &b), 0);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&b), "sv=2020-12-06&sr=b&sp=r&"
	    "spr=https&se=2026-07-01T00%3A00%3A00Z&sig="));
	ck_assert_ptr_null(strstr(buf_cstr(&b), "+"));
	buf_done(&b);
}
END_TEST

START_TEST(base64)
{
	static const char *const bad[] = { "", "a", "abc", "a===", "ab c",
	    "====", "abcde", "\xff\xff\xff\xff" };
	const char *bytes = "any carnal pleasure";
	struct buf b = BUF_INIT;
	uint8_t *p;
	size_t n, i;

	for (i = 0; i <= strlen(bytes); i++) {
		buf_reset(&b);
		sigkey_base64(&b, bytes, i);
		if (i == 0)
			continue;
		ck_assert_int_eq(sigkey_unbase64(buf_cstr(&b), &p, &n), 0);
		ck_assert_uint_eq(n, i);
		ck_assert(memcmp(p, bytes, n) == 0);
		free(p);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(sigkey_unbase64(bad[i], &p, &n), -EINVAL);
	buf_done(&b);
}
END_TEST

/* A bit at a time. */
static uint64_t
slow_crc(const uint8_t *p, size_t n)
{
	uint64_t c = UINT64_MAX;
	int k;

	for (; n > 0; n--, p++) {
		c ^= *p;
		for (k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ UINT64_C(0x9a6c9329ac4bc9b5) :
			    c >> 1;
	}
	return ~c;
}

START_TEST(crc)
{
	uint8_t bytes[300];
	size_t n, cut;

	ck_assert(crc64(0, "", 0) == 0);
	ck_assert(crc64(0, "123456789", 9) == UINT64_C(0xae8b14860a799888));
	random_bytes(bytes, sizeof(bytes));
	for (n = 0; n < sizeof(bytes); n++) {
		cut = n / 3;
		ck_assert(crc64(crc64(0, bytes, cut), bytes + cut, n - cut) ==
		    slow_crc(bytes, n));
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("azure_sign");
	TCase *t = tcase_create("sign");

	sys_init();
	tcase_add_test(t, documented_text);
	tcase_add_test(t, every_header);
	tcase_add_test(t, signature);
	tcase_add_test(t, read_sas);
	tcase_add_test(t, base64);
	tcase_add_test(t, crc);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

/* sigkey: see sigkey.h. */
#include "backends/sigkey.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backends/sigv4.h"
#include "base/hash.h"

#define SAS_VERSION	"2020-12-06"	/* of the text that is signed */

enum { PARAMS_MAX = 12 };

void
sigkey_base64(struct buf *b, const void *p, size_t n)
{
	unsigned char *to = buf_grow(b, n / 3 * 4 + 5);

	if (to != NULL)
		b->len += (size_t)EVP_EncodeBlock(to, p, (int)n);
}

int
sigkey_unbase64(const char *s, uint8_t **ret, size_t *retn)
{
	size_t n = strlen(s), digits = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/");
	uint8_t *to;
	int got;

	if (n == 0 || n % 4 != 0 || n > 4096 || n - digits > 2 ||
	    strspn(s + digits, "=") != n - digits)
		return -EINVAL;
	to = malloc(n / 4 * 3 + 1);
	if (to == NULL)
		return -ENOMEM;
	got = EVP_DecodeBlock(to, (const unsigned char *)s, (int)n);
	if (got < 0) {
		free(to);
		return -EINVAL;
	}
	/* It counts the padding too. */
	got -= (s[n - 1] == '=') + (s[n - 2] == '=');
	*ret = to;
	*retn = (size_t)got;
	return 0;
}

static const char *
header(const struct http_headers *h, const char *name)
{
	unsigned i;

	for (i = 0; i < h->n; i++) {
		if (strcmp(h->h[i].name, name) == 0)
			return h->h[i].value;
	}
	return "";
}

static int
by_header(const void *a, const void *b)
{
	const struct http_header *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int
by_param(const void *a, const void *b)
{
	const struct sigkey_param *x = a, *y = b;
	int d = strcasecmp(x->name, y->name);

	return d != 0 ? d : strcmp(x->value, y->value);
}

int
sigkey_text(const char *account, const struct sigkey_req *r, struct buf *ret)
{
	/* In the order that the service fixes. */
	static const char *const fixed[] = { "content-encoding",
	    "content-language", "content-length", "content-md5",
	    "content-type", "date", "if-modified-since", "if-match",
	    "if-none-match", "if-unmodified-since", "range" };
	struct http_header own[HTTP_HEADERS_MAX];
	struct sigkey_param params[PARAMS_MAX];
	unsigned i, n = 0;
	const char *p;

	buf_printf(ret, "%s\n", r->method);
	for (i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
		if (strcmp(fixed[i], "content-length") == 0 && r->body_len > 0)
			buf_printf(ret, "%llu\n",
			    (unsigned long long)r->body_len);
		else
			buf_printf(ret, "%s\n", header(r->headers, fixed[i]));
	}
	for (i = 0; i < r->headers->n; i++) {
		if (strncmp(r->headers->h[i].name, "x-ms-", 5) == 0)
			own[n++] = r->headers->h[i];
	}
	qsort(own, n, sizeof own[0], by_header);
	for (i = 0; i < n; i++)
		buf_printf(ret, "%s:%s\n", own[i].name, own[i].value);
	buf_printf(ret, "/%s%s", account, r->path);
	assert(r->nparams <= PARAMS_MAX);
	if (r->nparams > 0)
		memcpy(params, r->params, r->nparams * sizeof params[0]);
	qsort(params, r->nparams, sizeof params[0], by_param);
	for (i = 0; i < r->nparams; i++) {
		buf_puts(ret, "\n");
		for (p = params[i].name; *p != '\0'; p++)
			buf_put_u8(ret, *p >= 'A' && *p <= 'Z' ?
			    (uint8_t)(*p + 32) : (uint8_t)*p);
		buf_printf(ret, ":%s", params[i].value);
	}
	return buf_err(ret);
}

int
sigkey_sign(const char *account, const void *key, size_t keylen,
    const struct sigkey_req *r, struct http_headers *h)
{
	struct buf text = BUF_INIT, sig = BUF_INIT;
	uint8_t mac[SHA256_LEN];
	int err;

	err = h->err != 0 ? h->err : sigkey_text(account, r, &text);
	if (err == 0) {
		hmac_sha256(key, keylen, text.p, text.len, mac);
		sigkey_base64(&sig, mac, sizeof mac);
		http_headers_add(h, "authorization", "SharedKey %s:%s",
		    account, buf_cstr(&sig));
		err = buf_err(&sig) != 0 ? buf_err(&sig) : h->err;
	}
	buf_done(&text);
	buf_done(&sig);
	return err;
}

int
sigkey_read_sas(const char *blob, const void *key, size_t keylen,
    int64_t expires, int https_only, struct buf *ret)
{
	const char *protocol = https_only ? "https" : "https,http";
	struct buf text = BUF_INIT, sig = BUF_INIT;
	uint8_t mac[SHA256_LEN];
	time_t when = (time_t)expires;
	char until[32];
	struct tm tm;
	int err;

	gmtime_r(&when, &tm);
	strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &tm);
	/* Permissions, start, end, what, identifier, IP, protocol, version,
	 * kind, snapshot, encryption scope, five headers of the answer. */
	buf_printf(&text, "r\n\n%s\n/blob/%s\n\n\n%s\n%s\nb\n\n\n\n\n\n\n",
	    until, blob, protocol, SAS_VERSION);
	err = buf_err(&text);
	if (err == 0) {
		hmac_sha256(key, keylen, text.p, text.len, mac);
		sigkey_base64(&sig, mac, sizeof mac);
		buf_printf(ret, "sv=%s&sr=b&sp=r&spr=", SAS_VERSION);
		sigv4_encode(ret, protocol, 0);
		buf_puts(ret, "&se=");
		sigv4_encode(ret, until, 0);
		buf_puts(ret, "&sig=");
		sigv4_encode(ret, buf_cstr(&sig), 0);
		buf_cstr(ret);
		err = buf_err(&sig) != 0 ? buf_err(&sig) : buf_err(ret);
	}
	buf_done(&text);
	buf_done(&sig);
	return err;
}

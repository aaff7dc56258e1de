/* sigv4: see sigv4.h. */
#include "backends/sigv4.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"

void
sigv4_encode(struct buf *b, const char *s, int keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char c;

	for (; *s != '\0'; s++) {
		c = (unsigned char)*s;
		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    (c >= '0' && c <= '9') || c == '-' || c == '_' ||
		    c == '.' || c == '~' || (c == '/' && keep_slash)) {
			buf_put_u8(b, c);
		} else {
			buf_put_u8(b, '%');
			buf_put_u8(b, (uint8_t)digits[c >> 4]);
			buf_put_u8(b, (uint8_t)digits[c & 15]);
		}
	}
}

void
sigv4_crc_base64(uint32_t crc, char ret[9])
{
	unsigned char be[4] = { (unsigned char)(crc >> 24),
	    (unsigned char)(crc >> 16), (unsigned char)(crc >> 8),
	    (unsigned char)crc };

	EVP_EncodeBlock((unsigned char *)ret, be, 4);
}

int
sigv4_parts_etag(const char *const *etags, unsigned n,
    char ret[SIGV4_ETAG_LEN])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sum[EVP_MAX_MD_SIZE];
	uint8_t part[16];
	char hex[33];
	unsigned i, len = 0;
	int err = -EINVAL;

	if (md == NULL)
		return -ENOMEM;
	if (EVP_DigestInit_ex(md, EVP_md5(), NULL) != 1)
		goto out;
	for (i = 0; i < n; i++) {
		const char *s = etags[i];

		if (*s == '"')
			s++;
		if (strspn(s, "0123456789abcdefABCDEF") != 32 ||
		    (s[32] != '\0' && s[32] != '"') ||
		    hex_decode(s, 32, part) != 0)
			goto out;
		EVP_DigestUpdate(md, part, sizeof part);
	}
	if (EVP_DigestFinal_ex(md, sum, &len) != 1 || len != 16)
		goto out;
	hex_encode(sum, 16, hex);
	snprintf(ret, SIGV4_ETAG_LEN, "\"%s-%u\"", hex, n);
	err = 0;
out:
	EVP_MD_CTX_free(md);
	return err;
}

static int
by_name(const void *a, const void *b)
{
	const struct http_header *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* A header's value as it is signed: no spaces around, one between. */
static void
put_value(struct buf *b, const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	for (; *s != '\0'; s++) {
		if ((*s == ' ' || *s == '\t') &&
		    (s[1] == ' ' || s[1] == '\t' || s[1] == '\0'))
			continue;
		buf_put_u8(b, (uint8_t)(*s == '\t' ? ' ' : *s));
	}
}

/* The canonical request into b, the signed headers' names into names. */
static void
canonical(struct buf *b, struct buf *names, const char *method,
    const char *host, const char *path, const char *query, const char *payload,
    struct http_headers *h)
{
	struct http_header own = { (char *)"host", (char *)host };
	struct http_header *sorted[HTTP_HEADERS_MAX + 1];
	unsigned i, n = 0;

	sorted[n++] = &own;
	for (i = 0; i < h->n; i++)
		sorted[n++] = &h->h[i];
	qsort(sorted, n, sizeof sorted[0], by_name);
	buf_printf(b, "%s\n", method);
	buf_puts(b, path);
	buf_printf(b, "\n%s\n", query);
	for (i = 0; i < n; i++) {
		buf_printf(b, "%s:", sorted[i]->name);
		put_value(b, sorted[i]->value);
		buf_put_u8(b, '\n');
		buf_printf(names, "%s%s", i > 0 ? ";" : "", sorted[i]->name);
	}
	buf_put_u8(b, '\n');
	buf_puts(b, buf_cstr(names));
	buf_printf(b, "\n%s", payload);
}

static void
signing_key(const struct sigv4 *k, const char *day, uint8_t ret[SHA256_LEN])
{
	char start[4 + 256];
	int n;

	n = snprintf(start, sizeof start, "AWS4%s", k->secret);
	if (n >= (int)sizeof start)
		n = sizeof start - 1;	/* no such secret; the store refuses */
	hmac_sha256(start, (size_t)n, day, strlen(day), ret);
	explicit_bzero(start, sizeof start);
	hmac_sha256(ret, SHA256_LEN, k->region, strlen(k->region), ret);
	hmac_sha256(ret, SHA256_LEN, k->service, strlen(k->service), ret);
	hmac_sha256(ret, SHA256_LEN, "aws4_request", 12, ret);
}

/* The signature of a canonical request, in hex. */
static int
signature(const struct sigv4 *k, const char *date, const char *day,
    struct buf *text, char hex[SHA256_HEX])
{
	struct buf tosign = BUF_INIT;
	uint8_t sum[SHA256_LEN], key[SHA256_LEN];
	int err = buf_err(text);

	if (err != 0)
		return err;
	sha256(text->p, text->len, sum);
	hex_encode(sum, sizeof sum, hex);
	buf_printf(&tosign, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s",
	    date, day, k->region, k->service, hex);
	err = buf_err(&tosign);
	if (err == 0) {
		signing_key(k, day, key);
		hmac_sha256(key, sizeof key, tosign.p, tosign.len, sum);
		explicit_bzero(key, sizeof key);
		hex_encode(sum, sizeof sum, hex);
	}
	buf_done(&tosign);
	return err;
}

static void
dates(const struct sigv4 *k, char date[32], char day[16])
{
	time_t secs = (time_t)(k->now / NSEC_PER_SEC);
	struct tm tm;

	memset(&tm, 0, sizeof tm);
	gmtime_r(&secs, &tm);
	strftime(date, 32, "%Y%m%dT%H%M%SZ", &tm);
	strftime(day, 16, "%Y%m%d", &tm);
}

int
sigv4_presign(const struct sigv4 *k, const char *host, const char *path,
    unsigned secs, struct buf *ret)
{
	struct buf text = BUF_INIT, scope = BUF_INIT, query = BUF_INIT;
	char date[32], day[16], hex[SHA256_HEX];
	int err;

	dates(k, date, day);
	buf_printf(&scope, "%s/%s/%s/%s/aws4_request", k->id, day, k->region,
	    k->service);
	buf_puts(&query, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=");
	sigv4_encode(&query, buf_cstr(&scope), 0);
	buf_printf(&query, "&X-Amz-Date=%s&X-Amz-Expires=%u", date, secs);
	if (k->token != NULL) {
		buf_puts(&query, "&X-Amz-Security-Token=");
		sigv4_encode(&query, k->token, 0);
	}
	buf_puts(&query, "&X-Amz-SignedHeaders=host");
	err = buf_err(&scope) != 0 ? buf_err(&scope) : buf_err(&query);
	if (err == 0) {
		buf_puts(&text, "GET\n");
		buf_puts(&text, path);
		buf_printf(&text, "\n%s\nhost:%s\n\nhost\n" SIGV4_UNSIGNED,
		    buf_cstr(&query), host);
		err = signature(k, date, day, &text, hex);
	}
	if (err == 0) {
		buf_puts(ret, buf_cstr(&query));
		buf_printf(ret, "&X-Amz-Signature=%s", hex);
		err = buf_err(ret);
	}
	if (query.p != NULL)
		explicit_bzero(query.p, query.len);
	if (text.p != NULL)
		explicit_bzero(text.p, text.len);
	buf_done(&text);
	buf_done(&scope);
	buf_done(&query);
	return err;
}

int
sigv4_sign(const struct sigv4 *k, const char *method, const char *host,
    const char *path, const char *query, const char *payload,
    struct http_headers *h)
{
	struct buf text = BUF_INIT, names = BUF_INIT;
	char date[32], day[16], hex[SHA256_HEX];
	int err;

	dates(k, date, day);
	http_headers_add(h, "x-amz-date", "%s", date);
	http_headers_add(h, "x-amz-content-sha256", "%s", payload);
	if (k->token != NULL)
		http_headers_add(h, "x-amz-security-token", "%s", k->token);
	if (h->err != 0)
		return h->err;

	canonical(&text, &names, method, host, path, query, payload, h);
	err = signature(k, date, day, &text, hex);
	if (err != 0)
		goto out;
	http_headers_add(h, "authorization", "AWS4-HMAC-SHA256 Credential="
	    "%s/%s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s", k->id,
	    day, k->region, k->service, buf_cstr(&names), hex);
	err = h->err;
out:
	if (text.p != NULL)
		explicit_bzero(text.p, text.len);	/* the token is in it */
	buf_done(&text);
	buf_done(&names);
	return err;
}

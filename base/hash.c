/*
 * hash: see base/hash.h.
 *
 * SHA-256 is OpenSSL's SHA256_Init family: deprecated in favour of EVP, but
 * it allocates nothing and so cannot fail, and a hash of a short name takes a
 * third of the time.  HMAC is ten lines over it for the same reason.
 *
 * CRC-32C by SSE4.2: the instruction has a latency of three cycles and a
 * throughput of one, so three adjacent blocks are summed at once and joined:
 * crc(AB) = shift(crc(A), length of B) ^ crc(B).  The shift, a linear map of
 * 32 bits, is four tables of 256.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/hash.h"

#include <errno.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct sha256_ctx {
	SHA256_CTX	c;
};

void
sha256(const void *p, size_t n, uint8_t ret[SHA256_LEN])
{
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, p, n);
	SHA256_Final(ret, &c);
}

struct sha256_ctx *
sha256_new(void)
{
	struct sha256_ctx *c = malloc(sizeof(*c));

	if (c)
		SHA256_Init(&c->c);
	return c;
}

void
sha256_add(struct sha256_ctx *c, const void *p, size_t n)
{
	SHA256_Update(&c->c, p, n);
}

void
sha256_final(struct sha256_ctx *c, uint8_t ret[SHA256_LEN])
{
	if (!c)
		return;
	SHA256_Final(ret, &c->c);
	free(c);
}

void
hmac_sha256(const void *key, size_t keylen, const void *p, size_t n,
    uint8_t ret[SHA256_LEN])
{
	uint8_t k[SHA256_CBLOCK] = { 0 }, inner[SHA256_LEN];
	SHA256_CTX c;

	if (keylen > sizeof(k))
		sha256(key, keylen, k);
	else if (keylen > 0)
		memcpy(k, key, keylen);
	for (size_t i = 0; i < sizeof(k); i++)
		k[i] ^= 0x36;
	SHA256_Init(&c);
	SHA256_Update(&c, k, sizeof(k));
	SHA256_Update(&c, p, n);
	SHA256_Final(inner, &c);
	for (size_t i = 0; i < sizeof(k); i++)
		k[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&c);
	SHA256_Update(&c, k, sizeof(k));
	SHA256_Update(&c, inner, sizeof(inner));
	SHA256_Final(ret, &c);
	explicit_bzero(k, sizeof(k));
	explicit_bzero(&c, sizeof(c));
}

/* All of the below works on the register, without the two inversions. */
#define POLY	0x82f63b78u	/* Castagnoli, reflected */
#define LONG	4096		/* bytes of each of three blocks */
#define SHORT	256

static uint32_t by_byte[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static uint32_t
crc_table(uint32_t c, const uint8_t *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8) {
		c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 |
		    (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
		c = by_byte[7][c & 0xff] ^ by_byte[6][c >> 8 & 0xff] ^
		    by_byte[5][c >> 16 & 0xff] ^ by_byte[4][c >> 24] ^
		    by_byte[3][p[4]] ^ by_byte[2][p[5]] ^
		    by_byte[1][p[6]] ^ by_byte[0][p[7]];
	}
	for (; n > 0; n--, p++)
		c = c >> 8 ^ by_byte[0][(c ^ *p) & 0xff];
	return c;
}

static void
make_by_byte(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLY : c >> 1;
		by_byte[0][i] = c;
	}
	for (unsigned i = 0; i < 256; i++) {
		for (int k = 1; k < 8; k++)
			by_byte[k][i] = by_byte[k - 1][i] >> 8 ^
			    by_byte[0][by_byte[k - 1][i] & 0xff];
	}
}

#ifdef __x86_64__
#include <nmmintrin.h>

static uint32_t shift_long[4][256], shift_short[4][256];
static bool has_sse42;

static uint64_t
load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* What n bytes of zeros make of each value of each byte of a register. */
static void
make_shift(uint32_t t[4][256], size_t n)
{
	for (int k = 0; k < 4; k++) {
		t[k][0] = 0;
		for (unsigned i = 1; i < 256; i++) {
			uint32_t c = (uint32_t)i << (8 * k);
			unsigned low = i & -i;

			if (i != low) {
				t[k][i] = t[k][low] ^ t[k][i ^ low];
				continue;
			}
			for (size_t z = 0; z < n; z++)
				c = c >> 8 ^ by_byte[0][c & 0xff];
			t[k][i] = c;
		}
	}
}

static uint32_t
shift(const uint32_t t[4][256], uint32_t c)
{
	return t[0][c & 0xff] ^ t[1][c >> 8 & 0xff] ^ t[2][c >> 16 & 0xff] ^
	    t[3][c >> 24];
}

/* Three blocks of n bytes (a multiple of 8) that lie one after the other. */
__attribute__((target("sse4.2"))) static uint32_t
crc_three(uint32_t crc, const uint8_t *p, size_t n,
    const uint32_t t[4][256])
{
	uint64_t a = crc, b = 0, c = 0;
	const uint8_t *end = p + n;

	for (; p < end; p += 8) {
		a = _mm_crc32_u64(a, load64(p));
		b = _mm_crc32_u64(b, load64(p + n));
		c = _mm_crc32_u64(c, load64(p + 2 * n));
	}
	return shift(t, shift(t, a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t
crc_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c;

	for (; n >= 3 * LONG; n -= 3 * LONG, p += 3 * LONG)
		crc = crc_three(crc, p, LONG, shift_long);
	for (; n >= 3 * SHORT; n -= 3 * SHORT, p += 3 * SHORT)
		crc = crc_three(crc, p, SHORT, shift_short);
	c = crc;
	for (; n >= 8; n -= 8, p += 8)
		c = _mm_crc32_u64(c, load64(p));
	crc = c;
	for (; n > 0; n--, p++)
		crc = _mm_crc32_u8(crc, *p);
	return crc;
}
#endif

static void
crc_start(void)
{
	make_by_byte();
#ifdef __x86_64__
	make_shift(shift_long, LONG);
	make_shift(shift_short, SHORT);
	has_sse42 = __builtin_cpu_supports("sse4.2");
#endif
}

/* The product of two polynomials modulo POLY, x^0 the highest bit. */
static uint32_t
crc_times(uint32_t a, uint32_t b)
{
	uint32_t p = 0;

	for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
		if (a & bit)
			p ^= b;
		b = b & 1 ? b >> 1 ^ POLY : b >> 1;
	}
	return p;
}

uint32_t
crc32c_join(uint32_t a, uint32_t b, uint64_t nb)
{
	uint32_t power = 1u << 23;	/* x^8, squared as bits of nb go by */

	for (; nb != 0; nb >>= 1) {
		if (nb & 1)
			a = crc_times(power, a);
		power = crc_times(power, power);
	}
	return a ^ b;
}

uint32_t
crc32c_portable(uint32_t crc, const void *p, size_t n)
{
	pthread_once(&crc_once, crc_start);
	return ~crc_table(~crc, p, n);
}

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
	pthread_once(&crc_once, crc_start);
#ifdef __x86_64__
	if (has_sse42)
		return ~crc_sse42(~crc, p, n);
#endif
	return ~crc_table(~crc, p, n);
}

void
random_bytes(void *p, size_t n)
{
	uint8_t *to = p;
	ssize_t got;

	while (n > 0) {
		got = getrandom(to, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			perror("gnsfs: getrandom");
			abort();
		}
		to += got;
		n -= got;
	}
}

uint64_t
random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

void
hex_encode(const void *p, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *from = p;

	for (size_t i = 0; i < n; i++) {
		*ret++ = digits[from[i] >> 4];
		*ret++ = digits[from[i] & 15];
	}
	*ret = '\0';
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
hex_decode(const char *s, size_t n, uint8_t *ret)
{
	if (n % 2)
		return -EINVAL;
	for (size_t i = 0; i < n; i += 2) {
		int hi = hex_digit(s[i]);
		int lo = hi < 0 ? -1 : hex_digit(s[i + 1]);

		if (lo < 0)
			return -EINVAL;
		*ret++ = hi << 4 | lo;
	}
	return 0;
}

uint64_t
name_hash(const void *name, size_t n)
{
	static const char domain[] = "gnsfs dentry";	/* its NUL counts */
	uint8_t sum[SHA256_LEN];
	uint64_t v = 0;
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, domain, sizeof(domain));
	SHA256_Update(&c, name, n);
	SHA256_Final(sum, &c);
	for (int i = 0; i < 8; i++)
		v |= (uint64_t)sum[i] << (8 * i);
	v &= UINT64_MAX >> 2;
	return v < 16 ? v + 16 : v;	/* L14 */
}

/*
 * hash: SHA-256 and HMAC (OpenSSL; this is its one owner beside signing and
 * tokens), CRC-32C (SSE4.2 where the processor has it), random bytes, hex,
 * and the two hashes that formats fix.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_LEN	32
#define SHA256_HEX	65	/* with NUL */

void	sha256(const void *p, size_t n, uint8_t ret[SHA256_LEN]);
struct sha256_ctx;			/* incremental */
struct sha256_ctx *sha256_new(void);	/* NULL: no memory */
void	sha256_add(struct sha256_ctx *c, const void *p, size_t n);
void	sha256_final(struct sha256_ctx *c, uint8_t ret[SHA256_LEN]); /* frees */
void	hmac_sha256(const void *key, size_t keylen, const void *p, size_t n,
	    uint8_t ret[SHA256_LEN]);
/* CRC-32C (Castagnoli); start with crc 0, feed the result to go on. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same without the processor's help; for tests to compare. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);
/* Of b after a, from the two's and b's length. */
uint32_t crc32c_join(uint32_t a, uint32_t b, uint64_t nb);
/* Cryptographic quality; never fails (aborts if the kernel has none). */
void	random_bytes(void *p, size_t n);
uint64_t random_u64(void);
/* Lower case; ret has room for 2n+1. */
void	hex_encode(const void *p, size_t n, char *ret);
/* n hex digits, of either case.  0 or -EINVAL. */
int	hex_decode(const char *s, size_t n, uint8_t *ret);

/*
 * L14: the key of a name in its directory, and READDIR's cookie: the first 8
 * bytes of SHA-256("gnsfs dentry\0" name), little-endian, its two top bits
 * cleared; values below 16 are moved up by 16 (cookies of `.` and `..`).
 * Fixed in the format.
 */
uint64_t name_hash(const void *name, size_t n);

#endif

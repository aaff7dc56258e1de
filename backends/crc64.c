/* crc64: see crc64.h.  Eight bytes a step, by a table for each of them. */
#include "backends/crc64.h"

#include <pthread.h>

#define POLY	UINT64_C(0x9a6c9329ac4bc9b5)

static uint64_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void
table_fill(void)
{
	uint64_t c;
	int i, k;

	for (i = 0; i < 256; i++) {
		c = (uint64_t)i;
		for (k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ POLY : c >> 1;
		table[0][i] = c;
	}
	for (i = 0; i < 256; i++) {
		for (k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^
			    table[0][table[k - 1][i] & 255];
	}
}

uint64_t
crc64(uint64_t crc, const void *p, size_t n)
{
	const uint8_t *s = p;
	uint64_t w;

	pthread_once(&table_once, table_fill);
	crc = ~crc;
	for (; n >= 8; n -= 8, s += 8) {
		w = (uint64_t)s[0] | (uint64_t)s[1] << 8 |
		    (uint64_t)s[2] << 16 | (uint64_t)s[3] << 24 |
		    (uint64_t)s[4] << 32 | (uint64_t)s[5] << 40 |
		    (uint64_t)s[6] << 48 | (uint64_t)s[7] << 56;
		w ^= crc;
		crc = table[7][w & 255] ^ table[6][w >> 8 & 255] ^
		    table[5][w >> 16 & 255] ^ table[4][w >> 24 & 255] ^
		    table[3][w >> 32 & 255] ^ table[2][w >> 40 & 255] ^
		    table[1][w >> 48 & 255] ^ table[0][w >> 56];
	}
	for (; n > 0; n--, s++)
		crc = table[0][(crc ^ *s) & 255] ^ crc >> 8;
	return ~crc;
}

/*
 * fuzz: what the fuzz targets share.  Each is one LLVMFuzzerTestOneInput,
 * run by `make fuzz FUZZ_TIME=60` (fuzz.mk).  Where bytes are behind a checksum
 * the first byte decides: odd, they are given as they are; even, they are
 * sealed first, so that what lies behind is reached.
 */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "meta/frame.h"
#include "meta/segment.h"

int	LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The bytes to decode, in out. */
static inline void
fuzz_sealed(const uint8_t *p, size_t n, const char magic[8], struct buf *out)
{
	struct buf raw = BUF_INIT;

	if (n == 0)
		return;
	if ((p[0] & 1) != 0)
		buf_put(out, p + 1, n - 1);
	else {
		buf_put(&raw, magic, 8);
		buf_put_u32(&raw, FEATURE_LEVEL);
		buf_put(&raw, p + 1, n - 1);
		if (frame_seal(raw.p, raw.len, 1, out) != 0)
			abort();
	}
	buf_done(&raw);
}

#endif

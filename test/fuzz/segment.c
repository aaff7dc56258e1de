/* Segments as a hostile store gives them. */
#include "fuzz.h"

static int
see(void *arg, uint64_t lo, uint64_t hi, const uint8_t *hashes, size_t n)
{
	static volatile uint8_t sum;

	for (size_t i = 0; i < n * 32; i++)
		sum = sum ^ hashes[i];
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf b = BUF_INIT;
	struct segment s;
	const struct op *ops;
	unsigned nops;

	fuzz_sealed(p, n, "GNSSEG1\n", &b);
	/* the lsn is a sealed one's first field */
	if (segment_decode(b.p, b.len, n > 8 ? p[1] : 0, &s, NULL) == 0) {
		if (segment_attaches(&s, see, NULL) != 0 ||
		    segment_opens(&s, &ops, &nops) != 0)
			abort();
		segment_done(&s);
	}
	buf_done(&b);
	return 0;
}

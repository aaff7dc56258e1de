/* Snapshots' lists of pieces: what decodes encodes to what decodes alike. */
#include "fuzz.h"

#include "meta/piece.h"

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf b = BUF_INIT, again = BUF_INIT;
	struct snapshot s, t;

	fuzz_sealed(p, n, "GNSSNAP1", &b);
	if (snapshot_decode(b.p, b.len, &s, NULL) == 0) {
		if (snapshot_encode(&s, &again) != 0 ||
		    snapshot_decode(again.p, again.len, &t, NULL) != 0 ||
		    t.npieces != s.npieces || t.lsn != s.lsn)
			abort();
		snapshot_done(&s);
		snapshot_done(&t);
	}
	buf_done(&b);
	buf_done(&again);
	return 0;
}

/* Pieces: what is read is in order and writes again to the same rows. */
#include "fuzz.h"

#include "meta/piece.h"

static int
see(void *arg, const struct row *r)
{
	struct piece_writer *w = arg;

	return piece_writer_add(w, r);
}

static int
emit(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct piece_writer *w;
	struct buf b = BUF_INIT;

	fuzz_sealed(p, n, "GNSPC1\n", &b);
	if (piece_writer_new(emit, NULL, &w) != 0)
		abort();
	if (piece_read(b.p, b.len, NULL, see, w, NULL) == 0) {
		if (piece_writer_end(w) != 0)
			abort();
	} else
		piece_writer_free(w);
	buf_done(&b);
	return 0;
}

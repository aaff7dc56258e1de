/* Operations: what decodes encodes to bytes that decode to the same. */
#include "fuzz.h"

#include "meta/op.h"

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf store = BUF_INIT, one = BUF_INIT, two = BUF_INIT;
	struct buf store2 = BUF_INIT;
	struct op op;
	struct cur c;

	cur_init(&c, p, n);
	op_decode(&c, &op, &store);
	if (cur_err(&c) == 0 && buf_err(&store) == 0) {
		op_encode(&op, &one);
		cur_init(&c, one.p, one.len);
		op_decode(&c, &op, &store2);
		if (cur_err(&c) != 0 || !cur_at_end(&c))
			abort();
		op_encode(&op, &two);
		if (one.len != two.len || memcmp(one.p, two.p, one.len) != 0)
			abort();
	}
	buf_done(&store);
	buf_done(&store2);
	buf_done(&one);
	buf_done(&two);
	return 0;
}

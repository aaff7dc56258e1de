/* batch_small: where the frozen batch's small files are (batch.h). */
#include <errno.h>

#include "meta/internal.h"

int
batch_small(struct sqc *c, int (*each)(void *arg, uint64_t ino, uint64_t seq,
    uint64_t object, uint64_t ooff, const void *bytes, size_t n), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT p.object, p.off, p.ino, p.seq, "
	    "u.bytes FROM frozen_pack p JOIN unstored u ON u.seq = p.seq "
	    "ORDER BY p.object, p.off");
	int rc;

	while ((rc = sqs_step(s)) == 1) {
		size_t n;
		const void *p = sqs_col_blob(s, 4, &n);

		rc = each(arg, (uint64_t)sqs_col_int(s, 2),
		    (uint64_t)sqs_col_int(s, 3), (uint64_t)sqs_col_int(s, 0),
		    (uint64_t)sqs_col_int(s, 1), p, n);
		if (rc != 0)
			break;
	}
	sqs_reset(s);
	return (rc);
}

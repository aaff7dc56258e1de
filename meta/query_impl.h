/*
 * query_impl: what query_bytes.c and query_rows.c share.
 */
#ifndef META_QUERY_IMPL_H
#define META_QUERY_IMPL_H

#include "meta/internal.h"
#include "meta/query.h"

/* A text column as a C string at the end of b, which moves as it grows: so its
 * offset.  buf_err(b) has the error. */
static inline size_t
query_text(struct sqs *s, int at, struct buf *b)
{
	size_t n, ret = b->len;
	const void *p = sqs_col_blob(s, at, &n);

	buf_put(b, p, n);
	buf_put(b, "", 1);
	return (ret);
}

#endif

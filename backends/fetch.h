/*
 * fetch: the bytes of a GET, from the answer to the sink; what stores that
 * speak HTTP with ETags have in common.
 *
 * None goes to the sink before the answer's head has been checked against
 * what was asked for, also where the store ignores conditions or ranges.
 */
#ifndef BACKENDS_FETCH_H
#define BACKENDS_FETCH_H

#include "backends/http.h"
#include "backends/store.h"

struct fetch {
	/* As of the get; where: for messages, "bucket 'lake'". */
	const char		*where;
	const char		*key;
	const struct store_version *version;
	uint64_t		 off, len;
	store_sink		*sink;
	void			*arg;
	struct why		*why;
	struct store_info	*ret;		/* filled before any byte */

	/* Filled by the functions below. */
	enum store_rc		 rc;		/* what accept or sink said */
	struct store_info	 info;
	uint64_t		 expected;	/* bytes the answer will have */
};

#define FETCH_RANGE_LEN	64
/* "bytes=..." as a Range header has it; "" for all. */
void	fetch_range(const struct fetch *f, char ret[FETCH_RANGE_LEN]);

/* For struct http_req; arg is the fetch. */
enum http_verdict fetch_accept(void *arg, struct http_resp *resp);
int	fetch_sink(void *arg, const void *p, size_t n);

/* What the get comes to, once the request came to rc: OK only if all bytes
 * have come. */
enum store_rc fetch_end(struct fetch *f, enum store_rc rc,
	    const struct http_resp *resp);
/* The get of an empty object, whose info is f->info: a range from 0 on, that
 * stores refuse for such.  OK, or CHANGED. */
enum store_rc fetch_empty(struct fetch *f);

#endif

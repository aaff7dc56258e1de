/*
 * parts: many small pieces of one large put or copy, sent in parallel, each
 * until it is there or there is no hope.
 *
 * The caller's thread and up to PARTS_LANES - 1 of a store's pool each take
 * the next part until none is left.  A part is sent again a few times here,
 * by itself: parts are idempotent and none makes an object, and the retry
 * layer could only begin the whole anew.
 */
#ifndef BACKENDS_PARTS_H
#define BACKENDS_PARTS_H

#include "backends/layer.h"
#include "base/workers.h"

enum { PARTS_LANES = 4 };

/* Sends part i; called from several threads, never again once parts_run() has
 * returned.  c: for this attempt, with the lane's own why.  UNREACHABLE,
 * THROTTLED and BROKEN are tried again; the rest ends all of it. */
typedef enum store_rc parts_send(void *arg, struct store_call *c, unsigned i);

/* Parts 0 .. n-1.  The first failure is the result, and says why in c's. */
enum store_rc parts_run(struct workers *pool, struct store_call *c,
	    unsigned n, parts_send *send, void *arg);

/*
 * How large: at least `least` bytes, whole MiB beyond; more where the object
 * is large (fewer requests to pay for) and so that at most `most` parts do.
 * wanted: just that size, if that many do (store_src.part; 0: any).  size > 0.
 * Returns the number of parts.
 */
unsigned parts_size(uint64_t size, uint64_t least, uint64_t wanted,
	    unsigned most, uint64_t *retpart);

#endif

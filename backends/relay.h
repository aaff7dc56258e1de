/*
 * relay: an object's bytes from one store to another through this host, where
 * the other cannot fetch them itself (store_ops.pull).
 *
 * The source is read in blocks of RELAY_BLOCK bytes by the threads that send
 * the parts, each as it is first wanted: while one block arrives, others go
 * out.  A few blocks are kept, since stores read a part twice (once for its
 * sum): so the memory is bounded by RELAY_BLOCK * RELAY_BLOCKS, whatever the
 * object's size, and smaller objects take as much as they have bytes.
 */
#ifndef BACKENDS_RELAY_H
#define BACKENDS_RELAY_H

#include "backends/store.h"

#define RELAY_BLOCK	((uint64_t)8 << 20)	/* bytes; also of a part */
#define RELAY_BLOCKS	8

struct relay {
	/* Filled by the caller; all borrowed. */
	struct store	*from, *to;
	const char	*key, *tokey;
	struct store_version version;	/* of key; pinned in every read */
	uint64_t	 size;		/* of it, bytes */
	_Atomic uint64_t *bytes;	/* counts those that came; may be
					   NULL */
	/* Filled by store_relay, when it is OK. */
	struct store_info info;		/* of tokey */
	uint32_t	 crc32c;	/* of all the bytes */
	/* The result of the read that failed, when it is INVALID for that;
	 * OK: it was not a read. */
	enum store_rc	 read_rc;
};

/* Puts it if absent (EXISTS).  As put; what a read failed with is its result
 * (CHANGED, ABSENT, UNREACHABLE, ...), read_rc set. */
enum store_rc	store_relay(struct relay *r, struct store_call *c);

/* What a relay of size bytes takes in memory. */
uint64_t	store_relay_memory(uint64_t size);

#endif

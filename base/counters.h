/*
 * counters: every number that status shows, once, with unit and meaning
 * (DESIGN.md section 10).  COUNTERS(X): X(name, unit, kind, meaning); kind is
 * COUNT (only grows) or GAUGE.  Lock-free.
 */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/counters_table.h"

enum counter_id {
#define X(name, unit, kind, meaning)	C_##name,
	COUNTERS(X)
#undef X
	C_COUNT
};

enum counter_kind { COUNT, GAUGE };

struct counter_desc {
	const char	*name, *unit, *meaning;
	enum counter_kind kind;
};

extern const struct counter_desc counter_descs[C_COUNT];
extern _Atomic int64_t counter_values[C_COUNT];

#define counter_add(id, n)	((void)atomic_fetch_add_explicit( \
	&counter_values[C_##id], (n), memory_order_relaxed))
#define counter_set(id, n)	atomic_store_explicit( \
	&counter_values[C_##id], (n), memory_order_relaxed)
#define counter_get(id)		atomic_load_explicit( \
	&counter_values[C_##id], memory_order_relaxed)

#endif

/* counters: see base/counters.h. */
#include "base/counters.h"

const struct counter_desc counter_descs[C_COUNT] = {
#define X(name, unit, kind, meaning) \
	[C_##name] = { #name, unit, meaning, kind },
	COUNTERS(X)
#undef X
};

_Atomic int64_t counter_values[C_COUNT];

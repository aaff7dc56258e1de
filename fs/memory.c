/* See memory.h. */
#include "fs/memory.h"

#include <malloc.h>

#include "base/sq.h"

#define WHOLE	((uint64_t)512 << 20)
#define LEAST	((uint64_t)48 << 20)
#define ARENAS	8

unsigned
memory_share(uint64_t memory, unsigned most, unsigned least)
{
	uint64_t n = memory >= WHOLE ? most : most * memory / WHOLE;

	return n < least ? least : (unsigned)n;
}

uint64_t
memory_beyond(uint64_t memory)
{
	return memory > LEAST ? memory - LEAST : 0;
}

void
memory_limit(uint64_t memory)
{
	(void)mallopt(M_ARENA_MAX, ARENAS);
	sq_limit_pages(memory / 2);
}

/*
 * memory: what memory= allows.
 *
 * What takes memory in numbers (fetches at once, threads that hold a request's
 * buffer) takes its number from here: all that it was made for at the default
 * of memory= and above, in proportion below.  What takes it in bytes has a
 * share in bytes.  Either way the sum stays below memory=; what a file that is
 * open costs besides does not count: some 500 bytes, and the content of a small
 * one.
 */
#ifndef FS_MEMORY_H
#define FS_MEMORY_H

#include <stdint.h>

/* `most` at 512 MiB and above, in proportion below, `least` at least. */
unsigned memory_share(uint64_t memory, unsigned most, unsigned least);
/* What of it is more than the least that a mount runs with: for what is large
 * and only makes it faster.  A share of this is 0.9 of all at the default. */
uint64_t memory_beyond(uint64_t memory);
/* For the process, before its threads: half of memory= at most for pages of
 * the databases, few arenas for the heap whatever the number of cores. */
void	memory_limit(uint64_t memory);

#endif

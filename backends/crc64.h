/*
 * crc64: the CRC by which Azure Storage checks a body (x-ms-content-crc64):
 * reflected polynomial 9A6C9329AC4BC9B5, begun with and ended by ones, as
 * CRC-64/NVME.
 */
#ifndef BACKENDS_CRC64_H
#define BACKENDS_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Start with crc 0, feed the result to go on. */
uint64_t crc64(uint64_t crc, const void *p, size_t n);

#endif

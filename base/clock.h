/*
 * clock: time in nanoseconds.  All of it goes through the table of
 * base/sys.h, so a test can set it.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC	INT64_C(1000000000)
#define NSEC_PER_MSEC	INT64_C(1000000)

/* In ns, which reach from 1677 to 2262: INT64_MIN or INT64_MAX for what is
 * beyond. */
int64_t	clock_ns(struct timespec t);
int64_t	clock_real(void);	/* ns since the epoch, CLOCK_REALTIME */
int64_t	clock_mono(void);	/* CLOCK_MONOTONIC: deadlines, durations */
int64_t	clock_boot(void);	/* CLOCK_BOOTTIME: across suspend (L7) */
/* Sleeps; returns early (-EINTR) on a signal only. */
int	clock_sleep(int64_t ns);

#endif

/* clock: see base/clock.h. */
#include "base/clock.h"

#include "base/sys.h"

int64_t
clock_ns(struct timespec t)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)t.tv_sec, NSEC_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t.tv_nsec, &ns))
		return t.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

int64_t
clock_real(void)
{
	return sys.clock(CLOCK_REALTIME);
}

int64_t
clock_mono(void)
{
	return sys.clock(CLOCK_MONOTONIC);
}

int64_t
clock_boot(void)
{
	return sys.clock(CLOCK_BOOTTIME);
}

int
clock_sleep(int64_t ns)
{
	struct timespec ts;

	if (ns <= 0)
		return 0;
	ts.tv_sec = ns / NSEC_PER_SEC;
	ts.tv_nsec = ns % NSEC_PER_SEC;
	return -clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

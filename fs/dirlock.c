/*
 * See dirlock.h.  The file is empty, or holds ENDING; whoever takes the lock
 * empties it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/dirlock.h"

#define STAYS_WAIT	NSEC_PER_SEC
#define ENDING_WAIT	(40 * NSEC_PER_SEC)	/* it flushes for 30 s */
#define LOOK_EVERY	(20 * NSEC_PER_MSEC)
#define ENDING		"ending\n"

static bool
holder_ends(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size > 0;
}

static int
wait_for(int fd)
{
	int64_t start = clock_mono(), waited;
	bool ends;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		ends = holder_ends(fd);
		waited = clock_mono() - start;
		if (waited >= (ends ? ENDING_WAIT : STAYS_WAIT))
			return ends ? -EINPROGRESS : -EBUSY;
		(void)clock_sleep(LOOK_EVERY);
	}
	return ftruncate(fd, 0) == 0 ? 0 : -errno;
}

int
dirlock_take(const char *dir, bool make, int *retfd)
{
	char *path;
	int fd, rc;

	if (asprintf(&path, "%s/lock", dir) < 0)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	rc = fd < 0 ? -errno : wait_for(fd);
	free(path);
	if (rc == 0)
		*retfd = fd;
	else if (fd >= 0)
		close(fd);
	return rc;
}

void
dirlock_ending(int fd)
{
	if (pwrite(fd, ENDING, sizeof ENDING - 1, 0) < 0)
		log_warn("a mount that follows at once may be refused",
		    "err=%d", errno);
}

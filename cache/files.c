/*
 * files: opening backing files where descriptors or inodes run short; going
 * through those that are open.
 *
 * open(2) gives the lowest free number, so a number near the limit says that
 * nearly all are in use.  What is left above belongs to the database, to
 * connections and to the kernel's pipes: without it the daemon could not even
 * upload, and the shortage would stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/sys.h"
#include "cache/map.h"

#define POOL_LEAST	4u
#define OTHERS		128u	/* descriptors that are not for backing files */

static uint64_t
fd_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0 || rl.rlim_cur > INT32_MAX)
		return INT32_MAX;
	return rl.rlim_cur;
}

unsigned
file_pool(unsigned dfl)
{
	uint64_t most = fd_limit() / 8;

	return most < dfl ? (unsigned)most + 1 : dfl;
}

/* The numbers from here on are for others. */
static uint64_t
fd_own(void)
{
	uint64_t limit = fd_limit();

	return limit - (limit / 2 < OTHERS ? limit / 2 : OTHERS);
}

int
file_try(const char *path, int flags)
{
	int fd;

	fd = sys.open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || (uint64_t)fd < fd_own())
		return fd;
	if (flags & O_EXCL)
		sys.unlink(path);	/* made just now */
	sys.close(fd);
	return -EMFILE;
}

int
file_reopen(int was, int flags)
{
	char proc[40];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", was);
	return sys.open(proc, flags | O_CLOEXEC, 0);
}

/* To be open counts for more than to be read without us. */
int
file_again(int was)
{
	int fd = file_reopen(was, O_RDONLY);

	if (fd < 0 || (uint64_t)fd < fd_own() / 2)
		return fd;
	sys.close(fd);
	return -EMFILE;
}

int
file_open(struct cache *c, const char *path, int flags)
{
	int fd = file_try(path, flags);

	if (fd == -EMFILE || fd == -ENFILE) {
		bfile_trim(c, 0);
		slots_retire_now(c);
		fd = file_try(path, flags);
	} else if (fd == -ENOSPC && (flags & O_CREAT) &&
	    space_make_files(c) == 0) {
		fd = file_try(path, flags);
	}
	/* to who opens a file here EMFILE would be a limit of its own */
	return fd == -EMFILE ? -ENFILE : fd;
}

void
cache_mind_fds(struct cache *c)
{
	int fd = sys.open("/dev/null", O_RDONLY | O_CLOEXEC, 0);

	if (fd >= 0)
		sys.close(fd);
	if (fd >= 0 && (uint64_t)fd < fd_own() + OTHERS / 4)
		return;
	slots_trim(c, POOL_LEAST);
	bfile_trim(c, 0);
	slots_retire_now(c);
}

unsigned
files_take(struct cache *c, bool (*want)(const struct bfile *b), unsigned *h,
    struct bfile **v, unsigned max)
{
	struct bfile *b;
	unsigned n = 0;

	lock_take(&c->tab_lock);
	for (; *h < TABLE_SIZE && n < (max + 1) / 2; ++*h)
		for (b = c->tab[*h]; b != NULL && n < max; b = b->hnext) {
			if (b->closed_off || !want(b))
				continue;
			if (b->refs++ == 0 && b->on_idle) {
				TAILQ_REMOVE(&c->idle, b, idle);
				b->on_idle = false;
				c->nidle--;
			}
			b->inner++;
			v[n++] = b;
		}
	lock_drop(&c->tab_lock);
	return n;
}

void
files_give(struct cache *c, struct bfile **v, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		lock_take(&c->tab_lock);
		v[i]->inner--;
		cond_broadcast(&c->tab_cond);
		lock_drop(&c->tab_lock);
		bfile_put(v[i]);
	}
}

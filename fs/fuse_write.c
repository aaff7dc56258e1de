/*
 * FUSE: writes that may have to wait for room.
 *
 * Where the cache is full of bytes that are not stored yet a write waits, as
 * long as io_timeout, and a thread of the session that waits answers nobody.
 * So when as many wait as may (front_may_wait), the bytes of further ones are
 * kept, and WRITERS threads of their own wait with them, in order; the kernel
 * keeps their callers.  What is kept is bounded by memory=: beyond that a
 * write waits in its thread.
 */
#include "fs/fuse_front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/fuse_ring.h"

#define WRITERS		16
#define WRITERS_MIN	4
#define KEPT		4	/* of memory=, that part */

struct writing {
	fuse_req_t	 req;
	struct handle	*h;		/* the kernel keeps it open */
	size_t		 n;
	off_t		 off;
	bool		 sync;
	int64_t		 deadline;	/* clock_mono */
	char		 bytes[];
};

struct front_writes {
	struct workers	*pool;
	uint64_t	 most;		/* bytes kept */
	_Atomic uint64_t kept;
};

static void
do_write(fuse_req_t req, struct handle *h, const void *p, size_t n, off_t off,
    bool sync, int64_t deadline)
{
	struct bfile *spent = NULL;
	ssize_t r;
	int err = 0;

	io_interrupted = front_interrupted;
	io_interrupted_arg = req;
	io_deadline = deadline;
	r = io_write(req_fs(req), h, p, n, (uint64_t)off);
	io_interrupted = NULL;
	io_deadline = 0;
	if (r > 0 && sync)
		err = io_fsync(req_fs(req), h, &spent);
	if (r < 0 || err != 0)
		fuse_reply_err(req, r < 0 ? (int)-r : -err);
	else
		fuse_reply_write(req, (size_t)r);
	if (spent != NULL)
		fuse_ring_send();
	bfile_put(spent);
}

static void
run(void *arg)
{
	struct writing *w = arg;
	struct fuse_front *fr = fuse_req_userdata(w->req);
	size_t n = w->n;

	do_write(w->req, w->h, w->bytes, n, w->off, w->sync, w->deadline);
	free(w);
	atomic_fetch_sub(&fr->writes->kept, n);
}

/* False: it is not to wait elsewhere. */
static bool
hand_over(fuse_req_t req, struct handle *h, const void *p, size_t n, off_t off,
    bool sync)
{
	struct fuse_front *fr = fuse_req_userdata(req);
	struct front_writes *ws = fr->writes;
	struct writing *w;

	if (atomic_fetch_add(&ws->kept, n) + n > ws->most)
		goto no;
	w = malloc(sizeof *w + n);
	if (w == NULL)
		goto no;
	*w = (struct writing){ .req = req, .h = h, .n = n, .off = off,
	    .sync = sync, .deadline = clock_mono() + fr->fs->opt.io_timeout };
	memcpy(w->bytes, p, n);
	if (workers_submit(ws->pool, WORK_NORMAL, run, w) == 0)
		return true;
	free(w);
no:
	atomic_fetch_sub(&ws->kept, n);
	return false;
}

void
front_write(fuse_req_t req, struct handle *h, const void *p, size_t n,
    off_t off, bool sync, void *copy)
{
	struct fuse_front *fr = fuse_req_userdata(req);

	if (front_may_wait(fr) || !hand_over(req, h, p, n, off, sync))
		do_write(req, h, p, n, off, sync, 0);
	front_waited(fr);
	free(copy);
}

int
front_writes_start(struct fuse_front *fr)
{
	uint64_t memory = fr->fs->opt.memory;
	struct front_writes *ws = calloc(1, sizeof *ws);
	int err;

	if (ws == NULL)
		return -ENOMEM;
	ws->most = memory / KEPT;
	err = workers_new("gnsfs-write",
	    memory_share(memory, WRITERS, WRITERS_MIN), &ws->pool);
	if (err != 0)
		free(ws);
	else
		fr->writes = ws;
	return err;
}

void
front_writes_stop(struct fuse_front *fr)
{
	if (fr->writes == NULL)
		return;
	workers_free(fr->writes->pool);
	free(fr->writes);
	fr->writes = NULL;
}

/*
 * FUSE: reads that may have to wait for a store.
 *
 * A thread of the session that waits answers nobody, and when a store goes
 * away all who read from it wait at once.  So some of the session's threads
 * never wait (front_may_wait), for what needs no store; further reads are
 * handed to READERS threads of their own, in order.
 * A read whose store is away, where it is to wait for its return (offline=
 * wait), is parked, which costs no thread:
 *
 *   arrived → in a thread of the session, or queued → in a reader → answered
 *                                             ↑           ↓
 *                                             └── parked ─┴→ EINTR, or EIO
 *                                                            at the end
 * Parked ones are looked at every LOOK: one whose caller was interrupted ends,
 * and when a store came back, or after a while, all are tried again.
 *
 * A READ has its pages locked, and who invalidates them waits for it, in the
 * kernel: so a read that still waits when its file has been waited for so for
 * PATIENCE ends, too (EINTR).  Else one store that is away would keep all news
 * of others' changes back, and a daemon that is killed then would hang.
 *
 * Nothing of this is known to the kernel, but that a request takes long; it
 * lets go of a caller that is killed, whatever becomes of the request.
 */
#include "fs/fuse_front.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/fill.h"
#include "fs/fuse_ring.h"
#include "fs/stores.h"

#define READERS		64		/* by memory= */
#define READERS_MIN	12
#define LOOK		(250 * NSEC_PER_MSEC)
#define TRY_AGAIN	(5 * NSEC_PER_SEC)
#define PATIENCE	(3 * NSEC_PER_SEC)

struct reading {
	struct reading	*next;
	fuse_req_t	 req;
	struct handle	*h;		/* the kernel keeps it open */
	size_t		 size;
	off_t		 off;
	int64_t		 deadline;	/* of this try; clock_mono */
	uint64_t	 returns;	/* stores_returns before it */
	int64_t		 parked;	/* clock_mono */
};

struct front_reads {
	struct fs	*fs;
	struct workers	*pool;
	struct lock	 lock;		/* what follows */
	struct cond	 cond;
	struct reading	*parked;
	bool		 stop;
	pthread_t	 thread;
};

static struct front_reads *
reads_of(fuse_req_t req)
{
	return ((struct fuse_front *)fuse_req_userdata(req))->reads;
}

bool
front_interrupted(void *arg)
{
	struct fuse_front *fr = fuse_req_userdata(arg);

	return fuse_req_interrupted(arg) != 0 ||
	    fuse_session_exited(fr->se) != 0 || atomic_load(&fr->ending);
}

/* Its pages have been waited for long enough. */
static bool
is_in_the_way(struct fuse_front *fr, const struct handle *h)
{
	return atomic_load(&fr->invalidating) == h->v->ino &&
	    clock_mono() - atomic_load(&fr->invalidating_since) > PATIENCE;
}

struct waiting { fuse_req_t req; struct handle *h; };

static bool
is_over(void *arg)
{
	struct waiting *w = arg;

	return front_interrupted(w->req) ||
	    is_in_the_way(fuse_req_userdata(w->req), w->h);
}

static int
read_copy(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct fs *f = req_fs(req);
	void *room = fuse_ring_room(size), *taken = NULL;
	ssize_t r;

	if (room == NULL && size <= CACHE_CHUNK)
		room = taken = fill_buf_take(f);
	r = room == NULL ? -ENOMEM : io_read(f, h, room, size, (uint64_t)off);
	if (r >= 0)
		fuse_reply_buf(req, room, (size_t)r);
	fill_buf_give(f, taken);
	return r < 0 ? (int)r : 0;
}

/* 0: answered; else -errno, and it is not. */
static int
read_until(fuse_req_t req, struct handle *h, size_t size, off_t off,
    int64_t deadline)
{
	struct fs *f = req_fs(req);
	struct waiting w = { req, h };
	struct fill_ref ref;
	int err = 0;

	io_interrupted = is_over;
	io_interrupted_arg = &w;
	io_deadline = deadline;
	if (fill_ref(f, h, (uint64_t)off, size, &ref)) {
		fuse_reply_iov(req, ref.v, ref.n);
		fill_unref(f, &ref);
	} else
		err = read_copy(req, h, size, off);
	io_interrupted = NULL;
	io_deadline = 0;
	return err;
}

static void
refuse(fuse_req_t req, int err)
{
	fuse_reply_err(req, err == -EHOSTUNREACH ? EIO : -err);
}

static struct reading *
reading_new(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct reading *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->req = req;
	r->h = h;
	r->size = size;
	r->off = off;
	return r;
}

static void
park(struct front_reads *rs, struct reading *r)
{
	r->parked = clock_mono();
	lock_take(&rs->lock);
	r->next = rs->parked;
	rs->parked = r;
	cond_signal(&rs->cond);
	lock_drop(&rs->lock);
}

static void
run(void *arg)
{
	struct reading *r = arg;
	struct front_reads *rs = reads_of(r->req);
	int err;

	r->returns = stores_returns(rs->fs);
	err = read_until(r->req, r->h, r->size, r->off, r->deadline);
	if (err == -EHOSTUNREACH && rs->fs->opt.offline_wait) {
		park(rs, r);
		return;
	}
	if (err != 0)
		refuse(r->req, err);
	free(r);
}

static void
submit(struct front_reads *rs, struct reading *r, int64_t deadline)
{
	r->deadline = deadline;
	if (workers_submit(rs->pool, WORK_NORMAL, run, r) == 0)
		return;
	fuse_reply_err(r->req, ENOMEM);
	free(r);
}

void
front_read(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct fuse_front *fr = fuse_req_userdata(req);
	struct front_reads *rs = fr->reads;
	struct fs *f = rs->fs;
	int64_t deadline = clock_mono() + f->opt.io_timeout;
	uint64_t returns = f->opt.offline_wait ? stores_returns(f) : 0;
	struct reading *r = NULL;
	int err = -EAGAIN;

	if (front_may_wait(fr))
		err = read_until(req, h, size, off, deadline);
	front_waited(fr);
	if (err == 0)
		return;
	if (err == -EAGAIN || (err == -EHOSTUNREACH && f->opt.offline_wait))
		r = reading_new(req, h, size, off);
	if (r == NULL) {
		refuse(req, err == -EAGAIN ? -ENOMEM : err);
	} else if (err == -EAGAIN) {
		submit(rs, r, deadline);
	} else {
		r->returns = returns;
		park(rs, r);
	}
}

/* --- those that are parked --- */

static void
look_at(struct front_reads *rs, struct reading *r)
{
	int64_t now = clock_mono();

	if (fuse_req_interrupted(r->req) ||
	    is_in_the_way(fuse_req_userdata(r->req), r->h)) {
		fuse_reply_err(r->req, EINTR);
		free(r);
	} else if (r->returns != stores_returns(rs->fs) ||
	    now - r->parked > TRY_AGAIN) {
		submit(rs, r, now + rs->fs->opt.io_timeout);
	} else {
		lock_take(&rs->lock);
		r->next = rs->parked;
		rs->parked = r;
		lock_drop(&rs->lock);
	}
}

static void *
looker(void *arg)
{
	struct front_reads *rs = arg;
	struct reading *r, *next;
	int64_t until;

	lock_take(&rs->lock);
	while (!rs->stop) {
		if (rs->parked == NULL) {
			cond_wait(&rs->cond, &rs->lock);
			continue;
		}
		until = clock_mono() + LOOK;
		while (!rs->stop && clock_mono() < until)
			(void)cond_wait_until(&rs->cond, &rs->lock, until);
		r = rs->parked;
		rs->parked = NULL;
		lock_drop(&rs->lock);
		for (; r != NULL; r = next) {
			next = r->next;
			look_at(rs, r);
		}
		lock_take(&rs->lock);
	}
	lock_drop(&rs->lock);
	return NULL;
}

int
front_reads_start(struct fuse_front *fr)
{
	struct front_reads *rs = calloc(1, sizeof *rs);
	int err;

	if (rs == NULL)
		return -ENOMEM;
	rs->fs = fr->fs;
	lock_init(&rs->lock, RANK_LOG - 1, "reads");
	cond_init(&rs->cond);
	err = workers_new("gnsfs-read",
	    memory_share(fr->fs->opt.memory, READERS, READERS_MIN), &rs->pool);
	if (err == 0)
		err = -pthread_create(&rs->thread, NULL, looker, rs);
	if (err != 0) {
		workers_free(rs->pool);
		cond_done(&rs->cond);
		lock_done(&rs->lock);
		free(rs);
		return err;
	}
	fr->reads = rs;
	return 0;
}

void
front_reads_stop(struct fuse_front *fr)
{
	struct front_reads *rs = fr->reads;
	struct reading *r;

	if (rs == NULL)
		return;
	atomic_store(&fr->ending, true);
	lock_take(&rs->lock);
	rs->stop = true;
	cond_signal(&rs->cond);
	lock_drop(&rs->lock);
	(void)pthread_join(rs->thread, NULL);
	workers_free(rs->pool);
	while ((r = rs->parked) != NULL) {
		rs->parked = r->next;
		fuse_reply_err(r->req, EIO);
		free(r);
	}
	cond_done(&rs->cond);
	lock_done(&rs->lock);
	free(rs);
	fr->reads = NULL;
}

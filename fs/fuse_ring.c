/* See fuse_ring.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "fs/fuse_ring_impl.h"

#define POSSIBLE	"/sys/devices/system/cpu/possible"
#define ENTRIES		1024u	/* by memory_beyond */
#define ENTRIES_MIN	48u
#define FILES		8	/* of the descriptors, that part at most */
#define KEPT		8	/* of memory_beyond, that part in payloads */
#define READY_MS	5000	/* for the first request to come */
#define QUEUES_MAX	4096u
#define NO_QUEUE	UINT16_MAX

void
ring_refuse(struct fuse_ring *r)
{
	lock_take(&r->lock);
	if (!r->refused && !atomic_load(&r->ready)) {
		r->refused = true;
		r->fr->fs->uring = "off: the kernel has refused it";
		log_warn("requests do not come by io_uring", "dir=%s",
		    LOG_Q(r->fr->fs->opt.dir));
		(void)ring_command(&r->refuser, r->fd, RING_REGISTER, 0,
		    NO_QUEUE);
		(void)io_uring_submit(&r->refuser);
	}
	lock_drop(&r->lock);
}

void
ring_is_ready(struct fuse_ring *r)
{
	if (atomic_load_explicit(&r->ready, memory_order_relaxed))
		return;
	atomic_store(&r->ready, true);
	r->fr->fs->uring = "on";
}

bool
ring_is_ours(const struct fuse_ring *r, unsigned cpu)
{
	return CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(QUEUES_MAX), r->cores);
}

/* The kernel has a queue for each core there may ever be.  0: not known. */
static unsigned
count_cores(void)
{
	char text[256];
	const char *p = text;
	unsigned long from, to, n = 0;
	char *end;
	int fd = open(POSSIBLE, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	for (;;) {			/* 0-3,8 */
		from = to = strtoul(p, &end, 10);
		if (end == p)
			return 0;
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		if (to < from || to >= QUEUES_MAX)
			return 0;
		n += to - from + 1;
		if (*end != ',')
			return (unsigned)n;
		p = end + 1;
	}
}

/* Before INIT is answered an entry is refused with EAGAIN, and with nothing
 * else if it will not be then.  0; -errno. */
static int
ring_works(struct fuse_ring *r)
{
	struct io_uring u, *refuser = &r->refuser;
	struct io_uring_cqe *c;
	int err = io_uring_queue_init(RING_DEPTH, &u, RING_FLAGS);

	if (err == 0) {
		io_uring_queue_exit(&u);
		err = io_uring_queue_init(RING_DEPTH, refuser,
		    IORING_SETUP_SQE128);
	}
	if (err != 0)
		return err;
	(void)ring_command(refuser, r->fd, RING_REGISTER, 0, 0);
	err = io_uring_submit(refuser) == 1 ? 0 : -EIO;
	if (err == 0)
		err = io_uring_wait_cqe(refuser, &c);
	if (err == 0) {
		err = c->res == -EAGAIN ? 0 : c->res < 0 ? c->res : -EIO;
		io_uring_cqe_seen(refuser, c);
	}
	if (err != 0)
		io_uring_queue_exit(refuser);
	return err;
}

/* How many entries, and what of their payloads is kept. */
static void
set_limits(struct fuse_ring *r)
{
	uint64_t memory = memory_beyond(r->fr->fs->opt.memory);
	struct rlimit files;

	r->max = memory_share(memory, ENTRIES, ENTRIES_MIN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
	    r->max > files.rlim_cur / FILES)
		r->max = (unsigned)(files.rlim_cur / FILES);
	r->may_keep = memory / KEPT;
}

static bool
add_queues(struct fuse_ring *r)
{
	unsigned i;

	r->queues = calloc(r->nqueues, sizeof *r->queues);
	r->entries = calloc(r->max + RESERVE * r->nqueues, sizeof *r->entries);
	r->cores = CPU_ALLOC(QUEUES_MAX);
	if (r->queues == NULL || r->entries == NULL || r->cores == NULL ||
	    sched_getaffinity(0, CPU_ALLOC_SIZE(QUEUES_MAX), r->cores) != 0)
		return false;
	for (i = 0; i < r->nqueues; i++)
		r->queues[i] = (struct ring_queue){ .ring = r, .cpu = i };
	return true;
}

int
fuse_ring_new(struct fuse_front *fr, int fd, size_t payload,
    struct fuse_ring **ret)
{
	struct fuse_ring *r;
	int err;

	r = calloc(1, sizeof *r);
	if (r == NULL)
		return -ENOMEM;
	r->fr = fr;
	r->fd = fd;
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	r->payload = payload;
	r->nqueues = count_cores();
	err = r->nqueues == 0 ? -ENOENT : ring_works(r);
	if (err != 0) {
		free(r);
		return err;
	}
	lock_init(&r->lock, RANK_LOG - 1, "ring");
	(void)sem_init(&r->slots, 0, front_threads(fr->fs));
	set_limits(r);
	r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->stop_fd < 0 || !add_queues(r)) {
		fuse_ring_free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

unsigned
fuse_ring_background(const struct fuse_ring *r)
{
	return r->max / 4 * 3;
}

/* Where the kernel counts other cores than we do, it waits for more entries. */
static void *
watch(void *arg)
{
	struct fuse_ring *r = arg;
	struct pollfd p = { .fd = r->stop_fd, .events = POLLIN };

	if (poll(&p, 1, READY_MS) == 0)
		ring_refuse(r);
	return NULL;
}

void
fuse_ring_start(struct fuse_ring *r)
{
	struct ring_queue *q;
	unsigned i, n;

	r->watched = pthread_create(&r->watcher, NULL, watch, r) == 0;
	for (q = r->queues; q < r->queues + r->nqueues; q++) {
		/* one that no nudge gets to has all at once */
		n = ring_is_ours(r, q->cpu) ? 1 : RESERVE;
		for (i = 0; i < n; i++) {
			if (ring_entry_add(q, false))
				continue;
			log_warn("no thread for the FUSE ring", "cpu=%u",
			    q->cpu);
			ring_refuse(r);
			return;
		}
	}
}

void
fuse_ring_stop(struct fuse_ring *r)
{
	uint64_t one = 1;
	unsigned i, n;

	if (r == NULL)
		return;
	lock_take(&r->lock);
	atomic_store(&r->stop, true);
	n = atomic_load(&r->n);
	lock_drop(&r->lock);
	if (write(r->stop_fd, &one, sizeof one) != sizeof one)
		log_error("the FUSE ring was not told to end", "err=%d", errno);
	if (r->watched)
		(void)pthread_join(r->watcher, NULL);
	r->watched = false;
	for (i = 0; i < n; i++) {
		/* one whose answer comes later, or never */
		(void)sem_post(&r->entries[i]->answered);
		(void)pthread_join(r->entries[i]->thread, NULL);
	}
}

void
fuse_ring_free(struct fuse_ring *r)
{
	unsigned i;

	if (r == NULL)
		return;
	for (i = 0; i < atomic_load(&r->n); i++)
		ring_entry_free(r, r->entries[i]);
	if (r->stop_fd >= 0)
		close(r->stop_fd);
	io_uring_queue_exit(&r->refuser);
	(void)sem_destroy(&r->slots);
	CPU_FREE(r->cores);
	lock_done(&r->lock);
	free(r->queues);
	free(r->entries);
	free(r);
}

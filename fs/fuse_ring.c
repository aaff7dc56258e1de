/* See fuse_ring.h. */
#include "fs/fuse_front.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "fs/fuse_ring.h"

#define POSSIBLE	"/sys/devices/system/cpu/possible"
#define BEYOND		(48u << 20)	/* of memory=, which this is by */
#define ENTRIES		1024u
#define ENTRIES_MIN	48u
#define FILES		8	/* of the descriptors, that part at most */
#define KEPT		8	/* that part, in payloads */
#define KEPT_EACH	(64u << 10)	/* bytes that count for nothing */
#define STACK		(1u << 20)
#define READY_MS	5000	/* for the first request to come */
#define QUEUES_MAX	4096u
#define RESERVE		4	/* of a queue, with the kernel */
#define RING_DEPTH	4		/* a command, and the end */
#define RING_FLAGS	(IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | \
			    IORING_SETUP_DEFER_TASKRUN)
#define NO_QUEUE	UINT16_MAX

/* What the kernel's protocol has (7.42), and older headers have not. */
enum ring_command { RING_REGISTER = 1, RING_COMMIT_AND_FETCH = 2 };

struct ring_command_args {
	uint64_t	flags;
	uint64_t	commit_id;
	uint16_t	qid;
	uint8_t		padding[6];
};

struct ring_header {
	uint8_t		in_out[128];	/* fuse_in_header, fuse_out_header */
	uint8_t		op_in[128];	/* the request's first argument */
	uint64_t	flags;
	uint64_t	commit_id;
	uint32_t	payload;	/* bytes of all the others */
	uint32_t	padding;
	uint64_t	reserved;
};

enum { A_REQUEST = 1, THE_END };	/* completions */

struct ring_queue {
	struct fuse_ring	*ring;
	unsigned		 cpu;
	_Atomic int		 idle;	/* entries that are with the kernel */
	unsigned		 n;	/* entries; under the ring's lock */
};

/* In memory: a page with the header at its begin and, at its end, room for what
 * the library wants before a payload; then the payload. */
struct ring_entry {
	struct ring_queue	*queue;
	struct ring_header	*header;
	char			*payload;
	struct iovec		 iov[2];
	pthread_t		 thread;
	struct io_uring		 uring;
	_Atomic uint64_t	 unique;	/* to be answered; or 0 */
	sem_t			 answered, sent_on;
	_Atomic bool		 awaited;	/* by who answered */
	bool			 sent;		/* already */
	bool			 added;		/* later than the first */
	size_t			 touched;	/* of the payload; 0: few */
};

struct fuse_ring {
	struct fuse_front	*fr;
	int			 fd;		/* /dev/fuse */
	size_t			 page, payload;
	int			 stop_fd;	/* readable at the end */
	_Atomic bool		 stop;
	struct lock		 lock;
	struct io_uring		 refuser;	/* under it */
	bool			 refused;	/* under it */
	cpu_set_t		*cores;		/* that are for us */
	pthread_t		 watcher;
	bool			 watched;
	_Atomic bool		 ready;		/* a request has come */
	size_t			 may_keep;	/* bytes of payloads */
	_Atomic size_t		 kept;
	sem_t			 slots;		/* of those that handle */
	unsigned		 nqueues, max;
	unsigned		 foreign;	/* entries of others' cores */
	struct ring_queue	*queues;
	_Atomic unsigned	 n;		/* entries */
	struct ring_entry	*_Atomic *entries;
};

static _Thread_local struct ring_entry *here;	/* this thread's */

/* --- commands --- */

static struct io_uring_sqe *
command(struct io_uring *u, int fd, enum ring_command what, uint64_t commit_id,
    unsigned qid)
{
	struct ring_command_args args = { .commit_id = commit_id,
	    .qid = (uint16_t)qid };
	struct io_uring_sqe *s = io_uring_get_sqe(u);

	if (s == NULL)
		return NULL;
	memset(s, 0, 2 * sizeof *s);
	s->opcode = IORING_OP_URING_CMD;
	s->fd = fd;
	s->cmd_op = what;
	s->user_data = A_REQUEST;
	memcpy(s->cmd, &args, sizeof args);
	return s;
}

static void
prepare_register(struct ring_entry *e)
{
	struct io_uring_sqe *s = command(&e->uring, e->queue->ring->fd,
	    RING_REGISTER, 0, e->queue->cpu);

	s->addr = (uintptr_t)e->iov;
	s->len = 2;
	atomic_fetch_add(&e->queue->idle, 1);
}

static void
prepare_commit(struct ring_entry *e)
{
	(void)command(&e->uring, e->queue->ring->fd, RING_COMMIT_AND_FETCH,
	    e->header->commit_id, e->queue->cpu);
	atomic_fetch_add(&e->queue->idle, 1);
}

static void
prepare_end(struct ring_entry *e)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&e->uring);

	io_uring_prep_poll_add(s, e->queue->ring->stop_fd, POLLIN);
	s->user_data = THE_END;
}

/* An entry that there cannot be: then the kernel goes on without. */
static void
refuse(struct fuse_ring *r)
{
	lock_take(&r->lock);
	if (!r->refused && !atomic_load(&r->ready)) {
		r->refused = true;
		r->fr->fs->uring = "off: the kernel has refused it";
		log_warn("requests do not come by io_uring", "dir=%s",
		    LOG_Q(r->fr->fs->opt.dir));
		(void)command(&r->refuser, r->fd, RING_REGISTER, 0, NO_QUEUE);
		(void)io_uring_submit(&r->refuser);
	}
	lock_drop(&r->lock);
}

static void
is_ready(struct fuse_ring *r)
{
	if (atomic_load_explicit(&r->ready, memory_order_relaxed))
		return;
	atomic_store(&r->ready, true);
	r->fr->fs->uring = "on";
}

/* --- a request --- */

static bool entry_add(struct ring_queue *q, bool later);

/* The request, whole and in a row, as the library wants it; NULL: it is none.
 * Its arguments lie in two places: the first is put before the others. */
static struct fuse_in_header *
request_of(struct ring_entry *e, size_t *retn)
{
	const struct ring_header *h = e->header;
	struct fuse_in_header in;
	size_t first;
	char *p;

	memcpy(&in, h->in_out, sizeof in);
	if (h->payload > e->iov[1].iov_len ||
	    in.len < sizeof in + h->payload)
		return NULL;
	first = in.len - sizeof in - h->payload;
	if (first > sizeof h->op_in || first % sizeof(uint64_t) != 0)
		return NULL;
	p = e->payload - first - sizeof in;
	memcpy(p, &in, sizeof in);
	memcpy(p + sizeof in, h->op_in, first);
	*retn = in.len;
	return (struct fuse_in_header *)p;
}

/* So much of the payload was written to. */
static void
touch(struct ring_entry *e, size_t n)
{
	if (n <= KEPT_EACH || n <= e->touched)
		return;
	atomic_fetch_add(&e->queue->ring->kept, n - e->touched);
	e->touched = n;
}

/* Of use is nothing of the payload. */
static void
keep_little(struct ring_entry *e)
{
	struct fuse_ring *r = e->queue->ring;

	if (e->touched == 0 || atomic_load(&r->kept) <= r->may_keep)
		return;
	(void)madvise(e->payload, r->payload, MADV_DONTNEED);
	atomic_fetch_sub(&r->kept, e->touched);
	e->touched = 0;
}

static void
put_reply(struct ring_entry *e, const struct fuse_out_header *out, size_t n)
{
	memcpy(e->header->in_out, out, sizeof *out);
	e->header->payload = (uint32_t)n;
	touch(e, n);
}

/* As many handle requests at once as the session has threads else; who is done,
 * or waits for others to answer, has none. */
static void
slot_take(struct fuse_ring *r)
{
	while (sem_wait(&r->slots) != 0)
		;
}

/* The reply that was given; what it took of the payload is dropped, if it is to
 * be, before the next request. */
static void
send_now(struct ring_entry *e)
{
	if (!e->sent) {
		prepare_commit(e);
		e->sent = true;
		(void)io_uring_submit(&e->uring);
	}
	if (io_uring_sq_ready(&e->uring) == 0 &&
	    io_uring_cq_ready(&e->uring) == 0)
		keep_little(e);
}

static void
handle(struct ring_entry *e)
{
	struct fuse_front *fr = e->queue->ring->fr;
	struct fuse_buf b = { 0 };
	struct fuse_in_header *in = request_of(e, &b.size);
	struct fuse_out_header out = { .len = sizeof out, .error = -EIO };

	if (in == NULL) {
		memcpy(&out.unique, e->header->in_out +
		    offsetof(struct fuse_in_header, unique),
		    sizeof out.unique);
		put_reply(e, &out, 0);
		(void)sem_post(&e->answered);
		return;
	}
	if (e->header->payload == 0)
		keep_little(e);
	touch(e, e->header->payload);
	b.mem = in;
	/* first: who has begun a close is waited for by others with a slot */
	slot_take(e->queue->ring);
	fuse_dev_seen(fr, in, b.size);
	atomic_store(&e->unique, in->unique);
	here = e;
	fuse_session_process_buf(fr->se, &b);
	here = NULL;
	fuse_dev_handled(fr);
	if (e->touched > 0 && atomic_load(&e->unique) == 0)
		send_now(e);
	(void)sem_post(&e->queue->ring->slots);
}

static struct ring_entry *
find(struct fuse_ring *r, uint64_t unique)
{
	struct ring_entry *e;
	unsigned i, n = atomic_load(&r->n);

	if (here != NULL && atomic_load(&here->unique) == unique)
		return here;
	for (i = 0; i < n; i++) {
		e = atomic_load(&r->entries[i]);
		if (atomic_load(&e->unique) == unique)
			return e;
	}
	return NULL;
}

/* Who answers faster than the threads that send are let run would fill all
 * payloads. */
static void
wait_sent(struct ring_entry *e)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	while (sem_clockwait(&e->sent_on, CLOCK_MONOTONIC, &until) != 0 &&
	    errno == EINTR)
		;
}

bool
fuse_ring_answer(struct fuse_ring *r, const struct iovec *iov, int count)
{
	const struct fuse_out_header *h = iov[0].iov_base;
	struct fuse_out_header out = *h;
	struct ring_entry *e = h->unique == 0 ? NULL : find(r, h->unique);
	size_t n = 0;
	bool slow;
	int i;

	if (e == NULL)
		return false;
	for (i = 1; i < count; i++) {
		if (iov[i].iov_len > e->iov[1].iov_len - n) {
			out.error = -EIO;
			n = 0;
			break;
		}
		if (iov[i].iov_base != e->payload + n)
			memmove(e->payload + n, iov[i].iov_base,
			    iov[i].iov_len);
		n += iov[i].iov_len;
	}
	put_reply(e, &out, n);
	slow = e != here && n > KEPT_EACH && !atomic_load(&r->stop) &&
	    atomic_load(&r->kept) > r->may_keep;
	if (slow)
		atomic_store(&e->awaited, true);
	atomic_store(&e->unique, 0);
	(void)sem_post(&e->answered);
	if (slow)
		wait_sent(e);
	return true;
}

void
fuse_ring_send(void)
{
	struct ring_entry *e = here;

	if (e == NULL || e->sent || atomic_load(&e->unique) != 0)
		return;
	send_now(e);
}

void *
fuse_ring_room(size_t n)
{
	if (here == NULL || n > here->iov[1].iov_len)
		return NULL;
	touch(here, n);
	return here->payload;
}

/* --- threads --- */

static bool
is_ours(const struct fuse_ring *r, unsigned cpu)
{
	return CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(QUEUES_MAX), r->cores);
}

/* A core that is off, or not for us, has its requests answered elsewhere. */
static void
bind_to(unsigned cpu)
{
	size_t n = CPU_ALLOC_SIZE(cpu + 1);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);

	if (set == NULL)
		return;
	CPU_ZERO_S(n, set);
	CPU_SET_S(cpu, n, set);
	if (sched_setaffinity(0, n, set) != 0)
		log_debug("a core is not for us", "cpu=%u err=%d", cpu, errno);
	CPU_FREE(set);
}

/* What was prepared is sent, and the next request waited for; false: no more
 * come. */
static bool
next_request(struct ring_entry *e)
{
	struct io_uring_cqe *c;
	unsigned what;
	int res;

	do {
		res = io_uring_submit_and_wait(&e->uring, 1);
		if (res < 0 && res != -EINTR && res != -EAGAIN &&
		    res != -EBUSY)
			return false;
	} while (io_uring_peek_cqe(&e->uring, &c) != 0);
	what = (unsigned)c->user_data;
	res = c->res;
	io_uring_cqe_seen(&e->uring, c);
	if (what == THE_END)
		return false;
	if (res < 0 && res != -ENOTCONN && res != -ECANCELED &&
	    res != -ECONNABORTED && !atomic_load(&e->queue->ring->stop))
		log_warn("the kernel refuses an entry of the FUSE ring",
		    "cpu=%u err=%d", e->queue->cpu, res);
	return res >= 0;
}

struct nudge { unsigned cpu; char dir[]; };

static void *
nudge(void *arg)
{
	struct nudge *n = arg;
	struct statx st;

	bind_to(n->cpu);
	(void)statx(AT_FDCWD, n->dir, AT_STATX_FORCE_SYNC, STATX_MTIME, &st);
	free(n);
	return NULL;
}

/* A request to that queue, by a thread that nobody waits for: it ends when it
 * is answered, or the mount is gone. */
static void
nudge_queue(struct ring_queue *q)
{
	const char *dir = q->ring->fr->fs->opt.dir;
	struct nudge *n = malloc(sizeof *n + strlen(dir) + 1);
	pthread_t thread;

	if (n == NULL)
		return;
	n->cpu = q->cpu;
	memcpy(n->dir, dir, strlen(dir) + 1);
	if (pthread_create(&thread, NULL, nudge, n) == 0)
		(void)pthread_detach(thread);
	else
		free(n);
}

static void
serve_requests(struct ring_entry *e)
{
	struct ring_queue *q = e->queue;

	while (next_request(e)) {
		if (atomic_fetch_sub(&q->idle, 1) <= RESERVE)
			(void)entry_add(q, true);
		is_ready(q->ring);
		e->sent = false;
		handle(e);
		while (sem_wait(&e->answered) != 0)
			;
		if (atomic_load(&e->unique) != 0)
			return;		/* the end: nobody answered */
		if (e->touched > 0)
			send_now(e);
		else if (!e->sent)
			prepare_commit(e);
		if (atomic_exchange(&e->awaited, false))
			(void)sem_post(&e->sent_on);
	}
	atomic_fetch_sub(&q->idle, 1);
}

static void *
serve(void *arg)
{
	struct ring_entry *e = arg;
	struct fuse_ring *r = e->queue->ring;
	int err;

	lock_take(&r->lock);		/* it can be found now (entry_add) */
	lock_drop(&r->lock);
	if (is_ours(r, e->queue->cpu))
		bind_to(e->queue->cpu);
	err = io_uring_queue_init(RING_DEPTH, &e->uring, RING_FLAGS);
	if (err != 0) {
		log_warn("no ring for the kernel's requests", "cpu=%u err=%d",
		    e->queue->cpu, err);
		if (!e->added)
			refuse(r);
		lock_take(&r->lock);
		e->queue->n--;
		lock_drop(&r->lock);
		return NULL;
	}
	prepare_end(e);
	prepare_register(e);
	(void)io_uring_submit(&e->uring);
	if (e->added)
		nudge_queue(e->queue);
	serve_requests(e);
	io_uring_queue_exit(&e->uring);
	return NULL;
}

static struct ring_entry *
entry_new(struct ring_queue *q, bool later)
{
	struct fuse_ring *r = q->ring;
	struct ring_entry *e = calloc(1, sizeof *e);
	char *p = MAP_FAILED;

	if (e != NULL)
		p = mmap(NULL, r->page + r->payload, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		free(e);
		return NULL;
	}
	/* else what one entry touches is there for its neighbours, too */
	(void)madvise(p, r->page + r->payload, MADV_NOHUGEPAGE);
	e->queue = q;
	e->added = later;
	e->header = (struct ring_header *)p;
	e->payload = p + r->page;
	e->iov[0] = (struct iovec){ e->header, sizeof *e->header };
	e->iov[1] = (struct iovec){ e->payload, r->payload };
	(void)sem_init(&e->answered, 0, 0);
	(void)sem_init(&e->sent_on, 0, 0);
	return e;
}

static void
entry_free(struct fuse_ring *r, struct ring_entry *e)
{
	(void)sem_destroy(&e->answered);
	(void)sem_destroy(&e->sent_on);
	(void)munmap(e->header, r->page + r->payload);
	free(e);
}

static int
thread_new(struct ring_entry *e)
{
	pthread_attr_t attr;
	int err = -pthread_attr_init(&attr);

	if (err != 0)
		return err;
	(void)pthread_attr_setstacksize(&attr, STACK);
	err = -pthread_create(&e->thread, &attr, serve, e);
	(void)pthread_attr_destroy(&attr);
	return err;
}

/* One more, with its thread. */
static bool
entry_add(struct ring_queue *q, bool later)
{
	struct fuse_ring *r = q->ring;
	struct ring_entry *e = NULL;
	unsigned i;

	if (atomic_load(&r->n) >= r->max + RESERVE * r->nqueues)
		return false;
	lock_take(&r->lock);
	i = atomic_load(&r->n);
	if ((i - r->foreign < r->max || q->n < RESERVE) &&
	    !atomic_load(&r->stop))
		e = entry_new(q, later);
	if (e != NULL && thread_new(e) != 0) {
		entry_free(r, e);
		e = NULL;
	}
	if (e != NULL) {
		atomic_store(&r->entries[i], e);
		atomic_store(&r->n, i + 1);
		q->n++;
		if (!is_ours(r, q->cpu))
			r->foreign++;
	}
	lock_drop(&r->lock);
	return e != NULL;
}

/* --- the ring --- */

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
	(void)command(refuser, r->fd, RING_REGISTER, 0, 0);
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

int
fuse_ring_new(struct fuse_front *fr, int fd, size_t payload,
    struct fuse_ring **ret)
{
	struct fuse_ring *r;
	unsigned i, cores = count_cores();
	struct rlimit files;
	uint64_t memory = fr->fs->opt.memory - BEYOND;
	int err;

	if (cores == 0)
		return -ENOENT;
	r = calloc(1, sizeof *r);
	if (r == NULL)
		return -ENOMEM;
	r->fr = fr;
	r->fd = fd;
	err = ring_works(r);
	if (err != 0) {
		free(r);
		return err;
	}
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	r->payload = payload;
	lock_init(&r->lock, RANK_LOG - 1, "ring");
	(void)sem_init(&r->slots, 0, front_threads(fr->fs));
	r->nqueues = cores;
	r->max = memory_share(memory, ENTRIES, ENTRIES_MIN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
	    r->max > files.rlim_cur / FILES)
		r->max = (unsigned)(files.rlim_cur / FILES);
	r->may_keep = memory / KEPT;
	r->queues = calloc(cores, sizeof *r->queues);
	r->entries = calloc(r->max + RESERVE * cores, sizeof *r->entries);
	r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->cores = CPU_ALLOC(QUEUES_MAX);
	if (r->queues == NULL || r->entries == NULL || r->stop_fd < 0 ||
	    r->cores == NULL || sched_getaffinity(0,
	    CPU_ALLOC_SIZE(QUEUES_MAX), r->cores) != 0) {
		fuse_ring_free(r);
		return -ENOMEM;
	}
	for (i = 0; i < cores; i++)
		r->queues[i] = (struct ring_queue){ .ring = r, .cpu = i };
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
		refuse(r);
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
		n = is_ours(r, q->cpu) ? 1 : RESERVE;
		for (i = 0; i < n; i++) {
			if (entry_add(q, false))
				continue;
			log_warn("no thread for the FUSE ring", "cpu=%u",
			    q->cpu);
			refuse(r);
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
		entry_free(r, r->entries[i]);
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

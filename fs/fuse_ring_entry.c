/* An entry of the ring: its commands, its request, and its thread.  See
 * fuse_ring.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "fs/fuse_ring_impl.h"

#define KEPT_EACH	(64u << 10)	/* bytes that count for nothing */
#define STACK		(1u << 20)

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

static _Thread_local struct ring_entry *here;	/* this thread's */

/* --- commands --- */

struct io_uring_sqe *
ring_command(struct io_uring *u, int fd, enum ring_command what,
    uint64_t commit_id, unsigned qid)
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
	struct io_uring_sqe *s = ring_command(&e->uring, e->queue->ring->fd,
	    RING_REGISTER, 0, e->queue->cpu);

	s->addr = (uintptr_t)e->iov;
	s->len = 2;
	atomic_fetch_add(&e->queue->idle, 1);
}

static void
prepare_commit(struct ring_entry *e)
{
	(void)ring_command(&e->uring, e->queue->ring->fd, RING_COMMIT_AND_FETCH,
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

/* --- a request --- */

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
	if (atomic_load(&e->unique) == 0 && e->touched > 0)
		send_now(e);	/* in this order: another may answer */
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
			(void)ring_entry_add(q, true);
		ring_is_ready(q->ring);
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

	lock_take(&r->lock);	/* it can be found now: ring_entry_add */
	lock_drop(&r->lock);
	if (ring_is_ours(r, e->queue->cpu))
		bind_to(e->queue->cpu);
	err = io_uring_queue_init(RING_DEPTH, &e->uring, RING_FLAGS);
	if (err != 0) {
		log_warn("no ring for the kernel's requests", "cpu=%u err=%d",
		    e->queue->cpu, err);
		if (!e->added)
			ring_refuse(r);
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

void
ring_entry_free(struct fuse_ring *r, struct ring_entry *e)
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

bool
ring_entry_add(struct ring_queue *q, bool later)
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
		ring_entry_free(r, e);
		e = NULL;
	}
	if (e != NULL) {
		atomic_store(&r->entries[i], e);
		atomic_store(&r->n, i + 1);
		q->n++;
		if (!ring_is_ours(r, q->cpu))
			r->foreign++;
	}
	lock_drop(&r->lock);
	return e != NULL;
}

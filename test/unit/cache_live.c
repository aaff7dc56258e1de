/*
 * Files that are uploaded while they are written (K6), and give room while
 * they are open (K7).  A model as in cache_file.c, but with ops in all their
 * states at once, and live views that writes meet and miss; killed and opened
 * again.  Then threads: a writer, an uploader, readers and eviction.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/hash.h"
#include "base/sys.h"
#include "cache/map.h"
#include "test/unit/cache_util.h"

#define MB	((uint64_t)CACHE_CHUNK)
#define INO	((UINT64_C(5) << 36) | 77)

static struct sq *q;
static struct cache *c;
static struct bfile *b;

static void
setup(void)
{
	scratch();
	setenv("GNSFS_SYS_BOOT_ID", "11111111-1111-1111-1111-111111111111", 1);
	sys_init();
}

static void
open_all(uint64_t limit)
{
	struct cache_opts o = { .dir = dir, .size_limit = limit, .pool = 4 };
	struct why why = { "" };

	ck_assert_int_eq(sq_open(db, NULL, &q, &why), 0);
	o.index = q;
	ck_assert_msg(cache_open(&o, &c, NULL, &why) == 0, "%s", why.text);
}

static void
close_all(void)
{
	cache_close(c);
	sq_close(q);
}

/* --- transactions --- */

struct tx { uint64_t seq, end, last; };

static int
assign_fn(struct sqc *s, void *arg)
{
	return bfile_assign(s, b, INO);
}

static int
closed_fn(struct sqc *s, void *arg)
{
	struct tx *t = arg;

	return t->end ? bfile_part_closed(s, b, t->seq, t->end) :
	    bfile_closed(s, b, t->seq);
}

static int
landed_fn(struct sqc *s, void *arg)
{
	return bfile_landed(c, s, INO, ((struct tx *)arg)->seq);
}

static void
new_file(void)
{
	ck_assert_int_eq(bfile_new(c, &b), 0);
	ck_assert_int_eq(sq_write(q, assign_fn, NULL), 0);
	bfile_writers(b, 1);
}

static void
old_file(void)
{
	ck_assert_int_eq(bfile_get(c, INO, &b), 0);
	bfile_writers(b, 1);
}

static void
put_file(void)
{
	bfile_writers(b, -1);
	bfile_put(b);
}

/* --- the model --- */

#define SPAN	(12 * MB)
#define OPS	4096
#define IVALS	64

enum state { WAITS, LIVE, DONE, LANDED };
struct mop {
	enum state	 state;
	uint64_t	 size;
	unsigned	 n;
	struct interval	 v[IVALS];	/* what it was uploaded of */
};

/* Shared with a child that is killed. */
struct model {
	uint64_t	 size, store_size, last;
	unsigned	 thrown, done, parts, punched;
	struct mop	 op[OPS];
	uint8_t		 now[SPAN], store[SPAN];
	uint8_t		 up[8][SPAN];	/* what op % 8 uploaded */
};

static struct model *m;
static struct upload_view view;
static uint64_t live;			/* whose view; 0: none */
static bool overlapped;

static void
fill_random(uint8_t *p, size_t n)
{
	uint32_t x = rand() | 1;
	size_t i;

	for (i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = x >> 24;
	}
}

static void
changes(uint64_t off, uint64_t end)
{
	unsigned i;

	for (i = 0; live != 0 && i < view.n; i++)
		overlapped |= view.v[i].off < end && off < view.v[i].end;
}

static void
do_write(void)
{
	static uint8_t p[2 * MB];
	uint64_t off, len = 1 + rand() % (rand() % 2 ? 2 * MB - 1 : 3000);

	off = rand() % 4 ? m->size : rand() % (m->size + 1);
	if (off > SPAN - 2 * MB)
		off = rand() % (SPAN - 2 * MB);
	fill_random(p, len);
	changes(off < m->size ? off : m->size, off + len);
	ck_assert_int_eq(bfile_write(b, p, len, off), len);
	memcpy(m->now + off, p, len);
	if (m->size < off + len)
		m->size = off + len;
}

static void
do_truncate(void)
{
	uint64_t size = rand() % 3 ? m->size - rand() % (m->size / 3 + 1) :
	    rand() % SPAN;

	changes(size < m->size ? size : m->size, UINT64_MAX);
	ck_assert_int_eq(bfile_truncate(b, size), 0);
	if (size < m->size)
		memset(m->now + size, 0, SPAN - size);
	m->size = size;
}

static void
do_hole(void)
{
	uint64_t off = rand() % SPAN;

	if (off + 5000 > m->size)
		return;
	changes(off, off + 5000);
	ck_assert_int_eq(bfile_fallocate(b, FALLOC_FL_PUNCH_HOLE |
	    FALLOC_FL_KEEP_SIZE, off, 5000), 0);
	memset(m->now + off, 0, 5000);
}

static void
do_close(bool part)
{
	struct bfile_part p = { 0 };
	struct tx t = { 0 };
	int err;

	if (part) {
		err = bfile_part(b, 1, (1 + rand() % 4) * MB, &p);
		ck_assert(err == 0 || err == -ENODATA || err == -EAGAIN);
		if (err != 0)
			return;
		ck_assert_uint_eq(p.end % MB, 0);
		ck_assert_uint_le(p.end, m->size);
		m->parts++;
	} else if (!bfile_is_dirty(b))
		return;
	t.seq = ++m->last;
	t.end = p.end;
	ck_assert_uint_lt(t.seq, OPS);
	m->op[t.seq] = (struct mop){ .size = part && p.rest ? p.end :
	    m->size };
	ck_assert_int_eq(sq_write(q, closed_fn, &t), 0);
	if (part)
		bfile_part_settle(b, t.seq, t.end);
	else
		bfile_settle(b);
}

/* As upload_file.c: the newest op has what it had. */
static int
thaw_fn(struct sqc *s, void *arg)
{
	struct tx *t = arg;
	uint64_t seq;
	int err = 0;

	t->last = t->seq;
	for (seq = t->seq; !err && seq <= m->last; seq++) {
		if (m->op[seq].state == WAITS) {
			err = bfile_unfreeze(s, INO, seq);
			t->last = seq;
		}
	}
	return err;
}

static void
give_back(uint64_t seq)
{
	struct tx t = { .seq = seq };

	m->op[seq].state = WAITS;
	bfile_thaw(b, seq, seq);
	ck_assert_int_eq(sq_write(q, thaw_fn, &t), 0);
	bfile_thaw(b, seq, t.last);
}

static void
do_begin(void)
{
	int err;

	if (live != 0 || m->last == 0 || m->op[m->last].state != WAITS)
		return;
	ck_assert_int_eq(bfile_freeze(b, m->last), 0);
	err = upload_begin(b, m->last, VIEW_LIVE, &view);
	if (err != 0) {
		ck_assert_int_eq(err, -ENOENT);
		give_back(m->last);
		return;
	}
	live = m->last;
	overlapped = false;
	ck_assert_uint_le(view.n, IVALS);
	m->op[live].state = LIVE;
	m->op[live].n = view.n;
	memcpy(m->op[live].v, view.v, view.n * sizeof(*view.v));
}

static void
do_read_view(bool all)
{
	uint8_t *to = m->up[live % 8];
	uint64_t off, n;
	unsigned i;

	for (i = 0; live != 0 && i < view.n; i++) {
		if (!all && rand() % 2)
			continue;
		for (off = view.v[i].off; off < view.v[i].end; off += n) {
			n = 1 + rand() % MB;
			if (n > view.v[i].end - off)
				n = view.v[i].end - off;
			/* what was cut off meanwhile is thrown away anyway */
			if (upload_read(&view, to + off, n, off) != 0)
				ck_assert(overlapped);
		}
	}
}

static void
check_sums(void)
{
	uint64_t off, to;
	uint32_t *sums;
	unsigned i, n, k = 0;

	ck_assert_int_eq(upload_sums(&view, &sums, &n), 0);
	for (i = 0; i < view.n; i++)
		for (off = view.v[i].off; off < view.v[i].end; off = to) {
			to = (off / MB + 1) * MB;
			if (to > view.v[i].end)
				to = view.v[i].end;
			ck_assert_uint_eq(sums[k++], crc32c(0,
			    m->up[live % 8] + off, to - off));
		}
	ck_assert_uint_eq(k, n);
	free(sums);
}

static void
do_end(void)
{
	struct mop *o = &m->op[live];
	unsigned i;
	int err;

	if (live == 0)
		return;
	if (rand() % 8 == 0) {		/* its store would not */
		upload_drop(&view);
		give_back(live);
		live = 0;
		return;
	}
	do_read_view(true);
	if (!overlapped)
		check_sums();
	err = upload_end(&view);
	ck_assert(err == 0 || err == -ESTALE);
	if (overlapped)
		ck_assert_int_eq(err, -ESTALE);			/* B8 */
	if (err != 0) {
		give_back(live);
		m->thrown++;
	} else {
		for (i = 0; i < o->n; i++)
			ck_assert_int_eq(memcmp(m->up[live % 8] + o->v[i].off,
			    m->now + o->v[i].off,
			    o->v[i].end - o->v[i].off), 0);
		o->state = DONE;
		m->done++;
	}
	live = 0;
}

/* The oldest ops land as far as they may: what waits lands with nothing when a
 * later one is done (M3). */
static void
do_land(void)
{
	uint64_t seq = 1, last = 0, i;
	struct mop *o;
	struct tx t;

	while (seq <= m->last && m->op[seq].state == LANDED)
		seq++;
	for (i = seq; i <= m->last && m->op[i].state != LIVE; i++)
		if (m->op[i].state == DONE)
			last = i;
	for (; seq <= last; seq++) {
		o = &m->op[seq];
		t = (struct tx){ .seq = seq };
		ck_assert_int_eq(sq_write(q, landed_fn, &t), 0);
		if (o->size < m->store_size)
			memset(m->store + o->size, 0, SPAN - o->size);
		for (i = 0; o->state == DONE && i < o->n; i++)
			memcpy(m->store + o->v[i].off,
			    m->up[seq % 8] + o->v[i].off,
			    o->v[i].end - o->v[i].off);
		if (o->size < SPAN)
			memset(m->store + o->size, 0, SPAN - o->size);
		m->store_size = o->size;
		o->state = LANDED;
	}
	cache_landed_commit(c);
}

/* up[] is a ring of 8. */
static bool
is_crowded(void)
{
	uint64_t seq;
	unsigned n = 0;

	for (seq = 1; seq <= m->last; seq++)
		n += m->op[seq].state != LANDED;
	return n >= 7;
}

static int
fill_gap(void *arg, uint64_t off, uint64_t len)
{
	uint64_t at;

	for (at = off; at < off + len; at += MB)
		ck_assert_int_eq(bfile_fill(b, at / MB, bfile_clean_gen(b),
		    m->store + at, off + len - at < MB ? off + len - at : MB,
		    -1), 0);
	return 0;
}

static void
check_read(uint64_t off, uint64_t len)
{
	uint8_t *p = malloc(len + 1);
	uint64_t want;

	ck_assert_uint_eq(bfile_size(b), m->size);
	if (!bfile_has(b, off, len))
		ck_assert_int_eq(bfile_gaps(b, off, len, fill_gap, NULL), 0);
	want = off >= m->size ? 0 : m->size - off < len ? m->size - off : len;
	ck_assert_int_eq(bfile_read(b, p, len, off), want);
	ck_assert_int_eq(memcmp(p, m->now + off, want), 0);
	free(p);
}

static void
step(void)
{
	uint64_t off;

	switch (rand() % 20) {
	case 0: case 1: case 2: case 3: case 4: case 5:
		do_write();
		break;
	case 6:
		if (rand() % 3 == 0)
			do_truncate();
		break;
	case 7:
		do_hole();
		break;
	case 8: case 9: case 10:
		if (!is_crowded())
			do_close(true);
		break;
	case 11:
		if (!is_crowded())
			do_close(false);
		break;
	case 12: case 13:
		do_begin();
		break;
	case 14:
		do_read_view(false);
		break;
	case 15:
		do_end();
		break;
	case 16:
		do_land();
		break;
	case 17:
		m->punched += punch_open_files(c, rand() % SPAN) > 0;
		break;
	case 18:
		ck_assert_int_eq(bfile_sync(b), 0);
		break;
	default:
		off = rand() % SPAN;
		check_read(off, 1 + rand() % (SPAN - off));
	}
}

static int
orphan(void *arg, const struct cache_orphan *o)
{
	ck_assert_uint_eq(o->ino, INO);
	return 0;
}

static int
unfreeze_fn(struct sqc *s, void *arg)
{
	uint64_t seq;
	int err = 0;

	for (seq = 1; !err && seq <= m->last; seq++) {
		if (m->op[seq].state == LIVE)
			m->op[seq].state = WAITS;
		if (m->op[seq].state == WAITS)
			err = bfile_unfreeze(s, INO, seq);
	}
	return err;
}

/* As io_recover. */
static void
start(bool first)
{
	open_all(64 * MB);
	if (first) {
		new_file();
		return;
	}
	ck_assert_int_eq(sq_write(q, unfreeze_fn, NULL), 0);
	ck_assert_int_eq(cache_recover(c, orphan, NULL), 0);
	old_file();
}

static void
run(bool first, unsigned n)
{
	start(first);
	while (n-- > 0)
		step();
}

static struct model *
model_new(void)
{
	struct model *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert(p != MAP_FAILED);
	return p;
}

START_TEST(test_model)
{
	int64_t bad = counter_get(checksum_errors);
	int round;

	srand(_i + 1);
	m = model_new();
	for (round = 0; round < 4; round++) {
		run(round == 0, 150);
		if (live != 0) {
			upload_drop(&view);
			give_back(live);
			live = 0;
		}
		check_read(0, SPAN);
		ck_assert_int_eq(bfile_verify(b), 0);
		put_file();
		close_all();
	}
	ck_assert_uint_gt(m->parts, 0);
	ck_assert_uint_gt(m->done, 0);
	ck_assert_int_eq(counter_get(checksum_errors), bad);
	munmap(m, sizeof(*m));
}
END_TEST

/* Killed between any two steps: what was answered is there. */
START_TEST(test_crash)
{
	int round, status;
	pid_t pid;

	m = model_new();
	for (round = 0; round < 5; round++) {
		pid = fork();
		if (pid == 0) {
			srand(_i * 100 + round);
			run(round == 0, 60 + rand() % 60);
			_exit(0);	/* no close, nothing saved */
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	start(false);
	check_read(0, SPAN);
	ck_assert_int_eq(bfile_verify(b), 0);
	put_file();
	close_all();
	ck_assert_int_eq(counter_get(checksum_errors), 0);
	munmap(m, sizeof(*m));
}
END_TEST

static void
append(uint64_t n)
{
	uint8_t *p = malloc(n);

	fill_random(p, n);
	ck_assert_int_eq(bfile_write(b, p, n, m->size), n);
	memcpy(m->now + m->size, p, n);
	m->size += n;
	free(p);
}

/* An appending writer never disturbs an upload of what is before; one that
 * changes a byte of it does; the room of what landed is given, and its bytes
 * are fetched again. */
START_TEST(test_one)
{
	struct cache_stat was, now;
	struct bfile_part p;
	uint8_t byte = 1;

	m = model_new();
	open_all(1 << 30);
	new_file();
	append(5 * MB + 7);
	ck_assert_int_eq(bfile_part(b, 6 * MB, 6 * MB, &p), -ENODATA);
	do_close(false);
	ck_assert_int_eq(bfile_part(b, 1, MB, &p), -EAGAIN);
	ck_assert_uint_eq(p.waits, m->last);
	do_begin();
	ck_assert_uint_gt(live, 0);
	append(3 * MB);
	ck_assert_int_eq(bfile_part(b, 1, MB, &p), 0);
	ck_assert_uint_eq(p.end, 7 * MB);
	ck_assert(p.rest);
	do_close(false);		/* takes nothing of it (K6) */
	do_read_view(true);
	append(10);
	ck_assert_int_eq(upload_end(&view), 0);
	m->op[live].state = DONE;
	live = 0;
	do_land();
	ck_assert_uint_eq(m->store_size, 5 * MB + 7);
	do_begin();
	ck_assert_uint_eq(m->op[m->last].v[0].off, 5 * MB + 7);
	do_read_view(true);
	ck_assert_int_eq(bfile_write(b, &byte, 1, 6 * MB), 1);
	m->now[6 * MB] = byte;
	ck_assert_int_eq(upload_end(&view), -ESTALE);
	give_back(live);
	live = 0;
	cache_stat(c, &was);
	ck_assert_int_ge(punch_open_files(c, UINT64_MAX), 5 * MB);
	cache_stat(c, &now);
	ck_assert_uint_le(now.used + 5 * MB, was.used);
	ck_assert_int_eq(bfile_has(b, 0, MB), 0);
	ck_assert_int_eq(bfile_has(b, 5 * MB, 3 * MB), 1);
	ck_assert_uint_eq(now.dirty, was.dirty);
	check_read(0, SPAN);
	put_file();
	close_all();
	munmap(m, sizeof(*m));
}
END_TEST

/* C2, K7: what somebody else has mapped, or reads, stays; and so does what is
 * pinned or dirty. */
START_TEST(test_in_use)
{
	unsigned turn;
	int fd;

	m = model_new();
	open_all(1 << 30);
	new_file();
	append(4 * MB);
	do_close(false);
	ck_assert_int_eq(punch_open_files(c, UINT64_MAX), 0);
	do_begin();
	do_read_view(true);
	ck_assert_int_eq(punch_open_files(c, UINT64_MAX), 0);
	ck_assert_int_eq(upload_end(&view), 0);
	m->op[live].state = DONE;
	live = 0;
	ck_assert_int_eq(punch_open_files(c, UINT64_MAX), 0);
	do_land();
	ck_assert_int_eq(bfile_has(b, 0, 4 * MB), 1);
	turn = bfile_read_begin(b);
	ck_assert_int_eq(punch_open_files(c, UINT64_MAX), 0);
	ck_assert_int_eq(bfile_has(b, 0, 4 * MB), 1);
	bfile_read_end(b, turn);
	fd = open("/dev/null", O_RDONLY);
	ck_assert_int_ge(fd, 0);
	close(fd);
	{
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d",
		    bfile_reg_fd(b));
		fd = open(path, O_RDONLY);
	}
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(punch_open_files(c, UINT64_MAX), 0);
	close(fd);
	check_read(0, 4 * MB);
	ck_assert_int_eq(punch_open_files(c, MB), MB);
	ck_assert_int_eq(bfile_has(b, 0, MB), 0);
	ck_assert_int_eq(bfile_has(b, MB, 3 * MB), 1);
	bfile_writers(b, -1);
	ck_assert_int_eq(punch_open_files(c, MB), 0);
	bfile_writers(b, 1);
	put_file();
	close_all();
	munmap(m, sizeof(*m));
}
END_TEST

/* --- the index of what is dirty --- */

struct add { struct dset d; uint64_t off, end, seq; bool relabel; };

static int
add_fn(struct sqc *s, void *arg)
{
	struct add *a = arg;
	struct index_file f = { .ino = INO };
	struct sqs *u;
	int err;

	if (a->relabel) {
		u = sq_prep(s, "UPDATE c_dirty SET seq=?1 WHERE seq=0");
		sqs_int(u, 1, a->seq);
		ck_assert_int_eq(sqs_run(u), 0);
	} else
		ck_assert_int_eq(index_dirty_add(s, INO, a->off, a->end,
		    a->seq), 0);
	a->d.n = 0;
	err = index_dirty_load(s, &f, &a->d);
	return err;
}

/* It says what memory does, whatever rows lie side by side. */
START_TEST(test_index)
{
	struct dset d = { 0 };
	struct add a = { .seq = 0 };
	unsigned i, k;

	srand(_i + 1);
	open_all(64 * MB);
	for (i = 0; i < 400; i++) {
		a.relabel = rand() % 16 == 0;
		a.seq = a.relabel ? i + 1 : 0;
		a.off = rand() % 500;
		a.end = a.off + 1 + rand() % 60;
		ck_assert_int_eq(dset_reserve(&d, 2), 0);
		if (a.relabel)
			dset_rename(&d, 0, a.seq);
		else
			dset_add(&d, a.off, a.end, 0);
		ck_assert_int_eq(sq_write(q, add_fn, &a), 0);
		ck_assert_uint_eq(a.d.n, d.n);
		for (k = 0; k < d.n; k++)
			ck_assert(memcmp(&a.d.v[k], &d.v[k],
			    sizeof(*d.v)) == 0);
	}
	dset_done(&d);
	dset_done(&a.d);
	close_all();
}
END_TEST

/* --- threads --- */

#define BLOCK	4096u
#define BIG	(24 * MB)

static _Atomic uint32_t version[BIG / BLOCK];
static _Atomic uint64_t written;
static _Atomic bool stop;
static pthread_mutex_t store_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *store, *object;

static void
block_make(uint32_t *p, uint32_t no, uint32_t ver)
{
	unsigned i;

	for (i = 0; i < BLOCK / 8; i++) {
		p[2 * i] = no;
		p[2 * i + 1] = ver;
	}
}

static void
write_block(uint32_t no)
{
	uint32_t p[BLOCK / 4];
	uint32_t ver = atomic_load(&version[no]) + 1;

	block_make(p, no, ver);
	ck_assert_int_eq(bfile_write(b, p, BLOCK, (uint64_t)no * BLOCK),
	    BLOCK);
	atomic_store(&version[no], ver);
}

static void *
writer(void *arg)
{
	unsigned seed = 5;
	uint32_t no, n = BIG / BLOCK;

	for (no = 0; no < n; no++) {
		write_block(no);
		atomic_store(&written, no + 1);
		if (no % 64 == 63)
			write_block(rand_r(&seed) % no);
	}
	for (no = 0; no < 2000; no++)
		write_block(rand_r(&seed) % n);
	atomic_store(&stop, true);
	return NULL;
}

static int
fill_store(void *arg, uint64_t off, uint64_t len)
{
	uint8_t *p = malloc(MB);
	uint64_t at, gen;

	for (at = off; at < off + len; at += MB) {
		gen = bfile_clean_gen(b);
		pthread_mutex_lock(&store_lock);
		memcpy(p, store + at, MB);
		pthread_mutex_unlock(&store_lock);
		(void)bfile_fill(b, at / MB, gen, p,
		    off + len - at < MB ? off + len - at : MB, -1);
	}
	free(p);
	return 0;
}

static void *
reader(void *arg)
{
	unsigned seed = (uintptr_t)arg, turn, i;
	uint32_t p[BLOCK / 4], no, least, most;
	bool here;

	while (!atomic_load(&stop)) {
		if (atomic_load(&written) == 0)
			continue;
		no = rand_r(&seed) % atomic_load(&written);
		least = atomic_load(&version[no]);
		turn = bfile_read_begin(b);
		here = bfile_has(b, (uint64_t)no * BLOCK, BLOCK) == 1;
		if (here)
			ck_assert_int_eq(bfile_read(b, p, BLOCK,
			    (uint64_t)no * BLOCK), BLOCK);
		bfile_read_end(b, turn);
		if (!here) {
			bfile_gaps(b, (uint64_t)no * BLOCK, BLOCK, fill_store,
			    NULL);
			continue;
		}
		/* its versions, none older than was answered; of a write under
		 * way any part may be seen */
		most = atomic_load(&version[no]) + 1;
		for (i = 0; i < BLOCK / 8; i++)
			if (p[2 * i] != no || p[2 * i + 1] < least ||
			    p[2 * i + 1] > most)
				ck_abort_msg("block %u at %u: %u %u, not %u to"
				    " %u", no, i, p[2 * i], p[2 * i + 1],
				    least, most);
	}
	return NULL;
}

static void
send(void)
{
	uint64_t n;
	unsigned i;

	for (i = 0; i < view.n; i++)
		for (n = view.v[i].off; n < view.v[i].end; n += MB)
			ck_assert_int_eq(upload_read(&view, object + n,
			    view.v[i].end - n < MB ? view.v[i].end - n : MB,
			    n), 0);
}

/* One op at a time, until nothing is left. */
static void
upload_one(unsigned *done, unsigned *thrown)
{
	struct interval *v;
	struct bfile_part p;
	struct tx t = { 0 };
	unsigned i, n;
	int err;

	err = bfile_part(b, 1, 2 * MB, &p);
	if (err == -ENODATA && !atomic_load(&stop))
		return;
	t.seq = err == -EAGAIN ? p.waits : ++m->last;
	t.end = err == 0 ? p.end : 0;
	if (err != -EAGAIN)
		ck_assert_int_eq(sq_write(q, closed_fn, &t), 0);
	if (t.end > 0)
		bfile_part_settle(b, t.seq, t.end);
	ck_assert_int_eq(bfile_freeze(b, t.seq), 0);
	err = upload_begin(b, t.seq, VIEW_LIVE, &view);
	if (err != 0) {
		ck_assert(err == -EBUSY || err == -ENOENT);
		give_back(t.seq);
		return;
	}
	send();
	n = view.n;
	v = malloc((n + 1) * sizeof(*v));
	memcpy(v, view.v, n * sizeof(*v));
	err = upload_end(&view);
	if (err != 0) {
		ck_assert_int_eq(err, -ESTALE);
		give_back(t.seq);
		(*thrown)++;
	} else {
		pthread_mutex_lock(&store_lock);
		for (i = 0; i < n; i++)
			memcpy(store + v[i].off, object + v[i].off,
			    v[i].end - v[i].off);
		ck_assert_int_eq(sq_write(q, landed_fn, &t), 0);
		pthread_mutex_unlock(&store_lock);
		m->op[t.seq].state = LANDED;
		cache_landed_commit(c);
		(*done)++;
	}
	free(v);
}

START_TEST(test_threads)
{
	pthread_t t[4];
	unsigned done = 0, thrown = 0, i;
	uint64_t punched = 0;
	uint32_t want[BLOCK / 4], no;

	m = model_new();
	store = calloc(1, BIG);
	object = calloc(1, BIG);
	open_all(1 << 30);
	new_file();
	pthread_create(&t[0], NULL, writer, NULL);
	for (i = 1; i < 4; i++)
		pthread_create(&t[i], NULL, reader, (void *)(uintptr_t)i);
	while (!atomic_load(&stop)) {
		ck_assert_uint_lt(m->last, OPS - 2);
		upload_one(&done, &thrown);
		punched += punch_open_files(c, 3 * MB);
	}
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	while (bfile_is_dirty(b))
		upload_one(&done, &thrown);
	ck_assert_uint_gt(done, 3);
	ck_assert_uint_gt(punched, 0);
	for (no = 0; no < BIG / BLOCK; no++) {
		block_make(want, no, atomic_load(&version[no]));
		ck_assert_int_eq(memcmp(want, store + (uint64_t)no * BLOCK,
		    BLOCK), 0);
	}
	ck_assert_int_eq(bfile_verify(b), 0);
	put_file();
	close_all();
	free(store);
	free(object);
	munmap(m, sizeof(*m));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cache_live");
	TCase *t = tcase_create("live");
	SRunner *r = srunner_create(s);
	int bad;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, cleanup);
	tcase_add_loop_test(t, test_index, 0, 4);
	tcase_add_test(t, test_one);
	tcase_add_test(t, test_in_use);
	tcase_add_test(t, test_threads);
	tcase_add_loop_test(t, test_model, 0, 6);
	tcase_add_loop_test(t, test_crash, 0, 4);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad != 0;
}

/*
 * unseen: writes that nobody tells of: passthrough (C3, F3).
 *
 * In the index such a file is dirty [0,∞), and unclosed, from before the first
 * who may write so is answered until it is over: as it was when it was written
 * by the daemon and cut off by a crash, which is how a start finds it.  In
 * memory its intervals follow the ops that were made of it, for copies of it
 * are uploaded meanwhile.
 *
 * Over is said by who has asked for a lease (C2): by bfile_unseen_end, and all
 * of it waits for the next op; or, where he knows that nothing was changed, by
 * bfile_unseen_undo: what a clean file had in its map is kept for that, in
 * memory alone, and goes back into the index together with the end of [0,∞).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "cache/map.h"

#define TRY_LEN	4096u

/* --- what a clean file had --- */

static void
pages_free(struct page **v, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		free(v[i]);
	free(v);
}

void
kept_drop(struct bfile *b)
{
	pages_free(b->kept.v, b->kept.v != NULL ? b->kept.n : 0);
	b->kept = (struct kept){ .v = NULL };
}

/* The lock is held, and all of the file in `busy`.  What there is no memory for
 * is not kept. */
static void
keep(struct bfile *b)
{
	struct kept k = { .n = b->npages, .npresent = b->npresent,
	    .mtime = b->mtime };
	unsigned i;

	kept_drop(b);
	if (b->ino == 0 || atomic_load(&b->gone) || b->dirty.n > 0 ||
	    b->nunver > 0 ||
	    b->npresent < chunks_of(atomic_load(&b->size)))
		return;
	k.v = calloc(k.n + 1, sizeof(*k.v));
	for (i = 0; k.v != NULL && i < k.n; i++) {
		if (b->pages[i] == NULL)
			continue;
		k.v[i] = malloc(sizeof(**k.v));
		if (k.v[i] == NULL) {
			pages_free(k.v, k.n);
			return;
		}
		*k.v[i] = *b->pages[i];
		k.v[i]->save = false;
	}
	b->kept = k;
}

/* --- from the begin to the end --- */

/* The lock is held, and dropped meanwhile.  Fills, checks and saves are over
 * first, and punches: what they take is here again, or is not here. */
static int
all_dirty(struct bfile *b)
{
	struct busy e;
	int err = -EIO;

	busy_init_write(&e, 0, INF);
	busy_enter(b, &e);
	if (map_is_whole(b)) {
		keep(b);
		err = write_record(b, atomic_load(&b->size), 0, INF);
		if (err)
			kept_drop(b);
	}
	busy_leave(b, &e);
	return err;
}

int
bfile_unseen_begin(struct bfile *b)
{
	bool recorded = atomic_load(&b->open_all) &&
	    atomic_load(&b->close_seq) == 0 &&
	    !(b->base && atomic_load(&b->synced));
	int err;

	(void)bfile_size(b);
	if (!recorded)
		atomic_fetch_add(&b->gen, 1);
	lock_take(&b->lock);
	map_settle(b);
	err = dset_reserve(&b->dirty, 2);	/* for the end */
	if (!err && !recorded)
		err = all_dirty(b);
	lock_drop(&b->lock);
	if (!err)
		atomic_store(&b->unseen, true);
	if (!recorded)
		map_account(b);
	return err;
}

/* It is over.  The lock is held. */
static void
over(struct bfile *b)
{
	kept_drop(b);
	atomic_store(&b->unseen, false);
	atomic_store(&b->syncs_itself, false);
	atomic_fetch_add(&b->gen, 1);
	map_update(b);
}

void
bfile_unseen_end(struct bfile *b)
{
	struct bfile_stat st;
	bool known = bfile_stat(b, &st) == 0;

	(void)bfile_size(b);
	lock_take(&b->lock);
	map_settle(b);
	if (known)
		b->mtime = st.mtime;
	/* as the index has had it all along */
	b->dirty.n = 0;
	dset_add(&b->dirty, 0, INF, 0);
	over(b);
	lock_drop(&b->lock);
	map_account(b);
}

/* Whatever was recorded since says that something was written. */
static int
undo_tx(struct sqc *q, void *arg)
{
	struct bfile *b = arg;
	struct sqs *s = sq_prep(q, "UPDATE c_file SET alldirty=0, synced=0,"
	    " syncsize=-1, mtime=?3 WHERE ino=?1 AND inc=?2 AND alldirty=1 AND"
	    " allseq=0 AND NOT EXISTS (SELECT 1 FROM c_dirty WHERE ino=?1)");
	unsigned i;
	int err;

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, b->ino);
	sqs_int(s, 2, b->inc);
	sqs_int(s, 3, b->kept.mtime);
	err = sqs_run(s);
	if (!err && sq_changes(q) == 0)
		err = -ENODATA;
	for (i = 0; !err && i < b->kept.n; i++)
		if (b->kept.v[i] != NULL)
			err = index_page_put(q, b->ino, i, b->c->epoch,
			    b->kept.v[i]);
	return err;
}

/* Its map is what it was.  The lock is held. */
static void
put_back(struct bfile *b)
{
	map_pages_drop(b);
	b->pages = b->kept.v;
	b->npages = b->kept.n;
	b->npresent = b->kept.npresent;
	b->mtime = b->kept.mtime;
	b->kept.v = NULL;
	b->dirty.n = 0;
	b->synced = false;
	/* bytes that were dirty are clean */
	atomic_store(&b->clean_gen, atomic_fetch_add(&b->c->next_clean, 1));
	over(b);
}

int
bfile_unseen_undo(struct bfile *b)
{
	struct busy e;
	int err = 0;

	busy_init_write(&e, 0, INF);
	lock_take(&b->lock);
	map_settle(b);
	busy_enter(b, &e);
	if (b->kept.v == NULL || !atomic_load(&b->open_all) ||
	    atomic_load(&b->gone))
		err = -ENODATA;
	lock_drop(&b->lock);
	/* it is in `busy`: what is kept stays */
	if (!err)
		err = sq_write(b->c->index, undo_tx, b);
	lock_take(&b->lock);
	if (!err)
		put_back(b);
	busy_leave(b, &e);
	lock_drop(&b->lock);
	if (!err)
		map_account(b);
	return err;
}

/* --- what the disk says --- */

int
bfile_is_final(struct bfile *b)
{
	bool given;

	lock_take(&b->lock);
	given = b->reg_fd >= 0 || atomic_load(&b->unseen);
	lock_drop(&b->lock);
	return given ? bfile_lease(b, F_RDLCK) : 0;
}

int
bfile_is_alone(struct bfile *b)
{
	return bfile_lease(b, F_WRLCK);
}

bool
bfile_is_all_dirty(struct bfile *b)
{
	bool r;

	lock_take(&b->lock);
	map_settle(b);
	r = dset_covers(&b->dirty, 0, INF);
	lock_drop(&b->lock);
	return r;
}

void
bfile_lend(struct bfile *b, bool yes)
{
	atomic_store(&b->lent, yes);
}

/* C2: does a lease know of a mapping whose descriptor is closed?  On overlayfs
 * it does not: what is mapped there is the file below. */
static int
lease_sees_mapping(struct bfile *b)
{
	int fd = file_reopen(b->fd, O_RDWR), err;
	void *p;

	if (fd < 0)
		return fd;
	p = mmap(NULL, TRY_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	err = p == MAP_FAILED ? -errno : 0;
	sys.close(fd);
	if (err != 0)
		return err;
	err = bfile_lease(b, F_RDLCK);
	munmap(p, TRY_LEN);
	return err == -EAGAIN ? 0 : err == 0 ? -EINVAL : err;
}

int
bfile_has_leases(struct bfile *b)
{
	int fd = bfile_reg_fd(b), err;

	if (fd < 0)
		return fd;
	err = lease_sees_mapping(b);
	if (err == 0)
		err = bfile_lease(b, F_RDLCK);
	if (err == 0)
		err = bfile_lease(b, F_WRLCK);
	return err == -EAGAIN ? 0 : err;	/* somebody has it */
}

/* fd's only page is dirty, and p a mapping that has not written to it.  It has
 * read it: tmpfs lets it write then without a fault. */
static bool
store_tells(int fd, volatile char *p)
{
	const struct timespec past[2] = { { .tv_nsec = UTIME_OMIT },
	    { .tv_sec = 1 } };
	struct stat st;

	if (p[0] != 0 || futimens(fd, past) != 0)
		return false;
	p[1] = 1;
	return sys.fstat(fd, &st) == 0 && st.st_mtim.tv_sec != 1;
}

bool
bfile_tells_stores(struct bfile *b)
{
	static const char some[TRY_LEN];
	void *p;
	bool r;

	if (bfile_writable(b) != 0 ||
	    sys_pwrite_all(b->fd, some, sizeof(some), 0) != 0)
		return false;
	p = mmap(NULL, TRY_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	r = p != MAP_FAILED && store_tells(b->fd, p);
	if (p != MAP_FAILED)
		munmap(p, TRY_LEN);
	return sys.ftruncate(b->fd, 0) == 0 && r;
}

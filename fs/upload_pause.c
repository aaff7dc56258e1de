/*
 * upload_pause: no bytes go to a store while its address is changed, and what
 * went there without being recorded goes to where it is then.
 *
 * Such bytes are still here (B6), and dirty or unstored: their ops wait for
 * them again (journal_put_again), and the files' intervals are the newest
 * op's that waits, as where an upload could not be noted (give_back).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cache/backing.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "fs/upload_impl.h"
#include "meta/imap.h"
#include "meta/query.h"

#define PATIENCE	(30 * NSEC_PER_SEC)
#define LOOK		(NSEC_PER_SEC / 10)

struct again {
	struct fs	*f;
	uint32_t	 store;
	struct sqc	*c;
	struct buf	 before, puts;	/* struct journal_put: thawed; now */
	struct imap	 at;		/* a large one's place in newest */
	struct buf	 newest;	/* of each inode: its op, a uint64_t */
	int		 err;
};

static int
add_put(void *arg, const struct journal_put *p)
{
	struct buf *b = arg;

	buf_put(b, p, sizeof *p);
	return buf_err(b);
}

static unsigned
count(const struct buf *b)
{
	return (unsigned)(b->len / sizeof(struct journal_put));
}

static const struct journal_put *
put_at(const struct buf *b, unsigned i)
{
	return (const struct journal_put *)(const void *)b->p + i;
}

static int
by_seq(const void *a, const void *b)
{
	const struct journal_put *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Its file's intervals in memory (bfile_thaw). */
static void
thaw(struct fs *f, const struct journal_put *p, uint64_t to)
{
	struct bfile *b = NULL;

	if (!p->small && bfile_get(f->cache, p->ino, &b) == 0)
		bfile_thaw(b, p->seq, to);
	bfile_put(b);
}

/* Are its bytes here?  They are, but where a power cut took them (L11). */
static int
check_put(struct again *a, const struct journal_put *p)
{
	uint64_t none = 0;
	struct attr attr;
	int err, here;

	if (p->small)
		return 0;
	if (a->before.len == 0 || bsearch(p, a->before.p, count(&a->before),
	    sizeof *p, by_seq) == NULL)
		return -EAGAIN;		/* it came since */
	/* a file that was read since is known too */
	here = p->stored ? bfile_has_op(a->c, p->ino, p->seq) :
	    bfile_is_known(a->c, p->ino);
	if (here < 0)
		return here;
	if (here == 0) {
		err = meta_getattr(a->c, p->ino, &attr);
		if (err != -ENOENT)	/* else it goes (B7) */
			return err != 0 ? err : -EBUSY;
	}
	if (imap_get(&a->at, p->ino) != 0)
		return 0;
	buf_put(&a->newest, &none, sizeof none);
	err = buf_err(&a->newest);
	return err != 0 ? err : imap_set(&a->at, p->ino,
	    (uint32_t)(a->newest.len / sizeof none));
}

static int
unfreeze_one(void *arg, uint64_t seq, uint64_t ino, int64_t time)
{
	struct again *a = arg;
	uint32_t at = imap_get(&a->at, ino);

	if (at == 0)
		return 0;
	((uint64_t *)(void *)a->newest.p)[at - 1] = seq;
	a->err = bfile_unfreeze(a->c, ino, seq);
	return a->err != 0;
}

static int
again_tx(struct sqc *c, void *arg)
{
	struct again *a = arg;
	unsigned i;
	int err;

	a->c = c;
	a->err = 0;
	buf_reset(&a->puts);
	buf_reset(&a->newest);
	imap_done(&a->at);
	err = journal_put_in(c, a->store, add_put, &a->puts);
	for (i = 0; err == 0 && i < count(&a->puts); i++) {
		err = check_put(a, put_at(&a->puts, i));
		if (err == 0)
			err = journal_put_again(a->f->meta, c,
			    put_at(&a->puts, i));
	}
	if (err == 0)
		err = journal_waiting(c, 0, unfreeze_one, a);
	return err != 0 ? err : a->err;
}

/* No upload begins, and none is under way of the files of puts, to wherever:
 * its view would lack what becomes its op's. */
static int
halt(struct upload *u, const struct buf *puts)
{
	unsigned i, k;
	int err = 0;

	lock_take(&u->lock);
	for (i = 0; i < ACTIVE_MAX; i++)
		for (k = 0; u->jobs[i] != NULL && k < count(puts); k++)
			if (u->jobs[i]->ino == put_at(puts, k)->ino)
				err = -EAGAIN;
	u->halted = err == 0;
	lock_drop(&u->lock);
	return err;
}

static int
halted(struct again *a)
{
	const struct journal_put *p;
	unsigned i;
	int err;

	for (i = 0; i < count(&a->before); i++) {
		p = put_at(&a->before, i);
		thaw(a->f, p, p->seq);
	}
	err = sq_write(meta_sq(a->f->meta), again_tx, a);
	for (i = 0; err == 0 && i < count(&a->puts); i++) {
		p = put_at(&a->puts, i);
		if (!p->small)
			thaw(a->f, p, ((uint64_t *)(void *)a->newest.p)
			    [imap_get(&a->at, p->ino) - 1]);
	}
	return err;
}

/* -EAGAIN, -EBUSY: not now. */
static int
put_again(struct fs *f, uint32_t store)
{
	struct again a = { .f = f, .store = store };
	struct upload *u = f->upload;
	struct sqc *q = NULL;
	int err;

	err = sq_read(meta_sq(f->meta), &q);
	if (err == 0)
		err = journal_put_in(q, store, add_put, &a.before);
	sq_read_end(q);
	if (err == 0)
		err = halt(u, &a.before);
	if (err == 0) {
		err = halted(&a);
		lock_take(&u->lock);
		u->halted = false;
		lock_drop(&u->lock);
	}
	buf_done(&a.before);
	buf_done(&a.puts);
	buf_done(&a.newest);
	imap_done(&a.at);
	return err;
}

/* What is under way there ends.  What hangs at a store that is down is thrown
 * away when it is back, at another address (upload_put). */
static int
drain(struct fs *f, uint32_t store, int64_t until)
{
	struct upload *u = f->upload;
	struct target *t;
	unsigned i;
	int err = 0;

	lock_take(&u->lock);
	t = upload_target(u, store);
	if (t == NULL)
		err = -ENOMEM;
	else
		t->paused = true;
	for (i = 0; err == 0 && i < ACTIVE_MAX; i++)
		if (u->jobs[i] != NULL && u->jobs[i]->to == t)
			atomic_store(&u->jobs[i]->cancel, true);
	while (err == 0 && t->active > 0)
		err = cond_wait_until(&u->cond, &u->lock, until);
	lock_drop(&u->lock);
	return err != -ENOMEM && stores_is_down(f, store) ? 0 : err;
}

int
upload_pause(struct fs *f, uint32_t store)
{
	int64_t until = clock_mono() + PATIENCE;
	int err;

	if (f->upload == NULL || fs_may_write(f) != 0)
		return 0;		/* there is nothing to pause */
	err = drain(f, store, until);
	if (err == 0)
		err = put_again(f, store);
	while ((err == -EAGAIN || err == -EBUSY) && clock_mono() < until) {
		ship_kick(f);
		(void)clock_sleep(LOOK);
		err = put_again(f, store);
	}
	if (err != 0)
		upload_resume(f, store);
	return err == -EAGAIN ? -EBUSY : err;
}

void
upload_resume(struct fs *f, uint32_t store)
{
	struct upload *u = f->upload;
	struct target *t;

	if (u == NULL)
		return;
	lock_take(&u->lock);
	for (t = u->targets; t != NULL; t = t->next)
		if (t->store == store)
			t->paused = false;
	lock_drop(&u->lock);
	upload_retry(f);
}

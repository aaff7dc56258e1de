/* See flight.h. */
#include "fs/flight.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/io.h"

#define CHAINS	64	/* a power of two */
#define SLICE	(250 * NSEC_PER_MSEC)	/* between looks at interrupts */

struct flight {
	struct flight	*next;		/* hash chain */
	struct small_id	 id;
	unsigned	 refs;		/* who began it, and who wait */
	const void	*p;		/* its bytes, once it has landed */
	void		*own;		/* they are its own: who fetched them
					   is gone */
	bool		 ended;
	int		 err;
};

struct flights {
	struct lock	 lock;
	struct cond	 cond;		/* one landed or ended */
	struct flight	*heads[CHAINS];
};

int
flights_new(struct flights **ret)
{
	struct flights *t = calloc(1, sizeof *t);

	if (t == NULL)
		return -ENOMEM;
	lock_init(&t->lock, RANK_FILL, "flights");
	cond_init(&t->cond);
	*ret = t;
	return 0;
}

void
flights_free(struct flights *t)
{
	if (t == NULL)
		return;
	cond_done(&t->cond);
	lock_done(&t->lock);
	free(t);
}

static struct flight **
chain_of(struct flights *t, const struct small_id *id)
{
	uint64_t h = (id->ino ^ id->object) * UINT64_C(0x9e3779b97f4a7c15);

	return &t->heads[h >> 32 & (CHAINS - 1)];
}

/* Locked. */
static struct flight *
find(struct flights *t, const struct small_id *id)
{
	struct flight *x;

	for (x = *chain_of(t, id); x != NULL; x = x->next)
		if (memcmp(&x->id, id, sizeof *id) == 0)
			break;
	return x;
}

/* Locked. */
static struct flight *
add(struct flights *t, const struct small_id *id)
{
	struct flight *x = calloc(1, sizeof *x);

	if (x == NULL)
		return NULL;
	x->id = *id;
	x->refs = 1;
	x->next = *chain_of(t, id);
	*chain_of(t, id) = x;
	return x;
}

/* Locked. */
static void
unref(struct flight *x)
{
	if (--x->refs > 0)
		return;
	free(x->own);
	free(x);
}

int
flight_join(struct fs *f, const struct small_id *id, struct flight **ret)
{
	struct flights *t = f->flights;
	struct flight *x;
	int rv = 0;

	lock_take(&t->lock);
	x = find(t, id);
	if (x != NULL)
		x->refs++;
	else
		rv = (x = add(t, id)) != NULL ? 1 : -ENOMEM;
	lock_drop(&t->lock);
	*ret = x;
	return rv;
}

struct flight *
flight_begin(struct fs *f, const struct small_id *id)
{
	struct flights *t = f->flights;
	struct flight *x = NULL;

	lock_take(&t->lock);
	if (find(t, id) == NULL)
		x = add(t, id);
	lock_drop(&t->lock);
	return x;
}

void
flight_land(struct fs *f, struct flight *x, const void *p)
{
	struct flights *t = f->flights;

	lock_take(&t->lock);
	x->p = p;
	if (x->refs > 1)
		cond_broadcast(&t->cond);
	lock_drop(&t->lock);
}

void
flight_end(struct fs *f, struct flight *x, int err)
{
	struct flights *t = f->flights;
	struct flight **at = chain_of(t, &x->id);

	lock_take(&t->lock);
	while (*at != x) {
		assert(*at != NULL);
		at = &(*at)->next;
	}
	*at = x->next;
	x->ended = true;
	x->err = err;
	if (x->refs > 1 && x->p != NULL) {
		x->own = malloc(x->id.len);
		if (x->own != NULL)
			memcpy(x->own, x->p, x->id.len);
		else
			x->err = -ENOMEM;
	}
	x->p = x->own;
	cond_broadcast(&t->cond);
	unref(x);
	lock_drop(&t->lock);
}

int
flight_wait(struct fs *f, struct flight *x, int64_t deadline, struct buf *out)
{
	struct flights *t = f->flights;
	int64_t now;
	int err = 0;

	lock_take(&t->lock);
	while (err == 0 && x->p == NULL && !x->ended) {
		now = clock_mono();
		if (now >= deadline)
			err = -EHOSTUNREACH;
		else if (io_interrupted != NULL &&
		    io_interrupted(io_interrupted_arg))
			err = -EINTR;
		else
			(void)cond_wait_until(&t->cond, &t->lock,
			    now + SLICE < deadline ? now + SLICE : deadline);
	}
	if (err == 0 && x->p != NULL) {
		buf_put(out, x->p, x->id.len);
		err = buf_err(out);
	} else if (err == 0)
		err = x->err;
	unref(x);
	lock_drop(&t->lock);
	return err;
}

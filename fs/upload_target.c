/*
 * upload_target: the stores that bytes go to, as upload sees them
 * (upload_impl.h): which may get something now, and which hold back what waits
 * for them (L3).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/stores.h"
#include "fs/upload_impl.h"
#include "meta/batch.h"

#define WALK_LONG	(50 * NSEC_PER_MSEC)
#define WALK_REST	4	/* times what it took */

struct target *
upload_target(struct upload *u, uint32_t store)
{
	struct target *t;

	lock_assert_held(&u->lock);
	for (t = u->targets; t != NULL; t = t->next)
		if (t->store == store)
			return t;
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return NULL;
	t->store = store;
	t->pause = UPLOAD_PAUSE / 2;
	t->next = u->targets;
	u->targets = t;
	return t;
}

static int
choice_add(void *arg, const struct place_row *r)
{
	struct choice c = { .store = r->store };
	struct buf *b = arg;
	const struct choice *v = (const void *)b->p;
	size_t i;

	for (i = 0; i < b->len / sizeof c; i++)
		if (v[i].store == c.store)
			return 0;
	buf_put(b, &c, sizeof c);
	return 0;
}

int
upload_choices(struct fs *f, struct sqc *q, struct buf *ret)
{
	struct upload *u = f->upload;
	struct choice *v;
	size_t i;
	int err;

	(void)choice_add(ret, &(struct place_row){ .store = PLACE_HOME });
	err = place_rows(q, choice_add, ret);
	if (err == 0)
		err = buf_err(ret);
	if (err != 0)
		return err;
	v = (void *)ret->p;
	lock_take(&u->lock);
	for (i = 0; i < ret->len / sizeof *v; i++) {
		v[i].to = upload_target(u, v[i].store);
		if (v[i].to != NULL && upload_may(f, v[i].to))
			v[i].room = 2 * ACTIVE_OF_ONE;
	}
	lock_drop(&u->lock);
	return 0;
}

bool
upload_walk_begin(struct fs *f, unsigned kind)
{
	struct upload *u = f->upload;
	uint64_t reasons = u->reasons + stores_returns(f);

	lock_assert_held(&u->lock);
	if (u->walks[kind].reasons == reasons &&
	    clock_mono() < u->walks[kind].until)
		return false;
	u->walks[kind].reasons = reasons;
	u->walks[kind].until = 0;
	return true;
}

void
upload_walk_end(struct upload *u, unsigned kind, int64_t began, bool found)
{
	int64_t now = clock_mono();

	lock_assert_held(&u->lock);
	if (!found && now - began > WALK_LONG)
		u->walks[kind].until = now + WALK_REST * (now - began);
}

bool
upload_may(struct fs *f, const struct target *t)
{
	lock_assert_held(&f->upload->lock);
	return t->active < ACTIVE_OF_ONE && !t->paused &&
	    clock_mono() >= t->not_before && !f->upload->stop &&
	    !stores_is_down(f, t->store);
}

void
upload_watch(struct fs *f)
{
	uint32_t v[ACTIVE_MAX];
	struct upload *u = f->upload;
	struct target *t;
	unsigned n = 0;

	lock_take(&u->lock);
	for (t = u->targets; t != NULL && n < ACTIVE_MAX; t = t->next)
		if (t->active > 0 && t->store != STORE_HOME_ID)
			v[n++] = t->store;
	lock_drop(&u->lock);
	while (n-- > 0)
		stores_probe(f, v[n]);
}

void
upload_forget_pauses(struct upload *u, bool shorten)
{
	struct target *t;

	u->reasons++;
	for (t = u->targets; t != NULL; t = t->next) {
		t->not_before = 0;
		if (shorten)
			t->pause = UPLOAD_PAUSE / 2;
	}
}

/* u->lock held. */
static bool
takes_nothing(struct fs *f, const struct target *t)
{
	return t->store != STORE_HOME_ID && (t->why[0] != '\0' ||
	    t->paused || stores_is_down(f, t->store));
}

static int
store_cmp(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

void
upload_down(struct fs *f, struct freeze_down *ret)
{
	struct upload *u = f->upload;
	struct target *t;

	*ret = (struct freeze_down){ .n = 0 };
	if (u == NULL)
		return;
	lock_take(&u->lock);
	ret->epoch = u->epoch;
	for (t = u->targets; t != NULL && ret->n < FREEZE_DOWN; t = t->next)
		if (takes_nothing(f, t))
			ret->stores[ret->n++] = t->store;
	lock_drop(&u->lock);
	qsort(ret->stores, ret->n, sizeof *ret->stores, store_cmp);
}

bool
upload_target_why(struct fs *f, const struct target *t, char *ret, size_t n)
{
	char name[65], why[180];

	if (t->paused) {
		stores_name(f, t->store, name);
		snprintf(ret, n, "store %s: its address is being changed",
		    name);
		return true;
	}
	if (t->why[0] == '\0' && stores_down_why(f, t->store, why,
	    sizeof why)) {
		stores_name(f, t->store, name);
		snprintf(ret, n, "store %s: %s", name, why);
		return true;
	}
	if (t->why[0] != '\0')
		snprintf(ret, n, "%s", t->why);
	return t->why[0] != '\0';
}

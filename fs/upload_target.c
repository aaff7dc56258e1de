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

bool
upload_may(struct fs *f, const struct target *t)
{
	lock_assert_held(&f->upload->lock);
	return t->active < ACTIVE_OF_ONE && clock_mono() >= t->not_before &&
	    !f->upload->stop && !stores_is_down(f, t->store);
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
	    stores_is_down(f, t->store));
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

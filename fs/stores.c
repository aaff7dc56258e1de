/*
 * stores: the stores by id, opened when first wanted.
 *
 * The table only grows while the mount lives: who got a struct store may use
 * it until stores_free.  A store whose URL was changed gets a new entry's
 * worth of state and the old stack is kept aside (`old`).
 *
 * The lock is held over no call of a store and none of the database.
 */
#include "fs/stores_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/url.h"
#include "meta/query.h"

#define SLOWEST		(256u << 10)	/* bytes a second that are borne */

struct entry *
stores_entry(struct stores *s, uint32_t id)
{
	lock_assert_held(&s->lock);
	for (struct entry *e = s->list; e != NULL; e = e->link)
		if (e->id == id)
			return e;
	return NULL;
}

static int
entry_new(uint32_t id, const char *name, const char *url, struct entry **ret)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	e->url = strdup(url);
	if (e->url == NULL) {
		free(e);
		return -ENOMEM;
	}
	e->id = id;
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->listed = true;
	e->since = clock_real();
	*ret = e;
	return 0;
}

static void
entry_insert(struct stores *s, struct entry *e)
{
	struct entry **at = &s->list;

	while (*at != NULL && (*at)->id < e->id)
		at = &(*at)->link;
	e->link = *at;
	*at = e;
}

void
stores_name(struct fs *f, uint32_t id, char ret[65])
{
	struct stores *s = f->stores;
	struct entry *e;

	lock_take(&s->lock);
	e = stores_entry(s, id);
	if (e != NULL)
		memcpy(ret, e->name, sizeof(e->name));
	else
		snprintf(ret, 65, "%u", id);
	lock_drop(&s->lock);
}

int
stores_by_name(struct fs *f, const char *name, uint32_t *ret)
{
	struct stores *s = f->stores;
	struct entry *e;
	int err;

	err = stores_reload(f);
	if (err != 0)
		return err;
	lock_take(&s->lock);
	for (e = s->list; e != NULL; e = e->link)
		if (e->listed && strcmp(e->name, name) == 0)
			break;
	if (e != NULL)
		*ret = e->id;
	lock_drop(&s->lock);
	return e != NULL ? 0 : -ENOENT;
}

int
stores_new(struct fs *f, struct store *home, struct stores **ret)
{
	struct stores *s = calloc(1, sizeof(*s));
	struct entry *e;
	int err;

	if (s == NULL)
		return -ENOMEM;
	s->fs = f;
	lock_init(&s->lock, RANK_STORE, "stores");
	cond_init(&s->changed);
	err = entry_new(STORE_HOME_ID, "home", home->url, &e);
	if (err != 0)
		goto fail;
	e->near = stores_nearness(home->url, home->url);
	entry_insert(s, e);
	/* The prober reports through f->stores, so it is set before it runs. */
	f->stores = s;
	err = -pthread_create(&s->thread, NULL, stores_prober, s);
	if (err != 0) {
		f->stores = NULL;
		goto fail;
	}
	lock_take(&s->lock);
	e->store = home;
	lock_drop(&s->lock);
	*ret = s;
	return 0;
fail:
	if (s->list != NULL) {
		free(s->list->url);
		free(s->list);
	}
	cond_done(&s->changed);
	lock_done(&s->lock);
	free(s);
	return err;
}

static void
old_free(struct old *o)
{
	struct old *next;

	for (; o != NULL; o = next) {
		next = o->next;
		store_free(o->store);
		free(o);
	}
}

void
stores_stop(struct stores *s)
{
	if (s == NULL || s->stopped)
		return;
	lock_take(&s->lock);
	s->stopping = true;
	cond_broadcast(&s->changed);
	lock_drop(&s->lock);
	(void)pthread_join(s->thread, NULL);
	s->stopped = true;
}

void
stores_free(struct stores *s)
{
	struct entry *e;

	if (s == NULL)
		return;
	stores_stop(s);
	while ((e = s->list) != NULL) {
		s->list = e->link;
		store_free(e->store);
		old_free(e->old);
		free(e->url);
		free(e);
	}
	cond_done(&s->changed);
	lock_done(&s->lock);
	free(s);
}

/* --- as the namespace has them --- */

/* The rows of one reading.  What is looked for by others meanwhile is found as
 * the readings before have it; all of this one counts at once, at its end. */
struct rows { struct buf v, text; };	/* struct known; names, URLs */
struct known { uint32_t id; size_t name, url; };

static int
note_row(void *arg, const struct store_row *r)
{
	struct rows *rows = arg;
	struct known k = { .id = r->id, .name = rows->text.len };

	buf_put(&rows->text, r->name, strlen(r->name) + 1);
	k.url = rows->text.len;
	buf_put(&rows->text, r->url, strlen(r->url) + 1);
	buf_put(&rows->v, &k, sizeof k);
	return buf_err(&rows->text) != 0 ? buf_err(&rows->text) :
	    buf_err(&rows->v);
}

/* It is at another address from now on. */
static int
entry_move(struct stores *s, struct entry *e, const char *url)
{
	struct old *o = calloc(1, sizeof(*o));
	char *copy = strdup(url);

	if (copy == NULL || o == NULL) {
		free(copy);
		free(o);
		return -ENOMEM;
	}
	free(e->url);
	e->url = copy;
	e->near = stores_nearness(copy, s->list->url);
	if (e->store != NULL) {
		o->store = e->store;
		o->next = e->old;
		e->old = o;
		o = NULL;
		e->store = NULL;
	}
	/* what was said of the other address */
	e->down = false;
	e->why[0] = '\0';
	free(o);
	return 0;
}

/* One row, under the lock.  The home's stack is the one that was mounted,
 * whatever URL is recorded. */
static int
take_row(struct stores *s, uint32_t id, const char *name, const char *url,
    uint64_t reading)
{
	struct entry *e = stores_entry(s, id);
	int err;

	if (e == NULL) {
		err = entry_new(id, name, url, &e);
		if (err != 0)
			return err;
		e->near = stores_nearness(url, s->list->url);
		entry_insert(s, e);
	}
	e->reading = reading;
	snprintf(e->name, sizeof(e->name), "%s", name);
	if (id == STORE_HOME_ID || strcmp(e->url, url) == 0)
		return 0;
	return entry_move(s, e, url);
}

/* Those of a reading that began before another that has been taken are older,
 * and count no more. */
static int
take_rows(struct stores *s, const struct rows *rows, uint64_t reading)
{
	const struct known *v = (const void *)rows->v.p;
	const char *text = (const char *)rows->text.p;
	size_t n = rows->v.len / sizeof *v;
	int err = 0;

	lock_assert_held(&s->lock);
	if (reading < s->taken)
		return 0;
	for (size_t i = 0; err == 0 && i < n; i++)
		err = take_row(s, v[i].id, text + v[i].name, text + v[i].url,
		    reading);
	if (err != 0)
		return err;
	s->taken = reading;
	for (struct entry *e = s->list; e != NULL; e = e->link)
		e->listed = e->id == STORE_HOME_ID || e->reading == reading;
	return 0;
}

int
stores_reload(struct fs *f)
{
	struct stores *s = f->stores;
	struct rows rows = { BUF_INIT, BUF_INIT };
	struct sqc *c = NULL;
	uint64_t reading;
	int err;

	lock_take(&s->lock);
	reading = ++s->readings;
	lock_drop(&s->lock);
	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_stores(c, note_row, &rows);
	sq_read_end(c);
	if (err == 0) {
		lock_take(&s->lock);
		err = take_rows(s, &rows, reading);
		lock_drop(&s->lock);
	}
	buf_done(&rows.v);
	buf_done(&rows.text);
	return err;
}

int
stores_url_check(const char *text, struct why *why)
{
	struct stack_opts opts = { .trace_fd = -1 };
	struct store *s = NULL;
	struct why own = { "" };
	struct url u;
	int err;

	err = url_parse(text, &u, why);
	if (err != 0)
		return err;
	err = store_open(&u, &opts, &s, &own);
	store_free(s);
	url_done(&u);
	if (err == -EINVAL)
		why_set(why, err, "%s", why_text(&own, err));
	/* what else is wrong, credentials say, is another day's affair */
	return err == -EINVAL || err == -ENOMEM ? err : 0;
}

/* Opens url with no lock held, then keeps the stack if nobody was faster. */
static int
entry_open(struct stores *s, uint32_t id, const char *url, struct store **ret,
    struct why *why)
{
	struct stack_opts opts = { .trace_fd = -1 };
	struct store *st = NULL;
	struct entry *e;
	struct url u;
	int err;

	err = url_parse(url, &u, why);
	if (err != 0)
		return err;
	err = store_open(&u, &opts, &st, why);
	url_done(&u);
	if (err != 0)
		return why_prefix(why, err, "store %u", id);
	lock_take(&s->lock);
	e = stores_entry(s, id);
	if (e != NULL && e->store == NULL && strcmp(e->url, url) == 0) {
		e->store = st;
		st = NULL;
	}
	*ret = e != NULL ? e->store : NULL;
	lock_drop(&s->lock);
	store_free(st);
	return *ret == NULL ? -EAGAIN : 0;
}

static int
stores_get_known(struct stores *s, uint32_t id, struct store **ret,
    struct why *why)
{
	struct entry *e;
	char *url = NULL;
	int err = 0;

	lock_take(&s->lock);
	e = stores_entry(s, id);
	if (e == NULL) {
		err = -ENOENT;
	} else if (e->store != NULL) {
		*ret = e->store;
	} else {
		url = strdup(e->url);
		if (url == NULL)
			err = -ENOMEM;
	}
	lock_drop(&s->lock);
	if (url != NULL)
		err = entry_open(s, id, url, ret, why);
	free(url);
	return err;
}

int
stores_get(struct fs *f, uint32_t id, struct store **ret, struct why *why)
{
	int err;

	err = stores_get_known(f->stores, id, ret, why);
	if (err != -ENOENT)
		return err;
	err = stores_reload(f);
	if (err == 0)
		err = stores_get_known(f->stores, id, ret, why);
	if (err == -ENOENT)
		return why_set(why, err, "the namespace has no store %u", id);
	return err;
}

int
stores_find(struct fs *f, const struct url *u, uint32_t *retid,
    char **retprefix)
{
	struct stores *s = f->stores;
	size_t best = 0;
	uint32_t id = 0;
	char *prefix = NULL;
	int err;

	err = stores_reload(f);
	if (err != 0)
		return err;
	lock_take(&s->lock);
	for (struct entry *e = s->list; err == 0 && e != NULL; e = e->link) {
		const char *rest;
		struct url outer;

		if (!e->listed || url_parse(e->url, &outer, NULL) != 0)
			continue;
		/* the narrowest store that covers it */
		if (url_covers(&outer, u, &rest) &&
		    (id == 0 || strlen(outer.prefix) >= best)) {
			free(prefix);
			prefix = strdup(rest);
			if (prefix == NULL)
				err = -ENOMEM;
			best = strlen(outer.prefix);
			id = e->id;
		}
		url_done(&outer);
	}
	lock_drop(&s->lock);
	if (err == 0 && id == 0)
		err = -ENOENT;
	if (err != 0) {
		free(prefix);
		return err;
	}
	*retid = id;
	*retprefix = prefix;
	return 0;
}

int
stores_each(struct fs *f, int (*each)(void *arg, const struct store_health *h),
    void *arg)
{
	struct stores *s = f->stores;
	uint32_t last = 0;
	int err;

	err = stores_reload(f);
	if (err != 0)
		return err;
	for (;;) {
		struct store_health h = { 0 };
		struct entry *e;

		lock_take(&s->lock);
		for (e = s->list; e != NULL; e = e->link)
			if (e->id > last && e->listed)
				break;
		if (e != NULL) {
			h.id = last = e->id;
			h.down = e->down;
			h.since = e->since;
			snprintf(h.name, sizeof(h.name), "%s", e->name);
			snprintf(h.url, sizeof(h.url), "%s", e->url);
			snprintf(h.why, sizeof(h.why), "%s", e->why);
		}
		lock_drop(&s->lock);
		if (e == NULL)
			return 0;
		if (each(arg, &h) != 0)
			return 0;
	}
}

int
stores_use_begin(struct fs *f, uint32_t id, bool alone, struct why *why)
{
	struct stores *s = f->stores;
	struct entry *e;
	int err = 0;

	lock_take(&s->lock);
	e = stores_entry(s, id);
	if (e == NULL)
		err = why_set(why, -ENOENT, "the namespace has no store %u",
		    id);
	else if (e->moving)
		err = why_set(why, -EBUSY, "store '%s' is being set by another "
		    "command, which is comparing what is there; ask again "
		    "when it has ended", e->name);
	else if (alone && e->users > 0)
		err = why_set(why, -EBUSY, "files are being staged to store "
		    "'%s'; ask again when that has ended", e->name);
	if (err == 0) {
		e->users++;
		e->moving = alone;
	}
	lock_drop(&s->lock);
	return err;
}

void
stores_use_end(struct fs *f, uint32_t id)
{
	struct stores *s = f->stores;
	struct entry *e;

	lock_take(&s->lock);
	e = stores_entry(s, id);	/* the table only grows */
	e->users--;
	e->moving = false;
	lock_drop(&s->lock);
}

int64_t
stores_deadline(int64_t patience, uint64_t size)
{
	return clock_mono() + patience +
	    (int64_t)(size / SLOWEST) * NSEC_PER_SEC;
}

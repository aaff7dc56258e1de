/*
 * stores: the stores by id, opened when first wanted, and their health.
 *
 * The table only grows while the mount lives: who got a struct store may use
 * it until stores_free.  A store whose URL was changed gets a new entry's
 * worth of state and the old stack is kept aside (`old`).
 *
 * One thread probes what is down.  The lock is held over no call of a store
 * and none of the database.
 */
#include "fs/stores.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/url.h"
#include "fs/home.h"
#include "fs/ship.h"
#include "fs/upload.h"
#include "meta/query.h"

#define PROBE_FIRST	NSEC_PER_SEC
#define PROBE_MOST	(15 * NSEC_PER_SEC)
#define PROBE_TIMEOUT	(5 * NSEC_PER_SEC)

enum nearness { HERE, AT_HOME, FAR, RANK_DOWN };

/* A stack that is not the one any more, and may still be in use. */
struct old {
	struct store	*store;
	struct old	*next;
};

struct entry {
	uint32_t	 id;
	enum nearness	 near;
	char		 name[65];
	char		*url;
	struct store	*store;		/* NULL: not opened yet */
	struct old	*old;		/* of earlier URLs */
	bool		 listed;	/* in the namespace now */
	bool		 down;
	bool		 asked;		/* to be probed, though it is up */
	int64_t		 since;		/* clock_real */
	int64_t		 pause, next;	/* of probes; clock_mono */
	char		 why[256];
	struct entry	*link;
};

struct stores {
	struct fs	*fs;
	struct lock	 lock;		/* what follows */
	struct cond	 changed;
	struct entry	*list;		/* by id, ascending */
	uint64_t	 returns;	/* of any of them */
	_Atomic bool	 stopping;	/* and cancels a probe */
	pthread_t	 thread;
	bool		 stopped;	/* the thread has ended */
};

static struct entry *
entry_find(struct stores *s, uint32_t id)
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

/* --- health --- */

static bool
rc_is_down(enum store_rc rc, const struct why *why)
{
	/* not the object is missing, but what holds it */
	if (rc == STORE_ABSENT)
		return why != NULL && why->text[0] != '\0';
	return rc == STORE_UNREACHABLE || rc == STORE_AMBIGUOUS ||
	    rc == STORE_THROTTLED || rc == STORE_BROKEN;
}

/* True when the entry changed from down to up. */
static bool
entry_result(struct stores *s, struct entry *e, bool down, const char *why)
{
	bool was = e->down;

	lock_assert_held(&s->lock);
	if (down && !was) {
		e->pause = PROBE_FIRST;
		e->next = clock_mono() + e->pause;
	}
	if (down != was) {
		e->down = down;
		e->since = clock_real();
	}
	if (down && (!was || why[0] != '\0'))
		snprintf(e->why, sizeof(e->why), "%.255s", why);
	else if (!down)
		e->why[0] = '\0';
	if (was && !down)
		s->returns++;
	if (down != was)
		cond_broadcast(&s->changed);
	return was && !down;
}

static void
tell_up(struct fs *f)
{
	if (f->upload != NULL)
		upload_kick(f);
	if (f->ship != NULL)
		ship_kick(f);
}

void
stores_result(struct fs *f, uint32_t id, enum store_rc rc,
    const struct why *why)
{
	struct stores *s = f->stores;
	const char *text = why != NULL && why->text[0] != '\0' ? why->text :
	    store_rc_name(rc);
	bool down = rc_is_down(rc, why), up, was;
	struct entry *e;
	char name[65];

	/* said nothing about the store: cancelled, or our own memory */
	if (rc == STORE_CANCELLED || rc == STORE_NOMEM)
		return;
	lock_take(&s->lock);
	e = entry_find(s, id);
	if (e == NULL) {
		lock_drop(&s->lock);
		return;
	}
	was = e->down;
	up = entry_result(s, e, down, text);
	memcpy(name, e->name, sizeof(name));
	lock_drop(&s->lock);
	if (up) {
		log_info("store is up", "store=%s", name);
		tell_up(f);
	} else if (down && !was) {
		log_warn("store is down", "store=%s why=%s", name, LOG_Q(text));
		if (f->ship != NULL)
			ship_kick(f);	/* what need not wait for it */
	}
}

bool
stores_down_why(struct fs *f, uint32_t id, char *ret, size_t n)
{
	struct stores *s = f->stores;
	struct entry *e;
	bool down;

	lock_take(&s->lock);
	e = entry_find(s, id);
	down = e != NULL && e->down;
	if (down)
		snprintf(ret, n, "%s", e->why);
	lock_drop(&s->lock);
	return down;
}

bool
stores_is_down(struct fs *f, uint32_t id)
{
	struct stores *s = f->stores;
	struct entry *e;
	bool down;

	lock_take(&s->lock);
	e = entry_find(s, id);
	down = e != NULL && e->down;
	lock_drop(&s->lock);
	return down;
}

/* The part of a URL that says where its server is; what else it has, as
 * credentials, is of no account here. */
static bool
same_endpoint(const struct url *a, const struct url *b)
{
	static const char *const keys[] = { "endpoint", "region" };
	const char *x, *y;
	size_t i;

	if (a->scheme != b->scheme)
		return false;
	for (i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		x = url_setting(a, keys[i]);
		y = url_setting(b, keys[i]);
		if (strcmp(x != NULL ? x : "", y != NULL ? y : "") != 0)
			return false;
	}
	return true;
}

static enum nearness
nearness(const char *text, const char *home)
{
	enum nearness near = FAR;
	struct url u, h;

	if (url_parse(text, &u, NULL) != 0)
		return FAR;
	if (u.scheme == URL_FILE) {
		near = HERE;
	} else if (url_parse(home, &h, NULL) == 0) {
		if (same_endpoint(&u, &h))
			near = AT_HOME;
		url_done(&h);
	}
	url_done(&u);
	return near;
}

unsigned
stores_rank(struct fs *f, uint32_t id)
{
	struct stores *s = f->stores;
	struct entry *e;
	unsigned rank = FAR;

	lock_take(&s->lock);
	e = entry_find(s, id);
	if (e != NULL)
		rank = e->near + (e->down ? RANK_DOWN : 0);
	lock_drop(&s->lock);
	return rank;
}

void
stores_probe(struct fs *f, uint32_t id)
{
	struct stores *s = f->stores;
	struct entry *e;

	lock_take(&s->lock);
	e = entry_find(s, id);
	if (e != NULL && !e->down) {
		e->asked = true;
		cond_broadcast(&s->changed);
	}
	lock_drop(&s->lock);
}

void
stores_name(struct fs *f, uint32_t id, char ret[65])
{
	struct stores *s = f->stores;
	struct entry *e;

	lock_take(&s->lock);
	e = entry_find(s, id);
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

uint64_t
stores_returns(struct fs *f)
{
	struct stores *s = f->stores;
	uint64_t n;

	lock_take(&s->lock);
	n = s->returns;
	lock_drop(&s->lock);
	return n;
}

/* --- the prober --- */

/* A cheap request that says whether the store answers at all.  An object that
 * is not there is an answer; a bucket or folder that is not there (why says)
 * is none. */
static enum store_rc
probe(struct stores *s, uint32_t id, struct store *st, struct why *why)
{
	struct store_call c = {
		.deadline = clock_mono() + PROBE_TIMEOUT,
		.cancel = &s->stopping,
		.why = why,
		.tag = "probe",
		.once = true,
	};
	struct store_info info;
	enum store_rc rc;

	rc = store_head(st, &c, "gnsfs.json", &info);
	/* a home without it is not the home: a disk that is not mounted, say */
	if (rc == STORE_ABSENT && id == STORE_HOME_ID)
		why_set(why, 0, HOME_IS_NOT, st->url);
	return rc;
}

/* The down entry whose probe is due; else *retnext says when one is. */
static struct entry *
probe_due(struct stores *s, int64_t now, int64_t *retnext)
{
	*retnext = INT64_MAX;
	for (struct entry *e = s->list; e != NULL; e = e->link) {
		if ((!e->down && !e->asked) || e->store == NULL)
			continue;
		if (e->next <= now || !e->down)
			return e;
		if (e->next < *retnext)
			*retnext = e->next;
	}
	return NULL;
}

static void *
probe_main(void *arg)
{
	struct stores *s = arg;
	struct entry *e;
	int64_t next;

	lock_take(&s->lock);
	while (!s->stopping) {
		struct why why = { "" };
		struct store *st;
		enum store_rc rc;
		uint32_t id;

		e = probe_due(s, clock_mono(), &next);
		if (e == NULL) {
			(void)cond_wait_until(&s->changed, &s->lock, next);
			continue;
		}
		st = e->store;
		id = e->id;
		e->asked = false;
		e->pause = e->pause * 2 < PROBE_MOST ? e->pause * 2 :
		    PROBE_MOST;
		e->next = clock_mono() + e->pause;
		lock_drop(&s->lock);
		rc = probe(s, id, st, &why);
		stores_result(s->fs, id, rc, &why);
		lock_take(&s->lock);
	}
	lock_drop(&s->lock);
	return NULL;
}

/* --- the table --- */

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
	e->near = nearness(home->url, home->url);
	entry_insert(s, e);
	/* The prober reports through f->stores, so it is set before it runs. */
	f->stores = s;
	err = -pthread_create(&s->thread, NULL, probe_main, s);
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

/* One row of the namespace.  The home's stack is the one that was mounted,
 * whatever URL is recorded. */
static int
reload_row(void *arg, const struct store_row *r)
{
	struct stores *s = arg;
	struct entry *e;
	char *url = NULL;
	struct old *o = NULL;
	int err = 0;

	lock_take(&s->lock);
	e = entry_find(s, r->id);
	if (e == NULL) {
		err = entry_new(r->id, r->name, r->url, &e);
		if (err == 0) {
			e->near = nearness(r->url, s->list->url);
			entry_insert(s, e);
		}
		goto out;
	}
	e->listed = true;
	snprintf(e->name, sizeof(e->name), "%s", r->name);
	if (r->id == STORE_HOME_ID || strcmp(e->url, r->url) == 0)
		goto out;
	url = strdup(r->url);
	o = calloc(1, sizeof(*o));
	if (url == NULL || o == NULL) {
		free(url);
		err = -ENOMEM;
		goto out;
	}
	free(e->url);
	e->url = url;
	e->near = nearness(url, s->list->url);
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
out:
	lock_drop(&s->lock);
	free(o);
	return err;
}

int
stores_reload(struct fs *f)
{
	struct stores *s = f->stores;
	struct sqc *c;
	int err;

	lock_take(&s->lock);
	for (struct entry *e = s->list; e != NULL; e = e->link)
		e->listed = e->id == STORE_HOME_ID;
	lock_drop(&s->lock);
	err = sq_read(meta_sq(f->meta), &c);
	if (err != 0)
		return err;
	err = meta_stores(c, reload_row, s);
	sq_read_end(c);
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
	e = entry_find(s, id);
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
	e = entry_find(s, id);
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

/*
 * stores_health: which stores are up, and which of them is the nearest.  Every
 * call's result is reported here (stores_result); one thread asks those that
 * are down whether they answer again.
 *
 * The lock is held over no call of a store.
 */
#include "fs/stores_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/url.h"
#include "fs/home.h"
#include "fs/ship.h"
#include "fs/upload.h"

#define PROBE_FIRST	NSEC_PER_SEC
#define PROBE_MOST	(15 * NSEC_PER_SEC)
#define PROBE_TIMEOUT	(5 * NSEC_PER_SEC)

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
	e = stores_entry(s, id);
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
	e = stores_entry(s, id);
	down = e != NULL && e->down;
	if (down)
		snprintf(ret, n, "%s", e->why);
	lock_drop(&s->lock);
	return down;
}

bool
stores_is_down(struct fs *f, uint32_t id)
{
	return stores_down_why(f, id, NULL, 0);
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

/* --- nearness --- */

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

enum nearness
stores_nearness(const char *text, const char *home)
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
	e = stores_entry(s, id);
	if (e != NULL)
		rank = e->near + (e->down ? RANK_DOWN : 0);
	lock_drop(&s->lock);
	return rank;
}

/* --- the prober --- */

void
stores_probe(struct fs *f, uint32_t id)
{
	struct stores *s = f->stores;
	struct entry *e;

	lock_take(&s->lock);
	e = stores_entry(s, id);
	if (e != NULL && !e->down) {
		e->asked = true;
		cond_broadcast(&s->changed);
	}
	lock_drop(&s->lock);
}

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

void *
stores_prober(void *arg)
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

/*
 * ship_wait: what others see of the log: kicking it, waiting for it, its
 * status.
 */
#include "fs/ship_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fs/stores.h"
#include "fs/upload.h"

#define LAND_TIMEOUT	(60 * NSEC_PER_SEC)

void
ship_kick(struct fs *f)
{
	struct ship *sh = f->ship;

	if (sh == NULL || atomic_exchange(&sh->kicked, true))
		return;
	atomic_store(&sh->kick_time, clock_mono());
	lock_take(&sh->kick_lock);
	cond_signal(&sh->kick_cond);
	lock_drop(&sh->kick_lock);
}

static void
hurry(struct ship *sh)
{
	lock_take(&sh->kick_lock);
	sh->hurry = true;
	cond_signal(&sh->kick_cond);
	lock_drop(&sh->kick_lock);
}

struct awaited {
	uint64_t	seq;
	enum ship_until	what;
	uint64_t	top;
};

/* 1: what is awaited of the log is there. */
static int
has_landed(struct ship *sh, const struct awaited *a, struct journal_stat *j)
{
	struct sqc *c;
	int err = ship_pending(sh, j);

	if (err != 0 || j->ops == 0 || j->first_seq > a->seq)
		return err != 0 ? err : 1;
	if (a->what == SHIP_ALL)
		return 0;
	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	if (a->what == SHIP_ONE)
		err = journal_is_pending(c, a->seq);
	else
		err = batch_waits(sh->fs->meta, c, a->seq,
		    a->what == SHIP_BELOW ? a->top : 0);
	sq_read_end(c);
	return err < 0 ? err : !err;
}

static void
say_size(uint64_t bytes, char *ret, size_t n)
{
	if (bytes >= 1 << 20)
		snprintf(ret, n, "%.1f MiB", (double)bytes / (1 << 20));
	else
		snprintf(ret, n, "%.1f KiB", (double)bytes / (1 << 10));
}

static void
say_waiting(struct ship *sh, const struct journal_stat *j, struct why *why)
{
	struct ship_status st;
	struct upload_status u;
	char size[32], what[400];
	int64_t since;

	ship_status(sh->fs, &st);
	upload_status(sh->fs, &u);
	lock_take(&sh->lock);
	since = sh->why_since;
	lock_drop(&sh->lock);
	say_size(st.pending_bytes, size, sizeof(size));
	if (st.why[0] != '\0')
		snprintf(what, sizeof(what), "%s for %" PRId64 " s: %s",
		    st.state, (clock_mono() - since) / NSEC_PER_SEC,
		    st.why);
	else if (j->waiting_uploads + j->waiting_small > 0 &&
	    u.why[0] != '\0')
		snprintf(what, sizeof(what), "%s", u.why);
	else if (j->waiting_uploads + j->waiting_small > 0)
		snprintf(what, sizeof(what), "%" PRIu64 " uploads are under"
		    " way", j->waiting_uploads + j->waiting_small);
	else
		snprintf(what, sizeof(what), "the home %s has not taken them"
		    " yet", sh->home->url);
	why_set(why, 0, "%" PRIu64 " changes, %s wait; %s", j->ops, size,
	    what);
}

int
ship_wait(struct fs *f, uint64_t seq, enum ship_until until, uint64_t top,
    int64_t deadline, struct why *why)
{
	const struct awaited what = { seq, until, top };
	struct ship *sh = f->ship;
	struct journal_stat j = { 0 };
	bool stopped = false, fenced = false;
	int err, rc = 0;

	if (sh == NULL)
		return why_set(why, -ESHUTDOWN, "the mount is ending");
	if (f->upload != NULL)
		upload_hurry(f, seq);
	atomic_fetch_add(&sh->waiters, 1);
	hurry(sh);
	for (;;) {
		uint64_t lsn, looked;

		lock_take(&sh->lock);
		lsn = sh->lsn;
		looked = sh->looked;
		lock_drop(&sh->lock);
		err = has_landed(sh, &what, &j);
		if (err != 0 || fenced || stopped || rc != 0)
			break;
		lock_take(&sh->lock);
		fenced = sh->state == SHIP_FENCED;
		stopped = sh->state == SHIP_STOPPED;
		/* what moved between the look and the lock is looked at */
		if (!fenced && !stopped && sh->lsn == lsn &&
		    sh->looked == looked)
			rc = cond_wait_until(&sh->moved, &sh->lock, deadline);
		lock_drop(&sh->lock);
	}
	atomic_fetch_sub(&sh->waiters, 1);
	if (err != 0)
		return err < 0 ? err : 0;
	say_waiting(sh, &j, why);
	return fenced ? -EROFS : stopped ? -ESHUTDOWN : -ETIMEDOUT;
}

int
ship_land(struct fs *f, uint64_t seq, struct why *why)
{
	ship_kick(f);
	return ship_wait(f, seq, SHIP_ONE, 0, clock_mono() + LAND_TIMEOUT,
	    why);
}

void
ship_status(struct fs *f, struct ship_status *ret)
{
	struct ship *sh = f->ship;
	struct journal_stat j = { 0 };
	struct cache_stat cs = { 0 };
	uint64_t upto;
	enum ship_state st;
	struct sqc *c = NULL;

	*ret = (struct ship_status){ .state = "stopped" };
	if (sh == NULL)
		return;
	(void)ship_pending(sh, &j);
	if (sq_read(meta_sq(f->meta), &c) == 0)
		(void)journal_files(c, &ret->pending_files);
	sq_read_end(c);
	if (f->cache != NULL)
		cache_stat(f->cache, &cs);
	lock_take(&sh->lock);
	st = sh->state;
	ret->state = ship_state_name(st);
	ret->lsn = sh->lsn;
	ret->last_landed = sh->last_landed;
	memcpy(ret->why, sh->why, sizeof(ret->why));
	if (st == SHIP_RUNNING && ret->why[0] == '\0')
		memcpy(ret->why, sh->sole_why, sizeof(ret->why));
	lock_drop(&sh->lock);
	/* it may be in the midst of sending, and still try */
	if (ret->why[0] == '\0')
		(void)stores_down_why(f, STORE_HOME_ID, ret->why,
		    sizeof(ret->why));
	/* nor is an attempt to come back anything else than being away */
	else if ((st == SHIP_CATCHING_UP || st == SHIP_OPENING) &&
	    stores_is_down(f, STORE_HOME_ID))
		ret->state = ship_state_name(SHIP_OFFLINE);
	ret->pending_ops = j.ops;
	ret->held_ops = batch_held(f->meta, &upto);
	ret->pending_bytes = j.unstored_bytes + cs.dirty;
	ret->oldest = j.oldest;
}

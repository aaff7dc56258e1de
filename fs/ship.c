/*
 * ship: the thread that moves the log, its states, and those who wait for it.
 *
 * States and what leads from one to another (ship_set_state asserts it):
 *
 *   CATCHING_UP → OPENING, RUNNING (read-only mount), OFFLINE, FENCED
 *   OPENING     → RUNNING, OFFLINE, WAITING, FENCED
 *   RUNNING     → OFFLINE, FENCED
 *   OFFLINE     → CATCHING_UP
 *   WAITING     → CATCHING_UP
 *   FENCED      → (nothing)
 *   any         → STOPPED
 */
#include "fs/ship_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "fs/stores.h"
#include "fs/vnode.h"
#include "meta/reload.h"

#define CALL_TIMEOUT	(30 * NSEC_PER_SEC)
#define CALL_RATE	(256 * 1024)	/* bytes/s that a call may count on */
#define RETRY_FIRST	NSEC_PER_SEC
#define RETRY_MOST	(15 * NSEC_PER_SEC)
#define LOOK_EVERY	(500 * NSEC_PER_MSEC)
#define WAITING_RETRY	(10 * NSEC_PER_SEC)
#define SNAP_SEGMENTS	64
#define SNAP_AT_END	16	/* segments, at unmount */
#define SNAP_BYTES	(UINT64_C(64) << 20)

static const char *const state_names[] = {
	[SHIP_CATCHING_UP] = "catching up",
	[SHIP_OPENING] = "opening",
	[SHIP_RUNNING] = "running",
	[SHIP_OFFLINE] = "offline",
	[SHIP_WAITING] = "waiting",
	[SHIP_FENCED] = "fenced",
	[SHIP_STOPPED] = "stopped",
};

#define BIT(s)	(1u << (s))
static const unsigned state_next[] = {
	[SHIP_CATCHING_UP] = BIT(SHIP_OPENING) | BIT(SHIP_RUNNING) |
	    BIT(SHIP_OFFLINE) | BIT(SHIP_FENCED),
	[SHIP_OPENING] = BIT(SHIP_RUNNING) | BIT(SHIP_OFFLINE) |
	    BIT(SHIP_WAITING) | BIT(SHIP_FENCED),
	[SHIP_RUNNING] = BIT(SHIP_OFFLINE) | BIT(SHIP_FENCED),
	[SHIP_OFFLINE] = BIT(SHIP_CATCHING_UP),
	[SHIP_WAITING] = BIT(SHIP_CATCHING_UP),
	[SHIP_FENCED] = 0,
	[SHIP_STOPPED] = 0,
};

/* --- shared with the other files --- */

const char *
ship_state_name(enum ship_state st)
{
	return state_names[st];
}

void
ship_call(struct ship *sh, struct store_call *c, struct why *why,
    int64_t deadline, uint64_t bytes)
{
	int64_t own = clock_mono() + CALL_TIMEOUT +
	    (int64_t)(bytes / CALL_RATE) * NSEC_PER_SEC;

	*c = (struct store_call){
		.deadline = deadline != 0 && deadline < own ? deadline : own,
		.cancel = &sh->cancel,
		.why = why,
		.tag = "log",
		.sole = atomic_load(&sh->sole),
	};
}

int
ship_rc(struct ship *sh, enum store_rc rc, struct why *why)
{
	if (sh->fs->stores != NULL)
		stores_result(sh->fs, STORE_HOME_ID, rc, why);
	if (rc == STORE_OK)
		return 0;
	/* not the object, what holds it (why says): as good as away */
	if (rc == STORE_ABSENT)
		return why_set(why, -EHOSTUNREACH, "%s: absent",
		    sh->home->url);
	return why_set(why, store_rc_errno(rc), "%s: %s", sh->home->url,
	    store_rc_name(rc));
}

void
ship_set_state(struct ship *sh, enum ship_state st, const char *why)
{
	bool told;

	lock_take(&sh->lock);
	assert(st == sh->state || st == SHIP_STOPPED ||
	    (state_next[sh->state] & BIT(st)) != 0);
	told = sh->state != st;
	if (told)
		sh->why_since = clock_mono();
	/* while it is tried again the reason stays */
	if (st != SHIP_CATCHING_UP && st != SHIP_OPENING)
		snprintf(sh->why, sizeof(sh->why), "%.255s", why);
	sh->state = st;
	cond_broadcast(&sh->moved);
	lock_drop(&sh->lock);
	if (!told)
		return;
	if (why[0] != '\0')
		log_warn("log", "state=%s why=%s", LOG_Q(state_names[st]),
		    LOG_Q(why));
	else
		log_debug("log", "state=%s", LOG_Q(state_names[st]));
}

static int
fenced_fn(struct sqc *c, void *arg)
{
	return meta_set(c, "fenced", arg);
}

void
ship_fenced(struct ship *sh, const char *why)
{
	char text[256];
	int err;

	snprintf(text, sizeof(text), "%.255s", why);
	err = sq_write_sync(meta_sq(sh->fs->meta), fenced_fn, text);
	if (err < 0)
		log_error("cannot note that this host is fenced", "err=%s",
		    strerror(-err));
	sh->opened = false;
	fs_set_write_state(sh->fs, FS_FENCED, "%s", text);
	ship_set_state(sh, SHIP_FENCED, text);
}

void
ship_progress(struct ship *sh, uint64_t lsn, uint64_t nbytes, bool landed)
{
	sh->progress = clock_boot();
	lock_take(&sh->lock);
	sh->lsn = lsn;
	sh->log_bytes += nbytes;
	if (landed)
		sh->last_landed = clock_real();
	if (sh->have_snap_thread && sh->session != 0 &&
	    (lsn - sh->snap_lsn > SNAP_SEGMENTS ||
	    sh->log_bytes > SNAP_BYTES)) {
		sh->snap_want = true;
		cond_signal(&sh->snap_cond);
	}
	cond_broadcast(&sh->moved);
	lock_drop(&sh->lock);
}

int
ship_head(struct ship *sh, struct meta_head *ret)
{
	struct sqc *c;
	int err;

	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = meta_head(c, ret);
	sq_read_end(c);
	return err;
}

int
ship_pending(struct ship *sh, struct journal_stat *ret)
{
	struct sqc *c;
	int err;

	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = journal_stat(c, ret);
	sq_read_end(c);
	if (err == 0)
		counter_set(ops_pending, (int64_t)ret->ops);
	return err;
}

/* --- bringing it up --- */

/* Another host stands between us and the log. */
static bool
is_final(int err)
{
	return err == -ESTALE || err == -EBUSY;
}

/* What is there now may be another home, or the bare folder under one whose
 * disk is not mounted: nothing may be written there. */
static int
meet_home(struct ship *sh, int64_t deadline, struct why *why)
{
	struct why own = { "" };
	struct store_call c;
	struct home_id id;
	int err;

	ship_call(sh, &c, NULL, deadline, 0);
	c.once = ship_has_local_state(sh);
	err = home_read(sh->home, &c, &id, &own);
	if (err == -ENOENT)
		return why_set(why, -EHOSTUNREACH, HOME_IS_NOT, sh->home->url);
	if (err != 0)
		why_set(why, err, "%s", own.text);
	if (err == 0 && strcmp(id.uuid, sh->fs->uuid) != 0)
		return why_set(why, -EHOSTUNREACH, "%s holds another namespace"
		    " now: '%s' (%s)", sh->home->url, id.name, id.uuid);
	sh->met = err == 0;
	return err;
}

/* The states passed on the way; the caller sets the one that follows. */
static int
bring_up(struct ship *sh, int64_t deadline, struct why *why)
{
	struct fs *f = sh->fs;
	int err;

	ship_set_state(sh, SHIP_CATCHING_UP, "");
	err = sh->met ? 0 : meet_home(sh, deadline, why);
	if (err == 0)
		err = ship_catch_up(sh, deadline, why);
	if (err != 0 || f->opt.read_only)
		return err;
	ship_set_state(sh, SHIP_OPENING, "");
	if (!sh->asked)
		err = ship_ask_home(sh, deadline, why);
	if (err == 0)
		err = ship_send_frozen(sh, why);
	if (err == 0 && !sh->opened)
		err = ship_open_session(sh, 0, why);
	if (err == 0) {
		fs_set_write_state(f, FS_WRITABLE, "the session is open");
		vnodes_let_go(f);
	}
	return err;
}

/* The state that follows a failure. */
static void
fell(struct ship *sh, int err, const struct why *why)
{
	if (sh->state == SHIP_RUNNING)
		sh->met = false;
	if (err == -ESTALE)
		ship_fenced(sh, why_text(why, err));
	else if (err == -EBUSY && sh->state == SHIP_OPENING)
		ship_set_state(sh, SHIP_WAITING, why_text(why, err));
	else
		ship_set_state(sh, SHIP_OFFLINE, why_text(why, err));
}

/* --- the thread --- */

struct waking { bool stop, hurry; };

/* Sleeps until it is told to stop, someone hurries, or it is time: `due`, or
 * lag after the first kick. */
static struct waking
sleep_until(struct ship *sh, int64_t due, bool mind_kicks)
{
	struct waking w;

	lock_take(&sh->kick_lock);
	for (;;) {
		int64_t at = due;

		if (mind_kicks && atomic_load(&sh->kicked)) {
			int64_t t = atomic_load(&sh->waiters) > 0 ? 0 :
			    atomic_load(&sh->kick_time) + sh->fs->opt.lag;

			at = t < at ? t : at;
		}
		if (sh->stop || (sh->hurry && mind_kicks) ||
		    clock_mono() >= at)
			break;
		(void)cond_wait_until(&sh->kick_cond, &sh->kick_lock, at);
	}
	w.stop = sh->stop;
	w.hurry = sh->hurry;
	if (mind_kicks)
		sh->hurry = false;
	lock_drop(&sh->kick_lock);
	return w;
}

/* One turn in RUNNING: send what is due, look at the next slot. */
static int
turn(struct ship *sh, bool hurry, int64_t *poll_at, struct why *why)
{
	bool kicked, send;
	int err = 0;

	kicked = atomic_load(&sh->kicked);
	send = hurry || (kicked && (atomic_load(&sh->waiters) > 0 ||
	    clock_mono() >= atomic_load(&sh->kick_time) + sh->fs->opt.lag));
	if (send && sh->opened) {
		/* what comes from now on kicks again; no time until it says
		 * its own (ship_kick) */
		atomic_store(&sh->kick_time, INT64_MAX / 2);
		atomic_store(&sh->kicked, false);
		err = ship_send_ready(sh, why);
		if (err != 0)
			atomic_store(&sh->kicked, true);
	} else if (send) {
		atomic_store(&sh->kick_time, INT64_MAX / 2);
		atomic_store(&sh->kicked, false);
	}
	if (err == 0 && clock_mono() >= *poll_at) {
		err = ship_poll(sh, why);
		*poll_at = clock_mono() + sh->fs->opt.poll;
	}
	return err;
}

/* Runs until it must stop or something fails. */
static int
run_running(struct ship *sh, struct why *why, bool *retstop)
{
	int64_t poll_at = clock_mono() + sh->fs->opt.poll;
	int err = 0;

	/* what was queued before is sent at once */
	atomic_store(&sh->kick_time, 0);
	atomic_store(&sh->kicked, true);
	while (err == 0) {
		struct waking w = sleep_until(sh, poll_at, true);

		*retstop = w.stop;
		if (w.stop)
			return 0;
		err = turn(sh, w.hurry, &poll_at, why);
	}
	return err;
}

/* The home is away, or taken: tried again after a while, or, where stores has
 * it for down, when stores says that it is up.  Returns true to stop. */
static bool
wait_retry(struct ship *sh, int64_t *pause)
{
	int64_t now = clock_mono(), at = now + *pause;
	bool down;

	*pause = *pause * 2 < RETRY_MOST ? *pause * 2 : RETRY_MOST;
	down = sh->state == SHIP_OFFLINE &&
	    stores_is_down(sh->fs, STORE_HOME_ID);
	for (; now < at; now = clock_mono()) {
		if (sleep_until(sh, now + LOOK_EVERY < at ? now + LOOK_EVERY :
		    at, false).stop)
			return true;
		if (down && !stores_is_down(sh->fs, STORE_HOME_ID))
			break;
	}
	return false;
}

static void *
ship_main(void *arg)
{
	struct ship *sh = arg;
	int64_t pause = RETRY_FIRST;
	bool stop = false;

	while (!stop) {
		struct why why = { "" };
		int err = 0;

		switch (sh->state) {
		case SHIP_RUNNING:
			err = run_running(sh, &why, &stop);
			pause = RETRY_FIRST;
			break;
		case SHIP_WAITING:
			pause = WAITING_RETRY;
			/* FALLTHROUGH */
		case SHIP_OFFLINE:
			stop = wait_retry(sh, &pause);
			if (stop)
				break;
			err = bring_up(sh, 0, &why);
			if (err == 0)
				ship_set_state(sh, SHIP_RUNNING, "");
			break;
		default:
			stop = sleep_until(sh, INT64_MAX, false).stop;
			break;
		}
		/* cancelled: by ship_stop, which is seen next */
		if (err != 0 && err != -ECANCELED)
			fell(sh, err, &why);
	}
	return NULL;
}

/* --- start and stop --- */

bool
ship_has_local_state(struct ship *sh)
{
	struct meta_head h;
	int64_t loading;
	struct sqc *c;
	bool ok;

	if (sq_read(meta_sq(sh->fs->meta), &c) != 0)
		return false;
	ok = meta_head(c, &h) == 0 && h.lsn > 0 &&
	    (meta_get_int(c, "loading", &loading) == -ENOENT || loading == 0);
	sq_read_end(c);
	return ok;
}

/* Starts without the home (DESIGN.md section 4). */
static void
start_offline(struct ship *sh, const struct why *why)
{
	struct why own = { "" };
	int err;

	ship_set_state(sh, SHIP_OFFLINE, why->text);
	if (sh->fs->opt.read_only)
		return;
	err = ship_take_session(sh, &own);
	if (err != 0)
		fs_set_write_state(sh->fs, FS_READ_ONLY, "%s",
		    why_text(&own, err));
}

/* Fenced in an earlier life, with changes that were not sent. */
static int
start_fenced(struct ship *sh, struct why *why)
{
	uint64_t changes = 0;
	char text[256];
	struct sqc *c;
	int err;

	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = meta_get(c, "fenced", text, sizeof(text));
	if (err == 0)
		err = journal_changes(c, &changes);
	sq_read_end(c);
	if (err == -ENOENT || (err == 0 && text[0] == '\0'))
		return 0;
	if (err != 0)
		return err;
	if (changes == 0)
		return 0;	/* nothing of ours is lost: catches up */
	return why_set(why, -ESTALE, "%s", text);
}

static int
purge_fn(struct sqc *c, void *arg)
{
	return hidden_purge(c);
}

static int
ship_new(struct fs *f, struct ship **ret, struct why *why)
{
	struct ship *sh = calloc(1, sizeof(*sh));
	int err;

	if (sh == NULL)
		return -ENOMEM;
	sh->fs = f;
	lock_init(&sh->lock, RANK_SHIP, "ship");
	cond_init(&sh->moved);
	cond_init(&sh->snap_cond);
	lock_init(&sh->kick_lock, RANK_WORKERS, "ship kick");
	cond_init(&sh->kick_cond);
	sh->state = SHIP_CATCHING_UP;
	sh->met = !stores_is_down(f, STORE_HOME_ID);	/* mount.c asked */
	sh->progress = clock_boot();
	err = stores_get(f, STORE_HOME_ID, &sh->home, why);
	if (err == 0)
		/* imports that died while they were loaded */
		err = sq_write(meta_sq(f->meta), purge_fn, NULL);
	if (err < 0) {
		free(sh);
		return err;
	}
	*ret = sh;
	return 0;
}

void
ship_free(struct fs *f)
{
	struct ship *sh = f->ship;

	if (sh == NULL)
		return;
	f->ship = NULL;
	cond_done(&sh->moved);
	cond_done(&sh->snap_cond);
	cond_done(&sh->kick_cond);
	lock_done(&sh->lock);
	lock_done(&sh->kick_lock);
	free(sh);
}

/* The state to begin in: 0, or the error that ship_start returns. */
static int
start_state(struct ship *sh, int64_t deadline, struct why *why)
{
	struct why own = { "" }, away = { "" };
	int err;

	err = start_fenced(sh, &own);
	/* The mount has just tried to reach it; there is no need to wait. */
	if (err == 0 && stores_down_why(sh->fs, STORE_HOME_ID, away.text,
	    sizeof(away.text)) && ship_has_local_state(sh)) {
		start_offline(sh, &away);
		return 0;
	}
	if (err == 0)
		err = bring_up(sh, deadline, &own);
	if (err == 0) {
		ship_set_state(sh, SHIP_RUNNING, "");
		return 0;
	}
	if (err == -ESTALE) {
		ship_fenced(sh, own.text);
		return 0;
	}
	if (is_final(err) || err == -EBADMSG || err == -EPROTONOSUPPORT ||
	    !ship_has_local_state(sh))
		return why_set(why, err == -EBUSY || err == -EBADMSG ||
		    err == -EPROTONOSUPPORT || err == -EACCES ? err :
		    -EHOSTUNREACH, "%s", why_text(&own, err));
	start_offline(sh, &own);
	return 0;
}

int
ship_start(struct fs *f, int64_t deadline, struct why *why)
{
	struct meta_head h;
	struct ship *sh;
	int err;

	err = ship_new(f, &sh, why);
	if (err != 0)
		return err;
	f->ship = sh;
	err = start_state(sh, deadline, why);
	if (err != 0)
		return err;
	if (ship_head(sh, &h) == 0)
		sh->lsn = h.lsn;
	if (pthread_create(&sh->thread, NULL, ship_main, sh) != 0) {
		ship_set_state(sh, SHIP_STOPPED, "");
		return -EAGAIN;
	}
	sh->have_thread = true;
	if (!f->opt.read_only)
		sh->have_snap_thread = pthread_create(&sh->snap_thread, NULL,
		    ship_snapshot_main, sh) == 0;
	return 0;
}

static void
stop_threads(struct ship *sh)
{
	lock_take(&sh->lock);
	sh->snap_stop = true;
	cond_broadcast(&sh->snap_cond);
	lock_drop(&sh->lock);
	lock_take(&sh->kick_lock);
	sh->stop = true;
	cond_broadcast(&sh->kick_cond);
	lock_drop(&sh->kick_lock);
	atomic_store(&sh->cancel, true);
	if (sh->have_thread)
		(void)pthread_join(sh->thread, NULL);
	if (sh->have_snap_thread)
		(void)pthread_join(sh->snap_thread, NULL);
	atomic_store(&sh->cancel, false);
}

void
ship_stop(struct fs *f, bool close_session)
{
	struct ship *sh = f->ship;
	struct why why = { "" };
	struct journal_stat j;
	int err;

	if (sh == NULL)
		return;
	stop_threads(sh);
	if (close_session && sh->state == SHIP_RUNNING && sh->opened &&
	    ship_pending(sh, &j) == 0 && j.ops == 0) {
		if (sh->lsn - sh->snap_lsn > SNAP_AT_END) {
			err = ship_snapshot_make(sh, &why);
			if (err != 0)
				log_warn("no snapshot was written", "why=%s",
				    LOG_Q(why_text(&why, err)));
			why.text[0] = '\0';
		}
		err = ship_close_session(sh, clock_mono() +
		    10 * NSEC_PER_SEC, &why);
		if (err != 0)
			log_warn("the session stays open", "why=%s",
			    LOG_Q(why_text(&why, err)));
	}
	ship_set_state(sh, SHIP_STOPPED, "");
}

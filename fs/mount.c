/*
 * Start and stop of a mounted namespace: the state directory (state_dir.h),
 * then bottom up what fs.h lists, then top down again.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/room.h"
#include "base/sys.h"
#include "fs/ahead.h"
#include "fs/control.h"
#include "fs/dirattr.h"
#include "fs/dirlock.h"
#include "fs/fill.h"
#include "fs/flight.h"
#include "fs/fs.h"
#include "fs/home.h"
#include "fs/io.h"
#include "fs/memory.h"
#include "fs/node.h"
#include "fs/pass.h"
#include "fs/pins.h"
#include "fs/refresh.h"
#include "fs/settle.h"
#include "fs/ship.h"
#include "fs/stage.h"
#include "fs/state_dir.h"
#include "fs/stores.h"
#include "fs/upload.h"
#include "fs/vnode.h"
#include "meta/journal.h"

#define START_TIME	(9 * NSEC_PER_SEC)	/* the manual says 10 s */
#define HOME_TIME	(4 * NSEC_PER_SEC)	/* of them, to reach the home */
#define IO_THREADS	46	/* see LANE_RUNS in fill.c, RUNS in ahead.c */
#define ROOM_LOOK	(20 * NSEC_PER_MSEC)	/* how old free room may be */

/* --- write state --- */

int
fs_may_write(struct fs *f)
{
	return atomic_load(&f->write_state) == FS_WRITABLE ? 0 : -EROFS;
}

void
fs_set_write_state(struct fs *f, enum fs_write_state s, const char *fmt, ...)
{
	va_list ap;
	char text[512];

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	lock_take(&f->why_lock);
	if ((enum fs_write_state)atomic_exchange(&f->write_state, (int)s) !=
	    s && s != FS_WRITABLE)
		log_warn("read-only from now on", "why=%s", LOG_Q(text));
	f->why_read_only.text[0] = '\0';
	if (s != FS_WRITABLE)
		why_set(&f->why_read_only, 0, "%s", text);
	lock_drop(&f->why_lock);
}

/* --- room for more --- */

static bool
state_has_room(struct fs *f)
{
	uint64_t margin = 2 * f->state_room;
	struct statvfs st;

	if (statvfs(f->state_dir, &st) != 0)
		return true;	/* who writes finds out */
	return (uint64_t)st.f_bavail * st.f_frsize >= margin;
}

int
fs_may_add(struct fs *f)
{
	int64_t now = clock_mono();
	bool full, was;
	int err = fs_may_write(f);

	if (err != 0)
		return err;
	if (!atomic_load(&f->state_full) &&
	    now - atomic_load(&f->room_seen) < ROOM_LOOK)
		return 0;
	full = !state_has_room(f);
	/* on one disk with the cache, clean bytes make way */
	if (full && cache_room(f->cache, 4 * f->state_room, true) == 0)
		full = !state_has_room(f);
	was = atomic_exchange(&f->state_full, full);
	atomic_store(&f->room_seen, clock_mono());
	if (full && !was)
		log_warn("the disk of the state directory is full: nothing can "
		    "be added", "dir=%s", LOG_Q(f->state_dir));
	else if (was && !full)
		log_info("the disk of the state directory has room again",
		    "dir=%s", LOG_Q(f->state_dir));
	return full ? -ENOSPC : 0;
}

/* --- start --- */

static int
open_database(struct fs *f, const struct home_id *id, struct why *why)
{
	char uuid[64], *path;
	struct sqc *c = NULL;
	int err;

	if (asprintf(&path, "%s/state.db", f->state_dir) < 0)
		return -ENOMEM;
	room_enter(path);
	f->state_room = room_bytes(f->state_dir);
	err = meta_open(path, &f->meta, why);
	free(path);
	if (err == 0 && (err = sq_ballast(meta_sq(f->meta))) != 0)
		why_set(why, err, "cannot keep room for the database in '%s': "
		    "%s", f->state_dir, strerror(-err));
	if (err != 0)
		return err;
	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_get(c, "uuid", uuid, sizeof uuid);
	sq_read_end(c);
	if (err == 0 && strcmp(uuid, id->uuid) != 0)
		return why_set(why, -EEXIST, "the database in '%s' is of "
		    "another namespace (%s); name another directory with "
		    "cache=DIR", f->state_dir, uuid);
	return err == -ENOENT ? 0 : err;
}

static int
note_uuid_tx(struct sqc *c, void *arg)
{
	struct fs *f = arg;
	int err = meta_set(c, "uuid", f->uuid);

	return err != 0 ? err : meta_set(c, "name", f->name);
}

static int
open_cache(struct fs *f, struct why *why)
{
	struct cache_opts o = { .dir = f->cache_dir,
	    .index = meta_sq(f->meta), .size_limit = f->opt.cache_size };
	bool unclean = false;
	int err;

	err = sq_write(meta_sq(f->meta), note_uuid_tx, f);
	if (err == 0)
		err = cache_open(&o, &f->cache, &unclean, why);
	if (err == 0 && unclean)
		log_warn("the host went down uncleanly: bytes on disk are "
		    "checked before use", "dir=%s", LOG_Q(f->cache_dir));
	return err;
}

/* away: why the home was not reached, or NULL.  time: ns, for it to answer;
 * what is done on this host before it is asked takes its own. */
static int
start_parts(struct fs *f, struct store **home, const struct why *away,
    int64_t time, struct why *why)
{
	int err;

	err = workers_new("gnsfs-io", IO_THREADS, &f->io);
	if (err == 0)
		err = nodes_new(&f->nodes);
	if (err == 0)
		err = vnodes_new(&f->vnodes);
	if (err == 0)
		err = dirattrs_new(&f->dirs);
	if (err == 0)
		err = fill_new(f->opt.memory, &f->fill);
	if (err == 0)
		err = ahead_new(&f->ahead);
	if (err == 0)
		err = flights_new(&f->flights);
	if (err == 0) {
		err = stores_new(f, *home, &f->stores);
		*home = NULL;
	}
	if (err == 0 && away != NULL)
		stores_result(f, STORE_HOME_ID, STORE_UNREACHABLE, away);
	if (err == 0)
		err = settle_start(f);
	if (err == 0)
		err = io_recover(f);
	if (err == 0)
		err = ship_start(f, clock_mono() + time, why);
	if (err == 0)
		err = stores_reload(f);	/* which of them is near, too */
	if (err == 0)
		err = upload_start(f);
	if (err == 0)
		err = pins_start(f);
	if (err == 0)
		err = stages_new(f);
	if (err == 0)
		err = refresh_start(f);
	if (err == 0)
		err = control_start(f, why);
	return err;
}

/*
 * Opens the home's store and asks who it is.  *retaway: 0, it answered; else
 * why it is as good as away, which local state may make up for.
 */
static int
ask_home(struct fs *f, struct store **home, struct home_id *id,
    char **canonical, int *retaway, struct why *why)
{
	struct store_call call = { .why = why, .tag = "home",
	    .deadline = clock_mono() + HOME_TIME };
	struct stack_opts so = { .trace_fd = -1 };
	struct url u = { 0 };
	bool folder;
	int err;

	err = url_parse(f->opt.url, &u, why);
	if (err != 0)
		return err;
	folder = u.scheme == URL_FILE;
	*canonical = url_canonical(&u);
	err = *canonical == NULL ? -ENOMEM : store_open(&u, &so, home, why);
	url_done(&u);
	if (err != 0)
		return err;
	err = home_read(*home, &call, id, why);
	*retaway = 0;
	if (err == -EHOSTUNREACH || err == -EIO || err == -EAGAIN ||
	    err == -ECANCELED || err == -ETIMEDOUT)
		*retaway = -EHOSTUNREACH;
	/* a disk that is not mounted leaves nothing, or an empty folder */
	if (err == -ENOENT && folder)
		*retaway = -ENOENT;
	return *retaway != 0 ? 0 : err;
}

static int
start(struct fs *f, struct why *why)
{
	int64_t deadline = clock_mono() + START_TIME, left;
	struct why unreached = { "" };
	struct store *home = NULL;
	struct home_id id = { .name = "" };
	char *canonical = NULL;
	int away = 0, err;

	err = ask_home(f, &home, &id, &canonical, &away, &unreached);
	left = deadline - clock_mono();
	/* it may wait for a mount that ends */
	if (err == 0)
		err = state_dir_open(f, canonical, away, &id, why);
	if (err == -EHOSTUNREACH && away != 0)
		err = away;
	if (err == 0 && away == -ENOENT) {
		/* not how to make one: there is one, elsewhere */
		unreached.text[0] = '\0';
		why_set(&unreached, 0, HOME_IS_NOT, f->opt.url);
	}
	if (err != 0 && why->text[0] == '\0')
		why_set(why, err, "%s%s", why_text(&unreached, err),
		    err == -EHOSTUNREACH ? "; and this host keeps no state of "
		    "this namespace to start from" : "");
	if (err == 0) {
		snprintf(f->name, sizeof f->name, "%s", id.name);
		snprintf(f->uuid, sizeof f->uuid, "%s", id.uuid);
		err = open_database(f, &id, why);
	}
	if (err == 0)
		err = open_cache(f, why);
	if (err == 0)
		err = start_parts(f, &home, away != 0 ? &unreached : NULL,
		    left, why);
	store_free(home);
	free(canonical);
	return err;
}

static int
copy_options(const struct fs_options *o, struct fs_options *ret)
{
	*ret = *o;
	ret->url = strdup(o->url);
	ret->dir = o->dir != NULL ? strdup(o->dir) : NULL;
	ret->cache = o->cache != NULL ? strdup(o->cache) : NULL;
	ret->state = o->state != NULL ? strdup(o->state) : NULL;
	ret->log = o->log != NULL ? strdup(o->log) : NULL;
	return ret->url == NULL ? -ENOMEM : 0;
}

/* No thread but the main one takes signals. */
static void
block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	/* of a lease that somebody's open broke (C2): it would end us */
	(void)signal(SIGIO, SIG_IGN);
}

int
fs_start(const struct fs_options *opt, struct fs **ret, struct why *why)
{
	struct fs *f = calloc(1, sizeof *f);
	struct why own = { "" };
	int err;

	if (f == NULL)
		return -ENOMEM;
	if (why == NULL)
		why = &own;
	block_signals();
	memory_limit(opt->memory);
	sys_init();
	f->lock_fd = -1;
	f->started = clock_real();
	lock_init(&f->why_lock, RANK_LOG - 2, "why");
	atomic_store(&f->write_state,
	    opt->read_only ? FS_READ_ONLY : FS_WRITABLE);
	err = copy_options(opt, &f->opt);
	if (err == 0)
		err = start(f, why);
	if (err != 0) {
		(void)fs_stop(f, 0);
		return err;
	}
	*ret = f;
	return 0;
}

/* --- stop --- */

static uint64_t
pending(struct fs *f)
{
	struct journal_stat st = { 0 };
	struct sqc *c = NULL;

	if (sq_read(meta_sq(f->meta), &c) == 0)
		(void)journal_stat(c, &st);
	sq_read_end(c);
	return st.ops;
}

uint64_t
fs_stop(struct fs *f, int64_t deadline)
{
	struct why why = { "" };
	uint64_t left = 0;

	if (f == NULL)
		return 0;
	if (f->lock_fd >= 0)
		dirlock_ending(f->lock_fd);
	refresh_stop(f);
	if (f->control != NULL)
		control_stop(f);
	stages_free(f);
	refresh_done(f);
	if (f->pins != NULL)
		pins_stop(f);
	settle_stop(f);
	if (f->ship != NULL && f->upload != NULL && deadline > 0 &&
	    fs_may_write(f) == 0 && io_sync(f, 0, deadline, &why) != 0)
		log_warn("not everything is stored yet; it is kept and "
		    "resumes at the next mount", "why=%s", LOG_Q(why.text));
	atomic_store(&f->stopping, true);
	if (f->upload != NULL)
		upload_stop(f);
	if (f->ship != NULL)
		ship_stop(f, deadline);
	/* Whoever kicks what is freed then has ended. */
	stores_stop(f->stores);
	workers_free(f->io);
	f->io = NULL;
	if (f->vnodes != NULL)
		pass_stop(f);
	ship_free(f);
	upload_free(f);
	pins_free(f);
	if (f->meta != NULL)
		left = pending(f);
	stores_free(f->stores);
	fill_free(f->fill);
	ahead_free(f->ahead);
	flights_free(f->flights);
	vnodes_free(f->vnodes);
	nodes_free(f->nodes);
	dirattrs_free(f->dirs);
	if (f->cache != NULL)
		cache_close(f->cache);
	meta_close(f->meta);
	if (f->lock_fd >= 0)
		close(f->lock_fd);
	lock_done(&f->why_lock);
	options_done(&f->opt);
	pass_free(f);
	free(f->state_dir);
	free(f->cache_dir);
	free(f);
	return left;
}

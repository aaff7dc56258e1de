/* See pass.h. */
#include "fs/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/settle.h"

#define STEP	(20 * NSEC_PER_MSEC)	/* of the coarsest clock of a disk */
#define QUIET	(3 * NSEC_PER_SEC)	/* as old no disk's times are now's */
#define SPARE	((uint64_t)256 << 20)	/* of the disk, for others */
#define FINAL_TRIES	6
#define ENOUGH_SMALL	3
#define BY		"daemon: "

static bool
can_pass(struct fs *f)
{
	return f->pass != NULL && f->opt.passthrough &&
	    atomic_load(&f->pass->refused) == NULL;
}

/* F6: three quarters of what dirty bytes may have are not taken yet. */
static bool
has_room(struct fs *f)
{
	struct cache_stat s;
	uint64_t taken;

	cache_stat(f->cache, &s);
	taken = s.dirty + s.pinned + s.reserved;
	return taken < s.limit - s.limit / 4 && s.disk_free > SPARE &&
	    s.limit - taken > SPARE;
}

unsigned
pass_kind(uint64_t parent, const char *name)
{
	const char *suffix = strrchr(name, '.');
	uint64_t h = parent * UINT64_C(0x9e3779b97f4a7c15);

	for (; suffix != NULL && *suffix != '\0'; suffix++)
		h = (h ^ (unsigned char)*suffix) * UINT64_C(0x100000001b3);
	return 1 + (unsigned)(h >> 32) % (PASS_KINDS - 1);
}

void
pass_learn(struct fs *f, unsigned kind, uint64_t size)
{
	uint8_t n;

	if (kind == 0 || f->pass == NULL)
		return;
	n = atomic_load(&f->pass->small[kind]);
	if (size > META_SMALL_MAX)
		atomic_store(&f->pass->small[kind], 0);
	else if (n < ENOUGH_SMALL)
		atomic_store(&f->pass->small[kind], n + 1);
}

static bool
is_likely_small(struct fs *f, unsigned kind)
{
	return kind != 0 && atomic_load(&f->pass->small[kind]) >= ENOUGH_SMALL;
}

/* Why h is not to be passed; NULL: it is. */
static const char *
why_not(struct fs *f, const struct handle *h, bool fresh)
{
	const struct vnode *v = h->v;

	if (!can_pass(f))
		return BY "passthrough is off (status says why)";
	if (v->unlinked)
		return BY "it was opened when it had lost its last name";
	if (v->b != NULL && v->unseen)
		return NULL;
	if (h->writes && !fresh)
		return BY "it was opened to be changed";
	if (h->writes && is_likely_small(f, h->kind))
		return BY "new files of its suffix were small in its folder";
	if (h->writes && !has_room(f))
		return BY "the cache was filling up when it was opened";
	/* what is small becomes a row soon, and is served from the page
	 * cache */
	if (!h->writes && (v->b != NULL ? bfile_size(v->b) : v->attr.size) <=
	    META_SMALL_MAX)
		return BY "small files are read through the page cache";
	if (v->b == NULL || (!h->writes && !bfile_is_complete(v->b)))
		return BY "it was opened before all of it was here";
	if (!h->writes && !bfile_is_sound(v->b))
		return BY "it was opened before it was verified";
	return NULL;
}

/* As status says it. */
static const char *
refusal(int err)
{
	switch (err) {
	case -EPERM:
		return "off: the kernel takes backing files of who has "
		    "CAP_SYS_ADMIN alone";
	case -ELOOP:
		return "off: the kernel takes no backing file from where the "
		    "cache is, which lies on another filesystem";
	case -EINVAL:
		return "off: the disk of the cache has no leases";
	default:
		return "off: the kernel takes no backing file of the cache's "
		    "disk";
	}
}

static bool
is_short(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM ||
	    err == -ENOSPC;
}

static void
refuse(struct pass_dev *p, int err)
{
	const char *none = NULL;

	if (atomic_compare_exchange_strong(&p->refused, &none,
	    refusal(err)))
		log_warn("reads and writes go through the daemon",
		    "passthrough=%s err=%d", LOG_Q(refusal(err)), err);
}

void
pass_probe(struct fs *f, struct pass_dev *p)
{
	struct bfile *b = NULL;
	int err, fd, id = -1;

	if (!f->opt.passthrough || bfile_new(f->cache, &b) != 0)
		return;			/* the first open will tell */
	err = fd = bfile_reg_fd(b);
	if (fd >= 0)
		err = id = p->open(p->arg, fd);
	if (id > 0) {
		p->close(p->arg, id);
		err = bfile_has_leases(b);
		p->tells = err == 0 && bfile_tells_stores(b);
	}
	if (err < 0 && !is_short(err))
		refuse(p, err);
	bfile_put(b);
}

/* 0: there is none to be had. */
static int
get_id(struct fs *f, struct vnode *v)
{
	int fd = bfile_reg_fd(v->b);
	int id = fd < 0 ? fd : f->pass->open(f->pass->arg, fd);

	if (id > 0)
		return id;
	if (!is_short(id))
		refuse(f->pass, id);
	return 0;
}

bool
pass_is_old(int64_t ctime)
{
	return clock_real() - ctime > STEP;
}

/* Whatever is done to it from now on will be seen in its ctime, if that is old
 * (C2). */
static bool
will_tell(struct fs *f, const struct vnode *v)
{
	return f->pass != NULL && f->pass->tells && !v->dirty &&
	    bfile_is_final(v->b) == 0;
}

static int
begin_unseen(struct fs *f, struct vnode *v, bool fresh)
{
	bool tells = !fresh && will_tell(f, v);
	struct bfile_stat st;
	int err = bfile_stat(v->b, &st);

	if (err == 0)
		err = bfile_unseen_begin(v->b);
	if (err != 0)
		return err;
	tells = tells && clock_real() - st.ctime >= QUIET;
	lock_take(&v->lock);
	v->unseen = true;
	v->clean = tells ? st : (struct bfile_stat){ .ctime = 0 };
	v->seen_ctime = pass_is_old(st.ctime) ? st.ctime : 0;
	v->last_ctime = st.ctime;
	/* it may have been told before; of a new one all changes come by
	 * calls that the kernel knows of, until it asks */
	v->told_ctime = fresh ? 0 : st.ctime;
	/* what was set explicitly is not older than what was written just
	 * before */
	if (v->mtime_set && v->seen_ctime == 0)
		(void)pass_set_mtime(v, v->attr.mtime);
	lock_drop(&v->lock);
	atomic_fetch_add(&f->unseen, 1);
	return 0;
}

static void
close_id(struct fs *f, struct vnode *v)
{
	if (v->pass_id == 0 || v->opens > 0 || v->unseen)
		return;
	lock_take(&f->pass->lock);
	if (!f->pass->over)
		f->pass->close(f->pass->arg, v->pass_id);
	lock_drop(&f->pass->lock);
	lock_take(&v->lock);
	v->pass_id = 0;
	lock_drop(&v->lock);
	bfile_lend(v->b, false);
}

/* F1: nothing that h changes goes past us. */
static bool
is_seen(const struct handle *h, bool fresh)
{
	return !fresh && !h->v->unseen &&
	    (h->flags & O_ACCMODE) == O_WRONLY;
}

/* The first of the opens decides for all (F1). */
static void
decide(struct fs *f, struct handle *h, bool fresh)
{
	struct vnode *v = h->v;
	const char *why = why_not(f, h, fresh);
	int id = 0;

	if (why == NULL && (id = get_id(f, v)) == 0)
		why = BY "there was no descriptor left for it when it was "
		    "opened";
	lock_take(&v->lock);
	v->pass_id = id;
	v->unpassed = why;
	lock_drop(&v->lock);
	if (id != 0)
		bfile_lend(v->b, true);
}

int
pass_open(struct fs *f, struct handle *h, bool fresh)
{
	struct vnode *v = h->v;
	int err = 0;

	if (v->pass_id == 0 && v->opens == 0)
		decide(f, h, fresh);
	if (v->pass_id == 0)
		return 0;
	h->seen = h->writes && is_seen(h, fresh);
	if (h->writes && !h->seen && !v->unseen)
		err = begin_unseen(f, v, fresh);
	/* the kernel syncs what it writes, and tells nobody */
	if (err == 0 && h->writes && !h->seen && (h->flags & O_DSYNC))
		err = bfile_unseen_synced(v->b);
	if (err == 0) {
		h->passed = true;
		if (h->seen)
			counter_add(opens_seen, 1);
		else
			counter_add(opens_passed, 1);
		return 0;
	}
	if (v->opens == 0)
		pass_settle(f, v);
	if (v->opens > 0 || v->unseen)
		return err;		/* it must be passed too (F1) */
	close_id(f, v);
	return 0;
}

/* bfile_is_final; who closed it may be about to let go of what the kernel was
 * handed. */
static int
await_final(struct bfile *b)
{
	int i, err = -EAGAIN;

	for (i = 0; i < FINAL_TRIES && err == -EAGAIN; i++) {
		if (i > 0)
			(void)clock_sleep(NSEC_PER_MSEC / 2);
		err = bfile_is_final(b);
	}
	return err;
}

void
pass_close(struct fs *f, struct handle *h)
{
	struct vnode *v = h->v;

	if (!h->passed)
		return;
	pass_look(v);
	/* so that its upload needs no second try */
	if (h->seen && v->writers == 0 && !v->unseen)
		(void)await_final(v->b);
	close_id(f, v);
}

/* The lock is held.  What a mapping did is news to the kernel. */
static void
tell(struct fs *f, struct vnode *v)
{
	if (v->told_ctime == 0 || v->told_ctime == v->last_ctime ||
	    f->pass == NULL)
		return;
	v->told_ctime = 0;
	lock_take(&f->pass->lock);
	if (!f->pass->over)
		fs_inval_inode(f, v->ino);
	lock_drop(&f->pass->lock);
}

/* Nobody has changed anything, and nobody can (C2). */
static bool
is_untouched(const struct vnode *v)
{
	struct bfile_stat st;

	return v->clean.ctime != 0 && !v->dirty &&
	    bfile_stat(v->b, &st) == 0 && st.ctime == v->clean.ctime &&
	    st.mtime == v->clean.mtime && st.size == v->clean.size;
}

/* final: as a lease has just said. */
static void
end_unseen(struct fs *f, struct vnode *v, bool final)
{
	bool same;

	pass_look(v);
	same = final && is_untouched(v) && bfile_unseen_undo(v->b) == 0;
	if (!same)
		bfile_unseen_end(v->b);
	lock_take(&v->lock);
	v->unseen = false;
	/* its bytes are nobody's again, whatever a copy's upload has made of
	 * them; a new file without any has said all */
	if (!same && !v->dirty &&
	    (bfile_size(v->b) > 0 || v->attr.size > 0)) {
		v->dirty = true;
		v->dirty_since = clock_mono();
	}
	tell(f, v);
	lock_drop(&v->lock);
	atomic_fetch_sub(&f->unseen, 1);
	close_id(f, v);
}

static void
linger(struct fs *f, struct vnode *v)
{
	if (v->lingers)
		return;
	vnode_ref(f, v);
	lock_take(&v->lock);
	v->lingers = true;
	lock_drop(&v->lock);
	atomic_fetch_add(&f->unseen, 1);
}

void
pass_settle(struct fs *f, struct vnode *v)
{
	int err;

	if (!v->unseen || v->writers > 0)
		return;
	err = await_final(v->b);
	if (err != -EAGAIN)
		end_unseen(f, v, err == 0);
	else
		linger(f, v);
}

void
pass_drop(struct fs *f, struct vnode *v)
{
	if (v->unseen)
		end_unseen(f, v, false);
}

void
pass_recover(struct fs *f, struct vnode *v)
{
	/* a lease of this tells writers from readers; without it, who has it
	 * at all may be one */
	bool tells = bfile_reg_fd(v->b) >= 0;
	int err;

	/* who still has it open and was `seen` can do nothing any more */
	if (v->unseen || !bfile_is_all_dirty(v->b))
		return;
	err = tells ? await_final(v->b) : bfile_is_alone(v->b);
	if (err == -EAGAIN && begin_unseen(f, v, true) == 0)
		linger(f, v);
}

void
pass_look_locked(struct vnode *v)
{
	struct bfile_stat st;

	if (!v->unseen || v->b == NULL || bfile_stat(v->b, &st) != 0)
		return;
	v->last_ctime = st.ctime;
	if (st.ctime == v->seen_ctime && st.size == v->attr.size)
		return;
	if (!v->dirty) {
		v->dirty = true;
		v->dirty_since = clock_mono();
	}
	if (v->mtime_set && st.mtime == v->attr.mtime)
		return;
	/* a disk's clock may be behind the one that dated the create */
	v->wrote = !v->mtime_set && v->attr.mtime > st.mtime &&
	    v->attr.mtime - STEP < st.mtime ? v->attr.mtime : st.mtime;
	v->mtime_set = false;
}

void
pass_look(struct vnode *v)
{
	lock_take(&v->lock);
	pass_look_locked(v);
	lock_drop(&v->lock);
}

int
pass_set_mtime(struct vnode *v, int64_t mtime)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT } };

	if (!v->unseen || v->b == NULL)
		return 0;
	t[1].tv_sec = mtime / NSEC_PER_SEC;
	t[1].tv_nsec = mtime % NSEC_PER_SEC;
	if (t[1].tv_nsec < 0) {
		t[1].tv_sec--;
		t[1].tv_nsec += NSEC_PER_SEC;
	}
	return futimens(bfile_fd(v->b), t) == 0 ? 0 : -errno;
}

/* Without writers by our count: is it over? */
static void
tick_idle(struct fs *f, struct vnode *v)
{
	bool over;
	int err;

	vnode_enter(v);
	err = v->unseen && v->writers == 0 ? bfile_is_final(v->b) : -EAGAIN;
	if (err != -EAGAIN)
		end_unseen(f, v, err == 0);
	over = v->lingers && !v->unseen;
	if (over && v->unlinked && v->opens == 0)
		settle_drop(f, v);
	else if (over && v->writers == 0)
		over = settle_now(f, v) == 0;
	if (over) {
		lock_take(&v->lock);
		v->lingers = false;
		lock_drop(&v->lock);
		atomic_fetch_sub(&f->unseen, 1);
	}
	vnode_leave(v);
	if (over)
		vnode_put(f, v);
}

static void
tick_one(void *arg, struct vnode *v)
{
	struct fs *f = arg;
	struct bfile *b = NULL;
	bool idle;

	lock_take(&v->lock);
	if (v->unseen && v->b != NULL) {
		pass_look_locked(v);
		tell(f, v);
		b = v->b;
		bfile_ref(b);
	}
	idle = v->lingers || (v->unseen && v->writers == 0);
	lock_drop(&v->lock);
	if (b != NULL)
		bfile_account(b);
	bfile_put(b);
	if (idle)
		tick_idle(f, v);
}

void
pass_tick(struct fs *f)
{
	if (atomic_load(&f->unseen) == 0)
		return;
	vnodes_each(f, tick_one, f);
	(void)cache_room(f->cache, 0, true);
}

void
pass_over(struct fs *f)
{
	if (f->pass == NULL)
		return;
	lock_take(&f->pass->lock);
	f->pass->over = true;
	lock_drop(&f->pass->lock);
}

void
pass_free(struct fs *f)
{
	if (f->pass == NULL)
		return;
	lock_done(&f->pass->lock);
	free(f->pass);
	f->pass = NULL;
}

static void
stop_one(void *arg, struct vnode *v)
{
	bool had;

	lock_take(&v->lock);
	had = v->lingers;
	v->lingers = false;
	lock_drop(&v->lock);
	if (had)
		vnode_put(arg, v);
}

void
pass_stop(struct fs *f)
{
	vnodes_each(f, stop_one, f);
}

const char *
pass_state(struct fs *f)
{
	const char *why;

	if (!f->opt.passthrough)
		return "off: by option";
	if (f->pass == NULL)
		return "off: the kernel does not offer it";
	if ((why = atomic_load(&f->pass->refused)) != NULL)
		return why;
	return "on";
}

const char *
pass_path(struct fs *f, uint64_t ino, struct bfile *b)
{
	struct vnode *v = vnode_peek(f, ino);
	const char *why = NULL;
	bool passed = false, seen = false;

	if (v != NULL) {
		lock_take(&v->lock);
		passed = v->pass_id != 0;
		seen = v->writers > 0 && !v->unseen;
		why = v->opens > 0 ? v->unpassed : NULL;
		lock_drop(&v->lock);
		vnode_put(f, v);
	}
	if (passed)
		return seen ? "kernel: passthrough; who writes to it does so "
		    "through the daemon" : "kernel: passthrough";
	if (!can_pass(f))
		return BY "passthrough is off (status says why)";
	if (why != NULL)
		return why;
	if (b == NULL)
		return BY "no backing file is here";
	if (bfile_size(b) <= META_SMALL_MAX)
		return BY "small files are read through the page cache";
	if (bfile_is_sound(b))
		return "kernel, when it is opened to be read";
	return bfile_is_complete(b) ? BY "it is not verified yet" :
	    BY "not all of it is here";
}

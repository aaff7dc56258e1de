/* See pass.h. */
#include "fs/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/sys.h"

#define STEP	(20 * NSEC_PER_MSEC)	/* of the coarsest clock of a disk */
#define SPARE	((uint64_t)256 << 20)	/* of the disk, for others */

static bool
can_pass(struct fs *f)
{
	return f->pass != NULL && f->opt.passthrough &&
	    !atomic_load(&f->pass->refused);
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

static bool
wants(struct fs *f, const struct handle *h, bool fresh)
{
	const struct vnode *v = h->v;

	if (!can_pass(f) || v->b == NULL || v->unlinked)
		return false;
	if (h->writes)
		return fresh && has_room(f);
	/* what is small becomes a row soon, and is served from the page
	 * cache */
	return bfile_size(v->b) > META_SMALL_MAX && bfile_is_sound(v->b);
}

static int
get_id(struct fs *f, struct vnode *v)
{
	int fd = bfile_reg_fd(v->b);
	int id = fd < 0 ? fd : f->pass->open(f->pass->arg, fd);

	if (id > 0)
		return id;
	if (id == -EMFILE || id == -ENFILE || id == -ENOMEM)
		return 0;
	if (!atomic_exchange(&f->pass->refused, true))
		log_warn("the kernel takes no backing file; reads and writes "
		    "go through the daemon", "err=%d", id);
	return 0;
}

bool
pass_is_old(int64_t ctime)
{
	return clock_real() - ctime > STEP;
}

static int
begin_unseen(struct fs *f, struct vnode *v)
{
	struct bfile_stat st;
	int err = bfile_unseen_begin(v->b);

	if (err == 0)
		err = bfile_stat(v->b, &st);
	if (err != 0)
		return err;
	lock_take(&v->lock);
	v->unseen = true;
	v->seen_ctime = pass_is_old(st.ctime) ? st.ctime : 0;
	lock_drop(&v->lock);
	atomic_fetch_add(&f->pass->writers, 1);
	return 0;
}

int
pass_open(struct fs *f, struct handle *h, bool fresh)
{
	struct vnode *v = h->v;
	int err = 0;

	if (v->pass_id == 0 && v->opens == 0 && wants(f, h, fresh))
		v->pass_id = get_id(f, v);
	if (v->pass_id == 0)
		return 0;
	if (h->writes && !v->unseen)
		err = begin_unseen(f, v);
	if (err == 0) {
		h->passed = true;
		counter_add(opens_passed, 1);
	} else if (v->opens == 0) {
		f->pass->close(f->pass->arg, v->pass_id);
		v->pass_id = 0;
	}
	return err;
}

void
pass_close(struct fs *f, struct handle *h)
{
	struct vnode *v = h->v;

	if (!h->passed)
		return;
	if (v->unseen && v->writers == 0) {
		pass_look(v);
		bfile_unseen_end(v->b);
		lock_take(&v->lock);
		v->unseen = false;
		/* its bytes are nobody's again, whatever a copy's upload has
		 * made of them; a new file without any has said all */
		if (bfile_size(v->b) > 0 || v->attr.size > 0)
			v->dirty = true;
		lock_drop(&v->lock);
		atomic_fetch_sub(&f->pass->writers, 1);
	}
	if (v->opens == 0) {
		f->pass->close(f->pass->arg, v->pass_id);
		v->pass_id = 0;
	}
}

void
pass_look_locked(struct vnode *v)
{
	struct bfile_stat st;
	int64_t late;

	if (!v->unseen || v->b == NULL || bfile_stat(v->b, &st) != 0 ||
	    (st.ctime == v->seen_ctime && st.size == v->attr.size))
		return;
	if (!v->dirty) {
		v->dirty = true;
		v->dirty_since = clock_mono();
	}
	if (v->mtime_set && st.mtime == v->attr.mtime)
		return;
	/* a disk's clock may be behind the one that dated the create */
	late = v->attr.mtime - st.mtime;
	v->wrote = !v->mtime_set && late > 0 && late < STEP ? v->attr.mtime :
	    st.mtime;
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

static void
tick_one(void *arg, struct vnode *v)
{
	struct bfile *b = NULL;

	lock_take(&v->lock);
	if (v->unseen && v->b != NULL) {
		b = v->b;
		bfile_ref(b);
	}
	lock_drop(&v->lock);
	if (b == NULL)
		return;
	bfile_account(b);
	bfile_put(b);
}

void
pass_tick(struct fs *f)
{
	if (f->pass == NULL || atomic_load(&f->pass->writers) == 0)
		return;
	vnodes_each(f, tick_one, NULL);
	(void)cache_room(f->cache, 0, true);
}

const char *
pass_state(struct fs *f)
{
	if (!f->opt.passthrough)
		return "off: by option";
	if (f->pass == NULL)
		return "off: the kernel does not offer it";
	if (atomic_load(&f->pass->refused))
		return "off: the kernel refuses backing files (it wants "
		    "CAP_SYS_ADMIN, and a cache on a disk of its own)";
	return "on";
}

const char *
pass_path(struct fs *f, uint64_t ino, struct bfile *b)
{
	struct vnode *v = vnode_peek(f, ino);
	bool open = false, passed = false;

	if (v != NULL) {
		lock_take(&v->lock);
		open = v->opens > 0;
		passed = v->pass_id != 0;
		lock_drop(&v->lock);
		vnode_put(f, v);
	}
	if (passed)
		return "kernel: passthrough";
	if (!can_pass(f))
		return "daemon: passthrough is off (status says why)";
	if (b == NULL || bfile_size(b) <= META_SMALL_MAX)
		return b == NULL ? "daemon: no backing file is here" :
		    "daemon: small files are read through the page cache";
	if (open)
		return "daemon: it was opened before all of it was here, or "
		    "to be changed";
	return bfile_is_sound(b) ? "kernel, when it is opened to be read" :
	    "daemon: not all of it is here, or not verified yet";
}

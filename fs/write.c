/*
 * Writing: from the first write to the journal.
 *
 * There is one write path (F2): bytes go to a backing file; when the last
 * writer closes (or on fsync, for a small file) the content is *settled*
 * (settle.h).
 *
 * The gate of the vnode (vnode_enter, vnode_share) keeps settling and writing
 * apart; reads need neither.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/content.h"
#include "fs/dirattr.h"
#include "fs/fill.h"
#include "fs/io.h"
#include "fs/pass.h"
#include "fs/settle.h"
#include "fs/ship.h"
#include "fs/spill.h"
#include "fs/tree.h"
#include "fs/upload.h"
#include "meta/journal.h"

#define ROOM_STEP	(16u << 20)	/* bytes asked of the cache at a time */
#define SLICE		(250 * NSEC_PER_MSEC)	/* between looks for room */
#define OPEN_DIRTY_MAX	(30 * NSEC_PER_SEC)
#define COPY_MAX	(16u << 20)	/* of one request; the rest is asked
					   for again */

/* --- getting ready to write --- */

/* In the gate: v->b is there after.  keep: with the content. */
static int
make_writable(struct fs *f, struct vnode *v, bool keep)
{
	struct bfile *b = NULL;
	int err = 0;

	if (v->b != NULL)
		return 0;
	if (keep && v->attr.size > 0) {
		err = content_small(f, v);
		if (err == -EFBIG)
			err = bfile_make(f->cache, v->ino, v->attr.size, &b);
		else if (err == 0)
			err = bfile_from_bytes(f->cache, v->ino, v->bytes.p,
			    v->bytes.len, &b);
		else if (err == -EHOSTUNREACH)
			err = -EIO;
	} else
		err = bfile_from_bytes(f->cache, v->ino, NULL, 0, &b);
	if (err == 0)
		vnode_set_backing(v, b);
	return err;
}

static void
wrote(struct vnode *v)
{
	lock_take(&v->lock);
	if (!v->dirty) {
		v->dirty = true;
		v->dirty_since = clock_mono();
	}
	v->wrote = clock_real();
	v->mtime_set = false;
	lock_drop(&v->lock);
}

static int
truncate_entered(struct fs *f, struct vnode *v, uint64_t size)
{
	int err;

	err = make_writable(f, v, size > 0);
	if (err == 0)
		err = bfile_truncate(v->b, size);
	if (err == 0) {
		wrote(v);
		v->truncated = true;
	}
	return err;
}

/* Until uploads, or whoever filled the disk, made room for n bytes: 0,
 * -ENOSPC after io_timeout, -EINTR. */
static int
wait_room(struct fs *f, size_t n)
{
	int64_t now = clock_mono(), end = io_until(f);
	int err;

	do {
		upload_kick(f);
		spill_all(f);
		if (io_interrupted != NULL &&
		    io_interrupted(io_interrupted_arg))
			return -EINTR;
		err = cache_room_wait(f->cache, n, now + SLICE < end ?
		    now + SLICE : end);
		now = clock_mono();
	} while (err == -ENOSPC && now < end && !atomic_load(&f->stopping));
	return err;
}

/* Room in the cache for n more bytes, asked for in steps. */
static int
take_room(struct fs *f, struct vnode *v, size_t n)
{
	uint64_t want = n > ROOM_STEP ? n : ROOM_STEP;
	int err;

	lock_take(&v->lock);
	if (v->room >= n) {
		v->room -= n;
		lock_drop(&v->lock);
		return 0;
	}
	lock_drop(&v->lock);
	err = cache_room(f->cache, want, true);
	if (err == -ENOSPC) {
		err = wait_room(f, n);
		want = n;
	}
	if (err != 0)
		return err == -EINTR ? err : -ENOSPC;
	lock_take(&v->lock);
	v->room = want - n;
	lock_drop(&v->lock);
	spill_file(f, v);
	return 0;
}

static int
share_writable(struct fs *f, struct vnode *v)
{
	int err;

	for (;;) {
		vnode_share(v);
		if (v->b != NULL && !v->old)
			return 0;
		vnode_unshare(v);
		if (v->old)
			return -ESTALE;	/* it is others' now (N2) */
		vnode_enter(v);
		err = make_writable(f, v, true);
		vnode_leave(v);
		if (err != 0)
			return err;
	}
}

/* --- what handles do --- */

ssize_t
io_write(struct fs *f, struct handle *h, const void *p, size_t n, uint64_t off)
{
	struct vnode *v = h->v;
	ssize_t r;

	if (!h->writes)
		return -EBADF;
	r = fs_may_add(f);
	if (r == 0 && n > 0)
		r = take_room(f, v, n);
	if (r == 0)
		r = share_writable(f, v);
	if (r != 0)
		return r;
	r = bfile_write(v->b, p, n, off);
	if (r > 0)
		wrote(v);
	vnode_unshare(v);
	return r;
}

/* What of len bytes from off can be there without the file growing. */
static uint64_t
within_file(struct vnode *v, uint64_t off, uint64_t len)
{
	uint64_t size;

	lock_take(&v->lock);
	size = v->b != NULL ? bfile_size(v->b) : v->attr.size;
	lock_drop(&v->lock);
	if (off >= size)
		return 0;
	return len < size - off ? len : size - off;
}

/* What takes away is not kept from it where there is no room (C5). */
static int
room_to_allocate(struct fs *f, struct vnode *v, int mode, uint64_t len)
{
	struct cache_stat s;
	int err;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		return fs_may_write(f);
	err = fs_may_add(f);
	if (err != 0)
		return err;
	cache_stat(f->cache, &s);
	if (len > s.limit)
		return -ENOSPC;		/* however long it waited */
	return take_room(f, v, len);
}

int
io_fallocate(struct fs *f, struct handle *h, int mode, uint64_t off,
    uint64_t len)
{
	struct vnode *v = h->v;
	int err;

	if (!h->writes)
		return -EBADF;
	if ((mode & FALLOC_FL_ZERO_RANGE) && (mode & FALLOC_FL_KEEP_SIZE)) {
		len = within_file(v, off, len);
		if (len == 0)
			return fs_may_write(f);
	}
	err = room_to_allocate(f, v, mode, len);
	if (err == 0)
		err = share_writable(f, v);
	if (err != 0)
		return err;
	err = bfile_fallocate(v->b, mode, off, len);
	if (err == 0)
		wrote(v);
	vnode_unshare(v);
	return err;
}

/* In the gate. */
static void
count_open(struct handle *h, int n)
{
	struct vnode *v = h->v;

	lock_take(&v->lock);
	v->opens += n;
	v->writers += h->writes ? n : 0;
	lock_drop(&v->lock);
	if (h->writes && v->b != NULL)
		bfile_writers(v->b, n);
}

int
io_open(struct fs *f, uint64_t ino, int flags, struct handle **ret)
{
	struct handle *h = calloc(1, sizeof *h);
	bool later = false;
	int err;

	if (h == NULL)
		return -ENOMEM;
	h->flags = flags;
	h->writes = (flags & O_ACCMODE) != O_RDONLY;
	err = vnode_get(f, ino, &h->v);
	if (err == 0)
		err = vnode_load(f, h->v);
	if (err == 0 && (h->writes || (flags & O_TRUNC))) {
		err = fs_may_write(f);
		if (err == 0 && (h->v->attr.flags & INODE_IMPORTED))
			err = -EROFS;				/* B2 */
	}
	if (err != 0)
		goto fail;
	vnode_enter(h->v);
	if (h->v->old || (h->v->unlinked && h->v->opens == 0))
		err = -ESTALE;	/* replaced, or its last name went just now */
	if (err == 0 && (flags & O_TRUNC))
		err = truncate_entered(f, h->v, 0);
	if (err == 0 && (flags & O_TRUNC) && !h->writes && h->v->writers == 0)
		err = settle_now(f, h->v); /* no last writer will */
	if (err == 0)
		err = pass_open(f, h, (flags & O_TRUNC) != 0);
	if (err == 0) {
		count_open(h, 1);
		if (!h->writes)
			fill_opened(f, h);
	} else
		later = h->v->writers == 0 && h->v->dirty && !h->v->unlinked;
	vnode_leave(h->v);
	if (err != 0)
		goto fail;
	*ret = h;
	return 0;
fail:
	if (later)
		settle_later(f, h->v);	/* cut, but not journalled */
	else
		vnode_put(f, h->v);
	free(h);
	return err;
}

struct create {
	struct fs	*f;
	struct op	 op;
	struct bfile	*b;
	uint64_t	 seq;
};

static int
create_tx(struct sqc *c, void *arg)
{
	struct create *cr = arg;
	int err = tree_inherit(c, &cr->op);

	if (err == 0)
		err = journal(cr->f->meta, c, &cr->op, NEEDS_NOTHING, NULL, 0,
		    &cr->seq);
	return err != 0 ? err : bfile_assign(c, cr->b, cr->op.ino);
}

static void
created(struct fs *f, struct handle *h, const struct op *op, struct bfile *b,
    struct attr *ret)
{
	struct vnode *v = h->v;
	struct attr a = { .ino = op->ino, .mode = op->mode, .uid = op->uid,
	    .gid = op->gid, .nlink = 1, .atime = op->mtime,
	    .mtime = op->mtime, .ctime = op->mtime };

	vnode_set_backing(v, b);
	lock_take(&v->lock);
	v->attr = a;
	v->no_xattrs = true;
	v->loaded = true;
	lock_drop(&v->lock);
	(void)pass_open(f, h, true);	/* the first: it cannot fail */
	count_open(h, 1);
	*ret = a;
}

int
io_create(struct fs *f, uint64_t parent, const char *name, uint32_t mode,
    uint32_t uid, uint32_t gid, int flags, struct attr *retattr,
    struct handle **ret)
{
	struct create cr = { .f = f };
	struct handle *h = NULL;
	int err;

	err = fs_may_add(f);
	if (err != 0)
		return err;
	h = calloc(1, sizeof *h);
	if (h == NULL)
		return -ENOMEM;
	h->flags = flags;
	h->kind = pass_kind(parent, name);
	h->writes = true;	/* a new file is written through any handle's
				   vnode; the kernel checks O_RDONLY itself */
	cr.op = (struct op){ .kind = OP_CREATE, .parent = parent,
	    .name = name, .mode = S_IFREG | (mode & 07777), .uid = uid,
	    .gid = gid, .mtime = clock_real(), .ino = meta_new_id(f->meta) };
	err = cr.op.ino == 0 ? -EROFS : bfile_new(f->cache, &cr.b);
	if (err == 0)
		err = vnode_get(f, cr.op.ino, &h->v);
	if (err == 0) {
		/* nobody loads it before it is whole */
		vnode_enter(h->v);
		err = sq_write(meta_sq(f->meta), create_tx, &cr);
		if (err == 0)
			created(f, h, &cr.op, cr.b, retattr);
		vnode_leave(h->v);
	}
	if (err != 0)
		goto fail;
	dirattr_touch(f->dirs, parent, cr.op.mtime);
	ship_kick(f);
	*ret = h;
	return 0;
fail:
	vnode_put(f, h->v);
	bfile_put(cr.b);
	free(h);
	return err;
}

int
io_flush(struct fs *f, struct handle *h)
{
	return 0;	/* no write is ever answered before it is kept */
}

void
io_release(struct fs *f, struct handle *h)
{
	struct vnode *v = h->v;
	bool alone, later;

	vnode_enter(v);
	count_open(h, -1);
	if (v->b != NULL)
		pass_learn(f, h->kind, bfile_size(v->b));
	pass_close(f, h);
	alone = v->writers == 0 && (v->opens == 0 || v->pass_id == 0);
	later = alone;
	/* A new file without a byte has said all with its create. */
	if (later && !v->dirty && v->b != NULL && bfile_is_dirty(v->b) &&
	    bfile_size(v->b) == 0 && v->attr.size == 0)
		settle_drop(f, v);
	if (v->opens == 0 && v->unlinked)
		settle_drop(f, v);
	later = later && (v->dirty || v->unseen) && !v->unlinked;
	/* what comes after it in the log must not wait in front of it (L3) */
	if (v->writers == 0 && (v->dirty || v->unseen) && !v->unlinked &&
	    v->b != NULL && bfile_size(v->b) > META_SMALL_MAX)
		later = settle_now(f, v) != 0 && alone;
	vnode_leave(v);
	free(h);
	if (later)
		settle_later(f, v);
	else
		vnode_put(f, v);
}

int
io_fsync(struct fs *f, struct handle *h, struct bfile **retspent)
{
	struct vnode *v = h->v;
	struct bfile *b;
	int err = 0, sync_err = 0;
	bool small = false;

	*retspent = NULL;
	vnode_enter(v);
	/* a passed one keeps its backing file: it is synced itself (F3) */
	if (v->dirty && !v->unlinked && v->b != NULL && v->pass_id == 0 &&
	    !v->unseen && bfile_size(v->b) <= META_SMALL_MAX) {
		err = settle_synced(f, v, &sync_err, retspent);
		small = err == 0 && v->b == NULL;
	}
	vnode_leave(v);
	if (err != 0 || small)
		return err != 0 ? err : sync_err;
	b = vnode_backing(v);
	if (b != NULL && !bfile_is_synced(b))
		err = bfile_sync(b);
	bfile_put(b);
	if (err == 0)
		err = sq_sync(meta_sq(f->meta));
	return err != 0 ? err : sync_err;
}

int
io_truncate(struct fs *f, uint64_t ino, uint64_t size)
{
	struct vnode *v = NULL;
	bool later = false;
	int err;

	err = fs_may_write(f);
	if (err == 0)
		err = vnode_get(f, ino, &v);
	if (err == 0)
		err = vnode_load(f, v);
	if (err == 0 && (v->attr.flags & INODE_IMPORTED))
		err = -EROFS;					/* B2 */
	if (err == 0) {
		vnode_enter(v);
		err = truncate_entered(f, v, size);
		if (err == 0 && v->writers == 0)
			err = settle_now(f, v);
		later = v->writers == 0 && v->dirty && !v->unlinked;
		vnode_leave(v);
	}
	if (later)
		settle_later(f, v);	/* cut, but not journalled */
	else
		vnode_put(f, v);
	return err;
}

ssize_t
io_copy_range(struct fs *f, struct handle *in, uint64_t off_in,
    struct handle *out, uint64_t off_out, size_t n)
{
	size_t cap = n < CACHE_CHUNK ? n : CACHE_CHUNK, done = 0;
	char *buf = malloc(cap);
	ssize_t r = 0;

	if (buf == NULL)
		return -ENOMEM;
	n = n < COPY_MAX ? n : COPY_MAX;
	while (done < n) {
		size_t want = n - done < cap ? n - done : cap;

		r = io_read(f, in, buf, want, off_in + done);
		if (r == -EHOSTUNREACH)
			r = -EIO;
		if (r > 0)
			r = io_write(f, out, buf, (size_t)r, off_out + done);
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	free(buf);
	return done > 0 ? (ssize_t)done : r;
}

/* --- names and times --- */

void
io_unlinked(struct fs *f, uint64_t ino, bool local)
{
	struct vnode *v = vnode_peek(f, ino);
	bool open = false;

	local = local || v != NULL;	/* which may have made one since */

	if (v != NULL) {
		vnode_enter(v);
		v->unlinked = true;
		open = v->opens > 0;
		if (open)
			content_hold(f, v);
		else {
			pass_drop(f, v);
			vnode_set_backing(v, NULL);
		}
		vnode_leave(v);
		vnode_put(f, v);
	}
	if (!open && local)
		content_drop(f, ino);
}

int
io_sync_before_rename(struct fs *f, uint64_t ino)
{
	struct bfile *b = NULL;
	int err;

	err = bfile_get(f->cache, ino, &b);
	if (err != 0)
		return err == -ENOENT ? 0 : err;
	if (bfile_is_dirty(b) && !bfile_is_synced(b))
		err = bfile_sync(b);	/* L11 */
	bfile_put(b);
	return err;
}

void
io_times_set(struct fs *f, uint64_t ino, int64_t mtime)
{
	struct vnode *v = vnode_peek(f, ino);

	if (v == NULL)
		return;
	lock_take(&v->lock);
	if (v->loaded) {
		pass_look_locked(v);
		if (pass_set_mtime(v, mtime) != 0)
			log_warn("a backing file's time was not set",
			    "ino=%llu", (unsigned long long)ino);
		v->attr.mtime = mtime;
		v->mtime_set = true;
	}
	lock_drop(&v->lock);
	vnode_put(f, v);
}

/* --- sync, recovery --- */

struct journal_dirty {
	struct fs	*f;
	uint64_t	 top;
	int64_t		 older;		/* dirty since before; INT64_MAX: all */
	int		 err;
};

static bool
is_below(struct fs *f, uint64_t ino, uint64_t top)
{
	struct sqc *c = NULL;
	bool yes = true;

	if (top == 0 || top == META_ROOT)
		return true;
	if (sq_read(meta_sq(f->meta), &c) == 0)
		yes = meta_is_below(c, ino, top) != 0;
	sq_read_end(c);
	return yes;
}

static void
journal_one(void *arg, struct vnode *v)
{
	struct journal_dirty *j = arg;
	bool due;
	int err = 0;

	lock_take(&v->lock);
	pass_look_locked(v);
	due = v->dirty && !v->unlinked && v->dirty_since < j->older;
	lock_drop(&v->lock);
	if (!due || !is_below(j->f, v->ino, j->top))
		return;
	/* what waits for room must not wait for all of it */
	if (j->older != INT64_MAX && spill_file(j->f, v))
		return;
	vnode_enter(v);
	if (v->dirty && !v->unlinked)
		err = settle_now(j->f, v);
	vnode_leave(v);
	if (err != 0 && j->err == 0)
		j->err = err;
}

int
io_journal_file(struct fs *f, uint64_t ino)
{
	struct journal_dirty j = { .f = f, .older = INT64_MAX };
	struct vnode *v = vnode_peek(f, ino);

	if (v != NULL)
		journal_one(&j, v);
	vnode_put(f, v);
	return j.err;
}

static int
newest_op(struct fs *f, uint64_t *ret)
{
	struct journal_stat st = { 0 };
	struct sqc *c = NULL;
	int err = sq_read(meta_sq(f->meta), &c);

	if (err == 0)
		err = journal_stat(c, &st);
	sq_read_end(c);
	*ret = st.last_seq;
	return err;
}

int
io_journal_dirty(struct fs *f, uint64_t top, uint64_t *retseq)
{
	struct journal_dirty j = { .f = f, .top = top, .older = INT64_MAX };

	vnodes_each(f, journal_one, &j);
	return j.err != 0 ? j.err : newest_op(f, retseq);
}

void
io_tick(struct fs *f)
{
	struct journal_dirty j = { .f = f,
	    .older = clock_mono() - OPEN_DIRTY_MAX };

	vnodes_each(f, journal_one, &j);
	fill_trim(f);
}

int
io_sync(struct fs *f, uint64_t top, int64_t deadline, struct why *why)
{
	uint64_t seq = 0;
	int err;

	err = io_journal_dirty(f, top, &seq);
	if (err != 0)
		return why_set(why, err, "what is open could not be "
		    "journalled: %s", strerror(-err));
	if (seq == 0)
		return 0;
	upload_hurry(f, seq);
	return ship_wait(f, seq, SHIP_ALL, 0, deadline, why);
}

struct drop { struct fs *f; uint64_t ino; };

static int
drop_tx(struct sqc *c, void *arg)
{
	struct drop *d = arg;

	return journal_drop(d->f->meta, c, d->ino, clock_real());
}

static int
recover_one(void *arg, const struct cache_orphan *o)
{
	struct fs *f = arg;
	struct vnode *v = NULL;
	int err;

	if (o->closed && !(o->unsynced && o->had_base))
		return 0;
	err = vnode_get(f, o->ino, &v);
	if (err != 0)
		return err;
	err = vnode_load(f, v);
	vnode_enter(v);
	if (err == -ENOENT || (o->unsynced && o->had_base)) {	/* L11 */
		log_warn("unfinished bytes dropped", "ino=%llu size=%llu "
		    "gone=%d unsynced=%d", (unsigned long long)o->ino,
		    (unsigned long long)o->size, err == -ENOENT, o->unsynced);
		err = 0;
		err = sq_write(meta_sq(f->meta), drop_tx,
		    &(struct drop){ f, o->ino });
		vnode_leave(v);
		vnode_put(f, v);
		if (err == 0)
			content_drop(f, o->ino);
		return err;
	}
	if (err == 0 && v->b != NULL) {
		pass_recover(f, v);
		v->dirty = true;
		err = settle_now(f, v);
	}
	vnode_leave(v);
	vnode_put(f, v);
	return err;
}

static int
unfreeze_one(void *arg, uint64_t seq, uint64_t ino, int64_t time)
{
	return bfile_unfreeze(arg, ino, seq);
}

/* An upload that ended but was not noted is made again, by this op or a later
 * one: its intervals are nobody's alone. */
static int
unfreeze_tx(struct sqc *c, void *arg)
{
	return journal_waiting(c, 0, unfreeze_one, c);
}

int
io_recover(struct fs *f)
{
	uint64_t last = 0;
	int err = sq_write(meta_sq(f->meta), unfreeze_tx, NULL);

	if (err == 0)
		err = cache_recover(f->cache, recover_one, f);
	if (err == 0)
		err = newest_op(f, &last);
	return err != 0 ? err : cache_recovered(f->cache, last);
}

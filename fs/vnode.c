/*
 * The table is an array of chains under one lock, which is held for a few
 * instructions at a time.  A vnode is freed by the vnode_put that finds
 * nobody else, after it was taken out of the table, so that a vnode_get of
 * the same inode meanwhile makes a new one and reads its state afresh.
 */
#include "fs/vnode.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/counters.h"
#include "base/log.h"
#include "fs/content.h"
#include "fs/node.h"
#include "fs/pass.h"

#define TABLE_SIZE	4096	/* a power of two */
#define GONE_MAX	1024

struct vnodes {
	struct lock	 lock;
	_Atomic unsigned count;
	struct attr	 gone[GONE_MAX];	/* a ring; ino 0: none */
	unsigned	 ngone;
	struct vnode	*heads[TABLE_SIZE];
	struct vnode	*old;		/* those that are (vnode.h), by next */
	_Atomic uint64_t settles;
	_Atomic uint64_t settled[TABLE_SIZE];	/* the last, by chain */
};

static unsigned
bucket(uint64_t ino)
{
	return (ino ^ ino >> META_ID_SHIFT) & (TABLE_SIZE - 1);
}

static struct vnode **
chain_of(struct vnodes *t, uint64_t ino)
{
	return &t->heads[bucket(ino)];
}

int
vnodes_new(struct vnodes **ret)
{
	struct vnodes *t = calloc(1, sizeof *t);

	if (t == NULL)
		return -ENOMEM;
	lock_init(&t->lock, RANK_VNODES, "vnodes");
	*ret = t;
	return 0;
}

void
vnodes_free(struct vnodes *t)
{
	if (t == NULL)
		return;
	lock_done(&t->lock);
	free(t);
}

static struct vnode *
find_locked(struct vnodes *t, uint64_t ino)
{
	struct vnode *v;

	lock_assert_held(&t->lock);
	for (v = *chain_of(t, ino); v != NULL; v = v->next)
		if (v->ino == ino)
			break;
	return v;
}

int
vnode_get(struct fs *f, uint64_t ino, struct vnode **ret)
{
	struct vnodes *t = f->vnodes;
	struct vnode *v, *fresh = NULL;

	lock_take(&t->lock);
	v = find_locked(t, ino);
	if (v == NULL) {
		lock_drop(&t->lock);
		fresh = calloc(1, sizeof *fresh);
		if (fresh == NULL)
			return -ENOMEM;
		fresh->ino = ino;
		lock_init(&fresh->lock, RANK_FILE, "vnode");
		cond_init(&fresh->cond);
		lock_take(&t->lock);
		v = find_locked(t, ino);
		if (v == NULL) {
			v = fresh;
			fresh = NULL;
			v->next = *chain_of(t, ino);
			*chain_of(t, ino) = v;
			atomic_fetch_add(&t->count, 1);
			counter_add(inodes_in_core, 1);
		}
	}
	v->refs++;
	lock_drop(&t->lock);
	if (fresh != NULL) {
		lock_done(&fresh->lock);
		cond_done(&fresh->cond);
		free(fresh);
	}
	*ret = v;
	return 0;
}

struct vnode *
vnode_peek(struct fs *f, uint64_t ino)
{
	struct vnodes *t = f->vnodes;
	struct vnode *v;

	if (atomic_load(&t->count) == 0)
		return NULL;
	lock_take(&t->lock);
	v = find_locked(t, ino);
	if (v != NULL)
		v->refs++;
	lock_drop(&t->lock);
	return v;
}

void
vnode_ref(struct fs *f, struct vnode *v)
{
	struct vnodes *t = f->vnodes;

	lock_take(&t->lock);
	v->refs++;
	lock_drop(&t->lock);
}

static void
take_out_locked(struct vnodes *t, struct vnode *v)
{
	struct vnode **p = v->old ? &t->old : chain_of(t, v->ino);

	while (*p != v)
		p = &(*p)->next;
	*p = v->next;
	if (!v->old)
		atomic_fetch_sub(&t->count, 1);
}

void
vnode_put(struct fs *f, struct vnode *v)
{
	struct vnodes *t = f->vnodes;

	if (v == NULL)
		return;
	lock_take(&t->lock);
	if (--v->refs > 0) {
		lock_drop(&t->lock);
		return;
	}
	take_out_locked(t, v);
	lock_drop(&t->lock);
	counter_add(inodes_in_core, -1);
	bfile_put(v->b);
	buf_done(&v->bytes);
	free(v->held);
	lock_done(&v->lock);
	cond_done(&v->cond);
	free(v);
}

void
vnodes_each(struct fs *f, void (*each)(void *arg, struct vnode *v), void *arg)
{
	struct vnodes *t = f->vnodes;
	struct vnode *v, *held = NULL;
	unsigned i;

	for (i = 0; i < TABLE_SIZE; i++) {
		lock_take(&t->lock);
		for (v = t->heads[i]; v != NULL; v = v->next) {
			v->refs++;
			lock_drop(&t->lock);
			vnode_put(f, held);
			held = v;
			each(arg, v);
			lock_take(&t->lock);
		}
		lock_drop(&t->lock);
	}
	vnode_put(f, held);
}

void
vnode_enter(struct vnode *v)
{
	lock_take(&v->lock);
	while (v->busy)
		cond_wait(&v->cond, &v->lock);
	v->busy = true;
	while (v->active > 0)
		cond_wait(&v->cond, &v->lock);
	lock_drop(&v->lock);
}

void
vnode_leave(struct vnode *v)
{
	lock_take(&v->lock);
	v->busy = false;
	cond_broadcast(&v->cond);
	lock_drop(&v->lock);
}

void
vnode_share(struct vnode *v)
{
	lock_take(&v->lock);
	while (v->busy)
		cond_wait(&v->cond, &v->lock);
	v->active++;
	lock_drop(&v->lock);
}

void
vnode_unshare(struct vnode *v)
{
	lock_take(&v->lock);
	if (--v->active == 0)
		cond_broadcast(&v->cond);
	lock_drop(&v->lock);
}

void
vnode_set_backing(struct vnode *v, struct bfile *b)
{
	struct bfile *old;

	lock_take(&v->lock);
	old = v->b;
	v->b = b;
	v->have_bytes = false;
	buf_done(&v->bytes);
	lock_drop(&v->lock);
	if (old != NULL && v->writers > 0)
		bfile_writers(old, -(int)v->writers);
	if (b != NULL && v->writers > 0)
		bfile_writers(b, (int)v->writers);
	bfile_put(old);
}

struct bfile *
vnode_backing(struct vnode *v)
{
	struct bfile *b;

	lock_take(&v->lock);
	b = v->b;
	if (b != NULL)
		bfile_ref(b);
	lock_drop(&v->lock);
	return b;
}

static bool
others_write(struct fs *f)
{
	return atomic_load(&f->write_state) != FS_WRITABLE;
}

/* In the gate. */
static int
load_entered(struct fs *f, struct vnode *v)
{
	struct extents *unused = NULL;
	struct extents *held = NULL;
	struct bfile *b = NULL;
	struct sqc *c = NULL;
	struct attr a;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_getattr(c, v->ino, &a);
	/* of one moment with the size; others' changes come unasked */
	if (err == 0 && S_ISREG(a.mode) && a.size > 0 && others_write(f))
		err = content_extents_in(f, c, v->ino, a.size, &held);
	sq_read_end(c);
	if (err == 0 && S_ISREG(a.mode)) {
		err = bfile_get(f->cache, v->ino, &b);
		if (err == -ENOENT)
			err = 0;
	}
	if (err != 0) {
		free(held);
		return err;
	}
	lock_take(&v->lock);
	v->attr = a;
	v->b = b;
	if (others_write(f))
		v->held = held;
	else
		unused = held;		/* or vnodes_let_go frees it */
	v->loaded = true;
	lock_drop(&v->lock);
	free(unused);
	return 0;
}

int
vnode_load(struct fs *f, struct vnode *v)
{
	bool loaded;
	int err = 0;

	lock_take(&v->lock);
	loaded = v->loaded;
	lock_drop(&v->lock);
	if (loaded)
		return 0;
	vnode_enter(v);
	if (!v->loaded)
		err = load_entered(f, v);
	vnode_leave(v);
	return err;
}

static void
let_go(void *arg, struct vnode *v)
{
	struct extents *held = NULL;

	lock_take(&v->lock);
	if (!v->unlinked) {
		held = v->held;
		v->held = NULL;
	}
	lock_drop(&v->lock);
	free(held);
}

void
vnodes_let_go(struct fs *f)
{
	vnodes_each(f, let_go, NULL);
}

/* --- replaced by others --- */

/* In the gate: from here on the table has none of its inode, or another. */
static void
retire(struct fs *f, struct vnode *v, uint64_t node)
{
	struct vnodes *t = f->vnodes;

	lock_take(&t->lock);
	take_out_locked(t, v);
	v->old = true;
	v->old_node = node;
	v->next = t->old;
	t->old = v;
	lock_drop(&t->lock);
}

/* In the gate, of one whose bytes nobody has yet. */
static int
load_again(struct fs *f, struct vnode *v)
{
	struct extents *held;

	lock_take(&v->lock);
	held = v->held;
	v->held = NULL;
	v->have_bytes = false;
	buf_done(&v->bytes);
	lock_drop(&v->lock);
	free(held);
	return load_entered(f, v);
}

int
vnode_replaced(struct fs *f, uint64_t ino)
{
	struct vnode *v = vnode_peek(f, ino);
	uint64_t node = node_of(f, ino);
	int rv = 0;

	if (v == NULL)
		return 0;
	vnode_enter(v);
	/* What is written here is no replay's to replace: who applies it knows
	 * that there is none. */
	if (!v->loaded || v->old || v->dirty || v->unseen || v->unlinked)
		;
	else if (v->opens == 0 && v->b == NULL)
		rv = load_again(f, v);
	else if (v->opens == 0)
		retire(f, v, node);
	else if ((rv = node_renew(f, ino)) == 0) {
		retire(f, v, node);	/* after: io_open, N2 */
		rv = 1;
	}
	vnode_leave(v);
	vnode_put(f, v);
	if (rv < 0)
		log_error("a file that others changed goes on as it was until "
		    "it is closed", "ino=%llu err=%d",
		    (unsigned long long)ino, rv);
	return rv;
}

struct vnode *
vnode_old(struct fs *f, uint64_t node)
{
	struct vnodes *t = f->vnodes;
	struct vnode *v;

	lock_take(&t->lock);
	for (v = t->old; v != NULL; v = v->next)
		if (v->old_node == node)
			break;
	if (v != NULL)
		v->refs++;
	lock_drop(&t->lock);
	return v;
}

uint64_t
vnodes_now(struct fs *f)
{
	return atomic_load(&f->vnodes->settles);
}

void
vnode_note_settled(struct fs *f, uint64_t ino)
{
	struct vnodes *t = f->vnodes;
	_Atomic uint64_t *last = &t->settled[bucket(ino)];
	uint64_t n = atomic_fetch_add(&t->settles, 1) + 1;
	uint64_t old = atomic_load(last);

	while (old < n && !atomic_compare_exchange_weak(last, &old, n))
		;
}

/* Nothing of ino's chain was settled since: what was read then is so. */
static bool
is_since(struct fs *f, uint64_t ino, uint64_t since)
{
	return atomic_load(&f->vnodes->settled[bucket(ino)]) <= since;
}

bool
vnode_overlay(struct fs *f, struct attr *a, uint64_t since)
{
	struct vnode *v;

	if ((a->mode & S_IFMT) != S_IFREG)
		return true;
	v = vnode_peek(f, a->ino);
	if (v == NULL)
		return is_since(f, a->ino, since);
	lock_take(&v->lock);
	pass_look_locked(v);
	v->told_ctime = v->last_ctime;
	if (v->loaded && v->dirty && v->b != NULL) {
		a->size = bfile_size(v->b);
		if (!v->mtime_set) {
			int64_t t = v->wrote;

			a->mtime = t != 0 ? t : a->mtime;
			a->ctime = t > a->ctime ? t : a->ctime;
		}
	}
	lock_drop(&v->lock);
	vnode_put(f, v);
	return is_since(f, a->ino, since);
}

bool
vnode_has_no_xattrs(struct fs *f, uint64_t ino)
{
	struct vnode *v = vnode_peek(f, ino);
	bool none;

	if (v == NULL)
		return false;
	lock_take(&v->lock);
	none = v->no_xattrs;
	lock_drop(&v->lock);
	vnode_put(f, v);
	return none;
}

void
vnode_may_have_xattrs(struct fs *f, uint64_t ino)
{
	struct vnode *v = vnode_peek(f, ino);

	if (v == NULL)
		return;
	lock_take(&v->lock);
	v->no_xattrs = false;
	lock_drop(&v->lock);
	vnode_put(f, v);
}

void
vnodes_note_gone(struct fs *f, const struct attr *a, int64_t ctime)
{
	struct vnodes *t = f->vnodes;
	struct attr *g;

	lock_take(&t->lock);
	g = &t->gone[t->ngone++ % GONE_MAX];
	*g = *a;
	g->nlink = 0;
	g->ctime = ctime;
	lock_drop(&t->lock);
}

int
vnodes_gone(struct fs *f, uint64_t ino, struct attr *ret)
{
	struct vnodes *t = f->vnodes;
	unsigned i;
	int err = -ENOENT;

	lock_take(&t->lock);
	for (i = 0; i < GONE_MAX && err != 0; i++)
		if (t->gone[i].ino == ino) {
			*ret = t->gone[i];
			err = 0;
		}
	lock_drop(&t->lock);
	return err;
}

/*
 * backing: the table of backing files, and how one comes and goes.
 *
 *   pool ──bfile_new──> NEW ──bfile_assign──> KEPT ──bfile_keep──> in data/
 *     ^                  │ put                  │ bfile_forget,
 *     └──────────────────┴────── last put ──────┘ bfile_replaced, evicted
 *
 * A file that nobody refers to stays in the table, open, among the IDLE_FILES
 * used last.  closed_off marks one that is being loaded, evicted or closed:
 * who wants it waits (tab_cond) and looks again (STYLE 10).
 *
 * Incarnations come from a counter that starts at the clock's seconds: two
 * of one inode never have the same number while a kernel may know both (F1).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cache/map.h"

char *
data_path(const struct cache *c, uint64_t ino, uint32_t inc)
{
	char *p;

	return asprintf(&p, "%s/data/%02x/%llx.%x", c->dir,
	    (unsigned)(ino & 0xff), (unsigned long long)ino, inc) < 0
	    ? NULL : p;
}

char *
file_path(const struct bfile *b)
{
	int64_t slot = atomic_load(&b->slot);

	return slot >= 0 ? slot_path(b->c, slot) :
	    data_path(b->c, b->ino, b->inc);
}

char *
bfile_path(const struct bfile *b)
{
	char *p = file_path(b), *r;

	if (p == NULL)
		return NULL;
	r = strdup(p + strlen(b->c->dir) + 1);
	free(p);
	return r;
}

/* --- the table; tab_lock is held --- */

static unsigned
bucket(uint64_t ino)
{
	return (ino * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
}

struct bfile *
table_find(struct cache *c, uint64_t ino)
{
	struct bfile *b = c->tab[bucket(ino)];

	while (b != NULL && b->ino != ino)
		b = b->hnext;
	return b;
}

void
table_insert(struct cache *c, struct bfile *b)
{
	struct bfile **p = &c->tab[bucket(b->ino)];

	b->hnext = *p;
	*p = b;
	b->hashed = true;
}

void
table_remove(struct cache *c, struct bfile *b)
{
	struct bfile **p = &c->tab[bucket(b->ino)];

	if (!b->hashed)
		return;
	while (*p != b)
		p = &(*p)->hnext;
	*p = b->hnext;
	b->hashed = false;
}

static void
take_ref(struct cache *c, struct bfile *b)
{
	b->refs++;
	if (b->on_idle) {
		TAILQ_REMOVE(&c->idle, b, idle);
		b->on_idle = false;
		c->nidle--;
	}
}

/* --- one --- */

static struct bfile *
alloc(struct cache *c)
{
	struct bfile *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->c = c;
	b->fd = b->reg_fd = -1;
	b->refs = 1;
	atomic_store(&b->slot, -1);
	atomic_store(&b->clean_gen, atomic_fetch_add(&c->next_clean, 1));
	lock_init(&b->lock, RANK_MAP, "map");
	cond_init(&b->cond);
	return b;
}

/* Memory only. */
static void
destroy(struct bfile *b)
{
	map_pages_drop(b);
	kept_drop(b);
	dset_done(&b->dirty);
	lock_done(&b->lock);
	cond_done(&b->cond);
	free(b);
}

/* Nobody refers to it and it is out of the table. */
static void
dispose(struct bfile *b)
{
	struct cache *c = b->c;

	space_add(c, -(int64_t)atomic_load(&b->used),
	    -(int64_t)atomic_load(&b->dirty_bytes));
	if (atomic_load(&b->slot) >= 0)
		slots_give(c, b->slot, b->fd, b->reg_fd);
	else
		slots_retire(c, b->fd, b->reg_fd);
	destroy(b);
}

int
bfile_new(struct cache *c, struct bfile **ret)
{
	struct bfile *b;
	struct slot s;
	int err;

	b = alloc(c);
	if (b == NULL)
		return -ENOMEM;
	err = dset_reserve(&b->dirty, 4);
	if (!err)
		err = slots_take(c, &s);
	if (err) {
		destroy(b);
		return err;
	}
	b->fd = s.fd;
	atomic_store(&b->slot, s.n);
	b->inc = atomic_fetch_add(&c->next_inc, 1);
	dset_add(&b->dirty, 0, INF, 0);
	map_update(b);
	*ret = b;
	return 0;
}

int
bfile_assign(struct sqc *q, struct bfile *b, uint64_t ino)
{
	struct index_file f = { .ino = ino, .inc = b->inc, .slot = b->slot,
	    .size = atomic_load(&b->size), .base = b->base, .alldirty = true,
	    .syncsize = UINT64_MAX, .atime = clock_real() };
	struct cache *c = b->c;
	int err;

	err = index_insert(q, &f);
	if (err)
		return err;
	b->ino = ino;
	atomic_store(&b->atime, f.atime);
	lock_take(&c->tab_lock);	/* RANK_TABLE: above RANK_SQ */
	b->unconfirmed = true;
	if (!b->hashed) {
		table_insert(c, b);
		atomic_fetch_add(&c->files, 1);
	}
	lock_drop(&c->tab_lock);
	return 0;
}

/* The backing file is gone.  Where all of it was clean it is made again, empty
 * (fit_size finds that no chunk is there); else bytes are lost: -EIO. */
static int
remake_file(struct sqc *q, const struct index_file *f, const char *path)
{
	struct dset dirty = { 0 };
	int err, fd = -EIO;

	err = index_dirty_load(q, f, &dirty);
	if (!err && !f->alldirty && dirty.n == 0)
		fd = sys.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC |
		    O_NOFOLLOW, 0600);
	dset_done(&dirty);
	log_warn(fd >= 0 ? "a backing file is missing; its bytes will be"
	    " fetched again" : "a backing file is missing, and with it bytes"
	    " that were not stored yet", "ino=%llu file=%s",
	    (unsigned long long)f->ino, LOG_Q(path));
	return err ? err : fd == -ENOENT ? -EIO : fd;
}

static int
open_file(struct cache *c, struct sqc *q, const struct index_file *f,
    struct bfile *b)
{
	char *path[2];
	int i, fd = -ENOENT;

	/* a crash between rename and row: it is in the other place */
	path[f->slot < 0] = slot_path(c, f->slot < 0 ? INT64_MAX : f->slot);
	path[f->slot >= 0] = data_path(c, f->ino, f->inc);
	for (i = 0; i < 2 && fd == -ENOENT; i++) {
		if (path[i] == NULL)
			fd = -ENOMEM;
		else
			fd = file_open(c, path[i], O_RDWR);
	}
	if (fd == -ENOENT && f->slot < 0)
		fd = remake_file(q, f, path[0]);
	else if (fd == -ENOENT)
		fd = remake_file(q, f, path[1]);
	if (f->slot >= 0)
		atomic_store(&b->slot, i == 1 ? f->slot : -1);
	free(path[0]);
	free(path[1]);
	if (fd < 0)
		return fd;
	b->fd = fd;
	return 0;
}

struct grow { struct bfile *b; uint64_t chunk; };

static int
grow_tx(struct sqc *q, void *arg)
{
	struct grow *g = arg;

	return index_pages_cut(q, g->b->ino, g->chunk);
}

/* To `size`, with chunks that are not here.  That they are not is on disk
 * first: for a crash after it, the sizes agree. */
int
bfile_grow(struct bfile *b, uint64_t size)
{
	uint64_t k = atomic_load(&b->size) / CACHE_CHUNK;
	struct grow g = { b, k };
	int err;

	err = sq_write(b->c->index, grow_tx, &g);
	if (!err)
		err = sys.ftruncate(b->fd, size);
	if (err)
		return err;
	lock_take(&b->lock);
	atomic_store(&b->size, size);
	for (; k < chunks_of(size); k++)
		chunk_clear(b, k);
	map_update(b);
	lock_drop(&b->lock);
	return 0;
}

/* Where what was written after `size`, and recorded, ends. */
static uint64_t
recorded_end(const struct bfile *b, uint64_t size)
{
	uint64_t e = size;
	unsigned i;

	for (i = 0; i < b->dirty.n; i++)
		if (b->dirty.v[i].seq == 0 && b->dirty.v[i].off <= e &&
		    b->dirty.v[i].end > e)
			e = b->dirty.v[i].end;
	return e;
}

/*
 * What a crash may have left between bytes and rows: a file shorter than its
 * content (a truncate that was not recorded: those chunks are not here, unless
 * dirty bytes went with it: then orphan() completes it), or longer than what
 * is known dirty (a write that was not recorded).
 */
static int
fit_size(const struct index_file *f, struct bfile *b)
{
	uint64_t size, e, k;
	struct stat st;
	int err;

	err = sys.fstat(b->fd, &st);
	if (err)
		return err;
	size = st.st_size;
	atomic_store(&b->size, size);
	atomic_store(&b->used, st.st_blocks * UINT64_C(512));
	if (size == f->size || f->alldirty)
		return 0;
	if (size > f->size) {
		e = recorded_end(b, f->size);
		if (e < size) {
			err = sys.ftruncate(b->fd, e);
			atomic_store(&b->size, e);
		}
		return err;
	}
	if (!dset_touches(&b->dirty, size, f->size))
		return bfile_grow(b, f->size);
	for (k = chunks_of(size); k < chunks_of(f->size); k++)
		chunk_clear(b, k);
	chunk_stale(b, size / CACHE_CHUNK);
	return 0;
}

/* Fills b from the index and opens its file: -ENOENT when there is none. */
static int
load(struct cache *c, uint64_t ino, struct bfile *b)
{
	struct index_file f;
	struct sqc *q;
	int err;

	err = sq_read(c->index, &q);
	if (err)
		return err;
	err = index_get(q, ino, &f);
	if (err)
		goto out;
	b->inc = f.inc;
	b->base = f.base;
	atomic_store(&b->synced, f.synced);
	b->mtime = f.mtime;
	atomic_store(&b->atime, f.atime);
	atomic_store(&b->size, f.alldirty ? INF : f.size);
	err = open_file(c, q, &f, b);
	if (!err)
		err = map_load(q, &f, b);
	if (!err)
		err = fit_size(&f, b);
	if (!err)
		err = pinned_load(q, b);
	if (!err)
		map_update(b);
	else if (err != -ENFILE)
		log_error("a backing file of the cache cannot be used",
		    "ino=%llu err=%d", (unsigned long long)ino, err);
	/* it is in the accounts, as it was when they were taken */
	atomic_store(&b->used, f.used);
	atomic_store(&b->dirty_bytes, err ? 0 :
	    dset_bytes(&b->dirty, atomic_load(&b->size)));
out:
	sq_read_end(q);
	return err;
}

/* Wakes who waits; with the reference, or without if it failed. */
static void
opened(struct cache *c, struct bfile *b, int err)
{
	lock_take(&c->tab_lock);
	b->closed_off = false;
	if (err)
		table_remove(c, b);
	cond_broadcast(&c->tab_cond);
	lock_drop(&c->tab_lock);
	if (!err)
		return;
	if (b->fd >= 0)
		sys.close(b->fd);
	destroy(b);
}

int
bfile_get(struct cache *c, uint64_t ino, struct bfile **ret)
{
	struct bfile *b;
	int err = 0;

	lock_take(&c->tab_lock);
	while ((b = table_find(c, ino)) != NULL && b->closed_off)
		cond_wait(&c->tab_cond, &c->tab_lock);
	if (b != NULL) {
		take_ref(c, b);
		lock_drop(&c->tab_lock);
	} else {
		b = alloc(c);
		if (b == NULL) {
			lock_drop(&c->tab_lock);
			return -ENOMEM;
		}
		b->ino = ino;
		b->closed_off = true;
		table_insert(c, b);
		lock_drop(&c->tab_lock);
		err = load(c, ino, b);
		opened(c, b, err);
		if (err)
			return err;
	}
	if (atomic_load(&b->slot) < 0) {
		atomic_store(&b->atime, clock_real());
		atomic_store(&b->need_save, true);
		atomic_store(&c->saving, true);
	}
	*ret = b;
	return 0;
}

struct make { struct bfile *b; struct index_file f; };

static int
make_tx(struct sqc *q, void *arg)
{
	struct make *m = arg;

	return index_insert(q, &m->f);
}

int
bfile_make(struct cache *c, uint64_t ino, uint64_t size, struct bfile **ret)
{
	struct make m = { 0 };
	char *path = NULL;
	int err, fd;

	err = bfile_get(c, ino, ret);
	if (err != -ENOENT)
		return err;
	if (size >= INF)
		return -EFBIG;
	m.f = (struct index_file){ .ino = ino, .size = size, .slot = -1,
	    .inc = atomic_fetch_add(&c->next_inc, 1), .base = true,
	    .syncsize = UINT64_MAX, .atime = clock_real() };
	path = data_path(c, ino, m.f.inc);
	if (path == NULL)
		return -ENOMEM;
	fd = file_open(c, path, O_RDWR | O_CREAT | O_EXCL);
	err = fd < 0 ? fd : sys.ftruncate(fd, size);
	if (!err)
		err = sq_write(c->index, make_tx, &m);
	if (err && fd >= 0)
		sys.unlink(path);
	if (fd >= 0)
		sys.close(fd);
	free(path);
	if (err == 0)
		atomic_fetch_add(&c->files, 1);
	if (err == 0 || err == -EEXIST)		/* another was faster */
		err = bfile_get(c, ino, ret);
	return err;
}

static int
assign_tx(struct sqc *q, void *arg)
{
	struct make *m = arg;

	return bfile_assign(q, m->b, m->f.ino);
}

int
bfile_from_bytes(struct cache *c, uint64_t ino, const void *p, size_t n,
    struct bfile **ret)
{
	struct make m = { .f = { .ino = ino } };
	struct bfile *b;
	ssize_t r = 0;
	int err;

	err = bfile_new(c, &b);
	if (err)
		return err;
	b->base = true;
	if (n > 0)
		r = bfile_write(b, p, n, 0);
	m.b = b;
	err = r < 0 ? (int)r : sq_write(c->index, assign_tx, &m);
	if (err) {
		bfile_put(b);
		return err;
	}
	*ret = b;
	return 0;
}

void
bfile_ref(struct bfile *b)
{
	lock_take(&b->c->tab_lock);
	b->refs++;
	lock_drop(&b->c->tab_lock);
}

static int
row_exists(struct bfile *b)
{
	struct sqc *q;
	bool is;

	if (sq_read(b->c->index, &q))
		return 1;	/* not known: it stays */
	is = index_is(q, b->ino, b->inc);
	sq_read_end(q);
	return is;
}

void
bfile_put(struct bfile *b)
{
	struct cache *c;
	bool check, last, trim;

	if (b == NULL)
		return;
	c = b->c;
	lock_take(&c->tab_lock);
	check = b->refs == 1 && b->unconfirmed && !atomic_load(&b->gone);
	lock_drop(&c->tab_lock);
	if (check) {
		/* the transaction that assigned it may have failed */
		if (!row_exists(b))
			bfile_forget(b);
		b->unconfirmed = false;
	}
	lock_take(&c->tab_lock);
	last = --b->refs == 0;
	trim = false;
	if (last && b->hashed) {
		TAILQ_INSERT_HEAD(&c->idle, b, idle);
		b->on_idle = true;
		trim = ++c->nidle > IDLE_FILES;
		last = false;
	}
	lock_drop(&c->tab_lock);
	if (last)
		dispose(b);
	else if (trim)
		cache_kick(c);
}

/* Closes the least recently used of the idle, down to `keep`. */
void
bfile_trim(struct cache *c, unsigned keep)
{
	struct bfile *b;

	for (;;) {
		lock_take(&c->tab_lock);
		b = c->nidle > keep ? TAILQ_LAST(&c->idle, idle_head) : NULL;
		if (b != NULL) {
			take_ref(c, b);
			b->closed_off = true;
		}
		lock_drop(&c->tab_lock);
		if (b == NULL)
			return;
		map_account(b);
		if (map_save(c, &b, 1, true))
			log_warn("cannot save a map of the cache", "ino=%llu",
			    (unsigned long long)b->ino);
		lock_take(&c->tab_lock);
		table_remove(c, b);
		cond_broadcast(&c->tab_cond);
		lock_drop(&c->tab_lock);
		slots_retire(c, b->fd, b->reg_fd);
		destroy(b);
	}
}

int
bfile_seize(struct cache *c, uint64_t ino, struct bfile **ret)
{
	struct bfile *b;
	int err;

	err = bfile_get(c, ino, &b);
	if (err)
		return err;
	lock_take(&c->tab_lock);
	while (b->inner > 0 && b->refs - b->inner == 1)
		cond_wait(&c->tab_cond, &c->tab_lock);
	if (b->refs > 1 || !b->hashed)
		err = -EBUSY;
	else
		b->closed_off = true;
	lock_drop(&c->tab_lock);
	if (err) {
		bfile_put(b);
		return err;
	}
	*ret = b;
	return 0;
}

void
bfile_release(struct bfile *b)
{
	struct cache *c = b->c;

	lock_take(&c->tab_lock);
	b->closed_off = false;
	cond_broadcast(&c->tab_cond);
	lock_drop(&c->tab_lock);
	bfile_put(b);
}

void
bfile_discard(struct bfile *b)
{
	bfile_forget(b);
	bfile_put(b);
}

int
bfile_forget_tx(struct sqc *q, struct bfile *b)
{
	return index_remove(q, b->ino);
}

void
bfile_forget(struct bfile *b)
{
	struct cache *c = b->c;
	char *path;

	lock_take(&c->tab_lock);
	if (atomic_exchange(&b->gone, true)) {
		lock_drop(&c->tab_lock);
		return;
	}
	if (b->hashed)
		atomic_fetch_sub(&c->files, 1);
	table_remove(c, b);
	b->closed_off = false;
	cond_broadcast(&c->tab_cond);
	lock_drop(&c->tab_lock);
	space_add(c, 0, -(int64_t)atomic_exchange(&b->dirty_bytes, 0));
	if (atomic_load(&b->slot) >= 0)
		return;		/* the last put gives it back */
	path = file_path(b);
	if (path != NULL)
		sys.unlink(path);
	free(path);
}

static int
keep_tx(struct sqc *q, void *arg)
{
	struct bfile *b = arg;
	struct sqs *s = sq_prep(q, "UPDATE c_file SET slot=NULL, size=?3,"
	    " used=?4 WHERE ino=?1 AND inc=?2");

	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, b->ino);
	sqs_int(s, 2, b->inc);
	sqs_int(s, 3, atomic_load(&b->size));
	sqs_int(s, 4, atomic_load(&b->used));
	return sqs_run(s);
}

int
bfile_keep(struct bfile *b)
{
	char *from, *to;
	int err = 0;

	if (atomic_load(&b->slot) < 0 || atomic_load(&b->gone))
		return 0;
	map_account(b);
	from = slot_path(b->c, b->slot);
	to = data_path(b->c, b->ino, b->inc);
	atomic_fetch_add(&b->own, 1);
	if (from == NULL || to == NULL)
		err = -ENOMEM;
	else
		err = sys.rename(from, to);
	atomic_fetch_add(&b->own, 1);
	free(from);
	free(to);
	if (err)
		return err;
	/* first the file, then the row: open_file looks in both places */
	atomic_store(&b->slot, -1);
	return sq_write(b->c->index, keep_tx, b);
}

static int
replaced_tx(struct sqc *q, void *arg)
{
	struct bfile *b = arg;
	struct sqs *s;
	int r;

	if (atomic_load(&b->writers) > 0)
		return -EBUSY;
	s = sq_prep(q, "SELECT 1 FROM c_file WHERE ino=?1 AND alldirty"
	    " UNION ALL SELECT 1 FROM c_dirty WHERE ino=?1 LIMIT 1");
	if (s == NULL)
		return sq_err(q);
	sqs_int(s, 1, b->ino);
	r = sqs_step(s);
	sqs_reset(s);
	return r < 0 ? r : r == 1 ? -EBUSY : index_remove(q, b->ino);
}

int
bfile_replaced(struct cache *c, uint64_t ino)
{
	struct bfile *b;
	int err;

	err = bfile_get(c, ino, &b);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = sq_write(c->index, replaced_tx, b);
	if (!err)
		bfile_forget(b);
	bfile_put(b);
	return err;
}

/* --- descriptors --- */

uint64_t
bfile_ino(const struct bfile *b)
{
	return b->ino;
}

uint32_t
bfile_incarnation(const struct bfile *b)
{
	return b->inc;
}

int
bfile_fd(const struct bfile *b)
{
	return b->fd;
}

static int
reg_fd(struct bfile *b)
{
	int fd;

	lock_take(&b->lock);
	fd = b->reg_fd;
	if (fd < 0 && (fd = file_again(b->fd)) >= 0)
		b->reg_fd = fd;
	lock_drop(&b->lock);
	return fd;
}

int
bfile_reg_fd(const struct bfile *cb)
{
	struct bfile *b = (struct bfile *)cb;
	int fd = reg_fd(b);

	if (fd == -EMFILE || fd == -ENFILE) {
		bfile_trim(b->c, 0);
		slots_retire_now(b->c);
		fd = reg_fd(b);
	}
	return fd;
}

int
bfile_writable(struct bfile *b)
{
	int fd, err = 0;

	if (!atomic_load(&b->fd_ro))
		return 0;
	lock_take(&b->lock);
	if (atomic_load(&b->fd_ro)) {
		fd = file_reopen(b->reg_fd, O_RDWR);
		if (fd < 0)
			err = fd;
		else if (dup3(fd, b->fd, O_CLOEXEC) < 0)
			err = -errno;
		else
			atomic_store(&b->fd_ro, false);
		if (fd >= 0)
			sys.close(fd);
	}
	lock_drop(&b->lock);
	return err;
}

/*
 * Where reg_fd exists, its description must be the only one: fd becomes a
 * duplicate of it (same number, so readers go on) until the next write.
 * Without it nobody but the daemon was ever given the file; a write lease on
 * fd then proves both kinds.
 */
int
bfile_lease(struct bfile *b, int type)
{
	int err;

	lock_take(&b->lock);
	if (b->reg_fd >= 0 && !atomic_load(&b->fd_ro)) {
		if (dup3(b->reg_fd, b->fd, O_CLOEXEC) < 0) {
			lock_drop(&b->lock);
			return -errno;
		}
		atomic_store(&b->fd_ro, true);
	}
	if (b->reg_fd < 0)
		type = F_WRLCK;
	err = sys.lease(b->fd, type);
	if (err == 0)
		sys.lease(b->fd, F_UNLCK);
	else if (err == -EINVAL && b->reg_fd < 0)
		err = 0;	/* a disk without leases */
	lock_drop(&b->lock);
	return err;
}

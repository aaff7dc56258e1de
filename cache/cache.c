/*
 * cache: opening, recovery, the thread, closing.
 *
 * c_meta says how the last use ended: `clean` is 1 only between a
 * cache_close, which has synced the disk, and the next cache_open; `boot`
 * rows hold the boot id.  Not clean and another boot is an unclean boot: the
 * epoch moves, so every page of present bits is to be verified before use
 * (C4).  Not clean in the same boot is a crash of the process: nothing of the
 * bytes is in doubt, only sizes and accounts are taken again.
 *
 * The thread refills the pool, closes what is retired, saves maps a little
 * after they changed, and closes idle files over their bound.  It sleeps
 * while there is nothing to do.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sys.h"
#include "cache/map.h"

#define POOL_DEFAULT	64
#define STOCK		2		/* pools */

void
cache_kick(struct cache *c)
{
	lock_take(&c->slots_lock);
	c->kicked = true;
	cond_signal(&c->slots_cond);
	lock_drop(&c->slots_lock);
}

static void *
run(void *arg)
{
	struct cache *c = arg;
	int64_t due = INT64_MAX;
	bool stop;
	int err;

	pthread_setname_np(pthread_self(), "gnsfs-cache");
	for (;;) {
		lock_take(&c->slots_lock);
		while (!c->stop && !c->kicked &&
		    cond_wait_until(&c->slots_cond, &c->slots_lock,
		    due) == 0)
			;
		c->kicked = false;
		stop = c->stop;
		lock_drop(&c->slots_lock);
		if (stop)
			return NULL;
		slots_retire_now(c);
		err = slots_refill(c);
		if (err && err != -EMFILE && err != -ENOSPC)
			log_warn("cannot refill the pool of backing files",
			    "dir=%s", LOG_Q(c->dir));
		bfile_trim(c, IDLE_FILES);
		cache_landed_commit(c);
		if (due == INT64_MAX && atomic_load(&c->saving))
			due = clock_mono() + SAVE_AFTER;
		if (due != INT64_MAX && clock_mono() >= due) {
			map_save_all(c);
			small_flush_touched(c);
			due = atomic_load(&c->saving) ?
			    clock_mono() + SAVE_AFTER : INT64_MAX;
		}
	}
}

/* --- opening --- */

static int
make_dirs(struct cache *c)
{
	char *path;
	int i, err = 0;

	for (i = -1; !err && i < 256; i++) {
		if ((i < 0 ? asprintf(&path, "%s/pool", c->dir) :
		    asprintf(&path, "%s/data/%02x", c->dir, i)) < 0)
			return -ENOMEM;
		err = sys_mkdirs(path, 0700);
		free(path);
	}
	return err;
}

struct start {
	struct cache	*c;
	char		 boot[SYS_BOOT_ID_LEN];
	uint64_t	 asked;		/* limit */
	uint64_t	 dfl;
	bool		 crashed;	/* not closed */
};

/* The boot id as two integers, so that c_meta holds integers only. */
static void
boot_pair(const char *boot, int64_t ret[2])
{
	uint8_t h[SHA256_LEN];

	sha256(boot, strlen(boot), h);
	memcpy(ret, h, 16);
}

static int
start_tx(struct sqc *q, void *arg)
{
	struct start *s = arg;
	struct cache *c = s->c;
	int64_t boot[2], was[2] = { 0, 0 }, clean = 1, epoch = 1, limit = 0;
	int64_t closed = 0, unclean = 0, doubt = 0;
	int err;

	err = index_schema(q);
	if (err)
		return err;
	boot_pair(s->boot, boot);
	index_meta_get(q, "boot0", &was[0]);
	index_meta_get(q, "boot1", &was[1]);
	index_meta_get(q, "clean", &clean);
	index_meta_get(q, "epoch", &epoch);
	index_meta_get(q, "limit", &limit);
	index_meta_get(q, "closed", &closed);
	index_meta_get(q, "unclean", &unclean);
	index_meta_get(q, "doubt", &doubt);
	c->doubt = doubt;
	c->closed_at = clean ? closed : 0;
	c->opened_at = clock_real();
	s->crashed = !clean;
	c->unclean = unclean ||
	    (!clean && memcmp(boot, was, sizeof(boot)) != 0);
	c->epoch = epoch + c->unclean;
	atomic_store(&c->limit, s->asked ? s->asked :
	    limit ? (uint64_t)limit : s->dfl);
	err = index_meta_set(q, "boot0", boot[0]);
	err = err ? err : index_meta_set(q, "boot1", boot[1]);
	err = err ? err : index_meta_set(q, "epoch", c->epoch);
	err = err ? err : index_meta_set(q, "unclean", c->unclean);
	err = err ? err : index_meta_set(q, "limit",
	    atomic_load(&c->limit));
	return err ? err : index_meta_set(q, "clean", 0);
}

static int
start(struct cache *c, uint64_t asked)
{
	struct start s = { .c = c, .asked = asked };
	struct statvfs st;
	int err;

	if (statvfs(c->dir, &st))
		return -errno;
	s.dfl = (uint64_t)st.f_bavail * st.f_frsize / 5 * 4;
	err = sys.boot_id(s.boot);
	if (!err)
		err = sq_write_sync(c->index, start_tx, &s);
	if (err)
		return err;
	/* what a crash left is looked at file by file */
	return s.crashed;
}

struct row { struct index_file f; bool dirty; };

static int
list_rows(struct cache *c, bool all, struct buf *out)
{
	struct sqc *q;
	struct sqs *s;
	struct row r;
	int err, e;

	err = sq_read(c->index, &q);
	if (err)
		return err;
	s = all ? sq_prep(q, "SELECT ino, alldirty OR EXISTS(SELECT 1 FROM"
	    " c_dirty d WHERE d.ino=f.ino) FROM c_file f") :
	    sq_prep(q, "SELECT ino, 1 FROM c_file f WHERE alldirty OR"
	    " EXISTS(SELECT 1 FROM c_dirty d WHERE d.ino=f.ino)");
	while ((err = s ? sqs_step(s) : sq_err(q)) == 1) {
		memset(&r, 0, sizeof(r));
		r.f.ino = sqs_col_int(s, 0);
		r.dirty = sqs_col_int(s, 1);
		e = index_get(q, r.f.ino, &r.f);
		if (e == 0)
			buf_put(out, &r, sizeof(r));
	}
	sqs_reset(s);
	sq_read_end(q);
	return err < 0 ? err : buf_err(out);
}

static int
set_used_tx(struct sqc *q, void *arg)
{
	struct buf *b = arg;
	struct row *r = (struct row *)b->p;
	struct sqs *s = sq_prep(q, "UPDATE c_file SET used=?2 WHERE ino=?1");
	size_t i;
	int err = 0;

	if (s == NULL)
		return sq_err(q);
	for (i = 0; !err && i < b->len / sizeof(*r); i++) {
		sqs_int(s, 1, r[i].f.ino);
		sqs_int(s, 2, r[i].f.used);
		err = sqs_run(s);
	}
	return err;
}

static int
stat_row(struct cache *c, const struct index_file *f, struct stat *st)
{
	char *path = f->slot >= 0 ? slot_path(c, f->slot) :
	    data_path(c, f->ino, f->inc);
	int err;

	if (path == NULL)
		return -ENOMEM;
	err = sys.stat(path, st);
	free(path);
	if (err == -ENOENT && f->slot >= 0) {
		path = data_path(c, f->ino, f->inc);
		if (path == NULL)
			return -ENOMEM;
		err = sys.stat(path, st);
		free(path);
	}
	return err;
}

/* The accounts: from the index, or, after a crash, from the files too. */
static int
take_accounts(struct cache *c, bool crashed)
{
	struct buf rows = BUF_INIT;
	uint64_t used = 0, dirty = 0, files = 0;
	struct row *r;
	struct dset d;
	struct stat st;
	struct sqc *q;
	struct sqs *s;
	size_t i;
	int err;

	rows.max = (size_t)1 << 32;
	err = list_rows(c, crashed, &rows);
	if (!err)
		err = sq_read(c->index, &q);
	if (err)
		goto out;
	r = (struct row *)rows.p;
	for (i = 0; i < rows.len / sizeof(*r); i++) {
		if (stat_row(c, &r[i].f, &st))
			continue;
		r[i].f.used = st.st_blocks * UINT64_C(512);
		used += r[i].f.used;
		files++;
		if (!r[i].dirty)
			continue;
		memset(&d, 0, sizeof(d));
		if (index_dirty_load(q, &r[i].f, &d) == 0)
			dirty += dset_bytes(&d, st.st_size);
		dset_done(&d);
	}
	if (!crashed) {
		s = sq_prep(q, "SELECT total(used), count(*) FROM c_file");
		err = s ? sqs_step(s) : sq_err(q);
		if (err == 1) {
			used = sqs_col_int(s, 0);
			files = sqs_col_int(s, 1);
			sqs_reset(s);
		}
		err = err < 0 ? err : 0;
	}
	sq_read_end(q);
	if (!err && crashed)
		err = sq_write(c->index, set_used_tx, &rows);
	atomic_store(&c->files, files);
	space_add(c, used, dirty);
out:
	buf_done(&rows);
	return err;
}

/* Files in data/ that no row names: of a make or a forget that was cut. */
static int
sweep(struct cache *c)
{
	struct dirent *e;
	unsigned long long ino;
	unsigned inc;
	struct sqc *q;
	char *path;
	DIR *d;
	int i, err, end;

	err = sq_read(c->index, &q);
	for (i = 0; !err && i < 256; i++) {
		if (asprintf(&path, "%s/data/%02x", c->dir, i) < 0) {
			err = -ENOMEM;
			break;
		}
		d = opendir(path);
		while (d != NULL && (e = readdir(d)) != NULL) {
			end = 0;
			if (sscanf(e->d_name, "%llx.%x%n", &ino, &inc,
			    &end) == 2 && e->d_name[end] == '\0' &&
			    !index_is(q, ino, inc))
				unlinkat(dirfd(d), e->d_name, 0);
		}
		if (d != NULL)
			closedir(d);
		free(path);
	}
	if (q != NULL)
		sq_read_end(q);
	return err;
}

static void
init(struct cache *c, const struct cache_opts *o)
{
	c->index = o->index;
	c->pool = o->pool ? o->pool : file_pool(POOL_DEFAULT);
	c->stock = o->pool ? o->pool : file_pool(POOL_DEFAULT * STOCK);
	c->reserve_fd = -1;
	c->next_slot = 1;
	atomic_store(&c->next_inc, clock_real() / NSEC_PER_SEC);
	TAILQ_INIT(&c->idle);
	lock_init(&c->tab_lock, RANK_TABLE, "backing table");
	lock_init(&c->slots_lock, RANK_SLOTS, "slots");
	lock_init(&c->space_lock, RANK_SPACE, "space");
	cond_init(&c->tab_cond);
	cond_init(&c->slots_cond);
	cond_init(&c->space_cond);
}

static void
cache_free(struct cache *c)
{
	pinned_close(c);
	small_close(c);
	slots_close(c);
	free(c->landed);
	lock_done(&c->tab_lock);
	lock_done(&c->slots_lock);
	lock_done(&c->space_lock);
	cond_done(&c->tab_cond);
	cond_done(&c->slots_cond);
	cond_done(&c->space_cond);
	free(c->dir);
	free(c);
}

int
cache_open(const struct cache_opts *o, struct cache **ret, bool *retunclean,
    struct why *why)
{
	struct cache *c = calloc(1, sizeof(*c));
	int err, crashed = 0;

	if (c == NULL)
		return -ENOMEM;
	init(c, o);
	c->dir = strdup(o->dir);
	err = c->dir ? make_dirs(c) : -ENOMEM;
	if (err)
		why_set(why, err, "cannot make the cache's folders in %s: %s",
		    o->dir, strerror(-err));
	if (!err) {
		err = crashed = start(c, o->size_limit);
		err = err < 0 ? err : 0;
		if (err)
			why_set(why, err, "cannot open the cache's index for"
			    " %s: %s", o->dir, strerror(-err));
	}
	if (!err)
		err = small_open(c, why);
	if (!err && crashed)
		err = sweep(c);
	if (!err)
		err = slots_open(c);
	if (!err)
		err = take_accounts(c, crashed);
	if (!err)
		err = pinned_open(c);
	if (!err) {
		err = -pthread_create(&c->thread, NULL, run, c);
		c->started = !err;
	}
	if (err) {
		cache_free(c);
		return why_set(why, err, "cannot open the cache in %s: %s",
		    o->dir, strerror(-err));
	}
	cache_kick(c);
	*ret = c;
	if (retunclean != NULL)
		*retunclean = c->unclean;
	return 0;
}

static int
clean_tx(struct sqc *q, void *arg)
{
	int err = index_meta_set(q, "closed", clock_real());

	return err ? err : index_meta_set(q, "clean", 1);
}

void
cache_close(struct cache *c)
{
	int fd, err = -EIO;

	if (c == NULL)
		return;
	lock_take(&c->slots_lock);
	c->stop = true;
	cond_signal(&c->slots_cond);
	lock_drop(&c->slots_lock);
	if (c->started)
		pthread_join(c->thread, NULL);
	cache_landed_commit(c);
	bfile_trim(c, 0);
	slots_retire_now(c);
	/* clean is a promise about the disk, not about its cache (C4) */
	fd = sys.open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd >= 0) {
		err = syncfs(fd) ? -errno : 0;
		sys.close(fd);
	}
	if (!err)
		err = sq_write_sync(c->index, clean_tx, NULL);
	if (err)
		log_error("the cache was not closed cleanly",
		    "dir=%s err=%d", LOG_Q(c->dir), err);
	counter_set(bytes_dirty, 0);
	cache_free(c);
}

/* --- recovery --- */

/* A new file is as long as its recorded sync says (L11). */
static int
cut_unsynced(struct bfile *b, const struct index_file *f)
{
	uint64_t size = (int64_t)f->syncsize < 0 ? 0 : f->syncsize;

	if (bfile_size(b) <= size)
		return 0;
	return bfile_truncate(b, size);
}

/* Every dirty byte is in a store, by an op that says where. */
static bool
is_uploaded(const struct bfile *b)
{
	unsigned i, k;

	for (i = 0; i < b->dirty.n; i++) {
		for (k = 0; k < b->nfrozen; k++)
			if (b->frozen[k] == b->dirty.v[i].seq)
				break;
		if (k == b->nfrozen)
			return false;
	}
	return true;
}

static bool
is_closed(const struct bfile *b)
{
	unsigned i;

	for (i = 0; i < b->dirty.n; i++)
		if (b->dirty.v[i].seq == 0)
			return false;
	return b->dirty.n > 0;
}

/*
 * The file is as long as it will be, and the index knows: what a crash cut off
 * between a change of size and its record is completed, so that the file is
 * not one thing now and what its last op says once that has landed.  What is
 * stored already stays as it is stored.
 */
static int
settle_size(struct cache *c, const struct index_file *f, struct bfile *b)
{
	int err = 0;

	/* the store has the bytes: what is here is compared once it landed */
	if (c->unclean && is_uploaded(b))
		return bfile_size(b) < f->size ? bfile_grow(b, f->size) : 0;
	if (c->unclean && !f->base && b->nfrozen == 0)
		err = cut_unsynced(b, f);
	if (err || !is_closed(b) || bfile_size(b) == f->size)
		return err;
	log_info("a change of size that a crash cut off is completed",
	    "ino=%llu was=%llu is=%llu", (unsigned long long)f->ino,
	    (unsigned long long)f->size, (unsigned long long)bfile_size(b));
	return bfile_was_resized(b, f->size);
}

static int
orphan(struct cache *c, const struct index_file *f, struct cache_orphan *ret)
{
	struct bfile *b;
	struct stat st;
	int err;

	err = stat_row(c, f, &st);
	if (!err)
		err = bfile_get(c, f->ino, &b);
	if (err)
		return err;
	memset(ret, 0, sizeof(*ret));
	ret->ino = f->ino;
	ret->had_base = f->base || b->nfrozen > 0;
	/* Once synced since it was clean, all its dirty bytes stay: later
	 * writes may be torn, as on any disk, what was synced must not go
	 * with them. */
	ret->unsynced = c->unclean && !f->synced &&
	    (int64_t)f->syncsize < 0 && !is_uploaded(b);
	if (!ret->unsynced || !ret->had_base)
		err = settle_size(c, f, b);
	lock_take(&b->lock);
	ret->closed = is_closed(b);
	lock_drop(&b->lock);
	ret->mtime = bfile_mtime(b);
	ret->size = bfile_size(b);
	bfile_put(b);
	return err;
}

int
cache_recover(struct cache *c,
    int (*each)(void *arg, const struct cache_orphan *o), void *arg)
{
	struct buf rows = BUF_INIT;
	struct cache_orphan o;
	struct row *r;
	size_t i;
	int err;

	rows.max = (size_t)1 << 32;
	err = list_rows(c, false, &rows);
	r = (struct row *)rows.p;
	for (i = 0; !err && i < rows.len / sizeof(*r); i++) {
		err = orphan(c, &r[i].f, &o);
		if (err == -ENOENT) {
			log_error("a backing file with unstored bytes is "
			    "gone: nothing is stored any more until the "
			    "cache's folder is put back, or the file removed",
			    "ino=%llu", (unsigned long long)r[i].f.ino);
			err = 0;
			continue;
		}
		if (!err)
			err = each(arg, &o);
	}
	buf_done(&rows);
	return err;
}

static int
recovered_tx(struct sqc *q, void *arg)
{
	int err = index_meta_set(q, "doubt", *(uint64_t *)arg);

	return err ? err : index_meta_set(q, "unclean", 0);
}

int
cache_recovered(struct cache *c, uint64_t last)
{
	int err;

	if (!c->unclean)
		return 0;
	err = sq_write_sync(c->index, recovered_tx, &last);
	if (!err)
		c->doubt = last;
	return err;
}

bool
cache_is_doubtful(const struct cache *c, uint64_t seq)
{
	return seq <= c->doubt;
}

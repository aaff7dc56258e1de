/*
 * slots: the pool of ready backing files (F2).  A slot is a file pool/<n>,
 * empty, open.  Numbers are never used twice for different files, so a row
 * that names a slot names one file.  Create takes from memory; a thread makes
 * new ones when less than half of `pool` are ready (cache_kick).  What comes
 * back is taken up to `stock`: many files that come and go use the same slots
 * again, as making one costs more than all else that a small file needs.
 *
 * A slot comes back empty only under a write lease (C2): whoever still has
 * it open or mapped keeps the old file, unlinked.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "cache/map.h"

char *
slot_path(const struct cache *c, int64_t n)
{
	char *p;

	return asprintf(&p, "%s/pool/%llx", c->dir, (unsigned long long)n) < 0
	    ? NULL : p;
}

/* It is there; a new one, for the pool; one that is wanted now. */
enum how { THERE, IN_STOCK, NOW };

static int
slot_open(struct cache *c, int64_t n, enum how how, int *retfd)
{
	char *path = slot_path(c, n);
	int fd;

	if (path == NULL)
		return -ENOMEM;
	if (how == THERE)
		fd = sys.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	else if (how == IN_STOCK)
		fd = file_try(path, O_RDWR | O_CREAT | O_EXCL);
	else
		fd = file_open(c, path, O_RDWR | O_CREAT | O_EXCL);
	free(path);
	if (fd < 0)
		return fd;
	*retfd = fd;
	return 0;
}

static int
slot_make(struct cache *c, enum how how, struct slot *ret)
{
	int err;

	lock_take(&c->slots_lock);
	ret->n = c->next_slot++;
	lock_drop(&c->slots_lock);
	err = slot_open(c, ret->n, how, &ret->fd);
	return err;
}

/* The slot's row, if it is in use. */
static int
slot_used(struct cache *c, const int64_t *used, size_t n, int64_t slot)
{
	size_t lo = 0, hi = n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (used[mid] == slot)
			return 1;
		if (used[mid] < slot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

static int
load_used(struct cache *c, int64_t **ret, size_t *retn)
{
	struct buf b = BUF_INIT;
	struct sqc *q;
	struct sqs *s;
	int64_t v;
	int r;

	r = sq_read(c->index, &q);
	if (r)
		return r;
	s = sq_prep(q, "SELECT slot FROM c_file WHERE slot IS NOT NULL"
	    " ORDER BY slot");
	while ((r = s ? sqs_step(s) : sq_err(q)) == 1) {
		v = sqs_col_int(s, 0);
		if (v >= c->next_slot)
			c->next_slot = v + 1;
		buf_put(&b, &v, sizeof(v));
	}
	sq_read_end(q);
	if (r == 0)
		r = buf_err(&b);
	*retn = b.len / sizeof(v);
	*ret = r ? NULL : buf_take(&b, &b.len);
	buf_done(&b);
	return r;
}

/* What lies in pool/ without a row: emptied and ready, or too many. */
int
slots_open(struct cache *c)
{
	struct slot s;
	struct dirent *e;
	int64_t *used = NULL;
	size_t n = 0;
	char *path = NULL, *end;
	DIR *d = NULL;
	int err;

	c->ready = calloc(c->stock, sizeof(*c->ready));
	if (c->ready == NULL || asprintf(&path, "%s/pool", c->dir) < 0) {
		path = NULL;
		err = -ENOMEM;
		goto out;
	}
	err = load_used(c, &used, &n);
	if (err)
		goto out;
	d = opendir(path);
	if (d == NULL) {
		err = -errno;
		goto out;
	}
	while ((e = readdir(d)) != NULL) {
		s.n = strtoll(e->d_name, &end, 16);
		if (*end != '\0' || end == e->d_name)
			continue;
		if (s.n >= c->next_slot)
			c->next_slot = s.n + 1;
		if (slot_used(c, used, n, s.n))
			continue;
		if (slot_open(c, s.n, THERE, &s.fd) == 0)
			slots_give(c, s.n, s.fd, -1);
	}
out:
	if (d != NULL)
		closedir(d);
	free(used);
	free(path);
	return err;
}

void
slots_close(struct cache *c)
{
	unsigned i;

	slots_retire_now(c);
	for (i = 0; i < c->nready; i++)
		sys.close(c->ready[i].fd);
	free(c->ready);
	c->ready = NULL;
	c->nready = 0;
}

int
slots_take(struct cache *c, struct slot *ret)
{
	bool have, low;

	lock_take(&c->slots_lock);
	have = c->nready > 0;
	if (have)
		*ret = c->ready[--c->nready];
	low = c->nready < c->pool / 2;
	lock_drop(&c->slots_lock);
	if (low)
		cache_kick(c);
	return have ? 0 : slot_make(c, NOW, ret);
}

/* Where few are ready, until there are enough.  The cache's thread. */
int
slots_refill(struct cache *c)
{
	struct slot s;
	bool full;
	int err;

	lock_take(&c->slots_lock);
	full = c->nready > 0 && c->nready >= c->pool / 2;
	lock_drop(&c->slots_lock);
	while (!full) {
		lock_take(&c->slots_lock);
		full = c->nready >= c->pool || c->stop;
		lock_drop(&c->slots_lock);
		if (full)
			break;
		err = slot_make(c, IN_STOCK, &s);
		if (err)
			return err;
		lock_take(&c->slots_lock);
		full = c->nready >= c->stock;
		if (!full)
			c->ready[c->nready++] = s;
		lock_drop(&c->slots_lock);
		if (full)
			slots_give(c, s.n, s.fd, -1);
	}
	return 0;
}

void
slots_trim(struct cache *c, unsigned keep)
{
	struct slot s;
	char *path;
	bool more;

	for (;;) {
		lock_take(&c->slots_lock);
		more = c->nready > keep;
		if (more)
			s = c->ready[--c->nready];
		lock_drop(&c->slots_lock);
		if (!more)
			return;
		path = slot_path(c, s.n);
		if (path != NULL)
			sys.unlink(path);
		free(path);
		sys.close(s.fd);
	}
}

/* Nobody but us: reg_fd's is then the only description of the file, or fd's
 * where it was never asked for. */
static int
lease_alone(int fd, int reg_fd)
{
	int err;

	if (reg_fd >= 0 && dup3(reg_fd, fd, O_CLOEXEC) < 0)
		return -errno;
	err = sys.lease(fd, F_WRLCK);
	if (err == -EINVAL && reg_fd < 0)
		return 0;	/* a disk without leases; nobody was given it */
	if (err == 0)
		sys.lease(fd, F_UNLCK);
	return err;
}

void
slots_give(struct cache *c, int64_t n, int fd, int reg_fd)
{
	struct stat st;
	char *path;
	bool room;
	int err;

	lock_take(&c->slots_lock);
	room = c->nready < c->stock;
	lock_drop(&c->slots_lock);
	err = room ? sys.fstat(fd, &st) : -EMFILE;
	/* a big one costs more to empty than a new one to make */
	if (!err && st.st_blocks > 8192)
		err = -EFBIG;
	if (!err)
		err = lease_alone(fd, reg_fd);
	if (!err && reg_fd >= 0) {
		sys.close(fd);
		sys.close(reg_fd);
		reg_fd = fd = -1;
		err = slot_open(c, n, THERE, &fd);
	}
	/* also one whose time was set: who gets it next is told that time (F3),
	 * and this makes it now */
	if (!err && (st.st_size > 0 || st.st_blocks > 0 ||
	    st.st_mtim.tv_sec != st.st_ctim.tv_sec ||
	    st.st_mtim.tv_nsec != st.st_ctim.tv_nsec))
		err = sys.ftruncate(fd, 0);
	if (!err) {
		lock_take(&c->slots_lock);
		room = c->nready < c->stock;
		if (room)
			c->ready[c->nready++] = (struct slot){ n, fd };
		lock_drop(&c->slots_lock);
		if (room)
			return;
	}
	path = slot_path(c, n);
	if (path != NULL)
		sys.unlink(path);	/* left behind: next open finds it */
	free(path);
	slots_retire(c, fd, reg_fd);
}

void
slots_retire(struct cache *c, int fd, int reg_fd)
{
	struct retired *r;

	if (fd < 0 && reg_fd < 0)
		return;
	r = malloc(sizeof(*r));
	if (r == NULL) {
		if (fd >= 0)
			sys.close(fd);
		if (reg_fd >= 0)
			sys.close(reg_fd);
		return;
	}
	r->fd = fd;
	r->reg_fd = reg_fd;
	lock_take(&c->slots_lock);
	r->next = c->retired;
	c->retired = r;
	lock_drop(&c->slots_lock);
	cache_kick(c);
}

void
slots_retire_now(struct cache *c)
{
	struct retired *r, *next;

	lock_take(&c->slots_lock);
	r = c->retired;
	c->retired = NULL;
	lock_drop(&c->slots_lock);
	if (r == NULL)
		return;
	for (; r != NULL; r = next) {
		next = r->next;
		if (r->fd >= 0)
			sys.close(r->fd);
		if (r->reg_fd >= 0)
			sys.close(r->reg_fd);
		free(r);
	}
	space_came(c);
}

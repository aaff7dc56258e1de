/*
 * file_list: listing of the file:// backend, in the order of keys as an
 * object store gives it: a folder stands as its name with the slash, so "a.b"
 * comes before "a/x".
 *
 * A page's token is the last key or common prefix that was given.  The next
 * page descends straight to it, and finds the names of each folder on the way
 * in a cache of scans (a folder's names, sorted), which holds as long as the
 * folder's mtime says that nothing was added or removed: a folder of a
 * hundred thousand files is read once, not once a page, and by many lists at
 * once too.  A scan made within the resolution of that mtime is not kept.
 *
 * Folders without a key below them are never listed, nor is what is no
 * regular file (a link to one counts; a link to a folder does not), nor what
 * has a name that no key can be.  A folder that may not be read fails the
 * list: half a tree is worse than none.
 */
#include "backends/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/sys.h"

enum { SCAN_BYTES = 32 << 20 };		/* of scans kept */

struct file_scan {
	char		*dir;		/* "" or "a/b/"; owned */
	struct buf	 text;		/* names, each with NUL */
	uint32_t	*names;		/* offsets into text, in order */
	size_t		 n, cap;
	int64_t		 mtime;		/* of the folder before it was read */
	ino_t		 ino;
	unsigned	 refs;		/* under the store's lock, as are: */
	bool		 loading;
	bool		 keep;		/* mtime tells whether it still holds */
	int		 err;
	uint64_t	 used;
};

static const char *
scan_name(const struct file_scan *sc, size_t i)
{
	return (const char *)sc->text.p + sc->names[i];
}

static void
scan_free(struct file_scan *sc)
{
	if (sc == NULL)
		return;
	buf_done(&sc->text);
	free(sc->names);
	free(sc->dir);
	free(sc);
}

static size_t
scan_bytes(const struct file_scan *sc)
{
	return sizeof(*sc) + sc->text.cap + sc->cap * sizeof(*sc->names);
}

/* Under the store's lock. */
static void
scan_unref(struct file_store *f, struct file_scan *sc)
{
	if (--sc->refs == 0)
		scan_free(sc);
}

static void
scan_forget(struct file_store *f, size_t i)
{
	struct file_scan *sc = f->scans[i];

	if (sc == NULL)
		return;
	f->scans[i] = NULL;
	if (!sc->loading)
		f->scan_bytes -= scan_bytes(sc);
	scan_unref(f, sc);
}

void
file_scans_free(struct file_store *f)
{
	size_t i;

	for (i = 0; i < FILE_SCANS; i++)
		scan_forget(f, i);
}

/* --- reading a folder --- */

enum kind { KIND_NONE, KIND_FILE, KIND_DIR };

/* What name in dir (a path) is; links to files are files. */
static enum kind
kind_of(const char *dir, const struct dirent *d)
{
	unsigned char type = d->d_type;
	struct stat st;
	char *path;
	int err;

	if (file_is_temp(d->d_name) || strcmp(d->d_name, ".") == 0 ||
	    strcmp(d->d_name, "..") == 0)
		return KIND_NONE;
	if (type == DT_REG || type == DT_DIR)
		return type == DT_REG ? KIND_FILE : KIND_DIR;
	if (type != DT_UNKNOWN && type != DT_LNK)
		return KIND_NONE;
	if (asprintf(&path, "%s/%s", dir, d->d_name) < 0)
		return KIND_NONE;
	if (type == DT_UNKNOWN && lstat(path, &st) == 0 &&
	    S_ISDIR(st.st_mode)) {
		free(path);
		return KIND_DIR;
	}
	err = sys.stat(path, &st);
	free(path);
	return err == 0 && S_ISREG(st.st_mode) ? KIND_FILE : KIND_NONE;
}

static int
scan_add(struct file_scan *sc, const char *name, bool is_dir)
{
	if (sc->n == sc->cap) {
		size_t cap = sc->cap == 0 ? 64 : sc->cap * 2;
		uint32_t *names = reallocarray(sc->names, cap, sizeof(*names));

		if (names == NULL)
			return -ENOMEM;
		sc->names = names;
		sc->cap = cap;
	}
	sc->names[sc->n++] = sc->text.len;
	buf_puts(&sc->text, name);
	buf_put(&sc->text, "/", is_dir ? 2 : 0);
	if (!is_dir)
		buf_put_u8(&sc->text, 0);
	return buf_err(&sc->text);
}

static int
by_name(const void *a, const void *b, void *arg)
{
	const char *text = arg;

	return strcmp(text + *(const uint32_t *)a,
	    text + *(const uint32_t *)b);
}

/* Opens the folder at path for readdir; *retst is it. */
static int
dir_open(const char *path, DIR **ret, struct stat *retst)
{
	int fd = sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), err;

	if (fd < 0)
		return fd;
	if ((err = sys.fstat(fd, retst)) == 0 &&
	    (*ret = fdopendir(fd)) == NULL)
		err = -errno;
	if (err != 0)
		sys.close(fd);
	return err;
}

static int64_t
mtime_of(const struct stat *st)
{
	return clock_ns(st->st_mtim);
}

/* Can a folder's mtime be told from that of a change made now?  Kernels stamp
 * by ticks of up to 10 ms, some filesystems by seconds. */
static bool
mtime_settled(const struct stat *st)
{
	int64_t coarse = st->st_mtim.tv_nsec == 0 ? 2 * NSEC_PER_SEC :
	    50 * NSEC_PER_MSEC;

	return clock_real() - mtime_of(st) > coarse;
}

static int
scan_load(struct file_scan *sc, const char *path)
{
	struct stat st;
	struct dirent *d;
	enum kind kind;
	DIR *dp = NULL;
	int err;

	if ((err = dir_open(path, &dp, &st)) != 0)
		return err;
	sc->mtime = mtime_of(&st);
	sc->ino = st.st_ino;
	sc->keep = mtime_settled(&st);
	sc->text.max = UINT32_MAX;
	while (err == 0 && (errno = 0, d = readdir(dp)) != NULL) {
		if ((kind = kind_of(path, d)) != KIND_NONE)
			err = scan_add(sc, d->d_name, kind == KIND_DIR);
	}
	if (err == 0)
		err = -errno;
	closedir(dp);
	if (err == 0 && sc->n > 1)
		qsort_r(sc->names, sc->n, sizeof(*sc->names), by_name,
		    sc->text.p);
	return err;
}

/* --- the cache of scans --- */

/* A slot for dir: its own, or an empty one, or the one used longest ago that
 * nobody loads.  FILE_SCANS: none. */
static size_t
slot_for(struct file_store *f, const char *dir)
{
	size_t i, best = FILE_SCANS;

	for (i = 0; i < FILE_SCANS; i++)
		if (f->scans[i] != NULL && strcmp(f->scans[i]->dir, dir) == 0)
			return i;
	for (i = 0; i < FILE_SCANS; i++) {
		if (f->scans[i] == NULL)
			return i;
		if (!f->scans[i]->loading && (best == FILE_SCANS ||
		    f->scans[i]->used < f->scans[best]->used))
			best = i;
	}
	return best;
}

/* Forgets the oldest until the rest, but for `but`, is within bounds. */
static void
scans_trim(struct file_store *f, const struct file_scan *but)
{
	while (f->scan_bytes > SCAN_BYTES) {
		size_t i, old = FILE_SCANS;

		for (i = 0; i < FILE_SCANS; i++)
			if (f->scans[i] != NULL && f->scans[i] != but &&
			    !f->scans[i]->loading && (old == FILE_SCANS ||
			    f->scans[i]->used < f->scans[old]->used))
				old = i;
		if (old == FILE_SCANS)
			return;
		scan_forget(f, old);
	}
}

/* Loads sc, which stands in slot i (or none), with the lock dropped. */
static void
scan_fill(struct file_store *f, struct file_scan *sc, size_t i,
    const char *path)
{
	int err;

	lock_drop(&f->lock);
	err = scan_load(sc, path);
	lock_take(&f->lock);
	sc->err = err;
	sc->loading = false;
	if (i < FILE_SCANS) {
		f->scan_bytes += scan_bytes(sc);
		if (err != 0 || !sc->keep)
			scan_forget(f, i);
		else
			scans_trim(f, sc);
	}
	cond_broadcast(&f->scanned);
}

/* Under the lock: a new scan of dir in slot i, to be loaded by the caller,
 * who holds one reference. */
static struct file_scan *
scan_new(struct file_store *f, const char *dir, size_t i)
{
	struct file_scan *sc = calloc(1, sizeof(*sc));

	if (sc == NULL || (sc->dir = strdup(dir)) == NULL) {
		free(sc);
		return NULL;
	}
	sc->refs = 1;
	sc->loading = true;
	sc->used = ++f->scan_clock;
	if (i < FILE_SCANS) {
		scan_forget(f, i);
		f->scans[i] = sc;
		sc->refs++;
	}
	return sc;
}

/* The names of dir ("" or with a slash at its end), a reference; path is
 * where it lies.  0 or -errno, also -ECANCELED where c may not go on. */
static int
scan_get(struct file_store *f, struct store_call *c, const char *dir,
    const char *path, struct file_scan **ret)
{
	const int64_t look = 20 * NSEC_PER_MSEC;
	struct file_scan *sc;
	struct stat st;
	size_t i;
	int err;

	for (;;) {
		if (call_check(c) != STORE_OK)
			return -ECANCELED;
		if ((err = sys.stat(path, &st)) != 0)
			return err;
		lock_take(&f->lock);
		i = slot_for(f, dir);
		sc = i < FILE_SCANS ? f->scans[i] : NULL;
		if (sc == NULL || strcmp(sc->dir, dir) != 0)
			break;
		if (!sc->loading && (sc->mtime != mtime_of(&st) ||
		    sc->ino != st.st_ino))
			break;
		if (!sc->loading) {
			sc->used = ++f->scan_clock;
			sc->refs++;
			lock_drop(&f->lock);
			*ret = sc;
			return 0;
		}
		cond_wait_until(&f->scanned, &f->lock, clock_mono() + look);
		lock_drop(&f->lock);
	}
	err = -ENOMEM;
	if ((sc = scan_new(f, dir, i)) != NULL) {
		scan_fill(f, sc, i, path);
		if ((err = sc->err) != 0)
			scan_unref(f, sc);
		else
			*ret = sc;
	}
	lock_drop(&f->lock);
	return err;
}

static void
scan_put(struct file_store *f, struct file_scan *sc)
{
	lock_take(&f->lock);
	scan_unref(f, sc);
	lock_drop(&f->lock);
}

/* --- one page --- */

struct lister {
	struct file_store *f;
	struct store_call *c;
	struct store_list *l;
	int		(*each)(void *arg, const struct store_entry *e);
	void		*arg;
	const char	*after;		/* keys up to it are done */
	bool		 after_tree;	/* and those that begin with it */
	size_t		 plen;		/* of l->prefix */
	unsigned	 max, count;
	struct buf	 path;		/* root/key, NUL after it */
	size_t		 root;		/* where the key begins in path */
	char		 last[sizeof(((struct store_list *)0)->token)];
	enum store_rc	 rc;
	unsigned	 steps;
};

static const char *
key_now(const struct lister *t)
{
	return (const char *)t->path.p + t->root;
}

/* The path is dir (dlen bytes of key) and name. */
static int
key_set(struct lister *t, size_t dlen, const char *name)
{
	t->path.len = t->root + dlen;
	buf_puts(&t->path, name);
	(void)buf_cstr(&t->path);
	return buf_err(&t->path);
}

/* Is there an object below the folder at path?  What cannot be read may be
 * full of them. */
static bool
has_keys(struct buf *path, unsigned depth)
{
	size_t len = path->len;
	bool found = false;
	struct dirent *d;
	struct stat st;
	enum kind kind;
	DIR *dp;
	int err;

	if (depth == 0)
		return false;
	if ((err = dir_open(buf_cstr(path), &dp, &st)) != 0)
		return err != -ENOENT && err != -ENOTDIR;
	while (!found && (d = readdir(dp)) != NULL) {
		kind = kind_of(buf_cstr(path), d);
		if (kind == KIND_DIR) {
			buf_puts(path, d->d_name);
			buf_puts(path, "/");
			found = buf_err(path) == 0 && has_keys(path, depth - 1);
			path->len = len;
		} else if (kind == KIND_FILE) {
			found = true;
		}
	}
	closedir(dp);
	(void)buf_cstr(path);
	return found;
}

/* Hands on one entry.  False: the page is over. */
static bool
emit(struct lister *t, struct store_entry *e)
{
	if (t->count == t->max) {
		t->l->more = true;
		return false;
	}
	t->count++;
	memcpy(t->last, e->key, strlen(e->key) + 1);
	if (t->each(t->arg, e) != 0) {
		t->rc = STORE_CANCELLED;
		return false;
	}
	return true;
}

static bool
emit_prefix(struct lister *t, size_t n)
{
	char key[STORE_KEY_MAX + 1];
	struct store_entry e = { .key = key, .is_prefix = true };

	memcpy(key, key_now(t), n);
	key[n] = '\0';
	if (strcmp(key, t->last) == 0 ||
	    (t->after_tree && strcmp(key, t->after) == 0))
		return true;
	return emit(t, &e);
}

/* The file at the path. */
static bool
emit_file(struct lister *t)
{
	struct store_entry e = { .key = key_now(t) };
	const char *cut = NULL;
	struct stat st;
	int err;

	if (t->l->delimiter != '\0')
		cut = strchr(e.key + t->plen, t->l->delimiter);
	if (cut != NULL)
		return emit_prefix(t, cut + 1 - e.key);
	if ((err = sys.stat((const char *)t->path.p, &st)) != 0) {
		if (err == -ENOENT || err == -ENOTDIR)
			return true;	/* deleted meanwhile */
		t->rc = file_fail(t->f, t->c, err, "list", e.key);
		return false;
	}
	if (!S_ISREG(st.st_mode))
		return true;
	file_info(&st, &e.info);
	return emit(t, &e);
}

/* The first of sc's names that is not done. */
static size_t
first_left(const struct lister *t, const struct file_scan *sc, size_t dlen)
{
	const char *rest = t->after + dlen, *name;
	size_t lo = 0, hi = sc->n, mid;
	int cmp = strncmp(t->after, key_now(t), dlen);

	if (cmp != 0)
		return cmp < 0 ? 0 : sc->n;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (strcmp(scan_name(sc, mid), rest) > 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo > 0) {	/* the folder that `after` lies in is not done */
		name = scan_name(sc, lo - 1);
		if (name[strlen(name) - 1] == '/' &&
		    strncmp(rest, name, strlen(name)) == 0 &&
		    !(t->after_tree && strcmp(rest, name) == 0))
			lo--;
	}
	return lo;
}

static bool	list_dir(struct lister *t, size_t dlen);

/* The name just set: a file, or a folder.  False: the page is over. */
static bool
list_name(struct lister *t, size_t klen)
{
	const char *key = key_now(t);

	if ((++t->steps & 63) == 0 && (t->rc = call_check(t->c)) != STORE_OK)
		return false;
	if (key[klen - 1] != '/')
		return emit_file(t);
	if (klen > t->plen && t->l->delimiter == '/')
		return !has_keys(&t->path, STORE_KEY_MAX / 2) ||
		    emit_prefix(t, klen);
	return list_dir(t, klen);
}

/* All below the folder whose key is the first dlen bytes of the path's. */
static bool
list_dir(struct lister *t, size_t dlen)
{
	struct file_scan *sc = NULL;
	bool go_on = true;
	size_t i, klen;
	int err, cmp;

	err = scan_get(t->f, t->c, key_now(t), (const char *)t->path.p, &sc);
	if (err != 0) {
		if (err == -ECANCELED)
			t->rc = call_check(t->c);
		else if (dlen == 0 || (err != -ENOENT && err != -ENOTDIR))
			t->rc = file_fail(t->f, t->c, err, "list",
			    key_now(t));
		return t->rc == STORE_OK;
	}
	for (i = first_left(t, sc, dlen); go_on && i < sc->n; i++) {
		klen = dlen + strlen(scan_name(sc, i));
		if (klen > STORE_KEY_MAX)
			continue;	/* no key is so long */
		if (key_set(t, dlen, scan_name(sc, i)) != 0) {
			t->rc = STORE_NOMEM;
			go_on = false;
			break;
		}
		/* a folder on the way to the prefix, or what begins with it */
		cmp = strncmp(key_now(t), t->l->prefix,
		    klen < t->plen && key_now(t)[klen - 1] == '/' ? klen :
		    t->plen);
		if (cmp > 0)
			break;
		if (cmp == 0)
			go_on = list_name(t, klen);
	}
	scan_put(t->f, sc);
	return go_on;
}

/* Begins at the folder that the prefix lies in: no other can have keys of
 * it.  False: no key can begin so. */
static bool
enter_prefix(struct lister *t, size_t *retdlen)
{
	const char *prefix = t->l->prefix, *slash = strrchr(prefix, '/');
	size_t dlen = slash == NULL ? 0 : slash + 1 - prefix;

	*retdlen = dlen;
	if (dlen > 0 && !file_key_ok(prefix, dlen - 1))
		return false;
	buf_put(&t->path, prefix, dlen);
	return true;
}

enum store_rc
file_list(struct store *s, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct file_store *f = (struct file_store *)s;
	struct lister t = { .f = f, .c = c, .l = l, .each = each, .arg = arg,
	    .after = "", .plen = strlen(l->prefix) };
	char *after = NULL;
	size_t dlen;

	l->more = false;
	if ((t.rc = call_check(c)) != STORE_OK ||
	    (t.rc = file_root_check(f, c)) != STORE_OK)
		return t.rc;
	t.max = l->max == 0 || l->max > STORE_PAGE ? STORE_PAGE : l->max;
	if (l->token[0] != '\0') {
		if ((t.after = after = strdup(l->token)) == NULL)
			return STORE_NOMEM;
		t.after_tree = l->delimiter != '\0' &&
		    after[strlen(after) - 1] == l->delimiter;
	} else if (l->start_after != NULL) {
		t.after = l->start_after;
	}
	buf_puts(&t.path, f->root);
	buf_puts(&t.path, "/");
	t.root = t.path.len;
	if (enter_prefix(&t, &dlen)) {
		(void)buf_cstr(&t.path);
		if (buf_err(&t.path) != 0)
			t.rc = STORE_NOMEM;
		else
			list_dir(&t, dlen);
	}
	if (t.rc == STORE_OK && t.count == 0 && !file_root_is_there(f))
		t.rc = file_fail(f, c, -ENOENT, "list", l->prefix);
	if (t.rc == STORE_OK && l->more)
		memcpy(l->token, t.last, sizeof(l->token));
	buf_done(&t.path);
	free(after);
	return t.rc;
}

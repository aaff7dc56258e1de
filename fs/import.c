/*
 * import: a bucket's keys become a tree without a byte being copied.
 *
 *   list (in parallel) → build the tree, pieces to a spool and from there to
 *   the home, several at once → load them, hidden → one transaction: parents,
 *   the store if it is new, the attach → in the log
 *
 * Until that transaction nothing of it is in the namespace: a failure takes
 * the hidden rows away again and deletes the pieces it put; a crash leaves
 * rows that the next start purges (ship_start) and pieces that nobody names.
 */
#include "fs/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/store.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/import_list.h"
#include "fs/import_tags.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "meta/import.h"
#include "meta/journal.h"
#include "meta/query.h"
#include "meta/refresh.h"
#include "meta/segment.h"

#define PUTS_AT_ONCE	8u
#define LAND_TIMEOUT	(60 * NSEC_PER_SEC)

struct spooled {
	uint8_t		 hash[32];
	uint64_t	 off;
	size_t		 len;
	bool		 ours;		/* this import put it */
};

struct importing {
	struct fs	*f;
	const struct import_request *r;
	struct url	 url;
	uint32_t	 store_id;
	bool		 store_is_new;
	struct url	 store_url;	/* of a new one */
	char		*store_text;	/* canonical */
	struct store	*store;
	struct store	*opened;	/* to be freed: a new one */
	char		*prefix;	/* below the store, "" or "a/b/" */
	struct import	*imp;
	struct import_stats st;
	struct buf	 hashes;
	_Atomic bool	 cancel;
	bool		 loaded;
	/* the first directory above it that was made, which the kernel may
	 * know to be missing */
	uint64_t	 made_in;
	char		 made[META_NAME_MAX + 1];

	int		 fd;		/* the spool */
	struct store	*home;
	struct lock	 lock;		/* what follows: the puts */
	struct cond	 more;
	struct spooled	*v;
	size_t		 n, cap, next;
	uint64_t	 end;
	bool		 all;		/* no more will come */
	int		 err;
	struct why	 why;
	struct latch	 latch;

	uint64_t	 tags;		/* set */
	int64_t		 t_list, t_build, t_load, t_land; /* ns */
};

/* --- which store, what prefix --- */

/* "a/b" as a prefix of keys: "a/b/". */
static char *
dir_prefix(const char *p)
{
	size_t n = strlen(p);
	char *ret;

	while (n > 0 && p[n - 1] == '/')
		n--;
	if (asprintf(&ret, "%.*s%s", (int)n, p, n > 0 ? "/" : "") < 0)
		return NULL;
	return ret;
}

/* The bucket's own URL, with the settings of what is imported: what a new
 * store is.  Of a directory it is the directory. */
static int
new_store_url(struct importing *im, struct why *why)
{
	const char *text = im->url.text, *query = strchr(text, '?');
	char *root = NULL;
	int err;

	if (im->url.scheme == URL_FILE)
		root = strdup(text);
	else if (asprintf(&root, "%.*s://%s%s%s%s",
	    (int)strcspn(text, ":"), text,
	    im->url.account != NULL ? im->url.account : "",
	    im->url.account != NULL ? "/" : "", im->url.bucket,
	    query != NULL ? query : "") < 0)
		root = NULL;
	if (root == NULL)
		return -ENOMEM;
	err = url_parse(root, &im->store_url, why);
	free(root);
	if (err != 0)
		return err;
	im->store_text = url_canonical(&im->store_url);
	return im->store_text == NULL ? -ENOMEM : 0;
}

static int
note_max_store(void *arg, const struct store_row *s)
{
	uint32_t *max = arg;

	if (s->id > *max)
		*max = s->id;
	return 0;
}

static int
next_store_id(struct sqc *c, uint32_t *ret)
{
	uint32_t max = 0;
	int err = meta_stores(c, note_max_store, &max);

	if (err == 0)
		*ret = max + 1;
	return err;
}

static int
open_new_store(struct importing *im, struct why *why)
{
	struct stack_opts opts = { .trace_fd = -1 };
	struct sqc *c;
	int err;

	err = new_store_url(im, why);
	if (err == 0)
		err = sq_read(meta_sq(im->f->meta), &c);
	if (err != 0)
		return err;
	err = next_store_id(c, &im->store_id);
	sq_read_end(c);
	if (err == 0)
		err = store_open(&im->store_url, &opts, &im->opened, why);
	if (err != 0)
		return err;
	im->store = im->opened;
	im->store_is_new = true;
	im->prefix = dir_prefix(im->url.scheme == URL_FILE ? "" :
	    im->url.prefix);
	return im->prefix == NULL ? -ENOMEM : 0;
}

static int
find_store(struct importing *im, struct why *why)
{
	char *rest = NULL;
	int err;

	err = stores_find(im->f, &im->url, &im->store_id, &rest);
	if (err == -ENOENT)
		return open_new_store(im, why);
	if (err == 0 && im->store_id == STORE_HOME_ID)
		err = why_set(why, -EINVAL, "%s is in the home of this"
		    " namespace, which cannot be imported into itself",
		    im->r->url);
	if (err == 0)
		err = stores_get(im->f, im->store_id, &im->store, why);
	if (err == 0) {
		im->prefix = dir_prefix(rest);
		if (im->prefix == NULL)
			err = -ENOMEM;
	}
	free(rest);
	return err;
}

/* --- where to --- */

/* Splits "/a/b/c" at its last component. */
static const char *
last_part(const char *path, size_t *retparent)
{
	const char *slash = strrchr(path, '/');

	*retparent = slash != NULL ? (size_t)(slash - path) : 0;
	return slash != NULL ? slash + 1 : path;
}

static int
check_path(struct importing *im, struct why *why)
{
	const char *path = im->r->path;
	struct sqc *c;
	struct attr a;
	size_t np;
	int err;

	if (path[0] != '/' || last_part(path, &np)[0] == '\0')
		return why_set(why, -EINVAL, "'%s' is not a path to import"
		    " to: name a directory below the root", path);
	err = sq_read(meta_sq(im->f->meta), &c);
	if (err != 0)
		return err;
	err = meta_resolve(c, path, &a);
	if (err == 0 && (!S_ISDIR(a.mode) || !meta_dir_is_empty(c, a.ino)))
		err = why_set(why, -EEXIST, "'%s' exists and is not an empty"
		    " directory; choose another path", path);
	else if (err == 0 && (a.flags & INODE_IMPORTED) != 0)
		err = why_set(why, -EROFS, "'%s' is in an import, which is"
		    " read-only; choose another path", path);
	else if (err == -ENOTDIR)
		err = why_set(why, err, "a part of '%s' is not a directory;"
		    " choose another path", path);
	else if (err == -ENOENT)
		err = 0;
	sq_read_end(c);
	return err;
}

/* --- listing --- */

static int
list_keys(struct importing *im, struct why *why)
{
	struct import_list l = { .f = im->f, .store = im->store,
	    .store_id = im->store_is_new ? 0 : im->store_id,
	    .prefix = im->prefix, .tag = "import", .imp = im->imp,
	    .cancel = &im->cancel, .progress = im->r->progress,
	    .arg = im->r->arg };
	int err;

	err = import_list(&l, why);
	im->t_list = l.took;
	if (err == 0 && l.keys == 0 && im->prefix[0] != '\0')
		err = why_set(why, -ENOENT, "%s: no key begins with '%s';"
		    " is the prefix right?", im->r->url, im->prefix);
	return err;
}

/* --- pieces: to the spool, and from there to the home --- */

static int
spool_open(struct importing *im, struct why *why)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/import.tmp", im->f->state_dir);
	fd = sys.open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return why_set(why, fd, "cannot make '%s': %s", path,
		    strerror(-fd));
	(void)sys.unlink(path);
	im->fd = fd;
	return 0;
}

static int
spool_piece(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	struct importing *im = arg;
	struct spooled *sp;
	int err;

	err = sys_pwrite_all(im->fd, p, n, (off_t)im->end);
	if (err != 0)
		return err;
	lock_take(&im->lock);
	err = im->err;
	if (err == 0 && im->n == im->cap) {
		size_t cap = im->cap != 0 ? 2 * im->cap : 64;

		sp = realloc(im->v, cap * sizeof(*sp));
		if (sp == NULL) {
			err = -ENOMEM;
		} else {
			im->v = sp;
			im->cap = cap;
		}
	}
	if (err == 0) {
		sp = &im->v[im->n++];
		*sp = (struct spooled){ .off = im->end, .len = n };
		memcpy(sp->hash, hash, sizeof(sp->hash));
		im->end += n;
		cond_signal(&im->more);
	}
	lock_drop(&im->lock);
	return err;
}

static int
read_piece(struct importing *im, const struct spooled *sp, void **ret)
{
	void *p = malloc(sp->len);
	int err;

	if (p == NULL)
		return -ENOMEM;
	err = sys_pread_all(im->fd, p, sp->len, (off_t)sp->off);
	if (err != 0)
		free(p);
	else
		*ret = p;
	return err;
}

static int
put_piece(struct importing *im, const struct spooled *sp, bool *retours,
    struct why *why)
{
	struct store_call c = { .tag = "import", .cancel = &im->cancel,
	    .why = why, .sole = true };	/* named by its content */
	char key[KEY_MAX];
	enum store_rc rc;
	void *p = NULL;
	int err;

	err = read_piece(im, sp, &p);
	if (err != 0)
		return err;
	piece_key(sp->hash, key);
	rc = store_put_mem(im->home, &c, key, STORE_IF_ABSENT, NULL, p,
	    sp->len, NULL);
	free(p);
	stores_result(im->f, STORE_HOME_ID, rc, why);
	if (rc == STORE_OK)
		*retours = true;
	else if (rc != STORE_EXISTS)
		return why_set(why, rc == STORE_ABSENT ? -EHOSTUNREACH :
		    store_rc_errno(rc), "%s: %s", im->home->url,
		    store_rc_name(rc));
	return 0;
}

/* One thread's share of the puts: until all are made and put. */
static void
puts_run(void *arg)
{
	struct importing *im = arg;

	lock_take(&im->lock);
	for (;;) {
		struct why why = { "" };
		struct spooled sp;
		bool ours = false;
		size_t i;
		int err;

		while (im->err == 0 && im->next == im->n && !im->all)
			cond_wait(&im->more, &im->lock);
		if (im->err != 0 || im->next == im->n)
			break;
		i = im->next++;
		sp = im->v[i];
		lock_drop(&im->lock);
		err = put_piece(im, &sp, &ours, &why);
		lock_take(&im->lock);
		im->v[i].ours = ours;
		if (err != 0 && im->err == 0) {
			im->err = err;
			im->why = why;
			cond_broadcast(&im->more);
		}
	}
	lock_drop(&im->lock);
	latch_down(&im->latch);
}

static void
puts_end(struct importing *im, int err)
{
	lock_take(&im->lock);
	im->all = true;
	if (err != 0 && im->err == 0)
		im->err = err;
	cond_broadcast(&im->more);
	lock_drop(&im->lock);
}

static int
load_pieces(struct importing *im, struct why *why)
{
	struct meta *m = im->f->meta;
	int64_t t0 = clock_mono();
	int err;

	err = import_load_begin(m, im->st.lo, im->st.hi);
	im->loaded = err >= 0;
	for (size_t i = 0; err >= 0 && i < im->n; i++) {
		struct spooled sp;
		void *p;

		lock_take(&im->lock);	/* ours is set meanwhile */
		sp = im->v[i];
		lock_drop(&im->lock);
		err = read_piece(im, &sp, &p);
		if (err != 0)
			break;
		err = import_load_piece(m, im->st.lo, im->st.hi, sp.hash, p,
		    sp.len, why);
		free(p);
	}
	im->t_load = clock_mono() - t0;
	return err < 0 ? err : 0;
}

/* Threads of their own: they wait for pieces to be made, which a job of a
 * pool that others need must not. */
static int
build(struct importing *im, struct why *why)
{
	struct workers *w = NULL;
	int64_t t0;
	unsigned k;
	int err;

	err = workers_new("gnsfs-import", PUTS_AT_ONCE, &w);
	if (err != 0)
		return err;
	latch_init(&im->latch, PUTS_AT_ONCE);
	for (k = 0; err == 0 && k < PUTS_AT_ONCE; k++)
		err = workers_submit(w, WORK_NORMAL, puts_run, im);
	if (err != 0)		/* the last was not taken */
		for (k--; k < PUTS_AT_ONCE; k++)
			latch_down(&im->latch);
	t0 = clock_mono();
	if (err == 0)
		err = import_finish(im->imp, spool_piece, im, im->r->report,
		    im->r->arg, &im->hashes, &im->st);
	im->t_build = clock_mono() - t0;
	import_free(im->imp);
	im->imp = NULL;
	puts_end(im, err);
	if (err == 0)
		err = load_pieces(im, why);
	if (err != 0)
		atomic_store(&im->cancel, true);
	latch_wait(&im->latch);
	workers_free(w);
	latch_done(&im->latch);
	if (im->err != 0 && im->why.text[0] != '\0')
		(void)why_set(why, im->err, "%s", im->why.text);
	return err != 0 ? err : im->err;
}

/* --- the one transaction --- */

struct name_taken { const char *name; bool taken; };

static int
is_name_taken(void *arg, const struct store_row *s)
{
	struct name_taken *t = arg;

	if (strcmp(s->name, t->name) == 0)
		t->taken = true;
	return 0;
}

/* A free name after the bucket, or the directory. */
static int
store_name(struct sqc *c, const struct url *u, char ret[65])
{
	const char *base = u->bucket;
	struct name_taken t = { ret, true };
	int err = 0;

	if (base == NULL) {
		base = strrchr(u->prefix, '/');
		base = base != NULL ? base + 1 : u->prefix;
	}
	if (base[0] == '\0')
		base = "store";
	for (unsigned i = 1; err == 0 && t.taken; i++) {
		t.taken = false;
		if (i == 1)
			snprintf(ret, 65, "%.64s", base);
		else
			snprintf(ret, 65, "%.50s-%u", base, i);
		err = meta_stores(c, is_name_taken, &t);
	}
	return err;
}

static int
add_store(struct importing *im, struct sqc *c)
{
	char name[65];
	struct op op = {
		.kind = OP_STORE,
		.ino = im->store_id,
		.name = name,
		.value = im->store_text,
		.nvalue = strlen(im->store_text),
	};
	uint32_t id;
	int err;

	err = next_store_id(c, &id);
	if (err == 0 && id != im->store_id)
		err = -EAGAIN;		/* another store came meanwhile */
	if (err == 0)
		err = store_name(c, &im->store_url, name);
	if (err == 0)
		err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0,
		    NULL);
	return err;
}

/* The directory `name` of parent, made if it is not there. */
static int
parent_step(struct importing *im, struct sqc *c, uint64_t *parent,
    const char *name)
{
	struct attr a;
	struct op op = {
		.kind = OP_MKDIR,
		.parent = *parent,
		.name = name,
		.mode = S_IFDIR | 0755,
		.uid = im->r->uid,
		.gid = im->r->gid,
		.mtime = clock_real(),
	};
	int err;

	err = meta_lookup(c, *parent, name, &a);
	if (err == 0) {
		*parent = a.ino;
		return S_ISDIR(a.mode) ? 0 : -ENOTDIR;
	}
	if (err != -ENOENT)
		return err;
	op.atime = op.ctime = op.mtime;
	op.ino = meta_new_id(im->f->meta);
	if (op.ino == 0)
		return -EROFS;
	if (im->made_in == 0) {
		im->made_in = *parent;
		memcpy(im->made, name, strlen(name) + 1);
	}
	*parent = op.ino;
	return journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0, NULL);
}

static int
make_parents(struct importing *im, struct sqc *c, uint64_t *retparent)
{
	const char *p = im->r->path;
	uint64_t parent = META_ROOT;
	char name[META_NAME_MAX + 1];
	size_t np, n;
	int err = 0;

	(void)last_part(im->r->path, &np);
	while (err == 0 && p < im->r->path + np) {
		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (p >= im->r->path + np)
			break;
		if (n > META_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, p, n);
		name[n] = '\0';
		err = parent_step(im, c, &parent, name);
		p += n;
	}
	*retparent = parent;
	return err;
}

struct attaching { struct importing *im; uint64_t parent, seq; };

/* An empty directory that stands there is replaced. */
static int
clear_place(struct importing *im, struct sqc *c, uint64_t parent,
    const char *name)
{
	struct op op = { .kind = OP_RMDIR, .parent = parent, .name = name,
	    .ctime = clock_real() };
	struct attr a;
	int err;

	err = meta_lookup(c, parent, name, &a);
	if (err == -ENOENT)
		return 0;
	if (err != 0)
		return err;
	if (!S_ISDIR(a.mode))
		return -EEXIST;
	op.ino = a.ino;
	err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0, NULL);
	return err == -ENOTEMPTY ? -EEXIST : err;
}

/* Where it is from, for a refresh. */
static int
note_origin(struct importing *im, struct sqc *c)
{
	const struct import_request *r = im->r;
	struct import_row row = { .root = im->st.lo, .store = im->store_id,
	    .file_mode = r->file_mode >= 0 ? (uint32_t)r->file_mode & 0777 :
	    0644, .prefix = im->prefix, .tags = r->tags ? "" : NULL };
	struct buf body = BUF_INIT;
	struct op op;
	int err;

	err = import_row_op(&row, &body, &op);
	if (err == 0)
		err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0,
		    NULL);
	buf_done(&body);
	return err;
}

static int
attach_fn(struct sqc *c, void *arg)
{
	struct attaching *a = arg;
	struct importing *im = a->im;
	struct op op = {
		.kind = OP_ATTACH,
		.ino = im->st.lo,
		.ino2 = im->st.hi,
		.mtime = clock_real(),
		.value = im->hashes.p,
		.nvalue = im->hashes.len,
	};
	size_t np;
	int err = 0;

	if (im->store_is_new)
		err = add_store(im, c);
	if (err == 0)
		err = make_parents(im, c, &a->parent);
	op.parent = a->parent;
	op.name = last_part(im->r->path, &np);
	op.ctime = op.mtime;
	if (err == 0)
		err = clear_place(im, c, a->parent, op.name);
	if (err == 0)
		err = note_origin(im, c);
	if (err == 0)
		err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0,
		    &a->seq);
	return err;
}

static int
attach(struct importing *im, struct why *why)
{
	struct attaching a = { im, 0, 0 };
	struct fs *f = im->f;
	int64_t t0 = clock_mono();
	size_t np;
	int err;

	err = sq_write(meta_sq(f->meta), attach_fn, &a);
	if (err < 0)
		return why_set(why, err, "'%s': %s", im->r->path,
		    err == -EAGAIN ? "another store was added meanwhile; try"
		    " again" : err == -EROFS ? "what is above it is an import"
		    ", which is read-only; choose another path" :
		    strerror(-err));
	/* it is in the namespace now: nothing is taken back any more */
	im->loaded = false;
	im->n = 0;
	if (im->made_in != 0) {
		fs_inval_entry(f, im->made_in, im->made);
		fs_inval_inode(f, im->made_in);
	}
	if (f->front != NULL) {
		fs_inval_entry(f, a.parent, last_part(im->r->path, &np));
		fs_inval_inode(f, a.parent);
	}
	if (im->store_is_new)
		(void)stores_reload(f);
	ship_kick(f);
	err = ship_wait(f, a.seq, SHIP_ONE, 0, clock_mono() + LAND_TIMEOUT,
	    why);
	im->t_land = clock_mono() - t0;
	if (err != 0)
		why_prefix(why, err, "'%s' is imported here, but not yet in"
		    " the log", im->r->path);
	return err;
}

/* --- tags --- */

static int
tags_progress(void *arg, uint64_t files)
{
	struct importing *im = arg;

	return im->r->progress != NULL ? im->r->progress(im->r->arg, files,
	    im->st.bytes) : 0;
}

static int
add_tags(struct importing *im, struct why *why)
{
	struct import_tags t = { .f = im->f, .root = im->st.lo,
	    .cancel = &im->cancel, .progress = tags_progress, .arg = im };
	int err;

	err = import_tags(&t, why);
	if (err == 0 && t.seq != 0) {
		ship_kick(im->f);
		err = ship_wait(im->f, t.seq, SHIP_ONE, 0, clock_mono() +
		    LAND_TIMEOUT, why);
	}
	im->tags = t.set;
	if (err != 0)
		why_prefix(why, err, "'%s' is imported, but not all of its"
		    " tags; `gnsfs refresh` asks for them again",
		    im->r->path);
	return err;
}

/* --- all of it --- */

static void
take_back(struct importing *im)
{
	struct store_call c = { .tag = "import", .once = true,
	    .deadline = clock_mono() + 5 * NSEC_PER_SEC };
	char key[KEY_MAX];

	if (im->loaded && import_load_abort(im->f->meta, im->st.lo) < 0)
		log_warn("rows of a failed import are purged at the next"
		    " mount", "path=%s", LOG_Q(im->r->path));
	for (size_t i = 0; i < im->n; i++) {
		if (!im->v[i].ours)
			continue;
		piece_key(im->v[i].hash, key);
		if (store_del(im->home, &c, key, NULL) != STORE_OK)
			break;
	}
}

static int
import_run(struct importing *im, struct why *why)
{
	const struct import_request *r = im->r;
	struct import_opts opts = {
		.uid = r->uid,
		.gid = r->gid,
		.file_mode = 0644,
		.dir_mode = 0755,
		.root_mtime = clock_real(),
	};
	int err;

	if (r->file_mode >= 0) {
		opts.file_mode = (uint32_t)r->file_mode & 0777;
		/* who may read a directory may enter it */
		opts.dir_mode = opts.file_mode |
		    (opts.file_mode & 0444) >> 2;
	}
	err = check_path(im, why);
	if (err == 0)
		err = find_store(im, why);
	if (err == 0)
		err = stores_get(im->f, STORE_HOME_ID, &im->home, why);
	if (err == 0)
		err = spool_open(im, why);
	if (err != 0)
		return err;
	opts.store = im->store_id;
	opts.prefix = im->prefix;
	err = import_new(im->f->meta, &opts, &im->imp);
	if (err == 0)
		err = list_keys(im, why);
	if (err == 0 && r->tags)
		err = import_tags_check(im->store, im->prefix, why);
	if (err == 0)
		err = build(im, why);
	if (err == 0)
		err = attach(im, why);
	if (err == 0 && r->tags)
		err = add_tags(im, why);
	return err;
}

static void
import_log(const struct importing *im)
{
	log_info("imported", "url=%s path=%s files=%" PRIu64 " dirs=%" PRIu64
	    " bytes=%" PRIu64 " pieces=%" PRIu64 " list_ms=%" PRId64
	    " build_ms=%" PRId64 " load_ms=%" PRId64 " land_ms=%" PRId64,
	    LOG_Q(im->r->url), LOG_Q(im->r->path), im->st.files, im->st.dirs,
	    im->st.bytes, im->st.pieces, im->t_list / NSEC_PER_MSEC,
	    im->t_build / NSEC_PER_MSEC, im->t_load / NSEC_PER_MSEC,
	    im->t_land / NSEC_PER_MSEC);
}

int
fs_import(struct fs *f, const struct import_request *r,
    struct import_result *ret, struct why *why)
{
	struct importing *im = calloc(1, sizeof(*im));
	int err;

	if (im == NULL)
		return -ENOMEM;
	im->f = f;
	im->r = r;
	im->fd = -1;
	lock_init(&im->lock, RANK_IMPORT, "import");
	cond_init(&im->more);
	err = fs_may_add(f);
	if (err == -ENOSPC)
		why_set(why, err, "the disk of %s is full", f->state_dir);
	else if (err != 0)
		why_set(why, err, "this mount is read-only; `gnsfs status`"
		    " says why");
	if (err == 0)
		err = url_parse(r->url, &im->url, why);
	if (err == 0)
		err = import_run(im, why);
	if (err == 0) {
		*ret = (struct import_result){ im->st.files, im->st.dirs,
		    im->st.bytes, im->st.escaped, im->store_id,
		    im->tags };
		import_log(im);
	} else {
		take_back(im);
	}
	import_free(im->imp);
	if (im->fd >= 0)
		(void)sys.close(im->fd);
	store_free(im->opened);
	url_done(&im->url);
	url_done(&im->store_url);
	free(im->store_text);
	free(im->prefix);
	free(im->v);
	buf_done(&im->hashes);
	cond_done(&im->more);
	lock_done(&im->lock);
	free(im);
	return err;
}

/*
 * import_tree: the gathered keys as rows.
 *
 * Directories are visited breadth first from the root; the entries of each
 * are sorted by their dentry's hash (L14) and take the next ids in that
 * order.  So every table's rows come out in key order by the same walk, and
 * reading a directory reads its inodes one after the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "meta/import_impl.h"
#include "meta/internal.h"

/* A kid of a directory: an index of dirs or of files, and what it is. */
#define KID_DIR		0x80000000u
#define KID_BESIDE	0x40000000u /* an object whose name a directory has */
#define KID_INDEX	0x3fffffffu

struct tree {
	struct import	*imp;
	uint64_t	 lo;
	uint32_t	*kids;	/* of all directories, each one's together */
	uint64_t	*hashes;	/* their slots in the directory */
	uint32_t	*queue;		/* directories in order of their ids */
	struct piece_writer *w;
	import_report	*report;
	void		*report_arg;
	piece_emit	*emit;
	void		*emit_arg;
	struct buf	*pieces;
	struct import_stats st;
};

/* One while a directory is sorted. */
struct sorting {
	uint64_t	 hash;
	uint32_t	 kid;
};

/* --- names and paths --- */

static void
kid_rec(const struct import *imp, uint32_t kid, struct irec *ret)
{
	if ((kid & KID_DIR) != 0)
		irec_name(imp, imp->dirs[kid & KID_INDEX].name, ret);
	else
		irec_name(imp, imp->files[kid & KID_INDEX].rec, ret);
}

/* The kid's name in the tree; true if not the raw one. */
static bool
kid_name(const struct import *imp, uint32_t kid, char *ret)
{
	struct irec r;

	kid_rec(imp, kid, &r);
	return import_name(r.name, r.nname, (kid & KID_BESIDE) != 0, ret);
}

/* A directory's key ("a/b/", the root's: ""), or with names its path. */
void
idir_path(const struct import *imp, uint32_t dir, bool names, struct buf *out)
{
	char name[META_NAME_MAX + 1];
	uint32_t *up, n = 0;
	struct irec r;

	for (uint32_t d = dir; d != 0; d = imp->dirs[d].parent)
		n++;
	up = malloc((n + 1) * sizeof(*up));
	if (up == NULL) {
		out->err = -ENOMEM;
		return;
	}
	for (uint32_t d = dir, i = n; d != 0; d = imp->dirs[d].parent)
		up[--i] = d;
	for (uint32_t i = 0; i < n; i++) {
		if (names) {
			kid_name(imp, up[i] | KID_DIR, name);
			buf_puts(out, name);
		} else {
			irec_name(imp, imp->dirs[up[i]].name, &r);
			buf_put(out, r.name, r.nname);
		}
		buf_puts(out, "/");
	}
	free(up);
}

static int
tell_escaped(struct tree *t, uint32_t dir, uint32_t kid, const char *name)
{
	struct buf key = BUF_INIT, path = BUF_INIT;
	struct irec r;
	int err;

	t->st.escaped++;
	if (t->report == NULL)
		return 0;
	kid_rec(t->imp, kid, &r);
	idir_path(t->imp, dir, false, &key);
	buf_put(&key, r.name, r.nname);
	if ((kid & KID_DIR) != 0)
		buf_puts(&key, "/");
	idir_path(t->imp, dir, true, &path);
	buf_puts(&path, name);
	(void)buf_cstr(&key);
	(void)buf_cstr(&path);
	err = buf_err(&key) != 0 ? buf_err(&key) : buf_err(&path);
	if (err == 0)
		err = t->report(t->report_arg, buf_cstr(&key),
		    buf_cstr(&path));
	buf_done(&key);
	buf_done(&path);
	return err;
}

/* --- the tree --- */

static int
tree_alloc(struct tree *t)
{
	struct import *imp = t->imp;
	size_t n = (size_t)imp->nfiles + imp->ndirs;

	t->kids = malloc(n * sizeof(*t->kids));
	t->hashes = malloc(n * sizeof(*t->hashes));
	t->queue = malloc(imp->ndirs * sizeof(*t->queue));
	return t->kids != NULL && t->hashes != NULL && t->queue != NULL ?
	    0 : -ENOMEM;
}

/* Every directory's kids together: counted, placed, filled. */
static void
tree_group(struct tree *t)
{
	struct import *imp = t->imp;
	uint32_t at = 0;

	for (uint32_t i = 1; i < imp->ndirs; i++)
		imp->dirs[imp->dirs[i].parent].nkids++;
	for (uint32_t i = 0; i < imp->nfiles; i++)
		imp->dirs[imp->files[i].dir].nkids++;
	for (uint32_t i = 0; i < imp->ndirs; i++) {
		imp->dirs[i].kids = at;
		at += imp->dirs[i].nkids;
		imp->dirs[i].nkids = 0;
	}
	for (uint32_t i = 1; i < imp->ndirs; i++) {
		struct idir *d = &imp->dirs[imp->dirs[i].parent];

		t->kids[d->kids + d->nkids++] = i | KID_DIR;
	}
	for (uint32_t i = 0; i < imp->nfiles; i++) {
		struct idir *d = &imp->dirs[imp->files[i].dir];

		t->kids[d->kids + d->nkids++] = i;
	}
}

static int
sorting_cmp(const void *a, const void *b)
{
	const struct sorting *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->kid > y->kid) - (x->kid < y->kid);
}

static bool
kids_are_same(const struct import *imp, uint32_t a, uint32_t b)
{
	struct irec x, y;

	if (((a | b) & KID_DIR) != 0 || ((a ^ b) & KID_BESIDE) != 0)
		return false;
	kid_rec(imp, a, &x);
	kid_rec(imp, b, &y);
	return x.nname == y.nname && memcmp(x.name, y.name, x.nname) == 0;
}

/* Of a key that was given twice the last stays: they stand together, in the
 * order they came. */
static uint32_t
drop_twice(struct tree *t, struct sorting *s, uint32_t n)
{
	uint32_t to = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (i + 1 < n && s[i].hash == s[i + 1].hash &&
		    kids_are_same(t->imp, s[i].kid, s[i + 1].kid))
			t->st.twice++;
		else
			s[to++] = s[i];
	}
	return to;
}

/* Sorts a directory's kids and gives each its slot: its name's hash, or where
 * that is taken the next (L14). */
static int
dir_place(struct tree *t, uint32_t dir, struct sorting *s)
{
	struct idir *d = &t->imp->dirs[dir];
	char name[META_NAME_MAX + 1];
	uint64_t next = 0;
	struct irec r;
	int err;

	for (uint32_t i = 0; i < d->nkids; i++) {
		uint32_t kid = t->kids[d->kids + i];

		if ((kid & KID_DIR) == 0) {
			kid_rec(t->imp, kid, &r);
			if (idir_find(t->imp, dir, r.name, r.nname) != 0)
				kid |= KID_BESIDE;
		}
		if (kid_name(t->imp, kid, name)) {
			err = tell_escaped(t, dir, kid, name);
			if (err != 0)
				return err;
		}
		s[i] = (struct sorting){ name_hash(name, strlen(name)), kid };
	}
	qsort(s, d->nkids, sizeof(*s), sorting_cmp);
	d->nkids = drop_twice(t, s, d->nkids);
	for (uint32_t i = 0; i < d->nkids; i++) {
		uint64_t slot = s[i].hash > next ? s[i].hash : next;

		if (slot - s[i].hash >= DENTRY_PROBES)
			return -ENOSPC;
		t->kids[d->kids + i] = s[i].kid;
		t->hashes[d->kids + i] = slot;
		next = slot + 1;
	}
	return 0;
}

/* Places all, and numbers all: t->queue and idir.id. */
static int
tree_place(struct tree *t)
{
	struct import *imp = t->imp;
	uint32_t most = 1, id = 1, n = 1;
	struct sorting *s;
	int err = 0;

	for (uint32_t i = 0; i < imp->ndirs; i++)
		if (imp->dirs[i].nkids > most)
			most = imp->dirs[i].nkids;
	s = malloc(most * sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	t->queue[0] = 0;
	imp->dirs[0].id = 0;
	for (uint32_t q = 0; err == 0 && q < n; q++) {
		struct idir *d = &imp->dirs[t->queue[q]];

		err = dir_place(t, t->queue[q], s);
		for (uint32_t i = 0; err == 0 && i < d->nkids; i++, id++) {
			uint32_t kid = t->kids[d->kids + i];

			if ((kid & KID_DIR) != 0) {
				imp->dirs[kid & KID_INDEX].id = id;
				t->queue[n++] = kid & KID_INDEX;
			}
		}
	}
	free(s);
	t->st.dirs = imp->ndirs - 1;
	t->st.files = id - imp->ndirs;
	return err;
}

/* --- rows --- */

static int
add_inode(struct tree *t, uint64_t id, uint32_t mode, uint64_t size,
    int64_t mtime, uint32_t flags)
{
	struct row r = { .tbl = T_INODE };

	r.v[I_INO] = col_int((int64_t)id);
	r.v[I_MODE] = col_int(mode);
	r.v[I_UID] = col_int(t->imp->opts.uid);
	r.v[I_GID] = col_int(t->imp->opts.gid);
	r.v[I_RDEV] = col_int(0);
	r.v[I_NLINK] = col_int(1);
	r.v[I_SIZE] = col_int((int64_t)size);
	r.v[I_ATIME] = r.v[I_MTIME] = r.v[I_CTIME] = col_int(mtime);
	r.v[I_FLAGS] = col_int(INODE_IMPORTED | flags);
	return piece_writer_add(t->w, &r);
}

static int
kid_inode(struct tree *t, uint32_t dir, uint32_t i, uint64_t id)
{
	const struct import *imp = t->imp;
	uint32_t kid = t->kids[imp->dirs[dir].kids + i];
	struct irec r;

	if ((kid & KID_DIR) != 0)
		return add_inode(t, id, S_IFDIR | imp->opts.dir_mode, 0,
		    imp->dirs[kid & KID_INDEX].mtime, 0);
	irec_file(imp, imp->files[kid & KID_INDEX].rec, &r);
	t->st.bytes += r.size;
	return add_inode(t, id, S_IFREG | imp->opts.file_mode, r.size,
	    r.mtime, 0);
}

static int
kid_dentry(struct tree *t, uint32_t dir, uint32_t i, uint64_t id)
{
	const struct idir *d = &t->imp->dirs[dir];
	uint32_t kid = t->kids[d->kids + i];
	char name[META_NAME_MAX + 1];
	struct row r = { .tbl = T_DENTRY };

	kid_name(t->imp, kid, name);
	r.v[D_PARENT] = col_int((int64_t)(t->lo + d->id));
	r.v[D_HASH] = col_int((int64_t)t->hashes[d->kids + i]);
	r.v[D_NAME] = col_str(name);
	r.v[D_INO] = col_int((int64_t)id);
	r.v[D_TYPE] = col_int(((kid & KID_DIR) != 0 ? S_IFDIR : S_IFREG) >> 12);
	return piece_writer_add(t->w, &r);
}

static int
kid_extent(struct tree *t, const struct irec *f, uint64_t id)
{
	struct row r = { .tbl = T_EXTENT };

	if (f->size == 0)
		return 0;
	r.v[E_INO] = r.v[E_OBJECT] = col_int((int64_t)id);
	r.v[E_OFF] = r.v[E_OOFF] = col_int(0);
	r.v[E_LEN] = col_int((int64_t)f->size);
	r.v[E_CRC] = col_int(-1);
	return piece_writer_add(t->w, &r);
}

static int
kid_object(struct tree *t, const struct irec *f, uint64_t id)
{
	struct row r = { .tbl = T_OBJECT };

	r.v[0] = col_int((int64_t)id);
	r.v[1] = col_int((int64_t)f->size);
	r.v[2] = col_int(OBJ_IMPORTED);
	return piece_writer_add(t->w, &r);
}

static int
kid_location(struct tree *t, const struct irec *f, uint64_t id,
    struct buf *key, size_t dirlen)
{
	struct row r = { .tbl = T_LOCATION };

	key->len = dirlen;
	buf_put(key, f->name, f->nname);
	if (buf_err(key) != 0)
		return buf_err(key);
	r.v[0] = col_int((int64_t)id);
	r.v[1] = col_int(t->imp->opts.store);
	r.v[2] = col_bytes(key->p, key->len);
	r.v[3] = col_str(f->version);
	return piece_writer_add(t->w, &r);
}

/* The rows of table tbl of one directory's entries, the first with number
 * id.  key: for locations, the directory's key. */
static int
dir_rows(struct tree *t, enum tbl tbl, uint32_t dir, uint64_t id,
    struct buf *key)
{
	const struct import *imp = t->imp;
	const struct idir *d = &imp->dirs[dir];
	size_t dirlen = key->len;
	struct irec f;
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < d->nkids; i++, id++) {
		uint32_t kid = t->kids[d->kids + i];

		if (tbl == T_INODE)
			err = kid_inode(t, dir, i, id);
		else if (tbl == T_DENTRY)
			err = kid_dentry(t, dir, i, id);
		if (tbl <= T_DENTRY || (kid & KID_DIR) != 0)
			continue;
		irec_file(imp, imp->files[kid & KID_INDEX].rec, &f);
		if (tbl == T_EXTENT)
			err = kid_extent(t, &f, id);
		else if (tbl == T_OBJECT)
			err = kid_object(t, &f, id);
		else
			err = kid_location(t, &f, id, key, dirlen);
	}
	return err;
}

static int
tree_rows(struct tree *t, enum tbl tbl)
{
	struct import *imp = t->imp;
	uint64_t id = t->lo + 1;
	struct buf key = BUF_INIT;
	int err = 0;

	if (tbl == T_INODE)
		err = add_inode(t, t->lo, S_IFDIR | imp->opts.dir_mode, 0,
		    imp->dirs[0].mtime, INODE_IMPORT_ROOT);
	for (uint32_t q = 0; err == 0 && q < imp->ndirs; q++) {
		uint32_t dir = t->queue[q];

		buf_reset(&key);
		if (tbl == T_LOCATION) {
			buf_puts(&key, imp->prefix);
			idir_path(imp, dir, false, &key);
			err = buf_err(&key);
		}
		if (err == 0)
			err = dir_rows(t, tbl, dir, id, &key);
		id += imp->dirs[dir].nkids;
	}
	buf_done(&key);
	return err;
}

static int
tree_emit(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	struct tree *t = arg;

	buf_put(t->pieces, hash, SHA256_LEN);
	if (buf_err(t->pieces) != 0)
		return buf_err(t->pieces);
	t->st.pieces++;
	t->st.rows += rows;
	return t->emit(t->emit_arg, tbl, rows, hash, p, n);
}

static int
tree_write(struct tree *t)
{
	static const enum tbl tables[] = { T_INODE, T_DENTRY, T_EXTENT,
	    T_OBJECT, T_LOCATION };
	int err;

	err = piece_writer_new(tree_emit, t, &t->w);
	if (err != 0)
		return err;
	for (unsigned i = 0; err == 0 && i < 5; i++)
		err = tree_rows(t, tables[i]);
	if (err != 0) {
		piece_writer_free(t->w);
		return err;
	}
	return piece_writer_end(t->w);
}

int
import_finish(struct import *imp, piece_emit *emit, void *arg,
    import_report *report, void *report_arg, struct buf *hashes,
    struct import_stats *ret)
{
	struct tree t = { .imp = imp, .emit = emit, .emit_arg = arg,
	    .report = report, .report_arg = report_arg, .pieces = hashes };
	uint64_t n = (uint64_t)imp->nfiles + imp->ndirs;
	int err;

	if (imp->finished)
		return -EINVAL;
	imp->finished = true;
	err = tree_alloc(&t);
	if (err != 0)
		goto out;
	tree_group(&t);
	err = tree_place(&t);
	if (err != 0)
		goto out;
	n -= t.st.twice;
	t.lo = meta_new_ids(imp->m, n);
	if (t.lo == 0) {
		err = -EROFS;
		goto out;
	}
	t.st.lo = t.lo;
	t.st.hi = t.lo + n - 1;
	t.st.markers = imp->markers;
	err = tree_write(&t);
	if (err == 0)
		*ret = t.st;
out:
	free(t.kids);
	free(t.hashes);
	free(t.queue);
	return err;
}

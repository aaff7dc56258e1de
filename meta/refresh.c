/* refresh: a plan is made (refresh.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "meta/refresh_impl.h"

/* What a file that is there is called, by the rule of import.h. */
enum naming { PLAIN, BESIDE, OTHER };

/* A key that is there, or that comes. */
struct known {
	uint8_t		 key[16];	/* the hash of it, below the prefix */
	uint64_t	 content;	/* the same of size and version */
	uint64_t	 ino;		/* 0: it comes */
	int64_t		 mtime;
	uint8_t		 naming;
	bool		 seen;
};
struct known_dir {
	uint64_t	 ino;
	int64_t		 mtime;
	bool		 kept;
};

struct plan {
	struct refresh	*r;
	struct sqc	*c;
	size_t		 nprefix;
	struct buf	 files;		/* of struct known */
	struct buf	 dirs;		/* of struct known_dir, parents first */
	uint32_t	*table;		/* files by key; index + 1, 0 empty */
	size_t		 mask;
	struct buf	 by_ino;	/* of struct by_ino, sorted */
	int		 err;
};

struct by_ino { uint64_t ino; size_t at; };

static struct known *
known_at(const struct plan *p, size_t i)
{
	return ((struct known *)(void *)p->files.p + i);
}

static struct known_dir *
dir_at(const struct plan *p, size_t i)
{
	return ((struct known_dir *)(void *)p->dirs.p + i);
}

static void
key_hash(const void *key, size_t n, uint8_t ret[16])
{
	uint8_t sum[SHA256_LEN];

	sha256(key, n, sum);
	memcpy(ret, sum, 16);
}

static uint64_t
content_hash(uint64_t size, const char *version)
{
	uint8_t sum[SHA256_LEN], text[8 + 160];
	size_t n = strnlen(version, 159);
	uint64_t ret;

	memcpy(text, &size, 8);
	memcpy(text + 8, version, n);
	sha256(text, 8 + n, sum);
	memcpy(&ret, sum, 8);
	return (ret);
}

/* --- what is there --- */

static enum naming
naming_of(const char *name, const char *raw, size_t n)
{
	char want[META_NAME_MAX + 1];

	import_name(raw, n, false, want);
	if (strcmp(want, name) == 0)
		return (PLAIN);
	import_name(raw, n, true, want);
	return (strcmp(want, name) == 0 ? BESIDE : OTHER);
}

static int
add_dir(struct plan *p, const struct attr *a)
{
	struct known_dir d = { .ino = a->ino, .mtime = a->mtime };

	buf_put(&p->dirs, &d, sizeof(d));
	return (buf_err(&p->dirs));
}

/* A file whose object is not of this import's store is none of it. */
static int
add_file(struct plan *p, const char *name, const struct attr *a)
{
	struct sqs *s = sq_prep(p->c, "SELECT key, version FROM location "
	    "WHERE object = ? AND store = ?");
	struct known k = { .ino = a->ino, .mtime = a->mtime };
	char version[160];
	const char *key, *v, *slash;
	size_t n, nv;
	int rc;

	sqs_int(s, 1, a->ino);
	sqs_int(s, 2, p->r->row->store);
	if ((rc = sqs_step(s)) != 1)
		return (rc);
	key = sqs_col_blob(s, 0, &n);
	v = sqs_col_blob(s, 1, &nv);
	nv = nv > 159 ? 159 : nv;
	if (nv > 0)
		memcpy(version, v, nv);
	version[nv] = '\0';
	if (n >= p->nprefix &&
	    memcmp(key, p->r->row->prefix, p->nprefix) == 0) {
		key += p->nprefix;
		n -= p->nprefix;
		key_hash(key, n, k.key);
		k.content = content_hash(a->size, version);
		slash = n > 0 ? memrchr(key, '/', n) : NULL;
		k.naming = slash == NULL ? naming_of(name, key, n) :
		    naming_of(name, slash + 1, n - (slash + 1 - key));
		buf_put(&p->files, &k, sizeof(k));
	}
	sqs_reset(s);
	return (buf_err(&p->files));
}

static int
add_known(void *arg, uint64_t parent, const char *name, const struct attr *a)
{
	struct plan *p = arg;

	if (!(a->flags & INODE_IMPORTED))
		return (0);
	if (S_ISDIR(a->mode))
		p->err = add_dir(p, a);
	else if (S_ISREG(a->mode))
		p->err = add_file(p, name, a);
	return (p->err != 0);
}

static int
by_ino_cmp(const void *a, const void *b)
{
	const struct by_ino *x = a, *y = b;

	return ((x->ino > y->ino) - (x->ino < y->ino));
}

/* The slot of a key in the table: of what has it, or empty. */
static uint32_t *
slot_of(struct plan *p, const uint8_t key[16])
{
	uint64_t h;
	size_t i;

	memcpy(&h, key, 8);
	for (i = h & p->mask; p->table[i] != 0; i = (i + 1) & p->mask)
		if (memcmp(known_at(p, p->table[i] - 1)->key, key, 16) == 0)
			break;
	return (&p->table[i]);
}

static int
index_known(struct plan *p)
{
	size_t n = p->files.len / sizeof(struct known), cap = 16;
	size_t ndirs = p->dirs.len / sizeof(struct known_dir);

	while (cap < 2 * (n + p->r->imp->nfiles))
		cap *= 2;
	p->table = calloc(cap, sizeof(*p->table));
	if (p->table == NULL)
		return (-ENOMEM);
	p->mask = cap - 1;
	for (size_t i = 0; i < n; i++) {
		uint32_t *at = slot_of(p, known_at(p, i)->key);

		/* two of one key: the second goes, as not seen */
		if (*at == 0)
			*at = (uint32_t)i + 1;
	}
	for (size_t i = 0; i < ndirs; i++) {
		struct by_ino b = { dir_at(p, i)->ino, i };

		buf_put(&p->by_ino, &b, sizeof(b));
	}
	if (buf_err(&p->by_ino) != 0)
		return (-ENOMEM);
	if (ndirs > 0)
		qsort(p->by_ino.p, ndirs, sizeof(struct by_ino), by_ino_cmp);
	return (0);
}

/* Its ids are not part of the log prefix yet (M4): no op may name them. */
static int
is_hidden(struct sqc *c, uint64_t ino)
{
	struct sqs *s = sq_prep(c,
	    "SELECT 1 FROM hidden WHERE lo <= ?1 AND hi >= ?1 LIMIT 1");

	sqs_int(s, 1, ino);
	return (sqs_has_row(s));
}

static int
load(struct plan *p)
{
	struct refresh *r = p->r;
	int err = meta_getattr(p->c, r->row->root, &r->root);

	if (err == 0 && !S_ISDIR(r->root.mode))
		err = -ENOTDIR;
	if (err == 0)
		err = is_hidden(p->c, r->row->root);
	if (err > 0)
		err = -EAGAIN;
	if (err == 0)
		err = meta_walk(p->c, r->row->root, add_known, p);
	if (err == 0)
		err = p->err;
	return (err != 0 ? err : index_known(p));
}

/* --- what is to be done --- */

static int
act_add(struct plan *p, enum phase phase, const struct act *a)
{
	buf_put(&p->r->acts[phase], a, sizeof(*a));
	return (buf_err(&p->r->acts[phase]));
}

static int
retime_dir(struct plan *p, uint32_t dir, const struct known_dir *d)
{
	struct act a = { .file = NOBODY, .dir = dir, .ino = d->ino };

	/* Entries that came and went may have made it newer. */
	if (p->r->imp->dirs[dir].mtime <= d->mtime)
		return (0);
	return (act_add(p, NEW_TIME, &a));
}

static int
plan_dir(struct plan *p, uint32_t dir)
{
	const struct idir *d = &p->r->imp->dirs[dir];
	struct by_ino key = { 0 }, *found = NULL;
	struct act a = { .file = NOBODY, .dir = dir };
	uint64_t parent = p->r->dirs[d->parent];
	char name[META_NAME_MAX + 1];
	struct attr at;
	struct irec rec;
	int err = -ENOENT;

	if (dir == 0)
		key.ino = p->r->row->root;
	else if (parent != 0) {
		irec_name(p->r->imp, d->name, &rec);
		import_name(rec.name, rec.nname, false, name);
		err = meta_lookup(p->c, parent, name, &at);
		if (err != 0 && err != -ENOENT)
			return (err);
		key.ino = err == 0 && S_ISDIR(at.mode) ? at.ino : 0;
	}
	if (key.ino != 0)
		found = bsearch(&key, p->by_ino.p, p->by_ino.len /
		    sizeof(key), sizeof(key), by_ino_cmp);
	if (found == NULL) {
		p->r->st.dirs_added++;
		return (act_add(p, NEW_DIR, &a));
	}
	p->r->dirs[dir] = key.ino;
	dir_at(p, found->at)->kept = true;
	return (retime_dir(p, dir, dir_at(p, found->at)));
}

/* The key is not there yet. */
static int
plan_new(struct plan *p, const uint8_t key[16], uint32_t *slot,
    const struct act *a, uint64_t size)
{
	struct known k = { .seen = true };

	memcpy(k.key, key, 16);
	buf_put(&p->files, &k, sizeof(k));
	*slot = p->files.len / sizeof(k);
	p->r->st.added++;
	p->r->st.bytes += size;
	return (buf_err(&p->files) != 0 ? -ENOMEM : act_add(p, NEW_FILE, a));
}

static int
plan_file(struct plan *p, uint32_t file, const struct buf *dirkey)
{
	const struct import *imp = p->r->imp;
	struct act a = { .file = file, .dir = imp->files[file].dir };
	struct buf key = BUF_INIT;
	uint8_t hash[16];
	struct irec rec;
	struct known *k;
	uint32_t *slot;
	int err;

	irec_file(imp, imp->files[file].rec, &rec);
	buf_put(&key, dirkey->p, dirkey->len);
	buf_put(&key, rec.name, rec.nname);
	if ((err = buf_err(&key)) != 0)
		goto out;
	key_hash(key.p, key.len, hash);
	a.beside = idir_find(imp, a.dir, rec.name, rec.nname) != 0;
	slot = slot_of(p, hash);
	if (*slot == 0) {
		err = plan_new(p, hash, slot, &a, rec.size);
		goto out;
	}
	k = known_at(p, *slot - 1);
	if (k->seen)		/* listed twice */
		goto out;
	k->seen = true;
	a.ino = k->ino;
	if (k->naming != OTHER && (k->naming == BESIDE) != a.beside) {
		p->r->st.renamed++;
		err = act_add(p, NEW_NAME, &a);
	}
	if (err != 0)
		goto out;
	if (k->content != content_hash(rec.size, rec.version)) {
		p->r->st.changed++;
		p->r->st.bytes += rec.size;
		err = act_add(p, NEW_FILE, &a);
	} else if (k->mtime != rec.mtime) {
		p->r->st.retimed++;
		err = act_add(p, NEW_TIME, &a);
	} else
		p->r->st.same++;
out:
	buf_done(&key);
	return (err);
}

static int
plan_files(struct plan *p)
{
	const struct import *imp = p->r->imp;
	struct buf dirkey = BUF_INIT;
	uint32_t last = NOBODY;
	int err = 0;

	buf_put_u8(&dirkey, 0);		/* so that it has a p */
	/* backwards: of what was listed twice the last counts */
	for (uint32_t i = imp->nfiles; err == 0 && i-- > 0;) {
		if (imp->files[i].dir != last) {
			last = imp->files[i].dir;
			buf_reset(&dirkey);
			idir_path(imp, last, false, &dirkey);
			err = buf_err(&dirkey);
		}
		if (err == 0)
			err = plan_file(p, i, &dirkey);
	}
	buf_done(&dirkey);
	return (err);
}

/* What no key is of any more: directories from below. */
static int
plan_gone(struct plan *p)
{
	size_t n = p->files.len / sizeof(struct known);
	size_t ndirs = p->dirs.len / sizeof(struct known_dir);
	int err = 0;

	for (size_t i = 0; err == 0 && i < n; i++) {
		struct act a = { NOBODY, NOBODY, known_at(p, i)->ino, false };

		if (known_at(p, i)->seen)
			continue;
		p->r->st.gone++;
		err = act_add(p, GONE_FILE, &a);
	}
	for (size_t i = ndirs; err == 0 && i-- > 0;) {
		struct act a = { NOBODY, NOBODY, dir_at(p, i)->ino, false };

		if (dir_at(p, i)->kept)
			continue;
		p->r->st.dirs_gone++;
		err = act_add(p, GONE_DIR, &a);
	}
	return (err);
}

static int
take_ids(struct refresh *r)
{
	uint64_t nfiles = r->acts[NEW_FILE].len / sizeof(struct act);
	uint64_t ndirs = r->acts[NEW_DIR].len / sizeof(struct act), id;
	const struct act *a = (const void *)r->acts[NEW_DIR].p;

	if (nfiles + ndirs == 0)
		return (0);
	id = meta_new_ids(r->m, nfiles + ndirs);
	if (id == 0)
		return (-EROFS);
	for (uint64_t i = 0; i < ndirs; i++)
		r->dirs[a[i].dir] = id++;
	r->files = id;
	return (0);
}

int
refresh_plan(struct meta *m, struct sqc *c, const struct import *imp,
    const struct import_row *row, int64_t now, struct refresh **ret)
{
	struct refresh *r = calloc(1, sizeof(*r));
	struct plan p = { .r = r, .c = c, .nprefix = strlen(row->prefix) };
	int err = r == NULL ? -ENOMEM : 0;

	if (err != 0)
		return (err);
	r->m = m;
	r->imp = imp;
	r->row = row;
	r->now = now;
	r->dirs = calloc(imp->ndirs, sizeof(*r->dirs));
	err = r->dirs == NULL ? -ENOMEM : load(&p);
	for (uint32_t i = 0; err == 0 && i < imp->ndirs; i++)
		err = plan_dir(&p, i);
	if (err == 0)
		err = plan_files(&p);
	if (err == 0)
		err = plan_gone(&p);
	if (err == 0)
		err = take_ids(r);
	buf_done(&p.files);
	buf_done(&p.dirs);
	buf_done(&p.by_ino);
	free(p.table);
	if (err != 0) {
		refresh_free(r);
		return (err);
	}
	*ret = r;
	return (0);
}

const struct refresh_stats *
refresh_stats(const struct refresh *r)
{
	return (&r->st);
}

void
refresh_free(struct refresh *r)
{
	if (r == NULL)
		return;
	for (int i = 0; i < PHASES; i++)
		buf_done(&r->acts[i]);
	free(r->dirs);
	free(r);
}

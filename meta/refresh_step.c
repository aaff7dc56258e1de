/* refresh_step: a plan is carried out, some operations at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "meta/journal.h"
#include "meta/refresh_impl.h"

/* One step's op and what it borrows. */
struct making {
	struct refresh	*r;
	struct sqc	*c;
	struct op	 op;
	struct op_object o;
	struct buf	 key;
	char		 name[META_NAME_MAX + 1], name2[META_NAME_MAX + 1];
};

static uint64_t
acts_of(const struct refresh *r, int phase)
{
	return (r->acts[phase].len / sizeof(struct act));
}

/* The act of that number, and its phase; PHASES: there are no more. */
static const struct act *
act_at(const struct refresh *r, uint64_t n, enum phase *ret, uint64_t *retat)
{
	int p;

	for (p = 0; p < PHASES && n >= acts_of(r, p); p++)
		n -= acts_of(r, p);
	*ret = p;
	*retat = n;
	return (p < PHASES ?
	    (const struct act *)(const void *)r->acts[p].p + n : NULL);
}

uint64_t
refresh_left(const struct refresh *r)
{
	uint64_t n = 0;

	for (int p = 0; p < PHASES; p++)
		n += acts_of(r, p);
	return (n - r->at);
}

void
refresh_old(const struct refresh *r, unsigned n,
    void (*each)(void *arg, uint64_t ino), void *arg)
{
	const struct act *a;
	enum phase p;
	uint64_t at;

	for (unsigned i = 0; i < n; i++) {
		a = act_at(r, r->at + i, &p, &at);
		if (a == NULL)
			break;
		if (a->ino != 0 && (p == GONE_FILE || p == NEW_FILE))
			each(arg, a->ino);
	}
}

/* Where what is there is. */
static int
make_named(struct making *k, const struct act *a)
{
	int err = meta_parent(k->c, a->ino, &k->op.parent, k->name);

	k->op.name = k->name;
	return (err);
}

static void
make_owner(struct making *k, uint32_t mode)
{
	k->op.uid = k->r->root.uid;
	k->op.gid = k->r->root.gid;
	k->op.mode = mode;
}

static int
make_dir(struct making *k, const struct act *a)
{
	const struct idir *d = &k->r->imp->dirs[a->dir];
	struct irec rec;

	irec_name(k->r->imp, d->name, &rec);
	import_name(rec.name, rec.nname, false, k->name);
	k->op.mask = REFRESH_DIR;
	k->op.ino = k->r->dirs[a->dir];
	k->op.parent = k->r->dirs[d->parent];
	k->op.name = k->name;
	k->op.mtime = d->mtime != REFRESH_NO_TIME ? d->mtime : k->r->now;
	make_owner(k, S_IFDIR | (k->r->root.mode & 07777));
	return (0);
}

static int
make_file(struct making *k, const struct act *a, uint64_t at)
{
	const struct import *imp = k->r->imp;
	struct irec rec;
	int err = 0;

	irec_file(imp, imp->files[a->file].rec, &rec);
	buf_reset(&k->key);
	buf_puts(&k->key, k->r->row->prefix);
	idir_path(imp, a->dir, false, &k->key);
	buf_put(&k->key, rec.name, rec.nname);
	if (buf_err(&k->key) != 0)
		return (buf_err(&k->key));
	k->op.mask = REFRESH_FILE;
	k->op.ino = k->r->files + at;
	k->op.ino2 = a->ino;
	if (a->ino != 0) {
		err = make_named(k, a);
	} else {
		import_name(rec.name, rec.nname, a->beside, k->name);
		k->op.parent = k->r->dirs[a->dir];
		k->op.name = k->name;
	}
	k->op.size = rec.size;
	k->op.mtime = rec.mtime;
	k->op.value = k->key.p;
	k->op.nvalue = k->key.len;
	k->o = (struct op_object){ .id = k->op.ino, .size = rec.size,
	    .kind = OBJ_IMPORTED, .store = k->r->row->store };
	memcpy(k->o.version, rec.version, sizeof(k->o.version));
	k->op.objects = &k->o;
	k->op.nobjects = 1;
	make_owner(k, S_IFREG | (k->r->row->file_mode & 07777));
	return (err);
}

static int
make_name(struct making *k, const struct act *a)
{
	struct irec rec;

	irec_file(k->r->imp, k->r->imp->files[a->file].rec, &rec);
	import_name(rec.name, rec.nname, a->beside, k->name2);
	k->op.mask = REFRESH_NAME;
	k->op.ino = a->ino;
	k->op.name2 = k->name2;
	return (make_named(k, a));
}

static void
make_time(struct making *k, const struct act *a)
{
	const struct import *imp = k->r->imp;
	struct irec rec;

	k->op.mask = REFRESH_TIME;
	k->op.ino = a->ino;
	k->op.ctime = 0;
	if (a->file == NOBODY) {
		k->op.mtime = imp->dirs[a->dir].mtime;
	} else {
		irec_file(imp, imp->files[a->file].rec, &rec);
		k->op.mtime = rec.mtime;
	}
}

static int
make(struct making *k, const struct act *a, enum phase p, uint64_t at)
{
	k->op = (struct op){ .kind = OP_REFRESH, .ctime = k->r->now };
	switch (p) {
	case NEW_DIR:
		return (make_dir(k, a));
	case NEW_FILE:
		return (make_file(k, a, at));
	case NEW_NAME:
		return (make_name(k, a));
	case NEW_TIME:
		make_time(k, a);
		return (0);
	default:
		k->op.mask = REFRESH_GONE;
		k->op.ino = a->ino;
		return (make_named(k, a));
	}
}

int
refresh_step(struct refresh *r, struct sqc *c, unsigned n,
    int (*told)(void *arg, const struct op *op), void *arg, uint64_t *retseq,
    struct why *why)
{
	struct making *k = calloc(1, sizeof(*k));
	const struct act *a;
	enum phase p;
	uint64_t at;
	int err = 0;

	if (k == NULL)
		return (-ENOMEM);
	k->r = r;
	k->c = c;
	for (unsigned i = 0; err == 0 && i < n; i++) {
		a = act_at(r, r->at + i, &p, &at);
		if (a == NULL)
			break;
		err = make(k, a, p, at);
		if (err == 0)
			err = journal(r->m, c, &k->op, NEEDS_NOTHING, NULL, 0,
			    retseq);
		if (err != 0)
			why_set(why, err, "'%s' could not be brought up to "
			    "date: %s", k->op.name != NULL ? k->op.name : "",
			    strerror(-err));
		else
			err = told(arg, &k->op);
	}
	buf_done(&k->key);
	free(k);
	return (err);
}

void
refresh_stepped(struct refresh *r, unsigned n)
{
	uint64_t left = refresh_left(r);

	r->at += n < left ? n : left;
}

/*
 * select_walk: selectors over the tree.
 *
 * Paths are walked first, each with all below it, nothing compared.  Then the
 * terms: from the directories above their magic, each node's state following
 * from its parent's; a directory below which nothing can match is not read.
 * With SELECT_AND there is one walk, from the deepest of all these.
 *
 * The walk keeps one frame a level, with a part of the directory's entries,
 * and never a statement open: each may query.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "meta/select_impl.h"

#define FRAME_ENTRIES	128

struct entry {
	struct attr	 a;
	size_t		 name;		/* offset in names */
};

struct frame {
	uint64_t	 ino, cookie;	/* the last read */
	bool		 more;
	size_t		 pathlen;
	struct entry	*e;
	unsigned	 n, i;
	struct buf	 names;
	uint64_t	*st;
};

struct walk {
	const struct selector *s;
	struct sqc	*c;
	struct lookup	*l;
	int64_t		 now;
	bool		 want_all;
	bool		 plain;		/* all below, no terms */
	selector_each	*each;
	void		*arg;
	struct buf	 path;
	uint64_t	*st;		/* of the node at hand */
	struct frame	*frames;
	unsigned	 n, cap;
};

static int
push_dir(struct walk *w, uint64_t ino)
{
	struct frame *f;

	if (w->n == w->cap) {
		unsigned cap = w->cap != 0 ? 2 * w->cap : 16;

		f = realloc(w->frames, cap * sizeof(*f));
		if (f == NULL)
			return -ENOMEM;
		w->frames = f;
		w->cap = cap;
	}
	f = &w->frames[w->n];
	*f = (struct frame){ .ino = ino, .more = true, .pathlen = w->path.len };
	f->e = malloc(FRAME_ENTRIES * sizeof(*f->e));
	f->st = malloc((w->s->nterms + 1) * sizeof(*f->st));
	if (f->e == NULL || f->st == NULL) {
		free(f->e);
		free(f->st);
		return -ENOMEM;
	}
	if (w->s->nterms != 0)
		memcpy(f->st, w->st, w->s->nterms * sizeof(*f->st));
	w->n++;
	return 0;
}

static void
pop_dir(struct walk *w)
{
	struct frame *f = &w->frames[--w->n];

	free(f->e);
	free(f->st);
	buf_done(&f->names);
}

/* The node at w->path, whose parent's states are up. */
static int
walk_node(struct walk *w, const uint64_t *up, const char *name,
    const struct attr *a)
{
	const struct selector *s = w->s;
	const char *path = buf_cstr(&w->path);
	int hit = 1, err;

	if (buf_err(&w->path) != 0)
		return -ENOMEM;
	if (!w->plain) {
		hit = terms_eval(s, w->c, w->l, w->now, up, name, path, a,
		    w->st);
		if (hit < 0)
			return hit;
		if ((s->flags & SELECT_AND) != 0) {
			for (unsigned i = 0; hit && i < s->npaths; i++)
				hit = path_is_below(path, s->paths[i]);
			if (s->nterms == 0 && s->npaths == 0)
				hit = 0;
		} else if (selector_covers(s, path))
			return 0;		/* a plain walk gave it */
	}
	if (hit && (w->want_all || S_ISREG(a->mode))) {
		err = w->each(w->arg, path, a);
		if (err != 0)
			return err;
	}
	if (!S_ISDIR(a->mode) ||
	    (!w->plain && terms_are_dead(s, w->st, path)))
		return 0;
	return push_dir(w, a->ino);
}

static int
take_entry(void *arg, uint64_t cookie, const char *name, const struct attr *a)
{
	struct frame *f = arg;
	struct entry *e = &f->e[f->n];

	e->a = *a;
	e->name = f->names.len;
	buf_put(&f->names, name, strlen(name) + 1);
	if (buf_err(&f->names) != 0)
		return 1;
	f->cookie = cookie;
	f->more = ++f->n == FRAME_ENTRIES;
	return f->more;
}

/* 1: f has an entry at f->i; 0: it is at its end. */
static int
frame_fill(struct walk *w, struct frame *f)
{
	int err;

	if (f->i < f->n)
		return 1;
	if (!f->more)
		return 0;
	f->i = f->n = 0;
	f->more = false;
	buf_reset(&f->names);
	err = meta_readdir(w->c, f->ino, f->cookie, true, take_entry, f);
	if (err == -ENOENT || err == -ENOTDIR)
		return 0;			/* gone meanwhile */
	if (err < 0)
		return err;
	if (buf_err(&f->names) != 0)
		return -ENOMEM;
	return f->n != 0;
}

static int
walk_frames(struct walk *w)
{
	int err = 0;

	while (err == 0 && w->n != 0) {
		struct frame *f = &w->frames[w->n - 1];
		struct entry *e;
		const char *name;

		err = frame_fill(w, f);
		if (err == 0)
			pop_dir(w);
		if (err <= 0)
			continue;
		e = &f->e[f->i++];
		name = (const char *)f->names.p + e->name;
		w->path.len = f->pathlen;
		if (f->pathlen != 1)
			buf_puts(&w->path, "/");
		buf_puts(&w->path, name);
		err = walk_node(w, f->st, name, &e->a);
	}
	while (w->n != 0)
		pop_dir(w);
	return err;
}

/* The states at the parent of `path` into up; its last name; its attr.
 * -ENOENT. */
static int
walk_down(struct walk *w, const char *path, uint64_t *up, char *retname,
    struct attr *ret)
{
	const struct selector *s = w->s;
	const char *p = path;
	struct attr a;
	int err;

	terms_start(s, up);
	retname[0] = '\0';
	err = meta_getattr(w->c, META_ROOT, &a);
	buf_reset(&w->path);
	buf_puts(&w->path, "/");
	while (err == 0 && *(p += strspn(p, "/")) != '\0') {
		size_t n = strcspn(p, "/");

		err = terms_eval(s, w->c, w->l, w->now, up,
		    retname[0] != '\0' ? retname : NULL,
		    buf_cstr(&w->path), &a, w->st);
		if (err < 0)
			return err;
		if (s->nterms != 0)
			memcpy(up, w->st, s->nterms * sizeof(*up));
		if (n > META_NAME_MAX)
			return -ENOENT;
		memcpy(retname, p, n);
		retname[n] = '\0';
		if (w->path.len != 1)
			buf_puts(&w->path, "/");
		buf_puts(&w->path, retname);
		err = meta_lookup(w->c, a.ino, retname, &a);
		p += n;
	}
	*ret = a;
	return err == -ENOTDIR ? -ENOENT : err;
}

static int
walk_from(struct walk *w, const char *path, bool plain)
{
	char name[META_NAME_MAX + 1];
	struct attr a;
	uint64_t *up;
	int err;

	up = malloc((w->s->nterms + 1) * sizeof(*up));
	if (up == NULL)
		return -ENOMEM;
	w->plain = plain;
	err = walk_down(w, path, up, name, &a);
	if (err == -ENOENT) {		/* above a glob: no match */
		free(up);
		return 0;
	}
	if (err == 0)
		err = walk_node(w, up, name[0] != '\0' ? name : NULL, &a);
	if (err == 0)
		err = walk_frames(w);
	free(up);
	return err;
}

/* Where a path is walked from under `in`: the path, in, or NULL. */
static const char *
within(const struct selector *s, const char *path)
{
	if (s->in == NULL || path_is_below(path, s->in))
		return path;
	return path_is_below(s->in, path) ? s->in : NULL;
}

/* By components: what is below a path follows it at once. */
static int
top_cmp(const void *a, const void *b)
{
	const unsigned char *x = *(const unsigned char *const *)a;
	const unsigned char *y = *(const unsigned char *const *)b;

	while (*x != '\0' && *x == *y)
		x++, y++;
	return (*x == '/' ? 1 : *x == '\0' ? 0 : *x + 1) -
	    (*y == '/' ? 1 : *y == '\0' ? 0 : *y + 1);
}

/* Walks each of the n paths that is not below another of them. */
static int
walk_tops(struct walk *w, const char **tops, unsigned n, bool plain)
{
	const char *last = NULL;
	int err = 0;

	if (n != 0)
		qsort(tops, n, sizeof(*tops), top_cmp);
	for (unsigned i = 0; err == 0 && i < n; i++) {
		if (last != NULL && path_is_below(tops[i], last))
			continue;
		last = tops[i];
		err = walk_from(w, last, plain);
	}
	return err;
}

static int
run_or(struct walk *w)
{
	const struct selector *s = w->s;
	const char **tops, *top;
	unsigned n = 0;
	int err;

	tops = calloc((size_t)s->npaths + s->nterms + 1, sizeof(*tops));
	if (tops == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < s->npaths; i++)
		if ((top = within(s, s->paths[i])) != NULL)
			tops[n++] = top;
	err = walk_tops(w, tops, n, true);
	n = 0;
	for (unsigned i = 0; i < s->nterms; i++) {
		top = s->terms[i].base != NULL ? s->terms[i].base : "/";
		if ((top = within(s, top)) != NULL)
			tops[n++] = top;
	}
	if (err == 0)
		err = walk_tops(w, tops, n, false);
	free(tops);
	return err;
}

static int
run_and(struct walk *w)
{
	const struct selector *s = w->s;
	const char *top = s->in != NULL ? s->in : "/";

	for (unsigned i = 0; i < s->npaths; i++)
		if (strlen(s->paths[i]) > strlen(top))
			top = s->paths[i];
	for (unsigned i = 0; i < s->nterms; i++)
		if (s->terms[i].base != NULL &&
		    strlen(s->terms[i].base) > strlen(top))
			top = s->terms[i].base;
	if (s->in != NULL && !path_is_below(top, s->in))
		return 0;
	return walk_from(w, top, false);
}

static int
check_exists(struct sqc *c, const char *path, struct why *why)
{
	struct attr a;
	int err;

	err = meta_resolve(c, path, &a);
	if (err == -ENOENT || err == -ENOTDIR)
		return why_set(why, -ENOENT, "'%s': no such file or directory",
		    path);
	return err;
}

static int
check_paths(const struct selector *s, struct sqc *c, struct why *why)
{
	int err = 0;

	if (s->in != NULL)
		err = check_exists(c, s->in, why);
	for (unsigned i = 0; err == 0 && i < s->npaths; i++)
		err = check_exists(c, s->paths[i], why);
	return err;
}

int
selector_check(const struct selector *s, struct sqc *c, struct why *why)
{
	struct lookup *l = NULL;
	int err = check_paths(s, c, why);

	if (err == 0)
		err = lookups_new(s, c, &l, why);
	lookups_free(s, l);
	return err;
}

int
selector_run(const struct selector *s, struct sqc *c, int64_t now,
    bool want_all, selector_each *each, void *arg, struct why *why)
{
	struct walk w = { .s = s, .c = c, .now = now, .want_all = want_all,
	    .each = each, .arg = arg };
	int err;

	w.st = calloc((size_t)s->nterms + 1, sizeof(*w.st));
	if (w.st == NULL)
		return -ENOMEM;
	err = check_paths(s, c, why);
	if (err == 0)
		err = lookups_new(s, c, &w.l, why);
	if (err == 0)
		err = (s->flags & SELECT_AND) != 0 ? run_and(&w) : run_or(&w);
	lookups_free(s, w.l);
	buf_done(&w.path);
	free(w.frames);
	free(w.st);
	return err;
}

/* The terms of one file, from the root down to it: tags hold for all below,
 * so each directory on the way counts. */
static int
matches_terms(struct walk *w, const char *path, const struct attr *a)
{
	char name[META_NAME_MAX + 1];
	struct attr found;
	uint64_t *up;
	int err;

	up = malloc((w->s->nterms + 1) * sizeof(*up));
	if (up == NULL)
		return -ENOMEM;
	err = walk_down(w, path, up, name, &found);
	if (err == 0)
		err = terms_eval(w->s, w->c, w->l, w->now, up,
		    name[0] != '\0' ? name : NULL, path, a, w->st);
	free(up);
	return err == -ENOENT ? 0 : err;
}

int
selector_matches(const struct selector *s, struct sqc *c, const char *path,
    const struct attr *a)
{
	struct walk w = { .s = s, .c = c, .now = clock_real() };
	bool and = (s->flags & SELECT_AND) != 0;
	int err;

	if (s->in != NULL && !path_is_below(path, s->in))
		return 0;
	if (!and && selector_covers(s, path))
		return 1;
	for (unsigned i = 0; and && i < s->npaths; i++)
		if (!path_is_below(path, s->paths[i]))
			return 0;
	if (s->nterms == 0)
		return and;
	w.st = calloc((size_t)s->nterms + 1, sizeof(*w.st));
	if (w.st == NULL)
		return -ENOMEM;
	err = lookups_new(s, c, &w.l, NULL);
	if (err == 0)
		err = matches_terms(&w, path, a);
	lookups_free(s, w.l);
	buf_done(&w.path);
	free(w.st);
	return err == -ENOENT ? 0 : err;
}

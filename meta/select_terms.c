/*
 * select_terms: globs and filters against one node of the tree, given where
 * its parent stands (select_impl.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "meta/select_impl.h"

static int
store_find(void *arg, const struct store_row *r)
{
	struct { const char *name; uint32_t id; bool found; } *f = arg;

	if (strcmp(f->name, r->name) != 0)
		return 0;
	f->id = r->id;
	f->found = true;
	return 1;
}

static int
lookup_store(struct sqc *c, const char *name, struct lookup *l,
    struct why *why)
{
	struct { const char *name; uint32_t id; bool found; } f = { name, 0,
	    false };
	int err;

	err = meta_stores(c, store_find, &f);
	if (err < 0)
		return err;
	if (!f.found)
		return why_set(why, -ENOENT, "there is no store '%s': see "
		    "gnsfs store ls", name);
	l->store = f.id;
	return 0;
}

static int
ino_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int
lookup_tag(struct sqc *c, const struct term *t, struct lookup *l)
{
	struct buf b = BUF_INIT;
	struct sqs *q;
	size_t n;
	int got;

	q = sq_prep(c, "SELECT ino, value FROM tag"
	    " WHERE CAST(key AS BLOB) = ?1");
	sqs_blob(q, 1, t->key, strlen(t->key));
	while ((got = sqs_step(q)) == 1) {
		uint64_t ino = (uint64_t)sqs_col_int(q, 0);
		const void *v = sqs_col_blob(q, 1, &n);

		if (t->value != NULL && (n != strlen(t->value) ||
		    memcmp(v, t->value, n) != 0))
			continue;
		buf_put(&b, &ino, sizeof(ino));
		if (buf_err(&b) != 0)
			break;
	}
	sqs_reset(q);
	if (got >= 0)
		got = buf_err(&b);
	if (got < 0) {
		buf_done(&b);
		return got;
	}
	l->n = b.len / sizeof(uint64_t);
	l->inos = buf_take(&b, NULL);
	if (l->n != 0)
		qsort(l->inos, l->n, sizeof(*l->inos), ino_cmp);
	return 0;
}

int
lookups_new(const struct selector *s, struct sqc *c, struct lookup **ret,
    struct why *why)
{
	struct lookup *l;
	int err = 0;

	l = calloc((size_t)s->nterms + 1, sizeof(*l));
	if (l == NULL)
		return -ENOMEM;
	for (unsigned i = 0; err == 0 && i < s->nterms; i++) {
		if (s->terms[i].kind == TERM_TAG)
			err = lookup_tag(c, &s->terms[i], &l[i]);
		else if (s->terms[i].kind == TERM_STORE)
			err = lookup_store(c, s->terms[i].value, &l[i], why);
	}
	if (err != 0) {
		lookups_free(s, l);
		return err;
	}
	*ret = l;
	return 0;
}

void
lookups_free(const struct selector *s, struct lookup *l)
{
	if (l == NULL)
		return;
	for (unsigned i = 0; i < s->nterms; i++)
		free(l[i].inos);
	free(l);
}

/* Some byte of the file is in the store, or it is an empty import there (its
 * object has its number). */
static int
is_in_store(struct sqc *c, uint64_t ino, uint32_t store)
{
	struct sqs *q;
	int got;

	q = sq_prep(c, "SELECT 1 FROM extent e JOIN location l"
	    " ON l.object = e.object WHERE e.ino = ?1 AND l.store = ?2"
	    " UNION ALL SELECT 1 FROM location"
	    " WHERE object = ?1 AND store = ?2 LIMIT 1");
	sqs_int(q, 1, (int64_t)ino);
	sqs_int(q, 2, store);
	got = sqs_step(q);
	sqs_reset(q);
	return got;
}

static bool
num_matches(enum term_cmp cmp, uint64_t have, uint64_t want)
{
	switch (cmp) {
	case CMP_LT: return have < want;
	case CMP_LE: return have <= want;
	case CMP_GT: return have > want;
	case CMP_GE: return have >= want;
	case CMP_EQ: return have == want;
	}
	return false;
}

static int
term_eval(const struct term *t, struct sqc *c, const struct lookup *l,
    int64_t now, uint64_t up, const char *name, const char *path,
    const struct attr *a, uint64_t *ret)
{
	bool is_file = S_ISREG(a->mode);

	*ret = up;
	if (up == TERM_HOLDS)
		return 1;
	switch (t->kind) {
	case TERM_GLOB:
		if (name != NULL)
			*ret = glob_step(t->glob, up, name);
		if (glob_matched(t->glob, *ret) || (t->literal != NULL &&
		    path_is_below(path, t->literal)))
			*ret = TERM_HOLDS;
		return *ret == TERM_HOLDS;
	case TERM_TAG:
		if (l->n != 0 && bsearch(&a->ino, l->inos, l->n,
		    sizeof(*l->inos), ino_cmp) != NULL)
			*ret = TERM_HOLDS;
		return *ret == TERM_HOLDS;
	case TERM_SIZE:
		return is_file && num_matches(t->cmp, a->size, t->num);
	case TERM_MTIME:
		return num_matches(t->cmp, a->mtime < now ?
		    (uint64_t)now - (uint64_t)a->mtime : 0, t->num);
	case TERM_NAME:
		return name != NULL && glob_name(t->value, name);
	case TERM_STORE:
		return is_file ? is_in_store(c, a->ino, l->store) : 0;
	}
	return 0;
}

int
terms_eval(const struct selector *s, struct sqc *c, const struct lookup *l,
    int64_t now, const uint64_t *up, const char *name, const char *path,
    const struct attr *a, uint64_t *ret)
{
	bool and = (s->flags & SELECT_AND) != 0;
	bool any = false, all = true;

	/* the state of each is needed, but of the costly one only sometimes */
	for (unsigned i = 0; i < s->nterms; i++) {
		int got;

		if (s->terms[i].kind == TERM_STORE && (and ? !all : any)) {
			ret[i] = up[i];
			continue;
		}
		got = term_eval(&s->terms[i], c, &l[i], now, up[i], name,
		    path, a, &ret[i]);
		if (got < 0)
			return got;
		any = any || got != 0;
		all = all && got != 0;
	}
	return and ? all : any;
}

void
terms_start(const struct selector *s, uint64_t *ret)
{
	for (unsigned i = 0; i < s->nterms; i++)
		ret[i] = s->terms[i].kind == TERM_GLOB ?
		    glob_start(s->terms[i].glob) : 0;
}

bool
terms_are_dead(const struct selector *s, const uint64_t *st, const char *path)
{
	bool and = (s->flags & SELECT_AND) != 0;

	for (unsigned i = 0; i < s->nterms; i++) {
		const struct term *t = &s->terms[i];
		bool dead = t->kind == TERM_GLOB && st[i] == 0 &&
		    (t->literal == NULL || !path_is_below(t->literal, path));

		if (dead == and)
			return and;
	}
	return !and;
}

/* pin_text: see pin_text.h. */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/pin_text.h"

#define LINES_MAX	4096

/* --- lists --- */

void
pin_list_done(struct pin_list *l)
{
	free(l->v);
	memset(l, 0, sizeof *l);
}

int
pin_list_add(struct pin_list *l, uint64_t ino, uint64_t size)
{
	struct pin_want *v;
	uint64_t cap;

	if (l->n == l->cap) {
		cap = l->cap == 0 ? 64 : l->cap * 2;
		v = realloc(l->v, cap * sizeof *v);
		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = (struct pin_want){ ino, size };
	return 0;
}

static int
by_ino(const void *a, const void *b)
{
	const struct pin_want *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

void
pin_list_sort(struct pin_list *l)
{
	uint64_t i, n = 0;

	if (l->n > 1)
		qsort(l->v, l->n, sizeof *l->v, by_ino);
	l->bytes = 0;
	for (i = 0; i < l->n; i++) {
		if (n > 0 && l->v[n - 1].ino == l->v[i].ino)
			continue;
		l->v[n++] = l->v[i];
		l->bytes += l->v[i].size;
	}
	l->n = n;
}

/* --- the text --- */

struct lines {
	char		 *copy;
	const char	**sel;
	unsigned	  nsel;
	bool		  and;
	const char	 *in;
};

/* What stands before the `--not` that it is of. */
struct not_lines { const char **sel; unsigned n; const char *in; };

static void
lines_done(struct lines *l)
{
	free(l->copy);
	free(l->sel);
	memset(l, 0, sizeof *l);
}

/* Takes memory; l is to be done with also after a failure. */
static int
lines_new(const char *text, struct lines *l, struct not_lines *nl)
{
	*nl = (struct not_lines){ NULL };
	*l = (struct lines){ .copy = strdup(text) };
	l->sel = calloc(LINES_MAX, sizeof *l->sel);
	nl->sel = calloc(LINES_MAX, sizeof *nl->sel);
	return l->copy == NULL || l->sel == NULL || nl->sel == NULL ?
	    -ENOMEM : 0;
}

/* A `--not`, with what stands before it. */
static int
add_not(struct pin_text *t, struct not_lines *nl, unsigned of,
    struct why *why)
{
	struct pin_not *v;
	int rc;

	v = realloc(t->nots, (t->nnots + 1) * sizeof *v);
	if (v == NULL)
		return -ENOMEM;
	t->nots = v;
	v[t->nnots] = (struct pin_not){ NULL, of };
	rc = selector_new(nl->sel, nl->n, SELECT_AND, nl->in,
	    &v[t->nnots].sel, why);
	t->nnots += rc == 0;
	nl->n = 0;
	nl->in = NULL;
	return rc;
}

/* One line, into the one or the other. */
static int
line_add(char *line, struct pin_text *t, struct lines *l,
    struct not_lines *nl, struct why *why)
{
	if (l->nsel == LINES_MAX || t->nnots == LINES_MAX ||
	    nl->n == LINES_MAX)
		return -E2BIG;
	if (strncmp(line, "--not-in ", 9) == 0) {
		nl->in = line + 9;
		return 0;
	}
	if (strncmp(line, "--not-and ", 10) == 0) {
		nl->sel[nl->n++] = line + 10;
		return 0;
	}
	if (strncmp(line, "--not ", 6) == 0) {
		nl->sel[nl->n++] = line + 6;
		return add_not(t, nl, l->nsel, why);
	}
	nl->n = 0;
	nl->in = NULL;
	if (strcmp(line, "--and") == 0)
		l->and = true;
	else if (strncmp(line, "--in ", 5) == 0)
		l->in = line + 5;
	else
		l->sel[l->nsel++] = line;
	return 0;
}

/* Each a selector of its own, or, with --and, all of them one. */
static int
make_selectors(const struct lines *l, struct pin_text *t, struct why *why)
{
	unsigned i, n = l->and ? 1 : l->nsel;
	int rc = 0;

	t->sel = calloc(n + 1, sizeof *t->sel);
	if (t->sel == NULL)
		return -ENOMEM;
	for (i = 0; rc == 0 && i < n; i++) {
		rc = l->and ? selector_new(l->sel, l->nsel, SELECT_AND, l->in,
		    &t->sel[i], why) : selector_new(&l->sel[i], 1, 0, l->in,
		    &t->sel[i], why);
		if (rc == 0)
			t->nsel = i + 1;
	}
	for (i = 0; l->and && i < t->nnots; i++)
		t->nots[i].of = t->nots[i].of > 0;
	return rc;
}

void
pin_text_done(struct pin_text *t)
{
	unsigned i;

	for (i = 0; i < t->nsel; i++)
		selector_free(t->sel[i]);
	for (i = 0; i < t->nnots; i++)
		selector_free(t->nots[i].sel);
	free(t->sel);
	free(t->nots);
	memset(t, 0, sizeof *t);
}

int
pin_text_parse(const char *text, struct pin_text *ret, struct why *why)
{
	struct pin_text t = { NULL };
	struct not_lines nl;
	char *line, *save = NULL;
	struct lines l;
	int rc;

	rc = lines_new(text, &l, &nl);
	if (rc == 0)
		for (line = strtok_r(l.copy, "\n", &save);
		    rc == 0 && line != NULL;
		    line = strtok_r(NULL, "\n", &save))
			rc = line_add(line, &t, &l, &nl, why);
	if (rc == 0)
		rc = make_selectors(&l, &t, why);
	free(nl.sel);
	lines_done(&l);
	if (rc != 0) {
		pin_text_done(&t);
		return rc;
	}
	*ret = t;
	return 0;
}

/* Of how many of the text's selectors the file is taken out; -errno. */
static int
taken_out(const struct pin_text *t, struct sqc *q, const char *path,
    const struct attr *a)
{
	unsigned i, most = 0;
	int rc;

	for (i = 0; i < t->nnots; i++) {
		if (t->nots[i].of <= most)
			continue;
		rc = selector_matches(t->nots[i].sel, q, path, a);
		if (rc < 0)
			return rc;
		if (rc == 1)
			most = t->nots[i].of;
	}
	return (int)most;
}

int
pin_text_matches(const struct pin_text *t, struct sqc *q, const char *path,
    const struct attr *a)
{
	int i, rc = 0, out = taken_out(t, q, path, a);

	if (out < 0)
		return out;
	for (i = out; rc == 0 && i < (int)t->nsel; i++)
		rc = selector_matches(t->sel[i], q, path, a);
	return rc;
}

/* A line of the row: no break in it. */
static int
is_line(const char *s, struct why *why)
{
	if (strchr(s, '\n') == NULL)
		return 0;
	return why_set(why, -EINVAL, "a selector with a line break in it "
	    "cannot be kept: %s; a `?` in its place matches", s);
}

int
pin_text_write(const struct pin_request *r, struct buf *out, struct why *why)
{
	struct pin_text t;
	unsigned i;
	int rc = 0;

	if (r->nselectors == 0)
		return why_set(why, -EINVAL, "no selector says what is meant");
	if ((r->flags & SELECT_AND) != 0)
		buf_puts(out, "--and\n");
	if (r->in != NULL) {
		rc = is_line(r->in, why);
		buf_printf(out, "--in %s\n", r->in);
	}
	for (i = 0; rc == 0 && i < r->nselectors; i++) {
		rc = is_line(r->selectors[i], why);
		if (rc == 0 && (*r->selectors[i] == '\0' ||
		    strncmp(r->selectors[i], "--", 2) == 0))
			rc = why_set(why, -EINVAL, "'%s' is no selector",
			    r->selectors[i]);
		buf_printf(out, "%s\n", r->selectors[i]);
	}
	if (rc == 0)
		rc = buf_err(out);
	if (rc != 0)
		return rc;
	rc = pin_text_parse(buf_cstr(out), &t, why);
	if (rc == 0)
		pin_text_done(&t);
	return rc;
}

/* --- entries: a line, and those before it that are of it --- */

struct entry { const char *p; size_t n; bool is_not, is_sel; };

/* The one at *at, which moves on; false: there is none. */
static bool
next_entry(const char **at, struct entry *ret)
{
	const char *p = *at, *end;

	p += strspn(p, "\n");
	if (*p == '\0')
		return false;
	*ret = (struct entry){ .p = p,
	    .is_not = strncmp(p, "--not", 5) == 0,
	    .is_sel = strncmp(p, "--", 2) != 0 };
	end = strchrnul(p, '\n');
	while (strncmp(p, "--not-", 6) == 0 && *end != '\0') {
		p = end + 1;
		end = strchrnul(p, '\n');
	}
	ret->n = (size_t)(end - ret->p);
	*at = end;
	return true;
}

static bool
has_entry(const char *text, const char *p, size_t n)
{
	struct entry e;

	while (next_entry(&text, &e))
		if (e.n == n && memcmp(e.p, p, n) == 0)
			return true;
	return false;
}

static void
put_entry(struct buf *out, const struct entry *e)
{
	buf_put(out, e->p, e->n);
	buf_puts(out, "\n");
}

static bool
has_not(const char *text)
{
	struct entry e;

	while (next_entry(&text, &e))
		if (e.is_not)
			return true;
	return false;
}

/* Every entry of a that is one of these is one of b's. */
static bool
is_within(const char *a, const char *b, bool sels)
{
	struct entry e;

	while (next_entry(&a, &e))
		if (!e.is_not && e.is_sel == sels && !has_entry(b, e.p, e.n))
			return false;
	return true;
}

int
pin_text_merge(const char *a, const char *b, struct buf *out)
{
	bool and = has_entry(b, "--and", 5), any = false;
	const char *at = a;
	struct entry e;

	if (*a != '\0' && (!is_within(a, b, false) ||
	    !is_within(b, a, false) || (and && (!is_within(a, b, true) ||
	    !is_within(b, a, true)))))
		return -EEXIST;
	if (and || *a == '\0') {
		buf_puts(out, b);	/* all of which is named again */
		return buf_err(out);
	}
	while (next_entry(&at, &e)) {
		if ((e.is_not && !any) || (e.is_sel && has_not(at) &&
		    has_entry(b, e.p, e.n)))
			continue;
		any = any || e.is_sel;
		put_entry(out, &e);
	}
	at = b;
	while (next_entry(&at, &e))
		if (!has_entry(buf_cstr(out), e.p, e.n))
			put_entry(out, &e);
	return buf_err(out);
}

/* Is this the text of these files, or of more?  As far as --in says. */
static bool
holds_in(const char *a, const char *in)
{
	const char *at = a;
	struct entry e;

	while (in != NULL && next_entry(&at, &e))
		if (strncmp(e.p, "--in ", 5) == 0 && e.n == strlen(in) + 5 &&
		    memcmp(e.p + 5, in, e.n - 5) == 0)
			return true;
	return in == NULL;
}

int
pin_text_without(const char *a, const struct pin_request *r, struct buf *out,
    bool *is_own)
{
	bool and = has_entry(a, "--and", 5), in = holds_in(a, r->in);
	unsigned i, own = 0, left = 0;
	struct entry e;

	for (i = 0; i < r->nselectors; i++) {
		is_own[i] = in && has_entry(a, r->selectors[i],
		    strlen(r->selectors[i]));
		own += is_own[i];
	}
	/* What must match all of them is less than each. */
	if ((r->flags & SELECT_AND) != 0 && r->nselectors > 1 &&
	    (!and || own < r->nselectors)) {
		memset(is_own, 0, r->nselectors * sizeof *is_own);
		own = 0;
	}
	while (next_entry(&a, &e)) {
		for (i = 0; i < r->nselectors; i++)
			if (is_own[i] && e.n == strlen(r->selectors[i]) &&
			    memcmp(e.p, r->selectors[i], e.n) == 0)
				break;
		if (i < r->nselectors)
			continue;
		put_entry(out, &e);
		left += e.is_sel;
	}
	if (buf_err(out) != 0)
		return buf_err(out);
	return own == 0 ? 0 : and || left == 0 ? 2 : 1;
}

/* The `--not` of the request's selectors from i on, up to *end: one, or with
 * --and all of them. */
static void
write_not(const struct pin_request *r, unsigned i, struct buf *out,
    unsigned *end)
{
	if (r->in != NULL)
		buf_printf(out, "--not-in %s\n", r->in);
	for (; (r->flags & SELECT_AND) != 0 && i + 1 < r->nselectors; i++)
		buf_printf(out, "--not-and %s\n", r->selectors[i]);
	buf_printf(out, "--not %s", r->selectors[i]);
	*end = i + 1;
}

int
pin_text_except(const char *a, const struct pin_request *r, const bool *skip,
    struct buf *out)
{
	struct buf nots = BUF_INIT, one = BUF_INIT;
	const char *at = a;
	struct entry e;
	unsigned i, end;
	int rc;

	for (i = 0; i < r->nselectors; i = end) {
		buf_reset(&one);
		write_not(r, i, &one, &end);
		if (skip == NULL || !skip[i])
			buf_printf(&nots, "%s\n", buf_cstr(&one));
	}
	/* They stand at the end, once. */
	while (next_entry(&at, &e))
		if (!has_entry(buf_cstr(&nots), e.p, e.n))
			put_entry(out, &e);
	buf_puts(out, buf_cstr(&nots));
	rc = buf_err(&one) != 0 ? buf_err(&one) : buf_err(&nots);
	buf_done(&one);
	buf_done(&nots);
	return rc != 0 ? rc : buf_err(out);
}

/* --- which files --- */

struct run {
	const struct pin_text	*t;
	struct sqc		*q;
	struct pin_list		*list;
	unsigned		 sel;	/* which of the text's is run */
	int			 err;
};

static int
run_one(void *arg, const char *path, const struct attr *a)
{
	struct run *r = arg;
	int rc = 0;

	if (!S_ISREG(a->mode))
		return 0;
	rc = taken_out(r->t, r->q, path, a);
	if (rc >= 0 && (unsigned)rc <= r->sel)
		rc = pin_list_add(r->list, a->ino, a->size);
	r->err = rc < 0 ? rc : 0;
	return r->err != 0;
}

int
pin_text_check(const struct pin_text *t, struct fs *f, struct why *why)
{
	struct sqc *q = NULL;
	int rc;

	rc = sq_read(meta_sq(f->meta), &q);
	for (unsigned i = 0; rc == 0 && i < t->nsel; i++)
		rc = selector_check(t->sel[i], q, why);
	sq_read_end(q);
	return rc;
}

int
pin_text_run(const struct pin_text *t, struct fs *f, bool must_exist,
    struct pin_list *ret, struct why *why)
{
	struct pin_list list = { NULL };
	struct run r = { .t = t, .list = &list };
	unsigned i;
	int rc;

	rc = sq_read(meta_sq(f->meta), &r.q);
	for (i = 0; rc == 0 && i < t->nsel; i++) {
		r.sel = i;
		rc = selector_run(t->sel[i], r.q, clock_real(), false,
		    run_one, &r, must_exist ? why : NULL);
		if (rc == -ENOENT && !must_exist)
			rc = 0;
		rc = rc < 0 ? rc : r.err;
	}
	sq_read_end(r.q);
	if (rc != 0) {
		pin_list_done(&list);
		return rc;
	}
	pin_list_sort(&list);
	*ret = list;
	return 0;
}

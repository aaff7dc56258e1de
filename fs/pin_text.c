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
	char		*copy;
	const char	**sel, **nots;
	unsigned	 nsel, nnots;
	bool		 and;
	const char	*in;
};

static void
lines_done(struct lines *l)
{
	free(l->copy);
	free(l->sel);
	free(l->nots);
	memset(l, 0, sizeof *l);
}

static int
lines_split(const char *text, struct lines *ret)
{
	struct lines l = { NULL };
	char *line, *save = NULL;

	l.copy = strdup(text);
	l.sel = calloc(LINES_MAX, sizeof *l.sel);
	l.nots = calloc(LINES_MAX, sizeof *l.nots);
	if (l.copy == NULL || l.sel == NULL || l.nots == NULL) {
		lines_done(&l);
		return -ENOMEM;
	}
	for (line = strtok_r(l.copy, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save)) {
		if (l.nsel == LINES_MAX || l.nnots == LINES_MAX) {
			lines_done(&l);
			return -E2BIG;
		}
		if (strcmp(line, "--and") == 0)
			l.and = true;
		else if (strncmp(line, "--in ", 5) == 0)
			l.in = line + 5;
		else if (strncmp(line, "--not ", 6) == 0)
			l.nots[l.nnots++] = line + 6;
		else
			l.sel[l.nsel++] = line;
	}
	*ret = l;
	return 0;
}

/* Each text a selector of its own. */
static int
each_alone(const char *const *texts, unsigned n, const char *in,
    struct selector ***ret, unsigned *retn, struct why *why)
{
	unsigned i;
	int rc = 0;

	*ret = calloc(n + 1, sizeof **ret);
	if (*ret == NULL)
		return -ENOMEM;
	for (i = 0; rc == 0 && i < n; i++) {
		rc = selector_new(&texts[i], 1, 0, in, &(*ret)[i], why);
		if (rc == 0)
			*retn = i + 1;
	}
	return rc;
}

void
pin_text_done(struct pin_text *t)
{
	unsigned i;

	for (i = 0; i < t->nsel; i++)
		selector_free(t->sel[i]);
	for (i = 0; i < t->nnots; i++)
		selector_free(t->nots[i]);
	free(t->sel);
	free(t->nots);
	memset(t, 0, sizeof *t);
}

int
pin_text_parse(const char *text, struct pin_text *ret, struct why *why)
{
	struct pin_text t = { NULL };
	struct lines l;
	int rc;

	rc = lines_split(text, &l);
	if (rc != 0)
		return rc;
	if (l.and) {
		t.sel = calloc(1, sizeof *t.sel);
		rc = t.sel == NULL ? -ENOMEM : selector_new(l.sel, l.nsel,
		    SELECT_AND, l.in, &t.sel[0], why);
		t.nsel = rc == 0;
	} else {
		rc = each_alone(l.sel, l.nsel, l.in, &t.sel, &t.nsel, why);
	}
	if (rc == 0)
		rc = each_alone(l.nots, l.nnots, NULL, &t.nots, &t.nnots,
		    why);
	lines_done(&l);
	if (rc != 0) {
		pin_text_done(&t);
		return rc;
	}
	*ret = t;
	return 0;
}

static int
any_matches(struct selector *const *v, unsigned n, struct sqc *q,
    const char *path, const struct attr *a)
{
	unsigned i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i++)
		rc = selector_matches(v[i], q, path, a);
	return rc;
}

int
pin_text_matches(const struct pin_text *t, struct sqc *q, const char *path,
    const struct attr *a)
{
	int rc;

	rc = any_matches(t->sel, t->nsel, q, path, a);
	if (rc != 1 || t->nnots == 0)
		return rc;
	rc = any_matches(t->nots, t->nnots, q, path, a);
	return rc < 0 ? rc : !rc;
}

int
pin_text_write(const struct pin_request *r, struct buf *out, struct why *why)
{
	struct pin_text t;
	unsigned i;
	int rc;

	if (r->nselectors == 0)
		return why_set(why, -EINVAL, "no selector says what is meant");
	if ((r->flags & SELECT_AND) != 0)
		buf_puts(out, "--and\n");
	if (r->in != NULL)
		buf_printf(out, "--in %s\n", r->in);
	for (i = 0; i < r->nselectors; i++) {
		if (strchr(r->selectors[i], '\n') != NULL)
			return why_set(why, -EINVAL, "a selector with a line "
			    "break in it cannot be kept: %s; a `?` in its "
			    "place matches", r->selectors[i]);
		buf_printf(out, "%s\n", r->selectors[i]);
	}
	rc = buf_err(out);
	if (rc != 0)
		return rc;
	rc = pin_text_parse(buf_cstr(out), &t, why);
	if (rc == 0)
		pin_text_done(&t);
	return rc;
}

/* Is this one line of text? */
static bool
has_line(const char *text, const char *line, size_t n)
{
	const char *p = text, *end;

	while (*p != '\0') {
		end = strchrnul(p, '\n');
		if ((size_t)(end - p) == n && memcmp(p, line, n) == 0)
			return true;
		p = *end == '\0' ? end : end + 1;
	}
	return false;
}

int
pin_text_merge(const char *a, const char *b, struct buf *out)
{
	const char *p = b, *end;

	buf_puts(out, a);
	while (*p != '\0') {
		end = strchrnul(p, '\n');
		if (end > p && !has_line(a, p, (size_t)(end - p))) {
			buf_put(out, p, (size_t)(end - p));
			buf_puts(out, "\n");
		}
		p = *end == '\0' ? end : end + 1;
	}
	return buf_err(out);
}

int
pin_text_without(const char *a, const char *line, struct buf *out)
{
	const char *p = a, *end;
	size_t n = strlen(line);
	unsigned left = 0;
	bool found = false;

	while (*p != '\0') {
		end = strchrnul(p, '\n');
		if ((size_t)(end - p) == n && memcmp(p, line, n) == 0) {
			found = true;
		} else if (end > p) {
			buf_put(out, p, (size_t)(end - p));
			buf_puts(out, "\n");
			left += strncmp(p, "--", 2) != 0;
		}
		p = *end == '\0' ? end : end + 1;
	}
	if (buf_err(out) != 0)
		return buf_err(out);
	return !found ? 0 : left > 0 ? 1 : 2;
}

int
pin_text_except(const char *a, const char *const *sel, unsigned n,
    struct buf *out)
{
	struct buf line = BUF_INIT;
	unsigned i;
	int rc = 0;

	buf_puts(out, a);
	for (i = 0; i < n; i++) {
		buf_reset(&line);
		buf_printf(&line, "--not %s", sel[i]);
		if (!has_line(a, buf_cstr(&line), line.len))
			buf_printf(out, "%s\n", buf_cstr(&line));
		if (rc == 0)
			rc = buf_err(&line);
	}
	buf_done(&line);
	return rc != 0 ? rc : buf_err(out);
}

/* --- which files --- */

struct run {
	const struct pin_text	*t;
	struct sqc		*q;
	struct pin_list		*list;
	int			 err;
};

static int
run_one(void *arg, const char *path, const struct attr *a)
{
	struct run *r = arg;
	int rc = 0;

	if (!S_ISREG(a->mode))
		return 0;
	if (r->t->nnots > 0)
		rc = any_matches(r->t->nots, r->t->nnots, r->q, path, a);
	if (rc == 0)
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

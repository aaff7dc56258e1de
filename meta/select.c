/*
 * select: parsing of selectors, and lists of paths (DESIGN.md 3).
 *
 * What is a mere path is kept apart from the rest (terms): a list of a
 * hundred thousand paths costs a binary search a file.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meta/select_impl.h"

bool
path_is_below(const char *a, const char *b)
{
	size_t n = strlen(b);

	if (n == 1)
		return true;		/* "/" */
	return strncmp(a, b, n) == 0 && (a[n] == '\0' || a[n] == '/');
}

static int
path_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool
selector_covers(const struct selector *s, const char *path)
{
	struct buf b = BUF_INIT;
	bool found = false;
	char *p, *cut;

	if (s->npaths == 0)
		return false;
	if (s->npaths <= 4) {
		for (unsigned i = 0; i < s->npaths; i++)
			if (path_is_below(path, s->paths[i]))
				return true;
		return false;
	}
	buf_puts(&b, path);
	p = (char *)buf_cstr(&b);
	while (!found) {
		found = bsearch(&p, s->paths, s->npaths, sizeof(*s->paths),
		    path_cmp) != NULL;
		cut = strrchr(p, '/');
		if (cut == NULL || p[1] == '\0')
			break;
		cut[cut == p] = '\0';
	}
	buf_done(&b);
	return found;
}

/* "//a/b/" as "/a/b"; new. */
static int
path_normal(const char *text, char **ret, struct why *why)
{
	struct buf b = BUF_INIT;
	const char *p = text;

	while (*p != '\0') {
		size_t n = strcspn(p, "/");

		if ((n == 1 && *p == '.') || (n == 2 && *p == '.' &&
		    p[1] == '.')) {
			buf_done(&b);
			return why_set(why, -EINVAL, "'%s': '.' and '..' are "
			    "not resolved: write the path without them", text);
		}
		if (n != 0) {
			buf_puts(&b, "/");
			buf_put(&b, p, n);
		}
		p += n + (p[n] == '/');
	}
	if (b.len == 0)
		buf_puts(&b, "/");
	buf_put_u8(&b, 0);
	if (buf_err(&b) != 0) {
		buf_done(&b);
		return -ENOMEM;
	}
	*ret = buf_take(&b, NULL);
	return 0;
}

/* The path above the first component with magic; *retwhole: there is none. */
static int
glob_base(const struct glob *g, char **ret, bool *retwhole)
{
	struct buf b = BUF_INIT;
	unsigned i;

	for (i = 0; i < g->n && g->parts[i].literal; i++) {
		buf_puts(&b, "/");
		buf_puts(&b, g->parts[i].text);
	}
	if (i == 0)
		buf_puts(&b, "/");
	buf_put_u8(&b, 0);
	if (buf_err(&b) != 0) {
		buf_done(&b);
		return -ENOMEM;
	}
	*retwhole = i == g->n;
	*ret = buf_take(&b, NULL);
	return 0;
}

static void
term_done(struct term *t)
{
	free(t->key);
	free(t->value);
	glob_free(t->glob);
	free(t->base);
	free(t->literal);
}

/* <, <=, >, >=, = at *p. */
static int
parse_cmp(const char **p, enum term_cmp *ret)
{
	bool eq = **p != '\0' && (*p)[1] == '=';

	switch (**p) {
	case '<':
		*ret = eq ? CMP_LE : CMP_LT;
		break;
	case '>':
		*ret = eq ? CMP_GE : CMP_GT;
		break;
	case '=':
		*ret = CMP_EQ;
		eq = false;
		break;
	default:
		return -EINVAL;
	}
	*p += eq ? 2 : 1;
	return 0;
}

/* "1.5G" with units as "BKMGTPE", or "smhdw": the unit's letter index and the
 * number.  -EINVAL. */
static int
parse_number(const char *p, const char *units, const char **retunit,
    double *retnum)
{
	char *end;
	double v;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		return -EINVAL;
	v = strtod(p, &end);
	*retunit = NULL;
	if (*end != '\0') {
		*retunit = strchr(units, *end);
		if (*retunit == NULL)
			*retunit = strchr(units, toupper((unsigned char)*end));
		if (*retunit == NULL)
			return -EINVAL;
		end++;
	}
	if (end[0] == 'i' && end[1] == 'B')
		end += 2;
	else if (end[0] == 'B' && *retunit != NULL && **retunit != 'B')
		end++;
	*retnum = v;
	return *end != '\0' ? -EINVAL : 0;
}

static int
parse_size(const char *text, struct term *t, struct why *why)
{
	static const char units[] = "BKMGTPE";
	const char *p = text + strlen("size"), *unit;
	double v;

	t->kind = TERM_SIZE;
	if (parse_cmp(&p, &t->cmp) != 0 ||
	    parse_number(p, units, &unit, &v) != 0)
		goto bad;
	for (; unit != NULL && unit > units; unit--)
		v *= 1024;
	if (v >= 9.2e18)
		goto bad;
	t->num = (uint64_t)v;
	return 0;
bad:
	return why_set(why, -EINVAL, "selector '%s': write size>1G, size<=64K, "
	    "size=0 (units K M G T P)", text);
}

static int
parse_mtime(const char *text, struct term *t, struct why *why)
{
	static const char units[] = "smhdw";
	static const unsigned secs[] = { 1, 60, 3600, 86400, 604800 };
	const char *p = text + strlen("mtime"), *unit;
	double v;

	t->kind = TERM_MTIME;
	if (parse_cmp(&p, &t->cmp) != 0 || t->cmp == CMP_EQ ||
	    parse_number(p, units, &unit, &v) != 0 || unit == NULL ||
	    p[strlen(p) - 1] == 'B')
		goto bad;
	v *= secs[unit - units] * 1e9;
	if (v >= 9.2e18)
		goto bad;
	t->num = (uint64_t)v;
	return 0;
bad:
	return why_set(why, -EINVAL, "selector '%s': write mtime<7d (changed "
	    "less than seven days ago) or mtime>12h (units s m h d w)", text);
}

static int
parse_tag(const char *text, struct term *t, struct why *why)
{
	const char *p = text + strlen("tag:"), *eq = strchr(p, '=');
	size_t n = eq != NULL ? (size_t)(eq - p) : strlen(p);

	t->kind = TERM_TAG;
	if (n == 0)
		return why_set(why, -EINVAL, "selector '%s': write tag:KEY or "
		    "tag:KEY=VALUE", text);
	t->key = strndup(p, n);
	if (eq != NULL)
		t->value = strdup(eq + 1);
	if (t->key == NULL || (eq != NULL && t->value == NULL))
		return -ENOMEM;
	return 0;
}

static int
parse_value(const char *text, const char *value, enum term_kind kind,
    struct term *t, struct why *why)
{
	t->kind = kind;
	if (*value == '\0')
		return why_set(why, -EINVAL, "selector '%s': write %s", text,
		    kind == TERM_NAME ? "name:*.jpg" : "store:NAME");
	if (kind == TERM_NAME && strchr(value, '/') != NULL)
		return why_set(why, -EINVAL, "selector '%s': a name has no '/'"
		    ": write the path with '**'", text);
	t->value = strdup(value);
	return t->value != NULL ? 0 : -ENOMEM;
}

static bool
has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static int
parse_filter(const char *text, struct term *t, struct why *why)
{
	if (has_prefix(text, "tag:"))
		return parse_tag(text, t, why);
	if (has_prefix(text, "size") && strchr("<>=", text[4]) != NULL)
		return parse_size(text, t, why);
	if (has_prefix(text, "mtime") && strchr("<>=", text[5]) != NULL)
		return parse_mtime(text, t, why);
	if (has_prefix(text, "store:"))
		return parse_value(text, text + 6, TERM_STORE, t, why);
	if (has_prefix(text, "name:"))
		return parse_value(text, text + 5, TERM_NAME, t, why);
	return why_set(why, -EINVAL, "selector '%s': neither a path, a glob "
	    "like '/a/**/*.jpg', nor tag:K=V, size>1G, mtime<7d, store:NAME, "
	    "name:*.jpg", text);
}

static int
add_glob(struct selector *s, const char *text, struct term *t,
    struct why *why)
{
	bool whole;
	int err;

	t->kind = TERM_GLOB;
	err = glob_new(text, &t->glob, why);
	if (err == 0)
		err = glob_base(t->glob, &t->base, &whole);
	if (err != 0)
		return err;
	if (whole) {		/* its magic was all escaped: a path */
		s->paths[s->npaths++] = t->base;
		t->base = NULL;
		term_done(t);
		*t = (struct term){ 0 };
		s->nterms--;
		return 0;
	}
	if (strchr(text, '\\') == NULL)
		return path_normal(text, &t->literal, why);
	return 0;
}

static int
add_text(struct selector *s, const char *text, struct why *why)
{
	struct term *t;
	char *path;
	int err;

	if (text[0] == '/' && !glob_has_magic(text)) {
		err = path_normal(text, &path, why);
		if (err == 0)
			s->paths[s->npaths++] = path;
		return err;
	}
	if (s->nterms == SELECT_TERMS)
		return why_set(why, -EINVAL, "more than %d globs and filters",
		    SELECT_TERMS);
	t = &s->terms[s->nterms++];
	if (text[0] == '/')
		return add_glob(s, text, t, why);
	return parse_filter(text, t, why);
}

int
selector_new(const char *const *texts, unsigned n, unsigned flags,
    const char *in, struct selector **ret, struct why *why)
{
	struct selector *s;
	unsigned to = 0;
	int err = -ENOMEM;

	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->flags = flags;
	s->paths = calloc((size_t)n + 1, sizeof(*s->paths));
	s->terms = calloc((n < SELECT_TERMS ? n : SELECT_TERMS) + 1,
	    sizeof(*s->terms));
	if (s->paths == NULL || s->terms == NULL)
		goto fail;
	err = -EINVAL;
	if (n == 0) {
		why_set(why, err, "no selector given");
		goto fail;
	}
	if (in != NULL && in[0] != '/') {
		why_set(why, err, "'%s': not a path of the namespace", in);
		goto fail;
	}
	err = in != NULL ? path_normal(in, &s->in, why) : 0;
	for (unsigned i = 0; err == 0 && i < n; i++)
		err = add_text(s, texts[i], why);
	if (err != 0)
		goto fail;
	if (s->npaths != 0)
		qsort(s->paths, s->npaths, sizeof(*s->paths), path_cmp);
	for (unsigned i = 0; i < s->npaths; i++) {
		if (to != 0 && strcmp(s->paths[to - 1], s->paths[i]) == 0)
			free(s->paths[i]);
		else
			s->paths[to++] = s->paths[i];
	}
	s->npaths = to;
	*ret = s;
	return 0;
fail:
	selector_free(s);
	return err;
}

void
selector_free(struct selector *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; s->paths != NULL && i < s->npaths; i++)
		free(s->paths[i]);
	for (unsigned i = 0; s->terms != NULL && i < s->nterms; i++)
		term_done(&s->terms[i]);
	free(s->paths);
	free(s->terms);
	free(s->in);
	free(s);
}

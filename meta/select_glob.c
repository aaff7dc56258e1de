/*
 * select_glob: glob patterns.  A pattern is matched a component at a time, so
 * that a walk knows at each directory whether anything below can match: the
 * state is the set of components that may come next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "meta/select_impl.h"

/* The ']' of the set that starts at p ('['), or NULL. */
static const char *
set_end(const char *p)
{
	p++;
	if (*p == '!' || *p == '^')
		p++;
	if (*p == ']')
		p++;
	while (*p != '\0' && *p != '/' && *p != ']')
		p++;
	return *p == ']' ? p : NULL;
}

bool
glob_has_magic(const char *p)
{
	for (; *p != '\0'; p++) {
		if (*p == '*' || *p == '?')
			return true;
		if (*p == '[' && set_end(p) != NULL)
			return true;
	}
	return false;
}

/* Bytes of the UTF-8 character at s; 1 for what is none. */
static size_t
char_len(const char *s)
{
	unsigned char b = (unsigned char)*s;
	size_t n = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : b >= 0xc0 ? 2 : 1;

	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 1;
	return n;
}

static int
char_cmp(const char *a, size_t na, const char *b, size_t nb)
{
	int cmp = memcmp(a, b, na < nb ? na : nb);

	return cmp != 0 ? cmp : (na > nb) - (na < nb);
}

/* Is the character at s (n bytes) in the set p..end? */
static bool
set_has(const char *p, const char *end, const char *s, size_t n)
{
	bool no, in = false;

	p++;
	no = *p == '!' || *p == '^';
	if (no)
		p++;
	while (p < end) {
		const char *lo = p, *hi = p;
		size_t nlo = char_len(p), nhi = nlo;

		p += nlo;
		if (*p == '-' && p + 1 < end) {
			hi = p + 1;
			nhi = char_len(hi);
			p = hi + nhi;
		}
		if (char_cmp(lo, nlo, s, n) <= 0 &&
		    char_cmp(s, n, hi, nhi) <= 0)
			in = true;
	}
	return in != no;
}

/* Does the one pattern item at *pat match the character at s?  Moves *pat. */
static bool
item_matches(const char **pat, const char *s, size_t n)
{
	const char *p = *pat, *end;
	size_t np;

	if (*p == '?') {
		*pat = p + 1;
		return true;
	}
	if (*p == '[' && (end = set_end(p)) != NULL) {
		*pat = end + 1;
		return set_has(p, end, s, n);
	}
	if (*p == '\\' && p[1] != '\0')
		p++;
	np = char_len(p);
	*pat = p + np;
	return np == n && memcmp(p, s, n) == 0;
}

bool
glob_name(const char *p, const char *s)
{
	const char *star = NULL, *from = NULL;

	while (*s != '\0') {
		size_t n = char_len(s);
		const char *next = p;

		if (*p == '*') {
			star = ++p;
			from = s;
		} else if (*p != '\0' && item_matches(&next, s, n)) {
			p = next;
			s += n;
		} else if (star != NULL) {
			p = star;
			from += char_len(from);
			s = from;
		} else
			return false;
	}
	while (*p == '*')
		p++;
	return *p == '\0';
}

/* Takes \ away from a component without magic. */
static void
unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		*to++ = *s;
	}
	*to = '\0';
}

/* As glob_has_magic, where what follows a \ is none. */
static bool
part_has_magic(const char *p)
{
	for (; *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		else if (*p == '*' || *p == '?' ||
		    (*p == '[' && set_end(p) != NULL))
			return true;
	}
	return false;
}

static int
glob_add(struct glob *g, const char *p, size_t n, const char *text,
    struct why *why)
{
	struct glob_part *part = &g->parts[g->n];

	if (g->n == GLOB_PARTS)
		return why_set(why, -EINVAL, "selector '%s': more than %d "
		    "components", text, GLOB_PARTS);
	if ((n == 1 && *p == '.') || (n == 2 && memcmp(p, "..", 2) == 0))
		return why_set(why, -EINVAL, "selector '%s': '.' and '..' are "
		    "not resolved: write the path without them", text);
	part->text = strndup(p, n);
	if (part->text == NULL)
		return -ENOMEM;
	g->n++;
	part->any = strcmp(part->text, "**") == 0;
	part->literal = !part_has_magic(part->text);
	if (part->literal)
		unescape(part->text);
	if (part->any && g->n > 1 && part[-1].any) {
		free(part->text);	/* two of them are one */
		g->n--;
	}
	return 0;
}

int
glob_new(const char *text, struct glob **ret, struct why *why)
{
	struct glob *g;
	const char *p = text;
	int err;

	g = calloc(1, sizeof(*g) + GLOB_PARTS * sizeof(g->parts[0]));
	if (g == NULL)
		return -ENOMEM;
	while (*p != '\0') {
		size_t n = strcspn(p, "/");

		if (n != 0) {
			err = glob_add(g, p, n, text, why);
			if (err != 0) {
				glob_free(g);
				return err;
			}
		}
		p += n + (p[n] == '/');
	}
	*ret = g;
	return 0;
}

void
glob_free(struct glob *g)
{
	if (g == NULL)
		return;
	for (unsigned i = 0; i < g->n; i++)
		free(g->parts[i].text);
	free(g);
}

/* `**` may stand for nothing, but at the end it is at least one. */
static glob_state
closure(const struct glob *g, glob_state s)
{
	for (unsigned i = 0; i + 1 < g->n; i++)
		if ((s >> i & 1) != 0 && g->parts[i].any)
			s |= UINT64_C(1) << (i + 1);
	return s;
}

glob_state
glob_start(const struct glob *g)
{
	return closure(g, 1);
}

glob_state
glob_step(const struct glob *g, glob_state s, const char *name)
{
	glob_state next = 0;

	for (unsigned i = 0; i < g->n; i++) {
		const struct glob_part *part = &g->parts[i];
		glob_state after = UINT64_C(1) << (i + 1);

		if ((s >> i & 1) == 0)
			continue;
		if (part->any)
			next |= UINT64_C(1) << i | (i + 1 == g->n ? after : 0);
		else if (part->literal ? strcmp(part->text, name) == 0 :
		    glob_name(part->text, name))
			next |= after;
	}
	return closure(g, next);
}

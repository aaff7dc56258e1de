/*
 * wire_store: what a store's calls make of a hostile service's answers
 * (wire.h), and what holds of every answer.
 *
 * The input's first byte says the call, its second some of what is asked;
 * answers follow from the first line's end.
 *
 *	l list	d list with a delimiter	h head	g get	r get of a range
 *	v get by version	p put	P put in parts	a put if absent
 *	m put by version	A, M the same in parts
 *	c copy	x delete	y delete by version
 */
#ifndef TEST_FUZZ_WIRE_STORE_H
#define TEST_FUZZ_WIRE_STORE_H

#include "wire.h"

#include "base/log.h"

enum { PAGES = 4, LARGE = 100, SMALL = 10 };

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)

int	__wrap_workers_submit(struct workers *w, enum work_prio prio,
	    void (*fn)(void *arg), void *arg);

/* Parts go one after the other: what an input does is always the same. */
int
__wrap_workers_submit(struct workers *w, enum work_prio prio,
    void (*fn)(void *arg), void *arg)
{
	return -1;
}

static inline int
wire_src_read(void *arg, void *buf, size_t n, uint64_t off)
{
	memset(buf, 'x', n);
	return (int)n;
}

/* Text of the struct is all there is of a version. */
static inline void
wire_version_holds(const struct store_version *v)
{
	HOLDS(memchr(v->text, '\0', sizeof v->text) != NULL);
	for (const char *p = v->text; *p != '\0'; p++)
		HOLDS((unsigned char)*p > ' ' && *p != 0x7f);
}

struct wire_page {
	const char	*last;		/* key before; NULL: the first */
	char		 text[STORE_KEY_MAX + 1];
};

static inline int
wire_each(void *arg, const struct store_entry *e)
{
	struct wire_page *l = arg;
	size_t n = strlen(e->key);

	HOLDS(n > 0 && n <= STORE_KEY_MAX);
	HOLDS(l->last == NULL || strcmp(l->last, e->key) <= 0);
	if (!e->is_prefix) {
		HOLDS(e->info.mtime >= 0);
		wire_version_holds(&e->info.version);
	}
	memcpy(l->text, e->key, n + 1);
	l->last = l->text;
	return 0;
}

static inline enum store_rc
wire_list(struct store *s, struct store_call *c, bool delimiter)
{
	struct store_list l = { .prefix = "", .delimiter = delimiter ? '/' :
	    '\0', .max = 8 };
	struct wire_page page;
	enum store_rc rc;

	for (unsigned i = 0; i < PAGES; i++) {
		page.last = NULL;
		rc = store_list(s, c, &l, wire_each, &page);
		if (rc != STORE_OK)
			return rc;
		HOLDS(memchr(l.token, '\0', sizeof l.token) != NULL);
		HOLDS(l.more == (l.token[0] != '\0'));
		if (!l.more)
			break;
	}
	return STORE_OK;
}

static inline int
wire_sink(void *arg, const void *p, size_t n)
{
	*(uint64_t *)arg += n;
	return 0;
}

static inline enum store_rc
wire_get(struct store *s, struct store_call *c, const char *key, uint64_t off,
    uint64_t len, const struct store_version *version)
{
	struct store_info info = { .size = 0 };
	uint64_t got = 0, want;
	enum store_rc rc;

	rc = store_get(s, c, key, version, off, len, wire_sink, &got, &info);
	if (rc == STORE_OK) {
		want = info.size > off ? info.size - off : 0;
		HOLDS(got == (len != 0 && len < want ? len : want));
		wire_version_holds(&info.version);
	}
	return rc;
}

static inline enum store_rc
wire_put(struct store *s, struct store_call *c, const char *key, char how,
    const struct store_version *version)
{
	struct store_src src = { .read = wire_src_read,
	    .size = how >= 'A' && how <= 'Z' ? LARGE : SMALL };
	struct store_info info = { .size = 0 };
	enum store_cond cond = how == 'a' || how == 'A' ? STORE_IF_ABSENT :
	    how == 'm' || how == 'M' ? STORE_IF_MATCH : STORE_ALWAYS;
	enum store_rc rc;

	rc = store_put(s, c, key, cond, version, &src, &info);
	/* A no is of the condition that was asked (L2). */
	HOLDS(rc != STORE_EXISTS || cond == STORE_IF_ABSENT);
	if (rc == STORE_OK)
		wire_version_holds(&info.version);
	return rc;
}

static inline enum store_rc
wire_call(struct store *s, struct store_call *c, char how, char more)
{
	const struct store_version version = { "e:\"7\"" }, number = { "e:7" };
	const struct store_version dated = { "d:10:1700000000" };
	const struct store_version *v = (more & 3) == 0 ? &version :
	    (more & 3) == 1 ? &number : &dated;
	const char *key = (more & 4) != 0 ? "a b/\xc3\xa9+%" : "k";
	struct store_info info = { .size = 0 };
	enum store_rc rc;

	switch (how) {
	case 'l':
	case 'd':
		return wire_list(s, c, how == 'd');
	case 'h':
		rc = store_head(s, c, key, &info);
		if (rc == STORE_OK)
			wire_version_holds(&info.version);
		return rc;
	case 'g':
		return wire_get(s, c, key, 0, 0, NULL);
	case 'r':
		return wire_get(s, c, key, 3, (more & 8) != 0 ? 0 : 5, v);
	case 'v':
		return wire_get(s, c, key, 0, 4, v);
	case 'c':
		return store_copy(s, c, key, (more & 8) != 0 ? v : NULL, "t",
		    &info);
	case 'x':
		return store_del(s, c, key, NULL);
	case 'y':
		return store_del(s, c, key, v);
	default:
		return wire_put(s, c, key, how, v);
	}
}

static inline void
wire_store(struct store *s, const uint8_t *p, size_t n)
{
	struct why why = { "" };
	struct store_call c = { .why = &why, .cancel = &wire.cancel,
	    .once = true };
	const uint8_t *nl = n > 2 ? memchr(p + 2, '\n', n - 2) : NULL;
	enum store_rc rc;

	if (nl == NULL)
		return;
	wire_begin(nl + 1, n - (size_t)(nl + 1 - p));
	rc = wire_call(s, &c, (char)p[0], (char)p[1]);
	HOLDS((unsigned)rc < STORE_RC_COUNT);
	HOLDS(memchr(why.text, '\0', sizeof why.text) != NULL);
	/* A failure says why; no to a condition, and that there is no such
	 * object, say it themselves, and who cancels knows. */
	if (rc != STORE_OK && rc != STORE_ABSENT && rc != STORE_EXISTS &&
	    rc != STORE_CHANGED && rc != STORE_CANCELLED)
		HOLDS(why.text[0] != '\0');
}

#endif

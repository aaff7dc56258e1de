/*
 * screen: see screen.h.  The upper part has always the same rows; what is
 * left of the terminal is shared by stores and pins, those first that want
 * attention.
 */
#include "tools/screen.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tools/output.h"

enum { BAR = 20 };

/* --- text --- */

/* The character at s: its bytes, and its columns.  What is no UTF-8 counts
 * one, and so does a control character: both are replaced. */
static size_t
character(const char *s, unsigned *retcols, bool *retbad)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 :
	    p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ?
	    4 : 0;
	uint32_t c = n < 2 ? p[0] : p[0] & (0xff >> (n + 1));
	size_t i;

	*retcols = 1;
	*retbad = n == 0;
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			*retbad = true;
			return 1;
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	/* C1 controls, and what turns the line around. */
	if (c < ' ' || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
	    (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
		*retbad = true;
	else if (c >= 0x1100)
		*retcols = c >= 0x2000 && c < 0x2e80 ? 1 : 2;
	return n == 0 ? 1 : n;
}

/* How many bytes of s fit into so many columns; *retcols is what they take. */
static size_t
fit(const char *s, unsigned cols, unsigned *retcols)
{
	unsigned have = 0, wide;
	size_t n = 0, len;
	bool bad;

	while (s[n] != '\0') {
		len = character(s + n, &wide, &bad);
		if (have + wide > cols)
			break;
		have += wide;
		n += len;
	}
	*retcols = have;
	return n;
}

/* Makes s harmless, in place. */
static void
clean(char *s)
{
	unsigned wide;
	char *to = s;
	size_t len;
	bool bad;

	while (*s != '\0') {
		len = character(s, &wide, &bad);
		if (bad)
			*to++ = '?';
		else
			to = (char *)memmove(to, s, len) + len;
		s += len;
	}
	*to = '\0';
}

static void add(struct screen *s, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));

static void
add(struct screen *s, const char *fmt, ...)
{
	char *text = NULL;
	unsigned cols;
	va_list ap;

	if (s->n == SCREEN_ROWS_MAX || (s->rows != 0 && s->n == s->rows))
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		s->err = -ENOMEM;
	}
	va_end(ap);
	if (text == NULL)
		return;
	clean(text);
	if (s->rows != 0)
		text[fit(text, s->cols, &cols)] = '\0';
	s->lines[s->n++] = text;
}

void
screen_clear(struct screen *s)
{
	unsigned i;

	for (i = 0; i < s->n; i++)
		free(s->lines[i]);
	s->n = 0;
	s->err = 0;
}

/* A reason on a line of its own, where there is one. */
static void
add_why(struct screen *s, const char *why)
{
	if (*why != '\0')
		add(s, "         %s", why);
}

static void
bar(int64_t have, int64_t want, char ret[BAR + 1])
{
	double part = want > 0 ? (double)have / (double)want : 0;
	int n = part >= 1 ? BAR : part > 0 ? (int)(part * BAR) : 0;

	if (n == 0 && have > 0)
		n = 1;
	memset(ret, '.', BAR);
	memset(ret, '#', (size_t)n);
	ret[BAR] = '\0';
}

/* --- the upper part --- */

static void
add_head(struct screen *s, const struct screen_head *h, const json_t *o)
{
	char clock[16], every[16], several[64] = "", right[80], *left = NULL;
	time_t secs = (time_t)(h->now / NSEC_PER_SEC);
	unsigned cols, width = s->rows != 0 ? s->cols : 79;
	struct tm tm;
	size_t n;

	localtime_r(&secs, &tm);
	strftime(clock, sizeof clock, "%H:%M:%S", &tm);
	if (h->of > 1)
		snprintf(several, sizeof several, "  (%u of %u%s)", h->nth,
		    h->of, *h->keys != '\0' ? ", n: next" : "");
	snprintf(right, sizeof right, "  %s  every %s%s%s", clock,
	    out_time(h->interval, every), *h->keys != '\0' ? "  " : "",
	    h->keys);
	if (asprintf(&left, "gnsfs    %s%s", get_str(o, "name"),
	    several) < 0) {
		s->err = -ENOMEM;
		return;
	}
	clean(left);
	/* The right side stays whole as long as there is room for it. */
	n = fit(left, width > strlen(right) ? width -
	    (unsigned)strlen(right) : width, &cols);
	add(s, "%.*s%*s%s", (int)n, left, cols + strlen(right) < width ?
	    (int)(width - cols - strlen(right)) : 0, "", right);
	free(left);
	add(s, "mount    %s", h->dir);
	add(s, "home     %s", get_str(o, "url"));
}

static void
add_state(struct screen *s, const json_t *o)
{
	const json_t *log = json_object_get(o, "log");
	const json_t *p = json_object_get(o, "pending");
	int64_t landed = get_int(log, "last_landed_age");
	char a[16], b[16];

	add(s, "state    %s, %s; pid %lld, up for %s, %s at most in memory",
	    get_str(o, "write_state"), get_str(log, "state"),
	    (long long)get_int(o, "pid"), out_time(get_int(o, "uptime"), a),
	    out_size((uint64_t)get_int(o, "peak_memory"), b));
	add_why(s, get_str(o, "why"));
	add(s, "log      at %lld, session %lld, %s%s%s",
	    (long long)get_int(log, "lsn"),
	    (long long)get_int(json_object_get(o, "session"), "number"),
	    landed > 0 ? "the last change landed " : "none landed yet",
	    landed > 0 ? out_time(landed, a) : "", landed > 0 ? " ago" : "");
	if (get_int(p, "ops") == 0 && get_int(p, "bytes") == 0) {
		add(s, "waiting  nothing: all is stored");
		return;
	}
	add(s, "waiting  %lld changes, %s, the oldest %s old",
	    (long long)get_int(p, "ops"),
	    out_size((uint64_t)get_int(p, "bytes"), a),
	    out_time(get_int(p, "oldest_age"), b));
	add_why(s, get_str(p, "why"));
}

static void
add_cache(struct screen *s, const json_t *o)
{
	const json_t *c = json_object_get(o, "cache");
	const json_t *u = json_object_get(o, "uploads");
	char a[16], b[16], d[16], text[BAR + 1];

	bar(get_int(c, "used"), get_int(c, "limit"), text);
	add(s, "cache    [%s] %s of %s, %s not stored", text,
	    out_size((uint64_t)get_int(c, "used"), a),
	    out_size((uint64_t)get_int(c, "limit"), b),
	    out_size((uint64_t)get_int(c, "dirty"), d));
	add(s, "         %s pinned, %s reserved, %s free on its disk",
	    out_size((uint64_t)get_int(c, "pinned"), a),
	    out_size((uint64_t)get_int(c, "reserved"), b),
	    out_size((uint64_t)get_int(c, "disk_free"), d));
	add_why(s, get_str(c, "why"));
	add(s, "uploads  %lld under way, %lld waiting, %s left",
	    (long long)get_int(u, "active"), (long long)get_int(u, "waiting"),
	    out_size((uint64_t)get_int(u, "bytes_left"), a));
	add_why(s, get_str(u, "why"));
}

/* --- rates --- */

struct rates {
	const json_t	*now, *before;	/* counters */
	double		 secs;
};

static double
rate(const struct rates *r, const char *name)
{
	int64_t d = get_int(r->now, name) - get_int(r->before, name);

	return d > 0 && r->secs > 0 ? (double)d / r->secs : 0;
}

static const char *
size_rate(const struct rates *r, const char *name, char ret[16])
{
	return out_size((uint64_t)rate(r, name), ret);
}

static void
add_rates(struct screen *s, const json_t *now, const json_t *before,
    int64_t ns)
{
	struct rates r = { json_object_get(now, "counters"),
	    json_object_get(before, "counters"), (double)ns / NSEC_PER_SEC };
	char a[16], b[16];

	/* Another daemon counts from zero. */
	if (before == NULL || get_int(now, "pid") != get_int(before, "pid")) {
		add(s, "rates    after the next look");
		add(s, "%s", "");
		add(s, "%s", "");
		return;
	}
	add(s, "reads    %.0f requests/s, %.0f/s from the cache, %.0f/s waited "
	    "for a fill", rate(&r, "fuse_requests"), rate(&r, "cache_hits"),
	    rate(&r, "fill_waits"));
	add(s, "fills    %s/s, %.0f changes/s, %.1f uploads/s, %.1f packs/s",
	    size_rate(&r, "fill_bytes", a), rate(&r, "ops_journalled"),
	    rate(&r, "uploads_done"), rate(&r, "packs_written"));
	add(s, "traffic  %s/s in, %s/s out, %.0f requests/s, %.1f again, "
	    "%.1f failed", size_rate(&r, "store_bytes_in", a),
	    size_rate(&r, "store_bytes_out", b), rate(&r, "store_requests"),
	    rate(&r, "store_retries"), rate(&r, "store_errors"));
}

/* --- stores and pins --- */

static void
add_store(struct screen *s, const json_t *o)
{
	char age[16];

	if (get_bool(o, "up"))
		add(s, "  %-14s up    %s", get_str(o, "name"), get_str(o,
		    "url"));
	else
		add(s, "  %-14s DOWN  for %s: %s", get_str(o, "name"),
		    out_time(get_int(o, "since_age"), age), get_str(o,
		    "why"));
}

static void
add_pin(struct screen *s, const json_t *o)
{
	char a[16], b[16], c[16], text[BAR + 1], name[64];
	unsigned cols;
	size_t n = fit(get_str(o, "name"), 20, &cols);

	snprintf(name, sizeof name, "%.*s%*s", (int)(n < 60 ? n : 60),
	    get_str(o, "name"), 20 - (int)cols, "");
	bar(get_int(o, "have"), get_int(o, "want"), text);
	add(s, "  %s [%s] %s of %s, %s%s%s%s%s", name, text,
	    out_size((uint64_t)get_int(o, "have"), a),
	    out_size((uint64_t)get_int(o, "want"), b), get_str(o, "state"),
	    get_int(o, "eta") > 0 ? ", " : "", get_int(o, "eta") > 0 ?
	    out_time(get_int(o, "eta"), c) : "", *get_str(o, "why") != '\0' ?
	    ": " : "", get_str(o, "why"));
}

static bool
store_wants(const json_t *o)
{
	return !get_bool(o, "up");
}

static bool
pin_wants(const json_t *o)
{
	return get_int(o, "have") < get_int(o, "want") ||
	    *get_str(o, "why") != '\0';
}

struct list {
	const char	*name, *trouble; /* "stores", "down" */
	bool		(*wants)(const json_t *o);	/* attention */
	void		(*show)(struct screen *s, const json_t *o);
};
static const struct list stores_list = { "stores", "down", store_wants,
	add_store };
static const struct list pins_list = { "pins", "not whole", pin_wants,
	add_pin };

/* In at most so many rows, its title among them; first who wants. */
static void
add_list(struct screen *s, const struct list *l, const json_t *all,
    unsigned rows)
{
	size_t n = json_array_size(all), shown = 0, want = 0, i, room;
	const json_t *o;
	int pass;

	json_array_foreach(all, i, o)
		want += l->wants(o);
	add(s, "%-8s %zu, %zu %s", l->name, n, want, l->trouble);
	room = s->rows == 0 ? n : rows > 1 ? rows - 1 : 0;
	if (room < n && room > 0)
		room--;		/* for how many more there are */
	for (pass = 0; pass < 2; pass++) {
		json_array_foreach(all, i, o) {
			if (l->wants(o) != (pass == 0) || shown >= room)
				continue;
			l->show(s, o);
			shown++;
		}
	}
	if (shown < n && rows > 1)
		add(s, "  and %zu more", n - shown);
}

void
screen_fill(struct screen *s, const struct screen_head *h, const json_t *now,
    const json_t *before, int64_t ns)
{
	const json_t *stores = json_object_get(now, "stores");
	const json_t *pins = json_object_get(now, "pins");
	unsigned left, for_stores, nstores, npins;

	add_head(s, h, now);
	if (json_object_get(now, "log") == NULL) {	/* nobody answered */
		add(s, "state    %s", get_str(now, "write_state"));
		add_why(s, get_str(now, "why"));
		return;
	}
	add_state(s, now);
	add_cache(s, now);
	add_rates(s, now, before, ns);
	left = s->rows > s->n ? s->rows - s->n : 0;
	/* Each has what it needs, or half, or what the other leaves. */
	nstores = (unsigned)json_array_size(stores) + 1;
	npins = (unsigned)json_array_size(pins) + 1;
	for_stores = nstores + npins <= left || nstores <= left / 2 ?
	    nstores : npins < left / 2 ? left - npins : left / 2;
	add_list(s, &stores_list, stores, for_stores);
	add_list(s, &pins_list, pins, left > for_stores ? left - for_stores :
	    0);
}

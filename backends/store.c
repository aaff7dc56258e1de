/*
 * store: what is the same for every store: the names of results, and the
 * small conveniences over the operations.
 */
#include "backends/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "base/buf.h"
#include "base/clock.h"

static const struct { const char *name; int err; } rcs[STORE_RC_COUNT] = {
	[STORE_OK] = { "ok", 0 },
	[STORE_EXISTS] = { "exists", -EEXIST },
	[STORE_CHANGED] = { "changed", -ESTALE },
	[STORE_ABSENT] = { "absent", -ENOENT },
	[STORE_AMBIGUOUS] = { "ambiguous", -EIO },
	[STORE_THROTTLED] = { "throttled", -EAGAIN },
	[STORE_DENIED] = { "denied", -EACCES },
	[STORE_UNREACHABLE] = { "unreachable", -EHOSTUNREACH },
	[STORE_NOSPACE] = { "nospace", -ENOSPC },
	[STORE_UNSUPPORTED] = { "unsupported", -EOPNOTSUPP },
	[STORE_BROKEN] = { "broken", -EIO },
	[STORE_INVALID] = { "invalid", -EINVAL },
	[STORE_CANCELLED] = { "cancelled", -ECANCELED },
	[STORE_NOMEM] = { "nomem", -ENOMEM },
};

const char *
store_rc_name(enum store_rc rc)
{
	return (unsigned)rc < STORE_RC_COUNT ? rcs[rc].name : "unknown";
}

int
store_rc_errno(enum store_rc rc)
{
	return (unsigned)rc < STORE_RC_COUNT ? rcs[rc].err : -EIO;
}

enum store_rc
store_rc_parse(const char *name, size_t n)
{
	unsigned rc;

	for (rc = 0; rc < STORE_RC_COUNT; rc++)
		if (strlen(rcs[rc].name) == n &&
		    memcmp(rcs[rc].name, name, n) == 0)
			break;
	return rc;
}

void
store_free(struct store *s)
{
	if (s != NULL)
		s->ops->free(s);
}

enum store_rc
call_check(struct store_call *c)
{
	if (c == NULL)
		return STORE_OK;
	if (c->cancel != NULL && atomic_load_explicit(c->cancel,
	    memory_order_acquire))
		return STORE_CANCELLED;
	if (c->deadline != 0 && clock_mono() >= c->deadline) {
		why_set(c->why, 0, "the time allowed for it is over");
		return STORE_UNREACHABLE;
	}
	return STORE_OK;
}

enum store_rc
call_sleep(struct store_call *c, int64_t ns)
{
	const int64_t step = 20 * NSEC_PER_MSEC;
	int64_t until = clock_mono() + ns, left;
	enum store_rc rc;

	for (;;) {
		if ((rc = call_check(c)) != STORE_OK)
			return rc;
		if ((left = until - clock_mono()) <= 0)
			return STORE_OK;
		clock_sleep(left < step ? left : step);
	}
}

struct gather {
	struct buf	*out;
	size_t		 max;
	bool		 over;
};

static int
gather_sink(void *arg, const void *p, size_t n)
{
	struct gather *g = arg;

	if (n > g->max - g->out->len) {
		g->over = true;
		return 1;
	}
	buf_put(g->out, p, n);
	return buf_err(g->out);
}

enum store_rc
store_get_all(struct store *s, struct store_call *c, const char *key,
    size_t max, struct buf *out, struct store_info *ret)
{
	struct gather g = { .out = out, .max = max };
	enum store_rc rc;

	buf_reset(out);
	rc = store_get(s, c, key, NULL, 0, 0, gather_sink, &g, ret);
	if (g.over || buf_err(out) == -EFBIG) {
		why_set(call_why(c), 0, "%s: '%s' is larger than the %zu bytes"
		    " that it may have", s->url, key, max);
		return STORE_BROKEN;
	}
	if (buf_err(out) != 0)
		return STORE_NOMEM;
	return rc;
}

static int
mem_read(void *arg, void *buf, size_t n, uint64_t off)
{
	const struct store_mem *m = arg;

	if (off >= m->n)
		return 0;
	if (n > m->n - off)
		n = m->n - off;
	if (n > INT32_MAX)
		n = INT32_MAX;
	memcpy(buf, (const char *)m->p + off, n);
	return (int)n;
}

struct store_src
store_src_mem(struct store_mem *m)
{
	return (struct store_src){ .size = m->n, .read = mem_read, .arg = m };
}

enum store_rc
store_put_mem(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match, const void *p,
    size_t n, struct store_info *ret)
{
	struct store_mem m = { p, n };
	struct store_src src = store_src_mem(&m);

	return store_put(s, c, key, cond, match, &src, ret);
}

/*
 * retry: calls again what failed for a while, within a deadline, and turns an
 * unclear write into a yes or a no wherever the store tells.
 *
 * What is tried again: THROTTLED and UNREACHABLE until the deadline, and so
 * what may be there (below); else BROKEN and AMBIGUOUS eight times without
 * progress (a pull also where it may be there).  The rest is an answer.
 * Between attempts a random pause of up to 50 ms, 100 ms .. 2 s (full jitter:
 * hosts that failed together must not come back together).  A pause that would
 * end past the deadline is not begun.
 *
 * get goes on where it was: after the first byte it names the version that
 * the first attempt saw (B5), and no byte is delivered twice.  list hands a
 * page on when it is whole, so no entry is delivered twice.
 *
 * A write that was AMBIGUOUS *may be there* from then on, and no later answer
 * alone can say that it is not: what is no yes or no by the table is
 * AMBIGUOUS in the end, also after a cancel or a deadline.  "Look" is HEAD,
 * then, where the size is ours, GET of that version compared with the
 * source's bytes, however large: it costs no more than sending them again,
 * and a size says nothing about who wrote.
 *
 *  call           answer, once it may be there   then
 *  put if absent  AMBIGUOUS, EXISTS              look: no object: again
 *                                                ours: OK; another: EXISTS
 *  put if match v AMBIGUOUS, CHANGED, ABSENT     look: still v: again
 *                                                ours, not v: OK
 *                                                another or none: AMBIGUOUS
 *                                                (ours may have been there
 *                                                 before it)
 *  put always     AMBIGUOUS                      again: the same bytes
 *  del            AMBIGUOUS                      again: absent is OK
 *  del if v       AMBIGUOUS, CHANGED             head: none: OK; still v:
 *                                                again; another: CHANGED
 *                                                (v is gone, that one stays)
 *  copy           AMBIGUOUS                      again: the same version;
 *                                                the source gone: AMBIGUOUS
 *  pull           AMBIGUOUS                      the same; EXISTS, then, may
 *                                                be of it or another's; but
 *                                                where one that ends late is
 *                                                put over what is there (not
 *                                                STORE_PULL_KEEPS): AMBIGUOUS
 *  any of them    THROTTLED, UNREACHABLE,        again; at the end AMBIGUOUS
 *                 BROKEN
 *  any of them    DENIED, NOSPACE, ...           AMBIGUOUS
 *
 * "Again" is safe: a put if absent or if match that lands late meets the
 * second one's object, and so does a pull that is made again; the rest is the
 * same twice.
 *
 * A call with `once` is made one time and its answer given as it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "backends/page.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"

enum { BROKEN_MAX = 8, COMPARE_STEP = 256 << 10 };

static const int64_t pause_max = 2 * NSEC_PER_SEC;

struct retry {
	struct store	 store;
	struct store	*below;		/* owned */
	int64_t		 deadline, first_pause;
};

/* One call and its attempts. */
struct effort {
	struct retry	*r;
	struct store_call call;		/* what the attempts are given */
	struct why	*why;		/* the caller's; may be NULL */
	struct why	 said;		/* by the attempt at hand */
	unsigned	 attempts, broken;
	int64_t		 pause;
	bool		 maybe;		/* a write may be there */
	bool		 other_way;	/* the caller has one, so that what
					   fails again and again is given up */
};

static void
effort_begin(struct effort *e, struct store *s, struct store_call *c)
{
	struct retry *r = (struct retry *)s;

	memset(e, 0, sizeof(*e));
	e->r = r;
	if (c != NULL)
		e->call = *c;
	e->why = e->call.why;
	e->call.why = &e->said;
	if (e->call.deadline == 0)
		e->call.deadline = clock_mono() + r->deadline;
	e->pause = r->first_pause;
}

/* Before each attempt.  The call's own deadline is looked at only between
 * attempts and by the layers below, so that a first one is always made. */
static void
attempt_begin(struct effort *e)
{
	e->said.text[0] = '\0';
	if (e->attempts++ > 0)
		counter_add(store_retries, 1);
}

/* Something was achieved since the last failure. */
static void
effort_progress(struct effort *e)
{
	e->broken = 0;
	e->pause = e->r->first_pause;
}

/* Is another attempt to be made after rc?  Pauses before it says yes. */
static bool
again(struct effort *e, enum store_rc rc)
{
	struct store_call quiet = e->call;
	int64_t pause;

	switch (rc) {
	case STORE_THROTTLED:
	case STORE_UNREACHABLE:
		break;
	case STORE_BROKEN:
	case STORE_AMBIGUOUS:
		if ((!e->maybe || e->other_way) && ++e->broken >= BROKEN_MAX)
			return false;
		break;
	default:
		return false;
	}
	if (e->call.once)
		return false;
	pause = (int64_t)(random_u64() % (uint64_t)(e->pause + 1));
	if (e->pause < pause_max)
		e->pause = e->pause * 2 < pause_max ? e->pause * 2 : pause_max;
	if (clock_mono() + pause >= e->call.deadline)
		return false;
	quiet.why = NULL;	/* what the attempt said is the reason */
	return call_sleep(&quiet, pause) == STORE_OK;
}

/* The result for the caller, with its reason. */
static enum store_rc
effort_end(struct effort *e, enum store_rc rc)
{
	if (rc != STORE_OK && !e->call.once && e->maybe)
		rc = STORE_AMBIGUOUS;
	else if ((rc == STORE_UNREACHABLE || rc == STORE_THROTTLED ||
	    rc == STORE_BROKEN) && e->call.cancel != NULL &&
	    atomic_load_explicit(e->call.cancel, memory_order_acquire))
		rc = STORE_CANCELLED;
	if (rc == STORE_UNREACHABLE || rc == STORE_BROKEN ||
	    rc == STORE_THROTTLED || rc == STORE_AMBIGUOUS)
		counter_add(store_errors, 1);
	if (rc == STORE_OK || e->said.text[0] == '\0')
		return rc;
	if (e->attempts > 1)
		why_set(e->why, 0, "%s (tried %u times)", e->said.text,
		    e->attempts);
	else
		why_set(e->why, 0, "%s", e->said.text);
	return rc;
}

/* An end that is certain, whatever may be there. */
static enum store_rc
effort_sure(struct effort *e, enum store_rc rc)
{
	e->maybe = false;
	return effort_end(e, rc);
}

/* --- get --- */

struct getting {
	store_sink	*sink;
	void		*arg;
	uint64_t	 done;		/* bytes delivered in all */
	bool		 stopped;	/* by the sink */
};

static int
get_sink(void *arg, const void *p, size_t n)
{
	struct getting *g = arg;

	if (g->sink(g->arg, p, n) != 0) {
		g->stopped = true;
		return 1;
	}
	g->done += n;
	return 0;
}

/* How many bytes a get of [off, off+len) of an object of size has. */
static uint64_t
range_size(uint64_t size, uint64_t off, uint64_t len)
{
	uint64_t most = off < size ? size - off : 0;

	return len == 0 || len > most ? most : len;
}

/* The failure that a get's end was lost with, all bytes being here: no harm.
 * BROKEN is not one: it may be a checksum that was wrong. */
static bool
only_the_end(enum store_rc rc)
{
	return rc == STORE_UNREACHABLE || rc == STORE_THROTTLED ||
	    rc == STORE_AMBIGUOUS;
}

/* What of [off, off+len) is left after done bytes, as a get's len; false:
 * nothing is.  Without info the object's end is not known. */
static bool
range_left(const struct store_info *info, uint64_t off, uint64_t len,
    uint64_t done, uint64_t *retleft)
{
	if (version_given(&info->version))
		len = range_size(info->size, off, len);
	else if (len == 0) {
		*retleft = 0;
		return true;
	}
	*retleft = len > done ? len - done : 0;
	return *retleft > 0;
}

/*
 * Gets until it is whole.  info is what is known of the object, its version
 * "" while nothing is: the first attempt that brought a byte, or the last.
 */
static enum store_rc
get_whole(struct effort *e, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    struct getting *g, struct store_info *info)
{
	const struct store_version *pin = version;
	struct store_info seen;
	uint64_t before, left = len;
	enum store_rc rc;
	bool more;

	do {
		before = g->done;
		memset(&seen, 0, sizeof(seen));
		attempt_begin(e);
		rc = store_get(e->r->below, &e->call, key, pin, off + before,
		    left, get_sink, g, &seen);
		if (g->stopped)
			return STORE_CANCELLED;
		if ((g->done > before || rc == STORE_OK) &&
		    !version_given(&info->version))
			*info = seen;
		if (!version_given(pin) && g->done > 0)
			pin = &info->version;
		more = range_left(info, off, len, g->done, &left);
		if (rc == STORE_OK && (e->call.once || !more ||
		    !version_given(&info->version)))
			return rc;
		if (rc == STORE_OK) {
			why_set(&e->said, 0, "'%s' ended early", key);
			rc = STORE_BROKEN;
		}
		if (g->done > before)
			effort_progress(e);
		if (g->done > 0 && !more)
			return only_the_end(rc) ? STORE_OK : rc;
		if (g->done > 0 && !version_given(pin))
			return rc;	/* of what would it go on? */
	} while (again(e, rc));
	return rc;
}

static enum store_rc
retry_get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct getting g = { .sink = sink, .arg = arg };
	struct store_info info;
	struct effort e;
	enum store_rc rc;

	memset(&info, 0, sizeof(info));
	effort_begin(&e, s, c);
	rc = get_whole(&e, key, version, off, len, &g, &info);
	if (ret != NULL && (rc == STORE_OK || g.done > 0))
		*ret = info;
	return effort_end(&e, rc);
}

static enum store_rc
retry_head(struct store *s, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct effort e;
	enum store_rc rc;

	effort_begin(&e, s, c);
	do {
		attempt_begin(&e);
		rc = store_head(e.r->below, &e.call, key, ret);
	} while (again(&e, rc));
	return effort_end(&e, rc);
}

/* --- list --- */

static enum store_rc
retry_list(struct store *s, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct page page = PAGE_INIT;
	struct store_entry entry;
	struct store_list next;
	struct effort e;
	enum store_rc rc;
	size_t i;

	effort_begin(&e, s, c);
	do {
		attempt_begin(&e);
		page_reset(&page);
		next = *l;
		rc = store_list(e.r->below, &e.call, &next, page_add, &page);
		if (page.nomem)
			rc = STORE_NOMEM;
	} while (again(&e, rc));
	/* else such a list never ends */
	if (rc == STORE_OK && next.more && l->token[0] != '\0' &&
	    strcmp(next.token, l->token) == 0) {
		why_set(&e.said, 0, "%s answers LIST with one page again and "
		    "again: it says where to go on, and that is where it "
		    "was", s->url);
		rc = STORE_BROKEN;
	}
	if (rc == STORE_OK) {
		*l = next;
		for (i = 0; i < page.n && rc == STORE_OK; i++) {
			page_entry(&page, i, &entry);
			if (each(arg, &entry) != 0)
				rc = STORE_CANCELLED;
		}
	}
	page_done(&page);
	return effort_end(&e, rc);
}

/* --- put --- */

enum look { LOOK_NONE, LOOK_OURS, LOOK_OTHER, LOOK_UNKNOWN };

struct comparing {
	const struct store_src *src;
	char		*buf;		/* COMPARE_STEP bytes; owned */
	uint64_t	 at;
	bool		 differs, failed;
};

static int
compare_sink(void *arg, const void *p, size_t n)
{
	struct comparing *k = arg;
	size_t step;
	int got;

	for (; n > 0; n -= got, p = (const char *)p + got, k->at += got) {
		step = n < COMPARE_STEP ? n : COMPARE_STEP;
		got = k->src->read(k->src->arg, k->buf, step, k->at);
		if (got <= 0) {
			k->failed = true;
			return 1;
		}
		if (memcmp(p, k->buf, got) != 0) {
			k->differs = true;
			return 1;
		}
	}
	return 0;
}

/* Is what info tells of, at key, made of src's bytes? */
static enum look
compare(struct effort *e, const char *key, const struct store_src *src,
    const struct store_info *info)
{
	struct comparing k = { .src = src };
	enum store_rc rc;

	if (info->size != src->size)
		return LOOK_OTHER;
	if (src->size == 0)
		return LOOK_OURS;
	if ((k.buf = malloc(COMPARE_STEP)) == NULL)
		return LOOK_UNKNOWN;
	rc = retry_get(&e->r->store, &e->call, key, &info->version, 0, 0,
	    compare_sink, &k, NULL);
	free(k.buf);
	if (k.differs)
		return LOOK_OTHER;
	return rc == STORE_OK && !k.failed && k.at == src->size ? LOOK_OURS :
	    LOOK_UNKNOWN;
}

/* What is there now, after a put that may be there. */
static enum look
look(struct effort *e, const char *key, const struct store_src *src,
    struct store_info *ret)
{
	enum store_rc rc;

	rc = retry_head(&e->r->store, &e->call, key, ret);
	if (rc == STORE_ABSENT)
		return LOOK_NONE;
	return rc == STORE_OK ? compare(e, key, src, ret) : LOOK_UNKNOWN;
}

static bool
same_version(const struct store_version *a, const struct store_version *b)
{
	return version_given(a) && strcmp(a->text, b->text) == 0;
}

/* After an unclear conditional put.  True: *rc is the end of it; false: what
 * *rc is, AMBIGUOUS where it is not known, is reason to try again. */
static bool
resolve_put(struct effort *e, const char *key, enum store_cond cond,
    const struct store_version *match, const struct store_src *src,
    struct store_info *info, enum store_rc *rc)
{
	enum look found = look(e, key, src, info);

	*rc = STORE_AMBIGUOUS;
	if (found == LOOK_UNKNOWN)
		return false;
	if (cond == STORE_IF_MATCH) {
		if (found != LOOK_NONE && same_version(match, &info->version))
			return false;
		*rc = found == LOOK_OURS ? STORE_OK : STORE_AMBIGUOUS;
		return true;
	}
	if (found == LOOK_NONE)
		return false;
	*rc = found == LOOK_OURS ? STORE_OK : STORE_EXISTS;
	return true;
}

static enum store_rc
retry_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct store_info info;
	struct effort e;
	enum store_rc rc;
	bool no;

	memset(&info, 0, sizeof(info));
	effort_begin(&e, s, c);
	do {
		attempt_begin(&e);
		rc = store_put(e.r->below, &e.call, key, cond, match, src,
		    &info);
		if (rc == STORE_OK || e.call.once)
			break;
		if (rc == STORE_AMBIGUOUS)
			e.maybe = true;
		no = cond == STORE_IF_ABSENT ? rc == STORE_EXISTS :
		    cond == STORE_IF_MATCH && (rc == STORE_CHANGED ||
		    rc == STORE_ABSENT);
		if (no && (!e.maybe || e.call.probe)) {
			e.maybe = false;
			break;
		}
		if (cond != STORE_ALWAYS && !e.call.probe &&
		    (no || rc == STORE_AMBIGUOUS) &&
		    resolve_put(&e, key, cond, match, src, &info, &rc)) {
			e.maybe = rc == STORE_AMBIGUOUS;
			break;
		}
	} while (again(&e, rc));
	if (rc == STORE_OK && ret != NULL)
		*ret = info;
	return effort_end(&e, rc);
}

/* --- del, copy --- */

/* After an unclear del if v; as resolve_put. */
static bool
resolve_del(struct effort *e, const char *key,
    const struct store_version *match, enum store_rc *rc)
{
	struct store_info info;
	enum store_rc found;

	found = retry_head(&e->r->store, &e->call, key, &info);
	*rc = STORE_AMBIGUOUS;
	if (found == STORE_ABSENT)
		*rc = STORE_OK;
	else if (found == STORE_OK && !same_version(match, &info.version))
		*rc = STORE_CHANGED;
	return *rc != STORE_AMBIGUOUS;
}

static enum store_rc
retry_del(struct store *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct effort e;
	enum store_rc rc;

	effort_begin(&e, s, c);
	do {
		attempt_begin(&e);
		rc = store_del(e.r->below, &e.call, key, match);
		if (rc == STORE_OK || e.call.once)
			break;
		if (rc == STORE_AMBIGUOUS)
			e.maybe = true;
		if (e.maybe && version_given(match) &&
		    (rc == STORE_AMBIGUOUS || rc == STORE_CHANGED) &&
		    resolve_del(&e, key, match, &rc))
			return effort_sure(&e, rc);
	} while (again(&e, rc));
	return effort_end(&e, rc);
}

static enum store_rc
retry_copy(struct store *s, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct effort e;
	enum store_rc rc;

	effort_begin(&e, s, c);
	do {
		attempt_begin(&e);
		rc = store_copy(e.r->below, &e.call, from, version, to, ret);
		if (rc == STORE_AMBIGUOUS)
			e.maybe = true;
	} while (rc != STORE_OK && again(&e, rc));
	return effort_end(&e, rc);
}

static enum store_rc
retry_pull(struct store *s, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	bool keeps = (store_caps(s) & STORE_PULL_KEEPS) != 0;
	struct effort e;
	enum store_rc rc;

	effort_begin(&e, s, c);
	e.other_way = true;	/* store_relay() */
	do {
		attempt_begin(&e);
		rc = store_pull(e.r->below, &e.call, from, key, version, to,
		    ret);
		if (rc == STORE_AMBIGUOUS)
			e.maybe = true;
		/* whoever made it: the caller compares */
		if (rc == STORE_EXISTS)
			return effort_sure(&e, rc);
	} while (rc != STORE_OK && (keeps || !e.maybe) && again(&e, rc));
	return effort_end(&e, rc);
}

static enum store_rc
retry_tags(struct store *s, struct store_call *c, const char *key,
    struct buf *ret)
{
	size_t before = ret->len;
	struct effort e;
	enum store_rc rc;

	effort_begin(&e, s, c);
	do {
		attempt_begin(&e);
		ret->len = before;
		rc = store_tags(e.r->below, &e.call, key, ret);
	} while (again(&e, rc));
	return effort_end(&e, rc);
}

/* --- the layer --- */

static struct store *
retry_bare(struct store *s)
{
	return store_bare(((struct retry *)s)->below);
}

static unsigned
retry_caps(struct store *s)
{
	return store_caps(((struct retry *)s)->below);
}

static void
retry_free(struct store *s)
{
	struct retry *r = (struct retry *)s;

	store_free(r->below);
	free(r);
}

static const struct store_ops retry_ops = {
	.get = retry_get, .put = retry_put, .head = retry_head,
	.del = retry_del, .list = retry_list, .copy = retry_copy,
	.pull = retry_pull, .tags = retry_tags, .caps = retry_caps,
	.bare = retry_bare, .free = retry_free,
};

int
retry_layer(struct store *below, const struct retry_opts *o,
    struct store **ret)
{
	struct retry *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		store_free(below);
		return -ENOMEM;
	}
	r->store.ops = &retry_ops;
	r->store.url = below->url;
	r->below = below;
	r->deadline = o != NULL && o->deadline > 0 ? o->deadline :
	    30 * NSEC_PER_SEC;
	r->first_pause = o != NULL && o->first_pause > 0 ? o->first_pause :
	    50 * NSEC_PER_MSEC;
	*ret = &r->store;
	return 0;
}

/* See window.h. */
#include "fs/window.h"

#include "base/clock.h"

#define NEAR		((uint64_t)24 << 20) /* in parallel, disordered */
#define NEAR_NEW	((uint64_t)8 << 20)	/* of one that may be none */
#define LARGE		(64u << 10)	/* no page of a database */
#define WHOLE_STEP	((uint64_t)8 << 20)	/* of a fetch of all */
#define HICCUP		(200 * NSEC_PER_MSEC)	/* to be read through, */
#define STEP_MIN	((uint64_t)1 << 20)
#define STEP_MAX	((uint64_t)8 << 20)
#define HICCUP_MAX	(48. * (1 << 20))	/* with so many bytes at most */
#define FAR		(10 * NSEC_PER_MSEC)
#define SAMPLE		(50 * NSEC_PER_MSEC)	/* of bodies under way */

/* --- streams --- */

static uint64_t
distance(const struct window_stream *s, uint64_t off)
{
	return off > s->next ? off - s->next : s->next - off;
}

/* The one that the read goes on with, or the one that it replaces. */
static struct window_stream *
stream_of(struct window_streams *s, uint64_t off, bool *retfound)
{
	struct window_stream *near = NULL, *oldest = &s->v[0];
	unsigned i;

	for (i = 0; i < WINDOW_STREAMS; i++) {
		struct window_stream *w = &s->v[i];

		if (w->used < oldest->used)
			oldest = w;
		if (w->used == 0 && i > 0)
			continue;	/* nobody; the first begins at 0 */
		if (distance(w, off) <= (w->window > 0 ? NEAR : NEAR_NEW) &&
		    (near == NULL || distance(w, off) < distance(near, off)))
			near = w;
	}
	*retfound = near != NULL;
	return near != NULL ? near : oldest;
}

uint64_t
window_read(struct window_streams *s, uint64_t off, size_t n, uint64_t most)
{
	bool found;
	struct window_stream *w = stream_of(s, off, &found);

	w->used = ++s->turns;
	if (!found) {
		w->window = 0;
		w->next = off + n;
		return 0;
	}
	if (off + n > w->next) {
		w->window = w->window == 0 ? WINDOW_MIN : w->window + n;
		w->next = off + n;
	}
	if (w->window > most)
		w->window = most;
	return w->window;
}

/* --- jumps --- */

static bool
is_jump(const struct window_streams *s, uint64_t off)
{
	unsigned i;

	for (i = 0; i < WINDOW_STREAMS; i++)
		if ((s->v[i].used > 0 || i == 0) &&
		    distance(&s->v[i], off) <= NEAR_NEW)
			return false;
	return true;
}

bool
window_jump(struct window_jumps *j, const struct window_streams *s,
    uint64_t off, size_t n, uint64_t size)
{
	uint64_t all = size / WHOLE_STEP;

	j->asked += n;
	if (size < WINDOW_WHOLE_MIN || !is_jump(s, off))
		return false;
	for (unsigned i = 0; i < WINDOW_LAST; i++)
		if (j->last[i] == (off >> 20) + 1)
			return false;
	j->last[j->n % WINDOW_LAST] = (off >> 20) + 1;
	j->n++;
	j->large += n >= LARGE;
	return (j->large >= WINDOW_JUMPS_LARGE && j->asked >= size / 64) ||
	    j->n >= (all > WINDOW_JUMPS ? all : WINDOW_JUMPS);
}

/* --- the link --- */

/* What is under way counts up to now. */
static void
pass(struct window_link *l, int64_t now)
{
	if (l->bodies > 0 && now > l->since)
		l->busy += now - l->since;
	l->since = now;
}

void
window_ask(struct window_link *l, struct window_get *ret, int64_t now)
{
	*ret = (struct window_get){ .asked = now, .alone = l->gets == 0 };
	l->gets++;
}

/* A first byte that waited behind the bodies of others says how much is asked
 * for, not how far the store is. */
static void
first_byte(struct window_link *l, struct window_get *g, int64_t now)
{
	int64_t took = now - g->asked;

	g->came = true;
	l->bodies++;
	if (l->latency == 0 || took < l->latency)
		l->latency = took;
	else if (g->alone)
		l->latency += (took - l->latency) / 4;
}

void
window_came(struct window_link *l, struct window_get *g, uint64_t n,
    int64_t now)
{
	uint64_t rate;

	pass(l, now);
	if (!g->came)
		first_byte(l, g, now);
	l->bytes += n;
	if (l->busy < SAMPLE)
		return;
	rate = (uint64_t)((double)l->bytes * NSEC_PER_SEC / l->busy);
	if (rate > l->rate)		/* it is seen only where it is asked */
		l->rate += l->rate == 0 ? rate : (rate - l->rate) / 2;
	else
		l->rate -= (l->rate - rate) / 8;
	l->bytes = 0;
	l->busy = 0;
}

void
window_end(struct window_link *l, struct window_get *g, int64_t now)
{
	pass(l, now);
	l->gets--;
	l->bodies -= g->came;
}

bool
window_is_far(const struct window_link *l)
{
	return l->latency >= FAR;
}

uint64_t
window_most(const struct window_link *l)
{
	double rate = (double)l->rate / NSEC_PER_SEC;
	double w = rate * HICCUP < HICCUP_MAX ? rate * HICCUP : HICCUP_MAX;

	if (l->rate == 0)
		return WINDOW_UNKNOWN;
	w += rate * 2 * l->latency;
	return w < (double)WINDOW_MIN ? WINDOW_MIN :
	    w > (double)WINDOW_MAX ? WINDOW_MAX : (uint64_t)w;
}

uint64_t
window_step(const struct window_link *l, uint64_t window)
{
	unsigned gets = l->latency > 0 && l->latency < FAR ? 4 : 8;
	uint64_t step = STEP_MIN;

	while (step < STEP_MAX && step * 2 * gets <= window)
		step *= 2;
	return step;
}

/*
 * walk: every key below a prefix, by many lists at once.
 *
 * The keys are one range at first.  The calling thread lists it.  When a page
 * says that there are more, threads are started, and each looks for a range
 * to share: it guesses a key in the part of it that is not listed yet and
 * lists from there.  What comes back is no probe only, it is the first page
 * of the new range: the first key found is where the old one now ends.  If
 * nothing comes back before the old end, that end moves down to the guess.
 * Flat prefixes and trees are alike to this, as keys have an order; folders
 * are found by what their keys have in common.
 *
 * Where to guess (guess()).  Keys of one page share a beginning, say
 * "img_000" of "img_000000.jpg" to "img_000999.jpg"; where in it the keys
 * not seen begin to differ is unknown.  So a guess steps one of its
 * characters up ("img_1"), and a miss tells that all that is left begins as
 * the shorter piece does.  Once it is known where they differ, the character
 * there is interpolated up to that of the range's end, or within its class
 * (digits, capitals, small letters).
 *
 * The range with the most left is shared, by a rough count (pages_left()); one
 * whose owner has not got a page of it since the last sharing is left alone.
 * Shares (each costs the old owner the page that crosses its new end) and
 * misses are bounded by pages got, so that a walk makes at most some half
 * more lists than it must.
 *
 * Each key is handed on once: a range hands on what lies below its end at the
 * moment when its page is taken, under the lock, and ends only move down, to
 * keys beyond that.  A store that does not list in order, or not from a key
 * on, is listed by one thread.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "backends/page.h"
#include "base/clock.h"
#include "base/lock.h"

enum { PARALLEL = 8, PARALLEL_MAX = 64, MISSES = 3 };

typedef char walk_key[STORE_KEY_MAX + 2];

/* What one worker lists: keys after `at`, before `end`. */
struct range {
	bool		 active;
	walk_key	 begin;		/* the first key of its first page */
	walk_key	 at;		/* keys up to it are taken */
	walk_key	 end;		/* "": none */
	bool		 end_in;	/* a key that is the end is within */
	unsigned	 pages;		/* taken since begin */
	size_t		 alike;	/* bytes that the last page's keys share */
	size_t		 vary;	/* known: far keys differ there or before */
	bool		 fresh;		/* a page came since the last sharing */
	unsigned	 probes;	/* guesses under way in it */
	unsigned	 misses; /* guesses in vain since the last page */
};

struct walk {
	struct store	*s;
	const char	*prefix;
	struct store_call *call;	/* the caller's; may be NULL */
	int		(*each)(void *arg, const struct store_entry *e);
	void		*arg;
	unsigned	 parallel;
	struct lock	 lock;		/* over what follows */
	struct cond	 changed;	/* a range, or the end of all */
	struct range	*ranges;	/* parallel of them; one a worker */
	unsigned	 busy;		/* workers that list or guess */
	unsigned	 pages;		/* taken in all */
	/* in all, guesses under way with them */
	unsigned	 shares, misses;
	bool		 over;		/* done, or failed */
	bool		 emitting;	/* somebody is within `each` */
	enum store_rc	 rc;
};

struct worker {
	struct walk	*w;
	struct range	*range;
	struct store_call call;
	struct why	 why;
	struct store_list list;
	struct page	 page;
	walk_key	 start;		/* the page begins after it */
	bool		 unsorted;	/* the store's order is none */
	bool		 broken;	/* it is not what the store says */
	pthread_t	 thread;
};

/* Under the lock: the first failure is the walk's. */
static void
walk_fail(struct worker *k, enum store_rc rc)
{
	struct walk *w = k->w;

	if (w->rc == STORE_OK) {
		w->rc = rc;
		if (k->why.text[0] != '\0')
			why_set(call_why(w->call), 0, "%s", k->why.text);
	}
	w->over = true;
	cond_broadcast(&w->changed);
}

/* Hands rows [from, to) of the page on, one worker at a time, no lock held
 * meanwhile (STYLE 10). */
static enum store_rc
hand_on(struct worker *k, size_t from, size_t to)
{
	struct walk *w = k->w;
	struct store_entry e;
	enum store_rc rc = STORE_OK;

	if (from == to)
		return STORE_OK;
	lock_take(&w->lock);
	while (w->emitting)
		cond_wait(&w->changed, &w->lock);
	if (w->rc != STORE_OK)
		rc = w->rc;
	w->emitting = true;
	lock_drop(&w->lock);
	for (; from < to && rc == STORE_OK; from++) {
		page_entry(&k->page, from, &e);
		if (w->each(w->arg, &e) != 0)
			rc = STORE_CANCELLED;
	}
	lock_take(&w->lock);
	if (rc != STORE_OK)
		walk_fail(k, rc);	/* none after it */
	w->emitting = false;
	cond_broadcast(&w->changed);
	lock_drop(&w->lock);
	return rc;
}

/* A list's callback: arg is the worker.  What is kept is checked here: that
 * the order is one is what sharing stands on. */
static int
keep(void *arg, const struct store_entry *e)
{
	struct worker *k = arg;
	struct page *p = &k->page;
	const char *last = p->n > 0 ? page_key(p, p->n - 1) : k->start;

	if (strlen(e->key) <= STORE_KEY_MAX &&
	    (k->unsorted || strcmp(e->key, last) > 0))
		return page_add(p, e);
	why_set(&k->why, 0, "%s: lists '%s' where it does not belong",
	    k->w->s->url, e->key);
	k->broken = true;
	return 1;
}

/* The page after k->start where begin is set, else the next one. */
static enum store_rc
list_page(struct worker *k, bool begin)
{
	enum store_rc rc;

	if (begin) {
		memset(&k->list, 0, sizeof(k->list));
		k->list.prefix = k->w->prefix;
		k->list.start_after = k->start[0] != '\0' ? k->start : NULL;
	} else if (k->page.n > 0) {
		strcpy(k->start, page_key(&k->page, k->page.n - 1));
	}
	page_reset(&k->page);
	rc = store_list(k->w->s, &k->call, &k->list, keep, k);
	return k->broken ? STORE_BROKEN : k->page.nomem ? STORE_NOMEM : rc;
}

/* --- guessing --- */

static size_t
common(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] != '\0' && a[n] == b[n])
		n++;
	return n;
}

/* Is key beyond r? */
static bool
beyond(const struct range *r, const char *key)
{
	int cmp;

	if (r->end[0] == '\0')
		return false;
	cmp = strcmp(key, r->end);
	return cmp > 0 || (cmp == 0 && !r->end_in);
}

/* The last character of c's class: where keys of such are likely to end. */
static int
class_end(int c)
{
	static const char ends[] = "/9@Z`z~";
	const char *e = ends;

	while (c > *e)
		e++;
	return *e;
}

/* May at[j] be stepped up?  Only ASCII, lest a guess is no UTF-8. */
static bool
can_step(const char *at, size_t j)
{
	return at[j] > ' ' && at[j] < '~';
}

/* ret = at's first j bytes and c; true when that is within r. */
static bool
guess_is(const struct range *r, size_t j, int c, walk_key ret)
{
	memcpy(ret, r->at, j);
	ret[j] = c;
	ret[j + 1] = '\0';
	return r->end[0] == '\0' || strcmp(ret, r->end) < 0;
}

/* The which-th of n characters between low and high, both outside. */
static int
between(int low, int high, unsigned which, unsigned n)
{
	int step = (high - low) * (int)which / (int)(n + 1);

	return low + (step > 0 ? step : 1);
}

/* A guess by interpolation at j or, where no character is left there, behind
 * it.  stop: keys may go on to that character at j, beyond the class of at[j];
 * 0: no. */
static bool
guess_between(const struct range *r, size_t j, int stop, unsigned which,
    unsigned n, walk_key ret)
{
	int low, high;

	for (; r->at[j] != '\0'; j++, stop = 0) {
		if (!can_step(r->at, j))
			continue;
		low = r->at[j];
		high = class_end(low) + 1;
		if (stop > 0 && (stop < high || high <= low + 1))
			high = stop;
		if (high > low + 1)
			return guess_is(r, j, between(low, high, which, n),
			    ret);
	}
	return false;
}

/* A key within r to list from, the which-th (from 1) of n guesses.  False:
 * there is nothing to guess. */
static bool
guess(const struct walk *w, const struct range *r, unsigned which, unsigned n,
    walk_key ret)
{
	size_t base = strlen(w->prefix), alike, j;
	int stop = 0x7f;

	if (strlen(r->at) <= base)
		return false;
	if (r->end[0] != '\0') {
		base = common(r->at, r->end);
		stop = (unsigned char)r->end[base];
		if (stop > 0x7f)
			stop = 0x7f;
		if (can_step(r->at, base) && stop > r->at[base] + 1)
			return guess_between(r, base, stop, which, n, ret);
		stop = 0;
		base++;		/* nothing else stands there any more */
	}
	/* where do the keys begin to differ that the page had alike? */
	alike = r->alike < r->vary ? r->alike : r->vary;
	if (alike > base + 1) {
		j = base + (alike - base) * which / (n + 1);
		while (j > base && j < alike && !can_step(r->at, j))
			j++;
		if (j > base && j < alike)
			return guess_is(r, j, r->at[j] + 1, ret);
	}
	if (base > strlen(r->at))
		return false;
	return guess_between(r, base, stop, which, n, ret);
}

/* --- sharing --- */

/* How many characters, as far as these know, stand where they are, and the
 * first of them. */
static double
radix(const unsigned char c[3], int *retfirst)
{
	bool digits = true, hex = true, letters = true;
	int i;

	for (i = 0; i < 3; i++) {
		digits &= c[i] >= '0' && c[i] <= '9';
		hex &= (c[i] >= '0' && c[i] <= '9') ||
		    (c[i] >= 'a' && c[i] <= 'f');
		letters &= c[i] >= 'a' && c[i] <= 'z';
	}
	*retfirst = digits ? '0' : letters ? 'a' : ' ';
	if (hex && !digits)
		*retfirst = -16;	/* see place() */
	return digits ? 10 : letters ? 26 : hex ? 16 : 95;
}

static double
place(int c, int first)
{
	if (first == -16)
		return c >= 'a' ? c - 'a' + 10 : c - '0';
	return c - first;
}

/* A guess at how many pages of r are left: its keys are numbers, and evenly
 * spread.  Only for choosing by. */
static double
pages_left(const struct range *r)
{
	const double much = 1e9;
	double done = 0, all = 0, scale = 1;
	size_t i, from = common(r->begin, r->end);
	unsigned char c[3];
	int k, first;

	if (r->end[0] == '\0')
		return much;
	for (i = from; i < from + 8; i++) {
		c[0] = r->begin[i];
		c[1] = r->at[i];
		c[2] = r->end[i];
		for (k = 0; k < 3; k++)
			if (c[k] == '\0')
				break;
		if (k < 3)
			break;
		scale /= radix(c, &first);
		done += (place(c[1], first) - place(c[0], first)) * scale;
		all += (place(c[2], first) - place(c[0], first)) * scale;
	}
	if (all <= 0 || done <= all / much)
		return much;
	return done >= all ? 0 : r->pages * (all - done) / done;
}

/* Under the lock: the range with the most to share; NULL: none. */
static struct range *
pick(struct walk *w)
{
	struct range *best = NULL;
	double most = 3, left;	/* what is less is not worth a list */
	unsigned i;

	if (w->shares >= w->parallel + w->pages / 4 ||
	    w->misses >= 2 * w->parallel + w->pages / 6)
		return NULL;

	for (i = 0; i < w->parallel; i++) {
		struct range *r = &w->ranges[i];

		if (!r->active || !r->fresh || r->misses + r->probes >= MISSES)
			continue;
		left = pages_left(r) / (r->probes + 1);
		if (left > most) {
			most = left;
			best = r;
		}
	}
	return best;
}

/*
 * Under the lock: k's page is what follows `guessed`, a key that was within
 * `from`.  True: it is the first of a range of k's own now.  from may have
 * moved on, or be another range by now: all that counts is that its part
 * behind the page's first key has not been listed.
 */
static bool
share(struct worker *k, struct range *from, const char *guessed)
{
	struct range *mine = k->range;
	const char *first;

	if (!from->active || strcmp(from->at, guessed) >= 0 ||
	    beyond(from, guessed)) {
		k->w->misses++;
		return false;
	}
	first = k->page.n > 0 ? page_key(&k->page, 0) : NULL;
	if (first == NULL || beyond(from, first)) {
		/* nothing lies between the guess and the end */
		strcpy(from->end, guessed);
		from->end_in = true;
		from->misses++;
		k->w->misses++;
		return false;
	}
	k->w->shares++;
	mine->active = true;
	mine->vary = strlen(guessed) - 1;
	if (from->vary < mine->vary)
		mine->vary = from->vary;
	mine->pages = 0;
	mine->misses = 0;
	mine->end_in = from->end_in;
	/* now, not with the page: a guess made in what this was before may
	 * come back first */
	strcpy(mine->at, guessed);
	strcpy(mine->end, from->end);
	strcpy(from->end, first);
	from->end_in = false;
	from->fresh = false;
	from->misses = 0;
	return true;
}

static void	rest(struct walk *w);

/* Under the lock, which is dropped meanwhile: finds a range to share until k
 * has one of its own, its first page read.  False: the walk is over. */
static bool
find_range(struct worker *k)
{
	struct walk *w = k->w;
	struct range *from;
	enum store_rc rc;

	while (!w->over) {
		if ((from = pick(w)) == NULL) {
			cond_wait(&w->changed, &w->lock);
			continue;
		}
		if (!guess(w, from, (from->probes + from->misses) % MISSES + 1,
		    MISSES, k->start)) {
			from->misses++;
			continue;
		}
		from->probes++;
		w->busy++;
		lock_drop(&w->lock);
		rc = list_page(k, true);
		lock_take(&w->lock);
		from->probes--;
		if (rc != STORE_OK)
			walk_fail(k, rc);
		else if (share(k, from, k->start))
			return true;
		rest(w);
	}
	return false;
}

/* --- listing --- */

/* Under the lock: what of the page is within the range, which moves on.
 * Returns how many rows. */
static size_t
take_page(struct worker *k)
{
	struct range *r = k->range;
	struct page *p = &k->page;
	size_t n = p->n;

	k->w->pages++;
	if (n > 0 && r->pages++ == 0)
		strcpy(r->begin, page_key(p, 0));
	if (n > 0) {
		strcpy(r->at, page_key(p, n - 1));
		r->alike = common(page_key(p, 0), r->at);
	}
	while (n > 0 && beyond(r, page_key(p, n - 1)))
		n--;
	if (!k->list.more || n < p->n) {
		r->active = false;
	} else {
		r->fresh = true;
		r->misses = 0;
	}
	return n;
}

/* Lists k's range to its end; the first page is read already where have. */
static void
list_range(struct worker *k, bool have)
{
	struct walk *w = k->w;
	enum store_rc rc = STORE_OK;
	bool first = !have;
	size_t n;

	do {
		if (!have)
			rc = list_page(k, first);
		first = have = false;
		if (rc != STORE_OK)
			break;
		lock_take(&w->lock);
		n = take_page(k);
		cond_broadcast(&w->changed);
		lock_drop(&w->lock);
		rc = hand_on(k, 0, n);
	} while (rc == STORE_OK && k->range->active);
	lock_take(&w->lock);
	k->range->active = false;
	if (rc != STORE_OK)
		walk_fail(k, rc);
	lock_drop(&w->lock);
}

/* Under the lock: the end of all is when nobody lists and nobody guesses. */
static void
rest(struct walk *w)
{
	if (--w->busy == 0)
		w->over = true;
	cond_broadcast(&w->changed);
}

static void *
worker_run(void *arg)
{
	struct worker *k = arg;
	struct walk *w = k->w;

	lock_take(&w->lock);
	while (find_range(k)) {
		lock_drop(&w->lock);
		list_range(k, true);
		lock_take(&w->lock);
		rest(w);
	}
	lock_drop(&w->lock);
	return NULL;
}

/* --- the walk --- */

static void
worker_init(struct worker *k, struct walk *w, unsigned i)
{
	k->w = w;
	k->range = w->ranges != NULL ? &w->ranges[i] : NULL;
	if (w->call != NULL)
		k->call = *w->call;
	k->call.why = &k->why;
}

/* All of it by the calling thread. */
static enum store_rc
walk_alone(struct worker *k)
{
	enum store_rc rc;
	bool first = true;

	do {
		rc = list_page(k, first);
		first = false;
		if (rc == STORE_OK)
			rc = hand_on(k, 0, k->page.n);
	} while (rc == STORE_OK && k->list.more);
	return rc;
}

/* After the first page, which worker 0 has read and which says more. */
static void
walk_together(struct walk *w, struct worker *workers)
{
	unsigned i, started = 1;

	w->busy = 1;
	w->ranges[0].active = true;
	w->ranges[0].vary = STORE_KEY_MAX;
	for (i = 1; i < w->parallel; i++, started++)
		if (pthread_create(&workers[i].thread, NULL, worker_run,
		    &workers[i]) != 0)
			break;	/* fewer do it too */
	list_range(&workers[0], true);
	lock_take(&w->lock);
	rest(w);
	lock_drop(&w->lock);
	worker_run(&workers[0]);
	for (i = 1; i < started; i++)
		pthread_join(workers[i].thread, NULL);
}

enum store_rc
store_walk(struct store *s, struct store_call *c, const char *prefix,
    const struct walk_opts *o,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	const unsigned needs = STORE_LIST_SORTED | STORE_LIST_START_AFTER;
	struct walk w = { .s = s, .prefix = prefix, .call = c, .each = each,
	    .arg = arg, .rc = STORE_OK };
	struct worker *workers;
	enum store_rc rc;
	unsigned i;

	w.parallel = o != NULL && o->parallel != 0 ? o->parallel : PARALLEL;
	if (w.parallel > PARALLEL_MAX)
		w.parallel = PARALLEL_MAX;
	w.ranges = calloc(w.parallel, sizeof(*w.ranges));
	workers = calloc(w.parallel, sizeof(*workers));
	if (w.ranges == NULL || workers == NULL) {
		free(w.ranges);
		free(workers);
		return STORE_NOMEM;
	}
	lock_init(&w.lock, RANK_STORE, "walk");
	cond_init(&w.changed);
	for (i = 0; i < w.parallel; i++)
		worker_init(&workers[i], &w, i);
	if ((store_caps(s) & needs) != needs) {
		workers[0].unsorted = true;
		rc = walk_alone(&workers[0]);
	} else {
		rc = list_page(&workers[0], true);
		if (rc == STORE_OK && !workers[0].list.more) {
			rc = hand_on(&workers[0], 0, workers[0].page.n);
		} else if (rc == STORE_OK) {
			walk_together(&w, workers);
			rc = w.rc;
		}
	}
	if (workers[0].why.text[0] != '\0' && rc != STORE_OK)
		why_set(call_why(c), 0, "%s", workers[0].why.text);
	for (i = 0; i < w.parallel; i++)
		page_done(&workers[i].page);
	cond_done(&w.changed);
	lock_done(&w.lock);
	free(workers);
	free(w.ranges);
	return rc;
}

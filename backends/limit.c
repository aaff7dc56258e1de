/*
 * limit: at most n calls below at once.  Who finds none free waits, with the
 * deadline and cancel of the call; nothing was sent yet, so a deadline that
 * ends there is STORE_UNREACHABLE.
 *
 * A slot is held while a get's sink or a list's callback runs: they must not
 * call the same store.
 */
#include <errno.h>
#include <stdlib.h>

#include "backends/layer.h"
#include "base/clock.h"
#include "base/lock.h"

struct limit {
	struct store	 store;
	struct store	*below;		/* owned */
	struct lock	 lock;
	struct cond	 freed;
	unsigned	 left;		/* slots free; under lock */
};

static enum store_rc
slot_take(struct limit *l, struct store_call *c)
{
	const int64_t look = 20 * NSEC_PER_MSEC;	/* for cancel */
	enum store_rc rc = call_check(c);

	if (rc != STORE_OK)
		return rc;
	lock_take(&l->lock);
	while (l->left == 0) {
		cond_wait_until(&l->freed, &l->lock, clock_mono() + look);
		if ((rc = call_check(c)) != STORE_OK)
			break;
	}
	if (rc == STORE_OK)
		l->left--;
	else if (l->left > 0)
		cond_signal(&l->freed);	/* a wake-up may have been ours */
	lock_drop(&l->lock);
	return rc;
}

static void
slot_give(struct limit *l)
{
	lock_take(&l->lock);
	l->left++;
	cond_signal(&l->freed);
	lock_drop(&l->lock);
}

/* call: the operation on l->below, within a slot. */
#define WITHIN_SLOT(s, c, call) do {			\
	struct limit *l = (struct limit *)(s);		\
	enum store_rc rc = slot_take(l, (c));		\
							\
	if (rc != STORE_OK)				\
		return rc;				\
	rc = (call);					\
	slot_give(l);					\
	return rc;					\
} while (0)

static enum store_rc
limit_get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	WITHIN_SLOT(s, c, store_get(l->below, c, key, version, off, len, sink,
	    arg, ret));
}

static enum store_rc
limit_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	WITHIN_SLOT(s, c, store_put(l->below, c, key, cond, match, src, ret));
}

static enum store_rc
limit_head(struct store *s, struct store_call *c, const char *key,
    struct store_info *ret)
{
	WITHIN_SLOT(s, c, store_head(l->below, c, key, ret));
}

static enum store_rc
limit_del(struct store *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	WITHIN_SLOT(s, c, store_del(l->below, c, key, match));
}

static enum store_rc
limit_list(struct store *s, struct store_call *c, struct store_list *list,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	WITHIN_SLOT(s, c, store_list(l->below, c, list, each, arg));
}

static enum store_rc
limit_copy(struct store *s, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	WITHIN_SLOT(s, c, store_copy(l->below, c, from, version, to, ret));
}

static enum store_rc
limit_pull(struct store *s, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	WITHIN_SLOT(s, c, store_pull(l->below, c, from, key, version, to, ret));
}

static enum store_rc
limit_tags(struct store *s, struct store_call *c, const char *key,
    struct buf *ret)
{
	WITHIN_SLOT(s, c, store_tags(l->below, c, key, ret));
}

static struct store *
limit_bare(struct store *s)
{
	return store_bare(((struct limit *)s)->below);
}

static unsigned
limit_caps(struct store *s)
{
	return store_caps(((struct limit *)s)->below);
}

static void
limit_free(struct store *s)
{
	struct limit *l = (struct limit *)s;

	store_free(l->below);
	cond_done(&l->freed);
	lock_done(&l->lock);
	free(l);
}

static const struct store_ops limit_ops = {
	.get = limit_get, .put = limit_put, .head = limit_head,
	.del = limit_del, .list = limit_list, .copy = limit_copy,
	.pull = limit_pull, .tags = limit_tags, .caps = limit_caps,
	.bare = limit_bare, .free = limit_free,
};

int
limit_layer(struct store *below, unsigned n, struct store **ret)
{
	struct limit *l = calloc(1, sizeof(*l));

	if (l == NULL || n == 0) {
		free(l);
		store_free(below);
		return n == 0 ? -EINVAL : -ENOMEM;
	}
	l->store.ops = &limit_ops;
	l->store.url = below->url;
	l->below = below;
	l->left = n;
	lock_init(&l->lock, RANK_STORE, "store limit");
	cond_init(&l->freed);
	*ret = &l->store;
	return 0;
}

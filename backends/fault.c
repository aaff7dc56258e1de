/*
 * fault: makes the calls of a store fail, for tests, by a text:
 *
 *   op=put,nth=3,rc=ambiguous,after=1;op=get,every=5,rc=unreachable,at=4096
 *
 * Rules are separated by ';', a rule's settings by ','.  The first rule that
 * a call meets is obeyed.
 *   op=     get put head del list copy pull any (needed)
 *   key=    only calls whose key (list: prefix; copy, pull: target) has this
 *           in it
 *   nth=N   the Nth such call alone; every=N: each Nth; neither: every one
 *   rc=     the answer, by its name; without it only delay is done
 *   after=1 the call below is made first, to its end; its answer is replaced
 *   at=N    get, list: below is called, and broken off after N bytes or
 *           entries; a smaller get or list comes whole, and then fails
 *   delay=N ms before the call
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "base/clock.h"

enum { OP_GET, OP_PUT, OP_HEAD, OP_DEL, OP_LIST, OP_COPY, OP_PULL,
	OP_TAGS, OP_ANY,
	OP_COUNT };

static const char *const op_names[OP_COUNT] = {
	"get", "put", "head", "del", "list", "copy", "pull",
	"tags", "any"
};

enum { FAULT_RULES = 32, FAULT_KEY = 128 };

struct rule {
	unsigned	 op;
	enum store_rc	 rc;		/* STORE_OK: none */
	uint64_t	 nth, every, at, delay;
	bool		 after, has_at;
	char		 key[FAULT_KEY];
	_Atomic uint64_t calls;
};

struct fault {
	struct store	 store;
	struct store	*below;		/* owned */
	unsigned	 nrules;
	struct rule	 rules[FAULT_RULES];
};

/* --- the text --- */

static int
parse_number(const char *s, uint64_t *ret)
{
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(s, &end, 10);
	return errno != 0 || *end != '\0' ? -EINVAL : 0;
}

static int
parse_setting(struct rule *r, const char *name, const char *value)
{
	uint64_t n = 0;
	unsigned op;

	if (strcmp(name, "op") == 0) {
		for (op = 0; op < OP_COUNT; op++)
			if (strcmp(value, op_names[op]) == 0)
				break;
		r->op = op;
		return op == OP_COUNT ? -EINVAL : 0;
	}
	if (strcmp(name, "rc") == 0) {
		r->rc = store_rc_parse(value, strlen(value));
		return r->rc == STORE_RC_COUNT ? -EINVAL : 0;
	}
	if (strcmp(name, "key") == 0) {
		if (strlen(value) >= sizeof(r->key))
			return -EINVAL;
		strcpy(r->key, value);
		return 0;
	}
	if (parse_number(value, &n) != 0)
		return -EINVAL;
	if (strcmp(name, "nth") == 0 && n > 0)
		r->nth = n;
	else if (strcmp(name, "every") == 0 && n > 0)
		r->every = n;
	else if (strcmp(name, "delay") == 0)
		r->delay = n;
	else if (strcmp(name, "after") == 0 && n <= 1)
		r->after = n;
	else if (strcmp(name, "at") == 0) {
		r->at = n;
		r->has_at = true;
	} else
		return -EINVAL;
	return 0;
}

static int
parse_rule(struct rule *r, char *text, struct why *why)
{
	char *item, *value, *save = NULL;

	r->op = OP_COUNT;
	for (item = strtok_r(text, ",", &save); item != NULL;
	    item = strtok_r(NULL, ",", &save)) {
		if ((value = strchr(item, '=')) == NULL)
			return why_set(why, -EINVAL, "fault: '%s' is no"
			    " setting: name=value is", item);
		*value++ = '\0';
		if (parse_setting(r, item, value) != 0)
			return why_set(why, -EINVAL, "fault: '%s=%s' is not"
			    " understood", item, value);
	}
	if (r->op == OP_COUNT)
		return why_set(why, -EINVAL, "fault: a rule without op=");
	return 0;
}

static int
parse_spec(struct fault *f, const char *spec, struct why *why)
{
	char *text = strdup(spec), *rule, *save = NULL;
	int err = 0;

	if (text == NULL)
		return -ENOMEM;
	for (rule = strtok_r(text, ";", &save); rule != NULL && err == 0;
	    rule = strtok_r(NULL, ";", &save)) {
		if (f->nrules == FAULT_RULES)
			err = why_set(why, -EINVAL, "fault: more than %d"
			    " rules", FAULT_RULES);
		else
			err = parse_rule(&f->rules[f->nrules++], rule, why);
	}
	free(text);
	return err;
}

/* --- meeting a rule --- */

/* The rule that this call is to obey; NULL: none.  Counts it for all. */
static struct rule *
meet(struct store *s, struct store_call *c, unsigned op, const char *key)
{
	struct fault *f = (struct fault *)s;
	struct rule *met = NULL;
	unsigned i;

	for (i = 0; i < f->nrules; i++) {
		struct rule *r = &f->rules[i];
		uint64_t n;

		if ((r->op != op && r->op != OP_ANY) ||
		    strstr(key, r->key) == NULL)
			continue;
		n = atomic_fetch_add(&r->calls, 1) + 1;
		if (met == NULL && (r->nth == 0 || r->nth == n) &&
		    (r->every == 0 || n % r->every == 0))
			met = r;
	}
	if (met != NULL && met->delay > 0)
		call_sleep(c, (int64_t)met->delay * NSEC_PER_MSEC);
	return met;
}

static enum store_rc
fail(struct rule *r, struct store_call *c, const char *key)
{
	why_set(call_why(c), 0, "injected fault: %s of '%s' is %s",
	    op_names[r->op], key, store_rc_name(r->rc));
	return r->rc;
}

/* An operation without a middle.  call: what is made below. */
#define OBEY(s, c, op, key, call) do {					\
	struct fault *f = (struct fault *)(s);				\
	struct rule *r = meet((s), (c), (op), (key));			\
	enum store_rc rc;						\
									\
	if (r != NULL && r->rc != STORE_OK && !r->after)		\
		return fail(r, (c), (key));				\
	rc = (call);							\
	return r != NULL && r->rc != STORE_OK ? fail(r, (c), (key)) : rc; \
} while (0)

struct breaking {
	store_sink	*sink;
	int		(*each)(void *arg, const struct store_entry *e);
	void		*arg;
	uint64_t	 left;
	bool		 stopped;	/* by the caller */
};

static int
break_sink(void *arg, const void *p, size_t n)
{
	struct breaking *b = arg;
	size_t some = n < b->left ? n : b->left;

	if (some > 0 && b->sink(b->arg, p, some) != 0) {
		b->stopped = true;
		return 1;
	}
	b->left -= some;
	return some < n;
}

static int
break_each(void *arg, const struct store_entry *e)
{
	struct breaking *b = arg;

	if (b->left == 0)
		return 1;
	b->left--;
	if (b->each(b->arg, e) == 0)
		return 0;
	b->stopped = true;
	return 1;
}

static enum store_rc
fault_get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct fault *f = (struct fault *)s;
	struct rule *r = meet(s, c, OP_GET, key);
	struct breaking b = { .sink = sink, .arg = arg, .left = UINT64_MAX };
	enum store_rc rc;

	if (r != NULL && r->rc != STORE_OK && !r->after && !r->has_at)
		return fail(r, c, key);
	if (r != NULL && r->has_at)
		b.left = r->at;
	rc = store_get(f->below, c, key, version, off, len, break_sink, &b,
	    ret);
	if (b.stopped)
		return STORE_CANCELLED;
	return r != NULL && r->rc != STORE_OK ? fail(r, c, key) : rc;
}

static enum store_rc
fault_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	OBEY(s, c, OP_PUT, key, store_put(f->below, c, key, cond, match, src,
	    ret));
}

static enum store_rc
fault_head(struct store *s, struct store_call *c, const char *key,
    struct store_info *ret)
{
	OBEY(s, c, OP_HEAD, key, store_head(f->below, c, key, ret));
}

static enum store_rc
fault_del(struct store *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	OBEY(s, c, OP_DEL, key, store_del(f->below, c, key, match));
}

static enum store_rc
fault_list(struct store *s, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct fault *f = (struct fault *)s;
	struct rule *r = meet(s, c, OP_LIST, l->prefix);
	struct breaking b = { .each = each, .arg = arg, .left = UINT64_MAX };
	enum store_rc rc;

	if (r != NULL && r->rc != STORE_OK && !r->after && !r->has_at)
		return fail(r, c, l->prefix);
	if (r != NULL && r->has_at)
		b.left = r->at;
	rc = store_list(f->below, c, l, break_each, &b);
	if (b.stopped)
		return STORE_CANCELLED;
	return r != NULL && r->rc != STORE_OK ? fail(r, c, l->prefix) : rc;
}

static enum store_rc
fault_copy(struct store *s, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	OBEY(s, c, OP_COPY, to, store_copy(f->below, c, from, version, to,
	    ret));
}

static enum store_rc
fault_pull(struct store *s, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	OBEY(s, c, OP_PULL, to, store_pull(f->below, c, from, key, version, to,
	    ret));
}

static enum store_rc
fault_tags(struct store *s, struct store_call *c, const char *key,
    struct buf *ret)
{
	OBEY(s, c, OP_TAGS, key, store_tags(f->below, c, key, ret));
}

static struct store *
fault_bare(struct store *s)
{
	return store_bare(((struct fault *)s)->below);
}

static unsigned
fault_caps(struct store *s)
{
	return store_caps(((struct fault *)s)->below);
}

static void
fault_free(struct store *s)
{
	struct fault *f = (struct fault *)s;

	store_free(f->below);
	free(f);
}

static const struct store_ops fault_ops = {
	.get = fault_get, .put = fault_put, .head = fault_head,
	.del = fault_del, .list = fault_list, .copy = fault_copy,
	.pull = fault_pull, .tags = fault_tags, .caps = fault_caps,
	.bare = fault_bare, .free = fault_free,
};

int
fault_layer(struct store *below, const char *spec, struct store **ret,
    struct why *why)
{
	struct fault *f = calloc(1, sizeof(*f));
	int err = -ENOMEM;

	if (f == NULL || (err = parse_spec(f, spec, why)) != 0) {
		free(f);
		store_free(below);
		return err;
	}
	f->store.ops = &fault_ops;
	f->store.url = below->url;
	f->below = below;
	*ret = &f->store;
	return 0;
}

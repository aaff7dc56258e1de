/*
 * trace: one line for every call that passes, after it has ended.
 *
 * The line is that of store.h, with `tag=` (what the call was for) at its
 * end.  Keys are percent-encoded where they hold a space, a control
 * character, a percent sign, '=' or a byte over 126, so that a line is always
 * fields split by spaces.  n is bytes delivered (get), bytes of the source
 * (put that was answered ok), entries (list).  The descriptor is in append
 * mode and a line is one write(2): lines of several processes do not mix.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/layer.h"
#include "base/clock.h"

enum { OP_GET, OP_PUT, OP_HEAD, OP_DEL, OP_LIST, OP_COPY, OP_PULL,
	OP_TAGS,
	OP_COUNT };

static const char *const op_names[OP_COUNT] = {
	"get", "put", "head", "del", "list", "copy", "pull",
	"tags"
};

struct trace {
	struct store	 store;
	struct store	*below;		/* owned */
	int		 fd;		/* owned, a duplicate */
	_Atomic unsigned inflight[OP_COUNT];
};

struct span {
	struct trace	*t;
	const char	*key, *tag;
	uint64_t	 off, len, n;
	int64_t		 begun;
	unsigned	 op, inflight;
};

static struct span
span_begin(struct store *s, struct store_call *c, unsigned op,
    const char *key)
{
	struct trace *t = (struct trace *)s;
	struct span sp = { .t = t, .key = key, .op = op };

	sp.tag = c != NULL && c->tag != NULL ? c->tag : "-";
	sp.begun = clock_mono();
	sp.inflight = atomic_fetch_add(&t->inflight[op], 1) + 1;
	return sp;
}

/* key into out (room for 3 bytes each and NUL). */
static void
escape(const char *key, char *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *key != '\0'; key++) {
		unsigned char b = *key;

		if (b > ' ' && b < 127 && b != '%' && b != '=') {
			*out++ = b;
		} else {
			*out++ = '%';
			*out++ = hex[b >> 4];
			*out++ = hex[b & 15];
		}
	}
	*out = '\0';
}

static enum store_rc
span_end(struct span *sp, enum store_rc rc)
{
	struct trace *t = sp->t;
	char key[3 * STORE_KEY_MAX + 1], line[sizeof(key) + 1024];
	int64_t now = clock_mono();
	int n;

	atomic_fetch_sub(&t->inflight[sp->op], 1);
	if (strlen(sp->key) <= STORE_KEY_MAX)
		escape(sp->key, key);
	else
		strcpy(key, "(too-long)");
	n = snprintf(line, sizeof(line), "t=%" PRId64 " dur=%" PRId64
	    " store=%.512s op=%s key=%s off=%" PRIu64 " len=%" PRIu64
	    " rc=%s n=%" PRIu64 " inflight=%u tag=%.64s\n", sp->begun,
	    now - sp->begun, t->store.url, op_names[sp->op], key, sp->off,
	    sp->len, store_rc_name(rc), sp->n, sp->inflight, sp->tag);
	/* A trace that cannot be written is no reason to fail the call. */
	if (n > 0 && write(t->fd, line, n) < 0)
		return rc;
	return rc;
}

struct counting {
	store_sink	*sink;
	int		(*each)(void *arg, const struct store_entry *e);
	void		*arg;
	uint64_t	 n;
};

static int
count_sink(void *arg, const void *p, size_t n)
{
	struct counting *k = arg;

	k->n += n;
	return k->sink(k->arg, p, n);
}

static int
count_each(void *arg, const struct store_entry *e)
{
	struct counting *k = arg;

	k->n++;
	return k->each(k->arg, e);
}

static enum store_rc
trace_get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct span sp = span_begin(s, c, OP_GET, key);
	struct counting k = { .sink = sink, .arg = arg };
	enum store_rc rc;

	rc = store_get(sp.t->below, c, key, version, off, len, count_sink, &k,
	    ret);
	sp.off = off;
	sp.len = len;
	sp.n = k.n;
	return span_end(&sp, rc);
}

static enum store_rc
trace_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	struct span sp = span_begin(s, c, OP_PUT, key);
	enum store_rc rc;

	rc = store_put(sp.t->below, c, key, cond, match, src, ret);
	sp.len = src->size;
	sp.n = rc == STORE_OK ? src->size : 0;
	return span_end(&sp, rc);
}

static enum store_rc
trace_head(struct store *s, struct store_call *c, const char *key,
    struct store_info *ret)
{
	struct span sp = span_begin(s, c, OP_HEAD, key);

	return span_end(&sp, store_head(sp.t->below, c, key, ret));
}

static enum store_rc
trace_del(struct store *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	struct span sp = span_begin(s, c, OP_DEL, key);

	return span_end(&sp, store_del(sp.t->below, c, key, match));
}

static enum store_rc
trace_list(struct store *s, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct span sp = span_begin(s, c, OP_LIST, l->prefix);
	struct counting k = { .each = each, .arg = arg };
	enum store_rc rc;

	rc = store_list(sp.t->below, c, l, count_each, &k);
	sp.n = k.n;
	return span_end(&sp, rc);
}

static enum store_rc
trace_copy(struct store *s, struct store_call *c, const char *from,
    const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct span sp = span_begin(s, c, OP_COPY, to);

	return span_end(&sp,
	    store_copy(sp.t->below, c, from, version, to, ret));
}

static enum store_rc
trace_pull(struct store *s, struct store_call *c, struct store *from,
    const char *key, const struct store_version *version, const char *to,
    struct store_info *ret)
{
	struct span sp = span_begin(s, c, OP_PULL, to);

	return span_end(&sp,
	    store_pull(sp.t->below, c, from, key, version, to, ret));
}

static enum store_rc
trace_tags(struct store *s, struct store_call *c, const char *key,
    struct buf *ret)
{
	struct span sp = span_begin(s, c, OP_TAGS, key);

	return span_end(&sp, store_tags(sp.t->below, c, key, ret));
}

static struct store *
trace_bare(struct store *s)
{
	return store_bare(((struct trace *)s)->below);
}

static unsigned
trace_caps(struct store *s)
{
	return store_caps(((struct trace *)s)->below);
}

static void
trace_free(struct store *s)
{
	struct trace *t = (struct trace *)s;

	store_free(t->below);
	close(t->fd);
	free(t);
}

static const struct store_ops trace_ops = {
	.get = trace_get, .put = trace_put, .head = trace_head,
	.del = trace_del, .list = trace_list, .copy = trace_copy,
	.pull = trace_pull, .tags = trace_tags, .caps = trace_caps,
	.bare = trace_bare, .free = trace_free,
};

int
trace_layer(struct store *below, int fd, struct store **ret)
{
	struct trace *t = calloc(1, sizeof(*t));
	int err = -ENOMEM;

	if (t == NULL)
		goto out;
	if ((t->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) {
		err = -errno;
		goto out;
	}
	t->store.ops = &trace_ops;
	t->store.url = below->url;
	t->below = below;
	*ret = &t->store;
	return 0;
out:
	free(t);
	store_free(below);
	return err;
}

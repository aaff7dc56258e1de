/*
 * store: one object store, whoever makes it.
 *
 * A store is a stack of layers (retry, limit, trace, fault) over one backend
 * (file, s3, later azure and gcs).  A layer owns the layer below and looks
 * like it from above; stack.c alone knows the order (STYLE 2).  A new backend
 * is one file and one line in the table of open.c.
 *
 * Calls block the calling thread; parallelism is the caller's threads (and,
 * inside one large put or copy, the store's own).  Every function may be
 * called from any number of threads at once.
 *
 * Keys are relative to the store's URL prefix, which the backend prepends:
 * non-empty, at most 1024 bytes, any bytes but NUL.  Sizes and offsets are
 * bytes, times ns since the epoch.
 *
 * Results are the closed set below.  They keep apart what the log's
 * correctness depends on (L2, B1): a condition that was *answered* no
 * (EXISTS, CHANGED, ABSENT) from one whose answer was lost (AMBIGUOUS: the
 * write may or may not have happened) or never asked (UNREACHABLE: nothing
 * was changed).  The retry layer reads back to turn AMBIGUOUS into a yes or
 * no wherever the content tells; what is still AMBIGUOUS above it is unknown.
 */
#ifndef BACKENDS_STORE_H
#define BACKENDS_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/url.h"
#include "base/why.h"

enum store_rc {
	STORE_OK = 0,
	STORE_EXISTS,		/* put if absent: there is an object */
	STORE_CHANGED,		/* match, or a versioned get: another version */
	STORE_ABSENT,		/* no such object; or, and only then is why
				   set, what holds it: bucket, folder */
	STORE_AMBIGUOUS,	/* a write that may or may not have happened */
	STORE_THROTTLED,	/* slow down; nothing was changed */
	STORE_DENIED,		/* credentials or permissions */
	STORE_UNREACHABLE, /* no connection, DNS, TLS, deadline before sent */
	STORE_NOSPACE,		/* quota or disk of the store */
	STORE_UNSUPPORTED,	/* this store cannot do that */
	STORE_BROKEN,	/* it answered nonsense, short, or 5xx for good */
	STORE_INVALID,		/* our request is wrong (400; bad key) */
	STORE_CANCELLED, /* call->cancel was set, or the sink said stop */
	STORE_NOMEM,
	STORE_RC_COUNT
};

const char *store_rc_name(enum store_rc rc);	/* "exists", ... static */
int	store_rc_errno(enum store_rc rc);	/* -EEXIST, -ESTALE, -ENOENT,
		-EIO, -EAGAIN, -EACCES, -EHOSTUNREACH, -ENOSPC, -EOPNOTSUPP,
		-EIO, -EINVAL, -ECANCELED, -ENOMEM; 0 for OK */

/*
 * What pins one version of an object (B5): an opaque text the backend made:
 * "e:ETAG" or, where a store gives none, "d:SIZE:SECONDS" (checked by
 * If-Unmodified-Since and the size).  "" = none known.
 */
struct store_version { char text[160]; };

/* What a store says of the bytes of a whole object, where it does: of two
 * objects that both have one of these sums, the bytes are the same if it is.
 * That it differs says nothing (an MD5 may be of encrypted bytes). */
enum { STORE_SUM_CRC32C = 1, STORE_SUM_MD5 = 2 };

struct store_info {
	uint64_t		 size;
	int64_t			 mtime;
	struct store_version	 version;
	unsigned		 sums;	/* STORE_SUM_*: which of these */
	uint32_t		 crc32c;
	uint8_t			 md5[16];
	bool			 summed; /* of a put: the store compared its
					   bytes with sums made of them here */
};

/* One call's circumstances.  Zero-initialised means: no deadline of its own
 * (the retry layer's default then holds), not cancellable. */
struct store_call {
	int64_t		 deadline;	/* clock_mono() ns; 0 = none */
	_Atomic bool	*cancel; /* borrowed; may be NULL; looked at often */
	struct why	*why;		/* borrowed; may be NULL */
	const char	*tag;	/* for traces: "fill", "import", ... static */
	bool		 once;	/* retry layer: one attempt, fail fast */
	bool		 probe;	/* a condition is left to the store alone, to
				   find out whether it honours it; what it
				   answers is the answer */
	bool		 sole;	/* nobody else writes this key: a store that
				   knows no conditions, or has not shown that
				   it does, is looked at before, instead */
};

enum store_cond { STORE_ALWAYS, STORE_IF_ABSENT, STORE_IF_MATCH };

/* Where a put's bytes come from: positional, so that an attempt can be made
 * again and parts can go in parallel.  read returns n or -errno; called from
 * several threads; the bytes must not change meanwhile. */
struct store_src {
	uint64_t	 size;
	uint64_t	 part;	/* parts of this size (their number allowing):
				   what read has at hand; 0: as they come */
	int		(*read)(void *arg, void *buf, size_t n, uint64_t off);
	void		*arg;
};
struct store_mem { const void *p; size_t n; };
/* A source over memory; m is borrowed until the put returns. */
struct store_src store_src_mem(struct store_mem *m);

/* Receives a get's bytes in order; nonzero stops it (STORE_CANCELLED).  After
 * a retry it goes on where it was: no byte is delivered twice. */
typedef int store_sink(void *arg, const void *p, size_t n);

/* One listed key.  name is relative to the store's prefix, borrowed until
 * the callback returns.  A common prefix (delimiter) has is_prefix set and
 * ends in the delimiter. */
struct store_entry {
	const char		*key;
	bool			 is_prefix;
	struct store_info	 info;
};

struct store_list {
	const char	*prefix;	/* "" for all; borrowed */
	char		 delimiter;	/* 0: none */
	const char	*start_after;	/* NULL or a key; first page only */
	unsigned	 max;	/* entries a page; 0: the store's most */
	char		 token[2400];	/* "" to begin; the next page's after */
	bool		 more;		/* out: call again */
};

enum store_cap {
	STORE_CAN_ABSENT = 1 << 0,	/* put if absent is honoured */
	STORE_CAN_MATCH = 1 << 1,
	STORE_CAN_COPY = 1 << 2,	/* server-side, within this store */
	STORE_LIST_SORTED = 1 << 3,
	STORE_LIST_START_AFTER = 1 << 4,
	STORE_DELETE_MATCH = 1 << 5,
	STORE_HAS_TAGS = 1 << 6,	/* objects have tags */
	STORE_PULL_KEEPS = 1 << 7,	/* a pull leaves what is there alone,
					   also one that ends when nobody waits
					   for it any more */
};

struct store;
struct buf;

struct store_ops {
	/* [off, off+len) of key; len 0: to the end.  version NULL or "": any
	 * (metadata only; file data always names one, B5); another → CHANGED.
	 * Past the end: STORE_INVALID (of an empty object too, but for off 0).
	 * ret may be NULL: whole object's info.  It is filled before the sink
	 * sees the first byte, and stands even if the get then fails: the
	 * retry layer goes on with that version. */
	enum store_rc (*get)(struct store *, struct store_call *,
	    const char *key, const struct store_version *version,
	    uint64_t off, uint64_t len, store_sink *sink, void *arg,
	    struct store_info *ret);
	/* Large sources go as parallel parts.  match: for STORE_IF_MATCH. */
	enum store_rc (*put)(struct store *, struct store_call *,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const struct store_src *src,
	    struct store_info *ret);
	enum store_rc (*head)(struct store *, struct store_call *,
	    const char *key, struct store_info *ret);
	/* Absent is OK.  match NULL: whatever version. */
	enum store_rc (*del)(struct store *, struct store_call *,
	    const char *key, const struct store_version *match);
	/* One page; each is called for every entry; nonzero stops. */
	enum store_rc (*list)(struct store *, struct store_call *,
	    struct store_list *l,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
	/* from → to within this store, any size; from's version pinned. */
	enum store_rc (*copy)(struct store *, struct store_call *,
	    const char *from, const struct store_version *version,
	    const char *to, struct store_info *ret);
	/*
	 * key of another store (or of this one) becomes `to` here, without its
	 * bytes going through this host: of that version (never ""), whole or
	 * not at all.  EXISTS: there is an object, which is left alone (a store
	 * whose copies keep no condition is looked at just before).
	 * UNSUPPORTED: it is not possible between these two, nothing was done;
	 * store_relay() is (relay.h).  Size and sums of what was made are for
	 * the caller to compare.
	 */
	enum store_rc (*pull)(struct store *, struct store_call *,
	    struct store *from, const char *key,
	    const struct store_version *version, const char *to,
	    struct store_info *ret);
	/* What key is labelled with: "KEY" NUL "VALUE" NUL ... is appended.
	 * NULL, or UNSUPPORTED: objects there have no tags. */
	enum store_rc (*tags)(struct store *, struct store_call *,
	    const char *key, struct buf *ret);
	unsigned (*caps)(struct store *);	/* enum store_cap bits */
	/* The backend below all layers; itself. */
	struct store *(*bare)(struct store *);
	/* Of a backend (layers: NULL): appends a URL (a secret: its signature)
	 * by which anybody may GET key until `until`, s since the epoch.
	 * UNSUPPORTED: it has none to give. */
	enum store_rc (*offer)(struct store *, struct store_call *,
	    const char *key, const struct store_version *version,
	    int64_t until, struct buf *ret);
	/* Of a backend (layers: NULL): each for every large put that was begun
	 * below the store's prefix and has not ended (key; mtime: when it was
	 * begun), or, where its parts are objects, for each part (its own key
	 * and size).  Some are under way.  NULL: the store keeps none. */
	enum store_rc (*left)(struct store *, struct store_call *,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
	void	(*free)(struct store *);	/* and the layer below */
};

struct store {
	const struct store_ops	*ops;
	const char		*url;	/* for messages; owned by the backend */
};

/* Convenience over ops, same meaning. */
#define store_get(s, ...)	((s)->ops->get((s), __VA_ARGS__))
#define store_put(s, ...)	((s)->ops->put((s), __VA_ARGS__))
#define store_head(s, ...)	((s)->ops->head((s), __VA_ARGS__))
#define store_del(s, ...)	((s)->ops->del((s), __VA_ARGS__))
#define store_list(s, ...)	((s)->ops->list((s), __VA_ARGS__))
#define store_copy(s, ...)	((s)->ops->copy((s), __VA_ARGS__))
#define store_pull(s, ...)	((s)->ops->pull((s), __VA_ARGS__))
#define store_tags(s, ...)	((s)->ops->tags != NULL ? \
	(s)->ops->tags((s), __VA_ARGS__) : STORE_UNSUPPORTED)
#define store_caps(s)		((s)->ops->caps((s)))
#define store_bare(s)		((s)->ops->bare((s)))
void	store_free(struct store *s);		/* NULL accepted */

/* The whole of a small object (at most max bytes, else STORE_BROKEN). */
enum store_rc store_get_all(struct store *s, struct store_call *c,
	    const char *key, size_t max, struct buf *out,
	    struct store_info *ret);
/* Put bytes from memory. */
enum store_rc store_put_mem(struct store *s, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const void *p, size_t n,
	    struct store_info *ret);

/* --- the bare backends (conformance tests them without layers too) --- */
int	file_store_open(const struct url *u, struct store **ret,
	    struct why *why);
int	s3_store_open(const struct url *u, struct store **ret, struct why *why);
int	azure_store_open(const struct url *u, struct store **ret,
	    struct why *why);
int	gcs_store_open(const struct url *u, struct store **ret,
	    struct why *why);

/* --- layers: each takes the one below (also when it fails: frees it) --- */
struct retry_opts {
	int64_t	 deadline;	/* ns a call may take in all; 0 = 30 s */
	int64_t	 first_pause;	/* ns; 0 = 50 ms; doubles, full jitter, ≤ 2 s */
};
int	retry_layer(struct store *below, const struct retry_opts *o,
	    struct store **ret);
/* At most n calls below at once, WORK_* order is the caller's affair. */
int	limit_layer(struct store *below, unsigned n, struct store **ret);
/* One line a call to fd (written whole, appended):
 *   t=<mono ns> dur=<ns> store=<url> op=get key=... off= len= rc=ok n=
 *   inflight=
 * inflight: calls of the same op under way in this layer when it began,
 * itself included. */
int	trace_layer(struct store *below, int fd, struct store **ret);
/* Faults from a text, for tests: "op=put,nth=3,rc=ambiguous,after=1;..."
 * after=1: the call below is made, its answer replaced. every=N: each Nth. */
int	fault_layer(struct store *below, const char *spec, struct store **ret,
	    struct why *why);

/* --- the stack as the daemon and tools use it (stack.c) --- */
struct stack_opts {
	unsigned	 concurrency;	/* 0 = 64 */
	struct retry_opts retry;
	const char	*fault;		/* NULL, or for fault_layer */
	int		 trace_fd;	/* -1: none */
};
/* By scheme: the table.  -EINVAL, -EACCES (no credentials: why says where
 * they were looked for), -ENOMEM; no request is sent yet.  The environment
 * GNSFS_TRACE=FILE and GNSFS_FAULT=SPEC fill opts that leave them open. */
int	store_open(const struct url *u, const struct stack_opts *opts,
	    struct store **ret, struct why *why);

/* --- walk: a whole prefix, listed in parallel (walk.c) --- */
struct walk_opts {
	unsigned	parallel;	/* LISTs in flight; 0 = 8 */
};
/* Every key below prefix, in no order, each once; `each` is called from one
 * thread at a time.  Splits by delimiter, and a flat prefix by start-after.
 * STORE_CANCELLED when each said stop. */
enum store_rc store_walk(struct store *s, struct store_call *c,
	    const char *prefix, const struct walk_opts *o,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);

#endif

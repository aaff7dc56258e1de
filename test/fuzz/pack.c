/*
 * pack: small files' bytes, cut into packs and read back.
 *
 * An odd first byte: the rest is a history of a few files, a byte an event
 * (written, cut to nothing, removed, frozen, landed); what a batch's packs
 * hold is what was written, each file's where its extent says it is.
 *
 * An even one: a host reads the files of a pack from a store that gives, with
 * OK, whatever the rest is made of: the bytes that were stored, or EIO.
 */
#include "fuzz.h"
#include "host.h"

#include "base/hash.h"
#include "cache/small.h"
#include "meta/batch.h"
#include "meta/internal.h"

int	LLVMFuzzerInitialize(int *argc, char ***argv);

enum { FILES = 8, EVENTS = 48, PACKS = 64 };

/* --- cutting --- */

static struct meta *meta;
static char meta_dir[200];
static uint64_t lsn;

/* What a file is to hold; of the pack's copy, until it is written again. */
static struct file {
	uint64_t	 ino, seq;
	size_t		 n;
	uint8_t		 fill;
} cut[FILES];

static struct pack { uint64_t object; struct buf bytes; } packs[PACKS];
static unsigned npacks;

struct change_op { struct op op; const void *p; size_t n; uint64_t seq; };

static int
change_tx(struct sqc *c, void *arg)
{
	struct change_op *o = arg;

	return journal(meta, c, &o->op, o->p != NULL ? NEEDS_PACK :
	    NEEDS_NOTHING, o->p, o->n, &o->seq);
}

static uint64_t
change(const struct op *op, const void *p, size_t n)
{
	struct change_op o = { *op, p, n, 0 };

	HOLDS(sq_write(meta_sq(meta), change_tx, &o) == 0);
	return o.seq;
}

static int
grant_tx(struct sqc *c, void *arg)
{
	return meta_session_granted(c, 1, 64);
}

static int
open_tx(struct sqc *c, void *arg)
{
	static const struct change landed = { 0 };

	return apply(c, &landed, arg, APPLY_BOTH);
}

static void
cut_begin(void)
{
	struct meta_session s;
	struct op op = { .kind = OP_SESSION_OPEN, .first_seq = 1, .mtime = 1,
	    .name = "host", .block_first = 1, .block_count = 64 };
	const char *tmp = getenv("TMPDIR");
	char path[220];

	snprintf(meta_dir, sizeof meta_dir, "%s/gnsfs-fuzz-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	HOLDS(mkdtemp(meta_dir) != NULL);
	snprintf(path, sizeof path, "%s/m", meta_dir);
	HOLDS(meta_open(path, &meta, NULL) == 0);
	HOLDS(sq_write(meta_sq(meta), grant_tx, NULL) == 0);
	HOLDS(meta_session_take(meta, &s) == 0);
	op.session = s.number;
	op.nonce = s.nonce;
	memcpy(op.state_id, s.state_id, sizeof op.state_id);
	HOLDS(sq_write(meta_sq(meta), open_tx, &op) == 0);
}

static void
file_write(unsigned i, size_t n)
{
	static uint8_t bytes[META_SMALL_MAX];
	struct file *f = &cut[i];
	char name[8];
	struct op op = { .kind = OP_CREATE, .parent = META_ROOT,
	    .name = name, .mode = S_IFREG | 0644, .mtime = 1000 };

	snprintf(name, sizeof name, "%u", i);
	if (f->ino == 0) {
		f->ino = op.ino = meta_new_id(meta);
		(void)change(&op, NULL, 0);
	}
	f->n = n;
	f->fill = (uint8_t)(f->fill * 7 + i + n + 1);
	memset(bytes, f->fill, n);
	op = (struct op){ .kind = OP_EXTENTS, .ino = f->ino, .size = n,
	    .mtime = 2000, .ctime = 2000 };
	f->seq = change(&op, bytes, n);
}

static void
file_remove(unsigned i)
{
	struct file *f = &cut[i];
	char name[8];
	struct op op = { .kind = OP_UNLINK, .parent = META_ROOT,
	    .name = name, .ino = f->ino, .ctime = 3000 };

	if (f->ino == 0)
		return;
	snprintf(name, sizeof name, "%u", i);
	(void)change(&op, NULL, 0);
	f->ino = 0;
}

static int
pack_note(void *arg, uint64_t object, uint64_t size)
{
	struct sqc *c = arg;
	struct pack *p = &packs[npacks++];

	HOLDS(npacks <= PACKS && size > 0 && size <= PACK_MAX_BYTES);
	*p = (struct pack){ object, BUF_INIT };
	HOLDS(batch_pack_bytes(c, object, &p->bytes) == 0);
	HOLDS(p->bytes.len == size);
	return 0;
}

static const struct buf *
pack_of(uint64_t object)
{
	for (unsigned i = 0; i < npacks; i++)
		if (packs[i].object == object)
			return &packs[i].bytes;
	return NULL;
}

static bool
is_filled(const uint8_t *p, size_t n, uint8_t fill)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != fill)
			return false;
	return true;
}

static int
small_holds(void *arg, uint64_t ino, uint64_t seq, uint64_t object,
    uint64_t ooff, const void *bytes, size_t n)
{
	const struct buf *b = pack_of(object);

	HOLDS(b != NULL && ooff <= b->len && n <= b->len - ooff);
	HOLDS(memcmp(b->p + ooff, bytes, n) == 0);
	for (unsigned i = 0; i < FILES; i++)
		if (cut[i].ino == ino && cut[i].seq == seq)
			HOLDS(n == cut[i].n && is_filled(bytes, n,
			    cut[i].fill));
	return 0;
}

static void
packs_drop(void)
{
	while (npacks > 0)
		buf_done(&packs[--npacks].bytes);
}

/* 1: a batch is frozen, and its packs hold what they are to. */
static int
freeze(void)
{
	struct sqc *c;
	int rc = batch_freeze(meta, 1);

	HOLDS(rc == 0 || rc == 1);
	packs_drop();
	if (rc == 0)
		return 0;
	HOLDS(sq_read(meta_sq(meta), &c) == 0);
	HOLDS(batch_packs(c, pack_note, c) == 0);
	HOLDS(batch_small(c, small_holds, NULL) == 0);
	sq_read_end(c);
	return 1;
}

static int
clean(void *arg, struct sqc *c, uint64_t ino, const void *bytes, size_t n)
{
	for (unsigned i = 0; i < FILES; i++)
		if (cut[i].ino == ino)
			HOLDS(n == cut[i].n && is_filled(bytes, n,
			    cut[i].fill));
	return 0;
}

static int
stored(void *arg, struct sqc *c, uint64_t ino, uint64_t seq)
{
	abort();	/* there are no large files */
}

static int
land_tx(struct sqc *c, void *arg)
{
	const struct landed_fns fns = { clean, stored, NULL };
	const struct meta_head h = { .lsn = ++lsn };

	return batch_landed(meta, c, &h, &fns);
}

static int
extent_holds(void *arg, const struct meta_extent *e)
{
	const struct file *f = arg;
	const struct buf *b = pack_of(e->object);

	HOLDS(e->off == 0 && e->len == f->n && b != NULL);
	HOLDS(e->ooff <= b->len && e->len <= b->len - e->ooff);
	HOLDS(is_filled(b->p + e->ooff, e->len, f->fill));
	HOLDS(e->crc == (int64_t)crc32c(0, b->p + e->ooff, e->len));
	return 0;
}

/* What is stored and was not written again is where it is said to be. */
static void
land(void)
{
	struct sqc *c;

	if (freeze() == 0)
		return;
	HOLDS(sq_write(meta_sq(meta), land_tx, NULL) == 0);
	HOLDS(sq_read(meta_sq(meta), &c) == 0);
	for (unsigned i = 0; i < FILES; i++)
		if (cut[i].ino != 0 && cut[i].n > 0 &&
		    !unstored_has(c, cut[i].ino) && cut[i].seq != 0) {
			HOLDS(meta_extents(c, cut[i].ino, 0, cut[i].n,
			    extent_holds, &cut[i]) == 0);
			cut[i].seq = 0;		/* seen */
		}
	sq_read_end(c);
	packs_drop();
}

static void
cut_run(const uint8_t *p, size_t n)
{
	static const size_t sizes[] = { 0, 1, 2, 100, 4096, 5000, 65535,
	    META_SMALL_MAX };

	for (size_t i = 0; i < n && i < EVENTS; i++) {
		unsigned file = p[i] & 7;

		switch (p[i] >> 6) {
		case 0:
		case 1:
			file_write(file, sizes[p[i] >> 3 & 7]);
			break;
		case 2:
			file_remove(file);
			break;
		default:
			if ((p[i] & 1) != 0)
				land();
			else
				(void)freeze();
		}
	}
	for (unsigned i = 0; i < FILES; i++)
		file_remove(i);
	while (freeze() == 1)
		land();
	packs_drop();
}

/* --- reading back --- */

enum { SMALLS = 6 };
static const size_t small_sizes[SMALLS] = { 1, 17, 300, 4096, 9000, 65536 };
static uint64_t small_inos[SMALLS];
static uint8_t small_bytes[SMALLS][META_SMALL_MAX];

/* What the store answers to a get of bytes of a pack: to this input's alone,
 * though others of it may be fetched ahead when it is done. */
static struct { const uint8_t *p; size_t n; bool on; } evil;
static pthread_mutex_t evil_lock = PTHREAD_MUTEX_INITIALIZER;

struct evil_store { struct store store; struct store *below; };

static void
evil_is(const uint8_t *p, size_t n)
{
	pthread_mutex_lock(&evil_lock);
	evil.on = p != NULL;
	evil.p = p;
	evil.n = n;
	pthread_mutex_unlock(&evil_lock);
}

#define BELOW(s)	(((struct evil_store *)(s))->below)

/* Some of the right bytes, by the rest of the input: how many, and which are
 * others. */
struct twist { store_sink *sink; void *arg; struct buf bytes; };

static int
twist_sink(void *arg, const void *p, size_t n)
{
	struct twist *t = arg;

	buf_put(&t->bytes, p, n);
	return buf_err(&t->bytes);
}

static enum store_rc
twist_end(struct twist *t)
{
	size_t cut = evil.p[0] | (size_t)evil.p[1] << 8, n = t->bytes.len;
	int rc = 0;

	for (size_t i = 2; i + 3 <= evil.n && n > 0; i += 3)
		t->bytes.p[(evil.p[i] | (size_t)evil.p[i + 1] << 8) % n] ^=
		    evil.p[i + 2];
	if (cut >= 0xff00) {		/* more than was asked for */
		buf_put(&t->bytes, "more", 4);
		n = t->bytes.len;
	} else if (cut < n) {
		n -= cut;
	}
	/* in two, as a network may */
	rc = t->sink(t->arg, t->bytes.p, n / 2);
	if (rc == 0)
		rc = t->sink(t->arg, t->bytes.p + n / 2, n - n / 2);
	return rc == 0 ? STORE_OK : STORE_CANCELLED;
}

static enum store_rc
evil_get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	struct twist t = { sink, arg, BUF_INIT };
	enum store_rc rc;

	pthread_mutex_lock(&evil_lock);
	if (!evil.on || strncmp(key, "data/", 5) != 0) {
		pthread_mutex_unlock(&evil_lock);
		return store_get(BELOW(s), c, key, version, off, len, sink,
		    arg, ret);
	}
	rc = store_get(BELOW(s), c, key, version, off, len, twist_sink, &t,
	    ret);
	if (rc == STORE_OK)
		rc = twist_end(&t);
	pthread_mutex_unlock(&evil_lock);
	buf_done(&t.bytes);
	return rc;
}

static enum store_rc
evil_put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	return store_put(BELOW(s), c, key, cond, match, src, ret);
}

static enum store_rc
evil_head(struct store *s, struct store_call *c, const char *key,
    struct store_info *ret)
{
	return store_head(BELOW(s), c, key, ret);
}

static enum store_rc
evil_del(struct store *s, struct store_call *c, const char *key,
    const struct store_version *match)
{
	return store_del(BELOW(s), c, key, match);
}

static enum store_rc
evil_list(struct store *s, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	return store_list(BELOW(s), c, l, each, arg);
}

static unsigned
evil_caps(struct store *s)
{
	return store_caps(BELOW(s));
}

static void
evil_free(struct store *s)
{
	store_free(BELOW(s));
	free(s);
}

static struct store *
evil_layer(struct store *below)
{
	static const struct store_ops ops = { .get = evil_get,
	    .put = evil_put, .head = evil_head, .del = evil_del,
	    .list = evil_list, .caps = evil_caps, .free = evil_free };
	struct evil_store *e = calloc(1, sizeof *e);

	HOLDS(e != NULL);
	e->store = (struct store){ &ops, below->url };
	e->below = below;
	return &e->store;
}

static void
read_begin(void)
{
	struct why why = { "" };
	char name[8];

	host.layer = evil_layer;
	host_up();
	for (unsigned i = 0; i < SMALLS; i++) {
		for (size_t k = 0; k < small_sizes[i]; k++)
			small_bytes[i][k] = (uint8_t)(k * 31 + i);
		snprintf(name, sizeof name, "%u", i);
		small_inos[i] = host_make(META_ROOT, name, small_bytes[i],
		    small_sizes[i]);
	}
	HOLDS(io_sync(host.f, 0, clock_mono() + 10 * NSEC_PER_SEC,
	    &why) == 0);
}

static void
read_run(const uint8_t *p, size_t n)
{
	static uint8_t got[META_SMALL_MAX + 1];
	struct handle *h;
	ssize_t r;

	if (n < 3)
		return;
	evil_is(p + 1, n - 1);
	for (unsigned i = 0; i < SMALLS; i++) {
		if ((p[0] >> i & 1) == 0)
			continue;
		HOLDS(small_drop(host.f->cache, small_inos[i]) == 0);
		HOLDS(io_open(host.f, small_inos[i], O_RDONLY, &h) == 0);
		r = io_read(host.f, h, got, sizeof got, 0);
		HOLDS(r == -EIO || r == (ssize_t)small_sizes[i]);
		if (r >= 0)
			HOLDS(memcmp(got, small_bytes[i],
			    small_sizes[i]) == 0);
		io_release(host.f, h);
	}
	evil_is(NULL, 0);
}

/* --- both --- */

static void
down(void)
{
	host_down();
	meta_close(meta);
	nftw(meta_dir, host_remove, 16, FTW_DEPTH | FTW_PHYS);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	read_begin();
	cut_begin();
	atexit(down);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n == 0)
		return 0;
	if ((p[0] & 1) != 0)
		cut_run(p + 1, n - 1);
	else
		read_run(p + 1, n - 1);
	return 0;
}

/*
 * segment: encoding, checked decoding, and replay (L2; M2).
 *
 * A segment is decoded whole before anything of it is applied: every op of
 * every batch must parse, so replay never stops half way at a damaged one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "meta/frame.h"
#include "meta/segment.h"

#define SEGMENT_LEVEL	3	/* of compression */

static const char segment_magic[FRAME_MAGIC + 1] = "GNSSEG1\n";

void
segment_key(uint64_t lsn, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "log/%" PRIx64 "/%016" PRIx64, lsn >> 12, lsn);
}

void
object_key(uint64_t id, char ret[KEY_MAX])
{
	uint64_t n = id & ((UINT64_C(1) << META_ID_SHIFT) - 1);

	snprintf(ret, KEY_MAX, "data/%02x/%" PRIx64 "-%" PRIx64,
	    (unsigned)(n & 0xff), id >> META_ID_SHIFT, n);
}

void
piece_key(const uint8_t hash[32], char ret[KEY_MAX])
{
	char hex[SHA256_HEX];

	hex_encode(hash, SHA256_LEN, hex);
	snprintf(ret, KEY_MAX, "piece/%.2s/%s", hex, hex);
}

void
snapshot_key(uint64_t lsn, char ret[KEY_MAX])
{
	snprintf(ret, KEY_MAX, "snap/%016" PRIx64, lsn);
}

int
segment_encode(uint64_t lsn, const uint8_t prev[32], const struct batch *b,
    unsigned n, struct buf *out, uint8_t rethash[32])
{
	struct buf raw = { .max = SEGMENT_RAW_MAX };
	size_t at = out->len;
	int err;

	buf_put(&raw, segment_magic, FRAME_MAGIC);
	buf_put_u32(&raw, FEATURE_LEVEL);
	buf_put_u64(&raw, lsn);
	buf_put(&raw, prev, SHA256_LEN);
	buf_put_varint(&raw, n);
	for (unsigned i = 0; i < n; i++) {
		buf_put_varint(&raw, b[i].session);
		buf_put_u64(&raw, b[i].nonce);
		buf_put_varint(&raw, b[i].first);
		buf_put_varint(&raw, b[i].last);
		buf_put_varint(&raw, b[i].nops);
		buf_put_bytes(&raw, b[i].body.p, b[i].body.len);
	}
	err = buf_err(&raw);
	if (err != 0)
		goto out;
	err = frame_seal(raw.p, raw.len, SEGMENT_LEVEL, out);
	if (err == 0 && out->len - at > SEGMENT_MAX)
		err = -EFBIG;
	if (err == 0)
		sha256(out->p + at, out->len - at, rethash);
out:
	buf_done(&raw);
	return err;
}

/* Keeps a copy of a session op; op was decoded from bytes of the segment. */
static int
segment_keep_open(struct segment *s, const void *p, size_t n)
{
	struct buf *store;
	struct op *ops;
	struct buf *bufs;
	struct cur c;

	if (s->nopens == SEGMENT_OPENS)
		return -EBADMSG;
	ops = realloc(s->opens, (s->nopens + 1) * sizeof(*ops));
	if (ops == NULL)
		return -ENOMEM;
	s->opens = ops;
	bufs = realloc(s->open_bytes, (s->nopens + 1) * sizeof(*bufs));
	if (bufs == NULL)
		return -ENOMEM;
	s->open_bytes = bufs;
	store = &bufs[s->nopens];
	*store = (struct buf)BUF_INIT;
	cur_init(&c, p, n);
	op_decode(&c, &ops[s->nopens], store);
	s->nopens++;
	return cur_err(&c) != 0 ? -EBADMSG : buf_err(store);
}

/* Every op parses, there are as many as it says, and nothing follows. */
static int
batch_check(struct segment *s, const struct batch *b)
{
	struct buf store = BUF_INIT;
	const uint8_t *at;
	struct op op;
	struct cur c;
	int err = 0;

	cur_init(&c, b->body.p, b->body.len);
	for (uint64_t i = 0; err == 0 && i < b->nops; i++) {
		at = c.p;
		buf_reset(&store);
		op_decode(&c, &op, &store);
		if (cur_err(&c) != 0)
			err = -EBADMSG;
		else if (buf_err(&store) != 0)
			err = buf_err(&store);
		else if (op.kind == OP_SESSION_OPEN ||
		    op.kind == OP_SESSION_FENCE)
			err = segment_keep_open(s, at, (size_t)(c.p - at));
	}
	if (err == 0 && cur_left(&c) != 0)
		err = -EBADMSG;
	buf_done(&store);
	return err == -EFBIG ? -EBADMSG : err;
}

static int
batch_decode(struct cur *c, struct segment *s, struct batch *b)
{
	const void *body;
	uint64_t session;
	size_t n;

	session = cur_varint(c);
	b->nonce = cur_u64(c);
	b->first = cur_varint(c);
	b->last = cur_varint(c);
	b->nops = cur_varint(c);
	body = cur_bytes(c, SEGMENT_RAW_MAX, &n);
	if (cur_err(c) != 0 || session == 0 || session > META_SESSION_MAX ||
	    b->nops == 0 || b->nops > n)
		return -EBADMSG;
	/* of a session_open alone, first and last mean nothing */
	if (b->nops != 1 && (b->first == 0 || b->last < b->first ||
	    b->last - b->first != b->nops - 1))
		return -EBADMSG;
	b->session = (uint32_t)session;
	buf_put(&b->body, body, n);
	if (buf_err(&b->body) != 0)
		return buf_err(&b->body);
	return batch_check(s, b);
}

static int
segment_decode_batches(struct cur *c, const char *what, struct segment *s,
    struct why *why)
{
	uint64_t n;
	int err;

	n = cur_varint(c);
	if (cur_err(c) != 0 || n > SEGMENT_BATCHES || n > cur_left(c))
		return why_set(why, -EBADMSG, "%s: number of batches", what);
	s->batches = calloc(n + 1, sizeof(*s->batches));
	if (s->batches == NULL)
		return -ENOMEM;
	while (s->nbatches < n) {
		err = batch_decode(c, s, &s->batches[s->nbatches++]);
		if (err == -EBADMSG)
			return why_set(why, err, "%s: batch %u of %" PRIu64
			    " is damaged", what, s->nbatches, n);
		if (err != 0)
			return err;
	}
	if (cur_left(c) != 0)
		return why_set(why, -EBADMSG, "%s: bytes after its end", what);
	return 0;
}

int
segment_decode(const void *p, size_t n, uint64_t lsn, struct segment *ret,
    struct why *why)
{
	struct segment s = { 0 };
	struct buf raw = BUF_INIT;
	const void *prev;
	char what[40];
	struct cur c;
	int err;

	snprintf(what, sizeof(what), "segment %" PRIu64, lsn);
	if (n > SEGMENT_MAX)
		return why_set(why, -EBADMSG, "%s: longer than %u bytes", what,
		    SEGMENT_MAX);
	err = frame_open(p, n, segment_magic, SEGMENT_RAW_MAX, what, &raw, &c,
	    why);
	if (err != 0)
		goto out;
	s.lsn = cur_u64(&c);
	prev = cur_raw(&c, sizeof(s.prev));
	if (cur_err(&c) != 0 || s.lsn != lsn) {
		err = why_set(why, -EBADMSG, "%s: says it is segment %" PRIu64,
		    what, s.lsn);
		goto out;
	}
	memcpy(s.prev, prev, sizeof(s.prev));
	sha256(p, n, s.hash);
	err = segment_decode_batches(&c, what, &s, why);
	if (err != 0)
		goto out;
	*ret = s;
	s = (struct segment){ 0 };
out:
	buf_done(&raw);
	segment_done(&s);
	return err;
}

void
segment_done(struct segment *s)
{
	for (unsigned i = 0; i < s->nbatches; i++)
		batch_done(&s->batches[i]);
	for (unsigned i = 0; i < s->nopens; i++)
		buf_done(&s->open_bytes[i]);
	free(s->batches);
	free(s->opens);
	free(s->open_bytes);
	*s = (struct segment){ 0 };
}

/* Whom an applied op concerns, for invalidation (F4). */
static void
tell_changed(const struct changed_fns *f, const struct op *op)
{
	const char *name = op->name != NULL ? op->name : "";
	const char *name2 = op->name2 != NULL ? op->name2 : "";

	switch (op->kind) {
	case OP_REFRESH:
		f->inode(f->arg, op->ino);
		if (op->mask == REFRESH_TIME)
			break;
		f->entry(f->arg, op->parent, name);
		f->inode(f->arg, op->parent);
		if (op->mask == REFRESH_NAME)
			f->entry(f->arg, op->parent, name2);
		break;
	case OP_RENAME:
		f->entry(f->arg, op->parent2, name2);
		f->inode(f->arg, op->parent2);
		if (op->ino2 != 0)
			f->inode(f->arg, op->ino2);
		/* FALLTHROUGH */
	case OP_LINK:
	case OP_UNLINK:
	case OP_RMDIR:
		f->inode(f->arg, op->ino);
		/* FALLTHROUGH */
	case OP_CREATE:
	case OP_MKDIR:
	case OP_SYMLINK:
	case OP_ATTACH:
		f->entry(f->arg, op->parent, name);
		f->inode(f->arg, op->parent);
		break;
	case OP_SETATTR:
	case OP_SETXATTR:
	case OP_REMOVEXATTR:
	case OP_EXTENTS:
	case OP_TRUNCATE:
		f->inode(f->arg, op->ino);
		break;
	default:
		break;
	}
}

/* Of this host's database, not of the op: ends the replay. */
static bool
is_local_failure(int err)
{
	return err == -EIO || err == -ENOSPC || err == -ENOMEM ||
	    err == -EUCLEAN;
}

static int
replay_batch(struct sqc *c, const struct batch *b,
    const struct changed_fns *changed)
{
	const struct change landed = { 0 };
	struct buf store = BUF_INIT;
	struct op op;
	struct cur cur;
	int err;

	err = batch_admissible(c, b);
	if (err <= 0)
		return err;
	cur_init(&cur, b->body.p, b->body.len);
	for (uint64_t i = 0; i < b->nops; i++) {
		buf_reset(&store);
		op_decode(&cur, &op, &store);
		err = cur_err(&cur) != 0 ? -EBADMSG : buf_err(&store);
		if (err != 0)
			goto out;
		err = apply(c, &landed, &op, APPLY_BOTH);	/* M2 */
		if (is_local_failure(err))
			goto out;
		if (err == 0 && changed != NULL)
			tell_changed(changed, &op);
	}
	err = batch_applied(c, b);
out:
	buf_done(&store);
	return err;
}

int
segment_replay(struct sqc *c, const struct segment *seg,
    const struct changed_fns *changed, struct why *why)
{
	struct meta_head h;
	int err;

	err = meta_head(c, &h);
	if (err != 0)
		return err;
	if (seg->lsn != h.lsn + 1)
		return why_set(why, -EBADMSG, "segment %" PRIu64 " does not "
		    "follow the last applied, %" PRIu64, seg->lsn, h.lsn);
	if (memcmp(seg->prev, h.hash, sizeof(h.hash)) != 0)
		return why_set(why, -EBADMSG, "segment %" PRIu64 " follows "
		    "another segment %" PRIu64 " than the one applied here",
		    seg->lsn, h.lsn);
	for (unsigned i = 0; i < seg->nbatches; i++) {
		err = replay_batch(c, &seg->batches[i], changed);
		if (err != 0)
			return err;
	}
	h.lsn = seg->lsn;
	memcpy(h.hash, seg->hash, sizeof(h.hash));
	return meta_set_head(c, &h);
}

int
segment_attaches(const struct segment *seg,
    int (*each)(void *arg, uint64_t lo, uint64_t hi, const uint8_t *hashes,
	size_t n), void *arg)
{
	struct buf store = BUF_INIT;
	struct cur c;
	struct op op;
	int err = 0;

	for (unsigned i = 0; err == 0 && i < seg->nbatches; i++) {
		const struct batch *b = &seg->batches[i];

		cur_init(&c, b->body.p, b->body.len);
		for (uint64_t k = 0; err == 0 && k < b->nops; k++) {
			buf_reset(&store);
			op_decode(&c, &op, &store);
			err = cur_err(&c) != 0 ? -EBADMSG : buf_err(&store);
			if (err == 0 && op.kind == OP_ATTACH)
				err = each(arg, op.ino, op.ino2, op.value,
				    op.nvalue / SHA256_LEN);
		}
	}
	buf_done(&store);
	return err;
}

int
segment_opens(const struct segment *seg, const struct op **retops,
    unsigned *retn)
{
	*retops = seg->opens;
	*retn = seg->nopens;
	return 0;
}

/*
 * snapshot: the log prefix as pieces, and back (L12, M4).  Making one is a
 * single pass: every row goes to the piece writer and to the digest.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "meta/digest.h"
#include "meta/frame.h"
#include "meta/segment.h"

#define SNAPSHOT_LEVEL	3
#define SNAPSHOT_ENTRY	34	/* bytes of a piece in the list, at least */
#define SNAPSHOT_RAW	((size_t)SNAPSHOT_PIECES * (SNAPSHOT_ENTRY + 9) + 256)

static const char snapshot_magic[FRAME_MAGIC + 1] = "GNSSNAP1";

struct making {
	piece_emit	*emit;
	void		*arg;
	struct piece_writer *w;
	struct digest	*digest;
	struct snapshot	 s;
	unsigned	 cap;		/* of s.pieces */
};

static int
making_emit(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	struct making *m = arg;
	struct snapshot_piece *sp;

	if (m->s.npieces == SNAPSHOT_PIECES)
		return -EFBIG;
	if (m->s.npieces == m->cap) {
		unsigned cap = m->cap != 0 ? 2 * m->cap : 64;

		sp = realloc(m->s.pieces, cap * sizeof(*sp));
		if (sp == NULL)
			return -ENOMEM;
		m->s.pieces = sp;
		m->cap = cap;
	}
	sp = &m->s.pieces[m->s.npieces++];
	sp->tbl = tbl;
	sp->rows = rows;
	memcpy(sp->hash, hash, sizeof(sp->hash));
	return m->emit(m->arg, tbl, rows, hash, p, n);
}

static int
making_row(void *arg, const struct row *r, const void *image, size_t n)
{
	struct making *m = arg;
	int err;

	err = digest_add(m->digest, r->tbl, image, n);
	if (err != 0)
		return err;
	return piece_writer_add_image(m->w, r, image, n);
}

static int
making_scan(struct sqc *c, struct making *m)
{
	struct meta_head h;
	int err;

	err = meta_head(c, &h);
	if (err != 0)
		return err;
	m->s.lsn = h.lsn;
	memcpy(m->s.head, h.hash, sizeof(m->s.head));
	for (unsigned t = 0; err == 0 && t < T_COUNT; t++)
		err = rows_scan_prefix(c, (enum tbl)t, making_row, m);
	return err;
}

int
snapshot_make(struct sqc *c, piece_emit *emit, void *arg, struct snapshot *ret)
{
	struct making m = { .emit = emit, .arg = arg };
	int err;

	err = digest_new(&m.digest);
	if (err == 0)
		err = piece_writer_new(making_emit, &m, &m.w);
	if (err != 0)
		goto out;
	err = sq_snapshot_begin(c);
	if (err != 0)
		goto out;
	err = making_scan(c, &m);
	sq_snapshot_end(c);
	if (err != 0)
		goto out;
	err = piece_writer_end(m.w);
	m.w = NULL;
	if (err != 0)
		goto out;
	digest_final(m.digest, m.s.digest);
	m.digest = NULL;
	*ret = m.s;
	m.s = (struct snapshot){ 0 };
out:
	digest_final(m.digest, NULL);
	piece_writer_free(m.w);
	snapshot_done(&m.s);
	return err;
}

int
snapshot_encode(const struct snapshot *s, struct buf *out)
{
	struct buf raw = { .max = SNAPSHOT_RAW };
	int err;

	buf_put(&raw, snapshot_magic, FRAME_MAGIC);
	buf_put_u32(&raw, FEATURE_LEVEL);
	buf_put_u64(&raw, s->lsn);
	buf_put(&raw, s->head, sizeof(s->head));
	buf_put(&raw, s->digest, sizeof(s->digest));
	buf_put_varint(&raw, s->npieces);
	for (unsigned i = 0; i < s->npieces; i++) {
		buf_put_u8(&raw, s->pieces[i].tbl);
		buf_put_varint(&raw, s->pieces[i].rows);
		buf_put(&raw, s->pieces[i].hash, sizeof(s->pieces[i].hash));
	}
	err = buf_err(&raw);
	if (err == 0)
		err = frame_seal(raw.p, raw.len, SNAPSHOT_LEVEL, out);
	buf_done(&raw);
	return err;
}

static int
snapshot_decode_pieces(struct cur *c, uint64_t n, struct snapshot *s)
{
	unsigned last = 0;

	s->pieces = calloc(n + 1, sizeof(*s->pieces));
	if (s->pieces == NULL)
		return -ENOMEM;
	while (s->npieces < n) {
		struct snapshot_piece *sp = &s->pieces[s->npieces++];
		unsigned tbl = cur_u8(c);
		const void *hash;

		sp->rows = cur_varint(c);
		hash = cur_raw(c, sizeof(sp->hash));
		if (cur_err(c) != 0 || tbl >= T_COUNT || tbl < last ||
		    sp->rows == 0)
			return -EBADMSG;
		memcpy(sp->hash, hash, sizeof(sp->hash));
		sp->tbl = (enum tbl)tbl;
		last = tbl;
	}
	return cur_left(c) != 0 ? -EBADMSG : 0;
}

int
snapshot_decode(const void *p, size_t n, struct snapshot *ret, struct why *why)
{
	struct snapshot s = { 0 };
	struct buf raw = BUF_INIT;
	const void *head, *digest;
	struct cur c;
	uint64_t np;
	int err;

	err = frame_open(p, n, snapshot_magic, SNAPSHOT_RAW, "snapshot", &raw,
	    &c, why);
	if (err != 0)
		goto out;
	s.lsn = cur_u64(&c);
	head = cur_raw(&c, sizeof(s.head));
	digest = cur_raw(&c, sizeof(s.digest));
	np = cur_varint(&c);
	if (cur_err(&c) != 0 || np > SNAPSHOT_PIECES ||
	    np > cur_left(&c) / SNAPSHOT_ENTRY) {
		err = why_set(why, -EBADMSG, "snapshot: number of pieces");
		goto out;
	}
	memcpy(s.head, head, sizeof(s.head));
	memcpy(s.digest, digest, sizeof(s.digest));
	err = snapshot_decode_pieces(&c, np, &s);
	if (err == -EBADMSG)
		why_set(why, err, "snapshot %" PRIu64 ": its list of pieces is"
		    " damaged", s.lsn);
	if (err != 0)
		goto out;
	*ret = s;
	s = (struct snapshot){ 0 };
out:
	buf_done(&raw);
	snapshot_done(&s);
	return err;
}

void
snapshot_done(struct snapshot *s)
{
	free(s->pieces);
	*s = (struct snapshot){ 0 };
}

int
snapshot_loaded(struct sqc *c, const struct snapshot *s,
    const uint8_t digest[32], struct why *why)
{
	struct meta_head h = { .lsn = s->lsn };

	if (memcmp(digest, s->digest, SHA256_LEN) != 0)
		return why_set(why, -EBADMSG, "snapshot %" PRIu64 ": what was "
		    "loaded is not what it was made from", s->lsn);
	memcpy(h.hash, s->head, sizeof(h.hash));
	return meta_set_head(c, &h);
}

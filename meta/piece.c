/*
 * piece: writer, checking reader, loader (L12).
 *
 * The writer keeps one piece's images behind room for its head, so that head
 * and images are one run of bytes when the piece is cut.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "meta/digest.h"
#include "meta/frame.h"
#include "meta/piece.h"
#include "meta/segment.h"

#define PIECE_LEVEL	1	/* of compression */
#define PIECE_HEAD	32	/* room: magic 8, level 4, table 1, varint 10 */

static const char piece_magic[FRAME_MAGIC + 1] = "GNSPC1\n";

struct piece_writer {
	piece_emit	*emit;
	void		*arg;
	enum tbl	 tbl;
	uint64_t	 rows;		/* in images */
	struct buf	 images; /* PIECE_HEAD bytes of room, then images */
	struct buf	 key, image, stored; /* scratch */
};

int
piece_writer_new(piece_emit *emit, void *arg, struct piece_writer **ret)
{
	struct piece_writer *w;

	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	w->emit = emit;
	w->arg = arg;
	*ret = w;
	return 0;
}

void
piece_writer_free(struct piece_writer *w)
{
	if (w == NULL)
		return;
	buf_done(&w->images);
	buf_done(&w->key);
	buf_done(&w->image);
	buf_done(&w->stored);
	free(w);
}

/* Ends the piece: head before images, sealed, named, emitted. */
static int
piece_cut(struct piece_writer *w)
{
	uint8_t hash[SHA256_LEN];
	struct buf head = BUF_INIT;
	uint8_t *start;
	int err;

	if (w->rows == 0)
		return 0;
	buf_put(&head, piece_magic, FRAME_MAGIC);
	buf_put_u32(&head, FEATURE_LEVEL);
	buf_put_u8(&head, w->tbl);
	buf_put_varint(&head, w->rows);
	err = buf_err(&head);
	if (err != 0)
		goto out;
	start = w->images.p + PIECE_HEAD - head.len;
	memcpy(start, head.p, head.len);
	buf_reset(&w->stored);
	err = frame_seal(start, w->images.p + w->images.len - start,
	    PIECE_LEVEL, &w->stored);
	if (err != 0)
		goto out;
	sha256(w->stored.p, w->stored.len, hash);
	err = w->emit(w->arg, w->tbl, w->rows, hash, w->stored.p,
	    w->stored.len);
	w->rows = 0;
out:
	buf_done(&head);
	return err;
}

int
piece_writer_add_image(struct piece_writer *w, const struct row *r,
    const void *image, size_t n)
{
	int err;

	if (n > PIECE_MAX || (w->rows != 0 && r->tbl < w->tbl))
		return -EINVAL;
	if (w->rows != 0 && (r->tbl != w->tbl ||
	    w->images.len - PIECE_HEAD + n > PIECE_MAX)) {
		err = piece_cut(w);
		if (err != 0)
			return err;
	}
	if (w->rows == 0) {
		static const uint8_t room[PIECE_HEAD];

		buf_reset(&w->images);
		buf_put(&w->images, room, sizeof(room));
		w->tbl = r->tbl;
	}
	buf_put(&w->images, image, n);
	buf_reset(&w->key);
	row_encode_key(r, &w->key);
	if (buf_err(&w->images) != 0 || buf_err(&w->key) != 0)
		return -ENOMEM;
	w->rows++;
	if ((crc32c(0, w->key.p, w->key.len) &
	    ((1u << PIECE_BITS) - 1)) == 0)
		return piece_cut(w);
	return 0;
}

int
piece_writer_add(struct piece_writer *w, const struct row *r)
{
	buf_reset(&w->image);
	row_encode(r, &w->image);
	if (buf_err(&w->image) != 0)
		return buf_err(&w->image);
	return piece_writer_add_image(w, r, w->image.p, w->image.len);
}

int
piece_writer_end(struct piece_writer *w)
{
	int err;

	err = piece_cut(w);
	piece_writer_free(w);
	return err;
}

static int
piece_read_rows(struct cur *c, const char *what, struct digest *sum,
    int (*each)(void *arg, const struct row *r), void *arg, struct why *why)
{
	struct row rows[2];
	uint64_t n;
	uint8_t tbl;
	int err;

	tbl = cur_u8(c);
	n = cur_varint(c);
	if (cur_err(c) != 0 || tbl >= T_COUNT || n == 0 || n > cur_left(c))
		return why_set(why, -EBADMSG, "%s: table or number of rows",
		    what);
	for (uint64_t i = 0; i < n; i++) {
		struct row *r = &rows[i % 2];
		const uint8_t *image = c->p;

		row_decode(c, (enum tbl)tbl, r);
		if (cur_err(c) != 0)
			return why_set(why, -EBADMSG, "%s: row %" PRIu64
			    " is damaged", what, i);
		if (i != 0 && row_key_cmp(&rows[(i + 1) % 2], r) >= 0)
			return why_set(why, -EBADMSG, "%s: row %" PRIu64
			    " is out of order", what, i);
		err = each(arg, r);
		if (err == 0 && sum != NULL)
			err = digest_add(sum, (enum tbl)tbl, image,
			    (size_t)(c->p - image));
		if (err != 0)
			return err;
	}
	if (cur_left(c) != 0)
		return why_set(why, -EBADMSG, "%s: bytes after its end", what);
	return 0;
}

int
piece_open(const void *p, size_t n, const uint8_t *hash, struct piece *ret,
    struct why *why)
{
	uint8_t got[SHA256_LEN];
	char hex[SHA256_HEX];

	*ret = (struct piece){ .raw = BUF_INIT };
	sha256(p, n, got);
	hex_encode(hash != NULL ? hash : got, SHA256_LEN, hex);
	snprintf(ret->what, sizeof(ret->what), "piece %.12s", hex);
	if (hash != NULL && memcmp(hash, got, SHA256_LEN) != 0)
		return why_set(why, -EBADMSG, "%s: its bytes are not those "
		    "that its name says", ret->what);
	return frame_open(p, n, piece_magic, PIECE_MAX + PIECE_HEAD, ret->what,
	    &ret->raw, &ret->rows, why);
}

void
piece_done(struct piece *p)
{
	buf_done(&p->raw);
	*p = (struct piece){ .raw = BUF_INIT };
}

int
piece_read(const void *p, size_t n, const uint8_t *hash,
    int (*each)(void *arg, const struct row *r), void *arg, struct why *why)
{
	struct piece piece;
	int err;

	err = piece_open(p, n, hash, &piece, why);
	if (err == 0)
		err = piece_read_rows(&piece.rows, piece.what, NULL, each, arg,
		    why);
	piece_done(&piece);
	return err;
}

struct load {
	struct sqc	*c;
	uint64_t	 lo, hi;
	struct why	*why;
	struct row	 rows[ROWS_LOAD]; /* of the piece, not loaded yet */
	unsigned	 n;
};

/* Which columns of a table are ids: bits.  0: not of an import. */
static unsigned
tbl_id_columns(enum tbl tbl)
{
	switch (tbl) {
	case T_INODE:
	case T_OBJECT:
	case T_LOCATION:
	case T_XATTR:
	case T_SYMLINK:
	case T_TAG:
		return 1 << 0;
	case T_DENTRY:
		return 1 << 0 | 1 << 3;		/* parent, ino */
	case T_EXTENT:
		return 1 << 0 | 1 << 3;		/* ino, object */
	default:
		return 0;
	}
}

static int
load_flush(struct load *l)
{
	unsigned n = l->n;

	l->n = 0;
	return rows_load(l->c, l->rows, n);
}

static int
load_row(void *arg, const struct row *r)
{
	struct load *l = arg;
	unsigned ids;

	if (l->lo != 0 || l->hi != 0) {
		ids = tbl_id_columns(r->tbl);
		for (unsigned i = 0; ids >> i != 0; i++) {
			uint64_t id = (uint64_t)r->v[i].i;

			if ((ids & 1u << i) != 0 &&
			    (id < l->lo || id > l->hi))
				ids = 0;
		}
		if (ids == 0)
			return why_set(l->why, -EBADMSG, "a piece of an import"
			    " has a row of table %s that is not the import's",
			    tbl_descs[r->tbl].name);
	}
	l->rows[l->n++] = *r;
	return l->n == ROWS_LOAD ? load_flush(l) : 0;
}

int
piece_load(struct sqc *c, struct piece *p, uint64_t lo, uint64_t hi,
    struct digest *sum, struct why *why)
{
	struct load l = { .c = c, .lo = lo, .hi = hi, .why = why };
	int err;

	err = piece_read_rows(&p->rows, p->what, sum, load_row, &l, why);
	return err != 0 ? err : load_flush(&l);
}

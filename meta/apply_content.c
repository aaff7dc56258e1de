/*
 * apply_content: the content part of operations (M1): where a file's bytes
 * are.  It has no preconditions; what it does follows from the op and the
 * content tables alone, so that it may run when the op is frozen, later than
 * the attribute part, and still gives what replay gives (M2).
 */
#include <errno.h>

#include "meta/apply_impl.h"

/* The extents that have bytes in [lo, hi), appended to out. */
static int
extents_in(struct sqc *c, int64_t ino, int64_t lo, int64_t hi,
    struct buf *out)
{
	struct sqs *s = sq_prep(c, "SELECT off, len, object, ooff, crc "
	    "FROM extent WHERE ino = ?1 AND off < ?3 AND off + len > ?2 AND "
	    "off >= ifnull((SELECT max(off) FROM extent "
	    "WHERE ino = ?1 AND off <= ?2), ?2) ORDER BY off");
	int rc;

	sqs_int(s, 1, ino);
	sqs_int(s, 2, lo);
	sqs_int(s, 3, hi);
	while ((rc = sqs_step(s)) == 1) {
		struct row r = { T_EXTENT, { col_int(ino) } };

		for (int i = 0; i < 5; i++)
			r.v[E_OFF + i] = col_int(sqs_col_int(s, i));
		buf_put(out, &r, sizeof(r));
	}
	return (rc ? rc : buf_err(out));
}

/* Takes [lo, hi) out of one extent. */
static int
extent_cut(struct sqc *c, const struct change *ch, const struct row *old,
    int64_t lo, int64_t hi)
{
	int64_t off = old->v[E_OFF].i, end = off + old->v[E_LEN].i;
	struct row left = *old, right = *old;
	int err;

	/* a part's checksum is not known */
	left.v[E_LEN] = col_int(lo - off);
	left.v[E_CRC] = col_int(-1);
	if ((err = row_change(c, ch, old, off < lo ? &left : NULL)) != 0)
		return (err);
	if (end <= hi)
		return (0);
	right.v[E_OFF] = col_int(hi);
	right.v[E_LEN] = col_int(end - hi);
	right.v[E_OOFF] = col_int(old->v[E_OOFF].i + hi - off);
	right.v[E_CRC] = col_int(-1);
	return (row_change(c, ch, NULL, &right));
}

static int
extents_cut(struct sqc *c, const struct change *ch, int64_t ino, int64_t lo,
    int64_t hi)
{
	struct buf rows = BUF_INIT;
	const struct row *r;
	int err = lo < hi ? extents_in(c, ino, lo, hi, &rows) : 0;

	r = (const void *)rows.p;
	for (size_t n = rows.len / sizeof(*r); err == 0 && n > 0; n--, r++)
		err = extent_cut(c, ch, r, lo, hi);
	buf_done(&rows);
	return (err);
}

static int
object_put(struct sqc *c, const struct change *ch, const struct op_object *o)
{
	struct row object = { T_OBJECT, { col_int(o->id), col_int(o->size),
	    col_int(o->kind) } };
	/* the key is derived from the id (B3) */
	struct row at = { T_LOCATION, { col_int(o->id), col_int(o->store),
	    col_bytes(NULL, 0), col_str(o->version) } };
	int err = row_put(c, ch, &object), there = 0;

	/* of a pack that another file brought: the version is the same, or,
	 * where its store moved since, a newer one (OP_LOCATE), whose op may
	 * pass this one by (M6) */
	if (err == 0)
		there = row_exists(c, &at);
	return (err ? err : there < 0 ? there : there ? 0 :
	    row_put(c, ch, &at));
}

/* The sums of what extent e has of its object, the first of them at p. */
static int
extent_sums(struct sqc *c, const struct change *ch, const struct op_extent *e,
    const uint8_t *p)
{
	uint64_t at = e->off, end = e->off + e->len, to;
	size_t n;
	int err = 0;

	for (; err == 0 && at < end; at = to, p += n) {
		to = (at / META_SUM + META_SUMS_ROW) * META_SUM;
		if (to > end)
			to = end;
		n = op_sums(at, to - at) * 4;
		struct row r = { T_SUMS, { col_int(e->object),
		    col_int(e->ooff + (at - e->off)), col_int(to - at),
		    col_int(at % META_SUM), col_bytes(p, n) } };
		err = row_put(c, ch, &r);
	}
	return (err);
}

/* Of the op's one object. */
static int
sums_put(struct sqc *c, const struct change *ch, const struct op *op)
{
	const uint8_t *p = op->objects->sums;
	int err = 0;

	for (unsigned i = 0; err == 0 && i < op->nextents; i++) {
		const struct op_extent *e = &op->extents[i];

		if (e->object != op->objects->id)
			continue;
		err = extent_sums(c, ch, e, p);
		p += op_sums(e->off, e->len) * 4;
	}
	return (err);
}

static int
content_extents(struct sqc *c, const struct change *ch, const struct op *op)
{
	int64_t ino = op->ino, size = op->size;
	int err;

	if (op->flags & EXT_VOID)
		return (0);
	for (unsigned i = 0; i < op->nobjects; i++)
		if ((err = object_put(c, ch, &op->objects[i])) != 0)
			return (err);
	if (op->nobjects == 1 && op->objects->nsums > 0 &&
	    (err = sums_put(c, ch, op)) != 0)
		return (err);
	if ((err = extents_cut(c, ch, ino, op->flags & EXT_WHOLE ? 0 : size,
	    INT64_MAX)) != 0)
		return (err);
	for (unsigned i = 0; i < op->nextents; i++) {
		const struct op_extent *e = &op->extents[i];
		int64_t off = e->off, len = e->len, crc = e->crc;
		struct row r;

		if (off >= size)
			break;
		if (len > size - off) {
			len = size - off;
			crc = -1;
		}
		if (!(op->flags & EXT_WHOLE) &&
		    (err = extents_cut(c, ch, ino, off, off + len)) != 0)
			return (err);
		r = (struct row){ T_EXTENT, { col_int(ino), col_int(off),
		    col_int(len), col_int(e->object), col_int(e->ooff),
		    col_int(crc) } };
		if ((err = row_change(c, ch, NULL, &r)) != 0)
			return (err);
	}
	return (0);
}

/* Copies of objects that are there (B3).  Where there is one in that store it
 * stays where it is: what others named keeps its key. */
static int
content_locate(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct buf scratch = BUF_INIT;
	int err = 0;

	for (unsigned i = 0; err == 0 && i < op->nobjects; i++) {
		const struct op_object *o = &op->objects[i];
		struct row object = { T_OBJECT, { col_int(o->id) } };
		struct row at = { T_LOCATION, { col_int(o->id),
		    col_int(o->store) } };

		buf_reset(&scratch);
		err = row_get(c, &object, &scratch);
		if (err == 0 && object.v[1].i != (int64_t)o->size)
			continue;
		if (err == 0) {
			buf_reset(&scratch);
			err = row_get(c, &at, &scratch);
			if (err == -ENOENT) {
				at.v[2] = col_bytes(NULL, 0);
				err = 0;
			}
			at.v[3] = col_str(o->version);
			if (err == 0)
				err = row_put(c, ch, &at);
		} else if (err == -ENOENT)
			err = 0;
	}
	buf_done(&scratch);
	return (err);
}

/* The next object from *at on that has a copy in the store: 1, 0, -errno. */
static int
next_object(struct sqc *c, uint64_t id, int64_t *at)
{
	struct sqs *s = sq_prep(c, "SELECT object FROM location "
	    "WHERE object >= ? AND store = ? ORDER BY object LIMIT 1");
	int rc;

	sqs_int(s, 1, *at);
	sqs_int(s, 2, (int64_t)id);
	if ((rc = sqs_step(s)) == 1)
		*at = sqs_col_int(s, 0);
	sqs_reset(s);
	return (rc);
}

/* What no extent names is garbage (B9), and where it is in a store that is not
 * there any more goes with the store, whose number is given again.  As much in
 * one transaction as there is of it. */
static int
store_forget(struct sqc *c, const struct change *ch, uint64_t id)
{
	int64_t object = INT64_MIN;
	struct sqs *s;
	int rc;

	while ((rc = next_object(c, id, &object)) == 1) {
		struct row at = { T_LOCATION, { col_int(object),
		    col_int(id) } };
		struct row o = { T_OBJECT, { col_int(object) } };

		if ((rc = row_del(c, ch, &at)) != 0)
			break;
		s = sq_prep(c, "SELECT 1 FROM location WHERE object = ?");
		sqs_int(s, 1, object);
		rc = sqs_step(s);
		sqs_reset(s);
		if (rc == 0)
			rc = row_del(c, ch, &o);
		if (rc < 0)
			break;
		object++;
	}
	return (rc < 0 ? rc : 0);
}

int
apply_content(struct sqc *c, const struct change *ch, const struct op *op,
    uint64_t last)
{
	switch (op->kind) {
	case OP_EXTENTS:
		return (content_extents(c, ch, op));
	case OP_TRUNCATE:
		return (extents_cut(c, ch, op->ino, op->size, INT64_MAX));
	case OP_LOCATE:
		return (content_locate(c, ch, op));
	case OP_STORE:
		return (op->size == 1 ? store_forget(c, ch, op->ino) : 0);
	default:
		return (last ? extents_cut(c, ch, last, 0, INT64_MAX) : 0);
	}
}

int
apply(struct sqc *c, const struct change *ch, const struct op *op,
    enum apply_part part)
{
	uint64_t last = 0;
	int err;

	if (part & APPLY_ATTR) {
		if ((err = apply_attr(c, ch, op, &last)) != 0)
			return (err);
	} else if (op->flags & OP_LAST_LINK) {
		if (op->kind == OP_UNLINK)
			last = op->ino;
		else if (op->kind == OP_RENAME)
			last = op->ino2;
		else if (op->kind == OP_REFRESH)
			last = op->mask == REFRESH_FILE ? op->ino2 : op->ino;
	}
	return (part & APPLY_CONTENT ? apply_content(c, ch, op, last) : 0);
}

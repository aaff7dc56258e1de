/*
 * query_bytes: where the bytes of files are in stores, and their sums
 * (query.h).
 */
#include <errno.h>

#include "meta/query_impl.h"
#include "meta/segment.h"

/* Of an extent e, in this order. */
#define EXTENT_COLUMNS \
	"e.off, e.len, e.object, e.ooff, e.crc, o.size, o.kind, l.store, " \
	"l.key, l.version, " \
	"(SELECT count(*) FROM location WHERE object = e.object), e.ino " \
	"FROM extent e " \
	"LEFT JOIN object o ON o.id = e.object " \
	"LEFT JOIN location l ON l.object = e.object AND l.store = " \
	"(SELECT min(store) FROM location WHERE object = e.object) "

struct tell {
	int	(*each)(void *arg, const struct meta_extent *e);
	int	(*each_ino)(void *arg, uint64_t ino,
		    const struct meta_extent *e);
	void	*arg;
	int	 stop;
};

static int
extent_tell(struct sqs *s, struct buf *text, struct tell *t)
{
	struct meta_extent e = { .off = sqs_col_int(s, 0),
	    .len = sqs_col_int(s, 1), .object = sqs_col_int(s, 2),
	    .ooff = sqs_col_int(s, 3), .crc = sqs_col_int(s, 4),
	    .osize = sqs_col_int(s, 5), .kind = sqs_col_int(s, 6),
	    .store = sqs_col_int(s, 7), .copies = sqs_col_int(s, 10) };
	char derived[KEY_MAX];
	size_t key, version;

	/* an extent whose bytes are nowhere is damage, never a hole */
	if (sqs_col_is_null(s, 5) || sqs_col_is_null(s, 7))
		return (-EUCLEAN);
	buf_reset(text);
	key = query_text(s, 8, text);
	version = query_text(s, 9, text);
	if (buf_err(text))
		return (buf_err(text));
	e.key = (const char *)text->p + key;
	e.version = (const char *)text->p + version;
	if (*e.key == '\0') {
		object_key(e.object, derived);
		e.key = derived;
	}
	if (t->each != NULL)
		t->stop = t->each(t->arg, &e) != 0;
	else
		t->stop = t->each_ino(t->arg, sqs_col_int(s, 11), &e) != 0;
	return (0);
}

static int
extents_tell(struct sqs *s, struct tell *t)
{
	struct buf text = BUF_INIT;
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		err = extent_tell(s, &text, t);
		if (err != 0 || t->stop)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

int
meta_extents(struct sqc *c, uint64_t ino, uint64_t off, uint64_t len,
    int (*each)(void *arg, const struct meta_extent *e), void *arg)
{
	struct tell t = { .each = each, .arg = arg };
	struct sqs *s;

	if (off > INT64_MAX)
		return (-EINVAL);
	if (len > INT64_MAX - off)
		len = INT64_MAX - off;
	s = sq_prep(c, "SELECT " EXTENT_COLUMNS
	    "WHERE e.ino = ?1 AND e.off < ?3 AND e.off + e.len > ?2 AND "
	    "e.off >= ifnull((SELECT max(off) FROM extent "
	    "WHERE ino = ?1 AND off <= ?2), ?2) ORDER BY e.off");
	sqs_int(s, 1, ino);
	sqs_int(s, 2, off);
	sqs_int(s, 3, off + len);
	return (extents_tell(s, &t));
}

int
meta_small(struct sqc *c, uint64_t ino, struct meta_small *ret)
{
	struct sqs *s = sq_prep(c, "SELECT e.len, e.object, e.ooff "
	    "FROM inode i CROSS JOIN extent e ON e.ino = i.ino "
	    "WHERE i.ino = ?1 AND e.off = 0 AND e.len = i.size AND "
	    "e.len <= ?2 AND NOT EXISTS "
	    "(SELECT 1 FROM unstored WHERE ino = ?1)");
	int rc;

	sqs_int(s, 1, ino);
	sqs_int(s, 2, META_SMALL_MAX);
	rc = sqs_step(s);
	if (rc == 1) {
		ret->size = sqs_col_int(s, 0);
		ret->object = sqs_col_int(s, 1);
		ret->ooff = sqs_col_int(s, 2);
		sqs_reset(s);
	}
	return (rc == 1 ? 0 : rc == 0 ? -ENOENT : rc);
}

int
meta_small_extents(struct sqc *c, uint64_t ino, uint64_t n,
    int (*each)(void *arg, uint64_t ino, const struct meta_extent *e),
    void *arg)
{
	struct tell t = { .each_ino = each, .arg = arg };
	struct sqs *s = sq_prep(c, "SELECT " EXTENT_COLUMNS
	    "WHERE e.ino >= ?1 AND e.ino < ?2 AND e.off = 0 AND e.len <= ?3 "
	    "AND e.len = (SELECT size FROM inode WHERE ino = e.ino) "
	    "ORDER BY e.object, e.ooff");

	sqs_int(s, 1, ino);
	sqs_int(s, 2, ino + n);
	sqs_int(s, 3, META_SMALL_MAX);
	return (extents_tell(s, &t));
}

int
meta_locations(struct sqc *c, uint64_t object,
    int (*each)(void *arg, const struct meta_location *l), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT store, key, version FROM location "
	    "WHERE object = ? ORDER BY store");
	struct buf text = BUF_INIT;
	char derived[KEY_MAX];
	int rc, err = 0;

	sqs_int(s, 1, object);
	object_key(object, derived);
	while ((rc = sqs_step(s)) == 1) {
		struct meta_location l = { .store = sqs_col_int(s, 0) };
		size_t key, version;

		buf_reset(&text);
		key = query_text(s, 1, &text);
		version = query_text(s, 2, &text);
		if ((err = buf_err(&text)) != 0)
			break;
		l.key = (const char *)text.p + key;
		l.version = (const char *)text.p + version;
		if (*l.key == '\0')
			l.key = derived;
		if (each(arg, &l) != 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

/* A row's sums that cover some of [from, to) of the object. */
static int
sums_tell(struct sqs *s, uint64_t from, uint64_t to,
    int (*each)(void *arg, const struct meta_sum *m), void *arg, int *stop)
{
	uint64_t at = sqs_col_int(s, 0), end = at + sqs_col_int(s, 1);
	uint64_t phase = sqs_col_int(s, 2);
	size_t n;
	const uint8_t *p = sqs_col_blob(s, 3, &n);
	struct cur cur;

	if (end > INT64_MAX || end <= at || phase >= META_SUM ||
	    n != op_sums(phase, end - at) * 4)
		return (-EUCLEAN);
	cur_init(&cur, p, n);
	for (; at < end && at < to && !*stop; at += META_SUM - phase,
	    phase = 0) {
		struct meta_sum m = { .ooff = at, .crc = cur_u32(&cur) };

		m.len = end - at < META_SUM - phase ? end - at :
		    META_SUM - phase;
		if (at + m.len > from)
			*stop = each(arg, &m) != 0;
	}
	return (0);
}

int
meta_sums(struct sqc *c, uint64_t object, uint64_t ooff, uint64_t len,
    int (*each)(void *arg, const struct meta_sum *s), void *arg)
{
	struct sqs *s;
	int rc, err = 0, stop = 0;

	if (ooff > INT64_MAX || len > INT64_MAX - ooff)
		return (-EINVAL);
	s = sq_prep(c, "SELECT ooff, len, phase, sums FROM sums "
	    "WHERE object = ?1 AND ooff < ?3 AND ooff + len > ?2 AND "
	    "ooff >= ifnull((SELECT max(ooff) FROM sums "
	    "WHERE object = ?1 AND ooff <= ?2), ?2) ORDER BY ooff");
	sqs_int(s, 1, object);
	sqs_int(s, 2, ooff);
	sqs_int(s, 3, ooff + len);
	while ((rc = sqs_step(s)) == 1) {
		err = sums_tell(s, ooff, ooff + len, each, arg, &stop);
		if (err != 0 || stop)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	return (rc < 0 ? rc : err);
}

static int
each_unlocated(struct sqs *s, uint64_t ino, uint32_t store,
    int (*each)(void *arg, const struct meta_unlocated *u), void *arg)
{
	int rc;

	sqs_int(s, 1, ino);
	sqs_int(s, 2, store);
	while ((rc = sqs_step(s)) == 1) {
		struct meta_unlocated u = { .object = sqs_col_int(s, 0),
		    .size = sqs_col_int(s, 1), .ooff = sqs_col_int(s, 2),
		    .len = sqs_col_int(s, 3), .kind = sqs_col_int(s, 4),
		    .crc = sqs_col_int(s, 5) };

		if (each(arg, &u) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

int
meta_unlocated(struct sqc *c, uint64_t ino, uint32_t store,
    int (*each)(void *arg, const struct meta_unlocated *u), void *arg)
{
	return (each_unlocated(sq_prep(c, "SELECT e.object, o.size, e.ooff, "
	    "e.len, o.kind, e.crc FROM extent e JOIN object o "
	    "ON o.id = e.object WHERE e.ino = ?1 AND NOT EXISTS ("
	    "SELECT 1 FROM location l WHERE l.object = e.object "
	    "AND l.store = ?2) ORDER BY e.off"), ino, store, each, arg));
}

int
meta_located(struct sqc *c, uint64_t ino, uint32_t store,
    int (*each)(void *arg, const struct meta_unlocated *u), void *arg)
{
	return (each_unlocated(sq_prep(c, "SELECT e.object, o.size, e.ooff, "
	    "e.len, o.kind, e.crc FROM extent e JOIN object o "
	    "ON o.id = e.object WHERE e.ino = ?1 AND EXISTS ("
	    "SELECT 1 FROM location l WHERE l.object = e.object "
	    "AND l.store = ?2) UNION ALL SELECT o.id, 0, 0, 0, o.kind, -1 "
	    "FROM object o JOIN location l ON l.object = o.id "
	    "AND l.store = ?2 WHERE o.id = ?1 AND o.size = 0"), ino, store,
	    each, arg));
}

int
meta_store_is_imported(struct sqc *c, uint32_t store)
{
	struct sqs *s = sq_prep(c, "SELECT 1 FROM location WHERE store = ? "
	    "AND length(key) > 0 LIMIT 1");

	sqs_int(s, 1, store);
	return (sqs_has_row(s));
}

/*
 * query: see query.h.  Where a callback is called while a statement is open,
 * the callback may run any other query on the same connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "meta/internal.h"
#include "meta/query.h"
#include "meta/segment.h"

#define INODE_COLS "i.ino, i.mode, i.uid, i.gid, i.rdev, i.nlink, i.size, " \
	"i.atime, i.mtime, i.ctime, i.flags"

#define DIR_LINKS_MAX	65000		/* as ext4: 1 from there on */
#define DEPTH_MAX	100000
#define WALK_CHUNK	512		/* entries read at a time */

/* --- attributes --- */

static void
attr_read(struct sqs *s, int at, struct attr *ret)
{
	ret->ino = sqs_col_int(s, at + I_INO);
	ret->mode = sqs_col_int(s, at + I_MODE);
	ret->uid = sqs_col_int(s, at + I_UID);
	ret->gid = sqs_col_int(s, at + I_GID);
	ret->rdev = sqs_col_int(s, at + I_RDEV);
	ret->nlink = sqs_col_int(s, at + I_NLINK);
	ret->size = sqs_col_int(s, at + I_SIZE);
	ret->atime = sqs_col_int(s, at + I_ATIME);
	ret->mtime = sqs_col_int(s, at + I_MTIME);
	ret->ctime = sqs_col_int(s, at + I_CTIME);
	ret->flags = sqs_col_int(s, at + I_FLAGS);
}

/* A directory's link count is its subdirectories and two (L5). */
static int
links_derive(struct sqc *c, struct attr *a)
{
	struct sqs *s;
	int rc;

	if (!S_ISDIR(a->mode))
		return (0);
	s = sq_prep(c, "SELECT count(*) FROM (SELECT 1 FROM dentry "
	    "WHERE parent = ? AND type = 4 LIMIT ?)");
	sqs_int(s, 1, a->ino);
	sqs_int(s, 2, DIR_LINKS_MAX);
	rc = sqs_step(s);
	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	a->nlink = sqs_col_int(s, 0) + 2;
	sqs_reset(s);
	if (a->nlink >= DIR_LINKS_MAX)
		a->nlink = 1;
	return (0);
}

static int
attr_step(struct sqc *c, struct sqs *s, struct attr *ret)
{
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -ENOENT);
	attr_read(s, 0, ret);
	sqs_reset(s);
	return (links_derive(c, ret));
}

int
meta_getattr(struct sqc *c, uint64_t ino, struct attr *ret)
{
	struct sqs *s = sq_prep(c, "SELECT " INODE_COLS
	    " FROM inode i WHERE i.ino = ?");

	sqs_int(s, 1, ino);
	return (attr_step(c, s, ret));
}

int
meta_lookup(struct sqc *c, uint64_t parent, const char *name,
    struct attr *ret)
{
	size_t n = strlen(name);
	struct sqs *s;
	int64_t hash;

	if (n > META_NAME_MAX)
		return (-ENAMETOOLONG);
	hash = name_hash(name, n);
	s = sq_prep(c, "SELECT " INODE_COLS " FROM dentry d "
	    "CROSS JOIN inode i ON i.ino = d.ino WHERE d.parent = ? AND "
	    "d.hash >= ? AND d.hash < ? AND d.name = ?");
	sqs_int(s, 1, parent);
	sqs_int(s, 2, hash);
	sqs_int(s, 3, hash + DENTRY_PROBES);
	sqs_blob(s, 4, name, n);
	return (attr_step(c, s, ret));
}

/* --- directories --- */

static void
name_read(struct sqs *s, int at, char ret[META_NAME_MAX + 1])
{
	size_t n;
	const void *p = sqs_col_blob(s, at, &n);

	if (n > META_NAME_MAX)
		n = META_NAME_MAX;
	if (n > 0)
		memcpy(ret, p, n);
	ret[n] = '\0';
}

int
meta_readdir(struct sqc *c, uint64_t dir, uint64_t after, bool want_attr,
    int (*each)(void *arg, uint64_t cookie, const char *name,
	const struct attr *a), void *arg)
{
	char name[META_NAME_MAX + 1];
	struct sqs *s = want_attr ?
	    sq_prep(c, "SELECT d.hash, d.name, " INODE_COLS " FROM dentry d "
		"CROSS JOIN inode i ON i.ino = d.ino "
		"WHERE d.parent = ? AND d.hash > ? ORDER BY d.hash") :
	    sq_prep(c, "SELECT hash, name, ino, type FROM dentry "
		"WHERE parent = ? AND hash > ? ORDER BY hash");
	int rc;

	sqs_int(s, 1, dir);
	sqs_int(s, 2, after);
	while ((rc = sqs_step(s)) == 1) {
		struct attr a = { 0 };

		name_read(s, 1, name);
		if (want_attr) {
			attr_read(s, 2, &a);
			if ((rc = links_derive(c, &a)) != 0) {
				sqs_reset(s);
				return (rc);
			}
		} else {
			a.ino = sqs_col_int(s, 2);
			a.mode = sqs_col_int(s, 3) << 12;
		}
		if (each(arg, sqs_col_int(s, 0), name, &a) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

bool
meta_dir_is_empty(struct sqc *c, uint64_t dir)
{
	struct sqs *s = sq_prep(c,
	    "SELECT 1 FROM dentry WHERE parent = ? LIMIT 1");
	bool empty;

	sqs_int(s, 1, dir);
	empty = sqs_step(s) == 0;
	sqs_reset(s);
	return (empty);
}

/* --- paths --- */

int
meta_parent(struct sqc *c, uint64_t ino, uint64_t *retparent,
    char retname[META_NAME_MAX + 1])
{
	struct sqs *s = sq_prep(c, "SELECT parent, name FROM dentry "
	    "WHERE ino = ? ORDER BY parent, hash LIMIT 1");
	int rc;

	sqs_int(s, 1, ino);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -ENOENT);
	*retparent = sqs_col_int(s, 0);
	name_read(s, 1, retname);
	sqs_reset(s);
	return (0);
}

/* A path is found from its last name to its first: it is put together
 * backwards, each name turned round, and turned round at the end. */
static void
path_reverse(char *p, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		char ch = p[i];

		p[i] = p[n - 1 - i];
		p[n - 1 - i] = ch;
	}
}

int
meta_path(struct sqc *c, uint64_t ino, char **ret)
{
	char name[META_NAME_MAX + 1];
	struct buf b = BUF_INIT;
	int err = 0;

	for (unsigned i = 0; ino != META_ROOT; i++) {
		size_t n;

		if (i == DEPTH_MAX)
			err = -ELOOP;
		if (err == 0)
			err = meta_parent(c, ino, &ino, name);
		if (err != 0)
			goto out;
		n = strlen(name);
		path_reverse(name, n);
		buf_put(&b, name, n);
		buf_put(&b, "/", 1);
	}
	if (b.len == 0)
		buf_put(&b, "/", 1);
	buf_cstr(&b);		/* makes room for the NUL */
	if ((err = buf_err(&b)) != 0)
		goto out;
	path_reverse((char *)b.p, b.len);
	*ret = buf_take(&b, NULL);
out:
	buf_done(&b);
	return (err);
}

int
meta_resolve(struct sqc *c, const char *path, struct attr *ret)
{
	char name[META_NAME_MAX + 1];
	struct attr a;
	int err = meta_getattr(c, META_ROOT, &a);

	while (err == 0) {
		size_t n;

		path += strspn(path, "/");
		if (*path == '\0')
			break;
		if (!S_ISDIR(a.mode))
			return (-ENOTDIR);
		n = strcspn(path, "/");
		if (n > META_NAME_MAX)
			return (-ENAMETOOLONG);
		memcpy(name, path, n);
		name[n] = '\0';
		path += n;
		err = meta_lookup(c, a.ino, name, &a);
	}
	if (err == 0)
		*ret = a;
	return (err);
}

/* The parents of all names of an inode, appended. */
static int
parents_get(struct sqc *c, uint64_t ino, struct buf *out)
{
	struct sqs *s = sq_prep(c, "SELECT parent FROM dentry WHERE ino = ?");
	int rc;

	sqs_int(s, 1, ino);
	while ((rc = sqs_step(s)) == 1)
		buf_put_u64(out, sqs_col_int(s, 0));
	return (rc ? rc : buf_err(out));
}

static int
dir_is_below(struct sqc *c, uint64_t dir, uint64_t top)
{
	char name[META_NAME_MAX + 1];

	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		int err;

		if (dir == top)
			return (1);
		if (dir == META_ROOT)
			return (0);
		err = meta_parent(c, dir, &dir, name);
		if (err != 0)
			return (err == -ENOENT ? 0 : err);
	}
	return (-ELOOP);
}

int
meta_is_below(struct sqc *c, uint64_t ino, uint64_t top)
{
	struct buf parents = BUF_INIT;
	struct cur cur;
	int rc;

	if (ino == top || ino == META_ROOT)
		return (ino == top);
	rc = parents_get(c, ino, &parents);
	cur_init(&cur, parents.p, parents.len);
	while (rc == 0 && cur_left(&cur) > 0)
		rc = dir_is_below(c, cur_u64(&cur), top);
	buf_done(&parents);
	return (rc);
}

/* --- labels --- */

int
meta_readlink(struct sqc *c, uint64_t ino, struct buf *out)
{
	struct row r = { T_SYMLINK, { col_int(ino) } };
	struct buf scratch = BUF_INIT;
	int err = row_get(c, &r, &scratch);

	if (err == 0) {
		buf_put(out, r.v[1].p, r.v[1].n);
		err = buf_err(out);
	}
	buf_done(&scratch);
	return (err);
}

int
meta_getxattr(struct sqc *c, uint64_t ino, const char *name, struct buf *out)
{
	struct row r = { T_XATTR, { col_int(ino), col_str(name) } };
	struct buf scratch = BUF_INIT;
	int err = row_get(c, &r, &scratch);

	if (err == 0) {
		buf_put(out, r.v[2].p, r.v[2].n);
		err = buf_err(out);
	}
	buf_done(&scratch);
	return (err == -ENOENT ? -ENODATA : err);
}

int
meta_listxattr(struct sqc *c, uint64_t ino, struct buf *out)
{
	struct sqs *s = sq_prep(c,
	    "SELECT name FROM xattr WHERE ino = ? ORDER BY name");
	int rc;

	sqs_int(s, 1, ino);
	while ((rc = sqs_step(s)) == 1) {
		size_t n;
		const void *p = sqs_col_blob(s, 0, &n);

		buf_put(out, p, n);
		buf_put(out, "", 1);
	}
	return (rc ? rc : buf_err(out));
}

/* --- bytes --- */

/* Text columns as C strings in b, which moves as it grows: so offsets. */
static size_t
text_read(struct sqs *s, int at, struct buf *b)
{
	size_t n, ret = b->len;
	const void *p = sqs_col_blob(s, at, &n);

	buf_put(b, p, n);
	buf_put(b, "", 1);
	return (ret);
}

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
	key = text_read(s, 8, text);
	version = text_read(s, 9, text);
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
		key = text_read(s, 1, &text);
		version = text_read(s, 2, &text);
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

int
meta_unlocated(struct sqc *c, uint64_t ino, uint32_t store,
    int (*each)(void *arg, const struct meta_unlocated *u), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT e.object, o.size, e.ooff, e.len, "
	    "o.kind, e.crc FROM extent e JOIN object o ON o.id = e.object "
	    "WHERE e.ino = ?1 AND NOT EXISTS (SELECT 1 FROM location l "
	    "WHERE l.object = e.object AND l.store = ?2) ORDER BY e.off");
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
meta_store_is_imported(struct sqc *c, uint32_t store)
{
	struct sqs *s = sq_prep(c, "SELECT 1 FROM location WHERE store = ? "
	    "AND length(key) > 0 LIMIT 1");

	sqs_int(s, 1, store);
	return (sqs_has_row(s));
}

/* --- rows of the namespace --- */

int
meta_stores(struct sqc *c, int (*each)(void *arg, const struct store_row *s),
    void *arg)
{
	struct sqs *s = sq_prep(c,
	    "SELECT id, flags, name, url FROM store ORDER BY id");
	struct buf text = BUF_INIT;
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		struct store_row r = { .id = sqs_col_int(s, 0),
		    .flags = sqs_col_int(s, 1) };
		size_t name, url;

		buf_reset(&text);
		name = text_read(s, 2, &text);
		url = text_read(s, 3, &text);
		if ((err = buf_err(&text)) != 0)
			break;
		r.name = (const char *)text.p + name;
		r.url = (const char *)text.p + url;
		if (each(arg, &r) != 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

int
meta_pins(struct sqc *c, int (*each)(void *arg, const struct pin_row *),
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT id, expires, created, name, host, "
	    "selectors FROM pin ORDER BY id");
	struct buf text = BUF_INIT;
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		struct pin_row r = { .id = sqs_col_int(s, 0),
		    .expires = sqs_col_int(s, 1),
		    .created = sqs_col_int(s, 2) };
		size_t name, host, selectors;

		buf_reset(&text);
		name = text_read(s, 3, &text);
		host = text_read(s, 4, &text);
		selectors = text_read(s, 5, &text);
		if ((err = buf_err(&text)) != 0)
			break;
		r.name = (const char *)text.p + name;
		r.host = (const char *)text.p + host;
		r.selectors = (const char *)text.p + selectors;
		if (each(arg, &r) != 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

int
meta_sessions(struct sqc *c,
    int (*each)(void *arg, const struct session_row *s), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT number, nonce, hwm, opened, state, "
	    "block_first, block_count, state_id, host FROM session "
	    "ORDER BY number");
	struct buf text = BUF_INIT;
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		struct session_row r = { .number = sqs_col_int(s, 0),
		    .nonce = (uint64_t)sqs_col_int(s, 1),
		    .hwm = sqs_col_int(s, 2), .opened = sqs_col_int(s, 3),
		    .state = sqs_col_int(s, 4),
		    .block_first = sqs_col_int(s, 5),
		    .block_count = sqs_col_int(s, 6) };
		size_t n;
		const void *p = sqs_col_blob(s, 7, &n);

		if (n == sizeof(r.state_id))
			memcpy(r.state_id, p, n);
		buf_reset(&text);
		text_read(s, 8, &text);
		if ((err = buf_err(&text)) != 0)
			break;
		r.host = (const char *)text.p;
		if (each(arg, &r) != 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

int
meta_totals(struct sqc *c, struct meta_totals *ret)
{
	struct sqs *s = sq_prep(c,
	    "SELECT files, dirs, bytes FROM counts WHERE id = 1");
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	ret->files = sqs_col_int(s, 0);
	ret->dirs = sqs_col_int(s, 1);
	ret->bytes = sqs_col_int(s, 2);
	sqs_reset(s);
	return (0);
}

/* --- walk --- */

struct walk_entry {
	uint64_t	cookie;
	struct attr	a;
	char		name[META_NAME_MAX + 1];
};

/* A directory being read: where it goes on. */
struct walk_dir { uint64_t ino, after; };

struct walk {
	struct sqc	*c;
	int		(*each)(void *, uint64_t, const char *,
			    const struct attr *);
	void		*arg;
	struct buf	 stack;		/* of struct walk_dir */
	struct buf	 chunk;		/* of struct walk_entry */
};

static int
walk_collect(void *arg, uint64_t cookie, const char *name,
    const struct attr *a)
{
	struct walk *w = arg;
	struct walk_entry *e = buf_grow(&w->chunk, sizeof(*e));

	if (e == NULL)
		return (1);
	e->cookie = cookie;
	e->a = *a;
	memcpy(e->name, name, strlen(name) + 1);
	w->chunk.len += sizeof(*e);
	return (w->chunk.len == WALK_CHUNK * sizeof(*e));
}

static void
walk_push(struct walk *w, uint64_t ino, uint64_t after)
{
	struct walk_dir d = { ino, after };

	buf_put(&w->stack, &d, sizeof(d));
}

/* One chunk of the directory on top of the stack: its entries are told, then
 * its directories take its place, above what remains of it.  1: stopped. */
static int
walk_chunk(struct walk *w)
{
	struct walk_dir d;
	const struct walk_entry *e;
	size_t n;
	int err;

	w->stack.len -= sizeof(d);
	memcpy(&d, w->stack.p + w->stack.len, sizeof(d));
	buf_reset(&w->chunk);
	err = meta_readdir(w->c, d.ino, d.after, true, walk_collect, w);
	if (err == 0)
		err = buf_err(&w->chunk);
	if (err != 0)
		return (err);
	e = (const void *)w->chunk.p;
	n = w->chunk.len / sizeof(*e);
	for (size_t i = 0; i < n; i++)
		if (w->each(w->arg, d.ino, e[i].name, &e[i].a) != 0)
			return (1);
	if (n == WALK_CHUNK)
		walk_push(w, d.ino, e[n - 1].cookie);
	for (size_t i = n; i-- > 0;)
		if (S_ISDIR(e[i].a.mode))
			walk_push(w, e[i].a.ino, 0);
	return (buf_err(&w->stack));
}

int
meta_walk(struct sqc *c, uint64_t top,
    int (*each)(void *arg, uint64_t parent, const char *name,
	const struct attr *a), void *arg)
{
	struct walk w = { .c = c, .each = each, .arg = arg };
	char name[META_NAME_MAX + 1] = "";
	uint64_t parent = 0;
	struct attr a;
	int err = meta_getattr(c, top, &a);

	if (err == 0 && top != META_ROOT)
		err = meta_parent(c, top, &parent, name);
	if (err != 0)
		return (err);
	if (each(arg, parent, name, &a) != 0)
		return (0);
	if (S_ISDIR(a.mode))
		walk_push(&w, top, 0);
	err = buf_err(&w.stack);
	while (err == 0 && w.stack.len > 0)
		err = walk_chunk(&w);
	buf_done(&w.stack);
	buf_done(&w.chunk);
	return (err == 1 ? 0 : err);
}

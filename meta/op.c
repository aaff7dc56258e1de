/*
 * op: the codec of operations.
 *
 * An op is its kind (u8), then fields in ascending order of their numbers,
 * each a number (u8) and a value, then 0.  A field that is zero or empty is
 * not there, so every op has one encoding.  Integers are zigzag varints;
 * bytes are a varint length and bytes; strings are bytes with their NUL;
 * extents and objects are a varint count and each one's members; sums are
 * bytes.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "meta/internal.h"

/* Numbers are the on-store format. */
enum field { F_END, F_INO, F_INO2, F_PARENT, F_PARENT2, F_NAME, F_NAME2,
	F_MODE, F_UID, F_GID, F_RDEV, F_MASK, F_FLAGS, F_SIZE, F_ATIME,
	F_MTIME, F_CTIME, F_VALUE, F_EXTENTS, F_OBJECTS, F_SESSION,
	F_BLOCK_FIRST, F_BLOCK_COUNT, F_NONCE, F_PREV_NONCE, F_FIRST_SEQ,
	F_STATE_ID, F_TAKEOVER, F_SUMS, F_COUNT };

#define OP_NAME2_MAX	4095
#define OP_VALUE_MAX	(4u << 20)
#define OP_ID_MAX	INT64_MAX

const char *
op_kind_name(enum op_kind k)
{
	static const char *const names[OP_KIND_END] = { NULL, "create",
	    "mkdir", "symlink", "link", "unlink", "rmdir", "rename", "setattr",
	    "setxattr", "removexattr", "extents", "truncate", "store",
	    "attach", "pin", "tag", "policy", "quota", "session_open",
	    "session_close", "session_fence", "snapshot_mark", "locate",
	    "refresh" };

	return (k > 0 && k < OP_KIND_END ? names[k] : "unknown");
}

/* --- encoding --- */

static void
put_int(struct buf *out, enum field f, int64_t v)
{
	if (v == 0)
		return;
	buf_put_u8(out, f);
	buf_put_svarint(out, v);
}

static void
put_str(struct buf *out, enum field f, const char *s)
{
	if (s == NULL || *s == '\0')
		return;
	buf_put_u8(out, f);
	buf_put_bytes(out, s, strlen(s) + 1);
}

static void
put_extents(struct buf *out, const struct op *op)
{
	if (op->nextents == 0)
		return;
	buf_put_u8(out, F_EXTENTS);
	buf_put_varint(out, op->nextents);
	for (unsigned i = 0; i < op->nextents; i++) {
		const struct op_extent *e = &op->extents[i];

		buf_put_varint(out, e->off);
		buf_put_varint(out, e->len);
		buf_put_varint(out, e->object);
		buf_put_varint(out, e->ooff);
		buf_put_svarint(out, e->crc);
	}
}

static void
put_objects(struct buf *out, const struct op *op)
{
	if (op->nobjects == 0)
		return;
	buf_put_u8(out, F_OBJECTS);
	buf_put_varint(out, op->nobjects);
	for (unsigned i = 0; i < op->nobjects; i++) {
		const struct op_object *o = &op->objects[i];

		buf_put_varint(out, o->id);
		buf_put_varint(out, o->size);
		buf_put_varint(out, o->kind);
		buf_put_varint(out, o->store);
		buf_put_str(out, o->version);
	}
}

static void
put_sums(struct buf *out, const struct op *op)
{
	if (op->nobjects != 1 || op->objects->nsums == 0)
		return;
	buf_put_u8(out, F_SUMS);
	buf_put_bytes(out, op->objects->sums, (size_t)op->objects->nsums * 4);
}

void
op_encode(const struct op *op, struct buf *out)
{
	static const uint8_t none[sizeof(op->state_id)];

	buf_put_u8(out, op->kind);
	put_int(out, F_INO, op->ino);
	put_int(out, F_INO2, op->ino2);
	put_int(out, F_PARENT, op->parent);
	put_int(out, F_PARENT2, op->parent2);
	put_str(out, F_NAME, op->name);
	put_str(out, F_NAME2, op->name2);
	put_int(out, F_MODE, op->mode);
	put_int(out, F_UID, op->uid);
	put_int(out, F_GID, op->gid);
	put_int(out, F_RDEV, op->rdev);
	put_int(out, F_MASK, op->mask);
	put_int(out, F_FLAGS, op->flags);
	put_int(out, F_SIZE, op->size);
	put_int(out, F_ATIME, op->atime);
	put_int(out, F_MTIME, op->mtime);
	put_int(out, F_CTIME, op->ctime);
	if (op->nvalue > 0) {
		buf_put_u8(out, F_VALUE);
		buf_put_bytes(out, op->value, op->nvalue);
	}
	put_extents(out, op);
	put_objects(out, op);
	put_int(out, F_SESSION, op->session);
	put_int(out, F_BLOCK_FIRST, op->block_first);
	put_int(out, F_BLOCK_COUNT, op->block_count);
	put_int(out, F_NONCE, (int64_t)op->nonce);
	put_int(out, F_PREV_NONCE, (int64_t)op->prev_nonce);
	put_int(out, F_FIRST_SEQ, op->first_seq);
	if (memcmp(op->state_id, none, sizeof(none)) != 0) {
		buf_put_u8(out, F_STATE_ID);
		buf_put(out, op->state_id, sizeof(op->state_id));
	}
	put_int(out, F_TAKEOVER, op->takeover);
	put_sums(out, op);
	buf_put_u8(out, F_END);
}

/* --- decoding --- */

static uint32_t
get_u32(struct cur *c)
{
	int64_t v = cur_svarint(c);

	if (v < 0 || v > UINT32_MAX) {
		cur_fail(c);
		return (0);
	}
	return (v);
}

static uint64_t
get_id(struct cur *c)
{
	int64_t v = cur_svarint(c);

	if (v < 0) {
		cur_fail(c);
		return (0);
	}
	return (v);
}

static const char *
get_str(struct cur *c, size_t max)
{
	size_t n;
	const char *s = cur_bytes(c, max + 1, &n);

	/* one NUL, at the end, and something before it */
	if (s == NULL || n < 2 || memchr(s, '\0', n) != s + n - 1) {
		cur_fail(c);
		return (NULL);
	}
	return (s);
}

/* Room for n things of `size` in store, aligned; their offset in *retat.
 * A thing has at least `least` encoded bytes, so n is bounded by the input. */
static void *
get_room(struct cur *c, struct buf *store, uint64_t n, size_t size,
    size_t least, size_t *retat)
{
	void *p;

	if (n == 0 || n > cur_left(c) / least) {
		cur_fail(c);
		return (NULL);
	}
	if ((p = buf_grow(store, n * size)) == NULL) {
		cur_fail(c);
		return (NULL);
	}
	*retat = store->len;
	store->len += n * size;
	return (p);
}

static void
get_extents(struct cur *c, struct op *op, struct buf *store, size_t *retat)
{
	uint64_t n = cur_varint(c);
	struct op_extent *e = get_room(c, store, n, sizeof(*e), 5, retat);

	if (e == NULL)
		return;
	for (uint64_t i = 0; i < n; i++) {
		e[i].off = cur_varint(c);
		e[i].len = cur_varint(c);
		e[i].object = cur_varint(c);
		e[i].ooff = cur_varint(c);
		e[i].crc = cur_svarint(c);
	}
	op->nextents = n;
}

static void
get_objects(struct cur *c, struct op *op, struct buf *store, size_t *retat)
{
	uint64_t n = cur_varint(c);
	struct op_object *o = get_room(c, store, n, sizeof(*o), 5, retat);

	if (o == NULL)
		return;
	for (uint64_t i = 0; i < n && !cur_err(c); i++) {
		size_t len;
		const char *v;
		uint64_t kind, id;

		memset(&o[i], 0, sizeof(o[i]));
		o[i].id = cur_varint(c);
		o[i].size = cur_varint(c);
		kind = cur_varint(c);
		id = cur_varint(c);
		if (kind > OBJ_PATCH || id > UINT32_MAX)
			cur_fail(c);
		o[i].kind = kind;
		o[i].store = id;
		v = cur_bytes(c, sizeof(o[i].version) - 1, &len);
		if (len > 0 && memchr(v, '\0', len) != NULL)
			cur_fail(c);
		if (len > 0)
			memcpy(o[i].version, v, len);
	}
	op->nobjects = n;
}

static void
get_value(struct cur *c, struct op *op)
{
	op->value = cur_bytes(c, OP_VALUE_MAX, &op->nvalue);
	if (op->nvalue == 0)
		cur_fail(c);
}

static void
get_state_id(struct cur *c, struct op *op)
{
	const void *p = cur_raw(c, sizeof(op->state_id));

	if (p != NULL)
		memcpy(op->state_id, p, sizeof(op->state_id));
}

static void
get_takeover(struct cur *c, struct op *op)
{
	if (cur_svarint(c) != 1)
		cur_fail(c);
	op->takeover = true;
}

/* Where the arrays are in the store; it moves as it grows. */
struct places { size_t extents, objects; };

/* Of the one object, which comes before. */
static void
get_sums(struct cur *c, const struct op *op, struct buf *store, size_t at)
{
	struct op_object *o;
	size_t n;
	const void *p = cur_bytes(c, META_SUMS_MAX * 4, &n);

	if (op->nobjects != 1 || n == 0 || n % 4 != 0) {
		cur_fail(c);
		return;
	}
	o = (void *)(store->p + at);
	o->sums = p;
	o->nsums = (uint32_t)(n / 4);
}

static void
get_field(struct cur *c, enum field f, struct op *op, struct buf *store,
    struct places *at)
{
	switch (f) {
	case F_INO:	op->ino = get_id(c); break;
	case F_INO2:	op->ino2 = get_id(c); break;
	case F_PARENT:	op->parent = get_id(c); break;
	case F_PARENT2:	op->parent2 = get_id(c); break;
	case F_NAME:	op->name = get_str(c, OP_NAME2_MAX); break;
	case F_NAME2:	op->name2 = get_str(c, OP_NAME2_MAX); break;
	case F_MODE:	op->mode = get_u32(c); break;
	case F_UID:	op->uid = get_u32(c); break;
	case F_GID:	op->gid = get_u32(c); break;
	case F_RDEV:	op->rdev = get_u32(c); break;
	case F_MASK:	op->mask = get_u32(c); break;
	case F_FLAGS:	op->flags = get_u32(c); break;
	case F_SIZE:	op->size = get_id(c); break;
	case F_ATIME:	op->atime = cur_svarint(c); break;
	case F_MTIME:	op->mtime = cur_svarint(c); break;
	case F_CTIME:	op->ctime = cur_svarint(c); break;
	case F_VALUE:	get_value(c, op); break;
	case F_EXTENTS:	get_extents(c, op, store, &at->extents); break;
	case F_OBJECTS:	get_objects(c, op, store, &at->objects); break;
	case F_SESSION:	op->session = get_u32(c); break;
	case F_BLOCK_FIRST: op->block_first = get_u32(c); break;
	case F_BLOCK_COUNT: op->block_count = get_u32(c); break;
	case F_NONCE:	op->nonce = (uint64_t)cur_svarint(c); break;
	case F_PREV_NONCE: op->prev_nonce = (uint64_t)cur_svarint(c); break;
	case F_FIRST_SEQ: op->first_seq = get_id(c); break;
	case F_STATE_ID: get_state_id(c, op); break;
	case F_TAKEOVER: get_takeover(c, op); break;
	case F_SUMS:	get_sums(c, op, store, at->objects); break;
	default:	cur_fail(c); break;
	}
}

void
op_decode(struct cur *c, struct op *ret, struct buf *store)
{
	struct op op = { 0 };
	struct places at = { 0 };
	unsigned prev = 0, f;

	buf_reset(store);
	op.kind = cur_u8(c);
	while ((f = cur_u8(c)) != F_END && !cur_err(c)) {
		if (f <= prev)
			cur_fail(c);
		prev = f;
		get_field(c, f, &op, store, &at);
	}
	if (op.nextents > 0)
		op.extents = (void *)(store->p + at.extents);
	if (op.nobjects > 0)
		op.objects = (void *)(store->p + at.objects);
	if (!cur_err(c) && op_check(&op) != 0)
		cur_fail(c);
	if (cur_err(c))
		memset(&op, 0, sizeof(op));
	*ret = op;
}

/* --- what an op must be --- */

enum { NEED_INO = 1, NEED_PARENT = 2, NEED_NAME = 4, NEED_NAME2 = 8,
	NEED_PARENT2 = 16, NEED_LABEL = 32, NEED_SESSION = 64 };

static const uint8_t needed[OP_KIND_END] = {
	[OP_CREATE] = NEED_INO | NEED_PARENT | NEED_NAME,
	[OP_MKDIR] = NEED_INO | NEED_PARENT | NEED_NAME,
	[OP_SYMLINK] = NEED_INO | NEED_PARENT | NEED_NAME,
	[OP_LINK] = NEED_INO | NEED_PARENT | NEED_NAME,
	[OP_UNLINK] = NEED_INO | NEED_PARENT | NEED_NAME,
	[OP_RMDIR] = NEED_INO | NEED_PARENT | NEED_NAME,
	[OP_RENAME] = NEED_INO | NEED_PARENT | NEED_NAME | NEED_PARENT2 |
	    NEED_NAME2,
	[OP_SETATTR] = NEED_INO,
	[OP_SETXATTR] = NEED_INO | NEED_LABEL,
	[OP_REMOVEXATTR] = NEED_INO | NEED_LABEL,
	[OP_EXTENTS] = NEED_INO,
	[OP_TRUNCATE] = NEED_INO,
	[OP_STORE] = NEED_INO,
	[OP_ATTACH] = NEED_INO | NEED_PARENT | NEED_NAME,
	[OP_PIN] = NEED_INO,
	[OP_TAG] = NEED_INO | NEED_LABEL,
	[OP_POLICY] = NEED_INO,
	[OP_SESSION_OPEN] = NEED_SESSION,
	[OP_SESSION_CLOSE] = NEED_SESSION,
	[OP_SESSION_FENCE] = NEED_SESSION,
	[OP_REFRESH] = NEED_INO,
};

static int
check_entry(const char *name)
{
	size_t n = name ? strnlen(name, META_NAME_MAX + 1) : 0;

	if (n > META_NAME_MAX)
		return (-ENAMETOOLONG);
	if (n == 0 || memchr(name, '/', n) != NULL || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return (-EINVAL);
	return (0);
}

static int
check_label(const char *name, size_t max)
{
	size_t n = name ? strnlen(name, max + 1) : 0;

	return (n > max ? -ENAMETOOLONG : n == 0 ? -EINVAL : 0);
}

static bool
range_ok(uint64_t off, uint64_t len)
{
	return (off <= INT64_MAX && len <= INT64_MAX - off);
}

uint64_t
op_sums(uint64_t off, uint64_t len)
{
	return (len == 0 ? 0 : (off + len - 1) / META_SUM - off / META_SUM +
	    1);
}

/* As many as the object's extents have places for. */
static int
check_sums(const struct op *op, const struct op_object *o)
{
	uint64_t n = 0;

	if (o->nsums == 0)
		return (0);
	if (op->kind != OP_EXTENTS || op->nobjects != 1 ||
	    (o->kind != OBJ_WHOLE && o->kind != OBJ_PATCH) ||
	    o->nsums > META_SUMS_MAX)
		return (-EINVAL);
	for (unsigned i = 0; i < op->nextents; i++)
		if (op->extents[i].object == o->id)
			n += op_sums(op->extents[i].off, op->extents[i].len);
	return (n != o->nsums ? -EINVAL : 0);
}

/* Extents ascend and do not overlap. */
static int
check_extents(const struct op *op)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < op->nextents; i++) {
		const struct op_extent *e = &op->extents[i];

		if (e->len == 0 || !range_ok(e->off, e->len) ||
		    !range_ok(e->ooff, e->len) || e->off < end ||
		    e->object == 0 || e->object > OP_ID_MAX || e->crc < -1 ||
		    e->crc > UINT32_MAX)
			return (-EINVAL);
		end = e->off + e->len;
	}
	for (unsigned i = 0; i < op->nobjects; i++) {
		const struct op_object *o = &op->objects[i];

		if (o->id == 0 || o->id > OP_ID_MAX || o->size > INT64_MAX ||
		    o->kind > OBJ_PATCH ||
		    memchr(o->version, '\0', sizeof(o->version)) == NULL ||
		    check_sums(op, o) != 0)
			return (-EINVAL);
	}
	return (0);
}

static int
check_refresh(const struct op *op)
{
	bool file = op->mask == REFRESH_FILE;
	int err = 0;

	if (op->mask < REFRESH_DIR || op->mask > REFRESH_TIME)
		return (-EINVAL);
	if (op->mask != REFRESH_TIME && op->parent == 0)
		return (-EINVAL);
	if (op->mask != REFRESH_TIME)
		err = check_entry(op->name);
	if (err == 0 && op->mask == REFRESH_NAME)
		err = check_entry(op->name2);
	if (err != 0)
		return (err);
	if (op->nextents != 0 || op->nobjects != (file ? 1 : 0))
		return (-EINVAL);
	if (!file)
		return (0);
	if (op->objects[0].id != op->ino || op->objects[0].size != op->size ||
	    op->objects[0].kind != OBJ_IMPORTED || op->ino2 == op->ino ||
	    op->nvalue == 0 || !S_ISREG(op->mode))
		return (-EINVAL);
	return (0);
}

static int
check_kind(const struct op *op)
{
	switch (op->kind) {
	case OP_CREATE:
		switch (op->mode & S_IFMT) {
		case S_IFREG: case S_IFIFO: case S_IFSOCK: case S_IFCHR:
		case S_IFBLK:
			return (0);
		default:
			return (-EINVAL);
		}
	case OP_SYMLINK:
		return (op->nvalue == 0 ? -EINVAL :
		    op->nvalue > 4095 ? -ENAMETOOLONG : 0);
	case OP_SETXATTR:
		return (op->nvalue > META_XATTR_MAX ? -E2BIG :
		    op->flags > 3 ? -EINVAL : 0);
	case OP_TAG:
		return (op->nvalue > META_XATTR_MAX ? -E2BIG : 0);
	case OP_LOCATE:
		return (op->nobjects == 0 || op->nextents > 0 ? -EINVAL : 0);
	case OP_ATTACH:
		return (op->ino2 < op->ino || op->nvalue % 32 ? -EINVAL : 0);
	case OP_REFRESH:
		return (check_refresh(op));
	case OP_SESSION_OPEN:
		if (op->session > META_SESSION_MAX || op->first_seq == 0)
			return (-EINVAL);
		return (check_label(op->name, META_NAME_MAX));
	default:
		return (0);
	}
}

int
op_check(const struct op *op)
{
	unsigned need;
	int err;

	if (op->kind <= 0 || op->kind >= OP_KIND_END)
		return (-EINVAL);
	need = needed[op->kind];
	if (op->ino > OP_ID_MAX || op->ino2 > OP_ID_MAX ||
	    op->parent > OP_ID_MAX || op->parent2 > OP_ID_MAX ||
	    op->size > INT64_MAX || op->first_seq > INT64_MAX ||
	    op->nvalue > OP_VALUE_MAX ||
	    (need & NEED_INO && op->ino == 0) ||
	    (need & NEED_PARENT && op->parent == 0) ||
	    (need & NEED_PARENT2 && op->parent2 == 0) ||
	    (need & NEED_SESSION && op->session == 0))
		return (-EINVAL);
	if ((need & NEED_NAME && (err = check_entry(op->name)) != 0) ||
	    (need & NEED_NAME2 && (err = check_entry(op->name2)) != 0) ||
	    (need & NEED_LABEL &&
	    (err = check_label(op->name, META_NAME_MAX)) != 0))
		return (err);
	if ((op->kind == OP_EXTENTS || op->kind == OP_LOCATE ||
	    op->kind == OP_REFRESH) &&
	    (err = check_extents(op)) != 0)
		return (err);
	return (check_kind(op));
}

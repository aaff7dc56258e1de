/*
 * op: the operations of the log, their codec, and apply().
 *
 * apply(state, op) is deterministic: no clock, no random, no unordered
 * iteration; times and ids are in the op.  It checks the preconditions first
 * (L9) and changes nothing when one fails, returning the errno that the
 * caller of the mounted filesystem gets:
 *   -ENOENT -EEXIST -ENOTDIR -EISDIR -ENOTEMPTY -EROFS (below an import, B2)
 *   -EXDEV -EINVAL (a rename into itself) -EMLINK -ENODATA -EPERM -EBUSY
 *   (session) -ESTALE (fenced session)
 * Kinds and field numbers are the on-store format; a new kind raises the
 * feature level.
 */
#ifndef META_OP_H
#define META_OP_H

#include "base/buf.h"
#include "meta/rows.h"

enum op_kind {
	OP_CREATE = 1,	/* parent name ino mode uid gid rdev mtime: a regular
			   file, fifo, socket, device by mode (mkdir, symlink
			   apart).  *ctime = mtime = atime */
	OP_MKDIR,	/* parent name ino mode uid gid mtime */
	OP_SYMLINK,	/* parent name ino value(target) uid gid mtime */
	OP_LINK,	/* ino parent name ctime */
	OP_UNLINK,	/* parent name ctime; ino must match (precondition) */
	OP_RMDIR,	/* parent name ctime; ino must match, empty */
	OP_RENAME,	/* parent name parent2 name2 ctime flags(RENAME_*);
			   ino = moved, ino2 = replaced or exchanged (0 none),
			   both preconditions */
	OP_SETATTR,	/* ino mask(ATTR_*) mode uid gid atime mtime ctime */
	OP_SETXATTR,	/* ino name value ctime flags(XATTR_CREATE/REPLACE) */
	OP_REMOVEXATTR,	/* ino name ctime */
	OP_EXTENTS,	/* ino size mtime ctime flags(EXT_*) extents objects */
	OP_TRUNCATE,	/* ino size mtime ctime */
	OP_STORE, /* ino(store id) name value(url) flags; size 1 = remove:
			   -EBUSY where an object that an extent names has a
			   copy there; all its locations go (content part) */
	OP_ATTACH,	/* parent name ino(root of the import) ino2(last id)
			   mtime extents none; value = n × 32-byte piece hashes.
			   name "" : replaces nothing, root ino's row is in the
			   pieces; the dentry is made here */
	OP_PIN,		/* ino(id) name value(selectors) host via name2, mtime
			   expires in size; flags 1 = remove */
	OP_TAG,		/* ino name value; flags 1 = remove */
	OP_POLICY,	/* ino(id) name mask(kind) value(body); flags 1 =
			   remove */
	OP_QUOTA,	/* mask(kind) ino(id) size(bytes) ino2(files); flags
			   1 = remove */
	OP_SESSION_OPEN,	/* session nonce state_id prev_nonce name(host)
			   mtime first_seq block_first block_count takeover.
			   -EBUSY while another session is open, unless that
			   one has our state_id and nonce == prev_nonce, or
			   takeover: then it is fenced.  The row's hwm is
			   first_seq - 1.  Not journalled while ops of an
			   earlier session are pending: sent as a batch of its
			   own and replayed (batch.h) */
	OP_SESSION_CLOSE,	/* session: -ESTALE unless it is open */
	OP_SESSION_FENCE,	/* session: the same */
	OP_SNAPSHOT_MARK,	/* changes nothing */
	OP_LOCATE,	/* objects: each has a copy of that version in that
			   store, too, under the key that its id gives; or the
			   one that it has there is of that version now, under
			   the key that it has.
			   Content part only; nothing where there is no such
			   object of that size (any more).  Level 2 */
	OP_REFRESH,	/* ino mask(enum refresh_what): below an import, which
			   nothing else changes (B2), what its bucket has now.
			   All of it is the attribute part, but that the bytes
			   of what is gone are let go of (M1) */
	OP_KIND_END
};

enum { ATTR_MODE = 1, ATTR_UID = 2, ATTR_GID = 4, ATTR_ATIME = 8,
	ATTR_MTIME = 16 };	/* ctime is always set */
/* What a refresh does; parent and name but for the last.
 * _DIR: a new directory: mode uid gid mtime ctime(of parent).
 * _FILE: a new file: the same, and size, one object whose id is ino, value its
 *	key.  ino2: the file of that name whose place and tags it takes (a
 *	changed object is another file: F1, B5); 0 none.
 * _GONE: a file, or an empty directory: ctime.
 * _NAME: becomes name2: ctime.
 * _TIME: a directory marked, or the same bytes stored again: mtime. */
enum refresh_what { REFRESH_DIR = 1, REFRESH_FILE, REFRESH_GONE, REFRESH_NAME,
	REFRESH_TIME };
/* EXT_WHOLE: the list replaces every extent; else it is laid over them.  Both
 * ways nothing stays beyond size.  Extents ascend and do not overlap.
 * EXT_VOID: completed empty (M3). */
enum { EXT_WHOLE = 1, EXT_VOID = 2 };

struct op_extent {
	uint64_t	off, len;	/* in the file, bytes */
	uint64_t	object, ooff;
	int64_t		crc;		/* crc32c or -1 */
};
struct op_object {
	uint64_t	id, size;
	uint32_t	kind;		/* enum object_kind */
	uint32_t	store;		/* id */
	char		version[160];	/* "" for ours not known at freeze: ours
					   are never overwritten (B1) and carry
					   crcs (B5's other way) */
	/* Of the one OBJ_WHOLE or OBJ_PATCH of an OP_EXTENTS: crc32c, little-
	 * endian, of what each of its extents, in order, has in each chunk
	 * (META_SUM) of the file that it touches: op_sums() of them; none: not
	 * known.  Level 3 */
	const void	*sums;		/* borrowed */
	uint32_t	nsums;
};

struct op {
	enum op_kind	 kind;
	uint64_t	 ino, ino2, parent, parent2;
	const char	*name, *name2; /* borrowed; NUL-terminated; NULL = "" */
	uint32_t	 mode, uid, gid, rdev, mask, flags;
	uint64_t	 size;
	int64_t		 atime, mtime, ctime;
	const void	*value;		/* borrowed */
	size_t		 nvalue;
	struct op_extent *extents;	/* borrowed */
	unsigned	 nextents;
	struct op_object *objects;	/* borrowed */
	unsigned	 nobjects;
	/* session ops */
	uint32_t	 session, block_first, block_count;
	uint64_t	 nonce, prev_nonce, first_seq;
	uint8_t		 state_id[16];
	bool		 takeover;
};

void	op_encode(const struct op *op, struct buf *out);
/* Hostile input.  Strings, value and arrays point into c's bytes or into
 * *store, which is reset first and must outlive op: one store, one op at a
 * time.  c's error says so; what comes back is well-formed (op_check). */
void	op_decode(struct cur *c, struct op *ret, struct buf *store);
const char *op_kind_name(enum op_kind k);
/* How many chunks of META_SUM bytes [off, off+len) of a file touches. */
uint64_t op_sums(uint64_t off, uint64_t len);

/* What a local op must be before it is journalled: 0, -EINVAL,
 * -ENAMETOOLONG, -E2BIG. */
int	op_check(const struct op *op);

enum apply_part { APPLY_ATTR = 1, APPLY_CONTENT = 2, APPLY_BOTH = 3 };
/* Writer.  M1, M2. */
int	apply(struct sqc *c, const struct change *ch, const struct op *op,
	    enum apply_part part);

#endif

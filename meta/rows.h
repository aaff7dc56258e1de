/*
 * rows: the replicated tables, described once, and the one way to change one.
 *
 * A row is an array of columns, key columns first.  The same description
 * gives the CREATE TABLE, the statements, the row image of undo (L5), the
 * pieces of snapshots and imports (L12) and the digest.  An image is each
 * column in order: integers as zigzag varints, bytes as varint length and
 * bytes.  It is part of the on-store format: columns are only ever appended,
 * with a feature level.
 */
#ifndef META_ROWS_H
#define META_ROWS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/sq.h"

enum tbl {
	/* ino | mode uid gid rdev nlink size atime mtime ctime flags */
	T_INODE,
	/* parent hash | name ino type     (L14; type: S_IFMT >> 12) */
	T_DENTRY,
	/* ino off | len object ooff crc   (crc32c of the bytes, -1 unknown) */
	T_EXTENT,
	T_OBJECT,	/* id | size kind                  (enum object_kind) */
	T_LOCATION,	/* object store | key version (store: id; key '' is
				derived from the object id:
				data/<xx>/<session>-<n>) */
	T_XATTR,	/* ino name | value */
	T_SYMLINK,	/* ino | target */
	T_STORE,	/* id | name url flags             (1 = home) */
	T_PIN,		/* id | name host selectors expires created flags */
	T_POLICY,	/* id | name kind body */
	T_TAG,		/* ino key | value */
	T_QUOTA,	/* kind id | bytes files */
	T_SESSION,	/* number | state_id nonce host opened state hwm
				block_first block_count
				(enum session_state) */
	T_CONFLICT,	/* id | ino what */
	/* object ooff | len phase sums: what our large objects hold, at most
	 * META_SUMS_ROW sums a row: crc32c (u32 each) of the object's bytes
	 * [ooff, ooff+len), cut where phase + the distance from ooff is a
	 * multiple of META_SUM: where the file's chunks were.  Level 3 */
	T_SUMS,
	T_COUNT
};

enum object_kind { OBJ_IMPORTED, OBJ_WHOLE, OBJ_PACK, OBJ_PATCH };
enum session_state { SESS_OPEN, SESS_CLOSED, SESS_FENCED };

/* inode.flags */
#define INODE_IMPORTED	0x1	/* read-only: B2 */
#define INODE_IMPORT_ROOT 0x2	/* the directory an attach made */

#define ROW_COLS_MAX	12

struct col {
	const void	*p;		/* bytes; NULL for an integer */
	union { int64_t i; size_t n; };	/* integer, or length of p */
};
struct row { enum tbl tbl; struct col v[ROW_COLS_MAX]; };

struct tbl_desc {
	const char	*name;
	unsigned	 ncols, nkey;
	const char	*cols[ROW_COLS_MAX];	/* names */
	uint16_t	 blob_mask;		/* bit i: column i is bytes */
};
extern const struct tbl_desc tbl_descs[T_COUNT];

/* Whose change it is: undo_seq 0 = a landed op (no undo row), else the
 * journal seq of the pending op.  One pre-image a (seq, table, key). */
struct change { uint64_t undo_seq; };

/* Makes tables [from, to). */
int	rows_schema(struct sqc *c, enum tbl from, enum tbl to);
/* 0, -ENOENT.  Bytes are copied into scratch (reset first by the caller). */
/* key in, rest out */
int	row_get(struct sqc *c, struct row *io, struct buf *scratch);
/* Insert or replace.  Writer.  The only writers of replicated tables. */
int	row_put(struct sqc *c, const struct change *ch, const struct row *r);
/* absent: 0 */
int	row_del(struct sqc *c, const struct change *ch, const struct row *key);
/* The same where the caller has the row as it is now: old NULL when there is
 * none, new NULL to delete.  Saves a look-up; same key in both. */
int	row_change(struct sqc *c, const struct change *ch,
	    const struct row *old, const struct row *new);
/* Bulk load of sorted rows that no op will undo (pieces): plain insert
 * (-EEXIST), but the root's inode, which every database has, is replaced. */
int	row_load(struct sqc *c, const struct row *r);
/* The same of n ≤ ROWS_LOAD rows of one table in key order; fastest when full.
 * After an error some may be there: the caller's sq_write fails. */
#define ROWS_LOAD	16
int	rows_load(struct sqc *c, const struct row *rows, unsigned n);

void	row_encode(const struct row *r, struct buf *out);
void	row_encode_key(const struct row *r, struct buf *out);
/* Borrowed from cur's bytes; sets cur's error on nonsense. */
void	row_decode(struct cur *c, enum tbl tbl, struct row *ret);
/* Order of keys, the order of pieces and of SQLite: integers signed, bytes by
 * memcmp, then length. */
int	row_key_cmp(const struct row *a, const struct row *b);

/*
 * A table in key order, streamed; r and its image (n bytes, row_encode) are
 * borrowed until each returns.  each returns nonzero to stop, which is what
 * the scan then returns; it must not scan the same table on c.  One state:
 * inside sq_snapshot_begin or an sq_write.
 * _prefix: as of the log prefix (M4): what undo holds wins over the live row,
 * ids in a hidden range are not there.  _live: the rows as they are.
 */
typedef int rows_each(void *arg, const struct row *r, const void *image,
	    size_t n);
int	rows_scan_prefix(struct sqc *c, enum tbl t, rows_each *each,
	    void *arg);
int	rows_scan_live(struct sqc *c, enum tbl t, rows_each *each, void *arg);

/* Ranges of ids whose rows are not part of the log prefix yet (imports being
 * loaded: seq 0; attach journalled as seq, not landed).  Host-local table
 * hidden(lo, hi, seq).  apply() of an attach sets the seq, or removes the
 * range when the attach is in the log already. */
int	hidden_add(struct sqc *c, uint64_t lo, uint64_t hi, uint64_t seq);
int	hidden_set_seq(struct sqc *c, uint64_t lo, uint64_t seq);
int	hidden_del(struct sqc *c, uint64_t lo);
/* Deletes the range at lo, of seq 0, with its rows.  -ENOENT. */
int	hidden_drop(struct sqc *c, uint64_t lo);
/* Deletes the rows of hidden ranges with seq 0 (an import that died). */
int	hidden_purge(struct sqc *c);

#endif

/*
 * internal: what the files of meta/ share and nobody else includes.
 *
 * Host-local tables (schema.c), beside the replicated ones of rows.h:
 *	meta(key, value)	text by name
 *	op(seq | kind ino needs time body)	the journal
 *	undo(seq tbl key | old)	pre-images (L5); key in memcmp order, old NULL
 *				when the row was not there
 *	unstored(seq | ino crc bytes)	small files' bytes not in a store
 *	frozen(1 | session nonce first last nops body)	the one frozen batch;
 *				first, last: of the session (M5)
 *	frozen_run(lo | hi)	seqs of its ops, ascending
 *	frozen_pack(object off | ino seq len stored)	what packs are made of
 *				(stored: put before it was frozen)
 *	hidden(lo | hi seq)	ids that are not in the log prefix
 *	counts(1 | files dirs bytes unstored landed last)	totals kept; how
 *				many ops landed, and the highest seq of them
 */
#ifndef META_INTERNAL_H
#define META_INTERNAL_H

#include <stdatomic.h>
#include <string.h>

#include "base/lock.h"
#include "meta/batch.h"
#include "meta/meta.h"
#include "meta/op.h"

#define SCHEMA_VERSION	4

/* op.needs beyond enum needs: its bytes were uploaded; it is small, and its
 * bytes are for another store than the home (journal_packable). */
#define NEEDS_DONE	3
#define NEEDS_STORE	4
/* Its first extents are frozen, its body is the rest (freeze_cut.c). */
#define NEEDS_REST	5

/* op.flags of an unlink or a rename that dropped the last link of an inode,
 * set when it is journalled: so its content part (M1), which runs later,
 * does what replay does at once (M2).  Replay does not look at it. */
#define OP_LAST_LINK	0x10000u

/* Of what meta keeps in core: above RANK_SQ, below those of backends. */
#define RANK_META	((enum lock_rank)82)

/* A dentry is at its name's hash or one of the next slots (L14). */
#define DENTRY_PROBES	16
#define DEPTH_MAX	100000	/* directories below each other */

struct meta {
	struct sq		*sq;
	struct lock		 lock;		/* session */
	struct meta_session	 session;
	_Atomic uint64_t	 next_id;	/* 0: none to give */
	_Atomic uint64_t	 frozen_synced;	/* last of the batch synced */
	_Atomic bool		 packable;	/* journal_has_packable */
	struct hold		*hold;		/* of batch_freeze */
};

/* schema.c.  Writer.  -EPROTONOSUPPORT: made by a newer gnsfs. */
int	schema_migrate(struct sqc *c);
/* Writer.  Adds to the kept totals. */
int	counts_add(struct sqc *c, int64_t files, int64_t dirs, int64_t bytes);
int	counts_add_unstored(struct sqc *c, int64_t bytes);
/* n more landed, seq the highest of them. */
int	counts_add_landed(struct sqc *c, uint64_t n, uint64_t seq);
/* The seq the next journalled op gets (M5). */
int	counts_next_seq(struct sqc *c, uint64_t *ret);

/* rows.c, for its two neighbours.  A statement of a table; the columns of a
 * row under a statement, borrowed; a key so that memcmp orders it as
 * row_key_cmp does, which is undo's key. */
enum row_stmt_kind { Q_CREATE, Q_GET, Q_INSERT, Q_REPLACE, Q_DELETE, Q_SCAN,
	Q_PURGE, Q_COUNT };
struct sqs *row_stmt(struct sqc *c, enum tbl t, enum row_stmt_kind q);
void	row_read(struct sqs *s, struct row *r);
void	row_order_key(const struct row *r, struct buf *out);
int	row_bytes_cmp(const void *a, size_t na, const void *b, size_t nb);
/* The pre-images of ops lo..hi are not needed any more. */
int	undo_drop(struct sqc *c, uint64_t lo, uint64_t hi);

/* rows_session.c.  What a landed op does to a session's row is done to every
 * form of it, the live one and each pre-image, for a pending close of it
 * changes other columns (L5).  edit leaves the key alone. */
typedef void session_edit(struct row *r, void *arg);
int	session_edit_all(struct sqc *c, int64_t number, session_edit *edit,
	    void *arg);
/* The row as of the log prefix: 0, -ENOENT.  Scratch as row_get. */
int	session_get_prefix(struct sqc *c, struct row *io, struct buf *scratch);

/* apply_*.c.  retlast (may be NULL): an inode lost its last link. */
int	apply_attr(struct sqc *c, const struct change *ch,
	    const struct op *op, uint64_t *retlast);
/* last: the inode that the op removed, 0 none. */
int	apply_content(struct sqc *c, const struct change *ch,
	    const struct op *op, uint64_t last);
/* apply_tree.c. */
int	inode_get(struct sqc *c, uint64_t ino, struct row *ret);
int	dir_is_empty(struct sqc *c, int64_t ino);	/* 1, 0, -errno */
/* Is dir top, or below it?  1, 0, -errno. */
int	dir_is_below(struct sqc *c, int64_t dir, int64_t top);

/* policy.c: rows of directories.  What a body says: 1: it decides, 0: it means
 * nothing, -errno. */
typedef int policy_fn(struct sqc *c, void *arg, const void *p, size_t n);
int	policy_any(struct sqc *c, uint32_t kind);	/* 1, 0, -errno */
int	policy_has(struct sqc *c, uint32_t kind, uint64_t id);	/* -ENOENT */
/* Of this row: as take says; 0: there is none. */
int	policy_take(struct sqc *c, uint32_t kind, uint64_t id,
	    policy_fn *take, void *arg);
/* Of it or the nearest above it that decides; *retdir 0: none. */
int	policy_above(struct sqc *c, uint32_t kind, uint64_t bit,
	    uint64_t dir, policy_fn *take, void *arg, uint64_t *retdir);
/* The same of any inode, where there may be no row at all.  bit: of the ids of
 * such rows, beside the directory's. */
int	policy_nearest(struct sqc *c, uint32_t kind, uint64_t bit,
	    uint64_t ino, policy_fn *take, void *arg, uint64_t *retdir);

/* place.c, whole.c: may such an op be applied (L9)?  -ENOENT, -ENOTDIR,
 * -EROFS (B2), -EINVAL. */
int	place_check(struct sqc *c, const struct op *op);
int	whole_check(struct sqc *c, const struct op *op);

/* freeze_cut.c.  May an op with an encoded length of nbody be longer than a
 * batch?  Writer: the frozen part of op seq landed, if there is a rest that is
 * to be frozen: 1, 0, -errno. */
bool	cut_can(const struct op *op, size_t nbody);
int	cut_landed(struct sqc *c, uint64_t seq);

/* batch.c, for freeze.c.  A row of a query: 1, 0, -errno; the statement is
 * reset.  No row of this inode: 1, 0, -errno.  The row of session b->session
 * in the log prefix allows b: 1, 0, -errno; *retfenced: it is fenced. */
int	sqs_has_row(struct sqs *s);
int	inode_gone(struct sqc *c, uint64_t ino);
int	batch_session_allows(struct sqc *c, const struct batch *b,
	    bool *retfenced);
/* The same of whatever comes next, whose first number is then *retfirst. */
int	batch_session_next(struct sqc *c, uint32_t session, uint64_t nonce,
	    uint64_t *retfirst, bool *retfenced);

/* Columns. */
enum { I_INO, I_MODE, I_UID, I_GID, I_RDEV, I_NLINK, I_SIZE, I_ATIME, I_MTIME,
	I_CTIME, I_FLAGS };
enum { D_PARENT, D_HASH, D_NAME, D_INO, D_TYPE };
enum { E_INO, E_OFF, E_LEN, E_OBJECT, E_OOFF, E_CRC };
enum { S_NUMBER, S_STATE_ID, S_NONCE, S_HOST, S_OPENED, S_STATE, S_HWM,
	S_BLOCK_FIRST, S_BLOCK_COUNT };

static inline struct col
col_int(int64_t v)
{
	return ((struct col){ .p = NULL, .i = v });
}

static inline struct col
col_bytes(const void *p, size_t n)
{
	return ((struct col){ .p = n ? p : "", .n = n });
}

static inline struct col
col_str(const char *s)
{
	return (col_bytes(s ? s : "", s ? strlen(s) : 0));
}

#endif

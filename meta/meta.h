/*
 * meta: the namespace, in SQLite.
 *
 * Replicated tables (rows.h) are the tree; they change only by apply() of an
 * operation (op.h).  A local change is applied and journalled in one
 * transaction (journal.h), frozen into a batch (batch.h), and landed when
 * the log has it.  What another host logged is replayed (replay.h).  Nothing
 * here does I/O but SQLite: fs/ moves segments, pieces and packs.
 *
 * THE INVARIANTS (cited as M1..)
 *  M1  An operation has an attribute part (inode, dentry, xattr, symlink, ...
 *      rows) and a content part (extent, object, location rows).  The
 *      attribute part is applied when the op is journalled, with undo rows
 *      (L5); the content part is applied when the op is frozen, in journal
 *      order, with undo rows.  So the content tables always stand at the end
 *      of the frozen prefix, and while an op is merely journalled its bytes
 *      are known to the cache alone.
 *      Imported files are known to the stores alone: where the bytes of a new
 *      one are is the attribute part of its attach or refresh.
 *  M2  Replay applies both parts of each op, in order.  Both ways give the
 *      same rows.
 *  M3  Where a file's size or bytes change, the op is `extents` (whole list
 *      or patches; bytes needed until complete) or `truncate` (no bytes
 *      needed).  An `extents` op that a later one of the same inode in the
 *      same batch replaces, or whose inode is gone when its batch is frozen
 *      (B7), is completed empty (void): its attribute part stays, its content
 *      part is nothing.
 *  M4  The digest and the snapshot are of the log prefix: what undo holds
 *      wins over the live row; ids in a `hidden` range are not there (L4).
 *  M5  Journal sequence numbers (seq) are of the state directory: they start
 *      at 1, never repeat, and are given without a gap, whoever's session it
 *      was.  The numbers in a batch are its session's own: the first is one
 *      more than the session's hwm in the log, and there is one for each op,
 *      or part of one (freeze_cut.c).
 *  M6  Ops are frozen in the order of the journal, but for those that are held
 *      (L3, hold.h).  Of all ops that read or write a row, those that landed
 *      came before those that did not.  So ops that change places on their
 *      way to the log commute, replay gives the rows that are live (M2), and
 *      a row's oldest pre-image is what it is in the log prefix (M4, L5).
 *
 * Ids: inode numbers and object ids are session << 36 | counter, one counter
 * for both (L1); the root is inode 1.  Times are ns since the epoch.
 *
 * A struct meta is for one process; every function may be called from any
 * thread; functions that take a `struct sqc *` run inside an sq_write (where
 * the comment says "writer") or on a reader of meta_sq().
 */
#ifndef META_META_H
#define META_META_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sq.h"
#include "base/why.h"

#define META_ROOT	UINT64_C(1)
#define META_ID_SHIFT	36
#define META_SESSION_MAX ((1u << 27) - 1)
#define META_NAME_MAX	255
#define META_SMALL_MAX	(64 * 1024)	/* bytes: a small file (DESIGN 6) */
#define META_XATTR_MAX	(64 * 1024)
#define META_LINK_MAX	65000
/* Sums of large objects (op.h, rows.h). */
#define META_SUM	(UINT64_C(1) << 20)	/* file bytes of one, at most */
#define META_SUMS_ROW	1024u		/* in one row */
#define META_SUMS_MAX	(512u << 10)	/* of one object: 512 GiB */

struct meta;

/* Opens or makes the database at path, migrating forward in one transaction.
 * -EPROTONOSUPPORT when a newer gnsfs made it; -EUCLEAN damaged. */
int	meta_open(const char *path, struct meta **ret, struct why *why);
void	meta_close(struct meta *m);
struct sq *meta_sq(struct meta *m);

/* Local key/value table `meta` (host-local, never replicated).  Writer for
 * set.  get: 0, -ENOENT; copies at most n-1 bytes and a NUL. */
int	meta_set(struct sqc *c, const char *key, const char *value);
int	meta_get(struct sqc *c, const char *key, char *ret, size_t n);
int	meta_set_int(struct sqc *c, const char *key, int64_t v);
int	meta_get_int(struct sqc *c, const char *key, int64_t *ret);

/* --- who writes (L1) --- */
struct meta_session {
	uint32_t	number;		/* 0: none, read-only */
	uint64_t	nonce;
	char		host[65];	/* this host's name, for people */
	uint8_t		state_id[16];	/* of the state directory, made once */
};
/* Takes the next number of the granted block durably (sq_sync) with a fresh
 * nonce; -ENOENT when the block is used up (a session_open op must grant the
 * next).  Sets what meta_new_id uses. */
int	meta_session_take(struct meta *m, struct meta_session *ret);
/* Notes a block [first, first+count) as granted to this state directory. */
int	meta_session_granted(struct sqc *c, uint32_t first, uint32_t count);
void	meta_session_get(struct meta *m, struct meta_session *ret);
/* The nonce with which this database took that session: what a session_open
 * gives as prev_nonce when the session still open in the log has our
 * state_id.  -ENOENT: it was not taken here (a cloned disk), so it is not
 * ours to fence. */
int	meta_session_nonce(struct sqc *c, uint32_t number, uint64_t *ret);

/* A fresh inode or object id; 0 when there is no session (caller: EROFS). */
uint64_t meta_new_id(struct meta *m);
/* n contiguous ids, the first returned (an import). */
uint64_t meta_new_ids(struct meta *m, uint64_t n);

/* --- where the log is, as this database has it --- */
struct meta_head {
	uint64_t	lsn;		/* last applied segment; 0 none */
	uint8_t		hash[32];	/* of it; zeros for lsn 0 */
};
int	meta_head(struct sqc *c, struct meta_head *ret);
int	meta_set_head(struct sqc *c, const struct meta_head *h); /* writer */

#endif

/*
 * journal: local changes, applied and queued in one transaction.
 *
 * Host-local tables: op(seq, kind, ino, needs, time, body), undo(seq, tbl,
 * key, old), unstored(ino, seq, bytes).
 */
#ifndef META_JOURNAL_H
#define META_JOURNAL_H

#include "meta/meta.h"
#include "meta/op.h"

/* What an `extents` op waits for before it can be frozen (L2). */
enum needs {
	NEEDS_NOTHING,		/* ready */
	NEEDS_PACK,	/* bytes are in unstored(ino, seq): packed at freeze;
			   before it where they are for another store than the
			   home (place.h): journal_packable() */
	NEEDS_UPLOAD,		/* a large file's bytes: journal_uploaded() */
};

/* Writer.  apply(attr part) as pending, append to the journal; *retseq is its
 * number.  With op->kind OP_EXTENTS: needs says what it waits for, and for
 * NEEDS_PACK bytes/n is the file's whole content (≤ META_SMALL_MAX; may be 0
 * long: then nothing is needed).  -errno of apply or op_check: nothing
 * changed; -EFBIG: larger than a batch. */
int	journal(struct meta *m, struct sqc *c, const struct op *op,
	    enum needs needs, const void *bytes, size_t n, uint64_t *retseq);

/* Writer.  The upload for op seq, or its pack, is stored: these are its
 * extents and objects: of very many extents, without sums, a batch takes a part
 * at a time.  -ENOENT when the op is gone or no longer waits (thrown away);
 * -EFBIG. */
int	journal_uploaded(struct sqc *c, uint64_t seq, uint32_t ext_flags,
	    const struct op_extent *e, unsigned ne,
	    const struct op_object *o, unsigned no);

/* Ops that are not frozen and whose bytes, or a pack with them, were put into
 * the store; and, as what is dirty of a file is this or that op's, those after
 * them of the same inode whose bytes are anywhere: in order.  each's nonzero
 * stops and is returned.  -EBUSY: a copy there is recorded and not frozen. */
struct journal_put {
	uint64_t	 seq, ino;
	bool		 small, stored;	/* stored: bytes were put */
};
int	journal_put_in(struct sqc *c, uint32_t store,
	    int (*each)(void *arg, const struct journal_put *p), void *arg);
/* Writer.  One of those (all of an inode from the first on are to be) waits
 * for its bytes again, as if they had never been put. */
int	journal_put_again(struct meta *m, struct sqc *c,
	    const struct journal_put *p);

/* Writer.  The bytes that ops of ino wait for are lost (L11): these ops are
 * completed empty, so that they hold up no others, and the file is as long as
 * what is stored of it. */
int	journal_drop(struct meta *m, struct sqc *c, uint64_t ino, int64_t now);

/* The newest unstored bytes of a small file: 0 and bytes appended to out,
 * -ENOENT.  They stay until the op's batch has landed, also when the file was
 * removed meanwhile. */
int	unstored_get(struct sqc *c, uint64_t ino, struct buf *out);
bool	unstored_has(struct sqc *c, uint64_t ino);

struct journal_stat {
	uint64_t	ops;		/* pending, frozen or not */
	uint64_t	first_seq, last_seq; /* 0, 0 when empty */
	int64_t		oldest;	/* time the oldest was journalled; 0 none */
	uint64_t	waiting_uploads;
	uint64_t	waiting_small;	/* for a pack in another store */
	uint64_t	unstored_bytes;	/* of small files */
};
int	journal_stat(struct sqc *c, struct journal_stat *ret);
/* How many files have bytes that wait: counted, so for a person who asks. */
int	journal_files(struct sqc *c, uint64_t *ret);

/* Is op seq pending?  1, 0, -errno. */
int	journal_is_pending(struct sqc *c, uint64_t seq);

/* Large-file ops that wait for their bytes, oldest first, from seq > after:
 * the upload queue.  each returns nonzero to stop. */
int	journal_waiting(struct sqc *c, uint64_t after,
	    int (*each)(void *arg, uint64_t seq, uint64_t ino, int64_t time),
	    void *arg);

/* What of those is to be uploaded now, oldest first: of each inode that is
 * still there the newest op alone, which has all its bytes; not where a later
 * `extents` op is stored already, or small (the earlier ones are void: M3), or
 * the last name is gone (B7).  first, time: of the oldest op of the inode that
 * waits. */
int	journal_to_upload(struct sqc *c,
	    int (*each)(void *arg, uint64_t seq, uint64_t ino, uint64_t first,
		int64_t time),
	    void *arg);

/* Small files' bytes that wait for a pack in another store than the home,
 * oldest first; not where a later small op of the inode stands for them (M3),
 * or the last name is gone (B7).  Which store: place_store() says now. */
struct packable {
	uint64_t	seq, ino, len;
	uint32_t	crc;
	int64_t		time;
};
int	journal_packable(struct sqc *c,
	    int (*each)(void *arg, const struct packable *p), void *arg);
/* What waits to be put into stores, by store: files, their bytes (a large
 * file's whole size), the time of the oldest. */
struct waiting_store {
	uint32_t	store;
	uint64_t	files, bytes;
	int64_t		oldest;
};
/* At most max of them, *retn.  Counted: for a person who asks. */
int	journal_waiting_stores(struct sqc *c, struct waiting_store *v,
	    unsigned max, unsigned *retn);
/* Were there any since it was asked last?  For whoever wakes the packer. */
bool	journal_has_packable(struct meta *m);
/* The small bytes of op seq, appended.  -ENOENT. */
int	unstored_at(struct sqc *c, uint64_t seq, struct buf *out);

#endif

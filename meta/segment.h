/*
 * segment: the log's unit, as bytes (L2; DESIGN.md section 4).
 *
 *   "GNSSEG1\n"  u32 feature level  u64 lsn  32 bytes hash of the previous
 *   varint number of batches, each: varint session, u64 nonce, varint first
 *   seq, varint last seq, varint number of ops, bytes ops
 * compressed as one zstd frame behind a header
 *   "GNSF" u32 crc32c(frame) u32 frame length
 * The segment's hash is SHA-256 of the stored bytes, header included.
 */
#ifndef META_SEGMENT_H
#define META_SEGMENT_H

#include "meta/batch.h"

#define SEGMENT_MAX	(4u << 20)	/* stored bytes */
#define SEGMENT_RAW_MAX	(16u << 20)	/* before compression */
#define SEGMENT_BATCHES	4096		/* most in one */
#define SEGMENT_OPENS	4096		/* most session ops in one */
/* 1 the first; 2 OP_LOCATE and OP_REFRESH; 3 sums of large objects.  What is
 * written says what it may hold; a newer one than this is refused. */
#define FEATURE_LEVEL	3u

/* Keys in the home (objects: in their store).  ret has room for KEY_MAX.
 * Numbers are lower-case hex; <xx> of an object is its counter's low byte, of
 * a piece its hash's first. */
#define KEY_MAX		96
/* log/<lsn>>12>/<lsn:016x> */
void	segment_key(uint64_t lsn, char ret[KEY_MAX]);
/* data/<xx>/<session>-<n> */
void	object_key(uint64_t id, char ret[KEY_MAX]);
void	piece_key(const uint8_t hash[32], char ret[KEY_MAX]);
void	snapshot_key(uint64_t lsn, char ret[KEY_MAX]);

/* Appends the stored bytes to out.  -EFBIG: over SEGMENT_MAX or
 * SEGMENT_RAW_MAX. */
int	segment_encode(uint64_t lsn, const uint8_t prev[32],
	    const struct batch *b, unsigned n, struct buf *out,
	    uint8_t rethash[32]);

struct segment {
	uint64_t	 lsn;
	uint8_t		 prev[32], hash[32];
	unsigned	 nbatches;
	struct batch	*batches;
	/* what segment_opens gives */
	struct op	*opens;
	struct buf	*open_bytes;	/* what opens[i] points into */
	unsigned	 nopens;
};
/* Hostile input: -EBADMSG with why ("segment 17: checksum"), -EPROTONOSUPPORT
 * for a newer feature level, -ENOMEM. */
int	segment_decode(const void *p, size_t n, uint64_t lsn,
	    struct segment *ret, struct why *why);
void	segment_done(struct segment *s);

/*
 * Replays a segment another session wrote (or our own on a fresh database):
 * both parts of every op of every batch, the hwm rule (a batch that lands
 * twice counts once, one with a gap, of a fenced session, or with another
 * nonce is ignored), then the head.  seg->prev must be the head's hash, lsn
 * the head's + 1: -EBADMSG.  Pieces of an attach must have been loaded before
 * (piece_load; segment_attaches says which).  `changed`, may be NULL, is told
 * each inode and (parent, name) that changed, for invalidation.  Writer.
 */
struct changed_fns {
	void	(*inode)(void *arg, uint64_t ino);
	void	(*entry)(void *arg, uint64_t parent, const char *name);
	void	*arg;
};
int	segment_replay(struct sqc *c, const struct segment *seg,
	    const struct changed_fns *changed, struct why *why);
/* Each attach in it: its id range and pieces' hashes (n × 32). */
int	segment_attaches(const struct segment *seg,
	    int (*each)(void *arg, uint64_t lo, uint64_t hi,
		const uint8_t *hashes, size_t n), void *arg);
/* The session_open and session_fence ops in it, in order, ours or not: how a
 * fence is noticed (L13).  Borrowed from seg. */
int	segment_opens(const struct segment *seg, const struct op **retops,
	    unsigned *retn);

#endif

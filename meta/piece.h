/*
 * piece: key-ordered, content-addressed runs of rows; snapshots and imports
 * are made of them (L12), and one loader serves snapshot load, import and
 * replay of an attach.
 *
 * A piece holds rows of one table in key order.  Where a piece ends is
 * decided by content, so that an unchanged run of keys gives the same pieces
 * again and the next snapshot stores only what changed: it ends after a row
 * whose encoded key's CRC-32C has its low PIECE_BITS zero, or at PIECE_MAX
 * bytes.
 *
 *   "GNSPC1\n\0" u32 feature level u8 table varint rows, images; as one zstd
 *   frame behind the header of segment.h.  Its name is SHA-256 of the stored
 *   bytes.
 *
 * A snapshot: "GNSSNAP1" feature level, lsn, head hash, digest, number of
 * pieces, for each: table, rows, hash; behind the same header (frame.h).
 * Numbers but level (u32), lsn (u64) and table (u8) are varints.
 */
#ifndef META_PIECE_H
#define META_PIECE_H

#include "meta/rows.h"
#include "meta/meta.h"

#define PIECE_BITS	14		/* 16,384 rows on average */
#define PIECE_MAX	(8u << 20) /* bytes of images, before compression */
#define SNAPSHOT_PIECES	(1u << 20)	/* most in one snapshot */

/* Cuts sorted rows into pieces.  emit gets each one's stored bytes (borrowed)
 * and hash; its error stops. */
struct piece_writer;
typedef int piece_emit(void *arg, enum tbl tbl, uint64_t rows,
	    const uint8_t hash[32], const void *p, size_t n);
int	piece_writer_new(piece_emit *emit, void *arg,
	    struct piece_writer **ret);
/* sorted within a table, tables ascending */
int	piece_writer_add(struct piece_writer *w, const struct row *r);
/* The same, with the row's image at hand. */
int	piece_writer_add_image(struct piece_writer *w, const struct row *r,
	    const void *image, size_t n);
/* flush and free; also after an error */
int	piece_writer_end(struct piece_writer *w);
void	piece_writer_free(struct piece_writer *w);

/* Hostile input.  Checks hash (unless NULL), crc, order, types; calls each,
 * whose error stops.  -EBADMSG, -EPROTONOSUPPORT, -ENOMEM. */
int	piece_read(const void *p, size_t n, const uint8_t *hash,
	    int (*each)(void *arg, const struct row *r), void *arg,
	    struct why *why);
/* What is stored, checked and unpacked: its rows are to be read yet.  Apart
 * from loading them, so that another thread can do it. */
struct piece {
	struct buf	 raw;
	struct cur	 rows;		/* in raw */
	char		 what[32];	/* its name, for why */
};
/* hash: NULL accepted.  ret is piece_done's whatever it returns: 0, as
 * piece_read. */
int	piece_open(const void *p, size_t n, const uint8_t *hash,
	    struct piece *ret, struct why *why);
void	piece_done(struct piece *p);	/* or {0}; then it is {0} */
/* Writer.  Loads p's rows, once; with lo/hi non-zero, every inode and object id
 * in it must lie there, and only tables that an import has may be in it:
 * -EBADMSG.  -EEXIST: a row is there already.  sum, NULL accepted, gets the
 * images. */
struct digest;
int	piece_load(struct sqc *c, struct piece *p, uint64_t lo, uint64_t hi,
	    struct digest *sum, struct why *why);

/* --- snapshots: the log prefix as pieces (M4) --- */
struct snapshot {
	uint64_t	 lsn;
	uint8_t		 head[32], digest[32];
	unsigned	 npieces;
	struct snapshot_piece {
		enum tbl	tbl;
		uint64_t	rows;
		uint8_t		hash[32];
	} *pieces;
};
/* All rows of the log prefix, in one read transaction of c, as pieces given
 * to emit; ret then names them. */
int	snapshot_make(struct sqc *c, piece_emit *emit, void *arg,
	    struct snapshot *ret);
int	snapshot_encode(const struct snapshot *s, struct buf *out);
int	snapshot_decode(const void *p, size_t n, struct snapshot *ret,
	    struct why *why);
void	snapshot_done(struct snapshot *s);
/* Writer.  After all pieces were loaded into an empty tree: checks their digest
 * (-EBADMSG), sets the head.  It is of what was loaded: to read ten million
 * inodes once more would take half as long again. */
int	snapshot_loaded(struct sqc *c, const struct snapshot *s,
	    const uint8_t digest[32], struct why *why);

/* SHA-256 over all images of the log prefix, tables ascending, keys
 * ascending, each image preceded by its table number (u8) and length (u32)
 * (M4). */
int	meta_digest(struct sqc *c, uint8_t ret[32]);
/* The same of the live rows, pending ops included (for fsck and tests). */
int	meta_digest_live(struct sqc *c, uint8_t ret[32]);

#endif

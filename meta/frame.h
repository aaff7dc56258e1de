/*
 * frame: the envelope of everything meta writes to a home: segments, pieces,
 * snapshots.
 *
 *   "GNSF"  u32 crc32c(frame)  u32 length of frame  frame
 *
 * where frame is one zstd frame with its content's size.  The content starts
 * with an 8-byte magic and a u32 feature level, which frame_open checks.
 */
#ifndef META_FRAME_H
#define META_FRAME_H

#include "base/buf.h"
#include "base/why.h"

#define FRAME_HEADER	12
#define FRAME_MAGIC	8

/* Appends the envelope of n bytes at p to out.  0, -ENOMEM, -EFBIG. */
int	frame_seal(const void *p, size_t n, int level, struct buf *out);
/* Opens exactly one envelope: its content is appended to raw (at most max
 * bytes) and *retc stands behind the feature level; it borrows from raw.
 * what: "segment 17", for why.  -EBADMSG, -EPROTONOSUPPORT when the level is
 * newer than ours, -ENOMEM.  Hostile input. */
int	frame_open(const void *p, size_t n, const char magic[FRAME_MAGIC],
	    size_t max, const char *what, struct buf *raw, struct cur *retc,
	    struct why *why);

#endif

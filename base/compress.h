/* compress: zstd frames with known sizes.  The one owner of libzstd. */
#ifndef BASE_COMPRESS_H
#define BASE_COMPRESS_H

#include "base/buf.h"

/* Appends one frame (with content size).  0, -ENOMEM, -EFBIG. */
int	compress_frame(const void *p, size_t n, int level, struct buf *out);
/* Appends the content of exactly one frame of at most max bytes of content.
 * -EBADMSG: not that; -EFBIG: over max, before anything is allocated. */
int	decompress_frame(const void *p, size_t n, size_t max, struct buf *out);

#endif

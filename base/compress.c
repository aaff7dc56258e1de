/* compress: see base/compress.h. */
#include "base/compress.h"

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

/* As a buf has it where none is set. */
#define MAX_DEFAULT	((size_t)256 << 20)

int
compress_frame(const void *p, size_t n, int level, struct buf *out)
{
	size_t max = out->max ? out->max : MAX_DEFAULT;
	size_t room = ZSTD_compressBound(n), got;
	void *to;

	if (buf_err(out))
		return buf_err(out);
	/* The bound may be over the maximum where the frame is not. */
	if (ZSTD_isError(room) || room > max - out->len)
		room = max - out->len;
	to = buf_grow(out, room);
	if (!to)
		return buf_err(out);
	got = ZSTD_compress(to, room, p, n, level);
	if (!ZSTD_isError(got)) {
		out->len += got;
		return 0;
	}
	out->err = ZSTD_getErrorCode(got) == ZSTD_error_dstSize_tooSmall ?
	    -EFBIG : -ENOMEM;
	return out->err;
}

static int
is_zstd(const uint8_t *p, size_t n)
{
	return n >= 4 && ((uint32_t)p[0] | (uint32_t)p[1] << 8 |
	    (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24) == ZSTD_MAGICNUMBER;
}

int
decompress_frame(const void *p, size_t n, size_t max, struct buf *out)
{
	unsigned long long size;
	size_t got;
	void *to;

	if (!is_zstd(p, n) || ZSTD_findFrameCompressedSize(p, n) != n)
		return -EBADMSG;
	size = ZSTD_getFrameContentSize(p, n);
	if (size == ZSTD_CONTENTSIZE_UNKNOWN ||
	    size == ZSTD_CONTENTSIZE_ERROR)
		return -EBADMSG;
	if (size > max)
		return -EFBIG;
	to = buf_grow(out, size);
	if (!to)
		return buf_err(out);
	got = ZSTD_decompress(to, size, p, n);
	if (ZSTD_isError(got) && ZSTD_getErrorCode(got) ==
	    ZSTD_error_memory_allocation)
		return -ENOMEM;
	if (got != size)
		return -EBADMSG;
	out->len += size;
	return 0;
}

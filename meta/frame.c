/* frame: header, checksum and feature level of what goes to a home. */
#include <errno.h>
#include <string.h>

#include "base/compress.h"
#include "base/hash.h"
#include "meta/frame.h"
#include "meta/segment.h"

int
frame_seal(const void *p, size_t n, int level, struct buf *out)
{
	struct buf z = BUF_INIT;
	int err;

	err = compress_frame(p, n, level, &z);
	if (err == 0 && z.len > UINT32_MAX)
		err = -EFBIG;
	if (err != 0)
		goto out;
	buf_put(out, "GNSF", 4);
	buf_put_u32(out, crc32c(0, z.p, z.len));
	buf_put_u32(out, (uint32_t)z.len);
	buf_put(out, z.p, z.len);
	err = buf_err(out);
out:
	buf_done(&z);
	return err;
}

static int
frame_open_body(struct cur *c, size_t max, const char *what, struct buf *raw,
    struct why *why)
{
	const char *sig;
	uint32_t crc, len;
	int err;

	sig = cur_raw(c, 4);
	crc = cur_u32(c);
	len = cur_u32(c);
	if (cur_err(c) != 0 || memcmp(sig, "GNSF", 4) != 0)
		return why_set(why, -EBADMSG, "%s: not written by gnsfs", what);
	if (cur_left(c) != len)
		return why_set(why, -EBADMSG, "%s: %zu bytes after the header "
		    "where %u belong", what, cur_left(c), len);
	if (crc32c(0, c->p, len) != crc)
		return why_set(why, -EBADMSG, "%s: checksum", what);
	err = decompress_frame(c->p, len, max, raw);
	if (err == -EBADMSG || err == -EFBIG)
		return why_set(why, -EBADMSG, "%s: damaged inside (%s)", what,
		    err == -EFBIG ? "too long" : "compression");
	return err;
}

int
frame_open(const void *p, size_t n, const char magic[FRAME_MAGIC], size_t max,
    const char *what, struct buf *raw, struct cur *retc, struct why *why)
{
	struct cur c;
	size_t at = raw->len;
	const char *sig;
	uint32_t level;
	int err;

	cur_init(&c, p, n);
	err = frame_open_body(&c, max, what, raw, why);
	if (err != 0)
		return err;
	cur_init(&c, raw->p + at, raw->len - at);
	sig = cur_raw(&c, FRAME_MAGIC);
	level = cur_u32(&c);
	if (cur_err(&c) != 0 || memcmp(sig, magic, FRAME_MAGIC) != 0)
		return why_set(why, -EBADMSG, "%s: holds something else", what);
	if (level > FEATURE_LEVEL)
		return why_set(why, -EPROTONOSUPPORT, "%s: written at feature "
		    "level %u, this gnsfs knows %u: install a newer one",
		    what, level, FEATURE_LEVEL);
	if (level == 0)
		return why_set(why, -EBADMSG, "%s: feature level 0", what);
	*retc = c;
	return 0;
}

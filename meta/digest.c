/*
 * digest: SHA-256 of every replicated row (M4).  Images are gathered before
 * they are hashed; each is short.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "meta/digest.h"

#define GATHER	(64u << 10)

struct digest {
	struct sha256_ctx *sha;
	struct buf	 bytes;
};

int
digest_new(struct digest **ret)
{
	struct digest *d;

	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	d->sha = sha256_new();
	if (d->sha == NULL) {
		free(d);
		return -ENOMEM;
	}
	*ret = d;
	return 0;
}

int
digest_add(struct digest *d, enum tbl tbl, const void *image, size_t n)
{
	buf_put_u8(&d->bytes, tbl);
	buf_put_u32(&d->bytes, (uint32_t)n);
	buf_put(&d->bytes, image, n);
	if (buf_err(&d->bytes) != 0)
		return buf_err(&d->bytes);
	if (d->bytes.len >= GATHER) {
		sha256_add(d->sha, d->bytes.p, d->bytes.len);
		buf_reset(&d->bytes);
	}
	return 0;
}

void
digest_final(struct digest *d, uint8_t ret[32])
{
	uint8_t sum[SHA256_LEN];

	if (d == NULL)
		return;
	sha256_add(d->sha, d->bytes.p, d->bytes.len);
	sha256_final(d->sha, ret != NULL ? ret : sum);
	buf_done(&d->bytes);
	free(d);
}

static int
digest_row(void *arg, const struct row *r, const void *image, size_t n)
{
	return digest_add(arg, r->tbl, image, n);
}

typedef int rows_scan(struct sqc *c, enum tbl t, rows_each *each, void *arg);

static int
digest_scan(struct sqc *c, rows_scan *scan, uint8_t ret[32])
{
	struct digest *d = NULL;
	int err;

	err = digest_new(&d);
	for (unsigned t = 0; err == 0 && t < T_COUNT; t++)
		err = scan(c, (enum tbl)t, digest_row, d);
	digest_final(d, err == 0 ? ret : NULL);
	return err;
}

int
meta_digest(struct sqc *c, uint8_t ret[32])
{
	return digest_scan(c, rows_scan_prefix, ret);
}

int
meta_digest_live(struct sqc *c, uint8_t ret[32])
{
	return digest_scan(c, rows_scan_live, ret);
}

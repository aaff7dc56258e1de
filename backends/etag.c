/* etag: see etag.h. */
#include "backends/etag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "backends/sigkey.h"
#include "base/clock.h"
#include "base/hash.h"

void
etag_version(const char *etag, uint64_t size, int64_t secs,
    struct store_version *ret)
{
	size_t i, n = etag != NULL ? strlen(etag) : 0;
	bool good = n > 0 && n <= ETAG_MAX && strcmp(etag, "\"\"") != 0 &&
	    strncmp(etag, "W/", 2) != 0;

	for (i = 0; i < n; i++) {
		if ((unsigned char)etag[i] <= ' ' || etag[i] == 0x7f)
			good = false;
	}
	/* Some stores leave the quotes out of their lists. */
	if (good && etag[0] != '"')
		snprintf(ret->text, sizeof ret->text, "e:\"%s\"", etag);
	else if (good)
		snprintf(ret->text, sizeof ret->text, "e:%s", etag);
	else
		snprintf(ret->text, sizeof ret->text, "d:%llu:%lld",
		    (unsigned long long)size, (long long)secs);
}

/* S3: the MD5 is the ETag, or so it looks (one of parts has a dash); and its
 * CRC-32C of the whole.  Azure: Content-MD5. */
static void
sums(const struct http_resp *resp, struct store_info *ret)
{
	const char *etag = http_resp_header(resp, "etag");
	const char *crc = http_resp_header(resp, "x-amz-checksum-crc32c");
	const char *md5 = http_resp_header(resp, "content-md5");
	uint8_t *raw = NULL;
	size_t n = 0;

	if (etag != NULL && strlen(etag) == 34 && etag[0] == '"' &&
	    etag[33] == '"' && hex_decode(etag + 1, 32, ret->md5) == 0)
		ret->sums |= STORE_SUM_MD5;
	if (md5 != NULL && sigkey_unbase64(md5, &raw, &n) == 0 && n == 16) {
		memcpy(ret->md5, raw, 16);
		ret->sums |= STORE_SUM_MD5;
	}
	free(raw);
	raw = NULL;
	if (crc != NULL && sigkey_unbase64(crc, &raw, &n) == 0 && n == 4) {
		ret->crc32c = (uint32_t)raw[0] << 24 |
		    (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
		ret->sums |= STORE_SUM_CRC32C;
	}
	free(raw);
}

void
etag_info(const struct http_resp *resp, uint64_t size, struct store_info *ret)
{
	const char *when = http_resp_header(resp, "last-modified");
	int64_t secs = 0;

	if (when == NULL)
		when = http_resp_header(resp, "date");
	if (when != NULL)
		secs = http_date_parse(when);
	if (secs < 0)
		secs = 0;
	memset(ret, 0, sizeof *ret);
	ret->size = size;
	ret->mtime = secs * NSEC_PER_SEC;
	etag_version(http_resp_header(resp, "etag"), size, secs, &ret->version);
	sums(resp, ret);
}

bool
etag_is_version(const struct store_info *info, const struct store_version *v)
{
	struct store_version dated;

	if (!version_given(v) || strcmp(v->text, info->version.text) == 0)
		return true;
	etag_version(NULL, info->size, info->mtime / NSEC_PER_SEC, &dated);
	return strcmp(v->text, dated.text) == 0;
}

void
etag_pin(struct http_headers *h, const char *lead,
    const struct store_version *v)
{
	char date[HTTP_DATE_LEN], name[64];
	long long secs;

	if (!version_given(v))
		return;
	if (strncmp(v->text, "e:", 2) == 0) {
		snprintf(name, sizeof name, "%sif-match", lead);
		http_headers_add(h, name, "%s", v->text + 2);
	} else if (sscanf(v->text, "d:%*u:%lld", &secs) == 1) {
		/* Times are told in seconds and compared by some in ns. */
		http_date_format(secs + 1, date);
		snprintf(name, sizeof name, "%sif-unmodified-since", lead);
		http_headers_add(h, name, "%s", date);
	}
}

/*
 * sigv4: AWS Signature Version 4 (AWS General Reference, "Signing AWS API
 * requests"), as S3 wants it: the path is encoded once and not normalised,
 * and the payload's hash is a header.  And the other sums S3 asks for.
 */
#ifndef BACKENDS_SIGV4_H
#define BACKENDS_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "backends/http.h"
#include "base/buf.h"

#define SIGV4_UNSIGNED	"UNSIGNED-PAYLOAD"

struct sigv4 {
	const char	*id, *secret;
	const char	*token;		/* of temporary credentials; or NULL */
	const char	*region, *service;
	int64_t		 now;		/* ns since the epoch */
};

/*
 * Signs a request: adds x-amz-date, x-amz-content-sha256 (payload: 64 hex
 * digits or SIGV4_UNSIGNED), x-amz-security-token and authorization to h,
 * whose other headers are all signed, as is host (which the HTTP library
 * writes, in the same spelling).  path and query are as they stand in the
 * URL: percent-encoded, the query sorted by name and with `=` after each.
 * 0, -ENOMEM, or h's error.
 */
int	sigv4_sign(const struct sigv4 *k, const char *method,
	    const char *host, const char *path, const char *query,
	    const char *payload, struct http_headers *h);

/*
 * The query (no `?`) of a URL by which anybody may GET path for `secs`
 * seconds ("Authenticating Requests: Using Query Parameters").  Appended.
 */
int	sigv4_presign(const struct sigv4 *k, const char *host,
	    const char *path, unsigned secs, struct buf *ret);

/* Percent-encodes as AWS does: all but A-Z a-z 0-9 - _ . ~, and '/' where
 * keep_slash; upper-case digits. */
void	sigv4_encode(struct buf *b, const char *s, int keep_slash);

/* Base64 of the big-endian bytes, as x-amz-checksum-crc32c wants it. */
void	sigv4_crc_base64(uint32_t crc, char ret[9]);

/* S3's ETag (quotes included) of an object put in n parts, from the parts'
 * ETags: the MD5 of their MD5s, a dash and n.  -EINVAL where one of them is
 * no MD5 (some encryptions). */
#define SIGV4_ETAG_LEN	48
int	sigv4_parts_etag(const char *const *etags, unsigned n,
	    char ret[SIGV4_ETAG_LEN]);

#endif

/*
 * etag: versions of objects (struct store_version) by ETag or, where a store
 * gives none, by size and time; what S3 and Azure have in common.
 */
#ifndef BACKENDS_ETAG_H
#define BACKENDS_ETAG_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/http.h"
#include "backends/store.h"

#define ETAG_MAX	150	/* characters; longer ones are not used */

/* A version from an ETag (NULL, "", a weak one: none), a size and seconds.
 * Quotes that a list leaves out are put round it. */
void	etag_version(const char *etag, uint64_t size, int64_t secs,
	    struct store_version *ret);
/* What the headers say of the object: mtime by Last-Modified, version, and its
 * sums (those of a part of it are not understood as such: HEAD and PUT). */
void	etag_info(const struct http_resp *resp, uint64_t size,
	    struct store_info *ret);
/* Is the object that info tells of the one v names?  Any, where v is "". */
bool	etag_is_version(const struct store_info *info,
	    const struct store_version *v);
/* Adds If-Match or If-Unmodified-Since, with lead ("", "x-amz-copy-source-")
 * before the name; nothing for no version. */
void	etag_pin(struct http_headers *h, const char *lead,
	    const struct store_version *v);

#endif

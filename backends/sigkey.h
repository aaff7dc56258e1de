/*
 * sigkey: requests to Azure Storage signed with an account's key ("Authorize
 * with Shared Key"), signatures for a URL of one blob ("Create a service
 * SAS"), and base64, in which keys and signatures are written.
 */
#ifndef BACKENDS_SIGKEY_H
#define BACKENDS_SIGKEY_H

#include <stddef.h>
#include <stdint.h>

#include "backends/http.h"
#include "base/buf.h"

/* A parameter of a query, not encoded. */
struct sigkey_param { const char *name, *value; };

struct sigkey_req {
	const char	*method;
	const char	*path;		/* of the URL, as encoded there */
	const struct sigkey_param *params;	/* in any order */
	unsigned	 nparams;	/* at most 12 */
	uint64_t	 body_len;
	const struct http_headers *headers;	/* all of them; with x-ms-date,
					   without Date */
};

/* The string to sign.  0, -ENOMEM. */
int	sigkey_text(const char *account, const struct sigkey_req *r,
	    struct buf *ret);
/* Adds authorization to h, which may be r's headers. 0, -ENOMEM. */
int	sigkey_sign(const char *account, const void *key, size_t keylen,
	    const struct sigkey_req *r, struct http_headers *h);

/*
 * The query (no `?`) that lets its bearer read one blob until `expires`
 * (seconds since the epoch).  blob: "account/container/key", not encoded.
 * 0, -ENOMEM.
 */
int	sigkey_read_sas(const char *blob, const void *key, size_t keylen,
	    int64_t expires, int https_only, struct buf *ret);

void	sigkey_base64(struct buf *b, const void *p, size_t n);
/* New, *retn bytes of it.  0, -EINVAL, -ENOMEM. */
int	sigkey_unbase64(const char *s, uint8_t **ret, size_t *retn);

#endif

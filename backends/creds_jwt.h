/*
 * creds_jwt: the JSON Web Tokens with which a service account asks for an
 * access token (RFC 7519, RFC 7523), signed RS256 by OpenSSL.
 */
#ifndef BACKENDS_CREDS_JWT_H
#define BACKENDS_CREDS_JWT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/why.h"

/* Base64url without padding (RFC 4648, section 5). */
void	jwt_base64url(struct buf *b, const void *p, size_t n);

/* The signature of p by key, a private RSA key in PEM, appended.  0; -EINVAL
 * (why: the key cannot be read, without a word of it); -ENOMEM. */
int	jwt_rs256(const void *p, size_t n, const char *key, struct buf *ret,
	    struct why *why);

/*
 * Appends HEADER.CLAIMS.SIGNATURE to ret; both are JSON texts.  As
 * jwt_rs256.
 */
int	jwt_sign_rs256(const char *header, const char *claims,
	    const char *key, struct buf *ret, struct why *why);

#endif

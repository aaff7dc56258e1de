/*
 * url: the URLs of DESIGN.md section 3.
 *
 *   s3://bucket/prefix?endpoint=...&region=...&profile=...
 *   az://account/container/prefix      gs://bucket/prefix
 *   file:///dir
 *
 * prefix has no leading and no trailing slash ("" for the root).  Query
 * values are percent-decoded.  No credential is ever accepted in one: user
 * info and known secret settings (key, secret, token, sas, sig, password) are
 * refused with the way out.
 */
#ifndef BASE_URL_H
#define BASE_URL_H

#include <stdbool.h>

#include "base/why.h"

#define URL_MAX		2048
#define URL_SETTINGS	16

enum url_scheme { URL_FILE, URL_S3, URL_AZ, URL_GS };

struct url {
	enum url_scheme	 scheme;
	char		*account;	/* az: account; else NULL */
	char		*bucket; /* s3, gs: bucket; az: container; file: NULL */
	char		*prefix; /* keys' prefix; file: the absolute path */
	unsigned	 nsettings;
	/* sorted by key */
	struct { char *key, *value; } settings[URL_SETTINGS];
	char		*text;		/* as given */
};

/* 0, -EINVAL (why says which part and what is right), -ENOMEM. */
int	url_parse(const char *text, struct url *ret, struct why *why);
void	url_done(struct url *u);
/* NULL where absent.  Borrowed. */
const char *url_setting(const struct url *u, const char *key);
/* The same place, spelt one way: what a namespace records.  New. */
char	*url_canonical(const struct url *u);
/* True when `inner` is at or below `outer` (scheme, account, bucket,
 * endpoint equal); *retrest then is inner's prefix below outer's, borrowed. */
int	url_covers(const struct url *outer, const struct url *inner,
	    const char **retrest);
/* Is the host of [scheme://]host[:port][/...] this machine, whatever a name
 * server says: 127.0.0.0/8 in digits, [::1], localhost and names below it?
 * Only there may a secret go in the clear (DESIGN.md section 9). */
bool	url_is_loopback(const char *url);
/* Percent-encode all but unreserved (and '/' when keep_slash). New. */
char	*url_encode(const char *s, int keep_slash);

#endif

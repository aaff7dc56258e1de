/*
 * creds_aws: AWS credentials and region, found as AWS's own tools find them.
 *
 * Order (DESIGN.md section 9): a profile named by the caller, from the files;
 * else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN); else
 * the profile AWS_PROFILE or "default" of the credentials file
 * (AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials) or of the config file
 * (AWS_CONFIG_FILE, ~/.aws/config).
 *
 * A source is a row of a table in creds_aws.c: a function that fetches
 * credentials and says when they end.  Others (web identity, container,
 * instance metadata) are a row each; sources that are asked over the network
 * give an end, and creds_aws_get() asks again early.
 *
 * Secrets are wiped when done with and appear in no message.
 */
#ifndef BACKENDS_CREDS_AWS_H
#define BACKENDS_CREDS_AWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/why.h"

/* A copy for one request. */
struct aws_creds {
	char	*id, *secret, *token;	/* token NULL: none */
	int64_t	 expires;		/* ns since the epoch; 0 = never */
};

void	aws_creds_done(struct aws_creds *c);	/* wipes; NULL accepted */

struct creds_aws;

/* profile NULL: none was named.  0; -EACCES where there are none (why says
 * where they were looked for); -EINVAL (a profile that needs what is not
 * supported, a file that makes no sense); -ENOMEM. */
int	creds_aws_open(const char *profile, struct creds_aws **ret,
	    struct why *why);
void	creds_aws_close(struct creds_aws *c);	/* NULL accepted */

/* Any thread.  0, -ENOMEM.  Where renewing fails the old ones are given
 * until a store refuses them. */
int	creds_aws_get(struct creds_aws *c, struct aws_creds *ret);

/* A store refused the credentials with this id: looks at the source again
 * (at most every 5 s).  True when there are other ones now. */
bool	creds_aws_refused(struct creds_aws *c, const char *id);

/* The region by AWS_REGION, AWS_DEFAULT_REGION or the profile (NULL: as in
 * creds_aws_open).  New; NULL where none says (or no memory). */
char	*creds_aws_region(const char *profile);

/* --- the files' format, for tests --- */

/* Calls each for every `key = value` with the section it stands in ("" before
 * the first).  Comments, blank and nested (indented) lines are passed over;
 * lines that are none of these end it.  0, -EINVAL (*retline says where), or
 * what each returned. */
int	creds_aws_parse(const char *text,
	    int (*each)(void *arg, const char *section, const char *key,
	    const char *value), void *arg, unsigned *retline);

#endif

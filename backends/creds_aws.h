/*
 * creds_aws: AWS credentials and region, found as AWS's own tools find them.
 *
 * Order (DESIGN.md section 9):
 *
 *   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN)
 *   the profile's role_arn with source_profile or credential_source
 *					a role, asked for at STS
 *   AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN (AWS_ROLE_SESSION_NAME)
 *					web identity: a role for the token in
 *					a file, read anew each time, at STS
 *   the profile's role_arn with web_identity_token_file	the same
 *   the profile's keys
 *   AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, _FULL_URI
 *	(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, _TOKEN)
 *					a container's role
 *   169.254.169.254			an instance's role, by IMDSv2
 *	(AWS_EC2_METADATA_SERVICE_ENDPOINT, _MODE: another address;
 *	AWS_EC2_METADATA_DISABLED=true: not at all)
 *
 * The profile is that of the caller, who thereby passes over what the
 * environment says; else AWS_PROFILE, else "default"; of the credentials file
 * (AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials) and the config file
 * (AWS_CONFIG_FILE, ~/.aws/config).  STS is that of the region, or
 * AWS_ENDPOINT_URL_STS.  A web identity's token, a role's keys and a
 * container's authorization go over https, or plain http to loopback and to
 * the addresses that AWS gives containers.
 *
 * A store on loopback for which none is set is asked unsigned, and no
 * instance's metadata is looked for.
 *
 * What ends is kept by a token cache (token.h): renewed early and in the
 * background, the old ones given on while the issuer is away.  How long they
 * last is told by the issuer's own clock (its Date), so that a wrong one on
 * this host ends none.
 *
 * Secrets are wiped when done with and appear in no message.
 *
 * Not here: credential_process, SSO, MFA, IMDSv1.
 */
#ifndef BACKENDS_CREDS_AWS_H
#define BACKENDS_CREDS_AWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/token.h"
#include "base/why.h"

/* A copy for one request. */
struct aws_creds {
	char	*id, *secret, *token;	/* token NULL: none */
};

void	aws_creds_done(struct aws_creds *c);	/* wipes; NULL accepted */

struct creds_aws;

struct creds_aws_opts {
	const char	*profile;	/* NULL: none was named */
	const char	*region;	/* for STS where nothing else says one;
					   NULL: none */
	const char	*ca;		/* file of certificates, or NULL */
	bool		 loopback;	/* the store's endpoint is one */
};

/* Looks for them; nothing is asked yet.  0; -EACCES where there are none (why
 * says where they were looked for); -EINVAL (a profile that needs what is not
 * supported, a file or a variable that makes no sense); -ENOMEM. */
int	creds_aws_open(const struct creds_aws_opts *o, struct creds_aws **ret,
	    struct why *why);
/*
 * Credentials that the caller gets by himself, kept as the others are.  fetch
 * is called as a token_fetch is, and gives new ones and how long they last
 * (ns; 0: no end).  source: static.  0, -ENOMEM.
 */
typedef int creds_aws_fetch(void *arg, const struct token_call *c,
	    struct aws_creds *ret, int64_t *retlife, struct why *why);
int	creds_aws_open_by(const char *source, creds_aws_fetch *fetch,
	    void *arg, struct creds_aws **ret);
/* Are id, secret and token (NULL: none) what such are, and fit into a header?
 * Copies.  0, -EINVAL, -ENOMEM. */
int	aws_creds_take(const char *id, const char *secret, const char *token,
	    struct aws_creds *ret);
/* ns from an answer to when what it brings ends, by the answer's own clock;
 * expires: ISO 8601, NULL: no end.  -EINVAL: it is no time. */
int	aws_life(const struct http_resp *resp, const char *expires,
	    int64_t *ret);

/* No call is under way.  NULL accepted. */
void	creds_aws_close(struct creds_aws *c);

/* For messages: "web identity".  Static. */
const char *creds_aws_source(const struct creds_aws *c);

/* Any thread; may wait for an issuer.  As token_get(); where no instance
 * metadata service answers and none ever did, -EACCES. */
int	creds_aws_get(struct creds_aws *c, const struct token_call *call,
	    struct aws_creds *ret, struct why *why);

/* A store refused these; as token_refused(). */
int	creds_aws_refused(struct creds_aws *c, const struct aws_creds *creds,
	    const struct token_call *call, struct why *why);

/* The region by AWS_REGION, AWS_DEFAULT_REGION or the profile (NULL: as in
 * creds_aws_open).  New; NULL where none says (or no memory). */
char	*creds_aws_region(const char *profile);

/* --- the files' format, for others of the kind, and tests --- */

/* Calls each for every `key = value` with the section it stands in ("" before
 * the first).  Comments, blank and nested (indented) lines are passed over;
 * lines that are none of these end it.  0, -EINVAL (*retline says where), or
 * what each returned. */
int	creds_aws_parse(const char *text,
	    int (*each)(void *arg, const char *section, const char *key,
	    const char *value), void *arg, unsigned *retline);

#endif

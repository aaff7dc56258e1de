/*
 * creds_gcs: access tokens for Google Cloud Storage, found as Google's own
 * tools find them ("application default credentials", DESIGN.md section 9).
 *
 * Order: a profile named by the caller (a configuration of gcloud, or an
 * account gcloud is logged in to: its adc.json below CLOUDSDK_CONFIG or
 * ~/.config/gcloud); else the file GOOGLE_APPLICATION_CREDENTIALS; else
 * application_default_credentials.json of gcloud; else the metadata server
 * (GCE_METADATA_HOST, or metadata.google.internal).
 *
 * A file's `type` says how a token is had:
 *   service_account	a JWT signed with its key, exchanged at token_uri
 *   authorized_user	a refresh token, at token_uri
 *   external_account	workload identity: a subject token from a file or a
 *			URL (text, or a field of JSON), read anew each time,
 *			exchanged at token_url; and, where the file says so,
 *			that for a service account's (impersonation)
 *   impersonated_service_account
 *			a token by one of the three above (source_credentials)
 *			for a service account's
 * Tokens are asked for over https, or plain http on loopback; the metadata
 * server alone, and the URL of a subject token at a link-local address (the
 * metadata server of another cloud), are plain http.  A wrong clock on this
 * host is found out by the issuer's Date when it refuses a JWT, and allowed
 * for.
 *
 * Not here: subject tokens from AWS, executables or certificates; keys of
 * other kinds; an impersonation by an impersonated account.
 */
#ifndef BACKENDS_CREDS_GCS_H
#define BACKENDS_CREDS_GCS_H

#include <stdbool.h>

#include "backends/token.h"
#include "base/buf.h"
#include "base/why.h"

struct creds_gcs;

struct creds_gcs_opts {
	const char	*profile;	/* NULL: none was named */
	const char	*ca;		/* file of certificates, or NULL */
	bool		 no_metadata;	/* files only: -EACCES if none */
};

/*
 * Looks for them; reads the file, sends nothing.  0; -EACCES where there are
 * none (why says where they were looked for); -EINVAL (a file that makes no
 * sense or needs what is not supported); -ENOMEM.
 */
int	creds_gcs_open(const struct creds_gcs_opts *o, struct creds_gcs **ret,
	    struct why *why);
/* No call is under way.  NULL accepted. */
void	creds_gcs_close(struct creds_gcs *c);

/* As token_get and token_refused. */
int	creds_gcs_get(struct creds_gcs *c, const struct token_call *call,
	    char **rettext, struct why *why);
int	creds_gcs_refused(struct creds_gcs *c, const char *text,
	    const struct token_call *call, struct why *why);

/* Whose key can sign (a service account's, in a file, that acts as itself);
 * NULL: there is none.
 * Borrowed. */
const char *creds_gcs_signer(const struct creds_gcs *c);
/* RSASSA-PKCS1-v1_5 with SHA-256 by it, in hex, appended.  -EINVAL (why: the
 * key cannot be read), -ENOMEM. */
int	creds_gcs_sign(const struct creds_gcs *c, const void *p, size_t n,
	    struct buf *ret, struct why *why);

/* Who the tokens are for, for messages: "the service account a@b", "the
 * metadata server's account".  Borrowed. */
const char *creds_gcs_who(const struct creds_gcs *c);

#endif

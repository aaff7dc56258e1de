/*
 * creds_azure: where requests to Azure Storage get their authorization from,
 * as Azure's own tools find it, in this order:
 *
 *   AZURE_STORAGE_CONNECTION_STRING	a key or a shared access signature
 *   AZURE_STORAGE_KEY			the account's key
 *   AZURE_STORAGE_SAS_TOKEN		a shared access signature
 *	(these three where they are of the URL's account: AZURE_STORAGE_ACCOUNT
 *	or the connection string says of which they are)
 *   AZURE_CLIENT_ID, AZURE_TENANT_ID and
 *     AZURE_CLIENT_SECRET		an application's secret
 *     AZURE_FEDERATED_TOKEN_FILE	workload identity: a token in a file,
 *					read anew each time
 *	(asked at AZURE_AUTHORITY_HOST, absent: login.microsoftonline.com)
 *   IDENTITY_ENDPOINT, IDENTITY_HEADER	managed identity of a service
 *   169.254.169.254			managed identity of a machine
 *	(AZURE_CLIENT_ID says which one, where it has several;
 *	AZURE_POD_IDENTITY_AUTHORITY_HOST: another address)
 *
 * A store on a loopback address for which none of the named ones is set is
 * asked unsigned, and no machine's identity is looked for.
 *
 * Secrets are wiped when done with and appear in no message.
 */
#ifndef BACKENDS_CREDS_AZURE_H
#define BACKENDS_CREDS_AZURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/token.h"
#include "base/why.h"

enum azure_auth { AZURE_UNSIGNED, AZURE_KEY, AZURE_SAS, AZURE_BEARER };

/* A copy for one request. */
struct azure_cred {
	enum azure_auth	 auth;
	char		*text;		/* key (bytes), SAS (no `?`), token */
	size_t		 len;
};

void	azure_cred_done(struct azure_cred *c);	/* wipes; NULL accepted */

struct creds_azure;

/* account: of the URL.  loopback: the URL's endpoint is one.  Nothing is
 * asked yet.  0; -EINVAL (why: what of the environment makes no sense);
 * -EACCES (why: where they were looked for), -ENOMEM. */
int	creds_azure_open(const char *account, bool loopback,
	    struct creds_azure **ret, struct why *why);
void	creds_azure_close(struct creds_azure *c);	/* NULL accepted */

/* What the requests will have; and for messages, "AZURE_STORAGE_KEY". */
enum azure_auth creds_azure_auth(const struct creds_azure *c);
const char *creds_azure_source(const struct creds_azure *c);
/* The endpoint of a connection string, as it stands there; or NULL. */
const char *creds_azure_endpoint(const struct creds_azure *c);

/* Any thread; may wait for a token.  As token_get(). */
int	creds_azure_get(struct creds_azure *c, const struct token_call *call,
	    struct azure_cred *ret, struct why *why);
/* A store refused this one; as token_refused(). -EACCES for what does not
 * come by tokens. */
int	creds_azure_refused(struct creds_azure *c,
	    const struct azure_cred *cred, const struct token_call *call,
	    struct why *why);

#endif

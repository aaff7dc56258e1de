/*
 * creds_gcs_impl: what creds_gcs.c (asking for tokens) and creds_gcs_find.c
 * (finding and reading credentials) share; nobody else includes it.
 */
#ifndef BACKENDS_CREDS_GCS_IMPL_H
#define BACKENDS_CREDS_GCS_IMPL_H

#include <stdint.h>

#include "backends/creds_gcs.h"
#include "backends/http.h"
#include "backends/secret.h"
#include "base/buf.h"

enum kind { SERVICE, USER, EXTERNAL, METADATA };

struct creds_gcs {
	struct http	*http;		/* to issuers */
	struct token_cache *cache;
	enum kind	 kind;
	char		*who;		/* for messages */
	char		*url;		/* where tokens are asked for */
	char		*email, *key, *key_id;		/* SERVICE */
	char		*id, *secret, *refresh;		/* USER */
	char		*audience, *subject_type;	/* EXTERNAL */
	char		*subject_file, *subject_url;	/* one of them */
	char		*subject_field;			/* NULL: text */
	struct http_headers subject_headers;		/* of subject_url */
	struct http	*subject_http;	/* to it */
	char		*impersonate;	/* of any kind: a URL, or NULL */
	char		*delegates;	/* a JSON array for it, or NULL */
	int64_t		 skew;		/* s, the issuer's clock less ours */
};

/* Fills kind, who, url and what the kind has.  As creds_gcs_open. */
int	creds_gcs_find(struct creds_gcs *c, const struct creds_gcs_opts *o,
	    struct why *why);

#endif

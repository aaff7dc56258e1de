/*
 * creds_aws_impl: what the files of creds_aws share; nobody else includes it.
 *
 *   creds_aws.c        where they are looked for, and keeping them
 *   creds_aws_files.c  the two files
 *   creds_aws_ask.c    a container's and an instance's role, by JSON
 *   creds_aws_sts.c    roles by STS, by XML
 */
#ifndef BACKENDS_CREDS_AWS_IMPL_H
#define BACKENDS_CREDS_AWS_IMPL_H

#include <stdatomic.h>

#include "backends/creds_aws.h"
#include "backends/secret.h"
#include "backends/http.h"
#include "base/buf.h"

struct creds_aws {
	const char	*source;	/* static */
	struct aws_creds now;		/* of the environment; id NULL: not */
	struct token_cache *tokens;	/* of all other sources; or NULL */
	char		*profile;	/* that the caller named, or NULL */
	char		*region;	/* of STS; NULL: the global one */
	char		*sts_url;	/* NULL: not asked */
	char		*looked;	/* where, before the instance's role */
	struct http	*sts, *near;	/* near: never by a proxy */
	_Atomic bool	 proven;	/* the metadata service has answered */
	creds_aws_fetch	*fetch;		/* of creds_aws_open_by; or NULL */
	void		*arg;
};

/* The keys of the environment: new.  0, -ENOENT, -ENOMEM. */
int	aws_env_creds(struct aws_creds *ret);

/* --- creds_aws_files.c --- */

/* What one profile says, over both files; the credentials file first. */
struct aws_profile {
	bool	 found;
	char	*id, *secret, *token, *region;
	char	*role, *source, *credential_source, *web_file;
	char	*external_id, *session_name, *duration;
	char	*other;		/* a way to credentials we do not know */
};

/* name: of the profile.  0, -EINVAL, -ENOMEM. */
int	aws_profile_load(const char *name, struct aws_profile *ret,
	    struct why *why);
void	aws_profile_done(struct aws_profile *p);	/* wipes */
/* Its keys, new.  0, -ENOENT, -ENOMEM. */
int	aws_profile_creds(const struct aws_profile *p, struct aws_creds *ret);
/* Its name, where the caller may have named one. */
const char *aws_profile_name(const char *named);
/* "A and in B": the paths of the two files. */
void	aws_profile_paths(struct buf *ret);

/* --- fetching: new credentials and how long they last (ns; 0 = no end) --- */

struct aws_fetched {
	struct aws_creds creds;
	int64_t		 life;
};

/* As token_fetch. */
int	aws_container_fetch(struct creds_aws *c, const struct token_call *call,
	    struct aws_fetched *ret, struct why *why);
int	aws_machine_fetch(struct creds_aws *c, const struct token_call *call,
	    struct aws_fetched *ret, struct why *why);
/* By the profile's token file and role; profile NULL: the environment's. */
int	aws_web_fetch(struct creds_aws *c, const struct aws_profile *profile,
	    const struct token_call *call, struct aws_fetched *ret,
	    struct why *why);
/* The profile's role, with the keys of who may have it. */
int	aws_role_fetch(struct creds_aws *c, const struct aws_profile *profile,
	    const struct aws_creds *keys, const struct token_call *call,
	    struct aws_fetched *ret, struct why *why);

/* Are a container's variables set, and do they make sense?  0, -ENOENT,
 * -EINVAL, -ENOMEM.  returl (may be NULL): new. */
int	aws_container_url(char **returl, struct why *why);
/* Is the metadata service asked at an address that was named? */
bool	aws_machine_is_named(void);
bool	aws_machine_is_disabled(void);
/* The address of STS, new.  0, -EINVAL, -ENOMEM. */
int	aws_sts_url(const struct creds_aws *c, char **ret, struct why *why);

/* --- what answers have in common --- */

/* Is it https, or plain http to this machine? */
bool	aws_url_is_safe(const char *url);
/* The host of a URL, without its port: from *rethost, so many bytes. */
size_t	aws_url_host(const char *url, const char **rethost);
/* "WHAT at HOST", for messages. */
void	aws_who(const char *what, const char *url, char *ret, size_t size);
/* What became of a request that was not answered. */
int	aws_no_answer(const char *who, enum http_end end,
	    const struct http_resp *resp, struct why *why);
/* Of a status that is not 2xx: -EACCES or -EHOSTUNREACH. */
int	aws_status_err(int status);

#endif

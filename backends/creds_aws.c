/*
 * creds_aws: see creds_aws.h.  Here is the order in which the sources are
 * looked at, and the cache of what they gave.
 *
 * A source is looked for once, when the store is opened; what it gives is
 * fetched when first needed, and its files and variables are read anew each
 * time.  In the token cache credentials are one text, "ID\nSECRET\nTOKEN".
 */
#include "backends/creds_aws.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/creds_aws_impl.h"
#include "base/env.h"

enum { CHAIN_MAX = 5 };		/* roles that one is had by */

void
aws_creds_done(struct aws_creds *c)
{
	if (c == NULL)
		return;
	secret_free(&c->id);
	secret_free(&c->secret);
	secret_free(&c->token);
}

int
aws_env_creds(struct aws_creds *ret)
{
	const char *id = env_get("AWS_ACCESS_KEY_ID");
	const char *secret = env_get("AWS_SECRET_ACCESS_KEY");

	if (id == NULL || secret == NULL)
		return -ENOENT;
	return aws_creds_take(id, secret, env_get("AWS_SESSION_TOKEN"), ret);
}

/* --- roles by profiles --- */

/* What p gets its role's first keys from, where that is no profile. */
static int
fetch_source(struct creds_aws *c, const struct aws_profile *p,
    const struct token_call *call, struct aws_fetched *ret, struct why *why)
{
	const char *source = p->credential_source;
	int err;

	if (strcmp(source, "Ec2InstanceMetadata") == 0)
		return aws_machine_fetch(c, call, ret, why);
	if (strcmp(source, "EcsContainer") == 0)
		err = aws_container_fetch(c, call, ret, why);
	else if (strcmp(source, "Environment") == 0)
		err = aws_env_creds(&ret->creds);
	else
		return why_set(why, -EINVAL, "credential_source = %.60s: it "
		    "is Environment, Ec2InstanceMetadata or EcsContainer",
		    source);
	return err != -ENOENT ? err : why_set(why, -EACCES, "no AWS "
	    "credentials: credential_source = %s, and nothing of that is in "
	    "the environment", source);
}

/* The credentials of a profile, by at most `left` roles.  -ENOENT: it says
 * nothing of any. */
static int
fetch_profile(struct creds_aws *c, const char *name, unsigned left,
    const struct token_call *call, struct aws_fetched *ret, struct why *why)
{
	struct aws_profile p = { 0 };
	struct aws_fetched keys = { 0 };
	bool own;
	int err;

	err = aws_profile_load(name, &p, why);
	if (err != 0)
		return err;
	/* A profile may name itself: its own keys are for its role. */
	own = p.source != NULL && strcmp(p.source, name) == 0;
	if (p.role == NULL || (p.source == NULL &&
	    p.credential_source == NULL && p.web_file == NULL)) {
		err = aws_profile_creds(&p, &ret->creds);
		ret->life = 0;
	} else if (p.source == NULL && p.credential_source == NULL) {
		err = aws_web_fetch(c, &p, call, ret, why);
	} else if (left == 0) {
		err = why_set(why, -EINVAL, "the AWS profile '%s': one role "
		    "after another, without an end", name);
	} else {
		err = own ? aws_profile_creds(&p, &keys.creds) :
		    p.source != NULL ? fetch_profile(c, p.source, left - 1,
		    call, &keys, why) : fetch_source(c, &p, call, &keys, why);
		if (err == -ENOENT)
			err = why_set(why, -EINVAL, "the AWS profile '%s' has "
			    "source_profile = %s, which has no keys", name,
			    p.source);
		if (err == 0)
			err = aws_role_fetch(c, &p, &keys.creds, call, ret,
			    why);
	}
	aws_creds_done(&keys.creds);
	aws_profile_done(&p);
	return err;
}

/* --- fetching, for the token cache --- */

static int
into_token(struct aws_fetched *f, struct token *ret)
{
	int n = asprintf(&ret->text, "%s\n%s\n%s", f->creds.id,
	    f->creds.secret, f->creds.token != NULL ? f->creds.token : "");

	if (n < 0) {
		ret->text = NULL;
		return -ENOMEM;
	}
	ret->life = f->life;
	return 0;
}

static int
out_of_text(const char *text, struct aws_creds *ret)
{
	char *copy = strdup(text), *p = copy, *id, *secret;
	int err;

	if (copy == NULL)
		return -ENOMEM;
	id = strsep(&p, "\n");
	secret = strsep(&p, "\n");
	err = aws_creds_take(id, secret, p != NULL && *p != '\0' ? p : NULL,
	    ret);
	explicit_bzero(copy, strlen(text));
	free(copy);
	return err;
}

static int
end_fetch(int err, struct aws_fetched *f, struct token *ret)
{
	if (err == 0)
		err = into_token(f, ret);
	aws_creds_done(&f->creds);
	return err;
}

static int
token_profile(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	struct creds_aws *c = arg;
	struct aws_fetched f = { 0 };
	const char *name = aws_profile_name(c->profile);
	int err;

	err = fetch_profile(c, name, CHAIN_MAX, call, &f, why);
	if (err == -ENOENT)
		err = why_set(why, -EINVAL, "the AWS profile '%s' has no "
		    "credentials any more", name);
	return end_fetch(err, &f, ret);
}

static int
token_web(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	struct aws_fetched f = { 0 };

	return end_fetch(aws_web_fetch(arg, NULL, call, &f, why), &f, ret);
}

static int
token_container(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	struct aws_fetched f = { 0 };

	return end_fetch(aws_container_fetch(arg, call, &f, why), &f, ret);
}

static int
token_machine(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	struct aws_fetched f = { 0 };

	return end_fetch(aws_machine_fetch(arg, call, &f, why), &f, ret);
}

static int
token_fetched(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	struct creds_aws *c = arg;
	struct aws_fetched f = { 0 };

	return end_fetch(c->fetch(c->arg, call, &f.creds, &f.life, why), &f,
	    ret);
}

int
creds_aws_open_by(const char *source, creds_aws_fetch *fetch, void *arg,
    struct creds_aws **ret)
{
	struct creds_aws *c = calloc(1, sizeof *c);
	int err;

	if (c == NULL)
		return -ENOMEM;
	c->source = source;
	c->fetch = fetch;
	c->arg = arg;
	err = token_cache_open(source, token_fetched, c, &c->tokens);
	if (err != 0)
		creds_aws_close(c);
	else
		*ret = c;
	return err;
}

/* --- where they are looked for --- */

/* Opens the cache of a source.  0, -EINVAL, -ENOMEM. */
static int
use(struct creds_aws *c, const char *source, token_fetch *fetch,
    const struct creds_aws_opts *o, struct why *why)
{
	struct http_opts near = { .ca = o->ca, .no_proxy = true };
	int err;

	c->source = source;
	err = http_new(&near, &c->near, why);
	return err != 0 ? err : token_cache_open(source, fetch, c,
	    &c->tokens);
}

/* The same for one that asks STS. */
static int
use_sts(struct creds_aws *c, const char *source, token_fetch *fetch,
    const struct creds_aws_opts *o, struct why *why)
{
	struct http_opts sts = { .ca = o->ca };
	int err;

	err = aws_sts_url(c, &c->sts_url, why);
	if (err != 0)
		return err;
	/* Plain http is to this machine. */
	sts.no_proxy = strncmp(c->sts_url, "http://", 7) == 0;
	err = http_new(&sts, &c->sts, why);
	return err != 0 ? err : use(c, source, fetch, o, why);
}

/* Does the profile say that it has them in a way that makes no sense? */
static int
check_profile(const char *name, const struct aws_profile *p, struct why *why)
{
	if (p->duration != NULL &&
	    p->duration[strspn(p->duration, "0123456789")] != '\0')
		return why_set(why, -EINVAL, "the AWS profile '%s' has "
		    "duration_seconds = %.40s", name, p->duration);
	if (p->web_file != NULL && p->role == NULL)
		return why_set(why, -EINVAL, "the AWS profile '%s' has a "
		    "web_identity_token_file and no role_arn", name);
	if (p->role != NULL && p->source == NULL && p->web_file == NULL &&
	    p->credential_source == NULL && p->id == NULL)
		return why_set(why, -EINVAL, "the AWS profile '%s' has a "
		    "role_arn, and neither source_profile nor "
		    "credential_source nor web_identity_token_file", name);
	return 0;
}

/* By the profile.  -ENOENT: it has none. */
static int
find_profile(struct creds_aws *c, const struct creds_aws_opts *o,
    const struct aws_profile *p, bool role, struct why *why)
{
	const char *name = aws_profile_name(o->profile);
	bool chain = p->role != NULL && (p->source != NULL ||
	    p->credential_source != NULL);

	if (role)
		return chain ? use_sts(c, "a role of the AWS profile",
		    token_profile, o, why) : -ENOENT;
	if (p->role != NULL && p->web_file != NULL)
		return use_sts(c, "the AWS profile's web identity",
		    token_profile, o, why);
	if (p->id != NULL && p->secret != NULL)
		return use(c, "the AWS profile", token_profile, o, why);
	if (p->other != NULL)
		return why_set(why, -EINVAL, "the AWS profile '%s' gets its "
		    "credentials by %s, which is not supported: put "
		    "aws_access_key_id and aws_secret_access_key there, or "
		    "set them in the environment", name, p->other);
	return -ENOENT;
}

static int
find_web(struct creds_aws *c, const struct creds_aws_opts *o, struct why *why)
{
	if (o->profile != NULL ||
	    env_get("AWS_WEB_IDENTITY_TOKEN_FILE") == NULL)
		return -ENOENT;
	if (env_get("AWS_ROLE_ARN") == NULL)
		return why_set(why, -EINVAL, "AWS_WEB_IDENTITY_TOKEN_FILE is "
		    "set and AWS_ROLE_ARN is not: it takes both");
	return use_sts(c, "the web identity", token_web, o, why);
}

static int
find_container(struct creds_aws *c, const struct creds_aws_opts *o,
    struct why *why)
{
	int err = aws_container_url(NULL, why);

	return err != 0 ? err : use(c, "the container's role",
	    token_container, o, why);
}

/* Where they were looked for, for messages. */
static int
set_looked(struct creds_aws *c, const struct creds_aws_opts *o)
{
	struct buf b = BUF_INIT;
	int err;

	if (o->profile == NULL)
		buf_puts(&b, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in "
		    "the environment, AWS_WEB_IDENTITY_TOKEN_FILE, ");
	buf_printf(&b, "profile '%.60s' in ", aws_profile_name(o->profile));
	aws_profile_paths(&b);
	buf_puts(&b, ", AWS_CONTAINER_CREDENTIALS_*");
	buf_cstr(&b);
	err = buf_err(&b);
	if (err == 0)
		c->looked = buf_take(&b, NULL);
	buf_done(&b);
	return err;
}

static int
find(struct creds_aws *c, const struct creds_aws_opts *o,
    const struct aws_profile *p, struct why *why)
{
	bool named = o->profile != NULL || env_get("AWS_PROFILE") != NULL;
	int err;

	err = check_profile(aws_profile_name(o->profile), p, why);
	if (err == 0)
		err = find_profile(c, o, p, true, why);
	if (err == -ENOENT)
		err = find_web(c, o, why);
	if (err == -ENOENT)
		err = find_profile(c, o, p, false, why);
	/* A profile that was named and is not there is a mistake. */
	if (err == -ENOENT && (!named || p->found)) {
		err = find_container(c, o, why);
		/* A stand-in for the service, for tests on loopback. */
		if (err == -ENOENT && !aws_machine_is_disabled() &&
		    (!o->loopback || aws_machine_is_named()))
			err = use(c, "the instance's role", token_machine, o,
			    why);
	}
	if (err == -ENOENT)
		err = why_set(why, -EACCES, "no AWS credentials: looked at "
		    "%s", c->looked);
	return err;
}

int
creds_aws_open(const struct creds_aws_opts *o, struct creds_aws **ret,
    struct why *why)
{
	struct aws_profile p = { 0 };
	struct creds_aws *c = calloc(1, sizeof *c);
	int err = -ENOENT;

	if (c == NULL)
		return -ENOMEM;
	if (o->profile != NULL && (c->profile = strdup(o->profile)) == NULL) {
		free(c);
		return -ENOMEM;
	}
	c->source = "the environment";
	c->region = creds_aws_region(o->profile);
	if (c->region == NULL && o->region != NULL)
		c->region = strdup(o->region);
	if (c->region != NULL && c->region[strspn(c->region,
	    "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0') {
		free(c->region);	/* no part of a host's name */
		c->region = NULL;
	}
	if (o->profile == NULL)
		err = aws_env_creds(&c->now);
	if (err == -EINVAL)
		why_set(why, err, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
		    "or AWS_SESSION_TOKEN has a blank or a control character "
		    "in it");
	if (err == -ENOENT) {
		err = set_looked(c, o);
		if (err == 0)
			err = aws_profile_load(aws_profile_name(o->profile),
			    &p, why);
		if (err == 0)
			err = find(c, o, &p, why);
		aws_profile_done(&p);
	}
	if (err != 0)
		creds_aws_close(c);
	else
		*ret = c;
	return err;
}

void
creds_aws_close(struct creds_aws *c)
{
	if (c == NULL)
		return;
	token_cache_close(c->tokens);
	http_free(c->sts);
	http_free(c->near);
	aws_creds_done(&c->now);
	free(c->profile);
	free(c->region);
	free(c->sts_url);
	free(c->looked);
	free(c);
}

const char *
creds_aws_source(const struct creds_aws *c)
{
	return c->source;
}

int
creds_aws_get(struct creds_aws *c, const struct token_call *call,
    struct aws_creds *ret, struct why *why)
{
	char *text = NULL;
	int err;

	if (c->tokens == NULL)
		return aws_creds_take(c->now.id, c->now.secret, c->now.token,
		    ret);
	err = token_get(c->tokens, call, &text, why);
	if (err == 0)
		err = out_of_text(text, ret);
	token_text_free(text);
	return err;
}

int
creds_aws_refused(struct creds_aws *c, const struct aws_creds *creds,
    const struct token_call *call, struct why *why)
{
	struct aws_fetched f = { .creds = *creds };
	struct token t = TOKEN_INIT;
	int err;

	if (c->tokens == NULL)
		return -EACCES;
	err = into_token(&f, &t);
	if (err == 0)
		err = token_refused(c->tokens, t.text, call, why);
	token_done(&t);
	return err;
}

/*
 * creds_aws_sts: roles, asked for at the Security Token Service: for a web
 * identity's token (AssumeRoleWithWebIdentity, which is not signed) or with
 * the keys of who may have the role (AssumeRole).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/creds_aws_impl.h"
#include "backends/sigv4.h"
#include "backends/store.h"
#include "backends/xml.h"
#include "base/clock.h"
#include "base/env.h"
#include "base/hash.h"

#define VERSION		"2011-06-15"
#define SESSION		"gnsfs"
#define TOKEN_MAX	((size_t)64 << 10)

int
aws_sts_url(const struct creds_aws *c, char **ret, struct why *why)
{
	const char *set = env_get("AWS_ENDPOINT_URL_STS");
	size_t n;

	if (set == NULL)
		set = env_get("AWS_ENDPOINT_URL");
	if (set != NULL) {
		n = strlen(set);
		while (n > 0 && set[n - 1] == '/')
			n--;
		if (!aws_url_is_safe(set) || set[strcspn(set, "?# ")] != '\0')
			return why_set(why, -EINVAL, "'%.200s' "
			    "(AWS_ENDPOINT_URL_STS) is no address to ask for a "
			    "role: it begins with https://, or is on loopback",
			    set);
		*ret = strndup(set, n);
	} else if (c->region == NULL) {
		*ret = strdup("https://sts.amazonaws.com");
	} else if (asprintf(ret, "https://%s.%s.amazonaws.com%s", "sts",
	    c->region, strncmp(c->region, "cn-", 3) == 0 ? ".cn" : "") < 0) {
		*ret = NULL;
	}
	return *ret != NULL ? 0 : -ENOMEM;
}

/* --- the answer --- */

struct answer {
	char	*id, *secret, *token, *expires;
	char	 code[64], text[200];
};

static int
answer_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct answer *a = arg;
	const char *name = path[depth - 1];
	const char *in = depth > 1 ? path[depth - 2] : "";
	const struct { const char *name; char **to; } fields[] = {
		{ "AccessKeyId", &a->id }, { "SecretAccessKey", &a->secret },
		{ "SessionToken", &a->token }, { "Expiration", &a->expires },
	};
	size_t i;

	if (text == NULL)
		return 0;
	if (strcmp(in, "Error") == 0 && strcmp(name, "Code") == 0)
		cloud_text(a->code, sizeof a->code, text);
	if (strcmp(in, "Error") == 0 && strcmp(name, "Message") == 0)
		cloud_text(a->text, sizeof a->text, text);
	for (i = 0; strcmp(in, "Credentials") == 0 &&
	    i < sizeof fields / sizeof fields[0]; i++) {
		if (strcmp(name, fields[i].name) != 0 || *fields[i].to != NULL)
			continue;
		*fields[i].to = strdup(text);
		if (*fields[i].to == NULL)
			return -ENOMEM;
	}
	return 0;
}

static void
answer_done(struct answer *a)
{
	secret_free(&a->id);
	secret_free(&a->secret);
	secret_free(&a->token);
	secret_free(&a->expires);
}

/* Some that are 400 are no fault of ours. */
static bool
is_passing(const char *code)
{
	return strcmp(code, "IDPCommunicationError") == 0 ||
	    strcmp(code, "RequestLimitExceeded") == 0 ||
	    strncmp(code, "Throttling", 10) == 0;
}

static int
judge(const char *who, const struct http_resp *resp, struct aws_fetched *ret,
    struct why *why)
{
	struct answer a = { 0 };
	int err;

	err = xml_parse(resp->body.p, resp->body.len, answer_each, &a);
	if (err != -ENOMEM && resp->status / 100 != 2) {
		err = is_passing(a.code) ? -EHOSTUNREACH :
		    aws_status_err(resp->status);
		why_set(why, err, "%s answers %d%s%s to a request for a role"
		    "%s%s", who, resp->status, a.code[0] != '\0' ? " " : "",
		    a.code, a.text[0] != '\0' ? ": " : "", a.text);
		goto out;
	}
	if (err == 0)
		err = aws_life(resp, a.expires, &ret->life);
	if (err == 0)
		err = aws_creds_take(a.id, a.secret, a.token, &ret->creds);
	if (err != 0 && err != -ENOMEM)
		err = why_set(why, -EINVAL, "%s answers with something that "
		    "holds no credentials", who);
out:
	answer_done(&a);
	return err;
}

/* --- the question --- */

static void
put_field(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "&%s=", name);
	sigv4_encode(b, value, 0);
}

/* What both have, from the profile or (NULL) the environment. */
static void
put_role(struct buf *b, const char *action, const char *role,
    const char *session, const struct aws_profile *p)
{
	buf_printf(b, "Action=%s&Version=" VERSION, action);
	put_field(b, "RoleArn", role);
	put_field(b, "RoleSessionName", session != NULL ? session : SESSION);
	if (p != NULL && p->duration != NULL)
		put_field(b, "DurationSeconds", p->duration);
}

/* host[:port] and path of url. */
static int
split_url(const char *url, struct buf *host, struct buf *path)
{
	const char *p = strstr(url, "://") + 3;
	size_t n = strcspn(p, "/");

	buf_put(host, p, n);
	buf_puts(path, p[n] != '\0' ? p + n : "/");
	buf_cstr(host);
	buf_cstr(path);
	return buf_err(host) != 0 ? buf_err(host) : buf_err(path);
}

static int
sign(const struct creds_aws *c, const struct buf *body,
    const struct aws_creds *keys, struct http_headers *h)
{
	struct sigv4 k = { .id = keys->id, .secret = keys->secret,
	    .token = keys->token, .region = c->region != NULL ? c->region :
	    "us-east-1", .service = "sts", .now = clock_real() };
	struct buf host = BUF_INIT, path = BUF_INIT;
	uint8_t sum[SHA256_LEN];
	char hex[SHA256_HEX];
	int err;

	sha256(body->p, body->len, sum);
	hex_encode(sum, sizeof sum, hex);
	err = split_url(c->sts_url, &host, &path);
	if (err == 0)
		err = sigv4_sign(&k, "POST", buf_cstr(&host), buf_cstr(&path),
		    "", hex, h);
	buf_done(&host);
	buf_done(&path);
	return err;
}

/* keys NULL: not signed.  The body is the caller's to wipe. */
static int
ask(struct creds_aws *c, struct buf *body, const struct aws_creds *keys,
    const struct token_call *call, struct aws_fetched *ret, struct why *why)
{
	struct store_mem mem = { buf_cstr(body), body->len };
	struct store_src src = store_src_mem(&mem);
	struct http_headers h = { 0 };
	struct http_req q = { .method = "POST", .headers = &h,
	    .body_len = src.size, .read = src.read, .read_arg = src.arg,
	    .deadline = call->deadline, .cancel = call->cancel };
	struct http_resp resp = { 0 };
	char who[120];
	enum http_end end;
	int err;

	err = buf_err(body);
	if (err == 0 && c->sts_url == NULL)
		err = why_set(why, -EINVAL, "the AWS profile is another than "
		    "when it was found: it has a role now");
	if (err != 0)
		return err;
	aws_who("the token service", c->sts_url, who, sizeof who);
	http_headers_add(&h, "content-type",
	    "application/x-www-form-urlencoded");
	if (keys != NULL)
		err = sign(c, body, keys, &h);
	if (err == 0)
		err = h.err;
	if (err != 0)
		goto out;
	q.url = c->sts_url;
	end = http_perform(c->sts, &q, &resp);
	err = end == HTTP_ANSWERED ? judge(who, &resp, ret, why) :
	    aws_no_answer(who, end, &resp, why);
	if (resp.body.p != NULL)
		explicit_bzero(resp.body.p, resp.body.cap);
	http_resp_done(&resp);
out:
	http_headers_done(&h);
	return err;
}

int
aws_web_fetch(struct creds_aws *c, const struct aws_profile *p,
    const struct token_call *call, struct aws_fetched *ret, struct why *why)
{
	const char *path = p != NULL ? p->web_file :
	    env_get("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = p != NULL ? p->role : env_get("AWS_ROLE_ARN");
	const char *session = p != NULL ? p->session_name :
	    env_get("AWS_ROLE_SESSION_NAME");
	struct buf token = BUF_INIT, body = BUF_INIT;
	int err;

	if (path == NULL || role == NULL)	/* it was there at first */
		return why_set(why, -EINVAL, "the role of the web identity is "
		    "gone from where it was found");
	err = secret_read(path, SECRET_FILE_MAX, &token);
	while (token.len > 0 && token.p[token.len - 1] <= ' ')
		token.len--;
	if (err == -ENOMEM)
		goto out;
	if (err != 0 || token.len == 0 || token.len > TOKEN_MAX) {
		err = why_set(why, -EINVAL, "the token of the web identity "
		    "cannot be read from '%s' (%s): %s", path, p != NULL ?
		    "web_identity_token_file" : "AWS_WEB_IDENTITY_TOKEN_FILE",
		    err != 0 ? strerror(-err) : token.len == 0 ?
		    "it is empty" : "it is too long");
		goto out;
	}
	put_role(&body, "AssumeRoleWithWebIdentity", role, session, p);
	put_field(&body, "WebIdentityToken", buf_cstr(&token));
	err = ask(c, &body, NULL, call, ret, why);
out:
	secret_done(&token);
	secret_done(&body);
	return err;
}

int
aws_role_fetch(struct creds_aws *c, const struct aws_profile *p,
    const struct aws_creds *keys, const struct token_call *call,
    struct aws_fetched *ret, struct why *why)
{
	struct buf body = BUF_INIT;
	int err;

	put_role(&body, "AssumeRole", p->role, p->session_name, p);
	if (p->external_id != NULL)
		put_field(&body, "ExternalId", p->external_id);
	err = ask(c, &body, keys, call, ret, why);
	secret_done(&body);
	return err;
}

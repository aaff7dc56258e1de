/*
 * s3_session: the keys by which requests to a directory bucket are signed
 * (S3 Express; CreateSession).  They are asked for with one's own, are good
 * for that bucket alone and for five minutes, and are renewed before that by
 * the cache that keeps them (token.h).
 *
 * Who may only read gets a session that may only read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/s3.h"
#include "backends/secret.h"
#include "backends/xml.h"

struct session { char *id, *secret, *token, *expires; bool nomem; };

static int
session_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct session *a = arg;
	struct { const char *name; char **to; } fields[] = {
		{ "AccessKeyId", &a->id }, { "SecretAccessKey", &a->secret },
		{ "SessionToken", &a->token }, { "Expiration", &a->expires },
	};
	size_t i;

	if (strcmp(path[0], "CreateSessionResult") != 0)
		return -EBADMSG;
	if (depth != 3 || text == NULL || strcmp(path[1], "Credentials") != 0)
		return 0;
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (strcmp(path[2], fields[i].name) != 0 ||
		    *fields[i].to != NULL)
			continue;
		*fields[i].to = strdup(text);
		a->nomem = a->nomem || *fields[i].to == NULL;
	}
	return 0;
}

/* The answer's keys.  0, -EINVAL, -ENOMEM. */
static int
session_read(const struct http_resp *resp, struct aws_creds *ret,
    int64_t *retlife)
{
	struct session a = { 0 };
	int err;

	err = xml_parse(resp->body.p, resp->body.len, session_each, &a);
	if (err == 0 && a.nomem)
		err = -ENOMEM;
	if (err == 0 && (a.id == NULL || a.secret == NULL ||
	    a.token == NULL || a.expires == NULL))
		err = -EINVAL;
	if (err == 0)
		err = aws_life(resp, a.expires, retlife);
	if (err == 0)
		err = aws_creds_take(a.id, a.secret, a.token, ret);
	free(a.expires);
	secret_free(&a.id);
	secret_free(&a.secret);
	secret_free(&a.token);
	return err == 0 || err == -ENOMEM ? err : -EINVAL;
}

static int
session_errno(enum store_rc rc)
{
	switch (rc) {
	case STORE_CANCELLED:
		return -ECANCELED;
	case STORE_NOMEM:
		return -ENOMEM;
	case STORE_DENIED:
	case STORE_ABSENT:
	case STORE_INVALID:
	case STORE_UNSUPPORTED:
		return -EACCES;
	default:
		return -EHOSTUNREACH;
	}
}

static enum store_rc
session_ask(struct s3 *s, struct store_call *c, const char *mode,
    struct s3_req *r)
{
	*r = (struct s3_req){ .method = "GET", .op = "CreateSession",
	    .own_keys = true };
	s3_param(r, "session", "");
	http_headers_add(&r->headers, "x-amz-create-session-mode", "%s",
	    mode);
	return s3_do(s, c, r);
}

int
s3_session_fetch(void *arg, const struct token_call *t,
    struct aws_creds *ret, int64_t *retlife, struct why *why)
{
	struct s3 *s = arg;
	struct store_call c = { .deadline = t != NULL ? t->deadline : 0,
	    .cancel = t != NULL ? t->cancel : NULL, .why = why };
	struct s3_req r;
	enum store_rc rc;
	int err;

	rc = session_ask(s, &c, "ReadWrite", &r);
	if (rc == STORE_DENIED) {
		s3_req_done(&r);
		rc = session_ask(s, &c, "ReadOnly", &r);
	}
	err = rc == STORE_OK ? session_read(&r.resp, ret, retlife) :
	    session_errno(rc);
	if (rc == STORE_OK && err == -EINVAL)
		why_set(why, err, "bucket '%s' answers CreateSession with "
		    "something that is not understood", s->bucket);
	secret_done(&r.resp.body);
	s3_req_done(&r);
	return err;
}

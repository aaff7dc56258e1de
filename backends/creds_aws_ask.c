/*
 * creds_aws_ask: a container's role and an instance's (IMDSv2), asked for at
 * addresses that AWS gives every container and instance; and what the answers
 * of all issuers have in common.
 *
 * A host that is no instance of AWS has nobody at 169.254.169.254, and often
 * nothing that would say so: the metadata service is given two seconds.  Once
 * it has answered it is given more, and its silence is an outage.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "backends/creds_aws_impl.h"
#include "base/clock.h"
#include "base/env.h"
#include "base/url.h"

#define CONTAINER	"http://169.254.170.2"
#define MACHINE		"http://169.254.169.254"
#define MACHINE_IPV6	"http://[fd00:ec2::254]"
#define ROLES		"/latest/meta-data/iam/security-credentials/"
#define TOKEN_LIFE	"21600"		/* s; the session with the service */
#define FIRST_WITHIN	(2 * NSEC_PER_SEC)
#define LATER_WITHIN	(5 * NSEC_PER_SEC)
#define LIFE_LEAST	60		/* s */
#define LIFE_MOST	(36 * 3600)	/* s; a role's is 12 hours at most */

/* --- what answers have in common --- */

static bool
is_visible(const char *s)
{
	size_t i;

	for (i = 0; s[i] > ' ' && s[i] < 0x7f; i++)
		;
	return i > 0 && s[i] == '\0';
}

int
aws_creds_take(const char *id, const char *secret, const char *token,
    struct aws_creds *ret)
{
	struct aws_creds c = { 0 };

	size_t i;

	if (id == NULL || secret == NULL || !is_visible(id) ||
	    *secret == '\0' || (token != NULL && !is_visible(token)))
		return -EINVAL;
	for (i = 0; secret[i] != '\0'; i++) {
		if ((unsigned char)secret[i] < ' ')
			return -EINVAL;
	}
	c.id = strdup(id);
	c.secret = strdup(secret);
	if (token != NULL)
		c.token = strdup(token);
	if (c.id == NULL || c.secret == NULL ||
	    (token != NULL && c.token == NULL)) {
		aws_creds_done(&c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

int
aws_life(const struct http_resp *resp, const char *expires, int64_t *ret)
{
	const char *date = http_resp_header(resp, "date");
	int64_t now = date != NULL ? http_date_parse(date) : -1, secs;
	struct tm tm = { 0 };
	int n = 0;

	*ret = 0;
	if (expires == NULL)
		return 0;
	if (sscanf(expires, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year,
	    &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
	    &n) != 6 || n != 19 || tm.tm_year < 1970 || tm.tm_year > 2200)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (now < 0)
		now = clock_real() / NSEC_PER_SEC;
	secs = (int64_t)timegm(&tm) - now;
	/* One that is over already is what is given while the service is
	 * ill: the store says whether it will do. */
	if (secs < LIFE_LEAST)
		secs = LIFE_LEAST;
	if (secs > LIFE_MOST)
		secs = LIFE_MOST;
	*ret = secs * NSEC_PER_SEC;
	return 0;
}

size_t
aws_url_host(const char *url, const char **rethost)
{
	const char *host = strstr(url, "://");
	size_t n, whole;

	if (host == NULL) {
		*rethost = url;
		return 0;
	}
	host += 3;
	whole = strcspn(host, "/?#");
	n = host[0] == '[' ? strcspn(host, "]/?#") + 1 :
	    strcspn(host, ":/?#");
	*rethost = host;
	/* Who is before an @ is no host. */
	return memchr(host, '@', whole) != NULL || n > whole ? 0 : n;
}

void
aws_who(const char *what, const char *url, char *ret, size_t size)
{
	const char *host;
	size_t n = aws_url_host(url, &host);

	snprintf(ret, size, "%s at %.*s", what, (int)n, host);
}

static bool
host_is(const char *host, size_t n, const char *want)
{
	return n == strlen(want) && strncasecmp(host, want, n) == 0;
}

bool
aws_url_is_safe(const char *url)
{
	const char *host;
	size_t n = aws_url_host(url, &host);

	if (n == 0)
		return false;
	return strncmp(url, "https://", 8) == 0 ||
	    (strncmp(url, "http://", 7) == 0 && url_is_loopback(url));
}

int
aws_status_err(int status)
{
	return status == 408 || status == 429 || status >= 500 ?
	    -EHOSTUNREACH : -EACCES;
}

int
aws_no_answer(const char *who, enum http_end end,
    const struct http_resp *resp, struct why *why)
{
	switch (end) {
	case HTTP_CANCELLED:
		return -ECANCELED;
	case HTTP_NOMEM:
		return -ENOMEM;
	default:
		return why_set(why, -EHOSTUNREACH, "%s gives no answer: %s",
		    who, resp->error);
	}
}

/* One line of what an issuer says of itself; from JSON's code and message. */
static void
issuer_says(const struct buf *body, char *ret, size_t size)
{
	json_t *o = json_loadb((const char *)body->p, body->len, 0, NULL);
	const char *code = json_string_value(json_object_get(o, "code"));
	const char *text = json_string_value(json_object_get(o, "message"));
	size_t i;

	snprintf(ret, size, "%s%s%s%s", code != NULL || text != NULL ? ": " :
	    "", code != NULL ? code : "", code != NULL && text != NULL ?
	    ": " : "", text != NULL ? text : "");
	for (i = 0; ret[i] != '\0'; i++) {
		if ((unsigned char)ret[i] < ' ')
			ret[i] = ' ';
	}
	json_decref(o);
}

/* The answer of either service.  0, -EINVAL, -EACCES, -ENOMEM. */
static int
take_json(const char *who, const struct http_resp *resp,
    struct aws_fetched *ret, struct why *why)
{
	json_t *o = json_loadb((const char *)resp->body.p, resp->body.len, 0,
	    NULL);
	const char *code = json_string_value(json_object_get(o, "Code"));
	const char *secret = json_string_value(json_object_get(o,
	    "SecretAccessKey"));
	const char *token = json_string_value(json_object_get(o, "Token"));
	int err;

	if (code != NULL && strcmp(code, "Success") != 0) {
		err = why_set(why, -EACCES, "%s answers %.80s instead of "
		    "credentials", who, code);
	} else {
		err = aws_life(resp, json_string_value(json_object_get(o,
		    "Expiration")), &ret->life);
		if (err == 0)
			err = aws_creds_take(json_string_value(
			    json_object_get(o, "AccessKeyId")), secret, token,
			    &ret->creds);
		if (err == -EINVAL)
			why_set(why, err, "%s answers with something that "
			    "holds no credentials", who);
	}
	if (secret != NULL)
		explicit_bzero((char *)secret, strlen(secret));
	if (token != NULL)
		explicit_bzero((char *)token, strlen(token));
	json_decref(o);
	return err;
}

/* --- a container's --- */

static bool
is_containers(const char *host, size_t n)
{
	return url_is_loopback(host) || host_is(host, n, "169.254.170.2") ||
	    host_is(host, n, "169.254.170.23") ||
	    host_is(host, n, "[fd00:ec2::23]");
}

int
aws_container_url(char **returl, struct why *why)
{
	static const char name[] = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
	const char *part = env_get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = env_get(name), *host;
	size_t n;

	if (part == NULL && full == NULL)
		return -ENOENT;
	if (part != NULL && (part[0] != '/' || !is_visible(part)))
		return why_set(why, -EINVAL, "AWS_CONTAINER_CREDENTIALS_"
		    "RELATIVE_URI is no path");
	if (part == NULL) {
		n = aws_url_host(full, &host);
		if (n == 0 || !is_visible(full) ||
		    (strncmp(full, "https://", 8) != 0 &&
		    (strncmp(full, "http://", 7) != 0 ||
		    !is_containers(host, n))))
			return why_set(why, -EINVAL, "%s: '%.200s' is not "
			    "asked: it is an https:// URL, or an http:// URL "
			    "of loopback or of a container's host "
			    "(169.254.170.2, 169.254.170.23, fd00:ec2::23)",
			    name, full);
	}
	if (returl != NULL && asprintf(returl, "%s%s", part != NULL ?
	    CONTAINER : "", part != NULL ? part : full) < 0)
		return -ENOMEM;
	return 0;
}

/* What authorizes us there, as a header.  0, -EINVAL, -ENOMEM. */
static int
container_token(struct http_headers *h, struct why *why)
{
	const char *path = env_get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *text = env_get("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct buf b = BUF_INIT;
	int err = 0;

	if (path == NULL && text == NULL)
		return 0;
	if (path != NULL) {
		err = secret_read(path, SECRET_FILE_MAX, &b);
		if (err != 0 && err != -ENOMEM)
			err = why_set(why, -EINVAL, "'%s' (AWS_CONTAINER_"
			    "AUTHORIZATION_TOKEN_FILE) cannot be read: %s",
			    path, strerror(-err));
		while (b.len > 0 && b.p[b.len - 1] <= ' ')
			b.len--;
		text = buf_cstr(&b);
	}
	if (err == 0) {
		http_headers_add(h, "authorization", "%s", text);
		err = h->err;
		if (err == -EINVAL)
			why_set(why, err, "the token of AWS_CONTAINER_"
			    "AUTHORIZATION_TOKEN%s is more than one line",
			    path != NULL ? "_FILE" : "");
	}
	secret_done(&b);
	return err;
}

int
aws_container_fetch(struct creds_aws *c, const struct token_call *call,
    struct aws_fetched *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct http_req q = { .method = "GET", .headers = &h,
	    .deadline = call->deadline, .cancel = call->cancel };
	struct http_resp resp = { 0 };
	char who[120], said[240], *url = NULL;
	enum http_end end;
	int err;

	err = aws_container_url(&url, why);
	if (err == 0)
		err = container_token(&h, why);
	if (err != 0)
		goto out;
	aws_who("the container's credentials service", url, who, sizeof who);
	q.url = url;
	end = http_perform(c->near, &q, &resp);
	if (end != HTTP_ANSWERED) {
		err = aws_no_answer(who, end, &resp, why);
	} else if (resp.status / 100 == 2) {
		err = take_json(who, &resp, ret, why);
	} else {
		issuer_says(&resp.body, said, sizeof said);
		err = why_set(why, aws_status_err(resp.status),
		    "%s answers %d%s", who, resp.status, said);
	}
	if (resp.body.p != NULL)
		explicit_bzero(resp.body.p, resp.body.cap);
	http_resp_done(&resp);
out:
	http_headers_done(&h);
	free(url);
	return err;
}

/* --- an instance's --- */

bool
aws_machine_is_named(void)
{
	return env_get("AWS_EC2_METADATA_SERVICE_ENDPOINT") != NULL;
}

bool
aws_machine_is_disabled(void)
{
	const char *s = env_get("AWS_EC2_METADATA_DISABLED");

	return s != NULL && strcasecmp(s, "true") == 0;
}

static const char *
machine_base(void)
{
	const char *s = env_get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = env_get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");

	if (s != NULL)
		return s;
	return mode != NULL && strcasecmp(mode, "ipv6") == 0 ? MACHINE_IPV6 :
	    MACHINE;
}

/* The conversation with the metadata service. */
struct machine {
	struct creds_aws	*c;
	const struct token_call	*call;
	char			 who[120];
	struct buf		 session;	/* its token */
	int			 status;	/* of the last answer */
};

/* Silence, or a no: is this an instance at all?  Says what else there was. */
static int
machine_none(struct machine *m, int err, struct why *why)
{
	if (atomic_load(&m->c->proven))
		return err;
	return why_prefix(why, err, "no AWS credentials: looked at %s; then",
	    m->c->looked);
}

/* One request below the service's address; a 2xx answer's body is in ret. */
static int
machine_ask(struct machine *m, const char *method, const char *path,
    struct http_resp *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct http_req q = { .method = method, .headers = &h,
	    .cancel = m->call->cancel };
	bool first = !atomic_load(&m->c->proven);
	const char *base = machine_base();
	struct buf url = BUF_INIT;
	size_t n = strlen(base);
	enum http_end end;
	int err;

	q.deadline = clock_mono() + (first ? FIRST_WITHIN : LATER_WITHIN);
	if (m->call->deadline != 0 && m->call->deadline < q.deadline)
		q.deadline = m->call->deadline;
	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_printf(&url, "%.*s%s", (int)n, base, path);
	if (strcmp(method, "PUT") == 0)
		http_headers_add(&h, "x-aws-ec2-metadata-token-ttl-seconds",
		    "%s", TOKEN_LIFE);
	else
		http_headers_add(&h, "x-aws-ec2-metadata-token", "%s",
		    buf_cstr(&m->session));
	q.url = buf_cstr(&url);
	err = buf_err(&url) != 0 ? buf_err(&url) : h.err;
	if (err == -EINVAL)
		why_set(why, err, "%s gives a token that is none", m->who);
	if (err != 0)
		goto out;
	end = http_perform(m->c->near, &q, ret);
	m->status = ret->status;
	if (end != HTTP_ANSWERED)
		err = aws_no_answer(m->who, end, ret, why);
	else if (ret->status / 100 != 2)
		err = why_set(why, aws_status_err(ret->status),
		    "%s answers %d to %s of %s", m->who, ret->status, method,
		    path);
	if (end != HTTP_ANSWERED && err == -EHOSTUNREACH && first)
		err = -EACCES;
	if (err == -EACCES)
		err = machine_none(m, err, why);
out:
	buf_done(&url);
	http_headers_done(&h);
	return err;
}

/* Opens a session: what makes it IMDSv2. */
static int
machine_session(struct machine *m, struct why *why)
{
	struct http_resp resp = { 0 };
	int err;

	err = machine_ask(m, "PUT", "/latest/api/token", &resp, why);
	if (err == 0) {
		atomic_store(&m->c->proven, true);
		buf_put(&m->session, resp.body.p, resp.body.len);
		if (!is_visible(buf_cstr(&m->session)))
			err = buf_err(&m->session) != 0 ? -ENOMEM :
			    why_set(why, -EINVAL, "%s gives a token that is "
			    "none", m->who);
	}
	http_resp_done(&resp);
	return err;
}

/* The path of the role's credentials. */
static int
machine_role(struct machine *m, struct buf *ret, struct why *why)
{
	struct http_resp resp = { 0 };
	const char *name;
	size_t n;
	int err;

	err = machine_ask(m, "GET", ROLES, &resp, why);
	if (err == -EACCES && m->status == 404) {
		if (why != NULL)
			why->text[0] = '\0';
		why_set(why, err, "no AWS credentials: looked at %s; and this "
		    "instance has no role (%s says so): give it an instance "
		    "profile", m->c->looked, m->who);
	}
	if (err == 0) {
		name = buf_cstr(&resp.body);
		n = strcspn(name, "\r\n");
		buf_printf(ret, ROLES "%.*s", (int)n, name);
		err = buf_err(ret);
		if (err == 0 && (n == 0 || n > 64 || strspn(name,
		    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		    "0123456789+=,.@_-") != n))
			err = why_set(why, -EINVAL, "%s names a role that is "
			    "none", m->who);
	}
	http_resp_done(&resp);
	return err;
}

int
aws_machine_fetch(struct creds_aws *c, const struct token_call *call,
    struct aws_fetched *ret, struct why *why)
{
	struct machine m = { .c = c, .call = call };
	struct http_resp resp = { 0 };
	struct buf path = BUF_INIT;
	int err;

	aws_who("the instance metadata service", machine_base(), m.who,
	    sizeof m.who);
	err = machine_session(&m, why);
	if (err == 0)
		err = machine_role(&m, &path, why);
	if (err == 0)
		err = machine_ask(&m, "GET", buf_cstr(&path), &resp, why);
	if (err == 0)
		err = take_json(m.who, &resp, ret, why);
	if (resp.body.p != NULL)
		explicit_bzero(resp.body.p, resp.body.cap);
	http_resp_done(&resp);
	secret_done(&m.session);
	buf_done(&path);
	return err;
}

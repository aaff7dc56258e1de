/* creds_azure: see creds_azure.h. */
#include "backends/creds_azure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/secret.h"
#include "backends/sigkey.h"
#include "base/buf.h"
#include "base/env.h"
#include "base/sys.h"
#include "base/url.h"

#define RESOURCE	"https%3A%2F%2Fstorage.azure.com%2F"
#define AUTHORITY	"https://login.microsoftonline.com"
#define IMDS		"http://169.254.169.254"
#define ASSERTION_MAX	((size_t)64 << 10)

/* The emulator's account; its key is published. */
#define DEV_ACCOUNT	"devstoreaccount1"
#define DEV_KEY		"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2" \
			"UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define DEV_ENDPOINT	"http://127.0.0.1:10000/devstoreaccount1"

struct creds_azure {
	enum azure_auth	 auth;
	const char	*source;	/* static */
	char		*text;		/* key's bytes or SAS */
	size_t		 len;
	char		*endpoint;

	/* Tokens. */
	struct token_cache *tokens;
	struct http	*http;
	char		*url;		/* of the issuer */
	char		*who;		/* its host */
	char		*client;	/* id; may be NULL */
	char		*secret;	/* or the header's, of a service */
	char		*file;		/* of the federated token */
};

static void
wipe(char *p, size_t n)
{
	if (p != NULL) {
		explicit_bzero(p, n);
		free(p);
	}
}

void
azure_cred_done(struct azure_cred *c)
{
	if (c == NULL)
		return;
	wipe(c->text, c->len);
	*c = (struct azure_cred){ AZURE_UNSIGNED };
}

void
creds_azure_close(struct creds_azure *c)
{
	if (c == NULL)
		return;
	token_cache_close(c->tokens);
	http_free(c->http);
	wipe(c->text, c->len);
	wipe(c->secret, c->secret != NULL ? strlen(c->secret) : 0);
	free(c->endpoint);
	free(c->url);
	free(c->who);
	free(c->client);
	free(c->file);
	free(c);
}

/* --- keys and signatures --- */

static int
take_key(struct creds_azure *c, const char *key, const char *source,
    struct why *why)
{
	uint8_t *bytes;
	size_t n;
	int err;

	err = sigkey_unbase64(key, &bytes, &n);
	if (err == -EINVAL)
		return why_set(why, err, "the key in %s is no base64: copy it "
		    "whole, with the '=' at its end", source);
	if (err != 0)
		return err;
	c->auth = AZURE_KEY;
	c->source = source;
	c->text = (char *)bytes;
	c->len = n;
	return 0;
}

static int
take_sas(struct creds_azure *c, const char *sas, const char *source,
    struct why *why)
{
	const char *p;

	while (*sas == '?' || *sas == '&')
		sas++;
	for (p = sas; *p > ' ' && *p < 0x7f && *p != '#'; p++)
		;
	if (*p != '\0' || strstr(sas, "sig=") == NULL)
		return why_set(why, -EINVAL, "the shared access signature in "
		    "%s makes no sense: it looks like sv=...&sig=..., percent-"
		    "encoded", source);
	c->text = strdup(sas);
	if (c->text == NULL)
		return -ENOMEM;
	c->auth = AZURE_SAS;
	c->source = source;
	c->len = strlen(sas);
	return 0;
}

/* What a connection string says; borrowed from its copy. */
struct connection {
	const char	*account, *key, *sas, *endpoint, *protocol, *suffix;
	bool		 dev;
};

static int
connection_parse(char *text, struct connection *ret, struct why *why)
{
	const struct { const char *name; const char **to; } fields[] = {
		{ "AccountName", &ret->account },
		{ "AccountKey", &ret->key },
		{ "SharedAccessSignature", &ret->sas },
		{ "BlobEndpoint", &ret->endpoint },
		{ "DefaultEndpointsProtocol", &ret->protocol },
		{ "EndpointSuffix", &ret->suffix },
	};
	char *part, *eq;
	size_t i;

	while ((part = strsep(&text, ";")) != NULL) {
		part += strspn(part, " \t\r\n");
		if (*part == '\0')
			continue;
		eq = strchr(part, '=');
		if (eq == NULL)
			return why_set(why, -EINVAL, "the Azure connection "
			    "string makes no sense: it is NAME=VALUE;"
			    "NAME=VALUE");
		*eq++ = '\0';
		for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
			if (strcasecmp(part, fields[i].name) == 0)
				*fields[i].to = eq;
		}
		if (strcasecmp(part, "UseDevelopmentStorage") == 0)
			ret->dev = strcasecmp(eq, "true") == 0;
	}
	if (ret->dev) {
		ret->account = DEV_ACCOUNT;
		ret->key = DEV_KEY;
		if (ret->endpoint == NULL)
			ret->endpoint = DEV_ENDPOINT;
	}
	return 0;
}

/* Is the connection string, which may name none, of this account? */
static bool
connection_is_of(const struct connection *n, const char *account)
{
	size_t len = strlen(account);
	const char *host;

	if (n->account != NULL)
		return strcmp(n->account, account) == 0;
	host = n->endpoint != NULL ? strstr(n->endpoint, "://") : NULL;
	if (host == NULL)
		return env_get("AZURE_STORAGE_ACCOUNT") != NULL &&
		    strcmp(env_get("AZURE_STORAGE_ACCOUNT"), account) == 0;
	host += 3;
	if (strncmp(host, account, len) == 0 && host[len] == '.')
		return true;
	host += strcspn(host, "/");
	return *host == '/' && strncmp(host + 1, account, len) == 0 &&
	    (host[1 + len] == '\0' || host[1 + len] == '/');
}

static int
from_connection(struct creds_azure *c, const char *account, struct why *why)
{
	static const char name[] = "AZURE_STORAGE_CONNECTION_STRING";
	struct connection n = { 0 };
	char *copy;
	int err;

	if (env_get(name) == NULL)
		return -ENOENT;
	copy = strdup(env_get(name));
	if (copy == NULL)
		return -ENOMEM;
	err = connection_parse(copy, &n, why);
	if (err == 0 && !connection_is_of(&n, account))
		err = -ENOENT;
	else if (err == 0 && n.key != NULL)
		err = take_key(c, n.key, name, why);
	else if (err == 0 && n.sas != NULL)
		err = take_sas(c, n.sas, name, why);
	else if (err == 0)
		err = why_set(why, -EINVAL, "%s has neither AccountKey nor "
		    "SharedAccessSignature", name);
	if (err == 0 && n.endpoint != NULL) {
		c->endpoint = strdup(n.endpoint);
		err = c->endpoint != NULL ? 0 : -ENOMEM;
	} else if (err == 0 && n.suffix != NULL) {
		if (asprintf(&c->endpoint, "%s://%s.blob.%s",
		    n.protocol != NULL ? n.protocol : "https", account,
		    n.suffix) < 0) {
			c->endpoint = NULL;
			err = -ENOMEM;
		}
	}
	wipe(copy, strlen(env_get(name)));
	return err;
}

/* AZURE_STORAGE_KEY and _SAS_TOKEN are of AZURE_STORAGE_ACCOUNT, where that is
 * set. */
static bool
env_is_of(const char *account)
{
	const char *named = env_get("AZURE_STORAGE_ACCOUNT");

	return named == NULL || strcmp(named, account) == 0;
}

static int
from_key(struct creds_azure *c, const char *account, struct why *why)
{
	const char *key = env_get("AZURE_STORAGE_KEY");

	return key != NULL && env_is_of(account) ?
	    take_key(c, key, "AZURE_STORAGE_KEY", why) : -ENOENT;
}

static int
from_sas(struct creds_azure *c, const char *account, struct why *why)
{
	const char *sas = env_get("AZURE_STORAGE_SAS_TOKEN");

	return sas != NULL && env_is_of(account) ?
	    take_sas(c, sas, "AZURE_STORAGE_SAS_TOKEN", why) : -ENOENT;
}

/* --- tokens --- */

/* Reads the federated token.  0, -EINVAL, -ENOMEM. */
static int
assertion_read(const char *path, struct buf *b, struct why *why)
{
	int err = secret_read(path, ASSERTION_MAX, b);

	if (err == -ENOMEM)
		return err;
	while (b->len > 0 && b->p[b->len - 1] <= ' ')
		b->len--;
	if (err != 0 || b->len == 0)
		return why_set(why, -EINVAL, "the token of the workload "
		    "identity cannot be read from '%s' "
		    "(AZURE_FEDERATED_TOKEN_FILE): %s", path,
		    err != 0 ? strerror(-err) : "it is empty");
	return 0;
}

static void
put_encoded(struct buf *b, const char *name, const char *value)
{
	char *s = url_encode(value, 0);

	if (s == NULL) {
		b->err = -ENOMEM;
		return;
	}
	buf_printf(b, "&%s=%s", name, s);
	wipe(s, strlen(s));
}

/* An application, by its secret or by a federated token (RFC 6749, 4.4; RFC
 * 7523). */
static int
fetch_application(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	struct creds_azure *c = arg;
	struct http_headers h = { 0 };
	struct token_req r = { .who = c->who, .method = "POST", .url = c->url,
	    .headers = &h };
	struct buf body = BUF_INIT, assertion = BUF_INIT;
	int err = 0;

	buf_puts(&body, "grant_type=client_credentials&scope=" RESOURCE
	    ".default");
	put_encoded(&body, "client_id", c->client);
	if (c->file != NULL) {
		err = assertion_read(c->file, &assertion, why);
		put_encoded(&body, "client_assertion_type",
		    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
		put_encoded(&body, "client_assertion", buf_cstr(&assertion));
	} else {
		put_encoded(&body, "client_secret", c->secret);
	}
	http_headers_add(&h, "content-type",
	    "application/x-www-form-urlencoded");
	r.body = buf_cstr(&body);
	if (err == 0)
		err = buf_err(&body);
	if (err == 0)
		err = token_request(c->http, &r, call, ret, why);
	if (body.p != NULL)
		explicit_bzero(body.p, body.cap);
	if (assertion.p != NULL)
		explicit_bzero(assertion.p, assertion.cap);
	buf_done(&body);
	buf_done(&assertion);
	http_headers_done(&h);
	return err;
}

/* A managed identity: of a service, which wants its header, or a machine. */
static int
fetch_managed(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	struct creds_azure *c = arg;
	struct http_headers h = { 0 };
	struct token_req r = { .who = c->who, .method = "GET", .headers = &h };
	struct buf url = BUF_INIT;
	int err;

	buf_printf(&url, "%s&resource=%s", c->url, RESOURCE);
	if (c->client != NULL)
		put_encoded(&url, "client_id", c->client);
	if (c->secret != NULL)
		http_headers_add(&h, "x-identity-header", "%s", c->secret);
	else
		http_headers_add(&h, "metadata", "true");
	r.url = buf_cstr(&url);
	err = buf_err(&url);
	if (err == 0)
		err = token_request(c->http, &r, call, ret, why);
	buf_done(&url);
	http_headers_done(&h);
	if ((err == -EHOSTUNREACH || err == -EACCES) &&
	    strcmp(c->source, "machine") == 0)
		why_prefix(why, err, "no Azure credentials in the environment "
		    "(AZURE_STORAGE_CONNECTION_STRING, _KEY, _SAS_TOKEN, "
		    "AZURE_CLIENT_ID), and of this machine's identity");
	return err;
}

/* Fills url and who from an issuer's base and the rest; opens the cache.
 * Secrets go over plain http to this machine only. */
static int
take_issuer(struct creds_azure *c, const char *base, const char *rest,
    const char *source, token_fetch *fetch, bool secret, struct why *why)
{
	struct http_opts o = { .no_proxy = !secret || url_is_loopback(base) };
	const char *host = strstr(base, "://");
	size_t n = strlen(base);
	int err;

	if (host == NULL || (secret && strncmp(base, "https://", 8) != 0 &&
	    !url_is_loopback(base)))
		return why_set(why, -EINVAL, "'%.200s' is no address to ask "
		    "for a token: it begins with https://", base);
	while (n > 0 && base[n - 1] == '/')
		n--;
	if (asprintf(&c->url, "%.*s%s", (int)n, base, rest) < 0) {
		c->url = NULL;
		return -ENOMEM;
	}
	c->who = strndup(host + 3, strcspn(host + 3, "/"));
	if (c->who == NULL)
		return -ENOMEM;
	c->source = source;
	c->auth = AZURE_BEARER;
	err = http_new(&o, &c->http, why);
	return err != 0 ? err : token_cache_open(source, fetch, c,
	    &c->tokens);
}

static int
keep(char **to, const char *s)
{
	*to = s != NULL ? strdup(s) : NULL;
	return s == NULL || *to != NULL ? 0 : -ENOMEM;
}

static int
from_application(struct creds_azure *c, const char *account, struct why *why)
{
	const char *tenant = env_get("AZURE_TENANT_ID");
	const char *client = env_get("AZURE_CLIENT_ID");
	const char *secret = env_get("AZURE_CLIENT_SECRET");
	const char *file = env_get("AZURE_FEDERATED_TOKEN_FILE");
	const char *base = env_get("AZURE_AUTHORITY_HOST");
	char *rest;
	int err;

	if (tenant == NULL || client == NULL ||
	    (secret == NULL && file == NULL))
		return -ENOENT;
	if (tenant[strspn(tenant, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"
	    "OPQRSTUVWXYZ0123456789.-")] != '\0')
		return why_set(why, -EINVAL, "AZURE_TENANT_ID is no tenant");
	if (asprintf(&rest, "/%s/oauth2/v2.0/token", tenant) < 0)
		return -ENOMEM;
	err = keep(&c->client, client);
	if (err == 0)
		err = secret != NULL ? keep(&c->secret, secret) :
		    keep(&c->file, file);
	if (err == 0)
		err = take_issuer(c, base != NULL ? base : AUTHORITY, rest,
		    secret != NULL ? "AZURE_CLIENT_SECRET" :
		    "AZURE_FEDERATED_TOKEN_FILE", fetch_application, true,
		    why);
	free(rest);
	return err;
}

static int
from_service(struct creds_azure *c, const char *account, struct why *why)
{
	const char *base = env_get("IDENTITY_ENDPOINT");
	int err;

	if (base == NULL || env_get("IDENTITY_HEADER") == NULL)
		return -ENOENT;
	err = keep(&c->client, env_get("AZURE_CLIENT_ID"));
	if (err == 0)
		err = keep(&c->secret, env_get("IDENTITY_HEADER"));
	return err != 0 ? err : take_issuer(c, base,
	    "?api-version=2019-08-01", "IDENTITY_ENDPOINT", fetch_managed,
	    false, why);
}

static int
from_machine(struct creds_azure *c, const char *account, struct why *why)
{
	const char *base = env_get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
	int err;

	err = keep(&c->client, env_get("AZURE_CLIENT_ID"));
	return err != 0 ? err : take_issuer(c, base != NULL ? base : IMDS,
	    "/metadata/identity/oauth2/token?api-version=2018-02-01",
	    "machine", fetch_managed, false, why);
}

/* --- all of it --- */

/* In the order in which they are looked at.  -ENOENT: nothing there. */
static int (*const sources[])(struct creds_azure *c, const char *account,
    struct why *why) = {
	from_connection, from_key, from_sas, from_application, from_service,
	from_machine,
};
enum { NSOURCES = sizeof sources / sizeof sources[0] };

int
creds_azure_open(const char *account, bool loopback, struct creds_azure **ret,
    struct why *why)
{
	struct creds_azure *c = calloc(1, sizeof *c);
	/* A stand-in for the machine's, for tests of it on loopback. */
	bool asks_machine = !loopback ||
	    env_get("AZURE_POD_IDENTITY_AUTHORITY_HOST") != NULL;
	int i, n = asks_machine ? NSOURCES : NSOURCES - 1;
	int err = -ENOENT;

	if (c == NULL)
		return -ENOMEM;
	c->source = "none";
	for (i = 0; err == -ENOENT && i < n; i++)
		err = sources[i](c, account, why);
	if (err == -ENOENT)
		err = 0;	/* unsigned, to loopback */
	if (err != 0) {
		creds_azure_close(c);
		return err;
	}
	*ret = c;
	return 0;
}

enum azure_auth
creds_azure_auth(const struct creds_azure *c)
{
	return c->auth;
}

const char *
creds_azure_source(const struct creds_azure *c)
{
	return c->source;
}

const char *
creds_azure_endpoint(const struct creds_azure *c)
{
	return c->endpoint;
}

int
creds_azure_get(struct creds_azure *c, const struct token_call *call,
    struct azure_cred *ret, struct why *why)
{
	struct azure_cred got = { .auth = c->auth, .len = c->len };
	int err = 0;

	if (c->auth == AZURE_BEARER) {
		err = token_get(c->tokens, call, &got.text, why);
		got.len = err == 0 ? strlen(got.text) : 0;
	} else if (c->auth != AZURE_UNSIGNED) {
		got.text = malloc(c->len + 1);
		if (got.text == NULL)
			return -ENOMEM;
		memcpy(got.text, c->text, c->len);
		got.text[c->len] = '\0';
	}
	if (err == 0)
		*ret = got;
	return err;
}

int
creds_azure_refused(struct creds_azure *c, const struct azure_cred *cred,
    const struct token_call *call, struct why *why)
{
	return cred->auth == AZURE_BEARER ? token_refused(c->tokens,
	    cred->text, call, why) : -EACCES;
}

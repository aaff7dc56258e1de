/*
 * creds_gcs_find: where Google's credentials are looked for (creds_gcs.h) and
 * what their files say.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/creds_aws.h"
#include "backends/creds_gcs_impl.h"
#include "base/env.h"
#include "base/sys.h"
#include "base/url.h"

#define TOKEN_URI	"https://oauth2.googleapis.com/token"
#define METADATA_HOST	"metadata.google.internal"
#define METADATA_PATH	"/computeMetadata/v1/instance/service-accounts/" \
			"default/token"

/* --- files --- */

/* BEFORE NAME AFTER below gcloud's folder. */
static void
config_path(struct buf *b, const char *before, const char *name,
    const char *after)
{
	const char *dir = env_get("CLOUDSDK_CONFIG");

	buf_reset(b);
	if (dir != NULL)
		buf_printf(b, "%s/", dir);
	else
		buf_printf(b, "%s/.config/gcloud/", env_get("HOME") != NULL ?
		    env_get("HOME") : "");
	buf_printf(b, "%s%s%s", before, name, after);
}

struct account {
	char	text[256];
};

static int
account_each(void *arg, const char *section, const char *key,
    const char *value)
{
	struct account *a = arg;

	if (strcmp(section, "core") == 0 && strcmp(key, "account") == 0)
		snprintf(a->text, sizeof a->text, "%s", value);
	return 0;
}

/* Where the profile's credentials are: an account's, or those of the account
 * that a configuration names. */
static int
profile_path(const char *profile, struct buf *path, struct why *why)
{
	struct account a = { "" };
	struct buf text = BUF_INIT;
	unsigned line = 0;
	int err = 0;

	if (strchr(profile, '/') != NULL)
		return why_set(why, -EINVAL, "profile=%.80s: it is the name of "
		    "a gcloud configuration or an account", profile);
	snprintf(a.text, sizeof a.text, "%s", profile);
	if (strchr(profile, '@') == NULL) {
		a.text[0] = '\0';
		config_path(path, "configurations/config_", profile, "");
		err = secret_read(buf_cstr(path), SECRET_FILE_MAX, &text);
		if (err == 0)
			err = creds_aws_parse(buf_cstr(&text), account_each,
			    &a, &line);
		if (err == -ENOMEM)
			goto out;
		if (err != 0 || a.text[0] == '\0' ||
		    strchr(a.text, '/') != NULL) {
			err = why_set(why, -EACCES, "no GCS credentials: the "
			    "gcloud configuration '%.80s' (%s) names no "
			    "account", profile, buf_cstr(path));
			goto out;
		}
	}
	config_path(path, "legacy_credentials/", a.text, "/adc.json");
out:
	buf_done(&text);
	return err;
}

/* --- what a file says --- */

/* A text of the file, copied; false: it is missing, or no memory. */
static bool
take(const json_t *o, const char *name, char **ret)
{
	const char *s = json_string_value(json_object_get(o, name));

	if (s == NULL || *s == '\0')
		return false;
	*ret = strdup(s);
	return *ret != NULL;
}

/* What must not be told to whoever listens: https, or this host. */
static bool
url_is_safe(const char *url)
{
	return strncmp(url, "https://", 8) == 0 ||
	    (strncmp(url, "http://", 7) == 0 && url_is_loopback(url));
}

/* As in the URLs of stores (url.h): URLs are told to people, what is in these
 * is not. */
static int
need_no_user(const char *path, const char *name, const char *url,
    struct why *why)
{
	const char *host = strstr(url, "://");

	if (host == NULL || memchr(host + 3, '@', strcspn(host + 3, "/?#")) ==
	    NULL)
		return 0;
	return why_set(why, -EINVAL, "'%s': %s has a user and '@' in it, "
	    "which are not sent", path, name);
}

static int
need_url(const char *path, const char *name, const char *url,
    struct why *why)
{
	if (url == NULL)
		return 0;
	if (url_is_safe(url))
		return need_no_user(path, name, url, why);
	return why_set(why, -EINVAL, "'%s': %s is no https:// URL", path,
	    name);
}

static int
lacks(const char *path, const char *type, const char *names,
    struct why *why)
{
	return why_set(why, -EINVAL, "'%s' is of type %s and lacks one of %s",
	    path, type, names);
}

static int
parse_service(struct creds_gcs *c, const char *path, const json_t *o,
    struct why *why)
{
	c->kind = SERVICE;
	if (!take(o, "client_email", &c->email) ||
	    !take(o, "private_key", &c->key))
		return lacks(path, "service_account", "client_email, "
		    "private_key", why);
	take(o, "private_key_id", &c->key_id);
	if (!take(o, "token_uri", &c->url))
		c->url = strdup(TOKEN_URI);
	if (asprintf(&c->who, "the service account %s", c->email) < 0)
		c->who = NULL;
	return 0;
}

static int
parse_user(struct creds_gcs *c, const char *path, const json_t *o,
    struct why *why)
{
	c->kind = USER;
	if (!take(o, "client_id", &c->id) ||
	    !take(o, "client_secret", &c->secret) ||
	    !take(o, "refresh_token", &c->refresh))
		return lacks(path, "authorized_user", "client_id, "
		    "client_secret, refresh_token", why);
	if (!take(o, "token_uri", &c->url))
		c->url = strdup(TOKEN_URI);
	if (asprintf(&c->who, "the user of '%s'", path) < 0)
		c->who = NULL;
	return 0;
}

/* Of a subject token: also the metadata server of another cloud, which is at
 * a link-local address, and nobody beyond this host's link hears it. */
static bool
url_is_near(const char *url)
{
	const char *host = url + strlen("http://");
	size_t n;
	char text[16];
	uint8_t a[4];

	if (url_is_safe(url))
		return true;
	if (strncmp(url, "http://", 7) != 0)
		return false;
	n = strcspn(host, "/?#");
	if (memchr(host, '@', n) != NULL)
		return false;
	n = strcspn(host, ":/?#");
	if (n >= sizeof text)
		return false;
	snprintf(text, sizeof text, "%.*s", (int)n, host);
	return inet_pton(AF_INET, text, a) == 1 && a[0] == 169 && a[1] == 254;
}

/* A name or a value as it may stand in a request's head. */
static bool
is_header(const char *s, const char *not)
{
	for (; *s != '\0'; s++)
		if (*s < ' ' || *s > '~' || strchr(not, *s) != NULL)
			return false;
	return true;
}

static int
parse_headers(struct creds_gcs *c, const char *path, const json_t *o,
    struct why *why)
{
	const char *name, *value;
	char lower[128];
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)o, name, v) {
		value = json_string_value(v);
		if (value == NULL || *name == '\0' ||
		    strlen(name) >= sizeof lower || !is_header(name, " :") ||
		    !is_header(value, ""))
			return why_set(why, -EINVAL, "'%s': credential_source."
			    "headers has what cannot be a header", path);
		for (i = 0; name[i] != '\0'; i++)
			lower[i] = (char)tolower((unsigned char)name[i]);
		lower[i] = '\0';
		http_headers_add(&c->subject_headers, lower, "%s", value);
	}
	return c->subject_headers.err != -E2BIG ? c->subject_headers.err :
	    why_set(why, -EINVAL, "'%s': credential_source.headers are more "
	    "than %d", path, HTTP_HEADERS_MAX);
}

/* Where the subject token is. */
static int
parse_subject(struct creds_gcs *c, const char *path, const json_t *source,
    struct why *why)
{
	static const struct { const char *key, *what; } others[] = {
		{ "environment_id", "AWS" }, { "executable", "an executable" },
		{ "certificate", "a certificate" },
	};
	const json_t *format = json_object_get(source, "format");
	const char *type = json_string_value(json_object_get(format, "type"));
	size_t i;

	for (i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (json_object_get(source, others[i].key) != NULL)
			return why_set(why, -EINVAL, "'%s' gets its subject "
			    "token from %s, which is not supported: have one "
			    "written to a file, and name that in "
			    "credential_source", path, others[i].what);
	}
	if (!take(source, "file", &c->subject_file) &&
	    !take(source, "url", &c->subject_url))
		return lacks(path, "external_account", "credential_source."
		    "file, credential_source.url", why);
	if (c->subject_url != NULL && !url_is_near(c->subject_url))
		return why_set(why, -EINVAL, "'%s': credential_source.url is "
		    "neither https:// nor on this host or its link", path);
	if (c->subject_url != NULL && need_no_user(path, "credential_source."
	    "url", c->subject_url, why) != 0)
		return -EINVAL;
	if (type != NULL && strcmp(type, "json") == 0 &&
	    !take(format, "subject_token_field_name", &c->subject_field))
		return lacks(path, "external_account", "credential_source."
		    "format.subject_token_field_name", why);
	return c->subject_url == NULL ? 0 : parse_headers(c, path,
	    json_object_get(source, "headers"), why);
}

static int
parse_external(struct creds_gcs *c, const char *path, const json_t *o,
    struct why *why)
{
	c->kind = EXTERNAL;
	if (!take(o, "audience", &c->audience) ||
	    !take(o, "subject_token_type", &c->subject_type) ||
	    !take(o, "token_url", &c->url))
		return lacks(path, "external_account", "audience, "
		    "subject_token_type, token_url", why);
	take(o, "service_account_impersonation_url", &c->impersonate);
	if (asprintf(&c->who, "the workload identity of '%s'", path) < 0)
		c->who = NULL;
	return parse_subject(c, path, json_object_get(o, "credential_source"),
	    why);
}

/* Those who act as themselves. */
static const struct type {
	const char	*type;
	int		(*parse)(struct creds_gcs *c, const char *path,
			    const json_t *o, struct why *why);
} types[] = {
	{ "service_account",	parse_service },
	{ "authorized_user",	parse_user },
	{ "external_account",	parse_external },
};

static const struct type *
type_of(const json_t *o)
{
	const char *type = json_string_value(json_object_get(o, "type"));
	size_t i;

	for (i = 0; type != NULL && i < sizeof types / sizeof types[0]; i++) {
		if (strcmp(type, types[i].type) == 0)
			return &types[i];
	}
	return NULL;
}

/* Through whom an account may act as another, in order. */
static int
parse_delegates(struct creds_gcs *c, const char *path, const json_t *o,
    struct why *why)
{
	json_t *v;
	size_t i;

	json_array_foreach(o, i, v)
		if (!json_is_string(v))
			return why_set(why, -EINVAL, "'%s': delegates are "
			    "names of service accounts", path);
	if (json_array_size(o) == 0)
		return 0;
	c->delegates = json_dumps(o, JSON_COMPACT);
	return c->delegates != NULL ? 0 : -ENOMEM;
}

/* As gcloud writes them: who is logged in, and the account he acts as. */
static int
parse_impersonated(struct creds_gcs *c, const char *path, const json_t *o,
    struct why *why)
{
	const json_t *source = json_object_get(o, "source_credentials");
	const struct type *type = type_of(source);
	int err;

	if (type == NULL)
		return why_set(why, -EINVAL, "'%s' is of type "
		    "impersonated_service_account and its source_credentials "
		    "of none that is supported: service_account, "
		    "authorized_user or external_account", path);
	err = type->parse(c, path, source, why);
	if (err != 0)
		return err;
	if (c->impersonate != NULL)
		return why_set(why, -EINVAL, "'%s' acts as an account that "
		    "acts as another, which is not supported: let "
		    "source_credentials have no "
		    "service_account_impersonation_url", path);
	if (!take(o, "service_account_impersonation_url", &c->impersonate))
		return lacks(path, "impersonated_service_account",
		    "service_account_impersonation_url, source_credentials",
		    why);
	return parse_delegates(c, path, json_object_get(o, "delegates"), why);
}

static int
parse_file(struct creds_gcs *c, const char *path, struct buf *text,
    struct why *why)
{
	json_t *o = json_loadb((const char *)text->p, text->len, 0, NULL);
	const char *name = json_string_value(json_object_get(o, "type"));
	const struct type *type = type_of(o);
	int err = -EINVAL;

	if (name == NULL) {
		why_set(why, err, "'%s' is no file of Google credentials: "
		    "JSON with a type is expected", path);
		goto out;
	}
	if (type != NULL) {
		err = type->parse(c, path, o, why);
	} else if (strcmp(name, "impersonated_service_account") == 0) {
		err = parse_impersonated(c, path, o, why);
	} else {
		why_set(why, err, "'%s' is of type %.60s, which is not "
		    "supported: it may be service_account, authorized_user, "
		    "external_account or impersonated_service_account", path,
		    name);
	}
	if (err == 0)
		err = need_url(path, "where tokens are asked for", c->url,
		    why);
	if (err == 0)
		err = need_url(path, "service_account_impersonation_url",
		    c->impersonate, why);
	if (err == 0 && (c->who == NULL || c->url == NULL))
		err = -ENOMEM;
out:
	json_decref(o);
	return err;
}

/* --- where they are looked for --- */

/* A file that must be there, or (optional) may be: -ENOENT then. */
static int
try_file(struct creds_gcs *c, const char *path, bool optional,
    struct why *why)
{
	struct buf text = BUF_INIT;
	int err = secret_read(path, SECRET_FILE_MAX, &text);

	if (err == 0)
		err = parse_file(c, path, &text, why);
	else if (optional && (err == -ENOENT || err == -ENOTDIR))
		err = -ENOENT;
	else if (err != -ENOMEM)
		err = why_set(why, -EINVAL, "the Google credentials '%s' "
		    "cannot be read: %s", path, strerror(-err));
	secret_done(&text);
	return err;
}

static int
use_metadata(struct creds_gcs *c)
{
	const char *host = env_get("GCE_METADATA_HOST");

	c->kind = METADATA;
	c->who = strdup("the account of this machine");
	if (asprintf(&c->url, "http://%s%s", host != NULL ? host :
	    METADATA_HOST, METADATA_PATH) < 0)
		c->url = NULL;
	return c->who != NULL && c->url != NULL ? 0 : -ENOMEM;
}

int
creds_gcs_find(struct creds_gcs *c, const struct creds_gcs_opts *o,
    struct why *why)
{
	const char *named = env_get("GOOGLE_APPLICATION_CREDENTIALS");
	struct buf path = BUF_INIT;
	int err;

	if (o->profile != NULL) {
		err = profile_path(o->profile, &path, why);
		if (err == 0) {
			err = try_file(c, buf_cstr(&path), true, why);
			if (err == -ENOENT)
				err = why_set(why, -EACCES, "no GCS "
				    "credentials: looked for the profile "
				    "'%.80s' at %s: `gcloud auth login` "
				    "makes them", o->profile,
				    buf_cstr(&path));
		}
	} else if (named != NULL) {
		err = try_file(c, named, false, why);
	} else {
		config_path(&path, "", "application_default_credentials.json",
		    "");
		err = try_file(c, buf_cstr(&path), true, why);
		if (err == -ENOENT && !o->no_metadata)
			err = use_metadata(c);
		else if (err == -ENOENT)
			err = why_set(why, -EACCES, "no GCS credentials: "
			    "looked at GOOGLE_APPLICATION_CREDENTIALS in the "
			    "environment, then for %s", buf_cstr(&path));
	}
	buf_done(&path);
	return err;
}

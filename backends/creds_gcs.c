/* creds_gcs: see creds_gcs.h. */
#include "backends/creds_gcs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/creds_aws.h"
#include "backends/creds_jwt.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"

#define FILE_MAX	((size_t)1 << 20)
#define SCOPE		"https://www.googleapis.com/auth/devstorage.read_write"
#define SCOPE_ALL	"https://www.googleapis.com/auth/cloud-platform"
#define TOKEN_URI	"https://oauth2.googleapis.com/token"
#define METADATA_HOST	"metadata.google.internal"
#define METADATA_PATH	"/computeMetadata/v1/instance/service-accounts/" \
			"default/token"
#define JWT_LIFE	3600		/* seconds: the most there is */
#define SKEW_MIN	60		/* seconds that are no skew */

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
	char		*subject_file, *subject_field;	/* field NULL: text */
	char		*impersonate;			/* a URL, or NULL */
	int64_t		 skew;		/* s, the issuer's clock less ours */
};

static const char *
env(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && *s != '\0' ? s : NULL;
}

static void
wipe(char **p)
{
	if (*p != NULL) {
		explicit_bzero(*p, strlen(*p));
		free(*p);
	}
	*p = NULL;
}

static void
buf_wipe(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	buf_done(b);
}

/* --- files --- */

/* Reads the whole of a small file into b.  0 or -errno. */
static int
file_read(const char *path, struct buf *b)
{
	char part[4096];
	off_t off = 0;
	ssize_t n;
	int fd;

	b->max = FILE_MAX;
	fd = sys.open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	while ((n = sys.pread(fd, part, sizeof part, off)) > 0) {
		buf_put(b, part, (size_t)n);
		off += n;
		if (buf_err(b) != 0)
			break;
	}
	explicit_bzero(part, sizeof part);
	sys.close(fd);
	return n < 0 ? (int)n : buf_err(b);
}

/* BEFORE NAME AFTER below gcloud's folder. */
static void
config_path(struct buf *b, const char *before, const char *name,
    const char *after)
{
	const char *dir = env("CLOUDSDK_CONFIG");

	buf_reset(b);
	if (dir != NULL)
		buf_printf(b, "%s/", dir);
	else
		buf_printf(b, "%s/.config/gcloud/", env("HOME") != NULL ?
		    env("HOME") : "");
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
		err = file_read(buf_cstr(path), &text);
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
	const char *host = url + 7;
	size_t n;

	if (strncmp(url, "https://", 8) == 0)
		return true;
	if (strncmp(url, "http://", 7) != 0)
		return false;
	n = strcspn(host, ":/?#");
	if (memchr(host, '@', strcspn(host, "/?#")) != NULL)
		return false;
	return (n == 9 && strncmp(host, "localhost", 9) == 0) ||
	    (strncmp(host, "127.", 4) == 0 &&
	    strspn(host, "0123456789.") == n) ||
	    strncmp(host, "[::1]", 5) == 0;
}

static int
need_url(const char *path, const char *name, const char *url,
    struct why *why)
{
	if (url == NULL || url_is_safe(url))
		return 0;
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

static int
parse_external(struct creds_gcs *c, const char *path, const json_t *o,
    struct why *why)
{
	json_t *source = json_object_get(o, "credential_source");
	json_t *format = json_object_get(source, "format");
	const char *type = json_string_value(json_object_get(format, "type"));

	c->kind = EXTERNAL;
	if (!take(o, "audience", &c->audience) ||
	    !take(o, "subject_token_type", &c->subject_type) ||
	    !take(o, "token_url", &c->url))
		return lacks(path, "external_account", "audience, "
		    "subject_token_type, token_url", why);
	if (!take(source, "file", &c->subject_file))
		return why_set(why, -EINVAL, "'%s' gets its subject token "
		    "from something other than a file, which is not "
		    "supported: have it written to a file, and name that in "
		    "credential_source", path);
	if (type != NULL && strcmp(type, "json") == 0 &&
	    !take(format, "subject_token_field_name", &c->subject_field))
		return lacks(path, "external_account", "credential_source."
		    "format.subject_token_field_name", why);
	take(o, "service_account_impersonation_url", &c->impersonate);
	if (asprintf(&c->who, "the workload identity of '%s'", path) < 0)
		c->who = NULL;
	return need_url(path, "service_account_impersonation_url",
	    c->impersonate, why);
}

static const struct {
	const char	*type;
	int		(*parse)(struct creds_gcs *c, const char *path,
			    const json_t *o, struct why *why);
} types[] = {
	{ "service_account",	parse_service },
	{ "authorized_user",	parse_user },
	{ "external_account",	parse_external },
};

static int
parse_file(struct creds_gcs *c, const char *path, struct buf *text,
    struct why *why)
{
	json_t *o = json_loadb((const char *)text->p, text->len, 0, NULL);
	const char *type = json_string_value(json_object_get(o, "type"));
	size_t i;
	int err = -EINVAL;

	if (type == NULL) {
		why_set(why, err, "'%s' is no file of Google credentials: "
		    "JSON with a type is expected", path);
		goto out;
	}
	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (strcmp(type, types[i].type) == 0)
			break;
	}
	if (i == sizeof types / sizeof types[0]) {
		why_set(why, err, "'%s' is of type %.60s, which is not "
		    "supported: it may be service_account, authorized_user or "
		    "external_account", path, type);
		goto out;
	}
	err = types[i].parse(c, path, o, why);
	if (err == 0)
		err = need_url(path, "where tokens are asked for", c->url,
		    why);
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
	int err = file_read(path, &text);

	if (err == 0)
		err = parse_file(c, path, &text, why);
	else if (optional && (err == -ENOENT || err == -ENOTDIR))
		err = -ENOENT;
	else if (err != -ENOMEM)
		err = why_set(why, -EINVAL, "the Google credentials '%s' "
		    "cannot be read: %s", path, strerror(-err));
	buf_wipe(&text);
	return err;
}

static int
use_metadata(struct creds_gcs *c)
{
	const char *host = env("GCE_METADATA_HOST");

	c->kind = METADATA;
	c->who = strdup("the account of this machine");
	if (asprintf(&c->url, "http://%s%s", host != NULL ? host :
	    METADATA_HOST, METADATA_PATH) < 0)
		c->url = NULL;
	return c->who != NULL && c->url != NULL ? 0 : -ENOMEM;
}

static int
find(struct creds_gcs *c, const struct creds_gcs_opts *o, struct why *why)
{
	const char *named = env("GOOGLE_APPLICATION_CREDENTIALS");
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

/* --- asking --- */

/* Adds name=value as a form has it. */
static void
form_add(struct buf *b, const char *name, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned char ch;

	buf_printf(b, "%s%s=", b->len > 0 ? "&" : "", name);
	for (; *value != '\0'; value++) {
		ch = (unsigned char)*value;
		if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
		    (ch >= '0' && ch <= '9') || strchr("-_.~", ch) != NULL) {
			buf_put_u8(b, ch);
		} else {
			buf_put_u8(b, '%');
			buf_put_u8(b, (uint8_t)hex[ch >> 4]);
			buf_put_u8(b, (uint8_t)hex[ch & 15]);
		}
	}
}

/* POSTs a form; wipes it. */
static int
ask_form(struct creds_gcs *c, const char *who, struct buf *form,
    const struct token_call *call, struct token *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct token_req r = { .who = who, .method = "POST", .url = c->url,
	    .headers = &h, .body = buf_cstr(form) };
	int err = buf_err(form);

	http_headers_add(&h, "content-type",
	    "application/x-www-form-urlencoded");
	if (err == 0)
		err = token_request(c->http, &r, call, ret, why);
	http_headers_done(&h);
	buf_wipe(form);
	return err;
}

/* The text of a JSON object, wiped by who takes it; NULL: no memory. */
static char *
json_text(json_t *o)
{
	char *s = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return s;
}

static int
ask_service_once(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	int64_t now = clock_real() / NSEC_PER_SEC + c->skew;
	struct buf jwt = BUF_INIT, form = BUF_INIT;
	json_t *head = json_pack("{s:s,s:s}", "alg", "RS256", "typ", "JWT");
	char *header, *claims;
	int err = -ENOMEM;

	if (head != NULL && c->key_id != NULL)
		json_object_set_new(head, "kid", json_string(c->key_id));
	header = json_text(head);
	claims = json_text(json_pack("{s:s,s:s,s:s,s:I,s:I}",
	    "iss", c->email, "scope", SCOPE, "aud", c->url,
	    "iat", (json_int_t)now, "exp", (json_int_t)(now + JWT_LIFE)));
	if (header != NULL && claims != NULL)
		err = jwt_sign_rs256(header, claims, c->key, &jwt, why);
	if (err == 0) {
		form_add(&form, "grant_type",
		    "urn:ietf:params:oauth:grant-type:jwt-bearer");
		form_add(&form, "assertion", buf_cstr(&jwt));
		err = ask_form(c, "Google's token server", &form, call, ret,
		    why);
	}
	free(header);
	free(claims);
	buf_wipe(&jwt);
	return err;
}

/* By how much the issuer's clock is ahead of ours, in seconds; 0 where it does
 * not say. */
static int64_t
issuer_skew(struct creds_gcs *c, const struct token_call *call)
{
	struct http_req r = { .method = "GET", .url = c->url, .stall = 5 };
	struct http_resp resp;
	const char *date;
	int64_t theirs = -1;

	if (call != NULL) {
		r.deadline = call->deadline;
		r.cancel = call->cancel;
	}
	if (r.deadline == 0)
		r.deadline = clock_mono() + 5 * NSEC_PER_SEC;
	if (http_perform(c->http, &r, &resp) == HTTP_ANSWERED) {
		date = http_resp_header(&resp, "date");
		if (date != NULL)
			theirs = http_date_parse(date);
	}
	http_resp_done(&resp);
	return theirs < 0 ? 0 : theirs - clock_real() / NSEC_PER_SEC;
}

/* A JWT that is refused may have been made by a wrong clock. */
static int
ask_service(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct why said = { "" };
	int64_t skew;
	int err;

	err = ask_service_once(c, call, ret, &said);
	if (err == -EACCES) {
		skew = issuer_skew(c, call);
		if (llabs((long long)(skew - c->skew)) >= SKEW_MIN) {
			log_warn("this host's clock is wrong",
			    "seconds=%lld by=%s", -(long long)skew,
			    LOG_Q(c->url));
			c->skew = skew;
			said.text[0] = '\0';
			err = ask_service_once(c, call, ret, &said);
		}
	}
	if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s: %s", c->who, said.text);
	return err;
}

static int
ask_user(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct buf form = BUF_INIT;
	struct why said = { "" };
	int err;

	form_add(&form, "grant_type", "refresh_token");
	form_add(&form, "client_id", c->id);
	form_add(&form, "client_secret", c->secret);
	form_add(&form, "refresh_token", c->refresh);
	err = ask_form(c, "Google's token server", &form, call, ret, &said);
	if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s: %s%s", c->who, said.text,
		    err == -EACCES ? ": log in again by `gcloud auth "
		    "application-default login`" : "");
	return err;
}

/* The subject token: the file, or a field of it. */
static int
read_subject(struct creds_gcs *c, struct buf *ret, struct why *why)
{
	struct buf text = BUF_INIT;
	json_t *o = NULL;
	const char *s;
	size_t n;
	int err;

	err = file_read(c->subject_file, &text);
	if (err == -ENOMEM)
		goto out;
	if (err != 0) {
		err = why_set(why, -EINVAL, "the subject token '%s' cannot be "
		    "read: %s", c->subject_file, strerror(-err));
		goto out;
	}
	s = buf_cstr(&text);
	if (c->subject_field != NULL) {
		o = json_loadb(s, text.len, 0, NULL);
		s = json_string_value(json_object_get(o, c->subject_field));
	}
	n = s != NULL ? strlen(s) : 0;
	while (n > 0 && (unsigned char)s[n - 1] <= ' ')
		n--;
	if (n == 0)
		err = why_set(why, -EINVAL, "there is no subject token in "
		    "'%s'%s%s", c->subject_file, c->subject_field != NULL ?
		    " at " : "", c->subject_field != NULL ?
		    c->subject_field : "");
	else
		buf_put(ret, s, n);
out:
	json_decref(o);
	buf_wipe(&text);
	return err != 0 ? err : buf_err(ret);
}

/* For a token of the workload, one of the account that it may act as. */
static int
ask_impersonation(struct creds_gcs *c, const char *workload,
    const struct token_call *call, struct token *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct token_req r = { .who = "Google's IAM", .method = "POST",
	    .url = c->impersonate, .headers = &h,
	    .body = "{\"scope\":[\"" SCOPE "\"],\"lifetime\":\"3600s\"}" };
	int err;

	http_headers_add(&h, "content-type", "application/json");
	http_headers_add(&h, "authorization", "Bearer %s", workload);
	err = token_request(c->http, &r, call, ret, why);
	http_headers_done(&h);
	return err;
}

static int
ask_external(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct buf subject = BUF_INIT, form = BUF_INIT;
	struct token workload = TOKEN_INIT;
	struct why said = { "" };
	int err;

	err = read_subject(c, &subject, &said);
	if (err == 0) {
		form_add(&form, "grant_type",
		    "urn:ietf:params:oauth:grant-type:token-exchange");
		form_add(&form, "audience", c->audience);
		form_add(&form, "scope", c->impersonate != NULL ? SCOPE_ALL :
		    SCOPE);
		form_add(&form, "requested_token_type",
		    "urn:ietf:params:oauth:token-type:access_token");
		form_add(&form, "subject_token_type", c->subject_type);
		form_add(&form, "subject_token", buf_cstr(&subject));
		err = ask_form(c, "Google's token exchange", &form, call,
		    c->impersonate != NULL ? &workload : ret, &said);
	}
	if (err == 0 && c->impersonate != NULL)
		err = ask_impersonation(c, workload.text, call, ret, &said);
	if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s: %s", c->who, said.text);
	token_done(&workload);
	buf_wipe(&subject);
	return err;
}

static int
ask_metadata(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct token_req r = { .who = "the metadata server", .method = "GET",
	    .url = c->url, .headers = &h };
	struct why said = { "" };
	int err;

	http_headers_add(&h, "metadata-flavor", "Google");
	err = token_request(c->http, &r, call, ret, &said);
	http_headers_done(&h);
	if (err == -EHOSTUNREACH)
		why_set(why, err, "no GCS credentials yet: %s; off Google "
		    "Cloud, name a file in GOOGLE_APPLICATION_CREDENTIALS or "
		    "run `gcloud auth application-default login`",
		    why_text(&said, err));
	else if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s", said.text);
	return err;
}

static int
fetch(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	static int (*const ask[])(struct creds_gcs *,
	    const struct token_call *, struct token *, struct why *) = {
		[SERVICE] = ask_service,
		[USER] = ask_user,
		[EXTERNAL] = ask_external,
		[METADATA] = ask_metadata,
	};
	struct creds_gcs *c = arg;

	return ask[c->kind](c, call, ret, why);
}

/* --- all of it --- */

int
creds_gcs_open(const struct creds_gcs_opts *o, struct creds_gcs **ret,
    struct why *why)
{
	struct http_opts ho = { .ca = o->ca };
	struct creds_gcs *c = calloc(1, sizeof *c);
	int err;

	if (c == NULL)
		return -ENOMEM;
	err = find(c, o, why);
	if (err == 0) {
		ho.no_proxy = strncmp(c->url, "http://", 7) == 0;
		err = http_new(&ho, &c->http, why);
	}
	if (err == 0)
		err = token_cache_open("gcs", fetch, c, &c->cache);
	if (err != 0) {
		creds_gcs_close(c);
		return err;
	}
	*ret = c;
	return 0;
}

void
creds_gcs_close(struct creds_gcs *c)
{
	if (c == NULL)
		return;
	token_cache_close(c->cache);
	http_free(c->http);
	wipe(&c->who);
	wipe(&c->url);
	wipe(&c->email);
	wipe(&c->key);
	wipe(&c->key_id);
	wipe(&c->id);
	wipe(&c->secret);
	wipe(&c->refresh);
	wipe(&c->audience);
	wipe(&c->subject_type);
	wipe(&c->subject_file);
	wipe(&c->subject_field);
	wipe(&c->impersonate);
	free(c);
}

int
creds_gcs_get(struct creds_gcs *c, const struct token_call *call,
    char **rettext, struct why *why)
{
	return token_get(c->cache, call, rettext, why);
}

int
creds_gcs_refused(struct creds_gcs *c, const char *text,
    const struct token_call *call, struct why *why)
{
	return token_refused(c->cache, text, call, why);
}

const char *
creds_gcs_who(const struct creds_gcs *c)
{
	return c->who;
}

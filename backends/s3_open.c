/*
 * s3_open: an S3 store from its URL: settings, dialect, server, credentials.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/s3.h"
#include "base/buf.h"
#include "base/url.h"

static int
check_settings(const struct url *u, struct why *why)
{
	static const char *const known[] = { "ca", "checksum", "dialect",
	    "endpoint", "profile", "region", "style", NULL };
	const char *style = url_setting(u, "style");
	const char *sum = url_setting(u, "checksum");
	int err = cloud_settings(u, "an s3://", known, why);

	if (err != 0)
		return err;
	if (style != NULL && strcmp(style, "path") != 0 &&
	    strcmp(style, "virtual") != 0)
		return why_set(why, -EINVAL, "style=%s: it is path or virtual",
		    style);
	if (sum != NULL && strcmp(sum, "crc32c") != 0 &&
	    strcmp(sum, "none") != 0)
		return why_set(why, -EINVAL, "checksum=%s: it is crc32c or "
		    "none", sum);
	return 0;
}

static int
check_bucket(const char *b, struct why *why)
{
	size_t n = strlen(b);

	if (n < 3 || n > 63 || b[0] == '.' || strspn(b, "abcdefghijklmnopqrstuv"
	    "wxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != n)
		return why_set(why, -EINVAL, "'%.80s' is no name of a bucket: "
		    "3 to 63 letters, digits, '-', '.'", b);
	return 0;
}

/* Splits an endpoint into https and host[:port], default ports left out. */
static int
parse_endpoint(const char *e, bool *rethttps, char **rethost, struct why *why)
{
	const char *host = NULL;
	const char *port;
	size_t n;

	if (strncmp(e, "https://", 8) == 0)
		host = e + 8;
	else if (strncmp(e, "http://", 7) == 0)
		host = e + 7;
	n = host != NULL ? strcspn(host, "/?#") : 0;
	if (n == 0 || strchr(host, '@') != NULL ||
	    (host[n] != '\0' && strcmp(host + n, "/") != 0))
		return why_set(why, -EINVAL, "endpoint=%.200s: it is "
		    "http://HOST[:PORT] or https://HOST[:PORT]", e);
	*rethttps = host == e + 8;
	port = *rethttps ? ":443" : ":80";
	if (n > strlen(port) && strncmp(host + n - strlen(port), port,
	    strlen(port)) == 0)
		n -= strlen(port);
	*rethost = strndup(host, n);
	return *rethost != NULL ? 0 : -ENOMEM;
}

/* Fills https, server (not AWS's own) and dialect. */
static int
find_dialect(struct s3 *s, const struct url *u, struct why *why)
{
	const char *endpoint = url_setting(u, "endpoint");
	const char *name = url_setting(u, "dialect");
	const struct s3_dialect *d;
	struct buf names = BUF_INIT;
	int err = 0;

	s->https = true;
	s->aws = endpoint == NULL;
	if (endpoint != NULL)
		err = parse_endpoint(endpoint, &s->https, &s->server, why);
	if (err != 0)
		return err;
	d = name != NULL ? s3_dialect_named(name) :
	    s3_dialect_of(s->server, u->bucket);
	if (d == NULL) {
		s3_dialect_names(&names);
		err = why_set(why, -EINVAL, "dialect=%.40s: it is one of %s",
		    name, buf_cstr(&names));
		buf_done(&names);
		return err;
	}
	atomic_store(&s->dialect, d);
	s->dialect_is_sure = name != NULL || d != s3_dialect_named("s3");
	return 0;
}

/* The server of AWS for the bucket. */
static int
aws_server(const struct s3 *s, char **ret, struct why *why)
{
	const char *china = strncmp(s->region, "cn-", 3) == 0 ? ".cn" : "";
	char zone[64];
	int n;

	if (!s3_dialect(s)->sessions)
		n = asprintf(ret, "s3.%s.amazonaws.com%s", s->region, china);
	else if (s3_dialect_zone(s->bucket, zone))
		n = asprintf(ret, "s3express-%s.%s.amazonaws.com%s", zone,
		    s->region, china);
	else
		return why_set(why, -EINVAL, "'%s' is not the name of a "
		    "directory bucket: BASE--ZONE--x-s3", s->bucket);
	if (n < 0)
		*ret = NULL;
	return n < 0 ? -ENOMEM : 0;
}

/* Fills host, base and path from server, style, region, bucket. */
static int
find_server(struct s3 *s, const struct url *u, struct why *why)
{
	const char *style = url_setting(u, "style");
	bool virtual;
	int err, n;

	/* A dot in the name does not fit AWS's certificates. */
	virtual = s->aws && strchr(s->bucket, '.') == NULL;
	if (style != NULL)
		virtual = strcmp(style, "virtual") == 0;
	err = s->server == NULL ? aws_server(s, &s->server, why) : 0;
	if (err != 0)
		return err;
	s->loopback = url_is_loopback(s->server);
	n = asprintf(&s->host, "%s%s%s", virtual ? s->bucket : "",
	    virtual ? "." : "", s->server);
	if (n < 0) {
		s->host = NULL;
		return -ENOMEM;
	}
	if (asprintf(&s->base, "http%s://%s", s->https ? "s" : "",
	    s->host) < 0) {
		s->base = NULL;
		return -ENOMEM;
	}
	if (asprintf(&s->path, "%s%s", virtual ? "" : "/",
	    virtual ? "" : s->bucket) < 0) {
		s->path = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* The file of certificates of AWS's own tools, or NULL. */
static const char *
aws_ca(void)
{
	const char *ca = getenv("AWS_CA_BUNDLE");

	return ca != NULL && ca[0] != '\0' ? ca : NULL;
}

static int
find_creds(struct s3 *s, const char *profile, struct why *why)
{
	struct creds_aws_opts o = { .profile = profile, .loopback =
	    s->loopback, .region = s->aws ? s->region : NULL,
	    .ca = aws_ca() };
	struct why said = { "" };
	int err;

	err = creds_aws_open(&o, &s->creds, &said);
	if (err == -EACCES && s->loopback && profile == NULL)
		return 0;	/* unsigned requests */
	if (err != 0)
		return why_set(why, err, "bucket '%s': %s", s->bucket,
		    why_text(&said, err));
	if (!s3_dialect(s)->sessions)
		return 0;
	return creds_aws_open_by("CreateSession", s3_session_fetch, s,
	    &s->sessions);
}

static void
set_sizes(struct s3_sizes *to, const struct s3_sizes *from)
{
	static const struct s3_sizes none;

	if (from == NULL)
		from = &none;
	to->single = from->single != 0 ? from->single : 16 * S3_MIB;
	to->part = from->part != 0 ? from->part : 8 * S3_MIB;
	to->copy_single = from->copy_single != 0 ? from->copy_single :
	    5 * 1024 * S3_MIB;
	to->copy_part = from->copy_part != 0 ? from->copy_part :
	    256 * S3_MIB;
}

static int
find_strings(struct s3 *s, const struct url *u)
{
	const char *region = url_setting(u, "region");
	const char *profile = url_setting(u, "profile");
	char said[64];

	if (region == NULL && s3_dialect_region(s3_dialect(s), s->server,
	    said))
		region = said;
	s->profile = strdup(profile != NULL ? profile : "");
	s->url = strdup(u->text);
	s->bucket = strdup(u->bucket);
	s->prefix = cloud_prefix(u);
	s->region = region != NULL ? strdup(region) :
	    creds_aws_region(url_setting(u, "profile"));
	if (s->region == NULL)
		s->region = strdup("us-east-1");
	if (s->url == NULL || s->bucket == NULL || s->prefix == NULL ||
	    s->region == NULL || s->profile == NULL)
		return -ENOMEM;
	return 0;
}

int
s3_open(const struct url *u, const struct s3_sizes *sizes, struct store **ret,
    struct why *why)
{
	struct http_opts o = { .ca = url_setting(u, "ca") };
	const char *sum = url_setting(u, "checksum");
	struct s3 *s;
	int err;

	err = check_settings(u, why);
	if (err == 0)
		err = check_bucket(u->bucket, why);
	if (err != 0)
		return err;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->store.ops = &s3_ops;
	set_sizes(&s->sizes, sizes);
	err = find_dialect(s, u, why);
	if (err == 0)
		atomic_store(&s->checksums, sum != NULL ?
		    strcmp(sum, "none") != 0 : !s3_dialect(s)->no_sums);
	if (err == 0)
		err = find_strings(s, u);
	if (err == 0 && s->region[strspn(s->region, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] != '\0')
		err = why_set(why, -EINVAL, "'%.80s' is no region", s->region);
	s->store.url = s->url;
	if (err == 0)
		err = find_server(s, u, why);
	if (err == 0)
		err = find_creds(s, url_setting(u, "profile"), why);
	if (o.ca == NULL && s->https)
		o.ca = aws_ca();
	else if (o.ca != NULL && o.ca[0] == '\0')
		o.ca = NULL;
	o.no_proxy = s->loopback;
	if (err == 0)
		err = cloud_lines(&o, "gnsfs-s3", &s->http, &s->pool, why);
	if (err != 0) {
		s3_free(&s->store);
		return err;
	}
	*ret = &s->store;
	return 0;
}

int
s3_store_open(const struct url *u, struct store **ret, struct why *why)
{
	return s3_open(u, NULL, ret, why);
}

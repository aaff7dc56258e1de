/*
 * url: see base/url.h.
 *
 * What a person typed may hold a secret in the wrong place, so no message
 * quotes more than the part that it is about, and none quotes user info or
 * the value of a setting.  Bucket and prefix are taken as they stand: a key
 * may have `%` and `#` in it.  A `?` always begins the settings.
 */
#include "base/url.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/hash.h"

#define NAME_LEN_MAX	255	/* bucket, account, container */
#define COMPONENT_MAX	255	/* bytes, of a directory's path */

static const char ALNUM[] = "abcdefghijklmnopqrstuvwxyz"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

static const struct {
	const char	*name;
	enum url_scheme	 scheme;
} schemes[] = {
	{ "file", URL_FILE }, { "s3", URL_S3 }, { "az", URL_AZ },
	{ "gs", URL_GS },
};

static const char *
scheme_name(enum url_scheme scheme)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (schemes[i].scheme == scheme)
			return schemes[i].name;
	}
	return "";
}

static bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* The rest after "scheme://", or NULL. */
static const char *
parse_scheme(const char *text, struct url *u, struct why *why)
{
	const char *sep = strstr(text, "://");
	size_t n = sep ? (size_t)(sep - text) : 0;

	if (!sep || strspn(text, ALNUM) != n) {
		why_set(why, -EINVAL, "this is no URL: write s3://BUCKET/PREFIX"
		    ", az://ACCOUNT/CONTAINER/PREFIX, gs://BUCKET/PREFIX or "
		    "file:///DIR");
		return NULL;
	}
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strlen(schemes[i].name) == n &&
		    strncasecmp(text, schemes[i].name, n) == 0) {
			u->scheme = schemes[i].scheme;
			return sep + 3;
		}
	}
	why_set(why, -EINVAL, "URLs start with s3://, az://, gs:// or "
	    "file://, not with '%.*s://'", n > 20 ? 20 : (int)n, text);
	return NULL;
}

/* A name of n bytes at p, of letters, digits and what `more` has.  New. */
static int
parse_name(const char *p, size_t n, const char *what, const char *more,
    char **ret, struct why *why)
{
	size_t ok;

	if (n == 0)
		return why_set(why, -EINVAL, "the URL names no %s; write "
		    "s3://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX or "
		    "gs://BUCKET/PREFIX", what);
	if (n > NAME_LEN_MAX)
		return why_set(why, -EINVAL, "the %s's name has %zu bytes: "
		    "no store has one over %d", what, n, NAME_LEN_MAX);
	for (ok = 0; ok < n; ok++) {
		if (!strchr(ALNUM, p[ok]) && !strchr(more, p[ok]))
			break;
	}
	if (ok < n && p[ok] == ':')
		return why_set(why, -EINVAL, "the %s's name has a ':' in it: "
		    "host and port go into a setting, as in "
		    "?endpoint=http://HOST:PORT", what);
	if (ok < n)
		return why_set(why, -EINVAL, "the %s's name has '%c' in it: it "
		    "consists of letters, digits and %s", what, p[ok], more);
	if (strspn(p, ".") >= n)
		return why_set(why, -EINVAL, "'%.*s' is no name of a %s",
		    (int)n, p, what);
	*ret = strndup(p, n);
	return *ret ? 0 : -ENOMEM;
}

/* One component of a prefix or path. */
static int
check_component(const char *p, size_t n, bool file, struct why *why)
{
	if (n == 0)
		return why_set(why, -EINVAL, "the prefix has '//' in it: an "
		    "empty component cannot be a directory; write it without");
	if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
		return why_set(why, -EINVAL, "the %s has the component '%.*s': "
		    "write it without", file ? "path" : "prefix", (int)n, p);
	if (n > COMPONENT_MAX && file)
		return why_set(why, -EINVAL, "the path has a component of %zu "
		    "bytes: at most %d are possible", n, COMPONENT_MAX);
	return 0;
}

/*
 * n bytes at p without the slashes at both ends; doubled ones in between are
 * collapsed in a file's path, which begins with a slash, else refused.  New.
 */
static int
parse_prefix(const char *p, size_t n, bool file, char **ret, struct why *why)
{
	const char *end;
	struct buf b = BUF_INIT;
	size_t part;
	int err = 0;

	for (; n > 0 && *p == '/'; n--)
		p++;
	while (n > 0 && p[n - 1] == '/')
		n--;
	for (end = p + n; p < end && !err; p += part + (p + part < end)) {
		const char *slash = memchr(p, '/', end - p);

		part = (slash ? slash : end) - p;
		if (part == 0 && file)
			continue;
		err = check_component(p, part, file, why);
		if (file || b.len)
			buf_put_u8(&b, '/');
		buf_put(&b, p, part);
	}
	if (file && !b.len)
		buf_put_u8(&b, '/');
	if (!err)
		*ret = buf_take(&b, NULL);
	buf_done(&b);
	return err ? err : *ret ? 0 : -ENOMEM;
}

/* Compared by letters and digits only, without case. */
static bool
is_secret(const char *key)
{
	static const char *const ends[] = {
		"key", "secret", "token", "sas", "sig", "signature",
		"password", "passwd", "pwd", "accesskeyid", "credential",
	};
	char flat[64];
	size_t n = 0, m;

	for (; *key && n < sizeof(flat) - 1; key++) {
		if (strchr(ALNUM, *key))
			flat[n++] = *key | 0x20;	/* digits have it */
	}
	flat[n] = '\0';
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		m = strlen(ends[i]);
		if (n >= m && strcmp(flat + n - m, ends[i]) == 0)
			return true;
	}
	return false;
}

static int
secret_in(struct why *why, const char *what)
{
	return why_set(why, -EINVAL, "%s: a URL holds no credentials; they are "
	    "found as the cloud's own tools find them (environment, profile, "
	    "metadata service), and ?profile=NAME chooses a profile", what);
}

/* n bytes at p, percent-decoded.  New. */
static int
decode_value(const char *key, const char *p, size_t n, char **ret,
    struct why *why)
{
	char *to = malloc(n + 1), *d = to;
	uint8_t c;

	if (!to)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		c = p[i];
		if (c == '%' && (n - i < 3 || hex_decode(p + i + 1, 2, &c))) {
			free(to);
			return why_set(why, -EINVAL, "the setting '%s' has a "
			    "%% without two hex digits: write %%25 for a %%",
			    key);
		}
		if (p[i] == '%')
			i += 2;
		*d++ = c;
		if (is_control(c)) {
			free(to);
			return why_set(why, -EINVAL, "the setting '%s' has a "
			    "control character in it", key);
		}
	}
	*d = '\0';
	*ret = to;
	return 0;
}

static int
check_endpoint(const char *v, struct why *why)
{
	const char *host = strstr(v, "://");

	if (!host || (strncasecmp(v, "http://", 7) != 0 &&
	    strncasecmp(v, "https://", 8) != 0))
		return why_set(why, -EINVAL, "the endpoint is no http:// or "
		    "https:// URL: write endpoint=https://HOST[:PORT]");
	host += 3;
	if (memchr(host, '@', strcspn(host, "/?#")))
		return secret_in(why, "the endpoint has a user and '@' in it");
	if (strpbrk(host, "?#"))
		return why_set(why, -EINVAL, "the endpoint has a '?' or '#' in "
		    "it: write only https://HOST[:PORT][/PATH]");
	if (strcspn(host, "/") == 0)
		return why_set(why, -EINVAL, "the endpoint names no host: "
		    "write endpoint=https://HOST[:PORT]");
	return 0;
}

/* One key=value of n bytes. */
static int
parse_setting(const char *p, size_t n, struct url *u, struct why *why)
{
	const char *eq = memchr(p, '=', n);
	size_t klen = eq ? (size_t)(eq - p) : n, i;
	char *key = NULL, *value = NULL;
	int err;

	if (klen == 0)
		err = why_set(why, -EINVAL, "the URL names no setting before "
		    "a '=': write NAME=VALUE");
	else
		err = parse_name(p, klen, "setting", "_-", &key, why);
	if (err)
		goto out;
	if (is_secret(key)) {
		err = secret_in(why, "the URL has a setting for a secret");
		why_prefix(why, err, "setting '%s'", key);
	} else if (!eq) {
		err = why_set(why, -EINVAL, "the setting '%s' has no value: "
		    "write %s=VALUE", key, key);
	} else if (url_setting(u, key)) {
		err = why_set(why, -EINVAL, "the setting '%s' is there twice; "
		    "give it once", key);
	} else if (u->nsettings == URL_SETTINGS) {
		err = why_set(why, -EINVAL, "the URL has more than %d settings",
		    URL_SETTINGS);
	} else {
		err = decode_value(key, eq + 1, n - klen - 1, &value, why);
	}
	if (!err && strcmp(key, "endpoint") == 0)
		err = check_endpoint(value, why);
	if (err)
		goto out;
	for (i = u->nsettings++; i > 0 &&
	    strcmp(u->settings[i - 1].key, key) > 0; i--)
		u->settings[i] = u->settings[i - 1];
	u->settings[i].key = key;
	u->settings[i].value = value;
	key = value = NULL;
out:
	free(key);
	free(value);
	return err;
}

static int
parse_settings(const char *p, struct url *u, struct why *why)
{
	size_t n;
	int err = 0;

	for (; *p && !err; p += n + (p[n] == '&')) {
		n = strcspn(p, "&");
		if (n > 0)
			err = parse_setting(p, n, u, why);
	}
	return err;
}

/* What stands between scheme and settings: n bytes at p. */
static int
parse_place(const char *p, size_t n, struct url *u, struct why *why)
{
	const char *slash = memchr(p, '/', n);
	size_t len = slash ? (size_t)(slash - p) : n;
	int err;

	if (memchr(p, '@', len))
		return secret_in(why, "the URL has a user and '@' in it");
	if (u->scheme == URL_FILE) {
		if (len > 0 || n == 0)
			return why_set(why, -EINVAL, "a directory's URL is "
			    "file:// and an absolute path: file:///DIR");
		return parse_prefix(p, n, true, &u->prefix, why);
	}
	if (u->scheme == URL_AZ) {
		err = parse_name(p, len, "account", "-", &u->account, why);
		if (err)
			return err;
		p += len + (len < n);
		n -= len + (len < n);
		slash = memchr(p, '/', n);
		len = slash ? (size_t)(slash - p) : n;
		err = parse_name(p, len, "container", "-$", &u->bucket, why);
	} else {
		err = parse_name(p, len, "bucket", "._-", &u->bucket, why);
	}
	if (err)
		return err;
	return parse_prefix(p + len, n - len, false, &u->prefix, why);
}

/* What is recorded must be a URL again: encoding makes some longer. */
static int
check_canonical(const struct url *u, struct why *why)
{
	char *s = url_canonical(u);
	size_t n;

	if (!s)
		return -ENOMEM;
	n = strlen(s);
	free(s);
	if (n > URL_MAX)
		return why_set(why, -EINVAL, "the URL has %zu bytes when it "
		    "is written with %%XX for special characters: at most %d "
		    "are possible", n, URL_MAX);
	return 0;
}

int
url_parse(const char *text, struct url *ret, struct why *why)
{
	struct url u = { 0 };
	const char *p;
	size_t n;
	int err = -EINVAL;

	if (strlen(text) > URL_MAX)
		return why_set(why, -EINVAL, "the URL has %zu bytes: at most "
		    "%d are possible", strlen(text), URL_MAX);
	for (p = text; *p; p++) {
		if (is_control(*p))
			return why_set(why, -EINVAL, "the URL has a control "
			    "character in it, at byte %zu", p - text);
	}
	p = parse_scheme(text, &u, why);
	if (!p)
		goto out;
	n = strcspn(p, "?");
	err = parse_place(p, n, &u, why);
	if (!err && p[n])
		err = parse_settings(p + n + 1, &u, why);
	if (err)
		goto out;
	u.text = strdup(text);
	err = u.text ? check_canonical(&u, why) : -ENOMEM;
	if (err)
		goto out;
	*ret = u;
	memset(&u, 0, sizeof(u));
out:
	url_done(&u);
	return err;
}

void
url_done(struct url *u)
{
	if (!u)
		return;
	for (unsigned i = 0; i < u->nsettings; i++) {
		free(u->settings[i].key);
		free(u->settings[i].value);
	}
	free(u->account);
	free(u->bucket);
	free(u->prefix);
	free(u->text);
	memset(u, 0, sizeof(*u));
}

const char *
url_setting(const struct url *u, const char *key)
{
	for (unsigned i = 0; i < u->nsettings; i++) {
		if (strcmp(u->settings[i].key, key) == 0)
			return u->settings[i].value;
	}
	return NULL;
}

static void
put_encoded(struct buf *b, const char *s, const char *keep)
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned char c;

	for (; *s; s++) {
		c = *s;
		if (strchr(ALNUM, c) || strchr("-._~", c) || strchr(keep, c)) {
			buf_put_u8(b, c);
		} else {
			buf_put_u8(b, '%');
			buf_put_u8(b, hex[c >> 4]);
			buf_put_u8(b, hex[c & 15]);
		}
	}
}

bool
url_is_loopback(const char *url)
{
	const char *host = url + strcspn(url, ":/?#");
	size_t n, whole;

	host = strncmp(host, "://", 3) == 0 ? host + 3 : url;
	whole = strcspn(host, "/?#");
	n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
	if (n > whole || memchr(host, '@', whole) != NULL ||
	    strchr(":/?#", host[n]) == NULL)	/* or its NUL */
		return false;
	if (n >= 9 && strncasecmp(host + n - 9, "localhost", 9) == 0)
		return n == 9 || host[n - 10] == '.';
	if (n == 5 && strncmp(host, "[::1]", 5) == 0)
		return true;
	return n > 4 && strncmp(host, "127.", 4) == 0 &&
	    strspn(host, "0123456789.") >= n;
}

char *
url_encode(const char *s, int keep_slash)
{
	struct buf b = BUF_INIT;

	put_encoded(&b, s, keep_slash ? "/" : "");
	return buf_take(&b, NULL);
}

/* An endpoint's scheme and host know no case. */
static size_t
host_end(const char *endpoint)
{
	const char *host = strstr(endpoint, "://");

	host = host ? host + 3 : endpoint;
	return host - endpoint + strcspn(host, "/");
}

static size_t
len_without_slashes(const char *s)
{
	size_t n = strlen(s);

	while (n > 0 && s[n - 1] == '/')
		n--;
	return n;
}

static int
put_endpoint(struct buf *b, const char *s)
{
	size_t host = host_end(s), n = len_without_slashes(s);
	char *norm = strndup(s, n);

	if (!norm)
		return -ENOMEM;
	for (size_t i = 0; i < host && i < n; i++) {
		if (norm[i] >= 'A' && norm[i] <= 'Z')
			norm[i] |= 0x20;
	}
	put_encoded(b, norm, "/:");
	free(norm);
	return 0;
}

char *
url_canonical(const struct url *u)
{
	struct buf b = BUF_INIT;
	int err = 0;

	buf_printf(&b, "%s://", scheme_name(u->scheme));
	if (u->account)
		buf_printf(&b, "%s/", u->account);
	if (u->bucket)
		buf_puts(&b, u->bucket);
	if (u->bucket && u->prefix[0])
		buf_put_u8(&b, '/');
	buf_puts(&b, u->prefix);
	for (unsigned i = 0; i < u->nsettings && !err; i++) {
		buf_put_u8(&b, i ? '&' : '?');
		buf_puts(&b, u->settings[i].key);
		buf_put_u8(&b, '=');
		if (strcmp(u->settings[i].key, "endpoint") == 0)
			err = put_endpoint(&b, u->settings[i].value);
		else
			put_encoded(&b, u->settings[i].value, "/:");
	}
	if (err) {
		buf_done(&b);
		return NULL;
	}
	return buf_take(&b, NULL);
}

static bool
same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool
same_endpoint(const char *a, const char *b)
{
	size_t n, host;

	if (!a || !b)
		return a == b;
	n = len_without_slashes(a);
	host = host_end(a);
	if (n < host)
		host = n;
	return len_without_slashes(b) == n && strncasecmp(a, b, host) == 0 &&
	    strncmp(a + host, b + host, n - host) == 0;
}

int
url_covers(const struct url *outer, const struct url *inner,
    const char **retrest)
{
	const char *rest = inner->prefix;
	size_t n = strlen(outer->prefix);

	if (outer->scheme != inner->scheme ||
	    !same(outer->account, inner->account) ||
	    !same(outer->bucket, inner->bucket) ||
	    !same_endpoint(url_setting(outer, "endpoint"),
	    url_setting(inner, "endpoint")))
		return 0;
	if (strncmp(outer->prefix, rest, n) != 0)
		return 0;
	/* "a" covers "a" and "a/b", not "ab"; "" and "/" cover all */
	if (n > 0 && outer->prefix[n - 1] != '/' && rest[n] && rest[n] != '/')
		return 0;
	rest += n;
	*retrest = *rest == '/' ? rest + 1 : rest;
	return 1;
}

/* creds_aws: see creds_aws.h. */
#include "backends/creds_aws.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/sys.h"

#define FILE_MAX	((size_t)1 << 20)
#define RENEW_EARLY	(300 * NSEC_PER_SEC)
#define ASK_AGAIN	(5 * NSEC_PER_SEC)

struct source {
	const char	*name;
	/* New credentials.  0; -ENOENT: it has none here; else as
	 * creds_aws_open.  profile: the one named by the caller, or NULL. */
	int		(*fetch)(const char *profile, struct aws_creds *ret,
			    struct why *why);
};

struct creds_aws {
	struct lock	 lock;		/* now, asked */
	const struct source *source;
	char		*profile;	/* or NULL */
	struct aws_creds now;
	int64_t		 asked;		/* clock_mono of the last fetch */
};

static void
wipe(char **p)
{
	if (*p != NULL) {
		explicit_bzero(*p, strlen(*p));
		free(*p);
	}
	*p = NULL;
}

void
aws_creds_done(struct aws_creds *c)
{
	if (c == NULL)
		return;
	wipe(&c->id);
	wipe(&c->secret);
	wipe(&c->token);
	c->expires = 0;
}

static int
creds_copy(const struct aws_creds *from, struct aws_creds *ret)
{
	struct aws_creds c = { .expires = from->expires };

	c.id = strdup(from->id);
	c.secret = strdup(from->secret);
	if (from->token != NULL)
		c.token = strdup(from->token);
	if (c.id == NULL || c.secret == NULL ||
	    (from->token != NULL && c.token == NULL)) {
		aws_creds_done(&c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

/* --- environment --- */

static const char *
env(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && *s != '\0' ? s : NULL;
}

static int
env_fetch(const char *profile, struct aws_creds *ret, struct why *why)
{
	struct aws_creds c = { 0 };

	if (profile != NULL || env("AWS_ACCESS_KEY_ID") == NULL ||
	    env("AWS_SECRET_ACCESS_KEY") == NULL)
		return -ENOENT;
	c.id = (char *)env("AWS_ACCESS_KEY_ID");
	c.secret = (char *)env("AWS_SECRET_ACCESS_KEY");
	c.token = (char *)env("AWS_SESSION_TOKEN");
	return creds_copy(&c, ret);
}

/* --- files --- */

static char *
trim(char *s)
{
	char *end;

	while (*s == ' ' || *s == '\t')
		s++;
	end = s + strlen(s);
	while (end > s && (unsigned char)end[-1] <= ' ')
		*--end = '\0';
	return s;
}

int
creds_aws_parse(const char *text, int (*each)(void *arg, const char *section,
    const char *key, const char *value), void *arg, unsigned *retline)
{
	char *copy = strdup(text), *next, *line, *p, *eq;
	const char *section = "";
	unsigned n = 0;
	int err = 0;

	if (copy == NULL)
		return -ENOMEM;
	for (next = copy; err == 0 && next != NULL; ) {
		line = strsep(&next, "\n");
		n++;
		p = trim(line);
		if (*p == '\0' || *p == '#' || *p == ';')
			continue;
		if (*p == '[') {
			eq = strchr(p, ']');
			if (eq == NULL) {
				err = -EINVAL;
				break;
			}
			*eq = '\0';
			section = trim(p + 1);
			continue;
		}
		if (*line == ' ' || *line == '\t')
			continue;	/* nested, as of `s3 =` */
		eq = strchr(p, '=');
		if (eq == NULL) {
			err = -EINVAL;
			break;
		}
		*eq = '\0';
		err = each(arg, section, trim(p), trim(eq + 1));
	}
	*retline = n;
	explicit_bzero(copy, strlen(text));
	free(copy);
	return err;
}

/* What one profile says, over both files. */
struct profile {
	const char	*name;
	bool		 is_config;	/* sections are "profile NAME" there */
	bool		 found;
	char		*id, *secret, *token, *region;
	char		 other[64]; /* a way to credentials we do not know */
};

static void
profile_done(struct profile *p)
{
	wipe(&p->id);
	wipe(&p->secret);
	wipe(&p->token);
	wipe(&p->region);
}

static bool
profile_is(const struct profile *p, const char *section)
{
	if (p->is_config && strcmp(section, "default") != 0) {
		if (strncmp(section, "profile", 7) != 0 ||
		    (section[7] != ' ' && section[7] != '\t'))
			return false;
		for (section += 7; *section == ' ' || *section == '\t'; )
			section++;
	}
	return strcmp(section, p->name) == 0;
}

static int
profile_each(void *arg, const char *section, const char *key,
    const char *value)
{
	static const char *const others[] = { "role_arn", "credential_process",
	    "sso_session", "sso_start_url", "web_identity_token_file" };
	struct profile *p = arg;
	char **to = NULL;
	size_t i;

	if (!profile_is(p, section))
		return 0;
	p->found = true;
	if (strcmp(key, "aws_access_key_id") == 0)
		to = &p->id;
	else if (strcmp(key, "aws_secret_access_key") == 0)
		to = &p->secret;
	else if (strcmp(key, "aws_session_token") == 0)
		to = &p->token;
	else if (strcmp(key, "region") == 0)
		to = &p->region;
	for (i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (strcmp(key, others[i]) == 0)
			snprintf(p->other, sizeof p->other, "%s", key);
	}
	/* What the credentials file says comes first. */
	if (to == NULL || *to != NULL || *value == '\0')
		return 0;
	*to = strdup(value);
	return *to != NULL ? 0 : -ENOMEM;
}

/* Reads the whole of a small file into b.  0, -ENOENT or -errno. */
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

/* The path of one of the two files. */
static void
file_path(const char *var, const char *name, struct buf *ret)
{
	const char *s = env(var);

	if (s == NULL || s[0] == '~') {
		buf_printf(ret, "%s", env("HOME") != NULL ? env("HOME") : "");
		if (s != NULL)
			buf_puts(ret, s + 1);
		else
			buf_printf(ret, "/.aws/%s", name);
	} else {
		buf_puts(ret, s);
	}
}

static int
profile_file(struct profile *p, const char *path, struct why *why)
{
	struct buf b = BUF_INIT;
	unsigned line = 0;
	int err;

	err = file_read(path, &b);
	if (err == -ENOENT || err == -ENOTDIR)
		err = 0;
	else if (err != 0)
		why_set(why, err, "'%s' cannot be read: %s", path,
		    strerror(-err));
	else if ((err = creds_aws_parse(buf_cstr(&b), profile_each, p,
	    &line)) == -EINVAL)
		why_set(why, err, "'%s' makes no sense at line %u: a "
		    "[section] or `key = value` is expected", path, line);
	if (b.p != NULL)
		explicit_bzero(b.p, b.len);
	buf_done(&b);
	return err;
}

static const char *
profile_name(const char *profile)
{
	if (profile != NULL)
		return profile;
	return env("AWS_PROFILE") != NULL ? env("AWS_PROFILE") : "default";
}

static int
profile_load(const char *profile, struct profile *ret, struct why *why)
{
	struct buf path = BUF_INIT;
	struct profile p = { .name = profile_name(profile) };
	int err;

	file_path("AWS_SHARED_CREDENTIALS_FILE", "credentials", &path);
	err = profile_file(&p, buf_cstr(&path), why);
	if (err == 0) {
		p.is_config = true;
		buf_reset(&path);
		file_path("AWS_CONFIG_FILE", "config", &path);
		err = profile_file(&p, buf_cstr(&path), why);
	}
	buf_done(&path);
	if (err != 0)
		profile_done(&p);
	else
		*ret = p;
	return err;
}

static int
file_fetch(const char *profile, struct aws_creds *ret, struct why *why)
{
	struct profile p = { 0 };
	struct aws_creds c = { 0 };
	int err;

	err = profile_load(profile, &p, why);
	if (err != 0)
		return err == -ENOMEM ? err : why_set(why, -EINVAL,
		    "the AWS credentials cannot be read");
	if (p.id != NULL && p.secret != NULL) {
		c.id = p.id;
		c.secret = p.secret;
		c.token = p.token;
		err = creds_copy(&c, ret);
	} else if (p.other[0] != '\0') {
		err = why_set(why, -EINVAL, "the AWS profile '%s' gets its "
		    "credentials by %s, which is not supported: put "
		    "aws_access_key_id and aws_secret_access_key there, or "
		    "set them in the environment", p.name, p.other);
	} else {
		err = -ENOENT;
	}
	profile_done(&p);
	return err;
}

/* --- all of it --- */

/* In the order in which they are asked. */
static const struct source sources[] = {
	{ "environment",	env_fetch },
	{ "files",		file_fetch },
};

static int
say_none(const char *profile, struct why *why)
{
	struct buf c = BUF_INIT, f = BUF_INIT;

	file_path("AWS_SHARED_CREDENTIALS_FILE", "credentials", &c);
	file_path("AWS_CONFIG_FILE", "config", &f);
	why_set(why, -EACCES, "no AWS credentials: looked at %sprofile '%s' "
	    "in %s and in %s", profile == NULL ? "AWS_ACCESS_KEY_ID and "
	    "AWS_SECRET_ACCESS_KEY in the environment, then at " : "",
	    profile_name(profile), buf_cstr(&c), buf_cstr(&f));
	buf_done(&c);
	buf_done(&f);
	return -EACCES;
}

int
creds_aws_open(const char *profile, struct creds_aws **ret, struct why *why)
{
	struct aws_creds got = { 0 };
	struct creds_aws *c;
	size_t i;
	int err = -ENOENT;

	for (i = 0; i < sizeof sources / sizeof sources[0]; i++) {
		err = sources[i].fetch(profile, &got, why);
		if (err != -ENOENT)
			break;
	}
	if (err == -ENOENT)
		return say_none(profile, why);
	if (err != 0)
		return err;
	c = calloc(1, sizeof *c);
	if (c != NULL && profile != NULL)
		c->profile = strdup(profile);
	if (c == NULL || (profile != NULL && c->profile == NULL)) {
		free(c);
		aws_creds_done(&got);
		return -ENOMEM;
	}
	lock_init(&c->lock, RANK_STORE, "creds");
	c->source = &sources[i];
	c->now = got;
	c->asked = clock_mono();
	*ret = c;
	return 0;
}

void
creds_aws_close(struct creds_aws *c)
{
	if (c == NULL)
		return;
	lock_done(&c->lock);
	aws_creds_done(&c->now);
	free(c->profile);
	free(c);
}

/* Fetches anew; one thread at a time does, without the lock. */
static void
renew(struct creds_aws *c)
{
	struct aws_creds got = { 0 }, old;
	struct why why = { "" };
	int err;

	err = c->source->fetch(c->profile, &got, &why);
	if (err != 0) {
		log_warn("credentials not renewed", "source=%s why=%s",
		    c->source->name, LOG_Q(why_text(&why, err)));
		return;
	}
	lock_take(&c->lock);
	old = c->now;
	c->now = got;
	lock_drop(&c->lock);
	aws_creds_done(&old);
}

/* With the lock held: is it this thread's turn to ask the source? */
static bool
may_ask(struct creds_aws *c)
{
	int64_t t = clock_mono();

	if (t - c->asked < ASK_AGAIN)
		return false;
	c->asked = t;
	return true;
}

int
creds_aws_get(struct creds_aws *c, struct aws_creds *ret)
{
	bool ask;
	int err;

	lock_take(&c->lock);
	ask = c->now.expires != 0 &&
	    clock_real() > c->now.expires - RENEW_EARLY && may_ask(c);
	lock_drop(&c->lock);
	if (ask)
		renew(c);
	lock_take(&c->lock);
	err = creds_copy(&c->now, ret);
	lock_drop(&c->lock);
	return err;
}

bool
creds_aws_refused(struct creds_aws *c, const char *id)
{
	bool ask, other;

	lock_take(&c->lock);
	ask = strcmp(c->now.id, id) == 0 && may_ask(c);
	lock_drop(&c->lock);
	if (ask)
		renew(c);
	lock_take(&c->lock);
	other = strcmp(c->now.id, id) != 0;
	lock_drop(&c->lock);
	return other;
}

char *
creds_aws_region(const char *profile)
{
	struct profile p = { 0 };
	char *region = NULL;

	if (profile == NULL && env("AWS_REGION") != NULL)
		return strdup(env("AWS_REGION"));
	if (profile == NULL && env("AWS_DEFAULT_REGION") != NULL)
		return strdup(env("AWS_DEFAULT_REGION"));
	if (profile_load(profile, &p, NULL) == 0) {
		region = p.region;
		p.region = NULL;
		profile_done(&p);
	}
	if (region == NULL && env("AWS_REGION") != NULL)
		region = strdup(env("AWS_REGION"));
	return region;
}

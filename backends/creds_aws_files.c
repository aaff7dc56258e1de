/*
 * creds_aws_files: AWS's two files (creds_aws.h), their format and what a
 * profile of theirs says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/creds_aws_impl.h"
#include "base/env.h"
#include "base/sys.h"


/* --- the format --- */

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

/* --- a profile --- */

/* A profile while it is read. */
struct reading {
	struct aws_profile	*p;
	const char		*name;
	bool			 is_config;	/* sections: "profile NAME" */
};

static bool
is_its_section(const struct reading *r, const char *section)
{
	if (r->is_config && strcmp(section, "default") != 0) {
		if (strncmp(section, "profile", 7) != 0 ||
		    (section[7] != ' ' && section[7] != '\t'))
			return false;
		for (section += 7; *section == ' ' || *section == '\t'; )
			section++;
	}
	return strcmp(section, r->name) == 0;
}

static int
profile_each(void *arg, const char *section, const char *key,
    const char *value)
{
	static const char *const others[] = { "credential_process",
	    "login_session", "sso_session", "sso_start_url" };
	const struct reading *r = arg;
	struct aws_profile *p = r->p;
	const struct { const char *key; char **to; } fields[] = {
		{ "aws_access_key_id", &p->id },
		{ "aws_secret_access_key", &p->secret },
		{ "aws_session_token", &p->token },
		{ "credential_source", &p->credential_source },
		{ "duration_seconds", &p->duration },
		{ "external_id", &p->external_id },
		{ "region", &p->region },
		{ "role_arn", &p->role },
		{ "role_session_name", &p->session_name },
		{ "source_profile", &p->source },
		{ "web_identity_token_file", &p->web_file },
	};
	char **to = NULL;
	size_t i;

	if (!is_its_section(r, section))
		return 0;
	p->found = true;
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (strcmp(key, fields[i].key) == 0)
			to = fields[i].to;
	}
	for (i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (strcmp(key, others[i]) == 0) {
			to = &p->other;
			value = others[i];
		}
	}
	/* What the credentials file says comes first. */
	if (to == NULL || *to != NULL || *value == '\0')
		return 0;
	*to = strdup(value);
	return *to != NULL ? 0 : -ENOMEM;
}

void
aws_profile_done(struct aws_profile *p)
{
	secret_free(&p->id);
	secret_free(&p->secret);
	secret_free(&p->token);
	secret_free(&p->region);
	secret_free(&p->role);
	secret_free(&p->source);
	secret_free(&p->credential_source);
	secret_free(&p->web_file);
	secret_free(&p->external_id);
	secret_free(&p->session_name);
	secret_free(&p->duration);
	secret_free(&p->other);
}

int
aws_profile_creds(const struct aws_profile *p, struct aws_creds *ret)
{
	if (p->id == NULL || p->secret == NULL)
		return -ENOENT;
	return aws_creds_take(p->id, p->secret, p->token, ret);
}

const char *
aws_profile_name(const char *named)
{
	if (named != NULL)
		return named;
	named = env_get("AWS_PROFILE");
	return named != NULL ? named : "default";
}

/* --- the files --- */

/* The path of one of the two files. */
static void
file_path(const char *var, const char *name, struct buf *ret)
{
	const char *home = env_get("HOME"), *s = env_get(var);

	if (s == NULL || s[0] == '~') {
		buf_puts(ret, home != NULL ? home : "");
		if (s != NULL)
			buf_puts(ret, s + 1);
		else
			buf_printf(ret, "/.aws/%s", name);
	} else {
		buf_puts(ret, s);
	}
}

static void
credentials_path(struct buf *ret)
{
	file_path("AWS_SHARED_CREDENTIALS_FILE", "credentials", ret);
}

static void
config_path(struct buf *ret)
{
	file_path("AWS_CONFIG_FILE", "config", ret);
}

void
aws_profile_paths(struct buf *ret)
{
	credentials_path(ret);
	buf_puts(ret, " and in ");
	config_path(ret);
}

static int
profile_file(struct reading *r, const char *path, struct why *why)
{
	struct buf b = BUF_INIT;
	unsigned line = 0;
	int err;

	err = secret_read(path, SECRET_FILE_MAX, &b);
	if (err == -ENOENT || err == -ENOTDIR) {
		err = 0;
	} else if (err == -ENOMEM) {
		;
	} else if (err != 0) {
		err = why_set(why, -EINVAL, "'%s' cannot be read: %s", path,
		    strerror(-err));
	} else {
		err = creds_aws_parse(buf_cstr(&b), profile_each, r, &line);
		if (err == -EINVAL)
			why_set(why, err, "'%s' makes no sense at line %u: a "
			    "[section] or `key = value` is expected", path,
			    line);
	}
	secret_done(&b);
	return err;
}

int
aws_profile_load(const char *name, struct aws_profile *ret, struct why *why)
{
	struct aws_profile p = { 0 };
	struct reading r = { .p = &p, .name = name };
	struct buf path = BUF_INIT;
	int err;

	credentials_path(&path);
	err = profile_file(&r, buf_cstr(&path), why);
	if (err == 0) {
		r.is_config = true;
		buf_reset(&path);
		config_path(&path);
		err = profile_file(&r, buf_cstr(&path), why);
	}
	buf_done(&path);
	if (err != 0)
		aws_profile_done(&p);
	else
		*ret = p;
	return err;
}

char *
creds_aws_region(const char *profile)
{
	struct aws_profile p = { 0 };
	char *region = NULL;

	if (profile == NULL && env_get("AWS_REGION") != NULL)
		return strdup(env_get("AWS_REGION"));
	if (profile == NULL && env_get("AWS_DEFAULT_REGION") != NULL)
		return strdup(env_get("AWS_DEFAULT_REGION"));
	if (aws_profile_load(aws_profile_name(profile), &p, NULL) == 0) {
		region = p.region;
		p.region = NULL;
		aws_profile_done(&p);
	}
	if (region == NULL && env_get("AWS_REGION") != NULL)
		region = strdup(env_get("AWS_REGION"));
	return region;
}

/* s3_server: an HTTP server (http_server.h) with a store of S3 on it. */
#ifndef TEST_S3_SERVER_H
#define TEST_S3_SERVER_H

#include "test/unit/http_server.h"

/* No credentials but what a test sets; no instance's. */
static UNUSED void
aws_env_clear(void)
{
	static const char *const names[] = { "AWS_ACCESS_KEY_ID",
	    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
	    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE",
	    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
	    "AWS_ROLE_SESSION_NAME", "AWS_ENDPOINT_URL",
	    "AWS_ENDPOINT_URL_STS", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
	    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
	setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
}

/* Starts it and opens a store on it: bucket "lake", prefix "pre", with these
 * settings, too. */
static UNUSED void
server_begin_as(enum action (*answer)(struct request *, struct buf *),
    const struct s3_sizes *sizes, const char *settings)
{
	struct why why = { "" };
	struct url u;

	server_listen(answer);
	aws_env_clear();
	setenv("AWS_ACCESS_KEY_ID", "AKIATESTTEST", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "verysecret", 1);
	snprintf(server.url, sizeof(server.url),
	    "s3://lake/pre?endpoint=http://127.0.0.1:%d&%s", server.port,
	    settings);
	ck_assert_msg(url_parse(server.url, &u, &why) == 0, "%s", why.text);
	ck_assert_msg(s3_open(&u, sizes, &server.s, &why) == 0, "%s",
	    why.text);
	url_done(&u);
}

static UNUSED void
server_begin(enum action (*answer)(struct request *, struct buf *),
    const struct s3_sizes *sizes)
{
	server_begin_as(answer, sizes, "region=us-east-1");
}

static UNUSED enum action
say_error(struct buf *out, int status, const char *code)
{
	char body[512];

	snprintf(body, sizeof(body), "<?xml version=\"1.0\"?><Error><Code>%s"
	    "</Code><Message>because</Message></Error>", code);
	return say(out, status, "", code[0] != '\0' ? body : "");
}

#endif

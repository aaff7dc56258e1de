/* s3_server: an HTTP server (http_server.h) with a store of S3 on it. */
#ifndef TEST_S3_SERVER_H
#define TEST_S3_SERVER_H

#include "test/unit/http_server.h"

/* Starts it and opens a store on it: bucket "lake", prefix "pre". */
static UNUSED void
server_begin(enum action (*answer)(struct request *, struct buf *),
    const struct s3_sizes *sizes)
{
	struct why why = { "" };
	struct url u;

	server_listen(answer);
	setenv("AWS_ACCESS_KEY_ID", "AKIATESTTEST", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "verysecret", 1);
	unsetenv("AWS_SESSION_TOKEN");
	snprintf(server.url, sizeof(server.url),
	    "s3://lake/pre?endpoint=http://127.0.0.1:%d&region=us-east-1",
	    server.port);
	ck_assert_msg(url_parse(server.url, &u, &why) == 0, "%s", why.text);
	ck_assert_msg(s3_open(&u, sizes, &server.s, &why) == 0, "%s",
	    why.text);
	url_done(&u);
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

/* azure_server: an HTTP server (http_server.h) with a container on it. */
#ifndef TEST_AZURE_SERVER_H
#define TEST_AZURE_SERVER_H

#include "backends/azure.h"
#include "test/unit/http_server.h"

#define KEY	"c2VjcmV0IGtleSBvZiBhIHRlc3Q="	/* secret key of a test */

/* No credentials but what a test sets. */
static UNUSED void
env_clear(void)
{
	static const char *const names[] = { "AZURE_STORAGE_CONNECTION_STRING",
	    "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY",
	    "AZURE_STORAGE_SAS_TOKEN", "AZURE_TENANT_ID", "AZURE_CLIENT_ID",
	    "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
	    "AZURE_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "IDENTITY_HEADER",
	    "AZURE_POD_IDENTITY_AUTHORITY_HOST" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}

/* Opens a store on the server, which listens: container "lake" of account
 * "acct", prefix "pre", by what credentials the environment says. */
static UNUSED void
azure_begin(const struct azure_sizes *sizes)
{
	struct why why = { "" };
	struct url u;

	snprintf(server.url, sizeof(server.url),
	    "az://acct/lake/pre?endpoint=http://127.0.0.1:%d/acct",
	    server.port);
	ck_assert_msg(url_parse(server.url, &u, &why) == 0, "%s", why.text);
	ck_assert_msg(azure_open(&u, sizes, &server.s, &why) == 0, "%s",
	    why.text);
	url_done(&u);
}

/* The same with a key. */
static UNUSED void
server_begin(enum action (*answer)(struct request *, struct buf *),
    const struct azure_sizes *sizes)
{
	server_listen(answer);
	env_clear();
	setenv("AZURE_STORAGE_KEY", KEY, 1);
	azure_begin(sizes);
}

static UNUSED enum action
say_error(struct buf *out, int status, const char *code)
{
	char body[512], header[128] = "";

	if (code[0] != '\0')
		snprintf(header, sizeof(header), "x-ms-error-code: %s\r\n",
		    code);
	snprintf(body, sizeof(body), "\xef\xbb\xbf<?xml version=\"1.0\"?>"
	    "<Error><Code>%s</Code><Message>because\nRequestId:1</Message>"
	    "</Error>", code);
	return say(out, status, header, code[0] != '\0' ? body : "");
}

#endif

/* gcs_server: an HTTP server (http_server.h) with a store of GCS on it, and
 * what GCS's answers look like. */
#ifndef TEST_GCS_SERVER_H
#define TEST_GCS_SERVER_H

#include "backends/gcs.h"
#include "backends/sigv4.h"
#include "test/unit/http_server.h"

/* Nobody's credentials but the test's. */
static UNUSED void
gcs_no_creds(void)
{
	unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
	unsetenv("STORAGE_EMULATOR_HOST");
	unsetenv("GCE_METADATA_HOST");
	setenv("CLOUDSDK_CONFIG", "/nonexistent/gcloud", 1);
}

static UNUSED struct store *
gcs_store(const char *settings, const struct gcs_sizes *sizes)
{
	struct why why = { "" };
	struct store *s = NULL;
	struct url u;

	snprintf(server.url, sizeof(server.url),
	    "gs://lake/pre?endpoint=http://127.0.0.1:%d%s", server.port,
	    settings);
	ck_assert_msg(url_parse(server.url, &u, &why) == 0, "%s", why.text);
	ck_assert_msg(gcs_open(&u, sizes, &s, &why) == 0, "%s", why.text);
	url_done(&u);
	return s;
}

/* Starts it and opens a store on it: bucket "lake", prefix "pre". */
static UNUSED void
gcs_begin(enum action (*answer)(struct request *, struct buf *),
    const char *settings, const struct gcs_sizes *sizes)
{
	server_listen(answer);
	gcs_no_creds();
	server.s = gcs_store(settings, sizes);
}

static UNUSED enum action
say_fault(struct buf *out, int status, const char *reason)
{
	char body[512];

	snprintf(body, sizeof(body), "{\"error\":{\"code\":%d,\"message\":"
	    "\"because\",\"errors\":[{\"reason\":\"%s\"}]}}", status, reason);
	return say(out, status, "Content-Type: application/json\r\n", body);
}

/* An object resource; crc NULL: none said. */
static UNUSED enum action
say_object(struct buf *out, uint64_t size, unsigned generation,
    const char *crc)
{
	char body[512];

	snprintf(body, sizeof(body), "{\"name\":\"pre/k\",\"size\":\"%llu\","
	    "\"generation\":\"%u\",\"timeCreated\":"
	    "\"2026-11-21T10:00:00.5Z\"%s%s%s}", (unsigned long long)size,
	    generation, crc != NULL ? ",\"crc32c\":\"" : "",
	    crc != NULL ? crc : "", crc != NULL ? "\"" : "");
	return say(out, 200, "Content-Type: application/json\r\n", body);
}

static UNUSED bool
has(const struct request *q, const char *method, const char *text)
{
	return strcmp(q->method, method) == 0 &&
	    strstr(q->target, text) != NULL;
}

#endif

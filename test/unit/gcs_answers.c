/*
 * gcs_answers: what the GCS backend makes of a service's answers, and of
 * answers that are lost: results, conditions, sentences.  Sessions, copies
 * and parts: gcs_uploads.c.
 */
#include "test/unit/gcs_server.h"

static struct why why;
static struct store_call call = { .why = &why };

static int status_now;
static const char *reason_now;
static char seen[8][1024];		/* targets of the requests */
static _Atomic int nseen;

static void
note(const struct request *q)
{
	int i = atomic_fetch_add(&nseen, 1);

	if (i < 8)
		snprintf(seen[i], sizeof(seen[i]), "%s %.1000s", q->method,
		    q->target);
}

static enum store_rc
put(enum store_cond cond, const struct store_version *match)
{
	struct store_info info;

	why.text[0] = '\0';
	atomic_store(&nseen, 0);
	return store_put_mem(server.s, &call, "k", cond, match, "bytes", 5,
	    &info);
}

static int
gather(void *arg, const void *p, size_t n)
{
	buf_put(arg, p, n);
	return 0;
}

static enum store_rc
get(const char *version, uint64_t off, uint64_t len, struct buf *b)
{
	struct store_version v = { "" };

	snprintf(v.text, sizeof(v.text), "%s", version);
	why.text[0] = '\0';
	atomic_store(&nseen, 0);
	buf_reset(b);
	return store_get(server.s, &call, "k", &v, off, len, gather, b, NULL);
}

/* --- errors --- */

static enum action
answer_status(struct request *q, struct buf *out)
{
	note(q);
	return reason_now != NULL ? say_fault(out, status_now, reason_now) :
	    say(out, status_now, "", "a sentence");
}

static const struct {
	int		 status;
	const char	*reason;
	enum store_rc	 put, list;
} errors[] = {
	{ 400, "invalid",	STORE_INVALID,	STORE_INVALID },
	{ 401, "authError",	STORE_DENIED,	STORE_DENIED },
	{ 403, "forbidden",	STORE_DENIED,	STORE_DENIED },
	{ 403, "rateLimitExceeded", STORE_THROTTLED, STORE_THROTTLED },
	{ 403, "retentionPolicyNotMet", STORE_UNSUPPORTED,
	    STORE_UNSUPPORTED },
	{ 404, "notFound",	STORE_ABSENT,	STORE_ABSENT },
	{ 404, NULL,		STORE_BROKEN,	STORE_BROKEN },
	{ 408, NULL,		STORE_AMBIGUOUS, STORE_THROTTLED },
	{ 409, "conflict",	STORE_THROTTLED, STORE_THROTTLED },
	{ 412, "conditionNotMet", STORE_EXISTS,	STORE_CHANGED },
	{ 413, NULL,		STORE_INVALID,	STORE_INVALID },
	{ 429, "rateLimitExceeded", STORE_THROTTLED, STORE_THROTTLED },
	{ 429, NULL,		STORE_THROTTLED, STORE_THROTTLED },
	{ 500, "backendError",	STORE_AMBIGUOUS, STORE_BROKEN },
	{ 501, NULL,		STORE_UNSUPPORTED, STORE_UNSUPPORTED },
	{ 502, NULL,		STORE_AMBIGUOUS, STORE_BROKEN },
	{ 503, "backendError",	STORE_AMBIGUOUS, STORE_THROTTLED },
	{ 504, NULL,		STORE_AMBIGUOUS, STORE_BROKEN },
	{ 200, NULL,		STORE_AMBIGUOUS, STORE_BROKEN },
	{ 302, NULL,		STORE_INVALID,	STORE_INVALID },
};

START_TEST(statuses)
{
	struct store_list l = { .prefix = "" };

	status_now = errors[_i].status;
	reason_now = errors[_i].reason;
	gcs_begin(answer_status, "", NULL);
	ck_rc(put(STORE_IF_ABSENT, NULL), errors[_i].put);	/* L2 */
	ck_assert_msg(strstr(why.text, "'lake'") != NULL, "%s", why.text);
	why.text[0] = '\0';
	ck_rc(store_list(server.s, &call, &l, help_each, NULL),
	    errors[_i].list);
	ck_assert_msg(strstr(why.text, "'lake'") != NULL, "%s", why.text);
	server_end();
}
END_TEST

START_TEST(sentences)
{
	status_now = 403;
	reason_now = "forbidden";
	gcs_begin(answer_status, "", NULL);
	ck_rc(put(STORE_ALWAYS, NULL), STORE_DENIED);
	ck_assert_str_eq(why.text, "bucket 'lake' answers 403 forbidden to PUT "
	    "of 'k': no credentials were found, so the request had none");
	status_now = 429;
	reason_now = "rateLimitExceeded";
	ck_rc(put(STORE_ALWAYS, NULL), STORE_THROTTLED);
	ck_assert_str_eq(why.text, "bucket 'lake' answers 429 "
	    "rateLimitExceeded to PUT of 'k': slow down: because");
	status_now = 404;
	reason_now = NULL;
	ck_rc(put(STORE_ALWAYS, NULL), STORE_BROKEN);
	ck_assert_msg(strstr(why.text, "is there a GCS server at http://127."
	    "0.0.1:") != NULL, "%s", why.text);
	server_end();
}
END_TEST

/* --- conditions --- */

static enum action
answer_conditions(struct request *q, struct buf *out)
{
	note(q);
	if (has(q, "GET", "/o/pre%2Fk"))
		return status_now == 404 ? say_fault(out, 404, "notFound") :
		    status_now != 200 ? say_fault(out, status_now, "x") :
		    say_object(out, 5, 8, NULL);
	return say_fault(out, 412, "conditionNotMet");
}

START_TEST(conditions)
{
	struct store_version v = { "e:7" }, odd = { "e:none" };

	status_now = 200;
	gcs_begin(answer_conditions, "", NULL);
	ck_rc(put(STORE_IF_ABSENT, NULL), STORE_EXISTS);
	ck_assert_int_eq(nseen, 1);
	ck_assert_ptr_nonnull(strstr(seen[0], "ifGenerationMatch=0&"));
	ck_rc(put(STORE_IF_MATCH, &v), STORE_CHANGED);
	ck_assert_ptr_nonnull(strstr(seen[0], "ifGenerationMatch=7&"));
	/* 412 is also what a missing one is answered with. */
	status_now = 404;
	ck_rc(put(STORE_IF_MATCH, &v), STORE_ABSENT);
	ck_assert_str_eq(why.text, "");
	ck_rc(put(STORE_IF_MATCH, &odd), STORE_ABSENT);
	ck_assert_int_eq(nseen, 1);
	/* Which of them cannot be known: why not is said. */
	status_now = 503;
	ck_rc(put(STORE_IF_MATCH, &odd), STORE_THROTTLED);
	ck_assert_msg(strstr(why.text, "answers 503") != NULL, "%s",
	    why.text);
	ck_rc(put(STORE_IF_MATCH, &v), STORE_THROTTLED);
	ck_assert_msg(strstr(why.text, "answers 503") != NULL, "%s",
	    why.text);
	status_now = 200;
	ck_rc(put(STORE_IF_MATCH, &odd), STORE_CHANGED);
	ck_rc(put(STORE_IF_MATCH, NULL), STORE_INVALID);
	atomic_store(&nseen, 0);
	ck_rc(store_del(server.s, &call, "k", &v), STORE_CHANGED);
	v = (struct store_version){ "e:8" };
	atomic_store(&nseen, 0);
	ck_rc(store_del(server.s, &call, "k", &v), STORE_CHANGED);
	ck_assert_str_eq(seen[1], "DELETE /storage/v1/b/lake/o/pre%2Fk?"
	    "ifGenerationMatch=8");
	server_end();
}
END_TEST

/* --- a put's request, and what is lost --- */

static enum action
answer_put(struct request *q, struct buf *out)
{
	const char *body = buf_cstr(&q->body);

	note(q);
	ck_assert_ptr_nonnull(strcasestr(q->head,
	    "content-type: multipart/related; boundary="));
	ck_assert_ptr_nonnull(strstr(body, "\"name\":\"pre/k\""));
	ck_assert_ptr_nonnull(strstr(body, "\"crc32c\":\"0G6ckg==\""));
	ck_assert_ptr_nonnull(strstr(body, "\r\n\r\nbytes\r\n--"));
	ck_assert_ptr_null(strcasestr(q->head, "authorization"));
	if (status_now == 0)
		return HANG_UP;
	say_object(out, 5, 99, NULL);
	return status_now == 1 ? RESET_HALF : ANSWER;
}

START_TEST(put_request)
{
	struct store_info info;

	gcs_begin(answer_put, "", NULL);
	status_now = 200;
	ck_rc(store_put_mem(server.s, &call, "k", STORE_ALWAYS, NULL, "bytes",
	    5, &info), STORE_OK);
	ck_assert_str_eq(info.version.text, "e:99");
	ck_assert_uint_eq(info.size, 5);
	ck_assert_int_eq(info.mtime, INT64_C(1795255200500000000));
	status_now = 0;
	ck_rc(put(STORE_IF_ABSENT, NULL), STORE_AMBIGUOUS);	/* L2 */
	ck_assert_int_eq(nseen, 1);	/* it is not sent twice */
	status_now = 1;
	ck_rc(put(STORE_IF_ABSENT, NULL), STORE_AMBIGUOUS);
	server_end();
}
END_TEST

/* --- gets (B5) --- */

static const char *media_head, *media_body;
static int media_status;

static enum action
answer_media(struct request *q, struct buf *out)
{
	note(q);
	if (strstr(q->target, "alt=media") == NULL)
		return status_now == 404 ? say_fault(out, 404, "notFound") :
		    say_object(out, status_now == 1 ? 0 : 10, 7, NULL);
	ck_assert_ptr_nonnull(strcasestr(q->head, "accept-encoding: gzip"));
	return say(out, media_status, media_head, media_body);
}

static const struct {
	int		 status;
	const char	*head, *body;
	uint64_t	 off, len;
	enum store_rc	 rc;
} media[] = {
	{ 200, "x-goog-generation: 7\r\n", "0123456789", 0, 0, STORE_OK },
	{ 200, "x-goog-generation: 7\r\nx-goog-hash: crc32c=KAwGng==,md5=x"
	    "\r\n", "0123456789", 0, 0, STORE_OK },
	{ 200, "x-goog-generation: 7\r\nx-goog-hash: crc32c=AAAAAA==\r\n",
	    "0123456789", 0, 0, STORE_BROKEN },
	/* An emulator that ignores the condition. */
	{ 200, "x-goog-generation: 8\r\n", "0123456789", 0, 0,
	    STORE_CHANGED },
	{ 412, "", "pre-conditions", 0, 0, STORE_CHANGED },
	{ 200, "", "0123456789", 0, 0, STORE_BROKEN },
	{ 204, "", "", 0, 0, STORE_BROKEN },		/* of which object? */
	{ 206, "x-goog-generation: 7\r\nContent-Range: bytes 2-4/10\r\n",
	    "234", 2, 3, STORE_OK },
	{ 206, "x-goog-generation: 7\r\nContent-Range: bytes 3-5/10\r\n",
	    "345", 2, 3, STORE_BROKEN },
	{ 206, "x-goog-generation: 7\r\nContent-Range: bytes 2-3/10\r\n",
	    "23", 2, 3, STORE_BROKEN },
	{ 206, "x-goog-generation: 7\r\n", "234", 2, 3, STORE_BROKEN },
	{ 200, "x-goog-generation: 7\r\n", "0123456789", 2, 3,
	    STORE_BROKEN },
	{ 416, "", "range", 10, 3, STORE_INVALID },
	{ 404, "", "No such object: lake/pre/k", 0, 0, STORE_BROKEN },
	{ 403, "", "forbidden", 0, 0, STORE_DENIED },
	{ 500, "", "oops", 0, 0, STORE_BROKEN },
	{ 503, "", "oops", 0, 0, STORE_THROTTLED },
	{ 429, "", "oops", 0, 0, STORE_THROTTLED },
};

START_TEST(get_media)
{
	struct buf b = BUF_INIT;

	status_now = 200;
	media_status = media[_i].status;
	media_head = media[_i].head;
	media_body = media[_i].body;
	gcs_begin(answer_media, "", NULL);
	ck_rc(get("e:7", media[_i].off, media[_i].len, &b), media[_i].rc);
	ck_assert_str_eq(seen[0], "GET /storage/v1/b/lake/o/pre%2Fk?alt=media"
	    "&ifGenerationMatch=7");
	if (media[_i].rc == STORE_OK)
		ck_assert_str_eq(buf_cstr(&b), media_body);
	else if (strstr(media_head, "AAAAAA") == NULL)
		ck_assert_uint_eq(b.len, 0);
	if (media[_i].rc != STORE_OK)
		ck_assert_msg(strstr(why.text, "'lake'") != NULL, "%s",
		    why.text);
	buf_done(&b);
	server_end();
}
END_TEST

/* A 404 to media is no JSON: the object is asked for. */
START_TEST(get_absent)
{
	struct buf b = BUF_INIT;

	status_now = media_status = 404;
	media_head = "";
	media_body = "No such object: lake/pre/k";
	gcs_begin(answer_media, "", NULL);
	ck_rc(get("e:7", 0, 0, &b), STORE_ABSENT);
	ck_assert_str_eq(why.text, "");
	media_status = 416;		/* an empty object has no range */
	status_now = 1;
	ck_rc(get("e:7", 0, 10, &b), STORE_OK);
	ck_assert_uint_eq(b.len, 0);
	ck_rc(get("e:6", 0, 10, &b), STORE_CHANGED);
	buf_done(&b);
	server_end();
}
END_TEST

/* --- lists --- */

static const char *list_body;

static enum action
answer_list(struct request *q, struct buf *out)
{
	note(q);
	return say(out, 200, "", list_body);
}

/* Parts are in no list, and in the one of what may have been left. */
START_TEST(parts_left)
{
	struct store_list l = { .prefix = "" };
	struct buf b = BUF_INIT;

	gcs_begin(answer_list, "", NULL);
	atomic_store(&nseen, 0);
	list_body = "{\"items\":[{\"name\":\"pre/.gnsfs-parts/00ff/00\","
	    "\"size\":\"1\",\"generation\":\"2\"}]}";
	ck_rc(store_list(server.s, &call, &l, help_each, &b), STORE_OK);
	ck_assert_str_eq(buf_cstr(&b), "");
	ck_rc(server.s->ops->left(server.s, &call, help_each, &b), STORE_OK);
	ck_assert_str_eq(buf_cstr(&b), ".gnsfs-parts/00ff/00\n");
	ck_assert_ptr_nonnull(strstr(seen[1], "prefix=pre%2F.gnsfs-parts%2F"));
	buf_done(&b);
	server_end();
}
END_TEST

START_TEST(list_tokens)
{
	struct store_list l = { .prefix = "", .max = 2, .delimiter = '/' };
	struct buf b = BUF_INIT, body = BUF_INIT;

	gcs_begin(answer_list, "", NULL);
	atomic_store(&nseen, 0);
	/* More prefixes than were asked for: the page is cut. */
	list_body = "{\"prefixes\":[\"pre/a/\",\"pre/d/\",\"pre/.gnsfs-parts/"
	    "\"],\"items\":[{\"name\":\"pre/b\",\"size\":\"1\",\"generation\":"
	    "\"2\"}],\"nextPageToken\":\"tok+en\"}";
	ck_rc(store_list(server.s, &call, &l, help_each, &b), STORE_OK);
	ck_assert_str_eq(buf_cstr(&b), "*a/\nb\n");
	ck_assert(l.more);
	ck_assert_str_eq(l.token, "ab");
	list_body = "{\"items\":[{\"name\":\"pre/b\",\"size\":\"1\","
	    "\"generation\":\"2\"},{\"name\":\"pre/c\",\"size\":\"1\","
	    "\"generation\":\"2\"}],\"nextPageToken\":\"tok+en\"}";
	buf_reset(&b);
	ck_rc(store_list(server.s, &call, &l, help_each, &b), STORE_OK);
	ck_assert_str_eq(buf_cstr(&b), "c\n");
	ck_assert_ptr_nonnull(strstr(seen[1], "startOffset=pre%2Fb"));
	ck_assert_ptr_nonnull(strstr(seen[1], "maxResults=3"));
	ck_assert_str_eq(l.token, "ctok+en");
	/* A token that is too long: on from the last entry. */
	buf_printf(&body, "{\"prefixes\":[\"pre/d/\"],\"nextPageToken\":\""
	    "%0*d\"}", (int)sizeof(l.token), 1);
	list_body = buf_cstr(&body);
	buf_reset(&b);
	ck_rc(store_list(server.s, &call, &l, help_each, &b), STORE_OK);
	ck_assert_ptr_nonnull(strstr(seen[2], "pageToken=tok%2Ben"));
	ck_assert_str_eq(l.token, "od0");
	list_body = "{}";
	ck_rc(store_list(server.s, &call, &l, help_each, &b), STORE_OK);
	ck_assert_ptr_nonnull(strstr(seen[3], "startOffset=pre%2Fd0"));
	ck_assert(!l.more);
	snprintf(l.token, sizeof(l.token), "nonsense");
	ck_rc(store_list(server.s, &call, &l, help_each, &b), STORE_INVALID);
	buf_done(&b);
	buf_done(&body);
	server_end();
}
END_TEST

static const char *const no_lists[] = { "", "[]", "{\"items\":{}}", "<xml/>",
	"{\"items\":[{\"name\":\"pre/b\"}]}", "{\"items\":[7]}",
	"{\"items\":[{\"name\":\"other/b\",\"size\":\"1\",\"generation\":"
	"\"2\"}]}", "{\"prefixes\":[7]}",
	"{\"items\":[{\"name\":\"pre/b\",\"size\":\"-1\",\"generation\":"
	"\"2\"}]}", "{\"items\":[{\"size\":\"1\",\"generation\":\"2\"}]}",
	"{\"items\":[{\"name\":\"pre/b\",\"size\":\"1\",\"generation\":"
	"\"99999999999999999999999\"}]}" };

START_TEST(lists_that_are_none)
{
	struct store_list l = { .prefix = "" };
	struct buf b = BUF_INIT;

	list_body = no_lists[_i];
	gcs_begin(answer_list, "", NULL);
	ck_rc(store_list(server.s, &call, &l, help_each, &b), STORE_BROKEN);
	ck_assert_uint_eq(b.len, 0);
	buf_done(&b);
	server_end();
}
END_TEST

/* --- keys, settings --- */

START_TEST(keys)
{
	static const char *const bad[] = { "", "a\nb", "a\rb", "\xff",
	    "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "a\xe2\x82" };
	char key[1100];
	size_t i;

	status_now = 500;
	reason_now = NULL;
	gcs_begin(answer_status, "", NULL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_rc(store_head(server.s, &call, bad[i], NULL),
		    STORE_INVALID);
	memset(key, 'k', sizeof(key));
	key[1021] = '\0';
	ck_rc(store_head(server.s, &call, key, NULL), STORE_INVALID);
	key[1020] = '\0';
	ck_rc(store_head(server.s, &call, key, NULL), STORE_BROKEN);
	ck_assert_int_eq(atomic_load(&server.requests), 1);
	server_end();
}
END_TEST

static const struct { const char *url, *words; } bad_urls[] = {
	{ "gs://lake?region=x", "has no setting 'region'" },
	{ "gs://lake?compose=maybe", "auto, on or off" },
	{ "gs://Lake", "no name of a bucket" },
	{ "gs://lake?endpoint=http://127.0.0.1/x", "http://HOST[:PORT]" },
	{ "gs://lake?profile=a/b", "a gcloud configuration" },
	{ "gs://lake?profile=train", "names no account" },
	{ "gs://lake?profile=a@b", "gcloud auth login" },
};

START_TEST(urls)
{
	struct why said = { "" };
	struct store *s = NULL;
	struct url u;

	sys_init();
	gcs_no_creds();
	ck_assert_int_eq(url_parse(bad_urls[_i].url, &u, &said), 0);
	ck_assert_int_lt(gcs_store_open(&u, &s, &said), 0);
	ck_assert_msg(strstr(said.text, bad_urls[_i].words) != NULL, "%s",
	    said.text);
	url_done(&u);
}
END_TEST

/* The emulator's variable, in each way it is written. */
START_TEST(emulator)
{
	static const char *const ways[] = { "127.0.0.1:%d",
	    "http://127.0.0.1:%d", "http://localhost:%d/" };
	struct store *s = NULL;
	char host[64];
	struct url u;
	size_t i;

	status_now = 412;
	reason_now = "conditionNotMet";
	gcs_begin(answer_status, "", NULL);
	for (i = 0; i < 3; i++) {
		snprintf(host, sizeof(host), ways[i], server.port);
		setenv("STORAGE_EMULATOR_HOST", host, 1);
		/* Would be an error, were it looked at. */
		setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent", 1);
		ck_assert_int_eq(url_parse("gs://lake/pre", &u, NULL), 0);
		ck_assert_int_eq(gcs_store_open(&u, &s, &why), 0);
		ck_rc(help_put(s, "k", STORE_IF_ABSENT, NULL, "x", NULL),
		    STORE_EXISTS);
		store_free(s);
		url_done(&u);
	}
	ck_assert_int_eq(atomic_load(&server.requests), 3);
	server_end();
}
END_TEST

START_TEST(nobody_there)
{
	struct store *s;

	gcs_begin(answer_status, "", NULL);
	s = gcs_store("", NULL);
	atomic_store(&server.stop, true);
	pthread_join(server.thread, NULL);
	close(server.fd);
	why.text[0] = '\0';
	ck_rc(store_put_mem(s, &call, "k", STORE_IF_ABSENT, NULL, "x", 1,
	    NULL), STORE_UNREACHABLE);
	ck_assert_msg(strstr(why.text, "cannot be reached at") != NULL, "%s",
	    why.text);
	store_free(s);
	store_free(server.s);
}
END_TEST

START_TEST(times)
{
	ck_assert_int_eq(gcs_time_parse("1970-01-01T00:00:01Z"), 1000000000);
	ck_assert_int_eq(gcs_time_parse("1970-01-01T00:00:01.25Z"),
	    1250000000);
	ck_assert_int_eq(gcs_time_parse("1970-01-01T00:00:00.123456789+00:00"),
	    123456789);
	ck_assert_int_eq(gcs_time_parse("1970-01-01T00:00:01"), -1);
	ck_assert_int_eq(gcs_time_parse("1970-01-01"), -1);
	ck_assert_int_eq(gcs_time_parse(""), -1);
}
END_TEST

#define COUNT(a)	((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("gcs_answers");
	TCase *t = tcase_create("answers");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, statuses, 0, COUNT(errors));
	tcase_add_test(t, sentences);
	tcase_add_test(t, conditions);
	tcase_add_test(t, put_request);
	tcase_add_loop_test(t, get_media, 0, COUNT(media));
	tcase_add_test(t, get_absent);
	tcase_add_test(t, parts_left);
	tcase_add_test(t, list_tokens);
	tcase_add_loop_test(t, lists_that_are_none, 0, COUNT(no_lists));
	tcase_add_test(t, keys);
	tcase_add_loop_test(t, urls, 0, COUNT(bad_urls));
	tcase_add_test(t, emulator);
	tcase_add_test(t, nobody_there);
	tcase_add_test(t, times);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

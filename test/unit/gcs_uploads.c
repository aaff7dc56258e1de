/*
 * gcs_uploads: resumable uploads, copies and composed parts against answers
 * that break off, are lost, or make no sense.
 */
#include "test/unit/gcs_server.h"

#define GRAIN	(256u << 10)

enum { SIZE = 3 << 20 };

static const struct gcs_sizes small = { .single = 1 << 20,
	.compose = 2 << 20, .part = 1 << 20, .rewrite = 1 << 20 };

static struct why why;
static struct store_call call = { .why = &why };
static struct store_src src = { .size = SIZE, .read = help_src_read };

static _Atomic int begins, sends, asks, others;
static _Atomic uint64_t kept;		/* bytes that the session has */
static _Atomic uint64_t resumed;	/* where the last send began */
static const char *mode;

static bool
mode_is(const char *s)
{
	return strcmp(mode, s) == 0;
}

static void
reset(const char *m)
{
	mode = m;
	why.text[0] = '\0';
	atomic_store(&begins, 0);
	atomic_store(&sends, 0);
	atomic_store(&asks, 0);
	atomic_store(&others, 0);
	atomic_store(&kept, 0);
	atomic_store(&resumed, 0);
}

static enum store_rc
put(enum store_cond cond, struct store_info *ret)
{
	return store_put(server.s, &call, "k", cond, NULL, &src, ret);
}

/* The sum of SIZE bytes, as x-goog-hash has it. */
static const char *
sum(void)
{
	static __thread char crc[9];
	char *p = malloc(SIZE);

	help_src_read(NULL, p, 1 << 20, 0);
	help_src_read(NULL, p + (1 << 20), 1 << 20, 1 << 20);
	help_src_read(NULL, p + (2 << 20), 1 << 20, 2 << 20);
	sigv4_crc_base64(crc32c(0, p, SIZE), crc);
	free(p);
	return crc;
}

/* --- sessions --- */

static enum action
say_range(struct buf *out)
{
	char head[64];

	if (atomic_load(&kept) == 0)
		return say(out, 308, "", "");
	snprintf(head, sizeof(head), "Range: bytes=0-%llu\r\n",
	    (unsigned long long)atomic_load(&kept) - 1);
	return say(out, 308, head, "");
}

/* The bytes of one send: those that come are the right ones. */
static void
take(const struct request *q, unsigned long long first)
{
	struct help_check k = { .off = first };

	ck_assert_uint_eq(first, atomic_load(&kept));
	atomic_store(&resumed, first);
	help_src_check(&k, q->body.p, q->body.len);
	ck_assert(!k.wrong);
}

static enum action
answer_send(struct request *q, struct buf *out, unsigned long long first)
{
	int n = atomic_fetch_add(&sends, 1) + 1;

	take(q, first);
	if (mode_is("gone"))
		return say_fault(out, 410, "gone");
	if (mode_is("stuck"))
		return HANG_UP;
	if ((mode_is("break") || mode_is("break, 503")) && n < 3) {
		atomic_store(&kept, (uint64_t)n * 3 * GRAIN);
		return mode_is("break") ? HANG_UP :
		    say_fault(out, 503, "backendError");
	}
	if (mode_is("308") && n < 3) {
		atomic_store(&kept, (uint64_t)n * 3 * GRAIN);
		return say_range(out);
	}
	if (mode_is("refused"))
		return say_fault(out, 412, "conditionNotMet");
	if (mode_is("throttled") && n < 3)
		return say_fault(out, 429, "rateLimitExceeded");
	atomic_store(&kept, SIZE);
	if (mode_is("lost") || mode_is("lost, refused") ||
	    mode_is("lost, gone") || mode_is("lost, down"))
		return HANG_UP;
	if (mode_is("nonsense"))
		return say(out, 200, "", "{}");
	return say_object(out, mode_is("short") ? 5 : SIZE, 7,
	    mode_is("damaged") ? "AAAAAA==" : mode_is("no sum") ? NULL :
	    sum());
}

static enum action
answer_ask(struct request *q, struct buf *out)
{
	atomic_fetch_add(&asks, 1);
	if (mode_is("lost, refused"))
		return say_fault(out, 412, "conditionNotMet");
	if (mode_is("lost, gone"))
		return say_fault(out, 404, "notFound");
	if (mode_is("lost, down"))
		return HANG_UP;
	if (mode_is("range"))
		return say(out, 308, "Range: bytes=0-99999999\r\n", "");
	if (atomic_load(&kept) == SIZE)
		return say_object(out, SIZE, 7, sum());
	return say_range(out);
}

static enum action
answer_session(struct request *q, struct buf *out)
{
	char *range = strcasestr(q->head, "content-range: bytes ");
	unsigned long long first;

	if (has(q, "POST", "/upload/storage/v1/b/lake/o?")) {
		atomic_fetch_add(&begins, 1);
		ck_assert_ptr_nonnull(strstr(q->target,
		    "uploadType=resumable"));
		ck_assert_ptr_nonnull(strstr(buf_cstr(&q->body),
		    "\"name\":\"pre/k\""));
		if (mode_is("begin 412"))
			return say_fault(out, 412, "conditionNotMet");
		if (mode_is("begin 500"))
			return say_fault(out, 500, "backendError");
		if (mode_is("no session"))
			return say(out, 200, "", "");
		/* A host that is none of ours. */
		return say(out, 200, "Location: https://example.invalid/up?"
		    "upload_id=1\r\n", "");
	}
	if (has(q, "PUT", "/up?upload_id=1")) {
		ck_assert_ptr_nonnull(range);
		if (sscanf(range + 21, "%llu-", &first) == 1)
			return answer_send(q, out, first);
		return answer_ask(q, out);
	}
	atomic_fetch_add(&others, 1);
	return strcmp(q->method, "DELETE") == 0 ? say(out, 204, "", "") :
	    say_object(out, SIZE, 7, NULL);
}

static const struct {
	const char	*mode;
	enum store_rc	 rc;
	int		 begins, sends, asks;	/* -1: whatever */
	uint64_t	 resumed;
} sessions[] = {
	{ "whole",	STORE_OK,	1, 1, 0, 0 },
	{ "no sum",	STORE_OK,	1, 1, 0, 0 },
	{ "break",	STORE_OK,	1, 3, 2, 6 * GRAIN },
	{ "break, 503",	STORE_OK,	1, 3, 2, 6 * GRAIN },
	{ "308",	STORE_OK,	1, 3, 0, 6 * GRAIN },
	{ "throttled",	STORE_OK,	1, 3, 2, 0 },
	{ "lost",	STORE_OK,	1, 1, 1, 0 },
	/* L2: a 412 after a lost answer may be about our own. */
	{ "lost, refused", STORE_AMBIGUOUS, 1, 1, 1, 0 },
	{ "lost, gone",	STORE_AMBIGUOUS, 1, 1, 1, 0 },
	{ "lost, down",	STORE_AMBIGUOUS, 1, 1, -1, 0 },
	{ "refused",	STORE_EXISTS,	1, 1, 0, 0 },
	{ "begin 412",	STORE_EXISTS,	1, 0, 0, 0 },
	{ "begin 500",	STORE_BROKEN,	1, 0, 0, 0 },
	{ "no session",	STORE_BROKEN,	1, 0, 0, 0 },
	{ "gone",	STORE_BROKEN,	1, 1, 0, 0 },
	{ "stuck",	STORE_AMBIGUOUS, 1, -1, -1, 0 },
	{ "nonsense",	STORE_OK,	1, 1, 1, 0 },
	{ "damaged",	STORE_BROKEN,	1, 1, 0, 0 },
	{ "short",	STORE_BROKEN,	1, 1, 0, 0 },
};

START_TEST(resumable)
{
	struct store_info info = { 0 };

	reset(sessions[_i].mode);
	gcs_begin(answer_session, "&compose=off", &small);
	call.deadline = clock_mono() + 20 * NSEC_PER_SEC;
	ck_rc(put(STORE_IF_ABSENT, &info), sessions[_i].rc);
	ck_assert_int_eq(begins, sessions[_i].begins);
	if (sessions[_i].sends >= 0)
		ck_assert_int_eq(sends, sessions[_i].sends);
	if (sessions[_i].asks >= 0)
		ck_assert_int_eq(asks, sessions[_i].asks);
	ck_assert_uint_eq(resumed, sessions[_i].resumed);
	if (sessions[_i].rc == STORE_OK) {
		ck_assert_uint_eq(info.size, SIZE);
		ck_assert_str_eq(info.version.text, "e:7");
		ck_assert_int_eq(info.summed, !mode_is("no sum"));
	} else {
		ck_assert_msg(strstr(why.text, "'lake'") != NULL, "%s",
		    why.text);
	}
	if (mode_is("damaged") || mode_is("short"))	/* looked at, deleted */
		ck_assert_int_eq(others, 2);
	server_end();
}
END_TEST

/* A call with once does not go on by itself. */
START_TEST(resumable_once)
{
	reset("break");
	gcs_begin(answer_session, "&compose=off", &small);
	call.once = true;
	ck_rc(put(STORE_IF_ABSENT, NULL), STORE_AMBIGUOUS);
	ck_assert_int_eq(sends, 1);
	call.once = false;
	server_end();
}
END_TEST

/* --- tokens that end --- */

static _Atomic int issued, oldest, refused;
static _Atomic int64_t jumped;		/* ns */
static int64_t (*true_clock)(clockid_t);

static int64_t
jump_clock(clockid_t id)
{
	return true_clock(id) + (id == CLOCK_BOOTTIME ?
	    atomic_load(&jumped) : 0);
}

/* What the next request has is no good any more. */
static void
end_token(void)
{
	atomic_store(&oldest, atomic_load(&issued) + 1);
	atomic_fetch_add(&jumped, 10 * NSEC_PER_SEC);
}

/* At which request of an upload that breaks off twice the token ends. */
enum end { AT_BEGIN, AT_SEND, AT_ASK, AT_NEXT_SEND, AT_LAST_ASK, AT_ALL, ENDS };
static enum end end_at;

static void
maybe_end(struct request *q)
{
	bool ask = strcasestr(q->head, "content-range: bytes */") != NULL;
	bool begin = strcmp(q->method, "POST") == 0;
	enum end now = begin ? AT_BEGIN :
	    ask ? (atomic_load(&asks) == 0 ? AT_ASK : AT_LAST_ASK) :
	    atomic_load(&sends) == 0 ? AT_SEND : AT_NEXT_SEND;
	static enum end last = ENDS;

	if ((end_at == now || end_at == AT_ALL) && now != last) {
		last = now;
		end_token();
	}
}

static enum action
answer_tokens(struct request *q, struct buf *out)
{
	const char *token = strstr(q->head, "Bearer token-");
	char body[128];

	if (has(q, "POST", "/token")) {
		snprintf(body, sizeof(body), "{\"access_token\":\"token-%d\","
		    "\"expires_in\":3600}", atomic_fetch_add(&issued, 1) + 1);
		return say(out, 200, "", body);
	}
	maybe_end(q);
	if (token == NULL || atoi(token + 13) < atomic_load(&oldest)) {
		atomic_fetch_add(&refused, 1);
		return say_fault(out, 401, "authError");
	}
	return answer_session(q, out);
}

/* Nobody sees it: neither in a session that goes on nor in one that broke. */
START_TEST(tokens_end)
{
	char dir[256], path[300];
	struct store_info info;
	FILE *f;

	reset("break");
	end_at = (enum end)_i;
	server_listen(answer_tokens);
	true_clock = sys.clock;
	sys.clock = jump_clock;
	gcs_no_creds();
	help_tempdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/user.json", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "{\"type\":\"authorized_user\",\"client_id\":\"i\","
	    "\"client_secret\":\"s\",\"refresh_token\":\"r\","
	    "\"token_uri\":\"http://127.0.0.1:%d/token\"}", server.port);
	fclose(f);
	setenv("GOOGLE_APPLICATION_CREDENTIALS", path, 1);
	server.s = gcs_store("&compose=off", &small);
	call.deadline = clock_mono() + 20 * NSEC_PER_SEC;
	ck_assert_msg(put(STORE_IF_ABSENT, &info) == STORE_OK, "%s", why.text);
	ck_assert_uint_eq(info.size, SIZE);
	ck_assert_int_eq(begins, 1);
	ck_assert_int_eq(sends, 3);
	ck_assert_uint_eq(resumed, 6 * GRAIN);
	/* begin, and three sends with two questions between them */
	ck_assert_int_eq(refused, end_at == AT_ALL ? 6 : 1);
	ck_assert_int_eq(issued, refused + 1);
	server_end();
	help_rmtree(dir);
}
END_TEST

static _Atomic bool stop;

static int
stop_read(void *arg, void *buf, size_t n, uint64_t off)
{
	if (off >= 2 << 20) {
		if (arg == NULL)
			return -EIO;
		atomic_store(&stop, true);
	}
	return help_src_read(NULL, buf, n, off);
}

/* The source's error and a cancel end it, and the session with it. */
START_TEST(resumable_stopped)
{
	struct store_src bad = { .size = SIZE, .read = stop_read,
	    .arg = _i == 0 ? NULL : &stop };
	struct store_call c = { .why = &why, .cancel = &stop };

	reset("whole");
	atomic_store(&stop, false);
	gcs_begin(answer_session, "&compose=off", &small);
	ck_rc(store_put(server.s, &c, "k", STORE_IF_ABSENT, NULL, &bad, NULL),
	    _i == 0 ? STORE_INVALID : STORE_CANCELLED);
	ck_assert_int_eq(others, 1);
	server_end();
}
END_TEST

/* --- rewrite --- */

static _Atomic int steps;

static enum action
answer_rewrite(struct request *q, struct buf *out)
{
	char body[600], token[32];
	int n;

	if (strcmp(q->method, "GET") == 0)
		return say_object(out, SIZE, mode_is("changed") ? 8 : 7, NULL);
	n = atomic_fetch_add(&steps, 1) + 1;
	ck_assert_ptr_nonnull(strstr(q->target, "/o/pre%2Fk/rewriteTo/b/lake/o"
	    "/pre%2Fto%20%2B?ifSourceGenerationMatch=7"));
	ck_assert_ptr_nonnull(strstr(q->target,
	    "maxBytesRewrittenPerCall=1048576"));
	snprintf(token, sizeof(token), "rewriteToken=t%d", n - 1 -
	    (mode_is("flaky") && n > 2));
	ck_assert((strstr(q->target, token) != NULL) == (n > 1));
	if (mode_is("flaky") && n == 2)
		return say_fault(out, 503, "backendError");
	if (mode_is("412") && n == 2)
		return say_fault(out, 412, "conditionNotMet");
	if (mode_is("500"))
		return say_fault(out, 500, "backendError");
	if (mode_is("nonsense"))
		return say(out, 200, "", "{\"done\":true}");
	if (n - mode_is("flaky") < 3) {
		snprintf(body, sizeof(body), "{\"done\":false,"
		    "\"rewriteToken\":\"t%d\"}", n - (mode_is("flaky") &&
		    n > 2));
		return say(out, 200, "", body);
	}
	return say(out, 200, "", "{\"done\":true,\"resource\":{\"size\":"
	    "\"3145728\",\"generation\":\"9\",\"timeCreated\":"
	    "\"2026-11-21T10:00:00Z\"}}");
}

static const struct { const char *mode; enum store_rc rc; int steps; }
copies[] = {
	{ "whole",	STORE_OK,	3 },
	{ "flaky",	STORE_OK,	4 },
	{ "412",	STORE_CHANGED,	2 },
	{ "changed",	STORE_CHANGED,	0 },
	{ "500",	STORE_AMBIGUOUS, 1 },
	{ "nonsense",	STORE_AMBIGUOUS, 1 },
};

START_TEST(rewrite)
{
	struct store_version v = { "e:7" };
	struct store_info info;

	reset(copies[_i].mode);
	atomic_store(&steps, 0);
	gcs_begin(answer_rewrite, "", &small);
	ck_rc(store_copy(server.s, &call, "k", &v, "to +", &info),
	    copies[_i].rc);
	ck_assert_int_eq(steps, copies[_i].steps);
	if (copies[_i].rc == STORE_OK) {
		ck_assert_str_eq(info.version.text, "e:9");
		ck_assert_uint_eq(info.size, SIZE);
	}
	server_end();
}
END_TEST

/* --- parts --- */

static _Atomic int parts, deleted, composed, bucket_asked;
static struct lock id_lock = LOCK_INIT(RANK_LOG, "test");
static char id[64];			/* of the put, from its compose */

static enum action
answer_compose(struct request *q, struct buf *out)
{
	char *p;

	atomic_fetch_add(&composed, 1);
	p = strstr(buf_cstr(&q->body), "\"gnsfs-put\":\"");
	ck_assert_ptr_nonnull(p);
	lock_take(&id_lock);
	snprintf(id, sizeof(id), "%.32s", p + 13);
	lock_drop(&id_lock);
	for (p = (char *)q->body.p; (p = strstr(p, "\"generation\":\"5\"")) !=
	    NULL; p++)
		atomic_fetch_add(&others, 1);
	ck_assert_ptr_nonnull(strstr(q->target,
	    "/o/pre%2Fk/compose?ifGenerationMatch=0"));
	if (mode_is("compose lost") || mode_is("another"))
		return HANG_UP;
	if (mode_is("compose 412"))
		return say_fault(out, 412, "conditionNotMet");
	if (mode_is("compose 404"))
		return say_fault(out, 404, "notFound");
	return say_object(out, SIZE, 7, NULL);
}

static enum action
answer_look(struct buf *out)
{
	char body[300];

	if (atomic_load(&composed) == 0)
		return mode_is("there") ? say_object(out, SIZE, 6, NULL) :
		    say_fault(out, 404, "notFound");
	lock_take(&id_lock);
	snprintf(body, sizeof(body), "{\"size\":\"3145728\",\"generation\":"
	    "\"7\",\"metadata\":{\"gnsfs-put\":\"%s\"}}",
	    mode_is("another") ? "other" : id);
	lock_drop(&id_lock);
	return say(out, 200, "", body);
}

static enum action
answer_parts(struct request *q, struct buf *out)
{
	if (has(q, "GET", "/storage/v1/b/lake?")) {
		atomic_fetch_add(&bucket_asked, 1);
		if (mode_is("withheld"))
			return say_fault(out, 403, "forbidden");
		return say(out, 200, "", mode_is("soft") ? "{\"storageClass\":"
		    "\"STANDARD\",\"softDeletePolicy\":"
		    "{\"retentionDurationSeconds\":\"604800\"}}" :
		    mode_is("cold") ? "{\"storageClass\":\"NEARLINE\"}" :
		    mode_is("kept") ? "{\"storageClass\":\"STANDARD\","
		    "\"retentionPolicy\":{}}" :
		    "{\"storageClass\":\"STANDARD\"}");
	}
	if (has(q, "POST", "/compose?"))
		return answer_compose(q, out);
	if (has(q, "GET", "/o/pre%2Fk?"))
		return answer_look(out);
	if (has(q, "POST", "uploadType=multipart")) {
		ck_assert_ptr_nonnull(strstr(buf_cstr(&q->body),
		    "pre/.gnsfs-parts/"));
		ck_assert_ptr_null(strstr(q->target, "ifGenerationMatch"));
		if (atomic_fetch_add(&parts, 1) == 1 && mode_is("part lost"))
			return HANG_UP;
		if (mode_is("denied"))
			return say_fault(out, 403, "forbidden");
		return say_object(out, 1 << 20, 5, NULL);
	}
	if (has(q, "DELETE", ".gnsfs-parts")) {
		atomic_fetch_add(&deleted, 1);
		return mode_is("undeletable") ? say_fault(out, 403,
		    "forbidden") : say(out, 204, "", "");
	}
	if (has(q, "POST", "uploadType=resumable"))
		return say(out, 200, "Location: /up?upload_id=1\r\n", "");
	return say_object(out, SIZE, 7, sum());
}

static const struct {
	const char	*mode, *settings;
	enum store_rc	 rc;
	int		 parts, composed, deleted, bucket_asked;
} puts_of_parts[] = {
	{ "whole",	"",		STORE_OK,	3, 1, 3, 1 },
	{ "on",		"&compose=on",	STORE_OK,	3, 1, 3, 0 },
	{ "off",	"&compose=off",	STORE_OK,	0, 0, 0, 0 },
	{ "soft",	"",		STORE_OK,	0, 0, 0, 1 },
	{ "cold",	"",		STORE_OK,	0, 0, 0, 1 },
	{ "kept",	"",		STORE_OK,	0, 0, 0, 1 },
	{ "withheld",	"",		STORE_OK,	0, 0, 0, 1 },
	{ "there",	"&compose=on",	STORE_EXISTS,	0, 0, 0, 0 },
	{ "part lost",	"&compose=on",	STORE_OK,	4, 1, 3, 0 },
	{ "denied",	"&compose=on",	STORE_DENIED,	-1, 0, 3, 0 },
	{ "compose lost", "&compose=on", STORE_OK,	3, 1, 3, 0 },
	{ "compose 412", "&compose=on",	STORE_EXISTS,	3, 1, 3, 0 },
	{ "compose 404", "&compose=on",	STORE_BROKEN,	3, 4, 3, 0 },
	{ "another",	"&compose=on",	STORE_AMBIGUOUS, 3, 4, 3, 0 },
	{ "undeletable", "&compose=on",	STORE_OK,	3, 1, -1, 0 },
};

START_TEST(parts_composed)
{
	struct store_info info = { 0 };

	reset(puts_of_parts[_i].mode);
	gcs_begin(answer_parts, puts_of_parts[_i].settings, &small);
	ck_rc(put(STORE_IF_ABSENT, &info), puts_of_parts[_i].rc);
	if (puts_of_parts[_i].parts >= 0)
		ck_assert_int_eq(parts, puts_of_parts[_i].parts);
	ck_assert_int_eq(composed, puts_of_parts[_i].composed);
	if (puts_of_parts[_i].deleted >= 0)
		ck_assert_int_eq(deleted, puts_of_parts[_i].deleted);
	ck_assert_int_eq(bucket_asked, puts_of_parts[_i].bucket_asked);
	if (puts_of_parts[_i].rc == STORE_OK) {
		ck_assert_str_eq(info.version.text, "e:7");
		ck_assert_int_eq(others, 3 * puts_of_parts[_i].composed);
	}
	/* The bucket is asked once; where parts stay, no more are made. */
	if (puts_of_parts[_i].rc == STORE_OK)
		ck_rc(put(STORE_ALWAYS, NULL), STORE_OK);
	ck_assert_int_eq(bucket_asked, puts_of_parts[_i].bucket_asked);
	if (mode_is("undeletable"))
		ck_assert_int_eq(composed, 1);
	server_end();
}
END_TEST

#define COUNT(a)	((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("gcs_uploads");
	TCase *t = tcase_create("uploads");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, resumable, 0, COUNT(sessions));
	tcase_add_loop_test(t, tokens_end, 0, ENDS);
	tcase_add_test(t, resumable_once);
	tcase_add_loop_test(t, resumable_stopped, 0, 2);
	tcase_add_loop_test(t, rewrite, 0, COUNT(copies));
	tcase_add_loop_test(t, parts_composed, 0, COUNT(puts_of_parts));
	suite_add_tcase(suite, t);
	return help_run(suite);
}

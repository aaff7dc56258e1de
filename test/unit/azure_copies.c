/*
 * azure_copies: copies that the service makes itself, against a stand-in that
 * does, and is as strict as, what the service documents of Put Blob From URL,
 * Put Block From URL, Put Block List and Copy Blob (the emulator lacks the
 * first two).  One source blob, SIZE bytes of a known content, with an ETag
 * that a test may change.
 */
#include "test/unit/azure_server.h"

enum { SIZE = 1000, PENDING = 3 };

static struct store_call call;
static struct why why;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char staged[32][80];		/* names of blocks */
static struct { int from, len; } ranges[32];
static int nstaged;
static char made[SIZE];			/* the blob that was made */
static int made_len;
static int pending;			/* looks until Copy Blob is done */
static bool lacks, denies, fails;	/* the From URL calls; copying */
static bool silent;			/* of what became of a copy */
static int refuses;			/* copies, with this status */
static int unverified;			/* the source is, by this status */
static _Atomic int aborts, copies, pulls;
static char changed_etag[16];
static char auth[256];			/* what the source was asked with */

/* The value of a header of the request into ret; "" for none. */
static const char *
header(const struct request *q, const char *name, char *ret, size_t n)
{
	char want[80];
	const char *p;

	snprintf(want, sizeof(want), "\r\n%s: ", name);
	p = strcasestr(q->head, want);
	ret[0] = '\0';
	if (p != NULL)
		snprintf(ret, n, "%.*s", (int)strcspn(p + strlen(want),
		    "\r"), p + strlen(want));
	return ret;
}

/* What a copy's source comes to: 0, or it has been answered. */
static int
check_source(struct request *q, struct buf *out)
{
	char url[4096], v[256];

	header(q, "x-ms-copy-source", url, sizeof(url));
	ck_assert_uint_le(strlen(url), 2048);
	header(q, "x-ms-copy-source-authorization", auth, sizeof(auth));
	ck_assert_ptr_nonnull(strstr(url, "://"));
	if (unverified != 0)
		return say_error(out, unverified, "CannotVerifyCopySource"),
		    1;
	if (denies || (strstr(url, "sig=") == NULL && auth[0] == '\0'))
		return say_error(out, 403, "CannotVerifyCopySource"), 1;
	if (strstr(url, "/acct/lake/pre/from") == NULL)
		return say_error(out, 404, "CannotVerifyCopySource"), 1;
	header(q, "x-ms-source-if-match", v, sizeof(v));
	if (v[0] != '\0' && strcmp(v, changed_etag[0] != '\0' ?
	    changed_etag : "\"src\"") != 0)
		return say_error(out, 412, "SourceConditionNotMet"), 1;
	return 0;
}

static void
fill(int from, int len)
{
	int i;

	for (i = 0; i < len; i++)
		made[made_len++] = (char)help_byte((uint64_t)(from + i));
}

static enum action
put_block_from_url(struct request *q, struct buf *out)
{
	char range[64], *id = strstr(q->target, "blockid=");
	int a, b;

	atomic_fetch_add(&pulls, 1);
	if (lacks)
		return say_error(out, 501, "NotImplemented");
	if (check_source(q, out))
		return ANSWER;
	header(q, "x-ms-source-range", range, sizeof(range));
	if (sscanf(range, "bytes=%d-%d", &a, &b) != 2 || b < a || b >= SIZE ||
	    id == NULL || q->body.len != 0)
		return say_error(out, 400, "InvalidHeaderValue");
	/* Names of one blob's blocks are of one length. */
	if (nstaged > 0 && strcspn(id, "&") != strlen(staged[0]))
		return say_error(out, 400, "InvalidBlobOrBlock");
	snprintf(staged[nstaged], sizeof(staged[0]), "%.*s",
	    (int)strcspn(id, "&"), id);
	ranges[nstaged].from = a;
	ranges[nstaged++].len = b - a + 1;
	return say(out, 201, "", "");
}

static enum action
put_block_list(struct request *q, struct buf *out)
{
	char *p = (char *)q->body.p, *end, *name;
	struct buf id = BUF_INIT;
	int i;

	made_len = 0;
	while ((p = strstr(p, "<Uncommitted>")) != NULL) {
		end = strchr(p += 13, '<');
		name = strndup(p, (size_t)(end - p));
		buf_reset(&id);
		buf_printf(&id, "blockid=%s", name);
		free(name);
		for (i = 0; i < nstaged && strcmp(staged[i],
		    buf_cstr(&id)) != 0; i++)
			;
		if (i == nstaged) {
			buf_done(&id);
			return say_error(out, 400, "InvalidBlockList");
		}
		fill(ranges[i].from, ranges[i].len);
	}
	buf_done(&id);
	nstaged = 0;
	return say(out, 201, "ETag: \"new\"\r\n", "");
}

static enum action
copy_headers(struct buf *out, int status)
{
	char h[256];

	if (silent)
		return say(out, status, "x-ms-copy-id: \r\n"
		    "x-ms-copy-status: pending\r\n", "");
	snprintf(h, sizeof(h), "ETag: \"new\"\r\nx-ms-copy-id: id-1\r\n"
	    "x-ms-copy-status: %s\r\nx-ms-copy-status-description: %s\r\n",
	    fails ? "failed" : pending > 0 ? "pending" : "success",
	    fails ? "404 source gone" : "");
	return say(out, status, h, "");
}

static enum action
put_blob(struct request *q, struct buf *out)
{
	char v[64];

	if (check_source(q, out))
		return ANSWER;
	made_len = 0;
	fill(0, SIZE);
	header(q, "x-ms-blob-type", v, sizeof(v));
	if (v[0] == '\0' && refuses != 0)
		return say_error(out, refuses, refuses == 503 ? "ServerBusy" :
		    "TooManyRequests");
	if (v[0] == '\0') {			/* Copy Blob */
		atomic_fetch_add(&copies, 1);
		return copy_headers(out, 202);
	}
	if (strcmp(v, "BlockBlob") != 0 || q->body.len != 0)
		return say_error(out, 400, "InvalidHeaderValue");
	return say(out, 201, "ETag: \"new\"\r\n", "");
}

static enum action
serve(struct request *q, struct buf *out)
{
	char v[64];

	if (strcmp(q->method, "HEAD") == 0 &&
	    strstr(q->target, "/pre/from") != NULL) {
		snprintf(v, sizeof(v), "ETag: \"src\"\r\n");
		buf_printf(out, "HTTP/1.1 200 X\r\nContent-Length: %d\r\n%s"
		    "\r\n", SIZE, v);
		return ANSWER;
	}
	if (strcmp(q->method, "HEAD") == 0) {
		if (strstr(q->target, "/pre/to") == NULL)
			return say(out, 404, "x-ms-error-code: BlobNotFound"
			    "\r\n", "");
		pending -= pending > 0;
		return copy_headers(out, 200);
	}
	ck_assert_str_eq(q->method, "PUT");
	if (strstr(q->target, "comp=blocklist") != NULL)
		return put_block_list(q, out);
	if (strstr(q->target, "comp=block&") != NULL)
		return put_block_from_url(q, out);
	if (strstr(q->target, "comp=copy&copyid=id-1") != NULL) {
		atomic_fetch_add(&aborts, 1);
		return say(out, 204, "", "");
	}
	if (header(q, "x-ms-blob-type", v, sizeof(v))[0] != '\0') {
		atomic_fetch_add(&pulls, 1);
		if (lacks)
			return say_error(out, 501, "NotImplemented");
	}
	return put_blob(q, out);
}

static enum action
answer(struct request *q, struct buf *out)
{
	enum action a;

	pthread_mutex_lock(&lock);
	a = serve(q, out);
	pthread_mutex_unlock(&lock);
	return a;
}

static void
begin(const struct azure_sizes *sizes)
{
	memset(&why, 0, sizeof(why));
	call = (struct store_call){ .why = &why };
	server_begin(answer, sizes);
}

static void
is_made(const struct store_info *info)
{
	int i;

	ck_assert_int_eq(made_len, SIZE);
	for (i = 0; i < SIZE; i++)
		ck_assert_int_eq(made[i], (char)help_byte((uint64_t)i));
	ck_assert_uint_eq(info->size, SIZE);
	ck_assert_str_eq(info->version.text, "e:\"new\"");
}

static const struct azure_sizes tiny = { .copy_single = 100,
    .copy_part = 300 };

/* One request, or blocks and their list. */
START_TEST(from_url)
{
	struct store_version v = { "e:\"src\"" };
	struct store_info info;

	begin(_i == 0 ? NULL : &tiny);
	ck_assert_msg(store_copy(server.s, &call, "from", &v, "to", &info) ==
	    STORE_OK, "%s", why.text);
	is_made(&info);
	ck_assert_int_eq(atomic_load(&pulls), _i == 0 ? 1 : 4);
	ck_assert_int_eq(atomic_load(&copies), 0);
	v = (struct store_version){ "e:\"older\"" };
	ck_rc(store_copy(server.s, &call, "from", &v, "to", &info),
	    STORE_CHANGED);
	ck_rc(store_copy(server.s, &call, "none", NULL, "to", &info),
	    STORE_ABSENT);
	/* It changes between the look and the copy. */
	snprintf(changed_etag, sizeof(changed_etag), "\"src2\"");
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_CHANGED);
	changed_etag[0] = '\0';
	denies = true;
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_DENIED);
	server_end();
}
END_TEST

/* A server without the calls: Copy Blob, which goes on after its answer. */
START_TEST(falls_back)
{
	struct store_info info;

	begin(_i == 0 ? NULL : &tiny);
	lacks = true;
	pending = PENDING;
	ck_assert_msg(store_copy(server.s, &call, "from", NULL, "to", &info)
	    == STORE_OK, "%s", why.text);
	is_made(&info);
	ck_assert_int_eq(pending, 0);
	ck_assert_int_eq(atomic_load(&copies), 1);
	_i = atomic_load(&pulls);
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_OK);
	ck_assert_int_eq(atomic_load(&pulls), _i);	/* not asked again */
	ck_assert_int_eq(atomic_load(&aborts), 0);
	server_end();
}
END_TEST

START_TEST(copy_given_up)
{
	struct store_info info;

	begin(NULL);
	lacks = true;
	pending = 1000000;
	call.deadline = clock_mono() + 300 * NSEC_PER_MSEC;
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_AMBIGUOUS);
	ck_assert_int_eq(atomic_load(&aborts), 1);
	call.deadline = 0;
	fails = true;
	why.text[0] = '\0';
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_AMBIGUOUS);
	ck_assert_msg(strstr(why.text, "404 source gone") != NULL, "%s",
	    why.text);
	fails = false;
	silent = true;
	why.text[0] = '\0';
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_AMBIGUOUS);
	ck_assert_msg(strstr(why.text, "what became of a copy") != NULL,
	    "%s", why.text);
	silent = false;
	server_end();
}
END_TEST

/* A copy that was refused for now is not one that goes on. */
START_TEST(copy_refused_for_now)
{
	struct store_info info;

	begin(_i == 0 ? NULL : &tiny);
	lacks = true;
	refuses = _i == 0 ? 503 : 429;
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_THROTTLED);
	ck_assert_int_eq(atomic_load(&copies), 0);
	ck_assert_int_eq(atomic_load(&aborts), 0);
	refuses = 0;
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_OK);
	is_made(&info);
	server_end();
}
END_TEST

/* Nor is it impossible where the source is busy. */
START_TEST(source_is_busy)
{
	struct store_info info;

	begin(_i == 0 ? NULL : &tiny);
	unverified = 429;
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_THROTTLED);
	ck_assert_int_eq(atomic_load(&copies), 0);
	unverified = 0;
	ck_rc(store_copy(server.s, &call, "from", NULL, "to", &info),
	    STORE_OK);
	is_made(&info);
	server_end();
}
END_TEST

/* From elsewhere: a presigned URL, a token, one that is too long. */
START_TEST(pulls_from_elsewhere)
{
	struct azure_source from = { .size = SIZE,
	    .url = "https://b.example/acct/lake/pre/from?sig=presigned" };
	struct store_info info;
	struct azure *s;
	char url[3000];

	begin(&tiny);
	s = (struct azure *)server.s;
	ck_rc(azure_fetch(s, &call, &from, "to", STORE_ALWAYS,
	    &info), STORE_OK);
	is_made(&info);
	ck_assert_str_eq(auth, "");
	from.url = "https://b.example/acct/lake/pre/from";
	ck_rc(azure_fetch(s, &call, &from, "to", STORE_ALWAYS,
	    &info), STORE_DENIED);
	ck_assert_ptr_null(strstr(why.text, "presigned"));
	from.bearer = "tok";
	ck_rc(azure_fetch(s, &call, &from, "to", STORE_ALWAYS,
	    &info), STORE_OK);
	ck_assert_str_eq(auth, "Bearer tok");
	memset(url, 'x', sizeof(url));
	url[sizeof(url) - 1] = '\0';
	from.url = url;
	ck_rc(azure_fetch(s, &call, &from, "to", STORE_ALWAYS,
	    &info), STORE_UNSUPPORTED);
	server_end();
}
END_TEST

/* --- an object of another cloud --- */

static struct store_info theirs;

static enum store_rc
their_head(struct store *st, struct store_call *c, const char *key,
    struct store_info *ret)
{
	*ret = theirs;
	return strcmp(key, "from") == 0 ? STORE_OK : STORE_ABSENT;
}

static enum store_rc
their_offer(struct store *st, struct store_call *c, const char *key,
    const struct store_version *version, int64_t until, struct buf *ret)
{
	ck_assert_int_gt(until, clock_real() / NSEC_PER_SEC);
	buf_printf(ret, "%s/acct/lake/pre/%s?sig=presigned", st->url, key);
	return STORE_OK;
}

static struct store *
their_bare(struct store *st)
{
	return st;
}

START_TEST(from_another_cloud)
{
	static const struct store_ops ops = { .head = their_head,
	    .offer = their_offer, .bare = their_bare };
	struct store other = { &ops, "http://bucket.example" };
	struct store_version v = { "e:\"v1\"" };
	struct store_info info;
	struct azure *s;

	theirs = (struct store_info){ .size = SIZE, .version = v };
	begin(&tiny);
	s = (struct azure *)server.s;
	ck_rc(store_pull(server.s, &call, &other, "from", &v, "to", &info),
	    STORE_OK);
	is_made(&info);
	ck_assert_int_gt(atomic_load(&pulls), 0);
	ck_rc(store_pull(server.s, &call, &other, "none", &v, "to", NULL),
	    STORE_ABSENT);
	/* it was replaced before, and while it was copied (B5) */
	snprintf(theirs.version.text, sizeof(theirs.version.text), "e:\"x\"");
	ck_rc(store_pull(server.s, &call, &other, "from", &v, "to", NULL),
	    STORE_CHANGED);
	/* not in the clear, not to who cannot reach it */
	s->loopback = false;
	theirs.version = v;
	ck_rc(store_pull(server.s, &call, &other, "from", &v, "to", NULL),
	    STORE_UNSUPPORTED);
	s->loopback = true;
	server_end();
}
END_TEST

/* From one account's store into another's: the token or signature of the first
 * goes to the second by https, or to this machine. */
START_TEST(from_another_account)
{
	struct store_version v = { "e:\"src\"" };
	struct store_info info;
	struct store *to, *from;
	struct azure *s;

	begin(NULL);
	from = server.s;
	azure_begin(NULL);
	to = server.s;
	s = (struct azure *)to;
	ck_rc(store_pull(to, &call, from, "from", &v, "to", &info), STORE_OK);
	is_made(&info);
	ck_assert_int_eq(atomic_load(&pulls), 1);
	s->loopback = false;
	ck_rc(store_pull(to, &call, from, "from", &v, "to", &info),
	    STORE_UNSUPPORTED);
	/* nor one that only this machine can get */
	s->https = true;
	ck_rc(store_pull(to, &call, from, "from", &v, "to", &info),
	    STORE_UNSUPPORTED);
	ck_assert_int_eq(atomic_load(&pulls), 1);
	s->https = false;
	s->loopback = true;
	store_free(from);
	server_end();
}
END_TEST

/* What the service says of a source that it cannot get at; what that comes
 * to, of one request and of blocks; is it asked again for the next object? */
static const struct { int status; enum store_rc rc; bool again; }
unverifieds[] = {
	{ 400, STORE_UNSUPPORTED, false }, { 409, STORE_UNSUPPORTED, false },
	{ 500, STORE_UNSUPPORTED, false }, { 503, STORE_UNSUPPORTED, false },
	{ 412, STORE_CHANGED, true }, { 404, STORE_ABSENT, true },
	{ 403, STORE_DENIED, true }, { 401, STORE_DENIED, true },
};

START_TEST(source_out_of_reach)
{
	static const struct store_ops ops = { .head = their_head,
	    .offer = their_offer, .bare = their_bare };
	struct store other = { &ops, "http://bucket.example" };
	struct store another = { &ops, "http://elsewhere.example" };
	struct store_version v = { "e:\"v1\"" };
	struct store_info info;
	int asked;

	theirs = (struct store_info){ .size = SIZE, .version = v };
	begin(_i & 1 ? &tiny : NULL);
	unverified = unverifieds[_i / 2].status;
	ck_rc(store_pull(server.s, &call, &other, "from", &v, "to", &info),
	    unverifieds[_i / 2].rc);
	asked = atomic_load(&pulls);
	ck_assert_int_gt(asked, 0);
	/* nothing that goes on after its answer is begun */
	ck_assert_int_eq(atomic_load(&copies), 0);
	unverified = 0;
	ck_rc(store_pull(server.s, &call, &other, "from", &v, "to", &info),
	    unverifieds[_i / 2].again ? STORE_OK : STORE_UNSUPPORTED);
	ck_assert_int_eq(atomic_load(&pulls) > asked,
	    unverifieds[_i / 2].again);
	ck_rc(store_pull(server.s, &call, &another, "from", &v, "to", &info),
	    STORE_OK);
	server_end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("azure_copies");
	TCase *t = tcase_create("copies");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, from_url, 0, 2);
	tcase_add_loop_test(t, falls_back, 0, 2);
	tcase_add_test(t, copy_given_up);
	tcase_add_loop_test(t, copy_refused_for_now, 0, 2);
	tcase_add_loop_test(t, source_is_busy, 0, 2);
	tcase_add_test(t, pulls_from_elsewhere);
	tcase_add_test(t, from_another_cloud);
	tcase_add_test(t, from_another_account);
	tcase_add_loop_test(t, source_out_of_reach, 0,
	    2 * sizeof(unverifieds) / sizeof(unverifieds[0]));
	suite_add_tcase(suite, t);
	return help_run(suite);
}

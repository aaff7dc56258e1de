/* s3_answers: what the S3 backend makes of the answers a store can give, and
 * of those it never gives (L2: "no", "not done" and "nobody knows" are kept
 * apart).  Against a server in a thread. */
#include "backends/s3.h"
#include "backends/sigv4.h"
#include "test/unit/s3_server.h"

static struct store_call call;
static struct why why;
static int status;
static const char *code;
static enum action how;
static size_t delivered;

static int
count_sink(void *arg, const void *p, size_t n)
{
	delivered += n;
	return 0;
}

static int
never_each(void *arg, const struct store_entry *e)
{
	ck_abort_msg("an entry of a broken page was handed on: %s", e->key);
	return 0;
}

static void
begin(enum action (*answer)(struct request *, struct buf *),
    const struct s3_sizes *sizes)
{
	memset(&why, 0, sizeof(why));
	memset(&call, 0, sizeof(call));
	call.why = &why;
	delivered = 0;
	server_begin(answer, sizes);
}

/* --- status and code to result --- */

enum what { GET, PUT, PUT_ABSENT, PUT_MATCH, DEL, HEAD, LIST, COPY };

static enum store_rc
do_it(enum what w)
{
	struct store_version v = { "e:\"v1\"" };
	struct store_list l = { .prefix = "" };
	struct store_info info;

	memset(&why, 0, sizeof(why));
	switch (w) {
	case GET:
		return store_get(server.s, &call, "k", NULL, 0, 0, count_sink,
		    NULL, NULL);
	case PUT:
		return store_put_mem(server.s, &call, "k", STORE_ALWAYS, NULL,
		    "body", 4, &info);
	case PUT_ABSENT:
		return store_put_mem(server.s, &call, "k", STORE_IF_ABSENT,
		    NULL, "body", 4, &info);
	case PUT_MATCH:
		return store_put_mem(server.s, &call, "k", STORE_IF_MATCH, &v,
		    "body", 4, &info);
	case DEL:
		return store_del(server.s, &call, "k", NULL);
	case HEAD:
		return store_head(server.s, &call, "k", &info);
	case LIST:
		return store_list(server.s, &call, &l, never_each, NULL);
	case COPY:
		return store_copy(server.s, &call, "from", NULL, "k", &info);
	}
	return STORE_INVALID;
}

static const struct {
	enum what what;
	int status;
	const char *code;
	enum store_rc rc;
} table[] = {
	{ GET, 404, "NoSuchKey", STORE_ABSENT },
	{ GET, 404, "NoSuchBucket", STORE_ABSENT },
	{ GET, 403, "AccessDenied", STORE_DENIED },	/* never absent */
	{ GET, 403, "", STORE_DENIED },
	{ GET, 412, "PreconditionFailed", STORE_CHANGED },
	{ GET, 416, "InvalidRange", STORE_CHANGED },	/* HEAD says 416 */
	{ GET, 204, "", STORE_BROKEN },			/* of which object? */
	{ GET, 500, "InternalError", STORE_BROKEN },
	{ GET, 503, "SlowDown", STORE_THROTTLED },
	{ GET, 503, "", STORE_THROTTLED },
	{ GET, 429, "", STORE_THROTTLED },
	{ GET, 301, "PermanentRedirect", STORE_INVALID },
	{ GET, 403, "InvalidObjectState", STORE_UNSUPPORTED },
	{ GET, 404, "", STORE_BROKEN },			/* no S3 server */
	{ GET, 404, "XAdminUserNotFound", STORE_DENIED },
	{ HEAD, 404, "NoSuchKey", STORE_ABSENT },
	{ HEAD, 404, "XAdminUserNotFound", STORE_DENIED },
	{ HEAD, 400, "ExpiredToken", STORE_DENIED },
	{ HEAD, 403, "", STORE_DENIED },
	{ HEAD, 400, "", STORE_INVALID },
	{ PUT_ABSENT, 412, "PreconditionFailed", STORE_EXISTS },
	{ PUT_ABSENT, 409, "ConditionalRequestConflict", STORE_THROTTLED },
	{ PUT_ABSENT, 409, "", STORE_THROTTLED },
	{ PUT_ABSENT, 500, "InternalError", STORE_AMBIGUOUS },
	{ PUT_ABSENT, 502, "", STORE_AMBIGUOUS },
	{ PUT_ABSENT, 504, "", STORE_AMBIGUOUS },
	{ PUT_ABSENT, 503, "SlowDown", STORE_THROTTLED },
	{ PUT_ABSENT, 503, "", STORE_AMBIGUOUS },	/* a proxy's */
	{ PUT_ABSENT, 501, "NotImplemented", STORE_UNSUPPORTED },
	{ PUT_ABSENT, 400, "BadDigest", STORE_THROTTLED },
	{ PUT_ABSENT, 400, "InvalidArgument", STORE_INVALID },
	{ PUT_ABSENT, 507, "", STORE_NOSPACE },
	{ PUT_ABSENT, 403, "QuotaExceeded", STORE_NOSPACE },
	{ PUT_ABSENT, 302, "", STORE_AMBIGUOUS },
	{ PUT_MATCH, 412, "PreconditionFailed", STORE_CHANGED },
	{ PUT_MATCH, 404, "NoSuchKey", STORE_ABSENT },
	{ DEL, 404, "NoSuchKey", STORE_OK },
	{ DEL, 404, "NoSuchBucket", STORE_ABSENT },
	{ DEL, 500, "", STORE_AMBIGUOUS },
	{ LIST, 403, "AccessDenied", STORE_DENIED },
	{ LIST, 404, "NoSuchBucket", STORE_ABSENT },
	{ LIST, 200, "InternalError", STORE_BROKEN },
	{ LIST, 200, "", STORE_BROKEN },
};

static enum action
fixed(struct request *q, struct buf *out)
{
	if (strcmp(q->method, "HEAD") == 0 && status == 416)
		return say(out, 200, "ETag: \"x\"\r\n", "");
	if (strcmp(q->method, "HEAD") == 0)
		return say(out, status, "", "");
	return say_error(out, status, code);
}

START_TEST(statuses)
{
	enum store_rc want = table[_i].rc;

	status = table[_i].status;
	code = table[_i].code;
	begin(fixed, NULL);
	if (status == 416)	/* an empty object */
		want = STORE_OK;
	ck_rc(do_it(table[_i].what), want);
	ck_assert_int_eq((int)delivered, 0);
	server_end();
}
END_TEST

START_TEST(reasons)
{
	begin(fixed, NULL);
	status = 403;
	code = "AccessDenied";
	ck_rc(do_it(LIST), STORE_DENIED);
	ck_assert_str_eq(why.text, "bucket 'lake' answers 403 AccessDenied to "
	    "LIST: the key AKIATEST... lacks s3:ListBucket");
	ck_rc(do_it(PUT), STORE_DENIED);
	ck_assert_msg(strstr(why.text, "s3:PutObject") != NULL, "%s", why.text);
	code = "SignatureDoesNotMatch";
	ck_rc(do_it(PUT), STORE_DENIED);
	ck_assert_ptr_null(strstr(why.text, "verysecret"));
	code = "RequestTimeTooSkewed";
	ck_rc(do_it(GET), STORE_DENIED);
	ck_assert_msg(strstr(why.text, "the store's Sat, 21 Nov 2026 10:00:00 "
	    "GMT: set the clock") != NULL, "%s", why.text);
	status = 404;
	code = "NoSuchBucket";
	ck_rc(do_it(GET), STORE_ABSENT);
	ck_assert_msg(strstr(why.text, "no such bucket") != NULL, "%s",
	    why.text);
	server_end();
}
END_TEST

static enum action
elsewhere(struct request *q, struct buf *out)
{
	return say(out, 301, "x-amz-bucket-region: eu-west-1\r\n", "");
}

START_TEST(region)
{
	begin(elsewhere, NULL);
	ck_rc(do_it(HEAD), STORE_INVALID);
	ck_assert_msg(strstr(why.text, "'eu-west-1', not 'us-east-1'") != NULL,
	    "%s", why.text);
	server_end();
}
END_TEST

/* --- no answer --- */

static enum action
same_way(struct request *q, struct buf *out)
{
	if (how == ANSWER_CLOSE || how == ANSWER)
		say(out, 200, "ETag: \"e\"\r\n", "");
	else
		say(out, 200, "ETag: \"e\"\r\n", "0123456789012345678901234567"
		    "89012345678901234567890123456789012345678901234567890123"
		    "45678901234567890123456789012345678901234567890123456789");
	return how;
}

START_TEST(answer_lost)
{
	how = HANG_UP;
	begin(same_way, NULL);
	ck_rc(do_it(PUT), STORE_AMBIGUOUS);
	ck_rc(do_it(PUT_ABSENT), STORE_AMBIGUOUS);
	ck_rc(do_it(DEL), STORE_AMBIGUOUS);
	ck_rc(do_it(GET), STORE_UNREACHABLE);
	ck_rc(do_it(LIST), STORE_UNREACHABLE);
	ck_assert_int_eq(server.requests, 5);
	how = RESET_HALF;
	ck_rc(do_it(GET), STORE_UNREACHABLE);
	server_end();
}
END_TEST

START_TEST(nobody_there)
{
	begin(same_way, NULL);
	atomic_store(&server.stop, true);
	pthread_join(server.thread, NULL);
	close(server.fd);
	ck_rc(do_it(PUT_ABSENT), STORE_UNREACHABLE);
	ck_assert_msg(strstr(why.text, "cannot be reached for PUT") != NULL,
	    "%s", why.text);
	ck_rc(do_it(GET), STORE_UNREACHABLE);
	store_free(server.s);
}
END_TEST

static enum action
first_only(struct request *q, struct buf *out)
{
	if (q->nth > 1)
		return HANG_UP;
	return say(out, 200, "ETag: \"e\"\r\n", "");
}

/* A write over a reused connection that dies is not sent again behind our
 * back: the second sending would meet the first one's object. */
START_TEST(no_write_goes_twice)
{
	begin(first_only, NULL);
	ck_rc(do_it(PUT), STORE_OK);
	if (_i == 0)
		ck_rc(do_it(PUT_ABSENT), STORE_AMBIGUOUS);
	else
		ck_rc(store_put_mem(server.s, &call, "k", STORE_IF_ABSENT,
		    NULL, "", 0, NULL), STORE_AMBIGUOUS);
	ck_assert_int_eq(server.requests, 2);
	server_end();
}
END_TEST

START_TEST(deadlines)
{
	int64_t t = clock_mono();

	how = HANG;
	begin(same_way, NULL);
	call.deadline = t + 300 * NSEC_PER_MSEC;
	ck_rc(do_it(PUT), STORE_AMBIGUOUS);
	ck_assert_int_lt(clock_mono() - t, NSEC_PER_SEC);
	call.deadline = clock_mono() + 200 * NSEC_PER_MSEC;
	ck_rc(do_it(GET), STORE_UNREACHABLE);
	/* It is over already: nothing is sent. */
	ck_rc(do_it(PUT), STORE_UNREACHABLE);
	ck_assert_int_eq(server.requests, 2);
	server_end();
}
END_TEST

static void *
cancel_soon(void *arg)
{
	usleep(200000);
	atomic_store((_Atomic bool *)arg, true);
	return NULL;
}

START_TEST(cancel)
{
	_Atomic bool flag = false;
	int64_t t = clock_mono();
	pthread_t th;

	how = HANG;
	begin(same_way, NULL);
	call.cancel = &flag;
	pthread_create(&th, NULL, cancel_soon, &flag);
	ck_rc(do_it(GET), STORE_CANCELLED);
	pthread_join(th, NULL);
	ck_assert_int_lt(clock_mono() - t, NSEC_PER_SEC);
	server_end();
}
END_TEST

/* --- gets that are not what was asked for --- */

static const char *get_headers;

static enum action
give(struct request *q, struct buf *out)
{
	return say(out, status, get_headers, "0123456789");
}

static enum store_rc
get(const char *version, uint64_t off, uint64_t len)
{
	struct store_version v;

	snprintf(v.text, sizeof(v.text), "%s", version);
	delivered = 0;
	memset(&why, 0, sizeof(why));
	return store_get(server.s, &call, "k", &v, off, len, count_sink, NULL,
	    NULL);
}

START_TEST(get_checks)
{
	begin(give, NULL);
	status = 200;
	get_headers = "ETag: \"a\"\r\n";
	ck_rc(get("e:\"a\"", 0, 0), STORE_OK);
	ck_assert_int_eq((int)delivered, 10);
	/* A store that ignores If-Match (B5). */
	ck_rc(get("e:\"b\"", 0, 0), STORE_CHANGED);
	/* One that ignores ranges. */
	ck_rc(get("e:\"a\"", 2, 3), STORE_BROKEN);
	ck_rc(get("e:\"a\"", 0, 3), STORE_BROKEN);
	ck_rc(get("e:\"a\"", 20, 3), STORE_INVALID);
	ck_rc(get("", 0, 20), STORE_OK);
	ck_assert_int_eq((int)delivered, 10);
	/* Size and time for a version. */
	get_headers = "Last-Modified: Fri, 24 May 2013 00:00:00 GMT\r\n";
	ck_rc(get("d:10:1369353600", 0, 0), STORE_OK);
	ck_rc(get("d:11:1369353600", 0, 0), STORE_CHANGED);
	ck_rc(get("d:10:1369353601", 0, 0), STORE_CHANGED);
	ck_rc(get("e:\"a\"", 0, 0), STORE_CHANGED);
	ck_assert_int_eq((int)delivered, 0);
	status = 206;
	get_headers = "ETag: \"a\"\r\nContent-Range: bytes 5-14/100\r\n";
	ck_rc(get("e:\"a\"", 5, 10), STORE_OK);
	ck_rc(get("e:\"a\"", 6, 10), STORE_BROKEN);
	ck_rc(get("e:\"a\"", 5, 11), STORE_BROKEN);
	get_headers = "ETag: \"a\"\r\nContent-Range: bytes 14-5/100\r\n";
	ck_rc(get("e:\"a\"", 14, 10), STORE_BROKEN);
	get_headers = "ETag: \"a\"\r\n";
	ck_rc(get("e:\"a\"", 5, 10), STORE_BROKEN);
	/* More bytes than the range has. */
	get_headers = "ETag: \"a\"\r\nContent-Range: bytes 5-7/100\r\n";
	ck_rc(get("e:\"a\"", 5, 3), STORE_BROKEN);
	server_end();
}
END_TEST

/* --- large puts and copies --- */

#define PART_ETAG "d41d8cd98f00b204e9800998ecf8427e"

static _Atomic int part_tries, aborts, completes, creates;
static int complete_status;
static const char *complete_body;
static char object_etag[SIGV4_ETAG_LEN];

static enum action
multipart(struct request *q, struct buf *out)
{
	char headers[256];

	if (strcmp(q->method, "HEAD") == 0) {
		buf_printf(out, "HTTP/1.1 200 X\r\nContent-Length: 25\r\n"
		    "ETag: %s\r\n\r\n", object_etag);
		return ANSWER;
	}
	if (strstr(q->target, "uploads=") != NULL) {
		creates++;
		return say(out, 200, "", "<R><UploadId>u&amp;1</UploadId></R>");
	}
	ck_assert_msg(strstr(q->target, "uploadId=u%261") != NULL, "%s",
	    q->target);
	if (strcmp(q->method, "DELETE") == 0) {
		aborts++;
		return say(out, 204, "", "");
	}
	if (strcmp(q->method, "POST") == 0) {
		completes++;
		ck_assert_ptr_nonnull(strstr((char *)q->body.p,
		    "</ETag><PartNumber>3</PartNumber></Part></Complete"));
		if (complete_status == 0)
			return HANG_UP;
		return say(out, complete_status, "", complete_body);
	}
	/* The second part does not get through at first. */
	if (strstr(q->target, "partNumber=2") != NULL && part_tries++ < 2)
		return part_tries == 1 ? say_error(out, 503, "SlowDown") :
		    HANG_UP;
	if (strstr(q->head, "x-amz-copy-source") != NULL)
		return say(out, 200, "", "<CopyPartResult><ETag>&quot;"
		    PART_ETAG "&quot;</ETag></CopyPartResult>");
	snprintf(headers, sizeof(headers), "ETag: \"%s\"\r\n", PART_ETAG);
	return say(out, 200, headers, "");
}

static const struct s3_sizes tiny = { .single = 10, .part = 10,
    .copy_single = 10, .copy_part = 10 };

static enum store_rc
put_large(enum store_cond cond)
{
	struct store_info info;
	enum store_rc rc;

	memset(&why, 0, sizeof(why));
	part_tries = aborts = completes = creates = 0;
	rc = store_put_mem(server.s, &call, "k", cond, NULL,
	    "0123456789012345678901234", 25, &info);
	if (rc == STORE_OK)
		ck_assert_int_eq((int)info.size, 25);
	return rc;
}

START_TEST(large_put)
{
	const char *etags[] = { PART_ETAG, PART_ETAG, PART_ETAG };

	begin(multipart, &tiny);
	ck_assert_int_eq(sigv4_parts_etag(etags, 3, object_etag), 0);
	complete_status = 200;
	complete_body = "<?xml version=\"1.0\"?> <CompleteMultipartUpload"
	    "Result><ETag>&quot;x-3&quot;</ETag></CompleteMultipartUpload"
	    "Result>";
	ck_rc(put_large(STORE_ALWAYS), STORE_OK);
	ck_assert_int_eq(part_tries, 3);
	ck_assert_int_eq(aborts, 0);
	/* A 200 that is an error, or nothing. */
	complete_body = "<Error><Code>InternalError</Code></Error>";
	strcpy(object_etag, "\"other\"");
	ck_rc(put_large(STORE_IF_ABSENT), STORE_AMBIGUOUS);
	ck_assert_int_eq(aborts, 1);
	complete_body = " ";
	ck_rc(put_large(STORE_IF_ABSENT), STORE_AMBIGUOUS);
	/* Somebody won; and: nobody need have. */
	complete_status = 412;
	complete_body = "";
	ck_rc(put_large(STORE_IF_ABSENT), STORE_EXISTS);
	ck_assert_int_eq(aborts, 1);
	complete_status = 409;
	ck_rc(put_large(STORE_IF_ABSENT), STORE_THROTTLED);
	ck_assert_int_eq(aborts, 1);
	/* The answer lost: another object there, then this one. */
	complete_status = 0;
	ck_rc(put_large(STORE_IF_ABSENT), STORE_AMBIGUOUS);
	ck_assert_int_eq(completes, 1);
	ck_assert_int_eq(sigv4_parts_etag(etags, 3, object_etag), 0);
	ck_rc(put_large(STORE_IF_ABSENT), STORE_OK);
	ck_assert_int_eq(completes, 1);
	server_end();
}
END_TEST

static enum action
part_denied(struct request *q, struct buf *out)
{
	if (strcmp(q->method, "PUT") == 0)
		return say_error(out, 403, "AccessDenied");
	return multipart(q, out);
}

static enum action
part_hangs(struct request *q, struct buf *out)
{
	if (strcmp(q->method, "PUT") == 0)
		return HANG;
	return multipart(q, out);
}

START_TEST(large_put_fails)
{
	_Atomic bool flag = false;
	pthread_t th;

	if (_i == 0) {
		begin(part_denied, &tiny);
		ck_rc(put_large(STORE_ALWAYS), STORE_DENIED);
	} else if (_i == 1) {
		begin(part_hangs, &tiny);
		call.cancel = &flag;
		pthread_create(&th, NULL, cancel_soon, &flag);
		ck_rc(put_large(STORE_ALWAYS), STORE_CANCELLED);
		pthread_join(th, NULL);
	} else {
		begin(part_hangs, &tiny);
		call.deadline = clock_mono() + 300 * NSEC_PER_MSEC;
		ck_rc(put_large(STORE_ALWAYS), STORE_UNREACHABLE);
	}
	ck_assert_int_eq(aborts, 1);
	ck_assert_int_eq(completes, 0);
	server_end();
}
END_TEST

START_TEST(large_copy)
{
	struct store_version v = { "e:\"src\"" };
	struct store_info info;

	begin(multipart, &tiny);
	strcpy(object_etag, "\"src\"");
	complete_status = 200;
	complete_body = "<R><ETag>\"x-3\"</ETag></R>";
	part_tries = aborts = creates = 0;
	ck_rc(store_copy(server.s, &call, "from", &v, "to", &info), STORE_OK);
	ck_assert_str_eq(info.version.text, "e:\"x-3\"");
	ck_assert_int_eq((int)info.size, 25);
	ck_assert_int_eq(creates, 1);
	strcpy(v.text, "e:\"old\"");
	ck_rc(store_copy(server.s, &call, "from", &v, "to", &info),
	    STORE_CHANGED);
	ck_assert_int_eq(creates, 1);
	server_end();
}
END_TEST

static enum action
copy_answers(struct request *q, struct buf *out)
{
	if (strcmp(q->method, "HEAD") == 0)
		return say(out, 200, "ETag: \"src\"\r\n", "");
	return say(out, 200, "", complete_body);
}

START_TEST(copy_200_with_error)
{
	begin(copy_answers, NULL);
	complete_body = "<Error><Code>SlowDown</Code></Error>";
	ck_rc(do_it(COPY), STORE_THROTTLED);
	complete_body = "<Error><Code>InternalError</Code></Error>";
	ck_rc(do_it(COPY), STORE_AMBIGUOUS);
	complete_body = "";
	ck_rc(do_it(COPY), STORE_AMBIGUOUS);
	complete_body = "<CopyObjectResult><LastModified>2013-05-24T00:00:00"
	    ".000Z</LastModified><ETag>\"n\"</ETag></CopyObjectResult>";
	ck_rc(do_it(COPY), STORE_OK);
	server_end();
}
END_TEST

/* --- lists --- */

static const char *page;

static enum action
give_page(struct request *q, struct buf *out)
{
	return say(out, 200, "", page);
}

static char listed[1024];

static int
note_each(void *arg, const struct store_entry *e)
{
	size_t n = strlen(listed);

	snprintf(listed + n, sizeof(listed) - n, "%s%s %llu %s;",
	    e->is_prefix ? "*" : "", e->key,
	    (unsigned long long)e->info.size, e->info.version.text);
	return 0;
}

static enum store_rc
list_page(const char *text, struct store_list *l)
{
	page = text;
	listed[0] = '\0';
	memset(&why, 0, sizeof(why));
	return store_list(server.s, &call, l, note_each, NULL);
}

#define L(x)	"<?xml version=\"1.0\"?><ListBucketResult>" x \
	"</ListBucketResult>"
#define C(key, etag) "<Contents><Key>" key "</Key><LastModified>" \
	"2013-05-24T00:00:00.123Z</LastModified><ETag>" etag "</ETag>" \
	"<Size>5</Size><Owner><ID>i</ID><Key>no</Key></Owner></Contents>"

START_TEST(lists)
{
	struct store_list l = { .prefix = "" };

	begin(give_page, NULL);
	ck_rc(list_page(L(C("pre/a%2Bb+c%0A", "&quot;x&quot;") C("pre/", "")
	    C("pre/z", "") "<CommonPrefixes><Prefix>pre/m/</Prefix>"
	    "</CommonPrefixes><EncodingType>url</EncodingType>"
	    "<IsTruncated>false</IsTruncated>"), &l), STORE_OK);
	ck_assert_str_eq(listed, "a+b c\n 5 e:\"x\";*m/ 0 ;"
	    "z 5 d:5:1369353600;");
	ck_assert(!l.more);
	/* A store that does not encode. */
	ck_rc(list_page(L(C("pre/a%2Bb+c", "x")), &l), STORE_OK);
	ck_assert_str_eq(listed, "a%2Bb+c 5 e:\"x\";");
	/* Pages. */
	ck_rc(list_page(L(C("pre/k", "x") "<IsTruncated>true</IsTruncated>"
	    "<NextContinuationToken>t/1==</NextContinuationToken>"), &l),
	    STORE_OK);
	ck_assert(l.more);
	ck_assert_str_eq(l.token, "ct/1==");
	/* Without a token, go on after the last key. */
	ck_rc(list_page(L(C("pre/k", "x") "<IsTruncated>true</IsTruncated>"),
	    &l), STORE_OK);
	ck_assert_str_eq(l.token, "ak");
	ck_rc(list_page(L(""), &l), STORE_OK);
	ck_assert(!l.more);
	server_end();
}
END_TEST

#define U(key, began) "<Upload><Key>" key "</Key><UploadId>u</UploadId>" \
	"<Owner><ID>i</ID></Owner><Initiated>" began "</Initiated></Upload>"
#define LU(x)	"<ListMultipartUploadsResult>" x "</ListMultipartUploadsResult>"

static enum action
give_uploads(struct request *q, struct buf *out)
{
	ck_assert_ptr_nonnull(strstr(q->target, "uploads="));
	ck_assert_ptr_nonnull(strstr(q->target, "prefix=pre%2F"));
	if (page != NULL)
		return say(out, 200, "", page);
	if (strstr(q->target, "key-marker") == NULL)
		return say(out, 200, "", LU("<EncodingType>url</EncodingType>"
		    "<IsTruncated>true</IsTruncated><NextKeyMarker>pre/a%2Bb"
		    "</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>"
		    U("pre/data/01/2-1", "2013-05-24T00:00:00.000Z")
		    U("pre/a%2Bb", "2013-05-24T00:00:00.000Z")));
	ck_assert_ptr_nonnull(strstr(q->target, "key-marker=pre%2Fa%2Bb"));
	ck_assert_ptr_nonnull(strstr(q->target, "upload-id-marker=u"));
	return say(out, 200, "", LU("<IsTruncated>false</IsTruncated>"
	    U("pre/data/02/2-2", "2013-05-24T00:00:01Z")
	    U("other/data/02/2-2", "2013-05-24T00:00:01Z")));
}

static int
note_left(void *arg, const struct store_entry *e)
{
	size_t n = strlen(listed);

	snprintf(listed + n, sizeof(listed) - n, "%s %lld;", e->key,
	    (long long)(e->info.mtime / NSEC_PER_SEC));
	return 0;
}

static const char *const bad_uploads[] = {
	"", L(""), LU("<IsTruncated>true</IsTruncated>"), LU(U("pre/k", "now")),
	LU("<IsTruncated>true</IsTruncated><NextKeyMarker>pre/k"
	    "</NextKeyMarker><NextUploadIdMarker>same</NextUploadIdMarker>"),
};

/* Uploads that have not ended: all pages, what is ours to know. */
START_TEST(uploads_left)
{
	size_t i;

	begin(give_uploads, NULL);
	page = NULL;
	listed[0] = '\0';
	ck_rc(server.s->ops->left(server.s, &call, note_left, NULL), STORE_OK);
	ck_assert_str_eq(listed, "data/01/2-1 1369353600;a+b 1369353600;"
	    "data/02/2-2 1369353601;");
	for (i = 0; i < sizeof(bad_uploads) / sizeof(bad_uploads[0]); i++) {
		page = bad_uploads[i];
		ck_rc(server.s->ops->left(server.s, &call, note_left, NULL),
		    STORE_BROKEN);
	}
	server_end();
}
END_TEST

static const char *const bad_pages[] = {
	"",
	"no xml",
	"<ListBucketResult>",
	"<Other></Other>",
	L(C("other/a", "x")),				/* not our prefix */
	L(C("pre/a", "x") C("qre/a", "x")),
	"<!DOCTYPE x [<!ENTITY a \"b\">]>" L(C("pre/&a;", "x")),
	L("<Contents><Key>pre/a</Key><Size>-1</Size></Contents>"),
	L("<Contents><Key>pre/a</Key><Size>99999999999999999999999</Size>"
	    "</Contents>"),
	L("<Contents><Key>pre/a</Key><LastModified>soon</LastModified>"
	    "</Contents>"),
	L("<EncodingType>url</EncodingType>" C("pre/a%00b", "x")),
	L("<EncodingType>url</EncodingType>" C("pre/a%zz", "x")),
	L("<EncodingType>url</EncodingType>" C("pre/a%", "x")),
	L("<IsTruncated>true</IsTruncated>"),		/* and then? */
	L("<a><b><c><d><e><f><g><h><i><j><k><l></l></k></j></i></h></g></f>"
	    "</e></d></c></b></a>"),
};

START_TEST(bad_lists)
{
	struct store_list l = { .prefix = "" };

	begin(give_page, NULL);
	ck_rc(list_page(bad_pages[_i], &l), STORE_BROKEN);
	ck_assert_str_eq(listed, "");
	server_end();
}
END_TEST

/* Any cut and any flipped byte of a page: no crash, an answer. */
START_TEST(damaged_lists)
{
	const char *whole = L(C("pre/a%2Bb", "x") C("pre/c", "y")
	    "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
	    "<NextContinuationToken>t</NextContinuationToken>");
	size_t n = strlen(whole), i;
	char *text = malloc(n + 1);
	struct store_list l;
	enum store_rc rc;

	begin(give_page, NULL);
	for (i = 0; i < 600; i++) {
		memset(&l, 0, sizeof(l));
		l.prefix = "";
		strcpy(text, whole);
		if (i < 200)
			text[random_u64() % n] = '\0';
		else
			text[random_u64() % n] = (char)(1 + random_u64() % 255);
		rc = list_page(text, &l);
		ck_assert_msg(rc == STORE_OK || rc == STORE_BROKEN, "%s: %s",
		    store_rc_name(rc), text);
	}
	free(text);
	server_end();
}
END_TEST

/* --- opening --- */

/* --- tags --- */

#define TAG(k, v) "<Tag><Key>" k "</Key><Value>" v "</Value></Tag>"

static const struct {
	int status;
	const char *code, *body;	/* body: of a 200 */
	enum store_rc rc;
	const char *tags;		/* KEY=VALUE; each */
} tag_sets[] = {
	{ 200, "", "<Tagging xmlns=\"x\"><TagSet>" TAG("a", "1")
	  TAG("b &amp; c", "") "</TagSet></Tagging>", STORE_OK,
	  "a=1;b & c=;" },
	{ 200, "", "\xef\xbb\xbf<?xml version=\"1.0\"?><Tags><TagSet>"
	  TAG("a", "1") "</TagSet></Tags>", STORE_OK, "a=1;" },
	{ 200, "", "<Tagging><TagSet/></Tagging>", STORE_OK, "" },
	{ 200, "", "<Tagging><TagSet>" TAG("a", "1") "<Tag>", STORE_BROKEN,
	  "" },
	{ 200, "", "<ListBucketResult/>", STORE_BROKEN, "" },
	{ 200, "", "", STORE_BROKEN, "" },
	{ 404, "NoSuchTagSet", NULL, STORE_OK, "" },
	{ 404, "NoSuchKey", NULL, STORE_ABSENT, "" },
	{ 403, "AccessDenied", NULL, STORE_DENIED, "" },
	{ 501, "NotImplemented", NULL, STORE_UNSUPPORTED, "" },
};
static const char *tag_body;

static enum action
tagged(struct request *q, struct buf *out)
{
	ck_assert_ptr_nonnull(strstr(q->target, "?tagging="));
	return status == 200 ? say(out, 200, "", tag_body) :
	    say_error(out, status, code);
}

START_TEST(tags)
{
	struct buf got = BUF_INIT, text = BUF_INIT;
	const char *p;

	status = tag_sets[_i].status;
	code = tag_sets[_i].code;
	tag_body = tag_sets[_i].body;
	begin(tagged, NULL);
	ck_rc(store_tags(server.s, &call, "k", &got), tag_sets[_i].rc);
	for (p = (const char *)got.p; p < (const char *)got.p + got.len;
	    p += strlen(p) + 1) {
		buf_printf(&text, "%s=", p);
		p += strlen(p) + 1;
		buf_printf(&text, "%s;", p);
	}
	ck_assert_str_eq(buf_cstr(&text), tag_sets[_i].tags);
	if (status == 403)
		ck_assert_msg(strstr(why.text, "lacks s3:GetObjectTagging") !=
		    NULL, "%s", why.text);
	buf_done(&got);
	buf_done(&text);
	server_end();
}
END_TEST

static const struct { const char *url, *words; } bad_urls[] = {
	{ "s3://lake?endpont=http://127.0.0.1:1", "no setting 'endpont'" },
	{ "s3://lake?endpoint=127.0.0.1:1", "endpoint=" },
	{ "s3://lake?endpoint=http://127.0.0.1:1/path", "endpoint=" },
	{ "s3://lake?endpoint=http://u@127.0.0.1:1", "endpoint=" },
	{ "s3://lake?style=odd", "path or virtual" },
	{ "s3://lake?checksum=md4", "crc32c or none" },
	{ "s3://lake?dialect=odd", "aws, express, r2" },
	{ "s3://lake?dialect=express", "BASE--ZONE--x-s3" },
	{ "s3://lake?region=a%0Ab", "region" },
	{ "s3://lake?ca=/nonexistent/ca.pem", "cannot be read" },
};

START_TEST(open_refuses)
{
	struct store *s = NULL;
	struct url u;
	int err;

	sys_init();
	setenv("AWS_ACCESS_KEY_ID", "A", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "S", 1);
	memset(&why, 0, sizeof(why));
	err = url_parse(bad_urls[_i].url, &u, &why);
	if (err == 0) {
		err = s3_store_open(&u, &s, &why);
		url_done(&u);
		ck_assert_msg(strstr(why.text, bad_urls[_i].words) != NULL,
		    "%s", why.text);
	}
	ck_assert_int_eq(err, -EINVAL);
	ck_assert_ptr_null(s);
}
END_TEST

static struct s3 *
open_s3(const char *text)
{
	struct store *s = NULL;
	struct url u;

	memset(&why, 0, sizeof(why));
	ck_assert_int_eq(url_parse(text, &u, &why), 0);
	ck_assert_msg(s3_store_open(&u, &s, &why) == 0, "%s", why.text);
	url_done(&u);
	return (struct s3 *)s;
}

START_TEST(servers)
{
	struct s3 *s;

	sys_init();
	aws_env_clear();
	setenv("AWS_ACCESS_KEY_ID", "A", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "S", 1);
	s = open_s3("s3://lake/p?region=eu-west-1");
	ck_assert_str_eq(s->base, "https://lake.s3.eu-west-1.amazonaws.com");
	ck_assert_str_eq(s->path, "");
	ck_assert(s->https && s->aws && !s->loopback);
	store_free(&s->store);
	s = open_s3("s3://lake.with.dots?region=cn-north-1");
	ck_assert_str_eq(s->base, "https://s3.cn-north-1.amazonaws.com.cn");
	ck_assert_str_eq(s->path, "/lake.with.dots");
	store_free(&s->store);
	s = open_s3("s3://lake?endpoint=https://minio.example.com:443/");
	ck_assert_str_eq(s->host, "minio.example.com");
	ck_assert_str_eq(s->path, "/lake");
	store_free(&s->store);
	s = open_s3("s3://lake?endpoint=http://localhost:9000&style=virtual");
	ck_assert_str_eq(s->host, "lake.localhost:9000");
	ck_assert(s->loopback);
	store_free(&s->store);
	/* None found: unsigned to loopback, refused elsewhere. */
	aws_env_clear();
	unsetenv("AWS_EC2_METADATA_DISABLED");
	s = open_s3("s3://lake?endpoint=http://127.0.0.1:9000");
	ck_assert_ptr_null(s->creds);
	store_free(&s->store);
}
END_TEST

START_TEST(no_credentials)
{
	struct store *s = NULL;
	struct url u;

	sys_init();
	aws_env_clear();
	memset(&why, 0, sizeof(why));
	ck_assert_int_eq(url_parse("s3://lake", &u, &why), 0);
	ck_assert_int_eq(s3_store_open(&u, &s, &why), -EACCES);
	ck_assert_msg(strstr(why.text, "AWS_ACCESS_KEY_ID") != NULL &&
	    strstr(why.text, "/nonexistent") != NULL, "%s", why.text);
	url_done(&u);
}
END_TEST

/* None came, or none was kept. */
START_TEST(no_headers)
{
	const struct http_resp none = { .status = 200 };
	uint64_t v;

	ck_assert_ptr_null(http_resp_header(&none, "etag"));
	ck_assert(!http_resp_u64(&none, "content-length", &v));
}
END_TEST

#define N(a)	(int)(sizeof(a) / sizeof((a)[0]))

int
main(void)
{
	Suite *suite = suite_create("s3_answers");
	TCase *t = tcase_create("answers");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, statuses, 0, N(table));
	tcase_add_test(t, reasons);
	tcase_add_test(t, region);
	tcase_add_test(t, answer_lost);
	tcase_add_test(t, nobody_there);
	tcase_add_loop_test(t, no_write_goes_twice, 0, 2);
	tcase_add_test(t, deadlines);
	tcase_add_test(t, cancel);
	tcase_add_test(t, get_checks);
	tcase_add_test(t, large_put);
	tcase_add_loop_test(t, large_put_fails, 0, 3);
	tcase_add_test(t, large_copy);
	tcase_add_test(t, copy_200_with_error);
	tcase_add_test(t, lists);
	tcase_add_test(t, uploads_left);
	tcase_add_loop_test(t, bad_lists, 0, N(bad_pages));
	tcase_add_test(t, damaged_lists);
	tcase_add_loop_test(t, tags, 0, N(tag_sets));
	tcase_add_loop_test(t, open_refuses, 0, N(bad_urls));
	tcase_add_test(t, servers);
	tcase_add_test(t, no_credentials);
	tcase_add_test(t, no_headers);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

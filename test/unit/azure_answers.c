/* azure_answers: what the Azure backend makes of the answers a store can give,
 * and of those it never gives (L2).  Against a server in a thread. */
#include "test/unit/azure_server.h"

static struct store_call call;
static struct why why;
static int status;
static const char *code;
static _Atomic enum action how;
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
    const struct azure_sizes *sizes)
{
	memset(&why, 0, sizeof(why));
	call = (struct store_call){ .why = &why };
	delivered = 0;
	server_begin(answer, sizes);
}

static void
says(const char *words)
{
	ck_assert_msg(strstr(why.text, words) != NULL, "%s", why.text);
}

/* --- status and code to result --- */

enum what { GET, PUT, PUT_ABSENT, PUT_MATCH, DEL, HEAD, LIST };

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
	}
	return STORE_INVALID;
}

static const struct {
	enum what what;
	int status;
	const char *code;
	enum store_rc rc;
} table[] = {
	{ GET, 404, "BlobNotFound", STORE_ABSENT },
	{ GET, 404, "ContainerNotFound", STORE_ABSENT },
	{ GET, 404, "", STORE_BROKEN },			/* not the service */
	{ GET, 403, "AuthorizationPermissionMismatch", STORE_DENIED },
	{ GET, 403, "AuthenticationFailed", STORE_DENIED },
	{ GET, 401, "NoAuthenticationInformation", STORE_DENIED },
	{ GET, 412, "ConditionNotMet", STORE_CHANGED },
	{ GET, 500, "InternalError", STORE_BROKEN },
	{ GET, 500, "OperationTimedOut", STORE_BROKEN },
	{ GET, 503, "ServerBusy", STORE_THROTTLED },
	{ GET, 503, "", STORE_THROTTLED },
	{ GET, 429, "", STORE_THROTTLED },
	{ GET, 409, "BlobArchived", STORE_UNSUPPORTED },
	{ GET, 301, "", STORE_INVALID },
	{ GET, 204, "", STORE_BROKEN },			/* of which blob? */
	{ HEAD, 404, "BlobNotFound", STORE_ABSENT },
	{ HEAD, 404, "", STORE_BROKEN },
	{ HEAD, 403, "AuthorizationFailure", STORE_DENIED },
	{ PUT_ABSENT, 409, "BlobAlreadyExists", STORE_EXISTS },
	{ PUT_ABSENT, 412, "ConditionNotMet", STORE_EXISTS },
	{ PUT_ABSENT, 412, "", STORE_EXISTS },
	{ PUT_ABSENT, 412, "LeaseIdMissing", STORE_DENIED },	/* no no */
	{ PUT_ABSENT, 403, "UnauthorizedBlobOverwrite", STORE_EXISTS },
	{ PUT_ABSENT, 409, "BlobImmutableDueToPolicy", STORE_EXISTS },
	{ PUT_ABSENT, 409, "ContainerBeingDeleted", STORE_THROTTLED },
	{ PUT_ABSENT, 409, "", STORE_THROTTLED },
	{ PUT_ABSENT, 500, "OperationTimedOut", STORE_AMBIGUOUS },
	{ PUT_ABSENT, 500, "", STORE_AMBIGUOUS },
	{ PUT_ABSENT, 502, "", STORE_AMBIGUOUS },
	{ PUT_ABSENT, 503, "ServerBusy", STORE_THROTTLED },
	{ PUT_ABSENT, 503, "", STORE_AMBIGUOUS },	/* a proxy's */
	{ PUT_ABSENT, 400, "Crc64Mismatch", STORE_THROTTLED },
	{ PUT_ABSENT, 400, "InvalidHeaderValue", STORE_INVALID },
	{ PUT_ABSENT, 507, "", STORE_NOSPACE },
	{ PUT_ABSENT, 302, "", STORE_AMBIGUOUS },
	{ PUT, 403, "UnauthorizedBlobOverwrite", STORE_DENIED },
	{ PUT, 409, "ResourceTypeMismatch", STORE_UNSUPPORTED },
	{ PUT_MATCH, 412, "ConditionNotMet", STORE_CHANGED },
	{ DEL, 404, "BlobNotFound", STORE_OK },
	{ DEL, 404, "ContainerNotFound", STORE_ABSENT },
	{ DEL, 409, "DirectoryIsNotEmpty", STORE_UNSUPPORTED },
	{ DEL, 500, "", STORE_AMBIGUOUS },
	{ LIST, 403, "AuthorizationPermissionMismatch", STORE_DENIED },
	{ LIST, 404, "ContainerNotFound", STORE_ABSENT },
	{ LIST, 200, "", STORE_BROKEN },
};

static enum action
fixed(struct request *q, struct buf *out)
{
	char header[128] = "";

	if (strcmp(q->method, "HEAD") == 0) {
		if (code[0] != '\0')
			snprintf(header, sizeof(header),
			    "x-ms-error-code: %s\r\n", code);
		return say(out, status, header, "");
	}
	return say_error(out, status, code);
}

START_TEST(statuses)
{
	status = table[_i].status;
	code = table[_i].code;
	begin(fixed, NULL);
	ck_rc(do_it(table[_i].what), table[_i].rc);
	ck_assert_int_eq((int)delivered, 0);
	server_end();
}
END_TEST

START_TEST(reasons)
{
	begin(fixed, NULL);
	status = 403;
	code = "AuthorizationPermissionMismatch";
	ck_rc(do_it(LIST), STORE_DENIED);
	ck_assert_str_eq(why.text, "container 'lake' of account 'acct' "
	    "answers 403 AuthorizationPermissionMismatch to LIST: what "
	    "AZURE_STORAGE_KEY gives lacks Storage Blob Data Reader (SAS: "
	    "sp=l)");
	ck_rc(do_it(PUT), STORE_DENIED);
	says("Storage Blob Data Contributor");
	code = "AuthenticationFailed";
	ck_rc(do_it(PUT), STORE_DENIED);
	says("the service's Sat, 21 Nov 2026 10:00:00 GMT: set the clock");
	ck_assert_ptr_null(strstr(why.text, KEY));
	code = "KeyBasedAuthenticationNotPermitted";
	ck_rc(do_it(GET), STORE_DENIED);
	says("AZURE_TENANT_ID");
	status = 404;
	code = "ContainerNotFound";
	ck_rc(do_it(GET), STORE_ABSENT);
	says("no such container");
	status = 400;
	code = "OutOfRangeInput";
	ck_rc(do_it(GET), STORE_INVALID);
	says("400 OutOfRangeInput to GET of 'k': because");
	ck_assert_ptr_null(strstr(why.text, "RequestId"));
	server_end();
	server_listen(fixed);
	env_clear();
	azure_begin(NULL);
	status = 403;
	code = "AuthorizationFailure";
	ck_rc(do_it(GET), STORE_DENIED);
	says("no credentials were found");
	server_end();
}
END_TEST

/* 412 to a blob that is not there is "absent"; a folder is no blob. */
static enum action
gone_or_folder(struct request *q, struct buf *out)
{
	if (strstr(q->target, "/folder") != NULL)
		return say(out, 200, "ETag: \"1\"\r\n"
		    "x-ms-resource-type: directory\r\n", "");
	if (strcmp(q->method, "HEAD") == 0)
		return say(out, 404, "x-ms-error-code: BlobNotFound\r\n", "");
	return say_error(out, 412, "ConditionNotMet");
}

START_TEST(absent)
{
	struct store_version v = { "e:\"v1\"" };
	struct store_info info;

	begin(gone_or_folder, NULL);
	ck_rc(do_it(PUT_MATCH), STORE_ABSENT);
	ck_assert_str_eq(why.text, "");		/* the contract has it so */
	ck_rc(do_it(GET), STORE_ABSENT);
	ck_rc(do_it(HEAD), STORE_ABSENT);
	ck_rc(store_del(server.s, &call, "k", &v), STORE_OK);
	ck_assert_str_eq(why.text, "");
	ck_rc(store_head(server.s, &call, "folder", &info), STORE_ABSENT);
	ck_rc(store_get(server.s, &call, "folder", NULL, 0, 0, count_sink,
	    NULL, NULL), STORE_ABSENT);
	ck_rc(store_put_mem(server.s, &call, "a\\b", STORE_ALWAYS, NULL, "",
	    0, NULL), STORE_INVALID);
	server_end();
}
END_TEST

/* --- no answer --- */

static enum action
same_way(struct request *q, struct buf *out)
{
	say(out, 201, "ETag: \"e\"\r\n", "");
	return how;
}

/* A condition is refused also of what is absent: a look tells, or says that
 * it cannot now. */
static enum action
not_met(struct request *q, struct buf *out)
{
	if (strcmp(q->method, "HEAD") != 0)
		return say_error(out, 412, "ConditionNotMet");
	if (status == 0)
		return HANG_UP;
	return say(out, status, code, "");
}

static const struct { int status; const char *header; enum store_rc rc; }
looks[] = {
	{ 404, "x-ms-error-code: BlobNotFound\r\n", STORE_ABSENT },
	{ 200, "ETag: \"v2\"\r\n", STORE_CHANGED },
	{ 403, "", STORE_CHANGED },
	{ 503, "", STORE_THROTTLED },
	{ 500, "", STORE_BROKEN },
	{ 0, "", STORE_UNREACHABLE },
};

START_TEST(changed_or_absent)
{
	struct store_version v = { "e:\"v1\"" };

	status = looks[_i].status;
	code = looks[_i].header;
	begin(not_met, NULL);
	ck_rc(do_it(PUT_MATCH), looks[_i].rc);
	ck_rc(store_get(server.s, &call, "k", &v, 0, 0, count_sink, NULL,
	    NULL), looks[_i].rc);
	ck_assert_int_eq((int)delivered, 0);
	server_end();
}
END_TEST

START_TEST(answer_lost)
{
	static const enum action ways[] = { HANG_UP, RESET_HALF };
	size_t i;

	begin(same_way, NULL);
	for (i = 0; i < 2; i++) {
		how = ways[i];
		ck_rc(do_it(PUT_ABSENT), STORE_AMBIGUOUS);
		ck_rc(do_it(DEL), STORE_AMBIGUOUS);
		ck_rc(do_it(GET), STORE_UNREACHABLE);
		ck_rc(do_it(LIST), STORE_UNREACHABLE);
	}
	how = HANG;
	call.deadline = clock_mono() + 200 * NSEC_PER_MSEC;
	ck_rc(do_it(PUT_ABSENT), STORE_AMBIGUOUS);
	call.deadline = 0;
	server_end();
}
END_TEST

/* --- what is sent --- */

static char sent[20000];

static enum action
record(struct request *q, struct buf *out)
{
	snprintf(sent, sizeof(sent), "%s", q->head);
	return say(out, 201, "ETag: \"0x8D\"\r\n", "");
}

static void
has(const char *words)
{
	ck_assert_msg(strstr(sent, words) != NULL, "no '%s' in: %s", words,
	    sent);
}

START_TEST(requests)
{
	struct store_version v = { "e:\"v1\"" };
	struct store_info info;

	begin(record, NULL);
	ck_rc(store_put_mem(server.s, &call, "a b/\xc3\xa4", STORE_IF_ABSENT,
	    NULL, "123456789", 9, &info), STORE_OK);
	ck_assert_str_eq(info.version.text, "e:\"0x8D\"");
	has("PUT /acct/lake/pre/a%20b/%C3%A4 HTTP/1.1\r\n");
	has("if-none-match: *\r\n");
	has("x-ms-blob-type: BlockBlob\r\n");
	has("x-ms-version: " AZURE_VERSION "\r\n");
	has("x-ms-content-crc64: iJh5CoYUi64=\r\n");
	has("authorization: SharedKey acct:");
	ck_rc(store_del(server.s, &call, "k", &v), STORE_OK);
	has("if-match: \"v1\"\r\n");
	server_end();
	server_listen(record);
	env_clear();
	setenv("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=a%2Bb", 1);
	azure_begin(NULL);
	ck_rc(do_it(DEL), STORE_OK);
	has("DELETE /acct/lake/pre/k?sv=1&sig=a%2Bb HTTP/1.1\r\n");
	ck_assert_ptr_null(strstr(sent, "authorization"));
	server_end();
}
END_TEST

/* A server that knows no CRC-64 is asked without. */
static enum action
no_crc(struct request *q, struct buf *out)
{
	if (strstr(q->head, "x-ms-content-crc64") != NULL)
		return say_error(out, 500, "FeatureNotSupported");
	return record(q, out);
}

START_TEST(no_checksum)
{
	begin(no_crc, NULL);
	ck_rc(do_it(PUT), STORE_OK);
	ck_rc(do_it(PUT), STORE_OK);
	ck_assert_int_eq(atomic_load(&server.requests), 3);
	server_end();
}
END_TEST

static const char *named;	/* the sum that an answer names */

static enum action
names_sum(struct request *q, struct buf *out)
{
	char h[128];

	snprintf(h, sizeof(h), "ETag: \"0x8D\"\r\n%s%s%s",
	    named != NULL ? "x-ms-content-crc64: " : "",
	    named != NULL ? named : "", named != NULL ? "\r\n" : "");
	return say(out, 201, h, "");
}

/* That a put was compared with its sum is claimed where the answer says so. */
START_TEST(sum_is_named)
{
	static const char *const sums[] = { NULL, "iJh5CoYUi64=",
	    "AAAAAAAAAAA=", "iJh5CoYUi64=" };
	struct store_info info;
	size_t i;

	begin(names_sum, NULL);
	for (i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		named = sums[i];
		ck_rc(store_put_mem(server.s, &call, "k", STORE_ALWAYS, NULL,
		    "123456789", 9, &info), STORE_OK);
		ck_assert_int_eq(info.summed, i & 1);
	}
	server_end();
}
END_TEST

/* --- blocks --- */

enum { BLOCKS = 4 };
static const struct azure_sizes tiny = { .single = 100, .part = 100,
    .copy_single = 100, .copy_part = 100 };
static char blob[512];
static _Atomic int blocks;		/* that have come */
static char committed[8192];		/* the list's body */
static enum { LIST_FINE, LIST_LOST, LIST_TAKEN } list_how;

/* The body of a committed list, as Get Block List tells it. */
static void
tell_list(struct buf *out)
{
	struct buf body = BUF_INIT;
	char *p = committed, *end;

	buf_puts(&body, "<BlockList><CommittedBlocks>");
	while ((p = strstr(p, "<Uncommitted>")) != NULL) {
		p += 13;
		end = strchr(p, '<');
		buf_printf(&body, "<Block><Name>%.*s</Name><Size>100</Size>"
		    "</Block>", (int)(end - p), p);
	}
	buf_puts(&body, "</CommittedBlocks></BlockList>");
	say(out, 200, "ETag: \"whole\"\r\n", buf_cstr(&body));
	buf_done(&body);
}

static enum action
block_server(struct request *q, struct buf *out)
{
	if (strstr(q->target, "comp=blocklist") != NULL &&
	    strcmp(q->method, "GET") == 0) {
		tell_list(out);
		return ANSWER;
	}
	if (strcmp(q->method, "HEAD") == 0)
		return say(out, 200, "ETag: \"theirs\"\r\n", "");
	if (strstr(q->target, "comp=blocklist") != NULL) {
		if (list_how == LIST_TAKEN)
			return say_error(out, 400, "InvalidBlockList");
		snprintf(committed, sizeof(committed), "%s",
		    buf_cstr(&q->body));
		say(out, 201, "ETag: \"whole\"\r\n", "");
		return list_how == LIST_LOST ? HANG_UP : ANSWER;
	}
	ck_assert_ptr_nonnull(strstr(q->target, "comp=block&blockid="));
	ck_assert(q->body.len == 100 || q->body.len == 50);
	/* The second one fails at first. */
	if (atomic_fetch_add(&blocks, 1) == 1)
		return say_error(out, 503, "ServerBusy");
	return say(out, 201, "", "");
}

START_TEST(large_put)
{
	struct store_info info;
	enum store_rc want[] = { STORE_OK, STORE_OK, STORE_EXISTS };

	list_how = _i;
	begin(block_server, &tiny);
	ck_rc(store_put_mem(server.s, &call, "k", STORE_IF_ABSENT, NULL, blob,
	    350, &info), want[_i]);
	ck_assert_int_eq(atomic_load(&blocks), BLOCKS + 1);
	if (want[_i] == STORE_OK) {
		ck_assert_str_eq(info.version.text, "e:\"whole\"");
		ck_assert_uint_eq(info.size, 350);
	}
	server_end();
}
END_TEST

START_TEST(large_put_overtaken)
{
	struct store_version v = { "e:\"mine\"" };

	list_how = LIST_TAKEN;
	begin(block_server, &tiny);
	ck_rc(store_put_mem(server.s, &call, "k", STORE_ALWAYS, NULL, blob,
	    350, NULL), STORE_THROTTLED);
	ck_rc(store_put_mem(server.s, &call, "k", STORE_IF_MATCH, &v, blob,
	    350, NULL), STORE_CHANGED);
	server_end();
}
END_TEST

/* --- lists --- */

static const char *page_text;

static enum action
give_page(struct request *q, struct buf *out)
{
	snprintf(sent, sizeof(sent), "%s", q->head);
	return say(out, 200, "", page_text);
}

static struct buf listed;

static enum store_rc
list_page(const char *text, struct store_list *l)
{
	page_text = text;
	buf_reset(&listed);
	why.text[0] = '\0';
	return store_list(server.s, &call, l, help_each, &listed);
}

#define L(blobs, rest) "\xef\xbb\xbf<?xml version=\"1.0\"?>" \
	"<EnumerationResults ServiceEndpoint=\"http://x/\">" \
	"<Prefix>pre/</Prefix><Blobs>" blobs "</Blobs>" rest \
	"</EnumerationResults>"
#define B(name, extra) "<Blob><Name>" name "</Name><Properties>" \
	"<Last-Modified>Sat, 21 Nov 2026 10:00:00 GMT</Last-Modified>" \
	"<Etag>0x8D</Etag><Content-Length>5</Content-Length>" extra \
	"</Properties></Blob>"
#define M(name, key, value) "<Blob><Name>" name "</Name><Properties>" \
	"<Content-Length>0</Content-Length></Properties><Metadata><" key ">" \
	value "</" key "></Metadata></Blob>"
#define F(name)	"<Blob><Name>" name "</Name><Properties>" \
	"<Content-Length>5</Content-Length></Properties><Metadata>" \
	"<hdi_isfolder>true</hdi_isfolder></Metadata></Blob>"
#define P(name)	"<BlobPrefix><Name>" name "</Name></BlobPrefix>"

START_TEST(lists)
{
	struct store_list l = { .prefix = "a&b", .delimiter = '/', .max = 7 };
	struct store_info info;

	begin(give_page, NULL);
	ck_rc(list_page(L(B("pre/c", "") B("pre/a", "") P("pre/b/")
	    B("pre/dir", "<ResourceType>directory</ResourceType>")
	    M("pre/flat", "hdi_isfolder", "true") M("pre/k", "hdi_isfolder",
	    "false") M("pre/kept", "isfolder", "true") F("pre/m")
	    B("pre/", "") B("pre/e&amp;f", ""),
	    "<NextMarker>2!mark&amp;</NextMarker>"), &l), STORE_OK);
	ck_assert_str_eq(buf_cstr(&listed), "a\n*b/\nc\ne&f\nk\nkept\nm\n");
	ck_assert(l.more);
	ck_assert_str_eq(l.token, "c2!mark&");
	has("GET /acct/lake?restype=container&comp=list&maxresults=7&include="
	    "metadata&prefix=pre%2Fa%26b&delimiter=%2F HTTP/1.1");
	ck_rc(list_page(L("<Blob><Name Encoded=\"true\">pre/%ef%bf%be</Name>"
	    "</Blob>", "<NextMarker />"), &l), STORE_OK);
	has("&marker=2%21mark%26 ");
	ck_assert_str_eq(buf_cstr(&listed), "\xef\xbf\xbe\n");
	ck_assert(!l.more);
	page_text = L(B("pre/c", ""), "");
	l = (struct store_list){ .prefix = "" };
	ck_rc(store_list(server.s, &call, &l, help_each, &listed), STORE_OK);
	memset(&info, 0, sizeof(info));
	l = (struct store_list){ .prefix = "", .token = "znonsense" };
	ck_rc(list_page(L("", ""), &l), STORE_INVALID);
	server_end();
}
END_TEST

/* start_after passes over pages, and says that it is no capability. */
static enum action
three_pages(struct request *q, struct buf *out)
{
	if (strstr(q->target, "marker=2") != NULL)
		return say(out, 200, "", L(P("pre/c/") P("pre/d/")
		    B("pre/e", ""), ""));
	if (strstr(q->target, "marker=1") != NULL)
		return say(out, 200, "", L("",
		    "<NextMarker>2</NextMarker>"));
	return say(out, 200, "", L(B("pre/a", "") B("pre/b", ""),
	    "<NextMarker>1</NextMarker>"));
}

START_TEST(start_after)
{
	struct store_list l = { .prefix = "", .start_after = "d/x" };

	begin(three_pages, NULL);
	buf_reset(&listed);
	ck_rc(store_list(server.s, &call, &l, help_each, &listed), STORE_OK);
	ck_assert_str_eq(buf_cstr(&listed), "*d/\ne\n");
	ck_assert_int_eq(atomic_load(&server.requests), 3);
	ck_assert(!l.more);
	ck_assert(!(store_caps(server.s) & STORE_LIST_START_AFTER));
	/* A marker that is too long: the last key is gone on from. */
	l = (struct store_list){ .prefix = "", .token = "ac/y" };
	buf_reset(&listed);
	ck_rc(store_list(server.s, &call, &l, help_each, &listed), STORE_OK);
	ck_assert_str_eq(buf_cstr(&listed), "*c/\n*d/\ne\n");
	server_end();
}
END_TEST

static const char *const bad_pages[] = {
	"", "nonsense", "<a/>", "<EnumerationResults>",
	"<!DOCTYPE x [<!ENTITY e \"y\">]>" L("", ""),
	L(B("other/key", ""), ""),
	L("<Blob></Blob>", ""),
	L("<Blob><Name Encoded=\"true\">pre/%00</Name></Blob>", ""),
	L("<Blob><Name Encoded=\"true\">pre/%z</Name></Blob>", ""),
	L("<Blob><Name>pre/a</Name><Properties><Content-Length>-1"
	    "</Content-Length></Properties></Blob>", ""),
	L("<Blob><Name>pre/a</Name><Properties><Content-Length>9999999999"
	    "99999999999</Content-Length></Properties></Blob>", ""),
	L("<Blob><Name>pre/a</Name><Properties><Last-Modified>soon"
	    "</Last-Modified></Properties></Blob>", ""),
	L("<a><b><c><d><e><f><g><h><i><j><k><l></l></k></j></i></h></g></f>"
	    "</e></d></c></b></a>", ""),
};

START_TEST(bad_lists)
{
	struct store_list l = { .prefix = "" };

	begin(give_page, NULL);
	ck_rc(list_page(bad_pages[_i], &l), STORE_BROKEN);
	ck_assert_str_eq(buf_cstr(&listed), "");
	server_end();
}
END_TEST

/* Any cut and any changed byte of a page: no crash, an answer. */
START_TEST(damaged_lists)
{
	const char *whole = L(B("pre/a", "") P("pre/b/")
	    "<Blob><Name Encoded=\"true\">pre/%41</Name></Blob>",
	    "<NextMarker>m</NextMarker>");
	size_t n = strlen(whole), i;
	char *text = malloc(n + 1);
	struct store_list l;
	enum store_rc rc;

	begin(give_page, NULL);
	for (i = 0; i < 600; i++) {
		l = (struct store_list){ .prefix = "" };
		strcpy(text, whole);
		if (i < 200)
			text[random_u64() % n] = '\0';
		else
			text[random_u64() % n] =
			    (char)(1 + random_u64() % 255);
		rc = list_page(text, &l);
		ck_assert_msg(rc == STORE_OK || rc == STORE_BROKEN, "%s: %s",
		    store_rc_name(rc), text);
	}
	free(text);
	server_end();
}
END_TEST

/* --- opening --- */

static const struct { const char *url, *words; } bad_urls[] = {
	{ "az://acct/lake?endpont=http://127.0.0.1:1", "'endpont'" },
	{ "az://acct/lake?profile=x", "no setting 'profile'" },
	{ "az://acct/lake?endpoint=127.0.0.1:1", "endpoint" },
	{ "az://acct/lake?checksum=md4", "crc64 or none" },
	{ "az://Acct/lake", "no name of a storage account" },
	{ "az://acct/Lake", "no name of a container" },
	{ "az://acct/lake?ca=/nonexistent/ca.pem", "cannot be read" },
};

START_TEST(open_refuses)
{
	struct store *s = NULL;
	struct url u;
	int err;

	sys_init();
	env_clear();
	setenv("AZURE_STORAGE_KEY", KEY, 1);
	memset(&why, 0, sizeof(why));
	err = url_parse(bad_urls[_i].url, &u, &why);
	if (err == 0) {
		err = azure_store_open(&u, &s, &why);
		url_done(&u);
	}
	says(bad_urls[_i].words);
	ck_assert_int_eq(err, -EINVAL);
	ck_assert_ptr_null(s);
}
END_TEST

static void
is_server(const char *text, const char *base, const char *path)
{
	struct store *s = NULL;
	struct azure *a;
	struct url u;

	memset(&why, 0, sizeof(why));
	ck_assert_msg(url_parse(text, &u, &why) == 0, "%s", why.text);
	ck_assert_msg(azure_store_open(&u, &s, &why) == 0, "%s", why.text);
	url_done(&u);
	a = (struct azure *)s;
	ck_assert_str_eq(a->base, base);
	ck_assert_str_eq(a->path, path);
	store_free(s);
}

START_TEST(servers)
{
	sys_init();
	env_clear();
	setenv("AZURE_STORAGE_KEY", KEY, 1);
	is_server("az://acct/lake/p", "https://acct.blob.core.windows.net",
	    "/lake");
	is_server("az://acct/$web?endpoint=https://b.example.com:8443/",
	    "https://b.example.com:8443", "/$web");
	is_server("az://acct/lake?endpoint=http://127.0.0.1:10000/acct",
	    "http://127.0.0.1:10000", "/acct/lake");
	setenv("AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true",
	    1);
	is_server("az://devstoreaccount1/lake", "http://127.0.0.1:10000",
	    "/devstoreaccount1/lake");
	setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=acct;AccountKey"
	    "=" KEY ";EndpointSuffix=core.example.com", 1);
	is_server("az://acct/lake", "https://acct.blob.core.example.com",
	    "/lake");
}
END_TEST

#define N(a)	(int)(sizeof(a) / sizeof((a)[0]))

int
main(void)
{
	Suite *suite = suite_create("azure_answers");
	TCase *t = tcase_create("answers");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, statuses, 0, N(table));
	tcase_add_test(t, reasons);
	tcase_add_test(t, absent);
	tcase_add_loop_test(t, changed_or_absent, 0, N(looks));
	tcase_add_test(t, answer_lost);
	tcase_add_test(t, requests);
	tcase_add_test(t, no_checksum);
	tcase_add_test(t, sum_is_named);
	tcase_add_loop_test(t, large_put, 0, 3);
	tcase_add_test(t, large_put_overtaken);
	tcase_add_test(t, lists);
	tcase_add_test(t, start_after);
	tcase_add_loop_test(t, bad_lists, 0, N(bad_pages));
	tcase_add_test(t, damaged_lists);
	tcase_add_loop_test(t, open_refuses, 0, N(bad_urls));
	tcase_add_test(t, servers);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

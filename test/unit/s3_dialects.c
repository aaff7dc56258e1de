/* s3_dialects: stores that differ from S3 as their makers document it, each
 * by a stand-in that is as strict as that document. */
#include "backends/s3.h"
#include "test/unit/s3_server.h"

enum { OBJECTS = 32, PARTS = 8 };

struct object { char key[128], etag[24]; struct buf body; };

/* What the stand-in is. */
struct maker {
	const char	*settings;	/* by which the store is opened */
	const char	*region;	/* that requests must be signed for */
	const char	*server;	/* its header; "" */
	const char	*copy_absent;	/* the header it knows; NULL: none */
	enum s3_kept	 put, parts, del;
	bool		 copy_ignores;	/* and does not heed */
	bool		 dirs, sessions, equal_parts;
	int		 no_sums;	/* how it refuses them: 400, 501 */
	bool		 names_sums;	/* those of puts, in its answers */
};

static struct {
	pthread_mutex_t	 lock;
	struct maker	 m;
	struct object	 o[OBJECTS];
	int		 n, etags;
	struct buf	 part[PARTS];
	int		 nparts;
	int		 session;	/* the newest */
	bool		 ended;	/* it is no good any more */
	bool		 read_only;	/* no session but ReadOnly */
	int		 sums;		/* requests refused for theirs */
	char		 wrong[640];	/* what a client must not do */
	char		 log[2048];	/* "PUT k," */
} sv = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct store_call call;
static struct why why;
static int64_t (*real_clock)(clockid_t);
static _Atomic int64_t later;		/* ns that have passed */

static int64_t
clock_later(clockid_t id)
{
	return real_clock(id) + (id == CLOCK_BOOTTIME ?
	    atomic_load(&later) : 0);
}

/* --- the stand-in --- */

static void
wrong(const char *fmt, const char *arg)
{
	if (sv.wrong[0] == '\0')
		snprintf(sv.wrong, sizeof(sv.wrong), fmt, arg);
}

/* A header's value into ret; false: there is none. */
static bool
header(const struct request *q, const char *name, char *ret, size_t n)
{
	char line[64];
	const char *p;

	ret[0] = '\0';
	snprintf(line, sizeof(line), "\n%s:", name);
	p = strcasestr(q->head, line);
	if (p == NULL)
		return false;
	p += strlen(line);
	p += strspn(p, " ");
	snprintf(ret, n, "%.*s", (int)strcspn(p, "\r\n"), p);
	return true;
}

/* A parameter of the query, decoded. */
static bool
param(const struct request *q, const char *name, char *ret, size_t n)
{
	const char *p = strchr(q->target, '?');
	size_t len = strlen(name), i = 0;
	unsigned c;

	ret[0] = '\0';
	while (p != NULL) {
		p++;
		if (strncmp(p, name, len) == 0 && p[len] == '=')
			break;
		p = strchr(p, '&');
	}
	if (p == NULL)
		return false;
	for (p += len + 1; *p != '\0' && *p != '&' && i + 1 < n; p++) {
		if (*p == '%' && sscanf(p + 1, "%2x", &c) == 1) {
			ret[i++] = (char)c;
			p += 2;
		} else {
			ret[i++] = *p;
		}
	}
	ret[i] = '\0';
	return true;
}

static struct object *
find(const char *key)
{
	for (int i = 0; i < sv.n; i++)
		if (strcmp(sv.o[i].key, key) == 0)
			return &sv.o[i];
	return NULL;
}

static struct object *
store_object(const char *key, const struct buf *body)
{
	struct object *o = find(key);

	if (o == NULL) {
		ck_assert_int_lt(sv.n, OBJECTS);
		o = &sv.o[sv.n++];
		snprintf(o->key, sizeof(o->key), "%s", key);
	}
	buf_reset(&o->body);
	buf_put(&o->body, body->p, body->len);
	snprintf(o->etag, sizeof(o->etag), "\"etag%05d\"", ++sv.etags);
	return o;
}

static void
remove_object(struct object *o)
{
	buf_done(&o->body);
	*o = sv.o[--sv.n];
	memset(&sv.o[sv.n], 0, sizeof(sv.o[sv.n]));
}

/* Is it signed by whom, for what and where it must be? */
static bool
is_signed(const struct request *q, bool own_keys)
{
	char auth[512], token[64], want[128], id[32];
	bool session = sv.m.sessions && !own_keys;

	header(q, "authorization", auth, sizeof(auth));
	header(q, "x-amz-s3session-token", token, sizeof(token));
	snprintf(id, sizeof(id), session ? "SESSION%05d" : "AKIATESTTEST",
	    sv.session);
	snprintf(want, sizeof(want), "/%s/%s/aws4_request", sv.m.region,
	    sv.m.sessions ? "s3express" : "s3");
	if (strstr(auth, want) == NULL)
		wrong("signed for another place or service: %s", auth);
	if (!session && (strstr(auth, id) == NULL || token[0] != '\0'))
		wrong("not signed by one's own keys: %s", auth);
	if (session && strstr(auth, "x-amz-s3session-token") == NULL)
		wrong("the session's token is not signed: %s", auth);
	return !session || (strstr(auth, id) != NULL && !sv.ended);
}

static enum action
answer_session(struct request *q, struct buf *out)
{
	char body[512], mode[32];

	header(q, "x-amz-create-session-mode", mode, sizeof(mode));
	if (sv.read_only && strcmp(mode, "ReadOnly") != 0)
		return say_error(out, 403, "AccessDenied");
	sv.session++;
	sv.ended = false;
	snprintf(body, sizeof(body), "<?xml version=\"1.0\"?>"
	    "<CreateSessionResult xmlns=\"http://s3.amazonaws.com/doc/"
	    "2006-03-01/\"><Credentials><SessionToken>token%05d"
	    "</SessionToken><SecretAccessKey>hidden</SecretAccessKey>"
	    "<AccessKeyId>SESSION%05d</AccessKeyId><Expiration>"
	    "2026-11-21T10:05:00Z</Expiration></Credentials>"
	    "</CreateSessionResult>", sv.session, sv.session);
	return say(out, 200, "", body);
}

/* What becomes of a write by its conditions: 0 go on, else a status. */
static int
conditions(const struct request *q, const char *key, enum s3_kept kept)
{
	char match[64], none[64];
	struct object *o = find(key);

	if (!header(q, "if-match", match, sizeof(match)) &
	    !header(q, "if-none-match", none, sizeof(none)))
		return 0;
	if (kept == S3_REFUSED)
		return 501;
	if (kept == S3_IGNORED)
		return 0;
	if (none[0] != '\0')
		return o != NULL ? 412 : 0;
	return o == NULL ? 404 : strcmp(o->etag, match) != 0 ? 412 : 0;
}

static enum action
say_status(struct buf *out, int status)
{
	return say_error(out, status, status == 501 ? "NotImplemented" :
	    status == 404 ? "NoSuchKey" : "PreconditionFailed");
}

/* The answer to a put whose sum was compared. */
static enum action
say_summed(const struct request *q, struct buf *out, const char *etag)
{
	char h[160], sum[32];

	if (sv.m.names_sums &&
	    header(q, "x-amz-checksum-crc32c", sum, sizeof(sum)))
		snprintf(h, sizeof(h), "ETag: %s\r\nx-amz-checksum-crc32c: "
		    "%s\r\n", etag, sum);
	else
		snprintf(h, sizeof(h), "ETag: %s\r\n", etag);
	return say(out, 200, h, "");
}

static enum action
say_stored(struct buf *out, const struct object *o, const char *body)
{
	char h[96];

	snprintf(h, sizeof(h), "ETag: %s\r\n", o->etag);
	return say(out, 200, h, body);
}

static enum action
answer_copy(struct request *q, struct buf *out, const char *key)
{
	char from[128], body[256], none[64];
	struct object *o, *to;

	header(q, "x-amz-copy-source", from, sizeof(from));
	o = find(from + strlen("/lake/"));
	if (o == NULL)
		return say_status(out, 404);
	if (header(q, "if-none-match", none, sizeof(none)) &&
	    (sv.m.copy_absent == NULL ||
	    strcmp(sv.m.copy_absent, "if-none-match") != 0))
		wrong("a condition that copies do not know: %s", key);
	if (sv.m.copy_absent != NULL && !sv.m.copy_ignores &&
	    header(q, sv.m.copy_absent, none, sizeof(none)) &&
	    find(key) != NULL)
		return say_status(out, 412);
	to = store_object(key, &o->body);
	snprintf(body, sizeof(body), "<CopyObjectResult><ETag>%s</ETag>"
	    "<LastModified>2026-11-21T10:00:00Z</LastModified>"
	    "</CopyObjectResult>", to->etag);
	return say(out, 200, "", body);
}

static enum action
answer_parts(struct request *q, struct buf *out, const char *key)
{
	struct buf whole = BUF_INIT;
	char number[16], body[256];
	struct object *o;
	int n, status;

	if (param(q, "partNumber", number, sizeof(number))) {
		n = atoi(number);
		ck_assert_int_le(n, PARTS);
		buf_reset(&sv.part[n - 1]);
		buf_put(&sv.part[n - 1], q->body.p, q->body.len);
		sv.nparts = n > sv.nparts ? n : sv.nparts;
		return say_summed(q, out, "\"part\"");
	}
	if (strcmp(q->method, "DELETE") == 0)
		return say(out, 204, "", "");
	if ((status = conditions(q, key, sv.m.parts)) != 0)
		return say_status(out, status);
	for (n = 0; n < sv.nparts; n++) {
		if (sv.m.equal_parts && n + 1 < sv.nparts &&
		    sv.part[n].len != sv.part[0].len)
			wrong("%s: parts of different sizes", key);
		buf_put(&whole, sv.part[n].p, sv.part[n].len);
	}
	o = store_object(key, &whole);
	buf_done(&whole);
	snprintf(body, sizeof(body), "<CompleteMultipartUploadResult><ETag>%s"
	    "</ETag></CompleteMultipartUploadResult>", o->etag);
	return say(out, 200, "", body);
}

static enum action
answer_list(struct request *q, struct buf *out)
{
	char prefix[128], text[128];
	struct buf b = BUF_INIT;
	int at = sv.n, given = 0;
	enum action a;

	param(q, "prefix", prefix, sizeof(prefix));
	if (sv.m.dirs && prefix[0] != '\0' &&
	    prefix[strlen(prefix) - 1] != '/')
		wrong("a prefix that does not end in a delimiter: %s", prefix);
	if (sv.m.dirs && param(q, "delimiter", text, sizeof(text)) &&
	    strcmp(text, "/") != 0)
		wrong("a delimiter: %s", text);
	if (sv.m.dirs && param(q, "start-after", text, sizeof(text)))
		wrong("start-after: %s", text);
	if (param(q, "continuation-token", text, sizeof(text)))
		at = atoi(text);
	buf_puts(&b, "<ListBucketResult>");
	/* the newest first: no order that anybody could take for one */
	while (at > 0 && given < 2) {
		at--;
		if (strncmp(sv.o[at].key, prefix, strlen(prefix)) != 0)
			continue;
		given++;
		buf_printf(&b, "<Contents><Key>%s</Key><Size>%zu</Size>"
		    "<LastModified>2026-11-21T10:00:00Z</LastModified>"
		    "<ETag>%s</ETag></Contents>", sv.o[at].key,
		    sv.o[at].body.len, sv.o[at].etag);
	}
	buf_printf(&b, "<IsTruncated>%s</IsTruncated>", at > 0 ? "true" :
	    "false");
	if (at > 0)
		buf_printf(&b, "<NextContinuationToken>%d"
		    "</NextContinuationToken>", at);
	buf_puts(&b, "</ListBucketResult>");
	a = say(out, 200, "", buf_cstr(&b));
	buf_done(&b);
	return a;
}

/* All of it, or the bytes that were asked for. */
static enum action
say_bytes(struct request *q, struct buf *out, struct object *o)
{
	char h[160], text[64];
	size_t from, to;

	if (!header(q, "range", text, sizeof(text)) ||
	    sscanf(text, "bytes=%zu-%zu", &from, &to) != 2)
		return say_stored(out, o, buf_cstr(&o->body));
	to = to < o->body.len ? to : o->body.len - 1;
	snprintf(h, sizeof(h), "ETag: %s\r\nContent-Range: bytes "
	    "%zu-%zu/%zu\r\n", o->etag, from, to, o->body.len);
	snprintf(text, sizeof(text), "%.*s", (int)(to - from + 1),
	    (const char *)o->body.p + from);
	return say(out, 206, h, text);
}

static enum action
answer_object(struct request *q, struct buf *out, const char *key)
{
	struct object *o = find(key);
	int status;

	if (strcmp(q->method, "PUT") == 0) {
		if ((status = conditions(q, key, sv.m.put)) != 0)
			return say_status(out, status);
		return say_summed(q, out, store_object(key,
		    &q->body)->etag);
	}
	if (o == NULL && strcmp(q->method, "DELETE") != 0)
		return say_status(out, 404);
	if (strcmp(q->method, "DELETE") == 0) {
		if ((status = conditions(q, key, sv.m.del)) != 0)
			return say_status(out, status);
		if (o != NULL)
			remove_object(o);
		return say(out, 204, "", "");
	}
	if (strcmp(q->method, "HEAD") == 0) {
		buf_printf(out, "HTTP/1.1 200 X\r\nContent-Length: %zu\r\n"
		    "ETag: %s\r\n\r\n", o->body.len, o->etag);
		return ANSWER;
	}
	return say_bytes(q, out, o);
}

/* Refused for the header of a checksum, as B2 and R2 (of old) say it. */
static bool
refuses_sums(const struct request *q, struct buf *out)
{
	static const char *const names[] = { "x-amz-checksum-crc32c",
	    "x-amz-checksum-algorithm", "x-amz-checksum-mode",
	    "x-amz-sdk-checksum-algorithm" };
	char body[320], value[64];

	for (size_t i = 0; sv.m.no_sums != 0 &&
	    i < sizeof(names) / sizeof(names[0]); i++) {
		if (!header(q, names[i], value, sizeof(value)))
			continue;
		sv.sums++;
		snprintf(body, sizeof(body), sv.m.no_sums == 400 ?
		    "<Error><Code>InvalidArgument</Code><Message>Unsupported "
		    "header '%s' received for this API call.</Message>"
		    "</Error>" : "<Error><Code>NotImplemented</Code><Message>"
		    "Header '%s' with value '%s' not implemented</Message>"
		    "</Error>", names[i], value);
		say(out, sv.m.no_sums, "", strcmp(q->method, "HEAD") != 0 ?
		    body : "");
		return true;
	}
	return false;
}

static enum action
answer_any(struct request *q, struct buf *out)
{
	char key[128], value[64];
	bool copy = header(q, "x-amz-copy-source", value, sizeof(value));
	bool ask = param(q, "session", value, sizeof(value));

	if (!is_signed(q, copy || ask))
		return strcmp(q->method, "HEAD") == 0 ?
		    say(out, 400, "", "") :
		    say_error(out, 400, "ExpiredToken");
	if (refuses_sums(q, out))
		return ANSWER;
	if (ask)
		return answer_session(q, out);
	if (param(q, "list-type", value, sizeof(value)))
		return answer_list(q, out);
	snprintf(key, sizeof(key), "%.*s", (int)strcspn(q->target +
	    strlen("/lake/"), "?"), q->target + strlen("/lake/"));
	if (param(q, "uploads", value, sizeof(value))) {
		sv.nparts = 0;
		return say(out, 200, "", "<InitiateMultipartUploadResult>"
		    "<UploadId>up</UploadId></InitiateMultipartUploadResult>");
	}
	if (param(q, "uploadId", value, sizeof(value)))
		return answer_parts(q, out, key);
	return copy ? answer_copy(q, out, key) : answer_object(q, out, key);
}

static enum action
answer(struct request *q, struct buf *out)
{
	struct buf named = BUF_INIT;
	enum action a;
	size_t n;

	pthread_mutex_lock(&sv.lock);
	n = strlen(sv.log);
	snprintf(sv.log + n, sizeof(sv.log) - n, "%s%s,", q->method,
	    strstr(q->target, "uploads=") != NULL ? " parts" : "");
	a = answer_any(q, out);
	pthread_mutex_unlock(&sv.lock);
	if (sv.m.server == NULL)
		return a;
	/* behind the status line */
	buf_cstr(out);
	n = (size_t)(strstr((char *)out->p, "\r\n") + 2 - (char *)out->p);
	buf_put(&named, out->p, n);
	buf_printf(&named, "Server: %s\r\n", sv.m.server);
	buf_put(&named, out->p + n, out->len - n);
	buf_done(out);
	*out = named;
	return a;
}

/* --- the makers --- */

static const struct maker r2 = { .settings = "dialect=r2", .region = "auto",
	.put = S3_KEPT, .parts = S3_KEPT, .del = S3_IGNORED,
	.copy_absent = "cf-copy-destination-if-none-match",
	.equal_parts = true };
static const struct maker ceph = { .settings = "region=default",
	.region = "default", .server = "Ceph Object Gateway (squid)",
	.put = S3_KEPT, .parts = S3_IGNORED, .del = S3_IGNORED };
static const struct maker b2 = { .settings = "dialect=b2&region=us-west-4",
	.region = "us-west-4",
	.put = S3_REFUSED, .parts = S3_REFUSED, .del = S3_REFUSED,
	.no_sums = 400 };
static const struct maker oci = { .settings = "dialect=oci&region=phx",
	.region = "phx", .put = S3_KEPT, .parts = S3_IGNORED,
	.del = S3_IGNORED };
/* Conditions of a PUT in one request alone. */
static const struct maker spaces = { .settings = "dialect=spaces&region=ams3",
	.region = "ams3", .put = S3_KEPT, .parts = S3_IGNORED,
	.del = S3_IGNORED };
static const struct maker hetzner = { .settings =
	"dialect=hetzner&region=fsn1", .region = "fsn1",
	.put = S3_KEPT, .parts = S3_IGNORED, .del = S3_IGNORED };
/* Heeds x-goog-if-generation-match alone. */
static const struct maker gcs = { .settings = "dialect=gcs",
	.region = "auto", .put = S3_IGNORED, .parts = S3_IGNORED,
	.del = S3_IGNORED };
static const struct maker express = { .settings =
	"dialect=express&region=us-west-2", .region = "us-west-2",
	.put = S3_KEPT, .parts = S3_KEPT, .del = S3_KEPT, .dirs = true,
	.sessions = true };
/* Of which nothing is known. */
static const struct maker refuses = { .settings = "region=us-east-1",
	.region = "us-east-1", .put = S3_REFUSED, .parts = S3_REFUSED,
	.del = S3_REFUSED };
static const struct maker blind = { .settings = "dialect=blind&region=x",
	.region = "x", .put = S3_IGNORED, .parts = S3_IGNORED,
	.del = S3_IGNORED };

/* Takes the header of a condition of copies, and does not heed it. */
static const struct maker ignores = { .settings = "region=us-east-1",
	.region = "us-east-1", .put = S3_KEPT, .parts = S3_KEPT,
	.del = S3_KEPT, .copy_absent = "if-none-match",
	.copy_ignores = true };
/* Takes no notice of what it does not know, and says nothing of it. */
static const struct maker silent = { .settings = "region=us-east-1",
	.region = "us-east-1", .put = S3_IGNORED, .parts = S3_IGNORED,
	.del = S3_IGNORED };
static const struct maker names_sums = { .settings = "region=x",
	.region = "x", .names_sums = true };
static const struct maker no_sums[] = {
	{ .settings = "region=x", .region = "x", .no_sums = 400 },
	{ .settings = "region=x", .region = "x", .no_sums = 501 },
};

static const struct s3_sizes small = { .single = 1000, .part = 400,
	.copy_single = 1 << 20 };

static void
begin(const struct maker *m)
{
	for (int i = 0; i < OBJECTS; i++)
		buf_done(&sv.o[i].body);
	for (int i = 0; i < PARTS; i++)
		buf_done(&sv.part[i]);
	sv.m = *m;
	memset(sv.o, 0, sizeof(sv.o));
	sv.n = sv.etags = sv.nparts = sv.session = 0;
	sv.read_only = sv.ended = false;
	sv.sums = 0;
	sv.wrong[0] = sv.log[0] = '\0';
	memset(&why, 0, sizeof(why));
	call = (struct store_call){ .why = &why };
	server_begin_as(answer, &small, m->settings);
}

static void
end(void)
{
	server_end();
	ck_assert_msg(sv.wrong[0] == '\0', "%s", sv.wrong);
}

static char bytes[2500];

static enum store_rc
put(const char *key, enum store_cond cond, const struct store_version *match,
    size_t n, struct store_info *ret)
{
	memset(bytes, 'x', sizeof(bytes));
	sv.log[0] = '\0';
	return store_put_mem(server.s, &call, key, cond, match, bytes, n, ret);
}

/* --- the table --- */

static const struct { const char *host, *bucket, *name, *region; } hosts[] = {
	{ NULL, "lake", "aws", NULL },
	{ "s3.eu-west-1.amazonaws.com", "lake", "aws", NULL },
	{ NULL, "lake--usw2-az1--x-s3", "express", NULL },
	{ "localhost:7070", "lake", "s3", NULL },
	{ "amazonaws.com.evil.example", "lake", "s3", NULL },
	{ "0123.r2.cloudflarestorage.com", "lake", "r2", "auto" },
	{ "0123.eu.r2.cloudflarestorage.com", "lake", "r2", "auto" },
	{ "ns.compat.objectstorage.us-phoenix-1.oraclecloud.com", "lake",
	  "oci", "us-phoenix-1" },
	{ "oraclecloud.com", "lake", "s3", NULL },
	{ "x.oraclecloud.com", "lake", "oci", NULL },
	{ "s3.us-west-004.backblazeb2.com:8443", "lake", "b2",
	  "us-west-004" },
	{ "ams3.digitaloceanspaces.com", "lake", "spaces", "ams3" },
	{ "fsn1.your-objectstorage.com", "lake", "hetzner", "fsn1" },
	{ "storage.googleapis.com", "lake", "gcs", "auto" },
};

START_TEST(known_by_host)
{
	const struct s3_dialect *d = s3_dialect_of(hosts[_i].host,
	    hosts[_i].bucket);
	char region[64];

	ck_assert_str_eq(d->name, hosts[_i].name);
	ck_assert_ptr_eq(s3_dialect_named(d->name), d);
	if (hosts[_i].region == NULL) {
		ck_assert(!s3_dialect_region(d, hosts[_i].host, region));
	} else {
		ck_assert(s3_dialect_region(d, hosts[_i].host, region));
		ck_assert_str_eq(region, hosts[_i].region);
	}
}
END_TEST

static const struct { const char *bucket, *zone; } zones[] = {
	{ "lake--usw2-az1--x-s3", "usw2-az1" },
	{ "a--b--usw2-az1--x-s3", "usw2-az1" },
	{ "lake", NULL }, { "--x-s3", NULL }, { "lake--x-s3", NULL },
	{ "--usw2-az1--x-s3", NULL }, { "lake----x-s3", NULL },
};

START_TEST(zone_of_bucket)
{
	char zone[64];

	ck_assert_int_eq(s3_dialect_zone(zones[_i].bucket, zone),
	    zones[_i].zone != NULL);
	if (zones[_i].zone != NULL)
		ck_assert_str_eq(zone, zones[_i].zone);
}
END_TEST

/* What an URL becomes without a request. */
START_TEST(opened)
{
	struct store *s = NULL;
	struct url u;
	struct s3 *t;

	aws_env_clear();
	setenv("AWS_ACCESS_KEY_ID", "AKIATESTTEST", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "verysecret", 1);
	setenv("AWS_REGION", "us-west-2", 1);
	ck_assert_int_eq(url_parse("s3://lake--usw2-az1--x-s3/pre", &u, NULL),
	    0);
	ck_assert_int_eq(s3_open(&u, NULL, &s, &why), 0);
	t = (struct s3 *)s;
	ck_assert_str_eq(t->host, "lake--usw2-az1--x-s3."
	    "s3express-usw2-az1.us-west-2.amazonaws.com");
	ck_assert(t->https);
	ck_assert(!(store_caps(s) & STORE_LIST_SORTED));
	store_free(s);
	url_done(&u);
	/* the endpoint's own region, whatever the environment says */
	ck_assert_int_eq(url_parse("s3://lake?endpoint="
	    "https:/" "/s3.us-west-004.backblazeb2.com", &u, NULL), 0);
	ck_assert_int_eq(s3_open(&u, NULL, &s, &why), 0);
	ck_assert_str_eq(((struct s3 *)s)->region, "us-west-004");
	ck_assert(!(store_caps(s) & STORE_CAN_ABSENT));
	store_free(s);
	url_done(&u);
	ck_assert_int_eq(url_parse("s3://lake?dialect=pig", &u, NULL), 0);
	ck_assert_int_eq(s3_open(&u, NULL, &s, &why), -EINVAL);
	ck_assert_msg(strstr(why.text, "aws, express, r2") != NULL, "%s",
	    why.text);
	url_done(&u);
}
END_TEST

/* --- conditions --- */

/* What one maker's store answers to each way of asking. */
static const struct {
	const struct maker *m;
	bool large;
	enum store_rc plain, sole, probe;	/* where there is one */
	const char *asked;		/* by a sole one, where there is none */
	unsigned caps;
} asked[] = {
	{ &r2, false, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS, "PUT,",
	  STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &r2, true, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "POST parts,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &ceph, false, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "HEAD,GET,PUT,PUT,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &ceph, true, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,POST parts,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &oci, false, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "HEAD,GET,PUT,PUT,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &oci, true, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,POST parts,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &spaces, false, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "HEAD,GET,PUT,PUT,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &spaces, true, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,POST parts,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &hetzner, false, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "HEAD,GET,PUT,PUT,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &hetzner, true, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,POST parts,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &gcs, false, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,PUT,", 0 },
	{ &gcs, true, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,POST parts,", 0 },
	{ &b2, false, STORE_UNSUPPORTED, STORE_EXISTS, STORE_UNSUPPORTED,
	  "HEAD,GET,PUT,", 0 },
	{ &b2, true, STORE_UNSUPPORTED, STORE_EXISTS, STORE_UNSUPPORTED,
	  "HEAD,GET,POST parts,", 0 },
	{ &blind, false, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,PUT,", 0 },
	{ &silent, false, STORE_UNSUPPORTED, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,PUT,PUT,", 0 },
	{ &silent, true, STORE_OK, STORE_EXISTS, STORE_OK,
	  "HEAD,GET,POST parts,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &ignores, false, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "HEAD,GET,PUT,PUT,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &ignores, true, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "HEAD,GET,POST parts,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
	{ &express, false, STORE_EXISTS, STORE_EXISTS, STORE_EXISTS,
	  "GET,PUT,", STORE_CAN_ABSENT | STORE_CAN_MATCH },
};

START_TEST(put_if_absent)
{
	size_t n = asked[_i].large ? 2500 : 10;
	unsigned caps;

	begin(asked[_i].m);
	/* what it is shows in its first answer */
	if (asked[_i].m->server != NULL) {
		ck_rc(put("first", STORE_ALWAYS, NULL, 1, NULL), STORE_OK);
		sv.n = 0;
	}
	call.sole = true;
	ck_rc(put("k", STORE_IF_ABSENT, NULL, n, NULL), STORE_OK);
	ck_assert_msg(strncmp(sv.log, asked[_i].asked,
	    strlen(asked[_i].asked)) == 0, "%s", sv.log);
	ck_assert_int_eq((int)sv.o[0].body.len, (int)n);
	ck_rc(put("k", STORE_IF_ABSENT, NULL, n, NULL), asked[_i].sole);
	call.sole = false;
	ck_rc(put("k", STORE_IF_ABSENT, NULL, n, NULL), asked[_i].plain);
	if (asked[_i].plain == STORE_UNSUPPORTED)
		ck_assert_msg(strstr(why.text, "does not honour If-None-Match")
		    != NULL, "%s", why.text);
	call.probe = true;
	ck_rc(put("k", STORE_IF_ABSENT, NULL, n, NULL), asked[_i].probe);
	caps = store_caps(server.s) & (STORE_CAN_ABSENT | STORE_CAN_MATCH);
	ck_assert_uint_eq(caps, asked[_i].caps);
	ck_assert_int_eq(sv.sums, 0);
	end();
}
END_TEST

START_TEST(put_if_match)
{
	struct store_info info, now;
	struct store_version other = { "e:\"etag99999\"" };

	begin(&b2);
	call.sole = true;
	ck_rc(put("k", STORE_IF_MATCH, &other, 10, NULL), STORE_ABSENT);
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, &info), STORE_OK);
	ck_rc(put("k", STORE_IF_MATCH, &other, 10, NULL), STORE_CHANGED);
	ck_rc(put("k", STORE_IF_MATCH, &info.version, 10, &now), STORE_OK);
	call.sole = false;
	ck_rc(put("k", STORE_IF_MATCH, &now.version, 10, NULL),
	    STORE_UNSUPPORTED);
	end();
}
END_TEST

/* Nobody knows that it refuses, until it does. */
START_TEST(refusal_is_learned)
{
	begin(&refuses);
	ck_assert(store_caps(server.s) & STORE_CAN_ABSENT);
	ck_rc(put("k", STORE_IF_ABSENT, NULL, 10, NULL), STORE_UNSUPPORTED);
	ck_assert(store_caps(server.s) & STORE_CAN_ABSENT);
	call.sole = true;
	ck_rc(put("k", STORE_IF_ABSENT, NULL, 10, NULL), STORE_OK);
	ck_assert_str_eq(sv.log, "HEAD,GET,PUT,HEAD,GET,PUT,");
	ck_assert(!(store_caps(server.s) & STORE_CAN_ABSENT));
	ck_rc(put("other", STORE_IF_ABSENT, NULL, 10, NULL), STORE_OK);
	ck_assert_str_eq(sv.log, "HEAD,GET,PUT,");
	ck_rc(put("k", STORE_IF_ABSENT, NULL, 2500, NULL), STORE_EXISTS);
	ck_assert_str_eq(sv.log, "HEAD,");
	end();
}
END_TEST

/* Nor that it takes no notice; one that does is looked at once. */
START_TEST(condition_is_proven)
{
	bool keeps = _i == 1;
	struct store_info info, head;

	begin(keeps ? &ignores : &silent);
	ck_rc(put("theirs", STORE_ALWAYS, NULL, 20, NULL), STORE_OK);
	call.sole = true;
	ck_rc(put("theirs", STORE_IF_ABSENT, NULL, 10, NULL), STORE_EXISTS);
	ck_assert_str_eq(sv.log, "HEAD,");
	ck_assert_int_eq((int)find("pre/theirs")->body.len, 20);
	ck_rc(put("a", STORE_IF_ABSENT, NULL, 10, &info), STORE_OK);
	ck_assert_str_eq(sv.log, "HEAD,GET,PUT,PUT,");
	ck_rc(store_head(server.s, &call, "a", &head), STORE_OK);
	ck_assert_str_eq(head.version.text, info.version.text);
	ck_rc(put("b", STORE_IF_ABSENT, NULL, 10, NULL), STORE_OK);
	ck_assert_str_eq(sv.log, keeps ? "PUT," : "HEAD,GET,PUT,");
	ck_rc(put("theirs", STORE_IF_ABSENT, NULL, 10, NULL), STORE_EXISTS);
	ck_assert_str_eq(sv.log, keeps ? "PUT," : "HEAD,");
	ck_assert_int_eq((int)find("pre/theirs")->body.len, 20);
	end();
}
END_TEST

/* Where it has refused once, as a home is asked to, that is proof. */
START_TEST(refusal_is_proof)
{
	begin(&ignores);
	call.probe = true;
	ck_rc(put("k", STORE_IF_ABSENT, NULL, 10, NULL), STORE_OK);
	ck_rc(put("k", STORE_IF_ABSENT, NULL, 10, NULL), STORE_EXISTS);
	call.probe = false;
	call.sole = true;
	ck_rc(put("a", STORE_IF_ABSENT, NULL, 10, NULL), STORE_OK);
	ck_assert_str_eq(sv.log, "PUT,");
	end();
}
END_TEST

static const struct maker *const deletes[] = { &r2, &ceph, &b2, &express, &oci,
	&spaces, &hetzner, &gcs, &blind };

START_TEST(delete_by_version)
{
	struct store_version other = { "e:\"etag99999\"" };
	struct store_info info;

	begin(deletes[_i]);
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, &info), STORE_OK);
	ck_rc(store_del(server.s, &call, "k", &other), STORE_CHANGED);
	ck_assert_int_eq(sv.n, 1);
	ck_rc(store_del(server.s, &call, "k", &info.version), STORE_OK);
	ck_assert_int_eq(sv.n, 0);
	ck_assert_int_eq((store_caps(server.s) & STORE_DELETE_MATCH) != 0,
	    deletes[_i]->del == S3_KEPT);
	end();
}
END_TEST

/* What is asked before the copy itself, of where there is nothing. */
static const struct { const struct maker *m; const char *asked; }
copies[] = { { &r2, "HEAD,PUT," }, { &b2, "HEAD,HEAD,GET,PUT," },
	{ &express, "HEAD,HEAD,GET,PUT," }, { &ceph, "HEAD,HEAD,GET,PUT," },
	{ &oci, "HEAD,HEAD,GET,PUT," }, { &spaces, "HEAD,HEAD,GET,PUT," },
	{ &hetzner, "HEAD,HEAD,GET,PUT," }, { &gcs, "HEAD,HEAD,GET,PUT," },
	{ &blind, "HEAD,HEAD,GET,PUT," }, { &ignores, "HEAD,HEAD,GET,PUT," },
};

/* What another has put there stays, also where copies keep no condition. */
START_TEST(copy_if_absent)
{
	struct store_info info;

	begin(copies[_i].m);
	call.sole = true;
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, &info), STORE_OK);
	sv.log[0] = '\0';
	ck_rc(store_pull(server.s, &call, server.s, "k", &info.version, "to",
	    NULL), STORE_OK);
	ck_assert_str_eq(sv.log, copies[_i].asked);
	/* who is looked at before may be put over by one that ends late */
	ck_assert_int_eq((store_caps(server.s) & STORE_PULL_KEEPS) != 0,
	    strcmp(copies[_i].asked, "HEAD,PUT,") == 0);
	ck_assert_int_eq((int)find("pre/to")->body.len, 10);
	ck_rc(put("theirs", STORE_ALWAYS, NULL, 20, NULL), STORE_OK);
	ck_rc(store_pull(server.s, &call, server.s, "k", &info.version,
	    "theirs", NULL), STORE_EXISTS);
	ck_assert_int_eq((int)find("pre/theirs")->body.len, 20);
	end();
}
END_TEST

/* --- checksums --- */

/* Nobody knows that it refuses their headers, until it does: by each of the
 * requests that have one. */
START_TEST(sums_are_refused)
{
	bool large = _i & 1, head = _i & 2;
	struct store_info info;

	begin(&no_sums[_i >> 2]);
	if (head) {
		ck_rc(store_head(server.s, &call, "k", &info), STORE_ABSENT);
		ck_assert_int_eq(sv.sums, 2);
	}
	ck_rc(put("k", STORE_ALWAYS, NULL, large ? 2500 : 10, NULL),
	    STORE_OK);
	ck_assert_int_eq((int)sv.o[0].body.len, large ? 2500 : 10);
	if (!head) {
		ck_assert_int_eq(sv.sums, 1);
		ck_assert_int_eq(strncmp(sv.log, large ?
		    "POST parts,POST parts,PUT," : "PUT,PUT,", 26), 0);
	}
	sv.sums = 0;
	ck_rc(put("k", STORE_ALWAYS, NULL, large ? 2500 : 10, NULL),
	    STORE_OK);
	ck_rc(store_head(server.s, &call, "k", &info), STORE_OK);
	ck_assert_int_eq(sv.sums, 0);
	end();
}
END_TEST

static enum action
damaged(struct request *q, struct buf *out)
{
	return say(out, 400, "", "<Error><Code>XAmzContentChecksumMismatch"
	    "</Code><Message>The provided 'x-amz-checksum' header does not "
	    "match what was computed.</Message></Error>");
}

/* Nor is the answer to bytes that were damaged on their way. */
START_TEST(sums_stay_when_wrong)
{
	memset(&why, 0, sizeof(why));
	call = (struct store_call){ .why = &why };
	server_begin_as(damaged, &small, "region=us-east-1");
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, NULL), STORE_THROTTLED);
	ck_assert(atomic_load(&((struct s3 *)server.s)->checksums));
	server_end();
}
END_TEST

/* That a put was compared with its sum is claimed where its own answer says
 * so, not where the header was taken without a word, or another put's did. */
START_TEST(sums_are_named)
{
	struct store_info info;

	begin(_i & 1 ? &names_sums : &refuses);
	ck_rc(put("k", STORE_ALWAYS, NULL, _i & 2 ? 2500 : 10, &info),
	    STORE_OK);
	ck_assert_int_eq(info.summed, _i & 1);
	ck_rc(store_head(server.s, &call, "k", &info), STORE_OK);
	ck_assert(!info.summed);
	/* it is another server now */
	sv.m.names_sums = !sv.m.names_sums;
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, &info), STORE_OK);
	ck_assert_int_eq(info.summed, !(_i & 1));
	end();
}
END_TEST

/* A HEAD that says no without a word, of keys that have ended, is no refusal
 * of checksums. */
START_TEST(sums_stay)
{
	struct store_info info;

	begin(&express);
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, NULL), STORE_OK);
	real_clock = sys.clock;
	sys.clock = clock_later;
	atomic_store(&later, 6 * NSEC_PER_SEC);
	sv.ended = true;
	sv.log[0] = '\0';
	ck_rc(store_head(server.s, &call, "k", &info), STORE_OK);
	ck_assert_str_eq(sv.log, "HEAD,GET,GET,GET,HEAD,");
	ck_assert(atomic_load(&((struct s3 *)server.s)->checksums));
	end();
}
END_TEST

/* --- directory buckets --- */

static int
gather(void *arg, const struct store_entry *e)
{
	struct buf *b = arg;

	buf_printf(b, "%s ", e->key);
	return 0;
}

START_TEST(lists_of_directories)
{
	static const char *const keys[] = { "a/2", "b", "a/1", "ab/3", "a/3" };
	struct store_list l = { .prefix = "a" };
	struct buf b = BUF_INIT;
	char *word, *at;
	int n = 0;

	begin(&express);
	for (int i = 0; i < 5; i++)
		ck_rc(put(keys[i], STORE_ALWAYS, NULL, 1, NULL), STORE_OK);
	do {
		ck_rc(store_list(server.s, &call, &l, gather, &b), STORE_OK);
	} while (l.more);
	for (word = strtok_r((char *)(uintptr_t)buf_cstr(&b), " ", &at);
	    word != NULL; word = strtok_r(NULL, " ", &at), n++)
		ck_assert_msg(word[0] == 'a', "%s", word);
	ck_assert_int_eq(n, 4);
	/* a walk of it meets each once */
	buf_reset(&b);
	ck_rc(store_walk(server.s, &call, "", NULL, gather, &b), STORE_OK);
	for (int i = 0; i < 5; i++)
		ck_assert_msg(strstr(buf_cstr(&b), keys[i]) != NULL, "%s",
		    buf_cstr(&b));
	l = (struct store_list){ .prefix = "", .start_after = "a/1" };
	ck_rc(store_list(server.s, &call, &l, gather, &b), STORE_UNSUPPORTED);
	l = (struct store_list){ .prefix = "", .delimiter = '-' };
	ck_rc(store_list(server.s, &call, &l, gather, &b), STORE_UNSUPPORTED);
	buf_done(&b);
	end();
}
END_TEST

/* Keys that end, before their time and near it, and nobody notices. */
START_TEST(session_is_renewed)
{
	begin(&express);
	real_clock = sys.clock;
	sys.clock = clock_later;
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, NULL), STORE_OK);
	ck_assert_int_eq(sv.session, 1);
	atomic_store(&later, 6 * NSEC_PER_SEC);
	sv.ended = true;
	ck_rc(put("k", STORE_ALWAYS, NULL, 10, NULL), STORE_OK);
	ck_assert_str_eq(sv.log, "PUT,GET,PUT,");
	ck_assert_int_eq(sv.session, 2);
	/* a minute before the end of five */
	atomic_store(&later, 250 * NSEC_PER_SEC);
	for (int i = 0; i < 500 && sv.session < 3; i++) {
		ck_rc(put("k", STORE_ALWAYS, NULL, 10, NULL), STORE_OK);
		usleep(10000);
	}
	ck_assert_int_eq(sv.session, 3);
	end();
}
END_TEST

START_TEST(session_of_a_reader)
{
	struct buf url = BUF_INIT;

	begin(&express);
	sv.read_only = true;
	ck_rc(store_head(server.s, &call, "k", NULL), STORE_ABSENT);
	ck_assert_int_eq(sv.session, 1);
	/* no URL that would end before it is used */
	ck_rc(((struct s3 *)server.s)->store.ops->offer(server.s, &call, "k",
	    NULL, clock_real() / NSEC_PER_SEC + 3600, &url),
	    STORE_UNSUPPORTED);
	buf_done(&url);
	end();
}
END_TEST

static enum action
no_session(struct request *q, struct buf *out)
{
	return say_error(out, 403, "AccessDenied");
}

START_TEST(session_is_denied)
{
	memset(&why, 0, sizeof(why));
	call = (struct store_call){ .why = &why };
	server_begin_as(no_session, NULL, "dialect=express&region=us-west-2");
	ck_rc(store_head(server.s, &call, "k", NULL), STORE_DENIED);
	ck_assert_msg(strstr(why.text, "lacks s3express:CreateSession") !=
	    NULL, "%s", why.text);
	ck_assert_ptr_null(strstr(why.text, "verysecret"));
	server_end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("s3_dialects");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, known_by_host, 0,
	    sizeof(hosts) / sizeof(hosts[0]));
	tcase_add_loop_test(t, zone_of_bucket, 0,
	    sizeof(zones) / sizeof(zones[0]));
	tcase_add_test(t, opened);
	tcase_add_loop_test(t, put_if_absent, 0,
	    sizeof(asked) / sizeof(asked[0]));
	tcase_add_test(t, put_if_match);
	tcase_add_test(t, refusal_is_learned);
	tcase_add_loop_test(t, condition_is_proven, 0, 2);
	tcase_add_test(t, refusal_is_proof);
	tcase_add_loop_test(t, delete_by_version, 0,
	    sizeof(deletes) / sizeof(deletes[0]));
	tcase_add_loop_test(t, copy_if_absent, 0,
	    sizeof(copies) / sizeof(copies[0]));
	tcase_add_loop_test(t, sums_are_refused, 0, 8);
	tcase_add_loop_test(t, sums_are_named, 0, 4);
	tcase_add_test(t, sums_stay);
	tcase_add_test(t, sums_stay_when_wrong);
	tcase_add_test(t, lists_of_directories);
	tcase_add_test(t, session_is_renewed);
	tcase_add_test(t, session_of_a_reader);
	tcase_add_test(t, session_is_denied);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

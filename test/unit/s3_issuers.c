/*
 * s3_issuers: AWS credentials that somebody issues for a while, each source
 * against a stand-in of its issuer: right, refused, failing, away, slow,
 * talking nonsense, ending, with another idea of the time; and a store that
 * refuses what has ended.  Issuer and store are one server in a thread.
 */
#include <sys/stat.h>

#include "backends/creds_aws_impl.h"
#include "backends/s3.h"
#include "test/unit/s3_server.h"

enum source { WEB, WEB_PROFILE, ROLE, ROLE_CHAIN, CONTAINER, MACHINE,
	SOURCES };

static char dir[256];
static struct why why;
static const char *mode;
static _Atomic int issued;		/* credentials that were issued */
static _Atomic int wanted;		/* the store takes these alone; 0 any */
static char asked[8192];		/* the issuer's last request */
static char seen[8192];			/* the store's */

/* All answers are given at 10:00 by the issuer's clock (say()). */
static const char *expires = "2026-11-21T11:00:00Z";

static _Atomic int64_t jumped;	/* ns */
static int64_t (*true_clock)(clockid_t id);

static int64_t
jump_clock(clockid_t id)
{
	return true_clock(id) + (id == CLOCK_BOOTTIME ?
	    atomic_load(&jumped) : 0);
}

static void
jump(int64_t secs)
{
	atomic_fetch_add(&jumped, secs * NSEC_PER_SEC);
}

static bool
mode_is(const char *s)
{
	return strcmp(mode, s) == 0;
}

static void
write_file(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void
set_path(const char *variable, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	setenv(variable, path, 1);
}

static void
set_url(const char *variable, const char *rest)
{
	char url[128];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", server.port,
	    rest);
	setenv(variable, url, 1);
}

static void
setup(void)
{
	sys_init();
	true_clock = sys.clock;
	help_tempdir(dir, sizeof(dir));
	aws_env_clear();
	set_path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	set_path("AWS_CONFIG_FILE", "config");
	mode = "good";
}

static void
teardown(void)
{
	help_rmtree(dir);
}

static void
has(const char *text, const char *words)
{
	ck_assert_msg(strstr(text, words) != NULL, "no '%s' in: %s", words,
	    text);
}

static void
has_no_secret(void)
{
	ck_assert_msg(strstr(why.text, "s3cr3t") == NULL, "%s", why.text);
}

/* --- the issuers --- */

static bool
is_sts(const struct request *q)
{
	return strcmp(q->method, "POST") == 0 && strcmp(q->target, "/") == 0;
}

static enum action
say_sts(struct request *q, struct buf *out)
{
	char body[1024];
	int n;

	if (strstr((char *)q->body.p, "Action=AssumeRoleWith") != NULL)
		ck_assert_ptr_null(strstr(q->head, "authorization:"));
	else
		has(q->head, "/us-east-1/sts/aws4_request");
	n = atomic_fetch_add(&issued, 1) + 1;
	snprintf(body, sizeof(body), "<AssumeResponse xmlns=\"urn:sts\">"
	    "<AssumeResult><AssumedRoleUser><Arn>a</Arn></AssumedRoleUser>"
	    "<Credentials><AccessKeyId>ASIA%d</AccessKeyId>"
	    "<SecretAccessKey>s3cr3t+/%d</SecretAccessKey>"
	    "<SessionToken>s3cr3t/tok%d==</SessionToken>"
	    "<Expiration>%s</Expiration></Credentials></AssumeResult>"
	    "</AssumeResponse>", n, n, n, expires);
	return say(out, 200, "", body);
}

static enum action
say_json(struct buf *out)
{
	int n = atomic_fetch_add(&issued, 1) + 1;
	char body[1024];

	snprintf(body, sizeof(body), "{\"Code\":\"Success\","
	    "\"AccessKeyId\":\"ASIA%d\",\"SecretAccessKey\":\"s3cr3t+/%d\","
	    "\"Token\":\"s3cr3t/tok%d==\",\"Expiration\":\"%s\"}", n, n, n,
	    expires);
	return say(out, 200, "", body);
}

static enum action
say_no(struct request *q, struct buf *out, int status, const char *code)
{
	char body[512];

	if (is_sts(q))
		snprintf(body, sizeof(body), "<ErrorResponse><Error><Type>"
		    "Sender</Type><Code>%s</Code><Message>because</Message>"
		    "</Error></ErrorResponse>", code);
	else
		snprintf(body, sizeof(body), "{\"code\":\"%s\","
		    "\"message\":\"because\"}", code);
	return say(out, status, "", body);
}

/* The instance metadata service, which gives nothing without a session. */
static enum action
say_machine(struct request *q, struct buf *out)
{
	if (strcmp(q->target, "/latest/api/token") == 0) {
		if (strcmp(q->method, "PUT") != 0 || strstr(q->head,
		    "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n") == NULL)
			return say(out, 400, "", "");
		return say(out, 200, "", "s3cr3t-session");
	}
	if (strstr(q->head, "x-aws-ec2-metadata-token: s3cr3t-session\r\n") ==
	    NULL)
		return say(out, 401, "", "");
	if (strcmp(q->target, "/latest/meta-data/iam/security-credentials/") ==
	    0)
		return mode_is("no role") ? say(out, 404, "", "") :
		    say(out, 200, "", "my-role\n");
	if (strcmp(q->target,
	    "/latest/meta-data/iam/security-credentials/my-role") == 0)
		return mode_is("failed") ? say(out, 200, "",
		    "{\"Code\":\"AssumeRoleUnauthorizedAccess\"}") :
		    say_json(out);
	return say(out, 404, "", "");
}

/* What all issuers do alike when they are ill. */
static bool
is_ill(struct request *q, struct buf *out, enum action *ret)
{
	if (mode_is("slow"))
		*ret = HANG;
	else if (mode_is("gone"))
		*ret = HANG_UP;
	else if (mode_is("half"))
		*ret = (say_json(out), RESET_HALF);
	else if (mode_is("nonsense"))
		*ret = say(out, 200, "", "<html>s3cr3t \x01</");
	else if (mode_is("empty"))
		*ret = say(out, 200, "", "");
	else if (mode_is("400"))
		*ret = say_no(q, out, 400, "ValidationError");
	else if (mode_is("403"))
		*ret = say_no(q, out, 403, "AccessDenied");
	else if (mode_is("429"))
		*ret = say_no(q, out, 429, "Throttling");
	else if (mode_is("500"))
		*ret = say_no(q, out, 500, "InternalFailure");
	else
		return false;
	return true;
}

static enum action
issue(struct request *q, struct buf *out)
{
	enum action a;

	snprintf(asked, sizeof(asked), "%.4000s\n%.4000s", q->head,
	    buf_cstr(&q->body));
	if (is_ill(q, out, &a))
		return a;
	if (is_sts(q) && mode_is("throttled"))
		return say_no(q, out, 400, "Throttling");
	if (is_sts(q))
		return say_sts(q, out);
	if (strncmp(q->target, "/latest/", 8) == 0)
		return say_machine(q, out);
	if (strstr(q->head, "authorization: s3cr3t-basic\r\n") == NULL)
		return say_no(q, out, 401, "NoAuth");
	return say_json(out);
}

static _Atomic int parts;		/* that the store has taken */

/* A store: takes whole objects, and parts. */
static enum action
store_answer(struct request *q, struct buf *out)
{
	char id[64];

	snprintf(seen, sizeof(seen), "%.8000s", q->head);
	snprintf(id, sizeof(id), "Credential=ASIA%d/", atomic_load(&wanted));
	if (atomic_load(&wanted) != 0 && strstr(q->head, id) == NULL)
		return say_error(out, 400, "ExpiredToken");
	snprintf(id, sizeof(id), "x-amz-security-token: s3cr3t/tok%d==\r\n",
	    atomic_load(&wanted));
	if (atomic_load(&wanted) != 0 && strstr(q->head, id) == NULL)
		return say_error(out, 403, "InvalidToken");
	if (strstr(q->target, "uploads=") != NULL)
		return say(out, 200, "", "<R><UploadId>u1</UploadId></R>");
	if (strcmp(q->method, "POST") == 0)
		return say(out, 200, "", "<CompleteMultipartUploadResult>"
		    "<ETag>&quot;x-8&quot;</ETag>"
		    "</CompleteMultipartUploadResult>");
	/* In the middle, what was good so far is no more. */
	if (atomic_fetch_add(&parts, 1) + 1 == 4 && mode_is("middle")) {
		atomic_store(&wanted, 2 * atomic_load(&issued));
		jump(20);
	}
	return say(out, 200, "ETag: \"d41d8cd98f00b204e9800998ecf8427e\"\r\n",
	    strcmp(q->method, "GET") == 0 ? "body" : "");
}

static enum action
answer(struct request *q, struct buf *out)
{
	return is_sts(q) || strncmp(q->target, "/latest/", 8) == 0 ||
	    strncmp(q->target, "/task/", 6) == 0 ? issue(q, out) :
	    store_answer(q, out);
}

/* --- the sources --- */

static void
use_source(enum source source)
{
	char text[1024], path[512];

	snprintf(path, sizeof(path), "%s/subject", dir);
	write_file("subject", "s3cr3t.jwt/of=pod\n");
	set_url("AWS_ENDPOINT_URL_STS", "/");
	switch (source) {
	case WEB:
		setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path, 1);
		setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/web", 1);
		setenv("AWS_ROLE_SESSION_NAME", "pod-1", 1);
		break;
	case WEB_PROFILE:
		snprintf(text, sizeof(text), "[default]\nrole_arn = "
		    "arn:aws:iam::1:role/web\nweb_identity_token_file = %s\n"
		    "role_session_name = pod-1\nduration_seconds = 900\n",
		    path);
		write_file("config", text);
		break;
	case ROLE:
		write_file("credentials", "[base]\naws_access_key_id = AKIA1\n"
		    "aws_secret_access_key = s3cr3t\n");
		write_file("config", "[default]\nregion = us-east-1\n"
		    "role_arn = arn:aws:iam::1:role/top\n"
		    "source_profile = base\nexternal_id = ex 1\n");
		break;
	case ROLE_CHAIN:
		write_file("config", "[profile self]\nrole_arn = arn:b\n"
		    "source_profile = self\naws_access_key_id = AKIA2\n"
		    "aws_secret_access_key = s3cr3t\n[default]\n"
		    "region = us-east-1\n"
		    "role_arn = arn:a\nsource_profile = self\n");
		break;
	case CONTAINER:
		write_file("basic", "s3cr3t-basic\n");
		set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/task/creds");
		set_path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "basic");
		break;
	default:
		set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
		unsetenv("AWS_EC2_METADATA_DISABLED");
	}
}

/* Credentials that it takes to have one. */
static int
each(enum source source)
{
	return source == ROLE_CHAIN ? 2 : 1;
}

static struct creds_aws *
begin(enum source source)
{
	const struct creds_aws_opts o = { .loopback = true };
	struct creds_aws *c = NULL;

	server_listen(answer);
	if (sys.clock != jump_clock)
		sys.clock = jump_clock;
	use_source(source);
	ck_assert_msg(creds_aws_open(&o, &c, &why) == 0, "%s", why.text);
	ck_assert_int_eq(atomic_load(&server.requests), 0);
	return c;
}

static void
is_creds(struct creds_aws *c, int n)
{
	struct aws_creds got = { 0 };
	char want[64];

	ck_assert_msg(creds_aws_get(c, NULL, &got, &why) == 0, "%s",
	    why.text);
	snprintf(want, sizeof(want), "ASIA%d", n);
	ck_assert_str_eq(got.id, want);
	snprintf(want, sizeof(want), "s3cr3t+/%d", n);
	ck_assert_str_eq(got.secret, want);
	snprintf(want, sizeof(want), "s3cr3t/tok%d==", n);
	ck_assert_str_eq(got.token, want);
	aws_creds_done(&got);
}

START_TEST(asks)
{
	struct creds_aws *c = begin((enum source)_i);

	is_creds(c, each(_i));
	is_creds(c, each(_i));		/* they are kept */
	ck_assert_int_eq(atomic_load(&issued), each(_i));
	switch (_i) {
	case WEB:
	case WEB_PROFILE:
		has(asked, "\nAction=AssumeRoleWithWebIdentity&Version="
		    "2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fweb&"
		    "RoleSessionName=pod-1&");
		has(asked, "&WebIdentityToken=s3cr3t.jwt%2Fof%3Dpod");
		ck_assert((strstr(asked, "&DurationSeconds=900&") != NULL) ==
		    (_i == WEB_PROFILE));
		break;
	case ROLE:
		has(asked, "Credential=AKIA1/");
		has(asked, "\nAction=AssumeRole&Version=2011-06-15&RoleArn="
		    "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Ftop&RoleSessionName="
		    "gnsfs&ExternalId=ex%201");
		break;
	case ROLE_CHAIN:
		/* The second by what the first gave. */
		has(asked, "RoleArn=arn%3Aa&");
		has(asked, "Credential=ASIA1/");
		has(asked, "x-amz-security-token: s3cr3t/tok1==\r\n");
		break;
	default:
		break;
	}
	ck_assert_ptr_null(strstr(creds_aws_source(c), "s3cr3t"));
	creds_aws_close(c);
	server_end();
}
END_TEST

static const struct { const char *mode; int err; } failures[] = {
	{ "400", -EACCES }, { "403", -EACCES }, { "429", -EHOSTUNREACH },
	{ "500", -EHOSTUNREACH }, { "slow", -EHOSTUNREACH },
	{ "gone", -EHOSTUNREACH }, { "half", -EHOSTUNREACH },
	{ "nonsense", -EINVAL }, { "empty", -EINVAL },
};
enum { FAILURES = sizeof(failures) / sizeof(failures[0]) };

START_TEST(issuers_that_fail)
{
	enum source source = (enum source)(_i / FAILURES);
	int err = failures[_i % FAILURES].err;
	struct token_call call = { 0 };
	struct aws_creds got = { 0 };
	struct creds_aws *c = begin(source);
	int64_t begun = clock_mono();

	mode = failures[_i % FAILURES].mode;
	/* Nobody there is no instance of AWS: no use in waiting. */
	if (source == MACHINE && (mode_is("slow") || mode_is("gone") ||
	    mode_is("half")))
		err = -EACCES;
	call.deadline = begun + (mode_is("slow") && source != MACHINE ? 1 :
	    20) * NSEC_PER_SEC;
	ck_assert_int_eq(creds_aws_get(c, &call, &got, &why), err);
	ck_assert(clock_mono() - begun < 5 * NSEC_PER_SEC);
	ck_assert_ptr_null(got.id);
	ck_assert_str_ne(why.text, "");
	has_no_secret();
	if (source == MACHINE && err == -EACCES) {
		has(why.text, "no AWS credentials: looked at "
		    "AWS_ACCESS_KEY_ID");
		has(why.text, "/config, AWS_CONTAINER_CREDENTIALS_*; then");
		has(why.text, "instance metadata service at 127.0.0.1");
	}
	atomic_store(&server.stop, true);
	creds_aws_close(c);
	server_end();
}
END_TEST

/* Near their end they are renewed beside those who use them; how long they
 * last is what the issuer's clock says, wherever ours stands. */
START_TEST(expiry)
{
	struct creds_aws *c = begin((enum source)_i);
	int n = each(_i), i;

	is_creds(c, n);
	jump(3600 - 310);
	is_creds(c, n);
	usleep(50000);
	ck_assert_int_eq(atomic_load(&issued), n);
	jump(20);
	is_creds(c, n);			/* does not wait */
	for (i = 0; i < 500 && atomic_load(&issued) < 2 * n; i++)
		usleep(10000);
	usleep(100000);
	is_creds(c, 2 * n);
	jump(4000);
	is_creds(c, 3 * n);		/* waits */
	/* The issuer is away: the old ones are given on. */
	mode = "500";
	jump(5000);
	is_creds(c, 3 * n);
	mode = "gone";
	jump(5000);
	is_creds(c, 3 * n);
	mode = "good";
	jump(5000);
	is_creds(c, 4 * n);
	creds_aws_close(c);
	server_end();
}
END_TEST

/* A service that is ill gives what is over: it is used, and asked for again
 * before long. */
START_TEST(over_already)
{
	struct creds_aws *c;

	expires = "2026-11-21T09:00:00Z";
	c = begin(MACHINE);
	is_creds(c, 1);
	jump(61);
	is_creds(c, 2);
	creds_aws_close(c);
	server_end();
}
END_TEST

START_TEST(no_time)
{
	struct token_call call = { 0 };
	struct aws_creds got = { 0 };
	struct creds_aws *c;

	expires = "soon";
	c = begin((enum source)_i);
	ck_assert_int_eq(creds_aws_get(c, &call, &got, &why), -EINVAL);
	has(why.text, "holds no credentials");
	creds_aws_close(c);
	server_end();
}
END_TEST

static const struct { enum source source; const char *mode; int err;
	const char *words; } special[] = {
	{ WEB, "throttled", -EHOSTUNREACH,
	    "answers 400 Throttling to a request" },
	{ WEB, "403", -EACCES, "the token service at 127.0.0.1 answers 403 "
	    "AccessDenied to a request for a role: because" },
	{ CONTAINER, "403", -EACCES, "the container's credentials service at "
	    "127.0.0.1 answers 403: AccessDenied: because" },
	{ MACHINE, "no role", -EACCES, "this instance has no role" },
	{ MACHINE, "failed", -EACCES, "AssumeRoleUnauthorizedAccess" },
};

START_TEST(says_why)
{
	struct creds_aws *c = begin(special[_i].source);
	struct aws_creds got = { 0 };

	mode = special[_i].mode;
	ck_assert_int_eq(creds_aws_get(c, NULL, &got, &why),
	    special[_i].err);
	has(why.text, special[_i].words);
	has_no_secret();
	creds_aws_close(c);
	server_end();
}
END_TEST

/* The files of tokens are read anew each time; one that is gone is no reason
 * to give up what there is. */
START_TEST(files_are_read_anew)
{
	struct creds_aws *c = begin(WEB);
	char path[512];

	is_creds(c, 1);
	write_file("subject", "second");
	jump(3700);
	is_creds(c, 2);
	has(asked, "&WebIdentityToken=second");
	snprintf(path, sizeof(path), "%s/subject", dir);
	unlink(path);
	jump(3700);
	is_creds(c, 2);
	ck_assert_int_eq(atomic_load(&issued), 2);
	creds_aws_close(c);
	server_end();
}
END_TEST

/* --- where they are looked for --- */

static void
source_is(const char *profile, bool loopback, const char *want)
{
	const struct creds_aws_opts o = { .profile = profile,
	    .loopback = loopback };
	struct creds_aws *c = NULL;
	int err;

	why.text[0] = '\0';
	err = creds_aws_open(&o, &c, &why);
	ck_assert_msg(err == (want != NULL ? 0 : -EACCES), "%d: %s", err,
	    why.text);
	if (want != NULL)
		ck_assert_str_eq(creds_aws_source(c), want);
	creds_aws_close(c);
}

START_TEST(order)
{
	server.port = 1;
	source_is(NULL, true, NULL);
	source_is(NULL, false, NULL);		/* AWS_EC2_METADATA_DISABLED */
	unsetenv("AWS_EC2_METADATA_DISABLED");
	source_is(NULL, true, NULL);		/* nobody's machine is asked */
	source_is(NULL, false, "the instance's role");
	use_source(MACHINE);
	source_is(NULL, true, "the instance's role");
	use_source(CONTAINER);
	source_is(NULL, true, "the container's role");
	write_file("credentials", "[default]\naws_access_key_id = A\n"
	    "aws_secret_access_key = S\n");
	source_is(NULL, true, "the AWS profile");
	use_source(WEB);
	source_is(NULL, true, "the web identity");
	use_source(ROLE);
	source_is(NULL, true, "a role of the AWS profile");
	/* A profile that is named goes before the environment. */
	source_is("base", true, "the AWS profile");
	setenv("AWS_ACCESS_KEY_ID", "A", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "S", 1);
	source_is(NULL, true, "the environment");
	source_is("default", true, "a role of the AWS profile");
	/* One that says only a region leaves it to the machine. */
	write_file("config", "[profile bare]\nregion = x\n");
	source_is("bare", true, "the container's role");
	source_is("nobody", true, NULL);
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
	setenv("AWS_PROFILE", "nobody", 1);
	source_is(NULL, true, NULL);
}
END_TEST

static const struct { const char *name, *value, *words; } bad[] = {
	{ "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/creds",
	    "is not asked: it is an https:// URL" },
	{ "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	    "http://127.0.0.1.evil.example/", "is not asked" },
	{ "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	    "http://127.0.0.1:1@evil.example/", "is not asked" },
	{ "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.24/x",
	    "is not asked" },
	{ "AWS_CONTAINER_CREDENTIALS_FULL_URI", "file:///etc/x",
	    "is not asked" },
	{ "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@evil.example/x",
	    "is no path" },
	{ "AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent", "AWS_ROLE_ARN" },
	{ "AWS_PROFILE", "loop-a", "" },
	{ "AWS_PROFILE", "alone", "neither source_profile nor" },
	{ "AWS_PROFILE", "web", "and no role_arn" },
	{ "AWS_PROFILE", "time", "duration_seconds = soon" },
	{ "AWS_PROFILE", "process", "credential_process, which is not" },
	{ "AWS_PROFILE", "sso", "sso_session, which is not" },
	{ "AWS_PROFILE", "sts", "AWS_ENDPOINT_URL_STS" },
};

START_TEST(refuses)
{
	const struct creds_aws_opts o = { .loopback = true };
	struct aws_creds got = { 0 };
	struct creds_aws *c = NULL;
	int err;

	write_file("config", "[profile loop-a]\nrole_arn = a\n"
	    "source_profile = loop-b\n[profile loop-b]\nrole_arn = b\n"
	    "source_profile = loop-a\n[profile alone]\nrole_arn = x\n"
	    "[profile web]\nweb_identity_token_file = /x\n"
	    "[profile time]\nrole_arn = x\nsource_profile = web\n"
	    "duration_seconds = soon\n"
	    "[profile process]\ncredential_process = /bin/s3cr3t\n"
	    "[profile sso]\nsso_session = s\n"
	    "[profile sts]\nrole_arn = x\ncredential_source = Environment\n");
	setenv(bad[_i].name, bad[_i].value, 1);
	if (strcmp(bad[_i].value, "sts") == 0)
		setenv("AWS_ENDPOINT_URL_STS", "http://sts.example", 1);
	err = creds_aws_open(&o, &c, &why);
	if (err == 0)
		err = creds_aws_get(c, NULL, &got, &why);
	ck_assert_int_eq(err, -EINVAL);
	has(why.text, bad[_i].words);
	has_no_secret();
	creds_aws_close(c);
}
END_TEST

static const struct { const char *env, *url; } sts[] = {
	{ "", "https://sts.amazonaws.com" },
	{ "eu-west-1", "https://sts.eu-west-1.amazonaws.com" },
	{ "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn" },
	{ "evil.example/", "https://sts.amazonaws.com" },
};

/* Asked of creds_aws's own inside, for no test goes there. */
START_TEST(sts_addresses)
{
	const struct creds_aws_opts o = { .loopback = true };
	struct creds_aws *c = NULL;

	use_source(WEB);
	unsetenv("AWS_ENDPOINT_URL_STS");
	setenv("AWS_REGION", sts[_i].env, 1);
	ck_assert_int_eq(creds_aws_open(&o, &c, &why), 0);
	ck_assert_str_eq(c->sts_url, sts[_i].url);
	creds_aws_close(c);
}
END_TEST

START_TEST(container_addresses)
{
	static const char *const good[] = { "http://169.254.170.2/x",
	    "http://169.254.170.23:80/v1/credentials", "http://localhost:9/x",
	    "http://[fd00:ec2::23]/x", "http://[::1]:8/x",
	    "https://example.com/x" };
	char *url = NULL;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", good[i], 1);
		ck_assert_msg(aws_container_url(&url, &why) == 0, "%s",
		    why.text);
		ck_assert_str_eq(url, good[i]);
		free(url);
	}
	setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/c/1", 1);
	ck_assert_int_eq(aws_container_url(&url, &why), 0);
	ck_assert_str_eq(url, "http://169.254.170.2/v2/c/1");
	free(url);
}
END_TEST

/* --- a store and its credentials --- */

static void
open_store(const struct s3_sizes *sizes)
{
	struct url u;

	snprintf(server.url, sizeof(server.url),
	    "s3://lake/pre?endpoint=http://127.0.0.1:%d&region=us-east-1",
	    server.port);
	ck_assert_int_eq(url_parse(server.url, &u, NULL), 0);
	ck_assert_msg(s3_open(&u, sizes, &server.s, &why) == 0, "%s",
	    why.text);
	url_done(&u);
}

static enum store_rc
put(void)
{
	struct store_call call = { .why = &why };
	enum store_rc rc;

	why.text[0] = '\0';
	rc = store_put_mem(server.s, &call, "k", STORE_ALWAYS, NULL,
	    "0123456789", 10, NULL);
	has_no_secret();
	return rc;
}

/* The store refuses them before their time: others, once. */
START_TEST(refused_by_the_store)
{
	struct creds_aws *c = begin((enum source)_i);
	int n = each(_i);

	open_store(NULL);
	ck_rc(put(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), n);
	atomic_store(&wanted, 2 * n);
	ck_rc(put(), STORE_DENIED);	/* asked a moment ago */
	has(why.text, "answers 400 ExpiredToken to PUT of 'k'");
	jump(10);
	ck_rc(put(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 2 * n);
	/* The issuer is away: it is waited for. */
	atomic_store(&wanted, 3 * n);
	mode = "500";
	jump(100);
	ck_rc(put(), STORE_UNREACHABLE);
	has(why.text, "bucket 'lake': no credentials by ");
	has(why.text, "answers 500");
	mode = "good";
	jump(100);
	ck_rc(put(), STORE_OK);
	creds_aws_close(c);
	server_end();
}
END_TEST

/* Credentials end while a large object goes up: nobody sees it. */
START_TEST(end_in_the_middle)
{
	static const struct s3_sizes tiny = { .single = 10, .part = 10 };
	struct store_call call = { .why = &why };
	struct creds_aws *c = begin((enum source)_i);
	struct store_info info;
	char bytes[75];

	memset(bytes, 'x', sizeof(bytes));
	open_store(&tiny);
	mode = "middle";
	ck_assert_msg(store_put_mem(server.s, &call, "k", STORE_ALWAYS, NULL,
	    bytes, sizeof(bytes), &info) == STORE_OK, "%s", why.text);
	ck_assert_int_eq(atomic_load(&issued), 2 * each(_i));
	ck_assert_int_ge(atomic_load(&parts), 8);
	creds_aws_close(c);
	server_end();
}
END_TEST

/* Where none is to be had, nothing was sent: denied, or to be tried again. */
START_TEST(none_yet)
{
	struct creds_aws *c = begin(WEB);

	open_store(NULL);
	mode = "500";
	ck_rc(put(), STORE_UNREACHABLE);
	has(why.text, "bucket 'lake': no credentials by the web identity");
	ck_assert_str_eq(seen, "");
	mode = "403";
	jump(100);
	ck_rc(put(), STORE_DENIED);
	ck_assert_str_eq(seen, "");
	creds_aws_close(c);
	server_end();
}
END_TEST

#define N(a)	((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("s3_issuers");
	TCase *t = tcase_create("issuers");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, asks, 0, SOURCES);
	tcase_add_loop_test(t, issuers_that_fail, 0, SOURCES * FAILURES);
	tcase_add_loop_test(t, expiry, 0, SOURCES);
	tcase_add_test(t, over_already);
	tcase_add_loop_test(t, no_time, 0, SOURCES);
	tcase_add_loop_test(t, says_why, 0, N(special));
	tcase_add_test(t, files_are_read_anew);
	tcase_add_test(t, order);
	tcase_add_loop_test(t, refuses, 0, N(bad));
	tcase_add_loop_test(t, sts_addresses, 0, N(sts));
	tcase_add_test(t, container_addresses);
	tcase_add_loop_test(t, refused_by_the_store, 0, SOURCES);
	tcase_add_test(t, none_yet);
	tcase_add_loop_test(t, end_in_the_middle, 0, SOURCES);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

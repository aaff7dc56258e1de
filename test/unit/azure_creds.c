/* azure_creds: where credentials for Azure come from, and what becomes of a
 * request when a token ends, is refused, or its issuer is away, slow, or
 * answers nonsense.  Issuer and store are one server in a thread. */
#include "test/unit/azure_server.h"

static struct why why;
static struct store_call call;
static char asked[4096];		/* the issuer: its last request */
static _Atomic int issued, status = 200, hang;
static _Atomic bool revoked;		/* the store takes the newest only */
static char seen[8192];			/* the store: its last request */
static _Atomic int64_t skipped;
static int64_t (*real_clock)(clockid_t);

static int64_t
test_clock(clockid_t id)
{
	return real_clock(id) + (id == CLOCK_BOOTTIME ?
	    atomic_load(&skipped) : 0);
}

static enum action
answer_token(struct request *q, struct buf *out)
{
	char body[128];
	int n;

	snprintf(asked, sizeof(asked), "%.2000s\n%.2000s", q->head,
	    buf_cstr(&q->body));
	if (atomic_load(&hang))
		return HANG;
	if (atomic_load(&status) != 200)
		return say(out, atomic_load(&status), "",
		    "{\"error\":\"invalid_client\",\"error_description\":"
		    "\"AADSTS7000215: wrong\\r\\nTrace ID: 1\"}");
	n = atomic_fetch_add(&issued, 1) + 1;
	snprintf(body, sizeof(body), "{\"token_type\":\"Bearer\","
	    "\"expires_in\":\"3600\",\"access_token\":\"tok%d\"}", n);
	return say(out, 200, "", body);
}

static enum action
answer(struct request *q, struct buf *out)
{
	char want[64];

	if (strstr(q->target, "/token") != NULL)
		return answer_token(q, out);
	snprintf(seen, sizeof(seen), "%.8000s", q->head);
	snprintf(want, sizeof(want), "authorization: Bearer tok%d\r\n",
	    atomic_load(&issued));
	if (strstr(q->head, "authorization: Bearer") != NULL &&
	    atomic_load(&revoked) && strstr(q->head, want) == NULL)
		return say(out, 401, "x-ms-error-code: "
		    "InvalidAuthenticationInfo\r\n", "");
	return say(out, 200, "ETag: \"0x1\"\r\n", "body");
}

static void
begin(void)
{
	server_listen(answer);
	env_clear();
	if (sys.clock != test_clock)
		real_clock = sys.clock;
	sys.clock = test_clock;
	memset(&why, 0, sizeof(why));
	call = (struct store_call){ .why = &why };
}

static void
issuer(const char *variable)
{
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d", server.port);
	setenv(variable, url, 1);
}

static void
application(void)
{
	begin();
	issuer("AZURE_AUTHORITY_HOST");
	setenv("AZURE_TENANT_ID", "tenant-1", 1);
	setenv("AZURE_CLIENT_ID", "client 1", 1);
	setenv("AZURE_CLIENT_SECRET", "s3cr&t", 1);
	azure_begin(NULL);
}

static enum store_rc
get(void)
{
	struct buf b = BUF_INIT;
	enum store_rc rc;

	why.text[0] = '\0';
	rc = store_get_all(server.s, &call, "k", 100, &b, NULL);
	buf_done(&b);
	ck_assert_ptr_null(strstr(why.text, "s3cr"));
	ck_assert_ptr_null(strstr(why.text, "tok1"));
	ck_assert_ptr_null(strstr(why.text, "sig="));
	return rc;
}

static void
has(const char *text, const char *words)
{
	ck_assert_msg(strstr(text, words) != NULL, "no '%s' in: %s", words,
	    text);
}

START_TEST(client_secret)
{
	application();
	ck_rc(get(), STORE_OK);
	has(seen, "authorization: Bearer tok1\r\n");
	has(asked, "POST /tenant-1/oauth2/v2.0/token ");
	has(asked, "grant_type=client_credentials");
	has(asked, "scope=https%3A%2F%2Fstorage.azure.com%2F.default");
	has(asked, "client_id=client%201");
	has(asked, "client_secret=s3cr%26t");
	ck_rc(get(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 1);
	server_end();
}
END_TEST

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(workload_identity)
{
	char dir[256], path[300];

	begin();
	help_tempdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/token", dir);
	write_file(path, "jwt.of.pod\n");
	issuer("AZURE_AUTHORITY_HOST");
	setenv("AZURE_TENANT_ID", "t", 1);
	setenv("AZURE_CLIENT_ID", "c", 1);
	setenv("AZURE_FEDERATED_TOKEN_FILE", path, 1);
	azure_begin(NULL);
	ck_rc(get(), STORE_OK);
	has(asked, "client_assertion=jwt.of.pod");
	ck_assert_ptr_null(strstr(asked, "%0A"));
	/* Read anew: it is replaced while we run. */
	write_file(path, "second");
	atomic_fetch_add(&skipped, 3700 * NSEC_PER_SEC);
	ck_rc(get(), STORE_OK);
	has(asked, "client_assertion=second");
	unlink(path);
	atomic_fetch_add(&skipped, 3700 * NSEC_PER_SEC);
	ck_rc(get(), STORE_OK);		/* the old one serves */
	server_end();
	help_rmtree(dir);
}
END_TEST

START_TEST(managed_identity)
{
	begin();
	issuer("AZURE_POD_IDENTITY_AUTHORITY_HOST");
	setenv("AZURE_CLIENT_ID", "which", 1);
	azure_begin(NULL);
	ck_rc(get(), STORE_OK);
	has(asked, "GET /metadata/identity/oauth2/token?api-version="
	    "2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F&"
	    "client_id=which ");
	has(asked, "metadata: true\r\n");
	server_end();
	begin();
	issuer("AZURE_POD_IDENTITY_AUTHORITY_HOST");
	azure_begin(NULL);
	atomic_store(&status, 400);	/* a machine without one */
	ck_rc(get(), STORE_DENIED);
	has(why.text, "no Azure credentials in the environment");
	server_end();
}
END_TEST

START_TEST(service_identity)
{
	char url[64];

	begin();
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/msi/token",
	    server.port);
	setenv("IDENTITY_ENDPOINT", url, 1);
	setenv("IDENTITY_HEADER", "hdr", 1);
	azure_begin(NULL);
	ck_rc(get(), STORE_OK);
	has(asked, "GET /msi/token?api-version=2019-08-01&");
	has(asked, "x-identity-header: hdr\r\n");
	server_end();
}
END_TEST

/* The store refuses a token before its time: another one, once. */
START_TEST(refused_by_the_store)
{
	application();
	ck_rc(get(), STORE_OK);
	atomic_store(&revoked, true);
	atomic_store(&issued, 7);
	atomic_fetch_add(&skipped, 10 * NSEC_PER_SEC);
	ck_rc(get(), STORE_OK);
	has(seen, "authorization: Bearer tok8\r\n");
	atomic_store(&issued, 20);	/* nothing newer than 20 s old */
	ck_rc(get(), STORE_DENIED);
	has(why.text, "401 InvalidAuthenticationInfo to GET of 'k'");
	has(why.text, "AZURE_CLIENT_SECRET is refused");
	server_end();
}
END_TEST

/* The issuer is away: the old one serves, until the store refuses it; then it
 * is the issuer that is waited for. */
START_TEST(issuer_away)
{
	int i;

	application();
	ck_rc(get(), STORE_OK);
	atomic_store(&status, 500);
	for (i = 0; i < 5; i++) {
		atomic_fetch_add(&skipped, 4000 * NSEC_PER_SEC);
		ck_rc(get(), STORE_OK);
		has(seen, "authorization: Bearer tok1\r\n");
	}
	atomic_store(&issued, 5);
	atomic_store(&revoked, true);
	atomic_fetch_add(&skipped, 4000 * NSEC_PER_SEC);
	ck_rc(get(), STORE_UNREACHABLE);
	has(why.text, "answers 500 to a request for a token");
	atomic_store(&status, 200);
	atomic_fetch_add(&skipped, 4000 * NSEC_PER_SEC);
	ck_rc(get(), STORE_OK);
	server_end();
}
END_TEST

static const struct { int status; enum store_rc rc; } no_tokens[] = {
	{ 400, STORE_DENIED }, { 401, STORE_DENIED }, { 403, STORE_DENIED },
	{ 408, STORE_UNREACHABLE }, { 429, STORE_UNREACHABLE },
	{ 500, STORE_UNREACHABLE }, { 503, STORE_UNREACHABLE },
};

START_TEST(issuer_refuses)
{
	application();
	atomic_store(&status, no_tokens[_i].status);
	ck_rc(get(), no_tokens[_i].rc);
	has(why.text, "container 'lake' of account 'acct': no token by "
	    "AZURE_CLIENT_SECRET");
	has(why.text, "invalid_client: AADSTS7000215: wrong  Trace");
	ck_assert_str_eq(seen, "");
	server_end();
}
END_TEST

START_TEST(issuer_slow)
{
	int64_t begun = clock_mono();

	application();
	atomic_store(&hang, 1);
	call.deadline = clock_mono() + 300 * NSEC_PER_MSEC;
	ck_rc(get(), STORE_UNREACHABLE);
	has(why.text, "in time");
	ck_assert(clock_mono() - begun < 3 * NSEC_PER_SEC);
	server_end();
}
END_TEST

/* --- what the environment says --- */

static const struct {
	const char *name, *value;	/* of a variable */
	enum azure_auth auth;
	const char *source;
} found[] = {
	{ "AZURE_STORAGE_KEY", KEY, AZURE_KEY, "AZURE_STORAGE_KEY" },
	{ "AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=a%3D", AZURE_SAS,
	    "AZURE_STORAGE_SAS_TOKEN" },
	{ "AZURE_STORAGE_CONNECTION_STRING", "DefaultEndpointsProtocol=https;"
	    "AccountName=acct;AccountKey=" KEY ";EndpointSuffix=core.x",
	    AZURE_KEY, "AZURE_STORAGE_CONNECTION_STRING" },
	{ "AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint="
	    "https://acct.b.test/;SharedAccessSignature=sv=1&sig=x", AZURE_SAS,
	    "AZURE_STORAGE_CONNECTION_STRING" },
	{ "AZURE_STORAGE_CONNECTION_STRING", "AccountName=other;AccountKey="
	    KEY, AZURE_UNSIGNED, "none" },
	{ "AZURE_CLIENT_ID", "alone", AZURE_UNSIGNED, "none" },
};

START_TEST(finds)
{
	struct creds_azure *c = NULL;
	struct azure_cred cred;

	sys_init();
	env_clear();
	setenv(found[_i].name, found[_i].value, 1);
	ck_assert_msg(creds_azure_open("acct", true, &c, &why) == 0, "%s",
	    why.text);
	ck_assert_int_eq(creds_azure_auth(c), found[_i].auth);
	ck_assert_str_eq(creds_azure_source(c), found[_i].source);
	ck_assert_int_eq(creds_azure_get(c, NULL, &cred, &why), 0);
	if (cred.auth == AZURE_KEY)
		ck_assert_str_eq(cred.text, "secret key of a test");
	if (cred.auth == AZURE_SAS)
		ck_assert(strncmp(cred.text, "sv=1&sig=", 9) == 0);
	azure_cred_done(&cred);
	creds_azure_close(c);
}
END_TEST

static const struct { const char *name, *value, *words; } bad[] = {
	{ "AZURE_STORAGE_KEY", "s3cret", "no base64" },
	{ "AZURE_STORAGE_SAS_TOKEN", "sv=1", "sv=...&sig=" },
	{ "AZURE_STORAGE_SAS_TOKEN", "sig=a b", "percent-encoded" },
	{ "AZURE_STORAGE_CONNECTION_STRING", "nonsense", "NAME=VALUE" },
	{ "AZURE_STORAGE_CONNECTION_STRING", "AccountName=acct",
	    "neither AccountKey" },
};

START_TEST(refuses)
{
	struct creds_azure *c = NULL;

	sys_init();
	env_clear();
	memset(&why, 0, sizeof(why));
	setenv(bad[_i].name, bad[_i].value, 1);
	ck_assert_int_eq(creds_azure_open("acct", true, &c, &why), -EINVAL);
	has(why.text, bad[_i].words);
	ck_assert_ptr_null(strstr(why.text, "s3cret"));
}
END_TEST

START_TEST(another_accounts_key)
{
	struct creds_azure *c = NULL;

	sys_init();
	env_clear();
	setenv("AZURE_STORAGE_ACCOUNT", "other", 1);
	setenv("AZURE_STORAGE_KEY", KEY, 1);
	ck_assert_int_eq(creds_azure_open("acct", true, &c, &why), 0);
	ck_assert_int_eq(creds_azure_auth(c), AZURE_UNSIGNED);
	creds_azure_close(c);
	ck_assert_int_eq(creds_azure_open("other", true, &c, &why), 0);
	ck_assert_int_eq(creds_azure_auth(c), AZURE_KEY);
	creds_azure_close(c);
	creds_azure_close(NULL);
}
END_TEST

/* A token or signature is not sent in the clear. */
START_TEST(not_in_the_clear)
{
	struct store *s = NULL;
	struct url u;

	sys_init();
	env_clear();
	memset(&why, 0, sizeof(why));
	setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=x", 1);
	ck_assert_int_eq(url_parse("az://acct/lake?endpoint=http://b.test",
	    &u, &why), 0);
	ck_assert_int_eq(azure_store_open(&u, &s, &why), -EINVAL);
	has(why.text, "use https");
	ck_assert_ptr_null(strstr(why.text, "sig=x"));
	url_done(&u);
	memset(&why, 0, sizeof(why));
	unsetenv("AZURE_STORAGE_SAS_TOKEN");
	setenv("AZURE_TENANT_ID", "t", 1);
	setenv("AZURE_CLIENT_ID", "c", 1);
	setenv("AZURE_CLIENT_SECRET", "s", 1);
	setenv("AZURE_AUTHORITY_HOST", "http://login.test", 1);
	ck_assert_int_eq(url_parse("az://acct/lake", &u, &why), 0);
	ck_assert_int_eq(azure_store_open(&u, &s, &why), -EINVAL);
	has(why.text, "begins with https://");
	url_done(&u);
}
END_TEST

#define N(a)	(int)(sizeof(a) / sizeof((a)[0]))

int
main(void)
{
	Suite *suite = suite_create("azure_creds");
	TCase *t = tcase_create("credentials");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, client_secret);
	tcase_add_test(t, workload_identity);
	tcase_add_test(t, managed_identity);
	tcase_add_test(t, service_identity);
	tcase_add_test(t, refused_by_the_store);
	tcase_add_test(t, issuer_away);
	tcase_add_loop_test(t, issuer_refuses, 0, N(no_tokens));
	tcase_add_test(t, issuer_slow);
	tcase_add_loop_test(t, finds, 0, N(found));
	tcase_add_loop_test(t, refuses, 0, N(bad));
	tcase_add_test(t, another_accounts_key);
	tcase_add_test(t, not_in_the_clear);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

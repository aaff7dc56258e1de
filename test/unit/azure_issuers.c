/*
 * azure_issuers: each source of Azure's tokens against a stand-in of its
 * issuer: right, refused, failing, away, slow, talking nonsense, ending, in
 * the middle of a large put too, and with another idea of the time.  Issuer
 * and store are one server in a thread.
 */
#include "test/unit/azure_server.h"

enum source { SECRET, WORKLOAD, SERVICE, MACHINE, SOURCES };

static const char *const names[] = { "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "machine" };

static struct why why;
static struct store_call call;
static char dir[256], path[300];	/* the federated token */
static const char *mode;
static _Atomic int issued;		/* the newest is tokN; what they ask */
static _Atomic int sent;		/* to the store */
static _Atomic int oldest;		/* that the store takes */
static _Atomic int blocks;		/* that it has; at BREAK tokens end */
static _Atomic int refused;		/* 401s of the store */
static _Atomic int last;		/* token that it was asked with */
static const char *life;		/* as JSON */
static _Atomic int64_t jumped, skew;	/* ns: of CLOCK_BOOTTIME, _REALTIME */
static int64_t (*true_clock)(clockid_t);

enum { BREAK = 3, PART = 10, SIZE = 75 };

static int64_t
test_clock(clockid_t id)
{
	return true_clock(id) +
	    (id == CLOCK_BOOTTIME ? atomic_load(&jumped) : 0) +
	    (id == CLOCK_REALTIME ? atomic_load(&skew) : 0);
}

static bool
mode_is(const char *s)
{
	return strcmp(mode, s) == 0;
}

static void
write_token(const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* --- the stand-in --- */

/* Is it what the source asks with? */
static bool
is_good(const struct request *q)
{
	const char *body = (const char *)q->body.p;

	if (strcmp(q->method, "POST") == 0)
		return strstr(q->target, "/tenant/oauth2/v2.0/token") != NULL &&
		    (strstr(body, "client_secret=s3cr3t%2B") != NULL ||
		    strstr(body, "client_assertion=s3cr3t.jwt") != NULL);
	return strstr(q->target, "resource=https%3A%2F%2Fstorage.azure.com")
	    != NULL && (strstr(q->head, "x-identity-header: s3cr3t") != NULL ||
	    strstr(q->head, "metadata: true") != NULL);
}

static enum action
answer_token(struct request *q, struct buf *out)
{
	char body[200];

	if (!is_good(q) || mode_is("400"))
		return say(out, 400, "", "{\"error\":\"invalid_client\"}");
	if (mode_is("401"))
		return say(out, 401, "", "{\"error\":\"unauthorized\"}");
	if (mode_is("500"))
		return say(out, 500, "", "oops");
	if (mode_is("slow"))
		return HANG;
	if (mode_is("gone"))
		return HANG_UP;
	if (mode_is("half"))
		return RESET_HALF;
	if (mode_is("nonsense"))
		return say(out, 200, "", "<html>s3cr3t</html>");
	snprintf(body, sizeof(body), "{\"token_type\":\"Bearer\",%s,"
	    "\"access_token\":\"s3cr3t-tok%d\"}", life,
	    atomic_fetch_add(&issued, 1) + 1);
	return say(out, 200, "", body);
}

static enum action
answer(struct request *q, struct buf *out)
{
	const char *p;

	if (strstr(q->target, "/token") != NULL)
		return answer_token(q, out);
	atomic_fetch_add(&sent, 1);
	p = strstr(q->head, "authorization: Bearer s3cr3t-tok");
	atomic_store(&last, p != NULL ? atoi(p + 32) : 0);
	if (atomic_load(&last) < atomic_load(&oldest) || p == NULL) {
		atomic_fetch_add(&refused, 1);
		return say(out, 401, "x-ms-error-code: "
		    "InvalidAuthenticationInfo\r\n", "");
	}
	if (strstr(q->target, "comp=block&") != NULL &&
	    atomic_fetch_add(&blocks, 1) + 1 == BREAK && mode_is("middle")) {
		atomic_store(&oldest, atomic_load(&issued) + 1);
		atomic_fetch_add(&jumped, 10 * NSEC_PER_SEC);
	}
	return say(out, strcmp(q->method, "PUT") == 0 ? 201 : 200,
	    "ETag: \"0x1\"\r\n", strcmp(q->method, "PUT") == 0 ? "" : "body");
}

/* --- the sources --- */

static void
setup(void)
{
	sys_init();
	true_clock = sys.clock;
	sys.clock = test_clock;
	help_tempdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/token", dir);
	write_token("s3cr3t.jwt\n");
	mode = "good";
	life = "\"expires_in\":\"3600\"";
	memset(&why, 0, sizeof(why));
	call = (struct store_call){ .why = &why };
}

static void
teardown(void)
{
	help_rmtree(dir);
}

static void
begin(enum source source, const struct azure_sizes *sizes)
{
	int64_t (*clock)(clockid_t) = sys.clock;
	char host[64], url[100];

	server_listen(answer);		/* sets the calls anew */
	sys.clock = clock;
	env_clear();
	snprintf(host, sizeof(host), "http://127.0.0.1:%d", server.port);
	snprintf(url, sizeof(url), "%s/msi/token", host);
	switch (source) {
	case SECRET:
		setenv("AZURE_CLIENT_SECRET", "s3cr3t+", 1);
		break;
	case WORKLOAD:
		setenv("AZURE_FEDERATED_TOKEN_FILE", path, 1);
		break;
	case SERVICE:
		setenv("IDENTITY_ENDPOINT", url, 1);
		setenv("IDENTITY_HEADER", "s3cr3t", 1);
		break;
	default:
		setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", host, 1);
	}
	if (source == SECRET || source == WORKLOAD) {
		setenv("AZURE_AUTHORITY_HOST", host, 1);
		setenv("AZURE_TENANT_ID", "tenant", 1);
		setenv("AZURE_CLIENT_ID", "client", 1);
	}
	azure_begin(sizes);
}

static enum store_rc
get(void)
{
	struct buf b = BUF_INIT;
	enum store_rc rc;

	why.text[0] = '\0';
	rc = store_get_all(server.s, &call, "k", 100, &b, NULL);
	buf_done(&b);
	ck_assert_ptr_null(strstr(why.text, "s3cr3t"));
	return rc;
}

static void
says(const char *words)
{
	ck_assert_msg(strstr(why.text, words) != NULL, "no '%s' in: %s", words,
	    why.text);
}

static void
jump(int secs)
{
	atomic_fetch_add(&jumped, secs * NSEC_PER_SEC);
}

/* --- what goes wrong --- */

static const struct { const char *mode; enum store_rc rc; } failures[] = {
	{ "400", STORE_DENIED }, { "401", STORE_DENIED },
	{ "500", STORE_UNREACHABLE }, { "slow", STORE_UNREACHABLE },
	{ "gone", STORE_UNREACHABLE }, { "half", STORE_UNREACHABLE },
	{ "nonsense", STORE_DENIED },
};
enum { FAILURES = sizeof(failures) / sizeof(failures[0]) };

/* Nothing is sent without a token; with one, it serves on. */
START_TEST(issuers_that_fail)
{
	int source = _i / FAILURES, bad = _i % FAILURES;
	int64_t begun = clock_mono();

	begin((enum source)source, NULL);
	mode = failures[bad].mode;
	if (mode_is("slow"))
		call.deadline = clock_mono() + 300 * NSEC_PER_MSEC;
	ck_rc(get(), failures[bad].rc);
	says("container 'lake' of account 'acct': no token by ");
	says(names[source]);
	ck_assert_int_eq(atomic_load(&sent), 0);
	ck_assert(clock_mono() - begun < 5 * NSEC_PER_SEC);
	call.deadline = 0;
	mode = "good";
	jump(100);
	if (strcmp(failures[bad].mode, "slow") != 0) {
		ck_rc(get(), STORE_OK);
		mode = failures[bad].mode;
		jump(4000);
		ck_rc(get(), STORE_OK);
		ck_assert_int_eq(atomic_load(&issued), 1);
	}
	atomic_store(&server.stop, true);
	server_end();
}
END_TEST

/* Near its end a token is renewed beside those who use it; one that has ended
 * is not given where another is to be had, but is where none is, until the
 * store refuses it. */
START_TEST(expiry)
{
	int n;

	begin((enum source)_i, NULL);
	life = "\"expires_in\":60";
	ck_rc(get(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 1);
	jump(50);
	for (n = 0; n < 1000 && atomic_load(&last) < 2; n++) {
		ck_rc(get(), STORE_OK);
		usleep(10000);
	}
	ck_assert_int_eq(atomic_load(&issued), 2);
	jump(500);
	atomic_store(&oldest, 3);
	ck_rc(get(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 3);
	ck_assert_int_eq(atomic_load(&refused), 0);
	mode = "500";
	jump(5000);
	ck_rc(get(), STORE_OK);
	atomic_store(&oldest, 4);
	jump(100);
	ck_rc(get(), STORE_UNREACHABLE);
	says("answers 500 to a request for a token");
	mode = "good";
	jump(100);
	ck_rc(get(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 4);
	server_end();
}
END_TEST

/* Tokens end while a large object goes up: nobody sees it. */
START_TEST(end_in_the_middle)
{
	static const struct azure_sizes tiny = { .single = PART,
	    .part = PART };
	struct store_info info;
	char bytes[SIZE];

	memset(bytes, 'x', sizeof(bytes));
	begin((enum source)_i, &tiny);
	mode = "middle";
	ck_assert_msg(store_put_mem(server.s, &call, "k", STORE_ALWAYS, NULL,
	    bytes, sizeof(bytes), &info) == STORE_OK, "%s", why.text);
	ck_assert_int_eq(atomic_load(&issued), 2);
	ck_assert_int_ge(atomic_load(&refused), 1);
	/* each came once, whoever was refused */
	ck_assert_int_eq(atomic_load(&blocks), (SIZE + PART - 1) / PART);
	server_end();
}
END_TEST

/* This host's clock is days off: a token's life is told as a duration; where
 * the time of day is all that is told, it is asked for more often, and is
 * never held for dead. */
START_TEST(clock_skew)
{
	bool by_day = _i / SOURCES % 2;
	int64_t day = 24 * 3600, off = _i / SOURCES < 2 ? day : -day;
	char text[64];

	begin((enum source)(_i % SOURCES), NULL);
	if (by_day) {
		snprintf(text, sizeof(text), "\"expires_on\":\"%lld\"",
		    (long long)(clock_real() / NSEC_PER_SEC + 3600));
		life = text;
	}
	atomic_store(&skew, 3 * off * NSEC_PER_SEC);
	ck_rc(get(), STORE_OK);
	ck_rc(get(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 1);
	atomic_store(&oldest, 2);
	jump(off < 0 && by_day ? 100000 : 3700);
	ck_rc(get(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 2);
	ck_assert_int_eq(atomic_load(&refused), 0);
	server_end();
}
END_TEST

/* The file of a workload's token is lost: the old token serves until the
 * store refuses it, and a new file is seen. */
START_TEST(file_is_lost)
{
	begin(WORKLOAD, NULL);
	unlink(path);
	ck_rc(get(), STORE_DENIED);
	says(path);
	says("AZURE_FEDERATED_TOKEN_FILE");
	ck_assert_int_eq(atomic_load(&sent), 0);
	write_token("");
	jump(100);
	ck_rc(get(), STORE_DENIED);
	says("it is empty");
	write_token("s3cr3t.jwt");
	jump(100);
	ck_rc(get(), STORE_OK);
	unlink(path);
	jump(4000);
	ck_rc(get(), STORE_OK);
	atomic_store(&oldest, 2);
	jump(100);
	ck_rc(get(), STORE_DENIED);
	says(path);
	write_token("s3cr3t.jwt");
	jump(100);
	ck_rc(get(), STORE_OK);
	ck_assert_int_eq(atomic_load(&issued), 2);
	server_end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("azure_issuers");
	TCase *t = tcase_create("issuers");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, issuers_that_fail, 0, SOURCES * FAILURES);
	tcase_add_loop_test(t, expiry, 0, SOURCES);
	tcase_add_loop_test(t, end_in_the_middle, 0, SOURCES);
	tcase_add_loop_test(t, clock_skew, 0, 4 * SOURCES);
	tcase_add_test(t, file_is_lost);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

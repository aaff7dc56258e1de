/*
 * gcs_creds: where Google's credentials are found, and each source of tokens
 * against a stand-in of its issuer: right, refused, failing, away, slow,
 * talking nonsense, ending, and with another idea of the time.
 */
#include <jansson.h>
#include <sys/stat.h>

#include "backends/creds_jwt.h"
#include "test/unit/gcs_server.h"

/* Made for this test; no account has it. */
#define KEY								\
"-----BEGIN PRIVATE KEY-----\n"						\
"MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAMJPKTDZ6twHqW+Z\n"	\
"HoHHXEPA6wFmmvo8QgUaX/y4HDhSeHppadJlk4hfBA7/WoU1S5RSfD4OJSINKviE\n"	\
"lb1ZLb7UCbOyWUSElcXiT7u5/qdrsnYwkF4PG6XHbNEdLM1Gr7dTUuH1/zFQe+71\n"	\
"oACIOHEYMuVWt/G9C5yAa8x9gEeHAgMBAAECgYARIxIq8M054qMa6JI8N+z3PMh9\n"	\
"MyNv9miMMqtMiqBSh1OA2FMw7yx31olxGSxOm0izKCM1BeJYgnjLukXKkVbrWgmg\n"	\
"053bMnxt8Bm8kHrbuLYLtyoWuDpashhtf50xjlDUBtTNMrrY9gbSQApOZExGZxFZ\n"	\
"Xfkg/fnlv4wCAbzWwQJBAPlyqx80ypuDeqL87RnVp/+V94cjKdXFWqwEDaSZ9M9l\n"	\
"41Aoi2ZW8tJUgYz+B3DBgQkv1I98asq8bMUvFKgKq0kCQQDHabrsIu8tS60EhReE\n"	\
"ubsOfbz4Lx0XGN2Zw9fXxJOSSebOgusLUI/y6fCPOsGzmprfXcDobbXB0OG3Qwby\n"	\
"vgxPAkEAsVys+4VHwgdcPWNlGodl6j6xPy7rYgnvDHvdT3oALS8ezzHk3CFaid54\n"	\
"Ns2wcKXFn8iYdGVccUZEeHefUlQzsQJAUAiYU/PFaLmJrFm6UbO1ZqCCel12YHHD\n"	\
"ZtZaR6gGzlzIvLOAoF7qF0VbHjEn0uzHIcTgCqkVnL84CDRnkn9CMwJAS6KXkO1z\n"	\
"IByAZc2N6nYqI6Z8xIuWWY9T97lyjLUABFUWlbM5WL9yF6N+zfAgfKgK3WJID22F\n"	\
"ixYvCSLCy8IgMg==\n"							\
"-----END PRIVATE KEY-----\n"

/* What `openssl dgst -sha256 -sign` makes of the same. */
#define SIGNED								\
"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhQGIifQ."		\
"fEJKMSrvC0igpOJv0GXtuJ4rBJ5K2IFoTjk9aYm9JF1eAlSvoUWCyU4CI4rG"		\
"rusqD3y1aAQp8q6h2gxBB7l8s0Q2Hi6_92kJ5cIWyilplfyEBYGpgU0zzMyV"		\
"VcA6MvWJCXIZb_0NRtJkwHZJtHhbt1VMqTLK-nmrQeRKP1R9UY8"

static char dir[256];
static struct why why;
static const char *mode;
static _Atomic int asked;	/* tokens that were asked for */
static int life;		/* seconds of a token */
static bool acts;		/* who asks is to act as another account */

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
setup(void)
{
	sys_init();
	help_tempdir(dir, sizeof(dir));
	gcs_no_creds();
	setenv("CLOUDSDK_CONFIG", dir, 1);
	mode = "good";
	life = 3600;
	acts = false;
	why.text[0] = '\0';
}

static void
teardown(void)
{
	help_rmtree(dir);
}

/* --- JWT --- */

START_TEST(jwt)
{
	static const char *const bad[] = { "", "s3cr3t",
	    "-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----\n",
	    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC\n"
	    "-----END ENCRYPTED PRIVATE KEY-----\n" };
	struct buf b = BUF_INIT;
	size_t i;

	ck_assert_int_eq(jwt_sign_rs256("{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
	    "{\"iss\":\"a@b\"}", KEY, &b, &why), 0);
	ck_assert_str_eq(buf_cstr(&b), SIGNED);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why.text[0] = '\0';
		ck_assert_int_eq(jwt_sign_rs256("{}", "{}", bad[i], &b, &why),
		    -EINVAL);
		ck_assert_ptr_null(strstr(why.text, "s3cr3t"));
		ck_assert_ptr_nonnull(strstr(why.text, "RSA key in PEM"));
	}
	buf_done(&b);
}
END_TEST

/* --- the issuers --- */

static unsigned char
unbase64(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789-_";

	return (unsigned char)(strchr(digits, c) - digits);
}

/* The nth part of a JWT, as JSON. */
static json_t *
jwt_part(const char *jwt, int n)
{
	char text[2048];
	size_t len = 0;
	unsigned bits = 0, have = 0;
	json_t *o;

	for (; n > 0; n--)
		jwt = strchr(jwt, '.') + 1;
	for (; *jwt != '.' && *jwt != '\0'; jwt++) {
		bits = bits << 6 | unbase64(*jwt);
		have += 6;
		if (have >= 8)
			text[len++] = (char)(bits >> (have -= 8));
	}
	o = json_loadb(text, len, 0, NULL);
	ck_assert_ptr_nonnull(o);
	return o;
}

/* Is it one that Google would take, at its own time? */
static bool
is_good_jwt(const char *body)
{
	const char *jwt = strstr(body, "assertion=");
	int64_t now = clock_real() / NSEC_PER_SEC, iat, exp;
	json_t *head, *claims;

	ck_assert_ptr_nonnull(jwt);
	ck_assert_ptr_nonnull(strstr(body, "grant_type=urn%3Aietf%3Aparams"
	    "%3Aoauth%3Agrant-type%3Ajwt-bearer&"));
	head = jwt_part(jwt + 10, 0);
	claims = jwt_part(jwt + 10, 1);
	ck_assert_str_eq(json_string_value(json_object_get(head, "alg")),
	    "RS256");
	ck_assert_str_eq(json_string_value(json_object_get(head, "kid")),
	    "key1");
	ck_assert_str_eq(json_string_value(json_object_get(claims, "iss")),
	    "robot@example.test");
	ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(claims,
	    "aud")), "/token"));
	ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(claims,
	    "scope")), acts ? "/cloud-platform" : "/devstorage.read_write"));
	iat = json_integer_value(json_object_get(claims, "iat"));
	exp = json_integer_value(json_object_get(claims, "exp"));
	ck_assert_int_eq(exp - iat, 3600);
	json_decref(head);
	json_decref(claims);
	if (mode_is("skew"))
		now = http_date_parse("Sat, 21 Nov 2026 10:00:00 GMT");
	return llabs((long long)(iat - now)) < 60;
}

static bool
is_good(struct request *q)
{
	const char *body = buf_cstr(&q->body);

	if (has(q, "POST", "/token"))
		return strstr(body, "assertion=") != NULL ?
		    is_good_jwt(body) : strcmp(body, "grant_type=refresh_token"
		    "&client_id=id&client_secret=s3cr3t%2B&refresh_token="
		    "s3cr3t%2Fr") == 0;
	if (has(q, "POST", "/sts"))
		return strstr(body, "subject_token=s3cr3t.subject") != NULL &&
		    strstr(body, "audience=%2F%2Fiam&") != NULL &&
		    strstr(body, "subject_token_type=urn%3Ajwt&") != NULL;
	if (has(q, "POST", "/impersonate"))
		return strstr(q->head, "Bearer s3cr3t-token-") != NULL &&
		    strstr(body, "\"lifetime\":\"3600s\"") != NULL &&
		    (!acts || strstr(body, "\"delegates\":[\"projects/-/"
		    "serviceAccounts/d\"]}") != NULL);
	return has(q, "GET", "/computeMetadata/v1/instance/service-accounts/"
	    "default/token") && strcasestr(q->head,
	    "metadata-flavor: Google") != NULL;
}

/* Where a subject token is had by a URL. */
static enum action
answer_subject(struct request *q, struct buf *out)
{
	if (mode_is("refused") || strstr(q->head, "\r\nx-idp: s3cr3t-idp\r\n")
	    == NULL || strstr(q->target, "/subject?aud=x") == NULL)
		return say(out, 403, "", "{\"error\":\"forbidden\"}");
	if (mode_is("401"))
		return say(out, 401, "", "");
	if (mode_is("500"))
		return say(out, 500, "", "oops");
	if (mode_is("slow"))
		return HANG;
	if (mode_is("gone"))
		return HANG_UP;
	if (mode_is("nonsense"))
		return say(out, 200, "", " \n");
	return say(out, 200, "", strstr(q->target, "json") != NULL ?
	    "{\"id\":\"s3cr3t.subject\"}" : "s3cr3t.subject\n");
}

static enum action
answer(struct request *q, struct buf *out)
{
	char body[256];
	int n;

	if (has(q, "GET", "/subject"))
		return answer_subject(q, out);
	if (has(q, "GET", "/token") &&
	    strstr(q->target, "computeMetadata") == NULL)
		return say(out, 404, "", "");	/* its Date is looked at */
	n = atomic_fetch_add(&asked, 1) + 1;
	if (mode_is("refused") || !is_good(q))
		return say(out, 400, "", "{\"error\":\"invalid_grant\","
		    "\"error_description\":\"Bad Request\"}");
	if (mode_is("401"))
		return say(out, 401, "", "{\"error\":\"invalid_client\"}");
	if (mode_is("500"))
		return say(out, 500, "", "oops");
	if (mode_is("slow"))
		return HANG;
	if (mode_is("gone"))
		return HANG_UP;
	if (mode_is("nonsense"))
		return say(out, 200, "", "<html>s3cr3t</html>");
	snprintf(body, sizeof(body), "{\"%s\":\"s3cr3t-token-%d\","
	    "\"expires_in\":%d,\"token_type\":\"Bearer\"}",
	    has(q, "POST", "/impersonate") ? "accessToken" : "access_token",
	    n, life);
	return say(out, 200, "", body);
}

/* --- the sources --- */

enum source { SERVICE, USER, EXTERNAL, EXTERNAL_JSON, EXTERNAL_URL,
	EXTERNAL_URL_JSON, METADATA, IMPERSONATED, USER_ACTS, SERVICE_ACTS,
	EXTERNAL_ACTS, SOURCES };

/* How many tokens are asked for until there is one. */
static int
steps(int source)
{
	return source >= IMPERSONATED ? 2 : 1;
}

/* What asks as itself, or, where it acts as another, as gcloud writes that. */
static void
write_adc(const char *own)
{
	char text[3072];

	snprintf(text, sizeof(text), !acts ? "%s" : "{\"type\":"
	    "\"impersonated_service_account\",\"delegates\":[\"projects/-/"
	    "serviceAccounts/d\"],\"service_account_impersonation_url\":"
	    "\"http://127.0.0.1:%2$d/impersonate\",\"source_credentials\":"
	    "%1$s}", own, server.port);
	write_file("application_default_credentials.json", text);
}

static void
write_external(const char *more, const char *format)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"type\":\"external_account\","
	    "\"audience\":\"//iam\",\"subject_token_type\":\"urn:jwt\","
	    "\"token_url\":\"http://127.0.0.1:%d/sts\",%s"
	    "\"credential_source\":{\"file\":\"%s/subject\"%s}}", server.port,
	    more, dir, format);
	write_adc(text);
	write_file("subject", format[0] == '\0' ? "s3cr3t.subject\n" :
	    "{\"id\":\"s3cr3t.subject\"}");
}

static void
write_external_url(const char *format)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"type\":\"external_account\","
	    "\"audience\":\"//iam\",\"subject_token_type\":\"urn:jwt\","
	    "\"token_url\":\"http://127.0.0.1:%d/sts\",\"credential_source\":"
	    "{\"url\":\"http://127.0.0.1:%d/subject?aud=x%s\",\"headers\":"
	    "{\"X-IdP\":\"s3cr3t-idp\"}%s}}", server.port, server.port,
	    format[0] != '\0' ? "&json" : "", format);
	write_adc(text);
}

static void
write_source(enum source source)
{
	static const char as_json[] = ",\"format\":{\"type\":\"json\","
	    "\"subject_token_field_name\":\"id\"}";
	char text[3072], host[64], *own;
	json_t *o;

	snprintf(host, sizeof(host), "127.0.0.1:%d", server.port);
	acts = source > IMPERSONATED;
	switch (source) {
	case SERVICE:
	case SERVICE_ACTS:
		snprintf(text, sizeof(text), "http://%s/token", host);
		o = json_pack("{s:s,s:s,s:s,s:s,s:s}", "type",
		    "service_account", "client_email", "robot@example.test",
		    "private_key", KEY, "private_key_id", "key1", "token_uri",
		    text);
		if (acts) {
			own = json_dumps(o, 0);
			write_adc(own);
			free(own);
			json_decref(o);
			break;
		}
		snprintf(text, sizeof(text), "%s/service.json", dir);
		ck_assert_int_eq(json_dump_file(o, text, 0), 0);
		json_decref(o);
		setenv("GOOGLE_APPLICATION_CREDENTIALS", text, 1);
		break;
	case USER:
	case USER_ACTS:
		snprintf(text, sizeof(text), "{\"type\":\"authorized_user\","
		    "\"client_id\":\"id\",\"client_secret\":\"s3cr3t+\","
		    "\"refresh_token\":\"s3cr3t/r\",\"token_uri\":"
		    "\"http://%s/token\"}", host);
		write_adc(text);
		break;
	case EXTERNAL:
	case EXTERNAL_ACTS:
		write_external("", "");
		break;
	case EXTERNAL_JSON:
		write_external("", as_json);
		break;
	case EXTERNAL_URL:
		write_external_url("");
		break;
	case EXTERNAL_URL_JSON:
		write_external_url(as_json);
		break;
	case IMPERSONATED:
		snprintf(text, sizeof(text), "\"service_account_impersonation"
		    "_url\":\"http://%s/impersonate\",", host);
		write_external(text, "");
		break;
	default:
		setenv("GCE_METADATA_HOST", host, 1);
	}
}

static struct creds_gcs *
open_creds(void)
{
	const struct creds_gcs_opts o = { .profile = NULL };
	struct creds_gcs *c = NULL;

	ck_assert_msg(creds_gcs_open(&o, &c, &why) == 0, "%s", why.text);
	return c;
}

START_TEST(tokens)
{
	struct creds_gcs *c;
	char *text = NULL, want[32];

	server_listen(answer);
	write_source((enum source)_i);
	c = open_creds();
	ck_assert_int_eq(atomic_load(&server.requests), 0);
	ck_assert_msg(creds_gcs_get(c, NULL, &text, &why) == 0, "%s",
	    why.text);
	snprintf(want, sizeof(want), "s3cr3t-token-%d", steps(_i));
	ck_assert_str_eq(text, want);
	token_text_free(text);
	/* It is kept. */
	ck_assert_int_eq(creds_gcs_get(c, NULL, &text, &why), 0);
	ck_assert_str_eq(text, want);
	token_text_free(text);
	ck_assert_ptr_null(strstr(creds_gcs_who(c), "s3cr3t"));
	/* whose key it is does not sign for who it acts as */
	ck_assert_int_eq(creds_gcs_signer(c) != NULL, _i == SERVICE);
	creds_gcs_close(c);
	server_end();
}
END_TEST

static const struct { const char *mode; int err; } failures[] = {
	{ "refused", -EACCES }, { "401", -EACCES }, { "500", -EHOSTUNREACH },
	{ "slow", -EHOSTUNREACH }, { "gone", -EHOSTUNREACH },
	{ "nonsense", -EINVAL },
};
enum { FAILURES = sizeof(failures) / sizeof(failures[0]) };

START_TEST(issuers_that_fail)
{
	struct token_call tc = { 0 };
	struct creds_gcs *c;
	char *text = NULL;

	server_listen(answer);
	write_source((enum source)(_i / FAILURES));
	mode = failures[_i % FAILURES].mode;
	c = open_creds();
	tc.deadline = clock_mono() + (mode_is("slow") ? 1 : 20) *
	    NSEC_PER_SEC;
	ck_assert_int_eq(creds_gcs_get(c, &tc, &text, &why),
	    failures[_i % FAILURES].err);
	ck_assert_ptr_null(text);
	ck_assert_ptr_null(strstr(why.text, "s3cr3t"));
	ck_assert_str_ne(why.text, "");
	atomic_store(&server.stop, true);
	creds_gcs_close(c);
	server_end();
}
END_TEST

static _Atomic int64_t jumped;	/* ns */
static int64_t (*true_clock)(clockid_t id);

static int64_t
jump_clock(clockid_t id)
{
	return true_clock(id) + (id == CLOCK_BOOTTIME ?
	    atomic_load(&jumped) : 0);
}

static void
is_token(struct creds_gcs *c, const char *want)
{
	char *text = NULL;

	ck_assert_msg(creds_gcs_get(c, NULL, &text, &why) == 0, "%s",
	    why.text);
	ck_assert_str_eq(text, want);
	token_text_free(text);
}

/* Near its end a token is renewed beside those who use it; one that has ended
 * is not given where another is to be had, but is where none is. */
START_TEST(expiry)
{
	int each = steps(_i), n;
	struct creds_gcs *c;
	char want[3][32];

	for (n = 0; n < 3; n++)
		snprintf(want[n], sizeof(want[n]), "s3cr3t-token-%d",
		    (n + 1) * each);
	true_clock = sys.clock;
	sys.clock = jump_clock;
	atomic_store(&jumped, 0);
	server_listen(answer);
	write_source((enum source)_i);
	life = 60;
	c = open_creds();
	is_token(c, want[0]);
	atomic_store(&jumped, 50 * NSEC_PER_SEC);
	is_token(c, want[0]);
	for (n = 0; n < 500 && atomic_load(&asked) < 2 * each; n++)
		usleep(10000);
	usleep(100000);
	is_token(c, want[1]);
	atomic_store(&jumped, 500 * NSEC_PER_SEC);
	is_token(c, want[2]);
	mode = "500";
	atomic_store(&jumped, 5000 * NSEC_PER_SEC);
	is_token(c, want[2]);
	creds_gcs_close(c);
	server_end();
}
END_TEST

/* This host's clock is not the issuer's. */
START_TEST(clock_skew)
{
	struct creds_gcs *c;
	char *text = NULL;

	server_listen(answer);
	write_source(SERVICE);
	mode = "skew";
	c = open_creds();
	ck_assert_msg(creds_gcs_get(c, NULL, &text, &why) == 0, "%s",
	    why.text);
	ck_assert_str_eq(text, "s3cr3t-token-2");
	token_text_free(text);
	creds_gcs_close(c);
	server_end();
}
END_TEST

/* --- where they are looked for --- */

static void
is_error(const char *profile, int err, const char *words)
{
	const struct creds_gcs_opts o = { .profile = profile,
	    .no_metadata = true };
	struct creds_gcs *c = NULL;

	why.text[0] = '\0';
	ck_assert_int_eq(creds_gcs_open(&o, &c, &why), err);
	ck_assert_msg(strstr(why.text, words) != NULL, "%s", why.text);
	ck_assert_ptr_null(strstr(why.text, "s3cr3t"));
}

START_TEST(order)
{
	struct creds_gcs *c;
	char path[512];

	server.port = 1;
	is_error(NULL, -EACCES, "GOOGLE_APPLICATION_CREDENTIALS");
	is_error(NULL, -EACCES, "/application_default_credentials.json");
	c = open_creds();
	ck_assert_str_eq(creds_gcs_who(c), "the account of this machine");
	creds_gcs_close(c);
	write_source(USER);
	c = open_creds();
	ck_assert_ptr_nonnull(strstr(creds_gcs_who(c), "the user of"));
	creds_gcs_close(c);
	write_source(SERVICE);
	c = open_creds();
	ck_assert_str_eq(creds_gcs_who(c),
	    "the service account robot@example.test");
	creds_gcs_close(c);
	/* One that is named must be there. */
	setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent", 1);
	is_error(NULL, -EINVAL, "'/nonexistent' cannot be read");
	/* A profile goes before all of them. */
	snprintf(path, sizeof(path), "%s/configurations", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	write_file("configurations/config_train", "[core]\n"
	    "account = a@b\n");
	is_error("train", -EACCES, "/legacy_credentials/a@b/adc.json");
	snprintf(path, sizeof(path), "%s/legacy_credentials", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/legacy_credentials/a@b", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	write_file("legacy_credentials/a@b/adc.json", "{\"type\":\"x\"}");
	is_error("train", -EINVAL, "of type x, which is not supported");
	is_error("a@b", -EINVAL, "of type x, which is not supported");
}
END_TEST

#define EXT "{\"type\":\"external_account\",\"audience\":\"a\"," \
	"\"subject_token_type\":\"t\",\"token_url\":\"https://x\"," \
	"\"credential_source\":{"
#define ACT(url, own) "{\"type\":\"impersonated_service_account\"," \
	"\"source_credentials\":" own \
	",\"service_account_impersonation_url\":" url "}"
#define ONE "{\"type\":\"authorized_user\",\"client_id\":\"i\"," \
	"\"client_secret\":\"s3cr3t\",\"refresh_token\":\"s3cr3t\"}"

static const struct { const char *text, *words; } bad_files[] = {
	{ "", "JSON with a type" },
	{ "s3cr3t", "JSON with a type" },
	{ "[]", "JSON with a type" },
	{ "{\"type\":\"gdch\"}", "of type gdch" },
	{ "{\"type\":\"service_account\"}", "lacks one of client_email" },
	{ "{\"type\":\"authorized_user\",\"client_id\":\"s3cr3t\"}",
	    "lacks one of client_id" },
	{ "{\"type\":\"external_account\"}", "lacks one of audience" },
	{ EXT "}}", "lacks one of credential_source.file" },
	{ EXT "\"environment_id\":\"aws1\",\"url\":\"http://169.254.169.254/"
	    "latest\"}}", "from AWS, which is not supported" },
	{ EXT "\"executable\":{\"command\":\"s3cr3t\"}}}",
	    "from an executable, which is not supported" },
	{ EXT "\"certificate\":{}}}", "from a certificate" },
	{ EXT "\"url\":\"http://x.example/s\"}}", "nor on this host" },
	{ EXT "\"url\":\"http://169.254.169.254.example/s\"}}",
	    "nor on this host" },
	{ EXT "\"url\":\"http://169.254.169.254:1@example/s\"}}",
	    "nor on this host" },
	{ EXT "\"url\":\"http:/" "/169.255.169.254/s\"}}",
	    "nor on this host" },
	{ EXT "\"url\":\"ftp://x\"}}", "nor on this host" },
	{ EXT "\"url\":\"https://u:s3cr3t@x/s\"}}", "url has a user" },
	{ EXT "\"url\":\"https://x\",\"headers\":{\"a:\":\"s3cr3t\"}}}",
	    "cannot be a header" },
	{ EXT "\"url\":\"https://x\",\"headers\":{\"a\":\"s3cr3t\\r\\nb\""
	    "}}}", "cannot be a header" },
	{ EXT "\"url\":\"https://x\",\"format\":{\"type\":\"json\"}}}",
	    "subject_token_field_name" },
	{ ACT("\"x\"", "{\"type\":\"authorized_user\"}"),
	    "lacks one of client_id" },
	{ ACT("\"http://evil.example\"", ONE), "no https:// URL" },
	{ ACT("\"\"", ONE),
	    "lacks one of service_account_impersonation_url" },
	{ ACT("\"https://x\"", "{\"type\":\"impersonated_service_account\"}"),
	    "source_credentials of none that is supported" },
	{ ACT("\"https://x\"", "{}"),
	    "source_credentials of none that is supported" },
	{ ACT("\"https://x\"", EXT "\"file\":\"f\"},\"service_account_"
	    "impersonation_url\":\"https://y\"}"),
	    "an account that acts as another" },
	{ ACT("\"https://x\",\"delegates\":[1]", ONE), "delegates are names" },
	{ "{\"type\":\"authorized_user\",\"client_id\":\"i\","
	    "\"client_secret\":\"s3cr3t\",\"refresh_token\":\"s3cr3t\","
	    "\"token_uri\":\"http://evil.example/token\"}",
	    "no https:// URL" },
	{ "{\"type\":\"authorized_user\",\"client_id\":\"i\","
	    "\"client_secret\":\"s3cr3t\",\"refresh_token\":\"s3cr3t\","
	    "\"token_uri\":\"http://127.0.0.1.evil.example/token\"}",
	    "no https:// URL" },
	{ "{\"type\":\"authorized_user\",\"client_id\":\"i\","
	    "\"client_secret\":\"s3cr3t\",\"refresh_token\":\"s3cr3t\","
	    "\"token_uri\":\"http://127.0.0.1:1@evil.example/token\"}",
	    "no https:// URL" },
	{ "{\"type\":\"authorized_user\",\"client_id\":\"i\","
	    "\"client_secret\":\"s3cr3t\",\"refresh_token\":\"s3cr3t\","
	    "\"token_uri\":\"https://u:s3cr3t@x.example/token\"}",
	    "asked for has a user" },
};

START_TEST(files_that_make_no_sense)
{
	write_file("application_default_credentials.json",
	    bad_files[_i].text);
	is_error(NULL, -EINVAL, bad_files[_i].words);
}
END_TEST

/* What clouds' own metadata servers are at is no name that others have. */
START_TEST(link_local)
{
	struct creds_gcs *c;

	server.port = 1;
	write_file("application_default_credentials.json", EXT "\"url\":"
	    "\"http://169.254.169.254/metadata/identity/oauth2/token?"
	    "api-version=2018-02-01\",\"headers\":{\"Metadata\":\"True\"},"
	    "\"format\":{\"type\":\"json\",\"subject_token_field_name\":"
	    "\"access_token\"}}}");
	c = open_creds();
	ck_assert_ptr_nonnull(strstr(creds_gcs_who(c), "workload identity"));
	creds_gcs_close(c);
}
END_TEST

/* --- a store and its tokens --- */

static const char *wanted;	/* the token that the store takes */

static enum action
answer_store(struct request *q, struct buf *out)
{
	if (strncmp(q->target, "/upload/", 8) != 0)
		return answer(q, out);
	return strstr(q->head, wanted) != NULL ? say_object(out, 1, 7, NULL) :
	    say_fault(out, 401, "authError");
}

/* The store refuses a token before its time: another is had, once. */
START_TEST(refused_by_the_store)
{
	struct store_call call = { .why = &why };

	server_listen(answer_store);
	write_source(USER);
	server.s = gcs_store("", NULL);
	wanted = "Bearer s3cr3t-token-1\r";
	ck_rc(store_put_mem(server.s, &call, "k", STORE_IF_ABSENT, NULL, "x",
	    1, NULL), STORE_OK);
	/* Asked a moment ago: that is no expiry. */
	wanted = "Bearer s3cr3t-token-2\r";
	ck_rc(store_put_mem(server.s, &call, "k", STORE_IF_ABSENT, NULL, "x",
	    1, NULL), STORE_DENIED);
	ck_assert_ptr_nonnull(strstr(why.text, "the access token of the user"));
	ck_assert_ptr_null(strstr(why.text, "s3cr3t"));
	sleep(6);
	ck_rc(store_put_mem(server.s, &call, "k", STORE_IF_ABSENT, NULL, "x",
	    1, NULL), STORE_OK);
	ck_assert_int_eq(asked, 2);
	server_end();
}
END_TEST

/* Where no token is to be had, nothing was sent: it may be tried again. */
START_TEST(no_token_yet)
{
	struct store_call call = { .why = &why };

	server_listen(answer_store);
	write_source(USER);
	mode = "500";
	server.s = gcs_store("", NULL);
	ck_rc(store_put_mem(server.s, &call, "k", STORE_IF_ABSENT, NULL, "x",
	    1, NULL), STORE_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(why.text, "bucket 'lake': "));
	server_end();
}
END_TEST

START_TEST(never_in_the_clear)
{
	struct store *s = NULL;
	struct url u;

	server.port = 1;
	ck_assert_int_eq(url_parse("gs://lake?endpoint=http://gcs.example:80",
	    &u, NULL), 0);
	/* Without credentials there is nothing to hide. */
	ck_assert_int_eq(gcs_store_open(&u, &s, &why), 0);
	store_free(s);
	write_source(USER);
	ck_assert_int_eq(gcs_store_open(&u, &s, &why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "in the clear"));
	url_done(&u);
}
END_TEST

#define COUNT(a)	((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("gcs_creds");
	TCase *t = tcase_create("credentials");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, jwt);
	tcase_add_loop_test(t, tokens, 0, SOURCES);
	tcase_add_loop_test(t, issuers_that_fail, 0, SOURCES * FAILURES);
	tcase_add_loop_test(t, expiry, 0, SOURCES);
	tcase_add_test(t, clock_skew);
	tcase_add_test(t, order);
	tcase_add_loop_test(t, files_that_make_no_sense, 0, COUNT(bad_files));
	tcase_add_test(t, link_local);
	tcase_add_test(t, refused_by_the_store);
	tcase_add_test(t, no_token_yet);
	tcase_add_test(t, never_in_the_clear);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

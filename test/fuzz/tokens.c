/*
 * tokens: what issuers answer: OAuth's JSON, STS's XML, a container's and an
 * instance's JSON.  The first byte says who is asked; answers follow from the
 * first line's end (wire.h).
 */
#include "wire.h"

#include "backends/creds_aws_impl.h"
#include "base/clock.h"
#include "base/log.h"

#include "files.h"
#include "fuzz.h"

int	LLVMFuzzerInitialize(int *argc, char ***argv);

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)
#define LIFE_MOST	(366 * 86400 * NSEC_PER_SEC)

static struct creds_aws aws;
static const struct token_call call = { .cancel = &wire.cancel };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct http_opts o = { .no_proxy = true };

	files_begin();
	log_set_level(LOG_ERROR_L);
	files_set(0, "/token", "eyJ0b2tlbg", 10);
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token", 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c", 1);
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9", 1);
	aws.source = "a test";
	aws.region = "eu-west-1";
	aws.sts_url = "http://127.0.0.1:9";
	aws.looked = "nothing";
	if (http_new(&o, &aws.near, NULL) != 0)
		abort();
	aws.sts = aws.near;
	return 0;
}

static bool
is_visible(const char *s)
{
	while (*s > ' ' && *s < 0x7f)
		s++;
	return *s == '\0';
}

/* What goes into a header is fit for it, and its end is not in the past. */
static void
fetched(int err, struct aws_fetched *f, const struct why *why)
{
	HOLDS(err == 0 || err == -ENOMEM || err == -ECANCELED ||
	    why->text[0] != '\0');
	if (err != 0)
		return;
	HOLDS(f->life >= 0 && f->life <= LIFE_MOST);
	HOLDS(*f->creds.id != '\0' && is_visible(f->creds.id));
	HOLDS(strpbrk(f->creds.secret, "\r\n") == NULL);
	HOLDS(f->creds.token == NULL || is_visible(f->creds.token));
	aws_creds_done(&f->creds);
}

static void
oauth(struct why *why)
{
	const struct token_req r = { .who = "an issuer", .method = "POST",
	    .url = "http://127.0.0.1:9", .body = "a=b" };
	struct token t = TOKEN_INIT;
	int err;

	err = token_request(aws.near, &r, &call, &t, why);
	HOLDS(err == 0 || why->text[0] != '\0' || err == -ENOMEM ||
	    err == -ECANCELED);
	if (err == 0) {
		HOLDS(t.life > 0 && t.life <= LIFE_MOST);
		HOLDS(*t.text != '\0' && is_visible(t.text));
	}
	token_done(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct aws_profile profile = { .role = "arn:aws:iam::1:role/r",
	    .external_id = "x&y" };
	const struct aws_creds keys = { "AKIA", "secret", NULL };
	const uint8_t *nl = n > 1 ? memchr(p + 1, '\n', n - 1) : NULL;
	struct aws_fetched f = { .life = 0 };
	struct why why = { "" };

	if (nl == NULL)
		return 0;
	wire_begin(nl + 1, n - (size_t)(nl + 1 - p));
	atomic_store(&aws.proven, (n & 1) != 0);
	switch (p[0]) {
	case 'w':
		fetched(aws_web_fetch(&aws, NULL, &call, &f, &why), &f, &why);
		break;
	case 'r':
		fetched(aws_role_fetch(&aws, &profile, &keys, &call, &f,
		    &why), &f, &why);
		break;
	case 'c':
		fetched(aws_container_fetch(&aws, &call, &f, &why), &f, &why);
		break;
	case 'm':
		fetched(aws_machine_fetch(&aws, &call, &f, &why), &f, &why);
		break;
	default:
		oauth(&why);
	}
	return 0;
}

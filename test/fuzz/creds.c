/*
 * creds: what the files of credentials say: AWS's two, gcloud's
 * configurations, Google's JSON, Azure's connection string; and, where
 * something is found, its fetching, up to issuers that do not answer.
 *
 * The first byte says whose, the second some of what is set; two files
 * follow, apart by a line "%%".
 */
#include "wire.h"

#include "backends/creds_aws_impl.h"
#include "backends/creds_azure.h"
#include "backends/creds_gcs.h"
#include "base/log.h"

#include "files.h"
#include "fuzz.h"

int	LLVMFuzzerInitialize(int *argc, char ***argv);

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)

static const struct token_call call = { .cancel = &wire.cancel };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const set[][2] = {
		{ "HOME", "/h" }, { "AWS_SHARED_CREDENTIALS_FILE", "/1" },
		{ "AWS_CONFIG_FILE", "/2" }, { "AWS_PROFILE", "" },
		{ "AWS_ACCESS_KEY_ID", "" }, { "AWS_ENDPOINT_URL", "" },
		{ "AWS_EC2_METADATA_DISABLED", "true" },
		{ "GOOGLE_APPLICATION_CREDENTIALS", "/1" },
		{ "CLOUDSDK_CONFIG", "/g" },
	};

	files_begin();
	log_set_level(LOG_ERROR_L);
	for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
		setenv(set[i][0], set[i][1], 1);
	return 0;
}

static int
each(void *arg, const char *section, const char *key, const char *value)
{
	/* Nothing of a line's ends is left. */
	HOLDS(strchr(section, '\n') == NULL && strchr(key, '\n') == NULL);
	HOLDS(*value == '\0' || (*value != ' ' && *value != '\t' &&
	    value[strlen(value) - 1] != ' '));
	return 0;
}

static void
aws(const char *profile)
{
	const struct creds_aws_opts o = { .profile = profile,
	    .loopback = true };
	struct aws_creds got = { 0 };
	struct creds_aws *c = NULL;
	struct why why = { "" };
	char *copy = strndup(files[0].p, files[0].n);
	unsigned line = 0;
	int err;

	if (copy == NULL)
		abort();
	err = creds_aws_parse(copy, each, NULL, &line);
	HOLDS(err == 0 || (err == -EINVAL && line > 0));
	free(copy);
	free(creds_aws_region(profile));
	err = creds_aws_open(&o, &c, &why);
	HOLDS(err == 0 || why.text[0] != '\0');
	if (err == 0 && creds_aws_get(c, &call, &got, &why) == 0) {
		/* they go into headers */
		HOLDS(strpbrk(got.id, "\r\n ") == NULL);
		HOLDS(strpbrk(got.secret, "\r\n") == NULL);
		aws_creds_done(&got);
	}
	creds_aws_close(c);
}

static void
gcs(const char *profile)
{
	const struct creds_gcs_opts o = { .profile = profile,
	    .no_metadata = true };
	struct creds_gcs *c = NULL;
	struct why why = { "" };
	char *text = NULL;
	int err;

	err = creds_gcs_open(&o, &c, &why);
	HOLDS(err == 0 || why.text[0] != '\0');
	if (err == 0 && creds_gcs_get(c, &call, &text, &why) == 0)
		token_text_free(text);
	creds_gcs_close(c);
}

static void
azure(void)
{
	char *copy = strndup(files[0].p, files[0].n);
	struct creds_azure *c = NULL;
	struct azure_cred got;
	struct why why = { "" };
	int err;

	if (copy == NULL)
		abort();
	setenv("AZURE_STORAGE_CONNECTION_STRING", copy, 1);
	err = creds_azure_open("acct", true, &c, &why);
	HOLDS(err == 0 || why.text[0] != '\0');
	if (err == 0 && creds_azure_get(c, &call, &got, &why) == 0)
		azure_cred_done(&got);
	creds_azure_close(c);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const char *text = (const char *)p + 2, *mark;
	size_t len = n - 2, first;

	if (n < 2)
		return 0;
	mark = memmem(text, len, "\n%%\n", 4);
	first = mark != NULL ? (size_t)(mark - text) : len;
	files_set(0, "/1", text, first);
	files_set(1, "/2", text + first + (mark != NULL ? 4 : 0),
	    mark != NULL ? len - first - 4 : 0);
	files_set(2, "/g/configurations/config_p", text, first);
	files_set(3, "/g/legacy_credentials/a@b/adc.json", files[1].p,
	    files[1].n);
	wire_begin("", 0);
	if (p[0] == 'a')
		aws((p[1] & 1) != 0 ? "p" : NULL);
	else if (p[0] == 'g')
		gcs((p[1] & 1) != 0 ? "p" : NULL);
	else
		azure();
	return 0;
}

/* S3's answers: lists, errors, multipart, copies, as a hostile service gives
 * them. */
#include "wire_store.h"

#include "backends/s3.h"
#include "base/sys.h"

#include "fuzz.h"

int	LLVMFuzzerInitialize(int *argc, char ***argv);

static struct store *store;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct s3_sizes sizes = { .single = 64, .part = 40,
	    .copy_single = 64, .copy_part = 40 };
	struct why why = { "" };
	struct url u;

	sys_init();
	log_set_level(LOG_ERROR_L);
	setenv("AWS_ACCESS_KEY_ID", "AKIAFUZZFUZZ", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	if (url_parse("s3://lake/pre?endpoint=http://127.0.0.1:9&region="
	    "us-east-1", &u, &why) != 0 ||
	    s3_open(&u, &sizes, &store, &why) != 0)
		abort();
	url_done(&u);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	wire_store(store, p, n);
	return 0;
}

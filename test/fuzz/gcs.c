/* GCS's answers: lists, errors, resumable and composed puts, rewrites, as a
 * hostile service gives them. */
#include "wire_store.h"

#include "backends/gcs.h"
#include "base/sys.h"

#include "fuzz.h"

int	LLVMFuzzerInitialize(int *argc, char ***argv);

static struct store *store;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct gcs_sizes sizes = { .single = 64, .compose = 80,
	    .part = 40, .rewrite = 64 };
	struct why why = { "" };
	struct url u;

	sys_init();
	log_set_level(LOG_ERROR_L);
	setenv("GOOGLE_APPLICATION_CREDENTIALS", "", 1);
	setenv("CLOUDSDK_CONFIG", "/nonexistent", 1);
	if (url_parse("gs://lake/pre?endpoint=http://127.0.0.1:9", &u,
	    &why) != 0 || gcs_open(&u, &sizes, &store, &why) != 0)
		abort();
	url_done(&u);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct gcs *s = (struct gcs *)store;

	/* how is for the input to say: composed, asked for, or resumable */
	atomic_store(&s->compose, n > 1 ? (p[1] >> 4) % 3 : 0);
	wire_store(store, p, n);
	return 0;
}

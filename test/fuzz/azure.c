/* Azure's answers: lists, errors, blocks, copies, as a hostile service gives
 * them. */
#include "wire_store.h"

#include "backends/azure.h"
#include "base/sys.h"

#include "fuzz.h"

int	LLVMFuzzerInitialize(int *argc, char ***argv);

static struct store *store;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct azure_sizes sizes = { .single = 64, .part = 40,
	    .copy_single = 64, .copy_part = 40 };
	struct why why = { "" };
	struct url u;

	sys_init();
	log_set_level(LOG_ERROR_L);
	setenv("AZURE_STORAGE_ACCOUNT", "acct", 1);
	setenv("AZURE_STORAGE_KEY", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=", 1);
	if (url_parse("az://acct/lake/pre?endpoint=http://127.0.0.1:9/acct",
	    &u, &why) != 0 || azure_open(&u, &sizes, &store, &why) != 0)
		abort();
	url_done(&u);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct azure *s = (struct azure *)store;

	/* what another input's server lacked */
	atomic_store(&s->no_from_url, false);
	atomic_store(&s->checksums, true);
	wire_store(store, p, n);
	return 0;
}

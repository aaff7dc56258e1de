/* gnsfs fsck: is the tree here what its home says it is? */
#include <stdlib.h>

#include "tools/client.h"
#include "tools/output.h"

static void
show(const json_t *r, const char *what)
{
	const json_t *o = json_object_get(r, what);

	if (o == NULL)
		printf("%-10s none to compare with\n", what);
	else
		printf("%-10s %s  %s\n", what, get_str(o, "digest"),
		    get_bool(o, "same") ? "the same" : "ANOTHER");
}

int
cmd_fsck(struct tool *t)
{
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	bool digest_only = tool_opt(t, "digest-only") != NULL;
	struct why why = { "" };
	json_t *r = NULL;
	int rc;

	rc = mounts_read(&l);
	if (rc == 0)
		rc = t->argc > 0 ? mounts_of_path(&l, t->argv[0], &m, NULL,
		    &why) : mounts_default(&l, tool_opt(t, "namespace"), &m,
		    &why);
	if (rc == 0)
		rc = client_call(m, "fsck", json_pack("{s:b}", "digest_only",
		    digest_only), NULL, &r, &why);
	if (r != NULL && t->json) {
		out_json(r);
	} else if (r != NULL && *get_str(r, "digest") != '\0') {
		printf("%-10s %s  log at %lld\n", "here", get_str(r,
		    "digest"), (long long)get_int(r, "lsn"));
		if (!digest_only) {
			show(r, "replay");
			show(r, "snapshot");
		}
	}
	if (rc != 0)
		rc = tool_failed(rc, &why);
	json_decref(r);
	mounts_done(&l);
	return rc;
}

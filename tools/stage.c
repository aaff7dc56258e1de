/* gnsfs stage: copies of files' bytes in another store. */
#include <stdlib.h>

#include "tools/client.h"
#include "tools/output.h"

static void
show(const json_t *r)
{
	char a[16], b[16], c[16];

	printf("%lld files, %s; %lld objects copied to %s",
	    (long long)get_int(r, "files"),
	    out_size((uint64_t)get_int(r, "want"), a),
	    (long long)get_int(r, "objects"), get_str(r, "store"));
	if (get_int(r, "objects") > 0)
		printf(": %s by the store itself, %s through this host",
		    out_size((uint64_t)get_int(r, "copied"), b),
		    out_size((uint64_t)get_int(r, "relayed"), c));
	if (get_int(r, "found") > 0)
		printf(", %s were there", out_size((uint64_t)get_int(r,
		    "found"), a));
	putchar('\n');
}

int
cmd_stage(struct tool *t)
{
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	const char *to = tool_opt(t, "to");
	json_t *args = json_object(), *r = NULL;
	struct progress p;
	struct client_fns fns = { out_progress, NULL, &p };
	struct why why = { "" };
	int rc;

	if (to == NULL)
		rc = tool_misused(t, "--to says which store");
	else if (t->argc == 0 && tool_opt(t, "from") == NULL)
		rc = tool_misused(t, "no SELECTOR says what to copy");
	else if ((rc = mounts_read(&l)) != 0)
		rc = tool_failed(rc, NULL);
	else
		rc = selectors_args(t, &l, args, &m);
	if (rc != EXIT_DONE) {
		json_decref(args);
		goto out;
	}
	rc = args_text(args, "to", to, &why);
	if (rc != 0) {
		json_decref(args);
		rc = tool_failed(rc, &why);
		goto out;
	}
	out_progress_begin(&p, t->json);
	rc = client_call(m, "stage", args, &fns, &r, &why);
	out_progress_end(&p);
	if (rc != 0)
		rc = tool_failed(rc, &why);
	else if (t->json)
		out_json(r);
	else
		show(r);
out:
	json_decref(r);
	mounts_done(&l);
	return rc;
}

/* gnsfs sync: return when all that was written is durable in the stores. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/options.h"
#include "tools/client.h"
#include "tools/output.h"

static void
say_left(const json_t *r)
{
	char size[16];

	fprintf(stderr, "gnsfs: %lld changes with %s are not stored yet; they "
	    "are kept in %s%s\n", (long long)get_int(r, "pending_ops"),
	    out_size((uint64_t)get_int(r, "pending_bytes"), size),
	    get_str(r, "state_dir"), get_bool(r, "fenced") ?
	    "; `gnsfs rescue` copies them out" : " and go on being sent");
}

int
cmd_sync(struct tool *t)
{
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	const char *timeout = tool_opt(t, "timeout");
	struct why why = { "" };
	struct progress p;
	struct client_fns fns = { out_progress, NULL, &p };
	json_t *args = NULL, *r = NULL;
	char *path = NULL;
	int64_t ns = 0;
	int rc;

	if (timeout != NULL && parse_duration(timeout, &ns) != 0)
		return tool_misused(t, "%s is not a time; 60s is", timeout);
	rc = mounts_read(&l);
	if (rc == 0)
		rc = t->argc > 0 ? mounts_of_path(&l, t->argv[0], &m, &path,
		    &why) : mounts_default(&l, tool_opt(t, "namespace"), &m,
		    &why);
	args = json_object();
	if (rc == 0 && path != NULL)
		rc = args_text(args, "path", path, &why);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
		goto out;
	}
	if (timeout != NULL)
		json_object_set_new(args, "timeout", json_integer(ns));
	out_progress_begin(&p, t->json);
	rc = client_call(m, "sync", json_incref(args), &fns, &r, &why);
	out_progress_end(&p);
	if (rc != 0) {
		tool_failed(rc, &why);
		if (r != NULL && get_int(r, "pending_ops") > 0)
			say_left(r);
		rc = EXIT_FAILED;
	}
	if (t->json && r != NULL)
		out_json(r);
out:
	json_decref(args);
	json_decref(r);
	free(path);
	mounts_done(&l);
	return rc;
}

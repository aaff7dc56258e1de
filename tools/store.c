/* gnsfs store: the stores of a namespace. */
#include <string.h>

#include "fs/stores.h"
#include "tools/client.h"
#include "tools/output.h"

struct list { json_t *all; bool json; const char *op; };

static void
item(void *arg, const json_t *o)
{
	struct list *l = arg;

	if (l->json)
		json_array_append(l->all, (json_t *)o);
	else if (strcmp(l->op, "check") == 0)
		printf("%-45s %s%s%s\n", get_str(o, "step"), get_bool(o,
		    "ok") ? "yes" : "NO", *get_str(o, "why") != '\0' ?
		    ": " : "", get_str(o, "why"));
	else
		printf("%-12s %-5s %s%s%s\n", get_str(o, "name"),
		    get_bool(o, "up") ? "up" : "DOWN", get_str(o, "url"),
		    *get_str(o, "why") != '\0' ? "  " : "", get_str(o,
		    "why"));
}

/* Operands after the word; -1: no such word. */
static int
wants(const char *op)
{
	return strcmp(op, "ls") == 0 ? 0 : strcmp(op, "add") == 0 ||
	    strcmp(op, "set") == 0 ? 2 : strcmp(op, "rm") == 0 ||
	    strcmp(op, "check") == 0 ? 1 : -1;
}

int
cmd_store(struct tool *t)
{
	struct list list = { json_array(), t->json, t->argv[0] };
	struct client_fns fns = { NULL, item, &list };
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	struct why why = { "" };
	json_t *args = NULL;
	int rc, n = wants(t->argv[0]);

	if (n < 0) {
		rc = tool_misused(t, "there is no `store %s`; add, ls, set, "
		    "rm and check are", t->argv[0]);
		goto out;
	}
	if (t->argc - 1 != n) {
		rc = tool_misused(t, "`store %s` takes %s", t->argv[0],
		    n == 0 ? "nothing more" : n == 1 ? "a NAME" :
		    "a NAME and a URL");
		goto out;
	}
	if (n > 1 && (rc = stores_url_check(t->argv[2], &why)) != 0) {
		rc = tool_misused(t, "%s", why_text(&why, rc));
		goto out;
	}
	args = json_pack("{s:s, s:b}", "op", t->argv[0], "write",
	    tool_opt(t, "write") != NULL);
	if (n > 0)
		json_object_set_new(args, "name", json_string(t->argv[1]));
	if (n > 1)
		json_object_set_new(args, "url", json_string(t->argv[2]));
	rc = mounts_read(&l);
	if (rc == 0)
		rc = mounts_default(&l, tool_opt(t, "namespace"), &m, &why);
	if (rc == 0)
		rc = client_call(m, "store", json_incref(args), &fns, NULL,
		    &why);
	if (t->json && (rc == 0 || json_array_size(list.all) > 0))
		out_json(list.all);
	if (rc != 0)
		rc = tool_failed(rc, &why);
out:
	json_decref(args);
	json_decref(list.all);
	mounts_done(&l);
	return rc;
}

/* gnsfs store: the stores of a namespace. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/stores.h"
#include "tools/client.h"
#include "tools/output.h"

struct list { json_t *all; bool json; const char *op; struct progress p; };

static void
progress(void *arg, const json_t *v)
{
	out_progress(&((struct list *)arg)->p, v);
}

static void
item(void *arg, const json_t *o)
{
	struct list *l = arg;

	if (l->json)
		json_array_append(l->all, (json_t *)o);
	else if (strcmp(l->op, "check") == 0 && get_bool(o, "ok"))
		printf("%-45s yes\n", get_str(o, "step"));
	else if (strcmp(l->op, "check") == 0)
		printf("%-45s %s: %s\n    %s: %s\n", get_str(o, "step"),
		    get_bool(o, "needed") ? "NO" : "no", get_str(o, "why"),
		    get_bool(o, "needed") ? "gnsfs needs it" : "what it costs",
		    get_str(o, "costs"));
	else
		printf("%-12s %-5s %s%s%s\n", get_str(o, "name"),
		    get_bool(o, "up") ? "up" : "DOWN", get_str(o, "url"),
		    *get_str(o, "why") != '\0' ? "  " : "", get_str(o,
		    "why"));
}

struct op {
	const char	*name;
	int		 min, max;	/* operands after it; max -1: any */
	const char	*takes;
};

static const struct op ops[] = {
	{ "add",	2, 2,	"a NAME and a URL" },
	{ "ls",		0, 0,	"nothing more" },
	{ "set",	1, -1,	"a NAME, a URL, KEY=VALUE" },
	{ "rm",		1, 1,	"a NAME" },
	{ "check",	1, 1,	"a NAME" },
	{ NULL }
};

/* The URL and settings among the operands, into args. */
static int
set_place(struct tool *t, json_t *args, struct why *why)
{
	json_t *settings = json_object();
	bool add = strcmp(t->argv[0], "add") == 0;
	const char *s, *eq, *url = NULL;
	char *key;
	int i, rc = 0;

	for (i = 2; rc == 0 && i < t->argc; i++) {
		s = t->argv[i];
		eq = strchr(s, '=');
		if (add || (strstr(s, "://") != NULL && (eq == NULL ||
		    strstr(s, "://") < eq))) {
			if (url != NULL)
				rc = why_set(why, -EINVAL, "'%s' is a second "
				    "URL; give one", s);
			else
				rc = stores_url_check(s, why);
			url = s;
		} else if (eq == NULL || eq == s) {
			rc = why_set(why, -EINVAL, "'%s' is neither a URL nor "
			    "KEY=VALUE", s);
		} else {
			key = strndup(s, (size_t)(eq - s));
			rc = key == NULL ? -ENOMEM : args_text(settings, key,
			    eq + 1, why);
			free(key);
		}
	}
	if (rc == 0 && url != NULL)
		rc = args_text(args, "url", url, why);
	if (rc == 0 && strcmp(t->argv[0], "set") == 0 && url == NULL &&
	    json_object_size(settings) == 0 && tool_opt(t, "rename") == NULL)
		rc = why_set(why, -EINVAL, "`store set` takes what is to be "
		    "set: a URL, KEY=VALUE or --rename NEW");
	if (rc == 0)
		json_object_set(args, "settings", settings);
	json_decref(settings);
	return rc;
}

int
cmd_store(struct tool *t)
{
	struct list list = { json_array(), t->json, t->argv[0], { 0 } };
	struct client_fns fns = { progress, item, &list };
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	const struct op *op;
	struct why why = { "" };
	json_t *args = NULL;
	int rc, n = t->argc - 1;

	for (op = ops; op->name != NULL; op++)
		if (strcmp(op->name, t->argv[0]) == 0)
			break;
	if (op->name == NULL) {
		rc = tool_misused(t, "there is no `store %s`; add, ls, set, "
		    "rm and check are", t->argv[0]);
		goto out;
	}
	if (n < op->min || (op->max >= 0 && n > op->max)) {
		rc = tool_misused(t, "`store %s` takes %s", op->name,
		    op->takes);
		goto out;
	}
	args = json_pack("{s:s, s:b, s:b}", "op", op->name, "write",
	    tool_opt(t, "write") != NULL, "force", tool_opt(t, "force") !=
	    NULL);
	rc = n > 0 ? args_text(args, "name", t->argv[1], &why) : 0;
	if (rc == 0 && tool_opt(t, "rename") != NULL)
		rc = args_text(args, "rename", tool_opt(t, "rename"), &why);
	if (rc == 0)
		rc = set_place(t, args, &why);
	if (rc != 0) {
		rc = tool_misused(t, "%s", why_text(&why, rc));
		goto out;
	}
	rc = mounts_read(&l);
	if (rc == 0)
		rc = mounts_default(&l, tool_opt(t, "namespace"), &m, &why);
	out_progress_begin(&list.p, t->json);
	if (rc == 0)
		rc = client_call(m, "store", json_incref(args), &fns, NULL,
		    &why);
	out_progress_end(&list.p);
	if (t->json && (rc == 0 || json_array_size(list.all) > 0))
		out_json(list.all);
	fflush(stdout);		/* the steps before the sum */
	if (rc != 0)
		rc = tool_failed(rc, &why);
out:
	json_decref(args);
	json_decref(list.all);
	mounts_done(&l);
	return rc;
}

/* gnsfs policy: what a directory says about the files below it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client.h"
#include "tools/output.h"

struct list { const struct mount_ref *m; json_t *all; bool json; };

static void
item(void *arg, const json_t *o)
{
	struct list *l = arg;
	char *path;

	if (l->json) {
		json_array_append(l->all, (json_t *)o);
		return;
	}
	path = mount_path(l->m, get_str(o, "dir"));
	if (*get_str(o, "fill") != '\0')
		printf("fill=%s  %s\n", get_str(o, "fill"), path != NULL ?
		    path : get_str(o, "dir"));
	else
		printf("store=%s  %s%s\n", get_str(o, "store"), path != NULL ?
		    path : get_str(o, "dir"), get_bool(o, "up") ? "" :
		    "  (store is down)");
	free(path);
}

/* What is set, or goes, into args. */
static int
set_what(struct tool *t, json_t *args, struct why *why)
{
	const char *text = t->argc > 2 ? t->argv[2] : "store";
	size_t n = strcspn(text, "=");
	bool set = strcmp(t->argv[0], "set") == 0;
	bool fill = n == 4 && memcmp(text, "fill", 4) == 0;

	if (!fill && (n != 5 || memcmp(text, "store", 5) != 0))
		return why_set(why, -EINVAL, "there is no policy '%.*s'; "
		    "`store` says where new bytes go, `fill` how much of a "
		    "file is fetched", (int)n, text);
	if (set && (text[n] == '\0' || text[n + 1] == '\0'))
		return why_set(why, -EINVAL, "`policy set` takes store=NAME "
		    "or fill=whole");
	if (!set && text[n] != '\0')
		return why_set(why, -EINVAL, "`policy rm` takes `store` or "
		    "`fill`, without a value");
	if (set || fill)
		return args_text(args, fill ? "fill" : "store", set ?
		    text + n + 1 : "", why);
	return 0;
}

struct op { const char *name; int min, max; const char *takes; };

static const struct op ops[] = {
	{ "set",	3, 3,	"a DIR and store=NAME or fill=whole" },
	{ "rm",		2, 3,	"a DIR" },
	{ "ls",		1, 2,	"at most a DIR" },
	{ NULL }
};

/* The mount, and the path in it where one was given. */
static int
find_mount(struct tool *t, const struct mount_list *l,
    const struct mount_ref **retm, json_t *args, struct why *why)
{
	char *path = NULL;
	int rc;

	if (t->argc < 2)
		return mounts_default(l, tool_opt(t, "namespace"), retm, why);
	rc = mounts_of_path(l, t->argv[1], retm, &path, why);
	if (rc == 0)
		rc = args_text(args, "path", path, why);
	free(path);
	return rc;
}

int
cmd_policy(struct tool *t)
{
	struct list list = { NULL, json_array(), t->json };
	struct client_fns fns = { NULL, item, &list };
	struct mount_list l = { NULL, 0 };
	const struct op *op;
	struct why why = { "" };
	json_t *args = NULL;
	int rc = 0;

	for (op = ops; op->name != NULL; op++)
		if (strcmp(op->name, t->argv[0]) == 0)
			break;
	if (op->name == NULL) {
		rc = tool_misused(t, "there is no `policy %s`; set, rm and ls "
		    "are", t->argv[0]);
		goto out;
	}
	if (t->argc < op->min || t->argc > op->max) {
		rc = tool_misused(t, "`policy %s` takes %s", op->name,
		    op->takes);
		goto out;
	}
	args = json_pack("{s:s, s:b}", "op", op->name, "force",
	    tool_opt(t, "force") != NULL);
	if (strcmp(op->name, "ls") != 0)
		rc = set_what(t, args, &why);
	if (rc != 0) {
		rc = tool_misused(t, "%s", why_text(&why, rc));
		goto out;
	}
	rc = mounts_read(&l);
	if (rc == 0)
		rc = find_mount(t, &l, &list.m, args, &why);
	if (rc == 0)
		rc = client_call(list.m, "policy", json_incref(args), &fns,
		    NULL, &why);
	if (rc != 0)
		rc = tool_failed(rc, &why);
	else if (t->json && strcmp(op->name, "ls") == 0)
		out_json(list.all);
out:
	json_decref(args);
	json_decref(list.all);
	mounts_done(&l);
	return rc;
}

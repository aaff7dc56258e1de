/* gnsfs tag: labels that selectors and policies can name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client.h"
#include "tools/output.h"

static void
show(const struct mount_ref *m, const json_t *r)
{
	json_t *list = json_object_get(r, "tags"), *o;
	char *path;
	size_t i;

	json_array_foreach(list, i, o) {
		path = mount_path(m, get_str(o, "from"));
		printf("%s=%s  %s\n", get_str(o, "key"), get_str(o, "value"),
		    path != NULL ? path : get_str(o, "from"));
		free(path);
	}
}

int
cmd_tag(struct tool *t)
{
	const char *op = t->argv[0], *text = t->argc > 2 ? t->argv[2] : NULL;
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	struct why why = { "" };
	json_t *args = NULL, *r = NULL;
	char *path = NULL, *key = NULL, *value = NULL;
	int rc;

	if (strcmp(op, "add") != 0 && strcmp(op, "rm") != 0 &&
	    strcmp(op, "ls") != 0)
		return tool_misused(t, "there is no `tag %s`", op);
	if ((strcmp(op, "ls") == 0) != (text == NULL))
		return tool_misused(t, text == NULL ? "`tag %s` takes a PATH "
		    "and KEY=VALUE" : "`tag %s` takes a PATH", op);
	if (text != NULL && (key = strdup(text)) == NULL)
		return tool_failed(-ENOMEM, NULL);
	if (key != NULL && (value = strchr(key, '=')) != NULL)
		*value++ = '\0';
	if (strcmp(op, "add") == 0 && value == NULL) {
		free(key);
		return tool_misused(t, "a tag is KEY=VALUE, not %s", text);
	}
	rc = mounts_read(&l);
	if (rc == 0)
		rc = mounts_of_path(&l, t->argv[1], &m, &path, &why);
	args = json_pack("{s:s}", "op", op);
	if (rc == 0)
		rc = args_text(args, "path", path, &why);
	if (rc == 0 && key != NULL)
		rc = args_text(args, "key", key, &why);
	if (rc == 0 && value != NULL)
		rc = args_text(args, "value", value, &why);
	if (rc == 0)
		rc = client_call(m, "tag", json_incref(args), NULL, &r, &why);
	if (rc != 0)
		rc = tool_failed(rc, &why);
	else if (t->json)
		out_json(r);
	else if (strcmp(op, "ls") == 0)
		show(m, r);
	json_decref(args);
	json_decref(r);
	free(path);
	free(key);
	mounts_done(&l);
	return rc;
}

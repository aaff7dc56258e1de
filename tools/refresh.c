/* gnsfs refresh, imports: imports follow their buckets. */
#include <stdlib.h>

#include "base/clock.h"
#include "fs/options.h"
#include "tools/client.h"
#include "tools/output.h"

static void
show(const struct tool *t, const json_t *r)
{
	char size[16];

	printf("%lld new, %lld changed, %lld gone (%s to fetch), %lld as they "
	    "were: %s\n", (long long)get_int(r, "added"),
	    (long long)get_int(r, "changed"), (long long)get_int(r, "gone"),
	    out_size((uint64_t)get_int(r, "bytes"), size),
	    (long long)(get_int(r, "same") + get_int(r, "retimed")),
	    t->argv[0]);
}

int
cmd_refresh(struct tool *t)
{
	const char *every = tool_opt(t, "every");
	struct progress p;
	struct client_fns fns = { out_progress, NULL, &p };
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	json_t *args = NULL, *r = NULL;
	struct why why = { "" };
	char *path = NULL;
	int64_t ns = -1;
	int rc;

	if (every != NULL && (parse_duration(every, &ns) != 0 ||
	    (ns > 0 && ns < NSEC_PER_SEC)))
		return tool_misused(t, "%s is not a time; 10m is, 1s the "
		    "least, and 0 ends it", every);
	args = json_object();
	rc = mounts_read(&l);
	if (rc == 0)
		rc = mounts_of_path(&l, t->argv[0], &m, &path, &why);
	if (rc == 0)
		rc = args_text(args, "path", path, &why);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
		goto out;
	}
	if (ns >= 0)
		json_object_set_new(args, "every", json_integer(ns));
	if (tool_opt(t, "empty") != NULL)
		json_object_set_new(args, "empty", json_true());
	if (tool_opt(t, "tags") != NULL)
		json_object_set_new(args, "tags", json_true());
	out_progress_begin(&p, t->json);
	rc = client_call(m, "refresh", json_incref(args), &fns, &r, &why);
	out_progress_end(&p);
	if (rc != 0)
		rc = tool_failed(rc, &why);
	else if (t->json)
		out_json(r);
	else if (ns != 0)
		show(t, r);
out:
	json_decref(args);
	json_decref(r);
	free(path);
	mounts_done(&l);
	return rc;
}

/* --- imports --- */

struct list { const struct mount_ref *m; json_t *all; bool json; unsigned n; };

static void
show_import(const struct list *l, const json_t *o)
{
	const char *at = *get_str(o, "path") != '\0' ? get_str(o, "path") :
	    get_str(o, "path_hex");
	const char *url = *get_str(o, "url") != '\0' ? get_str(o, "url") :
	    get_str(o, "url_hex");
	char *path = mount_path(l->m, at), a[16];

	printf("%s\n  %s, ", path != NULL ? path : at, url);
	if (get_int(o, "every") == 0)
		printf("refreshed when asked");
	else
		printf("refreshed every %s", out_time(get_int(o, "every"),
		    a));
	if (get_bool(o, "running"))
		printf(", now");
	else if (get_int(o, "last_age") >= 0)
		printf(", last %s ago", out_time(get_int(o, "last_age"), a));
	putchar('\n');
	if (*get_str(o, "why") != '\0')
		printf("  %s\n", get_str(o, "why"));
	free(path);
}

static void
item(void *arg, const json_t *o)
{
	struct list *l = arg;

	l->n++;
	if (l->json)
		json_array_append(l->all, (json_t *)o);
	else
		show_import(l, o);
}

int
cmd_imports(struct tool *t)
{
	struct list list = { .all = json_array(), .json = t->json };
	struct client_fns fns = { NULL, item, &list };
	struct mount_list l = { NULL, 0 };
	struct why why = { "" };
	int rc;

	rc = mounts_read(&l);
	if (rc == 0)
		rc = t->argc > 0 ? mounts_of_path(&l, t->argv[0], &list.m,
		    NULL, &why) : mounts_default(&l, tool_opt(t, "namespace"),
		    &list.m, &why);
	if (rc == 0)
		rc = client_call(list.m, "imports", NULL, &fns, NULL, &why);
	if (rc != 0)
		rc = tool_failed(rc, &why);
	else if (t->json)
		out_json(list.all);
	else if (list.n == 0)
		printf("nothing is imported\n");
	json_decref(list.all);
	mounts_done(&l);
	return rc;
}

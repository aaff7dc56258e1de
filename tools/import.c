/* gnsfs import: adopt an existing bucket or prefix; no byte is copied. */
#include <sys/stat.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "fs/stores.h"
#include "tools/client.h"
#include "tools/output.h"

struct import {
	struct tool		*t;
	json_t			*report;	/* with --json */
	struct progress		 p;
};

static void
progress(void *arg, const json_t *v)
{
	struct import *i = arg;

	out_progress(&i->p, v);
}

static void
item(void *arg, const json_t *o)
{
	struct import *i = arg;

	if (i->report != NULL) {
		json_array_append(i->report, (json_t *)o);
		return;
	}
	out_progress_end(&i->p);
	printf("%s -> %s\n", *get_str(o, "key") != '\0' ? get_str(o, "key") :
	    get_str(o, "key_hex"), *get_str(o, "path") != '\0' ?
	    get_str(o, "path") : get_str(o, "path_hex"));
}

static bool
number(const char *s, int base, long long max, long long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(s, &end, base);
	return errno == 0 && end != s && *end == '\0' && *ret >= 0 &&
	    *ret <= max;
}

/* --uid, --gid, --mode into args. */
static int
set_owner(struct tool *t, json_t *args)
{
	const char *uid = tool_opt(t, "uid"), *gid = tool_opt(t, "gid");
	const char *mode = tool_opt(t, "mode");
	struct passwd *pw;
	struct group *gr;
	long long v;

	if (uid != NULL) {
		if (!number(uid, 10, UINT32_MAX - 1LL, &v)) {
			pw = getpwnam(uid);
			if (pw == NULL)
				return tool_misused(t, "there is no user %s",
				    uid);
			v = pw->pw_uid;
		}
		json_object_set_new(args, "uid", json_integer(v));
	}
	if (gid != NULL) {
		if (!number(gid, 10, UINT32_MAX - 1LL, &v)) {
			gr = getgrnam(gid);
			if (gr == NULL)
				return tool_misused(t, "there is no group %s",
				    gid);
			v = gr->gr_gid;
		}
		json_object_set_new(args, "gid", json_integer(v));
	}
	if (mode != NULL) {
		if (!number(mode, 8, 07777, &v))
			return tool_misused(t, "%s is no mode; write octal "
			    "digits, such as 0644", mode);
		json_object_set_new(args, "mode", json_integer(v));
	}
	return EXIT_DONE;
}

static void
show(const struct tool *t, json_t *r)
{
	char size[16];

	printf("%lld files in %lld directories, %s: %s\n",
	    (long long)get_int(r, "files"), (long long)get_int(r, "dirs"),
	    out_size((uint64_t)get_int(r, "bytes"), size), t->argv[1]);
	if (tool_opt(t, "tags") != NULL)
		printf("%lld tags of objects are tags of files now\n",
		    (long long)get_int(r, "tags"));
	if (get_int(r, "escaped") > 0)
		printf("%lld keys are no paths and were given names%s\n",
		    (long long)get_int(r, "escaped"),
		    tool_opt(t, "report") != NULL ? "" :
		    "; gnsfs.5 has the rule, --report would have listed them");
}

int
cmd_import(struct tool *t)
{
	struct import i = { .t = t };
	struct client_fns fns = { progress, item, &i };
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	json_t *args = NULL, *r = NULL;
	struct why why = { "" };
	char *path = NULL;
	int rc;

	rc = stores_url_check(t->argv[0], &why);
	if (rc != 0)
		return tool_misused(t, "%s", why_text(&why, rc));
	rc = mounts_read(&l);
	if (rc == 0)
		rc = mounts_of_path(&l, t->argv[1], &m, &path, &why);
	args = json_pack("{s:b, s:b}", "report", tool_opt(t, "report") !=
	    NULL, "tags", tool_opt(t, "tags") != NULL);
	if (rc == 0)
		rc = args_text(args, "url", t->argv[0], &why);
	if (rc == 0)
		rc = args_text(args, "path", path, &why);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
		goto out;
	}
	rc = set_owner(t, args);
	if (rc != EXIT_DONE)
		goto out;
	i.report = t->json ? json_array() : NULL;
	out_progress_begin(&i.p, t->json);
	rc = client_call(m, "import", json_incref(args), &fns, &r, &why);
	out_progress_end(&i.p);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
	} else if (t->json) {
		json_object_set(r, "renamed", i.report);
		out_json(r);
	} else {
		show(t, r);
	}
out:
	json_decref(args);
	json_decref(i.report);
	json_decref(r);
	free(path);
	mounts_done(&l);
	return rc;
}

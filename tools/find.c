/* gnsfs find: the inventory, from the local database. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "tools/client.h"
#include "tools/output.h"

struct find {
	struct tool		*t;
	const struct mount_ref	*m;
	bool			 zero, l;
	int			 err;
};

/* The path, from its hex where it is no UTF-8.  New. */
static char *
item_path(const struct find *f, const json_t *o)
{
	const char *hex = get_str(o, "path_hex");
	char *raw, *path;
	size_t n = strlen(hex) / 2;

	if (*hex == '\0')
		return mount_path(f->m, get_str(o, "path"));
	raw = calloc(1, n + 1);
	if (raw == NULL)
		return NULL;
	path = hex_decode(hex, 2 * n, (uint8_t *)raw) == 0 ?
	    mount_path(f->m, raw) : NULL;
	free(raw);
	return path;
}

static char
type_letter(const char *type)
{
	return strcmp(type, "file") == 0 ? '-' : type[0] == 's' ?
	    (type[1] == 'y' ? 'l' : 's') : type[0] == 'f' ? 'p' :
	    type[0] == 'd' && type[1] == 'i' ? 'd' : 'c';
}

static void
print_long(const json_t *o, const char *path)
{
	time_t s = (time_t)(get_int(o, "mtime") / 1000000000);
	unsigned mode = (unsigned)get_int(o, "mode");
	char bits[] = "rwxrwxrwx", when[32] = "?";
	struct tm tm;
	int i;

	for (i = 0; i < 9; i++)
		if ((mode & (0400u >> i)) == 0)
			bits[i] = '-';
	if (localtime_r(&s, &tm) != NULL)
		strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
	printf("%c%s %5lld %5lld %12lld %s %s\n", type_letter(get_str(o,
	    "type")), bits, (long long)get_int(o, "uid"),
	    (long long)get_int(o, "gid"), (long long)get_int(o, "size"),
	    when, path);
}

static void
item(void *arg, const json_t *o)
{
	struct find *f = arg;
	char *path;
	json_t *line;

	path = item_path(f, o);
	if (path == NULL) {
		f->err = -ENOMEM;
		return;
	}
	if (f->t->json) {
		/* One object a line: there may be millions. */
		line = json_copy((json_t *)o);
		if (json_object_get(line, "path_hex") == NULL)
			json_object_set_new(line, "path", json_string(path));
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(line);
	} else if (f->l) {
		print_long(o, path);
	} else {
		fputs(path, stdout);
		putchar(f->zero ? '\0' : '\n');
	}
	free(path);
}

int
cmd_find(struct tool *t)
{
	struct find f = { .t = t, .zero = tool_opt(t, "null") != NULL,
	    .l = tool_opt(t, "long") != NULL };
	struct client_fns fns = { NULL, item, &f };
	struct mount_list l = { NULL, 0 };
	json_t *args = json_object();
	struct why why = { "" };
	int rc;

	rc = mounts_read(&l);
	rc = rc != 0 ? tool_failed(rc, NULL) :
	    selectors_args(t, &l, args, &f.m);
	if (rc != EXIT_DONE) {
		json_decref(args);
		goto out;
	}
	if (tool_opt(t, "all") != NULL)
		json_object_set_new(args, "all", json_true());
	rc = client_call(f.m, "find", args, &fns, NULL, &why);
	if (rc == 0)
		rc = f.err;
	if (rc != 0)
		rc = tool_failed(rc, &why);
out:
	mounts_done(&l);
	return rc;
}

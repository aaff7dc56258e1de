/* gnsfs explain: where each byte of a file is. */
#include <stdlib.h>

#include "tools/client.h"
#include "tools/output.h"

static void
show_extents(const json_t *r)
{
	json_t *list = json_object_get(r, "extents"), *x, *copy;
	char size[16];
	size_t i, k;

	json_array_foreach(list, i, x) {
		printf("  bytes %lld to %lld: %s, key %s, %s",
		    (long long)get_int(x, "off"),
		    (long long)(get_int(x, "off") + get_int(x, "len")),
		    get_str(x, "store"), *get_str(x, "key") != '\0' ?
		    get_str(x, "key") : get_str(x, "key_hex"),
		    get_str(x, "kind"));
		if (get_int(x, "object_off") > 0)
			printf(" at %lld", (long long)get_int(x,
			    "object_off"));
		if (*get_str(x, "version") != '\0')
			printf(", version %s", get_str(x, "version"));
		json_array_foreach(json_object_get(x, "copies"), k, copy)
			printf("%s %s", k == 0 ? ", and in" : ",",
			    json_string_value(copy));
		putchar('\n');
	}
	if (get_int(r, "nextents") > (int64_t)json_array_size(list))
		printf("  and %lld more\n", (long long)(get_int(r,
		    "nextents") - (int64_t)json_array_size(list)));
	if (json_array_size(list) == 0 && get_int(r, "size") > 0)
		printf("  in no store yet: %s on this host alone\n",
		    out_size((uint64_t)get_int(r, "size"), size));
}

/* Where bytes that are not stored yet go. */
static void
show_place(const json_t *r)
{
	const char *dir = get_str(r, "place_dir");

	printf("  new bytes go to %s: ", get_str(r, "place_store"));
	if (*dir == '\0')
		dir = get_str(r, "place_dir_hex");
	if (*dir == '\0')
		puts("no policy says otherwise");
	else
		printf("policy of %s\n", dir);
}

static void
show_fill(const json_t *r)
{
	const char *dir = get_str(r, "fill_dir");

	if (*dir == '\0')
		dir = get_str(r, "fill_dir_hex");
	if (*dir != '\0')
		printf("  fetched whole when it is opened: policy of %s\n",
		    dir);
}

static void
show(const char *path, const json_t *r)
{
	json_t *pins = json_object_get(r, "pins"), *p;
	char a[16], b[16];
	size_t i;

	printf("%s\n  inode %lld, %s%s\n", path, (long long)get_int(r, "ino"),
	    get_str(r, "type"), get_bool(r, "imported") ?
	    ", imported: read-only" : "");
	if (json_object_get(r, "mode") != NULL) {
		printf("  %s, %s of %s on this host%s%s\n", get_str(r,
		    "mode"), out_size((uint64_t)get_int(r, "cached_bytes"),
		    a), out_size((uint64_t)get_int(r, "size"), b),
		    get_bool(r, "dirty") ? ", not all of it stored yet" : "",
		    get_bool(r, "pinned") ? ", pinned" : "");
		printf("  read and written by the %s\n", get_str(r, "io"));
		show_extents(r);
	}
	if (*get_str(r, "local_path") != '\0')
		printf("  local file %s%s\n", get_str(r, "local_path"),
		    get_bool(r, "local_complete") ? "" : ", with holes where "
		    "bytes are not here");
	if (*get_str(r, "place_store") != '\0')
		show_place(r);
	show_fill(r);
	json_array_foreach(pins, i, p)
		printf("  pin %s\n", json_string_value(p));
}

/* The path alone, for who reads the file itself. */
static int
show_local(const char *path, const json_t *r)
{
	if (*get_str(r, "local_path") == '\0' ||
	    !get_bool(r, "local_complete")) {
		fprintf(stderr, "gnsfs: %s is not wholly in a file of this "
		    "host; `gnsfs pin --wait` brings it\n", path);
		return EXIT_FAILED;
	}
	printf("%s\n", get_str(r, "local_path"));
	return EXIT_DONE;
}

int
cmd_explain(struct tool *t)
{
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	struct why why = { "" };
	json_t *args = json_object(), *r = NULL;
	char *path = NULL;
	int rc;

	rc = mounts_read(&l);
	if (rc == 0)
		rc = mounts_of_path(&l, t->argv[0], &m, &path, &why);
	if (rc == 0)
		rc = args_text(args, "path", path, &why);
	if (rc == 0)
		rc = client_call(m, "explain", json_incref(args), NULL, &r,
		    &why);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
	} else if (tool_opt(t, "local-path") != NULL) {
		rc = show_local(t->argv[0], r);
	} else if (t->json) {
		out_json(r);
		rc = EXIT_DONE;
	} else {
		show(t->argv[0], r);
		rc = EXIT_DONE;
	}
	json_decref(args);
	json_decref(r);
	free(path);
	mounts_done(&l);
	return rc;
}

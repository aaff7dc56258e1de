/* gnsfs rescue: what a fenced or dead host has not stored, copied out. */
#include "fs/rescue.h"
#include "tools/output.h"
#include "tools/tool.h"

struct copied { json_t *list; bool json; };

static void
each(void *arg, const char *path, bool part)
{
	struct copied *c = arg;

	if (c->json)
		json_array_append_new(c->list, json_pack("{s:s, s:b}",
		    "path", path, "part", part));
	else
		printf("%s%s\n", path, part ? "  (in part: the rest is in a "
		    "store)" : "");
}

int
cmd_rescue(struct tool *t)
{
	struct copied c = { json_array(), t->json };
	struct rescue_request q = { .state = t->argv[0], .dest = t->argv[1],
	    .cache = tool_opt(t, "cache"), .each = each, .arg = &c };
	struct rescue_result r = { 0 };
	struct why why = { "" };
	char size[16];
	json_t *o;
	int rc;

	rc = fs_rescue(&q, &r, &why);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
	} else if (t->json) {
		o = json_pack("{s:I, s:I, s:I, s:O}", "files",
		    (json_int_t)r.files, "bytes", (json_int_t)r.bytes,
		    "parts", (json_int_t)r.parts, "copied", c.list);
		out_json(o);
		json_decref(o);
	} else {
		printf("%llu files, %s, copied to %s\n",
		    (unsigned long long)r.files, out_size(r.bytes, size),
		    t->argv[1]);
	}
	json_decref(c.list);
	return rc;
}

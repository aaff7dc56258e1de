/* gnsfs pins: the pins, bytes present of bytes wanted, ETA. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/client.h"
#include "tools/output.h"

struct list { json_t *all; bool json; unsigned n; };

static void
show(const json_t *o)
{
	int64_t eta = get_int(o, "eta"), expires = get_int(o, "expires");
	int64_t want = get_int(o, "want"), have = get_int(o, "have");
	char a[16], b[16], c[16];

	printf("%s\n  %s of %s (%d %%), %lld files, %s", get_str(o, "name"),
	    out_size((uint64_t)have, a), out_size((uint64_t)want, b),
	    want > 0 ? (int)((double)have * 100 / (double)want) : 100,
	    (long long)get_int(o, "files"), get_str(o, "state"));
	if (eta > 0)
		printf(", %s left", out_time(eta, c));
	if (expires > 0)
		printf(", expires in %s", out_time(expires - clock_real(),
		    c));
	if (*get_str(o, "host") == '\0')
		printf(", on every host");
	putchar('\n');
	if (*get_str(o, "why") != '\0')
		printf("  %s\n", get_str(o, "why"));
}

static void
item(void *arg, const json_t *o)
{
	struct list *l = arg;

	l->n++;
	if (l->json)
		json_array_append(l->all, (json_t *)o);
	else
		show(o);
}

int
cmd_pins(struct tool *t)
{
	struct list list = { .all = json_array(), .json = t->json };
	struct client_fns fns = { NULL, item, &list };
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	struct why why = { "" };
	int rc;

	rc = mounts_read(&l);
	if (rc == 0)
		rc = t->argc > 0 ? mounts_of_path(&l, t->argv[0], &m, NULL,
		    &why) : mounts_default(&l, tool_opt(t, "namespace"), &m,
		    &why);
	if (rc == 0)
		rc = client_call(m, "pins", NULL, &fns, NULL, &why);
	if (rc != 0)
		rc = tool_failed(rc, &why);
	else if (t->json)
		out_json(list.all);
	else if (list.n == 0)
		printf("nothing is pinned\n");
	json_decref(list.all);
	mounts_done(&l);
	return rc;
}

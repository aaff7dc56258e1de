/* gnsfs pin, unpin, warm, evict: what is to be on this host. */
#include <stdlib.h>
#include <string.h>

#include "fs/options.h"
#include "tools/client.h"
#include "tools/output.h"

struct request {
	struct tool		*t;
	struct mount_list	 l;
	const struct mount_ref	*m;
	json_t			*args, *result;
};

static void
request_done(struct request *r)
{
	json_decref(r->args);
	json_decref(r->result);
	mounts_done(&r->l);
}

static int
request_begin(struct request *r, struct tool *t)
{
	struct why why = { "" };
	int64_t ttl;
	const char *s;
	int rc;

	*r = (struct request){ .t = t, .args = json_object() };
	rc = mounts_read(&r->l);
	if (rc != 0)
		return tool_failed(rc, NULL);
	rc = selectors_args(t, &r->l, r->args, &r->m);
	if (rc != EXIT_DONE)
		return rc;
	s = tool_opt(t, "name");
	if (s != NULL && (rc = args_text(r->args, "name", s, &why)) != 0)
		return tool_failed(rc, &why);
	s = tool_opt(t, "ttl");
	if (s != NULL) {
		if (parse_duration(s, &ttl) != 0 || ttl == 0)
			return tool_misused(t, "%s is not a time; 12h is", s);
		json_object_set_new(r->args, "ttl", json_integer(ttl));
	}
	if (tool_opt(t, "wait") != NULL)
		json_object_set_new(r->args, "wait", json_true());
	if (tool_opt(t, "everywhere") != NULL)
		json_object_set_new(r->args, "everywhere", json_true());
	return EXIT_DONE;
}

static int
request_send(struct request *r, const char *cmd)
{
	struct progress p;
	struct client_fns fns = { out_progress, NULL, &p };
	struct why why = { "" };
	int rc;

	out_progress_begin(&p, r->t->json);
	rc = client_call(r->m, cmd, r->args, &fns, &r->result, &why);
	r->args = NULL;
	out_progress_end(&p);
	return rc == 0 ? EXIT_DONE : tool_failed(rc, &why);
}

/* A command without operands, --from or --name is misused. */
static bool
says_what(const struct tool *t)
{
	return t->argc > 0 || tool_opt(t, "from") != NULL;
}

int
cmd_pin(struct tool *t)
{
	struct request r;
	char size[16];
	int rc;

	if (!says_what(t))
		return tool_misused(t, "no SELECTOR says what to pin");
	rc = request_begin(&r, t);
	if (rc == EXIT_DONE)
		rc = request_send(&r, "pin");
	if (rc == EXIT_DONE && get_int(r.result, "files") == 0)
		fprintf(stderr, "gnsfs: nothing matches yet; what comes to "
		    "match is pinned then\n");
	if (rc == EXIT_DONE && t->json)
		out_json(r.result);
	else if (rc == EXIT_DONE)
		printf("%lld files, %s: %s\n", (long long)get_int(r.result,
		    "files"), out_size((uint64_t)get_int(r.result, "bytes"),
		    size), tool_opt(t, "wait") != NULL ?
		    "all here, checked" : "pinned");
	request_done(&r);
	return rc;
}

int
cmd_unpin(struct tool *t)
{
	struct request r;
	int rc;

	if (!says_what(t) && tool_opt(t, "name") == NULL)
		return tool_misused(t, "neither a SELECTOR nor --name says "
		    "what to unpin");
	if (says_what(t) && tool_opt(t, "name") != NULL)
		return tool_misused(t, "a SELECTOR or --name, not both");
	rc = request_begin(&r, t);
	if (rc == EXIT_DONE)
		rc = request_send(&r, "unpin");
	if (rc == EXIT_DONE && t->json)
		out_json(r.result);
	request_done(&r);
	return rc;
}

int
cmd_warm(struct tool *t)
{
	struct request r;
	int rc;

	if (!says_what(t))
		return tool_misused(t, "no SELECTOR says what to fetch");
	rc = request_begin(&r, t);
	if (rc == EXIT_DONE)
		rc = request_send(&r, "warm");
	if (rc == EXIT_DONE && t->json)
		out_json(r.result);
	request_done(&r);
	return rc;
}

int
cmd_evict(struct tool *t)
{
	struct request r;
	char size[16];
	int rc;

	if (!says_what(t))
		return tool_misused(t, "no SELECTOR says what to evict");
	rc = request_begin(&r, t);
	if (rc == EXIT_DONE)
		rc = request_send(&r, "evict");
	if (rc == EXIT_DONE && t->json) {
		out_json(r.result);
	} else if (rc == EXIT_DONE) {
		printf("%s evicted\n", out_size((uint64_t)get_int(r.result,
		    "bytes"), size));
		if (*get_str(r.result, "note") != '\0')
			printf("%s\n", get_str(r.result, "note"));
	}
	request_done(&r);
	return rc;
}

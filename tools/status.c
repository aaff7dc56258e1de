/*
 * gnsfs status: health, cache, pins, what is not stored yet and how old it
 * is, stores up or down, log position.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/options.h"
#include "tools/client.h"
#include "tools/output.h"
#include "tools/watch.h"

static void
show_pending(const json_t *o)
{
	const json_t *p = json_object_get(o, "pending");
	char size[16], age[16];

	if (get_int(p, "ops") == 0 && get_int(p, "bytes") == 0) {
		printf("  not stored  nothing\n");
		return;
	}
	printf("  not stored  %lld changes, %lld files, %s, the oldest %s "
	    "old\n", (long long)get_int(p, "ops"),
	    (long long)get_int(p, "files"),
	    out_size((uint64_t)get_int(p, "bytes"), size),
	    out_time(get_int(p, "oldest_age"), age));
	if (get_int(p, "held") > 0)
		printf("              %lld of them wait for a store that "
		    "takes nothing now; others do not wait for them\n",
		    (long long)get_int(p, "held"));
	if (*get_str(p, "why") != '\0')
		printf("              waiting: %s\n", get_str(p, "why"));
}

static void
show_cache(const json_t *o)
{
	const json_t *c = json_object_get(o, "cache");
	const json_t *u = json_object_get(o, "uploads");
	char a[16], b[16], d[16], e[16];

	printf("  cache       %s of %s, %s not stored, %s pinned (%s)\n",
	    out_size((uint64_t)get_int(c, "used"), a),
	    out_size((uint64_t)get_int(c, "limit"), b),
	    out_size((uint64_t)get_int(c, "dirty"), d),
	    out_size((uint64_t)get_int(c, "pinned"), e), get_str(c, "dir"));
	if (*get_str(c, "why") != '\0')
		printf("              %s\n", get_str(c, "why"));
	if (get_int(u, "waiting") + get_int(u, "active") > 0)
		printf("  uploads     %lld under way, %lld waiting, %s left\n",
		    (long long)get_int(u, "active"),
		    (long long)get_int(u, "waiting"),
		    out_size((uint64_t)get_int(u, "bytes_left"), a));
	if (*get_str(u, "why") != '\0')
		printf("              waiting: %s\n", get_str(u, "why"));
}

static void
show_stores(const json_t *o)
{
	char age[16], size[16];
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(o, "stores"), i, s) {
		printf("  store       %s %s  %s\n", get_str(s, "name"),
		    get_bool(s, "up") ? "up" : "DOWN", get_str(s, "url"));
		if (!get_bool(s, "up"))
			printf("              for %s: %s\n", out_time(
			    get_int(s, "since_age"), age),
			    get_str(s, "why"));
		if (get_int(s, "waiting_files") > 0)
			printf("              %lld files, %s, are to go there, "
			    "the oldest for %s\n", (long long)get_int(s,
			    "waiting_files"), out_size((uint64_t)get_int(s,
			    "waiting_bytes"), size), out_time(get_int(s,
			    "waiting_age"), age));
	}
}

/* Those that are refreshed by themselves, and those that could not be. */
static void
show_imports(const json_t *o)
{
	char a[16], b[16];
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(o, "imports"), i, p) {
		if (get_int(p, "every") == 0 && *get_str(p, "why") == '\0')
			continue;
		printf("  import      %s", get_str(p, "path"));
		if (get_int(p, "every") > 0)
			printf(" every %s", out_time(get_int(p, "every"), a));
		if (get_bool(p, "running"))
			printf(", now");
		else if (get_int(p, "last_age") >= 0)
			printf(", last %s ago", out_time(get_int(p,
			    "last_age"), b));
		putchar('\n');
		if (*get_str(p, "why") != '\0')
			printf("              %s\n", get_str(p, "why"));
	}
}

static void
show_one(const struct mount_ref *m, const json_t *o)
{
	const json_t *log = json_object_get(o, "log"), *p;
	const json_t *session = json_object_get(o, "session");
	char a[16], b[16], c[16], d[16];
	size_t i;

	printf("%s  %s (%s)\n", m->dir, get_str(o, "name"), get_str(o,
	    "uuid"));
	printf("  home        %s\n", get_str(o, "url"));
	printf("  state       %s, %s\n", get_str(o, "write_state"),
	    get_str(log, "state"));
	if (*get_str(o, "why") != '\0')
		printf("              %s\n", get_str(o, "why"));
	printf("  log         at %lld, session %lld\n",
	    (long long)get_int(log, "lsn"),
	    (long long)get_int(session, "number"));
	if (strcmp(get_str(log, "state"), "running") == 0 &&
	    *get_str(log, "why") != '\0')
		printf("              %s\n", get_str(log, "why"));
	show_pending(o);
	show_cache(o);
	show_stores(o);
	json_array_foreach(json_object_get(o, "pins"), i, p)
		printf("  pin         %s: %s of %s, %s\n", get_str(p, "name"),
		    out_size((uint64_t)get_int(p, "have"), a),
		    out_size((uint64_t)get_int(p, "want"), b),
		    get_str(p, "state"));
	json_array_foreach(json_object_get(o, "stages"), i, p)
		printf("  stage       to %s: %s of %s, %s copied there, %s "
		    "through here\n", get_str(p, "store"), out_size((uint64_t)
		    (get_int(p, "bytes") + get_int(p, "moving") +
		    get_int(p, "seen")), a),
		    out_size((uint64_t)get_int(p, "want"), b),
		    out_size((uint64_t)get_int(p, "copied"), c),
		    out_size((uint64_t)get_int(p, "relayed"), d));
	show_imports(o);
	printf("  daemon      pid %lld, %s at most in memory, up for %s\n",
	    (long long)get_int(o, "pid"),
	    out_size((uint64_t)get_int(o, "peak_memory"), a),
	    out_time(get_int(o, "uptime"), b));
}

/* Asks one; its JSON is appended to all, or it is shown. */
static int
one(struct tool *t, const struct mount_ref *m, json_t *all, bool *printed)
{
	struct why why = { "" };
	json_t *o = NULL;
	int rc;

	rc = client_call(m, "status", NULL, NULL, &o, &why);
	if (o == NULL)
		o = json_pack("{s:s, s:s, s:s}", "url", m->url, "write_state",
		    client_state(m, rc), "why", why_text(&why, rc));
	if (o == NULL)
		return tool_failed(-ENOMEM, NULL);
	json_object_set_new(o, "dir", json_string(m->dir));
	if (all != NULL) {
		json_array_append(all, o);
	} else if (rc != 0) {
		printf("%s%s  %s\n  state       %s\n              %s\n",
		    *printed ? "\n" : "", m->dir, m->url, get_str(o,
		    "write_state"), get_str(o, "why"));
	} else {
		if (*printed)
			putchar('\n');
		show_one(m, o);
	}
	*printed = true;
	json_decref(o);
	return rc != 0 && m->mounted ? EXIT_FAILED : EXIT_DONE;
}

static int
once(struct tool *t)
{
	struct mount_list l = { NULL, 0 };
	const struct mount_ref *m = NULL;
	const char *n = tool_opt(t, "namespace");
	struct why why = { "" };
	json_t *all = NULL;
	bool printed = false;
	int rc, worst = EXIT_DONE;
	unsigned i;

	rc = mounts_read(&l);
	if (rc == 0 && t->argc > 0)
		rc = mounts_of_path(&l, t->argv[0], &m, NULL, &why);
	else if (rc == 0 && n != NULL)
		rc = mounts_default(&l, n, &m, &why);
	if (rc != 0) {
		worst = tool_failed(rc, &why);
		goto out;
	}
	if (t->json)
		all = json_array();
	for (i = 0; i < l.n; i++) {
		if (m != NULL && m != &l.v[i])
			continue;
		rc = one(t, &l.v[i], all, &printed);
		if (rc != EXIT_DONE)
			worst = rc;
	}
	/* Of one that was named, the object itself. */
	if (all != NULL)
		out_json(m != NULL ? json_array_get(all, 0) : all);
	else if (!printed)
		printf("no namespace is mounted here\n");
out:
	json_decref(all);
	mounts_done(&l);
	return worst;
}

int
cmd_status(struct tool *t)
{
	const char *text = tool_opt(t, "interval");
	int64_t interval = NSEC_PER_SEC;

	if (text != NULL && (parse_duration(text, &interval) != 0 ||
	    interval < 100 * NSEC_PER_MSEC))
		return tool_misused(t, "%s is no interval; 5s is, and 100ms "
		    "the least", text);
	if (tool_opt(t, "watch") == NULL && text == NULL)
		return once(t);
	return status_watch(t, interval, once);
}

/*
 * manual: roff from the tables.  What no table says (what the program is,
 * what eventual means, files, exit status) stands here; formats, URLs and
 * names are in man/gnsfs.5, which is written by hand.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/counters.h"
#include "fs/options.h"
#include "tools/manual.h"
#include "tools/tool.h"

/* Text, its backslashes, dashes and line beginnings made harmless; what is
 * between backquotes is bold. */
static void
put_n(FILE *to, const char *s, size_t n)
{
	const char *p, *end = s + n;
	bool bold = false;

	for (p = s; p < end; p++) {
		if ((p == s || p[-1] == '\n') && (*p == '.' || *p == '\''))
			fputs("\\&", to);
		if (*p == '\\')
			fputs("\\e", to);
		else if (*p == '-')
			fputs("\\-", to);
		else if (*p == '`')
			fputs((bold = !bold) ? "\\fB" : "\\fR", to);
		else if (*p == '~')
			fputs("\\(ti", to);
		else if (*p == '\n' && p + 1 < end && p[1] == '\n') {
			fputs("\n.PP\n", to);
			p++;
		} else
			putc(*p, to);
	}
}

static void
put(FILE *to, const char *s)
{
	put_n(to, s, strlen(s));
}

/* Paragraphs; a line that begins with a blank stands as it is. */
static void
put_text(FILE *to, const char *s)
{
	const char *end;

	while ((end = strstr(s, "\n\n ")) != NULL) {
		put_n(to, s, (size_t)(end - s));
		s = end + 3;
		end = strchrnul(s, '\n');
		fputs("\n.PP\n.nf\n.RS\n", to);
		put_n(to, s, (size_t)(end - s));
		fputs("\n.RE\n.fi\n", to);
		s = end;
		if (*s == '\0')
			return;
	}
	put(to, s);
	putc('\n', to);
}

static void
put_options(FILE *to, const struct tool_opt *o)
{
	for (; o != NULL && o->name != NULL; o++) {
		fputs(".TP\n", to);
		if (o->letter != 0)
			fprintf(to, "\\fB\\-%c\\fR, ", o->letter);
		fputs("\\fB\\-\\-", to);
		put(to, o->name);
		fputs("\\fR", to);
		if (o->arg != NULL)
			fprintf(to, " \\fI%s\\fR", o->arg);
		putc('\n', to);
		put(to, o->meaning);
		putc('\n', to);
	}
}

static void
put_keys(FILE *to, const struct tool_key *k)
{
	if (k == NULL)
		return;
	fputs(".PP\nKeys of\n.BR \\-\\-json :\n", to);
	for (; k->key != NULL; k++) {
		fputs(".TP\n.B ", to);
		put(to, k->key);
		putc('\n', to);
		put(to, k->meaning);
		putc('\n', to);
	}
}

static void
put_command(FILE *to, const struct tool_cmd *c)
{
	fprintf(to, ".SS \"gnsfs %s ", c->name);
	put(to, c->operands);
	fputs("\"\n", to);
	if (*c->text != '\0') {
		put_text(to, c->text);
	} else {
		put(to, c->brief);
		fputs(".\n", to);
	}
	put_options(to, c->opts);
	put_keys(to, c->keys);
}

static bool
is_on(const struct tool_cmd *c, const char *page)
{
	return page == NULL || c->page == NULL ? c->page == page :
	    strcmp(c->page, page) == 0;
}

static void
put_see_also(FILE *to, const char *but)
{
	const struct tool_page *g;

	fputs(".SH SEE ALSO\n", to);
	if (but != NULL)
		fputs(".BR gnsfs (1),\n", to);
	for (g = tool_pages; g->name != NULL; g++) {
		if (but == NULL || strcmp(g->name, but) != 0)
			fprintf(to, ".BR gnsfs\\-%s (1),\n", g->name);
	}
	fputs(".BR mount.gnsfs (8),\n.BR gnsfs (5)\n", to);
}

static void
put_counters(FILE *to)
{
	unsigned i;

	fputs(".SH COUNTERS\nSince the daemon began; those that are a state "
	    "say what is now.\n", to);
	for (i = 0; i < C_COUNT; i++) {
		fprintf(to, ".TP\n.B counters.%s\n", counter_descs[i].name);
		put(to, counter_descs[i].meaning);
		fprintf(to, " (%s%s).\n", counter_descs[i].unit,
		    counter_descs[i].kind == GAUGE ? ", a state" : "");
	}
}

/* The commands of one kind. */
static void
page_commands(FILE *to, const struct tool_page *g)
{
	const struct tool_cmd *c;
	const char *p;

	fputs(".TH GNSFS\\-", to);
	for (p = g->name; *p != '\0'; p++)
		putc(toupper((unsigned char)*p), to);
	fprintf(to, " 1 \"\" gnsfs \"User Commands\"\n"
	    ".SH NAME\ngnsfs\\-%s \\- ", g->name);
	put(to, g->brief);
	fputs("\n.SH SYNOPSIS\n", to);
	for (c = tool_cmds; c->name != NULL; c++) {
		if (!is_on(c, g->name))
			continue;
		fprintf(to, "%s.B gnsfs %s\n.I ", strcmp(c->name, g->name) !=
		    0 ? ".br\n" : "", c->name);
		put(to, c->operands);
		putc('\n', to);
	}
	fputs(".SH COMMANDS\n", to);
	for (c = tool_cmds; c->name != NULL; c++) {
		if (is_on(c, g->name))
			put_command(to, c);
	}
	if (strcmp(g->name, "status") == 0)
		put_counters(to);
	fputs(".SH OPTIONS OF EVERY COMMAND\n", to);
	put_options(to, tool_common);
	fputs(".SH EXIT STATUS\n0 done, 1 failed, 2 misused.\n", to);
	put_see_also(to, g->name);
}

static void
put_lists(FILE *to)
{
	const struct tool_page *g;
	const struct tool_cmd *c;

	fputs(".SH COMMANDS\n", to);
	for (g = tool_pages; g->name != NULL; g++) {
		fprintf(to, ".PP\n.BR gnsfs\\-%s (1):\n", g->name);
		for (c = tool_cmds; c->name != NULL; c++) {
			if (!is_on(c, g->name))
				continue;
			fprintf(to, ".TP\n.B gnsfs %s\n", c->name);
			put(to, c->brief);
			fputs(".\n", to);
		}
	}
	for (c = tool_cmds; c->name != NULL; c++) {
		if (is_on(c, NULL))
			put_command(to, c);
	}
}

static void
page_gnsfs(FILE *to)
{
	fputs(".TH GNSFS 1 \"\" gnsfs \"User Commands\"\n"
	    ".SH NAME\ngnsfs \\- one file tree over every bucket you own\n"
	    ".SH SYNOPSIS\n.B gnsfs\n.I COMMAND\n"
	    "[\\fIOPTIONS\\fR] [\\fIOPERANDS\\fR]\n"
	    ".SH DESCRIPTION\n", to);
	put(to, "gnsfs mounts a tree of files whose bytes are in object "
	    "stores and whose names are in a log in one of them, the home. A "
	    "mount is eventual: a change is acknowledged when it is in the "
	    "local database, and an fsync when it is on the local disk; it "
	    "reaches the stores a second or so later. A host that dies for "
	    "ever takes with it what was not yet sent; `gnsfs status` shows "
	    "how much that is and how old, `gnsfs sync` returns when it is "
	    "nothing.\n\nWho may write the home is fully trusted by all who "
	    "mount it.\n\nOptions stand anywhere. A path is under a "
	    "mountpoint, or NAMESPACE:/path. Where no path says which "
	    "namespace is meant, it is that of the current directory, or the "
	    "only one mounted, or that of -n. Long work shows a progress line "
	    "on a terminal.\n\nWith --json a command that succeeds prints "
	    "one value, or (find) an object a line, and nothing where it has "
	    "nothing to tell; its page has the keys. What went wrong is one "
	    "sentence on standard error, as ever. Keys may be added, none is "
	    "taken away or given another meaning.\n");
	fputs(".SH OPTIONS OF EVERY COMMAND\n", to);
	put_options(to, tool_common);
	put_lists(to);
	fputs(".SH EXIT STATUS\n0 done, 1 failed, 2 misused.\n"
	    ".SH ENVIRONMENT\n"
	    ".TP\n.B XDG_STATE_HOME\nWhere state directories of users other "
	    "than root are.\n"
	    ".TP\n.B GNSFS_TRACE\nA file that gets a line for each request "
	    "to a store.\n"
	    ".SH FILES\n"
	    ".TP\n.I /var/lib/gnsfs/NAME\\-UUID8\nWhat root keeps of a "
	    "namespace: its database, and bytes not stored yet.\n"
	    ".TP\n.I /run/gnsfs\nThe mounts of root, for who asks after "
	    "them.\n", to);
	put_see_also(to, NULL);
}

static void
page_mount(FILE *to)
{
	const struct option_desc *o;

	fputs(".TH MOUNT.GNSFS 8 \"\" gnsfs \"System Administration\"\n"
	    ".SH NAME\nmount.gnsfs \\- mount a gnsfs namespace\n"
	    ".SH SYNOPSIS\n.B mount \\-t gnsfs\n.I HOME_URL DIR\n"
	    "[\\fB\\-o\\fR \\fIOPTIONS\\fR]\n.br\n.B gnsfs mount\n"
	    ".I HOME_URL DIR\n[\\fB\\-o\\fR \\fIOPTIONS\\fR] [\\fB\\-f\\fR]\n"
	    ".SH DESCRIPTION\n", to);
	put(to, "Mounts the namespace whose home is HOME_URL at DIR, and "
	    "returns when the tree is usable. With valid state of an earlier "
	    "mount on this host it succeeds with no store in reach, and "
	    "status says so; without, it fails within 10 seconds.\n\nA "
	    "namespace is mounted by one host at a time. What another host "
	    "has open is refused, naming it; the same state directory goes on "
	    "where it was. An unmount or a reboot loses nothing: what is "
	    "queued is sent at the next mount.\n\nWith `-f` the daemon stays "
	    "in front. Signals TERM, INT and HUP end it as an unmount does."
	    "\n");
	fputs(".SH OPTIONS\n", to);
	for (o = option_descs; o->name != NULL; o++) {
		fprintf(to, ".TP\n\\fB%s\\fR", o->name);
		if (o->arg != NULL) {
			fputs("=\\fI", to);
			put(to, o->arg);
			fputs("\\fR", to);
		}
		putc('\n', to);
		put(to, o->meaning);
		if (o->dflt != NULL) {
			fputs(" Default: ", to);
			if (o->dflt[0] == '(')
				fprintf(to, "%.*s", (int)strlen(o->dflt) - 2,
				    o->dflt + 1);
			else
				put(to, o->dflt);
			putc('.', to);
		}
		putc('\n', to);
	}
	fputs(".PP\n", to);
	put(to, "Sizes are numbers with K, M, G, T or P, powers of 1024; "
	    "times are numbers with ms, s, m, h, d or w. A comma in a value "
	    "is written \\,. Options of mount(8) that mean nothing here "
	    "(nofail, _netdev, user, noauto, x-* and the like) are accepted."
	    "\n");
	fputs(".SH A NORMAL USER'S MOUNT\n", to);
	put(to, "A user who may open /dev/fuse mounts with `gnsfs mount`, "
	    "with `mount -t gnsfs`, or, by a line in fstab with the option "
	    "user, with `mount DIR`; fusermount3 does the work, and the "
	    "daemon runs as that user. Only that user enters the mount, not "
	    "even root does, unless allow_other is given. State is kept below "
	    "$XDG_STATE_HOME, by default ~/.local/state, in gnsfs. `gnsfs "
	    "umount`, `umount DIR` and `fusermount3 -u` take it off; the "
	    "first waits until all is stored. Passthrough needs root.\n");
	fputs(".SH REMOUNTING\n", to);
	put(to, "The options of a mount that is up cannot be changed: `mount "
	    "-o remount` fails and says so. Unmount, and mount with others: "
	    "nothing is lost or fetched again. The kernel alone makes it "
	    "read-only and writable again with `mount -i -o remount,ro DIR` "
	    "and `mount -i -o remount,rw DIR`.\n");
	fputs(".SH EXAMPLE\nIn\n.IR /etc/fstab :\n.PP\n.nf\n"
	    "s3://corp\\-gns/prod /gns gnsfs _netdev,nofail,"
	    "cache=/nvme/gnsfs,cache_size=2T 0 0\n"
	    "s3://corp\\-gns/ann /srv/ann gnsfs user,noauto 0 0\n"
	    "s3://corp\\-gns/lake /lake gnsfs _netdev,"
	    "x\\-systemd.automount 0 0\n.fi\n.PP\n", to);
	put(to, "With _netdev, systemd mounts it after network-online.target "
	    "and unmounts it before the network goes; a home that is a local "
	    "directory needs none. `gnsfs mount -f` in a service of systemd "
	    "logs to the journal, with priorities.\n");
	fputs(
	    ".SH EXIT STATUS\n0 mounted, 1 failed, 2 misused.\n"
	    ".SH SEE ALSO\n.BR gnsfs\\-mount (1),\n.BR gnsfs (1),\n"
	    ".BR gnsfs (5),\n.BR mount (8)\n", to);
}

/* The command of "gnsfs-COMMAND.1", or NULL. */
static const struct tool_cmd *
command_of(const char *page)
{
	const char *name = page + strlen("gnsfs-"), *end = strrchr(page, '.');
	const struct tool_cmd *c;

	if (strncmp(page, "gnsfs-", strlen("gnsfs-")) != 0 || end == NULL ||
	    strcmp(end, ".1") != 0)
		return NULL;
	for (c = tool_cmds; c->name != NULL; c++) {
		if (strlen(c->name) == (size_t)(end - name) &&
		    strncmp(c->name, name, (size_t)(end - name)) == 0)
			return c;
	}
	return NULL;
}

int
manual_page(FILE *to, const char *page)
{
	const struct tool_cmd *c = command_of(page);
	const struct tool_page *g;

	if (strcmp(page, "gnsfs.1") == 0) {
		page_gnsfs(to);
		return 0;
	}
	if (strcmp(page, "mount.gnsfs.8") == 0) {
		page_mount(to);
		return 0;
	}
	if (c == NULL)
		return -ENOENT;
	for (g = tool_pages; g->name != NULL; g++) {
		if (strcmp(g->name, c->name) == 0) {
			page_commands(to, g);
			return 0;
		}
	}
	/* It stands on the page of another, or on the first. */
	fprintf(to, ".so man1/gnsfs%s%s.1\n", c->page != NULL ? "-" : "",
	    c->page != NULL ? c->page : "");
	return 0;
}

/*
 * manual: roff from the tables.  What no table says (what the program is,
 * what eventual means, files, exit status) stands here; formats, URLs and
 * names are in man/gnsfs.5, which is written by hand.
 */
#include <errno.h>
#include <string.h>

#include "fs/options.h"
#include "tools/manual.h"
#include "tools/tool.h"

/* Text, its backslashes, dashes and line beginnings made harmless; what is
 * between backquotes is bold. */
static void
put(FILE *to, const char *s)
{
	bool bold = false;
	const char *p;

	for (p = s; *p != '\0'; p++) {
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
		else if (*p == '\n' && p[1] == '\n') {
			fputs("\n.PP\n", to);
			p++;
		} else
			putc(*p, to);
	}
}

/* Paragraphs; a line that begins with a blank stands as it is. */
static void
put_text(FILE *to, const char *s)
{
	const char *end;
	char line[512];

	while ((end = strstr(s, "\n\n ")) != NULL) {
		snprintf(line, sizeof line, "%.*s", (int)(end - s), s);
		put(to, line);
		s = end + 3;
		end = strchrnul(s, '\n');
		fputs("\n.PP\n.nf\n.RS\n", to);
		snprintf(line, sizeof line, "%.*s", (int)(end - s), s);
		put(to, line);
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
page_gnsfs(FILE *to)
{
	const struct tool_cmd *c;

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
	    "on a terminal.\n");
	fputs(".SH OPTIONS OF EVERY COMMAND\n", to);
	put_options(to, tool_common);
	fputs(".SH COMMANDS\n", to);
	for (c = tool_cmds; c->name != NULL; c++) {
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
	}
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
	    "them.\n"
	    ".SH SEE ALSO\n.BR mount.gnsfs (8),\n.BR gnsfs (5)\n", to);
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
	fputs(".SH EXAMPLE\nIn\n.IR /etc/fstab :\n.PP\n.nf\n"
	    "s3://corp\\-gns/prod /gns gnsfs _netdev,nofail,"
	    "cache=/nvme/gnsfs,cache_size=2T 0 0\n.fi\n"
	    ".SH EXIT STATUS\n0 mounted, 1 failed, 2 misused.\n"
	    ".SH SEE ALSO\n.BR gnsfs (1),\n.BR gnsfs (5),\n.BR mount (8)\n",
	    to);
}

int
manual_page(FILE *to, const char *page)
{
	if (strcmp(page, "gnsfs.1") == 0)
		page_gnsfs(to);
	else if (strcmp(page, "mount.gnsfs.8") == 0)
		page_mount(to);
	else
		return -ENOENT;
	return 0;
}

/* --- completion --- */

static void
completion_words(FILE *to, const struct tool_opt *o)
{
	for (; o != NULL && o->name != NULL; o++)
		fprintf(to, " --%s", o->name);
}

void
manual_completion(FILE *to)
{
	const struct tool_cmd *c;

	fputs("# bash completion of gnsfs\n_gnsfs()\n{\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} cmd= words= i\n"
	    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	    "\t\tcase ${COMP_WORDS[i]} in -*) ;; *) cmd=${COMP_WORDS[i]}; "
	    "break;; esac\n\tdone\n\tcase $cmd in\n\t'') words='", to);
	for (c = tool_cmds; c->name != NULL; c++)
		fprintf(to, "%s%s", c == tool_cmds ? "" : " ", c->name);
	fputs("';;\n", to);
	for (c = tool_cmds; c->name != NULL; c++) {
		fprintf(to, "\t%s) words='", c->name);
		completion_words(to, c->opts);
		completion_words(to, tool_common);
		fputs("';;\n", to);
	}
	fputs("\tesac\n\tif [ -z \"$cmd\" ] || [[ $cur == -* ]]; then\n"
	    "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	    "\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\n"
	    "complete -o filenames -F _gnsfs gnsfs\n", to);
}

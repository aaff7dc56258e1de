/*
 * gnsfs: the command.  Finds the subcommand, parses its options by its table
 * (options stand anywhere, before the subcommand too), runs it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "base/sys.h"
#include "tools/mount.h"
#include "tools/tool.h"

const struct tool_opt tool_common[] = {
	{ "json", 0, NULL, "Print the result as JSON." },
	{ "namespace", 'n', "NAME|DIR",
	    "The namespace that is meant, where no path says it." },
	{ "help", 'h', NULL, "Say how this command is used." },
	{ NULL }
};

const struct tool_cmd *
tool_find(const char *name)
{
	const struct tool_cmd *c;

	for (c = tool_cmds; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

const char *
tool_opt(const struct tool *t, const char *name)
{
	unsigned i;

	for (i = 0; i < t->ngiven; i++)
		if (strcmp(t->given[i].opt->name, name) == 0)
			return t->given[i].value;
	return NULL;
}

int
tool_misused(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "gnsfs %s: ", t->cmd->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nusage: gnsfs %s %s\n`gnsfs help %s` says more.\n",
	    t->cmd->name, t->cmd->operands, t->cmd->name);
	return EXIT_MISUSED;
}

int
tool_failed(int err, const struct why *why)
{
	fprintf(stderr, "gnsfs: %s\n", why_text(why, err));
	return err == -EINVAL ? EXIT_MISUSED : EXIT_FAILED;
}

/* --- which word is the subcommand --- */

static bool
takes_value(const struct tool_opt *opts, const char *word)
{
	const struct tool_opt *o;

	for (o = opts; o != NULL && o->name != NULL; o++) {
		if (o->arg == NULL)
			continue;
		if (word[1] == '-' ? strcmp(word + 2, o->name) == 0 :
		    word[1] == o->letter && word[2] == '\0')
			return true;
	}
	return false;
}

/* The first word that is neither an option nor an option's value; 0: none. */
static int
command_word(int argc, char **argv)
{
	const struct tool_cmd *c;
	bool value;
	int i;

	for (i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || argv[i][1] == '\0')
			return i;
		if (strcmp(argv[i], "--") == 0)
			return 0;
		value = takes_value(tool_common, argv[i]);
		for (c = tool_cmds; !value && c->name != NULL; c++)
			value = takes_value(c->opts, argv[i]);
		if (value)
			i++;
	}
	return 0;
}

/* --- options --- */

struct parse {
	struct option		 longs[TOOL_OPTS_MAX + 1];
	const struct tool_opt	*opts[TOOL_OPTS_MAX];
	char			 shorts[2 * TOOL_OPTS_MAX + 2];
	int			 n, nshorts;
};

static void
parse_add(struct parse *p, const struct tool_opt *opts)
{
	for (; opts != NULL && opts->name != NULL && p->n < TOOL_OPTS_MAX;
	    opts++) {
		p->opts[p->n] = opts;
		p->longs[p->n] = (struct option){ opts->name,
		    opts->arg != NULL ? required_argument : no_argument, NULL,
		    256 + p->n };
		p->n++;
		if (opts->letter == 0)
			continue;
		p->shorts[p->nshorts++] = opts->letter;
		if (opts->arg != NULL)
			p->shorts[p->nshorts++] = ':';
	}
}

static int
keep_value(struct tool *t, const struct tool_opt *o, const char *value)
{
	char *v = NULL, *old;
	unsigned i;

	for (i = 0; i < t->ngiven; i++)
		if (t->given[i].opt == o)
			break;
	old = i < t->ngiven ? t->given[i].value : NULL;
	if (old != NULL && o->joined) {
		if (asprintf(&v, "%s,%s", old, value) < 0)
			v = NULL;
	} else {
		v = strdup(value != NULL ? value : "");
	}
	if (v == NULL)
		return -ENOMEM;
	free(old);
	t->given[i].opt = o;
	t->given[i].value = v;
	if (i == t->ngiven)
		t->ngiven++;
	return 0;
}

/* EXIT_DONE, or the status to leave with. */
static int
parse_options(struct tool *t, int argc, char **argv)
{
	struct parse p = { .shorts = ":", .nshorts = 1 };
	int ch, i;

	parse_add(&p, t->cmd->opts);
	parse_add(&p, tool_common);
	opterr = 0;
	optind = 0;
	while ((ch = getopt_long(argc, argv, p.shorts, p.longs, NULL)) != -1) {
		if (ch == ':')
			return tool_misused(t, "%s needs a value",
			    argv[optind - 1]);
		if (ch == '?' && optopt != 0 && optopt < 256)
			return tool_misused(t, "there is no option -%c",
			    optopt);
		if (ch == '?')
			return tool_misused(t, "there is no option %s, or it "
			    "takes no value", argv[optind - 1]);
		i = ch - 256;
		if (ch < 256)
			for (i = 0; p.opts[i]->letter != ch; i++)
				;
		if (keep_value(t, p.opts[i], optarg) != 0)
			return tool_failed(-ENOMEM, NULL);
	}
	t->argc = argc - optind;
	t->argv = argv + optind;
	t->json = tool_opt(t, "json") != NULL;
	return EXIT_DONE;
}

int
tool_usage(FILE *to)
{
	const struct tool_cmd *c;

	fprintf(to, "usage: gnsfs COMMAND [OPTIONS] [OPERANDS]\n\n");
	for (c = tool_cmds; c->name != NULL; c++)
		fprintf(to, "  %-8s %s\n", c->name, c->brief);
	fprintf(to, "\n`gnsfs help COMMAND` says more.\n");
	return to == stderr ? EXIT_MISUSED : EXIT_DONE;
}

static int
tool_main(int argc, char **argv)
{
	struct tool t = { NULL };
	int rc, word;
	unsigned i;

	word = command_word(argc, argv);
	if (word == 0) {
		if (argc > 1 && strcmp(argv[1], "--version") == 0) {
			printf("gnsfs %s\n", GNSFS_VERSION);
			return EXIT_DONE;
		}
		if (argc > 1 && (strcmp(argv[1], "--help") == 0 ||
		    strcmp(argv[1], "-h") == 0))
			return tool_usage(stdout);
		return tool_usage(stderr);
	}
	t.cmd = tool_find(argv[word]);
	if (t.cmd == NULL) {
		fprintf(stderr, "gnsfs: there is no command '%s'; "
		    "`gnsfs help` lists them\n", argv[word]);
		return EXIT_MISUSED;
	}
	/* The command word leaves; what stood before it stays. */
	for (; word > 1; word--)
		argv[word] = argv[word - 1];
	argv[1] = argv[0];
	argc--;
	argv++;
	rc = parse_options(&t, argc, argv);
	if (rc == EXIT_DONE && tool_opt(&t, "help") != NULL) {
		t.argc = 1;
		t.argv = (char *[]){ (char *)t.cmd->name, NULL };
		rc = cmd_help(&t);
	} else if (rc == EXIT_DONE) {
		if (t.argc < t.cmd->min)
			rc = tool_misused(&t, "something is missing");
		else if (t.cmd->max >= 0 && t.argc > t.cmd->max)
			rc = tool_misused(&t, "'%s' is one too many",
			    t.argv[t.cmd->max]);
		else
			rc = t.cmd->run(&t);
	}
	if (fflush(stdout) != 0 && rc == EXIT_DONE) {
		fprintf(stderr, "gnsfs: standard output: %s\n",
		    strerror(errno));
		rc = EXIT_FAILED;
	}
	for (i = 0; i < t.ngiven; i++)
		free(t.given[i].value);
	return rc;
}

int
main(int argc, char **argv)
{
	const char *base;

	sys_init();
	signal(SIGPIPE, SIG_IGN);
	base = strrchr(argv[0], '/');
	base = base != NULL ? base + 1 : argv[0];
	/* The latter for what /proc/mounts calls the type. */
	if (strcmp(base, "mount.gnsfs") == 0 ||
	    strcmp(base, "mount.fuse.gnsfs") == 0)
		return mount_helper(argc, argv);
	env_hide();
	return tool_main(argc, argv);
}

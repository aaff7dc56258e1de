/* gnsfs help: the list of commands, one command, a manual page. */
#include <string.h>

#include "fs/options.h"
#include "tools/manual.h"
#include "tools/tool.h"

#define WIDTH	76

/* Words broken at WIDTH, each line after `indent` blanks. */
static void
wrap(const char *text, int indent)
{
	const char *p = text;
	size_t n;
	int col = 0;

	while (*p != '\0') {
		if (*p == '\n') {
			printf(p[1] == '\n' ? "\n\n" : "\n");
			p += p[1] == '\n' ? 2 : 1;
			col = 0;
			continue;
		}
		p += strspn(p, " ");
		n = strcspn(p, " \n");
		if (col > 0 && col + 1 + (int)n > WIDTH) {
			putchar('\n');
			col = 0;
		}
		if (n > 0 && col == 0)
			col = printf("%*s%.*s", indent, "", (int)n, p);
		else if (n > 0)
			col += printf(" %.*s", (int)n, p);
		p += n;
	}
	putchar('\n');
}

static void
show_options(const struct tool_opt *o)
{
	for (; o != NULL && o->name != NULL; o++) {
		printf("  ");
		if (o->letter != 0)
			printf("-%c, ", o->letter);
		printf("--%s%s%s\n", o->name, o->arg != NULL ? " " : "",
		    o->arg != NULL ? o->arg : "");
		wrap(o->meaning, 6);
	}
}

static void
show_keys(const struct tool_key *k)
{
	if (k == NULL)
		return;
	printf("\nKeys of --json (times are ns, sizes bytes):\n");
	for (; k->key != NULL; k++) {
		printf("  %s\n", k->key);
		wrap(k->meaning, 6);
	}
}

static void
show_mount_options(void)
{
	const struct option_desc *o;

	printf("\nMount options:\n");
	for (o = option_descs; o->name != NULL; o++) {
		printf("  %s%s%s", o->name, o->arg != NULL ? "=" : "",
		    o->arg != NULL ? o->arg : "");
		if (o->dflt != NULL && o->dflt[0] != '(')
			printf("  (%s)", o->dflt);
		putchar('\n');
		if (o->dflt != NULL && o->dflt[0] == '(')
			wrap(o->dflt, 6);
		wrap(o->meaning, 6);
	}
}

int
cmd_help(struct tool *t)
{
	const char *man = tool_opt(t, "man");
	const char *shell = tool_opt(t, "completion");
	const struct tool_cmd *c;

	if (man != NULL)
		return manual_page(stdout, man) == 0 ? EXIT_DONE :
		    tool_misused(t, "there is no page %s", man);
	if (shell != NULL)
		return completion(stdout, shell) == 0 ? EXIT_DONE :
		    tool_misused(t, "there is a completion for bash and for "
		    "zsh, not for %s", shell);
	if (t->argc == 0)
		return tool_usage(stdout);
	c = tool_find(t->argv[0]);
	if (c == NULL)
		return tool_misused(t, "there is no command '%s'; "
		    "`gnsfs help` lists them", t->argv[0]);
	printf("usage: gnsfs %s %s\n\n", c->name, c->operands);
	if (*c->text != '\0') {
		wrap(c->text, 0);
		putchar('\n');
	}
	printf("Options:\n");
	show_options(c->opts);
	show_options(tool_common);
	show_keys(c->keys);
	if (strcmp(c->name, "mount") == 0)
		show_mount_options();
	return EXIT_DONE;
}

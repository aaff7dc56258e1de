/*
 * completion: of words in bash and in zsh, from the tables: commands, their
 * options, the words that an operand may be ("add|ls|set|rm|check"), and what
 * kind of thing an option's value is.
 */
#include <errno.h>
#include <string.h>

#include "fs/options.h"
#include "tools/manual.h"
#include "tools/tool.h"

/* The words that a command's first operand may be: "add|ls" of "add|ls PATH";
 * their length, 0 where it is none of a few. */
static size_t
choices(const struct tool_cmd *c)
{
	size_t n = strspn(c->operands, "abcdefghijklmnopqrstuvwxyz|");

	return memchr(c->operands, '|', n) != NULL ? n : 0;
}

static void
put_choices(FILE *to, const struct tool_cmd *c)
{
	size_t i, n = choices(c);

	for (i = 0; i < n; i++)
		putc(c->operands[i] == '|' ? ' ' : c->operands[i], to);
}

static bool
is_help(const struct tool_cmd *c)
{
	return strcmp(c->name, "help") == 0;
}

/* --- bash --- */

static void
bash_options(FILE *to, const struct tool_opt *o)
{
	for (; o != NULL && o->name != NULL; o++)
		fprintf(to, " --%s", o->name);
}

static void
bash_names(FILE *to)
{
	const struct tool_cmd *c;

	for (c = tool_cmds; c->name != NULL; c++)
		fprintf(to, "%s%s", c == tool_cmds ? "" : " ", c->name);
}

static void
bash(FILE *to)
{
	const struct tool_cmd *c;

	fputs("# bash completion of gnsfs\n_gnsfs()\n{\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} cmd= at=0 words= first= i\n"
	    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	    "\t\tcase ${COMP_WORDS[i]} in\n\t\t-*) ;;\n"
	    "\t\t*) cmd=${COMP_WORDS[i]} at=$i; break;;\n\t\tesac\n"
	    "\tdone\n\tcase $cmd in\n\t'') words='", to);
	bash_names(to);
	fputs("';;\n", to);
	for (c = tool_cmds; c->name != NULL; c++) {
		fprintf(to, "\t%s) words='", c->name);
		bash_options(to, c->opts);
		bash_options(to, tool_common);
		fputs("' first='", to);
		if (is_help(c))
			bash_names(to);
		put_choices(to, c);
		fputs("';;\n", to);
	}
	fputs("\tesac\n\tif [[ -z $cmd || $cur == -* ]]; then\n"
	    "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	    "\telif [[ -n $first && $COMP_CWORD == $((at + 1)) ]]; then\n"
	    "\t\tCOMPREPLY=($(compgen -W \"$first\" -- \"$cur\"))\n"
	    "\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\n"
	    "complete -o filenames -F _gnsfs gnsfs\n", to);
}

/* --- zsh --- */

/* Within '...' of zsh, and there within [...] or between colons. */
static void
zsh_text(FILE *to, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			fputs("'\\''", to);
		else if (strchr("[]:\\", *s) != NULL)
			fprintf(to, "\\%c", *s);
		else
			putc(*s, to);
	}
}

/* The first sentence: a menu has a line for each. */
static void
zsh_brief(FILE *to, const char *s)
{
	const char *end = strstr(s, ". ");
	size_t n = end != NULL ? (size_t)(end - s) : strlen(s);
	char text[200];

	if (n > 0 && s[n - 1] == '.')
		n--;
	snprintf(text, sizeof text, "%.*s", (int)n, s);
	zsh_text(to, text);
}

/* What completes the value of this kind. */
static const char *
zsh_action(const char *arg)
{
	if (strcmp(arg, "DIR") == 0)
		return "_files -/";
	if (strcmp(arg, "FILE") == 0 || strcmp(arg, "NAME|DIR") == 0)
		return "_files";
	if (strcmp(arg, "USER") == 0)
		return "_users";
	if (strcmp(arg, "GROUP") == 0)
		return "_groups";
	if (strcmp(arg, "SHELL") == 0)
		return "(bash zsh)";
	if (strcmp(arg, "OPTIONS") == 0)
		return "_gnsfs_mount_options";
	return "";
}

/* ":WHAT:HOW" of a value: "auto|off" is one of these words. */
static void
zsh_value(FILE *to, const char *arg)
{
	const char *p;

	if (*arg < 'a' || *arg > 'z') {
		putc(':', to);
		zsh_text(to, arg);
		fprintf(to, ":%s", zsh_action(arg));
		return;
	}
	fputs(":one of:(", to);
	for (p = arg; *p != '\0'; p++)
		putc(*p == '|' ? ' ' : *p, to);
	putc(')', to);
}

static void
zsh_options(FILE *to, const struct tool_opt *o)
{
	const char *mark;

	for (; o != NULL && o->name != NULL; o++) {
		mark = o->arg != NULL ? "=" : "";
		if (o->letter != 0)
			fprintf(to, " \\\n\t\t'(-%c --%s)'{-%c%s,--%s%s}'[",
			    o->letter, o->name, o->letter, o->arg != NULL ?
			    "+" : "", o->name, mark);
		else
			fprintf(to, " \\\n\t\t'--%s%s[", o->name, mark);
		zsh_brief(to, o->meaning);
		putc(']', to);
		if (o->arg != NULL)
			zsh_value(to, o->arg);
		putc('\'', to);
	}
}

static void
zsh_mount_options(FILE *to)
{
	const struct option_desc *o;

	fputs("_gnsfs_mount_options()\n{\n"
	    "\t_values -s , 'mount option'", to);
	for (o = option_descs; o->name != NULL; o++) {
		fprintf(to, " \\\n\t\t'%s[", o->name);
		zsh_brief(to, o->meaning);
		putc(']', to);
		if (o->arg != NULL)
			zsh_value(to, o->arg);
		putc('\'', to);
	}
	fputs("\n}\n\n", to);
}

static void
zsh_command(FILE *to, const struct tool_cmd *c)
{
	fprintf(to, "\t%s)\n\t\t_arguments -s -S", c->name);
	zsh_options(to, c->opts);
	zsh_options(to, tool_common);
	if (is_help(c)) {
		fputs(" \\\n\t\t'1:command:_gnsfs_commands'", to);
	} else if (choices(c) > 0) {
		fputs(" \\\n\t\t'1:what:(", to);
		put_choices(to, c);
		fputs(")' \\\n\t\t'*:operand:_files'", to);
	} else if (c->max != 0) {
		fputs(" \\\n\t\t'*:operand:_files'", to);
	}
	fputs("\n\t\t;;\n", to);
}

static void
zsh(FILE *to)
{
	const struct tool_cmd *c;

	fputs("#compdef gnsfs\n# zsh completion of gnsfs\n\n"
	    "_gnsfs_commands()\n{\n\tlocal -a commands\n\tcommands=(\n", to);
	for (c = tool_cmds; c->name != NULL; c++) {
		fprintf(to, "\t\t'%s:", c->name);
		zsh_text(to, c->brief);
		fputs("'\n", to);
	}
	fputs("\t)\n\t_describe -t commands 'gnsfs command' commands\n}\n\n",
	    to);
	zsh_mount_options(to);
	fputs("_gnsfs()\n{\n\tlocal curcontext=$curcontext state line\n"
	    "\tlocal -A opt_args\n\n\t_arguments -s -S -C", to);
	zsh_options(to, tool_common);
	fputs(" \\\n\t\t'1:command:_gnsfs_commands' '*::operand:->rest'\n"
	    "\t[[ $state == rest ]] || return\n"
	    "\tcurcontext=${curcontext%:*}-$line[1]:\n"
	    "\tcase $line[1] in\n", to);
	for (c = tool_cmds; c->name != NULL; c++)
		zsh_command(to, c);
	fputs("\tesac\n}\n\n_gnsfs \"$@\"\n", to);
}

int
completion(FILE *to, const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		bash(to);
	else if (strcmp(shell, "zsh") == 0)
		zsh(to);
	else
		return -ENOENT;
	return 0;
}

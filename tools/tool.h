/*
 * tool: what the subcommands of gnsfs share.
 *
 * A subcommand is a row of the table in commands.c: its name, synopsis,
 * options and help, from which the parser, `gnsfs help`, the man pages and
 * the shells' completion are made (STYLE 14), and its function, which is in the
 * file of its name.  A function returns the exit status: EXIT_DONE,
 * EXIT_FAILED or EXIT_MISUSED, having said why on stderr.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#define GNSFS_VERSION	"0.1.0"

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "base/why.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_MISUSED = 2 };

struct tool_opt {
	const char	*name;		/* long, without dashes */
	char		 letter;	/* 0: none */
	const char	*arg;		/* NULL: takes none */
	const char	*meaning;
	bool		 joined;	/* given twice: joined by commas */
};

/* A key of what --json prints (keys.c has how it is written). */
struct tool_key {
	const char	*key;
	const char	*meaning;
};

struct tool;

struct tool_cmd {
	const char	*name;
	const char	*operands;	/* for the synopsis: "URL DIR" */
	int		 min, max;	/* operands; max -1: any number */
	const char	*brief;		/* one line */
	const char	*text;		/* paragraphs, lines of any length */
	int		(*run)(struct tool *t);
	const struct tool_opt *opts;	/* ends with name NULL; may be NULL */
	const char	*page;		/* of tool_pages; NULL: gnsfs.1 */
	const struct tool_key *keys;	/* ends with key NULL; may be NULL */
};
extern const struct tool_cmd tool_cmds[];	/* ends with name NULL */

/* The commands of one kind have a manual page: gnsfs-NAME.1. */
struct tool_page {
	const char	*name;		/* that of one of its commands */
	const char	*brief;		/* one line */
};
extern const struct tool_page tool_pages[];	/* ends with name NULL */

extern const struct tool_key keys_evict[], keys_explain[], keys_find[],
    keys_format[], keys_fsck[], keys_import[], keys_imports[], keys_mount[],
    keys_pending[], keys_pin[], keys_pins[], keys_policy[], keys_refresh[],
    keys_rescue[], keys_stage[], keys_status[], keys_store[], keys_tag[];
extern const struct tool_opt tool_common[];	/* options of every command */

#define TOOL_OPTS_MAX	24

/* One run of one subcommand. */
struct tool {
	const struct tool_cmd	*cmd;
	int			 argc;		/* operands */
	char			**argv;
	bool			 json;
	struct {
		const struct tool_opt	*opt;
		char			*value;
	}			 given[TOOL_OPTS_MAX];
	unsigned		 ngiven;
};

/* NULL: not given; "" for one that takes no value.  Borrowed. */
const char *tool_opt(const struct tool *t, const char *name);
/* Says how it is used: EXIT_MISUSED. */
int	tool_misused(const struct tool *t, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));
/* Says "gnsfs: sentence" on stderr: EXIT_FAILED, or for -EINVAL, which says
 * that what was asked for cannot be, EXIT_MISUSED. */
int	tool_failed(int err, const struct why *why);

/* main.c */
/* The list of commands. */
int	tool_usage(FILE *to);
const struct tool_cmd *tool_find(const char *name);

/* --- the subcommands --- */
int	cmd_evict(struct tool *t),
	cmd_explain(struct tool *t), cmd_find(struct tool *t),
	cmd_format(struct tool *t), cmd_fsck(struct tool *t),
	cmd_help(struct tool *t), cmd_import(struct tool *t),
	cmd_imports(struct tool *t),
	cmd_mount(struct tool *t), cmd_pin(struct tool *t),
	cmd_pins(struct tool *t), cmd_policy(struct tool *t),
	cmd_refresh(struct tool *t),
	cmd_rescue(struct tool *t), cmd_stage(struct tool *t),
	cmd_status(struct tool *t), cmd_store(struct tool *t),
	cmd_sync(struct tool *t), cmd_tag(struct tool *t),
	cmd_umount(struct tool *t), cmd_unpin(struct tool *t),
	cmd_warm(struct tool *t);

#endif

/* watch: `gnsfs status --watch`. */
#ifndef TOOLS_WATCH_H
#define TOOLS_WATCH_H

#include <stdint.h>

#include "tools/tool.h"

/*
 * Shows the status of the mounts again and again, every interval (ns): on a
 * terminal a screen of its size, until `q`, INT, TERM or HUP, after which the
 * terminal is as it was; else a block of lines each time.  once: prints it all
 * (used for JSON).
 */
int	status_watch(struct tool *t, int64_t interval,
	    int (*once)(struct tool *t));

#endif

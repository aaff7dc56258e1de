/* manual: the pages and the completions that are made from the tables. */
#ifndef TOOLS_MANUAL_H
#define TOOLS_MANUAL_H

#include <stdio.h>

/* "gnsfs.1", "mount.gnsfs.8" or "gnsfs-COMMAND.1" in roff (manual.c).  0, or
 * -ENOENT for another. */
int	manual_page(FILE *to, const char *page);

/* What makes the shell complete our words: "bash" or "zsh" (completion.c).
 * 0, or -ENOENT for another. */
int	completion(FILE *to, const char *shell);

#endif

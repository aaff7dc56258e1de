/* manual: the pages and the completion that are made from the tables. */
#ifndef TOOLS_MANUAL_H
#define TOOLS_MANUAL_H

#include <stdio.h>

/* "gnsfs.1" or "mount.gnsfs.8" in roff.  0, or -ENOENT for another. */
int	manual_page(FILE *to, const char *page);
void	manual_completion(FILE *to);

#endif

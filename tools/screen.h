/*
 * screen: what `gnsfs status --watch` shows of one mount, as lines of text.
 *
 * The text is made of what the daemon says (control_status.c) and of what it
 * said before, for the rates; nothing here knows of terminals but their size.
 * Names and reasons come from others: control characters are shown as '?',
 * and no line is wider than it may be, wide characters counted as two.
 */
#ifndef TOOLS_SCREEN_H
#define TOOLS_SCREEN_H

#include <stdint.h>

#include <jansson.h>

enum { SCREEN_ROWS_MAX = 200, SCREEN_COLS_MAX = 400 };

struct screen {
	unsigned	 rows, cols;	/* of the terminal; rows 0: no bounds */
	unsigned	 n;
	char		*lines[SCREEN_ROWS_MAX];	/* owned */
	int		 err;		/* -ENOMEM, sticky */
};

/* What stands in the first line besides the mount. */
struct screen_head {
	const char	*dir;
	unsigned	 nth, of;	/* of several mounts */
	int64_t		 interval;	/* ns */
	int64_t		 now;		/* clock_real() */
	const char	*keys;		/* "q: quit", or "" */
};

/*
 * Fills s, which is empty but for rows and cols.  now: a status; before: the
 * one of ns nanoseconds ago, or NULL.  Errors are sticky in s->err.
 */
void	screen_fill(struct screen *s, const struct screen_head *h,
	    const json_t *now, const json_t *before, int64_t ns);
/* Frees the lines; rows and cols stay. */
void	screen_clear(struct screen *s);

#endif

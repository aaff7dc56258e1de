/* output: sizes, times and JSON as the commands print them. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stdint.h>

#include <jansson.h>

/* "17 B", "1.5 GiB"; ret has room for 16. */
const char *out_size(uint64_t bytes, char ret[16]);
/* Nanoseconds as "0.4 s", "12 s", "3 min", "2 h", "5 d". */
const char *out_time(int64_t ns, char ret[16]);
/* The value, on lines of its own, to stdout. */
void	out_json(const json_t *v);

/* What a JSON object says; 0 or "" where it says nothing. */
int64_t	get_int(const json_t *o, const char *key);
const char *get_str(const json_t *o, const char *key);
int	get_bool(const json_t *o, const char *key);

/*
 * The progress line: on stderr, only where that is a terminal, at most ten
 * times a second; out_progress_end wipes it.
 */
struct progress { int on; int shown; int64_t last; };
void	out_progress_begin(struct progress *p, int quiet);
void	out_progress(void *p, const json_t *v);	/* a client_fns.progress */
void	out_progress_end(struct progress *p);

#endif

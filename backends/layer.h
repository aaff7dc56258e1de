/*
 * layer: what the backends and the layers of this folder share, and nobody
 * outside it needs.
 */
#ifndef BACKENDS_LAYER_H
#define BACKENDS_LAYER_H

#include "backends/store.h"

#define STORE_KEY_MAX	1024	/* bytes, without NUL */
#define STORE_PAGE	1000	/* entries of a page where nobody says */

/* May a call go on?  STORE_OK; STORE_CANCELLED; STORE_UNREACHABLE when its
 * deadline is over (why says so).  c may be NULL: always OK. */
enum store_rc	call_check(struct store_call *c);
/* Sleeps ns, in steps short enough that cancel and deadline are heeded; as
 * call_check. */
enum store_rc	call_sleep(struct store_call *c, int64_t ns);
/* Where a call's reason goes; NULL where nobody wants it. */
#define call_why(c)	((c) != NULL ? (c)->why : NULL)
/* Is v a version at all (not NULL, not "")? */
#define version_given(v)	((v) != NULL && (v)->text[0] != '\0')

/* The name's number, or STORE_RC_COUNT. */
enum store_rc	store_rc_parse(const char *name, size_t n);

/* The backend of u's scheme, no layers (open.c).  As store_open. */
int	store_bare_open(const struct url *u, struct store **ret,
	    struct why *why);

#endif

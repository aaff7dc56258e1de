/*
 * cloud: what the stores of the clouds (s3, azure, gcs) do alike: the settings
 * of their URLs, their connections and threads, texts that a service says.
 */
#ifndef BACKENDS_CLOUD_H
#define BACKENDS_CLOUD_H

#include "backends/http.h"
#include "backends/store.h"
#include "base/url.h"
#include "base/workers.h"

/* Has u settings of these names alone (known ends with NULL)?  -EINVAL: why
 * begins with `what`, as in "an s3://". */
int	cloud_settings(const struct url *u, const char *what,
	    const char *const *known, struct why *why);
/* u's prefix as keys begin with it: "" or "a/b/".  New; NULL: no memory. */
char	*cloud_prefix(const struct url *u);
/* The end of an open: connections, and threads `name` for all large puts of
 * the store.  What was made is the caller's to free, also on failure. */
int	cloud_lines(const struct http_opts *o, const char *name,
	    struct http **rethttp, struct workers **retpool, struct why *why);
/* text (NULL: none) as one line in to, cut to size: control characters are
 * blanks. */
void	cloud_text(char *to, size_t size, const char *text);
/* A failure of one request that may go away by itself. */
bool	cloud_passes(enum store_rc rc);

#endif

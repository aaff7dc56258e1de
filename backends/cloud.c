/*
 * cloud: see cloud.h.
 */
#include "backends/cloud.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { POOL = 16 };		/* threads, for all large puts of a store */

static bool
is_known(const char *key, const char *const *known)
{
	for (; *known != NULL; known++)
		if (strcmp(key, *known) == 0)
			return true;
	return false;
}

int
cloud_settings(const struct url *u, const char *what,
    const char *const *known, struct why *why)
{
	struct buf names = BUF_INIT;
	unsigned i;
	int err;

	for (i = 0; i < u->nsettings; i++)
		if (!is_known(u->settings[i].key, known))
			break;
	if (i == u->nsettings)
		return 0;
	for (; *known != NULL; known++)
		buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", *known);
	err = why_set(why, -EINVAL, "%s URL has no setting '%s': they are %s",
	    what, u->settings[i].key, buf_cstr(&names));
	buf_done(&names);
	return err;
}

char *
cloud_prefix(const struct url *u)
{
	char *ret;

	return asprintf(&ret, "%s%s", u->prefix,
	    u->prefix[0] != '\0' ? "/" : "") < 0 ? NULL : ret;
}

int
cloud_lines(const struct http_opts *o, const char *name,
    struct http **rethttp, struct workers **retpool, struct why *why)
{
	int err = http_new(o, rethttp, why);

	return err != 0 ? err : workers_new(name, POOL, retpool);
}

void
cloud_text(char *to, size_t size, const char *text)
{
	size_t i;

	snprintf(to, size, "%s", text != NULL ? text : "");
	for (i = 0; to[i] != '\0'; i++) {
		if ((unsigned char)to[i] < ' ' || to[i] == 0x7f)
			to[i] = ' ';
	}
}

bool
cloud_passes(enum store_rc rc)
{
	return rc == STORE_UNREACHABLE || rc == STORE_THROTTLED ||
	    rc == STORE_BROKEN || rc == STORE_AMBIGUOUS;
}

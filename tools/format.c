/* gnsfs format: make a namespace. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/url.h"
#include "fs/home.h"
#include "fs/stores.h"
#include "tools/output.h"
#include "tools/tool.h"

/* Names are path components here and there, and stand before a colon. */
static bool
name_is_good(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 64 || *s == '.' || *s == '-')
		return false;
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) && strchr("._-", *s) == NULL)
			return false;
	return true;
}

/* The last component of the URL's path, or its bucket.  New. */
static char *
default_name(const struct url *u)
{
	const char *s = u->prefix, *slash;

	if (s == NULL || *s == '\0' || strcmp(s, "/") == 0)
		s = u->bucket != NULL ? u->bucket : "gnsfs";
	slash = strrchr(s, '/');
	return strdup(slash != NULL ? slash + 1 : s);
}

int
cmd_format(struct tool *t)
{
	const char *url = t->argv[0], *name = tool_opt(t, "name");
	struct why why = { "" };
	struct home_id id;
	char *dflt = NULL;
	struct url u;
	json_t *o;
	int rc;

	rc = stores_url_check(url, &why);
	if (rc == 0)
		rc = url_parse(url, &u, &why);
	if (rc != 0)
		return tool_misused(t, "%s", why_text(&why, rc));
	if (name == NULL)
		name = dflt = default_name(&u);
	url_done(&u);
	if (name == NULL)
		return tool_failed(-ENOMEM, NULL);
	if (!name_is_good(name)) {
		rc = tool_misused(t, "'%s' cannot be a name: letters, digits, "
		    "`.`, `_` and `-` can, at most 64 (--name NAME)", name);
		goto out;
	}
	rc = home_format(url, name, &id, &why);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
		goto out;
	}
	if (t->json) {
		o = json_pack("{s:s, s:s, s:s}", "name", id.name, "uuid",
		    id.uuid, "url", url);
		out_json(o);
		json_decref(o);
	} else {
		printf("namespace '%s' (%s) is made; mount it with\n"
		    "  gnsfs mount '%s' DIR\n", id.name, id.uuid, url);
	}
	rc = EXIT_DONE;
out:
	free(dflt);
	return rc;
}

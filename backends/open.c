/*
 * open: which backend a URL's scheme means.  A new backend is one file and
 * one line here.
 */
#include <errno.h>
#include <stddef.h>

#include "backends/layer.h"

static const struct {
	enum url_scheme	 scheme;
	int		(*open)(const struct url *u, struct store **ret,
			    struct why *why);
} schemes[] = {
	{ URL_FILE,	file_store_open },
	{ URL_S3,	s3_store_open },
	{ URL_AZ,	azure_store_open },
	{ URL_GS,	gcs_store_open },
};

int
store_bare_open(const struct url *u, struct store **ret, struct why *why)
{
	size_t i;

	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (schemes[i].scheme == u->scheme)
			return schemes[i].open(u, ret, why);
	return why_set(why, -EINVAL, "%s: no store has this scheme", u->text);
}

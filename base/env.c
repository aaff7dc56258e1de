/* env: see env.h. */
#include "base/env.h"

#include <stdlib.h>
#include <string.h>

static struct { const char *name; char *value; } secrets[] = {
	{ "AWS_CONTAINER_AUTHORIZATION_TOKEN", NULL },
	{ "AWS_SECRET_ACCESS_KEY", NULL },
	{ "AWS_SESSION_TOKEN", NULL },
	{ "AZURE_CLIENT_SECRET", NULL },
	{ "AZURE_STORAGE_CONNECTION_STRING", NULL },
	{ "AZURE_STORAGE_KEY", NULL },
	{ "AZURE_STORAGE_SAS_TOKEN", NULL },
	{ "IDENTITY_HEADER", NULL },
};
enum { NSECRETS = sizeof secrets / sizeof secrets[0] };

void
env_hide(void)
{
	char *value;
	int i;

	for (i = 0; i < NSECRETS; i++) {
		value = getenv(secrets[i].name);
		if (value == NULL)
			continue;
		secrets[i].value = strdup(value);
		if (secrets[i].value == NULL)
			continue;	/* better seen than lost */
		explicit_bzero(value, strlen(value));
		(void)unsetenv(secrets[i].name);
	}
}

const char *
env_get(const char *name)
{
	const char *s = getenv(name);
	int i;

	for (i = 0; s == NULL && i < NSECRETS; i++) {
		if (strcmp(name, secrets[i].name) == 0)
			s = secrets[i].value;
	}
	return s != NULL && *s != '\0' ? s : NULL;
}

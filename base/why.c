/* why: see base/why.h. */
#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line, whatever a store or a name put into it. */
static void
flatten(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
	}
}

int
why_set(struct why *why, int err, const char *fmt, ...)
{
	va_list ap;

	if (!why || why->text[0])
		return err;
	va_start(ap, fmt);
	if (vsnprintf(why->text, sizeof(why->text), fmt, ap) < 0)
		why->text[0] = '\0';
	va_end(ap);
	flatten(why->text);
	return err;
}

int
why_prefix(struct why *why, int err, const char *fmt, ...)
{
	char said[sizeof(why->text)];
	size_t n;
	va_list ap;

	if (!why)
		return err;
	memcpy(said, why->text, sizeof(said));
	va_start(ap, fmt);
	if (vsnprintf(why->text, sizeof(why->text), fmt, ap) < 0)
		why->text[0] = '\0';
	va_end(ap);
	n = strlen(why->text);
	if (said[0] && n < sizeof(why->text) - 1)
		snprintf(why->text + n, sizeof(why->text) - n, "%s%s",
		    n ? ": " : "", said);
	flatten(why->text);
	return err;
}

const char *
why_text(const struct why *why, int err)
{
	if (why && why->text[0])
		return why->text;
	return strerror(err < 0 ? -err : err);
}

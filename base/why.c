/* why: see base/why.h. */
#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the character at p: 0 where that is no UTF-8, or cut off. */
static unsigned
char_len(const unsigned char *p)
{
	unsigned i, n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 :
	    *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;

	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	/* too long for what it says, half of a pair, beyond the last one */
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* One line of UTF-8, whatever a store or a name put into it, and wherever it
 * was cut: it goes into JSON. */
static void
flatten(char *s)
{
	unsigned char *p = (unsigned char *)s;
	unsigned n;

	for (; *p != '\0'; p += n) {
		n = char_len(p);
		if (n == 0) {
			*p = '?';
			n = 1;
		} else if (*p < 0x20 || *p == 0x7f) {
			*p = ' ';
		}
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

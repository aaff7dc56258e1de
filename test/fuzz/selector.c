/* Selectors as a user types them, one a line, and globs against names. */
#include "fuzz.h"

#include "meta/select_impl.h"

#define LINES	64

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const char *lines[LINES];
	struct selector *s;
	unsigned nlines = 0;
	struct why why = { "" };
	char *text, *at;

	if (n == 0 || n > 4096)
		return 0;
	text = malloc(n);
	memcpy(text, p + 1, n - 1);
	text[n - 1] = '\0';
	at = text;
	while (nlines < LINES && at != NULL)
		lines[nlines++] = strsep(&at, "\n");
	if (nlines >= 2)
		glob_name(lines[0], lines[1]);
	if (selector_new(lines, nlines, p[0] & 1,
	    (p[0] & 2) != 0 ? lines[0] : NULL, &s, &why) == 0) {
		uint64_t st[LINES];

		for (unsigned i = 0; i < s->nterms; i++) {
			if (s->terms[i].glob == NULL)
				continue;
			st[0] = glob_start(s->terms[i].glob);
			for (unsigned k = 0; k < nlines; k++)
				st[0] = glob_step(s->terms[i].glob, st[0],
				    lines[k]);
		}
		for (unsigned k = 0; k < nlines; k++)
			selector_covers(s, lines[k]);
		selector_free(s);
	} else if (why.text[0] == '\0')
		abort();		/* an error says why */
	free(text);
	return 0;
}

/* URLs: what parses has a canonical form that parses to the same. */
#include "fuzz.h"

#include "base/url.h"

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct url u, v;
	struct why why = { "" };
	const char *rest;
	char *text, *one, *two;

	text = malloc(n + 1);
	memcpy(text, p, n);
	text[n] = '\0';
	if (url_parse(text, &u, &why) == 0) {
		one = url_canonical(&u);
		if (one == NULL || url_parse(one, &v, &why) != 0)
			abort();
		two = url_canonical(&v);
		if (two == NULL || strcmp(one, two) != 0 ||
		    !url_covers(&u, &v, &rest))
			abort();
		url_done(&u);
		url_done(&v);
		free(one);
		free(two);
	} else if (why.text[0] == '\0')
		abort();
	free(text);
	return 0;
}

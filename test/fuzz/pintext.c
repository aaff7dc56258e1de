/* The text of a pin's row, as another host's log brings it, and what is made
 * of it: written, merged, taken apart. */
#include <errno.h>

#include "fuzz.h"

#include "fs/pin_text.h"

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)
#define LINES	64

/* A text that is read matches or not; no file is needed where nothing asks for
 * tags or stores. */
static void
parse(const char *text)
{
	struct pin_text t;
	struct why why = { "" };
	int rc = pin_text_parse(text, &t, &why);

	HOLDS(rc == 0 || rc == -E2BIG || rc == -ENOMEM ||
	    why.text[0] != '\0');
	if (rc == 0)
		pin_text_done(&t);
}

/* The lines as a request; what is written of one is read again. */
static void
request(char *text, unsigned flags)
{
	const char *lines[LINES];
	struct pin_request r = { .selectors = lines };
	struct pin_text t;
	struct buf out = BUF_INIT, merged = BUF_INIT, left = BUF_INIT;
	struct why why = { "" };
	char *at = text;
	bool own[LINES];
	int rc;

	while (r.nselectors < LINES && at != NULL)
		if (*(lines[r.nselectors] = strsep(&at, "\n")) != '\0')
			r.nselectors++;
	r.flags = flags & 1 ? SELECT_AND : 0;
	r.in = flags & 2 ? lines[0] : NULL;
	rc = pin_text_write(&r, &out, &why);
	if (rc != 0) {
		HOLDS(rc != -EINVAL || why.text[0] != '\0');
		goto out;
	}
	HOLDS(pin_text_parse(buf_cstr(&out), &t, &why) == 0);
	pin_text_done(&t);
	/* With itself it is itself. */
	HOLDS(pin_text_merge(buf_cstr(&out), buf_cstr(&out), &merged) == 0);
	HOLDS(strcmp(buf_cstr(&out), buf_cstr(&merged)) == 0);
	buf_reset(&merged);
	if (pin_text_except(buf_cstr(&out), &r, NULL, &merged) == 0)
		parse(buf_cstr(&merged));
	/* All of them are its own. */
	rc = pin_text_without(buf_cstr(&out), &r, &left, own);
	HOLDS(rc == 2);
	buf_reset(&left);
	r.nselectors = 1;
	rc = pin_text_without(buf_cstr(&out), &r, &left, own);
	HOLDS(rc == 1 || rc == 2);
	if (rc == 1)
		parse(buf_cstr(&left));
out:
	buf_done(&out);
	buf_done(&merged);
	buf_done(&left);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *text;

	if (n == 0 || n > 4096)
		return 0;
	text = malloc(n);
	if (text == NULL)
		abort();
	memcpy(text, p + 1, n - 1);
	text[n - 1] = '\0';
	parse(text);
	request(text, p[0]);
	free(text);
	return 0;
}

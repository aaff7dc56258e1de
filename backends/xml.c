/* xml: see xml.h. */
#include "backends/xml.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct parse {
	XML_Parser	 xp;
	xml_each	*each;
	void		*arg;
	unsigned	 depth;
	char		*path[XML_DEPTH];	/* owned */
	struct buf	 text;		/* of the innermost element */
	int		 err;
};

static void
parse_stop(struct parse *x, int err)
{
	if (x->err == 0)
		x->err = err;
	XML_StopParser(x->xp, XML_FALSE);
}

/* As an element "@name" within the innermost one. */
static int
on_attribute(struct parse *x, const char *name, const char *value)
{
	char at[64];
	int err;

	if (x->depth == XML_DEPTH || strlen(name) + 2 > sizeof at ||
	    strlen(value) > XML_TEXT)
		return 0;
	snprintf(at, sizeof at, "@%s", name);
	x->path[x->depth] = at;
	err = x->each(x->arg, (const char *const *)x->path, x->depth + 1,
	    value);
	x->path[x->depth] = NULL;
	return err;
}

static void XMLCALL
on_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
	struct parse *x = arg;
	const char *colon = strrchr(name, ':');
	int err;

	if (x->err != 0)
		return;
	if (x->depth == XML_DEPTH) {
		parse_stop(x, -EBADMSG);
		return;
	}
	x->path[x->depth] = strdup(colon != NULL ? colon + 1 : name);
	if (x->path[x->depth] == NULL) {
		parse_stop(x, -ENOMEM);
		return;
	}
	x->depth++;
	buf_reset(&x->text);
	err = x->each(x->arg, (const char *const *)x->path, x->depth, NULL);
	for (; err == 0 && *attrs != NULL; attrs += 2)
		err = on_attribute(x, attrs[0], attrs[1]);
	if (err != 0)
		parse_stop(x, err);
}

static void XMLCALL
on_end(void *arg, const XML_Char *name)
{
	struct parse *x = arg;
	const char *text;
	int err;

	if (x->err != 0 || x->depth == 0)
		return;
	text = buf_cstr(&x->text);
	err = buf_err(&x->text);
	if (err == 0)
		err = x->each(x->arg, (const char *const *)x->path, x->depth,
		    text);
	else
		err = err == -ENOMEM ? -ENOMEM : -EBADMSG;
	if (err != 0)
		parse_stop(x, err);
	free(x->path[--x->depth]);
	buf_reset(&x->text);
}

static void XMLCALL
on_text(void *arg, const XML_Char *s, int n)
{
	struct parse *x = arg;

	buf_put(&x->text, s, (size_t)n);
	if (buf_err(&x->text) != 0)
		parse_stop(x, buf_err(&x->text) == -ENOMEM ? -ENOMEM :
		    -EBADMSG);
}

static void XMLCALL
on_doctype(void *arg, const XML_Char *name, const XML_Char *sysid,
    const XML_Char *pubid, int internal)
{
	parse_stop(arg, -EBADMSG);
}

int
xml_parse(const void *p, size_t n, xml_each *each, void *arg)
{
	struct parse x = { .each = each, .arg = arg };
	enum XML_Status status;

	if (n > INT_MAX)
		return -EBADMSG;
	x.text.max = XML_TEXT;
	x.xp = XML_ParserCreate(NULL);
	if (x.xp == NULL)
		return -ENOMEM;
	XML_SetUserData(x.xp, &x);
	XML_SetElementHandler(x.xp, on_start, on_end);
	XML_SetCharacterDataHandler(x.xp, on_text);
	XML_SetStartDoctypeDeclHandler(x.xp, on_doctype);
	status = XML_Parse(x.xp, n > 0 ? p : "", (int)n, XML_TRUE);
	if (status != XML_STATUS_OK && x.err == 0)
		x.err = XML_GetErrorCode(x.xp) == XML_ERROR_NO_MEMORY ?
		    -ENOMEM : -EBADMSG;
	XML_ParserFree(x.xp);
	while (x.depth > 0)
		free(x.path[--x.depth]);
	buf_done(&x.text);
	return x.err;
}

/*
 * xml: what list pages and error answers of stores need of XML: the texts of
 * elements, in order.  The one owner of Expat.
 *
 * The input is hostile: a document type (entities), nesting beyond
 * XML_DEPTH, and a text beyond XML_TEXT end the parse.  Namespace prefixes
 * are dropped ("s3:Key" is "Key").  An attribute is told as if it were an
 * element "@name" within its own, at its start; one that is too long is not.
 */
#ifndef BACKENDS_XML_H
#define BACKENDS_XML_H

#include <stddef.h>

enum { XML_DEPTH = 12, XML_TEXT = 16 * 1024 };

/*
 * Called at the start of every element with text NULL, and at its end with
 * its own text ("" when it had none; NUL-terminated; borrowed).  path has the
 * names of the open elements, the outermost first, itself last: depth of
 * them.  Nonzero stops the parse, which then returns it.
 */
typedef int xml_each(void *arg, const char *const *path, unsigned depth,
	    const char *text);

/* 0; -EBADMSG (not well-formed, or beyond the bounds), -ENOMEM, or what
 * each returned. */
int	xml_parse(const void *p, size_t n, xml_each *each, void *arg);

#endif

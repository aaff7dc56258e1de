/* tagset: see tagset.h. */
#include "backends/tagset.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "backends/xml.h"

struct reading { struct buf key, value, *ret; bool set; };

static int
each(void *arg, const char *const *path, unsigned depth, const char *text)
{
	struct reading *r = arg;
	const char *key, *value;

	if (strcmp(path[0], "Tagging") != 0 && strcmp(path[0], "Tags") != 0)
		return -EBADMSG;
	if (depth < 2 || strcmp(path[1], "TagSet") != 0)
		return 0;
	r->set = true;
	if (depth == 3 && text == NULL) {
		buf_reset(&r->key);
		buf_reset(&r->value);
	} else if (depth == 4 && text != NULL) {
		if (strcmp(path[3], "Key") == 0)
			buf_puts(&r->key, text);
		else if (strcmp(path[3], "Value") == 0)
			buf_puts(&r->value, text);
	} else if (depth == 3) {
		key = buf_cstr(&r->key);
		value = buf_cstr(&r->value);
		if (buf_err(&r->key) != 0 || buf_err(&r->value) != 0)
			return -ENOMEM;
		if (r->key.len > 0) {
			buf_put(r->ret, key, r->key.len + 1);
			buf_put(r->ret, value, r->value.len + 1);
		}
	}
	return 0;
}

int
tagset_parse(const void *p, size_t n, struct buf *ret)
{
	struct reading r = { .ret = ret };
	const char *s = p;
	size_t before = ret->len;
	int err;

	if (n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0) {
		s += 3;		/* a byte order mark, as Azure sends it */
		n -= 3;
	}
	for (; n > 0 && (*s == ' ' || *s == '\n' || *s == '\r'); n--)
		s++;
	err = xml_parse(s, n, each, &r);
	if (err == 0 && !r.set)
		err = -EBADMSG;
	if (err == 0 && (buf_err(&r.key) != 0 || buf_err(&r.value) != 0 ||
	    buf_err(ret) != 0))
		err = -ENOMEM;
	if (err != 0)
		ret->len = before;
	buf_done(&r.key);
	buf_done(&r.value);
	return err;
}

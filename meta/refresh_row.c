/*
 * refresh_row: where an import is from (refresh.h).  The body of its row is
 * text: store, ns between refreshes, mode of files in octal, and, after one
 * blank, the prefix, whatever bytes it has; then, where tags are imported, a
 * NUL and the keys of tags, each with its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "meta/internal.h"
#include "meta/query.h"
#include "meta/refresh.h"

int
import_row_op(const struct import_row *r, struct buf *body, struct op *ret)
{
	buf_reset(body);
	buf_printf(body, "%" PRIu32 " %" PRId64 " %" PRIo32 " ", r->store,
	    r->every, r->file_mode);
	buf_puts(body, r->prefix);
	if (r->tags != NULL) {
		buf_put(body, "", 1);
		buf_put(body, r->tags, r->ntags);
	}
	if (buf_err(body) != 0)
		return (buf_err(body));
	*ret = (struct op){ .kind = OP_POLICY, .ino = r->root,
	    .mask = POLICY_IMPORT, .value = body->p, .nvalue = body->len };
	return (0);
}

/* text is of n bytes and a NUL.  False: it is none of ours. */
static bool
row_parse(const char *text, size_t n, struct import_row *ret)
{
	size_t len;
	int at = 0;

	if (sscanf(text, "%" SCNu32 " %" SCNd64 " %" SCNo32 "%n", &ret->store,
	    &ret->every, &ret->file_mode, &at) != 3 || at == 0 ||
	    text[at] != ' ' || ret->every < 0 || ret->file_mode > 07777)
		return (false);
	ret->prefix = text + at + 1;
	len = (size_t)at + 1 + strlen(ret->prefix);
	if (len == n)
		return (true);
	ret->tags = text + len + 1;
	ret->ntags = n - len - 1;
	return (ret->ntags == 0 || ret->tags[ret->ntags - 1] == '\0');
}

int
import_rows(struct sqc *c, int (*each)(void *arg, const struct import_row *r),
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT id, body FROM policy "
	    "WHERE kind = ? ORDER BY id");
	struct buf text = BUF_INIT;
	int rc;

	sqs_int(s, 1, POLICY_IMPORT);
	while ((rc = sqs_step(s)) == 1) {
		struct import_row r = { .root = sqs_col_int(s, 0) };
		const void *p;
		size_t n;

		p = sqs_col_blob(s, 1, &n);
		buf_reset(&text);
		buf_put(&text, p, n);
		if (row_parse(buf_cstr(&text), n, &r) && each(arg, &r) != 0) {
			sqs_reset(s);
			rc = 0;
			break;
		}
	}
	if (rc == 0)
		rc = buf_err(&text);
	buf_done(&text);
	return (rc);
}

char *
import_row_dup(const struct import_row *r)
{
	size_t n = strlen(r->prefix) + 1;
	char *p = malloc(n + r->ntags);

	if (p != NULL) {
		memcpy(p, r->prefix, n);
		if (r->ntags > 0)
			memcpy(p + n, r->tags, r->ntags);
	}
	return (p);
}

/* --- of one root --- */

struct find {
	struct sqc	*c;
	uint64_t	 root;
	struct import_row row;
	char		*prefix;
	int		 err;
	bool		 found;
};

static int
find_row(void *arg, const struct import_row *r)
{
	struct find *f = arg;

	if (r->root != f->root)
		return (0);
	f->row = *r;
	f->prefix = import_row_dup(r);
	f->err = f->prefix == NULL ? -ENOMEM : 0;
	f->found = true;
	return (1);
}

/* A key less its last n components, each of which is one of a path. */
static char *
key_less(const char *key, unsigned n)
{
	const char *p = key + strlen(key);

	for (;; p--) {
		if (p > key && p[-1] != '/')
			continue;
		if (--n == 0 || p == key)
			break;
	}
	return (n == 0 ? strndup(key, (size_t)(p - key)) : NULL);
}

/* How far ino is below the root: 0 where it is not. */
static unsigned
depth_below(struct sqc *c, uint64_t ino, uint64_t root)
{
	char name[META_NAME_MAX + 1];
	unsigned n = 0;

	while (ino != root && n < 100000) {
		if (ino == META_ROOT || meta_parent(c, ino, &ino, name) != 0)
			return (0);
		n++;
	}
	return (n);
}

/* The first file says it: the names of a path and the components of its key
 * are as many. */
static int
find_file(void *arg, uint64_t parent, const char *name, const struct attr *a)
{
	struct find *f = arg;
	struct buf key = BUF_INIT;
	struct sqs *s;
	const void *p;
	size_t n;
	unsigned depth;

	if (!S_ISREG(a->mode) || !(a->flags & INODE_IMPORTED) ||
	    (depth = depth_below(f->c, a->ino, f->root)) == 0)
		return (0);
	s = sq_prep(f->c, "SELECT store, key FROM location "
	    "WHERE object = ? ORDER BY store LIMIT 1");
	sqs_int(s, 1, a->ino);
	if (sqs_step(s) != 1)
		return (0);
	f->row.store = sqs_col_int(s, 0);
	p = sqs_col_blob(s, 1, &n);
	buf_put(&key, p, n);
	sqs_reset(s);
	f->prefix = key_less(buf_cstr(&key), depth);
	buf_done(&key);
	f->row.root = f->root;
	f->row.file_mode = a->mode & 07777;
	f->row.every = 0;
	f->found = f->prefix != NULL;
	return (f->found);
}

int
import_row_get(struct sqc *c, uint64_t root, struct import_row *ret,
    char **retprefix)
{
	struct find f = { .c = c, .root = root };
	struct attr a;
	int err = meta_getattr(c, root, &a);

	if (err == 0 && !(a.flags & INODE_IMPORT_ROOT))
		err = -ENOENT;
	if (err == 0)
		err = import_rows(c, find_row, &f);
	if (err == 0)
		err = f.err;
	if (err == 0 && !f.found)
		err = meta_walk(c, root, find_file, &f);
	if (err == 0 && !f.found)
		err = -ENOENT;
	if (err != 0) {
		free(f.prefix);
		return (err);
	}
	*ret = f.row;
	ret->prefix = *retprefix = f.prefix;
	if (ret->tags != NULL)
		ret->tags = f.prefix + strlen(f.prefix) + 1;
	return (0);
}

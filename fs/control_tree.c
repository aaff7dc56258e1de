/* control_tree: find, the inventory, and tag. */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/control_impl.h"
#include "meta/select.h"

int
arg_selectors(struct ctl *c, struct ctl_sel *ret)
{
	json_t *list = json_object_get(c->args, "selectors"), *v;
	const char **texts;
	size_t i, n = json_array_size(list);

	if (list != NULL && !json_is_array(list))
		return why_set(&c->why, -EINVAL, "selectors are a list");
	texts = calloc(n + 1, sizeof *texts);
	if (texts == NULL)
		return -ENOMEM;
	json_array_foreach(list, i, v) {
		texts[i] = json_string_value(v);
		if (texts[i] == NULL || *texts[i] == '\0') {
			free(texts);
			return why_set(&c->why, -EINVAL,
			    "a selector is a string, and not empty");
		}
	}
	ret->texts = texts;
	ret->n = (unsigned)n;
	ret->flags = arg_bool(c, "and") ? SELECT_AND : 0;
	ret->in = arg_str(c, "in");
	return 0;
}

/* --- find --- */

static const char *
type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:	return "file";
	case S_IFDIR:	return "dir";
	case S_IFLNK:	return "symlink";
	case S_IFIFO:	return "fifo";
	case S_IFSOCK:	return "socket";
	default:	return "device";
	}
}

struct find {
	struct ctl	*c;
	struct sqc	*q;
	uint64_t	 n, bytes;
	int		 err;
};

static int
find_one(void *arg, const char *path, const struct attr *a)
{
	struct find *f = arg;
	json_t *o;

	if (!ctl_may_see(f->c, f->q, path, true))
		return 0;
	o = json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "ino",
	    (json_int_t)a->ino, "type", type_name(a->mode), "mode",
	    (json_int_t)(a->mode & 07777), "uid", (json_int_t)a->uid, "gid",
	    (json_int_t)a->gid, "size", (json_int_t)a->size, "mtime",
	    (json_int_t)a->mtime);
	if (o == NULL || ctl_set_bytes(o, "path", path) != 0) {
		json_decref(o);
		f->err = -ENOMEM;
		return 1;
	}
	f->n++;
	f->bytes += a->size;
	f->err = ctl_item(f->c, o);
	if (f->err == 0 && f->n % 4096 == 0 && ctl_cancelled(f->c))
		f->err = -ECANCELED;
	return f->err != 0;
}

int
ctl_find(struct ctl *c)
{
	static const char *const all[] = { "/" };
	struct find f = { .c = c };
	struct ctl_sel sel = { NULL };
	struct selector *s = NULL;
	int rc;

	rc = arg_selectors(c, &sel);
	if (rc != 0)
		return rc;
	rc = selector_new(sel.n > 0 ? sel.texts : all, sel.n > 0 ? sel.n : 1,
	    sel.flags, sel.in, &s, &c->why);
	if (rc == 0)
		rc = ctl_spool_begin(c);
	if (rc == 0)
		rc = sq_read(meta_sq(c->f->meta), &f.q);
	if (rc == 0)
		rc = selector_run(s, f.q, clock_real(), arg_bool(c, "all"),
		    find_one, &f, &c->why);
	sq_read_end(f.q);
	selector_free(s);
	free(sel.texts);
	if (rc >= 0)
		rc = f.err;
	if (rc != 0)
		return rc;
	json_object_set_new(c->result, "found", json_integer(
	    (json_int_t)f.n));
	json_object_set_new(c->result, "bytes", json_integer(
	    (json_int_t)f.bytes));
	return ctl_spool_end(c);
}

/* --- tag --- */

static int
tags_of(struct ctl *c, struct sqc *q, uint64_t ino, const char *from,
    json_t *list)
{
	const char *key, *value;
	struct sqs *s;
	size_t nk, nv;
	int rc;

	s = sq_prep(q, "SELECT key, value FROM tag WHERE ino = ?1 "
	    "ORDER BY key");
	sqs_int(s, 1, (int64_t)ino);
	while ((rc = sqs_step(s)) == 1) {
		key = sqs_col_blob(s, 0, &nk);
		value = sqs_col_blob(s, 1, &nv);
		json_array_append_new(list, json_pack("{s:s%, s:s%, s:s}",
		    "key", key != NULL ? key : "", nk, "value", value !=
		    NULL ? value : "", nv, "from", from));
	}
	sqs_reset(s);
	return rc < 0 ? rc : sq_err(q);
}

/* The tags of a path and of all directories above it: what holds for it. */
static int
tag_list(struct ctl *c, struct sqc *q)
{
	const char *path = arg_str(c, "path");
	json_t *list = json_array();
	struct attr a;
	char *p, *slash;
	int rc;

	p = strdup(path);
	if (p == NULL || list == NULL) {
		free(p);
		json_decref(list);
		return -ENOMEM;
	}
	for (;;) {
		rc = meta_resolve(q, *p == '\0' ? "/" : p, &a);
		if (rc == 0)
			rc = tags_of(c, q, a.ino, *p == '\0' ? "/" : p, list);
		slash = strrchr(p, '/');
		if (rc != 0 || slash == NULL)
			break;
		*slash = '\0';
		if (strcmp(path, "/") == 0)
			break;
	}
	free(p);
	json_object_set_new(c->result, "tags", list);
	return rc;
}

/* What is removed with its value has that. */
static int
has_value(struct ctl *c, struct sqc *q, struct op *op, void *arg)
{
	const char *want = arg, *value;
	struct sqs *s;
	bool same;
	size_t n;
	int rc;

	s = sq_prep(q, "SELECT value FROM tag WHERE ino = ?1 "
	    "AND CAST(key AS BLOB) = ?2");
	sqs_int(s, 1, (int64_t)op->ino);
	sqs_blob(s, 2, op->name, strlen(op->name));
	rc = sqs_step(s);
	value = rc == 1 ? sqs_col_blob(s, 0, &n) : NULL;
	same = rc == 1 && (want == NULL || (n == strlen(want) &&
	    memcmp(value != NULL ? value : "", want, n) == 0));
	if (rc >= 0 && !same)
		rc = why_set(&c->why, -ENODATA, rc == 0 || want == NULL ?
		    "%s has no tag '%s' of its own" : "%s has a tag '%s', but "
		    "of another value; `gnsfs tag ls` lists them",
		    arg_str(c, "path"), op->name);
	sqs_reset(s);
	return rc < 0 ? rc : 0;
}

/* As it was asked for. */
static int
tag_change(struct ctl *c, struct op *op, bool remove)
{
	const char *value = arg_str(c, "value");

	op->ctime = clock_real();
	op->value = "";
	if (remove) {
		op->flags = 1;
		return ctl_land(c, op, has_value, (void *)value);
	}
	if (value != NULL)
		op->value = value;
	op->nvalue = strlen(op->value);
	return ctl_land(c, op, NULL, NULL);
}

int
ctl_tag(struct ctl *c)
{
	const char *what, *key, *value;
	struct sqc *q = NULL;
	struct attr a;
	struct op op = { .kind = OP_TAG };
	int rc;

	rc = arg_need(c, "op", &what);
	if (rc == 0)
		rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc == 0)
		rc = arg_path(c, q, "path", &a);
	if (rc == 0 && strcmp(what, "ls") == 0) {
		rc = tag_list(c, q);
		sq_read_end(q);
		return rc;
	}
	sq_read_end(q);
	if (rc == 0)
		rc = arg_need(c, "key", &key);
	if (rc != 0)
		return rc;
	value = arg_str(c, "value");
	if (*key == '\0' || strlen(key) > META_NAME_MAX ||
	    strpbrk(key, "=\n") != NULL || (value != NULL &&
	    strlen(value) > FS_TAG_MAX))
		return why_set(&c->why, -EINVAL, "a tag is KEY=VALUE: a key "
		    "of 1 to 255 bytes without `=`, a value of at most %d",
		    FS_TAG_MAX);
	op.ino = a.ino;
	op.name = key;
	if (strcmp(what, "rm") != 0 && strcmp(what, "add") != 0)
		return why_set(&c->why, -EINVAL, "a tag is added (add), "
		    "removed (rm) or listed (ls), not '%s'", what);
	rc = tag_change(c, &op, *what == 'r');
	if (rc == -ETIMEDOUT) {
		/* It holds here; the log has it when the home is back. */
		c->why.text[0] = '\0';
		rc = 0;
	}
	return rc;
}

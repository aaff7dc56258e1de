/*
 * import_store: the store that an import is from: one of the namespace that
 * covers its URL, or a new one.
 */
#include "fs/import_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/stores.h"
#include "meta/journal.h"
#include "meta/query.h"

/* "a/b" as a prefix of keys: "a/b/". */
static char *
dir_prefix(const char *p)
{
	size_t n = strlen(p);
	char *ret;

	while (n > 0 && p[n - 1] == '/')
		n--;
	if (asprintf(&ret, "%.*s%s", (int)n, p, n > 0 ? "/" : "") < 0)
		return NULL;
	return ret;
}

/* The bucket's own URL, with the settings of what is imported: what a new
 * store is.  Of a directory it is the directory. */
static int
new_store_url(struct importing *im, struct why *why)
{
	const char *text = im->url.text, *query = strchr(text, '?');
	char *root = NULL;
	int err;

	if (im->url.scheme == URL_FILE)
		root = strdup(text);
	else if (asprintf(&root, "%.*s://%s%s%s%s",
	    (int)strcspn(text, ":"), text,
	    im->url.account != NULL ? im->url.account : "",
	    im->url.account != NULL ? "/" : "", im->url.bucket,
	    query != NULL ? query : "") < 0)
		root = NULL;
	if (root == NULL)
		return -ENOMEM;
	err = url_parse(root, &im->store_url, why);
	free(root);
	if (err != 0)
		return err;
	im->store_text = url_canonical(&im->store_url);
	return im->store_text == NULL ? -ENOMEM : 0;
}

static int
note_max_store(void *arg, const struct store_row *s)
{
	uint32_t *max = arg;

	if (s->id > *max)
		*max = s->id;
	return 0;
}

static int
next_store_id(struct sqc *c, uint32_t *ret)
{
	uint32_t max = 0;
	int err = meta_stores(c, note_max_store, &max);

	if (err == 0)
		*ret = max + 1;
	return err;
}

static int
open_new_store(struct importing *im, struct why *why)
{
	struct stack_opts opts = { .trace_fd = -1 };
	struct sqc *c;
	int err;

	err = new_store_url(im, why);
	if (err == 0)
		err = sq_read(meta_sq(im->f->meta), &c);
	if (err != 0)
		return err;
	err = next_store_id(c, &im->store_id);
	sq_read_end(c);
	if (err == 0)
		err = store_open(&im->store_url, &opts, &im->opened, why);
	if (err != 0)
		return err;
	im->store = im->opened;
	im->store_is_new = true;
	im->prefix = dir_prefix(im->url.scheme == URL_FILE ? "" :
	    im->url.prefix);
	return im->prefix == NULL ? -ENOMEM : 0;
}

int
import_find_store(struct importing *im, struct why *why)
{
	char *rest = NULL;
	int err;

	err = stores_find(im->f, &im->url, &im->store_id, &rest);
	if (err == -ENOENT)
		return open_new_store(im, why);
	if (err == 0 && im->store_id == STORE_HOME_ID)
		err = why_set(why, -EINVAL, "%s is in the home of this"
		    " namespace, which cannot be imported into itself",
		    im->r->url);
	if (err == 0)
		err = stores_get(im->f, im->store_id, &im->store, why);
	if (err == 0) {
		im->prefix = dir_prefix(rest);
		if (im->prefix == NULL)
			err = -ENOMEM;
	}
	free(rest);
	return err;
}

/* --- a new one, in the namespace --- */

struct name_taken { const char *name; bool taken; };

static int
is_name_taken(void *arg, const struct store_row *s)
{
	struct name_taken *t = arg;

	if (strcmp(s->name, t->name) == 0)
		t->taken = true;
	return 0;
}

/* A free name after the bucket, or the directory. */
static int
store_name(struct sqc *c, const struct url *u, char ret[65])
{
	const char *base = u->bucket;
	struct name_taken t = { ret, true };
	int err = 0;

	if (base == NULL) {
		base = strrchr(u->prefix, '/');
		base = base != NULL ? base + 1 : u->prefix;
	}
	if (base[0] == '\0')
		base = "store";
	for (unsigned i = 1; err == 0 && t.taken; i++) {
		t.taken = false;
		if (i == 1)
			snprintf(ret, 65, "%.64s", base);
		else
			snprintf(ret, 65, "%.50s-%u", base, i);
		err = meta_stores(c, is_name_taken, &t);
	}
	return err;
}

int
import_add_store(struct importing *im, struct sqc *c)
{
	char name[65];
	struct op op = {
		.kind = OP_STORE,
		.ino = im->store_id,
		.name = name,
		.value = im->store_text,
		.nvalue = strlen(im->store_text),
	};
	uint32_t id;
	int err;

	err = next_store_id(c, &id);
	if (err == 0 && id != im->store_id)
		err = -EAGAIN;		/* another store came meanwhile */
	if (err == 0)
		err = store_name(c, &im->store_url, name);
	if (err == 0)
		err = journal(im->f->meta, c, &op, NEEDS_NOTHING, NULL, 0,
		    NULL);
	return err;
}

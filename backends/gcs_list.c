/*
 * gcs_list: one page of a list.
 *
 * The page is read whole before an entry is handed on, so that a broken one
 * hands on none.  Prefixes come apart from objects; a page covers one range
 * of names, so that sorting it sorts the whole.
 *
 * startOffset includes the name it gives, so "after" is that name, one entry
 * more, and the name itself left out.  The token given out is a letter and
 *	c	GCS's pageToken, or, where that is longer than a token may be
 *		or the page had to be cut, what startOffset goes on from:
 *	a	a key, to go on after
 *	o	a name, to go on at (after a prefix: its delimiter plus one)
 * A page is cut where an emulator gives more prefixes than were asked for.
 *
 * Keys of parts under way (GCS_PARTS) are left out, and listed by gcs_left().
 */
#include "backends/gcs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/page.h"
#include "base/log.h"

enum { PAGE_BYTES = 32 * 1024 * 1024, PAGE_MAX = 1000 };

struct reading {
	struct gcs	*s;
	struct page	 page;
	const char	*after;		/* a key to leave out; NULL: none */
	char		*token;		/* nextPageToken, or NULL */
	bool		 parts;		/* keys of parts, too */
};

/* One name of the answer.  0, -EBADMSG, -ENOMEM. */
static int
entry_add(struct reading *l, const char *name, const struct gcs_object *o)
{
	struct store_entry e = { .is_prefix = o == NULL };
	size_t n = strlen(l->s->prefix);

	if (name == NULL || strncmp(name, l->s->prefix, n) != 0)
		return -EBADMSG;
	if (strlen(name) > STORE_KEY_MAX) {
		log_warn("listed key is too long and was left out",
		    "bucket=%s bytes=%zu", l->s->bucket, strlen(name));
		return 0;
	}
	name += n;
	/* The mark of the prefix itself; what is not for others. */
	if (*name == '\0' || (!l->parts && strncmp(name, GCS_PARTS,
	    strlen(GCS_PARTS)) == 0) || (l->after != NULL && o != NULL &&
	    strcmp(name, l->after) == 0))
		return 0;
	e.key = name;
	if (o != NULL)
		e.info = o->info;
	return page_add(&l->page, &e) == 0 ? 0 : -ENOMEM;
}

static int
read_page(struct reading *l, const struct buf *body)
{
	json_t *o = json_loadb((const char *)body->p, body->len, 0, NULL);
	json_t *items = json_object_get(o, "items");
	json_t *prefixes = json_object_get(o, "prefixes"), *v;
	const char *token = json_string_value(json_object_get(o,
	    "nextPageToken"));
	struct gcs_object got;
	size_t i;
	int err = 0;

	if (!json_is_object(o) || (items != NULL && !json_is_array(items)) ||
	    (prefixes != NULL && !json_is_array(prefixes)))
		err = -EBADMSG;
	for (i = 0; err == 0 && i < json_array_size(items); i++) {
		v = json_array_get(items, i);
		err = gcs_object_json(v, &got);
		if (err == 0)
			err = entry_add(l, json_string_value(
			    json_object_get(v, "name")), &got);
	}
	for (i = 0; err == 0 && i < json_array_size(prefixes); i++)
		err = entry_add(l, json_string_value(
		    json_array_get(prefixes, i)), NULL);
	if (err == 0 && token != NULL && *token != '\0' &&
	    (l->token = strdup(token)) == NULL)
		err = -ENOMEM;
	json_decref(o);
	return err;
}

/* The token that goes on after the last of n entries. */
static int
token_after(const struct reading *l, size_t n, struct store_list *ret)
{
	struct store_entry e;
	size_t len;

	if (n == 0)
		return -EBADMSG;	/* from where? */
	page_entry(&l->page, n - 1, &e);
	len = strlen(e.key);
	if (len + 2 > sizeof ret->token)
		return -EBADMSG;
	snprintf(ret->token, sizeof ret->token, "%c%s",
	    e.is_prefix ? 'o' : 'a', e.key);
	if (e.is_prefix)
		ret->token[len]++;	/* its delimiter: ASCII */
	return 0;
}

/* How many entries go out, and the next page's token.  0 or -EBADMSG. */
static int
next_page(struct reading *l, unsigned max, size_t *retn,
    struct store_list *ret)
{
	*retn = l->page.n < max ? l->page.n : max;
	ret->more = l->token != NULL || l->page.n > max;
	if (!ret->more)
		ret->token[0] = '\0';
	else if (l->page.n > max || strlen(l->token) + 2 > sizeof ret->token)
		return token_after(l, *retn, ret);
	else
		snprintf(ret->token, sizeof ret->token, "c%s", l->token);
	return 0;
}

static int
by_key(const void *a, const void *b, void *text)
{
	const struct page_row *x = a, *y = b;

	return strcmp((char *)text + x->key, (char *)text + y->key);
}

static enum store_rc
hand_on(struct reading *l, size_t n,
    int (*each)(void *, const struct store_entry *), void *arg)
{
	struct store_entry e;
	size_t i;

	for (i = 0; i < n; i++) {
		page_entry(&l->page, i, &e);
		if (each(arg, &e) != 0)
			return STORE_CANCELLED;
	}
	return STORE_OK;
}

/* What is asked, its texts in the buffers.  0, -EINVAL, -ENOMEM. */
static int
build_query(struct gcs *s, const struct store_list *l, unsigned max,
    struct gcs_req *r, struct reading *in, struct buf *prefix,
    struct buf *start, char text[2][16])
{
	const char *at = NULL;

	gcs_param(r, "fields", "nextPageToken,prefixes,items(" GCS_FIELDS ")");
	buf_printf(prefix, "%s%s", s->prefix, l->prefix != NULL ?
	    l->prefix : "");
	if (prefix->len > 0)
		gcs_param(r, "prefix", buf_cstr(prefix));
	if (l->delimiter != '\0') {
		snprintf(text[0], sizeof text[0], "%c", l->delimiter);
		gcs_param(r, "delimiter", text[0]);
	}
	if (l->token[0] == 'c')
		gcs_param(r, "pageToken", l->token + 1);
	else if (l->token[0] == 'a')
		at = in->after = l->token + 1;
	else if (l->token[0] == 'o')
		at = l->token + 1;
	else if (l->token[0] != '\0')
		return -EINVAL;
	else if (l->start_after != NULL && l->start_after[0] != '\0')
		at = in->after = l->start_after;
	if (at != NULL) {
		buf_printf(start, "%s%s", s->prefix, at);
		gcs_param(r, "startOffset", buf_cstr(start));
	}
	snprintf(text[1], sizeof text[1], "%u", max + (in->after != NULL));
	gcs_param(r, "maxResults", text[1]);
	return buf_err(prefix) != 0 ? buf_err(prefix) : buf_err(start);
}

static enum store_rc
list_page(struct gcs *s, struct store_call *c, struct store_list *l,
    bool parts, int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct gcs_req r = { .method = "GET", .op = "LIST", .of = GCS_OBJECTS,
	    .max_body = PAGE_BYTES };
	struct reading in = { .s = s, .parts = parts };
	struct buf prefix = BUF_INIT, start = BUF_INIT;
	unsigned max = l->max == 0 || l->max > PAGE_MAX ? PAGE_MAX : l->max;
	char text[2][16];
	enum store_rc rc;
	size_t n = 0;
	int err;

	err = build_query(s, l, max, &r, &in, &prefix, &start, text);
	rc = err == 0 ? gcs_do(s, c, &r) : STORE_OK;
	if (err == 0 && rc == STORE_OK) {
		err = read_page(&in, &r.resp.body);
		if (err == 0 && in.page.n > 1)
			qsort_r(in.page.rows, in.page.n,
			    sizeof in.page.rows[0], by_key, in.page.text.p);
		if (err == 0)
			err = next_page(&in, max, &n, l);
	}
	if (err == -EINVAL) {
		why_set(call_why(c), 0, "a list goes on from a token that is "
		    "none");
		rc = STORE_INVALID;
	} else if (err == -ENOMEM) {
		rc = STORE_NOMEM;
	} else if (err != 0) {
		why_set(call_why(c), 0, "bucket '%s' answers LIST with "
		    "something that is no list", s->bucket);
		rc = STORE_BROKEN;
	}
	if (rc == STORE_OK)
		rc = hand_on(&in, n, each, arg);
	page_done(&in.page);
	free(in.token);
	buf_done(&prefix);
	buf_done(&start);
	gcs_req_done(&r);
	return rc;
}

enum store_rc
gcs_list(struct store *st, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	return list_page((struct gcs *)st, c, l, false, each, arg);
}

enum store_rc
gcs_left(struct store *st, struct store_call *c,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct store_list l = { .prefix = GCS_PARTS };
	enum store_rc rc;

	do {
		rc = list_page((struct gcs *)st, c, &l, true, each, arg);
	} while (rc == STORE_OK && l.more);
	return rc;
}

/*
 * azure_list: one page of List Blobs.
 *
 * The page is read whole before an entry is handed on, so that a broken one
 * hands on none.  The token given out is "c" and the service's marker or,
 * where that is longer than the token may be, "a" and the last key, after
 * which the list goes on as after start_after.
 *
 * To begin after a key is nothing that this version of the protocol knows: it
 * is done by passing over the pages before, which costs a request for each
 * 5,000 keys, and so is not among the capabilities (azure_caps()).
 *
 * Left out: folders, which are told as blobs: those of a hierarchical namespace
 * and, in others, the empty blobs that blobfuse and Hadoop mark as such in
 * their metadata, which is asked for therefore.
 */
#include "backends/azure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/page.h"
#include "backends/xml.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum { PAGE_BYTES = 64 * 1024 * 1024, PAGE_MAX = 5000 };

struct reading {
	struct azure	*s;
	const char	*after;		/* keys up to it are left out */
	struct page	 page;
	struct buf	 key, etag, marker, last;
	uint64_t	 size;
	int64_t		 secs;
	bool		 encoded;	/* the name is percent-encoded */
	bool		 folder;	/* of a hierarchical namespace */
	bool		 marked;	/* as one, by its metadata */
	bool		 result;	/* it is a list */
};

/* %XX in what is in b.  False for what is none, or a NUL. */
static bool
decode(struct buf *b)
{
	size_t from, to = 0;
	uint8_t c;

	for (from = 0; from < b->len; from++) {
		c = b->p[from];
		if (c == '%') {
			if (b->len - from < 3 || hex_decode((char *)b->p +
			    from + 1, 2, &c) != 0)
				return false;
			from += 2;
		}
		if (c == '\0')
			return false;
		b->p[to++] = c;
	}
	b->len = to;
	return true;
}

/* Does the list begin behind this key, or prefix of keys? */
static bool
is_before(const struct reading *l, const char *key, bool is_prefix)
{
	return l->after[0] != '\0' && strcmp(key, l->after) <= 0 &&
	    !(is_prefix && strncmp(key, l->after, strlen(key)) == 0);
}

/* Adds what key, size, secs and etag say.  0, -EBADMSG, -ENOMEM. */
static int
entry_add(struct reading *l, bool is_prefix)
{
	struct store_entry e = { .is_prefix = is_prefix };
	size_t n = strlen(l->s->prefix);
	const char *key;

	if (l->encoded && !decode(&l->key))
		return -EBADMSG;
	key = buf_cstr(&l->key);
	if (buf_err(&l->key) != 0)
		return -ENOMEM;
	if (*key == '\0' || strncmp(key, l->s->prefix, n) != 0)
		return -EBADMSG;
	if (strlen(key) > STORE_KEY_MAX) {
		log_warn("listed key is too long and was left out",
		    "container=%s bytes=%zu", l->s->container, strlen(key));
		return 0;
	}
	buf_reset(&l->last);
	buf_puts(&l->last, key + n);
	if (key[n] == '\0' || l->folder || (l->marked && l->size == 0) ||
	    is_before(l, key + n, is_prefix))
		return 0;
	e.key = key + n;
	if (!is_prefix) {
		e.info.size = l->size;
		e.info.mtime = l->secs * NSEC_PER_SEC;
		etag_version(buf_cstr(&l->etag), l->size, l->secs,
		    &e.info.version);
	}
	return page_add(&l->page, &e) == 0 ? 0 : -ENOMEM;
}

static int
read_property(struct reading *l, const char *name, const char *text)
{
	char *end;

	if (strcmp(name, "Content-Length") == 0) {
		if (*text < '0' || *text > '9')
			return -EBADMSG;
		errno = 0;
		l->size = strtoull(text, &end, 10);
		if (*end != '\0' || errno != 0)
			return -EBADMSG;
	} else if (strcmp(name, "Last-Modified") == 0) {
		l->secs = http_date_parse(text);
		if (l->secs < 0)
			return -EBADMSG;
	} else if (strcmp(name, "Etag") == 0) {
		buf_reset(&l->etag);
		buf_puts(&l->etag, text);
	} else if (strcmp(name, "ResourceType") == 0) {
		l->folder = l->folder || strcmp(text, "directory") == 0;
	}
	return 0;
}

/* Within Blobs: a Blob or a BlobPrefix begins, ends, or says something. */
static int
read_blob(struct reading *l, const char *const *path, unsigned depth,
    const char *text)
{
	bool prefix = strcmp(path[2], "BlobPrefix") == 0;
	const char *name = path[depth - 1];

	if (!prefix && strcmp(path[2], "Blob") != 0)
		return 0;
	if (depth == 3 && text == NULL) {
		buf_reset(&l->key);
		buf_reset(&l->etag);
		l->size = 0;
		l->secs = 0;
		l->encoded = l->folder = l->marked = false;
	} else if (depth == 3) {
		return entry_add(l, prefix);
	} else if (text != NULL && strcmp(path[3], "Name") == 0) {
		if (depth == 4) {
			buf_reset(&l->key);
			buf_puts(&l->key, text);
		} else if (strcmp(name, "@Encoded") == 0) {
			l->encoded = strcmp(text, "true") == 0;
		}
	} else if (text != NULL && !prefix && depth == 5 &&
	    strcmp(path[3], "Properties") == 0) {
		return read_property(l, name, text);
	} else if (text != NULL && !prefix && depth == 5 &&
	    strcmp(path[3], "Metadata") == 0 &&
	    strcasecmp(name, "hdi_isfolder") == 0) {
		l->marked = l->marked || strcmp(text, "true") == 0;
	}
	return 0;
}

static int
list_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct reading *l = arg;

	if (strcmp(path[0], "EnumerationResults") != 0)
		return -EBADMSG;
	l->result = true;
	if (depth == 2 && text != NULL && strcmp(path[1], "NextMarker") == 0)
		buf_puts(&l->marker, text);
	if (depth >= 3 && strcmp(path[1], "Blobs") == 0 &&
	    path[2][0] != '@')
		return read_blob(l, path, depth, text);
	return 0;
}

/* The next page's token.  0, -EBADMSG, -ENOMEM. */
static int
next_token(struct reading *l, struct store_list *ret)
{
	const char *marker = buf_cstr(&l->marker), *last = buf_cstr(&l->last);

	if (buf_err(&l->marker) != 0 || buf_err(&l->last) != 0)
		return -ENOMEM;
	if (strlen(marker) + 2 <= sizeof ret->token)
		snprintf(ret->token, sizeof ret->token, "c%s", marker);
	else if (*last != '\0' && strlen(last) + 2 <= sizeof ret->token)
		snprintf(ret->token, sizeof ret->token, "a%s", last);
	else
		return -EBADMSG;
	return 0;
}

/* Asks for one page, from marker on ("" for the first), into `in`. */
static enum store_rc
ask(struct azure *s, struct store_call *c, const struct store_list *l,
    const char *marker, struct reading *in)
{
	struct azure_req r = { .method = "GET", .op = "LIST",
	    .max_body = PAGE_BYTES };
	struct buf prefix = BUF_INIT;
	char max[16], delim[2] = { l->delimiter, '\0' };
	enum store_rc rc;
	int err;

	azure_param(&r, "restype", "container");
	azure_param(&r, "comp", "list");
	snprintf(max, sizeof max, "%u", l->max == 0 || l->max > PAGE_MAX ?
	    PAGE_MAX : l->max);
	azure_param(&r, "maxresults", max);
	azure_param(&r, "include", "metadata");
	buf_printf(&prefix, "%s%s", s->prefix,
	    l->prefix != NULL ? l->prefix : "");
	if (prefix.len > 0)
		azure_param(&r, "prefix", buf_cstr(&prefix));
	if (delim[0] != '\0')
		azure_param(&r, "delimiter", delim);
	if (marker[0] != '\0')
		azure_param(&r, "marker", marker);
	rc = buf_err(&prefix) != 0 ? STORE_NOMEM : azure_do(s, c, &r);
	if (rc == STORE_OK) {
		page_reset(&in->page);
		buf_reset(&in->marker);
		err = xml_parse(r.resp.body.p, r.resp.body.len, list_each, in);
		if (err == -ENOMEM) {
			rc = STORE_NOMEM;
		} else if (err != 0 || !in->result) {
			why_set(call_why(c), 0, "%s answers LIST with "
			    "something that is no list", s->where);
			rc = STORE_BROKEN;
		}
	}
	buf_done(&prefix);
	azure_req_done(&r);
	return rc;
}

/* Pages until one has an entry behind `after`, or there are no more. */
static enum store_rc
ask_after(struct azure *s, struct store_call *c, const struct store_list *l,
    struct reading *in)
{
	struct store_list all = *l;
	struct buf marker = BUF_INIT;
	enum store_rc rc;

	if (in->after[0] != '\0' && l->token[0] != 'c')
		all.max = 0;
	buf_puts(&marker, l->token[0] == 'c' ? l->token + 1 : "");
	for (;;) {
		if (buf_err(&marker) != 0) {
			rc = STORE_NOMEM;
			break;
		}
		rc = ask(s, c, &all, buf_cstr(&marker), in);
		if (rc != STORE_OK || in->page.n > 0 || in->marker.len == 0 ||
		    in->after[0] == '\0')
			break;
		buf_reset(&marker);
		buf_put(&marker, in->marker.p, in->marker.len);
	}
	buf_done(&marker);
	return rc;
}

enum store_rc
azure_list(struct store *st, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct azure *s = (struct azure *)st;
	struct reading in = { .s = s, .after = "" };
	char after[STORE_KEY_MAX + 1];
	enum store_rc rc = STORE_OK;
	int err = 0;

	if (l->token[0] == 'a' && strlen(l->token) <= STORE_KEY_MAX) {
		snprintf(after, sizeof after, "%.1024s", l->token + 1);
		in.after = after;
	} else if (l->token[0] == '\0' || l->token[0] == 'c') {
		in.after = l->start_after != NULL ? l->start_after : "";
	} else {
		why_set(call_why(c), 0, "a list goes on from a token that is "
		    "none");
		rc = STORE_INVALID;
	}
	if (rc == STORE_OK)
		rc = ask_after(s, c, l, &in);
	if (rc == STORE_OK && in.marker.len > 0)
		err = next_token(&in, l);
	if (err != 0)
		rc = err == -ENOMEM ? STORE_NOMEM : STORE_BROKEN;
	if (rc == STORE_OK) {
		l->more = in.marker.len > 0;
		if (!l->more)
			l->token[0] = '\0';
		page_sort(&in.page);
		rc = page_hand_on(&in.page, each, arg);
	}
	page_done(&in.page);
	buf_done(&in.key);
	buf_done(&in.etag);
	buf_done(&in.marker);
	buf_done(&in.last);
	return rc;
}

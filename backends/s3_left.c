/*
 * s3_left: uploads in parts that were begun and neither completed nor aborted
 * (ListMultipartUploads): those under way, and those of a host that died in
 * the middle.  Their parts are in no list of objects, and are paid for.
 *
 * MinIO lists none unless it is given the whole key.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/page.h"
#include "backends/s3.h"
#include "base/buf.h"
#include "base/clock.h"

enum { PAGE_BYTES = 16 * 1024 * 1024 };

struct reading {
	struct s3	*s;
	struct page	 page;
	struct buf	 key, next_key, next_id;
	int64_t		 secs;
	bool		 is_url;	/* keys are percent-encoded */
	bool		 truncated, result;
};

static int
upload_add(struct reading *l)
{
	struct store_entry e = { .key = buf_cstr(&l->key) };
	size_t n = strlen(l->s->prefix);

	if (buf_err(&l->key) != 0)
		return -ENOMEM;
	if (strncmp(e.key, l->s->prefix, n) != 0 || e.key[n] == '\0')
		return 0;
	e.key += n;
	e.info.mtime = l->secs * NSEC_PER_SEC;
	return page_add(&l->page, &e) == 0 ? 0 : -ENOMEM;
}

static int
upload_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct reading *l = arg;
	const char *name = path[depth - 1];

	if (strcmp(path[0], "ListMultipartUploadsResult") != 0)
		return -EBADMSG;
	l->result = true;
	if (depth == 2 && text != NULL) {
		if (strcmp(name, "IsTruncated") == 0)
			l->truncated = strcmp(text, "true") == 0;
		else if (strcmp(name, "NextUploadIdMarker") == 0)
			buf_puts(&l->next_id, text);
		else if (strcmp(name, "NextKeyMarker") == 0 &&
		    !s3_decode(text, l->is_url, &l->next_key))
			return -EBADMSG;
	}
	if (depth < 2 || strcmp(path[1], "Upload") != 0)
		return 0;
	if (depth == 2 && text == NULL) {
		buf_reset(&l->key);
		l->secs = -1;
	} else if (depth == 2) {
		return upload_add(l);
	} else if (depth == 3 && text != NULL && strcmp(name, "Key") == 0) {
		return s3_decode(text, l->is_url, &l->key) ? 0 : -EBADMSG;
	} else if (depth == 3 && text != NULL &&
	    strcmp(name, "Initiated") == 0) {
		l->secs = s3_time_parse(text);
		return l->secs >= 0 ? 0 : -EBADMSG;
	}
	return 0;
}

/* A page after the markers in key and id, which are the next one's then. */
static enum store_rc
page_read(struct reading *l, struct store_call *c, struct buf *key,
    struct buf *id)
{
	struct s3_req r = { .method = "GET", .op = "LIST",
	    .max_body = PAGE_BYTES };
	enum store_rc rc;
	int err = 0;

	s3_param(&r, "uploads", "");
	s3_param(&r, "encoding-type", "url");
	s3_param(&r, "prefix", l->s->prefix);
	if (key->len > 0)
		s3_param(&r, "key-marker", buf_cstr(key));
	if (id->len > 0)
		s3_param(&r, "upload-id-marker", buf_cstr(id));
	l->truncated = l->result = l->is_url = false;
	buf_reset(&l->next_key);
	buf_reset(&l->next_id);
	rc = s3_do(l->s, c, &r);
	if (rc == STORE_OK)
		err = s3_xml(&r.resp.body, &l->is_url, upload_each, l);
	/* else it never ends */
	if (rc == STORE_OK && err == 0 && (!l->result || (l->truncated &&
	    (l->next_key.len == 0 || (strcmp(buf_cstr(&l->next_key),
	    buf_cstr(key)) == 0 && strcmp(buf_cstr(&l->next_id),
	    buf_cstr(id)) == 0)))))
		err = -EBADMSG;
	buf_reset(key);
	buf_reset(id);
	buf_puts(key, buf_cstr(&l->next_key));
	buf_puts(id, buf_cstr(&l->next_id));
	if (err == -ENOMEM || buf_err(key) != 0 || buf_err(id) != 0) {
		rc = STORE_NOMEM;
	} else if (err != 0) {
		why_set(call_why(c), 0, "bucket '%s' answers "
		    "ListMultipartUploads with something that is no list",
		    l->s->bucket);
		rc = STORE_BROKEN;
	}
	s3_req_done(&r);
	return rc;
}

enum store_rc
s3_left(struct store *st, struct store_call *c,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct reading l = { .s = (struct s3 *)st };
	struct buf key = BUF_INIT, id = BUF_INIT;
	enum store_rc rc;

	do {
		page_reset(&l.page);
		rc = page_read(&l, c, &key, &id);
		if (rc == STORE_OK)
			rc = page_hand_on(&l.page, each, arg);
	} while (rc == STORE_OK && l.truncated);
	page_done(&l.page);
	buf_done(&l.key);
	buf_done(&l.next_key);
	buf_done(&l.next_id);
	buf_done(&key);
	buf_done(&id);
	return rc;
}

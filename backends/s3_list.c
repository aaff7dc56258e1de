/*
 * s3_list: one page of ListObjectsV2.
 *
 * Keys are asked for percent-encoded, since XML cannot carry every byte.  The
 * page is read whole before an entry is handed on, so that a broken one hands
 * on none.  The token given out is "c" and S3's continuation token or, where
 * that is longer than the token may be, "a" and the last key, which start-after
 * goes on from.
 *
 * A bucket of directories (s3_dialect.h) is asked for the directory that the
 * prefix is in, and what does not begin with it is left out here.
 */
#include "backends/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/page.h"
#include "backends/xml.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum { PAGE_BYTES = 32 * 1024 * 1024, PAGE_MAX = 1000 };

struct reading {
	struct s3	*s;
	struct page	 page;
	struct buf	 key, etag, token, last;
	const char	*prefix;	/* of a directory's: all of it */
	uint64_t	 size;
	int64_t		 secs;
	bool		 is_url;	/* keys are percent-encoded */
	bool		 truncated;
	bool		 result;	/* it is a list */
};

bool
s3_decode(const char *text, bool is_url, struct buf *b)
{
	uint8_t c;

	buf_reset(b);
	if (!is_url) {
		buf_puts(b, text);
		return true;
	}
	for (; *text != '\0'; text++) {
		c = (uint8_t)*text;
		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			if (text[1] == '\0' || hex_decode(text + 1, 2, &c) != 0)
				return false;
			text += 2;
		}
		if (c == '\0')
			return false;
		buf_put_u8(b, c);
	}
	return true;
}

/* Adds what key, size, secs and etag say.  0, -EBADMSG, -ENOMEM. */
static int
entry_add(struct reading *l, bool is_prefix)
{
	struct store_entry e = { .is_prefix = is_prefix };
	const char *key = buf_cstr(&l->key);
	size_t n = strlen(l->s->prefix);

	if (buf_err(&l->key) != 0)
		return -ENOMEM;
	if (strncmp(key, l->s->prefix, n) != 0)
		return -EBADMSG;
	if (strlen(key) > STORE_KEY_MAX) {
		log_warn("listed key is too long and was left out",
		    "bucket=%s bytes=%zu", l->s->bucket, strlen(key));
		return 0;
	}
	buf_reset(&l->last);
	buf_puts(&l->last, key + n);
	if (key[n] == '\0' || (l->prefix != NULL &&
	    strncmp(key, l->prefix, strlen(l->prefix)) != 0))
		return 0;	/* the mark of the prefix itself; others */
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
read_field(struct reading *l, const char *name, const char *text)
{
	char *end;

	if (strcmp(name, "Key") == 0 || strcmp(name, "Prefix") == 0) {
		if (!s3_decode(text, l->is_url, &l->key))
			return -EBADMSG;
	} else if (strcmp(name, "Size") == 0) {
		if (*text < '0' || *text > '9')
			return -EBADMSG;
		errno = 0;
		l->size = strtoull(text, &end, 10);
		if (*end != '\0' || errno != 0)
			return -EBADMSG;
	} else if (strcmp(name, "LastModified") == 0) {
		l->secs = s3_time_parse(text);
		if (l->secs < 0)
			return -EBADMSG;
	} else if (strcmp(name, "ETag") == 0) {
		buf_reset(&l->etag);
		buf_puts(&l->etag, text);
	}
	return 0;
}

static int
list_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct reading *l = arg;
	const char *name = path[depth - 1];
	bool prefix;

	if (strcmp(path[0], "ListBucketResult") != 0)
		return -EBADMSG;
	l->result = true;
	if (depth == 2 && text != NULL) {
		if (strcmp(name, "EncodingType") == 0)
			l->is_url = strcmp(text, "url") == 0;
		else if (strcmp(name, "IsTruncated") == 0)
			l->truncated = strcmp(text, "true") == 0;
		else if (strcmp(name, "NextContinuationToken") == 0)
			buf_puts(&l->token, text);
	}
	if (depth < 2)
		return 0;
	prefix = strcmp(path[1], "CommonPrefixes") == 0;
	if (!prefix && strcmp(path[1], "Contents") != 0)
		return 0;
	if (depth == 2 && text == NULL) {
		buf_reset(&l->key);
		buf_reset(&l->etag);
		l->size = 0;
		l->secs = 0;
	} else if (depth == 2) {
		return entry_add(l, prefix);
	} else if (depth == 3 && text != NULL) {
		return read_field(l, name, text);
	}
	return 0;
}

/* EncodingType may stand after the entries: look for it first. */
static int
encoding_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	bool *is_url = arg;

	if (depth == 2 && text != NULL &&
	    strcmp(path[1], "EncodingType") == 0) {
		*is_url = strcmp(text, "url") == 0;
		return 1;
	}
	return 0;
}

/* The next page's token.  0 or -EBADMSG. */
static int
next_token(struct reading *l, struct store_list *ret)
{
	const char *token = buf_cstr(&l->token), *last = buf_cstr(&l->last);

	if (buf_err(&l->token) != 0 || buf_err(&l->last) != 0)
		return -ENOMEM;
	if (*token != '\0' && strlen(token) + 2 <= sizeof ret->token)
		snprintf(ret->token, sizeof ret->token, "c%s", token);
	else if (*last != '\0' && strlen(last) + 2 <= sizeof ret->token)
		snprintf(ret->token, sizeof ret->token, "a%s", last);
	else
		return -EBADMSG;
	/* which begins at the beginning again */
	return ret->token[0] == 'a' && s3_dialect(l->s)->dirs ? -EBADMSG : 0;
}

int
s3_xml(const struct buf *body, bool *retis_url, xml_each *each, void *arg)
{
	const uint8_t *p = body->p;
	size_t n = body->len;
	int err;

	for (; n > 0 && (*p == ' ' || *p == '\n' || *p == '\r'); n--)
		p++;
	err = xml_parse(p, n, encoding_each, retis_url);
	return err < 0 ? err : xml_parse(p, n, each, arg);
}

static int
read_page(struct reading *l, const struct buf *body)
{
	int err = s3_xml(body, &l->is_url, list_each, l);

	return err == 0 && !l->result ? -EBADMSG : err;
}

/* Fills in what is asked; the texts are kept in b, one after the other. */
static int
build_query(struct s3 *s, const struct store_list *l, struct s3_req *r,
    struct buf *prefix, struct buf *dir, struct buf *after, char max[16],
    char delim[2])
{
	const char *start = NULL, *slash;

	s3_param(r, "list-type", "2");
	s3_param(r, "encoding-type", "url");
	snprintf(max, 16, "%u", l->max == 0 || l->max > PAGE_MAX ?
	    PAGE_MAX : l->max);
	s3_param(r, "max-keys", max);
	buf_printf(prefix, "%s%s", s->prefix, l->prefix != NULL ?
	    l->prefix : "");
	if (s3_dialect(s)->dirs) {
		slash = strrchr(buf_cstr(prefix), '/');
		buf_put(dir, prefix->p, slash == NULL ? 0 :
		    (size_t)(slash + 1 - (const char *)prefix->p));
		if (buf_err(dir) != 0)
			return buf_err(dir);
		if ((l->delimiter != '\0' && l->delimiter != '/') ||
		    (l->token[0] == '\0' && l->start_after != NULL &&
		    l->start_after[0] != '\0'))
			return -EOPNOTSUPP;
	}
	s3_param(r, "prefix", buf_cstr(s3_dialect(s)->dirs ? dir : prefix));
	if (l->delimiter != '\0') {
		delim[0] = l->delimiter;
		delim[1] = '\0';
		s3_param(r, "delimiter", delim);
	}
	if (l->token[0] == 'c')
		s3_param(r, "continuation-token", l->token + 1);
	else if (l->token[0] == 'a')
		start = l->token + 1;
	else if (l->token[0] != '\0')
		return -EINVAL;
	else if (l->start_after != NULL && l->start_after[0] != '\0')
		start = l->start_after;
	if (start != NULL) {
		buf_printf(after, "%s%s", s->prefix, start);
		s3_param(r, "start-after", buf_cstr(after));
	}
	return buf_err(prefix) != 0 ? buf_err(prefix) : buf_err(after);
}

enum store_rc
s3_list(struct store *st, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct s3 *s = (struct s3 *)st;
	struct s3_req r = { .method = "GET", .op = "LIST",
	    .max_body = PAGE_BYTES };
	struct reading in = { .s = s };
	struct buf prefix = BUF_INIT, dir = BUF_INIT, after = BUF_INIT;
	char max[16], delim[2];
	enum store_rc rc;
	int err;

	err = build_query(s, l, &r, &prefix, &dir, &after, max, delim);
	if (s3_dialect(s)->dirs)
		in.prefix = buf_cstr(&prefix);
	rc = err == 0 ? s3_do(s, c, &r) : STORE_OK;
	if (err == 0 && rc == STORE_OK) {
		err = read_page(&in, &r.resp.body);
		if (err == 0 && in.truncated)
			err = next_token(&in, l);
	}
	if (err == -EINVAL) {
		why_set(call_why(c), 0, "a list goes on from a token that is "
		    "none");
		rc = STORE_INVALID;
	} else if (err == -EOPNOTSUPP) {
		why_set(call_why(c), 0, "bucket '%s' is one of directories: "
		    "it lists from the beginning, and by '/'", s->bucket);
		rc = STORE_UNSUPPORTED;
	} else if (err == -ENOMEM) {
		rc = STORE_NOMEM;
	} else if (err != 0) {
		why_set(call_why(c), 0, "bucket '%s' answers LIST with "
		    "something that is no list", s->bucket);
		rc = STORE_BROKEN;
	}
	if (rc == STORE_OK) {
		l->more = in.truncated;
		if (!in.truncated)
			l->token[0] = '\0';
		page_sort(&in.page);
		rc = page_hand_on(&in.page, each, arg);
	}
	page_done(&in.page);
	buf_done(&in.key);
	buf_done(&in.etag);
	buf_done(&in.token);
	buf_done(&in.last);
	buf_done(&prefix);
	buf_done(&dir);
	buf_done(&after);
	s3_req_done(&r);
	return rc;
}

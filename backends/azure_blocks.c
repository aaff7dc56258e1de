/*
 * azure_blocks: large puts and copies as blocks, in parallel (parts.h), and
 * Put Block List, which makes the blob and checks the condition.
 *
 * Each upload draws a number that its blocks' names begin with.  So when the
 * answer to Put Block List is lost, the blob's own list of blocks says
 * whether this upload made it; only where that is not to be had the result is
 * AMBIGUOUS.
 *
 * Blocks that no list names the service drops: when another list is put for
 * the same blob, or after a week.  The first is why a list can be refused as
 * InvalidBlockList: another upload of the same key has come to its end
 * meanwhile.  Nothing was changed then.
 */
#include "backends/azure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/parts.h"
#include "backends/xml.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"

enum {
	NAME = 24,			/* of a block: 16 digits, 8 digits */
	LONG_STALL = 300,		/* s: a copy may take long */
	LIST_BYTES = 16 * 1024 * 1024,
};

#define LOOK_WITHIN	(10 * NSEC_PER_SEC)

struct job {
	struct azure		*s;
	const char		*key;
	const struct store_src	*src;		/* a put; or */
	struct azure_source	*from;		/* a copy */
	uint64_t		 size, part_size;
	uint64_t		 id;		/* of the upload */
	unsigned		 n;
	_Atomic bool		 unsummed;	/* a block is */
};

/* Block i's name, in base64. */
static void
block_name(const struct job *j, unsigned i, struct buf *b)
{
	char name[NAME + 1];

	snprintf(name, sizeof name, "%016llx%08x", (unsigned long long)j->id,
	    i);
	sigkey_base64(b, name, NAME);
}

void
azure_from_url(struct azure_req *r, const struct azure_source *from)
{
	http_headers_add(&r->headers, "x-ms-copy-source", "%s", from->url);
	if (from->bearer != NULL)
		http_headers_add(&r->headers, "x-ms-copy-source-authorization",
		    "Bearer %s", from->bearer);
	if (from->etag != NULL)
		http_headers_add(&r->headers, "x-ms-source-if-match", "%s",
		    from->etag);
}

void
azure_has_from_url(struct azure *s, const struct azure_req *r,
    enum store_rc rc, struct azure_source *from)
{
	if (strcmp(r->error.code, "CannotVerifyCopySource") == 0) {
		if (rc == STORE_UNSUPPORTED)
			atomic_store(&from->unfetchable, true);
	} else if (r->resp.status == 501 || r->resp.status == 405) {
		atomic_store(&s->no_from_url, true);
	}
}

static enum store_rc
block_send(void *arg, struct store_call *c, unsigned i)
{
	struct job *j = arg;
	struct azure_req r = { .method = "PUT", .op = "PUT", .key = j->key };
	struct buf name = BUF_INIT;
	uint64_t off = i * j->part_size, len = j->part_size;
	enum store_rc rc;

	if (len > j->size - off)
		len = j->size - off;
	block_name(j, i, &name);
	azure_param(&r, "comp", "block");
	azure_param(&r, "blockid", buf_cstr(&name));
	if (j->src != NULL) {
		r.src = j->src;
		r.off = off;
		r.len = len;
		r.sum = true;
	} else {
		r.op = "COPY";
		r.stall = LONG_STALL;
		azure_from_url(&r, j->from);
		http_headers_add(&r.headers, "x-ms-source-range",
		    "bytes=%llu-%llu", (unsigned long long)off,
		    (unsigned long long)(off + len - 1));
	}
	rc = buf_err(&name) != 0 ? STORE_NOMEM : azure_do(j->s, c, &r);
	if (j->from != NULL)
		azure_has_from_url(j->s, &r, rc, j->from);
	if (!r.summed)
		atomic_store(&j->unsummed, true);
	buf_done(&name);
	azure_req_done(&r);
	return rc;
}

/* --- the list --- */

static void
list_body(const struct job *j, struct buf *b)
{
	unsigned i;

	buf_puts(b, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
	for (i = 0; i < j->n; i++) {
		buf_puts(b, "<Uncommitted>");
		block_name(j, i, b);
		buf_puts(b, "</Uncommitted>");
	}
	buf_puts(b, "</BlockList>");
}

struct looking {
	const struct job *j;
	unsigned	 n;
	bool		 other;		/* a block that is not ours */
};

static int
look_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct looking *l = arg;
	struct buf want = BUF_INIT;

	if (depth != 4 || text == NULL || strcmp(path[3], "Name") != 0 ||
	    strcmp(path[1], "CommittedBlocks") != 0)
		return 0;
	block_name(l->j, l->n++, &want);
	if (strcmp(buf_cstr(&want), text) != 0)
		l->other = true;
	buf_done(&want);
	return 0;
}

/* The list's answer was lost: is the blob there, and this one? */
static enum store_rc
list_look(struct job *j, struct store_call *caller, struct store_info *ret)
{
	struct store_call c = { .deadline = clock_mono() + LOOK_WITHIN,
	    .cancel = caller != NULL ? caller->cancel : NULL };
	struct azure_req r = { .method = "GET", .op = "GET", .key = j->key,
	    .max_body = LIST_BYTES };
	struct looking l = { .j = j };
	enum store_rc rc = STORE_AMBIGUOUS;

	azure_param(&r, "comp", "blocklist");
	azure_param(&r, "blocklisttype", "committed");
	if (azure_do(j->s, &c, &r) == STORE_OK &&
	    xml_parse(r.resp.body.p, r.resp.body.len, look_each, &l) == 0 &&
	    l.n == j->n && !l.other) {
		etag_info(&r.resp, j->size, ret);
		rc = STORE_OK;
	}
	azure_req_done(&r);
	return rc;
}

/* InvalidBlockList: another upload has taken the blocks away. */
static enum store_rc
list_overtaken(struct job *j, struct store_call *c, enum store_cond cond,
    const struct store_version *match)
{
	struct store_info info;
	enum store_rc rc;

	rc = azure_head(&j->s->store, c, j->key, &info);
	if (rc == STORE_OK && cond == STORE_IF_ABSENT)
		return STORE_EXISTS;
	if (rc == STORE_OK && cond == STORE_IF_MATCH &&
	    !etag_is_version(&info, match))
		return STORE_CHANGED;
	if (rc == STORE_ABSENT && cond == STORE_IF_MATCH)
		return STORE_ABSENT;
	return rc == STORE_OK || rc == STORE_ABSENT ? STORE_THROTTLED : rc;
}

static enum store_rc
list_put(struct job *j, struct store_call *c, enum store_cond cond,
    const struct store_version *match, struct store_info *ret)
{
	struct azure_req r = { .method = "PUT", .op = "PUT", .key = j->key,
	    .write = true, .sum = true, .stall = LONG_STALL };
	struct buf body = BUF_INIT;
	struct store_mem mem;
	struct store_src src;
	enum store_rc rc;

	rc = azure_condition(&r, cond, match, call_why(c));
	list_body(j, &body);
	if (rc == STORE_OK && buf_err(&body) != 0)
		rc = STORE_NOMEM;
	if (rc == STORE_OK) {
		mem = (struct store_mem){ body.p, body.len };
		src = store_src_mem(&mem);
		r.src = &src;
		r.len = body.len;
		azure_param(&r, "comp", "blocklist");
		rc = azure_do(j->s, c, &r);
	}
	if (rc == STORE_OK)
		etag_info(&r.resp, j->size, ret);
	else if (strcmp(r.error.code, "InvalidBlockList") == 0)
		rc = list_overtaken(j, c, cond, match);
	else if (rc == STORE_AMBIGUOUS)
		rc = list_look(j, c, ret);
	buf_done(&body);
	azure_req_done(&r);
	return rc;
}

enum store_rc
azure_put_blocks(struct azure *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct azure_source *from,
    struct store_info *ret)
{
	struct job j = { .s = s, .key = key, .src = src, .from = from,
	    .size = src != NULL ? src->size : from->size,
	    .id = random_u64() };
	struct azure_req check = { .key = key };
	struct store_info info = { 0 };
	enum store_rc rc;

	/* Not after a million bytes have gone out. */
	rc = azure_condition(&check, cond, match, call_why(c));
	azure_req_done(&check);
	if (rc != STORE_OK)
		return rc;
	j.n = parts_size(j.size, src != NULL ? s->sizes.part :
	    s->sizes.copy_part, src != NULL ? src->part : 0,
	    AZURE_BLOCKS_MAX, &j.part_size);
	rc = parts_run(s->pool, c, j.n, block_send, &j);
	if (rc == STORE_OK)
		rc = list_put(&j, c, cond, match, &info);
	info.summed = !atomic_load(&j.unsummed);
	if (rc == STORE_OK && ret != NULL)
		*ret = info;
	return rc;
}

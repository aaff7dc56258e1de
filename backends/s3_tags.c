/* s3_tags: GetObjectTagging. */
#include <errno.h>
#include <string.h>

#include "backends/s3.h"
#include "backends/tagset.h"

static enum store_rc
none_there(struct s3 *s, struct store_call *c)
{
	why_set(call_why(c), 0, "bucket '%s' (%s) has no tags of objects",
	    s->bucket, s3_dialect(s)->name);
	return STORE_UNSUPPORTED;
}

enum store_rc
s3_tags(struct store *st, struct store_call *c, const char *key,
    struct buf *ret)
{
	struct s3 *s = (struct s3 *)st;
	struct s3_req r = { .method = "GET", .op = "TAGS", .key = key };
	enum store_rc rc;
	int err;

	rc = s3_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (!s3_dialect(s)->tags)
		return none_there(s, c);
	s3_param(&r, "tagging", "");
	rc = s3_do(s, c, &r);
	/* some say so where there are none */
	if (rc != STORE_OK && strcmp(r.error.code, "NoSuchTagSet") == 0) {
		rc = STORE_OK;
	} else if (rc == STORE_OK) {
		err = tagset_parse(r.resp.body.p, r.resp.body.len, ret);
		if (err == -EBADMSG)
			why_set(call_why(c), 0, "bucket '%s' answers "
			    "GetObjectTagging of '%.200s' with something that "
			    "is not understood", s->bucket, key);
		rc = err == 0 ? STORE_OK : err == -ENOMEM ? STORE_NOMEM :
		    STORE_BROKEN;
	}
	s3_req_done(&r);
	return rc;
}

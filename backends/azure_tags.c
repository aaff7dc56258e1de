/* azure_tags: Get Blob Tags. */
#include <errno.h>

#include "backends/azure.h"
#include "backends/tagset.h"

enum store_rc
azure_tags(struct store *st, struct store_call *c, const char *key,
    struct buf *ret)
{
	struct azure *s = (struct azure *)st;
	struct azure_req r = { .method = "GET", .op = "TAGS", .key = key };
	enum store_rc rc;
	int err;

	rc = azure_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	azure_param(&r, "comp", "tags");
	rc = azure_do(s, c, &r);
	if (rc == STORE_OK) {
		err = tagset_parse(r.resp.body.p, r.resp.body.len, ret);
		if (err == -EBADMSG)
			why_set(call_why(c), 0, "%s answers Get Blob Tags of "
			    "'%.200s' with something that is not understood",
			    s->where, key);
		rc = err == 0 ? STORE_OK : err == -ENOMEM ? STORE_NOMEM :
		    STORE_BROKEN;
	}
	azure_req_done(&r);
	return rc;
}

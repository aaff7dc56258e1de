/* fetch: see fetch.h. */
#include "backends/fetch.h"

#include <stdio.h>

#include "backends/etag.h"

void
fetch_range(const struct fetch *f, char ret[FETCH_RANGE_LEN])
{
	ret[0] = '\0';
	if (f->len != 0)
		snprintf(ret, FETCH_RANGE_LEN, "bytes=%llu-%llu",
		    (unsigned long long)f->off,
		    (unsigned long long)(f->off + f->len - 1));
	else if (f->off != 0)
		snprintf(ret, FETCH_RANGE_LEN, "bytes=%llu-",
		    (unsigned long long)f->off);
}

static enum http_verdict
refuse(struct fetch *f, enum store_rc rc, const char *what)
{
	why_set(f->why, 0, "%s, GET of '%.200s': %s", f->where, f->key, what);
	f->rc = rc;
	return HTTP_REFUSE;
}

enum http_verdict
fetch_accept(void *arg, struct http_resp *resp)
{
	struct fetch *f = arg;
	const char *range = http_resp_header(resp, "content-range");
	unsigned long long first = 0, last, total;
	uint64_t want;

	if (resp->status != 200 && resp->status != 206)
		return HTTP_TO_BODY;
	if (resp->status == 206) {
		if (range == NULL || sscanf(range, "bytes %llu-%llu/%llu",
		    &first, &last, &total) != 3)
			return refuse(f, STORE_BROKEN,
			    "a partial answer without a range");
		/* What some say instead of 416. */
		if (first == total && total > 0 && f->off >= total)
			last = first;
		else if (last < first || last >= total)
			return refuse(f, STORE_BROKEN,
			    "a partial answer without a range");
		f->expected = last - first + 1;
	} else {
		if (!http_resp_u64(resp, "content-length", &f->expected))
			return refuse(f, STORE_BROKEN,
			    "an answer without a length");
		total = f->expected;
	}
	etag_info(resp, total, &f->info);
	if (!etag_is_version(&f->info, f->version))
		return refuse(f, STORE_CHANGED, "it is another version");
	if (f->off > 0 && f->off >= total)
		return refuse(f, STORE_INVALID, "it ends before the range");
	want = total - f->off;
	if (f->len != 0 && f->len < want)
		want = f->len;
	if (first != f->off || f->expected != want)
		return refuse(f, STORE_BROKEN,
		    "not the range that was asked for");
	if (f->ret != NULL)
		*f->ret = f->info;
	return HTTP_TO_SINK;
}

int
fetch_sink(void *arg, const void *p, size_t n)
{
	struct fetch *f = arg;

	if (f->sink(f->arg, p, n) == 0)
		return 0;
	f->rc = STORE_CANCELLED;
	return 1;
}

enum store_rc
fetch_end(struct fetch *f, enum store_rc rc, const struct http_resp *resp)
{
	if (rc == STORE_CANCELLED && f->rc != STORE_OK)
		return f->rc;
	if (rc != STORE_OK)
		return rc;
	if (resp->status != 200 && resp->status != 206) {
		why_set(f->why, 0, "%s, GET of '%.200s': answered %d, which "
		    "has no object", f->where, f->key, resp->status);
		return STORE_BROKEN;
	}
	if (resp->received == f->expected)
		return STORE_OK;
	why_set(f->why, 0, "%s, GET of '%.200s': %llu bytes came, %llu were "
	    "promised", f->where, f->key, (unsigned long long)resp->received,
	    (unsigned long long)f->expected);
	return STORE_BROKEN;
}

enum store_rc
fetch_empty(struct fetch *f)
{
	if (etag_is_version(&f->info, f->version) && f->info.size == 0) {
		if (f->ret != NULL)
			*f->ret = f->info;
		return STORE_OK;
	}
	refuse(f, STORE_CHANGED, "it is another version");
	return STORE_CHANGED;
}

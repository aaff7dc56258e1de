/*
 * s3_error: what an answer that is not 2xx means.
 *
 * The code in the body decides where there is one, else the status.  What
 * the log's correctness hangs on (L2): only a 412 is "answered no".  A 409
 * says that nobody need have won, and 503 or 429 with S3's own code that
 * nothing was done: THROTTLED.  A 5xx to a write, and a 503 from something
 * that is not S3 (a proxy that gave up waiting), leave it open: AMBIGUOUS.
 * A 403 is never read as absent, nor is a 404 that is not S3's own (another
 * server at that address; a user unknown to versitygw).
 */
#include "backends/s3.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/xml.h"
#include "base/clock.h"

static int
error_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct s3_error *e = arg;
	const char *name = path[depth - 1];

	if (strcmp(path[0], "Error") != 0)
		return 1;
	if (depth != 2 || text == NULL)
		return 0;
	if (strcmp(name, "Code") == 0)
		cloud_text(e->code, sizeof e->code, text);
	else if (strcmp(name, "Message") == 0)
		cloud_text(e->message, sizeof e->message, text);
	else if (strcmp(name, "Region") == 0)
		cloud_text(e->region, sizeof e->region, text);
	else if (strcmp(name, "ServerTime") == 0)
		cloud_text(e->server_time, sizeof e->server_time, text);
	return 0;
}

void
s3_error_parse(const struct buf *body, struct s3_error *ret)
{
	const char *p = (const char *)body->p;
	size_t n = body->len;

	memset(ret, 0, sizeof *ret);
	for (; n > 0 && isspace((unsigned char)*p); n--)
		p++;
	if (n > 0 && xml_parse(p, n, error_each, ret) != 0)
		memset(ret, 0, sizeof *ret);
}

bool
s3_error_is(const struct buf *body)
{
	struct s3_error e;

	s3_error_parse(body, &e);
	return e.code[0] != '\0';
}

/* Codes whose meaning the status alone does not give. */
static const struct { const char *code; enum store_rc rc; } codes[] = {
	{ "AccessDenied",		STORE_DENIED },
	{ "AccountProblem",		STORE_DENIED },
	{ "AllAccessDisabled",		STORE_DENIED },
	{ "AuthorizationHeaderMalformed", STORE_DENIED },
	{ "BandwidthLimitExceeded",	STORE_THROTTLED },
	{ "ConditionalRequestConflict",	STORE_THROTTLED },
	/* A folder behind the store: "a" beside "a/b". */
	{ "DirectoryObjectContainsData", STORE_UNSUPPORTED },
	{ "ErrDirectoryNotEmpty",	STORE_UNSUPPORTED },
	{ "ExistingObjectIsDirectory",	STORE_UNSUPPORTED },
	{ "ExpiredToken",		STORE_DENIED },
	{ "ExpiredTokenException",	STORE_DENIED },
	{ "InsufficientStorage",	STORE_NOSPACE },
	{ "InvalidAccessKeyId",		STORE_DENIED },
	{ "InvalidObjectState",		STORE_UNSUPPORTED },
	{ "InvalidToken",		STORE_DENIED },
	{ "InvalidTokenId",		STORE_DENIED },
	{ "NoSuchBucket",		STORE_ABSENT },
	{ "NoSuchKey",			STORE_ABSENT },
	{ "NoSuchUpload",		STORE_BROKEN },
	{ "NotImplemented",		STORE_UNSUPPORTED },
	{ "ObjectParentIsFile",		STORE_UNSUPPORTED },
	{ "OperationAborted",		STORE_THROTTLED },
	{ "QuotaExceeded",		STORE_NOSPACE },
	{ "RequestLimitExceeded",	STORE_THROTTLED },
	{ "RequestTimeTooSkewed",	STORE_DENIED },
	{ "RequestTimeout",		STORE_THROTTLED },
	{ "ServiceUnavailable",		STORE_THROTTLED },
	{ "SignatureDoesNotMatch",	STORE_DENIED },
	{ "SlowDown",			STORE_THROTTLED },
	{ "SlowDownRead",		STORE_THROTTLED },
	{ "SlowDownWrite",		STORE_THROTTLED },
	{ "Throttling",			STORE_THROTTLED },
	{ "ThrottlingException",	STORE_THROTTLED },
	{ "TokenRefreshRequired",	STORE_DENIED },
	{ "TooManyRequests",		STORE_THROTTLED },
	{ "XAdminUserNotFound",		STORE_DENIED },
	{ "XMinioServerNotInitialized",	STORE_THROTTLED },
	{ "XMinioStorageFull",		STORE_NOSPACE },
	/* Corrupt on the way, so refused: nothing was changed, try again. */
	{ "BadDigest",			STORE_THROTTLED },
	{ "IncompleteBody",		STORE_THROTTLED },
	{ "XAmzContentChecksumMismatch", STORE_THROTTLED },
	{ "XAmzContentSHA256Mismatch",	STORE_THROTTLED },
};

static enum store_rc
decide(const struct s3_req *r)
{
	const char *code = r->error.code;
	int status = r->resp.status;
	size_t i;

	if (status == 412 || strcmp(code, "PreconditionFailed") == 0)
		return r->on_412 != STORE_OK ? r->on_412 : STORE_CHANGED;
	for (i = 0; code[0] != '\0' &&
	    i < sizeof codes / sizeof codes[0]; i++) {
		if (strcmp(code, codes[i].code) == 0)
			return codes[i].rc;
	}
	if (status == 429)
		return STORE_THROTTLED;
	if (status == 503)
		return code[0] != '\0' || !r->write ? STORE_THROTTLED :
		    STORE_AMBIGUOUS;
	if (status == 507)
		return STORE_NOSPACE;
	if (status == 501 || status == 405)
		return STORE_UNSUPPORTED;
	if (status >= 500 || (status >= 200 && status < 300))
		return r->write ? STORE_AMBIGUOUS : STORE_BROKEN;
	if (status == 401 || status == 403)
		return STORE_DENIED;
	if (status == 404)
		return strcmp(r->method, "HEAD") == 0 ? STORE_ABSENT :
		    STORE_BROKEN;
	if (status == 409)
		return STORE_THROTTLED;
	if (status >= 400 || status == 301 || status == 307)
		return STORE_INVALID;
	return r->write ? STORE_AMBIGUOUS : STORE_BROKEN;
}

/* The right that an operation needs. */
static const char *
right_for(const char *op)
{
	static const struct { const char *op, *right; } rights[] = {
		{ "LIST",	"s3:ListBucket" },
		{ "PUT",	"s3:PutObject" },
		{ "COPY",	"s3:PutObject on it or s3:GetObject on its "
				"source" },
		{ "DELETE",	"s3:DeleteObject" },
		{ "CreateSession", "s3express:CreateSession" },
		{ "TAGS",	"s3:GetObjectTagging" },
	};
	size_t i;

	for (i = 0; i < sizeof rights / sizeof rights[0]; i++) {
		if (strcmp(op, rights[i].op) == 0)
			return rights[i].right;
	}
	/* Also what a missing key looks like to who may not list. */
	return "s3:GetObject (or, if there is no such object, s3:ListBucket)";
}

/* The way out, after "bucket ... answers ...: ".  id: of the key used. */
static void
advise(const struct s3 *s, const struct s3_req *r, enum store_rc rc,
    const char *id, char *ret, size_t size)
{
	const struct s3_error *e = &r->error;
	const char *region = e->region[0] != '\0' ? e->region :
	    http_resp_header(&r->resp, "x-amz-bucket-region");
	const char *theirs;
	char date[HTTP_DATE_LEN];

	if (strcmp(e->code, "RequestTimeTooSkewed") == 0) {
		http_date_format(clock_real() / NSEC_PER_SEC, date);
		theirs = http_resp_header(&r->resp, "date");
		if (e->server_time[0] != '\0' || theirs == NULL)
			theirs = e->server_time;
		snprintf(ret, size, "this host's clock says %s, the store's "
		    "%.40s: set the clock", date, theirs);
	} else if (region != NULL && strcmp(region, s->region) != 0 &&
	    (rc == STORE_INVALID || rc == STORE_DENIED)) {
		snprintf(ret, size, "it is in the region '%.40s', not '%s': "
		    "put region= in the URL", region, s->region);
	} else if (r->resp.status / 100 == 3) {
		theirs = http_resp_header(&r->resp, "location");
		snprintf(ret, size, "it is elsewhere (%.100s), and no "
		    "redirect is followed: correct endpoint= or region= in "
		    "the URL", theirs != NULL ? theirs : "it does not say "
		    "where");
	} else if (strcmp(e->code, "NoSuchBucket") == 0) {
		snprintf(ret, size, "there is no such bucket; create it, or "
		    "correct the name");
	} else if (strcmp(e->code, "InvalidObjectState") == 0) {
		snprintf(ret, size, "the object is archived and must be "
		    "restored first");
	} else if (strcmp(e->code, "SignatureDoesNotMatch") == 0) {
		snprintf(ret, size, "the secret of the key %.8s... is not "
		    "the right one; correct AWS_SECRET_ACCESS_KEY or the "
		    "profile", id);
	} else if (strcmp(e->code, "InvalidAccessKeyId") == 0 ||
	    strcmp(e->code, "XAdminUserNotFound") == 0) {
		snprintf(ret, size, "the key %.8s... is not known there; "
		    "correct AWS_ACCESS_KEY_ID or the profile", id);
	} else if (r->resp.status == 404 && rc == STORE_BROKEN &&
	    e->code[0] == '\0') {
		snprintf(ret, size, "is there an S3 server at %.100s?",
		    s->base);
	} else if (rc == STORE_DENIED && id[0] == '\0') {
		snprintf(ret, size, "no credentials were found, so the "
		    "request was not signed; set AWS_ACCESS_KEY_ID and "
		    "AWS_SECRET_ACCESS_KEY, or profile= in the URL");
	} else if (rc == STORE_DENIED && (e->code[0] == '\0' ||
	    strcmp(e->code, "AccessDenied") == 0)) {
		snprintf(ret, size, "the key %.8s... lacks %s", id,
		    right_for(r->op));
	} else {
		snprintf(ret, size, "%s", e->message);
	}
}

enum store_rc
s3_error_rc(struct s3 *s, const struct s3_req *r, const char *id,
    struct why *why)
{
	enum store_rc rc = decide(r);
	char advice[400] = "";

	/* of what holds the object alone: store.h */
	if (why == NULL || (rc == STORE_ABSENT &&
	    strcmp(r->error.code, "NoSuchBucket") != 0))
		return rc;
	advise(s, r, rc, id, advice, sizeof advice);
	why_set(why, 0, "bucket '%s' answers %d%s%s to %s%s%.200s%s%s%s",
	    s->bucket, r->resp.status, r->error.code[0] != '\0' ? " " : "",
	    r->error.code, r->op, r->key != NULL ? " of '" : "",
	    r->key != NULL ? r->key : "", r->key != NULL ? "'" : "",
	    advice[0] != '\0' ? ": " : "", advice);
	return rc;
}

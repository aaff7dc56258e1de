/*
 * azure_error: what an answer that is not 2xx means.
 *
 * The code, which the service gives in a header and in the body, decides where
 * there is one, else the status.  What the log's correctness hangs on (L2):
 * "there is one already" is 409 BlobAlreadyExists or 412 ConditionNotMet (the
 * service and the emulator differ), or 403 UnauthorizedBlobOverwrite for a
 * signature that may only create.  503 with the service's code says that
 * nothing was done: THROTTLED.  OperationTimedOut and other 5xx to a write
 * leave it open: AMBIGUOUS.  A 404 without the service's code is not the
 * service's.  CannotVerifyCopySource is of a copy's source, not of this
 * blob: it says that nothing was written, whatever the status.
 */
#include "backends/azure.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/cloud.h"
#include "backends/xml.h"
#include "base/buf.h"
#include "base/clock.h"

/* One line: the rest of a message is the request's id and the time. */
static void
keep(char *to, size_t size, const char *text)
{
	size_t most = strcspn(text, "\r\n") + 1;

	cloud_text(to, most < size ? most : size, text);
}

static int
error_each(void *arg, const char *const *path, unsigned depth,
    const char *text)
{
	struct azure_error *e = arg;
	const char *name = path[depth - 1];

	if (strcmp(path[0], "Error") != 0)
		return 1;
	if (depth != 2 || text == NULL)
		return 0;
	if (strcmp(name, "Code") == 0 && e->code[0] == '\0')
		keep(e->code, sizeof e->code, text);
	else if (strcmp(name, "Message") == 0)
		keep(e->message, sizeof e->message, text);
	return 0;
}

void
azure_error_parse(const struct http_resp *resp, struct azure_error *ret)
{
	const char *code = http_resp_header(resp, "x-ms-error-code");
	const char *p = (const char *)resp->body.p;
	size_t n = resp->body.len;

	memset(ret, 0, sizeof *ret);
	for (; n > 0 && isspace((unsigned char)*p); n--)
		p++;
	if (n > 0 && xml_parse(p, n, error_each, ret) != 0)
		memset(ret, 0, sizeof *ret);
	if (code != NULL)
		keep(ret->code, sizeof ret->code, code);
}

/* Codes whose meaning the status alone does not give. */
static const struct { const char *code; enum store_rc rc; } codes[] = {
	{ "AccountBeingCreated",	STORE_THROTTLED },
	{ "BlobArchived",		STORE_UNSUPPORTED },
	{ "BlobBeingRehydrated",	STORE_UNSUPPORTED },
	{ "BlobImmutableDueToPolicy",	STORE_DENIED },
	{ "BlobNotFound",		STORE_ABSENT },
	{ "ContainerBeingDeleted",	STORE_THROTTLED },
	{ "ContainerDisabled",		STORE_DENIED },
	{ "ContainerNotFound",		STORE_ABSENT },
	/* Corrupt on the way, so refused: nothing was changed, try again. */
	{ "Crc64Mismatch",		STORE_THROTTLED },
	/* A hierarchical namespace: "a" beside "a/b". */
	{ "DirectoryIsNotEmpty",	STORE_UNSUPPORTED },
	{ "FeatureNotSupportedForAccount", STORE_UNSUPPORTED },
	{ "InvalidBlobType",		STORE_UNSUPPORTED },
	{ "LeaseIdMissing",		STORE_DENIED },
	{ "Md5Mismatch",		STORE_THROTTLED },
	{ "NoPendingCopyOperation",	STORE_INVALID },
	{ "PathConflict",		STORE_UNSUPPORTED },
	{ "PendingCopyOperation",	STORE_THROTTLED },
	{ "PublicAccessNotPermitted",	STORE_DENIED },
	{ "ResourceNotFound",		STORE_ABSENT },
	{ "ResourceTypeMismatch",	STORE_UNSUPPORTED },
	{ "ServerBusy",			STORE_THROTTLED },
	{ "SnapshotsPresent",		STORE_UNSUPPORTED },
	{ "TooManyRequests",		STORE_THROTTLED },
};

/* What a refused condition means. */
static enum store_rc
by_condition(const struct azure_req *r)
{
	return r->cond == STORE_IF_ABSENT ? STORE_EXISTS : STORE_CHANGED;
}

static bool
is_code(const struct azure_req *r, const char *code)
{
	return strcmp(r->error.code, code) == 0;
}

/* Of a copy's source: the status is what the source answered, or, where the
 * service cannot get there (a network or an account that lets it not in), 409
 * or 500.  Nothing was written. */
static enum store_rc
by_source(const struct azure_req *r)
{
	switch (r->resp.status) {
	case 404:
		return STORE_ABSENT;
	case 412:
		return STORE_CHANGED;
	case 401:
	case 403:
		return STORE_DENIED;
	case 429:
		return STORE_THROTTLED;
	default:
		return STORE_UNSUPPORTED;
	}
}

static enum store_rc
by_status(const struct azure_req *r)
{
	bool named = r->error.code[0] != '\0';
	int status = r->resp.status;

	if (status == 412)
		return by_condition(r);
	if (status == 429)
		return STORE_THROTTLED;
	if (status == 503)
		return named || !r->write ? STORE_THROTTLED : STORE_AMBIGUOUS;
	if (status == 507)
		return STORE_NOSPACE;
	if (status == 501 || status == 405)
		return STORE_UNSUPPORTED;
	if (status >= 500)
		return r->write ? STORE_AMBIGUOUS : STORE_BROKEN;
	if (status == 401 || status == 403)
		return STORE_DENIED;
	if (status == 404)
		return STORE_BROKEN;
	if (status == 409)
		return named ? STORE_INVALID : STORE_THROTTLED;
	if (status >= 400 || status == 301 || status == 307)
		return STORE_INVALID;
	return r->write ? STORE_AMBIGUOUS : STORE_BROKEN;
}

static enum store_rc
decide(const struct azure_req *r)
{
	size_t i;

	if (is_code(r, "BlobAlreadyExists") || is_code(r, "ConditionNotMet") ||
	    is_code(r, "TargetConditionNotMet"))
		return by_condition(r);
	if (is_code(r, "UnauthorizedBlobOverwrite") ||
	    is_code(r, "BlobImmutableDueToPolicy"))
		return r->cond == STORE_IF_ABSENT ? STORE_EXISTS :
		    STORE_DENIED;
	if (is_code(r, "SourceConditionNotMet"))
		return STORE_CHANGED;
	if (is_code(r, "CannotVerifyCopySource"))
		return by_source(r);
	if (strncmp(r->error.code, "Lease", 5) == 0)
		return STORE_DENIED;
	for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (is_code(r, codes[i].code))
			return codes[i].rc;
	}
	return by_status(r);
}

/* The right that an operation needs: role, and letter of a signature. */
static const char *
right_for(const char *op)
{
	static const struct { const char *op, *right; } rights[] = {
		{ "LIST",	"Storage Blob Data Reader (SAS: sp=l)" },
		{ "TAGS",	"Storage Blob Data Owner (SAS: sp=t)" },
		{ "PUT",	"Storage Blob Data Contributor (SAS: sp=cw)" },
		{ "COPY",	"Storage Blob Data Contributor (SAS: "
				"sp=rcw)" },
		{ "DELETE",	"Storage Blob Data Contributor (SAS: sp=d)" },
	};
	size_t i;

	for (i = 0; i < sizeof rights / sizeof rights[0]; i++) {
		if (strcmp(op, rights[i].op) == 0)
			return rights[i].right;
	}
	return "Storage Blob Data Reader (SAS: sp=r)";
}

static bool
is_auth(const struct azure_req *r)
{
	return is_code(r, "AuthenticationFailed") ||
	    is_code(r, "InvalidAuthenticationInfo") ||
	    is_code(r, "NoAuthenticationInformation");
}

/* Not our clock, by more than the service bears? */
static bool
is_skewed(const struct azure_req *r, const char **rettheirs)
{
	const char *date = http_resp_header(&r->resp, "date");
	int64_t theirs = date != NULL ? http_date_parse(date) : -1;
	int64_t d = theirs - clock_real() / NSEC_PER_SEC;

	*rettheirs = date;
	return theirs >= 0 && (d > 900 || d < -900);
}

/* The way out, after "container ... answers ...: ". */
static void
advise(const struct azure *s, const struct azure_req *r, enum store_rc rc,
    char *ret, size_t size)
{
	const char *source = creds_azure_source(s->creds), *theirs;
	enum azure_auth auth = creds_azure_auth(s->creds);
	char date[HTTP_DATE_LEN];

	if (rc == STORE_DENIED && auth == AZURE_UNSIGNED) {
		snprintf(ret, size, "no credentials were found, so the "
		    "request was not signed: set AZURE_STORAGE_KEY");
	} else if (is_auth(r) && auth == AZURE_KEY &&
	    is_skewed(r, &theirs)) {
		http_date_format(clock_real() / NSEC_PER_SEC, date);
		snprintf(ret, size, "this host's clock says %s, the service's "
		    "%.40s: set the clock", date, theirs);
	} else if (is_auth(r)) {
		snprintf(ret, size, auth == AZURE_SAS ? "the signature by %s "
		    "has expired or is not of this account: make a new one" :
		    auth == AZURE_KEY ? "the key by %s is not this account's "
		    "(any more)" : "the token by %s is refused", source);
	} else if (is_code(r, "KeyBasedAuthenticationNotPermitted")) {
		snprintf(ret, size, "the account takes no keys (by %s): set "
		    "AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret, or use a "
		    "managed identity", source);
	} else if (is_code(r, "ContainerNotFound")) {
		snprintf(ret, size, "there is no such container");
	} else if (is_code(r, "BlobArchived") ||
	    is_code(r, "BlobBeingRehydrated")) {
		snprintf(ret, size, "the blob is archived and must be "
		    "rehydrated first");
	} else if (is_code(r, "AuthorizationFailure")) {
		snprintf(ret, size, "the account's firewall may not let this "
		    "host in, or what %s gives lacks %s", source,
		    right_for(r->op));
	} else if (strncmp(r->error.code, "Authorization", 13) == 0) {
		snprintf(ret, size, "what %s gives lacks %s", source,
		    right_for(r->op));
	} else if (r->resp.status == 404 && rc == STORE_BROKEN) {
		snprintf(ret, size, "is there a Blob service at %.100s?",
		    s->base);
	} else {
		snprintf(ret, size, "%s", r->error.message);
	}
}

enum store_rc
azure_error_rc(struct azure *s, const struct azure_req *r, struct why *why)
{
	enum store_rc rc = decide(r);
	char advice[400] = "";

	/* Of what is absent, only the container is worth a word: who asks for
	 * a blob knows by the words that it is not the blob. */
	if (why == NULL ||
	    (rc == STORE_ABSENT && !is_code(r, "ContainerNotFound")))
		return rc;
	advise(s, r, rc, advice, sizeof advice);
	why_set(why, 0, "%s answers %d%s%s to %s%s%.200s%s%s%s", s->where,
	    r->resp.status, r->error.code[0] != '\0' ? " " : "",
	    r->error.code, r->op, r->key != NULL ? " of '" : "",
	    r->key != NULL ? r->key : "", r->key != NULL ? "'" : "",
	    advice[0] != '\0' ? ": " : "", advice);
	return rc;
}

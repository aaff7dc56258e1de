/*
 * gcs_error: what an answer that is not 2xx means.
 *
 * What the log's correctness hangs on (L2): only a 412 is "answered no".  429
 * says that nothing was done (one write a second to a name; FACTS.md): also on
 * a contested name it is no answer to who won, so THROTTLED.  A 5xx or 408 to
 * a write leaves it open: AMBIGUOUS.  A 404 that is not the service's own JSON
 * is never read as absent (another server at that address), nor is a 403.
 */
#include "backends/gcs.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "backends/cloud.h"

void
gcs_error_parse(const struct buf *body, struct gcs_error *ret)
{
	json_t *o, *e, *first;

	memset(ret, 0, sizeof *ret);
	if (body->len == 0)
		return;
	o = json_loadb((const char *)body->p, body->len, 0, NULL);
	e = json_object_get(o, "error");
	if (json_is_object(e)) {
		first = json_array_get(json_object_get(e, "errors"), 0);
		cloud_text(ret->reason, sizeof ret->reason,
		    json_string_value(json_object_get(first, "reason")));
		cloud_text(ret->message, sizeof ret->message,
		    json_string_value(json_object_get(e, "message")));
		ret->json = true;
	}
	json_decref(o);
}

bool
gcs_is_no_bucket(const struct gcs_error *e)
{
	return strstr(e->message, "bucket does not exist") != NULL;
}

/* Reasons whose meaning the status alone does not give. */
static const struct { const char *reason; enum store_rc rc; } reasons[] = {
	{ "rateLimitExceeded",		STORE_THROTTLED },
	{ "userRateLimitExceeded",	STORE_THROTTLED },
	{ "dailyLimitExceeded",		STORE_THROTTLED },
	{ "dailyLimitExceededUnreg",	STORE_THROTTLED },
	{ "quotaExceeded",		STORE_THROTTLED },
	{ "storageQuotaExceeded",	STORE_NOSPACE },
	{ "retentionPolicyNotMet",	STORE_UNSUPPORTED },
	{ "objectUnderActiveHold",	STORE_UNSUPPORTED },
	{ "accountDisabled",		STORE_DENIED },
	{ "UserProjectMissing",		STORE_DENIED },
};

static enum store_rc
decide(const struct gcs_req *r)
{
	const char *reason = r->error.reason;
	int status = r->resp.status;
	size_t i;

	if (status == 412)
		return r->on_412 != STORE_OK ? r->on_412 : STORE_CHANGED;
	for (i = 0; status < 500 && i < sizeof reasons / sizeof reasons[0];
	    i++) {
		if (strcmp(reason, reasons[i].reason) == 0)
			return reasons[i].rc;
	}
	if (status == 429)
		return STORE_THROTTLED;
	if (status == 501 || status == 405)
		return STORE_UNSUPPORTED;
	if (status >= 500 || status == 408)
		return r->write ? STORE_AMBIGUOUS : status == 503 ||
		    status == 408 ? STORE_THROTTLED : STORE_BROKEN;
	if (status == 401 || status == 403)
		return STORE_DENIED;
	if (status == 404 || status == 410)
		return r->error.json && r->target == NULL ? STORE_ABSENT :
		    STORE_BROKEN;
	if (status == 409)
		return STORE_THROTTLED;
	if (status >= 400 || (status >= 300 && status < 400))
		return STORE_INVALID;
	return r->write ? STORE_AMBIGUOUS : STORE_BROKEN;
}

/* The right that an operation needs. */
static const char *
right_for(const char *op)
{
	static const struct { const char *op, *right; } rights[] = {
		{ "LIST",	"storage.objects.list" },
		{ "PUT",	"storage.objects.create (and, to replace, "
				"storage.objects.delete)" },
		{ "COMPOSE",	"storage.objects.create and "
				"storage.objects.get" },
		{ "COPY",	"storage.objects.create on it or "
				"storage.objects.get on its source" },
		{ "DELETE",	"storage.objects.delete" },
	};
	size_t i;

	for (i = 0; i < sizeof rights / sizeof rights[0]; i++) {
		if (strcmp(op, rights[i].op) == 0)
			return rights[i].right;
	}
	/* Also what a missing key looks like to who may not list. */
	return "storage.objects.get (or, if there is no such object, "
	    "storage.objects.list)";
}

/* The way out, after "bucket ... answers ...: ". */
static void
advise(const struct gcs *s, const struct gcs_req *r, enum store_rc rc,
    char *ret, size_t size)
{
	const struct gcs_error *e = &r->error;
	int status = r->resp.status;

	if (rc == STORE_ABSENT)
		snprintf(ret, size, "there is no such bucket");
	else if (strcmp(e->reason, "UserProjectMissing") == 0)
		snprintf(ret, size, "the bucket makes its readers pay, which "
		    "is not supported: %.200s", e->message);
	else if (status == 404 && rc == STORE_BROKEN && r->target == NULL)
		snprintf(ret, size, "is there a GCS server at %.100s?",
		    s->base);
	else if ((status == 404 || status == 410) && r->target != NULL)
		snprintf(ret, size, "the resumable upload is gone");
	else if (rc == STORE_DENIED && s->creds == NULL)
		snprintf(ret, size, "no credentials were found, so the "
		    "request had none");
	else if (status == 401)
		snprintf(ret, size, "the access token of %.200s is refused, "
		    "and no other is to be had", creds_gcs_who(s->creds));
	else if (rc == STORE_DENIED && status == 403)
		snprintf(ret, size, "%.200s lacks %s",
		    creds_gcs_who(s->creds), right_for(r->op));
	else if (status == 429)
		snprintf(ret, size, "slow down: %.200s", e->message[0] != '\0' ?
		    e->message : "too many requests, or more than one write "
		    "a second to one name");
	else
		snprintf(ret, size, "%s", e->message);
}

enum store_rc
gcs_error_rc(struct gcs *s, const struct gcs_req *r, struct why *why)
{
	enum store_rc rc = decide(r);
	char advice[512] = "";

	/* Of what holds the object alone: store.h. */
	if (why == NULL || (rc == STORE_ABSENT && r->of == GCS_OBJECT &&
	    !gcs_is_no_bucket(&r->error)))
		return rc;
	advise(s, r, rc, advice, sizeof advice);
	why_set(why, 0, "bucket '%s' answers %d%s%s to %s%s%.200s%s%s%s",
	    s->bucket, r->resp.status, r->error.reason[0] != '\0' ? " " : "",
	    r->error.reason, r->op, r->key != NULL ? " of '" : "",
	    r->key != NULL ? r->key : "", r->key != NULL ? "'" : "",
	    advice[0] != '\0' ? ": " : "", advice);
	return rc;
}

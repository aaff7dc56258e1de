/*
 * s3_offer: a presigned URL of an object, for who copies it himself (another
 * cloud's service).  It is signed with the keys at hand: those of a role end
 * with them, however long the URL was to last.
 */
#include "backends/s3.h"

#include <errno.h>
#include <string.h>

#include "backends/sigv4.h"
#include "base/buf.h"
#include "base/clock.h"

#define SECS_MAX	(7 * 24 * 3600)		/* the protocol's */

static enum store_rc
offer_rc(int err)
{
	switch (err) {
	case 0:
		return STORE_OK;
	case -ENOMEM:
		return STORE_NOMEM;
	case -ECANCELED:
		return STORE_CANCELLED;
	case -EHOSTUNREACH:
		return STORE_UNREACHABLE;
	default:
		return STORE_DENIED;
	}
}

enum store_rc
s3_offer(struct store *st, struct store_call *c, const char *key,
    const struct store_version *version, int64_t until, struct buf *ret)
{
	struct s3 *s = (struct s3 *)st;
	struct token_call t = { .deadline = c != NULL ? c->deadline : 0,
	    .cancel = c != NULL ? c->cancel : NULL };
	int64_t now = clock_real(), secs = until - now / NSEC_PER_SEC;
	struct aws_creds creds = { 0 };
	struct buf path = BUF_INIT;
	enum store_rc rc;
	int err = 0;

	rc = s3_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (secs < 1 || secs > SECS_MAX)
		return STORE_INVALID;
	/* A session's keys are gone before a copy need be done. */
	if (s->sessions != NULL)
		return STORE_UNSUPPORTED;
	if (s->creds != NULL)
		err = creds_aws_get(s->creds, &t, &creds, call_why(c));
	buf_puts(&path, s->path);
	buf_puts(&path, "/");
	sigv4_encode(&path, s->prefix, 1);
	sigv4_encode(&path, key, 1);
	if (err == 0)
		err = buf_err(&path);
	if (err == 0) {
		buf_puts(ret, s->base);
		buf_puts(ret, buf_cstr(&path));
		err = buf_err(ret);
	}
	if (err == 0 && s->creds != NULL) {
		struct sigv4 k = { .id = creds.id, .secret = creds.secret,
		    .token = creds.token, .region = s->region,
		    .service = "s3", .now = now };

		buf_puts(ret, "?");
		err = sigv4_presign(&k, s->host, buf_cstr(&path),
		    (unsigned)secs, ret);
	}
	aws_creds_done(&creds);
	buf_done(&path);
	return offer_rc(err);
}

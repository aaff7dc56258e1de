/*
 * gcs_offer: a signed URL of an object ("V4 signing process with Cloud
 * Storage tools"), for who copies it himself (another cloud's service).  Only
 * a service account's key signs; other credentials have none to offer.  The
 * URL names the generation.
 */
#include "backends/gcs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/sigv4.h"
#include "base/clock.h"
#include "base/hash.h"

#define SECS_MAX	(7 * 24 * 3600)		/* the service's */

static void
put_query(struct buf *b, const char *who, const char *scope, const char *date,
    int64_t secs, const char *generation)
{
	buf_puts(b, "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=");
	gcs_encode(b, who);
	gcs_encode(b, "/");
	gcs_encode(b, scope);
	buf_printf(b, "&X-Goog-Date=%s&X-Goog-Expires=%lld"
	    "&X-Goog-SignedHeaders=host", date, (long long)secs);
	if (generation != NULL)
		buf_printf(b, "&generation=%s", generation);
}

/* path?query of a signed URL; -ENOTSUP: nobody can sign. */
static int
signed_target(struct gcs *s, const char *path, int64_t secs,
    const char *generation, struct buf *ret, struct why *why)
{
	struct buf query = BUF_INIT, text = BUF_INIT, sig = BUF_INIT;
	const char *who = creds_gcs_signer(s->creds);
	time_t now = (time_t)(clock_real() / NSEC_PER_SEC);
	char date[32], scope[64], hex[SHA256_HEX];
	uint8_t sum[SHA256_LEN];
	struct tm tm;
	int err;

	if (who == NULL)
		return -ENOTSUP;
	gmtime_r(&now, &tm);
	strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &tm);
	snprintf(scope, sizeof scope, "%.8s/auto/storage/goog4_request", date);
	put_query(&query, who, scope, date, secs, generation);
	buf_puts(&text, "GET\n");
	buf_puts(&text, path);
	buf_printf(&text, "\n%s\nhost:%s\n\nhost\n" SIGV4_UNSIGNED,
	    buf_cstr(&query), strstr(s->base, "://") + 3);
	err = buf_err(&query) != 0 ? buf_err(&query) : buf_err(&text);
	if (err == 0) {
		sha256(text.p, text.len, sum);
		hex_encode(sum, sizeof sum, hex);
		buf_reset(&text);
		buf_printf(&text, "GOOG4-RSA-SHA256\n%s\n%s\n%s", date,
		    scope, hex);
		err = creds_gcs_sign(s->creds, text.p, text.len, &sig, why);
	}
	if (err == 0) {
		buf_puts(ret, path);
		buf_printf(ret, "?%s&X-Goog-Signature=", buf_cstr(&query));
		buf_puts(ret, buf_cstr(&sig));
		err = buf_err(ret);
	}
	buf_done(&query);
	buf_done(&text);
	buf_done(&sig);
	return err;
}

enum store_rc
gcs_offer(struct store *st, struct store_call *c, const char *key,
    const struct store_version *version, int64_t until, struct buf *ret)
{
	struct gcs *s = (struct gcs *)st;
	int64_t secs = until - clock_real() / NSEC_PER_SEC;
	char generation[GCS_GENERATION];
	const char *pin = gcs_generation(version, generation) ? generation :
	    NULL;
	struct buf path = BUF_INIT;
	enum store_rc rc;
	int err;

	rc = gcs_key_check(s, key, call_why(c));
	if (rc != STORE_OK)
		return rc;
	if (secs < 1 || secs > SECS_MAX)
		return STORE_INVALID;
	buf_puts(&path, "/");
	gcs_encode(&path, s->bucket);
	buf_puts(&path, "/");
	sigv4_encode(&path, s->prefix, 1);
	sigv4_encode(&path, key, 1);
	buf_cstr(&path);
	buf_puts(ret, s->base);
	err = buf_err(&path) != 0 ? buf_err(&path) : buf_err(ret);
	if (err == 0 && s->creds != NULL) {
		err = signed_target(s, buf_cstr(&path), secs, pin, ret,
		    call_why(c));
	} else if (err == 0) {
		buf_puts(ret, buf_cstr(&path));
		if (pin != NULL)
			buf_printf(ret, "?generation=%s", pin);
		err = buf_err(ret);
	}
	buf_done(&path);
	return err == 0 ? STORE_OK : err == -ENOMEM ? STORE_NOMEM :
	    STORE_UNSUPPORTED;
}

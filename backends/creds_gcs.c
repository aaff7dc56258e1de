/* creds_gcs: see creds_gcs.h.  Finding them: creds_gcs_find.c. */
#include "backends/creds_gcs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/creds_gcs_impl.h"
#include "backends/creds_jwt.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#define SCOPE		"https://www.googleapis.com/auth/devstorage.read_write"
#define SCOPE_ALL	"https://www.googleapis.com/auth/cloud-platform"
#define JWT_LIFE	3600		/* seconds: the most there is */
#define SKEW_MIN	60		/* seconds that are no skew */

/* --- asking --- */

/* Adds name=value as a form has it. */
static void
form_add(struct buf *b, const char *name, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned char ch;

	buf_printf(b, "%s%s=", b->len > 0 ? "&" : "", name);
	for (; *value != '\0'; value++) {
		ch = (unsigned char)*value;
		if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
		    (ch >= '0' && ch <= '9') || strchr("-_.~", ch) != NULL) {
			buf_put_u8(b, ch);
		} else {
			buf_put_u8(b, '%');
			buf_put_u8(b, (uint8_t)hex[ch >> 4]);
			buf_put_u8(b, (uint8_t)hex[ch & 15]);
		}
	}
}

/* POSTs a form; wipes it. */
static int
ask_form(struct creds_gcs *c, const char *who, struct buf *form,
    const struct token_call *call, struct token *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct token_req r = { .who = who, .method = "POST", .url = c->url,
	    .headers = &h, .body = buf_cstr(form) };
	int err = buf_err(form);

	http_headers_add(&h, "content-type",
	    "application/x-www-form-urlencoded");
	if (err == 0)
		err = token_request(c->http, &r, call, ret, why);
	http_headers_done(&h);
	secret_done(form);
	return err;
}

/* The text of a JSON object, wiped by who takes it; NULL: no memory. */
static char *
json_text(json_t *o)
{
	char *s = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return s;
}

static int
ask_service_once(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	int64_t now = clock_real() / NSEC_PER_SEC + c->skew;
	struct buf jwt = BUF_INIT, form = BUF_INIT;
	json_t *head = json_pack("{s:s,s:s}", "alg", "RS256", "typ", "JWT");
	char *header, *claims;
	int err = -ENOMEM;

	if (head != NULL && c->key_id != NULL)
		json_object_set_new(head, "kid", json_string(c->key_id));
	header = json_text(head);
	claims = json_text(json_pack("{s:s,s:s,s:s,s:I,s:I}",
	    "iss", c->email, "scope", c->impersonate != NULL ? SCOPE_ALL :
	    SCOPE, "aud", c->url,
	    "iat", (json_int_t)now, "exp", (json_int_t)(now + JWT_LIFE)));
	if (header != NULL && claims != NULL)
		err = jwt_sign_rs256(header, claims, c->key, &jwt, why);
	if (err == 0) {
		form_add(&form, "grant_type",
		    "urn:ietf:params:oauth:grant-type:jwt-bearer");
		form_add(&form, "assertion", buf_cstr(&jwt));
		err = ask_form(c, "Google's token server", &form, call, ret,
		    why);
	}
	free(header);
	free(claims);
	secret_done(&jwt);
	return err;
}

/* By how much the issuer's clock is ahead of ours, in seconds; 0 where it does
 * not say. */
static int64_t
issuer_skew(struct creds_gcs *c, const struct token_call *call)
{
	struct http_req r = { .method = "GET", .url = c->url, .stall = 5 };
	struct http_resp resp;
	const char *date;
	int64_t theirs = -1;

	if (call != NULL) {
		r.deadline = call->deadline;
		r.cancel = call->cancel;
	}
	if (r.deadline == 0)
		r.deadline = clock_mono() + 5 * NSEC_PER_SEC;
	if (http_perform(c->http, &r, &resp) == HTTP_ANSWERED) {
		date = http_resp_header(&resp, "date");
		if (date != NULL)
			theirs = http_date_parse(date);
	}
	http_resp_done(&resp);
	return theirs < 0 ? 0 : theirs - clock_real() / NSEC_PER_SEC;
}

/* A JWT that is refused may have been made by a wrong clock. */
static int
ask_service(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct why said = { "" };
	int64_t skew;
	int err;

	err = ask_service_once(c, call, ret, &said);
	if (err == -EACCES) {
		skew = issuer_skew(c, call);
		if (llabs((long long)(skew - c->skew)) >= SKEW_MIN) {
			log_warn("this host's clock is wrong",
			    "seconds=%lld by=%s", -(long long)skew,
			    LOG_Q(c->url));
			c->skew = skew;
			said.text[0] = '\0';
			err = ask_service_once(c, call, ret, &said);
		}
	}
	if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s: %s", c->who, said.text);
	return err;
}

static int
ask_user(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct buf form = BUF_INIT;
	struct why said = { "" };
	int err;

	form_add(&form, "grant_type", "refresh_token");
	form_add(&form, "client_id", c->id);
	form_add(&form, "client_secret", c->secret);
	form_add(&form, "refresh_token", c->refresh);
	err = ask_form(c, "Google's token server", &form, call, ret, &said);
	if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s: %s%s", c->who, said.text,
		    err == -EACCES ? ": log in again by `gcloud auth "
		    "application-default login`" : "");
	return err;
}

/* What the source of the subject token says, as it is; from: for messages. */
static int
read_source(struct creds_gcs *c, const struct token_call *call,
    struct buf *text, const char *from, struct why *why)
{
	struct token_req r = { .who = "the source of the subject token",
	    .method = "GET", .url = c->subject_url,
	    .headers = &c->subject_headers };
	int err;

	if (c->subject_url != NULL)
		return token_request_text(c->subject_http, &r, call, text,
		    why);
	err = secret_read(c->subject_file, SECRET_FILE_MAX, text);
	if (err == 0 || err == -ENOMEM)
		return err;
	return why_set(why, -EINVAL, "the subject token '%s' cannot be read: "
	    "%s", from, strerror(-err));
}

/* The subject token: what its source says, or a field of that. */
static int
read_subject(struct creds_gcs *c, const struct token_call *call,
    struct buf *ret, struct why *why)
{
	const char *from = c->subject_url != NULL ? c->subject_url :
	    c->subject_file;
	struct buf text = BUF_INIT;
	json_t *o = NULL;
	const char *s;
	size_t n;
	int err;

	err = read_source(c, call, &text, from, why);
	if (err != 0)
		goto out;
	s = buf_cstr(&text);
	if (c->subject_field != NULL) {
		o = json_loadb(s, text.len, 0, NULL);
		s = json_string_value(json_object_get(o, c->subject_field));
	}
	n = s != NULL ? strlen(s) : 0;
	while (n > 0 && (unsigned char)s[n - 1] <= ' ')
		n--;
	if (n == 0)
		err = why_set(why, -EINVAL, "there is no subject token in "
		    "'%.*s'%s%s", (int)strcspn(from, "?"), from,
		    c->subject_field != NULL ? " at " : "",
		    c->subject_field != NULL ? c->subject_field : "");
	else
		buf_put(ret, s, n);
out:
	json_decref(o);
	secret_done(&text);
	return err != 0 ? err : buf_err(ret);
}

static int
ask_external(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct buf subject = BUF_INIT, form = BUF_INIT;
	struct why said = { "" };
	int err;

	err = read_subject(c, call, &subject, &said);
	if (err == 0) {
		form_add(&form, "grant_type",
		    "urn:ietf:params:oauth:grant-type:token-exchange");
		form_add(&form, "audience", c->audience);
		form_add(&form, "scope", c->impersonate != NULL ? SCOPE_ALL :
		    SCOPE);
		form_add(&form, "requested_token_type",
		    "urn:ietf:params:oauth:token-type:access_token");
		form_add(&form, "subject_token_type", c->subject_type);
		form_add(&form, "subject_token", buf_cstr(&subject));
		err = ask_form(c, "Google's token exchange", &form, call, ret,
		    &said);
	}
	if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s: %s", c->who, said.text);
	secret_done(&subject);
	return err;
}

static int
ask_metadata(struct creds_gcs *c, const struct token_call *call,
    struct token *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct token_req r = { .who = "the metadata server", .method = "GET",
	    .url = c->url, .headers = &h };
	struct why said = { "" };
	int err;

	http_headers_add(&h, "metadata-flavor", "Google");
	err = token_request(c->http, &r, call, ret, &said);
	http_headers_done(&h);
	if (err == -EHOSTUNREACH)
		why_set(why, err, "no GCS credentials yet: %s; off Google "
		    "Cloud, name a file in GOOGLE_APPLICATION_CREDENTIALS or "
		    "run `gcloud auth application-default login`",
		    why_text(&said, err));
	else if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s", said.text);
	return err;
}

/* For a token of who we are, one of the account that he may act as. */
static int
ask_impersonation(struct creds_gcs *c, const char *own,
    const struct token_call *call, struct token *ret, struct why *why)
{
	struct http_headers h = { 0 };
	struct buf body = BUF_INIT;
	struct why said = { "" };
	struct token_req r = { .who = "Google's IAM", .method = "POST",
	    .url = c->impersonate, .headers = &h };
	int err;

	http_headers_add(&h, "content-type", "application/json");
	http_headers_add(&h, "authorization", "Bearer %s", own);
	buf_printf(&body, "{\"scope\":[\"" SCOPE "\"],\"lifetime\":"
	    "\"3600s\"%s%s}", c->delegates != NULL ? ",\"delegates\":" : "",
	    c->delegates != NULL ? c->delegates : "");
	r.body = buf_cstr(&body);
	err = buf_err(&body);
	if (err == 0)
		err = token_request(c->http, &r, call, ret, &said);
	if (err != 0 && said.text[0] != '\0')
		why_set(why, err, "%s: %s", c->who, said.text);
	http_headers_done(&h);
	buf_done(&body);
	return err;
}

static int
fetch(void *arg, const struct token_call *call, struct token *ret,
    struct why *why)
{
	static int (*const ask[])(struct creds_gcs *,
	    const struct token_call *, struct token *, struct why *) = {
		[SERVICE] = ask_service,
		[USER] = ask_user,
		[EXTERNAL] = ask_external,
		[METADATA] = ask_metadata,
	};
	struct creds_gcs *c = arg;
	struct token own = TOKEN_INIT;
	int err;

	if (c->impersonate == NULL)
		return ask[c->kind](c, call, ret, why);
	err = ask[c->kind](c, call, &own, why);
	if (err == 0)
		err = ask_impersonation(c, own.text, call, ret, why);
	token_done(&own);
	return err;
}

/* --- all of it --- */

int
creds_gcs_open(const struct creds_gcs_opts *o, struct creds_gcs **ret,
    struct why *why)
{
	struct http_opts ho = { .ca = o->ca };
	struct creds_gcs *c = calloc(1, sizeof *c);
	int err;

	if (c == NULL)
		return -ENOMEM;
	err = creds_gcs_find(c, o, why);
	if (err == 0) {
		ho.no_proxy = strncmp(c->url, "http://", 7) == 0;
		err = http_new(&ho, &c->http, why);
	}
	if (err == 0 && c->subject_url != NULL) {
		ho.no_proxy = strncmp(c->subject_url, "http://", 7) == 0;
		err = http_new(&ho, &c->subject_http, why);
	}
	if (err == 0)
		err = token_cache_open("gcs", fetch, c, &c->cache);
	if (err != 0) {
		creds_gcs_close(c);
		return err;
	}
	*ret = c;
	return 0;
}

void
creds_gcs_close(struct creds_gcs *c)
{
	if (c == NULL)
		return;
	token_cache_close(c->cache);
	http_free(c->http);
	http_free(c->subject_http);
	http_headers_done(&c->subject_headers);
	secret_free(&c->who);
	secret_free(&c->url);
	secret_free(&c->email);
	secret_free(&c->key);
	secret_free(&c->key_id);
	secret_free(&c->id);
	secret_free(&c->secret);
	secret_free(&c->refresh);
	secret_free(&c->audience);
	secret_free(&c->subject_type);
	secret_free(&c->subject_file);
	secret_free(&c->subject_url);
	secret_free(&c->subject_field);
	secret_free(&c->impersonate);
	secret_free(&c->delegates);
	free(c);
}

int
creds_gcs_get(struct creds_gcs *c, const struct token_call *call,
    char **rettext, struct why *why)
{
	return token_get(c->cache, call, rettext, why);
}

int
creds_gcs_refused(struct creds_gcs *c, const char *text,
    const struct token_call *call, struct why *why)
{
	return token_refused(c->cache, text, call, why);
}

const char *
creds_gcs_who(const struct creds_gcs *c)
{
	return c->who;
}

const char *
creds_gcs_signer(const struct creds_gcs *c)
{
	return c->kind == SERVICE && c->impersonate == NULL ? c->email : NULL;
}

int
creds_gcs_sign(const struct creds_gcs *c, const void *p, size_t n,
    struct buf *ret, struct why *why)
{
	struct buf sig = BUF_INIT;
	char *hex = NULL;
	int err;

	err = jwt_rs256(p, n, c->key, &sig, why);
	if (err == 0 && (hex = malloc(sig.len * 2 + 1)) == NULL)
		err = -ENOMEM;
	if (err == 0) {
		hex_encode(sig.p, sig.len, hex);
		buf_puts(ret, hex);
		err = buf_err(ret);
	}
	free(hex);
	buf_done(&sig);
	return err;
}

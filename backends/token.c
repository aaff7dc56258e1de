/*
 * token: see token.h.
 *
 * Every fetch runs on a thread of the cache's own, so that a caller's deadline
 * or cancel ends the wait and not the fetch, which others wait for too.
 *
 *	now		text	next get
 *	before early	yes	gives it
 *	early..until	yes	gives it; begins a fetch unless one runs or
 *				the last was a moment ago (again)
 *	after until	yes	waits for a fetch; gives the old one if that
 *				fails, or where `again` is not reached
 *	any		no	waits for a fetch; its error, also until `again`
 */
#include "backends/token.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/store.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/url.h"
#include "base/workers.h"

#define FETCH_WITHIN	(20 * NSEC_PER_SEC)
#define EARLY_MAX	(300 * NSEC_PER_SEC)
#define PAUSE_FIRST	NSEC_PER_SEC
#define PAUSE_LAST	(60 * NSEC_PER_SEC)
#define PAUSE_NONE	(5 * NSEC_PER_SEC)	/* at most, without a token */
#define AFTER_SUCCESS	(10 * NSEC_PER_SEC)
#define REFUSED_AGAIN	(5 * NSEC_PER_SEC)
#define SLICE		(50 * NSEC_PER_MSEC)
#define LIFE_ABSENT	3600			/* s */
#define LIFE_MAX	(366 * 86400)		/* s */

/* Times are CLOCK_BOOTTIME. */
struct token_cache {
	const char	*name;
	token_fetch	*fetch;
	void		*arg;
	struct workers	*pool;		/* one thread */
	_Atomic bool	 closing;

	struct lock	 lock;		/* over what follows */
	struct cond	 done;		/* a fetch has ended */
	bool		 fetching;
	char		*text;		/* NULL: none yet */
	int64_t		 early, until;	/* INT64_MAX: it has no end */
	int64_t		 asked;		/* the last fetch began */
	int64_t		 again;		/* no fetch before */
	int64_t		 pause;		/* after the next failure */
	int		 err;		/* of the last fetch */
	struct why	 why;
};

void
token_text_free(char *text)
{
	if (text != NULL) {
		explicit_bzero(text, strlen(text));
		free(text);
	}
}

void
token_done(struct token *t)
{
	if (t == NULL)
		return;
	token_text_free(t->text);
	*t = (struct token)TOKEN_INIT;
}

int
token_cache_open(const char *name, token_fetch *fetch, void *arg,
    struct token_cache **ret)
{
	struct token_cache *t = calloc(1, sizeof *t);
	int err;

	if (t == NULL)
		return -ENOMEM;
	t->name = name;
	t->fetch = fetch;
	t->arg = arg;
	t->asked = INT64_MIN;
	t->pause = PAUSE_FIRST;
	lock_init(&t->lock, RANK_STORE, "token");
	cond_init(&t->done);
	err = workers_new("gnsfs-token", 1, &t->pool);
	if (err != 0) {
		token_cache_close(t);
		return err;
	}
	*ret = t;
	return 0;
}

void
token_cache_close(struct token_cache *t)
{
	if (t == NULL)
		return;
	atomic_store(&t->closing, true);
	workers_free(t->pool);
	cond_done(&t->done);
	lock_done(&t->lock);
	token_text_free(t->text);
	free(t);
}

/* --- fetching --- */

/* With the lock held: a fetch brought this; takes its text. */
static void
token_came(struct token_cache *t, struct token *got, int64_t asked)
{
	int64_t early = got->life / 4, rest = AFTER_SUCCESS;

	/* One that is soon over (issuers give what they have kept) is
	 * followed by another as soon. */
	if (got->life > 0 && early < rest)
		rest = early > PAUSE_FIRST ? early : PAUSE_FIRST;
	token_text_free(t->text);
	t->text = got->text;
	got->text = NULL;
	t->early = t->until = INT64_MAX;
	if (got->life > 0) {
		t->until = asked + got->life;
		t->early = t->until - (early < EARLY_MAX ? early : EARLY_MAX);
	}
	t->again = clock_boot() + rest;
	t->pause = PAUSE_FIRST;
	t->err = 0;
}

/* With the lock held: it failed. */
static void
token_failed(struct token_cache *t, int err, const struct why *why)
{
	int64_t pause = t->pause;

	if (t->text == NULL && pause > PAUSE_NONE)
		pause = PAUSE_NONE;
	t->again = clock_boot() + pause;
	t->pause = t->pause * 2 < PAUSE_LAST ? t->pause * 2 : PAUSE_LAST;
	t->err = err;
	t->why = *why;
}

static void
token_job(void *arg)
{
	struct token_cache *t = arg;
	struct token_call c = { .cancel = &t->closing,
	    .deadline = clock_mono() + FETCH_WITHIN };
	struct token got = TOKEN_INIT;
	struct why why = { "" };
	int64_t asked = clock_boot();
	bool have;
	int err;

	err = t->fetch(t->arg, &c, &got, &why);
	lock_take(&t->lock);
	have = t->text != NULL;
	if (err == 0)
		token_came(t, &got, asked);
	else
		token_failed(t, err, &why);
	t->fetching = false;
	cond_broadcast(&t->done);
	lock_drop(&t->lock);
	/* Without any, the caller's call fails, and says so itself. */
	if (err != 0 && have && !atomic_load(&t->closing))
		log_warn("token not renewed, the old one is used on",
		    "source=%s why=%s", LOG_Q(t->name),
		    LOG_Q(why_text(&why, err)));
	token_done(&got);
}

/* With the lock held, no fetch under way. */
static int
fetch_begin(struct token_cache *t)
{
	int err;

	t->fetching = true;
	t->asked = clock_boot();
	err = workers_submit(t->pool, WORK_NORMAL, token_job, t);
	if (err != 0)
		t->fetching = false;
	return err;
}

/* With the lock held: waits for the fetch under way.  0, -ECANCELED,
 * -ETIMEDOUT. */
static int
fetch_wait(struct token_cache *t, const struct token_call *c)
{
	int64_t until;

	while (t->fetching) {
		if (c != NULL && c->cancel != NULL && atomic_load(c->cancel))
			return -ECANCELED;
		until = clock_mono() + SLICE;
		if (c != NULL && c->deadline != 0 && c->deadline < until) {
			if (clock_mono() >= c->deadline)
				return -ETIMEDOUT;
			until = c->deadline;
		}
		cond_wait_until(&t->done, &t->lock, until);
	}
	return 0;
}

static int
late(struct token_cache *t, struct why *why)
{
	return why_set(why, -EHOSTUNREACH, "no token came from %s in time",
	    t->name);
}

int
token_get(struct token_cache *t, const struct token_call *c, char **rettext,
    struct why *why)
{
	int64_t now;
	int err = 0;

	lock_take(&t->lock);
	now = clock_boot();
	if ((t->text == NULL || now >= t->early) && !t->fetching &&
	    now >= t->again)
		err = fetch_begin(t);
	if (t->text == NULL || now >= t->until) {
		if (err == 0)
			err = fetch_wait(t, c);
		if (err == 0)
			err = t->err;
	}
	if (t->text != NULL && err != -ECANCELED) {
		*rettext = strdup(t->text);
		err = *rettext != NULL ? 0 : -ENOMEM;
	} else if (err == -ETIMEDOUT) {
		err = late(t, why);
	} else if (err != -ECANCELED) {
		why_set(why, err, "%s", why_text(&t->why, err));
	}
	lock_drop(&t->lock);
	return err;
}

int
token_refused(struct token_cache *t, const char *text,
    const struct token_call *c, struct why *why)
{
	int err = 0;

	lock_take(&t->lock);
	if (t->text != NULL && strcmp(t->text, text) == 0) {
		if (!t->fetching && (t->asked == INT64_MIN ||
		    clock_boot() - t->asked >= REFUSED_AGAIN ||
		    (t->err == 0 && clock_boot() >= t->again)))
			err = fetch_begin(t);
		if (err == 0)
			err = fetch_wait(t, c);
		if (err == 0 && strcmp(t->text, text) == 0)
			err = t->err != 0 ? t->err : -EACCES;
	}
	if (err == -ETIMEDOUT)
		err = late(t, why);
	else if (err != 0 && err != -ECANCELED && t->err != 0)
		why_set(why, err, "%s", why_text(&t->why, err));
	lock_drop(&t->lock);
	return err;
}

/* --- asking an issuer --- */

/* Seconds of a number or of its text; -1: neither. */
static int64_t
json_seconds(const json_t *v)
{
	const char *s = json_string_value(v);
	char *end;
	long long n;

	if (json_is_integer(v))
		return json_integer_value(v);
	if (json_is_real(v) && json_real_value(v) >= 0 &&
	    json_real_value(v) < LIFE_MAX)
		return (int64_t)json_real_value(v);
	if (s == NULL || *s < '0' || *s > '9')
		return -1;
	errno = 0;
	n = strtoll(s, &end, 10);
	return errno == 0 && *end == '\0' ? n : -1;
}

static int64_t
json_life(const json_t *o)
{
	int64_t secs = json_seconds(json_object_get(o, "expires_in"));
	int64_t on = json_seconds(json_object_get(o, "expires_on"));

	/* The time of day, where only that is said: our clock may be wrong. */
	if (secs < 0 && on > 0) {
		secs = on - clock_real() / NSEC_PER_SEC;
		secs = secs < 60 ? 60 : secs < 86400 ? secs : 86400;
	}
	if (secs < 0)
		secs = LIFE_ABSENT;
	if (secs > LIFE_MAX)
		secs = LIFE_MAX;
	return (secs > 0 ? secs : 1) * NSEC_PER_SEC;
}

/* Goes into a header: visible characters only. */
static bool
text_is_good(const char *s)
{
	size_t i;

	for (i = 0; s[i] > ' ' && s[i] < 0x7f; i++)
		;
	return i > 0 && s[i] == '\0';
}

int
token_parse(const void *p, size_t n, struct token *ret)
{
	static const char *const names[] = { "access_token", "accessToken",
	    "token" };
	json_t *o = json_loadb(p, n, 0, NULL);
	const char *text = NULL;
	size_t i;
	int err = -EINVAL;

	for (i = 0; text == NULL && i < sizeof names / sizeof names[0]; i++)
		text = json_string_value(json_object_get(o, names[i]));
	if (text != NULL && text_is_good(text)) {
		ret->text = strdup(text);
		ret->life = json_life(o);
		err = ret->text != NULL ? 0 : -ENOMEM;
	}
	if (text != NULL)
		explicit_bzero((char *)text, strlen(text));
	json_decref(o);
	return err;
}

/* Is the value of a form's field, n bytes of it as it was sent, in said, so or
 * decoded? */
static bool
says_value(const char *said, const char *encoded, const char *value, size_t n)
{
	return n > 0 && (memmem(said, strlen(said), value, n) != NULL ||
	    memmem(encoded, strlen(encoded), value, n) != NULL);
}

/* Does said repeat a secret that was asked with?  Also where there is no
 * memory to see that. */
static bool
says_secret(const char *said, const char *asked)
{
	static const char *const secrets[] = { "client_secret=",
	    "client_assertion=", "refresh_token=", "assertion=",
	    "subject_token=" };
	char *encoded = url_encode(said, 0);
	bool found = encoded == NULL;
	size_t i, n, len;

	for (; asked != NULL && *asked != '\0' && !found; asked += n) {
		asked += *asked == '&';
		n = strcspn(asked, "&");
		for (i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
			len = strlen(secrets[i]);
			found = found || (n > len &&
			    strncmp(asked, secrets[i], len) == 0 &&
			    says_value(said, encoded, asked + len, n - len));
		}
	}
	free(encoded);
	return found;
}

/* What an issuer says of itself: one line, short, and nothing of the secret
 * that it was asked with. */
static void
issuer_says(const struct buf *body, const char *asked, char *ret, size_t size)
{
	json_t *o = json_loadb((const char *)body->p, body->len, 0, NULL);
	json_t *e = json_object_get(o, "error");
	const char *code = json_string_value(e);
	const char *text = json_string_value(json_object_get(o,
	    "error_description"));
	size_t i;

	if (json_is_object(e)) {	/* Google's own form */
		code = json_string_value(json_object_get(e, "status"));
		text = json_string_value(json_object_get(e, "message"));
	}
	if (text != NULL && says_secret(text, asked))
		text = "(what it says has the secret in it)";
	if (code != NULL && says_secret(code, asked))
		code = NULL;
	snprintf(ret, size, "%s%s%s", code != NULL ? code : "",
	    code != NULL && text != NULL ? ": " : "",
	    text != NULL ? text : "");
	for (i = 0; ret[i] != '\0'; i++) {
		if ((unsigned char)ret[i] < ' ')
			ret[i] = ' ';
	}
	json_decref(o);
}

/* Into ret, or as it is into text, whichever is not NULL. */
static int
judge(const struct token_req *r, const struct http_resp *resp,
    struct token *ret, struct buf *text, struct why *why)
{
	char said[300];
	int err;

	if (resp->status >= 200 && resp->status < 300 && text != NULL) {
		buf_put(text, resp->body.p, resp->body.len);
		return buf_err(text);
	}
	if (resp->status >= 200 && resp->status < 300) {
		err = token_parse(resp->body.p, resp->body.len, ret);
		return err != -EINVAL ? err : why_set(why, err, "%s answers "
		    "with something that holds no token", r->who);
	}
	issuer_says(&resp->body, r->body, said, sizeof said);
	err = resp->status == 408 || resp->status == 429 ||
	    resp->status >= 500 ? -EHOSTUNREACH : -EACCES;
	return why_set(why, err, "%s answers %d to a request for a token%s%s",
	    r->who, resp->status, said[0] != '\0' ? ": " : "", said);
}

static int
ask(struct http *h, const struct token_req *r, const struct token_call *c,
    struct token *ret, struct buf *text, struct why *why)
{
	struct store_mem mem = { r->body, r->body != NULL ?
	    strlen(r->body) : 0 };
	struct store_src src = store_src_mem(&mem);
	struct http_req q = { .method = r->method, .url = r->url,
	    .headers = r->headers, .body_len = src.size, .read = src.read,
	    .read_arg = src.arg, .deadline = c != NULL ? c->deadline : 0,
	    .cancel = c != NULL ? c->cancel : NULL };
	struct http_resp resp;
	int err;

	switch (http_perform(h, &q, &resp)) {
	case HTTP_ANSWERED:
		err = judge(r, &resp, ret, text, why);
		break;
	case HTTP_CANCELLED:
		err = -ECANCELED;
		break;
	case HTTP_NOMEM:
		err = -ENOMEM;
		break;
	default:
		err = why_set(why, -EHOSTUNREACH, "%s gives no answer: %s",
		    r->who, resp.error);
		break;
	}
	if (resp.body.p != NULL)
		explicit_bzero(resp.body.p, resp.body.cap);
	http_resp_done(&resp);
	return err;
}

int
token_request(struct http *h, const struct token_req *r,
    const struct token_call *c, struct token *ret, struct why *why)
{
	return ask(h, r, c, ret, NULL, why);
}

int
token_request_text(struct http *h, const struct token_req *r,
    const struct token_call *c, struct buf *ret, struct why *why)
{
	return ask(h, r, c, NULL, ret, why);
}

/*
 * token: a bearer token that somebody issues for a while, kept fresh; and the
 * one request that most issuers are asked by.
 *
 * A cache holds the newest token of one source.  Every get looks whether the
 * token is near its end (a quarter of its life left, at most five minutes);
 * the first that finds it so has it fetched in the background, once for all
 * callers, while they go on with the one there is.  Only who meets no token,
 * or one whose time is over, waits for the fetch.  Where the issuer is away
 * the old token is given on, also beyond its time: clocks differ, and it is
 * the store that says when it is no good any more (token_refused).  A failed
 * fetch is not made again for a second at first, a minute at last (five
 * seconds where there is no token at all); one that brought a token for ten
 * seconds, or a quarter of the token's life where that is less.
 *
 * Lives are told as durations and measured by CLOCK_BOOTTIME, so that a wrong
 * clock on this host ends no token.
 *
 * Tokens are wiped when done with, and appear in no message.
 */
#ifndef BACKENDS_TOKEN_H
#define BACKENDS_TOKEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backends/http.h"
#include "base/why.h"

struct token {
	char	*text;		/* owned; whatever the source gives: opaque */
	int64_t	 life;		/* ns from when it was asked for; 0 = no end */
};

#define TOKEN_INIT	{ 0 }

void	token_done(struct token *t);	/* wipes; NULL accepted */

/* How long somebody waits, and for whom.  NULL or zero: a fetch's own 20 s. */
struct token_call {
	int64_t		 deadline;	/* clock_mono() ns; 0 = none */
	_Atomic bool	*cancel;	/* borrowed; may be NULL */
};

/*
 * Fetches a new token; called from one thread at a time, without locks, and
 * may block until c->deadline.  0; -EACCES (refused: these credentials will
 * not do), -EINVAL (a file or an answer makes no sense), -EHOSTUNREACH (no
 * answer, 5xx, throttled: later perhaps), -ECANCELED, -ENOMEM.  why names the
 * issuer and the way out, and no secret.
 */
typedef int token_fetch(void *arg, const struct token_call *c,
	    struct token *ret, struct why *why);

struct token_cache;

/* name: of the source, for logs; static.  arg is borrowed until the cache is
 * closed.  Nothing is fetched yet.  0, -ENOMEM. */
int	token_cache_open(const char *name, token_fetch *fetch, void *arg,
	    struct token_cache **ret);
/* No call is under way; a fetch in the background is cancelled and waited
 * for.  NULL accepted. */
void	token_cache_close(struct token_cache *t);

/* Any thread.  A copy, new (free it by token_text_free).  0; where there is
 * none: as token_fetch, or -ECANCELED, -EHOSTUNREACH for c's own end. */
int	token_get(struct token_cache *t, const struct token_call *c,
	    char **rettext, struct why *why);
void	token_text_free(char *text);	/* wipes; NULL accepted */

/*
 * A store refused this one (401).  Fetches anew unless another has come
 * already, at most every 5 s (or as token_get).  0: there is another one now,
 * try it.  -EACCES: there is not (the issuer gives the same again, or none);
 * -EHOSTUNREACH: the issuer is away, and why says so; -ECANCELED, -ENOMEM.
 */
int	token_refused(struct token_cache *t, const char *text,
	    const struct token_call *c, struct why *why);

/* --- asking an issuer --- */

struct token_req {
	const char	*who;		/* "the metadata server", in why */
	const char	*method;	/* GET or POST */
	const char	*url;
	const struct http_headers *headers;	/* may be NULL */
	const char	*body;		/* of a POST; NULL: none */
};

/*
 * One request answered by OAuth's JSON: access_token (also token, accessToken)
 * and expires_in (seconds, number or text; absent: an hour).  Errors as
 * token_fetch: 4xx -EACCES with error and error_description in why, but 408,
 * 429 and 5xx -EHOSTUNREACH.  h: a pool of the caller's; secrets in a body
 * are the caller's to wipe.
 */
int	token_request(struct http *h, const struct token_req *r,
	    const struct token_call *c, struct token *ret, struct why *why);

/* The same where the answer is the text itself, which is appended: a secret of
 * another kind, that an issuer is given for a token. */
int	token_request_text(struct http *h, const struct token_req *r,
	    const struct token_call *c, struct buf *ret, struct why *why);

/* A JSON answer of any issuer as token_request reads it; for tests, and for
 * issuers that are asked otherwise.  0, -EINVAL, -ENOMEM. */
int	token_parse(const void *p, size_t n, struct token *ret);

#endif

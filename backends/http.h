/*
 * http: blocking HTTP/1.1 requests.  The one owner of libcurl.
 *
 * A pool keeps idle connections (each a curl handle with its own connection)
 * and shares DNS answers and TLS sessions between them; http_perform() takes
 * the one used last, or makes one.  Any number of threads may call at once.
 *
 * What the caller of a write must know is whether the request can have
 * reached the server, so each way a request can end says it (enum http_end).
 * For the same reason nothing is ever sent twice behind the caller's back:
 * redirects are not followed, and where libcurl would quietly repeat a
 * request whose reused connection died, one with a body ends as HTTP_LOST and
 * one without a body asks for a connection of its own (`fresh`) if repeating
 * it matters.
 *
 * Time: 5 s to connect, `stall` seconds without a byte in either direction,
 * and the caller's deadline; cancel is looked at ten times a second or more.
 *
 * This knows nothing of stores; it counts requests and bytes (base/counters).
 */
#ifndef BACKENDS_HTTP_H
#define BACKENDS_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/why.h"

#define HTTP_HEADERS_MAX	24

/* Headers of a request.  Errors are sticky, as in base/buf.h: -ENOMEM,
 * -EINVAL (a control character in a value), -E2BIG. */
struct http_headers {
	unsigned	 n;
	int		 err;
	struct http_header { char *name, *value; } h[HTTP_HEADERS_MAX];
};

/* name in lower case; static or not, it is copied. */
void	http_headers_add(struct http_headers *h, const char *name,
	    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Wipes and frees those after the first n. */
void	http_headers_cut(struct http_headers *h, unsigned n);
/* The same for one, by its name; the order of the others stays.  Was there
 * one? */
bool	http_headers_drop(struct http_headers *h, const char *name);
/* Wipes and frees what was added; h is empty again. */
void	http_headers_done(struct http_headers *h);

enum http_end {
	HTTP_ANSWERED,		/* a whole answer, whatever its status */
	HTTP_UNSENT,		/* not a byte of the request reached the server:
				   no address, connection, TLS; too late */
	HTTP_LOST,		/* it may have; there is no whole answer */
	HTTP_CANCELLED,		/* *cancel was set; it may have */
	HTTP_STOPPED,		/* accept, sink or source said stop; it may
				   have (a source's error: resp->err) */
	HTTP_NOMEM,		/* UNSENT for want of memory */
};

struct http_resp {
	int		 status;	/* 0: none came */
	struct buf	 headers;	/* name NUL value NUL ...; lower case */
	struct buf	 body;		/* what was not for the sink */
	uint64_t	 received;	/* body bytes in all */
	int		 err;		/* the source's -errno */
	char		 error[256]; /* what libcurl says; "" after an answer */
};

/* Called once, when status and headers are there. */
enum http_verdict {
	HTTP_TO_BODY,		/* into resp->body, at most max_body bytes */
	HTTP_TO_SINK,
	HTTP_REFUSE,		/* end the request: HTTP_STOPPED */
};

struct http_req {
	const char	*method;	/* GET HEAD PUT POST DELETE */
	const char	*url;		/* complete and percent-encoded */
	const struct http_headers *headers;

	/* Body of PUT and POST (which always have one, maybe empty). */
	uint64_t	 body_len;	/* bytes */
	int		(*read)(void *arg, void *buf, size_t n, uint64_t off);
	void		*read_arg;	/* as struct store_src: n or -errno */
	uint64_t	 body_off;	/* of its first byte in the source */
	bool		 expect;	/* ask before sending it (a 412 then
					   comes over one still good) */
	bool		 fresh;		/* not over a reused connection */

	/* Answer.  accept NULL: all into resp->body. */
	enum http_verdict (*accept)(void *arg, struct http_resp *resp);
	int		(*sink)(void *arg, const void *p, size_t n);
	void		*arg;
	size_t		 max_body;	/* bytes; 0 = 64 KiB; more is LOST */

	int64_t		 deadline;	/* clock_mono() ns; 0 = none */
	_Atomic bool	*cancel;	/* borrowed; may be NULL */
	unsigned	 stall;		/* seconds; 0 = 30 */
};

struct http_opts {
	const char	*ca;	/* file of certificates; NULL: system's */
	bool		 no_proxy; /* loopback: whatever the environment says */
};

struct http;			/* a pool */

/* 0, -ENOMEM, -EINVAL (why: the certificates cannot be read). */
int	http_new(const struct http_opts *o, struct http **ret, struct why *why);
/* No request is under way.  NULL accepted. */
void	http_free(struct http *h);

/* ret need not be initialised; http_resp_done() after every end. */
enum http_end http_perform(struct http *h, const struct http_req *r,
	    struct http_resp *ret);
void	http_resp_done(struct http_resp *r);
/* name in lower case; NULL where absent; borrowed from r. */
const char *http_resp_header(const struct http_resp *r, const char *name);
/* Decimal digits only; false where absent or not that. */
bool	http_resp_u64(const struct http_resp *r, const char *name,
	    uint64_t *ret);

/* Seconds since the epoch of a date as HTTP writes it; -1: it is none. */
int64_t	http_date_parse(const char *s);
#define HTTP_DATE_LEN	32
void	http_date_format(int64_t secs, char ret[HTTP_DATE_LEN]);

#endif

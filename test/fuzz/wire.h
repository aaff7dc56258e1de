/*
 * wire: a network whose other side is the fuzzer.  It stands in for
 * http_perform() alone (the linker's --wrap: fuzz.mk), so all that is above
 * it is the program's own: requests, their answers' headers and bodies, what
 * errors mean, parts, tokens.  Nothing is sent.
 *
 * Answers are text, one after the other, apart by a line "%%":
 *
 *	STATUS			a number; "lost", "unsent": none came
 *	NAME: VALUE		headers, any number
 *				an empty line
 *	BODY			to the line "%%"
 *
 * When there are no more, requests are lost and the call is cancelled, so
 * that who polls comes to an end.
 */
#ifndef TEST_FUZZ_WIRE_H
#define TEST_FUZZ_WIRE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/http.h"
#include "backends/layer.h"
#include "base/why.h"
#include "base/workers.h"

#define WIRE_REQUESTS	64	/* more are not answered */

static struct wire {
	pthread_mutex_t	 lock;
	const char	*p, *end;	/* what is not answered yet */
	unsigned	 requests;
	_Atomic bool	 cancel;	/* it is over */
} wire = { .lock = PTHREAD_MUTEX_INITIALIZER };

enum http_end	__wrap_http_perform(struct http *h, const struct http_req *r,
	    struct http_resp *ret);
enum store_rc	__wrap_call_sleep(struct store_call *c, int64_t ns);

static inline void
wire_begin(const void *p, size_t n)
{
	wire.p = p;
	wire.end = wire.p + n;
	wire.requests = 0;
	atomic_store(&wire.cancel, false);
}

/* The next answer: from *ret, so many bytes.  False: there is none. */
static inline bool
wire_next(const char **ret, size_t *retn)
{
	const char *mark;

	if (wire.p >= wire.end || ++wire.requests > WIRE_REQUESTS)
		return false;
	mark = memmem(wire.p, (size_t)(wire.end - wire.p), "\n%%\n", 4);
	*ret = wire.p;
	*retn = (size_t)((mark != NULL ? mark : wire.end) - wire.p);
	wire.p = mark != NULL ? mark + 4 : wire.end;
	return true;
}

/* One line off [*p, end): its length; *p is behind it then. */
static inline size_t
wire_line(const char **p, const char *end)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));
	size_t n = (size_t)((nl != NULL ? nl : end) - *p);

	*p = nl != NULL ? nl + 1 : end;
	return n;
}

/* Headers as http.c keeps them. */
static inline void
wire_header(struct http_resp *resp, const char *p, size_t n)
{
	const char *colon = memchr(p, ':', n), *end = p + n;

	if (colon == NULL || memchr(p, '\0', n) != NULL)
		return;
	for (; p < colon; p++)
		buf_put_u8(&resp->headers, (uint8_t)(*p >= 'A' && *p <= 'Z' ?
		    *p + 32 : *p));
	buf_put_u8(&resp->headers, 0);
	for (p = colon + 1; p < end && (*p == ' ' || *p == '\t'); p++)
		;
	while (end > p && (unsigned char)end[-1] <= ' ')
		end--;
	buf_put(&resp->headers, p, (size_t)(end - p));
	buf_put_u8(&resp->headers, 0);
}

/* The request's body is read to its end, as if it were sent. */
static inline int
wire_read(const struct http_req *r)
{
	char part[256];
	uint64_t off = 0;
	int n;

	while (off < r->body_len) {
		n = r->read(r->read_arg, part, r->body_len - off <
		    sizeof part ? (size_t)(r->body_len - off) : sizeof part,
		    r->body_off + off);
		if (n <= 0)
			return n < 0 ? n : -1;
		off += (uint64_t)n;
	}
	return 0;
}

static inline enum http_end
wire_body(const struct http_req *r, struct http_resp *ret, const char *p,
    size_t n)
{
	enum http_verdict verdict = HTTP_TO_BODY;

	if (r->accept != NULL)
		verdict = r->accept(r->arg, ret);
	if (verdict == HTTP_REFUSE)
		return HTTP_STOPPED;
	if (strcmp(r->method, "HEAD") == 0)
		return HTTP_ANSWERED;
	ret->received = n;
	if (verdict == HTTP_TO_SINK)
		return n > 0 && r->sink(r->arg, p, n) != 0 ? HTTP_STOPPED :
		    HTTP_ANSWERED;
	buf_put(&ret->body, p, n);
	return buf_err(&ret->body) != 0 ? HTTP_LOST : HTTP_ANSWERED;
}

static inline enum http_end
wire_answer(const struct http_req *r, struct http_resp *ret, const char *p,
    size_t n)
{
	const char *end = p + n, *line = p;
	char status[16];
	size_t len;

	len = wire_line(&p, end);
	snprintf(status, sizeof status, "%.*s", (int)(len < 15 ? len : 15),
	    line);
	ret->status = atoi(status);
	if (strcmp(status, "unsent") == 0)
		return HTTP_UNSENT;
	if (wire_read(r) != 0) {
		ret->err = -5;
		return HTTP_STOPPED;
	}
	if (ret->status < 200 || ret->status > 999)
		return HTTP_LOST;
	while (p < end) {
		line = p;
		len = wire_line(&p, end);
		if (len == 0 || (len == 1 && *line == '\r'))
			break;
		wire_header(ret, line, len);
	}
	if (buf_err(&ret->headers) != 0)
		return HTTP_LOST;
	return wire_body(r, ret, p, (size_t)(end - p));
}

enum http_end
__wrap_http_perform(struct http *h, const struct http_req *r,
    struct http_resp *ret)
{
	const char *p = NULL;
	size_t n = 0;
	bool more;

	memset(ret, 0, sizeof *ret);
	ret->headers.max = 64 * 1024;
	ret->body.max = r->max_body != 0 ? r->max_body : 64 * 1024;
	if (r->cancel != NULL && atomic_load(r->cancel))
		return HTTP_CANCELLED;
	if (r->headers != NULL && r->headers->err != 0)
		return HTTP_UNSENT;
	pthread_mutex_lock(&wire.lock);
	more = wire_next(&p, &n);
	pthread_mutex_unlock(&wire.lock);
	if (more)
		return wire_answer(r, ret, p, n);
	atomic_store(&wire.cancel, true);
	return HTTP_LOST;
}

/* Nobody waits. */
enum store_rc
__wrap_call_sleep(struct store_call *c, int64_t ns)
{
	return call_check(c);
}

#endif

/*
 * http: see http.h.
 *
 * Each connection ("line") is a curl easy handle in a multi handle of its
 * own: so it can be waited for in slices, which is how a deadline or a cancel
 * is met within 100 ms whatever curl is waiting for, and its connection stays
 * with it when the handle is reset.  Idle lines are a stack: the warmest goes
 * out first, and those beyond IDLE_MAX are closed.
 */
#include "backends/http.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/lock.h"

enum {
	IDLE_MAX = 64,			/* lines kept for reuse */
	IDLE_AGE = 15,			/* seconds an idle connection is good */
	CONNECT_MS = 5000,
	STALL = 30,			/* seconds */
	SLICE_MS = 100,			/* cancel is looked at this often */
	BUFFER = 512 * 1024,		/* bytes of curl's receive buffer */
	UPLOAD_BUFFER = 256 * 1024,
	HEADERS_LIMIT = 64 * 1024,	/* bytes of an answer's headers */
	BODY_DEFAULT = 64 * 1024,
};

struct line {
	CURL		*easy;
	CURLM		*multi;
	struct line	*next;
};

struct http {
	struct lock	 lock;		/* idle, nidle */
	struct line	*idle;
	unsigned	 nidle;
	CURLSH		*share;		/* DNS, TLS sessions */
	pthread_mutex_t	 share_lock[CURL_LOCK_DATA_LAST]; /* curl's own: held
				for a look-up, inside curl, never across ours */
	char		*ca;
	bool		 no_proxy;
};

/* One request under way; lives on the stack of http_perform(). */
struct run {
	const struct http_req	*req;
	struct http_resp	*resp;
	uint64_t		 sent;		/* body bytes handed to curl */
	enum http_verdict	 verdict;
	bool			 judged;	/* accept was asked */
	bool			 stopped;	/* by accept, sink or source */
	bool			 over;		/* answer beyond its bounds */
	bool			 headed;	/* its head came whole */
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static int global_err;

static void
global_init(void)
{
	struct sigaction old;

	/* TLS writes to a closed socket would end the process. */
	if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		global_err = -ENOMEM;
}

/* --- headers of a request --- */

void
http_headers_add(struct http_headers *h, const char *name, const char *fmt, ...)
{
	char *value = NULL, *copy;
	va_list ap;
	int n;

	if (h->err != 0)
		return;
	if (h->n == HTTP_HEADERS_MAX) {
		h->err = -E2BIG;
		return;
	}
	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	copy = strdup(name);
	if (n < 0 || copy == NULL) {
		if (n >= 0)
			free(value);
		free(copy);
		h->err = -ENOMEM;
		return;
	}
	h->h[h->n].name = copy;
	h->h[h->n].value = value;
	h->n++;
	for (; *value != '\0'; value++) {
		if ((unsigned char)*value < ' ' || *value == 0x7f)
			h->err = -EINVAL;
	}
}

void
http_headers_cut(struct http_headers *h, unsigned n)
{
	while (h->n > n) {
		h->n--;
		explicit_bzero(h->h[h->n].value, strlen(h->h[h->n].value));
		free(h->h[h->n].value);
		free(h->h[h->n].name);
	}
}

bool
http_headers_drop(struct http_headers *h, const char *name)
{
	struct http_header found;
	unsigned i;

	for (i = 0; i < h->n && strcmp(h->h[i].name, name) != 0; i++)
		;
	if (i == h->n)
		return false;
	found = h->h[i];
	for (; i + 1 < h->n; i++)
		h->h[i] = h->h[i + 1];
	h->h[i] = found;
	http_headers_cut(h, i);
	return true;
}

void
http_headers_done(struct http_headers *h)
{
	http_headers_cut(h, 0);
	h->err = 0;
}

static struct curl_slist *
headers_to_curl(const struct http_req *r, int *reterr)
{
	struct curl_slist *list = NULL, *more;
	char *line;
	unsigned i;
	int n;

	*reterr = 0;
	if (!r->expect) {
		list = curl_slist_append(NULL, "Expect:");
		if (list == NULL)
			goto nomem;
	}
	for (i = 0; r->headers != NULL && i < r->headers->n; i++) {
		n = asprintf(&line, "%s: %s", r->headers->h[i].name,
		    r->headers->h[i].value);
		if (n < 0)
			goto nomem;
		more = curl_slist_append(list, line);
		explicit_bzero(line, (size_t)n);
		free(line);
		if (more == NULL)
			goto nomem;
		list = more;
	}
	return list;
nomem:
	curl_slist_free_all(list);
	*reterr = -ENOMEM;
	return NULL;
}

/* --- the pool --- */

static void
share_take(CURL *easy, curl_lock_data data, curl_lock_access access, void *arg)
{
	struct http *h = arg;

	pthread_mutex_lock(&h->share_lock[data]);
}

static void
share_drop(CURL *easy, curl_lock_data data, void *arg)
{
	struct http *h = arg;

	pthread_mutex_unlock(&h->share_lock[data]);
}

int
http_new(const struct http_opts *o, struct http **ret, struct why *why)
{
	struct http *h;
	int i;

	pthread_once(&global_once, global_init);
	if (global_err != 0)
		return global_err;
	if (o->ca != NULL && access(o->ca, R_OK) != 0)
		return why_set(why, -EINVAL,
		    "the certificates '%s' cannot be read: %s (they come from "
		    "ca= or AWS_CA_BUNDLE)", o->ca, strerror(errno));
	h = calloc(1, sizeof *h);
	if (h == NULL)
		return -ENOMEM;
	lock_init(&h->lock, RANK_STORE, "http");
	for (i = 0; i < CURL_LOCK_DATA_LAST; i++)
		pthread_mutex_init(&h->share_lock[i], NULL);
	h->no_proxy = o->no_proxy;
	h->share = curl_share_init();
	if (o->ca != NULL)
		h->ca = strdup(o->ca);
	if (h->share == NULL || (o->ca != NULL && h->ca == NULL)) {
		http_free(h);
		return -ENOMEM;
	}
	curl_share_setopt(h->share, CURLSHOPT_LOCKFUNC, share_take);
	curl_share_setopt(h->share, CURLSHOPT_UNLOCKFUNC, share_drop);
	curl_share_setopt(h->share, CURLSHOPT_USERDATA, h);
	curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(h->share, CURLSHOPT_SHARE,
	    CURL_LOCK_DATA_SSL_SESSION);
	*ret = h;
	return 0;
}

static void
line_free(struct line *l)
{
	if (l == NULL)
		return;
	curl_easy_cleanup(l->easy);
	curl_multi_cleanup(l->multi);
	free(l);
}

static struct line *
line_new(void)
{
	struct line *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->easy = curl_easy_init();
	l->multi = curl_multi_init();
	if (l->easy == NULL || l->multi == NULL) {
		line_free(l);
		return NULL;
	}
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, 1L);
	return l;
}

static struct line *
line_take(struct http *h)
{
	struct line *l;

	lock_take(&h->lock);
	l = h->idle;
	if (l != NULL) {
		h->idle = l->next;
		h->nidle--;
	}
	lock_drop(&h->lock);
	return l != NULL ? l : line_new();
}

static void
line_give(struct http *h, struct line *l)
{
	curl_easy_reset(l->easy);
	lock_take(&h->lock);
	if (h->nidle < IDLE_MAX) {
		l->next = h->idle;
		h->idle = l;
		h->nidle++;
		l = NULL;
	}
	lock_drop(&h->lock);
	line_free(l);
}

void
http_free(struct http *h)
{
	struct line *l;
	int i;

	if (h == NULL)
		return;
	while ((l = h->idle) != NULL) {
		h->idle = l->next;
		line_free(l);
	}
	curl_share_cleanup(h->share);
	for (i = 0; i < CURL_LOCK_DATA_LAST; i++)
		pthread_mutex_destroy(&h->share_lock[i]);
	lock_done(&h->lock);
	free(h->ca);
	free(h);
}

/* --- curl's callbacks --- */

static bool
is_cancelled(const struct http_req *r)
{
	return r->cancel != NULL && atomic_load(r->cancel);
}

static size_t
on_read(char *buf, size_t size, size_t n, void *arg)
{
	struct run *run = arg;
	const struct http_req *r = run->req;
	uint64_t left = r->body_len - run->sent;
	int got;

	n *= size;
	if (n > left)
		n = (size_t)left;
	if (n == 0)
		return 0;
	got = r->read(r->read_arg, buf, n, r->body_off + run->sent);
	if (got <= 0) {
		run->stopped = true;
		run->resp->err = got < 0 ? got : -ENODATA;
		return CURL_READFUNC_ABORT;
	}
	assert((size_t)got <= n);
	run->sent += (uint64_t)got;
	return (size_t)got;
}

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct run *run = arg;

	n *= size;
	if (is_cancelled(run->req))
		return 0;
	run->resp->received += n;
	if (run->verdict == HTTP_TO_SINK) {
		if (run->req->sink(run->req->arg, p, n) != 0) {
			run->stopped = true;
			return 0;
		}
		return n;
	}
	buf_put(&run->resp->body, p, n);
	if (buf_err(&run->resp->body) != 0) {
		run->over = true;
		return 0;
	}
	return n;
}

static void
header_keep(struct http_resp *resp, const char *p, size_t n)
{
	const char *colon = memchr(p, ':', n), *end = p + n;
	char c;

	if (colon == NULL || memchr(p, '\0', n) != NULL)
		return;
	for (; p < colon; p++) {
		c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
		buf_put_u8(&resp->headers, (uint8_t)c);
	}
	buf_put_u8(&resp->headers, 0);
	for (p = colon + 1; p < end && (*p == ' ' || *p == '\t'); p++)
		;
	while (end > p && (unsigned char)end[-1] <= ' ')
		end--;
	buf_put(&resp->headers, p, (size_t)(end - p));
	buf_put_u8(&resp->headers, 0);
}

/* A line of the answer's head; the empty one ends it.  An interim answer
 * (100) begins with a status line of its own, and what came is forgotten. */
static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct run *run = arg;
	struct http_resp *resp = run->resp;

	n *= size;
	if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) {
		const char *space = memchr(p, ' ', n);

		buf_reset(&resp->headers);
		resp->status = 0;
		run->judged = run->headed = false;
		if (space != NULL && p + n - space >= 4)
			resp->status = atoi(space + 1);	/* line ends in \n */
		return n;
	}
	if (n > 0 && (p[0] == '\r' || p[0] == '\n')) {
		run->headed = true;
		if (resp->status < 200 || run->judged ||
		    run->req->accept == NULL)
			return n;
		run->judged = true;
		run->verdict = run->req->accept(run->req->arg, resp);
		if (run->verdict == HTTP_REFUSE) {
			run->stopped = true;
			return 0;
		}
		return n;
	}
	header_keep(resp, p, n);
	if (buf_err(&resp->headers) != 0) {
		run->over = true;
		return 0;
	}
	return n;
}

/* --- a request --- */

static void
setup_method(CURL *e, const struct http_req *r, struct run *run)
{
	if (strcmp(r->method, "HEAD") == 0) {
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	} else if (strcmp(r->method, "PUT") == 0 ||
	    strcmp(r->method, "POST") == 0) {
		/* No seek function: what was sent cannot be sent again. */
		curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
		curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(e, CURLOPT_READDATA, run);
		curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE,
		    (curl_off_t)r->body_len);
	} else if (strcmp(r->method, "GET") != 0) {
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
	}
}

static void
setup(struct http *h, CURL *e, const struct http_req *r, struct run *run,
    struct curl_slist *headers)
{
	unsigned stall = r->stall != 0 ? r->stall : STALL;

	curl_easy_setopt(e, CURLOPT_URL, r->url);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
	setup_method(e, r, run);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, run);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, run);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, run->resp->error);
	curl_easy_setopt(e, CURLOPT_SHARE, h->share);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);	/* keys with "..": */
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(e, CURLOPT_PROTOCOLS,
	    (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (h->ca != NULL)
		curl_easy_setopt(e, CURLOPT_CAINFO, h->ca);
	if (h->no_proxy)
		curl_easy_setopt(e, CURLOPT_PROXY, "");
	if (r->fresh)
		curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "gnsfs");
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)BUFFER);
	curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)IDLE_AGE);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)stall);
}

/* Drives it to its end, the deadline or a cancel.  *retcode is curl's result;
 * CURLE_OPERATION_TIMEDOUT and CURLE_ABORTED_BY_CALLBACK stand for ours. */
static CURLcode
drive(struct line *l, const struct http_req *r)
{
	CURLcode code = CURLE_FAILED_INIT;
	CURLMsg *msg;
	int running = 1, left, slice;
	int64_t until;

	for (;;) {
		if (curl_multi_perform(l->multi, &running) != CURLM_OK)
			return CURLE_FAILED_INIT;
		if (running == 0)
			break;
		slice = SLICE_MS;
		if (r->deadline != 0) {
			until = r->deadline - clock_mono();
			if (until <= 0)
				return CURLE_OPERATION_TIMEDOUT;
			if (until < slice * NSEC_PER_MSEC)
				slice = (int)(until / NSEC_PER_MSEC) + 1;
		}
		if (is_cancelled(r))
			return CURLE_ABORTED_BY_CALLBACK;
		if (curl_multi_poll(l->multi, NULL, 0, slice, NULL) != CURLM_OK)
			return CURLE_FAILED_INIT;
	}
	while ((msg = curl_multi_info_read(l->multi, &left)) != NULL) {
		if (msg->msg == CURLMSG_DONE)
			code = msg->data.result;
	}
	return code;
}

static enum http_end
judge(struct run *run, struct line *l, CURLcode code)
{
	struct http_resp *resp = run->resp;
	long request = 0;

	curl_easy_getinfo(l->easy, CURLINFO_REQUEST_SIZE, &request);
	if (code == CURLE_OK && !run->headed)	/* curl takes half of one */
		code = CURLE_RECV_ERROR;
	if (code == CURLE_OK && resp->status >= 200) {
		resp->error[0] = '\0';
		return HTTP_ANSWERED;
	}
	if (is_cancelled(run->req))
		return HTTP_CANCELLED;
	if (run->stopped)
		return HTTP_STOPPED;
	if (run->over)
		snprintf(resp->error, sizeof resp->error,
		    "the answer is larger than any we know");
	else if (code == CURLE_OPERATION_TIMEDOUT && resp->error[0] == '\0')
		snprintf(resp->error, sizeof resp->error, "out of time %s",
		    request > 0 ? "waiting for the answer" : "connecting");
	else if (resp->error[0] == '\0')
		snprintf(resp->error, sizeof resp->error, "%s",
		    curl_easy_strerror(code));
	if (code == CURLE_OUT_OF_MEMORY && request == 0)
		return HTTP_NOMEM;
	return request > 0 ? HTTP_LOST : HTTP_UNSENT;
}

enum http_end
http_perform(struct http *h, const struct http_req *r, struct http_resp *ret)
{
	struct run run = { .req = r, .resp = ret };
	struct curl_slist *headers;
	struct line *l;
	CURLcode code;
	enum http_end end;
	int err;

	memset(ret, 0, sizeof *ret);
	ret->headers.max = HEADERS_LIMIT;
	ret->body.max = r->max_body != 0 ? r->max_body : BODY_DEFAULT;
	if (is_cancelled(r))
		return HTTP_CANCELLED;
	if (r->deadline != 0 && clock_mono() >= r->deadline) {
		snprintf(ret->error, sizeof ret->error, "out of time");
		return HTTP_UNSENT;
	}
	if (r->headers != NULL && r->headers->err != 0) {
		snprintf(ret->error, sizeof ret->error,
		    "a header cannot be sent: %s", strerror(-r->headers->err));
		return r->headers->err == -ENOMEM ? HTTP_NOMEM : HTTP_UNSENT;
	}
	headers = headers_to_curl(r, &err);
	if (err != 0)
		return HTTP_NOMEM;
	l = line_take(h);
	if (l == NULL) {
		curl_slist_free_all(headers);
		return HTTP_NOMEM;
	}
	setup(h, l->easy, r, &run, headers);
	counter_add(store_requests, 1);
	if (curl_multi_add_handle(l->multi, l->easy) != CURLM_OK) {
		end = HTTP_NOMEM;
	} else {
		code = drive(l, r);
		end = judge(&run, l, code);
		curl_multi_remove_handle(l->multi, l->easy);
	}
	counter_add(store_bytes_in, (int64_t)ret->received);
	counter_add(store_bytes_out, (int64_t)run.sent);
	line_give(h, l);
	curl_slist_free_all(headers);
	return end;
}

/* --- an answer --- */

void
http_resp_done(struct http_resp *r)
{
	buf_done(&r->headers);
	buf_done(&r->body);
}

const char *
http_resp_header(const struct http_resp *r, const char *name)
{
	const char *p = (const char *)r->headers.p, *end, *value;

	if (p == NULL)
		return NULL;
	end = p + r->headers.len;
	while (p < end) {
		value = p + strlen(p) + 1;
		if (strcmp(p, name) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

bool
http_resp_u64(const struct http_resp *r, const char *name, uint64_t *ret)
{
	const char *s = http_resp_header(r, name);
	uint64_t v = 0;

	if (s == NULL || *s == '\0' || strlen(s) > 19)
		return false;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*ret = v;
	return true;
}

int64_t
http_date_parse(const char *s)
{
	time_t t = curl_getdate(s, NULL);

	/* nor one that ns of 64 bits do not hold */
	return t < 0 || t > INT64_MAX / NSEC_PER_SEC ? -1 : (int64_t)t;
}

void
http_date_format(int64_t secs, char ret[HTTP_DATE_LEN])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)secs;
	struct tm tm;

	memset(&tm, 0, sizeof tm);
	gmtime_r(&t, &tm);
	/* The bounds on the year keep it within HTTP_DATE_LEN. */
	snprintf(ret, HTTP_DATE_LEN, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
	    days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 32,
	    months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000,
	    (unsigned)tm.tm_hour % 24, (unsigned)tm.tm_min % 60,
	    (unsigned)tm.tm_sec % 61);
}

/* http_server: a tiny HTTP server in a thread, that answers what a test's
 * function says, and can break off in all the ways a network does. */
#ifndef TEST_HTTP_SERVER_H
#define TEST_HTTP_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "test/unit/store_help.h"

struct request {
	char		 method[16], target[4096];
	char		 head[16384];	/* all of it */
	struct buf	 body;
	int		 nth;		/* from 1, over all connections */
};

enum action { ANSWER, ANSWER_CLOSE, HANG_UP, HANG, RESET_HALF };

struct server {
	int		 fd, port;
	_Atomic int	 requests;
	_Atomic bool	 stop;
	_Atomic int	 live;		/* connections */
	pthread_t	 thread;
	/* Puts a whole answer into out.  RESET_HALF: only half of it goes. */
	enum action	(*answer)(struct request *q, struct buf *out);
	struct store	*s;
	char		 url[256];
};

static struct server server;

static bool
server_more(int fd, char *p, size_t n, size_t *len)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t got;

	for (;;) {
		if (atomic_load(&server.stop))
			return false;
		if (poll(&pfd, 1, 20) == 0)
			continue;
		got = recv(fd, p + *len, n - *len, 0);
		if (got <= 0)
			return false;
		*len += (size_t)got;
		return true;
	}
}

/* One request off a connection.  False at its end. */
static bool
server_read(int fd, struct request *q)
{
	static __thread char in[65536];
	size_t len = 0, want = 0;
	char *end, *cl;

	do {
		if (len == sizeof(in) - 1 ||
		    !server_more(fd, in, sizeof(in) - 1, &len))
			return false;
		in[len] = '\0';
	} while ((end = strstr(in, "\r\n\r\n")) == NULL);
	end += 4;
	memset(q, 0, sizeof(*q));
	snprintf(q->head, sizeof(q->head), "%.*s", (int)(end - in), in);
	sscanf(q->head, "%15s %4095s", q->method, q->target);
	cl = strcasestr(q->head, "\ncontent-length:");
	if (cl != NULL)
		want = strtoul(cl + 16, NULL, 10);
	if (strcasestr(q->head, "100-continue") != NULL &&
	    send(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) < 0)
		return false;
	buf_put(&q->body, end, len - (size_t)(end - in));
	while (q->body.len < want) {
		len = 0;
		if (!server_more(fd, in, sizeof(in), &len))
			return false;
		buf_put(&q->body, in, len);
	}
	buf_cstr(&q->body);
	return true;
}

static void *
server_connection(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct request *q = calloc(1, sizeof(*q));
	enum action a = ANSWER;

	while (a == ANSWER && server_read(fd, q)) {
		struct buf out = BUF_INIT;

		q->nth = atomic_fetch_add(&server.requests, 1) + 1;
		a = server.answer(q, &out);
		if (a == RESET_HALF)
			out.len = out.len / 2;
		if ((a == ANSWER || a == ANSWER_CLOSE || a == RESET_HALF) &&
		    out.len > 0 && send(fd, out.p, out.len,
		    MSG_NOSIGNAL) < 0)
			a = HANG_UP;
		while (a == HANG && !atomic_load(&server.stop))
			usleep(10000);
		buf_done(&out);
		buf_done(&q->body);
	}
	buf_done(&q->body);
	free(q);
	close(fd);
	atomic_fetch_sub(&server.live, 1);
	return NULL;
}

static void *
server_main(void *arg)
{
	struct pollfd pfd = { .fd = server.fd, .events = POLLIN };
	pthread_t t;
	int fd;

	while (!atomic_load(&server.stop)) {
		if (poll(&pfd, 1, 20) == 0)
			continue;
		fd = accept(server.fd, NULL, NULL);
		if (fd < 0)
			continue;
		atomic_fetch_add(&server.live, 1);
		pthread_create(&t, NULL, server_connection,
		    (void *)(intptr_t)fd);
		pthread_detach(t);
	}
	return NULL;
}

/* Starts it, on a free port of loopback. */
static UNUSED void
server_listen(enum action (*answer)(struct request *, struct buf *))
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	sys_init();
	memset(&server, 0, sizeof(server));
	server.answer = answer;
	server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server.fd, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(listen(server.fd, 16), 0);
	getsockname(server.fd, (struct sockaddr *)&sa, &len);
	server.port = ntohs(sa.sin_port);
	pthread_create(&server.thread, NULL, server_main, NULL);
}

static UNUSED void
server_end(void)
{
	store_free(server.s);
	atomic_store(&server.stop, true);
	pthread_join(server.thread, NULL);
	while (atomic_load(&server.live) > 0)
		usleep(1000);
	close(server.fd);
}

static UNUSED enum action
say(struct buf *out, int status, const char *headers, const char *body)
{
	buf_printf(out, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n"
	    "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n%s\r\n%s", status,
	    strlen(body), headers, body);
	return ANSWER;
}

#endif

/*
 * client: one request to a daemon, over its control socket.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/client.h"

/* A socket's path may be longer than sockaddr_un takes: through its folder. */
static int
socket_connect(const char *path, struct why *why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *slash = strrchr(path, '/');
	char *dir = NULL;
	int dfd = -1, fd = -1, rc = 0;

	if (slash == NULL || slash == path)
		return -EINVAL;
	dir = strndup(path, (size_t)(slash - path));
	if (dir == NULL)
		return -ENOMEM;
	dfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = dfd < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || snprintf(sa.sun_path, sizeof sa.sun_path,
	    "/proc/self/fd/%d/%s", dfd, slash + 1) >=
	    (int)sizeof sa.sun_path ||
	    connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0)
		rc = why_set(why, errno == EACCES ? -EACCES : -ENOTCONN,
		    "%s: %s", path, strerror(errno));
	free(dir);
	if (dfd >= 0)
		close(dfd);
	if (rc != 0 && fd >= 0)
		close(fd);
	return rc != 0 ? rc : fd;
}

static int
send_request(int fd, const char *cmd, json_t *args)
{
	json_t *req;
	char *text = NULL;
	size_t n, done;
	ssize_t r;
	int rc = 0;

	req = json_pack("{s:i, s:s, s:o}", "v", 1, "cmd", cmd, "args",
	    args != NULL ? args : json_object());
	if (req != NULL)
		text = json_dumps(req, JSON_COMPACT);
	json_decref(req);
	if (text == NULL)
		return -ENOMEM;
	n = strlen(text);
	text[n++] = '\n';	/* in place of the NUL */
	for (done = 0; rc == 0 && done < n; done += (size_t)r) {
		r = send(fd, text + done, n - done, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			r = 0;
		else if (r < 0)
			rc = -errno;
	}
	free(text);
	return rc;
}

/* 1: that was the last line; *ret is then its result, *reterr its errno. */
static int
take_line(json_t *o, const struct client_fns *fns, json_t **ret, int *reterr,
    struct why *why)
{
	json_t *ok = json_object_get(o, "ok"), *v;
	const char *text;

	if (ok == NULL) {
		v = json_object_get(o, "progress");
		if (v != NULL && fns != NULL && fns->progress != NULL)
			fns->progress(fns->arg, v);
		v = json_object_get(o, "item");
		if (v != NULL && fns != NULL && fns->item != NULL)
			fns->item(fns->arg, v);
		return 0;
	}
	*ret = json_incref(json_object_get(o, "result"));
	*reterr = 0;
	if (!json_is_true(ok)) {
		*reterr = (int)-json_integer_value(json_object_get(o,
		    "errno"));
		if (*reterr >= 0)
			*reterr = -EIO;
		text = json_string_value(json_object_get(o, "error"));
		if (text != NULL)
			why_set(why, *reterr, "%s", text);
	}
	return 1;
}

int
client_call(const struct mount_ref *m, const char *cmd, json_t *args,
    const struct client_fns *fns, json_t **retresult, struct why *why)
{
	json_t *o, *result = NULL;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int fd, rc, last = 0;
	FILE *f = NULL;

	if (retresult != NULL)
		*retresult = NULL;
	if (m->socket == NULL) {
		json_decref(args);
		return why_set(why, -ENOTCONN, "no daemon answers for %s; if "
		    "it died, `gnsfs umount %s` cleans up and mounting again "
		    "goes on where it was", m->dir, m->dir);
	}
	fd = socket_connect(m->socket, why);
	if (fd < 0) {
		json_decref(args);
		return why_prefix(why, fd, fd == -EACCES ? "only who mounted "
		    "%s may do that" : "the daemon of %s does not answer",
		    m->dir);
	}
	rc = send_request(fd, cmd, args);
	f = rc == 0 ? fdopen(fd, "r") : NULL;
	if (f == NULL) {
		close(fd);
		return why_set(why, rc != 0 ? rc : -ENOMEM, "the daemon of "
		    "%s takes no request", m->dir);
	}
	while (rc == 0 && last == 0 && (n = getline(&line, &cap, f)) > 0) {
		o = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
		if (o == NULL)
			break;
		last = take_line(o, fns, &result, &rc, why);
		json_decref(o);
	}
	if (last == 0)
		rc = why_set(why, -ENOTCONN, "the daemon of %s ended before "
		    "it answered", m->dir);
	free(line);
	fclose(f);
	if (retresult != NULL && json_is_object(result))
		*retresult = json_incref(result);
	json_decref(result);
	return rc;
}

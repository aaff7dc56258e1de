/*
 * client: one request to a daemon, over its control socket.
 */
#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/control.h"
#include "tools/client.h"

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
	fd = control_connect(m->socket);
	if (fd < 0) {
		json_decref(args);
		why_set(why, fd, "%s: %s", m->socket, strerror(-fd));
		return why_prefix(why, fd == -EACCES ? fd : -ENOTCONN, fd ==
		    -EACCES ? "only who mounted %s may do that" :
		    "the daemon of %s does not answer", m->dir);
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

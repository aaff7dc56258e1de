/*
 * client: one request to a daemon, over its control socket.
 */
#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/control.h"
#include "tools/client.h"

static int
say_bytes(const char *text, struct why *why)
{
	return why_set(why, -EINVAL, "'%s' is not UTF-8, and nothing else can "
	    "be asked for; of a file its directory can be named", text);
}

int
args_text(json_t *args, const char *key, const char *text, struct why *why)
{
	return json_object_set_new(args, key, json_string(text)) == 0 ? 0 :
	    say_bytes(text, why);
}

int
args_append(json_t *list, const char *text, struct why *why)
{
	return json_array_append_new(list, json_string(text)) == 0 ? 0 :
	    say_bytes(text, why);
}

/* For a daemon to take a request, and for one that needs no store and no walk
 * of the tree to say the first word. */
#define TAKE_TIME	(5 * NSEC_PER_SEC)
#define SILENCE		(30 * NSEC_PER_SEC)

static int64_t
silence_of(const char *cmd)
{
	static const char *const brief[] = { "status", "pins", "imports",
		"explain", "tag", "policy", "stay", NULL };
	unsigned i;

	for (i = 0; brief[i] != NULL; i++)
		if (strcmp(brief[i], cmd) == 0)
			return SILENCE;
	return 0;
}

/* Connected, its answers waited for no longer than that (ns; 0: for ever). */
static int
connect_to(const struct mount_ref *m, int64_t silence, struct why *why)
{
	struct timeval tv = { .tv_sec = silence / NSEC_PER_SEC,
	    .tv_usec = silence % NSEC_PER_SEC / 1000 };
	int fd = control_connect(m->socket, TAKE_TIME);

	if (fd >= 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		return fd;
	}
	if (fd == -EAGAIN)
		return why_set(why, -ETIMEDOUT, "the daemon of %s has taken "
		    "no request for %d s (`gnsfs umount --force` ends one "
		    "that is stopped, or hangs)", m->dir,
		    (int)(TAKE_TIME / NSEC_PER_SEC));
	why_set(why, fd, "%s: %s", m->socket, strerror(-fd));
	return why_prefix(why, fd == -EACCES ? fd : -ENOTCONN, fd == -EACCES ?
	    "only who mounted %s may do that" : "the daemon of %s does not "
	    "answer", m->dir);
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
		if (r < 0 && (errno == EPIPE || errno == ECONNRESET))
			break;		/* why, it may have said */
		if (r < 0 && errno == EINTR)
			r = 0;
		else if (r < 0)
			rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
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

/* The lines of the answer, up to the last; what that says. */
static int
read_answer(FILE *f, const struct mount_ref *m, const struct client_fns *fns,
    int64_t silence, json_t **ret, struct why *why)
{
	char *line = NULL;
	size_t cap = 0;
	int rc = 0, last = 0;
	ssize_t n;
	json_t *o;

	while (last == 0 && (n = getline(&line, &cap, f)) > 0) {
		o = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
		if (o == NULL)
			break;
		last = take_line(o, fns, ret, &rc, why);
		json_decref(o);
	}
	if (last == 0 && ferror(f) && errno == EAGAIN)
		rc = why_set(why, -ETIMEDOUT, "the daemon of %s has said "
		    "nothing for %d s (`gnsfs umount --force` ends one that "
		    "is stopped, or hangs)", m->dir,
		    (int)(silence / NSEC_PER_SEC));
	else if (last == 0)
		rc = why_set(why, -ENOTCONN, "the daemon of %s ended before "
		    "it answered", m->dir);
	free(line);
	return rc;
}

const char *
client_state(const struct mount_ref *m, int rc)
{
	return !m->mounted ? "ending" : rc == -ETIMEDOUT ? "silent" : "dead";
}

int
client_call(const struct mount_ref *m, const char *cmd, json_t *args,
    const struct client_fns *fns, json_t **retresult, struct why *why)
{
	int64_t silence = fns != NULL && fns->silence != 0 ? fns->silence :
	    silence_of(cmd);
	json_t *result = NULL;
	FILE *f = NULL;
	int fd, rc;

	if (retresult != NULL)
		*retresult = NULL;
	if (m->socket == NULL) {
		json_decref(args);
		return why_set(why, -ENOTCONN, "no daemon answers for %s; if "
		    "it died, `gnsfs umount %s` cleans up and mounting again "
		    "goes on where it was", m->dir, m->dir);
	}
	fd = connect_to(m, silence, why);
	if (fd < 0) {
		json_decref(args);
		return fd;
	}
	rc = send_request(fd, cmd, args);
	f = rc == 0 ? fdopen(fd, "r") : NULL;
	if (f == NULL) {
		close(fd);
		return why_set(why, rc != 0 ? rc : -ENOMEM, "the daemon of "
		    "%s takes no request", m->dir);
	}
	rc = read_answer(f, m, fns, silence, &result, why);
	fclose(f);
	if (retresult != NULL && json_is_object(result))
		*retresult = json_incref(result);
	json_decref(result);
	return rc;
}

/*
 * control: the listener and its connections.
 *
 * One thread accepts, one thread serves each connection.  WORKING commands
 * are under way at most, beside those that are brief and must get through
 * (status, unmount, stay); OF_OTHERS connections are of others than the owner,
 * so that they cannot keep those out; more are told so.  A connection has
 * REQUEST_TIME to say what it wants, and its reader SEND_TIME to take each
 * piece of the answer, so that a slow or hostile one costs a thread for a
 * while and nothing else.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/control_impl.h"

#define WORKING		32
#define OF_OTHERS	16	/* for who is not the owner or root */
#define CONNECTIONS	(WORKING + OF_OTHERS + 8)
#define REQUEST_TIME	(10 * NSEC_PER_SEC)
#define SEND_TIME	60			/* s */
#define LAST_WORDS	(2 * NSEC_PER_SEC)
#define OUT_MAX		(64u << 10)		/* bytes kept before sending */

struct conn {
	struct control	*k;
	int		 fd;
	bool		 owner;
	struct conn	*next;
};

struct control {
	struct fs	*f;
	int		 fd;		/* listening */
	int		 wake[2];	/* closed to end the listener */
	pthread_t	 thread;
	char		*path;		/* of the socket */
	char		*registry;	/* the JSON file; NULL: none */
	_Atomic int64_t	 unmount_deadline;
	_Atomic bool	 stopping;
	struct lock	 lock;		/* what follows */
	struct cond	 idle;		/* conns has become empty */
	struct conn	*conns;
	unsigned	 nconns, nothers, nworking;
};

const char *
control_path(struct fs *f)
{
	return f->control != NULL ? f->control->path : "";
}

int64_t
control_unmount_deadline(struct fs *f)
{
	return f->control != NULL ?
	    atomic_load(&f->control->unmount_deadline) : 0;
}

void
ctl_set_unmount(struct fs *f, int64_t deadline)
{
	atomic_store(&f->control->unmount_deadline, deadline);
}

/* --- sending --- */

static int
send_all(int fd, const void *p, size_t n)
{
	const char *s = p;
	ssize_t r;

	while (n > 0) {
		r = send(fd, s, n, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		s += r;
		n -= (size_t)r;
	}
	return 0;
}

static int
spool_write(int fd, const void *p, size_t n)
{
	const char *s = p;
	ssize_t r;

	while (n > 0) {
		r = write(fd, s, n);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0) {
			s += r;
			n -= (size_t)r;
		}
	}
	return 0;
}

static int
out_flush(struct ctl *c)
{
	if (c->broken == 0)
		c->broken = buf_err(&c->out);
	if (c->broken == 0 && c->out.len > 0)
		c->broken = c->spool >= 0 ?
		    spool_write(c->spool, c->out.p, c->out.len) :
		    send_all(c->fd, c->out.p, c->out.len);
	buf_reset(&c->out);
	return c->broken;
}

/* Takes o. */
static int
out_line(struct ctl *c, json_t *o)
{
	char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	if (text == NULL && c->broken == 0)
		c->broken = -ENOMEM;
	if (text != NULL) {
		buf_puts(&c->out, text);
		buf_puts(&c->out, "\n");
	}
	free(text);
	return c->out.len >= OUT_MAX ? out_flush(c) : c->broken;
}

json_t *
ctl_text(const char *s)
{
	json_t *v = json_string(s);
	char *copy, *p;

	if (v != NULL || (copy = strdup(s)) == NULL)
		return v;
	for (p = copy; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	v = json_string(copy);
	free(copy);
	return v;
}

int
ctl_item(struct ctl *c, json_t *o)
{
	return out_line(c, o != NULL ? json_pack("{s:o}", "item", o) : NULL);
}

int
ctl_progress(struct ctl *c, uint64_t have, uint64_t want, uint64_t files)
{
	int64_t now = clock_mono();
	double s = (double)(now - c->began) / 1e9;

	if (now - c->last_progress < NSEC_PER_SEC / 5)
		return c->broken != 0;
	c->last_progress = now;
	out_line(c, json_pack("{s:{s:I, s:I, s:I, s:I}}", "progress",
	    "have", (json_int_t)have, "want", (json_int_t)want,
	    "files", (json_int_t)files,
	    "rate", (json_int_t)(s > 0.2 ? (double)have / s : 0)));
	return out_flush(c) != 0 || ctl_cancelled(c);
}

bool
ctl_cancelled(struct ctl *c)
{
	struct pollfd p = { .fd = c->fd };

	if (atomic_load(&c->f->control->stopping))
		return true;
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

int
ctl_spool_begin(struct ctl *c)
{
	int rc = out_flush(c);

	if (rc != 0)
		return rc;
	c->spool = open(c->f->state_dir, O_TMPFILE | O_RDWR | O_CLOEXEC,
	    0600);
	return c->spool >= 0 ? 0 : why_set(&c->why, -errno, "%s: no room for "
	    "a temporary file: %s", c->f->state_dir, strerror(errno));
}

int
ctl_spool_end(struct ctl *c)
{
	char *p = NULL;
	int rc, fd;
	off_t off = 0;
	ssize_t n;

	rc = out_flush(c);
	fd = c->spool;
	c->spool = -1;
	if (rc == 0 && (p = malloc(OUT_MAX)) == NULL)
		rc = -ENOMEM;
	while (rc == 0 && (n = pread(fd, p, OUT_MAX, off)) != 0) {
		if (n < 0) {
			rc = -errno;
		} else {
			rc = send_all(c->fd, p, (size_t)n);
			off += n;
		}
	}
	free(p);
	if (fd >= 0)
		close(fd);
	if (rc != 0 && c->broken == 0)
		c->broken = rc;
	return rc;
}

/* --- one request --- */

int
ctl_parse(const char *p, size_t n, json_t **retroot, const char **retcmd,
    const json_t **retargs, struct why *why)
{
	json_t *root, *args;
	json_error_t err;
	const char *cmd;
	int rc = 0;

	root = json_loadb(p, n, JSON_REJECT_DUPLICATES, &err);
	if (root == NULL)
		return why_set(why, -EINVAL, "the request is not JSON: %s",
		    err.text);
	cmd = json_string_value(json_object_get(root, "cmd"));
	args = json_object_get(root, "args");
	if (cmd == NULL || (args != NULL && !json_is_object(args)))
		rc = why_set(why, -EINVAL, "a request is "
		    "{\"v\":1,\"cmd\":\"...\",\"args\":{...}}");
	else if (json_integer_value(json_object_get(root, "v")) != 1)
		rc = why_set(why, -EPROTONOSUPPORT, "this daemon speaks "
		    "version 1 of the control protocol");
	else if (args == NULL && json_object_set_new(root, "args",
	    json_object()) != 0)
		rc = -ENOMEM;
	if (rc != 0) {
		json_decref(root);
		return rc;
	}
	*retroot = root;
	*retcmd = cmd;
	*retargs = json_object_get(root, "args");
	return 0;
}

/* One line, without its newline; *ret is the caller's. */
static int
read_request(int fd, struct buf *ret)
{
	int64_t deadline = clock_mono() + REQUEST_TIME, left;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char *s, *nl;
	ssize_t n;

	ret->max = CONTROL_REQUEST_MAX + 4096;
	for (;;) {
		left = deadline - clock_mono();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)(left / NSEC_PER_MSEC) + 1) <= 0)
			continue;
		s = buf_grow(ret, 4096);
		if (s == NULL)
			return buf_err(ret);
		n = recv(fd, s, 4096, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		nl = memchr(s, '\n', (size_t)n);
		ret->len += nl != NULL ? (size_t)(nl - s) : (size_t)n;
		if (nl != NULL)
			return 0;
		if (ret->len > CONTROL_REQUEST_MAX)
			return -EFBIG;
	}
}

/* Who asks, from the kernel. */
static int
read_peer(struct ctl *c)
{
	struct ucred cred;
	socklen_t n = sizeof cred;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0)
		return -errno;
	c->uid = cred.uid;
	c->gid = cred.gid;
	c->owner = cred.uid == 0 || cred.uid == geteuid();
	n = 0;
	if (c->owner || getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, NULL,
	    &n) == 0 || errno != ERANGE)
		return 0;
	c->groups = malloc(n);
	if (c->groups == NULL)
		return -ENOMEM;
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, c->groups, &n) == 0)
		c->ngroups = n / sizeof(gid_t);
	return 0;
}

/* One more command that may take long; false: there are enough. */
static bool
work_begins(struct control *k)
{
	bool ok;

	lock_take(&k->lock);
	ok = k->nworking < WORKING;
	k->nworking += ok;
	lock_drop(&k->lock);
	return ok;
}

static void
work_ends(struct control *k)
{
	lock_take(&k->lock);
	k->nworking--;
	lock_drop(&k->lock);
}

static int
dispatch(struct ctl *c, const char *name)
{
	struct control *k = c->f->control;
	const struct ctl_cmd *cmd;
	int rc;

	for (cmd = ctl_cmds; cmd->name != NULL; cmd++)
		if (strcmp(cmd->name, name) == 0)
			break;
	if (cmd->name == NULL)
		return why_set(&c->why, -EINVAL, "this daemon knows no "
		    "command '%s'; it may be older than the gnsfs that asks",
		    name);
	if (!cmd->others && !c->owner)
		return why_set(&c->why, -EPERM, "only root and who mounted "
		    "%s may use '%s'", c->f->opt.dir, name);
	log_debug("control", "cmd=%s uid=%u", name, (unsigned)c->uid);
	if (cmd->always)
		return cmd->run(c);
	if (!work_begins(k))
		return why_set(&c->why, -EBUSY, "%d commands are under way on "
		    "%s, and no more at a time: wait for one of them, or "
		    "interrupt it", WORKING, c->f->opt.dir);
	rc = cmd->run(c);
	work_ends(k);
	return rc;
}

static void
answer(struct ctl *c, int rc)
{
	if (rc >= 0)
		out_line(c, json_pack("{s:b, s:O}", "ok", 1, "result",
		    c->result));
	else
		out_line(c, json_pack("{s:b, s:i, s:s, s:O}", "ok", 0,
		    "errno", -rc, "error", why_text(&c->why, rc), "result",
		    c->result));
	out_flush(c);
}

void
ctl_serve(struct fs *f, int fd)
{
	struct timeval tv = { .tv_sec = SEND_TIME };
	struct ctl c = { .f = f, .fd = fd, .spool = -1 };
	struct buf line = BUF_INIT;
	const char *cmd = NULL;
	json_t *root = NULL;
	int rc;

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
	c.began = clock_mono();
	c.result = json_object();
	if (c.result == NULL || read_request(fd, &line) != 0)
		goto out;
	rc = read_peer(&c);
	if (rc == 0)
		rc = ctl_parse((const char *)line.p, line.len, &root, &cmd,
		    &c.args, &c.why);
	if (rc == 0)
		rc = dispatch(&c, cmd);
	if (c.spool >= 0) {
		close(c.spool);
		c.spool = -1;
		buf_reset(&c.out);
	}
	answer(&c, rc);
out:
	json_decref(root);
	json_decref(c.result);
	buf_done(&line);
	buf_done(&c.out);
	free(c.groups);
	free(c.seen_dir);
}

/* --- threads --- */

static void *
conn_main(void *arg)
{
	struct conn *n = arg, **p;
	struct control *k = n->k;

	pthread_setname_np(pthread_self(), "gnsfs-control");
	ctl_serve(k->f, n->fd);
	lock_take(&k->lock);
	for (p = &k->conns; *p != n; p = &(*p)->next)
		;
	*p = n->next;
	k->nconns--;
	k->nothers -= !n->owner;
	close(n->fd);
	if (k->conns == NULL)
		cond_broadcast(&k->idle);
	lock_drop(&k->lock);
	free(n);
	return NULL;
}

static bool
peer_is_owner(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof cred;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 &&
	    (cred.uid == 0 || cred.uid == geteuid());
}

/* Never waits; the connection is closed after it. */
static void
turn_away(int fd)
{
	char line[128];
	int n;

	log_debug("control: too many connections", "most=%d", CONNECTIONS);
	n = snprintf(line, sizeof line, "{\"ok\":false,\"errno\":%d,\"error\":"
	    "\"the daemon has too many connections; try again\"}\n", EBUSY);
	(void)send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Takes fd. */
static void
conn_new(struct control *k, int fd)
{
	pthread_attr_t attr;
	struct conn *n;
	pthread_t t;
	bool full;

	n = calloc(1, sizeof *n);
	if (n == NULL) {
		close(fd);
		return;
	}
	n->k = k;
	n->fd = fd;
	n->owner = peer_is_owner(fd);
	lock_take(&k->lock);
	full = k->nconns >= CONNECTIONS ||
	    (!n->owner && k->nothers >= OF_OTHERS);
	if (!full) {
		k->nothers += !n->owner;
		n->next = k->conns;
		k->conns = n;
		k->nconns++;
	}
	lock_drop(&k->lock);
	if (full) {
		turn_away(fd);
		close(fd);
		free(n);
		return;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, conn_main, n) != 0)
		conn_main(n);	/* served here, then */
	pthread_attr_destroy(&attr);
}

static void *
listener_main(void *arg)
{
	struct control *k = arg;
	struct pollfd p[2] = {
		{ .fd = k->fd, .events = POLLIN },
		{ .fd = k->wake[0], .events = POLLIN },
	};
	int fd;

	pthread_setname_np(pthread_self(), "gnsfs-listen");
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (atomic_load(&k->stopping))
			break;
		if ((p[0].revents & POLLIN) == 0)
			continue;
		fd = accept4(k->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			conn_new(k, fd);
		else if (errno == EMFILE || errno == ENFILE) {
			cache_mind_fds(k->f->cache);
			clock_sleep(NSEC_PER_SEC / 10);
		}
	}
	return NULL;
}

/* --- the socket --- */

/* Binds through the folder's descriptor: a path may be longer than
 * sockaddr_un takes. */
static int
bind_socket(struct control *k, const char *dir, const char *name, mode_t mode,
    struct why *why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int dfd, rc = 0;

	dfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	k->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	if (dfd < 0 || k->fd < 0)
		rc = -errno;
	if (rc == 0 && asprintf(&k->path, "%s/%s", dir, name) < 0) {
		k->path = NULL;
		rc = -ENOMEM;
	}
	if (rc == 0) {
		(void)unlinkat(dfd, name, 0);
		snprintf(sa.sun_path, sizeof sa.sun_path,
		    "/proc/self/fd/%d/%s", dfd, name);
		if (bind(k->fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
		    fchmodat(dfd, name, mode, 0) != 0 ||
		    listen(k->fd, CONNECTIONS) != 0)
			rc = -errno;
	}
	if (dfd >= 0)
		close(dfd);
	return rc == 0 ? 0 : why_set(why, rc, "control socket %s/%s: %s", dir,
	    name, strerror(-rc));
}

static void
control_free(struct control *k)
{
	if (k == NULL)
		return;
	if (k->fd >= 0)
		close(k->fd);
	if (k->wake[0] >= 0)
		close(k->wake[0]);
	if (k->wake[1] >= 0)
		close(k->wake[1]);
	if (k->path != NULL)
		(void)unlink(k->path);
	if (k->registry != NULL)
		(void)unlink(k->registry);
	cond_done(&k->idle);
	lock_done(&k->lock);
	free(k->path);
	free(k->registry);
	free(k);
}

int
control_start(struct fs *f, struct why *why)
{
	char rundir[PATH_MAX], name[32] = "control.sock";
	struct control *k;
	bool shared;
	int rc, has_rundir;

	k = calloc(1, sizeof *k);
	if (k == NULL)
		return -ENOMEM;
	k->f = f;
	k->fd = k->wake[0] = k->wake[1] = -1;
	lock_init(&k->lock, RANK_WORKERS, "control");
	cond_init(&k->idle);
	has_rundir = registry_dir(rundir, sizeof rundir);
	shared = f->opt.allow_other && has_rundir == 0;
	if (shared)
		snprintf(name, sizeof name, "%d.sock", (int)getpid());
	rc = bind_socket(k, shared ? rundir : f->state_dir, name,
	    shared ? 0666 : 0600, why);
	if (rc == 0 && pipe2(k->wake, O_CLOEXEC) != 0)
		rc = -errno;
	f->control = k;
	if (rc == 0)
		rc = -pthread_create(&k->thread, NULL, listener_main, k);
	if (rc != 0) {
		f->control = NULL;
		control_free(k);
		return why_set(why, rc, "control socket: %s", strerror(-rc));
	}
	if (has_rundir == 0)
		registry_sweep(rundir);
	/* Without a registry the xattr still leads to the socket. */
	rc = has_rundir != 0 ? has_rundir : registry_write(f, rundir, k->path,
	    &k->registry);
	if (rc != 0)
		log_warn("mount is not in the registry", "dir=%s why=%s",
		    LOG_Q(rundir), LOG_Q(strerror(-rc)));
	return 0;
}

void
control_stop(struct fs *f)
{
	int64_t deadline = clock_mono() + LAST_WORDS;
	struct control *k = f->control;
	struct conn *n;
	ssize_t r;
	int rc = 0;

	if (k == NULL)
		return;
	atomic_store(&k->stopping, true);
	pins_stop_fills(f);	/* who waits for one is in conns */
	r = write(k->wake[1], "", 1);
	(void)r;
	pthread_join(k->thread, NULL);
	lock_take(&k->lock);
	/* Time to answer what was asked; a reader that does not read is cut
	 * off after it. */
	while (k->conns != NULL && rc == 0)
		rc = cond_wait_until(&k->idle, &k->lock, deadline);
	for (n = k->conns; n != NULL; n = n->next)
		shutdown(n->fd, SHUT_RDWR);
	while (k->conns != NULL)
		cond_wait(&k->idle, &k->lock);
	lock_drop(&k->lock);
	f->control = NULL;
	control_free(k);
}

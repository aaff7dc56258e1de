/*
 * gnsfs mount, and mount.gnsfs: start the daemon of a mount.
 *
 * The parent checks what can be checked, forks, and waits on a pipe for one
 * message: the tree is usable, or the sentence that says why not.  The child
 * is the daemon: nothing is executed anew, so its arguments stay
 * `gnsfs mount URL DIR ...`, by which it is known in ps and to mount(8).
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/control.h"
#include "fs/fuse_main.h"
#include "fs/stores.h"
#include "tools/client.h"
#include "tools/mount.h"
#include "tools/output.h"
#include "tools/unmount.h"

/* How long an unmount that nobody gave a bound may flush. */
#define FLUSH_BOUND	(30 * NSEC_PER_SEC)
/* What the child sends when it could not: this, then the sentence. */
#define FAILED_MARK	'!'

/* --- as mount(8) calls it --- */

int
mount_helper(int argc, char **argv)
{
	/* gnsfs mount URL DIR -o ..., each as it came */
	char **args = calloc((size_t)argc * 2 + 5, sizeof *args);
	bool fake = false;
	int ch, n = 4, rc = EXIT_MISUSED;

	if (args == NULL)
		return tool_failed(-ENOMEM, NULL);
	while ((ch = getopt(argc, argv, "sfnvN:o:t:")) != -1) {
		if (ch == 'f')
			fake = true;
		if (ch == '?')
			goto out;
		if (ch == 'o') {
			args[n++] = "-o";
			args[n++] = optarg;
		}
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: mount.gnsfs URL DIR [-o OPTIONS]\n");
		goto out;
	}
	rc = EXIT_DONE;
	if (fake)
		goto out;
	args[0] = "gnsfs";
	args[1] = "mount";
	args[2] = argv[optind];
	args[3] = argv[optind + 1];
	execv("/proc/self/exe", args);
	fprintf(stderr, "mount.gnsfs: /proc/self/exe: %s\n", strerror(errno));
	rc = EXIT_FAILED;
out:
	free(args);
	return rc;
}

/* --- the daemon --- */

static void
daemon_limits(const struct fs_options *o)
{
	struct rlimit rl;
	ssize_t n;
	int fd;

	umask(077);
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max < 1048576 ? rl.rlim_max : 1048576;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
	if (geteuid() == 0) {
		fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
		if (fd >= 0) {
			n = write(fd, "-500", 4);
			(void)n;	/* a container may forbid it */
			close(fd);
		}
	}
	/* Credentials and file bytes are in memory: no cores, no tracers. */
	if (!o->debug) {
		rl.rlim_cur = rl.rlim_max = 0;
		(void)setrlimit(RLIMIT_CORE, &rl);
		(void)prctl(PR_SET_DUMPABLE, 0);
	}
}

/* From here on nobody's terminal is held. */
static int
daemon_detach(void)
{
	int fd;

	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	return 0;
}

/* Found out before anything is begun, for it would be in vain. */
static int
try_log(const struct fs_options *o, struct why *why)
{
	int fd, err = 0;

	if (o->log == NULL)
		return 0;
	fd = open(o->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		err = why_set(why, -errno, "log file %s: %s; name another "
		    "with log=FILE", o->log, strerror(errno));
	else
		close(fd);
	return err;
}

static int
daemon_log(const struct fs_options *o, struct fs *f, struct why *why)
{
	char *path = NULL;
	int rc;

	if (o->foreground && o->log == NULL)
		return 0;
	if (o->log != NULL)
		path = strdup(o->log);
	else if (asprintf(&path, "%s/gnsfs.log", f->state_dir) < 0)
		path = NULL;
	if (path == NULL)
		return -ENOMEM;
	rc = log_open(path);
	if (rc != 0)
		why_set(why, rc, "log file %s: %s", path, strerror(-rc));
	free(path);
	return rc;
}

/* Until the mount ends.  Returns the changes still queued, or -errno. */
static int64_t
serve(const struct fs_options *o, int ready_fd, struct why *why)
{
	struct fs *f = NULL;
	int64_t deadline;
	uint64_t left;
	int rc;

	/* Until there is a log file, lines go to who mounts. */
	log_set_level(o->foreground ? LOG_INFO_L : LOG_WARN_L);
	rc = try_log(o, why);
	if (rc == 0)
		rc = fs_start(o, &f, why);
	if (rc != 0)
		return rc;
	rc = daemon_log(o, f, why);
	log_set_level(o->debug ? LOG_DEBUG_L : LOG_INFO_L);
	if (rc == 0 && !o->foreground)
		rc = daemon_detach();
	/* What is handed on is closed there. */
	if (rc == 0)
		rc = fuse_main_run(f, o, ready_fd >= 0 ? fcntl(ready_fd,
		    F_DUPFD_CLOEXEC, 3) : -1, why);
	deadline = control_unmount_deadline(f);
	if (deadline == 0)
		deadline = clock_mono() + FLUSH_BOUND;
	left = fs_stop(f, deadline);
	if (rc != 0 && !o->foreground)
		log_error("mount ended", "why=%s", LOG_Q(why_text(why, rc)));
	if (rc != 0)
		return rc;
	if (left > 0)
		log_warn("unmounted with changes queued; they are kept",
		    "ops=%llu", (unsigned long long)left);
	return (int64_t)left;
}

static int
child(const struct fs_options *o, int fd)
{
	struct why why = { "" };
	int64_t left;
	ssize_t n;

	setsid();
	if (chdir("/") != 0)
		why_set(&why, -errno, "/: %s", strerror(errno));
	daemon_limits(o);
	left = serve(o, fd, &why);
	if (left >= 0)
		return left == 0 ? EXIT_DONE : EXIT_FAILED;
	/* Nobody reads it any more where the mount had been up. */
	n = dprintf(fd, "%c%s", FAILED_MARK, why_text(&why, (int)left));
	(void)n;
	return EXIT_FAILED;
}

/* Waits for the child's word. */
static int
parent(pid_t pid, int fd)
{
	char text[sizeof(struct why) + 2];
	size_t len = 0;
	ssize_t n;
	int status;

	do {
		n = read(fd, text + len, sizeof text - 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n < 0 && errno == EINTR) || (n > 0 &&
	    text[0] == FAILED_MARK && len < sizeof text - 1));
	text[len] = '\0';
	if (len > 0 && text[0] != FAILED_MARK)
		return EXIT_DONE;
	if (len > 0)
		fprintf(stderr, "gnsfs: %s\n", text + 1);
	else if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
		fprintf(stderr, "gnsfs: the daemon was killed by signal %d "
		    "(%s) before the mount was up\n", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		fprintf(stderr, "gnsfs: the daemon ended before the mount "
		    "was up; its log says why\n");
	return EXIT_FAILED;
}

/* --- the command --- */

/* The mountpoint, absolute, cleared of a mount whose daemon died. */
static int
find_dir(const char *arg, char **ret, struct why *why)
{
	struct mount_list l = { NULL, 0 };
	struct stat st;
	char *dir = NULL;
	unsigned i;
	int rc;

	if (mount_is_dead(arg)) {
		rc = unmount_dir(arg, true, why);
		if (rc != 0)
			return why_prefix(why, rc, "%s: the daemon of an "
			    "earlier mount died", arg);
	}
	dir = realpath(arg, NULL);
	if (dir == NULL || stat(dir, &st) != 0) {
		rc = why_set(why, -errno, "mountpoint %s: %s%s", arg,
		    strerror(errno), errno == ENOENT ? "; make it with mkdir" :
		    "");
		goto out;
	}
	if (!S_ISDIR(st.st_mode)) {
		rc = why_set(why, -ENOTDIR, "mountpoint %s is no directory; "
		    "choose one that is", arg);
		goto out;
	}
	rc = mounts_read(&l);
	for (i = 0; rc == 0 && i < l.n; i++)
		if (l.v[i].mounted && strcmp(l.v[i].dir, dir) == 0)
			rc = why_set(why, -EBUSY, "%s is mounted already, "
			    "from %s; `gnsfs umount %s` ends that, or choose "
			    "another directory", dir, l.v[i].url, dir);
	if (rc == 0) {
		*ret = dir;
		dir = NULL;
	}
out:
	mounts_done(&l);
	free(dir);
	return rc;
}

static int
run(const struct fs_options *o)
{
	struct why why = { "" };
	int p[2], rc;
	int64_t left;
	pid_t pid;

	if (o->foreground) {
		if (chdir("/") != 0)
			return tool_failed(-errno, NULL);
		daemon_limits(o);
		left = serve(o, -1, &why);
		if (left < 0)
			return tool_failed((int)left, &why);
		return left == 0 ? EXIT_DONE : EXIT_FAILED;
	}
	if (pipe2(p, O_CLOEXEC) != 0)
		return tool_failed(-errno, NULL);
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return tool_failed(-errno, NULL);
	if (pid == 0) {
		close(p[0]);
		exit(child(o, p[1]));	/* runs the leak checker */
	}
	close(p[1]);
	rc = parent(pid, p[0]);
	close(p[0]);
	return rc;
}

int
cmd_mount(struct tool *t)
{
	const char *opts = tool_opt(t, "options");
	struct why why = { "" };
	struct fs_options o;
	json_t *j;
	int rc;

	options_init(&o);
	if (opts != NULL && (rc = options_parse(&o, opts, &why)) != 0) {
		rc = tool_misused(t, "%s", why_text(&why, rc));
		goto out;
	}
	rc = stores_url_check(t->argv[0], &why);
	if (rc != 0) {
		rc = tool_misused(t, "%s", why_text(&why, rc));
		goto out;
	}
	o.foreground = tool_opt(t, "foreground") != NULL;
	o.url = strdup(t->argv[0]);
	rc = o.url == NULL ? -ENOMEM : find_dir(t->argv[1], &o.dir, &why);
	rc = rc != 0 ? tool_failed(rc, &why) : run(&o);
	if (rc == EXIT_DONE && t->json && !o.foreground) {
		j = json_pack("{s:s, s:s}", "url", o.url, "dir", o.dir);
		out_json(j);
		json_decref(j);
	}
out:
	options_done(&o);
	return rc;
}

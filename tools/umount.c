/*
 * gnsfs umount: flush within a bound, say what is not uploaded, and return
 * when the daemon is gone and its lock free.
 *
 *   1. the daemon is asked to flush, until the bound;
 *   2. the mount is taken off the tree (EBUSY where it is in use);
 *   3. the daemon ends by itself, and is waited for.
 * With --force the mount is detached in step 2 whoever uses it, and a daemon
 * that does not end is killed in step 3: nothing that was acknowledged is
 * lost by that, it is in the state directory and goes out at the next mount.
 * A mount without a living daemon is just taken off.
 */
#include <sys/syscall.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/options.h"
#include "tools/client.h"
#include "tools/output.h"
#include "tools/unmount.h"

#define FLUSH_BOUND	(60 * NSEC_PER_SEC)
/* On top of it, how long a daemon that flushes may say nothing. */
#define SILENCE		(30 * NSEC_PER_SEC)
/* For the daemon to end after its flush, on top of it. */
#define END_BOUND	(20 * NSEC_PER_SEC)
#define SILENT_BOUND	(3 * NSEC_PER_SEC)	/* of one that said nothing */

/* True when the process is gone; pidfd -1: it was gone before. */
static bool
wait_gone(int pidfd, int64_t ns)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int64_t end = clock_mono() + ns, left;

	while (pidfd >= 0) {
		left = end - clock_mono();
		if (poll(&p, 1, left <= 0 ? 0 :
		    (int)(left / NSEC_PER_MSEC) + 1) > 0)
			return true;
		if (left <= 0)
			return false;
	}
	return true;
}

static int
open_pid(pid_t pid)
{
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

static void
say_left(const struct tool *t, const struct mount_ref *m, const json_t *r,
    const struct why *why)
{
	char size[16], age[16];
	int64_t ops = get_int(r, "pending_ops");

	if (t->json)
		return;
	if (why->text[0] != '\0')
		fprintf(stderr, "gnsfs: %s\n", why->text);
	fprintf(stderr, "gnsfs: %s: %lld change%s with %s not stored yet, the "
	    "oldest %s old; kept in %s, ", m->dir, (long long)ops,
	    ops == 1 ? "" : "s", out_size((uint64_t)get_int(r,
	    "pending_bytes"), size), out_time(get_int(r, "oldest_age"), age),
	    get_str(r, "state_dir"));
	if (get_bool(r, "fenced"))
		fprintf(stderr, "`gnsfs rescue %s DEST` copies them out\n",
		    get_str(r, "state_dir"));
	else
		fprintf(stderr, "sent at the next mount\n");
}

struct umount {
	struct tool		*t;
	const struct mount_ref	*m;
	bool			 force, left, silent;
	int64_t			 bound;
	int			 pidfd;
	json_t			*result;
};

/* Whether the daemon that does not answer is dead, or about to be. */
static bool
is_ending(const struct umount *u)
{
	return wait_gone(u->pidfd, u->force || !u->m->mounted ? 0 :
	    END_BOUND) || !u->m->mounted;
}

/* Step 1.  EXIT_DONE also where the daemon is dead. */
static int
flush(struct umount *u)
{
	struct why why = { "" };
	struct progress p;
	struct client_fns fns = { out_progress, NULL, &p,
	    (u->bound < INT64_MAX / 2 ? u->bound : INT64_MAX / 2) + SILENCE };
	json_t *args;
	int rc;

	/* Before its number can be another's. */
	u->pidfd = open_pid(u->m->pid);
	args = json_pack("{s:I}", "timeout", (json_int_t)u->bound);
	out_progress_begin(&p, u->t->json);
	rc = client_call(u->m, "unmount", args, &fns, &u->result, &why);
	out_progress_end(&p);
	if (u->pidfd < 0 && u->result != NULL)
		u->pidfd = open_pid((pid_t)get_int(u->result, "pid"));
	if (rc == 0 || (rc == -ENOTCONN && is_ending(u)))
		return EXIT_DONE;
	if (rc == -ENOTCONN)
		why_prefix(&why, rc, "process %d is its daemon; --force ends "
		    "it", (int)u->m->pid);
	if (u->result == NULL && !u->force)
		return tool_failed(rc, &why);
	u->left = true;
	u->silent = u->result == NULL;
	if (u->result != NULL)
		say_left(u->t, u->m, u->result, &why);
	else
		fprintf(stderr, "gnsfs: %s; what was not stored yet is kept, "
		    "and sent at the next mount\n", why_text(&why, rc));
	return EXIT_DONE;
}

static int
take_off(struct umount *u)
{
	struct why why = { "" };
	int rc;

	if (!u->m->mounted)
		return EXIT_DONE;
	rc = unmount_dir(u->m->dir, false, &why);
	if (rc == -EBUSY && (u->force || (wait_gone(u->pidfd, 0) &&
	    mount_is_dead(u->m->dir)))) {
		why.text[0] = '\0';
		rc = unmount_dir(u->m->dir, true, &why);
	}
	if (rc == -EINVAL)
		return EXIT_DONE;	/* it went meanwhile */
	if (rc == 0)
		return EXIT_DONE;
	/* It stays, so it is told to go on as before. */
	client_call(u->m, "stay", NULL, NULL, NULL, NULL);
	return tool_failed(rc, &why);
}

/* Why it may not have. */
static void
say_not_ended(const struct umount *u, int64_t waited)
{
	pid_t pid = mount_held_by(u->m->dev);

	fprintf(stderr, "gnsfs: %s is unmounted, but its daemon has not ended "
	    "after %d s", u->m->dir, (int)(waited / NSEC_PER_SEC));
	if (pid != 0)
		fprintf(stderr, ": the mounts of process %d (a container, "
		    "perhaps) have a copy of it", (int)pid);
	fprintf(stderr, "; --force ends it\n");
}

static int
wait_end(struct umount *u)
{
	int64_t bound = u->silent ? SILENT_BOUND : END_BOUND;

	if (wait_gone(u->pidfd, bound))
		return EXIT_DONE;
	if (u->force) {
		syscall(SYS_pidfd_send_signal, u->pidfd, SIGKILL, NULL, 0);
		if (wait_gone(u->pidfd, END_BOUND))
			return EXIT_DONE;
	}
	say_not_ended(u, bound);
	return EXIT_FAILED;
}

int
cmd_umount(struct tool *t)
{
	struct mount_list l = { NULL, 0 };
	struct umount u = { .t = t, .bound = FLUSH_BOUND, .pidfd = -1 };
	const char *timeout = tool_opt(t, "timeout");
	struct why why = { "" };
	char *path = NULL;
	int rc;

	if (timeout != NULL && parse_duration(timeout, &u.bound) != 0)
		return tool_misused(t, "%s is not a time; 60s is", timeout);
	u.force = tool_opt(t, "force") != NULL;
	rc = mounts_read(&l);
	if (rc == 0)
		rc = mounts_of_path(&l, t->argv[0], &u.m, &path, &why);
	if (rc == 0 && strcmp(path, u.m->root) != 0)
		rc = why_set(&why, -EINVAL, "%s is not the mountpoint; %s is",
		    t->argv[0], u.m->dir);
	if (rc != 0) {
		rc = tool_failed(rc, &why);
		goto out;
	}
	rc = flush(&u);
	if (rc == EXIT_DONE)
		rc = take_off(&u);
	if (rc == EXIT_DONE)
		rc = wait_end(&u);
	if (t->json && u.result == NULL)
		u.result = json_object();	/* it was dead */
	if (t->json)
		out_json(u.result);
	if (rc == EXIT_DONE && u.left)
		rc = EXIT_FAILED;
out:
	if (u.pidfd >= 0)
		close(u.pidfd);
	json_decref(u.result);
	free(path);
	mounts_done(&l);
	return rc;
}

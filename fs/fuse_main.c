/*
 * FUSE: the session, its threads, and the notifier.
 *
 * The notifiers (F4) send invalidations and hold nothing while they do: an
 * invalidation may wait for a request in flight, so no handler and no
 * transaction may ever wait for it.  Pages are invalidated by a thread of their
 * own: it waits for the READs of those pages, and so for as long as a store
 * that is away; names and attributes must not wait behind it.
 *
 * What the kernel does not know it may be about to learn: a LOOKUP that was
 * answered with what was so before is not yet what the kernel has, and would be
 * for a day.  So what it does not know is said once more, a little later.
 */
#include "fs/fuse_front.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/dirattr.h"
#include "fs/fuse_main.h"
#include "fs/fuse_ring.h"

#define IDLE_THREADS	20		/* kept: one costs more to make */
#define REQUEST_MAX	(1u << 20)	/* bytes of one read or write */
#define AGAIN		NSEC_PER_SEC	/* till a notice is repeated */
#define READ_AHEAD_KIB	2048		/* of the kernel, where we may set it */
#define ENABLE		"/sys/module/fuse/parameters/enable_uring"

struct notice {
	struct notice	*next;
	uint64_t	 ino;		/* the inode, or the parent */
	bool		 pages;		/* of the inode: its content, too */
	bool		 again;		/* for the second time */
	int64_t		 due;		/* then; clock_mono */
	char		 name[];	/* "" for an inode */
};

/* --- invalidations --- */

static void
notice_queue(struct notifier *n, struct notice *x)
{
	lock_take(&n->fr->lock);
	x->next = NULL;
	*n->tail = x;
	n->tail = &x->next;
	cond_broadcast(&n->fr->cond);
	lock_drop(&n->fr->lock);
}

static void
notice_add(struct fuse_front *fr, uint64_t ino, bool pages, const char *name)
{
	size_t n = strlen(name) + 1;
	struct notice *x;

	x = malloc(sizeof *x + n);
	if (x == NULL)
		return;
	x->ino = ino;
	x->pages = pages;
	x->again = false;
	memcpy(x->name, name, n);
	notice_queue(&fr->tree, x);
}

/* Something was changed by others. */
static void
changed(struct fs *f, uint64_t ino, bool pages, const char *name)
{
	struct fuse_front *fr = f->front;

	dirattr_forget(f->dirs, ino);
	if (fr == NULL)
		return;		/* not mounted yet: the kernel knows nothing */
	atomic_fetch_add(&fr->changes, 1);
	notice_add(fr, ino, pages, name);
}

void
fs_inval_inode(struct fs *f, uint64_t ino)
{
	changed(f, ino, true, "");
}

void
fs_inval_attr(struct fs *f, uint64_t ino)
{
	changed(f, ino, false, "");
}

void
fs_inval_entry(struct fs *f, uint64_t parent, const char *name)
{
	changed(f, parent, false, name);
}

void
front_inval_again(struct fuse_front *fr, uint64_t ino)
{
	notice_add(fr, ino, true, "");
}

static int
send_pages(struct fuse_front *fr, uint64_t ino)
{
	int err;

	atomic_store(&fr->invalidating_since, clock_mono());
	atomic_store(&fr->invalidating, ino);
	err = fuse_lowlevel_notify_inval_inode(fr->se, node_of(fr->fs, ino), 0,
	    0);
	atomic_store(&fr->invalidating, 0);
	return err;
}

/* Takes x. */
static void
send_notice(struct notifier *n, struct notice *x)
{
	struct fuse_front *fr = n->fr;
	uint64_t node = node_of(fr->fs, x->ino);
	int err;

	if (n == &fr->pages)
		err = send_pages(fr, x->ino);
	else if (x->name[0] != '\0')
		err = fuse_lowlevel_notify_inval_entry(fr->se, node, x->name,
		    strlen(x->name));
	else	/* the attributes alone */
		err = fuse_lowlevel_notify_inval_inode(fr->se, node, -1, 0);
	if (n == &fr->pages || (err == -ENOENT && x->again)) {
		free(x);
	} else if (err == -ENOENT) {
		x->again = true;
		x->due = clock_mono() + AGAIN;
		lock_take(&fr->lock);
		x->next = NULL;
		*n->later_tail = x;
		n->later_tail = &x->next;
		lock_drop(&fr->lock);
	} else if (x->pages) {
		notice_queue(&fr->pages, x);
	} else {
		free(x);
	}
}

/* The lock is held. */
static struct notice *
take_notice(struct notice **head, struct notice ***tail)
{
	struct notice *x = *head;

	*head = x->next;
	if (*head == NULL)
		*tail = head;
	return x;
}

/* The next, waited for; NULL: the end.  The lock is held. */
static struct notice *
next_notice(struct notifier *n)
{
	struct fuse_front *fr = n->fr;

	while (!fr->stop) {
		if (n->later != NULL && clock_mono() >= n->later->due)
			return take_notice(&n->later, &n->later_tail);
		if (n->head != NULL)
			return take_notice(&n->head, &n->tail);
		if (n->later == NULL)
			cond_wait(&fr->cond, &fr->lock);
		else
			(void)cond_wait_until(&fr->cond, &fr->lock,
			    n->later->due);
	}
	return NULL;
}

static void *
notify(void *arg)
{
	struct notifier *n = arg;
	struct fuse_front *fr = n->fr;
	struct notice *x;

	lock_take(&fr->lock);
	while ((x = next_notice(n)) != NULL) {
		lock_drop(&fr->lock);
		send_notice(n, x);
		lock_take(&fr->lock);
	}
	lock_drop(&fr->lock);
	return NULL;
}

static void
notifier_init(struct fuse_front *fr, struct notifier *n)
{
	n->fr = fr;
	n->tail = &n->head;
	n->later_tail = &n->later;
}

static void
notifier_stop(struct notifier *n)
{
	struct fuse_front *fr = n->fr;

	lock_take(&fr->lock);
	fr->stop = true;
	cond_broadcast(&fr->cond);
	lock_drop(&fr->lock);
	if (n->runs)
		(void)pthread_join(n->thread, NULL);
	while (n->head != NULL)
		free(take_notice(&n->head, &n->tail));
	while (n->later != NULL)
		free(take_notice(&n->later, &n->later_tail));
}

static int
notifier_start(struct notifier *n)
{
	int err = -pthread_create(&n->thread, NULL, notify, n);

	n->runs = err == 0;
	return err;
}

/* --- becoming usable --- */

struct ready {
	struct fuse_front	*fr;
	const char		*dir;
	int			 fd;
};

/* One of the kernel's.  0; -errno: it is not there, or not for us to set. */
static int
set_parameter(const char *path, const char *text)
{
	size_t n = strlen(text);
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, n) != (ssize_t)n)
		err = -errno;
	close(fd);
	return err;
}

/* The kernel's own read-ahead is 128 KiB unless told: each request is an
 * upcall, so larger is faster.  Needs root; without it all works. */
static void
raise_read_ahead(dev_t dev)
{
	char path[64], text[16];
	int err;

	snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb",
	    major(dev), minor(dev));
	snprintf(text, sizeof text, "%d", READ_AHEAD_KIB);
	err = set_parameter(path, text);
	if (err != 0)
		log_debug("read-ahead not raised", "path=%s err=%d", path, err);
}

/* A copy that fs_stop frees: the uploader looks at it when the session, and
 * with it the device, is gone. */
static void
pass_start(struct fuse_front *fr)
{
	struct pass_dev *p = calloc(1, sizeof *p);

	if (p == NULL)
		return;			/* then none is passed */
	p->arg = fr->dev.pass.arg;
	p->open = fr->dev.pass.open;
	p->close = fr->dev.pass.close;
	lock_init(&p->lock, RANK_LOG - 3, "pass");
	pass_probe(fr->fs, p);
	fr->fs->pass = p;
}

/* Asks the mount itself: answered, it is usable. */
static void *
announce(void *arg)
{
	struct ready *r = arg;
	struct stat st;
	char zero = 0;

	if (stat(r->dir, &st) == 0)
		raise_read_ahead(st.st_dev);
	if (fuse_dev_passes(&r->fr->dev))
		pass_start(r->fr);
	if (r->fd >= 0) {
		if (write(r->fd, &zero, 1) != 1)
			log_warn("nobody waits for the mount", "dir=%s",
			    LOG_Q(r->dir));
		close(r->fd);
	}
	log_info("mounted", "dir=%s name=%s passthrough=%s api=%s uring=%s",
	    LOG_Q(r->dir), r->fr->fs->name, LOG_Q(pass_state(r->fr->fs)),
	    fuse_dev_api(), LOG_Q(atomic_load(&r->fr->fs->uring)));
	return NULL;
}

/* There each request that is handled has a buffer.  By memory=, whole pages. */
static unsigned
ring_request_max(const struct fs *f)
{
	return memory_share(f->opt.memory, REQUEST_MAX, REQUEST_MAX / 4) &
	    ~(REQUEST_MAX / 16 - 1);
}

static void
op_init(void *userdata, struct fuse_conn_info *conn)
{
	static const unsigned want = FUSE_CAP_ASYNC_READ |
	    FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_SPLICE_WRITE |
	    FUSE_CAP_SPLICE_MOVE | FUSE_CAP_READDIRPLUS |
	    FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS |
	    FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_EXPORT_SUPPORT;
	struct fuse_front *fr = userdata;

	/* Not FUSE_CAP_ASYNC_DIO: after an asynchronous write past the page
	 * cache the kernel leaves old pages there, which readers go on to see;
	 * and such reads could not be interrupted.
	 * flock and fcntl locks are the kernel's own on one host; writeback
	 * caching would shut out passthrough (F2); who clears set-id bits is
	 * agreed on in fuse_dev.c. */
	conn->want = conn->capable & want;
	fuse_dev_init(&fr->dev, conn);
	conn->max_write = REQUEST_MAX;
	/* Reads that wait for a store must not keep others from being asked. */
	conn->max_background = 4096;
	if (fuse_dev_by_ring(fr, ring_request_max(fr->fs))) {
		conn->max_write = ring_request_max(fr->fs);
		conn->max_background =
		    fuse_ring_background(atomic_load(&fr->dev.ring));
		conn->want &= ~(FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
		fr->splices = false;
	}
	conn->congestion_threshold = conn->max_background / 4 * 3;
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write_buf = op_write_buf,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
	.lseek = op_lseek,
};

/* --- the session --- */

/* fsname=URL needs its commas and backslashes escaped for -o. */
static void
put_escaped(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == ',' || *s == '\\')
			buf_put_u8(b, '\\');
		buf_put_u8(b, (uint8_t)*s);
	}
}

static int
session_args(const struct fs_options *o, struct buf *text)
{
	buf_puts(text, "subtype=gnsfs,default_permissions,");
	if (o->allow_other)
		buf_puts(text, "allow_other,");
	if (o->read_only)
		buf_puts(text, "ro,");
	if (o->noexec)
		buf_puts(text, "noexec,");
	/* else fusermount3 mounts, and refuses these */
	if (o->dev && geteuid() == 0)
		buf_puts(text, "dev,");
	if (o->suid && geteuid() == 0)
		buf_puts(text, "suid,");
	buf_puts(text, "fsname=");
	put_escaped(text, o->url);
	return buf_err(text);
}

static void
signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	(void)pthread_sigmask(how, &set, NULL);
}

/* Nobody reads requests any more: who waits for an answer, threads of ours
 * among them, gets ENOTCONN.  The number stays the session's: others write
 * answers to it still.  Not where all is unmounted already, for the library
 * sees that by the descriptor, and leaves alone what is mounted there since. */
static void
hang_up(struct fuse_session *se)
{
	struct pollfd p = { .fd = fuse_session_fd(se) };
	int fd;

	if (poll(&p, 1, 0) == 1 && (p.revents & POLLERR))
		return;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)dup3(fd, p.fd, O_CLOEXEC);
	close(fd);
}

static int
serve(struct fuse_front *fr, const struct fs_options *o, int ready_fd)
{
	struct ready ready = { .fr = fr, .dir = o->dir, .fd = ready_fd };
	struct fuse_loop_config *cfg = fuse_loop_cfg_create();
	pthread_t thread;
	int err;

	if (cfg == NULL)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(cfg, 0);
	fuse_loop_cfg_set_max_threads(cfg,
	    front_threads(fr->fs));
	fuse_loop_cfg_set_idle_threads(cfg, IDLE_THREADS);
	err = -pthread_create(&thread, NULL, announce, &ready);
	if (err == 0) {
		/* Only now, so that no thread of ours has them unblocked: one
		 * that took a signal would not wake this one's loop. */
		signals(SIG_UNBLOCK);
		err = fuse_session_loop_mt(fr->se, cfg);
		signals(SIG_BLOCK);
		if (err > 0)
			err = 0;	/* a signal: as asked */
		atomic_store(&fr->ending, true);
		fuse_ring_stop(atomic_load(&fr->dev.ring));
		hang_up(fr->se);
		(void)pthread_join(thread, NULL);
	}
	fuse_loop_cfg_destroy(cfg);
	return err;
}

/* May this process have pipes that hold a reply and its header?  Without
 * CAP_SYS_RESOURCE they end at /proc/sys/fs/pipe-max-size. */
static bool
pipes_hold_replies(void)
{
	int p[2];
	bool holds;

	if (pipe2(p, O_CLOEXEC) != 0)
		return false;
	holds = fcntl(p[0], F_SETPIPE_SZ, 2 * REQUEST_MAX) >= 0;
	close(p[0]);
	close(p[1]);
	return holds;
}

static int
mount_session(struct fuse_front *fr, const struct fs_options *o,
    struct why *why)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct buf text = BUF_INIT;
	int err, unhooked;

	err = session_args(o, &text);
	if (err == 0 && (fuse_opt_add_arg(&args, "gnsfs") != 0 ||
	    fuse_opt_add_arg(&args, "-o") != 0 ||
	    fuse_opt_add_arg(&args, buf_cstr(&text)) != 0))
		err = -ENOMEM;
	if (err == 0) {
		fr->se = fuse_session_new(&args, &ops, sizeof ops, fr);
		if (fr->se == NULL)
			err = why_set(why, -EINVAL, "the FUSE session could "
			    "not be made with options '%s'", buf_cstr(&text));
	}
	if (err == 0 && fuse_session_mount(fr->se, o->dir) != 0)
		err = why_set(why, -EBUSY, "cannot mount at '%s': is it an "
		    "empty directory of yours, is /dev/fuse there, and is "
		    "fusermount3 (package fuse3) installed?", o->dir);
	if (err == 0 && (unhooked = fuse_dev_hook(&fr->dev, fr->se,
	    fr->fs->cache_dir)) != 0)
		log_info("the FUSE device is left to the library", "err=%d",
		    unhooked);
	buf_done(&text);
	fuse_opt_free_args(&args);
	return err;
}

int
fuse_main_run(struct fs *f, const struct fs_options *o, int ready_fd,
    struct why *why)
{
	struct fuse_front *fr = calloc(1, sizeof *fr);
	int err;

	if (fr == NULL)
		return -ENOMEM;
	fr->fs = f;
	notifier_init(fr, &fr->tree);
	notifier_init(fr, &fr->pages);
	lock_init(&fr->lock, RANK_LOG - 1, "notices");
	cond_init(&fr->cond);
	fr->splices = pipes_hold_replies();
	f->uring = "off: the library has no custom I/O";
	if (o->uring == URING_ON && (err = set_parameter(ENABLE, "Y")) != 0)
		log_warn("the kernel's fuse could not be told to use io_uring",
		    "err=%d", err);
	err = mount_session(fr, o, why);
	if (err != 0)
		goto out;
	err = fuse_set_signal_handlers(fr->se) == 0 ? 0 : -EIO;
	f->front = fr;
	if (err == 0)
		err = notifier_start(&fr->tree);
	if (err == 0)
		err = notifier_start(&fr->pages);
	if (err == 0) {
		err = front_reads_start(fr);
		if (err == 0)
			err = front_writes_start(fr);
		if (err == 0)
			err = serve(fr, o, ready_fd);
		front_writes_stop(fr);
		front_reads_stop(fr);
	}
	notifier_stop(&fr->tree);
	notifier_stop(&fr->pages);
	pass_over(f);
	fuse_ring_free(atomic_load(&fr->dev.ring));
	atomic_store(&fr->dev.ring, NULL);
	f->front = NULL;
	fuse_session_unmount(fr->se);
	fuse_remove_signal_handlers(fr->se);
out:
	if (fr->se != NULL)
		fuse_session_destroy(fr->se);
	cond_done(&fr->cond);
	lock_done(&fr->lock);
	free(fr);
	return err;
}

void
fs_request_unmount(struct fs *f)
{
	/* The main thread alone takes signals; its loop ends on this one. */
	(void)f;
	(void)kill(getpid(), SIGTERM);
}

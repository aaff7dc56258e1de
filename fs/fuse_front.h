/*
 * fuse_front: what the fs/fuse_* files share.  Nobody else includes it.
 */
#ifndef FS_FUSE_FRONT_H
#define FS_FUSE_FRONT_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif

#include <fuse_lowlevel.h>

#include "base/lock.h"
#include "fs/fs.h"
#include "fs/fuse_dev.h"
#include "fs/io.h"
#include "fs/memory.h"
#include "fs/node.h"
#include "meta/query.h"

/* Every change of another host is invalidated exactly (F4), so the kernel may
 * keep what it knows for long. */
#define KERNEL_TIMEOUT	(24 * 3600.0)

/* Threads of the session, at most, by memory=. */
#define FRONT_THREADS		64
#define FRONT_THREADS_MIN	24
#define FRONT_KEPT_FREE		16	/* of them: these never wait */

/* Files that the kernel has just met, by the low bits of their inodes. */
#define FRONT_MET	65536

struct notifier {
	struct fuse_front	*fr;
	pthread_t		 thread;
	bool			 runs;
	struct notice		*head, **tail;
	struct notice		*later, **later_tail;	/* said once more */
};

struct fuse_front {
	struct fs		*fs;
	struct front_reads	*reads;
	struct front_writes	*writes;
	_Atomic unsigned	 inside;	/* threads that may wait */
	struct fuse_session	*se;
	struct fuse_dev		 dev;
	bool			 splices;	/* a pipe holds any reply */
	struct lock		 lock;	/* of both queues */
	struct cond		 cond;
	struct notifier		 tree;	/* names and attributes */
	struct notifier		 pages;	/* of inodes; after their attributes */
	_Atomic uint64_t	 invalidating;	/* pages of that inode; 0 */
	_Atomic int64_t		 invalidating_since;	/* clock_mono */
	bool			 stop;
	_Atomic bool		 ending;	/* who waits is to give up */
	_Atomic uint64_t	 changes;	/* by others, ever told of */
	_Atomic uint32_t	 met[FRONT_MET];	/* the other bits */
};

/* Of the session, at most: each has a buffer for a request. */
static inline unsigned
front_threads(const struct fs *f)
{
	return memory_share(f->opt.memory, FRONT_THREADS, FRONT_THREADS_MIN);
}

/* Before what may wait for a store, or for room: true, or somebody else is to
 * wait, so that those who need neither are answered.  front_waited after it,
 * whatever it said. */
static inline bool
front_may_wait(struct fuse_front *fr)
{
	return atomic_fetch_add(&fr->inside, 1) <
	    front_threads(fr->fs) - FRONT_KEPT_FREE;
}

static inline void
front_waited(struct fuse_front *fr)
{
	atomic_fetch_sub(&fr->inside, 1);
}

static inline struct fs *
req_fs(fuse_req_t req)
{
	return ((struct fuse_front *)fuse_req_userdata(req))->fs;
}

/* Does this daemon clear set-id bits (fuse_dev.h)? */
static inline bool
req_clears_ids(fuse_req_t req)
{
	struct fuse_front *fr = fuse_req_userdata(req);

	return fuse_dev_clears_ids(&fr->dev);
}

/* fuse_main.c: after what front_feed put there; not a change. */
void	front_inval_again(struct fuse_front *fr, uint64_t ino);

/* fuse_attr.c */
void	front_stat(const struct attr *a, struct stat *ret);
void	front_entry(struct fs *f, const struct attr *a,
	    struct fuse_entry_param *ret);
/* A negative entry (the kernel keeps it too) where err is -ENOENT. */
void	front_reply_entry(fuse_req_t req, int err, const struct attr *a);
void	op_lookup(fuse_req_t, fuse_ino_t, const char *);
void	op_getattr(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void	op_setattr(fuse_req_t, fuse_ino_t, struct stat *, int,
	    struct fuse_file_info *);
void	op_statfs(fuse_req_t, fuse_ino_t);

/* fuse_tree.c */
void	op_readlink(fuse_req_t, fuse_ino_t);
void	op_mknod(fuse_req_t, fuse_ino_t, const char *, mode_t, dev_t);
void	op_mkdir(fuse_req_t, fuse_ino_t, const char *, mode_t);
void	op_unlink(fuse_req_t, fuse_ino_t, const char *);
void	op_rmdir(fuse_req_t, fuse_ino_t, const char *);
void	op_symlink(fuse_req_t, const char *, fuse_ino_t, const char *);
void	op_rename(fuse_req_t, fuse_ino_t, const char *, fuse_ino_t,
	    const char *, unsigned);
void	op_link(fuse_req_t, fuse_ino_t, fuse_ino_t, const char *);
void	op_readdir(fuse_req_t, fuse_ino_t, size_t, off_t,
	    struct fuse_file_info *);
void	op_readdirplus(fuse_req_t, fuse_ino_t, size_t, off_t,
	    struct fuse_file_info *);
void	op_opendir(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void	op_fsyncdir(fuse_req_t, fuse_ino_t, int, struct fuse_file_info *);

/* fuse_io.c */
void	op_open(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void	op_create(fuse_req_t, fuse_ino_t, const char *, mode_t,
	    struct fuse_file_info *);
void	op_read(fuse_req_t, fuse_ino_t, size_t, off_t,
	    struct fuse_file_info *);
void	op_write_buf(fuse_req_t, fuse_ino_t, struct fuse_bufvec *, off_t,
	    struct fuse_file_info *);
void	op_flush(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void	op_release(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void	op_fsync(fuse_req_t, fuse_ino_t, int, struct fuse_file_info *);
void	op_fallocate(fuse_req_t, fuse_ino_t, int, off_t, off_t,
	    struct fuse_file_info *);
void	op_lseek(fuse_req_t, fuse_ino_t, off_t, int, struct fuse_file_info *);
void	op_copy_file_range(fuse_req_t, fuse_ino_t, off_t,
	    struct fuse_file_info *, fuse_ino_t, off_t,
	    struct fuse_file_info *, size_t, int);

/* fuse_feed.c: the bytes of small files, before they are asked for */
/* The kernel is told of a file that it may not have known. */
void	front_met(struct fuse_front *fr, const struct attr *a);
/* Before OPEN is answered. */
void	front_feed(struct fuse_front *fr, struct handle *h);

/* fuse_read.c: what is not here, or not known to be.  Answers req. */
void	front_read(fuse_req_t req, struct handle *h, size_t size, off_t off);
/* For io_interrupted: of a request, that nobody waits for it any more. */
bool	front_interrupted(void *req);
int	front_reads_start(struct fuse_front *fr);
/* No request is being handled.  Those that wait end. */
void	front_reads_stop(struct fuse_front *fr);

/* fuse_write.c: answers req.  p: n bytes; copy: to be freed, NULL: borrowed.
 * sync: with the bytes on disk (O_DSYNC). */
void	front_write(fuse_req_t req, struct handle *h, const void *p, size_t n,
	    off_t off, bool sync, void *copy);
int	front_writes_start(struct fuse_front *fr);
/* No request is being handled. */
void	front_writes_stop(struct fuse_front *fr);

/* fuse_xattr.c */
void	op_setxattr(fuse_req_t, fuse_ino_t, const char *, const char *,
	    size_t, int);
void	op_getxattr(fuse_req_t, fuse_ino_t, const char *, size_t);
void	op_listxattr(fuse_req_t, fuse_ino_t, size_t);
void	op_removexattr(fuse_req_t, fuse_ino_t, const char *);

#endif

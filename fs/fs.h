/*
 * fs: one mounted namespace: what the daemon is made of.
 *
 * fs/ introduces meta, cache and backends to each other (DESIGN.md section 2).
 * The parts, each a file pair, each told only `struct fs *`:
 *
 *   home     gnsfs.json, MANIFEST: what makes a prefix a namespace
 *   stores   the namespace's stores, opened; which are up
 *   ship     the log: catching up, the session, freezing and sending,
 *            snapshots, being fenced
 *   upload   large files' bytes to stores, oldest first
 *   vnode    files that are open or dirty, in core
 *   node     the numbers by which the kernel knows inodes
 *   settle   what was written becomes an operation
 *   fill     bytes from stores into the cache; read.c, write.c above it
 *   window   how far ahead of readers
 *   sums     whether they are those that were stored
 *   ahead    small files, before they are asked for
 *   flight   those on their way, which nobody fetches twice
 *   import   adopting a bucket
 *   refresh  following it
 *   pins     pins, warm, evict
 *   stage    copies in other stores
 *   control  the socket that the gnsfs command talks to
 *   mount    start and stop of all of it, options
 *   state_dir  the directory of a host's state
 *   fuse_*   the kernel's requests; the only files that know FUSE
 */
#ifndef FS_FS_H
#define FS_FS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/why.h"
#include "base/workers.h"
#include "cache/cache.h"
#include "meta/meta.h"
#include "fs/options.h"

#define FS_TAG_MAX	1024		/* bytes of a tag's value */

enum fs_write_state {
	FS_WRITABLE,
	FS_READ_ONLY,		/* asked for, or no session to be had: EROFS */
	FS_FENCED,		/* another host took over (L13): EROFS */
};

struct fs {
	struct fs_options	 opt;
	char			 name[65];	/* of the namespace */
	char			 uuid[37];
	char			*state_dir, *cache_dir;	/* absolute; owned */
	int			 lock_fd;
	struct meta		*meta;
	struct cache		*cache;
	struct workers		*io;		/* fetches and uploads */
	struct stores		*stores;
	/* read by threads that began before them (stores' prober), or go on
	 * while they end: set once, freed when none is left */
	struct ship		*_Atomic ship;
	struct upload		*_Atomic upload;
	struct settler		*settler;
	struct vnodes		*vnodes;
	struct nodes		*nodes;
	struct dirattrs		*dirs;
	struct fill		*fill;
	struct ahead		*ahead;
	struct flights		*flights;
	struct pins		*_Atomic pins;
	struct stages		*stages;
	struct refresher	*refresher;
	struct control		*control;
	struct pass_dev *_Atomic pass;		/* fs/pass.h; NULL: none */
	_Atomic unsigned	 unseen;	/* for pass_tick */
	const char *_Atomic	 uring;	/* static: on, or why not; or NULL */
	struct fuse_front	*front;		/* invalidations go here */
	_Atomic int		 write_state;	/* enum fs_write_state */
	uint64_t		 state_room;	/* bytes the database keeps */
	_Atomic int64_t		 room_seen;	/* clock_mono */
	_Atomic bool		 state_full;	/* then; for status too */
	struct lock		 why_lock;
	struct why		 why_read_only;	/* for status and logs */
	_Atomic bool		 stopping;
	int64_t			 started;	/* clock_real */
};

/* 0 or -EROFS; every mutating request asks first. */
int	fs_may_write(struct fs *f);
/* The same of one that adds: also -ENOSPC, while the disk of the state
 * directory is full.  What is left there is for those that take away (C5). */
int	fs_may_add(struct fs *f);
/* Says why and logs it, once; idempotent. */
void	fs_set_write_state(struct fs *f, enum fs_write_state s,
	    const char *why, ...) __attribute__((format(printf, 3, 4)));

/* mount.c: everything but FUSE: state directory found or made and locked,
 * database, cache, stores, session, recovery; bounded by 10 s where there is
 * no valid local state.  -errno with why. */
int	fs_start(const struct fs_options *opt, struct fs **ret,
	    struct why *why);
/* Flushes until deadline (clock_mono ns), closes the session when nothing is
 * left, stops all.  Returns the number of changes still queued. */
uint64_t fs_stop(struct fs *f, int64_t deadline);

/* Of a running fs, for fuse_main and control: ask the FUSE loop to end. */
void	fs_request_unmount(struct fs *f);

/* Invalidations (F4): queued to threads that hold nothing; never block.  Of an
 * inode its attributes and all its content or entries, or the former alone. */
void	fs_inval_inode(struct fs *f, uint64_t ino);
void	fs_inval_attr(struct fs *f, uint64_t ino);
void	fs_inval_entry(struct fs *f, uint64_t parent, const char *name);

#endif

/*
 * pass: passthrough, as all but the FUSE front see it: whose reads, writes and
 * mappings go from the kernel straight to the backing file.
 *
 * F1  The opens of a node are all of one kind.  The first one decides: it is
 *     passed when the file is new or truncated to nothing and is to be
 *     written, or is wholly and soundly here and is to be read.  Later ones
 *     follow it; when all are closed the next first one decides again.
 *     Who joins with O_WRONLY, and truncates nothing, is `seen`: the answer is
 *     direct_io|passthrough with the same id.  The kernel maps no such open
 *     (EACCES), nor makes it one that reads, and hands us each write, copy and
 *     fallocate by it; so what is dirty is exact, and an upload of it may be
 *     live (K6).  It is opened below all the same: while it is, and after a
 *     kill -9 as long as its process keeps it, no lease says that nobody can
 *     write (C2).  So of a file that is not unseen a lease that is refused
 *     says nothing, and the index tells the two apart: who can write unseen
 *     was answered after [0,inf) was durable.
 * C3  A passed open that may write, and is not `seen`, makes the file `unseen`
 *     (cache/backing.h) before it is answered: all of it is then dirty, and
 *     what was written shows in the backing file's own size and times alone
 *     (F3), which pass_look notes as if by write(2).  Who joins an unseen file
 *     is not `seen`; what one that joined before goes on writing is dirty as
 *     all of it is.
 * C2  It stays so until a lease says that nobody can write any more: a mapping
 *     outlives the close of its descriptor, and both outlive a daemon that was
 *     killed.  Such a file lingers: it is passed on, so that nobody's page
 *     cache is older than the mapping; what is stored of it is a copy; and
 *     pass_tick finds the end.
 *     Then [0,inf) is taken back where nothing was changed, which is so if
 *	- it was wholly clean as it began, and a lease said that nobody could
 *	  write; then its times were noted, its ctime at least QUIET old;
 *	- as it ended a lease said so again; then its times were the same.
 *     For each change in between moved ctime: write(2) and its like do before
 *     they copy, and so does a store through a mapping (page_mkwrite) that is
 *     that mapping's first to a page, whatever state the page is in.  No
 *     mapping that can write is older than the note: all of them had yet to
 *     ask for each page, also for those that were dirty, or under writeback,
 *     since before.  pass_probe tries that the disk does so, on a page that is
 *     dirty and was read: tmpfs, which is never written back, does not.  A
 *     ctime of QUIET ago is not given again, nor on disks that keep whole
 *     seconds.  In doubt, and after a crash, all is dirty.
 * F6  None is passed to write when the cache is near its limit.  What those
 *     that were passed before write beyond it is the overshoot that the manual
 *     states; pass_tick makes room for it by evicting.
 * While a node is passed or unseen its backing file is not exchanged for a row
 * or another (settle.c), and no chunk of it is punched (bfile_lend).
 */
#ifndef FS_PASS_H
#define FS_PASS_H

#include <stdatomic.h>

#include "fs/io.h"

/* New files of one kind, by folder and suffix: when the last three were small,
 * the next is not passed, which would cost more (a fifth of a create) than a
 * few KiB can save.  One that is not small begins anew. */
#define PASS_KINDS	1024u
unsigned pass_kind(uint64_t parent, const char *name);	/* 1... */
/* A new file of this kind is closed. */
void	pass_learn(struct fs *f, unsigned kind, uint64_t size);

/* The kernel's side, by the FUSE front; NULL in struct fs: there is none.
 * open: an id > 0 for a descriptor that is O_RDONLY (C2); -errno. */
struct pass_dev {
	void		*arg;
	int		(*open)(void *arg, int fd);
	void		(*close)(void *arg, int id);
	_Atomic(const char *) refused;	/* why none is passed; NULL: they are */
	bool		 tells;		/* a store moves the times: C2 */
	_Atomic uint8_t	 small[PASS_KINDS];	/* of a kind, in a row */
	struct lock	 lock;		/* what follows */
	bool		 over;		/* the session is: nothing is called */
};

/* Tries what passing needs on a file of the pool, before anybody asks: that the
 * kernel takes it, that the disk has leases, and sets the times (C2). */
void	pass_probe(struct fs *f, struct pass_dev *p);

/* In the gate of h->v, before h is counted among its opens: sets h->passed;
 * the open is then answered with h->v->pass_id, and with direct_io where it
 * sets h->seen.  fresh: new, or truncated to nothing.  -errno: the open is to
 * fail. */
int	pass_open(struct fs *f, struct handle *h, bool fresh);
/* In the gate, after h is counted no more. */
void	pass_close(struct fs *f, struct handle *h);
/* In the gate: ends it where it can end; else, without writers, it lingers. */
void	pass_settle(struct fs *f, struct vnode *v);
/* In the gate: its bytes are dropped, whoever has them. */
void	pass_drop(struct fs *f, struct vnode *v);
/* In the gate, at a start: somebody may be writing to v->b still. */
void	pass_recover(struct fs *f, struct vnode *v);

/* Notes what was written unseen.  The second: v->lock is held. */
void	pass_look(struct vnode *v);
void	pass_look_locked(struct vnode *v);
/* A change from now on would move a ctime that is this. */
bool	pass_is_old(int64_t ctime);
/* In the gate, around a change of ours to the backing file's times. */
int	pass_set_mtime(struct vnode *v, int64_t mtime);

/* Now and then: the accounts of what is written unseen, and room for it. */
void	pass_tick(struct fs *f);
/* The session ends: after this nothing is asked or told of the kernel. */
void	pass_over(struct fs *f);
/* Nobody waits for what lingers any more; the next start finds it. */
void	pass_stop(struct fs *f);
void	pass_free(struct fs *f);

/* For status: "on", or why not. */
const char *pass_state(struct fs *f);
/* For explain: how ino, with b its backing file or NULL, is read and written
 * now, or would be if it were opened now; and why not passed. */
const char *pass_path(struct fs *f, uint64_t ino, struct bfile *b);

#endif

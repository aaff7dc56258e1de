/*
 * vnode: what is known in core of an inode that is open or in use.  The
 * table is sized to those, never to the tree.
 *
 * F1  One whose bytes others replaced while it was open is `old`: out of the
 *     table, and found only by those who have it open, who go on reading what
 *     it was (node.h); `held` says where that lies.  So on a mount that does
 *     not write a file has `held` from the moment it is loaded.
 *
 * Where a regular file's bytes are, in this order of precedence:
 *   b != NULL     a backing file: being written, or large
 *   unstored      meta's row, the newest closed content of a small file
 *   clean small   small.db, or one extent in a store
 *   large clean   extents in stores; a backing file is made by the first read
 *
 * `busy` is a state that others wait for, not a held lock (STYLE 10): it is
 * set while the representation changes (a small file becomes a backing file,
 * a closed one a row), which includes database and disk work.
 */
#ifndef FS_VNODE_H
#define FS_VNODE_H

#include "base/buf.h"
#include "base/lock.h"
#include "cache/backing.h"
#include "fs/fs.h"
#include "fs/window.h"
#include "meta/query.h"

struct vnode {
	uint64_t	 ino;
	unsigned	 refs;		/* under the table's lock */
	struct vnode	*next;		/* hash chain, under the table's lock */
	bool		 old;	/* no more in the table; set in the gate */
	uint64_t	 old_node;	/* the kernel's number of it, then */

	struct lock	 lock;		/* RANK_FILE: what follows */
	struct cond	 cond;		/* busy or active ended */
	bool		 busy;
	unsigned	 active;	/* writes under way; exclude busy */
	unsigned	 opens;		/* handles */
	unsigned	 writers;	/* of them, those that may write */
	bool		 loaded;	/* attr was read, b was looked up */
	bool		 unlinked; /* no name left: gone at the last close */
	bool		 dirty;		/* written since the last extents op */
	bool		 truncated;	/* over stored content: L11 */
	bool		 mtime_set;	/* attr.mtime is an explicit one */
	bool		 no_xattrs;	/* for certain: a new file */
	bool		 queued;	/* under the settler's lock, as */
	struct vnode	*queue_next;	/* this is */
	int		 pass_id; /* its opens are passed, with this id; or 0 */
	const char	*unpassed;	/* why the first of them is not */
	bool		 unseen;	/* passed to writers (fs/pass.h) */
	bool		 lingers;	/* it has a reference for that */
	struct bfile_stat clean;	/* as it began, clean; else ctime 0 */
	int64_t		 seen_ctime;	/* what of it was noted; 0: look */
	int64_t		 last_ctime;	/* as last looked at */
	int64_t		 told_ctime;	/* as the kernel was told; 0 */
	int64_t		 dirty_since;	/* clock_mono */
	int64_t		 wrote;		/* clock_real of the last write; 0 */
	struct attr	 attr;		/* as of the last op; size of live */
	struct bfile	*b;		/* one reference; NULL: none yet */
	struct buf	 bytes;		/* small content, once read */
	bool		 have_bytes;
	bool		 no_row;	/* in the gate: none a moment ago */
	uint64_t	 room;		/* bytes of cache_room not used up */
	_Atomic uint32_t lane;		/* of its fills; 0: none yet (fill) */
	struct window_jumps jumps;	/* of those who read it */
	struct fill_rest {		/* fill_rest.c: all of it is fetched */
		bool	 on, over;	/* over: it was; not once more */
		bool	 unasked;	/* whether it is open or not */
		unsigned runs;		/* under way */
		uint64_t next, last;	/* chunks */
	} rest;
	struct extents	*held;	/* whatever the tree says now; NULL */
};

struct vnodes;

int	vnodes_new(struct vnodes **ret);
void	vnodes_free(struct vnodes *t);
/* Existing or new; one reference. -ENOMEM. */
int	vnode_get(struct fs *f, uint64_t ino, struct vnode **ret);
/* Only if it is there: NULL.  One reference. */
struct vnode *vnode_peek(struct fs *f, uint64_t ino);
void	vnode_ref(struct fs *f, struct vnode *v);
void	vnode_put(struct fs *f, struct vnode *v);	/* NULL accepted */
/* Each that is there, with a reference of the table's for the call. */
void	vnodes_each(struct fs *f, void (*each)(void *arg, struct vnode *v),
	    void *arg);

/* The gate.  vnode_enter waits until nobody else is in and keeps all others
 * out; vnode_share lets any number in together.  v->lock is not held after. */
void	vnode_enter(struct vnode *v);
void	vnode_leave(struct vnode *v);
void	vnode_share(struct vnode *v);
void	vnode_unshare(struct vnode *v);
/* In the gate: v->b becomes b (taking the caller's reference; NULL: none),
 * the old one is put; counts of writers follow. */
void	vnode_set_backing(struct vnode *v, struct bfile *b);
/* A reference to v->b, or NULL. */
struct bfile *vnode_backing(struct vnode *v);
/* Reads attr and looks the backing file up, once.  -ENOENT. Takes busy. */
int	vnode_load(struct fs *f, struct vnode *v);

/* Only this host writes from now on: what was held against others' changes
 * would be older than its own. */
void	vnodes_let_go(struct fs *f);
/* After a commit that replaced ino's bytes by others'.  1: it is open, and was
 * given a new number (node.h): its names are to be invalidated.  0, -errno. */
int	vnode_replaced(struct fs *f, uint64_t ino);
/* Who is open by an old number: a reference, or NULL. */
struct vnode *vnode_old(struct fs *f, uint64_t node);

/*
 * Attributes of a file that may be open come from two places, read one after
 * the other: the database, then the vnode.  A settling in between moves the
 * size from the vnode to the database, and would be seen in neither.  So:
 * note vnodes_now(), read the database, vnode_overlay(), and begin again
 * where it says false.
 */
uint64_t vnodes_now(struct fs *f);
/* Lays the size and times of a file being written over what the database
 * said (F3).  false: they were settled since `since`. */
bool	vnode_overlay(struct fs *f, struct attr *a, uint64_t since);
/* A settling of ino is committed; before v->dirty says so. */
void	vnode_note_settled(struct fs *f, uint64_t ino);

/* The kernel asks for one before the first write to each file. */
bool	vnode_has_no_xattrs(struct fs *f, uint64_t ino);
/* Before ino gets one. */
void	vnode_may_have_xattrs(struct fs *f, uint64_t ino);

/* Directories, fifos and the like have no vnode, but may be open when they are
 * removed: the last thousand or so are remembered, for fstat(2). */
void	vnodes_note_gone(struct fs *f, const struct attr *a, int64_t ctime);
int	vnodes_gone(struct fs *f, uint64_t ino, struct attr *ret); /* -ENOENT */

#endif

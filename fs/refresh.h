/*
 * refresh: bringing imports up to date with their buckets (B4, B5).
 *
 * A refresh lists the bucket, all of it, before anything is changed: one that
 * fails half way, or is cancelled, changes nothing.  The differences are then
 * operations of the log, some hundred in a transaction (meta/refresh.h): a
 * crash between two leaves a tree that is whole, and the next refresh does the
 * rest.
 *
 * A changed object is another file under the same name.  Who has the old one
 * open reads on what of it is here, and gets ESTALE for what is not; who opens
 * it by name from then on gets the new one.  Pins follow by themselves: their
 * selectors are looked at again when the tree has changed.
 *
 * How often an import is refreshed by itself is in its row, so in the
 * namespace: the host that has it mounted for writing does it, from a thread
 * of its own.  When it was done last is kept on this host.
 */
#ifndef FS_REFRESH_H
#define FS_REFRESH_H

#include "fs/fs.h"
#include "meta/refresh.h"

struct refresher;

int	refresh_start(struct fs *f);
/* No refresh begins any more; those under way end soon.  The thread is gone
 * when it returns.  Then, when nobody can call any of this: the rest. */
void	refresh_stop(struct fs *f);
void	refresh_done(struct fs *f);

struct refresh_request {
	const char	*path;		/* of the import's root directory */
	int64_t		 every;		/* ns; 0: not any more, and that is
					   all; -1: as it is */
	bool		 empty;		/* also where nothing is listed */
	bool		 tags;		/* its objects' tags are its files'
					   from now on */
	/* told as it goes; may be NULL; nonzero cancels */
	int		(*progress)(void *arg, uint64_t keys, uint64_t bytes);
	void		*arg;
};
struct refresh_result {
	uint64_t	keys;		/* listed */
	struct refresh_stats st;
	uint64_t	tags_set, tags_removed;
	int64_t		took;		/* ns */
};
/* 0: it shows what the bucket had when it was listed, and that is in the log.
 * -EINVAL: the path is no import; -EROFS; -EHOSTUNREACH, -ENOENT (bucket),
 * -EACCES, -ENODATA (nothing is listed, and that would take all files away),
 * -EOPNOTSUPP (tags, where objects have none): nothing was changed;
 * -ETIMEDOUT: it is done here, but not in the log yet; with why, which names
 * the store. */
int	fs_refresh(struct fs *f, const struct refresh_request *r,
	    struct refresh_result *ret, struct why *why);

struct refresh_status {
	uint64_t	 root;
	const char	*path, *store, *url;	/* where it is, and from */
	int64_t		 every;		/* ns; 0: only when asked */
	int64_t		 last;		/* clock_real of the last; 0 unknown */
	bool		 running;
	const char	*why;		/* of the last one, if it failed */
};
/* Every import of the namespace; nonzero stops (not told).  0, -errno. */
int	refresh_each(struct fs *f, int (*each)(void *arg,
	    const struct refresh_status *s), void *arg);

#endif

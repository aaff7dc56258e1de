/*
 * pins: pin, unpin, warm, evict (DESIGN.md sections 3 and 6).
 *
 * A pin is a row of the namespace (OP_PIN) made by this host; which inodes it
 * holds here is the cache's (cache_pin).  A thread fills what is missing,
 * renews membership when files come and go (live selectors), drops expired
 * ones, and takes up again after a restart.
 */
#ifndef FS_PINS_H
#define FS_PINS_H

#include "fs/fs.h"

struct pins;

int	pins_start(struct fs *f);
void	pins_stop(struct fs *f);
/* After pins_stop, when no thread is left that tells of changes; nothing where
 * there are none. */
void	pins_free(struct fs *f);
/* Before pins_stop: fills under way end soon. */
void	pins_stop_fills(struct fs *f);
/* Either of them has begun: long work ends early, so that an unmount is
 * bounded. */
bool	pins_are_stopping(struct fs *f);
/* A file below a pin appeared, changed or landed; never blocks. */
void	pins_changed(struct fs *f, uint64_t ino);

struct pin_request {
	const char *const *selectors;	/* namespace paths, globs, filters */
	unsigned	 nselectors;
	unsigned	 flags;		/* SELECT_AND */
	const char	*in;		/* NULL */
	const char	*name;		/* NULL: first selector */
	int64_t		 ttl;		/* ns, 0 for ever */
	bool		 wait;
	bool		 everywhere;
};
/* told as it goes (wait): bytes present of wanted; nonzero cancels waiting */
typedef int pins_progress(void *arg, uint64_t have, uint64_t want,
	    uint64_t files);
int	pins_pin(struct fs *f, const struct pin_request *r,
	    pins_progress *progress, void *arg, uint64_t *retfiles,
	    uint64_t *retbytes, struct why *why);
int	pins_unpin(struct fs *f, const struct pin_request *r, struct why *why);
int	pins_warm(struct fs *f, const struct pin_request *r,
	    pins_progress *progress, void *arg, struct why *why);
int	pins_evict(struct fs *f, const struct pin_request *r,
	    uint64_t *retbytes, struct why *why);

struct pin_status {
	uint64_t	id;
	const char	*name, *selectors, *host;
	uint64_t	files, want, have;
	int64_t		eta;		/* ns; -1 unknown, 0 complete */
	int64_t		expires;
	const char	*state;		/* "complete", "filling", "waiting" */
	const char	*why;		/* what it waits for, or "" */
};
int	pins_each(struct fs *f, int (*each)(void *arg,
	    const struct pin_status *p), void *arg);

#endif

/*
 * stores: the namespace's stores, opened by id, with their health.
 *
 * A store is DOWN after a call ended UNREACHABLE (or AMBIGUOUS, THROTTLED,
 * BROKEN past the retry layer's deadline), or ABSENT for want of what holds
 * its objects (a bucket, a folder: why says so), and is probed in the
 * background (1 s, doubling to 15 s) until a cheap request is answered; then
 * those who wait (upload, ship, offline=wait readers) are woken.
 */
#ifndef FS_STORES_H
#define FS_STORES_H

#include "backends/store.h"
#include "fs/fs.h"

#define STORE_HOME_ID	1u

struct stores;

/* Opens the home; others from meta_stores at stores_reload. */
int	stores_new(struct fs *f, struct store *home, struct stores **ret);
/* Ends the prober, which kicks ship and upload; NULL accepted. */
void	stores_stop(struct stores *s);
void	stores_free(struct stores *s);		/* stopped, or not */
int	stores_reload(struct fs *f);	/* after a store op was applied */
/* Is this the URL of a store, as far as that can be said without asking it?
 * 0 or -EINVAL (why), -ENOMEM. */
int	stores_url_check(const char *text, struct why *why);
/* Borrowed until stores_free.  -ENOENT: no such id (why); -EACCES: its
 * credentials are missing (why; tried again at each call). */
int	stores_get(struct fs *f, uint32_t id, struct store **ret,
	    struct why *why);
/* Id of the store that covers this URL and the key prefix below it (new). */
int	stores_find(struct fs *f, const struct url *u, uint32_t *retid,
	    char **retprefix);			/* -ENOENT */
/* Every user of a store reports the result of a call here. */
void	stores_result(struct fs *f, uint32_t id, enum store_rc rc,
	    const struct why *why);
bool	stores_is_down(struct fs *f, uint32_t id);
/* The less, the better to read from: up before down, a directory of this host
 * before what is at the home's endpoint before the others. */
unsigned stores_rank(struct fs *f, uint32_t id);
/* What is at its address is being recorded (a stage to it), or the address is
 * changed, which is for one alone: 0, or -EBUSY with why.  Until
 * stores_use_end. */
int	stores_use_begin(struct fs *f, uint32_t id, bool alone,
	    struct why *why);
void	stores_use_end(struct fs *f, uint32_t id);
/* Has it asked soon whether it answers: its result is reported. */
void	stores_probe(struct fs *f, uint32_t id);
/* Its name, or its number where it is none of the namespace. */
void	stores_name(struct fs *f, uint32_t id, char ret[65]);
/* The id of a store by its name: 0, -ENOENT. */
int	stores_by_name(struct fs *f, const char *name, uint32_t *ret);
/* The same, and why; nothing is written where it is up. */
bool	stores_down_why(struct fs *f, uint32_t id, char *ret, size_t n);
/* When (clock_mono) a call that moves size bytes is given up: patience (ns)
 * from now, and the time that they take on the slowest line that is borne. */
int64_t	stores_deadline(int64_t patience, uint64_t size);
/* How often a store came back, all of them together: what failed because one
 * was down may be tried again when this has changed. */
uint64_t stores_returns(struct fs *f);

struct store_health {
	uint32_t	 id;
	char		 name[65];
	char		 url[512];
	bool		 down;
	int64_t		 since;		/* clock_real of the last change */
	char		 why[256];
};
int	stores_each(struct fs *f, int (*each)(void *arg,
	    const struct store_health *h), void *arg);

#endif

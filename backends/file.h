/*
 * file: what file.c (objects) and file_list.c (listing) of the file://
 * backend share.
 */
#ifndef BACKENDS_FILE_H
#define BACKENDS_FILE_H

#include <sys/stat.h>

#include "backends/layer.h"
#include "base/lock.h"

/* What a temporary file's name begins with; no component of a key may. */
#define FILE_TEMP	".gnsfs-tmp-"

struct file_scan;

enum { FILE_SCANS = 64, FILE_SWEPT = 256 };

struct file_store {
	struct store	 store;
	char		*root;		/* absolute; owned; "" for / */
	char		*url;		/* owned */
	struct lock	 lock;		/* over what follows */
	bool		 rooted;	/* root was seen, as: */
	dev_t		 root_dev;
	ino_t		 root_ino;
	uint64_t	 mark;	/* hash of its gnsfs.json; 0: it has none */
	struct cond	 scanned;	/* a scan has been loaded */
	struct file_scan *scans[FILE_SCANS];
	size_t		 scan_bytes;
	uint64_t	 scan_clock;	/* counts uses, for LRU */
	uint64_t	 swept[FILE_SWEPT]; /* directories swept, by hash */
	int64_t		 last_sweep;	/* clock_mono() */
};

/* No component is empty, ".", "..", over 255 bytes or one of ours. */
bool	file_key_ok(const char *key, size_t n);
bool	file_is_temp(const char *name);
bool	file_root_is_there(struct file_store *f);
/* Is the root what it was?  A folder that held a namespace (gnsfs.json) is not
 * to be taken for the bare one under it while its disk is not mounted, nor for
 * another disk: STORE_UNREACHABLE.  A root that is missing is not its
 * affair. */
enum store_rc	file_root_check(struct file_store *f, struct store_call *c);
/* root/key; new; NULL: no memory. */
char	*file_store_path(const struct file_store *f, const char *key);
void	file_info(const struct stat *st, struct store_info *ret);
/* The result that a failed system call means, with its reason in c->why.
 * ENOENT and ENOTDIR are STORE_ABSENT, the reason said when it is the root
 * that is missing. */
enum store_rc	file_fail(struct file_store *f, struct store_call *c, int err,
	    const char *verb, const char *key);

/* file_list.c */
enum store_rc	file_list(struct store *s, struct store_call *c,
	    struct store_list *l,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
void	file_scans_free(struct file_store *f);

#endif

/*
 * file: what the files of the file:// backend share: file.c (keys, the root,
 * the store), file_read.c, file_write.c, file_copy.c, file_list.c, and
 * file_draft.c, which gives an object its bytes and name in one step.
 */
#ifndef BACKENDS_FILE_H
#define BACKENDS_FILE_H

#include <sys/stat.h>

#include "backends/layer.h"
#include "base/lock.h"

/* What a temporary file's name begins with; no component of a key may. */
#define FILE_TEMP	".gnsfs-tmp-"

struct file_scan;

enum {
	FILE_SCANS = 64,
	FILE_SWEPT = 256,
	FILE_STEP = 512 << 10,		/* bytes read or written at a time */
};

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

/* As file_fail, for a write: a path that leads through an object cannot be. */
enum store_rc	file_write_fail(struct file_store *f, struct store_call *c,
	    int err, const char *verb, const char *key);
/* What each request on a key begins with: the key, the call, the root. */
enum store_rc	file_key_check(struct file_store *f, struct store_call *c,
	    const char *key);
/* Is st what version names?  Nothing named: yes. */
bool	file_is_version(const struct stat *st,
	    const struct store_version *version);

/* file_read.c.  Opens an object.  Anything but a regular file is none. */
enum store_rc	file_object_open(struct file_store *f, struct store_call *c,
	    const char *key, const struct store_version *version, int *retfd,
	    struct stat *retst);
/* Is fd still as st says?  What somebody writes in place is not one version
 * (B5). */
bool	file_is_unchanged(int fd, const struct stat *st);
enum store_rc	file_get(struct store *s, struct store_call *c,
	    const char *key, const struct store_version *version, uint64_t off,
	    uint64_t len, store_sink *sink, void *arg, struct store_info *ret);
enum store_rc	file_head(struct store *s, struct store_call *c,
	    const char *key, struct store_info *ret);

/* file_draft.c: an object in the making. */
struct file_draft {
	struct file_store *f;
	struct store_call *c;
	const char	*key, *verb;
	char		*path;		/* where it will be; owned */
	char		*dir;		/* that one's directory; owned */
	char		*temp;		/* owned */
	int		 fd, dirfd;
};

/* An empty one of key, in fd; folders above it are made.  verb and key are
 * borrowed until its end, which is called also on failure. */
enum store_rc	file_draft_begin(struct file_draft *d, struct file_store *f,
	    struct store_call *c, const char *verb, const char *key);
/* Stamps and syncs the draft, then names it. */
enum store_rc	file_draft_finish(struct file_draft *d, enum store_cond cond,
	    const struct store_version *match, struct store_info *ret);
void	file_draft_end(struct file_draft *d);
enum store_rc	file_draft_fail(struct file_draft *d, int err);
/* flock on a directory that is still there; the kernel lets it go with the
 * descriptor.  No wait without end: the call's deadline, or 30 s. */
enum store_rc	file_dir_lock(struct file_store *f, struct store_call *c,
	    int fd, const char *key);
/* What stands at path, against a condition: OK, ABSENT, CHANGED. */
enum store_rc	file_match_check(struct file_store *f, struct store_call *c,
	    const char *key, const char *path,
	    const struct store_version *match);

/* file_write.c */
enum store_rc	file_put(struct store *s, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const struct store_src *src,
	    struct store_info *ret);
enum store_rc	file_del(struct store *s, struct store_call *c,
	    const char *key, const struct store_version *match);
/* Answers a condition that cannot be met before a byte is written. */
enum store_rc	file_precheck(struct file_store *f, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match);

/* file_copy.c */
enum store_rc	file_copy(struct store *s, struct store_call *c,
	    const char *from, const struct store_version *version,
	    const char *to, struct store_info *ret);
enum store_rc	file_pull(struct store *s, struct store_call *c,
	    struct store *from, const char *key,
	    const struct store_version *version, const char *to,
	    struct store_info *ret);

/* file_list.c */
enum store_rc	file_list(struct store *s, struct store_call *c,
	    struct store_list *l,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
void	file_scans_free(struct file_store *f);

#endif

/*
 * import: an existing bucket's keys as a tree of inodes, cut into pieces; and
 * loading such pieces (DESIGN.md section 4).
 *
 * A key is cut at each '/'; what stands before the last one are directories.
 * All objects become files of the tree, whatever their keys are: a component
 * that cannot be a name is given another by this rule.
 *
 *   component                        name in the tree
 *   (empty: "a//b", "/a", "a/")      ~gns-empty
 *   .                                ~gns-dot
 *   ..                               ~gns-dotdot
 *   NAME that begins with ~gns-      ~gns-raw-NAME
 *   NAME of an object where other    ~gns-file-NAME
 *     keys begin with NAME/            (the directory keeps NAME)
 *   NAME over 255 bytes, also when   ~gns-long-HASH-START, or, for an object
 *     one of the above made it so      beside a directory,
 *                                      ~gns-longfile-HASH-START: HASH is the
 *                                      first 32 hex digits of NAME's SHA-256,
 *                                      START its first bytes, up to 200, cut
 *                                      between characters
 *
 * No two components of a directory get the same name, no other name is ever
 * changed, and the key itself is kept: user.gnsfs.key and gnsfs explain show
 * it.  All but the long ones can be turned back by reading the table from
 * right to left.  Other bytes (control characters, bytes that are not UTF-8)
 * are names as they are.
 *
 * An empty object whose key ends in '/' ("a/b/") is what tools make to show
 * an empty directory: it becomes the directory, with its time, and no file.
 * One that has bytes is the file a/b/~gns-empty.  The same of the key that is
 * the import's prefix itself.
 */
#ifndef META_IMPORT_H
#define META_IMPORT_H

#include "base/buf.h"
#include "meta/meta.h"
#include "meta/piece.h"

#define IMPORT_KEYS_MAX	(1u << 30)

struct import_opts {
	uint32_t	 uid, gid;
	uint32_t	 file_mode, dir_mode;	/* permission bits */
	uint32_t	 store;		/* id of the store the keys are in */
	const char	*prefix;	/* put before each key in its location,
					   with its slash: "images/"; "" none.
					   Copied */
	int64_t		 root_mtime;	/* and of directories without a marker:
					   ns */
};

struct import_stats {
	uint64_t	files, dirs;	/* dirs: without the root */
	uint64_t	bytes;
	uint64_t	escaped; /* names changed: files and directories */
	uint64_t	markers;	/* keys that became directories */
	uint64_t	twice;		/* keys given again: the last counts */
	uint64_t	lo, hi;		/* ids: the root is lo */
	uint64_t	pieces, rows;
};

/* Told each changed name: the key (below the prefix; of a directory with its
 * '/'), and the path below the import's root.  Nonzero stops the import with
 * that error. */
typedef int import_report(void *arg, const char *key, const char *path);

struct import;
/* One thread at a time uses an import. */
int	import_new(struct meta *m, const struct import_opts *opts,
	    struct import **ret);
/* key: below the prefix.  version: as the store says it, ≤ 159 bytes (B5).
 * -ENOMEM, -EFBIG (over IMPORT_KEYS_MAX keys or 16 GiB of them), -EINVAL (key
 * over 64 KiB, size over 2^62). */
int	import_add(struct import *imp, const char *key, uint64_t size,
	    int64_t mtime, const char *version);
uint64_t import_keys(const struct import *imp);
/*
 * Takes the ids, makes the tree and gives its pieces to emit, in order:
 * tables ascending, keys ascending.  A directory's entries have ascending
 * inode numbers in READDIR's order.  hashes: n × 32 bytes are appended, what
 * an attach (op.h) carries with lo and hi.  report may be NULL.  Once only.
 * -EROFS: no session to take ids of.
 */
int	import_finish(struct import *imp, piece_emit *emit, void *arg,
	    import_report *report, void *report_arg, struct buf *hashes,
	    struct import_stats *ret);
void	import_free(struct import *imp);	/* NULL accepted */

/*
 * Loads the n pieces of the import lo..hi into the database, hidden until its
 * attach is applied: an sq_write a piece.  get appends a piece's stored bytes
 * to out (it may fetch: nothing is held meanwhile).  On failure the rows are
 * taken away again.  -EEXIST: ids of the range are there or being loaded;
 * -EBADMSG with why: a piece is damaged or holds what is not the import's.
 */
int	import_load(struct meta *m, uint64_t lo, uint64_t hi,
	    const uint8_t *hashes, size_t n,
	    int (*get)(void *arg, const uint8_t hash[32], struct buf *out),
	    void *arg, struct why *why);
/* The same in steps, for who has the bytes at hand as they are made. */
int	import_load_begin(struct meta *m, uint64_t lo, uint64_t hi);
int	import_load_piece(struct meta *m, uint64_t lo, uint64_t hi,
	    const uint8_t hash[32], const void *p, size_t n, struct why *why);
/* After a failure: takes away what was loaded of it. */
int	import_load_abort(struct meta *m, uint64_t lo);

/* The name of a key's component, by the rule above, into ret (of
 * META_NAME_MAX + 1): true if it is another.  beside: an object whose name a
 * directory has. */
bool	import_name(const char *raw, size_t n, bool beside, char *ret);

#endif

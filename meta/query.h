/*
 * query: what the tree says.  All on a reader (or the writer's connection).
 */
#ifndef META_QUERY_H
#define META_QUERY_H

#include "meta/meta.h"
#include "meta/rows.h"

struct attr {
	uint64_t	ino, size;
	uint32_t	mode, uid, gid, rdev, nlink, flags; /* INODE_* */
	int64_t		atime, mtime, ctime;
	/* nlink of a directory: its subdirectories and 2 (L5: derived), or 1
	 * where there are 65,000 of them */
};

/* -ENOENT */
int	meta_getattr(struct sqc *c, uint64_t ino, struct attr *ret);
/* The same, without counting: nlink of a directory means nothing. */
int	meta_getattr_stored(struct sqc *c, uint64_t ino, struct attr *ret);
/* -ENOENT; -ENAMETOOLONG.  One statement. */
int	meta_lookup(struct sqc *c, uint64_t parent, const char *name,
	    struct attr *ret);
/* Entries of dir whose cookie is > after (0: from the start), in cookie
 * order; cookies ≥ 16.  With want_attr, attr is whole, else only ino and the
 * type bits of mode.  each returns nonzero to stop (not told to the caller).
 * Names are borrowed. */
int	meta_readdir(struct sqc *c, uint64_t dir, uint64_t after,
	    bool want_attr, int (*each)(void *arg, uint64_t cookie,
		const char *name, const struct attr *a), void *arg);
bool	meta_dir_is_empty(struct sqc *c, uint64_t dir);
/* A parent and name of an inode (any, for a file with several): -ENOENT. */
int	meta_parent(struct sqc *c, uint64_t ino, uint64_t *retparent,
	    char retname[META_NAME_MAX + 1]);
/* Each of them; each returns nonzero to stop.  Borrowed. */
int	meta_names(struct sqc *c, uint64_t ino,
	    int (*each)(void *arg, uint64_t parent, const char *name),
	    void *arg);
/* Path below the root, "/a/b" ("/" for the root); new. */
int	meta_path(struct sqc *c, uint64_t ino, char **ret);
/* The inode of such a path (no symlinks followed): -ENOENT, -ENOTDIR. */
int	meta_resolve(struct sqc *c, const char *path, struct attr *ret);
/* True (1) when `ino` is `top` or below it. */
int	meta_is_below(struct sqc *c, uint64_t ino, uint64_t top);

int	meta_readlink(struct sqc *c, uint64_t ino, struct buf *out);
int	meta_getxattr(struct sqc *c, uint64_t ino, const char *name,
	    struct buf *out);				/* -ENODATA */
/* NUL-separated */
int	meta_listxattr(struct sqc *c, uint64_t ino, struct buf *out);

/* Where bytes [off, off+len) of a file are in stores, as of the frozen prefix
 * (M1): in order; gaps are holes.  A location per extent: that of the least
 * store id; meta_locations has the others, where there are copies.  key is
 * whole (derived ones too), borrowed. */
struct meta_extent {
	uint64_t	off, len, object, ooff, osize;
	int64_t		crc;		/* of the whole extent, -1 unknown */
	uint32_t	store, kind;	/* store id; enum object_kind */
	uint32_t	copies;		/* locations in all */
	const char	*key, *version;
};
int	meta_extents(struct sqc *c, uint64_t ino, uint64_t off, uint64_t len,
	    int (*each)(void *arg, const struct meta_extent *e), void *arg);
/* Which bytes of which object a small file is, all of it, in one query.
 * -ENOENT: it has bytes that no store has, is more than one extent, or large,
 * or gone, and the others say what it is. */
struct meta_small { uint64_t size, object, ooff; };
int	meta_small(struct sqc *c, uint64_t ino, struct meta_small *ret);
/* Of the inodes [ino, ino+n), those small files that are one extent each, by
 * object and offset in it.  An extent that is not all of its file is not told:
 * a row of small.db stands for a whole file, its reservation too (C5). */
int	meta_small_extents(struct sqc *c, uint64_t ino, uint64_t n,
	    int (*each)(void *arg, uint64_t ino, const struct meta_extent *e),
	    void *arg);

/* All places where an object is, by store id; borrowed. */
struct meta_location {
	uint32_t	store;
	const char	*key, *version;
};
int	meta_locations(struct sqc *c, uint64_t object,
	    int (*each)(void *arg, const struct meta_location *l), void *arg);
/* What is known of the bytes [ooff, ooff+len) of an object, in order: each sum
 * that covers some of them.  -EUCLEAN: a row that is none. */
struct meta_sum { uint64_t ooff; uint32_t len, crc; };
int	meta_sums(struct sqc *c, uint64_t object, uint64_t ooff, uint64_t len,
	    int (*each)(void *arg, const struct meta_sum *s), void *arg);
/* The extents of a file whose object has no location in this store. */
struct meta_unlocated {
	uint64_t	object, size, ooff, len;
	uint32_t	kind;
	int64_t		crc;
};
int	meta_unlocated(struct sqc *c, uint64_t ino, uint32_t store,
	    int (*each)(void *arg, const struct meta_unlocated *u), void *arg);
/* The others, in no order: whose object has one; and of what is imported and
 * empty, which has no extent, its object. */
int	meta_located(struct sqc *c, uint64_t ino, uint32_t store,
	    int (*each)(void *arg, const struct meta_unlocated *u), void *arg);
/* Has this store objects that others name (an import)?  1, 0, -errno. */
int	meta_store_is_imported(struct sqc *c, uint32_t store);

struct store_row { uint32_t id; const char *name, *url; uint32_t flags; };
int	meta_stores(struct sqc *c,
	    int (*each)(void *arg, const struct store_row *s), void *arg);

struct pin_row {
	uint64_t	 id;
	const char	*name, *host, *selectors; /* newline-separated */
	int64_t		 expires;	/* 0 never */
	int64_t		 created;
};
int	meta_pins(struct sqc *c, int (*each)(void *arg, const struct pin_row *),
	    void *arg);

struct session_row {
	uint32_t	 number;
	uint8_t		 state_id[16];
	uint64_t	 nonce, hwm;
	const char	*host;
	int64_t		 opened;
	enum session_state state;
	uint32_t	 block_first, block_count;
};
int	meta_sessions(struct sqc *c,
	    int (*each)(void *arg, const struct session_row *s), void *arg);

/* files, dirs, bytes (regular files' sizes) in the namespace; kept, not
 * counted: O(1). */
struct meta_totals { uint64_t files, dirs, bytes; };
int	meta_totals(struct sqc *c, struct meta_totals *ret);

/* Every inode at or below top, directories after the entries beside them:
 * path-less walk for pins, import reports, find.  each may run any query on
 * c.  each: nonzero stops. parent/name of the dentry
 * it was reached by. */
int	meta_walk(struct sqc *c, uint64_t top,
	    int (*each)(void *arg, uint64_t parent, const char *name,
		const struct attr *a), void *arg);

#endif

/*
 * import_impl: the keys of an import as they are kept until it is finished
 * (import.c), for the making of the tree (import_tree.c).
 */
#ifndef META_IMPORT_IMPL_H
#define META_IMPORT_IMPL_H

#include "meta/import.h"

/* Bytes in chunks, never moved; places are in units of 4 bytes. */
#define ARENA_CHUNK	(1u << 20)
struct arena {
	uint8_t		**chunks;
	uint32_t	 n, cap;
	size_t		 used;		/* of the last */
};
typedef uint32_t place;

static inline const uint8_t *
arena_at(const struct arena *a, place at)
{
	return a->chunks[at / (ARENA_CHUNK / 4)] +
	    (size_t)(at % (ARENA_CHUNK / 4)) * 4;
}

/* A record: u16 length of name, name, NUL; of a file then varints: size,
 * seconds, nanoseconds, and the version packed (import.c). */
struct idir {
	place		 name;
	uint32_t	 parent;
	uint32_t	 nkids;
	uint32_t	 kids;		/* first of them in tree.kids */
	uint32_t	 id;		/* less lo */
	int64_t		 mtime;
};
struct ifile {
	place		 rec;
	uint32_t	 dir;
};

struct import {
	struct meta	*m;
	struct import_opts opts;
	char		*prefix;
	struct arena	 arena;
	struct idir	*dirs;		/* [0] is the root */
	uint32_t	 ndirs, dirs_cap;
	struct ifile	*files;
	uint32_t	 nfiles, files_cap;
	uint32_t	*table;		/* dirs by (parent, name); 0 is empty */
	uint32_t	 table_size;	/* a power of 2 */
	struct buf	 last;		/* the last key's directory part ... */
	uint32_t	 last_dir;	/* ... and the directory */
	uint64_t	 markers;
	bool		 finished;
};

/* A record taken apart. */
struct irec {
	const char	*name;
	size_t		 nname;
	uint64_t	 size;
	int64_t		 mtime;
	char		 version[160];
};
void	irec_name(const struct import *imp, place at, struct irec *ret);
void	irec_file(const struct import *imp, place at, struct irec *ret);

/* A directory of that raw name in parent, or 0. */
uint32_t idir_find(const struct import *imp, uint32_t parent,
	    const char *name, size_t n);
/* Its key ("a/b/", the root's: ""), or with names its path in the tree. */
void	idir_path(const struct import *imp, uint32_t dir, bool names,
	    struct buf *out);

#endif

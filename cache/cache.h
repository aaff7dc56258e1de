/*
 * cache: file bytes on this host's disk (DESIGN.md section 6).
 *
 * Knows inodes as numbers; nothing of the tree, of FUSE or of HTTP.  Passive:
 * fs/ asks a file for its gaps and hands it bytes.
 *
 * Two representations:
 *  - small (≤ CACHE_SMALL_MAX): clean bytes are rows of small.db (small.h);
 *    unstored ones are meta's `unstored` rows.
 *  - large: a backing file, bytes at their own offsets, sparse, with a map: a
 *    present bit and a CRC-32C a chunk of 1 MiB, and a list of dirty byte
 *    intervals (C1).  backing.h is its interface.
 * A new file starts as a backing file from the pool, whatever it becomes (F2).
 *
 * Under the cache directory:
 *   lock                        flock: one process (fs takes it)
 *   data/<xx>/<ino>.<inc>       backing files, hex
 *   pool/<n>                    ready backing files; also while in use
 *   reserve                     preallocated for pins (C5)
 *   small.db                    clean bytes of small files (C6)
 * The index is tables c_* in the state database, which fs passes in: fs alone
 * composes a transaction over meta's and cache's tables (DESIGN section 2);
 * functions that take a `struct sqc *` write c_* tables in that transaction.
 *
 * INVARIANTS (cited as K1..)
 *  K1  Bytes, then rows (C6): a chunk's bytes are in the file before its
 *      present bit is in the index; the index may lag the file, never lead.
 *  K2  A write(2) is answered once its bytes are in the file and its interval
 *      is committed.  Where all it touches is here, the interval is first
 *      (crash between: the old bytes are dirty); where chunks are absent, the
 *      bytes are (crash between: a fill overwrites them).  A change of size is
 *      made first; one that a crash cut off is completed at the next start.
 *  K3  A dirty or in-flight (uploading) interval is never overwritten by a
 *      fill, punched, or evicted.
 *  K4  Dirty becomes clean only by bfile_landed (B6); or bfile_unseen_undo
 *      says that what was clean never changed.
 *  K5  Space: what is reserved for pins plus what is used never exceeds the
 *      limit by more than the dirty bytes do.
 *  K6  An upload of a file that is open (VIEW_LIVE) is good if, at its end,
 *      every byte of it is its op's still, and no write to one is under way:
 *      who changes bytes takes them from every op first, or has them in
 *      `busy` meanwhile.  The op is frozen before it begins, so that no close
 *      takes them; what is not good is thawed.
 *  K7  Of a file that is open, clean chunks are punched that the index says
 *      are absent by then, when every read that found them here is over
 *      (bfile_read_begin), and nobody but the daemon has the file, or is
 *      about to (C2, bfile_lend).
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sq.h"
#include "base/why.h"

#define CACHE_SMALL_MAX	(64 * 1024)
#define CACHE_CHUNK	(1u << 20)

struct cache;

struct cache_opts {
	const char	*dir;		/* exists, 0700 */
	struct sq	*index;		/* the state database; borrowed */
	uint64_t	 size_limit; /* bytes; 0 = 80 % of free at first open,
					   then kept in the index */
	unsigned	 pool;		/* ready backing files; 0 = 64 */
};

/* Makes c_* tables and folders if missing, recovers (below).  why names the
 * file that is wrong and what to do.  *retunclean: the last use did not end
 * with cache_close and the boot id changed (C4). */
int	cache_open(const struct cache_opts *o, struct cache **ret,
	    bool *retunclean, struct why *why);
/* All bfiles put.  Saves maps, marks the index closed cleanly. */
void	cache_close(struct cache *c);

/* After cache_open, once: files that were open for writing or dirty when the
 * process died.  Each: ino, its size now (K2, L11: after an unclean boot as
 * long as its recorded sync says; synced false and had_base true: its dirty
 * bytes must not replace the stored version; fs then calls bfile_forget).
 * fs journals the missing `extents` op.  closed: its op was journalled. */
struct cache_orphan {
	uint64_t	ino, size;
	int64_t		mtime;
	bool		closed, unsynced, had_base;
};
int	cache_recover(struct cache *c,
	    int (*each)(void *arg, const struct cache_orphan *o), void *arg);

/* After cache_recover, once what it gave is journalled: an unclean boot is over
 * (L11; until then the next start is after it as well).  last: the journal's
 * newest op.  Until those have landed what was read of their files may not be
 * what they say. */
int	cache_recovered(struct cache *c, uint64_t last);
bool	cache_is_doubtful(const struct cache *c, uint64_t seq);

/* Closes what is idle where the process runs short of descriptors; the limit
 * may change while it runs.  Cheap: for now and then, and after an EMFILE. */
void	cache_mind_fds(struct cache *c);

/* --- space (space.c) --- */
struct cache_stat {
	uint64_t	limit, used, dirty, pinned, reserved, small;
	uint64_t	files;
	uint64_t	disk_free;	/* of the filesystem below */
};
void	cache_stat(struct cache *c, struct cache_stat *ret);
void	cache_set_limit(struct cache *c, uint64_t bytes);
/* Room for n more bytes, evicting if need be (C2; least recently used, clean,
 * unpinned, to a low watermark).  0; -ENOSPC: no room (a reader then reads
 * through without keeping; a writer waits, then fails).  `dirty`: may use
 * what only dirty bytes may (they pass the limit's soft edge). */
int	cache_room(struct cache *c, uint64_t n, bool dirty);
/* What cache_room would evict first was last used before `before`
 * (clock_real); false where there is nothing. */
bool	cache_has_older(struct cache *c, int64_t before);
/* Waits until cache_room may succeed or the deadline (clock_mono). */
int	cache_room_wait(struct cache *c, uint64_t n, int64_t deadline);
/* Half of all that there is room for, *retall, is taken by what cannot make
 * way: dirty, pinned or reserved. */
bool	cache_is_pressed(struct cache *c, uint64_t *retall);
/* Drops clean bytes of ino (small or large): bytes dropped, -EBUSY (in use,
 * dirty; what could be dropped was), -EPERM pinned. */
int64_t	cache_evict(struct cache *c, uint64_t ino);

/* --- pins kept (pinned.c): which inodes are pinned by which pin --- */
/* Reserves for all of them together first (C5), or -ENOSPC with why and
 * nothing kept.  n entries of (ino, size); already pinned ones are counted
 * once.  Calls sq_write in bounded transactions. */
struct pin_want { uint64_t ino, size; };
int	cache_pin(struct cache *c, uint64_t pin, const struct pin_want *w,
	    uint64_t n, struct why *why);
/* inos NULL: the whole pin. */
int	cache_unpin(struct cache *c, uint64_t pin, const uint64_t *inos,
	    uint64_t n);
bool	cache_is_pinned(struct cache *c, uint64_t ino);
struct cache_pin_stat { uint64_t files, want_bytes, have_bytes, have_files; };
int	cache_pin_stat(struct cache *c, uint64_t pin,
	    struct cache_pin_stat *ret);
/* Each (ino, size) of a pin that is not wholly present, by number, those after
 * that one. */
int	cache_pin_missing(struct cache *c, uint64_t pin, uint64_t after,
	    int (*each)(void *arg, uint64_t ino, uint64_t size), void *arg);
int	cache_pin_each(struct cache *c, uint64_t pin,
	    int (*each)(void *arg, uint64_t ino, uint64_t size), void *arg);
/* Each pin that has inodes, once. */
int	cache_pins_each(struct cache *c,
	    int (*each)(void *arg, uint64_t pin), void *arg);

/* Percent of size that is on this host (100 for size 0), and bytes. */
int	cache_present(struct cache *c, uint64_t ino, uint64_t size,
	    uint64_t *retbytes);

#endif

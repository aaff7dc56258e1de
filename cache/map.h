/*
 * map: what the files of cache/ share: the cache, a backing file, its dirty
 * set, its pages of present bits, and the index.  Not for fs/.
 *
 * Locks, from the outside in (base/lock.h): bfile.lock (RANK_MAP) for a map;
 * cache.space_lock (RANK_SPACE) for eviction and waiting for room;
 * cache.slots_lock (RANK_SLOTS) for the pool and what is to be closed;
 * cache.tab_lock (RANK_TABLE) for the table of backing files; it is above
 * RANK_SQ so that functions which run in a transaction may take it.  None is
 * held across sq_write or a slow system call.
 *
 * Exclusion of bytes.  Long work on a byte range is an entry of bfile.busy,
 * not a held lock (STYLE 10): BUSY_WRITE from before the pwrite until the
 * interval is recorded; BUSY_HOLD while a chunk is filled or checked;
 * BUSY_SAVE while a page goes into the index.  WRITE excludes HOLD and SAVE,
 * each of those also itself.  So a fill never overwrites newer bytes (K3)
 * and a checksum in the index is never one of older bytes.
 *
 * The map of a file is three layers; the first that says something counts:
 *   dirty     intervals [off, end) with the seq of the op that will publish
 *             them, 0 while no op was journalled.  [0, ∞) of the index is
 *             two columns of c_file (C1: a new file costs no further row)
 *   present   a bit a chunk: all of its bytes are in the file; crcok: and
 *             crc is theirs (it is not while the chunk is dirty)
 *   absent
 * Bytes past the size are always here, and are zeros when the file grows.
 */
#ifndef CACHE_MAP_H
#define CACHE_MAP_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "cache/backing.h"
#include "cache/cache.h"
#include "cache/small.h"

#define SAVE_AFTER	(2 * NSEC_PER_SEC)	/* uses are in the index */
#define INF		((uint64_t)INT64_MAX)
#define PAGE_CHUNKS	256u
#define PAGE_SPAN	((uint64_t)PAGE_CHUNKS * CACHE_CHUNK)
#define DIRTY_BOUND	4096		/* C1: intervals before they coalesce */
#define IDLE_FILES	256		/* unreferenced files kept open */
#define RANK_TABLE	(RANK_SQ + 2)
#define TABLE_SIZE	4096u

/* --- dirty.c: a sorted list of disjoint intervals with owners --- */

struct ival { uint64_t off, end, seq; };
struct dset { struct ival *v; unsigned n, cap; };

void	dset_done(struct dset *d);
/* Room for n more intervals, so that what follows cannot fail. */
int	dset_reserve(struct dset *d, unsigned n);
/* [off, end) becomes seq's; needs room for 2. */
void	dset_add(struct dset *d, uint64_t off, uint64_t end, uint64_t seq);
/* Unlabelled and unfrozen ones become seq's. */
void	dset_relabel(struct dset *d, uint64_t seq, const uint64_t *frozen,
	    unsigned nfrozen);
void	dset_drop_seq(struct dset *d, uint64_t seq);
/* What is nobody's and lies before `end` becomes seq's; needs room for 1. */
void	dset_take(struct dset *d, uint64_t end, uint64_t seq);
/* What is seq's becomes to's; 0: nobody's again. */
void	dset_rename(struct dset *d, uint64_t seq, uint64_t to);
bool	dset_covers(const struct dset *d, uint64_t off, uint64_t end);
bool	dset_covers_seq(const struct dset *d, uint64_t off, uint64_t end,
	    uint64_t seq);
bool	dset_touches(const struct dset *d, uint64_t off, uint64_t end);
uint64_t dset_bytes(const struct dset *d, uint64_t size);
/* The part of [off, end) that is dirty or clean first: *retend where that
 * ends. */
bool	dset_at(const struct dset *d, uint64_t off, uint64_t end,
	    uint64_t *retend);

/* --- the map --- */
struct page {
	uint8_t		present[PAGE_CHUNKS / 8];
	uint8_t		crcok[PAGE_CHUNKS / 8];
	uint8_t		verified[PAGE_CHUNKS / 8];
	uint32_t	crc[PAGE_CHUNKS];
	bool		save;		/* newer than the index */
};

enum busy_kind { BUSY_WRITE, BUSY_HOLD, BUSY_SAVE };
struct busy {
	struct busy	*next;
	uint64_t	 off, end;	/* whole chunks */
	uint64_t	 from, to;	/* WRITE: the bytes that change */
	enum busy_kind	 kind;
};

#define FROZEN_MAX	8

struct bfile {
	struct cache	*c;
	uint64_t	 ino;		/* 0 until assigned */
	uint32_t	 inc;
	_Atomic int64_t	 slot;		/* in the pool; -1: in data/ */
	int		 fd, reg_fd;	/* reg_fd -1 until asked for */
	_Atomic bool	 fd_ro;		/* fd is reg_fd's description (C2) */

	/* under tab_lock */
	struct bfile	*hnext;
	TAILQ_ENTRY(bfile) idle;
	unsigned	 refs, inner;	/* inner: of refs, the cache's own */
	bool		 hashed, on_idle, closed_off, unconfirmed;
	_Atomic bool	 gone;

	_Atomic uint64_t gen;		/* moves before and after each write */
	_Atomic uint64_t clean_gen;	/* of what is not dirty: landings */
	_Atomic uint64_t close_seq;	/* a close to be settled */
	_Atomic uint64_t size;
	_Atomic bool	 open_all;	/* dirty is exactly [0, ∞) of seq 0 */
	_Atomic bool	 all_here;
	_Atomic bool	 need_save;
	_Atomic bool	 unseen;	/* bfile_unseen_begin */
	_Atomic bool	 syncs_itself;	/* bfile_unseen_synced */
	_Atomic bool	 lent;		/* bfile_lend */
	_Atomic int	 writers;
	_Atomic uint64_t own;		/* changes of ctime that we made */
	_Atomic uint64_t used, dirty_bytes;	/* as accounted */
	_Atomic uint64_t wb;		/* writeback was started up to here */
	_Atomic uint64_t atime;
	_Atomic unsigned turn, reading[2];	/* bfile_read_begin (K7) */

	struct lock	 lock;		/* what follows */
	struct cond	 cond;
	struct busy	*busy;
	struct dset	 dirty;
	struct page	**pages;
	unsigned	 npages;
	uint64_t	 npresent, nunver;	/* chunks */
	uint64_t	 frozen[FROZEN_MAX];
	unsigned	 nfrozen;
	uint64_t	 grow;		/* of the last append's interval */
	_Atomic bool	 base;		/* some content is in a store */
	_Atomic bool	 synced;	/* the index says so */
	uint64_t	 sync_gen;
	int64_t		 mtime;
	bool		 pinned;
	uint64_t	 res;		/* reserved for it and not yet used */
	struct kept {			/* for bfile_unseen_undo; v NULL: not */
		struct page	**v;
		unsigned	 n;
		uint64_t	 npresent;
		int64_t		 mtime;
	} kept;
};

struct slot { int64_t n; int fd; };
struct retired { struct retired *next; int fd, reg_fd; };
struct landed {
	uint64_t	 ino, seq;
	int64_t		 when;
	uint64_t	 bytes;
	bool		 dropped;	/* its bytes are not here */
};

struct cache {
	char		*dir;
	struct sq	*index, *small;
	unsigned	 pool, stock;	/* slots.c */
	uint64_t	 epoch;		/* of unclean boots */
	int64_t		 closed_at; /* before, clock_real; 0: not cleanly */
	int64_t		 opened_at;	/* this time */
	bool		 unclean;
	uint64_t	 doubt;		/* ops up to it; cache_is_doubtful */
	_Atomic uint32_t next_inc;
	_Atomic uint64_t next_clean;
	_Atomic uint64_t limit, used, dirty, reserved, small_bytes;
	_Atomic uint64_t files, pinned_bytes;
	_Atomic unsigned pins;		/* pinned inodes */

	struct lock	 tab_lock;
	struct cond	 tab_cond;
	struct bfile	*tab[TABLE_SIZE];
	TAILQ_HEAD(idle_head, bfile) idle;	/* most recently used first */
	unsigned	 nidle;
	struct landed	*landed;
	unsigned	 nlanded, cap_landed;
	uint64_t	*touched;	/* small rows used, to be noted */
	unsigned	 ntouched;

	struct lock	 slots_lock;
	struct cond	 slots_cond;
	struct slot	*ready;
	unsigned	 nready;
	int64_t		 next_slot;
	struct retired	*retired;
	bool		 stop, kicked;
	_Atomic bool	 saving;	/* something waits to be saved */
	pthread_t	 thread;
	bool		 started;

	struct lock	 space_lock;
	struct cond	 space_cond;
	bool		 evicting;
	uint64_t	 freed;		/* times that room came */
	int		 reserve_fd;
	bool		 reserve_busy;
	uint64_t	 reserve_size;
};

/* --- schema.c: the index.  All in a transaction or on a reader. --- */
int	index_schema(struct sqc *q);
int	index_meta_get(struct sqc *q, const char *key, int64_t *ret);
int	index_meta_set(struct sqc *q, const char *key, int64_t v);
struct index_file {
	uint64_t ino, size, allseq, used, syncsize;
	uint32_t inc;
	int64_t	 slot, mtime, atime;
	bool	 base, alldirty, synced;
};
int	index_insert(struct sqc *q, const struct index_file *f);
int	index_get(struct sqc *q, uint64_t ino, struct index_file *ret);
/* All rows of ino in c_file, c_page, c_dirty, c_frozen. */
int	index_remove(struct sqc *q, uint64_t ino);
bool	index_is(struct sqc *q, uint64_t ino, uint32_t inc);
int	index_dirty_add(struct sqc *q, uint64_t ino, uint64_t off,
	    uint64_t end, uint64_t seq);
int	index_dirty_load(struct sqc *q, const struct index_file *f,
	    struct dset *ret);
/* All of it, in place of what there is. */
int	index_dirty_save(struct sqc *q, uint64_t ino, const struct dset *d);
/* Chunks from k on are not here. */
int	index_pages_cut(struct sqc *q, uint64_t ino, uint64_t k);
/* Checksums of chunks [from, to) are those of older bytes now. */
int	index_page_stale(struct sqc *q, uint64_t ino, uint64_t from,
	    uint64_t to);
int	index_page_put(struct sqc *q, uint64_t ino, uint64_t page,
	    uint64_t epoch, const struct page *p);
int	index_pages_load(struct sqc *q, uint64_t epoch, uint64_t ino,
	    int (*each)(void *arg, uint64_t page, const struct page *p),
	    void *arg);
/* Bytes of ino in present chunks, for content of `size`. */
int	index_present(struct sqc *q, uint64_t ino, uint64_t size,
	    uint64_t *ret);

/* --- slots.c --- */
int	slots_open(struct cache *c);
void	slots_close(struct cache *c);
int	slots_take(struct cache *c, struct slot *ret);
int	slots_refill(struct cache *c);
void	slots_trim(struct cache *c, unsigned keep);
/* Takes both descriptors.  Emptied and ready again, or unlinked. */
void	slots_give(struct cache *c, int64_t n, int fd, int reg_fd);
/* Closes later, off the critical path. */
void	slots_retire(struct cache *c, int fd, int reg_fd);
void	slots_retire_now(struct cache *c);
char	*slot_path(const struct cache *c, int64_t n);

/* --- cache.c --- */
void	cache_kick(struct cache *c);

/* --- files.c --- */
/* As sys.open, for backing files.  Some descriptors are left to the rest of
 * the process; when there are no more, idle files are closed: -ENFILE.  When
 * the disk has no inode left, clean files are evicted.  No lock is held. */
int	file_open(struct cache *c, const char *path, int flags);
/* As sys.open, and leaves those descriptors: -EMFILE; no more is tried. */
int	file_try(const char *path, int flags);
/* Another description of what fd is open on, as sys.open. */
int	file_reopen(int fd, int flags);
/* One for reading: as file_try, but that it leaves half of those for backing
 * files, too. */
int	file_again(int fd);
/* Of a pool of `dfl`, as many as descriptors allow. */
unsigned file_pool(unsigned dfl);

/* --- backing.c --- */
/* Names in the index and on disk; new. */
char	*data_path(const struct cache *c, uint64_t ino, uint32_t inc);
char	*file_path(const struct bfile *b);
struct bfile *table_find(struct cache *c, uint64_t ino);	/* tab_lock */
void	table_insert(struct cache *c, struct bfile *b);		/* tab_lock */
void	table_remove(struct cache *c, struct bfile *b);		/* tab_lock */
/* The only reference, and nobody gets one until bfile_release or
 * bfile_discard: 0, -EBUSY, -ENOENT. */
int	bfile_seize(struct cache *c, uint64_t ino, struct bfile **ret);
void	bfile_release(struct bfile *b);
void	bfile_discard(struct bfile *b);
void	bfile_trim(struct cache *c, unsigned keep);
/* References, the cache's own, to the files of the table that `want` (under
 * tab_lock) says, from bucket *h on, which moves on: how many, at most about
 * max.  *h is TABLE_SIZE at the end. */
unsigned files_take(struct cache *c, bool (*want)(const struct bfile *b),
	    unsigned *h, struct bfile **v, unsigned max);
void	files_give(struct cache *c, struct bfile **v, unsigned n);
/* 0: nobody but us has the file open or mapped (C2).  -EAGAIN. */
int	bfile_lease(struct bfile *b, int type);
/* fd can be written to. */
int	bfile_writable(struct bfile *b);

/* --- rw.c --- */
int	punch_bytes(struct bfile *b, uint64_t off, uint64_t len);
void	busy_init_write(struct busy *e, uint64_t off, uint64_t end);
/* [off, end) was written; the lock is held and the caller's BUSY_WRITE covers
 * its chunks.  Drops the lock meanwhile. */
int	write_record(struct bfile *b, uint64_t size, uint64_t off,
	    uint64_t end);

/* --- map.c --- */
void	map_settle(struct bfile *b);			/* lock */
void	map_update(struct bfile *b);			/* lock */
void	map_account(struct bfile *b);
void	busy_enter(struct bfile *b, struct busy *e);	/* lock; waits */
bool	busy_try(struct bfile *b, struct busy *e);	/* lock */
void	busy_leave(struct bfile *b, struct busy *e);	/* lock */
bool	chunk_present(const struct bfile *b, uint64_t k);	/* lock */
int	chunk_reserve(struct bfile *b, uint64_t k);	/* lock */
/* crcok: crc is the chunk's; else it is not known. */
void	chunk_set(struct bfile *b, uint64_t k, bool crcok, uint32_t crc);
void	chunk_clear(struct bfile *b, uint64_t k);	/* lock */
void	chunk_stale(struct bfile *b, uint64_t k);	/* lock */
bool	chunk_crc(const struct bfile *b, uint64_t k, uint32_t *ret); /* lock */
/* Present, and right as far as is known (C4).  lock. */
bool	chunk_is_sound(const struct bfile *b, uint64_t k);
/* All of it that lies in the file: sound or dirty.  lock. */
bool	chunk_is_here(const struct bfile *b, uint64_t k);
void	map_pages_drop(struct bfile *b);		/* lock */
/* All of it is here, sound or dirty. */
bool	map_is_whole(const struct bfile *b);		/* lock */
/* Before [off, end) is changed, in no BUSY: chunks of an earlier boot that are
 * changed in part are compared with their checksums (C4), for they have none
 * after it. */
void	map_check_edges(struct bfile *b, uint64_t off, uint64_t end);
/* At a start, before others have it: as long as the index says, with chunks
 * that are not here. */
int	bfile_grow(struct bfile *b, uint64_t size);
int	map_load(struct sqc *q, const struct index_file *f, struct bfile *b);
/* Saves what is newer than the index; wait: also where a write is under way */
int	map_save(struct cache *c, struct bfile **v, unsigned n, bool wait);
void	map_save_all(struct cache *c);
static inline uint64_t
chunks_of(uint64_t size)
{
	return (size + CACHE_CHUNK - 1) / CACHE_CHUNK;
}

/* --- unseen.c --- */
void	kept_drop(struct bfile *b);			/* lock */

/* --- small.c --- */
int	small_open(struct cache *c, struct why *why);
void	small_close(struct cache *c);
void	small_flush_touched(struct cache *c);
/* Drops least recently used rows, at least n bytes if there are: dropped. */
int64_t	small_evict(struct cache *c, uint64_t n);
int64_t	small_oldest(struct cache *c);		/* atime; INT64_MAX: none */
uint64_t small_bytes_of(struct sqc *q, uint64_t ino);
uint64_t small_row_cost(uint64_t len);

/* --- space.c --- */
void	space_add(struct cache *c, int64_t used, int64_t dirty);
void	space_came(struct cache *c);
/* 0 when n more bytes fit with what there is; evicts.  -ENOSPC. */
int	space_make(struct cache *c, uint64_t n, uint64_t limit);
uint64_t space_disk_free(struct cache *c);

/* --- frozen.c --- */
int	frozen_add(struct bfile *b, uint64_t seq);
void	frozen_drop(struct bfile *b, uint64_t seq);	/* lock */

/* --- punch.c --- */
/* Frees about n bytes of clean chunks of files that are open for writing
 * (K7): bytes freed.  Of one thread at a time. */
uint64_t punch_open_files(struct cache *c, uint64_t n);
/* The disk has hardly an inode left: evicts some files.  0; -ENOSPC: that is
 * not so, or there was none. */
int	space_make_files(struct cache *c);

/* --- pinned.c --- */
int	pinned_open(struct cache *c);
void	pinned_close(struct cache *c);
/* n bytes of what was reserved for b are used now (K5). */
void	pinned_use(struct bfile *b, uint64_t n, bool now);
int	pinned_load(struct sqc *q, struct bfile *b);
int	pinned_save(struct sqc *q, uint64_t ino, uint64_t res);
/* Small files that are put now: nothing is reserved for them any more. */
void	pinned_small(struct cache *c, const uint64_t *inos, unsigned n);
/* The bytes of ino are gone: if it is pinned, all of it is missing again. */
void	pinned_lost(struct cache *c, uint64_t ino);

#endif

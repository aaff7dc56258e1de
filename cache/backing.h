/*
 * backing: one large (or not yet closed) file's bytes on disk, and its map.
 *
 * States of a backing file
 *   FREE      in the pool, empty, no inode
 *   NEW       taken from the pool by create; dirty [0,∞)
 *   KEPT      has an inode: in data/ (or still in the pool's folder until
 *             bfile_keep renamed it); map in the index
 *   GONE      unlinked or evicted; the last bfile_put frees it
 *
 * There is one struct bfile an inode, counted.  All functions are
 * thread-safe.  Nothing here waits for the network.  Offsets, lengths: bytes.
 */
#ifndef CACHE_BACKING_H
#define CACHE_BACKING_H

#include <sys/types.h>

#include "base/buf.h"
#include "cache/cache.h"

struct bfile;

/* --- getting one --- */
/* A ready one from the pool (made on the spot when that is empty): NEW, one
 * reference.  -ENOSPC, -ENFILE, -errno of the disk. */
int	bfile_new(struct cache *c, struct bfile **ret);
/* In the transaction that creates the inode (F2): it now belongs to ino.  If
 * that transaction fails the caller drops it with bfile_put. */
int	bfile_assign(struct sqc *q, struct bfile *b, uint64_t ino);
/* The one of an inode, from memory or the index: -ENOENT when none. */
int	bfile_get(struct cache *c, uint64_t ino, struct bfile **ret);
/* As bfile_get; when none, makes one in data/ with nothing present and
 * nothing dirty, for content of `size` bytes that is in stores. */
int	bfile_make(struct cache *c, uint64_t ino, uint64_t size,
	    struct bfile **ret);
/* One from the pool, assigned to ino at once and marked dirty [0,∞), holding
 * these bytes: a small file opened for writing. */
int	bfile_from_bytes(struct cache *c, uint64_t ino, const void *p, size_t n,
	    struct bfile **ret);
void	bfile_ref(struct bfile *b);
void	bfile_put(struct bfile *b);		/* NULL accepted */

/* The index has one of ino, whether its file can be opened or not. */
bool	bfile_is_known(struct sqc *q, uint64_t ino);

uint64_t bfile_ino(const struct bfile *b);
uint32_t bfile_incarnation(const struct bfile *b);
/* For the daemon's own reads and writes, and (O_RDONLY, leases and later
 * backing ids: C2, F2) the description registered.  Borrowed.  -EMFILE,
 * -ENFILE: half of the descriptors that are for backing files are in use,
 * though idle ones were closed.  No lock is held. */
int	bfile_fd(const struct bfile *b);
int	bfile_reg_fd(const struct bfile *b);
/* Path below the cache directory, for explain --local-path; new. */
char	*bfile_path(const struct bfile *b);

/* --- reading --- */
/* Every byte of [off, off+len) is here (present, dirty, or past the content)
 * and (after an unclean boot) its chunks' checksums hold: 1.  Else 0; damaged
 * chunks become absent and are counted. */
int	bfile_has(struct bfile *b, uint64_t off, uint64_t len);
/* What of it is not here, chunk-aligned and clipped to content size. */
int	bfile_gaps(struct bfile *b, uint64_t off, uint64_t len,
	    int (*each)(void *arg, uint64_t off, uint64_t len), void *arg);
bool	bfile_is_complete(struct bfile *b);
/* Around bfile_has and the read that relies on it, by whatever means: what is
 * here stays here until then (K7).  Short: eviction waits for it. */
unsigned bfile_read_begin(struct bfile *b);
void	bfile_read_end(struct bfile *b, unsigned turn);
/* pread; the caller has checked bfile_has.  -errno or bytes (short at EOF). */
ssize_t	bfile_read(struct bfile *b, void *buf, size_t n, uint64_t off);
/* Re-reads present chunks from disk (page cache dropped for them first) and
 * compares: 0; -EUCLEAN: damaged ones are now absent. */
int	bfile_verify(struct bfile *b);
/* lseek SEEK_DATA/SEEK_HOLE where all is present; -ENXIO. */
off_t	bfile_seek(struct bfile *b, uint64_t off, int whence);

/* --- filling --- */
/* The clean content of one whole chunk (n = CACHE_CHUNK, less at the end of
 * the content).  Writes what is not dirty (K3), then sets the present bit
 * (index saved lazily, K1).  gen: bfile_clean_gen before it was asked where
 * the bytes are; -ESTALE when it moved since: what is dirty no more would be
 * overwritten by older bytes.  crc: CRC-32C of the n bytes, -1 unknown.
 * -ENOSPC etc: not kept. */
int	bfile_fill(struct bfile *b, uint64_t chunk, uint64_t gen,
	    const void *p, size_t n, int64_t crc);
/* Which clean content it is: moves when dirty bytes become clean, never to a
 * value it had.  To be asked before the extents are. */
uint64_t bfile_clean_gen(const struct bfile *b);
/* Lays the dirty bytes of [off, off+n) over what was fetched of it in buf;
 * 0, -errno. */
int	bfile_overlay(struct bfile *b, void *buf, size_t n, uint64_t off);

/* --- writing (caller serialises against truncate of the same file) --- */
/* pwrite, record the interval (K2): durable against kill −9 when it returns.
 * NEW and [0,∞)-dirty files record nothing.  Short never: n or -errno. */
ssize_t	bfile_write(struct bfile *b, const void *p, size_t n, uint64_t off);
/* Notes that [off, off+len) was written by other means (splice,
 * copy_file_range on bfile_fd).  A fill of an absent chunk may overwrite such
 * bytes until this returns, so write so only where bfile_has says 1. */
int	bfile_wrote(struct bfile *b, uint64_t off, uint64_t len);
/* Size becomes `size`; what is beyond is dirty zeros. */
int	bfile_truncate(struct bfile *b, uint64_t size);
int	bfile_fallocate(struct bfile *b, int mode, uint64_t off, uint64_t len);
/* It was `was` bytes long by the index, and is not: of a truncate or a write
 * that a crash cut off before it was recorded.  Records it. */
int	bfile_was_resized(struct bfile *b, uint64_t was);
/* fdatasync, and records that its dirty bytes up to now are synced (C4,
 * L11). */
int	bfile_sync(struct bfile *b);
bool	bfile_is_synced(struct bfile *b);	/* no dirty byte since */
bool	bfile_is_dirty(struct bfile *b);
uint64_t bfile_size(struct bfile *b);		/* fstat: F3 */
int64_t	bfile_mtime(struct bfile *b);		/* last write, ns */
/* Open for writing, counted: while > 0, never final (B8). */
void	bfile_writers(struct bfile *b, int delta);

/* --- writes that nobody tells of: passthrough (C3, F3) --- */
/* Size and times as the disk has them; ns. */
struct bfile_stat { uint64_t size; int64_t mtime, ctime; };
int	bfile_stat(struct bfile *b, struct bfile_stat *ret);
/* The kernel has it, or is about to: no chunk of it is punched (K7).  When it
 * begins nobody writes to it and all of it is here. */
void	bfile_lend(struct bfile *b, bool yes);
/* From now on any byte may change at any moment.  Until bfile_unseen_end all
 * of it is dirty for the op that is journalled last, whatever lands meanwhile;
 * for the index it is dirty and unclosed, durably when this returns, so that
 * a crash finds it (F2).  Only uploads of copies.  -errno: as it was; -EIO:
 * not all of it is here, or sound. */
int	bfile_unseen_begin(struct bfile *b);
/* Instead of bfile_unseen_end, where the caller knows that no byte has changed
 * since bfile_unseen_begin: in one transaction it is clean again, with the
 * checksums that it had.  -ENODATA: it was not wholly clean and sound then, or
 * something was written or closed; -errno: still unseen, as it was. */
int	bfile_unseen_undo(struct bfile *b);
/* Who writes so syncs each write himself (O_DSYNC): durably, until what he
 * wrote is clean, its length after a power cut is what the disk says (L11). */
int	bfile_unseen_synced(struct bfile *b);
/* The last who could is gone: [0,∞) waits for the next bfile_closed. */
void	bfile_unseen_end(struct bfile *b);
/* The accounts follow what has grown unseen. */
void	bfile_account(struct bfile *b);
/* Nobody is writing to it, by a descriptor or a mapping (F_RDLCK: C2), now:
 * 0, -EAGAIN. */
int	bfile_is_final(struct bfile *b);
/* The same where there is no descriptor for that: nobody has it at all. */
int	bfile_is_alone(struct bfile *b);
/* All of it is dirty by the index: it may have been unseen when the daemon was
 * killed.  What is not so was not. */
bool	bfile_is_all_dirty(struct bfile *b);
/* The disk below has leases, as both ask for (C2): 0; -EINVAL. */
int	bfile_has_leases(struct bfile *b);
/* A store through a mapping, its first to a page that is dirty and that it has
 * read, moves the file's times.  Of a new file without a byte. */
bool	bfile_tells_stores(struct bfile *b);
/* All of it is here and known to be sound, so that the kernel may read it
 * without us; asks no disk (C4). */
bool	bfile_is_sound(struct bfile *b);

/* --- close, upload, landing --- */
/* In the transaction that journals the `extents` op seq: all dirty intervals
 * that no frozen op has become seq's (earlier, unfrozen seqs are merged;
 * frozen: its upload_end gave 0).  Memory follows by itself; a transaction
 * that failed needs no undoing. */
int	bfile_closed(struct sqc *q, struct bfile *b, uint64_t seq);
/* After that committed: memory follows now, so that the next write is not the
 * op's. */
void	bfile_settle(struct bfile *b);
/* A part of what is dirty and no op's, of a file that stays open: from its
 * beginning, at least `least` bytes of it and about `most`, whole chunks that
 * lie within the size.  0; -ENODATA: there is not that much; -EAGAIN: an op,
 * `waits` (or 0), has some already and is not uploaded; -EBUSY: it is written
 * unseen.  In nobody writes to it from here to bfile_part_settle. */
struct bfile_part {
	uint64_t	end;	/* what is dirty before it is the part */
	bool		rest;	/* all behind it is dirty and no op's */
	uint64_t	waits;
};
int	bfile_part(struct bfile *b, uint64_t least, uint64_t most,
	    struct bfile_part *ret);
/* In the transaction that journals its op seq; after that committed. */
int	bfile_part_closed(struct sqc *q, struct bfile *b, uint64_t seq,
	    uint64_t end);
void	bfile_part_settle(struct bfile *b, uint64_t seq, uint64_t end);
/* A pool file that grew large moves into data/ (rename). */
int	bfile_keep(struct bfile *b);
/* The file is now a small row or deleted: its bytes are dropped, and its
 * backing file goes back to the pool (under F_WRLCK lease, C2) or is
 * unlinked.  In the transaction: bfile_forget_tx removes its rows.  After its
 * commit, once: bfile_forget; who holds references goes on reading and writing
 * an unlinked file, and the last bfile_put (the caller's own is not taken
 * here) gives it back. */
int	bfile_forget_tx(struct sqc *q, struct bfile *b);
void	bfile_forget(struct bfile *b);

/* The upload of seq: a stable view of its dirty intervals.
 *  FINAL  of a file that nobody writes to.  -EBUSY: open for writing, or mapped
 *	(C2: F_RDLCK not granted).
 *  COPY  the bytes are first copied (reflink where the disk can) to a private
 *	file.
 *  LIVE  of a file that may be open, whose writes are all seen, after
 *	bfile_freeze (K6).  -EBUSY: they are not, or one is under way.
 * whole: the intervals cover the content: upload [0,size). */
enum view_how { VIEW_FINAL, VIEW_COPY, VIEW_LIVE };
struct upload_view {
	struct bfile	*b;
	uint64_t	 seq, size;
	enum view_how	 how;
	bool		 whole;
	unsigned	 n;
	struct interval { uint64_t off, end; } *v;
	int		 fd;		/* read from here */
	uint64_t	 gen;		/* of the content when it began (B8) */
	uint32_t	*crcs;		/* per chunk, filled by upload_read */
	void		*fed;		/* how far each was; private */
	int64_t		 ctime;		/* private, as are these: */
	uint64_t	 own;
};
/* -ENOENT: nothing is seq's: a later write or close took it over
 * (bfile_closed).  n may be 0: the op only changes size or times.  COPY:
 * -EBUSY when it was written while it was copied. */
int	upload_begin(struct bfile *b, uint64_t seq, enum view_how how,
	    struct upload_view *ret);
/* pread of all n bytes at a file offset; feeds the chunk checksums.  Any
 * number of threads; a part may be read again. */
int	upload_read(struct upload_view *v, void *buf, size_t n, uint64_t off);
/* CRC-32C of what each interval has of each chunk that it touches, in order:
 * new.  After the last upload_read; what that did not see whole is read. */
int	upload_sums(struct upload_view *v, uint32_t **ret, unsigned *retn);
/* 0: nobody wrote meanwhile (LIVE: to what it is of), the upload may be used;
 * -ESTALE: throw it away (B8).  Frees the view.  After 0, seq is frozen: later
 * closes leave its intervals to it. */
int	upload_end(struct upload_view *v);
/* Before a view that is LIVE: seq is frozen.  -EBUSY: it is written unseen.
 * When its upload comes to nothing, bfile_unfreeze and bfile_thaw. */
int	bfile_freeze(struct bfile *b, uint64_t seq);
/* seq is not frozen after all, as its upload was not noted; and it has the
 * intervals of ops before it that are not frozen either.  So, of all ops of
 * ino that wait, in their order, the newest has all.  Before any bfile_get, or
 * between two bfile_thaw. */
int	bfile_unfreeze(struct sqc *q, uint64_t ino, uint64_t seq);
/* The same of an open file: before its transaction, with to == seq, and after
 * it, with the newest op that bfile_unfreeze was called for. */
void	bfile_thaw(struct bfile *b, uint64_t seq, uint64_t to);
/* Frees a view that is not used, without the check. */
void	upload_drop(struct upload_view *v);

/* Are bytes of op seq here, its intervals or what its upload took?  1, 0,
 * -errno. */
int	bfile_has_op(struct sqc *q, uint64_t ino, uint64_t seq);
/* Landed (K4), in the landing transaction: seq's intervals become clean and
 * present (newer ones stay dirty). */
int	bfile_landed(struct cache *c, struct sqc *q, uint64_t ino,
	    uint64_t seq);
/* After that transaction committed (or failed: what did not commit is found
 * and left alone): memory follows.  The cache also does it by itself before
 * it evicts, and now and then. */
void	cache_landed_commit(struct cache *c);
/* A remote replacement of the content by one in stores: a new incarnation
 * with nothing present, old one lives while referenced (F1).  -EBUSY: it is
 * open for writing or has dirty bytes, and is left as it was (L13). */
int	bfile_replaced(struct cache *c, uint64_t ino);

#endif

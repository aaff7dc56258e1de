/*
 * small: clean bytes of small files, rows of small.db (16 KiB pages).
 *
 * A row is bound to the content it holds by (object, ooff, len): who reads it
 * says which it wants, so a row left over from an older content of the inode
 * is never served, and small.db may lag the tree (C6).  Every row carries a
 * CRC-32C; a damaged one is dropped and counted and reads as absent.
 */
#ifndef CACHE_SMALL_H
#define CACHE_SMALL_H

#include "base/buf.h"
#include "cache/cache.h"

struct small_id { uint64_t ino, object, ooff, len; };

/* Appends exactly id->len bytes; -ENOENT. Marks it used (lazily). */
int	small_get(struct cache *c, const struct small_id *id, struct buf *out);
bool	small_has(struct cache *c, const struct small_id *id);
bool	small_has_any(struct cache *c, uint64_t ino);	/* of any content */
/* Many in one commit.  -ENOSPC: not kept (the cache is full), no harm. */
struct small_put { struct small_id id; const void *p; };
int	small_put(struct cache *c, const struct small_put *puts, unsigned n);
/* Of those, the files that have no row, which may be of a newer content; only
 * where there is room: nothing is evicted.  -ENOSPC: none is kept. */
int	small_add(struct cache *c, const struct small_put *puts, unsigned n);
int	small_drop(struct cache *c, uint64_t ino);
/* Reads back and checks (pin --wait): 0, -ENOENT, -EUCLEAN (dropped). */
int	small_verify(struct cache *c, const struct small_id *id);

#endif

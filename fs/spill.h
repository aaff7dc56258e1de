/*
 * spill: what is written to files that stay open goes to their stores before
 * the cache is full of it, so that a file may be larger than the cache.
 *
 * When half of what there is room for is taken by what cannot make way, each
 * file that is open for writing, and whose writes are all seen, gives a part
 * away as it grows: an op of some of its dirty bytes, whole chunks from its
 * beginning (settle_part).  That is uploaded from the backing file itself
 * (K6), a few parts ahead of what has landed; when one has landed its bytes
 * are clean, and make way chunk by chunk (K7) for those that are written.
 * A writer who finds no room makes all open files give what they have.
 *
 * A part is small, so that a writer waits for one no longer than io_timeout,
 * where its store takes some MB a second.  It is not of files that are
 * passed (fs/pass.h), or have no name any more (B7).
 */
#ifndef FS_SPILL_H
#define FS_SPILL_H

#include "fs/fs.h"
#include "fs/vnode.h"

/* Not in the gate of v.  A part of it, if there is need and one to be had.
 * False: there is no need, or too little of it. */
bool	spill_file(struct fs *f, struct vnode *v);
/* In no gate.  Of every file what can be had. */
void	spill_all(struct fs *f);

#endif

/*
 * upload: large files' bytes to stores, in the background, oldest first.
 *
 * For each journal op that waits (journal_to_upload): take the view of its
 * dirty intervals (upload_begin), draw an object id, put (parallel parts) into
 * the store that the file's placement says (meta/place.h), and unless a
 * writer overlapped (B8: upload_end), give the extents to journal_uploaded and
 * kick ship.  A file that stays open for writing is uploaded at most every
 * 30 s, at once for a sync, and in parts when the cache fills up (spill.h):
 * from the backing file itself where all its writes are seen and none is to
 * what is uploaded (K6), else from a copy; which for a part is not made.
 * An op whose inode is gone is not uploaded (B7): ship's freeze voids it.
 * Small files that another store than the home gets go there in packs
 * (upload_pack.c).
 */
#ifndef FS_UPLOAD_H
#define FS_UPLOAD_H

#include "fs/fs.h"

struct upload;

int	upload_start(struct fs *f);
/* Ends the thread and the uploads under way; kicks are still accepted. */
void	upload_stop(struct fs *f);
void	upload_free(struct fs *f);	/* when nobody is left to kick */
void	upload_kick(struct fs *f);	/* never blocks */
/* Copies of open files from now on until everything up to seq is uploaded:
 * what sync wants. */
void	upload_hurry(struct fs *f, uint64_t seq);
/* Open files, but no copies, up to seq: what is short of room wants. */
void	upload_spill(struct fs *f, uint64_t seq);
/* What failed is tried again now, not after its pause. */
void	upload_retry(struct fs *f);

/* From now until upload_resume nothing goes to the store, and no op says of its
 * bytes that they are there but what is frozen: what was put and not recorded
 * is put again.  -ETIMEDOUT: an upload does not end; -EBUSY: nor does what was
 * recorded there a moment ago land. */
int	upload_pause(struct fs *f, uint32_t store);
void	upload_resume(struct fs *f, uint32_t store);

/* Stores that bytes wait for and that do not take them: they are down, or the
 * last upload failed. */
struct freeze_down;
void	upload_down(struct fs *f, struct freeze_down *ret);

struct upload_status { uint64_t waiting, active, bytes_left; char why[256]; };
void	upload_status(struct fs *f, struct upload_status *ret);

#endif

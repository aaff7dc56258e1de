/*
 * stage: copies of files' bytes in another store (DESIGN.md section 5).
 *
 * For every object that the selected files name and that the store has not
 * got: the store copies it itself where it can (store_pull), from whichever
 * place that is possible, else the bytes go through this host (store_relay).
 * What is there then is compared, by size and by the sums that stores keep or,
 * where they keep none that can be compared, by reading it back; only then its
 * place is recorded (OP_LOCATE), a few hundred together.  A pack is copied
 * once, and adds one place (B3).
 *
 * What a crash leaves is either recorded, or whole and unrecorded under the
 * key that it will have: the next run finds it there, compares and records
 * it; or half-made, which no store shows.
 */
#ifndef FS_STAGE_H
#define FS_STAGE_H

#include "fs/pins.h"

struct store;
struct stages;			/* those under way */

int	stages_new(struct fs *f);
void	stages_free(struct fs *f);	/* none is under way */

struct stage_status {
	uint64_t	id;		/* of this mount, from 1 */
	char		store[65];
	int64_t		began;		/* clock_real */
	uint64_t	files;		/* selected */
	uint64_t	want;		/* bytes of them */
	uint64_t	seen;		/* bytes of them that needed nothing */
	uint64_t	objects;	/* copied or found */
	uint64_t	bytes;		/* of them */
	uint64_t	moving;		/* bytes done of those under way */
	uint64_t	relayed;	/* bytes through this host */
	uint64_t	copied;		/* bytes that the store copied itself */
	uint64_t	found;		/* bytes that were there already */
	uint64_t	read_back;	/* bytes read to compare */
};
/* told as it goes; nonzero ends it */
typedef int stage_progress(void *arg, const struct stage_status *s);

/*
 * Runs it in the calling thread and a few of its own; only the selectors of
 * r are looked at.  Goes on past objects that fail; the first failure is the
 * result.  *retseq: the last record, to be waited for (0: none was needed).
 * -ENOENT no such store, -EROFS one that others write (B2) or a mount that
 * may not write, -EBUSY its address is being changed, -ECANCELED, or what
 * failed, with why.
 */
int	stage_run(struct fs *f, const struct pin_request *r, const char *store,
	    stage_progress *progress, void *arg, struct stage_status *ret,
	    uint64_t *retseq, struct why *why);

/*
 * A store, by id and name, is to be at another address, where `to` reaches it
 * and its objects were copied: each that files name is looked for there.
 * Where its version is another (an inode's number, an ETag of other parts),
 * its size and its bytes are compared with what is recorded, by sums where
 * they suffice, else by reading; the versions are recorded, all of them, when
 * every object was found right (OP_LOCATE): nothing is before.  from: its URL
 * until now, where it may answer still.
 *
 * -ESTALE with why, which names the first that differs and says how many do
 * (it ends at some number of them); else as stage_run.  ret->objects: those
 * recorded anew; ret->found: bytes of those that were as recorded.
 */
int	stage_moved(struct fs *f, uint32_t id, const char *name,
	    const char *from, struct store *to, stage_progress *progress,
	    void *arg, struct stage_status *ret, struct why *why);

int	stage_each(struct fs *f,
	    int (*each)(void *arg, const struct stage_status *s), void *arg);

#endif

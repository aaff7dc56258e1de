/*
 * reload: taking the tree out of a database, so that a snapshot can be loaded
 * into it (L12), and saying afterwards whose bytes are others than before.
 *
 *   reload_begin → piece_load of every piece → snapshot_loaded →
 *   reload_changed → reload_end
 *
 * From reload_begin on the table meta says loading > 0: a database that says
 * so holds half a tree and is good for nothing but another reload_begin.
 * Nothing may be pending in the journal.
 */
#ifndef META_RELOAD_H
#define META_RELOAD_H

#include "meta/meta.h"

/* Writer.  Takes every replicated row away (the root stays); remembers where
 * files' bytes were. */
int	reload_begin(struct sqc *c);
/* Writer.  Tells each inode whose extents are not what they were (also those
 * that are gone; some twice).  Of a tree that was empty before, none: no bytes
 * of it were here. */
int	reload_changed(struct sqc *c, int (*each)(void *arg, uint64_t ino),
	    void *arg);
/* Writer.  The loading has ended: once the bytes of those are gone from here,
 * lest a crash leave old bytes under a new tree. */
int	reload_end(struct sqc *c);
/* Is a loading under way (or did one die)?  1, 0, -errno. */
int	reload_is_begun(struct sqc *c);

/* --- numbers that opening a session needs --- */

/* The seq that the next journalled op gets (M5). */
int	journal_next_seq(struct sqc *c, uint64_t *ret);
/* How many changes are queued (at most 1000 are counted): what is pending but
 * for a session_close, which stands against nothing that others do. */
int	journal_changes(struct sqc *c, uint64_t *ret);
/* Writer.  Forgets what is pending, when journal_changes() is 0: the close of
 * a session that the log has fenced, which every replay ignores.  -EBUSY:
 * there are changes. */
int	journal_drop_closes(struct sqc *c);
/* How many session numbers are left of what was granted. */
int	meta_session_left(struct sqc *c, uint64_t *ret);
/* Writer.  Forgets what meta_session_granted noted and was not taken: a block
 * that the log gave to another host. */
int	meta_session_forget(struct sqc *c);

#endif

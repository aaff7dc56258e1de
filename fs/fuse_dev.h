/*
 * fuse_dev: what the kernel and the library say to each other over /dev/fuse,
 * where the library does not know all that the kernel does: the session's
 * device is read and written through here, so that the INIT reply can be
 * amended, and requests' fields seen that the library does not hand on.
 *
 * What is agreed on so:
 *   KILLPRIV_V2: the daemon clears set-user-id and set-group-id bits on
 *   write, truncate and chown.  Without it the kernel asks before every
 *   write(2) whether the file has capabilities, an upcall more for each; with
 *   it at the first one, then it remembers that there are none.
 *   PASSTHROUGH: OPEN and CREATE may be answered with a backing id (F1); the
 *   kernel offers it from 6.9 on.  A library from 3.17 on asks for it and
 *   answers with it itself; the replies of an older one are amended.
 *   OVER_IO_URING: requests come by io_uring (fuse_ring.h).
 * Where the kernel does not offer it, or the library has no custom I/O, all
 * works as without.
 */
#ifndef FS_FUSE_DEV_H
#define FS_FUSE_DEV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/pass.h"

struct fuse_conn_info;
struct fuse_front;
struct fuse_in_header;
struct fuse_ring;
struct fuse_file_info;
struct fuse_session;
struct settle_close;

struct fuse_dev {
	int			fd;		/* the session's */
	struct fuse_ring *_Atomic ring;		/* NULL: all by fd */
	unsigned		depth;		/* of stacked filesystems */
	struct pass_dev		pass;
	_Atomic uint64_t	init_unique;	/* of INIT; 0: none seen */
	_Atomic uint64_t	offered;	/* the kernel's INIT flags */
	_Atomic uint64_t	agreed;		/* of those, in our reply */
};

/* After fuse_session_mount, before the loop; d is zeroed, outlives se, and is
 * that of the fuse_front in se's user data.  cache_dir: where backing files
 * are.  0; -errno: the session is as it was. */
int	fuse_dev_hook(struct fuse_dev *d, struct fuse_session *se,
	    const char *cache_dir);

/* In the library's init: what it can ask for itself. */
void	fuse_dev_init(const struct fuse_dev *d, struct fuse_conn_info *conn);
/* There too: the requests will come by a ring, which d->ring is, of payloads of
 * so many bytes; false: they will not, and the state's text (status) says why.
 */
bool	fuse_dev_by_ring(struct fuse_front *fr, size_t payload);
bool	fuse_dev_has_ring(const struct fuse_dev *d);
/* After INIT: passthrough was agreed on; then &d->pass works. */
bool	fuse_dev_passes(const struct fuse_dev *d);
/* The OPEN or CREATE that this thread answers next, with fi, is passed with
 * this id; 0: is not. */
void	fuse_dev_answer_passed(struct fuse_file_info *fi, int id);
/* Whose calls passthrough is agreed on and answered by: for the log. */
const char *fuse_dev_api(void);

/* A request has come, to this thread, which handles it next; it has done so. */
void	fuse_dev_seen(struct fuse_front *fr, const struct fuse_in_header *h,
	    size_t n);
void	fuse_dev_handled(struct fuse_front *fr);

/* The RELEASE that this thread is handling: of a writer it began when it was
 * read (settle.h). */
struct settle_close *fuse_dev_close(void);

/* Does the daemon clear set-id bits (KILLPRIV_V2)? */
bool	fuse_dev_clears_ids(const struct fuse_dev *d);
/* Does the request that this thread is handling ask for it? */
bool	fuse_dev_asks_clear(void);

#endif

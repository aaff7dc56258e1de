/*
 * FUSE: small files that come with their OPEN.
 *
 * Of a small file nearly all the cost of a read is that of being asked: the
 * reader sleeps, a thread here wakes up, and the other way round.  So when the
 * first open of a file comes that the kernel has just met, and so has no page
 * of, its bytes are put into the page cache before the open is answered, and
 * no READ follows.  A page that is dropped later is asked for as ever.
 *
 * Pages are not to change under a reader, nor to be locked by a READ that waits
 * for what is held here: io_offer has the file for itself, and its only handle
 * is one that nobody knows of yet.
 *
 * What others change is invalidated (F4), and such a notice must not go before
 * bytes that are older: where one was queued since they were read, the inode is
 * invalidated once more.
 */
#include "fs/fuse_front.h"

#include <fcntl.h>

#include "base/counters.h"
#include "meta/op.h"

static _Atomic uint32_t *
met_at(struct fuse_front *fr, uint64_t ino, uint32_t *rettag)
{
	*rettag = (uint32_t)(ino / FRONT_MET) + 1;
	return &fr->met[ino % FRONT_MET];
}

void
front_met(struct fuse_front *fr, const struct attr *a)
{
	_Atomic uint32_t *at;
	uint32_t tag;

	if (!S_ISREG(a->mode) || a->size == 0 || a->size > META_SMALL_MAX)
		return;
	at = met_at(fr, a->ino, &tag);
	atomic_store_explicit(at, tag, memory_order_relaxed);
}

struct feed { struct fuse_front *fr; uint64_t node; };

static void
feed(void *arg, const void *p, size_t n)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(n);
	struct feed *to = arg;

	v.buf[0].mem = (void *)p;
	if (fuse_lowlevel_notify_store(to->fr->se, to->node, 0, &v,
	    FUSE_BUF_NO_SPLICE) == 0)
		counter_add(opens_fed, 1);
}

void
front_feed(struct fuse_front *fr, struct handle *h)
{
	uint64_t changes, ino = h->v->ino;
	struct feed to = { fr, node_of(fr->fs, ino) };
	uint32_t tag;
	_Atomic uint32_t *at = met_at(fr, ino, &tag);

	if (h->passed || h->writes || (h->flags & (O_DIRECT | O_TRUNC)) ||
	    !atomic_compare_exchange_strong(at, &tag, 0))
		return;
	changes = atomic_load(&fr->changes);
	io_offer(fr->fs, h, feed, &to);
	if (atomic_load(&fr->changes) != changes)
		front_inval_again(fr, ino);
}

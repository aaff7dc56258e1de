/* See dirattr.h.  A slot for each directory of the same hash, the last. */
#include "fs/dirattr.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "meta/meta.h"

#define SLOTS	256		/* a power of two */

struct slot {
	uint64_t	 version;	/* of all that share it */
	struct attr	 a;		/* ino 0: none */
};

struct dirattrs {
	struct lock	 lock;
	struct slot	 slots[SLOTS];
};

int
dirattrs_new(struct dirattrs **ret)
{
	struct dirattrs *d = calloc(1, sizeof *d);

	if (d == NULL)
		return -ENOMEM;
	lock_init(&d->lock, RANK_LOG - 2, "dirattr");
	*ret = d;
	return 0;
}

void
dirattrs_free(struct dirattrs *d)
{
	if (d == NULL)
		return;
	lock_done(&d->lock);
	free(d);
}

static struct slot *
slot_of(struct dirattrs *d, uint64_t ino)
{
	return &d->slots[(ino ^ ino >> META_ID_SHIFT) & (SLOTS - 1)];
}

bool
dirattr_get(struct dirattrs *d, uint64_t ino, struct attr *ret,
    uint64_t *retversion)
{
	struct slot *s = slot_of(d, ino);
	bool known;

	lock_take(&d->lock);
	known = s->a.ino == ino;
	if (known)
		*ret = s->a;
	*retversion = s->version;
	lock_drop(&d->lock);
	return known;
}

void
dirattr_put(struct dirattrs *d, const struct attr *a, uint64_t version)
{
	struct slot *s = slot_of(d, a->ino);

	lock_take(&d->lock);
	if (s->version == version)
		s->a = *a;
	lock_drop(&d->lock);
}

void
dirattr_touch(struct dirattrs *d, uint64_t ino, int64_t time)
{
	struct slot *s = slot_of(d, ino);

	lock_take(&d->lock);
	s->version++;
	if (s->a.ino == ino) {
		if (s->a.mtime < time)
			s->a.mtime = time;
		if (s->a.ctime < time)
			s->a.ctime = time;
	}
	lock_drop(&d->lock);
}

void
dirattr_forget(struct dirattrs *d, uint64_t ino)
{
	struct slot *s = slot_of(d, ino);

	lock_take(&d->lock);
	s->version++;
	if (s->a.ino == ino)
		s->a.ino = 0;
	lock_drop(&d->lock);
}

void
dirattrs_clear(struct dirattrs *d)
{
	unsigned i;

	lock_take(&d->lock);
	for (i = 0; i < SLOTS; i++) {
		d->slots[i].version++;
		d->slots[i].a.ino = 0;
	}
	lock_drop(&d->lock);
}

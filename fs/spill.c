/* See spill.h. */
#include "fs/spill.h"

#include <errno.h>

#include "base/log.h"
#include "fs/settle.h"
#include "fs/upload.h"

#define PART_OF		8		/* of all the room */
#define PART_MAX	(UINT64_C(128) << 20)
#define PART_MIN	((uint64_t)CACHE_CHUNK)

static bool
is_seen(struct vnode *v)
{
	bool r;

	lock_take(&v->lock);
	r = v->writers > 0 && v->dirty && !v->unlinked && !v->unseen &&
	    v->pass_id == 0 && v->b != NULL;
	lock_drop(&v->lock);
	return r;
}

static uint64_t
part_size(uint64_t all)
{
	uint64_t n = all / PART_OF;

	return n < PART_MIN ? PART_MIN : n > PART_MAX ? PART_MAX : n;
}

static int
part(struct fs *f, struct vnode *v, uint64_t least, uint64_t most)
{
	uint64_t seq = 0;
	int err;

	vnode_enter(v);
	err = settle_part(f, v, least, most, &seq);
	vnode_leave(v);
	if (err != 0 && err != -ENODATA && err != -EBUSY)
		log_warn("a part of an open file could not be journalled",
		    "ino=%llu err=%d", (unsigned long long)v->ino, err);
	if (seq != 0)
		upload_spill(f, seq);
	return err;
}

bool
spill_file(struct fs *f, struct vnode *v)
{
	uint64_t all;

	if (!is_seen(v) || !cache_is_pressed(f->cache, &all))
		return false;
	return part(f, v, part_size(all), part_size(all)) == 0;
}

struct all { struct fs *f; uint64_t most; };

static void
all_one(void *arg, struct vnode *v)
{
	struct all *a = arg;

	if (is_seen(v))
		(void)part(a->f, v, 1, a->most);
}

void
spill_all(struct fs *f)
{
	struct all a = { .f = f };

	(void)cache_is_pressed(f->cache, &a.most);
	a.most = part_size(a.most);
	vnodes_each(f, all_one, &a);
}

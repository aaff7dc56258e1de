/*
 * The renewals in the order they were made: the number of one is its place
 * among them.  Chains by inode lead from the newest to older ones.
 */
#include "fs/node.h"

#include <errno.h>
#include <stdlib.h>

#define RENEWED		((uint64_t)1 << 63)
#define CHAINS		256	/* a power of two */

struct renewal {
	uint64_t	 ino;
	uint32_t	 older;		/* place + 1 of the next; 0: the last */
};

struct nodes {
	struct lock	 lock;
	_Atomic uint32_t n;		/* read without the lock: mostly 0 */
	uint32_t	 room;
	struct renewal	*v;
	uint32_t	 newest[CHAINS];	/* place + 1; 0: none */
};

int
nodes_new(struct nodes **ret)
{
	struct nodes *t = calloc(1, sizeof *t);

	if (t == NULL)
		return -ENOMEM;
	lock_init(&t->lock, RANK_VNODES, "nodes");
	*ret = t;
	return 0;
}

void
nodes_free(struct nodes *t)
{
	if (t == NULL)
		return;
	lock_done(&t->lock);
	free(t->v);
	free(t);
}

static uint32_t *
chain_of(struct nodes *t, uint64_t ino)
{
	return &t->newest[ino & (CHAINS - 1)];
}

uint64_t
node_ino(struct fs *f, uint64_t node)
{
	struct nodes *t = f->nodes;
	uint64_t at = node & ~RENEWED, ino = 0;

	if (!(node & RENEWED))
		return node;
	lock_take(&t->lock);
	if (at < atomic_load(&t->n))
		ino = t->v[at].ino;
	lock_drop(&t->lock);
	return ino;
}

uint64_t
node_of(struct fs *f, uint64_t ino)
{
	struct nodes *t = f->nodes;
	uint64_t node = ino;
	uint32_t i;

	if (atomic_load(&t->n) == 0)
		return ino;
	lock_take(&t->lock);
	for (i = *chain_of(t, ino); i != 0; i = t->v[i - 1].older)
		if (t->v[i - 1].ino == ino) {
			node = RENEWED | (i - 1);
			break;
		}
	lock_drop(&t->lock);
	return node;
}

bool
node_is_old(struct fs *f, uint64_t node)
{
	return node_of(f, node_ino(f, node)) != node;
}

int
node_renew(struct fs *f, uint64_t ino)
{
	struct nodes *t = f->nodes;
	uint32_t n, room;
	int err = 0;

	lock_take(&t->lock);
	n = atomic_load(&t->n);
	if (n == t->room) {
		struct renewal *v;

		room = n != 0 ? 2 * n : 16;
		v = room > n ? realloc(t->v, room * sizeof *v) : NULL;
		if (v == NULL)
			err = -ENOMEM;
		else {
			t->v = v;
			t->room = room;
		}
	}
	if (err == 0) {
		t->v[n] = (struct renewal){ ino, *chain_of(t, ino) };
		*chain_of(t, ino) = n + 1;
		atomic_store(&t->n, n + 1);
	}
	lock_drop(&t->lock);
	return err;
}

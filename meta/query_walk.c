/*
 * query_walk: everything at or below an inode, a chunk of a directory at a
 * time, so that no statement is open while it is told (query.h).
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "meta/query.h"

#define WALK_CHUNK	512		/* entries read at a time */

struct walk_entry {
	uint64_t	cookie;
	struct attr	a;
	char		name[META_NAME_MAX + 1];
};

/* A directory being read: where it goes on. */
struct walk_dir { uint64_t ino, after; };

struct walk {
	struct sqc	*c;
	int		(*each)(void *, uint64_t, const char *,
			    const struct attr *);
	void		*arg;
	struct buf	 stack;		/* of struct walk_dir */
	struct buf	 chunk;		/* of struct walk_entry */
};

static int
walk_collect(void *arg, uint64_t cookie, const char *name,
    const struct attr *a)
{
	struct walk *w = arg;
	struct walk_entry *e = buf_grow(&w->chunk, sizeof(*e));

	if (e == NULL)
		return (1);
	e->cookie = cookie;
	e->a = *a;
	memcpy(e->name, name, strlen(name) + 1);
	w->chunk.len += sizeof(*e);
	return (w->chunk.len == WALK_CHUNK * sizeof(*e));
}

static void
walk_push(struct walk *w, uint64_t ino, uint64_t after)
{
	struct walk_dir d = { ino, after };

	buf_put(&w->stack, &d, sizeof(d));
}

/* One chunk of the directory on top of the stack: its entries are told, then
 * its directories take its place, above what remains of it.  1: stopped. */
static int
walk_chunk(struct walk *w)
{
	struct walk_dir d;
	const struct walk_entry *e;
	size_t n;
	int err;

	w->stack.len -= sizeof(d);
	memcpy(&d, w->stack.p + w->stack.len, sizeof(d));
	buf_reset(&w->chunk);
	err = meta_readdir(w->c, d.ino, d.after, true, walk_collect, w);
	if (err == 0)
		err = buf_err(&w->chunk);
	if (err != 0)
		return (err);
	e = (const void *)w->chunk.p;
	n = w->chunk.len / sizeof(*e);
	for (size_t i = 0; i < n; i++)
		if (w->each(w->arg, d.ino, e[i].name, &e[i].a) != 0)
			return (1);
	if (n == WALK_CHUNK)
		walk_push(w, d.ino, e[n - 1].cookie);
	for (size_t i = n; i-- > 0;)
		if (S_ISDIR(e[i].a.mode))
			walk_push(w, e[i].a.ino, 0);
	return (buf_err(&w->stack));
}

int
meta_walk(struct sqc *c, uint64_t top,
    int (*each)(void *arg, uint64_t parent, const char *name,
	const struct attr *a), void *arg)
{
	struct walk w = { .c = c, .each = each, .arg = arg };
	char name[META_NAME_MAX + 1] = "";
	uint64_t parent = 0;
	struct attr a;
	int err = meta_getattr(c, top, &a);

	if (err == 0 && top != META_ROOT)
		err = meta_parent(c, top, &parent, name);
	if (err != 0)
		return (err);
	if (each(arg, parent, name, &a) != 0)
		return (0);
	if (S_ISDIR(a.mode))
		walk_push(&w, top, 0);
	err = buf_err(&w.stack);
	while (err == 0 && w.stack.len > 0)
		err = walk_chunk(&w);
	buf_done(&w.stack);
	buf_done(&w.chunk);
	return (err == 1 ? 0 : err);
}

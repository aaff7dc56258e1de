/*
 * ship_changes: what another host's segment changes, for the kernel and for
 * who has a file open here: noted while it is replayed, told after the commit
 * (F4).
 */
#include "fs/ship_impl.h"
#include "fs/stores.h"
#include "fs/vnode.h"

#include <string.h>
#include <sys/stat.h>

void
ship_told_inode(void *arg, uint64_t ino)
{
	struct ship_changes *ch = arg;

	buf_put_u8(&ch->told, 'i');
	buf_put_u64(&ch->told, ino);
}

void
ship_told_entry(void *arg, uint64_t parent, const char *name)
{
	struct ship_changes *ch = arg;

	buf_put_u8(&ch->told, 'e');
	buf_put_u64(&ch->told, parent);
	buf_put(&ch->told, name, strlen(name) + 1);
}

/* A file's content is another matter: renew. */
static void
tell_inode(struct fs *f, struct sqc *c, uint64_t ino)
{
	struct attr a;

	vnode_may_have_xattrs(f, ino);
	if (c != NULL && meta_getattr(c, ino, &a) == 0 && S_ISDIR(a.mode))
		fs_inval_inode(f, ino);
	else
		fs_inval_attr(f, ino);
}

static void
tell_rest(struct fs *f, struct ship_changes *ch)
{
	struct sqc *q = NULL;
	struct cur c;

	(void)sq_read(meta_sq(f->meta), &q);
	cur_init(&c, ch->told.p, ch->told.len);
	while (f->front != NULL && !cur_at_end(&c)) {
		bool inode = cur_u8(&c) == 'i';
		uint64_t ino = cur_u64(&c);

		if (inode) {
			tell_inode(f, q, ino);
		} else {
			fs_inval_entry(f, ino, (const char *)c.p);
			(void)cur_raw(&c, strlen((const char *)c.p) + 1);
		}
	}
	sq_read_end(q);
}

static int
tell_name(void *arg, uint64_t parent, const char *name)
{
	fs_inval_entry(arg, parent, name);
	return 0;
}

/* Files that have others' bytes now.  Of one that is open here no pages are
 * invalidated, which would wait for its readers: who opens it from now on gets
 * the new bytes by its new number (F1). */
static void
renew(struct fs *f, const struct buf *inos)
{
	struct cur c;

	cur_init(&c, inos->p, inos->len);
	while (f->front != NULL && cur_left(&c) > 0) {
		uint64_t ino = cur_u64(&c);
		struct sqc *q = NULL;

		if (vnode_replaced(f, ino) != 1)
			fs_inval_inode(f, ino);
		else if (sq_read(meta_sq(f->meta), &q) == 0)
			(void)meta_names(q, ino, tell_name, f);
		sq_read_end(q);
	}
}

void
ship_tell(struct fs *f, struct ship_changes *ch)
{
	if (ch->stores)
		(void)stores_reload(f);
	renew(f, &ch->replaced);
	tell_rest(f, ch);
}

void
ship_changes_done(struct ship_changes *ch)
{
	buf_done(&ch->told);
	buf_done(&ch->replaced);
}

int
ship_find_replaced(const struct segment *seg, struct ship_changes *ch)
{
	struct buf store = BUF_INIT;

	for (unsigned i = 0; i < seg->nbatches; i++) {
		const struct batch *b = &seg->batches[i];
		struct cur c;
		struct op op;

		cur_init(&c, b->body.p, b->body.len);
		while (!cur_at_end(&c)) {
			buf_reset(&store);
			op_decode(&c, &op, &store);
			ch->stores = ch->stores || op.kind == OP_STORE;
			if (cur_err(&c) == 0 && (op.kind == OP_TRUNCATE ||
			    (op.kind == OP_EXTENTS &&
			    (op.flags & EXT_VOID) == 0)))
				buf_put_u64(&ch->replaced, op.ino);
		}
	}
	buf_done(&store);
	return buf_err(&ch->replaced);
}

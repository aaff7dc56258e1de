/*
 * content: what a file's bytes are made of below a vnode: small content
 * loaded whole, extents in stores, and dropping what nobody names any more.
 * Between write.c/read.c above and the cache and stores below.
 */
#ifndef FS_CONTENT_H
#define FS_CONTENT_H

#include "backends/store.h"
#include "fs/fs.h"
#include "fs/vnode.h"

/* A file's extents, in order, copied; freed with free(). */
struct extents {
	uint64_t	 size;		/* of the file when read */
	unsigned	 n;
	struct extent {
		uint64_t	 off, len, object, ooff;
		int64_t		 crc;
		uint32_t	 store;		/* the best when read */
		uint32_t	 kind;		/* enum object_kind */
		uint32_t	 copies;	/* places where it is, in all */
		char		*key, *version;	/* inside the same block */
	} v[];
};

/* The places where an object is, the best to read from first: stores that are
 * up, among them a directory of this host, then what is where the home is,
 * then by id.  Freed with free(). */
struct locations {
	unsigned	 n;
	struct location { uint32_t store; char *key, *version; } v[];
};
int	content_locations(struct fs *f, uint64_t object,
	    struct locations **ret);	/* new */
/* Those of [off, off+len): from v->held, else the database.
 * New. */
int	content_extents(struct fs *f, struct vnode *v, uint64_t off,
	    uint64_t len, struct extents **ret);

/* All of them, as c has them. */
int	content_extents_in(struct fs *f, struct sqc *c, uint64_t ino,
	    uint64_t size, struct extents **ret);

/* Loads a small file's whole content into v->bytes, in the gate: from the
 * unstored row, small.db, or a store.  -EFBIG: it is not small (or in more
 * pieces than one): a backing file is the way.  -EIO, -EHOSTUNREACH. */
int	content_small(struct fs *f, struct vnode *v);
/* Enters the gate, and the same; but while a store is asked the gate is left,
 * so that who wants the file for something else need not wait for it; who
 * wants the same waits for who asked first (flight.h), within io_until.  The
 * gate is held on return, whatever that is.  read: for a reader, who may want
 * its neighbours, too (ahead.h).  -EFBIG also where there is a backing file
 * already. */
int	content_small_enter(struct fs *f, struct vnode *v, bool read);
/* content_small of what is a row of small.db; -ENOENT: it is none, and the next
 * to load it does not look there first. */
int	content_small_here(struct fs *f, struct vnode *v);

/* One read of [off, off+len) of an extent's object from its store, with the
 * version pinned (B5), the caller's deadline or io_timeout (anew while bytes
 * come), and health reported; where there are copies and one does not answer,
 * or wrongly, the rest is read from another.  -EHOSTUNREACH: the store is
 * away, at once where that is known; -ESTALE, -EACCES, -ENOMEM, -EIO. */
int	content_fetch(struct fs *f, const struct extent *e, uint64_t ooff,
	    uint64_t len, const char *tag, store_sink *sink, void *arg);

/* A sink into memory: at most left bytes to p, which both move on. */
struct content_into { char *p; uint64_t left; };
int	content_into(void *arg, const void *p, size_t n);
/* The same of bytes whose CRC-32C is known, into p: those that come are
 * compared, and where they are wrong, asked for once more, from another place
 * if there is one; -EIO: wrong everywhere, or -errno of the last place.
 * suspect: they came, and were wrong. */
int	content_fetch_sum(struct fs *f, const struct extent *e, uint64_t ooff,
	    uint64_t len, uint32_t crc, bool suspect, const char *tag,
	    void *p);

/* The backing file's rows and bytes go (its inode has no use for it). */
void	content_forget(struct fs *f, struct bfile *b);
/* All local bytes of an inode without a name. */
void	content_drop(struct fs *f, uint64_t ino);
/* Keeps the extents of a file that is open and has lost its last name. */
void	content_hold(struct fs *f, struct vnode *v);

#endif

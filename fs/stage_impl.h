/*
 * stage_impl: what stage.c (which objects, how many at once, the records),
 * stage_copy.c (one object) share.
 */
#ifndef FS_STAGE_IMPL_H
#define FS_STAGE_IMPL_H

#include "fs/content.h"
#include "fs/stage.h"
#include "meta/op.h"

#define STAGE_THREADS	16

/* One part of an object whose checksum is known. */
struct stage_piece { uint64_t off, len; uint32_t crc; };

/* One object to be copied. */
struct stage_object {
	uint64_t	 id, size;
	uint32_t	 kind;
	unsigned	 npieces;
	struct stage_piece *pieces;	/* by off; not overlapping */
	_Atomic uint64_t *came;		/* bytes moved, or compared: of it, at
					   most its size counts; borrowed */
	bool		 known;		/* they are all that the files at hand
					   name of it */
};

struct stage {
	struct stage	*next;
	struct fs	*f;
	uint32_t	 to;		/* the store's id */
	struct store	*moved;		/* it, at its new address; NULL: what
					   it has not got is copied to it */
	bool		 dirs;		/* from a directory to a directory */
	_Atomic bool	 stop;
	_Atomic uint64_t seen, objects, bytes, relayed, copied, found,
			 read_back;
	struct { _Atomic uint64_t size, came; } slots[STAGE_THREADS];
	struct stage_status fixed;	/* what does not change */
};

/* The store may still be at copying the object itself, which would be put over
 * what is there by then: nothing is recorded of it for a while.  Of this mount:
 * a daemon that begins anew knows of none. */
void	stage_note_late(struct fs *f, uint32_t store, uint64_t object);
bool	stage_is_late(struct fs *f, uint32_t store, uint64_t object);

/* Copies it, or finds it there, and compares.  0 and the place's version in
 * ret; -errno with why. */
int	stage_copy(struct stage *s, const struct stage_object *o,
	    struct op_object *ret, struct why *why);
/* Is what s->moved has of it what the namespace has recorded?  0 and its
 * version there; ret->store 0: the one that is recorded.  -ESTALE: it is not,
 * or nothing tells that it is; -errno; with why. */
int	stage_compare(struct stage *s, const struct stage_object *o,
	    struct op_object *ret, struct why *why);

#endif

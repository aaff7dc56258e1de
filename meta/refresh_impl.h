/*
 * refresh_impl: a plan, between its making (refresh.c) and its carrying out
 * (refresh_step.c).
 */
#ifndef META_REFRESH_IMPL_H
#define META_REFRESH_IMPL_H

#include "meta/import_impl.h"
#include "meta/internal.h"
#include "meta/query.h"
#include "meta/refresh.h"

/* In this order: what makes room comes before what takes it. */
enum phase { GONE_FILE, GONE_DIR, NEW_NAME, NEW_DIR, NEW_FILE, NEW_TIME,
	PHASES };

#define NOBODY	UINT32_MAX

/* One operation to be.  file: an index of imp->files, of a key; dir: of
 * imp->dirs; ino: of what is there already, 0 none. */
struct act {
	uint32_t	 file, dir;
	uint64_t	 ino;
	bool		 beside;	/* the name that it gets */
};

struct refresh {
	struct meta	*m;
	const struct import *imp;
	const struct import_row *row;
	int64_t		 now;
	struct attr	 root;
	uint64_t	*dirs;		/* inodes of imp->dirs */
	struct buf	 acts[PHASES];	/* of struct act */
	uint64_t	 files;		/* the first id for NEW_FILE */
	uint64_t	 at;		/* acts done */
	struct refresh_stats st;
};

#endif

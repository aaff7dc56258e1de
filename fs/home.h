/*
 * home: what makes a prefix of a store a namespace.
 *   gnsfs.json   put-if-absent, immutable: name, uuid, format, feature level
 *   MANIFEST     compare-and-swap JSON: snapshots (newest last), truncation
 *                watermark, head hint
 */
#ifndef FS_HOME_H
#define FS_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/store.h"
#include "base/why.h"

struct home_id { char name[65]; char uuid[37]; unsigned format, feature; };

/* Makes a namespace at url (never a bucket): probes put-if-absent, writes
 * gnsfs.json, and the first segment (lsn 1: the store `home`, the root).
 * -EEXIST: there is one (why names it); nothing half-made is left. */
int	home_format(const char *url, const char *name, struct home_id *ret,
	    struct why *why);
/* -ENOENT: no gnsfs.json there (why says how to make one);
 * -EPROTONOSUPPORT: newer format. */
int	home_read(struct store *s, struct store_call *c, struct home_id *ret,
	    struct why *why);

#define MANIFEST_SNAPSHOTS 8
struct manifest {
	uint64_t		watermark;	/* first lsn kept: L7; 1 = all */
	uint64_t		head;		/* hint */
	unsigned		nsnaps;
	uint64_t		snaps[MANIFEST_SNAPSHOTS];	/* lsn, ascending */
	struct store_version	version;	/* "" when absent */
};
/* Absent: an empty one (watermark 1). */
int	manifest_read(struct store *s, struct store_call *c,
	    struct manifest *ret, struct why *why);
/* Compare-and-swap by m->version, which is updated.  -EAGAIN: changed. */
int	manifest_write(struct store *s, struct store_call *c,
	    struct manifest *m, struct why *why);

#endif

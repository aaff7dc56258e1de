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
#include "base/buf.h"
#include "base/why.h"

#define HOME_KEY	"gnsfs.json"
#define HOME_JSON_MAX	(64 * 1024)

/* The session number of whoever formats; the first mount's is above it. */
#define HOME_SESSION	1u

struct home_id {
	char		 name[65];
	char		 uuid[37];
	unsigned	 format, feature;
	int64_t		 created;	/* clock_real */
	uint32_t	 uid, gid;	/* of the root directory */
	char		 url[URL_MAX];	/* of the home, canonical */
};

/* Makes a namespace at url (never a bucket): probes put-if-absent, writes
 * gnsfs.json, and the first segment (lsn 1: the store `home`, the root).
 * name NULL: the last part of the prefix, or the bucket.  -EEXIST: there is
 * one (why names it); -ENOENT: no such bucket or folder; -EOPNOTSUPP: the
 * store keeps no two writers apart; nothing half-made is left. */
int	home_format(const char *url, const char *name, struct home_id *ret,
	    struct why *why);
/* Why a home that had its gnsfs.json is as good as away; %s: its URL. */
#define HOME_IS_NOT	"%s does not hold the namespace now: its gnsfs.json " \
			"is missing; is what holds it mounted?"

/* -ENOENT: no gnsfs.json there (why says how to make one);
 * -EPROTONOSUPPORT: newer format. */
int	home_read(struct store *s, struct store_call *c, struct home_id *ret,
	    struct why *why);
/* Says that the home's object of this key is not what was put there: what the
 * reader of it found, or NULL for one that is missing; and the way out.
 * -EBADMSG. */
int	home_damaged(const struct store *s, const char *key, const char *found,
	    struct why *why);
/* The first segment's stored bytes, appended to out, and its hash: a function
 * of gnsfs.json, so that whoever finds slot 1 empty may put it. */
int	home_first_segment(const struct home_id *id, struct buf *out,
	    uint8_t rethash[32]);

/*
 * Does the home's store keep two writers apart (B1)?  It is asked for what it
 * has to refuse: to put gnsfs.json if there is none, and in the place of
 * another version.  Both put what is there already, so that nothing is changed
 * where it does not refuse.  0; -EOPNOTSUPP: it does not, and why says what is
 * missing and what that costs; else -errno: it cannot be said.
 */
int	home_conditions(struct store *s, struct store_call *c,
	    struct why *why);
/* The same of a store that is no home yet, by an object that is removed. */
int	home_conditions_new(struct store *s, struct store_call *c,
	    struct why *why);

#define MANIFEST_SNAPSHOTS 8
struct manifest {
	uint64_t		watermark; /* first lsn kept: L7; 1 = all */
	uint64_t		head;		/* hint */
	unsigned		nsnaps;
	uint64_t		snaps[MANIFEST_SNAPSHOTS]; /* lsn, ascending */
	struct store_version	version;	/* "" when absent */
};
/* Absent: an empty one (watermark 1).  -EBADMSG: damaged. */
int	manifest_read(struct store *s, struct store_call *c,
	    struct manifest *ret, struct why *why);
/* Compare-and-swap by m->version, which is updated.  -EAGAIN: changed. */
int	manifest_write(struct store *s, struct store_call *c,
	    struct manifest *m, struct why *why);

#endif

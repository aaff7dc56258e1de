/*
 * policy: rows of `policy` whose id is that of a directory, as place.c and
 * whole.c have them; see internal.h.
 */
#include <errno.h>
#include <sys/stat.h>

#include "meta/internal.h"
#include "meta/query.h"

int
policy_any(struct sqc *c, uint32_t kind)
{
	struct sqs *s = sq_prep(c,
	    "SELECT 1 FROM policy WHERE kind = ? LIMIT 1");

	sqs_int(s, 1, kind);
	return (sqs_has_row(s));
}

int
policy_has(struct sqc *c, uint32_t kind, uint64_t id)
{
	struct sqs *s = sq_prep(c,
	    "SELECT 1 FROM policy WHERE id = ? AND kind = ?");
	int rc;

	sqs_int(s, 1, (int64_t)id);
	sqs_int(s, 2, kind);
	rc = sqs_has_row(s);
	return (rc < 0 ? rc : rc == 1 ? 0 : -ENOENT);
}

int
policy_take(struct sqc *c, uint32_t kind, uint64_t id, policy_fn *take,
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT body FROM policy "
	    "WHERE id = ? AND kind = ?");
	const void *p;
	size_t n;
	int rc;

	sqs_int(s, 1, (int64_t)id);
	sqs_int(s, 2, kind);
	if ((rc = sqs_step(s)) != 1)
		return (rc);
	p = sqs_col_blob(s, 0, &n);
	rc = take(c, arg, p, n);
	sqs_reset(s);
	return (rc);
}

int
policy_above(struct sqc *c, uint32_t kind, uint64_t bit, uint64_t dir,
    policy_fn *take, void *arg, uint64_t *retdir)
{
	char name[META_NAME_MAX + 1];
	int rc;

	*retdir = 0;
	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		if ((rc = policy_take(c, kind, dir | bit, take, arg)) < 0)
			return (rc);
		if (rc == 1) {
			*retdir = dir;
			return (0);
		}
		if (dir == META_ROOT)
			return (0);
		rc = meta_parent(c, dir, &dir, name);
		if (rc != 0)		/* removed, and still open */
			return (rc == -ENOENT ? 0 : rc);
	}
	return (-ELOOP);
}

int
policy_nearest(struct sqc *c, uint32_t kind, uint64_t bit, uint64_t ino,
    policy_fn *take, void *arg, uint64_t *retdir)
{
	char name[META_NAME_MAX + 1];
	struct row r;
	int rc = policy_any(c, kind);

	*retdir = 0;
	if (rc <= 0)
		return (rc);
	if ((rc = inode_get(c, ino, &r)) == 0 && !S_ISDIR(r.v[I_MODE].i))
		rc = meta_parent(c, ino, &ino, name);
	if (rc != 0)
		return (rc == -ENOENT ? 0 : rc);
	return (policy_above(c, kind, bit, ino, take, arg, retdir));
}

/*
 * query: inodes: their attributes, entries, paths and labels (query.h).
 * query_bytes.c, query_rows.c and query_walk.c have the rest.
 *
 * Where a callback is called while a statement is open, the callback may run
 * any other query on the same connection.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "meta/internal.h"
#include "meta/query.h"

#define INODE_COLS "i.ino, i.mode, i.uid, i.gid, i.rdev, i.nlink, i.size, " \
	"i.atime, i.mtime, i.ctime, i.flags"

#define DIR_LINKS_MAX	65000		/* as ext4: 1 from there on */

/* --- attributes --- */

static void
attr_read(struct sqs *s, int at, struct attr *ret)
{
	ret->ino = sqs_col_int(s, at + I_INO);
	ret->mode = sqs_col_int(s, at + I_MODE);
	ret->uid = sqs_col_int(s, at + I_UID);
	ret->gid = sqs_col_int(s, at + I_GID);
	ret->rdev = sqs_col_int(s, at + I_RDEV);
	ret->nlink = sqs_col_int(s, at + I_NLINK);
	ret->size = sqs_col_int(s, at + I_SIZE);
	ret->atime = sqs_col_int(s, at + I_ATIME);
	ret->mtime = sqs_col_int(s, at + I_MTIME);
	ret->ctime = sqs_col_int(s, at + I_CTIME);
	ret->flags = sqs_col_int(s, at + I_FLAGS);
}

/* A directory's link count is its subdirectories and two (L5). */
static int
links_derive(struct sqc *c, struct attr *a)
{
	struct sqs *s;
	int rc;

	if (!S_ISDIR(a->mode))
		return (0);
	s = sq_prep(c, "SELECT count(*) FROM (SELECT 1 FROM dentry "
	    "WHERE parent = ? AND type = 4 LIMIT ?)");
	sqs_int(s, 1, a->ino);
	sqs_int(s, 2, DIR_LINKS_MAX);
	rc = sqs_step(s);
	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	a->nlink = sqs_col_int(s, 0) + 2;
	sqs_reset(s);
	if (a->nlink >= DIR_LINKS_MAX)
		a->nlink = 1;
	return (0);
}

static int
attr_step(struct sqs *s, struct attr *ret)
{
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -ENOENT);
	attr_read(s, 0, ret);
	sqs_reset(s);
	return (0);
}

int
meta_getattr_stored(struct sqc *c, uint64_t ino, struct attr *ret)
{
	struct sqs *s = sq_prep(c, "SELECT " INODE_COLS
	    " FROM inode i WHERE i.ino = ?");

	sqs_int(s, 1, ino);
	return (attr_step(s, ret));
}

int
meta_getattr(struct sqc *c, uint64_t ino, struct attr *ret)
{
	int err = meta_getattr_stored(c, ino, ret);

	return (err ? err : links_derive(c, ret));
}

int
meta_lookup(struct sqc *c, uint64_t parent, const char *name,
    struct attr *ret)
{
	size_t n = strlen(name);
	struct sqs *s;
	int64_t hash;
	int err;

	if (n > META_NAME_MAX)
		return (-ENAMETOOLONG);
	hash = name_hash(name, n);
	s = sq_prep(c, "SELECT " INODE_COLS " FROM dentry d "
	    "CROSS JOIN inode i ON i.ino = d.ino WHERE d.parent = ? AND "
	    "d.hash >= ? AND d.hash < ? AND d.name = ?");
	sqs_int(s, 1, parent);
	sqs_int(s, 2, hash);
	sqs_int(s, 3, hash + DENTRY_PROBES);
	sqs_blob(s, 4, name, n);
	err = attr_step(s, ret);
	return (err ? err : links_derive(c, ret));
}

/* --- directories --- */

static void
name_read(struct sqs *s, int at, char ret[META_NAME_MAX + 1])
{
	size_t n;
	const void *p = sqs_col_blob(s, at, &n);

	if (n > META_NAME_MAX)
		n = META_NAME_MAX;
	if (n > 0)
		memcpy(ret, p, n);
	ret[n] = '\0';
}

int
meta_readdir(struct sqc *c, uint64_t dir, uint64_t after, bool want_attr,
    int (*each)(void *arg, uint64_t cookie, const char *name,
	const struct attr *a), void *arg)
{
	char name[META_NAME_MAX + 1];
	struct sqs *s = want_attr ?
	    sq_prep(c, "SELECT d.hash, d.name, " INODE_COLS " FROM dentry d "
		"CROSS JOIN inode i ON i.ino = d.ino "
		"WHERE d.parent = ? AND d.hash > ? ORDER BY d.hash") :
	    sq_prep(c, "SELECT hash, name, ino, type FROM dentry "
		"WHERE parent = ? AND hash > ? ORDER BY hash");
	int rc;

	sqs_int(s, 1, dir);
	sqs_int(s, 2, after);
	while ((rc = sqs_step(s)) == 1) {
		struct attr a = { 0 };

		name_read(s, 1, name);
		if (want_attr) {
			attr_read(s, 2, &a);
			if ((rc = links_derive(c, &a)) != 0) {
				sqs_reset(s);
				return (rc);
			}
		} else {
			a.ino = sqs_col_int(s, 2);
			a.mode = sqs_col_int(s, 3) << 12;
		}
		if (each(arg, sqs_col_int(s, 0), name, &a) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

bool
meta_dir_is_empty(struct sqc *c, uint64_t dir)
{
	return (dir_is_empty(c, dir) == 1);
}

/* --- paths --- */

int
meta_parent(struct sqc *c, uint64_t ino, uint64_t *retparent,
    char retname[META_NAME_MAX + 1])
{
	struct sqs *s = sq_prep(c, "SELECT parent, name FROM dentry "
	    "WHERE ino = ? ORDER BY parent, hash LIMIT 1");
	int rc;

	sqs_int(s, 1, ino);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -ENOENT);
	*retparent = sqs_col_int(s, 0);
	name_read(s, 1, retname);
	sqs_reset(s);
	return (0);
}

int
meta_names(struct sqc *c, uint64_t ino,
    int (*each)(void *arg, uint64_t parent, const char *name), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT parent, name FROM dentry "
	    "WHERE ino = ?");
	char name[META_NAME_MAX + 1];
	int rc;

	sqs_int(s, 1, ino);
	while ((rc = sqs_step(s)) == 1) {
		name_read(s, 1, name);
		if (each(arg, sqs_col_int(s, 0), name) != 0)
			break;
	}
	sqs_reset(s);
	return (rc < 0 ? rc : 0);
}

/* A path is found from its last name to its first: it is put together
 * backwards, each name turned round, and turned round at the end. */
static void
path_reverse(char *p, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		char ch = p[i];

		p[i] = p[n - 1 - i];
		p[n - 1 - i] = ch;
	}
}

int
meta_path(struct sqc *c, uint64_t ino, char **ret)
{
	char name[META_NAME_MAX + 1];
	struct buf b = BUF_INIT;
	int err = 0;

	for (unsigned i = 0; ino != META_ROOT; i++) {
		size_t n;

		if (i == DEPTH_MAX)
			err = -ELOOP;
		if (err == 0)
			err = meta_parent(c, ino, &ino, name);
		if (err != 0)
			goto out;
		n = strlen(name);
		path_reverse(name, n);
		buf_put(&b, name, n);
		buf_put(&b, "/", 1);
	}
	if (b.len == 0)
		buf_put(&b, "/", 1);
	buf_cstr(&b);		/* makes room for the NUL */
	if ((err = buf_err(&b)) != 0)
		goto out;
	path_reverse((char *)b.p, b.len);
	*ret = buf_take(&b, NULL);
out:
	buf_done(&b);
	return (err);
}

int
meta_resolve(struct sqc *c, const char *path, struct attr *ret)
{
	char name[META_NAME_MAX + 1];
	struct attr a;
	int err = meta_getattr(c, META_ROOT, &a);

	while (err == 0) {
		size_t n;

		path += strspn(path, "/");
		if (*path == '\0')
			break;
		if (!S_ISDIR(a.mode))
			return (-ENOTDIR);
		n = strcspn(path, "/");
		if (n > META_NAME_MAX)
			return (-ENAMETOOLONG);
		memcpy(name, path, n);
		name[n] = '\0';
		path += n;
		err = meta_lookup(c, a.ino, name, &a);
	}
	if (err == 0)
		*ret = a;
	return (err);
}

/* The parents of all names of an inode, appended. */
static int
parents_get(struct sqc *c, uint64_t ino, struct buf *out)
{
	struct sqs *s = sq_prep(c, "SELECT parent FROM dentry WHERE ino = ?");
	int rc;

	sqs_int(s, 1, ino);
	while ((rc = sqs_step(s)) == 1)
		buf_put_u64(out, sqs_col_int(s, 0));
	return (rc ? rc : buf_err(out));
}

int
meta_is_below(struct sqc *c, uint64_t ino, uint64_t top)
{
	struct buf parents = BUF_INIT;
	struct cur cur;
	int rc;

	if (ino == top || ino == META_ROOT)
		return (ino == top);
	rc = parents_get(c, ino, &parents);
	cur_init(&cur, parents.p, parents.len);
	while (rc == 0 && cur_left(&cur) > 0)
		rc = dir_is_below(c, cur_u64(&cur), top);
	buf_done(&parents);
	return (rc);
}

/* --- labels --- */

int
meta_readlink(struct sqc *c, uint64_t ino, struct buf *out)
{
	struct row r = { T_SYMLINK, { col_int(ino) } };
	struct buf scratch = BUF_INIT;
	int err = row_get(c, &r, &scratch);

	if (err == 0) {
		buf_put(out, r.v[1].p, r.v[1].n);
		err = buf_err(out);
	}
	buf_done(&scratch);
	return (err);
}

int
meta_getxattr(struct sqc *c, uint64_t ino, const char *name, struct buf *out)
{
	struct row r = { T_XATTR, { col_int(ino), col_str(name) } };
	struct buf scratch = BUF_INIT;
	int err = row_get(c, &r, &scratch);

	if (err == 0) {
		buf_put(out, r.v[2].p, r.v[2].n);
		err = buf_err(out);
	}
	buf_done(&scratch);
	return (err == -ENOENT ? -ENODATA : err);
}

int
meta_listxattr(struct sqc *c, uint64_t ino, struct buf *out)
{
	struct sqs *s = sq_prep(c,
	    "SELECT name FROM xattr WHERE ino = ? ORDER BY name");
	int rc;

	sqs_int(s, 1, ino);
	while ((rc = sqs_step(s)) == 1) {
		size_t n;
		const void *p = sqs_col_blob(s, 0, &n);

		buf_put(out, p, n);
		buf_put(out, "", 1);
	}
	return (rc ? rc : buf_err(out));
}

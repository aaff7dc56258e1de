/*
 * place: see place.h.  The body of a row is text, words of KEY=VALUE; those
 * that this does not know are another's.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "meta/internal.h"
#include "meta/place.h"
#include "meta/query.h"

#define BODY_MAX	255

int
place_row_op(const struct place_row *r, struct buf *body, struct op *ret)
{
	buf_reset(body);
	buf_printf(body, "store=%u", r->store);
	if (buf_err(body) != 0)
		return (buf_err(body));
	*ret = (struct op){ .kind = OP_POLICY, .ino = r->dir,
	    .mask = POLICY_PLACE, .flags = r->store == 0 };
	if (r->store != 0) {
		ret->value = body->p;
		ret->nvalue = body->len;
	}
	return (0);
}

/* The store that a body names: 0, -EINVAL. */
static int
body_parse(const void *p, size_t n, uint32_t *retstore)
{
	static const char key[] = "store=";
	char text[BODY_MAX + 1], *word, *at = NULL;
	uint64_t id = 0;

	if (n > BODY_MAX)
		return (-EINVAL);
	memcpy(text, n > 0 ? p : "", n);
	text[n] = '\0';
	for (word = strtok_r(text, " ", &at); word != NULL;
	    word = strtok_r(NULL, " ", &at))
		if (strncmp(word, key, sizeof(key) - 1) == 0)
			for (word += sizeof(key) - 1; *word >= '0' &&
			    *word <= '9' && id <= UINT32_MAX; word++)
				id = id * 10 + (uint64_t)(*word - '0');
	if (id == 0 || id > UINT32_MAX)
		return (-EINVAL);
	*retstore = id;
	return (0);
}

int
place_has_store(struct sqc *c, uint32_t store)
{
	struct sqs *s = sq_prep(c, "SELECT 1 FROM store WHERE id = ?");

	sqs_int(s, 1, store);
	return (sqs_has_row(s));
}

/* 1: the directory has a row, of a store that there is; 0; -errno. */
static int
row_of(struct sqc *c, uint64_t dir, uint32_t *retstore)
{
	struct sqs *s = sq_prep(c, "SELECT body FROM policy "
	    "WHERE id = ? AND kind = ?");
	const void *p;
	size_t n;
	int rc;

	sqs_int(s, 1, dir);
	sqs_int(s, 2, POLICY_PLACE);
	if ((rc = sqs_step(s)) != 1)
		return (rc);
	p = sqs_col_blob(s, 0, &n);
	rc = body_parse(p, n, retstore);
	sqs_reset(s);
	return (rc == 0 ? place_has_store(c, *retstore) : 0);
}

static int
any_row(struct sqc *c)
{
	struct sqs *s = sq_prep(c,
	    "SELECT 1 FROM policy WHERE kind = ? LIMIT 1");

	sqs_int(s, 1, POLICY_PLACE);
	return (sqs_has_row(s));
}

/* Of a directory: its own, or the nearest above. */
static int
place_above(struct sqc *c, uint64_t dir, struct place_row *ret)
{
	char name[META_NAME_MAX + 1];
	int rc;

	*ret = (struct place_row){ 0, PLACE_HOME };
	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		uint32_t store = 0;

		if ((rc = row_of(c, dir, &store)) < 0)
			return (rc);
		if (rc == 1) {
			*ret = (struct place_row){ dir, store };
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
place_of(struct sqc *c, uint64_t ino, struct place_row *ret)
{
	char name[META_NAME_MAX + 1];
	struct row r;
	int rc = any_row(c);

	*ret = (struct place_row){ 0, PLACE_HOME };
	if (rc <= 0)
		return (rc);
	if ((rc = inode_get(c, ino, &r)) == 0 && !S_ISDIR(r.v[I_MODE].i))
		rc = meta_parent(c, ino, &ino, name);
	if (rc != 0)
		return (rc == -ENOENT ? 0 : rc);
	return (place_above(c, ino, ret));
}

int
place_store(struct sqc *c, struct place_memo *m, uint64_t ino, uint32_t *ret)
{
	char name[META_NAME_MAX + 1];
	uint64_t parent;
	int rc;

	*ret = PLACE_HOME;
	if (!m->asked) {
		if ((rc = any_row(c)) < 0)
			return (rc);
		m->asked = true;
		m->none = !rc;
	}
	if (m->none)
		return (0);
	rc = meta_parent(c, ino, &parent, name);
	if (rc != 0)
		return (rc == -ENOENT ? 0 : rc);
	if (parent != m->parent) {
		m->parent = 0;
		if ((rc = place_above(c, parent, &m->row)) != 0)
			return (rc);
		m->parent = parent;
	}
	*ret = m->row.store;
	return (0);
}

int
place_rows(struct sqc *c, int (*each)(void *arg, const struct place_row *r),
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT p.id FROM policy p "
	    "JOIN inode i ON i.ino = p.id WHERE p.kind = ? ORDER BY p.id");
	int rc;

	sqs_int(s, 1, POLICY_PLACE);
	while ((rc = sqs_step(s)) == 1) {
		struct place_row r = { .dir = sqs_col_int(s, 0) };
		int has = row_of(c, r.dir, &r.store);

		if (has < 0 || (has == 1 && each(arg, &r) != 0)) {
			sqs_reset(s);
			return (has < 0 ? has : 0);
		}
	}
	return (rc);
}

/* --- what the op must find (L9) --- */

int
place_check(struct sqc *c, const struct op *op)
{
	struct row r;
	struct sqs *s;
	uint32_t store;
	int err;

	if (op->flags & 1) {
		s = sq_prep(c, "SELECT 1 FROM policy WHERE id = ? "
		    "AND kind = ?");
		sqs_int(s, 1, op->ino);
		sqs_int(s, 2, POLICY_PLACE);
		err = sqs_has_row(s);
		return (err < 0 ? err : err == 1 ? 0 : -ENOENT);
	}
	if ((err = body_parse(op->value, op->nvalue, &store)) != 0 ||
	    (err = inode_get(c, op->ino, &r)) != 0)
		return (err);
	if (!S_ISDIR(r.v[I_MODE].i))
		return (-ENOTDIR);
	if (r.v[I_FLAGS].i & (INODE_IMPORTED | INODE_IMPORT_ROOT))
		return (-EROFS);
	err = place_has_store(c, store);
	return (err < 0 ? err : err == 1 ? 0 : -ENOENT);
}

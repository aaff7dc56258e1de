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

/* policy_nearest's: of a store that there is. */
static int
take(struct sqc *c, void *arg, const void *p, size_t n)
{
	uint32_t *store = arg;

	if (body_parse(p, n, store) != 0)
		return (0);
	return (place_has_store(c, *store));
}

int
place_of(struct sqc *c, uint64_t ino, struct place_row *ret)
{
	uint32_t store = 0;
	int rc = policy_nearest(c, POLICY_PLACE, 0, ino, take, &store,
	    &ret->dir);

	ret->store = ret->dir != 0 ? store : PLACE_HOME;
	return (rc);
}

/* Of a directory: its own, or the nearest above. */
static int
place_above(struct sqc *c, uint64_t dir, struct place_row *ret)
{
	uint32_t store = 0;
	int rc = policy_above(c, POLICY_PLACE, 0, dir, take, &store,
	    &ret->dir);

	ret->store = ret->dir != 0 ? store : PLACE_HOME;
	return (rc);
}

int
place_store(struct sqc *c, struct place_memo *m, uint64_t ino, uint32_t *ret)
{
	char name[META_NAME_MAX + 1];
	uint64_t parent;
	int rc;

	*ret = PLACE_HOME;
	if (!m->asked) {
		if ((rc = policy_any(c, POLICY_PLACE)) < 0)
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
		int has = policy_take(c, POLICY_PLACE, r.dir, take,
		    &r.store);

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
	uint32_t store;
	int err;

	if (op->flags & 1)
		return (policy_has(c, POLICY_PLACE, op->ino));
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

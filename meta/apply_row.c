/*
 * apply_row: the rows of the namespace: stores, pins, policies, quotas
 * (apply_tree.c).
 */
#include <errno.h>

#include "meta/apply_impl.h"
#include "meta/place.h"
#include "meta/whole.h"
#include "meta/refresh.h"

static int
put_or_remove(struct sqc *c, const struct change *ch, const struct row *r,
    bool remove)
{
	int has;

	if (!remove)
		return (row_put(c, ch, r));
	if ((has = row_exists(c, r)) != 1)
		return (has ? has : -ENOENT);
	return (row_del(c, ch, r));
}

struct user { struct sqc *c; uint64_t store; bool found; };

static int
find_place(void *arg, const struct place_row *r)
{
	struct user *u = arg;

	u->found = r->store == u->store;
	return (u->found);
}

static int
find_user(void *arg, const struct import_row *r)
{
	struct user *u = arg;
	struct row root;

	u->found = r->store == u->store && inode_get(u->c, r->root, &root) == 0;
	return (u->found);
}

/* No file has bytes there, no import is from there, no placement says that
 * bytes go there (L9), and it is not the home. */
static int
store_is_free(struct sqc *c, uint64_t id)
{
	struct user u = { c, id, false };
	struct sqs *s;
	int rc = import_rows(c, find_user, &u);

	if (rc == 0 && !u.found)
		rc = place_rows(c, find_place, &u);
	if (rc != 0 || u.found)
		return (rc ? rc : -EBUSY);
	s = sq_prep(c, "SELECT 1 FROM extent e JOIN location l "
	    "ON l.object = e.object AND l.store = ? LIMIT 1");
	sqs_int(s, 1, (int64_t)id);
	rc = sqs_step(s);
	sqs_reset(s);
	return (rc < 0 ? rc : rc == 1 || id == 1 ? -EBUSY : 0);
}

int
apply_named_row(struct sqc *c, const struct change *ch, const struct op *op)
{
	struct col id = col_int(op->ino), name = col_str(op->name);
	struct col value = col_bytes(op->value, op->nvalue);
	struct row r;
	int err;

	switch (op->kind) {
	case OP_STORE:
		if (op->size == 1 && (err = store_is_free(c, op->ino)) != 0)
			return (err);
		r = (struct row){ T_STORE, { id, name, value,
		    col_int(op->flags) } };
		return (put_or_remove(c, ch, &r, op->size == 1));
	case OP_PIN:
		r = (struct row){ T_PIN, { id, name, col_str(op->name2), value,
		    col_int(op->size), col_int(op->mtime), col_int(0) } };
		break;
	case OP_POLICY:
		if (op->mask == POLICY_PLACE &&
		    (err = place_check(c, op)) != 0)
			return (err);
		if (op->mask == POLICY_WHOLE &&
		    (err = whole_check(c, op)) != 0)
			return (err);
		r = (struct row){ T_POLICY, { id, name, col_int(op->mask),
		    value } };
		break;
	default:
		r = (struct row){ T_QUOTA, { col_int(op->mask), id,
		    col_int(op->size), col_int(op->ino2) } };
		break;
	}
	return (put_or_remove(c, ch, &r, op->flags & 1));
}

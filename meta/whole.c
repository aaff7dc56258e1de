/* whole: see whole.h.  The body of a row is text, one word. */
#include <errno.h>
#include <sys/stat.h>

#include "meta/internal.h"
#include "meta/query.h"
#include "meta/whole.h"

static const char all[] = "fill=whole", wanted[] = "fill=wanted";

int
whole_row_op(const struct whole_row *r, bool remove, struct buf *body,
    struct op *ret)
{
	if (r->dir & WHOLE_ID)
		return (-EINVAL);
	buf_reset(body);
	buf_puts(body, r->whole ? all : wanted);
	if (buf_err(body) != 0)
		return (buf_err(body));
	*ret = (struct op){ .kind = OP_POLICY, .ino = r->dir | WHOLE_ID,
	    .mask = POLICY_WHOLE, .flags = remove };
	if (!remove) {
		ret->value = body->p;
		ret->nvalue = body->len;
	}
	return (0);
}

static bool
is_text(const void *p, size_t n, const char *text)
{
	return (n == strlen(text) && memcmp(p, text, n) == 0);
}

/* policy_nearest's: what this cannot read is as if it were not there. */
static int
take(struct sqc *c, void *arg, const void *p, size_t n)
{
	bool *whole = arg;

	(void)c;
	*whole = is_text(p, n, all);
	return (*whole || is_text(p, n, wanted));
}

int
whole_of(struct sqc *c, uint64_t ino, struct whole_row *ret)
{
	bool whole = false;
	int rc;

	*ret = (struct whole_row){ 0, false };
	rc = policy_nearest(c, POLICY_WHOLE, WHOLE_ID, ino, take, &whole,
	    &ret->dir);
	ret->whole = rc == 0 && ret->dir != 0 && whole;
	return (rc);
}

int
whole_rows(struct sqc *c, int (*each)(void *arg, const struct whole_row *r),
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT i.ino, p.body FROM policy p "
	    "JOIN inode i ON i.ino = p.id & ? WHERE p.kind = ? "
	    "ORDER BY p.id");
	int rc;

	sqs_int(s, 1, (int64_t)~WHOLE_ID);
	sqs_int(s, 2, POLICY_WHOLE);
	while ((rc = sqs_step(s)) == 1) {
		struct whole_row r = { .dir = sqs_col_int(s, 0) };
		const void *p;
		size_t n;

		p = sqs_col_blob(s, 1, &n);
		if (take(c, &r.whole, p, n) == 1 && each(arg, &r) != 0) {
			sqs_reset(s);
			return (0);
		}
	}
	return (rc);
}

/* --- what the op must find (L9) --- */

int
whole_check(struct sqc *c, const struct op *op)
{
	struct row r;
	bool whole;
	int err;

	if (op->flags & 1)
		return (policy_has(c, POLICY_WHOLE, op->ino));
	if (!(op->ino & WHOLE_ID) ||
	    take(c, &whole, op->value, op->nvalue) != 1)
		return (-EINVAL);
	if ((err = inode_get(c, op->ino & ~WHOLE_ID, &r)) != 0)
		return (err);
	return (S_ISDIR(r.v[I_MODE].i) ? 0 : -ENOTDIR);
}

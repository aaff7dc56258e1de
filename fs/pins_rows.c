/* pins_rows: see pins_rows.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/pins_rows.h"
#include "fs/ship.h"
#include "meta/journal.h"
#include "meta/query.h"

int
pin_copy_set(struct pin_copy *ret, uint64_t id, const char *name,
    const char *host, const char *selectors)
{
	struct pin_copy p = { .id = id };

	p.name = strdup(name);
	p.host = strdup(host);
	p.selectors = strdup(selectors);
	if (p.name == NULL || p.host == NULL || p.selectors == NULL) {
		pin_copy_done(&p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

int
pin_copy_text(struct pin_copy *p, const char *selectors)
{
	char *s = strdup(selectors);

	if (s == NULL)
		return -ENOMEM;
	free(p->selectors);
	p->selectors = s;
	return 0;
}

void
pin_copy_done(struct pin_copy *p)
{
	free(p->name);
	free(p->host);
	free(p->selectors);
	memset(p, 0, sizeof *p);
}

void
pin_rows_done(struct pin_rows *r)
{
	unsigned i;

	for (i = 0; i < r->n; i++)
		pin_copy_done(&r->v[i]);
	free(r->v);
	r->v = NULL;
	r->n = 0;
}

struct read { struct pin_rows rows; int err; };

static int
read_one(void *arg, const struct pin_row *p)
{
	struct read *r = arg;
	struct pin_copy *v;

	v = realloc(r->rows.v, (r->rows.n + 1) * sizeof *v);
	if (v == NULL) {
		r->err = -ENOMEM;
		return 1;
	}
	r->rows.v = v;
	r->err = pin_copy_set(&v[r->rows.n], p->id, p->name, p->host,
	    p->selectors);
	if (r->err != 0)
		return 1;
	v[r->rows.n].expires = p->expires;
	v[r->rows.n].created = p->created;
	r->rows.n++;
	return 0;
}

int
pin_rows_read(struct fs *f, struct pin_rows *ret)
{
	struct read r = { { NULL, 0 }, 0 };
	struct sqc *q = NULL;
	int rc;

	rc = sq_read(meta_sq(f->meta), &q);
	if (rc == 0)
		rc = meta_pins(q, read_one, &r);
	sq_read_end(q);
	if (rc >= 0)
		rc = r.err;
	if (rc != 0) {
		pin_rows_done(&r.rows);
		return rc;
	}
	*ret = r.rows;
	return 0;
}

struct write { struct fs *f; const struct op *op; };

static int
write_tx(struct sqc *q, void *arg)
{
	struct write *w = arg;
	uint64_t seq;

	return journal(w->f->meta, q, w->op, NEEDS_NOTHING, NULL, 0, &seq);
}

static int
write_op(struct fs *f, const struct op *op, struct why *why)
{
	struct write w = { f, op };
	int rc;

	rc = sq_write(meta_sq(f->meta), write_tx, &w);
	if (rc != 0)
		return why_set(why, rc, "the pin could not be recorded: %s",
		    strerror(-rc));
	ship_kick(f);
	return 0;
}

int
pin_row_put(struct fs *f, const struct pin_copy *p, struct why *why)
{
	struct op op = { .kind = OP_PIN, .ino = p->id, .name = p->name,
	    .name2 = p->host, .value = p->selectors,
	    .nvalue = strlen(p->selectors), .size = (uint64_t)p->expires,
	    .mtime = p->created, .ctime = p->created };

	return write_op(f, &op, why);
}

int
pin_row_del(struct fs *f, const struct pin_copy *p)
{
	struct op op = { .kind = OP_PIN, .ino = p->id, .name = p->name,
	    .name2 = p->host, .flags = 1, .mtime = clock_real() };

	op.ctime = op.mtime;
	return write_op(f, &op, NULL);
}

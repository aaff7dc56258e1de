/* control_pins: pin, unpin, pins, warm, evict, as they are asked for. */
#include <errno.h>
#include <stdlib.h>

#include "fs/control_impl.h"

/* Selectors and the rest; *sel is to be freed. */
static int
request(struct ctl *c, struct pin_request *r, struct ctl_sel *sel)
{
	int rc;

	rc = arg_selectors(c, sel);
	if (rc != 0)
		return rc;
	*r = (struct pin_request){ .selectors = sel->texts,
	    .nselectors = sel->n, .flags = sel->flags, .in = sel->in,
	    .name = arg_str(c, "name"), .ttl = arg_int(c, "ttl", 0),
	    .wait = arg_bool(c, "wait"),
	    .everywhere = arg_bool(c, "everywhere") };
	return 0;
}

static int
progress(void *arg, uint64_t have, uint64_t want, uint64_t files)
{
	return ctl_progress(arg, have, want, files) || ctl_cancelled(arg);
}

/* What was said to end early has no sentence of its own. */
static int
say_ended(struct ctl *c, int rc)
{
	if (rc == -ECANCELED)
		why_set(&c->why, rc, "%s is being unmounted; a pin is filled "
		    "on when it is mounted again", c->f->opt.dir);
	return rc;
}

static void
set_int(struct ctl *c, const char *key, uint64_t v)
{
	json_object_set_new(c->result, key, json_integer((json_int_t)v));
}

int
ctl_pin(struct ctl *c)
{
	uint64_t files = 0, bytes = 0;
	struct ctl_sel sel = { NULL };
	struct pin_request r;
	int rc;

	rc = request(c, &r, &sel);
	if (rc == 0)
		rc = pins_pin(c->f, &r, progress, c, &files, &bytes, &c->why);
	free(sel.texts);
	set_int(c, "files", files);
	set_int(c, "bytes", bytes);
	return say_ended(c, rc);
}

int
ctl_unpin(struct ctl *c)
{
	struct ctl_sel sel = { NULL };
	struct pin_request r;
	int rc;

	rc = request(c, &r, &sel);
	if (rc == 0)
		rc = pins_unpin(c->f, &r, &c->why);
	free(sel.texts);
	return rc;
}

int
ctl_warm(struct ctl *c)
{
	struct ctl_sel sel = { NULL };
	struct pin_request r;
	int rc;

	rc = request(c, &r, &sel);
	if (rc == 0)
		rc = pins_warm(c->f, &r, progress, c, &c->why);
	free(sel.texts);
	return say_ended(c, rc);
}

int
ctl_evict(struct ctl *c)
{
	struct ctl_sel sel = { NULL };
	struct pin_request r;
	uint64_t bytes = 0;
	int rc;

	rc = request(c, &r, &sel);
	if (rc == 0)
		rc = pins_evict(c->f, &r, &bytes, &c->why);
	free(sel.texts);
	set_int(c, "bytes", bytes);
	json_object_set_new(c->result, "note", json_string(c->why.text));
	return rc;
}

static int
one(void *arg, const struct pin_status *p)
{
	return ctl_item(arg, ctl_pin_json(p));
}

int
ctl_pins(struct ctl *c)
{
	return pins_each(c->f, one, c);
}

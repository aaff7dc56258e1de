/* control_stage: stage, as it is asked for, and what status says of it. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/control_impl.h"
#include "fs/stage.h"

#define LAND_TIME	(60 * NSEC_PER_SEC)

#define I(v)	((json_int_t)(v))

json_t *
ctl_stage_json(const struct stage_status *s)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
	    "s:I}", "store", s->store, "files", I(s->files), "want",
	    I(s->want), "seen", I(s->seen), "objects", I(s->objects), "bytes",
	    I(s->bytes), "moving", I(s->moving), "relayed", I(s->relayed),
	    "copied", I(s->copied), "found", I(s->found), "read_back",
	    I(s->read_back));
}

/* The files' bytes are what is wanted; a pack's others are besides. */
int
ctl_stage_progress(void *arg, const struct stage_status *s)
{
	uint64_t have = s->bytes + s->moving + s->seen;

	return ctl_progress(arg, have < s->want ? have : s->want, s->want,
	    s->objects) || ctl_cancelled(arg);
}

int
ctl_stage(struct ctl *c)
{
	struct stage_status st = { 0 };
	struct ctl_sel sel = { NULL };
	struct pin_request r;
	uint64_t seq = 0;
	const char *to;
	json_t *o;
	int rc;

	rc = arg_need(c, "to", &to);
	if (rc == 0)
		rc = arg_selectors(c, &sel);
	if (rc != 0)
		return rc;
	r = (struct pin_request){ .selectors = sel.texts,
	    .nselectors = sel.n, .flags = sel.flags, .in = sel.in };
	/* What was just written has no object yet; what a store that is down
	 * holds will have none soon. */
	rc = ctl_flush(c, SHIP_FREE, 0, INT64_MAX);
	if (rc == 0)
		rc = stage_run(c->f, &r, to, ctl_stage_progress, c, &st,
		    &seq, &c->why);
	if (rc == -ECANCELED)
		why_set(&c->why, rc, "ended before it was done; asked again, "
		    "it goes on");
	if (seq != 0 && (rc == 0 || !ctl_cancelled(c))) {
		struct why said = c->why;
		int err = ctl_wait(c, seq, SHIP_ONE, 0, clock_mono() +
		    LAND_TIME);

		if (rc != 0)
			c->why = said;
		else
			rc = err;
	}
	o = ctl_stage_json(&st);
	if (o != NULL)
		json_object_update_new(c->result, o);
	free(sel.texts);
	return rc;
}

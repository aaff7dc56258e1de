/* control_refresh: refresh and imports, as they are asked for. */
#include <errno.h>

#include "base/clock.h"
#include "fs/control_impl.h"
#include "fs/refresh.h"

/* json_pack's I takes json_int_t. */
#define I(v)	((json_int_t)(v))

static int
progress(void *arg, uint64_t keys, uint64_t bytes)
{
	if (keys == 0)
		return ctl_cancelled(arg);
	return ctl_progress(arg, bytes, 0, keys) || ctl_cancelled(arg);
}

int
ctl_refresh(struct ctl *c)
{
	struct refresh_request r = { .progress = progress, .arg = c,
	    .every = arg_int(c, "every", -1),
	    .empty = arg_bool(c, "empty"), .tags = arg_bool(c, "tags") };
	struct refresh_result res;
	int rc;

	rc = arg_need(c, "path", &r.path);
	if (rc != 0)
		return rc;
	rc = fs_refresh(c->f, &r, &res, &c->why);
	if (rc != 0)
		return rc;
	return json_object_update_new(c->result, json_pack("{s:I, s:I, s:I, "
	    "s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
	    "keys", I(res.keys),
	    "same", I(res.st.same), "added", I(res.st.added), "changed",
	    I(res.st.changed), "gone", I(res.st.gone), "retimed",
	    I(res.st.retimed), "renamed", I(res.st.renamed), "dirs_added",
	    I(res.st.dirs_added), "dirs_gone", I(res.st.dirs_gone), "bytes",
	    I(res.st.bytes), "tags_set", I(res.tags_set), "tags_removed",
	    I(res.tags_removed), "took", I(res.took))) == 0 ? 0 : -ENOMEM;
}

/* New; NULL: no memory. */
static json_t *
to_json(const struct refresh_status *s)
{
	int64_t age = s->last != 0 ? clock_real() - s->last : -1;
	json_t *o;

	o = json_pack("{s:s, s:I, s:I, s:b, s:s}", "store", s->store, "every",
	    I(s->every), "last_age", I(age), "running", (int)s->running,
	    "why", s->why);
	if (o != NULL && (ctl_set_bytes(o, "path", s->path) != 0 ||
	    ctl_set_bytes(o, "url", s->url) != 0)) {
		json_decref(o);
		o = NULL;
	}
	return o;
}

static int
append(void *arg, const struct refresh_status *s)
{
	return json_array_append_new(arg, to_json(s)) == 0 ? 0 : -ENOMEM;
}

json_t *
ctl_imports_json(struct fs *f)
{
	json_t *list = json_array();

	if (list != NULL && refresh_each(f, append, list) != 0) {
		json_decref(list);
		list = NULL;
	}
	return list;
}

static int
item(void *arg, const struct refresh_status *s)
{
	json_t *o = to_json(s);

	return o == NULL ? -ENOMEM : ctl_item(arg, o);
}

int
ctl_imports(struct ctl *c)
{
	return refresh_each(c->f, item, c);
}

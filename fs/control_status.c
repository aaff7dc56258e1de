/* control_status: what `gnsfs status` is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counters.h"
#include "fs/control_impl.h"
#include "fs/pass.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "fs/upload.h"
#include "meta/journal.h"

/* json_pack's I takes json_int_t. */
#define I(v)	((json_int_t)(v))

#define DISK_FULL	(1u << 20)	/* bytes free: there is none */

static int64_t
age(int64_t since)
{
	int64_t d = since != 0 ? clock_real() - since : 0;

	return d > 0 ? d : 0;
}

static const char *
write_state_name(int s)
{
	return s == FS_WRITABLE ? "writable" : s == FS_FENCED ? "fenced" :
	    "read-only";
}

/* VmHWM of this process, bytes; 0 unknown. */
static uint64_t
peak_memory(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f;

	f = fopen("/proc/self/status", "re");
	if (f == NULL)
		return 0;
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "VmHWM: %llu kB", &kib) == 1)
			break;
	fclose(f);
	return kib << 10;
}

#define STORES_MAX	64	/* whose waiting bytes are counted */

struct all_stores {
	json_t		*list;
	struct waiting_store v[STORES_MAX];
	unsigned	 n;
};

static int
add_store(void *arg, const struct store_health *h)
{
	struct all_stores *all = arg;
	struct waiting_store none = { 0 }, *w = &none;
	unsigned i;

	for (i = 0; i < all->n; i++)
		if (all->v[i].store == h->id)
			w = &all->v[i];
	json_array_append_new(all->list, json_pack(
	    "{s:I, s:o, s:o, s:b, s:I, s:o, s:I, s:I, s:I}", "id", I(h->id),
	    "name", ctl_text(h->name), "url", ctl_text(h->url), "up",
	    !h->down, "since_age", I(age(h->since)), "why", ctl_text(h->down ?
	    h->why : ""), "waiting_files", I(w->files), "waiting_bytes",
	    I(w->bytes), "waiting_age", I(age(w->oldest))));
	return 0;
}

static int
set_stores(struct ctl *c)
{
	struct all_stores all = { .list = json_array() };
	struct sqc *q = NULL;
	int rc;

	rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc == 0)
		rc = journal_waiting_stores(q, all.v, STORES_MAX, &all.n);
	sq_read_end(q);
	if (rc == 0)
		rc = stores_each(c->f, add_store, &all);
	json_object_set_new(c->result, "stores", all.list);
	return rc;
}

json_t *
ctl_pin_json(const struct pin_status *p)
{
	json_t *o;

	o = json_pack("{s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:s, "
	    "s:o}", "id", I(p->id), "name", ctl_text(p->name), "selectors",
	    ctl_text(p->selectors), "host", ctl_text(p->host), "files",
	    I(p->files), "want", I(p->want), "have", I(p->have), "eta",
	    I(p->eta), "expires", I(p->expires), "state", p->state, "why",
	    ctl_text(p->why));
	return o;
}

static int
add_pin(void *arg, const struct pin_status *p)
{
	json_array_append_new(arg, ctl_pin_json(p));
	return 0;
}

static int
add_stage(void *arg, const struct stage_status *s)
{
	json_array_append_new(arg, ctl_stage_json(s));
	return 0;
}

static int
set_log(struct ctl *c)
{
	struct meta_session session;
	struct ship_status s;

	ship_status(c->f, &s);
	meta_session_get(c->f->meta, &session);
	return json_object_update_new(c->result, json_pack(
	    "{s:{s:s, s:I, s:I, s:o}, s:{s:I, s:o}, "
	    "s:{s:I, s:I, s:I, s:I, s:I, s:o}}",
	    "log", "state", s.state, "lsn", I(s.lsn), "last_landed_age",
	    I(age(s.last_landed)), "why", ctl_text(s.why),
	    "session", "number", I(session.number), "host",
	    ctl_text(session.host),
	    "pending", "ops", I(s.pending_ops), "held", I(s.held_ops),
	    "files", I(s.pending_files),
	    "bytes", I(s.pending_bytes), "oldest_age", I(age(s.oldest)),
	    "why", ctl_text(s.why)));
}

/* What is full, in a sentence; "" where there is room. */
static void
full_why(struct fs *f, const struct cache_stat *s, struct why *ret)
{
	if (fs_may_add(f) == -ENOSPC)
		why_set(ret, -ENOSPC, "the disk of %s is full: what adds "
		    "fails, what takes away works", f->state_dir);
	else if (s->disk_free < DISK_FULL)
		why_set(ret, -ENOSPC, "the disk of %s is full: reads are not "
		    "kept, writes wait", f->cache_dir);
	else if (s->dirty >= s->limit)
		why_set(ret, -ENOSPC, "full of what is not stored yet: writes "
		    "wait");
}

static int
set_bytes(struct ctl *c)
{
	struct upload_status u;
	struct cache_stat s;
	struct why full = { "" };

	cache_stat(c->f->cache, &s);
	full_why(c->f, &s, &full);
	upload_status(c->f, &u);
	return json_object_update_new(c->result, json_pack(
	    "{s:{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}, "
	    "s:{s:I, s:I, s:I, s:o}}",
	    "cache", "dir", ctl_text(c->f->cache_dir), "limit", I(s.limit),
	    "used", I(s.used), "dirty", I(s.dirty), "pinned", I(s.pinned),
	    "reserved", I(s.reserved), "small", I(s.small), "files",
	    I(s.files), "disk_free", I(s.disk_free),
	    "why", full.text,
	    "uploads", "waiting", I(u.waiting), "active", I(u.active),
	    "bytes_left", I(u.bytes_left), "why", ctl_text(u.why)));
}

static int
set_totals(struct ctl *c)
{
	struct meta_totals t = { 0 };
	struct sqc *q = NULL;
	int rc;

	rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc == 0)
		rc = meta_totals(q, &t);
	sq_read_end(q);
	if (rc != 0)
		return rc;
	return json_object_update_new(c->result, json_pack(
	    "{s:{s:I, s:I, s:I}}", "totals", "files", I(t.files), "dirs",
	    I(t.dirs), "bytes", I(t.bytes)));
}

static json_t *
counters(void)
{
	json_t *o = json_object();
	unsigned i;

	for (i = 0; o != NULL && i < C_COUNT; i++)
		json_object_set_new(o, counter_descs[i].name, json_integer(
		    (json_int_t)atomic_load_explicit(&counter_values[i],
		    memory_order_relaxed)));
	return o;
}

static json_t *
head(struct fs *f)
{
	struct why why = { "" };
	int state = atomic_load(&f->write_state);
	const char *uring = atomic_load(&f->uring);

	lock_take(&f->why_lock);
	if (state != FS_WRITABLE)
		why = f->why_read_only;
	lock_drop(&f->why_lock);
	return json_pack("{s:s, s:s, s:o, s:o, s:i, s:o, s:s, s:s, s:I, s:I, "
	    "s:s, s:s}",
	    "name", f->name, "uuid", f->uuid, "url", ctl_text(f->opt.url),
	    "dir", ctl_text(f->opt.dir), "pid", (int)getpid(), "state_dir",
	    ctl_text(f->state_dir), "write_state", write_state_name(state),
	    "why", why.text,
	    "uptime", I(age(f->started)), "peak_memory", I(peak_memory()),
	    "passthrough", pass_state(f), "uring",
	    uring != NULL ? uring : "off: not mounted");
}

int
ctl_status(struct ctl *c)
{
	json_t *pins = json_array(), *stages = json_array();
	int rc;

	rc = json_object_update_new(c->result, head(c->f));
	if (rc == 0)
		rc = set_log(c);
	if (rc == 0)
		rc = set_bytes(c);
	if (rc == 0)
		rc = set_totals(c);
	if (rc == 0)
		rc = set_stores(c);
	if (rc == 0)
		rc = pins_each(c->f, add_pin, pins);
	if (rc == 0)
		rc = stage_each(c->f, add_stage, stages);
	json_object_set_new(c->result, "pins", pins);
	json_object_set_new(c->result, "stages", stages);
	json_object_set_new(c->result, "imports", ctl_imports_json(c->f));
	json_object_set_new(c->result, "counters", counters());
	return rc == -1 ? -ENOMEM : rc;
}

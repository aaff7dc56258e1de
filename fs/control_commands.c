/*
 * control_commands: the table of what the control socket is asked, the
 * arguments, and the short commands: unmount, stay, sync, import.
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fs/control_impl.h"
#include "fs/import.h"
#include "fs/io.h"
#include "fs/ship.h"
#include "fs/upload.h"
#include "meta/journal.h"

/* How long a change that a command makes may take to be in the log. */
#define LAND_TIME	(60 * NSEC_PER_SEC)
#define SLICE		(NSEC_PER_SEC / 4)

static int	ctl_unmount(struct ctl *c), ctl_stay(struct ctl *c),
	ctl_sync(struct ctl *c), ctl_import(struct ctl *c);

const struct ctl_cmd ctl_cmds[] = {
	{ "status", ctl_status, true, true },
	{ "explain", ctl_explain, true },
	{ "find", ctl_find, true },
	{ "pins", ctl_pins, true },
	{ "imports", ctl_imports, true },
	{ "unmount", ctl_unmount, false, true },
	{ "stay", ctl_stay, false, true },
	{ "sync", ctl_sync, false },
	{ "import", ctl_import, false },
	{ "refresh", ctl_refresh, false },
	{ "store", ctl_store, false },
	{ "pin", ctl_pin, false },
	{ "unpin", ctl_unpin, false },
	{ "warm", ctl_warm, false },
	{ "evict", ctl_evict, false },
	{ "stage", ctl_stage, false },
	{ "tag", ctl_tag, false },
	{ "policy", ctl_policy, false },
	{ "fsck", ctl_fsck, false },
	{ NULL }
};

/* --- arguments --- */

const char *
arg_str(const struct ctl *c, const char *key)
{
	return json_string_value(json_object_get(c->args, key));
}

int64_t
arg_int(const struct ctl *c, const char *key, int64_t dflt)
{
	json_t *v = json_object_get(c->args, key);

	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

bool
arg_bool(const struct ctl *c, const char *key)
{
	return json_is_true(json_object_get(c->args, key));
}

int
arg_need(struct ctl *c, const char *key, const char **ret)
{
	*ret = arg_str(c, key);
	if (*ret == NULL)
		return why_set(&c->why, -EINVAL, "the request says no '%s'",
		    key);
	return 0;
}

int
arg_path(struct ctl *c, struct sqc *q, const char *key, struct attr *ret)
{
	const char *path;
	int rc;

	rc = arg_need(c, key, &path);
	if (rc != 0)
		return rc;
	if (*path != '/')
		return why_set(&c->why, -EINVAL, "'%s' is no path of a "
		    "namespace: those begin with /", path);
	if (!ctl_may_see(c, q, path, false))
		return why_set(&c->why, -EACCES, "%s: not for you to see",
		    path);
	rc = meta_resolve(q, path, ret);
	if (rc != 0)
		why_set(&c->why, rc, "%s:%s: %s", c->f->name, path,
		    strerror(-rc));
	return rc;
}

int
ctl_set_bytes(json_t *o, const char *key, const char *s)
{
	json_t *v = json_string(s);
	char *hex, *name;
	size_t n;
	int rc;

	if (v != NULL)
		return json_object_set_new(o, key, v) == 0 ? 0 : -ENOMEM;
	n = strlen(s);
	hex = malloc(2 * n + 1);
	if (hex == NULL || asprintf(&name, "%s_hex", key) < 0) {
		free(hex);
		return -ENOMEM;
	}
	hex_encode(s, n, hex);
	rc = json_object_set_new(o, name, json_string(hex));
	free(name);
	free(hex);
	return rc == 0 ? 0 : -ENOMEM;
}

/* --- who may see what --- */

static bool
in_group(const struct ctl *c, gid_t gid)
{
	unsigned i;

	if (c->gid == gid)
		return true;
	for (i = 0; i < c->ngroups; i++)
		if (c->groups[i] == gid)
			return true;
	return false;
}

/* As the kernel decides, with uid=, gid=, umask= laid over. */
static bool
may(const struct ctl *c, const struct attr *a, unsigned want)
{
	const struct fs_options *o = &c->f->opt;
	uint32_t uid = o->uid >= 0 ? (uint32_t)o->uid : a->uid;
	uint32_t gid = o->gid >= 0 ? (uint32_t)o->gid : a->gid;
	uint32_t mode = a->mode;

	if (o->umask >= 0)
		mode &= ~(uint32_t)o->umask;
	if (uid == c->uid)
		mode >>= 6;
	else if (in_group(c, gid))
		mode >>= 3;
	return (mode & want) == want;
}

static bool
dirs_open(struct ctl *c, struct sqc *q, char *dir, bool list)
{
	unsigned want = list ? 5 : 1;
	struct attr a;
	char *slash;

	if (meta_resolve(q, "/", &a) != 0 || !may(c, &a, want))
		return false;
	for (slash = dir; (slash = strchr(slash + 1, '/')) != NULL; ) {
		*slash = '\0';
		if (meta_resolve(q, dir, &a) != 0 || !may(c, &a, want))
			return false;
		*slash = '/';
	}
	return true;
}

bool
ctl_may_see(struct ctl *c, struct sqc *q, const char *path, bool list)
{
	const char *slash = strrchr(path, '/');
	char *dir;
	size_t n;

	if (c->owner)
		return true;
	if (slash == NULL)
		return false;
	/* With its last slash, so that each component ends in one. */
	n = (size_t)(slash - path) + 1;
	if (c->seen_dir != NULL && strlen(c->seen_dir) == n &&
	    memcmp(c->seen_dir, path, n) == 0)
		return c->seen_ok;
	free(c->seen_dir);
	c->seen_dir = strndup(path, n);
	dir = strndup(path, n);
	c->seen_ok = dir != NULL && c->seen_dir != NULL &&
	    dirs_open(c, q, dir, list);
	free(dir);
	return c->seen_ok;
}

/* --- until it is durable --- */

void
ctl_pending(struct ctl *c)
{
	struct ship_status s;
	int64_t age;

	ship_status(c->f, &s);
	age = s.oldest != 0 ? clock_real() - s.oldest : 0;
	json_object_set_new(c->result, "pending_ops",
	    json_integer((json_int_t)s.pending_ops));
	json_object_set_new(c->result, "pending_bytes",
	    json_integer((json_int_t)s.pending_bytes));
	json_object_set_new(c->result, "oldest_age",
	    json_integer((json_int_t)(age > 0 ? age : 0)));
	json_object_set_new(c->result, "pid", json_integer(getpid()));
	json_object_set_new(c->result, "state_dir",
	    ctl_text(c->f->state_dir));
	json_object_set_new(c->result, "fenced", json_boolean(
	    atomic_load(&c->f->write_state) == FS_FENCED));
}

/* In slices, so that who asked can leave. */
int
ctl_wait(struct ctl *c, uint64_t seq, enum ship_until what, uint64_t top,
    int64_t deadline)
{
	struct ship_status s;
	struct why why;
	uint64_t most = 0;
	int64_t now;
	int rc;

	for (;;) {
		now = clock_mono();
		why.text[0] = '\0';
		rc = ship_wait(c->f, seq, what, top, now + SLICE < deadline ?
		    now + SLICE : deadline, &why);
		if (rc != -ETIMEDOUT)
			break;
		if (clock_mono() >= deadline)
			break;
		ship_status(c->f, &s);
		if (s.pending_bytes > most)
			most = s.pending_bytes;
		if (ctl_progress(c, most - s.pending_bytes, most, 0) ||
		    ctl_cancelled(c))
			return why_set(&c->why, -ECANCELED, "given up");
	}
	if (rc != 0)
		why_set(&c->why, rc, "%s", why_text(&why, rc));
	return rc;
}

int
ctl_flush(struct ctl *c, enum ship_until what, uint64_t top, int64_t deadline)
{
	struct ship_status s;
	uint64_t seq = 0;
	int rc;

	if (fs_may_write(c->f) != 0) {
		ship_status(c->f, &s);
		if (s.pending_ops == 0)
			return 0;
		lock_take(&c->f->why_lock);
		why_set(&c->why, -EROFS, "%s", why_text(&c->f->why_read_only,
		    -EROFS));
		lock_drop(&c->f->why_lock);
		return -EROFS;
	}
	rc = io_journal_dirty(c->f, top, &seq);
	if (rc != 0)
		return why_set(&c->why, rc, "what is open could not be "
		    "journalled: %s", strerror(-rc));
	if (seq == 0)
		return 0;
	upload_hurry(c->f, seq);
	upload_retry(c->f);
	ship_kick(c->f);
	return ctl_wait(c, seq, what, top, deadline);
}

struct land {
	struct ctl		*c;
	struct op		*op;
	ctl_look		*look;
	void			*arg;
	uint64_t		 seq;
};

static int
land_tx(struct sqc *q, void *arg)
{
	struct land *l = arg;
	int rc = 0;

	if (l->look != NULL)
		rc = l->look(l->c, q, l->op, l->arg);
	return rc != 0 ? rc : journal(l->c->f->meta, q, l->op, NEEDS_NOTHING,
	    NULL, 0, &l->seq);
}

int
ctl_land(struct ctl *c, struct op *op, ctl_look *look, void *arg)
{
	struct land l = { .c = c, .op = op, .look = look, .arg = arg };
	int rc;

	rc = fs_may_write(c->f);
	if (rc != 0)
		return why_set(&c->why, rc, "%s is mounted read-only",
		    c->f->opt.dir);
	rc = sq_write(meta_sq(c->f->meta), land_tx, &l);
	if (rc != 0)
		return why_set(&c->why, rc, "%s", strerror(-rc));
	ship_kick(c->f);
	return ctl_wait(c, l.seq, SHIP_ONE, 0, clock_mono() + LAND_TIME);
}

static int64_t
arg_deadline(const struct ctl *c, int64_t dflt)
{
	int64_t t = arg_int(c, "timeout", dflt), now = clock_mono();

	return t < 0 || t > INT64_MAX - now ? INT64_MAX : now + t;
}

static int
ctl_unmount(struct ctl *c)
{
	int64_t deadline = arg_deadline(c, LAND_TIME);
	int rc;

	ctl_pending(c);		/* pid and folder, whatever comes */
	ctl_set_unmount(c->f, deadline);
	rc = ctl_flush(c, SHIP_ALL, 0, deadline);
	if (rc == -ECANCELED) {
		ctl_set_unmount(c->f, 0);
		return rc;
	}
	/* What is left to do then is to close the session. */
	ctl_set_unmount(c->f, clock_mono() + (rc == 0 ? 10 : 1) *
	    NSEC_PER_SEC);
	ctl_pending(c);
	return rc;
}

static int
ctl_stay(struct ctl *c)
{
	ctl_set_unmount(c->f, 0);
	return 0;
}

static int
ctl_sync(struct ctl *c)
{
	struct attr a = { .ino = META_ROOT };
	struct sqc *q = NULL;
	int rc = 0;

	if (arg_str(c, "path") != NULL) {
		rc = sq_read(meta_sq(c->f->meta), &q);
		if (rc == 0)
			rc = arg_path(c, q, "path", &a);
		sq_read_end(q);
	}
	if (rc == 0)
		rc = a.ino == META_ROOT ? ctl_flush(c, SHIP_ALL, 0,
		    arg_deadline(c, INT64_MAX)) : ctl_flush(c, SHIP_BELOW,
		    a.ino, arg_deadline(c, INT64_MAX));
	ctl_pending(c);
	return rc;
}

/* --- import --- */

static int
import_progress(void *arg, uint64_t keys, uint64_t bytes)
{
	return ctl_progress(arg, bytes, 0, keys) || ctl_cancelled(arg);
}

static int
import_report(void *arg, const char *key, const char *path)
{
	json_t *o = json_object();

	if (o == NULL || ctl_set_bytes(o, "key", key) != 0 ||
	    ctl_set_bytes(o, "path", path) != 0) {
		json_decref(o);
		return -ENOMEM;
	}
	return ctl_item(arg, o) != 0;
}

static int
ctl_import(struct ctl *c)
{
	struct import_request r = { .progress = import_progress, .arg = c };
	struct import_result res = { 0 };
	int rc;

	rc = arg_need(c, "url", &r.url);
	if (rc == 0)
		rc = arg_need(c, "path", &r.path);
	if (rc != 0)
		return rc;
	r.uid = (uint32_t)arg_int(c, "uid", c->uid);
	r.gid = (uint32_t)arg_int(c, "gid", c->gid);
	r.file_mode = (int32_t)arg_int(c, "mode", -1);
	r.tags = arg_bool(c, "tags");
	if (arg_bool(c, "report"))
		r.report = import_report;
	rc = fs_import(c->f, &r, &res, &c->why);
	if (rc != 0)
		return rc;
	json_object_set_new(c->result, "files",
	    json_integer((json_int_t)res.files));
	json_object_set_new(c->result, "dirs",
	    json_integer((json_int_t)res.dirs));
	json_object_set_new(c->result, "bytes",
	    json_integer((json_int_t)res.bytes));
	json_object_set_new(c->result, "escaped",
	    json_integer((json_int_t)res.escaped));
	json_object_set_new(c->result, "store", json_integer(res.store));
	json_object_set_new(c->result, "tags",
	    json_integer((json_int_t)res.tags));
	return 0;
}

/*
 * control_store: the stores of the namespace: add, ls, set, rm, check.
 *
 * A change is an OP_STORE that has to be in the log before the command
 * returns: what other records name must be known wherever they are read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "fs/control_impl.h"
#include "fs/stores.h"

#define CHECK_TIME	(10 * NSEC_PER_SEC)

struct find {
	const char	*name;
	uint32_t	 id, flags, max;
	char		*url;		/* owned */
	bool		 found;
};

static int
find_one(void *arg, const struct store_row *s)
{
	struct find *f = arg;

	if (s->id > f->max)
		f->max = s->id;
	if (strcmp(s->name, f->name) != 0)
		return 0;
	f->found = true;
	f->id = s->id;
	f->flags = s->flags;
	free(f->url);
	f->url = strdup(s->url);
	return 0;
}

static int
find_store(struct ctl *c, const char *name, struct find *ret)
{
	struct sqc *q = NULL;
	int rc;

	*ret = (struct find){ .name = name };
	rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc == 0)
		rc = meta_stores(q, find_one, ret);
	sq_read_end(q);
	return rc < 0 ? rc : 0;
}

static int
need_store(struct ctl *c, const char *name, struct find *ret)
{
	int rc;

	rc = find_store(c, name, ret);
	if (rc == 0 && !ret->found)
		rc = why_set(&c->why, -ENOENT, "the namespace has no store "
		    "'%s'; `gnsfs store ls` lists them", name);
	return rc;
}

static int
list_one(void *arg, const struct store_health *h)
{
	return ctl_item(arg, json_pack("{s:I, s:s, s:s, s:b, s:s}", "id",
	    (json_int_t)h->id, "name", h->name, "url", h->url, "up",
	    !h->down, "why", h->down ? h->why : ""));
}

/* One write of the row, in the log when it returns. */
static int
put_store(struct ctl *c, uint32_t id, const char *name, const char *url,
    uint32_t flags, bool remove)
{
	struct op op = { .kind = OP_STORE, .ino = id, .name = name,
	    .value = url, .nvalue = strlen(url), .flags = flags,
	    .size = remove ? 1 : 0 };
	int rc;

	op.mtime = op.ctime = clock_real();
	rc = ctl_land(c, &op);
	return rc != 0 ? rc : stores_reload(c->f);
}

static bool
name_is_good(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 64 && *s != '-' && strpbrk(s, "/:\n ") == NULL;
}

/* A list that is asked for its result alone. */
static int
ignore_one(void *arg, const struct store_entry *e)
{
	return 0;
}

/* Spelt one way, and answering: an unknown bucket is found out here. */
static int
check_url(struct ctl *c, const char *text, char **ret)
{
	struct store_call call = { .deadline = clock_mono() + CHECK_TIME,
	    .why = &c->why, .tag = "check" };
	struct stack_opts opts = { .trace_fd = -1 };
	struct store_list l = { .prefix = "", .max = 1 };
	struct store *s = NULL;
	enum store_rc src;
	struct url u;
	int rc;

	rc = url_parse(text, &u, &c->why);
	if (rc != 0)
		return rc;
	rc = store_open(&u, &opts, &s, &c->why);
	if (rc == 0) {
		src = store_list(s, &call, &l, ignore_one, NULL);
		rc = store_rc_errno(src);
		if (rc != 0)
			why_set(&c->why, rc, "%s: LIST: %s", text,
			    store_rc_name(src));
	}
	if (rc == 0 && (*ret = url_canonical(&u)) == NULL)
		rc = -ENOMEM;
	store_free(s);
	url_done(&u);
	return rc;
}

static int
add(struct ctl *c, const char *name, const char *text)
{
	struct find f;
	char *url = NULL;
	int rc;

	if (!name_is_good(name))
		return why_set(&c->why, -EINVAL, "'%s' cannot be a store's "
		    "name: 1 to 64 bytes without `/`, `:` and blanks can",
		    name);
	rc = find_store(c, name, &f);
	if (rc == 0 && f.found)
		rc = why_set(&c->why, -EEXIST, "there is a store '%s' "
		    "already, at %s; `gnsfs store set` changes it", name,
		    f.url);
	if (rc == 0)
		rc = check_url(c, text, &url);
	if (rc == 0)
		rc = put_store(c, f.max + 1, name, url, 0, false);
	free(url);
	free(f.url);
	return rc;
}

static int
set(struct ctl *c, const char *name, const char *text)
{
	struct find f;
	char *url = NULL;
	int rc;

	rc = need_store(c, name, &f);
	if (rc == 0)
		rc = check_url(c, text, &url);
	if (rc == 0)
		rc = put_store(c, f.id, name, url, f.flags, false);
	free(url);
	free(f.url);
	return rc;
}

/* How many objects have a copy there; -errno. */
static int64_t
objects_in(struct ctl *c, uint32_t id)
{
	struct sqc *q = NULL;
	struct sqs *s;
	int64_t n;
	int rc;

	rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc != 0)
		return rc;
	s = sq_prep(q, "SELECT count(*) FROM location WHERE store = ?1");
	sqs_int(s, 1, id);
	rc = sqs_step(s);
	n = rc == 1 ? sqs_col_int(s, 0) : rc;
	sqs_reset(s);
	sq_read_end(q);
	return n;
}

static int
rm(struct ctl *c, const char *name)
{
	struct find f;
	int64_t n = 0;
	int rc;

	rc = need_store(c, name, &f);
	if (rc == 0 && f.id == STORE_HOME_ID)
		rc = why_set(&c->why, -EBUSY, "'%s' is the home: the "
		    "namespace itself is there", name);
	if (rc == 0)
		n = objects_in(c, f.id);
	if (n < 0)
		rc = (int)n;
	if (n > 0)
		rc = why_set(&c->why, -EBUSY, "'%s' holds %lld object%s of "
		    "files of the namespace; `gnsfs find store:%s` lists the "
		    "files", name, (long long)n, n == 1 ? "" : "s", name);
	if (rc == 0)
		rc = put_store(c, f.id, name, f.url, f.flags, true);
	free(f.url);
	return rc;
}

/* --- check: asked for real --- */

struct probe {
	struct ctl		*c;
	struct store		*s;
	struct store_call	 call;
	struct why		 why;
	bool			 failed;
};

/* One step's outcome, told as an item. */
static void
step(struct probe *p, const char *what, enum store_rc got, enum store_rc want)
{
	bool ok = got == want;

	if (!ok)
		p->failed = true;
	(void)ctl_item(p->c, json_pack("{s:s, s:b, s:s}", "step", what, "ok",
	    ok, "why", ok ? "" : p->why.text[0] != '\0' ? p->why.text :
	    store_rc_name(got)));
	p->why.text[0] = '\0';
}

static void
probe_writes(struct probe *p)
{
	struct store_info info = { 0 };
	struct buf got = BUF_INIT;
	uint64_t r = random_u64();
	char key[64];

	snprintf(key, sizeof key, "gnsfs-check-%016llx",
	    (unsigned long long)r);
	step(p, "put if absent", store_put_mem(p->s, &p->call, key,
	    STORE_IF_ABSENT, NULL, &r, sizeof r, &info), STORE_OK);
	step(p, "put if absent is refused where there is one",
	    store_put_mem(p->s, &p->call, key, STORE_IF_ABSENT, NULL, "x", 1,
	    NULL), STORE_EXISTS);
	step(p, "get what was put", store_get_all(p->s, &p->call, key,
	    sizeof r, &got, NULL), STORE_OK);
	if (got.len != sizeof r || memcmp(got.p, &r, sizeof r) != 0)
		p->failed = true;
	step(p, "replace if unchanged", store_put_mem(p->s, &p->call, key,
	    STORE_IF_MATCH, &info.version, "y", 1, NULL), STORE_OK);
	step(p, "replace is refused where it changed", store_put_mem(p->s,
	    &p->call, key, STORE_IF_MATCH, &info.version, "z", 1, NULL),
	    STORE_CHANGED);
	step(p, "delete", store_del(p->s, &p->call, key, NULL), STORE_OK);
	buf_done(&got);
}

static int
check(struct ctl *c, const char *name)
{
	struct probe p = { .c = c };
	struct store_list l = { .prefix = "", .max = 1 };
	struct find f;
	int rc;

	rc = need_store(c, name, &f);
	if (rc == 0)
		rc = stores_get(c->f, f.id, &p.s, &c->why);
	if (rc != 0)
		goto out;
	p.call = (struct store_call){ .deadline = clock_mono() + CHECK_TIME *
	    2, .why = &p.why, .tag = "check" };
	step(&p, "list", store_list(p.s, &p.call, &l, ignore_one, NULL),
	    STORE_OK);
	/* Into an adopted bucket nothing is written unasked (B2). */
	if (f.id == STORE_HOME_ID || arg_bool(c, "write"))
		probe_writes(&p);
	if (p.failed)
		rc = why_set(&c->why, -EIO, "store '%s' does not do all that "
		    "is needed of it", name);
out:
	free(f.url);
	return rc;
}

int
ctl_store(struct ctl *c)
{
	const char *what, *name = NULL, *url = NULL;
	int rc;

	rc = arg_need(c, "op", &what);
	if (rc != 0)
		return rc;
	if (strcmp(what, "ls") == 0)
		return stores_each(c->f, list_one, c);
	rc = arg_need(c, "name", &name);
	if (rc == 0 && (strcmp(what, "add") == 0 || strcmp(what, "set") == 0))
		rc = arg_need(c, "url", &url);
	if (rc != 0)
		return rc;
	if (strcmp(what, "add") == 0)
		return add(c, name, url);
	if (strcmp(what, "set") == 0)
		return set(c, name, url);
	if (strcmp(what, "rm") == 0)
		return rm(c, name);
	if (strcmp(what, "check") == 0)
		return check(c, name);
	return why_set(&c->why, -EINVAL, "there is no `store %s`", what);
}

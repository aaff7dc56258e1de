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
#include "fs/upload.h"
#include "meta/place.h"
#include "meta/segment.h"

#define CHECK_TIME	(10 * NSEC_PER_SEC)
#define KEY_BYTES	1024	/* of a key: store.h */
#define SAMPLES		12	/* objects looked for where a store moves */

struct find {
	const char	*name;
	uint32_t	 id, flags;
	char		*url;		/* owned */
	bool		 found;
	bool		 staged;	/* to it, at the moment */
};

static int
find_one(void *arg, const struct store_row *s)
{
	struct find *f = arg;

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

int
ctl_need_store(struct ctl *c, const char *name, uint32_t *retid)
{
	struct find f;
	int rc = need_store(c, name, &f);

	if (rc == 0)
		*retid = f.id;
	free(f.url);
	return rc;
}

static int
list_one(void *arg, const struct store_health *h)
{
	return ctl_item(arg, json_pack("{s:I, s:o, s:o, s:b, s:b, s:I, s:o}",
	    "id", (json_int_t)h->id, "name", ctl_text(h->name), "url",
	    ctl_text(h->url), "home", h->id == STORE_HOME_ID, "up", !h->down,
	    "since", (json_int_t)h->since, "why", ctl_text(h->down ? h->why :
	    "")));
}

static int
say_taken(struct ctl *c, const char *name, const char *url)
{
	return why_set(&c->why, -EEXIST, "there is a store '%s' already, at "
	    "%s; choose another name, or `gnsfs store set` changes that one",
	    name, url);
}

/* The stores as they are when the row is written: the network may have been
 * asked since they were read. */
struct look {
	struct ctl		*c;
	const struct find	*was;	/* NULL: it is a new one */
	const char		*name;
	uint32_t		 max;
	bool			 is;	/* as it was */
	int			 err;
};

static int
look_one(void *arg, const struct store_row *s)
{
	struct look *l = arg;

	if (s->id > l->max)
		l->max = s->id;
	if (l->was != NULL && s->id == l->was->id)
		l->is = strcmp(s->name, l->was->name) == 0 &&
		    strcmp(s->url, l->was->url) == 0;
	else if (strcmp(s->name, l->name) == 0)
		l->err = say_taken(l->c, s->name, s->url);
	return 0;
}

static int
look_again(struct ctl *c, struct sqc *q, struct op *op, void *was)
{
	struct look l = { .c = c, .was = was, .name = op->name };
	int rc;

	rc = meta_stores(q, look_one, &l);
	if (rc >= 0)
		rc = l.err;
	if (rc == 0 && was != NULL && !l.is)
		rc = why_set(&c->why, -EAGAIN, "store '%s' has just been "
		    "changed by another command; `gnsfs store ls` shows it",
		    l.was->name);
	if (was == NULL)
		op->ino = l.max + 1;
	return rc;
}

/* One write of the row that was (NULL: a new one), in the log when it
 * returns. */
static int
put_store(struct ctl *c, struct find *was, const char *name, const char *url,
    bool remove)
{
	struct op op = { .kind = OP_STORE, .ino = was != NULL ? was->id : 0,
	    .name = name, .value = url, .nvalue = strlen(url),
	    .flags = was != NULL ? was->flags : 0, .size = remove ? 1 : 0 };
	int rc, err;

	op.mtime = op.ctime = clock_real();
	/* also where only the wait failed: it is journalled, and will land */
	rc = ctl_land(c, &op, look_again, was);
	err = stores_reload(c->f);
	return rc != 0 ? rc : err;
}

static bool
name_is_good(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 64 && *s != '-' && strpbrk(s, "/:\n ") == NULL;
}

static int
say_name(struct ctl *c, const char *name)
{
	return why_set(&c->why, -EINVAL, "'%s' cannot be a store's name: 1 to "
	    "64 bytes without `/`, `:` and blanks can", name);
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
		return say_name(c, name);
	rc = find_store(c, name, &f);
	if (rc == 0 && f.found)
		rc = say_taken(c, name, f.url);
	if (rc == 0)
		rc = check_url(c, text, &url);
	if (rc == 0)
		rc = put_store(c, NULL, name, url, false);
	free(url);
	free(f.url);
	return rc;
}

/* --- set --- */

/* The URL with some settings changed: `settings` of {KEY: VALUE}, "" for one
 * that goes.  New, canonical. */
static int
with_settings(struct ctl *c, const char *text, const json_t *settings,
    char **ret)
{
	struct buf b = BUF_INIT;
	const char *key, *mark = "?";
	char *value;
	struct url u;
	json_t *v;
	int rc;

	rc = url_parse(text, &u, &c->why);
	if (rc != 0)
		return rc;
	buf_put(&b, text, strcspn(text, "?"));
	for (unsigned i = 0; i < u.nsettings; i++) {
		if (json_object_get(settings, u.settings[i].key) != NULL)
			continue;
		value = url_encode(u.settings[i].value, 1);
		buf_printf(&b, "%s%s=%s", mark, u.settings[i].key,
		    value != NULL ? value : "");
		free(value);
		mark = "&";
	}
	json_object_foreach((json_t *)settings, key, v) {
		if (json_string_length(v) == 0)
			continue;
		value = url_encode(json_string_value(v), 1);
		buf_printf(&b, "%s%s=%s", mark, key, value != NULL ? value :
		    "");
		free(value);
		mark = "&";
	}
	url_done(&u);
	rc = stores_url_check(buf_cstr(&b), &c->why);
	if (rc == 0 && (*ret = buf_take(&b, NULL)) == NULL)
		rc = -ENOMEM;
	buf_done(&b);
	return rc;
}

struct sample {
	char		 key[KEY_BYTES + 1];
	struct store_version version;
	uint64_t	 size;
};
struct samples { struct sample v[SAMPLES]; unsigned n; };

static int
take_some(struct sqc *q, uint32_t id, const char *sql, struct samples *p)
{
	struct sqs *s = sq_prep(q, sql);
	const void *key, *version;
	struct sample *m;
	size_t nk, nv;
	int rc;

	sqs_int(s, 1, id);
	while ((rc = sqs_step(s)) == 1 && p->n < SAMPLES) {
		m = &p->v[p->n++];
		key = sqs_col_blob(s, 1, &nk);
		version = sqs_col_blob(s, 2, &nv);
		m->size = (uint64_t)sqs_col_int(s, 3);
		if (nk == 0)
			object_key((uint64_t)sqs_col_int(s, 0), m->key);
		else
			snprintf(m->key, sizeof m->key, "%.*s", (int)nk,
			    (const char *)key);
		snprintf(m->version.text, sizeof m->version.text, "%.*s",
		    (int)nv, version != NULL ? (const char *)version : "");
	}
	sqs_reset(s);
	return rc < 0 ? rc : 0;
}

/* Some objects that files have in the store: the first, the last (what an
 * earlier try that broke off came to in the end), the largest (whose version
 * is often another where they were copied). */
#define SAMPLE	"SELECT e.object, l.key, l.version, o.size FROM extent e " \
	"JOIN location l ON l.object = e.object AND l.store = ?1 " \
	"JOIN object o ON o.id = e.object ORDER BY "
static int
take_samples(struct ctl *c, uint32_t id, struct samples *ret)
{
	struct sqc *q = NULL;
	int rc;

	rc = sq_read(meta_sq(c->f->meta), &q);
	if (rc == 0)
		rc = take_some(q, id, SAMPLE "e.ino LIMIT 4", ret);
	if (rc == 0)
		rc = take_some(q, id, SAMPLE "e.ino DESC LIMIT 4", ret);
	if (rc == 0)
		rc = take_some(q, id, SAMPLE "o.size DESC LIMIT 4", ret);
	sq_read_end(q);
	return rc;
}

/* A store at its new address, as long as that is looked at. */
struct moving {
	struct ctl	*c;
	const struct find *was;
	const char	*text;		/* its URL */
	struct store	*s;
	bool		 other;		/* versions than are recorded */
};

/* Are they there too?  Else reading would fail from then on. */
static int
check_samples(struct moving *m, const struct samples *p)
{
	struct ctl *c = m->c;
	struct store_call call = { .deadline = clock_mono() + CHECK_TIME,
	    .why = &c->why, .tag = "check" };
	struct store_info info;
	enum store_rc src;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < p->n; i++) {
		const struct sample *v = &p->v[i];

		src = store_head(m->s, &call, v->key, &info);
		if (src == STORE_ABSENT || (src == STORE_OK &&
		    info.size != v->size))
			rc = why_set(&c->why, -ESTALE, "'%s' holds files of "
			    "the namespace, and at %s '%s' is %s; copy the "
			    "objects there first, or say --force",
			    m->was->name, m->text, v->key,
			    src == STORE_ABSENT ? "missing" :
			    "of another size");
		else if (src != STORE_OK)
			rc = why_set(&c->why, store_rc_errno(src), "%s: '%s': "
			    "%s", m->text, v->key, store_rc_name(src));
		else if (v->version.text[0] != '\0' && strcmp(
		    info.version.text, v->version.text) != 0)
			m->other = true;
	}
	return rc;
}

/* Every object is compared then, and the versions that they have there are
 * recorded. */
static int
compare_all(struct moving *m)
{
	struct stage_status st = { 0 };
	struct why said = { "" };
	struct ctl *c = m->c;
	int rc;

	rc = stage_moved(c->f, m->was->id, m->was->name, m->was->url, m->s,
	    ctl_stage_progress, c, &st, &said);
	if (rc == -ECANCELED)
		why_set(&c->why, rc, "ended before all was compared; nothing "
		    "was changed");
	else if (rc == -ESTALE)
		why_set(&c->why, rc, "'%s' holds files of the namespace, and "
		    "at %s they are not as they were: %.300s; copy the "
		    "objects there first, or say --force", m->was->name,
		    m->text, said.text);
	else if (rc != 0)
		why_set(&c->why, rc, "%s: %s", m->text, why_text(&said, rc));
	/* not waited for: the new address follows at once, and nothing may come
	 * between the two */
	return rc;
}

static int
check_moved(struct ctl *c, const struct find *was, const char *text)
{
	struct moving m = { .c = c, .was = was, .text = text };
	struct stack_opts opts = { .trace_fd = -1 };
	struct samples *p = calloc(1, sizeof(*p));
	struct url u;
	int rc;

	rc = p == NULL ? -ENOMEM : url_parse(text, &u, &c->why);
	if (rc != 0)
		goto out;
	rc = take_samples(c, was->id, p);
	if (rc == 0)
		rc = store_open(&u, &opts, &m.s, &c->why);
	if (rc == 0)
		rc = check_samples(&m, p);
	if (rc == 0 && m.other)
		rc = compare_all(&m);
	store_free(m.s);
	url_done(&u);
out:
	free(p);
	return rc;
}

/* What the request makes of the row: *retname borrowed, *returl new. */
static int
set_what(struct ctl *c, const struct find *f, const char **retname,
    char **returl)
{
	const json_t *settings = json_object_get(c->args, "settings");
	const char *text = arg_str(c, "url"), *to = arg_str(c, "rename");
	struct find other = { NULL };
	char *changed = NULL;
	int rc = 0;

	*retname = to != NULL ? to : f->name;
	if (to != NULL && !name_is_good(to))
		return say_name(c, to);
	if (to != NULL && strcmp(to, f->name) != 0) {
		rc = find_store(c, to, &other);
		if (rc == 0 && other.found)
			rc = say_taken(c, to, other.url);
		free(other.url);
	}
	if (rc == 0 && json_object_size(settings) > 0) {
		rc = with_settings(c, text != NULL ? text : f->url, settings,
		    &changed);
		text = changed;
	}
	if (rc == 0 && text == NULL)
		rc = (*returl = strdup(f->url)) == NULL ? -ENOMEM : 0;
	else if (rc == 0)
		rc = check_url(c, text, returl);
	free(changed);
	return rc;
}

/* The home is where it is mounted from.  Said so, what it is recorded to have
 * is compared with what it has: it may have been moved meanwhile. */
static int
check_home(struct ctl *c, const char *name)
{
	const json_t *settings = json_object_get(c->args, "settings");
	const char *text = arg_str(c, "url");
	char *said = NULL, *mounted = NULL;
	struct url u;
	int rc = -EBUSY;

	if (text != NULL && json_object_size(settings) == 0 &&
	    arg_str(c, "rename") == NULL && url_parse(text, &u, NULL) == 0) {
		said = url_canonical(&u);
		url_done(&u);
	}
	if (said != NULL && url_parse(c->f->opt.url, &u, NULL) == 0) {
		mounted = url_canonical(&u);
		url_done(&u);
	}
	if (mounted != NULL && strcmp(said, mounted) == 0)
		rc = 0;
	else
		why_set(&c->why, rc, "'%s' is the home: it is where the URL "
		    "that is mounted says; unmount, and mount the other URL",
		    name);
	free(said);
	free(mounted);
	return rc;
}

/* Nothing comes to the place where it was while the new one is compared with
 * it; nor does what came there and is not recorded stay there. */
static int
pause_store(struct ctl *c, const struct find *f)
{
	int rc = upload_pause(c->f, f->id);

	if (rc == -EBUSY)
		why_set(&c->why, rc, "what was stored in '%s' a moment ago is "
		    "not in the log yet; `gnsfs sync` waits for that", f->name);
	else if (rc == -ETIMEDOUT)
		why_set(&c->why, rc, "an upload to '%s' does not end",
		    f->name);
	else if (rc != 0)
		why_set(&c->why, rc, "uploads to '%s' cannot be made anew: %s",
		    f->name, strerror(-rc));
	return rc;
}

/* By one alone (stores_use_begin). */
static int
set_alone(struct ctl *c, struct find *f)
{
	const char *to = NULL;
	char *url = NULL;
	bool moves, paused;
	int rc;

	rc = set_what(c, f, &to, &url);
	/* the home is where it is mounted from, whatever its row says */
	moves = rc == 0 && strcmp(url, f->url) != 0;
	paused = moves && f->id != STORE_HOME_ID;
	if (paused) {
		rc = pause_store(c, f);
		paused = rc == 0;
	}
	/* Also where it is already: what is there may have become other. */
	if (rc == 0 && !arg_bool(c, "force") && (moves ||
	    arg_str(c, "url") != NULL))
		rc = check_moved(c, f, url);
	if (rc == 0)
		rc = put_store(c, f, to, url, false);
	if (paused)
		upload_resume(c->f, f->id);
	free(url);
	return rc;
}

static int
set(struct ctl *c, const char *name)
{
	struct find f;
	uint32_t id = 0;
	int rc;

	rc = ctl_need_store(c, name, &id);
	if (rc == 0 && id == STORE_HOME_ID)
		rc = check_home(c, name);
	if (rc == 0)
		rc = stores_use_begin(c->f, id, true, &c->why);
	if (rc != 0)
		return rc;
	/* as it is now that nobody else changes it */
	rc = need_store(c, name, &f);
	if (rc == 0 && f.id != id)
		rc = why_set(&c->why, -EAGAIN, "store '%s' has just been "
		    "changed by another command; `gnsfs store ls` shows it",
		    name);
	if (rc == 0)
		rc = set_alone(c, &f);
	free(f.url);
	stores_use_end(c->f, id);
	return rc;
}

/* --- rm --- */

/* How many objects that files have bytes of have a copy there; -errno. */
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
	s = sq_prep(q, "SELECT count(DISTINCT l.object) FROM extent e "
	    "JOIN location l ON l.object = e.object AND l.store = ?1");
	sqs_int(s, 1, id);
	rc = sqs_step(s);
	n = rc == 1 ? sqs_col_int(s, 0) : rc;
	sqs_reset(s);
	sq_read_end(q);
	return n;
}

static int
is_staged_to(void *arg, const struct stage_status *s)
{
	struct find *f = arg;

	f->staged = f->staged || strcmp(s->store, f->name) == 0;
	return f->staged;
}

struct named { struct sqc *q; uint32_t store; char *path; };

static int
find_named(void *arg, const struct place_row *r)
{
	struct named *n = arg;

	if (r->store != n->store || n->path != NULL)
		return 0;
	return meta_path(n->q, r->dir, &n->path) != 0;
}

/* No directory says that bytes go there. */
static int
check_places(struct ctl *c, const char *name, uint32_t id)
{
	struct named n = { .store = id };
	int rc;

	rc = sq_read(meta_sq(c->f->meta), &n.q);
	if (rc == 0)
		rc = place_rows(n.q, find_named, &n);
	sq_read_end(n.q);
	if (n.path != NULL)
		rc = why_set(&c->why, -EBUSY, "new bytes below %s go to '%s'; "
		    "`gnsfs policy rm` ends that", n.path, name);
	free(n.path);
	return rc;
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
		rc = stage_each(c->f, is_staged_to, &f);
	if (rc == 0 && f.staged)
		rc = why_set(&c->why, -EBUSY, "files are being staged to "
		    "'%s'", name);
	if (rc == 0)
		n = objects_in(c, f.id);
	if (n < 0)
		rc = (int)n;
	if (rc == 0 && n == 0)
		rc = check_places(c, name, f.id);
	if (n > 0)
		rc = why_set(&c->why, -EBUSY, "'%s' holds %lld object%s of "
		    "files of the namespace; `gnsfs find store:%s` lists the "
		    "files", name, (long long)n, n == 1 ? "" : "s", name);
	if (rc == 0) {
		rc = put_store(c, &f, name, f.url, true);
		if (rc == -EBUSY) {
			c->why.text[0] = '\0';	/* which says no more */
			why_set(&c->why, rc, "'%s' is imported, or was staged "
			    "to a moment ago; `gnsfs imports` says where",
			    name);
		}
	}
	free(f.url);
	return rc;
}

/* --- the command --- */

static int
check(struct ctl *c, const char *name)
{
	struct find f;
	int rc;

	rc = need_store(c, name, &f);
	if (rc == 0)
		rc = ctl_store_check(c, name, f.id, arg_bool(c, "write"));
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
	if (rc == 0 && strcmp(what, "add") == 0)
		rc = arg_need(c, "url", &url);
	if (rc != 0)
		return rc;
	if (strcmp(what, "add") == 0)
		return add(c, name, url);
	if (strcmp(what, "set") == 0)
		return set(c, name);
	if (strcmp(what, "rm") == 0)
		return rm(c, name);
	if (strcmp(what, "check") == 0)
		return check(c, name);
	return why_set(&c->why, -EINVAL, "there is no `store %s`", what);
}

/*
 * refresh_thread: imports that are refreshed by themselves, one after the
 * other, and what is known of all of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/refresh_impl.h"
#include "meta/query.h"

#define LOOK		(5 * NSEC_PER_SEC)	/* at the rows, at most */
#define AFTER_FAILURE	(60 * NSEC_PER_SEC)	/* or its interval */

/* --- the list in memory --- */

static struct refreshed *
of_root(struct refresher *r, uint64_t root)
{
	struct refreshed *n;

	lock_assert_held(&r->lock);
	for (n = r->list; n != NULL; n = n->next)
		if (n->root == root)
			return n;
	n = calloc(1, sizeof *n);
	if (n != NULL) {
		n->root = root;
		n->next = r->list;
		r->list = n;
	}
	return n;
}

int
refresh_enter(struct refresher *r, uint64_t root)
{
	struct refreshed *n;
	int err = 0;

	lock_take(&r->lock);
	n = of_root(r, root);
	while (n != NULL && n->running && !atomic_load(&r->stopping))
		cond_wait(&r->cond, &r->lock);
	if (n == NULL)
		err = -ENOMEM;
	else if (atomic_load(&r->stopping))
		err = -ECANCELED;
	else
		n->running = true;
	lock_drop(&r->lock);
	return err;
}

void
refresh_leave(struct refresher *r, uint64_t root, int64_t every, int err,
    const struct why *why)
{
	int64_t pause = every;
	struct refreshed *n;

	if (err != 0 && pause > AFTER_FAILURE)
		pause = AFTER_FAILURE;
	lock_take(&r->lock);
	n = of_root(r, root);
	if (n != NULL) {
		n->running = false;
		n->due = clock_mono() + pause;
		n->why.text[0] = '\0';
		if (err != 0)
			why_set(&n->why, err, "%s", why_text(why, err));
	}
	r->kicked = true;
	cond_broadcast(&r->cond);
	lock_drop(&r->lock);
}

void
refresh_kick(struct refresher *r)
{
	lock_take(&r->lock);
	for (struct refreshed *n = r->list; n != NULL; n = n->next)
		n->due = 0;
	r->kicked = true;
	cond_broadcast(&r->cond);
	lock_drop(&r->lock);
}

/* --- when it was done --- */

static void
last_key(uint64_t root, char ret[40])
{
	snprintf(ret, 40, "refreshed.%" PRIx64, root);
}

int64_t
refresh_last(struct fs *f, struct sqc *c, uint64_t root)
{
	char key[40];
	int64_t t;

	last_key(root, key);
	return meta_get_int(c, key, &t) == 0 ? t : 0;
}

struct noting { uint64_t root; int64_t now; };

static int
note_last_fn(struct sqc *c, void *arg)
{
	const struct noting *n = arg;
	char key[40];

	last_key(n->root, key);
	return meta_set_int(c, key, n->now);
}

void
refresh_note_last(struct fs *f, uint64_t root)
{
	struct noting n = { root, clock_real() };

	if (sq_write(meta_sq(f->meta), note_last_fn, &n) < 0)
		log_warn("when an import was refreshed could not be noted",
		    "root=%" PRIu64, root);
}

/* --- the rows, copied --- */

struct rows { struct import_row *v; unsigned n; int err; };

static int
copy_row(void *arg, const struct import_row *r)
{
	struct rows *rs = arg;
	struct import_row *v = realloc(rs->v, (rs->n + 1) * sizeof *v);

	if (v != NULL)
		rs->v = v;
	if (v == NULL || (v[rs->n] = *r, v[rs->n].prefix =
	    import_row_dup(r)) == NULL) {
		rs->err = -ENOMEM;
		return 1;
	}
	v += rs->n++;
	if (v->tags != NULL)
		v->tags = v->prefix + strlen(v->prefix) + 1;
	return 0;
}

static void
rows_done(struct rows *rs)
{
	for (unsigned i = 0; i < rs->n; i++)
		free((char *)rs->v[i].prefix);
	free(rs->v);
}

static int
rows_read(struct fs *f, struct rows *ret)
{
	struct sqc *c = NULL;
	int err;

	*ret = (struct rows){ NULL };
	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = import_rows(c, copy_row, ret);
	sq_read_end(c);
	if (err == 0)
		err = ret->err;
	if (err != 0)
		rows_done(ret);
	return err;
}

/* --- the thread --- */

/* When a row is due, by what was noted before this process was: clock_mono. */
static int64_t
due_after_start(struct fs *f, const struct import_row *row)
{
	int64_t last = 0, since;
	struct sqc *c = NULL;

	if (sq_read(meta_sq(f->meta), &c) == 0)
		last = refresh_last(f, c, row->root);
	sq_read_end(c);
	since = clock_real() - last;
	return clock_mono() + (since < 0 || since > row->every ? 0 :
	    row->every - since);
}

/* Is it there (still)? */
static bool
is_there(struct fs *f, uint64_t root)
{
	struct sqc *c = NULL;
	struct attr a;
	bool is = false;

	if (sq_read(meta_sq(f->meta), &c) == 0)
		is = meta_getattr(c, root, &a) == 0;
	sq_read_end(c);
	return is;
}

/* Makes it, if it is its time; when that is. */
static int64_t
look_at(struct refresher *r, const struct import_row *row)
{
	static const struct refresh_request plain = { .every = -1 };
	struct refresh_result res;
	struct why why = { "" };
	struct refreshed *n;
	int64_t due = 0;
	int err;

	if (row->every == 0)
		return INT64_MAX;
	lock_take(&r->lock);
	n = of_root(r, row->root);
	if (n != NULL)
		due = n->running ? INT64_MAX : n->due;
	lock_drop(&r->lock);
	if (n == NULL || due == INT64_MAX)
		return clock_mono() + LOOK;
	if (due == 0) {
		due = due_after_start(r->f, row);
		lock_take(&r->lock);
		n = of_root(r, row->root);
		if (n != NULL)
			n->due = due;
		lock_drop(&r->lock);
	}
	if (due > clock_mono())
		return due;
	if (fs_may_write(r->f) != 0 || !is_there(r->f, row->root) ||
	    refresh_enter(r, row->root) != 0)
		return clock_mono() + LOOK;
	err = refresh_one(r->f, row, false, &plain, &res, &why);
	if (err != 0 && err != -ECANCELED)
		log_warn("an import could not be refreshed", "root=%" PRIu64
		    " why=%s", row->root, LOG_Q(why_text(&why, err)));
	refresh_leave(r, row->root, row->every, err, &why);
	return clock_mono() + row->every;
}

static void *
refresh_main(void *arg)
{
	struct refresher *r = arg;
	struct rows rows;
	int64_t next, due;

	pthread_setname_np(pthread_self(), "gnsfs-refresh");
	while (!atomic_load(&r->stopping)) {
		lock_take(&r->lock);
		r->kicked = false;
		lock_drop(&r->lock);
		next = clock_mono() + LOOK;
		if (rows_read(r->f, &rows) == 0) {
			for (unsigned i = 0; i < rows.n &&
			    !atomic_load(&r->stopping); i++) {
				due = look_at(r, &rows.v[i]);
				next = due < next ? due : next;
			}
			rows_done(&rows);
		}
		lock_take(&r->lock);
		while (!r->kicked && !atomic_load(&r->stopping) &&
		    clock_mono() < next)
			(void)cond_wait_until(&r->cond, &r->lock, next);
		lock_drop(&r->lock);
	}
	return NULL;
}

int
refresh_start(struct fs *f)
{
	struct refresher *r = calloc(1, sizeof *r);
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->f = f;
	lock_init(&r->lock, RANK_IMPORT, "refresh");
	cond_init(&r->cond);
	f->refresher = r;
	err = -pthread_create(&r->thread, NULL, refresh_main, r);
	r->started = err == 0;
	return err;
}

void
refresh_stop(struct fs *f)
{
	struct refresher *r = f->refresher;

	if (r == NULL)
		return;
	lock_take(&r->lock);
	atomic_store(&r->stopping, true);
	cond_broadcast(&r->cond);
	lock_drop(&r->lock);
	if (r->started)
		(void)pthread_join(r->thread, NULL);
	r->started = false;
}

void
refresh_done(struct fs *f)
{
	struct refresher *r = f->refresher;
	struct refreshed *n;

	if (r == NULL)
		return;
	while ((n = r->list) != NULL) {
		r->list = n->next;
		free(n);
	}
	cond_done(&r->cond);
	lock_done(&r->lock);
	free(r);
	f->refresher = NULL;
}

/* --- what is known of all --- */

struct store_text { uint32_t id; char name[65], *url; };

static int
copy_store(void *arg, const struct store_row *s)
{
	struct store_text *t = arg;

	if (s->id != t->id)
		return 0;
	snprintf(t->name, sizeof t->name, "%.64s", s->name);
	free(t->url);
	t->url = strdup(s->url);
	return 0;
}

/* "s3://bucket/prefix?settings": the store's URL and the prefix below it. */
static char *
whole_url(const char *url, const char *prefix)
{
	size_t n = strcspn(url, "?"), np = strlen(prefix);
	char *ret;

	while (n > 0 && url[n - 1] == '/')
		n--;
	if (np > 0 && prefix[np - 1] == '/')
		np--;
	if (asprintf(&ret, "%.*s%s%.*s%s", (int)n, url, np > 0 ? "/" : "",
	    (int)np, prefix, url + strcspn(url, "?")) < 0)
		return NULL;
	return ret;
}

static int
tell_one(struct fs *f, const struct import_row *row,
    int (*each)(void *arg, const struct refresh_status *s), void *arg)
{
	struct refresh_status s = { .root = row->root, .every = row->every };
	struct store_text t = { .id = row->store };
	struct why why = { "" };
	struct refreshed *n;
	char *path = NULL, *url = NULL;
	struct sqc *c = NULL;
	int err;

	err = sq_read(meta_sq(f->meta), &c);
	if (err == 0)
		err = meta_path(c, row->root, &path);
	if (err == 0)
		err = meta_stores(c, copy_store, &t);
	if (err == 0)
		s.last = refresh_last(f, c, row->root);
	sq_read_end(c);
	if (err == 0)
		url = whole_url(t.url != NULL ? t.url : "", row->prefix);
	if (err == 0 && f->refresher != NULL) {
		lock_take(&f->refresher->lock);
		for (n = f->refresher->list; n != NULL; n = n->next)
			if (n->root == row->root) {
				s.running = n->running;
				why = n->why;
			}
		lock_drop(&f->refresher->lock);
	}
	s.path = path;
	s.store = t.name;
	s.url = url != NULL ? url : "";
	s.why = why.text;
	/* an import whose root was removed is none */
	err = err == -ENOENT ? 0 : err != 0 ? err : each(arg, &s);
	free(path);
	free(url);
	free(t.url);
	return err;
}

int
refresh_each(struct fs *f, int (*each)(void *arg,
    const struct refresh_status *s), void *arg)
{
	struct rows rows;
	int err;

	err = rows_read(f, &rows);
	if (err != 0)
		return err;
	for (unsigned i = 0; err == 0 && i < rows.n; i++)
		err = tell_one(f, &rows.v[i], each, arg);
	rows_done(&rows);
	return err < 0 ? err : 0;
}

/* import_tags: see import_tags.h. */
#include "fs/import_tags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/stores.h"
#include "meta/journal.h"
#include "meta/query.h"

#define ASKED_AT_ONCE	16u
#define STEP		256u		/* changes of a transaction */
#define CHUNK		32u		/* files that one takes at a time */
#define KEY_BYTES	1024		/* of an object: store.h */
#define KEYS_MAX	1024u		/* of an import, of META_NAME_MAX */
#define CHECK_TIMEOUT	(10 * NSEC_PER_SEC)
#define ASK_TIMEOUT	(15 * NSEC_PER_SEC)	/* of an object */
#define LOOK		(NSEC_PER_SEC / 10)	/* whether it is cancelled */

/* One change: a tag that is set, or one that may have to go. */
struct tag_change {
	uint64_t	 ino;
	size_t		 key, value, nvalue;	/* in text */
};

struct changes {
	struct buf	 rows;		/* of struct tag_change */
	struct buf	 text;
};

struct tagging {
	struct import_tags *t;
	struct import_row row;		/* as it was at the beginning */
	char		*prefix;	/* its own */
	struct store	*store;
	struct buf	 inos;		/* u64: the files */
	_Atomic bool	 cancel;	/* of what is asked: err is set */
	struct lock	 lock;		/* what follows, and t's result */
	struct cond	 ended;
	unsigned	 running;	/* threads that ask */
	size_t		 next;		/* of inos */
	struct changes	 sets, extras;
	struct buf	 keys;		/* as the row has them */
	unsigned	 nkeys;
	size_t		 noted;		/* bytes of keys that it has */
	int		 err;
	struct why	 why;
};

static bool
is_stopped(struct tagging *g)
{
	return atomic_load(&g->cancel) || atomic_load(g->t->cancel);
}

/* --- lists of strings, each with its NUL --- */

static bool
has_key(const struct buf *b, const char *key)
{
	const char *p = (const char *)b->p, *end = p + b->len;

	for (; p < end; p += strlen(p) + 1)
		if (strcmp(p, key) == 0)
			return true;
	return false;
}

/* The value of key among "KEY" NUL "VALUE" NUL ...; NULL. */
static const char *
value_of(const struct buf *tags, const char *key)
{
	const char *p = (const char *)tags->p, *end = p + tags->len;
	const char *value;

	while (p < end) {
		value = p + strlen(p) + 1;
		if (strcmp(p, key) == 0)
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

/* Where it is not there yet. */
static void
add_key(struct tagging *g, const char *key)
{
	if (has_key(&g->keys, key))
		return;
	buf_put(&g->keys, key, strlen(key) + 1);
	g->nkeys++;
}

/* Those of a row. */
static int
add_keys(struct tagging *g, const struct import_row *row)
{
	const char *p = row->tags, *end = p + row->ntags;

	for (; p != NULL && p < end; p += strlen(p) + 1)
		add_key(g, p);
	return buf_err(&g->keys);
}

static int
changes_add(struct changes *c, uint64_t ino, const char *key,
    const char *value)
{
	struct tag_change r = { .ino = ino, .key = c->text.len,
	    .nvalue = strlen(value) };

	buf_put(&c->text, key, strlen(key) + 1);
	r.value = c->text.len;
	buf_put(&c->text, value, strlen(value) + 1);
	buf_put(&c->rows, &r, sizeof(r));
	return buf_err(&c->text) != 0 ? buf_err(&c->text) :
	    buf_err(&c->rows);
}

static void
changes_done(struct changes *c)
{
	buf_done(&c->rows);
	buf_done(&c->text);
}

/* --- into the journal --- */

/* The keys, into the row as it is now. */
static int
keys_tx(struct sqc *q, void *arg)
{
	struct tagging *g = arg;
	struct buf body = BUF_INIT;
	struct import_row row;
	char *prefix = NULL;
	struct op op;
	int err;

	err = import_row_get(q, g->t->root, &row, &prefix);
	if (err == 0)
		err = add_keys(g, &row);
	if (err == 0) {
		row.tags = (const char *)g->keys.p;
		row.ntags = g->keys.len;
		err = import_row_op(&row, &body, &op);
	}
	if (err == 0)
		err = journal(g->t->f->meta, q, &op, NEEDS_NOTHING, NULL, 0,
		    &g->t->seq);
	buf_done(&body);
	free(prefix);
	return err;
}

static int
store_keys(struct tagging *g)
{
	int err = 0;

	if (g->keys.len > g->noted)
		err = fs_may_write(g->t->f);
	if (err == 0 && g->keys.len > g->noted)
		err = sq_write(meta_sq(g->t->f->meta), keys_tx, g);
	if (err == 0)
		g->noted = g->keys.len;
	return err;
}

struct storing {
	struct tagging	*g;
	const struct changes *c;
	size_t		 from, to;	/* rows */
	bool		 remove;
	uint64_t	 done;
};

/* A file that has gone meanwhile has no tags.  A key that the row does not
 * have yet comes with its first tags: what is the bucket's is known. */
static int
store_tx(struct sqc *q, void *arg)
{
	struct storing *s = arg;
	const struct tag_change *r = (const void *)s->c->rows.p;
	const char *text = (const char *)s->c->text.p;
	uint64_t done = 0;
	int err = 0;

	if (s->g->keys.len > s->g->noted)
		err = keys_tx(q, s->g);
	for (size_t i = s->from; err == 0 && i < s->to; i++) {
		struct op op = { .kind = OP_TAG, .ino = r[i].ino,
		    .name = text + r[i].key, .value = text + r[i].value,
		    .nvalue = r[i].nvalue, .flags = s->remove ? 1 : 0,
		    .ctime = clock_real() };

		err = journal(s->g->t->f->meta, q, &op, NEEDS_NOTHING, NULL,
		    0, &s->g->t->seq);
		if (err == 0)
			done++;
		else if (err == -ENOENT || err == -ENODATA)
			err = 0;
	}
	s->done = done;
	return err;
}

/* c is empty then. */
static int
store_changes(struct tagging *g, struct changes *c, bool remove)
{
	struct storing s = { .g = g, .c = c, .remove = remove };
	size_t n = c->rows.len / sizeof(struct tag_change);
	int err = 0;

	for (; err == 0 && s.from < n; s.from = s.to) {
		s.to = s.from + STEP < n ? s.from + STEP : n;
		if (is_stopped(g)) {
			err = -ECANCELED;
			break;
		}
		err = fs_may_write(g->t->f);	/* L13 */
		if (err == 0)
			err = sq_write(meta_sq(g->t->f->meta), store_tx, &s);
		if (err != 0)
			break;
		g->noted = g->keys.len;
		if (remove)
			g->t->removed += s.done;
		else
			g->t->set += s.done;
	}
	buf_reset(&c->rows);
	buf_reset(&c->text);
	return err < 0 ? err : 0;
}

/* --- one file --- */

/* Of an object's tags: one that can be a file's (control_tree.c). */
static bool
is_tag(const char *key, const char *value)
{
	return *key != '\0' && strlen(key) <= META_NAME_MAX &&
	    strpbrk(key, "=\n") == NULL && strlen(value) <= FS_TAG_MAX;
}

/* Where its object is.  1, 0: it is gone, -errno. */
static int
read_key(struct sqc *q, uint64_t ino, uint32_t store, char ret[KEY_BYTES + 1])
{
	struct sqs *s = sq_prep(q, "SELECT key FROM location "
	    "WHERE object = ? AND store = ?");
	const void *p;
	size_t n;
	int rc;

	sqs_int(s, 1, (int64_t)ino);
	sqs_int(s, 2, store);
	if ((rc = sqs_step(s)) == 1) {
		p = sqs_col_blob(s, 0, &n);
		n = n <= KEY_BYTES ? n : 0;
		if (n > 0)
			memcpy(ret, p, n);
		ret[n] = '\0';
		rc = n > 0;
	}
	sqs_reset(s);
	return rc;
}

static int
read_tags(struct sqc *q, uint64_t ino, struct buf *ret)
{
	struct sqs *s = sq_prep(q, "SELECT key, value FROM tag "
	    "WHERE ino = ?");
	const char *p;
	size_t n;
	int rc;

	sqs_int(s, 1, (int64_t)ino);
	while ((rc = sqs_step(s)) == 1) {
		for (int i = 0; i < 2; i++) {
			p = sqs_col_blob(s, i, &n);
			if (n > 0)
				buf_put(ret, p, strnlen(p, n));
			buf_put(ret, "", 1);
		}
	}
	return rc < 0 ? rc : buf_err(ret);
}

/* Under the lock. */
static int
note_differences(struct tagging *g, uint64_t ino, const struct buf *had,
    const struct buf *has, struct why *why)
{
	const char *p = (const char *)has->p, *end = p + has->len;
	const char *value, *old;
	int err = 0;

	for (; err == 0 && p < end; p = value + strlen(value) + 1) {
		value = p + strlen(p) + 1;
		if (!is_tag(p, value))
			continue;
		if (g->nkeys >= KEYS_MAX && !has_key(&g->keys, p))
			return why_set(why, -E2BIG, "its objects' tags have"
			    " more than %u different keys (as '%.80s'), which"
			    " is the most that an import keeps; remove it and"
			    " import it again with fewer, or without --tags",
			    KEYS_MAX, p);
		add_key(g, p);
		old = value_of(had, p);
		if (old == NULL || strcmp(old, value) != 0)
			err = changes_add(&g->sets, ino, p, value);
	}
	p = (const char *)had->p;
	for (end = p + had->len; err == 0 && p < end;
	    p = value + strlen(value) + 1) {
		value = p + strlen(p) + 1;
		if (value_of(has, p) == NULL)
			err = changes_add(&g->extras, ino, p, "");
	}
	return err != 0 ? err : buf_err(&g->keys);
}

/* What the object has; 0: it went meanwhile, 1, -errno. */
static int
ask(struct tagging *g, const char *key, struct buf *ret, struct why *why)
{
	struct why said = { "" };
	struct store_call c = { .why = &said, .tag = "tags",
	    .cancel = &g->cancel, .deadline = clock_mono() + ASK_TIMEOUT };
	enum store_rc rc;

	rc = store_tags(g->store, &c, key, ret);
	stores_result(g->t->f, g->row.store, rc, &said);
	if (rc == STORE_OK)
		return 1;
	if (rc == STORE_ABSENT && said.text[0] == '\0')
		return 0;
	return why_set(why, store_rc_errno(rc), "%s", said.text[0] != '\0' ?
	    said.text : store_rc_name(rc));
}

static int
tag_file(struct tagging *g, uint64_t ino, struct why *why)
{
	struct buf had = BUF_INIT, has = BUF_INIT;
	char key[KEY_BYTES + 1];
	struct sqc *q = NULL;
	int rc;

	rc = sq_read(meta_sq(g->t->f->meta), &q);
	if (rc == 0)
		rc = read_key(q, ino, g->row.store, key);
	if (rc == 1 && (rc = read_tags(q, ino, &had)) == 0)
		rc = 1;
	sq_read_end(q);
	if (rc == 1)
		rc = ask(g, key, &has, why);
	if (rc == 1) {
		lock_take(&g->lock);
		rc = note_differences(g, ino, &had, &has, why);
		if (rc == 0 && g->sets.rows.len >=
		    STEP * sizeof(struct tag_change))
			rc = store_changes(g, &g->sets, false);
		lock_drop(&g->lock);
	}
	buf_done(&had);
	buf_done(&has);
	return rc;
}

/* --- all of them --- */

/* Under the lock.  The first one is told; all threads end. */
static void
note_error(struct tagging *g, int err, const struct why *why)
{
	if (g->err == 0) {
		g->err = err;
		g->why = *why;
	}
	atomic_store(&g->cancel, true);
}

static void
tagging_run(void *arg)
{
	struct tagging *g = arg;
	const uint64_t *inos = (const void *)g->inos.p;
	size_t n = g->inos.len / sizeof(*inos);

	lock_take(&g->lock);
	while (g->err == 0 && g->next < n) {
		struct why why = { "" };
		size_t from = g->next, i = from;
		size_t end = i + CHUNK < n ? i + CHUNK : n;
		int err = 0;

		g->next = end;
		lock_drop(&g->lock);
		for (; err == 0 && i < end; i++)
			err = is_stopped(g) ? -ECANCELED :
			    tag_file(g, inos[i], &why);
		lock_take(&g->lock);
		if (err == 0)
			g->t->files += end - from;
		else
			note_error(g, err, &why);
	}
	if (--g->running == 0)
		cond_signal(&g->ended);
	lock_drop(&g->lock);
}

/* Until all have ended: tells how far they are, and ends them when it is
 * cancelled, without a lock: who is told may take its time. */
static void
follow(struct tagging *g)
{
	const struct why none = { "" };
	struct import_tags *t = g->t;
	uint64_t files;
	bool stop;

	lock_take(&g->lock);
	while (g->running > 0) {
		(void)cond_wait_until(&g->ended, &g->lock, clock_mono() +
		    LOOK);
		files = t->files;
		lock_drop(&g->lock);
		stop = atomic_load(t->cancel) || (t->progress != NULL &&
		    t->progress(t->arg, files) != 0);
		lock_take(&g->lock);
		if (stop)
			note_error(g, -ECANCELED, &none);
	}
	lock_drop(&g->lock);
}

static int
note_ino(void *arg, uint64_t parent, const char *name, const struct attr *a)
{
	struct tagging *g = arg;

	if (S_ISREG(a->mode) && (a->flags & INODE_IMPORTED) != 0)
		buf_put(&g->inos, &a->ino, sizeof(a->ino));
	return buf_err(&g->inos) != 0 || is_stopped(g);
}

/* The row, and the files of it. */
static int
find_files(struct tagging *g)
{
	struct sqc *q = NULL;
	int err;

	err = sq_read(meta_sq(g->t->f->meta), &q);
	if (err == 0)
		err = import_row_get(q, g->t->root, &g->row, &g->prefix);
	if (err == 0)
		err = add_keys(g, &g->row);
	g->noted = g->keys.len;
	if (err == 0)
		err = meta_walk(q, g->t->root, note_ino, g);
	sq_read_end(q);
	if (err >= 0)
		err = is_stopped(g) ? -ECANCELED : buf_err(&g->inos);
	return err;
}

/* Threads of their own: they wait for a store. */
static int
ask_all(struct tagging *g)
{
	const struct why none = { "" };
	struct workers *w = NULL;
	unsigned k;
	int err;

	err = workers_new("gnsfs-tags", ASKED_AT_ONCE, &w);
	if (err != 0)
		return err;
	g->running = ASKED_AT_ONCE;
	for (k = 0; err == 0 && k < ASKED_AT_ONCE; k++)
		err = workers_submit(w, WORK_NORMAL, tagging_run, g);
	if (err != 0) {		/* the last was not taken */
		lock_take(&g->lock);
		g->running -= ASKED_AT_ONCE - (k - 1);
		note_error(g, err, &none);
		lock_drop(&g->lock);
	}
	follow(g);
	workers_free(w);
	return g->err;
}

/* What is the bucket's, and not its object's any more, goes. */
static int
remove_extras(struct tagging *g)
{
	const struct tag_change *r = (const void *)g->extras.rows.p;
	size_t n = g->extras.rows.len / sizeof(*r);
	const char *text = (const char *)g->extras.text.p;
	struct changes gone = { BUF_INIT, BUF_INIT };
	int err = 0;

	for (size_t i = 0; err == 0 && i < n; i++)
		if (has_key(&g->keys, text + r[i].key))
			err = changes_add(&gone, r[i].ino, text + r[i].key,
			    "");
	if (err == 0)
		err = store_changes(g, &gone, true);
	changes_done(&gone);
	return err;
}

int
import_tags(struct import_tags *t, struct why *why)
{
	struct tagging g = { .t = t };
	int err;

	lock_init(&g.lock, RANK_IMPORT, "tags");
	cond_init(&g.ended);
	err = find_files(&g);
	if (err == 0)
		err = stores_get(t->f, g.row.store, &g.store, &g.why);
	if (err == 0)
		err = ask_all(&g);
	if (err == 0)
		err = store_changes(&g, &g.sets, false);
	if (err == 0)
		err = store_keys(&g);
	if (err == 0)
		err = remove_extras(&g);
	if (err != 0)
		why_set(why, err, "%s", err == -ECANCELED ?
		    "it was cancelled" : err == -ENOENT &&
		    g.why.text[0] == '\0' ? "the import is there no more" :
		    why_text(&g.why, err));
	else
		log_info("tags imported", "root=%llu files=%llu set=%llu "
		    "removed=%llu", (unsigned long long)t->root,
		    (unsigned long long)t->files, (unsigned long long)t->set,
		    (unsigned long long)t->removed);
	changes_done(&g.sets);
	changes_done(&g.extras);
	buf_done(&g.inos);
	buf_done(&g.keys);
	free(g.prefix);
	cond_done(&g.ended);
	lock_done(&g.lock);
	return err;
}

/* --- could it be done? --- */

static int
note_key(void *arg, const struct store_entry *e)
{
	char *key = arg;

	if (e->is_prefix || strlen(e->key) > KEY_BYTES)
		return 0;
	strcpy(key, e->key);
	return 1;
}

int
import_tags_check(struct store *s, const char *prefix, struct why *why)
{
	struct store_list l = { .prefix = prefix, .max = 10 };
	struct why said = { "" };
	struct store_call c = { .why = &said, .tag = "tags",
	    .deadline = clock_mono() + CHECK_TIMEOUT };
	struct buf tags = BUF_INIT;
	char key[KEY_BYTES + 1] = "";
	enum store_rc rc = STORE_UNSUPPORTED;

	if ((store_caps(s) & STORE_HAS_TAGS) != 0)
		rc = store_list(s, &c, &l, note_key, key);
	if ((rc == STORE_OK || rc == STORE_CANCELLED) && key[0] != '\0')
		rc = store_tags(s, &c, key, &tags);
	buf_done(&tags);
	if (rc == STORE_OK || rc == STORE_CANCELLED || rc == STORE_ABSENT)
		return 0;
	if (rc == STORE_UNSUPPORTED)
		return why_set(why, -EOPNOTSUPP, "%s: objects there have no"
		    " tags that could be imported (gnsfs(5) says which stores"
		    " have); it can be imported and refreshed without --tags",
		    s->url);
	return why_set(why, store_rc_errno(rc), "%s", said.text[0] != '\0' ?
	    said.text : store_rc_name(rc));
}

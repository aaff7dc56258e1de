/*
 * pins: what is promised to be on this host, and keeping the promise.
 *
 * The row (OP_PIN) says what is wanted; which inodes that is, and the room
 * reserved for them, is the cache's (cache_pin).  One thread brings the two
 * together: it looks at membership again when the tree has changed, drops
 * pins that have expired, and fills what is missing, a pin after the other.
 * Who asked with --wait fills and verifies for himself meanwhile.
 *
 * The row is written first, then room is reserved; where there is none the
 * row is put back as it was.  What is dropped goes the other way: the row last.
 * So a crash between leaves a pin that waits for room, never room that nobody
 * gives back; where it is left all the same, as after another host dropped a
 * pin --everywhere, the thread gives it back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/pins_impl.h"

/* --- pin --- */

/* Host "" holds on every host. */
bool
pins_is_mine(const struct pins *p, const struct pin_copy *r)
{
	return r->host[0] == '\0' || strcmp(r->host, p->host) == 0;
}

static struct pin_copy *
find_name(const struct pins *p, struct pin_rows *rows, const char *name)
{
	unsigned i;

	for (i = 0; i < rows->n; i++)
		if (pins_is_mine(p, &rows->v[i]) &&
		    strcmp(rows->v[i].name, name) == 0)
			return &rows->v[i];
	return NULL;
}

/* The row that a request makes of what there is; *old the one before. */
static int
row_of_request(struct pins *p, const struct pin_request *r,
    const struct pin_copy *old, struct pin_copy *ret, struct why *why)
{
	struct buf text = BUF_INIT, all = BUF_INIT;
	const char *name = r->name != NULL ? r->name : r->nselectors > 0 ?
	    r->selectors[0] : "";
	int rc;

	if (strchr(name, '\n') != NULL || strlen(name) > 1024)
		return why_set(why, -EINVAL, "a pin's name is one line of at "
		    "most 1024 bytes");
	rc = pin_text_write(r, &text, why);
	if (rc == 0)
		rc = pin_text_merge(old != NULL ? old->selectors : "",
		    buf_cstr(&text), &all);
	if (rc == -EEXIST)
		why_set(why, rc, "there is a pin '%s' already, whose --in or "
		    "--and is another; give this one a --name of its own, or "
		    "`gnsfs unpin --name` that one first", name);
	if (rc == 0)
		rc = pin_copy_set(ret, old != NULL ? old->id :
		    meta_new_id(p->f->meta), name, r->everywhere ? "" :
		    p->host, buf_cstr(&all));
	if (rc == 0) {
		ret->created = clock_real();
		ret->expires = r->ttl <= 0 ? 0 : r->ttl > INT64_MAX -
		    ret->created ? INT64_MAX : ret->created + r->ttl;
		if (ret->id == 0) {
			pin_copy_done(ret);
			rc = why_set(why, -EROFS, "this mount has no session "
			    "yet, so it can record no pin; status says why");
		}
	}
	buf_done(&text);
	buf_done(&all);
	return rc;
}

/* Row and reservation, or neither. */
static int
make_pin(struct pins *p, const struct pin_request *r, struct pin_copy *ret,
    struct pin_list *list, struct why *why)
{
	struct pin_rows rows = { NULL, 0 };
	struct pin_copy row = { 0 }, *old = NULL;
	struct pin_text t;
	int rc;

	rc = pin_rows_read(p->f, &rows);
	if (rc == 0 && r->nselectors > 0)
		old = find_name(p, &rows, r->name != NULL ? r->name :
		    r->selectors[0]);
	if (rc == 0)
		rc = row_of_request(p, r, old, &row, why);
	/* before there is a record of it */
	if (rc == 0)
		rc = pin_text_parse(row.selectors, &t, why);
	if (rc == 0) {
		rc = pin_text_check(&t, p->f, why);
		pin_text_done(&t);
	}
	if (rc == 0)
		rc = pin_row_put(p->f, &row, why);
	if (rc == 0) {
		rc = pins_renew(p, &row, true, list, why);
		if (rc != 0 && old != NULL)
			(void)pin_row_put(p->f, old, NULL);
		else if (rc != 0)
			(void)pin_row_del(p->f, &row);
	}
	if (rc == 0) {
		*ret = row;
		row = (struct pin_copy){ 0 };
	}
	pin_copy_done(&row);
	pin_rows_done(&rows);
	return rc;
}

/* What --wait waits for: all here, each checksum read back.  The pin n (NULL:
 * there was no memory for it) has a waiter already, so that the thread leaves
 * it alone; it has not after. */
static int
fill_for(struct pins *p, struct pin *n, uint64_t id,
    const struct pin_list *list, pins_progress *progress, void *arg,
    struct why *why)
{
	struct fill_many m = { .f = p->f, .pool = p->pool,
	    .prio = WORK_NORMAL, .verify = true, .list = list,
	    .stop = &p->stopping, .progress = progress, .arg = arg };
	int rc;

	m.want = list->bytes;
	lock_take(&p->lock);
	if (n != NULL) {
		n->began = clock_mono();
		atomic_store(&n->arrived, 0);
		m.arrived = &n->arrived;
	}
	lock_drop(&p->lock);
	do {
		rc = fill_many(&m, why);
		/* offline=wait: as long as it takes. */
		if (rc == -EHOSTUNREACH && p->f->opt.offline_wait) {
			why->text[0] = '\0';
			pins_note_why(p, id, rc, why);
			(void)clock_sleep(NSEC_PER_SEC);
			if (progress != NULL && progress(arg, 0, m.want, 0))
				rc = -ECANCELED;
		}
	} while (rc == -EHOSTUNREACH && p->f->opt.offline_wait &&
	    !atomic_load(&p->stopping));
	lock_take(&p->lock);
	if (n != NULL) {
		n->waiters--;
		n->began = 0;
	}
	cond_broadcast(&p->cond);
	lock_drop(&p->lock);
	pins_note_why(p, id, rc == -ECANCELED ? 0 : rc, why);
	return rc;
}

int
pins_pin(struct fs *f, const struct pin_request *r, pins_progress *progress,
    void *arg, uint64_t *retfiles, uint64_t *retbytes, struct why *why)
{
	struct pin_list list = { NULL };
	struct pins *p = f->pins;
	struct pin_copy row = { 0 };
	struct pin *n = NULL;
	int rc;

	rc = fs_may_add(f);
	if (rc == -ENOSPC)
		return why_set(why, rc, "the disk of %s is full",
		    f->state_dir);
	if (rc != 0)
		return why_set(why, rc, "a pin is a record of the namespace, "
		    "and this mount is read-only; `gnsfs warm` fills without "
		    "one");
	pins_edit_begin(p);
	rc = make_pin(p, r, &row, &list, why);
	if (rc == 0) {
		lock_take(&p->lock);
		n = pins_of(p, row.id);
		if (n != NULL && r->wait)
			n->waiters++;
		lock_drop(&p->lock);
	}
	pins_edit_end(p);
	if (rc != 0)
		return rc;
	*retfiles = list.n;
	*retbytes = list.bytes;
	if (r->wait)
		rc = fill_for(p, n, row.id, &list, progress, arg, why);
	pin_copy_done(&row);
	pin_list_done(&list);
	return rc;
}

/* --- unpin --- */

int
pins_drop(struct pins *p, const struct pin_copy *row)
{
	struct pin *n;
	int rc;

	lock_take(&p->lock);
	n = pins_find(p, row->id);
	if (n != NULL) {
		n->edited = true;
		atomic_store(&n->stop, true);
	}
	lock_drop(&p->lock);
	rc = cache_unpin(p->f->cache, row->id, NULL, 0);
	if (rc == 0)
		rc = pin_row_del(p->f, row);
	return rc;
}

/* Both sorted. */
static uint64_t
common(const struct pin_list *a, const struct pin_list *b)
{
	uint64_t i = 0, j = 0, n = 0;

	while (i < a->n && j < b->n) {
		if (a->v[i].ino == b->v[j].ino) {
			n++;
			i++;
			j++;
		} else if (a->v[i].ino < b->v[j].ino) {
			i++;
		} else {
			j++;
		}
	}
	return n;
}

/* What is left of one pin's text, appended, and 1; 0: it has none of that, 2:
 * nothing is left. */
static int
text_left(struct pins *p, const struct pin_copy *row,
    const struct pin_request *r, const struct pin_list *what, bool *own,
    struct buf *out)
{
	struct pin_list is = { NULL };
	struct buf text = BUF_INIT;
	uint64_t n = 0;
	unsigned i;
	int some, rc;

	/* A selector of its own leaves as it came. */
	rc = some = pin_text_without(row->selectors, r, &text, own);
	for (i = 0; rc == 1 && i < r->nselectors; i++)
		rc = own[i] ? rc : 0;
	if (rc == 0) {
		rc = cache_pin_each(p->f->cache, row->id, pins_collect, &is);
		pin_list_sort(&is);
		n = common(&is, what);
		if (n > 0)
			some = n == is.n ? 2 : 1;
	}
	if (rc >= 0 && some == 1 && n > 0)
		rc = pin_text_except(buf_cstr(&text), r, own, out);
	else if (rc >= 0)
		buf_puts(out, buf_cstr(&text));
	if (rc >= 0)
		rc = buf_err(out);
	pin_list_done(&is);
	buf_done(&text);
	return rc < 0 ? rc : some;
}

/* Takes what the request names out of one pin.  1: it had some of it. */
static int
unpin_from(struct pins *p, struct pin_copy *row, const struct pin_request *r,
    const struct pin_list *what)
{
	struct buf text = BUF_INIT;
	int rc, some = -ENOMEM;
	bool *own;

	own = calloc(r->nselectors, sizeof *own);
	if (own != NULL)
		some = text_left(p, row, r, what, own, &text);
	free(own);
	rc = some < 0 ? some : 0;
	if (some == 2)
		rc = pins_drop(p, row);
	if (some == 1) {
		rc = pin_copy_text(row, buf_cstr(&text));
		if (rc == 0)
			rc = pin_row_put(p->f, row, NULL);
		if (rc == 0)
			rc = pins_renew(p, row, false, NULL, NULL);
	}
	buf_done(&text);
	return rc < 0 ? rc : some > 0;
}

static int
unpin_selectors(struct pins *p, struct pin_rows *rows,
    const struct pin_request *r, struct why *why)
{
	struct pin_list what = { NULL };
	struct buf text = BUF_INIT;
	struct pin_text t;
	bool any = false;
	unsigned i;
	int rc;

	rc = pin_text_write(r, &text, why);
	if (rc == 0)
		rc = pin_text_parse(buf_cstr(&text), &t, why);
	if (rc == 0) {
		rc = pin_text_run(&t, p->f, false, &what, why);
		pin_text_done(&t);
	}
	for (i = 0; rc >= 0 && i < rows->n; i++) {
		if (!pins_is_mine(p, &rows->v[i]))
			continue;
		rc = unpin_from(p, &rows->v[i], r, &what);
		any = any || rc == 1;
	}
	if (rc >= 0)
		rc = any ? 0 : why_set(why, -ENOENT, "nothing of that is "
		    "pinned here; `gnsfs pins` lists what is");
	buf_done(&text);
	pin_list_done(&what);
	return rc;
}

int
pins_unpin(struct fs *f, const struct pin_request *r, struct why *why)
{
	struct pin_rows rows = { NULL, 0 };
	struct pins *p = f->pins;
	struct pin_copy *row;
	int rc;

	rc = fs_may_write(f);
	if (rc != 0)
		return why_set(why, rc, "a pin is a record of the namespace, "
		    "and this mount is read-only");
	pins_edit_begin(p);
	rc = pin_rows_read(f, &rows);
	if (rc == 0 && r->name != NULL) {
		row = find_name(p, &rows, r->name);
		rc = row != NULL ? pins_drop(p, row) : why_set(why, -ENOENT,
		    "no pin of this host is named '%s'; `gnsfs pins` lists "
		    "them", r->name);
	} else if (rc == 0) {
		rc = unpin_selectors(p, &rows, r, why);
	}
	pin_rows_done(&rows);
	pins_edit_end(p);
	return rc;
}

/* --- warm and evict --- */

static int
select_files(struct fs *f, const struct pin_request *r, struct pin_list *ret,
    struct why *why)
{
	struct buf text = BUF_INIT;
	struct pin_text t;
	int rc;

	rc = pin_text_write(r, &text, why);
	if (rc == 0)
		rc = pin_text_parse(buf_cstr(&text), &t, why);
	if (rc == 0) {
		rc = pin_text_run(&t, f, true, ret, why);
		pin_text_done(&t);
	}
	buf_done(&text);
	return rc;
}

int
pins_warm(struct fs *f, const struct pin_request *r, pins_progress *progress,
    void *arg, struct why *why)
{
	struct pin_list list = { NULL };
	struct pins *p = f->pins;
	struct fill_many m = { .f = f, .pool = p->pool, .prio = WORK_NORMAL,
	    .list = &list, .stop = &p->stopping, .progress = progress,
	    .arg = arg };
	int rc;

	rc = select_files(f, r, &list, why);
	if (rc != 0)
		return rc;
	m.want = list.bytes;
	rc = fill_many(&m, why);
	pin_list_done(&list);
	return rc;
}

int
pins_evict(struct fs *f, const struct pin_request *r, uint64_t *retbytes,
    struct why *why)
{
	struct pin_list list = { NULL };
	uint64_t i, bytes = 0, busy = 0, pinned = 0;
	int64_t n;
	int rc;

	rc = select_files(f, r, &list, why);
	for (i = 0; rc == 0 && i < list.n; i++) {
		n = cache_evict(f->cache, list.v[i].ino);
		if (n >= 0) {
			bytes += (uint64_t)n;
			/* and from the kernel's memory: gone is gone */
			fs_inval_inode(f, list.v[i].ino);
		} else if (n == -EBUSY)
			busy++;
		else if (n == -EPERM)
			pinned++;
		else if (n != -ENOENT)
			rc = why_set(why, (int)n, "%s", strerror((int)-n));
	}
	pin_list_done(&list);
	if (rc != 0)
		return rc;
	if (busy + pinned > 0)
		why_set(why, 0, "kept: %llu files that are pinned, %llu that "
		    "are in use or not stored yet", (unsigned long long)pinned,
		    (unsigned long long)busy);
	*retbytes = bytes;
	return 0;
}

/* --- status --- */

static void
status_of(struct pins *p, const struct pin_copy *r, struct pin_status *s,
    struct why *why)
{
	struct cache_pin_stat st = { 0 };
	struct pin *n;
	double rate = 0;
	int64_t began = 0;

	*s = (struct pin_status){ .id = r->id, .name = r->name,
	    .selectors = r->selectors, .host = r->host,
	    .expires = r->expires, .why = why->text, .eta = -1,
	    .state = "waiting" };
	if (!pins_is_mine(p, r)) {
		why_set(why, 0, "it belongs to host %s", r->host);
		return;
	}
	if (cache_pin_stat(p->f->cache, r->id, &st) != 0)
		return;
	s->files = st.files;
	s->want = st.want_bytes;
	s->have = st.have_bytes;
	lock_take(&p->lock);
	n = pins_find(p, r->id);
	if (n != NULL) {
		*why = n->why;
		began = n->began;
		if (began != 0)
			rate = (double)atomic_load(&n->arrived) /
			    ((double)(clock_mono() - began + 1) / 1e9);
	}
	lock_drop(&p->lock);
	if (st.have_files >= st.files && st.have_bytes >= st.want_bytes) {
		s->state = "complete";
		s->eta = 0;
		why->text[0] = '\0';
	} else if (why->text[0] == '\0') {
		s->state = "filling";
		if (rate > 0)
			s->eta = (int64_t)((double)(s->want - s->have) /
			    rate * 1e9);
	}
}

int
pins_each(struct fs *f, int (*each)(void *arg, const struct pin_status *p),
    void *arg)
{
	struct pin_rows rows = { NULL, 0 };
	struct pin_status s;
	struct why why;
	unsigned i;
	int rc;

	if (f->pins == NULL)
		return 0;
	rc = pin_rows_read(f, &rows);
	for (i = 0; rc == 0 && i < rows.n; i++) {
		why.text[0] = '\0';
		status_of(f->pins, &rows.v[i], &s, &why);
		rc = each(arg, &s);
	}
	pin_rows_done(&rows);
	return rc < 0 ? rc : 0;
}

/* --- start and stop --- */

int
pins_start(struct fs *f)
{
	struct meta_session session;
	struct pins *p;
	int rc;

	p = calloc(1, sizeof *p);
	if (p == NULL)
		return -ENOMEM;
	p->f = f;
	p->stale = true;
	atomic_init(&p->batch, PIN_BATCH);
	meta_session_get(f->meta, &session);
	memcpy(p->host, session.host, sizeof p->host);
	if (p->host[0] == '\0')
		(void)gethostname(p->host, sizeof p->host - 1);
	lock_init(&p->lock, RANK_PINS, "pins");
	cond_init(&p->cond);
	rc = workers_new("gnsfs-pin", PIN_THREADS, &p->pool);
	if (rc == 0) {
		f->pins = p;
		rc = -pthread_create(&p->thread, NULL, pins_main, p);
	}
	if (rc != 0) {
		f->pins = NULL;
		workers_free(p->pool);
		cond_done(&p->cond);
		lock_done(&p->lock);
		free(p);
	}
	return rc;
}

void
pins_stop_fills(struct fs *f)
{
	struct pins *p = f->pins;
	struct pin *n;

	if (p == NULL)
		return;
	atomic_store(&p->stopping, true);
	lock_take(&p->lock);
	for (n = p->list; n != NULL; n = n->next)
		atomic_store(&n->stop, true);
	cond_broadcast(&p->cond);
	lock_drop(&p->lock);
}

void
pins_stop(struct fs *f)
{
	struct pins *p = f->pins;

	if (p == NULL)
		return;
	pins_stop_fills(f);
	pthread_join(p->thread, NULL);
	workers_free(p->pool);
}

void
pins_free(struct fs *f)
{
	struct pins *p = f->pins;
	struct pin *n;

	if (p == NULL)
		return;
	f->pins = NULL;
	while ((n = p->list) != NULL) {
		p->list = n->next;
		free(n);
	}
	cond_done(&p->cond);
	lock_done(&p->lock);
	free(p);
}

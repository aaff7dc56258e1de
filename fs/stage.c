/*
 * stage: which objects, how many at once, and their records.
 *
 * Files are looked at a batch at a time, so that memory does not grow with
 * their number; of the packs, which many files share, those done are
 * remembered.  Who asked feeds a pool of threads; the objects in flight are
 * bounded by number and by the memory that relays take.
 */
#include "fs/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/relay.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/url.h"
#include "fs/pin_text.h"
#include "fs/ship.h"
#include "fs/stage_impl.h"
#include "fs/stores.h"
#include "meta/journal.h"
#include "meta/query.h"

#define BATCH		4096			/* files looked at together */
#define RECORD		256			/* objects of one op */
#define RECORD_EVERY	(2 * NSEC_PER_SEC)
#define TICK		(NSEC_PER_SEC / 5)
#define WRONG_MOST	100u	/* of a store that moved: that will do */

#define LATE		(15 * 60 * NSEC_PER_SEC) /* 5 GB within a store */

struct late { uint32_t store; uint64_t object; int64_t until; };

struct stages {
	struct lock	 lock;
	struct stage	*list;
	uint64_t	 last_id;
	struct buf	 late;		/* struct late */
};

struct run {
	struct stage	*s;
	struct workers	*pool;
	stage_progress	*progress;
	void		*arg;
	struct lock	 lock;		/* what follows */
	struct cond	 cond;
	unsigned	 active;
	uint32_t	 slots;		/* bits: those that are taken */
	uint64_t	 memory;	/* of those active */
	struct buf	 done;		/* struct op_object, not recorded */
	unsigned	 failed;
	int		 err;		/* the first */
	struct why	 why;
	/* of who asked, alone */
	struct buf	 packs;		/* ids done, ascending */
	int64_t		 recorded;	/* clock_mono */
	uint64_t	 seq;
	int		 kept;		/* of a store that moved: the records,
					   until all are known; -1 */
	uint64_t	 nkept;		/* bytes in it */
};

/* --- those under way --- */

int
stages_new(struct fs *f)
{
	struct stages *s = calloc(1, sizeof *s);

	if (s == NULL)
		return -ENOMEM;
	lock_init(&s->lock, RANK_PINS, "stages");
	f->stages = s;
	return 0;
}

void
stages_free(struct fs *f)
{
	if (f->stages == NULL)
		return;
	lock_done(&f->stages->lock);
	buf_done(&f->stages->late);
	free(f->stages);
	f->stages = NULL;
}

/* --- copies that may end late --- */

void
stage_note_late(struct fs *f, uint32_t store, uint64_t object)
{
	struct stages *all = f->stages;
	struct late l = { store, object, clock_mono() + LATE };

	lock_take(&all->lock);
	buf_put(&all->late, &l, sizeof l);
	lock_drop(&all->lock);
}

bool
stage_is_late(struct fs *f, uint32_t store, uint64_t object)
{
	struct stages *all = f->stages;
	int64_t now = clock_mono();
	struct late *l;
	size_t i, n = 0;
	bool is = false;

	lock_take(&all->lock);
	l = (void *)all->late.p;
	for (i = 0; i < all->late.len / sizeof *l; i++) {
		if (l[i].until <= now)
			continue;
		is = is || (l[i].store == store && l[i].object == object);
		l[n++] = l[i];
	}
	all->late.len = n * sizeof *l;
	lock_drop(&all->lock);
	return is;
}

static void
status_of(struct stage *s, struct stage_status *ret)
{
	uint64_t size, came, relayed = 0;

	*ret = s->fixed;
	for (unsigned i = 0; i < STAGE_THREADS; i++) {
		came = atomic_load(&s->slots[i].came);
		size = atomic_load(&s->slots[i].size);
		relayed += came;
		ret->moving += came < size ? came : size;
	}
	ret->seen = atomic_load(&s->seen);
	ret->objects = atomic_load(&s->objects);
	ret->bytes = atomic_load(&s->bytes);
	ret->relayed = atomic_load(&s->relayed) + (s->moved == NULL ?
	    relayed : 0);
	ret->copied = atomic_load(&s->copied);
	ret->found = atomic_load(&s->found);
	ret->read_back = atomic_load(&s->read_back);
}

static void
enlist(struct stage *s)
{
	struct stages *all = s->f->stages;

	lock_take(&all->lock);
	s->fixed.id = ++all->last_id;
	s->next = all->list;
	all->list = s;
	lock_drop(&all->lock);
}

static void
delist(struct stage *s)
{
	struct stages *all = s->f->stages;
	struct stage **at = &all->list;

	lock_take(&all->lock);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	lock_drop(&all->lock);
}

int
stage_each(struct fs *f, int (*each)(void *arg, const struct stage_status *s),
    void *arg)
{
	struct stages *all = f->stages;
	struct stage_status st;
	uint64_t after = 0;
	struct stage *s, *best;

	for (;;) {
		best = NULL;
		lock_take(&all->lock);
		for (s = all->list; s != NULL; s = s->next)
			if (s->fixed.id > after && (best == NULL ||
			    s->fixed.id < best->fixed.id))
				best = s;
		if (best != NULL)
			status_of(best, &st);
		lock_drop(&all->lock);
		if (best == NULL || each(arg, &st) != 0)
			return 0;
		after = st.id;
	}
}

/* --- records --- */

struct record { struct fs *f; struct op op; uint64_t seq; };

static int
record_tx(struct sqc *c, void *arg)
{
	struct record *r = arg;

	return journal(r->f->meta, c, &r->op, NEEDS_NOTHING, NULL, 0, &r->seq);
}

static int
record_these(struct run *r, const struct op_object *v, size_t n)
{
	struct record rec = { .f = r->s->f, .op = { .kind = OP_LOCATE } };
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i += rec.op.nobjects) {
		rec.op.objects = (struct op_object *)v + i;
		rec.op.nobjects = n - i < RECORD ? (unsigned)(n - i) : RECORD;
		rc = fs_may_write(r->s->f);
		if (rc == 0)
			rc = sq_write(meta_sq(r->s->f->meta), record_tx, &rec);
	}
	if (rc == 0 && n > 0) {
		r->seq = rec.seq;
		ship_kick(r->s->f);
	}
	return rc;
}

/* Kept for record_kept. */
static int
keep(struct run *r, const struct buf *done)
{
	int rc = sys_pwrite_all(r->kept, done->p, done->len,
	    (off_t)r->nkept);

	if (rc == 0)
		r->nkept += done->len;
	return rc;
}

/* In the order in which they were found: by file. */
static int
record_kept(struct run *r)
{
	size_t most = RECORD * sizeof(struct op_object), n;
	struct op_object *v = malloc(most);
	uint64_t at;
	int rc = v == NULL ? -ENOMEM : 0;

	for (at = 0; rc == 0 && at < r->nkept; at += n) {
		n = r->nkept - at < most ? r->nkept - at : most;
		rc = sys_pread_all(r->kept, v, n, (off_t)at);
		if (rc == 0)
			rc = record_these(r, v, n / sizeof *v);
	}
	free(v);
	return rc;
}

/* What is done is recorded; all: however little it is. */
static int
record(struct run *r, bool all)
{
	struct buf done = BUF_INIT;
	size_t n;
	int rc = 0;

	lock_take(&r->lock);
	n = r->done.len / sizeof(struct op_object);
	if (n > 0 && (all || n >= RECORD ||
	    clock_mono() - r->recorded >= RECORD_EVERY)) {
		done = r->done;
		r->done = (struct buf)BUF_INIT;
		r->recorded = clock_mono();
	}
	lock_drop(&r->lock);
	if (r->kept >= 0)
		rc = keep(r, &done);
	else
		rc = record_these(r, (const void *)done.p, done.len /
		    sizeof(struct op_object));
	buf_done(&done);
	return rc;
}

/* --- objects in flight --- */

struct task { struct run *r; struct stage_object o; unsigned slot; };

static void
task_free(struct task *t)
{
	if (t != NULL)
		free(t->o.pieces);
	free(t);
}

/* What t moves is counted there. */
static void
slot_take(struct run *r, struct task *t)
{
	lock_assert_held(&r->lock);
	for (t->slot = 0; (r->slots & 1u << t->slot) != 0; t->slot++)
		;
	r->slots |= 1u << t->slot;
	atomic_store(&r->s->slots[t->slot].size, t->o.size);
	t->o.came = &r->s->slots[t->slot].came;
}

static void
slot_drop(struct run *r, const struct task *t)
{
	uint64_t came = atomic_exchange(t->o.came, 0);

	lock_assert_held(&r->lock);
	r->slots &= ~(1u << t->slot);
	if (r->s->moved == NULL)
		atomic_fetch_add(&r->s->relayed, came);
}

static void
note_failure(struct run *r, int rc, const struct why *why)
{
	lock_assert_held(&r->lock);
	if (rc == -ECANCELED && r->failed > 0)
		return;
	r->failed++;
	if (r->kept >= 0 && (rc != -ESTALE || r->failed >= WRONG_MOST))
		atomic_store(&r->s->stop, true);
	if (r->err == 0 || (r->err == -ECANCELED && rc != -ECANCELED)) {
		r->err = rc;
		r->why = *why;
	}
}

static void
task_run(void *arg)
{
	struct task *t = arg;
	struct run *r = t->r;
	struct op_object at;
	struct why why = { "" };
	int rc = -ECANCELED;

	if (!atomic_load(&r->s->stop))
		rc = r->s->moved != NULL ?
		    stage_compare(r->s, &t->o, &at, &why) :
		    stage_copy(r->s, &t->o, &at, &why);
	lock_take(&r->lock);
	if (rc == 0 && at.store != 0) {
		buf_put(&r->done, &at, sizeof at);
		rc = buf_err(&r->done);
	}
	if (rc != 0)
		note_failure(r, rc, &why);
	slot_drop(r, t);
	r->active--;
	r->memory -= store_relay_memory(t->o.size);
	cond_signal(&r->cond);
	lock_drop(&r->lock);
	task_free(t);
}

/* What is to be done now and then, with no lock held.  0, -errno. */
static int
tick(struct run *r)
{
	struct stage_status st;

	status_of(r->s, &st);
	if (atomic_load(&r->s->f->stopping) || pins_are_stopping(r->s->f) ||
	    (r->progress != NULL && r->progress(r->arg, &st) != 0)) {
		atomic_store(&r->s->stop, true);
		return -ECANCELED;
	}
	return record(r, false);
}

/* Until there is room for an object of size (or none is active). */
static int
wait_for(struct run *r, uint64_t size, bool last)
{
	uint64_t need = store_relay_memory(size);
	int rc = 0;

	lock_take(&r->lock);
	while (rc == 0 && r->active > 0 && (last ||
	    r->active >= STAGE_THREADS ||
	    r->memory + need > r->s->f->opt.memory / 4)) {
		if (cond_wait_until(&r->cond, &r->lock, clock_mono() +
		    TICK) == 0)
			continue;
		lock_drop(&r->lock);
		rc = tick(r);
		lock_take(&r->lock);
	}
	lock_drop(&r->lock);
	return rc;
}

/* Takes t. */
static int
feed(struct run *r, struct task *t)
{
	uint64_t need = store_relay_memory(t->o.size);
	int rc;

	rc = wait_for(r, t->o.size, false);
	if (rc == 0) {
		lock_take(&r->lock);
		r->active++;
		r->memory += need;
		slot_take(r, t);
		lock_drop(&r->lock);
		rc = workers_submit(r->pool, WORK_NORMAL, task_run, t);
		if (rc == 0)
			return 0;
		lock_take(&r->lock);
		slot_drop(r, t);
		r->active--;
		r->memory -= need;
		lock_drop(&r->lock);
	}
	task_free(t);
	return rc;
}

/* --- which objects --- */

struct batch_of { struct buf rows; uint64_t bytes; };

static int
add_row(void *arg, const struct meta_unlocated *u)
{
	struct batch_of *b = arg;

	b->bytes += u->len;
	buf_put(&b->rows, u, sizeof *u);
	return buf_err(&b->rows);
}

static int
by_place(const void *a, const void *b)
{
	const struct meta_unlocated *x = a, *y = b;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return x->ooff < y->ooff ? -1 : x->ooff > y->ooff;
}

static int
by_id(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Was it done before, as one of a pack's other files came along?  Of a store
 * that moved each file's part is compared. */
static bool
was_done(const struct run *r, const struct meta_unlocated *u)
{
	return r->s->moved == NULL && u->kind == OBJ_PACK && r->packs.len > 0 &&
	    bsearch(&u->object, r->packs.p, r->packs.len / sizeof u->object,
	    sizeof u->object, by_id) != NULL;
}

struct known { struct buf pieces; uint64_t size, end; bool part; };

/* A piece that another covers proves nothing more; what no sum is of, or what
 * ends beyond one that it begins in, is not known. */
static int
add_piece(struct known *k, uint64_t off, uint64_t len, int64_t crc)
{
	struct stage_piece p = { off, len, (uint32_t)crc };

	if (len > k->size || off > k->size - len || off + len > k->end)
		k->part = k->part || crc < 0 || off < k->end ||
		    off + len > k->size;
	if (crc < 0 || off < k->end || off > k->size || len > k->size - off)
		return 0;
	buf_put(&k->pieces, &p, sizeof p);
	k->end = off + len;
	return buf_err(&k->pieces);
}

static int
add_sum(void *arg, const struct meta_sum *m)
{
	return add_piece(arg, m->ooff, m->len, m->crc);
}

/* What is known of the bytes of the object of rows v[0..n). */
static int
know_pieces(struct fs *f, const struct meta_unlocated *v, size_t n,
    struct known *k)
{
	struct sqc *q = NULL;
	size_t i;
	int rc = 0;

	if (v->kind == OBJ_WHOLE || v->kind == OBJ_PATCH) {
		rc = sq_read(meta_sq(f->meta), &q);
		if (rc == 0)
			rc = meta_sums(q, v->object, 0, v->size, add_sum, k);
		sq_read_end(q);
		return rc != 0 ? rc : buf_err(&k->pieces);
	}
	for (i = 0; rc == 0 && i < n; i++)
		rc = add_piece(k, v[i].ooff, v[i].len, v[i].crc);
	return rc;
}

/* The object of rows v[0..n), which all are of it.  NULL: no memory, or the
 * database does not say. */
static struct task *
task_new(struct run *r, const struct meta_unlocated *v, size_t n)
{
	struct task *t = calloc(1, sizeof *t);
	struct known k = { .size = v->size };

	if (t == NULL)
		return NULL;
	t->r = r;
	t->o = (struct stage_object){ .id = v->object, .size = v->size,
	    .kind = v->kind };
	if (know_pieces(r->s->f, v, n, &k) != 0) {
		buf_done(&k.pieces);
		free(t);
		return NULL;
	}
	t->o.known = !k.part && v->kind == OBJ_PACK;
	t->o.npieces = (unsigned)(k.pieces.len / sizeof *t->o.pieces);
	t->o.pieces = buf_take(&k.pieces, NULL);
	return t;
}

static int
feed_rows(struct run *r, struct buf *rows)
{
	struct meta_unlocated *v = (void *)rows->p;
	size_t n = rows->len / sizeof *v, i, k;
	struct buf packs = BUF_INIT;
	struct task *t;
	int rc = 0;

	if (n > 0)
		qsort(v, n, sizeof *v, by_place);
	for (i = 0; rc == 0 && i < n; i = k) {
		for (k = i + 1; k < n && v[k].object == v[i].object; k++)
			;
		if (was_done(r, &v[i]))
			continue;
		t = task_new(r, v + i, k - i);
		rc = t != NULL ? feed(r, t) : -ENOMEM;
		if (v[i].kind == OBJ_PACK)
			buf_put(&packs, &v[i].object, sizeof v[i].object);
	}
	buf_put(&r->packs, packs.p, packs.len);
	if (rc == 0)
		rc = buf_err(&packs) != 0 ? buf_err(&packs) :
		    buf_err(&r->packs);
	if (rc == 0 && r->packs.len > 0)
		qsort(r->packs.p, r->packs.len / sizeof(uint64_t),
		    sizeof(uint64_t), by_id);
	buf_done(&packs);
	return rc;
}

static int
one_batch(struct run *r, const struct pin_list *list, uint64_t from,
    uint64_t to)
{
	struct batch_of b = { BUF_INIT };
	struct sqc *q = NULL;
	uint64_t i, bytes = 0;
	int rc;

	rc = sq_read(meta_sq(r->s->f->meta), &q);
	for (i = from; rc == 0 && i < to; i++) {
		rc = (r->s->moved != NULL ? meta_located : meta_unlocated)(q,
		    list->v[i].ino, r->s->to, add_row, &b);
		bytes += list->v[i].size;
	}
	sq_read_end(q);
	if (rc == 0)
		rc = buf_err(&b.rows);
	atomic_fetch_add(&r->s->seen, bytes > b.bytes ? bytes - b.bytes : 0);
	if (rc == 0)
		rc = feed_rows(r, &b.rows);
	buf_done(&b.rows);
	return rc != 0 ? rc : tick(r);
}

/* --- the whole --- */

static int
select_files(struct fs *f, const struct pin_request *req,
    struct pin_list *ret, struct why *why)
{
	struct buf text = BUF_INIT;
	struct pin_text t;
	int rc;

	rc = pin_text_write(req, &text, why);
	if (rc == 0)
		rc = pin_text_parse(buf_cstr(&text), &t, why);
	if (rc == 0) {
		rc = pin_text_run(&t, f, true, ret, why);
		pin_text_done(&t);
	}
	buf_done(&text);
	return rc;
}

/* The store is known, and ours to write to (B2). */
static int
find_store(struct stage *s, const char *name, struct why *why)
{
	struct sqc *q = NULL;
	int rc;

	rc = fs_may_write(s->f);
	if (rc != 0)
		return why_set(why, rc, "where a copy is, is a record of the "
		    "namespace, and this mount is read-only");
	rc = stores_by_name(s->f, name, &s->to);
	if (rc == -ENOENT)
		return why_set(why, rc, "the namespace has no store '%s'; "
		    "`gnsfs store ls` lists them", name);
	if (rc == 0)
		rc = sq_read(meta_sq(s->f->meta), &q);
	if (rc == 0)
		rc = meta_store_is_imported(q, s->to);
	sq_read_end(q);
	if (rc > 0)
		rc = why_set(why, -EROFS, "store '%s' is an import's, where "
		    "only others write; `gnsfs store add` makes one of a "
		    "prefix beside it", name);
	snprintf(s->fixed.store, sizeof s->fixed.store, "%s", name);
	return rc;
}

static int
run_all(struct run *r, const struct pin_list *list, struct why *why)
{
	uint64_t i, to;
	int rc = 0, err;

	for (i = 0; rc == 0 && i < list->n && !atomic_load(&r->s->stop);
	    i = to) {
		to = i + BATCH < list->n ? i + BATCH : list->n;
		rc = one_batch(r, list, i, to);
	}
	if (rc == 0)
		rc = wait_for(r, 0, true);
	/* What runs borrows r, and is not waited for where nothing comes of
	 * it. */
	if (rc != 0)
		atomic_store(&r->s->stop, true);
	lock_take(&r->lock);
	while (r->active > 0)
		cond_wait(&r->cond, &r->lock);
	lock_drop(&r->lock);
	err = record(r, true);
	rc = rc != 0 ? rc : err;
	if (rc == 0 && r->err == 0 && r->kept >= 0)
		rc = record_kept(r);
	if (rc == 0 && r->err != 0) {
		rc = r->err;
		if (r->failed > 1)
			why_set(why, rc, "%s (and %u more objects)",
			    why_text(&r->why, rc), r->failed - 1);
		else
			why_set(why, rc, "%s", why_text(&r->why, rc));
	}
	return rc;
}

/* s of the files that req selects; why is set. */
static int
run_selected(struct stage *s, const struct pin_request *req,
    stage_progress *progress, void *arg, struct stage_status *ret,
    uint64_t *retseq, struct why *why)
{
	struct run r = { .s = s, .progress = progress, .arg = arg,
	    .recorded = clock_mono(), .kept = -1 };
	struct pin_list list = { NULL };
	int rc;

	s->fixed.began = clock_real();
	rc = select_files(s->f, req, &list, why);
	if (rc == 0 && s->moved != NULL && (r.kept = open(s->f->state_dir,
	    O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) < 0)
		rc = why_set(why, -errno, "%s: %s", s->f->state_dir,
		    strerror(errno));
	if (rc == 0)
		rc = workers_new("gnsfs-stage", STAGE_THREADS, &r.pool);
	if (rc == 0) {
		s->fixed.files = list.n;
		s->fixed.want = list.bytes;
		lock_init(&r.lock, RANK_PINS + 1, "stage");
		cond_init(&r.cond);
		enlist(s);
		rc = run_all(&r, &list, why);
		delist(s);
		workers_free(r.pool);
		status_of(s, ret);
		*retseq = r.seq;
		cond_done(&r.cond);
		lock_done(&r.lock);
		buf_done(&r.done);
		buf_done(&r.packs);
	}
	if (r.kept >= 0)
		close(r.kept);
	pin_list_done(&list);
	return rc;
}

int
stage_run(struct fs *f, const struct pin_request *req, const char *store,
    stage_progress *progress, void *arg, struct stage_status *ret,
    uint64_t *retseq, struct why *why)
{
	struct stage *s = calloc(1, sizeof *s);
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->f = f;
	rc = find_store(s, store, why);
	if (rc == 0)
		rc = stores_use_begin(f, s->to, false, why);
	if (rc == 0) {
		/* all at one address, which its records are of */
		rc = run_selected(s, req, progress, arg, ret, retseq, why);
		stores_use_end(f, s->to);
	}
	free(s);
	return rc;
}

static bool
is_dir(const char *text)
{
	struct url u;
	bool is;

	if (url_parse(text, &u, NULL) != 0)
		return false;
	is = u.scheme == URL_FILE;
	url_done(&u);
	return is;
}

int
stage_moved(struct fs *f, uint32_t id, const char *name, const char *from,
    struct store *to, stage_progress *progress, void *arg,
    struct stage_status *ret, struct why *why)
{
	struct stage *s = calloc(1, sizeof *s);
	uint64_t seq = 0;
	char text[80];
	const char *const texts[] = { text };
	const struct pin_request req = { .selectors = texts,
	    .nselectors = 1 };
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->f = f;
	s->to = id;
	s->moved = to;
	s->dirs = is_dir(from) && is_dir(to->url);
	snprintf(s->fixed.store, sizeof s->fixed.store, "%s", name);
	snprintf(text, sizeof text, "store:%s", name);
	rc = run_selected(s, &req, progress, arg, ret, &seq, why);
	free(s);
	return rc;
}

/*
 * upload_file: a large file's upload, and what it shares with packs: putting
 * an object, and removing one.
 *
 * The bytes are put first, then upload_end freezes the intervals (B8), then
 * the op is noted as uploaded with its extents (B6).  What cannot be noted is
 * thawed, so that the newest op of the file has all its bytes again.  Those of
 * a live view are frozen from its begin (K6), and thawed when it fails.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "cache/backing.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "fs/upload_impl.h"
#include "meta/batch.h"
#include "meta/segment.h"

#define PATIENCE	(3600 * NSEC_PER_SEC)	/* for tries that fail */
#define EXTENT_ROOM	48	/* bytes of an extent in an op, at most */
#define OP_ROOM		4096	/* of all but extents and sums */
_Static_assert(META_SUM == CACHE_CHUNK, "sums are of chunks");

/* The view's intervals, one after the other. */
static int
view_read(void *arg, void *buf, size_t n, uint64_t off)
{
	struct upload_view *v = arg;
	char *to = buf;
	size_t done = 0;
	unsigned i;
	int err;

	for (i = 0; i < v->n && done < n; i++) {
		uint64_t len = v->v[i].end - v->v[i].off;
		size_t take;

		if (off >= len) {
			off -= len;
			continue;
		}
		take = n - done < len - off ? n - done : (size_t)(len - off);
		err = upload_read(v, to + done, take, v->v[i].off + off);
		if (err < 0)
			return err;
		done += take;
		off = 0;
	}
	return (int)done;
}

static uint64_t
view_bytes(const struct upload_view *v)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < v->n; i++)
		n += v->v[i].end - v->v[i].off;
	return n;
}

struct done {
	struct job		*j;
	struct upload_view	*v;
	struct op_object	 object;
	struct op_extent	*extents;
	unsigned		 n; /* the view ends before they are noted */
	bool			 whole;
	struct buf		 sums;
	bool			 doubt; /* noted, after a crash? */
};

static int
done_tx(struct sqc *c, void *arg)
{
	struct done *d = arg;
	bool some = d->object.size > 0;
	int rc = some ? place_has_store(c, d->object.store) : 1;

	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	return journal_uploaded(c, d->j->seq, d->whole ? EXT_WHOLE : 0,
	    d->extents, some ? d->n : 0, &d->object, some ? 1 : 0);
}

/* A full disk is waited out; only our own end ends that.  So is what may fail
 * for ever (a damaged row, an op that is too long): given back, its bytes would
 * be sent again, and fail again. */
static int
must_write(struct job *j, sq_fn *fn, void *arg, bool *retfailed)
{
	struct upload *u = j->f->upload;
	bool stop;
	int err;

	for (;;) {
		err = sq_write(meta_sq(j->f->meta), fn, arg);
		if (err == 0 || err == -ENOENT)
			return err;
		*retfailed = true;
		lock_take(&u->lock);
		stop = u->stop;
		lock_drop(&u->lock);
		if (stop)
			return err;
		log_error("a finished upload could not be noted; tried again",
		    "ino=%llu err=%d", (unsigned long long)j->ino, err);
		(void)clock_sleep(UPLOAD_PAUSE);
	}
}

struct thaw { struct job *j; struct sqc *c; uint64_t newest; int err; };

static int
thaw_later(void *arg, uint64_t seq, uint64_t ino, int64_t time)
{
	struct thaw *t = arg;

	if (ino != t->j->ino)
		return 0;
	t->newest = seq;
	t->err = bfile_unfreeze(t->c, ino, seq);
	return t->err != 0;
}

/* The newest op of the file has all its bytes (journal_to_upload), as if the
 * upload had never been. */
static int
thaw_tx(struct sqc *c, void *arg)
{
	struct thaw *t = arg;
	int err;

	t->c = c;
	t->newest = t->j->seq;
	t->err = bfile_unfreeze(c, t->j->ino, t->j->seq);
	if (t->err != 0)
		return t->err;
	err = journal_waiting(c, t->j->seq, thaw_later, t);
	return err != 0 ? err : t->err;
}

/* Where it cannot be written before our end, the next start does it
 * (io_recover). */
static void
give_back(struct job *j, struct bfile *b)
{
	struct thaw t = { .j = j };
	bool failed = false;

	bfile_thaw(b, j->seq, j->seq);
	if (must_write(j, thaw_tx, &t, &failed) == 0)
		bfile_thaw(b, j->seq, t.newest);
}

/* After upload_end the intervals are this op's alone, whatever is closed
 * later: so it must become known, or they are given back. */
static int
note_done(struct job *j, struct bfile *b, struct done *d)
{
	int err = must_write(j, done_tx, d, &d->doubt);

	if (err == -ENOENT)
		give_back(j, b);
	return err;
}

static int
make_extents(struct done *d)
{
	uint64_t at = 0;
	unsigned i;

	d->n = d->v->n;
	d->whole = d->v->whole;
	d->extents = calloc(d->n + 1, sizeof *d->extents);
	if (d->extents == NULL)
		return -ENOMEM;
	for (i = 0; i < d->v->n; i++) {
		d->extents[i] = (struct op_extent){ .off = d->v->v[i].off,
		    .len = d->v->v[i].end - d->v->v[i].off,
		    .object = d->object.id, .ooff = at, .crc = -1 };
		at += d->extents[i].len;
	}
	d->n = d->v->n;
	d->whole = d->v->whole;
	return 0;
}

/* Of what was sent; without them where the op would be too long. */
static int
make_sums(struct done *d)
{
	uint32_t *sums = NULL;
	uint64_t most = 0;
	unsigned i, n = 0;
	int err;

	for (i = 0; i < d->n; i++)
		most += op_sums(d->extents[i].off, d->extents[i].len);
	if (most > META_SUMS_MAX ||
	    most * 4 + (uint64_t)d->n * EXTENT_ROOM > BATCH_MAX_BYTES -
	    OP_ROOM)
		return 0;
	err = upload_sums(d->v, &sums, &n);
	for (i = 0; i < n; i++)
		buf_put_u32(&d->sums, sums[i]);
	free(sums);
	if (err != 0)
		return err;
	d->object.sums = d->sums.p;
	d->object.nsums = n;
	return buf_err(&d->sums);
}

/* The bytes into the store; no record yet (DESIGN section 5: data first). */
int
upload_put(struct job *j, const struct store_src *from, struct op_object *o)
{
	struct why why = { "" };
	struct store_call call = { .why = &why, .tag = "upload",
	    .cancel = &j->cancel, .sole = true,	/* L1: it is ours alone */
	    /* a next try begins at the first byte again */
	    .deadline = stores_deadline(PATIENCE, from->size) };
	struct store_info info;
	struct store *s = NULL, *now = NULL;
	struct upload *u = j->f->upload;
	char key[KEY_MAX], name[65];
	enum store_rc rc;
	int err;

	err = stores_get(j->f, o->store, &s, &why);
	if (err != 0)
		goto out;
	object_key(o->id, key);
	log_debug("upload begins", "ino=%llu key=%s",
	    (unsigned long long)j->ino, key);
	rc = store_put(s, &call, key, STORE_IF_ABSENT, NULL, from, &info);
	log_debug("upload ends", "ino=%llu rc=%s",
	    (unsigned long long)j->ino, store_rc_name(rc));
	stores_result(j->f, o->store, rc, &why);
	err = store_rc_errno(rc);
	/* it moved meanwhile: these bytes are at the old address */
	if (err == 0 && (stores_get(j->f, o->store, &now, &why) != 0 ||
	    now != s))
		err = why_set(&why, -EAGAIN, "it was moved meanwhile");
	if (err == 0)
		snprintf(o->version, sizeof o->version, "%s",
		    info.version.text);
out:
	if (err != 0 && err != -ECANCELED) {
		stores_name(j->f, o->store, name);
		lock_take(&u->lock);
		snprintf(j->to->why, sizeof j->to->why, "store %s: %.180s",
		    name, why_text(&why, err));
		lock_drop(&u->lock);
	}
	return err;
}

void
upload_remove(struct job *j, const struct op_object *o)
{
	struct store_call call = { .tag = "upload", .once = true };
	struct store *s = NULL;
	char key[KEY_MAX];

	object_key(o->id, key);
	if (o->size > 0 && stores_get(j->f, o->store, &s, NULL) == 0)
		(void)store_del(s, &call, key, NULL);
}

static void
throw_away(struct job *j, const struct done *d)
{
	counter_add(uploads_thrown, 1);
	log_info("upload thrown away: the file changed meanwhile",
	    "ino=%llu seq=%llu", (unsigned long long)j->ino,
	    (unsigned long long)j->seq);
	/* a failed commit may come back with the WAL, and names it (B9) */
	if (!d->doubt)
		upload_remove(j, &d->object);
}

static int
nothing_tx(struct sqc *c, void *arg)
{
	struct job *j = arg;

	/* it is back, or was lost */
	if (bfile_is_known(c, j->ino))
		return -ENOENT;
	return journal_uploaded(c, j->seq, 0, NULL, 0, NULL, 0);
}

/* An op of a file that has no backing file (any more) changes no bytes: they
 * were clean, and evicted; or its inode is gone (B7). */
static int
note_nothing(struct job *j)
{
	int err = sq_write(meta_sq(j->f->meta), nothing_tx, j);

	if (err == 0)
		ship_kick(j->f);
	return err == -ENOENT ? 0 : err;
}

static int
begin_live(struct job *j, struct bfile *b, struct upload_view *v)
{
	int err = bfile_freeze(b, j->seq);

	if (err != 0)
		return err;
	err = upload_begin(b, j->seq, VIEW_LIVE, v);
	if (err != 0)
		give_back(j, b);
	return err;
}

/* The cheapest view there is. */
static int
begin_view(struct job *j, struct bfile *b, struct upload_view *v)
{
	int err = -EBUSY;

	if (!j->torn)
		err = upload_begin(b, j->seq, VIEW_FINAL, v);
	if (err == -EBUSY && j->live && !j->torn)
		err = begin_live(j, b, v);
	if (err == -EBUSY && j->copy)
		err = upload_begin(b, j->seq, VIEW_COPY, v);
	return err;
}

/* Its bytes into a store, and d filled in. */
static int
send_view(struct job *j, struct upload_view *v, struct done *d)
{
	struct store_src from = { .read = view_read, .arg = v };
	int err;

	d->object = (struct op_object){ .id = meta_new_id(j->f->meta),
	    .size = view_bytes(v), .store = j->to->store,
	    .kind = v->whole ? OBJ_WHOLE : OBJ_PATCH };
	err = d->object.id == 0 ? -EROFS : make_extents(d);
	j->size = from.size = d->object.size;
	if (err == 0 && d->object.size > 0)
		err = upload_put(j, &from, &d->object);
	if (err == 0 && d->object.size > 0)
		err = make_sums(d);
	return err;
}

int
upload_file(struct job *j, bool *retthrown)
{
	struct upload_view v = { 0 };
	struct done d = { .j = j, .v = &v };
	struct bfile *b = NULL;
	bool live;
	int err;

	err = bfile_get(j->f->cache, j->ino, &b);
	if (err == -ENOENT)
		return note_nothing(j);
	if (err != 0)
		return err;
	err = begin_view(j, b, &v);
	if (err == -ENOENT)
		err = 0;		/* a later op has its bytes (M3) */
	if (err != 0 || v.b == NULL)
		goto out;
	live = v.how == VIEW_LIVE;
	err = send_view(j, &v, &d);
	if (err != 0)
		upload_drop(&v);
	else
		err = upload_end(&v);					/* B8 */
	if (err != 0 && live)
		give_back(j, b);
	if (err == 0)
		err = note_done(j, b, &d);
	if (err == 0) {
		counter_add(uploads_done, 1);
		ship_kick(j->f);
	} else if (err == -ESTALE || err == -ENOENT) {
		*retthrown = err == -ESTALE;
		throw_away(j, &d);
		err = 0;
	}
out:
	free(d.extents);
	buf_done(&d.sums);
	bfile_put(b);
	return err;
}

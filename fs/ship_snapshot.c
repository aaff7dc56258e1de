/*
 * ship_snapshot: the log prefix as pieces in the home (L12), so that a new
 * host does not replay everything.
 *
 * One reading transaction gives all rows; what it makes goes into a file
 * without a name in the state directory, so that the transaction is as long
 * as the scan and not as the network (FACTS: long readers starve
 * checkpoints).  Then the pieces that the home does not have yet are put,
 * several at once, then snap/<lsn>, then MANIFEST names it: a snapshot that
 * is named is whole.
 */
#include "fs/ship_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/stores.h"

#define PUTS_AT_ONCE	4u
#define MANIFEST_TRIES	5
#define RETRY_AFTER	(60 * NSEC_PER_SEC)

struct spooled {
	uint8_t		 hash[32];
	uint64_t	 off;
	size_t		 len;
	bool		 known;		/* the home has it */
};

struct making {
	struct ship	*sh;
	int64_t		 deadline;	/* 0: none */
	int		 fd;		/* the spool */
	uint64_t	 end;
	struct spooled	*v;
	size_t		 n, cap;
	struct snapshot	 s;
	struct lock	 lock;		/* what follows: the puts */
	struct latch	 latch;
	size_t		 next;
	uint64_t	 put_pieces, put_bytes;
	int		 err;
	struct why	 why;
};

static int
check_time(const struct making *m)
{
	return m->deadline != 0 && clock_mono() >= m->deadline ? -ETIMEDOUT :
	    0;
}

/* --- the scan --- */

static int
spool_open(struct ship *sh, int *ret)
{
	const char *dir = sh->fs->state_dir;
	char path[4096];
	int fd;

	fd = sys.open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -ENOENT) {
		snprintf(path, sizeof(path), "%s/snapshot.tmp", dir);
		fd = sys.open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC,
		    0600);
		if (fd >= 0)
			(void)sys.unlink(path);
	}
	if (fd < 0)
		return fd;
	*ret = fd;
	return 0;
}

static int
spool_piece(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	struct making *m = arg;
	struct spooled *sp;
	int err = check_time(m);

	if (err != 0)
		return err;
	if (m->n == m->cap) {
		size_t cap = m->cap != 0 ? 2 * m->cap : 64;

		sp = realloc(m->v, cap * sizeof(*sp));
		if (sp == NULL)
			return -ENOMEM;
		m->v = sp;
		m->cap = cap;
	}
	err = sys_pwrite_all(m->fd, p, n, (off_t)m->end);
	if (err != 0)
		return err;
	sp = &m->v[m->n++];
	*sp = (struct spooled){ .off = m->end, .len = n };
	memcpy(sp->hash, hash, sizeof(sp->hash));
	m->end += n;
	return 0;
}

static int
scan(struct making *m, struct why *why)
{
	struct sqc *c;
	int err;

	err = spool_open(m->sh, &m->fd);
	if (err != 0)
		return why_set(why, err, "cannot make a file in %s: %s",
		    m->sh->fs->state_dir, strerror(-err));
	err = sq_read(meta_sq(m->sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = snapshot_make(c, spool_piece, m, &m->s);
	sq_read_end(c);
	return err;
}

/* --- the pieces --- */

/* Marks what the newest snapshot in the home names already. */
static int
mark_known(struct making *m, const struct manifest *mf, struct why *why)
{
	struct snapshot old = { 0 };
	struct buf b = BUF_INIT;
	struct store_call c;
	char key[KEY_MAX];
	enum store_rc rc;
	int err = 0;

	if (mf->nsnaps == 0)
		return 0;
	snapshot_key(mf->snaps[mf->nsnaps - 1], key);
	ship_call(m->sh, &c, why, m->deadline, 0);
	rc = store_get_all(m->sh->home, &c, key, 64u << 20, &b, NULL);
	if (rc == STORE_OK)
		err = snapshot_decode(b.p, b.len, &old, NULL);
	else if (rc != STORE_ABSENT)
		err = ship_rc(m->sh, rc, why);
	if (err == -EBADMSG || err == -EPROTONOSUPPORT)
		err = 0;	/* then nothing is known */
	/* few enough to look one by one: both are in order of their keys, but
	 * a piece may move */
	for (size_t i = 0, k = 0; old.npieces > 0 && i < m->n; i++)
		for (size_t t = 0; t < old.npieces; t++) {
			size_t at = (k + t) % old.npieces;

			if (memcmp(old.pieces[at].hash, m->v[i].hash, 32) != 0)
				continue;
			m->v[i].known = true;
			k = at + 1;
			break;
		}
	snapshot_done(&old);
	buf_done(&b);
	return err;
}

static int
piece_put(struct making *m, const struct spooled *sp, struct why *why)
{
	void *p = malloc(sp->len);
	struct store_info info;
	struct store_call c;
	char key[KEY_MAX];
	enum store_rc rc;
	int err;

	if (p == NULL)
		return -ENOMEM;
	err = sys_pread_all(m->fd, p, sp->len, (off_t)sp->off);
	if (err != 0)
		goto out;
	piece_key(sp->hash, key);
	/* named by its content: of an import it may be there */
	ship_call(m->sh, &c, NULL, m->deadline, 0);
	rc = store_head(m->sh->home, &c, key, &info);
	if (rc == STORE_OK && info.size == sp->len)
		goto out;
	ship_call(m->sh, &c, why, m->deadline, sp->len);
	c.sole = true;
	rc = store_put_mem(m->sh->home, &c, key, STORE_IF_ABSENT, NULL, p,
	    sp->len, NULL);
	if (rc != STORE_EXISTS)
		err = ship_rc(m->sh, rc, why);
out:
	free(p);
	return err;
}

static void
puts_run(void *arg)
{
	struct making *m = arg;

	for (;;) {
		struct why why = { "" };
		struct spooled *sp = NULL;
		int err;

		lock_take(&m->lock);
		while (m->err == 0 && m->next < m->n && sp == NULL) {
			sp = &m->v[m->next++];
			if (sp->known)
				sp = NULL;
		}
		lock_drop(&m->lock);
		if (sp == NULL)
			break;
		err = check_time(m);
		if (err == 0)
			err = piece_put(m, sp, &why);
		lock_take(&m->lock);
		m->put_pieces++;
		m->put_bytes += sp->len;
		if (err != 0 && m->err == 0) {
			m->err = err;
			m->why = why;
		}
		lock_drop(&m->lock);
	}
	latch_down(&m->latch);
}

static int
put_pieces(struct making *m, struct why *why)
{
	struct workers *io = m->sh->fs->io;

	lock_init(&m->lock, RANK_UPLOAD, "snapshot");
	latch_init(&m->latch, PUTS_AT_ONCE);
	for (unsigned i = 0; i < PUTS_AT_ONCE; i++)
		if (i == PUTS_AT_ONCE - 1 || io == NULL || workers_submit(io,
		    WORK_BACKGROUND, puts_run, m) != 0)
			puts_run(m);
	latch_wait(&m->latch);
	latch_done(&m->latch);
	lock_done(&m->lock);
	if (m->err != 0)
		why_set(why, m->err, "%s", why_text(&m->why, m->err));
	return m->err;
}

/* --- the list and MANIFEST --- */

static int
put_list(struct making *m, struct why *why)
{
	struct buf b = BUF_INIT;
	struct store_call c;
	char key[KEY_MAX];
	enum store_rc rc;
	int err;

	err = snapshot_encode(&m->s, &b);
	if (err == 0) {
		snapshot_key(m->s.lsn, key);
		ship_call(m->sh, &c, why, m->deadline, b.len);
		rc = store_put_mem(m->sh->home, &c, key, STORE_IF_ABSENT,
		    NULL, b.p, b.len, NULL);
		/* one of that lsn is as good: the state is the same (L12) */
		if (rc != STORE_EXISTS)
			err = ship_rc(m->sh, rc, why);
	}
	buf_done(&b);
	return err;
}

/* Adds lsn, dropping the oldest when there are too many. */
static void
manifest_add(struct manifest *mf, uint64_t lsn)
{
	unsigned i = 0;

	while (i < mf->nsnaps && mf->snaps[i] < lsn)
		i++;
	if (i < mf->nsnaps && mf->snaps[i] == lsn)
		return;
	if (mf->nsnaps == MANIFEST_SNAPSHOTS) {
		if (i == 0)
			return;
		memmove(mf->snaps, mf->snaps + 1,
		    (mf->nsnaps - 1) * sizeof(mf->snaps[0]));
		mf->nsnaps--;
		i--;
	}
	memmove(mf->snaps + i + 1, mf->snaps + i,
	    (mf->nsnaps - i) * sizeof(mf->snaps[0]));
	mf->snaps[i] = lsn;
	mf->nsnaps++;
	if (lsn > mf->head)
		mf->head = lsn;
}

static int
put_manifest(struct making *m, struct manifest *mf, struct why *why)
{
	struct store_call c;
	int err = -EAGAIN;

	for (int i = 0; err == -EAGAIN && i < MANIFEST_TRIES; i++) {
		if (i > 0) {
			ship_call(m->sh, &c, NULL, m->deadline, 0);
			err = manifest_read(m->sh->home, &c, mf, why);
			if (err != 0)
				return err;
		}
		manifest_add(mf, m->s.lsn);
		ship_call(m->sh, &c, NULL, m->deadline, 0);
		err = manifest_write(m->sh->home, &c, mf, why);
	}
	if (err == -EAGAIN)
		why_set(why, err, "%s: MANIFEST is being changed by others",
		    m->sh->home->url);
	return err;
}

/* --- all of it --- */

static int
make(struct making *m, struct why *why)
{
	int64_t t0 = clock_mono();
	struct ship *sh = m->sh;
	struct manifest mf;
	struct store_call c;
	int err;

	ship_call(sh, &c, NULL, m->deadline, 0);
	err = manifest_read(sh->home, &c, &mf, why);
	if (err == 0)
		err = scan(m, why);
	if (err == 0 && m->s.lsn == 0)
		return 0;	/* nothing is in the log yet */
	if (err == 0)
		err = mark_known(m, &mf, why);
	if (err == 0)
		err = put_pieces(m, why);
	if (err == 0)
		err = check_time(m);
	if (err == 0)
		err = put_list(m, why);
	if (err == 0)
		err = put_manifest(m, &mf, why);
	if (err != 0)
		return err;
	counter_add(snapshots_written, 1);
	lock_take(&sh->lock);
	if (m->s.lsn > sh->snap_lsn)
		sh->snap_lsn = m->s.lsn;
	sh->log_bytes = 0;
	lock_drop(&sh->lock);
	log_info("snapshot written", "lsn=%" PRIu64 " pieces=%u put=%" PRIu64
	    " bytes=%" PRIu64 " ms=%" PRId64, m->s.lsn, m->s.npieces,
	    m->put_pieces, m->put_bytes,
	    (clock_mono() - t0) / NSEC_PER_MSEC);
	return 0;
}

int
ship_snapshot_make(struct ship *sh, int64_t deadline, struct why *why)
{
	struct making m = { .sh = sh, .deadline = deadline, .fd = -1 };
	int err;

	lock_take(&sh->lock);
	while (sh->snap_busy)
		cond_wait(&sh->snap_cond, &sh->lock);
	sh->snap_busy = true;
	lock_drop(&sh->lock);
	log_debug("snapshot begins", "session=%u", sh->session);
	err = make(&m, why);
	log_debug("snapshot ends", "err=%d", err);
	if (m.fd >= 0)
		(void)sys.close(m.fd);
	snapshot_done(&m.s);
	free(m.v);
	lock_take(&sh->lock);
	sh->snap_busy = false;
	cond_broadcast(&sh->snap_cond);
	lock_drop(&sh->lock);
	return err;
}

int
ship_snapshot(struct fs *f, struct why *why)
{
	if (f->ship == NULL)
		return -ESHUTDOWN;
	if (f->opt.read_only)
		return why_set(why, -EROFS, "a mount that is read-only writes"
		    " no snapshots");
	return ship_snapshot_make(f->ship, 0, why);
}

void *
ship_snapshot_main(void *arg)
{
	struct ship *sh = arg;

	lock_take(&sh->lock);
	while (!sh->snap_stop) {
		struct why why = { "" };
		int64_t until;
		int err;

		if (!sh->snap_want || sh->snap_busy) {
			cond_wait(&sh->snap_cond, &sh->lock);
			continue;
		}
		lock_drop(&sh->lock);
		err = ship_snapshot_make(sh, 0, &why);
		if (err != 0)
			log_warn("no snapshot was written", "why=%s",
			    LOG_Q(why_text(&why, err)));
		lock_take(&sh->lock);
		sh->snap_want = false;
		/* the next segment asks again, but not at once */
		until = clock_mono() + RETRY_AFTER;
		while (err != 0 && !sh->snap_stop && cond_wait_until(
		    &sh->snap_cond, &sh->lock, until) == 0)
			;
	}
	lock_drop(&sh->lock);
	return NULL;
}

/*
 * import_pieces: the tree of an import is built, its pieces go to a spool and
 * from there to the home, several at once, and are loaded, hidden.
 */
#include "fs/import_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/stores.h"
#include "meta/segment.h"

#define PUTS_AT_ONCE	8u

int
import_spool_open(struct importing *im, struct why *why)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/import.tmp", im->f->state_dir);
	fd = sys.open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return why_set(why, fd, "cannot make '%s': %s", path,
		    strerror(-fd));
	(void)sys.unlink(path);
	im->fd = fd;
	return 0;
}

static int
spool_piece(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	struct importing *im = arg;
	struct spooled *sp;
	int err;

	err = sys_pwrite_all(im->fd, p, n, (off_t)im->end);
	if (err != 0)
		return err;
	lock_take(&im->lock);
	err = im->err;
	if (err == 0 && im->n == im->cap) {
		size_t cap = im->cap != 0 ? 2 * im->cap : 64;

		sp = realloc(im->v, cap * sizeof(*sp));
		if (sp == NULL) {
			err = -ENOMEM;
		} else {
			im->v = sp;
			im->cap = cap;
		}
	}
	if (err == 0) {
		sp = &im->v[im->n++];
		*sp = (struct spooled){ .off = im->end, .len = n };
		memcpy(sp->hash, hash, sizeof(sp->hash));
		im->end += n;
		cond_signal(&im->more);
	}
	lock_drop(&im->lock);
	return err;
}

static int
read_piece(struct importing *im, const struct spooled *sp, void **ret)
{
	void *p = malloc(sp->len);
	int err;

	if (p == NULL)
		return -ENOMEM;
	err = sys_pread_all(im->fd, p, sp->len, (off_t)sp->off);
	if (err != 0)
		free(p);
	else
		*ret = p;
	return err;
}

static int
put_piece(struct importing *im, const struct spooled *sp, bool *retours,
    struct why *why)
{
	struct store_call c = { .tag = "import", .cancel = &im->cancel,
	    .why = why, .sole = true };	/* named by its content */
	char key[KEY_MAX];
	enum store_rc rc;
	void *p = NULL;
	int err;

	err = read_piece(im, sp, &p);
	if (err != 0)
		return err;
	piece_key(sp->hash, key);
	rc = store_put_mem(im->home, &c, key, STORE_IF_ABSENT, NULL, p,
	    sp->len, NULL);
	free(p);
	stores_result(im->f, STORE_HOME_ID, rc, why);
	if (rc == STORE_OK)
		*retours = true;
	else if (rc != STORE_EXISTS)
		return why_set(why, rc == STORE_ABSENT ? -EHOSTUNREACH :
		    store_rc_errno(rc), "%s: %s", im->home->url,
		    store_rc_name(rc));
	return 0;
}

/* One thread's share of the puts: until all are made and put. */
static void
puts_run(void *arg)
{
	struct importing *im = arg;

	lock_take(&im->lock);
	for (;;) {
		struct why why = { "" };
		struct spooled sp;
		bool ours = false;
		size_t i;
		int err;

		while (im->err == 0 && im->next == im->n && !im->all)
			cond_wait(&im->more, &im->lock);
		if (im->err != 0 || im->next == im->n)
			break;
		i = im->next++;
		sp = im->v[i];
		lock_drop(&im->lock);
		err = put_piece(im, &sp, &ours, &why);
		lock_take(&im->lock);
		im->v[i].ours = ours;
		if (err != 0 && im->err == 0) {
			im->err = err;
			im->why = why;
			cond_broadcast(&im->more);
		}
	}
	lock_drop(&im->lock);
	latch_down(&im->latch);
}

static void
puts_end(struct importing *im, int err)
{
	lock_take(&im->lock);
	im->all = true;
	if (err != 0 && im->err == 0)
		im->err = err;
	cond_broadcast(&im->more);
	lock_drop(&im->lock);
}

static int
load_pieces(struct importing *im, struct why *why)
{
	struct meta *m = im->f->meta;
	int64_t t0 = clock_mono();
	int err;

	err = import_load_begin(m, im->st.lo, im->st.hi);
	im->loaded = err >= 0;
	for (size_t i = 0; err >= 0 && i < im->n; i++) {
		struct spooled sp;
		void *p;

		lock_take(&im->lock);	/* ours is set meanwhile */
		sp = im->v[i];
		lock_drop(&im->lock);
		err = read_piece(im, &sp, &p);
		if (err != 0)
			break;
		err = import_load_piece(m, im->st.lo, im->st.hi, sp.hash, p,
		    sp.len, why);
		free(p);
	}
	im->t_load = clock_mono() - t0;
	return err < 0 ? err : 0;
}

/* Threads of their own: they wait for pieces to be made, which a job of a
 * pool that others need must not. */
int
import_build(struct importing *im, struct why *why)
{
	struct workers *w = NULL;
	int64_t t0;
	unsigned k;
	int err;

	err = workers_new("gnsfs-import", PUTS_AT_ONCE, &w);
	if (err != 0)
		return err;
	latch_init(&im->latch, PUTS_AT_ONCE);
	for (k = 0; err == 0 && k < PUTS_AT_ONCE; k++)
		err = workers_submit(w, WORK_NORMAL, puts_run, im);
	if (err != 0)		/* the last was not taken */
		for (k--; k < PUTS_AT_ONCE; k++)
			latch_down(&im->latch);
	t0 = clock_mono();
	if (err == 0)
		err = import_finish(im->imp, spool_piece, im, im->r->report,
		    im->r->arg, &im->hashes, &im->st);
	im->t_build = clock_mono() - t0;
	import_free(im->imp);
	im->imp = NULL;
	puts_end(im, err);
	if (err == 0)
		err = load_pieces(im, why);
	if (err != 0)
		atomic_store(&im->cancel, true);
	latch_wait(&im->latch);
	workers_free(w);
	latch_done(&im->latch);
	if (im->err != 0 && im->why.text[0] != '\0')
		(void)why_set(why, im->err, "%s", im->why.text);
	return err != 0 ? err : im->err;
}

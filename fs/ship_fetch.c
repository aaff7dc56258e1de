/*
 * ship_fetch: objects of the home, one or several at once.
 */
#include "fs/ship_impl.h"

#include <errno.h>

/* --- fetching several at once --- */

void
ship_fetches_init(struct ship_fetches *fs, struct ship *sh)
{
	*fs = (struct ship_fetches){ .sh = sh };
	latch_init(&fs->latch, 0);
}

struct ship_fetch *
ship_fetches_add(struct ship_fetches *fs, size_t max, int64_t deadline)
{
	struct ship_fetch *t;

	if (fs->n == SHIP_FETCHES)
		return NULL;
	t = &fs->v[fs->n++];
	buf_reset(&t->bytes);
	t->bytes.max = max;
	t->sh = fs->sh;
	t->latch = &fs->latch;
	t->deadline = deadline;
	t->max = max;
	t->why.text[0] = '\0';
	t->damage.text[0] = '\0';
	t->rc = STORE_OK;
	t->hash = NULL;
	t->early = false;
	t->tried = false;
	return t;
}

int
ship_fetch_open(struct ship_fetch *t)
{
	if (!t->tried) {
		t->tried = true;
		t->opened = piece_open(t->bytes.p, t->bytes.len, t->hash,
		    &t->piece, &t->damage);
		buf_done(&t->bytes);
	}
	return t->opened;
}

static void
fetch_run(void *arg)
{
	struct ship_fetch *t = arg;
	struct store_call c;

	ship_call(t->sh, &c, &t->why, t->deadline, t->max);
	t->rc = store_get_all(t->sh->home, &c, t->key, t->max, &t->bytes,
	    NULL);
	if (t->rc == STORE_OK && t->hash != NULL && t->early)
		(void)ship_fetch_open(t);
	latch_down(t->latch);
}

void
ship_fetches_begin(struct ship_fetches *fs)
{
	struct workers *io = fs->sh->fs->io;

	latch_add(&fs->latch, fs->n);
	for (unsigned i = 0; i < fs->n; i++)
		if (io == NULL || fs->n == 1 || workers_submit(io, WORK_NORMAL,
		    fetch_run, &fs->v[i]) != 0)
			fetch_run(&fs->v[i]);
}

void
ship_fetches_wait(struct ship_fetches *fs)
{
	latch_wait(&fs->latch);
}

void
ship_fetches_done(struct ship_fetches *fs)
{
	for (unsigned i = 0; i < SHIP_FETCHES; i++) {
		buf_done(&fs->v[i].bytes);
		piece_done(&fs->v[i].piece);
	}
	latch_done(&fs->latch);
}

int
ship_fetch_result(struct ship_fetch *t, struct why *why)
{
	if (t->rc == STORE_ABSENT && t->why.text[0] == '\0') {
		(void)ship_rc(t->sh, STORE_OK, NULL);
		return 0;
	}
	if (t->rc == STORE_OK) {
		(void)ship_rc(t->sh, STORE_OK, NULL);
		return 1;
	}
	if (why != NULL && why->text[0] == '\0')
		*why = t->why;
	return ship_rc(t->sh, t->rc, why);
}

int
ship_get_object(struct ship *sh, const char *key, size_t max, int64_t deadline,
    struct buf *out, struct why *why)
{
	struct store_call c;
	struct why own = { "" };
	enum store_rc rc;

	ship_call(sh, &c, &own, deadline, max);
	rc = store_get_all(sh->home, &c, key, max, out, NULL);
	if (rc == STORE_ABSENT && own.text[0] == '\0') {
		(void)ship_rc(sh, STORE_OK, NULL);
		return -ENOENT;
	}
	if (rc != STORE_OK && why != NULL && why->text[0] == '\0')
		*why = own;
	return ship_rc(sh, rc, why);
}

int
ship_get_slot(struct ship *sh, uint64_t lsn, int64_t deadline,
    struct buf *out, struct why *why)
{
	char key[KEY_MAX];
	int err;

	segment_key(lsn, key);
	err = ship_get_object(sh, key, SEGMENT_MAX, deadline, out, why);
	return err == 0 ? 1 : err == -ENOENT ? 0 : err;
}

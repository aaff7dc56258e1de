/*
 * relay: see relay.h.  A block is fetched by the thread that misses it, into
 * the slot that was used least recently; others that want it wait.  A slot is
 * held while it is fetched into or copied from, and no thread holds one while
 * it waits, so there is always one to be had.
 */
#include "backends/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"

struct slot {
	uint64_t	 block;		/* UINT64_MAX: none */
	uint8_t		*p;		/* NULL until first used; owned */
	bool		 loading;
	unsigned	 readers;
	uint64_t	 used;		/* for LRU */
};

struct passing {
	struct relay	*r;
	struct store_call *c;		/* the caller's; may be NULL */
	uint64_t	 nblocks;
	unsigned	 nslots;
	struct lock	 lock;		/* what follows */
	struct cond	 moved;
	uint64_t	 clock;
	struct slot	 slots[RELAY_BLOCKS];
	uint32_t	*crcs;		/* of each block; owned */
	uint8_t		*have;		/* crcs[i] is known; owned */
	enum store_rc	 rc;		/* of the first read that failed */
	struct why	 why;
};

static uint64_t
block_len(const struct passing *p, uint64_t block)
{
	uint64_t left = p->r->size - block * RELAY_BLOCK;

	return left < RELAY_BLOCK ? left : RELAY_BLOCK;
}

uint64_t
store_relay_memory(uint64_t size)
{
	return size < RELAY_BLOCK * RELAY_BLOCKS ? size :
	    RELAY_BLOCK * RELAY_BLOCKS;
}

/* --- fetching a block --- */

struct arriving { uint8_t *p; uint64_t at, len; };

static int
arrive(void *arg, const void *p, size_t n)
{
	struct arriving *a = arg;

	if (n > a->len - a->at)
		return 1;
	memcpy(a->p + a->at, p, n);
	a->at += n;
	return 0;
}

/* Into a slot that is loading; no lock held. */
static enum store_rc
fetch(struct passing *p, struct slot *s, uint64_t block, struct why *why)
{
	struct store_call c = { .why = why, .tag = "relay",
	    .deadline = p->c != NULL ? p->c->deadline : 0,
	    .cancel = p->c != NULL ? p->c->cancel : NULL };
	struct arriving a = { .len = block_len(p, block) };
	enum store_rc rc;

	if (s->p == NULL)
		s->p = malloc(p->r->size < RELAY_BLOCK ? p->r->size :
		    RELAY_BLOCK);
	if (s->p == NULL)
		return STORE_NOMEM;
	a.p = s->p;
	rc = store_get(p->r->from, &c, p->r->key, &p->r->version,
	    block * RELAY_BLOCK, a.len, arrive, &a, NULL);
	if (rc == STORE_CANCELLED && a.at == a.len)
		rc = STORE_BROKEN;	/* more came than was asked for */
	if (rc == STORE_OK && a.at != a.len)
		rc = STORE_BROKEN;
	if (rc == STORE_OK && p->r->bytes != NULL)
		atomic_fetch_add(p->r->bytes, a.len);
	return rc;
}

/* The block's crc is noted; one that comes again must be as before. */
static enum store_rc
note(struct passing *p, uint64_t block, uint32_t crc)
{
	if (p->have[block] && p->crcs[block] != crc)
		return STORE_CHANGED;
	p->crcs[block] = crc;
	p->have[block] = 1;
	return STORE_OK;
}

/* --- slots; lock held --- */

static struct slot *
find(struct passing *p, uint64_t block)
{
	unsigned i;

	for (i = 0; i < p->nslots; i++)
		if (p->slots[i].block == block)
			return &p->slots[i];
	return NULL;
}

static struct slot *
oldest(struct passing *p)
{
	struct slot *best = NULL, *s;
	unsigned i;

	for (i = 0; i < p->nslots; i++) {
		s = &p->slots[i];
		if (!s->loading && s->readers == 0 &&
		    (best == NULL || s->used < best->used))
			best = s;
	}
	return best;
}

static void
load(struct passing *p, struct slot *s, uint64_t block)
{
	struct why why = { "" };
	enum store_rc rc;
	uint32_t crc = 0;

	s->block = block;
	s->loading = true;
	lock_drop(&p->lock);
	rc = fetch(p, s, block, &why);
	if (rc == STORE_OK)
		crc = crc32c(0, s->p, block_len(p, block));
	lock_take(&p->lock);
	if (rc == STORE_OK)
		rc = note(p, block, crc);
	if (rc != STORE_OK) {
		s->block = UINT64_MAX;
		if (p->rc == STORE_OK) {
			p->rc = rc;
			p->why = why;
		}
	}
	s->loading = false;
	cond_broadcast(&p->moved);
}

/* The slot with this block, held for reading; NULL: p->rc says why not. */
static struct slot *
hold(struct passing *p, uint64_t block)
{
	struct slot *s;

	lock_take(&p->lock);
	for (;;) {
		s = p->rc == STORE_OK ? find(p, block) : NULL;
		if (p->rc != STORE_OK || (s != NULL && !s->loading))
			break;
		if (s == NULL && (s = oldest(p)) != NULL)
			load(p, s, block);
		else
			cond_wait(&p->moved, &p->lock);
	}
	if (s != NULL) {
		s->readers++;
		s->used = ++p->clock;
	}
	lock_drop(&p->lock);
	return s;
}

static int
passing_read(void *arg, void *buf, size_t n, uint64_t off)
{
	struct passing *p = arg;
	uint64_t at = off % RELAY_BLOCK, len;
	struct slot *s;

	if (off >= p->r->size)
		return 0;
	s = hold(p, off / RELAY_BLOCK);
	if (s == NULL)
		return -EIO;
	len = block_len(p, off / RELAY_BLOCK) - at;
	if (n > len)
		n = (size_t)len;
	memcpy(buf, s->p + at, n);
	lock_take(&p->lock);
	if (--s->readers == 0)
		cond_broadcast(&p->moved);
	lock_drop(&p->lock);
	return (int)n;
}

/* --- the whole --- */

static uint32_t
whole_crc(const struct passing *p)
{
	uint32_t crc = 0;
	uint64_t i;

	for (i = 0; i < p->nblocks; i++)
		crc = crc32c_join(crc, p->crcs[i], block_len(p, i));
	return crc;
}

static enum store_rc
relay_put(struct passing *p, struct store_call *c)
{
	struct relay *r = p->r;
	struct store_src src = { .size = r->size, .part = RELAY_BLOCK,
	    .read = passing_read, .arg = p };
	enum store_rc rc;
	uint64_t i;

	rc = store_put(r->to, c, r->tokey, STORE_IF_ABSENT, NULL, &src,
	    &r->info);
	for (i = 0; rc == STORE_OK && i < p->nblocks; i++)
		if (!p->have[i])
			rc = STORE_BROKEN;	/* it never asked for it */
	if (rc != STORE_OK && p->rc != STORE_OK) {
		rc = r->read_rc = p->rc;
		if (c != NULL && p->why.text[0] != '\0')
			why_set(c->why, 0, "%s", p->why.text);
	}
	if (rc == STORE_OK)
		r->crc32c = whole_crc(p);
	return rc;
}

enum store_rc
store_relay(struct relay *r, struct store_call *c)
{
	struct passing *p = calloc(1, sizeof *p);
	enum store_rc rc = STORE_NOMEM;
	unsigned i;

	if (p == NULL)
		return STORE_NOMEM;
	r->read_rc = STORE_OK;
	p->r = r;
	p->c = c;
	p->nblocks = (r->size + RELAY_BLOCK - 1) / RELAY_BLOCK;
	p->nslots = p->nblocks < RELAY_BLOCKS ? (unsigned)p->nblocks :
	    RELAY_BLOCKS;
	for (i = 0; i < p->nslots; i++)
		p->slots[i].block = UINT64_MAX;
	p->crcs = calloc(p->nblocks + 1, sizeof *p->crcs);
	p->have = calloc(p->nblocks + 1, 1);
	lock_init(&p->lock, RANK_STORE, "relay");
	cond_init(&p->moved);
	if (p->crcs != NULL && p->have != NULL)
		rc = relay_put(p, c);
	for (i = 0; i < p->nslots; i++)
		free(p->slots[i].p);
	cond_done(&p->moved);
	lock_done(&p->lock);
	free(p->crcs);
	free(p->have);
	free(p);
	return rc;
}

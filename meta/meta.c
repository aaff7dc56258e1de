/*
 * meta: the database, the session that writes, the ids it gives, the head.
 * See meta.h.
 *
 * Keys of the table meta: state_id (hex), session_next and session_end (the
 * block in use), block_first and block_end (one granted beside it),
 * session_max (highest number taken), nonce.<number> (of each taken), head_lsn
 * and head_hash.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "meta/hold.h"
#include "meta/internal.h"

int
meta_set(struct sqc *c, const char *key, const char *value)
{
	struct sqs *s = sq_prep(c,
	    "INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)");

	sqs_text(s, 1, key);
	sqs_text(s, 2, value);
	return (sqs_run(s));
}

int
meta_get(struct sqc *c, const char *key, char *ret, size_t n)
{
	struct sqs *s = sq_prep(c, "SELECT value FROM meta WHERE key = ?");
	int rc;

	sqs_text(s, 1, key);
	if ((rc = sqs_step(s)) != 1)
		return (rc ? rc : -ENOENT);
	snprintf(ret, n, "%s", sqs_col_text(s, 0));
	sqs_reset(s);
	return (0);
}

int
meta_set_int(struct sqc *c, const char *key, int64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, v);
	return (meta_set(c, key, text));
}

int
meta_get_int(struct sqc *c, const char *key, int64_t *ret)
{
	char text[24];
	int err = meta_get(c, key, text, sizeof(text));

	if (err == 0)
		*ret = strtoll(text, NULL, 10);
	return (err);
}

/* What is not there is 0. */
static int
get_int0(struct sqc *c, const char *key, int64_t *ret)
{
	int err = meta_get_int(c, key, ret);

	if (err == -ENOENT) {
		*ret = 0;
		err = 0;
	}
	return (err);
}

/* --- open --- */

static int
open_fn(struct sqc *c, void *arg)
{
	struct meta *m = arg;
	char hex[2 * sizeof(m->session.state_id) + 1];
	int err;

	if ((err = schema_migrate(c)) != 0)
		return (err);
	err = meta_get(c, "state_id", hex, sizeof(hex));
	if (err == -ENOENT) {
		random_bytes(m->session.state_id, sizeof(m->session.state_id));
		hex_encode(m->session.state_id, sizeof(m->session.state_id),
		    hex);
		return (meta_set(c, "state_id", hex));
	}
	if (err == 0 && (strlen(hex) != sizeof(hex) - 1 ||
	    hex_decode(hex, sizeof(hex) - 1, m->session.state_id) != 0))
		err = -EUCLEAN;
	return (err);
}

int
meta_open(const char *path, struct meta **ret, struct why *why)
{
	struct sq_opts opts = { .cache_kib = 16384 };
	struct meta *m = calloc(1, sizeof(*m));
	struct why own = { "" };
	int err;

	if (m == NULL)
		return (-ENOMEM);
	lock_init(&m->lock, RANK_META, "meta");
	if ((err = hold_new(&m->hold)) != 0)
		goto fail;
	gethostname(m->session.host, sizeof(m->session.host) - 1);
	if ((err = sq_open(path, &opts, &m->sq, &own)) == 0)
		err = sq_write(m->sq, open_fn, m);
	if (err == -EPROTONOSUPPORT)
		why_set(why, err, "%s was made by a newer gnsfs: "
		    "use that one, or another state directory", path);
	else if (err == -EUCLEAN)
		why_set(why, err, "%s is damaged, or no database of gnsfs: "
		    "what was stored is in the home, so mount with another "
		    "folder (cache=DIR); keep this one for what was not",
		    path);
	else if (err < 0 && own.text[0] != '\0')
		why_set(why, err, "%s", own.text);
	else if (err < 0)
		why_set(why, err, "%s: %s", path, why_text(NULL, err));
	if (err < 0)
		goto fail;
	*ret = m;
	return (0);
fail:
	meta_close(m);
	return (err);
}

void
meta_close(struct meta *m)
{
	if (m == NULL)
		return;
	sq_close(m->sq);
	hold_free(m->hold);
	lock_done(&m->lock);
	free(m);
}

struct sq *
meta_sq(struct meta *m)
{
	return (m->sq);
}

/* --- sessions and ids (L1) --- */

static int
nonce_set(struct sqc *c, uint32_t number, uint64_t nonce)
{
	char key[32];

	snprintf(key, sizeof(key), "nonce.%" PRIu32, number);
	return (meta_set_int(c, key, (int64_t)nonce));
}

int
meta_session_nonce(struct sqc *c, uint32_t number, uint64_t *ret)
{
	char key[32];
	int64_t v;
	int err;

	snprintf(key, sizeof(key), "nonce.%" PRIu32, number);
	if ((err = meta_get_int(c, key, &v)) == 0)
		*ret = (uint64_t)v;
	return (err);
}

static int
take_fn(struct sqc *c, void *arg)
{
	struct meta_session *s = arg;
	int64_t next, end;
	int err;

	if ((err = get_int0(c, "session_next", &next)) != 0 ||
	    (err = get_int0(c, "session_end", &end)) != 0)
		return (err);
	if (next >= end) {
		if ((err = get_int0(c, "block_first", &next)) != 0 ||
		    (err = get_int0(c, "block_end", &end)) != 0)
			return (err);
		if (next >= end)
			return (-ENOENT);
		if ((err = meta_set_int(c, "session_end", end)) != 0 ||
		    (err = meta_set_int(c, "block_first", 0)) != 0 ||
		    (err = meta_set_int(c, "block_end", 0)) != 0)
			return (err);
	}
	s->number = next;
	s->nonce = random_u64();
	if ((err = nonce_set(c, s->number, s->nonce)) != 0 ||
	    (err = meta_set_int(c, "session_max", next)) != 0)
		return (err);
	return (meta_set_int(c, "session_next", next + 1));
}

int
meta_session_take(struct meta *m, struct meta_session *ret)
{
	struct meta_session s;
	int err;

	meta_session_get(m, &s);
	/* durable before its first use */
	if ((err = sq_write_sync(m->sq, take_fn, &s)) < 0)
		return (err);
	lock_take(&m->lock);
	m->session = s;
	lock_drop(&m->lock);
	atomic_store(&m->next_id, (uint64_t)s.number << META_ID_SHIFT | 1);
	*ret = s;
	return (0);
}

int
meta_session_granted(struct sqc *c, uint32_t first, uint32_t count)
{
	int64_t end = (int64_t)first + count, max, next, cur_end;
	int err;

	if (first == 0 || count == 0 || end - 1 > (int64_t)META_SESSION_MAX)
		return (-EINVAL);
	if ((err = get_int0(c, "session_max", &max)) != 0 ||
	    (err = get_int0(c, "session_next", &next)) != 0 ||
	    (err = get_int0(c, "session_end", &cur_end)) != 0)
		return (err);
	/* noted before, or used up: never twice (L1) */
	if (end - 1 <= max || end <= cur_end)
		return (0);
	if (next < cur_end) {
		if ((err = meta_set_int(c, "block_first", first)) != 0)
			return (err);
		return (meta_set_int(c, "block_end", end));
	}
	if ((err = meta_set_int(c, "session_next",
	    first > max ? first : max + 1)) != 0)
		return (err);
	return (meta_set_int(c, "session_end", end));
}

void
meta_session_get(struct meta *m, struct meta_session *ret)
{
	lock_take(&m->lock);
	*ret = m->session;
	lock_drop(&m->lock);
}

uint64_t
meta_new_ids(struct meta *m, uint64_t n)
{
	uint64_t id = atomic_load(&m->next_id);

	/* not a plain add: it must stay within the session's 2^36 */
	do {
		if (id == 0 || n >> META_ID_SHIFT != 0 ||
		    (id + n) >> META_ID_SHIFT != id >> META_ID_SHIFT)
			return (0);
	} while (!atomic_compare_exchange_weak(&m->next_id, &id, id + n));
	return (id);
}

uint64_t
meta_new_id(struct meta *m)
{
	return (meta_new_ids(m, 1));
}

/* --- head --- */

int
meta_head(struct sqc *c, struct meta_head *ret)
{
	struct meta_head h = { 0 };
	char hex[SHA256_HEX];
	int64_t lsn;
	int err;

	if ((err = get_int0(c, "head_lsn", &lsn)) != 0)
		return (err);
	h.lsn = lsn;
	if (lsn != 0) {
		err = meta_get(c, "head_hash", hex, sizeof(hex));
		if (err == -ENOENT || (err == 0 && (strlen(hex) !=
		    SHA256_HEX - 1 || hex_decode(hex, SHA256_HEX - 1,
		    h.hash) != 0)))
			err = -EUCLEAN;
		if (err != 0)
			return (err);
	}
	*ret = h;
	return (0);
}

int
meta_set_head(struct sqc *c, const struct meta_head *h)
{
	char hex[SHA256_HEX];
	int err;

	hex_encode(h->hash, sizeof(h->hash), hex);
	if ((err = meta_set_int(c, "head_lsn", h->lsn)) != 0)
		return (err);
	return (meta_set(c, "head_hash", hex));
}

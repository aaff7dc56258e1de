/*
 * verify: is the tree here what the home says it is?
 *
 * The digest of the log prefix in this host's database (M4) is compared with
 * that of two databases made afresh from the home, in a folder that is
 * removed afterwards: one by replaying the whole log, one from the newest
 * snapshot and the log after it (L12).  Nothing of the mount is changed.
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "fs/control_impl.h"
#include "fs/home.h"
#include "fs/stores.h"
#include "meta/digest.h"
#include "meta/import.h"
#include "meta/piece.h"
#include "meta/reload.h"
#include "meta/segment.h"

#define PIECE_STORED_MAX	(16u << 20)
#define SNAPSHOT_STORED_MAX	(64u << 20)

struct verify {
	struct ctl		*c;
	struct store		*home;
	struct store_call	 call;
	uint64_t		 lsn;		/* as far as this host is */
	uint8_t			 live[32];
	struct meta		*m;		/* the one made afresh */
	char			*dir;
};

/* --- the database made afresh --- */

static void
fresh_end(struct verify *v)
{
	static const char *const files[] = { "v.db", "v.db-wal", "v.db-shm",
	    NULL };
	char *path;
	unsigned i;

	meta_close(v->m);
	v->m = NULL;
	if (v->dir == NULL)
		return;
	for (i = 0; files[i] != NULL; i++) {
		if (asprintf(&path, "%s/%s", v->dir, files[i]) < 0)
			continue;
		(void)unlink(path);
		free(path);
	}
	(void)rmdir(v->dir);
	free(v->dir);
	v->dir = NULL;
}

static int
fresh_begin(struct verify *v)
{
	char *path = NULL;
	int rc = -ENOMEM;

	if (asprintf(&v->dir, "%s/verify-XXXXXX", v->c->f->state_dir) < 0) {
		v->dir = NULL;
		return -ENOMEM;
	}
	if (mkdtemp(v->dir) == NULL) {
		rc = why_set(&v->c->why, -errno, "%s: %s", v->dir,
		    strerror(errno));
		free(v->dir);
		v->dir = NULL;
		return rc;
	}
	if (asprintf(&path, "%s/v.db", v->dir) >= 0) {
		rc = meta_open(path, &v->m, &v->c->why);
		free(path);
	}
	return rc;
}

static int
digest_of(struct meta *m, uint64_t *retlsn, uint8_t ret[32])
{
	struct meta_head h = { 0 };
	struct sqc *q = NULL;
	int rc;

	rc = sq_read(meta_sq(m), &q);
	if (rc != 0)
		return rc;
	rc = sq_snapshot_begin(q);
	if (rc == 0) {
		rc = meta_head(q, &h);
		if (rc == 0)
			rc = meta_digest(q, ret);
		sq_snapshot_end(q);
	}
	sq_read_end(q);
	*retlsn = h.lsn;
	return rc;
}

/* --- from the home --- */

static int
get_object(struct verify *v, const char *key, size_t max, struct buf *out)
{
	enum store_rc rc;

	rc = store_get_all(v->home, &v->call, key, max, out, NULL);
	if (rc == STORE_ABSENT)
		return home_damaged(v->home, key, NULL, &v->c->why);
	if (rc != STORE_OK)
		why_set(&v->c->why, store_rc_errno(rc), "%s: %s", key,
		    store_rc_name(rc));
	return store_rc_errno(rc);
}

static int
get_piece(void *arg, const uint8_t hash[32], struct buf *out)
{
	char key[KEY_MAX];

	piece_key(hash, key);
	return get_object(arg, key, PIECE_STORED_MAX, out);
}

static int
load_attach(void *arg, uint64_t lo, uint64_t hi, const uint8_t *hashes,
    size_t n)
{
	struct verify *v = arg;

	return import_load(v->m, lo, hi, hashes, n, get_piece, v,
	    &v->c->why);
}

struct replay { struct verify *v; struct segment seg; };

static int
replay_tx(struct sqc *q, void *arg)
{
	struct replay *r = arg;

	return segment_replay(q, &r->seg, NULL, &r->v->c->why);
}

static int
replay_one(struct verify *v, uint64_t lsn)
{
	struct replay r = { .v = v };
	struct buf b = BUF_INIT;
	struct why own = { "" };
	char key[KEY_MAX];
	int rc;

	segment_key(lsn, key);
	rc = get_object(v, key, SEGMENT_MAX, &b);
	if (rc == 0)
		rc = segment_decode(b.p, b.len, lsn, &r.seg, &own);
	if (rc == -EBADMSG)
		(void)home_damaged(v->home, key, own.text, &v->c->why);
	if (rc == 0) {
		rc = segment_attaches(&r.seg, load_attach, v);
		if (rc >= 0)
			rc = sq_write(meta_sq(v->m), replay_tx, &r);
		segment_done(&r.seg);
	}
	buf_done(&b);
	return rc < 0 ? rc : 0;
}

static int
replay_from(struct verify *v, uint64_t first)
{
	uint64_t lsn;
	int rc = 0;

	for (lsn = first; rc == 0 && lsn <= v->lsn; lsn++)
		rc = ctl_progress(v->c, 0, 0, lsn) || ctl_cancelled(v->c) ?
		    -ECANCELED : replay_one(v, lsn);
	return rc;
}

/* --- a snapshot --- */

struct loading {
	struct verify		*v;
	struct digest		*sum;
	struct piece		 piece;
};

static int
piece_tx(struct sqc *q, void *arg)
{
	struct loading *p = arg;

	return piece_load(q, &p->piece, 0, 0, p->sum, &p->v->c->why);
}

static int
begin_tx(struct sqc *q, void *arg)
{
	return reload_begin(q);
}

struct loaded {
	struct verify		*v;
	const struct snapshot	*s;
	uint8_t			 digest[32];
};

static int
end_tx(struct sqc *q, void *arg)
{
	struct loaded *l = arg;
	int rc;

	rc = snapshot_loaded(q, l->s, l->digest, &l->v->c->why);
	return rc != 0 ? rc : reload_end(q);
}

static int
load_snapshot(struct verify *v, uint64_t lsn)
{
	struct sq *db = meta_sq(v->m);
	struct snapshot s = { 0 };
	struct loaded l = { .v = v, .s = &s };
	struct digest *sum = NULL;
	struct buf b = BUF_INIT;
	struct why own = { "" };
	char key[KEY_MAX];
	unsigned i;
	int rc;

	snapshot_key(lsn, key);
	rc = get_object(v, key, SNAPSHOT_STORED_MAX, &b);
	if (rc == 0)
		rc = snapshot_decode(b.p, b.len, &s, &own);
	if (rc == -EBADMSG)
		(void)home_damaged(v->home, key, own.text, &v->c->why);
	if (rc == 0)
		rc = digest_new(&sum);
	if (rc == 0)
		rc = sq_write(db, begin_tx, NULL);
	for (i = 0; rc >= 0 && i < s.npieces; i++) {
		struct loading p = { .v = v, .sum = sum };

		buf_reset(&b);
		rc = get_piece(v, s.pieces[i].hash, &b);
		if (rc == 0)
			rc = piece_open(b.p, b.len, s.pieces[i].hash, &p.piece,
			    &v->c->why);
		if (rc == 0)
			rc = sq_write(db, piece_tx, &p);
		piece_done(&p.piece);
	}
	digest_final(sum, l.digest);
	if (rc >= 0)
		rc = sq_write(db, end_tx, &l);
	snapshot_done(&s);
	buf_done(&b);
	return rc < 0 ? rc : 0;
}

/* --- both ways --- */

/* snap 0: the whole log.  1: the same; 0: another digest; -errno. */
static int
compare(struct verify *v, uint64_t snap, const char *name)
{
	char hex[SHA256_HEX];
	uint8_t digest[32];
	uint64_t lsn = 0;
	bool same;
	int rc;

	rc = fresh_begin(v);
	if (rc == 0 && snap != 0)
		rc = load_snapshot(v, snap);
	if (rc == 0)
		rc = replay_from(v, snap + 1);
	if (rc == 0)
		rc = digest_of(v->m, &lsn, digest);
	fresh_end(v);
	if (rc != 0)
		return why_prefix(&v->c->why, rc, "%s", name);
	same = lsn == v->lsn && memcmp(digest, v->live, 32) == 0;
	hex_encode(digest, 32, hex);
	json_object_set_new(v->c->result, name, json_pack(
	    "{s:I, s:s, s:b}", "from", (json_int_t)snap, "digest", hex,
	    "same", same));
	return same;
}

static int
verify(struct verify *v)
{
	struct manifest m = { 0 };
	uint64_t snap = 0;
	bool same = true;
	unsigned i;
	int rc;

	rc = manifest_read(v->home, &v->call, &m, &v->c->why);
	if (rc == 0 && m.watermark <= 1) {
		rc = compare(v, 0, "replay");
		same = rc == 1;
	}
	for (i = 0; i < m.nsnaps; i++)
		if (m.snaps[i] <= v->lsn)
			snap = m.snaps[i];
	if (rc >= 0 && snap != 0) {
		rc = compare(v, snap, "snapshot");
		same = same && rc == 1;
	}
	if (rc < 0)
		return rc;
	return same ? 0 : why_set(&v->c->why, -EUCLEAN, "the tree on this "
	    "host is not what its home says; mounting with another, empty "
	    "state directory gives what the home says");
}

int
ctl_fsck(struct ctl *c)
{
	struct verify v = { .c = c, .call = { .why = &c->why, .tag = "fsck" } };
	char hex[SHA256_HEX];
	int rc;

	rc = digest_of(c->f->meta, &v.lsn, v.live);
	if (rc != 0)
		return rc;
	hex_encode(v.live, 32, hex);
	json_object_set_new(c->result, "lsn", json_integer(
	    (json_int_t)v.lsn));
	json_object_set_new(c->result, "digest", json_string(hex));
	if (arg_bool(c, "digest_only"))
		return 0;
	rc = stores_get(c->f, STORE_HOME_ID, &v.home, &c->why);
	return rc != 0 ? rc : verify(&v);
}

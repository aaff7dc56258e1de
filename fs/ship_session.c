/*
 * ship_session: who writes (L1, L13): opening, being fenced, closing.
 *
 * A session_open is a segment whose one batch is that op.  It is decided by
 * the log: the op is refused by every replay while another host's session is
 * open, and so we look first, and after it has landed we look whether it is
 * ours that is open.
 *
 * Numbers come in blocks of 64 that a session_open grants.  The first number
 * of all is needed before its block is granted; so that block is noted with
 * `grant_unsure`, and until the log has the open nothing counts on it: a
 * start without the home that finds the mark has no session (L1).
 */
#include "fs/ship_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "meta/query.h"
#include "meta/reload.h"

#define BLOCK		64u
#define BLOCK_LOW	16u	/* fewer left: the next open grants a block */

/* What the log says about sessions, seen from this host. */
struct roster {
	const struct meta_session *me;
	uint32_t	 own;		/* open, of this state directory; 0 */
	uint64_t	 own_nonce;
	uint32_t	 other;		/* open, of another; 0 */
	char		 other_host[65];
	int64_t		 other_opened;
	char		 last_host[65];	/* whose session was opened last */
	int64_t		 last_opened;
	bool		 last_is_ours;
	uint32_t	 block_end;	/* first number never granted */
	int64_t		 unsure;	/* grant_unsure; 0 none */
	bool		 unsure_is_ours; /* the log has that block, for us */
};

static int
roster_row(void *arg, const struct session_row *s)
{
	struct roster *r = arg;
	bool ours = memcmp(s->state_id, r->me->state_id,
	    sizeof(s->state_id)) == 0;

	if (s->block_first + s->block_count > r->block_end)
		r->block_end = s->block_first + s->block_count;
	if (s->number >= r->block_end)
		r->block_end = s->number + 1;
	if (ours && r->unsure != 0 && s->block_count > 0 &&
	    s->block_first == (uint32_t)r->unsure)
		r->unsure_is_ours = true;
	if (s->number != HOME_SESSION && s->opened >= r->last_opened) {
		r->last_opened = s->opened;
		r->last_is_ours = ours;
		snprintf(r->last_host, sizeof(r->last_host), "%s", s->host);
	}
	if (s->state != SESS_OPEN)
		return 0;
	if (ours) {
		r->own = s->number;
		r->own_nonce = s->nonce;
	} else {
		r->other = s->number;
		r->other_opened = s->opened;
		snprintf(r->other_host, sizeof(r->other_host), "%s", s->host);
	}
	return 0;
}

static int
roster_read(struct ship *sh, const struct meta_session *me,
    struct roster *ret)
{
	struct sqc *c;
	int err;

	*ret = (struct roster){ .me = me, .block_end = HOME_SESSION + 1 };
	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = meta_get_int(c, "grant_unsure", &ret->unsure);
	if (err == 0 || err == -ENOENT)
		err = meta_sessions(c, roster_row, ret);
	sq_read_end(c);
	return err;
}

/* --- numbers --- */

static int
settle_fn(struct sqc *c, void *arg)
{
	const struct roster *r = arg;
	int err = 0;

	if (r->unsure != 0 && !r->unsure_is_ours)
		err = meta_session_forget(c);
	return err != 0 ? err : meta_set_int(c, "grant_unsure", 0);
}

static int
note_fn(struct sqc *c, void *arg)
{
	const struct roster *r = arg;
	int err;

	err = meta_session_granted(c, r->block_end, BLOCK);
	return err != 0 ? err : meta_set_int(c, "grant_unsure", r->block_end);
}

/* This start's number, from a block that the log has granted. */
static int
take(struct ship *sh)
{
	struct meta_session s;
	int err;

	err = meta_session_take(sh->fs->meta, &s);
	if (err == 0)
		sh->session = s.number;
	return err;
}

int
ship_take_session(struct ship *sh, struct why *why)
{
	struct meta_session me;
	struct roster r;
	int err;

	meta_session_get(sh->fs->meta, &me);
	err = roster_read(sh, &me, &r);
	if (err == 0)
		err = r.unsure != 0 && !r.unsure_is_ours ? -ENOENT : take(sh);
	if (err == -ENOENT)
		why_set(why, err, "the home is not in reach and this host has"
		    " no session number left to write with; it becomes"
		    " writable when the home is back");
	return err;
}

/* A number to open with.  *retgrant: the open grants a block from r->block_end
 * on; that block is noted already where this number is out of it. */
static int
number_for_open(struct ship *sh, struct roster *r, bool *retgrant)
{
	struct sq *q = meta_sq(sh->fs->meta);
	uint64_t left = 0;
	struct sqc *c;
	int err = 0;

	*retgrant = false;
	if (r->unsure != 0) {
		/* an open whose answer never came, or that lost */
		err = sq_write(q, settle_fn, r);
		if (err >= 0 && !r->unsure_is_ours)
			sh->session = 0;
	}
	if (err >= 0)
		err = sq_read(q, &c);
	if (err != 0)
		return err;
	err = meta_session_left(c, &left);
	sq_read_end(c);
	if (err != 0)
		return err;
	*retgrant = left < BLOCK_LOW;
	if (sh->session == 0 && left == 0) {
		err = sq_write(q, note_fn, r);
		if (err < 0)
			return err;
	}
	return sh->session == 0 ? take(sh) : 0;
}

/* --- opening --- */

static int
say_busy(struct ship *sh, const struct roster *r, struct why *why)
{
	time_t t = (time_t)(r->other_opened / NSEC_PER_SEC);
	char when[40] = "?";
	struct tm tm;

	if (gmtime_r(&t, &tm) != NULL)
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	return why_set(why, -EBUSY, "the namespace '%s' is mounted by the host"
	    " '%s' since %s (session %u); unmount it there, or, if that host"
	    " is gone, mount with -o takeover, which shuts it out",
	    sh->fs->name, r->other_host, when, r->other);
}

int
ship_ask_home(struct ship *sh, int64_t deadline, struct why *why)
{
	struct why own = { "" };
	struct store_call c;
	int err;

	ship_call(sh, &c, NULL, deadline, 0);
	err = home_conditions(sh->home, &c, &own);
	if (err != 0 && err != -EOPNOTSUPP)
		return why_set(why, err, "%s", why_text(&own, err));
	sh->asked = true;
	atomic_store(&sh->sole, err != 0);
	lock_take(&sh->lock);
	snprintf(sh->sole_why, sizeof(sh->sole_why), "%.255s", own.text);
	lock_drop(&sh->lock);
	if (err != 0)
		log_warn("one host alone may write", "why=%s",
		    LOG_Q(own.text));
	return 0;
}

/* The home keeps no two writers apart.  One session is the last of the log,
 * so that of all hosts one at most goes on; nobody is shut out, for who is
 * would not be told. */
static int
sole_check(struct ship *sh, const struct roster *r, struct why *why)
{
	struct why own = { "" };

	lock_take(&sh->lock);
	why_set(&own, 0, "%s", sh->sole_why);
	lock_drop(&sh->lock);
	if (r->other == 0 && r->last_is_ours)
		return 0;
	return why_set(why, -EBUSY, "%s. So one host alone may write, the one"
	    " that wrote last%s%s%s, and it cannot be taken over; mount with"
	    " -o ro to read, or move the home to a store that honours both",
	    own.text, r->last_host[0] != '\0' ? " ('" : "", r->last_host,
	    r->last_host[0] != '\0' ? "')" : "");
}

static int
open_op(struct ship *sh, const struct meta_session *me, const struct roster *r,
    bool grant, struct op *ret)
{
	struct sqc *c;
	int err;

	*ret = (struct op){
		.kind = OP_SESSION_OPEN,
		.session = me->number,
		.nonce = me->nonce,
		.name = me->host,
		.mtime = clock_real(),
		.block_first = grant ? r->block_end : 0,
		.block_count = grant ? BLOCK : 0,
		.takeover = sh->fs->opt.takeover,
	};
	memcpy(ret->state_id, me->state_id, sizeof(ret->state_id));
	err = sq_read(meta_sq(sh->fs->meta), &c);
	if (err != 0)
		return err;
	err = journal_next_seq(c, &ret->first_seq);
	if (err == 0) {
		struct journal_stat j;

		err = journal_stat(c, &j);
		if (err == 0 && j.ops > 0)
			ret->first_seq = j.first_seq;
	}
	if (err == 0 && r->own != 0) {
		err = meta_session_nonce(c, r->own, &ret->prev_nonce);
		if (err == -ENOENT)
			err = 0;	/* a clone's: refused below */
	}
	sq_read_end(c);
	return err;
}

/* What the open op becomes as slot lsn. */
static int
open_segment(const struct op *op, const struct meta_head *h, struct buf *out,
    uint8_t rethash[32])
{
	struct batch b = {
		.session = op->session,
		.nonce = op->nonce,
		.first = op->first_seq,
		.last = op->first_seq,
		.nops = 1,
	};
	int err;

	op_encode(op, &b.body);
	err = buf_err(&b.body);
	if (err == 0)
		err = segment_encode(h->lsn + 1, h->hash, &b, 1, out, rethash);
	batch_done(&b);
	return err;
}

struct opened { const struct op *op; };

/* The log has it: the block is ours, and no fence of before counts. */
static int
opened_fn(struct sqc *c, void *arg)
{
	const struct op *op = ((struct opened *)arg)->op;
	int err = 0;

	if (op->block_count > 0)
		err = meta_session_granted(c, op->block_first,
		    op->block_count);
	if (err == 0)
		err = meta_set_int(c, "grant_unsure", 0);
	if (err == 0)
		err = meta_set(c, "fenced", "");
	return err;
}

static int
reopened_fn(struct sqc *c, void *arg)
{
	int err = settle_fn(c, arg);

	return err != 0 ? err : meta_set(c, "fenced", "");
}

/* The answer to our open was lost, and catching up met it in the log: 1. */
static int
reopened(struct ship *sh, struct roster *r)
{
	int err = sq_write(meta_sq(sh->fs->meta), reopened_fn, r);

	return err < 0 ? err : 1;
}

/* One attempt: 1 open; 0 the log moved, look again; -errno. */
static int
try_open(struct ship *sh, int64_t deadline, struct why *why)
{
	struct fs *f = sh->fs;
	struct meta_session me;
	struct buf b = BUF_INIT;
	struct opened done;
	struct roster r;
	struct meta_head h;
	uint8_t hash[32];
	bool grant = false;
	struct op op;
	int err, rc = 0;

	meta_session_get(f->meta, &me);
	err = roster_read(sh, &me, &r);
	if (err == 0 && sh->session != 0 && r.own == sh->session &&
	    r.own_nonce == me.nonce)
		return reopened(sh, &r);
	if (err == 0 && r.other != 0 && !f->opt.takeover)
		err = say_busy(sh, &r, why);
	if (err == 0 && atomic_load(&sh->sole))
		err = sole_check(sh, &r, why);
	if (err == 0)
		err = number_for_open(sh, &r, &grant);
	if (err != 0)
		return err;
	meta_session_get(f->meta, &me);
	err = open_op(sh, &me, &r, grant, &op);
	if (err == 0 && r.own != 0 && op.prev_nonce == 0 && !op.takeover)
		err = why_set(why, -EBUSY, "this state directory is a copy of"
		    " one that is in use (session %u); use another state"
		    " directory, or mount with -o takeover", r.own);
	if (err == 0)
		err = ship_head(sh, &h);
	if (err == 0)
		err = open_segment(&op, &h, &b, hash);
	if (err == 0)
		err = rc = ship_put_slot(sh, h.lsn + 1, &b, hash, deadline,
		    why);
	if (rc == 1) {
		done.op = &op;
		err = sq_write(meta_sq(f->meta), opened_fn, &done);
	}
	buf_done(&b);
	return err < 0 ? err : rc;
}

/* Is this mount's session open in the log?  A copy of this state directory may
 * have taken the same number: the nonce tells (L1). */
static bool
is_open(struct ship *sh)
{
	struct meta_session me;
	struct roster r;

	meta_session_get(sh->fs->meta, &me);
	return roster_read(sh, &me, &r) == 0 && r.own != 0 &&
	    r.own == sh->session && r.own_nonce == me.nonce;
}

int
ship_open_session(struct ship *sh, int64_t deadline, struct why *why)
{
	int rc;

	do
		rc = try_open(sh, deadline, why);
	while (rc == 0);
	if (rc < 0)
		return rc;
	if (!is_open(sh))
		return why_set(why, -EBUSY, "the log refused the session %u of"
		    " this host: another's is open, or this state directory is"
		    " a copy of one that is in use", sh->session);
	sh->opened = true;
	log_info("session opened", "session=%u takeover=%d", sh->session,
	    sh->fs->opt.takeover);
	return 0;
}

bool
ship_session_lost(struct ship *sh, char *ret, size_t n)
{
	struct meta_session me;
	struct roster r;

	if (!sh->opened || is_open(sh))
		return false;
	meta_session_get(sh->fs->meta, &me);
	if (roster_read(sh, &me, &r) == 0 && r.other != 0)
		snprintf(ret, n, "the host '%s' took the namespace over"
		    " (session %u)", r.other_host, r.other);
	else
		snprintf(ret, n, "a mount with a copy of this state directory"
		    " shut the session %u of this one out", sh->session);
	return true;
}

/* --- closing --- */

struct closing { struct ship *sh; uint64_t seq; };

static int
close_fn(struct sqc *c, void *arg)
{
	struct closing *cl = arg;
	struct meta_session me;
	struct op op = { .kind = OP_SESSION_CLOSE, .mtime = clock_real() };

	meta_session_get(cl->sh->fs->meta, &me);
	op.session = me.number;
	op.nonce = me.nonce;
	return journal(cl->sh->fs->meta, c, &op, NEEDS_NOTHING, NULL, 0,
	    &cl->seq);
}

int
ship_close_session(struct ship *sh, struct why *why)
{
	struct closing cl = { sh, 0 };
	struct journal_stat j = { 0 };
	int err;

	err = sq_write(meta_sq(sh->fs->meta), close_fn, &cl);
	if (err >= 0)
		err = ship_send_ready(sh, why);
	if (err == 0)
		err = ship_pending(sh, &j);
	if (err == 0 && j.ops > 0)
		err = -EBUSY;
	if (err == 0)
		sh->opened = false;
	return err;
}

/*
 * stage_copy: one object into another store.
 *
 * What is known of its bytes beforehand: the checksums of the pieces that
 * files name (of a pack), or those of a large object of ours (sums.h), and what
 * the store that has it says of it.  Of what is there afterwards: what the
 * store that got it says, and, after a relay, the checksum of what went through
 * here where the store says that it compared this very put (store_info.summed).
 * Where these do not meet, it is read back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/relay.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/hash.h"
#include "base/log.h"
#include "fs/stage_impl.h"
#include "fs/stores.h"
#include "meta/segment.h"

#define LOOK_FIRST	(1u << 20)	/* larger ones are looked for before */
#define PATIENCE	(60 * NSEC_PER_SEC)

struct job {
	struct stage		*s;
	const struct stage_object *o;
	struct store		*to;
	const char		*key;		/* there */
	/* where it is copied from, at the moment */
	struct store		*from;
	const struct location	*at;
	struct store_info	 source;
	/* what is known of its bytes */
	bool			 have_crc;
	uint32_t		 crc;
	bool			 summed;	/* the store compared them */
	struct store_version	 put;		/* in this put */
	bool			 ended;		/* no other source helps */
	struct why		 why;		/* of the attempt at hand */
};

/* Circumstances of a call that may move all its bytes. */
static struct store_call
call_for(struct job *j)
{
	/* a name is of one session, and one host writes (L1) */
	return (struct store_call){ .why = &j->why, .tag = "stage",
	    .cancel = &j->s->stop, .sole = true,
	    .deadline = stores_deadline(PATIENCE, j->o->size) };
}

static int
errno_of(struct job *j, uint32_t store, enum store_rc rc)
{
	int err = rc == STORE_CHANGED ? -ESTALE : store_rc_errno(rc);

	/* another address says nothing of where it is now */
	if (j->s->moved == NULL || store != j->s->to)
		stores_result(j->s->f, store, rc, &j->why);
	if (err != 0 && store == j->s->to && j->s->moved == NULL) {
		j->ended = true;
		/* who takes nothing from this one takes nothing from any */
		if (rc == STORE_UNREACHABLE)
			atomic_store(&j->s->stop, true);
	}
	if (err != 0 && j->why.text[0] == '\0')
		why_set(&j->why, err, "'%s': %s", j->key, store_rc_name(rc));
	return err;
}

/* --- reading back --- */

struct reading {
	const struct stage_object *o;
	unsigned	 i;		/* piece at hand */
	uint64_t	 at, proven;	/* bytes that pieces' sums cover */
	uint32_t	 piece, all;
	bool		 wrong;
	_Atomic uint64_t *came;		/* or NULL */
};

static void
read_piece(struct reading *r, const uint8_t *p, size_t n)
{
	while (n > 0 && r->i < r->o->npieces) {
		const struct stage_piece *k = &r->o->pieces[r->i];
		uint64_t take = n;

		if (r->at < k->off) {
			if (take > k->off - r->at)
				take = k->off - r->at;
		} else {
			if (take > k->off + k->len - r->at)
				take = k->off + k->len - r->at;
			r->piece = crc32c(r->piece, p, (size_t)take);
			if (r->at + take == k->off + k->len) {
				r->wrong = r->wrong || r->piece != k->crc;
				r->proven += k->len;
				r->piece = 0;
				r->i++;
			}
		}
		r->at += take;
		p += take;
		n -= (size_t)take;
	}
	r->at += n;
}

static int
read_sink(void *arg, const void *p, size_t n)
{
	struct reading *r = arg;

	r->all = crc32c(r->all, p, n);
	if (r->came != NULL)
		atomic_fetch_add(r->came, n);
	read_piece(r, p, n);
	return 0;
}

static enum store_rc
read_whole(struct job *j, struct store *st, const char *key,
    const struct store_version *version, struct reading *ret)
{
	struct store_call c = call_for(j);
	enum store_rc rc;

	*ret = (struct reading){ .o = j->o,
	    .came = j->s->moved != NULL ? j->o->came : NULL };
	rc = store_get(st, &c, key, version, 0, 0, read_sink, ret, NULL);
	atomic_fetch_add(&j->s->read_back, ret->at);
	if (rc == STORE_OK && ret->at != j->o->size)
		rc = STORE_BROKEN;
	return rc;
}

/* 1: it is what was stored; 0: it is not; -errno. */
static int
read_back(struct job *j, const struct store_info *made)
{
	struct reading r, source;
	enum store_rc rc;

	rc = read_whole(j, j->to, j->key, &made->version, &r);
	if (rc != STORE_OK)
		return errno_of(j, j->s->to, rc);
	if (r.wrong || (j->have_crc && r.all != j->crc))
		return 0;
	if (j->have_crc || r.proven == j->o->size)
		return 1;
	rc = read_whole(j, j->from, j->at->key, &j->source.version, &source);
	if (rc != STORE_OK)
		return errno_of(j, j->at->store, rc);
	return source.all == r.all;
}

/* --- comparing --- */

/* Do the two stores say that it is the same? */
static bool
sums_agree(const struct job *j, const struct store_info *made)
{
	if ((made->sums & STORE_SUM_CRC32C) != 0 && j->have_crc)
		return made->crc32c == j->crc;
	return (made->sums & j->source.sums & STORE_SUM_MD5) != 0 &&
	    memcmp(made->md5, j->source.md5, 16) == 0;
}

/* As read_back. */
static int
is_right(struct job *j, const struct store_info *made)
{
	if (made->size != j->o->size)
		return 0;
	if ((j->summed && strcmp(j->put.text, made->version.text) == 0) ||
	    sums_agree(j, made) || made->size == 0)
		return 1;
	return read_back(j, made);
}

/* What is there now, whoever made it; -ENOENT: nothing. */
static int
look(struct job *j, struct store_info *ret)
{
	struct store_call c = call_for(j);
	enum store_rc rc;

	rc = store_head(j->to, &c, j->key, ret);
	if (rc == STORE_ABSENT && j->why.text[0] == '\0')
		return -ENOENT;
	return errno_of(j, j->s->to, rc);
}

/* What is there is ours?  0 and its version; -EEXIST. */
static int
adopt(struct job *j, struct op_object *ret)
{
	struct store_info info;
	int rc;

	rc = look(j, &info);
	if (rc == 0)
		rc = is_right(j, &info);
	if (rc == 0)
		return why_set(&j->why, -EEXIST, "store '%s' has another "
		    "object under '%s'; is it another namespace's? give each "
		    "a prefix of its own", j->s->fixed.store, j->key);
	if (rc < 0)
		return rc;
	snprintf(ret->version, sizeof ret->version, "%s", info.version.text);
	return 0;
}

/* --- copying --- */

/* What of its bytes is known before anything is moved. */
static void
know(struct job *j)
{
	const struct stage_object *o = j->o;
	uint64_t end = 0;
	uint32_t crc = 0;
	unsigned i;

	for (i = 0; i < o->npieces && o->pieces[i].off == end; i++) {
		crc = crc32c_join(crc, o->pieces[i].crc, o->pieces[i].len);
		end += o->pieces[i].len;
	}
	j->have_crc = j->summed = false;
	if (o->npieces > 0 && i == o->npieces && end == o->size) {
		j->have_crc = true;
		j->crc = crc;
	} else if (j->source.sums & STORE_SUM_CRC32C) {
		j->have_crc = true;
		j->crc = j->source.crc32c;
	}
}

/* The source as it is now: 0, -errno. */
static int
ask_source(struct job *j)
{
	struct store_call c = call_for(j);
	enum store_rc rc;

	if (stores_is_down(j->s->f, j->at->store))
		return why_set(&j->why, -EHOSTUNREACH, "the store that has it "
		    "is down");
	if (stores_get(j->s->f, j->at->store, &j->from, &j->why) != 0)
		return -EIO;
	c.once = j->s->moved != NULL;	/* it may well be there no more */
	rc = store_head(j->from, &c, j->at->key, &j->source);
	if (rc == STORE_OK && j->source.size != j->o->size)
		rc = STORE_CHANGED;
	if (rc != STORE_OK)
		return errno_of(j, j->at->store, rc);
	/* The version that is recorded is the one that counts (B5). */
	if (j->at->version[0] != '\0') {
		if (strcmp(j->source.version.text, j->at->version) != 0)
			j->source.sums = 0;
		snprintf(j->source.version.text,
		    sizeof j->source.version.text, "%s", j->at->version);
	}
	know(j);
	return 0;
}

static int
say_late(struct job *j)
{
	j->ended = true;	/* no other source helps */
	return why_set(&j->why, -EAGAIN, "store '%s' may still be at copying "
	    "'%s' itself; ask again in a quarter of an hour",
	    j->s->fixed.store, j->key);
}

/* What was made here and is wrong goes, and is made anew by the next run. */
static void
unmake(struct job *j, const struct store_info *made)
{
	struct store_call c = call_for(j);

	c.why = NULL;
	counter_add(bytes_wrong, 1);
	(void)store_del(j->to, &c, j->key, &made->version);
}

/* -EEXIST where it is there. */
static int
relay(struct job *j)
{
	struct store_call c = call_for(j);
	struct relay r = { .from = j->from, .to = j->to, .key = j->at->key,
	    .tokey = j->key, .version = j->source.version,
	    .size = j->o->size, .bytes = j->o->came };
	enum store_rc rc;

	rc = store_relay(&r, &c);
	if (rc != STORE_OK)
		return errno_of(j, r.read_rc != STORE_OK ? j->at->store :
		    j->s->to, rc);
	counter_add(stage_relayed, (int64_t)j->o->size);
	if (j->have_crc && r.crc32c != j->crc) {
		unmake(j, &r.info);
		return why_set(&j->why, -EIO, "what came from '%s' is not "
		    "what was stored", j->at->key);
	}
	j->have_crc = true;
	j->crc = r.crc32c;
	j->summed = r.info.summed;
	j->put = r.info.version;
	return 0;
}

/* The key is the object's own, the same each time (B3), so that a copy which
 * nobody waits for any more could be put over one that is recorded, as another
 * version.  Once it is there it has ended: there was one (retry.c). */
static int
came_late(struct job *j)
{
	struct store_info made;
	int rc;

	j->why.text[0] = '\0';
	rc = look(j, &made);
	if (rc == 0)
		return -EEXIST;
	stage_note_late(j->s->f, j->s->to, j->o->id);
	return rc != -ENOENT ? rc : say_late(j);
}

enum { BY_STORE = 1, BY_US = 2 };

/* By the store, or else by us, as far as `how` allows it. */
static int
move(struct job *j, unsigned how)
{
	struct store_call c = call_for(j);
	enum store_rc rc;

	if ((how & BY_STORE) == 0)
		return relay(j);
	rc = store_pull(j->to, &c, j->from, j->at->key, &j->source.version,
	    j->key, NULL);
	switch (rc) {
	case STORE_OK:
		atomic_fetch_add(&j->s->copied, j->o->size);
		counter_add(stage_copied, (int64_t)j->o->size);
		return 0;
	case STORE_EXISTS:
		return -EEXIST;
	case STORE_CHANGED:
		return errno_of(j, j->at->store, rc);
	case STORE_AMBIGUOUS:
		if ((store_caps(j->to) & STORE_PULL_KEEPS) == 0)
			return came_late(j);
		break;
	case STORE_CANCELLED:
		if ((store_caps(j->to) & STORE_PULL_KEEPS) == 0)
			stage_note_late(j->s->f, j->s->to, j->o->id);
		return errno_of(j, j->s->to, rc);
	case STORE_NOSPACE:
	case STORE_NOMEM:
		return errno_of(j, j->s->to, rc);
	case STORE_UNSUPPORTED:
		break;
	default:
		log_debug("a store does not copy by itself", "store=%s key=%s "
		    "rc=%s why=%s", j->s->fixed.store, LOG_Q(j->key),
		    store_rc_name(rc), LOG_Q(j->why.text));
		break;
	}
	if ((how & BY_US) == 0)
		return -EOPNOTSUPP;
	j->why.text[0] = '\0';
	return relay(j);
}

static int
not_right(struct job *j, const struct store_info *made)
{
	unmake(j, made);
	j->ended = true;
	return why_set(&j->why, -EIO, "what was copied to '%s' of store '%s' "
	    "is not what was stored", j->key, j->s->fixed.store);
}

static int
copy_from(struct job *j, unsigned how, struct op_object *ret)
{
	struct store_info made;
	int rc;

	rc = ask_source(j);
	if (rc == 0 && j->o->size > LOOK_FIRST) {
		rc = look(j, &made);
		rc = rc == 0 ? -EEXIST : rc == -ENOENT ? 0 : rc;
	}
	if (rc == 0)
		rc = move(j, how);
	if (rc == -EEXIST) {
		j->why.text[0] = '\0';
		rc = adopt(j, ret);
		if (rc == 0)
			atomic_fetch_add(&j->s->found, j->o->size);
		return rc;
	}
	if (rc == 0)
		rc = look(j, &made);
	if (rc == 0) {
		rc = is_right(j, &made);
		rc = rc == 1 ? 0 : rc == 0 ? not_right(j, &made) : rc;
	}
	if (rc == 0)
		snprintf(ret->version, sizeof ret->version, "%s",
		    made.version.text);
	return rc;
}

/* Has what it failed with anything to do with where it was copied from, or
 * how?  A store that does not take, or keep, what it is given gets no second
 * chance. */
static bool
may_go_on(const struct job *j, int rc)
{
	return rc != 0 && rc != -ECANCELED && rc != -EEXIST && rc != -ENOSPC &&
	    !j->ended;
}

/* From the first place, the best to read from first, that can be copied from
 * so. */
static int
copy_by(struct job *j, unsigned how, const struct locations *l,
    struct op_object *ret)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < l->n; i++) {
		j->at = &l->v[i];
		j->why.text[0] = '\0';
		rc = copy_from(j, how, ret);
		if (!may_go_on(j, rc))
			break;
	}
	return rc;
}

int
stage_copy(struct stage *s, const struct stage_object *o,
    struct op_object *ret, struct why *why)
{
	struct job j = { .s = s, .o = o };
	struct locations *l = NULL;
	char key[KEY_MAX];
	int rc;

	*ret = (struct op_object){ .id = o->id, .size = o->size,
	    .kind = o->kind, .store = s->to };
	object_key(o->id, key);
	j.key = key;
	rc = stores_get(s->f, s->to, &j.to, &j.why);
	if (rc == 0 && stage_is_late(s->f, s->to, o->id))
		rc = say_late(&j);
	if (rc == 0)
		rc = content_locations(s->f, o->id, &l);
	if (rc == 0 && l->n == 0)
		rc = why_set(&j.why, -EUCLEAN, "'%s' is in no store", j.key);
	if (rc == 0 && l->n == 1) {
		rc = copy_by(&j, BY_STORE | BY_US, l, ret);
	} else if (rc == 0) {
		/* what another place has need not pass through here */
		rc = copy_by(&j, BY_STORE, l, ret);
		if (may_go_on(&j, rc))
			rc = copy_by(&j, BY_US, l, ret);
	}
	free(l);
	if (rc != 0) {
		why_set(why, rc, "%s", why_text(&j.why, rc));
		return rc;
	}
	atomic_fetch_add(&s->objects, 1);
	atomic_fetch_add(&s->bytes, o->size);
	return 0;
}

/* --- a store that moved --- */

/* Of a file that was copied with its times nothing but the inode's number is
 * another (backends/file.c). */
static bool
same_but_inode(const char *a, const char *b)
{
	const char *x = strchr(a, '-'), *y = strchr(b, '-');

	return strncmp(a, "e:", 2) == 0 && strncmp(b, "e:", 2) == 0 &&
	    x != NULL && y != NULL && strcmp(x, y) == 0;
}

/* What another place that is recorded has of it, as is_right; -errno where
 * none answers, or it is none. */
static int
compare_with(struct job *j, const struct locations *l,
    const struct store_info *made)
{
	int rc = -ENODATA;

	for (unsigned i = 0; i < l->n && rc < 0 && rc != -ECANCELED; i++) {
		j->at = &l->v[i];
		j->why.text[0] = '\0';
		rc = ask_source(j);
		if (rc == 0)
			rc = is_right(j, made);
	}
	return rc;
}

/* Are the bytes of made those of j->o, which are recorded as *was?  As
 * is_right. */
static int
compare(struct job *j, const struct locations *l, const struct location *was,
    const struct store_info *made)
{
	struct reading r;
	enum store_rc src;
	int rc;

	if (made->size == 0)
		return 1;
	/* of what others write, no sum is recorded: as rsync goes by it */
	if (j->s->dirs && j->o->kind == OBJ_IMPORTED &&
	    same_but_inode(was->version, made->version.text))
		return 1;
	know(j);
	if (j->have_crc)
		return is_right(j, made);
	if (j->o->known) {
		src = read_whole(j, j->to, j->key, &made->version, &r);
		return src != STORE_OK ? errno_of(j, j->s->to, src) : !r.wrong;
	}
	rc = compare_with(j, l, made);
	if (rc < 0 && rc != -ECANCELED)
		return why_prefix(&j->why, -ESTALE, "'%s' is of the right "
		    "size there and of another version, and no place that has "
		    "what it was answers, to compare it with", j->key);
	return rc;
}

int
stage_compare(struct stage *s, const struct stage_object *o,
    struct op_object *ret, struct why *why)
{
	struct job j = { .s = s, .o = o, .to = s->moved };
	const struct location *was = NULL;
	struct locations *l = NULL;
	struct store_info made;
	int rc;

	*ret = (struct op_object){ .id = o->id, .size = o->size,
	    .kind = o->kind };
	rc = content_locations(s->f, o->id, &l);
	for (unsigned i = 0; rc == 0 && i < l->n; i++)
		if (l->v[i].store == s->to)
			was = &l->v[i];
	if (rc != 0 || was == NULL)
		goto out;	/* what went meanwhile needs nothing */
	j.key = was->key;
	rc = look(&j, &made);
	if (rc == -ENOENT)
		rc = why_set(&j.why, -ESTALE, "'%s' is missing there", j.key);
	else if (rc == 0 && made.size != o->size)
		rc = why_set(&j.why, -ESTALE, "'%s' has %llu bytes there, and "
		    "not %llu", j.key, (unsigned long long)made.size,
		    (unsigned long long)o->size);
	if (rc != 0)
		goto out;
	atomic_fetch_add(&s->bytes, o->size);
	if (was->version[0] == '\0' || strcmp(was->version,
	    made.version.text) == 0) {
		atomic_fetch_add(&s->found, o->size);
		goto out;
	}
	rc = compare(&j, l, was, &made);
	if (rc == 0)
		rc = why_set(&j.why, -ESTALE, "the bytes of '%s' there are "
		    "others", j.key);
	if (rc < 0)
		goto out;
	rc = 0;
	atomic_fetch_add(&s->objects, 1);
	ret->store = s->to;
	snprintf(ret->version, sizeof ret->version, "%s", made.version.text);
out:
	if (rc != 0)
		why_set(why, rc, "%s", why_text(&j.why, rc));
	free(l);
	return rc;
}

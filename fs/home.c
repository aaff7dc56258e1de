/*
 * home: gnsfs.json and MANIFEST.
 *
 * What is immutable about a namespace is one object, gnsfs.json, put if
 * absent: whoever's put it is has made the namespace, and there is nothing
 * half-made before it.  The first segment is a function of gnsfs.json alone
 * (the store `home`, the root), so that it does not matter who puts it: the
 * one who formats does at once, and had that host died between the two, the
 * first mount does (home_first_segment; ship_catchup.c).
 *
 * MANIFEST is advice and the truncation watermark (L7); a home without one
 * has an empty one.
 */
#include "fs/home.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "meta/op.h"
#include "meta/segment.h"

#define MANIFEST_KEY	"MANIFEST"
#define HOME_FORMAT	1u
#define FORMAT_TIMEOUT	(8 * NSEC_PER_SEC)

/* --- names --- */

/* A name is what a path component, a folder name and a pin can hold. */
static int
name_check(const char *name, struct why *why)
{
	size_t n = strlen(name);

	if (n == 0 || n > 64)
		return why_set(why, -EINVAL, "the name '%.80s' must have 1 to"
		    " 64 characters; choose one with --name", name);
	for (const char *p = name; *p != '\0'; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		    (*p >= '0' && *p <= '9') ||
		    (p > name && strchr("._-", *p) != NULL))
			continue;
		return why_set(why, -EINVAL, "the name '%s' may have letters,"
		    " digits, and after the first '.', '_', '-'; choose one"
		    " with --name", name);
	}
	return 0;
}

/* The last part of the prefix, else the bucket; what a name cannot have
 * becomes '-'. */
static void
name_default(const struct url *u, char ret[65])
{
	const char *p = u->prefix != NULL ? u->prefix : "";
	const char *slash = strrchr(p, '/');
	size_t n = 0;

	if (slash != NULL)
		p = slash + 1;
	if (*p == '\0')
		p = u->bucket != NULL ? u->bucket : "gnsfs";
	for (; *p != '\0' && n < 64; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') ||
		    (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');

		if (plain || (n > 0 && strchr("._-", *p) != NULL))
			ret[n++] = *p;
		else if (n > 0)
			ret[n++] = '-';
	}
	ret[n] = '\0';
	if (n == 0)
		strcpy(ret, "gnsfs");
}

static void
uuid_new(char ret[37])
{
	uint8_t r[16];
	char hex[33];

	random_bytes(r, sizeof(r));
	r[6] = (r[6] & 0x0f) | 0x40;	/* RFC 9562, version 4 */
	r[8] = (r[8] & 0x3f) | 0x80;
	hex_encode(r, sizeof(r), hex);
	snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
	    hex + 16, hex + 20);
}

/* --- gnsfs.json --- */

static int
home_print(const struct home_id *id, char **ret)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I}",
	    "name", id->name, "url", id->url, "uuid", id->uuid,
	    "format", (int)id->format,
	    "feature", (int)id->feature, "created", (json_int_t)id->created,
	    "uid", (json_int_t)id->uid, "gid", (json_int_t)id->gid);

	if (j == NULL)
		return -ENOMEM;
	*ret = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
	json_decref(j);
	return *ret == NULL ? -ENOMEM : 0;
}

static bool
uuid_is_ok(const char *s)
{
	if (strlen(s) != 36)
		return false;
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (s[i] == '-') ||
		    (!dash && strchr("0123456789abcdef", s[i]) == NULL))
			return false;
	}
	return true;
}

/* Hostile input. */
static int
home_parse(const struct buf *b, const char *url, struct home_id *ret,
    struct why *why)
{
	struct home_id id = { 0 };
	const char *name, *uuid, *url_text;
	json_int_t created, uid, gid;
	int format, feature, err = 0;
	json_t *j;

	j = json_loadb((const char *)b->p, b->len, JSON_REJECT_DUPLICATES,
	    NULL);
	if (j == NULL || json_unpack(j,
	    "{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I}",
	    "name", &name, "url", &url_text, "uuid", &uuid, "format", &format,
	    "feature", &feature, "created", &created, "uid", &uid,
	    "gid", &gid) != 0 || format < 1 || feature < 1 || uid < 0 ||
	    uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX ||
	    name_check(name, NULL) != 0 || !uuid_is_ok(uuid) ||
	    strlen(url_text) >= sizeof(id.url)) {
		err = why_set(why, -EBADMSG, "%s: %s is damaged, or not of a"
		    " gnsfs namespace; restore it from the bucket's versions"
		    " or from a backup", url, HOME_KEY);
		goto out;
	}
	if (format > (int)HOME_FORMAT || feature > (int)FEATURE_LEVEL) {
		err = why_set(why, -EPROTONOSUPPORT, "%s: the namespace '%s'"
		    " has format %d.%d and this gnsfs knows up to %u.%u;"
		    " use a newer gnsfs", url, name, format, feature,
		    HOME_FORMAT, FEATURE_LEVEL);
		goto out;
	}
	strcpy(id.name, name);
	strcpy(id.uuid, uuid);
	strcpy(id.url, url_text);
	id.format = (unsigned)format;
	id.feature = (unsigned)feature;
	id.created = created;
	id.uid = (uint32_t)uid;
	id.gid = (uint32_t)gid;
	*ret = id;
out:
	json_decref(j);
	return err;
}

int
home_damaged(const struct store *s, const char *key, const char *found,
    struct why *why)
{
	return why_set(why, -EBADMSG, "%s: %s is %s%s%s; restore it from the"
	    " bucket's versions or from a backup", s->url, key, found != NULL ?
	    "damaged (" : "missing", found != NULL ? found : "",
	    found != NULL ? ")" : "");
}

int
home_read(struct store *s, struct store_call *c, struct home_id *ret,
    struct why *why)
{
	struct buf b = BUF_INIT;
	struct store_call call = *c;
	struct why own = { "" };
	enum store_rc rc;
	int err;

	call.why = &own;
	rc = store_get_all(s, &call, HOME_KEY, HOME_JSON_MAX, &b, NULL);
	if (rc == STORE_OK) {
		err = home_parse(&b, s->url, ret, why);
	} else if (rc == STORE_ABSENT && own.text[0] == '\0') {
		err = why_set(why, -ENOENT, "there is no namespace at %s;"
		    " `gnsfs format %s` makes one", s->url, s->url);
	} else {
		err = why_set(why, store_rc_errno(rc), "%s",
		    own.text[0] != '\0' ? own.text : store_rc_name(rc));
	}
	buf_done(&b);
	return err;
}

/* --- the first segment --- */

static int
first_batch(struct batch *b, uint64_t first, const struct op *ops, unsigned n)
{
	*b = (struct batch){
		.session = HOME_SESSION,
		.nonce = HOME_SESSION,
		.first = first,
		.last = first + n - 1,
		.nops = n,
	};
	for (unsigned i = 0; i < n; i++)
		op_encode(&ops[i], &b->body);
	return buf_err(&b->body);
}

int
home_first_segment(const struct home_id *id, struct buf *out,
    uint8_t rethash[32])
{
	static const uint8_t none[32];
	struct batch b[2] = { 0 };
	struct op open = {
		.kind = OP_SESSION_OPEN,
		.session = HOME_SESSION,
		.nonce = HOME_SESSION,
		.block_first = HOME_SESSION,
		.block_count = 1,
		.first_seq = 1,
		.name = "format",
		.mtime = id->created,
	};
	struct op ops[] = {
		{
			.kind = OP_STORE,
			.ino = 1,
			.name = "home",
			.value = id->url,
			.nvalue = strlen(id->url),
		}, {
			.kind = OP_SETATTR,
			.ino = META_ROOT,
			.mask = ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME |
			    ATTR_MTIME,
			.mode = 0755,
			.uid = id->uid,
			.gid = id->gid,
			.atime = id->created,
			.mtime = id->created,
			.ctime = id->created,
		}, {
			.kind = OP_SESSION_CLOSE,
			.session = HOME_SESSION,
			.nonce = HOME_SESSION,
			.mtime = id->created,
		},
	};
	int err;

	err = first_batch(&b[0], 1, &open, 1);
	if (err == 0)
		err = first_batch(&b[1], 1, ops, 3);
	if (err == 0)
		err = segment_encode(1, none, b, 2, out, rethash);
	batch_done(&b[0]);
	batch_done(&b[1]);
	return err;
}

/* --- format --- */

static int
list_nothing(void *arg, const struct store_entry *e)
{
	return 0;
}

/* The bucket or folder is there: asked before anything is written. */
static int
format_bucket(struct store *s, struct store_call *c, struct why *why)
{
	struct store_list l = { .prefix = "log/", .max = 1 };
	struct store_call call = *c;
	struct why own = { "" };
	enum store_rc rc;

	call.why = &own;
	rc = store_list(s, &call, &l, list_nothing, NULL);
	if (rc == STORE_OK || (rc == STORE_ABSENT && own.text[0] == '\0'))
		return 0;
	/* A key may write and not list; what matters is tried next. */
	if (rc == STORE_DENIED)
		return 0;
	return why_set(why, rc == STORE_ABSENT ? -ENOENT : store_rc_errno(rc),
	    "%s", own.text[0] != '\0' ? own.text : store_rc_name(rc));
}

static int
format_fill(const struct url *u, const char *name, struct home_id *ret,
    struct why *why)
{
	struct home_id id = {
		.format = HOME_FORMAT,
		.feature = FEATURE_LEVEL,
		.created = clock_real(),
		.uid = getuid(),
		.gid = getgid(),
	};
	char *url;
	int err;

	if (name != NULL && name[0] != '\0') {
		err = name_check(name, why);
		if (err != 0)
			return err;
		strcpy(id.name, name);
	} else {
		name_default(u, id.name);
	}
	url = url_canonical(u);
	if (url == NULL)
		return -ENOMEM;
	if (strlen(url) >= sizeof(id.url)) {
		free(url);
		return why_set(why, -EINVAL, "the URL is too long");
	}
	strcpy(id.url, url);
	free(url);
	uuid_new(id.uuid);
	*ret = id;
	return 0;
}

static int
format_exists(struct store *s, struct store_call *c, struct why *why)
{
	struct home_id there;
	int err;

	err = home_read(s, c, &there, why);
	if (err == 0)
		return why_set(why, -EEXIST, "%s is the home of the namespace"
		    " '%s' (%s) already; mount it with `gnsfs mount %s DIR`",
		    s->url, there.name, there.uuid, s->url);
	return err;
}

/* Slot 1.  That it fails is no failure of format: the first mount puts it. */
static void
format_segment(struct store *s, struct store_call *c, const struct home_id *id)
{
	struct buf b = BUF_INIT;
	char key[KEY_MAX];
	uint8_t hash[32];
	enum store_rc rc;

	if (home_first_segment(id, &b, hash) == 0) {
		segment_key(1, key);
		rc = store_put_mem(s, c, key, STORE_IF_ABSENT, NULL, b.p,
		    b.len, NULL);
		if (rc != STORE_OK && rc != STORE_EXISTS)
			log_warn("the first mount will write the first"
			    " segment", "rc=%s", store_rc_name(rc));
	}
	buf_done(&b);
}

static int
format_put(struct store *s, struct store_call *c, const struct home_id *id,
    struct why *why)
{
	struct store_call call = *c;
	struct why own = { "" };
	enum store_rc rc;
	char *text;
	int err;

	err = home_print(id, &text);
	if (err != 0)
		return err;
	call.why = &own;
	rc = store_put_mem(s, &call, HOME_KEY, STORE_IF_ABSENT, NULL, text,
	    strlen(text), NULL);
	free(text);
	if (rc == STORE_OK)
		return 0;
	if (rc == STORE_EXISTS)
		return format_exists(s, c, why);
	return why_set(why, store_rc_errno(rc), "%s", own.text[0] != '\0' ?
	    own.text : store_rc_name(rc));
}

int
home_format(const char *url, const char *name, struct home_id *ret,
    struct why *why)
{
	struct stack_opts opts = { .trace_fd = -1 };
	struct store_call c = {
		.deadline = clock_mono() + FORMAT_TIMEOUT,
		.tag = "format",
	};
	struct store *s = NULL;
	struct home_id id;
	struct why absent = { "" };
	struct url u;
	int err;

	err = url_parse(url, &u, why);
	if (err != 0)
		return err;
	err = format_fill(&u, name, &id, why);
	if (err == 0)
		err = store_open(&u, &opts, &s, why);
	if (err == 0)
		err = format_bucket(s, &c, why);
	if (err != 0)
		goto out;
	err = format_exists(s, &c, &absent);
	if (err != -ENOENT) {
		(void)why_set(why, err, "%s", why_text(&absent, err));
		goto out;
	}
	err = home_conditions_new(s, &c, why);
	if (err == 0)
		err = format_put(s, &c, &id, why);
	if (err != 0)
		goto out;
	format_segment(s, &c, &id);
	*ret = id;
out:
	store_free(s);
	url_done(&u);
	return err;
}

/* --- MANIFEST --- */

/* Hostile input. */
static int
manifest_parse(const struct buf *b, struct manifest *m)
{
	json_t *j, *snaps, *v;
	json_int_t watermark, head;
	size_t i;
	int err = -EBADMSG;

	j = json_loadb((const char *)b->p, b->len, JSON_REJECT_DUPLICATES,
	    NULL);
	if (j == NULL || json_unpack(j, "{s:I, s:I, s:o}", "watermark",
	    &watermark, "head", &head, "snapshots", &snaps) != 0 ||
	    watermark < 1 || head < 0 || !json_is_array(snaps) ||
	    json_array_size(snaps) > MANIFEST_SNAPSHOTS)
		goto out;
	m->watermark = (uint64_t)watermark;
	m->head = (uint64_t)head;
	m->nsnaps = 0;
	json_array_foreach(snaps, i, v) {
		json_int_t lsn = json_integer_value(v);

		if (!json_is_integer(v) || lsn < 1 || (m->nsnaps > 0 &&
		    (uint64_t)lsn <= m->snaps[m->nsnaps - 1]))
			goto out;
		m->snaps[m->nsnaps++] = (uint64_t)lsn;
	}
	/* L7: what a snapshot does not have is in the log */
	if (m->watermark > (m->nsnaps > 0 ? m->snaps[m->nsnaps - 1] : 0) + 1)
		goto out;
	err = 0;
out:
	json_decref(j);
	return err;
}

int
manifest_read(struct store *s, struct store_call *c, struct manifest *ret,
    struct why *why)
{
	struct manifest m = { .watermark = 1 };
	struct store_call call = *c;
	struct buf b = BUF_INIT;
	struct store_info info;
	struct why own = { "" };
	enum store_rc rc;
	int err = 0;

	call.why = &own;
	rc = store_get_all(s, &call, MANIFEST_KEY, HOME_JSON_MAX, &b, &info);
	if (rc == STORE_OK) {
		err = manifest_parse(&b, &m);
		if (err != 0)
			(void)home_damaged(s, MANIFEST_KEY, "no list of"
			    " snapshots", why);
		m.version = info.version;
	} else if (rc == STORE_ABSENT && own.text[0] != '\0') {
		/* not the object: what holds it */
		err = why_set(why, -EHOSTUNREACH, "%s", own.text);
	} else if (rc != STORE_ABSENT) {
		err = why_set(why, store_rc_errno(rc), "%s",
		    own.text[0] != '\0' ? own.text : store_rc_name(rc));
	}
	if (err == 0)
		*ret = m;
	buf_done(&b);
	return err;
}

static int
manifest_print(const struct manifest *m, char **ret)
{
	json_t *j, *snaps = json_array();

	for (unsigned i = 0; snaps != NULL && i < m->nsnaps; i++)
		if (json_array_append_new(snaps,
		    json_integer((json_int_t)m->snaps[i])) != 0) {
			json_decref(snaps);
			return -ENOMEM;
		}
	j = json_pack("{s:I, s:I, s:o}", "watermark",
	    (json_int_t)m->watermark, "head", (json_int_t)m->head,
	    "snapshots", snaps);
	if (j == NULL)
		return -ENOMEM;
	*ret = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
	json_decref(j);
	return *ret == NULL ? -ENOMEM : 0;
}

int
manifest_write(struct store *s, struct store_call *c, struct manifest *m,
    struct why *why)
{
	bool fresh = m->version.text[0] == '\0';
	struct store_call call = *c;
	struct store_info info;
	struct why own = { "" };
	enum store_rc rc;
	char *text;
	int err;

	err = manifest_print(m, &text);
	if (err != 0)
		return err;
	call.why = &own;
	rc = store_put_mem(s, &call, MANIFEST_KEY,
	    fresh ? STORE_IF_ABSENT : STORE_IF_MATCH,
	    fresh ? NULL : &m->version, text, strlen(text), &info);
	free(text);
	if (rc == STORE_OK) {
		m->version = info.version;
		return 0;
	}
	if (rc == STORE_EXISTS || rc == STORE_CHANGED)
		return -EAGAIN;
	return why_set(why, store_rc_errno(rc), "%s", own.text[0] != '\0' ?
	    own.text : store_rc_name(rc));
}

/*
 * store_check: what one store does of what gnsfs asks of stores, found out by
 * asking it (`gnsfs store check`).
 *
 * Every store is listed and read from.  Writing is tried only where gnsfs
 * writes (the home), or where it was asked for (B2), under keys of its own
 * that are removed again.  What a store lacks is told with what that costs;
 * only what gnsfs cannot do without makes the check fail.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fs/control_impl.h"
#include "fs/stores.h"

#define CHECK_TIME	(60 * NSEC_PER_SEC)
#define LARGE		(UINT64_C(17) << 20)	/* more than one put takes */
#define KEY_BYTES	1024	/* of a key: store.h */
#define SKEW_MAX	(60 * NSEC_PER_SEC)
#define LEFT_AFTER	(7 * 24 * 3600 * NSEC_PER_SEC)

enum need { NEEDED, WANTED };

struct probe {
	struct ctl		*c;
	struct store		*s;
	struct store_call	 call;
	struct why		 why;	/* of the step under way */
	unsigned		 missing;
	char			 key[64], copy[64], large[64];
	/* of what was listed */
	char			 found[KEY_BYTES + 1];
	struct store_info	 info;
	unsigned		 listed;
};

/* One step's outcome, told as an item; rc: what it ended with. */
static bool
tell(struct probe *p, const char *step, bool ok, enum store_rc rc,
    enum need need, const char *costs)
{
	const char *why = ok ? "" : p->why.text[0] != '\0' ? p->why.text :
	    rc != STORE_OK ? store_rc_name(rc) :
	    strstr(step, "refused") != NULL ? "it was done all the same" :
	    "what came is not what was put";

	if (!ok && need == NEEDED)
		p->missing++;
	(void)ctl_item(p->c, json_pack("{s:s, s:b, s:b, s:s, s:s}", "step",
	    step, "ok", ok, "needed", need == NEEDED, "why", why, "costs",
	    ok ? "" : costs));
	p->why.text[0] = '\0';
	return ok;
}

/* --- reading --- */

static int
list_one(void *arg, const struct store_entry *e)
{
	struct probe *p = arg;

	p->listed++;
	if (!e->is_prefix && e->info.size > 0 && p->found[0] == '\0' &&
	    strlen(e->key) <= KEY_BYTES) {
		strcpy(p->found, e->key);
		p->info = e->info;
	}
	return 0;
}

static int
take_byte(void *arg, const void *b, size_t n)
{
	*(uint64_t *)arg += n;
	return 0;
}

static void
probe_reads(struct probe *p, bool home)
{
	struct store_list l = { .prefix = "", .max = 100 };
	uint64_t got = 0;
	enum store_rc rc;

	rc = store_list(p->s, &p->call, &l, list_one, p);
	tell(p, "list", rc == STORE_OK, rc, home ? WANTED : NEEDED, home ?
	    "nothing that is done now; a collector of garbage will list" :
	    "nothing of it can be imported");
	if (p->found[0] == '\0')
		return;
	rc = store_get(p->s, &p->call, p->found, &p->info.version,
	    p->info.size - 1, 1, take_byte, &got, NULL);
	tell(p, "read a range", rc == STORE_OK && got == 1, rc, NEEDED,
	    "no file there can be read");
}

/* --- writing --- */

/* The conditions are left to the store, which alone can keep writers apart.
 * Data needs none of them: each object has a name of its own (L1). */
static void
probe_conditions(struct probe *p, struct store_info *info, bool home)
{
	enum need need = home ? NEEDED : WANTED;
	struct store_call raw = p->call;
	struct store_info old;
	enum store_rc rc;

	raw.probe = true;
	rc = store_put_mem(p->s, &raw, p->key, STORE_IF_ABSENT, NULL,
	    "original", 8, NULL);
	tell(p, "put if absent is refused where there is one", rc ==
	    STORE_EXISTS, rc, need, "two hosts could both write the next "
	    "record of the log, and one would be lost: it can be no home");
	/* as it is now, whatever became of that */
	if (store_head(p->s, &p->call, p->key, info) != STORE_OK)
		return;
	old = *info;
	rc = store_put_mem(p->s, &raw, p->key, STORE_IF_MATCH, &old.version,
	    "changed!", 8, info);
	tell(p, "replace if unchanged", rc == STORE_OK, rc, need,
	    "MANIFEST cannot be kept: it can be no home");
	if (rc != STORE_OK) {
		(void)store_put_mem(p->s, &p->call, p->key, STORE_ALWAYS, NULL,
		    "changed!", 8, info);
		return;
	}
	rc = store_put_mem(p->s, &raw, p->key, STORE_IF_MATCH, &old.version,
	    "changed!", 8, NULL);
	tell(p, "replace is refused where it changed", rc == STORE_CHANGED, rc,
	    need, "what another host wrote to MANIFEST would be lost: it "
	    "can be no home");
	if (rc == STORE_OK)
		(void)store_head(p->s, &p->call, p->key, info);
}

static void
probe_get(struct probe *p, const struct store_info *info)
{
	struct store_info was = *info;
	struct buf got = BUF_INIT;
	enum store_rc rc;
	uint64_t n = 0;
	size_t len;

	rc = store_get_all(p->s, &p->call, p->key, 64, &got, NULL);
	tell(p, "get what was put", rc == STORE_OK && got.len == 8 &&
	    memcmp(got.p, "changed!", 8) == 0, rc, NEEDED,
	    "nothing that is written there can be believed");
	buf_done(&got);
	rc = store_get(p->s, &p->call, p->key, &info->version, 3, 2, take_byte,
	    &n, NULL);
	tell(p, "get a range of it", rc == STORE_OK && n == 2, rc, NEEDED,
	    "large files cannot be read");
	len = strlen(was.version.text);
	if (len < 4)
		return;
	was.version.text[len - 2] ^= 1;
	rc = store_get(p->s, &p->call, p->key, &was.version, 0, 0, take_byte,
	    &n, NULL);
	tell(p, "get is refused of another version", rc == STORE_CHANGED, rc,
	    NEEDED, "bytes of two versions could be mixed in one file");
}

static void
probe_lists(struct probe *p)
{
	struct store_list l = { .prefix = p->key, .max = 2 };
	enum store_rc rc;

	p->listed = 0;
	rc = store_list(p->s, &p->call, &l, list_one, p);
	tell(p, "list what was just put", rc == STORE_OK && p->listed == 1, rc,
	    WANTED, "an import may miss what is newest");
}

/* Bytes that tell by their values where they are. */
static int
pattern(void *arg, void *buf, size_t n, uint64_t off)
{
	uint8_t *b = buf;

	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)((off + i) ^ (off + i) >> 8 ^ (off + i) >> 16);
	return (int)n;
}

struct compare { uint64_t off; bool same; };

static int
compare(void *arg, const void *b, size_t n)
{
	struct compare *m = arg;
	const uint8_t *p = b;
	uint8_t want;

	for (size_t i = 0; i < n; i++) {
		(void)pattern(NULL, &want, 1, m->off++);
		m->same = m->same && p[i] == want;
	}
	return 0;
}

static void
probe_large(struct probe *p)
{
	struct store_src src = { .size = LARGE, .read = pattern };
	struct store_call raw = p->call;
	struct compare m = { .off = LARGE / 2 - 1000, .same = true };
	struct store_info info = { 0 };
	enum store_rc rc;

	rc = store_put(p->s, &p->call, p->large, STORE_IF_ABSENT, NULL, &src,
	    &info);
	if (!tell(p, "put a large one, in parts", rc == STORE_OK, rc, NEEDED,
	    "files of more than 16 MiB cannot be stored"))
		return;
	rc = store_get(p->s, &p->call, p->large, &info.version, m.off, 2000,
	    compare, &m, NULL);
	tell(p, "get the middle of it", rc == STORE_OK && m.same &&
	    m.off == LARGE / 2 + 1000, rc, NEEDED,
	    "large files are not what was written");
	raw.probe = true;
	rc = store_put(p->s, &raw, p->large, STORE_IF_ABSENT, NULL, &src,
	    NULL);
	tell(p, "put in parts is refused where there is one", rc ==
	    STORE_EXISTS, rc, WANTED, "an object that is there could be "
	    "written over; gnsfs gives each a name of its own");
}

static void
probe_copy(struct probe *p, const struct store_info *info)
{
	enum store_rc rc;

	rc = store_copy(p->s, &p->call, p->key, &info->version, p->copy, NULL);
	tell(p, "copy within it", rc == STORE_OK, rc, WANTED,
	    "copies there pass through this host");
}

/* The condition is left to the store: it alone can keep what came between. */
static void
probe_delete(struct probe *p, const struct store_info *old,
    const struct store_info *info)
{
	struct store_call raw = p->call;
	struct store_info now;
	enum store_rc rc;

	raw.probe = true;
	rc = store_del(p->s, &raw, p->key, &old->version);
	tell(p, "delete is refused where it changed", rc == STORE_CHANGED, rc,
	    WANTED, "what another host wrote in the moment of a deletion is "
	    "deleted with it; gnsfs looks before, which leaves a moment");
	rc = store_del(p->s, &p->call, p->key, NULL);
	if (rc == STORE_OK) {
		rc = store_head(p->s, &p->call, p->key, &now);
		tell(p, "delete", rc == STORE_ABSENT, rc, WANTED,
		    "what is not needed any more stays, and is paid for");
		return;
	}
	tell(p, "delete", false, rc, WANTED,
	    "what is not needed any more stays, and is paid for");
}

static void
probe_clock(struct probe *p, const struct store_info *info, int64_t before)
{
	int64_t after = clock_real(), skew = 0;
	char costs[160];

	if (info->mtime < before - NSEC_PER_SEC)
		skew = info->mtime - before;
	else if (info->mtime > after)
		skew = info->mtime - after;
	snprintf(costs, sizeof(costs), "its times are %+lld s from this "
	    "host's; from 15 minutes on S3 refuses every request",
	    (long long)(skew / NSEC_PER_SEC));
	why_set(&p->why, 0, "set this host's clock, or the store's");
	tell(p, "clocks agree", skew < SKEW_MAX && skew > -SKEW_MAX, STORE_OK,
	    WANTED, costs);
}

/* --- what dead hosts have left --- */

struct leftover { int64_t before; unsigned n; uint64_t bytes; };

/* Is it a name that gnsfs gives: of an object, a piece, a part, a check's? */
static bool
is_our_name(const char *key)
{
	unsigned long long session, n;
	unsigned x;
	int end = 0;

	if (sscanf(key, "data/%2x/%llx-%llx%n", &x, &session, &n, &end) == 3)
		return key[end] == '\0' && (n & 0xff) == x;
	if (sscanf(key, "piece/%2x/%n", &x, &end) == 1 && end == 9)
		return strlen(key + end) == 64 &&
		    strspn(key + end, "0123456789abcdef") == 64;
	return strncmp(key, "gnsfs-large-", 12) == 0 ||
	    strncmp(key, ".gnsfs-parts/", 13) == 0;
}

static int
count_left(void *arg, const struct store_entry *e)
{
	struct leftover *l = arg;

	if (e->info.mtime < l->before && is_our_name(e->key)) {
		l->n++;
		l->bytes += e->info.size;
	}
	return 0;
}

/* Parts of large puts that were cut off; only what is a week old is no put
 * that goes on.  They are told, not removed: where two namespaces share a
 * prefix their names do not say whose they are. */
static void
probe_left(struct probe *p)
{
	struct leftover l = { .before = clock_real() - LEFT_AFTER };
	struct store *bare = store_bare(p->s);
	enum store_rc rc;

	if (bare->ops->left == NULL)
		return;
	rc = bare->ops->left(bare, &p->call, count_left, &l);
	if (rc == STORE_UNSUPPORTED)
		return;
	if (rc == STORE_OK && l.bytes > 0)
		why_set(&p->why, 0, "%u objects below .gnsfs-parts/, %llu "
		    "bytes, are parts of puts that ended more than a week "
		    "ago", l.n, (unsigned long long)l.bytes);
	else if (rc == STORE_OK && l.n > 0)
		why_set(&p->why, 0, "%u put%s in parts begun more than a week "
		    "ago %s not ended", l.n, l.n == 1 ? "" : "s", l.n == 1 ?
		    "has" : "have");
	tell(p, "no parts of dead puts", rc == STORE_OK && l.n == 0, rc,
	    WANTED, rc != STORE_OK ? "it is not known whether there are any, "
	    "to be paid for" : "they are paid for; a lifecycle rule of the "
	    "bucket removes them (gnsfs(5), PARTS THAT STAY)");
}

/* Nothing of the check stays; what could not be removed is named. */
static void
clean_up(struct probe *p)
{
	const char *keys[] = { p->key, p->copy, p->large };
	enum store_rc rc;

	for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		rc = store_del(p->s, &p->call, keys[i], NULL);
		if (rc == STORE_OK)
			continue;
		why_prefix(&p->why, 0, "%s", keys[i]);
		tell(p, "clean up", false, rc, WANTED, "the object that is "
		    "named stays in the store: remove it by hand");
	}
}

static void
probe_writes(struct probe *p, bool home)
{
	struct store_info first = { 0 }, info = { 0 };
	int64_t before = clock_real();
	uint64_t r = random_u64();
	enum store_rc rc;

	snprintf(p->key, sizeof p->key, "gnsfs-check-%016" PRIx64, r);
	snprintf(p->copy, sizeof p->copy, "gnsfs-copy-%016" PRIx64, r);
	snprintf(p->large, sizeof p->large, "gnsfs-large-%016" PRIx64, r);
	rc = store_put_mem(p->s, &p->call, p->key, STORE_IF_ABSENT, NULL,
	    "original", 8, &first);
	if (!tell(p, "put if absent", rc == STORE_OK, rc, NEEDED,
	    "nothing can be stored there"))
		return;
	rc = store_head(p->s, &p->call, p->key, &info);
	if (rc == STORE_OK)
		probe_clock(p, &info, before);
	info = first;
	probe_conditions(p, &info, home);
	probe_get(p, &info);
	probe_lists(p);
	probe_large(p);
	probe_copy(p, &info);
	probe_delete(p, &first, &info);
	clean_up(p);
}

int
ctl_store_check(struct ctl *c, const char *name, uint32_t id, bool write)
{
	struct probe *p = calloc(1, sizeof(*p));
	bool home = id == STORE_HOME_ID;
	int rc;

	if (p == NULL)
		return -ENOMEM;
	p->c = c;
	rc = stores_get(c->f, id, &p->s, &c->why);
	if (rc != 0)
		goto out;
	p->call = (struct store_call){ .why = &p->why, .tag = "check",
	    .sole = true, .deadline = clock_mono() + CHECK_TIME };
	probe_reads(p, home);
	if (home || write) {
		probe_writes(p, home);
		probe_left(p);
	}
	if (p->missing > 0)
		rc = why_set(&c->why, -EIO, "store '%s' lacks %u thing%s that "
		    "gnsfs needs of it: each is said with what it costs",
		    name, p->missing, p->missing == 1 ? "" : "s");
out:
	free(p);
	return rc;
}

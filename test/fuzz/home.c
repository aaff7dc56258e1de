/*
 * home: gnsfs.json and MANIFEST as a hostile store gives them.  The first
 * byte says which; an even one makes MANIFEST, an odd one gnsfs.json, of the
 * rest.
 */
#include <errno.h>

#include "fuzz.h"

#include "backends/store.h"
#include "base/buf.h"
#include "fs/home.h"

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)

/* A store of one object. */
static struct buf object;

static enum store_rc
get(struct store *s, struct store_call *c, const char *key,
    const struct store_version *version, uint64_t off, uint64_t len,
    store_sink *sink, void *arg, struct store_info *ret)
{
	if (ret != NULL)
		*ret = (struct store_info){ .size = object.len,
		    .version = { "e:\"1\"" } };
	return sink(arg, object.p, object.len) == 0 ? STORE_OK :
	    STORE_CANCELLED;
}

static enum store_rc
put(struct store *s, struct store_call *c, const char *key,
    enum store_cond cond, const struct store_version *match,
    const struct store_src *src, struct store_info *ret)
{
	uint8_t *p;

	buf_reset(&object);
	p = buf_grow(&object, src->size);
	if (p == NULL || src->read(src->arg, p, src->size, 0) !=
	    (int)src->size)
		abort();
	object.len = src->size;
	if (ret != NULL)
		*ret = (struct store_info){ .version = { "e:\"2\"" } };
	return STORE_OK;
}

static const struct store_ops ops = { .get = get, .put = put };
static struct store store = { &ops, "s3://lake/home" };

static void
manifest(struct store_call *c)
{
	struct manifest m, again;
	struct why why = { "" };
	int err;

	err = manifest_read(&store, c, &m, &why);
	HOLDS(err == 0 || err == -EBADMSG || err == -ENOMEM || err == -EIO);
	HOLDS(err == 0 || why.text[0] != '\0');
	if (err != 0)
		return;
	HOLDS(m.watermark >= 1 && m.nsnaps <= MANIFEST_SNAPSHOTS);
	for (unsigned i = 0; i < m.nsnaps; i++)
		HOLDS(m.snaps[i] > (i > 0 ? m.snaps[i - 1] : 0));
	/* What is read is written and read again to the same. */
	HOLDS(manifest_write(&store, c, &m, &why) == 0);
	HOLDS(manifest_read(&store, c, &again, &why) == 0);
	HOLDS(again.watermark == m.watermark && again.head == m.head);
	HOLDS(again.nsnaps == m.nsnaps && memcmp(again.snaps, m.snaps,
	    m.nsnaps * sizeof m.snaps[0]) == 0);
}

static void
identity(struct store_call *c)
{
	struct buf first = BUF_INIT;
	struct segment seg;
	struct home_id id;
	struct why why = { "" };
	uint8_t hash[32];
	int err;

	err = home_read(&store, c, &id, &why);
	HOLDS(err == 0 || why.text[0] != '\0');
	if (err != 0)
		return;
	HOLDS(id.name[0] != '\0' && strchr(id.name, '/') == NULL);
	HOLDS(strlen(id.uuid) == 36);
	HOLDS(strlen(id.url) < sizeof id.url);
	/* The first segment that follows from it is one. */
	HOLDS(home_first_segment(&id, &first, hash) == 0);
	HOLDS(segment_decode(first.p, first.len, 1, &seg, &why) == 0);
	segment_done(&seg);
	buf_done(&first);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct store_call c = { .tag = "fuzz" };

	if (n == 0)
		return 0;
	buf_reset(&object);
	buf_put(&object, p + 1, n - 1);
	if ((p[0] & 1) == 0)
		manifest(&c);
	else
		identity(&c);
	return 0;
}

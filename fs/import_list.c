/* See import_list.h. */
#include "fs/import_list.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "fs/stores.h"

#define LISTS_AT_ONCE	8u
#define PROGRESS_EVERY	1000u
/* A store out of reach is told of soon; a listing may then take its time. */
#define FIRST_TIMEOUT	(7 * NSEC_PER_SEC)

static int
listed(void *arg, const struct store_entry *e)
{
	struct import_list *l = arg;
	size_t np = strlen(l->prefix);

	if (e->is_prefix || strncmp(e->key, l->prefix, np) != 0)
		return 0;
	l->err = import_add(l->imp, e->key + np, e->info.size, e->info.mtime,
	    e->info.version.text);
	if (l->err != 0)
		return 1;
	l->keys++;
	l->bytes += e->info.size;
	if (l->keys % PROGRESS_EVERY == 0 && l->progress != NULL &&
	    l->progress(l->arg, l->keys, l->bytes) != 0)
		l->err = -ECANCELED;
	else if (atomic_load(&l->f->stopping) || atomic_load(l->cancel))
		l->err = -ECANCELED;
	return l->err != 0;
}

static int
ignored(void *arg, const struct store_entry *e)
{
	return 0;
}

int
import_list(struct import_list *l, struct why *why)
{
	struct walk_opts wo = { .parallel = LISTS_AT_ONCE };
	struct store_list first = { .prefix = l->prefix, .max = 1 };
	struct why own = { "" };
	struct store_call c = { .tag = l->tag, .cancel = l->cancel,
	    .why = &own, .deadline = clock_mono() + FIRST_TIMEOUT };
	int64_t t0 = clock_mono();
	enum store_rc rc;

	rc = store_list(l->store, &c, &first, ignored, NULL);
	c.deadline = 0;
	if (rc == STORE_OK)
		rc = store_walk(l->store, &c, l->prefix, &wo, listed, l);
	l->took = clock_mono() - t0;
	if (l->store_id != 0)
		stores_result(l->f, l->store_id, rc, &own);
	if (l->err == -ECANCELED || rc == STORE_CANCELLED)
		return why_set(why, -ECANCELED, "it was cancelled");
	if (l->err != 0)
		return why_set(why, l->err, "%s: a key cannot be imported: %s",
		    l->store->url, strerror(-l->err));
	if (rc == STORE_ABSENT)
		return why_set(why, -ENOENT, "%s", own.text[0] != '\0' ?
		    own.text : "there is no such bucket");
	if (rc != STORE_OK)
		return why_set(why, store_rc_errno(rc), "%s",
		    own.text[0] != '\0' ? own.text : store_rc_name(rc));
	if (l->progress != NULL)
		(void)l->progress(l->arg, l->keys, l->bytes);
	return 0;
}

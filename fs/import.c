/*
 * import: a bucket's keys become a tree without a byte being copied.
 *
 *   list (in parallel) → build the tree, pieces to a spool and from there to
 *   the home, several at once → load them, hidden → one transaction: parents,
 *   the store if it is new, the attach → in the log
 *
 * Until that transaction nothing of it is in the namespace: a failure takes
 * the hidden rows away again and deletes the pieces it put; a crash leaves
 * rows that the next start purges (ship_start) and pieces that nobody names.
 */
#include "fs/import_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/import_list.h"
#include "fs/import_tags.h"
#include "fs/ship.h"
#include "fs/stores.h"
#include "meta/query.h"
#include "meta/segment.h"

/* --- where to --- */

static int
check_path(struct importing *im, struct why *why)
{
	const char *path = im->r->path;
	struct sqc *c;
	struct attr a;
	size_t np;
	int err;

	if (path[0] != '/' || import_last_part(path, &np)[0] == '\0')
		return why_set(why, -EINVAL, "'%s' is not a path to import"
		    " to: name a directory below the root", path);
	err = sq_read(meta_sq(im->f->meta), &c);
	if (err != 0)
		return err;
	err = meta_resolve(c, path, &a);
	if (err == 0 && (!S_ISDIR(a.mode) || !meta_dir_is_empty(c, a.ino)))
		err = why_set(why, -EEXIST, "'%s' exists and is not an empty"
		    " directory; choose another path", path);
	else if (err == 0 && (a.flags & INODE_IMPORTED) != 0)
		err = why_set(why, -EROFS, "'%s' is in an import, which is"
		    " read-only; choose another path", path);
	else if (err == -ENOTDIR)
		err = why_set(why, err, "a part of '%s' is not a directory;"
		    " choose another path", path);
	else if (err == -ENOENT)
		err = 0;
	sq_read_end(c);
	return err;
}

/* --- listing --- */

static int
list_keys(struct importing *im, struct why *why)
{
	struct import_list l = { .f = im->f, .store = im->store,
	    .store_id = im->store_is_new ? 0 : im->store_id,
	    .prefix = im->prefix, .tag = "import", .imp = im->imp,
	    .cancel = &im->cancel, .progress = im->r->progress,
	    .arg = im->r->arg };
	int err;

	err = import_list(&l, why);
	im->t_list = l.took;
	if (err == 0 && l.keys == 0 && im->prefix[0] != '\0')
		err = why_set(why, -ENOENT, "%s: no key begins with '%s';"
		    " is the prefix right?", im->r->url, im->prefix);
	return err;
}

/* --- tags --- */

static int
tags_progress(void *arg, uint64_t files)
{
	struct importing *im = arg;

	return im->r->progress != NULL ? im->r->progress(im->r->arg, files,
	    im->st.bytes) : 0;
}

static int
add_tags(struct importing *im, struct why *why)
{
	struct import_tags t = { .f = im->f, .root = im->st.lo,
	    .cancel = &im->cancel, .progress = tags_progress, .arg = im };
	int err;

	err = import_tags(&t, why);
	if (err == 0 && t.seq != 0)
		err = ship_land(im->f, t.seq, why);
	im->tags = t.set;
	if (err != 0)
		why_prefix(why, err, "'%s' is imported, but not all of its"
		    " tags; `gnsfs refresh` asks for them again",
		    im->r->path);
	return err;
}

/* --- all of it --- */

static void
take_back(struct importing *im)
{
	struct store_call c = { .tag = "import", .once = true,
	    .deadline = clock_mono() + 5 * NSEC_PER_SEC };
	char key[KEY_MAX];

	if (im->loaded && import_load_abort(im->f->meta, im->st.lo) < 0)
		log_warn("rows of a failed import are purged at the next"
		    " mount", "path=%s", LOG_Q(im->r->path));
	for (size_t i = 0; i < im->n; i++) {
		if (!im->v[i].ours)
			continue;
		piece_key(im->v[i].hash, key);
		if (store_del(im->home, &c, key, NULL) != STORE_OK)
			break;
	}
}

static int
import_run(struct importing *im, struct why *why)
{
	const struct import_request *r = im->r;
	struct import_opts opts = {
		.uid = r->uid,
		.gid = r->gid,
		.file_mode = 0644,
		.dir_mode = 0755,
		.root_mtime = clock_real(),
	};
	int err;

	if (r->file_mode >= 0) {
		opts.file_mode = (uint32_t)r->file_mode & 0777;
		/* who may read a directory may enter it */
		opts.dir_mode = opts.file_mode |
		    (opts.file_mode & 0444) >> 2;
	}
	err = check_path(im, why);
	if (err == 0)
		err = import_find_store(im, why);
	if (err == 0)
		err = stores_get(im->f, STORE_HOME_ID, &im->home, why);
	if (err == 0)
		err = import_spool_open(im, why);
	if (err != 0)
		return err;
	opts.store = im->store_id;
	opts.prefix = im->prefix;
	err = import_new(im->f->meta, &opts, &im->imp);
	if (err == 0)
		err = list_keys(im, why);
	if (err == 0 && r->tags)
		err = import_tags_check(im->store, im->prefix, why);
	if (err == 0)
		err = import_build(im, why);
	if (err == 0)
		err = import_attach(im, why);
	if (err == 0 && r->tags)
		err = add_tags(im, why);
	return err;
}

static void
import_log(const struct importing *im)
{
	log_info("imported", "url=%s path=%s files=%" PRIu64 " dirs=%" PRIu64
	    " bytes=%" PRIu64 " pieces=%" PRIu64 " list_ms=%" PRId64
	    " build_ms=%" PRId64 " load_ms=%" PRId64 " land_ms=%" PRId64,
	    LOG_Q(im->r->url), LOG_Q(im->r->path), im->st.files, im->st.dirs,
	    im->st.bytes, im->st.pieces, im->t_list / NSEC_PER_MSEC,
	    im->t_build / NSEC_PER_MSEC, im->t_load / NSEC_PER_MSEC,
	    im->t_land / NSEC_PER_MSEC);
}

int
fs_import(struct fs *f, const struct import_request *r,
    struct import_result *ret, struct why *why)
{
	struct importing *im = calloc(1, sizeof(*im));
	int err;

	if (im == NULL)
		return -ENOMEM;
	im->f = f;
	im->r = r;
	im->fd = -1;
	lock_init(&im->lock, RANK_IMPORT, "import");
	cond_init(&im->more);
	err = fs_may_add(f);
	if (err == -ENOSPC)
		why_set(why, err, "the disk of %s is full", f->state_dir);
	else if (err != 0)
		why_set(why, err, "this mount is read-only; `gnsfs status`"
		    " says why");
	if (err == 0)
		err = url_parse(r->url, &im->url, why);
	if (err == 0)
		err = import_run(im, why);
	if (err == 0) {
		*ret = (struct import_result){ im->st.files, im->st.dirs,
		    im->st.bytes, im->st.escaped, im->store_id,
		    im->tags };
		import_log(im);
	} else {
		take_back(im);
	}
	import_free(im->imp);
	if (im->fd >= 0)
		(void)sys.close(im->fd);
	store_free(im->opened);
	url_done(&im->url);
	url_done(&im->store_url);
	free(im->store_text);
	free(im->prefix);
	free(im->v);
	buf_done(&im->hashes);
	cond_done(&im->more);
	lock_done(&im->lock);
	free(im);
	return err;
}

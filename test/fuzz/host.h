/*
 * host: a mount without FUSE, whole, for targets that need one: its home a
 * folder below TMPDIR, in its tree a few files.  store_open() is the target's
 * (--wrap, fuzz.mk): no other store than the home is ever opened.
 */
#ifndef TEST_FUZZ_HOST_H
#define TEST_FUZZ_HOST_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/store.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/fs.h"
#include "fs/home.h"
#include "fs/io.h"
#include "meta/journal.h"
#include "meta/query.h"

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)

static struct host {
	char		 dir[200], url[300];
	struct fs	*f;
	/* put over the home's store; NULL: nothing is */
	struct store	*(*layer)(struct store *below);
} host;

int	__real_store_open(const struct url *u, const struct stack_opts *opts,
	    struct store **ret, struct why *why);
int	__wrap_store_open(const struct url *u, const struct stack_opts *opts,
	    struct store **ret, struct why *why);

int
__wrap_store_open(const struct url *u, const struct stack_opts *opts,
    struct store **ret, struct why *why)
{
	int err;

	if (strcmp(u->text, host.url) != 0)
		return why_set(why, -EHOSTUNREACH, "there is no other store");
	err = __real_store_open(u, opts, ret, why);
	if (err == 0 && host.layer != NULL)
		*ret = host.layer(*ret);
	return err;
}

static inline int
host_remove(const char *path, const struct stat *st, int type, struct FTW *w)
{
	return remove(path);
}

static inline void
host_down(void)
{
	if (host.f != NULL)
		(void)fs_stop(host.f, clock_mono() + 5 * NSEC_PER_SEC);
	host.f = NULL;
	if (host.dir[0] != '\0')
		nftw(host.dir, host_remove, 16, FTW_DEPTH | FTW_PHYS);
	host.dir[0] = '\0';
}

struct host_op {
	struct op	 op;
	const void	*bytes;		/* of an extents op */
	size_t		 n;
};

static inline int
host_journal_tx(struct sqc *c, void *arg)
{
	struct host_op *o = arg;
	uint64_t seq;

	return journal(host.f->meta, c, &o->op, o->bytes != NULL ?
	    NEEDS_PACK : NEEDS_NOTHING, o->bytes, o->n, &seq);
}

static inline void
host_journal(const struct op *op, const void *bytes, size_t n)
{
	struct host_op o = { *op, bytes, n };

	HOLDS(sq_write(meta_sq(host.f->meta), host_journal_tx, &o) == 0);
}

/* A directory, or a small file of these bytes: its inode. */
static inline uint64_t
host_make(uint64_t parent, const char *name, const void *bytes, size_t n)
{
	struct op op = { .kind = bytes != NULL ? OP_CREATE : OP_MKDIR,
	    .parent = parent, .name = name, .mode = bytes != NULL ?
	    S_IFREG | 0644 : 0755, .mtime = 1000, .ctime = 1000,
	    .ino = meta_new_id(host.f->meta) };
	uint64_t ino = op.ino;

	HOLDS(ino != 0);
	host_journal(&op, NULL, 0);
	if (bytes != NULL) {
		op = (struct op){ .kind = OP_EXTENTS, .ino = ino, .size = n,
		    .mtime = 2000, .ctime = 2000 };
		host_journal(&op, bytes, n);
	}
	return ino;
}

static inline void
host_up(void)
{
	const char *tmp = getenv("TMPDIR");
	struct fs_options o;
	struct home_id id;
	struct why why = { "" };
	char home[250], state[250];

	log_set_level(LOG_ERROR_L);
	snprintf(host.dir, sizeof host.dir, "%s/gnsfs-fuzz-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	HOLDS(mkdtemp(host.dir) != NULL);
	snprintf(home, sizeof home, "%s/home", host.dir);
	snprintf(state, sizeof state, "%s/state", host.dir);
	snprintf(host.url, sizeof host.url, "file://%s", home);
	HOLDS(mkdir(home, 0700) == 0);
	setenv("XDG_RUNTIME_DIR", host.dir, 1);
	options_init(&o);
	o.url = host.url;
	o.dir = host.dir;
	o.state = state;
	o.cache_size = 64 << 20;
	o.lag = 0;
	o.allow_other = false;
	if (home_format(host.url, "t", &id, &why) != 0 ||
	    fs_start(&o, &host.f, &why) != 0) {
		fprintf(stderr, "host: %s\n", why.text);
		abort();
	}
}

#endif

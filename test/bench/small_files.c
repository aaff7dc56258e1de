/*
 * small_files: what the daemon does for small files, without the kernel: a
 * whole host over a file:// home, asked as the FUSE side asks it.  For
 * profiles (make profile): nothing of FUSE, of wake-ups and of page caches is
 * in them.  Arguments: how many files (10000), and of the letters c (create),
 * s (create and fsync), l (lookup), r (read), u (unlink) which (cslru; l, r and
 * u are of what c made).
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/home.h"
#include "fs/io.h"
#include "fs/tree.h"

static struct fs *f;
static char dir[200], bytes[4096];

static double
seconds_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	    (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
no_error(const char *what, int err)
{
	if (err != 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-err));
		exit(1);
	}
}

static void
start(void)
{
	const char *tmp = getenv("TMPDIR");
	struct fs_options o;
	struct home_id id;
	struct why why = { "" };
	char home[300], url[310], state[300];

	sys_init();
	snprintf(dir, sizeof(dir), "%s/gnsfs-bench-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		no_error(dir, -errno);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	snprintf(home, sizeof(home), "%s/home", dir);
	snprintf(state, sizeof(state), "%s/state", dir);
	snprintf(url, sizeof(url), "file://%s", home);
	(void)mkdir(home, 0700);
	memset(bytes, 'x', sizeof(bytes));
	no_error(url, home_format(url, "bench", &id, &why));
	options_init(&o);
	o.url = url;
	o.dir = state;
	o.state = state;
	o.allow_other = false;
	no_error(state, fs_start(&o, &f, &why));
}

static int
rm_entry(const char *path, const struct stat *st, int type, struct FTW *w)
{
	return remove(path);
}

static void
stop(void)
{
	fs_stop(f, clock_mono() + 60 * NSEC_PER_SEC);
	nftw(dir, rm_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void
synced(void)
{
	struct why why = { "" };

	no_error("sync", io_sync(f, 0, clock_mono() + 600 * NSEC_PER_SEC,
	    &why));
}

static void
create(const char *name, bool sync)
{
	struct handle *h;
	struct attr a;
	struct bfile *spent = NULL;

	if (tree_lookup(f, META_ROOT, name, &a) != -ENOENT)
		no_error(name, -EEXIST);
	no_error(name, io_create(f, META_ROOT, name, 0644, 0, 0, O_WRONLY, &a,
	    &h));
	if (io_write(f, h, bytes, sizeof(bytes), 0) != sizeof(bytes))
		no_error(name, -EIO);
	if (sync)
		no_error(name, io_fsync(f, h, &spent));
	bfile_put(spent);
	io_release(f, h);
}

static void
create_plain(const char *name)
{
	create(name, false);
}

static void
create_synced(const char *name)
{
	create(name, true);
}

static void
look(const char *name)
{
	struct attr a;

	no_error(name, tree_lookup(f, META_ROOT, name, &a));
}

static void
read_whole(const char *name)
{
	struct handle *h;
	struct attr a;

	no_error(name, tree_lookup(f, META_ROOT, name, &a));
	no_error(name, io_open(f, a.ino, O_RDONLY, &h));
	if (io_read(f, h, bytes, sizeof(bytes), 0) != sizeof(bytes))
		no_error(name, -EIO);
	io_release(f, h);
}

static void
remove_one(const char *name)
{
	no_error(name, tree_unlink(f, META_ROOT, name));
}

static void
run(const char *title, const char *prefix, int n, void (*one)(const char *))
{
	int64_t t = clock_mono();
	double cpu = seconds_cpu();
	char name[40];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s%06d", prefix, i);
		one(name);
	}
	printf("%-28s %7.1f us, CPU %7.1f us", title,
	    (double)(clock_mono() - t) / 1e3 / n, (seconds_cpu() - cpu) *
	    1e6 / n);
	synced();
	printf(", until stored CPU %7.1f us\n", (seconds_cpu() - cpu) * 1e6 /
	    n);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 10000;

	const char *which = argc > 2 ? argv[2] : "cslru";

	start();
	if (strchr(which, 'c'))
		run("create, write, close", "c", n, create_plain);
	if (strchr(which, 's'))
		run("create, write, fsync, close", "s", n, create_synced);
	if (strchr(which, 'l'))
		run("lookup", "c", n, look);
	if (strchr(which, 'r'))
		run("open, read, close", "c", n, read_whole);
	if (strchr(which, 'u'))
		run("unlink", "c", n, remove_one);
	stop();
	return 0;
}

/*
 * backends_file: what only the file store promises: which keys it takes, what
 * it leaves in its directory and what it never lists, what a full disk and a
 * missing directory become, and that a list of many pages reads a folder
 * once.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "test/unit/store_help.h"

static struct fixture fx;
static struct store_call call;
static char path[600];

static const char *
at(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", fx.dir, name);
	return path;
}

static void
begin(void)
{
	memset(&fx, 0, sizeof(fx));
	help_file_store(&fx);
}

static void
make_file(const char *name)
{
	int fd = open(at(name), O_CREAT | O_WRONLY, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	close(fd);
}

/* All names in the directory, links and temporaries too. */
static unsigned
files_in(const char *name)
{
	char cmd[700];
	unsigned n = 0;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "find '%s' -type f | wc -l", at(name));
	f = popen(cmd, "r");
	ck_assert_int_eq(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

START_TEST(keys_refused)
{
	static const char *const keys[] = { "", "/a", "a/", "a//b", ".", "..",
	    "../x", "a/../b", "a/.", "./a", ".gnsfs-tmp-1", "a/.gnsfs-tmp-" };
	struct store_info info;
	char big[1100];
	size_t i;

	begin();
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		ck_rc(help_put(fx.s, keys[i], STORE_ALWAYS, NULL, "x", NULL),
		    STORE_INVALID);
		ck_rc(store_head(fx.s, &call, keys[i], &info), STORE_INVALID);
		ck_rc(store_del(fx.s, &call, keys[i], NULL), STORE_INVALID);
	}
	memset(big, 'k', sizeof(big));
	big[256] = '\0';
	ck_rc(help_put(fx.s, big, STORE_ALWAYS, NULL, "x", NULL),
	    STORE_INVALID);
	big[256] = 'k';
	for (i = 200; i < 1024; i += 200)
		big[i] = '/';
	big[1024] = '\0';
	ck_rc(help_put(fx.s, big, STORE_ALWAYS, NULL, "x", NULL), STORE_OK);
	help_is(fx.s, big, "x");
	help_done(&fx);
}
END_TEST

START_TEST(above_and_below)
{
	struct why why = { "" };
	struct store_call c = { .why = &why };

	begin();
	ck_rc(help_put(fx.s, "a", STORE_ALWAYS, NULL, "x", NULL), STORE_OK);
	ck_rc(store_put_mem(fx.s, &c, "a/b", STORE_ALWAYS, NULL, "y", 1,
	    NULL), STORE_INVALID);
	ck_assert_str_ne(why.text, "");
	help_is_absent(fx.s, "a/b");
	ck_rc(store_del(fx.s, &call, "a/b", NULL), STORE_OK);
	ck_rc(help_put(fx.s, "d/e", STORE_ALWAYS, NULL, "x", NULL), STORE_OK);
	ck_rc(help_put(fx.s, "d", STORE_ALWAYS, NULL, "y", NULL),
	    STORE_INVALID);
	ck_rc(help_put(fx.s, "d", STORE_IF_ABSENT, NULL, "y", NULL),
	    STORE_INVALID);
	help_is_absent(fx.s, "d");
	/* an empty folder is no key, and gives way */
	ck_rc(store_del(fx.s, &call, "d", NULL), STORE_OK);
	ck_rc(store_del(fx.s, &call, "d/e", NULL), STORE_OK);
	ck_rc(help_put(fx.s, "d", STORE_IF_ABSENT, NULL, "y", NULL),
	    STORE_OK);
	help_is(fx.s, "d", "y");
	help_done(&fx);
}
END_TEST

START_TEST(nothing_beside)
{
	char *have;

	begin();
	ck_rc(help_put(fx.s, "a", STORE_IF_ABSENT, NULL, "1", NULL), STORE_OK);
	ck_rc(help_put(fx.s, "a", STORE_IF_ABSENT, NULL, "1", NULL),
	    STORE_EXISTS);
	ck_rc(help_put(fx.s, "a", STORE_ALWAYS, NULL, "2", NULL), STORE_OK);
	ck_rc(store_copy(fx.s, &call, "a", NULL, "b", NULL), STORE_OK);
	ck_assert_uint_eq(files_in(""), 2);
	ck_assert_int_eq(mkdir(at("empty"), 0755), 0);
	ck_assert_int_eq(mkdir(at("empty/too"), 0755), 0);
	ck_assert_int_eq(mkfifo(at("fifo"), 0644), 0);
	ck_assert_int_eq(symlink("a", at("link")), 0);
	ck_assert_int_eq(symlink("nowhere", at("dangling")), 0);
	ck_assert_int_eq(symlink(".", at("loop")), 0);
	make_file(".gnsfs-tmp-0000000000000000");
	have = help_list(fx.s, "", 0, NULL, 0, NULL);
	ck_assert_str_eq(have, "a\nb\nlink\n");
	free(have);
	have = help_list(fx.s, "", '/', NULL, 0, NULL);
	ck_assert_str_eq(have, "a\nb\nlink\n");
	free(have);
	help_is_absent(fx.s, "empty");
	help_is_absent(fx.s, "fifo");
	help_is(fx.s, "link", "2");
	help_done(&fx);
}
END_TEST

START_TEST(stale_temporaries)
{
	const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	int fd;

	begin();
	make_file(".gnsfs-tmp-00000000000000aa");
	make_file(".gnsfs-tmp-00000000000000bb");
	make_file(".gnsfs-tmp-00000000000000cc");
	utimensat(AT_FDCWD, at(".gnsfs-tmp-00000000000000aa"), old, 0);
	fd = open(at(".gnsfs-tmp-00000000000000bb"), O_RDWR);
	ck_assert_int_eq(futimens(fd, old), 0);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_rc(help_put(fx.s, "a", STORE_ALWAYS, NULL, "1", NULL), STORE_OK);
	ck_assert_int_ne(access(at(".gnsfs-tmp-00000000000000aa"), F_OK), 0);
	ck_assert_int_eq(access(at(".gnsfs-tmp-00000000000000bb"), F_OK), 0);
	ck_assert_int_eq(access(at(".gnsfs-tmp-00000000000000cc"), F_OK), 0);
	close(fd);
	help_done(&fx);
}
END_TEST

START_TEST(no_directory)
{
	struct store_list l = { .prefix = "x/" };
	struct why why = { "" };
	struct store_call c = { .why = &why };
	struct store_info info;
	struct buf b = BUF_INIT;

	begin();
	help_rmtree(fx.dir);
	ck_rc(store_head(fx.s, &c, "a", &info), STORE_ABSENT);
	ck_assert_ptr_nonnull(strstr(why.text, "no directory"));
	why.text[0] = '\0';
	ck_rc(store_put_mem(fx.s, &c, "a/b", STORE_IF_ABSENT, NULL, "1", 1,
	    NULL), STORE_ABSENT);
	ck_assert_ptr_nonnull(strstr(why.text, "no directory"));
	ck_rc(store_del(fx.s, &c, "a", NULL), STORE_ABSENT);
	ck_rc(store_list(fx.s, &c, &l, help_each, &b), STORE_ABSENT);
	l.prefix = "";
	ck_rc(store_list(fx.s, &c, &l, help_each, &b), STORE_ABSENT);
	ck_rc(store_get_all(fx.s, &c, "a", 10, &b, NULL), STORE_ABSENT);
	ck_assert_int_ne(access(fx.dir, F_OK), 0);	/* never made */
	buf_done(&b);
	help_done(&fx);
}
END_TEST

/* --- system calls that fail --- */

static struct sys real;
static int fail_with;

static ssize_t
fail_pwrite(int fd, const void *buf, size_t n, off_t off)
{
	return fail_with;
}

static int
fail_fsync(int fd)
{
	struct stat st;

	real.fstat(fd, &st);
	return S_ISDIR(st.st_mode) ? fail_with : real.fsync(fd);
}

static int
fail_open(const char *p, int flags, mode_t mode)
{
	return fail_with;
}

START_TEST(errors)
{
	struct why why = { "" };
	struct store_call c = { .why = &why };
	struct store_info info;

	begin();
	real = sys;
	fail_with = -ENOSPC;
	sys.pwrite = fail_pwrite;
	ck_rc(store_put_mem(fx.s, &c, "a", STORE_IF_ABSENT, NULL, "1", 1,
	    &info), STORE_NOSPACE);
	ck_assert_ptr_nonnull(strstr(why.text, "No space"));
	sys = real;
	ck_assert_uint_eq(files_in(""), 0);
	fail_with = -EACCES;
	sys.open = fail_open;
	ck_rc(help_put(fx.s, "a", STORE_ALWAYS, NULL, "1", NULL),
	    STORE_DENIED);
	fail_with = -EMFILE;
	ck_rc(help_put(fx.s, "a", STORE_ALWAYS, NULL, "1", NULL),
	    STORE_THROTTLED);
	sys = real;
	/* there, but not durable: nobody can say */
	fail_with = -EIO;
	sys.fsync = fail_fsync;
	ck_rc(help_put(fx.s, "a", STORE_IF_ABSENT, NULL, "1", NULL),
	    STORE_AMBIGUOUS);
	sys = real;
	help_is(fx.s, "a", "1");
	help_done(&fx);
}
END_TEST

static unsigned dir_opens;

static int
count_open(const char *p, int flags, mode_t mode)
{
	if (flags & O_DIRECTORY)
		dir_opens++;
	return real.open(p, flags, mode);
}

START_TEST(pages_do_not_scan_again)
{
	unsigned i, pages, n = 0;
	char name[32], *have, *p;

	begin();
	ck_assert_int_eq(mkdir(at("d"), 0755), 0);
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "d/%05u", i);
		make_file(name);
	}
	clock_sleep(60 * NSEC_PER_MSEC);
	real = sys;
	sys.open = count_open;
	have = help_list(fx.s, "", 0, NULL, 100, &pages);
	ck_assert_uint_eq(pages, 50);
	ck_assert_uint_le(dir_opens, 2);
	for (p = have; *p != '\0'; p++)
		n += *p == '\n';
	ck_assert_uint_eq(n, 5000);
	free(have);
	/* but what was added since is seen */
	make_file("d/00000x");
	clock_sleep(60 * NSEC_PER_MSEC);
	have = help_list(fx.s, "d/", 0, "d/00000", 1, NULL);
	ck_assert_int_eq(strncmp(have, "d/00000x\n", 9), 0);
	ck_assert_uint_le(dir_opens, 4);
	free(have);
	sys = real;
	help_done(&fx);
}
END_TEST

START_TEST(seen_at_once)
{
	char name[32], *have;
	int i;

	/* no list is served from a scan older than a key */
	begin();
	for (i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "%02d", i);
		ck_rc(help_put(fx.s, name, STORE_ALWAYS, NULL, "x", NULL),
		    STORE_OK);
		have = help_list(fx.s, "", 0, NULL, 0, NULL);
		ck_assert_uint_eq(strlen(have), (i + 1) * 3);
		free(have);
	}
	help_done(&fx);
}
END_TEST

static int
grow_sink(void *arg, const void *p, size_t n)
{
	if (!*(bool *)arg)
		ck_assert_int_eq(truncate(at("a"), 5 << 20), 0);
	*(bool *)arg = true;
	return 0;
}

START_TEST(written_in_place)
{
	struct store_src src = { .size = 4 << 20, .read = help_src_read };
	struct store_info info;
	bool done = false;

	begin();
	ck_rc(store_put(fx.s, &call, "a", STORE_ALWAYS, NULL, &src, &info),
	    STORE_OK);
	ck_rc(store_get(fx.s, &call, "a", NULL, 0, 0, grow_sink, &done, NULL),
	    STORE_CHANGED);
	ck_rc(store_get(fx.s, &call, "a", &info.version, 0, 0, grow_sink,
	    &done, NULL), STORE_CHANGED);
	help_done(&fx);
}
END_TEST

/* A writer killed at any moment leaves whole objects only. */
START_TEST(killed_writers)
{
	int round, status;
	char *have, *line, *save = NULL;
	struct store_info info;
	pid_t pid;

	begin();
	for (round = 0; round < 10; round++) {
		if ((pid = fork()) == 0) {
			struct store_src src = { .size = 300000,
			    .read = help_src_read };
			char key[32];
			int i;

			for (i = 0; ; i++) {
				snprintf(key, sizeof(key), "%d/%d", round, i);
				store_put(fx.s, &call, key, i % 2 ?
				    STORE_ALWAYS : STORE_IF_ABSENT, NULL,
				    &src, NULL);
			}
		}
		clock_sleep((5 + round * 3) * NSEC_PER_MSEC);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	have = help_list(fx.s, "", 0, NULL, 0, NULL);
	for (line = strtok_r(have, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save)) {
		struct help_check k = { 0 };

		ck_rc(store_get(fx.s, &call, line, NULL, 0, 0, help_src_check,
		    &k, &info), STORE_OK);
		ck_assert(k.off == 300000 && !k.wrong);
	}
	free(have);
	help_done(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("backends_file");
	TCase *t = tcase_create("file");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, keys_refused);
	tcase_add_test(t, above_and_below);
	tcase_add_test(t, nothing_beside);
	tcase_add_test(t, stale_temporaries);
	tcase_add_test(t, no_directory);
	tcase_add_test(t, errors);
	tcase_add_test(t, pages_do_not_scan_again);
	tcase_add_test(t, seen_at_once);
	tcase_add_test(t, written_in_place);
	tcase_add_test(t, killed_writers);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

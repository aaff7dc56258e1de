/* sys, clock, log: the table, its faults, whole transfers, lines. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"

static char dir[256];

static void
setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/gnsfs-sys-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static void
teardown(void)
{
	char cmd[300];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(calls)
{
	struct stat st;
	char buf[16];
	int fd = sys.open("f", O_RDWR | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(sys_pwrite_all(fd, "0123456789", 10, 5), 0);
	ck_assert_int_eq(sys.fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 15);
	ck_assert_int_eq(sys_pread_all(fd, buf, 10, 5), 0);
	ck_assert_int_eq(memcmp(buf, "0123456789", 10), 0);
	ck_assert_int_eq(sys_pread_all(fd, buf, 11, 5), -ENODATA);
	ck_assert_int_eq(sys.pread(fd, buf, 16, 10), 5);
	ck_assert_int_eq(sys.ftruncate(fd, 3), 0);
	ck_assert_int_eq(sys.fallocate(fd, 0, 0, 4096), 0);
	ck_assert_int_eq(sys.fsync(fd), 0);
	ck_assert_int_eq(sys.fdatasync(fd), 0);
	ck_assert_int_eq(sys.link("f", "g"), 0);
	ck_assert_int_eq(sys.link("f", "g"), -EEXIST);
	ck_assert_int_eq(sys.rename("g", "h"), 0);
	ck_assert_int_eq(sys.stat("g", &st), -ENOENT);
	ck_assert_int_eq(sys.unlink("h"), 0);
	ck_assert_int_eq(sys_sync_parent("f"), 0);
	ck_assert_int_eq(sys_sync_parent("none/f"), -ENOENT);
	ck_assert_int_eq(sys.open("none", O_RDONLY, 0), -ENOENT);
	ck_assert_int_eq(sys.openat(AT_FDCWD, "none", O_RDONLY, 0), -ENOENT);
	ck_assert_int_eq(sys.close(fd), 0);
	ck_assert_int_eq(sys.close(fd), -EBADF);
}
END_TEST

START_TEST(lease)
{
	int fd = sys.open("f", O_RDWR | O_CREAT, 0600), other;

	ck_assert_int_eq(sys.lease(fd, F_WRLCK), 0);
	ck_assert_int_eq(sys.lease(fd, F_UNLCK), 0);
	other = sys.open("f", O_RDONLY, 0);
	ck_assert_int_eq(sys.lease(fd, F_WRLCK), -EAGAIN);
	sys.close(other);
	ck_assert_int_eq(sys.lease(fd, F_WRLCK), 0);
	sys.close(fd);
}
END_TEST

START_TEST(mkdirs)
{
	struct stat st;
	char path[300];

	snprintf(path, sizeof(path), "%s//a/b//c/", dir);
	ck_assert_int_eq(sys_mkdirs(path, 0700), 0);
	ck_assert_int_eq(sys_mkdirs(path, 0700), 0);
	ck_assert_int_eq(sys.stat("a/b/c", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(sys_mkdirs("x/y", 0755), 0);
	close(open("file", O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(sys_mkdirs("file", 0755), -ENOTDIR);
	ck_assert_int_eq(sys_mkdirs("file/x", 0755), -ENOTDIR);
	ck_assert_int_eq(sys_mkdirs("", 0755), -ENOENT);
	ck_assert_int_eq(sys_sync_parent("x/y/"), 0);
	ck_assert_int_eq(sys_sync_parent("/tmp"), 0);
}
END_TEST

START_TEST(boot_id)
{
	char a[SYS_BOOT_ID_LEN], b[SYS_BOOT_ID_LEN];

	ck_assert_int_eq(sys.boot_id(a), 0);
	ck_assert_int_eq(sys.boot_id(b), 0);
	ck_assert_uint_eq(strlen(a), 36);
	ck_assert_str_eq(a, b);
	setenv("GNSFS_SYS_BOOT_ID", "another", 1);
	sys_init();
	ck_assert_int_eq(sys.boot_id(b), 0);
	ck_assert_str_eq(b, "another");
}
END_TEST

START_TEST(faults)
{
	int fd;

	setenv("GNSFS_SYS_FAIL", "fsync:2:ENOSPC", 1);
	sys_init();
	fd = sys.open("f", O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(sys.fsync(fd), 0);
	ck_assert_int_eq(sys.fdatasync(fd), 0);
	ck_assert_int_eq(sys.fsync(fd), -ENOSPC);
	ck_assert_int_eq(sys.fsync(fd), 0);
	sys.close(fd);
}
END_TEST

START_TEST(faults_onwards)
{
	setenv("GNSFS_SYS_FAIL", "close:1+", 1);
	sys_init();
	for (int i = 0; i < 3; i++) {
		int fd = sys.open("f", O_RDWR | O_CREAT, 0600);

		ck_assert_int_eq(sys.close(fd), -EIO);
		ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	}
}
END_TEST

static const char *const bad_faults[] = {
	"", "fsync", "fsync:", "fsync:0", "fsync:1x", "fsync:1:",
	"fsync:1:EWHAT", "clock:1", "nonsense:1",
};

START_TEST(faults_misspelt)
{
	int fd = open("/dev/null", O_WRONLY);

	dup2(fd, STDERR_FILENO);
	setenv("GNSFS_SYS_FAIL", bad_faults[_i], 1);
	sys_init();
}
END_TEST

static ssize_t
short_pwrite(int fd, const void *buf, size_t n, off_t off)
{
	static int calls;

	return calls++ % 2 ? -EINTR : pwrite(fd, buf, n > 3 ? 3 : n, off);
}

static ssize_t
short_pread(int fd, void *buf, size_t n, off_t off)
{
	static int calls;

	return calls++ % 2 ? -EINTR : pread(fd, buf, n > 3 ? 3 : n, off);
}

static int64_t
fake_clock(clockid_t id)
{
	return id == CLOCK_REALTIME ? 1000 * NSEC_PER_SEC + 123456789 :
	    id == CLOCK_MONOTONIC ? 7 : 8;
}

START_TEST(table_is_replaceable)
{
	char buf[10];
	int fd = sys.open("f", O_RDWR | O_CREAT, 0600);

	sys.pwrite = short_pwrite;
	sys.pread = short_pread;
	ck_assert_int_eq(sys_pwrite_all(fd, "0123456789", 10, 0), 0);
	ck_assert_int_eq(sys_pread_all(fd, buf, 10, 0), 0);
	ck_assert_int_eq(memcmp(buf, "0123456789", 10), 0);
	sys.close(fd);
	sys.clock = fake_clock;
	ck_assert_int_eq(clock_real() / NSEC_PER_SEC, 1000);
	ck_assert_int_eq(clock_mono(), 7);
	ck_assert_int_eq(clock_boot(), 8);
}
END_TEST

START_TEST(time_passes)
{
	int64_t t = clock_mono();

	ck_assert_int_eq(clock_sleep(5 * NSEC_PER_MSEC), 0);
	ck_assert_int_eq(clock_sleep(0), 0);
	ck_assert_int_eq(clock_sleep(-1), 0);
	ck_assert_int_ge(clock_mono() - t, 5 * NSEC_PER_MSEC);
	ck_assert_int_ge(clock_boot(), t);
	ck_assert_int_gt(clock_real(), INT64_C(1700000000) * NSEC_PER_SEC);
}
END_TEST

static char *
slurp(const char *path)
{
	static char text[16384];
	FILE *f = fopen(path, "r");
	size_t n = fread(text, 1, sizeof(text) - 1, f);

	fclose(f);
	text[n] = '\0';
	return text;
}

START_TEST(lines)
{
	char big[6000], *text;

	sys.clock = fake_clock;
	ck_assert_int_eq(log_open("none/log"), -ENOENT);
	ck_assert_int_eq(log_open("log"), 0);
	errno = ENOTTY;
	log_info("segment landed", "lsn=%d name=%s", 7, LOG_Q("a \"b\"\n"));
	log_debug("hidden", "x=1");
	log_set_level(LOG_DEBUG_L);
	log_debug("shown", "x=%s", "1\n2");
	log_warn("nothing more", "%s", "");
	ck_assert_int_eq(errno, ENOTTY);
	text = slurp("log");
	ck_assert_str_eq(text,
	    "1970-01-01T00:16:40.123Z level=info msg=\"segment landed\" lsn=7 "
	    "name=\"a \\\"b\\\"\\x0a\"\n"
	    "1970-01-01T00:16:40.123Z level=debug msg=\"shown\" x=1?2\n"
	    "1970-01-01T00:16:40.123Z level=warn msg=\"nothing more\"\n");
	/* another file, in place; a long line is cut */
	ck_assert_int_eq(log_open("log2"), 0);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	log_error("big", "v=%s", big);
	log_error("big", "v=%s", LOG_Q(big));
	text = slurp("log2");
	ck_assert_uint_eq(strchr(text, '\n') - text, 4095);
	ck_assert_int_eq(memcmp(text + 4092, "...\n", 4), 0);
	text += 4096;
	ck_assert_int_eq(strcmp(text + strlen(text) - 5, "...\"\n"), 0);
	ck_assert_uint_lt(strlen(text), 700);
	ck_assert_str_eq(LOG_Q(NULL), "\"\"");
	ck_assert_int_eq(log_open(NULL), 0);
}
END_TEST

/* What journald gives its services: a file whose device and inode it says. */
START_TEST(journal_prefix)
{
	struct stat st;
	char v[64];
	int fd = open("journal", O_CREAT | O_WRONLY, 0600);

	dup2(fd, STDERR_FILENO);
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(v, sizeof(v), "%llu:%llu", (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", v, 1);
	sys.clock = fake_clock;
	log_error("bad", "x=%d", 1);
	ck_assert_str_eq(slurp("journal"),
	    "<3>1970-01-01T00:16:40.123Z level=error msg=\"bad\" x=1\n");
}
END_TEST

/* What is beyond ns is their end: not another time. */
START_TEST(far_times)
{
	int64_t most = INT64_MAX / NSEC_PER_SEC;
	struct timespec t = { .tv_sec = 3, .tv_nsec = 5 };

	ck_assert_int_eq(clock_ns(t), 3 * NSEC_PER_SEC + 5);
	t.tv_sec = -3;
	ck_assert_int_eq(clock_ns(t), -3 * NSEC_PER_SEC + 5);
	t.tv_sec = most;
	ck_assert_int_eq(clock_ns(t), most * NSEC_PER_SEC + 5);
	t.tv_nsec = NSEC_PER_SEC - 1;
	ck_assert_int_eq(clock_ns(t), INT64_MAX);
	t.tv_sec = INT64_C(9999999999);
	ck_assert_int_eq(clock_ns(t), INT64_MAX);
	t.tv_sec = -INT64_C(9999999999);
	ck_assert_int_eq(clock_ns(t), INT64_MIN);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_sys");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, calls);
	tcase_add_test(t, lease);
	tcase_add_test(t, mkdirs);
	tcase_add_test(t, boot_id);
	tcase_add_test(t, faults);
	tcase_add_test(t, faults_onwards);
	tcase_add_test(t, table_is_replaceable);
	tcase_add_test(t, time_passes);
	tcase_add_test(t, far_times);
	tcase_add_test(t, lines);
	tcase_add_test(t, journal_prefix);
	t = tcase_create("exits");
	suite_add_tcase(s, t);
	tcase_add_loop_exit_test(t, faults_misspelt, 2, 0,
	    sizeof(bad_faults) / sizeof(bad_faults[0]));
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* log: the journal's priorities, and where they are left out. */
#include <sys/stat.h>
#include <sys/wait.h>

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum journal { NONE, OURS, ANOTHER, NONSENSE };

/* JOURNAL_STREAM as systemd sets it: the device and inode of stderr. */
static void
set_stream(enum journal how)
{
	char text[64] = "not:numbers";
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0)
		_exit(2);
	if (how == OURS || how == ANOTHER)
		snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)st.st_dev,
		    (uintmax_t)st.st_ino + (how == ANOTHER));
	if (how == NONE)
		unsetenv("JOURNAL_STREAM");
	else
		setenv("JOURNAL_STREAM", text, 1);
}

/* What a process whose stderr is a pipe logs; with a path, there. */
static void
log_all(enum journal how, const char *path, char *ret, size_t size)
{
	size_t len = 0;
	ssize_t n;
	pid_t pid;
	int p[2], status;

	ck_assert_int_eq(pipe(p), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(p[1], STDERR_FILENO);
		set_stream(how);
		if (path != NULL && log_open(path) != 0)
			_exit(3);
		log_set_level(LOG_DEBUG_L);
		log_error("one", "a=%d", 1);
		log_warn("two", "b=%s", LOG_Q("x\ny"));
		log_info("three", "%s", "");
		log_debug("four", "c=%d", 4);
		_exit(0);
	}
	close(p[1]);
	while ((n = read(p[0], ret + len, size - 1 - len)) > 0)
		len += (size_t)n;
	ret[len] = '\0';
	close(p[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/* Each line begins with its priority (want), or with the year. */
static void
check_lines(char *text, const char *const want[4])
{
	static const char *const ends[4] = {
		"level=error msg=\"one\" a=1",
		"level=warn msg=\"two\" b=\"x\\x0ay\"",
		"level=info msg=\"three\"",
		"level=debug msg=\"four\" c=4",
	};
	char *line, *save = NULL;
	size_t len, end;
	int i = 0;

	for (line = strtok_r(text, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save), i++) {
		ck_assert_int_lt(i, 4);
		len = strlen(want[i]);
		ck_assert_msg(strncmp(line, want[i], len) == 0, "%s", line);
		ck_assert_msg(line[len] >= '0' && line[len] <= '9', "%s",
		    line);
		end = strlen(ends[i]);
		ck_assert_uint_gt(strlen(line), end);
		ck_assert_str_eq(line + strlen(line) - end, ends[i]);
	}
	ck_assert_int_eq(i, 4);
}

static const char *const plain[4] = { "", "", "", "" };

START_TEST(test_journal)
{
	static const char *const want[4] = { "<3>", "<4>", "<6>", "<7>" };
	char text[4096];

	log_all(OURS, NULL, text, sizeof text);
	check_lines(text, want);
}
END_TEST

START_TEST(test_no_journal)
{
	char text[4096];

	log_all((enum journal[]){ NONE, ANOTHER, NONSENSE }[_i], NULL, text,
	    sizeof text);
	check_lines(text, plain);
}
END_TEST

/* A unit's daemon with a log file: no priorities in the file. */
START_TEST(test_file)
{
	char path[] = "/tmp/gnsfs-log-XXXXXX", text[4096];
	FILE *f;
	size_t n;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	log_all(OURS, path, text, sizeof text);
	ck_assert_str_eq(text, "");
	f = fdopen(fd, "r");
	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	unlink(path);
	check_lines(text, plain);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(tc, test_journal);
	tcase_add_loop_test(tc, test_no_journal, 0, 3);
	tcase_add_test(tc, test_file);
	suite_add_tcase(s, tc);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* The mount options: every row of the table, defaults, refusals. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/options.h"

START_TEST(defaults)
{
	struct fs_options o;

	options_init(&o);
	ck_assert_uint_eq(o.memory, 512u << 20);
	ck_assert_int_eq(o.mode, MODE_EVENTUAL);
	ck_assert_int_eq(o.lag, NSEC_PER_SEC);
	ck_assert_int_eq(o.poll, NSEC_PER_SEC);
	ck_assert_int_eq(o.io_timeout, 30 * NSEC_PER_SEC);
	ck_assert(!o.offline_wait && o.passthrough && !o.takeover);
	ck_assert_int_eq(o.uring, URING_AUTO);
	ck_assert(!o.read_only && !o.debug);
	ck_assert_int_eq(o.uid, -1);
	ck_assert_int_eq(o.gid, -1);
	ck_assert_int_eq(o.umask, -1);
	ck_assert_uint_eq(o.cache_size, 0);
	ck_assert_ptr_null(o.cache);
	ck_assert_int_eq(o.allow_other, geteuid() == 0);
	options_done(&o);
	options_done(NULL);
}
END_TEST

START_TEST(all_are_set)
{
	struct fs_options o;
	struct why why = { "" };

	options_init(&o);
	ck_assert_int_eq(options_parse(&o, "cache=/a\\,b,state=/s,"
	    "cache_size=20G,memory=1G,mode=eventual,lag=250ms,poll=2s,"
	    "io_timeout=1m,offline=wait,passthrough=off,takeover,ro,uid=7,"
	    "gid=0,umask=022,allow_other,log=/l,debug,uring=off", &why), 0);
	ck_assert_int_eq(o.uring, URING_OFF);
	ck_assert_int_eq(options_parse(&o, "uring=on", &why), 0);
	ck_assert_int_eq(o.uring, URING_ON);
	ck_assert_str_eq(o.cache, "/a,b");
	ck_assert_str_eq(o.state, "/s");
	ck_assert_str_eq(o.log, "/l");
	ck_assert_uint_eq(o.cache_size, UINT64_C(20) << 30);
	ck_assert_uint_eq(o.memory, UINT64_C(1) << 30);
	ck_assert_int_eq(o.lag, 250 * NSEC_PER_MSEC);
	ck_assert_int_eq(o.io_timeout, 60 * NSEC_PER_SEC);
	ck_assert(o.offline_wait && !o.passthrough && o.takeover);
	ck_assert(o.read_only && o.allow_other && o.debug);
	ck_assert_int_eq(o.uid, 7);
	ck_assert_int_eq(o.gid, 0);
	ck_assert_int_eq(o.umask, 022);
	/* A second string is added; the last word holds. */
	ck_assert_int_eq(options_parse(&o, "rw,uid=root", &why), 0);
	ck_assert(!o.read_only);
	ck_assert_int_eq(o.uid, 0);
	options_done(&o);
}
END_TEST

START_TEST(what_mount_hands_on)
{
	struct fs_options o;

	options_init(&o);
	ck_assert_int_eq(options_parse(&o, "rw,nofail,_netdev,user,noauto,"
	    "defaults,x-systemd.automount,x-y=1,,noatime,nosuid,nodev", NULL),
	    0);
	ck_assert(!o.suid && !o.dev && !o.noexec);
	ck_assert_int_eq(options_parse(&o, "noexec,suid,dev", NULL), 0);
	ck_assert(o.suid && o.dev && o.noexec);
	/* the last word holds */
	ck_assert_int_eq(options_parse(&o, "exec,nosuid,nodev", NULL), 0);
	ck_assert(!o.suid && !o.dev && !o.noexec);
	options_done(&o);
}
END_TEST

START_TEST(paths_are_absolute)
{
	struct fs_options o;

	options_init(&o);
	ck_assert_int_eq(chdir("/tmp"), 0);
	ck_assert_int_eq(options_parse(&o, "cache=here", NULL), 0);
	ck_assert_str_eq(o.cache, "/tmp/here");
	options_done(&o);
}
END_TEST

static const struct { const char *text, *says; } refused[] = {
	{ "cahce=/x", "cahce" },
	{ "cache", "cache=DIR" },
	{ "cache=", "names no path" },
	{ "takeover=1", "takes no value" },
	{ "cache_size=1x", "not a size" },
	{ "cache_size=-1", "not a size" },
	{ "cache_size=1M", "too small" },
	{ "cache_size=99999999999999999999", "not a size" },
	{ "cache_size=99999999999P", "not a size" },
	{ "lag=1y", "not a time" },
	{ "poll=0s", "out of range" },
	{ "io_timeout=25h", "out of range" },
	{ "mode=strong", "not in this version" },
	{ "mode=weak", "no mode" },
	{ "offline=maybe", "offline=fail or offline=wait" },
	{ "uid=4294967295", "no such user" },
	{ "gid=no-such-group", "no such group" },
	{ "umask=8", "no mask" },
	{ "umask=1000", "no mask" },
	{ "rw,remount", "cannot be changed" },
};

START_TEST(refusals_say_what_is_right)
{
	struct fs_options o;
	struct why why = { "" };

	options_init(&o);
	ck_assert_int_eq(options_parse(&o, refused[_i].text, &why), -EINVAL);
	ck_assert_msg(strstr(why.text, refused[_i].says) != NULL, "%s: %s",
	    refused[_i].text, why.text);
	options_done(&o);
}
END_TEST

START_TEST(table_is_whole)
{
	const struct option_desc *d;

	for (d = option_descs; d->name != NULL; d++) {
		ck_assert_ptr_nonnull(d->meaning);
		ck_assert(d->arg != NULL || d->dflt == NULL ||
		    d->dflt[0] == '(');
	}
	ck_assert_int_ge(d - option_descs, 18);
}
END_TEST

START_TEST(sizes_and_times)
{
	uint64_t n;
	int64_t t;

	ck_assert_int_eq(parse_size("0", &n), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(parse_size("4k", &n), 0);
	ck_assert_uint_eq(n, 4096);
	ck_assert_int_eq(parse_size("2TiB", &n), 0);
	ck_assert_uint_eq(n, UINT64_C(2) << 40);
	ck_assert_int_eq(parse_size("16E", &n), -EINVAL);
	ck_assert_int_eq(parse_size("", &n), -EINVAL);
	ck_assert_int_eq(parse_size(" 1", &n), -EINVAL);
	ck_assert_int_eq(parse_duration("7d", &t), 0);
	ck_assert_int_eq(t, 7 * 86400 * NSEC_PER_SEC);
	ck_assert_int_eq(parse_duration("5", &t), 0);
	ck_assert_int_eq(t, 5 * NSEC_PER_SEC);
	ck_assert_int_eq(parse_duration("99999999999w", &t), -EINVAL);
	ck_assert_int_eq(parse_duration("s", &t), -EINVAL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fs_options");
	TCase *t = tcase_create("all");
	SRunner *r;
	int bad;

	tcase_add_test(t, defaults);
	tcase_add_test(t, all_are_set);
	tcase_add_test(t, what_mount_hands_on);
	tcase_add_test(t, paths_are_absolute);
	tcase_add_loop_test(t, refusals_say_what_is_right, 0,
	    sizeof refused / sizeof refused[0]);
	tcase_add_test(t, table_is_whole);
	tcase_add_test(t, sizes_and_times);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* s3_creds: AWS credentials and regions by environment and files, and the
 * files' format with hostile input. */
#include "backends/s3.h"
#include "test/unit/s3_server.h"

static char dir[256];

static void
write_file(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void
setup(void)
{
	char path[512];

	sys_init();
	help_tempdir(dir, sizeof(dir));
	aws_env_clear();
	snprintf(path, sizeof(path), "%s/credentials", dir);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	snprintf(path, sizeof(path), "%s/config", dir);
	setenv("AWS_CONFIG_FILE", path, 1);
}

static void
teardown(void)
{
	help_rmtree(dir);
}

static int
open_creds(const char *profile, struct creds_aws **ret, struct why *why)
{
	const struct creds_aws_opts o = { .profile = profile };

	return creds_aws_open(&o, ret, why);
}

static void
is_creds(const char *profile, const char *id, const char *secret,
    const char *token)
{
	struct creds_aws *c = NULL;
	struct aws_creds got;
	struct why why = { "" };

	ck_assert_msg(open_creds(profile, &c, &why) == 0, "%s", why.text);
	ck_assert_msg(creds_aws_get(c, NULL, &got, &why) == 0, "%s",
	    why.text);
	ck_assert_str_eq(got.id, id);
	ck_assert_str_eq(got.secret, secret);
	ck_assert_pstr_eq(got.token, token);
	aws_creds_done(&got);
	creds_aws_close(c);
}

static void
is_none(const char *profile, int err, const char *words)
{
	struct creds_aws *c = NULL;
	struct why why = { "" };

	ck_assert_int_eq(open_creds(profile, &c, &why), err);
	ck_assert_msg(strstr(why.text, words) != NULL, "%s", why.text);
}

START_TEST(order)
{
	is_none(NULL, -EACCES, "AWS_ACCESS_KEY_ID");
	is_none(NULL, -EACCES, "/credentials and in");
	write_file("credentials", "[default]\naws_access_key_id = FILE\n"
	    "aws_secret_access_key=filesecret\n[train]\n"
	    "aws_access_key_id=TRAIN\naws_secret_access_key=t=s/+\n"
	    "aws_session_token = tok\n");
	is_creds(NULL, "FILE", "filesecret", NULL);
	is_creds("train", "TRAIN", "t=s/+", "tok");
	setenv("AWS_PROFILE", "train", 1);
	is_creds(NULL, "TRAIN", "t=s/+", "tok");
	setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "envsecret", 1);
	is_creds(NULL, "ENV", "envsecret", NULL);
	/* A profile that was named goes before the environment. */
	is_creds("default", "FILE", "filesecret", NULL);
	is_none("nobody", -EACCES, "profile 'nobody'");
	setenv("AWS_SECRET_ACCESS_KEY", "s3\ncr3t", 1);
	is_none(NULL, -EINVAL, "control character");
}
END_TEST

START_TEST(config_file)
{
	char *region;

	write_file("config", "# mine\n[default]\nregion = eu-west-1\n"
	    "s3 =\n  max_queue_size = 5\n  addressing_style = path\n\n"
	    "[profile train]\nregion=us-west-2\naws_access_key_id=C\n"
	    "aws_secret_access_key=cs\n[train]\nregion=wrong\n"
	    "[profile role]\nrole_arn = arn:aws:iam::1:role/x\n");
	is_creds("train", "C", "cs", NULL);
	region = creds_aws_region("train");
	ck_assert_pstr_eq(region, "us-west-2");
	free(region);
	region = creds_aws_region(NULL);
	ck_assert_pstr_eq(region, "eu-west-1");
	free(region);
	setenv("AWS_REGION", "ap-south-1", 1);
	region = creds_aws_region(NULL);
	ck_assert_pstr_eq(region, "ap-south-1");
	free(region);
	is_none("role", -EINVAL, "role_arn");
}
END_TEST

START_TEST(files_that_make_no_sense)
{
	struct why why = { "" };
	struct creds_aws *c;

	write_file("credentials", "[default]\naws_access_key_id FILE\n");
	is_none(NULL, -EINVAL, "at line 2");
	write_file("credentials", "[default\n");
	is_none(NULL, -EINVAL, "at line 1");
	write_file("credentials", "[default]\r\naws_access_key_id = A\r\n"
	    "aws_secret_access_key = s3cr3t\r\n");
	is_creds(NULL, "A", "s3cr3t", NULL);
	/* Half of a pair is none; and no message tells a secret. */
	write_file("credentials", "[default]\naws_secret_access_key=s3cr3t\n"
	    "nonsense s3cr3t\n");
	ck_assert_int_eq(open_creds(NULL, &c, &why), -EINVAL);
	ck_assert_ptr_null(strstr(why.text, "s3cr3t"));
}
END_TEST

static _Atomic int64_t jumped;	/* ns */
static int64_t (*true_clock)(clockid_t id);

static int64_t
jump_clock(clockid_t id)
{
	return true_clock(id) + (id == CLOCK_BOOTTIME ?
	    atomic_load(&jumped) : 0);
}

START_TEST(changed_file_is_seen)
{
	struct aws_creds old = { 0 }, other = { .id = "O", .secret = "O" };
	struct creds_aws *c = NULL;
	struct aws_creds got;

	true_clock = sys.clock;
	sys.clock = jump_clock;
	write_file("credentials", "[default]\naws_access_key_id=OLD\n"
	    "aws_secret_access_key=s\n");
	ck_assert_int_eq(open_creds(NULL, &c, NULL), 0);
	ck_assert_int_eq(creds_aws_get(c, NULL, &old, NULL), 0);
	ck_assert_str_eq(old.id, "OLD");
	write_file("credentials", "[default]\naws_access_key_id=NEW\n"
	    "aws_secret_access_key=s\n");
	/* Read just now; and: others have come already. */
	ck_assert_int_eq(creds_aws_refused(c, &old, NULL, NULL), -EACCES);
	ck_assert_int_eq(creds_aws_refused(c, &other, NULL, NULL), 0);
	atomic_store(&jumped, 6 * NSEC_PER_SEC);
	ck_assert_int_eq(creds_aws_refused(c, &old, NULL, NULL), 0);
	ck_assert_int_eq(creds_aws_get(c, NULL, &got, NULL), 0);
	ck_assert_str_eq(got.id, "NEW");
	aws_creds_done(&old);
	aws_creds_done(&got);
	creds_aws_close(c);
}
END_TEST

static int
each_never(void *arg, const char *section, const char *key, const char *value)
{
	return 0;
}

/* Whatever bytes: no crash, an answer (sanitizers look). */
START_TEST(hostile_files)
{
	static const char set[] = "[]=# \n\r\t;ab\x7f\xff";
	char text[64];
	unsigned line, i, n;
	int err;

	for (i = 0; i < 20000; i++) {
		for (n = 0; n < sizeof(text) - 1; n++)
			text[n] = set[random_u64() % (sizeof(set) - 1)];
		text[random_u64() % sizeof(text)] = '\0';
		text[sizeof(text) - 1] = '\0';
		err = creds_aws_parse(text, each_never, NULL, &line);
		ck_assert(err == 0 || err == -EINVAL);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("s3_creds");
	TCase *t = tcase_create("credentials");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, order);
	tcase_add_test(t, config_file);
	tcase_add_test(t, files_that_make_no_sense);
	tcase_add_test(t, changed_file_is_seen);
	tcase_add_test(t, hostile_files);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* What a pin's row says it holds; and requests of the control socket. */
#include "meta_util.h"

#include "fs/control_impl.h"
#include "fs/pin_text.h"

static const struct attr file = { .ino = 9, .size = 5000,
	.mode = 0100644, .nlink = 1 };

/* A file at this path, its directories made. */
static void
make_path(struct meta *m, const char *path)
{
	char copy[100], *name, *next;
	uint64_t parent = META_ROOT, ino = 100;
	struct op op;

	snprintf(copy, sizeof copy, "%s", path + 1);
	for (name = copy; (next = strchr(name, '/')) != NULL;
	    name = next + 1) {
		*next = '\0';
		op = (struct op){ .kind = OP_MKDIR, .parent = parent,
		    .name = name, .ino = ++ino, .mode = S_IFDIR | 0755,
		    .mtime = 1 };
		ck_assert_int_eq(mu_apply(m, &op), 0);
		parent = ino;
	}
	op = mu_create(parent, name, file.ino);
	ck_assert_int_eq(mu_apply(m, &op), 0);
}

static int
matches(const char *text, const char *path)
{
	struct sqc *q = NULL;
	struct pin_text t;
	struct meta *m;
	int rc;

	mu_setup();
	m = mu_open("a");
	make_path(m, path);
	ck_assert_int_eq(sq_read(meta_sq(m), &q), 0);
	ck_assert_int_eq(pin_text_parse(text, &t, NULL), 0);
	rc = pin_text_matches(&t, q, path, &file);
	pin_text_done(&t);
	sq_read_end(q);
	meta_close(m);
	mu_teardown();
	return rc;
}

START_TEST(any_line_holds)
{
	ck_assert_int_eq(matches("/a\n/b\n", "/b/x"), 1);
	ck_assert_int_eq(matches("/a\n/b\n", "/c/x"), 0);
	ck_assert_int_eq(matches("/**/*.jpg\n", "/c/x.jpg"), 1);
	ck_assert_int_eq(matches("size>4K\n", "/c"), 1);
}
END_TEST

START_TEST(and_needs_all)
{
	ck_assert_int_eq(matches("--and\n/a\nsize>4K\n", "/a/x"), 1);
	ck_assert_int_eq(matches("--and\n/a\nsize>1M\n", "/a/x"), 0);
	ck_assert_int_eq(matches("--and\n/a\nsize>4K\n", "/b/x"), 0);
}
END_TEST

START_TEST(in_restricts)
{
	ck_assert_int_eq(matches("--in /a\nname:*.x\n", "/a/b.x"), 1);
	ck_assert_int_eq(matches("--in /a\nname:*.x\n", "/b/b.x"), 0);
}
END_TEST

START_TEST(not_takes_out)
{
	ck_assert_int_eq(matches("/a\n--not /a/b\n", "/a/x"), 1);
	ck_assert_int_eq(matches("/a\n--not /a/b\n", "/a/b/x"), 0);
}
END_TEST

/* The last line that matches decides. */
START_TEST(named_again_is_in)
{
	ck_assert_int_eq(matches("--not /a/b\n/a\n", "/a/b/x"), 1);
	ck_assert_int_eq(matches("/a\n--not /a/b\n/a/b\n", "/a/b/x"), 1);
	ck_assert_int_eq(matches("/a\n--not /a/b\n/c\n", "/a/b/x"), 0);
	ck_assert_int_eq(matches("/a\n--not /a/b\n/a/b\n--not size>4K\n",
	    "/a/b/x"), 0);
}
END_TEST

/* What is taken out by --in and --and is no more than they say. */
START_TEST(not_of_several_lines)
{
	const char *in = "/m\n--not-in /m/old\n--not name:*.bin\n",
	    *and = "/m\n--not-and name:*.bin\n--not size>1M\n/n\n",
	    *both = "--and\n/m\nsize>4K\n--not-in /m/old\n"
	    "--not-and name:*.bin\n--not size>4K\n";

	ck_assert_int_eq(matches(in, "/m/new/a.bin"), 1);
	ck_assert_int_eq(matches(in, "/m/old/a.bin"), 0);
	ck_assert_int_eq(matches(in, "/m/old/a.txt"), 1);
	ck_assert_int_eq(matches(and, "/m/a.bin"), 1);
	ck_assert_int_eq(matches(both, "/m/old/a.bin"), 0);
	ck_assert_int_eq(matches(both, "/m/old/a.txt"), 1);
	ck_assert_int_eq(matches(both, "/m/a.bin"), 1);
	/* What belongs to no --not says nothing. */
	ck_assert_int_eq(matches("/m\n--not-in /m\n--not-and /m\n",
	    "/m/x"), 1);
	ck_assert_int_eq(matches("--not-in /n\n/m\n--not /m/a\n", "/m/a"),
	    0);
}
END_TEST

static void
merges(const char *a, const char *b, int rc, const char *want)
{
	struct buf out = BUF_INIT;

	ck_assert_int_eq(pin_text_merge(a, b, &out), rc);
	if (rc == 0)
		ck_assert_str_eq(buf_cstr(&out), want);
	buf_done(&out);
}

START_TEST(texts_are_merged)
{
	merges("", "--and\n--in /a\n/b\n", 0, "--and\n--in /a\n/b\n");
	merges("/a\n", "/a\n/b\n", 0, "/a\n/b\n");
	merges("--in /g\nname:x\n", "--in /g\nname:y\n", 0,
	    "--in /g\nname:x\nname:y\n");
	/* What one text cannot say. */
	merges("--in /g/a\nname:x\n", "--in /g/b\nname:x\n", -EEXIST, "");
	merges("--in /g/a\nname:x\n", "name:x\n", -EEXIST, "");
	merges("name:x\n", "--in /g/a\nname:x\n", -EEXIST, "");
	merges("tag:x=1\n", "--and\ntag:x=1\nsize>1G\n", -EEXIST, "");
	merges("--and\ntag:x=1\nsize>1G\n", "tag:x=1\n", -EEXIST, "");
	merges("--and\ntag:x=1\nsize>1G\n", "--and\ntag:x=1\n", -EEXIST,
	    "");
	merges("--and\na\nb\n", "--and\nb\na\n", 0, "--and\nb\na\n");
	/* What is named again is taken out no longer, the rest is. */
	merges("/m\n--not /m/a\n", "/m\n", 0, "/m\n");
	merges("/m\n/n\n--not /m/a\n--not /n/b\n", "/m\n", 0,
	    "/n\n--not /m/a\n--not /n/b\n/m\n");
	merges("/m\n--not /m/a\n", "/n\n", 0, "/m\n--not /m/a\n/n\n");
	merges("--and\n/m\n/n\n--not /m/a\n", "--and\n/m\n/n\n", 0,
	    "--and\n/m\n/n\n");
}
END_TEST

/* The request without these selectors of its own; sel ends with NULL. */
static void
without(const char *a, unsigned flags, const char *in,
    const char *const *sel, int rc, const char *want)
{
	struct pin_request r = { .selectors = sel, .flags = flags, .in = in };
	struct buf out = BUF_INIT;
	bool own[8];

	while (sel[r.nselectors] != NULL)
		r.nselectors++;
	ck_assert_int_eq(pin_text_without(a, &r, &out, own), rc);
	if (rc == 1)
		ck_assert_str_eq(buf_cstr(&out), want);
	buf_done(&out);
}

#define SEL(...)	(const char *const []){ __VA_ARGS__, NULL }

START_TEST(selectors_leave_as_they_came)
{
	const char *and = "--and\ntag:x=1\nsize>1G\n";

	without("/a\n/b\n", 0, NULL, SEL("/b"), 1, "/a\n");
	without("/a\n/b\n", 0, NULL, SEL("/b", "/a"), 2, "");
	without("/a\n--not /a/b\n", 0, NULL, SEL("/a"), 2, "");
	without("/a\n--not-in /a\n--not /a/b\n/c\n", 0, NULL, SEL("/c"), 1,
	    "/a\n--not-in /a\n--not /a/b\n");
	without("/a\n", 0, NULL, SEL("/b"), 0, "");
	without("--in /g\nname:x\n", 0, NULL, SEL("name:x"), 2, "");
	without("--in /g\nname:x\n", 0, "/g", SEL("name:x"), 2, "");
	without("name:x\n", 0, "/g", SEL("name:x"), 0, "");
	/* Of a text that must match all, each is more than the whole. */
	without(and, 0, NULL, SEL("size>1G"), 2, "");
	without(and, SELECT_AND, NULL, SEL("size>1G", "tag:x=1"), 2, "");
	without(and, SELECT_AND, NULL, SEL("size>1G", "tag:y=1"), 0, "");
	without("/a\n/b\n", SELECT_AND, NULL, SEL("/a", "/b"), 0, "");
}
END_TEST

static void
except(const char *a, unsigned flags, const char *in, const bool *skip,
    const char *want)
{
	const char *sel[] = { "/a/b", "/a/c" };
	struct pin_request r = { .selectors = sel, .nselectors = 2,
	    .flags = flags, .in = in };
	struct buf out = BUF_INIT;

	ck_assert_int_eq(pin_text_except(a, &r, skip, &out), 0);
	ck_assert_str_eq(buf_cstr(&out), want);
	buf_done(&out);
}

START_TEST(parts_are_taken_out)
{
	bool skip[] = { false, true };

	except("/a\n--not /a/b\n", 0, NULL, NULL,
	    "/a\n--not /a/b\n--not /a/c\n");
	except("/a\n--not /a/b\n/a\n", 0, NULL, skip,
	    "/a\n/a\n--not /a/b\n");
	except("/a\n--not /a/b\n", 0, "/a/d", NULL, "/a\n--not /a/b\n"
	    "--not-in /a/d\n--not /a/b\n--not-in /a/d\n--not /a/c\n");
	except("/a\n", SELECT_AND, "/a/d", NULL, "/a\n"
	    "--not-in /a/d\n--not-and /a/b\n--not /a/c\n");
}
END_TEST

START_TEST(requests_are_checked)
{
	const char *bad[] = { "/a\n/b" }, *odd[] = { "--and" };
	struct pin_request r = { .selectors = bad, .nselectors = 1 };
	struct buf b = BUF_INIT;
	struct why why = { "" };

	ck_assert_int_eq(pin_text_write(&r, &b, &why), -EINVAL);
	ck_assert(strstr(why.text, "line break") != NULL);
	buf_reset(&b);
	r.selectors = odd;
	ck_assert_int_eq(pin_text_write(&r, &b, NULL), -EINVAL);
	buf_reset(&b);
	odd[0] = "/a";
	r.in = bad[0];
	ck_assert_int_eq(pin_text_write(&r, &b, NULL), -EINVAL);
	buf_reset(&b);
	r.nselectors = 0;
	ck_assert_int_eq(pin_text_write(&r, &b, NULL), -EINVAL);
	buf_done(&b);
}
END_TEST

START_TEST(lists_are_sorted_and_single)
{
	struct pin_list l = { NULL };

	ck_assert_int_eq(pin_list_add(&l, 5, 10), 0);
	ck_assert_int_eq(pin_list_add(&l, 3, 20), 0);
	ck_assert_int_eq(pin_list_add(&l, 5, 10), 0);
	pin_list_sort(&l);
	ck_assert_uint_eq(l.n, 2);
	ck_assert_uint_eq(l.v[0].ino, 3);
	ck_assert_uint_eq(l.bytes, 30);
	pin_list_done(&l);
	pin_list_sort(&l);
}
END_TEST

static const struct { const char *text; int rc; } requests[] = {
	{ "{\"v\":1,\"cmd\":\"status\"}", 0 },
	{ "{\"v\":1,\"cmd\":\"pin\",\"args\":{\"selectors\":[\"/\"]}}", 0 },
	{ "{\"v\":2,\"cmd\":\"status\"}", -EPROTONOSUPPORT },
	{ "{\"cmd\":\"status\"}", -EPROTONOSUPPORT },
	{ "{\"v\":1}", -EINVAL },
	{ "{\"v\":1,\"cmd\":7}", -EINVAL },
	{ "{\"v\":1,\"cmd\":\"status\",\"args\":[]}", -EINVAL },
	{ "{\"v\":1,\"cmd\":\"a\",\"cmd\":\"b\"}", -EINVAL },
	{ "{\"v\":1,\"cmd\":\"a\\u0000b\"}", -EINVAL },
	{ "[]", -EINVAL }, { "", -EINVAL }, { "{", -EINVAL },
	{ "null", -EINVAL }, { "\"status\"", -EINVAL },
	{ "{\"v\":1,\"cmd\":\"\xff\"}", -EINVAL },
};

START_TEST(requests_are_parsed)
{
	const json_t *args = NULL;
	const char *cmd = NULL;
	struct why why = { "" };
	json_t *root = NULL;
	int rc;

	rc = ctl_parse(requests[_i].text, strlen(requests[_i].text), &root,
	    &cmd, &args, &why);
	ck_assert_int_eq(rc, requests[_i].rc);
	ck_assert(rc != 0 || (cmd != NULL && json_is_object(args)));
	ck_assert(rc == 0 || why.text[0] != '\0');
	json_decref(root);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
	const json_t *args;
	const char *cmd;
	json_t *root = NULL;
	char *p;
	size_t n = 1u << 20;

	p = malloc(n);
	ck_assert_ptr_nonnull(p);
	memset(p, '[', n);
	ck_assert_int_eq(ctl_parse(p, n, &root, &cmd, &args, NULL), -EINVAL);
	free(p);
}
END_TEST

START_TEST(commands_are_a_whole_table)
{
	const struct ctl_cmd *c;
	unsigned others = 0;

	for (c = ctl_cmds; c->name != NULL; c++) {
		ck_assert_ptr_nonnull(c->run);
		others += c->others;
	}
	/* status, explain, find, pins, imports: no more without a
	 * thought. */
	ck_assert_uint_eq(others, 5);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fs_pin_text");
	TCase *t = tcase_create("all");
	SRunner *r;
	int bad;

	tcase_add_test(t, any_line_holds);
	tcase_add_test(t, and_needs_all);
	tcase_add_test(t, in_restricts);
	tcase_add_test(t, not_takes_out);
	tcase_add_test(t, named_again_is_in);
	tcase_add_test(t, not_of_several_lines);
	tcase_add_test(t, texts_are_merged);
	tcase_add_test(t, selectors_leave_as_they_came);
	tcase_add_test(t, parts_are_taken_out);
	tcase_add_test(t, requests_are_checked);
	tcase_add_test(t, lists_are_sorted_and_single);
	tcase_add_loop_test(t, requests_are_parsed, 0,
	    sizeof requests / sizeof requests[0]);
	tcase_add_test(t, deep_nesting_is_refused);
	tcase_add_test(t, commands_are_a_whole_table);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * backends_faults: the table at the top of backends/retry.c, every operation
 * failing with every result, before and after the store has done it: nothing
 * twice, nothing lost, and no yes or no that is not true.
 */
#include "test/unit/store_help.h"

static struct fixture fx;
static struct store *plain;	/* the same directory, no faults */
static struct store_call call;

static bool forgets;		/* what is pulled late is put over another */
static struct store_ops forgetful;
static const struct store_ops *faults;

static unsigned
forgetful_caps(struct store *s)
{
	return faults->caps(s) & ~(unsigned)STORE_PULL_KEEPS;
}

/* retry over fault over file. */
static void
begin(const char *spec)
{
	const struct retry_opts o = { .deadline = 3 * NSEC_PER_SEC,
	    .first_pause = NSEC_PER_MSEC };
	struct why why = { "" };

	memset(&fx, 0, sizeof(fx));
	help_file_store(&fx);
	plain = help_open(fx.url, true, NULL);
	ck_assert_msg(fault_layer(fx.s, spec, &fx.s, &why) == 0, "%s",
	    why.text);
	if (forgets) {
		faults = fx.s->ops;
		forgetful = *faults;
		forgetful.caps = forgetful_caps;
		fx.s->ops = &forgetful;
	}
	ck_assert_int_eq(retry_layer(fx.s, &o, &fx.s), 0);
}

static void
end(void)
{
	char *left = help_list(plain, ".gnsfs", 0, NULL, 0, NULL);

	ck_assert_str_eq(left, "");
	free(left);
	store_free(plain);
	help_done(&fx);
}

/* --- puts --- */

START_TEST(put_absent_answer_lost)
{
	struct store_info info, head;

	begin("op=put,nth=1,rc=ambiguous,after=1");
	ck_rc(help_put(fx.s, "k", STORE_IF_ABSENT, NULL, "mine", &info),
	    STORE_OK);
	ck_rc(store_head(plain, &call, "k", &head), STORE_OK);
	ck_assert_str_eq(info.version.text, head.version.text);
	ck_rc(help_put(fx.s, "k", STORE_IF_ABSENT, NULL, "mine", NULL),
	    STORE_EXISTS);
	end();
}
END_TEST

START_TEST(put_absent_request_lost)
{
	begin("op=put,nth=1,rc=ambiguous");
	ck_rc(help_put(fx.s, "k", STORE_IF_ABSENT, NULL, "mine", NULL),
	    STORE_OK);
	help_is(plain, "k", "mine");
	end();
}
END_TEST

START_TEST(put_absent_lost_and_theirs)
{
	begin("op=put,nth=1,rc=ambiguous");
	ck_rc(help_put(plain, "k", STORE_IF_ABSENT, NULL, "THEM", NULL),
	    STORE_OK);
	ck_rc(help_put(fx.s, "k", STORE_IF_ABSENT, NULL, "mine", NULL),
	    STORE_EXISTS);
	help_is(plain, "k", "THEM");
	end();
}
END_TEST

/* The second put says EXISTS, of the first: the look had failed. */
START_TEST(put_absent_exists_is_mine)
{
	begin("op=put,nth=1,rc=ambiguous,after=1;op=head,nth=1,rc=denied");
	ck_rc(help_put(fx.s, "k", STORE_IF_ABSENT, NULL, "mine", NULL),
	    STORE_OK);
	end();
}
END_TEST

START_TEST(put_absent_big)
{
	struct store_src src = { .size = 20 << 20, .read = help_src_read };

	begin("op=put,nth=1,rc=ambiguous,after=1;op=get,nth=1,rc=unreachable,"
	    "at=3000000");
	ck_rc(store_put(fx.s, &call, "k", STORE_IF_ABSENT, NULL, &src, NULL),
	    STORE_OK);
	end();
}
END_TEST

START_TEST(put_never_known)
{
	struct why why = { "" };
	struct store_call c = { .why = &why,
	    .deadline = clock_mono() + 2000 * NSEC_PER_MSEC };

	begin("op=put,rc=ambiguous;op=head,rc=unreachable");
	ck_rc(store_put_mem(fx.s, &c, "k", STORE_IF_ABSENT, NULL, "x", 1,
	    NULL), STORE_AMBIGUOUS);
	ck_assert_ptr_nonnull(strstr(why.text, "tried"));
	end();
	/* what followed it does not make it sure */
	begin("op=put,nth=1,rc=ambiguous,after=1;op=put,rc=denied;"
	    "op=head,nth=1,rc=broken;op=head,rc=denied");
	ck_rc(help_put(fx.s, "k", STORE_IF_ABSENT, NULL, "x", NULL),
	    STORE_AMBIGUOUS);
	end();
}
END_TEST

START_TEST(put_match_unclear)
{
	struct store_info v0, v1, got;

	/* the answer was lost */
	begin("op=put,nth=1,rc=ambiguous,after=1");
	ck_rc(help_put(plain, "m", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(help_put(fx.s, "m", STORE_IF_MATCH, &v0.version, "1", &got),
	    STORE_OK);
	ck_rc(store_head(plain, &call, "m", &v1), STORE_OK);
	ck_assert_str_eq(got.version.text, v1.version.text);
	end();
	/* the request was lost */
	begin("op=put,nth=1,rc=ambiguous");
	ck_rc(help_put(plain, "m", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(help_put(fx.s, "m", STORE_IF_MATCH, &v0.version, "1", NULL),
	    STORE_OK);
	help_is(plain, "m", "1");
	end();
	/* another is there: ours may have been, before it */
	begin("op=put,nth=1,rc=ambiguous");
	ck_rc(help_put(plain, "m", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(help_put(plain, "m", STORE_ALWAYS, NULL, "them", NULL),
	    STORE_OK);
	ck_rc(help_put(fx.s, "m", STORE_IF_MATCH, &v0.version, "1", NULL),
	    STORE_AMBIGUOUS);
	help_is(plain, "m", "them");
	end();
	/* a clean no is a no */
	begin("op=put,nth=1,rc=unreachable");
	ck_rc(help_put(plain, "m", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(help_put(plain, "m", STORE_ALWAYS, NULL, "them", NULL),
	    STORE_OK);
	ck_rc(help_put(fx.s, "m", STORE_IF_MATCH, &v0.version, "1", NULL),
	    STORE_CHANGED);
	end();
}
END_TEST

START_TEST(del_unclear)
{
	struct store_info v0;

	begin("op=del,nth=1,rc=ambiguous,after=1");
	ck_rc(help_put(plain, "d", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(store_del(fx.s, &call, "d", &v0.version), STORE_OK);
	help_is_absent(plain, "d");
	end();
	begin("op=del,nth=1,rc=ambiguous");
	ck_rc(help_put(plain, "d", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(store_del(fx.s, &call, "d", &v0.version), STORE_OK);
	help_is_absent(plain, "d");
	end();
	begin("op=del,nth=1,rc=ambiguous");
	ck_rc(help_put(plain, "d", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(help_put(plain, "d", STORE_ALWAYS, NULL, "new", NULL),
	    STORE_OK);
	ck_rc(store_del(fx.s, &call, "d", &v0.version), STORE_CHANGED);
	help_is(plain, "d", "new");
	end();
	begin("op=del,nth=1,rc=ambiguous,after=1");
	ck_rc(help_put(plain, "d", STORE_ALWAYS, NULL, "0", NULL), STORE_OK);
	ck_rc(store_del(fx.s, &call, "d", NULL), STORE_OK);
	help_is_absent(plain, "d");
	end();
}
END_TEST

START_TEST(copy_unclear)
{
	struct store_info v0;

	begin("op=copy,nth=1,rc=ambiguous,after=1");
	ck_rc(help_put(plain, "a", STORE_ALWAYS, NULL, "0", &v0), STORE_OK);
	ck_rc(store_copy(fx.s, &call, "a", &v0.version, "b", NULL), STORE_OK);
	help_is(plain, "b", "0");
	end();
}
END_TEST

/* --- get, list --- */

/* One that fails for good is not tried until the deadline, which may be hours
 * away: the bytes can go another way. */
START_TEST(pull_is_given_up)
{
	struct why why = { "" };
	struct store_call c = { .why = &why,
	    .deadline = clock_mono() + 30 * NSEC_PER_SEC };
	struct store_info info;

	begin("op=pull,rc=ambiguous");
	ck_rc(help_put(plain, "a", STORE_ALWAYS, NULL, "A", &info), STORE_OK);
	ck_rc(store_pull(fx.s, &c, plain, "a", &info.version, "b", NULL),
	    STORE_AMBIGUOUS);
	ck_assert_msg(strstr(why.text, "(tried 8 times)") != NULL, "%s",
	    why.text);
	end();
}
END_TEST

/* Nor is it made twice where the first, ending late, would be put over what
 * came since: until then what failed without a doubt is tried again. */
START_TEST(pull_that_may_end_late)
{
	struct why why = { "" };
	struct store_call c = { .why = &why };
	struct store_info info;

	forgets = true;
	begin("op=pull,nth=1,rc=throttled;op=pull,nth=2,rc=ambiguous");
	ck_rc(help_put(plain, "a", STORE_ALWAYS, NULL, "A", &info), STORE_OK);
	ck_rc(store_pull(fx.s, &c, plain, "a", &info.version, "b", NULL),
	    STORE_AMBIGUOUS);
	ck_assert_msg(strstr(why.text, "(tried 2 times)") != NULL, "%s",
	    why.text);
	help_is_absent(plain, "b");
	end();
}
END_TEST

START_TEST(get_goes_on)
{
	struct store_src src = { .size = 5 << 20, .read = help_src_read };
	struct help_check k = { 0 };
	struct store_info info;

	/* breaks off again and again, each time with some progress */
	begin("op=get,nth=25,rc=ok;op=get,rc=unreachable,at=333333");
	ck_rc(store_put(plain, &call, "g", STORE_ALWAYS, NULL, &src, NULL),
	    STORE_OK);
	ck_rc(store_get(fx.s, &call, "g", NULL, 0, 0, help_src_check, &k,
	    &info), STORE_OK);
	ck_assert_uint_eq(k.off, 5 << 20);
	ck_assert(!k.wrong);
	ck_assert_uint_eq(info.size, 5 << 20);
	end();
	/* a range; and its last answer lost, all bytes being here */
	begin("op=get,nth=1,rc=broken,at=100;op=get,nth=2,rc=unreachable,"
	    "after=1");
	ck_rc(store_put(plain, &call, "g", STORE_ALWAYS, NULL, &src, NULL),
	    STORE_OK);
	k = (struct help_check){ .off = 1000 };
	ck_rc(store_get(fx.s, &call, "g", NULL, 1000, 5000, help_src_check,
	    &k, &info), STORE_OK);
	ck_assert_uint_eq(k.off, 6000);
	ck_assert(!k.wrong);
	end();
}
END_TEST

struct meddle { struct help_check k; bool done; };

static int
meddle_sink(void *arg, const void *p, size_t n)
{
	struct meddle *m = arg;

	if (!m->done)
		ck_rc(help_put(plain, "g", STORE_ALWAYS, NULL, "other", NULL),
		    STORE_OK);
	m->done = true;
	return help_src_check(&m->k, p, n);
}

START_TEST(get_never_mixes)
{
	struct store_src src = { .size = 5 << 20, .read = help_src_read };
	struct meddle m = { 0 };

	/* the object is replaced while it is read (B5) */
	begin("op=get,nth=1,rc=unreachable,at=100000");
	ck_rc(store_put(plain, &call, "g", STORE_ALWAYS, NULL, &src, NULL),
	    STORE_OK);
	ck_rc(store_get(fx.s, &call, "g", NULL, 0, 0, meddle_sink, &m, NULL),
	    STORE_CHANGED);
	ck_assert_uint_eq(m.k.off, 100000);
	ck_assert(!m.k.wrong);
	end();
}
END_TEST

START_TEST(list_twice_never)
{
	char key[16], *have, *want;
	int i;

	begin("op=list,every=2,rc=broken,at=3;op=list,every=3,rc=unreachable,"
	    "after=1");
	for (i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "%02d", i);
		ck_rc(help_put(plain, key, STORE_ALWAYS, NULL, "x", NULL),
		    STORE_OK);
	}
	have = help_list(fx.s, "", 0, NULL, 5, NULL);
	want = help_list(plain, "", 0, NULL, 5, NULL);
	ck_assert_str_eq(have, want);
	free(have);
	free(want);
	end();
}
END_TEST

/* --- all of it --- */

/* Is rc tried again? */
static bool
passes(enum store_rc rc)
{
	return rc == STORE_THROTTLED || rc == STORE_UNREACHABLE ||
	    rc == STORE_BROKEN || rc == STORE_AMBIGUOUS;
}

static enum store_rc
do_op(int op, struct buf *out)
{
	struct store_list l = { .prefix = "" };
	struct store_info info;

	switch (op) {
	case 0:
		return store_get_all(fx.s, &call, "a", 100, out, NULL);
	case 1:
		return help_put(fx.s, "b", STORE_IF_ABSENT, NULL, "B", NULL);
	case 2:
		return store_head(fx.s, &call, "a", &info);
	case 3:
		return store_del(fx.s, &call, "a", NULL);
	case 4:
		return store_list(fx.s, &call, &l, help_each, out);
	default:
		return store_copy(fx.s, &call, "a", NULL, "c", NULL);
	}
}

/* Whatever failed: a is "A" or deleted, b absent or "B", c absent or "A". */
static void
check_whole(void)
{
	static const char *const keys[] = { "a", "b", "c" };
	static const char *const texts[] = { "A", "B", "A" };
	struct store_info info;
	int i;

	for (i = 0; i < 3; i++)
		if (store_head(plain, &call, keys[i], &info) == STORE_OK)
			help_is(plain, keys[i], texts[i]);
}

START_TEST(every_result)
{
	static const char *const ops[] = { "get", "put", "head", "del", "list",
	    "copy" };
	struct buf out = BUF_INIT;
	char spec[128];
	enum store_rc rc, got;
	int op, after;

	for (op = 0; op < 6; op++)
	for (rc = STORE_EXISTS; rc < STORE_RC_COUNT; rc++)
	for (after = 0; after < 2; after++) {
		snprintf(spec, sizeof(spec), "op=%s,nth=1,rc=%s,after=%d",
		    ops[op], store_rc_name(rc), after);
		begin(spec);
		ck_rc(help_put(plain, "a", STORE_ALWAYS, NULL, "A", NULL),
		    STORE_OK);
		buf_reset(&out);
		got = do_op(op, &out);
		check_whole();
		if (passes(rc) && !after)
			ck_rc(got, STORE_OK);
		else if (!passes(rc))
			ck_rc(got, rc);
		/* BROKEN after the last byte may be a checksum; EXISTS may be
		 * of a put whose answer said that nothing was done */
		else if (op == 0 && rc == STORE_BROKEN)
			ck_rc(got, STORE_BROKEN);
		else if (op == 1 && rc != STORE_AMBIGUOUS)
			ck_rc(got, STORE_EXISTS);
		else
			ck_rc(got, STORE_OK);
		if (op == 0 && got == STORE_OK)
			ck_assert_str_eq(buf_cstr(&out), "A");
		if (op == 4 && got == STORE_OK)
			ck_assert_str_eq(buf_cstr(&out), "a\n");
		if (op == 1 && got == STORE_OK)
			help_is(plain, "b", "B");
		if (op == 3 && got == STORE_OK)
			help_is_absent(plain, "a");
		if (op == 5 && got == STORE_OK)
			help_is(plain, "c", "A");
		end();
	}
	buf_done(&out);
}
END_TEST

START_TEST(once_is_once)
{
	struct store_call c = { .once = true };
	struct store_info info;

	begin("op=head,nth=1,rc=unreachable;op=put,nth=1,rc=ambiguous,"
	    "after=1");
	ck_rc(store_head(fx.s, &c, "a", &info), STORE_UNREACHABLE);
	ck_rc(store_put_mem(fx.s, &c, "a", STORE_IF_ABSENT, NULL, "x", 1,
	    NULL), STORE_AMBIGUOUS);
	ck_rc(store_head(fx.s, &c, "a", &info), STORE_OK);
	end();
}
END_TEST

START_TEST(deadlines)
{
	struct why why = { "" };
	struct store_call c = { .why = &why };
	_Atomic bool stop = false;
	struct store_info info;
	int64_t t0;

	begin("op=head,rc=unreachable");
	t0 = clock_mono();
	c.deadline = t0 + 200 * NSEC_PER_MSEC;
	ck_rc(store_head(fx.s, &c, "a", &info), STORE_UNREACHABLE);
	ck_assert_int_lt(clock_mono() - t0, 2 * NSEC_PER_SEC);
	ck_assert_ptr_nonnull(strstr(why.text, "injected fault"));
	/* the layer's own */
	t0 = clock_mono();
	ck_rc(store_head(fx.s, &call, "a", &info), STORE_UNREACHABLE);
	ck_assert_int_lt(clock_mono() - t0, 6 * NSEC_PER_SEC);
	/* cancel ends it at once */
	c = (struct store_call){ .cancel = &stop };
	stop = true;
	t0 = clock_mono();
	ck_rc(store_head(fx.s, &c, "a", &info), STORE_CANCELLED);
	ck_assert_int_lt(clock_mono() - t0, NSEC_PER_SEC);
	end();
}
END_TEST

START_TEST(limit_waits_and_gives_up)
{
	const char *spec = "op=head,delay=50";
	struct store_call c = { .deadline = clock_mono() + NSEC_PER_MSEC };
	struct store_info info;

	memset(&fx, 0, sizeof(fx));
	help_file_store(&fx);
	ck_assert_int_eq(fault_layer(fx.s, spec, &fx.s, NULL), 0);
	ck_assert_int_eq(limit_layer(fx.s, 1, &fx.s), 0);
	clock_sleep(2 * NSEC_PER_MSEC);
	ck_rc(store_head(fx.s, &c, "a", &info), STORE_UNREACHABLE);
	ck_rc(store_head(fx.s, &call, "a", &info), STORE_ABSENT);
	help_done(&fx);
	fx.s = NULL;
}
END_TEST

START_TEST(specs_that_are_wrong)
{
	static const char *const specs[] = { "op=put,nth=0", "nth=1",
	    "op=fly", "op=put,rc=maybe", "op=put,after=2", "op=put,x",
	    "op=put,nth=1x", "op=put;rc=broken" };
	struct why why;
	size_t i;

	for (i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		memset(&fx, 0, sizeof(fx));
		help_file_store(&fx);
		why.text[0] = '\0';
		ck_assert_int_eq(fault_layer(fx.s, specs[i], &fx.s, &why),
		    -EINVAL);
		ck_assert_str_ne(why.text, "");
		fx.s = NULL;	/* taken, and freed */
		help_done(&fx);
	}
}
END_TEST

START_TEST(trace_lines)
{
	struct stack_opts opts = { .fault = "op=head,nth=1,rc=throttled" };
	char line[8][2048];
	struct store *s;
	int n = 0;
	FILE *f;

	memset(&fx, 0, sizeof(fx));
	help_file_store(&fx);
	f = tmpfile();
	opts.trace_fd = fileno(f);
	s = help_open(fx.url, false, &opts);
	ck_rc(help_put(s, "a b", STORE_IF_ABSENT, NULL, "xyz", NULL),
	    STORE_OK);
	help_is_absent(s, "c");
	help_is(s, "a b", "xyz");
	store_free(s);
	rewind(f);
	while (n < 8 && fgets(line[n], sizeof(line[n]), f) != NULL)
		n++;
	fclose(f);
	ck_assert_int_eq(n, 4);
	ck_assert_ptr_nonnull(strstr(line[0], " op=put key=a%20b off=0 len=3"
	    " rc=ok n=3 inflight=1 tag=test\n"));
	ck_assert_ptr_nonnull(strstr(line[1], " op=head key=c off=0 len=0"
	    " rc=throttled n=0 inflight=1 tag=-\n"));
	ck_assert_ptr_nonnull(strstr(line[2], " rc=absent "));
	ck_assert_ptr_nonnull(strstr(line[3], " op=get key=a%20b off=0 len=0"
	    " rc=ok n=3 "));
	ck_assert_int_eq(strncmp(line[3], "t=", 2), 0);
	ck_assert_ptr_nonnull(strstr(line[3], " store=file:///"));
	help_done(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("backends_faults");
	TCase *t = tcase_create("faults");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, put_absent_answer_lost);
	tcase_add_test(t, put_absent_request_lost);
	tcase_add_test(t, put_absent_lost_and_theirs);
	tcase_add_test(t, put_absent_exists_is_mine);
	tcase_add_test(t, put_absent_big);
	tcase_add_test(t, put_never_known);
	tcase_add_test(t, put_match_unclear);
	tcase_add_test(t, del_unclear);
	tcase_add_test(t, copy_unclear);
	tcase_add_test(t, pull_is_given_up);
	tcase_add_test(t, pull_that_may_end_late);
	tcase_add_test(t, get_goes_on);
	tcase_add_test(t, get_never_mixes);
	tcase_add_test(t, list_twice_never);
	tcase_add_test(t, every_result);
	tcase_add_test(t, once_is_once);
	tcase_add_test(t, deadlines);
	tcase_add_test(t, limit_waits_and_gives_up);
	tcase_add_test(t, specs_that_are_wrong);
	tcase_add_test(t, trace_lines);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

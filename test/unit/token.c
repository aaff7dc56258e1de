/* token: a token is fetched once for all, early, in the background; the old
 * one serves while its issuer is away; what issuers answer. */
#include "backends/token.h"

#include <pthread.h>

#include "test/unit/store_help.h"

static struct token_cache *t;
static _Atomic int fetches, fail, slow_ms;
static _Atomic int64_t life = 3600 * NSEC_PER_SEC;
static _Atomic bool same;		/* the issuer gives the same again */
static _Atomic int64_t skipped;		/* ns, of CLOCK_BOOTTIME */
static int64_t (*real_clock)(clockid_t);

static int64_t
test_clock(clockid_t id)
{
	return real_clock(id) + (id == CLOCK_BOOTTIME ?
	    atomic_load(&skipped) : 0);
}

static int
fetch(void *arg, const struct token_call *c, struct token *ret,
    struct why *why)
{
	int n = atomic_fetch_add(&fetches, 1) + 1, err = atomic_load(&fail);
	int i;

	for (i = 0; i < atomic_load(&slow_ms); i++) {
		if (atomic_load(c->cancel))
			return -ECANCELED;
		usleep(1000);
	}
	if (err != 0)
		return why_set(why, err, "issuer says no");
	ck_assert_int_gt(asprintf(&ret->text, "token%d",
	    atomic_load(&same) ? 1 : n), 0);
	ret->life = atomic_load(&life);
	return 0;
}

static void
begin(void)
{
	sys_init();
	real_clock = sys.clock;
	sys.clock = test_clock;
	ck_assert_int_eq(token_cache_open("test", fetch, NULL, &t), 0);
}

static void
end(void)
{
	token_cache_close(t);
	sys_init();
}

static void
skip(int secs)
{
	atomic_fetch_add(&skipped, secs * NSEC_PER_SEC);
}

static void
is_token(const char *want)
{
	struct why why = { "" };
	char *text = NULL;

	ck_assert_msg(token_get(t, NULL, &text, &why) == 0, "%s", why.text);
	ck_assert_str_eq(text, want);
	token_text_free(text);
}

/* Until so many fetches have been made, and the last has ended. */
static void
wait_fetches(int n)
{
	int i;

	for (i = 0; i < 2000 && atomic_load(&fetches) < n; i++)
		usleep(1000);
	ck_assert_int_eq(atomic_load(&fetches), n);
	usleep(20000);
}

static void *
getter(void *arg)
{
	is_token("token1");
	return NULL;
}

START_TEST(once_for_all)
{
	pthread_t threads[8];
	int i;

	atomic_store(&slow_ms, 100);
	begin();
	for (i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, getter, NULL);
	for (i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(atomic_load(&fetches), 1);
	end();
}
END_TEST

/* It comes within ten seconds. */
static void
wait_token(const char *want)
{
	char *text = NULL;
	bool is = false;

	for (int i = 0; !is && i < 1000; i++) {
		usleep(10000);
		ck_assert_int_eq(token_get(t, NULL, &text, NULL), 0);
		is = strcmp(text, want) == 0;
		token_text_free(text);
	}
	ck_assert(is);
}

START_TEST(early_in_the_background)
{
	int64_t begun;

	begin();
	is_token("token1");
	skip(3600 - 301);
	is_token("token1");
	ck_assert_int_eq(atomic_load(&fetches), 1);
	skip(2);
	atomic_store(&slow_ms, 300);
	begun = clock_mono();
	is_token("token1");		/* does not wait */
	ck_assert(clock_mono() - begun < 200 * NSEC_PER_MSEC);
	wait_fetches(2);
	wait_token("token2");
	ck_assert_int_eq(atomic_load(&fetches), 2);
	end();
}
END_TEST

START_TEST(issuer_away)
{
	begin();
	is_token("token1");
	atomic_store(&fail, -EHOSTUNREACH);
	skip(3500);
	is_token("token1");
	wait_fetches(2);
	is_token("token1");		/* not asked at once again */
	ck_assert_int_eq(atomic_load(&fetches), 2);
	skip(2);
	is_token("token1");
	wait_fetches(3);
	skip(100000);			/* long over: the store decides */
	is_token("token1");
	wait_fetches(4);
	atomic_store(&fail, 0);
	skip(100);
	is_token("token5");		/* waits for it */
	end();
}
END_TEST

START_TEST(none_at_all)
{
	struct token_call c = { 0 };
	struct why why = { "" };
	_Atomic bool stop = true;
	char *text = NULL;

	atomic_store(&fail, -EACCES);
	begin();
	ck_assert_int_eq(token_get(t, NULL, &text, &why), -EACCES);
	ck_assert_str_eq(why.text, "issuer says no");
	ck_assert_int_eq(token_get(t, NULL, &text, NULL), -EACCES);
	ck_assert_int_eq(atomic_load(&fetches), 1);
	atomic_store(&fail, 0);
	atomic_store(&slow_ms, 500);
	skip(6);
	why.text[0] = '\0';
	c.deadline = clock_mono() + 50 * NSEC_PER_MSEC;
	ck_assert_int_eq(token_get(t, &c, &text, &why), -EHOSTUNREACH);
	ck_assert_msg(strstr(why.text, "in time") != NULL, "%s", why.text);
	c = (struct token_call){ .cancel = &stop };
	ck_assert_int_eq(token_get(t, &c, &text, &why), -ECANCELED);
	is_token("token2");		/* the fetch went on */
	end();
}
END_TEST

START_TEST(refused)
{
	struct why why = { "" };

	begin();
	is_token("token1");
	ck_assert_int_eq(token_refused(t, "older", NULL, &why), 0);
	ck_assert_int_eq(token_refused(t, "token1", NULL, &why), -EACCES);
	ck_assert_int_eq(atomic_load(&fetches), 1);	/* too soon */
	skip(6);
	ck_assert_int_eq(token_refused(t, "token1", NULL, &why), 0);
	is_token("token2");
	skip(6);
	atomic_store(&fail, -EHOSTUNREACH);
	ck_assert_int_eq(token_refused(t, "token2", NULL, &why),
	    -EHOSTUNREACH);
	ck_assert_str_eq(why.text, "issuer says no");
	atomic_store(&fail, 0);
	skip(6);
	ck_assert_int_eq(token_refused(t, "token2", NULL, &why), 0);
	end();
}
END_TEST

START_TEST(the_same_again)
{
	struct why why = { "" };

	atomic_store(&same, true);
	begin();
	is_token("token1");
	skip(6);
	ck_assert_int_eq(token_refused(t, "token1", NULL, &why), -EACCES);
	ck_assert_int_eq(atomic_load(&fetches), 2);
	end();
}
END_TEST

/* One that is soon over has its successor in time; and where the store holds
 * it for over already, at once. */
START_TEST(short_lives)
{
	struct why why = { "" };
	char want[16];
	int i;

	atomic_store(&life, 4 * NSEC_PER_SEC);
	begin();
	is_token("token1");
	for (i = 1; i < 5; i++) {
		snprintf(want, sizeof(want), "token%d", i);
		skip(2);
		is_token(want);
		ck_assert_int_eq(atomic_load(&fetches), i);
		skip(1);
		is_token(want);
		wait_fetches(i + 1);
	}
	is_token("token5");
	skip(1);
	ck_assert_int_eq(token_refused(t, "token5", NULL, &why), 0);
	is_token("token6");
	skip(5);
	is_token("token7");		/* waited for */
	ck_assert_int_eq(token_refused(t, "token7", NULL, &why), -EACCES);
	end();
}
END_TEST

START_TEST(close_cancels)
{
	struct token_call c = { .deadline = clock_mono() + 1 };
	char *text = NULL;
	int64_t begun;

	atomic_store(&slow_ms, 20000);
	begin();
	token_get(t, &c, &text, NULL);
	begun = clock_mono();
	end();
	ck_assert(clock_mono() - begun < 5 * NSEC_PER_SEC);
}
END_TEST

static const struct { const char *json; const char *text; int secs; }
    answers[] = {
	{ "{\"access_token\":\"a.b\",\"expires_in\":3599}", "a.b", 3599 },
	{ "{\"access_token\":\"a\",\"expires_in\":\"86399\"}", "a", 86399 },
	{ "{\"token\":\"a\",\"expires_in\":10.5}", "a", 10 },
	{ "{\"access_token\":\"a\"}", "a", 3600 },
	{ "{\"access_token\":\"a\",\"expires_in\":-5}", "a", 3600 },
	{ "{\"access_token\":\"a\",\"expires_in\":0}", "a", 1 },
	{ "{\"access_token\":\"a\",\"expires_in\":1e300}", "a", 3600 },
	{ "{\"access_token\":\"a\",\"expires_on\":\"1\"}", "a", 60 },
	{ "{\"access_token\":\"a\",\"expires_on\":99999999999}", "a", 86400 },
	{ "{\"access_token\":\"a\\nb\",\"expires_in\":1}", NULL, 0 },
	{ "{\"access_token\":\"\"}", NULL, 0 },
	{ "{\"access_token\":7}", NULL, 0 },
	{ "{}", NULL, 0 }, { "[]", NULL, 0 }, { "", NULL, 0 },
	{ "{\"access_token\":\"a\"", NULL, 0 }, { "<html>", NULL, 0 },
};
enum { NANSWERS = sizeof(answers) / sizeof(answers[0]) };

START_TEST(parses)
{
	struct token got = TOKEN_INIT;
	int err;

	sys_init();
	err = token_parse(answers[_i].json, strlen(answers[_i].json), &got);
	ck_assert_int_eq(err, answers[_i].text != NULL ? 0 : -EINVAL);
	if (err == 0) {
		ck_assert_str_eq(got.text, answers[_i].text);
		ck_assert_int_eq(got.life / NSEC_PER_SEC, answers[_i].secs);
	}
	token_done(&got);
	token_done(NULL);
	token_text_free(NULL);
	token_cache_close(NULL);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("token");
	TCase *c = tcase_create("token");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, once_for_all);
	tcase_add_test(c, early_in_the_background);
	tcase_add_test(c, issuer_away);
	tcase_add_test(c, none_at_all);
	tcase_add_test(c, refused);
	tcase_add_test(c, the_same_again);
	tcase_add_test(c, short_lives);
	tcase_add_test(c, close_cancels);
	tcase_add_loop_test(c, parses, 0, NANSWERS);
	suite_add_tcase(suite, c);
	return help_run(suite);
}

/* fs_tags: the tags of an import's objects, from a server that takes its time:
 * what else is written to the import's row meanwhile stays; an end is soon;
 * too many keys are refused, and what is set is known to be the bucket's. */
#include "fs_util.h"

#include "backends/s3.h"
#include "fs/import.h"
#include "fs/refresh_impl.h"
#include "test/unit/s3_server.h"

#define EVERY	(3600 * NSEC_PER_SEC)

static _Atomic bool gate, no_lists;	/* closed: nothing is told of tags */
static _Atomic unsigned asked;
static unsigned nobjects, denied;	/* from this one that is asked; 0 */
static bool own_keys;			/* each object has another */
static struct fs *f;
static uint64_t root;

static enum action
list(struct request *q, struct buf *out)
{
	const char *after = strstr(q->target, "start-after=");
	struct buf page = BUF_INIT;
	enum action a;
	char key[20];

	buf_puts(&page, "<?xml version=\"1.0\"?><ListBucketResult>");
	for (unsigned i = 0; i < nobjects; i++) {
		snprintf(key, sizeof(key), "f%04u", i);
		if (after == NULL || strncmp(key, after + 12, 5) > 0)
			buf_printf(&page, "<Contents><Key>%s</Key>"
			    "<LastModified>2013-05-24T00:00:00.123Z"
			    "</LastModified><ETag>\"x\"</ETag><Size>5</Size>"
			    "</Contents>", key);
	}
	buf_puts(&page, "</ListBucketResult>");
	a = say(out, 200, "", buf_cstr(&page));
	buf_done(&page);
	return a;
}

static enum action
answer(struct request *q, struct buf *out)
{
	const char *p = strstr(q->target, "/f");
	unsigned i = p != NULL ? (unsigned)atoi(p + 2) : 0, n;
	char body[300];

	if (strstr(q->target, "list-type=") != NULL)
		return atomic_load(&no_lists) ? say_error(out, 403,
		    "AccessDenied") : list(q, out);
	if (strstr(q->target, "?tagging=") == NULL)
		return say_error(out, 404, "NoSuchKey");
	/* the first asks whether there are any */
	n = atomic_fetch_add(&asked, 1);
	while (n > 0 && atomic_load(&gate) && !atomic_load(&server.stop))
		usleep(2000);
	if (denied != 0 && n >= denied)
		return say_error(out, 403, "AccessDenied");
	snprintf(body, sizeof(body), "<Tagging><TagSet><Tag><Key>k%u</Key>"
	    "<Value>v</Value></Tag></TagSet></Tagging>", own_keys ? i : 0);
	return say(out, 200, "", body);
}

static void
setup(void)
{
	fu_setup_home();
	server_listen(answer);
	aws_env_clear();
	setenv("AWS_ACCESS_KEY_ID", "AKIATESTTEST", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "verysecret", 1);
	snprintf(server.url, sizeof(server.url),
	    "s3://lake?endpoint=http://127.0.0.1:%d&region=us-east-1",
	    server.port);
	f = fu_up("a", NULL);
	ck_assert_int_eq(refresh_start(f), 0);
	nobjects = 40;
}

static void
teardown(void)
{
	refresh_stop(f);
	refresh_done(f);
	fu_stop(f, true);
	server_end();
	fu_teardown();
}

/* --- what is done at the same time --- */

struct doing {
	pthread_t	 thread;	/* who began it knows */
	pthread_t	 self;		/* the same, known to itself */
	bool		 is_refresh;
	_Atomic bool	 stop, elsewhere;
	int		 err;
	struct why	 why;
};

static int
progress(void *arg, uint64_t keys, uint64_t bytes)
{
	struct doing *d = arg;

	if (atomic_load(&asked) > 0 && !pthread_equal(pthread_self(),
	    d->self))
		atomic_store(&d->elsewhere, true);
	return atomic_load(&d->stop);
}

static void *
doing_run(void *arg)
{
	struct doing *d = arg;
	struct import_request i = { .url = server.url, .path = "/set",
	    .file_mode = -1, .tags = true, .progress = progress, .arg = d };
	struct refresh_request r = { .path = "/set", .every = EVERY };
	struct import_result ires;
	struct refresh_result rres;

	d->self = pthread_self();
	d->err = d->is_refresh ? fs_refresh(f, &r, &rres, &d->why) :
	    fs_import(f, &i, &ires, &d->why);
	return NULL;
}

static void
begin(struct doing *d)
{
	ck_assert_int_eq(pthread_create(&d->thread, NULL, doing_run, d), 0);
}

/* The import is there, and tags are asked for. */
static void
wait_asked(unsigned n)
{
	struct attr a = { 0 };
	struct sqc *c;

	for (unsigned i = 0; i < 2000 && atomic_load(&asked) < n; i++)
		usleep(5000);
	ck_assert_uint_ge(atomic_load(&asked), n);
	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	ck_assert_int_eq(meta_resolve(c, "/set", &a), 0);
	sq_read_end(c);
	root = a.ino;
}

static char *
get_row(struct import_row *ret)
{
	struct sqc *c;
	char *prefix;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	ck_assert_int_eq(import_row_get(c, root, ret, &prefix), 0);
	sq_read_end(c);
	return prefix;
}

static bool
row_has(const struct import_row *r, const char *key)
{
	const char *p = r->tags;

	for (; p < r->tags + r->ntags; p += strlen(p) + 1)
		if (strcmp(p, key) == 0)
			return true;
	return false;
}

/* The keys of all tags that are set; each is the row's.  Their number. */
static unsigned
count_keys(void)
{
	struct import_row row;
	char *prefix = get_row(&row), key[300];
	struct sqc *c;
	struct sqs *s;
	const void *p;
	unsigned n = 0;
	size_t len;

	ck_assert_int_eq(sq_read(meta_sq(f->meta), &c), 0);
	s = sq_prep(c, "SELECT DISTINCT key FROM tag");
	for (; sqs_step(s) == 1; n++) {
		p = sqs_col_blob(s, 0, &len);
		snprintf(key, sizeof(key), "%.*s", (int)len, (const char *)p);
		ck_assert_msg(row_has(&row, key), "%s", key);
	}
	sqs_reset(s);
	sq_read_end(c);
	free(prefix);
	return n;
}

/* --- the row --- */

START_TEST(test_every_during_import)
{
	struct doing import = { 0 }, refresh = { .is_refresh = true };
	struct import_row row;
	char *prefix;

	atomic_store(&gate, true);
	begin(&import);
	wait_asked(2);			/* one was looked at before */
	atomic_store(&no_lists, true);
	begin(&refresh);
	pthread_join(refresh.thread, NULL);
	ck_assert_int_eq(refresh.err, -EACCES);
	prefix = get_row(&row);
	ck_assert_int_eq(row.every, EVERY);
	free(prefix);
	atomic_store(&gate, false);
	pthread_join(import.thread, NULL);
	ck_assert_msg(import.err == 0, "%d %s", import.err, import.why.text);
	prefix = get_row(&row);
	ck_assert_int_eq(row.every, EVERY);
	ck_assert(row_has(&row, "k0"));
	free(prefix);
}
END_TEST

static int
other_key_fn(struct sqc *c, void *arg)
{
	const struct import_row *row = arg;
	struct buf body = BUF_INIT;
	struct op op;
	int err;

	err = import_row_op(row, &body, &op);
	if (err == 0)
		err = journal(f->meta, c, &op, NEEDS_NOTHING, NULL, 0, NULL);
	buf_done(&body);
	return err;
}

/* Who waits for its turn has read the row before. */
START_TEST(test_keys_before_every)
{
	struct doing import = { 0 }, refresh = { .is_refresh = true };
	struct import_row row;
	struct why why = { "" };
	char *prefix;

	begin(&import);
	pthread_join(import.thread, NULL);
	ck_assert_msg(import.err == 0, "%d %s", import.err, import.why.text);
	wait_asked(nobjects);
	atomic_store(&no_lists, true);
	ck_assert_int_eq(refresh_enter(f->refresher, root), 0);
	begin(&refresh);
	usleep(300000);
	prefix = get_row(&row);
	row.tags = "k0\0other";
	row.ntags = 9;
	ck_assert_int_eq(sq_write(meta_sq(f->meta), other_key_fn, &row), 0);
	free(prefix);
	refresh_leave(f->refresher, root, 0, 0, &why);
	pthread_join(refresh.thread, NULL);
	ck_assert_int_eq(refresh.err, -EACCES);
	prefix = get_row(&row);
	ck_assert_int_eq(row.every, EVERY);
	ck_assert(row_has(&row, "k0"));
	ck_assert(row_has(&row, "other"));
	free(prefix);
}
END_TEST

/* --- the end --- */

START_TEST(test_cancelled)
{
	struct doing import = { 0 };
	int64_t t0;

	atomic_store(&gate, true);
	begin(&import);
	wait_asked(2);
	t0 = clock_mono();
	atomic_store(&import.stop, true);
	pthread_join(import.thread, NULL);
	ck_assert_int_eq(import.err, -ECANCELED);
	ck_assert_int_lt(clock_mono() - t0, 3 * NSEC_PER_SEC);
	ck_assert(!atomic_load(&import.elsewhere));
	atomic_store(&gate, false);
}
END_TEST

/* --- keys --- */

START_TEST(test_too_many_keys)
{
	struct doing import = { 0 };

	own_keys = true;
	nobjects = 1100;
	begin(&import);
	pthread_join(import.thread, NULL);
	wait_asked(1025);
	ck_assert_int_eq(import.err, -E2BIG);
	ck_assert_msg(strstr(import.why.text, "1024") != NULL &&
	    strstr(import.why.text, "without --tags") != NULL, "%s",
	    import.why.text);
	ck_assert_uint_le(count_keys(), 1024);
	ck_assert_uint_ge(count_keys(), 256);
}
END_TEST

/* What is set before a failure is known to be the bucket's. */
START_TEST(test_fails_in_the_middle)
{
	struct doing import = { 0 };

	own_keys = true;
	nobjects = 1000;
	denied = 900;
	begin(&import);
	pthread_join(import.thread, NULL);
	wait_asked(300);
	ck_assert_int_eq(import.err, -EACCES);
	ck_assert_uint_ge(count_keys(), 256);
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(setup, teardown, 60);

	tcase_add_test(t, test_every_during_import);
	tcase_add_test(t, test_keys_before_every);
	tcase_add_test(t, test_cancelled);
	tcase_add_test(t, test_too_many_keys);
	tcase_add_test(t, test_fails_in_the_middle);
	return fu_run("fs_tags", t);
}

/*
 * fs_control: what is answered to hostile requests on the control socket:
 * always one line that says whether it went well.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <jansson.h>

#include "fs_util.h"

#include <fcntl.h>

#include "fs/control_impl.h"
#include "fs/io.h"
#include "fs/stores_impl.h"
#include "meta/place.h"

static struct fs *F;

static void
start(void)
{
	struct fs_options o;
	struct why why = { "" };
	char state[300], dir[300];
	int err;

	snprintf(state, sizeof(state), "%s/state", fu_dir);
	snprintf(dir, sizeof(dir), "%s/\xe9t\xe9", fu_dir);	/* Latin-1 */
	options_init(&o);
	o.url = fu_url;
	o.dir = dir;
	o.state = state;
	o.cache_size = 64 << 20;
	o.lag = 0;
	o.allow_other = false;
	err = fs_start(&o, &F, &why);
	ck_assert_msg(err == 0, "%d %s", err, why.text);
}

static void
setup(void)
{
	fu_setup_home();
	setenv("XDG_RUNTIME_DIR", fu_dir, 1);
	start();
}

static void
teardown(void)
{
	fs_stop(F, clock_mono() + 10 * NSEC_PER_SEC);
	fu_teardown();
}

/* One request and the last line of its answer, new. */
static json_t *
ask(const char *line)
{
	static _Thread_local char text[1 << 16];
	size_t n = 0;
	ssize_t got;
	char *last;
	json_t *o;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	ck_assert_int_eq(send(fd[0], line, strlen(line), 0), strlen(line));
	ck_assert_int_eq(send(fd[0], "\n", 1, 0), 1);
	ctl_serve(F, fd[1]);
	close(fd[1]);
	while ((got = recv(fd[0], text + n, sizeof(text) - 1 - n, 0)) > 0)
		n += (size_t)got;
	close(fd[0]);
	ck_assert_msg(n > 0 && text[n - 1] == '\n', "no answer to %.100s",
	    line);
	text[n - 1] = '\0';
	last = strrchr(text, '\n');
	o = json_loads(last != NULL ? last + 1 : text, 0, NULL);
	ck_assert_msg(json_is_boolean(json_object_get(o, "ok")), "%s", text);
	return o;
}

static void
is_refused(const char *line, int err, const char *word)
{
	json_t *o = ask(line);
	const char *said = json_string_value(json_object_get(o, "error"));

	ck_assert_int_eq(json_integer_value(json_object_get(o, "errno")),
	    err);
	ck_assert_ptr_nonnull(said);
	ck_assert_msg(strstr(said, word) != NULL, "%s", said);
	json_decref(o);
}

START_TEST(no_requests)
{
	is_refused("", EINVAL, "not JSON");
	is_refused("[]", EINVAL, "a request is");
	is_refused("{\"v\":1,\"cmd\":7}", EINVAL, "a request is");
	is_refused("{\"v\":1,\"cmd\":\"find\",\"args\":[]}", EINVAL,
	    "a request is");
	is_refused("{\"v\":2,\"cmd\":\"find\"}", EPROTONOSUPPORT, "version");
	is_refused("{\"v\":1,\"cmd\":\"\\u00e9\"}", EINVAL, "\xc3\xa9");
	is_refused("{\"v\":1,\"cmd\":\"a\",\"cmd\":\"b\"}", EINVAL,
	    "not JSON");
	is_refused("{\"v\":1,\"cmd\":\"find\",\"args\":{\"selectors\":"
	    "[7]}}", EINVAL, "string");
}
END_TEST

/* A sentence is cut where it is too long, and the cut may fall into a
 * character: it is answered all the same. */
START_TEST(long_names)
{
	char line[2200], name[2001];

	for (int lead = 0; lead < 2; lead++) {
		memset(name, 'x', (size_t)lead);
		for (int i = lead; i < 1000; i += 2)
			memcpy(name + i, "\xc3\xa9", 3);
		snprintf(line, sizeof(line), "{\"v\":1,\"cmd\":\"%s\"}",
		    name);
		is_refused(line, EINVAL, "knows no command");
		snprintf(line, sizeof(line), "{\"v\":1,\"cmd\":\"store\","
		    "\"args\":{\"op\":\"rm\",\"name\":\"%s\"}}", name);
		is_refused(line, ENOENT, "no store");
	}
}
END_TEST

/* One that lasts longer than time does. */
START_TEST(long_pins)
{
	json_t *o;

	o = ask("{\"v\":1,\"cmd\":\"pin\",\"args\":{\"selectors\":[\"/*\"],"
	    "\"ttl\":9223372036854775807}}");
	ck_assert(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
	o = ask("{\"v\":1,\"cmd\":\"pins\"}");
	ck_assert(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
}
END_TEST

static int
put_tx(struct sqc *c, void *arg)
{
	uint64_t seq;

	return journal(F->meta, c, arg, NEEDS_NOTHING, NULL, 0, &seq);
}

/* Names and texts that are no UTF-8, ours or of another host's log. */
START_TEST(bytes)
{
	struct op ops[] = {
		{ .kind = OP_STORE, .ino = 7, .name = "st\xff", .value =
		    "file:///\xe9", .nvalue = 9, .ctime = 1 },
		{ .kind = OP_PIN, .ino = 8, .name = "p\xff", .name2 = "h",
		    .value = "/\xe9", .nvalue = 2, .ctime = 1 },
	};
	static const char *const lines[] = {
		"{\"v\":1,\"cmd\":\"status\"}",
		"{\"v\":1,\"cmd\":\"pins\"}",
		"{\"v\":1,\"cmd\":\"store\",\"args\":{\"op\":\"ls\"}}",
		"{\"v\":1,\"cmd\":\"sync\"}",
	};
	json_t *o, *r;

	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(sq_write(meta_sq(F->meta), put_tx, &ops[i]),
		    0);
	ck_assert_int_eq(stores_reload(F), 0);
	for (unsigned i = 0; i < 4; i++) {
		o = ask(lines[i]);
		ck_assert_msg(json_is_true(json_object_get(o, "ok")), "%s",
		    lines[i]);
		r = json_object_get(o, "result");
		if (i == 0) {
			ck_assert_ptr_nonnull(strstr(json_string_value(
			    json_object_get(r, "dir")), "/?t?"));
			ck_assert_uint_eq(json_array_size(json_object_get(r,
			    "stores")), 2);
		}
		json_decref(o);
	}
}
END_TEST

static json_t *answers[2];

static void *
ask_beside(void *line)
{
	return ask(line);
}

/* Two at a time, while the store is asked; the answers are new. */
static void
ask_two(char *one, char *two)
{
	pthread_t t[2];

	setenv("GNSFS_FAULT", "op=list,delay=500", 1);
	ck_assert_int_eq(pthread_create(&t[0], NULL, ask_beside, one), 0);
	ck_assert_int_eq(pthread_create(&t[1], NULL, ask_beside, two), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], (void **)&answers[i]);
	unsetenv("GNSFS_FAULT");
}

/* How many of them went well. */
static int
well(void)
{
	int n = 0;

	for (int i = 0; i < 2; i++) {
		n += json_is_true(json_object_get(answers[i], "ok"));
		json_decref(answers[i]);
	}
	return n;
}

static int
note_store(void *arg, const struct store_row *s)
{
	strcat(arg, s->name);
	return 0;
}

static void
has_stores(const char *want)
{
	char names[100] = "";
	struct sqc *q;

	ck_assert_int_eq(sq_read(meta_sq(F->meta), &q), 0);
	ck_assert_int_eq(meta_stores(q, note_store, names), 0);
	sq_read_end(q);
	ck_assert_str_eq(names, want);
}

static char *
store_line(char ret[500], const char *op, const char *name)
{
	snprintf(ret, 500, "{\"v\":1,\"cmd\":\"store\",\"args\":{\"op\":"
	    "\"%s\",\"name\":\"%s\",\"url\":\"file://%s\"}}", op, name,
	    fu_dir);
	return ret;
}

/* Commands that ask the network meanwhile: none undoes the other. */
START_TEST(stores_at_once)
{
	char one[500], two[500];

	ask_two(store_line(one, "add", "a"), store_line(two, "add", "b"));
	ck_assert_int_eq(well(), 2);
	json_decref(ask(store_line(one, "rm", "b")));
	json_decref(ask(store_line(one, "add", "b")));
	has_stores("homeab");
	ask_two(store_line(one, "add", "c"), store_line(two, "add", "c"));
	ck_assert_int_eq(well(), 1);
	has_stores("homeabc");
	/* One that goes meanwhile does not come again. */
	ask_two(store_line(one, "set", "c"), store_line(two, "rm", "c"));
	ck_assert_int_eq(well(), 1);
	has_stores("homeab");
}
END_TEST

/* --- a store's address, and what is recorded of it --- */

/* In a new folder. */
static char *
moved_line(char ret[500], const char *op, const char *name, const char *to)
{
	char dir[300];

	snprintf(dir, sizeof(dir), "%s/%s", fu_dir, to);
	(void)mkdir(dir, 0700);
	snprintf(ret, 500, "{\"v\":1,\"cmd\":\"store\",\"args\":{\"op\":"
	    "\"%s\",\"name\":\"%s\",\"url\":\"file://%s\"}}", op, name,
	    dir);
	return ret;
}

static int
ask_errno(const char *line)
{
	json_t *o = ask(line);
	int err = (int)json_integer_value(json_object_get(o, "errno"));

	json_decref(o);
	return err;
}

enum { SIZE = 100000 };
static char content[SIZE];

static uint64_t
write_file(const char *name)
{
	struct handle *h;
	struct attr a;

	memset(content, 'x', sizeof(content));
	ck_assert_int_eq(io_create(F, META_ROOT, name, 0644, 0, 0, O_RDWR, &a,
	    &h), 0);
	ck_assert_int_eq(io_write(F, h, content, SIZE, 0), SIZE);
	io_release(F, h);
	return a.ino;
}

static void
sync_all(void)
{
	struct why why = { "" };

	ck_assert_msg(io_sync(F, 0, clock_mono() + 30 * NSEC_PER_SEC, &why) ==
	    0, "%s", why.text);
}

static int
stage_all(const char *to, stage_progress *progress, void *arg)
{
	const char *const all[] = { "/" };
	struct pin_request req = { .selectors = all, .nselectors = 1 };
	struct stage_status st;
	struct why why = { "" };
	uint64_t seq;

	return stage_run(F, &req, to, progress, arg, &st, &seq, &why);
}

static int asked = -1;

static int
ask_meanwhile(void *arg, const struct stage_status *s)
{
	if (asked < 0)
		asked = ask_errno(arg);
	return 0;
}

static bool
is_moving(uint32_t id)
{
	bool r;

	lock_take(&F->stores->lock);
	r = stores_entry(F->stores, id)->moving;
	lock_drop(&F->stores->lock);
	return r;
}

/* What a stage records is of the address that the store has; and of two who
 * change that, one does. */
START_TEST(one_changes_a_store)
{
	char add[500], one[500], two[500];
	int64_t end = clock_mono() + 20 * NSEC_PER_SEC;
	pthread_t t;
	json_t *o;

	ck_assert_int_eq(ask_errno(moved_line(add, "add", "a", "a")), 0);
	write_file("x");
	sync_all();
	moved_line(one, "set", "a", "b");
	ck_assert_int_eq(stage_all("a", ask_meanwhile, one), 0);
	ck_assert_int_eq(asked, EBUSY);
	setenv("GNSFS_FAULT", "op=list,delay=3000", 1);
	ck_assert_int_eq(pthread_create(&t, NULL, ask_beside, one), 0);
	while (!is_moving(2) && clock_mono() < end)
		clock_sleep(NSEC_PER_MSEC);
	ck_assert_int_eq(stage_all("a", NULL, NULL), -EBUSY);
	ck_assert_int_eq(ask_errno(moved_line(two, "set", "a", "c")), EBUSY);
	pthread_join(t, (void **)&o);
	unsetenv("GNSFS_FAULT");
	/* the copy is not at b */
	ck_assert_int_eq(json_integer_value(json_object_get(o, "errno")),
	    ESTALE);
	json_decref(o);
	ck_assert(!is_moving(2));
	ck_assert_int_eq(stage_all("a", NULL, NULL), 0);
}
END_TEST

static int64_t
count_rows(const char *sql)
{
	struct sqc *q;
	struct sqs *s;
	int64_t n;

	ck_assert_int_eq(sq_read(meta_sq(F->meta), &q), 0);
	s = sq_prep(q, sql);
	ck_assert_int_eq(sqs_step(s), 1);
	n = sqs_col_int(s, 0);
	sq_read_end(q);
	return n;
}

#define PUT_AND_FREE	"SELECT count(*) FROM op o WHERE needs = 3 AND NOT " \
	"EXISTS (SELECT 1 FROM frozen_run WHERE o.seq BETWEEN lo AND hi)"

/* A file whose bytes are in their store and whose record is in no batch yet,
 * as another is under way: true, if it was had. */
static bool
put_unrecorded(const char *name, uint64_t *retino)
{
	struct op op = { .kind = OP_SETATTR, .ino = META_ROOT, .ctime = 1 };
	int64_t end = clock_mono() + 10 * NSEC_PER_SEC;

	ck_assert_int_eq(sq_write(meta_sq(F->meta), put_tx, &op), 0);
	ship_kick(F);
	while (count_rows("SELECT count(*) FROM frozen") == 0 &&
	    clock_mono() < end)
		clock_sleep(NSEC_PER_MSEC);
	*retino = write_file(name);
	while (count_rows(PUT_AND_FREE) == 0 && count_rows("SELECT count(*) "
	    "FROM frozen") == 1 && clock_mono() < end)
		clock_sleep(NSEC_PER_MSEC);
	return count_rows(PUT_AND_FREE) > 0;
}

/* What was put at the old address and is in no record yet is nowhere that
 * anybody compared: it is put again. */
START_TEST(unrecorded_when_it_moves)
{
	struct place_row place = { META_ROOT, 2 };
	char line[500], got[SIZE], copy[500], name[20];
	struct buf body = BUF_INIT;
	struct handle *h;
	bool had = false;
	uint64_t ino = 0;
	struct op op;

	ck_assert_int_eq(ask_errno(moved_line(line, "add", "a", "a")), 0);
	ck_assert_int_eq(place_row_op(&place, &body, &op), 0);
	ck_assert_int_eq(sq_write(meta_sq(F->meta), put_tx, &op), 0);
	buf_done(&body);
	fs_stop(F, clock_mono() + 10 * NSEC_PER_SEC);
	setenv("GNSFS_FAULT", "op=put,key=log/,delay=2000", 1);
	start();
	unsetenv("GNSFS_FAULT");
	moved_line(line, "set", "a", "b");
	snprintf(copy, sizeof(copy), "cp -a %s/a/. %s/b", fu_dir, fu_dir);
	for (int i = 0; i < 8 && !had; i++) {
		sync_all();
		/* what is recorded is copied */
		ck_assert_int_eq(system(copy), 0);
		snprintf(name, sizeof(name), "n%d", i);
		had = put_unrecorded(name, &ino);
	}
	ck_assert(had);
	ck_assert_int_eq(ask_errno(line), 0);
	sync_all();
	(void)cache_evict(F->cache, ino);
	ck_assert_int_eq(io_open(F, ino, O_RDONLY, &h), 0);
	ck_assert_int_eq(io_read(F, h, got, SIZE, 0), SIZE);
	ck_assert_int_eq(memcmp(got, content, SIZE), 0);
	io_release(F, h);
}
END_TEST

static void *
reload_beside(void *arg)
{
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(stores_reload(F), 0);
	return NULL;
}

static int
count_store(void *arg, const struct store_health *h)
{
	++*(int *)arg;
	return 0;
}

/* What the namespace has is found, whoever reads its rows again meanwhile. */
START_TEST(stores_while_read)
{
	char line[500], inside[400], *prefix;
	struct why why = { "" };
	pthread_t t[2];
	struct url u;
	uint32_t id;
	int n;

	json_decref(ask(store_line(line, "add", "a")));
	snprintf(inside, sizeof(inside), "file://%s/in", fu_dir);
	ck_assert_int_eq(url_parse(inside, &u, &why), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, reload_beside,
		    NULL), 0);
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(stores_by_name(F, "a", &id), 0);
		ck_assert_int_eq(stores_find(F, &u, &id, &prefix), 0);
		free(prefix);
		n = 0;
		ck_assert_int_eq(stores_each(F, count_store, &n), 0);
		ck_assert_int_eq(n, 2);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	url_done(&u);
	json_decref(ask(store_line(line, "rm", "a")));
	ck_assert_int_eq(stores_by_name(F, "a", &id), -ENOENT);
}
END_TEST

static void
tag(const char *op, const char *key, const char *value, int err)
{
	char line[300], with[100] = "";
	json_t *o;

	if (value != NULL)
		snprintf(with, sizeof(with), ",\"value\":\"%s\"", value);
	snprintf(line, sizeof(line), "{\"v\":1,\"cmd\":\"tag\",\"args\":"
	    "{\"op\":\"%s\",\"path\":\"/\",\"key\":\"%s\"%s}}", op, key,
	    with);
	o = ask(line);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "errno")),
	    err);
	json_decref(o);
}

/* A tag goes by its key, or by its key and the value that it has. */
START_TEST(tags_with_values)
{
	tag("add", "env", "test", 0);
	tag("rm", "env", "prod", ENODATA);
	tag("rm", "env", "", ENODATA);
	tag("rm", "env", "test", 0);
	tag("rm", "env", NULL, ENODATA);
	tag("add", "env", "", 0);
	tag("rm", "env", "test", ENODATA);
	tag("rm", "env", "", 0);
	tag("add", "env", "test", 0);
	tag("rm", "env", NULL, 0);
	tag("rm", "env", NULL, ENODATA);
}
END_TEST

/* A connection as the command makes one, and a line sent on it (NULL:
 * none). */
static int
call(const char *line)
{
	int fd = control_connect(control_path(F), NSEC_PER_SEC);

	ck_assert_int_ge(fd, 0);
	if (line != NULL)
		ck_assert_int_eq(send(fd, line, strlen(line), 0),
		    strlen(line));
	return fd;
}

/* The last line of the answer: the errno in it, 0, -1: there was none. */
static int
errno_of(int fd)
{
	static char text[1 << 16];
	json_t *o;
	size_t n = 0;
	ssize_t got;
	int rc;

	while ((got = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0)
		n += (size_t)got;
	close(fd);
	text[n] = '\0';
	o = json_loads(text, 0, NULL);
	rc = o == NULL ? -1 : (int)json_integer_value(json_object_get(o,
	    "errno"));
	json_decref(o);
	return rc;
}

/* As many commands as there may be are under way: others are told, and those
 * that an unmount needs get through. */
START_TEST(commands_at_once)
{
	int64_t deadline = clock_mono() + 20 * NSEC_PER_SEC;
	char line[600], name[20];
	int fds[60], i, n = 0, rc;

	setenv("GNSFS_FAULT", "op=list,delay=8000", 1);
	for (i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		strcat(store_line(line, "add", name), "\n");
		fds[i] = call(line);
	}
	while ((rc = errno_of(call("{\"v\":1,\"cmd\":\"pins\"}\n"))) == 0 &&
	    clock_mono() < deadline)
		usleep(20000);
	ck_assert_int_eq(rc, EBUSY);
	ck_assert_int_eq(errno_of(call("{\"v\":1,\"cmd\":\"status\"}\n")), 0);
	ck_assert_int_eq(errno_of(call("{\"v\":1,\"cmd\":\"stay\"}\n")), 0);
	for (i = 0; i < 32; i++)
		ck_assert_int_eq(errno_of(fds[i]), 0);
	unsetenv("GNSFS_FAULT");
	ck_assert_int_eq(errno_of(call("{\"v\":1,\"cmd\":\"pins\"}\n")), 0);
	/* Who says nothing takes room, too. */
	for (i = 0; i < 57; i++)
		fds[n++] = call(NULL);
	ck_assert_int_eq(errno_of(fds[--n]), EBUSY);
	while (n > 0)
		close(fds[--n]);
}
END_TEST

/* A daemon that is stopped is there, and asking whether it is takes no time:
 * nor does it when nobody more can connect. */
START_TEST(nobody_accepts)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), fds[20], i, n, rc = 0;
	int64_t began = clock_mono();

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.90s/s", fu_dir);
	ck_assert_int_eq(control_connect(sa.sun_path, 0), -ENOENT);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(control_connect(sa.sun_path, 0), -ECONNREFUSED);
	ck_assert_int_eq(listen(s, 3), 0);
	for (n = 0; n < 20 && (rc = control_connect(sa.sun_path, 0)) >= 0;
	    n++)
		fds[n] = rc;
	ck_assert_int_eq(rc, -EAGAIN);
	ck_assert_int_eq(control_connect(sa.sun_path, NSEC_PER_SEC / 5),
	    -EAGAIN);
	ck_assert_int_lt(clock_mono() - began, 10 * NSEC_PER_SEC);
	for (i = 0; i < n; i++)
		close(fds[i]);
	close(s);
}
END_TEST

int
main(void)
{
	TCase *t = fu_case(setup, teardown, 60);

	tcase_add_test(t, no_requests);
	tcase_add_test(t, long_names);
	tcase_add_test(t, long_pins);
	tcase_add_test(t, bytes);
	tcase_add_test(t, stores_at_once);
	tcase_add_test(t, one_changes_a_store);
	tcase_add_test(t, unrecorded_when_it_moves);
	tcase_add_test(t, stores_while_read);
	tcase_add_test(t, tags_with_values);
	tcase_add_test(t, commands_at_once);
	tcase_add_test(t, nobody_accepts);
	return fu_run("fs_control", t);
}

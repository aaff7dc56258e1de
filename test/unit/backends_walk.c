/*
 * backends_walk: store_walk gives every key once, whatever their shape, in
 * few more lists than there are pages, and with many at once; over a store in
 * memory with random keys, over one that lies, and over the file store.
 */
#include <pthread.h>
#include <stdarg.h>

#include "test/unit/store_help.h"

/* --- a store in memory that only lists --- */

struct mem {
	struct store	 store;
	char		**keys;
	size_t		 n;
	unsigned	 page, caps;
	int64_t		 delay;		/* ns a list takes */
	_Atomic unsigned lists, now, most;
	_Atomic uint64_t lists_at[65];	/* lists that began with so many */
	unsigned	 fail_at;	/* this list fails; 0: none */
};

static size_t
first_after(const struct mem *m, const char *key)
{
	size_t lo = 0, hi = m->n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (strcmp(m->keys[mid], key) > 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static enum store_rc
mem_list(struct store *s, struct store_call *c, struct store_list *l,
    int (*each)(void *arg, const struct store_entry *e), void *arg)
{
	struct mem *m = (struct mem *)s;
	struct store_entry e = { 0 };
	const char *after = l->token[0] != '\0' ? l->token :
	    l->start_after != NULL ? l->start_after : "";
	unsigned at = atomic_fetch_add(&m->now, 1) + 1, most, given = 0;
	enum store_rc rc = STORE_OK;
	size_t i;

	for (most = atomic_load(&m->most); at > most &&
	    !atomic_compare_exchange_weak(&m->most, &most, at); )
		;
	atomic_fetch_add(&m->lists_at[at], 1);
	if (atomic_fetch_add(&m->lists, 1) + 1 == m->fail_at) {
		atomic_fetch_sub(&m->now, 1);
		why_set(c->why, 0, "it was to fail");
		return STORE_DENIED;
	}
	clock_sleep(m->delay);
	l->more = false;
	for (i = first_after(m, after); i < m->n && rc == STORE_OK; i++) {
		int cmp = strncmp(m->keys[i], l->prefix, strlen(l->prefix));

		if (cmp < 0)
			continue;
		if (cmp > 0)
			break;
		if (given == m->page) {
			l->more = true;
			strcpy(l->token, m->keys[i - 1]);
			break;
		}
		given++;
		e.key = m->keys[i];
		if (each(arg, &e) != 0)
			rc = STORE_CANCELLED;
	}
	atomic_fetch_sub(&m->now, 1);
	return rc;
}

static unsigned
mem_caps(struct store *s)
{
	return ((struct mem *)s)->caps;
}

static const struct store_ops mem_ops = { .list = mem_list,
	.caps = mem_caps };

static void
mem_init(struct mem *m, size_t n)
{
	memset(m, 0, sizeof(*m));
	m->store.ops = &mem_ops;
	m->store.url = "mem://";
	m->caps = STORE_LIST_SORTED | STORE_LIST_START_AFTER;
	m->page = 1000;
	m->keys = calloc(n, sizeof(*m->keys));
	ck_assert_ptr_nonnull(m->keys);
}

static int
by_key(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
mem_sort(struct mem *m)
{
	size_t i, n = 0;

	qsort(m->keys, m->n, sizeof(*m->keys), by_key);
	for (i = 0; i < m->n; i++) {
		if (n > 0 && strcmp(m->keys[i], m->keys[n - 1]) == 0)
			free(m->keys[i]);
		else
			m->keys[n++] = m->keys[i];
	}
	m->n = n;
}

static void
mem_done(struct mem *m)
{
	while (m->n > 0)
		free(m->keys[--m->n]);
	free(m->keys);
}

static void __attribute__((format(printf, 2, 3)))
mem_add(struct mem *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&m->keys[m->n++], fmt, ap) < 0)
		abort();
	va_end(ap);
}

/* --- what comes out --- */

struct seen {
	char		**keys;
	size_t		 n, stop_at;
	_Atomic int	 inside;
};

static int
see(void *arg, const struct store_entry *e)
{
	struct seen *v = arg;

	/* one thread at a time (a ck_assert a key would take all the time) */
	if (atomic_fetch_add(&v->inside, 1) != 0)
		abort();
	v->keys[v->n++] = strdup(e->key);
	atomic_fetch_sub(&v->inside, 1);
	return v->n == v->stop_at;
}

/* Walks, and holds what came against the keys with that prefix. */
static void
walk_whole(struct mem *m, const char *prefix, unsigned parallel)
{
	struct walk_opts o = { .parallel = parallel };
	struct seen v = { 0 };
	struct store_call c = { 0 };
	size_t i, j = 0;

	v.keys = calloc(2 * m->n + 1, sizeof(*v.keys));
	ck_rc(store_walk(&m->store, &c, prefix, &o, see, &v), STORE_OK);
	qsort(v.keys, v.n, sizeof(*v.keys), by_key);
	for (i = 0; i < m->n; i++) {
		if (strncmp(m->keys[i], prefix, strlen(prefix)) != 0)
			continue;
		if (j == v.n || strcmp(v.keys[j], m->keys[i]) != 0)
			ck_abort_msg("'%s' came where '%s' was to",
			    j < v.n ? v.keys[j] : "nothing", m->keys[i]);
		j++;
	}
	ck_assert_uint_eq(j, v.n);
	for (i = 0; i < v.n; i++)
		free(v.keys[i]);
	free(v.keys);
}

/* Shapes of prefixes, ~100,000 keys each. */
static void
shape_make(struct mem *m, int shape)
{
	unsigned i, n = 100000;

	mem_init(m, n);
	for (i = 0; i < n; i++) {
		switch (shape) {
		case 0:		/* flat, counted */
			mem_add(m, "img_%06u.jpg", i);
			break;
		case 1:		/* flat, hashed */
			mem_add(m, "%016llx", (unsigned long long)
			    i * 0x9e3779b97f4a7c15u);
			break;
		case 2:		/* folders by class, counted within */
			mem_add(m, "train/n%08u/n%08u_%u.JPEG",
			    1440764 + i / 1300 * 7919, 1440764 +
			    i / 1300 * 7919, i % 1300 * 37);
			break;
		case 3:		/* a tree with many small folders */
			mem_add(m, "data/%02x/%02x/f%u", i % 256,
			    i / 256 % 64, i);
			break;
		case 4:		/* not padded */
			mem_add(m, "logs/part-%u", i);
			break;
		default:	/* dates */
			mem_add(m, "y=2026/m=%02u/d=%02u/h=%02u/%08x.parquet",
			    i % 12 + 1, i / 12 % 28 + 1, i / 336 % 24, i * 77);
		}
	}
	mem_sort(m);
}
enum { SHAPES = 6 };

START_TEST(shapes)
{
	struct mem m;
	unsigned pages, i;
	uint64_t few = 0, all = 0;

	shape_make(&m, _i);
	m.delay = 5 * NSEC_PER_MSEC;
	pages = (m.n + m.page - 1) / m.page;
	walk_whole(&m, "", 8);
	for (i = 1; i < 65; i++) {
		all += m.lists_at[i];
		few += i < 4 ? (uint64_t)m.lists_at[i] : 0;
	}
	printf("shape %d: %u pages, %u lists, most at once %u, %u began with"
	    " fewer than 4\n", _i, pages, (unsigned)m.lists, (unsigned)m.most,
	    (unsigned)few);
	fflush(stdout);
	/* shares and misses are bounded; how they fall depends on timing */
	ck_assert_uint_le(m.lists, pages * 7 / 4);
	ck_assert_uint_ge(m.most, 4);
	ck_assert_uint_le(few * 3, all * 2);
	mem_done(&m);
}
END_TEST

START_TEST(random_keys)
{
	static const char *const alphabets[] = { "ab", "0123456789",
	    "aZ09/._-", "\x01\x7f\xc3\xa4 ~", "abcdefghijklmnopqrstuvwxyz/" };
	const char *alpha = alphabets[_i % 5];
	unsigned round, i, j, len, parallel;
	struct mem m;
	char key[64];

	srandom(_i);
	for (round = 0; round < 40; round++) {
		unsigned n = 1 + random() % 600;

		mem_init(&m, n);
		m.page = 1 + random() % 20;
		for (i = 0; i < n; i++) {
			len = 1 + random() % 12;
			for (j = 0; j < len; j++)
				key[j] = alpha[random() % strlen(alpha)];
			key[len] = '\0';
			mem_add(&m, "%s%s", i % 3 == 0 ? "p/" : "", key);
		}
		mem_sort(&m);
		parallel = 1 + random() % 16;
		m.delay = random() % 3 * 20000;
		walk_whole(&m, "", parallel);
		walk_whole(&m, "p/", parallel);
		walk_whole(&m, "a", parallel);
		mem_done(&m);
	}
}
END_TEST

START_TEST(small_and_empty)
{
	struct mem m;

	mem_init(&m, 3);
	walk_whole(&m, "", 8);
	ck_assert_uint_eq(m.lists, 1);
	mem_add(&m, "a");
	mem_add(&m, "b");
	walk_whole(&m, "", 8);
	ck_assert_uint_eq(m.lists, 2);	/* one list for one page */
	mem_done(&m);
}
END_TEST

START_TEST(stops_and_failures)
{
	struct walk_opts o = { .parallel = 8 };
	struct store_call c = { 0 };
	struct why why = { "" };
	struct seen v = { 0 };
	struct mem m;
	size_t i;
	unsigned at;

	shape_make(&m, 0);
	v.keys = calloc(2 * m.n, sizeof(*v.keys));
	v.stop_at = 5500;
	ck_rc(store_walk(&m.store, &c, "", &o, see, &v), STORE_CANCELLED);
	ck_assert_uint_eq(v.n, 5500);	/* none after the stop */
	for (i = 0; i < v.n; i++)
		free(v.keys[i]);
	c.why = &why;
	for (at = 1; at < 60; at += 7) {
		v.n = v.stop_at = 0;
		why.text[0] = '\0';
		m.lists = 0;
		m.fail_at = at;
		ck_rc(store_walk(&m.store, &c, "", &o, see, &v),
		    STORE_DENIED);
		ck_assert_str_eq(why.text, "it was to fail");
		for (i = 0; i < v.n; i++)
			free(v.keys[i]);
	}
	free(v.keys);
	mem_done(&m);
}
END_TEST

START_TEST(other_orders)
{
	struct walk_opts o = { .parallel = 8 };
	struct store_call c = { 0 };
	struct seen v = { 0 };
	struct mem m;
	char *swap;
	size_t i;

	/* one that says it has no order is walked by one list at a time */
	shape_make(&m, 4);
	m.caps = 0;
	walk_whole(&m, "", 8);
	ck_assert_uint_eq(m.most, 1);
	/* one that says it has, and has not, is found out */
	m.caps = STORE_LIST_SORTED | STORE_LIST_START_AFTER;
	swap = m.keys[500];
	m.keys[500] = m.keys[501];
	m.keys[501] = swap;
	v.keys = calloc(2 * m.n, sizeof(*v.keys));
	ck_rc(store_walk(&m.store, &c, "", &o, see, &v), STORE_BROKEN);
	for (i = 0; i < v.n; i++)
		free(v.keys[i]);
	free(v.keys);
	mem_done(&m);
}
END_TEST

static int
count(void *arg, const struct store_entry *e)
{
	++*(unsigned *)arg;
	return e->info.size != 1 || e->info.version.text[0] == '\0';
}

START_TEST(over_files)
{
	struct store_call c = { 0 };
	struct fixture fx = { 0 };
	unsigned i, n = 0;
	char path[400];
	FILE *f;

	help_file_store(&fx);
	for (i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "%s/d%u", fx.dir, i);
		ck_assert_int_eq(sys.mkdir(path, 0755), 0);
	}
	for (i = 0; i < 9000; i++) {
		snprintf(path, sizeof(path), i % 3 == 0 ? "%s/d%u/%u" :
		    "%s/f%u-%u", fx.dir, i % 30, i);
		f = fopen(path, "w");
		fputc('x', f);
		fclose(f);
	}
	ck_rc(store_walk(fx.s, &c, "", NULL, count, &n), STORE_OK);
	ck_assert_uint_eq(n, 9000);
	n = 0;
	ck_rc(store_walk(fx.s, &c, "d3/", NULL, count, &n), STORE_OK);
	ck_assert_uint_eq(n, 300);
	help_done(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("backends_walk");
	TCase *t = tcase_create("walk");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, shapes, 0, SHAPES);
	tcase_add_loop_test(t, random_keys, 0, 10);
	tcase_add_test(t, small_and_empty);
	tcase_add_test(t, stops_and_failures);
	tcase_add_test(t, other_orders);
	tcase_add_test(t, over_files);
	suite_add_tcase(suite, t);
	return help_run(suite);
}

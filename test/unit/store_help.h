/* store_help: what the tests of stores share: temporary stores, stacks of
 * layers, bytes that can be told apart. */
#ifndef TEST_STORE_HELP_H
#define TEST_STORE_HELP_H

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/layer.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/sys.h"

#define UNUSED	__attribute__((unused))
#define ck_rc(have, want) do {						\
	enum store_rc have_ = (have), want_ = (want);			\
	ck_assert_msg(have_ == want_, "%s: %s, not %s", #have,		\
	    store_rc_name(have_), store_rc_name(want_));		\
} while (0)

/* A store of one test, and how its layers lie. */
struct fixture {
	char		 dir[256];	/* file: its directory; else "" */
	char		 url[URL_MAX];
	struct store	*s;
};

static int UNUSED
help_rm(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static UNUSED void
help_rmtree(const char *dir)
{
	nftw(dir, help_rm, 16, FTW_DEPTH | FTW_PHYS);
}

static UNUSED void
help_tempdir(char *ret, size_t n)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(ret, n, "%s/gnsfs-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(ret));
}

/* The store of a URL, bare or with all its layers. */
static UNUSED struct store *
help_open(const char *text, bool bare, const struct stack_opts *opts)
{
	struct store *s = NULL;
	struct why why = { "" };
	struct url u;
	int err;

	ck_assert_msg(url_parse(text, &u, &why) == 0, "%s", why.text);
	if (!bare)
		err = store_open(&u, opts, &s, &why);
	else
		err = store_bare_open(&u, &s, &why);
	ck_assert_msg(err == 0, "%s: %s", text, why_text(&why, err));
	url_done(&u);
	return s;
}

/* A new empty directory as a store, without layers. */
static UNUSED void
help_file_store(struct fixture *fx)
{
	sys_init();
	help_tempdir(fx->dir, sizeof(fx->dir));
	snprintf(fx->url, sizeof(fx->url), "file://%s", fx->dir);
	fx->s = help_open(fx->url, true, NULL);
}

static UNUSED void
help_done(struct fixture *fx)
{
	store_free(fx->s);
	fx->s = NULL;
	if (fx->dir[0] != '\0')
		help_rmtree(fx->dir);
}

static UNUSED enum store_rc
help_put(struct store *s, const char *key, enum store_cond cond,
    const struct store_version *match, const char *text,
    struct store_info *ret)
{
	struct store_call c = { .tag = "test" };

	return store_put_mem(s, &c, key, cond, match, text, strlen(text), ret);
}

/* The object is there with these bytes. */
static UNUSED void
help_is(struct store *s, const char *key, const char *text)
{
	struct why why = { "" };
	struct store_call c = { .why = &why };
	struct buf b = BUF_INIT;
	enum store_rc rc = store_get_all(s, &c, key, 1 << 20, &b, NULL);

	ck_assert_msg(rc == STORE_OK, "%s: %s (%s)", key, store_rc_name(rc),
	    why.text);
	ck_assert_str_eq(buf_cstr(&b), text);
	buf_done(&b);
}

static UNUSED void
help_is_absent(struct store *s, const char *key)
{
	struct store_call c = { 0 };
	struct store_info info;

	ck_rc(store_head(s, &c, key, &info), STORE_ABSENT);
}

/* All keys of a listing, one a line, prefixes with a '*' before them. */
static UNUSED int
help_each(void *arg, const struct store_entry *e)
{
	struct buf *b = arg;

	buf_printf(b, "%s%s\n", e->is_prefix ? "*" : "", e->key);
	return 0;
}

static UNUSED char *
help_list(struct store *s, const char *prefix, char delimiter,
    const char *start_after, unsigned max, unsigned *retpages)
{
	struct store_call c = { .tag = "test" };
	struct store_list l = { .prefix = prefix, .delimiter = delimiter,
	    .start_after = start_after, .max = max };
	struct buf b = BUF_INIT;
	unsigned pages = 0;

	do {
		ck_rc(store_list(s, &c, &l, help_each, &b), STORE_OK);
		pages++;
		ck_assert_uint_lt(pages, 100000);
	} while (l.more);
	if (retpages != NULL)
		*retpages = pages;
	buf_put_u8(&b, 0);
	return buf_take(&b, NULL);
}

/* A source of any size whose byte at each place is known. */
static inline unsigned char
help_byte(uint64_t off)
{
	return (unsigned char)((off * 2654435761u) >> 13);
}

static UNUSED int
help_src_read(void *arg, void *buf, size_t n, uint64_t off)
{
	unsigned char *p = buf;
	size_t i;

	if (n > 1 << 20)
		n = 1 << 20;
	for (i = 0; i < n; i++)
		p[i] = help_byte(off + i);
	return (int)n;
}

struct help_check { uint64_t off; bool wrong; };

static UNUSED int
help_src_check(void *arg, const void *buf, size_t n)
{
	struct help_check *k = arg;
	const unsigned char *p = buf;
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i] != help_byte(k->off + i))
			k->wrong = true;
	k->off += n;
	return 0;
}

/* Runs the suite: the status of main. */
static UNUSED int
help_run(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

#endif

/* page: see page.h.  Versions are short (their struct is not), so they are
 * kept as text beside the key. */
#include "backends/page.h"

#include <stdlib.h>
#include <string.h>

void
page_done(struct page *p)
{
	buf_done(&p->text);
	free(p->rows);
	*p = (struct page)PAGE_INIT;
}

void
page_reset(struct page *p)
{
	buf_reset(&p->text);
	p->n = 0;
	p->nomem = false;
}

static size_t
keep_text(struct page *p, const char *s)
{
	size_t at = p->text.len;

	buf_put(&p->text, s, strlen(s) + 1);
	return at;
}

int
page_add(void *arg, const struct store_entry *e)
{
	struct page *p = arg;
	struct page_row *row;

	if (p->n == p->cap) {
		size_t cap = p->cap == 0 ? 64 : p->cap * 2;
		struct page_row *rows = reallocarray(p->rows, cap,
		    sizeof(*rows));

		if (rows == NULL) {
			p->nomem = true;
			return 1;
		}
		p->rows = rows;
		p->cap = cap;
	}
	row = &p->rows[p->n];
	row->key = keep_text(p, e->key);
	row->version = keep_text(p, e->info.version.text);
	row->size = e->info.size;
	row->mtime = e->info.mtime;
	row->is_prefix = e->is_prefix;
	if (buf_err(&p->text) != 0) {
		p->nomem = true;
		return 1;
	}
	p->n++;
	return 0;
}

const char *
page_key(const struct page *p, size_t i)
{
	return (const char *)p->text.p + p->rows[i].key;
}

void
page_entry(const struct page *p, size_t i, struct store_entry *ret)
{
	const struct page_row *row = &p->rows[i];
	const char *version = (const char *)p->text.p + row->version;

	ret->key = page_key(p, i);
	ret->is_prefix = row->is_prefix;
	ret->info.size = row->size;
	ret->info.mtime = row->mtime;
	/* it came out of such a struct, so it fits */
	memcpy(ret->info.version.text, version, strlen(version) + 1);
}

static int
by_key(const void *a, const void *b, void *text)
{
	const struct page_row *x = a, *y = b;

	return strcmp((char *)text + x->key, (char *)text + y->key);
}

void
page_sort(struct page *p)
{
	if (p->n > 1)
		qsort_r(p->rows, p->n, sizeof(p->rows[0]), by_key,
		    p->text.p);
}

enum store_rc
page_hand_on(const struct page *p, int (*each)(void *arg,
    const struct store_entry *e), void *arg)
{
	struct store_entry e;
	size_t i;

	for (i = 0; i < p->n; i++) {
		page_entry(p, i, &e);
		if (each(arg, &e) != 0)
			return STORE_CANCELLED;
	}
	return STORE_OK;
}

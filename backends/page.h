/*
 * page: the entries of one listed page, copied, so that they can be handed on
 * after the call that brought them has ended.
 */
#ifndef BACKENDS_PAGE_H
#define BACKENDS_PAGE_H

#include "backends/store.h"
#include "base/buf.h"

struct page_row {
	size_t		 key, version;	/* offsets into text */
	uint64_t	 size;
	int64_t		 mtime;
	bool		 is_prefix;
};

struct page {
	struct buf	 text;		/* keys and versions, each with NUL */
	struct page_row	*rows;		/* owned */
	size_t		 n, cap;
	bool		 nomem;		/* an entry found no memory */
};

#define PAGE_INIT	{ 0 }

void	page_done(struct page *p);	/* frees; p is PAGE_INIT again */
void	page_reset(struct page *p);	/* empty, its memory kept */
/* A list's callback: arg is the page.  Nonzero: no memory (nomem is set). */
int	page_add(void *arg, const struct store_entry *e);
const char *page_key(const struct page *p, size_t i);	/* borrowed */
/* By key, in the order of bytes: some stores list the prefixes of a page apart
 * from its keys; a page covers one range of keys, so that sorting each sorts
 * the whole. */
void	page_sort(struct page *p);
/* Every row.  STORE_OK, or STORE_CANCELLED where each says stop. */
enum store_rc page_hand_on(const struct page *p,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
/* Row i as an entry; its key is borrowed until the page is changed. */
void	page_entry(const struct page *p, size_t i, struct store_entry *ret);

#endif

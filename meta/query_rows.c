/*
 * query_rows: the rows that are of the namespace as a whole: stores, pins,
 * sessions, totals (query.h).
 */
#include <errno.h>

#include "meta/query_impl.h"

int
meta_stores(struct sqc *c, int (*each)(void *arg, const struct store_row *s),
    void *arg)
{
	struct sqs *s = sq_prep(c,
	    "SELECT id, flags, name, url FROM store ORDER BY id");
	struct buf text = BUF_INIT;
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		struct store_row r = { .id = sqs_col_int(s, 0),
		    .flags = sqs_col_int(s, 1) };
		size_t name, url;

		buf_reset(&text);
		name = query_text(s, 2, &text);
		url = query_text(s, 3, &text);
		if ((err = buf_err(&text)) != 0)
			break;
		r.name = (const char *)text.p + name;
		r.url = (const char *)text.p + url;
		if (each(arg, &r) != 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

int
meta_pins(struct sqc *c, int (*each)(void *arg, const struct pin_row *),
    void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT id, expires, created, name, host, "
	    "selectors FROM pin ORDER BY id");
	struct buf text = BUF_INIT;
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		struct pin_row r = { .id = sqs_col_int(s, 0),
		    .expires = sqs_col_int(s, 1),
		    .created = sqs_col_int(s, 2) };
		size_t name, host, selectors;

		buf_reset(&text);
		name = query_text(s, 3, &text);
		host = query_text(s, 4, &text);
		selectors = query_text(s, 5, &text);
		if ((err = buf_err(&text)) != 0)
			break;
		r.name = (const char *)text.p + name;
		r.host = (const char *)text.p + host;
		r.selectors = (const char *)text.p + selectors;
		if (each(arg, &r) != 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

int
meta_sessions(struct sqc *c,
    int (*each)(void *arg, const struct session_row *s), void *arg)
{
	struct sqs *s = sq_prep(c, "SELECT number, nonce, hwm, opened, state, "
	    "block_first, block_count, state_id, host FROM session "
	    "ORDER BY number");
	struct buf text = BUF_INIT;
	int rc, err = 0;

	while ((rc = sqs_step(s)) == 1) {
		struct session_row r = { .number = sqs_col_int(s, 0),
		    .nonce = (uint64_t)sqs_col_int(s, 1),
		    .hwm = sqs_col_int(s, 2), .opened = sqs_col_int(s, 3),
		    .state = sqs_col_int(s, 4),
		    .block_first = sqs_col_int(s, 5),
		    .block_count = sqs_col_int(s, 6) };
		size_t n;
		const void *p = sqs_col_blob(s, 7, &n);

		if (n == sizeof(r.state_id))
			memcpy(r.state_id, p, n);
		buf_reset(&text);
		query_text(s, 8, &text);
		if ((err = buf_err(&text)) != 0)
			break;
		r.host = (const char *)text.p;
		if (each(arg, &r) != 0)
			break;
	}
	if (rc == 1)
		sqs_reset(s);
	buf_done(&text);
	return (rc < 0 ? rc : err);
}

int
meta_totals(struct sqc *c, struct meta_totals *ret)
{
	struct sqs *s = sq_prep(c,
	    "SELECT files, dirs, bytes FROM counts WHERE id = 1");
	int rc = sqs_step(s);

	if (rc != 1)
		return (rc ? rc : -EUCLEAN);
	ret->files = sqs_col_int(s, 0);
	ret->dirs = sqs_col_int(s, 1);
	ret->bytes = sqs_col_int(s, 2);
	sqs_reset(s);
	return (0);
}

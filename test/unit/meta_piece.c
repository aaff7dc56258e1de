/* piece: writing, checking, loading (L12). */
#include "meta_trees.h"

#include "meta/frame.h"

static struct row
inode_row(uint64_t ino, int64_t size)
{
	struct row r = { .tbl = T_INODE };

	for (int i = 0; i < 11; i++)
		r.v[i].p = NULL;
	r.v[0].i = (int64_t)ino;
	r.v[1].i = S_IFREG | 0644;
	r.v[5].i = 1;
	r.v[6].i = size;
	return r;
}

static struct row
xattr_row(uint64_t ino, const char *name, const void *v, size_t n)
{
	struct row r = { .tbl = T_XATTR };

	r.v[0].i = (int64_t)ino;
	r.v[1].p = name;
	r.v[1].n = strlen(name);
	r.v[2].p = v;
	r.v[2].n = n;
	return r;
}

struct seen { unsigned n; struct buf bytes; };

static int
see(void *arg, const struct row *r)
{
	struct seen *s = arg;

	s->n++;
	buf_put_u8(&s->bytes, r->tbl);
	row_encode(r, &s->bytes);
	return buf_err(&s->bytes);
}

/* Inodes from..to, then an xattr each tenth. */
static void
write_rows(uint64_t from, uint64_t to, uint64_t but, struct pieces *ps,
    struct seen *seen)
{
	static const char value[] = { 1, 0, 2, (char)0xff };
	struct piece_writer *w;
	struct row r;

	ck_assert_int_eq(piece_writer_new(pieces_emit, ps, &w), 0);
	for (uint64_t i = from; i < to; i++) {
		if (i == but)
			continue;
		r = inode_row(ID(i), (int64_t)i * 77);
		ck_assert_int_eq(piece_writer_add(w, &r), 0);
		if (seen != NULL)
			see(seen, &r);
	}
	for (uint64_t i = from; i < to; i += 10) {
		r = xattr_row(ID(i), "user.a", value, sizeof(value));
		ck_assert_int_eq(piece_writer_add(w, &r), 0);
		if (seen != NULL)
			see(seen, &r);
	}
	ck_assert_int_eq(piece_writer_end(w), 0);
}

START_TEST(round_trip)
{
	struct seen in = { 0 }, out = { 0 };
	struct pieces ps = { 0 };
	uint8_t sum[32];

	write_rows(1, 100000, 0, &ps, &in);
	ck_assert_uint_gt(ps.n, 3);
	for (unsigned i = 0; i < ps.n; i++) {
		unsigned before = out.n;

		sha256(ps.v[i].p, ps.v[i].len, sum);
		ck_assert_mem_eq(sum, ps.v[i].hash, 32);
		ck_assert_int_eq(piece_read(ps.v[i].p, ps.v[i].len,
		    ps.v[i].hash, see, &out, NULL), 0);
		ck_assert_uint_eq(out.n - before, ps.v[i].rows);
	}
	ck_assert_uint_eq(in.n, out.n);
	ck_assert_uint_eq(in.bytes.len, out.bytes.len);
	ck_assert_mem_eq(in.bytes.p, out.bytes.p, in.bytes.len);
	buf_done(&in.bytes);
	buf_done(&out.bytes);
	pieces_free(&ps);
}
END_TEST

/* L12: a row that goes changes one piece. */
START_TEST(stable)
{
	struct pieces a = { 0 }, b = { 0 };

	write_rows(1, 200000, 0, &a, NULL);
	write_rows(1, 200000, 100001, &b, NULL);
	ck_assert_uint_ge(pieces_shared(&b, &a) + 2, a.n);
	ck_assert_uint_lt(pieces_shared(&b, &a), b.n);
	pieces_free(&a);
	pieces_free(&b);
}
END_TEST

/* Big rows end a piece by size. */
START_TEST(by_size)
{
	static char value[65536];
	struct pieces ps = { 0 };
	struct piece_writer *w;
	uint64_t rows = 0;
	struct row r;

	ck_assert_int_eq(piece_writer_new(pieces_emit, &ps, &w), 0);
	for (uint64_t i = 0; i < 300; i++) {
		random_bytes(value, sizeof(value));
		r = xattr_row(ID(i), "user.big", value, sizeof(value));
		ck_assert_int_eq(piece_writer_add(w, &r), 0);
	}
	ck_assert_int_eq(piece_writer_end(w), 0);
	ck_assert_uint_ge(ps.n, 3);
	for (unsigned i = 0; i < ps.n; i++) {
		struct seen s = { 0 };

		ck_assert_uint_le(ps.v[i].len, PIECE_MAX + 4096);
		ck_assert_int_eq(piece_read(ps.v[i].p, ps.v[i].len, NULL,
		    see, &s, NULL), 0);
		buf_done(&s.bytes);
		rows += ps.v[i].rows;
	}
	ck_assert_uint_eq(rows, 300);
	pieces_free(&ps);
}
END_TEST

static int
ignore(void *arg, const struct row *r)
{
	return 0;
}

START_TEST(hostile)
{
	struct pieces ps = { 0 };
	struct why why;
	uint8_t *p;
	size_t n;

	write_rows(1, 60, 0, &ps, NULL);
	p = ps.v[0].p;
	n = ps.v[0].len;
	for (size_t i = 0; i < n * 8; i++) {
		why.text[0] = '\0';
		p[i / 8] ^= 1 << i % 8;
		ck_assert_int_eq(piece_read(p, n, ps.v[0].hash, ignore, NULL,
		    &why), -EBADMSG);
		ck_assert_str_ne(why.text, "");
		ck_assert_int_eq(piece_read(p, n, NULL, ignore, NULL, NULL),
		    -EBADMSG);
		p[i / 8] ^= 1 << i % 8;
	}
	for (size_t k = 0; k < n; k++) {
		void *cut = malloc(k + 1);

		memcpy(cut, p, k);
		ck_assert_int_eq(piece_read(cut, k, NULL, ignore, NULL, NULL),
		    -EBADMSG);
		free(cut);
	}
	pieces_free(&ps);
}
END_TEST

static int
read_sealed(const uint8_t *p, size_t n)
{
	struct buf out = BUF_INIT;
	int err;

	ck_assert_int_eq(frame_seal(p, n, 1, &out), 0);
	err = piece_read(out.p, out.len, NULL, ignore, NULL, NULL);
	buf_done(&out);
	return err;
}

START_TEST(hostile_inside)
{
	struct pieces ps = { 0 };
	struct buf raw = BUF_INIT;
	struct cur c;
	int err;

	write_rows(1, 30, 0, &ps, NULL);
	for (unsigned k = 0; k < ps.n; k++) {
		buf_reset(&raw);
		ck_assert_int_eq(frame_open(ps.v[k].p, ps.v[k].len,
		    "GNSPC1\n", PIECE_MAX + 64, "x", &raw, &c, NULL), 0);
		for (size_t i = 0; i < raw.len * 8; i++) {
			raw.p[i / 8] ^= 1 << i % 8;
			err = read_sealed(raw.p, raw.len);
			ck_assert(err == 0 || err == -EBADMSG ||
			    err == -EPROTONOSUPPORT);
			raw.p[i / 8] ^= 1 << i % 8;
		}
		for (size_t n = 0; n < raw.len; n++)
			ck_assert_int_eq(read_sealed(raw.p, n), -EBADMSG);
	}
	buf_done(&raw);
	pieces_free(&ps);
}
END_TEST

START_TEST(out_of_order)
{
	struct buf raw = BUF_INIT;
	struct row a = inode_row(ID(2), 1), b = inode_row(ID(1), 1);

	buf_put(&raw, "GNSPC1\n", 8);
	buf_put_u32(&raw, FEATURE_LEVEL);
	buf_put_u8(&raw, T_INODE);
	buf_put_varint(&raw, 2);
	row_encode(&a, &raw);
	row_encode(&b, &raw);
	ck_assert_int_eq(read_sealed(raw.p, raw.len), -EBADMSG);
	buf_done(&raw);
}
END_TEST

struct loading {
	const struct pieces *ps;
	unsigned	 i;
	uint64_t	 lo, hi;
	struct why	 why;
};

static int
load_fn(struct sqc *c, void *arg)
{
	struct loading *l = arg;

	struct piece p;
	int err;

	err = piece_open(l->ps->v[l->i].p, l->ps->v[l->i].len,
	    l->ps->v[l->i].hash, &p, &l->why);
	if (err == 0)
		err = piece_load(c, &p, l->lo, l->hi, NULL, &l->why);
	piece_done(&p);
	return err;
}

static int
load_one(struct db *d, const struct pieces *ps, unsigned i, uint64_t lo,
    uint64_t hi)
{
	struct loading l = { ps, i, lo, hi, { "" } };

	return sq_write(meta_sq(d->m), load_fn, &l);
}

/* What an attach names cannot write outside its own ids. */
START_TEST(range)
{
	struct pieces ps = { 0 }, other = { 0 };
	struct piece_writer *w;
	struct row r = { .tbl = T_STORE };
	struct db d;
	uint8_t before[32], after[32];

	db_open(&d);
	db_digest(&d, before);
	write_rows(10, 20, 0, &ps, NULL);
	ck_assert_int_eq(load_one(&d, &ps, 0, ID(10), ID(18)), -EBADMSG);
	ck_assert_int_eq(load_one(&d, &ps, 0, ID(11), ID(20)), -EBADMSG);
	db_digest(&d, after);
	ck_assert_mem_eq(before, after, 32);
	ck_assert_int_eq(load_one(&d, &ps, 0, ID(10), ID(19)), 0);
	ck_assert_int_eq(load_one(&d, &ps, 0, ID(10), ID(19)), -EEXIST);
	ck_assert_int_eq(load_one(&d, &ps, 1, 0, 0), 0);

	ck_assert_int_eq(piece_writer_new(pieces_emit, &other, &w), 0);
	r.v[0].i = (int64_t)ID(12);
	r.v[1].p = r.v[2].p = "";
	ck_assert_int_eq(piece_writer_add(w, &r), 0);
	ck_assert_int_eq(piece_writer_end(w), 0);
	ck_assert_int_eq(load_one(&d, &other, 0, ID(10), ID(19)), -EBADMSG);
	db_close(&d);
	pieces_free(&ps);
	pieces_free(&other);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("piece");
	TCase *t = tcase_create("piece");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, stable);
	tcase_add_test(t, by_size);
	tcase_add_test(t, hostile);
	tcase_add_test(t, hostile_inside);
	tcase_add_test(t, out_of_order);
	tcase_add_test(t, range);
	suite_add_tcase(s, t);
	return run_suite(s);
}

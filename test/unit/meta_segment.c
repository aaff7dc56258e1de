/* segment: keys, round trips, hostile bytes, replay (L2, M2). */
#include "meta_trees.h"

#include "meta/frame.h"

START_TEST(keys)
{
	uint8_t hash[32] = { 0xab, 1 };
	char k[KEY_MAX];

	segment_key(0x1234567, k);
	ck_assert_str_eq(k, "log/1234/0000000001234567");
	object_key(UINT64_C(0x7ff) << META_ID_SHIFT | 0xabcde, k);
	ck_assert_str_eq(k, "data/de/7ff-abcde");
	snapshot_key(UINT64_MAX, k);
	ck_assert_str_eq(k, "snap/ffffffffffffffff");
	piece_key(hash, k);
	ck_assert_int_eq(strncmp(k, "piece/ab/ab01000", 16), 0);
	ck_assert_uint_eq(strlen(k), 9 + 64);
}
END_TEST

static void
make_two(struct batch b[2], struct buf *out, uint8_t hash[32])
{
	uint8_t prev[32] = { 9, 8, 7 };
	struct op op = { .kind = OP_MKDIR, .parent = 1, .name = "a",
	    .ino = ID(1), .mode = S_IFDIR | 0755 };

	b[0] = (struct batch){ .session = 3, .nonce = 4, .first = 5 };
	b[1] = (struct batch){ .session = 6, .nonce = ~UINT64_C(0),
	    .first = 100 };
	batch_put(&b[0], &op);
	op.name = "b";
	op.ino = ID(2);
	batch_put(&b[0], &op);
	op = (struct op){ .kind = OP_SESSION_FENCE, .session = 3 };
	batch_put(&b[1], &op);
	ck_assert_int_eq(segment_encode(77, prev, b, 2, out, hash), 0);
}

START_TEST(round_trip)
{
	struct batch b[2];
	struct buf out = BUF_INIT;
	struct segment s;
	struct why why = { "" };
	const struct op *opens;
	uint8_t hash[32], sum[32];
	unsigned n;

	make_two(b, &out, hash);
	sha256(out.p, out.len, sum);
	ck_assert_mem_eq(sum, hash, 32);
	ck_assert_int_eq(segment_decode(out.p, out.len, 77, &s, &why), 0);
	ck_assert_mem_eq(s.hash, hash, 32);
	ck_assert_uint_eq(s.prev[1], 8);
	ck_assert_uint_eq(s.nbatches, 2);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(s.batches[i].session, b[i].session);
		ck_assert_uint_eq(s.batches[i].nonce, b[i].nonce);
		ck_assert_uint_eq(s.batches[i].first, b[i].first);
		ck_assert_uint_eq(s.batches[i].last, b[i].last);
		ck_assert_uint_eq(s.batches[i].nops, b[i].nops);
		ck_assert_uint_eq(s.batches[i].body.len, b[i].body.len);
		ck_assert_mem_eq(s.batches[i].body.p, b[i].body.p,
		    b[i].body.len);
		batch_done(&b[i]);
	}
	ck_assert_int_eq(segment_opens(&s, &opens, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(opens[0].kind, OP_SESSION_FENCE);
	ck_assert_uint_eq(opens[0].session, 3);
	segment_done(&s);
	ck_assert_int_eq(segment_decode(out.p, out.len, 78, &s, &why),
	    -EBADMSG);
	ck_assert_ptr_nonnull(strstr(why.text, "segment 78"));
	buf_done(&out);
}
END_TEST

/* Every bit that could have flipped, every place it could have been cut. */
START_TEST(hostile)
{
	struct batch b[2];
	struct buf out = BUF_INIT;
	struct segment s;
	uint8_t hash[32];
	struct why why;

	make_two(b, &out, hash);
	for (size_t i = 0; i < out.len * 8; i++) {
		why.text[0] = '\0';
		out.p[i / 8] ^= 1 << i % 8;
		ck_assert_int_eq(segment_decode(out.p, out.len, 77, &s, &why),
		    -EBADMSG);
		ck_assert_str_ne(why.text, "");
		out.p[i / 8] ^= 1 << i % 8;
	}
	for (size_t n = 0; n < out.len; n++) {
		void *p = malloc(n + 1);	/* so that ASan sees the end */

		memcpy(p, out.p, n);
		ck_assert_int_eq(segment_decode(p, n, 77, &s, NULL),
		    -EBADMSG);
		free(p);
	}
	batch_done(&b[0]);
	batch_done(&b[1]);
	buf_done(&out);
}
END_TEST

static int
decode_sealed(const uint8_t *p, size_t n)
{
	struct buf out = BUF_INIT;
	struct segment s;
	int err;

	ck_assert_int_eq(frame_seal(p, n, 1, &out), 0);
	err = segment_decode(out.p, out.len, 77, &s, NULL);
	if (err == 0)
		segment_done(&s);
	buf_done(&out);
	return err;
}

/* The same behind a checksum that fits: any answer but a crash. */
START_TEST(hostile_inside)
{
	struct batch b[2];
	struct buf out = BUF_INIT, raw = BUF_INIT;
	uint8_t hash[32];
	struct cur c;
	int err;

	make_two(b, &out, hash);
	ck_assert_int_eq(frame_open(out.p, out.len, "GNSSEG1\n",
	    SEGMENT_RAW_MAX, "x", &raw, &c, NULL), 0);
	ck_assert_int_eq(decode_sealed(raw.p, raw.len), 0);
	for (size_t i = 0; i < raw.len * 8; i++) {
		raw.p[i / 8] ^= 1 << i % 8;
		err = decode_sealed(raw.p, raw.len);
		ck_assert(err == 0 || err == -EBADMSG ||
		    err == -EPROTONOSUPPORT);
		raw.p[i / 8] ^= 1 << i % 8;
	}
	for (size_t n = 0; n < raw.len; n++)
		ck_assert_int_eq(decode_sealed(raw.p, n), -EBADMSG);
	/* what earlier ones wrote */
	for (raw.p[8] = 1; raw.p[8] < FEATURE_LEVEL; raw.p[8]++)
		ck_assert_int_eq(decode_sealed(raw.p, raw.len), 0);
	raw.p[8] = FEATURE_LEVEL + 1;
	ck_assert_int_eq(decode_sealed(raw.p, raw.len), -EPROTONOSUPPORT);
	batch_done(&b[0]);
	batch_done(&b[1]);
	buf_done(&out);
	buf_done(&raw);
}
END_TEST

START_TEST(too_long)
{
	struct batch b = { .session = 1, .nonce = 1, .first = 1, .last = 1,
	    .nops = 1 };
	struct buf out = BUF_INIT;
	uint8_t zero[32] = { 0 }, hash[32];

	b.body.p = malloc(SEGMENT_MAX + 4096);
	b.body.len = b.body.cap = SEGMENT_MAX + 4096;
	random_bytes(b.body.p, b.body.len);
	ck_assert_int_eq(segment_encode(1, zero, &b, 1, &out, hash), -EFBIG);
	batch_done(&b);
	buf_done(&out);
}
END_TEST

/* M2: whoever replays the log has the same rows; the chain is checked. */
START_TEST(replay)
{
	struct tlog l = { 0 };
	struct db a, b;
	uint64_t next = 1;
	uint8_t before[32], after[32];

	db_open(&a);
	db_open(&b);
	db_digest(&a, before);
	tlog_open(&l);
	tlog_random(&l, 42, 1000, &next);
	db_replay(&a, &l, 1);
	db_digest(&a, after);
	ck_assert_mem_ne(before, after, 32);
	/* out of order, and not following this one */
	ck_assert_int_eq(db_replay_segment(&b, l.seg[1].p, l.seg[1].n, 2,
	    NULL), -EBADMSG);
	ck_assert_int_eq(db_replay_segment(&a, l.seg[1].p, l.seg[1].n, 2,
	    NULL), -EBADMSG);
	db_replay(&b, &l, 1);
	assert_same_digest(&a, &b);
	db_close(&a);
	db_close(&b);
	tlog_free(&l);
}
END_TEST

static struct batch
mkdir_batch(struct tlog *l, const char *name, uint64_t id)
{
	struct batch b = tlog_batch(l);
	struct op op = { .kind = OP_MKDIR, .parent = META_ROOT, .name = name,
	    .ino = ID(id), .mode = S_IFDIR | 0755, .mtime = 1, .ctime = 1 };

	batch_put(&b, &op);
	return b;
}

static int
has(struct db *d, const char *name)
{
	struct attr a;
	struct sqc *c;
	int err;

	ck_assert_int_eq(sq_read(meta_sq(d->m), &c), 0);
	err = meta_lookup(c, META_ROOT, name, &a);
	sq_read_end(c);
	ck_assert(err == 0 || err == -ENOENT);
	return err == 0;
}

/* L2: a batch that lands twice counts once; one with a gap, with another
 * nonce, or of a fenced session is as if it were not there. */
START_TEST(what_counts)
{
	struct op fence = { .kind = OP_SESSION_FENCE, .session = SESSION };
	struct tlog l = { 0 };
	struct batch b, gone;
	struct db d;

	db_open(&d);
	tlog_open(&l);
	b = mkdir_batch(&l, "one", 1);
	tlog_add(&l, &b, 1);
	gone = tlog_batch(&l);		/* the same number, again */
	batch_put(&gone, &(struct op){ .kind = OP_RMDIR, .parent = META_ROOT,
	    .name = "one", .ino = ID(1) });
	tlog_add(&l, &b, 1);
	tlog_add(&l, &gone, 1);
	l.seq = b.last + 1;
	batch_done(&b);
	batch_done(&gone);

	b = mkdir_batch(&l, "gap", 2);
	b.first++, b.last++;
	tlog_add(&l, &b, 1);
	batch_done(&b);

	b = mkdir_batch(&l, "clone", 3);
	b.nonce ^= 1;
	tlog_add(&l, &b, 1);
	batch_done(&b);

	b = mkdir_batch(&l, "two", 4);
	batch_put(&b, &fence);
	tlog_end(&l, &b);
	b = mkdir_batch(&l, "late", 5);
	tlog_end(&l, &b);

	db_replay(&d, &l, 1);
	ck_assert(has(&d, "one"));
	ck_assert(!has(&d, "gap"));
	ck_assert(!has(&d, "clone"));
	ck_assert(has(&d, "two"));
	ck_assert(!has(&d, "late"));
	db_close(&d);
	tlog_free(&l);
}
END_TEST

struct told { unsigned inodes, entries; char last[64]; };

static void
told_inode(void *arg, uint64_t ino)
{
	((struct told *)arg)->inodes++;
}

static void
told_entry(void *arg, uint64_t parent, const char *name)
{
	struct told *t = arg;

	t->entries++;
	snprintf(t->last, sizeof(t->last), "%llu/%s",
	    (unsigned long long)parent, name);
}

/* F4: exactly what changed is told, and nothing of an op that was skipped. */
START_TEST(tells)
{
	struct told t = { 0 };
	struct changed_fns fns = { told_inode, told_entry, &t };
	struct tlog l = { 0 };
	struct batch b;
	struct db d;

	db_open(&d);
	tlog_open(&l);
	b = mkdir_batch(&l, "one", 1);
	batch_put(&b, &(struct op){ .kind = OP_RMDIR, .parent = META_ROOT,
	    .name = "absent", .ino = ID(9) });
	tlog_end(&l, &b);
	for (uint64_t i = 1; i <= l.lsn; i++)
		ck_assert_int_eq(db_replay_segment(&d, l.seg[i - 1].p,
		    l.seg[i - 1].n, i, &fns), 0);
	ck_assert_uint_eq(t.entries, 1);
	ck_assert_uint_eq(t.inodes, 1);
	ck_assert_str_eq(t.last, "1/one");
	db_close(&d);
	tlog_free(&l);
}
END_TEST

static int
see_attach(void *arg, uint64_t lo, uint64_t hi, const uint8_t *hashes,
    size_t n)
{
	ck_assert_uint_eq(lo, ID(10));
	ck_assert_uint_eq(hi, ID(20));
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(hashes[32], 'b');
	*(int *)arg += 1;
	return 0;
}

START_TEST(attaches)
{
	char hashes[64] = "a";
	struct op op = { .kind = OP_ATTACH, .parent = META_ROOT, .name = "imp",
	    .ino = ID(10), .ino2 = ID(20), .value = hashes, .nvalue = 64 };
	struct tlog l = { 0 };
	struct segment s;
	struct batch b;
	int n = 0;

	hashes[32] = 'b';
	tlog_open(&l);
	b = mkdir_batch(&l, "one", 1);
	batch_put(&b, &op);
	tlog_end(&l, &b);
	ck_assert_int_eq(segment_decode(l.seg[1].p, l.seg[1].n, 2, &s, NULL),
	    0);
	ck_assert_int_eq(segment_attaches(&s, see_attach, &n), 0);
	ck_assert_int_eq(n, 1);
	segment_done(&s);
	tlog_free(&l);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("segment");
	TCase *t = tcase_create("segment");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, keys);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, hostile);
	tcase_add_test(t, hostile_inside);
	tcase_add_test(t, too_long);
	tcase_add_test(t, replay);
	tcase_add_test(t, what_counts);
	tcase_add_test(t, tells);
	tcase_add_test(t, attaches);
	suite_add_tcase(s, t);
	return run_suite(s);
}

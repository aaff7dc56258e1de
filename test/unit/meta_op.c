/* The codec of operations: every op comes back, hostile bytes do not. */
#include "meta_util.h"

static struct op_extent extents[] = { { 0, 10, 77, 5, -1 },
	{ 20, 1, INT64_MAX, 0, UINT32_MAX } };
static struct op_object objects[] = {
	{ 77, 100, OBJ_PACK, 3, "" }, { 78, 0, OBJ_WHOLE, 1, "\"etag\"" } };

/* Three chunks and a bit. */
static struct op_extent patch[] = { { META_SUM - 1, 2 * META_SUM + 2, 79, 0,
	-1 } };
static struct op_object summed[] = { { 79, 2 * META_SUM + 2, OBJ_PATCH, 1,
	"v", "0000111122223333", 4 } };

static const struct op samples[] = {
	{ .kind = OP_CREATE, .parent = 1, .name = "f", .ino = 2,
	    .mode = S_IFREG | 0644, .uid = 1000, .gid = UINT32_MAX,
	    .rdev = 5, .mtime = -1 },
	{ .kind = OP_SYMLINK, .parent = 1, .name = "\xff\x01", .ino = 3,
	    .value = "/to", .nvalue = 3, .mtime = INT64_MAX },
	{ .kind = OP_RENAME, .parent = 1, .name = "a", .parent2 = INT64_MAX,
	    .name2 = "b", .ino = 2, .ino2 = 4, .ctime = INT64_MIN,
	    .flags = 2 },
	{ .kind = OP_EXTENTS, .ino = 2, .size = INT64_MAX, .flags = EXT_WHOLE,
	    .extents = extents, .nextents = 2, .objects = objects,
	    .nobjects = 2 },
	{ .kind = OP_EXTENTS, .ino = 2, .size = 3 * META_SUM,
	    .extents = patch, .nextents = 1, .objects = summed,
	    .nobjects = 1 },
	{ .kind = OP_SESSION_OPEN, .session = 9, .nonce = UINT64_MAX,
	    .prev_nonce = 1, .first_seq = 1, .block_first = 1,
	    .block_count = 64, .name = "host", .takeover = true,
	    .state_id = "0123456789abcdef" },
	{ .kind = OP_SETXATTR, .ino = 2, .name = "user.x", .value = "\0\0",
	    .nvalue = 2, .flags = 1 },
	{ .kind = OP_SNAPSHOT_MARK },
	{ .kind = OP_LOCATE, .objects = objects, .nobjects = 2 },
};
enum { NSAMPLES = sizeof(samples) / sizeof(*samples) };

static void
same_str(const char *a, const char *b)
{
	ck_assert_str_eq(a ? a : "", b ? b : "");
}

START_TEST(test_roundtrip)
{
	const struct op *op = &samples[_i];
	struct buf b = BUF_INIT, again = BUF_INIT, store = BUF_INIT;
	struct op back;
	struct cur c;

	op_encode(op, &b);
	cur_init(&c, b.p, b.len);
	op_decode(&c, &back, &store);
	ck_assert_int_eq(cur_err(&c), 0);
	ck_assert_uint_eq(cur_left(&c), 0);
	op_encode(&back, &again);
	ck_assert_uint_eq(again.len, b.len);
	ck_assert_mem_eq(again.p, b.p, b.len);
	ck_assert_int_eq(back.kind, op->kind);
	ck_assert_uint_eq(back.ino, op->ino);
	ck_assert_uint_eq(back.parent2, op->parent2);
	ck_assert_uint_eq(back.nonce, op->nonce);
	ck_assert_int_eq(back.ctime, op->ctime);
	ck_assert_int_eq(back.takeover, op->takeover);
	ck_assert_mem_eq(back.state_id, op->state_id, 16);
	same_str(back.name, op->name);
	same_str(back.name2, op->name2);
	ck_assert_uint_eq(back.nvalue, op->nvalue);
	ck_assert_uint_eq(back.nextents, op->nextents);
	for (unsigned i = 0; i < op->nextents; i++)
		ck_assert_mem_eq(&back.extents[i], &op->extents[i],
		    sizeof(*op->extents));
	for (unsigned i = 0; i < op->nobjects; i++) {
		ck_assert_str_eq(back.objects[i].version,
		    op->objects[i].version);
		ck_assert_uint_eq(back.objects[i].nsums, op->objects[i].nsums);
		if (op->objects[i].nsums > 0)
			ck_assert_mem_eq(back.objects[i].sums,
			    op->objects[i].sums, op->objects[i].nsums * 4);
	}
	/* cut short, it is nonsense, never a read beyond the end */
	for (size_t n = 0; n < b.len; n++) {
		uint8_t *p = malloc(n + 1);

		memcpy(p, b.p, n);
		cur_init(&c, p, n);
		op_decode(&c, &back, &store);
		ck_assert_int_ne(cur_err(&c), 0);
		free(p);
	}
	buf_done(&b);
	buf_done(&again);
	buf_done(&store);
}
END_TEST

/* Bytes turned at random: an error or an op that op_check accepts and that
 * encodes again. */
START_TEST(test_hostile)
{
	uint64_t rng = 12345 + _i;
	struct buf store = BUF_INIT;

	for (int round = 0; round < 20000; round++) {
		struct buf b = BUF_INIT, again = BUF_INIT;
		struct op op;
		struct cur c;

		op_encode(&samples[round % NSAMPLES], &b);
		for (int i = 0; i < 1 + round % 4; i++) {
			rng = rng * UINT64_C(6364136223846793005) + 1;
			b.p[(rng >> 33) % b.len] = rng >> 25;
		}
		cur_init(&c, b.p, b.len);
		op_decode(&c, &op, &store);
		if (!cur_err(&c)) {
			ck_assert_int_eq(op_check(&op), 0);
			op_encode(&op, &again);
		}
		buf_done(&b);
		buf_done(&again);
	}
	buf_done(&store);
}
END_TEST

START_TEST(test_check)
{
	static char longname[300];
	struct op op = mu_create(1, "f", 2);

	memset(longname, 'x', sizeof(longname) - 1);
	ck_assert_int_eq(op_check(&op), 0);
	op.name = longname;
	ck_assert_int_eq(op_check(&op), -ENAMETOOLONG);
	op.name = "a/b";
	ck_assert_int_eq(op_check(&op), -EINVAL);
	op.name = "..";
	ck_assert_int_eq(op_check(&op), -EINVAL);
	op.name = "";
	ck_assert_int_eq(op_check(&op), -EINVAL);
	op = mu_create(1, "f", 2);
	op.mode = S_IFDIR;
	ck_assert_int_eq(op_check(&op), -EINVAL);
	op = mu_create(1, "f", UINT64_C(1) << 63);
	ck_assert_int_eq(op_check(&op), -EINVAL);
	/* extents that overlap, or run over the end of numbers */
	struct op_extent e[] = { { 0, 10, 1, 0, -1 }, { 9, 1, 1, 0, -1 } };
	op = (struct op){ .kind = OP_EXTENTS, .ino = 2, .extents = e,
	    .nextents = 2 };
	ck_assert_int_eq(op_check(&op), -EINVAL);
	e[1].off = INT64_MAX;
	ck_assert_int_eq(op_check(&op), -EINVAL);
	e[1].off = 10;
	ck_assert_int_eq(op_check(&op), 0);
}
END_TEST

/* Sums are of one whole or patch, and as many as there are chunks. */
START_TEST(test_sums)
{
	struct op_object o[] = { summed[0], { .id = 80, .size = 1 } };
	struct op op = { .kind = OP_EXTENTS, .ino = 2, .size = 3 * META_SUM,
	    .extents = patch, .nextents = 1, .objects = o, .nobjects = 1 };
	struct buf store = BUF_INIT;
	struct cur c;

	ck_assert_uint_eq(op_sums(0, 0), 0);
	ck_assert_uint_eq(op_sums(0, META_SUM), 1);
	ck_assert_uint_eq(op_sums(META_SUM - 1, 2), 2);
	ck_assert_int_eq(op_check(&op), 0);
	o[0].nsums = 3;
	ck_assert_int_eq(op_check(&op), -EINVAL);
	o[0].nsums = 5;
	ck_assert_int_eq(op_check(&op), -EINVAL);
	o[0].nsums = 4;
	o[0].kind = OBJ_IMPORTED;
	ck_assert_int_eq(op_check(&op), -EINVAL);
	o[0].kind = OBJ_PACK;
	ck_assert_int_eq(op_check(&op), -EINVAL);
	o[0].kind = OBJ_WHOLE;
	ck_assert_int_eq(op_check(&op), 0);
	op.nobjects = 2;
	ck_assert_int_eq(op_check(&op), -EINVAL);
	op = (struct op){ .kind = OP_LOCATE, .objects = o, .nobjects = 1 };
	ck_assert_int_eq(op_check(&op), -EINVAL);
	o[0].nsums = 0;
	ck_assert_int_eq(op_check(&op), 0);
	/* of no object (found by fuzzing) */
	cur_init(&c, "\x17\x1c\x04" "1234", 8);
	op_decode(&c, &op, &store);
	ck_assert_int_ne(cur_err(&c), 0);
	buf_done(&store);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("meta_op");
	TCase *t = tcase_create("op");

	tcase_add_loop_test(t, test_roundtrip, 0, NSAMPLES);
	tcase_add_loop_test(t, test_hostile, 0, 4);
	tcase_add_test(t, test_check);
	tcase_add_test(t, test_sums);
	suite_add_tcase(s, t);
	return (mu_run(s));
}

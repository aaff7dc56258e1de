/*
 * seeds DIR: the seeds that are no text, made by the program's own encoders:
 * operations, the first segment, a piece, a snapshot, histories of packs.  A
 * sealed thing is also given unsealed (fuzz.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "fs/home.h"
#include "meta/frame.h"
#include "meta/op.h"
#include "meta/piece.h"
#include "meta/segment.h"

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)

static const char *dir;

static void
save(const char *target, const char *name, int first, const void *p, size_t n)
{
	char path[400];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, target);
	(void)mkdir(path, 0777);
	snprintf(path, sizeof path, "%s/%s/%s", dir, target, name);
	f = fopen(path, "w");
	HOLDS(f != NULL);
	if (first >= 0)
		HOLDS(putc(first, f) != EOF);
	HOLDS(fwrite(p, 1, n, f) == n);
	HOLDS(fclose(f) == 0);
}

/* As it is stored, and what is in it. */
static void
save_both(const char *target, const char magic[FRAME_MAGIC],
    const struct buf *b)
{
	struct buf raw = BUF_INIT;
	struct cur c;

	save(target, "sealed", 1, b->p, b->len);
	HOLDS(frame_open(b->p, b->len, magic, SEGMENT_RAW_MAX, target, &raw,
	    &c, NULL) == 0);
	save(target, "open", 0, c.p, cur_left(&c));
	buf_done(&raw);
}

static void
ops(void)
{
	struct op_extent e = { 0, 7, 5, 100, 0x1234 };
	struct op_object o = { .id = 5, .size = 107, .kind = OBJ_PACK,
	    .store = 1, .version = "e:\"1\"" };
	struct op_extent patch = { META_SUM - 1, 2, 6, 0, -1 };
	struct op_object summed = { .id = 6, .size = 2, .kind = OBJ_PATCH,
	    .store = 1, .version = "v", .sums = "12345678", .nsums = 2 };
	const struct op all[] = {
		{ .kind = OP_EXTENTS, .ino = 2, .size = META_SUM + 1,
		    .extents = &patch, .nextents = 1, .objects = &summed,
		    .nobjects = 1 },
		{ .kind = OP_CREATE, .parent = 1, .name = "f", .ino = 2,
		    .mode = 0100644, .mtime = 1 },
		{ .kind = OP_RENAME, .parent = 1, .name = "f", .ino = 2,
		    .parent2 = 3, .name2 = "g", .ino2 = 4 },
		{ .kind = OP_EXTENTS, .ino = 2, .size = 7, .extents = &e,
		    .nextents = 1, .objects = &o, .nobjects = 1,
		    .flags = EXT_WHOLE },
		{ .kind = OP_SETXATTR, .ino = 2, .name = "user.k",
		    .value = "v", .nvalue = 1 },
		{ .kind = OP_SESSION_OPEN, .session = 2, .nonce = 9,
		    .name = "host", .block_first = 2, .block_count = 64 },
	};
	struct buf b = BUF_INIT;
	char name[8];

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		buf_reset(&b);
		op_encode(&all[i], &b);
		HOLDS(buf_err(&b) == 0);
		snprintf(name, sizeof name, "%zu", i);
		save("op", name, -1, b.p, b.len);
	}
	buf_done(&b);
}

static void
segment(void)
{
	struct home_id id = { .name = "t", .uuid = "0", .url = "file:///h" };
	struct buf b = BUF_INIT;
	uint8_t hash[32];

	HOLDS(home_first_segment(&id, &b, hash) == 0);
	save_both("segment", "GNSSEG1\n", &b);
	buf_done(&b);
}

static int
emit(void *arg, enum tbl tbl, uint64_t rows, const uint8_t hash[32],
    const void *p, size_t n)
{
	struct buf *b = arg;

	buf_put(b, p, n);
	return buf_err(b);
}

static void
pieces(void)
{
	struct row r = { .tbl = T_TAG };
	struct snapshot_piece one = { T_TAG, 3, { 1, 2, 3 } };
	struct snapshot s = { .lsn = 5, .npieces = 1, .pieces = &one };
	struct piece_writer *w;
	struct buf b = BUF_INIT;

	HOLDS(piece_writer_new(emit, &b, &w) == 0);
	for (int i = 1; i < 4; i++) {
		r.v[0].i = i;
		r.v[1] = (struct col){ .p = "key", .n = 3 };
		r.v[2] = (struct col){ .p = "value", .n = 5 };
		HOLDS(piece_writer_add(w, &r) == 0);
	}
	HOLDS(piece_writer_end(w) == 0);
	save_both("piece", "GNSPC1\n", &b);
	buf_reset(&b);
	HOLDS(snapshot_encode(&s, &b) == 0);
	save_both("snapshot", "GNSSNAP1", &b);
	buf_done(&b);
}

static void
packs(void)
{
	static const uint8_t cut[] = { 0x18, 0x21, 0x3a, 0xc1, 0x20, 0xc0,
	    0x19, 0x81, 0x2a, 0xc1, 0x38, 0xc1 };
	static const uint8_t changed[] = { 0x3f, 0, 0, 5, 0, 1 };
	static const uint8_t shorter[] = { 0x3f, 3, 0, 0 };
	static const uint8_t longer[] = { 0x3f, 0, 0xff, 0 };

	save("pack", "cut", 1, cut, sizeof cut);
	save("pack", "changed", 0, changed, sizeof changed);
	save("pack", "shorter", 0, shorter, sizeof shorter);
	save("pack", "longer", 0, longer, sizeof longer);
}

int
main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	dir = argv[1];
	ops();
	segment();
	pieces();
	packs();
	return 0;
}

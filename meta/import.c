/*
 * import: gathering keys.
 *
 * A million keys must fit beside all else, so what is kept of one is its last
 * component, size, time and version, about 60 bytes, in an arena; the rest of
 * it is its directory's, found once for a run of keys that share it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "meta/import_impl.h"

#define ARENA_CHUNKS	16384		/* 16 GiB */
#define KEY_BYTES_MAX	65535

static int
arena_add(struct arena *a, const void *p, size_t n, place *ret)
{
	size_t need = (n + 3) & ~(size_t)3;

	if (a->n == 0 || a->used + need > ARENA_CHUNK) {
		if (a->n == ARENA_CHUNKS)
			return -EFBIG;
		if (a->n == a->cap) {
			uint32_t cap = a->cap != 0 ? 2 * a->cap : 16;
			uint8_t **c = realloc(a->chunks, cap * sizeof(*c));

			if (c == NULL)
				return -ENOMEM;
			a->chunks = c;
			a->cap = cap;
		}
		a->chunks[a->n] = malloc(ARENA_CHUNK);
		if (a->chunks[a->n] == NULL)
			return -ENOMEM;
		a->n++;
		a->used = 0;
	}
	memcpy(a->chunks[a->n - 1] + a->used, p, n);
	*ret = (a->n - 1) * (ARENA_CHUNK / 4) + (uint32_t)(a->used / 4);
	a->used += need;
	return 0;
}

static void
arena_done(struct arena *a)
{
	for (uint32_t i = 0; i < a->n; i++)
		free(a->chunks[i]);
	free(a->chunks);
}

/* --- records --- */

static void
rec_put_name(struct buf *b, const char *name, size_t n)
{
	buf_put_u8(b, n & 0xff);
	buf_put_u8(b, n >> 8);
	buf_put(b, name, n);
	buf_put_u8(b, 0);
}

/* A version is mostly 32 hex digits with a little around: "e:\"d41d...\"". */
static void
rec_put_version(struct buf *b, const char *v)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = strlen(v);
	uint8_t md5[16];

	for (size_t i = 0; i + 32 <= n && i < 8; i++) {
		if (strspn(v + i, digits) < 32 ||
		    hex_decode(v + i, 32, md5) != 0)
			continue;
		buf_put_u8(b, (uint8_t)(i + 1));
		buf_put(b, v, i);
		buf_put(b, md5, sizeof(md5));
		buf_put_str(b, v + i + 32);
		return;
	}
	buf_put_u8(b, 0);
	buf_put_str(b, v);
}

static void
rec_get_version(struct cur *c, char ret[160])
{
	unsigned before = cur_u8(c);
	const void *p;
	size_t at = 0, n;

	if (before != 0) {
		at = before - 1;
		memcpy(ret, cur_raw(c, at), at);
		hex_encode(cur_raw(c, 16), 16, ret + at);
		at += 32;
	}
	p = cur_bytes(c, 159 - at, &n);
	memcpy(ret + at, p, n);
	ret[at + n] = '\0';
}

void
irec_name(const struct import *imp, place at, struct irec *ret)
{
	const uint8_t *p = arena_at(&imp->arena, at);

	ret->nname = p[0] | (size_t)p[1] << 8;
	ret->name = (const char *)p + 2;
}

void
irec_file(const struct import *imp, place at, struct irec *ret)
{
	struct cur c;

	irec_name(imp, at, ret);
	cur_init(&c, ret->name + ret->nname + 1, 256);
	ret->size = cur_varint(&c);
	ret->mtime = cur_svarint(&c) * NSEC_PER_SEC;
	ret->mtime += (int64_t)cur_varint(&c);
	rec_get_version(&c, ret->version);
}

/* --- directories --- */

static uint32_t
dir_hash(uint32_t parent, const char *name, size_t n)
{
	uint32_t h = crc32c(parent * 2654435761u, name, n);

	return h ^ h >> 15;
}

/* The slot of (parent, name), or the empty one it would take. */
static uint32_t
dir_slot(const struct import *imp, uint32_t parent, const char *name, size_t n)
{
	uint32_t mask = imp->table_size - 1;
	uint32_t at = dir_hash(parent, name, n) & mask;
	struct irec r;

	while (imp->table[at] != 0) {
		const struct idir *d = &imp->dirs[imp->table[at]];

		if (d->parent == parent) {
			irec_name(imp, d->name, &r);
			if (r.nname == n && memcmp(r.name, name, n) == 0)
				break;
		}
		at = (at + 1) & mask;
	}
	return at;
}

uint32_t
idir_find(const struct import *imp, uint32_t parent, const char *name,
    size_t n)
{
	return imp->table[dir_slot(imp, parent, name, n)];
}

static int
table_grow(struct import *imp)
{
	uint32_t *old = imp->table, size = imp->table_size * 2;
	struct irec r;

	imp->table = calloc(size, sizeof(*imp->table));
	if (imp->table == NULL) {
		imp->table = old;
		return -ENOMEM;
	}
	imp->table_size = size;
	for (uint32_t i = 1; i < imp->ndirs; i++) {
		const struct idir *d = &imp->dirs[i];

		irec_name(imp, d->name, &r);
		imp->table[dir_slot(imp, d->parent, r.name, r.nname)] = i;
	}
	free(old);
	return 0;
}

static int
dir_add(struct import *imp, uint32_t parent, const char *name, size_t n,
    uint32_t *ret)
{
	struct buf b = BUF_INIT;
	uint32_t at;
	struct idir *d;
	int err;

	if (imp->ndirs == imp->dirs_cap) {
		d = realloc(imp->dirs, 2 * imp->dirs_cap * sizeof(*d));
		if (d == NULL)
			return -ENOMEM;
		imp->dirs = d;
		imp->dirs_cap *= 2;
	}
	if (imp->ndirs >= imp->table_size / 2) {
		err = table_grow(imp);
		if (err != 0)
			return err;
	}
	at = dir_slot(imp, parent, name, n);
	d = &imp->dirs[imp->ndirs];
	*d = (struct idir){ .parent = parent, .mtime = imp->opts.root_mtime };
	rec_put_name(&b, name, n);
	err = buf_err(&b);
	if (err == 0)
		err = arena_add(&imp->arena, b.p, b.len, &d->name);
	buf_done(&b);
	if (err != 0)
		return err;
	imp->table[at] = imp->ndirs;
	*ret = imp->ndirs++;
	return 0;
}

/* The directory of key's first n bytes, which end with its last '/'. */
static int
dir_of(struct import *imp, const char *key, size_t n, uint32_t *ret)
{
	uint32_t dir = 0, found;
	const char *p = key, *slash;
	int err;

	if (n == imp->last.len && memcmp(key, imp->last.p, n) == 0) {
		*ret = imp->last_dir;
		return 0;
	}
	for (; p < key + n; p = slash + 1) {
		slash = memchr(p, '/', (size_t)(key + n - p));
		found = idir_find(imp, dir, p, (size_t)(slash - p));
		if (found == 0) {
			err = dir_add(imp, dir, p, (size_t)(slash - p),
			    &found);
			if (err != 0)
				return err;
		}
		dir = found;
	}
	buf_reset(&imp->last);
	buf_put(&imp->last, key, n);
	imp->last_dir = dir;
	*ret = dir;
	return buf_err(&imp->last);
}

/* --- the import --- */

int
import_new(struct meta *m, const struct import_opts *opts, struct import **ret)
{
	struct import *imp;

	imp = calloc(1, sizeof(*imp));
	if (imp == NULL)
		return -ENOMEM;
	imp->m = m;
	imp->opts = *opts;
	imp->dirs_cap = 64;
	imp->table_size = 256;
	imp->prefix = strdup(opts->prefix != NULL ? opts->prefix : "");
	imp->dirs = calloc(imp->dirs_cap, sizeof(*imp->dirs));
	imp->table = calloc(imp->table_size, sizeof(*imp->table));
	buf_put_u8(&imp->last, 0);	/* so that it has a p */
	buf_reset(&imp->last);
	if (imp->prefix == NULL || imp->dirs == NULL || imp->table == NULL ||
	    imp->last.p == NULL) {
		import_free(imp);
		return -ENOMEM;
	}
	imp->dirs[0].mtime = opts->root_mtime;
	imp->ndirs = 1;
	*ret = imp;
	return 0;
}

static int
file_add(struct import *imp, uint32_t dir, const char *name, size_t n,
    uint64_t size, int64_t mtime, const char *version)
{
	int64_t sec = mtime / NSEC_PER_SEC, nsec = mtime % NSEC_PER_SEC;
	struct buf b = BUF_INIT;
	struct ifile *f;
	int err;

	if (imp->nfiles == imp->files_cap) {
		uint32_t cap = imp->files_cap != 0 ? imp->files_cap * 2 : 1024;

		f = realloc(imp->files, cap * sizeof(*f));
		if (f == NULL)
			return -ENOMEM;
		imp->files = f;
		imp->files_cap = cap;
	}
	if (nsec < 0) {
		nsec += NSEC_PER_SEC;
		sec--;
	}
	rec_put_name(&b, name, n);
	buf_put_varint(&b, size);
	buf_put_svarint(&b, sec);
	buf_put_varint(&b, (uint64_t)nsec);
	rec_put_version(&b, version);
	f = &imp->files[imp->nfiles];
	f->dir = dir;
	err = buf_err(&b);
	if (err == 0)
		err = arena_add(&imp->arena, b.p, b.len, &f->rec);
	buf_done(&b);
	if (err == 0)
		imp->nfiles++;
	return err;
}

int
import_add(struct import *imp, const char *key, uint64_t size, int64_t mtime,
    const char *version)
{
	const char *slash = strrchr(key, '/');
	size_t n = strlen(key), ndir = slash != NULL ? slash + 1 - key : 0;
	uint32_t dir;
	int err;

	if (n > KEY_BYTES_MAX || size > INT64_MAX / 2 || strlen(version) > 159)
		return -EINVAL;
	if (imp->nfiles + imp->ndirs >= IMPORT_KEYS_MAX - KEY_BYTES_MAX)
		return -EFBIG;
	err = dir_of(imp, key, ndir, &dir);
	if (err != 0)
		return err;
	if (ndir == n && size == 0) {		/* a marker */
		imp->dirs[dir].mtime = mtime;
		imp->markers++;
		return 0;
	}
	return file_add(imp, dir, key + ndir, n - ndir, size, mtime, version);
}

uint64_t
import_keys(const struct import *imp)
{
	return imp->nfiles + imp->markers;
}

void
import_free(struct import *imp)
{
	if (imp == NULL)
		return;
	arena_done(&imp->arena);
	buf_done(&imp->last);
	free(imp->prefix);
	free(imp->dirs);
	free(imp->files);
	free(imp->table);
	free(imp);
}

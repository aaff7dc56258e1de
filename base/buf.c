/* buf: see base/buf.h. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEFAULT	((size_t)256 << 20)
#define CAP_MIN		64

void
buf_done(struct buf *b)
{
	if (!b)
		return;
	free(b->p);
	*b = (struct buf)BUF_INIT;
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->err = 0;
}

int
buf_err(const struct buf *b)
{
	return b->err;
}

/* Beside cap there always is one byte, for the NUL of buf_cstr. */
void *
buf_grow(struct buf *b, size_t n)
{
	size_t cap, max = b->max ? b->max : MAX_DEFAULT;
	uint8_t *p;

	if (b->err)
		return NULL;
	if (b->len > max || n > max - b->len) {
		b->err = -EFBIG;
		return NULL;
	}
	if (b->p && n <= b->cap - b->len)
		return b->p + b->len;
	cap = b->cap < max / 2 ? b->cap * 2 : max;
	if (cap < b->len + n)
		cap = b->len + n;
	if (cap < CAP_MIN)
		cap = CAP_MIN;
	p = realloc(b->p, cap + 1);
	if (!p) {
		b->err = -ENOMEM;
		return NULL;
	}
	b->p = p;
	b->cap = cap;
	return b->p + b->len;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	void *to;

	if (n == 0)
		return;
	to = buf_grow(b, n);
	if (!to)
		return;
	memcpy(to, p, n);
	b->len += n;
}

static void
put_le(struct buf *b, uint64_t v, unsigned n)
{
	uint8_t *to = buf_grow(b, n);

	if (!to)
		return;
	for (unsigned i = 0; i < n; i++)
		to[i] = v >> (8 * i);
	b->len += n;
}

void
buf_put_u8(struct buf *b, uint8_t v)
{
	put_le(b, v, 1);
}

void
buf_put_u32(struct buf *b, uint32_t v)
{
	put_le(b, v, 4);
}

void
buf_put_u64(struct buf *b, uint64_t v)
{
	put_le(b, v, 8);
}

void
buf_put_varint(struct buf *b, uint64_t v)
{
	uint8_t tmp[10];
	unsigned n = 0;

	while (v >= 0x80) {
		tmp[n++] = v | 0x80;
		v >>= 7;
	}
	tmp[n++] = v;
	buf_put(b, tmp, n);
}

void
buf_put_svarint(struct buf *b, int64_t v)
{
	uint64_t u = v;

	buf_put_varint(b, v < 0 ? ~(u << 1) : u << 1);
}

void
buf_put_bytes(struct buf *b, const void *p, size_t n)
{
	buf_put_varint(b, n);
	buf_put(b, p, n);
}

void
buf_put_str(struct buf *b, const char *s)
{
	buf_put_bytes(b, s, strlen(s));
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;
	char *to;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		if (!b->err)
			b->err = -EFBIG;
		return;
	}
	to = buf_grow(b, n);
	if (!to)
		return;
	va_start(ap, fmt);
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += n;
}

const char *
buf_cstr(struct buf *b)
{
	uint8_t *end = buf_grow(b, 0);

	if (!end)
		return "";
	*end = '\0';
	return (const char *)b->p;
}

void *
buf_take(struct buf *b, size_t *retlen)
{
	uint8_t *end = buf_grow(b, 0), *p = NULL;
	size_t n = 0;

	if (end) {
		*end = '\0';
		p = b->p;
		n = b->len;
		b->p = NULL;
	}
	buf_done(b);
	if (retlen)
		*retlen = n;
	return p;
}

void
cur_init(struct cur *c, const void *p, size_t n)
{
	static const uint8_t nothing;

	c->p = p ? p : &nothing;
	c->end = c->p + (p ? n : 0);
	c->err = 0;
}

int
cur_err(const struct cur *c)
{
	return c->err;
}

bool
cur_at_end(const struct cur *c)
{
	return c->p == c->end;
}

size_t
cur_left(const struct cur *c)
{
	return c->end - c->p;
}

void
cur_fail(struct cur *c)
{
	c->err = -EBADMSG;
	c->p = c->end;
}

const void *
cur_raw(struct cur *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->err)
		return NULL;
	if (n > cur_left(c)) {
		cur_fail(c);
		return NULL;
	}
	c->p += n;
	return p;
}

static uint64_t
get_le(struct cur *c, unsigned n)
{
	const uint8_t *p = cur_raw(c, n);
	uint64_t v = 0;

	if (!p)
		return 0;
	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t
cur_u8(struct cur *c)
{
	return get_le(c, 1);
}

uint32_t
cur_u32(struct cur *c)
{
	return get_le(c, 4);
}

uint64_t
cur_u64(struct cur *c)
{
	return get_le(c, 8);
}

/* Only the shortest spelling passes, so equal content is equal bytes. */
uint64_t
cur_varint(struct cur *c)
{
	uint64_t v = 0;
	unsigned shift;
	uint8_t byte;

	for (shift = 0; shift < 64; shift += 7) {
		byte = cur_u8(c);
		if (c->err)
			return 0;
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (byte == 0 && shift > 0)
			break;
		return v;
	}
	cur_fail(c);
	return 0;
}

int64_t
cur_svarint(struct cur *c)
{
	uint64_t u = cur_varint(c);

	return u & 1 ? (int64_t)~(u >> 1) : (int64_t)(u >> 1);
}

const void *
cur_bytes(struct cur *c, size_t max, size_t *retn)
{
	uint64_t n = cur_varint(c);
	const void *p = NULL;

	if (n > max)
		cur_fail(c);
	else
		p = cur_raw(c, n);
	*retn = p ? n : 0;
	return p;
}

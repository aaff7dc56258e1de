/*
 * buf: a growable byte string with a maximum, and cur: a reader over bytes
 * that cannot run past their end.
 *
 * All that gnsfs writes to a store or a database in binary goes through
 * these: little-endian fixed integers, LEB128 varints, length-prefixed
 * strings.  Errors are sticky: after one, puts and gets do nothing (gets give
 * 0 / empty), and the caller looks once at the end (buf_err, cur_err).
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t	*p;		/* owned; may be NULL when cap is 0 */
	size_t	 len, cap;
	size_t	 max;		/* bytes; 0 = 256 MiB */
	int	 err;		/* 0, -ENOMEM, or -EFBIG (over max) */
};

#define BUF_INIT	{ 0 }

void	buf_done(struct buf *b);		/* frees; b is BUF_INIT again */
void	buf_reset(struct buf *b);		/* len = 0, err = 0 */
int	buf_err(const struct buf *b);
/* Room for n more bytes; NULL on error.  The caller adds to len itself. */
void	*buf_grow(struct buf *b, size_t n);
void	buf_put(struct buf *b, const void *p, size_t n);
void	buf_put_u8(struct buf *b, uint8_t v);
void	buf_put_u32(struct buf *b, uint32_t v);
void	buf_put_u64(struct buf *b, uint64_t v);
void	buf_put_varint(struct buf *b, uint64_t v);	/* LEB128, 1-10 bytes */
void	buf_put_svarint(struct buf *b, int64_t v);	/* zigzag */
void	buf_put_bytes(struct buf *b, const void *p, size_t n); /* varint n, p */
void	buf_put_str(struct buf *b, const char *s);	/* as buf_put_bytes */
void	buf_puts(struct buf *b, const char *s);		/* raw, no length */
void	buf_printf(struct buf *b, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));
/* NUL after the bytes (not counted in len); "" on error.  Borrowed. */
const char *buf_cstr(struct buf *b);
/* The bytes, now owned by the caller (free); b is BUF_INIT again. */
void	*buf_take(struct buf *b, size_t *retlen);

struct cur {
	const uint8_t	*p, *end;
	int		 err;	/* 0 or -EBADMSG */
};

void	cur_init(struct cur *c, const void *p, size_t n);
int	cur_err(const struct cur *c);
bool	cur_at_end(const struct cur *c);	/* true on error too */
size_t	cur_left(const struct cur *c);
void	cur_fail(struct cur *c);		/* the reader found nonsense */
uint8_t	cur_u8(struct cur *c);
uint32_t cur_u32(struct cur *c);
uint64_t cur_u64(struct cur *c);
uint64_t cur_varint(struct cur *c);
int64_t	cur_svarint(struct cur *c);
/* n raw bytes; NULL on error.  Borrowed from what cur_init was given. */
const void *cur_raw(struct cur *c, size_t n);
/* Length-prefixed bytes of at most max; *retn is 0 on error.  Borrowed. */
const void *cur_bytes(struct cur *c, size_t max, size_t *retn);

#endif

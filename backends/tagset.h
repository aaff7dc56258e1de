/*
 * tagset: the tags of an object as S3 and Azure write them, in XML:
 * <Tagging> or <Tags>, <TagSet>, <Tag>, <Key> and <Value>.
 */
#ifndef BACKENDS_TAGSET_H
#define BACKENDS_TAGSET_H

#include <stddef.h>

#include "base/buf.h"

/* Appends "KEY" NUL "VALUE" NUL ...  0, -EBADMSG (it is none; nothing was
 * appended), -ENOMEM. */
int	tagset_parse(const void *p, size_t n, struct buf *ret);

#endif

/* imap: see imap.h.  Open addressing, at most half full. */
#include <errno.h>
#include <stdlib.h>

#include "meta/imap.h"

static struct imap_slot *
slot_of(const struct imap *m, uint64_t ino)
{
	size_t i = (ino * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & m->mask;

	while (m->slots[i].ino != 0 && m->slots[i].ino != ino)
		i = (i + 1) & m->mask;
	return (&m->slots[i]);
}

static int
imap_grow(struct imap *m)
{
	size_t cap = m->slots == NULL ? 16 : 2 * (m->mask + 1);
	struct imap new = { calloc(cap, sizeof(*new.slots)), cap - 1, m->n };

	if (new.slots == NULL)
		return (-ENOMEM);
	for (size_t i = 0; m->slots != NULL && i <= m->mask; i++)
		if (m->slots[i].ino != 0)
			*slot_of(&new, m->slots[i].ino) = m->slots[i];
	free(m->slots);
	*m = new;
	return (0);
}

uint32_t
imap_get(const struct imap *m, uint64_t ino)
{
	return (m->slots != NULL ? slot_of(m, ino)->v : 0);
}

int
imap_set(struct imap *m, uint64_t ino, uint32_t v)
{
	struct imap_slot *s;
	int err;

	if ((m->slots == NULL || 2 * (m->n + 1) > m->mask + 1) &&
	    (err = imap_grow(m)) != 0)
		return (err);
	s = slot_of(m, ino);
	m->n += s->ino == 0;
	*s = (struct imap_slot){ ino, v };
	return (0);
}

void
imap_done(struct imap *m)
{
	free(m->slots);
	*m = (struct imap)IMAP_INIT;
}

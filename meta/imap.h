/* imap: a map from inode (not 0) to a small integer; 0 is absent. */
#ifndef META_IMAP_H
#define META_IMAP_H

#include <stddef.h>
#include <stdint.h>

struct imap {
	struct imap_slot { uint64_t ino; uint32_t v; } *slots;
	size_t mask, n;		/* n: how many there are */
};
#define IMAP_INIT	{ NULL, 0, 0 }

/* 0 also where nothing was ever set. */
uint32_t imap_get(const struct imap *m, uint64_t ino);
int	imap_set(struct imap *m, uint64_t ino, uint32_t v);	/* -ENOMEM */
void	imap_done(struct imap *m);

#endif

/* digest: the hash of the tree, row by row in order (M4), of struct digest
 * (piece.h). */
#ifndef META_DIGEST_H
#define META_DIGEST_H

#include "meta/piece.h"

int	digest_new(struct digest **ret);	/* -ENOMEM */
int	digest_add(struct digest *d, enum tbl tbl, const void *image, size_t n);
void	digest_final(struct digest *d, uint8_t ret[32]); /* frees; NULL ok */

#endif

/*
 * s3_dialect: in what those differ who speak S3's protocol, as their makers
 * document it: a row each.  What there is to know about a store is asked of
 * its row; nobody asks for a row's name.
 *
 * A row is chosen by `dialect=` of the URL, else by the endpoint's host (or
 * the bucket's name), else by what a first answer says in its Server header;
 * else it is "s3", of which nothing is known but what it answers.
 *
 * gnsfs(5) has this table in words; a new row goes there too.
 */
#ifndef BACKENDS_S3_DIALECT_H
#define BACKENDS_S3_DIALECT_H

#include <stdbool.h>

#include "base/buf.h"

/* What becomes of a condition of a write. */
enum s3_kept {
	S3_TRIED,	/* nothing is documented: what it answers counts */
	S3_KEPT,	/* it is documented, for all that have this name */
	S3_IGNORED,	/* done all the same */
	S3_REFUSED,	/* 501, nothing is done */
};

struct s3_dialect {
	const char	*name;
	const char	*host;		/* how endpoints' hosts end; or NULL */
	const char	*server;	/* how Server begins; or NULL */
	const char	*region;	/* of all endpoints; or NULL */
	int		 region_at;	/* else which part of the host it is,
					   from 1 on; 0: none */
	enum s3_kept	 put;		/* If-None-Match, If-Match of PUT */
	enum s3_kept	 parts;	/* the same of CompleteMultipartUpload */
	enum s3_kept	 del;		/* If-Match of DELETE */
	const char	*copy_absent;	/* the header by which a copy is made
					   if there is none; or NULL */
	enum s3_kept	 copy;		/* what becomes of that one */
	bool		 tags;		/* GetObjectTagging */
	bool		 no_sums;	/* a request with an x-amz-checksum
					   header is refused */
	/* A bucket of directories: lists have no order, begin at the
	 * beginning, and are of prefixes that end in '/', by '/' alone. */
	bool		 dirs;
	/* Requests are signed with the keys of a session (CreateSession) for
	 * another service, but those of copies. */
	bool		 sessions;
};

/* NULL: there is none of that name. */
const struct s3_dialect *s3_dialect_named(const char *name);
/* host: [:port] may follow; NULL: AWS's own. */
const struct s3_dialect *s3_dialect_of(const char *host, const char *bucket);
/* What an answer says of itself; NULL: nothing that is known. */
const struct s3_dialect *s3_dialect_seen(const char *server);
/* "aws, r2, ...", for messages. */
void	s3_dialect_names(struct buf *ret);
/* Which region an endpoint's host means; false: it says none. */
bool	s3_dialect_region(const struct s3_dialect *d, const char *host,
	    char ret[64]);
/* The zone in a directory bucket's name, "BASE--ZONE--x-s3"; false: it has
 * none. */
bool	s3_dialect_zone(const char *bucket, char ret[64]);

#endif

/*
 * s3: inside of the S3 backend; nobody but s3*.c and their tests includes it.
 *
 *   s3.c            get, head, put, del
 *   s3_open.c       opening: settings, server, credentials
 *   s3_dialect.c    in what makers differ: a table
 *   s3_tags.c       an object's tags
 *   s3_session.c    keys for a session with a directory bucket
 *   s3_request.c    one request: its URL, sums, signature, and what became
 *                   of it
 *   s3_error.c      what an answer that is not 2xx means (enum store_rc)
 *   s3_list.c       a page of ListObjectsV2
 *   s3_left.c       uploads in parts that have not ended
 *   s3_multipart.c  copies; large puts and copies as parallel parts
 *   s3_offer.c      a URL by which another may get an object
 *
 * Settings of an s3:// URL: endpoint (http[s]://host[:port]; absent: AWS),
 * region, profile, style (path, virtual), ca (a file of certificates),
 * checksum (crc32c, none: for stores that refuse S3's checksum headers),
 * dialect (s3_dialect.h: whose S3 it is, where host and answers do not say).
 */
#ifndef BACKENDS_S3_H
#define BACKENDS_S3_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backends/creds_aws.h"
#include "backends/etag.h"
#include "backends/http.h"
#include "backends/layer.h"
#include "backends/s3_dialect.h"
#include "backends/store.h"
#include "backends/xml.h"
#include "base/workers.h"

#define S3_MIB		((uint64_t)1 << 20)
#define S3_PARTS_MAX	10000

/* Sizes, that a test may make small.  0 = the default. */
struct s3_sizes {
	uint64_t	 single;	/* most put in one request: 16 MiB */
	uint64_t	 part;		/* least bytes of a part: 8 MiB */
	uint64_t	 copy_single;	/* most copied in one request: 5 GiB */
	uint64_t	 copy_part;	/* of a copy in parts: 256 MiB */
};

struct s3 {
	struct store	 store;
	struct http	*http;
	struct creds_aws *creds;	/* NULL: unsigned (loopback only) */
	struct creds_aws *sessions;	/* keys of a session, by creds; NULL */
	struct workers	*pool;		/* lanes of large puts and copies */
	struct s3_sizes	 sizes;
	char		*url;		/* store.url */
	char		*bucket;
	char		*prefix;	/* "" or ends in '/' */
	char		*region;
	char		*profile;	/* "" : none was named */
	char		*server;	/* host[:port] without the bucket; of
					   AWS's own NULL until it is known */
	char		*base;		/* "https://host[:port]" */
	char		*host;		/* host[:port] as the Host header is */
	char		*path;		/* "/bucket", or "" (virtual) */
	bool		 https, loopback, aws;
	_Atomic bool	 checksums;	/* x-amz-checksum-crc32c */
	_Atomic bool	 proven;	/* a request has succeeded */
	_Atomic(const struct s3_dialect *) dialect;
	bool		 dialect_is_sure;	/* no answer changes it */
	/* conditions, seen to: of puts [0]; of what goes in parts alone [1] */
	_Atomic bool	 refuses[2];
	_Atomic int	 absent[2];	/* enum s3_kept, of If-None-Match */
};

#define s3_dialect(s)	(atomic_load(&(s)->dialect))
extern const struct store_ops s3_ops;
void	s3_free(struct store *st);

/* As s3_store_open; sizes may be NULL. */
int	s3_open(const struct url *u, const struct s3_sizes *sizes,
	    struct store **ret, struct why *why);

/* --- one request (s3_request.c) --- */

struct s3_error {
	char	code[64];		/* S3's code; "" where none was given */
	char	message[200];
	char	region[40];		/* where the bucket is */
	char	server_time[40];	/* of RequestTimeTooSkewed */
};

struct s3_req {
	/* Filled by the caller. */
	const char	*method;
	const char	*op;		/* for messages: "PUT", "LIST", ... */
	const char	*key;		/* below the prefix; NULL: the bucket */
	unsigned	 nparams;
	struct s3_param { const char *name, *value; } params[8];
	struct http_headers headers;	/* s3_do adds, s3_req_done frees */
	const struct store_src *src;	/* body of PUT and POST; NULL: empty */
	uint64_t	 off, len;	/* the part of src that is sent */
	bool		 sum;		/* send its CRC-32C (where allowed) */
	bool		 write;		/* an answer lost is AMBIGUOUS */
	bool		 late_error;	/* 200 may have an error for a body */
	bool		 expect, fresh;
	bool		 own_keys;	/* not those of a session */
	enum store_rc	 on_412;	/* OK: STORE_CHANGED */
	unsigned	 stall;		/* seconds; 0 = http's */
	size_t		 max_body;
	enum http_verdict (*accept)(void *arg, struct http_resp *resp);
	store_sink	*sink;
	void		*arg;

	/* Filled by s3_do. */
	struct http_resp resp;
	struct s3_error	 error;
	enum http_end	 end;
	char		 crc[9];	/* base64; "" where none was sent */
	bool		 summed;	/* the body was compared with it */
};

/*
 * Sends it and says what became of it; why names bucket, operation, status,
 * code and the way out.  Answered 2xx: STORE_OK.  Stopped by accept or sink:
 * STORE_CANCELLED; by the source: STORE_INVALID.  s3_req_done() after it,
 * whatever it returned.
 */
enum store_rc s3_do(struct s3 *s, struct store_call *c, struct s3_req *r);
void	s3_req_done(struct s3_req *r);

/* The store refuses checksums' headers: none is sent from now on. */
void	s3_sums_off(struct s3 *s);
void	s3_param(struct s3_req *r, const char *name, const char *value);
/* Seconds of an ISO 8601 time as S3 writes it; -1: it is none. */
int64_t	s3_time_parse(const char *s);
/* STORE_INVALID for a key that cannot be one. */
enum store_rc s3_key_check(struct s3 *s, const char *key, struct why *why);

/* --- errors (s3_error.c) --- */

/* Reads an error body into ret (all "" where it is none). */
void	s3_error_parse(const struct buf *body, struct s3_error *ret);
/* Is the body one? */
bool	s3_error_is(const struct buf *body);
/* What r's answer (resp, error) means, and says why. */
enum store_rc s3_error_rc(struct s3 *s, const struct s3_req *r,
	    const char *id, struct why *why);

/* --- operations --- */

enum store_rc s3_list(struct store *st, struct store_call *c,
	    struct store_list *l,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
/* A key in a list, decoded into b where lists are percent-encoded.  False: it
 * cannot be one (NUL in it). */
bool	s3_decode(const char *text, bool is_url, struct buf *b);
/* Parses a list, before which there may be blanks (xml_parse's results);
 * *retis_url is set, before each is called, where its keys are encoded. */
int	s3_xml(const struct buf *body, bool *retis_url, xml_each *each,
	    void *arg);
enum store_rc s3_left(struct store *st, struct store_call *c,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
/* A 4xx to HEAD, which comes without a reason, is asked again by GET. */
enum store_rc s3_head(struct store *st, struct store_call *c,
	    const char *key, struct store_info *ret);
/* A put of more than sizes.single bytes. */
enum store_rc s3_put_parts(struct s3 *s, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const struct store_src *src,
	    struct store_info *ret);
enum store_rc s3_copy(struct store *st, struct store_call *c,
	    const char *from, const struct store_version *version,
	    const char *to, struct store_info *ret);
enum store_rc s3_pull(struct store *st, struct store_call *c,
	    struct store *from, const char *key,
	    const struct store_version *version, const char *to,
	    struct store_info *ret);
enum store_rc s3_offer(struct store *st, struct store_call *c,
	    const char *key, const struct store_version *version,
	    int64_t until, struct buf *ret);
/* s3_tags.c */
enum store_rc s3_tags(struct store *st, struct store_call *c,
	    const char *key, struct buf *ret);
/* What becomes of *cond where the store keeps conditions so.  OK: put it by
 * what *cond is now; EXISTS, CHANGED, ABSENT: looking before says so;
 * UNSUPPORTED: others may write that key, and nothing would keep them off. */
enum store_rc s3_keep(struct s3 *s, struct store_call *c, const char *key,
	    enum s3_kept kept, enum store_cond *cond,
	    const struct store_version *match);
/* For the cache of sessions' keys (creds_aws.h); arg: the struct s3. */
int	s3_session_fetch(void *arg, const struct token_call *c,
	    struct aws_creds *ret, int64_t *retlife, struct why *why);
/* The condition as headers and on_412. STORE_OK, STORE_INVALID, or
 * STORE_UNSUPPORTED (a version that is no ETag). */
enum store_rc s3_condition(struct s3_req *r, enum store_cond cond,
	    const struct store_version *match, struct why *why);

#endif

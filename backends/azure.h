/*
 * azure: inside of the Azure Blob backend; nobody but azure*.c and their tests
 * includes it.
 *
 *   azure.c          opening, get, head, put, del
 *   azure_request.c  one request: its URL, sum, authorization, and what
 *                    became of it
 *   azure_error.c    what an answer that is not 2xx means (enum store_rc)
 *   azure_list.c     a page of List Blobs
 *   azure_tags.c     a blob's index tags
 *   azure_blocks.c   large puts and copies as blocks in parallel
 *   azure_copy.c     the service fetches bytes from a URL itself
 *
 * Settings of an az:// URL: endpoint (http[s]://host[:port][/account]: with
 * the account's path where the server wants it, as Azurite does; absent: the
 * connection string's, else https://ACCOUNT.blob.core.windows.net), ca (a
 * file of certificates), checksum (crc64, none).
 *
 * Accounts with a hierarchical namespace are spoken to by the same calls; the
 * folders that they list as blobs are left out, and are no objects.
 */
#ifndef BACKENDS_AZURE_H
#define BACKENDS_AZURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backends/creds_azure.h"
#include "backends/etag.h"
#include "backends/http.h"
#include "backends/layer.h"
#include "backends/sigkey.h"
#include "backends/store.h"
#include "base/workers.h"

#define AZURE_VERSION	"2024-11-04"	/* x-ms-version */
#define AZURE_MIB	((uint64_t)1 << 20)
#define AZURE_BLOCKS_MAX 50000

/* Sizes, that a test may make small.  0 = the default. */
struct azure_sizes {
	uint64_t	 single;	/* most put in one request: 16 MiB */
	uint64_t	 part;		/* least bytes of a block: 8 MiB */
	uint64_t	 copy_single;	/* most copied in one: 5000 MiB */
	uint64_t	 copy_part;	/* of a copy in blocks: 256 MiB */
};

struct azure {
	struct store	 store;
	struct http	*http;
	struct creds_azure *creds;
	struct workers	*pool;		/* lanes of large puts and copies */
	struct azure_sizes sizes;
	char		*url;		/* store.url */
	char		*account;
	char		*container;
	char		*prefix;	/* "" or ends in '/' */
	char		*base;		/* "https://host[:port]" */
	char		*path;		/* "[/account]/container" */
	char		*where;		/* for messages */
	bool		 https, loopback;
	_Atomic bool	 checksums;	/* x-ms-content-crc64 */
	_Atomic bool	 no_from_url;	/* it lacks Put Blob From URL */
	/* Where the service could not fetch from of late: a hash of
	 * scheme and host; until when that is believed (clock_mono) */
	_Atomic uint64_t no_source;
	_Atomic int64_t	 no_source_until;
};

/* As azure_store_open; sizes may be NULL. */
int	azure_open(const struct url *u, const struct azure_sizes *sizes,
	    struct store **ret, struct why *why);

/* --- one request (azure_request.c) --- */

struct azure_error {
	char	code[64];		/* the service's; "" for none */
	char	message[240];
};

struct azure_req {
	/* Filled by the caller. */
	const char	*method;
	const char	*op;		/* for messages: "PUT", "LIST", ... */
	const char	*key;		/* below the prefix; NULL: container */
	unsigned	 nparams;
	struct sigkey_param params[8];
	struct http_headers headers;	/* azure_do adds, req_done frees */
	const struct store_src *src;	/* body of a PUT; NULL: empty */
	uint64_t	 off, len;	/* the part of src that is sent */
	bool		 sum;		/* send its CRC-64 (where allowed) */
	bool		 write;		/* an answer lost is AMBIGUOUS */
	enum store_cond	 cond;		/* what 409 and 412 say no to */
	bool		 expect, fresh;
	unsigned	 stall;		/* seconds; 0 = http's */
	size_t		 max_body;
	enum http_verdict (*accept)(void *arg, struct http_resp *resp);
	store_sink	*sink;
	void		*arg;

	/* Filled by azure_do. */
	struct http_resp resp;
	struct azure_error error;
	enum http_end	 end;
	char		 crc[16];	/* base64, as sent; "" for none */
	bool		 summed;	/* the body was compared with it */
};

/*
 * Sends it and says what became of it; why names container, operation,
 * status, code and the way out.  Answered 2xx: STORE_OK.  Stopped by accept
 * or sink: STORE_CANCELLED; by the source: STORE_INVALID.  azure_req_done()
 * after it, whatever it returned.
 */
enum store_rc azure_do(struct azure *s, struct store_call *c,
	    struct azure_req *r);
void	azure_req_done(struct azure_req *r);
void	azure_param(struct azure_req *r, const char *name, const char *value);
/* The URL of a key, with no query.  Errors stay in b. */
void	azure_url(const struct azure *s, const char *key, struct buf *b);
/* What a failure to get a token comes to. */
enum store_rc azure_token_rc(int err);

/* STORE_INVALID for a key that cannot be one. */
enum store_rc azure_key_check(struct azure *s, const char *key,
	    struct why *why);
/* The condition as headers. STORE_OK, STORE_INVALID, or STORE_UNSUPPORTED (a
 * version that is no ETag). */
enum store_rc azure_condition(struct azure_req *r, enum store_cond cond,
	    const struct store_version *match, struct why *why);

/* --- errors (azure_error.c) --- */

/* Reads header and body into ret (all "" where there is none). */
void	azure_error_parse(const struct http_resp *resp,
	    struct azure_error *ret);
/* What r's answer (resp, error) means, and says why. */
enum store_rc azure_error_rc(struct azure *s, const struct azure_req *r,
	    struct why *why);

/* --- operations --- */

enum store_rc azure_head(struct store *st, struct store_call *c,
	    const char *key, struct store_info *ret);
enum store_rc azure_list(struct store *st, struct store_call *c,
	    struct store_list *l,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
enum store_rc azure_copy(struct store *st, struct store_call *c,
	    const char *from, const struct store_version *version,
	    const char *to, struct store_info *ret);

enum store_rc azure_tags(struct store *st, struct store_call *c,
	    const char *key, struct buf *ret);

/* Bytes that the service fetches itself: a blob, or a presigned URL of another
 * cloud (at most 2 KiB). */
struct azure_source {
	const char	*url;		/* a secret: its signature */
	const char	*bearer;	/* token for it; NULL: none */
	const char	*etag;		/* of a blob; NULL: not checked */
	uint64_t	 size;
	_Atomic bool	 unfetchable;	/* out: the service cannot get it */
};
/* UNSUPPORTED where the server lacks the calls, or the source is not one that
 * it can fetch. */
enum store_rc azure_fetch(struct azure *s, struct store_call *c,
	    struct azure_source *from, const char *to,
	    enum store_cond cond, struct store_info *ret);
/* A blob of any account, or an object of a store that offers it. */
enum store_rc azure_pull(struct store *st, struct store_call *c,
	    struct store *from, const char *key,
	    const struct store_version *version, const char *to,
	    struct store_info *ret);
enum store_rc azure_offer(struct store *st, struct store_call *c,
	    const char *key, const struct store_version *version,
	    int64_t until, struct buf *ret);

/* In blocks (azure_blocks.c): of src, or else of from. */
enum store_rc azure_put_blocks(struct azure *s, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const struct store_src *src,
	    struct azure_source *from, struct store_info *ret);
/* The headers by which the service fetches from a URL. */
void	azure_from_url(struct azure_req *r, const struct azure_source *from);
/* Remembers where r's answer was that there is no such call, or that the
 * source cannot be fetched; rc: what it came to. */
void	azure_has_from_url(struct azure *s, const struct azure_req *r,
	    enum store_rc rc, struct azure_source *from);

#endif

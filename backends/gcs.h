/*
 * gcs: inside of the Google Cloud Storage backend; nobody but gcs*.c and
 * their tests includes it.
 *
 *   gcs.c           opening, get, head, put, del
 *   gcs_request.c   one request: its URL, token, and what became of it
 *   gcs_error.c     what an answer that is not 2xx means (enum store_rc)
 *   gcs_object.c    what JSON says of an object
 *   gcs_list.c      a page of a list
 *   gcs_upload.c    puts: in one request, or resumable
 *   gcs_compose.c   large puts as parallel parts, composed
 *   gcs_copy.c      rewrite
 *   gcs_offer.c     a URL by which another may get an object
 *
 * It speaks the JSON API (v1).  A version is "e:GENERATION"; an object's
 * mtime is when that generation was made (timeCreated; a get, which is not
 * told, gives Last-Modified).
 *
 * Settings of a gs:// URL: endpoint (http[s]://host[:port]; absent:
 * STORAGE_EMULATOR_HOST, then Google's), profile (creds_gcs.h), ca (a file of
 * certificates), compose (auto, on, off; gcs_compose.c).
 */
#ifndef BACKENDS_GCS_H
#define BACKENDS_GCS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backends/creds_gcs.h"
#include "backends/http.h"
#include "backends/layer.h"
#include "backends/store.h"
#include "base/workers.h"

#define GCS_MIB		((uint64_t)1 << 20)
#define GCS_GENERATION	24	/* digits of one, with NUL */
#define GCS_PARTS	".gnsfs-parts/"	/* keys of parts; never listed */

/* Sizes, that a test may make small.  0 = the default. */
struct gcs_sizes {
	uint64_t	 single; /* most bytes put in one request: 16 MiB */
	uint64_t	 compose;	/* least bytes put as parts: 64 MiB */
	uint64_t	 part;		/* least bytes of a part: 16 MiB */
	uint64_t	 rewrite; /* most copied in one request; 0: its own */
};

enum gcs_compose { GCS_COMPOSE_AUTO, GCS_COMPOSE_ON, GCS_COMPOSE_OFF };

struct gcs {
	struct store	 store;
	struct http	*http;
	struct creds_gcs *creds;	/* NULL: unsigned */
	struct workers	*pool;		/* lanes of large puts */
	struct gcs_sizes sizes;
	char		*url;		/* store.url */
	char		*bucket;
	char		*prefix;	/* "" or ends in '/' */
	char		*profile;	/* "": none was named */
	char		*base;		/* "https://host[:port]" */
	bool		 https, loopback;
	bool		 google;	/* Google's own; else conditions that an
					   emulator may ignore are looked at */
	_Atomic int	 compose;	/* enum gcs_compose; AUTO is resolved by
					   the first large put */
};

/* As gcs_store_open; sizes may be NULL. */
int	gcs_open(const struct url *u, const struct gcs_sizes *sizes,
	    struct store **ret, struct why *why);

/* --- one request (gcs_request.c) --- */

struct gcs_error {
	char	reason[64];	/* "conditionNotMet"; "" if none given */
	char	message[300];
	bool	json;			/* the service's own */
};

struct gcs_req {
	/* Filled by the caller. */
	const char	*method;
	const char	*op;		/* for messages: "PUT", "LIST", ... */
	const char	*key;		/* below the prefix; NULL: none */
	enum { GCS_OBJECT, GCS_OBJECTS, GCS_BUCKET } of; /* the path: of key,
					   of all objects, of the bucket */
	const char	*lead;		/* before "/b/"; NULL: /storage/v1 */
	const char	*tail;		/* after the key, encoded; or NULL */
	const char	*target; /* path and query of a session; or NULL */
	unsigned	 nparams;
	struct gcs_param { const char *name, *value; } params[8];
	struct http_headers headers;	/* gcs_do adds, gcs_req_done frees */
	const struct store_src *src;	/* body of PUT and POST; NULL: empty */
	uint64_t	 off, len;	/* the part of src that is sent */
	bool		 write;		/* an answer lost is AMBIGUOUS */
	bool		 resumable;	/* 308 is an answer like 2xx */
	bool		 fresh;
	enum store_rc	 on_412;	/* OK: STORE_CHANGED */
	unsigned	 stall;		/* seconds; 0 = http's */
	size_t		 max_body;
	enum http_verdict (*accept)(void *arg, struct http_resp *resp);
	store_sink	*sink;
	void		*arg;

	/* Filled by gcs_do. */
	struct http_resp resp;
	struct gcs_error error;
	enum http_end	 end;
};

/*
 * Sends it and says what became of it; why names bucket, operation, status,
 * reason and the way out.  Answered 2xx (or 308, resumable): STORE_OK.
 * Stopped by accept or sink: STORE_CANCELLED; by the source: STORE_INVALID.
 * A token that is refused is renewed, and the request sent once more.
 * gcs_req_done() after it, whatever it returned.
 */
enum store_rc gcs_do(struct gcs *s, struct store_call *c, struct gcs_req *r);
void	gcs_req_done(struct gcs_req *r);
void	gcs_param(struct gcs_req *r, const char *name, const char *value);
/* Percent-encodes all but A-Z a-z 0-9 - _ . ~ . */
void	gcs_encode(struct buf *b, const char *s);
/* "/b/BUCKET/o/KEY", encoded, as it stands in a path. */
void	gcs_path(const struct gcs *s, struct buf *b, const char *key);
/* STORE_INVALID for a key that GCS takes none of (UTF-8, no line ends). */
enum store_rc gcs_key_check(struct gcs *s, const char *key, struct why *why);
/* A pause before try n of something (n from 1): 100 ms, doubled each time, 2 s
 * at most, with jitter.  As call_sleep; why is left alone. */
enum store_rc gcs_pause(struct store_call *c, unsigned n);

/* --- errors (gcs_error.c) --- */

/* Reads an error body into ret (all "" where it is none). */
void	gcs_error_parse(const struct buf *body, struct gcs_error *ret);
/* What r's answer (resp, error) means, and says why. */
enum store_rc gcs_error_rc(struct gcs *s, const struct gcs_req *r,
	    struct why *why);
bool	gcs_is_no_bucket(const struct gcs_error *e);

/* --- objects (gcs_object.c) --- */

#define GCS_FIELDS	"name,size,generation,timeCreated,updated,crc32c," \
			"md5Hash"

struct json_t;
struct gcs_object {
	struct store_info info;
	char		 crc[9];	/* base64 CRC-32C; "" where not said */
};

/* An object resource of the JSON API; 0, -EBADMSG, -ENOMEM. */
int	gcs_object_json(const struct json_t *o, struct gcs_object *ret);
int	gcs_object_parse(const struct buf *body, struct gcs_object *ret);
/* Adds "text" to b as a JSON string.  -EINVAL: it is no UTF-8. */
int	gcs_json_string(struct buf *b, const char *text);
/* ns since the epoch of an RFC 3339 time in UTC; -1: it is none. */
int64_t	gcs_time_parse(const char *s);
/* The generation in v into ret; false: v is none of GCS. */
bool	gcs_generation(const struct store_version *v,
	    char ret[GCS_GENERATION]);
/* The base64 CRC-32C in an x-goog-hash header; false: none is there. */
bool	gcs_hash_crc(const struct http_resp *resp, char ret[9]);
/* One that answers 2xx with an object; *ret from it.  Nonsense: AMBIGUOUS for
 * a write, else BROKEN. */
enum store_rc gcs_answer_object(struct gcs *s, struct store_call *c,
	    const struct gcs_req *r, struct gcs_object *ret);

/* --- operations --- */

enum store_rc gcs_list(struct store *st, struct store_call *c,
	    struct store_list *l,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
enum store_rc gcs_left(struct store *st, struct store_call *c,
	    int (*each)(void *arg, const struct store_entry *e), void *arg);
enum store_rc gcs_head(struct store *st, struct store_call *c,
	    const char *key, struct store_info *ret);
enum store_rc gcs_del(struct store *st, struct store_call *c,
	    const char *key, const struct store_version *match);
enum store_rc gcs_copy(struct store *st, struct store_call *c,
	    const char *from, const struct store_version *version,
	    const char *to, struct store_info *ret);
enum store_rc gcs_pull(struct store *st, struct store_call *c,
	    struct store *from, const char *key,
	    const struct store_version *version, const char *to,
	    struct store_info *ret);
enum store_rc gcs_offer(struct store *st, struct store_call *c,
	    const char *key, const struct store_version *version,
	    int64_t until, struct buf *ret);
enum store_rc gcs_put(struct store *st, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const struct store_src *src,
	    struct store_info *ret);

/* The condition of a write: ifGenerationMatch as a parameter (generation is
 * where its text lives) and on_412.  STORE_OK; STORE_INVALID. */
enum store_rc gcs_condition(struct gcs_req *r, enum store_cond cond,
	    const struct store_version *match,
	    char generation[GCS_GENERATION], struct why *why);
/* What an answered no (CHANGED) to a put by version means: ABSENT if there is
 * no object; what passes (cloud_passes) if that cannot be known now.  Leaves
 * any other rc alone. */
enum store_rc gcs_changed(struct gcs *s, struct store_call *c,
	    const char *key, enum store_cond cond, enum store_rc rc);

/* [off, off+len) of src as an object, in one request or resumable. */
enum store_rc gcs_upload(struct gcs *s, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const struct store_src *src,
	    uint64_t off, uint64_t len, struct store_info *ret);

/* Is a put of size to go as parts?  May ask the bucket, once. */
bool	gcs_compose_wanted(struct gcs *s, struct store_call *c, uint64_t size);
enum store_rc gcs_put_parts(struct gcs *s, struct store_call *c,
	    const char *key, enum store_cond cond,
	    const struct store_version *match, const struct store_src *src,
	    struct store_info *ret);

#endif

/*
 * home_conditions: whether a store can be a home: see home.h.
 *
 * A store that knows no conditions says so (501), or says yes to everything;
 * only asking for what must be refused tells.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "fs/home.h"
#include "meta/op.h"
#include "meta/segment.h"

/* What rc says of a condition that had to be answered `no`. */
static int
answered(const struct store *s, enum store_rc rc, enum store_rc no,
    const char *header, const char *costs, const struct why *said,
    struct why *why)
{
	if (rc == no)
		return 0;
	if (rc == STORE_OK || rc == STORE_UNSUPPORTED)
		return why_set(why, -EOPNOTSUPP, "%s: the store does not"
		    " honour %s on a put, which a home needs: %s", s->url,
		    header, costs);
	return why_set(why, rc == STORE_ABSENT ? -ENOENT :
	    store_rc_errno(rc), "%s", said->text[0] != '\0' ? said->text :
	    store_rc_name(rc));
}

/* The object of that key has these bytes and this version. */
static int
ask(struct store *s, const struct store_call *c, const char *key,
    const void *p, size_t n, const struct store_version *version,
    struct why *why)
{
	struct store_version other = *version;
	struct store_call call = *c;
	struct why said = { "" };
	size_t len = strlen(other.text);
	enum store_rc rc;
	int err;

	call.why = &said;
	call.probe = true;
	rc = store_put_mem(s, &call, key, STORE_IF_ABSENT, NULL, p, n, NULL);
	err = answered(s, rc, STORE_EXISTS, "If-None-Match", "of two hosts"
	    " that write the next record of the log both would be told yes,"
	    " and one record would be lost", &said, why);
	if (err != 0)
		return err;
	said.text[0] = '\0';
	rc = STORE_UNSUPPORTED;
	if (len >= 4) {
		other.text[len - 2] ^= 1;
		rc = store_put_mem(s, &call, key, STORE_IF_MATCH, &other, p,
		    n, NULL);
	}
	return answered(s, rc, STORE_CHANGED, "If-Match", "of two hosts that"
	    " write MANIFEST one would undo what the other wrote", &said,
	    why);
}

int
home_conditions(struct store *s, struct store_call *c, struct why *why)
{
	struct buf b = BUF_INIT;
	struct store_call call = *c;
	struct why said = { "" };
	struct store_info info;
	enum store_rc rc;
	int err;

	call.why = &said;
	rc = store_get_all(s, &call, HOME_KEY, HOME_JSON_MAX, &b, &info);
	if (rc == STORE_BROKEN) {	/* which is not tried again by itself */
		buf_reset(&b);
		rc = store_get_all(s, &call, HOME_KEY, HOME_JSON_MAX, &b,
		    &info);
	}
	if (rc == STORE_OK)
		err = ask(s, c, HOME_KEY, b.p, b.len, &info.version, why);
	else
		err = why_set(why, rc == STORE_ABSENT ? -EHOSTUNREACH :
		    store_rc_errno(rc), "%s: %s", s->url,
		    said.text[0] != '\0' ? said.text : store_rc_name(rc));
	buf_done(&b);
	return err;
}

int
home_conditions_new(struct store *s, struct store_call *c, struct why *why)
{
	struct store_call call = *c;
	struct store_info info = { 0 };
	struct why said = { "" };
	struct why lacks = { "" };
	char key[KEY_MAX];
	enum store_rc rc;
	int err;

	call.why = &said;
	call.sole = true;
	snprintf(key, sizeof(key), "host/probe-%016" PRIx64, random_u64());
	rc = store_put_mem(s, &call, key, STORE_IF_ABSENT, NULL, "1", 1,
	    &info);
	if (rc != STORE_OK)
		return why_set(why, rc == STORE_ABSENT ? -ENOENT :
		    store_rc_errno(rc), "%s", said.text[0] != '\0' ?
		    said.text : store_rc_name(rc));
	err = ask(s, c, key, "1", 1, &info.version, &lacks);
	call.why = NULL;
	(void)store_del(s, &call, key, NULL);
	if (err == -EOPNOTSUPP)
		why_set(why, err, "%s; choose another store for the home",
		    lacks.text);
	else if (err != 0)
		why_set(why, err, "%s", why_text(&lacks, err));
	return err;
}

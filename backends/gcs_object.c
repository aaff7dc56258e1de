/*
 * gcs_object: what the JSON API says of an object, and versions.
 *
 * All numbers come as strings of digits.  What comes is checked: a resource
 * without name, size or generation is none.
 */
#include "backends/gcs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/sigkey.h"
#include "base/clock.h"

/* Digits only, as a string or as a number. */
static bool
digits(const json_t *v, char *ret, size_t size)
{
	const char *s = json_string_value(v);
	int n;

	if (s != NULL)
		n = snprintf(ret, size, "%s", s);
	else if (json_is_integer(v) && json_integer_value(v) >= 0)
		n = snprintf(ret, size, "%lld",
		    (long long)json_integer_value(v));
	else
		return false;
	return n > 0 && (size_t)n < size && n < 20 &&
	    strspn(ret, "0123456789") == (size_t)n;
}

int64_t
gcs_time_parse(const char *s)
{
	struct tm tm = { 0 };
	int64_t frac = 0, unit = NSEC_PER_SEC;
	int n = 0;

	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon,
	    &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &n) != 6 ||
	    n != 19 || tm.tm_year < 1970 || tm.tm_year > 2200)
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (s[n] == '.') {
		for (n++; s[n] >= '0' && s[n] <= '9'; n++) {
			unit /= 10;
			frac += (s[n] - '0') * unit;
		}
	}
	if (strcmp(s + n, "Z") != 0 && strcmp(s + n, "+00:00") != 0)
		return -1;
	return (int64_t)timegm(&tm) * NSEC_PER_SEC + frac;
}

bool
gcs_generation(const struct store_version *v, char ret[GCS_GENERATION])
{
	size_t n;

	if (!version_given(v) || strncmp(v->text, "e:", 2) != 0)
		return false;
	n = strlen(v->text + 2);
	if (n == 0 || n > 19 || strspn(v->text + 2, "0123456789") != n)
		return false;
	memcpy(ret, v->text + 2, n + 1);
	return true;
}

/* Both in base64; NULL where not said. */
static void
sums(const char *crc, const char *md5, struct store_info *ret)
{
	uint8_t *raw = NULL;
	size_t n = 0;

	if (crc != NULL && sigkey_unbase64(crc, &raw, &n) == 0 && n == 4) {
		ret->crc32c = (uint32_t)raw[0] << 24 |
		    (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
		ret->sums |= STORE_SUM_CRC32C;
	}
	free(raw);
	raw = NULL;
	if (md5 != NULL && sigkey_unbase64(md5, &raw, &n) == 0 && n == 16) {
		memcpy(ret->md5, raw, 16);
		ret->sums |= STORE_SUM_MD5;
	}
	free(raw);
}

int
gcs_object_json(const struct json_t *o, struct gcs_object *ret)
{
	struct gcs_object got = { { 0 }, "" };
	const char *when = json_string_value(json_object_get(o,
	    "timeCreated"));
	const char *crc = json_string_value(json_object_get(o, "crc32c"));
	char size[24], gen[GCS_GENERATION];
	int64_t t = -1;

	if (!digits(json_object_get(o, "size"), size, sizeof size) ||
	    !digits(json_object_get(o, "generation"), gen, sizeof gen))
		return -EBADMSG;
	if (when == NULL)
		when = json_string_value(json_object_get(o, "updated"));
	if (when != NULL)
		t = gcs_time_parse(when);
	got.info.size = strtoull(size, NULL, 10);
	got.info.mtime = t >= 0 ? t : 0;
	snprintf(got.info.version.text, sizeof got.info.version.text, "e:%s",
	    gen);
	if (crc != NULL && strlen(crc) == 8)
		memcpy(got.crc, crc, 9);
	sums(crc, json_string_value(json_object_get(o, "md5Hash")),
	    &got.info);
	*ret = got;
	return 0;
}

int
gcs_object_parse(const struct buf *body, struct gcs_object *ret)
{
	json_t *o = json_loadb((const char *)body->p, body->len, 0, NULL);
	int err = o != NULL ? gcs_object_json(o, ret) : -EBADMSG;

	json_decref(o);
	return err;
}

int
gcs_json_string(struct buf *b, const char *text)
{
	json_t *s = json_string(text);
	char *out;

	if (s == NULL)
		return -EINVAL;
	out = json_dumps(s, JSON_ENCODE_ANY);
	json_decref(s);
	if (out == NULL)
		return -ENOMEM;
	buf_puts(b, out);
	free(out);
	return buf_err(b);
}

bool
gcs_hash_crc(const struct http_resp *resp, char ret[9])
{
	const char *h = http_resp_header(resp, "x-goog-hash");

	h = h != NULL ? strstr(h, "crc32c=") : NULL;
	if (h == NULL || strlen(h) < 15)
		return false;
	memcpy(ret, h + 7, 8);
	ret[8] = '\0';
	return strchr(ret, ',') == NULL;
}

enum store_rc
gcs_answer_object(struct gcs *s, struct store_call *c,
    const struct gcs_req *r, struct gcs_object *ret)
{
	if (gcs_object_parse(&r->resp.body, ret) == 0)
		return STORE_OK;
	why_set(call_why(c), 0, "bucket '%s' answers %s of '%.200s' with "
	    "something that is no object", s->bucket, r->op,
	    r->key != NULL ? r->key : "");
	return r->write ? STORE_AMBIGUOUS : STORE_BROKEN;
}

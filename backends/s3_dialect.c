/*
 * s3_dialect: the table; see s3_dialect.h.
 *
 * Where a maker documents a condition for some releases only, the row has
 * what the older ones do: a look before costs one request, and trust that is
 * misplaced an object.
 */
#include "backends/s3_dialect.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct s3_dialect rows[] = {
	/* What nobody else is. */
	{ .name = "s3", .copy_absent = "if-none-match", .tags = true },
	{ .name = "aws", .host = ".amazonaws.com",
	  .put = S3_KEPT, .parts = S3_KEPT, .del = S3_KEPT,
	  .copy_absent = "if-none-match", .copy = S3_KEPT, .tags = true },
	/* S3 Express One Zone: directory buckets. */
	{ .name = "express",
	  .put = S3_KEPT, .parts = S3_KEPT, .del = S3_KEPT,
	  .dirs = true, .sessions = true },
	/* Parts must be of one size but the last, as ours are (parts.h). */
	{ .name = "r2", .host = ".r2.cloudflarestorage.com",
	  .region = "auto",
	  .put = S3_KEPT, .parts = S3_KEPT, .del = S3_IGNORED,
	  .copy_absent = "cf-copy-destination-if-none-match",
	  .copy = S3_KEPT },
	/* RADOS Gateway.  Conditions of PUT are an old extension of it; those
	 * of the others came later. */
	{ .name = "ceph", .server = "Ceph Object Gateway",
	  .put = S3_TRIED, .parts = S3_IGNORED, .del = S3_IGNORED,
	  .tags = true },
	{ .name = "minio", .server = "MinIO", .del = S3_IGNORED,
	  .copy_absent = "if-none-match", .tags = true },
	/* NAMESPACE.compat.objectstorage.REGION.oraclecloud.com */
	{ .name = "oci", .host = ".oraclecloud.com", .region_at = 4,
	  .put = S3_TRIED, .parts = S3_IGNORED, .del = S3_IGNORED },
	/* s3.REGION.backblazeb2.com */
	{ .name = "b2", .host = ".backblazeb2.com", .region_at = 2,
	  .put = S3_REFUSED, .parts = S3_REFUSED, .del = S3_REFUSED,
	  .no_sums = true },
	/* REGION.digitaloceanspaces.com */
	{ .name = "spaces", .host = ".digitaloceanspaces.com",
	  .region_at = 1,
	  .put = S3_TRIED, .parts = S3_IGNORED, .del = S3_IGNORED },
	/* REGION.your-objectstorage.com */
	{ .name = "hetzner", .host = ".your-objectstorage.com",
	  .region_at = 1,
	  .put = S3_TRIED, .parts = S3_IGNORED, .del = S3_IGNORED,
	  .tags = true },
	/* Google's XML API, whose own conditions are other headers that it
	 * refuses with this signature: gs:// is the way there. */
	{ .name = "gcs", .host = "storage.googleapis.com", .region = "auto",
	  .put = S3_IGNORED, .parts = S3_IGNORED, .del = S3_IGNORED },
	/* Any that heeds none of them. */
	{ .name = "blind",
	  .put = S3_IGNORED, .parts = S3_IGNORED, .del = S3_IGNORED },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

const struct s3_dialect *
s3_dialect_named(const char *name)
{
	int i;

	for (i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	}
	return NULL;
}

bool
s3_dialect_zone(const char *bucket, char ret[64])
{
	size_t n = strlen(bucket), from;

	if (n < 7 || strcmp(bucket + n - 6, "--x-s3") != 0)
		return false;
	n -= 6;
	for (from = n; from >= 2 && strncmp(bucket + from - 2, "--", 2) != 0;
	    from--)
		;
	if (from <= 2 || from == n)
		return false;
	snprintf(ret, 64, "%.*s", (int)(n - from), bucket + from);
	return true;
}

const struct s3_dialect *
s3_dialect_of(const char *host, const char *bucket)
{
	char zone[64];
	size_t n, k;
	int i;

	if (s3_dialect_zone(bucket, zone))
		return s3_dialect_named("express");
	if (host == NULL)
		return s3_dialect_named("aws");
	n = strcspn(host, ":");
	for (i = 0; i < ROWS; i++) {
		k = rows[i].host != NULL ? strlen(rows[i].host) : 0;
		if (k != 0 && n >= k && strncasecmp(host + n - k,
		    rows[i].host, k) == 0)
			return &rows[i];
	}
	return &rows[0];
}

const struct s3_dialect *
s3_dialect_seen(const char *server)
{
	int i;

	for (i = 0; i < ROWS; i++) {
		if (rows[i].server != NULL && strncmp(server, rows[i].server,
		    strlen(rows[i].server)) == 0)
			return &rows[i];
	}
	return NULL;
}

void
s3_dialect_names(struct buf *ret)
{
	int i;

	for (i = 0; i < ROWS; i++)
		buf_printf(ret, "%s%s", i > 0 ? ", " : "", rows[i].name);
}

bool
s3_dialect_region(const struct s3_dialect *d, const char *host, char ret[64])
{
	const char *p = host;
	int at;

	if (d->region != NULL) {
		snprintf(ret, 64, "%s", d->region);
		return true;
	}
	if (host == NULL || d->region_at == 0 || d->host == NULL ||
	    s3_dialect_of(host, "") != d)
		return false;
	for (at = 1; at < d->region_at && p != NULL; at++) {
		p = strchr(p, '.');
		p = p != NULL ? p + 1 : NULL;
	}
	if (p == NULL)
		return false;
	snprintf(ret, 64, "%.*s", (int)strcspn(p, ".:"), p);
	/* not of a host that has fewer parts than these have */
	return ret[0] != '\0' && strlen(p) > strlen(d->host);
}

/* output: see output.h. */
#include <sys/ioctl.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/output.h"

const char *
out_size(uint64_t bytes, char ret[16])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB",
	    "PiB", "EiB" };
	double v = (double)bytes;
	unsigned u = 0;

	while (v >= 1000 && u < 6) {
		v /= 1024;
		u++;
	}
	snprintf(ret, 16, u == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v,
	    units[u]);
	return ret;
}

const char *
out_time(int64_t ns, char ret[16])
{
	double s = (double)ns / 1e9;

	if (s < 0)
		snprintf(ret, 16, "?");
	else if (s < 10)
		snprintf(ret, 16, "%.1f s", s);
	else if (s < 120)
		snprintf(ret, 16, "%.0f s", s);
	else if (s < 7200)
		snprintf(ret, 16, "%.0f min", s / 60);
	else if (s < 2 * 86400)
		snprintf(ret, 16, "%.0f h", s / 3600);
	else
		snprintf(ret, 16, "%.0f d", s / 86400 > 99999 ? 99999 :
		    s / 86400);
	return ret;
}

void
out_json(const json_t *v)
{
	json_dumpf(v, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

int64_t
get_int(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

const char *
get_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

int
get_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

void
out_progress_begin(struct progress *p, int quiet)
{
	memset(p, 0, sizeof *p);
	p->on = !quiet && isatty(STDERR_FILENO);
}

/* The columns of the terminal that stderr is, or those of most. */
static size_t
columns(void)
{
	struct winsize ws = { 0 };

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ?
	    ws.ws_col : 80;
}

void
out_progress(void *arg, const json_t *v)
{
	int64_t have = get_int(v, "have"), want = get_int(v, "want");
	int64_t rate = get_int(v, "rate"), now, files = get_int(v, "files");
	char a[16], b[16], c[16], line[160];
	struct progress *p = arg;
	size_t n = 0, cols;

	now = clock_mono();
	if (!p->on || (p->shown && now - p->last < NSEC_PER_SEC / 10))
		return;
	p->last = now;
	p->shown = 1;
	n += (size_t)snprintf(line, sizeof line, "%s",
	    out_size((uint64_t)have, a));
	if (want > 0)
		n += (size_t)snprintf(line + n, sizeof line - n,
		    " of %s (%d %%)", out_size((uint64_t)want, b),
		    (int)((double)have * 100 / (double)want));
	if (files > 0)
		n += (size_t)snprintf(line + n, sizeof line - n,
		    ", %lld files", (long long)files);
	if (rate > 0)
		n += (size_t)snprintf(line + n, sizeof line - n, ", %s/s",
		    out_size((uint64_t)rate, c));
	if (rate > 0 && want > have)
		n += (size_t)snprintf(line + n, sizeof line - n, ", %s left",
		    out_time((int64_t)((double)(want - have) / (double)rate *
		    1e9), a));
	/* One that went on in the next row could not be wiped. */
	cols = columns();
	if (n >= cols)
		line[cols - 1] = '\0';
	fprintf(stderr, "\r\033[K%s", line);
	fflush(stderr);
}

void
out_progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r\033[K");
}

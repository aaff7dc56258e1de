/* log: see base/log.h. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"

#define LINE_MAX_LEN	4096	/* bytes, with newline; longer is cut */
#define QUOTE_LEN	512
#define QUOTES		8	/* LOG_Q's in one line */

static const struct {
	const char	*name;
	int		 priority;	/* as syslog(3) counts */
} levels[] = {
	[LOG_ERROR_L] = { "error", 3 },
	[LOG_WARN_L] = { "warn", 4 },
	[LOG_INFO_L] = { "info", 6 },
	[LOG_DEBUG_L] = { "debug", 7 },
};

static _Atomic int out = STDERR_FILENO;
static _Atomic int max_level = LOG_INFO_L;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool to_journal;		/* stderr is the journal's socket */

static void
look_for_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	to_journal = s && sscanf(s, "%llu:%llu", &dev, &ino) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	    st.st_ino == ino;
}

int
log_open(const char *path)
{
	static struct lock opening = LOCK_INIT(RANK_LOG, "log");
	int fd = STDERR_FILENO, err = 0, was;

	if (path) {
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
		    0640);
		if (fd < 0)
			return -errno;
	}
	lock_take(&opening);
	was = atomic_load(&out);
	if (path && was != STDERR_FILENO) {
		/* In place: a writer may be about to use the number. */
		if (dup3(fd, was, O_CLOEXEC) < 0)
			err = -errno;
		close(fd);
	} else {
		atomic_store(&out, fd);
	}
	lock_drop(&opening);
	return err;
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, level, memory_order_relaxed);
}

static size_t
put_head(char *line, size_t size, enum log_level level, const char *msg,
    bool prefix)
{
	int64_t now = clock_real();
	time_t sec = now / NSEC_PER_SEC;
	struct tm tm;
	char pri[8] = "";
	int n;

	gmtime_r(&sec, &tm);
	if (prefix)
		snprintf(pri, sizeof(pri), "<%d>", levels[level].priority);
	n = snprintf(line, size,
	    "%s%04d-%02d-%02dT%02d:%02d:%02d.%03dZ level=%s msg=\"%.256s\" ",
	    pri, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec,
	    (int)(now % NSEC_PER_SEC / NSEC_PER_MSEC), levels[level].name,
	    msg);
	return n < 0 ? 0 : n;
}

void
log_at(enum log_level level, const char *msg, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	size_t len, room;
	int saved = errno, fd, n;
	va_list ap;

	if ((int)level > atomic_load_explicit(&max_level,
	    memory_order_relaxed))
		return;
	pthread_once(&once, look_for_journal);
	fd = atomic_load(&out);
	len = put_head(line, sizeof(line), level, msg,
	    to_journal && fd == STDERR_FILENO);
	room = sizeof(line) - len;	/* the newline takes the NUL's place */
	va_start(ap, fmt);
	n = vsnprintf(line + len, room, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	if ((size_t)n >= room) {
		n = room - 1;
		memcpy(line + len + n - 3, "...", 3);
	}
	len += n;
	while (len > 0 && line[len - 1] == ' ')
		len--;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	while (write(fd, line, len) < 0 && errno == EINTR)
		;
	errno = saved;
}

const char *
log_quote(const char *s)
{
	static _Thread_local char ring[QUOTES][QUOTE_LEN];
	static _Thread_local unsigned next;
	char *to = ring[next++ % QUOTES], *p = to;
	/* Room for one escape, "..." and the end. */
	char *stop = to + QUOTE_LEN - 10;

	*p++ = '"';
	for (s = s ? s : ""; *s && p < stop; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\') {
			*p++ = '\\';
			*p++ = c;
		} else if (c < 0x20 || c == 0x7f) {
			p += sprintf(p, "\\x%02x", c);
		} else {
			*p++ = c;
		}
	}
	if (*s)
		p = stpcpy(p, "...");
	*p++ = '"';
	*p = '\0';
	return to;
}

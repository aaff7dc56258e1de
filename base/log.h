/*
 * log: one line an event, `key=value` pairs, to stderr (journald reads it
 * there, with a <N> priority prefix when JOURNAL_STREAM is set) or to the
 * file that log_open was given.
 *
 *   log_info("segment landed", "lsn=%llu ops=%u", lsn, n);
 * gives
 *   2026-11-21T09:30:00.123Z level=info msg="segment landed" lsn=7 ops=12
 *
 * Values with spaces are for the caller to quote (LOG_Q quotes a string into
 * a static thread-local ring).  Never a secret.  A line is written with one
 * write(2).  Who handles an error logs it, once (STYLE 7).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_ERROR_L, LOG_WARN_L, LOG_INFO_L, LOG_DEBUG_L };

/* path NULL: stderr.  0 or -errno. */
int	log_open(const char *path);
void	log_set_level(enum log_level level);	/* default LOG_INFO_L */
void	log_at(enum log_level level, const char *msg, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));
const char *log_quote(const char *s);

#define LOG_Q(s)	log_quote(s)
#define log_error(msg, ...)	log_at(LOG_ERROR_L, msg, __VA_ARGS__)
#define log_warn(msg, ...)	log_at(LOG_WARN_L, msg, __VA_ARGS__)
#define log_info(msg, ...)	log_at(LOG_INFO_L, msg, __VA_ARGS__)
#define log_debug(msg, ...)	log_at(LOG_DEBUG_L, msg, __VA_ARGS__)

#endif

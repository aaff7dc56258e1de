/*
 * why: the sentence that goes with an error.
 *
 * Functions return 0 or -errno from a closed set (STYLE 7).  Where a person
 * will read about it, they also take a `struct why *` (NULL: not wanted) and
 * write one sentence into it: the thing, the reason, the way out.
 *   "bucket 'lake' answers 403 to LIST: the key AKIA... lacks s3:ListBucket"
 * No secret is ever written into one.  The first sentence stays: a caller
 * adds context with why_prefix(), it does not replace.
 */
#ifndef BASE_WHY_H
#define BASE_WHY_H

struct why {
	/* "" = nothing said.  One line of UTF-8: what a name has of anything
	 * else is '?' */
	char	text[768];
};

/* Says why, unless something was said already.  Returns err, so that
 * `return why_set(why, -EINVAL, "...")` works.  Truncates, never fails. */
int	why_set(struct why *why, int err, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before what was said (or says it alone). Returns err. */
int	why_prefix(struct why *why, int err, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));

/* What was said, or strerror(-err) where nothing was.  Borrowed. */
const char *why_text(const struct why *why, int err);

#endif

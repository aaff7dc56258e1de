/*
 * stack: the order of the layers, which this file alone knows (STYLE 2).
 *
 *	retry	a call with its deadline; it pauses without holding a slot
 *	limit	attempts at once
 *	trace	each attempt, with its answer, injected ones too
 *	fault
 *	backend
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/layer.h"
#include "base/sys.h"

enum { CONCURRENCY = 64 };

/* What the environment says where opts does not.  *retfd is to be closed
 * where it is not the one of opts. */
static int
trace_open(const struct stack_opts *opts, int *retfd, struct why *why)
{
	const char *path = getenv("GNSFS_TRACE");
	int fd;

	*retfd = opts->trace_fd;
	if (opts->trace_fd >= 0 || path == NULL || path[0] == '\0')
		return 0;
	fd = sys.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return why_set(why, fd, "GNSFS_TRACE: cannot open '%s': %s",
		    path, strerror(-fd));
	*retfd = fd;
	return 0;
}

int
store_open(const struct url *u, const struct stack_opts *opts,
    struct store **ret, struct why *why)
{
	static const struct stack_opts none = { .trace_fd = -1 };
	const char *fault;
	struct store *s = NULL;
	int fd = -1, err;

	if (opts == NULL)
		opts = &none;
	fault = opts->fault != NULL ? opts->fault : getenv("GNSFS_FAULT");
	if ((err = trace_open(opts, &fd, why)) != 0)
		return err;
	/* each layer takes the one below, also when it fails */
	err = store_bare_open(u, &s, why);
	if (err == 0 && fault != NULL && fault[0] != '\0')
		err = fault_layer(s, fault, &s, why);
	if (err == 0 && fd >= 0)
		err = trace_layer(s, fd, &s);
	if (err == 0)
		err = limit_layer(s, opts->concurrency != 0 ?
		    opts->concurrency : CONCURRENCY, &s);
	if (err == 0)
		err = retry_layer(s, &opts->retry, &s);
	if (fd >= 0 && fd != opts->trace_fd)
		sys.close(fd);
	if (err == 0)
		*ret = s;
	return err;
}

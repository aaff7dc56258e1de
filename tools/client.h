/*
 * client: finding the mounts of this host and talking to their daemons
 * (fs/control.h has the protocol).
 *
 * A path is under a mountpoint, or NAMESPACE:/path.  A mount is found in
 * /proc/self/mountinfo; its socket in the registry of running daemons, or by
 * the virtual xattr user.gnsfs.control where the registry is not ours to see.
 */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include <sys/types.h>

#include <jansson.h>

#include "tools/tool.h"

struct mount_ref {
	char	*name, *uuid;		/* "" where unknown */
	char	*url;
	char	*dir;			/* mountpoint */
	char	*root;			/* namespace path that is at dir */
	char	 dev[24];		/* major:minor; "" where unknown */
	char	*socket;		/* NULL: no daemon is known */
	pid_t	 pid;			/* 0 unknown */
	bool	 mounted;		/* false: its daemon is still ending */
};

struct mount_list {
	struct mount_ref	*v;
	unsigned		 n;
};

/* All mounts of gnsfs that this user sees, with or without a daemon. */
int	mounts_read(struct mount_list *ret);
void	mounts_done(struct mount_list *l);

/* The mount a path is in, and (retpath may be NULL) its namespace path: new.
 * Globs pass: what stands before the first is resolved.  -ENOENT with why. */
int	mounts_of_path(const struct mount_list *l, const char *path,
	    const struct mount_ref **ret, char **retpath, struct why *why);
/* Where no path says it: -n, the current directory, the only one. */
int	mounts_default(const struct mount_list *l, const char *n,
	    const struct mount_ref **ret, struct why *why);
/* A namespace path as seen on this host: new. */
char	*mount_path(const struct mount_ref *m, const char *nspath);

/* A text of the command line into what is asked.  -EINVAL with why where it is
 * not UTF-8: a request has no other. */
int	args_text(json_t *args, const char *key, const char *text,
	    struct why *why);
/* The same, at the end of a list. */
int	args_append(json_t *list, const char *text, struct why *why);

/* Told of what comes before the result; item is borrowed. */
struct client_fns {
	void	(*progress)(void *arg, const json_t *p);
	void	(*item)(void *arg, const json_t *item);
	void	*arg;
	int64_t	 silence;	/* ns; 0: what the command is known to need */
};
/* One request.  args: taken; NULL: none.  *retresult (may be NULL): new, an
 * object, also where the daemon said no but told more; else NULL.
 * -ENOTCONN: no daemon answers.  -ETIMEDOUT, with why: there is one, but it
 * takes no request, or says nothing for longer than silence. */
int	client_call(const struct mount_ref *m, const char *cmd, json_t *args,
	    const struct client_fns *fns, json_t **retresult, struct why *why);

/* What status says of a mount whose daemon did not tell, rc being that of
 * client_call. */
const char *client_state(const struct mount_ref *m, int rc);

/* Selectors of a command: operands of t and the lines of --from, each path
 * translated; args gets "selectors", "and", "in".  All must be of one mount.
 * EXIT_DONE, or the status to leave with, having said why. */
int	selectors_args(struct tool *t, const struct mount_list *l,
	    json_t *args, const struct mount_ref **ret);

#endif

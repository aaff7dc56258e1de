/*
 * control_impl: what the commands of the control socket (control_*.c) share.
 */
#ifndef FS_CONTROL_IMPL_H
#define FS_CONTROL_IMPL_H

#include <sys/types.h>

#include <jansson.h>

#include "base/buf.h"
#include "fs/control.h"
#include "fs/pins.h"
#include "fs/ship.h"
#include "fs/stage.h"
#include "meta/op.h"
#include "meta/query.h"

/* One request being served. */
struct ctl {
	struct fs	*f;
	int		 fd;		/* of the connection */
	const json_t	*args;		/* an object */
	json_t		*result;	/* an object; the command adds to it */
	struct why	 why;
	/* who asks: SO_PEERCRED, SO_PEERGROUPS */
	uid_t		 uid;
	gid_t		 gid;
	gid_t		*groups;
	unsigned	 ngroups;
	bool		 owner;		/* root, or who runs the daemon */
	/* what is to be sent; with a spool, to a file first */
	struct buf	 out;
	int		 spool;		/* -1: none */
	int		 broken;	/* 0 or the -errno of sending */
	/* for rates */
	int64_t		 began;
	int64_t		 last_progress;
	/* the last directory looked at: ctl_may_see */
	char		*seen_dir;
	bool		 seen_ok;
};

struct ctl_cmd {
	const char	*name;
	int		(*run)(struct ctl *c);	/* 0 or -errno with c->why */
	bool		 others;	/* not only for the owner and root */
	bool		 always;	/* brief, and whatever is under way */
};
extern const struct ctl_cmd ctl_cmds[];		/* ends with name NULL */

/* Hostile input: one line, without its newline.  *retroot: new; cmd and args
 * are borrowed from it.  -EINVAL, -EPROTONOSUPPORT with why. */
int	ctl_parse(const char *p, size_t n, json_t **retroot,
	    const char **retcmd, const json_t **retargs, struct why *why);

/* One connection, from its request to its answer; fd stays the caller's. */
void	ctl_serve(struct fs *f, int fd);

/* A text that may have been cut, or may name a folder: what of it is no UTF-8
 * and so no JSON, is there with a '?' for every byte beyond ASCII.  New; NULL:
 * no memory. */
json_t	*ctl_text(const char *s);

/* {"item": o}; takes o.  Buffered; 0 or the -errno that ended it. */
int	ctl_item(struct ctl *c, json_t *o);
/* {"progress": ...}, at most five a second.  1: nobody listens any more. */
int	ctl_progress(struct ctl *c, uint64_t have, uint64_t want,
	    uint64_t files);
/* The asker has gone, or the daemon is ending. */
bool	ctl_cancelled(struct ctl *c);
/* Items go to a file first, so that a slow reader holds no transaction. */
int	ctl_spool_begin(struct ctl *c);
int	ctl_spool_end(struct ctl *c);

/* --- arguments --- */
/* NULL where there is none.  Borrowed. */
const char *arg_str(const struct ctl *c, const char *key);
int64_t	arg_int(const struct ctl *c, const char *key, int64_t dflt);
bool	arg_bool(const struct ctl *c, const char *key);
/* As arg_str; -EINVAL with why where it is missing. */
int	arg_need(struct ctl *c, const char *key, const char **ret);
/* The inode that a path argument names; -ENOENT with why. */
int	arg_path(struct ctl *c, struct sqc *q, const char *key,
	    struct attr *ret);

/* selectors, and, in: *rettexts is to be freed, what it holds is borrowed.
 * -EINVAL with why where an element is no string. */
struct ctl_sel {
	const char	**texts;
	unsigned	 n, flags;	/* SELECT_* */
	const char	*in;
};
int	arg_selectors(struct ctl *c, struct ctl_sel *ret);

/* May who asks see this path: every directory above it searchable (and, with
 * list, readable)?  Owner and root: always. */
bool	ctl_may_see(struct ctl *c, struct sqc *q, const char *path, bool list);

/* A string of bytes into a JSON object: under key, or, where it is no UTF-8,
 * in hex under key with "_hex".  0 or -ENOMEM. */
int	ctl_set_bytes(json_t *o, const char *key, const char *s);

/* Waits until what is open (below top, 0: anywhere) and what was journalled is
 * in the log, as far as `what` says (ship.h), telling progress; -ETIMEDOUT,
 * -EROFS, -ECANCELED with why. */
int	ctl_flush(struct ctl *c, enum ship_until what, uint64_t top,
	    int64_t deadline);
/* The same of what was journalled up to seq. */
int	ctl_wait(struct ctl *c, uint64_t seq, enum ship_until what,
	    uint64_t top, int64_t deadline);
/* pending_ops, pending_bytes, oldest_age, pid, state_dir, fenced into
 * result. */
void	ctl_pending(struct ctl *c);
/* Journals one op and waits until it is in the log.  look (NULL: nobody) is
 * asked in the transaction that journals it: the op is as it leaves it, and
 * none where it fails, with c->why. */
typedef int ctl_look(struct ctl *c, struct sqc *q, struct op *op, void *arg);
int	ctl_land(struct ctl *c, struct op *op, ctl_look *look, void *arg);
/* Set by unmount, 0 by stay. */
void	ctl_set_unmount(struct fs *f, int64_t deadline);

/* --- control_registry.c --- */
/* RUNDIR, made if need be, and nobody else's: -EPERM. */
int	registry_dir(char *ret, size_t n);
/* RUNDIR/<pid>.json; *retpath: new. */
int	registry_write(struct fs *f, const char *dir, const char *socket,
	    char **retpath);
/* Takes away what daemons left that were killed. */
void	registry_sweep(const char *dir);

/* --- the commands, by file --- */
/* store_check.c: -EIO with why where something is missing that is needed. */
int	ctl_store_check(struct ctl *c, const char *name, uint32_t id,
	    bool write);
/* control_status.c */
int	ctl_status(struct ctl *c);
json_t	*ctl_pin_json(const struct pin_status *p);
/* explain.c, verify.c, control_store.c */
int	ctl_explain(struct ctl *c), ctl_fsck(struct ctl *c),
	ctl_store(struct ctl *c);
/* control_refresh.c */
int	ctl_refresh(struct ctl *c), ctl_imports(struct ctl *c);
json_t	*ctl_imports_json(struct fs *f);
/* control_policy.c; the store and the directory that decide about e's bytes,
 * into o. */
int	ctl_policy(struct ctl *c);
int	ctl_set_place(struct sqc *q, uint64_t ino, json_t *o);
/* The directory whose policy has it fetched whole: fill_dir, empty: none. */
int	ctl_set_fill(struct sqc *q, uint64_t ino, json_t *o);
/* control_store.c: -ENOENT with why. */
int	ctl_need_store(struct ctl *c, const char *name, uint32_t *retid);
/* control_tree.c */
int	ctl_find(struct ctl *c), ctl_tag(struct ctl *c);
/* control_stage.c */
int	ctl_stage(struct ctl *c);
stage_progress ctl_stage_progress;	/* arg: struct ctl */
json_t	*ctl_stage_json(const struct stage_status *s);
/* control_pins.c */
int	ctl_pin(struct ctl *c), ctl_unpin(struct ctl *c),
	ctl_pins(struct ctl *c), ctl_warm(struct ctl *c),
	ctl_evict(struct ctl *c);

#endif

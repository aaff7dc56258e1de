/*
 * options: the mount options (DESIGN.md section 3), once, in a table
 * (options.c) with defaults and documentation: parser, help and man page come
 * from it (STYLE 14).
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/why.h"

enum uring_use { URING_AUTO, URING_ON, URING_OFF };
enum mode { MODE_EVENTUAL, MODE_DURABLE, MODE_STRONG };

struct fs_options {
	char		*url;		/* of the home, verbatim */
	char		*dir;		/* mountpoint, absolute */
	char		*cache, *state;	/* NULL: default */
	uint64_t	 cache_size;	/* bytes; 0: default */
	uint64_t	 memory;	/* bytes, default 512 MiB */
	enum mode	 mode;		/* only eventual so far */
	int64_t		 lag, poll;	/* ns */
	int64_t		 io_timeout;	/* ns */
	bool		 offline_wait;
	bool		 passthrough;	/* auto (later) */
	enum uring_use	 uring;
	bool		 takeover;
	bool		 read_only;
	bool		 foreground;
	int64_t		 uid, gid;	/* -1: as stored */
	int32_t		 umask;		/* -1: as stored */
	char		*log;		/* log=FILE; NULL: stderr / journal */
	bool		 allow_other;	/* default when root */
	bool		 dev, suid;	/* of root's mounts alone */
	bool		 noexec;
	bool		 debug;		/* debug logging, dumpable */
};

void	options_init(struct fs_options *o);
void	options_done(struct fs_options *o);
/* A comma-separated -o string, added to o.  Accepts and ignores
 * nofail,_netdev,user,users,noauto,auto,defaults,x-*,relatime,noatime.
 * -EINVAL with why: which one, what is right. */
int	options_parse(struct fs_options *o, const char *text, struct why *why);
/* The table, for help and man: name, argument or NULL, default, meaning. */
struct option_desc { const char *name, *arg, *dflt, *meaning; };
extern const struct option_desc option_descs[];	/* ends with name NULL */
/* "4K", "20G", "2T" (powers of 1024); "1s", "500ms", "10m", "7d". */
int	parse_size(const char *s, uint64_t *ret);
int	parse_duration(const char *s, int64_t *ret);

#endif

/*
 * options: one row an option, with its default, its documentation and the
 * function that sets it; parser, defaults, help and man page all come from
 * the table (STYLE 14).
 */
#include <sys/types.h>

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "fs/options.h"

/* A default in parentheses is prose; every other one is what the option is
 * set to when it is not given. */
#define OPTIONS(X) \
	X(cache, "DIR", "(as state)", set_path, \
	    "The folder that holds all this host keeps of the namespace: " \
	    "cached and not yet stored bytes and, unless state= says " \
	    "otherwise, the database. Made with mode 0700 if missing; " \
	    "refused if another namespace lives in it.") \
	X(state, "DIR", "(the cache folder; without one " \
	    "/var/lib/gnsfs/NAME-UUID8 for root, " \
	    "$XDG_STATE_HOME/gnsfs/NAME-UUID8 for others)", set_path, \
	    "Where the database, the control socket and the log file are. " \
	    "What is not stored yet lives there too: it is no scratch " \
	    "folder.") \
	X(cache_size, "SIZE", "(80 % of the free space at first mount)", \
	    set_cache_size, \
	    "Most bytes that the cache may use on disk.") \
	X(memory, "SIZE", "512M", set_memory, \
	    "Most memory the daemon uses for its buffers and caches, 64M at " \
	    "least. With less than 512M fewer requests are under way at " \
	    "once.") \
	X(mode, "eventual", "eventual", set_mode, \
	    "When a change is acknowledged. eventual: when it is in the " \
	    "local database; it reaches the home within lag=.") \
	X(lag, "TIME", "1s", set_lag, \
	    "How long a change may wait before it is sent to the home.") \
	X(poll, "TIME", "1s", set_poll, \
	    "How often the home is asked for what other hosts changed.") \
	X(io_timeout, "TIME", "30s", set_io_timeout, \
	    "A read that meets an outage fails with EIO within this time, " \
	    "counted from when it is made.") \
	X(offline, "fail|wait", "fail", set_offline, \
	    "While a store is known to be down, reads of what is not on this " \
	    "host fail at once with EIO, or wait for its return for as long " \
	    "as it takes, unless the reader is killed.") \
	X(passthrough, "auto|off", "auto", set_passthrough, \
	    "Whether the kernel is handed the cache's files, to read, write " \
	    "and map them itself at the speed of the disk: files that are " \
	    "wholly on this host, and new or emptied ones while they are " \
	    "written. It needs Linux 6.9 and a daemon with CAP_SYS_ADMIN; " \
	    "status and explain say what is so. What such a file grows by " \
	    "is accounted for four times a second, so the cache may pass " \
	    "its size by what is written meanwhile; when three quarters of " \
	    "it are taken by what may not be dropped, new files are " \
	    "written through the daemon.") \
	X(uring, "auto|on|off", "auto", set_uring, \
	    "Whether the kernel's requests come by io_uring, which makes " \
	    "small files and names several times as fast. auto: where the " \
	    "kernel offers it, from Linux 6.14 on with the parameter " \
	    "enable_uring of its module fuse set; on: root's daemon sets " \
	    "that parameter first; status says what is so.") \
	X(takeover, NULL, NULL, set_flag, \
	    "Take the namespace from a host that has it mounted: that host " \
	    "is fenced, keeps what it has not stored, and answers EROFS.") \
	X(ro, NULL, NULL, set_flag, \
	    "Read only: nothing is written to the namespace.") \
	X(rw, NULL, NULL, set_flag, \
	    "Read and write; what happens anyway.") \
	X(uid, "USER", "(as stored)", set_uid, \
	    "Every file is shown as owned by this user (name or number).") \
	X(gid, "GROUP", "(as stored)", set_gid, \
	    "Every file is shown as owned by this group (name or number).") \
	X(umask, "OCTAL", "(as stored)", set_umask, \
	    "These permission bits are hidden from every file.") \
	X(allow_other, NULL, "(on for root, off for others)", set_flag, \
	    "Users other than the one who mounts may use the tree, as its " \
	    "permissions say.") \
	X(log, "FILE", "(gnsfs.log in the state folder; stderr with -f)", \
	    set_path, \
	    "Where the daemon writes its log.") \
	X(nodev, NULL, NULL, set_flag, \
	    "Device nodes do not work as such; what happens anyway.") \
	X(dev, NULL, NULL, set_flag, \
	    "They do, in a mount of root's. mount(8) does not hand this " \
	    "on; gnsfs mount takes it.") \
	X(nosuid, NULL, NULL, set_flag, \
	    "Set-user-ID and set-group-ID bits of programs and their " \
	    "capabilities have no effect; what happens anyway.") \
	X(suid, NULL, NULL, set_flag, \
	    "They have, in a mount of root's. mount(8) does not hand this " \
	    "on; gnsfs mount takes it.") \
	X(noexec, NULL, NULL, set_flag, \
	    "No program in the tree can be run.") \
	X(exec, NULL, NULL, set_flag, \
	    "They can be; what happens anyway.") \
	X(debug, NULL, NULL, set_flag, \
	    "Log every decision, and let debuggers attach and cores be " \
	    "written: a core holds credentials and file bytes.")

typedef int option_set(struct fs_options *o, const char *name,
	    const char *value, struct why *why);

static option_set set_path, set_cache_size, set_memory, set_mode, set_lag,
    set_poll, set_io_timeout, set_offline, set_passthrough, set_uring,
    set_flag, set_uid, set_gid, set_umask;

const struct option_desc option_descs[] = {
#define X(name, arg, dflt, set, meaning)	{ #name, arg, dflt, meaning },
	OPTIONS(X)
#undef X
	{ NULL, NULL, NULL, NULL }
};

static option_set *const option_sets[] = {
#define X(name, arg, dflt, set, meaning)	set,
	OPTIONS(X)
#undef X
};

/* What mount(8) and fstab may hand on and what means nothing here. */
static const char *const ignored[] = {
	"nofail", "_netdev", "user", "users", "nouser", "owner", "group",
	"noauto", "auto", "defaults", "relatime", "norelatime", "strictatime",
	"noatime", "atime", "nodiratime", "diratime", "async", "lazytime",
	"nolazytime", NULL
};

/* --- what options are set to --- */

static int
set_size(const char *name, const char *value, uint64_t min, uint64_t *ret,
    struct why *why)
{
	uint64_t v;

	if (parse_size(value, &v) != 0)
		return why_set(why, -EINVAL, "%s=%s is not a size; write a "
		    "number and K, M, G, T or P, such as %s=20G", name, value,
		    name);
	if (v < min)
		return why_set(why, -EINVAL, "%s=%s is too small; at least "
		    "%llu MiB are needed", name, value,
		    (unsigned long long)(min >> 20));
	*ret = v;
	return 0;
}

static int
set_time(const char *name, const char *value, int64_t min, int64_t *ret,
    struct why *why)
{
	const int64_t max = 24 * 3600 * NSEC_PER_SEC;
	int64_t v;

	if (parse_duration(value, &v) != 0)
		return why_set(why, -EINVAL, "%s=%s is not a time; write a "
		    "number and ms, s, m or h, such as %s=1s", name, value,
		    name);
	if (v < min || v > max)
		return why_set(why, -EINVAL, "%s=%s is out of range; from "
		    "%lld ms to 24 h is", name, value,
		    (long long)(min / NSEC_PER_MSEC));
	*ret = v;
	return 0;
}

/* A path, made absolute: the daemon's own directory is `/`. */
static int
set_path(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	char **slot = strcmp(name, "cache") == 0 ? &o->cache :
	    strcmp(name, "state") == 0 ? &o->state : &o->log;
	char *cwd = NULL, *p = NULL;
	int rc = 0;

	if (*value == '\0')
		return why_set(why, -EINVAL, "%s= names no path", name);
	if (*value == '/') {
		p = strdup(value);
	} else {
		cwd = getcwd(NULL, 0);
		if (cwd == NULL)
			return why_set(why, -errno, "%s=%s: the current "
			    "directory has no path: %s", name, value,
			    strerror(errno));
		if (asprintf(&p, "%s/%s", cwd, value) < 0)
			p = NULL;
	}
	if (p == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	free(*slot);
	*slot = p;
out:
	free(cwd);
	return rc;
}

static int
set_cache_size(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	return set_size(name, value, 16u << 20, &o->cache_size, why);
}

static int
set_memory(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	return set_size(name, value, 64u << 20, &o->memory, why);
}

static int
set_mode(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	if (strcmp(value, "eventual") == 0) {
		o->mode = MODE_EVENTUAL;
		return 0;
	}
	if (strcmp(value, "durable") == 0 || strcmp(value, "strong") == 0)
		return why_set(why, -EINVAL, "%s=%s is not in this version; "
		    "%s=eventual is", name, value, name);
	return why_set(why, -EINVAL, "%s=%s is no mode; %s=eventual is", name,
	    value, name);
}

static int
set_lag(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	return set_time(name, value, 0, &o->lag, why);
}

static int
set_poll(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	return set_time(name, value, 10 * NSEC_PER_MSEC, &o->poll, why);
}

static int
set_io_timeout(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	return set_time(name, value, 100 * NSEC_PER_MSEC, &o->io_timeout, why);
}

/* One of two words: false is the first. */
static int
set_word(const char *name, const char *value, const char *no, const char *yes,
    bool *ret, struct why *why)
{
	if (strcmp(value, no) != 0 && strcmp(value, yes) != 0)
		return why_set(why, -EINVAL, "%s=%s: it is %s=%s or %s=%s",
		    name, value, name, no, name, yes);
	*ret = strcmp(value, yes) == 0;
	return 0;
}

static int
set_offline(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	return set_word(name, value, "fail", "wait", &o->offline_wait, why);
}

static int
set_passthrough(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	return set_word(name, value, "off", "auto", &o->passthrough, why);
}

static int
set_uring(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	if (strcmp(value, "auto") == 0)
		o->uring = URING_AUTO;
	else if (strcmp(value, "on") == 0)
		o->uring = URING_ON;
	else if (strcmp(value, "off") == 0)
		o->uring = URING_OFF;
	else
		return why_set(why, -EINVAL, "%s=%s: it is %s=auto, %s=on or "
		    "%s=off", name, value, name, name, name);
	return 0;
}

/* What an option without a value sets. */
static int
set_flag(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	const struct { const char *name; bool *flag, to; } flags[] = {
		{ "takeover", &o->takeover, true },
		{ "ro", &o->read_only, true }, { "rw", &o->read_only, false },
		{ "allow_other", &o->allow_other, true },
		{ "dev", &o->dev, true }, { "nodev", &o->dev, false },
		{ "suid", &o->suid, true }, { "nosuid", &o->suid, false },
		{ "noexec", &o->noexec, true }, { "exec", &o->noexec, false },
		{ "debug", &o->debug, true },
	};
	unsigned i;

	for (i = 0; i < sizeof flags / sizeof flags[0]; i++)
		if (strcmp(flags[i].name, name) == 0)
			*flags[i].flag = flags[i].to;
	return 0;
}

/* A decimal id below 2^32 - 1 (which chown takes for "none"): -1 if not. */
static int64_t
number_id(const char *s)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)*s))
		return -1;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno != 0 || *end != '\0' || v >= UINT32_MAX)
		return -1;
	return (int64_t)v;
}

static int
set_uid(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	int64_t id = number_id(value);
	struct passwd *pw;

	if (id < 0) {
		pw = getpwnam(value);
		if (pw == NULL)
			return why_set(why, -EINVAL, "%s=%s: there is no such "
			    "user here; a number is taken as it is", name,
			    value);
		id = pw->pw_uid;
	}
	o->uid = id;
	return 0;
}

static int
set_gid(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	int64_t id = number_id(value);
	struct group *gr;

	if (id < 0) {
		gr = getgrnam(value);
		if (gr == NULL)
			return why_set(why, -EINVAL, "%s=%s: there is no such "
			    "group here; a number is taken as it is", name,
			    value);
		id = gr->gr_gid;
	}
	o->gid = id;
	return 0;
}

static int
set_umask(struct fs_options *o, const char *name, const char *value,
    struct why *why)
{
	unsigned long v;
	char *end;

	v = strtoul(value, &end, 8);
	if (!isdigit((unsigned char)*value) || *end != '\0' || v > 0777)
		return why_set(why, -EINVAL, "%s=%s is no mask; write octal "
		    "digits, such as %s=022", name, value, name);
	o->umask = (int32_t)v;
	return 0;
}

/* --- the parser --- */

void
options_init(struct fs_options *o)
{
	const struct option_desc *d;

	memset(o, 0, sizeof *o);
	o->uid = o->gid = -1;
	o->umask = -1;
	o->allow_other = geteuid() == 0;
	for (d = option_descs; d->name != NULL; d++)
		if (d->dflt != NULL && d->dflt[0] != '(')
			(void)option_sets[d - option_descs](o, d->name,
			    d->dflt, NULL);
}

void
options_done(struct fs_options *o)
{
	if (o == NULL)
		return;
	free(o->url);
	free(o->dir);
	free(o->cache);
	free(o->state);
	free(o->log);
	memset(o, 0, sizeof *o);
}

static bool
is_ignored(const char *name)
{
	unsigned i;

	if (strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0 ||
	    strncmp(name, "comment=", 8) == 0)
		return true;
	for (i = 0; ignored[i] != NULL; i++)
		if (strcmp(name, ignored[i]) == 0)
			return true;
	return false;
}

/* text is NAME or NAME=VALUE, and is cut apart here. */
static int
parse_one(struct fs_options *o, char *text, struct why *why)
{
	const struct option_desc *d;
	char *value;

	if (*text == '\0' || is_ignored(text))
		return 0;
	value = strchr(text, '=');
	if (value != NULL)
		*value++ = '\0';
	if (strcmp(text, "remount") == 0)
		return why_set(why, -EINVAL, "remount: the options of a mount "
		    "that is up cannot be changed; `gnsfs umount` and mount "
		    "it with others, or `mount -i -o remount,ro DIR` and rw, "
		    "which the kernel does alone");
	for (d = option_descs; d->name != NULL; d++)
		if (strcmp(d->name, text) == 0)
			break;
	if (d->name == NULL)
		return why_set(why, -EINVAL, "there is no mount option '%s'; "
		    "`gnsfs help mount` lists them", text);
	if (d->arg != NULL && value == NULL)
		return why_set(why, -EINVAL, "the mount option %s needs a "
		    "value: %s=%s", text, text, d->arg);
	if (d->arg == NULL && value != NULL)
		return why_set(why, -EINVAL, "the mount option %s takes no "
		    "value", text);
	return option_sets[d - option_descs](o, text, value, why);
}

int
options_parse(struct fs_options *o, const char *text, struct why *why)
{
	char *copy, *w, *start;
	int rc = 0;
	bool end;

	copy = strdup(text);
	if (copy == NULL)
		return -ENOMEM;
	/* `\,` and `\\` stand for themselves inside a value. */
	for (start = w = copy; rc == 0; text++) {
		if (text[0] == '\\' && (text[1] == ',' || text[1] == '\\')) {
			*w++ = *++text;
			continue;
		}
		end = *text == '\0';
		if (!end && *text != ',') {
			*w++ = *text;
			continue;
		}
		*w++ = '\0';
		rc = parse_one(o, start, why);
		start = w;
		if (end)
			break;
	}
	free(copy);
	return rc;
}

/* --- sizes and times --- */

int
parse_size(const char *s, uint64_t *ret)
{
	static const char units[] = "KMGTPE";
	const char *u;
	unsigned long long v;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno != 0)
		return -EINVAL;
	if (*end != '\0') {
		u = strchr(units, toupper((unsigned char)*end));
		if (u != NULL) {
			shift = 10 * (unsigned)(u - units + 1);
			end++;
			if (*end == 'i')
				end++;
		}
		if (*end == 'B' || *end == 'b')
			end++;
		if (*end != '\0')
			return -EINVAL;
	}
	if (shift != 0 && v > (UINT64_MAX >> shift))
		return -EINVAL;
	*ret = (uint64_t)v << shift;
	return 0;
}

int
parse_duration(const char *s, int64_t *ret)
{
	static const struct { const char *name; int64_t ns; } units[] = {
		{ "ns", 1 }, { "us", 1000 }, { "ms", NSEC_PER_MSEC },
		{ "s", NSEC_PER_SEC }, { "", NSEC_PER_SEC },
		{ "m", 60 * NSEC_PER_SEC }, { "h", 3600 * NSEC_PER_SEC },
		{ "d", 86400 * NSEC_PER_SEC }, { "w", 604800 * NSEC_PER_SEC },
	};
	unsigned long long v;
	unsigned i;
	char *end;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno != 0)
		return -EINVAL;
	for (i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (v > (unsigned long long)(INT64_MAX / units[i].ns))
			return -EINVAL;
		*ret = (int64_t)v * units[i].ns;
		return 0;
	}
	return -EINVAL;
}

/*
 * commands: every subcommand of gnsfs, once (STYLE 14): parser, help, manual
 * and completion are made from this.  In the texts an empty line ends a
 * paragraph and a line that begins with a blank is shown as it is.
 */
#include "tools/tool.h"

#define SELECTORS \
	"A SELECTOR is a path (a directory means all below it), a glob with " \
	"`*`, `?` and `**`, or a filter: tag:KEY=VALUE, size>1G, size<4K, " \
	"mtime<7d, store:NAME, name:*.jpg. Several are OR. Sizes are powers " \
	"of 1024; mtime<7d is what changed less than seven days ago."

#define SELECTOR_OPTS \
	{ "from", 0, "FILE", "Read more selectors from FILE, one a line; " \
	    "`-` is standard input." }, \
	{ "in", 0, "DIR", "Only what is below DIR." }, \
	{ "and", 0, NULL, "A file must match all selectors, not just one." }

static const struct tool_opt format_opts[] = {
	{ "name", 0, "NAME", "The namespace's name; else the last part of "
	    "the URL." },
	{ NULL }
};

static const struct tool_opt mount_opts[] = {
	{ "options", 'o', "OPTIONS", "Mount options, with commas between "
	    "them.", true },
	{ "foreground", 'f', NULL, "Stay in front and log to stderr." },
	{ NULL }
};

static const struct tool_opt umount_opts[] = {
	{ "timeout", 0, "TIME", "How long to flush at most; 60s." },
	{ "force", 0, NULL, "Then detach the mount even while it is in use, "
	    "and end a daemon that does not end." },
	{ NULL }
};

static const struct tool_opt store_opts[] = {
	{ "write", 0, NULL, "check: also put, replace and delete objects "
	    "of its own in a store that is not the home." },
	{ "rename", 0, "NEW", "set: the store's name from now on." },
	{ "force", 0, NULL, "set: even where the files' objects are not "
	    "found there." },
	{ NULL }
};

static const struct tool_opt policy_opts[] = {
	{ "force", 0, NULL, "set: do not ask the store whether it takes "
	    "objects." },
	{ NULL }
};

static const struct tool_opt import_opts[] = {
	{ "uid", 0, "USER", "The owner of all files; else who imports." },
	{ "gid", 0, "GROUP", "The group of all files; else that of who "
	    "imports." },
	{ "mode", 0, "OCTAL", "The permissions of files; else 0644. "
	    "Directories are 0755, or this with search where it has read." },
	{ "report", 0, NULL, "List the keys that are no paths, and the "
	    "names they get." },
	{ "tags", 0, NULL, "The tags of objects become tags of files, and "
	    "follow them at each refresh: one request for each object." },
	{ NULL }
};

static const struct tool_opt refresh_opts[] = {
	{ "every", 0, "TIME", "And again each time that this has passed since "
	    "the last, by the host that has the namespace mounted; 0: not any "
	    "more, and not now." },
	{ "empty", 0, NULL, "Also where nothing is listed, so that all files "
	    "of the import go." },
	{ "tags", 0, NULL, "Its objects' tags are its files' from now on, as "
	    "of an import with --tags." },
	{ NULL }
};

static const struct tool_opt pin_opts[] = {
	{ "wait", 0, NULL, "Return when every byte is here and its checksum "
	    "has been read back." },
	{ "ttl", 0, "TIME", "The pin ends after this time." },
	{ "name", 0, "NAME", "The pin's name; else its first selector." },
	{ "everywhere", 0, NULL, "The pin holds on every host that mounts "
	    "the namespace." },
	SELECTOR_OPTS,
	{ NULL }
};

static const struct tool_opt unpin_opts[] = {
	{ "name", 0, "NAME", "The whole pin of this name." },
	SELECTOR_OPTS,
	{ NULL }
};

static const struct tool_opt select_opts[] = { SELECTOR_OPTS, { NULL } };

static const struct tool_opt stage_opts[] = {
	{ "to", 0, "STORE", "The store that gets the copies, by its name." },
	SELECTOR_OPTS,
	{ NULL }
};

static const struct tool_opt find_opts[] = {
	{ "null", '0', NULL, "A NUL after each path in place of a line "
	    "break." },
	{ "long", 'l', NULL, "Type, permissions, owner, size and time too." },
	{ "all", 0, NULL, "Directories, symbolic links and all else, not "
	    "only files." },
	SELECTOR_OPTS,
	{ NULL }
};

static const struct tool_opt sync_opts[] = {
	{ "timeout", 0, "TIME", "Give up after this time; else never." },
	{ NULL }
};

static const struct tool_opt status_opts[] = {
	{ "watch", 'w', NULL, "Show it again and again, with rates: on a "
	    "terminal a screen of its size, until `q`; else a block of lines "
	    "each time." },
	{ "interval", 0, "TIME", "How often, with --watch; 1s." },
	{ NULL }
};

static const struct tool_opt explain_opts[] = {
	{ "local-path", 0, NULL, "Print only the path of the local file that "
	    "holds all bytes, or fail." },
	{ NULL }
};

static const struct tool_opt fsck_opts[] = {
	{ "digest-only", 0, NULL, "Print the digest of what is here; "
	    "compare nothing." },
	{ NULL }
};

static const struct tool_opt rescue_opts[] = {
	{ "cache", 0, "DIR", "The cache folder, where the mount had one of "
	    "its own (cache= beside state=)." },
	{ NULL }
};

static const struct tool_opt help_opts[] = {
	{ "man", 0, "PAGE", "Print a manual page in roff: gnsfs.1, "
	    "mount.gnsfs.8, or gnsfs-COMMAND.1." },
	{ "completion", 0, "SHELL", "Print the completion for a shell: bash "
	    "or zsh." },
	{ NULL }
};

const struct tool_page tool_pages[] = {
	{ "format", "make, compare and rescue a namespace" },
	{ "mount", "mount and unmount a namespace" },
	{ "store", "the stores of a namespace, and what is adopted of them" },
	{ "pin", "keep, fetch and drop bytes on this host" },
	{ "find", "query the tree, and label it" },
	{ "status", "how a mount is, where bytes are, and waiting for them" },
	{ NULL }
};

const struct tool_cmd tool_cmds[] = {
	{ "format", "HOME_URL [--name NAME]", 1, 1,
	    "create a namespace",
	    "Makes HOME_URL the home of a new namespace: it becomes its store "
	    "`home`, where new bytes go. The bucket must exist, the prefix "
	    "must hold no namespace.\n\n"
	    " gnsfs format 's3://corp/gns?endpoint=http://127.0.0.1:7070'",
	    cmd_format, format_opts, "format", keys_format },
	{ "mount", "HOME_URL DIR [-o OPTIONS] [-f]", 2, 2,
	    "mount a namespace",
	    "Returns when the tree is usable. With valid local state that is "
	    "so even with no store in reach; without, it fails within 10 "
	    "seconds. mount.gnsfs(8) lists the options.",
	    cmd_mount, mount_opts, "mount", keys_mount },
	{ "umount", "DIR [--timeout TIME] [--force]", 1, 1,
	    "flush and unmount",
	    "Flushes within a bound, says what is not uploaded, and returns "
	    "when the daemon is gone. What could not be stored is kept, and "
	    "sent at the next mount; the exit status is then 1. A mount whose "
	    "daemon died is taken away; one whose daemon is there and does "
	    "not answer with --force alone.",
	    cmd_umount, umount_opts, "mount", keys_pending },
	{ "store", "add|ls|set|rm|check [NAME] [URL] [KEY=VALUE...]", 1, -1,
	    "the stores of the namespace",
	    "add NAME URL makes a bucket, a prefix or a directory known. ls "
	    "lists all. rm NAME forgets one in which no file has bytes, and "
	    "which no policy names.\n\n"
	    "set NAME [URL] [KEY=VALUE...] changes where it is, or single "
	    "settings of its URL (KEY= takes one away), and --rename its "
	    "name; no file is touched. Some of the objects that files need "
	    "are looked for at the new place first. Where a copy has other "
	    "versions (a directory copied by cp -a, other parts, another "
	    "account), all are compared: size and sum, or every byte, or, of "
	    "an import between two directories, size and mtime; then their "
	    "versions are recorded, else what differs is named and nothing "
	    "is changed. What is imported and has no sum that both stores "
	    "tell needs the old place, to be compared with. Meanwhile nothing "
	    "is uploaded to it, staged to it, or set by another command; what "
	    "was uploaded and is in no record yet is uploaded again, to the "
	    "new place. The home is "
	    "where it is mounted from: set home URL, of the URL that is "
	    "mounted, does the same after it was moved.\n\n"
	    " gnsfs store set lake region=eu-west-1 profile=train\n\n"
	    "check NAME asks a store for real: it is listed, and a byte is "
	    "read; in the home, or with --write, objects of its own are put, "
	    "replaced, copied and deleted under every condition that gnsfs "
	    "relies on, one of them in parts, and removed again. What is "
	    "missing is said with what it costs; where gnsfs needs it, the "
	    "exit status is 1.",
	    cmd_store, store_opts, "store", keys_store },
	{ "policy", "set|rm|ls [DIR] [store=NAME|fill=whole]", 1, 3,
	    "which store new bytes below a directory go to, what is fetched",
	    "set DIR store=NAME: what is written below DIR from then on is "
	    "stored there, large files and packs of small ones, whoever "
	    "mounts the namespace; also what is written already and not "
	    "stored yet. What is stored stays where it is, and a rename "
	    "moves nothing: `gnsfs stage` makes copies. A directory further "
	    "down may have a placement of its own (store=home takes it back); "
	    "without any, bytes go to the home. The log is always there.\n\n"
	    "set DIR fill=whole: a large file below DIR is fetched whole, on "
	    "the host where it is opened to be read, behind what its readers "
	    "wait for, and also when they are gone; where it is at most half "
	    "of what the cache has room for. A directory further down may "
	    "say fill=wanted, which is so without any: what is read, and what "
	    "comes after it; or all, of a large file in which its readers "
	    "jump about. DIR may be an import.\n\n"
	    "rm DIR [store] takes the placement of DIR away, rm DIR fill what "
	    "it says of fetching. ls lists them: those that hold at DIR or "
	    "below, or all. explain says which one decides about a file.\n\n"
	    " gnsfs policy set /gns/ckpt store=lake\n"
	    " gnsfs policy set /gns/models fill=whole",
	    cmd_policy, policy_opts, "store", keys_policy },
	{ "import", "STORE_URL PATH [OPTIONS]", 2, 2,
	    "adopt an existing bucket or prefix",
	    "Lists the keys below STORE_URL and shows them as files below "
	    "PATH, which is created. No byte is copied, and nothing in the "
	    "bucket is ever changed: the files are read-only. gnsfs(5) has "
	    "the rule for keys that are no paths, and says what becomes of "
	    "tags.",
	    cmd_import, import_opts, "store", keys_import },
	{ "stage", "SELECTOR... --to STORE [OPTIONS]", 0, -1,
	    "copy files to another store, server-side where it can",
	    "Copies what the stores do not have yet, by the stores "
	    "themselves where they can (within S3, Google Cloud or Azure, "
	    "to Azure from the others, between directories), else through "
	    "this host; what is there is compared by size and checksum, and "
	    "then recorded. Reads use the best store that answers: a "
	    "directory of this host first, then what is where the home is. "
	    "Ended early, it goes on where it was when it is asked again.\n\n"
	    SELECTORS,
	    cmd_stage, stage_opts, "store", keys_stage },
	{ "refresh", "PATH [--every TIME] [--empty] [--tags]", 1, 1,
	    "bring an import up to date with its bucket",
	    "Lists the bucket again. New objects appear, vanished ones go, "
	    "and of a changed one the new content is read by who opens it "
	    "from then on; who has it open goes on with what is on this host "
	    "of the old one, and gets ESTALE for the rest. Pins follow. A "
	    "listing that fails changes nothing; so does one of nothing, as "
	    "of a disk that is not mounted, while the import has files. PATH "
	    "is the directory that was imported to, wherever it was moved "
	    "since.\n\n"
	    " gnsfs refresh /gns/imagenet --every 10m",
	    cmd_refresh, refresh_opts, "store", keys_refresh },
	{ "imports", "[DIR]", 0, 1,
	    "the imports, and when each was refreshed",
	    "Lists what was imported, from where, how often it is refreshed, "
	    "when that was done last on this host, and what was wrong if it "
	    "failed.",
	    cmd_imports, NULL, "store", keys_imports },
	{ "pin", "SELECTOR... [OPTIONS]", 0, -1,
	    "keep files on this host",
	    "Room is reserved first (no room: nothing is pinned), then the "
	    "bytes are fetched. Pinned bytes are never evicted, survive a "
	    "restart, and new files that match are pinned as they come. A pin "
	    "belongs to the host that made it. It is named after its first "
	    "selector; what is pinned under the name of a pin is added to it, "
	    "and what was unpinned of that is pinned again, but a pin has one "
	    "--in and one --and.\n\n" SELECTORS " A path that "
	    "does not exist is an error; a glob or a filter that matches "
	    "nothing yet is not.",
	    cmd_pin, pin_opts, "pin", keys_pin },
	{ "unpin", "SELECTOR... | --name NAME", 0, -1,
	    "let them go",
	    "Takes what the selectors name out of the pins of this host; the "
	    "rest of a pin stays, and a pin of which nothing is left is gone."
	    "\n\n" SELECTORS,
	    cmd_unpin, unpin_opts, "pin" },
	{ "pins", "[DIR]", 0, 1,
	    "pins, bytes present of bytes wanted",
	    "Lists the pins with their files, bytes, state and the time that "
	    "is left.",
	    cmd_pins, NULL, "pin", keys_pins },
	{ "warm", "SELECTOR... [OPTIONS]", 0, -1,
	    "fetch files without a promise",
	    "Fetches the bytes into the cache and returns when they are here. "
	    "They may be evicted later.\n\n" SELECTORS,
	    cmd_warm, select_opts, "pin" },
	{ "evict", "SELECTOR... [OPTIONS]", 0, -1,
	    "drop clean bytes from this host",
	    "The files stay; reading fetches them again. What is pinned, in "
	    "use or not yet stored is kept.\n\n" SELECTORS,
	    cmd_evict, select_opts, "pin", keys_evict },
	{ "find", "[SELECTOR...] [OPTIONS]", 0, -1,
	    "query the whole tree",
	    "Answers from the local database. With --json an object a line."
	    "\n\n" SELECTORS,
	    cmd_find, find_opts, "find", keys_find },
	{ "tag", "add|rm|ls PATH [KEY=VALUE]", 2, 3,
	    "labels that selectors can name",
	    "A tag on a directory holds for all below it. rm takes KEY, or "
	    "KEY=VALUE, and fails where the tag has another value.",
	    cmd_tag, NULL, "find", keys_tag },
	{ "sync", "[PATH] [--timeout TIME]", 0, 1,
	    "return when all is durable in the stores",
	    "Waits until all that was written (below PATH) is in the stores "
	    "and recorded in the log. Changes of other directories that a "
	    "store which is down holds back are not waited for.",
	    cmd_sync, sync_opts, "status", keys_pending },
	{ "status", "[DIR] [--watch] [--interval TIME]", 0, 1,
	    "health, cache, pins, what is not stored yet",
	    "Of one mount, or of all: with --json an object, or a list of "
	    "them. The exit status is 1 where a daemon does not answer.",
	    cmd_status, status_opts, "status", keys_status },
	{ "explain", "PATH [--local-path]", 1, 1,
	    "where each byte of a file is",
	    "Stores, keys and versions, what of it is on this host and how, "
	    "the pins that hold it, which store what is not stored yet goes "
	    "to, and which directory's policy says so.",
	    cmd_explain, explain_opts, "status", keys_explain },
	{ "fsck", "[DIR]", 0, 1,
	    "compare the tree with its home",
	    "Compares the digest of the tree on this host with that of a "
	    "replay of the whole log, and with that of the newest snapshot "
	    "and the log after it. The exit status is 1 where they differ.",
	    cmd_fsck, fsck_opts, "format", keys_fsck },
	{ "rescue", "STATE_DIR DEST", 2, 2,
	    "copy out what a fenced host has not stored",
	    "Copies every file that STATE_DIR holds and no store has to the "
	    "new directory DEST, by path. STATE_DIR must not be mounted; it "
	    "stays as it is.",
	    cmd_rescue, rescue_opts, "format", keys_rescue },
	{ "help", "[COMMAND]", 0, 1,
	    "say how a command is used", "", cmd_help, help_opts },
	{ NULL }
};

/*
 * keys: what each command prints with --json, once: `gnsfs help COMMAND` and
 * the manual are made from it, and a test compares it with what is printed.
 * A key within an object has a dot before it, one within the objects of a
 * list [] too; a list at the top is [].  '*' stands for names that the tables
 * of others have.
 */
#include "tools/tool.h"

#define DIGEST(what, of) \
	{ what, "Of " of "; absent where there is none to compare with." }, \
	{ what ".from", "The snapshot it begins with; 0: none." }, \
	{ what ".digest", "Its digest." }, \
	{ what ".same", "Whether it is the one of this host." }

#define PENDING \
	{ "pending_ops", "Changes that are not in the log yet." }, \
	{ "pending_bytes", "Their bytes that are in no store yet." }, \
	{ "oldest_age", "Of the oldest of them, ns." }, \
	{ "pid", "Of the daemon." }, \
	{ "state_dir", "The folder that keeps them." }, \
	{ "fenced", "Whether another host has taken over." }

#define PIN(at) \
	{ at "id", "Its number." }, \
	{ at "name", "Its name." }, \
	{ at "selectors", "What it was made with, one a line; --not: " \
	    "what was unpinned of it." }, \
	{ at "host", "The host that it belongs to; empty: all." }, \
	{ at "files", "Files that match." }, \
	{ at "want", "Their bytes." }, \
	{ at "have", "Bytes of them on this host." }, \
	{ at "eta", "Time until all are here, ns; 0: unknown or done." }, \
	{ at "expires", "When it ends, ns since the epoch; 0: never." }, \
	{ at "state", "How it stands, in a word or two." }, \
	{ at "why", "What keeps it from being whole." }

#define STAGE(at) \
	{ at "store", "The store that gets copies." }, \
	{ at "files", "Files that match." }, \
	{ at "want", "Their bytes." }, \
	{ at "seen", "Bytes of them that had a copy there already." }, \
	{ at "objects", "Objects copied, or found there and recorded." }, \
	{ at "bytes", "Their bytes; of a pack all, whoever's they are." }, \
	{ at "moving", "Bytes done of those that are under way; of what a " \
	    "store copies itself none, until it is done." }, \
	{ at "relayed", "Bytes that came through this host." }, \
	{ at "copied", "Bytes that the store copied itself." }, \
	{ at "found", "Bytes that were there, but not recorded." }, \
	{ at "read_back", "Bytes read to compare, where the stores keep no " \
	    "sums that can be." }

#define IMPORT(at) \
	{ at "path", "The directory of an import." }, \
	{ at "path_hex", "In its place, where that is no UTF-8." }, \
	{ at "url", "Where it is from." }, \
	{ at "url_hex", "In its place, where that is no UTF-8." }, \
	{ at "store", "The name of the store that is." }, \
	{ at "every", "How often it is refreshed, ns; 0: when asked." }, \
	{ at "last_age", "Since it was, on this host, ns; -1: unknown." }, \
	{ at "running", "Whether it is being refreshed." }, \
	{ at "why", "Why the last refresh failed." }

const struct tool_key keys_format[] = {
	{ "name", "Of the namespace." },
	{ "uuid", "Of the namespace." },
	{ "url", "Its home." },
	{ NULL }
};

const struct tool_key keys_mount[] = {
	{ "url", "Of the home, as it was given." },
	{ "dir", "The mountpoint." },
	{ NULL }
};

const struct tool_key keys_pending[] = { PENDING, { NULL } };

const struct tool_key keys_store[] = {
	{ "[].id", "ls: its number." },
	{ "[].name", "ls: its name." },
	{ "[].url", "ls: where it is." },
	{ "[].home", "ls: whether it is the home." },
	{ "[].up", "ls: whether it answers." },
	{ "[].since", "ls: since when; ns since 1970." },
	{ "[].why", "ls: why it does not. check: why a step failed." },
	{ "[].step", "check: what was tried." },
	{ "[].ok", "check: whether that worked." },
	{ "[].needed", "check: whether gnsfs cannot do without." },
	{ "[].costs", "check: what it costs that it failed." },
	{ NULL }
};

const struct tool_key keys_policy[] = {
	{ "[].dir", "ls: the directory, in the namespace." },
	{ "[].dir_hex", "In its place, where that is no UTF-8." },
	{ "[].store", "ls: the store that new bytes below it go to." },
	{ "[].up", "ls: whether that answers." },
	{ "[].fill", "ls: whole or wanted: what is fetched of large files "
	    "below it; then there is no store." },
	{ NULL }
};

const struct tool_key keys_import[] = {
	{ "files", "Files that appeared." },
	{ "dirs", "Directories that hold them." },
	{ "bytes", "The files' bytes." },
	{ "escaped", "Keys that are no paths." },
	{ "store", "The number of the store they are in." },
	{ "tags", "With --tags: tags that files got." },
	{ "renamed[].key", "With --report: a key that is no path." },
	{ "renamed[].key_hex", "In its place, where that is no UTF-8." },
	{ "renamed[].path", "The path that it got." },
	{ "renamed[].path_hex", "In its place, where that is no UTF-8." },
	{ NULL }
};

const struct tool_key keys_refresh[] = {
	{ "keys", "Objects that the bucket has." },
	{ "same", "Files that are as they were." },
	{ "added", "Files that are new." },
	{ "changed", "Files that have another content." },
	{ "gone", "Files that are no more." },
	{ "retimed", "Files with the same content and another time." },
	{ "renamed", "Files whose name a directory took, or gave back." },
	{ "dirs_added", "Directories that are new." },
	{ "dirs_gone", "Directories that are no more." },
	{ "bytes", "Of the files that are new or changed." },
	{ "tags_set", "Tags that files got from their objects." },
	{ "tags_removed", "Tags that went as they did there." },
	{ "took", "How long it took, ns." },
	{ NULL }
};

const struct tool_key keys_imports[] = { IMPORT("[]."), { NULL } };

const struct tool_key keys_pin[] = {
	{ "files", "Files that match now." },
	{ "bytes", "Their bytes." },
	{ NULL }
};

const struct tool_key keys_pins[] = { PIN("[]."), { NULL } };

const struct tool_key keys_evict[] = {
	{ "bytes", "Bytes that are gone from this host." },
	{ "note", "What was kept, and why." },
	{ NULL }
};

const struct tool_key keys_stage[] = { STAGE(""), { NULL } };

const struct tool_key keys_find[] = {
	{ "path", "The path on this host." },
	{ "path_hex", "In its place, where that is no UTF-8: the bytes of the "
	    "path in the namespace." },
	{ "ino", "Inode number." },
	{ "type", "file, dir, symlink, fifo, socket or device." },
	{ "mode", "Permissions, as a number." },
	{ "uid", "Owner." },
	{ "gid", "Group." },
	{ "size", "Bytes." },
	{ "mtime", "Modification, ns since the epoch." },
	{ NULL }
};

const struct tool_key keys_tag[] = {
	{ "tags[].key", "ls: the tag's key." },
	{ "tags[].value", "ls: its value." },
	{ "tags[].from", "ls: the path in the namespace that has it." },
	{ NULL }
};

const struct tool_key keys_status[] = {
	{ "name", "Of the namespace." },
	{ "uuid", "Of the namespace." },
	{ "url", "Its home, as it was mounted." },
	{ "dir", "The mountpoint." },
	{ "pid", "Of the daemon." },
	{ "state_dir", "Where the daemon keeps its database." },
	{ "write_state", "writable, read-only or fenced; dead, silent or "
	    "ending where no daemon answers (then only url, dir and why are "
	    "there, too)." },
	{ "why", "Why it is not writable." },
	{ "passthrough", "on, or why files are not handed to the kernel." },
	{ "uring", "on, or why requests do not come by io_uring." },
	{ "uptime", "Of the daemon, ns." },
	{ "peak_memory", "The most the daemon has had, bytes." },
	{ "log.state", "How the log stands." },
	{ "log.lsn", "Its last segment that is applied here." },
	{ "log.last_landed_age", "Since a change last landed, ns; 0: none." },
	{ "log.why", "What keeps it from going on." },
	{ "session.number", "Of the session." },
	{ "session.host", "The host that has it." },
	{ "pending.ops", "Changes that are not in the log yet." },
	{ "pending.held", "Changes of them that wait for a store that is down, "
	    "or takes nothing: of files that are to be stored there, of their "
	    "directories, and what builds on them." },
	{ "pending.files", "Files with bytes that are in no store yet." },
	{ "pending.bytes", "Bytes that are in no store yet." },
	{ "pending.oldest_age", "Of the oldest change, ns." },
	{ "pending.why", "What they wait for." },
	{ "cache.dir", "Where bytes are kept." },
	{ "cache.limit", "Most bytes kept there." },
	{ "cache.used", "Bytes kept." },
	{ "cache.dirty", "Bytes of them that are in no store yet." },
	{ "cache.pinned", "Bytes of them that are pinned." },
	{ "cache.reserved", "Bytes reserved for pins." },
	{ "cache.small", "Bytes of small files." },
	{ "cache.files", "Larger files." },
	{ "cache.disk_free", "Free bytes on its disk." },
	{ "cache.why", "What is full; empty where there is room." },
	{ "uploads.waiting", "Large files that wait to be uploaded." },
	{ "uploads.active", "Uploads under way." },
	{ "uploads.bytes_left", "Bytes they have left." },
	{ "uploads.why", "What they wait for." },
	{ "totals.files", "Files in the namespace." },
	{ "totals.dirs", "Directories in it." },
	{ "totals.bytes", "The files' bytes." },
	{ "stores[].id", "A store's number." },
	{ "stores[].name", "Its name." },
	{ "stores[].url", "Where it is." },
	{ "stores[].up", "Whether it answers." },
	{ "stores[].since_age", "For how long it does or does not, ns." },
	{ "stores[].why", "Why it does not." },
	{ "stores[].waiting_files", "Files whose bytes are to be put there; "
	    "but for small ones, of the home." },
	{ "stores[].waiting_bytes", "Their bytes." },
	{ "stores[].waiting_age", "Of the oldest of them, ns." },
	PIN("pins[]."),
	STAGE("stages[]."),
	IMPORT("imports[]."),
	{ "counters.*", "See COUNTERS in gnsfs-status(1)." },
	{ NULL }
};

const struct tool_key keys_explain[] = {
	{ "path", "The path in the namespace." },
	{ "ino", "Inode number." },
	{ "size", "Bytes." },
	{ "type", "file, dir or other." },
	{ "imported", "Whether it is of an import." },
	{ "mode", "How its bytes are kept on this host." },
	{ "io", "Who reads and writes it: the kernel, but for those who write "
	    "through the daemon, or the daemon, and why." },
	{ "dirty", "Whether some of it is in no store yet." },
	{ "cached_percent", "How much of it is on this host." },
	{ "cached_bytes", "The same in bytes." },
	{ "pinned", "Whether a pin holds it on this host." },
	{ "local_path", "The local file that has its bytes." },
	{ "local_complete", "Whether that has all of them." },
	{ "pins[]", "Names of the pins that hold it." },
	{ "place_store", "The store that its new bytes go to, or are to." },
	{ "place_dir", "The directory whose policy says so; empty: none "
	    "does." },
	{ "place_dir_hex", "In its place, where that is no UTF-8." },
	{ "fill_dir", "The directory whose policy has it fetched whole; "
	    "empty: none has." },
	{ "fill_dir_hex", "In its place, where that is no UTF-8." },
	{ "nextents", "In how many pieces it is stored." },
	{ "extents[].off", "Where in the file a piece begins." },
	{ "extents[].len", "Its bytes." },
	{ "extents[].store", "The store's name." },
	{ "extents[].url", "The store's URL." },
	{ "extents[].kind", "imported, whole, pack or patch." },
	{ "extents[].key", "The object's key in the store." },
	{ "extents[].key_hex", "In its place, where that is no UTF-8." },
	{ "extents[].copies[]", "Names of the other stores that have it." },
	{ "extents[].version", "The object's version." },
	{ "extents[].object", "The object's number." },
	{ "extents[].object_off", "Where in the object the piece begins." },
	{ "extents[].summed", "Whether sums of its bytes are recorded, so that "
	    "wrong ones are noticed." },
	{ NULL }
};

const struct tool_key keys_fsck[] = {
	{ "lsn", "The last segment that is applied here." },
	{ "digest", "Of the tree on this host." },
	DIGEST("replay", "a replay of the whole log"),
	DIGEST("snapshot", "the newest snapshot and the log after it"),
	{ NULL }
};

const struct tool_key keys_rescue[] = {
	{ "files", "Files that were copied." },
	{ "bytes", "Their bytes." },
	{ "parts", "Files of which only a part was here." },
	{ "copied[].path", "A file that was copied." },
	{ "copied[].part", "Whether only in part." },
	{ NULL }
};

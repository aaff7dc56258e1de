# lib.sh: what the tests of test/mounted share.  To be sourced by sh, first:
#
#	. "$(dirname "$0")/../lib.sh"
#	begin				makes $T; needs root, the program, FUSE
#	format_home "$HOME_URL"
#	start_mount "$HOME_URL" "$T/m" lag=100ms
#	check "a file can be made" touch "$T/m/a"
#	stop_mount "$T/m"
#	finish				or just the end of the script
#
# The test counts itself:
#   ok NAME              fail NAME [WHY...]         skip NAME WHY...
#   check NAME CMD...    ok where CMD gives 0; else what it said is shown
#   check_fails NAME CMD...             where it gives 1 or more, but was found
#   check_rc WANT NAME CMD...           where it gives WANT
#   check_eq NAME WANT HAVE             strings
#   check_says NAME PATTERN             grep -E in what the last CMD said
#   bail WHY...          one failure, and the end: nothing can follow
#   say WORDS...         a line of comment
# What a checked command said, both streams, is $T/out until the next one.
#
# Mounts, each with a cache folder of its own unless OPTS name one:
#   format_home URL [ARGS...]           bails where it cannot
#   start_mount URL DIR [OPTS]          bails where it cannot; makes DIR
#   try_mount URL DIR [OPTS]            the same, to be checked
#   stop_mount DIR [ARGS...]            gnsfs umount; bails where it cannot
#   kill_mount DIR                      kill -9 and off: as in a crash
#   mount_pid DIR                       prints the daemon's process id
#   is_mounted DIR
#   mount_as HOST URL DIR [OPTS]        try_mount on a host of that name; status
#                                       is its, what it said is $T/out
#   cache_of DIR                        prints the folder start_mount chose
# A daemon ended by a sanitizer, or one that leaves a report, is a failure.
#
# Stores:
#   start_s3                            versitygw over $T/s3 (test/servers.sh)
#   start_az, start_gs                  Azurite over $T/az, $GCS_SERVER's server
#                                       over $T/gs
#   store_url KIND NAME                 prints a URL: KIND file, s3, az or gs,
#                                       of which a bucket NAME is made in what
#                                       was started
#   count_objects KIND NAME             how many files lie in it (file and s3)
#
# As a normal user:
#   own_mounts "$@"      before begin: the script goes on in a mount namespace
#                        of its own
#   fuse_for_all         there: /dev/fuse is open to all, as udev makes it
#   lend_helper          there: mount.gnsfs and mount.fuse.gnsfs are in /sbin
#   as_user CMD...       as uid and gid $USER_ID (nobody's), with $USER_HOME for
#                        HOME, XDG_RUNTIME_DIR; the caller makes that
#
# Else:
#   spawn CMD...         in the background, ended with the test; $! is its id
#   wait_for SECONDS CMD...             until CMD gives 0; 1 when it never does
#   disk DIR SIZE [MKFS OPTIONS...]     an ext4 of that size, on a loop device,
#                        mounted on DIR until the test ends
#   sums DIR             sha256 of each file below, by name; for comparing
#   json FILE EXPR       Python: prints EXPR over j, the JSON in FILE
#   now_ms
#
# $GNSFS_BIN is the program (default: gnsfs at the top of the tree; ${GNSFS}
# here), $TMPDIR where $T is made.  GNSFS_TEST_KEEP=DIR keeps the logs of a
# test that failed there.  Everything that a test mounted, started or wrote is
# gone when it ends, however it ends: by the trap below, or by the caller's
# (test/all.sh) where it was killed.

TOP=$(cd "$(dirname "$0")" && while [ ! -f test/lib.sh ] && [ "$PWD" != / ]; do
	cd ..; done && pwd)
NAME=$(basename "$0" .sh)
GNSFS=${GNSFS_BIN:-$TOP/gnsfs}
passed=0
failed=0
skipped=0
T=

. "$TOP/test/servers.sh"

say()
{
	echo "# $*"
}

# --- counting ---

ok()
{
	passed=$((passed + 1))
	echo "ok $((passed + failed + skipped)) - $*"
}

fail()
{
	_name=$1
	shift
	failed=$((failed + 1))
	[ $# = 0 ] || say "$*"
	echo "not ok $((passed + failed + skipped)) - $_name"
	return 1
}

skip()
{
	_name=$1
	shift
	skipped=$((skipped + 1))
	echo "ok $((passed + failed + skipped)) - $_name # SKIP $*"
}

bail()
{
	fail "$*"
	exit 1
}

# Runs CMD; what it says into $T/out.  Gives its status.
quiet()
{
	"$@" >"$T/out" 2>&1 </dev/null
}

show_out()
{
	head -c 8000 "$T/out" | tail -40 | sed 's/^/# /'
}

check()
{
	_name=$1
	shift
	quiet "$@"
	_rc=$?
	[ $_rc = 0 ] && { ok "$_name"; return 0; }
	show_out
	fail "$_name" "status $_rc: $*"
}

check_fails()
{
	_name=$1
	shift
	quiet "$@"
	_rc=$?
	case $_rc in
	0|126|127)
		show_out
		fail "$_name" "status $_rc: $*" ;;
	*)	ok "$_name" ;;
	esac
}

check_rc()
{
	_want=$1
	_name=$2
	shift 2
	quiet "$@"
	_rc=$?
	[ $_rc = "$_want" ] && { ok "$_name"; return 0; }
	show_out
	fail "$_name" "status $_rc, not $_want: $*"
}

check_eq()
{
	[ "$2" = "$3" ] && { ok "$1"; return 0; }
	fail "$1" "'$3', not '$2'"
}

check_says()
{
	grep -qE -e "$2" "$T/out" && { ok "$1"; return 0; }
	show_out
	fail "$1" "no line has: $2"
}

# --- mounts ---

is_mounted()
{
	awk -v dir="$1" '$5 == dir { f = 1 } END { exit !f }' \
	    /proc/self/mountinfo
}

# The file that holds what is known of the mount on DIR.
_slot()
{
	echo "$T/.mounts/$(printf %s "$1" | sed 's|[^A-Za-z0-9._-]|+|g')"
}

cache_of()
{
	sed -n 's/^cache=//p' "$(_slot "$1")"
}

mount_pid()
{
	_pid=$(sed -n 's/^pid=//p' "$(_slot "$1")" 2>/dev/null)
	[ -n "$_pid" ] && [ -d "/proc/$_pid" ] && echo "$_pid"
}

# The daemon of the mount on DIR, by its arguments: gnsfs mount URL DIR ...
_find_daemon()
{
	for _p in /proc/[0-9]*; do
		{ tr '\0' '\n' <"$_p/cmdline" >"$T/.args"; } 2>/dev/null &&
		    grep -qxF -e "$1" "$T/.args" &&
		    [ "$(sed -n 2p "$T/.args")" = mount ] && echo "${_p#/proc/}"
	done | tail -1
}

format_home()
{
	quiet "$GNSFS" format "$@" && return 0
	show_out
	bail "gnsfs format $*"
}

try_mount()
{
	_url=$1
	_dir=$2
	_opts=${3:-}
	mkdir -p "$_dir" "$T/.mounts"
	case ,$_opts, in
	*,cache=*|*,state=*)
		_cache=$(printf %s ",$_opts" | tr , '\n' |
		    sed -n 's/^cache=//p') ;;
	*)	_cache=$T/cache.${_dir##*/}
		_opts=cache=$_cache${_opts:+,$_opts} ;;
	esac
	# Before it is mounted: whatever happens now, the trap knows of it.
	printf 'dir=%s\ncache=%s\n' "$_dir" "$_cache" >"$(_slot "$_dir")"
	"$GNSFS" mount "$_url" "$_dir" -o "$_opts" </dev/null || return
	_pid=$(_find_daemon "$_dir")
	printf 'dir=%s\ncache=%s\npid=%s\n' "$_dir" "$_cache" "$_pid" \
	    >"$(_slot "$_dir")"
	is_mounted "$_dir"
}

start_mount()
{
	quiet try_mount "$@" && return 0
	show_out
	bail "gnsfs mount $*"
}

mount_as()
{
	_real=$GNSFS
	cat >"$T/as.$1" <<-END
		#!/bin/sh
		exec unshare -u sh -c 'hostname "\$1" && shift &&
		    exec "\$@"' as $1 "$_real" "\$@"
	END
	chmod +x "$T/as.$1"
	GNSFS=$T/as.$1
	shift
	quiet try_mount "$@"
	_rc=$?
	GNSFS=$_real
	return $_rc
}

stop_mount()
{
	_dir=$1
	shift
	_pid=$(mount_pid "$_dir")
	if ! quiet "$GNSFS" umount "$_dir" "$@"; then
		show_out
		bail "gnsfs umount $_dir $*"
	fi
	if is_mounted "$_dir" || { [ -n "$_pid" ] && [ -d "/proc/$_pid" ] &&
	    ! grep -q '^State:.*Z' "/proc/$_pid/status"; }; then
		bail "gnsfs umount $_dir returned too early"
	fi
	rm -f "$(_slot "$_dir")"
}

_off()
{
	umount -l "$1" 2>/dev/null || fusermount3 -uz "$1" 2>/dev/null
}

kill_mount()
{
	_dir=$1
	_pid=$(mount_pid "$_dir")
	[ -z "$_pid" ] || _end_pid "$_pid" KILL
	while is_mounted "$_dir" && _off "$_dir"; do
		:
	done
	rm -f "$(_slot "$_dir")" "/run/gnsfs/$_pid.json" \
	    "/run/gnsfs/$_pid.sock"
}

# _end_pid PID SIGNAL: sends it, then waits until it is gone (20 s).
_end_pid()
{
	kill "-$2" "$1" 2>/dev/null
	_n=0
	while [ -d "/proc/$1" ] && ! grep -q '^State:.*Z' "/proc/$1/status" \
	    2>/dev/null && [ $_n -lt 200 ]; do
		_n=$((_n + 1))
		sleep 0.1
	done
}

# --- stores ---

start_s3()
{
	s3_start "$T/s3" 0 >"$T/out" 2>&1 && return 0
	show_out
	bail "$S3_SERVER cannot be started"
}

start_az()
{
	azurite_start "$T/az" 0 >"$T/out" 2>&1 && return 0
	show_out
	bail "Azurite cannot be started"
}

# Nobody's credentials are meant for it.
start_gs()
{
	unset GOOGLE_APPLICATION_CREDENTIALS STORAGE_EMULATOR_HOST
	CLOUDSDK_CONFIG=$T/gcloud
	export CLOUDSDK_CONFIG
	gcs_start "$T/gs" 0 >"$T/out" 2>&1 && return 0
	show_out
	bail "$GCS_SERVER cannot be started"
}

store_url()
{
	case $1 in
	file)	mkdir -p "$T/stores/$2"
		echo "file://$T/stores/$2" ;;
	s3)	s3_bucket "${2%%/*}" >&2 && s3_url "$2" ;;
	az)	azurite_container "${2%%/*}" >&2 && azurite_url "$2" ;;
	gs)	gcs_bucket "${2%%/*}" >&2 && gcs_url "$2" ;;
	esac
}

# The folder in which the objects of a store lie.
store_dir()
{
	case $1 in
	file)	echo "$T/stores/$2" ;;
	s3)	echo "$S3_DIR/objects/$2" ;;
	esac
}

count_objects()
{
	find "$(store_dir "$1" "$2")" -type f | wc -l
}

# --- as a normal user ---

own_mounts()
{
	[ -z "${GNSFS_TEST_OWN:-}" ] || return 0
	GNSFS_TEST_OWN=1 exec unshare -m sh "$0" "$@"
}

fuse_for_all()
{
	mkdir "$T/.dev" && mount -t tmpfs -o dev,mode=755 none "$T/.dev" &&
	    mknod -m 666 "$T/.dev/fuse" c 10 229 &&
	    mount --bind "$T/.dev/fuse" /dev/fuse && umount -l "$T/.dev" ||
	    bail "/dev/fuse cannot be opened to all"
}

# A folder of links to what is in /sbin, and to ours, over it.
lend_helper()
{
	mkdir "$T/.sbin" "$T/.sbin.was" &&
	    mount --bind /sbin/ "$T/.sbin.was" || bail "/sbin cannot be lent"
	for _one in "$T/.sbin.was"/*; do
		case ${_one##*/} in
		mount.gnsfs|mount.fuse.gnsfs) ;;
		*)	ln -s "$_one" "$T/.sbin/" ;;
		esac
	done
	ln -s "$GNSFS" "$T/.sbin/mount.gnsfs"
	ln -s "$GNSFS" "$T/.sbin/mount.fuse.gnsfs"
	chmod 755 "$T/.sbin"
	mount --bind "$T/.sbin" /sbin/ || bail "/sbin cannot be lent"
}

as_user()
{
	HOME=$USER_HOME XDG_RUNTIME_DIR=$USER_HOME setpriv \
	    --reuid "${USER_ID:=65534}" --regid "$USER_ID" --clear-groups "$@"
}

# --- else ---

spawn()
{
	"$@" &
	echo $! >>"$T/.spawned"
}

wait_for()
{
	_end=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $_end ] || return 1
		sleep 0.2
	done
}

disk()
{
	_dir=$1
	_img=$T/.img.$(ls "$T" -a | grep -c '^.img')
	truncate -s "$2" "$_img"
	shift 2
	mkdir -p "$_dir"
	mkfs.ext4 -q -F -m 0 "$@" "$_img" >"$T/out" 2>&1 &&
	    mount -o loop "$_img" "$_dir" >>"$T/out" 2>&1 && return 0
	show_out
	bail "there is no small disk on $_dir"
}

_disks_off()
{
	awk -v top="$T/" 'index($5, top) == 1 && $0 ~ / - ext4 / { print $5 }' \
	    /proc/self/mountinfo | while read -r _dir; do
		umount -l "$_dir"
	done
}

sums()
{
	(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z |
	    xargs -0r sha256sum)
}

json()
{
	python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$1" "$2"
}

now_ms()
{
	date +%s%3N
}

# --- begin and end ---

begin()
{
	T=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-test.$NAME.XXXXXX") || exit 1
	# Paths are compared with those in mountinfo.
	T=$(cd "$T" && pwd -P)
	chmod 711 "$T"		# the suites' other users pass through
	trap _finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir "$T/.mounts" "$T/.san"
	ASAN_OPTIONS=log_path=$T/.san/asan:$ASAN_OPTIONS
	UBSAN_OPTIONS=log_path=$T/.san/ubsan:print_stacktrace=1:$UBSAN_OPTIONS
	TSAN_OPTIONS=log_path=$T/.san/tsan:$TSAN_OPTIONS
	export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
	[ "$(id -u)" = 0 ] || bail "the mounted tests are run as root"
	[ -x "$GNSFS" ] || bail "$GNSFS is missing: run make first"
	GNSFS=$(readlink -f "$GNSFS")
	[ -c /dev/fuse ] || bail "there is no /dev/fuse here"
}

# What the daemons and the sanitizers left, where something failed.
_show_logs()
{
	find "$T" -name '*.log' -type f | head -8 | while read -r _log; do
		grep -v 'level=debug' "$_log" | tail -12 >"$T/.tail"
		[ -s "$T/.tail" ] || continue
		say "${_log#"$T"/}:"
		sed 's/^/#   /' "$T/.tail"
	done
	[ -n "${GNSFS_TEST_KEEP:-}" ] || return
	mkdir -p "$GNSFS_TEST_KEEP/$NAME"
	find "$T" \( -name '*.log' -o -path '*/.san/*' \) -type f \
	    -exec cp --backup=numbered {} "$GNSFS_TEST_KEEP/$NAME/" \;
}

_unmount_all()
{
	for _left in "$T"/.mounts/*; do
		[ -f "$_left" ] || continue
		_dir=$(sed -n 's/^dir=//p' "$_left")
		grep -q '^pid=' "$_left" ||
		    echo "pid=$(_find_daemon "$_dir")" >>"$_left"
		kill_mount "$_dir"
		rm -f "$_left"
	done
}

_sanitized()
{
	for _report in "$T"/.san/*; do
		[ -s "$_report" ] || continue
		grep -vE '^=+$|^$' "$_report" | head -40 | sed 's/^/# /'
		fail "no sanitizer has anything to say"
	done
}

_finish()
{
	_status=$?
	trap - EXIT
	trap '' INT TERM HUP
	case $_status in
	0|1)	;;
	*)	fail "$NAME runs to its end" "status $_status" ;;
	esac
	cd /
	if [ -f "$T/.spawned" ]; then
		while read -r _pid; do
			_end_pid "$_pid" TERM
		done <"$T/.spawned"
	fi
	# Mounts that a passing test left are its mistake.
	if [ "$failed" = 0 ] && [ -n "$(ls "$T/.mounts")" ]; then
		for _left in "$T"/.mounts/*; do
			_dir=$(sed -n 's/^dir=//p' "$_left")
			is_mounted "$_dir" && fail "$_dir is left mounted"
		done
	fi
	_unmount_all
	_sanitized
	for _pidfile in "$T"/*/pid; do
		[ -f "$_pidfile" ] && s3_stop "${_pidfile%/pid}"
	done
	if [ -d "$T/.sbin.was" ]; then
		umount -l /sbin/
		umount -l "$T/.sbin.was"
	fi
	_disks_off
	[ "$failed" = 0 ] || _show_logs
	rm -rf --one-file-system "$T"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ] && exit 0
	exit 1
}

finish()
{
	exit 0
}

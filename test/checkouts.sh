# checkouts.sh: filesystem suites that are not packaged, each in a checkout
# that you made and built, on a mount of a home that is a folder.  Nothing is
# fetched, built or changed here but what the suite itself writes.
#
#   sh test/checkouts.sh pjdfstest-c DIR [TEST...]   the suite in C and shell;
#				tests are folders or files of its tests/
#   sh test/checkouts.sh xfstests DIR [ARG...]	arguments of its ./check;
#				default: -g quick
#   sh test/checkouts.sh ltp DIR [FILE[/TEST]...]	files, or a test of one,
#				of its runtest/; default: fs dio
#				fcntl-locktests.  What make install made does
#				for DIR, too; its scripts can be run.
#
# Or `make SUITE DIR=checkout WHAT="..."`.  Needs root.  Prints what passed,
# failed and was skipped; fails where something did, or nothing passed.

. "$(dirname "$0")/lib.sh"
LIMIT=900			# seconds a single test may take

usage()
{
	sed -n 's/^#   sh/usage: sh/p' "$0" >&2
	exit 2
}

# need FILE HOW: it is in the checkout.
need()
{
	[ -e "$dir/$1" ] || bail "$dir/$1 is missing: $2"
}

# verdict NAME STATUS: as the suites of LTP and of TAP exit.
verdict()
{
	case $2 in
	0)	ok "$1" ;;
	32)	skip "$1" "it does not apply here" ;;
	124)	show_out
		fail "$1" "it took more than $LIMIT s" ;;
	*)	show_out
		fail "$1" "status $2" ;;
	esac
}

# tap FILE: 0 where as many tests as FILE plans passed, 32 where it plans none.
# TAP has a mark for failures that the suite itself expects.
tap()
{
	awk '/^1\.\.[0-9]/ { plan = substr($1, 4) + 0; planned = 1 }
	    /^ok/ || /^not ok.*# *[T]ODO/ { good++ }
	    /^not ok/ && !/# *[T]ODO/ { bad++; print }
	    END { if (planned && plan == 0) exit 32
		if (!planned || bad || good != plan) {
			print good + 0 " of " plan + 0 " passed"; exit 1 } }' \
	    "$1"
}

run_pjdfstest_c()
{
	need pjdfstest "build it there with autoreconf -ifs, configure, make"
	need tests "this is no checkout of pjdfstest"
	[ $# -gt 0 ] || set -- .
	(cd "$dir/tests" && find "$@" -name '*.t' | sort) >"$T/list"
	mkdir "$m/pjd"
	while read -r _test; do
		(cd "$m/pjd" && timeout $LIMIT sh "$dir/tests/$_test") \
		    >"$T/tap" 2>&1 </dev/null
		quiet tap "$T/tap"
		verdict "${_test#./}" $?
	done <"$T/list"
}

# xfstests_line LINE: of what ./check says.
xfstests_line()
{
	_test=${1%%[ 	]*}
	_how=${1#"$_test"}
	case $_test:$_how in
	:"    "*)
		say "$1" ;;
	*[!a-z0-9/]*:*|/*:*|*/:*)
		;;
	*/*:*"[not run]"*)
		skip "$_test" "${_how#*\[not run\] }" ;;
	*/*:*"[failed"*|*/*:*"output mismatch"*|*/*:*"[expunged]"*)
		fail "$_test" "$_how" ;;
	[a-z]*/[0-9]*:*)
		ok "$_test" ;;
	esac
}

# The suite mounts by itself, as -t fuse.gnsfs: mount(8) wants the helper in
# /sbin, which is lent to it in our own mount namespace, and which adds the two
# options that mount(8) does not hand on.  A mount is taken for the suite's own
# only where df says "fuse", with no subtype.
run_xfstests()
{
	need check "this is no checkout of xfstests"
	need ltp/fsstress "build it there with make"
	[ $# -gt 0 ] || set -- -g quick
	stop_mount "$m"
	# What the suite mounts goes when this is cut short.
	for _dir in "$m" "$T/scratch"; do
		printf 'dir=%s\n' "$_dir" >"$(_slot "$_dir")"
	done
	lend_helper
	rm "$T/.sbin/mount.fuse.gnsfs"
	printf '#!/bin/sh\nexec %s "$@" -o suid,dev\n' \
	    "$T/.sbin/mount.gnsfs" >"$T/.sbin/mount.fuse.gnsfs"
	chmod 755 "$T/.sbin/mount.fuse.gnsfs"
	scratch=$(store_url file scratch)
	format_home "$scratch"
	mkdir -p "$T/scratch" "$T/results" "$T/bin"
	: >"$T/out"
	cat >"$T/bin/df" <<-DF
	#!/bin/bash
	set -o pipefail
	$(command -v df) "\$@" | sed 's/ fuse\.gnsfs / fuse       /'
	DF
	chmod 755 "$T/bin/df"
	cat >"$T/xfs.config" <<-CONF
	export FSTYP=fuse FUSE_SUBTYP=.gnsfs
	export TEST_DEV='$url' TEST_DIR='$m'
	export SCRATCH_DEV='$scratch' SCRATCH_MNT='$T/scratch'
	export TEST_FS_MOUNT_OPTS='-o state=$T/xstate'
	export MOUNT_OPTIONS='-o state=$T/xscratch'
	export RESULT_BASE='$T/results'
	CONF
	PATH=$T/bin:$PATH
	export PATH HOST_OPTIONS="$T/xfs.config"
	mkfifo "$T/said"
	spawn sh -c 'exec >"$1" 2>&1 </dev/null && cd "$2" && shift 2 &&
	    exec ./check "$@"' x "$T/said" "$dir" "$@"
	# As it comes: a test and what became of it are a line, the indented
	# ones that follow say how its output differs.
	while IFS= read -r _line; do
		printf '%s\n' "$_line" >>"$T/out"
		xfstests_line "$_line"
	done <"$T/said"
	[ $((passed + failed + skipped)) -gt 0 ] ||
	    { show_out; fail "check runs"; }
	for _dir in "$m" "$T/scratch"; do
		while is_mounted "$_dir" && quiet "$GNSFS" umount "$_dir"; do
			:
		done
		is_mounted "$_dir" || rm -f "$(_slot "$_dir")"
	done
}

# ltp_test NAME COMMAND: in the mount, also where the command names /tmp.
ltp_test()
{
	case $2 in
	proc01*|read_all*|binfmt_misc*|isofs*|squashfs*|quota_remount*)
		skip "$1" "it tests something else than the tree it is in"
		return ;;
	*"rwtest "*)
		if [ ! -d "$dir/testcases/bin" ]; then
			skip "$1" "it wants what make install of LTP makes"
			return
		fi ;;
	esac
	_command=$(printf '%s\n' "$2" | sed "s| /tmp/| $m/ltp/|g")
	quiet env PATH="$_path$PATH" LTPROOT="$dir" TMPDIR="$m/ltp" \
	    TMP="$m/ltp" LTP_COLORIZE_OUTPUT=n \
	    timeout $LIMIT sh -c "cd $m/ltp && $_command"
	verdict "$1" $?
}

run_ltp()
{
	need runtest "this is no checkout of LTP"
	need testcases "this is no checkout of LTP"
	[ $# -gt 0 ] || set -- fs dio fcntl-locktests
	_path=$(find "$dir/testcases" -type d | tr '\n' :)
	mkdir "$m/ltp"
	chmod 1777 "$m/ltp"
	for _arg in "$@"; do
		_file=${_arg%%/*}
		_only=${_arg#"$_file"}
		need "runtest/$_file" "there is no such list of tests"
		grep -vE '^[ 	]*(#|$)' "$dir/runtest/$_file" >"$T/list"
		while read -r _test _command; do
			case $_only in
			""|"/$_test")
				ltp_test "$_file $_test" "$_command" ;;
			esac
		done <"$T/list"
	done
}

[ $# -ge 2 ] || usage
suite=$1
dir=$(cd "$2" 2>/dev/null && pwd) || { echo "no folder $2" >&2; exit 2; }
shift 2
case $suite in
pjdfstest-c|ltp) ;;
xfstests) own_mounts "$suite" "$dir" "$@" ;;
*)	usage ;;
esac
begin
url=$(store_url file home)
m=$T/m
format_home "$url"
start_mount "$url" "$m"
case $suite in
pjdfstest-c) run_pjdfstest_c "$@" ;;
xfstests) run_xfstests "$@" ;;
ltp)	run_ltp "$@" ;;
esac
is_mounted "$m" && stop_mount "$m"
finish

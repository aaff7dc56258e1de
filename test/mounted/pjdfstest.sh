# pjdfstest.sh: what POSIX says of names, links, owners, modes and times, by
# the suite of that name (a crate).  What fails must stand, with its reason, in
# pjdfstest.expected; what stands there must fail, or, with a question mark
# behind its name, may.
# timeout: 900
#
#   sh test/mounted/pjdfstest.sh [PATTERN...]	only tests with these in their
#						names
#   PJDFSTEST_ON=DIR sh test/mounted/pjdfstest.sh	on DIR, not on a mount:
#						to see what another one does

. "$(dirname "$0")/../lib.sh"
. "$TOP/test/suites.sh"
EXPECTED=$TOP/test/mounted/pjdfstest.expected
EXPECTED_MAX=5

# The names in the list; with `race`, of those that fail by chance.
expected()
{
	sed -e 's/#.*//' -e 's/[ 	]*$//' -e '/^$/d' "$EXPECTED" |
	    if [ "${1:-}" = race ]; then sed -n 's/?$//p'; else cat; fi
}

# user NAME: "NAME", "GROUP" of a user that every Debian has, for the suite to
# switch to.
user()
{
	printf '["%s", "%s"]' "$1" "$(id -gn "$1")"
}

# configuration REMOUNT: the suite's, with tests that remount or without.
configuration()
{
	cat <<-END
	[features]
	secondary_fs = "$T/other"
	[features.posix_fallocate]
	[features.rename_ctime]
	[features.stat_st_birthtime]
	[features.utime_now]
	[features.utimensat]
	[settings]
	naptime = 0.01
	allow_remount = $1
	expected_failures = [
	$(expected | sed 's/^\([^?]*\)?*$/"\1",/')
	]
	[dummy_auth]
	entries = [ $(user nobody), $(user daemon), $(user games) ]
	END
}

# run REMOUNT PATH PATTERN...: the suite; what it said is in $T/plain.
run()
{
	configuration "$1" >"$T/pjdfstest.toml"
	path=$2
	shift 2
	PATH=$T/bin:$PATH "$suite" --configuration-file "$T/pjdfstest.toml" \
	    --path "$path" "$@" >"$T/suite" 2>&1 </dev/null
	sed 's/\x1b\[[0-9;]*m//g' "$T/suite" >"$T/plain"
	grep -q '^Summary: ' "$T/plain" || fail "the suite runs to its end" \
	    "$(tail -3 "$T/plain")"
}

# What it said of each test whose name has the pattern $1 (or, where there is
# a $2, has not), as tests of ours.
report()
{
	awk '/ (ok|FAILED|skipped|failed as expected|PASSED UNEXPECTEDLY)$/ {
		name = $1; $1 = ""; print name, substr($0, 2) }' "$T/plain" |
	    grep ${2:+-v} "$1" >"$T/results"
	while read -r _test _how; do
		case $_how in
		ok)	ok "$_test" ;;
		skipped) skip "$_test" "$(after "$_test")" ;;
		"failed as expected")
			skip "$_test" "it is known to fail:" \
			    "$(why "$_test")" ;;
		FAILED)	fail "$_test" "$(after "$_test")" ;;
		*)	if expected race | grep -qx "$_test"; then
				ok "$_test"
			else
				fail "$_test" "it is expected to fail: see" \
				    "pjdfstest.expected"
			fi ;;
		esac
	done <"$T/results"
}

# The reason: what follows `#` on a test's line, and on those below that begin
# with a space.
why()
{
	awk -v name="$1" '{ sub(/\?/, "", $1) }
	    /^[^ \t#]/ { on = $1 == name } on { sub(/^[^#]*# */, ""); print }' \
	    "$EXPECTED" | tr '\n' ' '
}

# The lines below that of a test, in one.
after()
{
	awk -v name="$1" '$1 == name { on = 1; next }
	    on && !/^[\t ]/ { exit } on { print }' "$T/plain" |
	    head -6 | tr -s '\n\t ' ' '
}

begin
suite=$(suite_pjdfstest) || bail "pjdfstest cannot be installed"
[ "$(expected | wc -l)" -le $EXPECTED_MAX ] ||
    bail "more than $EXPECTED_MAX tests are expected to fail"
m=$T/m
if [ -n "${PJDFSTEST_ON:-}" ]; then
	m=$PJDFSTEST_ON
else
	url=$(store_url file home)
	format_home "$url"
	start_mount "$url" "$m"
fi
# The suite binds sockets below its path, whose names have 107 bytes.
short=${TMPDIR:-/tmp}/p.$$
ln -s "$m" "$short" || bail "no link can be made"
# A second filesystem, for EXDEV.
mkdir "$T/other"
mount -t tmpfs gnsfs-test "$T/other" || bail "no tmpfs can be mounted"
chmod 755 "$T"
# The suite remounts by mount(8), which would ask fuse3's helper; the kernel
# alone is wanted.
mkdir "$T/bin"
printf '#!/bin/sh\nexec "%s" -i "$@"\n' "$(command -v mount)" >"$T/bin/mount"
chmod 755 "$T/bin/mount"
# Those that remount read-only come apart: a test that failed may have left a
# file open that is gone, and then the kernel finds the mount busy.
run true "$m" "${@:-::erofs_}"
report ::erofs_
run false "$short" "$@"
report ::erofs_ not
umount "$T/other"
rm -f "$short"
[ -n "${PJDFSTEST_ON:-}" ] || stop_mount "$m"
finish

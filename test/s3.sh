#!/bin/sh
# s3.sh BUILD: the tests of the S3 backend against real servers on loopback,
# each over http and https, and before a proxy that fails now and then.  BUILD
# is the build folder, with its tests built.
#   S3_SERVERS="versitygw minio" which (versitygw)
#   S3_HTTP_ONLY=1               not over https
# Ends with `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
servers=${S3_SERVERS:-versitygw}
dir=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-s3-XXXXXX") || exit 1
. test/servers.sh
trap 's3_stop; hurt_stop >/dev/null 2>&1; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

passed=0
failed=0
# count NAME PROGRAM...: over $GNSFS_TEST_S3.
count()
{
	echo "# $1 at $GNSFS_TEST_S3"
	shift
	# shellcheck disable=SC2046 # one word a program
	UNIT_JOBS=1 sh test/run-unit.sh $(printf "$build/test/%s " "$@") \
	    >"$dir/out"
	sed '$d' "$dir/out"
	read -r p _ f _ <<-END
		$(tail -1 "$dir/out")
	END
	passed=$((passed + p))
	failed=$((failed + f))
}

# run NAME TLS
run()
{
	S3_TLS=$2
	s3_start "$dir/$S3_SERVER$2" 0 && s3_bucket lake || return 1
	GNSFS_TEST_S3=$(s3_url lake/test)
	export GNSFS_TEST_S3
	unset GNSFS_TEST_S3_DIR
	if [ "$S3_SERVER" = versitygw ]; then
		GNSFS_TEST_S3_DIR=$S3_DIR/objects/lake
		export GNSFS_TEST_S3_DIR
	fi
	count "$1" s3_live conformance
	s3_stop
}

# The conformance suite alone, through the proxy.
hurt()
{
	S3_TLS=
	s3_start "$dir/hurt" 0 && s3_bucket lake || return 1
	hurt_start "$dir/proxy" "$S3_PORT" || return 1
	S3_ENDPOINT=http://127.0.0.1:$HURT_PORT
	GNSFS_TEST_S3=$(s3_url lake/test)
	GNSFS_TEST_HURT=1
	export GNSFS_TEST_S3 GNSFS_TEST_HURT
	unset GNSFS_TEST_S3_DIR
	count "$1 that fails" conformance
	unset GNSFS_TEST_HURT
	s3_stop
	hurt_stop
}

for S3_SERVER in $servers; do
	run "$S3_SERVER" "" || failed=$((failed + 1))
	[ -n "${S3_HTTP_ONLY:-}" ] || run "$S3_SERVER over TLS" 1 ||
	    failed=$((failed + 1))
	hurt "$S3_SERVER" || failed=$((failed + 1))
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]

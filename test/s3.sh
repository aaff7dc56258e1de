#!/bin/sh
# s3.sh BUILD: the tests of the S3 backend against real servers on loopback,
# each over http and https.  BUILD is the build folder, with its tests built.
#   S3_SERVERS="versitygw minio" which (versitygw)
#   S3_HTTP_ONLY=1               not over https
# Ends with `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
servers=${S3_SERVERS:-versitygw}
dir=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-s3-XXXXXX") || exit 1
. test/servers.sh
trap 's3_stop; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

passed=0
failed=0
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
	echo "# $1 at $GNSFS_TEST_S3"
	UNIT_JOBS=1 sh test/run-unit.sh "$build/test/s3_live" \
	    "$build/test/conformance" >"$dir/out"
	sed '$d' "$dir/out"
	read -r p _ f _ <<-END
		$(tail -1 "$dir/out")
	END
	passed=$((passed + p))
	failed=$((failed + f))
	s3_stop
}

for S3_SERVER in $servers; do
	run "$S3_SERVER" "" || failed=$((failed + 1))
	[ -n "${S3_HTTP_ONLY:-}" ] || run "$S3_SERVER over TLS" 1 ||
	    failed=$((failed + 1))
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]

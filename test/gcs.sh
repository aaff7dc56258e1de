#!/bin/sh
# gcs.sh BUILD: the tests of the GCS backend against servers on loopback:
# fake-gcs-server, and ours, which is strict where that one is not.  BUILD is
# the build folder, with its tests built.
#   GCS_SERVERS="fake-gcs-server strict" which (both)
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
servers=${GCS_SERVERS:-fake-gcs-server strict}
dir=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-gcs-XXXXXX") || exit 1
. test/servers.sh
trap 'gcs_stop; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
# Nobody's credentials are meant for these.
unset GOOGLE_APPLICATION_CREDENTIALS STORAGE_EMULATOR_HOST
CLOUDSDK_CONFIG=$dir/gcloud
export CLOUDSDK_CONFIG

passed=0
failed=0
# count NAME: the tests, over $GNSFS_TEST_GS.
count()
{
	export GNSFS_TEST_GS
	echo "# $1 at $GNSFS_TEST_GS"
	# shellcheck disable=SC2046 # one word a program
	UNIT_JOBS=1 sh test/run-unit.sh $(printf "$build/test/%s " \
	    ${GCS_TESTS:-gcs_live conformance}) >"$dir/out"
	sed '$d' "$dir/out"
	read -r p _ f _ <<-END
		$(tail -1 "$dir/out")
	END
	passed=$((passed + p))
	failed=$((failed + f))
}

# run NAME SETTINGS: against $GCS_SERVER with $GCS_FLAGS.
run()
{
	gcs_start "$dir/$1" 0 || return 1
	gcs_bucket lake || gcs_bucket lake || return 1
	GNSFS_TEST_GS=$(gcs_url lake/test)$2
	count "$1"
	gcs_stop
}

# Tokens that end every few seconds.
expiring()
{
	GCS_FLAGS="--auth 5"
	gcs_start "$dir/auth" 0 || return 1
	gcs_user "$dir/user.json"
	gcs_bucket lake || return 1
	GOOGLE_APPLICATION_CREDENTIALS=$dir/user.json
	export GOOGLE_APPLICATION_CREDENTIALS
	GNSFS_TEST_GS=$(gcs_url lake/test)
	count "tokens that end"
	gcs_stop
	unset GOOGLE_APPLICATION_CREDENTIALS GCS_TOKEN
}

for GCS_SERVER in $servers; do
	GCS_FLAGS=
	run "$GCS_SERVER" "" || failed=$((failed + 1))
	[ "$GCS_SERVER" = strict ] || continue
	GCS_FLAGS="--break 9000000"
	run "uploads that break off" "&compose=off" || failed=$((failed + 1))
	expiring || failed=$((failed + 1))
	GCS_FLAGS="--hurt 11"
	GCS_TESTS=conformance
	GNSFS_TEST_HURT=1
	export GNSFS_TEST_HURT
	run "answers that are lost" "" || failed=$((failed + 1))
	unset GNSFS_TEST_HURT GCS_TESTS
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]

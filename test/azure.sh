#!/bin/sh
# azure.sh BUILD: the tests of the Azure backend against Azurite on loopback:
# with the account's key, before a proxy that fails now and then, with a shared
# access signature, and with a connection string.  BUILD is the build folder,
# with its tests built.
#   S3_HTTP_ONLY=1 (as of s3.sh): the first two alone, for slow builds
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/gnsfs-azure-XXXXXX") || exit 1
. test/servers.sh
trap 'azurite_stop; hurt_stop >/dev/null 2>&1; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
# Nobody's credentials are meant for these, nor other servers' variables.
unset AZURE_STORAGE_CONNECTION_STRING AZURE_STORAGE_SAS_TOKEN
unset AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET
unset AZURE_FEDERATED_TOKEN_FILE IDENTITY_ENDPOINT GNSFS_TEST_S3 GNSFS_TEST_GS

passed=0
failed=0

# count NAME TEST...: these against $GNSFS_TEST_AZ, with what is in the
# environment.
count()
{
	echo "== $1 at $GNSFS_TEST_AZ"
	shift
	for _test in "$@"; do
		set -- "$@" "$build/test/$_test"
		shift
	done
	sh test/run-unit.sh "$@" >"$dir/out" 2>&1
	grep -v '^[0-9]* passed, ' "$dir/out"
	read -r p _ f _ <<-END
		$(tail -1 "$dir/out")
	END
	passed=$((passed + p))
	failed=$((failed + f))
}

azurite_start "$dir/azurite" 0 && azurite_container lake || exit 1
GNSFS_TEST_AZ=$(azurite_url lake/test)
export GNSFS_TEST_AZ
count "the account's key" azure_live conformance

hurt_start "$dir/proxy" "$AZURITE_PORT" || exit 1
was=$GNSFS_TEST_AZ
GNSFS_TEST_AZ="az://$AZURE_STORAGE_ACCOUNT/lake/test?endpoint=\
http://127.0.0.1:$HURT_PORT/$AZURE_STORAGE_ACCOUNT"
GNSFS_TEST_HURT=1
export GNSFS_TEST_HURT
# azure_live has nothing that asks again
count "a store that fails" conformance
unset GNSFS_TEST_HURT
hurt_stop || failed=$((failed + 1))
GNSFS_TEST_AZ=$was

if [ -z "${S3_HTTP_ONLY:-}" ]; then
	sas=$(azurite_sas)
	unset AZURE_STORAGE_KEY
	AZURE_STORAGE_SAS_TOKEN=$sas
	export AZURE_STORAGE_SAS_TOKEN
	count "a shared access signature" azure_live conformance

	unset AZURE_STORAGE_SAS_TOKEN
	AZURE_STORAGE_CONNECTION_STRING="\
AccountName=$AZURE_STORAGE_ACCOUNT;AccountKey=$azurite_key;\
BlobEndpoint=$AZURITE_ENDPOINT"
	export AZURE_STORAGE_CONNECTION_STRING
	GNSFS_TEST_AZ=${GNSFS_TEST_AZ%%\?*}
	count "a connection string" azure_live conformance
fi
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]

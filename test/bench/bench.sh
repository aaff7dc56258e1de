#!/bin/sh
# The benchmarks of `make bench`: gnsfs beside the disk below, curl, s3fs,
# rclone, what else of its kind is on PATH (mounts.py), and the clouds' own
# SDKs, on the same server, interleaved in one run (bench.py says how).
#
#   sh test/bench/bench.sh [--rounds N] [--only NAME[,NAME...]] [--scale F]
#   sh test/bench/bench.sh --list           the cases, and what they promise
#
# Root is needed (mounts, dropping the page cache).  Installs s3fs and fio by
# apt, versitygw and rclone as Go modules, into the tests' tools folder.  At
# full scale it needs 40 GiB of disk, in $BENCH_DIR or $TMPDIR, and two hours;
# quiet, for it takes all the machine has.  For the SDKs also Azurite (npm),
# fake-gcs-server, and a virtual environment with what PyPI has of them.

cd "$(dirname "$0")/../.." || exit 1
. test/servers.sh

: "${GNSFS_BIN:=$PWD/gnsfs}"; export GNSFS_BIN
export PYTHONDONTWRITEBYTECODE=1
case " $* " in
*" --list "*|*" -h "*|*" --help "*)
	exec python3 test/bench/bench.py "$@" ;;
esac

# In a mount namespace of its own: one that somebody else makes meanwhile would
# hold on to the mounts that are made here, and their daemons would not end.
[ "$BENCH_OWN_MOUNTS" = 1 ] || BENCH_OWN_MOUNTS=1 \
	exec unshare -m --propagation private sh test/bench/bench.sh "$@"

# gnsfs is mounted with uring=on (BENCH_URING=auto|off: otherwise), which sets
# this; it is what it was in the end.
uring=/sys/module/fuse/parameters/enable_uring
uring_was=
[ ! -w $uring ] || uring_was=$(cat $uring)

work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/gnsfs-bench.XXXXXX")
cleanup()
{
	grep " $work/" /proc/self/mounts | while read -r _ dir _; do
		umount -l "$dir" || true
	done
	s3_stop || true
	[ -z "$uring_was" ] || echo "$uring_was" >"$uring"
	[ -z "$GCS_DIR" ] || gcs_stop || true
	[ -z "$AZURITE_DIR" ] || azurite_stop || true
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

servers_need s3fs command -v s3fs
servers_need fuse3 command -v fusermount3
servers_need curl command -v curl
servers_need fio command -v fio
servers_need python3 command -v python3
go_tool rclone github.com/rclone/rclone "${RCLONE_VERSION:-latest}"
[ -x "$GNSFS_BIN" ] || make >/dev/null || exit 1
s3_start "$work/s3" 0 || exit 1

# The clouds' own SDKs are asked where those cases are.
sdk=
case " $* " in
*sdk*)		sdk=1 ;;
*--only*)	;;
*)		sdk=1 ;;
esac
if [ -n "$sdk" ]; then
	SDK_PYTHON=$(sdk_python) || exit 1
	CLOUDSDK_CONFIG=$work/gcloud
	export SDK_PYTHON CLOUDSDK_CONFIG
	unset GOOGLE_APPLICATION_CREDENTIALS STORAGE_EMULATOR_HOST
	unset AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET
fi

# Peers that speak to a cloud of their own get its stand-in.
if [ -n "$sdk" ] || command -v gcsfuse >/dev/null; then
	gcs_start "$work/gcs" 0 && gcs_bucket bench || exit 1
	export GCS_ENDPOINT
fi
if [ -n "$sdk" ] || command -v blobfuse2 >/dev/null; then
	azurite_start "$work/azure" 0 && azurite_container bench || exit 1
	export AZURITE_ENDPOINT
	export AZURE_STORAGE_ACCESS_KEY="$AZURE_STORAGE_KEY"
	export AZURE_STORAGE_BLOB_ENDPOINT="$AZURITE_ENDPOINT"
	export AZURE_STORAGE_AUTH_TYPE=key
fi
PATH=$(servers_dir)/bin:$PATH S3_ENDPOINT=$S3_ENDPOINT S3_DIR=$S3_DIR \
	python3 test/bench/bench.py --work "$work" "$@"
